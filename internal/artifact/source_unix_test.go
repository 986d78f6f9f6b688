// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

//go:build unix

package artifact_test

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// Reading a pipe that nobody writes to would wait for ever.
func TestPipesAreRefused(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"a": "a"})
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, pipe} {
		if _, err := artifact.Digest(t.Context(), artifact.Local(name)); !mlerr.Is(err, mlerr.InvalidArgument) || mlerr.PathOf(err) != "artifact.uri" {
			t.Errorf("%s: got %v at %q", name, err, mlerr.PathOf(err))
		}
	}
}
