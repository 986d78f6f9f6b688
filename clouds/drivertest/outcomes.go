// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package drivertest

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

func testSuccess(t *testing.T, r *trial) {
	r.spec.SmokeTest = smokeTest("2")
	r.spec.Rollout.Checks = driver.Checks{SmokeTest: true}
	if r.has(byErrors) && r.has(byLatency) {
		r.spec.Rollout.Checks = driver.Checks{SmokeTest: true, MaxErrorRate: 5, MaxLatencyMS: 500}
	}
	if r.live { // on machines that have other things to do
		r.spec.Rollout.Checks.MaxLatencyMS = 30000
	}
	before := len(r.h.Objects(t))
	began := r.h.Clock().Now()
	r.tick = func(state *driver.EndpointState) {
		if r.underWay(state) {
			r.noProof(t)
		}
	}
	r.succeeds(t)
	if now := r.h.Objects(t); len(now) != before {
		t.Errorf("the rollout left something behind: %v", now)
	}
	if took := r.h.Clock().Now().Sub(began); took < r.p.RolloutTime(&r.spec.Rollout) {
		t.Errorf("it took %s, and its stages are watched for %s", took, r.p.RolloutTime(&r.spec.Rollout))
	}
	if stages := r.stages(); !r.p.Features().DeployWhole && !slices.Equal(stages, r.expected()) && !slices.Equal(stages, append(r.expected(), 100)) {
		t.Errorf("the new version had the shares %v, want %v and then all", stages, r.expected())
	}
	r.succeeds(t)
}

// noProof fails if the endpoint of the smoke test is there.
func (r *trial) noProof(t *testing.T) {
	t.Helper()
	key := r.spec.Key
	key.Name += "-smoke"
	if _, err := r.watcher.ObserveEndpoint(r.watcher.ctx, key, nil); !mlerr.Is(err, mlerr.NotFound) {
		t.Errorf("the endpoint of the smoke test is still there (%v)", err)
	}
}

// stages are the shares above zero that the new version had, one after the other.
func (r *trial) stages() []int {
	return slices.DeleteFunc(slices.Compact(slices.Clone(r.shares)), func(n int) bool { return n == 0 })
}

// expected are the stages that are watched.
func (r *trial) expected() []int {
	switch r.spec.Rollout.Strategy {
	case driver.Canary:
		return r.spec.Rollout.Steps
	case driver.Linear:
		return []int{50}
	case driver.AllAtOnce, driver.BlueGreen:
	}
	return []int{100}
}

func smokeTest(version string) *driver.SmokeTest {
	return &driver.SmokeTest{Attempts: 2, JSON: map[string]string{"$.version": `"` + version + `"`},
		Request: driver.Request{Body: []byte(`{"inputs":[1]}`), ContentType: "application/json"}}
}

func testSmokeFailure(t *testing.T, r *trial) {
	r.spec.SmokeTest = smokeTest("99")
	r.goesBack(t, "smoke test", "99")
	if most := r.most(); r.p.Features().TestBeforeTraffic && most > 0 {
		t.Errorf("what failed its smoke test had %d percent of the requests", most)
	}
}

func testErrorRate(t *testing.T, r *trial) {
	r.without(t, byErrors)
	r.spec.Rollout.Checks = driver.Checks{MaxErrorRate: 5}
	r.h.Conduct(t, r.two, 50, 0)
	began := r.h.Clock().Now()
	r.goesBack(t)
	r.stoppedAtFirst(t)
	if took := r.h.Clock().Now().Sub(began); r.first() == 100 && !r.p.Features().DeployWhole && !r.live && took >= r.interval {
		t.Errorf("it took %s, and half of all requests failed", took)
	}
}

func testLatency(t *testing.T, r *trial) {
	r.without(t, byLatency)
	r.spec.Rollout.Checks = driver.Checks{MaxLatencyMS: 200}
	r.h.Conduct(t, r.two, 0, time.Second)
	r.goesBack(t)
	r.stoppedAtFirst(t)
}

// stoppedAtFirst fails if the new version had more than the first stage gives it.
func (r *trial) stoppedAtFirst(t *testing.T) {
	t.Helper()
	if most := r.most(); most > r.first() {
		t.Errorf("the new version had %d percent of the requests, want at most %d", most, r.first())
	}
}

func testNeverReady(t *testing.T, r *trial) {
	r.h.FailNextDeploy(t, "it does not start")
	r.goesBack(t, "it does not start")
	if most := r.most(); most > 0 {
		t.Errorf("what was never ready had %d percent of the requests", most)
	}
}

