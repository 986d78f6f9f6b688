// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package naming_test

import (
	"strings"
	"testing"

	"github.com/mlplane/terraform-provider-ml/internal/naming"
)

func TestName(t *testing.T) {
	t.Parallel()
	hash := naming.Hash(map[string]any{"b": 1, "a": "x"})
	if again := naming.Hash(map[string]any{"a": "x", "b": 1}); again != hash {
		t.Error("the order of map keys changed the hash")
	}
	if got, want := naming.Name("fraud", 63, hash), "fraud-"+hash[:10]; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := naming.Name(strings.Repeat("a", 51)+"-b", 63, hash); len(got) > 63 || strings.Contains(got, "--") {
		t.Errorf("cut badly: %s", got)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reason, platform, kind, name string
		ok                           bool
	}{
		{"plain", "sagemaker", "endpoint", "fraud-v2", true},
		{"underscores are not allowed by EndpointName", "sagemaker", "endpoint", "fraud_v2", false},
		{"64 characters", "sagemaker", "model", strings.Repeat("a", 64), false},
		{"an underscore is allowed in a Vertex AI model id", "vertex_ai", "model", "fraud_v2", true},
		{"upper case is not allowed by DNS", "kubernetes", "endpoint", "Fraud", false},
	} {
		if err := naming.Check(c.platform, c.kind, c.name); (err == nil) != c.ok {
			t.Errorf("%s: %s %s %q: %v", c.reason, c.platform, c.kind, c.name, err)
		}
	}
}

// A name made of an allowed one is allowed, whatever is cut.
func FuzzName(f *testing.F) {
	f.Add("fraud", "x")
	f.Add("---", "")
	f.Add("a"+strings.Repeat("-b", 31), "y")
	f.Add(strings.Repeat("a", 50)+"--b", "z")
	f.Add(strings.Repeat("é", 80), "y")
	f.Fuzz(func(t *testing.T, base, content string) {
		name := naming.Name(base, 63, naming.Hash(content))
		if len(name) > 63 {
			t.Errorf("%q is longer than 63", name)
		}
		for _, platform := range []string{"sagemaker", "kubernetes"} {
			if naming.Check(platform, "endpoint", base) == nil && naming.Check(platform, "endpoint", name) != nil {
				t.Errorf("%s allows %q and not %q", platform, base, name)
			}
		}
	})
}
