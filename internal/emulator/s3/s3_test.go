// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package s3_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/s3"
)

const bucket = "models"

// open serves the object store in dir to a client of its own.
func open(t *testing.T, dir string) *awss3.Client {
	t.Helper()
	h, err := s3.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s3.EnsureBucket(dir, bucket); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return awss3.New(awss3.Options{Region: "eu-west-1", BaseEndpoint: &server.URL, UsePathStyle: true, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("AKIDTEST", "test", "")})
}

func put(t *testing.T, c *awss3.Client, key, content string) string {
	t.Helper()
	out, err := c.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: aws.String(bucket), Key: &key, Body: strings.NewReader(content)})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(out.ETag)
}

func get(t *testing.T, c *awss3.Client, in *awss3.GetObjectInput) string {
	t.Helper()
	in.Bucket = aws.String(bucket)
	out, err := c.GetObject(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	data, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func refused(t *testing.T, err error, code string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

func TestRanges(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir())
	put(t, c, "k", "0123456789")
	for asked, want := range map[string]string{"bytes=2-4": "234", "bytes=7-": "789", "bytes=-3": "789", "bytes=8-99": "89"} {
		if got := get(t, c, &awss3.GetObjectInput{Key: aws.String("k"), Range: &asked}); got != want {
			t.Errorf("%s is %q, want %q", asked, got, want)
		}
	}
	_, err := c.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String("k"), Range: aws.String("bytes=10-12")})
	refused(t, err, "InvalidRange")
}

// Conditions are what keeps staged artifacts from being overwritten.
func TestConditions(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir())
	ctx := t.Context()
	etag := put(t, c, "k", "first")
	write := func(key string, in awss3.PutObjectInput) error {
		in.Bucket, in.Key, in.Body = aws.String(bucket), &key, strings.NewReader("second")
		_, err := c.PutObject(ctx, &in)
		return err
	}
	refused(t, write("k", awss3.PutObjectInput{IfNoneMatch: aws.String("*")}), "PreconditionFailed")
	refused(t, write("k", awss3.PutObjectInput{IfMatch: aws.String(`"0"`)}), "PreconditionFailed")
	refused(t, write("none", awss3.PutObjectInput{IfMatch: &etag}), "NoSuchKey")
	if got := get(t, c, &awss3.GetObjectInput{Key: aws.String("k"), IfMatch: &etag}); got != "first" {
		t.Errorf("a refused write left %q", got)
	}
	if err := write("k", awss3.PutObjectInput{IfMatch: &etag}); err != nil {
		t.Error(err)
	}
	if err := write("new", awss3.PutObjectInput{IfNoneMatch: aws.String("*")}); err != nil {
		t.Error(err)
	}
	_, err := c.GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String("k"), IfMatch: &etag})
	refused(t, err, "PreconditionFailed")
}

func TestDamagedUploadsAreRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := open(t, dir)
	wrong := base64.StdEncoding.EncodeToString(make([]byte, sha256.Size))
	_, err := c.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("k"), Body: strings.NewReader("x"), ChecksumSHA256: &wrong})
	refused(t, err, "BadDigest")
	if there, err := s3.Exists(dir, bucket, "k"); there || err != nil {
		t.Errorf("the damaged object is there: %v, %v", there, err)
	}
	if blobs, err := os.ReadDir(filepath.Join(dir, "blobs")); err != nil || len(blobs) > 0 {
		t.Errorf("its bytes are: %v, %v", blobs, err)
	}
	sum := sha256.Sum256([]byte("x"))
	right := base64.StdEncoding.EncodeToString(sum[:])
	if _, err = c.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("k"), Body: strings.NewReader("x"), ChecksumSHA256: &right}); err != nil {
		t.Fatal(err)
	}
	head, err := c.HeadObject(t.Context(), &awss3.HeadObjectInput{Bucket: aws.String(bucket), Key: aws.String("k"), ChecksumMode: types.ChecksumModeEnabled})
	if err != nil || aws.ToString(head.ChecksumSHA256) != right || head.ChecksumType != types.ChecksumTypeFullObject {
		t.Errorf("the checksum comes back: %+v, %v", head, err)
	}
}

func TestUploadInParts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := open(t, dir)
	ctx, key := t.Context(), aws.String("k")
	up, err := c.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: aws.String(bucket), Key: key})
	if err != nil {
		t.Fatal(err)
	}
	part := func(n int32, content string) types.CompletedPart {
		t.Helper()
		out, err := c.UploadPart(ctx, &awss3.UploadPartInput{Bucket: aws.String(bucket), Key: key, UploadId: up.UploadId, PartNumber: &n, Body: strings.NewReader(content)})
		if err != nil {
			t.Fatal(err)
		}
		return types.CompletedPart{PartNumber: &n, ETag: out.ETag}
	}
	complete := func(none *string, parts ...types.CompletedPart) error {
		_, err := c.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{Bucket: aws.String(bucket), Key: key, UploadId: up.UploadId,
			IfNoneMatch: none, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
		return err
	}
	small, large, last := part(1, "small"), part(2, strings.Repeat("x", 5<<20)), part(3, "end")
	refused(t, complete(nil, small, large, last), "EntityTooSmall")
	refused(t, complete(nil, large, small), "InvalidPartOrder")
	refused(t, complete(nil, large, types.CompletedPart{PartNumber: aws.Int32(9), ETag: last.ETag}), "InvalidPart")
	put(t, c, "k", "there before")
	refused(t, complete(aws.String("*"), large, last), "PreconditionFailed")
	if err := complete(nil, large, last); err != nil {
		t.Fatal(err)
	}
	head, err := c.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: aws.String(bucket), Key: key})
	if err != nil || aws.ToInt64(head.ContentLength) != 5<<20+3 || !strings.HasSuffix(aws.ToString(head.ETag), `-2"`) {
		t.Errorf("got %d bytes, ETag %s, %v", aws.ToInt64(head.ContentLength), aws.ToString(head.ETag), err)
	}
	if got := get(t, c, &awss3.GetObjectInput{Key: key, IfMatch: head.ETag}); !strings.HasSuffix(got, "xend") {
		t.Error("the parts were joined in another order")
	}
	refused(t, complete(nil, large, last), "NoSuchUpload")
	if blobs, err := os.ReadDir(filepath.Join(dir, "blobs")); err != nil || len(blobs) != 1 {
		t.Errorf("%d blobs for one object, %v", len(blobs), err)
	}
}

