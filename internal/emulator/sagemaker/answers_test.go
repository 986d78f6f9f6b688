// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/state"
)

// account answers operations without a network and holds every answer against
// the service model: clients in other languages read them by it.
type account struct {
	t   *testing.T
	s   *Service
	now time.Time
}

func newAccount(t *testing.T) *account {
	t.Helper()
	store, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	a := &account{t: t, now: time.Unix(1_700_000_000, 0)}
	a.s = New(Options{Store: store, Now: func() time.Time { return a.now }})
	return a
}

func (a *account) call(service, operation, body string) obj {
	a.t.Helper()
	answer, err := a.s.Do(a.t.Context(), Call{Service: service, Operation: operation, Region: "eu-west-1", Body: []byte(body)})
	if err != nil {
		a.t.Fatalf("%s: %v", operation, err)
	}
	out := obj{}
	if err := json.Unmarshal(answer, &out); err != nil {
		a.t.Fatal(err)
	}
	m := models()[service]
	if m.Outputs[operation] == "" {
		if len(out) > 0 {
			a.t.Errorf("%s answers %s, and has no output", operation, answer)
		}
		return out
	}
	v := &validator{model: m}
	v.check("", m.Outputs[operation], map[string]any(out))
	if v.unreadable != "" || len(v.found) > 0 {
		a.t.Errorf("%s answers %s\n%s%s", operation, answer, v.unreadable, strings.Join(v.found, "\n"))
	}
	for _, name := range m.unknown(m.Outputs[operation], map[string]any(out)) {
		a.t.Errorf("%s answers %s, which the service model does not know", operation, name)
	}
	return out
}

// unknown are the members of a value that its shape lacks.
func (m *serviceModel) unknown(name string, value any) []string {
	s := m.Shapes[name]
	var all []string
	switch x := value.(type) {
	case map[string]any:
		for key, item := range x {
			target := s.Value
			if s.Type == "structure" {
				target = s.Members[key]
			}
			if target == "" {
				all = append(all, name+"."+key)
				continue
			}
			all = append(all, m.unknown(target, item)...)
		}
	case []any:
		for _, item := range x {
			all = append(all, m.unknown(s.Element, item)...)
		}
	}
	return all
}

const (
	sm  = "sagemaker"
	aas = "application-autoscaling"
	cw  = "monitoring"
)

func TestAnswersFitTheServiceModel(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.registry()
	a.endpoint()
	a.scaling()
	a.now = a.now.Add(time.Hour)
	a.call(sm, "UpdateEndpoint", `{"EndpointName":"fraud","EndpointConfigName":"two","RetainAllVariantProperties":true}`)
	a.call(sm, "DescribeEndpoint", `{"EndpointName":"fraud"}`)
	a.now = a.now.Add(time.Hour)
	a.call(sm, "UpdateEndpointWeightsAndCapacities", `{"EndpointName":"fraud","DesiredWeightsAndCapacities":[{"VariantName":"main","DesiredWeight":2}]}`)
	a.now = a.now.Add(time.Hour)
	a.call(aas, "DeleteScalingPolicy", target+`,"PolicyName":"p"}`)
	a.call(aas, "DeleteScheduledAction", target+`,"ScheduledActionName":"a"}`)
	a.call(aas, "DeregisterScalableTarget", target+`}`)
	a.call(sm, "DeleteEndpoint", `{"EndpointName":"fraud"}`)
	a.call(sm, "DeleteEndpointConfig", `{"EndpointConfigName":"one"}`)
	a.call(sm, "DeleteModel", `{"ModelName":"fraud"}`)
	a.call(sm, "DeleteModelPackage", `{"ModelPackageName":"fraud/1"}`)
	a.call(sm, "DeleteModelPackageGroup", `{"ModelPackageGroupName":"fraud"}`)
}

func (a *account) registry() {
	a.call(sm, "CreateModelPackageGroup", `{"ModelPackageGroupName":"fraud","ModelPackageGroupDescription":"d","Tags":[{"Key":"a","Value":"b"}]}`)
	a.call(sm, "DescribeModelPackageGroup", `{"ModelPackageGroupName":"fraud"}`)
	a.call(sm, "ListModelPackageGroups", `{}`)
	p := a.call(sm, "CreateModelPackage", `{"ModelPackageGroupName":"fraud","ClientToken":"t","InferenceSpecification":{"Containers":[{"Image":"i","Environment":{"A":"b"}}]},"CustomerMetadataProperties":{"k":"v"}}`)
	a.call(sm, "CreateModelPackage", `{"ModelPackageName":"alone","InferenceSpecification":{"Containers":[{"Image":"i"}]}}`)
	a.call(sm, "UpdateModelPackage", fmt.Sprintf(`{"ModelPackageArn":%q,"ModelApprovalStatus":"Approved","CustomerMetadataPropertiesToRemove":["k"]}`, p.str("ModelPackageArn")))
	a.call(sm, "DescribeModelPackage", `{"ModelPackageName":"fraud/1"}`)
	a.call(sm, "ListModelPackages", `{"ModelPackageType":"Both"}`)
	a.call(sm, "BatchDescribeModelPackage", fmt.Sprintf(`{"ModelPackageArnList":[%q,%q]}`, p.str("ModelPackageArn"), strings.Replace(p.str("ModelPackageArn"), "/1", "/9", 1)))
	m := a.call(sm, "CreateModel", fmt.Sprintf(`{"ModelName":"fraud","ExecutionRoleArn":"arn:aws:iam::123456789012:role/serving","PrimaryContainer":{"ModelPackageName":%q}}`, p.str("ModelPackageArn")))
	a.call(sm, "DescribeModel", `{"ModelName":"fraud"}`)
	a.call(sm, "ListModels", `{}`)
	a.call(sm, "AddTags", fmt.Sprintf(`{"ResourceArn":%q,"Tags":[{"Key":"a","Value":"b"}]}`, m.str("ModelArn")))
	a.call(sm, "ListTags", fmt.Sprintf(`{"ResourceArn":%q}`, m.str("ModelArn")))
	a.call(sm, "DeleteTags", fmt.Sprintf(`{"ResourceArn":%q,"TagKeys":["a"]}`, m.str("ModelArn")))
}

