// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	monitoring "google.golang.org/api/monitoring/v3"
	"google.golang.org/grpc/codes"
)

// monitoringRoutes are the methods of Cloud Monitoring, below a project.
func monitoringRoutes() map[string]*route {
	window := []string{"interval.startTime", "interval.endTime", "view", "filter", "orderBy", "pageSize", "pageToken"}
	for _, a := range []string{"aggregation.", "secondaryAggregation."} {
		window = append(window, a+"alignmentPeriod", a+"perSeriesAligner", a+"crossSeriesReducer", a+"groupByFields")
	}
	list := []string{"filter", "orderBy", "pageSize", "pageToken"}
	return map[string]*route{
		"GET timeSeries":         {name: "timeSeries.list", handle: listTimeSeries, query: window},
		"POST timeSeries":        {name: "timeSeries.create", handle: createTimeSeries},
		"GET alertPolicies":      {name: "alertPolicies.list", handle: listPolicies, query: list},
		"POST alertPolicies":     {name: "alertPolicies.create", handle: createPolicy},
		"GET alertPolicies/*":    {name: "alertPolicies.get", handle: getAlertPolicy},
		"DELETE alertPolicies/*": {name: "alertPolicies.delete", handle: deletePolicy},
		"GET alerts":             {name: "alerts.list", handle: listAlerts, query: list},
		"GET alerts/*":           {name: "alerts.get", handle: getAlert},
	}
}

// wrongField is how Cloud Monitoring refuses a field.
func wrongField(field, value, format string, args ...any) error {
	return invalid("Field %s had an invalid value of \"%s\": %s", field, value, fmt.Sprintf(format, args...))
}

// parseBody reads a body strictly.
func (r *request) parseBody(into any) error {
	decoder := json.NewDecoder(bytes.NewReader(r.body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return invalid("Invalid JSON payload received. %s", err)
	}
	return nil
}

// unsupported is what only this emulator refuses, and says so.
func unsupported(format string, args ...any) error {
	return refusal(codes.Unimplemented, "The emulator of Cloud Monitoring does not do that: %s", fmt.Sprintf(format, args...))
}

// selection is a filter of time series.
type selection struct {
	metric, resource string // types; resource is "" for any
	match            filter
}

var (
	oneMetric   = regexp.MustCompile(`metric\.type\s*=\s*("(?:[^"\\]|\\.)*"|'[^']*'|[^\s()"']+)`)
	oneResource = regexp.MustCompile(`resource\.type\s*=\s*("(?:[^"\\]|\\.)*"|'[^']*'|[^\s()"']+)`)
)

// seriesField is a field of time series in filters; "metric.label.x" is an older form.
func seriesField(field string) (string, bool) {
	group, rest, _ := strings.Cut(field, ".")
	if key, label := strings.CutPrefix(rest, "label."); label {
		rest = "labels." + key
	}
	if group == "project" {
		return "resource.labels.project_id", true
	}
	return group + "." + rest, (group == "metric" || group == "resource") && (rest == "type" || strings.HasPrefix(rest, "labels."))
}

// selected reads a filter, which has to name one metric.
func selected(text string) (s selection, err error) {
	if strings.TrimSpace(text) == "" {
		return s, wrongField("filter", text, "The filter must not be empty.")
	}
	if s.match, err = parseFilter(text, seriesField); err != nil {
		return s, wrongField("filter", text, "Could not parse the filter. The lefthand side of each expression must be prefixed with one of {group, metadata, metric, project, resource}.")
	}
	metrics := oneMetric.FindAllStringSubmatch(text, -1)
	if len(metrics) != 1 {
		return s, wrongField("filter", text, "must specify exactly one metric type.")
	}
	s.metric = unquote(metrics[0][1])
	if m := oneResource.FindStringSubmatch(text); m != nil {
		s.resource = unquote(m[1])
	}
	return s, nil
}

// find reads the series of a selection whose points lie in a window, newest first.
func (r *request) find(s selection, from, to time.Time) ([]*monitoring.TimeSeries, error) {
	var all []*monitoring.TimeSeries
	var err error
	name, predicted := strings.CutPrefix(s.metric, metricPrefix)
	d, known := descriptors[name]
	switch {
	case predicted && known && s.resource != "" && s.resource != endpointType:
		return nil, invalid("The supplied filter does not specify a valid combination of metric and monitored resource descriptors. The query will not return any time series.")
	case predicted && known:
		all, err = r.predictionSeries(s.metric, &d, from, to)
	default:
		all, err = r.writtenSeries(s.metric, from, to)
	}
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(one *monitoring.TimeSeries) bool {
		return len(one.Points) == 0 || !s.match(func(field string) (string, bool) { return valueOf(one, field) })
	})
	slices.SortFunc(all, func(a, b *monitoring.TimeSeries) int { return strings.Compare(identity(a), identity(b)) })
	return all, nil
}

