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

	"cloud.google.com/go/storage"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
	"google.golang.org/api/option"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
)

// onVertex turns the configuration of a resource to Vertex AI.
func onVertex(config string) string {
	return strings.NewReplacer(`"sagemaker"`, `"vertex_ai"`, "ml.m5.large", "n2-standard-2").Replace(config)
}

const (
	vertexID  = "vertex_ai/p1/europe-west4/fraud"
	vertexURL = "https://europe-west4-aiplatform.googleapis.com/v1/projects/p1/locations/europe-west4/endpoints/fraud:rawPredict"
	vertexCPU = large + "\n scaling = {\n min = 1\n max = 4\n metrics = [{ type = \"requests_per_replica\", target = 200 }, { type = \"cpu\", target = 60 }]\n }"
)

func TestVertexModelLifecycle(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	file := acctest.Model(t, "one")
	const first, second = vertexID + "@1", vertexID + "@2"
	update := func(more string, expect ...statecheck.StateCheck) resource.TestStep {
		return resource.TestStep{Config: r.VertexProvider() + onVertex(model(file, more)),
			ConfigPlanChecks:  plans(theModel, plancheck.ResourceActionUpdate, knows(theModel, "version_id", first)),
			ConfigStateChecks: append(expect, has(theModel, "version_id", text(first)))}
	}
	run(t,
		resource.TestStep{Config: r.VertexProvider() + onVertex(model(file)),
			ConfigPlanChecks: plans(theModel, plancheck.ResourceActionCreate, knows(theModel, "id", vertexID), knows(theModel, "location", "p1/europe-west4"),
				knows(theModel, "serving.runtime", "onnx"), leavesOpen(theModel, "version_id")),
			ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version_id", text(first)), has(theModel, "approval", text("approved")),
				has(theModel, "artifact_uri", knownvalue.StringRegexp(regexp.MustCompile(`^gs://ml-rehearsal-staging/artifacts/[0-9a-f]{64}/`)))}},
		update(`description = "Scores payments"`, has(theModel, "description", text("Scores payments"))),
		update(`labels = { team = "risk" }`, has(theModel, "labels.team", text("risk")), has(theModel, "description", knownvalue.Null())),
		update(`aliases = ["champion", "blue"]`, has(theModel, "aliases", knownvalue.SetExact([]knownvalue.Check{text("blue"), text("champion")}))),
		update(`metadata = { commit = "3f9c2a7" }`, has(theModel, "metadata.commit", text("3f9c2a7"))),
		update(`approval = "pending"`, has(theModel, "approval", text("pending"))),
		update(`retain_versions = 3`, has(theModel, "retain_versions", number(3))),
		resource.TestStep{PreConfig: func() {
			if err := os.WriteFile(file, []byte("two"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, Config: r.VertexProvider() + onVertex(model(file)),
			ConfigPlanChecks: plans(theModel, plancheck.ResourceActionUpdate, leavesOpen(theModel, "version_id")),
			ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version_id", text(second)), has(theModel, "previous_version_id", text(first)),
				has(theModel, "versions", knownvalue.ListSizeExact(2))}},
		resource.TestStep{Config: r.VertexProvider() + onVertex(model(acctest.Model(t, "two"))), ConfigPlanChecks: changesNothing()},
		resource.TestStep{Config: r.VertexProvider() + onVertex(model(file, `serving = { env = { THREADS = "2" } }`)),
			ConfigPlanChecks:  plans(theModel, plancheck.ResourceActionUpdate, leavesOpen(theModel, "version_id")),
			ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version", text("3"))}},
		resource.TestStep{Config: r.VertexProvider() + onVertex(model(file, `retain_versions = 1`)),
			ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version", text("4")), has(theModel, "versions", knownvalue.ListSizeExact(1))}},
	)
}

func TestVertexModelImportAndDrift(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	config := r.VertexProvider() + onVertex(model(acctest.Model(t, "one"), `aliases = ["champion"]`, `labels = { team = "risk" }`, `description = "Scores"`, `metadata = { run = "7" }`))
	imported := func(id string) resource.TestStep {
		return resource.TestStep{ResourceName: theModel, ImportState: true, ImportStateKind: resource.ImportBlockWithID, ImportStateId: id, Config: config}
	}
	drifts := func(change map[string]any, mask string) resource.TestStep {
		return resource.TestStep{Config: config, ConfigPlanChecks: plans(theModel, plancheck.ResourceActionUpdate), PreConfig: func() {
			r.Vertex(t, http.MethodPatch, "models/fraud?updateMask="+mask, change)
		}, ConfigStateChecks: []statecheck.StateCheck{has(theModel, "description", text("Scores")), has(theModel, "labels", knownvalue.MapSizeExact(1))}}
	}
	run(t,
		resource.TestStep{Config: config},
		imported(vertexID),
		imported("projects/p1/locations/europe-west4/models/fraud"),
		imported("projects/123/locations/europe-west4/models/fraud"), // as the API shows it
		drifts(map[string]any{"description": "theirs"}, "description"),
		drifts(map[string]any{"labels": map[string]any{"team": "other", "extra": "1", "managed-by": "terraform-provider-ml", "ml-model": "fraud"}}, "labels"),
		resource.TestStep{Config: config, ConfigPlanChecks: plans(theModel, plancheck.ResourceActionCreate), PreConfig: func() {
			r.VertexChange(t, http.MethodDelete, "models/fraud", nil)
		}},
	)
}

// TestVertexModelFromStorage publishes when an object's bytes, not its address, change.
func TestVertexModelFromStorage(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	client, err := storage.NewClient(t.Context(), option.WithEndpoint(r.GCS()+"/storage/v1/"), option.WithoutAuthentication(), storage.WithJSONReads())
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Bucket("models").Create(t.Context(), acctest.GoogleProject, nil); err != nil {
		t.Fatal(err)
	}
	put := func(name, content string) {
		t.Helper()
		w := client.Bucket("models").Object(name).NewWriter(t.Context())
		_, err := w.Write([]byte(content))
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	put("fraud.onnx", "one")
	put("copy.onnx", "one")
	run(t,
		resource.TestStep{Config: r.VertexProvider() + onVertex(model("gs://models/fraud.onnx")), ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version", text("1"))}},
		resource.TestStep{Config: r.VertexProvider() + onVertex(model("gs://models/copy.onnx")), ConfigPlanChecks: changesNothing()},
		resource.TestStep{PreConfig: func() { put("fraud.onnx", "two") }, Config: r.VertexProvider() + onVertex(model("gs://models/fraud.onnx")),
			ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version", text("2"))}},
	)
}

// TestVertexEndpointUpdates changes one attribute at a time: each is an update in
// place, shows in the state, and leaves an empty plan.
func TestVertexEndpointUpdates(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	base := r.VertexProvider() + onVertex(model(acctest.Model(t, "one")))
	step := func(config string, expect ...statecheck.StateCheck) resource.TestStep {
		return resource.TestStep{Config: base + onVertex(config), ConfigStateChecks: expect,
			ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate, knows(theEndpoint, "id", vertexID))}
	}
	const main = "deployments.main."
	own := func(more string) string { return endpoint(large, "vertex_ai = { dedicated = true }", more) }
	run(t,
		resource.TestStep{Config: base + onVertex(endpoint(`compute = { cpu = 2, memory_gib = 8 }`)),
			ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionCreate, knows(theEndpoint, main+"instance_type", "c2d-standard-2"),
				leavesOpen(theEndpoint, main+"model_version"), leavesOpen(theEndpoint, "url")),
			ConfigStateChecks: []statecheck.StateCheck{
				has(theEndpoint, main+"model_version", text("1")), has(theEndpoint, main+"traffic", number(100)), has(theEndpoint, main+"scaling.min", number(1)),
				has(theEndpoint, "auth.mode", text("iam")), has(theEndpoint, "network.access", text("public")), has(theEndpoint, "invoke_policy", knownvalue.NotNull()),
				has(theEndpoint, "url", text(vertexURL))}},
		resource.TestStep{Config: base + onVertex(endpoint(`compute = { instance_type = "c2d-standard-2" }`)), ConfigPlanChecks: changesNothing()}, // the same type, written out
		step(endpoint(large), has(theEndpoint, main+"instance_type", text("n2-standard-2"))),
		step(endpoint(`compute = { instance_type = "n1-standard-4", accelerator = { type = "nvidia-t4", count = 2 } }`), has(theEndpoint, main+"instance_type", text("n1-standard-4"))),
		step(endpoint(`compute = { instance_type = "n2-standard-2", spot = true }`), has(theEndpoint, main+"compute.spot", knownvalue.Bool(true))),
		step(endpoint(large+"\n scaling = { min = 2 }"), has(theEndpoint, main+"scaling.max", number(2))),
		step(endpoint(vertexCPU), has(theEndpoint, main+"scaling.max", number(4)), has(theEndpoint, main+"scaling.metrics", knownvalue.ListSizeExact(2))),
		step(endpoint(large, `labels = { team = "risk" }`), has(theEndpoint, "labels.team", text("risk"))),
		step(endpoint(large, `request_timeout = "60s"`), has(theEndpoint, "request_timeout", text("60s"))),
		step(endpoint(large, `auth = { invokers = ["serviceAccount:caller@p1.iam.gserviceaccount.com"] }`), has(theEndpoint, "auth.mode", text("iam"))),
		step(endpoint(large, `capture = { percent = 10, destination = "bq://p1.logs.fraud" }`), has(theEndpoint, "capture.include", knownvalue.SetSizeExact(2))),
		step(endpoint(large, `vertex_ai = { service_account = "serving@p1.iam.gserviceaccount.com" }`), has(theEndpoint, "vertex_ai.service_account", knownvalue.NotNull())),
		step(own(""), has(theEndpoint, "vertex_ai.dedicated", knownvalue.Bool(true))),
		step(own(`request_timeout = "5m"`), has(theEndpoint, "request_timeout", text("5m"))),
		step(strings.Replace(own(""), large, large+"\n scaling = {\n min = 0\n max = 3\n scale_in_cooldown = \"10m\"\n metrics = [{ type = \"cpu\", target = 60 }]\n }", 1), has(theEndpoint, main+"scaling.min", number(0))),
		step(own(`timeouts = { update = "20m" }`), has(theEndpoint, "timeouts.update", text("20m"))),
	)
}

// TestVertexModelReplacement: the name, the region and the key are those of the model,
// and of all its versions.
func TestVertexModelReplacement(t *testing.T) {
	t.Parallel()
	key := func(name string) string {
		return `encryption = { key = "projects/p1/locations/europe-west4/keyRings/r/cryptoKeys/` + name + `" }`
	}
	file := acctest.Model(t, "one")
	for name, c := range map[string]struct{ from, to string }{
		"name":        {model(file), strings.Replace(model(file), `name = "fraud"`, `name = "churn"`, 1)},
		"region":      {model(file), strings.Replace(model(file), `name = "fraud"`, "name = \"fraud\"\n  location = \"us-central1\"", 1)},
		"a key":       {model(file), model(file, key("k"))},
		"another key": {model(file, key("k")), model(file, key("other"))},
		"no key":      {model(file, key("k")), model(file)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := acctest.NewRehearsal(t)
			run(t,
				resource.TestStep{Config: r.VertexProvider() + onVertex(c.from)},
				resource.TestStep{Config: r.VertexProvider() + onVertex(c.to),
					ConfigPlanChecks: plans(theModel, plancheck.ResourceActionDestroyBeforeCreate, leavesOpen(theModel, "version_id"))},
			)
		})
	}
}

// TestVertexEndpointAddress: a plan leaves open what moves, and nothing else does.
func TestVertexEndpointAddress(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	step := func(content, settings, url string, expect ...plancheck.PlanCheck) resource.TestStep {
		return resource.TestStep{Config: r.VertexProvider() + onVertex(model(acctest.Model(t, content))+endpoint(large, settings)),
			ConfigPlanChecks:  resource.ConfigPlanChecks{PreApply: expect},
			ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "url", knownvalue.StringRegexp(regexp.MustCompile(url)))}}
	}
	const (
		own    = `^https://fraud\.europe-west4-[0-9]+\.prediction\.vertexai\.goog/v1/`
		peered = `network = { access = "private", network = "projects/123/global/networks/n" }`
		inside = `^http://.*/endpoints/fraud/deployedModels/[0-9]+:predict$`
	)
	run(t,
		step("one", "", "^"+vertexURL+"$"),
		step("two", "", "^"+vertexURL+"$", knows(theEndpoint, "url", vertexURL)),
		step("two", "vertex_ai = { dedicated = true }", own, leavesOpen(theEndpoint, "url")),
		step("three", "vertex_ai = { dedicated = true }", own),
		step("three", `network = { access = "private" }`, "^projects/[^/]+/regions/europe-west4/serviceAttachments/"),
		step("three", peered, inside, leavesOpen(theEndpoint, "url")),
		step("four", peered, inside, leavesOpen(theEndpoint, "url")),
	)
}

func TestVertexEndpointReplacement(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ config, reason string }{
		"name":    {strings.Replace(endpoint(large), `name = "fraud"`, `name = "churn"`, 1), "the name is the platform's id"},
		"key":     {endpoint(large, `encryption = { key = "projects/p1/locations/europe-west4/keyRings/r/cryptoKeys/k" }`), "what is written stays as it was written"},
		"private": {endpoint(large, `network = { access = "private" }`), "an endpoint is where it was made"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := acctest.NewRehearsal(t)
			base := r.VertexProvider() + onVertex(model(acctest.Model(t, "one")))
			run(t,
				resource.TestStep{Config: base + onVertex(endpoint(large))},
				resource.TestStep{Config: base + onVertex(c.config), ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionDestroyBeforeCreate, leavesOpen(theEndpoint, "url"))},
			)
			t.Log(c.reason)
		})
	}
}

