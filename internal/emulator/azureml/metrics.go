// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// knownMetrics are those of deployments and of endpoints.
var knownMetrics = []string{"CpuUtilizationPercentage", "CpuMemoryUtilizationPercentage", "GpuUtilizationPercentage", "GpuMemoryUtilizationPercentage", "GpuEnergyJoules",
	"DiskUtilization", "DeploymentCapacity", "RequestsPerMinute", "RequestLatency", "RequestLatency_P50", "RequestLatency_P90", "RequestLatency_P95", "RequestLatency_P99",
	"DataCollectionEventsPerMinute", "DataCollectionErrorsPerMinute", "ConnectionsActive", "NewConnectionsPerSecond", "NetworkBytes"}

// usualValues are those of metrics that nothing is measured for here.
var usualValues = map[string]float64{"CpuUtilizationPercentage": 20, "CpuMemoryUtilizationPercentage": 30, "DiskUtilization": 10,
	"RequestLatency": 12, "RequestLatency_P50": 10, "RequestLatency_P90": 15, "RequestLatency_P95": 20, "RequestLatency_P99": 30}

// condition is one of a $filter: "deployment eq 'blue'".
var condition = regexp.MustCompile(`^(?i)(\w+)\s+eq\s+'([^']*)'$`)

// filtered reads a $filter: a name for each dimension, "*" for all of them apart.
func filtered(filter string) (map[string]string, error) {
	out := map[string]string{}
	for one := range strings.SplitSeq(regexp.MustCompile(`(?i)\s+and\s+`).ReplaceAllString(strings.TrimSpace(filter), "\x00"), "\x00") {
		if one == "" {
			continue
		}
		m := condition.FindStringSubmatch(strings.TrimSpace(one))
		if m == nil {
			return nil, badRequest("The $filter '%s' is not supported.", filter)
		}
		if !slices.Contains([]string{"deployment", "statuscodeclass", "statuscode", "modelstatuscode", "instanceid"}, strings.ToLower(m[1])) {
			return nil, badRequest("The metric dimension '%s' is not valid.", m[1])
		}
		out[strings.ToLower(m[1])] = m[2]
	}
	return out, nil
}

// listMetrics answers what endpoints and deployments have served, by the minute.
func listMetrics(r *request) (*reply, error) {
	// The metrics are of what the path names before them.
	at, is := parseID("/" + strings.TrimLeft(r.scope, "/"))
	if !is {
		return nil, notFound(r.target)
	}
	dimensions, err := filtered(r.query.Get("$filter"))
	if err != nil {
		return nil, err
	}
	from, until, err := r.timespan()
	if err != nil {
		return nil, err
	}
	measured, err := r.measured(at, dimensions["deployment"])
	if err != nil {
		return nil, err
	}
	values := []any{}
	for name := range strings.SplitSeq(r.query.Get("metricnames"), ",") {
		if !slices.Contains(knownMetrics, name) {
			return nil, refuse(http.StatusBadRequest, "BadRequest", "Failed to find metric configuration for provider: %s, resource Type: %s, metric: %s, Valid metrics: %s", machineLearning, strings.Join(at.types, "/"), name, strings.Join(knownMetrics, ","))
		}
		values = append(values, map[string]any{"id": r.scope + "/providers/Microsoft.Insights/metrics/" + name, "type": "Microsoft.Insights/metrics", "name": map[string]any{"value": name, "localizedValue": name},
			"unit": "Unspecified", "errorCode": "Success", "timeseries": r.series(name, measured, dimensions, from, until)})
	}
	return ok(map[string]any{"cost": 0, "interval": "PT1M", "namespace": at.kind(), "resourceregion": defaultLocation,
		"timespan": from.Format(time.RFC3339) + "/" + until.Format(time.RFC3339), "value": values}), nil
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
	if err != nil {
		err = badRequest("The timespan '%s' is not valid.", text)
	}
	return from.UTC(), until.UTC(), err
}

// measured are the deployments that metrics of a resource are about.
func (r *request) measured(at target, only string) ([]*deployment, error) {
	if same(at.types[len(at.types)-1], "deployments") {
		d, err := r.loadDeployment(at)
		if err == nil && d == nil {
			err = notFound(at)
		}
		return []*deployment{d}, err
	}
	e, err := r.loadEndpoint(at)
	if err == nil && e == nil {
		err = notFound(at)
	}
	if err != nil {
		return nil, err
	}
	all, err := r.deployments(e)
	return slices.DeleteFunc(all, func(d *deployment) bool { return only != "" && only != "*" && !same(d.at().name(), only) }), err
}

// series are the values by minute, one series for each value of a dimension that is
// asked for with "*".
func (r *request) series(name string, of []*deployment, dimensions map[string]string, from, until time.Time) []any {
	type line struct{ deployment, class string }
	lines := map[line]map[time.Time]float64{}
	for _, d := range of {
		key := line{}
		if dimensions["deployment"] == "*" {
			key.deployment = d.at().name()
		}
		for _, m := range d.Minutes {
			if m.At.Before(from.Truncate(time.Minute)) || !m.At.Before(until) {
				continue
			}
			for _, class := range sortedKeys(m.Counts) {
				want, asked := dimensions["statuscodeclass"]
				if asked && want != "*" && want != class {
					continue
				}
				own := key
				if want == "*" {
					own.class = class
				}
				if lines[own] == nil {
					lines[own] = map[time.Time]float64{}
				}
				switch usual, is := usualValues[name]; {
				case name == "RequestsPerMinute":
					lines[own][m.At] += float64(m.Counts[class])
				case name == "DeploymentCapacity":
					lines[own][m.At] = float64(d.capacity())
				case is:
					lines[own][m.At] = usual
				}
			}
		}
	}
	out := []any{}
	for key, points := range lines {
		metadata := []any{}
		for dimension, v := range map[string]string{"deployment": key.deployment, "statuscodeclass": key.class} {
			if v != "" {
				metadata = append(metadata, map[string]any{"name": map[string]any{"value": dimension, "localizedValue": dimension}, "value": v})
			}
		}
		out = append(out, map[string]any{"metadatavalues": metadata, "data": byMinute(points)})
	}
	return out
}

func byMinute(points map[time.Time]float64) []any {
	times := make([]time.Time, 0, len(points))
	for at := range points {
		times = append(times, at)
	}
	slices.SortFunc(times, time.Time.Compare)
	data := []any{}
	for _, at := range times {
		v := points[at]
		data = append(data, map[string]any{"timeStamp": at.Format(time.RFC3339), "average": v, "total": v, "minimum": v, "maximum": v, "count": 1})
	}
	return data
}
