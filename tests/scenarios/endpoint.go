// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package scenarios

import (
	"fmt"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
)

// updates changes one attribute at a time: each is an update in place, shows in the
// state, and leaves an empty plan.
func updates(t *testing.T, p *Platform) {
	t.Helper()
	base := p.Provider() + p.Model(t, 1)
	update := func(config string, expect ...statecheck.StateCheck) resource.TestStep {
		return resource.TestStep{Config: base + config, ConfigStateChecks: expect, ConfigPlanChecks: updated(knows(theEndpoint, "id", p.id("")))}
	}
	steps := []resource.TestStep{
		{Config: base + Endpoint(Small),
			ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionCreate, leavesOpen(theEndpoint, main+"model_version")),
			ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, main+"model_version", text("1")), has(theEndpoint, main+"traffic", number(100)),
				has(theEndpoint, main+"scaling.min", number(1)), has(theEndpoint, "auth.mode", text("iam")), has(theEndpoint, "url", knownvalue.NotNull()),
				has(theEndpoint, "invoke_policy", knownvalue.NotNull()), has(theEndpoint, "kubernetes.serving", text(p.Serving))}},
		update(Endpoint(larger)),
		update(Endpoint(Small+"scaling = { min = 2 }"), has(theEndpoint, main+"scaling.max", number(2))),
		update(Endpoint(scaled), has(theEndpoint, main+"scaling.max", number(4)), has(theEndpoint, main+"scaling.metrics", knownvalue.ListSizeExact(1))),
		update(Endpoint(Small+"env = { THREADS = \"2\" }"), has(theEndpoint, main+"env.THREADS", text("2"))),
		update(Endpoint(Small, `labels = { team = "risk" }`), has(theEndpoint, "labels.team", text("risk"))),
		update(Endpoint(Small, `auth = { invokers = ["group:risk"] }`), has(theEndpoint, "auth.mode", text("iam"))),
		update(Endpoint(Small, Open), has(theEndpoint, "auth.mode", text("none")), has(theEndpoint, "invoke_policy", knownvalue.Null())),
		update(Endpoint(Small, Open, `network = { access = "private", allowed_namespaces = ["callers"] }`), has(theEndpoint, "network.access", text("private"))),
		update(Endpoint(Small, Open, `kubernetes = { node_selector = { "kubernetes.io/os" = "linux" }, tolerations = [{ key = "gpu", operator = "Exists" }] }`),
			has(theEndpoint, "kubernetes.node_selector", knownvalue.MapSizeExact(1))),
		update(Endpoint(Small, Open, `timeouts = { update = "20m" }`), has(theEndpoint, "timeouts.update", text("20m"))),
	}
	if p.Serving == "deployment" {
		longer := strings.Replace(scaled, "max = 4", "max = 4\n scale_in_cooldown = \"300s\"", 1)
		steps = append(steps, update(Endpoint(longer, Open), has(theEndpoint, main+"scaling.scale_in_cooldown", text("300s"))),
			step(base+Endpoint(strings.Replace(longer, "300s", "5m", 1), Open), changesNothing()))
	}
	limited := Endpoint(Small, Open, `request_timeout = "20s"`)
	switch {
	case p.Extended:
		steps = append(steps, update(limited, has(theEndpoint, "request_timeout", text("20s"))))
	case p.Gateway:
		steps = append(steps, resource.TestStep{Config: base + limited, PlanOnly: true, ExpectError: pattern("request_timeout", "HTTPRouteRequestTimeout")})
	}
	run(t, steps...)
}

// rollout publishes a version and expects the endpoint to move to it.
func rollout(t *testing.T, p *Platform) {
	t.Helper()
	run(t,
		resource.TestStep{Config: p.Provider() + p.Model(t, 1) + Endpoint(scaled)},
		resource.TestStep{Config: p.Provider() + p.Model(t, 2) + Endpoint(scaled),
			ConfigPlanChecks:  updated(leavesOpen(theEndpoint, main+"model")),
			ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, main+"model_version", text("2"))}},
	)
}

