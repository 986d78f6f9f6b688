// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml_test

import (
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/monitor/armmonitor"
)

const fraudEndpoint = home + "/onlineEndpoints/fraud"

// sums are the values of a metric, added up by the values of its dimensions.
func (s *subscription) sums(of, metric, filter string, from, until time.Time) map[string]float64 {
	s.t.Helper()
	o := &armmonitor.MetricsClientListOptions{Metricnames: &metric, Interval: new("PT1M"), Aggregation: new("Average"), Timespan: new(from.Format(time.RFC3339Nano) + "/" + until.Format(time.RFC3339Nano))}
	if filter != "" {
		o.Filter = &filter
	}
	got, err := s.monitor.NewMetricsClient().List(s.t.Context(), of, o)
	s.must(err)
	all := map[string]float64{}
	for _, series := range got.Value[0].Timeseries {
		var names []string
		for _, m := range series.Metadatavalues {
			names = append(names, *m.Name.Value+"="+*m.Value)
		}
		slices.Sort(names)
		for _, point := range series.Data {
			if point.Average != nil {
				all[strings.Join(names, " ")] += *point.Average
			}
		}
	}
	return all
}

// What an endpoint has answered is in its metrics, exactly in the window that is asked
// for, by deployment and status: what a container says no success of is 424 on the wire.
func TestMetrics(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	s.serve()
	s.file("faults.json", `{"conduct":[{"model":"fraud","version":"1","error_percent":20,"latency":"250ms"}]}`)
	failed := 0
	began := s.clock.Now()
	for range 20 {
		a := s.score("{}", nil)
		switch {
		case a.status == http.StatusOK:
		case a.status == http.StatusFailedDependency && a.header.Get("Ms-Azureml-Model-Error-Statuscode") == "500" && a.header.Get("Ms-Azureml-Model-Error-Reason") != "":
			failed++
		default:
			t.Fatalf("it answers %d: %s", a.status, a.text)
		}
	}
	s.send("POST", strings.Replace(s.uri(), "/predict", "/none", 1), "{}", "Bearer "+s.primary(), nil)
	s.clock.Advance(200 * time.Millisecond)
	s.file("faults.json", `{}`)
	later := s.clock.Now()
	s.score("{}", nil)
	s.clock.Advance(200 * time.Millisecond)
	end := s.clock.Now()

	const statuses = "deployment eq 'blue' and statusCode eq '*' and modelStatusCode eq '*'"
	want := map[string]float64{"deployment=blue modelstatuscode=200 statuscode=200": float64(20 - failed), "deployment=blue modelstatuscode=500 statuscode=424": float64(failed),
		"deployment=blue modelstatuscode=404 statuscode=424": 1}
	if got := s.sums(fraudEndpoint, "RequestsPerMinute", statuses, began, later); !maps.Equal(got, want) || failed == 0 || failed == 20 {
		t.Errorf("%d have failed, and the requests are %v", failed, got)
	}
	for _, c := range []struct {
		of, metric, filter string
		from, until        time.Time
		want               map[string]float64
	}{
		{fraudEndpoint, "RequestsPerMinute", statuses, later, end, map[string]float64{"deployment=blue modelstatuscode=200 statuscode=200": 1}},
		{fraudEndpoint, "requestsperminute", "", began, end, map[string]float64{"": 22}},
		{fraudEndpoint, "RequestsPerMinute", "statusCodeClass ne '2xx'", began, end, map[string]float64{"statuscodeclass=4xx": float64(failed + 1)}},
		{fraudEndpoint, "RequestsPerMinute", "modelStatusCode eq '404' or modelStatusCode eq '405'", began, end, map[string]float64{"modelstatuscode=404": 1}},
		{fraudEndpoint, "RequestsPerMinute", "deployment eq 'green'", began, end, map[string]float64{}},
		{fraudEndpoint, "RequestsPerMinute", statuses, end, end.Add(time.Second), map[string]float64{}},
		{fraudEndpoint, "RequestLatency_P95", "deployment eq 'blue'", began, end, map[string]float64{"deployment=blue": 250}},
		{fraudEndpoint, "RequestLatency_P95", "deployment eq '*'", later, end, map[string]float64{"deployment=blue": 8}},
		{blue, "RequestLatency_P50", "", began, later, map[string]float64{"": 250}},
		{blue, "RequestsPerMinute", "envoy_response_code eq '200'", began, end, map[string]float64{"envoy_response_code=200": float64(21 - failed)}},
		{blue, "DeploymentCapacity", "", end.Add(-time.Nanosecond), end, map[string]float64{"": 1}},
		{home, "Active Nodes", "", began, end, map[string]float64{"": 0}},
	} {
		if got := s.sums(c.of, c.metric, c.filter, c.from, c.until); !maps.Equal(got, c.want) {
			t.Errorf("%s of %s, %s: %v, want %v", c.metric, c.of, c.filter, got, c.want)
		}
	}
	mean := s.sums(fraudEndpoint, "RequestLatency", "", began, end)[""]
	if want := (21*250 + 8) / 22.0; math.Abs(mean-want) > 0.01 {
		t.Errorf("the mean latency is %v, want %v", mean, want)
	}
}

