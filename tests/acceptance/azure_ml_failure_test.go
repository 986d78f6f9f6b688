// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package acceptance_test

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
)

func azureConfig(t *testing.T, r *acctest.Rehearsal, content, endpoint string) string {
	t.Helper()
	return r.AzureProvider() + onAzure(model(acctest.Model(t, content))+endpoint)
}

// TestAzureRolledBack: a deployment that does not come up is a failed apply with the
// platform's reason, what served before serves on, and the next apply goes on.
func TestAzureRolledBack(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	two := azureConfig(t, r, "two", endpoint(large))
	run(t,
		resource.TestStep{Config: azureConfig(t, r, "one", endpoint(large))},
		resource.TestStep{Config: two, ExpectError: regexp.MustCompile(`(?s)` + words("went back to what served before") + `.*` + words("User container has crashed")),
			PreConfig: func() {
				r.Fail(t, fault.Fault{Call: "azure_ml.onlineDeployments.createOrUpdate", Occurrence: 1, Action: fault.FailTransition, Message: "User container has crashed."})
			}},
		resource.TestStep{RefreshState: true, ExpectNonEmptyPlan: true, Check: resource.TestCheckResourceAttr(theEndpoint, "deployments.main.model_version", "1")},
		resource.TestStep{Config: two, ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.main.model_version", text("2"))}},
	)
}

// TestAzureFailedCreation leaves a tainted resource, which the next apply makes anew.
func TestAzureFailedCreation(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	configuration := azureConfig(t, r, "one", endpoint(large))
	run(t,
		resource.TestStep{Config: configuration, ExpectError: regexp.MustCompile(`(?s)` + words("failed to come into service") + `.*` + words("no capacity")),
			PreConfig: func() {
				r.Fail(t, fault.Fault{Call: "azure_ml.onlineDeployments.createOrUpdate", Occurrence: 1, Action: fault.FailTransition, Message: "no capacity"})
			}},
		resource.TestStep{Config: configuration, ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionDestroyBeforeCreate)},
	)
}

// TestAzureQuota explains which quota a deployment takes that the platform refuses.
func TestAzureQuota(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	r.Fail(t, fault.Fault{Call: "azure_ml.onlineDeployments.createOrUpdate", Action: fault.Error, Code: "OutOfQuota", Message: "Not enough quota available for Standard_DS3_v2.", Status: 400})
	run(t, resource.TestStep{Config: azureConfig(t, r, "one", endpoint(large+"\n scaling = { min = 2 }")),
		ExpectError: pattern("2 instances of Standard_DS3_v2", "a quota of 12 vCPU", "20 percent")})
}

// TestAzureTimeout stops waiting and says so; the endpoint is in the state.
func TestAzureTimeout(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	run(t,
		resource.TestStep{Config: azureConfig(t, r, "one", endpoint(large, `timeouts = { create = "1ms" }`)), ExpectError: regexp.MustCompile(words("stopped waiting for the platform"))},
		resource.TestStep{Config: azureConfig(t, r, "one", endpoint(large))},
	)
}

// TestAzureThrottled goes on when the platform is busy or loses an answer.
func TestAzureThrottled(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	r.Fail(t,
		fault.Fault{Call: "azure_ml.modelVersions.createOrUpdate", Occurrence: 1, Action: fault.Error, Code: "TooManyRequests", Message: "slow down", Status: 429},
		fault.Fault{Call: "azure_ml.onlineEndpoints.createOrUpdate", Occurrence: 1, Action: fault.LostAnswer},
		fault.Fault{Call: "azure_ml.onlineDeployments.createOrUpdate", Occurrence: 1, Action: fault.LostAnswer},
		fault.Fault{Call: "azure_ml.onlineEndpoints.createOrUpdate", Occurrence: 2, Action: fault.Error, Code: "InternalServerError", Message: "try again", Status: 500})
	run(t, resource.TestStep{Config: azureConfig(t, r, "one", endpoint(large))})
}

