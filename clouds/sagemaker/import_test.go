// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	autoscaling "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	aastypes "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	awssagemaker "github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// byHand is an endpoint as a person with a console makes it: with names of their
// own, and without marks.
type byHand struct {
	name   string
	config awssagemaker.CreateEndpointConfigInput
	tags   map[string]string
}

func (a *account) make(t *testing.T, e *byHand) driver.Key {
	t.Helper()
	e.config.EndpointConfigName = aws.String(e.name + "-config-by-hand")
	_, err := a.sm.CreateEndpointConfig(t.Context(), &e.config)
	must(t, err)
	in := &awssagemaker.CreateEndpointInput{EndpointName: &e.name, EndpointConfigName: e.config.EndpointConfigName}
	for _, k := range slices.Sorted(maps.Keys(e.tags)) {
		in.Tags = append(in.Tags, types.Tag{Key: aws.String(k), Value: aws.String(e.tags[k])})
	}
	_, err = a.sm.CreateEndpoint(t.Context(), in)
	must(t, err)
	must(t, a.clock.Sleep(t.Context(), time.Hour))
	return driver.Key{Platform: driver.SageMaker, Location: region, Name: e.name}
}

// registered makes a Model of a version, as change wants it.
func (a *account) registered(t *testing.T, name string, ref driver.VersionRef, change func(*awssagemaker.CreateModelInput)) {
	t.Helper()
	state, err := a.ObserveModel(t.Context(), ref.Key, nil)
	must(t, err)
	in := &awssagemaker.CreateModelInput{ModelName: &name, ExecutionRoleArn: aws.String(role),
		PrimaryContainer: &types.ContainerDefinition{ModelPackageName: aws.String(state.Find(ref.Version).NativeID)}}
	if change != nil {
		change(in)
	}
	_, err = a.sm.CreateModel(t.Context(), in)
	must(t, err)
}

// outside makes a Model that is in no registry.
func (a *account) outside(t *testing.T, name string, containers int) {
	t.Helper()
	in := &awssagemaker.CreateModelInput{ModelName: &name, ExecutionRoleArn: aws.String(role)}
	for range containers {
		in.Containers = append(in.Containers, types.ContainerDefinition{Image: aws.String("123456789012.dkr.ecr.eu-west-1.amazonaws.com/own:1"),
			Environment: map[string]string{"LEVEL": "debug"}})
	}
	_, err := a.sm.CreateModel(t.Context(), in)
	must(t, err)
}

func variant(name, model string) types.ProductionVariant {
	return types.ProductionVariant{VariantName: aws.String(name), ModelName: aws.String(model),
		InstanceType: types.ProductionVariantInstanceTypeMlM5Large, InitialInstanceCount: aws.Int32(1)}
}

// imported writes the configuration that an import shows, and proves that its
// plan is empty and that applying it changes nothing.
func (a *account) imported(t *testing.T, key driver.Key) *driver.EndpointSpec {
	t.Helper()
	fresh := a.again(t)
	state, err := fresh.ObserveEndpoint(t.Context(), key, nil)
	must(t, err)
	if state.Unfinished != "" || state.Marks.Owned {
		t.Fatalf("an import shows unfinished %q, marks %+v", state.Unfinished, state.Marks)
	}
	spec := &driver.EndpointSpec{Key: state.Key, Settings: state.Settings, Labels: maps.Clone(state.Labels)}
	for i := range state.Deployments {
		spec.Deployments = append(spec.Deployments, state.Deployments[i].Deployment)
	}
	before, err := json.Marshal(spec)
	must(t, err)
	must(t, fresh.CheckEndpoint(spec))
	after, err := json.Marshal(spec)
	must(t, err)
	if diff := cmp.Diff(string(before), string(after)); diff != "" {
		t.Fatalf("what an import shows is not canonical: %s", diff)
	}
	a.apply(t, spec)
	if now, err := fresh.ObserveEndpoint(t.Context(), key, nil); err != nil || now.Memo != state.Memo {
		t.Fatalf("applying it as it was put it on %s: %v", now.Memo, err)
	}
	return spec
}

