// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package acceptance_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
)

func withDigest(config, digest string) string {
	return strings.Replace(config, `format = "onnx"`, `format = "onnx", sha256 = "`+digest+`"`, 1)
}

// TestPlanRefuses holds plans to promise 6: what cannot work is refused before
// anything is created, where the configuration says it.
func TestPlanRefuses(t *testing.T) {
	t.Parallel()
	good := acctest.Model(t, "one")
	const key = `encryption = { key = "arn:aws:kms:eu-west-1:123456789012:key/5f5c2ed4-0d2f-4b4e-9a5e-6f1f6d3c2b1a" }`
	two := func(a, b string) string {
		return endpointWith("blue = {\n model = ml_model.fraud.version_id\n" + large + "\n" + a + "\n }\n green = {\n model = ml_model.fraud.version_id\n" + large + "\n" + b + "\n }")
	}
	cases := map[string]struct{ config, says, at string }{
		"traffic sum":              {model(good) + two("traffic = 60", "traffic = 60"), "adds up to 120 percent", "deployments"},
		"traffic missing":          {model(good) + two("traffic = 60", ""), "one of several deployments needs its share", `deployments["green"].traffic`},
		"unknown instance type":    {model(good) + endpoint(`compute = { instance_type = "ml.m5.lagre" }`), `Did you mean ml.m5.large`, `deployments["main"].compute.instance_type`},
		"impossible compute":       {model(good) + endpoint(`compute = { cpu = 9000 }`), "no instance type for deployment main", `deployments["main"].compute`},
		"impossible accelerator":   {model(good) + endpoint(`compute = { accelerator = { type = "nvidia-l4", count = 9 } }`), "no instance type for deployment main", `deployments["main"].compute`},
		"wrong digest":             {withDigest(model(good), strings.Repeat("0", 64)), "is asked for", "artifact.sha256"},
		"not a digest":             {withDigest(model(good), "abc"), "SHA-256", "artifact.sha256"},
		"missing file":             {model("/nowhere/model.onnx"), "cannot read the artifact", "artifact.uri"},
		"unknown format":           {strings.Replace(model(good), `"onnx"`, `"onyx"`, 1), "onyx", "artifact.format"},
		"no runtime":               {strings.Replace(model(good), `"onnx"`, `"custom"`, 1), `format "custom" implies no runtime`, "serving: "},
		"bad model name":           {strings.Replace(model(good), `"fraud"`+"\n  artifact", `"fr_aud"`+"\n  artifact", 1), "fr_aud", "name: "},
		"bad endpoint name":        {model(good) + strings.Replace(endpoint(large), `name = "fraud"`, `name = "-fraud"`, 1), "-fraud", "name: "},
		"bad region":               {model(good, `location = "Ireland"`), "not the name of an AWS region", "location: "},
		"version missing":          {strings.Replace(endpoint(large), "ml_model.fraud.version_id", `"sagemaker/eu-west-1/fraud@9"`, 1), "version sagemaker/eu-west-1/fraud@9 does not exist", `deployments["main"].model`},
		"version elsewhere":        {strings.Replace(endpoint(large), "ml_model.fraud.version_id", `"kubernetes/default/fraud@1"`, 1), "is on kubernetes, and this endpoint is on sagemaker", `deployments["main"].model`},
		"version in other region":  {strings.Replace(endpoint(large), "ml_model.fraud.version_id", `"sagemaker/us-east-1/fraud@1"`, 1), "is in us-east-1, and this endpoint is in eu-west-1", `deployments["main"].model`},
		"key on local disks":       {model(good) + endpoint(`compute = { instance_type = "ml.g5.xlarge" }`, key), "takes no key for ml.g5.xlarge", "encryption.key"},
		"min over max":             {model(good) + endpoint(large+"\n scaling = {\n min = 5\n max = 2\n metrics = [{ type = \"cpu\", target = 50 }]\n }"), "min (5) is more than max (2)", `deployments["main"].scaling.min`},
		"nothing scales":           {model(good) + endpoint(large+"\n scaling = { min = 1, max = 2 }"), "nothing that would choose between them", `deployments["main"].scaling.metrics`},
		"unknown metric":           {model(good) + endpoint(large+"\n scaling = { min = 1, max = 2, metrics = [{ type = \"load\", target = 50 }] }"), "load", `deployments["main"].scaling.metrics[0].type`},
		"scale to zero":            {model(good) + endpoint(large+"\n scaling = { min = 0, max = 2, metrics = [{ type = \"cpu\", target = 50 }] }"), "keeps at least one replica", `deployments["main"].scaling.min`},
		"bad cron":                 {model(good) + endpoint(large+"\n scaling = { min = 1, max = 2, schedules = [{ name = \"x\", cron = \"61 8 * * *\", min = 1, max = 2 }] }"), "cron expression of five fields", `deployments["main"].scaling.schedules[0].cron`},
		"bad timezone":             {model(good) + endpoint(large+"\n scaling = { min = 1, max = 2, schedules = [{ name = \"x\", cron = \"1 8 * * *\", timezone = \"Mars/Base\", min = 1, max = 2 }] }"), "IANA time zone", `deployments["main"].scaling.schedules[0].timezone`},
		"key auth":                 {model(good) + endpoint(large, `auth = { mode = "key" }`), "signed with AWS credentials", "auth.mode"},
		"no auth":                  {model(good) + endpoint(large, `auth = { mode = "none" }`), "signed with AWS credentials", "auth.mode"},
		"spot":                     {model(good) + endpoint(`compute = { instance_type = "ml.m5.large", spot = true }`), "on-demand capacity only", `deployments["main"].compute.spot`},
		"private without subnets":  {model(good) + endpoint(large, `network = { access = "private" }`), "needs subnets", "network.subnets"},
		"other platform's options": {model(good) + endpoint(large, `vertex_ai = { dedicated = true }`), "sagemaker", "vertex_ai"},
		"bad duration":             {model(good) + endpoint(large, `request_timeout = "soon"`), "not a valid Go Time Duration", "request_timeout = "},
		"negative timeout":         {model(good) + endpoint(large, `timeouts = { create = "-5m" }`), "above zero", "timeouts.create"},
		"bad JSONPath":             {model(good) + endpoint(large, `smoke_test = { request = "{}", expect = { json = { "$.[" = "x" } } }`), "JSONPath", `smoke_test.expect.json`},
		"check without test":       {model(good) + endpoint(large, `rollout = { checks = { smoke_test = true } }`), "there is no smoke_test to check", "rollout.checks.smoke_test"},
		"canary on one replica":    {model(good) + endpoint(large, `rollout = { strategy = "canary", steps = [10] }`), "at least 2 replicas", `deployments["main"].scaling.min`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := acctest.NewRehearsal(t)
			run(t, resource.TestStep{Config: r.Provider() + c.config, PlanOnly: true,
				ExpectError: regexp.MustCompile(`(?s)` + regexp.QuoteMeta(c.at) + `.*` + words(c.says))})
			if calls := acctest.Mutations(r.Calls(t)); len(calls) > 0 {
				t.Errorf("the plan changed something: %v", calls)
			}
		})
	}
}