func (a *account) endpoint() {
	for _, name := range []string{"one", "two"} {
		a.call(sm, "CreateEndpointConfig", fmt.Sprintf(`{"EndpointConfigName":%q,
			"ProductionVariants":[{"VariantName":"main","ModelName":"fraud","InstanceType":"ml.m5.large","InitialInstanceCount":1}],
			"ShadowProductionVariants":[{"VariantName":"copy","ModelName":"fraud","InstanceType":"ml.m5.large","InitialInstanceCount":1}],
			"DataCaptureConfig":{"InitialSamplingPercentage":10,"DestinationS3Uri":"s3://b/c","CaptureOptions":[{"CaptureMode":"Input"}]}}`, name))
	}
	a.call(sm, "DescribeEndpointConfig", `{"EndpointConfigName":"one"}`)
	a.call(sm, "ListEndpointConfigs", `{"MaxResults":1}`)
	a.call(sm, "CreateEndpoint", `{"EndpointName":"fraud","EndpointConfigName":"one"}`)
	a.call(sm, "DescribeEndpoint", `{"EndpointName":"fraud"}`)
	a.now = a.now.Add(time.Hour)
	a.call(sm, "DescribeEndpoint", `{"EndpointName":"fraud"}`)
	a.call(sm, "ListEndpoints", `{"SortBy":"Status","NameContains":"ra","StatusEquals":"InService"}`)
}

const target = `{"ServiceNamespace":"sagemaker","ResourceId":"endpoint/fraud/variant/main","ScalableDimension":"sagemaker:variant:DesiredInstanceCount"`

func (a *account) scaling() {
	t := a.call(aas, "RegisterScalableTarget", target+`,"MinCapacity":2,"MaxCapacity":4,"Tags":{"a":"b"}}`)
	a.call(aas, "DescribeScalableTargets", `{"ServiceNamespace":"sagemaker"}`)
	a.call(aas, "PutScalingPolicy", target+`,"PolicyName":"p","PolicyType":"TargetTrackingScaling",
		"TargetTrackingScalingPolicyConfiguration":{"TargetValue":70,"PredefinedMetricSpecification":{"PredefinedMetricType":"SageMakerVariantInvocationsPerInstance"}}}`)
	a.call(aas, "DescribeScalingPolicies", target+`}`)
	a.call(aas, "PutScheduledAction", target+`,"ScheduledActionName":"a","Schedule":"cron(0 8 ? * MON-FRI *)","Timezone":"Europe/Berlin","ScalableTargetAction":{"MinCapacity":2}}`)
	a.call(aas, "DescribeScheduledActions", target+`}`)
	arn := t.str("ScalableTargetARN")
	a.call(aas, "TagResource", fmt.Sprintf(`{"ResourceARN":%q,"Tags":{"c":"d"}}`, arn))
	a.call(aas, "UntagResource", fmt.Sprintf(`{"ResourceARN":%q,"TagKeys":["a"]}`, arn))
	a.call(aas, "ListTagsForResource", fmt.Sprintf(`{"ResourceARN":%q}`, arn))
	a.call(cw, "PutMetricAlarm", `{"AlarmName":"w","ComparisonOperator":"GreaterThanThreshold","EvaluationPeriods":1,"Period":60,"Threshold":0.5,"MetricName":"m","Namespace":"n","Statistic":"Sum"}`)
	a.call(cw, "SetAlarmState", `{"AlarmName":"w","StateValue":"OK","StateReason":"r"}`)
	a.call(cw, "DescribeAlarms", `{"AlarmNames":["w"]}`)
	a.call(cw, "DescribeAlarmHistory", `{"AlarmName":"w"}`)
	a.call(cw, "TagResource", `{"ResourceARN":"arn:aws:cloudwatch:eu-west-1:123456789012:alarm:w","Tags":[{"Key":"a","Value":"b"}]}`)
	a.call(cw, "ListTagsForResource", `{"ResourceARN":"arn:aws:cloudwatch:eu-west-1:123456789012:alarm:w"}`)
	a.call(cw, "UntagResource", `{"ResourceARN":"arn:aws:cloudwatch:eu-west-1:123456789012:alarm:w","TagKeys":["a"]}`)
	a.call(cw, "GetMetricData", `{"StartTime":1700000000,"EndTime":1700000060,"MetricDataQueries":[{"Id":"a","MetricStat":{"Period":60,"Stat":"Sum",
		"Metric":{"Namespace":"AWS/SageMaker","MetricName":"Invocations","Dimensions":[{"Name":"EndpointName","Value":"fraud"},{"Name":"VariantName","Value":"main"}]}}}]}`)
	a.call(cw, "DeleteAlarms", `{"AlarmNames":["w"]}`)
}

func TestEveryOperationHasConstraints(t *testing.T) {
	t.Parallel()
	for service, operations := range handlers {
		for operation := range operations {
			if models()[service].Operations[operation] == "" {
				t.Errorf("%s.%s is served and not validated", service, operation)
			}
		}
		for operation := range models()[service].Operations {
			if operations[operation] == nil {
				t.Errorf("%s.%s is validated and not served", service, operation)
			}
		}
	}
}
