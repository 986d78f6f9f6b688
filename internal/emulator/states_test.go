// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
)

const (
	creating = types.EndpointStatusCreating
	updating = types.EndpointStatusUpdating
	ready    = types.EndpointStatusInService
)

func TestLifeOfAnEndpoint(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.model("m")
	a.endpointConfig("one", variant("main", "m", 1, 1))
	a.endpointConfig("two", variant("main", "m", 3, 1))
	a.create("fraud", "one")
	a.minutes(4.9)
	if e := a.wantStatus(creating, "one"); len(e.ProductionVariants) > 0 || e.PendingDeploymentSummary == nil {
		t.Error("while it is Creating an endpoint has no variants and a pending deployment")
	}
	_, err := a.invoke("fraud")
	refuses(t, err, "ValidationError", "Endpoint fraud of account 123456789012 not found.")
	a.minutes(0.1)
	if e := a.wantStatus(ready, "one"); aws.ToInt32(e.ProductionVariants[0].CurrentInstanceCount) != 1 || e.PendingDeploymentSummary != nil {
		t.Errorf("in service: %+v", e.ProductionVariants)
	}

	a.update("two", nil)
	e := a.wantStatus(updating, "one")
	if p := e.PendingDeploymentSummary; aws.ToString(p.EndpointConfigName) != "two" || aws.ToInt32(p.ProductionVariants[0].DesiredInstanceCount) != 3 {
		t.Errorf("the pending deployment: %+v", p)
	}
	for _, busy := range []error{a.tryUpdate("one"), a.tryWeights("main", 5), a.tryDelete()} {
		refuses(t, busy, "ValidationException", `Cannot update in-progress endpoint "`+prefix+`endpoint/fraud".`)
	}
	if who, err := a.invoke("fraud"); who != "main" {
		t.Errorf("an endpoint that is Updating serves: %s, %v", who, err)
	}
	a.minutes(5)
	a.wantStatus(ready, "two")

	must("", a.tryWeights("main", 5))(t)
	if v := a.wantStatus(updating, "two").ProductionVariants[0]; aws.ToFloat32(v.DesiredWeight) != 1 {
		t.Errorf("desired weights show when they are reached: %v", aws.ToFloat32(v.DesiredWeight))
	}
	a.minutes(5)
	if v := a.wantStatus(ready, "two").ProductionVariants[0]; aws.ToFloat32(v.CurrentWeight) != 5 {
		t.Errorf("got weight %v", aws.ToFloat32(v.CurrentWeight))
	}

	must("", a.tryDelete())(t)
	a.minutes(4.9)
	a.wantStatus(types.EndpointStatusDeleting, "two")
	_, err = a.sm.CreateEndpoint(t.Context(), &sagemaker.CreateEndpointInput{EndpointName: aws.String("Fraud"), EndpointConfigName: aws.String("one")})
	refuses(t, err, "ValidationException", `Cannot create already existing endpoint "`)
	a.minutes(0.1)
	_, err = a.sm.DescribeEndpoint(t.Context(), &sagemaker.DescribeEndpointInput{EndpointName: aws.String("fraud")})
	refuses(t, err, "ValidationException", `Could not find endpoint "`+prefix+`endpoint/fraud".`)
}

func (a *account) tryUpdate(config string) error {
	_, err := a.sm.UpdateEndpoint(a.t.Context(), &sagemaker.UpdateEndpointInput{EndpointName: aws.String("fraud"), EndpointConfigName: &config})
	return err
}

func (a *account) tryWeights(variant string, weight float32) error {
	_, err := a.sm.UpdateEndpointWeightsAndCapacities(a.t.Context(), &sagemaker.UpdateEndpointWeightsAndCapacitiesInput{EndpointName: aws.String("fraud"),
		DesiredWeightsAndCapacities: []types.DesiredWeightAndCapacity{{VariantName: &variant, DesiredWeight: &weight}}})
	return err
}

func (a *account) tryDelete() error {
	_, err := a.sm.DeleteEndpoint(a.t.Context(), &sagemaker.DeleteEndpointInput{EndpointName: aws.String("fraud")})
	return err
}

