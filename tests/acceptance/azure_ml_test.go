// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package acceptance_test

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
)

// onAzure turns the configuration of a resource to Azure ML.
func onAzure(config string) string {
	return strings.NewReplacer(`"sagemaker"`, `"azure_ml"`, "ml.m5.large", "Standard_DS3_v2").Replace(config)
}

const (
	azureID    = "azure_ml/" + acctest.AzureLocation + "/fraud"
	azureURL   = `^https://fraud\.eastus\.inference\.ml\.azure\.com/$`
	azureCPU   = large + "\n scaling = {\n min = 1\n max = 4\n metrics = [{ type = \"requests_per_replica\", target = 200 }, { type = \"cpu\", target = 60 }]\n }"
	azureStage = `^https://[a-z0-9]+\.blob\.core\.windows\.net/[^/]+/ml-artifacts/[0-9a-f]{64}/`
)

func TestAzureModelLifecycle(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	file := acctest.Model(t, "one")
	const first, second = azureID + "@1", azureID + "@2"
	update := func(more string, expect ...statecheck.StateCheck) resource.TestStep {
		return resource.TestStep{Config: r.AzureProvider() + onAzure(model(file, more)),
			ConfigPlanChecks:  plans(theModel, plancheck.ResourceActionUpdate, knows(theModel, "version_id", first)),
			ConfigStateChecks: append(expect, has(theModel, "version_id", text(first)))}
	}
	run(t,
		resource.TestStep{Config: r.AzureProvider() + onAzure(model(file)),
			ConfigPlanChecks: plans(theModel, plancheck.ResourceActionCreate, knows(theModel, "id", azureID), knows(theModel, "location", acctest.AzureLocation),
				knows(theModel, "serving.runtime", "onnx"), leavesOpen(theModel, "version_id")),
			ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version_id", text(first)), has(theModel, "approval", text("approved")),
				has(theModel, "artifact_uri", knownvalue.StringRegexp(regexp.MustCompile(azureStage)))}},
		update(`description = "Scores payments"`, has(theModel, "description", text("Scores payments"))),
		update(`labels = { Team = "risk & fraud" }`, has(theModel, "labels.Team", text("risk & fraud")), has(theModel, "description", knownvalue.Null())),
		update(`aliases = ["champion", "blue"]`, has(theModel, "aliases", knownvalue.SetExact([]knownvalue.Check{text("blue"), text("champion")}))),
		update(`metadata = { commit = "3f9c2a7" }`, has(theModel, "metadata.commit", text("3f9c2a7"))),
		update(`approval = "pending"`, has(theModel, "approval", text("pending"))),
		update(`retain_versions = 3`, has(theModel, "retain_versions", number(3))),
		resource.TestStep{PreConfig: func() {
			if err := os.WriteFile(file, []byte("two"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, Config: r.AzureProvider() + onAzure(model(file)),
			ConfigPlanChecks: plans(theModel, plancheck.ResourceActionUpdate, leavesOpen(theModel, "version_id")),
			ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version_id", text(second)), has(theModel, "previous_version_id", text(first)),
				has(theModel, "versions", knownvalue.ListSizeExact(2))}},
		resource.TestStep{Config: r.AzureProvider() + onAzure(model(acctest.Model(t, "two"))), ConfigPlanChecks: changesNothing()},
		resource.TestStep{Config: r.AzureProvider() + onAzure(model(file, `serving = { image = "models.azurecr.io/server:1", env = { THREADS = "2" } }`)),
			ConfigPlanChecks:  plans(theModel, plancheck.ResourceActionUpdate, leavesOpen(theModel, "version_id")),
			ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version", text("3"))}},
		resource.TestStep{Config: r.AzureProvider() + onAzure(model(file, `retain_versions = 1`)),
			ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version", text("4")), has(theModel, "versions", knownvalue.ListSizeExact(1))}},
	)
}

func TestAzureModelImportAndDrift(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	config := r.AzureProvider() + onAzure(model(acctest.Model(t, "one"), `aliases = ["champion"]`, `labels = { team = "risk" }`, `description = "Scores"`, `metadata = { run = "7" }`))
	imported := func(id string) resource.TestStep {
		return resource.TestStep{ResourceName: theModel, ImportState: true, ImportStateKind: resource.ImportBlockWithID, ImportStateId: id, Config: config}
	}
	drifts := func(change func(properties map[string]any)) resource.TestStep {
		return resource.TestStep{Config: config, ConfigPlanChecks: plans(theModel, plancheck.ResourceActionUpdate), PreConfig: func() {
			p := r.Azure(t, http.MethodGet, "models/fraud", nil)["properties"].(map[string]any)
			change(p)
			r.Azure(t, http.MethodPut, "models/fraud", map[string]any{"properties": map[string]any{"description": p["description"], "tags": p["tags"]}})
		}, ConfigStateChecks: []statecheck.StateCheck{has(theModel, "description", text("Scores")), has(theModel, "labels", knownvalue.MapSizeExact(1))}}
	}
	run(t,
		resource.TestStep{Config: config},
		imported(azureID),
		imported(acctest.AzureWorkspaceID+"/models/fraud"),
		imported(strings.ToLower(acctest.AzureWorkspaceID)+"/models/fraud/versions/1"),
		drifts(func(p map[string]any) { p["description"] = "theirs" }),
		drifts(func(p map[string]any) { p["tags"].(map[string]any)["team"] = "other" }),
		drifts(func(p map[string]any) { p["tags"].(map[string]any)["alias.champion"] = "99" }),
		resource.TestStep{Config: config, ConfigPlanChecks: plans(theModel, plancheck.ResourceActionCreate), PreConfig: func() {
			r.Azure(t, http.MethodDelete, "models/fraud/versions/1", nil)
			r.Azure(t, http.MethodDelete, "models/fraud", nil)
		}},
	)
}

// TestAzureEndpointUpdates changes one attribute at a time: each is an update in place,
// shows in the state, and leaves an empty plan.
func TestAzureEndpointUpdates(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	base := r.AzureProvider() + onAzure(model(acctest.Model(t, "one")))
	step := func(config string, expect ...statecheck.StateCheck) resource.TestStep {
		return resource.TestStep{Config: base + onAzure(config), ConfigStateChecks: expect,
			ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate, knows(theEndpoint, "id", azureID))}
	}
	const main = "deployments.main."
	const caller = `"servicePrincipal:00000000-0000-0000-0000-0000000ca11e"`
	run(t,
		resource.TestStep{Config: base + onAzure(endpoint(`compute = { cpu = 2, memory_gib = 4 }`)),
			ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionCreate, knows(theEndpoint, main+"instance_type", "Standard_F2s_v2"),
				leavesOpen(theEndpoint, main+"model_version"), leavesOpen(theEndpoint, "url")),
			ConfigStateChecks: []statecheck.StateCheck{
				has(theEndpoint, main+"model_version", text("1")), has(theEndpoint, main+"traffic", number(100)), has(theEndpoint, main+"scaling.min", number(1)),
				has(theEndpoint, "auth.mode", text("iam")), has(theEndpoint, "network.access", text("public")), has(theEndpoint, "invoke_policy", knownvalue.NotNull()),
				has(theEndpoint, "url", knownvalue.StringRegexp(regexp.MustCompile(azureURL)))}},
		resource.TestStep{Config: base + onAzure(endpoint(`compute = { instance_type = "standard_f2S_v2" }`)), ConfigPlanChecks: changesNothing()}, // the same size, in other letters
		step(endpoint(large), has(theEndpoint, main+"instance_type", text("Standard_DS3_v2"))),
		step(endpoint(`compute = { accelerator = { type = "nvidia-t4" } }`), has(theEndpoint, main+"instance_type", text("Standard_NC4as_T4_v3"))),
		step(endpoint(large+"\n env = { WORKERS = \"2\" }"), has(theEndpoint, main+"env.WORKERS", text("2"))),
		step(endpoint(large+"\n scaling = { min = 2 }"), has(theEndpoint, main+"scaling.max", number(2))),
		step(endpoint(azureCPU), has(theEndpoint, main+"scaling.max", number(4)), has(theEndpoint, main+"scaling.metrics", knownvalue.ListSizeExact(2))),
		step(endpoint(large+"\n scaling = { min = 1, max = 3, schedules = [{ name = \"day\", cron = \"0 8 * * MON-FRI\", timezone = \"Europe/Berlin\", min = 2, max = 3 }] }"),
			has(theEndpoint, main+"scaling.schedules", knownvalue.ListSizeExact(1))),
		step(endpoint(large, `labels = { "cost center" = "42" }`), has(theEndpoint, "labels", knownvalue.MapSizeExact(1))),
		step(endpoint(large, `auth = { invokers = [`+caller+`] }`), has(theEndpoint, "auth.mode", text("iam"))),
		step(endpoint(large, `auth = { mode = "key" }`), has(theEndpoint, "auth.mode", text("key"))),
		step(endpoint(large, `auth = { mode = "token" }`), has(theEndpoint, "auth.mode", text("token"))),
		step(endpoint(large, `capture = { percent = 10, destination = "azureml://datastores/workspaceblobstore/paths/captured" }`), has(theEndpoint, "capture.include", knownvalue.SetSizeExact(2))),
		step(endpoint(large, `request_timeout = "90s"`), has(theEndpoint, "request_timeout", text("90s"))),
		step(endpoint(large, `network = { access = "private" }`), has(theEndpoint, "network.access", text("private"))),
		step(endpoint(large, `azure_ml = { egress_public = false }`), has(theEndpoint, "azure_ml.egress_public", knownvalue.Bool(false))),
		step(endpoint(large, `timeouts = { update = "20m" }`), has(theEndpoint, "timeouts.update", text("20m"))),
	)
}

func TestAzureEndpointReplacement(t *testing.T) {
	t.Parallel()
	const identity = "/subscriptions/" + acctest.AzureSubscription + "/resourceGroups/models/providers/Microsoft.ManagedIdentity/userAssignedIdentities/serving"
	for name, c := range map[string]struct{ config, reason string }{
		"name":     {strings.Replace(endpoint(large), `name = "fraud"`, `name = "churn"`, 1), "the name is the platform's"},
		"identity": {endpoint(large, `azure_ml = { identity = "`+identity+`" }`), "an endpoint is what it was made as"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := acctest.NewRehearsal(t)
			base := r.AzureProvider() + onAzure(model(acctest.Model(t, "one")))
			run(t,
				resource.TestStep{Config: base + onAzure(endpoint(large))},
				resource.TestStep{Config: base + onAzure(c.config), ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionDestroyBeforeCreate, leavesOpen(theEndpoint, "url"))},
				resource.TestStep{Config: base + onAzure(c.config), PreConfig: func() { openAsMade(t, r) }, ConfigPlanChecks: changesNothing()},
			)
			t.Log(c.reason)
		})
	}
}

