// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	aas "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	aastypes "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	sm "github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"golang.org/x/sync/errgroup"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

const (
	scaledDimension = aastypes.ScalableDimensionSageMakerVariantDesiredInstanceCount
	scaledNamespace = aastypes.ServiceNamespaceSagemaker
)

// resourceID is a variant's name in Application Auto Scaling.
func resourceID(endpoint, variant string) string {
	return "endpoint/" + endpoint + "/variant/" + variant
}

func policyName(variant string, m driver.MetricType) string { return variant + "-" + string(m) }

// wakeName names the step policy, and with the endpoint in front the alarm, that
// bring an asynchronous variant up from zero: target tracking cannot.
func wakeName(variant string) string { return variant + "-from-zero" }

func wakeAlarm(endpoint, variant string) string { return endpoint + "-" + wakeName(variant) }

// SetScaling makes replica bounds, metrics and schedules of one variant what
// spec says, or its fixed count.
func (d *sagemaker) SetScaling(ctx context.Context, spec *driver.EndpointSpec, seen *driver.EndpointState, name string) error {
	r, err := d.at(ctx, spec.Key.Location)
	if err != nil {
		return err
	}
	dep := spec.Find(name)
	if dep == nil || spec.Settings.SageMaker.Serverless != nil {
		return nil
	}
	defer r.recent.forget()
	if !dep.Scaling.Automatic() {
		return r.fix(ctx, spec.Key.Name, dep)
	}
	if err := r.autoscale(ctx, spec, dep); err != nil {
		return err
	}
	if len(boundsOf(spec)) == 0 {
		return nil
	}
	return r.renote(ctx, seen.NativeID, tagBounds, boundsOf(spec))
}

// fix takes the variant from autoscaling and sets its count.
func (r *region) fix(ctx context.Context, endpoint string, dep *driver.Deployment) error {
	now, err := r.endpoint(ctx, endpoint)
	if err != nil {
		return err
	}
	if err := r.release(ctx, now, []string{dep.Name}); err != nil {
		return err
	}
	for _, v := range append(now.ProductionVariants, now.ShadowProductionVariants...) {
		if aws.ToString(v.VariantName) == dep.Name && int(aws.ToInt32(v.DesiredInstanceCount)) == dep.Scaling.Min {
			return nil
		}
	}
	// The service takes the count of one variant a call.
	_, err = r.clients.sm.UpdateEndpointWeightsAndCapacities(ctx, &sm.UpdateEndpointWeightsAndCapacitiesInput{
		EndpointName: &endpoint,
		DesiredWeightsAndCapacities: []types.DesiredWeightAndCapacity{
			{VariantName: &dep.Name, DesiredInstanceCount: aws.Int32(int32(dep.Scaling.Min))}},
	})
	return failed(err, "set the instance count of deployment %s of %s", dep.Name, endpoint)
}

// autoscale registers the variant and makes its policies and actions. Putting is
// an upsert everywhere, so all are put again whatever is there.
func (r *region) autoscale(ctx context.Context, spec *driver.EndpointSpec, dep *driver.Deployment) error {
	g := gauge{spec.Key.Name, dep.Name, dep.Compute.InstanceType, spec.Settings.SageMaker.Async != nil}
	id := resourceID(g.endpoint, g.variant)
	now, err := r.scalingOf(ctx, id)
	if err != nil {
		return err
	}
	// Zero comes last: until then a run that was cut off sees that something is missing.
	wake := g.async && needsWake(&dep.Scaling)
	first := dep.Scaling.Min
	if wake && !now.hasWake(g.variant) {
		first = max(1, first)
	}
	if err := r.register(ctx, g, id, first, dep.Scaling.Max); err != nil {
		return err
	}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	r.putPolicies(gctx, group, g, id, &dep.Scaling, now)
	r.putSchedules(gctx, group, id, &dep.Scaling, now)
	if wake {
		group.Go(func() error { return r.putWake(gctx, g, id) })
	} else if now.hasWake(g.variant) {
		group.Go(func() error { return r.dropWake(gctx, g, id) })
	}
	if err := group.Wait(); err != nil {
		return invisible(err) // a target just registered
	}
	if first == dep.Scaling.Min {
		return nil
	}
	return r.register(ctx, g, id, dep.Scaling.Min, dep.Scaling.Max)
}

func (r *region) register(ctx context.Context, g gauge, id string, least, most int) error {
	_, err := r.clients.scaling.RegisterScalableTarget(ctx, &aas.RegisterScalableTargetInput{
		ServiceNamespace: scaledNamespace, ScalableDimension: scaledDimension, ResourceId: &id,
		MinCapacity: aws.Int32(int32(least)), MaxCapacity: aws.Int32(int32(most)),
	})
	return failed(err, "register deployment %s of %s for autoscaling", g.variant, g.endpoint)
}