func TestImportedEndpointsOfManyShapes(t *testing.T) {
	t.Parallel()
	key := aws.String("alias/own")
	for name, c := range map[string]struct {
		prepare func(t *testing.T, a *account, one, two driver.VersionRef) byHand
		want    func(t *testing.T, s *driver.EndpointSpec) bool
	}{
		"weights, key, capture and tags": {
			func(t *testing.T, a *account, one, two driver.VersionRef) byHand {
				t.Helper()
				a.registered(t, "m1", one, nil)
				a.registered(t, "m2", two, func(m *awssagemaker.CreateModelInput) {
					m.PrimaryContainer.Environment = map[string]string{"LEVEL": "debug"}
				})
				v1, v2 := variant("blue", "m1"), variant("green", "m2")
				v1.InitialVariantWeight, v2.InitialVariantWeight = aws.Float32(2), aws.Float32(1)
				return byHand{tags: map[string]string{"owner": "risk"}, config: awssagemaker.CreateEndpointConfigInput{
					ProductionVariants: []types.ProductionVariant{v1, v2}, KmsKeyId: key,
					DataCaptureConfig: &types.DataCaptureConfig{DestinationS3Uri: aws.String("s3://" + staging + "/c"), InitialSamplingPercentage: aws.Int32(5),
						CaptureOptions: []types.CaptureOption{{CaptureMode: types.CaptureModeInputAndOutput}}}}}
			},
			func(_ *testing.T, s *driver.EndpointSpec) bool {
				return s.Deployments[0].Traffic == 67 && s.Deployments[1].Traffic == 33 && s.Deployments[1].Env["LEVEL"] == "debug" &&
					s.Settings.Encryption.Key == *key && len(s.Settings.Capture.Include) == 2 && s.Labels["owner"] == "risk"
			}},
		"a VPC and isolation": {
			func(t *testing.T, a *account, one, _ driver.VersionRef) byHand {
				t.Helper()
				a.registered(t, "m1", one, func(m *awssagemaker.CreateModelInput) {
					m.VpcConfig = &types.VpcConfig{Subnets: []string{"subnet-b1b2c3d4", "subnet-a1b2c3d4"}, SecurityGroupIds: []string{"sg-a1b2c3d4"}}
					m.EnableNetworkIsolation = aws.Bool(true)
				})
				return byHand{config: awssagemaker.CreateEndpointConfigInput{ProductionVariants: []types.ProductionVariant{variant("AllTraffic", "m1")}}}
			},
			func(_ *testing.T, s *driver.EndpointSpec) bool {
				return slices.Equal(s.Settings.Network.Subnets, []string{"subnet-a1b2c3d4", "subnet-b1b2c3d4"}) && s.Settings.SageMaker.NetworkIsolation
			}},
		"a shadow": {
			func(t *testing.T, a *account, one, two driver.VersionRef) byHand {
				t.Helper()
				a.registered(t, "m1", one, nil)
				a.registered(t, "m2", two, nil)
				live, shadow := variant("live", "m1"), variant("shadow", "m2")
				live.InitialVariantWeight, shadow.InitialVariantWeight = aws.Float32(4), aws.Float32(1)
				return byHand{config: awssagemaker.CreateEndpointConfigInput{ProductionVariants: []types.ProductionVariant{live}, ShadowProductionVariants: []types.ProductionVariant{shadow}}}
			},
			func(_ *testing.T, s *driver.EndpointSpec) bool { return s.Deployments[1].Mirror == 25 }},
		"a shadow that is sent nothing": {
			func(t *testing.T, a *account, one, two driver.VersionRef) byHand {
				t.Helper()
				a.registered(t, "m1", one, nil)
				a.registered(t, "m2", two, nil)
				shadow := variant("shadow", "m2")
				shadow.InitialVariantWeight = aws.Float32(0)
				return byHand{config: awssagemaker.CreateEndpointConfigInput{ProductionVariants: []types.ProductionVariant{variant("live", "m1")},
					ShadowProductionVariants: []types.ProductionVariant{shadow}}}
			},
			func(_ *testing.T, s *driver.EndpointSpec) bool {
				return s.Deployments[0].Traffic == 100 && s.Deployments[1].Mirror == 0
			}},
		"serverless": {
			func(t *testing.T, a *account, one, _ driver.VersionRef) byHand {
				t.Helper()
				a.registered(t, "m1", one, nil)
				return byHand{config: awssagemaker.CreateEndpointConfigInput{KmsKeyId: key, ProductionVariants: []types.ProductionVariant{{VariantName: aws.String("AllTraffic"), ModelName: aws.String("m1"),
					ServerlessConfig: &types.ProductionVariantServerlessConfig{MemorySizeInMB: aws.Int32(2048), MaxConcurrency: aws.Int32(5), ProvisionedConcurrency: aws.Int32(1)}}}}}
			},
			func(_ *testing.T, s *driver.EndpointSpec) bool {
				return *s.Settings.SageMaker.Serverless == driver.Serverless{MemoryMB: 2048, MaxConcurrency: 5, ProvisionedConcurrency: 1}
			}},
		"asynchronous": {
			func(t *testing.T, a *account, one, _ driver.VersionRef) byHand {
				t.Helper()
				a.registered(t, "m1", one, nil)
				return byHand{config: awssagemaker.CreateEndpointConfigInput{ProductionVariants: []types.ProductionVariant{variant("AllTraffic", "m1")},
					AsyncInferenceConfig: &types.AsyncInferenceConfig{ClientConfig: &types.AsyncInferenceClientConfig{MaxConcurrentInvocationsPerInstance: aws.Int32(4)},
						OutputConfig: &types.AsyncInferenceOutputConfig{S3OutputPath: aws.String("s3://" + staging + "/out"), NotificationConfig: &types.AsyncInferenceNotificationConfig{
							ErrorTopic: aws.String("arn:aws:sns:eu-west-1:123456789012:errors")}}}}}
			},
			func(_ *testing.T, s *driver.EndpointSpec) bool {
				return s.Settings.SageMaker.Async.MaxConcurrencyPerInstance == 4 && strings.HasSuffix(s.Settings.SageMaker.Async.ErrorTopic, ":errors")
			}},
		"a model outside the registry": {
			func(t *testing.T, a *account, _, _ driver.VersionRef) byHand {
				t.Helper()
				a.outside(t, "own", 1)
				return byHand{config: awssagemaker.CreateEndpointConfigInput{ProductionVariants: []types.ProductionVariant{variant("AllTraffic", "own")}}}
			},
			func(_ *testing.T, s *driver.EndpointSpec) bool {
				return strings.HasSuffix(s.Deployments[0].Model.Native, ":model/own") && s.Deployments[0].Env == nil
			}},
		"a pipeline of containers": {
			func(t *testing.T, a *account, _, _ driver.VersionRef) byHand {
				t.Helper()
				a.outside(t, "pipeline", 2)
				return byHand{config: awssagemaker.CreateEndpointConfigInput{ProductionVariants: []types.ProductionVariant{variant("AllTraffic", "pipeline")}}}
			},
			func(_ *testing.T, s *driver.EndpointSpec) bool {
				return strings.HasSuffix(s.Deployments[0].Model.Native, ":model/pipeline")
			}},
		"variants with roles of their own": {
			func(t *testing.T, a *account, one, two driver.VersionRef) byHand {
				t.Helper()
				a.registered(t, "m1", one, nil)
				a.registered(t, "m2", two, func(m *awssagemaker.CreateModelInput) { m.ExecutionRoleArn = aws.String(role + "-other") })
				return byHand{config: awssagemaker.CreateEndpointConfigInput{ProductionVariants: []types.ProductionVariant{variant("a", "m1"), variant("b", "m2")}}}
			},
			func(_ *testing.T, s *driver.EndpointSpec) bool {
				// A version_id would say that b runs under the endpoint's role.
				return s.Deployments[0].Model.Version == "1" && strings.HasSuffix(s.Deployments[1].Model.Native, ":model/m2")
			}},
		"a container with more than a version_id says": {
			func(t *testing.T, a *account, one, _ driver.VersionRef) byHand {
				t.Helper()
				a.registered(t, "m1", one, func(m *awssagemaker.CreateModelInput) {
					m.PrimaryContainer.InferenceSpecificationName = aws.String("large-batches")
				})
				return byHand{config: awssagemaker.CreateEndpointConfigInput{ProductionVariants: []types.ProductionVariant{variant("AllTraffic", "m1")}}}
			},
			func(_ *testing.T, s *driver.EndpointSpec) bool {
				return strings.HasSuffix(s.Deployments[0].Model.Native, ":model/m1")
			}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAccount(t)
			e := c.prepare(t, a, a.version(t, "fraud", "one"), a.version(t, "fraud", "two"))
			e.name = "legacy"
			spec := a.imported(t, a.make(t, &e))
			if !c.want(t, spec) {
				t.Errorf("imported as %+v", spec)
			}
			// What came in a way of its own stays so when something else changes.
			foreign := a.Objects(t)
			if spec.Settings.SageMaker.Serverless != nil {
				spec.Settings.SageMaker.Serverless.MaxConcurrency++
			} else {
				spec.Deployments[0].Scaling = driver.Scaling{Min: 2, Max: 2}
				spec.Settings.Capture = &driver.Capture{Percent: 50, Destination: "s3://" + staging + "/c", Include: []string{"request"}}
			}
			state := a.apply(t, spec)
			config, err := a.sm.DescribeEndpointConfig(t.Context(), &awssagemaker.DescribeEndpointConfigInput{EndpointConfigName: &state.Memo})
			must(t, err)
			if len(config.ShadowProductionVariants) != len(e.config.ShadowProductionVariants) || len(config.ProductionVariants) != len(e.config.ProductionVariants) {
				t.Errorf("a shadow became a variant, or the other way: %+v", config)
			}
			must(t, a.DestroyEndpoint(t.Context(), spec.Key, clouds.How{Limit: time.Hour}))
			if diff := cmp.Diff(foreign, append(a.Objects(t), "endpoint legacy"), cmp.Transformer("sorted", sorted)); diff != "" {
				t.Errorf("of what others made, this is different now: %s", diff)
			}
		})
	}
}