func TestMetricsRefusals(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	s.serve()
	for words, change := range map[string]func(o *armmonitor.MetricsClientListOptions){
		"Valid metrics": func(o *armmonitor.MetricsClientListOptions) { o.Metricnames = new("Happiness") },
		"supported ones are: deployment,statusCode,statusCodeClass,modelStatusCode": func(o *armmonitor.MetricsClientListOptions) { o.Filter = new("flavor eq 'red'") },
		"$filter": func(o *armmonitor.MetricsClientListOptions) {
			o.Filter = new("deployment eq 'a' or statusCode eq '200'")
		},
		"Invalid time grain duration: PT3M": func(o *armmonitor.MetricsClientListOptions) { o.Interval = new("PT3M") },
		"Invalid time range": func(o *armmonitor.MetricsClientListOptions) {
			o.Timespan = new("2026-01-05T10:00:00Z/2026-01-05T09:00:00Z")
		},
		"aggregation type 'Total'": func(o *armmonitor.MetricsClientListOptions) { o.Aggregation = new("Total") },
		"metric namespace":         func(o *armmonitor.MetricsClientListOptions) { o.Metricnamespace = new("Microsoft.Web/sites") },
		"parameter top":            func(o *armmonitor.MetricsClientListOptions) { o.Top = new(int32(0)) },
	} {
		o := &armmonitor.MetricsClientListOptions{Metricnames: new("RequestsPerMinute")}
		change(o)
		_, err := s.monitor.NewMetricsClient().List(t.Context(), fraudEndpoint, o)
		s.fails(err, 400, "BadRequest", words)
	}
	_, err := s.monitor.NewMetricsClient().List(t.Context(), blue+"x", &armmonitor.MetricsClientListOptions{Metricnames: new("RequestsPerMinute")})
	s.fails(err, 404, "ResourceNotFound", "bluex")
}

// What is mirrored counts for the shadow.
func TestMetricsOfShadow(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	s.serve()
	in, _ := s.deployment(s.model("1"), s.environment())
	_, err := s.putDeployment("shadow", in)
	s.must(err)
	_, err = s.putEndpoint(map[string]*int32{"blue": new(int32(100))}, map[string]*int32{"shadow": new(int32(50))})
	s.must(err)
	began := s.clock.Now()
	for range 10 {
		s.score("{}", nil)
	}
	got := s.sums(fraudEndpoint, "RequestsPerMinute", "deployment eq '*'", began, s.clock.Now().Add(time.Second))
	if got["deployment=blue"] != 10 || got["deployment=shadow"] < 4 || got["deployment=shadow"] > 6 {
		t.Errorf("the requests are %v", got)
	}
}