func testAlarm(t *testing.T, r *trial) {
	r.without(t, driver.Use{Path: "rollout.checks.alarms"})
	r.spec.Rollout.Checks = driver.Checks{Alarms: []string{theAlarm}}
	r.tick = func(state *driver.EndpointState) {
		if r.underWay(state) {
			r.h.Alarm(t, theAlarm, true)
		}
	}
	r.goesBack(t, theAlarm)
	r.stoppedAtFirst(t)

	r.tick = nil
	r.spec.Rollout.Checks.Alarms = []string{"no-such-alarm"}
	p := start(t, r.h, &Cutter{})
	known, err := p.ObserveEndpoint(p.ctx, r.spec.Key, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Preflight(p.ctx, r.spec, known)
	wantCode(t, err, mlerr.InvalidArgument, "an alarm that does not exist")
	if mlerr.PathOf(err) != "rollout.checks.alarms" {
		t.Errorf("path %q", mlerr.PathOf(err))
	}
}

// underWay reports whether the new version has requests while the rollout goes on, or
// the platform is at work on it by itself.
func (r *trial) underWay(state *driver.EndpointState) bool {
	if r.p.Features().DeployWhole {
		return state.Phase == driver.Changing
	}
	return len(state.Deployments) > 1 && r.shares[len(r.shares)-1] > 0
}

func testInterrupted(t *testing.T, r *trial) {
	ctx, cancel := context.WithCancel(r.p.ctx)
	defer cancel()
	r.tick = func(state *driver.EndpointState) {
		if r.underWay(state) {
			cancel()
		}
	}
	_, err := r.apply(ctx, t, r.p)
	wantCode(t, err, mlerr.Canceled, "an interrupt")
	at := r.shares[len(r.shares)-1]
	r.tick, r.shares = nil, nil
	r.succeeds(t)
	if len(r.shares) > 0 && slices.Min(r.shares) < at {
		t.Errorf("the new version had %d percent, and went on with %v", at, r.stages())
	}
}

// testForeign moves all requests back to the old version in mid-rollout, as somebody
// does who sees that it goes wrong.
func testForeign(t *testing.T, r *trial) {
	if r.p.Features().DeployWhole {
		t.Skip("capability gap: the platform refuses changes by others while it moves an endpoint itself")
	}
	meddled := false
	r.tick = func(state *driver.EndpointState) {
		if meddled || !r.underWay(state) {
			return
		}
		var shares []driver.Share
		for i := range state.Deployments {
			d := &state.Deployments[i]
			share := driver.Share{ID: d.ID, Name: d.Name}
			if d.Model == r.one {
				share.Traffic = 100
			}
			shares = append(shares, share)
		}
		// The first time that it is seen, the run may not have seen it yet.
		if n := len(r.shares); n < 2 || r.shares[n-2] != r.shares[n-1] {
			return
		}
		other := r.h.Open(t, &Cutter{})
		if err := other.SetTraffic(r.watcher.ctx, r.spec, state, shares); err != nil {
			t.Errorf("somebody else cannot move the requests: %v", err)
		}
		meddled = true
	}
	state, err := r.apply(r.p.ctx, t, r.p)
	wantCode(t, err, mlerr.Preempted, "somebody else moved the requests back")
	if share := r.shareOfTwo(state); share != 0 {
		t.Errorf("%d percent of the requests are at the new version again", share)
	}
	r.tick = nil
	r.succeeds(t)
}

func testHold(t *testing.T, r *trial) {
	r.without(t, driver.Use{Path: "rollout.on_failure", Value: "hold"}, byErrors)
	r.spec.Rollout.OnFailure, r.spec.Rollout.Checks = "hold", driver.Checks{MaxErrorRate: 5}
	r.h.Conduct(t, r.two, 50, 0)
	state, err := r.apply(r.p.ctx, t, r.p)
	wantCode(t, err, mlerr.Failed, "a rollout that went wrong")
	if !strings.Contains(mlerr.Hint(err), "hold") {
		t.Errorf("the hint does not say how it goes on: %s", mlerr.Hint(err))
	}
	share := r.shareOfTwo(state)
	if share != r.first() || len(state.Deployments) < 2 {
		t.Errorf("it was held with %d percent at the new version, want %d, beside the old one", share, r.first())
	}
	r.h.Conduct(t, r.two, 0, 0)
	if err := r.h.Clock().Sleep(r.p.ctx, 2*r.interval); err != nil {
		t.Fatal(err)
	}
	r.shares = nil
	r.succeeds(t)
	if slices.Min(r.shares) < r.first() {
		t.Errorf("it went on with %v, and was held at %d", r.stages(), r.first())
	}
}

func testSilence(t *testing.T, r *trial) {
	r.without(t, byErrors)
	r.quiet = true
	r.spec.Rollout.Checks = driver.Checks{MaxErrorRate: 5}
	began := r.h.Clock().Now()
	r.succeeds(t)
	if took := r.h.Clock().Now().Sub(began); took < 2*r.p.RolloutTime(&r.spec.Rollout) && !r.p.Features().DeployWhole {
		t.Errorf("it took %s, and each stage is watched twice if nothing is measured", took)
	}
	if len(r.warnings) == 0 && !r.p.Features().DeployWhole {
		t.Error("nothing was measured, and nobody was warned")
	}
}

func testLiveCapacity(t *testing.T, r *trial) {
	d := pair(r.one)
	d.Scaling = driver.Scaling{Min: 2, Max: 6, Metrics: []driver.Metric{{Type: r.h.Metric(), Target: 60}}}
	before := *r.spec
	before.Deployments = []driver.Deployment{d}
	before.Deployments[0].Compute = r.spec.Deployments[0].Compute
	mustEndpoint(t, r.p, &before, false)
	r.h.Drift(t, r.spec.Key, "main", Drift{Replicas: 4})

	d.Model = r.two
	r.spec.Deployments[0].Scaling, r.shares = d.Scaling, nil
	fewest := map[string]int{}
	r.tick = func(state *driver.EndpointState) {
		for i := range state.Deployments {
			if now := &state.Deployments[i]; now.Phase == driver.Ready && len(state.Deployments) > 1 && r.underWay(state) {
				fewest[now.Model.Version] = min(now.Replicas, cmp.Or(fewest[now.Model.Version], now.Replicas))
			}
		}
	}
	r.succeeds(t)
	for version, n := range fewest {
		if n < 4 {
			t.Errorf("version %s had %d replicas in mid-rollout, and the autoscaler had come to 4", version, n)
		}
	}
	if got := r.h.Replicas(t, r.spec.Key, "main"); got != 4 {
		t.Errorf("%d replicas after the rollout: the 4 that the autoscaler had chosen were reset", got)
	}
}