func sorted(all []string) []string {
	all = slices.Clone(all)
	slices.Sort(all)
	return all
}

func (a *account) scale(t *testing.T, endpoint, variant string, least, most int32) *string {
	t.Helper()
	id := aws.String("endpoint/" + endpoint + "/variant/" + variant)
	_, err := a.aas.RegisterScalableTarget(t.Context(), &autoscaling.RegisterScalableTargetInput{ServiceNamespace: "sagemaker", ResourceId: id,
		ScalableDimension: "sagemaker:variant:DesiredInstanceCount", MinCapacity: aws.Int32(least), MaxCapacity: aws.Int32(most)})
	must(t, err)
	return id
}

func (a *account) policy(t *testing.T, id *string, name string, tracking *aastypes.TargetTrackingScalingPolicyConfiguration) {
	t.Helper()
	in := &autoscaling.PutScalingPolicyInput{ServiceNamespace: "sagemaker", ResourceId: id, ScalableDimension: "sagemaker:variant:DesiredInstanceCount",
		PolicyName: &name, PolicyType: aastypes.PolicyTypeTargetTrackingScaling, TargetTrackingScalingPolicyConfiguration: tracking}
	if tracking == nil {
		in.PolicyType = aastypes.PolicyTypeStepScaling
		in.StepScalingPolicyConfiguration = &aastypes.StepScalingPolicyConfiguration{AdjustmentType: aastypes.AdjustmentTypeChangeInCapacity,
			StepAdjustments: []aastypes.StepAdjustment{{MetricIntervalLowerBound: aws.Float64(0), ScalingAdjustment: aws.Int32(1)}}}
	}
	_, err := a.aas.PutScalingPolicy(t.Context(), in)
	must(t, err)
}

