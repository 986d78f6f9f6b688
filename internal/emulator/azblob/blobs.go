// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azblob

import (
	"crypto/md5" //nolint:gosec // Content-MD5 is one by definition
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash/crc64"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/objects"
)

const headerMD5 = "Content-Md5"

// hexMD5 is an MD5 in base64 of one in hex.
func hexMD5(sum string) string {
	raw, _ := hex.DecodeString(sum) // stored by us: always hex
	return base64.StdEncoding.EncodeToString(raw)
}

var metadataName = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// metadata is what a request says of a blob in the user's words.
func (c *call) metadata() (map[string]string, error) {
	all := map[string]string{}
	for name, values := range c.r.Header {
		own, is := strings.CutPrefix(strings.ToLower(name), "x-ms-meta-")
		if !is {
			continue
		}
		if !metadataName.MatchString(own) {
			return nil, refuse(http.StatusBadRequest, "InvalidMetadata", "The metadata specified is invalid. It has characters that are not permitted: '%s'.", own)
		}
		all[own] = strings.Join(values, ",")
	}
	return all, nil
}

// headers are those of a new blob.
func (c *call) headers() map[string]string {
	out := c.described()
	if out[headerType] == "" {
		out[headerType] = defaultType
	}
	return out
}

// described are the headers that a blob is to be answered with.
func (c *call) described() map[string]string {
	out := map[string]string{}
	for from, name := range map[string]string{"X-Ms-Blob-Content-Type": headerType, "X-Ms-Blob-Content-Encoding": "Content-Encoding", "X-Ms-Blob-Content-Language": "Content-Language",
		"X-Ms-Blob-Content-Disposition": "Content-Disposition", "X-Ms-Blob-Cache-Control": "Cache-Control", "X-Ms-Blob-Content-Md5": headerMD5} {
		if v := c.r.Header.Get(from); v != "" {
			out[name] = v
		}
	}
	return out
}

// conditions holds a call to its conditional headers; nil is no blob.
func (c *call) conditions(is *objects.Object) error {
	match, none := c.r.Header.Get("If-Match"), c.r.Header.Get("If-None-Match")
	now := ""
	if is != nil {
		now = tag(is)
	}
	if c.r.Header.Get("X-Ms-Lease-Id") != "" {
		return refuse(http.StatusPreconditionFailed, "LeaseNotPresentWithBlobOperation", "There is currently no lease on the blob.")
	}
	reads := c.r.Method == http.MethodGet || c.r.Method == http.MethodHead
	switch since, unless := c.r.Header.Get("If-Modified-Since"), c.r.Header.Get("If-Unmodified-Since"); {
	case match != "" && (is == nil || (match != "*" && match != now)):
		return conditionNotMet()
	case none == "*" && is != nil && c.r.Method == http.MethodPut:
		return refuse(http.StatusConflict, "BlobAlreadyExists", "The specified blob already exists.")
	case none != "" && is != nil && (none == "*" || none == now) && reads:
		return refuse(http.StatusNotModified, "ConditionNotMet", "The condition specified using HTTP conditional header(s) is not met.")
	case none != "" && is != nil && none == now:
		return conditionNotMet()
	case is == nil:
	case since != "" && !after(is.Modified, since):
		if reads {
			return refuse(http.StatusNotModified, "ConditionNotMet", "The condition specified using HTTP conditional header(s) is not met.")
		}
		return conditionNotMet()
	case unless != "" && after(is.Modified, unless):
		return conditionNotMet()
	}
	return nil
}

// after reports whether a time is later than one in a header, which has whole seconds.
func after(t time.Time, header string) bool {
	at, err := http.ParseTime(header)
	return err == nil && t.Truncate(time.Second).After(at)
}

// early refuses before a large body is read what would be refused in the end.
func (c *call) early() error {
	is, err := c.store.Find(c.bucket(), c.blob)
	switch {
	case errors.Is(err, objects.ErrNoKey):
		return c.conditions(nil)
	case err != nil:
		return err
	}
	return c.conditions(&is)
}

// changed answers a write.
func (c *call) changed(status int, o *objects.Object) error {
	h := c.w.Header()
	h.Set("ETag", tag(o))
	h.Set("Last-Modified", httpTime(o.Modified))
	h.Set("X-Ms-Request-Server-Encrypted", "true")
	if sum := o.Header[headerMD5]; sum != "" {
		h.Set(headerMD5, sum)
	}
	c.w.WriteHeader(status)
	return nil
}

// properties are the headers of a blob.
func (c *call) properties(o *objects.Object) {
	h := c.w.Header()
	for name, v := range o.Header {
		h.Set(name, v)
	}
	for name, v := range o.Metadata {
		h.Set("X-Ms-Meta-"+name, v)
	}
	for name, v := range map[string]string{"X-Ms-Blob-Type": "BlockBlob", "X-Ms-Lease-Status": "unlocked", "X-Ms-Lease-State": "available", "X-Ms-Server-Encrypted": "true",
		"X-Ms-Creation-Time": httpTime(o.Created), "X-Ms-Access-Tier": "Hot", "X-Ms-Access-Tier-Inferred": "true", "Accept-Ranges": "bytes", "ETag": tag(o),
		"Last-Modified": httpTime(o.Modified)} {
		h.Set(name, v)
	}
}

