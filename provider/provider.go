// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package provider is everything that Terraform sees: schemas, plans, and the
// conversion between Terraform's values and the core's. It knows no cloud.
package provider

import (
	"context"

	"github.com/hashicorp/terraform-plugin-framework/datasource"
	"github.com/hashicorp/terraform-plugin-framework/ephemeral"
	"github.com/hashicorp/terraform-plugin-framework/provider"
	"github.com/hashicorp/terraform-plugin-framework/resource"
	"github.com/hashicorp/terraform-plugin-framework/types"
)

// Address is where the provider is published.
const Address = "registry.terraform.io/mlplane/ml"

// New makes the provider; version is put into the user agent.
func New(version string) func() provider.Provider {
	return func() provider.Provider { return &mlProvider{version: version} }
}

type mlProvider struct{ version string }

var _ provider.ProviderWithEphemeralResources = (*mlProvider)(nil)

// providerModel is the configuration of provider "ml".
type providerModel struct {
	SageMaker  types.Object `tfsdk:"sagemaker"`
	VertexAI   types.Object `tfsdk:"vertex_ai"`
	AzureML    types.Object `tfsdk:"azure_ml"`
	Kubernetes types.Object `tfsdk:"kubernetes"`
	Labels     types.Map    `tfsdk:"labels"`
	Rehearsal  types.Object `tfsdk:"rehearsal"`
}

func (p *mlProvider) Metadata(_ context.Context, _ provider.MetadataRequest, resp *provider.MetadataResponse) {
	resp.TypeName, resp.Version = "ml", p.version
}

func (p *mlProvider) Schema(_ context.Context, _ provider.SchemaRequest, resp *provider.SchemaResponse) {
	resp.Schema = providerSchema()
}

// Configure only remembers: nothing is opened before it is used, so that a plan
// works without the platforms it does not touch.
func (p *mlProvider) Configure(ctx context.Context, req provider.ConfigureRequest, resp *provider.ConfigureResponse) {
	var m providerModel
	resp.Diagnostics.Append(req.Config.Get(ctx, &m)...)
	if resp.Diagnostics.HasError() {
		return
	}
	opened := newPlatforms(&m, p.version)
	resp.ResourceData, resp.EphemeralResourceData = opened, opened
}

func (p *mlProvider) Resources(context.Context) []func() resource.Resource {
	return []func() resource.Resource{newModelResource, newEndpointResource}
}

// EphemeralResources are what is read and never kept.
func (p *mlProvider) EphemeralResources(context.Context) []func() ephemeral.EphemeralResource {
	return []func() ephemeral.EphemeralResource{newCredentials}
}

func (p *mlProvider) DataSources(context.Context) []func() datasource.DataSource { return nil }
