// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package s3

import (
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"net/http"
	"sort"
	"strings"
	"time"

	"github.com/johannesboyne/gofakes3"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/objects"
)

// backend answers one request for gofakes3.
type backend struct {
	store store
	req   *http.Request
	resp  *response
	body  *body
}

var (
	_ gofakes3.Backend          = (*backend)(nil)
	_ gofakes3.MultipartBackend = (*backend)(nil)
)

// refuse makes an error with a code that gofakes3 has no status for.
func (b *backend) refuse(status int, code gofakes3.ErrorCode, message string) error {
	b.resp.status = status
	return gofakes3.ErrorMessage(code, message)
}

// translate gives the store's errors their S3 codes.
func translate(err error, bucket string) error {
	switch {
	case errors.Is(err, objects.ErrNoBucket):
		return gofakes3.BucketNotFound(bucket)
	case errors.Is(err, objects.ErrNoKey):
		return gofakes3.ErrorMessage(gofakes3.ErrNoSuchKey, "The specified key does not exist.")
	case errors.Is(err, objects.ErrNotEmpty):
		return gofakes3.ErrorMessage(gofakes3.ErrBucketNotEmpty, "The bucket you tried to delete is not empty")
	}
	if known, ok := errors.AsType[gofakes3.Error](err); ok {
		return known // gofakes3 does not unwrap
	}
	return err
}

