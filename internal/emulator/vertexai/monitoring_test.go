// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai_test

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/api/googleapi"
	monitoring "google.golang.org/api/monitoring/v3"
	"google.golang.org/api/option"
)

// monitored is Cloud Monitoring as its generated client sees it.
func (p *project) monitored() *monitoring.ProjectsService {
	p.t.Helper()
	s, err := monitoring.NewService(p.t.Context(), option.WithEndpoint(p.url), option.WithHTTPClient(&http.Client{Transport: &http.Transport{}}))
	p.must(err)
	s.BasePath = p.url + "/"
	return s.Projects
}

func (p *project) now() string { return p.clock.Now().UTC().Format(time.RFC3339Nano) }

func selecting(metric string) string {
	return `metric.type = "aiplatform.googleapis.com/prediction/online/` + metric + `" AND resource.type = "aiplatform.googleapis.com/Endpoint" AND resource.labels.endpoint_id = "fraud"`
}

// call sends n predictions, and returns how many were answered with which status.
func (p *project) predict(n int) map[int]int {
	p.t.Helper()
	count := map[int]int{}
	for range n {
		a := p.call("POST", "v1/endpoints/fraud:rawPredict", `{"x":1}`)
		count[a.status]++
		if a.header.Get("X-Vertex-Ai-Deployed-Model-Id") == "" {
			p.t.Fatalf("an answer of nobody: %s", a.text)
		}
		if a.status != http.StatusOK {
			p.wants(a, "error.status", `"INTERNAL"`)
		}
	}
	return count
}

// sums adds the points of series up by one of their labels.
func sums(all []*monitoring.TimeSeries, label string) map[string]int64 {
	sum := map[string]int64{}
	for _, s := range all {
		for _, p := range s.Points {
			sum[s.Metric.Labels[label]] += *p.Value.Int64Value
		}
	}
	return sum
}

// TestTimeSeries: what deployments have answered is counted in the window that is asked
// for, by deployment and status, through the client that Google generates.
func TestTimeSeries(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.serve()
	p.uploadNext()
	p.changed("POST", "v1/endpoints/fraud:deployModel", deployBody("78", "2", `,"trafficSplit":{"77":75,"0":25}`))
	p.file("faults.json", `{"conduct":[{"model":"fraud","version":"2","error_percent":40,"latency":"900ms"}]}`)
	start := p.now()
	if got := p.predict(200); got[200] != 180 || got[500] != 20 {
		t.Errorf("of 200 requests, 50 of them to the version that fails, the statuses are %v", got)
	}
	p.minutes(1)
	middle := p.now()
	p.file("faults.json", `{}`)
	p.predict(100)
	p.minutes(1)
	series := p.monitored().TimeSeries
	list := func(metric, from, to string) *monitoring.ProjectsTimeSeriesListCall {
		return series.List("projects/p1").Filter(selecting(metric)).IntervalStartTime(from).IntervalEndTime(to).View("FULL")
	}
	for _, w := range []struct {
		reason, from, to string
		want             map[string]int64
	}{
		{"the first window", start, middle, map[string]int64{"2xx": 180, "5xx": 20}},
		{"the second", middle, p.now(), map[string]int64{"2xx": 100}},
		{"both", start, p.now(), map[string]int64{"2xx": 280, "5xx": 20}},
		{"before", "2025-01-01T00:00:00Z", start, map[string]int64{}},
	} {
		got, err := list("response_count", w.from, w.to).Do()
		p.must(err)
		if sum := sums(got.TimeSeries, "response_code"); len(sum) != len(w.want) || sum["2xx"] != w.want["2xx"] || sum["5xx"] != w.want["5xx"] {
			t.Errorf("%s: %v, want %v", w.reason, sum, w.want)
		}
	}
	got, err := list("response_count", start, middle).Filter(selecting("response_count") + ` AND metric.labels.deployed_model_id = "78"`).Do()
	p.must(err)
	if sum := sums(got.TimeSeries, "response_code"); sum["2xx"] != 30 || sum["5xx"] != 20 {
		t.Errorf("deployment 78 has answered %v", sum)
	}
	errors, err := list("error_count", start, p.now()).Do()
	p.must(err)
	if sum := sums(errors.TimeSeries, "deployed_model_id"); sum["78"] != 20 || len(sum) != 1 {
		t.Errorf("the errors are %v", sum)
	}
	// Page by page, and a series that goes on in the next.
	var pages int
	all := map[string]int64{}
	p.must(list("response_count", start, p.now()).PageSize(1).Pages(t.Context(), func(page *monitoring.ListTimeSeriesResponse) error {
		pages++
		for code, n := range sums(page.TimeSeries, "response_code") {
			all[code] += n
		}
		return nil
	}))
	if pages < 4 || all["2xx"] != 280 || all["5xx"] != 20 {
		t.Errorf("in %d pages of one point: %v", pages, all)
	}
	headers, err := list("response_count", start, p.now()).View("HEADERS").Do()
	p.must(err)
	if len(headers.TimeSeries) != 3 || headers.TimeSeries[0].Points != nil {
		t.Errorf("%d headers: %+v", len(headers.TimeSeries), headers.TimeSeries[0])
	}
}

