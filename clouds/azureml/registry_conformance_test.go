// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/drivertest"
)

// publishing is a subscription whose models are all published to a registry.
type publishing struct{ *harness }

// TestConformanceRegistry holds models of a registry, and what serves them, to the suite.
func TestConformanceRegistry(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, func(t *testing.T) drivertest.Harness { return publishing{newHarness(t)} })
}

func (h publishing) Fork(t *testing.T) drivertest.Harness {
	t.Helper()
	return publishing{h.harness.Fork(t).(*harness)}
}

func (h publishing) Open(t *testing.T, c *drivertest.Cutter) driver.Driver {
	t.Helper()
	return toRegistry{h.harness.Open(t, c)}
}

// toRegistry has every model that is written wanted in the registry too.
type toRegistry struct{ driver.Driver }

func (d toRegistry) PrepareModel(spec *driver.ModelSpec) error {
	spec.AzureML = &driver.AzureMLModel{Registry: "shared"}
	return d.Driver.PrepareModel(spec)
}

// Objects are also those of the registry.
func (h publishing) Objects(t *testing.T) []string {
	t.Helper()
	all := h.harness.Objects(t)
	for _, m := range h.list(t, strings.TrimSuffix(inShared, "/")+learning) {
		name := m["name"].(string)
		all = append(all, "registry "+name)
		for _, number := range h.inRegistry(t, name) {
			all = append(all, "registry "+name+"@"+number)
		}
	}
	slices.Sort(all)
	return all
}