// openAsMade wants deployments that nobody has cut off the internet.
func openAsMade(t *testing.T, r *acctest.Rehearsal) {
	t.Helper()
	for _, e := range r.Azure(t, http.MethodGet, "onlineEndpoints", nil)["value"].([]any) {
		name := e.(map[string]any)["name"].(string)
		for _, d := range r.Azure(t, http.MethodGet, "onlineEndpoints/"+name+"/deployments", nil)["value"].([]any) {
			if p := d.(map[string]any)["properties"].(map[string]any); p["egressPublicNetworkAccess"] != "Enabled" {
				t.Errorf("%s reaches nothing, and nobody wanted that: %v", name, p)
			}
		}
	}
}

// TestAzureEndpointRollsOut moves to a new version, tests it before it gets requests,
// shares and mirrors them, and leaves nothing when it goes.
// Names of resource groups and workspaces have no case: spelled otherwise, a location is
// the same one.
func TestAzureLocationHasNoCase(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	config := func(location string) string {
		return r.AzureProvider() + onAzure(model(acctest.Model(t, "one"), location)+endpoint(large, location))
	}
	run(t,
		resource.TestStep{Config: config("")},
		resource.TestStep{Config: config(`location = "Models/TEAM"`), ConfigPlanChecks: changesNothing()},
		resource.TestStep{Config: config(`location = "models/team"`), ConfigPlanChecks: changesNothing()},
	)
}

