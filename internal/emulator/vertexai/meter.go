// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"time"

	pb "cloud.google.com/go/aiplatform/apiv1beta1/aiplatformpb"
	monitoring "google.golang.org/api/monitoring/v3"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/metering"
)

// kindMetered are the deployments that have ever answered; their metrics outlive them.
const kindMetered = "vertex_ai.metered"

// metered is a deployment that has answered.
type metered struct {
	Region, Endpoint, EndpointName, Deployment, ModelName string
	Private, Spot                                         bool
}

func (m *metered) key(project string) string {
	return project + "/" + m.Region + "/" + m.Endpoint + "/" + m.Deployment
}

// meter counts an answer of a deployment, and tells its status.
func (r *request) meter(e *endpoint, dm *pb.DeployedModel, to served) (int, error) {
	var conduct fault.Conduct
	if r.o.Conduct != nil {
		var err error
		if conduct, err = r.o.Conduct(to.model, to.version); err != nil {
			return 0, err
		}
	}
	status, latency := conduct.Answer(e.Served[dm.GetId()])
	m := metered{Region: r.Region, Endpoint: e.ID, EndpointName: e.pb.GetDisplayName(), Deployment: dm.GetId(), ModelName: to.display, Spot: dm.GetDedicatedResources().GetSpot(),
		Private: e.pb.GetNetwork() != "" || e.pb.GetPrivateServiceConnectConfig().GetEnablePrivateServiceConnect()}
	if e.Served[dm.GetId()] == 0 {
		if err := r.tx.Put(kindMetered, m.key(r.Number), m); err != nil {
			return 0, err
		}
	}
	return status, metering.Record(r.tx, "vertex_ai/"+m.key(r.Number), r.now(), status, latency)
}

// The metrics of predictions, and what is known of them
// (https://docs.cloud.google.com/monitoring/api/metrics_gcp_a_b#gcp-aiplatform).
const (
	metricPrefix = "aiplatform.googleapis.com/prediction/online/"
	endpointType = "aiplatform.googleapis.com/Endpoint"
)

// descriptor is what a metric is.
type descriptor struct {
	kind, value, unit string
	private           bool
	series            func(m *metered, all []metering.Tally, from time.Time) []*monitoring.TimeSeries
}

var descriptors = map[string]descriptor{
	"response_count":               {"DELTA", "INT64", "1", false, responses},
	"error_count":                  {"DELTA", "INT64", "1", false, errorCounts},
	"prediction_count":             {"DELTA", "INT64", "1", false, predictions},
	"prediction_latencies":         {"DELTA", "DISTRIBUTION", "ms", false, latencies},
	"private/response_count":       {"DELTA", "INT64", "1", true, responses},
	"private/prediction_latencies": {"DELTA", "DISTRIBUTION", "ms", true, latencies},
}

// grain is how exactly answers are kept. Google samples every minute.
const grain = 100 * time.Millisecond

// point is one of a metric. A tally that reaches into the window from before counts as
// of it, and not of the window before: it is shown once it has ended.
func point(t *metering.Tally, from time.Time, value *monitoring.TypedValue) *monitoring.Point {
	start := t.Start
	if start.Before(from) {
		start = from
	}
	return &monitoring.Point{Interval: &monitoring.TimeInterval{StartTime: timestamp(start), EndTime: timestamp(t.Start.Add(grain))}, Value: value}
}

func timestamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func whole(n int) *monitoring.TypedValue {
	v := int64(n)
	return &monitoring.TypedValue{Int64Value: &v}
}

// labels are those that all metrics of a deployment have.
func (m *metered) labels(more ...string) map[string]string {
	all := map[string]string{"deployed_model_id": m.Deployment}
	if !m.Private {
		all["spot"], all["model_display_name"], all["endpoint_display_name"] = "False", m.ModelName, m.EndpointName
		if m.Spot {
			all["spot"] = "True"
		}
	}
	for i := 0; i+1 < len(more); i += 2 {
		all[more[i]] = more[i+1]
	}
	return all
}

// responses has a series for each class of statuses, or on private endpoints for each.
func responses(m *metered, all []metering.Tally, from time.Time) []*monitoring.TimeSeries {
	byCode := map[string]*monitoring.TimeSeries{}
	var found []*monitoring.TimeSeries
	for i := len(all) - 1; i >= 0; i-- {
		counts := map[string]int{}
		for status, n := range all[i].Statuses {
			code := strconv.Itoa(status)
			if !m.Private {
				code = fmt.Sprintf("%dxx", status/100)
			}
			counts[code] += n
		}
		for code, n := range counts {
			s := byCode[code]
			if s == nil {
				s = &monitoring.TimeSeries{Metric: &monitoring.Metric{Labels: m.labels("response_code", code)}}
				byCode[code], found = s, append(found, s)
			}
			s.Points = append(s.Points, point(&all[i], from, whole(n)))
		}
	}
	return found
}

