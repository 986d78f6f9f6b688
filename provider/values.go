// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"sort"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/diag"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"
)

// Unknown, null and set are three cases. The readers below turn the first two
// into a zero value; whoever calls them asks about unknown first where it
// matters.

// decode reads an object into a struct; nil when it is null or unknown.
func decode[T any](ctx context.Context, o types.Object, diags *diag.Diagnostics) *T {
	if o.IsNull() || o.IsUnknown() {
		return nil
	}
	var v T
	diags.Append(o.As(ctx, &v, basetypes.ObjectAsOptions{})...)
	return &v
}

// encode writes a struct as an object of those types.
func encode(ctx context.Context, as attr.Type, v any, diags *diag.Diagnostics) types.Object {
	names := as.(attr.TypeWithAttributeTypes).AttributeTypes() //nolint:forcetypeassert // callers pass object types
	o, d := types.ObjectValueFrom(ctx, names, v)
	diags.Append(d...)
	return o
}

func nullObject(as attr.Type) types.Object {
	return types.ObjectNull(as.(attr.TypeWithAttributeTypes).AttributeTypes()) //nolint:forcetypeassert // as above
}

// elements reads the known strings of a list or set, sorted if it is a set.
func elements(v interface {
	Elements() []attr.Value
}) []string {
	var all []string
	for _, e := range v.Elements() {
		if s, ok := e.(types.String); ok && !s.IsNull() && !s.IsUnknown() {
			all = append(all, s.ValueString())
		}
	}
	if _, isSet := v.(types.Set); isSet {
		sort.Strings(all)
	}
	return all
}

// entries reads the known strings of a map; nil if there are none.
func entries(m types.Map) map[string]string {
	var all map[string]string
	for k, e := range m.Elements() {
		if s, ok := e.(types.String); ok && !s.IsNull() && !s.IsUnknown() {
			if all == nil {
				all = map[string]string{}
			}
			all[k] = s.ValueString()
		}
	}
	return all
}

// anyUnknown reports whether a collection or one of its elements is unknown.
func anyUnknown(v interface {
	attr.Value
	Elements() []attr.Value
}) bool {
	if v.IsUnknown() {
		return true
	}
	for _, e := range v.Elements() {
		if e.IsUnknown() {
			return true
		}
	}
	return false
}

func anyUnknownEntry(m types.Map) bool {
	if m.IsUnknown() {
		return true
	}
	for _, e := range m.Elements() {
		if e.IsUnknown() {
			return true
		}
	}
	return false
}

func setOf(all []string) types.Set {
	values := make([]attr.Value, 0, len(all))
	for _, s := range all {
		values = append(values, types.StringValue(s))
	}
	return types.SetValueMust(types.StringType, values)
}

func mapOf(all map[string]string) types.Map {
	values := make(map[string]attr.Value, len(all))
	for k, v := range all {
		values[k] = types.StringValue(v)
	}
	return types.MapValueMust(types.StringType, values)
}

// listOrNull is null for no elements, as an argument that was never given.
func listOrNull(all []string) types.List {
	if len(all) == 0 {
		return types.ListNull(types.StringType)
	}
	values := make([]attr.Value, 0, len(all))
	for _, s := range all {
		values = append(values, types.StringValue(s))
	}
	return types.ListValueMust(types.StringType, values)
}

// stringOrNull is null for "".
func stringOrNull(s string) types.String {
	if s == "" {
		return types.StringNull()
	}
	return types.StringValue(s)
}

func intOrNull(n int) types.Int64 {
	if n == 0 {
		return types.Int64Null()
	}
	return types.Int64Value(int64(n))
}

func floatOrNull(f float64) types.Float64 {
	if f == 0 {
		return types.Float64Null()
	}
	return types.Float64Value(f)
}

// duration reads a Go duration, which a validator has already accepted.
func duration(s types.String) time.Duration {
	d, _ := time.ParseDuration(s.ValueString())
	return d
}

func durationOrNull(d time.Duration) types.String {
	if d == 0 {
		return types.StringNull()
	}
	return types.StringValue(d.String())
}
