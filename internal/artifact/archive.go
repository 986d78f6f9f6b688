// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"sync"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// archive is the files in a tar archive somewhere. They are read out of the stream:
// in their order, everything is read once.
type archive struct {
	from    Source // of one entry
	gzipped bool
	below   string // leave this out of the names; files elsewhere are none of it

	whole  Entry  // the archive itself
	digest string // its SHA-256, once the entries are listed

	mu     sync.Mutex
	cursor *cursor // where the last file has ended; nil if it is in use
}

func (a *archive) String() string { return a.from.String() }
func (a *archive) Single() bool   { return false }

// cursor is a position in an archive that is being read.
type cursor struct {
	ctx  context.Context //nolint:containedctx // what is opened with one context is of no use under another
	raw  io.ReadCloser
	tar  *tar.Reader
	next int // index of the file that comes next
}

func (c *cursor) close() { _ = c.raw.Close() } // only read

// open begins to read, and passes everything to also.
func (a *archive) open(ctx context.Context, also io.Writer) (*cursor, error) {
	raw, err := a.whole.Open(ctx)
	if err != nil {
		return nil, err
	}
	r := io.TeeReader(raw, also)
	if a.gzipped {
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, errors.Join(a.refuse(err), raw.Close())
		}
		r = z
	}
	return &cursor{ctx: ctx, raw: raw, tar: tar.NewReader(r)}, nil
}

func (a *archive) refuse(err error) error {
	if mlerr.CodeOf(err) != mlerr.Unknown {
		return err
	}
	return mlerr.New(mlerr.InvalidArgument, "%s is not an archive that can be read", a.from).Because(err).At("artifact.uri").
		WithHint("Somebody has changed it. Give the artifact itself, or another version")
}

// advance goes to the next regular file; io.EOF if there is none.
func (c *cursor) advance(a *archive) (*tar.Header, error) {
	for {
		h, err := c.tar.Next()
		if err != nil {
			return nil, err
		}
		if h.Typeflag == tar.TypeReg && strings.HasPrefix(h.Name, a.below) {
			c.next++
			return h, nil
		}
	}
}

// Entries lists the files, with their digests: all is read for it.
func (a *archive) Entries(ctx context.Context) ([]Entry, error) {
	one, err := a.from.Entries(ctx)
	if err != nil {
		return nil, err
	}
	a.whole = one[0]
	all := sha256.New()
	c, err := a.open(ctx, all)
	if err != nil {
		return nil, err
	}
	defer c.close()
	var entries []Entry
	for {
		h, err := c.advance(a)
		if errors.Is(err, io.EOF) {
			break
		}
		sum := sha256.New()
		if err == nil {
			_, err = io.Copy(sum, c.tar)
		}
		if err != nil {
			return nil, a.refuse(err)
		}
		index := c.next - 1
		entries = append(entries, Entry{Path: strings.TrimPrefix(strings.TrimPrefix(h.Name, a.below), "./"), Size: h.Size, digest: hex.EncodeToString(sum.Sum(nil)),
			Open: func(ctx context.Context) (io.ReadCloser, error) { return a.file(ctx, index) }})
	}
	if _, err := io.Copy(io.Discard, io.TeeReader(c.raw, all)); err != nil { // what follows the archive's end
		return nil, err
	}
	a.digest = hex.EncodeToString(all.Sum(nil))
	return entries, nil
}

// file opens a file, from where the last one has ended if it comes later.
func (a *archive) file(ctx context.Context, index int) (io.ReadCloser, error) {
	a.mu.Lock()
	c := a.cursor
	a.cursor = nil
	a.mu.Unlock()
	if c != nil && (c.ctx != ctx || c.next > index) {
		c.close()
		c = nil
	}
	if c == nil {
		var err error
		if c, err = a.open(ctx, io.Discard); err != nil {
			return nil, err
		}
	}
	for c.next <= index {
		if _, err := c.advance(a); err != nil {
			c.close()
			return nil, a.refuse(err)
		}
	}
	return &archived{c.tar, a, c}, nil
}

// archived is one file while it is read.
type archived struct {
	io.Reader
	archive *archive
	cursor  *cursor
}

// Close leaves the archive open for the file that comes next.
func (r *archived) Close() error {
	a := r.archive
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.cursor == nil {
		return nil
	}
	if a.cursor != nil {
		a.cursor.close()
	}
	a.cursor, r.cursor = r.cursor, nil
	context.AfterFunc(a.cursor.ctx, a.cursor.close)
	return nil
}
