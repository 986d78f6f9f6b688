// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

// capabilities are the rows of the capability table: what a user may want, and
// the uses that stand for it.
var capabilities = []struct {
	name string
	uses []driver.Use
}{
	{"Model versions, aliases, approval, metadata", []driver.Use{{Path: "aliases"}, {Path: "approval", Value: "pending"}, {Path: "metadata"}}},
	{"Custom container image", []driver.Use{{Path: "serving.image"}}},
	{"Container command and arguments", []driver.Use{{Path: "serving.command"}, {Path: "serving.args"}}},
	{"Several deployments, traffic in percent", nil},
	{"Shadow traffic (`mirror`)", []driver.Use{{Path: "deployments.main.mirror"}}},
	{"Exact and portable `compute`", []driver.Use{{Path: "deployments.main.compute.cpu"}}},
	{"Spot capacity", []driver.Use{{Path: "deployments.main.compute.spot", Value: "true"}}},
	{"Environment of a deployment", []driver.Use{{Path: "deployments.main.env"}}},
	{"Autoscaling by requests", metric(driver.MetricRequests)},
	{"Autoscaling by CPU", metric(driver.MetricCPU)},
	{"Autoscaling by memory", metric(driver.MetricMemory)},
	{"Autoscaling by GPU", metric(driver.MetricGPU)},
	{"Autoscaling by concurrency", metric(driver.MetricConcurrency)},
	{"Autoscaling by latency", metric(driver.MetricLatency)},
	{"Scheduled scaling", []driver.Use{{Path: "deployments.main.scaling.schedules"}}},
	{"Canary rollout", strategy(driver.Canary)},
	{"Linear rollout", strategy(driver.Linear)},
	{"Blue-green rollout", strategy(driver.BlueGreen)},
	{"Roll back on alarms", []driver.Use{{Path: "rollout.checks.alarms"}}},
	{"Roll back on error rate or latency", []driver.Use{{Path: "rollout.checks.max_error_rate"}, {Path: "rollout.checks.max_latency_ms"}}},
	{"Smoke test", []driver.Use{{Path: "smoke_test"}}},
	{"Customer-managed key", []driver.Use{{Path: "encryption.key"}}},
	{"Own TLS certificate", []driver.Use{{Path: "encryption.tls"}}},
	{"Auth `iam`", auth("iam")},
	{"Auth `key`", auth("key")},
	{"Auth `token`", auth("token")},
	{"Auth `oidc`", auth("oidc")},
	{"Auth `mtls`", auth("mtls")},
	{"Auth `none`", auth("none")},
	{"Private network", []driver.Use{{Path: "network.access", Value: "private"}}},
	{"Request capture", []driver.Use{{Path: "capture"}}},
	{"Azure ML's Kubernetes computes and registries", []driver.Use{{Path: "azure_ml"}}},
	{"Request timeout", []driver.Use{{Path: "request_timeout", Value: "30s"}}},
}

func metric(m driver.MetricType) []driver.Use {
	return []driver.Use{{Path: "deployments.main.scaling.metrics", Value: string(m)}}
}

func strategy(s driver.Strategy) []driver.Use {
	return []driver.Use{{Path: "rollout.strategy", Value: string(s)}}
}

func auth(mode string) []driver.Use { return []driver.Use{{Path: "auth.mode", Value: mode}} }

// CapabilityTable is the table of what each platform can do, in Markdown, from
// the same data that plans are checked against. Platforms without features are
// not answered by this release.
func CapabilityTable(all map[driver.Platform]*driver.Features) string {
	var b strings.Builder
	b.WriteString("| capability |")
	for _, p := range driver.Platforms() {
		fmt.Fprintf(&b, " `%s` |", p)
	}
	b.WriteString("\n| --- |" + strings.Repeat(" :-: |", len(driver.Platforms())) + "\n")
	var notes []string
	for _, c := range capabilities {
		fmt.Fprintf(&b, "| %s |", c.name)
		for _, p := range driver.Platforms() {
			cell := "planned"
			if f := all[p]; f != nil {
				cell = "yes"
				for _, u := range c.uses {
					if g := f.Gap(u); g != nil {
						note := fmt.Sprintf("`%s` %s. %s", p, g.Reason, g.Alternative)
						if !slices.Contains(notes, note) {
							notes = append(notes, note)
						}
						cell = fmt.Sprintf("no [%d]", slices.Index(notes, note)+1)
						break
					}
				}
			}
			fmt.Fprintf(&b, " %s |", cell)
		}
		b.WriteString("\n")
	}
	for i, note := range notes {
		fmt.Fprintf(&b, "\n%d. %s", i+1, note)
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}
