// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact_test

import (
	"archive/tar"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

// registryAt serves an empty registry and returns its address.
func registryAt(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func imageRequest(t *testing.T, host string, files map[string]string) artifact.Request {
	t.Helper()
	q := request(t, tree(t, files))
	q.Directory, q.Into = runtimes.HuggingFace, artifact.Location{Scheme: artifact.SchemeOCI, Path: host + "/ml/models"}
	return q
}

func TestImage(t *testing.T) {
	t.Parallel()
	host := registryAt(t)
	files := map[string]string{"config.json": "{}", "deep/weights": "w"}
	q := imageRequest(t, host, files)
	images := artifact.NewRegistry(nil)
	verified, err := q.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	address, err := images.Stage(t.Context(), verified)
	if err != nil {
		t.Fatal(err)
	}
	again, err := images.Stage(t.Context(), verified)
	if err != nil || again != address || !strings.Contains(address, "@sha256:") {
		t.Errorf("staged at %s, and again at %s, %v", address, again, err)
	}
	at, err := artifact.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Image(reference(t, at.Path))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	content := mutate.Extract(pulled)
	defer content.Close()
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got[strings.TrimPrefix(h.Name, "models/")] = string(data)
	}
	if diff := cmp.Diff(files, got); diff != "" {
		t.Error(diff)
	}
	if sum, err := images.Digest(t.Context(), at); err != nil || !strings.HasSuffix(address, sum) {
		t.Errorf("the digest of %s is %s, %v", address, sum, err)
	}
}

func reference(t *testing.T, s string) name.Reference {
	t.Helper()
	ref, err := name.ParseReference(s)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// TestForeignImagesStay: a tag of ours that somebody else has pushed stays theirs.
func TestForeignImagesStay(t *testing.T) {
	t.Parallel()
	q := imageRequest(t, registryAt(t), map[string]string{"config.json": "{}"})
	verified, err := q.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	address, err := artifact.NewRegistry(nil).Stage(t.Context(), verified)
	if err != nil {
		t.Fatal(err)
	}
	repository := reference(t, strings.TrimPrefix(address, "oci://")).Context()
	tags, err := remote.List(repository)
	if err != nil || len(tags) != 1 {
		t.Fatalf("%v, %v", tags, err)
	}
	foreign, err := random.Image(10, 1)
	if err == nil {
		err = remote.Write(repository.Tag(tags[0]), foreign)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := artifact.NewRegistry(nil).Stage(t.Context(), verified); !mlerr.Is(err, mlerr.AlreadyExists) {
		t.Errorf("a foreign image is taken for ours: %v", err)
	}
}

func TestNoImage(t *testing.T) {
	t.Parallel()
	at, err := artifact.Parse("oci://" + registryAt(t) + "/ml/models:7")
	if err != nil {
		t.Fatal(err)
	}
	_, err = artifact.NewRegistry(nil).Digest(t.Context(), at)
	if !mlerr.Is(err, mlerr.NotFound) || mlerr.PathOf(err) != "artifact.uri" {
		t.Errorf("got %v at %q", err, mlerr.PathOf(err))
	}
	pinned, err := artifact.Pin(at, strings.Repeat("0", 64))
	if err != nil || !strings.HasSuffix(pinned, "/ml/models@sha256:"+strings.Repeat("0", 64)) {
		t.Errorf("pinned it is %s, %v", pinned, err)
	}
}
