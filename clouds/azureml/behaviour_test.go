// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml_test

import (
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/azureml"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

const (
	alice  = "user:00000000-0000-0000-0000-00000000a11c"
	caller = "servicePrincipal:00000000-0000-0000-0000-0000000ca11e"
	ours   = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/models/providers/Microsoft.ManagedIdentity/userAssignedIdentities/Serving"
)

// Every setting is made, seen as it was wanted, changed, and taken away again.
func TestSettings(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	ref := h.published(t, c, "fraud", "one")
	full := func() *driver.EndpointSpec {
		spec := h.endpoint("fraud", ref)
		spec.Labels = map[string]string{"Team": "risk", "cost center": "42"}
		spec.Deployments[0].Env = map[string]string{"WORKERS": "2"}
		s := &spec.Settings
		s.Auth = driver.Auth{Mode: "iam", Invokers: []string{caller, alice}}
		s.Capture = &driver.Capture{Percent: 25, Destination: "azureml://datastores/workspaceblobstore/paths/captured"}
		s.RequestTimeout = 90 * time.Second
		s.AzureML = &driver.AzureMLEndpoint{Identity: ours, EgressPublic: new(true)}
		return spec
	}
	changes := []struct {
		reason string
		change func(*driver.Settings)
	}{
		{"as made", func(*driver.Settings) {}},
		{"fewer may call", func(s *driver.Settings) { s.Auth.Invokers = s.Auth.Invokers[:1] }},
		{"another way to call, and from inside only", func(s *driver.Settings) { s.Auth, s.Network.Access = driver.Auth{Mode: "key"}, "private" }},
		{"tokens", func(s *driver.Settings) { s.Auth = driver.Auth{Mode: "token"} }},
		{"more is captured, which replaces the deployments", func(s *driver.Settings) { s.Capture.Percent = 50 }},
		{"of the requests only", func(s *driver.Settings) { s.Capture.Include = []string{"request"} }},
		{"the platform's own timeout, written out", func(s *driver.Settings) { s.RequestTimeout = 5 * time.Second }},
		{"nothing of it", func(s *driver.Settings) {
			s.Auth, s.Capture, s.RequestTimeout, s.AzureML.EgressPublic = driver.Auth{Mode: "iam"}, nil, 0, nil
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
		if diff := cmp.Diff(spec.Labels, state.Labels); diff != "" {
			t.Fatalf("%s: labels differ:\n%s", step.reason, diff)
		}
		fresh, _ := h.cloud(t)
		again, err := fresh.ObserveEndpoint(t.Context(), spec.Key, state)
		must(t, err)
		if diff := cmp.Diff(state, again); diff != "" {
			t.Fatalf("%s: a refresh sees something else:\n%s", step.reason, diff)
		}
		if len(state.Deployments) != 1 || state.Unfinished != "" {
			t.Fatalf("%s: the deployments are %+v; %s", step.reason, state.Deployments, state.Unfinished)
		}
	}
	moved, same := full(), full()
	same.Settings.AzureML.Identity = strings.ToUpper(ours)
	must(t, c.CheckEndpoint(same))
	imported, err := c.ObserveEndpoint(t.Context(), same.Key, nil)
	must(t, err)
	if got := c.Replaces(&driver.EndpointSpec{Settings: imported.Settings}, same); got != nil {
		t.Errorf("for the case of its identity there is to be another endpoint: %v", got)
	}
	moved.Settings.AzureML.Identity = ""
	if got := c.Replaces(full(), moved); !slices.Equal(got, []string{"azure_ml.identity"}) {
		t.Errorf("without its identity only a new endpoint can be: %v", got)
	}
}

// roles are the assignments on an endpoint.
func (h *harness) roles(t *testing.T, endpoint string) []string {
	t.Helper()
	var all []string
	for _, a := range h.list(t, here+"onlineEndpoints/"+endpoint+"/providers/Microsoft.Authorization/roleAssignments?api-version=2022-04-01&$filter=atScope()") {
		p := a["properties"].(map[string]any)
		all = append(all, fmt.Sprint(p["principalId"], " ", filepath.Base(p["roleDefinitionId"].(string))))
	}
	slices.Sort(all)
	return all
}

// Aliases are those of the current version, and of no earlier one of ours. Those of
// versions that somebody else has made are theirs.
func TestAliases(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	h.call(t, http.MethodPut, here+"models/fraud/versions/1"+learning, map[string]any{"properties": map[string]any{"modelType": "triton_model",
		"modelUri": "azureml://datastores/workspaceblobstore/paths/theirs"}})
	h.call(t, http.MethodPut, here+"models/fraud"+learning, map[string]any{"properties": map[string]any{"tags": map[string]any{"alias.theirs": "1"}}})
	for _, step := range []struct {
		reason  string
		content string
		aliases []string
		want    map[string]any
	}{
		{"the first", "one", []string{"blue", "champion"}, map[string]any{"alias.theirs": "1", "alias.blue": "2", "alias.champion": "2"}},
		{"one moves, the other goes", "two", []string{"champion"}, map[string]any{"alias.theirs": "1", "alias.champion": "3"}},
		{"another one comes", "three", []string{"next"}, map[string]any{"alias.theirs": "1", "alias.next": "4"}},
	} {
		spec := h.model(t, "fraud", step.content)
		spec.Aliases = step.aliases
		h.publish(t, c, spec)
		tags := h.call(t, http.MethodGet, here+"models/fraud"+learning, nil)["properties"].(map[string]any)["tags"].(map[string]any)
		maps.DeleteFunc(tags, func(k string, _ any) bool { return !strings.HasPrefix(k, "alias.") })
		if diff := cmp.Diff(step.want, tags); diff != "" {
			t.Errorf("%s:\n%s", step.reason, diff)
		}
	}
}

// Other assignments on an endpoint are nobody's business here.
func TestInvokersLeaveOtherAssignments(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.mode = "iam"
	const role = "11111111-2222-3333-4444-555555555555"
	c, _ := h.cloud(t, func(c *azureml.Config) { c.InvokerRole = role })
	h.call(t, http.MethodPut, "/subscriptions/"+subscription+"/providers/Microsoft.Authorization/roleDefinitions/"+role+"?api-version=2022-04-01", map[string]any{
		"properties": map[string]any{"roleName": "Endpoint caller", "type": "CustomRole", "assignableScopes": []string{"/subscriptions/" + subscription},
			"permissions": []any{map[string]any{"actions": []string{"Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action"}}}}})
	spec := h.endpoint("fraud", h.published(t, c, "fraud", "one"))
	_, err := h.apply(t.Context(), c, spec)
	must(t, err)
	theirs := "/subscriptions/" + subscription + "/providers/Microsoft.Authorization/roleDefinitions/f6c7c914-8db3-469d-8ca1-694a8f32e121"
	h.call(t, http.MethodPut, here+"onlineEndpoints/fraud/providers/Microsoft.Authorization/roleAssignments/99999999-0000-0000-0000-000000000000?api-version=2022-04-01",
		map[string]any{"properties": map[string]any{"principalId": "00000000-0000-0000-0000-0000000000b0", "principalType": "User", "roleDefinitionId": theirs}})
	before := h.roles(t, "fraud")
	spec.Settings.Auth.Invokers = []string{alice}
	state, err := h.apply(t.Context(), c, spec)
	must(t, err)
	if now := h.roles(t, "fraud"); len(now) != len(before)+1 || !slices.Contains(now, strings.TrimPrefix(alice, "user:")+" "+role) || !slices.Equal(state.Settings.Auth.Invokers, spec.Settings.Auth.Invokers) {
		t.Errorf("with an invoker the assignments are %v, seen as %v", now, state.Settings.Auth.Invokers)
	}
	spec.Settings.Auth.Invokers = nil
	_, err = h.apply(t.Context(), c, spec)
	must(t, err)
	if now := h.roles(t, "fraud"); !slices.Equal(now, before) {
		t.Errorf("without one they are %v, and were %v", now, before)
	}
}

// Bounds, metrics, pauses and schedules come back as they were written.
func TestScaling(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	spec := h.endpoint("fraud", h.published(t, c, "fraud", "one"))
	for reason, s := range map[string]driver.Scaling{
		"all metrics": {Min: 2, Max: 9, ScaleInCooldown: time.Hour, ScaleOutCooldown: 2 * time.Minute, Metrics: []driver.Metric{{Type: driver.MetricCPU, Target: 70},
			{Type: driver.MetricLatency, Target: 250}, {Type: driver.MetricMemory, Target: 80}, {Type: driver.MetricRequests, Target: 1000.5}}},
		"the platform's pauses, written out": {Min: 1, Max: 2, ScaleInCooldown: 10 * time.Minute, ScaleOutCooldown: 5 * time.Minute, Metrics: []driver.Metric{{Type: driver.MetricCPU, Target: 5}}},
		"by the clock": {Min: 1, Max: 1, Schedules: []driver.Schedule{{Name: "day", Cron: "30 8 * * MON-FRI", Timezone: "Europe/Berlin", Min: 3, Max: 5},
			{Name: "night", Cron: "0 20 * * *", Timezone: "UTC", Min: 1, Max: 1}}},
	} {
		spec.Deployments[0].Scaling = s
		state, err := h.apply(t.Context(), c, spec)
		if err != nil {
			t.Fatalf("%s: %v", reason, err)
		}
		if diff := cmp.Diff(s, state.Deployments[0].Scaling); diff != "" {
			t.Errorf("%s:\n%s", reason, diff)
		}
	}
	settings := h.list(t, inGroup+"Microsoft.Insights/autoscaleSettings"+insights)
	if len(settings) != 1 || settings[0]["properties"].(map[string]any)["enabled"] != true {
		t.Errorf("what scales it is %v", settings)
	}
	// Somebody switches it off, as it would be if that were left out.
	off := settings[0]
	off["properties"].(map[string]any)["enabled"] = false
	h.call(t, http.MethodPut, off["id"].(string)+insights, map[string]any{"location": off["location"], "tags": off["tags"], "properties": off["properties"]})
	state, err := c.ObserveEndpoint(t.Context(), spec.Key, nil)
	must(t, err)
	if state.Deployments[0].Scaling.Automatic() {
		t.Errorf("switched off, it still scales: %+v", state.Deployments[0].Scaling)
	}
	state, err = h.apply(t.Context(), c, spec)
	must(t, err)
	if diff := cmp.Diff(spec.Deployments[0].Scaling, state.Deployments[0].Scaling); diff != "" {
		t.Errorf("it was not switched on again:\n%s", diff)
	}
}

// Tags are anybody's to change. A deployment without those that say what it is, is
// taken for somebody else's, and made ours again under its name.
func TestTagsOfSomebodyElse(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	spec := h.endpoint("fraud", h.published(t, c, "fraud", "one"))
	before, err := h.apply(t.Context(), c, spec)
	must(t, err)
	h.change(t, http.MethodPatch, here+"onlineEndpoints/fraud/deployments/"+before.Deployments[0].ID+learning, map[string]any{"tags": map[string]any{"tfml-content": "x"}})
	after, err := h.apply(t.Context(), c, spec)
	if err != nil || len(after.Deployments) != 1 || after.Deployments[0].ID != before.Deployments[0].ID || !after.Deployments[0].Owned {
		t.Errorf("%+v, %v", after, err)
	}
}

// A shadow gets copies of requests, and no answer of its is given.
func TestMirror(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	one, two := h.published(t, c, "fraud", "one"), h.published(t, c, "fraud", "two")
	spec := h.endpoint("fraud", one)
	shadow := spec.Deployments[0]
	shadow.Name, shadow.Model, shadow.Traffic, shadow.Mirror = "shadow", two, 0, 20
	spec.Deployments = append(spec.Deployments, shadow)
	state, err := h.apply(t.Context(), c, spec)
	must(t, err)
	if state.Deployments[1].Mirror != 20 || state.Deployments[0].Traffic != 100 {
		t.Fatalf("%+v", state.Deployments)
	}
	for id, want := range map[string]string{"": one.Version, state.Deployments[1].ID: two.Version} {
		answer, err := c.Invoke(t.Context(), spec.Key, id, driver.Request{Body: []byte(`{"inputs":[1]}`), ContentType: "application/json"})
		if err != nil || !strings.Contains(string(answer.Body), `"version":"`+want+`"`) {
			t.Errorf("%q answers %+v, %v", id, answer, err)
		}
	}
	spec.Deployments = spec.Deployments[:1]
	if state, err = h.apply(t.Context(), c, spec); err != nil || len(state.Deployments) != 1 {
		t.Errorf("the shadow does not go: %+v, %v", state, err)
	}
}

// A hand-made endpoint with two deployments, of which the configuration has one.
func TestForeignDeployments(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	one, two := h.published(t, c, "fraud", "one"), h.published(t, c, "fraud", "two")
	h.HandMade(t, "legacy", one)
	h.change(t, http.MethodPut, here+"onlineEndpoints/legacy/deployments/Experiment"+learning, map[string]any{"location": h.region(t), "sku": map[string]any{"name": "Default", "capacity": 1},
		"properties": map[string]any{"endpointComputeType": "Managed", "instanceType": "Standard_DS3_v2", "model": here + "models/fraud/versions/1"}})
	foreign, _ := h.deployed(t, "legacy", "Experiment")

	id := strings.ToUpper(h.call(t, http.MethodGet, here+"onlineEndpoints/legacy"+learning, nil)["id"].(string))
	key, ok := c.ParseNativeID(driver.KindEndpoint, strings.Replace(id, "LEGACY", "legacy", 1))
	if !ok || key.ID() != "azure_ml/"+location+"/legacy" {
		t.Fatalf("the platform's own id is read as %s, %v", key.ID(), ok)
	}
	imported, err := c.ObserveEndpoint(t.Context(), key, nil)
	must(t, err)
	if len(imported.Deployments) != 2 || imported.Marks.Owned || imported.Deployments[0].Name != "Experiment" || imported.Deployments[1].Name != "main" {
		t.Fatalf("it is seen as %+v", imported)
	}
	spec := h.endpoint("legacy", two)
	spec.Labels = map[string]string{"team": "risk"}
	state, err := h.apply(t.Context(), c, spec)
	must(t, err)
	if len(state.Deployments) != 2 || state.Deployments[0].Owned || !state.Deployments[1].Owned || state.Deployments[1].Model != two || state.Deployments[1].Traffic != 100 {
		t.Fatalf("adopted, it is seen as %+v", state)
	}
	if now, _ := h.deployed(t, "legacy", "Experiment"); cmp.Diff(foreign, now) != "" {
		t.Errorf("the foreign deployment was touched:\n%s", cmp.Diff(foreign, now))
	}
	err = c.DestroyEndpoint(t.Context(), key, clouds.How{Limit: time.Hour})
	if !mlerr.Is(err, mlerr.InUse) || !strings.Contains(err.Error(), "Experiment") {
		t.Errorf("with a deployment of somebody else's it was destroyed: %v", err)
	}
	// Once it is configured, it is ours.
	spec = h.endpoint("legacy", two)
	spec.Deployments[0].Traffic = 90
	adopted := imported.Deployments[0].Deployment
	adopted.Traffic = 10
	spec.Deployments = []driver.Deployment{adopted, spec.Deployments[0]}
	if state, err = h.apply(t.Context(), c, spec); err != nil || !state.Deployments[0].Owned || state.Deployments[0].ID != foreign["name"] || state.Deployments[0].Traffic != 10 {
		t.Fatalf("configured, it is seen as %+v, %v", state, err)
	}
	must(t, c.DestroyEndpoint(t.Context(), key, clouds.How{Limit: time.Hour}))
	if left := h.Objects(t); slices.ContainsFunc(left, func(s string) bool { return !strings.HasPrefix(s, "models ") }) {
		t.Errorf("destroyed, there is %v", left)
	}
}

// faults scripts what the platform does to a client in a bad hour.
func (h *harness) faults(t *testing.T, all ...map[string]any) {
	t.Helper()
	h.script(t, "faults", all)
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"modelVersions.createOrUpdate", "modelVersions.list", "modelContainers.createOrUpdate", "onlineEndpoints.createOrUpdate", "onlineEndpoints.get",
		"onlineDeployments.createOrUpdate", "onlineDeployments.list", "operations.status", "autoscaleSettings.createOrUpdate"} {
		for action, fault := range map[string]map[string]any{
			"lost answer": {"action": "lost_answer"},
			"too fast":    {"action": "error", "code": "TooManyRequests", "status": 429, "message": "The request is being throttled."},
			"unavailable": {"action": "error", "code": "InternalServerError", "status": 503, "message": "An internal server error occurred."},
		} {
			t.Run(call+" "+action, func(t *testing.T) {
				t.Parallel()
				h := newHarness(t)
				fault["call"], fault["occurrence"] = "azure_ml."+call, 1
				h.faults(t, fault)
				c, _ := h.cloud(t)
				spec := h.endpoint("fraud", h.published(t, c, "fraud", "one"))
				spec.Deployments[0].Scaling = driver.Scaling{Min: 1, Max: 3, Metrics: []driver.Metric{{Type: driver.MetricCPU, Target: 60}}}
				state, err := h.apply(t.Context(), c, spec)
				if err != nil || len(state.Deployments) != 1 || state.Deployments[0].Traffic != 100 {
					t.Fatalf("%+v, %v", state, err)
				}
				if got := h.Objects(t); len(got) != 5 {
					t.Errorf("there is %v", got)
				}
			})
		}
	}
}

// What the platform does that no client expects.
func TestTraps(t *testing.T) {
	t.Parallel()
	for reason, fault := range map[string]map[string]any{
		"a PUT that says too early that an endpoint is there":        {"call": "azure_ml.onlineEndpoints.createOrUpdate", "occurrence": 1, "mode": "early"},
		"a PUT that says too early that requests go elsewhere":       {"call": "azure_ml.onlineEndpoints.createOrUpdate", "occurrence": 2, "mode": "early"},
		"a PUT that says too early that a deployment is there":       {"call": "azure_ml.onlineDeployments.createOrUpdate", "occurrence": 1, "mode": "early"},
		"an update that another operation has canceled":              {"call": "azure_ml.onlineEndpoints.createOrUpdate", "occurrence": 2, "mode": "canceled"},
		"a creation that another operation has canceled":             {"call": "azure_ml.onlineEndpoints.createOrUpdate", "occurrence": 1, "mode": "canceled"},
		"a deployment that another operation has canceled":           {"call": "azure_ml.onlineDeployments.createOrUpdate", "occurrence": 1, "mode": "canceled"},
		"an endpoint that is updated right after it was made, alone": {"call": "azure_ml.onlineEndpoints.createOrUpdate", "occurrence": 1, "action": "maintenance"},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			if fault["action"] == nil {
				fault["action"] = "fail_transition"
			}
			c, _ := h.cloud(t)
			ref := h.published(t, c, "fraud", "one")
			h.faults(t, fault)
			spec := h.endpoint("fraud", ref)
			state, err := h.apply(t.Context(), c, spec)
			if err != nil || len(state.Deployments) != 1 || state.Deployments[0].Traffic != 100 || state.Phase != driver.Ready || state.Unfinished != "" {
				t.Fatalf("%+v, %v", state, err)
			}
			fresh, calls := h.cloud(t)
			if _, err := h.apply(t.Context(), fresh, spec); err != nil || len(calls.changes()) > 0 {
				t.Errorf("it was not the end: %v, %v", calls.changes(), err)
			}
		})
	}
}