// An endpoint's address ends in the path of the server that was deployed last, so that
// it is open in the plan of another model, and in no other.
func TestAzureAddressFollowsTheServer(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	config := func(serving, deployment string) string {
		return r.AzureProvider() + onAzure(model(acctest.Model(t, "one"), serving)+endpoint(deployment, "depends_on = [ml_model.fraud]"))
	}
	const own = `serving = { image = "models.azurecr.io/server:1", predict_path = "/predict" }`
	at := func(path string) statecheck.StateCheck {
		return has(theEndpoint, "url", text("https://fraud.eastus.inference.ml.azure.com"+path))
	}
	run(t,
		resource.TestStep{Config: config("", large), ConfigStateChecks: []statecheck.StateCheck{at("/")}},
		resource.TestStep{Config: config("", large+"\n env = { WORKERS = \"2\" }"), ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate, knows(theEndpoint, "url", "https://fraud.eastus.inference.ml.azure.com/"))},
		resource.TestStep{Config: config(own, large), ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate, leavesOpen(theEndpoint, "url")), ConfigStateChecks: []statecheck.StateCheck{at("/predict")}},
		resource.TestStep{Config: strings.ReplaceAll(config(own, large), "ml_model.fraud.version_id", `"`+azureID+`@1"`),
			ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate, leavesOpen(theEndpoint, "url")), ConfigStateChecks: []statecheck.StateCheck{at("/")}},
	)
}

