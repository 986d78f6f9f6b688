// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package acceptance_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
)

// endpoint is the configuration of ml_endpoint.fraud with one deployment.
func endpoint(deployment string, more ...string) string {
	return endpointWith("main = {\n model = ml_model.fraud.version_id\n "+deployment+"\n }", more...)
}

func endpointWith(deployments string, more ...string) string {
	return fmt.Sprintf("resource \"ml_endpoint\" \"fraud\" {\n  platform = \"sagemaker\"\n  name = \"fraud\"\n  deployments = {\n%s\n}\n  %s\n}\n",
		deployments, strings.Join(more, "\n  "))
}

const (
	large  = `compute = { instance_type = "ml.m5.large" }`
	scaled = large + "\n scaling = {\n min = 1\n max = 4\n metrics = [{ type = \"requests_per_replica\", target = 200 }, { type = \"cpu\", target = 60 }]\n }"
)

var text = knownvalue.StringExact

func number(n int64) knownvalue.Check { return knownvalue.Int64Exact(n) }

// TestEndpointUpdates changes one attribute at a time: each is an update in place,
// shows in the state, and leaves an empty plan.
func TestEndpointUpdates(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	base := r.Provider() + model(acctest.Model(t, "one"))
	step := func(config string, expect ...statecheck.StateCheck) resource.TestStep {
		return resource.TestStep{Config: base + config, ConfigStateChecks: expect,
			ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate, knows(theEndpoint, "id", "sagemaker/eu-west-1/fraud"))}
	}
	const main = "deployments.main."
	run(t,
		resource.TestStep{Config: base + endpoint(`compute = { cpu = 2, memory_gib = 8 }`),
			ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionCreate, knows(theEndpoint, main+"instance_type", "ml.m5.large"),
				leavesOpen(theEndpoint, main+"model_version"), leavesOpen(theEndpoint, "url")),
			ConfigStateChecks: []statecheck.StateCheck{
				has(theEndpoint, main+"model_version", text("1")), has(theEndpoint, main+"traffic", number(100)),
				has(theEndpoint, main+"scaling.min", number(1)), has(theEndpoint, "auth.mode", text("iam")), has(theEndpoint, "network.access", text("public")),
				has(theEndpoint, "url", text("https://runtime.sagemaker.eu-west-1.amazonaws.com/endpoints/fraud/invocations")),
				has(theEndpoint, "invoke_policy", knownvalue.NotNull()), has(theEndpoint, "sagemaker.execution_role_arn", knownvalue.NotNull())}},
		resource.TestStep{Config: base + endpoint(large), ConfigPlanChecks: changesNothing()}, // the same type, written out
		step(endpoint(`compute = { instance_type = "ml.m5.xlarge" }`), has(theEndpoint, main+"instance_type", text("ml.m5.xlarge"))),
		step(endpoint(large+"\n scaling = { min = 2 }"), has(theEndpoint, main+"scaling.max", number(2))),
		step(endpoint(scaled), has(theEndpoint, main+"scaling.max", number(4)), has(theEndpoint, main+"scaling.metrics", knownvalue.ListSizeExact(2))),
		step(endpoint(strings.Replace(scaled, "max = 4", "max = 6\n scale_in_cooldown = \"300s\"", 1)), has(theEndpoint, main+"scaling.scale_in_cooldown", text("300s"))),
		resource.TestStep{Config: base + endpoint(strings.Replace(scaled, "max = 4", "max = 6\n scale_in_cooldown = \"5m\"", 1)), ConfigPlanChecks: changesNothing()},
		step(endpoint(strings.Replace(scaled, "max = 4", `max = 4
			schedules = [{ name = "day", cron = "0 8 * * 1-5", min = 2, max = 6 }, { name = "night", cron = "0 20 * * *", timezone = "Europe/Berlin", min = 1, max = 2 }]`, 1)),
			has(theEndpoint, main+"scaling.schedules", knownvalue.ListSizeExact(2))),
		step(endpoint(large+"\n env = { THREADS = \"2\" }"), has(theEndpoint, main+"env.THREADS", text("2"))),
		step(endpoint(large, `labels = { team = "risk" }`), has(theEndpoint, "labels.team", text("risk"))),
		step(endpoint(large, `auth = { invokers = ["arn:aws:iam::123456789012:role/caller"] }`), has(theEndpoint, "auth.mode", text("iam"))),
		step(endpoint(large, `capture = { percent = 10, destination = "s3://capture/fraud" }`), has(theEndpoint, "capture.include", knownvalue.SetSizeExact(2))),
		step(endpoint(large, `network = { access = "private", subnets = ["subnet-0a", "subnet-0b"], security_groups = ["sg-0a"] }`), has(theEndpoint, "network.access", text("private"))),
		step(endpoint(large, `encryption = { key = "arn:aws:kms:eu-west-1:123456789012:key/5f5c2ed4-0d2f-4b4e-9a5e-6f1f6d3c2b1a" }`), has(theEndpoint, "encryption.key", knownvalue.NotNull())),
		step(endpoint(large, `sagemaker = { execution_role_arn = "arn:aws:iam::123456789012:role/other", network_isolation = true }`), has(theEndpoint, "sagemaker.network_isolation", knownvalue.Bool(true))),
		step(endpoint(large, `rollout = { strategy = "blue_green", interval = "1m" }`), has(theEndpoint, "rollout.on_failure", text("rollback"))),
		step(endpoint(large, `timeouts = { update = "20m" }`), has(theEndpoint, "timeouts.update", text("20m"))),
	)
}

