// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

// request is for what is at a local path as it is.
func request(t *testing.T, path string) artifact.Request {
	t.Helper()
	src := artifact.Local(path)
	return artifact.Request{Source: src, Digest: digest(t, src), Name: "fraud"}
}

// request stages what is at a local path as it is.
func (o *objects) request(t *testing.T, path string) artifact.Request {
	t.Helper()
	q := request(t, path)
	q.Into = o.at("ml")
	return q
}

func stage(t *testing.T, store artifact.Store, q artifact.Request) string {
	t.Helper()
	uri, err := artifact.Stage(t.Context(), store, q)
	if err != nil {
		t.Fatal(err)
	}
	at, err := artifact.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	return at.Key
}

// unpacked are the files of an archive by name.
func unpacked(t *testing.T, data []byte) map[string]string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[h.Name] = string(content)
	}
}

func TestArchive(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, newObjects func() *objects) {
		t.Helper()
		o := newObjects()
		q := o.request(t, filepath.Join(tree(t, map[string]string{"fraud.onnx": "graph"}), "fraud.onnx"))
		q.Directory = runtimes.Triton
		key := stage(t, o.store, q)
		if !strings.HasPrefix(key, "ml/"+q.Digest+"/") || !strings.HasSuffix(key, "/model.tar.gz") {
			t.Errorf("staged at %s", key)
		}
		files := unpacked(t, o.get(key))
		if files["fraud/1/model.onnx"] != "graph" || !strings.Contains(files["fraud/config.pbtxt"], `backend: "onnxruntime"`) || len(files) != 2 {
			t.Errorf("the archive holds %q", files)
		}
		other := q
		other.Directory = runtimes.PyTorch
		if again := stage(t, o.store, other); again == key {
			t.Error("two runtimes share a place")
		}
	})
}

// The same files make the same archive, whatever their times, modes and order of
// creation: an archive is made anew on another machine and must be the same.
func TestPackingIsDeterministic(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, newObjects func() *objects) {
		t.Helper()
		files := map[string]string{"z": "1", "a/b": "2", "a/c": strings.Repeat("3", 1<<17), "é": ""}
		var archives [][]byte
		for i := range 2 {
			dir := t.TempDir()
			names := []string{"z", "a/b", "a/c", "é"}
			if i == 1 {
				slices.Reverse(names)
			}
			for _, name := range names {
				path := filepath.Join(dir, name)
				at := time.Unix(int64(1+i), 0)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, []byte(files[name]), os.FileMode(0o600+0o44*i)), os.Chtimes(path, at, at)); err != nil {
					t.Fatal(err)
				}
			}
			o := newObjects()
			archives = append(archives, o.get(stage(t, o.store, o.request(t, dir))))
		}
		if !bytes.Equal(archives[0], archives[1]) {
			t.Error("the archives differ")
		}
		if diff := cmp.Diff(files, unpacked(t, archives[0])); diff != "" {
			t.Error(diff)
		}
	})
}

func TestArchivesPassAsTheyAre(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, newObjects func() *objects) {
		t.Helper()
		o := newObjects()
		var packed bytes.Buffer
		z := gzip.NewWriter(&packed)
		w := tar.NewWriter(z)
		if err := errors.Join(w.WriteHeader(&tar.Header{Name: "model", Size: 1, Mode: 0o600}), second(w.Write([]byte("x"))), w.Close(), z.Close()); err != nil {
			t.Fatal(err)
		}
		dir := tree(t, map[string]string{"model.tar.gz": packed.String(), "bad.tar.gz": "no archive"})
		key := stage(t, o.store, o.request(t, filepath.Join(dir, "model.tar.gz")))
		if !bytes.Equal(o.get(key), packed.Bytes()) {
			t.Error("the archive was changed")
		}
		before := o.keys()
		_, err := artifact.Stage(t.Context(), o.store, o.request(t, filepath.Join(dir, "bad.tar.gz")))
		if !mlerr.Is(err, mlerr.InvalidArgument) || mlerr.PathOf(err) != "artifact.uri" || !slices.Equal(before, o.keys()) {
			t.Errorf("got %v at %q, and %v is there", err, mlerr.PathOf(err), o.keys())
		}
	})
}

