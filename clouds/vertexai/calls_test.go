// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sync/errgroup"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/vertexai"
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

// cloud is the core on a driver of its own, with what its calls are counted by.
func (h *harness) cloud(t *testing.T) (*clouds.Cloud, *counting) {
	t.Helper()
	calls := &counting{}
	d, err := vertexai.Open(h.config(calls))
	must(t, err)
	return clouds.New(d, clouds.Options{Clock: h.clock}), calls
}

// published registers a model and returns its version.
func (h *harness) published(t *testing.T, c *clouds.Cloud, name, content string) driver.VersionRef {
	t.Helper()
	uri, digest := h.Artifact(t, content)
	spec := &driver.ModelSpec{Key: driver.Key{Platform: driver.VertexAI, Location: location, Name: name},
		Artifact: driver.Artifact{URI: uri, Format: "onnx", Digest: digest}, Approval: driver.Approved, RetainVersions: 10}
	must(t, c.CheckModel(spec))
	m, err := c.ApplyModel(t.Context(), spec, clouds.How{Limit: time.Hour})
	must(t, err)
	return driver.VersionRef{Key: spec.Key, Version: m.Newest().Version}
}

func (h *harness) endpoint(name string, ref driver.VersionRef) *driver.EndpointSpec {
	spec := h.Endpoint(name)
	spec.Key = driver.Key{Platform: driver.VertexAI, Location: location, Name: name}
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

// TestCallsOfAPlan: endpoints that do not change are listed, and not read one by one,
// also where they scale to zero, which only one version of the API shows. A model takes
// one call, however many versions it has: no list shows more than one of each.
func TestCallsOfAPlan(t *testing.T) {
	t.Parallel()
	const n, most = 200, 10 + 200/20
	h := newHarness(t)
	made, _ := h.cloud(t)
	ref := h.published(t, made, "fraud", "one")
	models, endpoints := make([]*driver.ModelState, n), make([]*driver.EndpointState, n)
	for i := range n {
		h.call(t, http.MethodPost, here+"models:upload", map[string]any{"modelId": fmt.Sprintf("m%d", i),
			"model": map[string]any{"displayName": "m", "containerSpec": map[string]any{"imageUri": "us-central1-docker.pkg.dev/p1/models/server:1"}}})
	}
	must(t, h.clock.Sleep(t.Context(), time.Hour))
	each(t, n, func(ctx context.Context, i int) (err error) {
		key := driver.Key{Platform: driver.VertexAI, Location: location, Name: fmt.Sprintf("m%d", i)}
		if models[i], err = made.ObserveModel(ctx, key, nil); err != nil {
			return err
		}
		spec := h.endpoint(fmt.Sprintf("e%d", i), ref)
		if i%2 == 0 {
			spec.Settings.VertexAI = &driver.VertexAIEndpoint{Dedicated: true}
			spec.Deployments[0].Scaling = driver.Scaling{Min: 0, Max: 3, ScaleInCooldown: 10 * time.Minute, Metrics: []driver.Metric{{Type: driver.MetricRequests, Target: 100}}}
		}
		endpoints[i], err = h.apply(ctx, made, spec)
		return err
	})
	planned, calls := h.cloud(t)
	each(t, n, func(ctx context.Context, i int) error {
		e, err := planned.ObserveEndpoint(ctx, endpoints[i].Key, endpoints[i])
		live := cmpopts.IgnoreFields(driver.DeploymentState{}, "Replicas") // of what idles meanwhile, they go
		if diff := cmp.Diff(endpoints[i], e, live); err == nil && diff != "" {
			err = fmt.Errorf("%s is seen differently:\n%s", endpoints[i].Key, diff)
		}
		return err
	})
	t.Logf("%d endpoints took %d calls", n, len(calls.made))
	if len(calls.made) > most {
		t.Errorf("%d calls, and %d are the most: %v", len(calls.made), most, calls.made)
	}
	before := len(calls.made)
	each(t, n, func(ctx context.Context, i int) error {
		_, err := planned.ObserveModel(ctx, models[i].Key, models[i])
		return err
	})
	if got := len(calls.made) - before; got != n {
		t.Errorf("%d calls for %d models", got, n)
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

// TestAListEndsWithAWrite: what this process has changed is not read from a list of
// before.
func TestAListEndsWithAWrite(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	spec := h.endpoint("fraud", h.published(t, c, "fraud", "one"))
	known, err := h.apply(t.Context(), c, spec)
	must(t, err)
	_, err = c.ObserveEndpoint(t.Context(), spec.Key, known) // from a list
	must(t, err)
	spec.Labels = map[string]string{"team": "risk"}
	known, err = h.apply(t.Context(), c, spec)
	must(t, err)
	seen, err := c.ObserveEndpoint(t.Context(), spec.Key, known)
	must(t, err)
	if diff := cmp.Diff(known, seen); diff != "" {
		t.Errorf("a list of before is read:\n%s", diff)
	}
}
