// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package drivertest

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// act is one thing that Terraform asks of the provider, as one process does it.
type act struct {
	name string
	// prepare brings the platform to where the act begins.
	prepare func(t *testing.T, h Harness, p *process)
	// run does the act; again is true when an earlier run was cut off.
	run func(t *testing.T, h Harness, p *process) error
	// changing is true for a long act, which is cut off only behind each call that
	// changes something: any other cut leaves what one of these leaves.
	changing bool
}

// testCutOff ends the process at every call of every act, before the call and
// after it, runs the act again in a new process, and compares what then exists
// with what an undisturbed run leaves.
func testCutOff(t *testing.T, newHarness func(t *testing.T) Harness) {
	for _, a := range acts() {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			prepare := func(t *testing.T) Harness {
				t.Helper()
				h := newHarness(t)
				a.prepare(t, h, start(t, h, &Cutter{}))
				return h
			}
			fork := forks(t, prepare)
			h := fork(t)
			undisturbed := start(t, h, &Cutter{})
			if err := a.run(t, h, undisturbed); err != nil {
				t.Fatalf("undisturbed: %v", err)
			}
			want, calls := h.Objects(t), undisturbed.Calls()
			cleanUp(t, h)
			cuts := sample(undisturbed, a.changing)
			for _, at := range cuts {
				for _, after := range []bool{false, true} {
					if a.changing && !after {
						continue
					}
					t.Run(fmt.Sprintf("call %d after=%v", at, after), func(t *testing.T) {
						t.Parallel()
						cutOnce(t, fork(t), a, at, after, want)
					})
				}
			}
			t.Logf("%s: cut off at %d of %d calls", a.name, len(cuts), len(calls))
		})
	}
}

// forks prepares a platform once and copies it, or, where it cannot be copied,
// prepares another each time.
func forks(t *testing.T, prepare func(t *testing.T) Harness) func(t *testing.T) Harness {
	t.Helper()
	prepared := prepare(t)
	var mu sync.Mutex
	first := prepared.Fork(t)
	forked := first != nil
	if !forked {
		first = prepared
	}
	return func(t *testing.T) Harness {
		t.Helper()
		mu.Lock()
		h := first
		first = nil
		mu.Unlock()
		switch {
		case h != nil:
			return h
		case forked:
			return prepared.Fork(t)
		}
		return prepare(t)
	}
}

// sample is every call of a process, or every one that changes something;
// ML_CRASH_SAMPLE=n takes every n-th, for quick runs.
func sample(p *process, changing bool) []int {
	every := 1
	if _, err := fmt.Sscan(os.Getenv("ML_CRASH_SAMPLE"), &every); err != nil || every < 1 {
		every = 1
	}
	var all, at []int
	for i, call := range p.Calls() {
		if !changing || p.Mutates(call) {
			all = append(all, i+1)
		}
	}
	for n := 0; n < len(all); n += every {
		at = append(at, all[n])
	}
	return at
}

// cutOnce also runs the act a third time: what the second has left must be
// complete, marks and notes included, which the names of things do not show.
func cutOnce(t *testing.T, h Harness, a act, at int, after bool, want []string) {
	t.Helper()
	cut := start(t, h, &Cutter{At: at, After: after})
	err := a.run(t, h, cut)
	where := fmt.Sprintf("cut at call %d (after=%v) of %v", at, after, cut.Calls())
	if err != nil && !isCut(err) {
		t.Fatalf("%s: the process failed by itself: %v", where, err)
	}
	next := start(t, h, &Cutter{})
	if err := a.run(t, h, next); err != nil {
		t.Fatalf("%s: the next run does not converge: %v", where, err)
	}
	if got := h.Objects(t); !slices.Equal(got, want) {
		t.Fatalf("%s: the next run leaves\n  %v\nwant\n  %v", where, got, want)
	}
	last := start(t, h, &Cutter{})
	if err := a.run(t, h, last); err != nil {
		t.Fatalf("%s: the third run fails: %v", where, err)
	}
	if made := last.Mutations(); len(made) > 0 {
		t.Fatalf("%s: the next run left to the third the calls %v", where, made)
	}
}

