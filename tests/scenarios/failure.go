// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package scenarios

import (
	"fmt"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
)

// rolledBack publishes a version whose pods end at once: the apply fails with what
// they said, the old version serves on, and the next apply goes on from there.
func rolledBack(t *testing.T, p *Platform) {
	t.Helper()
	reason := "the weights are corrupt"
	var before string
	one := p.Provider() + p.Model(t, 1)
	two := p.Provider() + p.Model(t, 2)
	crash := p.Crash(reason)
	run(t,
		resource.TestStep{Config: one + Endpoint(Small), Check: func(*terraform.State) error { before = p.workload(t).GetName(); return nil }},
		resource.TestStep{Config: two + Endpoint(Small+crash.Config), PreConfig: crash.arm(t), ExpectError: pattern("went back to what served before", reason)},
		resource.TestStep{RefreshState: true, ExpectNonEmptyPlan: true, Check: func(s *terraform.State) error {
			if now := p.workload(t).GetName(); now != before {
				return fmt.Errorf("%s serves, and %s did before", now, before)
			}
			return resource.TestCheckResourceAttr(theEndpoint, main+"model_version", "1")(s)
		}},
		resource.TestStep{Config: two + Endpoint(Small), ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, main+"model_version", text("2"))}},
	)
}

// failedCreation leaves a tainted resource, which the next apply makes anew.
func failedCreation(t *testing.T, p *Platform) {
	t.Helper()
	base := p.Provider() + p.Model(t, 1)
	crash := p.Crash("no memory")
	run(t,
		resource.TestStep{Config: base + Endpoint(Small+crash.Config), PreConfig: crash.arm(t), ExpectError: pattern("failed to come into service", "no memory")},
		step(base+Endpoint(Small), plans(theEndpoint, plancheck.ResourceActionDestroyBeforeCreate)),
	)
}

// timeout stops waiting and says so; the endpoint is in the state.
func timeout(t *testing.T, p *Platform) {
	t.Helper()
	run(t,
		resource.TestStep{Config: p.Provider() + p.Model(t, 1) + Endpoint(Small+p.Stall.Config, `timeouts = { create = "100ms" }`), PreConfig: p.Stall.arm(t), ExpectError: pattern("stopped waiting for the platform")},
		resource.TestStep{RefreshState: true, ExpectNonEmptyPlan: true, Check: resource.TestCheckResourceAttr(theEndpoint, "name", "fraud")},
	)
}

// smokeTest takes a version back that answers wrongly, before it gets traffic, and
// tells what was asked, answered and expected.
func smokeTest(t *testing.T, p *Platform) {
	t.Helper()
	tested := func(version string) string {
		return Endpoint(Small, fmt.Sprintf(`smoke_test = {
    request  = jsonencode({ inputs = [{ name = "features", shape = [1, 4], datatype = "FP32", data = [412.5, 3, 0.82, 1] }] })
    expect   = { json = { "$.version" = "\"%s\"", "$.outputs[0].name" = "score" } }
    attempts = 1
  }`, version))
	}
	one, two := p.Provider()+p.Model(t, 1), p.Provider()+p.Model(t, 2)
	run(t,
		resource.TestStep{Config: one + tested("1")},
		resource.TestStep{Config: two + tested("9"), ExpectError: pattern(`$.version is "2" instead of "9"`)},
		resource.TestStep{RefreshState: true, ExpectNonEmptyPlan: true, Check: resource.TestCheckResourceAttr(theEndpoint, main+"model_version", "1")},
		resource.TestStep{Config: two + tested("2"), ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, main+"model_version", text("2"))}},
	)
}

// liveCount: what an autoscaler chose is no difference, and survives a new version.
func liveCount(t *testing.T, p *Platform) {
	t.Helper()
	config := func(version int) string { return p.Provider() + p.Model(t, version) + Endpoint(scaled) }
	var first string
	run(t,
		resource.TestStep{Config: config(1)},
		resource.TestStep{Config: config(1), ConfigPlanChecks: changesNothing(), PreConfig: func() {
			first = p.workload(t).GetName()
			p.scale(t, first, 3)
		}},
		resource.TestStep{Config: config(2), Check: func(*terraform.State) error {
			now := p.workload(t)
			if n := replicas(now); n != 3 || now.GetName() == first {
				return fmt.Errorf("%s has %d replicas, and %s had 3", now.GetName(), n, first)
			}
			return nil
		}},
	)
}
