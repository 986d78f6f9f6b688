// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/monitor/armmonitor"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/naming"
)

type scaler = armmonitor.AutoscaleSettingResource

// What scales a deployment is a resource of its own, in the workspace's group, that
// nothing removes with the deployment.

// The metrics that the platform scales by.
var metricNames = map[driver.MetricType]string{
	driver.MetricCPU:      "CpuUtilizationPercentage",
	driver.MetricMemory:   "CpuMemoryUtilizationPercentage",
	driver.MetricGPU:      "GpuUtilizationPercentage",
	driver.MetricRequests: "RequestsPerMinute",
	driver.MetricLatency:  "RequestLatency", // of the endpoint, by deployment
}

// Windows and pauses when nothing is said.
const (
	outWindow = 5 * time.Minute
	inWindow  = 10 * time.Minute
	outPause  = 5 * time.Minute
	inPause   = 10 * time.Minute
	grain     = time.Minute
)

// longestScaler keeps names of autoscale settings short of the platform's 260.
const longestScaler = 100

func scalerName(endpoint, id, target string) string {
	return naming.Name("tfml-"+strings.ToLower(endpoint+"-"+id), longestScaler, naming.Hash(strings.ToLower(target)))
}

// scalerParts is how many tags what was wanted may take, of longestTag characters.
const scalerParts = 20

// scalingText is what is noted of what was wanted: rules do not tell it.
func scalingText(s *driver.Scaling) string {
	data, err := json.Marshal(s)
	if err != nil {
		panic("bounds are plain data: " + err.Error())
	}
	return string(data)
}

func noteScaling(tags map[string]string, s *driver.Scaling) {
	text := scalingText(s)
	for part := 0; text != ""; part++ {
		n := min(longestTag, len(text))
		tags[tagScaling+strconv.Itoa(part)], text = text[:n], text[n:]
	}
}

func notedScaling(tags map[string]*string) (s driver.Scaling, ok bool) {
	var text strings.Builder
	for part := range scalerParts {
		text.WriteString(tag(tags, tagScaling+strconv.Itoa(part)))
	}
	return s, text.Len() > 0 && json.Unmarshal([]byte(text.String()), &s) == nil
}

// scale makes what scales a deployment what it is to be, without regard for what is
// there.
func (w *workspace) scale(ctx context.Context, endpoint, id string, s *driver.Scaling) error {
	about, err := w.workspaceInfo(ctx)
	if err != nil {
		return err
	}
	target := w.deploymentID(endpoint, id)
	name := scalerName(endpoint, id, target)
	scalers, err := w.listScalers(ctx)
	if err != nil {
		return err
	}
	if theirs := scalers[strings.ToLower(target)]; theirs != nil && theirs.Name != nil {
		name = *theirs.Name // a resource can have one only
	}
	tags := map[string]string{tagManagedBy: managedBy, tagEndpoint: endpoint}
	noteScaling(tags, s)
	w.writes()
	_, err = w.c.AutoscaleSettings.CreateOrUpdate(ctx, w.group, name, scaler{Location: about.Location, Tags: pointers(tags), Properties: &armmonitor.AutoscaleSetting{
		// It would be made switched off if this were left out.
		Enabled: new(true), Name: new(name), TargetResourceURI: new(target), Profiles: profiles(s, target, w.endpointID(endpoint), id)}}, nil)
	return failed(err, "cannot set what scales deployment %s of the endpoint %s", id, endpoint)
}

// defaultProfile has the bounds outside of schedules, which have profiles of their own.
const defaultProfile = "default"

// profiles are the bounds, with those that come into force at a time of day. Each
// stays in force until the next one's time.
func profiles(s *driver.Scaling, target, endpointID, id string) []*armmonitor.AutoscaleProfile {
	profile := func(name string, low, high int) *armmonitor.AutoscaleProfile {
		return &armmonitor.AutoscaleProfile{Name: new(name), Rules: rules(s, low, target, endpointID, id),
			Capacity: &armmonitor.ScaleCapacity{Minimum: new(strconv.Itoa(low)), Maximum: new(strconv.Itoa(high)), Default: new(strconv.Itoa(low))}}
	}
	all := []*armmonitor.AutoscaleProfile{profile(defaultProfile, s.Min, s.Max)}
	for i := range s.Schedules {
		at, err := recurrence(&s.Schedules[i])
		if err != nil {
			continue // PrepareEndpoint has refused it
		}
		p := profile(s.Schedules[i].Name, s.Schedules[i].Min, s.Schedules[i].Max)
		p.Recurrence = at
		all = append(all, p)
	}
	return all
}

