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

// What is accepted is an address that can be written down and read again.
func FuzzParse(f *testing.F) {
	for _, uri := range []string{"a", "s3://bucket/key", "s3://b/", "file://x", "hf://a@b", "git::x", "models:/a/1", "s3:/bucket/x", "sagemaker/eu-west-1/a@1", "\x00", "S3:///", "pvc://c/p/", "oci://r.io/x:1", "gs://b_c/k", "https:/x"} {
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
		case "s3", "gs", "pvc", "oci", "https", "version":
			again, err := artifact.Parse(l.String())
			if err != nil || again != l {
				t.Errorf("%q is %+v, and again %+v, %v", uri, l, again, err)
			}
		default:
			t.Errorf("%q has the scheme %q", uri, l.Scheme)
		}
	})
}
