// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/monitor/armmonitor"
)

func insightsRoutes() []*route {
	return []*route{
		{name: "autoscaleSettings.createOrUpdate", pattern: "PUT autoscaleSettings/*", handle: putAutoscale},
		{name: "autoscaleSettings.get", pattern: "GET autoscaleSettings/*", handle: getAutoscale},
		{name: "autoscaleSettings.list", pattern: "GET autoscaleSettings", handle: listAutoscale, query: []string{"$skip"}},
		{name: "autoscaleSettings.update", pattern: "PATCH autoscaleSettings/*", handle: patchAutoscale},
		{name: "autoscaleSettings.delete", pattern: "DELETE autoscaleSettings/*", handle: deleteAutoscale},
		{name: "metrics.list", pattern: "GET metrics", handle: listMetrics, query: []string{"$filter", "ValidateDimensions", "aggregation", "interval", "metricnames", "metricnamespace", "timespan", "top"}},
		{name: "metricAlerts.createOrUpdate", pattern: "PUT metricAlerts/*", handle: putAlert},
		{name: "metricAlerts.get", pattern: "GET metricAlerts/*", handle: getAlert},
		{name: "metricAlerts.list", pattern: "GET metricAlerts", handle: listAlerts},
		{name: "metricAlerts.delete", pattern: "DELETE metricAlerts/*", handle: deleteAlert},
		{name: "metricAlertsStatus.list", pattern: "GET metricAlerts/*/status", handle: alertStatus},
	}
}

// invalidAutoscale refuses a setting in the words of Microsoft.Insights.
func invalidAutoscale(format string, args ...any) error {
	return refuse(http.StatusBadRequest, "BadRequest", format, args...)
}

func putAutoscale(r *request) (*reply, error) {
	in, err := decode[armmonitor.AutoscaleSettingResource](r.body)
	if err != nil {
		return nil, err
	}
	if err := r.checkAutoscale(in); err != nil {
		return nil, err
	}
	return r.keepAutoscale(in)
}

func (r *request) keepAutoscale(in *armmonitor.AutoscaleSettingResource) (*reply, error) {
	in.Location = new(plainLocation(value(in.Location)))
	in.ID, in.Type, in.SystemData = nil, nil, nil
	if in.Properties.Enabled == nil {
		in.Properties.Enabled = new(false) // whoever forgets it has a setting that does nothing
	}
	c, fresh, err := r.keep(kindAutoscale, in)
	if err != nil {
		return nil, err
	}
	if *in.Properties.Enabled {
		o := &operation{Subject: c.ID, Location: *in.Location}
		if err := r.start("autoscaleSettings.act", o); err != nil {
			return nil, err
		}
	}
	return written(c, fresh), nil
}

const (
	mostProfiles = 20
	mostRules    = 10
	week         = 7 * 24 * time.Hour
)

func (r *request) checkAutoscale(in *armmonitor.AutoscaleSettingResource) error {
	p := in.Properties
	switch {
	case p == nil:
		return invalidAutoscale("The required property 'properties' is missing.")
	case value(in.Location) == "":
		return refuse(http.StatusBadRequest, "LocationRequired", "The location property is required for this definition.")
	case p.Name != nil && *p.Name != r.name():
		return invalidAutoscale("The name '%s' in the properties differs from the name '%s' of the autoscale setting.", *p.Name, r.name())
	case value(p.TargetResourceURI) == "":
		return invalidAutoscale("The required property 'targetResourceUri' is missing.")
	case len(p.Profiles) == 0 || len(p.Profiles) > mostProfiles:
		return invalidAutoscale("An autoscale setting has between 1 and %d profiles, and not %d.", mostProfiles, len(p.Profiles))
	}
	if err := checkTags(in.Tags); err != nil {
		return err
	}
	if err := r.checkTarget(*p.TargetResourceURI); err != nil {
		return err
	}
	for _, profile := range p.Profiles {
		if err := checkProfile(profile); err != nil {
			return err
		}
	}
	return nil
}

