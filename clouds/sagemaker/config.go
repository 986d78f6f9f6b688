// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sm "github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/naming"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

// nameFormat is part of what names are computed from. A new number is for a
// change of the requests that must not meet objects of the old names.
const nameFormat = 1

// blueprint is the immutable objects that an endpoint is to stand on.
type blueprint struct {
	models map[string]*sm.CreateModelInput // by deployment; nil for a model made by hand
	config *sm.CreateEndpointConfigInput
}

// counts are the initial instance counts by deployment; one that is missing is
// the deployment's own.
type counts map[string]int

// blueprint computes the requests. live is the configuration in use, or nil;
// what it holds that no attribute manages is carried over. salt is "" but for
// a repetition of content that is in use already.
func (r *region) blueprint(ctx context.Context, spec *driver.EndpointSpec, live *sm.DescribeEndpointConfigOutput, initial counts, salt string) (*blueprint, error) {
	b := &blueprint{models: map[string]*sm.CreateModelInput{}}
	config := &sm.CreateEndpointConfigInput{
		AsyncInferenceConfig: asyncConfig(spec.Settings.SageMaker.Async, live),
		DataCaptureConfig:    captureConfig(&spec.Settings, live),
	}
	if key := spec.Settings.Encryption.Key; key != "" {
		config.KmsKeyId = &key
	}
	if live != nil {
		config.ExplainerConfig, config.MetricsConfig = live.ExplainerConfig, live.MetricsConfig
	}
	shadowed := hasMirror(spec.Deployments)
	for i := range spec.Deployments {
		dep := &spec.Deployments[i]
		registered, err := r.buildsOf(ctx, dep)
		if err != nil {
			return nil, err
		}
		modelName, err := r.modelFor(ctx, b, spec, dep, registered, live)
		if err != nil {
			return nil, err
		}
		v := variant(spec, dep, modelName, initial, liveVariant(live, dep.Name))
		accelerate(&v, dep, registered)
		if dep.Mirror > 0 || (dep.Traffic == 0 && isShadow(live, dep.Name)) {
			v.InitialVariantWeight = aws.Float32(float32(dep.Mirror))
			config.ShadowProductionVariants = append(config.ShadowProductionVariants, v)
			continue
		}
		if shadowed {
			v.InitialVariantWeight = aws.Float32(100)
		}
		config.ProductionVariants = append(config.ProductionVariants, v)
	}
	config.EndpointConfigName = aws.String(naming.Name(spec.Key.Name, maxName, contentHash(spec.Key.Name, salt, config)))
	config.Tags = ownedTags(spec)
	b.config = config
	return b, nil
}

func hasMirror(all []driver.Deployment) bool {
	return slices.ContainsFunc(all, func(d driver.Deployment) bool { return d.Mirror > 0 })
}

// contentHash is over the whole request without its name and tags. The
// endpoint's full name is in it because names are cut. What is not set is left
// out, so that fields that a later SDK adds change no name.
func contentHash(endpoint, salt string, request any) string {
	return naming.Hash(map[string]any{"format": nameFormat, "endpoint": endpoint, "salt": salt, "request": set(request)})
}

// set is a request as plain data, with only what is set in it.
func set(request any) any {
	data, err := json.Marshal(request)
	if err != nil {
		panic("a request is plain data: " + err.Error())
	}
	var plain any
	if err := json.Unmarshal(data, &plain); err != nil {
		panic("a request is plain data: " + err.Error())
	}
	return prune(plain)
}

func prune(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			if inner = prune(inner); inner == nil || inner == "" {
				delete(v, k)
			} else {
				v[k] = inner
			}
		}
		if len(v) == 0 {
			return nil
		}
	case []any:
		for i := range v {
			v[i] = prune(v[i])
		}
		if len(v) == 0 {
			return nil
		}
	}
	return v
}

// versionMark makes the names of all models of one version findable by what
// they contain.
func versionMark(ref driver.VersionRef) string {
	return "-v" + naming.Hash(ref.String())[:7]
}

// buildsOf reads the package that a deployment serves if its instance type may
// want another build than the default; otherwise it is nil.
func (r *region) buildsOf(ctx context.Context, dep *driver.Deployment) (*sm.DescribeModelPackageOutput, error) {
	if dep.Model.Native != "" || buildFor(dep.Compute.InstanceType) == buildDefault {
		return nil, nil //nolint:nilnil // the default build
	}
	id, err := r.packageARN(ctx, dep.Model)
	if err != nil {
		return nil, err
	}
	return r.describePackage(ctx, id)
}

