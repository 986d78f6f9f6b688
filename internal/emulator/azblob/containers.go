// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azblob

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/objects"
)

func httpTime(t time.Time) string { return t.UTC().Format(http.TimeFormat) }

func (c *call) createContainer() error {
	info := objects.Bucket{Created: time.Now().UTC()}
	err := c.store.CreateBucket(c.bucket(), info)
	if errors.Is(err, objects.ErrHasBucket) {
		return refuse(http.StatusConflict, "ContainerAlreadyExists", "The specified container already exists.")
	}
	if err != nil {
		return err
	}
	c.containerHeader(info)
	c.w.WriteHeader(http.StatusCreated)
	return nil
}

func (c *call) containerHeader(info objects.Bucket) {
	h := c.w.Header()
	h.Set("ETag", strconv.Quote(containerTag(info)))
	h.Set("Last-Modified", httpTime(info.Created))
}

func containerTag(info objects.Bucket) string {
	return "0x8D" + strings.ToUpper(strconv.FormatInt(info.Created.UnixMicro(), 16))
}

func (c *call) getContainer() error {
	info, err := c.store.Bucket(c.bucket())
	if err != nil {
		return err
	}
	c.containerHeader(info)
	h := c.w.Header()
	h.Set("X-Ms-Lease-Status", "unlocked")
	h.Set("X-Ms-Lease-State", "available")
	h.Set("X-Ms-Has-Immutability-Policy", "false")
	h.Set("X-Ms-Has-Legal-Hold", "false")
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// deleteContainer takes the blobs along.
func (c *call) deleteContainer() error {
	keys, err := c.store.Keys(c.bucket(), "")
	if err != nil {
		return err
	}
	for _, key := range keys {
		if err := c.store.Remove(c.bucket(), key, nil); err != nil && !errors.Is(err, objects.ErrNoKey) {
			return err
		}
	}
	if err := c.store.DeleteBucket(c.bucket()); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}

type containerItem struct {
	Name         string
	LastModified string `xml:"Properties>Last-Modified"`
	ETag         string `xml:"Properties>Etag"`
}

func (c *call) listContainers() error {
	all, err := c.store.Buckets()
	if err != nil {
		return err
	}
	out := struct {
		XMLName         xml.Name        `xml:"EnumerationResults"`
		ServiceEndpoint string          `xml:",attr"`
		Prefix          string          `xml:",omitempty"`
		Containers      []containerItem `xml:"Containers>Container"`
		NextMarker      string
	}{ServiceEndpoint: "http://" + c.r.Host + "/" + c.account, Prefix: c.query.Get("prefix")}
	for name, info := range all {
		if own, is := strings.CutPrefix(name, c.account+"."); is && strings.HasPrefix(own, out.Prefix) {
			out.Containers = append(out.Containers, containerItem{own, httpTime(info.Created), containerTag(info)})
		}
	}
	slices.SortFunc(out.Containers, func(a, b containerItem) int { return strings.Compare(a.Name, b.Name) })
	write(c.w, http.StatusOK, out)
	return nil
}

func (c *call) serviceProperties() error {
	write(c.w, http.StatusOK, struct {
		XMLName               xml.Name `xml:"StorageServiceProperties"`
		DefaultServiceVersion string
	}{DefaultServiceVersion: apiVersion})
	return nil
}

func (c *call) accountInformation() error {
	h := c.w.Header()
	h.Set("X-Ms-Sku-Name", "Standard_LRS")
	h.Set("X-Ms-Account-Kind", "StorageV2")
	h.Set("X-Ms-Is-Hns-Enabled", "false")
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// mostResults is the longest page.
const mostResults = 5000

type blobItem struct {
	Name       string
	Properties blobProperties
	Metadata   *metadataXML `xml:",omitempty"`
}

type blobProperties struct {
	Created  string `xml:"Creation-Time"`
	Modified string `xml:"Last-Modified"`
	ETag     string `xml:"Etag"`
	Length   int64  `xml:"Content-Length"`
	Type     string `xml:"Content-Type"`
	Encoding string `xml:"Content-Encoding"`
	Language string `xml:"Content-Language"`
	MD5      string `xml:"Content-MD5"`
	Cache    string `xml:"Cache-Control"`
	Kind     string `xml:"BlobType"`
	Tier     string `xml:"AccessTier"`
	Lease    string `xml:"LeaseState"`
	Server   bool   `xml:"ServerEncrypted"`
}

// metadataXML is a map as XML has it.
type metadataXML map[string]string

// MarshalXML writes an element for each name.
func (m metadataXML) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	if err := e.EncodeToken(start); err != nil {
		return err
	}
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := e.EncodeElement(m[name], xml.StartElement{Name: xml.Name{Local: name}}); err != nil {
			return err
		}
	}
	return e.EncodeToken(start.End())
}

