// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/azureml"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// A plan asks the workspace what it would refuse.
func TestPreflightRefuses(t *testing.T) {
	t.Parallel()
	for reason, c := range map[string]struct {
		workspace map[string]any
		change    func(*driver.Settings)
		path      string
	}{
		"a workspace in legacy mode": {map[string]any{"v1LegacyMode": true}, func(*driver.Settings) {}, "location"},
		"a network that decides": {map[string]any{"managedNetwork": map[string]any{"isolationMode": "AllowInternetOutbound"}},
			func(s *driver.Settings) { s.AzureML = &driver.AzureMLEndpoint{EgressPublic: new(true)} }, "azure_ml.egress_public"},
		"no key": {map[string]any{}, func(s *driver.Settings) { s.Encryption.Key = "https://vault.vault.azure.net/keys/cmk" }, "encryption.key"},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.call(t, http.MethodPut, strings.TrimSuffix(here, "/")+learning, map[string]any{"location": "eastus", "properties": c.workspace})
			cloud, calls := h.cloud(t)
			spec := h.endpoint("fraud", driver.VersionRef{Key: driver.Key{Platform: driver.AzureML, Location: location, Name: "fraud"}, Version: "1"})
			c.change(&spec.Settings)
			must(t, cloud.CheckEndpoint(spec))
			_, err := cloud.Preflight(t.Context(), spec, nil)
			if all := mlerr.Split(err); err == nil || mlerr.PathOf(all[0]) != c.path || mlerr.Hint(all[0]) == "" || len(calls.changes()) > 0 {
				t.Errorf("%v at %q; %v", err, mlerr.PathOf(err), calls.changes())
			}
		})
	}
}

// It warns of what may not suffice, and of what it may not know.
func TestPreflightWarns(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.mode = "iam"
	must(t, os.WriteFile(filepath.Join(h.dir, "quotas.json"), []byte(`{"standardDSv2Family": 10}`), 0o600))
	cloud, _ := h.cloud(t)
	spec := h.endpoint("fraud", driver.VersionRef{Key: driver.Key{Platform: driver.AzureML, Location: location, Name: "fraud"}, Version: "1"})
	spec.Deployments[0].Compute, spec.Deployments[0].Scaling = driver.Compute{InstanceType: "Standard_DS3_v2"}, driver.Scaling{Min: 2, Max: 2}
	spec.Settings.Auth.Invokers = []string{alice}
	spec.Settings.AzureML = &driver.AzureMLEndpoint{Identity: ours}
	must(t, cloud.CheckEndpoint(spec))
	warnings, err := cloud.Preflight(t.Context(), spec, nil)
	must(t, err)
	for _, words := range []string{"a quota of 12 vCPU", "no built-in role can only call", "serving must have Storage Blob Data Reader"} {
		if !slices.ContainsFunc(warnings, func(w string) bool { return strings.Contains(w, words) }) {
			t.Errorf("no warning says %q: %v", words, warnings)
		}
	}
	spec.Settings.AzureML = nil
	h.faults(t, map[string]any{"call": "azure_ml.workspaces.get", "occurrence": 0, "action": "error", "code": "AuthorizationFailed", "status": 403, "message": "no"})
	fresh, _ := h.cloud(t, func(c *azureml.Config) { c.InvokerRole = "f6c7c914-8db3-469d-8ca1-694a8f32e121" })
	warnings, err = fresh.Preflight(t.Context(), spec, nil)
	if err != nil || len(warnings) != 1 || !strings.Contains(warnings[0], "may not read") {
		t.Errorf("an identity that may only plan: %v, %v", warnings, err)
	}
	spec.Deployments[0].Compute.InstanceType = "Standard_Quantum1_v9"
	must(t, fresh.CheckEndpoint(spec))
}

