// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// TestStagedAddress: an imported model shows where its artifact was staged. That
// address stands for the artifact, and is where it is staged to again.
func TestStagedAddress(t *testing.T) {
	t.Parallel()
	eachStore(t, func(t *testing.T, newObjects func() *objects) {
		t.Helper()
		for _, tree := range []bool{false, true} {
			o := newObjects()
			file := filepath.Join(t.TempDir(), "model.onnx")
			if err := os.WriteFile(file, []byte("one"), 0o600); err != nil {
				t.Fatal(err)
			}
			q := o.request(t, file)
			q.Tree = tree
			address := o.at("").String() + stage(t, o.store, q)
			at, err := artifact.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			got, staged, err := artifact.StagedDigest(t.Context(), o.store, at, q.Into)
			if err != nil || !staged || got != q.Digest {
				t.Errorf("tree %v: StagedDigest(%s) = %q, %v, %v; want %q", tree, address, got, staged, err, q.Digest)
			}
			bare := at
			bare.Key = strings.TrimSuffix(at.Key, "/")
			if got, staged, err := artifact.StagedDigest(t.Context(), o.store, bare, q.Into); err != nil || !staged || got != q.Digest {
				t.Errorf("tree %v: StagedDigest(%s) = %q, %v, %v; want %q", tree, bare, got, staged, err, q.Digest)
			}
			before := len(o.keys())
			q.Source = o.store.Source(at)
			if again := o.at("").String() + stage(t, o.store, q); again != address || len(o.keys()) != before {
				t.Errorf("tree %v: staged again at %s, was at %s; %d objects, were %d", tree, again, address, len(o.keys()), before)
			}
			at.Key = strings.Replace(at.Key, "archive-", "archive-0", 1)
			at.Key = strings.Replace(at.Key, "tree-", "tree-0", 1)
			if _, _, err := artifact.StagedDigest(t.Context(), o.store, at, q.Into); !mlerr.Is(err, mlerr.NotFound) {
				t.Errorf("tree %v: where nothing was staged, the error is %v", tree, err)
			}
			at.Key = "elsewhere/model.tar.gz"
			if _, staged, err := artifact.StagedDigest(t.Context(), o.store, at, q.Into); staged || err != nil {
				t.Errorf("tree %v: another address is taken for a staged one (%v)", tree, err)
			}
		}
	})
}