// checkTarget refuses what cannot be scaled, and a second setting for the same.
func (r *request) checkTarget(uri string) error {
	at, is := parseID(uri)
	if !is || at.types[len(at.types)-1] == "" || !same(at.types[len(at.types)-1], "deployments") {
		return invalidAutoscale("The resource %s cannot be scaled by autoscale settings.", uri)
	}
	d, err := r.loadDeployment(at)
	if err != nil {
		return err
	}
	if d == nil {
		return refuse(http.StatusNotFound, "ResourceNotFound", "The target resource %s of the autoscale setting was not found.", uri)
	}
	if d.settings().compute != ml.EndpointComputeTypeManaged {
		return invalidAutoscale("The resource %s cannot be scaled by autoscale settings: it is on a Kubernetes compute, and scales itself.", uri)
	}
	keys, err := r.prefixed(kindAutoscale, "")
	if err != nil {
		return err
	}
	for _, key := range keys {
		other, err := r.setting(key)
		if err != nil {
			return err
		}
		if key != r.key() && same(value(other.Properties.TargetResourceURI), uri) {
			return refuse(http.StatusConflict, "Conflict", "The resource %s has the autoscale setting %s already.", uri, value(other.Properties.Name))
		}
	}
	return nil
}

// setting reads a stored autoscale setting.
func (r *request) setting(key string) (*armmonitor.AutoscaleSettingResource, error) {
	c, err := r.plainly(kindAutoscale, key)
	if err != nil || c == nil {
		return nil, err
	}
	data, err := json.Marshal(c.Body)
	if err != nil {
		return nil, err
	}
	s := &armmonitor.AutoscaleSettingResource{}
	return s, json.Unmarshal(data, s)
}

func checkProfile(p *armmonitor.AutoscaleProfile) error {
	if p == nil || value(p.Name) == "" || p.Capacity == nil || p.Rules == nil {
		return invalidAutoscale("A profile needs a name, a capacity and rules.")
	}
	bounds := map[string]int{}
	for name, text := range map[string]*string{"minimum": p.Capacity.Minimum, "maximum": p.Capacity.Maximum, "default": p.Capacity.Default} {
		n, err := strconv.Atoi(value(text))
		if err != nil || n < 0 {
			return invalidAutoscale("The capacity.%s '%s' of profile '%s' is not a number.", name, value(text), *p.Name)
		}
		bounds[name] = n
	}
	switch {
	case bounds["minimum"] > bounds["maximum"] || bounds["default"] < bounds["minimum"] || bounds["default"] > bounds["maximum"]:
		return invalidAutoscale("The capacity of profile '%s' must be ordered as minimum, default, maximum.", *p.Name)
	case len(p.Rules) > mostRules:
		return invalidAutoscale("The profile '%s' has %d rules: it can have at most %d.", *p.Name, len(p.Rules), mostRules)
	case p.FixedDate != nil && p.Recurrence != nil:
		return invalidAutoscale("The profile '%s' has a fixedDate and a recurrence: it can have one of them.", *p.Name)
	case p.Recurrence != nil && value(p.Recurrence.Frequency) != armmonitor.RecurrenceFrequencyWeek:
		return invalidAutoscale("The recurrence frequency '%s' of profile '%s' is not supported: it must be Week.", value(p.Recurrence.Frequency), *p.Name)
	}
	for _, rule := range p.Rules {
		if err := checkRule(*p.Name, rule); err != nil {
			return err
		}
	}
	return nil
}

func checkRule(profile string, rule *armmonitor.ScaleRule) error {
	if rule == nil || rule.MetricTrigger == nil || rule.ScaleAction == nil {
		return invalidAutoscale("A rule of profile '%s' needs a metricTrigger and a scaleAction.", profile)
	}
	m, a := rule.MetricTrigger, rule.ScaleAction
	switch {
	case value(m.MetricName) == "" || value(m.MetricResourceURI) == "" || m.Threshold == nil:
		return invalidAutoscale("A metricTrigger of profile '%s' needs metricName, metricResourceUri and threshold.", profile)
	case !slices.Contains(armmonitor.PossibleComparisonOperationTypeValues(), value(m.Operator)), !slices.Contains(armmonitor.PossibleMetricStatisticTypeValues(), value(m.Statistic)),
		!slices.Contains(armmonitor.PossibleTimeAggregationTypeValues(), value(m.TimeAggregation)), !slices.Contains(armmonitor.PossibleScaleDirectionValues(), value(a.Direction)),
		!slices.Contains(armmonitor.PossibleScaleTypeValues(), value(a.Type)):
		return invalidAutoscale("The operator, statistic, timeAggregation, direction or type of a rule of profile '%s' is not valid.", profile)
	}
	of, is := parseID(*m.MetricResourceURI)
	if !is {
		return invalidAutoscale("The metricResourceUri '%s' of profile '%s' is not the id of a resource.", *m.MetricResourceURI, profile)
	}
	if known := sortedKeys(ofType(of)); !slices.Contains(known, *m.MetricName) {
		return invalidAutoscale("The metric '%s' of profile '%s' is not one of %s.", *m.MetricName, profile, strings.Join(known, ", "))
	}
	if n, err := strconv.Atoi(value(a.Value)); err != nil || n < 1 {
		return invalidAutoscale("The value '%s' of a scaleAction of profile '%s' is not a number of at least 1.", value(a.Value), profile)
	}
	for _, one := range []struct {
		name        string
		text        *string
		least, most time.Duration
	}{{"timeGrain", m.TimeGrain, time.Minute, 12 * time.Hour}, {"timeWindow", m.TimeWindow, 5 * time.Minute, 12 * time.Hour}, {"cooldown", a.Cooldown, time.Minute, week}} {
		if d, is := duration(value(one.text)); !is || d < one.least || d > one.most {
			return invalidAutoscale("The %s '%s' of a rule of profile '%s' must be between %s and %s.", one.name, value(one.text), profile, isoDuration(one.least), isoDuration(one.most))
		}
	}
	return nil
}

