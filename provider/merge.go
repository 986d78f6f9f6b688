// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/resource/schema"
	"github.com/hashicorp/terraform-plugin-framework/types"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// members are the attributes of one object, by name.
type members map[string]attr.Value

// objectOf reads what Terraform sent as an object of the schema.
func objectOf(s schema.Schema, raw tftypes.Value) types.Object {
	v, err := s.Type().ValueFromTerraform(background, raw)
	if err != nil {
		panic(fmt.Sprintf("Terraform sent what the schema does not allow: %v", err))
	}
	return v.(types.Object) //nolint:forcetypeassert // a schema's type is an object
}

// rawOf is the object as Terraform wants it.
func rawOf(s schema.Schema, m members) tftypes.Value {
	names := s.Type().(attr.TypeWithAttributeTypes).AttributeTypes() //nolint:forcetypeassert // as above
	raw, err := types.ObjectValueMust(names, m).ToTerraformValue(background)
	if err != nil {
		panic(fmt.Sprintf("our own value does not fit the schema: %v", err))
	}
	return raw
}

// fill is the configuration with its computed attributes, where the user set
// none, taken from computed. A value that is not known yet stays so.
func fill(attributes map[string]schema.Attribute, config, computed members) members {
	all := make(members, len(attributes))
	for name, a := range attributes {
		all[name] = fillOne(a, config[name], computed[name])
	}
	return all
}

func fillOne(a schema.Attribute, config, computed attr.Value) attr.Value {
	if config.IsUnknown() {
		return config
	}
	if config.IsNull() {
		if a.IsComputed() {
			return computed
		}
		return config
	}
	switch a := a.(type) {
	case schema.SingleNestedAttribute:
		return fillObject(a.Attributes, config, computed)
	case schema.MapNestedAttribute:
		c, k := config.(types.Map), computed.(types.Map) //nolint:forcetypeassert // as the schema says
		all := make(map[string]attr.Value, len(c.Elements()))
		for key, element := range c.Elements() {
			if all[key] = element; k.Elements()[key] != nil {
				all[key] = fillObject(a.NestedObject.Attributes, element, k.Elements()[key])
			}
		}
		return types.MapValueMust(c.ElementType(background), all)
	}
	return config
}

func fillObject(attributes map[string]schema.Attribute, config, computed attr.Value) attr.Value {
	c, k := config.(types.Object), computed.(types.Object) //nolint:forcetypeassert // as the schema says
	if c.IsNull() || c.IsUnknown() {
		return c
	}
	if k.IsNull() || k.IsUnknown() {
		// All that the user wrote in it is unknown; defaults are not.
		k = value(c.Type(background), map[string]any{}).(types.Object) //nolint:forcetypeassert // of an object's type
	}
	return types.ObjectValueMust(c.AttributeTypes(background), fill(attributes, c.Attributes(), k.Attributes()))
}

// settle is the plan with what was not known in it taken from what was observed.
func settle(plan, seen attr.Value) attr.Value {
	if plan.IsUnknown() {
		return seen
	}
	switch p := plan.(type) {
	case types.Object:
		if s, ok := seen.(types.Object); ok && !p.IsNull() && !s.IsNull() {
			return types.ObjectValueMust(p.AttributeTypes(background), settleAll(p.Attributes(), s.Attributes()))
		}
	case types.Map:
		if s, ok := seen.(types.Map); ok && !p.IsNull() && !s.IsNull() {
			return types.MapValueMust(p.ElementType(background), settleAll(p.Elements(), s.Elements()))
		}
	}
	return plan
}

func settleAll(plan, seen map[string]attr.Value) members {
	all := make(members, len(plan))
	for name, p := range plan {
		if all[name] = p; seen[name] != nil {
			all[name] = settle(p, seen[name])
		}
	}
	return all
}

// keep puts the earlier value of an attribute in the place of one that means the
// same, as Terraform allows where neither is null: written differently is no
// change.
func (m members) keep(name string, earlier members, same bool) {
	was, is := earlier[name], m[name]
	if same && was != nil && !was.IsNull() && !is.IsNull() && !is.IsUnknown() {
		m[name] = was
	}
}

// same compares plain data by its JSON form.
func same(a, b any) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && bytes.Equal(x, y)
}
