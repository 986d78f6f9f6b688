// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"slices"
	"sort"
	"strings"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// Offered is an artifact that another platform offers, file by file: what
// driver.Original asks for and gives.
type Offered interface {
	Files(ctx context.Context, give func(path string, size int64, open func(context.Context) (io.ReadCloser, error))) (single bool, err error)
}

// From is the source that an offered artifact is, which is opened when its files are
// asked for. name is what the user calls it.
func From[O Offered](name string, open func(context.Context) (O, error)) Source {
	return &offered{name: name, open: func(ctx context.Context) (Offered, error) { return open(ctx) }}
}

type offered struct {
	name   string
	open   func(context.Context) (Offered, error)
	single bool
}

func (o *offered) String() string { return o.name }
func (o *offered) Single() bool   { return o.single }

func (o *offered) Entries(ctx context.Context) (all []Entry, err error) {
	from, err := o.open(ctx)
	if err != nil {
		return nil, err
	}
	o.single, err = from.Files(ctx, func(path string, size int64, open func(context.Context) (io.ReadCloser, error)) {
		all = append(all, Entry{Path: path, Size: size, Open: open})
	})
	return all, err
}

// Staged is what was staged somewhere, offered as it was before: the artifact with
// that digest, out of its archive and its arrangement.
type Staged struct {
	files  Source
	record Source // of how the files were arranged; nil if there is none
	digest string
	gone   error // when the files are not those of the artifact
}

var _ Offered = (*Staged)(nil)

// Unstage offers what lies at an address, if it is there: an archive, a tree, or
// what never was arranged. version is what the user calls it.
func Unstage(ctx context.Context, store interface {
	Store
	Source(at Location) Source
}, at Location, digest, version string) (*Staged, error) {
	s := &Staged{files: store.Source(at), digest: digest, gone: notAnyMore(at, version)}
	if !at.IsPrefix() {
		if _, err := store.Stat(ctx, at); mlerr.Is(err, mlerr.NotFound) && at.IsBlob() {
			at.Key += "/" // as Azure writes the address of a directory
			return Unstage(ctx, store, at, digest, version)
		} else if err != nil {
			return nil, err
		}
		if isArchive(at.Key) {
			s.files = &archive{from: s.files, gzipped: true}
		}
		return s, nil
	}
	switch _, err := store.Stat(ctx, marker(at)); {
	case err == nil:
		s.record = store.Source(marker(at))
	case !mlerr.Is(err, mlerr.NotFound):
		return nil, err
	default: // served from where the user has put it
		if _, err := s.files.Entries(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func notAnyMore(at Location, version string) error {
	return mlerr.New(mlerr.InvalidArgument, "what is at %s is not any more the artifact of %s", at, version).
		At("artifact.uri").WithHint("Somebody has changed it. Give the artifact itself, or another version")
}

// Files gives the files of the artifact.
func (s *Staged) Files(ctx context.Context, give func(path string, size int64, open func(context.Context) (io.ReadCloser, error))) (bool, error) {
	staged, err := s.files.Entries(ctx)
	if err != nil {
		return false, err
	}
	entries, single, err := s.recorded(ctx, staged)
	if err == nil && entries == nil {
		entries, single, err = s.recognized(ctx, staged)
	}
	if err != nil {
		return false, err
	}
	sort.Slice(entries, func(i, j int) bool { return entries[i].Path < entries[j].Path })
	for i := range entries {
		give(entries[i].Path, entries[i].Size, entries[i].Open)
	}
	return single, nil
}

// arranged says of each file of the artifact where it is in the staged tree. It is
// what the marker of a tree holds.
type arranged struct {
	Single bool           `json:"single"`
	Files  []arrangedFile `json:"files"`
}

type arrangedFile struct {
	Path string `json:"path"` // in the artifact
	At   string `json:"at"`   // in the tree
}

// arrangedAs is the record of an arrangement.
func arrangedAs(single bool, entries []Entry) (string, error) {
	r := arranged{Single: single}
	for _, e := range entries {
		if !e.generated {
			r.Files = append(r.Files, arrangedFile{e.original, e.Path})
		}
	}
	text, err := json.Marshal(r)
	return string(text), err
}

// recorded are the files as the marker says; nil where it says nothing.
func (s *Staged) recorded(ctx context.Context, staged []Entry) (entries []Entry, single bool, err error) {
	if s.record == nil {
		return nil, false, nil
	}
	text, err := contents(ctx, s.record)
	var r arranged
	if err != nil || len(text) == 0 || json.Unmarshal(text, &r) != nil {
		return nil, false, err
	}
	for _, f := range r.Files {
		i := slices.IndexFunc(staged, func(e Entry) bool { return e.Path == f.At })
		if i < 0 {
			return nil, false, s.gone
		}
		e := staged[i]
		e.Path = f.Path
		entries = append(entries, e)
	}
	return entries, r.Single, nil
}

// maxRecord is what is read of a marker, in bytes.
const maxRecord = 16 << 20

func contents(ctx context.Context, src Source) ([]byte, error) {
	entries, err := src.Entries(ctx)
	if err != nil {
		return nil, err
	}
	r, err := entries[0].Open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, maxRecord))
}

// recognized finds out by the digest what of the staged files the artifact is: an
// archive that was handed over as one, a single file, all files, or all but what the
// arrangement has added.
func (s *Staged) recognized(ctx context.Context, staged []Entry) ([]Entry, bool, error) {
	if a, ok := s.files.(*archive); ok && a.digest == s.digest {
		return []Entry{a.whole}, true, nil
	}
	sums := make([]string, len(staged))
	for i := range staged {
		var err error
		if sums[i] = staged[i].digest; sums[i] == "" {
			sums[i], err = sum(ctx, &staged[i])
		}
		if err != nil {
			return nil, false, err
		}
		if sums[i] == s.digest {
			e := staged[i]
			e.Path = base(e.Path)
			return []Entry{e}, true, nil
		}
	}
	for _, undo := range []func(i int, path string) string{
		func(_ int, path string) string { return path },
		func(i int, path string) string {
			if sums[i] == sklearnScriptSum { // added for the scikit-learn container
				return ""
			}
			return path
		},
		func(_ int, path string) string { return strings.TrimPrefix(path, "1/") }, // put below for TensorFlow Serving
	} {
		var entries []Entry
		var of []string
		for i, e := range staged {
			if e.Path = undo(i, e.Path); e.Path != "" {
				entries, of = append(entries, e), append(of, sums[i])
			}
		}
		if combine(false, entries, of) == s.digest {
			return entries, false, nil
		}
	}
	return nil, false, s.gone
}

var sklearnScriptSum = func() string {
	s := sha256.Sum256([]byte(sklearnScript))
	return hex.EncodeToString(s[:])
}()

// Unoffered is the refusal to offer the artifact of a version.
func Unoffered(version, why string) error {
	return mlerr.New(mlerr.Unsupported, "the artifact of %s cannot be read: %s", version, why).At("artifact.uri").
		WithHint("Give the file or directory itself as artifact.uri")
}
