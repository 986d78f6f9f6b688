// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// tree writes files below a new directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func digest(t *testing.T, src artifact.Source) string {
	t.Helper()
	d, err := artifact.Digest(t.Context(), src)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func sum(content string) string {
	s := sha256.Sum256([]byte(content))
	return hex.EncodeToString(s[:])
}

func TestDigestOfAFileIsThatOfItsBytes(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"a.onnx": "model", "b.bin": "model", "c.onnx": "other"})
	a := artifact.Local(filepath.Join(dir, "a.onnx"))
	if !a.Single() || digest(t, a) != sum("model") {
		t.Errorf("got %s, want %s", digest(t, a), sum("model"))
	}
	if digest(t, artifact.Local(filepath.Join(dir, "b.bin"))) != digest(t, a) {
		t.Error("the same bytes under another name have another digest")
	}
	if digest(t, artifact.Local(filepath.Join(dir, "c.onnx"))) == digest(t, a) {
		t.Error("other bytes have the same digest")
	}
	// Written anew with bytes of the same number, within the same process.
	later := time.Now().Add(time.Second)
	path := filepath.Join(dir, "a.onnx")
	if err := os.WriteFile(path, []byte("MODEL"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
	if digest(t, artifact.Local(path)) != sum("MODEL") {
		t.Error("the digest of before the change is remembered")
	}
}

// A tree is its names and bytes; a digest of them can be made with any tool.
func TestDigestOfATree(t *testing.T) {
	t.Parallel()
	files := map[string]string{"config.json": "{}", "weights/b": "bb", "weights/a": "a"}
	src := artifact.Local(tree(t, files))
	manifest := fmt.Sprintf("%s 2 config.json\n%s 1 weights/a\n%s 2 weights/b\n", sum("{}"), sum("a"), sum("bb"))
	if got := digest(t, src); src.Single() || got != sum(manifest) {
		t.Errorf("got %s, want %s", got, sum(manifest))
	}
	other := tree(t, files)
	old := time.Unix(1, 0)
	for _, name := range []string{"config.json", "weights/a"} {
		if err := os.Chtimes(filepath.Join(other, name), old, old); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(other, name), 0o444); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(other, "empty"), 0o750); err != nil {
		t.Fatal(err)
	}
	if digest(t, artifact.Local(other)) != digest(t, src) {
		t.Error("times, modes and empty directories are no part of a digest")
	}
	for reason, changed := range map[string]map[string]string{
		"a file more":     {"config.json": "{}", "weights/b": "bb", "weights/a": "a", "c": ""},
		"another name":    {"config.json": "{}", "weights/b": "bb", "weights/c": "a"},
		"contents traded": {"config.json": "{}", "weights/b": "a", "weights/a": "bb"},
	} {
		if digest(t, artifact.Local(tree(t, changed))) == digest(t, src) {
			t.Errorf("%s: the digest is the same", reason)
		}
	}
}

func TestWhatIsNoArtifact(t *testing.T) {
	t.Parallel()
	outside := tree(t, map[string]string{"secret": "s"})
	linked, broken := tree(t, map[string]string{"a": "a"}), tree(t, map[string]string{"a": "a"})
	for link, target := range map[string]string{filepath.Join(linked, "b"): filepath.Join(outside, "secret"), filepath.Join(broken, "b"): "nowhere"} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		reason, path, words string
		code                mlerr.Code
	}{
		{"nothing there", filepath.Join(outside, "none"), "none", mlerr.NotFound},
		{"an empty directory", t.TempDir(), "holds no files", mlerr.InvalidArgument},
		{"a link out of the artifact", linked, "outside of the artifact", mlerr.InvalidArgument},
		{"a link to nothing", broken, "cannot read the artifact", mlerr.NotFound},
		{"a file taken for a directory", filepath.Join(outside, "secret", "x"), "secret", mlerr.InvalidArgument},
	} {
		_, err := artifact.Digest(t.Context(), artifact.Local(c.path))
		if !mlerr.Is(err, c.code) || mlerr.PathOf(err) != "artifact.uri" || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: got %v (%s) at %q", c.reason, err, mlerr.CodeOf(err), mlerr.PathOf(err))
		}
	}
}

func TestLinksInsideAreFollowed(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"blobs/x": "weights"})
	if err := os.Symlink(filepath.Join("blobs", "x"), filepath.Join(dir, "model.bin")); err != nil {
		t.Fatal(err)
	}
	alias := filepath.Join(t.TempDir(), "alias")
	if err := os.Symlink(dir, alias); err != nil {
		t.Fatal(err)
	}
	plain := tree(t, map[string]string{"blobs/x": "weights", "model.bin": "weights"})
	if digest(t, artifact.Local(alias)) != digest(t, artifact.Local(plain)) {
		t.Error("a link to a file of the artifact is that file")
	}
}
