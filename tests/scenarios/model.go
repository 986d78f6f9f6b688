// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package scenarios

import (
	"fmt"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var records = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

// id is "kubernetes/<namespace>/fraud", with what follows.
func (p *Platform) id(more string) string {
	return fmt.Sprintf("kubernetes/%s/fraud%s", p.Namespace, more)
}

// model changes one attribute at a time, none of which makes a version.
func model(t *testing.T, p *Platform) {
	t.Helper()
	update := func(more string, expect ...statecheck.StateCheck) resource.TestStep {
		return resource.TestStep{Config: p.Provider() + p.Model(t, 1, more),
			ConfigPlanChecks:  plans(theModel, plancheck.ResourceActionUpdate, knows(theModel, "version_id", p.id("@1"))),
			ConfigStateChecks: append(expect, has(theModel, "version_id", text(p.id("@1"))))}
	}
	run(t,
		resource.TestStep{Config: p.Provider() + p.Model(t, 1),
			ConfigPlanChecks: plans(theModel, plancheck.ResourceActionCreate, knows(theModel, "id", p.id("")), knows(theModel, "location", p.Namespace), leavesOpen(theModel, "version_id")),
			ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version_id", text(p.id("@1"))), has(theModel, "version", text("1")),
				has(theModel, "approval", text("approved")), has(theModel, "previous_version_id", knownvalue.Null())}},
		update(`description = "Scores payments"`, has(theModel, "description", text("Scores payments"))),
		update(`labels = { team = "risk" }`, has(theModel, "labels.team", text("risk")), has(theModel, "description", knownvalue.Null())),
		update(`aliases = ["champion", "blue"]`, has(theModel, "aliases", knownvalue.SetExact([]knownvalue.Check{text("blue"), text("champion")}))),
		update(`metadata = { commit = "3f9c2a7" }`, has(theModel, "metadata.commit", text("3f9c2a7"))),
		update(`approval = "pending"`, has(theModel, "approval", text("pending"))),
		update(`retain_versions = 3`, has(theModel, "retain_versions", knownvalue.Int64Exact(3))),
		update(`timeouts = { update = "10m" }`, has(theModel, "timeouts.update", text("10m"))),
	)
}

// versions are made by what is served, and pruned.
func versions(t *testing.T, p *Platform) {
	t.Helper()
	run(t,
		resource.TestStep{Config: p.Provider() + p.Model(t, 1)},
		resource.TestStep{Config: p.Provider() + p.Model(t, 2),
			ConfigPlanChecks: plans(theModel, plancheck.ResourceActionUpdate, leavesOpen(theModel, "version_id")),
			ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version_id", text(p.id("@2"))), has(theModel, "previous_version_id", text(p.id("@1"))),
				has(theModel, "versions", knownvalue.ListSizeExact(2))}},
		resource.TestStep{Config: p.Provider() + p.served(t, 2, `env = { THREADS = "2" }`),
			ConfigPlanChecks:  plans(theModel, plancheck.ResourceActionUpdate, leavesOpen(theModel, "version_id")),
			ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version", text("3"))}},
		resource.TestStep{Config: p.Provider() + p.Model(t, 2, `retain_versions = 1`),
			ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version", text("4")), has(theModel, "versions", knownvalue.ListSizeExact(1))}},
	)
}

func modelImport(t *testing.T, p *Platform) {
	t.Helper()
	config := p.Provider() + p.Model(t, 1, `aliases = ["champion"]`, `labels = { team = "risk" }`, `description = "Scores"`, `metadata = { run = "7" }`)
	run(t,
		resource.TestStep{Config: config},
		resource.TestStep{ResourceName: theModel, ImportState: true, ImportStateKind: resource.ImportBlockWithID, ImportStateId: p.id(""), Config: config},
		resource.TestStep{ResourceName: theModel, ImportState: true, ImportStateId: p.id(""), ImportStateVerify: true,
			ImportStateVerifyIgnore: []string{"artifact.uri"}}, // the local path is nowhere on the platform
		resource.TestStep{ResourceName: theModel, ImportState: true, ImportStateId: p.id("-other"), Config: config, ExpectError: pattern("Cannot import non-existent remote object")},
	)
}

// modelDrift edits records, and deletes them. An immutable one cannot be edited; the
// model's own can.
func modelDrift(t *testing.T, p *Platform) {
	t.Helper()
	config := p.Provider() + p.Model(t, 1, `labels = { team = "risk" }`, `aliases = ["champion"]`)
	run(t,
		resource.TestStep{Config: config},
		resource.TestStep{Config: config, ConfigPlanChecks: plans(theModel, plancheck.ResourceActionUpdate),
			PreConfig: func() {
				p.patch(t, records, "mlv-fraud-1", map[string]any{"metadata": map[string]any{"annotations": map[string]any{"ml.terraform.io/approval": "rejected"}}})
			},
			ConfigStateChecks: []statecheck.StateCheck{has(theModel, "approval", text("approved"))}},
		resource.TestStep{Config: config, ConfigPlanChecks: plans(theModel, plancheck.ResourceActionUpdate),
			PreConfig: func() {
				p.patch(t, records, "ml-fraud", map[string]any{"metadata": map[string]any{"labels": map[string]any{"team": "other"}}})
			}},
		resource.TestStep{Config: config, ConfigPlanChecks: plans(theModel, plancheck.ResourceActionCreate), PreConfig: func() {
			p.remove(t, records, "ml-fraud")
			p.gone(t, records, "mlv-fraud-1")
		}},
	)
}
