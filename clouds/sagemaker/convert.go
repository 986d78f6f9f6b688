// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"
	"encoding/json"
	"math"
	"path"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	sm "github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// modelSettings are the settings of an endpoint that its Models carry.
type modelSettings struct {
	role                    string
	isolated                bool
	subnets, securityGroups []string // sorted
}

func settingsOf(m *sm.DescribeModelOutput) modelSettings {
	s := modelSettings{role: aws.ToString(m.ExecutionRoleArn), isolated: aws.ToBool(m.EnableNetworkIsolation)}
	if m.VpcConfig != nil {
		s.subnets, s.securityGroups = sortedCopy(m.VpcConfig.Subnets), sortedCopy(m.VpcConfig.SecurityGroupIds)
	}
	return s
}

// differs is the path of the first attribute in which two differ, or "".
func (s modelSettings) differs(other modelSettings) string {
	switch {
	case s.role != other.role:
		return "sagemaker.execution_role_arn"
	case s.isolated != other.isolated:
		return "sagemaker.network_isolation"
	case !slices.Equal(s.subnets, other.subnets):
		return "network.subnets"
	case !slices.Equal(s.securityGroups, other.securityGroups):
		return "network.security_groups"
	}
	return ""
}

func sortedCopy(all []string) []string {
	if len(all) == 0 {
		return nil
	}
	copied := slices.Clone(all)
	sort.Strings(copied)
	return copied
}

// containerOf is the container of a Model that has just one.
func containerOf(m *sm.DescribeModelOutput) *types.ContainerDefinition {
	switch {
	case m.PrimaryContainer != nil:
		return m.PrimaryContainer
	case len(m.Containers) == 1:
		return &m.Containers[0]
	}
	return &types.ContainerDefinition{}
}

// packageOf is the ARN of the registry's version that a Model is made of, or "".
// Nothing else may be in the Model that ours would not have, and the registry must
// be this account's: a version_id says neither.
func packageOf(m *sm.DescribeModelOutput) string {
	c := containerOf(m)
	id := aws.ToString(c.ModelPackageName)
	a, err := arn.Parse(id)
	if parts := strings.Split(a.Resource, "/"); err != nil || len(parts) != 3 || parts[0] != "model-package" {
		return "" // model-package/<group>/<version> is the form of versions
	}
	own, err := arn.Parse(aws.ToString(m.ModelArn))
	if err != nil || a.AccountID != own.AccountID || a.Region != own.Region {
		return ""
	}
	build := aws.ToString(c.InferenceSpecificationName)
	if build != buildDefault && build != buildGPU && build != buildARM || c.ImageConfig != nil || len(c.AdditionalModelDataSources) > 0 {
		return ""
	}
	return id
}

// served reads off a Model which version it is, and the environment over it. A
// Model that is not made of a version, or with another role or network than the
// endpoint shows, is named by its ARN, and then its environment is part of what it
// is.
func (r *region) served(key driver.Key, m *sm.DescribeModelOutput, shown modelSettings) (driver.VersionRef, map[string]string) {
	id := packageOf(m)
	if id == "" || settingsOf(m).differs(shown) != "" {
		return driver.VersionRef{Native: aws.ToString(m.ModelArn)}, nil
	}
	name, ok := r.groupOf(path.Dir(id))
	if !ok {
		name = path.Base(path.Dir(id))
	}
	key.Name = name
	return driver.VersionRef{Key: key, Version: path.Base(id)}, nonEmpty(containerOf(m).Environment)
}

// learnServed finds out how the groups that a reading refers to are really
// called; one call for each that has not been met yet.
func (r *region) learnServed(ctx context.Context, m *sm.DescribeModelOutput) error {
	id := packageOf(m)
	if _, known := r.groupOf(path.Dir(id)); id == "" || known {
		return nil
	}
	p, err := r.describePackage(ctx, id)
	switch {
	case mlerr.Is(err, mlerr.NotFound, mlerr.PermissionDenied):
		return nil // deleted while it serves, or in a registry of others
	case err != nil:
		return err
	}
	if name := aws.ToString(p.ModelPackageGroupName); name != "" {
		r.learnGroup(path.Base(name), path.Dir(id))
	}
	return nil
}

