// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml_test

import (
	"context"
	"errors"
	"net/http"
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

const inShared = inGroup + "Microsoft.MachineLearningServices/registries/shared/models/"

// inRegistry are the versions of a model in the registry.
func (h *harness) inRegistry(t *testing.T, name string) []string {
	t.Helper()
	var all []string
	for _, v := range h.list(t, inShared+name+"/versions"+learning) {
		all = append(all, v["name"].(string))
	}
	return all
}

func (h *harness) sharedModel(t *testing.T, content string) *driver.ModelSpec {
	t.Helper()
	spec := h.model(t, "fraud", content)
	spec.AzureML = &driver.AzureMLModel{Registry: "shared"}
	return spec
}

// Versions of a model are in its registry, are served from there, also elsewhere, and go
// with it.
func TestRegistry(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	spec := h.sharedModel(t, "one")
	one := h.publish(t, c, spec)
	spec = h.sharedModel(t, "two")
	spec.RetainVersions = 2
	two := h.publish(t, c, spec)
	if got := h.inRegistry(t, "fraud"); !slices.Equal(got, []string{"1", "2"}) {
		t.Fatalf("in the registry there is %v", got)
	}
	seen, err := c.ObserveModel(t.Context(), spec.Key, nil)
	must(t, err)
	if diff := cmp.Diff(spec.AzureML, seen.AzureML); diff != "" || len(seen.Versions) != 2 {
		t.Errorf("imported, it is %+v\n%s", seen, diff)
	}
	fresh, calls := h.cloud(t)
	if h.publish(t, fresh, spec) != two || len(calls.changes()) > 0 {
		t.Errorf("nothing has changed, and it makes %v", calls.changes())
	}

	e := h.endpoint("fraud", two)
	state, err := h.apply(t.Context(), c, e)
	must(t, err)
	if p := h.properties(t, "fraud"); p["model"] != "azureml://registries/shared/models/fraud/versions/2" || state.Deployments[0].Model != two {
		t.Errorf("it serves %v, seen as %v", p["model"], state.Deployments[0].Model)
	}
	answer, err := c.Invoke(t.Context(), e.Key, "", driver.Request{Body: []byte(`{"inputs":[1]}`), ContentType: "application/json"})
	if err != nil || !strings.Contains(string(answer.Body), `"version":"2"`) {
		t.Errorf("it answers %+v, %v", answer, err)
	}
	again, calls := h.cloud(t)
	if _, err := h.apply(t.Context(), again, e); err != nil || len(calls.changes()) > 0 {
		t.Errorf("nothing has changed, and it makes %v, %v", calls.changes(), err)
	}
	// Another workspace refers to it by its address.
	west := strings.Replace(here, wsName, "team-west", 1)
	h.call(t, http.MethodPut, strings.TrimSuffix(west, "/")+learning, map[string]any{"location": "westeurope", "properties": map[string]any{}})
	other := h.endpoint("elsewhere", one)
	other.Key.Location = strings.Replace(location, wsName, "team-west", 1)
	other.Deployments[0].Model = driver.VersionRef{Native: "azureml://registries/shared/models/fraud/versions/1"}
	state, err = h.apply(t.Context(), c, other)
	must(t, err)
	if state.Deployments[0].Model != other.Deployments[0].Model {
		t.Errorf("elsewhere it serves %v", state.Deployments[0].Model)
	}

	// What is served stays; what is not goes from both.
	if err := c.DestroyModel(t.Context(), spec.Key, time.Hour); !mlerr.Is(err, mlerr.InUse) {
		t.Errorf("though it is served it was destroyed: %v", err)
	}
	must(t, c.DestroyEndpoint(t.Context(), e.Key, clouds.How{Limit: time.Hour}))
	must(t, c.DestroyEndpoint(t.Context(), other.Key, clouds.How{Limit: time.Hour}))
	must(t, c.DestroyModel(t.Context(), spec.Key, time.Hour))
	must(t, h.clock.Sleep(t.Context(), time.Hour))
	left := h.list(t, strings.TrimSuffix(inShared, "/")+learning)
	if objects := h.Objects(t); len(left) > 0 || slices.ContainsFunc(objects, func(s string) bool { return strings.HasPrefix(s, "models") }) {
		t.Errorf("destroyed, there is %v, and in the registry %v", objects, left)
	}
}

// Somebody else's versions in the registry are left alone, and their numbers are not
// taken.
func TestRegistryOfOthers(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	h.published(t, c, "theirs", "zero")
	h.change(t, http.MethodPost, here+"models/theirs/versions/1/publish"+learning, map[string]any{"registryName": "shared", "destinationName": "fraud", "destinationVersion": "4"})
	spec := h.sharedModel(t, "one")
	if ref := h.publish(t, c, spec); ref.Version != "5" {
		t.Errorf("it is published as %s", ref.Version)
	}
	must(t, c.DestroyModel(t.Context(), spec.Key, time.Hour))
	if got := h.inRegistry(t, "fraud"); !slices.Equal(got, []string{"4"}) {
		t.Errorf("theirs is gone: %v", got)
	}
	moved := h.sharedModel(t, "one")
	moved.AzureML.Registry = "other"
	if got := c.ReplacesModel(spec, moved); !slices.Equal(got, []string{"azure_ml.registry"}) {
		t.Errorf("another registry takes another model: %v", got)
	}
}

// stopped ends a run at a call.
type stopped struct {
	at   func(*http.Request) bool
	over bool
}

func (s *stopped) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.over || s.at(r) {
		s.over = true
		return nil, errors.New("the process has ended")
	}
	return http.DefaultTransport.RoundTrip(r)
}