// cleanUp removes what the acts make.
func cleanUp(t *testing.T, h Harness) {
	t.Helper()
	p := start(t, h, &Cutter{})
	key := endpointSpec(t, h, p, "fraud").Key
	if err := p.DestroyEndpoint(p.ctx, key, clouds.How{Limit: limit}); err != nil {
		t.Fatalf("clean up: %v", err)
	}
	if err := p.DestroyModel(p.ctx, key, limit); err != nil {
		t.Fatalf("clean up: %v", err)
	}
	if left := h.Objects(t); len(left) > 0 {
		t.Fatalf("clean up left %v", left)
	}
}

func prepared(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("prepare: %v", err)
	}
}

func acts() []act {
	nothing := func(*testing.T, Harness, *process) {}
	version := func(t *testing.T, h Harness, p *process, content string, create bool) error {
		_, err := applyModel(t, p, modelSpec(t, h, p, "fraud", content), create)
		return err
	}
	serve := func(t *testing.T, h Harness, p *process, number string, s driver.Scaling, create bool) error {
		key, err := p.Key(p.Features().Platform, h.Location(), "fraud")
		if err != nil {
			t.Fatal(err)
		}
		// Versions are numbered from wherever the platform's registry stands.
		d := deployment("main", driver.VersionRef{Key: key, Version: number})
		d.Scaling = s
		spec := endpointSpec(t, h, p, "fraud", d)
		spec.Labels = map[string]string{"team": "risk"}
		_, err = applyEndpoint(t, p, spec, create)
		return err
	}
	auto := func(h Harness) driver.Scaling {
		return driver.Scaling{Min: 1, Max: 3, Metrics: []driver.Metric{{Type: h.Metric(), Target: 50}}}
	}
	two := func(t *testing.T, h Harness, p *process) {
		prepared(t, version(t, h, p, "one", true))
		prepared(t, version(t, h, p, "two", false))
	}
	serving := func(t *testing.T, h Harness, p *process) {
		two(t, h, p)
		prepared(t, serve(t, h, p, "1", auto(h), true))
	}
	return []act{
		{name: "create model", prepare: nothing, run: func(t *testing.T, h Harness, p *process) error { return version(t, h, p, "one", true) }},
		{name: "publish version", prepare: func(t *testing.T, h Harness, p *process) { prepared(t, version(t, h, p, "one", true)) },
			run: func(t *testing.T, h Harness, p *process) error { return version(t, h, p, "two", false) }},
		{name: "create endpoint", prepare: two, run: func(t *testing.T, h Harness, p *process) error { return serve(t, h, p, "1", auto(h), true) }},
		{name: "roll out", prepare: serving, run: func(t *testing.T, h Harness, p *process) error { return serve(t, h, p, "2", auto(h), false) }},
		{name: "scale", prepare: serving, run: func(t *testing.T, h Harness, p *process) error {
			return serve(t, h, p, "1", driver.Scaling{Min: 2, Max: 2}, false)
		}},
		{name: "change everything", changing: true, prepare: func(t *testing.T, h Harness, p *process) {
			t.Helper()
			two(t, h, p)
			prepared(t, together(t, h, p, false, true))
		}, run: func(t *testing.T, h Harness, p *process) error {
			t.Helper()
			return together(t, h, p, true, false)
		}},
		{name: "destroy endpoint", prepare: serving, run: func(_ *testing.T, h Harness, p *process) error {
			key, err := p.Key(p.Features().Platform, h.Location(), "fraud")
			if err != nil {
				return err
			}
			return p.DestroyEndpoint(p.ctx, key, clouds.How{Limit: limit})
		}},
		{name: "destroy model", prepare: two, run: func(_ *testing.T, h Harness, p *process) error {
			key, err := p.Key(p.Features().Platform, h.Location(), "fraud")
			if err != nil {
				return err
			}
			return p.DestroyModel(p.ctx, key, limit)
		}},
	}
}