// TestAzureDenied says what was refused, with what to do and the request's id.
func TestAzureDenied(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	const refusal = "does not have authorization to perform action 'Microsoft.MachineLearningServices/workspaces/onlineEndpoints/write'"
	r.Fail(t, fault.Fault{Call: "azure_ml.onlineEndpoints.createOrUpdate", Action: fault.Error, Code: "AuthorizationFailed", Message: refusal, Status: 403})
	run(t, resource.TestStep{Config: azureConfig(t, r, "one", endpoint(large)), ExpectError: pattern(refusal, "request id")})
}

// changed is what can be sent of a resource, after a change of what was read.
func changed(read map[string]any, change func(resource, properties map[string]any)) map[string]any {
	p := read["properties"].(map[string]any)
	for _, k := range []string{"provisioningState", "scoringUri", "swaggerUri", "keys", "properties"} {
		delete(p, k)
	}
	out := map[string]any{"location": read["location"], "tags": read["tags"], "properties": p}
	if read["sku"] != nil {
		out["sku"] = read["sku"]
	} else {
		out["identity"] = map[string]any{"type": "SystemAssigned"}
	}
	change(out, p)
	return out
}

// TestAzureEndpointDrift changes an endpoint behind Terraform's back, and expects the
// plan to see it and the apply to mend it.
func TestAzureEndpointDrift(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	two := r.AzureProvider() + onAzure(model(acctest.Model(t, "one"))+endpointWith("blue = {\n model = ml_model.fraud.version_id\n"+azureCPU+"\n traffic = 70\n }\n green = {\n model = ml_model.fraud.version_id\n"+large+"\n traffic = 30\n }",
		`labels = { team = "risk" }`, `request_timeout = "90s"`))
	endpointChanged := func(change func(resource, properties map[string]any)) func() {
		return func() {
			r.Azure(t, http.MethodPut, "onlineEndpoints/fraud", changed(r.Azure(t, http.MethodGet, "onlineEndpoints/fraud", nil), change))
		}
	}
	named := func(name string) (id string) {
		t.Helper()
		all, _ := r.Azure(t, http.MethodGet, "onlineEndpoints/fraud/deployments", nil)["value"].([]any)
		for _, v := range all {
			if d := v.(map[string]any); strings.HasPrefix(d["name"].(string), name+"-") {
				return d["name"].(string)
			}
		}
		t.Fatalf("there is no deployment %s", name)
		return ""
	}
	mended := func(reason string, change func(), expect ...statecheck.StateCheck) resource.TestStep {
		return resource.TestStep{Config: two, PreConfig: func() { t.Log(reason); change() },
			ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate), ConfigStateChecks: expect}
	}
	settings := acctest.AzureGroupID + "/providers/Microsoft.Insights/autoscaleSettings"
	scaler := func() map[string]any {
		t.Helper()
		all, _ := r.Azure(t, http.MethodGet, settings, nil)["value"].([]any)
		return all[0].(map[string]any)
	}
	run(t,
		resource.TestStep{Config: two},
		mended("traffic", endpointChanged(func(_, p map[string]any) { p["traffic"] = map[string]any{named("blue"): 50, named("green"): 50} }),
			has(theEndpoint, "deployments.blue.traffic", number(70))),
		mended("no traffic at all, as of a PUT that says nothing of it", endpointChanged(func(_, p map[string]any) { delete(p, "traffic") }), has(theEndpoint, "deployments.green.traffic", number(30))),
		mended("labels", endpointChanged(func(e, _ map[string]any) {
			e["tags"].(map[string]any)["team"], e["tags"].(map[string]any)["extra"] = "other", "1"
		}), has(theEndpoint, "effective_labels", knownvalue.MapExact(map[string]knownvalue.Check{"team": text("risk")}))),
		mended("who may call", endpointChanged(func(_, p map[string]any) { p["authMode"] = "Key" }), has(theEndpoint, "auth.mode", text("iam"))),
		mended("bounds", func() {
			s := scaler()
			profile := s["properties"].(map[string]any)["profiles"].([]any)[0].(map[string]any)
			profile["capacity"].(map[string]any)["maximum"] = "9"
			r.Azure(t, http.MethodPut, s["id"].(string), map[string]any{"location": s["location"], "tags": s["tags"], "properties": s["properties"]})
		}, has(theEndpoint, "deployments.blue.scaling.max", number(4))),
		mended("what scales it", func() { r.Azure(t, http.MethodDelete, scaler()["id"].(string), nil) }, has(theEndpoint, "deployments.blue.scaling.max", number(4))),
		mended("the count of a deployment that nothing scales", func() { r.Instances(t, "fraud", named("green"), 3) }, has(theEndpoint, "deployments.green.scaling.min", number(1))),
		mended("a deployment", func() {
			id := "onlineEndpoints/fraud/deployments/" + named("green")
			r.Azure(t, http.MethodPut, id, changed(r.Azure(t, http.MethodGet, id, nil), func(_, p map[string]any) { p["environmentVariables"] = map[string]any{"DEBUG": "1"} }))
		}),
		resource.TestStep{Config: two, ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionCreate), PreConfig: func() {
			r.Azure(t, http.MethodDelete, scaler()["id"].(string), nil)
			r.Azure(t, http.MethodDelete, "onlineEndpoints/fraud", nil)
			for { // deletions take a little, and answer without an operation that could be waited for
				if all, _ := r.Azure(t, http.MethodGet, "onlineEndpoints", nil)["value"].([]any); len(all) == 0 {
					break
				}
			}
		}},
	)
}

