// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package driver_test

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

func TestParseID(t *testing.T) {
	t.Parallel()
	for id, ok := range map[string]bool{
		"sagemaker/eu-west-1/fraud":               true,
		"vertex_ai/my-project/europe-west4/fraud": true,
		"azure_ml/sub/group/workspace/fraud":      true,
		"kubernetes/default/fraud":                true,
		"sagemaker/fraud":                         false, // no location
		"sagemaker/eu-west-1/a/fraud":             false, // too many parts
		"sagemaker/eu-west-1/":                    false,
		"sagemaker//fraud":                        false,
		"sagemaker/eu-west-1/fraud@7":             false, // a version
		"bedrock/eu-west-1/fraud":                 false,
		"":                                        false,
	} {
		key, got := driver.ParseID(id)
		if got != ok || (ok && key.ID() != id) {
			t.Errorf("%q: %+v, %v", id, key, got)
		}
	}
}

func TestParseVersionID(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"sagemaker/eu-west-1/fraud@7": "7", "kubernetes/default/fraud@v1": "v1",
		"sagemaker/eu-west-1/fraud": "", "sagemaker/eu-west-1/fraud@": "", "@7": "", "fraud@7": "", "a@b/c@7": "",
	} {
		ref, ok := driver.ParseVersionID(id)
		if ok != (want != "") || (ok && (ref.Version != want || ref.String() != id)) {
			t.Errorf("%q: %+v, %v", id, ref, ok)
		}
	}
}

func FuzzParseID(f *testing.F) {
	for _, seed := range []string{"sagemaker/eu-west-1/fraud", "azure_ml/s/g/w/n", "vertex_ai/p/r/", "kubernetes/a/b/c", "//@"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		key, ok := driver.ParseID(id)
		if !ok {
			return
		}
		if key.ID() != id || key.Name == "" || key.Location == "" {
			t.Fatalf("%q is read as %+v, which is written as %q", id, key, key.ID())
		}
		ref, ok := driver.ParseVersionID(id + "@1")
		if !ok || ref.Key != key || ref.Version != "1" {
			t.Errorf("a version of %q is read as %+v, %v", id, ref, ok)
		}
	})
}

func FuzzVersionRef(f *testing.F) {
	for _, seed := range []string{"sagemaker/eu-west-1/fraud@7", "arn:aws:sagemaker:eu-west-1:1:model/x", "a@b@c", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if ref, ok := driver.ParseVersionID(id); ok && ref.String() != id {
			t.Fatalf("%q is read as %+v, which is written as %q", id, ref, ref)
		}
		if !utf8.ValidString(id) {
			return // Terraform's strings are valid, and JSON has no others
		}
		// Whatever stands in a state comes back from it.
		var ref, again driver.VersionRef
		if err := ref.UnmarshalText([]byte(id)); err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(ref)
		if err == nil {
			err = json.Unmarshal(data, &again)
		}
		if err != nil || again != ref {
			t.Errorf("%q: %+v comes back as %+v, %v", id, ref, again, err)
		}
	})
}
