// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"slices"
	"testing"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

func TestDifferences(t *testing.T) {
	t.Parallel()
	type plainData struct {
		Name  string            `json:"name,omitempty"`
		List  []string          `json:"list,omitempty"`
		Map   map[string]string `json:"map,omitempty"`
		Inner *plainData        `json:"inner,omitempty"`
	}
	for _, c := range []struct {
		reason     string
		seen, want any
		diff       []string
	}{
		{"the same", plainData{Name: "a", Inner: &plainData{Name: "b"}}, plainData{Name: "a", Inner: &plainData{Name: "b"}}, nil},
		{"a value", plainData{Name: "a"}, plainData{Name: "b"}, []string{`x.name: "a" -> "b"`}},
		{"nil and empty are the same", plainData{Map: map[string]string{}}, plainData{}, nil},
		{"an empty list alone", []string{}, []string(nil), nil},
		{"added, changed and removed", plainData{Map: map[string]string{"a": "1", "b": "2"}}, plainData{Map: map[string]string{"a": "3", "c": "4"}},
			[]string{`x.map.a: "1" -> "3"`, `x.map.b: "2" -> unset`, `x.map.c: unset -> "4"`}},
		{"an object that appears is named by its parts", plainData{}, plainData{Inner: &plainData{Name: "b"}}, []string{`x.inner.name: unset -> "b"`}},
		{"lists are values", plainData{List: []string{"a"}}, plainData{List: []string{"a", "b"}}, []string{`x.list: ["a"] -> ["a","b"]`}},
	} {
		if got := differences("x", c.seen, c.want); !slices.Equal(got, c.diff) {
			t.Errorf("%s: %q, want %q", c.reason, got, c.diff)
		}
	}
}

// fixedKey is a platform whose endpoints keep some settings for life.
type fixedKey struct{ driver.Driver }

func (fixedKey) Features() *driver.Features {
	return &driver.Features{Replace: []string{"encryption.key", "sagemaker.async"}}
}

func TestReplaces(t *testing.T) {
	t.Parallel()
	c := New(fixedKey{}, Options{})
	spec := func(key, output string, unknown ...string) *driver.EndpointSpec {
		s := &driver.EndpointSpec{Settings: driver.Settings{Encryption: driver.Encryption{Key: key}}, Unknown: driver.Unknown{}}
		if output != "" {
			s.Settings.SageMaker = &driver.SageMakerEndpoint{Async: &driver.Async{OutputURI: output}}
		}
		for _, u := range unknown {
			s.Unknown[u] = true
		}
		return s
	}
	for _, c2 := range []struct {
		reason        string
		before, after *driver.EndpointSpec
		want          []string
	}{
		{"nothing differs", spec("a", "s3://a"), spec("a", "s3://a"), nil},
		{"a value cannot change", spec("a", ""), spec("b", ""), []string{"encryption.key"}},
		{"nor come", spec("", ""), spec("b", ""), []string{"encryption.key"}},
		{"an object can change", spec("", "s3://a"), spec("", "s3://b"), nil},
		{"but not come", spec("", ""), spec("", "s3://b"), []string{"sagemaker.async"}},
		{"nor go", spec("", "s3://a"), spec("", ""), []string{"sagemaker.async"}},
		{"what is unknown replaces nothing", spec("a", ""), spec("", "", "encryption.key"), nil},
	} {
		if got := c.Replaces(c2.before, c2.after); !slices.Equal(got, c2.want) {
			t.Errorf("%s: %v, want %v", c2.reason, got, c2.want)
		}
	}
}
