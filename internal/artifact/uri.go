// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package artifact finds model artifacts, knows them by their digest, arranges
// them as a serving runtime wants them, and copies them once to a
// content-addressed place: streamed, verified, never overwritten.
package artifact

import (
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// The schemes of addresses.
const (
	SchemeFile  = "file"  // a local path
	SchemeS3    = "s3"    // Amazon S3, and what speaks its API
	SchemeGCS   = "gs"    // Google Cloud Storage
	SchemeHTTPS = "https" // a file on the web, or in Azure Blob storage
	SchemeOCI   = "oci"   // an image in an OCI registry
	SchemeClaim = "pvc"   // a Kubernetes persistent volume claim

	SchemeAzureML = "azureml" // what an Azure ML workspace knows: see AzureMLReference
	SchemeVersion = "version" // the version_id of an ml_model, which has no scheme
)

// Location is where an artifact is.
type Location struct {
	Scheme string
	Path   string // the local path, the image reference, the whole address of a file on the web or in a workspace, or the version_id
	Bucket string // of an object store; the host and container of Azure Blob storage; or the name of the claim
	Key    string // of an object store or claim; a trailing slash makes it a prefix
}

var (
	schemePattern  = regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9+.-]+):(//|/)`)
	versionPattern = regexp.MustCompile(`^(sagemaker|vertex_ai|azure_ml|kubernetes)/.+@[^/@]+$`)
	bucketPattern  = map[string]*regexp.Regexp{
		SchemeS3:  regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`),
		SchemeGCS: regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$`),
	}
	claimPattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
	imagePattern = regexp.MustCompile(`^[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)+(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?(@sha256:[0-9a-f]{64})?$`)
)

// IsVersionID reports whether uri names a version of an ml_model rather than
// bytes somewhere.
func IsVersionID(uri string) bool { return versionPattern.MatchString(uri) }

// Parse reads artifact.uri. What is not an address is InvalidArgument, a scheme
// that this release does not know is Unsupported; both name artifact.uri.
func Parse(uri string) (Location, error) {
	refuse := func(code mlerr.Code, hint, format string, args ...any) (Location, error) {
		return Location{}, mlerr.New(code, format, args...).At("artifact.uri").WithHint("%s", hint)
	}
	switch {
	case uri == "":
		return refuse(mlerr.InvalidArgument, anAddress, "artifact.uri is empty")
	case strings.ContainsRune(uri, 0):
		return refuse(mlerr.InvalidArgument, anAddress, "artifact.uri contains a NUL character")
	case IsVersionID(uri):
		return Location{Scheme: SchemeVersion, Path: uri}, nil
	}
	if forced, _, found := strings.Cut(uri, "::"); found && !strings.ContainsAny(forced, "/.") {
		return refuse(mlerr.Unsupported, anAddress, "%s:: addresses are not supported by this release", forced)
	}
	m := schemePattern.FindStringSubmatch(uri)
	if m == nil {
		return Location{Scheme: SchemeFile, Path: filepath.Clean(uri)}, nil
	}
	scheme := strings.ToLower(m[1])
	rest := strings.TrimLeft(uri[len(scheme)+1:], "/")
	switch scheme {
	case SchemeFile:
		return Location{Scheme: SchemeFile, Path: filepath.Clean(strings.TrimPrefix(uri[len("file:"):], "//"))}, nil
	case SchemeS3, SchemeGCS:
		bucket, key, _ := strings.Cut(rest, "/")
		if !bucketPattern[scheme].MatchString(bucket) {
			return refuse(mlerr.InvalidArgument, "Write "+scheme+"://bucket/key, or "+scheme+"://bucket/prefix/ for a directory", "%q has no valid bucket name", uri)
		}
		return Location{Scheme: scheme, Bucket: bucket, Key: key}, nil
	case SchemeClaim:
		claim, key, _ := strings.Cut(strings.TrimPrefix(uri[len(scheme)+1:], "//"), "/")
		if !claimPattern.MatchString(claim) || key != "" && path.Clean("/"+key) != "/"+strings.TrimSuffix(key, "/") {
			return refuse(mlerr.InvalidArgument, "Write pvc://claim/path, or pvc://claim/path/ for a directory", "%q names no path in a persistent volume claim", uri)
		}
		return Location{Scheme: SchemeClaim, Bucket: claim, Key: key}, nil
	case SchemeOCI:
		if !imagePattern.MatchString(rest) {
			return refuse(mlerr.InvalidArgument, "Write oci://registry/repository:tag or oci://registry/repository@sha256:digest", "%q names no image", uri)
		}
		return Location{Scheme: SchemeOCI, Path: rest}, nil
	case SchemeHTTPS:
		if at, ok, err := parseBlob(uri); ok || err != nil {
			return at, err
		}
		return Location{Scheme: SchemeHTTPS, Path: uri}, nil
	case SchemeAzureML:
		if _, err := ParseAzureML(uri); err != nil {
			return Location{}, err
		}
		return Location{Scheme: SchemeAzureML, Path: uri}, nil
	}
	return refuse(mlerr.Unsupported, anAddress, "%s:// addresses are not supported by this release", scheme)
}

const anAddress = "Give a local path, an address such as s3://bucket/key, or the version_id of an ml_model"

// String is the address.
func (l Location) String() string {
	switch l.Scheme {
	case SchemeHTTPS:
		if l.IsBlob() {
			return "https://" + l.Bucket + "/" + escapeKey(l.Key)
		}
		return l.Path
	case SchemeFile, SchemeVersion, SchemeAzureML:
		return l.Path
	case SchemeOCI:
		return "oci://" + l.Path
	}
	return l.Scheme + "://" + l.Bucket + "/" + l.Key
}

// IsPrefix reports whether the location is a directory of an object store or claim.
func (l Location) IsPrefix() bool { return l.Key == "" || strings.HasSuffix(l.Key, "/") }
