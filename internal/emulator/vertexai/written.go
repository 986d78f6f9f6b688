// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	monitoring "google.golang.org/api/monitoring/v3"
)

// kindWritten are the series that callers have written, with their points.
const kindWritten = "vertex_ai.written"

// What Cloud Monitoring allows of points that are written. Of a series the newest are kept.
const (
	mostWritten  = 200 // series in a request
	mostKept     = 1000
	newestPoint  = 5 * time.Minute // after now
	oldestPoint  = 25 * time.Hour  // before now
	betweenTwo   = 5 * time.Second
	customPrefix = "custom.googleapis.com/"
)

// writtenResources are those that custom metrics are written for here.
var writtenResources = []string{"global", "generic_node", "generic_task"}

func createTimeSeries(r *request) (any, error) {
	var in monitoring.CreateTimeSeriesRequest
	if err := r.parseBody(&in); err != nil {
		return nil, err
	}
	if n := len(in.TimeSeries); n == 0 || n > mostWritten {
		return nil, wrongField("timeSeries", fmt.Sprint(n), "The number of time series must be from 1 to %d.", mostWritten)
	}
	for i, s := range in.TimeSeries {
		if err := r.writeSeries(fmt.Sprintf("timeSeries[%d]", i), s); err != nil {
			return nil, err
		}
	}
	if err := r.judgeAlerts(); err != nil {
		return nil, err
	}
	return []byte("{}"), nil
}

func (r *request) writeSeries(field string, s *monitoring.TimeSeries) error {
	switch {
	case s.Metric == nil || !strings.HasPrefix(s.Metric.Type, customPrefix):
		return wrongField(field+".metric.type", "", "The metric type must be a URL-formatted string with a domain and non-empty path, such as custom.googleapis.com/name.")
	case s.Resource == nil || !slices.Contains(writtenResources, s.Resource.Type):
		return wrongField(field+".resource.type", "", "unrecognized or unsupported resource for a custom metric.")
	case len(s.Points) != 1 || s.Points[0].Value == nil || s.Points[0].Interval == nil:
		return wrongField(field+".points", fmt.Sprint(len(s.Points)), "Exactly one point with an interval and a value must be given.")
	case s.MetricKind != "" && s.MetricKind != "GAUGE":
		return unsupported("custom metrics of the kind %s", s.MetricKind)
	case s.Points[0].Value.DoubleValue == nil && s.Points[0].Value.Int64Value == nil:
		return unsupported("custom metrics of other values than numbers")
	}
	s.MetricKind, s.ValueType = "GAUGE", "DOUBLE"
	if s.Points[0].Value.Int64Value != nil {
		s.ValueType = "INT64"
	}
	end, err := time.Parse(time.RFC3339Nano, s.Points[0].Interval.EndTime)
	if err != nil || end.After(r.now().Add(newestPoint)) || end.Before(r.now().Add(-oldestPoint)) {
		return wrongField(field+".points[0].interval.end_time", s.Points[0].Interval.EndTime, "Data points cannot be written more than 5 minutes in the future or 25 hours in the past.")
	}
	s.Points[0].Interval.StartTime = s.Points[0].Interval.EndTime
	key := r.Number + "/" + identity(s)
	var kept monitoring.TimeSeries
	if _, err := r.tx.Get(kindWritten, key, &kept); err != nil {
		return err
	}
	if len(kept.Points) > 0 {
		before, err := time.Parse(time.RFC3339Nano, kept.Points[0].Interval.EndTime)
		switch {
		case err != nil:
			return err
		case kept.ValueType != s.ValueType:
			return wrongField(field+".value_type", s.ValueType, "Value type for metric %s conflicts with the existing value type (%s).", s.Metric.Type, kept.ValueType)
		case end.Before(before):
			return invalid("One or more TimeSeries could not be written: %s: Points must be written in order. One or more of the points specified had an older end time than the most recent point.", field)
		case end.Sub(before) < r.scaled(betweenTwo):
			return invalid("One or more TimeSeries could not be written: %s: One or more points were written more frequently than the maximum sampling period configured for the metric.", field)
		}
	}
	s.Points = append(s.Points, kept.Points...)
	s.Points = s.Points[:min(len(s.Points), mostKept)]
	return r.tx.Put(kindWritten, key, s)
}

// writtenSeries are the series of a custom metric in a window.
func (r *request) writtenSeries(metric string, from, to time.Time) (found []*monitoring.TimeSeries, err error) {
	known := false
	err = r.tx.Each(kindWritten, r.Number+"/"+metric+" ", func(_ string, data []byte) error {
		known = true
		var s monitoring.TimeSeries
		if err := json.Unmarshal(data, &s); err != nil {
			return err
		}
		s.Points = slices.DeleteFunc(s.Points, func(p *monitoring.Point) bool {
			end, err := time.Parse(time.RFC3339Nano, p.Interval.EndTime)
			return err != nil || end.Before(from) || end.After(to)
		})
		found = append(found, &s)
		return nil
	})
	if err == nil && !known {
		err = notFound("Cannot find metric(s) that match type = \"%s\". If a metric was created recently, it could take up to 10 minutes to become available. Please try again soon.", metric)
	}
	return found, err
}
