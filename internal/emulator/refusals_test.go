// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
)

// SageMaker has no error of its own for most of this: code and words are all
// that tells one case from another.
func TestMissingThings(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	ctx, x := t.Context(), aws.String("x")
	a.model("m")
	for _, c := range []struct {
		what, message string
		call          func() error
	}{
		{"endpoint", `Could not find endpoint "` + prefix + `endpoint/x".`, func() error {
			_, err := a.sm.DescribeEndpoint(ctx, &sagemaker.DescribeEndpointInput{EndpointName: x})
			return err
		}},
		{"endpoint to delete", `Could not find endpoint "`, func() error {
			_, err := a.sm.DeleteEndpoint(ctx, &sagemaker.DeleteEndpointInput{EndpointName: x})
			return err
		}},
		{"configuration", `Could not find endpoint configuration "` + prefix + `endpoint-config/x".`, func() error {
			_, err := a.sm.DescribeEndpointConfig(ctx, &sagemaker.DescribeEndpointConfigInput{EndpointConfigName: x})
			return err
		}},
		{"configuration to delete", `Could not find endpoint configuration "`, func() error {
			_, err := a.sm.DeleteEndpointConfig(ctx, &sagemaker.DeleteEndpointConfigInput{EndpointConfigName: x})
			return err
		}},
		{"configuration of a new endpoint", `Could not find endpoint configuration "`, func() error {
			_, err := a.sm.CreateEndpoint(ctx, &sagemaker.CreateEndpointInput{EndpointName: x, EndpointConfigName: x})
			return err
		}},
		{"model", `Could not find model "` + prefix + `model/x".`, func() error {
			_, err := a.sm.DescribeModel(ctx, &sagemaker.DescribeModelInput{ModelName: x})
			return err
		}},
		{"model to delete", `Could not find model "`, func() error {
			_, err := a.sm.DeleteModel(ctx, &sagemaker.DeleteModelInput{ModelName: x})
			return err
		}},
		{"model of a new configuration", `Could not find model "`, func() error {
			_, err := a.sm.CreateEndpointConfig(ctx, &sagemaker.CreateEndpointConfigInput{EndpointConfigName: x, ProductionVariants: []types.ProductionVariant{variant("v", "x", 1, 1)}})
			return err
		}},
		{"group", `ModelPackageGroup ` + prefix + `model-package-group/x does not exist.`, func() error {
			_, err := a.sm.DescribeModelPackageGroup(ctx, &sagemaker.DescribeModelPackageGroupInput{ModelPackageGroupName: x})
			return err
		}},
		{"group of a new package", ` does not exist.`, func() error { return a.register("x") }},
		{"package", `ModelPackage ` + prefix + `model-package/x/1 does not exist.`, func() error {
			_, err := a.sm.DescribeModelPackage(ctx, &sagemaker.DescribeModelPackageInput{ModelPackageName: aws.String(prefix + "model-package/x/1")})
			return err
		}},
		{"package of a new model", ` does not exist.`, func() error {
			return a.tryModel(types.ContainerDefinition{ModelPackageName: aws.String(prefix + "model-package/x/1")})
		}},
		{"artifact", `Could not access model data at s3://none/model.tar.gz.`, func() error {
			return a.tryModel(types.ContainerDefinition{Image: aws.String(image), ModelDataUrl: aws.String("s3://none/model.tar.gz")})
		}},
		{"tagged thing", `Could not find endpoint "`, func() error {
			_, err := a.sm.ListTags(ctx, &sagemaker.ListTagsInput{ResourceArn: aws.String(prefix + "endpoint/x")})
			return err
		}},
	} {
		if err := c.call(); err == nil {
			t.Errorf("%s: no error", c.what)
		} else {
			refuses(t, err, "ValidationException", c.message)
		}
	}
}

func (a *account) register(group string, tags ...types.Tag) error {
	_, err := a.sm.CreateModelPackage(a.t.Context(), &sagemaker.CreateModelPackageInput{ModelPackageGroupName: &group, Tags: tags,
		ClientToken:            aws.String(fmt.Sprint(a.clock.Now().UnixNano())),
		InferenceSpecification: &types.InferenceSpecification{Containers: []types.ModelPackageContainerDefinition{{Image: aws.String(image)}}}})
	a.minutes(1)
	return err
}

