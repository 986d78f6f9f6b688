// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"context"
	"slices"
	"strings"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// compared sets what is wanted against what was just observed.
func (r *endpointRun) compared() comparison {
	return comparison{spec: r.spec, seen: r.seen, carried: r.c.Features().Carried}
}

// plan picks the next step from what is wanted and what was just observed.
func (r *endpointRun) plan(ctx context.Context) (step, error) {
	d, f := r.c.driver, r.c.Features()
	spec, seen := r.spec, r.seen
	switch {
	case seen == nil:
		return step{name: "create", aim: "present", do: func(ctx context.Context) error { return d.CreateEndpoint(ctx, spec) }}, nil
	case seen.Phase == driver.Deleting:
		return step{name: "wait for the deletion of its predecessor", wait: true}, nil
	case seen.Phase == driver.Changing:
		return step{name: "wait until it is ready", wait: true}, nil
	case seen.Phase == driver.Failed && (seen.Repair == "" || (r.begun["deploy"] && r.failure == nil)):
		return r.planFailed()
	}
	if f.DeployWhole {
		if s, ok := r.planWhole(); ok {
			return s, nil
		}
		if r.smokeDue() {
			return r.smokeStep("smoke test"), nil
		}
	} else {
		if s, ok, err := r.planSeparate(ctx); ok || err != nil {
			return s, err
		}
	}
	r.rolled = true
	if s, ok := r.planUnproof(); ok {
		return s, nil
	}
	if !labelsEqual(spec.Labels, seen.Labels) || seen.Marks.Incomplete || seen.Marks.Untested {
		return step{name: "set labels", aim: strings.Join(differences("labels", seen.Labels, spec.Labels), ", "),
			do: func(ctx context.Context) error { return d.SetLabels(ctx, spec, seen) }}, nil
	}
	if len(seen.Leftovers) > 0 {
		return sweepStep(r.c, spec.Key, seen.Leftovers), nil
	}
	return step{done: true}, nil
}

// planFailed handles an endpoint that cannot serve. What this run has made is
// reported; what an earlier one left is removed and made again.
func (r *endpointRun) planFailed() (step, error) {
	seen := r.seen
	if r.begun["create"] || r.begun["deploy"] || r.begun["update settings"] {
		return step{}, mlerr.New(mlerr.Failed, "%s failed to come into service: %s", r.what, orUnsaid(seen.Reason))
	}
	if !seen.Marks.Owned {
		return step{}, mlerr.New(mlerr.Failed, "%s has failed and was not made by this provider: %s", r.what, orUnsaid(seen.Reason)).
			WithHint("Repair or delete it with the tool that made it, then apply again")
	}
	return deleteStep(r.c, "delete the failed endpoint", seen), nil
}

func orUnsaid(reason string) string {
	if reason == "" {
		return "the platform gives no reason"
	}
	return reason
}

// planWhole is for platforms that move the whole endpoint themselves.
func (r *endpointRun) planWhole() (step, bool) {
	d, spec, seen, compared := r.c.driver, r.spec, r.seen, r.compared()
	if aim := compared.whole(); len(aim) > 0 {
		if s, ok := r.planProof(); ok {
			return s, true
		}
		return step{name: "deploy", aim: strings.Join(aim, ", "), do: func(ctx context.Context) error {
			return d.Deploy(ctx, spec, seen, "", 0)
		}}, true
	}
	if shares, aim := compared.traffic(); len(aim) > 0 {
		return step{name: "set traffic", aim: strings.Join(aim, ", "), do: func(ctx context.Context) error {
			return d.SetTraffic(ctx, spec, seen, shares)
		}}, true
	}
	return r.planScaling(nil)
}

// planSeparate is for platforms where deployments come and go one by one: the
// new stands beside the old, takes its traffic, and then the old is removed.
func (r *endpointRun) planSeparate(ctx context.Context) (step, bool, error) {
	d, spec, seen, compared := r.c.driver, r.spec, r.seen, r.compared()
	if aim := compared.settings(); len(aim) > 0 {
		return step{name: "update settings", aim: strings.Join(aim, ", "), do: func(ctx context.Context) error {
			return d.UpdateSettings(ctx, spec, seen)
		}}, true, nil
	}
	if s, ok := r.planProof(); ok {
		return s, true, nil
	}
	for i := range spec.Deployments {
		if s, ok, err := r.planDeployment(&spec.Deployments[i]); ok || err != nil {
			return s, ok, err
		}
	}
	if s, ok := r.planScaling(compared.replacing()); ok {
		return s, true, nil
	}
	if r.smokeDue() {
		if shares, aim := compared.traffic(); len(aim) > 0 && !r.c.Features().TestBeforeTraffic && !serves(seen) {
			return r.trafficStep("set traffic", shares, aim)
		}
		return r.smokeStep("smoke test"), true, nil
	}
	if s, ok, err := r.planTraffic(ctx); ok || err != nil {
		return s, ok, err
	}
	for i := range seen.Deployments {
		now := &seen.Deployments[i]
		want := spec.Find(now.Name)
		if (!now.Owned && want == nil) || (want != nil && compared.match(want) == now) {
			continue
		}
		if now.Phase == driver.Deleting {
			return step{name: "wait until deployment " + now.ID + " is removed", wait: true}, true, nil
		}
		return undeployStep(r, now), true, nil
	}
	s, ok := r.planScaling(nil)
	return s, ok, nil
}

