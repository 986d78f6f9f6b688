// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package drivertest

import (
	"fmt"
	"testing"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// testKilled ends the process at every call of a rollout that succeeds, and behind
// every change of one that fails.
func testKilled(t *testing.T, fork func(t *testing.T) Harness, strategy driver.Strategy) {
	t.Helper()
	for _, fails := range []bool{false, true} {
		prepare := func(t *testing.T) *trial {
			t.Helper()
			r := newTrial(t, watched(t, fork), strategy)
			if r.has(byErrors) {
				r.spec.Rollout.Checks = driver.Checks{MaxErrorRate: 5}
			}
			if fails {
				r.h.Conduct(t, r.two, 50, 0)
			}
			return r
		}
		undisturbed := prepare(t)
		if fails && !undisturbed.has(byErrors) {
			return
		}
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
// what served before, or destroys the endpoint.
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
	at := sample(undisturbed.p, true)
	undisturbed.destroy(t)
	without := len(undisturbed.h.Objects(t))
	for _, call := range at {
		for ends, left := range map[string]int{"reverted": before, "destroyed": without} {
			t.Run(fmt.Sprintf("%s at call %d", ends, call), func(t *testing.T) {
				t.Parallel()
				r := prepare(t)
				cut := start(t, r.h, &Cutter{At: call, After: true})
				if _, err := r.apply(cut.ctx, t, cut); err != nil && !isCut(err) {
					t.Fatalf("cut at %v: the process failed by itself: %v", cut.Calls(), err)
				}
				if ends == "destroyed" {
					r.destroy(t)
				} else {
					r.spec.Deployments, r.spec.SmokeTest = []driver.Deployment{pair(r.one)}, smokeTest("1")
					r.spec.Deployments[0].Compute, _ = r.h.Compute()
					r.succeeds(t)
				}
				if now := r.h.Objects(t); len(now) != left {
					t.Fatalf("cut at %v: what is left is %v", cut.Calls(), now)
				}
			})
		}
	}
}

func (r *trial) destroy(t *testing.T) {
	t.Helper()
	p := start(t, r.h, &Cutter{})
	if err := p.DestroyEndpoint(p.ctx, r.spec.Key, clouds.How{Limit: limit}); err != nil {
		t.Fatalf("destroy: %v", err)
	}
}
