// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package acceptance_test

import (
	"maps"
	"testing"

	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
)

// TestImportByIdentity speaks the protocol itself: terraform can import by identity
// from 1.12 on.
func TestImportByIdentity(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	run(t, resource.TestStep{Config: r.Provider() + model(acctest.Model(t, "one"))})
	server, err := acctest.Factories()["ml"]()
	if err != nil {
		t.Fatal(err)
	}
	schemas, err := server.GetProviderSchema(t.Context(), &tfprotov6.GetProviderSchemaRequest{})
	if err != nil {
		t.Fatal(err)
	}
	text := func(s string) tftypes.Value { return tftypes.NewValue(tftypes.String, s) }
	providerType := schemas.Provider.ValueType().(tftypes.Object)
	config := object(t, providerType, map[string]tftypes.Value{
		"rehearsal": object(t, providerType.AttributeTypes["rehearsal"], map[string]tftypes.Value{"state_dir": text(r.Dir)}),
		"sagemaker": object(t, providerType.AttributeTypes["sagemaker"], map[string]tftypes.Value{"region": text(acctest.Region)}),
	})
	if _, err := server.ConfigureProvider(t.Context(), &tfprotov6.ConfigureProviderRequest{Config: dynamic(t, config)}); err != nil {
		t.Fatal(err)
	}
	identityType := tftypes.Object{AttributeTypes: map[string]tftypes.Type{"platform": tftypes.String, "location": tftypes.String, "name": tftypes.String}}
	for _, location := range []any{nil, acctest.Region} {
		identity := tftypes.NewValue(identityType, map[string]tftypes.Value{
			"platform": text("sagemaker"), "location": tftypes.NewValue(tftypes.String, location), "name": text("fraud")})
		got, err := server.ImportResourceState(t.Context(), &tfprotov6.ImportResourceStateRequest{TypeName: "ml_model",
			Identity: &tfprotov6.ResourceIdentityData{IdentityData: dynamic(t, identity)}})
		if err != nil || len(got.Diagnostics) > 0 || len(got.ImportedResources) != 1 {
			t.Fatalf("importing with location %v: %v, %+v", location, err, got)
		}
		state, err := got.ImportedResources[0].State.Unmarshal(schemas.ResourceSchemas["ml_model"].ValueType())
		if err != nil {
			t.Fatal(err)
		}
		var members map[string]tftypes.Value
		if err := state.As(&members); err != nil {
			t.Fatal(err)
		}
		if id := members["id"]; !id.Equal(text("sagemaker/eu-west-1/fraud")) {
			t.Errorf("with location %v, the id is %v", location, id)
		}
	}
}

// object is a value of that type whose other members are null.
func object(t *testing.T, as tftypes.Type, set map[string]tftypes.Value) tftypes.Value {
	t.Helper()
	members := map[string]tftypes.Value{}
	for name, member := range as.(tftypes.Object).AttributeTypes {
		members[name] = tftypes.NewValue(member, nil)
	}
	maps.Copy(members, set)
	return tftypes.NewValue(as, members)
}

func dynamic(t *testing.T, v tftypes.Value) *tfprotov6.DynamicValue {
	t.Helper()
	d, err := tfprotov6.NewDynamicValue(v.Type(), v)
	if err != nil {
		t.Fatal(err)
	}
	return &d
}
