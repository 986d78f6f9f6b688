// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

func TestStages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rollout driver.Rollout
		want    []int
		waits   time.Duration
	}{
		{driver.Rollout{}, []int{100}, 0},
		{driver.Rollout{Strategy: driver.AllAtOnce, Interval: time.Minute}, []int{100}, time.Minute},
		{driver.Rollout{Strategy: driver.AllAtOnce, Checks: driver.Checks{MaxErrorRate: 1}}, []int{100}, 5 * time.Minute},
		{driver.Rollout{Strategy: driver.BlueGreen}, []int{100}, 5 * time.Minute},
		{driver.Rollout{Strategy: driver.Canary, Interval: time.Minute}, []int{10, 100}, time.Minute},
		{driver.Rollout{Strategy: driver.Canary, Steps: []int{5, 25, 50}, Interval: time.Minute}, []int{5, 25, 50, 100}, 3 * time.Minute},
		{driver.Rollout{Strategy: driver.Linear, Steps: []int{30}, Interval: time.Minute}, []int{30, 60, 90, 100}, 3 * time.Minute},
		{driver.Rollout{Strategy: driver.Linear}, []int{10, 20, 30, 40, 50, 60, 70, 80, 90, 100}, 45 * time.Minute},
	} {
		if diff := cmp.Diff(c.want, stages(&c.rollout)); diff != "" {
			t.Errorf("%+v: %s", c.rollout, diff)
		}
		if got := newWorld(t).RolloutTime(&c.rollout); got != c.waits {
			t.Errorf("%+v waits %s, want %s", c.rollout, got, c.waits)
		}
	}
}

// of makes a deployment "name@version:traffic" as it is wanted.
func of(name, version string, traffic int) driver.Deployment {
	return driver.Deployment{Name: name, Model: driver.VersionRef{Key: fraud, Version: version}, Traffic: traffic}
}

