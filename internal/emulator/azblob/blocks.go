// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azblob

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/objects"
)

// staging is the directory of the blocks that were sent for a blob and are in none
// yet, each as an object that is named for its id.
func (c *call) staging() string {
	sum := sha256.Sum256([]byte(c.bucket() + "/" + c.blob))
	return c.store.UploadPath(hex.EncodeToString(sum[:]))
}

func (c *call) staged(id string) string {
	return filepath.Join(c.staging(), hex.EncodeToString([]byte(id))+".json")
}

const (
	longestID  = 64 // bytes, before they are written in base64
	mostBlocks = 50_000
	maxList    = 16 << 20 // bytes that are read of a list
)

func (c *call) putBlock() error { return c.takeBlock(c.r.Body) }

func (c *call) takeBlock(body io.Reader) error {
	id := c.query.Get("blockid")
	raw, err := base64.StdEncoding.DecodeString(id)
	if err != nil || len(raw) == 0 || len(raw) > longestID {
		return refuse(http.StatusBadRequest, "InvalidQueryParameterValue", "Value for one of the query parameters specified in the request URI is invalid: blockid.")
	}
	if _, err := c.store.Bucket(c.bucket()); err != nil {
		return err
	}
	o, err := c.receive(body)
	if err != nil {
		return err
	}
	if o.Size == 0 {
		c.store.DropBlob(o.Blob)
		return refuse(http.StatusBadRequest, "InvalidHeaderValue", "The value for one of the HTTP headers is not in the correct format: Content-Length.")
	}
	o.Key = id
	replaced := ""
	err = c.store.Locked(func() error {
		all, err := c.uncommitted()
		if err != nil {
			return err
		}
		for _, other := range all {
			if len(other.Key) != len(id) {
				return refuse(http.StatusBadRequest, "InvalidBlobOrBlock", "The specified blob or block content is invalid: all block ids of a blob have the same length.")
			}
			if other.Key == id {
				replaced = other.Blob
			}
		}
		if err := os.MkdirAll(c.staging(), 0o750); err != nil { //nolint:gosec // its name is a hash
			return err
		}
		return c.store.WriteJSON(c.staged(id), &o)
	})
	if err != nil {
		c.store.DropBlob(o.Blob)
		return err
	}
	if replaced != "" {
		c.store.DropBlob(replaced)
	}
	c.w.Header().Set("X-Ms-Request-Server-Encrypted", "true")
	c.w.WriteHeader(http.StatusCreated)
	return nil
}

// uncommitted are the blocks that are in no blob yet.
func (c *call) uncommitted() (all []objects.Object, err error) {
	entries, err := os.ReadDir(c.staging())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		var o objects.Object
		if err := objects.ReadJSON(filepath.Join(c.staging(), e.Name()), &o); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				continue // committed meanwhile
			}
			return nil, err
		}
		all = append(all, o)
	}
	slices.SortFunc(all, func(a, b objects.Object) int { return strings.Compare(a.Key, b.Key) })
	return all, nil
}

// forget removes the blocks that are in no blob.
func (c *call) forget() error {
	return c.store.Locked(func() error {
		all, err := c.uncommitted()
		if err != nil {
			return err
		}
		for _, o := range all {
			c.store.DropBlob(o.Blob)
		}
		return os.RemoveAll(c.staging()) //nolint:gosec // its name is a hash
	})
}

// part is where the bytes of a block are.
type part struct {
	objects.Block
	blob string
	from int64
}

// parts are the blocks by "Latest id", "Committed id" and "Uncommitted id".
func parts(staged []objects.Object, old *objects.Object) map[string]part {
	all := map[string]part{}
	from := int64(0)
	for _, b := range old.Blocks {
		p := part{b, old.Blob, from}
		all["Committed "+b.ID], all["Latest "+b.ID] = p, p
		from += b.Size
	}
	for _, o := range staged {
		p := part{objects.Block{ID: o.Key, Size: o.Size}, o.Blob, 0}
		all["Uncommitted "+o.Key], all["Latest "+o.Key] = p, p
	}
	return all
}

