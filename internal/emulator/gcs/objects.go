// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package gcs

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"hash/crc32"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	api "google.golang.org/api/storage/v1"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/objects"
)

const (
	crc32c      = "crc32c"
	defaultType = "application/octet-stream"

	headerType       = "Content-Type"
	headerComponents = "X-Goog-Component-Count"
	headerKey        = "X-Goog-Encryption-Kms-Key-Name"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// write stores bytes and measures them.
func write(s objects.Store, r io.Reader) (objects.Object, error) {
	sum := crc32.New(castagnoli)
	o, err := s.WriteBlob(io.TeeReader(r, sum))
	o.Checksums = map[string]string{crc32c: base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum.Sum32()))}
	return o, err
}

// succeeding gives o the generation that follows what is replaced.
func succeeding(o *objects.Object) func(old *objects.Object) error {
	return func(old *objects.Object) error {
		now := time.Now().UTC()
		o.Created, o.Modified, o.Generation, o.Metageneration = now, now, now.UnixMicro(), 1
		if old != nil && o.Generation <= old.Generation {
			o.Generation = old.Generation + 1
		}
		return nil
	}
}

// md5Of is an object's MD5 in base64, "" for a composed one.
func md5Of(o *objects.Object) string {
	raw, _ := hex.DecodeString(o.ETag) // stored by us: always hex
	return base64.StdEncoding.EncodeToString(raw)
}

// etag changes with each generation and metageneration.
func etag(o *objects.Object) string {
	return base64.StdEncoding.EncodeToString([]byte(strconv.FormatInt(o.Generation, 36) + "/" + strconv.FormatInt(o.Metageneration, 36)))
}

// describe is an object as the JSON API shows it.
func (c *call) describe(bucket string, o *objects.Object) *api.Object {
	generation := strconv.FormatInt(o.Generation, 10)
	path := "/b/" + bucket + "/o/" + escape(o.Key)
	components, _ := strconv.ParseInt(o.Header[headerComponents], 10, 64)
	return &api.Object{
		Kind: "storage#object", Id: bucket + "/" + o.Key + "/" + generation, Name: o.Key, Bucket: bucket,
		SelfLink: c.link(path), MediaLink: "http://" + c.r.Host + "/download/storage/v1" + path + "?generation=" + generation + "&alt=media",
		Generation: o.Generation, Metageneration: o.Metageneration, Etag: etag(o), Size: uint64(o.Size),
		Crc32c: o.Checksums[crc32c], Md5Hash: md5Of(o), StorageClass: "STANDARD", Metadata: o.Metadata,
		TimeCreated: timestamp(o.Created), Updated: timestamp(o.Modified), TimeStorageClassUpdated: timestamp(o.Created), TimeFinalized: timestamp(o.Created),
		ContentType: o.Header[headerType], ContentEncoding: o.Header["Content-Encoding"], ContentLanguage: o.Header["Content-Language"],
		ContentDisposition: o.Header["Content-Disposition"], CacheControl: o.Header["Cache-Control"],
		ComponentCount: components, KmsKeyName: o.Header[headerKey],
		ForceSendFields: []string{"Size"},
	}
}

// take gives an object the attributes that a client may choose.
func take(o *objects.Object, in *api.Object) {
	o.Header, o.Metadata = map[string]string{}, maps.Clone(in.Metadata)
	for name, v := range map[string]string{headerType: in.ContentType, "Content-Encoding": in.ContentEncoding, "Content-Language": in.ContentLanguage,
		"Content-Disposition": in.ContentDisposition, "Cache-Control": in.CacheControl, headerKey: in.KmsKeyName} {
		if v != "" {
			o.Header[name] = v
		}
	}
}

// escape makes one segment of a path of an object's name.
func escape(name string) string {
	return url.PathEscape(name)
}

// found is the object of a call, of the generation that is asked for.
func (c *call) found() (objects.Object, error) {
	o, err := c.store.Find(c.bucket, c.object)
	if err == nil {
		err = c.generation(&o)
	}
	return o, err
}

func (c *call) generation(o *objects.Object) error {
	if want, asked, err := c.number("generation"); err != nil || (asked && want != o.Generation) {
		if err == nil {
			err = objects.ErrNoKey
		}
		return err
	}
	return c.conditions("if", o)
}

func (c *call) get() error {
	if c.query.Get("alt") == "media" {
		return c.media()
	}
	o, err := c.found()
	if err != nil {
		return err
	}
	answer(c.w, http.StatusOK, c.describe(c.bucket, &o))
	return nil
}

// media sends the bytes.
func (c *call) media() error {
	o, f, err := c.store.Open(c.bucket, c.object)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	if err := c.generation(&o); err != nil {
		return err
	}
	c.send(&o, f)
	return nil
}

func (c *call) send(o *objects.Object, f *os.File) {
	h := c.w.Header()
	for name, v := range o.Header {
		h.Set(name, v)
	}
	for name, v := range o.Metadata {
		h.Set("X-Goog-Meta-"+name, v)
	}
	h.Add("X-Goog-Hash", "crc32c="+o.Checksums[crc32c])
	if sum := md5Of(o); sum != "" {
		h.Add("X-Goog-Hash", "md5="+sum)
	}
	h.Set("X-Goog-Generation", strconv.FormatInt(o.Generation, 10))
	h.Set("X-Goog-Metageneration", strconv.FormatInt(o.Metageneration, 10))
	h.Set("X-Goog-Stored-Content-Length", strconv.FormatInt(o.Size, 10))
	h.Set("X-Goog-Stored-Content-Encoding", "identity")
	h.Set("X-Goog-Storage-Class", "STANDARD")
	h.Set("ETag", strconv.Quote(etag(o)))
	if o.Header[headerType] == "" {
		h.Set(headerType, defaultType)
	}
	http.ServeContent(c.w, c.r, "", o.Modified, f)
}