// A plan warns of a quota that does not suffice for what it adds, and of no other.
func TestPreflightCounts(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	must(t, os.WriteFile(filepath.Join(h.dir, "quotas.json"), []byte(`{"standardDSv2Family": 24}`), 0o600))
	c, _ := h.cloud(t)
	now := h.endpoint("fraud", h.published(t, c, "fraud", "one"))
	now.Deployments[0].Compute, now.Deployments[0].Scaling = driver.Compute{InstanceType: "Standard_DS3_v2"}, driver.Scaling{Min: 2, Max: 2}
	state, err := h.apply(t.Context(), c, now) // which takes 12 of the 24
	must(t, err)
	for reason, step := range map[string]struct {
		change func(*driver.EndpointSpec)
		warned bool
	}{
		"labels":              {func(s *driver.EndpointSpec) { s.Labels = map[string]string{"team": "risk"} }, false},
		"another beside it":   {func(s *driver.EndpointSpec) { s.Deployments[0].Env = map[string]string{"A": "1"} }, false},
		"as many more as fit": {func(s *driver.EndpointSpec) { s.Deployments[0].Scaling = driver.Scaling{Min: 5, Max: 5} }, false},
		"more than fit":       {func(s *driver.EndpointSpec) { s.Deployments[0].Scaling = driver.Scaling{Min: 6, Max: 6} }, true},
		"another beside it, with more": {func(s *driver.EndpointSpec) {
			s.Settings.RequestTimeout, s.Deployments[0].Scaling = time.Minute, driver.Scaling{Min: 3, Max: 3}
		}, true},
		"another one, which fits alone": {func(s *driver.EndpointSpec) {
			s.Deployments = append(s.Deployments, s.Deployments[0])
			s.Deployments[1].Name = "other"
		}, false},
		"both together, which do not": {func(s *driver.EndpointSpec) {
			s.Deployments[0].Env = map[string]string{"A": "1"}
			s.Deployments = append(s.Deployments, s.Deployments[0])
			s.Deployments[1].Name = "other"
		}, true},
		"other machines, with own quota": {func(s *driver.EndpointSpec) {
			s.Deployments[0].Compute, s.Deployments[0].Scaling = driver.Compute{InstanceType: "Standard_F2s_v2"}, driver.Scaling{Min: 9, Max: 9}
		}, false},
	} {
		spec := *now
		spec.Deployments = slices.Clone(now.Deployments)
		step.change(&spec)
		if len(spec.Deployments) > 1 {
			spec.Deployments[0].Traffic, spec.Deployments[1].Traffic = 50, 50
		}
		must(t, c.CheckEndpoint(&spec))
		warnings, err := c.Preflight(t.Context(), &spec, state)
		must(t, err)
		if warned := slices.ContainsFunc(warnings, func(w string) bool { return strings.Contains(w, "quota may not suffice") }); warned != step.warned {
			t.Errorf("%s: %v", reason, warnings)
		}
	}
}

// A model whose server fetches packages is not cut off from where they are.
func TestPreflightOfMLflow(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, calls := h.cloud(t)
	for kind, refused := range map[string]bool{"mlflow_model": true, "triton_model": false} {
		h.call(t, http.MethodPut, here+"models/"+kind+"/versions/1"+learning, map[string]any{"properties": map[string]any{"modelType": kind, "modelUri": "azureml://datastores/workspaceblobstore/paths/" + kind}})
		spec := h.endpoint("fraud", driver.VersionRef{Key: driver.Key{Platform: driver.AzureML, Location: location, Name: kind}, Version: "1"})
		spec.Settings.AzureML = &driver.AzureMLEndpoint{EgressPublic: new(false)}
		must(t, c.CheckEndpoint(spec))
		_, err := c.Preflight(t.Context(), spec, nil)
		if (err != nil) != refused || refused && (mlerr.PathOf(err) != "azure_ml.egress_public" || !mlerr.Is(err, mlerr.Unsupported)) {
			t.Errorf("%s: %v", kind, err)
		}
		spec.Settings.AzureML.EgressPublic = new(true)
		if _, err := c.Preflight(t.Context(), spec, nil); err != nil || len(calls.changes()) > 0 {
			t.Errorf("%s with a way out: %v, %v", kind, err, calls.changes())
		}
	}
}

// An image gets an environment, which is shared by versions with the same contract and
// goes with the last of them.
func TestEnvironments(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	environments := func() (all []string) {
		for _, o := range h.Objects(t) {
			if strings.HasPrefix(o, "environments ") {
				all = append(all, o)
			}
		}
		return all
	}
	spec := h.model(t, "fraud", "one")
	spec.Serving.Image, spec.Serving.Env = "models.azurecr.io/server:1", map[string]string{"THREADS": "2"}
	one := h.publish(t, c, spec)
	next := h.model(t, "fraud", "two")
	next.Serving = spec.Serving
	h.publish(t, c, next)
	if got := environments(); len(got) != 2 {
		t.Errorf("two versions of one contract have %v", got)
	}
	endpoint := h.endpoint("fraud", one)
	state, err := h.apply(t.Context(), c, endpoint)
	must(t, err)
	if d, _ := h.deployed(t, "fraud", "main"); d["properties"].(map[string]any)["environmentVariables"].(map[string]any)["THREADS"] != "2" || len(state.Deployments[0].Env) != 0 {
		t.Errorf("its variables are %v, seen as %v", d, state.Deployments[0].Env)
	}
	answer, err := c.Invoke(t.Context(), endpoint.Key, state.Deployments[0].ID, driver.Request{Body: []byte(`{}`), ContentType: "application/json"})
	if err != nil || answer.Status != http.StatusOK || answer.Deployment == "" {
		t.Errorf("it answers %+v, %v", answer, err)
	}
	if err := c.DestroyModel(t.Context(), spec.Key, 0); !mlerr.Is(err, mlerr.InUse) || !strings.Contains(err.Error(), "fraud/main-") {
		t.Errorf("a model that is served goes: %v", err)
	}
}
