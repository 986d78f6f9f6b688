// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubetest_test

import (
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/kubernetes"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/tests/kubetest"
)

// serving is an endpoint that serves version 1 of model m0 on an emulated cluster.
func serving(t *testing.T, how string) (*kubetest.Cluster, driver.Driver, *driver.EndpointState) {
	t.Helper()
	cluster := kubetest.Emulated(t, how)
	d, err := kubernetes.Open(cluster.Config)
	if err != nil {
		t.Fatal(err)
	}
	c := clouds.New(d, clouds.Options{Clock: cluster.Time})
	uri, digest := cluster.Artifact(t, "one")
	model, endpoint := pair(cluster, uri, digest, 0)
	endpoint.Deployments[0].Scaling = driver.Scaling{Min: 1, Max: 1}
	if err := c.CheckModel(model); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ApplyModel(t.Context(), model, clouds.How{Limit: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if err := c.CheckEndpoint(endpoint); err != nil {
		t.Fatal(err)
	}
	state, err := c.ApplyEndpoint(t.Context(), endpoint, clouds.How{Limit: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return cluster, d, state
}

// TestMeasure counts requests through the gateway by the window that they were
// answered in.
func TestMeasure(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"deployment", "kserve"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			cluster, d, state := serving(t, how)
			id, grain := state.Deployments[0].ID, 100*time.Millisecond // that the emulator keeps times to
			if err := cluster.Time.Sleep(t.Context(), grain-cluster.Time.Now().Sub(cluster.Time.Now().Truncate(grain))); err != nil {
				t.Fatal(err)
			}
			began := cluster.Time.Now()
			measure := func(since, until time.Time) driver.Measurement {
				t.Helper()
				m, err := d.Measure(t.Context(), state.Key, id, since, until)
				if err != nil {
					t.Fatal(err)
				}
				return m
			}
			pass := func(d time.Duration) time.Time {
				if err := cluster.Time.Sleep(t.Context(), d); err != nil {
					t.Fatal(err)
				}
				return cluster.Time.Now()
			}
			if m := measure(began, pass(time.Minute)); m != (driver.Measurement{}) {
				t.Errorf("before the first request: %+v", m)
			}
			first := cluster.Time.Now()
			cluster.Call(t, state.Key, 20)
			second := pass(time.Minute)
			ref := driver.VersionRef{Key: driver.Key{Platform: driver.Kubernetes, Location: cluster.Namespace, Name: "m0"}, Version: "1"}
			cluster.Conduct(t, ref, 50, 900*time.Millisecond)
			cluster.Call(t, state.Key, 40)
			third := pass(300 * time.Millisecond)
			cluster.Conduct(t, ref, 0, 0)
			cluster.Call(t, state.Key, 10)
			end := pass(10 * time.Minute)
			for name, c := range map[string]struct {
				since, until time.Time
				requests     int
				errors       int
				slow         bool
			}{
				"well":                 {first, second, 20, 0, false},
				"badly, for a moment":  {second, third, 40, 20, true},
				"well again":           {third, end, 10, 0, false},
				"all of it":            {began, end, 70, 20, true},
				"after the last":       {end.Add(-time.Minute), end, 0, 0, false},
				"a window of no width": {end, end, 0, 0, false},
			} {
				m := measure(c.since, c.until)
				if m.Requests != c.requests || m.Errors != c.errors || c.slow != (m.Latency95 > 500*time.Millisecond) || (m.Latency95 == 0) != (c.requests == 0) {
					t.Errorf("%s: got %+v, want %d requests and %d errors, slow is %v", name, m, c.requests, c.errors, c.slow)
				}
			}
		})
	}
}

// TestFiring tells alerts that fire from those that do not, and from none.
func TestFiring(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Emulated(t, "deployment")
	d, err := kubernetes.Open(cluster.Config)
	if err != nil {
		t.Fatal(err)
	}
	key := driver.Key{Platform: driver.Kubernetes, Location: cluster.Namespace, Name: "e"}
	if _, err := d.Firing(t.Context(), key, []string{"Burning"}); !mlerr.Is(err, mlerr.InvalidArgument) || mlerr.PathOf(err) != "rollout.checks.alarms" {
		t.Errorf("an alert that does not exist: %v", err)
	}
	cluster.Alarm(t, "Burning", true)
	cluster.Alarm(t, "Calm", false)
	all, err := d.Firing(t.Context(), key, []string{"Calm", "Burning"})
	if err != nil || len(all) != 1 || all[0] != (driver.Alarm{Name: "Burning", Reason: "Burning was told to fire"}) {
		t.Errorf("got %+v, %v", all, err)
	}
	cluster.Alarm(t, "Burning", false)
	if all, err := d.Firing(t.Context(), key, []string{"Calm", "Burning"}); err != nil || len(all) != 0 {
		t.Errorf("after it is over: %+v, %v", all, err)
	}
}
