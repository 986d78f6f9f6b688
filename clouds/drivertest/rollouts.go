// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package drivertest

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// interval is how long each stage of the suite's rollouts is watched: longer than any
// platform's metrics are late.
const interval = 10 * time.Minute

// theAlarm is the alarm of the suite.
const theAlarm = "fraud-alarm"

// RunRollouts holds a platform to what a rollout promises, for every strategy and
// everything that can come between. newHarness makes an empty platform.
func RunRollouts(t *testing.T, newHarness func(t *testing.T) Watched) {
	fork := forks(t, func(t *testing.T) Harness {
		t.Helper()
		h := newHarness(t)
		p := start(t, h, &Cutter{})
		one, _ := published(t, h, p)
		h.Alarm(t, theAlarm, false)
		mustEndpoint(t, p, endpointSpec(t, h, p, "fraud", pair(one)), true)
		return h
	})
	for _, strategy := range driver.Strategies() {
		t.Run(string(strategy), func(t *testing.T) {
			for _, o := range outcomes {
				t.Run(o.name, func(t *testing.T) {
					t.Parallel()
					t.Log(o.reason)
					o.run(t, newTrial(t, watched(t, fork), strategy))
				})
			}
			t.Run("killed", func(t *testing.T) {
				t.Parallel()
				t.Log("a process that dies at any call of a rollout is continued by the next")
				testKilled(t, fork, strategy)
			})
			t.Run("abandoned", func(t *testing.T) {
				t.Parallel()
				t.Log("a rollout that was killed, and is not wanted any more, leaves nothing")
				testAbandoned(t, fork, strategy)
			})
		})
	}
}

// watched is the next copy of the platform.
func watched(t *testing.T, fork func(t *testing.T) Harness) Watched {
	t.Helper()
	w, ok := fork(t).(Watched)
	if !ok {
		t.Fatal("the platform is not watched once it is copied")
	}
	return w
}

// pair is a deployment of two replicas, which is what some platforms need to move
// requests stepwise.
func pair(ref driver.VersionRef) driver.Deployment {
	d := deployment("main", ref)
	d.Scaling = driver.Scaling{Min: 2, Max: 2}
	return d
}

var outcomes = []struct {
	name   string
	reason string
	run    func(t *testing.T, r *trial)
}{
	{"success", "every stage is watched, and then the new version serves alone", testSuccess},
	{"smoke failure", "what answers wrongly gets no request where it can be tested without", testSmokeFailure},
	{"error rate", "what fails too often goes back from the stage it has come to", testErrorRate},
	{"latency", "what is too slow goes back from the stage it has come to", testLatency},
	{"never ready", "what does not start gets no request", testNeverReady},
	{"platform rollback", "an alarm of the platform ends the rollout, and the apply says which", testAlarm},
	{"cancelled", "an interrupted rollout goes on from where it was", testCancelled},
	{"foreign change", "traffic that somebody else moves meanwhile is not moved back behind their back", testForeign},
	{"hold", "a rollout that fails and is held leaves the split, and goes on from there", testHold},
	{"silence", "what nobody calls cannot be measured: it is watched once more, and goes on with a warning", testSilence},
	{"live capacity", "the new version has as many replicas as the old one had come to, as long as it may need them", testLiveCapacity},
}

// trial is one rollout from version one to version two.
type trial struct {
	h        Watched
	p        *process
	spec     *driver.EndpointSpec
	one, two driver.VersionRef
	watcher  *process
	quiet    bool
	shares   []int // of version two, whenever time passed
	tick     func(state *driver.EndpointState)
	warnings []string
}

func newTrial(t *testing.T, h Watched, strategy driver.Strategy) *trial {
	t.Helper()
	r := &trial{h: h, p: start(t, h, &Cutter{}), watcher: start(t, h, &Cutter{})}
	key, err := r.p.Key(r.p.Features().Platform, h.Location(), "fraud")
	if err != nil {
		t.Fatal(err)
	}
	r.one, r.two = driver.VersionRef{Key: key, Version: "1"}, driver.VersionRef{Key: key, Version: "2"}
	r.spec = endpointSpec(t, h, r.p, "fraud", pair(r.two))
	r.spec.Rollout = driver.Rollout{Strategy: strategy, Interval: interval, OnFailure: "rollback", Steps: r.steps(strategy)}
	if strategy == driver.AllAtOnce {
		r.spec.Rollout.Interval = interval
	}
	h.Clock().Tick(func() { r.observe(t) })
	return r
}

