// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	monitoring "google.golang.org/api/monitoring/v3"
)

const (
	kindAlert = "vertex_ai.alert"

	stateOpen, stateClosed = "OPEN", "CLOSED"

	usualAlerts, mostAlerts = 50, 1000
)

// judgeAlerts opens an alert of each policy whose conditions hold now, and closes those
// of all others. It is called when alerts are read and when points are written: what
// predictions do in between, and have ceased to do, opens none.
func (r *request) judgeAlerts() error {
	policies, err := r.alertPolicies()
	if err != nil {
		return err
	}
	for _, p := range policies {
		holds := false
		var cause *monitoring.TimeSeries
		if p.Policy.Enabled {
			if holds, cause, err = r.judge(p); err != nil {
				return err
			}
		}
		if err := r.settleAlert(p, holds, cause); err != nil {
			return err
		}
	}
	return nil
}

// judge tells whether the conditions of a policy hold, and of which series.
func (r *request) judge(p *alertPolicy) (bool, *monitoring.TimeSeries, error) {
	held, since := 0, map[string]time.Time{}
	var cause *monitoring.TimeSeries
	for _, c := range p.Policy.Conditions {
		violated, err := r.violated(c.ConditionThreshold)
		if err != nil {
			return false, nil, err
		}
		if violated == nil {
			continue
		}
		since[c.Name] = p.Since[c.Name]
		if since[c.Name].IsZero() {
			since[c.Name] = r.now()
		}
		lasts, err := time.ParseDuration(c.ConditionThreshold.Duration)
		if err != nil {
			return false, nil, err
		}
		if r.now().Sub(since[c.Name]) >= r.scaled(lasts) {
			held, cause = held+1, violated
		}
	}
	p.Since = since
	if err := r.tx.Put(kindAlertPolicy, p.key(r), p); err != nil {
		return false, nil, err
	}
	if p.Policy.Combiner == "OR" {
		return held > 0, cause, nil
	}
	return held == len(p.Policy.Conditions), cause, nil
}

// violated is a series that is now beyond the threshold of a condition, nil if none is.
func (r *request) violated(c *monitoring.MetricThreshold) (*monitoring.TimeSeries, error) {
	s, err := selected(c.Filter)
	if err != nil {
		return nil, err
	}
	to := r.now().Add(grain) // what is answered this very moment counts
	from, how := to.Add(-oldestPoint), (*aggregation)(nil)
	if len(c.Aggregations) > 0 {
		if how, err = readAggregation(c.Aggregations[0]); err != nil {
			return nil, err
		}
	}
	if how != nil { // the clock of a rehearsal runs faster
		how.seconds, how.period = how.period.Seconds(), r.scaled(how.period)
		from = to.Add(-how.period)
	}
	all, err := r.find(s, from, to)
	if refused(err) {
		return nil, nil //nolint:nilnil // there are no points of it yet
	}
	if err == nil {
		all, err = how.aggregate(all, from, to)
	}
	if err != nil {
		return nil, err
	}
	for _, one := range all {
		if len(one.Points) == 0 {
			continue
		}
		v := total(valuesOf(one.Points[0].Value))
		if c.Comparison == "COMPARISON_GT" && v > c.ThresholdValue || c.Comparison == "COMPARISON_LT" && v < c.ThresholdValue {
			return one, nil
		}
	}
	return nil, nil //nolint:nilnil // none
}

