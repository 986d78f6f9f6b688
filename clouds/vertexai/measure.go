// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	monitoring "google.golang.org/api/monitoring/v3"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// How late Cloud Monitoring shows an answer: a point is taken every minute, and is to
// be seen some minutes later. Google says how many for private endpoints (360 seconds),
// and for the others only what is usual (240 seconds).
// (https://docs.cloud.google.com/monitoring/api/v3/latency-n-retention)
const (
	publicDelay  = 5 * time.Minute
	privateDelay = 7 * time.Minute
)

// The metrics of answers, below aiplatform.googleapis.com/: private endpoints have some
// of their own.
const (
	publicMetrics  = "prediction/online/"
	privateMetrics = "prediction/online/private/"
)

// publicMonitoring is where Google serves Cloud Monitoring.
const publicMonitoring = "https://monitoring.googleapis.com"

const (
	v3       = "v3" // of Cloud Monitoring's API
	mostSeen = 1000 // what a page of it has at most
)

// monitored is the address of Cloud Monitoring. An endpoint_url of one's own stands for
// it, as a private gateway or an emulator does; one of Google's does not serve it.
func (d *vertex) monitored() string {
	own := strings.TrimSuffix(strings.TrimSuffix(d.cfg.MonitoringEndpointURL, "/"), "/"+v3)
	if own != "" {
		return own
	}
	if u, err := url.Parse(d.cfg.EndpointURL); err != nil || u.Host == "" || strings.HasSuffix(u.Hostname(), ".googleapis.com") {
		return publicMonitoring
	}
	return strings.TrimSuffix(d.cfg.EndpointURL, "/")
}

// Measure sums up the points of Cloud Monitoring that lie in the window. They are read
// as they are and not aligned: an alignment period is a minute at least, and reaches
// back to before the window.
func (d *vertex) Measure(ctx context.Context, key driver.Key, id string, since, until time.Time) (m driver.Measurement, err error) {
	r := d.at(key.Location)
	e, err := r.remembered(ctx, key.Name)
	if err != nil {
		return m, err
	}
	families := []string{publicMetrics}
	if e.attached() || e.Network != "" {
		// Google does not say which of the kinds of private endpoints have metrics of their own.
		families = []string{privateMetrics, publicMetrics}
	}
	for _, family := range families {
		if m, err = r.measure(ctx, family, series{key.Name, id, since, until}); err != nil || m.Requests > 0 {
			return m, err
		}
	}
	return m, nil
}

// series are those of a deployed model in a window.
type series struct {
	endpoint, deployed string
	since, until       time.Time
}

func (r *region) measure(ctx context.Context, family string, of series) (m driver.Measurement, err error) {
	counts, err := r.points(ctx, family+"response_count", of)
	if err != nil {
		return m, err
	}
	for _, s := range counts {
		for _, p := range s.Points {
			if p.Value == nil || p.Value.Int64Value == nil {
				continue
			}
			n := int(*p.Value.Int64Value)
			m.Requests += n
			if s.Metric != nil && strings.HasPrefix(s.Metric.Labels["response_code"], "5") { // "5xx", and "503" of private endpoints
				m.Errors += n
			}
		}
	}
	if m.Requests == 0 {
		return m, nil
	}
	latencies, err := r.points(ctx, family+"prediction_latencies", of)
	if err != nil {
		return driver.Measurement{}, err
	}
	var all histogram
	for _, s := range latencies {
		if s.Metric != nil && cmp.Or(s.Metric.Labels["latency_type"], totalLatency) != totalLatency {
			continue // a part of it
		}
		for _, p := range s.Points {
			if p.Value != nil {
				all.add(p.Value.DistributionValue)
			}
		}
	}
	const percent = 95
	m.Latency95 = all.percentile(percent)
	return m, nil
}

const totalLatency = "total"

// points are those of a metric whose time lies in the window, from its start to its end.
func (r *region) points(ctx context.Context, metric string, of series) ([]*monitoring.TimeSeries, error) {
	if !of.since.Before(of.until) {
		return nil, nil
	}
	conditions := []string{"metric.type = " + strconv.Quote("aiplatform.googleapis.com/"+metric), `resource.type = "aiplatform.googleapis.com/Endpoint"`,
		"resource.labels.location = " + strconv.Quote(r.name), "resource.labels.endpoint_id = " + strconv.Quote(of.endpoint),
		"metric.labels.deployed_model_id = " + strconv.Quote(of.deployed)}
	all, err := pages[*monitoring.TimeSeries](ctx, r, call{name: "timeSeries.list", doing: "read " + metric + " of " + of.endpoint, host: r.d.monitored(), version: v3,
		path: "projects/" + r.project + "/timeSeries",
		query: url.Values{"filter": {strings.Join(conditions, " AND ")}, "view": {"FULL"}, "pageSize": {strconv.Itoa(mostSeen)},
			"interval.startTime": {stamp(of.since)}, "interval.endTime": {stamp(of.until)}}}, "timeSeries")
	if mlerr.Is(err, mlerr.NotFound) {
		return nil, nil // a metric that nothing in the project has had yet
	}
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(s *monitoring.TimeSeries) bool { return s == nil })
	for _, s := range all {
		s.Points = slices.DeleteFunc(s.Points, func(p *monitoring.Point) bool {
			if p == nil || p.Interval == nil {
				return true
			}
			// A window is asked for by where points end: the first may have begun before it.
			began, err := time.Parse(time.RFC3339Nano, p.Interval.StartTime)
			return err != nil || began.Before(of.since)
		})
	}
	return all, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// Firing lists the alert policies that have an open alert.
