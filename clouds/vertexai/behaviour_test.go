// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// Every setting is made, seen as it was wanted, changed, and taken away again.
func TestSettings(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	ref := h.published(t, c, "fraud", "one")
	full := func() *driver.EndpointSpec {
		spec := h.endpoint("fraud", ref)
		spec.Labels = map[string]string{"team": "risk"}
		s := &spec.Settings
		s.Encryption.Key = "projects/p1/locations/us-central1/keyRings/ring/cryptoKeys/key"
		s.Auth.Invokers = []string{"group:analysts@example.com", "serviceAccount:caller@p1.iam.gserviceaccount.com"}
		s.Capture = &driver.Capture{Percent: 25, Destination: "bq://p1.logs.fraud"}
		s.RequestTimeout = 5 * time.Minute
		s.VertexAI = &driver.VertexAIEndpoint{Dedicated: true, ServiceAccount: "serving@p1.iam.gserviceaccount.com"}
		return spec
	}
	changes := []struct {
		reason string
		change func(*driver.Settings)
	}{
		{"as made", func(*driver.Settings) {}},
		{"fewer may call", func(s *driver.Settings) { s.Auth.Invokers = s.Auth.Invokers[:1] }},
		{"more is captured", func(s *driver.Settings) { s.Capture.Percent = 50 }},
		{"another timeout", func(s *driver.Settings) { s.RequestTimeout = time.Hour }},
		{"another account, which replaces the deployments", func(s *driver.Settings) { s.VertexAI.ServiceAccount = "other@p1.iam.gserviceaccount.com" }},
		{"nothing of it", func(s *driver.Settings) {
			s.Auth.Invokers, s.Capture, s.RequestTimeout, s.VertexAI = nil, nil, 0, &driver.VertexAIEndpoint{Dedicated: true}
		}},
	}
	for _, step := range changes {
		spec := full()
		step.change(&spec.Settings)
		state, err := h.apply(t.Context(), c, spec)
		if err != nil {
			t.Fatalf("%s: %v", step.reason, err)
		}
		if diff := cmp.Diff(spec.Settings, state.Settings); diff != "" {
			t.Fatalf("%s: wanted and seen differ:\n%s", step.reason, diff)
		}
		fresh, _ := h.cloud(t)
		again, err := fresh.ObserveEndpoint(t.Context(), spec.Key, state)
		must(t, err)
		if diff := cmp.Diff(state, again); diff != "" {
			t.Fatalf("%s: a refresh sees something else:\n%s", step.reason, diff)
		}
		if len(state.Deployments) != 1 || state.Deployments[0].Carried.VertexAI == nil && spec.Settings.VertexAI.ServiceAccount != "" {
			t.Fatalf("%s: the deployments are %+v", step.reason, state.Deployments)
		}
	}
	moved := full()
	moved.Settings.Encryption.Key = ""
	if got := c.Replaces(full(), moved); !slices.Equal(got, []string{"encryption.key"}) {
		t.Errorf("without its key only a new endpoint can be: %v", got)
	}
}

// Other bindings of a policy are nobody's business here.
func TestInvokersLeaveTheRestOfThePolicy(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	spec := h.endpoint("fraud", h.published(t, c, "fraud", "one"))
	_, err := h.apply(t.Context(), c, spec)
	must(t, err)
	theirs := map[string]any{"policy": map[string]any{"version": 3, "bindings": []any{
		map[string]any{"role": "roles/aiplatform.user", "members": []any{"user:dave@example.com"},
			"condition": map[string]any{"title": "until spring", "expression": `request.time < timestamp("2030-03-20T00:00:00Z")`}},
		map[string]any{"role": "roles/aiplatform.viewer", "members": []any{"user:alice@example.com"}}}}}
	beta := func(method string, in any) map[string]any {
		return h.callIn(t, "v1beta1", http.MethodPost, here+"endpoints/fraud:"+method, in)
	}
	beta("setIamPolicy", theirs)
	for _, members := range [][]string{{"user:bob@example.com"}, nil} {
		spec.Settings.Auth.Invokers = members
		_, err := h.apply(t.Context(), c, spec)
		must(t, err)
		policy := beta("getIamPolicy", map[string]any{"options": map[string]any{"requestedPolicyVersion": 3}})
		text, err := json.Marshal(policy)
		must(t, err)
		kept := strings.Contains(string(text), "alice") && strings.Contains(string(text), "dave") && strings.Contains(string(text), "until spring")
		if !kept || strings.Contains(string(text), "bob") != (members != nil) {
			t.Errorf("with the invokers %v the policy is %s", members, text)
		}
	}
}