type prefixItem struct{ Name string }

type blobPage struct {
	XMLName         xml.Name     `xml:"EnumerationResults"`
	ServiceEndpoint string       `xml:",attr"`
	ContainerName   string       `xml:",attr"`
	Prefix          string       `xml:",omitempty"`
	Marker          string       `xml:",omitempty"`
	MaxResults      int          `xml:",omitempty"`
	Delimiter       string       `xml:",omitempty"`
	Blobs           []blobItem   `xml:"Blobs>Blob"`
	Prefixes        []prefixItem `xml:"Blobs>BlobPrefix"`
	NextMarker      string
}

// list lists one page of names, those with the delimiter after the prefix rolled up.
func (c *call) list() error {
	limit := mostResults
	if text := c.query.Get("maxresults"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return refuse(http.StatusBadRequest, "OutOfRangeQueryParameterValue", "One of the query parameters specified in the request URI is outside the permissible range: maxresults.")
		}
		limit = min(n, mostResults)
	}
	marker, err := base64.URLEncoding.DecodeString(c.query.Get("marker"))
	if err != nil {
		return refuse(http.StatusBadRequest, "OutOfRangeInput", "One of the request inputs is out of range: marker.")
	}
	out := blobPage{ServiceEndpoint: "http://" + c.r.Host + "/" + c.account, ContainerName: c.container, Prefix: c.query.Get("prefix"),
		Marker: c.query.Get("marker"), Delimiter: c.query.Get("delimiter")}
	keys, err := c.store.Keys(c.bucket(), out.Prefix)
	if err != nil {
		return err
	}
	included := strings.Split(c.query.Get("include"), ",")
	last, n := string(marker), 0
	for _, key := range keys {
		item := rolledUp(key, out.Prefix, out.Delimiter)
		if last != "" && item <= last {
			continue // on the page before, or rolled up already
		}
		if n == limit {
			out.NextMarker = base64.URLEncoding.EncodeToString([]byte(last))
			break
		}
		if item != key {
			out.Prefixes = append(out.Prefixes, prefixItem{item})
		} else {
			o, err := c.store.Find(c.bucket(), key)
			if errors.Is(err, objects.ErrNoKey) {
				continue // removed meanwhile
			}
			if err != nil {
				return err
			}
			out.Blobs = append(out.Blobs, itemOf(&o, slices.Contains(included, "metadata")))
		}
		last = item
		n++
	}
	write(c.w, http.StatusOK, out)
	return nil
}

func itemOf(o *objects.Object, withMetadata bool) blobItem {
	item := blobItem{Name: o.Key, Properties: blobProperties{Created: httpTime(o.Created), Modified: httpTime(o.Modified), ETag: strings.Trim(tag(o), `"`), Length: o.Size,
		Type: o.Header[headerType], Encoding: o.Header["Content-Encoding"], Language: o.Header["Content-Language"], MD5: o.Header[headerMD5], Cache: o.Header["Cache-Control"],
		Kind: "BlockBlob", Tier: "Hot", Lease: "available", Server: true}}
	if withMetadata {
		m := metadataXML(o.Metadata)
		item.Metadata = &m
	}
	return item
}

// rolledUp is the prefix that a name is shown as, or the name.
func rolledUp(key, prefix, delimiter string) string {
	if delimiter == "" {
		return key
	}
	before, _, found := strings.Cut(key[len(prefix):], delimiter)
	if !found {
		return key
	}
	return prefix + before + delimiter
}