// A failed update is green afterwards, with what served before.
func TestFailedUpdatesRollBack(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.endpoint()
	a.endpointConfig("two", variant("main", "m", 2, 1))
	a.faults(`{"call":"sagemaker.UpdateEndpoint","occurrence":1,"action":"fail_transition","message":"did not pass the ping health check"}`,
		`{"call":"sagemaker.UpdateEndpoint","occurrence":2,"action":"fail_transition"}`,
		`{"call":"sagemaker.UpdateEndpoint","occurrence":3,"action":"fail_transition","mode":"rollback_failed"}`,
		`{"call":"sagemaker.UpdateEndpoint","occurrence":4,"action":"maintenance"}`,
		`{"call":"sagemaker.UpdateEndpointWeightsAndCapacities","action":"fail_transition","message":"no capacity"}`)
	a.update("two", nil)
	a.wantStatus(updating, "one")
	a.minutes(5)
	if e := a.wantStatus(ready, "one"); !strings.Contains(aws.ToString(e.FailureReason), "ping health check") {
		t.Errorf("got the reason %q", aws.ToString(e.FailureReason))
	}
	a.update("two", nil)
	a.minutes(5)
	if e := a.wantStatus(ready, "one"); e.FailureReason != nil {
		t.Errorf("the silent one gives no reason, and got %q", *e.FailureReason)
	}
	a.update("two", nil)
	a.minutes(5)
	a.wantStatus(types.EndpointStatusUpdateRollbackFailed, "one")
	a.update("one", nil) // repairs it, also to the configuration that it had
	a.minutes(5)
	a.wantStatus(types.EndpointStatusSystemUpdating, "one")
	refuses(t, a.tryUpdate("two"), "ValidationException", "Cannot update in-progress endpoint")
	a.minutes(5)
	a.wantStatus(ready, "one")
	must("", a.tryWeights("main", 7))(t)
	a.minutes(5)
	a.wantStatus(types.EndpointStatusRollingBack, "one")
	a.minutes(5)
	if e := a.wantStatus(ready, "one"); aws.ToFloat32(e.ProductionVariants[0].CurrentWeight) != 1 || aws.ToString(e.FailureReason) != "no capacity" {
		t.Errorf("a change of weights that failed: %+v, %q", e.ProductionVariants[0], aws.ToString(e.FailureReason))
	}
}

func TestFailedCreationCanOnlyBeDeleted(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.model("m")
	a.endpointConfig("one", variant("main", "m", 1, 1))
	a.endpointConfig("two", variant("main", "m", 1, 1))
	a.faults(`{"call":"sagemaker.CreateEndpoint","action":"fail_transition","message":"no image"}`)
	a.create("fraud", "one")
	a.minutes(5)
	if e := a.wantStatus(types.EndpointStatusFailed, "one"); aws.ToString(e.FailureReason) != "no image" {
		t.Errorf("got the reason %q", aws.ToString(e.FailureReason))
	}
	if err := a.tryUpdate("two"); err == nil {
		t.Error("a Failed endpoint was updated")
	}
	must("", a.tryDelete())(t)
}

// What an endpoint needs may vanish after it was configured. The platform
// notices when it deploys, and not earlier.
func TestDeploymentsMissWhatWasRemoved(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	ctx := t.Context()
	a.endpoint()
	a.put("models", "m/model.tar.gz", "x")
	a.put("models", "tree/sub/", "")
	for name, c := range map[string]types.ContainerDefinition{
		"archive": {ModelDataUrl: aws.String("s3://models/m/model.tar.gz")},
		"folders": {ModelDataSource: &types.ModelDataSource{S3DataSource: &types.S3ModelDataSource{S3Uri: aws.String("s3://models/tree/"),
			S3DataType: types.S3ModelDataTypeS3Prefix, CompressionType: types.ModelCompressionTypeNone}}},
		"gone": {},
	} {
		c.Image = aws.String(image)
		must(a.sm.CreateModel(ctx, &sagemaker.CreateModelInput{ModelName: &name, ExecutionRoleArn: aws.String(role), PrimaryContainer: &c}))(t)
		a.endpointConfig(name, variant("main", name, 1, 1))
	}
	must(a.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: aws.String("models"), Key: aws.String("m/model.tar.gz")}))(t)
	must(a.sm.DeleteModel(ctx, &sagemaker.DeleteModelInput{ModelName: aws.String("gone")}))(t)
	for config, reason := range map[string]string{
		"archive": `Failed to download model data for container "container_1" from URL: "s3://models/m/model.tar.gz".`,
		"folders": `"tree/sub/" cannot become a file name`,
		"gone":    `Could not find model "` + prefix + `model/gone".`,
	} {
		a.update(config, nil)
		a.minutes(5)
		if e := a.wantStatus(ready, "one"); !strings.Contains(aws.ToString(e.FailureReason), reason) {
			t.Errorf("%s: got the reason %q, want %q", config, aws.ToString(e.FailureReason), reason)
		}
	}
}

func canary(percent, wait, bake int32, alarms ...string) *types.DeploymentConfig {
	d := &types.DeploymentConfig{BlueGreenUpdatePolicy: &types.BlueGreenUpdatePolicy{TerminationWaitInSeconds: &bake,
		TrafficRoutingConfiguration: &types.TrafficRoutingConfig{Type: types.TrafficRoutingConfigTypeCanary, WaitIntervalInSeconds: &wait,
			CanarySize: &types.CapacitySize{Type: types.CapacitySizeTypeCapacityPercent, Value: &percent}}}}
	for _, name := range alarms {
		if d.AutoRollbackConfiguration == nil {
			d.AutoRollbackConfiguration = &types.AutoRollbackConfig{}
		}
		d.AutoRollbackConfiguration.Alarms = append(d.AutoRollbackConfiguration.Alarms, types.Alarm{AlarmName: &name})
	}
	return d
}

// share is how many of a hundred requests the second model answers.
func (a *account) share() int {
	a.t.Helper()
	n := 0
	for range 100 {
		if must(a.invoke("fraud"))(a.t) == "next" {
			n++
		}
	}
	return n
}