func second(_ int, err error) error { return err }

func TestTree(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, newObjects func() *objects) {
		t.Helper()
		o := newObjects()
		files := map[string]string{"config.json": "{}", "weights/model": "w"}
		q := o.request(t, tree(t, files))
		q.Directory, q.Tree = runtimes.HuggingFace, true
		key := stage(t, o.store, q)
		if !strings.HasSuffix(key, "/") {
			t.Errorf("a directory's address ends in a slash: %s", key)
		}
		got := map[string]string{}
		for _, k := range o.keys() {
			if rest, inside := strings.CutPrefix(k, key); inside {
				got[rest] = string(o.get(k))
			}
		}
		if diff := cmp.Diff(files, got); diff != "" {
			t.Error(diff) // the marker too would become part of the model
		}
	})
}

// counting counts what is sent, and can fail or lose a race.
type counting struct {
	artifact.Store
	mu     sync.Mutex
	puts   []string
	before func(at artifact.Location) error
}

func (c *counting) Put(ctx context.Context, at artifact.Location, digest string, r io.Reader) error {
	c.mu.Lock()
	c.puts = append(c.puts, at.Key)
	c.mu.Unlock()
	if c.before != nil {
		if err := c.before(at); err != nil {
			return err
		}
	}
	return c.Store.Put(ctx, at, digest, r)
}

func TestNothingIsSentTwice(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, newObjects func() *objects) {
		t.Helper()
		for _, asTree := range []bool{false, true} {
			o := newObjects()
			c := &counting{Store: o.store}
			q := o.request(t, tree(t, map[string]string{"a": "1", "b": "2", "c": "3"}))
			q.Tree = asTree
			// Cut off at the second object, a tree goes on where it was.
			broken := errors.New("connection lost")
			c.before = func(at artifact.Location) error {
				if strings.HasSuffix(at.Key, "/b") {
					return broken
				}
				return nil
			}
			if _, err := artifact.Stage(t.Context(), c, q); asTree && !errors.Is(err, broken) {
				t.Fatalf("got %v", err)
			}
			c.before = nil
			key := stage(t, c, q)
			sent := len(c.puts)
			if asTree && sent != 5 { // a, b, and b again, c, the marker
				t.Errorf("sent %v", c.puts)
			}
			if again := stage(t, c, q); again != key || len(c.puts) != sent {
				t.Errorf("at %s again, and sent %v", again, c.puts[sent:])
			}
		}
	})
}

// Nothing is ever overwritten: neither what was there, nor what somebody else
// writes at the same moment.
func TestForeignObjectsStay(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, newObjects func() *objects) {
		t.Helper()
		for _, asTree := range []bool{false, true} {
			place := newObjects()
			q := place.request(t, tree(t, map[string]string{"a": "1"}))
			q.Tree = asTree
			key := stage(t, place.store, q)
			if asTree {
				key += "a"
			}
			there := newObjects()
			there.put(key, "foreign")
			racing := newObjects()
			c := &counting{Store: racing.store, before: func(at artifact.Location) error {
				racing.put(at.Key, "foreign")
				return nil
			}}
			for o, store := range map[*objects]artifact.Store{there: there.store, racing: c} {
				_, err := artifact.Stage(t.Context(), store, q)
				if !mlerr.Is(err, mlerr.AlreadyExists) || mlerr.Hint(err) == "" || string(o.get(key)) != "foreign" {
					t.Errorf("got %v, and the object holds %q", err, o.get(key))
				}
			}
			// Of two that stage the same both succeed.
			both := newObjects()
			c = &counting{Store: both.store}
			c.before = func(artifact.Location) error {
				c.before = nil
				_, err := artifact.Stage(t.Context(), both.store, q)
				return err
			}
			if _, err := artifact.Stage(t.Context(), c, q); err != nil {
				t.Errorf("somebody else was faster: %v", err)
			}
		}
	})
}

