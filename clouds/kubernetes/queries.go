// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"maps"
	"slices"
	"strings"
	"text/template"
	"time"

	"github.com/prometheus/common/model"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// Queries ask a Prometheus how a deployment has answered. Each is PromQL that returns
// one number at the end of the time that it is about, with these placeholders:
// {{ namespace }}, {{ endpoint }} and {{ deployment }}, which are the user's names;
// {{ service }} and {{ workload }}, which are the Service that requests to the
// deployment are sent to and the Kubernetes Deployment that answers; and
// {{ interval }}, how long the time is ("1m30s").
type Queries struct {
	Requests string // how many requests were answered
	Errors   string // how many of them with a status of 500 and above, or not at all
	Latency  string // 95th percentile of how long they took, in seconds
}

// preset are the queries of what counts requests in many clusters.
type preset struct {
	metric string // by which a Prometheus that has it is known
	Queries
}

// presets are the values of Prometheus.Metrics.
var presets = map[string]preset{
	"istio":   istio(),
	"traefik": traefik(),
}

// Presets are the names of metrics that the queries are known of.
func Presets() []string { return slices.Sorted(maps.Keys(presets)) }

// istio counts at the client's side, a gateway or a sidecar: the server's does not know
// of requests that no pod was there for.
// https://istio.io/latest/docs/reference/config/metrics/
func istio() preset {
	const of = `reporter="source",destination_service_namespace="{{ namespace }}",destination_service_name="{{ service }}",destination_workload=~"{{ workload }}|unknown"`
	return preset{"istio_requests_total", Queries{
		Requests: "sum(" + counted("istio_requests_total{"+of+"}") + ")",
		Errors:   "sum(" + counted(`istio_requests_total{`+of+`,response_code=~"5..|0"}`) + ")",
		Latency:  "histogram_quantile(0.95, sum by (le) (" + counted("istio_request_duration_milliseconds_bucket{"+of+"}") + ")) / 1000",
	}}
}

// traefik names what it sends to by namespace, Service and port. A Prometheus that finds
// Traefik by its Service gives the label "service" another meaning, and keeps
// Traefik's as "exported_service".
// https://doc.traefik.io/traefik/observability/metrics/overview/
func traefik() preset {
	both := func(metric, more string) string {
		var parts []string
		for _, label := range []string{"service", "exported_service"} {
			parts = append(parts, counted(metric+`{`+label+`=~"{{ namespace }}-{{ service }}-http-[0-9]+@kubernetesgateway"`+more+`}`))
		}
		return strings.Join(parts, " or ")
	}
	return preset{"traefik_service_requests_total", Queries{
		Requests: "sum(" + both("traefik_service_requests_total", "") + ")",
		Errors:   "sum(" + both("traefik_service_requests_total", `,code=~"5.."`) + ")",
		Latency:  "histogram_quantile(0.95, sum by (le) (" + both("traefik_service_request_duration_seconds_bucket", "") + "))",
	}}
}

// counted is what counters have counted in the interval. increase() extrapolates, and
// misses the first request that a new series begins with: of a canary's few errors
// it would not see one.
func counted(selector string) string {
	return "((" + selector + " - " + selector + " offset {{ interval }}) >= 0 or " + selector + ")"
}

// subject is what a query is about.
type subject struct {
	namespace, endpoint, deployment, service, workload string
	interval                                           time.Duration
}

// filled is a query with its placeholders filled in.
func (s *subject) filled(query string) (string, error) {
	var b strings.Builder
	t, err := parsed(query, s)
	if err == nil {
		err = t.Execute(&b, nil)
	}
	return b.String(), err
}

func parsed(query string, s *subject) (*template.Template, error) {
	says := func(text string) func() string { return func() string { return text } }
	return template.New("query").Funcs(template.FuncMap{
		"namespace": says(s.namespace), "endpoint": says(s.endpoint), "deployment": says(s.deployment), "service": says(s.service), "workload": says(s.workload),
		"interval": says(model.Duration(s.interval.Round(time.Millisecond)).String()),
	}).Parse(query)
}

// check refuses queries that cannot be filled in. Whether they are PromQL Prometheus
// says, at plan.
func (q *Queries) check() error {
	var all mlerr.List
	if q.Requests == "" {
		all.Add(mlerr.New(mlerr.InvalidArgument, "prometheus.queries needs requests: without it nobody knows whether there were any").At("prometheus.queries.requests"))
	}
	for name, query := range map[string]string{"requests": q.Requests, "errors": q.Errors, "latency": q.Latency} {
		if _, err := parsed(query, &subject{}); err != nil {
			all.Add(mlerr.New(mlerr.InvalidArgument, "prometheus.queries.%s has something other than a placeholder in {{ }}", name).Because(err).At("prometheus.queries.%s", name).
				WithHint("Use {{ namespace }}, {{ endpoint }}, {{ deployment }}, {{ service }}, {{ workload }} and {{ interval }}"))
		}
	}
	return all.Err()
}
