// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"cmp"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/metering"
)

// metric is one of Azure Monitor's tables of supported metrics. All of them have the
// time grain PT1M and the aggregation Average.
type metric struct {
	unit       string
	dimensions []string
	percentile float64 // of latencies; 0 is their mean
	constant   *float64
	capacity   bool
}

// traffic are the metrics of what was answered, with their dimensions on an endpoint and
// on a deployment.
func traffic(of map[string]metric, requests, latency []string) map[string]metric {
	of["RequestsPerMinute"] = metric{unit: "Count", dimensions: requests}
	for name, percentile := range map[string]float64{"RequestLatency_P50": 50, "RequestLatency_P90": 90, "RequestLatency_P95": 95, "RequestLatency_P99": 99} {
		of[name] = metric{unit: milliseconds, dimensions: latency, percentile: percentile}
	}
	return of
}

const milliseconds = "Milliseconds"

// Dimensions of metrics.
const (
	byDeployment  = "deployment"
	byStatus      = "statusCode"
	byClass       = "statusCodeClass"
	byModelStatus = "modelStatusCode"
	byEnvoy       = "envoy_response_code"
	byInstance    = "instanceId"
)

// supported are the metrics of each type of resource. What nothing is measured for here
// has a value that does not change.
var supported = map[string]map[string]metric{
	"onlineendpoints": traffic(map[string]metric{"RequestLatency": {unit: milliseconds, dimensions: []string{byDeployment}}, "ConnectionsActive": {unit: "Count", constant: new(0.0)},
		"NewConnectionsPerSecond": {unit: "CountPerSecond", constant: new(0.0)}, "NetworkBytes": {unit: "BytesPerSecond", constant: new(0.0)}},
		[]string{byDeployment, byStatus, byClass, byModelStatus}, []string{byDeployment}),
	"deployments": traffic(map[string]metric{"CpuUtilizationPercentage": ofInstances("Percent", 20), "CpuMemoryUtilizationPercentage": ofInstances("Percent", 30),
		"GpuUtilizationPercentage": ofInstances("Percent", 0), "GpuMemoryUtilizationPercentage": ofInstances("Percent", 0), "GpuEnergyJoules": ofInstances("Count", 0),
		"DiskUtilization": ofInstances("Percent", 10), "DataCollectionEventsPerMinute": ofInstances("Count", 0), "DataCollectionErrorsPerMinute": ofInstances("Count", 0),
		"DeploymentCapacity": {unit: "Count", dimensions: []string{byInstance, "State"}, capacity: true}},
		[]string{byEnvoy}, nil),
	"workspaces": {"Active Nodes": {unit: "Count", constant: new(0.0)}, "Idle Nodes": {unit: "Count", constant: new(0.0)}, "Total Nodes": {unit: "Count", constant: new(0.0)},
		"Quota Utilization Percentage": {unit: "Count", constant: new(0.0)}},
}

func ofInstances(unit string, usual float64) metric {
	return metric{unit: unit, dimensions: []string{byInstance}, constant: &usual}
}

// ofType are the metrics of a resource.
func ofType(at target) map[string]metric {
	return supported[strings.ToLower(at.types[len(at.types)-1])]
}

// invalidMetrics refuses in the words of Azure Monitor, whose errors are bare.
func invalidMetrics(format string, args ...any) error {
	e := refuse(http.StatusBadRequest, "BadRequest", format, args...)
	e.Bare = true
	return e
}

// found is a metric by its name, in any case, as the table spells it.
func found(at target, name string) (string, metric, error) {
	all := ofType(at)
	for known, m := range all {
		if strings.EqualFold(known, strings.TrimSpace(name)) {
			return known, m, nil
		}
	}
	return "", metric{}, invalidMetrics("Failed to find metric configuration for provider: %s, resource Type: %s, metric: %s, Valid metrics: %s", machineLearning, strings.Join(at.types, "/"), name,
		strings.Join(sortedKeys(all), ","))
}

// mostMetrics is how many can be asked for at once.
const mostMetrics = 20