// asyncOf, captureOf and serverlessOf translate parts of a configuration.
func asyncOf(c *types.AsyncInferenceConfig) *driver.Async {
	if c == nil || c.OutputConfig == nil {
		return nil
	}
	a := &driver.Async{OutputURI: aws.ToString(c.OutputConfig.S3OutputPath), FailureURI: aws.ToString(c.OutputConfig.S3FailurePath),
		EncryptionKey: aws.ToString(c.OutputConfig.KmsKeyId)}
	if n := c.OutputConfig.NotificationConfig; n != nil {
		a.SuccessTopic, a.ErrorTopic = aws.ToString(n.SuccessTopic), aws.ToString(n.ErrorTopic)
	}
	if c.ClientConfig != nil {
		a.MaxConcurrencyPerInstance = int(aws.ToInt32(c.ClientConfig.MaxConcurrentInvocationsPerInstance))
	}
	return a
}

// captureOf: capture is on unless it is switched off; a block that is switched
// off is as none.
func captureOf(c *types.DataCaptureConfig) *driver.Capture {
	if c == nil || (c.EnableCapture != nil && !*c.EnableCapture) {
		return nil
	}
	capture := &driver.Capture{Percent: int(aws.ToInt32(c.InitialSamplingPercentage)), Destination: aws.ToString(c.DestinationS3Uri)}
	include := map[string]bool{}
	for _, o := range c.CaptureOptions {
		include[captureRequest] = include[captureRequest] || o.CaptureMode != types.CaptureModeOutput
		include[captureResponse] = include[captureResponse] || o.CaptureMode != types.CaptureModeInput
	}
	for _, i := range []string{captureRequest, captureResponse} {
		if include[i] {
			capture.Include = append(capture.Include, i)
		}
	}
	return capture
}

func serverlessOf(c *types.ProductionVariantServerlessConfig) *driver.Serverless {
	if c == nil {
		return nil
	}
	return &driver.Serverless{MemoryMB: int(aws.ToInt32(c.MemorySizeInMB)), MaxConcurrency: int(aws.ToInt32(c.MaxConcurrency)),
		ProvisionedConcurrency: int(aws.ToInt32(c.ProvisionedConcurrency))}
}

// instanceTypeOf is the variant's type, or the first choice of its pools.
func instanceTypeOf(v *types.ProductionVariant) string {
	if v.InstanceType != "" || len(v.InstancePools) == 0 {
		return string(v.InstanceType)
	}
	best := v.InstancePools[0]
	for _, p := range v.InstancePools {
		if aws.ToInt32(p.Priority) < aws.ToInt32(best.Priority) {
			best = p
		}
	}
	return string(best.InstanceType)
}

// shares turns relative weights into whole percents that add up to 100, by the
// largest remainder. Without any weight nothing has traffic.
func shares(weights []float32) []int {
	percents := make([]int, len(weights))
	var sum float64
	for _, w := range weights {
		sum += float64(w)
	}
	if sum <= 0 {
		return percents
	}
	order := make([]int, len(weights))
	rest := make([]float64, len(weights))
	left := 100
	for i, w := range weights {
		exact := float64(w) / sum * 100
		percents[i] = int(math.Floor(exact + 1e-6))
		rest[i] = exact - float64(percents[i])
		order[i] = i
		left -= percents[i]
	}
	sort.SliceStable(order, func(a, b int) bool { return rest[order[a]] > rest[order[b]] })
	for _, i := range order {
		if left <= 0 {
			break
		}
		percents[i]++
		left--
	}
	return percents
}

// traffic is what each variant receives, from the live weights or, while they do
// not show yet, those of the configuration.
func traffic(now *sm.DescribeEndpointOutput, live *sm.DescribeEndpointConfigOutput) (percent, mirror map[string]int) {
	percent, mirror = map[string]int{}, map[string]int{}
	var names []string
	var weights []float32
	var sum float32
	for _, v := range now.ProductionVariants {
		w := weightOf(&v, live)
		names, weights, sum = append(names, aws.ToString(v.VariantName)), append(weights, w), sum+w
	}
	for i, p := range shares(weights) {
		percent[names[i]] = p
	}
	for _, v := range now.ShadowProductionVariants {
		if sum > 0 {
			mirror[aws.ToString(v.VariantName)] = int(math.Round(float64(weightOf(&v, live) / sum * 100)))
		}
	}
	return percent, mirror
}

