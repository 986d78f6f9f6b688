// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package s3

import (
	"crypto/md5" //nolint:gosec // an S3 ETag is an MD5 by definition
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// store is what is on disk:
//
//	lock                         held for the instant of every change
//	blobs/<random>               bytes, written once
//	buckets/<bucket>/bucket.json
//	buckets/<bucket>/keys/<escaped key>.json    an object: its attributes and its blob
//	uploads/<id>/upload.json, <part number>.json a multipart upload in progress
//	tmp/                         JSON files before they are renamed into place
//
// Bytes are written first, outside the lock; a change becomes visible by one
// rename under the lock. A process that dies leaves at most an unused blob.
type store struct{ dir string }

// object is one stored object, or one part of an upload.
type object struct {
	Key          string            `json:"key"`
	Blob         string            `json:"blob"`
	Size         int64             `json:"size"`
	ETag         string            `json:"etag"` // hex, or hex-N for N parts
	Modified     time.Time         `json:"modified"`
	Header       map[string]string `json:"header,omitempty"` // response headers, canonical names
	Checksums    map[string]string `json:"checksums,omitempty"`
	ChecksumType string            `json:"checksum_type,omitempty"`
}

type bucketInfo struct {
	Created time.Time `json:"created"`
}

var (
	errNoBucket  = fmt.Errorf("no such bucket: %w", fs.ErrNotExist)
	errNoKey     = fmt.Errorf("no such key: %w", fs.ErrNotExist)
	errNotEmpty  = errors.New("bucket is not empty")
	errHasBucket = fmt.Errorf("bucket: %w", fs.ErrExist)
)

func openStore(dir string) (store, error) {
	for _, sub := range []string{"blobs", "buckets", "uploads", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o750); err != nil {
			return store{}, fmt.Errorf("create object store: %w", err)
		}
	}
	return store{dir: dir}, nil
}

// locked runs change while no other process or goroutine changes the store.
func (s store) locked(change func() error) error {
	lock := flock.New(filepath.Join(s.dir, "lock"))
	if err := lock.Lock(); err != nil {
		return fmt.Errorf("lock object store: %w", err)
	}
	defer lock.Close() //nolint:errcheck // closing releases the lock whatever it returns
	return change()
}

func (s store) blobPath(name string) string { return filepath.Join(s.dir, "blobs", name) }

func (s store) bucketPath(bucket string) string { return filepath.Join(s.dir, "buckets", bucket) }

func (s store) keyPath(bucket, key string) string {
	return filepath.Join(s.bucketPath(bucket), "keys", escape(key)+".json")
}

// writeBlob stores bytes under a new name and measures them.
func (s store) writeBlob(r io.Reader) (o object, err error) {
	o = object{Blob: rand.Text(), Modified: time.Now().UTC()}
	f, err := os.OpenFile(s.blobPath(o.Blob), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640) //nolint:gosec // read by the same group
	if err != nil {
		return o, err
	}
	sum := md5.New() //nolint:gosec // see the import
	o.Size, err = io.Copy(io.MultiWriter(f, sum), r)
	if err = errors.Join(err, f.Close()); err != nil {
		s.dropBlob(o.Blob)
		return o, err
	}
	o.ETag = hex.EncodeToString(sum.Sum(nil))
	return o, nil
}

// dropBlob removes bytes nothing refers to any more. Where an open file cannot
// be removed the blob stays behind, which is harmless.
func (s store) dropBlob(name string) { _ = os.Remove(s.blobPath(name)) }

// writeJSON replaces path in one step. The caller holds the lock if others
// may be replacing the same path.
func (s store) writeJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	tmp := filepath.Join(s.dir, "tmp", rand.Text())
	if err := os.WriteFile(tmp, data, 0o640); err != nil { //nolint:gosec // read by the same group, like the blobs
		return err
	}
	if err := os.Rename(tmp, path); err != nil {
		_ = os.Remove(tmp)
		return err
	}
	return nil
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

func (s store) bucket(name string) (info bucketInfo, err error) {
	if !validBucket(name) {
		return info, errNoBucket
	}
	err = readJSON(filepath.Join(s.bucketPath(name), "bucket.json"), &info)
	if errors.Is(err, fs.ErrNotExist) {
		err = errNoBucket
	}
	return info, err
}

// validBucket keeps a name from leaving the directory; the naming rules of S3
// are checked where a bucket is created.
func validBucket(name string) bool {
	return name != "" && !strings.HasPrefix(name, ".") && !strings.ContainsAny(name, `/\:`)
}

func (s store) createBucket(name string) error {
	if !validBucket(name) {
		return fmt.Errorf("bucket name %q is not valid", name)
	}
	return s.locked(func() error {
		if _, err := s.bucket(name); err == nil {
			return errHasBucket
		}
		if err := os.MkdirAll(filepath.Join(s.bucketPath(name), "keys"), 0o750); err != nil {
			return err
		}
		return s.writeJSON(filepath.Join(s.bucketPath(name), "bucket.json"), bucketInfo{Created: time.Now().UTC()})
	})
}

