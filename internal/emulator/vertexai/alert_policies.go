// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	monitoring "google.golang.org/api/monitoring/v3"
)

const kindAlertPolicy = "vertex_ai.alert_policy"

// alertPolicy is one, with what is known of its conditions.
type alertPolicy struct {
	Policy *monitoring.AlertPolicy
	Since  map[string]time.Time // when conditions that are violated began to be, by name
	Open   string               // id of its alert; "" if none is open
}

func (p *alertPolicy) id() string { return p.Policy.Name[strings.LastIndexByte(p.Policy.Name, '/')+1:] }

func (p *alertPolicy) key(r *request) string { return r.Number + "/" + p.id() }

func (r *request) alertPolicies() (all []*alertPolicy, err error) {
	err = r.tx.Each(kindAlertPolicy, r.Number+"/", func(_ string, data []byte) error {
		p := &alertPolicy{}
		all = append(all, p)
		return json.Unmarshal(data, p)
	})
	return all, err
}

const (
	mostConditions   = 6
	mostPolicyName   = 512
	usualPolicyPages = 1000
)

func createPolicy(r *request) (any, error) {
	var in monitoring.AlertPolicy
	if err := r.parseBody(&in); err != nil {
		return nil, err
	}
	var given struct{ Enabled *bool }
	if err := json.Unmarshal(r.body, &given); err != nil {
		return nil, err
	}
	in.Enabled = given.Enabled == nil || *given.Enabled
	if err := checkPolicy(&in); err != nil {
		return nil, err
	}
	n, err := r.tx.Next(kindAlertPolicy)
	if err != nil {
		return nil, err
	}
	const first = 1_000_000_000_000_000_000 // ids have 19 digits
	in.Name = fmt.Sprintf("projects/%s/alertPolicies/%d", r.project, int64(first)+int64(n))
	for i, c := range in.Conditions {
		c.Name = fmt.Sprintf("%s/conditions/%d", in.Name, int64(first)+int64(n*mostConditions+i))
	}
	in.CreationRecord = &monitoring.MutationRecord{MutateTime: timestamp(r.now())}
	in.MutationRecord = in.CreationRecord
	p := &alertPolicy{Policy: &in}
	if err := r.tx.Put(kindAlertPolicy, p.key(r), p); err != nil {
		return nil, err
	}
	return json.Marshal(&in)
}

func checkPolicy(in *monitoring.AlertPolicy) error {
	switch n := len(in.Conditions); {
	case in.Name != "":
		return wrongField("alert_policy.name", in.Name, "must not be set, as it is assigned.")
	case in.DisplayName == "" || len(in.DisplayName) > mostPolicyName:
		return wrongField("alert_policy.display_name", in.DisplayName, "must have 1 to %d bytes.", mostPolicyName)
	case n == 0 || n > mostConditions:
		return wrongField("alert_policy.conditions", fmt.Sprint(n), "must contain 1 to %d conditions.", mostConditions)
	case in.Combiner == "AND_WITH_MATCHING_RESOURCE":
		return unsupported("the combiner %s", in.Combiner)
	case in.Combiner != "OR" && in.Combiner != "AND":
		return wrongField("alert_policy.combiner", in.Combiner, "must be specified.")
	}
	for i, c := range in.Conditions {
		if err := checkCondition(fmt.Sprintf("alert_policy.conditions[%d]", i), c); err != nil {
			return err
		}
	}
	return nil
}

