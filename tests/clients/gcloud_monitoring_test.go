// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clients_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGcloudMonitoring: alert policies are made, found by their name and removed. What
// else there is of Cloud Monitoring this gcloud has no commands for.
func TestGcloudMonitoring(t *testing.T) {
	t.Parallel()
	g, strays := newGcloudAI(t)
	base := ""
	for _, v := range g.env {
		if url, ok := strings.CutPrefix(v, "CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM="); ok {
			base = url
		}
	}
	g.env = append(g.env, "CLOUDSDK_API_ENDPOINT_OVERRIDES_MONITORING="+base)
	const filter = `metric.type=\"custom.googleapis.com/load\" AND resource.type=\"global\"`
	file := filepath.Join(t.TempDir(), "policy.json")
	policy := `{"displayName":"load","combiner":"OR","conditions":[{"displayName":"high","conditionThreshold":{"filter":"` + filter + `","comparison":"COMPARISON_GT","thresholdValue":0.5,"duration":"0s"}}]}`
	if err := os.WriteFile(file, []byte(policy), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(t.TempDir(), "bad.json")
	if err := os.WriteFile(bad, []byte(strings.Replace(policy, "metric.type", "resource.type", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	g.shows("alpha monitoring policies create --policy-from-file="+file, "Created alert policy")
	g.shows("alpha monitoring policies list --filter=displayName=load", "displayName: load", "enabled: true")
	g.refuses("must specify exactly one metric type", "alpha monitoring policies create --policy-from-file="+bad)
	out, err := g.run("alpha monitoring policies list --format=value(name)")
	if err != nil {
		t.Fatal(err)
	}
	g.says("", "alpha monitoring policies delete "+strings.TrimSpace(out))
	g.refuses("NOT_FOUND", "alpha monitoring policies describe "+strings.TrimSpace(out))
	if n := strays.Load(); n > 0 {
		t.Errorf("gcloud has tried %d times to reach what is not on loopback", n)
	}
}
