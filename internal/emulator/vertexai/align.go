// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	monitoring "google.golang.org/api/monitoring/v3"
)

// aggregation is how series are brought together: first each by itself, over periods
// that end with the window, and then all of a group.
type aggregation struct {
	period          time.Duration
	seconds         float64 // of the period, as it is said
	aligner, reduce string
	groupBy         []string
}

// shortestPeriod is the least that Cloud Monitoring aligns over.
const shortestPeriod = time.Minute

// aligners make one number of the values of a period, of which each may stand for several.
var aligners = map[string]func(all []weighted, seconds float64) float64{
	"ALIGN_DELTA":         func(all []weighted, _ float64) float64 { return total(all) },
	"ALIGN_SUM":           func(all []weighted, _ float64) float64 { return total(all) },
	"ALIGN_RATE":          func(all []weighted, seconds float64) float64 { return total(all) / seconds },
	"ALIGN_COUNT":         func(all []weighted, _ float64) float64 { return float64(len(all)) },
	"ALIGN_MEAN":          func(all []weighted, _ float64) float64 { return total(all) / amount(all) },
	"ALIGN_MAX":           func(all []weighted, _ float64) float64 { return all[len(all)-1].value },
	"ALIGN_MIN":           func(all []weighted, _ float64) float64 { return all[0].value },
	"ALIGN_PERCENTILE_99": func(all []weighted, _ float64) float64 { return percentile(all, 99) },
	"ALIGN_PERCENTILE_95": func(all []weighted, _ float64) float64 { return percentile(all, 95) },
	"ALIGN_PERCENTILE_50": func(all []weighted, _ float64) float64 { return percentile(all, 50) },
	"ALIGN_PERCENTILE_05": func(all []weighted, _ float64) float64 { return percentile(all, 5) },
}

var reducers = map[string]func(all []weighted) float64{
	"REDUCE_SUM":  total,
	"REDUCE_MEAN": func(all []weighted) float64 { return total(all) / amount(all) },
	"REDUCE_MAX":  func(all []weighted) float64 { return all[len(all)-1].value },
	"REDUCE_MIN":  func(all []weighted) float64 { return all[0].value },
}

// weighted is a value that occurs so often.
type weighted struct{ value, times float64 }

func total(all []weighted) (sum float64) {
	for _, w := range all {
		sum += w.value * w.times
	}
	return sum
}

func amount(all []weighted) (n float64) {
	for _, w := range all {
		n += w.times
	}
	return n
}

func percentile(all []weighted, percent float64) float64 {
	reached, n := 0.0, amount(all)
	for _, w := range all {
		if reached += w.times; reached >= percent/100*n {
			return w.value
		}
	}
	return 0
}

// readAggregation checks an aggregation; nil aligns nothing.
func readAggregation(in *monitoring.Aggregation) (*aggregation, error) {
	none := in.PerSeriesAligner == "" || in.PerSeriesAligner == "ALIGN_NONE"
	reduces := in.CrossSeriesReducer != "" && in.CrossSeriesReducer != "REDUCE_NONE"
	if none {
		if reduces {
			return nil, wrongField("aggregation.perSeriesAligner", in.PerSeriesAligner, "The aligner must be specified when a cross series reducer is specified.")
		}
		return nil, nil //nolint:nilnil // as they are
	}
	period, err := time.ParseDuration(in.AlignmentPeriod)
	if err != nil || period < shortestPeriod {
		return nil, wrongField("aggregation.alignmentPeriod", in.AlignmentPeriod, "The minimum alignment period is 60 seconds.")
	}
	if !strings.HasPrefix(in.PerSeriesAligner, "ALIGN_") {
		return nil, invalid("Invalid value at 'aggregation.per_series_aligner' (type.googleapis.com/google.monitoring.v3.Aggregation.Aligner), \"%s\"", in.PerSeriesAligner)
	}
	if aligners[in.PerSeriesAligner] == nil {
		return nil, unsupported("%s", in.PerSeriesAligner)
	}
	if reduces && reducers[in.CrossSeriesReducer] == nil {
		return nil, unsupported("%s", in.CrossSeriesReducer)
	}
	a := &aggregation{period: period, seconds: period.Seconds(), aligner: in.PerSeriesAligner, groupBy: in.GroupByFields}
	if reduces {
		a.reduce = in.CrossSeriesReducer
	}
	return a, nil
}