// TestAzureLiveCount: what an autoscaler chose is no difference, and survives a new
// version.
func TestAzureLiveCount(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	first := func() map[string]any {
		t.Helper()
		all, _ := r.Azure(t, http.MethodGet, "onlineEndpoints/fraud/deployments", nil)["value"].([]any)
		return all[0].(map[string]any)
	}
	one := azureConfig(t, r, "one", endpoint(azureCPU))
	run(t,
		resource.TestStep{Config: one},
		resource.TestStep{Config: one, ConfigPlanChecks: changesNothing(), PreConfig: func() { r.Instances(t, "fraud", first()["name"].(string), 3) }},
		resource.TestStep{Config: azureConfig(t, r, "two", endpoint(azureCPU)), Check: func(*terraform.State) error {
			if sku, _ := first()["sku"].(map[string]any); sku["capacity"] != 3.0 {
				return fmt.Errorf("the new version runs as %v, and the old one had 3 replicas", sku)
			}
			return nil
		}},
	)
}

// TestAzureApproval: a plan refuses to serve what will not be approved, and allows what
// the same plan approves.
func TestAzureApproval(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	file := acctest.Model(t, "one")
	approval := func(a string) string {
		return r.AzureProvider() + onAzure(model(file, `approval = "`+a+`"`))
	}
	run(t,
		resource.TestStep{Config: approval("pending")},
		resource.TestStep{Config: approval("pending") + onAzure(endpoint(large)), PlanOnly: true,
			ExpectError: regexp.MustCompile(`(?s)deployments\["main"\]\.model.*` + words("only an approved version may be served"))},
		resource.TestStep{Config: approval("approved") + onAzure(endpoint(large))},
	)
}

