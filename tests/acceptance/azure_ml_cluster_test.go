// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package acceptance_test

import (
	"net/http"
	"regexp"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
)

// TestAzureKubernetesCompute puts an endpoint on a cluster that is known in the apply
// only, changes it in place, imports it, and moves it off the cluster by a new one.
func TestAzureKubernetesCompute(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	r.Azure(t, http.MethodPut, "computes/cluster", map[string]any{"location": "eastus", "properties": map[string]any{"computeType": "Kubernetes", "properties": map[string]any{}}})
	const main = "deployments.main."
	const on = `auth = { mode = "key" }` + "\n azure_ml = { compute = \"cluster\" }"
	small := `compute = { cpu = 0.5, memory_gib = 1 }`
	base := r.AzureProvider() + onAzure(model(acctest.Model(t, "one")))
	later := "resource \"terraform_data\" \"cluster\" {\n input = \"" + acctest.AzureWorkspaceID + "/computes/cluster\"\n}\n"
	step := func(config string, expect ...statecheck.StateCheck) resource.TestStep {
		return resource.TestStep{Config: base + onAzure(config), ConfigStateChecks: expect, ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate, knows(theEndpoint, "id", azureID))}
	}
	run(t,
		resource.TestStep{Config: base + later + onAzure(endpoint("", `auth = { mode = "key" }`, `azure_ml = { compute = terraform_data.cluster.output }`)),
			ConfigPlanChecks:  plans(theEndpoint, plancheck.ResourceActionCreate, leavesOpen(theEndpoint, main+"instance_type"), leavesOpen(theEndpoint, "azure_ml.compute")),
			ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, main+"instance_type", knownvalue.Null()), has(theEndpoint, "azure_ml.egress_public", knownvalue.Null())}},
		resource.TestStep{Config: base + later + onAzure(endpoint("", on)), ConfigPlanChecks: changesNothing()}, // the same cluster, by its name
		step(endpoint(`compute = { instance_type = "gpu" }`, on), has(theEndpoint, main+"instance_type", text("gpu"))),
		step(endpoint(small, on), has(theEndpoint, main+"instance_type", knownvalue.Null())),
		step(endpoint(small+"\n scaling = { min = 1, max = 3, metrics = [{ type = \"cpu\", target = 60 }] }", on), has(theEndpoint, main+"scaling.max", number(3))),
		step(endpoint(small+"\n scaling = { min = 1, max = 3, metrics = [{ type = \"cpu\", target = 60 }] }", on, `request_timeout = "4m"`), has(theEndpoint, "request_timeout", text("4m"))),
		resource.TestStep{ResourceName: theEndpoint, ImportState: true, ImportStateKind: resource.ImportBlockWithID, ImportStateId: acctest.AzureWorkspaceID + "/onlineEndpoints/fraud",
			Config: base + onAzure(endpoint(small+"\n scaling = { min = 1, max = 3, metrics = [{ type = \"cpu\", target = 60 }] }", on, `request_timeout = "4m"`))},
		resource.TestStep{Config: base + onAzure(endpoint(small, `azure_ml = { compute = "cluster" }`)), PlanOnly: true, ExpectError: regexp.MustCompile(`(?s)auth.*` + words("takes no tokens of Microsoft Entra ID"))},
		resource.TestStep{Config: base + onAzure(endpoint(large)), ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionDestroyBeforeCreate)},
	)
}

// TestAzureRegistry publishes a model to a registry and serves it from there; imports it,
// and moves it to another registry by another model.
func TestAzureRegistry(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	in := func(registry string) string { return `azure_ml = { registry = "` + registry + `" }` }
	const shared = acctest.AzureGroupID + "/providers/Microsoft.MachineLearningServices/registries/shared"
	config := func(content, registry string) string {
		return r.AzureProvider() + onAzure(model(acctest.Model(t, content), in(registry))+endpoint(large))
	}
	serves := func(want string) func() {
		return func() {
			all, _ := r.Azure(t, http.MethodGet, "onlineEndpoints/fraud/deployments", nil)["value"].([]any)
			if len(all) != 1 || all[0].(map[string]any)["properties"].(map[string]any)["model"] != "azureml://registries/shared/models/fraud/versions/"+want {
				t.Errorf("version %s is not what the endpoint serves: %v", want, all)
			}
		}
	}
	run(t,
		resource.TestStep{Config: config("one", shared), ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version_id", text(azureID+"@1")), has(theModel, "azure_ml.registry", text(shared)),
			has(theEndpoint, "deployments.main.model_version", text("1"))}},
		resource.TestStep{PreConfig: serves("1"), Config: config("two", shared), ConfigPlanChecks: plans(theModel, plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{has(theModel, "versions", knownvalue.ListSizeExact(2)), has(theEndpoint, "deployments.main.model_version", text("2"))}},
		resource.TestStep{PreConfig: serves("2"), Config: config("two", shared), ConfigPlanChecks: changesNothing()},
		resource.TestStep{ResourceName: theModel, ImportState: true, ImportStateKind: resource.ImportBlockWithID, ImportStateId: acctest.AzureWorkspaceID + "/models/fraud", Config: config("two", shared)},
		resource.TestStep{Config: r.AzureProvider() + onAzure(model(acctest.Model(t, "two"), in(shared)))}, // nothing serves it any more
		resource.TestStep{Config: r.AzureProvider() + onAzure(model(acctest.Model(t, "two"), in("other"))), ConfigPlanChecks: plans(theModel, plancheck.ResourceActionDestroyBeforeCreate)},
	)
	if left, _ := r.Azure(t, http.MethodGet, shared+"/models", nil)["value"].([]any); len(left) > 0 {
		t.Errorf("in the registry there is %v", left)
	}
}