func TestGuardedDeploymentShiftsTraffic(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.endpoint()
	a.endpointConfig("two", variant("next", "m", 2, 1))
	a.update("two", canary(10, 600, 300))
	if n := a.share(); n != 0 {
		t.Errorf("before the new fleet is ready it got %d of 100", n)
	}
	a.minutes(5)
	if n := a.share(); n != 10 {
		t.Errorf("a canary of 10 %% got %d of 100", n)
	}
	a.minutes(10)
	if n := a.share(); n != 100 {
		t.Errorf("after the interval the new fleet got %d of 100", n)
	}
	if s := a.wantStatus(updating, "one").PendingDeploymentSummary.ProductionVariants[0].VariantStatus[0]; s.Status != types.VariantStatusBaking {
		t.Errorf("got the variant's status %s", s.Status)
	}
	a.minutes(5)
	a.wantStatus(ready, "two")
}

func (a *account) alarm(name string, state cwtypes.StateValue) {
	a.t.Helper()
	must(a.alarms.SetAlarmState(a.t.Context(), &cloudwatch.SetAlarmStateInput{AlarmName: &name, StateValue: state, StateReason: aws.String("test")}))(a.t)
}

func TestAlarmRollsBack(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.endpoint()
	a.endpointConfig("two", variant("next", "m", 2, 1))
	_, err := a.sm.UpdateEndpoint(t.Context(), &sagemaker.UpdateEndpointInput{EndpointName: aws.String("fraud"), EndpointConfigName: aws.String("two"),
		DeploymentConfig: canary(10, 600, 0, "errors")})
	refuses(t, err, "ValidationException", "Could not find alarm: errors")
	must(a.alarms.PutMetricAlarm(t.Context(), &cloudwatch.PutMetricAlarmInput{AlarmName: aws.String("errors"), Namespace: aws.String("AWS/SageMaker"),
		MetricName: aws.String("Invocation5XXErrors"), Statistic: cwtypes.StatisticSum, ComparisonOperator: cwtypes.ComparisonOperatorGreaterThanThreshold,
		EvaluationPeriods: aws.Int32(1), Period: aws.Int32(60), Threshold: aws.Float64(0.5)}))(t)
	out := must(a.alarms.DescribeAlarms(t.Context(), &cloudwatch.DescribeAlarmsInput{AlarmNames: []string{"errors"}}))(t)
	if got := out.MetricAlarms[0]; aws.ToInt32(got.Period) != 60 || aws.ToFloat64(got.Threshold) != 0.5 || got.StateUpdatedTimestamp == nil {
		t.Errorf("the alarm came back as %+v", got)
	}

	a.update("two", canary(10, 600, 0, "errors"))
	a.minutes(6)
	a.alarm("errors", cwtypes.StateValueAlarm) // rolls back although nobody looks before it is over
	a.alarm("errors", cwtypes.StateValueOk)
	a.minutes(60)
	if e := a.wantStatus(ready, "one"); !strings.Contains(aws.ToString(e.FailureReason), "ALARM state: [errors]") {
		t.Errorf("got the reason %q", aws.ToString(e.FailureReason))
	}

	a.update("two", canary(10, 600, 0, "errors"))
	a.minutes(15)
	a.alarm("errors", cwtypes.StateValueAlarm) // too late: the deployment is over
	a.wantStatus(ready, "two")
}

// Counts and weights of live variants survive an update that asks for it.
func TestRetainedVariantProperties(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	ctx := t.Context()
	a.endpoint()
	must(a.sm.UpdateEndpointWeightsAndCapacities(ctx, &sagemaker.UpdateEndpointWeightsAndCapacitiesInput{EndpointName: aws.String("fraud"),
		DesiredWeightsAndCapacities: []types.DesiredWeightAndCapacity{{VariantName: aws.String("main"), DesiredWeight: aws.Float32(3), DesiredInstanceCount: aws.Int32(6)}}}))(t)
	a.minutes(5)
	for i, c := range []struct {
		retain        bool
		excluded      []types.VariantProperty
		count, weight int
	}{
		{true, nil, 6, 3},
		{true, []types.VariantProperty{{VariantPropertyType: types.VariantPropertyTypeDesiredWeight}}, 6, 1},
		{false, nil, 2, 1},
	} {
		config := string(rune('p' + i))
		a.endpointConfig(config, variant("main", "m", 2, 1))
		must(a.sm.UpdateEndpoint(ctx, &sagemaker.UpdateEndpointInput{EndpointName: aws.String("fraud"), EndpointConfigName: &config,
			RetainAllVariantProperties: &c.retain, ExcludeRetainedVariantProperties: c.excluded}))(t)
		a.minutes(5)
		v := a.wantStatus(ready, config).ProductionVariants[0]
		if int(aws.ToInt32(v.CurrentInstanceCount)) != c.count || int(aws.ToFloat32(v.CurrentWeight)) != c.weight {
			t.Errorf("%+v: got %d instances of weight %v", c, aws.ToInt32(v.CurrentInstanceCount), aws.ToFloat32(v.CurrentWeight))
		}
	}
}