// TestAzurePlanRefuses: what cannot work is refused before anything is created, where
// the configuration says it, with what to do instead.
func TestAzurePlanRefuses(t *testing.T) {
	t.Parallel()
	good := model(acctest.Model(t, "one"))
	two := func(a, b string) string {
		return good + endpointWith("blue = {\n model = ml_model.fraud.version_id\n"+large+"\n"+a+"\n }\n green = {\n model = ml_model.fraud.version_id\n"+large+"\n"+b+"\n }")
	}
	cases := map[string]struct{ config, says, at string }{
		"large mirror":      {two("traffic = 100", "mirror = 60"), "at most 50 percent", `deployments["green"].mirror`},
		"mirror of its own": {two("traffic = 50", "traffic = 50\n mirror = 10"), "that answers some", `deployments["green"].mirror`},
		"spot":              {good + endpoint("compute = { instance_type = \"Standard_DS3_v2\", spot = true }"), "dedicated machines only", `deployments["main"].compute.spot`},
		"scale to zero":     {good + endpoint(large+"\n scaling = { min = 0, max = 2, metrics = [{ type = \"cpu\", target = 50 }] }"), "at least 1", `deployments["main"].scaling.min`},
		"metric":            {good + endpoint(large+"\n scaling = { min = 1, max = 2, metrics = [{ type = \"concurrency\", target = 5 }] }"), "in flight", `deployments["main"].scaling.metrics`},
		"schedule":          {good + endpoint(large+"\n scaling = { min = 1, max = 2, schedules = [{ name = \"x\", cron = \"*/5 8 * * *\", min = 1, max = 2 }] }"), "at one time of day", `deployments["main"].scaling.schedules`},
		"alert":             {good + endpoint(large, `rollout = { strategy = "canary", steps = [10], checks = { alarms = ["a/b"] } }`), "names no metric alert", "rollout.checks.alarms"},
		"no auth":           {good + endpoint(large, `auth = { mode = "none" }`), "Microsoft Entra ID", "auth.mode"},
		"certificate":       {good + endpoint(large, `encryption = { tls = { secret_name = "x" } }`), "Microsoft's own certificate", "encryption.tls"},
		"subnets":           {good + endpoint(large, `network = { access = "private", subnets = ["a"] }`), "in no subnets", "network.subnets"},
		"capture into S3":   {good + endpoint(large, `capture = { percent = 10, destination = "s3://b" }`), "into datastores", "capture.destination"},
		"timeout":           {good + endpoint(large, `request_timeout = "5m"`), "does not give a request", "request_timeout"},
		"key of nobody":     {good + endpoint(large, `encryption = { key = "https://vault.vault.azure.net/keys/cmk" }`), "no customer-managed key", "encryption.key"},
		"unknown machine":   {good + endpoint(`compute = { instance_type = "n2-standard-4" }`), "not the name of a VM size", `deployments["main"].compute.instance_type`},
		"no such GPU":       {good + endpoint(`compute = { accelerator = { type = "nvidia-l4" } }`), "no VM size", `deployments["main"].compute`},
		"other options":     {good + endpoint(large, `vertex_ai = { dedicated = true }`), "no Vertex AI settings", "vertex_ai"},
		"label":             {good + endpoint(large, `labels = { "a/b" = "risk" }`), "cannot be the name of a tag", "labels"},
		"alias":             {strings.Replace(good, `format = "onnx" }`, "format = \"onnx\" }\n aliases = [\"latest\"]", 1), "Azure ML's own", "aliases"},
		"command":           {strings.Replace(good, `format = "onnx" }`, "format = \"onnx\" }\n serving = { image = \"r.azurecr.io/i:1\", command = [\"x\"] }", 1), "starts images as they are", "serving.command"},
		"registry":          {strings.Replace(good, `format = "onnx" }`, "format = \"onnx\" }\n azure_ml = { registry = \"a/b\" }", 1), "names no registry", "azure_ml.registry"},
		"workspace":         {strings.Replace(good, `name = "fraud"`, "name = \"fraud\"\n location = \"a/b/c/d\"", 1), "not a workspace", "location"},
		"version missing":   {strings.Replace(endpoint(large), "ml_model.fraud.version_id", `"`+azureID+`@9"`, 1), "does not exist", `deployments["main"].model`},
		"private test":      {strings.Replace(good+endpoint(large, `network = { access = "private" }`), "name = \"fraud\"\n  deployments", "name = \"fraud\"\n  smoke_test = { request = \"{}\" }\n  deployments", 1), "through the workspace's private endpoint only", "smoke_test"},
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		c := cases[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := acctest.NewRehearsal(t)
			config := strings.NewReplacer(`platform = "sagemaker"`, `platform = "azure_ml"`, "ml.m5.large", "Standard_DS3_v2").Replace(c.config)
			run(t, resource.TestStep{Config: r.AzureProvider() + config, PlanOnly: true, ExpectError: regexp.MustCompile(`(?s)` + regexp.QuoteMeta(c.at) + `.*` + words(c.says))})
			if calls := acctest.Mutations(r.Calls(t)); len(calls) > 0 {
				t.Errorf("the plan changed something: %v", calls)
			}
		})
	}
}
