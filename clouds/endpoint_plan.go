// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"context"
	"fmt"
	"sort"
	"strings"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// plan picks the next step from what is wanted and what was just observed.
func (r *endpointRun) plan() (step, error) {
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
			return r.smokeStep(), nil
		}
	} else {
		if s, ok, err := r.planSeparate(); ok || err != nil {
			return s, err
		}
	}
	r.rolled = true
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
	return step{name: "delete the failed endpoint", aim: "gone",
		do: func(ctx context.Context) error { return r.c.driver.DeleteEndpoint(ctx, seen) }}, nil
}

func orUnsaid(reason string) string {
	if reason == "" {
		return "the platform gives no reason"
	}
	return reason
}

// planWhole is for platforms that move the whole endpoint themselves.
func (r *endpointRun) planWhole() (step, bool) {
	d, spec, seen := r.c.driver, r.spec, r.seen
	if aim := wholeDifferences(spec, seen); len(aim) > 0 {
		return step{name: "deploy", aim: strings.Join(aim, ", "), do: func(ctx context.Context) error {
			return d.Deploy(ctx, spec, seen, "", 0)
		}}, true
	}
	if shares, aim := trafficChange(spec, seen); len(aim) > 0 {
		return step{name: "set traffic", aim: strings.Join(aim, ", "), do: func(ctx context.Context) error {
			return d.SetTraffic(ctx, spec, seen, shares)
		}}, true
	}
	return r.planScaling()
}

// planSeparate is for platforms where deployments come and go one by one: the
// new stands beside the old, takes its traffic, and then the old is removed.
func (r *endpointRun) planSeparate() (step, bool, error) {
	d, spec, seen := r.c.driver, r.spec, r.seen
	if aim := differences("", seen.Settings, spec.Settings); len(aim) > 0 {
		return step{name: "update settings", aim: strings.Join(aim, ", "), do: func(ctx context.Context) error {
			return d.UpdateSettings(ctx, spec, seen)
		}}, true, nil
	}
	for i := range spec.Deployments {
		want := &spec.Deployments[i]
		now := match(want, seen)
		switch {
		case now == nil:
			replicas := max(want.Scaling.Min, liveReplicas(want.Name, seen))
			return step{name: "deploy", aim: want.Name + " " + strings.Join(templateDifferences(want, predecessor(want.Name, seen)), ", "),
				do: func(ctx context.Context) error { return d.Deploy(ctx, spec, seen, want.Name, replicas) }}, true, nil
		case now.Phase == driver.Failed && r.begun["deploy"]:
			return step{}, false, mlerr.New(mlerr.Failed, "%s: deployment %s failed to come into service: %s", r.what, want.Name, orUnsaid(now.Reason))
		case now.Phase == driver.Failed:
			return undeployStep(r, now), true, nil
		case now.Phase != driver.Ready:
			return step{name: "wait until deployment " + want.Name + " is ready", wait: true}, true, nil
		}
	}
	if s, ok := r.planScaling(); ok {
		return s, true, nil
	}
	if r.smokeDue() {
		return r.smokeStep(), true, nil
	}
	if shares, aim := trafficChange(spec, seen); len(aim) > 0 {
		if err := foreignTraffic(r.what, spec, seen); err != nil {
			return step{}, false, err
		}
		return step{name: "set traffic", aim: strings.Join(aim, ", "), do: func(ctx context.Context) error {
			return d.SetTraffic(ctx, spec, seen, shares)
		}}, true, nil
	}
	for i := range seen.Deployments {
		now := &seen.Deployments[i]
		want := wanted(now.Name, spec)
		if (now.Owned || want != nil) && (want == nil || match(want, seen) != now) {
			return undeployStep(r, now), true, nil
		}
	}
	return step{}, false, nil
}

func undeployStep(r *endpointRun, now *driver.DeploymentState) step {
	return step{name: "remove deployment " + now.ID, aim: "gone",
		do: func(ctx context.Context) error { return r.c.driver.Undeploy(ctx, r.spec.Key, now.ID) }}
}