// rules keep each metric near its target. The platform does not remove an instance if
// that would bring the metric over the target again, so the lower threshold is what
// one instance less leaves room for.
func rules(s *driver.Scaling, low int, target, endpointID, id string) []*armmonitor.ScaleRule {
	all := []*armmonitor.ScaleRule{} // never left out
	for _, m := range s.Metrics {
		lower := math.Floor(m.Target * float64(low) / float64(low+1))
		if lower > 10 {
			lower -= 5
		}
		all = append(all,
			rule(m.Type, armmonitor.ComparisonOperationTypeGreaterThan, m.Target, outWindow, armmonitor.ScaleDirectionIncrease, cmp.Or(s.ScaleOutCooldown, outPause), target, endpointID, id),
			rule(m.Type, armmonitor.ComparisonOperationTypeLessThan, lower, inWindow, armmonitor.ScaleDirectionDecrease, cmp.Or(s.ScaleInCooldown, inPause), target, endpointID, id))
	}
	return all
}

func rule(m driver.MetricType, op armmonitor.ComparisonOperationType, threshold float64, window time.Duration, direction armmonitor.ScaleDirection, pause time.Duration,
	target, endpointID, id string,
) *armmonitor.ScaleRule {
	t := &armmonitor.MetricTrigger{MetricName: new(metricNames[m]), MetricResourceURI: new(target), TimeGrain: minutes(grain), TimeWindow: minutes(window), Operator: &op, Threshold: &threshold,
		Statistic: new(armmonitor.MetricStatisticTypeAverage), TimeAggregation: new(armmonitor.TimeAggregationTypeAverage)}
	switch m {
	case driver.MetricRequests:
		t.DividePerInstance = new(true)
	case driver.MetricLatency:
		t.MetricResourceURI = &endpointID
		t.Dimensions = []*armmonitor.ScaleRuleMetricDimension{{DimensionName: new("deployment"), Operator: new(armmonitor.ScaleRuleMetricDimensionOperationTypeEquals), Values: []*string{&id}}}
	}
	return &armmonitor.ScaleRule{MetricTrigger: t, ScaleAction: &armmonitor.ScaleAction{Direction: &direction, Type: new(armmonitor.ScaleTypeChangeCount), Value: new("1"), Cooldown: minutes(pause)}}
}

func minutes(d time.Duration) *string { return new(fmt.Sprintf("PT%dM", int(d/time.Minute))) }

// listScalers are what scales things in the workspace's group, by what they scale.
func (w *workspace) listScalers(ctx context.Context) (map[string]*scaler, error) {
	all, err := collect(ctx, w.c.AutoscaleSettings.NewListByResourceGroupPager(w.group, nil),
		func(p armmonitor.AutoscaleSettingsClientListByResourceGroupResponse) []*scaler { return p.Value })
	if err != nil {
		return nil, failed(err, "cannot list the autoscale settings in %s", w.group)
	}
	found := make(map[string]*scaler, len(all))
	for _, s := range all {
		if s.Properties != nil && s.Properties.TargetResourceURI != nil {
			found[strings.ToLower(*s.Properties.TargetResourceURI)] = s
		}
	}
	return found, nil
}

// sharedScalers is that list as it was lately.
func (w *workspace) sharedScalers(ctx context.Context) (map[string]*scaler, error) {
	return w.scalers.get(ctx, w.listScalers)
}

// scaled fills in how a deployment is scaled: one on a cluster has that in itself.
func (w *workspace) scaled(d *driver.DeploymentState, endpoint string, e *endpoint, scalers map[string]*scaler) {
	if clusterSeen(e) != "" {
		return
	}
	s := scalers[strings.ToLower(w.deploymentID(endpoint, d.ID))]
	if s == nil || !deref(s.Properties.Enabled) {
		d.Scaling = driver.Scaling{Min: d.Replicas, Max: d.Replicas}
		return
	}
	target := w.deploymentID(endpoint, d.ID)
	if noted, ok := notedScaling(s.Tags); ok && equalProfiles(profiles(&noted, target, w.endpointID(endpoint), d.ID), s.Properties.Profiles) {
		d.Scaling = noted
		return
	}
	d.Scaling = scalingOf(s.Properties.Profiles)
}

// equalProfiles compares what was sent with what is shown, which has the same content
// in another case and other units.
func equalProfiles(sent, shown []*armmonitor.AutoscaleProfile) bool {
	return slices.Equal(profileWords(sent), profileWords(shown))
}