func (c *call) head() error {
	o, err := c.store.Find(c.bucket(), c.blob)
	if err == nil {
		err = c.conditions(&o)
	}
	if err != nil {
		return err
	}
	c.properties(&o)
	c.w.Header().Set("Content-Length", strconv.FormatInt(o.Size, 10))
	c.w.WriteHeader(http.StatusOK)
	return nil
}

func (c *call) get() error {
	o, f, err := c.store.Open(c.bucket(), c.blob)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	if err := c.conditions(&o); err != nil {
		return err
	}
	first, last, partial, err := c.span(o.Size)
	if err != nil {
		return err
	}
	c.properties(&o)
	h := c.w.Header()
	h.Set("Content-Length", strconv.FormatInt(last-first+1, 10))
	if !partial {
		_, _ = io.Copy(c.w, f) // a client that has gone away is no concern of the service's
		return nil
	}
	whole := h.Get(headerMD5)
	h.Del(headerMD5) // that of a range is of the range
	if whole != "" {
		h.Set("X-Ms-Blob-Content-Md5", whole)
	}
	if err := c.sumRange(f, first, last); err != nil {
		return err
	}
	h.Set("Content-Range", "bytes "+strconv.FormatInt(first, 10)+"-"+strconv.FormatInt(last, 10)+"/"+strconv.FormatInt(o.Size, 10))
	c.w.WriteHeader(http.StatusPartialContent)
	_, _ = io.Copy(c.w, io.NewSectionReader(f, first, last-first+1))
	return nil
}

// mostSummed is the largest range that has a checksum of its own.
const mostSummed = 4 << 20

// sumRange adds the checksum of a range, when it is asked for.
func (c *call) sumRange(f *os.File, first, last int64) error {
	want5, want64 := c.r.Header.Get("X-Ms-Range-Get-Content-Md5") == "true", c.r.Header.Get("X-Ms-Range-Get-Content-Crc64") == "true"
	if !want5 && !want64 {
		return nil
	}
	if last-first+1 > mostSummed {
		return refuse(http.StatusBadRequest, "OutOfRangeInput", "A range with a checksum has at most %d bytes.", mostSummed)
	}
	sum5, sum64 := md5.New(), crc64.New(crcTable) //nolint:gosec // see the import
	if _, err := io.Copy(io.MultiWriter(sum5, sum64), io.NewSectionReader(f, first, last-first+1)); err != nil {
		return err
	}
	if want5 {
		c.w.Header().Set(headerMD5, base64.StdEncoding.EncodeToString(sum5.Sum(nil)))
	}
	if want64 {
		c.w.Header().Set(headerCRC64, base64CRC(sum64.Sum64()))
	}
	return nil
}

var rangePattern = regexp.MustCompile(`^bytes=(\d+)-(\d*)$`)

// span is what of a blob is asked for.
func (c *call) span(size int64) (first, last int64, partial bool, err error) {
	header := c.r.Header.Get("X-Ms-Range")
	if header == "" {
		header = c.r.Header.Get("Range")
	}
	m := rangePattern.FindStringSubmatch(header)
	if m == nil {
		return 0, size - 1, false, nil // other forms are not understood, and mean the whole
	}
	if first, err = strconv.ParseInt(m[1], 10, 64); err != nil || first >= size {
		c.w.Header().Set("Content-Range", "bytes */"+strconv.FormatInt(size, 10))
		return 0, 0, false, refuse(http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The range specified is invalid for the current size of the resource.")
	}
	last = size - 1
	if n, err := strconv.ParseInt(m[2], 10, 64); err == nil {
		last = min(n, last)
	}
	if last < first {
		return 0, size - 1, false, nil
	}
	return first, last, true, nil
}

func (c *call) remove() error {
	if err := c.store.Remove(c.bucket(), c.blob, c.conditions); err != nil {
		return err
	}
	c.w.Header().Set("X-Ms-Delete-Type-Permanent", "true")
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}

func (c *call) setMetadata() error {
	m, err := c.metadata()
	if err != nil {
		return err
	}
	return c.update(func(o *objects.Object) { o.Metadata = m })
}

// setProperties replaces all of them: what is not said is cleared.
func (c *call) setProperties() error {
	return c.update(func(o *objects.Object) { o.Header = c.described() })
}

func (c *call) update(change func(*objects.Object)) error {
	var now objects.Object
	err := c.store.Update(c.bucket(), c.blob, func(o *objects.Object) error {
		if err := c.conditions(o); err != nil {
			return err
		}
		old := *o
		change(o)
		succeed(o, &old)
		now = *o
		return nil
	})
	if err != nil {
		return err
	}
	return c.changed(http.StatusOK, &now)
}
