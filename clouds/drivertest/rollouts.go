// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package drivertest

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// looks is how often the suite looks at a stage, and calls is how many requests it sends
// each time.
const (
	looks = 10
	calls = 10
)

// theAlarm is the alarm of the suite.
const theAlarm = "fraud-alarm"

// Some are a part of the suite of rollouts. Empty fields are all.
type Some struct {
	Strategies []driver.Strategy
	Outcomes   []string
}

// RunRollouts holds a platform to what a rollout promises, for every strategy and
// everything that can come between, or some of it. newHarness makes an empty platform.
func RunRollouts(t *testing.T, newHarness func(t *testing.T) Watched, parts ...Some) {
	t.Helper()
	fork := forks(t, func(t *testing.T) Harness {
		t.Helper()
		h := newHarness(t)
		p := start(t, h, &Cutter{})
		one, _ := published(t, h, p)
		h.Alarm(t, theAlarm, false)
		mustEndpoint(t, p, endpointSpec(t, h, p, "fraud", pair(one)), true)
		return h
	})
	if len(parts) == 0 {
		parts = []Some{{}}
	}
	for _, part := range parts {
		for _, strategy := range driver.Strategies() {
			if len(part.Strategies) == 0 || slices.Contains(part.Strategies, strategy) {
				t.Run(string(strategy), func(t *testing.T) { runOutcomes(t, fork, strategy, part.Outcomes) })
			}
		}
	}
}

func runOutcomes(t *testing.T, fork func(t *testing.T) Harness, strategy driver.Strategy, names []string) {
	t.Helper()
	for _, o := range outcomes {
		if len(names) > 0 && !slices.Contains(names, o.name) {
			continue
		}
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			t.Log(o.reason)
			r := newTrial(t, watched(t, fork), strategy)
			defer r.count(t, o.calls)()
			o.run(t, r)
		})
	}
	for name, run := range map[string]func(*testing.T, func(*testing.T) Harness, driver.Strategy){
		"killed":    testKilled,    // a process that dies at any call of a rollout is continued by the next
		"abandoned": testAbandoned, // a rollout that was killed, and is not wanted any more, leaves nothing
	} {
		if len(names) > 0 && !slices.Contains(names, name) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, fork, strategy)
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

// customers are what becomes of those who call while a rollout goes on.
type customers int

const (
	keep customers = iota // no request is lost
	lose                  // the new version answers badly: its share of the requests may be lost
	none                  // nobody calls
)

var outcomes = []struct {
	name   string
	reason string
	calls  customers
	run    func(t *testing.T, r *trial)
}{
	{"success", "every stage is watched, and then the new version serves alone", keep, testSuccess},
	{"smoke failure", "what answers wrongly gets no request where it can be tested without", keep, testSmokeFailure},
	{"error rate", "what fails too often goes back from the stage it has come to", lose, testErrorRate},
	{"latency", "what is too slow goes back from the stage it has come to", keep, testLatency},
	{"never ready", "what does not start gets no request", keep, testNeverReady},
	{"platform rollback", "an alarm of the platform ends the rollout, and the apply says which", keep, testAlarm},
	{"interrupted", "an interrupted rollout goes on from where it was", keep, testInterrupted},
	{"foreign change", "traffic that somebody else moves meanwhile is not moved back behind their back", keep, testForeign},
	{"hold", "a rollout that fails and is held leaves the split, and goes on from there", lose, testHold},
	{"silence", "what nobody calls cannot be measured: it is watched once more, and goes on with a warning", none, testSilence},
	{"live capacity", "the new version has as many replicas as the old one had come to, as long as it may need them", keep, testLiveCapacity},
}

// trial is one rollout from version one to version two.
type trial struct {
	h        Watched
	p        *process
	spec     *driver.EndpointSpec
	one, two driver.VersionRef
	watcher  *process
	quiet    bool          // the suite sends no requests
	live     bool          // customers call
	interval time.Duration // how long each stage is watched: longer than the platform's metrics are late
	looked   time.Time
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
	if r.interval = 5 * r.p.Features().MetricsDelay; r.interval == 0 {
		r.interval = 2 * time.Minute
	}
	r.spec.Rollout = driver.Rollout{Strategy: strategy, Interval: r.interval, OnFailure: "rollback", Steps: r.steps(strategy)}
	h.Clock().Tick(func() { r.observe(t) })
	return r
}

// count has customers call the endpoint, if the platform has some, until the function
// that it returns, which says how many of their requests were lost.
func (r *trial) count(t *testing.T, who customers) func() {
	t.Helper()
	loaded, ok := r.h.(Loaded)
	if !ok || who == none {
		return func() {}
	}
	stop := loaded.Load(t, r.spec.Key)
	if stop == nil {
		return func() {}
	}
	r.live = true
	return func() {
		requests, lost := stop()
		t.Logf("counted: %s: %d requests, %d lost", t.Name(), requests, lost)
		if most := requests * r.first() / 100; requests == 0 || lost > most || (lost > 0 && who == keep) {
			t.Errorf("%d of %d requests were lost", lost, requests)
		}
	}
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
	now := r.h.Clock().Now()
	if now.Sub(r.looked) < r.interval/looks {
		return
	}
	r.looked = now
	if !r.quiet {
		r.h.Call(t, r.spec.Key, calls)
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
	for _, w := range r.warnings {
		t.Log("warned:", w)
	}
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

// The checks by metrics, as uses.
var (
	byErrors  = driver.Use{Path: "rollout.checks.max_error_rate"}
	byLatency = driver.Use{Path: "rollout.checks.max_latency_ms"}
)

// has reports whether the platform can do that.
func (r *trial) has(u driver.Use) bool { return r.p.Features().Gap(u) == nil }

// without skips where the platform has a declared gap for one of the uses.
func (r *trial) without(t *testing.T, uses ...driver.Use) {
	t.Helper()
	for _, u := range uses {
		if gap := r.p.Features().Gap(u); gap != nil {
			t.Skipf("capability gap: %s %s", r.p.Features().Platform, gap.Reason)
		}
	}
}
