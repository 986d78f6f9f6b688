// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

func TestDeploymentConfig(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reason  string
		rollout driver.Rollout
		kind    types.TrafficRoutingConfigType // "" is no policy
		wait    int32
		bake    int32
		size    int32
	}{
		{"all at once needs no policy", driver.Rollout{Strategy: driver.AllAtOnce}, "", 0, 0, 0},
		{"alarms need time to fire", driver.Rollout{Checks: driver.Checks{Alarms: []string{"a"}}}, types.TrafficRoutingConfigTypeAllAtOnce, 0, 300, 0},
		{"so do those of our own", driver.Rollout{Checks: driver.Checks{MaxErrorRate: 2.5, MaxLatencyMS: 250}}, types.TrafficRoutingConfigTypeAllAtOnce, 0, 300, 0},
		{"blue/green keeps the old fleet", driver.Rollout{Strategy: driver.BlueGreen, Interval: time.Minute}, types.TrafficRoutingConfigTypeAllAtOnce, 0, 60, 0},
		{"canary", driver.Rollout{Strategy: driver.Canary, Steps: []int{5}, Interval: 2 * time.Minute}, types.TrafficRoutingConfigTypeCanary, 120, 0, 5},
		{"linear", driver.Rollout{Strategy: driver.Linear, Steps: []int{20}, Interval: time.Minute}, types.TrafficRoutingConfigTypeLinear, 60, 0, 20},
	} {
		got := deploymentConfig(testEndpoint(func(s *driver.EndpointSpec) {
			s.Rollout, s.Settings.SageMaker = c.rollout, &driver.SageMakerEndpoint{}
		}), "fraud-0123456789")
		if c.kind == "" || got == nil {
			if got != nil || c.kind != "" {
				t.Errorf("%s: %+v", c.reason, got)
			}
			continue
		}
		p := got.BlueGreenUpdatePolicy
		r := p.TrafficRoutingConfiguration
		size := int32(0)
		for _, s := range []*types.CapacitySize{r.CanarySize, r.LinearStepSize} {
			if s != nil {
				size += aws.ToInt32(s.Value)
			}
		}
		if r.Type != c.kind || aws.ToInt32(r.WaitIntervalInSeconds) != c.wait || aws.ToInt32(p.TerminationWaitInSeconds) != c.bake || size != c.size {
			t.Errorf("%s: %+v %+v", c.reason, p, r)
		}
		var alarms, want []string
		if back := got.AutoRollbackConfiguration; back != nil {
			for _, a := range back.Alarms {
				alarms = append(alarms, *a.AlarmName)
			}
		}
		want = append(want, c.rollout.Checks.Alarms...)
		if c.rollout.Checks.MaxErrorRate > 0 {
			want = append(want, "fraud-0123456789-main-error-rate", "fraud-0123456789-main-latency")
		}
		if diff := cmp.Diff(want, alarms); diff != "" {
			t.Errorf("%s: alarms %s", c.reason, diff)
		}
	}
}

func TestCheckAlarms(t *testing.T) {
	t.Parallel()
	spec := testEndpoint(func(s *driver.EndpointSpec) {
		s.Rollout.Checks = driver.Checks{MaxErrorRate: 2.5, MaxLatencyMS: 250}
		shadow := s.Deployments[0]
		shadow.Name, shadow.Traffic, shadow.Mirror = "shadow", 0, 10
		s.Deployments = append(s.Deployments, shadow)
	})
	all := checkAlarms(spec, "fraud-0123456789")
	if len(all) != 2 {
		t.Fatalf("%d alarms; a shadow's answers reach nobody", len(all))
	}
	rate, latency := all[0], all[1]
	if *rate.Threshold != 0.025 || rate.Statistic != "Average" || *rate.MetricName != "Invocation5XXErrors" {
		t.Errorf("the rate is the average of ones and zeros: %+v", rate)
	}
	if *latency.Threshold != 250_000 || *latency.ExtendedStatistic != "p95" || *latency.MetricName != "ModelLatency" {
		t.Errorf("ModelLatency is in microseconds: %+v", latency)
	}
	form, _ := computedNames("fraud")
	for _, a := range all {
		if *a.TreatMissingData != "notBreaching" || !(computed{form.stem, alarmRest}).match(*a.AlarmName) {
			t.Errorf("%s: %+v", *a.AlarmName, a)
		}
		if d := a.Dimensions[2]; *d.Name != "EndpointConfigName" || *d.Value != "fraud-0123456789" {
			t.Errorf("%s watches the old fleet too", *a.AlarmName)
		}
	}
	for _, other := range []string{"fraud-main-from-zero", "fraud-0123456789", "fraud-x-0123456789-main-latency", "fraud-0123456789-main-cpu"} {
		if (computed{form.stem, alarmRest}).match(other) {
			t.Errorf("%s is not ours", other)
		}
	}
}
