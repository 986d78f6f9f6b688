// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azblob

import (
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/objects"
)

// source opens the blob that a request copies from, which must be in this storage.
func (c *call) source() (objects.Object, io.ReadSeekCloser, error) {
	var none objects.Object
	u, err := url.Parse(c.r.Header.Get("X-Ms-Copy-Source"))
	if err != nil || u.Host == "" {
		return none, nil, refuse(http.StatusBadRequest, "InvalidHeaderValue", "The value for one of the HTTP headers is not in the correct format: x-ms-copy-source.")
	}
	path := strings.TrimPrefix(u.Path, "/")
	var account string
	if m := accountHost.FindStringSubmatch(u.Host); m != nil {
		account = m[1]
	} else {
		account, path, _ = strings.Cut(path, "/")
	}
	container, blob, _ := strings.Cut(path, "/")
	o, f, err := c.store.Open(bucket(account, container), blob)
	if err != nil {
		return none, nil, refuse(http.StatusNotFound, "CannotVerifyCopySource", "The specified blob does not exist: %s/%s/%s.", account, container, blob)
	}
	if want := c.r.Header.Get("X-Ms-Source-If-Match"); want != "" && want != tag(&o) {
		_ = f.Close() // only read
		return none, nil, refuse(http.StatusPreconditionFailed, "SourceConditionNotMet", "The source condition specified using HTTP conditional header(s) is not met.")
	}
	return o, f, nil
}

// putBlockFromURL takes the bytes of a block from another blob.
func (c *call) putBlockFromURL() error {
	o, f, err := c.source()
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	first, last := int64(0), o.Size-1
	if m := rangePattern.FindStringSubmatch(c.r.Header.Get("X-Ms-Source-Range")); m != nil {
		first, _ = strconv.ParseInt(m[1], 10, 64) // digits
		if n, err := strconv.ParseInt(m[2], 10, 64); err == nil {
			last = min(last, n)
		}
	}
	if first > last {
		return refuse(http.StatusRequestedRangeNotSatisfiable, "InvalidRange", "The range specified is invalid for the current size of the resource.")
	}
	if _, err := f.Seek(first, io.SeekStart); err != nil {
		return err
	}
	return c.takeBlock(io.LimitReader(f, last-first+1))
}

// copyInto makes a copy, with other attributes if the request has any.
func (c *call) copyInto() (*objects.Object, error) {
	m, err := c.metadata()
	if err != nil {
		return nil, err
	}
	if err := c.early(); err != nil {
		return nil, err
	}
	source, f, err := c.source()
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	o, err := c.store.WriteBlob(f)
	if err != nil {
		return nil, err
	}
	o.Key, o.Header, o.Metadata, o.Blocks = c.blob, source.Header, m, source.Blocks
	if len(m) == 0 {
		o.Metadata = source.Metadata
	}
	return &o, c.put(&o)
}

// copy copies at once, also when the request would let it take time.
func (c *call) copy() error {
	o, err := c.copyInto()
	if err != nil {
		return err
	}
	h := c.w.Header()
	h.Set("X-Ms-Copy-Id", h.Get("X-Ms-Request-Id"))
	h.Set("X-Ms-Copy-Status", "success")
	return c.changed(http.StatusAccepted, o)
}

func (c *call) putFromURL() error {
	o, err := c.copyInto()
	if err != nil {
		return err
	}
	return c.changed(http.StatusCreated, o)
}