// Aliases are those of the current version, and of no earlier one of ours; the bare name
// stands for the newest that is approved.
func TestAliases(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	for _, step := range []struct {
		reason   string
		content  string
		aliases  []string
		approval driver.Approval
		want     []string // by version
	}{
		{"the first", "one", []string{"blue", "champion"}, driver.Approved, []string{"blue champion default"}},
		{"one moves, the other goes", "two", []string{"champion"}, driver.Approved, []string{"", "champion default"}},
		{"what is not approved does not stand for the name", "three", []string{"champion", "next"}, driver.Pending, []string{"", "default", "champion next"}},
		{"until it is", "three", []string{"champion"}, driver.Approved, []string{"", "", "champion default"}},
	} {
		uri, digest := h.Artifact(t, step.content)
		spec := &driver.ModelSpec{Key: driver.Key{Platform: driver.VertexAI, Location: location, Name: "fraud"}, Artifact: driver.Artifact{URI: uri, Format: "onnx", Digest: digest},
			Approval: step.approval, Aliases: step.aliases, RetainVersions: 10}
		must(t, c.CheckModel(spec))
		_, err := c.ApplyModel(t.Context(), spec, clouds.How{Limit: time.Hour})
		must(t, err)
		var got []string
		for _, v := range h.call(t, http.MethodGet, here+"models/fraud:listVersions", nil)["models"].([]any) {
			var aliases []string
			all, _ := v.(map[string]any)["versionAliases"].([]any)
			for _, a := range all {
				aliases = append(aliases, a.(string))
			}
			slices.Sort(aliases)
			got = append(got, strings.Join(aliases, " "))
		}
		if diff := cmp.Diff(step.want, got); diff != "" {
			t.Fatalf("%s:\n%s", step.reason, diff)
		}
	}
}

// What the bare name stands for after the default is deleted is chosen by us, and not
// left to the platform.
func TestDefaultMovesFirst(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, calls := h.cloud(t)
	h.published(t, c, "fraud", "one")
	uri, digest := h.Artifact(t, "two")
	spec := &driver.ModelSpec{Key: driver.Key{Platform: driver.VertexAI, Location: location, Name: "fraud"}, Artifact: driver.Artifact{URI: uri, Format: "onnx", Digest: digest},
		Approval: driver.Pending, RetainVersions: 1}
	must(t, c.CheckModel(spec))
	_, err := c.ApplyModel(t.Context(), spec, clouds.How{Limit: time.Hour})
	must(t, err)
	moved := slices.Index(calls.made, "POST /v1/"+here+"models/fraud@2:mergeVersionAliases")
	deleted := slices.Index(calls.made, "DELETE /v1/"+here+"models/fraud@1:deleteVersion")
	if moved < 0 || deleted < moved {
		t.Errorf("the default went at call %d, and its version at call %d", moved, deleted)
	}
}

