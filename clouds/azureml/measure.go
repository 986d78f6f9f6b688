// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"context"
	"errors"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/monitor/armmonitor"
	"golang.org/x/sync/errgroup"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// metricsDelay is how late Azure Monitor shows an answer: it counts by the minute, and a
// minute that has ended is there within two more.
const metricsDelay = 3 * time.Minute

// Metrics of an online endpoint, with the only aggregation and time grain that they have.
const (
	metricRequests  = "RequestsPerMinute"
	metricLatency95 = "RequestLatency_P95" // milliseconds
	metricsGrain    = "PT1M"
	metricsAverage  = "Average"
)

// mostSeries is more than there are pairs of statuses. If nothing is said, Azure Monitor
// leaves out all series but ten.
const mostSeries = 1000

// Dimensions, in the spelling of answers.
const (
	dimensionStatus = "statuscode"
	dimensionModel  = "modelstatuscode"
)

// Measure sums up the minutes that the window touches: the first one is counted from its
// beginning. RequestsPerMinute is a number for each minute, so that its average over one
// is what was answered in it. The percentile of several minutes is not known: theirs,
// weighted by their requests, stand for it.
func (d *azureML) Measure(ctx context.Context, key driver.Key, id string, since, until time.Time) (m driver.Measurement, err error) {
	w, err := d.at(key.Location)
	if err != nil || !since.Before(until) {
		return m, err
	}
	var answers, latencies []*armmonitor.TimeSeriesElement
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		filter := "deployment eq '" + id + "' and statusCode eq '*' and modelStatusCode eq '*'"
		answers, err = w.metric(inner, key, metricRequests, filter, since, until)
		return err
	})
	group.Go(func() (err error) {
		latencies, err = w.metric(inner, key, metricLatency95, "deployment eq '"+id+"'", since, until)
		return err
	})
	if err := group.Wait(); err != nil {
		return m, err
	}
	requests, failures, minutes := 0.0, 0.0, map[time.Time]float64{}
	for _, series := range answers {
		failed := failure(dimension(series, dimensionStatus), dimension(series, dimensionModel))
		for at, n := range points(series) {
			requests += n
			minutes[at] += n
			if failed {
				failures += n
			}
		}
	}
	m.Requests, m.Errors = int(math.Round(requests)), int(math.Round(failures))
	m.Latency95 = weighted(latencies, minutes)
	return m, nil
}

// failure reports whether a status means that a request was not answered, or with an
// error of 500 and above. A managed endpoint says 424 for whatever its model does not
// answer with success, which then has a status of its own, and 408 for what it has waited
// for in vain.
func failure(status, model string) bool {
	code, _ := strconv.Atoi(status)
	of, unknown := strconv.Atoi(model)
	switch {
	case code >= http.StatusInternalServerError, code == http.StatusRequestTimeout, of >= http.StatusInternalServerError:
		return true
	case code == http.StatusFailedDependency:
		return unknown != nil || of < http.StatusBadRequest
	}
	return false
}

// weighted is the mean of a latency over minutes, by the requests of each.
func weighted(latencies []*armmonitor.TimeSeriesElement, requests map[time.Time]float64) time.Duration {
	sum, weight := 0.0, 0.0
	for _, series := range latencies {
		for at, ms := range points(series) {
			sum += ms * requests[at]
			weight += requests[at]
		}
	}
	if weight == 0 {
		return 0
	}
	return time.Duration(sum / weight * float64(time.Millisecond)).Round(time.Microsecond)
}

// points are the values of a series by minute. Minutes without one are left out.
func points(series *armmonitor.TimeSeriesElement) map[time.Time]float64 {
	all := map[time.Time]float64{}
	for _, p := range series.Data {
		if p != nil && p.TimeStamp != nil && p.Average != nil {
			all[p.TimeStamp.UTC()] += *p.Average
		}
	}
	return all
}

// dimension is what a series is of.
func dimension(series *armmonitor.TimeSeriesElement, name string) string {
	for _, v := range series.Metadatavalues {
		if v != nil && v.Name != nil && strings.EqualFold(deref(v.Name.Value), name) {
			return deref(v.Value)
		}
	}
	return ""
}