func profileWords(all []*armmonitor.AutoscaleProfile) []string {
	var words []string
	for _, p := range all {
		if p == nil || p.Capacity == nil {
			continue
		}
		text := []string{deref(p.Name), deref(p.Capacity.Minimum), deref(p.Capacity.Maximum)}
		if r := p.Recurrence; r != nil && r.Schedule != nil {
			text = append(text, deref(r.Schedule.TimeZone), join(r.Schedule.Days), join(r.Schedule.Hours), join(r.Schedule.Minutes))
		}
		for _, r := range p.Rules {
			if r == nil || r.MetricTrigger == nil || r.ScaleAction == nil {
				continue
			}
			t, a := r.MetricTrigger, r.ScaleAction
			text = append(text, deref(t.MetricName), string(deref(t.Operator)), strconv.FormatFloat(deref(t.Threshold), 'g', -1, 64), uniso(deref(t.TimeWindow)).String(),
				string(deref(a.Direction)), deref(a.Value), uniso(deref(a.Cooldown)).String())
		}
		words = append(words, strings.ToLower(strings.Join(text, "|")))
	}
	return words
}

func join[T any](all []*T) string {
	words := make([]string, 0, len(all))
	for _, v := range all {
		words = append(words, fmt.Sprint(deref(v)))
	}
	return strings.Join(words, ",")
}

// scalingOf reads bounds and rules that somebody else has made, or changed.
func scalingOf(all []*armmonitor.AutoscaleProfile) driver.Scaling {
	var s driver.Scaling
	for _, p := range all {
		if p == nil || p.Capacity == nil {
			continue
		}
		low, _ := strconv.Atoi(deref(p.Capacity.Minimum)) // a number, as the platform holds
		high, _ := strconv.Atoi(deref(p.Capacity.Maximum))
		if p.Recurrence != nil || p.FixedDate != nil {
			s.Schedules = append(s.Schedules, driver.Schedule{Name: deref(p.Name), Cron: cronOf(p.Recurrence), Timezone: zoneOf(p.Recurrence), Min: low, Max: high})
			continue
		}
		s.Min, s.Max = max(1, low), max(1, low, high)
		for _, r := range p.Rules {
			readRule(&s, r)
		}
	}
	sort.Slice(s.Metrics, func(i, j int) bool { return s.Metrics[i].Type < s.Metrics[j].Type })
	sort.Slice(s.Schedules, func(i, j int) bool { return s.Schedules[i].Name < s.Schedules[j].Name })
	return s
}

func readRule(s *driver.Scaling, r *armmonitor.ScaleRule) {
	if r == nil || r.MetricTrigger == nil || r.ScaleAction == nil {
		return
	}
	pause := uniso(deref(r.ScaleAction.Cooldown))
	if deref(r.ScaleAction.Direction) == armmonitor.ScaleDirectionDecrease {
		if pause != inPause {
			s.ScaleInCooldown = pause
		}
		return
	}
	if pause != outPause {
		s.ScaleOutCooldown = pause
	}
	for t, name := range metricNames {
		known := func(m driver.Metric) bool { return m.Type == t }
		if strings.EqualFold(name, deref(r.MetricTrigger.MetricName)) && !slices.ContainsFunc(s.Metrics, known) {
			s.Metrics = append(s.Metrics, driver.Metric{Type: t, Target: deref(r.MetricTrigger.Threshold)})
		}
	}
}

// unscale removes an autoscale setting.
func (w *workspace) unscale(ctx context.Context, name string) error {
	w.writes()
	_, err := w.c.AutoscaleSettings.Delete(ctx, w.group, name, nil)
	return gone(failed(err, "cannot remove the autoscale setting %s", name))
}

// unscaleAll removes what scales a deployment, or all deployments of an endpoint.
func (w *workspace) unscaleAll(ctx context.Context, id string) error {
	scalers, err := w.listScalers(ctx)
	if err != nil {
		return err
	}
	id = strings.ToLower(id)
	for target, s := range scalers {
		if (target == id || strings.HasPrefix(target, id+"/")) && s.Name != nil {
			if err := w.unscale(ctx, *s.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

// danglers are autoscale settings of ours that scale deployments which are gone.
func (w *workspace) danglers(endpoint string, deployments []*deployment, scalers map[string]*scaler) []driver.Leftover {
	var all []driver.Leftover
	below := strings.ToLower(w.endpointID(endpoint) + "/")
	for target, s := range scalers {
		if !strings.HasPrefix(target, below) || tag(s.Tags, tagManagedBy) != managedBy {
			continue
		}
		there := slices.ContainsFunc(deployments, func(d *deployment) bool { return strings.EqualFold(deref(d.Name), last(target)) })
		if !there {
			all = append(all, driver.Leftover{Kind: leftScaler, Name: deref(s.Name)})
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	return all
}
