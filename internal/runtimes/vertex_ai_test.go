// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package runtimes_test

import (
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

// A prebuilt container is patched, then only there, then gone. Images of one's own, and
// those that Google has published since, are none of that.
func TestVertexAIEnds(t *testing.T) {
	t.Parallel()
	const host = "europe-docker.pkg.dev/vertex-ai/prediction/"
	for _, c := range []struct {
		image, day       string
		unpatched, ended bool
	}{
		{host + "sklearn-cpu.1-6:latest", "2026-10-13", false, false},
		{host + "sklearn-cpu.1-6:latest", "2026-10-15", true, false},
		{host + "sklearn-cpu.1-6:latest", "2027-10-15", true, true},
		{host + "sklearn-cpu.9-9:latest", "2040-01-01", false, false},
		{"europe-west4-docker.pkg.dev/p1/models/sklearn-cpu.1-6:latest", "2040-01-01", false, false},
		{"", "2040-01-01", false, false},
	} {
		day, err := time.Parse(time.DateOnly, c.day)
		if err != nil {
			t.Fatal(err)
		}
		ended, _ := runtimes.VertexAIEnded(c.image, day)
		unpatched, since, gone := runtimes.VertexAIUnpatched(c.image, day)
		if ended != c.ended || unpatched != c.unpatched || unpatched && !since.Before(gone) {
			t.Errorf("%s on %s: unpatched %v since %v, ended %v", c.image, c.day, unpatched, since, ended)
		}
	}
}

func TestVertexAIForCPU(t *testing.T) {
	t.Parallel()
	for image, want := range map[string]string{
		"us-docker.pkg.dev/vertex-ai/prediction/sklearn-cpu.1-6:latest": "sklearn",
		"us-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest":    "tf2",
		"us-docker.pkg.dev/vertex-ai/prediction/tf2-gpu.2-15:latest":    "",
		"us-central1-docker.pkg.dev/p1/models/sklearn-cpu.1-6:latest":   "",
	} {
		if got := runtimes.VertexAIForCPU(image); got != want {
			t.Errorf("%s is for CPUs by %q, want %q", image, got, want)
		}
	}
}
