// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"
	"encoding/json"
	"fmt"
	"sort"
	"time"

	"github.com/hashicorp/terraform-plugin-framework-timetypes/timetypes"
	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-framework/types/basetypes"
	"github.com/hashicorp/terraform-plugin-go/tftypes"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

// The core's types have the attributes' names as JSON names, so plain JSON data
// is what both sides understand: read turns Terraform's values into the core's,
// and write turns them back.

// background is for conversions that ask for a context and do not look at it.
var background = context.Background()

// read fills into, a pointer to a struct, from a Terraform object. Null and
// unknown attributes leave their fields alone; unknown ones are returned by
// path. Of a collection with anything unknown in it, nothing is read.
func read(o types.Object, into any) driver.Unknown {
	unknown := driver.Unknown{}
	data, err := json.Marshal(plain(o, "", unknown))
	if err == nil {
		err = json.Unmarshal(data, into)
	}
	if err != nil {
		panic(fmt.Sprintf("the schema and %T disagree: %v", into, err))
	}
	return unknown
}

// write makes a Terraform value of that type from the core's data. What the data
// lacks is null, but for booleans, which are false.
func write(as attr.Type, from any) attr.Value {
	var data any
	encoded, err := json.Marshal(from)
	if err == nil {
		err = json.Unmarshal(encoded, &data)
	}
	if err != nil {
		panic(fmt.Sprintf("%T is not plain data: %v", from, err))
	}
	return value(as, data)
}

func plain(v attr.Value, path string, unknown driver.Unknown) any {
	if v.IsUnknown() {
		unknown[path] = true
		return nil
	}
	if v.IsNull() {
		return nil
	}
	switch v := v.(type) {
	case timetypes.GoDuration:
		d, _ := time.ParseDuration(v.ValueString()) // a validator has accepted it
		return int64(d)
	case types.String:
		return v.ValueString()
	case types.Int64:
		return v.ValueInt64()
	case types.Float64:
		return v.ValueFloat64()
	case types.Bool:
		return v.ValueBool()
	case types.Object:
		return plainMembers(v.Attributes(), path, unknown)
	case types.Map:
		if _, objects := v.ElementType(background).(basetypes.ObjectType); !objects && !known(v) {
			unknown[path] = true
			return nil
		}
		return plainMembers(v.Elements(), path, unknown)
	case types.List:
		return plainList(v, v.Elements(), path, unknown)
	case types.Set:
		return plainList(v, v.Elements(), path, unknown)
	}
	panic(fmt.Sprintf("%s: %T is not used in our schemas", path, v))
}

func plainMembers(members map[string]attr.Value, path string, unknown driver.Unknown) any {
	all := make(map[string]any, len(members))
	for name, member := range members {
		at := name
		if path != "" {
			at = path + "." + name
		}
		if p := plain(member, at, unknown); p != nil {
			all[name] = p
		}
	}
	return all
}

func plainList(list attr.Value, elements []attr.Value, path string, unknown driver.Unknown) any {
	if !known(list) {
		unknown[path] = true
		return nil
	}
	all := make([]any, 0, len(elements))
	for _, e := range elements {
		all = append(all, plain(e, path, unknown))
	}
	if _, isSet := list.(types.Set); isSet {
		sort.Slice(all, func(i, j int) bool { return fmt.Sprint(all[i]) < fmt.Sprint(all[j]) })
	}
	return all
}

func value(as attr.Type, data any) attr.Value {
	switch as := as.(type) {
	case basetypes.BoolType:
		b, _ := data.(bool)
		return types.BoolValue(b)
	case basetypes.ObjectType:
		if members, ok := data.(map[string]any); ok {
			all := make(map[string]attr.Value, len(as.AttrTypes))
			for name, t := range as.AttrTypes {
				all[name] = value(t, members[name])
			}
			return types.ObjectValueMust(as.AttrTypes, all)
		}
	}
	if data == nil {
		return null(as)
	}
	switch as := as.(type) {
	case timetypes.GoDurationType:
		return timetypes.NewGoDurationValue(time.Duration(data.(float64))) //nolint:forcetypeassert // JSON of a time.Duration
	case basetypes.StringType:
		return types.StringValue(data.(string)) //nolint:forcetypeassert // as the schema says
	case basetypes.Int64Type:
		return types.Int64Value(int64(data.(float64))) //nolint:forcetypeassert // as above
	case basetypes.Float64Type:
		return types.Float64Value(data.(float64)) //nolint:forcetypeassert // as above
	case basetypes.MapType:
		all := map[string]attr.Value{}
		for name, member := range data.(map[string]any) { //nolint:forcetypeassert // as above
			all[name] = value(as.ElemType, member)
		}
		return types.MapValueMust(as.ElemType, all)
	case basetypes.ListType:
		return types.ListValueMust(as.ElemType, values(as.ElemType, data))
	case basetypes.SetType:
		return types.SetValueMust(as.ElemType, values(as.ElemType, data))
	}
	panic(fmt.Sprintf("%T is not used in our schemas", as))
}

func values(as attr.Type, data any) []attr.Value {
	items := data.([]any) //nolint:forcetypeassert // as the schema says
	all := make([]attr.Value, 0, len(items))
	for _, item := range items {
		all = append(all, value(as, item))
	}
	return all
}

func null(as attr.Type) attr.Value    { return raw(as, nil) }
func unknown(as attr.Type) attr.Value { return raw(as, tftypes.UnknownValue) }

func raw(as attr.Type, v any) attr.Value {
	made, err := as.ValueFromTerraform(background, tftypes.NewValue(as.TerraformType(background), v))
	if err != nil {
		panic(fmt.Sprintf("%s: %v", as, err))
	}
	return made
}

// known reports whether neither v nor anything in it is unknown.
func known(v attr.Value) bool {
	raw, err := v.ToTerraformValue(background)
	return err == nil && raw.IsFullyKnown()
}