// Cut off between workspace and registry, the next run goes on, and a destruction leaves
// nothing.
func TestRegistryCutOff(t *testing.T) {
	t.Parallel()
	for reason, at := range map[string]func(r *http.Request) bool{
		"before its publication": func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/publish") },
		"before its version": func(r *http.Request) bool {
			return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/versions/1")
		},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			spec := h.sharedModel(t, "one")
			cut := func() {
				t.Helper()
				d, err := azureml.Open(h.config(&stopped{at: at}))
				must(t, err)
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				c := clouds.New(d, clouds.Options{Clock: h.clock})
				must(t, c.CheckModel(spec))
				if _, err := c.ApplyModel(ctx, spec, clouds.How{Limit: time.Minute}); err == nil {
					t.Fatal("it was not cut off")
				}
			}
			cut()
			c, _ := h.cloud(t)
			must(t, c.DestroyModel(t.Context(), spec.Key, time.Hour))
			if left := h.Objects(t); len(left) > 0 {
				t.Fatalf("destroyed, there is %v", left)
			}
			cut()
			c, _ = h.cloud(t)
			if ref := h.publish(t, c, spec); ref.Version != "1" || !slices.Equal(h.inRegistry(t, "fraud"), []string{"1"}) {
				t.Errorf("it goes on with version %s, and in the registry there is %v", ref.Version, h.inRegistry(t, "fraud"))
			}
		})
	}
}

// A copy that fails is told, and another version takes its place.
func TestRegistryFails(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	spec := h.sharedModel(t, "one")
	h.faults(t, map[string]any{"call": "azure_ml.modelVersions.publish", "occurrence": 1, "action": "fail_transition"})
	must(t, c.CheckModel(spec))
	if _, err := c.ApplyModel(t.Context(), spec, clouds.How{Limit: time.Hour}); err == nil || !strings.Contains(err.Error(), "registry") {
		t.Fatalf("%v", err)
	}
	ref := h.publish(t, c, spec)
	if v, err := c.ObserveModel(t.Context(), spec.Key, nil); err != nil || v.Newest().Version != ref.Version || v.Newest().Phase != driver.Ready {
		t.Errorf("%+v, %v", v, err)
	}
}