func (r *endpointRun) planScaling() (step, bool) {
	for i := range r.spec.Deployments {
		want := &r.spec.Deployments[i]
		now := match(want, r.seen)
		if now == nil {
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

// wholeDifferences is what only a transition of the whole endpoint can mend.
func wholeDifferences(spec *driver.EndpointSpec, seen *driver.EndpointState) []string {
	all := differences("", seen.Settings, spec.Settings)
	if seen.Repair != "" {
		all = append(all, seen.Repair)
	}
	for i := range spec.Deployments {
		want := &spec.Deployments[i]
		now := predecessor(want.Name, seen)
		all = append(all, templateDifferences(want, now)...)
		if now != nil && now.Mirror != want.Mirror {
			all = append(all, fmt.Sprintf("deployments.%s.mirror: %d -> %d", want.Name, now.Mirror, want.Mirror))
		}
	}
	for i := range seen.Deployments {
		if wanted(seen.Deployments[i].Name, spec) == nil {
			all = append(all, "deployments."+seen.Deployments[i].Name+": removed")
		}
	}
	return all
}

// endpointDifferences is everything that distinguishes seen from spec.
func endpointDifferences(spec *driver.EndpointSpec, seen *driver.EndpointState) []string {
	all := wholeDifferences(spec, seen)
	_, traffic := trafficChange(spec, seen)
	all = append(all, traffic...)
	for i := range spec.Deployments {
		want := &spec.Deployments[i]
		if now := match(want, seen); now != nil {
			all = append(all, differences("deployments."+want.Name+".scaling", now.Scaling, want.Scaling)...)
		}
	}
	if !labelsEqual(spec.Labels, seen.Labels) {
		all = append(all, differences("labels", seen.Labels, spec.Labels)...)
	}
	return all
}

// template is the part of a deployment that cannot change while it runs.
type template struct {
	Model   string            `json:"model"`
	Compute driver.Compute    `json:"compute"`
	Env     map[string]string `json:"env,omitempty"`
}

func templateOf(d *driver.Deployment) template {
	return template{d.Model.String(), d.Compute.Resolved(), d.Env}
}

func templateDifferences(want *driver.Deployment, now *driver.DeploymentState) []string {
	path := "deployments." + want.Name
	if now == nil {
		return []string{path + ": added"}
	}
	return differences(path, templateOf(&now.Deployment), templateOf(want))
}

// match finds the deployment that already is what is wanted.
func match(want *driver.Deployment, seen *driver.EndpointState) *driver.DeploymentState {
	for i := range seen.Deployments {
		if now := &seen.Deployments[i]; now.Name == want.Name && len(templateDifferences(want, now)) == 0 {
			return now
		}
	}
	return nil
}

// predecessor finds the deployment of that name with the most traffic.
func predecessor(name string, seen *driver.EndpointState) *driver.DeploymentState {
	var best *driver.DeploymentState
	for i := range seen.Deployments {
		if now := &seen.Deployments[i]; now.Name == name && (best == nil || now.Traffic > best.Traffic) {
			best = now
		}
	}
	return best
}

func wanted(name string, spec *driver.EndpointSpec) *driver.Deployment {
	for i := range spec.Deployments {
		if spec.Deployments[i].Name == name {
			return &spec.Deployments[i]
		}
	}
	return nil
}

func liveReplicas(name string, seen *driver.EndpointState) int {
	most := 0
	for i := range seen.Deployments {
		if now := &seen.Deployments[i]; now.Name == name {
			most = max(most, now.Replicas)
		}
	}
	return most
}

// trafficChange lists the shares of all deployments that we may touch, if any of
// them has to change.
func trafficChange(spec *driver.EndpointSpec, seen *driver.EndpointState) (shares []driver.Share, aim []string) {
	for i := range seen.Deployments {
		now := &seen.Deployments[i]
		share := driver.Share{ID: now.ID, Name: now.Name}
		want := wanted(now.Name, spec)
		switch {
		case want != nil && match(want, seen) == now:
			share.Traffic, share.Mirror = want.Traffic, want.Mirror
		case want == nil && !now.Owned:
			continue
		}
		shares = append(shares, share)
		if now.Traffic != share.Traffic || now.Mirror != share.Mirror {
			aim = append(aim, fmt.Sprintf("deployments.%s.traffic of %s: %d -> %d", now.Name, now.ID, now.Traffic, share.Traffic))
		}
	}
	sort.Strings(aim)
	return shares, aim
}

// foreignTraffic refuses to share out requests that deployments which are not
// ours receive, and which are not ours to take away.
func foreignTraffic(what string, spec *driver.EndpointSpec, seen *driver.EndpointState) error {
	for i := range seen.Deployments {
		if now := &seen.Deployments[i]; !now.Owned && wanted(now.Name, spec) == nil && now.Traffic > 0 {
			return mlerr.New(mlerr.InUse, "%s sends %d percent of its requests to deployment %s, which is not ours", what, now.Traffic, now.Name).
				At("deployments").WithHint("Add deployments.%s to the configuration, or take its traffic away with the tool that made it", now.Name)
		}
	}
	return nil
}

func labelsEqual(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}
