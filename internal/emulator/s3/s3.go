// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package s3 serves Amazon S3 from a directory, for rehearsal and tests.
//
// Any number of processes and handlers may serve the same directory at once.
// Buckets are addressed by path (http://host/bucket/key). Buckets, objects,
// listing, copies, multipart uploads, ranges, conditional writes, checksums
// and aws-chunked bodies behave as in S3; credentials are not checked, objects
// have no versions, and a subresource that is not served (acl, policy,
// lifecycle, …) answers 501 NotImplemented.
package s3

import (
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/johannesboyne/gofakes3"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/objects"
)

// New returns a handler that serves the object store kept in dir, which is
// created when missing. The handler may be used from any number of
// goroutines.
func New(dir string) (http.Handler, error) {
	s, err := objects.Open(dir)
	if err != nil {
		return nil, err
	}
	return &server{store: store{s}}, nil
}

// store adds multipart uploads to what every object store has.
type store struct{ objects.Store }

type server struct {
	store    store
	requests atomic.Uint64
}

// Info describes a stored object.
type Info struct {
	Size     int64             // bytes
	ETag     string            // without quotes
	Metadata map[string]string // user metadata, lower-case names without "x-amz-meta-"
}

// EnsureBucket creates the bucket in the object store in dir unless it exists.
func EnsureBucket(dir, name string) error {
	s, err := objects.Open(dir)
	if err != nil {
		return err
	}
	if err := gofakes3.ValidateBucketName(name); err != nil {
		return err
	}
	if err := s.CreateBucket(name, objects.Bucket{Created: time.Now().UTC()}); err != nil && !errors.Is(err, objects.ErrHasBucket) {
		return err
	}
	return nil
}

// Open opens an object in the object store in dir. A missing bucket or key is
// an fs.ErrNotExist.
func Open(dir, bucket, key string) (io.ReadCloser, error) {
	_, f, err := objects.In(dir).Open(bucket, key)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Stat describes an object in the object store in dir. A missing bucket or
// key is an fs.ErrNotExist.
func Stat(dir, bucket, key string) (Info, error) {
	o, err := objects.In(dir).Find(bucket, key)
	if err != nil {
		return Info{}, err
	}
	return Info{Size: o.Size, ETag: o.ETag, Metadata: userMetadata(o)}, nil
}

// Exists reports whether the object store in dir has the object.
func Exists(dir, bucket, key string) (bool, error) {
	_, err := objects.In(dir).Find(bucket, key)
	if errors.Is(err, objects.ErrNoBucket) || errors.Is(err, objects.ErrNoKey) {
		return false, nil
	}
	return err == nil, err
}

// Keys lists the keys below prefix in UTF-8 order. A missing bucket is an
// fs.ErrNotExist.
func Keys(dir, bucket, prefix string) ([]string, error) {
	return objects.In(dir).Keys(bucket, prefix)
}

// Put writes an object, replacing one of the same key. A missing bucket is an
// fs.ErrNotExist.
func Put(dir, bucket, key string, r io.Reader) error {
	s, err := objects.Open(dir)
	if err != nil {
		return err
	}
	if _, err := s.Bucket(bucket); err != nil {
		return err
	}
	o, err := s.WriteBlob(r)
	if err != nil {
		return err
	}
	o.Key = key
	o.Header = map[string]string{"Content-Type": defaultType}
	return s.Put(bucket, &o, nil)
}