// fits refuses an aligner for values that it is not for.
func (a *aggregation) fits(s *monitoring.TimeSeries) error {
	distributed := s.ValueType == "DISTRIBUTION"
	percentiles := strings.HasPrefix(a.aligner, "ALIGN_PERCENTILE")
	gauge := s.MetricKind == "GAUGE"
	switch {
	case percentiles && !gauge && !distributed, gauge && (a.aligner == "ALIGN_DELTA" || a.aligner == "ALIGN_RATE"), distributed && (a.aligner == "ALIGN_MAX" || a.aligner == "ALIGN_MIN" || a.aligner == "ALIGN_RATE"):
		return wrongField("aggregation.perSeriesAligner", a.aligner, "The aligner cannot be applied to metrics with kind %s and value type %s.", s.MetricKind, s.ValueType)
	case distributed && !percentiles && a.aligner != "ALIGN_MEAN":
		return unsupported("%s of distributions", a.aligner)
	}
	return nil
}

// aggregate aligns and reduces series; without an aggregation they are left as they are.
func (a *aggregation) aggregate(all []*monitoring.TimeSeries, from, to time.Time) ([]*monitoring.TimeSeries, error) {
	if a == nil {
		return all, nil
	}
	groups, order := map[string]*monitoring.TimeSeries{}, []string(nil)
	values := map[string]map[time.Time][]weighted{}
	for _, s := range all {
		if err := a.fits(s); err != nil {
			return nil, err
		}
		group := a.group(s)
		name := identity(group)
		if groups[name] == nil {
			groups[name], values[name] = group, map[time.Time][]weighted{}
			order = append(order, name)
		}
		for end := to; end.After(from); end = end.Add(-a.period) {
			if v, ok := a.align(s.Points, end.Add(-a.period), end); ok {
				values[name][end] = append(values[name][end], weighted{v, 1})
			}
		}
	}
	var out []*monitoring.TimeSeries
	for _, name := range order {
		s := groups[name]
		for end := to; end.After(from); end = end.Add(-a.period) {
			some := values[name][end]
			if len(some) == 0 {
				continue
			}
			slices.SortFunc(some, func(x, y weighted) int { return cmp.Compare(x.value, y.value) })
			v := some[0].value
			if a.reduce != "" {
				v = reducers[a.reduce](some)
			}
			s.Points = append(s.Points, &monitoring.Point{Interval: &monitoring.TimeInterval{StartTime: timestamp(end.Add(-a.period)), EndTime: timestamp(end)}, Value: &monitoring.TypedValue{DoubleValue: &v}})
		}
		out = append(out, s)
	}
	return out, nil
}

// group is the series that one goes into: itself, or that of what it is grouped by.
func (a *aggregation) group(s *monitoring.TimeSeries) *monitoring.TimeSeries {
	g := &monitoring.TimeSeries{Metric: &monitoring.Metric{Type: s.Metric.Type, Labels: s.Metric.Labels}, Resource: &monitoring.MonitoredResource{Type: s.Resource.Type, Labels: s.Resource.Labels},
		MetricKind: "GAUGE", ValueType: "DOUBLE", Unit: s.Unit}
	if a.aligner == "ALIGN_DELTA" || a.aligner == "ALIGN_SUM" {
		g.MetricKind = s.MetricKind
	}
	if a.reduce == "" {
		return g
	}
	g.Metric.Labels, g.Resource.Labels = map[string]string{}, map[string]string{}
	for _, by := range a.groupBy {
		field, _ := seriesField(by)
		v, has := valueOf(s, field)
		if key, metric := strings.CutPrefix(field, "metric.labels."); metric && has {
			g.Metric.Labels[key] = v
		} else if key, resource := strings.CutPrefix(field, "resource.labels."); resource && has {
			g.Resource.Labels[key] = v
		}
	}
	return g
}

// align makes one number of the points that end in (from, to].
func (a *aggregation) align(points []*monitoring.Point, from, to time.Time) (float64, bool) {
	var all []weighted
	for _, p := range points {
		end, err := time.Parse(time.RFC3339Nano, p.Interval.EndTime)
		if err != nil || !end.After(from) || end.After(to) {
			continue
		}
		all = append(all, valuesOf(p.Value)...)
	}
	if len(all) == 0 {
		return 0, false
	}
	slices.SortFunc(all, func(x, y weighted) int { return cmp.Compare(x.value, y.value) })
	return aligners[a.aligner](all, a.seconds), true
}

// valuesOf are the numbers of a point: of a distribution the upper ends of its buckets.
func valuesOf(v *monitoring.TypedValue) []weighted {
	switch {
	case v.Int64Value != nil:
		return []weighted{{float64(*v.Int64Value), 1}}
	case v.DoubleValue != nil:
		return []weighted{{*v.DoubleValue, 1}}
	}
	var all []weighted
	for i, n := range v.DistributionValue.BucketCounts {
		if n > 0 {
			all = append(all, weighted{math.Pow(growth, float64(i)), float64(n)})
		}
	}
	return all
}
