// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"math"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	aastypes "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/hardware"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// CloudWatch's names
// (https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html).
const (
	namespaceInvocation = "AWS/SageMaker"
	namespaceInstance   = "/aws/sagemaker/Endpoints"

	metricCPU     = "CPUUtilization"
	metricMemory  = "MemoryUtilization"
	metricGPU     = "GPUUtilization"
	metricLatency = "ModelLatency"
	metricBacklog = "ApproximateBacklogSizePerInstance"
	metricWaiting = "HasBacklogWithoutCapacity"

	microsecondsPerMillisecond = 1000
)

// gauge is one variant, as autoscaling sees it.
type gauge struct {
	endpoint, variant, instanceType string
	async                           bool
}

// tracking translates a metric into a target-tracking policy.
func (g gauge) tracking(m driver.Metric, s *driver.Scaling) *aastypes.TargetTrackingScalingPolicyConfiguration {
	c := &aastypes.TargetTrackingScalingPolicyConfiguration{
		TargetValue: aws.Float64(m.Target * g.factor(m.Type)), ScaleInCooldown: cooldown(s.ScaleInCooldown), ScaleOutCooldown: cooldown(s.ScaleOutCooldown),
	}
	predefined := func(t aastypes.MetricType) {
		c.PredefinedMetricSpecification = &aastypes.PredefinedMetricSpecification{PredefinedMetricType: t}
	}
	customized := func(namespace, name, unit string, dimensions ...string) {
		c.CustomizedMetricSpecification = &aastypes.CustomizedMetricSpecification{
			Namespace: &namespace, MetricName: &name, Unit: optional(unit), Statistic: aastypes.MetricStatisticAverage,
		}
		values := map[string]string{"EndpointName": g.endpoint, "VariantName": g.variant}
		for _, d := range dimensions {
			c.CustomizedMetricSpecification.Dimensions = append(c.CustomizedMetricSpecification.Dimensions,
				aastypes.MetricDimension{Name: aws.String(d), Value: aws.String(values[d])})
		}
	}
	switch m.Type {
	case driver.MetricRequests:
		predefined(aastypes.MetricTypeSageMakerVariantInvocationsPerInstance)
	case driver.MetricConcurrency:
		if g.async { // a queue in front of the instances; what is in flight is bounded
			customized(namespaceInvocation, metricBacklog, "", "EndpointName")
		} else {
			predefined(aastypes.MetricTypeSageMakerVariantConcurrentRequestsPerModelHighResolution)
		}
	case driver.MetricCPU:
		customized(namespaceInstance, metricCPU, "Percent", "EndpointName", "VariantName")
	case driver.MetricMemory:
		customized(namespaceInstance, metricMemory, "Percent", "EndpointName", "VariantName")
	case driver.MetricGPU:
		customized(namespaceInstance, metricGPU, "Percent", "EndpointName", "VariantName")
	case driver.MetricLatency:
		customized(namespaceInvocation, metricLatency, "Microseconds", "EndpointName", "VariantName")
	}
	return c
}

// metric translates a policy back. ok is false for what the configuration
// language cannot say; such a policy is left alone.
func (g gauge) metric(p *aastypes.ScalingPolicy) (driver.Metric, bool) {
	kind, ok := g.metricType(p)
	factor := g.factor(kind)
	if !ok || factor == 0 {
		return driver.Metric{}, false
	}
	return driver.Metric{Type: kind, Target: math.Round(*p.TargetTrackingScalingPolicyConfiguration.TargetValue/factor*1e6) / 1e6}, true
}

// metricType is what a policy watches; ok is false for what the language cannot
// say, such as a policy that only scales out.
func (g gauge) metricType(p *aastypes.ScalingPolicy) (kind driver.MetricType, ok bool) {
	c := p.TargetTrackingScalingPolicyConfiguration
	if c == nil || c.TargetValue == nil || aws.ToBool(c.DisableScaleIn) {
		return "", false
	}
	switch pre, own := c.PredefinedMetricSpecification, c.CustomizedMetricSpecification; {
	case pre != nil:
		kind = map[aastypes.MetricType]driver.MetricType{
			aastypes.MetricTypeSageMakerVariantInvocationsPerInstance:                   driver.MetricRequests,
			aastypes.MetricTypeSageMakerVariantConcurrentRequestsPerModelHighResolution: driver.MetricConcurrency,
		}[pre.PredefinedMetricType]
	case own != nil && own.Statistic == aastypes.MetricStatisticAverage && len(own.Metrics) == 0:
		kind = map[string]driver.MetricType{
			namespaceInstance + metricCPU: driver.MetricCPU, namespaceInstance + metricMemory: driver.MetricMemory,
			namespaceInstance + metricGPU: driver.MetricGPU, namespaceInvocation + metricLatency: driver.MetricLatency,
			namespaceInvocation + metricBacklog: driver.MetricConcurrency,
		}[aws.ToString(own.Namespace)+aws.ToString(own.MetricName)]
	}
	return kind, kind != ""
}

