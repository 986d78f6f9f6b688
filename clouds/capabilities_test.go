// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"strings"
	"testing"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

func TestCapabilityTable(t *testing.T) {
	t.Parallel()
	f := &driver.Features{Platform: driver.VertexAI, Gaps: []driver.Gap{
		{Path: "deployments.*.mirror", Reason: "has no shadow traffic", Alternative: "Use two endpoints."},
		{Path: "auth.mode", Values: []string{"mtls"}, Reason: "has no mutual TLS", Alternative: "Use iam."},
	}}
	table := CapabilityTable(map[driver.Platform]*driver.Features{driver.VertexAI: f, driver.SageMaker: {Platform: driver.SageMaker}})
	lines := strings.Split(strings.TrimSuffix(table, "\n"), "\n")
	if lines[0] != "| capability | `sagemaker` | `vertex_ai` | `azure_ml` | `kubernetes` |" {
		t.Errorf("the header is %q", lines[0])
	}
	for _, want := range []string{
		"| Shadow traffic (`mirror`) | yes | no [1] | planned | planned |",
		"| Auth `mtls` | yes | no [2] | planned | planned |",
		"| Auth `iam` | yes | yes | planned | planned |",
		"1. `vertex_ai` has no shadow traffic. Use two endpoints.",
		"2. `vertex_ai` has no mutual TLS. Use iam.",
	} {
		found := false
		for _, line := range lines {
			found = found || line == want
		}
		if !found {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	for i, line := range lines[:2+len(capabilities)] {
		if strings.Count(line, "|") != 2+len(driver.Platforms()) {
			t.Errorf("line %d has another number of columns: %q", i, line)
		}
	}
}

// TestEveryUseOfTheTableIsReal compares the table's paths with those that plans
// are checked against: a row about a path that nothing reports says yes for ever.
func TestEveryUseOfTheTableIsReal(t *testing.T) {
	t.Parallel()
	model := &driver.ModelSpec{AzureML: &driver.AzureMLModel{Registry: "r"}, Aliases: []string{"a"}, Approval: driver.Pending, Metadata: map[string]string{"a": "b"},
		Serving: driver.Serving{Image: "x", Command: []string{"a"}, Args: []string{"b"}}}
	d := driver.Deployment{Name: "main", Mirror: 1, Env: map[string]string{"A": "b"}, Compute: driver.Compute{CPU: 1, Spot: true}}
	for _, m := range driver.MetricTypes() {
		d.Scaling.Metrics = append(d.Scaling.Metrics, driver.Metric{Type: m})
	}
	d.Scaling.Schedules = []driver.Schedule{{}}
	reported := map[string]bool{}
	for _, u := range modelUses(model) {
		reported[u.Path] = true
	}
	for _, strategy := range driver.Strategies() {
		for _, u := range endpointUses(&driver.EndpointSpec{Deployments: []driver.Deployment{d}, SmokeTest: &driver.SmokeTest{},
			Rollout: driver.Rollout{Strategy: strategy, Checks: driver.Checks{Alarms: []string{"a"}, MaxErrorRate: 1, MaxLatencyMS: 1}},
			Settings: driver.Settings{Network: driver.Network{Access: "private"}, Auth: driver.Auth{Mode: "iam"}, RequestTimeout: 1,
				Encryption: driver.Encryption{Key: "k", TLS: &driver.TLS{}}, Capture: &driver.Capture{}}}) {
			reported[u.Path] = true
		}
	}
	for _, c := range capabilities {
		for _, u := range c.uses {
			if !reported[u.Path] {
				t.Errorf("%q asks for %s, which no plan reports", c.name, u.Path)
			}
		}
	}
}
