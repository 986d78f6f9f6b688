// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/azureml"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/drivertest"
)

// counting counts requests.
type counting struct {
	mu   sync.Mutex
	made []string
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	c.made = append(c.made, r.Method+" "+r.URL.Path)
	c.mu.Unlock()
	return http.DefaultTransport.RoundTrip(r)
}

// changes are the calls that change something.
func (c *counting) changes() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.made), func(call string) bool { return !mutates(call) })
}

// cloud is the core on a driver of its own, with what its calls are counted by.
func (h *harness) cloud(t *testing.T, change ...func(*azureml.Config)) (*clouds.Cloud, *counting) {
	t.Helper()
	calls := &counting{}
	c := h.config(calls)
	for _, f := range change {
		f(&c)
	}
	d, err := azureml.Open(c)
	must(t, err)
	return clouds.New(d, clouds.Options{Clock: h.clock}), calls
}

// model is a model that publishes content.
func (h *harness) model(t *testing.T, name, content string) *driver.ModelSpec {
	t.Helper()
	uri, digest := h.Artifact(t, content)
	return &driver.ModelSpec{Key: driver.Key{Platform: driver.AzureML, Location: location, Name: name},
		Artifact: driver.Artifact{URI: uri, Format: "onnx", Digest: digest}, Approval: driver.Approved, RetainVersions: 10}
}

// publish makes a model what spec says and returns its version.
func (h *harness) publish(t *testing.T, c *clouds.Cloud, spec *driver.ModelSpec) driver.VersionRef {
	t.Helper()
	must(t, c.CheckModel(spec))
	m, err := c.ApplyModel(t.Context(), spec, clouds.How{Limit: time.Hour})
	must(t, err)
	return driver.VersionRef{Key: spec.Key, Version: m.Newest().Version}
}

func (h *harness) published(t *testing.T, c *clouds.Cloud, name, content string) driver.VersionRef {
	t.Helper()
	return h.publish(t, c, h.model(t, name, content))
}

func (h *harness) endpoint(name string, ref driver.VersionRef) *driver.EndpointSpec {
	spec := h.Endpoint(name)
	spec.Key = driver.Key{Platform: driver.AzureML, Location: ref.Key.Location, Name: name}
	small, _ := h.Compute()
	spec.Deployments = []driver.Deployment{{Name: "main", Model: ref, Compute: small, Traffic: 100, Scaling: driver.Scaling{Min: 1, Max: 1}}}
	return spec
}

// apply makes an endpoint what spec says.
func (h *harness) apply(ctx context.Context, c *clouds.Cloud, spec *driver.EndpointSpec) (*driver.EndpointState, error) {
	if err := c.CheckEndpoint(spec); err != nil {
		return nil, err
	}
	return c.ApplyEndpoint(ctx, spec, clouds.How{Limit: 3 * time.Hour})
}

// TestCallsOfAPlan: endpoints that do not change are listed, and not read one by one: only
// their deployments are, which no list has. A region has 100 endpoints at most, so that
// there are two.
func TestCallsOfAPlan(t *testing.T) {
	t.Parallel()
	const n, most = 200, 10 + 200
	h := newHarness(t)
	elsewhere := strings.Replace(location, wsName, "team-west", 1)
	h.call(t, http.MethodPut, strings.TrimSuffix(strings.Replace(here, wsName, "team-west", 1), "/")+learning, map[string]any{"location": "westeurope", "properties": map[string]any{}})
	made, _ := h.cloud(t)
	refs := []driver.VersionRef{h.published(t, made, "fraud", "one")}
	west := h.model(t, "fraud", "one")
	west.Key.Location = elsewhere
	refs = append(refs, h.publish(t, made, west))
	endpoints := make([]*driver.EndpointState, n)
	each(t, n, func(ctx context.Context, i int) (err error) {
		endpoints[i], err = h.apply(ctx, made, h.endpoint(fmt.Sprintf("e-%d", i), refs[i%2]))
		return err
	})
	planned, calls := h.cloud(t)
	each(t, n, func(ctx context.Context, i int) error {
		e, err := planned.ObserveEndpoint(ctx, endpoints[i].Key, endpoints[i])
		if err == nil && (e.Phase != driver.Ready || len(e.Deployments) != 1 || e.Deployments[0].Traffic != 100 || e.Unfinished != "") {
			err = fmt.Errorf("%s is seen as %+v", endpoints[i].Key, e)
		}
		return err
	})
	t.Logf("%d endpoints took %d calls", n, len(calls.made))
	if len(calls.made) > most {
		t.Errorf("%d calls, and %d are the most: %v", len(calls.made), most, calls.made)
	}
	// A model takes two, however many versions it has: its name, and those.
	before := len(calls.made)
	_, err := planned.ObserveModel(t.Context(), refs[0].Key, nil)
	must(t, err)
	if got := len(calls.made) - before; got != 2 {
		t.Errorf("%d calls for a model", got)
	}
}