// together is an endpoint of two deployments, or the same one after a change of
// all that can change at once: another version, machine, environment and share of
// an autoscaled one, one that goes with its traffic, and one that comes.
func together(t *testing.T, h Harness, p *process, changed, create bool) error {
	t.Helper()
	key, err := p.Key(p.Features().Platform, h.Location(), "fraud")
	if err != nil {
		return err
	}
	a := deployment("a", driver.VersionRef{Key: key, Version: "1"})
	b := a
	a.Scaling = driver.Scaling{Min: 1, Max: 3, Metrics: []driver.Metric{{Type: h.Metric(), Target: 50}}}
	a.Traffic, b.Name, b.Traffic, b.Env = 70, "b", 30, environment(p, map[string]string{"LOG": "1"})
	if changed {
		a.Model.Version, a.Traffic, a.Env = "2", 60, environment(p, map[string]string{"WORKERS": "2"})
		_, a.Compute = h.Compute()
		a.Scaling.Max = 5
		b.Name, b.Traffic = "c", 40
	}
	spec := endpointSpec(t, h, p, "fraud", a, b)
	spec.Labels = map[string]string{"changed": strconv.FormatBool(changed)}
	state, err := applyEndpoint(t, p, spec, create)
	if err == nil {
		serves(t, state, spec)
	}
	return err
}

// testCutOffBeforeSmokeTest ends the process behind every change of a rollout whose
// smoke test fails: whatever the next process then finds, it must not call it a
// success.
func testCutOffBeforeSmokeTest(t *testing.T, newHarness func(t *testing.T) Harness) {
	t.Helper()
	fork := forks(t, func(t *testing.T) Harness {
		t.Helper()
		h := newHarness(t)
		p := start(t, h, &Cutter{})
		one, _ := published(t, h, p)
		mustEndpoint(t, p, endpointSpec(t, h, p, "fraud", deployment("main", one)), true)
		return h
	})
	rollOut := func(t *testing.T, h Harness, p *process, expect string) (*driver.EndpointState, error) {
		t.Helper()
		key, err := p.Key(p.Features().Platform, h.Location(), "fraud")
		if err != nil {
			t.Fatal(err)
		}
		spec := endpointSpec(t, h, p, "fraud", deployment("main", driver.VersionRef{Key: key, Version: "2"}))
		spec.SmokeTest = &driver.SmokeTest{Attempts: 1, JSON: map[string]string{"$.version": `"` + expect + `"`},
			Request: driver.Request{Body: []byte(`{"inputs":[1]}`), ContentType: "application/json"}}
		return applyEndpoint(t, p, spec, false)
	}
	h := fork(t)
	undisturbed := start(t, h, &Cutter{})
	_, err := rollOut(t, h, undisturbed, "99")
	wantCode(t, err, mlerr.RolledBack, "the wrong version answers")
	for _, at := range sample(undisturbed, true) {
		t.Run(fmt.Sprintf("call %d", at), func(t *testing.T) {
			t.Parallel()
			h := fork(t)
			cut := start(t, h, &Cutter{At: at, After: true})
			if _, err := rollOut(t, h, cut, "99"); err == nil {
				t.Fatalf("cut at %v: success", cut.Calls())
			}
			state, err := rollOut(t, h, start(t, h, &Cutter{}), "99")
			if !mlerr.Is(err, mlerr.RolledBack, mlerr.Failed) {
				t.Fatalf("cut at %v: the next run ends with %v", cut.Calls(), err)
			}
			if mlerr.Is(err, mlerr.RolledBack) != (state.Deployments[0].Model.Version == "1") {
				t.Fatalf("cut at %v: %v, and version %s serves", cut.Calls(), err, state.Deployments[0].Model)
			}
			state, err = rollOut(t, h, start(t, h, &Cutter{}), "2")
			if err != nil || state.Marks.Untested || len(state.Leftovers) > 0 {
				t.Fatalf("cut at %v: a test that is right then gives %+v, %v", cut.Calls(), state, err)
			}
		})
	}
}
