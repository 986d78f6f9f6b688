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

func vertexConfig(t *testing.T, r *acctest.Rehearsal, content, endpoint string) string {
	t.Helper()
	return r.VertexProvider() + onVertex(model(acctest.Model(t, content))+endpoint)
}

// TestVertexRolledBack: a deployment that does not come up is a failed apply with the
// platform's reason, what served before serves on, and the next apply goes on.
func TestVertexRolledBack(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	two := vertexConfig(t, r, "two", endpoint(large))
	run(t,
		resource.TestStep{Config: vertexConfig(t, r, "one", endpoint(large))},
		resource.TestStep{Config: two, ExpectError: regexp.MustCompile(`(?s)` + words("went back to what served before") + `.*` + words("Model server never became ready")),
			PreConfig: func() {
				r.Fail(t, fault.Fault{Call: "vertex_ai.endpoints.deployModel", Occurrence: 1, Action: fault.FailTransition, Message: "Model server never became ready."})
			}},
		resource.TestStep{RefreshState: true, ExpectNonEmptyPlan: true, Check: resource.TestCheckResourceAttr(theEndpoint, "deployments.main.model_version", "1")},
		resource.TestStep{Config: two, ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.main.model_version", text("2"))}},
	)
}

// TestVertexFailedCreation leaves a tainted resource, which the next apply makes anew.
func TestVertexFailedCreation(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	configuration := vertexConfig(t, r, "one", endpoint(large))
	run(t,
		resource.TestStep{Config: configuration, ExpectError: regexp.MustCompile(`(?s)` + words("failed to come into service") + `.*` + words("no capacity")),
			PreConfig: func() {
				r.Fail(t, fault.Fault{Call: "vertex_ai.endpoints.deployModel", Occurrence: 1, Action: fault.FailTransition, Message: "no capacity"})
			}},
		resource.TestStep{Config: configuration, ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionDestroyBeforeCreate)},
	)
}

// TestVertexTimeout stops waiting and says so; the endpoint is in the state.
func TestVertexTimeout(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	run(t,
		resource.TestStep{Config: vertexConfig(t, r, "one", endpoint(large, `timeouts = { create = "1ms" }`)), ExpectError: regexp.MustCompile(words("stopped waiting for the platform"))},
		resource.TestStep{Config: vertexConfig(t, r, "one", endpoint(large))},
	)
}

// TestVertexThrottled goes on when the platform is busy or loses an answer.
func TestVertexThrottled(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	r.Fail(t,
		fault.Fault{Call: "vertex_ai.models.upload", Occurrence: 1, Action: fault.Error, Code: "RESOURCE_EXHAUSTED", Message: "Quota exceeded for requests per minute", Status: 429},
		fault.Fault{Call: "vertex_ai.endpoints.create", Occurrence: 1, Action: fault.LostAnswer},
		fault.Fault{Call: "vertex_ai.endpoints.deployModel", Occurrence: 1, Action: fault.LostAnswer},
		fault.Fault{Call: "vertex_ai.endpoints.patch", Occurrence: 1, Action: fault.Error, Code: "INTERNAL", Message: "try again", Status: 500})
	run(t, resource.TestStep{Config: vertexConfig(t, r, "one", endpoint(large))})
}

// TestVertexDenied says what was refused, with what to do and the request's id.
func TestVertexDenied(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	const refusal = "Permission 'aiplatform.endpoints.create' denied on resource"
	r.Fail(t, fault.Fault{Call: "vertex_ai.endpoints.create", Action: fault.Error, Code: "PERMISSION_DENIED", Message: refusal, Status: 403})
	run(t, resource.TestStep{Config: vertexConfig(t, r, "one", endpoint(large)), ExpectError: pattern(refusal, "request id")})
}

