// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func TestPush(t *testing.T) {
	t.Parallel()
	need(t) // the programs that go into the images
	server := httptest.NewServer(registry.New())
	t.Cleanup(server.Close)
	to := strings.TrimPrefix(server.URL, "http://") + "/ml"
	if err := Push(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	c := &Cluster{images: to}
	for _, image := range []string{Pause, ModelServer, Fetch, Proxy, Services} {
		ref, err := name.ParseReference(c.Image(image))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := remote.Image(ref, remote.WithContext(t.Context())); err != nil {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

func TestFamiliar(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"kserve/storage-initializer:v0.17.0":       "docker.io/kserve/storage-initializer:v0.17.0",
		"busybox":                                  "docker.io/library/busybox:latest",
		"nvcr.io/nvidia/tritonserver:23.05":        "nvcr.io/nvidia/tritonserver:23.05",
		"localhost/a/b":                            "localhost/a/b:latest",
		"quay.io/brancz/kube-rbac-proxy@sha256:00": "quay.io/brancz/kube-rbac-proxy@sha256:00",
	} {
		if got := familiar(given); got != want {
			t.Errorf("%s: got %s, want %s", given, got, want)
		}
	}
}

// need skips a test that needs what clusters of the tests' own are made of.
func need(t *testing.T) {
	t.Helper()
	if (Options{}).filled().Kubeconfig != "" {
		t.Skip("not asked for: the tests use another cluster")
	}
	Use(t) // or skip
}
