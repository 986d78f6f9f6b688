// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact_test

import (
	"bytes"
	"context"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

const version = "sagemaker/eu-west-1/fraud@7"

// unstage offers what lies at an address as a source again.
func unstage(t *testing.T, o *objects, uri, digest string) artifact.Source {
	t.Helper()
	at, err := artifact.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	return artifact.From(version, func(ctx context.Context) (*artifact.Staged, error) {
		return artifact.Unstage(ctx, o.store, at, digest, version)
	})
}

func contentsOf(t *testing.T, src artifact.Source) map[string]string {
	t.Helper()
	entries, err := src.Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, e := range entries {
		r, err := e.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil || int64(len(text)) != e.Size {
			t.Fatalf("%s: %d bytes, %d are listed, %v", e.Path, len(text), e.Size, err)
		}
		r.Close()
		files[e.Path] = string(text)
	}
	return files
}

// Whatever a runtime wanted, the artifact comes back as it was handed over, and has
// its digest: as an archive and as a tree, and from trees whose marker is of an
// earlier release and holds nothing.
func TestUnstage(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, newObjects func() *objects) {
		t.Helper()
		for _, c := range []struct {
			reason, directory, single string
			files                     map[string]string
			renamed                   bool // within a directory, which only a record tells
		}{
			{"a single file", runtimes.Triton, "any.onnx", map[string]string{"any.onnx": "graph"}, false},
			{"a repository", runtimes.Triton, "", map[string]string{"m/config.pbtxt": "c", "m/1/model.onnx": "graph"}, false},
			{"a renamed file", runtimes.XGBoost, "fraud.json", map[string]string{"fraud.json": "trees"}, false},
			{"a SavedModel", runtimes.TensorFlow, "", map[string]string{"saved_model.pb": "p", "variables/v": "v"}, false},
			{"a numbered SavedModel", runtimes.TensorFlow, "", map[string]string{"1/saved_model.pb": "p", "1/variables/v": "v"}, false},
			{"an added script", runtimes.Sklearn, "", map[string]string{"forest.joblib": "f", "notes.md": "n"}, false},
			{"one beside a script", runtimes.Sklearn, "forest.joblib", map[string]string{"forest.joblib": "f"}, false},
			{"a script of its own", runtimes.Sklearn, "", map[string]string{"forest.joblib": "f", "code/inference.py": "import x"}, false},
			{"a directory", runtimes.HuggingFace, "", map[string]string{"config.json": "{}", "deep/weights": "w", "é": ""}, false},
			{"a renamed file in a directory", runtimes.VertexSklearn, "", map[string]string{"forest.joblib": "f", "notes.md": "n"}, true},
			{"one made an MLflow model", runtimes.AzureSklearn, "", map[string]string{"forest.joblib": "f", "conda.yaml": "the user's"}, true},
			{"a SavedModel moved up", runtimes.VertexTensorFlow, "", map[string]string{"3/saved_model.pb": "p", "3/variables/v": "v"}, true},
		} {
			for _, how := range []string{"archive", "tree", "tree without record"} {
				if c.renamed && how != "tree" {
					continue
				}
				o := newObjects()
				q := o.request(t, filepath.Join(tree(t, c.files), c.single))
				q.Directory, q.Tree = c.directory, how != "archive"
				uri := o.at("").String() + stage(t, o.store, q)
				if how == "tree without record" {
					o.put(strings.TrimSuffix(strings.TrimPrefix(uri, o.at("").String()), "/")+".complete", "")
				}
				src := unstage(t, o, uri, q.Digest)
				got := contentsOf(t, src)
				if c.single != "" {
					if len(got) != 1 || !src.Single() || slices.Collect(maps.Values(got))[0] != c.files[c.single] {
						t.Errorf("%s, %s: got %v", c.reason, how, got)
					}
				} else if diff := cmp.Diff(c.files, got); diff != "" || src.Single() {
					t.Errorf("%s, %s: %s", c.reason, how, diff)
				}
				if again := digest(t, src); again != q.Digest {
					t.Errorf("%s, %s: the digest is %s, and was %s", c.reason, how, again, q.Digest)
				}
				// And to the next place, as another runtime wants it.
				next := newObjects()
				moved := artifact.Request{Source: src, Digest: q.Digest, Into: next.at("ml"), Directory: c.directory, Name: "other", Tree: how == "archive" || c.renamed}
				there := next.at("").String() + stage(t, next.store, moved)
				if final := digest(t, unstage(t, next, there, q.Digest)); final != q.Digest {
					t.Errorf("%s, %s: moved, the digest is %s, and was %s", c.reason, how, final, q.Digest)
				}
			}
		}
	})
}

