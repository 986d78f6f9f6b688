// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// Measure asks the Prometheus how many requests to a deployment were answered, and how.
func (d *kubernetes) Measure(ctx context.Context, key driver.Key, id string, since, until time.Time) (m driver.Measurement, err error) {
	if !until.After(since) {
		return m, nil
	}
	about, err := d.subjectOf(ctx, key, id)
	if err != nil {
		return m, err
	}
	about.interval = until.Sub(since)
	o, err := d.observer()
	if err != nil {
		return m, err
	}
	q, ok, err := o.queries(ctx, until)
	if err != nil || !ok {
		return m, err
	}
	ask := func(query, what string) (n float64) {
		if err != nil || query == "" {
			return 0
		}
		var text string
		if text, err = about.filled(query); err == nil {
			n, err = o.number(ctx, text, until, what)
		}
		return n
	}
	if m.Requests = int(math.Round(ask(q.Requests, "requests"))); m.Requests == 0 {
		return m, err
	}
	m.Errors = min(m.Requests, int(math.Round(ask(q.Errors, "errors"))))
	m.Latency95 = time.Duration(ask(q.Latency, "latencies") * float64(time.Second)).Round(time.Microsecond)
	return m, err
}

// subjectOf is what queries about a deployment are filled in with.
func (d *kubernetes) subjectOf(ctx context.Context, key driver.Key, id string) (*subject, error) {
	a, err := d.connect()
	if err != nil {
		return nil, err
	}
	r, err := d.root(ctx, a, key)
	if mlerr.Is(err, mlerr.NotFound) {
		r, _, err = d.byHand(ctx, a, key)
	}
	if err != nil {
		return nil, err
	}
	e := r.entry(id)
	if e == nil {
		return nil, mlerr.New(mlerr.NotFound, "the endpoint %s has no deployment %s", key.Name, id)
	}
	s := &subject{namespace: key.Location, endpoint: key.Name, deployment: e.Name, service: key.Name, workload: e.ID}
	switch {
	case d.cfg.routed(&r.Settings):
		s.service = r.backend(id)
	case r.Adopted != nil && r.Adopted.Service != "":
		s.service = r.Adopted.Service
	}
	if e.Adopted == inferenceServices.name || e.Adopted == "" && kubernetesOf(&e.Carried).Serving == servingKServe {
		s.workload += "-predictor" // as KServe names the Deployment that it makes
	}
	return s, nil
}

// Firing asks the Prometheus for the alerts of those names. One that has a label
// "namespace" of another namespace is about something else.
func (d *kubernetes) Firing(ctx context.Context, key driver.Key, names []string) ([]driver.Alarm, error) {
	o, err := d.observer()
	if err != nil {
		return nil, err
	}
	result, err := o.api.Rules(ctx)
	if err != nil {
		return nil, at("rollout.checks.alarms", o.failed(err, "say which alerts fire"))
	}
	known, firing := map[string]bool{}, map[string]driver.Alarm{}
	for i := range result.Groups {
		for _, r := range result.Groups[i].Rules {
			rule, ok := r.(promv1.AlertingRule)
			if !ok {
				continue
			}
			known[rule.Name] = true
			for _, a := range rule.Alerts {
				if a.State == promv1.AlertStateFiring && cmp.Or(string(a.Labels["namespace"]), key.Location) == key.Location {
					firing[rule.Name] = driver.Alarm{Name: rule.Name, Reason: reason(a.Annotations)}
				}
			}
		}
	}
	var all []driver.Alarm
	for _, name := range slices.Compact(slices.Sorted(slices.Values(names))) {
		if !known[name] {
			return nil, mlerr.New(mlerr.InvalidArgument, "the Prometheus at %s has no alerting rule %s", o.cfg.shown(), name).At("rollout.checks.alarms").
				WithHint("Use the alert name of a rule that it has loaded")
		}
		if a, ok := firing[name]; ok {
			all = append(all, a)
		}
	}
	return all, nil
}

// reason is what an alert says about itself, by the annotations that are usual.
func reason(annotations model.LabelSet) string {
	for _, name := range []model.LabelName{"summary", "description", "message"} {
		if text := annotations[name]; text != "" {
			return string(text)
		}
	}
	return ""
}
