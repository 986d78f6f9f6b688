// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"strings"

	"github.com/hashicorp/terraform-plugin-framework-timetypes/timetypes"
	"github.com/hashicorp/terraform-plugin-framework-validators/int64validator"
	"github.com/hashicorp/terraform-plugin-framework-validators/mapvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/setvalidator"
	"github.com/hashicorp/terraform-plugin-framework-validators/stringvalidator"
	"github.com/hashicorp/terraform-plugin-framework/path"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/planmodifier"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema/stringplanmodifier"
	"github.com/hashicorp/terraform-plugin-framework/schema/validator"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

// Small constructors keep the resources' schemas readable: kind, sentence. An
// attribute is optional unless a word around it says otherwise.
//
// Defaults are not written into the schemas: what a default is, the core and the
// platform say, and the plan shows it. An attribute that has one is computed too.

func str(doc string, v ...validator.String) schema.StringAttribute {
	return schema.StringAttribute{Optional: true, MarkdownDescription: doc, Validators: append(v, stringvalidator.LengthAtLeast(1))}
}

// oneOf is a string of which the values are told by the core.
func oneOf[T ~string](doc string, values []T) schema.StringAttribute {
	all, quoted := make([]string, len(values)), make([]string, len(values))
	for i, v := range values {
		all[i], quoted[i] = string(v), "`"+string(v)+"`"
	}
	return schema.StringAttribute{Optional: true, MarkdownDescription: doc + " One of " + strings.Join(quoted, ", ") + ".",
		Validators: []validator.String{stringvalidator.OneOf(all...)}}
}

func durationStr(doc string) schema.StringAttribute {
	return schema.StringAttribute{Optional: true, CustomType: timetypes.GoDurationType{}, MarkdownDescription: doc + " A Go duration such as `5m`.",
		Validators: []validator.String{isPositive}}
}

func integer(doc string, least, most int64) schema.Int64Attribute {
	return schema.Int64Attribute{Optional: true, MarkdownDescription: doc, Validators: []validator.Int64{int64validator.Between(least, most)}}
}

func float(doc string, v ...validator.Float64) schema.Float64Attribute {
	return schema.Float64Attribute{Optional: true, MarkdownDescription: doc, Validators: v}
}

// boolean is false by default, and shows so.
func boolean(doc string) schema.BoolAttribute {
	return schema.BoolAttribute{Optional: true, Computed: true, MarkdownDescription: doc + " Default: `false`."}
}

func list(doc string) schema.ListAttribute {
	return schema.ListAttribute{Optional: true, ElementType: types.StringType, MarkdownDescription: doc}
}

func set(doc string, v ...validator.String) schema.SetAttribute {
	return schema.SetAttribute{Optional: true, ElementType: types.StringType, MarkdownDescription: doc,
		Validators: []validator.Set{setvalidator.ValueStringsAre(append(v, stringvalidator.LengthAtLeast(1))...)}}
}

func stringMap(doc string) schema.MapAttribute {
	return schema.MapAttribute{Optional: true, ElementType: types.StringType, MarkdownDescription: doc,
		Validators: []validator.Map{mapvalidator.KeysAre(stringvalidator.LengthAtLeast(1))}}
}

type attributes = map[string]schema.Attribute

func nested(doc string, a attributes) schema.SingleNestedAttribute {
	return schema.SingleNestedAttribute{Optional: true, MarkdownDescription: doc, Attributes: a}
}

func nestedList(doc string, a attributes) schema.ListNestedAttribute {
	return schema.ListNestedAttribute{Optional: true, MarkdownDescription: doc, NestedObject: schema.NestedAttributeObject{Attributes: a}}
}

// required, defaulted and computed change what a constructor has made.

func required(a schema.StringAttribute) schema.StringAttribute {
	a.Optional, a.Required = false, true
	return a
}

func defaulted(a schema.StringAttribute) schema.StringAttribute {
	a.Computed = true
	return a
}

func computed(doc string) schema.StringAttribute {
	return schema.StringAttribute{Computed: true, MarkdownDescription: doc}
}

// fixed is for what a thing has from its creation on.
func fixed(a schema.StringAttribute) schema.StringAttribute {
	a.PlanModifiers = []planmodifier.String{stringplanmodifier.RequiresReplace()}
	return a
}

// common are the attributes that both resources have.
func common(kind driver.Kind, all attributes) attributes {
	all["id"] = computed("`<platform>/<location>/<name>`.")
	all["platform"] = fixed(required(oneOf("Where the "+string(kind)+" is. Changing it makes a new one.", driver.Platforms())))
	all["location"] = defaulted(str("Region on `sagemaker` and `vertex_ai`, `resource-group/workspace` on `azure_ml`, namespace on `kubernetes`. " +
		"Default: the provider's. Changing it makes a new " + string(kind) + "."))
	all["labels"] = stringMap("Labels (tags, annotations) on the platform, over the provider's `labels`.")
	all["effective_labels"] = schema.MapAttribute{Computed: true, ElementType: types.StringType,
		MarkdownDescription: "All labels on the platform: the provider's `labels` and these."}
	all["timeouts"] = nested("How long an operation may take.", attributes{
		"create": durationStr("Creation."), "update": durationStr("Update."), "delete": durationStr("Deletion."),
	})
	return all
}

// siblings are the attributes beside one in the same object.
func siblings(names ...string) []path.Expression {
	all := make([]path.Expression, len(names))
	for i, name := range names {
		all[i] = path.MatchRelative().AtParent().AtName(name)
	}
	return all
}
