// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml_test

import (
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/drivertest"
)

// While its requests move to one that differs in its environment only, the old deployment
// keeps the replicas that a rollback would need, on machines of the platform and on a
// cluster.
func TestPredecessorKeepsReplicas(t *testing.T) {
	t.Parallel()
	for reason, on := range map[string]func(t *testing.T) (*harness, func(name string, ref driver.VersionRef) *driver.EndpointSpec){
		"managed": func(t *testing.T) (*harness, func(string, driver.VersionRef) *driver.EndpointSpec) {
			t.Helper()
			h := newHarness(t)
			return h, h.endpoint
		},
		"on a cluster": func(t *testing.T) (*harness, func(string, driver.VersionRef) *driver.EndpointSpec) {
			t.Helper()
			h := newClustered(t)
			return h.harness, func(name string, ref driver.VersionRef) *driver.EndpointSpec {
				return h.onCluster(name, "cluster", ref)
			}
		},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			h, endpoint := on(t)
			c, _ := h.cloud(t)
			spec := endpoint("fraud", h.published(t, c, "fraud", "one"))
			spec.Deployments[0].Scaling = driver.Scaling{Min: 1, Max: 6, Metrics: []driver.Metric{{Type: driver.MetricCPU, Target: 60}}}
			_, err := h.apply(t.Context(), c, spec)
			must(t, err)
			h.Drift(t, spec.Key, "main", drivertest.Drift{Replicas: 4})

			spec.Deployments[0].Env = map[string]string{"THRESHOLD": "0.5"}
			spec.Rollout = driver.Rollout{Strategy: driver.Canary, Steps: []int{10}, Interval: 10 * time.Minute}
			watcher, _ := h.cloud(t)
			least := map[string]int{} // by the environment
			h.clock.Tick(func() {
				state, err := watcher.ObserveEndpoint(t.Context(), spec.Key, nil)
				if err != nil || len(state.Deployments) < 2 {
					return
				}
				for _, d := range state.Deployments {
					if d.Traffic > 0 {
						least[d.Env["THRESHOLD"]] = max(least[d.Env["THRESHOLD"]], d.Scaling.Min)
					}
				}
			})
			_, err = h.apply(t.Context(), c, spec)
			must(t, err)
			if least[""] != 4 {
				t.Errorf("the old deployment could shrink to %d replicas of 4: %v", least[""], least)
			}
		})
	}
}