func (a *account) tryModel(c types.ContainerDefinition) error {
	name := fmt.Sprintf("try-%d", a.clock.Now().UnixNano())
	a.minutes(1)
	_, err := a.sm.CreateModel(a.t.Context(), &sagemaker.CreateModelInput{ModelName: &name, ExecutionRoleArn: aws.String(role), PrimaryContainer: &c})
	return err
}

// Models and configurations cannot be changed: a name that exists is refused,
// whatever its case.
func TestNamesAreTakenOnce(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	ctx := t.Context()
	a.endpoint()
	_, err := a.sm.CreateModel(ctx, &sagemaker.CreateModelInput{ModelName: aws.String("M"), ExecutionRoleArn: aws.String(role), PrimaryContainer: &types.ContainerDefinition{Image: aws.String("other")}})
	refuses(t, err, "ValidationException", `Cannot create already existing model "`+prefix+`model/m".`)
	_, err = a.sm.CreateEndpointConfig(ctx, &sagemaker.CreateEndpointConfigInput{EndpointConfigName: aws.String("one"), ProductionVariants: []types.ProductionVariant{variant("main", "m", 9, 1)}})
	refuses(t, err, "ValidationException", `Cannot create already existing endpoint configuration "`+prefix+`endpoint-config/one".`)
	_, err = a.sm.CreateEndpoint(ctx, &sagemaker.CreateEndpointInput{EndpointName: aws.String("FRAUD"), EndpointConfigName: aws.String("one")})
	refuses(t, err, "ValidationException", `Cannot create already existing endpoint "`+prefix+`endpoint/fraud".`)
	must(a.sm.CreateModelPackageGroup(ctx, &sagemaker.CreateModelPackageGroupInput{ModelPackageGroupName: aws.String("g")}))(t)
	_, err = a.sm.CreateModelPackageGroup(ctx, &sagemaker.CreateModelPackageGroupInput{ModelPackageGroupName: aws.String("g")})
	refuses(t, err, "ValidationException", "already exists")
	refuses(t, a.tryUpdate("one"), "ValidationException", "already uses")
	c := must(a.sm.DescribeEndpointConfig(ctx, &sagemaker.DescribeEndpointConfigInput{EndpointConfigName: aws.String("one")}))(t)
	if n := aws.ToInt32(c.ProductionVariants[0].InitialInstanceCount); n != 2 {
		t.Errorf("the configuration has changed: %d instances", n)
	}
}

func TestRegistry(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	ctx, group := t.Context(), aws.String("g")
	must(a.sm.CreateModelPackageGroup(ctx, &sagemaker.CreateModelPackageGroupInput{ModelPackageGroupName: group}))(t)
	must("", a.register("g"))(t)
	must("", a.register("g"))(t)
	refuses(t, a.register("g", types.Tag{Key: aws.String("a"), Value: aws.String("b")}), "ValidationException", "Tags cannot be specified for a versioned model package")
	arn := aws.String(prefix + "model-package/g/2")

	refuses(t, a.tryModel(types.ContainerDefinition{ModelPackageName: arn}), "ValidationException", "not approved")
	update := &sagemaker.UpdateModelPackageInput{ModelPackageArn: arn, ModelApprovalStatus: types.ModelApprovalStatusApproved,
		CustomerMetadataProperties: map[string]string{"run": "7", "commit": "abc"}}
	must(a.sm.UpdateModelPackage(ctx, update))(t)
	must("", a.tryModel(types.ContainerDefinition{ModelPackageName: arn}))(t)
	must(a.sm.UpdateModelPackage(ctx, &sagemaker.UpdateModelPackageInput{ModelPackageArn: arn, CustomerMetadataPropertiesToRemove: []string{"run"}}))(t)
	if got := must(a.sm.DescribeModelPackage(ctx, &sagemaker.DescribeModelPackageInput{ModelPackageName: arn}))(t).CustomerMetadataProperties; len(got) != 1 || got["commit"] != "abc" {
		t.Errorf("metadata is merged and removed by key, and is %v", got)
	}
	_, err := a.sm.UpdateModelPackage(ctx, &sagemaker.UpdateModelPackageInput{ModelPackageArn: arn, InferenceSpecification: &types.InferenceSpecification{
		Containers: []types.ModelPackageContainerDefinition{{Image: aws.String("other")}}}})
	refuses(t, err, "ValidationException", "cannot be changed")

	_, err = a.sm.DeleteModelPackageGroup(ctx, &sagemaker.DeleteModelPackageGroupInput{ModelPackageGroupName: group})
	refuses(t, err, "ConflictException", "still contains Model Packages")
	must(a.sm.DeleteModelPackage(ctx, &sagemaker.DeleteModelPackageInput{ModelPackageName: arn}))(t)
	must("", a.register("g"))(t)
	list := must(a.sm.ListModelPackages(ctx, &sagemaker.ListModelPackagesInput{ModelPackageGroupName: group}))(t).ModelPackageSummaryList
	if len(list) != 2 || aws.ToInt32(list[0].ModelPackageVersion) != 1 || aws.ToInt32(list[1].ModelPackageVersion) != 3 {
		t.Errorf("numbers are never given twice, and lists begin with the oldest: %v", list)
	}
	// The same token is the same package, not another one.
	again := &sagemaker.CreateModelPackageInput{ModelPackageGroupName: group, ClientToken: aws.String("once"),
		InferenceSpecification: &types.InferenceSpecification{Containers: []types.ModelPackageContainerDefinition{{Image: aws.String(image)}}}}
	first := must(a.sm.CreateModelPackage(ctx, again))(t)
	if second := must(a.sm.CreateModelPackage(ctx, again))(t); aws.ToString(first.ModelPackageArn) != aws.ToString(second.ModelPackageArn) {
		t.Error("one client token made two packages")
	}
}

