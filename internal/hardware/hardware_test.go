// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package hardware_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/mlplane/terraform-provider-ml/internal/hardware"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

func TestCatalogUsesTheLanguagesNames(t *testing.T) {
	t.Parallel()
	for _, m := range slices.Concat(hardware.All("sagemaker"), hardware.All("vertex_ai"), hardware.All("azure_ml")) {
		if m.Accelerator != "" && !slices.Contains(hardware.Accelerators(), m.Accelerator) {
			t.Errorf("%s has the accelerator %s, which the language does not name", m.Name, m.Accelerator)
		}
		if (m.Accelerator != "") != (m.AcceleratorCount > 0) || (m.Arch != "x86_64" && m.Arch != "arm64") || (m.Known && m.MemoryGiB <= 0) {
			t.Errorf("the row of %s contradicts itself: %+v", m.Name, m)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reason string
		need   hardware.Need
		want   string
	}{
		{"exact fit", hardware.Need{CPU: 2, MemoryGiB: 8}, "ml.m5.large"},
		{"memory decides", hardware.Need{CPU: 2, MemoryGiB: 16}, "ml.r5.large"},
		{"less memory wins over fewer vCPU", hardware.Need{CPU: 2, MemoryGiB: 4}, "ml.c5.large"},
		{"an accelerator is not given away", hardware.Need{CPU: 4, MemoryGiB: 16, Accelerator: "nvidia-l4"}, "ml.g6.xlarge"},
		{"count of accelerators", hardware.Need{Accelerator: "nvidia-l4", AcceleratorCount: 2}, "ml.g6.12xlarge"},
		{"memory beyond the smallest", hardware.Need{MemoryGiB: 100, Accelerator: "nvidia-a10g"}, "ml.g5.8xlarge"},
		{"arm on request", hardware.Need{CPU: 1, Arch: "arm64"}, "ml.c8g.medium"},
		{"a legacy family when there is no other", hardware.Need{Accelerator: "nvidia-v100"}, "ml.p3.2xlarge"},
	} {
		got, err := hardware.Resolve("sagemaker", c.need)
		if err != nil || got.Name != c.want {
			t.Errorf("%s: %s resolves to %q, %v; want %s", c.reason, c.need, got.Name, err, c.want)
		}
	}
	_, err := hardware.Resolve("sagemaker", hardware.Need{Accelerator: "nvidia-t4", AcceleratorCount: 9})
	if !mlerr.Is(err, mlerr.InvalidArgument) || !strings.Contains(mlerr.Hint(err), "ml.g4dn") {
		t.Errorf("nine T4 must be refused with the nearest: %v, %s", err, mlerr.Hint(err))
	}
}

func TestResolveWithAddedAccelerators(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reason string
		need   hardware.Need
		want   string
		added  int
	}{
		{"without", hardware.Need{CPU: 4, MemoryGiB: 15}, "n1-standard-4", 0},
		{"one is added to the smallest", hardware.Need{Accelerator: "nvidia-t4"}, "n1-highcpu-4", 1},
		{"memory decides", hardware.Need{MemoryGiB: 100, Accelerator: "nvidia-t4"}, "n1-highmem-16", 1},
		{"more than the smallest takes", hardware.Need{CPU: 32, Accelerator: "nvidia-v100"}, "n1-highcpu-32", 4},
		{"a count that none has exactly", hardware.Need{Accelerator: "nvidia-t4", AcceleratorCount: 3}, "n1-highcpu-4", 4},
		{"a type that comes with them", hardware.Need{CPU: 4, MemoryGiB: 16, Accelerator: "nvidia-l4"}, "g2-standard-4", 1},
		{"several", hardware.Need{Accelerator: "nvidia-h100", AcceleratorCount: 8}, "a3-edgegpu-8g", 8},
		{"a TPU", hardware.Need{Accelerator: "google-tpu-v5e", AcceleratorCount: 4}, "ct5lp-hightpu-4t", 4},
	} {
		got, err := hardware.Resolve("vertex_ai", c.need)
		added := 0
		if c.added > 0 {
			added = got.AcceleratorCount
		}
		if err != nil || got.Name != c.want || added != c.added {
			t.Errorf("%s: %s resolves to %+v, %v; want %s with %d", c.reason, c.need, got, err, c.want, c.added)
		}
	}
	plain, ok := hardware.Lookup("vertex_ai", "n1-standard-16")
	if !ok || plain.Accelerator != "" || plain.Attached {
		t.Errorf("by its name the type has accelerators: %+v", plain)
	}
	if got := len(hardware.Named("vertex_ai", "n1-standard-16")); got != 1+3+3+3+3 {
		t.Errorf("%d ways to have n1-standard-16", got)
	}
	_, err := hardware.Resolve("vertex_ai", hardware.Need{Accelerator: "nvidia-a10g"})
	if !mlerr.Is(err, mlerr.InvalidArgument) || !strings.Contains(mlerr.Hint(err), "nvidia-l4") {
		t.Errorf("an accelerator that there is not must be refused with those that there are: %v, %s", err, mlerr.Hint(err))
	}
}

func TestSuggest(t *testing.T) {
	t.Parallel()
	if got := hardware.Suggest("sagemaker", "ml.g5.xlrage"); len(got) == 0 || got[0] != "ml.g5.xlarge" {
		t.Errorf("a typo is answered with %v", got)
	}
}
