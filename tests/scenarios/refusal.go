// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package scenarios

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
)

// refusals holds plans to promise 6: what cannot work is refused before anything is
// created, where the configuration says it.
func refusals(t *testing.T, p *Platform) {
	t.Helper()
	good := p.Model(t, 1)
	metrics := func(scaling string) string { return Endpoint(Small + "scaling = { " + scaling + " }") }
	cases := map[string]struct{ config, says, at string }{
		"bad endpoint name":      {good + strings.Replace(Endpoint(Small), `name = "fraud"`, `name = "Fraud"`, 1), "Fraud", "name: "},
		"long endpoint name":     {good + strings.Replace(Endpoint(Small), `name = "fraud"`, `name = "`+strings.Repeat("f", 51)+`"`, 1), "too long", "name: "},
		"bad model name":         {strings.Replace(good, `"fraud"`+"\n  artifact", `"fr_aud"`+"\n  artifact", 1), "fr_aud", "name: "},
		"no such namespace":      {good + strings.Replace(Endpoint(Small), `name = "fraud"`, "name = \"fraud\"\n location = \"nowhere\"", 1), "", "location"},
		"version missing":        {strings.Replace(Endpoint(Small), "ml_model.fraud.version_id", `"`+p.id("@9")+`"`, 1), "does not exist", `deployments["main"].model`},
		"version elsewhere":      {strings.Replace(Endpoint(Small), "ml_model.fraud.version_id", `"sagemaker/eu-west-1/fraud@1"`, 1), "is on sagemaker", `deployments["main"].model`},
		"scale to zero":          {good + metrics("min = 0, max = 2, metrics = [{ type = \"cpu\", target = 50 }]"), "keeps at least 1 of a deployment's replicas", `deployments["main"].scaling.min`},
		"schedules":              {good + metrics("min = 1, max = 2, schedules = [{ name = \"x\", cron = \"1 8 * * *\", min = 1, max = 2 }]"), "KEDA", `deployments["main"].scaling.schedules`},
		"key of one's own":       {good + Endpoint(Small, `encryption = { key = "projects/x" }`), "encrypts at rest", "encryption.key"},
		"capture":                {good + Endpoint(Small, `capture = { percent = 10, destination = "s3://x/y" }`), "records requests", "capture"},
		"token auth":             {good + Endpoint(Small, `auth = { mode = "token" }`), "issues no tokens", "auth.mode"},
		"oidc without issuer":    {good + Endpoint(Small, `auth = { mode = "oidc" }`), "whose tokens to accept", "auth.oidc"},
		"mtls without authority": {good + Endpoint(Small, `auth = { mode = "mtls" }`, `network = { access = "private" }`), "needs a certificate and an authority", "encryption.tls"},
		"unknown accelerator":    {good + Endpoint(`compute = { cpu = 0.02, memory_gib = 0.0625, accelerator = { type = "nvidia-z9" } }`), "nvidia-z9", `deployments["main"].compute.accelerator.type`},
		"no priority class":      {good + Endpoint(Small, `kubernetes = { priority_class = "urgent" }`), "urgent", "kubernetes.priority_class"},
		"no runtime class":       {good + Endpoint(Small, `kubernetes = { runtime_class = "gvisor" }`), "gvisor", "kubernetes.runtime_class"},
		"other platform's":       {good + Endpoint(Small, `sagemaker = { network_isolation = true }`), "SageMaker", "sagemaker"},
		"bad label":              {good + Endpoint(Small, `labels = { team = "risk and fraud" }`), "cannot be the value of a label", "labels"},
	}
	if p.Serving == "kserve" {
		cases["namespace too long for host names"] = struct{ config, says, at string }{good + strings.Replace(Endpoint(Small), `name = "fraud"`, "name = \"fraud\"\n location = \""+strings.Repeat("n", 41)+"\"", 1), "too long for the name of a namespace with KServe", "location"}
	}
	if p.Serving == "deployment" {
		cases["no metrics adapter"] = struct{ config, says, at string }{good + metrics("min = 1, max = 2, metrics = [{ type = \"requests_per_replica\", target = 50 }]"),
			"custom.metrics.k8s.io", `deployments["main"].scaling.metrics`}
	}
	if !p.Gateway {
		cases["key auth without a gateway"] = struct{ config, says, at string }{good + Endpoint(Small, `auth = { mode = "key" }`), "needs a gateway", "auth.mode"}
		cases["timeout without a gateway"] = struct{ config, says, at string }{good + Endpoint(Small, `request_timeout = "5s"`), "needs a gateway", "request_timeout"}
		cases["canary without a gateway"] = struct{ config, says, at string }{good + Endpoint(Small+"scaling = { min = 2 }", `rollout = { strategy = "canary", steps = [10] }`), "needs a gateway", "rollout.strategy"}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			run(t, resource.TestStep{Config: p.Provider() + c.config, PlanOnly: true, ExpectError: regexp.MustCompile(`(?s)` + regexp.QuoteMeta(c.at) + `.*` + acctest.Words(c.says))})
		})
	}
	made, err := p.of(t, records).List(context.WithoutCancel(t.Context()), metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=terraform-provider-ml"})
	if err != nil || len(made.Items) > 0 {
		t.Errorf("plans have made %d records, %v", len(made.Items), err)
	}
}
