// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// Blob storage has no scheme of its own: its addresses are recognized by the host.
var (
	blobHost      = regexp.MustCompile(`^[a-z0-9]{3,24}(\.z[0-9]{1,2})?\.blob\.(core\.windows\.net|core\.usgovcloudapi\.net|core\.chinacloudapi\.cn|storage\.azure\.net)$`)
	blobContainer = regexp.MustCompile(`^(\$root|\$web|[a-z0-9](-?[a-z0-9])+)$`)
)

const (
	shortestContainer = 3
	longestContainer  = 63
)

const aBlob = "Write https://account.blob.core.windows.net/container/path, or …/path/ for a directory"

// IsBlob reports whether the location is in Azure Blob storage. Its Bucket is then
// the account's host and the container.
func (l Location) IsBlob() bool { return l.Scheme == SchemeHTTPS && l.Bucket != "" }

// parseBlob reads an address of Blob storage. ok is false for any other, as for one
// with a query: a signature or a version, which belong to a file on the web.
func parseBlob(uri string) (at Location, ok bool, err error) {
	u, err := url.Parse(uri)
	if err != nil || !blobHost.MatchString(strings.ToLower(u.Host)) || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(uri, "#") {
		return Location{}, false, nil //nolint:nilerr // whatever it is, it is no blob
	}
	container, key, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	valid := blobContainer.MatchString(container) && len(container) >= shortestContainer && len(container) <= longestContainer
	for segment := range strings.SplitSeq(key, "/") {
		valid = valid && segment != "." && segment != ".." // which clients take for ways up
	}
	if !valid || strings.ContainsRune(key, 0) {
		return Location{}, false, mlerr.New(mlerr.InvalidArgument, "%q names nothing in a container of Blob storage", uri).At("artifact.uri").WithHint(aBlob)
	}
	return Location{Scheme: SchemeHTTPS, Bucket: strings.ToLower(u.Host) + "/" + container, Key: key}, true, nil
}

func escapeKey(key string) string {
	segments := strings.Split(key, "/")
	for i := range segments {
		segments[i] = url.PathEscape(segments[i])
	}
	return strings.Join(segments, "/")
}

// AzureMLReference is what an azureml:// address names: a path of a datastore, or
// the version of a model.
type AzureMLReference struct {
	Subscription, ResourceGroup, Workspace string // "" is the workspace that asks
	Datastore, Path                        string
	Model, Version                         string
}

var (
	azureMLWorkspace = regexp.MustCompile(`(?i)^subscriptions/([^/]+)/resourcegroups/([^/]+)/(?:providers/Microsoft\.MachineLearningServices/)?workspaces/([^/]+)/`)
	azureMLDatastore = regexp.MustCompile(`(?i)^datastores/([a-z0-9][a-z0-9_-]{0,254})/paths/(.*)$`)
	azureMLModel     = regexp.MustCompile(`(?i)^models/([^/]+)/versions/([^/]+)$`)
	azureMLElsewhere = regexp.MustCompile(`(?i)^(registries|jobs)/`)
)

// ParseAzureML reads an azureml:// address. What is none is InvalidArgument, what
// cannot be read through a datastore Unsupported; both name artifact.uri.
func ParseAzureML(uri string) (AzureMLReference, error) {
	var r AzureMLReference
	rest := uri[min(len(uri), len(SchemeAzureML+"://")):]
	if !strings.EqualFold(uri[:len(uri)-len(rest)], SchemeAzureML+"://") {
		return r, notInWorkspace(uri)
	}
	if m := azureMLWorkspace.FindStringSubmatch(rest); m != nil {
		r.Subscription, r.ResourceGroup, r.Workspace = m[1], m[2], m[3]
		rest = rest[len(m[0]):]
	}
	if azureMLElsewhere.MatchString(rest) {
		return r, mlerr.New(mlerr.Unsupported, "what is at %s cannot be read", uri).At("artifact.uri").
			WithHint("Give the path in a datastore, azureml://datastores/workspaceblobstore/paths/…, or the version of a model in a workspace; of a registry or job, download it first")
	}
	if m := azureMLDatastore.FindStringSubmatch(rest); m != nil {
		r.Datastore, r.Path = m[1], m[2]
		for segment := range strings.SplitSeq(r.Path, "/") {
			if segment == "." || segment == ".." {
				return r, notInWorkspace(uri)
			}
		}
		return r, nil
	}
	if m := azureMLModel.FindStringSubmatch(rest); m != nil {
		r.Model, r.Version = m[1], m[2]
		return r, nil
	}
	return r, notInWorkspace(uri)
}

func notInWorkspace(uri string) error {
	return mlerr.New(mlerr.InvalidArgument, "%q names nothing in an Azure ML workspace", uri).At("artifact.uri").
		WithHint("Write azureml://datastores/<datastore>/paths/<path>, or azureml://subscriptions/<id>/resourceGroups/<group>/workspaces/<workspace>/models/<model>/versions/<version>")
}
