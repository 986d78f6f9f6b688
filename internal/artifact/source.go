// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// Entry is one file of an artifact. Path is relative and uses slashes.
type Entry struct {
	Path string
	Size int64
	Open func(ctx context.Context) (io.ReadCloser, error)

	// generated files are made by the arrangement and no part of the artifact.
	generated bool

	// digest is the hex SHA-256 of the bytes where it is known without
	// reading them.
	digest string

	// original is the path before the files were arranged.
	original string
}

// Source is an artifact somewhere: one file or a tree.
type Source interface {
	// Entries lists the files, sorted by path. A single file has one entry,
	// whose path is its base name. Nothing there is NotFound.
	Entries(ctx context.Context) ([]Entry, error)
	// Single reports whether the artifact is one file and not a tree.
	Single() bool
	// String is the address as the user wrote it.
	String() string
}

// Digest is the identity of an artifact, in hex: of a single file the SHA-256 of
// its bytes, of a tree the SHA-256 of its manifest, which has one line "<sha256>
// <size> <path>" for each file, sorted by path. Times, modes and owners are no
// part of it.
func Digest(ctx context.Context, src Source) (string, error) {
	entries, err := src.Entries(ctx)
	if err != nil {
		return "", err
	}
	sums := make([]string, len(entries))
	for i := range entries {
		if sums[i] = entries[i].digest; sums[i] != "" {
			continue
		}
		if sums[i], err = sum(ctx, &entries[i]); err != nil {
			return "", mlerr.Annotate(err, "reading %s", src)
		}
	}
	return combine(src.Single(), entries, sums), nil
}

// combine makes the artifact's digest from those of its files.
func combine(single bool, entries []Entry, sums []string) string {
	if single {
		return sums[0]
	}
	manifest := sha256.New()
	for i := range entries {
		fmt.Fprintf(manifest, "%s %d %s\n", sums[i], entries[i].Size, entries[i].Path)
	}
	return hex.EncodeToString(manifest.Sum(nil))
}

func sum(ctx context.Context, e *Entry) (string, error) {
	r, err := e.Open(ctx)
	if err != nil {
		return "", err
	}
	defer r.Close()
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Local is an artifact on this machine.
func Local(name string) Source { return local(name) }

type local string

func (l local) String() string { return string(l) }

func (l local) Single() bool {
	info, err := os.Stat(string(l))
	return err == nil && !info.IsDir()
}

func (l local) Entries(ctx context.Context) ([]Entry, error) {
	info, err := os.Stat(string(l))
	if err != nil {
		return nil, l.refuse(err)
	}
	if !info.IsDir() {
		if !info.Mode().IsRegular() { // reading a pipe would wait for ever
			return nil, mlerr.New(mlerr.InvalidArgument, "%s is neither a file nor a directory", l).At("artifact.uri")
		}
		return []Entry{l.entry(string(l), filepath.Base(string(l)), info)}, nil
	}
	root, err := filepath.EvalSymlinks(string(l))
	if err != nil {
		return nil, l.refuse(err)
	}
	var all []Entry
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := resolve(root, name)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		all = append(all, l.entry(name, filepath.ToSlash(relative), info))
		return nil
	})
	if err != nil {
		return nil, l.refuse(err)
	}
	if len(all) == 0 {
		return nil, mlerr.New(mlerr.InvalidArgument, "the directory %s holds no files", l).At("artifact.uri")
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Path < all[j].Path })
	return all, nil
}

// resolve follows a link, which may not lead out of the artifact: what it names
// elsewhere is not what the user handed over.
func resolve(root, name string) (fs.FileInfo, error) {
	target, err := filepath.EvalSymlinks(name)
	if err != nil {
		return nil, err
	}
	if target != root && !strings.HasPrefix(target, root+string(filepath.Separator)) {
		return nil, mlerr.New(mlerr.InvalidArgument, "%s links to %s, outside of the artifact", name, target).At("artifact.uri")
	}
	info, err := os.Stat(target)
	if err == nil && !info.Mode().IsRegular() {
		return nil, mlerr.New(mlerr.InvalidArgument, "%s is neither a file nor a directory of the artifact", name).At("artifact.uri")
	}
	return info, err
}

func (l local) refuse(err error) error {
	code, hint := mlerr.InvalidArgument, "Check the path; relative ones start from where terraform runs"
	if os.IsNotExist(err) {
		code = mlerr.NotFound
	}
	if mlerr.CodeOf(err) != mlerr.Unknown {
		return err
	}
	return mlerr.New(code, "cannot read the artifact %s", l).Because(err).At("artifact.uri").WithHint("%s", hint)
}

func (l local) entry(name, relative string, info fs.FileInfo) Entry {
	key := fileKey{name, info.Size(), info.ModTime()}
	e := Entry{Path: relative, Size: info.Size()}
	if known, ok := hashed.Load(key); ok {
		e.digest, _ = known.(string)
	}
	e.Open = func(context.Context) (io.ReadCloser, error) {
		f, err := os.Open(name)
		if err != nil {
			return nil, l.refuse(err)
		}
		return &remembering{File: f, key: key, hash: sha256.New()}, nil
	}
	return e
}

// hashed remembers the digests of local files, so that plan and apply in one
// process read a large model once.
var hashed sync.Map

type fileKey struct {
	name     string
	size     int64
	modified time.Time
}

// remembering hashes a file while it is read to its end.
type remembering struct {
	*os.File
	key  fileKey
	hash hash.Hash
	read int64
}

func (r *remembering) Read(p []byte) (int, error) {
	n, err := r.File.Read(p)
	r.hash.Write(p[:n])
	r.read += int64(n)
	if err == io.EOF && r.read == r.key.size {
		hashed.Store(r.key, hex.EncodeToString(r.hash.Sum(nil)))
	}
	return n, err
}

// WriteTo hides os.File's, which would pass the hash by.
func (r *remembering) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{r})
}

// base is the last segment of a key.
func base(key string) string { return path.Base(strings.TrimSuffix(key, "/")) }
