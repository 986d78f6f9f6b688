// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"maps"

	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/resource/identityschema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/tfsdk"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// base is what both resources do alike.
type base struct {
	kind      driver.Kind
	schema    schema.Schema
	platforms *platforms // nil while Terraform only validates
}

func (b *base) Schema(_ context.Context, _ resource.SchemaRequest, resp *resource.SchemaResponse) {
	resp.Schema = b.schema
}

func (b *base) Metadata(_ context.Context, req resource.MetadataRequest, resp *resource.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_" + string(b.kind)
}

func (b *base) Configure(_ context.Context, req resource.ConfigureRequest, _ *resource.ConfigureResponse) {
	b.platforms, _ = req.ProviderData.(*platforms)
}

// identity is how Terraform tells resources apart, across states.
type identity struct {
	Platform types.String `tfsdk:"platform"`
	Location types.String `tfsdk:"location"`
	Name     types.String `tfsdk:"name"`
}

func (b *base) IdentitySchema(_ context.Context, _ resource.IdentitySchemaRequest, resp *resource.IdentitySchemaResponse) {
	resp.IdentitySchema = identityschema.Schema{Attributes: map[string]identityschema.Attribute{
		"platform": identityschema.StringAttribute{RequiredForImport: true, Description: "The platform."},
		"location": identityschema.StringAttribute{OptionalForImport: true, Description: "Canonical location; the provider's default if it is left out."},
		"name":     identityschema.StringAttribute{RequiredForImport: true, Description: "The name on the platform."},
	}}
}

func identify(ctx context.Context, to *tfsdk.ResourceIdentity, key driver.Key, diags *diag.Diagnostics) {
	if to != nil {
		diags.Append(to.Set(ctx, identity{types.StringValue(string(key.Platform)), types.StringValue(key.Location), types.StringValue(key.Name)})...)
	}
}

// ImportState takes our id, the platform's own, or an identity. The following
// read fills in the rest.
func (b *base) ImportState(ctx context.Context, req resource.ImportStateRequest, resp *resource.ImportStateResponse) {
	key, err := b.importKey(ctx, req, &resp.Diagnostics)
	if resp.Diagnostics.HasError() || report(&resp.Diagnostics, "Cannot import the "+string(b.kind), err) {
		return
	}
	for name, v := range map[string]string{"id": key.ID(), "platform": string(key.Platform), "location": key.Location, "name": key.Name} {
		resp.Diagnostics.Append(resp.State.SetAttribute(ctx, path.Root(name), v)...)
	}
	identify(ctx, resp.Identity, key, &resp.Diagnostics)
	b.platforms.remember(ctx, resp.Private, nil, &resp.Diagnostics)
}

func (b *base) importKey(ctx context.Context, req resource.ImportStateRequest, diags *diag.Diagnostics) (driver.Key, error) {
	if req.ID != "" || req.Identity == nil {
		return b.platforms.forImport(b.kind, req.ID)
	}
	var id identity
	diags.Append(req.Identity.Get(ctx, &id)...)
	platform := driver.Platform(id.Platform.ValueString())
	cloud, err := b.platforms.cloud(platform)
	if err != nil {
		return driver.Key{}, err
	}
	return cloud.Key(platform, id.Location.ValueString(), id.Name.ValueString())
}

// open finds the platform of a resource that Terraform holds in its state.
func (b *base) open(state types.Object) (*clouds.Cloud, driver.Key, error) {
	id, _ := state.Attributes()["id"].(types.String)
	key, ok := driver.ParseID(id.ValueString())
	if !ok {
		return nil, key, mlerr.New(mlerr.InvalidArgument, "the state holds %q, which is no id", id.ValueString()).
			WithHint("Remove it from the state with terraform state rm, and import it again")
	}
	cloud, err := b.platforms.cloud(key.Platform)
	return cloud, key, err
}

// locate finds the platform and the key that a configuration or plan names, as
// far as they are known.
func (b *base) locate(config types.Object, unknown driver.Unknown) (*clouds.Cloud, driver.Key, error) {
	var c struct {
		Platform driver.Platform `json:"platform"`
		Location string          `json:"location"`
		Name     string          `json:"name"`
	}
	read(config, &c)
	cloud, err := b.platforms.cloud(c.Platform)
	if err != nil || unknown.Has("location") {
		return cloud, driver.Key{Platform: c.Platform, Name: c.Name}, err
	}
	key, err := cloud.Key(c.Platform, c.Location, c.Name)
	return cloud, key, err
}

