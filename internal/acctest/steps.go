// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package acctest

import (
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"
)

// Run runs steps with the real terraform, and destroys what they made.
func Run(t *testing.T, steps ...resource.TestStep) {
	t.Helper()
	resource.UnitTest(t, resource.TestCase{ProtoV6ProviderFactories: Factories(), Steps: steps})
}

// Has expects an attribute of a resource in the state.
func Has(address, path string, v knownvalue.Check) statecheck.StateCheck {
	return statecheck.ExpectKnownValue(address, at(path), v)
}

// at makes a path of "a.b.c".
func at(dotted string) tfjsonpath.Path {
	names := strings.Split(dotted, ".")
	p := tfjsonpath.New(names[0])
	for _, name := range names[1:] {
		p = p.AtMapKey(name)
	}
	return p
}

// Plans expects one action of one resource, and what the plan knows.
func Plans(address string, action plancheck.ResourceActionType, more ...plancheck.PlanCheck) resource.ConfigPlanChecks {
	return resource.ConfigPlanChecks{PreApply: append([]plancheck.PlanCheck{plancheck.ExpectResourceAction(address, action)}, more...)}
}

// ChangesNothing expects an empty plan.
func ChangesNothing() resource.ConfigPlanChecks {
	return resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectEmptyPlan()}}
}

// Knows expects a value in the plan.
func Knows(address, path, value string) plancheck.PlanCheck {
	return plancheck.ExpectKnownValue(address, at(path), knownvalue.StringExact(value))
}

// LeavesOpen expects that the plan does not know a value yet.
func LeavesOpen(address, path string) plancheck.PlanCheck {
	return plancheck.ExpectUnknownValue(address, at(path))
}

// Words makes a pattern of words between which Terraform may break lines.
func Words(sentence string) string {
	return strings.ReplaceAll(regexp.QuoteMeta(sentence), " ", `[\s│]+`)
}

// Pattern is of several such texts, in that order.
func Pattern(texts ...string) *regexp.Regexp {
	patterns := make([]string, len(texts))
	for i := range texts {
		patterns[i] = Words(texts[i])
	}
	return regexp.MustCompile(`(?s)` + strings.Join(patterns, `.*`))
}
