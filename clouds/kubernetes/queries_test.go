// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// scraped are the samples of two gateways, every half a minute.
const scraped = `
load 30s
  istio_requests_total{reporter="source",destination_service_namespace="ml",destination_service_name="new",destination_workload="new",response_code="200",pod="gateway-1"} _ 5 20 40 60
  istio_requests_total{reporter="source",destination_service_namespace="ml",destination_service_name="new",destination_workload="new",response_code="500",pod="gateway-1"} _ _ _ 2 6
  istio_requests_total{reporter="source",destination_service_namespace="ml",destination_service_name="new",destination_workload="new",response_code="0",pod="gateway-1"} _ _ _ _ 1
  istio_requests_total{reporter="source",destination_service_namespace="ml",destination_service_name="new",destination_workload="unknown",response_code="503",pod="gateway-2"} _ 3 3 3 1
  istio_requests_total{reporter="source",destination_service_namespace="ml",destination_service_name="e",destination_workload="new",response_code="200",pod="caller"} 7 7 7 7 9
  istio_requests_total{reporter="source",destination_service_namespace="ml",destination_service_name="new",destination_workload="other",response_code="500",pod="gateway-1"} 0 9 18 27 36
  istio_requests_total{reporter="destination",destination_service_namespace="ml",destination_service_name="new",destination_workload="new",response_code="500",pod="new-1"} 0 9 18 27 36
  istio_requests_total{reporter="source",destination_service_namespace="other",destination_service_name="new",destination_workload="new",response_code="500",pod="gateway-1"} 0 9 18 27 36
  istio_request_duration_milliseconds_bucket{reporter="source",destination_service_namespace="ml",destination_service_name="new",destination_workload="new",le="100"} _ 5 20 40 60
  istio_request_duration_milliseconds_bucket{reporter="source",destination_service_namespace="ml",destination_service_name="new",destination_workload="new",le="250"} _ 5 20 42 70
  istio_request_duration_milliseconds_bucket{reporter="source",destination_service_namespace="ml",destination_service_name="new",destination_workload="new",le="+Inf"} _ 5 20 42 70
  traefik_service_requests_total{service="ml-new-http-80@kubernetesgateway",code="200",method="POST"} _ 4 20 40 60
  traefik_service_requests_total{service="ml-new-http-80@kubernetesgateway",code="502",method="POST"} _ _ _ 1 3
  traefik_service_requests_total{service="ml-new-2-http-80@kubernetesgateway",code="502",method="POST"} 0 9 18 27 36
  traefik_service_requests_total{service="traefik",exported_service="ml-other-http-8080@kubernetesgateway",code="200",method="POST"} 0 10 20 30 40
  traefik_service_request_duration_seconds_bucket{service="ml-new-http-80@kubernetesgateway",code="200",le="0.1"} _ 4 20 40 40
  traefik_service_request_duration_seconds_bucket{service="ml-new-http-80@kubernetesgateway",code="200",le="0.3"} _ 4 20 40 60
  traefik_service_request_duration_seconds_bucket{service="ml-new-http-80@kubernetesgateway",code="200",le="+Inf"} _ 4 20 40 60
`

// TestPresets holds the queries to what Prometheus's own engine makes of them.
func TestPresets(t *testing.T) {
	t.Parallel()
	store := promqltest.LoadedStorage(t, scraped)
	t.Cleanup(func() { _ = store.Close() })
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute, EnableNegativeOffset: true})
	for _, c := range []struct {
		name, preset, service, workload string
		reason                          string
		since, until                    time.Duration
		requests, errors, latency       float64
	}{
		{"new series", "istio", "new", "new", "what a series begins with counts", 0, 30 * time.Second, 5 + 3, 3, 0.095},
		{"growing", "istio", "new", "new", "the difference, and not the rate, over the window", 30 * time.Second, time.Minute, 15, 0, 0.095},
		{"restarted", "istio", "new", "new", "a counter that began anew is what it counts", time.Minute, 2 * time.Minute, 40 + 6 + 1 + 1, 6 + 1 + 1, 0.2125},
		{"between scrapes", "istio", "new", "new", "the samples before each moment", 40 * time.Second, 70 * time.Second, 15, 0, 0.095},
		{"without a gateway", "istio", "e", "new", "the endpoint's Service is that of all deployments", 90 * time.Second, 2 * time.Minute, 2, 0, 0},
		{"nobody", "istio", "absent", "absent", "no sample is no request", 0, 2 * time.Minute, 0, 0, 0},
		{"traefik", "traefik", "new", "new", "by namespace, Service and port", time.Minute, 2 * time.Minute, 40 + 3, 3, 0.28},
		{"found by its Service", "traefik", "other", "other", "the label is Prometheus's own then", time.Minute, 2 * time.Minute, 20, 0, 0},
	} {
		t.Run(c.preset+" "+c.name, func(t *testing.T) {
			t.Parallel()
			s := &subject{namespace: "ml", endpoint: "e", deployment: "main", service: c.service, workload: c.workload, interval: c.until - c.since}
			q := presets[c.preset].Queries
			for what, query := range map[string]struct {
				text string
				want float64
			}{"requests": {q.Requests, c.requests}, "errors": {q.Errors, c.errors}, "latency": {q.Latency, c.latency}} {
				text, err := s.filled(query.text)
				if err != nil {
					t.Fatal(err)
				}
				asked, err := engine.NewInstantQuery(t.Context(), store, nil, text, time.Unix(0, 0).Add(c.until))
				if err != nil {
					t.Fatal(err)
				}
				result, err := asked.Exec(t.Context()).Vector()
				got := 0.0
				if err == nil && len(result) == 1 && !math.IsNaN(result[0].F) {
					got = result[0].F
				}
				if err != nil || len(result) > 1 || math.Abs(got-query.want) > 1e-6 {
					t.Errorf("%s (%s): got %v, %v, want %v of %s", what, c.reason, result, err, query.want, text)
				}
			}
		})
	}
}

// TestPlaceholders refuses what cannot be filled in.
func TestPlaceholders(t *testing.T) {
	t.Parallel()
	for query, good := range map[string]bool{
		`sum(increase(x{namespace="{{ namespace }}",pod=~"{{ workload }}-.*"}[{{ interval }}]))`: true,
		`up{endpoint="{{endpoint}}",deployment="{{deployment}}",service="{{service}}"}`:          true,
		`sum(x{namespace="{{ name }}"})`:   false,
		`sum(x{namespace="{{ namespace"})`: false,
		`{{ .Token }}{{`:                   false,
	} {
		err := (&Queries{Requests: query}).check()
		if good != (err == nil) || err != nil && (!mlerr.Is(err, mlerr.InvalidArgument) || mlerr.PathOf(errors.Join(mlerr.Split(err)...)) != "prometheus.queries.requests") {
			t.Errorf("%s: %v", query, err)
		}
	}
	s := &subject{namespace: "ml", workload: "w", interval: 90500 * time.Millisecond}
	if got, err := s.filled(`x{namespace="{{ namespace }}",pod=~"{{ workload }}-.*"}[{{ interval }}]`); err != nil || got != `x{namespace="ml",pod=~"w-.*"}[1m30s500ms]` {
		t.Errorf("got %s, %v", got, err)
	}
}
