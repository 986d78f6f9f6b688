// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubetest_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/kubernetes"
	"github.com/mlplane/terraform-provider-ml/tests/kubetest"
)

// counting counts requests to an API server.
type counting struct {
	next http.RoundTripper
	mu   sync.Mutex
	made []string
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	c.made = append(c.made, r.Method+" "+r.URL.Path)
	c.mu.Unlock()
	return c.next.RoundTrip(r)
}

// TestCallsOfAPlan: what does not change is asked for by kind, and not by name.
func TestCallsOfAPlan(t *testing.T) {
	t.Parallel()
	const n = 200
	cluster := kubetest.Emulated(t, "deployment")
	open := func() (*clouds.Cloud, *counting) {
		calls := &counting{}
		cfg := cluster.Config
		cfg.Transport = func(next http.RoundTripper) http.RoundTripper { calls.next = next; return calls }
		d, err := kubernetes.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return clouds.New(d, clouds.Options{Clock: cluster.Time}), calls
	}
	models, endpoints := make([]*driver.ModelState, n), make([]*driver.EndpointState, n)
	uri, digest := cluster.Artifact(t, "one")
	made, _ := open()
	each(t, n, func(ctx context.Context, i int) (err error) {
		model, endpoint := pair(cluster, uri, digest, i)
		if err := made.CheckModel(model); err != nil {
			return err
		}
		if models[i], err = made.ApplyModel(ctx, model, clouds.How{Limit: time.Hour}); err != nil {
			return err
		}
		if err := made.CheckEndpoint(endpoint); err != nil {
			return err
		}
		endpoints[i], err = made.ApplyEndpoint(ctx, endpoint, clouds.How{Limit: time.Hour})
		return err
	})
	planned, calls := open()
	each(t, n, func(ctx context.Context, i int) error {
		m, err := planned.ObserveModel(ctx, models[i].Key, models[i])
		if err != nil {
			return err
		}
		e, err := planned.ObserveEndpoint(ctx, endpoints[i].Key, endpoints[i])
		if err == nil && (len(m.Versions) != 1 || e.Phase != driver.Ready) {
			err = fmt.Errorf("%d versions, and the endpoint is %s", len(m.Versions), e.Phase)
		}
		return err
	})
	t.Logf("%d models and %d endpoints took %d calls", n, n, len(calls.made))
	if len(calls.made) > 20 {
		t.Errorf("%d calls: %v", len(calls.made), calls.made)
	}
}

// pair are a model and the endpoint that serves its first version.
func pair(cluster *kubetest.Cluster, uri, digest string, i int) (*driver.ModelSpec, *driver.EndpointSpec) {
	model := &driver.ModelSpec{Key: driver.Key{Platform: driver.Kubernetes, Location: cluster.Namespace, Name: fmt.Sprintf("m%d", i)},
		Artifact: driver.Artifact{URI: uri, Format: "onnx", Digest: digest}, Approval: driver.Approved, RetainVersions: 10}
	endpoint := cluster.Endpoint("")
	endpoint.Key = driver.Key{Platform: driver.Kubernetes, Location: cluster.Namespace, Name: fmt.Sprintf("e%d", i)}
	small, _ := cluster.Compute()
	endpoint.Deployments = []driver.Deployment{{Name: "main", Model: driver.VersionRef{Key: model.Key, Version: "1"}, Compute: small, Traffic: 100,
		Scaling: driver.Scaling{Min: 1, Max: 3, Metrics: []driver.Metric{{Type: driver.MetricCPU, Target: 60}}}}}
	return model, endpoint
}

// each does something n times, as terraform does: ten at once.
func each(t *testing.T, n int, do func(ctx context.Context, i int) error) {
	t.Helper()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(10)
	for i := range n {
		group.Go(func() error { return do(ctx, i) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
}