// valueOf is a field of a time series.
func valueOf(s *monitoring.TimeSeries, field string) (string, bool) {
	switch field {
	case "metric.type":
		return s.Metric.Type, true
	case "resource.type":
		return s.Resource.Type, true
	}
	if key, ok := strings.CutPrefix(field, "metric.labels."); ok {
		v, has := s.Metric.Labels[key]
		return v, has
	}
	v, has := s.Resource.Labels[strings.TrimPrefix(field, "resource.labels.")]
	return v, has
}

// identity tells a time series from every other.
func identity(s *monitoring.TimeSeries) string {
	var text strings.Builder
	text.WriteString(s.Metric.Type + " " + s.Resource.Type)
	for _, labels := range []map[string]string{s.Resource.Labels, s.Metric.Labels} {
		for _, key := range slices.Sorted(maps.Keys(labels)) {
			fmt.Fprintf(&text, " %s=%q", key, labels[key])
		}
	}
	return text.String()
}

// window is the interval of a request.
func (r *request) window() (from, to time.Time, err error) {
	start, end := r.query.Get("interval.startTime"), r.query.Get("interval.endTime")
	if end == "" {
		return from, to, wrongField("interval.end_time", "", "The end time is required.")
	}
	if to, err = time.Parse(time.RFC3339Nano, end); err != nil {
		return from, to, invalid("Invalid value at 'interval.end_time' (type.googleapis.com/google.protobuf.Timestamp), Field 'endTime', Illegal timestamp format; timestamps must end with 'Z' or have a valid timezone offset.")
	}
	if from = to; start != "" {
		if from, err = time.Parse(time.RFC3339Nano, start); err != nil {
			return from, to, invalid("Invalid value at 'interval.start_time' (type.googleapis.com/google.protobuf.Timestamp), Field 'startTime', Illegal timestamp format; timestamps must end with 'Z' or have a valid timezone offset.")
		}
	}
	if from.After(to) {
		return from, to, wrongField("interval.start_time", start, "The start time must not be later than the end time (%s).", end)
	}
	return from, to, nil
}

// mostPoints is what a page has at most.
const mostPoints = 100_000

func listTimeSeries(r *request) (any, error) {
	from, to, err := r.window()
	if err != nil {
		return nil, err
	}
	if text := r.query.Get("orderBy"); text != "" {
		return nil, wrongField("order_by", text, "Ordering is not supported.")
	}
	view := r.query.Get("view")
	if view != "" && view != "FULL" && view != "HEADERS" {
		return nil, invalid("Invalid value at 'view' (type.googleapis.com/google.monitoring.v3.ListTimeSeriesRequest.TimeSeriesView), \"%s\"", view)
	}
	s, err := selected(r.query.Get("filter"))
	if err != nil {
		return nil, err
	}
	if r.query.Get("secondaryAggregation.perSeriesAligner") != "" {
		return nil, unsupported("secondary aggregation")
	}
	how, err := readAggregation(&monitoring.Aggregation{AlignmentPeriod: r.query.Get("aggregation.alignmentPeriod"), PerSeriesAligner: r.query.Get("aggregation.perSeriesAligner"),
		CrossSeriesReducer: r.query.Get("aggregation.crossSeriesReducer"), GroupByFields: r.query["aggregation.groupByFields"]})
	if err != nil {
		return nil, err
	}
	all, err := r.find(s, from, to)
	if err == nil {
		all, err = how.aggregate(all, from, to)
	}
	if err != nil {
		return nil, err
	}
	return r.pageOfSeries(all, view == "HEADERS")
}

// pageOfSeries cuts a page by points, so that one series may go on in the next, or by
// series where no points are asked for.
func (r *request) pageOfSeries(all []*monitoring.TimeSeries, headers bool) (any, error) {
	out := &monitoring.ListTimeSeriesResponse{}
	type part struct {
		of *monitoring.TimeSeries
		at int
	}
	var parts []part
	for _, s := range all {
		if headers {
			s.Points = nil
			parts = append(parts, part{s, -1})
		}
		for i := range s.Points {
			parts = append(parts, part{s, i})
		}
	}
	page, next, err := cut(r, parts, mostPoints, mostPoints)
	if err != nil {
		return nil, err
	}
	var last *monitoring.TimeSeries
	for _, p := range page {
		if p.of != last {
			last = p.of
			one := *p.of
			one.Points = nil
			out.TimeSeries = append(out.TimeSeries, &one)
			out.Unit = one.Unit
		}
		if p.at >= 0 {
			one := out.TimeSeries[len(out.TimeSeries)-1]
			one.Points = append(one.Points, p.of.Points[p.at])
		}
	}
	out.NextPageToken = next
	return json.Marshal(out)
}
