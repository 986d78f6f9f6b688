// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

func TestParse(t *testing.T) {
	t.Parallel()
	file := func(name string) artifact.Location { return artifact.Location{Scheme: "file", Path: name} }
	for _, c := range []struct {
		reason, uri string
		want        artifact.Location
		refused     mlerr.Code
	}{
		{"a relative path", "models/fraud.onnx", file(filepath.Clean("models/fraud.onnx")), 0},
		{"a path is cleaned", "./models//fraud.onnx", file(filepath.Clean("models/fraud.onnx")), 0},
		{"a file URL", "file:///tmp/fraud.onnx", file("/tmp/fraud.onnx"), 0},
		{"a name with a colon is a path", "a:b.onnx", file("a:b.onnx"), 0},
		{"a name with an at sign is a path", "models/fraud@7.onnx", file("models/fraud@7.onnx"), 0},
		{"an object", "s3://bucket/a/b.tar.gz", artifact.Location{Scheme: "s3", Bucket: "bucket", Key: "a/b.tar.gz"}, 0},
		{"keys are not cleaned", "s3://bucket/a//b/", artifact.Location{Scheme: "s3", Bucket: "bucket", Key: "a//b/"}, 0},
		{"schemes have no case", "S3://bucket/a", artifact.Location{Scheme: "s3", Bucket: "bucket", Key: "a"}, 0},
		{"a whole bucket", "s3://bucket", artifact.Location{Scheme: "s3", Bucket: "bucket"}, 0},
		{"nothing", "", artifact.Location{}, mlerr.InvalidArgument},
		{"no bucket", "s3:///a", artifact.Location{}, mlerr.InvalidArgument},
		{"no bucket's name", "s3://Up_per/a", artifact.Location{}, mlerr.InvalidArgument},
		{"a NUL", "a\x00b", artifact.Location{}, mlerr.InvalidArgument},
		{"another store", "gs://my_bucket/a", artifact.Location{Scheme: "gs", Bucket: "my_bucket", Key: "a"}, 0},
		{"a volume", "pvc://models/fraud/7/", artifact.Location{Scheme: "pvc", Bucket: "models", Key: "fraud/7/"}, 0},
		{"a whole volume", "pvc://models", artifact.Location{Scheme: "pvc", Bucket: "models"}, 0},
		{"a way out of a volume", "pvc://models/../other", artifact.Location{}, mlerr.InvalidArgument},
		{"no volume", "pvc:///a", artifact.Location{}, mlerr.InvalidArgument},
		{"an image", "oci://registry.example:5000/ml/fraud:7", artifact.Location{Scheme: "oci", Path: "registry.example:5000/ml/fraud:7"}, 0},
		{"no image", "oci://registry.example", artifact.Location{}, mlerr.InvalidArgument},
		{"a web address", "https://example.com/fraud.onnx?v=1", artifact.Location{Scheme: "https", Path: "https://example.com/fraud.onnx?v=1"}, 0},
		{"a blob", "https://Acct1.blob.core.windows.net/models/a%20b/fraud.onnx", blobAt("acct1.blob.core.windows.net/models", "a b/fraud.onnx"), 0},
		{"a directory of blobs", "https://acct1.blob.core.windows.net/models/a//b/", blobAt("acct1.blob.core.windows.net/models", "a//b/"), 0},
		{"a whole container", "https://acct1.blob.core.windows.net/models", blobAt("acct1.blob.core.windows.net/models", ""), 0},
		{"another cloud", "https://acct1.blob.core.usgovcloudapi.net/models/x", blobAt("acct1.blob.core.usgovcloudapi.net/models", "x"), 0},
		{"a DNS zone", "https://acct1.z13.blob.storage.azure.net/$web/x", blobAt("acct1.z13.blob.storage.azure.net/$web", "x"), 0},
		{"no container", "https://acct1.blob.core.windows.net/", artifact.Location{}, mlerr.InvalidArgument},
		{"no container's name", "https://acct1.blob.core.windows.net/a--b/x", artifact.Location{}, mlerr.InvalidArgument},
		{"a way out of a container", "https://acct1.blob.core.windows.net/models/a/../b", artifact.Location{}, mlerr.InvalidArgument},
		{"a signed address is a file on the web", "https://acct1.blob.core.windows.net/m/x?sig=s", artifact.Location{Scheme: "https", Path: "https://acct1.blob.core.windows.net/m/x?sig=s"}, 0},
		{"no account's name", "https://acct-1.blob.core.windows.net/models/x", artifact.Location{Scheme: "https", Path: "https://acct-1.blob.core.windows.net/models/x"}, 0},
		{"a datastore", "azureml://datastores/workspaceblobstore/paths/models/7", artifact.Location{Scheme: "azureml", Path: "azureml://datastores/workspaceblobstore/paths/models/7"}, 0},
		{"nothing in a workspace", "azureml://fraud/7", artifact.Location{}, mlerr.InvalidArgument},
		{"a registry's model", "azureml://registries/r/models/fraud/versions/7", artifact.Location{}, mlerr.Unsupported},
		{"a job's output", "azureml://jobs/j/outputs/model/paths/x", artifact.Location{}, mlerr.Unsupported},
		{"a hub", "hf://org/repo@main", artifact.Location{}, mlerr.Unsupported},
		{"a registry", "models:/fraud/3", artifact.Location{}, mlerr.Unsupported},
		{"a repository", "git::https://example.com/x.git//model?ref=v1", artifact.Location{}, mlerr.Unsupported},
		{"a version of another platform", "vertex_ai/project/europe-west4/fraud@3", artifact.Location{Scheme: "version", Path: "vertex_ai/project/europe-west4/fraud@3"}, 0},
		{"an unknown scheme", "ftp://host/a", artifact.Location{}, mlerr.Unsupported},
	} {
		got, err := artifact.Parse(c.uri)
		if c.refused != 0 {
			if !mlerr.Is(err, c.refused) || mlerr.PathOf(err) != "artifact.uri" || mlerr.Hint(err) == "" {
				t.Errorf("%s: %q: got %v at %q with hint %q, want %s", c.reason, c.uri, err, mlerr.PathOf(err), mlerr.Hint(err), c.refused)
			}
			continue
		}
		if err != nil || !cmp.Equal(got, c.want) {
			t.Errorf("%s: %q: got %+v, %v, want %+v", c.reason, c.uri, got, err, c.want)
		}
	}
}

