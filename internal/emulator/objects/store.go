// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package objects keeps the buckets and objects of an emulated object store in a
// directory that any number of processes and goroutines may use at once.
package objects

import (
	"crypto/md5" //nolint:gosec // an ETag is an MD5 by definition
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

// Store is a directory:
//
//	lock                         held for the instant of every change
//	blobs/<random>               bytes, written once
//	buckets/<bucket>/bucket.json
//	buckets/<bucket>/keys/<escaped key>.json    an object: its attributes and its blob
//	uploads/                     what the server of an API keeps of uploads in progress
//	tmp/                         JSON files before they are renamed into place
//
// Bytes are written first, outside the lock; a change becomes visible by one
// rename under the lock. A process that dies leaves at most an unused blob.
type Store struct{ dir string }

// Object is one stored object, or one part of an upload. A server uses what its API has.
type Object struct {
	Key          string            `json:"key"`
	Blob         string            `json:"blob"`
	Size         int64             `json:"size"`
	ETag         string            `json:"etag"` // hex, or hex-N for N parts
	Modified     time.Time         `json:"modified"`
	Header       map[string]string `json:"header,omitempty"` // response headers, canonical names
	Checksums    map[string]string `json:"checksums,omitempty"`
	ChecksumType string            `json:"checksum_type,omitempty"`

	Created        time.Time         `json:"created,omitzero"`
	Generation     int64             `json:"generation,omitempty"`     // a number that grows when the bytes are replaced
	Metageneration int64             `json:"metageneration,omitempty"` // counts changes of the attributes
	Metadata       map[string]string `json:"metadata,omitempty"`       // the user's, where names keep their case
	Blocks         []Block           `json:"blocks,omitempty"`         // that the bytes were put together of, in order
}

// Block is a part of an object that its API knows by an id.
type Block struct {
	ID   string `json:"id"`
	Size int64  `json:"size"`
}

// Bucket is a bucket's attributes.
type Bucket struct {
	Created  time.Time `json:"created"`
	Location string    `json:"location,omitempty"`
}

// What can be missing, or in the way.
var (
	ErrNoBucket  = fmt.Errorf("no such bucket: %w", fs.ErrNotExist)
	ErrNoKey     = fmt.Errorf("no such key: %w", fs.ErrNotExist)
	ErrNotEmpty  = errors.New("bucket is not empty")
	ErrHasBucket = fmt.Errorf("bucket: %w", fs.ErrExist)
)

// Open is the store in dir, which is made when it is missing.
func Open(dir string) (Store, error) {
	for _, sub := range []string{"blobs", "buckets", "uploads", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o750); err != nil {
			return Store{}, fmt.Errorf("create object store: %w", err)
		}
	}
	return Store{dir: dir}, nil
}

// UploadPath is where what is kept of an upload in progress is.
func (s Store) UploadPath(id string) string { return filepath.Join(s.dir, "uploads", id) }

// CopyBlob writes an object's bytes to w.
func (s Store) CopyBlob(w io.Writer, name string) error {
	f, err := os.Open(s.blobPath(name))
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	_, err = io.Copy(w, f)
	return err
}

// CopyPart writes some of an object's bytes to w.
func (s Store) CopyPart(w io.Writer, name string, from, size int64) error {
	f, err := os.Open(s.blobPath(name))
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	_, err = io.Copy(w, io.NewSectionReader(f, from, size))
	return err
}

// In is the store in dir, to be read.
func In(dir string) Store { return Store{dir} }

// Locked runs change while no other process or goroutine changes the store.
func (s Store) Locked(change func() error) error {
	lock := flock.New(filepath.Join(s.dir, "lock"))
	if err := lock.Lock(); err != nil {
		return fmt.Errorf("lock object store: %w", err)
	}
	defer lock.Close() //nolint:errcheck // closing releases the lock whatever it returns
	return change()
}

func (s Store) blobPath(name string) string { return filepath.Join(s.dir, "blobs", name) }

func (s Store) bucketPath(bucket string) string { return filepath.Join(s.dir, "buckets", bucket) }

func (s Store) keyPath(bucket, key string) string {
	return filepath.Join(s.bucketPath(bucket), "keys", escape(key)+".json")
}

// WriteBlob stores bytes under a new name and measures them.
func (s Store) WriteBlob(r io.Reader) (o Object, err error) {
	o = Object{Blob: rand.Text(), Modified: time.Now().UTC()}
	f, err := os.OpenFile(s.blobPath(o.Blob), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640) //nolint:gosec // read by the same group
	if err != nil {
		return o, err
	}
	sum := md5.New() //nolint:gosec // see the import
	o.Size, err = io.Copy(io.MultiWriter(f, sum), r)
	if err = errors.Join(err, f.Close()); err != nil {
		s.DropBlob(o.Blob)
		return o, err
	}
	o.ETag = hex.EncodeToString(sum.Sum(nil))
	return o, nil
}

// DropBlob removes bytes nothing refers to any more. Where an open file cannot
// be removed the blob stays behind, which is harmless.
func (s Store) DropBlob(name string) { _ = os.Remove(s.blobPath(name)) }