// TestVertexEndpointDrift changes an endpoint behind Terraform's back, and expects the
// plan to see it and the apply to mend it.
func TestVertexEndpointDrift(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	two := r.VertexProvider() + onVertex(model(acctest.Model(t, "one"))+endpointWith("blue = {\n model = ml_model.fraud.version_id\n"+vertexCPU+"\n traffic = 70\n }\n green = {\n model = ml_model.fraud.version_id\n"+large+"\n traffic = 30\n }",
		`labels = { team = "risk" }`, `capture = { percent = 10, destination = "bq://p1.logs.fraud" }`))
	patch := func(fields string, change map[string]any) func() {
		return func() { r.Vertex(t, http.MethodPatch, "endpoints/fraud?updateMask="+fields, change) }
	}
	mended := func(reason string, change func(), expect ...statecheck.StateCheck) resource.TestStep {
		return resource.TestStep{Config: two, PreConfig: func() { t.Log(reason); change() },
			ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate), ConfigStateChecks: expect}
	}
	deployed := func() (blue, green string) {
		split, _ := r.Vertex(t, http.MethodGet, "endpoints/fraud", nil)["trafficSplit"].(map[string]any)
		for id, percent := range split {
			if percent == 70.0 {
				blue = id
			} else {
				green = id
			}
		}
		return blue, green
	}
	run(t,
		resource.TestStep{Config: two},
		mended("traffic", func() {
			blue, green := deployed()
			patch("trafficSplit", map[string]any{"trafficSplit": map[string]any{blue: 50, green: 50}})()
		}, has(theEndpoint, "deployments.blue.traffic", number(70))),
		mended("bounds", func() {
			blue, _ := deployed()
			r.VertexChange(t, http.MethodPost, "endpoints/fraud:mutateDeployedModel", map[string]any{"updateMask": "dedicatedResources.maxReplicaCount",
				"deployedModel": map[string]any{"id": blue, "dedicatedResources": map[string]any{"maxReplicaCount": 9}}})
		}, has(theEndpoint, "deployments.blue.scaling.max", number(4))),
		mended("capture", patch("predictRequestResponseLoggingConfig", map[string]any{"predictRequestResponseLoggingConfig": map[string]any{"enabled": false}}),
			has(theEndpoint, "capture.percent", number(10))),
		mended("labels", func() {
			all, _ := r.Vertex(t, http.MethodGet, "endpoints/fraud", nil)["labels"].(map[string]any)
			all = maps.Clone(all)
			all["team"], all["extra"] = "other", "1"
			patch("labels", map[string]any{"labels": all})()
		}, has(theEndpoint, "effective_labels", knownvalue.MapExact(map[string]knownvalue.Check{"team": text("risk")}))),
		resource.TestStep{Config: two, ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionCreate), PreConfig: func() {
			patch("trafficSplit", map[string]any{})()
			all, _ := r.Vertex(t, http.MethodGet, "endpoints/fraud", nil)["deployedModels"].([]any)
			for _, v := range all {
				r.VertexChange(t, http.MethodPost, "endpoints/fraud:undeployModel", map[string]any{"deployedModelId": v.(map[string]any)["id"]})
			}
			r.VertexChange(t, http.MethodDelete, "endpoints/fraud", nil)
		}},
	)
}

// TestVertexLiveCount: what an autoscaler chose is no difference, and survives a new
// version.
func TestVertexLiveCount(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	first := func() map[string]any {
		t.Helper()
		all, _ := r.Vertex(t, http.MethodGet, "endpoints/fraud", nil)["deployedModels"].([]any)
		return all[0].(map[string]any)
	}
	one := vertexConfig(t, r, "one", endpoint(vertexCPU))
	run(t,
		resource.TestStep{Config: one},
		resource.TestStep{Config: one, ConfigPlanChecks: changesNothing(), PreConfig: func() {
			for _, low := range []int{3, 1} { // bounds that are raised and lowered leave the count behind
				r.VertexChange(t, http.MethodPost, "endpoints/fraud:mutateDeployedModel", map[string]any{"updateMask": "dedicatedResources.minReplicaCount",
					"deployedModel": map[string]any{"id": first()["id"], "dedicatedResources": map[string]any{"minReplicaCount": low}}})
			}
		}},
		resource.TestStep{Config: vertexConfig(t, r, "two", endpoint(vertexCPU)), Check: func(*terraform.State) error {
			if status, _ := first()["status"].(map[string]any); status["availableReplicaCount"] != 3.0 {
				return fmt.Errorf("the new version runs as %v, and the old one had 3 replicas", status)
			}
			return nil
		}},
	)
}