// A deployment that scales to zero is alone, and replaced by going first.
func TestScaleToZero(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	one := h.published(t, c, "fraud", "one")
	two := h.published(t, c, "fraud", "two")
	zero := func(ref driver.VersionRef) *driver.EndpointSpec {
		spec := h.endpoint("fraud", ref)
		spec.Settings.VertexAI = &driver.VertexAIEndpoint{Dedicated: true}
		spec.Deployments[0].Scaling = driver.Scaling{Min: 0, Max: 3, ScaleInCooldown: 10 * time.Minute, Metrics: []driver.Metric{{Type: driver.MetricRequests, Target: 100}}}
		return spec
	}
	for _, ref := range []driver.VersionRef{one, two} {
		spec := zero(ref)
		state, err := h.apply(t.Context(), c, spec)
		if err != nil {
			t.Fatalf("%s: %v", ref, err)
		}
		if diff := cmp.Diff(spec.Deployments[0].Scaling, state.Deployments[0].Scaling); diff != "" || state.Deployments[0].Model != ref {
			t.Fatalf("%s serves, scaled\n%s", state.Deployments[0].Model, diff)
		}
	}
	state, err := c.ObserveEndpoint(t.Context(), zero(one).Key, nil)
	must(t, err)
	warnings, err := c.Preflight(t.Context(), zero(one), state)
	must(t, err)
	if len(warnings) != 1 || !strings.Contains(warnings[0], "Nothing answers") {
		t.Errorf("a plan does not say that nothing answers meanwhile: %v", warnings)
	}
	shared := h.endpoint("fraud", two)
	must(t, c.CheckEndpoint(shared))
	warnings, err = c.Preflight(t.Context(), shared, state)
	must(t, err)
	if len(warnings) != 1 || !strings.Contains(warnings[0], "give up its own host") {
		t.Errorf("a plan does not say that an endpoint may keep its own host: %v", warnings)
	}
}

// A deployment that is still being made does not hold a destruction up.
func TestDestroyCancels(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	_, err := h.apply(t.Context(), c, h.endpoint("fraud", h.published(t, c, "fraud", "one")))
	must(t, err)
	spec := h.endpoint("fraud", h.published(t, c, "fraud", "two"))
	must(t, c.CheckEndpoint(spec))
	if _, err = c.ApplyEndpoint(t.Context(), spec, clouds.How{Limit: time.Millisecond}); !mlerr.Is(err, mlerr.Timeout) {
		t.Fatalf("the new version is ready at once: %v", err)
	}
	fresh, calls := h.cloud(t)
	must(t, fresh.DestroyEndpoint(t.Context(), spec.Key, clouds.How{Limit: time.Hour}))
	if !slices.ContainsFunc(calls.made, func(c string) bool { return strings.HasSuffix(c, ":cancel") }) {
		t.Errorf("it was waited for: %v", calls.made)
	}
}

// A plan tells what a version and the endpoint that is to serve it do not have in
// common.
func TestPreflight(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	h.change(t, http.MethodPost, here+"models:upload", map[string]any{"modelId": "far", "model": map[string]any{"displayName": "far",
		"containerSpec": map[string]any{"imageUri": "europe-west4-docker.pkg.dev/p1/models/server:1"}}})
	far := h.endpoint("fraud", driver.VersionRef{Key: driver.Key{Platform: driver.VertexAI, Location: location, Name: "far"}, Version: "1"})
	far.Settings.Encryption.Key = "projects/p1/locations/us-central1/keyRings/ring/cryptoKeys/key"
	near := h.endpoint("fraud", h.published(t, c, "fraud", "one"))
	prebuilt := func(framework string) *driver.EndpointSpec {
		h.change(t, http.MethodPost, here+"models:upload", map[string]any{"modelId": framework, "model": map[string]any{"displayName": framework,
			"containerSpec": map[string]any{"imageUri": "us-docker.pkg.dev/vertex-ai/prediction/" + framework + "-cpu.9-9:latest"}}})
		spec := h.endpoint("fraud", driver.VersionRef{Key: driver.Key{Platform: driver.VertexAI, Location: location, Name: framework}, Version: "1"})
		spec.Deployments[0].Compute = driver.Compute{InstanceType: "n1-standard-4", Accelerator: &driver.Accelerator{Type: "nvidia-t4", Count: 1}}
		return spec
	}
	wasted := prebuilt("sklearn")
	must(t, c.CheckEndpoint(wasted))
	if _, err := c.Preflight(t.Context(), wasted, nil); !mlerr.Is(err, mlerr.InvalidArgument) || mlerr.PathOf(err) != "deployments.main.compute" {
		t.Errorf("an accelerator for scikit-learn: %v at %q", err, mlerr.PathOf(err))
	}
	absent := h.endpoint("fraud", driver.VersionRef{Key: far.Key, Version: "9"})
	absent.Deployments[0].Model.Key.Name = "absent"
	for reason, want := range map[string]struct {
		spec  *driver.EndpointSpec
		words []string
	}{
		"another key, and a registry elsewhere":  {far, []string{"a key of Google's", "a registry in europe-west4"}},
		"an accelerator that nothing uses":       {prebuilt("pytorch"), []string{"leaves the accelerator of deployment main idle"}},
		"nothing":                                {near, nil},
		"what does not exist is others' to tell": {absent, nil},
	} {
		must(t, c.CheckEndpoint(want.spec))
		warnings, err := c.Preflight(t.Context(), want.spec, nil)
		must(t, err)
		if len(warnings) != len(want.words) {
			t.Errorf("%s: %v", reason, warnings)
			continue
		}
		for i, word := range want.words {
			if !strings.Contains(warnings[i], word) {
				t.Errorf("%s: %q does not say %q", reason, warnings[i], word)
			}
		}
	}
}

