// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package s3

import (
	"crypto/md5" //nolint:gosec // an S3 ETag is an MD5 by definition
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/johannesboyne/gofakes3"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/objects"
)

const (
	fullObject  = "FULL_OBJECT"
	composite   = "COMPOSITE"
	minPartSize = 5 << 20 // bytes; of every part but the last
)

// upload is a multipart upload in progress.
type upload struct {
	ID        string            `json:"id"`
	Bucket    string            `json:"bucket"`
	Key       string            `json:"key"`
	Initiated time.Time         `json:"initiated"`
	Header    map[string]string `json:"header"`
	Algorithm string            `json:"algorithm,omitempty"`     // checksum of the whole, as in checksums
	Type      string            `json:"checksum_type,omitempty"` // fullObject or composite
}

func (s store) partPath(id string, number int) string {
	return filepath.Join(s.UploadPath(id), fmt.Sprintf("%05d.json", number))
}

// upload finds an upload in progress; gofakes3.ErrNoSuchUpload if there is none.
func (s store) upload(bucket, key, id string) (u upload, err error) {
	if !objects.ValidName(id) { // as a file name
		return u, gofakes3.ErrNoSuchUpload
	}
	err = objects.ReadJSON(filepath.Join(s.UploadPath(id), "upload.json"), &u)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && (u.Bucket != bucket || u.Key != key)) {
		err = gofakes3.ErrNoSuchUpload
	}
	return u, err
}