// listMetrics answers what endpoints and deployments have served, by the minute. A minute
// of which only a part is asked for counts what was answered in that part.
func listMetrics(r *request) (*reply, error) {
	// The metrics are of what the path names before them.
	at, is := parseID("/" + strings.TrimLeft(r.scope, "/"))
	if !is || ofType(at) == nil {
		return nil, notFound(r.target)
	}
	from, until, err := r.timespan()
	if err != nil {
		return nil, err
	}
	if err := r.checkMetrics(at); err != nil {
		return nil, err
	}
	f, err := filtered(r.query.Get("$filter"))
	if err != nil {
		return nil, err
	}
	names := strings.Split(r.query.Get("metricnames"), ",")
	if len(names) > mostMetrics {
		return nil, invalidMetrics("The number of metrics requested, %d, exceeds the limit of %d.", len(names), mostMetrics)
	}
	values := []any{}
	for _, asked := range names {
		name, m, err := found(at, asked)
		if err != nil {
			return nil, err
		}
		own, err := f.of(name, m, r.query.Get("ValidateDimensions") == "false")
		if err != nil {
			return nil, err
		}
		lines, err := r.lines(at, m, own, from, until)
		if err != nil {
			return nil, err
		}
		values = append(values, map[string]any{"id": r.scope + "/providers/Microsoft.Insights/metrics/" + name, "type": "Microsoft.Insights/metrics", "name": map[string]any{"value": name, "localizedValue": name},
			"unit": m.unit, "errorCode": "Success", "timeseries": r.shown(lines, own, from, until)})
	}
	return ok(map[string]any{"cost": 0, "interval": "PT1M", "namespace": at.kind(), "resourceregion": defaultLocation,
		"timespan": from.Format(time.RFC3339) + "/" + until.Format(time.RFC3339), "value": values}), nil
}

// checkMetrics refuses parameters that these metrics do not have.
func (r *request) checkMetrics(at target) error {
	if grain := r.query.Get("interval"); grain != "" && grain != "PT1M" {
		return invalidMetrics("Invalid time grain duration: %s, supported ones are: 00:01:00", grain)
	}
	if namespace := r.query.Get("metricnamespace"); namespace != "" && !same(namespace, at.kind()) {
		return invalidMetrics("The metric namespace '%s' is not one of the resource type %s.", namespace, at.kind())
	}
	for one := range strings.SplitSeq(cmp.Or(r.query.Get("aggregation"), "Average"), ",") {
		if !strings.EqualFold(strings.TrimSpace(one), "Average") {
			return invalidMetrics("The aggregation type '%s' is not supported by the requested metrics, supported ones are: Average", one)
		}
	}
	if top := r.query.Get("top"); top != "" {
		if n, err := strconv.Atoi(top); err != nil || n < 1 {
			return invalidMetrics("The value '%s' of the parameter top is not valid.", top)
		}
	}
	return nil
}

// timespan is the one that is asked for, or the last hour.
func (r *request) timespan() (from, until time.Time, err error) {
	until = r.now()
	from = until.Add(-time.Hour)
	text := r.query.Get("timespan")
	if text == "" {
		return from, until, nil
	}
	first, last, _ := strings.Cut(text, "/")
	if d, is := duration(first); is && last == "" {
		return until.Add(-d), until, nil
	}
	if from, err = time.Parse(time.RFC3339, first); err == nil {
		until, err = time.Parse(time.RFC3339, last)
	}
	const most = 31 * 24 * time.Hour
	if err != nil || !from.Before(until) || until.Sub(from) > most {
		err = invalidMetrics("Invalid time range: %s. The start time must be before the end time, and at most 31 days.", text)
	}
	return from.UTC(), until.UTC(), err
}

// measured are the deployments that metrics of a resource are about: none of a workspace,
// and none on a cluster, which answers requests by itself.
func (r *request) measured(at target) ([]*deployment, error) {
	switch strings.ToLower(at.types[len(at.types)-1]) {
	case "deployments":
		d, err := r.loadDeployment(at)
		if err == nil && d == nil {
			err = notFound(at)
		}
		return []*deployment{d}, err
	case "onlineendpoints":
		e, err := r.loadEndpoint(at)
		if err == nil && e == nil {
			err = notFound(at)
		}
		if err != nil {
			return nil, err
		}
		return r.deployments(e)
	}
	return nil, nil
}

// line is one series of a metric: values by the minute.
type line struct {
	labels map[string]string // by dimension, of those that the filter names
	points map[time.Time]float64
}

// lines are the series of a metric.
func (r *request) lines(at target, m metric, f filter, from, until time.Time) ([]*line, error) {
	of, err := r.measured(at)
	if err != nil {
		return nil, err
	}
	all := map[string]*line{}
	in := func(labels map[string]string) *line {
		kept := f.kept(labels)
		key := strings.Join(slices.Sorted(maps.Values(kept)), "\x00")
		if all[key] == nil {
			all[key] = &line{kept, map[time.Time]float64{}}
		}
		return all[key]
	}
	switch {
	case m.constant != nil || m.capacity:
		if l := constantly(m, of, from, until); l != nil && f.admits(nil) {
			return []*line{l}, nil
		}
		return nil, nil
	case m.unit == milliseconds:
		err = r.latencies(of, m, f, from, until, in)
	default:
		err = r.requests(of, f, from, until, in)
	}
	var out []*line
	for _, key := range sortedKeys(all) {
		out = append(out, all[key])
	}
	return out, err
}

