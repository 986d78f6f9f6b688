// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"strings"

	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

func modelSchema() schema.Schema {
	return schema.Schema{
		MarkdownDescription: "A named model and its versions. Changing what is served (the artifact's bytes, the serving container, its environment, the key) " +
			"publishes the next immutable version in place; changing description, labels, aliases, metadata or approval never does.\n\n" +
			"Versions beyond `retain_versions` are removed, except one that an endpoint serves.",
		Attributes: common(driver.KindModel, attributes{
			"name": fixed(required(str("Name in the platform's registry. Changing it makes a new model."))),
			"artifact": schema.SingleNestedAttribute{Required: true, MarkdownDescription: "The model file. Its identity is its digest: the same bytes at a new address are no change, new bytes at the same address are.",
				Attributes: attributes{
					"uri":    required(str("Local path of a file or directory, an address that the platform reads, such as `s3://bucket/key` or `gs://bucket/key`, or the `version_id` of an `ml_model` on this or another platform, whose artifact is then [moved](../guides/moving.md). What the platform cannot read where it is, or wants in another shape, is copied once to the provider's `staging_uri`.")),
					"format": required(oneOf("What the file is. Implies the serving runtime.", runtimes.Formats())),
					"sha256": defaulted(str("Digest of the bytes; other bytes are refused. Default: computed when planning.", isSHA256)),
				}},
			"serving":     servingAttribute(),
			"aliases":     set("Names that point to the current version."),
			"approval":    defaulted(oneOf("Whether the current version may be served. Endpoints refuse one that is not approved. Default: `approved`.", driver.Approvals())),
			"description": str("What the model is for."),
			"metadata":    stringMap("Lineage of the current version: git commit, run id, metrics."),
			"retain_versions": schema.Int64Attribute{Optional: true, Computed: true, Validators: []validator.Int64{int64validator.AtLeast(1)},
				MarkdownDescription: "How many versions to keep, the current one among them. Default: 10."},
			"encryption": nested("Encryption with a customer-managed key.", attributes{
				"key": str("KMS key ARN, Cloud KMS key name, or, on `azure_ml`, the key that the workspace is checked against."),
			}),
			"azure_ml": nested("What only `azure_ml` has.", attributes{
				"registry": str("Registry that each version is published to from the workspace, for other workspaces to serve: its name, if it is in the workspace's resource group, or its resource id. Changing it makes a new model."),
			}),
			"version":             computed("Number of the current version."),
			"version_id":          computed("`<id>@<version>`: what an `ml_endpoint` refers to. Known in a plan that publishes no version."),
			"previous_version_id": computed("`version_id` of the version before the current one, to go back to."),
			"digest":              computed("SHA-256 of the current version's bytes."),
			"artifact_uri":        computed("Where the platform reads the current version's artifact."),
			"versions": schema.ListNestedAttribute{Computed: true, MarkdownDescription: "All versions, the oldest first.",
				NestedObject: schema.NestedAttributeObject{Attributes: attributes{
					"version":    computed("Number."),
					"version_id": computed("`<id>@<version>`."),
					"digest":     computed("SHA-256 of the bytes; empty where it is not known."),
					"aliases":    schema.SetAttribute{Computed: true, ElementType: types.StringType, MarkdownDescription: "Names that point to it."},
					"approval":   computed("Whether it may be served."),
					"created_at": computed("When it was registered, RFC 3339."),
				}}},
		}),
	}
}

func servingAttribute() schema.SingleNestedAttribute {
	a := nested("The serving container. Default: the runtime that the format implies.", attributes{
		"runtime":      defaulted(oneOf("Preset: an image and its contract. Default: by `artifact.format`, where `image` is not set.", runtimes.Names())),
		"image":        str("Exact container image, instead of a preset or over it."),
		"command":      list("Entry point of the container."),
		"args":         list("Arguments of the entry point."),
		"env":          stringMap("Environment of the container. Not for secrets: platforms show it."),
		"port":         integer("HTTP port of the container.", 1, 65535),
		"grpc_port":    integer("gRPC port of the container; adds gRPC where the platform has it.", 1, 65535),
		"predict_path": str("Path of predictions.", isPath),
		"health_path":  str("Path of health checks.", isPath),
		"protocol":     oneOf("Inference protocol.", []string{"v1", "v2", "openai", "custom"}),
	})
	a.Computed = true
	return a
}

var isPath = check{"a path that begins with /", func(s string) error {
	if !strings.HasPrefix(s, "/") {
		return errNoSlash
	}
	return nil
}}