// putPolicies puts a policy a metric, under the name of one that already watches
// it, and removes those whose metric is not wanted. What the configuration
// language cannot say is left alone.
func (r *region) putPolicies(ctx context.Context, group *errgroup.Group, g gauge, id string, want *driver.Scaling, now variantScaling) {
	names := map[driver.MetricType]string{}
	for i := range now.policies {
		p := &now.policies[i]
		m, ok := g.metric(p)
		if !ok {
			continue
		}
		wanted := slices.ContainsFunc(want.Metrics, func(w driver.Metric) bool { return w.Type == m.Type })
		if _, twice := names[m.Type]; wanted && !twice {
			names[m.Type] = *p.PolicyName
			continue
		}
		group.Go(func() error {
			_, err := r.clients.scaling.DeleteScalingPolicy(ctx, &aas.DeleteScalingPolicyInput{
				ServiceNamespace: scaledNamespace, ScalableDimension: scaledDimension, ResourceId: &id, PolicyName: p.PolicyName})
			return gone(failed(err, "delete the scaling policy %s", *p.PolicyName))
		})
	}
	for _, m := range want.Metrics {
		name, ok := names[m.Type]
		if !ok {
			name = policyName(g.variant, m.Type)
		}
		group.Go(func() error {
			_, err := r.clients.scaling.PutScalingPolicy(ctx, &aas.PutScalingPolicyInput{
				ServiceNamespace: scaledNamespace, ScalableDimension: scaledDimension, ResourceId: &id, PolicyName: &name,
				PolicyType: aastypes.PolicyTypeTargetTrackingScaling, TargetTrackingScalingPolicyConfiguration: g.tracking(m, want),
			})
			return failed(err, "put the scaling policy %s", name)
		})
	}
}

// putSchedules makes the scheduled actions the wanted ones.
func (r *region) putSchedules(ctx context.Context, group *errgroup.Group, id string, want *driver.Scaling, now variantScaling) {
	for i := range now.actions {
		a := &now.actions[i]
		if _, ok := schedule(a); !ok || slices.ContainsFunc(want.Schedules, func(s driver.Schedule) bool { return s.Name == *a.ScheduledActionName }) {
			continue
		}
		group.Go(func() error {
			_, err := r.clients.scaling.DeleteScheduledAction(ctx, &aas.DeleteScheduledActionInput{
				ServiceNamespace: scaledNamespace, ScalableDimension: scaledDimension, ResourceId: &id, ScheduledActionName: a.ScheduledActionName})
			return gone(failed(err, "delete the scheduled action %s", *a.ScheduledActionName))
		})
	}
	for _, s := range want.Schedules {
		group.Go(func() error {
			cron, err := toAWSCron(s.Cron)
			if err != nil {
				return err
			}
			_, err = r.clients.scaling.PutScheduledAction(ctx, &aas.PutScheduledActionInput{
				ServiceNamespace: scaledNamespace, ScalableDimension: scaledDimension, ResourceId: &id,
				ScheduledActionName: aws.String(s.Name), Schedule: &cron, Timezone: aws.String(s.Timezone),
				ScalableTargetAction: &aastypes.ScalableTargetAction{MinCapacity: aws.Int32(int32(s.Min)), MaxCapacity: aws.Int32(int32(s.Max))},
			})
			return failed(err, "put the scheduled action %s", s.Name)
		})
	}
}

