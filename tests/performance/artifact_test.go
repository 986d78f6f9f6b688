// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package performance_test

import (
	"archive/tar"
	"compress/gzip"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const artifactSize = 512 * mega

// TestArtifactCopy stages a large archive, as it is, and a large model, which has
// to become one. An archive's copy is compared with a plain upload of the same
// bytes, between the same two places.
func TestArtifactCopy(t *testing.T) {
	t.Setenv("ML_REHEARSAL_SPEED", "20")
	r, dir := platform(t, fleet)
	archive, raw := filepath.Join(dir, "large.tar.gz"), filepath.Join(dir, "large.onnx")
	writeModel(t, archive, raw)
	plain := upload(t, r.S3(), archive)
	for name, file := range map[string]string{"archive": archive, "model": raw} {
		temporary := t.TempDir()
		env := append([]string{"TMPDIR=" + temporary}, isolated...)
		began := time.Now()
		_, used := attached(t, dir, env, "apply", "-auto-approve", "-input=false", "-var=n=1", "-var=file="+file)
		var first, last time.Time
		for _, c := range r.Since(t, began) {
			switch c.Name {
			case "s3.CreateMultipartUpload":
				first = c.Time.Add(-c.Elapsed)
			case "s3.CompleteMultipartUpload":
				last = c.Time
			}
		}
		if first.IsZero() || last.Before(first) {
			t.Fatalf("the %s was not uploaded in parts", name)
		}
		took := last.Sub(first)
		tell(t, "%s of 512 MB: %s, %.0f MB/s; a plain upload: %s, %.0f MB/s", name, took.Round(time.Millisecond), 512/took.Seconds(), plain.Round(time.Millisecond), 512/plain.Seconds())
		hold(t, "memory of copying 512 MB, "+name, "%.0f MB", used.rss/mega, 128)
		hold(t, "written to disk beside it, "+name, "%.0f MB", used.written/mega, 1)
		hold(t, "time of the copy, "+name, "%.2f of a plain upload", took.Seconds()/plain.Seconds(), map[string]float64{"archive": 1.1, "model": 4}[name])
	}
	if _, err := exec.LookPath("rclone"); err != nil {
		tell(t, "rclone is not installed, and not compared with")
	}
}

// writeModel writes bytes that do not compress, as weights do not, as a file and
// as an archive of that file.
func writeModel(t *testing.T, archive, raw string) {
	t.Helper()
	a, errA := os.Create(archive)
	b, errB := os.Create(raw)
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	z, err := gzip.NewWriterLevel(a, gzip.NoCompression)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	if err := w.WriteHeader(&tar.Header{Name: "model.onnx", Mode: 0o644, Size: artifactSize}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.MultiWriter(w, b), rand.NewChaCha8([32]byte{1}), artifactSize); err != nil {
		t.Fatal(err)
	}
	for _, c := range []io.Closer{w, z, a, b} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// upload is the SDK's own multipart upload, from a process that does nothing else.
func upload(t *testing.T, client *s3.Client, file string) time.Duration {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	began := time.Now()
	_, err = manager.NewUploader(client).Upload(t.Context(), &s3.PutObjectInput{Bucket: aws.String("staging"), Key: aws.String("plain"), Body: f}) //nolint:staticcheck // the successor is not released
	if err != nil {
		t.Fatal(err)
	}
	return time.Since(began)
}
