// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// What only a platform can say of a model.
var modelFacts = []string{"version", "version_id", "previous_version_id", "artifact_uri", "versions"}

// ModifyPlan refuses what cannot work, shows what the defaults come to, and keeps
// known whatever this change does not decide anew.
func (r *modelResource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	begun, ok := begin[driver.ModelState](ctx, &r.base, req, resp)
	if !ok {
		return
	}
	p := &modelPlan{planning: begun}
	if report(&resp.Diagnostics, p.doing, r.prepare(ctx, p)) {
		return
	}
	for _, dotted := range p.replaces() {
		resp.RequiresReplace = append(resp.RequiresReplace, attributePath(dotted))
	}
	if p.known != nil && p.known.Unfinished != "" {
		resp.Diagnostics.AddWarning("The model is not finished and will be", sentence(p.known.Unfinished))
	}
	m := r.planned(p)
	if v := m["version"].(types.String); !v.IsUnknown() && !p.unknown("approval") { //nolint:forcetypeassert // as the schema says
		r.platforms.planApproval(driver.VersionRef{Key: p.spec.Key, Version: v.ValueString()}, p.spec.Approval)
	}
	resp.Plan.Raw = rawOf(r.schema, m)
}

// modelPlan is one plan of one model.
type modelPlan struct {
	planning[driver.ModelState]

	cloud *clouds.Cloud
	spec  *driver.ModelSpec // canonical
}

// prepare makes the specification canonical and finds the artifact's digest.
func (r *modelResource) prepare(ctx context.Context, p *modelPlan) (err error) {
	p.spec = modelSpecOf(p.config)
	if p.cloud, p.spec.Key, err = r.locate(p.config, p.spec.Unknown); err != nil {
		return err
	}
	var all mlerr.List
	all.Add(p.cloud.CheckModel(p.spec))
	all.Add(p.digest(ctx, r.platforms))
	return all.Err()
}

// digest identifies the bytes that are to be published. Those of the current
// version need not be at hand when the configuration names their digest, or still
// names the version that they came from.
func (p *modelPlan) digest(ctx context.Context, all *platforms) error {
	a, unknown := &p.spec.Artifact, p.spec.Unknown
	wanted := a.Digest
	if unknown.Has("artifact.uri") || unknown.Has("artifact") || a.URI == "" || !all.finds(p.cloud, a.URI) {
		if wanted == "" {
			unknown["artifact.sha256"] = true
		}
		return nil
	}
	found, err := all.artifactDigest(ctx, p.cloud, a.URI, wanted)
	if withdrawn(err) && p.moved(a.URI) {
		found, err = p.current(), nil // a version is the same bytes for ever
	}
	switch {
	case mlerr.PathOf(err) == "artifact.sha256" && unknown.Has("artifact.sha256"):
		return nil // it will be told
	case mlerr.Is(err, mlerr.NotFound) && wanted != "" && p.current() == wanted:
		return nil
	case err != nil:
		return mlerr.New(mlerr.CodeOf(err), "").Because(err).At("artifact.uri") // whose words say what was read
	case wanted != "" && wanted != found:
		return mlerr.New(mlerr.InvalidArgument, "the bytes at %s have the digest %s, and %s is asked for", a.URI, found, wanted).
			At("artifact.sha256").WithHint("Put the expected file there, or change artifact.sha256 if these bytes are the right ones")
	}
	a.Digest = found
	delete(unknown, "artifact.sha256")
	return nil
}

// withdrawn reports whether an artifact cannot be looked at, now and perhaps never
// again: it is gone, or its platform is not configured any more, or closed.
func withdrawn(err error) bool {
	switch mlerr.CodeOf(err) {
	case mlerr.NotFound, mlerr.PermissionDenied, mlerr.Unauthenticated, mlerr.InvalidArgument, mlerr.Unsupported:
		return true
	}
	return false
}

// moved reports whether the current version was made from the version at that
// address.
func (p *modelPlan) moved(uri string) bool {
	if id, _ := p.prior["id"].(types.String); id.ValueString() != p.spec.Key.ID() { // it becomes another model
		return false
	}
	was, _ := p.prior["artifact"].(types.Object)
	before, _ := was.Attributes()["uri"].(types.String)
	_, moving, _ := clouds.Moving(uri)
	return moving && before.ValueString() == uri && p.current() != ""
}

func (p *modelPlan) current() string {
	if p.known == nil || p.known.Newest() == nil {
		return ""
	}
	return p.known.Newest().Artifact.Digest
}

func (p *modelPlan) unknown(name string) bool { return p.spec.Unknown.Has(name) }

// replaces names the attributes that only another model can have as wanted.
func (p *modelPlan) replaces() []string {
	if p.prior == nil || p.unknown("location") || p.unknown("name") {
		return nil
	}
	all := p.cloud.ReplacesModel(modelSpecOf(types.ObjectValueMust(p.config.AttributeTypes(background), p.prior)), p.spec)
	if id, _ := p.prior["id"].(types.String); id.ValueString() != p.spec.Key.ID() {
		all = append(all, "location")
	}
	return all
}

func (p *modelPlan) replaced() bool { return len(p.replaces()) > 0 }

// planned is the configuration with its defaults, and with what is known already
// of what the platform will say.
func (r *modelResource) planned(p *modelPlan) members {
	computed := copyOf(write(r.schema.Type(), wantedModel(p.spec)).(types.Object)) //nolint:forcetypeassert // a schema's type is an object
	p.facts(computed)
	computed.forgetNamed(p.spec.Unknown)
	if p.spec.Artifact.Digest == "" {
		computed.forget("digest")
		artifact, _ := computed["artifact"].(types.Object)
		inner := copyOf(artifact)
		inner.forget("sha256")
		computed["artifact"] = types.ObjectValueMust(artifact.AttributeTypes(background), inner)
	}
	m := fill(r.schema.Attributes, p.config.Attributes(), computed)
	if p.prior != nil && !p.replaced() {
		was := modelSpecOf(types.ObjectValueMust(p.config.AttributeTypes(background), p.prior))
		was.Key = p.spec.Key
		_ = p.cloud.CheckModel(was) // makes it canonical
		keepModel(m, p.prior, was, p.spec)
	}
	return m
}

// facts fills in what the platform says, where this change leaves it alone.
func (p *modelPlan) facts(computed members) {
	if p.prior == nil || p.replaced() || p.cloud.Publishes(p.spec, p.known) {
		computed.forget(modelFacts...)
		return
	}
	computed.take(p.prior, modelFacts...)
	newest := p.known.Newest()
	if p.known.Unfinished != "" {
		computed.forget("versions") // makes a change of a plan that would else be empty
	}
	if p.unknown("aliases") || p.unknown("approval") || p.unknown("retain_versions") || !same(newest.Aliases, p.spec.Aliases) ||
		newest.Approval != p.spec.Approval || len(p.known.Versions) > p.spec.RetainVersions {
		computed.forget("versions", "previous_version_id")
	}
}