// putWake makes the step policy and its alarm that add the first instance when
// requests wait and none is there
// (https://docs.aws.amazon.com/sagemaker/latest/dg/async-inference-autoscale.html).
func (r *region) putWake(ctx context.Context, g gauge, id string) error {
	out, err := r.clients.scaling.PutScalingPolicy(ctx, &aas.PutScalingPolicyInput{
		ServiceNamespace: scaledNamespace, ScalableDimension: scaledDimension, ResourceId: &id, PolicyName: aws.String(wakeName(g.variant)),
		PolicyType: aastypes.PolicyTypeStepScaling,
		StepScalingPolicyConfiguration: &aastypes.StepScalingPolicyConfiguration{
			AdjustmentType: aastypes.AdjustmentTypeChangeInCapacity, MetricAggregationType: aastypes.MetricAggregationTypeMaximum, Cooldown: aws.Int32(300),
			StepAdjustments: []aastypes.StepAdjustment{{MetricIntervalLowerBound: aws.Float64(0), ScalingAdjustment: aws.Int32(1)}},
		},
	})
	if err != nil {
		return failed(err, "put the scaling policy %s", wakeName(g.variant))
	}
	name := wakeAlarm(g.endpoint, g.variant)
	var tags []cwtypes.Tag
	for _, t := range tagList(marked(g.endpoint, false)) {
		tags = append(tags, cwtypes.Tag{Key: t.Key, Value: t.Value})
	}
	_, err = r.clients.watch.PutMetricAlarm(ctx, &cloudwatch.PutMetricAlarmInput{
		AlarmName: &name, AlarmDescription: aws.String("Adds the first instance of an asynchronous endpoint when requests wait"),
		Namespace: aws.String(namespaceInvocation), MetricName: aws.String(metricWaiting), Statistic: cwtypes.StatisticAverage,
		Dimensions: []cwtypes.Dimension{{Name: aws.String("EndpointName"), Value: &g.endpoint}},
		Period:     aws.Int32(60), EvaluationPeriods: aws.Int32(2), DatapointsToAlarm: aws.Int32(2), Threshold: aws.Float64(1),
		ComparisonOperator: cwtypes.ComparisonOperatorGreaterThanOrEqualToThreshold, TreatMissingData: aws.String("missing"),
		AlarmActions: []string{aws.ToString(out.PolicyARN)}, Tags: tags,
	})
	return failed(err, "put the alarm %s", name)
}

func (r *region) dropWake(ctx context.Context, g gauge, id string) error {
	_, err := r.clients.scaling.DeleteScalingPolicy(ctx, &aas.DeleteScalingPolicyInput{
		ServiceNamespace: scaledNamespace, ScalableDimension: scaledDimension, ResourceId: &id, PolicyName: aws.String(wakeName(g.variant))})
	if err := gone(failed(err, "delete the scaling policy %s", wakeName(g.variant))); err != nil {
		return err
	}
	return r.dropAlarm(ctx, wakeAlarm(g.endpoint, g.variant))
}

// dropAlarm deletes one alarm: of several, the service deletes none when one
// does not exist.
func (r *region) dropAlarm(ctx context.Context, name string) error {
	_, err := r.clients.watch.DeleteAlarms(ctx, &cloudwatch.DeleteAlarmsInput{AlarmNames: []string{name}})
	return gone(failed(err, "delete the alarm %s", name))
}

// needsWake reports whether the variant can be at zero.
func needsWake(s *driver.Scaling) bool {
	return s.Min == 0 || slices.ContainsFunc(s.Schedules, func(sch driver.Schedule) bool { return sch.Min == 0 })
}

// spare refuses to take variants from autoscaling where policies or actions that
// are not ours would go with the registration and could not be made again.
func (r *region) spare(ctx context.Context, endpoint string, variants []string) error {
	for _, v := range variants {
		s, err := r.scalingOf(ctx, resourceID(endpoint, v))
		if mlerr.Is(err, mlerr.PermissionDenied) {
			return nil
		}
		if err != nil {
			return err
		}
		if name := s.foreign(v); name != "" {
			return mlerr.New(mlerr.InUse, "deployment %s of %s is also scaled by %s, which this provider did not make and would have to delete", v, endpoint, name).
				At("deployments.%s.compute.instance_type", v).
				WithHint("SageMaker takes another instance type only without a scalable target. Delete %s, or keep the instance type", name)
		}
	}
	return nil
}

// release takes variants from autoscaling: the service refuses to remove a
// registered variant or to change its instance type. Their policies and actions
// go with the registration, our alarms do not.
func (r *region) release(ctx context.Context, now *sm.DescribeEndpointOutput, variants []string) error {
	if len(variants) == 0 {
		return nil
	}
	defer r.recent.forget()
	endpoint := aws.ToString(now.EndpointName)
	ids := make([]string, len(variants))
	for i, v := range variants {
		ids[i] = resourceID(endpoint, v)
	}
	targets, err := r.targets(ctx, ids)
	if mlerr.Is(err, mlerr.PermissionDenied) {
		return nil // without autoscaling the user needs no permission for it
	}
	if err != nil {
		return err
	}
	for i, v := range variants {
		if _, ok := targets[ids[i]]; !ok {
			continue
		}
		_, err := r.clients.scaling.DeregisterScalableTarget(ctx, &aas.DeregisterScalableTargetInput{
			ServiceNamespace: scaledNamespace, ScalableDimension: scaledDimension, ResourceId: &ids[i]})
		if err := gone(failed(err, "take deployment %s of %s from autoscaling", v, endpoint)); err != nil {
			return err
		}
		if now.AsyncInferenceConfig == nil {
			continue // only those can be at zero
		}
		if err := r.dropAlarm(ctx, wakeAlarm(endpoint, v)); err != nil {
			return err
		}
	}
	return nil
}
