// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact

import (
	"context"
	"io"
	"strings"
)

// Verified is an artifact that was read once and found to be the one with the
// wanted digest, arranged as it is to be staged. A wrong byte is noticed only at
// the end of reading, so nothing is put into its final place before.
type Verified struct {
	request *Request
	entries []Entry
	single  bool // the artifact is one file
}

// File is one file as it is staged, with the hex SHA-256 of its bytes.
type File struct{ Path, SHA256 string }

// Verify reads the source. One whose bytes are not those of Digest is
// InvalidArgument with the path "artifact.uri". One at its own staging address is
// arranged already.
func (q *Request) Verify(ctx context.Context) (*Verified, error) {
	if q.address() == q.Source.String() {
		entries, err := q.Source.Entries(ctx)
		return &Verified{q, entries, q.Source.Single()}, err
	}
	sums, err := q.open(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := Arrange(q.Directory, q.Name, sums.single, sums.hashing()); err != nil {
		return nil, err // known without reading
	}
	for i := range sums.entries {
		if err := discard(ctx, &sums.hashed[i]); err != nil {
			return nil, err
		}
	}
	if err := sums.check(); err != nil {
		return nil, err
	}
	for i := range sums.hashed {
		sums.hashed[i].digest, sums.hashed[i].original = sums.sums[i], sums.hashed[i].Path
	}
	arranged, err := Arrange(q.Directory, q.Name, sums.single, sums.hashed)
	return &Verified{q, arranged, sums.single}, err
}

// Files are the files, sorted by path.
func (v *Verified) Files(ctx context.Context) ([]File, error) {
	files := make([]File, len(v.entries))
	for i := range v.entries {
		files[i] = File{v.entries[i].Path, v.entries[i].digest}
		if files[i].SHA256 == "" { // made by the arrangement, or arranged before
			var err error
			if files[i].SHA256, err = sum(ctx, &v.entries[i]); err != nil {
				return nil, err
			}
		}
	}
	return files, nil
}

// Place is the path that the artifact is staged under: its digest and how it is
// arranged.
func (v *Verified) Place() string {
	q := *v.request
	q.Into = Location{}
	return q.place("tree").Key
}

// Tar writes the files as an uncompressed archive, in which their names begin with
// prefix.
func (v *Verified) Tar(ctx context.Context, w io.Writer, prefix string) error {
	entries := make([]Entry, len(v.entries))
	for i, e := range v.entries {
		entries[i] = e
		entries[i].Path = prefix + e.Path
	}
	return writeTar(ctx, w, entries)
}

// Tree writes one object a file, unless they are there, and then the marker that
// they are complete. It returns the address of the prefix.
func (v *Verified) Tree(ctx context.Context, store Store) (string, error) {
	at := v.request.place("tree")
	if at.String() == v.request.Source.String() {
		return at.String(), nil
	}
	done, digest := marker(at), v.request.Digest
	if there, err := present(ctx, store, done, digest); there || err != nil {
		return at.String(), err
	}
	for _, e := range v.entries {
		target := at
		target.Key += e.Path
		if err := putEntry(ctx, store, target, digest, e); err != nil {
			return "", err
		}
	}
	record, err := arrangedAs(v.single, v.entries)
	if err != nil {
		return "", err
	}
	return at.String(), put(ctx, store, done, digest, strings.NewReader(record))
}