// serves reports whether anything has requests.
func serves(seen *driver.EndpointState) bool {
	return slices.ContainsFunc(seen.Deployments, func(d driver.DeploymentState) bool { return d.Traffic > 0 })
}

func (r *endpointRun) trafficStep(name string, shares []driver.Share, aim []string) (step, bool, error) {
	spec, seen := r.spec, r.seen
	if err := foreignTraffic(r.what, spec, seen); err != nil {
		return step{}, false, err
	}
	return step{name: name, aim: strings.Join(aim, ", "), do: func(ctx context.Context) error {
		if err := r.c.driver.SetTraffic(ctx, spec, seen, shares); err != nil {
			return err
		}
		r.moved = moved{shares: map[string]int{}}
		for _, s := range shares {
			r.moved.shares[s.ID] = s.Traffic
		}
		return nil
	}}, true, nil
}

// planDeployment brings one wanted deployment into being. ok is false when it is
// ready.
func (r *endpointRun) planDeployment(want *driver.Deployment) (s step, ok bool, err error) {
	compared := r.compared()
	now := compared.match(want)
	if now != nil {
		if err := r.away(now); err != nil {
			return step{}, false, err
		}
	}
	switch {
	case now == nil || now.Repair != "":
		replicas := max(want.Scaling.Min, liveReplicas(want.Name, r.seen))
		aim := compared.template(want, predecessor(want.Name, r.seen))
		if now != nil {
			aim = []string{now.Repair}
		}
		return step{name: "deploy", aim: want.Name + " " + strings.Join(aim, ", "), do: func(ctx context.Context) error {
			return r.c.driver.Deploy(ctx, r.atLeast(want.Name, replicas), r.seen, want.Name, replicas)
		}}, true, nil
	case now.Phase == driver.Failed && (r.begun["deploy"] || now.Traffic > 0):
		return step{}, false, mlerr.New(mlerr.Failed, "%s: deployment %s failed to come into service: %s", r.what, want.Name, orUnsaid(now.Reason))
	case now.Phase == driver.Failed:
		return undeployStep(r, now), true, nil
	case now.Phase != driver.Ready:
		return step{name: "wait until deployment " + want.Name + " is ready", wait: true}, true, nil
	}
	return step{}, false, nil
}

// atLeast is what is wanted, except that an autoscaled deployment keeps so many
// replicas: while it has few requests its autoscaler would take away what it needs
// when it has all. One that may be at zero stays so: that is another kind of deployment.
func (r *endpointRun) atLeast(name string, replicas int) *driver.EndpointSpec {
	want := r.spec.Find(name)
	if !want.Scaling.Automatic() || want.Scaling.Min == 0 || want.Scaling.Min >= replicas {
		return r.spec
	}
	spec := *r.spec
	spec.Deployments = slices.Clone(spec.Deployments)
	held := spec.Find(name)
	held.Scaling.Min, held.Scaling.Max = replicas, max(replicas, held.Scaling.Max)
	return &spec
}

func undeployStep(r *endpointRun, now *driver.DeploymentState) step {
	return step{name: "remove deployment " + now.ID, aim: "gone",
		do: func(ctx context.Context) error { return r.c.driver.Undeploy(ctx, r.spec.Key, now.ID) }}
}

// planScaling sets the bounds of what is ready, except of the names in later.
func (r *endpointRun) planScaling(later map[string]bool) (step, bool) {
	compared := r.compared()
	for i := range r.spec.Deployments {
		want := &r.spec.Deployments[i]
		now := compared.match(want)
		if now == nil || later[want.Name] {
			continue
		}
		if aim := differences("deployments."+want.Name+".scaling", now.Scaling, want.Scaling); len(aim) > 0 {
			return step{name: "scale " + want.Name, aim: strings.Join(aim, ", "), do: func(ctx context.Context) error {
				return r.c.driver.SetScaling(ctx, r.spec, r.seen, want.Name)
			}}, true
		}
	}
	return step{}, false
}