func invocations(target float64) *aastypes.TargetTrackingScalingPolicyConfiguration {
	return &aastypes.TargetTrackingScalingPolicyConfiguration{TargetValue: &target,
		PredefinedMetricSpecification: &aastypes.PredefinedMetricSpecification{PredefinedMetricType: aastypes.MetricTypeSageMakerVariantInvocationsPerInstance}}
}

// TestImportedAutoscaling: what somebody else set up is understood, kept under its
// name, and what cannot be said is neither shown nor lost.
func TestImportedAutoscaling(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	one := a.version(t, "Fraud", "one")
	a.registered(t, "m1", one, nil)
	key := a.make(t, &byHand{name: "Legacy-Live", config: awssagemaker.CreateEndpointConfigInput{ProductionVariants: []types.ProductionVariant{variant("AllTraffic", "m1")}}})
	id := a.scale(t, key.Name, "AllTraffic", 2, 8)
	a.policy(t, id, "by-hand", invocations(750))
	a.policy(t, id, "by-hand-steps", nil)
	_, err := a.aas.PutScheduledAction(t.Context(), &autoscaling.PutScheduledActionInput{ServiceNamespace: "sagemaker", ResourceId: id,
		ScalableDimension: "sagemaker:variant:DesiredInstanceCount", ScheduledActionName: aws.String("weekend"), Schedule: aws.String("cron(0 20 ? * FRI *)"),
		ScalableTargetAction: &aastypes.ScalableTargetAction{MinCapacity: aws.Int32(1), MaxCapacity: aws.Int32(2)}})
	must(t, err)

	parsed, ok := a.ParseNativeID(driver.KindEndpoint, "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/legacy-live")
	if !ok {
		t.Fatal("the ARN is not understood")
	}
	spec := a.imported(t, parsed)
	want := driver.Scaling{Min: 2, Max: 8, Metrics: []driver.Metric{{Type: driver.MetricRequests, Target: 750}},
		Schedules: []driver.Schedule{{Name: "weekend", Cron: "0 20 * * FRI", Timezone: "UTC", Min: 1, Max: 2}}}
	if diff := cmp.Diff(want, spec.Deployments[0].Scaling); diff != "" || spec.Key.Name != "Legacy-Live" || spec.Deployments[0].Model.Key.Name != "Fraud" {
		t.Fatalf("imported as %+v: %s", spec, diff)
	}

	spec.Deployments[0].Scaling.Max, spec.Deployments[0].Scaling.Metrics[0].Target = 9, 500
	a.apply(t, spec)
	spec.Deployments[0].Model = a.version(t, "Fraud", "two")
	a.apply(t, spec)
	if all := a.scaling(t, t.Context()); !slices.Contains(all, "scaling policy by-hand") || !slices.Contains(all, "scaling policy by-hand-steps") || len(all) != 4 {
		t.Errorf("autoscaling is now %v", all)
	}

	spec.Deployments[0].Compute.InstanceType = "ml.m5.xlarge"
	_, err = a.ApplyEndpoint(t.Context(), spec, clouds.How{Limit: time.Hour})
	if !mlerr.Is(err, mlerr.InUse) || !strings.Contains(err.Error(), "by-hand-steps") || mlerr.Hint(err) == "" {
		t.Errorf("a change that would lose a policy which is not ours ends with %v", err)
	}
	if all := a.scaling(t, t.Context()); len(all) != 4 {
		t.Errorf("autoscaling is now %v", all)
	}
}