func blobAt(bucket, key string) artifact.Location {
	return artifact.Location{Scheme: "https", Bucket: bucket, Key: key}
}

// The short and the long form of azureml:// name the same, in any casing.
func TestParseAzureML(t *testing.T) {
	t.Parallel()
	here := artifact.AzureMLReference{Subscription: "S", ResourceGroup: "G", Workspace: "W"}
	there := func(change func(*artifact.AzureMLReference)) artifact.AzureMLReference {
		r := here
		change(&r)
		return r
	}
	for uri, want := range map[string]artifact.AzureMLReference{
		"azureml://datastores/ds/paths/a/b/": {Datastore: "ds", Path: "a/b/"},
		"AzureML://subscriptions/S/resourcegroups/G/workspaces/W/datastores/ds/paths/a": there(func(r *artifact.AzureMLReference) {
			r.Datastore, r.Path = "ds", "a"
		}),
		"azureml://subscriptions/S/resourceGroups/G/providers/Microsoft.MachineLearningServices/workspaces/W/models/fraud/versions/7": there(func(r *artifact.AzureMLReference) {
			r.Model, r.Version = "fraud", "7"
		}),
		"azureml://models/fraud/versions/7": {Model: "fraud", Version: "7"},
	} {
		if got, err := artifact.ParseAzureML(uri); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", uri, got, err, want)
		}
	}
	for _, uri := range []string{"", "azureml:", "s3://bucket/key", "azureml://datastores/ds/paths/a/../b", "azureml://datastores/ds", "azureml://models/fraud"} {
		if got, err := artifact.ParseAzureML(uri); !mlerr.Is(err, mlerr.InvalidArgument) || mlerr.PathOf(err) != "artifact.uri" {
			t.Errorf("%q: got %+v, %v", uri, got, err)
		}
	}
}

// What is accepted is an address that can be written down and read again.
func FuzzParse(f *testing.F) {
	for _, uri := range []string{"a", "s3://bucket/key", "s3://b/", "file://x", "hf://a@b", "git::x", "models:/a/1", "s3:/bucket/x", "sagemaker/eu-west-1/a@1", "\x00", "S3:///", "pvc://c/p/", "oci://r.io/x:1", "gs://b_c/k", "https:/x",
		"https://abc.blob.core.windows.net/con/%2f%25 ü", "https://abc.blob.core.windows.net/con?x", "azureml://datastores/a/paths/b"} {
		f.Add(uri)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		l, err := artifact.Parse(uri)
		if err != nil {
			if mlerr.PathOf(err) != "artifact.uri" || !mlerr.Is(err, mlerr.InvalidArgument, mlerr.Unsupported) {
				t.Errorf("%q: %v at %q", uri, err, mlerr.PathOf(err))
			}
			return
		}
		switch l.Scheme {
		case "file":
			if l.Path == "" || strings.ContainsRune(l.Path, 0) {
				t.Errorf("%q is the path %q", uri, l.Path)
			}
		case "s3", "gs", "pvc", "oci", "https", "version", "azureml":
			again, err := artifact.Parse(l.String())
			if err != nil || again != l {
				t.Errorf("%q is %+v, and again %+v, %v", uri, l, again, err)
			}
		default:
			t.Errorf("%q has the scheme %q", uri, l.Scheme)
		}
	})
}
