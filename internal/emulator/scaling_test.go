// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	autoscaling "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	aastypes "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
)

const (
	namespace = aastypes.ServiceNamespaceSagemaker
	dimension = aastypes.ScalableDimensionSageMakerVariantDesiredInstanceCount
)

func resource(variant string) *string { return aws.String("endpoint/fraud/variant/" + variant) }

func (a *account) scale(variant string, least, most *int32) error {
	_, err := a.aas.RegisterScalableTarget(a.t.Context(), &autoscaling.RegisterScalableTargetInput{ServiceNamespace: namespace, ScalableDimension: dimension,
		ResourceId: resource(variant), MinCapacity: least, MaxCapacity: most})
	return err
}

func (a *account) policy(name, variant string, metric aastypes.MetricType) error {
	_, err := a.aas.PutScalingPolicy(a.t.Context(), &autoscaling.PutScalingPolicyInput{ServiceNamespace: namespace, ScalableDimension: dimension,
		ResourceId: resource(variant), PolicyName: &name, PolicyType: aastypes.PolicyTypeTargetTrackingScaling,
		TargetTrackingScalingPolicyConfiguration: &aastypes.TargetTrackingScalingPolicyConfiguration{TargetValue: aws.Float64(70),
			PredefinedMetricSpecification: &aastypes.PredefinedMetricSpecification{PredefinedMetricType: metric}}})
	return err
}

func (a *account) action(name, schedule, zone string) error {
	_, err := a.aas.PutScheduledAction(a.t.Context(), &autoscaling.PutScheduledActionInput{ServiceNamespace: namespace, ScalableDimension: dimension,
		ResourceId: resource("main"), ScheduledActionName: &name, Schedule: &schedule, Timezone: &zone,
		ScalableTargetAction: &aastypes.ScalableTargetAction{MinCapacity: aws.Int32(1)}})
	return err
}

func TestScalableTargets(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	ctx, n := t.Context(), aws.Int32
	a.endpoint()
	refuses(t, a.scale("none", n(1), n(2)), "ValidationException", "SageMaker endpoint or variant not found: endpoint/fraud/variant/none")
	refuses(t, a.scale("main", n(1), nil), "ValidationException", "MinCapacity and MaxCapacity are required")
	refuses(t, a.scale("main", n(3), n(2)), "ValidationException", "Maximum capacity cannot be less than minimum capacity")
	refuses(t, a.scale("main", n(0), n(2)), "ValidationException", "at least 1 for real-time")
	refuses(t, a.policy("p", "main", aastypes.MetricTypeSageMakerVariantInvocationsPerInstance), "ObjectNotFoundException", "No scalable target registered")
	_, err := a.aas.DeregisterScalableTarget(ctx, &autoscaling.DeregisterScalableTargetInput{ServiceNamespace: namespace, ScalableDimension: dimension, ResourceId: resource("main")})
	refuses(t, err, "ObjectNotFoundException", "No scalable target found for service namespace: sagemaker, resource ID: endpoint/fraud/variant/main, scalable dimension: "+string(dimension))

	must("", a.scale("main", n(3), n(6)))(t)
	a.wantStatus(updating, "one") // two instances become three
	a.minutes(5)
	if v := a.wantStatus(ready, "one").ProductionVariants[0]; aws.ToInt32(v.CurrentInstanceCount) != 3 {
		t.Errorf("clamped to %d instances", aws.ToInt32(v.CurrentInstanceCount))
	}
	must("", a.scale("main", nil, n(9)))(t)
	out := must(a.aas.DescribeScalableTargets(ctx, &autoscaling.DescribeScalableTargetsInput{ServiceNamespace: namespace, ResourceIds: []string{*resource("main"), "x"}}))(t)
	if got := out.ScalableTargets; len(got) != 1 || aws.ToInt32(got[0].MinCapacity) != 3 || aws.ToInt32(got[0].MaxCapacity) != 9 {
		t.Errorf("what is left out stays as it was: %+v", got)
	}
	_, err = a.aas.DescribeScalableTargets(ctx, &autoscaling.DescribeScalableTargetsInput{ServiceNamespace: namespace, ScalableDimension: dimension})
	refuses(t, err, "ValidationException", "you must also specify a resource ID")

	// Neither another instance type nor another name, as long as the target is registered.
	bigger := variant("main", "m", 1, 1)
	bigger.InstanceType = types.ProductionVariantInstanceTypeMlM5Xlarge
	a.endpointConfig("bigger", bigger)
	a.endpointConfig("renamed", variant("other", "m", 1, 1))
	refuses(t, a.tryUpdate("bigger"), "ValidationException", "scalable target")
	refuses(t, a.tryUpdate("renamed"), "ValidationException", "scalable target")
	must("", a.policy("p", "main", aastypes.MetricTypeSageMakerVariantInvocationsPerInstance))(t)
	must("", a.tryDelete())(t)
	a.minutes(5)
	if left := must(a.aas.DescribeScalingPolicies(ctx, &autoscaling.DescribeScalingPoliciesInput{ServiceNamespace: namespace}))(t).ScalingPolicies; len(left) != 0 {
		t.Errorf("the endpoint is gone and left %d policies", len(left))
	}
}

