// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

func newEndpointResource() resource.Resource {
	return &endpointResource{base{kind: driver.KindEndpoint, schema: endpointSchema()}}
}

type endpointResource struct{ base }

var (
	_ resource.ResourceWithConfigure   = (*endpointResource)(nil)
	_ resource.ResourceWithModifyPlan  = (*endpointResource)(nil)
	_ resource.ResourceWithImportState = (*endpointResource)(nil)
	_ resource.ResourceWithIdentity    = (*endpointResource)(nil)
)

func (r *endpointResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	refresh(ctx, &r.base, req, resp, (*clouds.Cloud).ObserveEndpoint, r.refreshed)
}

// refreshed is what was observed, with the words of reference where it means the
// same, and with what cannot be observed from there.
func (r *endpointResource) refreshed(cloud *clouds.Cloud, reference types.Object, seen *driver.EndpointState) members {
	was, _ := endpointSpecOf(reference)
	was.Key = seen.Key
	own := ownLabels(seen.Labels, r.platforms.labels, was.Labels, mapOf(reference, "effective_labels"))
	_ = cloud.CheckEndpoint(was) // makes it canonical; what is wrong with it is not the matter here
	imported := reference.Attributes()["deployments"].IsNull()
	m := endpointMembers(r.schema.Type(), seenEndpoint(seen, own, func(d *driver.DeploymentState) bool {
		return imported || d.Owned || cloud.Features().DeployWhole || was.Find(d.Name) != nil
	}))
	is := &driver.EndpointSpec{Key: seen.Key, Settings: seen.Settings}
	for i := range seen.Deployments {
		is.Deployments = append(is.Deployments, seen.Deployments[i].Deployment)
	}
	m.take(reference.Attributes(), "rollout", "smoke_test", "timeouts")
	is.Rollout, is.SmokeTest = was.Rollout, was.SmokeTest
	keepEndpoint(m, reference.Attributes(), was, is)
	return m
}

func (r *endpointResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	plan := objectOf(r.schema, req.Plan.Raw)
	how := clouds.How{Create: true, Limit: cmp.Or(timeoutsOf(plan).Create, clouds.DefaultLimits.Create)}
	seen, done := r.apply(ctx, plan, how, "Cannot create the endpoint", &resp.Diagnostics)
	if seen == nil {
		return
	}
	resp.State.Raw = rawOf(r.schema, r.applied(plan, plan, seen, done))
	identify(ctx, resp.Identity, seen.Key, &resp.Diagnostics)
	r.platforms.remember(ctx, resp.Private, seen, &resp.Diagnostics)
	if !done {
		keepWarning(&resp.Diagnostics, driver.KindEndpoint)
	}
}

func (r *endpointResource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	plan, state := objectOf(r.schema, req.Plan.Raw), objectOf(r.schema, req.State.Raw)
	how := clouds.How{Limit: timeoutsOf(plan).Update}
	seen, done := r.apply(ctx, plan, how, "Cannot update the endpoint", &resp.Diagnostics)
	if seen == nil {
		return
	}
	resp.State.Raw = rawOf(r.schema, r.applied(plan, state, seen, done))
	identify(ctx, resp.Identity, seen.Key, &resp.Diagnostics)
	r.platforms.remember(ctx, resp.Private, seen, &resp.Diagnostics)
}

// apply makes the endpoint what the plan says. It returns what then exists, nil
// if nothing does, and whether that is what was wanted.
func (r *endpointResource) apply(ctx context.Context, plan types.Object, how clouds.How, doing string, diags *diag.Diagnostics) (*driver.EndpointState, bool) {
	spec, err := endpointSpecOf(plan)
	if report(diags, doing, err) {
		return nil, false
	}
	cloud, key, err := r.locate(plan, nil)
	if report(diags, doing, err) {
		return nil, false
	}
	spec.Key = key
	if report(diags, doing, cloud.CheckEndpoint(spec)) {
		return nil, false
	}
	if how.Limit == 0 {
		how.Limit = clouds.DefaultLimits.Update + cloud.RolloutTime(&spec.Rollout)
	}
	var story story
	how.Progress, how.Warn = story.add, func(sentence string) { diags.AddWarning("The rollout could not be judged", sentence) }
	seen, err := cloud.ApplyEndpoint(ctx, spec, how)
	if err != nil && len(story.steps) > 1 {
		diags.AddWarning("What was done before it failed", story.String())
	}
	return seen, !report(diags, doing, err)
}

// story is what a change has done, step by step.
type story struct {
	began time.Time
	steps []string
}

func (s *story) add(step string) {
	if s.began.IsZero() {
		s.began = time.Now()
	}
	s.steps = append(s.steps, fmt.Sprintf("%8s  %s", time.Since(s.began).Round(time.Second), step))
}

func (s *story) String() string { return strings.Join(s.steps, "\n") }

// applied is the new state: the plan, completed by what was observed, when the
// platform now is as planned; what was observed otherwise.
func (r *endpointResource) applied(plan, before types.Object, seen *driver.EndpointState, done bool) members {
	if !done {
		cloud, _ := r.platforms.cloud(seen.Key.Platform)
		return r.refreshed(cloud, before, seen)
	}
	all := func(*driver.DeploymentState) bool { return true }
	return settleAll(plan.Attributes(), endpointMembers(r.schema.Type(), seenEndpoint(seen, mapOf(plan, "labels"), all)))
}

func (r *endpointResource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	const doing = "Cannot delete the endpoint"
	state := objectOf(r.schema, req.State.Raw)
	cloud, key, err := r.open(state)
	if report(&resp.Diagnostics, doing, err) {
		return
	}
	limit := cmp.Or(timeoutsOf(state).Delete, clouds.DefaultLimits.Delete)
	report(&resp.Diagnostics, doing, cloud.DestroyEndpoint(ctx, key, clouds.How{Limit: limit}))
}