// An endpoint serves what is registered in another region of its project, and in no
// other project.
func TestModelsOfOtherRegions(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	uri, digest := h.Artifact(t, "one")
	far := driver.Key{Platform: driver.VertexAI, Location: project + "/europe-west4", Name: "fraud"}
	m := &driver.ModelSpec{Key: far, Artifact: driver.Artifact{URI: uri, Format: "onnx", Digest: digest}, Approval: driver.Approved, RetainVersions: 10}
	must(t, c.CheckModel(m))
	_, err := c.ApplyModel(t.Context(), m, clouds.How{Limit: time.Hour})
	must(t, err)
	spec := h.endpoint("fraud", driver.VersionRef{Key: far, Version: "1"})
	state, err := h.apply(t.Context(), c, spec)
	must(t, err)
	if got := state.Deployments[0].Model; got != spec.Deployments[0].Model {
		t.Errorf("it serves %s", got)
	}
	if err := c.DestroyModel(t.Context(), far, time.Hour); !mlerr.Is(err, mlerr.InUse) {
		t.Errorf("what an endpoint elsewhere serves is destroyed: %v", err)
	}
	spec.Deployments[0].Model.Key.Location = "p2/us-central1"
	if err := c.CheckEndpoint(spec); !mlerr.Is(err, mlerr.InvalidArgument) || mlerr.PathOf(err) != "deployments.main.model" {
		t.Errorf("a version of another project: %v at %q", err, mlerr.PathOf(err))
	}
}

// A hand-made endpoint with two deployments, of which the configuration has one.
func TestForeignDeployments(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	one := h.published(t, c, "fraud", "one")
	two := h.published(t, c, "fraud", "two")
	h.HandMade(t, "legacy", one)
	h.change(t, http.MethodPost, here+"endpoints/legacy:deployModel", map[string]any{
		"deployedModel": map[string]any{"model": here + "models/fraud@1", "displayName": "experiment",
			"dedicatedResources": map[string]any{"machineSpec": map[string]any{"machineType": "n1-standard-4"}, "minReplicaCount": 1}}})
	foreign, _ := h.deployed(t, "legacy", "experiment")

	key, ok := c.ParseNativeID(driver.KindEndpoint, h.call(t, http.MethodGet, here+"endpoints/legacy", nil)["name"].(string))
	if !ok || key.ID() != "vertex_ai/p1/us-central1/legacy" {
		t.Fatalf("the platform's own id is read as %s, %v", key.ID(), ok)
	}
	imported, err := c.ObserveEndpoint(t.Context(), key, nil)
	must(t, err)
	if len(imported.Deployments) != 2 || imported.Marks.Owned || imported.Deployments[0].Name != "experiment" || imported.Deployments[1].Name != "main" {
		t.Fatalf("it is seen as %+v", imported)
	}
	spec := h.endpoint("legacy", two)
	spec.Labels = map[string]string{"team": "risk"}
	state, err := h.apply(t.Context(), c, spec)
	must(t, err)
	if len(state.Deployments) != 2 || state.Deployments[0].Owned || !state.Deployments[1].Owned || state.Deployments[1].Model != two || state.Deployments[1].Traffic != 100 {
		t.Fatalf("adopted, it is seen as %+v", state)
	}
	if now, _ := h.deployed(t, "legacy", "experiment"); cmp.Diff(foreign, now) != "" {
		t.Errorf("the foreign deployment was touched:\n%s", cmp.Diff(foreign, now))
	}
	err = c.DestroyEndpoint(t.Context(), key, clouds.How{Limit: time.Hour})
	if !mlerr.Is(err, mlerr.InUse) || !strings.Contains(err.Error(), "experiment") {
		t.Errorf("with a deployment of somebody else's it was destroyed: %v", err)
	}
	// Once it is configured, it is ours.
	spec = h.endpoint("legacy", two)
	spec.Deployments[0].Traffic = 90
	adopted := imported.Deployments[0].Deployment
	adopted.Traffic = 10
	spec.Deployments = []driver.Deployment{adopted, spec.Deployments[0]}
	if state, err = h.apply(t.Context(), c, spec); err != nil || !state.Deployments[0].Owned || state.Deployments[0].ID != foreign["id"] {
		t.Fatalf("configured, it is seen as %+v, %v", state, err)
	}
	must(t, c.DestroyEndpoint(t.Context(), key, clouds.How{Limit: time.Hour}))
	if left := h.Objects(t); slices.ContainsFunc(left, func(s string) bool { return !strings.HasPrefix(s, "version ") }) {
		t.Errorf("destroyed, there is %v", left)
	}
}

