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
	"hash"
	"io"
	"strings"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/naming"
)

// Store is where artifacts are staged.
type Store interface {
	// Stat returns the digest of the artifact that an object was staged
	// from. Absent is NotFound.
	Stat(ctx context.Context, at Location) (digest string, err error)
	// Put streams an object to where none is; Conflict if there is one. A
	// failing r must leave nothing behind.
	Put(ctx context.Context, at Location, digest string, r io.Reader) error
}

// Request is one artifact to stage.
type Request struct {
	Source    Source
	Digest    string   // that the source must have, in hex
	Into      Location // the staging place
	Directory string   // arrangement, as in Arrange
	Name      string   // the model's
	Tree      bool     // as a tree of objects; otherwise as one model.tar.gz
}

// Stage copies an artifact to <into>/<digest>/…, unless it is there, and returns
// where: the address of a model.tar.gz, or of a prefix with a trailing slash.
// How the files are arranged is part of the address, so that two runtimes do not
// meet. The bytes are hashed on their way: other bytes than Digest says are
// InvalidArgument with the path "artifact.uri", and leave nothing behind.
// A source that is at its own staging address stays there.
func Stage(ctx context.Context, store Store, q Request) (string, error) {
	if at := q.address(); at == q.Source.String() {
		return at, nil
	}
	if q.Tree {
		at := q.place("tree")
		if there, err := present(ctx, store, marker(at), q.Digest); there || err != nil {
			return at.String(), err
		}
		verified, err := q.Verify(ctx)
		if err != nil {
			return "", err
		}
		return verified.Tree(ctx, store)
	}
	return q.stageArchive(ctx, store)
}

// open lists the source's files, to be checked while they are read.
func (q *Request) open(ctx context.Context) (*checker, error) {
	entries, err := q.Source.Entries(ctx)
	return &checker{want: q.Digest, single: q.Source.Single(), source: q.Source.String(), entries: entries}, err
}

// arrangement counts how Arrange has changed: another arrangement is another
// place, since nothing is overwritten.
const arrangement = "3"

func (q *Request) place(kind string) Location {
	at := q.Into
	at.Key = strings.TrimSuffix(at.Key, "/")
	if at.Key != "" {
		at.Key += "/"
	}
	at.Key += q.Digest + "/" + naming.Name(kind, 40, naming.Hash([]string{q.Directory, q.Name, arrangement})) + "/"
	return at
}

// address is where the request stages to.
func (q *Request) address() string {
	if q.Tree {
		return q.place("tree").String()
	}
	at := q.place("archive")
	at.Key += archiveName
	return at.String()
}

const archiveName = "model.tar.gz"

func (q *Request) stageArchive(ctx context.Context, store Store) (string, error) {
	at := q.place("archive")
	at.Key += archiveName
	if there, err := present(ctx, store, at, q.Digest); there || err != nil {
		return at.String(), err
	}
	sums, err := q.open(ctx)
	if err != nil {
		return "", err
	}
	hashed := sums.hashing()
	pour := func(w io.Writer) error { return pack(ctx, w, hashed, q) }
	if sums.single && isArchive(sums.entries[0].Path) {
		pour = func(w io.Writer) error { return copyArchive(ctx, w, hashed[0]) }
	}
	r, w := io.Pipe()
	go func() {
		err := pour(w)
		if err == nil {
			err = sums.check()
		}
		w.CloseWithError(err)
	}()
	err = put(ctx, store, at, q.Digest, r)
	r.CloseWithError(io.ErrClosedPipe)
	return at.String(), err
}

func discard(ctx context.Context, e *Entry) error {
	r, err := e.Open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}

func putEntry(ctx context.Context, store Store, at Location, digest string, e Entry) error {
	if there, err := present(ctx, store, at, digest); there || err != nil {
		return err
	}
	r, err := e.Open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	return put(ctx, store, at, digest, r)
}

// put writes an object, unless somebody else was faster with the same artifact.
func put(ctx context.Context, store Store, at Location, digest string, r io.Reader) error {
	err := store.Put(ctx, at, digest, r)
	if !mlerr.Is(err, mlerr.Conflict) {
		return err
	}
	if there, other := present(ctx, store, at, digest); there || other != nil {
		return other
	}
	return err
}

// present reports whether an object is there and is ours.
func present(ctx context.Context, store Store, at Location, digest string) (bool, error) {
	got, err := store.Stat(ctx, at)
	switch {
	case mlerr.Is(err, mlerr.NotFound):
		return false, nil
	case err != nil:
		return false, err
	case got != digest:
		return false, mlerr.New(mlerr.AlreadyExists, "%s holds something else than the artifact %s", at.String(), digest).
			WithHint("Nothing is ever overwritten. Remove the object, or choose another staging_uri")
	}
	return true, nil
}

