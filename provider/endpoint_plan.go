// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// ModifyPlan refuses what cannot work, shows what the defaults and the portable
// compute come to, and keeps known whatever this change does not decide anew.
func (r *endpointResource) ModifyPlan(ctx context.Context, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) {
	begun, ok := begin[driver.EndpointState](ctx, &r.base, req, resp)
	if !ok {
		return
	}
	p := &endpointPlan{planning: begun}
	if report(&resp.Diagnostics, p.doing, r.prepare(p)) {
		return
	}
	replaced := p.replaced()
	for _, dotted := range replaced {
		resp.RequiresReplace = append(resp.RequiresReplace, attributePath(dotted))
	}
	m := r.planned(p, len(replaced) > 0)
	err := p.cloud.CheckServable(ctx, p.fresh(len(replaced) > 0), r.platforms.plannedApproval)
	if report(&resp.Diagnostics, p.doing, err) {
		return
	}
	if p.preflight(ctx, len(replaced) > 0, &resp.Diagnostics) {
		return
	}
	p.explain(m, &resp.Diagnostics)
	resp.Plan.Raw = rawOf(r.schema, m)
}

// endpointPlan is one plan of one endpoint.
type endpointPlan struct {
	planning[driver.EndpointState]

	cloud *clouds.Cloud
	spec  *driver.EndpointSpec // canonical
	was   *driver.EndpointSpec // canonical, of prior; nil when there is none
}

// preflight tells what the platform would refuse of a change, or could not be asked.
// It reports whether anything was refused.
func (p *endpointPlan) preflight(ctx context.Context, replaced bool, diags *diag.Diagnostics) bool {
	known := p.known
	if replaced {
		known = nil
	}
	warnings, err := p.cloud.Preflight(ctx, p.spec, known)
	for _, w := range warnings {
		diags.AddWarning("The platform has something to say about the endpoint", sentence(w))
	}
	return report(diags, p.doing, err)
}

// prepare makes the specifications canonical.
func (r *endpointResource) prepare(p *endpointPlan) error {
	spec, wrong := endpointSpecOf(p.config)
	cloud, key, err := r.locate(p.config, spec.Unknown)
	if err != nil {
		return err
	}
	p.spec, p.cloud, spec.Key = spec, cloud, key
	if p.prior != nil {
		p.was, _ = endpointSpecOf(types.ObjectValueMust(p.config.AttributeTypes(background), p.prior))
		id, _ := p.prior["id"].(types.String)
		p.was.Key, _ = driver.ParseID(id.ValueString())
		_ = cloud.CheckEndpoint(p.was) // makes it canonical
	}
	var all mlerr.List
	all.Add(wrong)
	if wrong == nil { // shares that are missing do not sum up either
		all.Add(cloud.CheckEndpoint(spec))
		all.Add(longEnough(timeoutsOf(p.config).Update, cloud.RolloutTime(&spec.Rollout)))
	}
	return all.Err()
}

// longEnough refuses a limit that the waits of a rollout alone use up.
func longEnough(limit, waits time.Duration) error {
	if limit == 0 || limit > waits {
		return nil
	}
	return mlerr.New(mlerr.InvalidArgument, "an update may take %s, and the stages of the rollout alone are watched for %s", limit, waits.Round(time.Second)).
		At("timeouts.update").WithHint("Allow more time, or use a shorter rollout.interval or fewer steps")
}

// replaced names the attributes that only a new endpoint can have as wanted.
func (p *endpointPlan) replaced() []string {
	if p.was == nil {
		return nil
	}
	all := p.cloud.Replaces(p.was, p.spec)
	if p.was.Key != p.spec.Key && !p.spec.Unknown.Has("location") && !p.spec.Unknown.Has("name") {
		all = append(all, "location")
	}
	return all
}

// fresh are the versions that are not served yet, by deployment name.
func (p *endpointPlan) fresh(all bool) map[string]driver.VersionRef {
	refs := map[string]driver.VersionRef{}
	for i := range p.spec.Deployments {
		d := &p.spec.Deployments[i]
		var before *driver.Deployment
		if p.was != nil && !all {
			before = p.was.Find(d.Name)
		}
		if !p.spec.Unknown.Has("deployments."+d.Name+".model") && (before == nil || before.Model != d.Model) {
			refs[d.Name] = d.Model
		}
	}
	return refs
}