// TestShares: at each stage what comes has its part, taken from its own predecessor
// first, and nobody else loses any.
func TestShares(t *testing.T) {
	t.Parallel()
	theirs := of("theirs", "9", 20)
	for name, c := range map[string]struct {
		seen, want []driver.Deployment
		percent    int
		shares     map[string]int
	}{
		"one":           {[]driver.Deployment{of("a", "1", 100), of("a", "2", 0)}, []driver.Deployment{of("a", "2", 100)}, 25, map[string]int{"a@1": 75, "a@2": 25}},
		"rounded up":    {[]driver.Deployment{of("a", "1", 10), of("a", "2", 0), of("b", "1", 90)}, []driver.Deployment{of("a", "2", 10), of("b", "1", 90)}, 5, map[string]int{"a@1": 9, "a@2": 1, "b@1": 90}},
		"two":           {[]driver.Deployment{of("a", "1", 60), of("a", "2", 0), of("b", "1", 40), of("b", "2", 0)}, []driver.Deployment{of("a", "2", 60), of("b", "2", 40)}, 50, map[string]int{"a@1": 30, "a@2": 30, "b@1": 20, "b@2": 20}},
		"renamed":       {[]driver.Deployment{of("a", "1", 100), of("b", "2", 0)}, []driver.Deployment{of("b", "2", 100)}, 10, map[string]int{"a@1": 90, "b@2": 10}},
		"found between": {[]driver.Deployment{of("a", "1", 63), of("a", "2", 37)}, []driver.Deployment{of("a", "2", 100)}, 50, map[string]int{"a@1": 50, "a@2": 50}},
		"not ours":      {[]driver.Deployment{of("a", "1", 80), of("a", "2", 0), theirs}, []driver.Deployment{of("a", "2", 80)}, 50, map[string]int{"a@1": 40, "a@2": 40}},
	} {
		seen := &driver.EndpointState{}
		for _, d := range c.seen {
			seen.Deployments = append(seen.Deployments, driver.DeploymentState{Deployment: d, ID: d.Name + "@" + d.Model.Version, Owned: d.Name != "theirs", Phase: driver.Ready})
		}
		ro := comparison{spec: &driver.EndpointSpec{Deployments: c.want}, seen: seen}.rollout()
		got := map[string]int{}
		for _, s := range ro.at(c.percent) {
			got[s.ID] = s.Traffic
		}
		if diff := cmp.Diff(c.shares, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestReached: where a rollout is follows from the shares alone.
func TestReached(t *testing.T) {
	t.Parallel()
	at := []int{5, 25, 100}
	for traffic, want := range map[int]string{0: "0 false", 3: "0 false", 5: "5 true", 10: "5 false", 25: "25 true", 99: "25 false", 100: "100 true"} {
		seen := &driver.EndpointState{Deployments: []driver.DeploymentState{
			{Deployment: of("a", "1", 100-traffic), ID: "old", Owned: true, Phase: driver.Ready}, {Deployment: of("a", "2", traffic), ID: "new", Owned: true, Phase: driver.Ready}}}
		percent, exact := comparison{spec: &driver.EndpointSpec{Deployments: []driver.Deployment{of("a", "2", 100)}}, seen: seen}.rollout().reached(at)
		if got := fmt.Sprint(percent, " ", exact); got != want {
			t.Errorf("%d percent: %s, want %s", traffic, got, want)
		}
	}
}

// TestWeights: shares that somebody writes are no rollout, and move at once.
func TestWeights(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := w.publish(t, "one"), w.publish(t, "two")
	spec := endpointOf(one)
	b := spec.Deployments[0]
	b.Name, b.Model, b.Traffic = "b", two, 10
	spec.Deployments[0].Traffic = 90
	spec.Deployments = append(spec.Deployments, b)
	spec.Rollout = driver.Rollout{Strategy: driver.Canary, Steps: []int{10}, Interval: time.Hour}
	if _, err := w.ApplyEndpoint(t.Context(), spec, How{Create: true}); err != nil {
		t.Fatal(err)
	}
	began := w.clock.Now()
	spec.Deployments[0].Traffic, spec.Deployments[1].Traffic = 20, 80
	if _, err := w.ApplyEndpoint(t.Context(), spec, How{}); err != nil {
		t.Fatal(err)
	}
	if took := w.clock.Now().Sub(began); took > time.Minute {
		t.Errorf("the shares took %s to move", took)
	}
}

// TestAway: a version that stops being ready while it has requests is taken back, long
// before the limit of the apply.
func TestAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := w.publish(t, "one"), w.publish(t, "two")
	if _, err := w.ApplyEndpoint(t.Context(), endpointOf(one), How{Create: true}); err != nil {
		t.Fatal(err)
	}
	spec := endpointOf(two)
	spec.Rollout = driver.Rollout{Strategy: driver.Canary, Steps: []int{10}, Interval: time.Hour}
	w.clock.slept = func() {
		w.platform.Edit(fraud, func(s *driver.EndpointState) {
			for i := range s.Deployments {
				if d := &s.Deployments[i]; d.Model == two && d.Traffic > 0 {
					d.Phase, d.Reason = driver.Changing, "its container exits"
				}
			}
		})
	}
	began := w.clock.Now()
	state, err := w.ApplyEndpoint(t.Context(), spec, How{Limit: 24 * time.Hour})
	if !mlerr.Is(err, mlerr.RolledBack) || state.Deployments[0].Model != one || len(state.Deployments) != 1 {
		t.Fatalf("%v, and %+v serves", err, state.Deployments)
	}
	if took := w.clock.Now().Sub(began); took > 15*time.Minute {
		t.Errorf("it was given up after %s only", took)
	}
}

// TestBackAgain: a version that is away for a moment at each stage stays in the rollout.
func TestBackAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, two := w.publish(t, "one"), w.publish(t, "two")
	if _, err := w.ApplyEndpoint(t.Context(), endpointOf(one), How{Create: true}); err != nil {
		t.Fatal(err)
	}
	spec := endpointOf(two)
	spec.Rollout = driver.Rollout{Strategy: driver.Linear, Steps: []int{10}, Interval: 10 * time.Minute}
	before := 0
	w.clock.slept = func() {
		w.platform.Edit(fraud, func(s *driver.EndpointState) {
			for i := range s.Deployments {
				d := &s.Deployments[i]
				if d.Model != two || d.Traffic == 0 {
					continue
				}
				d.Phase = driver.Ready
				if d.Traffic != before {
					before, d.Phase = d.Traffic, driver.Changing
				}
			}
		})
	}
	if _, err := w.ApplyEndpoint(t.Context(), spec, How{Limit: 24 * time.Hour}); err != nil {
		t.Fatal(err)
	}
}

// TestCheckRollout refuses what no platform can do, at the attribute.
func TestCheckRollout(t *testing.T) {
	t.Parallel()
	slow := &driver.Features{Platform: driver.VertexAI, MetricsDelay: 3 * time.Minute}
	for name, c := range map[string]struct {
		rollout driver.Rollout
		path    string
	}{
		"default":         {driver.Rollout{}, ""},
		"canary":          {driver.Rollout{Strategy: driver.Canary, Steps: []int{5, 50}}, ""},
		"steps at once":   {driver.Rollout{Steps: []int{5}}, "rollout.steps"},
		"steps blue":      {driver.Rollout{Strategy: driver.BlueGreen, Steps: []int{5}}, "rollout.steps"},
		"falling":         {driver.Rollout{Strategy: driver.Canary, Steps: []int{50, 5}}, "rollout.steps"},
		"hundred":         {driver.Rollout{Strategy: driver.Canary, Steps: []int{100}}, "rollout.steps"},
		"two sizes":       {driver.Rollout{Strategy: driver.Linear, Steps: []int{10, 20}}, "rollout.steps"},
		"too short":       {driver.Rollout{Strategy: driver.Canary, Interval: time.Minute, Checks: driver.Checks{MaxErrorRate: 1}}, "rollout.interval"},
		"short, unjudged": {driver.Rollout{Strategy: driver.Canary, Interval: time.Minute}, ""},
	} {
		err := checkRollout(&driver.EndpointSpec{Rollout: c.rollout}, slow)
		if mlerr.PathOf(err) != c.path || (err == nil) != (c.path == "") {
			t.Errorf("%s: %v at %q, want %q", name, err, mlerr.PathOf(err), c.path)
		}
	}
}
