// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/azblob"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/gcs"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/s3"
)

const bucket = "staging"

// objects is an emulated object store, and what is in it on disk.
type objects struct {
	t      *testing.T
	scheme string
	bucket string // as locations have it
	dir    string
	store  store
	client *awss3.Client // of S3

	list func(dir, bucket, prefix string) ([]string, error)
	open func(dir, bucket, key string) (io.ReadCloser, error)
	lay  func(dir, bucket, key string, r io.Reader) error
}

type store interface {
	artifact.Store
	Source(at artifact.Location) artifact.Source
}

// eachStore runs a test with every kind of object store: what holds for one holds
// for all.
func eachStore(t *testing.T, test func(t *testing.T, newObjects func() *objects)) {
	t.Helper()
	for scheme, make := range kinds {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			test(t, func() *objects { return make(t) })
		})
	}
}

// eachStoreInTurn is eachStore for what may not run beside other tests.
func eachStoreInTurn(t *testing.T, test func(t *testing.T, newObjects func() *objects)) {
	t.Helper()
	for scheme, make := range kinds {
		t.Run(scheme, func(t *testing.T) { test(t, func() *objects { return make(t) }) })
	}
}

var kinds = map[string]func(t *testing.T) *objects{artifact.SchemeS3: newS3, artifact.SchemeGCS: newGCS, "blob": newBlob}

func serve(t *testing.T, h http.Handler, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

func newS3(t *testing.T) *objects {
	t.Helper()
	dir := t.TempDir()
	h, err := s3.New(dir)
	url := serve(t, h, err)
	if err := s3.EnsureBucket(dir, bucket); err != nil {
		t.Fatal(err)
	}
	client := awss3.New(awss3.Options{Region: "eu-west-1", BaseEndpoint: &url, UsePathStyle: true, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("AKIDTEST", "test", "")})
	return &objects{t, artifact.SchemeS3, bucket, dir, artifact.NewS3(client), client, s3.Keys, s3.Open, s3.Put}
}

func newGCS(t *testing.T) *objects {
	t.Helper()
	dir := t.TempDir()
	h, err := gcs.New(dir)
	url := serve(t, h, err)
	if err := gcs.EnsureBucket(dir, bucket); err != nil {
		t.Fatal(err)
	}
	store, err := artifact.GCSConfig{EndpointURL: url}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &objects{t, artifact.SchemeGCS, bucket, dir, store, nil, gcs.Keys, gcs.Open, gcs.Put}
}

// account is where the container of Blob storage is.
const account = "stagingaccount"

func newBlob(t *testing.T) *objects {
	t.Helper()
	store, dir := blobBetween(t, func(http.ResponseWriter, *http.Request) bool { return false })
	return &objects{
		t, artifact.SchemeHTTPS, inBlob("").Bucket, dir, store, nil,
		func(dir, bucket, prefix string) ([]string, error) { return azblob.Keys(dir, account, bucket, prefix) },
		func(dir, bucket, key string) (io.ReadCloser, error) { return azblob.Open(dir, account, bucket, key) },
		func(dir, bucket, key string, r io.Reader) error { return azblob.Put(dir, account, bucket, key, r) },
	}
}

func (o *objects) at(key string) artifact.Location {
	return artifact.Location{Scheme: o.scheme, Bucket: o.bucket, Key: key}
}

func (o *objects) keys() []string {
	o.t.Helper()
	keys, err := o.list(o.dir, bucket, "")
	if err != nil {
		o.t.Fatal(err)
	}
	return keys
}

func (o *objects) get(key string) []byte {
	o.t.Helper()
	r, err := o.open(o.dir, bucket, key)
	if err != nil {
		o.t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		o.t.Fatal(err)
	}
	return data
}

func (o *objects) put(key, content string) {
	o.t.Helper()
	if err := o.lay(o.dir, bucket, key, strings.NewReader(content)); err != nil {
		o.t.Fatal(err)
	}
}