// planned is the configuration with its defaults, and with what is known already
// of what the platform will say.
func (r *endpointResource) planned(p *endpointPlan, replaced bool) members {
	computed := endpointMembers(r.schema.Type(), wantedEndpoint(p.spec))
	p.forgetResolved(computed)
	p.facts(computed, replaced)
	computed.forgetNamed(p.spec.Unknown)
	m := fill(r.schema.Attributes, p.config.Attributes(), computed)
	if p.was != nil && !replaced {
		keepEndpoint(m, p.prior, p.was, p.spec)
	}
	return m
}

// forgetResolved leaves to the apply what depends on unknown parts of a
// deployment.
func (p *endpointPlan) forgetResolved(computed members) {
	all, ok := computed["deployments"].(types.Map)
	if !ok || all.IsNull() {
		return
	}
	elements := members{}
	for name, v := range all.Elements() {
		o, _ := v.(types.Object)
		m := copyOf(o)
		if p.spec.Unknown.In("deployments."+name+".compute") || p.spec.Unknown.At("azure_ml.compute") {
			m.forget("instance_type")
		}
		if p.spec.Unknown.In("deployments." + name + ".model") {
			m.forget("model_version")
		}
		if p.spec.Unknown.In("deployments." + name + ".scaling") {
			m.forget("scaling")
		}
		elements[name] = types.ObjectValueMust(o.AttributeTypes(background), m)
	}
	computed["deployments"] = types.MapValueMust(all.ElementType(background), elements)
}

// facts fills in what the platform says, where this change leaves it alone. Of an
// endpoint that has failed, or that an earlier run has left unfinished, the
// address is left open: that makes a change of a plan that would else be empty.
func (p *endpointPlan) facts(computed members, replaced bool) {
	if p.was == nil || replaced {
		computed.forget("url", "invoke_policy")
		return
	}
	computed.take(p.prior, "url", "invoke_policy")
	changed := func(name string, was, is any) bool { return p.spec.Unknown.In(name) || !same(was, is) }
	was, is := &p.was.Settings, &p.spec.Settings
	due := p.known != nil && (p.known.Phase == driver.Failed || p.known.Unfinished != "")
	if due || p.prior["url"].IsNull() || changed("network", was.Network, is.Network) || changed("encryption", was.Encryption, is.Encryption) || p.moves(was, is) {
		computed.forget("url")
	}
	if p.prior["url"].IsNull() || changed("auth", was.Auth, is.Auth) {
		computed.forget("invoke_policy")
	}
}

// moves reports whether the change gives an endpoint another address. On Vertex AI it
// has that of a host of its own, or in a peered network that of its deployment. On Azure
// ML the address ends in the path of the server that was deployed last.
func (p *endpointPlan) moves(was, is *driver.Settings) bool {
	if p.spec.Key.Platform == driver.AzureML {
		return p.spec.Unknown.In("deployments") || p.deploys(was, is)
	}
	own := func(s *driver.Settings) bool { return s.VertexAI != nil && s.VertexAI.Dedicated }
	if own(was) != own(is) || p.spec.Unknown.In("vertex_ai") {
		return true
	}
	return p.spec.Key.Platform == driver.VertexAI && is.Network.Network != "" && (p.spec.Unknown.In("deployments") || !same(p.was.Deployments, p.spec.Deployments))
}

// deploys reports whether the change may deploy another server: with another model, or
// of several deployments any of them anew.
func (p *endpointPlan) deploys(was, is *driver.Settings) bool {
	several := len(p.was.Deployments) > 1 || len(p.spec.Deployments) > 1
	made := func(all []driver.Deployment) []driver.Deployment {
		bare := make([]driver.Deployment, 0, len(all))
		for _, d := range all {
			one := driver.Deployment{Name: d.Name, Model: d.Model}
			if several {
				one.Compute, one.Env = d.Compute, d.Env
			}
			bare = append(bare, one)
		}
		return bare
	}
	return !same(made(p.was.Deployments), made(p.spec.Deployments)) || several && !same(was, is)
}

// explain tells what a user might not expect of the change.
func (p *endpointPlan) explain(m members, diags *diag.Diagnostics) {
	f := p.cloud.Features()
	if p.spec.SmokeTest != nil && !f.TestBeforeTraffic && p.prior != nil && !m["deployments"].Equal(p.prior["deployments"]) {
		diags.AddAttributeWarning(path.Root("smoke_test"), "The smoke test has an endpoint of its own", sentence(f.SmokeTestBy))
	}
	if p.known != nil && p.known.Unfinished != "" {
		diags.AddWarning("The endpoint is not finished and will be", sentence(p.known.Unfinished))
	}
	if p.known != nil && p.known.Phase == driver.Failed {
		diags.AddWarning("The endpoint has failed and will be made again", sentence(p.known.Reason))
	}
}
