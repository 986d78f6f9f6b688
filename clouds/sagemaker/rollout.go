// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sm "github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

// transition is how one UpdateEndpoint treats what lives.
type transition struct {
	mixed    bool     // the endpoint serves a mixture; no policy, and any other configuration mends it
	retain   bool     // live counts of variants of the same name stay
	counts   counts   // initial counts of the new configuration
	released []string // variants to take from autoscaling first
	retyped  []string // those of them that go back to it afterwards
}

// transitionTo decides. Without retain every variant starts at the count of the
// new configuration, which for an autoscaled one would be an instant scale-in;
// with retain the service refuses another instance type. So where a type
// changes, the new configuration is made with the live counts instead.
func transitionTo(spec *driver.EndpointSpec, now *sm.DescribeEndpointOutput, live *sm.DescribeEndpointConfigOutput) transition {
	t := transition{mixed: now.EndpointStatus == types.EndpointStatusUpdateRollbackFailed, counts: counts{}}
	wanted := map[string]*driver.Deployment{}
	for i := range spec.Deployments {
		wanted[spec.Deployments[i].Name] = &spec.Deployments[i]
	}
	running := liveCounts(now)
	automatic, retyped := false, false
	for _, name := range variantNames(now) {
		dep := wanted[name]
		if dep == nil {
			t.released = append(t.released, name)
			continue
		}
		old := liveVariant(live, name)
		changed := old != nil && (string(old.InstanceType) != dep.Compute.InstanceType || spec.Settings.SageMaker.Serverless != nil) && len(old.InstancePools) == 0
		if changed {
			t.released, t.retyped = append(t.released, name), append(t.retyped, name)
		}
		if dep.Scaling.Automatic() && spec.Settings.SageMaker.Serverless == nil {
			automatic, retyped = true, retyped || changed
			if running[name] > 0 {
				t.counts[name] = min(max(running[name], dep.Scaling.Min, 1), max(dep.Scaling.Max, 1))
			}
		}
	}
	t.retain = automatic && !retyped && !t.mixed
	if t.retain {
		// The live counts stay by themselves; without them in the configuration
		// its name does not move with the autoscaler.
		t.counts = nil
	}
	return t
}

func variantNames(now *sm.DescribeEndpointOutput) []string {
	var names []string
	for _, v := range now.ProductionVariants {
		names = append(names, aws.ToString(v.VariantName))
	}
	for _, v := range now.ShadowProductionVariants {
		names = append(names, aws.ToString(v.VariantName))
	}
	return names
}

func liveCounts(now *sm.DescribeEndpointOutput) map[string]int {
	counts := map[string]int{}
	for _, all := range [][]types.ProductionVariantSummary{now.ProductionVariants, now.ShadowProductionVariants} {
		for _, v := range all {
			counts[aws.ToString(v.VariantName)] = int(max(aws.ToInt32(v.CurrentInstanceCount), aws.ToInt32(v.DesiredInstanceCount)))
		}
	}
	return counts
}

// The limits of a deployment policy, in seconds
// (https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_BlueGreenUpdatePolicy.html).
const (
	maxWait      = 3600
	minExecution = 600
	maxExecution = 28800
	// defaultBake is how long alarms are watched when the user gave no interval:
	// without any time they could never fire.
	defaultBake = 300
	// loadingMargin is what an update may take beside its waits.
	loadingMargin = 2 * 3600
)

// deploymentConfig translates the rollout to a configuration; nil is the platform's
// default, all at once.
func deploymentConfig(spec *driver.EndpointSpec, config string) *types.DeploymentConfig {
	if spec.Settings.SageMaker.Serverless != nil {
		return nil // serverless endpoints have no guarded deployments
	}
	ro := &spec.Rollout
	bake := seconds(ro.Interval)
	if bake == 0 && (guarded(spec) || ro.Strategy == driver.BlueGreen) {
		bake = defaultBake
	}
	if bake == 0 && (ro.Strategy == "" || ro.Strategy == driver.AllAtOnce) {
		return nil
	}
	policy := &types.BlueGreenUpdatePolicy{TrafficRoutingConfiguration: routing(ro, bake)}
	if policy.TrafficRoutingConfiguration.Type == types.TrafficRoutingConfigTypeAllAtOnce {
		policy.TerminationWaitInSeconds = aws.Int32(bake)
	}
	policy.MaximumExecutionTimeoutInSeconds = aws.Int32(min(maxExecution, max(minExecution, waits(ro, bake)+loadingMargin)))
	return &types.DeploymentConfig{BlueGreenUpdatePolicy: policy, AutoRollbackConfiguration: autoRollback(spec, config)}
}

// autoRollback names the alarms that take an update to that configuration back: the
// user's, and ours.
func autoRollback(spec *driver.EndpointSpec, config string) *types.AutoRollbackConfig {
	if !guarded(spec) {
		return nil
	}
	back := &types.AutoRollbackConfig{}
	for _, name := range spec.Rollout.Checks.Alarms {
		back.Alarms = append(back.Alarms, types.Alarm{AlarmName: aws.String(name)})
	}
	for _, own := range checkAlarms(spec, config) {
		back.Alarms = append(back.Alarms, types.Alarm{AlarmName: own.AlarmName})
	}
	return back
}

func routing(ro *driver.Rollout, wait int32) *types.TrafficRoutingConfig {
	size := func() *types.CapacitySize {
		return &types.CapacitySize{Type: types.CapacitySizeTypeCapacityPercent, Value: aws.Int32(int32(firstStep(ro)))}
	}
	switch ro.Strategy {
	case driver.Canary:
		return &types.TrafficRoutingConfig{Type: types.TrafficRoutingConfigTypeCanary, WaitIntervalInSeconds: aws.Int32(wait), CanarySize: size()}
	case driver.Linear:
		return &types.TrafficRoutingConfig{Type: types.TrafficRoutingConfigTypeLinear, WaitIntervalInSeconds: aws.Int32(wait), LinearStepSize: size()}
	}
	return &types.TrafficRoutingConfig{Type: types.TrafficRoutingConfigTypeAllAtOnce, WaitIntervalInSeconds: aws.Int32(0)}
}

// firstStep is the percentage of the first, or of every, step: 10 if not given.
func firstStep(ro *driver.Rollout) int {
	if len(ro.Steps) > 0 {
		return ro.Steps[0]
	}
	return 10
}

// waits is the sum of all pauses of a rollout.
func waits(ro *driver.Rollout, wait int32) int32 {
	if ro.Strategy != driver.Linear {
		return wait
	}
	return wait * int32((100+firstStep(ro)-1)/firstStep(ro))
}

func seconds(d time.Duration) int32 { return int32(d / time.Second) }