func TestOtherBytesThanPlanned(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, newObjects func() *objects) {
		t.Helper()
		for _, asTree := range []bool{false, true} {
			o := newObjects()
			q := o.request(t, tree(t, map[string]string{"a": "1", "b": "2"}))
			q.Tree, q.Digest = asTree, sum("something else")
			_, err := artifact.Stage(t.Context(), o.store, q)
			if !mlerr.Is(err, mlerr.InvalidArgument) || mlerr.PathOf(err) != "artifact.uri" || !strings.Contains(err.Error(), q.Digest) {
				t.Errorf("got %v at %q", err, mlerr.PathOf(err))
			}
			if keys := o.keys(); len(keys) > 0 {
				t.Errorf("left behind: %v", keys)
			}
		}
	})
}

// shifting reads differently each time.
type shifting struct{ times int }

func (s *shifting) Single() bool   { return false }
func (s *shifting) String() string { return "shifting" }
func (s *shifting) Entries(context.Context) ([]artifact.Entry, error) {
	return []artifact.Entry{{Path: "a", Size: 1, Open: func(context.Context) (io.ReadCloser, error) {
		s.times++
		return io.NopCloser(strings.NewReader(string(rune('0' + s.times)))), nil
	}}}, nil
}

// A file that changes between being checked and being copied leaves no object
// under a digest that is not its own.
func TestFilesThatChangeMeanwhile(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, newObjects func() *objects) {
		t.Helper()
		o := newObjects()
		q := o.request(t, tree(t, map[string]string{"a": "1"}))
		q.Source, q.Tree = &shifting{}, true
		_, err := artifact.Stage(t.Context(), o.store, q)
		if !mlerr.Is(err, mlerr.InvalidArgument) || !strings.Contains(err.Error(), "changed while it was read") || len(o.keys()) > 0 {
			t.Errorf("got %v, and %v is there", err, o.keys())
		}
	})
}

// TestVerifiedFiles are what is staged: arranged, with generated files, each with
// the digest that a reader can check.
func TestVerifiedFiles(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, newObjects func() *objects) {
		t.Helper()
		o := newObjects()
		dir := tree(t, map[string]string{"any.onnx": "weights"})
		q := o.request(t, filepath.Join(dir, "any.onnx"))
		q.Directory, q.Tree = runtimes.Triton, true
		verified, err := q.Verify(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		files, err := verified.Files(t.Context())
		if err != nil || len(files) != 2 {
			t.Fatalf("%v, %v", files, err)
		}
		address, err := verified.Tree(t.Context(), o.store)
		if err != nil || !strings.HasSuffix(address, verified.Place()) {
			t.Fatalf("staged at %s, whose place is %s, %v", address, verified.Place(), err)
		}
		for _, f := range files {
			if got := sum(string(o.get(strings.TrimPrefix(address, o.at("").String()) + f.Path))); got != f.SHA256 {
				t.Errorf("%s has the digest %s, and is said to have %s", f.Path, got, f.SHA256)
			}
		}
		at, err := artifact.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		q.Source = o.store.Source(at)
		again, err := q.Verify(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if same, err := again.Files(t.Context()); err != nil || !cmp.Equal(files, same) {
			t.Errorf("where it is staged, the files are %v, %v", same, err)
		}
		q.Source, q.Digest = artifact.Local(filepath.Join(dir, "any.onnx")), sum("other")
		if _, err := q.Verify(t.Context()); !mlerr.Is(err, mlerr.InvalidArgument) || mlerr.PathOf(err) != "artifact.uri" {
			t.Errorf("other bytes: %v at %q", err, mlerr.PathOf(err))
		}
	})
}
