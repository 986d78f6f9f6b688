// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"strings"
	"testing"
)

// Requests are checked against the service model, also in members that our own
// driver never sends.
func TestServiceModelConstraints(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	const (
		one     = "1 validation error detected: "
		variant = `{"EndpointConfigName":"c","ProductionVariants":[{"VariantName":"v","ModelName":"m","InstanceType":"ml.m5.large","InitialInstanceCount":1`
		scaled  = `{"ServiceNamespace":"sagemaker","ResourceId":"endpoint/e/variant/v","ScalableDimension":"sagemaker:variant:DesiredInstanceCount"`
	)
	for _, c := range []struct{ reason, service, operation, body, code, message string }{
		{"a required member", "sagemaker", "CreateModel", `{}`, "ValidationException",
			one + "Value null at 'modelName' failed to satisfy constraint: Member must not be null"},
		{"a required member deep inside", "sagemaker", "CreateEndpointConfig", `{"EndpointConfigName":"c","ProductionVariants":[{"ModelName":"m"}]}`, "ValidationException",
			one + "Value null at 'productionVariants.1.member.variantName' failed to satisfy constraint: Member must not be null"},
		{"a pattern", "sagemaker", "DescribeEndpoint", `{"EndpointName":"fraud_v2"}`, "ValidationException",
			one + "Value 'fraud_v2' at 'endpointName' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"},
		{"a pattern holds for the whole value", "sagemaker", "DescribeEndpoint", `{"EndpointName":"fraud-"}`, "ValidationException", "regular expression"},
		{"a pattern with look-behind", "sagemaker", "DescribeModelPackageGroup", `{"ModelPackageGroupName":"fraud-"}`, "ValidationException", "(?<!-)"},
		{"a pattern with look-ahead", "application-autoscaling", "PutScheduledAction", scaled + `,"ScheduledActionName":"a:b"}`, "ValidationException", "'scheduledActionName'"},
		{"a pattern that counts further than RE2", "sagemaker", "UpdateModelPackage", `{"ModelPackageArn":"arn:aws:sagemaker:eu-west-1:123456789012:endpoint/x"}`, "ValidationException", "'modelPackageArn'"},
		{"a length", "sagemaker", "CreateModelPackageGroup", `{"ModelPackageGroupName":"g","ModelPackageGroupDescription":"` + strings.Repeat("é", 1025) + `"}`, "ValidationException",
			"'modelPackageGroupDescription' failed to satisfy constraint: Member must have length less than or equal to 1024"},
		{"an enumeration", "sagemaker", "CreateEndpointConfig", strings.Replace(variant, "ml.m5.large", "ml.m7g.large", 1) + `}]}`, "ValidationException",
			"Value 'ml.m7g.large' at 'productionVariants.1.member.instanceType' failed to satisfy constraint: Member must satisfy enum value set: [ml."},
		{"a range", "sagemaker", "CreateEndpointConfig", variant + `,"VolumeSizeInGB":513}]}`, "ValidationException",
			"Value '513' at 'productionVariants.1.member.volumeSizeInGB' failed to satisfy constraint: Member must have value less than or equal to 512"},
		{"a range of a member that our driver does not send", "sagemaker", "CreateEndpointConfig", variant + `,"CoreDumpConfig":{"DestinationS3Uri":"ftp://x"}}]}`, "ValidationException",
			"'productionVariants.1.member.coreDumpConfig.destinationS3Uri'"},
		{"a list of scalars is refused as a whole", "sagemaker", "DeleteTags", `{"ResourceArn":"arn:aws:sagemaker:eu-west-1:123456789012:model/m","TagKeys":["a","` + strings.Repeat("k", 129) + `"]}`, "ValidationException",
			"at 'tagKeys' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 128, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: "},
		{"keys of a map", "sagemaker", "CreateModel", `{"ModelName":"m","PrimaryContainer":{"Image":"i","Environment":{"1X":"v"}}}`, "ValidationException",
			"Value '{1X=v}' at 'primaryContainer.environment' failed to satisfy constraint: Map keys must satisfy constraint: ["},
		{"values of a map", "sagemaker", "CreateModel", `{"ModelName":"m","PrimaryContainer":{"Image":"i","Environment":{"X":"` + strings.Repeat("v", 1025) + `"}}}`, "ValidationException",
			"failed to satisfy constraint: Map value must satisfy constraint: [Member must have length less than or equal to 1024"},
		{"everything that is wrong is listed", "sagemaker", "CreateEndpoint", `{"EndpointName":"a b"}`, "ValidationException", "2 validation errors detected: "},
		{"a number for text", "sagemaker", "DescribeModel", `{"ModelName":7}`, "SerializationException", "NUMBER_VALUE can not be converted to a String"},
		{"text for a number", "sagemaker", "ListModels", `{"MaxResults":"7"}`, "SerializationException", "STRING_VALUE can not be converted to a Integer"},
		{"a fraction for an integer", "sagemaker", "ListModels", `{"MaxResults":1.5}`, "SerializationException", "Integer"},
		{"a list for a structure", "sagemaker", "CreateModel", `{"ModelName":"m","PrimaryContainer":[]}`, "SerializationException", "Start of list found where not expected"},
		{"no JSON", "sagemaker", "ListModels", `{`, "SerializationException", ""},
		{"an operation of another service", "sagemaker", "RegisterScalableTarget", `{}`, "UnknownOperationException", ""},
		{"a page too long", "sagemaker", "ListModels", `{"MaxResults":101}`, "ValidationException", "less than or equal to 100"},
		{"an enumeration of autoscaling", "application-autoscaling", "RegisterScalableTarget", `{"ServiceNamespace":"sagemaker","ResourceId":"r","ScalableDimension":"d"}`, "ValidationException", "'scalableDimension'"},
		{"alarms", "monitoring", "PutMetricAlarm", `{"AlarmName":"a","ComparisonOperator":"x","EvaluationPeriods":1}`, "ValidationError", "'comparisonOperator'"},
	} {
		status, code, message := a.raw(c.service, c.operation, c.body)
		if status != 400 || code != c.code || !strings.Contains(message, c.message) {
			t.Errorf("%s: got %d %s: %s\nwant %s: …%s…", c.reason, status, code, message, c.code, c.message)
		}
	}
	if _, code, message := a.raw("sagemaker", "ListModels", `{"MaxResults":1,"Invented":{"a":1}}`); code != "" {
		t.Errorf("members that the model does not know are ignored by AWS, and refused here: %s: %s", code, message)
	}
}