func (d *vertex) Firing(ctx context.Context, key driver.Key, names []string) ([]driver.Alarm, error) {
	r := d.at(key.Location)
	sorted := slices.Compact(slices.Sorted(slices.Values(names)))
	called := map[string]string{} // by the id of a policy
	for _, name := range sorted {
		id, err := r.policyID(ctx, name)
		if err != nil {
			return nil, err
		}
		called[id] = name
	}
	if len(called) == 0 {
		return nil, nil
	}
	open, err := pages[*monitoring.Alert](ctx, r, call{name: "alerts.list", doing: "read the open alerts of " + r.project, host: d.monitored(), version: v3,
		path: "projects/" + r.project + "/alerts", query: url.Values{"filter": {`state = "OPEN"`}, "pageSize": {strconv.Itoa(mostSeen)}}}, "alerts")
	if err != nil {
		return nil, atAlarms(err)
	}
	reasons := map[string]string{}
	for _, a := range open {
		if a == nil || a.Policy == nil || a.State != "OPEN" {
			continue
		}
		if name, ok := called[segment(a.Policy.Name, "alertPolicies")]; ok && reasons[name] == "" {
			reasons[name] = because(a)
		}
	}
	var firing []driver.Alarm
	for _, name := range sorted {
		if reason := reasons[name]; reason != "" {
			firing = append(firing, driver.Alarm{Name: name, Reason: reason})
		}
	}
	return firing, nil
}

// because is what an alert says of itself.
func because(a *monitoring.Alert) string {
	words := "an alert is open since " + cmp.Or(a.OpenTime, "an unknown time")
	if a.Metric != nil && a.Metric.Type != "" {
		words += " for " + a.Metric.Type
	}
	return words + " [" + a.Name + "]"
}

// policyID finds the alert policy of that display name, or resource name.
func (r *region) policyID(ctx context.Context, name string) (string, error) {
	field, id := "display_name", segment(name, "alertPolicies")
	if id != "" {
		field = "name"
	}
	found, err := pages[*monitoring.AlertPolicy](ctx, r, call{name: "alertPolicies.list", doing: "find the alert policy " + name, host: r.d.monitored(), version: v3,
		path: "projects/" + r.project + "/alertPolicies", query: url.Values{"filter": {field + " = " + strconv.Quote(name)}, "pageSize": {strconv.Itoa(mostSeen)}}}, "alertPolicies")
	if err != nil {
		return "", atAlarms(err)
	}
	found = slices.DeleteFunc(found, func(p *monitoring.AlertPolicy) bool { // filters do not tell upper from lower case
		return p == nil || p.DisplayName != name && (id == "" || segment(p.Name, "alertPolicies") != id)
	})
	refuse := func(hint, format string, args ...any) (string, error) {
		return "", mlerr.New(mlerr.InvalidArgument, format, args...).At("%s", alarmsPath).WithHint("%s", hint)
	}
	switch {
	case len(found) == 0:
		return refuse("Use the display name of an alert policy in the project, or projects/<project>/alertPolicies/<id>", "there is no alert policy %q in the project %s", name, r.project)
	case len(found) > 1:
		return refuse("Use projects/<project>/alertPolicies/<id>, or give each a name of its own", "%d alert policies in the project %s are called %q", len(found), r.project, name)
	case !found[0].Enabled:
		return refuse("Enable it, or leave it out", "the alert policy %q in the project %s is disabled, and opens no alerts", name, r.project)
	}
	return segment(found[0].Name, "alertPolicies"), nil
}

const alarmsPath = "rollout.checks.alarms"

// atAlarms names the attribute that made us ask.
func atAlarms(err error) error {
	own, ok := err.(*mlerr.Error) //nolint:errorlint // the one that do has made
	if ok {
		return own.At("%s", alarmsPath)
	}
	return err
}