// TestEndpointRollout publishes a version and expects the endpoint to move to it.
func TestEndpointRollout(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	config := func(content string) string {
		return r.Provider() + model(acctest.Model(t, content)) + endpoint(scaled)
	}
	run(t,
		resource.TestStep{Config: config("one")},
		resource.TestStep{Config: config("two"),
			ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate, leavesOpen(theEndpoint, "deployments.main.model"),
				knows(theEndpoint, "deployments.main.instance_type", "ml.m5.large"),
				knows(theEndpoint, "url", "https://runtime.sagemaker.eu-west-1.amazonaws.com/endpoints/fraud/invocations")),
			ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.main.model_version", text("2"))}},
	)
}

// TestEndpointSeveralDeployments shares and copies requests.
func TestEndpointSeveralDeployments(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	base := r.Provider() + model(acctest.Model(t, "one"))
	two := func(a, b string) string {
		deployment := "%s = {\n model = ml_model.fraud.version_id\n " + large + "\n %s\n }\n"
		return base + endpointWith(fmt.Sprintf(deployment+deployment, "blue", a, "green", b))
	}
	run(t,
		resource.TestStep{Config: two("traffic = 90", "traffic = 10"), ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.green.traffic", number(10))}},
		resource.TestStep{Config: two("traffic = 60", "traffic = 40"), ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.blue.traffic", number(60))}},
		resource.TestStep{Config: two("traffic = 100", "mirror = 20"), ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.green.mirror", number(20)), has(theEndpoint, "deployments.green.traffic", number(0))}},
		resource.TestStep{Config: base + endpoint(large), ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments", knownvalue.MapSizeExact(1))}},
	)
}

// TestEndpointReplacement changes what an endpoint has from its creation on.
func TestEndpointReplacement(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]struct{ config, reason string }{
		"name":       {strings.Replace(endpoint(large), `name = "fraud"`, `name = "churn"`, 1), "the name is the platform's id"},
		"serverless": {endpoint("", `sagemaker = { serverless = { memory_mb = 2048, max_concurrency = 5 } }`), "an endpoint with instances cannot lose them"},
		"async":      {endpoint(large, `sagemaker = { async = { output_uri = "s3://answers/fraud" } }`), "answers come directly or into a bucket"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := acctest.NewRehearsal(t)
			base := r.Provider() + model(acctest.Model(t, "one"))
			run(t,
				resource.TestStep{Config: base + endpoint(large)},
				resource.TestStep{Config: base + change.config, ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionDestroyBeforeCreate, leavesOpen(theEndpoint, "url"))},
			)
			t.Log(change.reason)
		})
	}
}

// TestEndpointDestroyLeavesNothing looks at the platform, not at the state.
func TestEndpointDestroyLeavesNothing(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	resource.UnitTest(t, resource.TestCase{ProtoV6ProviderFactories: acctest.Factories(),
		Steps:        []resource.TestStep{{Config: r.Provider() + model(acctest.Model(t, "one")) + endpoint(scaled)}},
		CheckDestroy: func(*terraform.State) error { return r.Empty(t) }})
}

// TestProviderLabels go on everything, and their change alone is a change.
func TestProviderLabels(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	file := acctest.Model(t, "one")
	config := func(labels string) string {
		return r.Provider("labels = { "+labels+" }") + model(file, `labels = { own = "1" }`) + endpoint(large)
	}
	both := func(check knownvalue.Check) []statecheck.StateCheck {
		return []statecheck.StateCheck{has(theEndpoint, "effective_labels", check), has(theEndpoint, "labels", knownvalue.Null()),
			has(theModel, "labels", knownvalue.MapSizeExact(1))}
	}
	exact := func(k, v string) knownvalue.Check {
		return knownvalue.MapExact(map[string]knownvalue.Check{k: text(v)})
	}
	run(t,
		resource.TestStep{Config: config(`env = "test"`), ConfigStateChecks: both(exact("env", "test"))},
		resource.TestStep{Config: config(`stage = "live"`), ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate), ConfigStateChecks: both(exact("stage", "live"))},
	)
	_, err := r.SageMaker().DescribeEndpoint(t.Context(), &sagemaker.DescribeEndpointInput{EndpointName: aws.String("fraud")})
	if err == nil {
		t.Error("the endpoint has survived its destruction")
	}
}