// steps are those that the platform takes: one that moves the endpoint itself has one
// step before all.
func (r *trial) steps(strategy driver.Strategy) []int {
	switch {
	case strategy == driver.Canary && r.p.Features().DeployWhole:
		return []int{20}
	case strategy == driver.Canary:
		return []int{10, 50}
	case strategy == driver.Linear:
		return []int{50}
	}
	return nil
}

// first is the share that the new version has at the first stage.
func (r *trial) first() int {
	if steps := r.spec.Rollout.Steps; len(steps) > 0 {
		return steps[0]
	}
	return 100
}

// observe sends some requests, and looks at what they meet.
func (r *trial) observe(t *testing.T) {
	t.Helper()
	if !r.quiet {
		r.h.Call(t, r.spec.Key, 10)
	}
	state, err := r.watcher.ObserveEndpoint(r.watcher.ctx, r.spec.Key, nil)
	if err != nil {
		return // the platform may be asked again
	}
	r.shares = append(r.shares, r.shareOfTwo(state))
	if r.tick != nil {
		r.tick(state)
	}
}

// shareOfTwo is the part of the requests that the new version has.
func (r *trial) shareOfTwo(state *driver.EndpointState) int {
	share := 0
	for i := range state.Deployments {
		if state.Deployments[i].Model == r.two {
			share += state.Deployments[i].Traffic
		}
	}
	return share
}

// most is the largest share that the new version has had.
func (r *trial) most() int {
	if len(r.shares) == 0 {
		return 0
	}
	return slices.Max(r.shares)
}

func (r *trial) apply(ctx context.Context, t *testing.T, p *process) (*driver.EndpointState, error) {
	t.Helper()
	if err := p.CheckEndpoint(r.spec); err != nil {
		t.Fatalf("the specification was refused: %v (%s)", err, mlerr.Hint(err))
	}
	return p.ApplyEndpoint(ctx, r.spec, clouds.How{Limit: 24 * time.Hour, Warn: func(s string) { r.warnings = append(r.warnings, s) }})
}

// succeeds applies, and version two then serves alone.
func (r *trial) succeeds(t *testing.T) {
	t.Helper()
	state, err := r.apply(r.p.ctx, t, start(t, r.h, &Cutter{}))
	if err != nil {
		t.Fatalf("apply: %v (%s)", err, mlerr.Hint(err))
	}
	serves(t, state, r.spec)
}

// goesBack applies, which fails with all those words, and version one then serves alone.
func (r *trial) goesBack(t *testing.T, words ...string) {
	t.Helper()
	state, err := r.apply(r.p.ctx, t, r.p)
	wantCode(t, err, mlerr.RolledBack, "a rollout that went wrong")
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error does not say %q: %v", w, err)
		}
	}
	before := *r.spec
	before.Deployments = []driver.Deployment{pair(r.one)}
	serves(t, state, &before)
}

// without skips where the platform has a declared gap for one of the uses.
func (r *trial) without(t *testing.T, uses ...driver.Use) {
	t.Helper()
	for _, u := range uses {
		if gap := r.p.Features().Gap(u); gap != nil {
			t.Skipf("capability gap: %s %s", r.p.Features().Platform, gap.Reason)
		}
	}
}