// getXML is a read of the XML API, /bucket/object, whose conditions are headers.
func (c *call) getXML() error {
	for name, header := range map[string]string{"ifGenerationMatch": "X-Goog-If-Generation-Match", "ifMetagenerationMatch": "X-Goog-If-Metageneration-Match"} {
		if v := c.r.Header.Get(header); v != "" {
			c.query.Set(name, v)
		}
	}
	if err := c.media(); err != nil {
		return c.failXML(err)
	}
	return nil
}

func (c *call) remove() error {
	if err := c.store.Remove(c.bucket, c.object, c.generation); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// change is a PATCH: what it names, and null for what goes.
type change struct {
	Metadata           map[string]*string `json:"metadata"`
	ContentType        *string            `json:"contentType"`
	ContentEncoding    *string            `json:"contentEncoding"`
	ContentLanguage    *string            `json:"contentLanguage"`
	ContentDisposition *string            `json:"contentDisposition"`
	CacheControl       *string            `json:"cacheControl"`
}

func (c *call) patch() error {
	body, err := io.ReadAll(io.LimitReader(c.r.Body, maxAttributes))
	if err != nil {
		return err
	}
	if err := decode(bytes.NewReader(body), &api.Object{}); err != nil { // which knows the names
		return err
	}
	var in change
	if err := json.Unmarshal(body, &in); err != nil {
		return invalid("%v", err)
	}
	return c.changed(func(o *objects.Object) {
		if o.Header == nil {
			o.Header = map[string]string{}
		}
		for name, v := range map[string]*string{headerType: in.ContentType, "Content-Encoding": in.ContentEncoding, "Content-Language": in.ContentLanguage,
			"Content-Disposition": in.ContentDisposition, "Cache-Control": in.CacheControl} {
			if v != nil {
				o.Header[name] = *v
			}
		}
		for name, v := range in.Metadata {
			if o.Metadata == nil {
				o.Metadata = map[string]string{}
			}
			if delete(o.Metadata, name); v != nil {
				o.Metadata[name] = *v
			}
		}
	})
}

func (c *call) update() error {
	var in api.Object
	if err := decode(c.r.Body, &in); err != nil {
		return err
	}
	return c.changed(func(o *objects.Object) {
		components, key := o.Header[headerComponents], o.Header[headerKey]
		take(o, &in)
		for name, v := range map[string]string{headerComponents: components, headerKey: key} {
			if delete(o.Header, name); v != "" {
				o.Header[name] = v
			}
		}
	})
}

// changed changes an object's attributes and answers what it is then.
func (c *call) changed(change func(*objects.Object)) error {
	var now objects.Object
	err := c.store.Update(c.bucket, c.object, func(o *objects.Object) error {
		if err := c.generation(o); err != nil {
			return err
		}
		change(o)
		o.Metageneration++
		o.Modified = time.Now().UTC()
		now = *o
		now.Modified = o.Modified
		return nil
	})
	if err == nil {
		answer(c.w, http.StatusOK, c.describe(c.bucket, &now))
	}
	return err
}

// maxResults is the longest page.
const maxResults = 1000

// list lists one page of names, those with the delimiter after the prefix rolled up.
func (c *call) list() error {
	if c.query.Get("matchGlob") != "" {
		return refuse(http.StatusNotImplemented, "notImplemented", "matchGlob is not served.")
	}
	limit, asked, err := c.number("maxResults")
	if err != nil || (asked && limit < 1) {
		return invalid("Invalid value for maxResults: '%s'", c.query.Get("maxResults"))
	}
	if !asked || limit > maxResults {
		limit = maxResults
	}
	after, err := base64.URLEncoding.DecodeString(c.query.Get("pageToken"))
	if err != nil {
		return invalid("Invalid page token")
	}
	keys, err := c.store.Keys(c.bucket, c.query.Get("prefix"))
	if err != nil {
		return err
	}
	keys = slices.DeleteFunc(keys, c.outside)
	list := &api.Objects{Kind: "storage#objects"}
	last := string(after)
	for _, key := range keys {
		item := c.rolledUp(key)
		if last != "" && item <= last {
			continue // on the page before, or rolled up already
		}
		if int64(len(list.Items)+len(list.Prefixes)) == limit {
			list.NextPageToken = base64.URLEncoding.EncodeToString([]byte(last))
			break
		}
		if item != key {
			list.Prefixes = append(list.Prefixes, item)
		} else if o, err := c.store.Find(c.bucket, key); err == nil { // else removed meanwhile
			list.Items = append(list.Items, c.describe(c.bucket, &o))
		}
		last = item
	}
	sort.Strings(list.Prefixes)
	answer(c.w, http.StatusOK, list)
	return nil
}

// outside reports whether a name is not between startOffset and endOffset.
func (c *call) outside(key string) bool {
	end := c.query.Get("endOffset")
	return key < c.query.Get("startOffset") || (end != "" && key >= end)
}

// rolledUp is the prefix that a name is shown as, or the name.
func (c *call) rolledUp(key string) string {
	prefix, delimiter := c.query.Get("prefix"), c.query.Get("delimiter")
	if delimiter == "" {
		return key
	}
	before, _, found := strings.Cut(key[len(prefix):], delimiter)
	if !found {
		return key
	}
	return prefix + before + delimiter
}