func (s store) deleteBucket(name string) error {
	return s.locked(func() error {
		if _, err := s.bucket(name); err != nil {
			return err
		}
		keys, err := os.ReadDir(filepath.Join(s.bucketPath(name), "keys"))
		if err != nil {
			return err
		}
		if len(keys) > 0 {
			return errNotEmpty
		}
		// bucket.json goes first: what is left of a bucket without it is no bucket.
		if err := os.Remove(filepath.Join(s.bucketPath(name), "bucket.json")); err != nil {
			return err
		}
		return os.RemoveAll(s.bucketPath(name))
	})
}

func (s store) buckets() (map[string]bucketInfo, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "buckets"))
	if err != nil {
		return nil, err
	}
	all := make(map[string]bucketInfo, len(entries))
	for _, e := range entries {
		if info, err := s.bucket(e.Name()); err == nil {
			all[e.Name()] = info
		}
	}
	return all, nil
}

// find reads an object's attributes: errNoBucket, errNoKey.
func (s store) find(bucket, key string) (o object, err error) {
	if _, err := s.bucket(bucket); err != nil {
		return o, err
	}
	err = readJSON(s.keyPath(bucket, key), &o)
	if errors.Is(err, fs.ErrNotExist) {
		err = errNoKey
	}
	return o, err
}

// open reads an object's attributes and opens its bytes. The bytes stay
// readable when the object is replaced meanwhile.
func (s store) open(bucket, key string) (object, *os.File, error) {
	for {
		o, err := s.find(bucket, key)
		if err != nil {
			return o, nil, err
		}
		f, err := os.Open(s.blobPath(o.Blob))
		if errors.Is(err, fs.ErrNotExist) {
			// Replaced between the two reads, else the store is damaged.
			if again, e := s.find(bucket, key); e != nil || again.Blob != o.Blob {
				continue
			}
		}
		return o, f, err
	}
}

// put makes o visible if allow, called with what is there now (nil if
// nothing), agrees. When it fails, o's blob is dropped.
func (s store) put(bucket string, o object, allow func(old *object) error) error {
	var replaced string
	err := s.locked(func() error {
		old, err := s.find(bucket, o.Key)
		var current *object
		switch {
		case err == nil:
			current, replaced = &old, old.Blob
		case !errors.Is(err, errNoKey):
			return err
		}
		if allow != nil {
			if err := allow(current); err != nil {
				return err
			}
		}
		return s.writeJSON(s.keyPath(bucket, o.Key), o)
	})
	switch {
	case err != nil:
		s.dropBlob(o.Blob)
	case replaced != "":
		s.dropBlob(replaced)
	}
	return err
}

// remove deletes an object; an absent one is no error.
func (s store) remove(bucket, key string) error {
	var o object
	err := s.locked(func() (err error) {
		if o, err = s.find(bucket, key); err != nil {
			return err
		}
		return os.Remove(s.keyPath(bucket, key))
	})
	if errors.Is(err, errNoKey) {
		return nil
	}
	if err == nil {
		s.dropBlob(o.Blob)
	}
	return err
}

// keys lists the keys of a bucket that start with prefix, in UTF-8 order.
func (s store) keys(bucket, prefix string) ([]string, error) {
	if _, err := s.bucket(bucket); err != nil {
		return nil, err
	}
	dir := filepath.Join(s.bucketPath(bucket), "keys")
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, e := range entries {
		key, whole := unescape(strings.TrimSuffix(e.Name(), ".json"))
		if !whole {
			var o object
			if readJSON(filepath.Join(dir, e.Name()), &o) != nil {
				continue // removed meanwhile
			}
			key = o.Key
		}
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	sort.Strings(keys)
	return keys, nil
}

// longest escaped name kept in full; ".json" and the file system's limit of
// 255 bytes leave room for it and for a shortened name's hash.
const longestName = 180

// escape makes a file name of a key. Upper case is escaped too, for file
// systems that do not tell it from lower case. A long key is cut and gets
// "~" and its hash.
func escape(key string) string {
	const plain = "abcdefghijklmnopqrstuvwxyz0123456789-_."
	var b strings.Builder
	for i := range len(key) {
		c := key[i]
		if strings.IndexByte(plain, c) >= 0 && (c != '.' || i > 0) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	if b.Len() <= longestName {
		return b.String()
	}
	sum := sha256.Sum256([]byte(key))
	return b.String()[:longestName-50] + "~" + hex.EncodeToString(sum[:])
}

// unescape reverses escape; whole is false for a name that was cut.
func unescape(name string) (key string, whole bool) {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		switch {
		case name[i] == '~':
			return "", false
		case name[i] == '%' && i+2 < len(name):
			c, err := hex.DecodeString(name[i+1 : i+3])
			if err != nil {
				return "", false
			}
			b.Write(c)
			i += 2
		default:
			b.WriteByte(name[i])
		}
	}
	return b.String(), true
}