// settleAlert opens or closes the alert of a policy.
func (r *request) settleAlert(p *alertPolicy, holds bool, cause *monitoring.TimeSeries) error {
	name := p.Open
	switch {
	case holds == (name != ""):
		return nil
	case holds:
		n, err := r.tx.Next("vertex_ai.alert")
		if err != nil {
			return err
		}
		id := fmt.Sprintf("0.%012d", n)
		p.Open = id
		a := &monitoring.Alert{Name: "projects/" + r.project + "/alerts/" + id, State: stateOpen, OpenTime: timestamp(r.now()), Metric: cause.Metric, Resource: cause.Resource,
			Policy: &monitoring.PolicySnapshot{Name: p.Policy.Name, DisplayName: p.Policy.DisplayName, Severity: p.Policy.Severity, UserLabels: p.Policy.UserLabels}}
		if err := r.tx.Put(kindAlert, r.Number+"/"+id, a); err != nil {
			return err
		}
	default:
		var a monitoring.Alert
		if _, err := r.tx.Get(kindAlert, r.Number+"/"+name, &a); err != nil {
			return err
		}
		p.Open, a.State, a.CloseTime = "", stateClosed, timestamp(r.now())
		if err := r.tx.Put(kindAlert, r.Number+"/"+name, &a); err != nil {
			return err
		}
	}
	return r.tx.Put(kindAlertPolicy, p.key(r), p)
}

// alertFields are those that alerts are filtered by, as the published form and as gcloud has them.
var alertFields = map[string]string{"name": "name", "state": "state", "policy.name": "policy.name", "policy.display_name": "policy.display_name",
	"policy.displayName": "policy.display_name", "metric.type": "metric.type", "resource.type": "resource.type"}

func alertField(field string) (string, bool) {
	name, ok := alertFields[field]
	return name, ok
}

func valueOfAlert(a *monitoring.Alert, field string) (string, bool) {
	switch field {
	case "state":
		return a.State, true
	case "policy.name":
		return a.Policy.Name, true
	case "policy.display_name":
		return a.Policy.DisplayName, true
	case "metric.type":
		return a.Metric.Type, true
	case "resource.type":
		return a.Resource.Type, true
	}
	return a.Name, true
}

func listAlerts(r *request) (any, error) {
	match, err := parseFilter(r.query.Get("filter"), alertField)
	if err != nil {
		return nil, err
	}
	if err := r.judgeAlerts(); err != nil {
		return nil, err
	}
	var all []*monitoring.Alert
	err = r.tx.Each(kindAlert, r.Number+"/", func(_ string, data []byte) error {
		a := &monitoring.Alert{}
		err := json.Unmarshal(data, a)
		if err == nil && match(func(field string) (string, bool) { return valueOfAlert(a, field) }) {
			all = append(all, a)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := r.sortAlerts(all); err != nil {
		return nil, err
	}
	out := &monitoring.ListAlertsResponse{TotalSize: int64(len(all))}
	if out.Alerts, out.NextPageToken, err = cut(r, all, usualAlerts, mostAlerts); err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

// sortAlerts orders by the times that they were opened or closed, the last first unless
// something else is asked for.
func (r *request) sortAlerts(all []*monitoring.Alert) error {
	text := cmp.Or(r.query.Get("orderBy"), "open_time desc")
	var compare []func(a, b *monitoring.Alert) int
	for by := range strings.SplitSeq(text, ",") {
		field, direction, _ := strings.Cut(strings.TrimSpace(by), " ")
		of := map[string]func(a *monitoring.Alert) string{"open_time": func(a *monitoring.Alert) string { return a.OpenTime }, "close_time": func(a *monitoring.Alert) string { return a.CloseTime }}[snake(field)]
		if of == nil || direction != "" && direction != "desc" {
			return wrongField("order_by", text, "Only open_time and close_time are supported.")
		}
		sign := 1
		if direction == "desc" {
			sign = -1
		}
		compare = append(compare, func(a, b *monitoring.Alert) int { return sign * instant(of(a)).Compare(instant(of(b))) })
	}
	slices.SortStableFunc(all, func(a, b *monitoring.Alert) int {
		for _, c := range compare {
			if n := c(a, b); n != 0 {
				return n
			}
		}
		return 0
	})
	return nil
}

// instant reads a time; none is the first of all.
func instant(text string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}
	}
	return t
}

func getAlert(r *request) (any, error) {
	if err := r.judgeAlerts(); err != nil {
		return nil, err
	}
	var a monitoring.Alert
	found, err := r.tx.Get(kindAlert, r.Number+"/"+r.ids[0], &a)
	if err == nil && !found {
		err = notFound("Alert not found: projects/%s/alerts/%s", r.project, r.ids[0])
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(&a)
}