// checker hashes the files of a source while they are read.
type checker struct {
	want, source string
	single       bool
	entries      []Entry
	hashed       []Entry
	hashes       []hash.Hash
	sums         []string // of the files, once check has found them right
}

// hashing hashes what is read, and fails at the end of a file that was read
// before and has changed since.
type hashing struct {
	io.ReadCloser
	hash       hash.Hash
	want, name string
}

func (h *hashing) Read(p []byte) (int, error) {
	n, err := h.ReadCloser.Read(p)
	h.hash.Write(p[:n])
	if err == io.EOF && h.want != "" && hex.EncodeToString(h.hash.Sum(nil)) != h.want { //nolint:errorlint // readers return it bare
		err = changed(h.name)
	}
	return n, err
}

func changed(name string) error {
	return mlerr.New(mlerr.InvalidArgument, "%s changed while it was read", name).At("artifact.uri").WithHint("Apply again")
}

// hashing returns the entries so that reading them feeds the checker.
func (c *checker) hashing() []Entry {
	c.hashes = make([]hash.Hash, len(c.entries))
	c.hashed = make([]Entry, len(c.entries))
	for i := range c.entries {
		open := c.entries[i].Open
		c.hashed[i] = c.entries[i]
		c.hashed[i].Open = func(ctx context.Context) (io.ReadCloser, error) {
			r, err := open(ctx)
			if err != nil {
				return nil, err
			}
			c.hashes[i] = sha256.New()
			again := &hashing{ReadCloser: r, hash: c.hashes[i]}
			if c.sums != nil {
				again.want, again.name = c.sums[i], c.entries[i].Path
			}
			return again, nil
		}
	}
	return append([]Entry(nil), c.hashed...)
}

// check compares what was read with what was wanted.
func (c *checker) check() error {
	sums := make([]string, len(c.hashes))
	for i, h := range c.hashes {
		if h == nil {
			return mlerr.New(mlerr.InvalidArgument, "%s of %s was not copied", c.entries[i].Path, c.source).At("artifact.uri")
		}
		sums[i] = hex.EncodeToString(h.Sum(nil))
	}
	if got := combine(c.single, c.entries, sums); got != c.want {
		return mlerr.New(mlerr.InvalidArgument, "%s has the digest %s, and %s was planned", c.source, got, c.want).
			At("artifact.uri").WithHint("The artifact changed since the plan: plan again")
	}
	c.sums = sums
	return nil
}

func isArchive(name string) bool {
	return strings.HasSuffix(name, ".tar.gz") || strings.HasSuffix(name, ".tgz")
}

// copyArchive passes an archive on as it is, and makes sure that it is one.
func copyArchive(ctx context.Context, w io.Writer, e Entry) error {
	r, err := e.Open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	copied := io.TeeReader(r, w)
	z, err := gzip.NewReader(copied)
	if err == nil {
		t := tar.NewReader(z)
		for err == nil {
			_, err = t.Next()
		}
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err != nil {
		return mlerr.New(mlerr.InvalidArgument, "%s is not a gzip-compressed tar archive", e.Path).Because(err).At("artifact.uri")
	}
	_, err = io.Copy(io.Discard, copied) // what follows the archive's end
	return err
}

// pack writes a tar.gz that depends on the files' names and bytes alone: sorted,
// without times, owners or modes.
func pack(ctx context.Context, w io.Writer, entries []Entry, q *Request) error {
	arranged, err := Arrange(q.Directory, q.Name, q.Source.Single(), entries)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(w)
	if err := writeTar(ctx, z, arranged); err != nil {
		return err
	}
	return z.Close()
}

func writeTar(ctx context.Context, w io.Writer, entries []Entry) error {
	t := tar.NewWriter(w)
	for _, e := range entries {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: e.Path, Size: e.Size, Mode: 0o644, ModTime: time.Unix(0, 0).UTC(), Format: tar.FormatPAX}
		if err := t.WriteHeader(header); err != nil {
			return err
		}
		if err := packEntry(ctx, t, e); err != nil {
			return err
		}
	}
	return t.Close()
}

func packEntry(ctx context.Context, t *tar.Writer, e Entry) error {
	r, err := e.Open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	n, err := io.Copy(t, r)
	if errors.Is(err, tar.ErrWriteTooLong) || (err == nil && n != e.Size) {
		return changed(e.Path)
	}
	return err
}