// TestImportedAsynchronousScaleToZero: somebody else's way back from zero is as
// good as ours.
func TestImportedAsynchronousScaleToZero(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.registered(t, "m1", a.version(t, "fraud", "one"), nil)
	key := a.make(t, &byHand{name: "legacy", config: awssagemaker.CreateEndpointConfigInput{ProductionVariants: []types.ProductionVariant{variant("AllTraffic", "m1")},
		AsyncInferenceConfig: &types.AsyncInferenceConfig{OutputConfig: &types.AsyncInferenceOutputConfig{S3OutputPath: aws.String("s3://" + staging + "/out")}}}})
	id := a.scale(t, key.Name, "AllTraffic", 0, 3)
	a.policy(t, id, "wake-by-hand", nil)
	a.policy(t, id, "by-hand", invocations(10))
	spec := a.imported(t, key)
	if spec.Deployments[0].Scaling.Min != 0 {
		t.Errorf("imported as %+v", spec.Deployments[0].Scaling)
	}
	spec.Labels = map[string]string{"team": "risk"} // which makes it ours to mend
	a.apply(t, spec)
	if all := a.scaling(t, t.Context()); len(all) != 3 {
		t.Errorf("beside somebody else's way back there is another: %v", all)
	}
}

// TestVariantsOfOthersShow: a variant that was added by hand is part of the
// endpoint, shows in its state, and goes only because the plan shows that it goes.
func TestVariantsOfOthersShow(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	one := a.version(t, "fraud", "one")
	spec := endpoint("fraud", deployment("main", one))
	known := a.apply(t, spec)
	config, err := a.sm.DescribeEndpointConfig(t.Context(), &awssagemaker.DescribeEndpointConfigInput{EndpointConfigName: &known.Memo})
	must(t, err)
	extra := config.ProductionVariants[0]
	extra.VariantName = aws.String("experiment")
	_, err = a.sm.CreateEndpointConfig(t.Context(), &awssagemaker.CreateEndpointConfigInput{EndpointConfigName: aws.String("by-hand"),
		ProductionVariants: append(config.ProductionVariants, extra)})
	must(t, err)
	_, err = a.sm.UpdateEndpoint(t.Context(), &awssagemaker.UpdateEndpointInput{EndpointName: aws.String("fraud"), EndpointConfigName: aws.String("by-hand")})
	must(t, err)
	must(t, a.clock.Sleep(t.Context(), time.Hour))
	seen, err := a.again(t).ObserveEndpoint(t.Context(), spec.Key, known)
	must(t, err)
	if len(seen.Deployments) != 2 || seen.Deployments[0].Name != "experiment" || seen.Deployments[0].Traffic == 0 {
		t.Fatalf("a refresh shows %+v", seen.Deployments)
	}
	a.apply(t, spec)
}

// TestAModelMadeByHandKeepsItsRole: role and network belong to the Model, and that
// one is not ours to make again.
func TestAModelMadeByHandKeepsItsRole(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.outside(t, "own", 1)
	spec := a.imported(t, a.make(t, &byHand{name: "legacy", config: awssagemaker.CreateEndpointConfigInput{ProductionVariants: []types.ProductionVariant{variant("AllTraffic", "own")}}}))
	before := a.Objects(t)
	spec.Settings.SageMaker.ExecutionRoleARN += "-other"
	must(t, a.CheckEndpoint(spec))
	_, err := a.ApplyEndpoint(t.Context(), spec, clouds.How{Limit: time.Hour})
	if !mlerr.Is(err, mlerr.InvalidArgument) || mlerr.PathOf(err) != "sagemaker.execution_role_arn" || mlerr.Hint(err) == "" {
		t.Errorf("%v", err)
	}
	if diff := cmp.Diff(before, a.Objects(t)); diff != "" {
		t.Error(diff)
	}
	spec.Deployments[0].Model = a.version(t, "fraud", "one") // ours is made with the new role
	a.apply(t, spec)
}