// parts reads the parts of an upload by number.
func (s store) parts(id string) (map[int]objects.Object, error) {
	entries, err := os.ReadDir(s.UploadPath(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, gofakes3.ErrNoSuchUpload
	}
	if err != nil {
		return nil, err
	}
	parts := map[int]objects.Object{}
	for _, e := range entries {
		number, err := strconv.Atoi(strings.TrimSuffix(e.Name(), ".json"))
		if err != nil {
			continue // upload.json
		}
		var part objects.Object
		if err := objects.ReadJSON(filepath.Join(s.UploadPath(id), e.Name()), &part); err != nil {
			return nil, err
		}
		parts[number] = part
	}
	return parts, nil
}

// putPart replaces one part of an upload.
func (s store) putPart(u upload, number int, part objects.Object) error {
	var old objects.Object
	err := s.Locked(func() error {
		if _, err := s.upload(u.Bucket, u.Key, u.ID); err != nil {
			return err
		}
		if err := objects.ReadJSON(s.partPath(u.ID, number), &old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return s.WriteJSON(s.partPath(u.ID, number), part)
	})
	if err != nil {
		s.DropBlob(part.Blob)
		return err
	}
	if old.Blob != "" {
		s.DropBlob(old.Blob)
	}
	return nil
}

// endUpload forgets an upload and its parts.
func (s store) endUpload(u upload) error {
	var parts map[int]objects.Object
	err := s.Locked(func() (err error) {
		if parts, err = s.parts(u.ID); err != nil {
			return err
		}
		return os.RemoveAll(s.UploadPath(u.ID))
	})
	for _, part := range parts {
		s.DropBlob(part.Blob)
	}
	return err
}

func (b *backend) CreateMultipartUpload(bucket, key string, _ map[string]string) (gofakes3.UploadID, error) {
	u := upload{ID: strings.ToLower(rand.Text()), Bucket: bucket, Key: key, Initiated: time.Now().UTC(),
		Header:    storable(b.req.Header),
		Algorithm: strings.ToLower(b.req.Header.Get("X-Amz-Checksum-Algorithm")),
		Type:      strings.ToUpper(b.req.Header.Get("X-Amz-Checksum-Type"))}
	if u.Algorithm != "" {
		if _, known := checksums[u.Algorithm]; !known {
			return "", b.refuse(http.StatusBadRequest, "InvalidRequest", "Checksum algorithm provided is unsupported.")
		}
		if u.Type == "" {
			u.Type = composite
			if u.Algorithm == "crc64nvme" {
				u.Type = fullObject
			}
		}
		if u.Type == fullObject && strings.HasPrefix(u.Algorithm, "sha") {
			return "", b.refuse(http.StatusBadRequest, "InvalidRequest",
				"The FULL_OBJECT checksum type cannot be used with the "+u.Algorithm+" checksum algorithm.")
		}
		b.resp.Header().Set("X-Amz-Checksum-Algorithm", strings.ToUpper(u.Algorithm))
		b.resp.Header().Set("X-Amz-Checksum-Type", u.Type)
	}
	err := b.store.Locked(func() error {
		if err := os.MkdirAll(b.store.UploadPath(u.ID), 0o750); err != nil {
			return err
		}
		return b.store.WriteJSON(filepath.Join(b.store.UploadPath(u.ID), "upload.json"), u)
	})
	return gofakes3.UploadID(u.ID), err
}

func (b *backend) UploadPart(bucket, key string, id gofakes3.UploadID, number int, size int64, input io.Reader) (string, error) {
	u, err := b.store.upload(bucket, key, string(id))
	if err != nil {
		return "", err
	}
	part, err := b.store.WriteBlob(input)
	if err != nil {
		return "", translate(err, bucket)
	}
	if size >= 0 && part.Size != size {
		b.store.DropBlob(part.Blob)
		return "", gofakes3.ErrIncompleteBody
	}
	part.Checksums = b.body.verified()
	for name, sum := range part.Checksums {
		b.resp.Header().Set(checksumHeader+name, sum)
	}
	return `"` + part.ETag + `"`, b.store.putPart(u, number, part)
}

func (b *backend) AbortMultipartUpload(bucket, key string, id gofakes3.UploadID) error {
	u, err := b.store.upload(bucket, key, string(id))
	if err != nil {
		return err
	}
	return b.store.endUpload(u)
}

func (b *backend) CompleteMultipartUpload(bucket, key string, id gofakes3.UploadID, in *gofakes3.CompleteMultipartUploadRequest) (gofakes3.VersionID, string, error) {
	u, err := b.store.upload(bucket, key, string(id))
	if err != nil {
		return "", "", err
	}
	if err := b.preconditions(bucket, key); err != nil {
		return "", "", err
	}
	parts, err := b.chosenParts(u, in)
	if err != nil {
		return "", "", err
	}
	o, err := b.store.join(u, parts)
	if err != nil {
		return "", "", err
	}
	if err := b.store.Put(bucket, &o, b.allow); err != nil {
		return "", "", translate(err, bucket)
	}
	return "", `"` + o.ETag + `"`, b.store.endUpload(u)
}

// chosenParts checks the list of parts that the client wants joined.
func (b *backend) chosenParts(u upload, in *gofakes3.CompleteMultipartUploadRequest) ([]objects.Object, error) {
	if len(in.Parts) == 0 {
		return nil, gofakes3.ErrMalformedXML
	}
	stored, err := b.store.parts(u.ID)
	if err != nil {
		return nil, err
	}
	parts := make([]objects.Object, 0, len(in.Parts))
	for i, p := range in.Parts {
		part, ok := stored[p.PartNumber]
		switch {
		case i > 0 && p.PartNumber <= in.Parts[i-1].PartNumber:
			return nil, gofakes3.ErrInvalidPartOrder
		case !ok || strings.Trim(p.ETag, `"`) != part.ETag:
			return nil, gofakes3.ErrorMessage(gofakes3.ErrInvalidPart, "One or more of the specified parts could not be found.")
		case part.Size < minPartSize && i < len(in.Parts)-1:
			return nil, b.refuse(http.StatusBadRequest, "EntityTooSmall",
				"Your proposed upload is smaller than the minimum allowed size")
		}
		parts = append(parts, part)
	}
	return parts, nil
}

// join makes one object of parts: its bytes, its ETag (the MD5 of the parts'
// MD5s and their number) and the checksum the upload asked for.
func (s store) join(u upload, parts []objects.Object) (objects.Object, error) {
	reader, writer := io.Pipe()
	go func() {
		for _, part := range parts {
			if err := s.CopyBlob(writer, part.Blob); err != nil {
				writer.CloseWithError(err)
				return
			}
		}
		writer.Close() //nolint:errcheck // never fails
	}()
	var whole io.Reader = reader
	start := checksums[u.Algorithm]
	sum := md5.New() //nolint:gosec // see the import
	if start != nil {
		sum = start()
	}
	if u.Type == fullObject {
		whole = io.TeeReader(reader, sum)
	}
	o, err := s.WriteBlob(whole)
	if err != nil {
		reader.CloseWithError(err)
		return o, err
	}
	o.Key, o.Header = u.Key, u.Header
	etag := md5.New() //nolint:gosec // see the import
	for _, part := range parts {
		raw, _ := hex.DecodeString(part.ETag) // stored by us: always hex
		etag.Write(raw)
	}
	o.ETag = fmt.Sprintf("%x-%d", etag.Sum(nil), len(parts))
	switch u.Type {
	case fullObject:
		o.Checksums = map[string]string{u.Algorithm: base64.StdEncoding.EncodeToString(sum.Sum(nil))}
	case composite:
		for _, part := range parts {
			raw, _ := base64.StdEncoding.DecodeString(part.Checksums[u.Algorithm])
			sum.Write(raw)
		}
		o.Checksums = map[string]string{u.Algorithm: fmt.Sprintf("%s-%d", base64.StdEncoding.EncodeToString(sum.Sum(nil)), len(parts))}
	}
	o.ChecksumType = u.Type
	return o, nil
}

func (b *backend) ListMultipartUploads(bucket string, marker *gofakes3.UploadListMarker, prefix gofakes3.Prefix, limit int64) (*gofakes3.ListMultipartUploadsResult, error) {
	entries, err := os.ReadDir(b.store.UploadPath(""))
	if err != nil {
		return nil, err
	}
	var all []upload
	for _, e := range entries {
		var u upload
		if objects.ReadJSON(filepath.Join(b.store.UploadPath(e.Name()), "upload.json"), &u) != nil {
			continue // ended meanwhile
		}
		if u.Bucket == bucket && strings.HasPrefix(u.Key, prefix.Prefix) && (marker == nil || u.after(marker)) {
			all = append(all, u)
		}
	}
	sort.Slice(all, func(i, j int) bool {
		if all[i].Key != all[j].Key {
			return all[i].Key < all[j].Key
		}
		return all[i].ID < all[j].ID
	})
	result := &gofakes3.ListMultipartUploadsResult{Bucket: bucket, Prefix: prefix.Prefix, MaxUploads: limit}
	for _, u := range all {
		if int64(len(result.Uploads)) == limit {
			last := result.Uploads[limit-1]
			result.IsTruncated, result.NextKeyMarker, result.NextUploadIDMarker = true, last.Key, last.UploadID
			break
		}
		result.Uploads = append(result.Uploads, gofakes3.ListMultipartUploadItem{Key: u.Key,
			UploadID: gofakes3.UploadID(u.ID), Initiated: gofakes3.NewContentTime(u.Initiated)})
	}
	return result, nil
}

func (u upload) after(m *gofakes3.UploadListMarker) bool {
	return u.Key > m.Object || (u.Key == m.Object && m.UploadID != "" && u.ID > string(m.UploadID))
}

func (b *backend) ListParts(bucket, key string, id gofakes3.UploadID, marker int, limit int64) (*gofakes3.ListMultipartUploadPartsResult, error) {
	if _, err := b.store.upload(bucket, key, string(id)); err != nil {
		return nil, err
	}
	parts, err := b.store.parts(string(id))
	if err != nil {
		return nil, err
	}
	result := &gofakes3.ListMultipartUploadPartsResult{Bucket: bucket, Key: key, UploadID: id,
		PartNumberMarker: marker, MaxParts: limit}
	numbers := make([]int, 0, len(parts))
	for number := range parts {
		numbers = append(numbers, number)
	}
	sort.Ints(numbers)
	for _, number := range numbers {
		if number <= marker {
			continue
		}
		if int64(len(result.Parts)) == limit {
			result.IsTruncated, result.NextPartNumberMarker = true, result.Parts[limit-1].PartNumber
			break
		}
		part := parts[number]
		result.Parts = append(result.Parts, gofakes3.ListMultipartUploadPartItem{PartNumber: number, Size: part.Size,
			ETag: `"` + part.ETag + `"`, LastModified: gofakes3.NewContentTime(part.Modified)})
	}
	return result, nil
}

type copyPartResult struct {
	XMLName      xml.Name `xml:"CopyPartResult"`
	Xmlns        string   `xml:"xmlns,attr"`
	ETag         string
	LastModified gofakes3.ContentTime
}

// serveCopyPart is UploadPartCopy, which gofakes3 does not route.
func (b *backend) serveCopyPart(query url.Values) {
	part, err := b.copyPart(query)
	if err == nil {
		b.resp.writeXML(http.StatusOK, copyPartResult{Xmlns: namespace, ETag: `"` + part.ETag + `"`,
			LastModified: gofakes3.NewContentTime(part.Modified)})
		return
	}
	var code gofakes3.Error
	if !errors.As(err, &code) {
		code = gofakes3.ErrInternal
	}
	b.resp.fail(code.ErrorCode().Status(), string(code.ErrorCode()), err.Error())
}

func (b *backend) copyPart(query url.Values) (part objects.Object, err error) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(b.req.URL.Path, "/"), "/")
	number, err := strconv.Atoi(query.Get("partNumber"))
	if err != nil || number < 1 || number > gofakes3.MaxUploadPartNumber {
		return part, gofakes3.ErrInvalidPart
	}
	u, err := b.store.upload(bucket, key, query.Get("uploadId"))
	if err != nil {
		return part, err
	}
	source, err := url.PathUnescape(b.req.Header.Get("X-Amz-Copy-Source"))
	if err != nil {
		return part, gofakes3.ErrInvalidArgument
	}
	srcBucket, srcKey, _ := strings.Cut(strings.TrimPrefix(source, "/"), "/")
	o, f, err := b.store.Open(srcBucket, srcKey)
	if err != nil {
		return part, translate(err, srcBucket)
	}
	defer f.Close() //nolint:errcheck // only read
	first, last := int64(0), o.Size-1
	if asked := b.req.Header.Get("X-Amz-Copy-Source-Range"); asked != "" {
		if n, _ := fmt.Sscanf(asked, "bytes=%d-%d", &first, &last); n != 2 || first > last || last >= o.Size {
			return part, gofakes3.ErrInvalidRange
		}
	}
	part, err = b.store.WriteBlob(io.NewSectionReader(f, first, last-first+1))
	if err != nil {
		return part, err
	}
	return part, b.store.putPart(u, number, part)
}