func testSuccess(t *testing.T, r *trial) {
	r.spec.SmokeTest = smokeTest("2")
	r.spec.Rollout.Checks = driver.Checks{SmokeTest: true, MaxErrorRate: 5, MaxLatencyMS: 500}
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
	if stages := r.stages(); !r.p.Features().DeployWhole && !slices.Equal(stages, r.expected()) {
		t.Errorf("the new version had the shares %v while it was watched, want %v", stages, r.expected())
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
	r.spec.Rollout.Checks = driver.Checks{MaxErrorRate: 5}
	r.h.Conduct(t, r.two, 50, 0)
	began := r.h.Clock().Now()
	r.goesBack(t)
	r.stoppedAtFirst(t)
	if took := r.h.Clock().Now().Sub(began); r.first() == 100 && !r.p.Features().DeployWhole && took >= interval {
		t.Errorf("it took %s, and half of all requests failed", took)
	}
}

func testLatency(t *testing.T, r *trial) {
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
	_, err := p.Preflight(p.ctx, r.spec, nil)
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

func testCancelled(t *testing.T, r *trial) {
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
	r.without(t, driver.Use{Path: "rollout.on_failure", Value: "hold"})
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
	if err := r.h.Clock().Sleep(r.p.ctx, interval); err != nil { // an hour later, say
		t.Fatal(err)
	}
	r.shares = nil
	r.succeeds(t)
	if slices.Min(r.shares) < r.first() {
		t.Errorf("it went on with %v, and was held at %d", r.stages(), r.first())
	}
}

func testSilence(t *testing.T, r *trial) {
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
			if now := &state.Deployments[i]; len(state.Deployments) > 1 && r.underWay(state) {
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

// testKilled ends the process at every call of a rollout that succeeds, and behind
// every change of one that fails.
func testKilled(t *testing.T, fork func(t *testing.T) Harness, strategy driver.Strategy) {
	t.Helper()
	for _, fails := range []bool{false, true} {
		prepare := func(t *testing.T) *trial {
			t.Helper()
			r := newTrial(t, watched(t, fork), strategy)
			r.spec.Rollout.Checks = driver.Checks{MaxErrorRate: 5}
			if fails {
				r.h.Conduct(t, r.two, 50, 0)
			}
			return r
		}
		undisturbed := prepare(t)
		if _, err := undisturbed.apply(undisturbed.p.ctx, t, undisturbed.p); mlerr.Is(err, mlerr.RolledBack) != fails {
			t.Fatalf("undisturbed: %v", err)
		}
		for _, at := range sample(undisturbed.p, true) {
			t.Run(fmt.Sprintf("fails %v at call %d", fails, at), func(t *testing.T) {
				t.Parallel()
				r := prepare(t)
				cut := start(t, r.h, &Cutter{At: at, After: true})
				if _, err := r.apply(cut.ctx, t, cut); err != nil && !isCut(err) && !mlerr.Is(err, mlerr.RolledBack) {
					t.Fatalf("cut at %v: the process failed by itself: %v", cut.Calls(), err)
				}
				if !fails {
					r.succeeds(t)
					return
				}
				r.endsWell(t, cut)
			})
		}
	}
}

// endsWell applies, which fails and goes back to version one, mends version two, and
// then it serves.
func (r *trial) endsWell(t *testing.T, cut *process) {
	t.Helper()
	state, err := r.apply(r.p.ctx, t, r.p)
	if err == nil {
		t.Fatalf("cut at %v: the next run calls it a success: %+v", cut.Calls(), state.Deployments)
	}
	if !r.p.Features().DeployWhole && (!mlerr.Is(err, mlerr.RolledBack) || len(state.Deployments) != 1 || state.Deployments[0].Model != r.one) {
		t.Fatalf("cut at %v: the next run ends with %v, and %+v serves", cut.Calls(), err, state.Deployments)
	}
	r.h.Conduct(t, r.two, 0, 0)
	r.succeeds(t)
}

// testAbandoned ends the process behind every change of a rollout, and then applies
// what served before.
func testAbandoned(t *testing.T, fork func(t *testing.T) Harness, strategy driver.Strategy) {
	t.Helper()
	prepare := func(t *testing.T) *trial {
		t.Helper()
		r := newTrial(t, watched(t, fork), strategy)
		r.spec.SmokeTest, r.quiet = smokeTest("2"), true
		return r
	}
	undisturbed := prepare(t)
	before := len(undisturbed.h.Objects(t))
	if _, err := undisturbed.apply(undisturbed.p.ctx, t, undisturbed.p); err != nil {
		t.Fatalf("undisturbed: %v", err)
	}
	for _, at := range sample(undisturbed.p, true) {
		t.Run(fmt.Sprintf("call %d", at), func(t *testing.T) {
			t.Parallel()
			r := prepare(t)
			cut := start(t, r.h, &Cutter{At: at, After: true})
			if _, err := r.apply(cut.ctx, t, cut); err != nil && !isCut(err) {
				t.Fatalf("cut at %v: the process failed by itself: %v", cut.Calls(), err)
			}
			r.spec.Deployments, r.spec.SmokeTest = []driver.Deployment{pair(r.one)}, smokeTest("1")
			r.spec.Deployments[0].Compute, _ = r.h.Compute()
			r.succeeds(t)
			if now := r.h.Objects(t); len(now) != before {
				t.Fatalf("cut at %v: what is left is %v", cut.Calls(), now)
			}
		})
	}
}
