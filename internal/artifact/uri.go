// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package artifact finds model artifacts, knows them by their digest, arranges
// them as a serving runtime wants them, and copies them once to a
// content-addressed place: streamed, verified, never overwritten.
package artifact

import (
	"path/filepath"
	"regexp"
	"strings"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// Location is where an artifact is.
type Location struct {
	Scheme string // "file" or "s3"
	Path   string // of a file: the local path
	Bucket string // of an object store
	Key    string // of an object store; a trailing slash makes it a prefix
}

// later are the schemes of the configuration language that this release does
// not read, with what to do instead.
var later = map[string]string{
	"gs": "Copy the artifact to a local path or to s3:// first", "azureml": "Download the artifact to a local path first",
	"https": "Download the artifact to a local path first", "oci": "Pull the artifact to a local path first",
	"pvc": "Copy the artifact to a local path or to s3:// first", "hf": "Download the model to a local directory first",
	"models": "Download the model version to a local directory first", "git": "Check the repository out and give the path",
	"dvc": "Run dvc pull and give the path",
}

var (
	schemePattern  = regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9+.-]+):(//|/)`)
	versionPattern = regexp.MustCompile(`^(sagemaker|vertex_ai|azure_ml|kubernetes)/.+@[^/@]+$`)
	bucketPattern  = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
)

// IsVersionID reports whether uri names a version of an ml_model rather than
// bytes somewhere.
func IsVersionID(uri string) bool { return versionPattern.MatchString(uri) }

// Parse reads artifact.uri. What is not an address is InvalidArgument, a scheme
// that this release does not read is Unsupported; both name artifact.uri.
func Parse(uri string) (Location, error) {
	refuse := func(code mlerr.Code, hint, format string, args ...any) (Location, error) {
		return Location{}, mlerr.New(code, format, args...).At("artifact.uri").WithHint("%s", hint)
	}
	switch {
	case uri == "":
		return refuse(mlerr.InvalidArgument, "Give a local path or an s3:// address", "artifact.uri is empty")
	case strings.ContainsRune(uri, 0):
		return refuse(mlerr.InvalidArgument, "Give a local path or an s3:// address", "artifact.uri contains a NUL character")
	case IsVersionID(uri):
		return refuse(mlerr.Unsupported, "Give the file that was registered there", "copying the model version %s from another platform is not supported by this release", uri)
	}
	if forced, _, found := strings.Cut(uri, "::"); found && !strings.ContainsAny(forced, "/.") {
		return refuse(mlerr.Unsupported, hintFor(forced), "%s:: addresses are not supported by this release", forced)
	}
	m := schemePattern.FindStringSubmatch(uri)
	if m == nil {
		return Location{Scheme: "file", Path: filepath.Clean(uri)}, nil
	}
	switch scheme := strings.ToLower(m[1]); scheme {
	case "file":
		return Location{Scheme: "file", Path: filepath.Clean(strings.TrimPrefix(uri[len("file:"):], "//"))}, nil
	case "s3":
		bucket, key, _ := strings.Cut(strings.TrimLeft(uri[len("s3:"):], "/"), "/")
		if !bucketPattern.MatchString(bucket) {
			return refuse(mlerr.InvalidArgument, "Write s3://bucket/key, or s3://bucket/prefix/ for a directory", "%q has no valid bucket name", uri)
		}
		return Location{Scheme: "s3", Bucket: bucket, Key: key}, nil
	default:
		return refuse(mlerr.Unsupported, hintFor(scheme), "%s:// addresses are not supported by this release", scheme)
	}
}

func hintFor(scheme string) string {
	if hint, ok := later[scheme]; ok {
		return hint
	}
	return "Give a local path or an s3:// address"
}

// IsPrefix reports whether the location is a directory of an object store.
func (l Location) IsPrefix() bool { return l.Key == "" || strings.HasSuffix(l.Key, "/") }