// TestVertexApproval: a plan refuses to serve what will not be approved, and allows
// what the same plan approves.
func TestVertexApproval(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	file := acctest.Model(t, "one")
	approval := func(a string) string {
		return r.VertexProvider() + onVertex(model(file, `approval = "`+a+`"`))
	}
	run(t,
		resource.TestStep{Config: approval("pending")},
		resource.TestStep{Config: approval("pending") + onVertex(endpoint(large)), PlanOnly: true,
			ExpectError: regexp.MustCompile(`(?s)deployments\["main"\]\.model.*` + words("only an approved version may be served"))},
		resource.TestStep{Config: approval("approved") + onVertex(endpoint(large))},
	)
}

// TestVertexPlanRefuses: what cannot work is refused before anything is created, where
// the configuration says it, with what to do instead.
func TestVertexPlanRefuses(t *testing.T) {
	t.Parallel()
	good := model(acctest.Model(t, "one"))
	two := func(a, b string) string {
		return good + endpointWith("blue = {\n model = ml_model.fraud.version_id\n"+large+"\n"+a+"\n }\n green = {\n model = ml_model.fraud.version_id\n"+large+"\n"+b+"\n }")
	}
	cases := map[string]struct{ config, says, at string }{
		"mirror":                {two("traffic = 100", "mirror = 10"), "copies no requests", `deployments["green"].mirror`},
		"environment":           {good + endpoint(large+"\n env = { A = \"1\" }"), "no environment of a deployment", `deployments["main"].env`},
		"schedules":             {good + endpoint(large+"\n scaling = { min = 1, max = 2, schedules = [{ name = \"x\", cron = \"1 8 * * *\", min = 1, max = 2 }] }"), "no schedules", `deployments["main"].scaling.schedules`},
		"metric":                {good + endpoint(large+"\n scaling = { min = 1, max = 2, metrics = [{ type = \"memory\", target = 50 }] }"), "CPU, accelerators and requests only", `deployments["main"].scaling.metrics`},
		"canary from zero":      {good + endpoint(large+"\n scaling = { min = 0, max = 2, metrics = [{ type = \"cpu\", target = 50 }] }", "vertex_ai = { dedicated = true }\n rollout = { strategy = \"canary\", steps = [10] }"), "beside one that scales to zero, and canary needs two", "rollout.strategy"},
		"key auth":              {good + endpoint(large, `auth = { mode = "key" }`), "Google access token", "auth.mode"},
		"certificate":           {good + endpoint(large, `encryption = { tls = { secret_name = "x" } }`), "Google's own certificate", "encryption.tls"},
		"subnets":               {good + endpoint(large, `network = { access = "private", subnets = ["a"] }`), "in no subnets", "network.subnets"},
		"capture into S3":       {good + endpoint(large, `capture = { percent = 10, destination = "s3://b" }`), "into BigQuery only", "capture.destination"},
		"timeout":               {good + endpoint(large, `request_timeout = "5m"`), "to this kind of endpoint", "request_timeout"},
		"scale to zero":         {good + endpoint(large+"\n scaling = { min = 0, max = 2, metrics = [{ type = \"cpu\", target = 50 }] }"), "a host of their own", `deployments["main"].scaling.min`},
		"unknown machine":       {good + endpoint(`compute = { instance_type = "n2-standrd-4" }`), "Did you mean n2-standard-4", `deployments["main"].compute.instance_type`},
		"machine and GPU":       {good + endpoint(`compute = { instance_type = "n2-standard-4", accelerator = { type = "nvidia-t4" } }`), "does not combine n2-standard-4", `deployments["main"].compute.accelerator`},
		"no such GPU":           {good + endpoint(`compute = { accelerator = { type = "nvidia-a10g" } }`), "nvidia-l4", `deployments["main"].compute`},
		"key of another region": {good + endpoint(large, `encryption = { key = "projects/p1/locations/us-central1/keyRings/r/cryptoKeys/k" }`), "the key is in us-central1", "encryption.key"},
		"other options":         {good + endpoint(large, `sagemaker = { network_isolation = true }`), "no SageMaker settings", "sagemaker"},
		"label":                 {good + endpoint(large, `labels = { Team = "risk" }`), "cannot be the key of a label", "labels"},
		"impossible compute":    {good + endpoint(`compute = { cpu = 9000 }`), "no machine type for deployment main", `deployments["main"].compute`},
		"impossible GPU count":  {good + endpoint(`compute = { accelerator = { type = "nvidia-l4", count = 9 } }`), "no machine type for deployment main", `deployments["main"].compute`},
		"too few GPUs":          {good + endpoint(`compute = { instance_type = "n1-standard-32", accelerator = { type = "nvidia-t4", count = 1 } }`), "With n1-standard-32 go 2 x nvidia-t4 or 4 x nvidia-t4", `deployments["main"].compute.accelerator`},
		"traffic sum":           {two("traffic = 60", "traffic = 60"), "adds up to 120 percent", "deployments"},
		"endpoint name":         {good + strings.Replace(endpoint(large), `name = "fraud"`, `name = "-fraud"`, 1), "-fraud", "name: "},
		"version elsewhere":     {strings.Replace(endpoint(large), "ml_model.fraud.version_id", `"kubernetes/default/fraud@1"`, 1), "is on kubernetes, and this endpoint is on vertex_ai", `deployments["main"].model`},
		"another project":       {strings.Replace(endpoint(large), "ml_model.fraud.version_id", `"vertex_ai/p2/europe-west4/fraud@1"`, 1), "is in p2/europe-west4, and this endpoint is in p1/europe-west4", `deployments["main"].model`},
		"key of a model":        {strings.Replace(good, `format = "onnx" }`, "format = \"onnx\" }\n encryption = { key = \"projects/p1/locations/global/keyRings/r/cryptoKeys/k\" }", 1), "the key is in global", "encryption.key"},
		"everybody":             {good + endpoint(large, `auth = { invokers = ["allUsers"] }`), "answers nobody without a name", "auth.invokers"},
		"cooldown":              {good + endpoint(large+"\n scaling = { min = 1, max = 2, scale_in_cooldown = \"1m\", metrics = [{ type = \"cpu\", target = 50 }] }"), "looks at the last five minutes", `deployments["main"].scaling.scale_in_cooldown`},
		"peered network":        {strings.Replace(two("traffic = 60", "traffic = 40"), "name = \"fraud\"\n  deployments", "name = \"fraud\"\n  network = { access = \"private\", network = \"projects/123/global/networks/n\" }\n  deployments", 1), "no second deployment of an endpoint in a peered network", "deployments"},
		"alias":                 {strings.Replace(good, `format = "onnx" }`, "format = \"onnx\" }\n aliases = [\"default\"]", 1), "Vertex AI's own", "aliases"},
		"region":                {strings.Replace(good, `name = "fraud"`, "name = \"fraud\"\n location = \"Holland\"", 1), "not the name of a region", "location"},
		"version missing":       {strings.Replace(endpoint(large), "ml_model.fraud.version_id", `"vertex_ai/p1/europe-west4/fraud@9"`, 1), "does not exist", `deployments["main"].model`},
		"test without requests": {strings.Replace(two("traffic = 100", "traffic = 0"), "name = \"fraud\"\n  deployments", "name = \"fraud\"\n  smoke_test = { request = \"{}\" }\n  deployments", 1), "which gets no traffic", `deployments["green"].traffic`},
	}
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		c := cases[name]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := acctest.NewRehearsal(t)
			config := strings.NewReplacer(`platform = "sagemaker"`, `platform = "vertex_ai"`, "ml.m5.large", "n2-standard-2").Replace(c.config)
			run(t, resource.TestStep{Config: r.VertexProvider() + config, PlanOnly: true, ExpectError: regexp.MustCompile(`(?s)` + regexp.QuoteMeta(c.at) + `.*` + words(c.says))})
			if calls := acctest.Mutations(r.Calls(t)); len(calls) > 0 {
				t.Errorf("the plan changed something: %v", calls)
			}
		})
	}
}