// modelFor adds the Model that binds a version to role and network, and returns
// its name.
func (r *region) modelFor(ctx context.Context, b *blueprint, spec *driver.EndpointSpec, dep *driver.Deployment,
	registered *sm.DescribeModelPackageOutput, live *sm.DescribeEndpointConfigOutput) (string, error) {
	if native := dep.Model.Native; native != "" {
		_, name, _ := strings.Cut(native, ":model/")
		return name, r.fits(ctx, spec, dep, name, live)
	}
	id, err := r.packageARN(ctx, dep.Model)
	if err != nil {
		return "", err
	}
	container := &types.ContainerDefinition{ModelPackageName: &id, Environment: nonEmpty(dep.Env)}
	if build := buildFor(dep.Compute.InstanceType); registered != nil && hasBuild(registered, build) {
		container.InferenceSpecificationName = &build
	}
	in := &sm.CreateModelInput{
		ExecutionRoleArn: &spec.Settings.SageMaker.ExecutionRoleARN,
		PrimaryContainer: container,
		VpcConfig:        vpcConfig(&spec.Settings.Network),
	}
	if spec.Settings.SageMaker.NetworkIsolation {
		in.EnableNetworkIsolation = aws.Bool(true)
	}
	mark := versionMark(dep.Model)
	in.ModelName = aws.String(naming.Name(spec.Key.Name, maxName-len(mark), contentHash(spec.Key.Name, "", in)) + mark)
	in.Tags = ownedTags(spec)
	b.models[dep.Name] = in
	return *in.ModelName, nil
}

// fits refuses settings that a model made by hand does not have: they belong to
// the Model, and that one is not ours to make again. One that serves already, in
// an endpoint whose settings stay, keeps what it has.
func (r *region) fits(ctx context.Context, spec *driver.EndpointSpec, dep *driver.Deployment, name string, live *sm.DescribeEndpointConfigOutput) error {
	m, err := r.model(ctx, name)
	if err != nil {
		return err
	}
	have, want := settingsOf(m), modelSettings{spec.Settings.SageMaker.ExecutionRoleARN, spec.Settings.SageMaker.NetworkIsolation,
		spec.Settings.Network.Subnets, spec.Settings.Network.SecurityGroups}
	path := have.differs(want)
	if path == "" {
		return nil
	}
	if v := liveVariant(live, dep.Name); v != nil && aws.ToString(v.ModelName) == name {
		shown, err := r.model(ctx, modelsOf(live)[0]) // whose settings are the endpoint's
		if err != nil {
			return err
		}
		if settingsOf(shown).differs(want) == "" {
			return nil
		}
	}
	return mlerr.New(mlerr.InvalidArgument, "deployment %s serves the model %s, which was made with another %s", dep.Name, name, path).At("%s", path).
		WithHint("Set %s to what that model has, or register the model as an ml_model and serve its version", path)
}

func vpcConfig(n *driver.Network) *types.VpcConfig {
	if len(n.Subnets) == 0 {
		return nil
	}
	return &types.VpcConfig{Subnets: n.Subnets, SecurityGroupIds: n.SecurityGroups}
}

// variant translates a deployment. Weights are whole numbers: the service keeps
// 32-bit floats, and 0.1 would come back as 0.10000000149.
func variant(spec *driver.EndpointSpec, dep *driver.Deployment, model string, initial counts, old *types.ProductionVariant) types.ProductionVariant {
	v := types.ProductionVariant{
		VariantName:          aws.String(dep.Name),
		ModelName:            aws.String(model),
		InitialVariantWeight: aws.Float32(float32(dep.Traffic)),
	}
	if s := spec.Settings.SageMaker.Serverless; s != nil {
		v.ServerlessConfig = &types.ProductionVariantServerlessConfig{
			MemorySizeInMB: aws.Int32(int32(s.MemoryMB)), MaxConcurrency: aws.Int32(int32(s.MaxConcurrency)),
		}
		if s.ProvisionedConcurrency > 0 {
			v.ServerlessConfig.ProvisionedConcurrency = aws.Int32(int32(s.ProvisionedConcurrency))
		}
		return v
	}
	count, ok := initial[dep.Name]
	if !ok {
		count = max(1, dep.Scaling.Min)
	}
	v.InitialInstanceCount = aws.Int32(int32(count))
	v.InstanceType = types.ProductionVariantInstanceType(dep.Compute.InstanceType)
	carryOver(&v, old)
	return v
}

// carryOver keeps what the variant in use has and no attribute manages.
func carryOver(v, old *types.ProductionVariant) {
	if old == nil {
		return
	}
	v.ContainerStartupHealthCheckTimeoutInSeconds = old.ContainerStartupHealthCheckTimeoutInSeconds
	v.ModelDataDownloadTimeoutInSeconds = old.ModelDataDownloadTimeoutInSeconds
	v.VariantInstanceProvisionTimeoutInSeconds = old.VariantInstanceProvisionTimeoutInSeconds
	v.CoreDumpConfig, v.RoutingConfig = old.CoreDumpConfig, old.RoutingConfig
	if aws.ToBool(old.EnableSSMAccess) {
		v.EnableSSMAccess = old.EnableSSMAccess
	}
	if instanceTypeOf(old) != string(v.InstanceType) {
		return // what follows belongs to the kind of machine
	}
	v.VolumeSizeInGB, v.InferenceAmiVersion, v.CapacityReservationConfig = old.VolumeSizeInGB, old.InferenceAmiVersion, old.CapacityReservationConfig
	if len(old.InstancePools) > 0 {
		v.InstancePools, v.InstanceType = old.InstancePools, ""
	}
}

