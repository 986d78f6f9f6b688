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
	for _, m := range hardware.All("sagemaker") {
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

func TestSuggest(t *testing.T) {
	t.Parallel()
	if got := hardware.Suggest("sagemaker", "ml.g5.xlrage"); len(got) == 0 || got[0] != "ml.g5.xlarge" {
		t.Errorf("a typo is answered with %v", got)
	}
}