// counted is one series of numbers that are not zero.
func counted(m *metered, all []metering.Tally, from time.Time, count func(*metering.Tally) int) []*monitoring.TimeSeries {
	s := &monitoring.TimeSeries{Metric: &monitoring.Metric{Labels: m.labels()}}
	for i := len(all) - 1; i >= 0; i-- {
		if n := count(&all[i]); n > 0 {
			s.Points = append(s.Points, point(&all[i], from, whole(n)))
		}
	}
	if len(s.Points) == 0 {
		return nil
	}
	return []*monitoring.TimeSeries{s}
}

func predictions(m *metered, all []metering.Tally, from time.Time) []*monitoring.TimeSeries {
	return counted(m, all, from, func(t *metering.Tally) int { return t.Statuses[http.StatusOK] })
}

func errorCounts(m *metered, all []metering.Tally, from time.Time) []*monitoring.TimeSeries {
	return counted(m, all, from, func(t *metering.Tally) int { return t.Requests() - t.Statuses[http.StatusOK] })
}

// latencies has a series for the total, and on public endpoints for its parts.
func latencies(m *metered, all []metering.Tally, from time.Time) []*monitoring.TimeSeries {
	kinds := [][]string{{"latency_type", "total"}, {"latency_type", "model"}, {"latency_type", "overhead"}}
	if m.Private {
		kinds = [][]string{nil}
	}
	var found []*monitoring.TimeSeries
	for _, labels := range kinds {
		s := &monitoring.TimeSeries{Metric: &monitoring.Metric{Labels: m.labels(labels...)}}
		for i := len(all) - 1; i >= 0; i-- {
			values := all[i].Latencies
			if s.Metric.Labels["latency_type"] == "overhead" {
				values = map[int64]int{0: all[i].Requests()} // the container takes it all
			}
			s.Points = append(s.Points, point(&all[i], from, &monitoring.TypedValue{DistributionValue: distribution(values)}))
		}
		if len(s.Points) > 0 {
			found = append(found, s)
		}
	}
	return found
}

// The buckets of latencies: from one millisecond to more than half an hour.
const (
	growth  = 1.05
	buckets = 300
)

// distribution is one of milliseconds, of answers by microseconds.
func distribution(micros map[int64]int) *monitoring.Distribution {
	d := &monitoring.Distribution{BucketOptions: &monitoring.BucketOptions{ExponentialBuckets: &monitoring.Exponential{GrowthFactor: growth, NumFiniteBuckets: buckets, Scale: 1}}}
	sum := 0.0
	for us, n := range micros {
		ms := float64(us) / float64(time.Millisecond/time.Microsecond)
		at := 0
		if ms >= 1 {
			at = min(int(math.Log(ms)/math.Log(growth))+1, buckets+1)
		}
		for len(d.BucketCounts) <= at {
			d.BucketCounts = append(d.BucketCounts, 0)
		}
		d.BucketCounts[at] += int64(n)
		d.Count += int64(n)
		sum += ms * float64(n)
	}
	if d.Count == 0 {
		return d
	}
	d.Mean = sum / float64(d.Count)
	for us, n := range micros {
		away := float64(us)/float64(time.Millisecond/time.Microsecond) - d.Mean
		d.SumOfSquaredDeviation += away * away * float64(n)
	}
	return d
}

// predictionSeries are the series of a metric of predictions in a window.
func (r *request) predictionSeries(name string, d *descriptor, from, to time.Time) ([]*monitoring.TimeSeries, error) {
	var all []metered
	err := r.tx.Each(kindMetered, r.Number+"/", func(_ string, data []byte) error {
		var m metered
		err := json.Unmarshal(data, &m)
		if err == nil && m.Private == d.private {
			all = append(all, m)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var found []*monitoring.TimeSeries
	for i := range all {
		m := &all[i]
		tallies, err := metering.Read(r.tx, "vertex_ai/"+m.key(r.Number), from, to)
		if err != nil {
			return nil, err
		}
		tallies = slices.DeleteFunc(tallies, func(t metering.Tally) bool { return t.Start.Add(grain).After(to) }) // no point yet
		for _, s := range d.series(m, tallies, from) {
			s.Metric.Type = name
			s.Resource = &monitoring.MonitoredResource{Type: endpointType, Labels: map[string]string{"resource_container": r.Number, "location": m.Region, "endpoint_id": m.Endpoint}}
			s.MetricKind, s.ValueType, s.Unit = d.kind, d.value, d.unit
			found = append(found, s)
		}
	}
	return found, nil
}