// WriteJSON replaces path in one step. The caller holds the lock if others
// may be replacing the same path.
func (s Store) WriteJSON(path string, v any) error {
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

// ReadJSON reads what WriteJSON wrote.
func ReadJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// Bucket reads a bucket's attributes: ErrNoBucket.
func (s Store) Bucket(name string) (info Bucket, err error) {
	if !ValidName(name) {
		return info, ErrNoBucket
	}
	err = ReadJSON(filepath.Join(s.bucketPath(name), "bucket.json"), &info)
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNoBucket
	}
	return info, err
}

// ValidName keeps a name from leaving the directory; the naming rules of the
// API are checked where a bucket is created.
func ValidName(name string) bool {
	return name != "" && !strings.HasPrefix(name, ".") && !strings.ContainsAny(name, `/\:`)
}

// CreateBucket makes a bucket: ErrHasBucket.
func (s Store) CreateBucket(name string, info Bucket) error {
	if !ValidName(name) {
		return fmt.Errorf("bucket name %q is not valid", name)
	}
	return s.Locked(func() error {
		if _, err := s.Bucket(name); err == nil {
			return ErrHasBucket
		}
		if err := os.MkdirAll(filepath.Join(s.bucketPath(name), "keys"), 0o750); err != nil {
			return err
		}
		return s.WriteJSON(filepath.Join(s.bucketPath(name), "bucket.json"), info)
	})
}

// DeleteBucket removes an empty bucket: ErrNoBucket, ErrNotEmpty.
func (s Store) DeleteBucket(name string) error {
	return s.Locked(func() error {
		if _, err := s.Bucket(name); err != nil {
			return err
		}
		keys, err := os.ReadDir(filepath.Join(s.bucketPath(name), "keys"))
		if err != nil {
			return err
		}
		if len(keys) > 0 {
			return ErrNotEmpty
		}
		// bucket.json goes first: what is left of a bucket without it is no bucket.
		if err := os.Remove(filepath.Join(s.bucketPath(name), "bucket.json")); err != nil {
			return err
		}
		return os.RemoveAll(s.bucketPath(name))
	})
}

// Buckets are all buckets by name.
func (s Store) Buckets() (map[string]Bucket, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, "buckets"))
	if err != nil {
		return nil, err
	}
	all := make(map[string]Bucket, len(entries))
	for _, e := range entries {
		if info, err := s.Bucket(e.Name()); err == nil {
			all[e.Name()] = info
		}
	}
	return all, nil
}

// Find reads an object's attributes: ErrNoBucket, ErrNoKey.
func (s Store) Find(bucket, key string) (o Object, err error) {
	if _, err := s.Bucket(bucket); err != nil {
		return o, err
	}
	err = ReadJSON(s.keyPath(bucket, key), &o)
	if errors.Is(err, fs.ErrNotExist) {
		err = ErrNoKey
	}
	return o, err
}

// Open reads an object's attributes and opens its bytes. The bytes stay
// readable when the object is replaced meanwhile.
func (s Store) Open(bucket, key string) (Object, *os.File, error) {
	for {
		o, err := s.Find(bucket, key)
		if err != nil {
			return o, nil, err
		}
		f, err := os.Open(s.blobPath(o.Blob))
		if errors.Is(err, fs.ErrNotExist) {
			// Replaced between the two reads, else the store is damaged.
			if again, e := s.Find(bucket, key); e != nil || again.Blob != o.Blob {
				continue
			}
		}
		return o, f, err
	}
}

// Put makes o visible if allow, called with what is there now (nil if nothing),
// agrees; allow may still complete o. When it fails, o's blob is dropped.
func (s Store) Put(bucket string, o *Object, allow func(old *Object) error) error {
	var replaced string
	err := s.Locked(func() error {
		old, err := s.Find(bucket, o.Key)
		var current *Object
		switch {
		case err == nil:
			current, replaced = &old, old.Blob
		case !errors.Is(err, ErrNoKey):
			return err
		}
		if allow != nil {
			if err := allow(current); err != nil {
				return err
			}
		}
		return s.WriteJSON(s.keyPath(bucket, o.Key), o)
	})
	switch {
	case err != nil:
		s.DropBlob(o.Blob)
	case replaced != "":
		s.DropBlob(replaced)
	}
	return err
}

// Update changes an object's attributes and leaves its bytes alone.
func (s Store) Update(bucket, key string, change func(*Object) error) error {
	return s.Locked(func() error {
		o, err := s.Find(bucket, key)
		if err == nil {
			err = change(&o)
		}
		if err != nil {
			return err
		}
		return s.WriteJSON(s.keyPath(bucket, key), o)
	})
}

// Remove deletes an object if allow, which may be nil, agrees: ErrNoKey.
func (s Store) Remove(bucket, key string, allow func(*Object) error) error {
	var o Object
	err := s.Locked(func() (err error) {
		if o, err = s.Find(bucket, key); err != nil {
			return err
		}
		if allow != nil {
			if err := allow(&o); err != nil {
				return err
			}
		}
		return os.Remove(s.keyPath(bucket, key))
	})
	if err == nil {
		s.DropBlob(o.Blob)
	}
	return err
}

// Keys lists the keys of a bucket that start with prefix, in UTF-8 order.
func (s Store) Keys(bucket, prefix string) ([]string, error) {
	if _, err := s.Bucket(bucket); err != nil {
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
			var o Object
			if ReadJSON(filepath.Join(dir, e.Name()), &o) != nil {
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
