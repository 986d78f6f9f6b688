// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package prometheus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

// ruleFile is prometheus-rules.yaml: a rule file of Prometheus, of which alerting rules
// are acted on.
type ruleFile struct {
	Groups []struct {
		Name     string `json:"name"`
		Interval string `json:"interval"`
		Rules    []rule `json:"rules"`
	} `json:"groups"`
}

type rule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	For         string            `json:"for"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// load reads the rules; without a file there are none. One that Prometheus would not
// load is an error.
func (s *Service) load() (*ruleFile, error) {
	f := &ruleFile{}
	data, err := os.ReadFile(s.rulesFile())
	if errors.Is(err, os.ErrNotExist) {
		return f, nil
	}
	if err == nil {
		err = yaml.UnmarshalStrict(data, f)
	}
	if err != nil {
		return nil, fmt.Errorf("prometheus-rules.yaml: %w", err)
	}
	for _, g := range f.Groups {
		for i := range g.Rules {
			if err := g.Rules[i].check(g.Name); err != nil {
				return nil, fmt.Errorf("prometheus-rules.yaml: %w", err)
			}
		}
	}
	return f, nil
}

func (r *rule) check(group string) error {
	if group == "" || r.Alert == "" {
		return fmt.Errorf("each group has a name, and each rule an alert")
	}
	if _, err := parser.ParseExpr(r.Expr); err != nil {
		return fmt.Errorf("the expr of %s: %w", r.Alert, err)
	}
	if _, err := model.ParseDuration(r.For); r.For != "" && err != nil {
		return fmt.Errorf("the for of %s: %w", r.Alert, err)
	}
	return nil
}

// alert is one that is pending or fires (GET /api/v1/rules).
type alert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	State       string            `json:"state"`
	ActiveAt    time.Time         `json:"activeAt"`
	Value       string            `json:"value"`
}

// The states of alerts and of their rules.
const (
	inactive = "inactive"
	pending  = "pending"
	firing   = "firing"
)

// looks is how often it is looked back whether an alert was active all the time.
const looks = 5

// active evaluates a rule now. It fires when it was active for as long as the rule
// says, on the scaled clock.
func (s *Service) active(ctx context.Context, r *rule) (alerts []alert, state string, err error) {
	now, wait := s.o.Now(), time.Duration(0)
	if d, err := model.ParseDuration(r.For); err == nil {
		const scale = 300
		wait = time.Duration(float64(d) / scale / max(s.o.Speed, 1e-9))
	}
	found, err := s.vector(ctx, r.Expr, now)
	if err != nil || len(found) == 0 {
		return nil, inactive, err
	}
	since, state := now, firing
	for i := 1; i <= looks && wait > 0; i++ {
		at := now.Add(-wait * time.Duration(i) / looks)
		before, err := s.vector(ctx, r.Expr, at)
		if err != nil {
			return nil, inactive, err
		}
		if len(before) == 0 {
			state = pending
			break
		}
		since = at
	}
	for _, v := range found {
		a := alert{Labels: v.Metric.Map(), State: state, ActiveAt: since.UTC(), Value: strconv.FormatFloat(v.F, 'e', -1, 64)}
		delete(a.Labels, labels.MetricName)
		a.Annotations = expanded(r.Annotations, a.Labels, v.F)
		maps.Copy(a.Labels, expanded(r.Labels, a.Labels, v.F))
		a.Labels[labels.AlertName] = r.Alert
		alerts = append(alerts, a)
	}
	return alerts, state, nil
}

// vector is what a rule's expression selects; of a scalar it is that one number.
func (s *Service) vector(ctx context.Context, expr string, at time.Time) (promql.Vector, error) {
	v, err := s.instant(ctx, expr, at)
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case promql.Vector:
		return v, nil
	case promql.Scalar:
		return promql.Vector{{T: v.T, F: v.V, Metric: labels.EmptyLabels()}}, nil
	}
	return nil, &failure{execution, errors.New("rule result is not a vector or scalar")}
}

// expanded fills in templates: {{ $labels.pod }} and {{ $value }}. One that cannot be
// filled in says why, as Prometheus has it.
func expanded(texts, of map[string]string, value float64) map[string]string {
	all := map[string]string{}
	for name, text := range texts {
		var b strings.Builder
		t, err := template.New(name).Option("missingkey=zero").Parse("{{ $labels := .Labels }}{{ $value := .Value }}" + text)
		if err == nil {
			err = t.Execute(&b, map[string]any{"Labels": of, "Value": value})
		}
		if all[name] = b.String(); err != nil {
			all[name] = "<error expanding template: " + err.Error() + ">"
		}
	}
	return all
}

func (s *Service) rules(r *http.Request) (any, error) {
	if kind := r.FormValue("type"); kind != "" && kind != "alert" && kind != "record" {
		return nil, &failure{badData, fmt.Errorf("not supported value %q", kind)}
	}
	f, err := s.load()
	if err != nil {
		return nil, err
	}
	groups := []any{}
	for _, g := range f.Groups {
		all := []any{}
		for i := range g.Rules {
			if r.FormValue("type") == "record" {
				continue
			}
			described, err := s.describe(r.Context(), &g.Rules[i])
			if err != nil {
				return nil, err
			}
			all = append(all, described)
		}
		groups = append(groups, map[string]any{"name": g.Name, "file": s.rulesFile(), "interval": 60, "limit": 0, "rules": all,
			"evaluationTime": 0, "lastEvaluation": s.o.Now().UTC()})
	}
	return map[string]any{"groups": groups}, nil
}

// describe is a rule as the API shows it.
func (s *Service) describe(ctx context.Context, r *rule) (map[string]any, error) {
	alerts, state, err := s.active(ctx, r)
	health, said := "ok", ""
	if f, ok := errors.AsType[*failure](err); ok {
		health, said = "err", f.Error()
	} else if err != nil {
		return nil, err
	}
	wait, _ := model.ParseDuration(r.For) // checked; "" is none
	return map[string]any{"type": "alerting", "name": r.Alert, "query": r.Expr, "duration": time.Duration(wait).Seconds(), "keepFiringFor": 0,
		"labels": some(r.Labels), "annotations": some(r.Annotations), "alerts": append([]alert{}, alerts...), "state": state,
		"health": health, "lastError": said, "evaluationTime": 0, "lastEvaluation": s.o.Now().UTC()}, nil
}

// some is a map that JSON has as {}.
func some(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func (s *Service) alerts(r *http.Request) (any, error) {
	f, err := s.load()
	if err != nil {
		return nil, err
	}
	all := []alert{}
	for _, g := range f.Groups {
		for i := range g.Rules {
			alerts, _, err := s.active(r.Context(), &g.Rules[i])
			if err != nil {
				return nil, err
			}
			all = append(all, alerts...)
		}
	}
	return map[string]any{"alerts": all}, nil
}
