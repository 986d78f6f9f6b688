// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package acceptance_test

import (
	"fmt"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
)

// TestPrometheusConfiguration refuses, at plan, checks of a rollout that nobody can
// measure, and a Prometheus that is described in no way that it can be asked.
func TestPrometheusConfiguration(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ prometheus, says, at string }{
		"nobody measures":   {``, "PROMETHEUS_URL", "rollout.checks.max_error_rate"},
		"no query for it":   {`prometheus = { url = "http://127.0.0.1:9", queries = { requests = "sum(x)" } }`, "Add errors", "rollout.checks.max_error_rate"},
		"no address":        {`prometheus = { url = "prometheus:9090" }`, "prometheus.url must be like", ""},
		"no placeholder":    {`prometheus = { url = "http://127.0.0.1:9", queries = { requests = "sum(x{a=\"{{ name }}\"})" } }`, "{{ workload }}", ""},
		"two ways to count": {`prometheus = { url = "http://127.0.0.1:9", metrics = "istio", queries = { requests = "x" } }`, "cannot be specified when", ""},
		"metrics of nobody": {`prometheus = { url = "http://127.0.0.1:9", metrics = "nginx" }`, `"istio" "traefik"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			host := acctest.NewRehearsal(t).Kubernetes(t, "ml").Host // not in rehearsal, which has a Prometheus
			provider := fmt.Sprintf("provider \"ml\" {\n kubernetes = {\n host = %q\n namespace = \"ml\"\n staging_uri = \"s3://staging/models\"\n %s\n }\n}\n", host, c.prometheus)
			run(t, resource.TestStep{Config: provider + fmt.Sprintf(onCluster, acctest.Model(t, "one"), `rollout = { checks = { max_error_rate = 1 } }`),
				PlanOnly: true, ExpectError: pattern(c.at, c.says)})
		})
	}
}