func TestAzureEndpointRollsOut(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	config := func(content, deployments, version string) string {
		return r.AzureProvider(`labels = { env = "test" }`) + onAzure(model(acctest.Model(t, content))+endpointWith(deployments, fmt.Sprintf(`smoke_test = {
    request  = jsonencode({ inputs = [1] })
    expect   = { json = { "$.version" = "\"%s\"" } }
    attempts = 1
  }`, version)))
	}
	main := "main = {\n model = ml_model.fraud.version_id\n " + azureCPU + "\n }\n"
	two := "blue = {\n model = ml_model.fraud.version_id\n " + large + "\n traffic = 90\n }\n green = {\n model = ml_model.fraud.version_id\n " + large + "\n traffic = 10\n }\n"
	resource.UnitTest(t, resource.TestCase{ProtoV6ProviderFactories: acctest.Factories(), CheckDestroy: func(*terraform.State) error { return r.AzureEmpty(t) }, Steps: []resource.TestStep{
		{Config: config("one", main, "1"), ConfigStateChecks: []statecheck.StateCheck{
			has(theEndpoint, "effective_labels", knownvalue.MapExact(map[string]knownvalue.Check{"env": text("test")}))}},
		{Config: config("two", main, "2"),
			ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate, leavesOpen(theEndpoint, "deployments.main.model"),
				knows(theEndpoint, "deployments.main.instance_type", "Standard_DS3_v2")),
			ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.main.model_version", text("2"))}},
		{Config: config("three", main, "9"), ExpectError: regexp.MustCompile(`(?s)` + words(`$.version is "3" instead of "9"`))},
		{RefreshState: true, ExpectNonEmptyPlan: true, Check: resource.TestCheckResourceAttr(theEndpoint, "deployments.main.model_version", "2")},
		{Config: config("three", two, "3"), ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.green.traffic", number(10)), has(theEndpoint, "deployments", knownvalue.MapSizeExact(2))}},
		{Config: config("three", strings.NewReplacer("traffic = 90", "traffic = 100", "traffic = 10", "mirror = 20").Replace(two), "3"), ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.blue.traffic", number(100)), has(theEndpoint, "deployments.green.mirror", number(20))}},
	}})
}

// TestAzureEndpointImport imports what the provider has made: the plan is empty.
func TestAzureEndpointImport(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	configuration := r.AzureProvider() + onAzure(model(acctest.Model(t, "one"))+endpoint(azureCPU+"\n env = { A = \"1\" }", `labels = { team = "risk" }`,
		`capture = { percent = 10, destination = "azureml://datastores/workspaceblobstore/paths/captured" }`,
		`auth = { mode = "iam", invokers = ["group:00000000-0000-0000-0000-0000000000ee"] }`, `azure_ml = { egress_public = true }`, `request_timeout = "2m"`))
	imported := func(id string) resource.TestStep {
		return resource.TestStep{ResourceName: theEndpoint, ImportState: true, ImportStateKind: resource.ImportBlockWithID, ImportStateId: id, Config: configuration}
	}
	run(t,
		resource.TestStep{Config: configuration},
		imported(azureID),
		imported(acctest.AzureWorkspaceID+"/onlineEndpoints/fraud"),
		imported(strings.ToLower(acctest.AzureWorkspaceID)+"/onlineendpoints/fraud"),
	)
}

// azureHandMade makes an endpoint with two deployments of a model, as a person with a
// console does, without any mark.
func azureHandMade(t *testing.T, r *acctest.Rehearsal) {
	t.Helper()
	r.Azure(t, http.MethodPut, "models/theirs/versions/1", map[string]any{"properties": map[string]any{"modelType": "mlflow_model", "modelUri": "runs:/their-run/model"}})
	e := map[string]any{"location": "eastus", "tags": map[string]any{"owner": "them"}, "identity": map[string]any{"type": "SystemAssigned"}, "properties": map[string]any{"authMode": "Key"}}
	r.Azure(t, http.MethodPut, "onlineEndpoints/fraud", e)
	for i, d := range []struct{ name, size string }{{"aaa", "Standard_DS3_v2"}, {"bbb", "Standard_F4s_v2"}} {
		r.Azure(t, http.MethodPut, "onlineEndpoints/fraud/deployments/"+d.name, map[string]any{"location": "eastus", "sku": map[string]any{"name": "Default", "capacity": 2 - i},
			"properties": map[string]any{"endpointComputeType": "Managed", "instanceType": d.size, "model": acctest.AzureWorkspaceID + "/models/theirs/versions/1"}})
	}
	e["properties"].(map[string]any)["traffic"] = map[string]any{"aaa": 100}
	r.Azure(t, http.MethodPut, "onlineEndpoints/fraud", e)
}

// TestAzureHandMadeEndpointImport adopts an endpoint as it is, without a change. Then
// the configuration has one of its deployments only, and that moves to a registered
// model: the foreign one is never touched, until it is configured again.
func TestAzureHandMadeEndpointImport(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	azureHandMade(t, r)
	deployment := func(name, model, size, more string) string {
		return name + " = {\n model = " + model + "\n compute = { instance_type = \"" + size + "\" }\n " + more + "\n }\n"
	}
	const theirs, theirLabels = `"azure_ml/` + acctest.AzureLocation + `/theirs@1"`, "labels = { owner = \"them\" }\n auth = { mode = \"key\" }"
	whole := endpointWith(deployment("aaa", theirs, "Standard_DS3_v2", "scaling = { min = 2 }\n traffic = 100")+deployment("bbb", theirs, "Standard_F4s_v2", "traffic = 0"), theirLabels)
	without := endpointWith(deployment("aaa", theirs, "Standard_DS3_v2", "scaling = { min = 2 }"), theirLabels)
	moved := model(acctest.Model(t, "one")) + endpointWith(deployment("aaa", "ml_model.fraud.version_id", "Standard_DS3_v2", "scaling = { min = 2 }"), theirLabels)
	both := model(acctest.Model(t, "one")) + endpointWith(deployment("aaa", "ml_model.fraud.version_id", "Standard_DS3_v2", "scaling = { min = 2 }\n traffic = 80")+deployment("bbb", theirs, "Standard_F4s_v2", "traffic = 20"), theirLabels)
	block := "import {\n  to = ml_endpoint.fraud\n  id = \"" + acctest.AzureWorkspaceID + "/onlineEndpoints/fraud\"\n}\n"
	foreign := func() string {
		t.Helper()
		return fmt.Sprint(r.Azure(t, http.MethodGet, "onlineEndpoints/fraud/deployments/bbb", nil))
	}
	before, mark := foreign(), len(r.Calls(t))
	run(t,
		resource.TestStep{Config: r.AzureProvider() + block + onAzure(whole), ConfigPlanChecks: changesNothing()},
		resource.TestStep{Config: r.AzureProvider() + onAzure(without), ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate)}, // of the state alone
		resource.TestStep{PreConfig: func() {
			if changed := acctest.Mutations(r.Calls(t)[mark:]); len(changed) > 0 {
				t.Errorf("the import changed something: %v", changed)
			}
		}, Config: r.AzureProvider() + onAzure(moved), ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.aaa.model_version", text("1")), has(theEndpoint, "deployments", knownvalue.MapSizeExact(1))}},
		resource.TestStep{PreConfig: func() {
			if now := foreign(); now != before {
				t.Errorf("the foreign deployment was\n%s\nand is\n%s", before, now)
			}
		}, Config: r.AzureProvider() + onAzure(moved), ConfigPlanChecks: changesNothing()},
		resource.TestStep{Config: r.AzureProvider() + onAzure(both), ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.bbb.traffic", number(20))}},
	)
	r.Azure(t, http.MethodGet, "models/theirs", nil) // which is theirs, and stays
}

// TestAzureNotTakenOver: a creation never takes over what somebody else made.
func TestAzureNotTakenOver(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	azureHandMade(t, r)
	run(t, resource.TestStep{Config: r.AzureProvider() + onAzure(model(acctest.Model(t, "one"))+endpoint(large)), ExpectError: pattern("exists already", "import it")})
}