// Configurations and models are deleted from under what uses them, as on AWS;
// the endpoint goes on serving, and its next update is refused.
func TestDeletionFromUnderAnEndpoint(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	ctx := t.Context()
	a.endpoint()
	a.endpointConfig("two", variant("main", "m", 2, 1))
	must(a.sm.DeleteEndpointConfig(ctx, &sagemaker.DeleteEndpointConfigInput{EndpointConfigName: aws.String("one")}))(t)
	must(a.sm.DeleteModel(ctx, &sagemaker.DeleteModelInput{ModelName: aws.String("m")}))(t)
	if who, err := a.invoke("fraud"); who != "main" {
		t.Errorf("the endpoint stopped serving: %s, %v", who, err)
	}
	refuses(t, a.tryUpdate("two"), "ValidationException", `Could not find endpoint configuration "`+prefix+`endpoint-config/one".`)
	must("", a.tryDelete())(t)
}

func TestContainersAndVariantsFitTogether(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.model("m")
	a.put("models", "m/model.tar.gz", "x")
	const archive, tree = "s3://models/m/model.tar.gz", "s3://models/m/"
	source := func(uri string, kind types.S3ModelDataType, compression types.ModelCompressionType) *types.ModelDataSource {
		return &types.ModelDataSource{S3DataSource: &types.S3ModelDataSource{S3Uri: &uri, S3DataType: kind, CompressionType: compression}}
	}
	for message, c := range map[string]types.ContainerDefinition{
		"Container image must be provided": {ModelDataUrl: aws.String(archive)},
		"both ModelDataUrl and ModelDataSource": {Image: aws.String(image), ModelDataUrl: aws.String(archive),
			ModelDataSource: source(tree, types.S3ModelDataTypeS3Prefix, types.ModelCompressionTypeNone)},
		"gzip compressed tar archive":                   {Image: aws.String(image), ModelDataUrl: aws.String("s3://models/m/model.onnx")},
		"cannot be used with CompressionType Gzip":      {Image: aws.String(image), ModelDataSource: source(tree, types.S3ModelDataTypeS3Prefix, types.ModelCompressionTypeGzip)},
		"must end with a forward slash":                 {Image: aws.String(image), ModelDataSource: source("s3://models/m", types.S3ModelDataTypeS3Prefix, types.ModelCompressionTypeNone)},
		"must not exceed 32 KB":                         {Image: aws.String(image), Environment: big()},
		"Could not access model data at s3://models/n/": {Image: aws.String(image), ModelDataSource: source("s3://models/n/", types.S3ModelDataTypeS3Prefix, types.ModelCompressionTypeNone)},
		"not supported for containers in MultiModel mode": {Image: aws.String(image), Mode: types.ContainerModeMultiModel,
			ModelDataSource: source(tree, types.S3ModelDataTypeS3Prefix, types.ModelCompressionTypeNone)},
	} {
		refuses(t, a.tryModel(c), "ValidationException", message)
	}
	serverless := types.ProductionVariant{VariantName: aws.String("main"), ModelName: aws.String("m"),
		ServerlessConfig: &types.ProductionVariantServerlessConfig{MemorySizeInMB: aws.Int32(2048), MaxConcurrency: aws.Int32(5)}}
	odd := serverless
	odd.ServerlessConfig = &types.ProductionVariantServerlessConfig{MemorySizeInMB: aws.Int32(2000), MaxConcurrency: aws.Int32(5)}
	gpu := variant("main", "m", 1, 1)
	gpu.InstanceType = types.ProductionVariantInstanceTypeMlG5Xlarge
	volume, managed, none := gpu, variant("main", "m", 1, 1), variant("main", "m", 1, 1)
	volume.VolumeSizeInGB = aws.Int32(10)
	managed.ManagedInstanceScaling = &types.ProductionVariantManagedInstanceScaling{Status: types.ManagedInstanceScalingStatusEnabled}
	none.InitialInstanceCount = nil
	capture := &types.DataCaptureConfig{InitialSamplingPercentage: aws.Int32(1), DestinationS3Uri: aws.String("s3://models/c"), CaptureOptions: []types.CaptureOption{{CaptureMode: types.CaptureModeInput}}}
	for message, in := range map[string]*sagemaker.CreateEndpointConfigInput{
		"Duplicate variant name: main":                                                    {ProductionVariants: []types.ProductionVariant{variant("main", "m", 1, 1), variant("main", "m", 1, 1)}},
		"InitialInstanceCount is required":                                                {ProductionVariants: []types.ProductionVariant{none}},
		"KmsKeyId parameter is not allowed":                                               {ProductionVariants: []types.ProductionVariant{gpu}, KmsKeyId: aws.String("alias/k")},
		"VolumeSize parameter is not allowed for the selected Instance type":              {ProductionVariants: []types.ProductionVariant{volume}},
		"ManagedInstanceScaling is only supported for inference component endpoints.":     {ProductionVariants: []types.ProductionVariant{managed}},
		"MemorySizeInMB must be a multiple of 1024":                                       {ProductionVariants: []types.ProductionVariant{odd}},
		"Data capture is not supported for serverless endpoints":                          {ProductionVariants: []types.ProductionVariant{serverless}, DataCaptureConfig: capture},
		"Serverless endpoints support exactly one production variant":                     {ProductionVariants: []types.ProductionVariant{serverless, variant("other", "m", 1, 1)}},
		"Only one shadow variant is supported, and it requires exactly one production va": {ProductionVariants: []types.ProductionVariant{variant("a", "m", 1, 1), variant("b", "m", 1, 1)}, ShadowProductionVariants: []types.ProductionVariant{variant("c", "m", 1, 1)}},
	} {
		in.EndpointConfigName = aws.String("c")
		_, err := a.sm.CreateEndpointConfig(t.Context(), in)
		refuses(t, err, "ValidationException", message)
	}
}