func (b *backend) ListBuckets() ([]gofakes3.BucketInfo, error) {
	all, err := b.store.Buckets()
	if err != nil {
		return nil, err
	}
	list := make([]gofakes3.BucketInfo, 0, len(all))
	for name, info := range all {
		list = append(list, gofakes3.BucketInfo{Name: name, CreationDate: gofakes3.NewContentTime(info.Created)})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list, nil
}

// ListBucket lists one page. The marker is the last key or common prefix of
// the page before, or a key that the client chose to start after.
func (b *backend) ListBucket(name string, prefix *gofakes3.Prefix, page gofakes3.ListBucketPage) (*gofakes3.ObjectList, error) {
	if prefix == nil {
		prefix = &gofakes3.Prefix{}
	}
	keys, err := b.store.Keys(name, prefix.Prefix)
	if err != nil {
		return nil, translate(err, name)
	}
	list := gofakes3.NewObjectList()
	if page.HasMarker {
		keys = keys[sort.Search(len(keys), func(i int) bool { return keys[i] > page.Marker }):]
	}
	limit := page.MaxKeys
	if limit == 0 && b.req.URL.Query().Get("max-keys") != "0" {
		limit = gofakes3.DefaultMaxBucketKeys
	}
	last := ""
	for _, key := range keys {
		item := key
		if group, ok := commonPrefix(key, prefix); ok {
			if group == last || (page.HasMarker && group == page.Marker) {
				continue
			}
			item = group
		}
		if int64(len(list.Contents)+len(list.CommonPrefixes)) >= limit {
			list.IsTruncated, list.NextMarker = limit > 0, last
			break
		}
		if item != key {
			list.AddPrefix(item)
		} else if o, err := b.store.Find(name, key); err == nil { // else removed meanwhile
			list.Add(&gofakes3.Content{Key: key, Size: o.Size, ETag: `"` + o.ETag + `"`,
				LastModified: gofakes3.NewContentTime(o.Modified)})
		}
		last = item
	}
	return list, nil
}

// commonPrefix is what of key is rolled up under prefix's delimiter.
func commonPrefix(key string, prefix *gofakes3.Prefix) (string, bool) {
	if prefix.Delimiter == "" {
		return "", false
	}
	before, _, found := strings.Cut(key[len(prefix.Prefix):], prefix.Delimiter)
	return prefix.Prefix + before + prefix.Delimiter, found
}

func (b *backend) CreateBucket(name string) error {
	err := b.store.CreateBucket(name, objects.Bucket{Created: time.Now().UTC()})
	if errors.Is(err, objects.ErrHasBucket) {
		return b.refuse(http.StatusConflict, "BucketAlreadyOwnedByYou",
			"Your previous request to create the named bucket succeeded and you already own it.")
	}
	return err
}

func (b *backend) BucketExists(name string) (bool, error) {
	_, err := b.store.Bucket(name)
	if errors.Is(err, objects.ErrNoBucket) {
		return false, nil
	}
	return err == nil, err
}

func (b *backend) DeleteBucket(name string) error {
	return translate(b.store.DeleteBucket(name), name)
}

func (b *backend) ForceDeleteBucket(string) error { return gofakes3.ErrNotImplemented }

func (b *backend) GetObject(bucket, key string, want *gofakes3.ObjectRangeRequest) (*gofakes3.Object, error) {
	o, f, err := b.store.Open(bucket, key)
	if err != nil {
		return nil, translate(err, bucket)
	}
	obj, err := b.describe(o)
	if err == nil {
		obj.Range, err = want.Range(o.Size)
	}
	if err == nil && obj.Range != nil {
		_, err = f.Seek(obj.Range.Start, io.SeekStart)
	}
	if err != nil {
		_ = f.Close() // only read
		return nil, err
	}
	obj.Contents = f
	if obj.Range != nil {
		obj.Contents = limited{io.LimitReader(f, obj.Range.Length), f}
	}
	return obj, nil
}

// limited hides the file's WriteTo, which would pass the limit by.
type limited struct {
	io.Reader
	io.Closer
}

func (b *backend) HeadObject(bucket, key string) (*gofakes3.Object, error) {
	o, err := b.store.Find(bucket, key)
	if err != nil {
		return nil, translate(err, bucket)
	}
	obj, err := b.describe(o)
	if err != nil {
		return nil, err
	}
	obj.Contents = http.NoBody
	return obj, nil
}

// describe sets what the answer to a GET or HEAD says of an object.
func (b *backend) describe(o objects.Object) (*gofakes3.Object, error) {
	etag := `"` + o.ETag + `"`
	if match := b.req.Header.Get("If-Match"); match != "" && match != "*" && strings.Trim(match, `"`) != o.ETag &&
		b.req.Method != http.MethodPut {
		return nil, gofakes3.ErrorMessage(gofakes3.ErrPreconditionFailed, gofakes3.ErrPreconditionFailed.Message())
	}
	if none := b.req.Header.Get("If-None-Match"); none == etag && b.req.Method != http.MethodPut {
		b.resp.etag = etag
		return nil, gofakes3.ErrNotModified
	}
	header := maps.Clone(o.Header)
	if header == nil {
		header = map[string]string{}
	}
	header["Last-Modified"] = o.Modified.UTC().Format(http.TimeFormat)
	if b.req.Method == http.MethodGet || b.req.Method == http.MethodHead {
		b.resp.etag = etag
		if strings.EqualFold(b.req.Header.Get("X-Amz-Checksum-Mode"), "ENABLED") && b.req.Header.Get("Range") == "" {
			setChecksums(o, header)
		}
	}
	sum, _ := hex.DecodeString(strings.SplitN(o.ETag, "-", 2)[0]) // stored by us: always hex
	return &gofakes3.Object{Name: o.Key, Metadata: header, Size: o.Size, Hash: sum}, nil
}

func setChecksums(o objects.Object, header map[string]string) {
	for name, sum := range o.Checksums {
		header[checksumHeader+name] = sum
	}
	if len(o.Checksums) > 0 {
		header["X-Amz-Checksum-Type"] = o.ChecksumType
	}
}

// remove deletes an object; an absent one is no error.
func (b *backend) remove(bucket, key string) error {
	if err := b.store.Remove(bucket, key, nil); !errors.Is(err, objects.ErrNoKey) {
		return err
	}
	return nil
}

func (b *backend) DeleteObject(bucket, key string) (gofakes3.ObjectDeleteResult, error) {
	return gofakes3.ObjectDeleteResult{}, translate(b.remove(bucket, key), bucket)
}

func (b *backend) DeleteMulti(bucket string, keys ...string) (gofakes3.MultiDeleteResult, error) {
	var result gofakes3.MultiDeleteResult
	for _, key := range keys {
		if err := b.remove(bucket, key); err != nil {
			failed := gofakes3.ErrorResultFromError(translate(err, bucket))
			failed.Key = key
			result.Error = append(result.Error, failed)
			continue
		}
		result.Deleted = append(result.Deleted, gofakes3.ObjectID{Key: key})
	}
	return result, nil
}

func (b *backend) PutObject(bucket, key string, _ map[string]string, input io.Reader, size int64, _ *gofakes3.PutConditions) (gofakes3.PutObjectResult, error) {
	var none gofakes3.PutObjectResult
	if err := b.preconditions(bucket, key); err != nil {
		return none, err
	}
	o, err := b.store.WriteBlob(input)
	if err != nil {
		return none, translate(err, bucket)
	}
	if size >= 0 && o.Size != size {
		b.store.DropBlob(o.Blob)
		return none, gofakes3.ErrIncompleteBody
	}
	o.Key, o.Header = key, storable(b.req.Header)
	if o.Checksums = b.body.verified(); o.Checksums != nil {
		o.ChecksumType = fullObject
		answerChecksums(o, b.resp.Header())
	}
	return none, translate(b.store.Put(bucket, &o, b.allow), bucket)
}

func answerChecksums(o objects.Object, h http.Header) {
	sent := map[string]string{}
	setChecksums(o, sent)
	for name, value := range sent {
		h.Set(name, value)
	}
}

// preconditions refuses early, before a large body is read, what allow would
// refuse in the end.
func (b *backend) preconditions(bucket, key string) error {
	o, err := b.store.Find(bucket, key)
	switch {
	case errors.Is(err, objects.ErrNoKey):
		return translate(b.allow(nil), bucket)
	case err != nil:
		return translate(err, bucket)
	}
	return b.allow(&o)
}

// allow checks If-None-Match and If-Match of a write against what is there.
func (b *backend) allow(old *objects.Object) error {
	if none := b.req.Header.Get("If-None-Match"); none != "" {
		if none != "*" {
			return b.refuse(http.StatusNotImplemented, gofakes3.ErrNotImplemented,
				"A header you provided implies functionality that is not implemented: If-None-Match takes only *")
		}
		if old != nil {
			return gofakes3.ErrorMessage(gofakes3.ErrPreconditionFailed, gofakes3.ErrPreconditionFailed.Message())
		}
	}
	if match := b.req.Header.Get("If-Match"); match != "" {
		if old == nil {
			return objects.ErrNoKey
		}
		if match != "*" && strings.Trim(match, `"`) != old.ETag {
			return gofakes3.ErrorMessage(gofakes3.ErrPreconditionFailed, gofakes3.ErrPreconditionFailed.Message())
		}
	}
	return nil
}

func (b *backend) CopyObject(srcBucket, srcKey, bucket, key string, _ map[string]string) (gofakes3.CopyObjectResult, error) {
	var none gofakes3.CopyObjectResult
	src, f, err := b.store.Open(srcBucket, srcKey)
	if err != nil {
		return none, translate(err, srcBucket)
	}
	defer f.Close() //nolint:errcheck // only read
	replace := strings.EqualFold(b.req.Header.Get("X-Amz-Metadata-Directive"), "REPLACE")
	if srcBucket == bucket && srcKey == key && !replace {
		return none, b.refuse(http.StatusBadRequest, "InvalidRequest",
			"This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata.")
	}
	o, err := b.store.WriteBlob(f)
	if err != nil {
		return none, err
	}
	o.Key, o.Header = key, src.Header
	if replace {
		o.Header = storable(b.req.Header)
	}
	if src.ChecksumType == fullObject {
		o.Checksums, o.ChecksumType = src.Checksums, fullObject
	}
	if err := b.store.Put(bucket, &o, b.allow); err != nil {
		return none, translate(err, bucket)
	}
	return gofakes3.CopyObjectResult{ETag: `"` + o.ETag + `"`, LastModified: gofakes3.NewContentTime(time.Now())}, nil
}
