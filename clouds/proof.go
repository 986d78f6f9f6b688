// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"context"
	"maps"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// Where nothing can be called that has no requests, what is new is first deployed to an
// endpoint of its own, tested there, and the endpoint removed again. Before it is made
// the endpoint itself is marked as untested: whatever then happens to this run, the
// next plan says that something is unfinished, and the next apply removes the rest.

// proofSuffix makes the name of the endpoint of a smoke test.
const proofSuffix = "-smoke"

// proofLabel says on such an endpoint whose test it is for.
const proofLabel = "smoke-test-of"

// proves reports whether the platform needs an endpoint of its own for a smoke test.
func (c *Cloud) proves() (driver.Prover, bool) {
	p, ok := c.driver.(driver.Prover)
	return p, ok && !c.Features().TestBeforeTraffic
}

// proofKey is the endpoint for the smoke test of another.
func proofKey(key driver.Key) driver.Key {
	key.Name += proofSuffix
	return key
}

// unproved are the wanted deployments that nobody has called yet, while others serve.
func (r *endpointRun) unproved() []driver.Deployment {
	if _, ok := r.c.proves(); !ok || r.spec.SmokeTest == nil || r.tested || r.failure != nil || r.seen.Marks.Incomplete {
		return nil
	}
	if !serves(r.seen) {
		return nil // nobody is harmed by what is tested in its place
	}
	var fresh []driver.Deployment
	compared := r.compared()
	for i := range r.spec.Deployments {
		want := &r.spec.Deployments[i]
		if now := compared.match(want); now == nil || (now.Traffic == 0 && r.seen.Marks.Untested) {
			fresh = append(fresh, *want)
		}
	}
	return fresh
}

// planProof tests what is new on an endpoint of its own. ok is false when nothing is.
func (r *endpointRun) planProof() (step, bool) {
	fresh := r.unproved()
	if len(fresh) == 0 {
		return step{}, false
	}
	prover, _ := r.c.proves()
	if seen := r.seen; !seen.Marks.Untested {
		return step{name: "mark as untested", aim: "untested", do: func(ctx context.Context) error { return prover.MarkUntested(ctx, seen) }}, true
	}
	return step{name: "smoke test on an endpoint of its own", aim: "answers as expected", do: func(ctx context.Context) error {
		if err := r.prove(ctx, fresh); err != nil {
			return untestable(err, "the smoke test on the endpoint %s failed", proofKey(r.spec.Key).Name)
		}
		r.tested = true
		return nil
	}}, true
}

// prove makes the endpoint, tests it and removes it. What cannot be removed beside a
// failure is tried again when the run goes back.
func (r *endpointRun) prove(ctx context.Context, fresh []driver.Deployment) error {
	spec := proofSpec(r.spec, fresh)
	how := How{Limit: r.remaining(), Progress: r.how.Progress}
	run := r.c.endpointRun(spec, how)
	err := r.c.proofOnly(ctx, r.spec.Key)
	if err == nil {
		err = run.run(ctx, run.next, run.reason)
	}
	for i := range spec.Deployments {
		if err != nil {
			break
		}
		want := &spec.Deployments[i]
		err = mlerr.Annotate(r.smoke(ctx, spec.Key, run.compared().match(want).ID), "deployment %s", want.Name)
	}
	if ctx.Err() != nil {
		return err // the next apply goes on with it
	}
	r.progress("remove the endpoint " + spec.Key.Name)
	if failed := r.c.removeProof(ctx, r.spec.Key, how); err == nil {
		return failed
	}
	return err
}

// remaining is what is left of the run's limit.
func (r *endpointRun) remaining() (left time.Duration) {
	if r.how.Limit > 0 {
		left = max(time.Second, r.how.Limit-r.loop.Elapsed())
	}
	return left
}

// proofSpec is the endpoint of a smoke test: the same settings, one replica of each
// deployment, and nobody but us to call it.
func proofSpec(of *driver.EndpointSpec, fresh []driver.Deployment) *driver.EndpointSpec {
	spec := &driver.EndpointSpec{Key: proofKey(of.Key), Settings: of.Settings, Labels: map[string]string{},
		Rollout: driver.Rollout{Strategy: driver.AllAtOnce}}
	spec.Settings.Capture, spec.Settings.Auth.Invokers = nil, nil
	maps.Copy(spec.Labels, of.Labels)
	spec.Labels[proofLabel] = of.Key.Name
	for i, d := range fresh {
		d.Mirror, d.Scaling = 0, driver.Scaling{Min: 1, Max: 1}
		d.Traffic = full/len(fresh) + map[bool]int{true: full % len(fresh)}[i == 0]
		spec.Deployments = append(spec.Deployments, d)
	}
	return spec
}

// proofOf reports whether seen is there for the smoke test of another endpoint.
func proofOf(seen *driver.EndpointState, of driver.Key) bool {
	return seen.Phase == driver.Deleting || (seen.Marks.Owned && seen.Labels[proofLabel] == of.Name)
}

// proofOnly refuses an endpoint of that name that is not the rest of a smoke test.
func (c *Cloud) proofOnly(ctx context.Context, of driver.Key) error {
	seen, err := c.driver.ObserveEndpoint(ctx, proofKey(of), nil)
	if mlerr.Is(err, mlerr.NotFound) {
		return nil
	}
	if err == nil && !proofOf(seen, of) {
		return mlerr.New(mlerr.AlreadyExists, "the smoke test of endpoint %s needs the name %s, and an endpoint has it", of.Name, proofKey(of).Name).
			At("smoke_test").WithHint("Rename one of the two, or leave smoke_test out")
	}
	return err
}

// removeProof removes the endpoint of a smoke test. Absent is success, and so is what
// only has its name.
func (c *Cloud) removeProof(ctx context.Context, of driver.Key, how How) error {
	seen, err := c.driver.ObserveEndpoint(ctx, proofKey(of), nil)
	if err == nil && !proofOf(seen, of) {
		return nil
	}
	if err != nil && !mlerr.Is(err, mlerr.NotFound) {
		return mlerr.Annotate(err, "cannot look for the endpoint of the smoke test")
	}
	return c.destroyEndpoint(ctx, proofKey(of), how)
}

// planUnproof removes what an earlier run has left of a smoke test: an endpoint that
// was marked as untested may have one. ok is false when there is none.
func (r *endpointRun) planUnproof() (step, bool) {
	if _, proves := r.c.proves(); !proves || !r.seen.Marks.Untested || r.unproven {
		return step{}, false
	}
	return step{name: "remove the endpoint of the smoke test", aim: "gone", do: func(ctx context.Context) error {
		if err := r.c.removeProof(ctx, r.spec.Key, How{Limit: r.remaining(), Progress: r.how.Progress}); err != nil {
			return err
		}
		r.unproven = true
		return nil
	}}, true
}

// checkProof refuses what an endpoint for the smoke test could not be made of, such as
// a name that is then too long.
func (c *Cloud) checkProof(spec *driver.EndpointSpec) error {
	if _, proves := c.proves(); !proves || spec.SmokeTest == nil || len(spec.Deployments) == 0 {
		return nil
	}
	proof := proofSpec(spec, spec.Deployments)
	proof.Unknown = spec.Unknown
	if err := c.driver.PrepareEndpoint(proof); err != nil {
		return mlerr.New(mlerr.InvalidArgument, "the smoke test needs an endpoint %s for a while, which cannot be: %s", proof.Key.Name, err).
			At("smoke_test").WithHint("%s", mlerr.Hint(err))
	}
	return nil
}