// TestVertexEndpointRollsOut moves to a new version, tests it, shares requests, and
// leaves nothing when it goes.
func TestVertexEndpointRollsOut(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	config := func(content, deployments, version string) string {
		return r.VertexProvider(`labels = { env = "test" }`) + onVertex(model(acctest.Model(t, content))+endpointWith(deployments, fmt.Sprintf(`smoke_test = {
    request  = jsonencode({ inputs = [1] })
    expect   = { json = { "$.version" = "\"%s\"" } }
    attempts = 1
  }`, version)))
	}
	main := "main = {\n model = ml_model.fraud.version_id\n " + vertexCPU + "\n }\n"
	two := "blue = {\n model = ml_model.fraud.version_id\n " + large + "\n traffic = 90\n }\n green = {\n model = ml_model.fraud.version_id\n " + large + "\n traffic = 10\n }\n"
	resource.UnitTest(t, resource.TestCase{ProtoV6ProviderFactories: acctest.Factories(), CheckDestroy: func(*terraform.State) error { return r.Empty(t) }, Steps: []resource.TestStep{
		{Config: config("one", main, "1"), ConfigStateChecks: []statecheck.StateCheck{
			has(theEndpoint, "effective_labels", knownvalue.MapExact(map[string]knownvalue.Check{"env": text("test")}))}},
		{Config: config("two", main, "2"),
			ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate, leavesOpen(theEndpoint, "deployments.main.model"),
				knows(theEndpoint, "deployments.main.instance_type", "n2-standard-2")),
			ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.main.model_version", text("2"))}},
		{Config: config("three", main, "9"), ExpectError: regexp.MustCompile(`(?s)` + words(`$.version is "3" instead of "9"`))},
		{RefreshState: true, ExpectNonEmptyPlan: true, Check: resource.TestCheckResourceAttr(theEndpoint, "deployments.main.model_version", "2")},
		{Config: config("three", two, "3"), ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.green.traffic", number(10)), has(theEndpoint, "deployments", knownvalue.MapSizeExact(2))}},
		{Config: config("three", strings.NewReplacer("90", "60", "10", "40").Replace(two), "3"), ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.blue.traffic", number(60))}},
	}})
}

// TestVertexEndpointImport imports what the provider has made: the plan is empty.
func TestVertexEndpointImport(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	configuration := r.VertexProvider() + onVertex(model(acctest.Model(t, "one"))+endpoint(strings.Replace(vertexCPU, large, `compute = { instance_type = "n1-standard-4", accelerator = { type = "nvidia-t4", count = 1 } }`, 1),
		`labels = { team = "risk" }`, `capture = { percent = 10, destination = "bq://p1.logs.fraud" }`, `auth = { mode = "iam", invokers = ["group:analysts@example.com"] }`,
		`vertex_ai = { dedicated = true, service_account = "serving@p1.iam.gserviceaccount.com" }`, `request_timeout = "5m"`))
	imported := func(id string) resource.TestStep {
		return resource.TestStep{ResourceName: theEndpoint, ImportState: true, ImportStateKind: resource.ImportBlockWithID, ImportStateId: id, Config: configuration}
	}
	run(t,
		resource.TestStep{Config: configuration},
		imported(vertexID),
		imported("projects/p1/locations/europe-west4/endpoints/fraud"),
		imported("projects/123/locations/europe-west4/endpoints/fraud"),
	)
}

// vertexHandMade makes an endpoint with two deployments of a model, as a person with
// a console does, without any mark.
func vertexHandMade(t *testing.T, r *acctest.Rehearsal) {
	t.Helper()
	r.VertexChange(t, http.MethodPost, "models:upload", map[string]any{"modelId": "theirs", "model": map[string]any{"displayName": "Their model",
		"containerSpec": map[string]any{"imageUri": "europe-west4-docker.pkg.dev/p1/models/theirs:1"}}})
	r.VertexChange(t, http.MethodPost, "endpoints?endpointId=fraud", map[string]any{"displayName": "Their endpoint", "labels": map[string]any{"owner": "them"}})
	for i, d := range []struct{ name, machine string }{{"a", "n2-standard-2"}, {"b", "e2-standard-4"}} {
		r.VertexChange(t, http.MethodPost, "endpoints/fraud:deployModel", map[string]any{"deployedModel": map[string]any{"id": fmt.Sprint(11 * (i + 1)), "model": "projects/p1/locations/europe-west4/models/theirs@1",
			"displayName": d.name, "dedicatedResources": map[string]any{"machineSpec": map[string]any{"machineType": d.machine}, "minReplicaCount": 2 - i, "maxReplicaCount": 2 - i}}})
	}
	r.Vertex(t, http.MethodPatch, "endpoints/fraud?updateMask=trafficSplit", map[string]any{"trafficSplit": map[string]any{"11": 100}})
}

// TestVertexHandMadeEndpointImport adopts an endpoint as it is, without a change. Then
// the configuration has one of its deployments only, and that moves to a registered
// model: the foreign one is never touched, until it is configured again.
func TestVertexHandMadeEndpointImport(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	vertexHandMade(t, r)
	deployment := func(name, model, machine, more string) string {
		return name + " = {\n model = " + model + "\n compute = { instance_type = \"" + machine + "\" }\n " + more + "\n }\n"
	}
	const theirs, theirLabels = `"vertex_ai/p1/europe-west4/theirs@1"`, `labels = { owner = "them" }`
	whole := endpointWith(deployment("a", theirs, "n2-standard-2", "scaling = { min = 2 }\n traffic = 100")+deployment("b", theirs, "e2-standard-4", "traffic = 0"), theirLabels)
	without := endpointWith(deployment("a", theirs, "n2-standard-2", "scaling = { min = 2 }"), theirLabels)
	moved := model(acctest.Model(t, "one")) + endpointWith(deployment("a", "ml_model.fraud.version_id", "n2-standard-2", "scaling = { min = 2 }"), theirLabels)
	both := model(acctest.Model(t, "one")) + endpointWith(deployment("a", "ml_model.fraud.version_id", "n2-standard-2", "scaling = { min = 2 }\n traffic = 80")+deployment("b", theirs, "e2-standard-4", "traffic = 20"), theirLabels)
	const block = "import {\n  to = ml_endpoint.fraud\n  id = \"projects/123/locations/europe-west4/endpoints/fraud\"\n}\n"
	foreign := func() string {
		t.Helper()
		e := r.Vertex(t, http.MethodGet, "endpoints/fraud", nil)
		all, _ := e["deployedModels"].([]any)
		for _, v := range all {
			if v.(map[string]any)["id"] == "22" {
				return fmt.Sprint(v)
			}
		}
		t.Error("the foreign deployment is gone")
		return ""
	}
	before, mark := foreign(), len(r.Calls(t))
	run(t,
		resource.TestStep{Config: r.VertexProvider() + block + onVertex(whole), ConfigPlanChecks: changesNothing()},
		resource.TestStep{Config: r.VertexProvider() + onVertex(without), ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate)}, // of the state alone
		resource.TestStep{PreConfig: func() {
			if changed := acctest.Mutations(r.Calls(t)[mark:]); len(changed) > 0 {
				t.Errorf("the import changed something: %v", changed)
			}
		}, Config: r.VertexProvider() + onVertex(moved), ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.a.model_version", text("1")), has(theEndpoint, "deployments", knownvalue.MapSizeExact(1))}},
		resource.TestStep{PreConfig: func() {
			if now := foreign(); now != before {
				t.Errorf("the foreign deployment was\n%s\nand is\n%s", before, now)
			}
		}, Config: r.VertexProvider() + onVertex(moved), ConfigPlanChecks: changesNothing()},
		resource.TestStep{Config: r.VertexProvider() + onVertex(both), ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.b.traffic", number(20))}},
	)
	r.Vertex(t, http.MethodGet, "models/theirs", nil) // which is theirs, and stays
}

// TestVertexNotTakenOver: a creation never takes over what somebody else made.
func TestVertexNotTakenOver(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	vertexHandMade(t, r)
	run(t, resource.TestStep{Config: r.VertexProvider() + onVertex(model(acctest.Model(t, "one"))+endpoint(large)), ExpectError: pattern("exists already", "import it")})
}
