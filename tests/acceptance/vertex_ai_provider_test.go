// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package acceptance_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/storage"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
	"google.golang.org/api/option"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
)

// TestVertexUnknownWhilePlanning leaves to the apply what other resources decide.
func TestVertexUnknownWhilePlanning(t *testing.T) {
	t.Parallel()
	file := acctest.Model(t, "one")
	later := fmt.Sprintf("resource \"terraform_data\" \"later\" {\n  input = { file = %q, name = \"fraud\", region = \"us-central1\", cpu = 2, traffic = 100, label = \"risk\", account = \"serving@p1.iam.gserviceaccount.com\", own = true, timeout = \"5m\" }\n}\n", file)
	replace := func(s string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(s) }
	for name, config := range map[string]string{
		"file": replace(model(file)+endpoint(large), fmt.Sprintf("%q", file), "terraform_data.later.output.file"),
		"name": replace(model(file)+endpoint(large), `name = "fraud"`, "name = terraform_data.later.output.name\n location = terraform_data.later.output.region"),
		"parts": model(file, `labels = { team = terraform_data.later.output.label }`) +
			endpoint("compute = { cpu = terraform_data.later.output.cpu }\n traffic = terraform_data.later.output.traffic", `labels = { team = terraform_data.later.output.label }`,
				"vertex_ai = { service_account = terraform_data.later.output.account, dedicated = terraform_data.later.output.own }", "request_timeout = terraform_data.later.output.timeout"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := acctest.NewRehearsal(t)
			run(t,
				resource.TestStep{Config: r.VertexProvider() + later + onVertex(config), ConfigPlanChecks: plans(theModel, plancheck.ResourceActionCreate),
					ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version", text("1")), has(theEndpoint, "deployments.main.model_version", text("1"))}},
				resource.TestStep{Config: r.VertexProvider() + later + onVertex(config), ConfigPlanChecks: changesNothing()})
		})
	}
}