func TestListing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := open(t, dir)
	for _, key := range []string{"a", "a/b/1", "a/b/2", "a/c", "B", "é/ü", strings.Repeat("long/", 100) + "x"} {
		put(t, c, key, "x")
	}
	pages := awss3.NewListObjectsV2Paginator(c, &awss3.ListObjectsV2Input{Bucket: aws.String(bucket), Delimiter: aws.String("/"), Prefix: aws.String("a"), MaxKeys: aws.Int32(1)})
	var got []string
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range page.Contents {
			got = append(got, aws.ToString(o.Key))
		}
		for _, p := range page.CommonPrefixes {
			got = append(got, aws.ToString(p.Prefix))
		}
	}
	if !slices.Equal(got, []string{"a", "a/"}) {
		t.Errorf("grouped, one a page: %v", got)
	}
	keys, err := s3.Keys(dir, bucket, "")
	if err != nil || !slices.Equal(keys, []string{"B", "a", "a/b/1", "a/b/2", "a/c", strings.Repeat("long/", 100) + "x", "é/ü"}) {
		t.Errorf("keys %q, %v", keys, err)
	}
	if _, err := s3.Open(dir, "none", "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing bucket: %v", err)
	}
}

// Several processes write the same directory: of those that may not overwrite
// one wins, and nobody ever reads half an object.
func TestWritersOnOneDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	clients := []*awss3.Client{open(t, dir), open(t, dir)}
	ctx := context.WithoutCancel(t.Context())
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for i := range 16 {
		c := clients[i%2]
		wg.Go(func() {
			body := bytes.Repeat([]byte{byte('a' + i)}, 1<<16)
			_, err := c.PutObject(ctx, &awss3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String("once"), Body: bytes.NewReader(body), IfNoneMatch: aws.String("*")})
			if err == nil {
				mu.Lock()
				won++
				mu.Unlock()
			}
			key := aws.String("often")
			if _, err := c.PutObject(ctx, &awss3.PutObjectInput{Bucket: aws.String(bucket), Key: key, Body: bytes.NewReader(body)}); err != nil {
				t.Error(err)
				return
			}
			out, err := c.GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String(bucket), Key: key})
			if err != nil {
				t.Error(err)
				return
			}
			defer out.Body.Close()
			if got, err := io.ReadAll(out.Body); err != nil || len(got) != 1<<16 || len(bytes.Trim(got, string(got[:1]))) > 0 {
				t.Errorf("a mixed object of %d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d of 16 writers won", won)
	}
}

func TestBuckets(t *testing.T) {
	t.Parallel()
	c := open(t, t.TempDir())
	ctx := t.Context()
	for name, code := range map[string]string{bucket: "BucketAlreadyOwnedByYou", "Upper": "InvalidBucketName"} {
		_, err := c.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: &name})
		refused(t, err, code)
	}
	put(t, c, "k", "x")
	_, err := c.DeleteBucket(ctx, &awss3.DeleteBucketInput{Bucket: aws.String(bucket)})
	refused(t, err, "BucketNotEmpty")
	// A subresource that is not served must not be taken for the bucket itself.
	_, err = c.DeleteBucketPolicy(ctx, &awss3.DeleteBucketPolicyInput{Bucket: aws.String(bucket)})
	refused(t, err, "NotImplemented")
	if _, err := c.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: aws.String(bucket)}); err != nil {
		t.Error(err)
	}
	_, err = c.PutObject(ctx, &awss3.PutObjectInput{Bucket: aws.String("none"), Key: aws.String("k"), Body: strings.NewReader("x")})
	refused(t, err, "NoSuchBucket")
}

// Whatever a key holds, it comes back, and stays in the directory.
func FuzzKeys(f *testing.F) {
	for _, key := range []string{"a", "../../etc/passwd", "a/./b//c", "A", "%41", "~", ".", strings.Repeat("k", 1000), "\x00", "é"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if key == "" {
			t.Skip("no key")
		}
		dir := t.TempDir()
		if err := s3.EnsureBucket(dir, bucket); err != nil {
			t.Fatal(err)
		}
		if err := s3.Put(dir, bucket, key, strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
		keys, err := s3.Keys(dir, bucket, "")
		if err != nil || len(keys) != 1 || (keys[0] != key && !strings.Contains(fmt.Sprintf("%q", key), `\x`)) {
			t.Errorf("wrote %q, and there are %q, %v", key, keys, err)
		}
		files, err := os.ReadDir(filepath.Join(dir, "buckets", bucket, "keys"))
		if err != nil || len(files) != 1 {
			t.Errorf("%q is not kept as a file of its bucket: %v, %v", key, files, err)
		}
	})
}