// What the platform accepts and does not do is no success.
func TestIgnoredChanges(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	spec := h.endpoint("fraud", h.published(t, c, "fraud", "one"))
	h.faults(t, map[string]any{"call": "azure_ml.onlineEndpoints.createOrUpdate", "occurrence": 2, "action": "fail_transition", "mode": "ignored"})
	state, err := h.apply(t.Context(), c, spec)
	if !mlerr.Is(err, mlerr.RolledBack) || !strings.Contains(err.Error(), "traffic") || state.Deployments[0].Traffic != 0 {
		t.Fatalf("no requests go there: %+v, %v", state, err)
	}
	if state, err = h.apply(t.Context(), c, spec); err != nil || state.Deployments[0].Traffic != 100 {
		t.Errorf("the next apply does not go on: %+v, %v", state, err)
	}
}

// A PUT replaces the whole: none of ours loses what it does not change.
func TestPutsLoseNothing(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	one, two := h.published(t, c, "fraud", "one"), h.published(t, c, "fraud", "two")
	spec := h.endpoint("fraud", one)
	other := spec.Deployments[0]
	other.Name, other.Model = "other", two
	spec.Deployments = append(spec.Deployments, other)
	spec.Deployments[0].Traffic, spec.Deployments[1].Traffic = 60, 40
	spec.Settings.AzureML = &driver.AzureMLEndpoint{Identity: ours}
	before, err := h.apply(t.Context(), c, spec)
	must(t, err)
	spec.Labels = map[string]string{"team": "risk"}
	spec.Settings.Network.Access = "private"
	after, err := h.apply(t.Context(), c, spec)
	must(t, err)
	if diff := cmp.Diff(before.Deployments, after.Deployments); diff != "" || !strings.EqualFold(after.Settings.AzureML.Identity, ours) {
		t.Errorf("labels and access have changed\n%s%+v", diff, after.Settings)
	}
}

// The keys and tokens of an endpoint let whoever has them call.
func TestCredentials(t *testing.T) {
	t.Parallel()
	for mode, kind := range map[string]string{"key": "two keys", "token": "a token of its own", "iam": "a token of the directory"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.mode = mode
			c, _ := h.cloud(t)
			spec := h.endpoint("fraud", h.published(t, c, "fraud", "one"))
			state, err := h.apply(t.Context(), c, spec)
			must(t, err)
			found, err := c.Credentials(t.Context(), spec.Key)
			must(t, err)
			if found.Mode != mode || found.URL != state.URL || (len(found.Keys) == 2) != (mode == "key") || found.Token.IsZero() != (mode == "key") {
				t.Fatalf("instead of %s: %+v", kind, found)
			}
			if text := fmt.Sprintf("%+v", found); mode == "key" && strings.Contains(text, found.Keys["primary"].Reveal()) {
				t.Errorf("printed, it gives a key away: %s", text)
			}
			answer, err := c.Invoke(t.Context(), spec.Key, "", driver.Request{Body: []byte(`{}`), ContentType: "application/json"})
			if err != nil || answer.Status != http.StatusOK {
				t.Errorf("%+v, %v", answer, err)
			}
		})
	}
}