// What somebody changes in a deployment shows in a plan, however many endpoints there are.
func TestDriftOfManyEndpoints(t *testing.T) {
	t.Parallel()
	const n = 7
	h := newHarness(t)
	made, _ := h.cloud(t)
	ref := h.published(t, made, "fraud", "one")
	endpoints := make([]*driver.EndpointState, n)
	each(t, n, func(ctx context.Context, i int) (err error) {
		endpoints[i], err = h.apply(ctx, made, h.endpoint(fmt.Sprintf("e-%d", i), ref))
		return err
	})
	for _, e := range endpoints {
		h.Drift(t, e.Key, "main", drivertest.Drift{Replicas: 3})
	}
	planned, _ := h.cloud(t)
	for _, e := range endpoints {
		now, err := planned.ObserveEndpoint(t.Context(), e.Key, e)
		must(t, err)
		if now.Deployments[0].Scaling.Min != 3 {
			t.Errorf("%s is seen as %+v", e.Key, now.Deployments)
		}
	}
}

// What an earlier change has left behind is seen in every plan until it is removed.
func TestLeftoversStayInSight(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	spec := h.endpoint("fraud", h.published(t, c, "fraud", "one"))
	state, err := h.apply(t.Context(), c, spec)
	must(t, err)
	gone := here + "onlineEndpoints/fraud/deployments/gone"
	h.change(t, http.MethodPut, gone+learning, map[string]any{"location": h.region(t), "sku": map[string]any{"name": "Default", "capacity": 1},
		"properties": map[string]any{"endpointComputeType": "Managed", "instanceType": "Standard_DS3_v2", "model": here + "models/fraud/versions/1"}})
	h.call(t, http.MethodPut, inGroup+"Microsoft.Insights/autoscaleSettings/left"+insights, map[string]any{"location": h.region(t), "tags": map[string]any{"managed-by": "terraform-provider-ml"},
		"properties": map[string]any{"name": "left", "enabled": true, "targetResourceUri": gone, "profiles": []any{map[string]any{"name": "default", "rules": []any{},
			"capacity": map[string]any{"minimum": "1", "maximum": "1", "default": "1"}}}}})
	h.change(t, http.MethodDelete, gone+learning, nil)
	for range 3 {
		planned, _ := h.cloud(t)
		state, err = planned.ObserveEndpoint(t.Context(), spec.Key, state)
		must(t, err)
		if !strings.Contains(state.Unfinished, "autoscale setting left") {
			t.Fatalf("it is seen as %+v", state)
		}
	}
	if state, err = h.apply(t.Context(), c, spec); err != nil || state.Unfinished != "" {
		t.Errorf("%+v, %v", state, err)
	}
}

// each does something n times, as terraform does: ten at once.
func each(t *testing.T, n int, do func(ctx context.Context, i int) error) {
	t.Helper()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(10)
	for i := range n {
		group.Go(func() error { return do(ctx, i) })
	}
	must(t, group.Wait())
}