// scaledOut brings a deployment into the bounds of its setting, some time after that
// was written.
func scaledOut(r *request, o *operation) error {
	at, _ := parseID(o.Subject)
	s, err := r.setting(at.key())
	if err != nil || s == nil || !value(s.Properties.Enabled) {
		return err
	}
	target, _ := parseID(value(s.Properties.TargetResourceURI))
	d, err := r.loadDeployment(target)
	if err != nil || d == nil {
		return err
	}
	if running, err := r.runningOn(d.Busy); err != nil || running != nil {
		if err == nil { // later, when the deployment is at rest
			err = r.start("autoscaleSettings.act", &operation{Subject: o.Subject, Location: o.Location, Created: running.Ends})
		}
		return err
	}
	if !d.Ever {
		return nil
	}
	profile := usual(s.Properties.Profiles)
	least, _ := strconv.Atoi(value(profile.Capacity.Minimum)) // it has been checked
	most, _ := strconv.Atoi(value(profile.Capacity.Maximum))
	n := min(max(d.capacity(), least), most)
	if n == d.capacity() {
		return nil
	}
	d.ARM.SKU.Capacity = new(int32(n))
	return r.saveDeployment(d)
}

// usual is the profile that is in force at most times: one that does not come and go.
// When others come into force is not emulated.
func usual(all []*armmonitor.AutoscaleProfile) *armmonitor.AutoscaleProfile {
	if i := slices.IndexFunc(all, func(p *armmonitor.AutoscaleProfile) bool { return p.Recurrence == nil && p.FixedDate == nil }); i >= 0 {
		return all[i]
	}
	return all[0]
}

func getAutoscale(r *request) (*reply, error) {
	c, err := r.plainly(kindAutoscale, r.key())
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, notFound(r.target)
	}
	return ok(c.view()), nil
}

func listAutoscale(r *request) (*reply, error) {
	if r.group != "" {
		return r.listPlain(kindAutoscale)
	}
	// Of the whole subscription.
	prefix := "/subscriptions/" + strings.ToLower(r.sub) + "/"
	return r.page(kindAutoscale, prefix, 0, func(_ string, data []byte) (any, error) {
		c := &plain{}
		if err := json.Unmarshal(data, c); err != nil {
			return nil, err
		}
		return c.view(), nil
	})
}

func patchAutoscale(r *request) (*reply, error) {
	in, err := decode[armmonitor.AutoscaleSettingResourcePatch](r.body)
	if err != nil {
		return nil, err
	}
	s, err := r.setting(r.key())
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, notFound(r.target)
	}
	if in.Tags != nil {
		s.Tags = in.Tags
	}
	if p := in.Properties; p != nil {
		if p.Enabled != nil {
			s.Properties.Enabled = p.Enabled
		}
		if p.Profiles != nil {
			s.Properties.Profiles = p.Profiles
		}
		if p.Notifications != nil {
			s.Properties.Notifications = p.Notifications
		}
	}
	if err := r.checkAutoscale(s); err != nil {
		return nil, err
	}
	out, err := r.keepAutoscale(s)
	if err == nil {
		out.status = http.StatusOK
	}
	return out, err
}

func deleteAutoscale(r *request) (*reply, error) { return r.removed(kindAutoscale) }
