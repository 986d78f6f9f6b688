// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/monitor/armmonitor"
)

// The periods that metric alerts can be evaluated at, and look back for.
var (
	alertFrequencies = []string{"PT1M", "PT5M", "PT15M", "PT30M", "PT1H"}
	alertWindows     = []string{"PT1M", "PT5M", "PT15M", "PT30M", "PT1H", "PT6H", "PT12H", "P1D"}
)

// mostSeverity is the least of five severities, which begin with 0.
const mostSeverity = 4

func putAlert(r *request) (*reply, error) {
	in, err := decode[armmonitor.MetricAlertResource](r.body)
	if err != nil {
		return nil, err
	}
	if err := r.checkAlert(in); err != nil {
		return nil, err
	}
	in.ID, in.Type, in.SystemData = nil, nil, nil
	c, _, err := r.keep(kindAlert, in)
	if err != nil {
		return nil, err
	}
	return ok(c.view()), nil // also of a new one
}

// checkAlert refuses what is no metric alert, and criteria that are not evaluated here.
func (r *request) checkAlert(in *armmonitor.MetricAlertResource) error {
	p := in.Properties
	switch {
	case !same(value(in.Location), "global"):
		return badRequest("The location of a metric alert must be 'global', and not '%s'.", value(in.Location))
	case p == nil || p.Criteria == nil || p.Enabled == nil || p.Severity == nil || len(p.Scopes) == 0:
		return badRequest("A metric alert needs the properties criteria, enabled, evaluationFrequency, scopes, severity and windowSize.")
	case *p.Severity < 0 || *p.Severity > mostSeverity:
		return badRequest("The severity of a metric alert is between 0 and %d, and not %d.", mostSeverity, *p.Severity)
	case !slices.Contains(alertFrequencies, value(p.EvaluationFrequency)):
		return badRequest("The evaluationFrequency '%s' is not one of %s.", value(p.EvaluationFrequency), strings.Join(alertFrequencies, ", "))
	case !slices.Contains(alertWindows, value(p.WindowSize)):
		return badRequest("The windowSize '%s' is not one of %s.", value(p.WindowSize), strings.Join(alertWindows, ", "))
	}
	all, err := criteria(p)
	if err != nil {
		return err
	}
	for _, scope := range p.Scopes {
		at, is := parseID(value(scope))
		if !is || ofType(at) == nil {
			return badRequest("The scope '%s' has no metrics here.", value(scope))
		}
		for _, c := range all {
			name, m, err := found(at, value(c.MetricName))
			if err == nil {
				_, err = conditions(c).of(name, m, false)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// criteria are the conditions that make an alert fire when all of them hold.
func criteria(p *armmonitor.MetricAlertProperties) ([]*armmonitor.MetricCriteria, error) {
	var all []*armmonitor.MetricCriteria
	switch c := p.Criteria.(type) {
	case *armmonitor.MetricAlertSingleResourceMultipleMetricCriteria:
		all = c.AllOf
	case *armmonitor.MetricAlertMultipleResourceMultipleMetricCriteria:
		for _, one := range c.AllOf {
			static, is := one.(*armmonitor.MetricCriteria)
			if !is {
				return nil, badRequest("Only criteria of the type StaticThresholdCriterion are evaluated here.")
			}
			all = append(all, static)
		}
	default:
		return nil, badRequest("Criteria of the type '%s' are not evaluated here.", value(p.Criteria.GetMetricAlertCriteria().ODataType))
	}
	for _, c := range all {
		if value(c.MetricName) == "" || c.Operator == nil || c.Threshold == nil || !slices.Contains(armmonitor.PossibleOperatorValues(), *c.Operator) {
			return nil, badRequest("A criterion needs a metricName, an operator and a threshold.")
		}
		if value(c.TimeAggregation) != armmonitor.AggregationTypeEnumAverage {
			return nil, badRequest("The metric %s does not support the time aggregation '%s', supported ones are: Average", *c.MetricName, value(c.TimeAggregation))
		}
	}
	if len(all) == 0 {
		return nil, badRequest("A metric alert needs at least one criterion.")
	}
	return all, nil
}

// conditions are the dimensions of a criterion, as a filter.
func conditions(c *armmonitor.MetricCriteria) filter {
	var f filter
	for _, d := range c.Dimensions {
		one := condition{dimension: value(d.Name)}
		for _, v := range d.Values {
			if strings.EqualFold(value(d.Operator), "Exclude") {
				one.not = append(one.not, value(v))
			} else {
				one.is = append(one.is, value(v))
			}
		}
		f = append(f, one)
	}
	return f
}

func (r *request) alert(key string) (*armmonitor.MetricAlertResource, *plain, error) {
	c, err := r.plainly(kindAlert, key)
	if err != nil {
		return nil, nil, err
	}
	if c == nil {
		return nil, nil, notFound(r.target)
	}
	data, err := json.Marshal(c.Body)
	if err != nil {
		return nil, nil, err
	}
	in := &armmonitor.MetricAlertResource{}
	return in, c, json.Unmarshal(data, in)
}

func getAlert(r *request) (*reply, error) {
	_, c, err := r.alert(r.key())
	if err != nil {
		return nil, err
	}
	return ok(c.view()), nil
}

func listAlerts(r *request) (*reply, error) { return r.listPlain(kindAlert) }

func deleteAlert(r *request) (*reply, error) { return r.removed(kindAlert) }

// alertStatus evaluates an alert as of now. Its window passes as fast here as whatever
// else takes time on the platform.
func alertStatus(r *request) (*reply, error) {
	r.types = r.types[:len(r.types)-1] // what has the status
	in, c, err := r.alert(r.key())
	if err != nil {
		return nil, err
	}
	fires := *in.Properties.Enabled
	all, err := criteria(in.Properties)
	if err != nil {
		return nil, err
	}
	for _, one := range all {
		holds, err := r.holds(in.Properties, one)
		if err != nil {
			return nil, err
		}
		fires = fires && holds
	}
	status := "Healthy"
	if fires {
		status = "Unhealthy"
	}
	const current = "Y3VycmVudFN0YXR1cw==" // "currentStatus"
	return &reply{status: http.StatusOK, body: map[string]any{"value": []any{map[string]any{"id": c.ID + "/status/" + current, "name": current, "type": "Microsoft.Insights/metricAlerts/status",
		"properties": map[string]any{"dimensions": map[string]any{}, "status": status, "timestamp": r.now().Format(time.RFC3339Nano)}}}}}, nil
}

// holds reports whether the average of any series of a criterion's metric is beyond its
// threshold. Without values it is not.
func (r *request) holds(p *armmonitor.MetricAlertProperties, c *armmonitor.MetricCriteria) (bool, error) {
	window, _ := duration(*p.WindowSize) // it has been checked
	until := r.now()
	for _, scope := range p.Scopes {
		at, _ := parseID(*scope)
		name, m, err := found(at, *c.MetricName)
		if err != nil {
			return false, err
		}
		f, err := conditions(c).of(name, m, false)
		if err != nil {
			return false, err
		}
		lines, err := r.lines(at, m, f, until.Add(-r.scaled(window)), until.Add(time.Millisecond)) // what is answered right now counts
		if err != nil {
			return false, err
		}
		for _, l := range lines {
			total := 0.0
			for _, v := range l.points {
				total += v
			}
			if len(l.points) > 0 && beyond(total/float64(len(l.points)), *c.Operator, *c.Threshold) {
				return true, nil
			}
		}
	}
	return false, nil
}

func beyond(v float64, operator armmonitor.Operator, threshold float64) bool {
	switch operator {
	case armmonitor.OperatorGreaterThan:
		return v > threshold
	case armmonitor.OperatorGreaterThanOrEqual:
		return v >= threshold
	case armmonitor.OperatorLessThan:
		return v < threshold
	case armmonitor.OperatorLessThanOrEqual:
		return v <= threshold
	}
	return v == threshold
}