// An answer that is lost, a refusal for being too fast, and a hidden operation: what
// the platform does to a client in a bad hour.
func TestFaults(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"models.upload", "models.listVersions", "models.patch", "models.mergeVersionAliases", "endpoints.create", "endpoints.get", "endpoints.deployModel",
		"endpoints.patch", "operations.get"} {
		for action, fault := range map[string]map[string]any{
			"lost answer":  {"action": "lost_answer"},
			"just granted": {"action": "error", "code": "PERMISSION_DENIED", "status": 403, "message": "Permission 'cloudkms.cryptoKeyVersions.useToEncrypt' denied on Cloud KMS key"},
			"too fast":     {"action": "error", "code": "RESOURCE_EXHAUSTED", "status": 429, "message": "Quota exceeded for requests per minute"},
			"unavailable":  {"action": "error", "code": "UNAVAILABLE", "status": 503, "message": "The service is currently unavailable."},
		} {
			t.Run(call+" "+action, func(t *testing.T) {
				t.Parallel()
				h := newHarness(t)
				fault["call"], fault["occurrence"] = "vertex_ai."+call, 1
				data, err := json.Marshal(map[string]any{"faults": []any{fault}})
				must(t, err)
				must(t, os.WriteFile(filepath.Join(h.dir, "faults.json"), data, 0o600))
				c, _ := h.cloud(t)
				state, err := h.apply(t.Context(), c, h.endpoint("fraud", h.published(t, c, "fraud", "one")))
				if err != nil || len(state.Deployments) != 1 || state.Deployments[0].Traffic != 100 {
					t.Fatalf("%+v, %v", state, err)
				}
				if got := h.Objects(t); len(got) != 3 {
					t.Errorf("there is %v", got)
				}
			})
		}
	}
}

// Why a deployment has failed is told in the platform's words, with what they often
// mean, and with the operation that support asks for.
func TestWhyADeploymentFailed(t *testing.T) {
	t.Parallel()
	for mode, words := range map[string][]string{
		"never_ready": {"never became ready", "serving.health_path"},
		"exited":      {"exited unexpectedly", "AIP_STORAGE_URI"},
		"quota":       {"custom_model_serving", "IAM & Admin, Quotas", "beside those of the old one"},
		"stock_out":   {"no such machines to give now"},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			c, _ := h.cloud(t)
			spec := h.endpoint("fraud", h.published(t, c, "fraud", "one"))
			h.script(t, map[string]any{"call": "vertex_ai.endpoints.deployModel", "occurrence": 1, "action": "fail_transition", "mode": mode})
			_, err := h.apply(t.Context(), c, spec)
			if err == nil {
				t.Fatal("it is deployed")
			}
			for _, word := range append(words, "endpoints/fraud/operations/") {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("it does not say %q: %v", word, err)
				}
			}
		})
	}
}