func checkCondition(field string, c *monitoring.Condition) error {
	t := c.ConditionThreshold
	switch {
	case c.DisplayName == "":
		return wrongField(field+".display_name", "", "must be specified.")
	case t == nil:
		return unsupported("conditions other than conditionThreshold")
	case t.DenominatorFilter != "" || t.ForecastOptions != nil || t.Trigger != nil && (t.Trigger.Percent != 0 || t.Trigger.Count > 1) || len(t.Aggregations) > 1:
		return unsupported("ratios, forecasts, triggers, and second aggregations in conditions")
	case t.Comparison != "COMPARISON_GT" && t.Comparison != "COMPARISON_LT":
		return wrongField(field+".condition_threshold.comparison", t.Comparison, "Only COMPARISON_LT and COMPARISON_GT are supported.")
	}
	lasts, err := time.ParseDuration(t.Duration)
	if err != nil || lasts < 0 || lasts%time.Minute != 0 {
		return wrongField(field+".condition_threshold.duration", t.Duration, "must be a multiple of a minute.")
	}
	return checkSeries(field+".condition_threshold", t)
}

// checkSeries checks which series a condition is about, and how they are aligned.
func checkSeries(field string, t *monitoring.MetricThreshold) error {
	s, err := selected(t.Filter)
	if err != nil {
		return err
	}
	if s.resource == "" {
		return wrongField(field+".filter", t.Filter, "must specify a restriction on \"resource.type\" in the filter; see \"https://cloud.google.com/monitoring/api/resources\" for a list of available resource types.")
	}
	name, predicted := strings.CutPrefix(s.metric, metricPrefix)
	d, known := descriptors[name]
	if (!predicted || !known) && !strings.HasPrefix(s.metric, customPrefix) {
		return unsupported("conditions on the metric %s", s.metric)
	}
	if predicted && s.resource != endpointType {
		return invalid("The supplied filter does not specify a valid combination of metric and monitored resource descriptors. The query will not return any time series.")
	}
	if len(t.Aggregations) == 0 {
		if d.value == "DISTRIBUTION" {
			return wrongField(field+".aggregations", "", "A distribution needs an aligner that makes one number of it.")
		}
		return nil
	}
	how, err := readAggregation(t.Aggregations[0])
	if err != nil || how == nil {
		return err
	}
	kind, value := "GAUGE", "DOUBLE"
	if predicted {
		kind, value = d.kind, d.value
	}
	return how.fits(&monitoring.TimeSeries{MetricKind: kind, ValueType: value})
}

// policyFields are those that alert policies are filtered by here.
var policyFields = map[string]string{"name": "name", "display_name": "display_name", "displayName": "display_name"}

func policyField(field string) (string, bool) {
	name, ok := policyFields[field]
	return name, ok
}

func listPolicies(r *request) (any, error) {
	match, err := parseFilter(r.query.Get("filter"), policyField)
	if err != nil {
		return nil, err
	}
	all, err := r.alertPolicies()
	if err != nil {
		return nil, err
	}
	var found []*monitoring.AlertPolicy
	for _, p := range all {
		if match(func(field string) (string, bool) {
			if field == "name" {
				return p.Policy.Name, true
			}
			return p.Policy.DisplayName, true
		}) {
			found = append(found, p.Policy)
		}
	}
	out := &monitoring.ListAlertPoliciesResponse{TotalSize: int64(len(found))}
	if out.AlertPolicies, out.NextPageToken, err = cut(r, found, usualPolicyPages, usualPolicyPages); err != nil {
		return nil, err
	}
	return json.Marshal(out)
}

func (r *request) alertPolicy() (*alertPolicy, error) {
	var p alertPolicy
	found, err := r.tx.Get(kindAlertPolicy, r.Number+"/"+r.ids[0], &p)
	if err == nil && !found {
		err = notFound("Alert policy not found: projects/%s/alertPolicies/%s", r.project, r.ids[0])
	}
	return &p, err
}

func getAlertPolicy(r *request) (any, error) {
	p, err := r.alertPolicy()
	if err != nil {
		return nil, err
	}
	return json.Marshal(p.Policy)
}

// deletePolicy removes a policy, whose alert is so closed.
func deletePolicy(r *request) (any, error) {
	p, err := r.alertPolicy()
	if err != nil {
		return nil, err
	}
	if err := r.settleAlert(p, false, nil); err != nil {
		return nil, err
	}
	return []byte("{}"), r.tx.Delete(kindAlertPolicy, p.key(r))
}