// factor is how many of the platform's units one of ours is. CPU and GPU
// utilization are sums over all cores and devices there.
func (g gauge) factor(t driver.MetricType) float64 {
	machine, _ := hardware.Lookup(string(driver.SageMaker), g.instanceType)
	switch t {
	case driver.MetricCPU:
		return machine.VCPU
	case driver.MetricGPU:
		return float64(machine.AcceleratorCount)
	case driver.MetricLatency:
		return microsecondsPerMillisecond
	}
	return 1
}

func cooldown(d time.Duration) *int32 {
	if d == 0 {
		return nil
	}
	return aws.Int32(seconds(d))
}

// prepareScaling makes scaling canonical and refuses what Application Auto
// Scaling cannot do with a variant.
func prepareScaling(spec *driver.EndpointSpec, dep *driver.Deployment, path string) error {
	s, r := &dep.Scaling, refusal{unknown: spec.Unknown}
	if spec.Unknown.In(path) {
		return nil
	}
	const wrong, cannot = mlerr.InvalidArgument, mlerr.Unsupported
	async := spec.Settings.SageMaker.Async != nil
	r.when(s.Min == 0 && s.Max > 0 && !async, cannot, path+".min", "Use at least 1, or sagemaker.async or sagemaker.serverless, which go down to none",
		"sagemaker keeps at least one replica of a real-time deployment")
	sort.Slice(s.Metrics, func(i, j int) bool { return s.Metrics[i].Type < s.Metrics[j].Type })
	sort.Slice(s.Schedules, func(i, j int) bool { return s.Schedules[i].Name < s.Schedules[j].Name })
	machine, known := hardware.Lookup(string(driver.SageMaker), dep.Compute.InstanceType)
	if s.Automatic() && known {
		r.when(!machine.Autoscales(), cannot, path, "Use a fixed number of replicas, or another instance type", "sagemaker does not autoscale %s", machine.Name)
		r.when(dep.Mirror > 0, cannot, path, "Use a fixed number of replicas", "sagemaker does not autoscale a deployment that is mirrored to")
	}
	for _, m := range s.Metrics {
		r.when(!slices.Contains(driver.MetricTypes(), m.Type), wrong, path+".metrics", "Use one of the metric types of the documentation", "%q is not a metric type", m.Type)
		r.when(m.Type == driver.MetricGPU && known && !strings.HasPrefix(machine.Accelerator, "nvidia-"), cannot, path+".metrics", "Use another metric, or an instance type with GPUs",
			"sagemaker has no GPU metric of %s", machine.Name)
		r.when(m.Type == driver.MetricCPU && known && machine.VCPU == 0, cannot, path+".metrics", "Use another metric", "the number of CPUs of %s is not published", machine.Name)
	}
	for _, c := range []struct {
		name string
		d    time.Duration
	}{{"scale_in_cooldown", s.ScaleInCooldown}, {"scale_out_cooldown", s.ScaleOutCooldown}} {
		r.when(c.d != 0 && len(s.Metrics) == 0, wrong, path+"."+c.name, "Give metrics, or leave it out", "a cooldown needs a metric that scales")
		r.when(c.d < 0 || c.d%time.Second != 0, wrong, path+"."+c.name, "Use whole seconds", "%s is not a cooldown", c.d)
	}
	r.Add(prepareSchedules(s, path+".schedules", async))
	return r.Err()
}

func prepareSchedules(s *driver.Scaling, path string, async bool) error {
	var all mlerr.List
	for i := range s.Schedules {
		sch := &s.Schedules[i]
		refuse := func(err error, hint string) {
			all.Add(mlerr.New(mlerr.CodeOf(err), "schedule %s", sch.Name).Because(err).At("%s", path).WithHint("%s", hint))
		}
		if sch.Timezone == "" {
			sch.Timezone = "UTC"
		}
		if _, err := time.LoadLocation(sch.Timezone); err != nil {
			refuse(mlerr.New(mlerr.InvalidArgument, "%q is not an IANA time zone", sch.Timezone), "Use a name such as Europe/Berlin")
		}
		canonical, err := canonicalCron(sch.Cron)
		if err != nil {
			refuse(err, "Write it as in \"0 8 * * 1-5\"; two schedules can do what one cannot")
		} else {
			sch.Cron = canonical
		}
		if sch.Name == "" || len(sch.Name) > 256 || strings.ContainsAny(sch.Name, ":/|") || strings.TrimSpace(sch.Name) != sch.Name {
			refuse(mlerr.New(mlerr.InvalidArgument, "this cannot be a name on SageMaker"), "Use up to 256 characters without : / |")
		}
		if sch.Min == 0 && !async {
			refuse(mlerr.New(mlerr.Unsupported, "sagemaker keeps at least one replica of a real-time deployment"), "Use min = 1, or sagemaker.async")
		}
	}
	return all.Err()
}
