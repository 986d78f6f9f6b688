// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

func newCredentials() ephemeral.EphemeralResource { return &credentialsResource{} }

// credentialsResource reads what callers of an endpoint send. Terraform keeps an
// ephemeral resource in no plan and no state.
type credentialsResource struct{ platforms *platforms }

var _ ephemeral.EphemeralResourceWithConfigure = (*credentialsResource)(nil)

// credentialsModel is ephemeral "ml_endpoint_credentials".
type credentialsModel struct {
	Endpoint  types.String `tfsdk:"endpoint"`
	URL       types.String `tfsdk:"url"`
	Mode      types.String `tfsdk:"mode"`
	Keys      types.Map    `tfsdk:"keys"`
	Token     types.String `tfsdk:"token"`
	ExpiresAt types.String `tfsdk:"expires_at"`
}

func (r *credentialsResource) Metadata(_ context.Context, req ephemeral.MetadataRequest, resp *ephemeral.MetadataResponse) {
	resp.TypeName = req.ProviderTypeName + "_endpoint_credentials"
}

func (r *credentialsResource) Schema(_ context.Context, _ ephemeral.SchemaRequest, resp *ephemeral.SchemaResponse) {
	shown := func(doc string) schema.StringAttribute {
		return schema.StringAttribute{Computed: true, MarkdownDescription: doc}
	}
	resp.Schema = schema.Schema{
		MarkdownDescription: "What callers of an endpoint send: its keys, or a short-lived token. It is read when Terraform runs, and is in no plan and no state. " +
			"`sagemaker` has none, as callers sign their requests; on `kubernetes` there are keys with `auth.mode = \"key\"`.",
		Attributes: map[string]schema.Attribute{
			"endpoint":   schema.StringAttribute{Required: true, MarkdownDescription: "`id` of an `ml_endpoint`."},
			"url":        shown("Where predictions are sent."),
			"mode":       shown("`auth.mode` of the endpoint."),
			"keys":       schema.MapAttribute{Computed: true, Sensitive: true, ElementType: types.StringType, MarkdownDescription: "Keys by name: `primary` and `secondary` on `azure_ml`, the names of clients on `kubernetes`."},
			"token":      schema.StringAttribute{Computed: true, Sensitive: true, MarkdownDescription: "Bearer token, of whoever runs Terraform where callers are told apart."},
			"expires_at": shown("When the token ends, as in RFC 3339."),
		},
	}
}

func (r *credentialsResource) Configure(_ context.Context, req ephemeral.ConfigureRequest, _ *ephemeral.ConfigureResponse) {
	r.platforms, _ = req.ProviderData.(*platforms)
}

func (r *credentialsResource) Open(ctx context.Context, req ephemeral.OpenRequest, resp *ephemeral.OpenResponse) {
	const doing = "Cannot read the credentials"
	var m credentialsModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	key, ok := driver.ParseID(m.Endpoint.ValueString())
	if !ok {
		report(&resp.Diagnostics, doing, mlerr.New(mlerr.InvalidArgument, "%q is no id of an endpoint", m.Endpoint.ValueString()).At("endpoint").
			WithHint("Refer to ml_endpoint.<name>.id"))
		return
	}
	cloud, err := r.platforms.cloud(key.Platform)
	if report(&resp.Diagnostics, doing, err) {
		return
	}
	found, err := cloud.Credentials(ctx, key)
	if mlerr.Is(err, mlerr.NotFound) {
		// Ids are known before things are: in the plan that makes the endpoint it is
		// not there yet. Terraform opens this again in the apply, after the endpoint.
		resp.Diagnostics.AddWarning("No credentials yet", "The endpoint "+key.ID()+" does not exist. Until it does, its credentials are null.")
		m.show(&driver.Credentials{})
		resp.Diagnostics.Append(resp.Result.Set(ctx, &m)...)
		return
	}
	if report(&resp.Diagnostics, doing, err) {
		return
	}
	m.show(found)
	resp.Diagnostics.Append(resp.Result.Set(ctx, &m)...)
}

// show fills in what was found.
func (m *credentialsModel) show(c *driver.Credentials) {
	text := func(s string) types.String {
		if s == "" {
			return types.StringNull()
		}
		return types.StringValue(s)
	}
	reveal := func(s secret.String) types.String { return text(s.Reveal()) } //nolint:forbidigo // it is what the user asks for, and goes where nothing is kept
	m.URL, m.Mode, m.Token, m.ExpiresAt, m.Keys = text(c.URL), text(c.Mode), reveal(c.Token), types.StringNull(), types.MapNull(types.StringType)
	if !c.Expires.IsZero() {
		m.ExpiresAt = types.StringValue(c.Expires.UTC().Format(time.RFC3339))
	}
	if len(c.Keys) > 0 {
		keys := make(map[string]attr.Value, len(c.Keys))
		for name, key := range c.Keys {
			keys[name] = reveal(key)
		}
		m.Keys = types.MapValueMust(types.StringType, keys)
	}
}