func TestPoliciesAndActions(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	ctx := t.Context()
	a.endpoint()
	must("", a.scale("main", aws.Int32(2), aws.Int32(4)))(t)
	refuses(t, a.policy("p", "main", aastypes.MetricTypeECSServiceAverageCPUUtilization), "ValidationException", "not supported for service namespace sagemaker")
	for _, schedule := range []string{"cron(0 8 * * * *)", "cron(0 8 ? * MON)", "cron(0 8 ? * FOO *)", "rate(0 minutes)", "at(tomorrow)", "0 8 * * *"} {
		refuses(t, a.action("a", schedule, "UTC"), "ValidationException", "Schedule expression")
	}
	refuses(t, a.action("a", "rate(1 hour)", "Mars/Olympus"), "ValidationException", "Timezone")
	for _, schedule := range []string{"cron(0 8 ? * MON-FRI *)", "cron(0/15 8 1 * ? *)", "rate(5 minutes)", "at(2030-01-01T00:00:00)"} {
		must("", a.action("a", schedule, "Europe/Berlin"))(t)
	}
	must("", a.policy("p", "main", aastypes.MetricTypeSageMakerVariantInvocationsPerInstance))(t)
	must("", a.policy("p", "main", aastypes.MetricTypeSageMakerVariantConcurrentRequestsPerModelHighResolution))(t)
	out := must(a.aas.DescribeScalingPolicies(ctx, &autoscaling.DescribeScalingPoliciesInput{ServiceNamespace: namespace, ResourceId: resource("main")}))(t)
	if len(out.ScalingPolicies) != 1 || len(out.ScalingPolicies[0].Alarms) != 2 {
		t.Errorf("a policy is replaced by its name, and has two alarms: %+v", out.ScalingPolicies)
	}
	_, err := a.aas.DeleteScalingPolicy(ctx, &autoscaling.DeleteScalingPolicyInput{ServiceNamespace: namespace, ScalableDimension: dimension, ResourceId: resource("main"), PolicyName: aws.String("x")})
	refuses(t, err, "ObjectNotFoundException", "No scaling policy found")
	_, err = a.aas.DeleteScheduledAction(ctx, &autoscaling.DeleteScheduledActionInput{ServiceNamespace: namespace, ScalableDimension: dimension, ResourceId: resource("main"), ScheduledActionName: aws.String("x")})
	refuses(t, err, "ObjectNotFoundException", "No scheduled action found")
	_, err = a.aas.TagResource(ctx, &autoscaling.TagResourceInput{ResourceARN: aws.String("arn:aws:application-autoscaling:eu-west-1:123456789012:scalable-target/0"), Tags: map[string]string{"a": "b"}})
	refuses(t, err, "ResourceNotFoundException", "doesn't exist")
}
