// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package s3

import (
	"bufio"
	"bytes"
	"crypto/sha1" //nolint:gosec // one of the checksums S3 offers
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/johannesboyne/gofakes3"
)

// checksums are the additional checksums of S3, by the last part of their
// header's name.
var checksums = map[string]func() hash.Hash{
	"crc32":     func() hash.Hash { return crc32.NewIEEE() },
	"crc32c":    func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
	"crc64nvme": func() hash.Hash { return crc64.New(crc64NVME) },
	"sha1":      sha1.New,
	"sha256":    sha256.New,
}

// The polynomial 0xad93d23594c93659 of CRC-64/NVME, bits reversed.
var crc64NVME = crc64.MakeTable(0x9a6c9329ac4bc9b5)

const checksumHeader = "X-Amz-Checksum-"

// body is the decoded content of a request: it takes aws-chunked framing
// apart, and at the end of the content compares every checksum that was sent
// before it (headers) or after it (trailers).
type body struct {
	content  io.Reader
	framed   *bufio.Reader // nil unless aws-chunked
	expected http.Header   // where checksums are looked up: headers, then trailers
	sums     map[string]hash.Hash
	sha256   hash.Hash // of the content as signed, nil if it was not
	done     error
}

// decode replaces r's body by its content, sets its length to the content's,
// and removes what describes the framing.
func decode(r *http.Request) (*body, error) {
	b := &body{content: r.Body, expected: http.Header{}, sums: map[string]hash.Hash{}}
	signed := r.Header.Get("X-Amz-Content-Sha256")
	if strings.HasPrefix(signed, "STREAMING-") || hasToken(r.Header.Get("Content-Encoding"), "aws-chunked") {
		length, err := strconv.ParseInt(r.Header.Get("X-Amz-Decoded-Content-Length"), 10, 64)
		if err != nil || length < 0 {
			return nil, gofakes3.ErrMissingContentLength
		}
		b.framed = bufio.NewReader(r.Body)
		b.content = httputil.NewChunkedReader(b.framed)
		r.ContentLength = length
		r.Header.Set("Content-Length", strconv.FormatInt(length, 10))
		r.Header.Del("X-Amz-Content-Sha256")
		dropToken(r.Header, "Content-Encoding", "aws-chunked")
	} else if len(signed) == 2*sha256.Size {
		b.sha256 = sha256.New()
		b.expected.Set("X-Amz-Content-Sha256", signed)
	}
	b.expectChecksums(r.Header)
	r.Body = struct {
		io.Reader
		io.Closer
	}{b, r.Body}
	return b, nil
}

// expectChecksums starts every checksum that the request carries or announces
// as a trailer.
func (b *body) expectChecksums(h http.Header) {
	announced := strings.ToLower(strings.Join(h.Values("X-Amz-Trailer"), ","))
	for name, start := range checksums {
		if v := h.Get(checksumHeader + name); v != "" {
			b.expected.Set(checksumHeader+name, v)
			b.sums[name] = start()
		} else if hasToken(announced, strings.ToLower(checksumHeader)+name) {
			b.sums[name] = start()
		}
	}
}

// Read reads content; in place of io.EOF it returns an S3 error if a checksum
// does not fit.
func (b *body) Read(p []byte) (int, error) {
	if b.done != nil {
		return 0, b.done
	}
	n, err := b.content.Read(p)
	for _, sum := range b.sums {
		sum.Write(p[:n])
	}
	if b.sha256 != nil {
		b.sha256.Write(p[:n])
	}
	switch {
	case errors.Is(err, io.EOF):
		err = b.finish()
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = gofakes3.ErrIncompleteBody
	}
	b.done = err
	return n, err
}

func (b *body) finish() error {
	if b.framed != nil {
		trailers, err := textproto.NewReader(b.framed).ReadMIMEHeader()
		if err != nil && len(trailers) == 0 && !errors.Is(err, io.EOF) {
			return gofakes3.ErrIncompleteBody
		}
		maps.Copy(b.expected, trailers)
	}
	for name, sum := range b.sums {
		if b.expected.Get(checksumHeader+name) != base64.StdEncoding.EncodeToString(sum.Sum(nil)) {
			return gofakes3.ErrorMessagef(gofakes3.ErrBadDigest,
				"The %s you specified did not match the calculated checksum.", strings.ToUpper(name))
		}
	}
	if b.sha256 != nil {
		want, err := hex.DecodeString(b.expected.Get("X-Amz-Content-Sha256"))
		if err != nil || !bytes.Equal(want, b.sha256.Sum(nil)) {
			return gofakes3.ErrorMessage(gofakes3.ErrBadDigest,
				"The provided 'x-amz-content-sha256' header does not match what was computed.")
		}
	}
	return io.EOF
}

// verified returns the additional checksums of the content, base64, once it
// was read to its end; nil if the request had none.
func (b *body) verified() map[string]string {
	if b == nil || len(b.sums) == 0 {
		return nil
	}
	all := make(map[string]string, len(b.sums))
	for name, sum := range b.sums {
		all[name] = base64.StdEncoding.EncodeToString(sum.Sum(nil))
	}
	return all
}

func hasToken(list, token string) bool {
	for t := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.TrimSpace(t), token) {
			return true
		}
	}
	return false
}

func dropToken(h http.Header, name, token string) {
	var rest []string
	for t := range strings.SplitSeq(h.Get(name), ",") {
		if t = strings.TrimSpace(t); t != "" && !strings.EqualFold(t, token) {
			rest = append(rest, t)
		}
	}
	if len(rest) == 0 {
		h.Del(name)
		return
	}
	h.Set(name, strings.Join(rest, ","))
}