// TestLatencies: the platform can be asked for the distribution, and for a percentile.
func TestLatencies(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.serve()
	start := p.now()
	p.predict(90)
	p.file("faults.json", `{"conduct":[{"model":"fraud","latency":"900ms"}]}`)
	p.predict(10)
	p.minutes(1)
	series := p.monitored().TimeSeries
	list := series.List("projects/123").Filter(selecting("prediction_latencies") + ` AND metric.labels.latency_type = "total"`).IntervalStartTime(start).IntervalEndTime(p.now())
	got, err := list.Do()
	p.must(err)
	if len(got.TimeSeries) != 1 || got.Unit != "ms" || got.TimeSeries[0].ValueType != "DISTRIBUTION" {
		t.Fatalf("the series are %+v", got)
	}
	var count int64
	mean := 0.0
	for _, point := range got.TimeSeries[0].Points {
		d := point.Value.DistributionValue
		count += d.Count
		mean += d.Mean * float64(d.Count)
	}
	if count != 100 || math.Abs(mean/100-97.2) > 0.01 {
		t.Errorf("%d answers of %f ms on average", count, mean/100)
	}
	for aligner, want := range map[string]float64{"ALIGN_PERCENTILE_50": 8, "ALIGN_PERCENTILE_95": 900, "ALIGN_MEAN": 97.2} {
		got, err := list.AggregationAlignmentPeriod("60s").AggregationPerSeriesAligner(aligner).Do()
		p.must(err)
		if v := *got.TimeSeries[0].Points[0].Value.DoubleValue; math.Abs(v-want) > want/10 {
			t.Errorf("%s is %f, want %f", aligner, v, want)
		}
	}
	counts, err := series.List("projects/p1").Filter(selecting("response_count")).IntervalStartTime(start).IntervalEndTime(p.now()).AggregationAlignmentPeriod("60s").
		AggregationPerSeriesAligner("ALIGN_DELTA").AggregationCrossSeriesReducer("REDUCE_SUM").AggregationGroupByFields("resource.label.endpoint_id").Do()
	p.must(err)
	if s := counts.TimeSeries; len(s) != 1 || *s[0].Points[0].Value.DoubleValue != 100 || s[0].Resource.Labels["endpoint_id"] != "fraud" {
		t.Errorf("reduced to %+v", counts.TimeSeries)
	}
}

// TestMonitoringRefuses: in the platform's words.
func TestMonitoringRefuses(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	const window = "interval.startTime=2026-01-01T00:00:00Z&interval.endTime=2026-01-01T12:00:00Z"
	filter := strings.ReplaceAll(strings.ReplaceAll(selecting("response_count"), " ", "%20"), `"`, "%22")
	for _, c := range []struct{ status, words, query string }{
		{"INVALID_ARGUMENT", "end time is required", "filter=" + filter},
		{"INVALID_ARGUMENT", "Illegal timestamp format", "interval.endTime=today&filter=" + filter},
		{"INVALID_ARGUMENT", "must not be later", "interval.startTime=2026-01-02T00:00:00Z&interval.endTime=2026-01-01T12:00:00Z&filter=" + filter},
		{"INVALID_ARGUMENT", "must not be empty", window},
		{"INVALID_ARGUMENT", "exactly one metric type", window + "&filter=resource.type%20%3D%20%22global%22"},
		{"INVALID_ARGUMENT", "Could not parse", window + "&filter=metric.type%20%3D"},
		{"INVALID_ARGUMENT", "lefthand side", window + "&filter=" + filter + "%20AND%20color%20%3D%20%22red%22"},
		{"INVALID_ARGUMENT", "valid combination of metric and monitored resource", window + "&filter=" + strings.Replace(filter, "aiplatform.googleapis.com/Endpoint", "global", 1)},
		{"NOT_FOUND", "Cannot find metric(s)", window + "&filter=metric.type%20%3D%20%22custom.googleapis.com%2Fnone%22"},
		{"INVALID_ARGUMENT", "minimum alignment period", window + "&aggregation.alignmentPeriod=1s&aggregation.perSeriesAligner=ALIGN_DELTA&filter=" + filter},
		{"INVALID_ARGUMENT", "aligner must be specified", window + "&aggregation.crossSeriesReducer=REDUCE_SUM&filter=" + filter},
		{"INVALID_ARGUMENT", "Page token", window + "&pageToken=x&filter=" + filter},
		{"INVALID_ARGUMENT", "Cannot bind query parameter", window + "&color=red&filter=" + filter},
		{"INVALID_ARGUMENT", "TimeSeriesView", window + "&view=ALL&filter=" + filter},
	} {
		p.refused(c.status, c.words, "GET", "v3/projects/p1/timeSeries?"+c.query, "")
	}
	p.refused("INVALID_ARGUMENT", "conditions", "POST", "v3/projects/p1/alertPolicies", `{"displayName":"a","combiner":"OR"}`)
	p.refused("INVALID_ARGUMENT", "combiner", "POST", "v3/projects/p1/alertPolicies", `{"displayName":"a","conditions":[{}]}`)
	p.refused("INVALID_ARGUMENT", "Unknown name", "GET", "v3/projects/p1/alerts?color=red", "")
	p.refused("INVALID_ARGUMENT", "Invalid filter", "GET", "v3/projects/p1/alerts?filter=color%3Dred", "")
	p.refused("NOT_FOUND", "Alert policy not found", "GET", "v3/projects/p1/alertPolicies/7", "")
	p.refused("NOT_FOUND", "Alert not found", "GET", "v3/projects/p1/alerts/7", "")
	p.refused("INVALID_ARGUMENT", "Exactly one point", "POST", "v3/projects/p1/timeSeries", `{"timeSeries":[{"metric":{"type":"custom.googleapis.com/a"},"resource":{"type":"global"}}]}`)
	p.refused("NOT_FOUND", "not found on this server", "GET", "v1/timeSeries", "")
	p.file("quotas.json", `{"vertex_ai.alerts.list": 0}`)
	p.refused("RESOURCE_EXHAUSTED", "monitoring.googleapis.com", "GET", "v3/projects/p1/alerts", "")
}