// putBlockList makes a blob of blocks that were sent for it, and of its own.
func (c *call) putBlockList() error {
	var in struct {
		Refs []struct {
			XMLName xml.Name
			ID      string `xml:",chardata"`
		} `xml:",any"`
	}
	if err := xml.NewDecoder(io.LimitReader(c.r.Body, maxList)).Decode(&in); err != nil {
		return refuse(http.StatusBadRequest, "InvalidXmlDocument", "XML specified is not syntactically valid.")
	}
	if len(in.Refs) > mostBlocks {
		return refuse(http.StatusBadRequest, "BlockListTooLong", "The block list may not contain more than 50,000 blocks.")
	}
	m, err := c.metadata()
	if err != nil {
		return err
	}
	if err := c.early(); err != nil {
		return err
	}
	staged, err := c.uncommitted()
	if err != nil {
		return err
	}
	old, err := c.store.Find(c.bucket(), c.blob)
	if err != nil && !errors.Is(err, objects.ErrNoKey) {
		return err
	}
	known := parts(staged, &old)
	var chosen []part
	for _, ref := range in.Refs {
		found, is := known[ref.XMLName.Local+" "+strings.TrimSpace(ref.ID)]
		if !is {
			return refuse(http.StatusBadRequest, "InvalidBlockList", "The specified block list is invalid.")
		}
		chosen = append(chosen, found)
	}
	o, err := c.together(chosen)
	if err != nil {
		return err
	}
	o.Key, o.Metadata, o.Header = c.blob, m, c.headers()
	if err := c.put(&o); err != nil {
		return err
	}
	return c.changed(http.StatusCreated, &o)
}

// together writes blocks one after the other.
func (c *call) together(chosen []part) (objects.Object, error) {
	reader, writer := io.Pipe()
	go func() {
		var err error
		for i := 0; i < len(chosen) && err == nil; i++ {
			err = c.store.CopyPart(writer, chosen[i].blob, chosen[i].from, chosen[i].Size)
		}
		writer.CloseWithError(err)
	}()
	o, err := c.store.WriteBlob(reader)
	reader.CloseWithError(io.ErrClosedPipe)
	if errors.Is(err, fs.ErrNotExist) { // somebody else has used them meanwhile
		err = refuse(http.StatusBadRequest, "InvalidBlockList", "The specified block list is invalid.")
	}
	for _, p := range chosen {
		o.Blocks = append(o.Blocks, p.Block)
	}
	return o, err
}

type blockItem struct {
	Name string
	Size int64
}

func (c *call) getBlockList() error {
	staged, err := c.uncommitted()
	if err != nil {
		return err
	}
	old, err := c.store.Find(c.bucket(), c.blob)
	there := err == nil
	if !there && (!errors.Is(err, objects.ErrNoKey) || len(staged) == 0) {
		return err
	}
	var out struct {
		XMLName     xml.Name    `xml:"BlockList"`
		Committed   []blockItem `xml:"CommittedBlocks>Block"`
		Uncommitted []blockItem `xml:"UncommittedBlocks>Block"`
	}
	kind := c.query.Get("blocklisttype")
	if kind != "uncommitted" {
		for _, b := range old.Blocks {
			out.Committed = append(out.Committed, blockItem{b.ID, b.Size})
		}
	}
	if kind == "uncommitted" || kind == "all" {
		for _, o := range staged {
			out.Uncommitted = append(out.Uncommitted, blockItem{o.Key, o.Size})
		}
	}
	if there {
		c.w.Header().Set("ETag", tag(&old))
		c.w.Header().Set("Last-Modified", httpTime(old.Modified))
	}
	write(c.w, http.StatusOK, out)
	return nil
}
