// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/metering"
)

// samples are the values of a metric and how often each was sent.
type samples map[float64]int

// published are the metrics that SageMaker sends of a variant, made of what it
// answered: of each answer a one or a zero, or how long it took in microseconds
// (https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html).
var published = map[string]func(t metering.Tally) samples{
	"Invocations":           func(t metering.Tally) samples { return ones(t, func(int) bool { return true }) },
	"Invocation4XXErrors":   func(t metering.Tally) samples { return ones(t, func(s int) bool { return s >= 400 && s < 500 }) },
	"Invocation5XXErrors":   func(t metering.Tally) samples { return ones(t, func(s int) bool { return s >= 500 }) },
	"InvocationModelErrors": func(t metering.Tally) samples { return ones(t, func(s int) bool { return s < 200 || s >= 300 }) },
	"ModelLatency": func(t metering.Tally) samples {
		all := samples{}
		for latency, n := range t.Latencies {
			all[float64(latency)] += n
		}
		return all
	},
}

func ones(t metering.Tally, counts func(status int) bool) samples {
	all := samples{}
	for status, n := range t.Statuses {
		if counts(status) {
			all[1] += n
		} else {
			all[0] += n
		}
	}
	return all
}

// seriesOf names what is metered of a variant; config is "" for whatever it served.
func seriesOf(region, endpoint, variant, config string) string {
	return strings.Join([]string{"sagemaker", region, strings.ToLower(endpoint), variant, config}, "/")
}

// series is where the data of a metric is, asked for as alarms and queries do. ok is
// false for a metric or a combination of dimensions that endpoints do not send.
func (r *request) series(metric obj) (name string, ok bool) {
	dimensions := map[string]string{}
	for _, d := range metric.list("Dimensions") {
		dimensions[d.str("Name")] = d.str("Value")
	}
	config, ofConfig := dimensions["EndpointConfigName"]
	exact := len(dimensions) == 2 || (len(dimensions) == 3 && ofConfig)
	endpoint, variant := dimensions["EndpointName"], dimensions["VariantName"]
	return seriesOf(r.region, endpoint, variant, config), emulated(metric) && exact && endpoint != "" && variant != ""
}

// emulated reports whether a metric is one of those that endpoints send.
func emulated(metric obj) bool {
	return metric.str("Namespace") == "AWS/SageMaker" && published[metric.str("MetricName")] != nil
}

// value is a statistic of a metric over [from, to); ok is false without data.
func (r *request) value(metric obj, stat string, from, to time.Time) (value float64, ok bool, err error) {
	series, ok := r.series(metric)
	if !ok {
		return 0, false, nil
	}
	all, err := metering.Read(r.tx, series, from, to)
	if err != nil {
		return 0, false, err
	}
	value, ok = published[metric.str("MetricName")](metering.Sum(all)).statistic(stat)
	return value, ok, nil
}

// statistic works a statistic out; ok is false without samples, and for a
// statistic that is not known.
func (s samples) statistic(stat string) (value float64, ok bool) {
	count, sum := 0, 0.0
	values := make([]float64, 0, len(s))
	for v, n := range s {
		if n > 0 {
			count, sum, values = count+n, sum+v*float64(n), append(values, v)
		}
	}
	if count == 0 {
		return 0, false
	}
	slices.Sort(values)
	switch stat {
	case "Sum":
		return sum, true
	case "SampleCount":
		return float64(count), true
	case "Average":
		return sum / float64(count), true
	case "Minimum":
		return values[0], true
	case "Maximum":
		return values[len(values)-1], true
	}
	percent, err := strconv.ParseFloat(strings.TrimPrefix(stat, "p"), 64)
	if err != nil {
		return 0, false
	}
	reached := 0
	for _, v := range values {
		if reached += s[v]; float64(reached) >= percent/100*float64(count) {
			return v, true
		}
	}
	return values[len(values)-1], true
}

// meter keeps an answer, once for the variant and once for its configuration.
func (r *request) meter(endpoint, config string, to served) error {
	for _, c := range []string{"", config} {
		if err := metering.Record(r.tx, seriesOf(r.region, endpoint, to.variant, c), r.now(), to.status, to.latency); err != nil {
			return err
		}
	}
	return nil
}

// getMetricData answers queries for single metrics. Unlike CloudWatch it does not
// move the window to whole minutes: on the scaled clock a rollout has no minutes.
func getMetricData(r *request) (obj, error) {
	from, to := r.in.num("StartTime"), r.in.num("EndTime")
	if from >= to {
		return nil, &apiError{"ValidationError", "The parameter StartTime must be less than the parameter EndTime.", 400}
	}
	results, ids := []any{}, map[string]bool{}
	for _, q := range r.in.list("MetricDataQueries") {
		id := q.str("Id")
		if ids[id] {
			return nil, &apiError{"ValidationError", fmt.Sprintf("The values for the parameter id in parameter MetricDataQueries are not unique: %s", id), 400}
		}
		ids[id] = true
		result, err := r.query(q, from, to)
		if err != nil {
			return nil, err
		}
		if result != nil {
			results = append(results, map[string]any(result))
		}
	}
	return obj{"MetricDataResults": results, "Messages": []any{}}, nil
}

// query is the result of one query, nil if it is not to be returned.
func (r *request) query(q obj, from, to float64) (obj, error) {
	m := q.obj("MetricStat")
	if m == nil {
		return nil, &apiError{"ValidationError", "Only queries with a MetricStat are served in rehearsal, and no expressions", 400}
	}
	period := m.num("Period")
	if p := int(period); p != 1 && p != 5 && p != 10 && p != 20 && p != 30 && (p == 0 || p%60 != 0) {
		return nil, &apiError{"ValidationError", fmt.Sprintf("The value %d for parameter Period must be 1, 5, 10, 20, 30 or a multiple of 60.", p), 400}
	}
	if q.has("ReturnData") && !q.flag("ReturnData") {
		return nil, nil //nolint:nilnil // not asked for
	}
	times, values := []any{}, []any{}
	for at := from; at < to; at += period {
		value, ok, err := r.value(m.obj("Metric"), m.str("Stat"), moment(at), moment(math.Min(at+period, to)))
		if err != nil {
			return nil, err
		}
		if ok {
			times, values = append(times, at), append(values, value)
		}
	}
	if r.in.str("ScanBy") != "TimestampAscending" {
		slices.Reverse(times)
		slices.Reverse(values)
	}
	label := q.str("Label")
	if label == "" {
		label = m.obj("Metric").str("MetricName")
	}
	return obj{"Id": q.str("Id"), "Label": label, "Timestamps": times, "Values": values, "StatusCode": "Complete"}, nil
}

func moment(seconds float64) time.Time {
	return time.UnixMilli(int64(math.Round(seconds * 1000))).UTC()
}