// several deployments share requests, where there is a gateway to share them out.
func several(t *testing.T, p *Platform) {
	t.Helper()
	base := p.Provider() + p.Model(t, 1)
	two := func(a, b string) string {
		deployment := "%s = {\n model = ml_model.fraud.version_id\n " + Small + "\n %s\n }\n"
		return base + EndpointWith(fmt.Sprintf(deployment+deployment, "blue", a, "green", b))
	}
	if !p.Gateway {
		run(t, resource.TestStep{Config: two("traffic = 90", "traffic = 10"), PlanOnly: true, ExpectError: pattern(`deployments["blue"].traffic`, "needs a gateway")},
			resource.TestStep{Config: two("traffic = 100", "traffic = 0"), ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.green.traffic", number(0))}},
			resource.TestStep{Config: two("traffic = 0", "traffic = 100"), ConfigPlanChecks: updated(), ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.green.traffic", number(100))}})
		return
	}
	steps := []resource.TestStep{
		{Config: two("traffic = 90", "traffic = 10"), ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.green.traffic", number(10))}},
		{Config: two("traffic = 60", "traffic = 40"), ConfigPlanChecks: updated(), ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.blue.traffic", number(60))}},
	}
	if p.Extended {
		steps = append(steps, resource.TestStep{Config: two("traffic = 100", "mirror = 20"), ConfigPlanChecks: updated(),
			ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.green.mirror", number(20)), has(theEndpoint, "deployments.green.traffic", number(0))}})
	}
	if !p.Extended {
		steps = append(steps, resource.TestStep{Config: two("traffic = 100", "mirror = 20"), PlanOnly: true, ExpectError: pattern(`deployments["green"].mirror`, "HTTPRouteRequestMirror")})
	}
	run(t, append(steps, resource.TestStep{Config: base + Endpoint(Small), ConfigPlanChecks: updated(),
		ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments", knownvalue.MapSizeExact(1))}})...)
}

// replacement changes what an endpoint and a model are called.
func replacement(t *testing.T, p *Platform) {
	t.Helper()
	base := p.Provider() + p.Model(t, 1)
	replaced := plans(theEndpoint, plancheck.ResourceActionDestroyBeforeCreate)
	run(t,
		resource.TestStep{Config: base + Endpoint(Small)},
		step(base+strings.Replace(Endpoint(Small), `name = "fraud"`, `name = "churn"`, 1), replaced),
		resource.TestStep{Config: p.Provider() + strings.Replace(p.Model(t, 1), `name = "fraud"`, `name = "churn"`, 1) + Endpoint(Small),
			ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: append(replaced.PreApply, plancheck.ExpectResourceAction(theModel, plancheck.ResourceActionDestroyBeforeCreate))}},
	)
}

// labels of the provider go on everything, and their change alone is a change.
func labels(t *testing.T, p *Platform) {
	t.Helper()
	config := func(labels string) string {
		return p.Provider("labels = { "+labels+" }") + p.Model(t, 1, `labels = { own = "1" }`) + Endpoint(Small)
	}
	effective := func(k, v string) []statecheck.StateCheck {
		return []statecheck.StateCheck{has(theEndpoint, "effective_labels", knownvalue.MapExact(map[string]knownvalue.Check{k: text(v)})), has(theEndpoint, "labels", knownvalue.Null()),
			has(theModel, "labels", knownvalue.MapSizeExact(1))}
	}
	run(t,
		resource.TestStep{Config: config(`env = "test"`), ConfigStateChecks: effective("env", "test")},
		resource.TestStep{Config: config(`stage = "live"`), ConfigPlanChecks: updated(), ConfigStateChecks: effective("stage", "live")},
	)
}

// unknown leaves to the apply what other resources decide: the provider's own
// configuration, the artifact and parts of the endpoint.
func unknown(t *testing.T, p *Platform) {
	t.Helper()
	file := acctest.Example(t, "quickstart/model/fraud-v1.onnx")
	later := fmt.Sprintf("resource \"terraform_data\" \"later\" {\n  input = { namespace = %q, file = %q, label = \"risk\", cpu = 0.02 }\n}\n", p.Namespace, file)
	config := later + strings.Replace(p.Provider(), fmt.Sprintf("namespace = %q", p.Namespace), "namespace = terraform_data.later.output.namespace", 1) +
		strings.Replace(p.Model(t, 1, `labels = { team = terraform_data.later.output.label }`), fmt.Sprintf("%q", file), "terraform_data.later.output.file", 1) +
		Endpoint("compute = { cpu = terraform_data.later.output.cpu, memory_gib = 0.0625 }", `labels = { team = terraform_data.later.output.label }`)
	run(t,
		resource.TestStep{Config: config, ConfigPlanChecks: plans(theModel, plancheck.ResourceActionCreate, leavesOpen(theModel, "location")),
			ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version_id", text(p.id("@1"))), has(theEndpoint, main+"model_version", text("1"))}},
		step(config, changesNothing()))
}

// approval: a plan refuses to serve what will not be approved, and allows what the
// same plan approves.
func approval(t *testing.T, p *Platform) {
	t.Helper()
	of := func(a string) string { return p.Provider() + p.Model(t, 1, `approval = "`+a+`"`) }
	run(t,
		resource.TestStep{Config: of("pending")},
		resource.TestStep{Config: of("pending") + Endpoint(Small), PlanOnly: true, ExpectError: pattern(`deployments["main"].model`, "only an approved version may be served")},
		resource.TestStep{Config: of("approved") + Endpoint(Small)},
		resource.TestStep{Config: of("rejected") + strings.Replace(Endpoint(Small), "main = {", "other = {", 1), PlanOnly: true, ExpectError: pattern("only an approved version may be served")},
	)
}