// big is an environment of more than 32 KB whose values are all allowed.
func big() map[string]string {
	env := map[string]string{}
	for i := range 33 {
		env[fmt.Sprintf("K%d", i)] = strings.Repeat("x", 1000)
	}
	return env
}

func TestDeploymentRules(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.endpoint()
	a.endpointConfig("two", variant("main", "m", 2, 1))
	a.endpointConfig("single", variant("main", "m", 1, 1))
	rolling := func(percent int32) *types.DeploymentConfig {
		return &types.DeploymentConfig{RollingUpdatePolicy: &types.RollingUpdatePolicy{WaitIntervalInSeconds: aws.Int32(60),
			MaximumBatchSize: &types.CapacitySize{Type: types.CapacitySizeTypeCapacityPercent, Value: &percent}}}
	}
	both, linear, hasty := canary(10, 60, 0), canary(10, 60, 0), canary(10, 600, 300)
	both.RollingUpdatePolicy = rolling(10).RollingUpdatePolicy
	linear.BlueGreenUpdatePolicy.TrafficRoutingConfiguration.Type = types.TrafficRoutingConfigTypeLinear
	hasty.BlueGreenUpdatePolicy.MaximumExecutionTimeoutInSeconds = aws.Int32(900)
	for _, c := range []struct {
		config, message string
		deployment      *types.DeploymentConfig
	}{
		{"single", "requires at least 2 instances in variant main", canary(50, 60, 0)},
		{"single", "requires at least 2 instances in variant main", rolling(50)},
		{"two", "CanarySize must be between 1% and 50%", canary(51, 60, 0)},
		{"two", "MaximumBatchSize must be between 5% and 50%", rolling(4)},
		{"two", "Only one of BlueGreenUpdatePolicy and RollingUpdatePolicy", both},
		{"two", "CanarySize must be specified if, and only if, the traffic routing type is CANARY", linear},
		{"two", "MaximumExecutionTimeoutInSeconds must be greater than the sum of the wait intervals", hasty},
	} {
		_, err := a.sm.UpdateEndpoint(t.Context(), &sagemaker.UpdateEndpointInput{EndpointName: aws.String("fraud"), EndpointConfigName: &c.config, DeploymentConfig: c.deployment})
		refuses(t, err, "ValidationException", c.message)
	}
	a.update("two", rolling(50)) // two batches, a minute apart
	a.minutes(5.5)
	a.wantStatus(updating, "one")
	a.minutes(0.5)
	a.wantStatus(ready, "two")
	_, err := a.sm.UpdateEndpointWeightsAndCapacities(t.Context(), &sagemaker.UpdateEndpointWeightsAndCapacitiesInput{EndpointName: aws.String("fraud"),
		DesiredWeightsAndCapacities: []types.DesiredWeightAndCapacity{{VariantName: aws.String("none"), DesiredWeight: aws.Float32(1)}}})
	refuses(t, err, "ValidationException", `Could not find variant "none"`)
}

