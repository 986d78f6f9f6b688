// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azblob

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc64"
	"io"
	"net/http"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/objects"
)

const headerCRC64 = "X-Ms-Content-Crc64"

// crcTable is of the polynomial that the service uses.
var crcTable = crc64.MakeTable(0x9A6C9329AC4BC9B5)

func base64CRC(sum uint64) string {
	return base64.StdEncoding.EncodeToString(binary.LittleEndian.AppendUint64(nil, sum))
}

// receive stores a request's body, unless it is not what its checksums say.
func (c *call) receive(body io.Reader) (objects.Object, error) {
	sum := crc64.New(crcTable)
	o, err := c.store.WriteBlob(io.TeeReader(body, sum))
	if err != nil {
		return o, err
	}
	crc, want5, want64 := base64CRC(sum.Sum64()), c.r.Header.Get(headerMD5), c.r.Header.Get(headerCRC64)
	switch {
	case want5 != "" && want5 != hexMD5(o.ETag):
		err = refuse(http.StatusBadRequest, "Md5Mismatch", "The MD5 value specified in the request did not match with the MD5 value calculated by the server.")
	case want64 != "" && want64 != crc:
		err = refuse(http.StatusBadRequest, "Crc64Mismatch", "The CRC64 value specified in the request did not match with the CRC64 value calculated by the server.")
	}
	if err != nil {
		c.store.DropBlob(o.Blob)
		return o, err
	}
	c.w.Header().Set(headerCRC64, crc)
	return o, nil
}

// put makes a blob visible, if the request's conditions hold, and forgets the blocks
// that were sent for it.
func (c *call) put(o *objects.Object) error {
	err := c.store.Put(c.bucket(), o, func(old *objects.Object) error {
		if err := c.conditions(old); err != nil {
			return err
		}
		succeed(o, old)
		return nil
	})
	if err != nil {
		return err
	}
	return c.forget()
}

// mostWhole is the largest blob in one request, in bytes.
const mostWhole = 5000 << 20

func (c *call) putBlob() error {
	if c.r.Header.Get("X-Ms-Blob-Type") == "" {
		return refuse(http.StatusBadRequest, "MissingRequiredHeader", "An HTTP header that's mandatory for this request is not specified: x-ms-blob-type.")
	}
	if c.r.ContentLength > mostWhole {
		return refuse(http.StatusRequestEntityTooLarge, "RequestBodyTooLarge", "The request body is too large and exceeds the maximum permissible limit.")
	}
	m, err := c.metadata()
	if err != nil {
		return err
	}
	if err := c.early(); err != nil {
		return err
	}
	o, err := c.receive(c.r.Body)
	if err != nil {
		return err
	}
	o.Key, o.Metadata, o.Header = c.blob, m, c.headers()
	if want := o.Header[headerMD5]; want != "" && want != hexMD5(o.ETag) {
		c.store.DropBlob(o.Blob)
		return refuse(http.StatusBadRequest, "Md5Mismatch", "The MD5 value specified in the request did not match with the MD5 value calculated by the server.")
	}
	o.Header[headerMD5] = hexMD5(o.ETag)
	if err := c.put(&o); err != nil {
		return err
	}
	return c.changed(http.StatusCreated, &o)
}
