// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact_test

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// The same bytes have the same digest wherever they are.
func TestObjectsAndFilesHaveTheSameDigest(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, newObjects func() *objects) {
		t.Helper()
		o := newObjects()
		files := map[string]string{"config.json": "{}", "deep/weights": "w"}
		for name, content := range files {
			o.put("models/fraud/"+name, content)
		}
		o.put("models/fraud/deep/", "") // as a console makes folders
		o.put("models/fraud-other", "not below the prefix")
		local := tree(t, files)
		if got, want := digest(t, o.store.Source(o.at("models/fraud/"))), digest(t, artifact.Local(local)); got != want {
			t.Errorf("a tree: got %s, want %s", got, want)
		}
		src := o.store.Source(o.at("models/fraud/config.json"))
		if got, want := digest(t, src), digest(t, artifact.Local(filepath.Join(local, "config.json"))); got != want || !src.Single() {
			t.Errorf("an object: got %s, want %s", got, want)
		}
	})
}

// S3 may keep the SHA-256 itself: then a plan reads nothing. The checksum of an
// upload in parts is another one.
func TestStoredChecksums(t *testing.T) {
	t.Parallel()
	o := newS3(t)
	ctx := t.Context()
	_, err := o.client.PutObject(ctx, &awss3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("whole"), Body: strings.NewReader("model"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
	if err != nil {
		t.Fatal(err)
	}
	up, err := o.client.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: aws.String(bucket), Key: aws.String("parts"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
	if err != nil {
		t.Fatal(err)
	}
	part, err := o.client.UploadPart(ctx, &awss3.UploadPartInput{Bucket: aws.String(bucket), Key: aws.String("parts"), UploadId: up.UploadId, PartNumber: aws.Int32(1), Body: strings.NewReader("model"),
		ChecksumAlgorithm: types.ChecksumAlgorithmSha256})
	if err != nil {
		t.Fatal(err)
	}
	_, err = o.client.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{Bucket: aws.String(bucket), Key: aws.String("parts"), UploadId: up.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{PartNumber: aws.Int32(1), ETag: part.ETag, ChecksumSHA256: part.ChecksumSHA256}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"whole", "parts"} {
		if got := digest(t, o.store.Source(o.at(key))); got != sum("model") {
			t.Errorf("%s: got %s, want %s", key, got, sum("model"))
		}
	}
	blobs, err := os.ReadDir(filepath.Join(o.dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blobs { // what cannot be read any more was not read
		if err := os.Truncate(filepath.Join(o.dir, "blobs", b.Name()), 0); err != nil {
			t.Fatal(err)
		}
	}
	if got := digest(t, o.store.Source(o.at("whole"))); got != sum("model") {
		t.Errorf("the stored checksum was not taken: %s", got)
	}
}

func TestMissingObjects(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, newObjects func() *objects) {
		t.Helper()
		o := newObjects()
		other := o.at("x")
		other.Bucket = strings.Replace(other.Bucket, bucket, "other", 1)
		for reason, l := range map[string]artifact.Location{"an object": o.at("none"), "a prefix": o.at("none/"), "a bucket": other} {
			_, err := artifact.Digest(t.Context(), o.store.Source(l))
			if !mlerr.Is(err, mlerr.NotFound) || mlerr.PathOf(err) != "artifact.uri" {
				t.Errorf("%s: got %v (%s) at %q", reason, err, mlerr.CodeOf(err), mlerr.PathOf(err))
			}
		}
		if _, err := o.store.Stat(t.Context(), o.at("none")); !mlerr.Is(err, mlerr.NotFound) {
			t.Errorf("got %v", err)
		}
	})
}

// endless yields zeros without holding them, and tells what of the heap lives.
type endless struct {
	left, read int64
	most       uint64
	fail       error // in place of the end
}

func (e *endless) Read(p []byte) (int, error) {
	if e.left == 0 {
		if e.fail != nil {
			return 0, e.fail
		}
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), e.left))
	clear(p[:n])
	if e.left, e.read = e.left-int64(n), e.read+int64(n); e.most > 0 && e.read>>24 != (e.read-int64(n))>>24 {
		e.most = max(e.most, alive())
	}
	return n, nil
}

func alive() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Not parallel: other tests' memory would be counted.
func TestUploadsAreStreamed(t *testing.T) { //nolint:paralleltest // measures the heap
	eachStoreInTurn(t, func(t *testing.T, newObjects func() *objects) {
		t.Helper()
		o := newObjects()
		before := alive()
		r := &endless{left: 160 << 20, most: before}
		if err := o.store.Put(t.Context(), o.at("large"), "digest", r); err != nil {
			t.Fatal(err)
		}
		if used := r.most - before; used > 112<<20 {
			t.Errorf("160 MiB were sent with %d MiB in memory", used>>20)
		}
		if got, err := o.store.Stat(t.Context(), o.at("large")); got != "digest" || err != nil {
			t.Errorf("staged for %q, %v", got, err)
		}
	})
}

func TestUploadsThatEndBadly(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, newObjects func() *objects) {
		t.Helper()
		o := newObjects()
		broken := mlerr.New(mlerr.InvalidArgument, "other bytes").At("artifact.uri")
		for reason, size := range map[string]int64{"in one request": 10, "in parts": 40 << 20} {
			err := o.store.Put(t.Context(), o.at("k"), "digest", &endless{left: size, fail: broken})
			if !errors.Is(err, broken) || mlerr.PathOf(err) != "artifact.uri" {
				t.Errorf("%s: got %v", reason, err)
			}
			if keys := o.keys(); len(keys) > 0 {
				t.Errorf("%s: %v is there", reason, keys)
			}
		}
		// Those of Cloud Storage and Blob storage end by themselves.
		if left, err := os.ReadDir(filepath.Join(o.dir, "uploads")); o.scheme == artifact.SchemeS3 && (err != nil || len(left) > 0) {
			t.Errorf("unfinished uploads cost money and stayed: %v, %v", left, err)
		}
		o.put("k", "there before")
		for reason, size := range map[string]int64{"in one request": 10, "in parts": 20 << 20} {
			if err := o.store.Put(t.Context(), o.at("k"), "digest", &endless{left: size}); !mlerr.Is(err, mlerr.Conflict) || string(o.get("k")) != "there before" {
				t.Errorf("%s: got %v, and the object is overwritten: %v", reason, err, string(o.get("k")) != "there before")
			}
		}
	})
}