func policy(name, filter string, threshold float64, aggregations ...*monitoring.Aggregation) *monitoring.AlertPolicy {
	return &monitoring.AlertPolicy{DisplayName: name, Combiner: "OR", Conditions: []*monitoring.Condition{{DisplayName: "too many", ConditionThreshold: &monitoring.MetricThreshold{
		Filter: filter, Comparison: "COMPARISON_GT", ThresholdValue: threshold, Duration: "0s", Aggregations: aggregations}}}}
}

// TestAlerts: alerts open when the condition of a policy holds, and close when it does
// not; what predictions do counts, and what callers write.
func TestAlerts(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.serve()
	c := p.monitored()
	errors, err := c.AlertPolicies.Create("projects/p1", policy(`errors of "fraud"`, selecting("response_count")+` AND metric.labels.response_code = "5xx"`, 5,
		&monitoring.Aggregation{AlignmentPeriod: "300s", PerSeriesAligner: "ALIGN_DELTA"})).Do()
	p.must(err)
	if !errors.Enabled || errors.Name == "" {
		t.Fatalf("made as %+v", errors)
	}
	_, err = c.AlertPolicies.Create("projects/p1", policy("load", `metric.type="custom.googleapis.com/load" resource.type="global"`, 0)).Do()
	p.must(err)
	found, err := c.AlertPolicies.List("projects/123").Filter(`display_name = "errors of \"fraud\""`).Do()
	p.must(err)
	if len(found.AlertPolicies) != 1 || found.AlertPolicies[0].Name != errors.Name {
		t.Errorf("found %+v", found.AlertPolicies)
	}
	open := func(want ...string) {
		t.Helper()
		got, err := c.Alerts.List("projects/p1").Filter(`state = "OPEN"`).OrderBy("open_time").Do()
		p.must(err)
		var names []string
		for _, a := range got.Alerts {
			names = append(names, a.Policy.DisplayName)
		}
		if strings.Join(names, ",") != strings.Join(want, ",") {
			t.Errorf("open are %v, want %v", names, want)
		}
	}
	write := func(v float64) {
		t.Helper()
		p.minutes(1)
		_, err := c.TimeSeries.Create("projects/p1", &monitoring.CreateTimeSeriesRequest{TimeSeries: []*monitoring.TimeSeries{{Metric: &monitoring.Metric{Type: "custom.googleapis.com/load"},
			Resource: &monitoring.MonitoredResource{Type: "global"}, Points: []*monitoring.Point{{Interval: &monitoring.TimeInterval{EndTime: p.now()}, Value: &monitoring.TypedValue{DoubleValue: &v}}}}}}).Do()
		p.must(err)
	}
	open()
	p.file("faults.json", `{"conduct":[{"model":"fraud","error_percent":100}]}`)
	p.predict(5)
	open()
	p.predict(5)
	open(`errors of "fraud"`)
	write(1)
	open(`errors of "fraud"`, "load")
	p.minutes(10)
	open("load")
	write(0)
	open()
	all, err := c.Alerts.List("projects/p1").Do()
	p.must(err)
	if len(all.Alerts) != 2 || all.Alerts[0].State != "CLOSED" || all.Alerts[0].CloseTime == "" {
		t.Errorf("all alerts: %+v", all.Alerts)
	}
	_, err = c.AlertPolicies.Delete(errors.Name).Do()
	p.must(err)
	if _, err = c.AlertPolicies.Get(errors.Name).Do(); !googleapi.IsNotModified(err) && (err == nil || !strings.Contains(err.Error(), "404")) {
		t.Errorf("a policy that is gone: %v", err)
	}
}
