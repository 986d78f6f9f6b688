// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package performance_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"google.golang.org/api/option"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
)

// crossing is a model on SageMaker and one on Vertex AI, which has its artifact from
// the first or from the file.
const crossing = `
variable "file" {
  type = string
}

variable "moves" {
  type    = bool
  default = true
}

resource "ml_model" "aws" {
  count    = var.moves ? 1 : 0
  platform = "sagemaker"
  name     = "large"
  artifact = { uri = var.file, format = "onnx" }
}

resource "ml_model" "google" {
  platform = "vertex_ai"
  name     = "large"
  artifact = { uri = var.moves ? ml_model.aws[0].version_id : var.file, format = "onnx" }
  serving  = { image = "europe-docker.pkg.dev/p1/own/serving:1" }
}
`

// twoPlatforms serves two platforms and makes a configuration for both.
func twoPlatforms(t *testing.T) (r *acctest.Rehearsal, dir string) {
	t.Helper()
	r, dir = platform(t, "")
	if err := bucketOf(t, r).Create(t.Context(), "p1", nil); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(filepath.Join(dir, "main.tf"))
	if err != nil {
		t.Fatal(err)
	}
	both := strings.Replace(string(config), "  sagemaker = {", fmt.Sprintf(`  vertex_ai = {
    project              = "p1"
    region               = "europe-west4"
    access_token         = "test"
    endpoint_url         = %q
    storage_endpoint_url = %q
    staging_uri          = "gs://staging/artifacts"
  }
  sagemaker = {`, r.VertexAddress(), r.GCS()), 1)
	if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte(both+crossing), 0o600); err != nil {
		t.Fatal(err)
	}
	return r, dir
}

// bucketOf is the staging bucket through Google's own client.
func bucketOf(t *testing.T, r *acctest.Rehearsal) *storage.BucketHandle {
	t.Helper()
	client, err := storage.NewClient(t.Context(), option.WithEndpoint(r.GCS()+"/storage/v1/"), option.WithHTTPClient(http.DefaultClient))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client.Bucket("staging")
}

// TestArtifactOnCloudStorage stages a large model for Vertex AI, from a file and from
// the archive that SageMaker has of it.
func TestArtifactOnCloudStorage(t *testing.T) {
	t.Setenv("ML_REHEARSAL_SPEED", "20")
	for _, moves := range []bool{false, true} {
		name := map[bool]string{false: "to Cloud Storage", true: "moved from S3 to Cloud Storage"}[moves]
		t.Run(name, func(t *testing.T) {
			r, dir := twoPlatforms(t)
			file := filepath.Join(dir, "large.onnx")
			writeModel(t, filepath.Join(dir, "large.tar.gz"), file)
			plain := write(t, bucketOf(t, r), file)
			apply := []string{"apply", "-auto-approve", "-input=false", "-var=file=" + file, fmt.Sprintf("-var=moves=%v", moves)}
			env := append([]string{"TMPDIR=" + t.TempDir()}, isolated...)
			if moves { // what is measured is the move alone
				if _, err := built.Run(t.Context(), dir, env, append(apply, "-target=ml_model.aws")...); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			_, used := attached(t, dir, env, apply...)
			took := time.Since(began)
			tell(t, "512 MB %s: %s; a plain upload: %s", name, took.Round(time.Millisecond), plain.Round(time.Millisecond))
			hold(t, "memory of 512 MB "+name, "%.0f MB", used.rss/mega, 128)
			hold(t, "written to disk beside 512 MB "+name, "%.0f MB", used.written/mega, 1)
			hold(t, "time of an apply with 512 MB "+name, "%.2f of a plain upload", took.Seconds()/plain.Seconds(), map[bool]float64{false: 4, true: 10}[moves])
		})
	}
}

// write is the client's own upload, from a process that does nothing else.
func write(t *testing.T, bucket *storage.BucketHandle, file string) time.Duration {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	began := time.Now()
	w := bucket.Object("plain").NewWriter(t.Context())
	if _, err = io.Copy(w, f); err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}
