// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml_test

import (
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/monitor/armmonitor"
)

const (
	blue     = home + "/onlineEndpoints/fraud/deployments/blue"
	settings = scope + "/providers/Microsoft.Insights/autoscaleSettings"
)

// setting scales the deployment blue between 2 and 5.
func setting(enabled *bool) armmonitor.AutoscaleSettingResource {
	rule := &armmonitor.ScaleRule{
		MetricTrigger: &armmonitor.MetricTrigger{MetricName: new("CpuUtilizationPercentage"), MetricResourceURI: new(blue), TimeGrain: new("PT1M"), Statistic: new(armmonitor.MetricStatisticTypeAverage),
			TimeWindow: new("PT5M"), TimeAggregation: new(armmonitor.TimeAggregationTypeAverage), Operator: new(armmonitor.ComparisonOperationTypeGreaterThan), Threshold: new(70.0)},
		ScaleAction: &armmonitor.ScaleAction{Direction: new(armmonitor.ScaleDirectionIncrease), Type: new(armmonitor.ScaleTypeChangeCount), Value: new("1"), Cooldown: new("PT5M")}}
	return armmonitor.AutoscaleSettingResource{Location: new("eastus"), Tags: map[string]*string{"a": new("b")}, Properties: &armmonitor.AutoscaleSetting{Enabled: enabled, Name: new("scale-blue"), TargetResourceURI: new(blue),
		Profiles: []*armmonitor.AutoscaleProfile{{Name: new("default"), Capacity: &armmonitor.ScaleCapacity{Minimum: new("2"), Maximum: new("5"), Default: new("2")}, Rules: []*armmonitor.ScaleRule{rule}}}}}
}

func (s *subscription) capacity() any {
	s.t.Helper()
	return s.ok("GET", blue, "").at("sku.capacity")
}

// A setting does nothing unless it is enabled, and then writes the capacity.
func TestAutoscale(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	s.serve()
	client := s.monitor.NewAutoscaleSettingsClient()
	got, err := client.CreateOrUpdate(t.Context(), group, "scale-blue", setting(nil), nil)
	s.must(err)
	s.minutes(5)
	if *got.Properties.Enabled || s.capacity() != 1.0 {
		t.Errorf("a setting that does not say so is enabled: %v, and the capacity %v", *got.Properties.Enabled, s.capacity())
	}
	_, err = client.CreateOrUpdate(t.Context(), group, "scale-blue", setting(new(true)), nil)
	s.must(err)
	s.minutes(0.5)
	if s.capacity() != 1.0 {
		t.Errorf("it is scaled at once, to %v", s.capacity())
	}
	s.minutes(1)
	if s.capacity() != 2.0 {
		t.Errorf("it is not scaled to its minimum but %v", s.capacity())
	}
	s.must(s.server.SetInstances(t.Context(), strings.ToUpper(blue), 4))
	if s.capacity() != 4.0 {
		t.Errorf("the autoscaler has scaled to %v", s.capacity())
	}
	// Whoever puts a deployment with a capacity of its own resets that.
	in, _ := s.deployment(home+"/models/fraud/versions/1", home+"/environments/server/versions/1")
	_, err = s.putDeployment("blue", in)
	s.must(err)
	if s.capacity() != 1.0 {
		t.Errorf("a PUT leaves the capacity %v", s.capacity())
	}
	page, err := client.NewListByResourceGroupPager(group, nil).NextPage(t.Context())
	s.must(err)
	if len(page.Value) != 1 || *page.Value[0].Name != "scale-blue" || *page.Value[0].Tags["a"] != "b" {
		t.Errorf("the list is %+v", page.Value)
	}
	other := setting(new(true))
	other.Properties.Name = new("other")
	_, err = client.CreateOrUpdate(t.Context(), group, "other", other, nil)
	s.fails(err, 409, "Conflict", "has the autoscale setting scale-blue already")
	// Nothing takes a setting along.
	s.ok("DELETE", "onlineEndpoints/fraud", "")
	s.minutes(1)
	_, err = client.Get(t.Context(), group, "scale-blue", nil)
	s.must(err)
	_, err = client.Delete(t.Context(), group, "scale-blue", nil)
	s.must(err)
	_, err = client.Get(t.Context(), group, "scale-blue", nil)
	s.fails(err, 404, "ResourceNotFound", "scale-blue")
	if a := s.ok("DELETE", settings+"/scale-blue", ""); a.status != 204 {
		t.Errorf("to delete what is gone answers %d", a.status)
	}
}

func TestAutoscaleRefusals(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	s.serve()
	for words, change := range map[string]func(*armmonitor.AutoscaleSettingResource){
		"differs from the name": func(r *armmonitor.AutoscaleSettingResource) { r.Properties.Name = new("x") },
		"cannot be scaled":      func(r *armmonitor.AutoscaleSettingResource) { r.Properties.TargetResourceURI = new(home) },
		"between 1 and 20":      func(r *armmonitor.AutoscaleSettingResource) { r.Properties.Profiles = nil },
		"ordered as":            func(r *armmonitor.AutoscaleSettingResource) { r.Properties.Profiles[0].Capacity.Default = new("9") },
		"not a number":          func(r *armmonitor.AutoscaleSettingResource) { r.Properties.Profiles[0].Capacity.Minimum = new("two") },
		"must be Week": func(r *armmonitor.AutoscaleSettingResource) {
			r.Properties.Profiles[0].Recurrence = &armmonitor.Recurrence{Frequency: new(armmonitor.RecurrenceFrequencyDay)}
		},
		"PT5M and PT12H": func(r *armmonitor.AutoscaleSettingResource) {
			r.Properties.Profiles[0].Rules[0].MetricTrigger.TimeWindow = new("PT1M")
		},
		"PT1M and P7D": func(r *armmonitor.AutoscaleSettingResource) {
			r.Properties.Profiles[0].Rules[0].ScaleAction.Cooldown = new("PT30S")
		},
		"at least 1": func(r *armmonitor.AutoscaleSettingResource) {
			r.Properties.Profiles[0].Rules[0].ScaleAction.Value = new("0")
		},
		"is not one of": func(r *armmonitor.AutoscaleSettingResource) {
			r.Properties.Profiles[0].Rules[0].MetricTrigger.MetricName = new("Cpu")
		},
		"is not valid": func(r *armmonitor.AutoscaleSettingResource) {
			r.Properties.Profiles[0].Rules[0].MetricTrigger.Operator = nil
		},
		"a capacity and": func(r *armmonitor.AutoscaleSettingResource) { r.Properties.Profiles[0].Capacity = nil },
	} {
		in := setting(new(true))
		change(&in)
		_, err := s.monitor.NewAutoscaleSettingsClient().CreateOrUpdate(t.Context(), group, "scale-blue", in, nil)
		s.fails(err, 400, "BadRequest", words)
	}
	in := setting(new(true))
	in.Properties.TargetResourceURI = new(blue + "x")
	_, err := s.monitor.NewAutoscaleSettingsClient().CreateOrUpdate(t.Context(), group, "scale-blue", in, nil)
	s.fails(err, 404, "ResourceNotFound", "bluex")
	s.refused(400, "ValidationError", "'flavor'", "PUT", settings+"/scale-blue", `{"location":"eastus","properties":{"profiles":[],"flavor":"red"}}`)
}
