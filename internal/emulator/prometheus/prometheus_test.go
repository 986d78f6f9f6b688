// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package prometheus_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/prometheus"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/state"
)

var began = time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)

// served is a Prometheus that has seen: 10 requests at the beginning, 20 of which half
// failed a minute later, and one that nobody answered.
func served(t *testing.T, rules string) promv1.API {
	t.Helper()
	dir := t.TempDir()
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if rules != "" {
		if err := os.WriteFile(filepath.Join(dir, "prometheus-rules.yaml"), []byte(rules), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err = store.Do(t.Context(), func(tx *state.Tx) (err error) {
		record := func(n, status int, at time.Duration, latency time.Duration, workload string) {
			for range n {
				a := prometheus.Answer{Namespace: "ml", Service: "fraud", Workload: workload, Status: status}
				err = errors.Join(err, prometheus.Record(tx, a, began.Add(at), latency))
			}
		}
		record(10, 200, 0, 8*time.Millisecond, "fraud-1")
		record(10, 200, time.Minute, 8*time.Millisecond, "fraud-1")
		record(10, 500, time.Minute, 900*time.Millisecond, "fraud-1")
		record(1, 503, time.Minute, 0, "")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s := prometheus.New(prometheus.Options{Dir: dir, Store: store, Speed: 1, Now: func() time.Time { return began.Add(2 * time.Minute) }})
	server := httptest.NewServer(http.HandlerFunc(s.Serve))
	t.Cleanup(server.Close)
	client, err := api.NewClient(api.Config{Address: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return promv1.NewAPI(client)
}

func TestQuery(t *testing.T) {
	t.Parallel()
	p := served(t, "")
	for query, want := range map[string]string{
		`sum(istio_requests_total)`:                                                                                         "31",
		`sum(istio_requests_total{response_code=~"5.."})`:                                                                   "11",
		`sum(istio_requests_total offset 90s)`:                                                                              "10",
		`sum(istio_requests_total{destination_workload="unknown"})`:                                                         "1",
		`sum by (response_code) (istio_requests_total{destination_workload="nobody"})`:                                      "",
		`round(sum(increase(istio_requests_total{response_code="200"}[90s])))`:                                              "10",
		`histogram_quantile(0.5, sum by (le) (istio_request_duration_milliseconds_bucket{destination_workload="fraud-1"}))`: "8.75",
		`sum(istio_request_duration_milliseconds_sum)`:                                                                      "9160",
		`1 + 1`: "2",
	} {
		v, _, err := p.Query(t.Context(), query, began.Add(2*time.Minute))
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		got := ""
		switch v := v.(type) {
		case model.Vector:
			for _, s := range v {
				got += s.Value.String()
			}
		case *model.Scalar:
			got = v.Value.String()
		}
		if got != want {
			t.Errorf("%s is %s, want %s", query, v, want)
		}
	}
	v, _, err := p.QueryRange(t.Context(), `sum(istio_requests_total)`, promv1.Range{Start: began, End: began.Add(2 * time.Minute), Step: 30 * time.Second})
	matrix, _ := v.(model.Matrix)
	if err != nil || len(matrix) != 1 || fmt.Sprint(matrix[0].Values) != "[10 @[1767600030] 10 @[1767600060] 31 @[1767600090] 31 @[1767600120]]" {
		t.Errorf("over a span: %v, %v", v, err)
	}
	if names, _, err := p.LabelValues(t.Context(), "destination_workload", nil, time.Time{}, time.Time{}); err != nil || fmt.Sprint(names) != "[fraud-1 unknown]" {
		t.Errorf("workloads are %v, %v", names, err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	p := served(t, "")
	for query, want := range map[string]promv1.ErrorType{
		`sum(`: promv1.ErrBadData,
		``:     promv1.ErrBadData,
		`istio_requests_total + on() istio_requests_total`: promv1.ErrExec, // many to many
	} {
		_, _, err := p.Query(t.Context(), query, began.Add(2*time.Minute))
		if e, ok := errors.AsType[*promv1.Error](err); !ok || e.Type != want {
			t.Errorf("%q is refused with %v, want %s", query, err, want)
		}
	}
	if _, _, err := p.QueryRange(t.Context(), "vector(1)", promv1.Range{Start: began, End: began.Add(-time.Hour), Step: time.Second}); err == nil || !strings.Contains(err.Error(), "end timestamp must not be before start time") {
		t.Errorf("a span that ends before it begins: %v", err)
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	p := served(t, `
groups:
- name: models
  rules:
  - alert: Failing
    expr: sum by (destination_service_namespace) (istio_requests_total{response_code=~"5.."}) > 5
    labels: {namespace: '{{ $labels.destination_service_namespace }}', severity: page}
    annotations: {summary: '{{ $value }} requests failed'}
  - alert: FailingForLong
    expr: sum(istio_requests_total{response_code=~"5.."}) > 5
    for: 10h
  - alert: Quiet
    expr: sum(istio_requests_total) > 1000
`)
	result, err := p.Rules(t.Context())
	if err != nil || len(result.Groups) != 1 || len(result.Groups[0].Rules) != 3 {
		t.Fatalf("got %+v, %v", result, err)
	}
	states := map[string]string{}
	for _, r := range result.Groups[0].Rules {
		rule, ok := r.(promv1.AlertingRule)
		if !ok {
			t.Fatalf("%T is no alerting rule", r)
		}
		states[rule.Name] = rule.State
		if rule.Name != "Failing" {
			continue
		}
		if len(rule.Alerts) != 1 || rule.Alerts[0].State != promv1.AlertStateFiring || rule.Alerts[0].Annotations["summary"] != "11 requests failed" ||
			rule.Alerts[0].Labels["namespace"] != "ml" || rule.Alerts[0].Labels["severity"] != "page" || rule.Alerts[0].Labels["alertname"] != "Failing" {
			t.Errorf("it fires as %+v", rule.Alerts)
		}
	}
	if fmt.Sprint(states) != "map[Failing:firing FailingForLong:pending Quiet:inactive]" {
		t.Errorf("the rules are %v", states)
	}
	alerts, err := p.Alerts(t.Context())
	if err != nil || len(alerts.Alerts) != 2 {
		t.Errorf("the alerts are %+v, %v", alerts, err)
	}
	for _, bad := range []string{"groups: [{name: a, rules: [{alert: A, expr: 'sum('}]}]", "groups: [{name: a, rules: [{alert: A, exp: '1'}]}]", "groups: [{name: a, rules: [{alert: A, expr: '1', for: long}]}]"} {
		if _, err := served(t, bad).Rules(t.Context()); err == nil {
			t.Errorf("taken: %s", bad)
		}
	}
}
