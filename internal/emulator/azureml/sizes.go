// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
)

// size is a virtual machine of managed deployments.
type size struct {
	name   string
	family string // as quotas are named
	cores  int
	memory float64 // GiB
	gpus   int
	exempt bool // from the reserve for upgrades
}

// quota is how many cores so many instances need: a fifth more than they have, for
// upgrades.
func (s size) quota(capacity int) int {
	if s.exempt {
		return capacity * s.cores
	}
	return (capacity*12 + 9) / 10 * s.cores
}

// sizes are the published ones, by their names in lower case.
var sizes = func() map[string]size {
	all := map[string]size{}
	add := func(s size) { all[strings.ToLower(s.name)] = s }
	series := func(format, family string, perCore float64, cores ...int) {
		for _, n := range cores {
			add(size{name: fmt.Sprintf(format, n), family: family, cores: n, memory: perCore * float64(n)})
		}
	}
	for i, n := range []int{1, 2, 4, 8, 16} {
		add(size{name: fmt.Sprintf("Standard_DS%d_v2", i+1), family: "standardDSv2Family", cores: n, memory: 3.5 * float64(n)})
	}
	series("Standard_D%da_v4", "standardDAv4Family", 4, 2, 4, 8, 16, 32, 48, 64, 96)
	series("Standard_D%das_v4", "standardDASv4Family", 4, 2, 4, 8, 16, 32, 48, 64, 96)
	series("Standard_E%ds_v3", "standardESv3Family", 8, 2, 4, 8, 16, 32, 48)
	add(size{name: "Standard_E64s_v3", family: "standardESv3Family", cores: 64, memory: 432})
	series("Standard_F%ds_v2", "standardFSv2Family", 2, 2, 4, 8, 16, 32, 48, 64, 72)
	series("Standard_FX%dmds", "standardFXMDVSFamily", 21, 4, 12, 24, 36, 48)
	series("Standard_L%ds_v2", "standardLSv2Family", 8, 8, 16, 32, 48, 64, 80)
	series("Standard_L%ds_v3", "standardLSv3Family", 8, 8, 16, 32, 48, 64, 80)
	series("Standard_L%das_v3", "standardLASv3Family", 8, 8, 16, 32, 48, 64, 80)
	for _, s := range []size{
		{"Standard_NC4as_T4_v3", "Standard NCASv3_T4 Family", 4, 28, 1, false}, {"Standard_NC8as_T4_v3", "Standard NCASv3_T4 Family", 8, 56, 1, false},
		{"Standard_NC16as_T4_v3", "Standard NCASv3_T4 Family", 16, 110, 1, false}, {"Standard_NC64as_T4_v3", "Standard NCASv3_T4 Family", 64, 440, 4, false},
		{"Standard_NV6ads_A10_v5", "StandardNVADSA10v5Family", 6, 55, 1, false}, {"Standard_NV12ads_A10_v5", "StandardNVADSA10v5Family", 12, 110, 1, false},
		{"Standard_NV18ads_A10_v5", "StandardNVADSA10v5Family", 18, 220, 1, false}, {"Standard_NV36ads_A10_v5", "StandardNVADSA10v5Family", 36, 440, 1, false},
		{"Standard_NV36adms_A10_v5", "StandardNVADSA10v5Family", 36, 880, 1, false}, {"Standard_NV72ads_A10_v5", "StandardNVADSA10v5Family", 72, 880, 2, false},
		{"Standard_NC24ads_A100_v4", "standardNCADSA100v4Family", 24, 220, 1, true}, {"Standard_NC48ads_A100_v4", "standardNCADSA100v4Family", 48, 440, 2, true},
		{"Standard_NC96ads_A100_v4", "standardNCADSA100v4Family", 96, 880, 4, true}, {"Standard_ND96asr_v4", "Standard NDASv4_A100 Family", 96, 900, 8, true},
		{"Standard_ND96amsr_A100_v4", "Standard NDAMSv4_A100Family", 96, 1900, 8, true}, {"Standard_NC40ads_H100_v5", "StandardNCadsH100v5Family", 40, 320, 1, true},
		{"Standard_NC80adis_H100_v5", "StandardNCadsH100v5Family", 80, 640, 2, true}, {"Standard_ND96is_H100_v5", "standardNDSH100v5Family", 96, 1900, 8, true},
		{"Standard_ND96isr_H100_v5", "standardNDSH100v5Family", 96, 1900, 8, true}, {"Standard_NC6s_v3", "standardNCSv3Family", 6, 112, 1, false},
		{"Standard_NC12s_v3", "standardNCSv3Family", 12, 224, 2, false}, {"Standard_NC24s_v3", "standardNCSv3Family", 24, 448, 4, false},
		{"Standard_ND40rs_v2", "standardNDSv2Family", 40, 672, 8, true},
	} {
		add(s)
	}
	return all
}()

func sizeOf(name string) (size, bool) {
	s, is := sizes[strings.ToLower(name)]
	return s, is
}

func listSizes(*request) (*reply, error) {
	values := []any{}
	for _, name := range slices.Sorted(maps.Keys(sizes)) {
		s := sizes[name]
		values = append(values, ml.VirtualMachineSize{Name: new(s.name), Family: new(s.family), VCPUs: new(int32(s.cores)), MemoryGB: new(s.memory), Gpus: new(int32(s.gpus)),
			SupportedComputeTypes: []*string{new("ComputeInstance"), new("AmlCompute")}, PremiumIO: new(true), LowPriorityCapable: new(true)})
	}
	return ok(map[string]any{"value": values}), nil
}

// unlimited is the quota of a family that has no other.
const unlimited = 100000

// listUsages lists what is used of each family, and how much that may be. It answers
// quotas as well.
func listUsages(r *request) (*reply, error) {
	families := map[string]bool{}
	for _, s := range sizes {
		families[s.family] = true
	}
	values := []any{}
	for _, family := range slices.Sorted(maps.Keys(families)) {
		used, err := r.cores(family, "")
		if err != nil {
			return nil, err
		}
		limit, limited := r.o.Quotas()[family]
		if !limited {
			limit = unlimited
		}
		id := "/subscriptions/" + r.sub + "/providers/" + machineLearning + "/locations/" + r.names[0] + "/" + r.types[1] + "/" + family
		one := map[string]any{"id": id, "type": machineLearning + "/" + r.types[1], "unit": "Count", "limit": limit, "name": map[string]any{"value": family, "localizedValue": family}}
		if r.types[1] == "usages" {
			one["currentValue"] = used
		}
		values = append(values, one)
	}
	return ok(map[string]any{"value": values}), nil
}

// listSKUs says how far a deployment can be scaled.
func listSKUs(r *request) (*reply, error) {
	_, d, err := r.mustDeployment()
	if err != nil {
		return nil, err
	}
	scale := ml.SKUScaleTypeAutomatic
	return ok(map[string]any{"value": []any{ml.SKUResource{ResourceType: new(d.at().kind()), SKU: &ml.SKUSetting{Name: new("Default")},
		Capacity: &ml.SKUCapacity{Minimum: new(int32(1)), Maximum: new(int32(mostInstances)), Default: new(int32(1)), ScaleType: &scale}}}}), nil
}