// constantly are the values of what is not measured here.
func constantly(m metric, of []*deployment, from, until time.Time) *line {
	l := &line{points: map[time.Time]float64{}}
	for at := from.Truncate(time.Minute); at.Before(until); at = at.Add(time.Minute) {
		switch {
		case m.capacity && !at.Before(of[0].Created.Truncate(time.Minute)):
			l.points[at] = float64(of[0].capacity())
		case !m.capacity:
			l.points[at] = *m.constant
		}
	}
	return l
}

// seriesOf is what the answers of a deployment are metered by.
func seriesOf(d *deployment) string { return "azure_ml" + strings.ToLower(d.ID) }

// tallies are what the deployments have answered, by the minute.
func (r *request) tallies(of []*deployment, from, until time.Time, each func(d *deployment, minute time.Time, t metering.Tally)) error {
	for _, d := range of {
		if !d.managed() {
			continue
		}
		all, err := metering.Read(r.tx, seriesOf(d), from, until)
		if err != nil {
			return err
		}
		minutes := map[time.Time][]metering.Tally{}
		for _, t := range all {
			at := t.Start.Truncate(time.Minute)
			minutes[at] = append(minutes[at], t)
		}
		for at, those := range minutes {
			each(d, at, metering.Sum(those))
		}
	}
	return nil
}

// requests counts answers.
func (r *request) requests(of []*deployment, f filter, from, until time.Time, in func(map[string]string) *line) error {
	return r.tallies(of, from, until, func(d *deployment, at time.Time, t metering.Tally) {
		for model, n := range t.Statuses {
			status := wireStatus(d, model)
			labels := map[string]string{byDeployment: d.at().name(), byStatus: strconv.Itoa(status), byEnvoy: strconv.Itoa(status), byClass: strconv.Itoa(status/100) + "xx", byModelStatus: strconv.Itoa(model)}
			if f.admits(labels) {
				in(labels).points[at] += float64(n)
			}
		}
	})
}

// latencies sums up how long answers took. Of several deployments it is that of all their
// answers.
func (r *request) latencies(of []*deployment, m metric, f filter, from, until time.Time, in func(map[string]string) *line) error {
	sums := map[*line]map[time.Time][]metering.Tally{}
	err := r.tallies(of, from, until, func(d *deployment, at time.Time, t metering.Tally) {
		labels := map[string]string{byDeployment: d.at().name()}
		if !f.admits(labels) {
			return
		}
		l := in(labels)
		if sums[l] == nil {
			sums[l] = map[time.Time][]metering.Tally{}
		}
		sums[l][at] = append(sums[l][at], t)
	})
	for l, minutes := range sums {
		for at, those := range minutes {
			l.points[at] = m.latency(metering.Sum(those))
		}
	}
	return err
}

// latency is a metric of latencies, in milliseconds.
func (m metric) latency(t metering.Tally) float64 {
	const unit = float64(time.Millisecond)
	if m.percentile > 0 {
		return float64(t.Percentile(m.percentile)) / unit
	}
	total := 0.0
	for latency, n := range t.Latencies {
		total += float64(latency) * float64(n) * float64(time.Microsecond)
	}
	return total / float64(t.Requests()) / unit
}

// usualTop is how many series are shown of those that a filter tells apart.
const usualTop = 10

// shown are series as the API answers them. Minutes without a value are there too.
func (r *request) shown(lines []*line, f filter, from, until time.Time) []any {
	top := usualTop
	if n, err := strconv.Atoi(r.query.Get("top")); err == nil {
		top = n
	}
	if len(f) > 0 {
		lines = lines[:min(top, len(lines))]
	}
	out := []any{}
	for _, l := range lines {
		metadata, data := []any{}, []any{}
		for _, dimension := range sortedKeys(l.labels) {
			name := strings.ToLower(dimension)
			metadata = append(metadata, map[string]any{"name": map[string]any{"value": name, "localizedValue": name}, "value": l.labels[dimension]})
		}
		for at := from.Truncate(time.Minute); at.Before(until); at = at.Add(time.Minute) {
			point := map[string]any{"timeStamp": at.Format(time.RFC3339)}
			if v, is := l.points[at]; is {
				point["average"] = v
			}
			data = append(data, point)
		}
		out = append(out, map[string]any{"metadatavalues": metadata, "data": data})
	}
	return out
}
