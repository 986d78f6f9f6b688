// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package azblob serves Azure Blob storage from a directory, for rehearsal and
// tests.
//
// Any number of processes and handlers may serve the same directory at once. Every
// account is there; its name begins the path, /<account>/<container>/<blob>, as with
// other emulators. Containers and block blobs behave as they do there: uploads in
// one request and in blocks, ranges, listing, copies, conditions, checksums and
// metadata. A request has to carry a token, a signature or a key, which are not
// checked further. There are no leases, snapshots, versions, tiers and tags, and a
// method that is not served answers 501.
package azblob

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/objects"
)

// Info describes a stored blob.
type Info struct {
	Size     int64             // bytes
	Metadata map[string]string // the user's
}

var (
	accountName   = regexp.MustCompile(`^[a-z0-9]{3,24}$`)
	containerName = regexp.MustCompile(`^(\$root|\$web|[a-z0-9](-?[a-z0-9])+)$`)
)

func validContainer(name string) bool {
	return containerName.MatchString(name) && len(name) >= 3 && len(name) <= 63
}

// bucket is what a container is called in the object store.
func bucket(account, container string) string { return account + "." + container }

// EnsureContainer creates the container in the object store in dir unless it exists.
func EnsureContainer(dir, account, container string) error {
	s, err := objects.Open(dir)
	if err != nil {
		return err
	}
	if !accountName.MatchString(account) || !validContainer(container) {
		return fmt.Errorf("%s/%s is not a valid name of a container", account, container)
	}
	if err := s.CreateBucket(bucket(account, container), objects.Bucket{Created: time.Now().UTC()}); !errors.Is(err, objects.ErrHasBucket) {
		return err
	}
	return nil
}

// Open opens a blob in the object store in dir. A missing container or blob is an
// fs.ErrNotExist.
func Open(dir, account, container, name string) (io.ReadCloser, error) {
	_, f, err := objects.In(dir).Open(bucket(account, container), name)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Stat describes a blob in the object store in dir. A missing container or blob is an
// fs.ErrNotExist.
func Stat(dir, account, container, name string) (Info, error) {
	o, err := objects.In(dir).Find(bucket(account, container), name)
	if err != nil {
		return Info{}, err
	}
	return Info{Size: o.Size, Metadata: o.Metadata}, nil
}

// Keys lists the names of blobs below prefix in UTF-8 order. A missing container is an
// fs.ErrNotExist.
func Keys(dir, account, container, prefix string) ([]string, error) {
	return objects.In(dir).Keys(bucket(account, container), prefix)
}

// Put writes a blob, replacing one of the same name. A missing container is an
// fs.ErrNotExist.
func Put(dir, account, container, name string, r io.Reader) error {
	s, err := objects.Open(dir)
	if err != nil {
		return err
	}
	if _, err := s.Bucket(bucket(account, container)); err != nil {
		return err
	}
	o, err := s.WriteBlob(r)
	if err != nil {
		return err
	}
	o.Key, o.Header = name, map[string]string{headerType: defaultType}
	return s.Put(bucket(account, container), &o, func(old *objects.Object) error {
		succeed(&o, old)
		return nil
	})
}

const (
	headerType  = "Content-Type"
	defaultType = "application/octet-stream"
)

// succeed gives a blob that replaces another one its times and a new ETag.
func succeed(o, old *objects.Object) {
	now := time.Now().UTC()
	o.Created, o.Modified, o.Generation = now, now, now.UnixNano()
	if old != nil {
		o.Created, o.Generation = old.Created, max(o.Generation, old.Generation+1)
	}
}

// tag is a blob's ETag.
func tag(o *objects.Object) string { return fmt.Sprintf("\"0x%X\"", o.Generation) }