// TestVertexUnknownProvider plans although the provider's configuration is not known.
func TestVertexUnknownProvider(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	config := strings.Replace(r.VertexProvider(), `"europe-west4"`, "terraform_data.later.output", 1) +
		"resource \"terraform_data\" \"later\" {\n  input = \"europe-west4\"\n}\n" + onVertex(model(acctest.Model(t, "one"))+endpoint(large))
	run(t, resource.TestStep{Config: config, ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version_id", text(vertexID+"@1"))}})
}

// vertexForReal is a configuration without rehearsal, turned to the same emulators.
func vertexForReal(t *testing.T, r *acctest.Rehearsal, more string) string {
	t.Helper()
	client, err := storage.NewClient(t.Context(), option.WithEndpoint(r.GCS()+"/storage/v1/"), option.WithoutAuthentication())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Bucket("ml-real").Create(t.Context(), acctest.GoogleProject, nil); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("provider \"ml\" {\n  vertex_ai = {\n    project = %q\n    region = %q\n    endpoint_url = %q\n    storage_endpoint_url = %q\n    staging_uri = \"gs://ml-real/models\"\n    %s\n  }\n}\n",
		acctest.GoogleProject, acctest.GoogleRegion, r.VertexAddress(), r.GCS(), more)
}

// TestVertexWorldsNeverMix: what was made in rehearsal is not looked for in a project.
func TestVertexWorldsNeverMix(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	config := onVertex(model(acctest.Model(t, "one")))
	run(t,
		resource.TestStep{Config: r.VertexProvider() + config},
		resource.TestStep{Config: vertexForReal(t, r, `access_token = "x"`) + config, PlanOnly: true,
			ExpectError: pattern("was made in rehearsal, and the provider is now configured for real", "another workspace")},
		resource.TestStep{Config: r.VertexProvider() + config, ConfigPlanChecks: changesNothing()},
	)
}

// TestVertexSecretsStaySecret looks for the provider's secrets in the state and in what
// the provider logs at its most talkative, with all that it can be told of itself.
func TestVertexSecretsStaySecret(t *testing.T) {
	r := acctest.NewRehearsal(t)
	t.Setenv("TF_LOG_PROVIDER_ML", "TRACE")
	log := logs(t)
	const token = "ya29.aSecretAccessTOKEN"
	run(t, resource.TestStep{
		Config: vertexForReal(t, r, fmt.Sprintf("access_token = %q\n image_repository = \"europe-west4-docker.pkg.dev/p1/own\"", token)) +
			onVertex(model(acctest.Model(t, "one"))+endpoint(large)),
		Check: func(s *terraform.State) error {
			state, err := json.Marshal(s)
			if err != nil {
				return err
			}
			logged, err := log()
			if err != nil {
				return err
			}
			if !strings.Contains(logged, "endpoints.deployModel") {
				return errors.New("the log does not tell the calls, so it proves nothing")
			}
			for where, content := range map[string]string{"state": string(state), "log": logged} {
				if strings.Contains(content, token) {
					return fmt.Errorf("the %s holds a secret", where)
				}
			}
			version := fmt.Sprint(r.Vertex(t, http.MethodGet, "models/fraud", nil))
			for _, part := range []string{"gs://ml-real/models/", "europe-west4-docker.pkg.dev/p1/own/"} {
				if !strings.Contains(version, part) {
					return fmt.Errorf("%s is not in the version: %s", part, version)
				}
			}
			return nil
		}})
}

// TestVertexProviderLabels go on everything, and their change alone is a change.
func TestVertexProviderLabels(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	file := acctest.Model(t, "one")
	step := func(key, value string, action plancheck.ResourceActionType) resource.TestStep {
		return resource.TestStep{Config: r.VertexProvider("labels = { "+key+" = \""+value+"\" }") + onVertex(model(file, `labels = { own = "1" }`)+endpoint(large)),
			ConfigPlanChecks: plans(theEndpoint, action), ConfigStateChecks: []statecheck.StateCheck{
				has(theEndpoint, "effective_labels", knownvalue.MapExact(map[string]knownvalue.Check{key: text(value)})),
				has(theEndpoint, "labels", knownvalue.Null()), has(theModel, "labels", knownvalue.MapSizeExact(1)), has(theModel, "effective_labels", knownvalue.MapSizeExact(2))}}
	}
	run(t, step("env", "test", plancheck.ResourceActionCreate), step("stage", "live", plancheck.ResourceActionUpdate))
}

// TestVertexImportWords: what is not there, or no name, is said so.
func TestVertexImportWords(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	config := r.VertexProvider() + onVertex(model(acctest.Model(t, "one"))+endpoint(large))
	imported := func(of, id string) resource.TestStep {
		return resource.TestStep{ResourceName: of, ImportState: true, ImportStateKind: resource.ImportBlockWithID, ImportStateId: id, Config: config}
	}
	fails := func(of, id, says string) resource.TestStep {
		return resource.TestStep{ResourceName: of, ImportState: true, ImportStateId: id, Config: config, ExpectError: regexp.MustCompile(says)}
	}
	run(t,
		resource.TestStep{Config: config},
		imported(theEndpoint, "p1/europe-west4/fraud"),
		imported(theEndpoint, vertexURL),
		resource.TestStep{ResourceName: theModel, ImportState: true, ImportStateId: vertexID, ImportStateVerify: true,
			ImportStateVerifyIgnore: []string{"artifact.uri"}}, // the local path is nowhere on the platform
		fails(theModel, "vertex_ai/p1/europe-west4/other", "Cannot import non-existent remote object"),
		fails(theEndpoint, "projects/p1/locations/europe-west4/endpoints/other", "Cannot import non-existent remote object"),
		fails(theModel, "nonsense", `"nonsense" does not name any model`),
	)
}

// TestVertexImportByIdentity speaks the protocol itself: terraform can import by
// identity from 1.12 on.
func TestVertexImportByIdentity(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	run(t, resource.TestStep{Config: r.VertexProvider() + onVertex(model(acctest.Model(t, "one")))})
	server, err := acctest.Factories()["ml"]()
	if err != nil {
		t.Fatal(err)
	}
	schemas, err := server.GetProviderSchema(t.Context(), &tfprotov6.GetProviderSchemaRequest{})
	if err != nil {
		t.Fatal(err)
	}
	text := func(s string) tftypes.Value { return tftypes.NewValue(tftypes.String, s) }
	all := schemas.Provider.ValueType().(tftypes.Object)
	config := object(t, all, map[string]tftypes.Value{
		"rehearsal": object(t, all.AttributeTypes["rehearsal"], map[string]tftypes.Value{"state_dir": text(r.Dir)}),
		"vertex_ai": object(t, all.AttributeTypes["vertex_ai"], map[string]tftypes.Value{"project": text(acctest.GoogleProject), "region": text(acctest.GoogleRegion)}),
	})
	if _, err := server.ConfigureProvider(t.Context(), &tfprotov6.ConfigureProviderRequest{Config: dynamic(t, config)}); err != nil {
		t.Fatal(err)
	}
	identityType := tftypes.Object{AttributeTypes: map[string]tftypes.Type{"platform": tftypes.String, "location": tftypes.String, "name": tftypes.String}}
	for _, location := range []any{nil, acctest.GoogleRegion, acctest.GoogleProject + "/" + acctest.GoogleRegion} {
		identity := tftypes.NewValue(identityType, map[string]tftypes.Value{
			"platform": text("vertex_ai"), "location": tftypes.NewValue(tftypes.String, location), "name": text("fraud")})
		got, err := server.ImportResourceState(t.Context(), &tfprotov6.ImportResourceStateRequest{TypeName: "ml_model",
			Identity: &tfprotov6.ResourceIdentityData{IdentityData: dynamic(t, identity)}})
		if err != nil || len(got.Diagnostics) > 0 || len(got.ImportedResources) != 1 {
			t.Fatalf("importing with location %v: %v, %+v", location, err, got)
		}
		state, err := got.ImportedResources[0].State.Unmarshal(schemas.ResourceSchemas["ml_model"].ValueType())
		if err != nil {
			t.Fatal(err)
		}
		var members map[string]tftypes.Value
		if err := state.As(&members); err != nil {
			t.Fatal(err)
		}
		if id := members["id"]; !id.Equal(text(vertexID)) {
			t.Errorf("with location %v, the id is %v", location, id)
		}
	}
}

// TestVertexForeignTraffic: requests that a foreign deployment gets are not taken away,
// and it keeps its share when it is configured as it is.
func TestVertexForeignTraffic(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	vertexHandMade(t, r)
	share := func(a, b int) {
		r.Vertex(t, http.MethodPatch, "endpoints/fraud?updateMask=trafficSplit", map[string]any{"trafficSplit": map[string]any{"11": a, "22": b}})
	}
	share(80, 20)
	deployment := func(name, model, machine, more string) string {
		return name + " = {\n model = " + model + "\n compute = { instance_type = \"" + machine + "\" }\n " + more + "\n }\n"
	}
	const theirs = `"vertex_ai/p1/europe-west4/theirs@1"`
	const block = "import {\n  to = ml_endpoint.fraud\n  id = \"projects/p1/locations/europe-west4/endpoints/fraud\"\n}\n"
	foreign := func() string {
		t.Helper()
		e := r.Vertex(t, http.MethodGet, "endpoints/fraud", nil)
		all, _ := e["deployedModels"].([]any)
		split, _ := e["trafficSplit"].(map[string]any)
		for _, v := range all {
			if v.(map[string]any)["id"] == "22" {
				return fmt.Sprint(v, " with ", split["22"])
			}
		}
		return "gone"
	}
	before := foreign()
	untouched := func(*terraform.State) error {
		if now := foreign(); now != before {
			return fmt.Errorf("the foreign deployment was\n%s\nand is\n%s", before, now)
		}
		return nil
	}
	config := func(first, second string) string {
		return r.VertexProvider() + onVertex(model(acctest.Model(t, "one"))+endpointWith(first+second, `labels = { owner = "them" }`))
	}
	second := deployment("b", theirs, "e2-standard-4", "traffic = 20")
	run(t,
		resource.TestStep{Config: r.VertexProvider() + block + onVertex(endpointWith(deployment("a", theirs, "n2-standard-2", "scaling = { min = 2 }\n traffic = 80")+second, `labels = { owner = "them" }`)),
			ConfigPlanChecks: changesNothing(), Check: untouched},
		resource.TestStep{Config: config(deployment("a", "ml_model.fraud.version_id", "n2-standard-2", "scaling = { min = 2 }"), ""),
			ExpectError: pattern("sends 20 percent of its requests to deployment b, which is not ours", "Add deployments.b")},
		resource.TestStep{Config: config(deployment("a", "ml_model.fraud.version_id", "n2-standard-2", "scaling = { min = 2 }\n traffic = 80"), second), Check: untouched,
			ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.a.model_version", text("1")), has(theEndpoint, "deployments.b.traffic", number(20))}},
	)
}

// TestVertexPlanCalls: a plan of endpoints that do not change lists them, and asks of
// none by itself.
func TestVertexPlanCalls(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	config := r.VertexProvider() + onVertex(model(acctest.Model(t, "one"))+
		strings.NewReplacer(`name = "fraud"`, "count = 20\n name = \"fraud-${count.index}\"").Replace(endpoint(vertexCPU)))
	var began time.Time
	run(t,
		resource.TestStep{Config: config},
		resource.TestStep{PreConfig: func() { began = time.Now() }, Config: config, PlanOnly: true},
		resource.TestStep{PreConfig: func() {
			made := map[string]int{}
			for _, call := range r.Since(t, began) {
				made[call.Name]++
			}
			// The step plans more than once, each time in a process of its own.
			const plans = 4
			if lists := made["vertex_ai.endpoints.list"]; lists < 1 || lists > plans || made["vertex_ai.models.listVersions"] > plans || len(made) != 2 {
				t.Errorf("plans of 20 endpoints and their model made the calls %v", made)
			}
		}, Config: config, PlanOnly: true},
	)
}