func weightOf(v *types.ProductionVariantSummary, live *sm.DescribeEndpointConfigOutput) float32 {
	if v.DesiredWeight != nil {
		return *v.DesiredWeight
	}
	if c := liveVariant(live, aws.ToString(v.VariantName)); c != nil && c.InitialVariantWeight != nil {
		return *c.InitialVariantWeight
	}
	return 1
}

// scaling translates what autoscaling has of a variant; desired is its live
// target count, and base the bounds that its schedules may have rewritten.
func (g gauge) scaling(s variantScaling, desired int, base *[2]int) driver.Scaling {
	if s.target == nil {
		return driver.Scaling{Min: desired, Max: desired}
	}
	out := driver.Scaling{Min: int(aws.ToInt32(s.target.MinCapacity)), Max: int(aws.ToInt32(s.target.MaxCapacity))}
	for i := range s.policies {
		m, ok := g.metric(&s.policies[i])
		if !ok {
			continue
		}
		if len(out.Metrics) == 0 {
			c := s.policies[i].TargetTrackingScalingPolicyConfiguration
			out.ScaleInCooldown, out.ScaleOutCooldown = cooldownOf(c.ScaleInCooldown), cooldownOf(c.ScaleOutCooldown)
		}
		out.Metrics = append(out.Metrics, m)
	}
	sort.Slice(out.Metrics, func(i, j int) bool { return out.Metrics[i].Type < out.Metrics[j].Type })
	for i := range s.actions {
		if sch, ok := schedule(&s.actions[i]); ok {
			out.Schedules = append(out.Schedules, sch)
		}
	}
	sort.Slice(out.Schedules, func(i, j int) bool { return out.Schedules[i].Name < out.Schedules[j].Name })
	if base != nil && slices.ContainsFunc(out.Schedules, func(sch driver.Schedule) bool { return sch.Min == out.Min && sch.Max == out.Max }) {
		out.Min, out.Max = base[0], base[1] // a schedule is in effect; that is no drift
	}
	return out
}

func cooldownOf(s *int32) time.Duration { return time.Duration(aws.ToInt32(s)) * time.Second }

// registered picks one variant's part out of the account's.
func (a *accountScaling) of(id string) variantScaling {
	s := variantScaling{policies: a.policies[id], actions: a.actions[id]}
	if t, ok := a.targets[id]; ok {
		s.target = &t
	}
	return s
}

// invokePolicy is what callers must be granted, in the form of an identity
// policy. With invokers it works for those principals only, wherever it is put.
// The ARN is the one that the service gave, in lower case: one made of the
// endpoint's name would never match.
func invokePolicy(endpoint string, invokers []string) string {
	statement := map[string]any{
		"Effect":   "Allow",
		"Action":   []string{"sagemaker:InvokeEndpoint", "sagemaker:InvokeEndpointAsync", "sagemaker:InvokeEndpointWithResponseStream"},
		"Resource": []string{endpoint},
	}
	if len(invokers) > 0 {
		statement["Condition"] = map[string]any{"ArnEquals": map[string]any{"aws:PrincipalArn": invokers}}
	}
	text, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": []any{statement}})
	if err != nil {
		panic("a policy is plain data: " + err.Error())
	}
	return string(text)
}

// url is where requests are sent. In rehearsal it is the platform's address too:
// an emulator's own lives no longer than its process.
func (d *sagemaker) url(region, endpoint string, async bool) string {
	base := strings.TrimSuffix(d.cfg.EndpointURL, "/")
	if base == "" || d.cfg.Isolated {
		suffix := "amazonaws.com"
		if strings.HasPrefix(region, "cn-") {
			suffix = "amazonaws.com.cn"
		}
		base = "https://runtime.sagemaker." + region + "." + suffix
	}
	if async {
		return base + "/endpoints/" + endpoint + "/async-invocations"
	}
	return base + "/endpoints/" + endpoint + "/invocations"
}