// An archive that was handed over as one, and what was served where it was, are
// taken as they are.
func TestUnstageWhatWasNotArranged(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, newObjects func() *objects) {
		t.Helper()
		o := newObjects()
		q := o.request(t, tree(t, map[string]string{"a": "1"}))
		packed := o.get(stage(t, o.store, q))
		o.put("models/model.tar.gz", string(packed))
		src := unstage(t, o, o.at("models/model.tar.gz").String(), sum(string(packed)))
		if got := contentsOf(t, src); got["model.tar.gz"] != string(packed) || len(got) != 1 || !src.Single() {
			t.Errorf("an archive: got %d files", len(got))
		}
		o.put("live/config.json", "{}")
		o.put("live/weights", "w")
		want := map[string]string{"config.json": "{}", "weights": "w"}
		src = unstage(t, o, o.at("live/").String(), digest(t, artifact.Local(tree(t, want))))
		if diff := cmp.Diff(want, contentsOf(t, src)); diff != "" {
			t.Errorf("a prefix: %s", diff)
		}
	})
}

// Bytes that are not the version's any more are not passed off as such.
func TestUnstageOtherBytes(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, newObjects func() *objects) {
		t.Helper()
		for _, asTree := range []bool{false, true} {
			o := newObjects()
			q := o.request(t, tree(t, map[string]string{"a": "1", "b": "2"}))
			q.Tree = asTree
			key := stage(t, o.store, q)
			at := o.at(key)
			if asTree {
				o.put(key+"b", "3")
			} else {
				other := o.request(t, tree(t, map[string]string{"a": "1", "b": "3"}))
				o.put(key, string(o.get(stage(t, o.store, other))))
			}
			next := newObjects()
			_, err := artifact.Stage(t.Context(), next.store, artifact.Request{Source: unstage(t, o, at.String(), q.Digest), Digest: q.Digest, Into: next.at("ml"), Name: "fraud", Tree: true})
			if !mlerr.Is(err, mlerr.InvalidArgument) || mlerr.PathOf(err) != "artifact.uri" || len(next.keys()) > 0 {
				t.Errorf("tree %v: %v at %q, and %v is there", asTree, err, mlerr.PathOf(err), next.keys())
			}
			o.put("bad.tar.gz", "no archive")
			if _, err := unstage(t, o, o.at("bad.tar.gz").String(), q.Digest).Entries(t.Context()); !mlerr.Is(err, mlerr.InvalidArgument) || mlerr.PathOf(err) != "artifact.uri" {
				t.Errorf("no archive: %v", err)
			}
			for _, gone := range []string{"none.tar.gz", "none/"} {
				if _, err := artifact.Unstage(t.Context(), o.store, o.at(gone), q.Digest, version); !mlerr.Is(err, mlerr.NotFound) || mlerr.PathOf(err) != "artifact.uri" {
					t.Errorf("%s: %v at %q", gone, err, mlerr.PathOf(err))
				}
			}
		}
	})
}

// Files are read in any order, and in theirs the archive is downloaded once.
func TestFilesOfAnArchive(t *testing.T) {
	t.Parallel()
	o := newS3(t)
	files := map[string]string{"a": "1", "b": strings.Repeat("2", 1<<20), "c": "3"}
	q := o.request(t, tree(t, files))
	uri := o.at("").String() + stage(t, o.store, q)
	entries, err := unstage(t, o, uri, q.Digest).Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := filepath.Glob(filepath.Join(o.dir, "blobs", "*"))
	if err != nil || len(blobs) != 1 {
		t.Fatal(blobs, err)
	}
	part := make([]byte, 10)
	first, err := entries[0].Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := entries[1].Open(t.Context()) // beside the first
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(second, part); err != nil || string(part) != "2222222222" {
		t.Errorf("%q, %v", part, err)
	}
	if text, err := io.ReadAll(first); err != nil || string(text) != "1" {
		t.Errorf("%q, %v", text, err)
	}
	first.Close()
	second.Close() // without the rest
	if err := os.Remove(blobs[0]); err != nil {
		t.Fatal(err)
	}
	third, err := entries[2].Open(t.Context()) // which goes on with what is open
	if err != nil {
		t.Fatal(err)
	}
	defer third.Close()
	if text, err := io.ReadAll(third); err != nil || !bytes.Equal(text, []byte("3")) {
		t.Errorf("%q, %v", text, err)
	}
}
