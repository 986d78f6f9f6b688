// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package gcs serves Google Cloud Storage from a directory, for rehearsal and
// tests.
//
// Any number of processes and handlers may serve the same directory at once. The
// JSON API's buckets and objects behave as they do there: uploads in one request,
// as multipart and resumable, ranges, listing, copies, composition, conditions on
// generations, checksums and metadata; so do reads of the XML API. Credentials are
// not checked, objects have no versions, what is stored with gzip encoding is not
// unpacked, and a method that is not served (acl, notifications, …) answers 501.
package gcs

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/objects"
)

// Server is the object store in a directory, as an http.Handler.
type Server struct {
	store objects.Store
	mux   *http.ServeMux
}

// New serves the object store kept in dir, which is created when missing.
func New(dir string) (*Server, error) {
	store, err := objects.Open(dir)
	if err != nil {
		return nil, err
	}
	return &Server{store, newMux(store)}, nil
}

// Info describes a stored object.
type Info struct {
	Size       int64 // bytes
	Generation int64
	Metadata   map[string]string // the user's
}

// location is where a bucket is that nobody has given one.
const location = "US"

// EnsureBucket creates the bucket in the object store in dir unless it exists.
func EnsureBucket(dir, name string) error {
	s, err := objects.Open(dir)
	if err != nil {
		return err
	}
	if !validBucket(name) {
		return fmt.Errorf("%q is not a valid bucket name", name)
	}
	if err := s.CreateBucket(name, objects.Bucket{Created: time.Now().UTC(), Location: location}); !errors.Is(err, objects.ErrHasBucket) {
		return err
	}
	return nil
}

var bucketName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$`)

// validBucket holds the naming rules. A name with dots may be longer, though none
// of its parts may.
func validBucket(name string) bool {
	if !bucketName.MatchString(name) || strings.HasPrefix(name, "goog") || strings.Contains(name, "..") {
		return false
	}
	for part := range strings.SplitSeq(name, ".") {
		if len(part) > 63 {
			return false
		}
	}
	return true
}

// Open opens an object in the object store in dir. A missing bucket or object is
// an fs.ErrNotExist.
func Open(dir, bucket, name string) (io.ReadCloser, error) {
	_, f, err := objects.In(dir).Open(bucket, name)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Stat describes an object in the object store in dir. A missing bucket or object
// is an fs.ErrNotExist.
func Stat(dir, bucket, name string) (Info, error) {
	o, err := objects.In(dir).Find(bucket, name)
	if err != nil {
		return Info{}, err
	}
	return Info{Size: o.Size, Generation: o.Generation, Metadata: o.Metadata}, nil
}

// Keys lists the names of objects below prefix in UTF-8 order. A missing bucket is
// an fs.ErrNotExist.
func Keys(dir, bucket, prefix string) ([]string, error) {
	return objects.In(dir).Keys(bucket, prefix)
}

// Put writes an object, replacing one of the same name. A missing bucket is an
// fs.ErrNotExist.
func Put(dir, bucket, name string, r io.Reader) error {
	s, err := objects.Open(dir)
	if err != nil {
		return err
	}
	if _, err := s.Bucket(bucket); err != nil {
		return err
	}
	o, err := write(s, r)
	if err != nil {
		return err
	}
	o.Key, o.Header = name, map[string]string{headerType: defaultType}
	return s.Put(bucket, &o, succeeding(&o))
}
