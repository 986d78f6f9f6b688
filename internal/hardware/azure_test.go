// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package hardware_test

import (
	"strings"
	"testing"

	"github.com/mlplane/terraform-provider-ml/internal/hardware"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

func TestResolveOnAzure(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reason string
		need   hardware.Need
		want   string
	}{
		{"least memory", hardware.Need{CPU: 2}, "Standard_F2s_v2"},
		{"both numbers", hardware.Need{CPU: 4, MemoryGiB: 14}, "Standard_DS3_v2"},
		{"equal numbers go by name", hardware.Need{CPU: 4, MemoryGiB: 16}, "Standard_D4a_v4"},
		{"much memory", hardware.Need{CPU: 2, MemoryGiB: 400}, "Standard_E64s_v3"},
		{"an accelerator", hardware.Need{Accelerator: "nvidia-t4"}, "Standard_NC4as_T4_v3"},
		{"several", hardware.Need{Accelerator: "nvidia-t4", AcceleratorCount: 2}, "Standard_NC64as_T4_v3"},
		{"a whole one and not a sixth", hardware.Need{Accelerator: "nvidia-a10"}, "Standard_NV36ads_A10_v5"},
		{"of 80 GiB", hardware.Need{Accelerator: "nvidia-a100-80gb"}, "Standard_NC24ads_A100_v4"},
		{"of 40 GiB", hardware.Need{Accelerator: "nvidia-a100-40gb"}, "Standard_ND96asr_v4"},
		{"eight", hardware.Need{Accelerator: "nvidia-h100", AcceleratorCount: 8}, "Standard_ND96is_H100_v5"},
	} {
		got, err := hardware.Resolve("azure_ml", c.need)
		if err != nil || got.Name != c.want {
			t.Errorf("%s: %s resolves to %q, %v; want %s", c.reason, c.need, got.Name, err, c.want)
		}
	}
	for _, c := range []struct {
		reason string
		need   hardware.Need
		hint   string
	}{
		{"retired types are not chosen, and are named", hardware.Need{Accelerator: "nvidia-v100"}, "Standard_NC6s_v3"},
		{"those that are offered are named", hardware.Need{Accelerator: "nvidia-l4"}, "nvidia-t4"},
		{"the largest is named", hardware.Need{Accelerator: "nvidia-t4", AcceleratorCount: 8}, "Standard_NC64as_T4_v3"},
	} {
		_, err := hardware.Resolve("azure_ml", c.need)
		if !mlerr.Is(err, mlerr.InvalidArgument) || !strings.Contains(mlerr.Hint(err), c.hint) {
			t.Errorf("%s: %v, hint %q", c.reason, err, mlerr.Hint(err))
		}
	}
}

func TestAzureNamesHaveNoCase(t *testing.T) {
	t.Parallel()
	got, ok := hardware.Lookup("azure_ml", "STANDARD_DS3_V2")
	if named := hardware.Named("azure_ml", "standard_ds3_v2"); !ok || got.Name != "Standard_DS3_v2" || len(named) != 1 {
		t.Errorf("got %+v, %v, %v", got, ok, named)
	}
	if _, ok := hardware.Lookup("azure_ml", "Standard_DS3"); ok {
		t.Error("a beginning is taken for the name")
	}
	if got := hardware.Suggest("azure_ml", "standard_ds3v2"); len(got) == 0 || got[0] != "Standard_DS3_v2" {
		t.Errorf("a typo is answered with %v", got)
	}
}

func TestQuotaOnAzure(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reason, name, family string
		instances, want      int
	}{
		{"a fifth of one is one", "Standard_DS3_v2", "standardDSv2Family", 1, 8},
		{"rounded up", "Standard_DS3_v2", "standardDSv2Family", 3, 16},
		{"exactly a fifth", "Standard_DS3_v2", "standardDSv2Family", 5, 24},
		{"rounded up again", "Standard_NC4as_T4_v3", "Standard NCASv3_T4 Family", 6, 32},
		{"no reserve", "Standard_NC24ads_A100_v4", "standardNCADSA100v4Family", 2, 48},
		{"nothing", "Standard_DS3_v2", "standardDSv2Family", 0, 0},
	} {
		m, ok := hardware.Lookup("azure_ml", c.name)
		if got := m.QuotaCores(c.instances); !ok || got != c.want || m.Family() != c.family {
			t.Errorf("%s: %d of %s need %d vCPU in %q; want %d in %q", c.reason, c.instances, c.name, got, m.Family(), c.want, c.family)
		}
	}
	m, _ := hardware.Lookup("azure_ml", "Standard_DS3_v2")
	if got := m.QuotaWords(2); !strings.Contains(got, "2 instances of Standard_DS3_v2 (4 vCPU each) need a quota of 12 vCPU in the VM family standardDSv2Family") || !strings.Contains(got, "20 percent") {
		t.Errorf("got %q", got)
	}
}