func rule(of, metric string, operator armmonitor.Operator, threshold float64, dimensions ...*armmonitor.MetricDimension) armmonitor.MetricAlertResource {
	return armmonitor.MetricAlertResource{Location: new("global"), Properties: &armmonitor.MetricAlertProperties{Enabled: new(true), Severity: new(int32(2)), Scopes: []*string{&of},
		EvaluationFrequency: new("PT1M"), WindowSize: new("PT5M"), Criteria: &armmonitor.MetricAlertSingleResourceMultipleMetricCriteria{
			ODataType: new(armmonitor.OdatatypeMicrosoftAzureMonitorSingleResourceMultipleMetricCriteria),
			AllOf: []*armmonitor.MetricCriteria{{Name: new("c"), CriterionType: new(armmonitor.CriterionTypeStaticThresholdCriterion), MetricName: &metric, Operator: &operator, Threshold: &threshold,
				TimeAggregation: new(armmonitor.AggregationTypeEnumAverage), Dimensions: dimensions}}}}}
}

// An alert fires while its metric is beyond its threshold.
func TestMetricAlerts(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	s.serve()
	alerts, statuses := s.monitor.NewMetricAlertsClient(), s.monitor.NewMetricAlertsStatusClient()
	failures := &armmonitor.MetricDimension{Name: new("modelStatusCode"), Operator: new("Include"), Values: []*string{new("500")}}
	_, err := alerts.CreateOrUpdate(t.Context(), group, "failures", rule(fraudEndpoint, "RequestsPerMinute", armmonitor.OperatorGreaterThan, 2, failures), nil)
	s.must(err)
	wants := func(reason, want string) {
		t.Helper()
		got, err := statuses.List(t.Context(), group, "FAILURES", nil)
		s.must(err)
		if len(got.Value) != 1 || *got.Value[0].Properties.Status != want {
			t.Errorf("%s it is %s, want %s", reason, *got.Value[0].Properties.Status, want)
		}
	}
	wants("without requests", "Healthy")
	for range 5 {
		s.score("{}", nil)
	}
	wants("with successes", "Healthy")
	s.file("faults.json", `{"conduct":[{"model":"fraud","error_percent":100}]}`)
	for range 5 {
		s.score("{}", nil)
	}
	wants("with failures", "Unhealthy")
	s.minutes(10)
	wants("ten minutes later", "Healthy")

	off := rule(home, "Active Nodes", armmonitor.OperatorGreaterThanOrEqual, 0)
	off.Properties.Enabled = new(false)
	for enabled, want := range map[bool]string{false: "Healthy", true: "Unhealthy"} {
		off.Properties.Enabled = &enabled
		_, err = alerts.CreateOrUpdate(t.Context(), group, "failures", off, nil)
		s.must(err)
		wants(fmt.Sprintf("always true and enabled %v", enabled), want)
	}
	_, err = alerts.Delete(t.Context(), group, "failures", nil)
	s.must(err)
	_, err = statuses.List(t.Context(), group, "failures", nil)
	s.fails(err, 404, "ResourceNotFound", "failures")
	_, err = alerts.Get(t.Context(), group, "failures", nil)
	s.fails(err, 404, "ResourceNotFound", "failures")
	for words, change := range map[string]func(a *armmonitor.MetricAlertResource){
		"global":        func(a *armmonitor.MetricAlertResource) { a.Location = new("eastus") },
		"windowSize":    func(a *armmonitor.MetricAlertResource) { a.Properties.WindowSize = new("PT7M") },
		"severity":      func(a *armmonitor.MetricAlertResource) { a.Properties.Severity = new(int32(5)) },
		"scopes":        func(a *armmonitor.MetricAlertResource) { a.Properties.Scopes = nil },
		"Valid metrics": func(a *armmonitor.MetricAlertResource) { a.Properties.Scopes = []*string{new(home)} },
	} {
		a := rule(fraudEndpoint, "RequestsPerMinute", armmonitor.OperatorGreaterThan, 2)
		change(&a)
		_, err = alerts.CreateOrUpdate(t.Context(), group, "wrong", a, nil)
		s.fails(err, 400, "BadRequest", words)
	}
}

// primary is a key of the endpoint fraud.
func (s *subscription) primary() string {
	s.t.Helper()
	keys, err := s.NewOnlineEndpointsClient().ListKeys(s.t.Context(), group, workspace, "fraud", nil)
	s.must(err)
	return *keys.PrimaryKey
}