func liveVariant(live *sm.DescribeEndpointConfigOutput, name string) *types.ProductionVariant {
	if live == nil {
		return nil
	}
	for _, all := range [][]types.ProductionVariant{live.ProductionVariants, live.ShadowProductionVariants} {
		for i := range all {
			if aws.ToString(all[i].VariantName) == name {
				return &all[i]
			}
		}
	}
	return nil
}

// isShadow reports whether a variant is a shadow, even if it is sent nothing now.
func isShadow(live *sm.DescribeEndpointConfigOutput, name string) bool {
	return live != nil && slices.ContainsFunc(live.ShadowProductionVariants, func(v types.ProductionVariant) bool {
		return aws.ToString(v.VariantName) == name
	})
}

// loadingSeconds is how long a model may take to download and to load on an
// accelerator: the default of four minutes is too short for what needs one.
const loadingSeconds = 1800

// accelerate adds what a variant with accelerators needs to start: time, and a
// host driver that is new enough for the image.
func accelerate(v *types.ProductionVariant, dep *driver.Deployment, registered *sm.DescribeModelPackageOutput) {
	if !accelerated(dep.Compute.InstanceType) {
		return
	}
	if v.ModelDataDownloadTimeoutInSeconds == nil {
		v.ModelDataDownloadTimeoutInSeconds = aws.Int32(loadingSeconds)
	}
	if v.ContainerStartupHealthCheckTimeoutInSeconds == nil {
		v.ContainerStartupHealthCheckTimeoutInSeconds = aws.Int32(loadingSeconds)
	}
	if registered == nil {
		return
	}
	if ami := runtimes.InferenceAMI(imageFor(registered, buildFor(dep.Compute.InstanceType))); ami != "" {
		v.InferenceAmiVersion = types.ProductionVariantInferenceAmiVersion(ami)
	}
}

func asyncConfig(a *driver.Async, live *sm.DescribeEndpointConfigOutput) *types.AsyncInferenceConfig {
	if a == nil {
		return nil
	}
	out := &types.AsyncInferenceOutputConfig{S3OutputPath: &a.OutputURI, S3FailurePath: optional(a.FailureURI), KmsKeyId: optional(a.EncryptionKey)}
	if a.SuccessTopic != "" || a.ErrorTopic != "" {
		out.NotificationConfig = &types.AsyncInferenceNotificationConfig{SuccessTopic: optional(a.SuccessTopic), ErrorTopic: optional(a.ErrorTopic)}
		if live != nil && live.AsyncInferenceConfig != nil && live.AsyncInferenceConfig.OutputConfig != nil {
			if old := live.AsyncInferenceConfig.OutputConfig.NotificationConfig; old != nil {
				out.NotificationConfig.IncludeInferenceResponseIn = old.IncludeInferenceResponseIn
			}
		}
	}
	config := &types.AsyncInferenceConfig{OutputConfig: out}
	if a.MaxConcurrencyPerInstance > 0 {
		config.ClientConfig = &types.AsyncInferenceClientConfig{MaxConcurrentInvocationsPerInstance: aws.Int32(int32(a.MaxConcurrencyPerInstance))}
	}
	return config
}

// captureConfig translates capture. Naming the content types keeps JSON and CSV
// readable; anything else is recorded in base64.
func captureConfig(s *driver.Settings, live *sm.DescribeEndpointConfigOutput) *types.DataCaptureConfig {
	if s.Capture == nil {
		return nil
	}
	c := &types.DataCaptureConfig{
		EnableCapture:             aws.Bool(true),
		DestinationS3Uri:          &s.Capture.Destination,
		InitialSamplingPercentage: aws.Int32(int32(s.Capture.Percent)),
		KmsKeyId:                  optional(s.Encryption.Key),
		CaptureContentTypeHeader:  &types.CaptureContentTypeHeader{CsvContentTypes: []string{"text/csv"}, JsonContentTypes: []string{"application/json"}},
	}
	for _, include := range s.Capture.Include {
		mode := types.CaptureModeInput
		if include == captureResponse {
			mode = types.CaptureModeOutput
		}
		c.CaptureOptions = append(c.CaptureOptions, types.CaptureOption{CaptureMode: mode})
	}
	if live != nil && live.DataCaptureConfig != nil && aws.ToString(live.DataCaptureConfig.DestinationS3Uri) == s.Capture.Destination {
		old := live.DataCaptureConfig
		c.CaptureContentTypeHeader = old.CaptureContentTypeHeader
		if aws.ToString(live.KmsKeyId) == s.Encryption.Key || aws.ToString(old.KmsKeyId) != aws.ToString(live.KmsKeyId) && s.Encryption.Key == "" {
			c.KmsKeyId = old.KmsKeyId // it may have a key of its own, or none, which no attribute manages
		}
	}
	return c
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
