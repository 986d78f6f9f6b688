// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"cmp"
	"context"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

func newModelResource() resource.Resource {
	return &modelResource{base{kind: driver.KindModel, schema: modelSchema()}}
}

type modelResource struct{ base }

var (
	_ resource.ResourceWithConfigure   = (*modelResource)(nil)
	_ resource.ResourceWithModifyPlan  = (*modelResource)(nil)
	_ resource.ResourceWithImportState = (*modelResource)(nil)
	_ resource.ResourceWithIdentity    = (*modelResource)(nil)
)

func (r *modelResource) Read(ctx context.Context, req resource.ReadRequest, resp *resource.ReadResponse) {
	refresh(ctx, &r.base, req, resp, (*clouds.Cloud).ObserveModel, r.refreshed)
}

// refreshed is what was observed, with the words of reference where it means the
// same.
func (r *modelResource) refreshed(cloud *clouds.Cloud, reference types.Object, seen *driver.ModelState) members {
	was := modelSpecOf(reference)
	was.Key = seen.Key
	own := ownLabels(seen.Labels, r.platforms.labels, was.Labels, mapOf(reference, "effective_labels"))
	_ = cloud.CheckModel(was)                                          // makes it canonical; what is wrong with it is not the matter here
	now := write(r.schema.Type(), seenModel(seen, own)).(types.Object) //nolint:forcetypeassert // a schema's type is an object
	is := modelSpecOf(now)
	is.Key = seen.Key
	m := copyOf(now)
	keepModel(m, reference.Attributes(), was, is)
	m.take(reference.Attributes(), "timeouts")
	if known := reference.Attributes()["retain_versions"]; !known.IsNull() && !known.IsUnknown() {
		m["retain_versions"] = known
	}
	return m
}

func (r *modelResource) Create(ctx context.Context, req resource.CreateRequest, resp *resource.CreateResponse) {
	plan := objectOf(r.schema, req.Plan.Raw)
	seen, done := r.apply(ctx, plan, clouds.How{Create: true, Limit: timeoutsOf(plan).Create}, "Cannot create the model", &resp.Diagnostics)
	if seen == nil {
		return
	}
	resp.State.Raw = rawOf(r.schema, r.applied(plan, plan, seen, done))
	identify(ctx, resp.Identity, seen.Key, &resp.Diagnostics)
	r.platforms.remember(ctx, resp.Private, seen, &resp.Diagnostics)
	if !done {
		keepWarning(&resp.Diagnostics, driver.KindModel)
	}
}

func (r *modelResource) Update(ctx context.Context, req resource.UpdateRequest, resp *resource.UpdateResponse) {
	plan, state := objectOf(r.schema, req.Plan.Raw), objectOf(r.schema, req.State.Raw)
	seen, done := r.apply(ctx, plan, clouds.How{Limit: timeoutsOf(plan).Update}, "Cannot update the model", &resp.Diagnostics)
	if seen == nil {
		return
	}
	resp.State.Raw = rawOf(r.schema, r.applied(plan, state, seen, done))
	identify(ctx, resp.Identity, seen.Key, &resp.Diagnostics)
	r.platforms.remember(ctx, resp.Private, seen, &resp.Diagnostics)
}

// apply makes the model what the plan says. It returns what then exists, nil if
// nothing does, and whether that is what was wanted.
func (r *modelResource) apply(ctx context.Context, plan types.Object, how clouds.How, doing string, diags *diag.Diagnostics) (*driver.ModelState, bool) {
	spec := modelSpecOf(plan)
	cloud, key, err := r.locate(plan, nil)
	if report(diags, doing, err) {
		return nil, false
	}
	spec.Key = key
	err = cloud.CheckModel(spec)
	if err == nil && spec.Artifact.Digest == "" { // not known when it was planned
		spec.Artifact.Digest, err = r.platforms.artifactDigest(ctx, cloud, spec.Artifact.URI, "")
	}
	spec.Original = r.platforms.original(spec.Artifact.URI)
	if report(diags, doing, err) {
		return nil, false
	}
	how.Limit = cmp.Or(how.Limit, clouds.DefaultModelLimit)
	seen, err := cloud.ApplyModel(ctx, spec, how)
	return seen, !report(diags, doing, err)
}

// applied is the new state: the plan, completed by what was observed, when the
// platform now is as planned; what was observed otherwise.
func (r *modelResource) applied(plan, before types.Object, seen *driver.ModelState, done bool) members {
	if !done {
		cloud, _ := r.platforms.cloud(seen.Key.Platform)
		return r.refreshed(cloud, before, seen)
	}
	own := mapOf(plan, "labels")
	now := write(r.schema.Type(), seenModel(seen, own)).(types.Object) //nolint:forcetypeassert // a schema's type is an object
	return settleAll(plan.Attributes(), now.Attributes())
}

func (r *modelResource) Delete(ctx context.Context, req resource.DeleteRequest, resp *resource.DeleteResponse) {
	const doing = "Cannot delete the model"
	state := objectOf(r.schema, req.State.Raw)
	cloud, key, err := r.open(state)
	if report(&resp.Diagnostics, doing, err) {
		return
	}
	limit := cmp.Or(timeoutsOf(state).Delete, clouds.DefaultModelLimit)
	report(&resp.Diagnostics, doing, cloud.DestroyModel(ctx, key, limit))
}

// keepWarning tells what Terraform is about to do with a half-made thing.
func keepWarning(diags *diag.Diagnostics, kind driver.Kind) {
	diags.AddWarning("The "+string(kind)+" exists and is marked as tainted",
		"Its creation did not finish; what exists is in the state. The next apply will delete it and make it anew. "+
			"To continue with what exists instead: terraform untaint ml_"+string(kind)+".<name>, then apply again.")
}