// refresh reads what a resource has become. observe is the core's; show makes
// attributes of what was seen, with the words of the state where it means the same.
func refresh[S any](ctx context.Context, b *base, req resource.ReadRequest, resp *resource.ReadResponse,
	observe func(*clouds.Cloud, context.Context, driver.Key, *S) (*S, error), show func(*clouds.Cloud, types.Object, *S) members) {
	doing, state := "Cannot read the "+string(b.kind), objectOf(b.schema, req.State.Raw)
	memory := recall[S](ctx, req.Private, &resp.Diagnostics)
	if report(&resp.Diagnostics, doing, b.platforms.admit(memory.Origin)) {
		return
	}
	if platform, _ := state.Attributes()["platform"].(types.String); !b.platforms.ready(driver.Platform(platform.ValueString())) {
		return // where the platform is comes out only in the apply; until then what is known stands
	}
	cloud, key, err := b.open(state)
	if report(&resp.Diagnostics, doing, err) {
		return
	}
	identify(ctx, resp.Identity, key, &resp.Diagnostics)
	seen, err := observe(cloud, ctx, key, memory.Known)
	if mlerr.Is(err, mlerr.NotFound) {
		resp.State.RemoveResource(ctx)
		return
	}
	if report(&resp.Diagnostics, doing, err) {
		return
	}
	resp.State.Raw = rawOf(b.schema, show(cloud, state, seen))
	b.platforms.remember(ctx, resp.Private, seen, &resp.Diagnostics)
}

// planning is what the plan of a resource begins with.
type planning[S any] struct {
	doing  string // title of what may go wrong
	config types.Object
	prior  members // nil when there is none
	known  *S      // what was last observed; nil when there is none
}

// begin begins a plan. ok is false when there is nothing to plan: a destruction,
// a platform that is not known yet, or an error that it has reported.
func begin[S any](ctx context.Context, b *base, req resource.ModifyPlanRequest, resp *resource.ModifyPlanResponse) (p planning[S], ok bool) {
	memory := recall[S](ctx, req.Private, &resp.Diagnostics)
	p = planning[S]{doing: "Cannot plan the " + string(b.kind), config: objectOf(b.schema, req.Config.Raw), known: memory.Known}
	if b.platforms != nil && report(&resp.Diagnostics, p.doing, b.platforms.admit(memory.Origin)) {
		return p, false
	}
	if !req.State.Raw.IsNull() {
		p.prior = objectOf(b.schema, req.State.Raw).Attributes()
	}
	return p, !req.Plan.Raw.IsNull() && b.plannable(p.config)
}

// plannable reports whether a plan can be worked out: the provider and the
// platform are known. Otherwise everything computed is left to the apply.
func (b *base) plannable(config types.Object) bool {
	platform, _ := config.Attributes()["platform"].(types.String)
	return b.platforms != nil && !platform.IsUnknown() && b.platforms.ready(driver.Platform(platform.ValueString()))
}

// mapOf reads one of a resource's maps of strings.
func mapOf(o types.Object, name string) map[string]string {
	m, _ := o.Attributes()[name].(types.Map)
	all := make(map[string]string, len(m.Elements()))
	for k, v := range m.Elements() {
		if s, ok := v.(types.String); ok && !s.IsUnknown() {
			all[k] = s.ValueString()
		}
	}
	return all
}

// copyOf is the attributes of an object, free to change.
func copyOf(o types.Object) members {
	all := make(members, len(o.Attributes()))
	maps.Copy(all, o.Attributes())
	return all
}

// forget makes computed attributes unknown until the apply.
func (m members) forget(names ...string) {
	for _, name := range names {
		m[name] = unknown(m[name].Type(background))
	}
}

// forgetNamed leaves open what unknown arguments decide on both resources.
func (m members) forgetNamed(unknown driver.Unknown) {
	if unknown.Has("location") || unknown.Has("name") {
		m.forget("id", "location")
	}
	if unknown.Has("labels") {
		m.forget("effective_labels")
	}
}

// take copies attributes of an earlier state.
func (m members) take(from members, names ...string) {
	for _, name := range names {
		m[name] = from[name]
	}
}