// metric reads the series of a metric of an endpoint.
func (w *workspace) metric(ctx context.Context, key driver.Key, name, filter string, since, until time.Time) ([]*armmonitor.TimeSeriesElement, error) {
	span := since.UTC().Format(time.RFC3339Nano) + "/" + until.UTC().Format(time.RFC3339Nano)
	got, err := w.c.Metrics.List(ctx, w.endpointID(key.Name), &armmonitor.MetricsClientListOptions{Metricnames: &name, Filter: &filter, Timespan: &span,
		Interval: new(metricsGrain), Aggregation: new(metricsAverage), Top: new(int32(mostSeries))})
	if err != nil {
		return nil, metricsHint(failed(err, "cannot read the metric %s of %s", name, key.ID()), "Microsoft.Insights/metrics/read on the endpoint")
	}
	var all []*armmonitor.TimeSeriesElement
	for _, m := range got.Value {
		if m == nil {
			continue
		}
		if code := deref(m.ErrorCode); code != "" && !strings.EqualFold(code, "Success") {
			return nil, mlerr.New(mlerr.Unavailable, "cannot read the metric %s of %s: %s: %s", name, key.ID(), code, deref(m.ErrorMessage))
		}
		all = append(all, m.Timeseries...)
	}
	return slices.DeleteFunc(all, func(s *armmonitor.TimeSeriesElement) bool { return s == nil }), nil
}

// metricsHint says which permission of Azure Monitor's is missing: roles of Azure ML have
// none of them.
func metricsHint(err error, permission string) error {
	if own, ok := errors.AsType[*mlerr.Error](err); ok && own.Code == mlerr.PermissionDenied {
		return own.WithHint("Grant the credentials Monitoring Reader, or %s", permission)
	}
	return err
}

var (
	alertID   = regexp.MustCompile(`(?i)^/subscriptions/([^/]+)/resourceGroups/([^/]+)/providers/Microsoft\.Insights/metricAlerts/([^/]+)$`)
	alertName = regexp.MustCompile(`^[^*#&+:<>?@%{}\\/]{1,260}$`)
)

const (
	attributeAlarms = "rollout.checks.alarms"
	alarmsHint      = "Name a metric alert rule by its name, if it is in the workspace's resource group, or by its id: /subscriptions/…/providers/Microsoft.Insights/metricAlerts/<name>"
	healthy         = "Healthy"
)

// checkAlarms refuses what cannot name a metric alert.
func checkAlarms(spec *driver.EndpointSpec, r *refusal) {
	for _, named := range spec.Rollout.Checks.Alarms {
		r.when(!alertID.MatchString(named) && !alertName.MatchString(named), mlerr.InvalidArgument, attributeAlarms, alarmsHint, "%q names no metric alert", named)
	}
}

// Firing asks metric alerts for their status, which is that of their last evaluation.
func (d *azureML) Firing(ctx context.Context, key driver.Key, names []string) ([]driver.Alarm, error) {
	w, err := d.at(key.Location)
	if err != nil {
		return nil, err
	}
	all := slices.Compact(slices.Sorted(slices.Values(names)))
	found := make([][]driver.Alarm, len(all))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(manyReads)
	for i, named := range all {
		group.Go(func() (err error) {
			found[i], err = w.firing(inner, named)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(found...), nil
}

// firing is a metric alert, if it fires.
func (w *workspace) firing(ctx context.Context, named string) (firing []driver.Alarm, err error) {
	group, name, c := w.group, named, w.c
	if m := alertID.FindStringSubmatch(named); m != nil {
		group, name = m[2], m[3]
		if !strings.EqualFold(m[1], w.subscription) {
			if c, err = w.d.clients(m[1]); err != nil {
				return nil, mlerr.New(mlerr.InvalidArgument, "the Azure clients cannot be made").Because(err)
			}
		}
	}
	got, err := c.MetricAlertsStatus.List(ctx, group, name, nil)
	if err == nil && len(got.Value) == 0 { // as of one that was never evaluated, or is not there
		_, err = c.MetricAlerts.Get(ctx, group, name, nil)
	}
	if err := failed(err, "cannot read the metric alert %s", named); err != nil {
		if mlerr.Is(err, mlerr.NotFound) {
			return nil, mlerr.New(mlerr.InvalidArgument, "there is no metric alert %s", named).Because(err).At(attributeAlarms).WithHint(alarmsHint)
		}
		return nil, metricsHint(err, "Microsoft.Insights/metricAlerts/read and Microsoft.Insights/metricAlerts/status/read on the rule")
	}
	for _, s := range got.Value {
		if s == nil || s.Properties == nil {
			continue
		}
		if status := deref(s.Properties.Status); status != "" && !strings.EqualFold(status, healthy) {
			return []driver.Alarm{{Name: named, Reason: reasonOf(s.Properties)}}, nil
		}
	}
	return firing, nil
}

// reasonOf is what a status says, with what it is of.
func reasonOf(p *armmonitor.MetricAlertStatusProperties) string {
	words := "its status is " + deref(p.Status)
	if p.Timestamp != nil {
		words += " since the evaluation at " + p.Timestamp.UTC().Format(time.RFC3339)
	}
	var of []string
	for name, v := range p.Dimensions {
		of = append(of, name+" "+deref(v))
	}
	if slices.Sort(of); len(of) > 0 {
		words += ", for " + strings.Join(of, ", ")
	}
	return words
}