func TestQuotas(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.write("quotas.json", `{"ml.m5.large": 3}`)
	a.endpoint() // two of the three
	a.endpointConfig("two", variant("main", "m", 2, 1))
	limit := "The account-level service limit 'ml.m5.large for endpoint usage' is 3 Instances, with current utilization of 2 Instances and a request delta of 2 Instances."
	_, err := a.sm.CreateEndpoint(t.Context(), &sagemaker.CreateEndpointInput{EndpointName: aws.String("other"), EndpointConfigName: aws.String("two")})
	refuses(t, err, "ResourceLimitExceeded", limit)
	refuses(t, a.tryUpdate("two"), "ResourceLimitExceeded", limit) // the old fleet runs beside the new one
	_, err = a.sm.UpdateEndpointWeightsAndCapacities(t.Context(), &sagemaker.UpdateEndpointWeightsAndCapacitiesInput{EndpointName: aws.String("fraud"),
		DesiredWeightsAndCapacities: []types.DesiredWeightAndCapacity{{VariantName: aws.String("main"), DesiredInstanceCount: aws.Int32(4)}}})
	refuses(t, err, "ResourceLimitExceeded", limit)
	half := int32(50)
	a.update("two", &types.DeploymentConfig{RollingUpdatePolicy: &types.RollingUpdatePolicy{WaitIntervalInSeconds: aws.Int32(0),
		MaximumBatchSize: &types.CapacitySize{Type: types.CapacitySizeTypeCapacityPercent, Value: &half}}}) // needs one batch beside it
}

func TestTags(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	ctx := t.Context()
	a.model("m")
	arn := aws.String(prefix + "model/m")
	tag := func(k, v string) []types.Tag { return []types.Tag{{Key: &k, Value: &v}} }
	must(a.sm.AddTags(ctx, &sagemaker.AddTagsInput{ResourceArn: arn, Tags: tag("a", "1")}))(t)
	if got := must(a.sm.AddTags(ctx, &sagemaker.AddTagsInput{ResourceArn: arn, Tags: tag("a", "2")}))(t).Tags; len(got) != 1 || aws.ToString(got[0].Value) != "2" {
		t.Errorf("a tag is replaced by its key: %v", got)
	}
	_, err := a.sm.AddTags(ctx, &sagemaker.AddTagsInput{ResourceArn: arn, Tags: tag("aws:x", "1")})
	refuses(t, err, "ValidationException", "System prefix 'aws:' reserved for AWS usage in tag key")
	var many []types.Tag
	for i := range 50 {
		many = append(many, tag(fmt.Sprint("k", i), "v")...)
	}
	_, err = a.sm.AddTags(ctx, &sagemaker.AddTagsInput{ResourceArn: arn, Tags: many})
	refuses(t, err, "ResourceLimitExceeded", "50")
	must(a.sm.DeleteTags(ctx, &sagemaker.DeleteTagsInput{ResourceArn: arn, TagKeys: []string{"a", "absent"}}))(t)
	must(a.sm.DeleteModel(ctx, &sagemaker.DeleteModelInput{ModelName: aws.String("m")}))(t)
	a.model("m")
	if got := must(a.sm.ListTags(ctx, &sagemaker.ListTagsInput{ResourceArn: arn}))(t).Tags; len(got) != 0 {
		t.Errorf("a new model has the tags of the one before: %v", got)
	}
}
