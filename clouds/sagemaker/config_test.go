// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	aastypes "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	sm "github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

const testRole = "arn:aws:iam::123456789012:role/serving"

func testDriver(t *testing.T) *sagemaker {
	t.Helper()
	d, err := Open(Config{Region: "eu-west-1", ExecutionRoleARN: testRole, StagingURI: "s3://bucket/stage"})
	if err != nil {
		t.Fatal(err)
	}
	return d.(*sagemaker)
}

// testEndpoint is an endpoint of one deployment, after change has had its way.
func testEndpoint(change func(*driver.EndpointSpec)) *driver.EndpointSpec {
	spec := &driver.EndpointSpec{
		Key: driver.Key{Platform: driver.SageMaker, Location: "eu-west-1", Name: "fraud"},
		Deployments: []driver.Deployment{{Name: "main", Traffic: 100, Scaling: driver.Scaling{Min: 2, Max: 2},
			Model:   driver.VersionRef{Key: driver.Key{Platform: driver.SageMaker, Location: "eu-west-1", Name: "fraud"}, Version: "3"},
			Compute: driver.Compute{InstanceType: "ml.m5.large"}}},
	}
	if change != nil {
		change(spec)
	}
	return spec
}

func TestPrepareEndpointRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reason, path string
		change       func(*driver.EndpointSpec)
	}{
		{"nothing is wrong", "", nil},
		{"a type that does not exist", "deployments.main.compute.instance_type", func(s *driver.EndpointSpec) { s.Deployments[0].Compute.InstanceType = "ml.g5.xlrage" }},
		{"a key and local NVMe", "encryption.key", func(s *driver.EndpointSpec) {
			s.Settings.Encryption.Key, s.Deployments[0].Compute.InstanceType = "alias/x", "ml.g5.xlarge"
		}},
		{"a canary of one instance", "deployments.main.scaling.min", func(s *driver.EndpointSpec) {
			s.Rollout.Strategy, s.Deployments[0].Scaling = driver.Canary, driver.Scaling{Min: 1, Max: 1}
		}},
		{"a canary of most", "rollout.steps", func(s *driver.EndpointSpec) { s.Rollout = driver.Rollout{Strategy: driver.Canary, Steps: []int{60}} }},
		{"small linear steps", "rollout.steps", func(s *driver.EndpointSpec) { s.Rollout = driver.Rollout{Strategy: driver.Linear, Steps: []int{5}} }},
		{"a canary of two steps", "rollout.steps", func(s *driver.EndpointSpec) {
			s.Rollout = driver.Rollout{Strategy: driver.Canary, Steps: []int{5, 25}}
		}},
		{"checks of a serverless endpoint", "rollout.checks.max_latency_ms", func(s *driver.EndpointSpec) {
			s.Settings.SageMaker = &driver.SageMakerEndpoint{Serverless: &driver.Serverless{MemoryMB: 1024, MaxConcurrency: 1}}
			s.Deployments[0].Compute, s.Deployments[0].Scaling = driver.Compute{}, driver.Scaling{}
			s.Rollout.Checks.MaxLatencyMS = 100
		}},
		{"more than a percentage", "rollout.checks.max_error_rate", func(s *driver.EndpointSpec) { s.Rollout.Checks.MaxErrorRate = 101 }},
		{"as many alarms as SageMaker takes", "", func(s *driver.EndpointSpec) {
			s.Rollout.Checks = driver.Checks{MaxErrorRate: 1, MaxLatencyMS: 1, Alarms: strings.Fields("a b c d e f g h")}
		}},
		{"eleven alarms", "rollout.checks.alarms", func(s *driver.EndpointSpec) {
			s.Rollout.Checks = driver.Checks{MaxErrorRate: 1, MaxLatencyMS: 1, Alarms: strings.Fields("a b c d e f g h i")}
		}},
		{"twelve alarms of our own", "rollout.checks", func(s *driver.EndpointSpec) {
			s.Rollout.Checks = driver.Checks{MaxErrorRate: 1, MaxLatencyMS: 1}
			for name := range strings.FieldsSeq("b c d e f") {
				d := s.Deployments[0]
				d.Name = name
				s.Deployments = append(s.Deployments, d)
			}
		}},
		{"alarms where SageMaker watches none", "deployments.main.compute.instance_type", func(s *driver.EndpointSpec) {
			s.Deployments[0].Compute.InstanceType, s.Rollout.Checks.MaxErrorRate = "ml.inf1.xlarge", 5
		}},
		{"a name with room for the smoke test's", "", func(s *driver.EndpointSpec) {
			s.Key.Name, s.SmokeTest = strings.Repeat("a", 57), &driver.SmokeTest{}
		}},
		{"a name without room for the smoke test's", "name", func(s *driver.EndpointSpec) {
			s.Key.Name, s.SmokeTest = strings.Repeat("a", 58), &driver.SmokeTest{}
		}},
		{"a long interval", "rollout.interval", func(s *driver.EndpointSpec) { s.Rollout.Interval = 2 * time.Hour }},
		{"zero real-time replicas", "deployments.main.scaling.min", func(s *driver.EndpointSpec) {
			s.Deployments[0].Scaling = driver.Scaling{Max: 2, Metrics: []driver.Metric{{Type: driver.MetricCPU, Target: 50}}}
		}},
		{"autoscaling of a burstable type", "deployments.main.scaling", func(s *driver.EndpointSpec) {
			s.Deployments[0].Compute.InstanceType = "ml.t2.medium"
			s.Deployments[0].Scaling = driver.Scaling{Min: 1, Max: 2, Metrics: []driver.Metric{{Type: driver.MetricCPU, Target: 50}}}
		}},
		{"both kinds of days", "deployments.main.scaling.schedules", func(s *driver.EndpointSpec) {
			s.Deployments[0].Scaling = driver.Scaling{Min: 1, Max: 2, Schedules: []driver.Schedule{{Name: "a", Cron: "0 0 13 * 5", Min: 1, Max: 1}}}
		}},
		{"private without subnets", "network.subnets", func(s *driver.EndpointSpec) {
			s.Settings.Network = driver.Network{Access: "private", SecurityGroups: []string{"sg-1"}}
		}},
		{"another timeout than the fixed one", "request_timeout", func(s *driver.EndpointSpec) { s.Settings.RequestTimeout = time.Minute * 2 }},
		{"two deployments beside a mirror", "deployments", func(s *driver.EndpointSpec) {
			other, shadow := s.Deployments[0], s.Deployments[0]
			other.Name, shadow.Name, shadow.Traffic, shadow.Mirror = "other", "shadow", 0, 10
			s.Deployments = append(s.Deployments, other, shadow)
		}},
		{"an environment over a model made by hand", "deployments.main.env", func(s *driver.EndpointSpec) {
			s.Deployments[0].Model = driver.VersionRef{Native: "arn:aws:sagemaker:eu-west-1:123456789012:model/x"}
			s.Deployments[0].Env = map[string]string{"A": "b"}
		}},
		{"serverless and a VPC", "network.access", func(s *driver.EndpointSpec) {
			s.Settings.SageMaker = &driver.SageMakerEndpoint{Serverless: &driver.Serverless{MemoryMB: 2048, MaxConcurrency: 5}}
			s.Settings.Network = driver.Network{Access: "private", Subnets: []string{"subnet-1"}, SecurityGroups: []string{"sg-1"}}
			s.Deployments[0].Compute, s.Deployments[0].Scaling = driver.Compute{}, driver.Scaling{Min: 1, Max: 1}
		}},
		{"serverless and an instance type", "deployments.main.compute", func(s *driver.EndpointSpec) {
			s.Settings.SageMaker = &driver.SageMakerEndpoint{Serverless: &driver.Serverless{MemoryMB: 2048, MaxConcurrency: 5}}
			s.Deployments[0].Scaling = driver.Scaling{Min: 1, Max: 1}
		}},
		{"a reserved label", "labels.ml:x", func(s *driver.EndpointSpec) { s.Labels = map[string]string{"ml:x": "y"} }},
		{"an underscore in a name", "name", func(s *driver.EndpointSpec) { s.Key.Name = "my_fraud" }},
		{"what is unknown is not judged", "", func(s *driver.EndpointSpec) {
			s.Settings.Network = driver.Network{Access: "private", SecurityGroups: []string{"sg-1"}}
			s.Deployments[0].Compute = driver.Compute{}
			s.Unknown = driver.Unknown{"network.subnets": true, "deployments.main.compute.instance_type": true}
		}},
	} {
		err := testDriver(t).PrepareEndpoint(testEndpoint(c.change))
		if c.path == "" {
			if err != nil {
				t.Errorf("%s: %v", c.reason, err)
			}
			continue
		}
		all := mlerr.Split(err)
		if !slices.ContainsFunc(all, func(e error) bool {
			return mlerr.PathOf(e) == c.path && mlerr.Is(e, mlerr.InvalidArgument, mlerr.Unsupported) && mlerr.Hint(e) != ""
		}) {
			t.Errorf("%s: nothing with a hint about %s in %v", c.reason, c.path, err)
		}
	}
}

// offline is a region that has learned all it needs.
func offline() *region {
	r := &region{name: "eu-west-1"}
	r.learnGroup("fraud", "arn:aws:sagemaker:eu-west-1:123456789012:model-package/fraud")
	return r
}

func mustBlueprint(t *testing.T, spec *driver.EndpointSpec, live *sm.DescribeEndpointConfigOutput, initial counts) *blueprint {
	t.Helper()
	if err := testDriver(t).PrepareEndpoint(spec); err != nil {
		t.Fatal(err)
	}
	b, err := offline().blueprint(t.Context(), spec, live, initial, "")
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestNamesStandForContent(t *testing.T) {
	t.Parallel()
	name := func(change func(*driver.EndpointSpec)) string {
		return *mustBlueprint(t, testEndpoint(change), nil, nil).config.EndpointConfigName
	}
	plain := name(nil)
	if !strings.HasPrefix(plain, "fraud-") || name(nil) != plain {
		t.Errorf("the same content must have the same name: %s, %s", plain, name(nil))
	}
	if name(func(s *driver.EndpointSpec) { s.Labels = map[string]string{"team": "risk"} }) != plain {
		t.Error("labels are no content")
	}
	for reason, change := range map[string]func(*driver.EndpointSpec){
		"the version":     func(s *driver.EndpointSpec) { s.Deployments[0].Model.Version = "4" },
		"the environment": func(s *driver.EndpointSpec) { s.Deployments[0].Env = map[string]string{"A": "1"} },
		"the type":        func(s *driver.EndpointSpec) { s.Deployments[0].Compute.InstanceType = "ml.m5.xlarge" },
		"the role": func(s *driver.EndpointSpec) {
			s.Settings.SageMaker = &driver.SageMakerEndpoint{ExecutionRoleARN: testRole + "2"}
		},
		"the key": func(s *driver.EndpointSpec) { s.Settings.Encryption.Key = "alias/x" },
	} {
		if name(change) == plain {
			t.Errorf("%s is content", reason)
		}
	}
	long := testEndpoint(func(s *driver.EndpointSpec) { s.Key.Name = strings.Repeat("a", 60) })
	b := mustBlueprint(t, long, nil, nil)
	configs, models := computedNames(long.Key.Name)
	if !configs.match(*b.config.EndpointConfigName) || !models.match(*b.models["main"].ModelName) || len(*b.models["main"].ModelName) > maxName {
		t.Errorf("%s and %s would not be found again", *b.config.EndpointConfigName, *b.models["main"].ModelName)
	}
}

func TestConfigurationRoundTrip(t *testing.T) {
	t.Parallel()
	spec := testEndpoint(func(s *driver.EndpointSpec) {
		shadow := s.Deployments[0]
		shadow.Name, shadow.Traffic, shadow.Mirror, shadow.Env = "shadow", 0, 25, map[string]string{"A": "1"}
		s.Deployments = append(s.Deployments, shadow)
		s.Settings.Network = driver.Network{Access: "private", Subnets: []string{"subnet-2", "subnet-1"}, SecurityGroups: []string{"sg-1"}}
		s.Settings.Auth.Invokers = []string{"arn:aws:iam::123456789012:role/caller"}
		s.Settings.Capture = &driver.Capture{Percent: 10, Destination: "s3://bucket/capture"}
		s.Settings.Encryption.Key = "alias/x"
		s.Settings.RequestTimeout = time.Minute
		s.Settings.SageMaker = &driver.SageMakerEndpoint{NetworkIsolation: true}
		s.Labels = map[string]string{"team": "risk"}
	})
	b := mustBlueprint(t, spec, nil, nil)
	config := &sm.DescribeEndpointConfigOutput{ProductionVariants: b.config.ProductionVariants, ShadowProductionVariants: b.config.ShadowProductionVariants,
		DataCaptureConfig: b.config.DataCaptureConfig, KmsKeyId: b.config.KmsKeyId, AsyncInferenceConfig: b.config.AsyncInferenceConfig}
	read := &reading{config: config, models: map[string]*sm.DescribeModelOutput{}, tags: endpointTags(spec, false),
		now: &sm.DescribeEndpointOutput{EndpointName: aws.String("fraud"), EndpointArn: aws.String("arn:x"), EndpointStatus: types.EndpointStatusInService,
			EndpointConfigName: b.config.EndpointConfigName, ProductionVariants: planned(config.ProductionVariants), ShadowProductionVariants: planned(config.ShadowProductionVariants)}}
	for _, m := range b.models {
		read.models[*m.ModelName] = &sm.DescribeModelOutput{ModelName: m.ModelName, ModelArn: aws.String("arn:aws:sagemaker:eu-west-1:123456789012:model/x"), PrimaryContainer: m.PrimaryContainer,
			VpcConfig: m.VpcConfig, ExecutionRoleArn: m.ExecutionRoleArn, EnableNetworkIsolation: m.EnableNetworkIsolation}
	}
	state := testDriver(t).state(offline(), spec.Key, read)
	if diff := cmp.Diff(spec.Settings, state.Settings); diff != "" {
		t.Errorf("settings: %s", diff)
	}
	for i := range spec.Deployments {
		if diff := cmp.Diff(spec.Deployments[i], state.Deployments[i].Deployment); diff != "" {
			t.Errorf("deployment: %s", diff)
		}
	}
	if diff := cmp.Diff(spec.Labels, state.Labels); diff != "" || !state.Marks.Owned || state.Marks.Incomplete || state.Repair != "" {
		t.Errorf("labels %s, marks %+v, repair %q", diff, state.Marks, state.Repair)
	}
	if !strings.Contains(state.InvokePolicy, "role/caller") {
		t.Errorf("the policy %s forgets the invokers", state.InvokePolicy)
	}
}

func TestUnmanagedSettingsAreCarriedOver(t *testing.T) {
	t.Parallel()
	live := &sm.DescribeEndpointConfigOutput{
		ExplainerConfig: &types.ExplainerConfig{},
		ProductionVariants: []types.ProductionVariant{{VariantName: aws.String("main"), InstanceType: "ml.m5.large", VolumeSizeInGB: aws.Int32(50),
			EnableSSMAccess: aws.Bool(true), ContainerStartupHealthCheckTimeoutInSeconds: aws.Int32(900)}},
	}
	kept := mustBlueprint(t, testEndpoint(nil), live, nil)
	v := kept.config.ProductionVariants[0]
	if kept.config.ExplainerConfig == nil || aws.ToInt32(v.VolumeSizeInGB) != 50 || !aws.ToBool(v.EnableSSMAccess) || aws.ToInt32(v.ContainerStartupHealthCheckTimeoutInSeconds) != 900 {
		t.Errorf("dropped what no attribute manages: %+v", v)
	}
	moved := mustBlueprint(t, testEndpoint(func(s *driver.EndpointSpec) { s.Deployments[0].Compute.InstanceType = "ml.m5d.large" }), live, nil)
	if moved.config.ProductionVariants[0].VolumeSizeInGB != nil {
		t.Error("a volume size belongs to the kind of machine, and NVMe types refuse one")
	}
	pooled := &sm.DescribeEndpointConfigOutput{ProductionVariants: []types.ProductionVariant{{VariantName: aws.String("main"), InstancePools: []types.InstancePool{
		{InstanceType: "ml.m5.xlarge", Priority: aws.Int32(2)}, {InstanceType: "ml.m5.large", Priority: aws.Int32(1)}}}}}
	if v = mustBlueprint(t, testEndpoint(nil), pooled, nil).config.ProductionVariants[0]; len(v.InstancePools) != 2 || v.InstanceType != "" {
		t.Errorf("the pools whose first choice is wanted are gone: %+v", v)
	}
	other := testEndpoint(func(s *driver.EndpointSpec) { s.Deployments[0].Compute.InstanceType = "ml.c5.large" })
	if v = mustBlueprint(t, other, pooled, nil).config.ProductionVariants[0]; len(v.InstancePools) != 0 || v.InstanceType != "ml.c5.large" {
		t.Errorf("another type is wanted than the pools': %+v", v)
	}
}

func TestCaptureKeepsItsKey(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ reason, endpoint, capture, wanted, want string }{
		{"its own", "alias/a", "alias/c", "alias/a", "alias/c"},
		{"none, although the endpoint has one", "alias/a", "", "alias/a", ""},
		{"its own, although the endpoint has none", "", "alias/c", "", "alias/c"},
		{"a new key is for both", "alias/a", "alias/a", "alias/b", "alias/b"},
		{"without a key there is none", "alias/a", "alias/a", "", ""},
	} {
		live := &sm.DescribeEndpointConfigOutput{KmsKeyId: optional(c.endpoint), DataCaptureConfig: &types.DataCaptureConfig{
			DestinationS3Uri: aws.String("s3://bucket/capture"), KmsKeyId: optional(c.capture)}}
		b := mustBlueprint(t, testEndpoint(func(s *driver.EndpointSpec) {
			s.Settings.Encryption.Key, s.Settings.Capture = c.wanted, &driver.Capture{Percent: 1, Destination: "s3://bucket/capture"}
		}), live, nil)
		if got := aws.ToString(b.config.DataCaptureConfig.KmsKeyId); got != c.want {
			t.Errorf("%s: %q, want %q", c.reason, got, c.want)
		}
	}
}

// TestModelsThatAVersionIDDescribes: anything else would be lost when the endpoint
// is deployed anew.
func TestModelsThatAVersionIDDescribes(t *testing.T) {
	t.Parallel()
	const own, others = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/fraud/3", "arn:aws:sagemaker:eu-west-1:999999999999:model-package/fraud/3"
	for _, c := range []struct {
		reason  string
		version string
		change  func(*sm.DescribeModelOutput)
	}{
		{"a version", "3", func(*sm.DescribeModelOutput) {}},
		{"alone in a list", "3", func(m *sm.DescribeModelOutput) {
			m.Containers, m.PrimaryContainer = []types.ContainerDefinition{*m.PrimaryContainer}, nil
		}},
		{"one of its builds", "3", func(m *sm.DescribeModelOutput) { m.PrimaryContainer.InferenceSpecificationName = aws.String("gpu") }},
		{"another account's registry", "", func(m *sm.DescribeModelOutput) { m.PrimaryContainer.ModelPackageName = aws.String(others) }},
		{"a package without a version", "", func(m *sm.DescribeModelOutput) {
			m.PrimaryContainer.ModelPackageName = aws.String("arn:aws:sagemaker:eu-west-1:123456789012:model-package/alone")
		}},
		{"an image of its own", "", func(m *sm.DescribeModelOutput) {
			m.PrimaryContainer = &types.ContainerDefinition{Image: aws.String("x:1")}
		}},
		{"a private registry", "", func(m *sm.DescribeModelOutput) {
			m.PrimaryContainer.ImageConfig = &types.ImageConfig{RepositoryAccessMode: types.RepositoryAccessModeVpc}
		}},
		{"two containers", "", func(m *sm.DescribeModelOutput) {
			m.Containers, m.PrimaryContainer = []types.ContainerDefinition{*m.PrimaryContainer, *m.PrimaryContainer}, nil
		}},
		{"another role than the endpoint shows", "", func(m *sm.DescribeModelOutput) { m.ExecutionRoleArn = aws.String(testRole + "2") }},
	} {
		m := &sm.DescribeModelOutput{ModelArn: aws.String("arn:aws:sagemaker:eu-west-1:123456789012:model/x"), ExecutionRoleArn: aws.String(testRole),
			PrimaryContainer: &types.ContainerDefinition{ModelPackageName: aws.String(own), Environment: map[string]string{"A": "1"}}}
		c.change(m)
		ref, env := offline().served(testEndpoint(nil).Key, m, modelSettings{role: testRole})
		if ref.Version != c.version || (ref.Native == "") != (c.version != "") || (len(env) > 0) != (c.version != "") {
			t.Errorf("%s: %+v, %v", c.reason, ref, env)
		}
	}
}

func TestTransition(t *testing.T) {
	t.Parallel()
	auto := driver.Scaling{Min: 1, Max: 6, Metrics: []driver.Metric{{Type: driver.MetricRequests, Target: 100}}}
	now := &sm.DescribeEndpointOutput{EndpointStatus: types.EndpointStatusInService, ProductionVariants: []types.ProductionVariantSummary{
		{VariantName: aws.String("main"), CurrentInstanceCount: aws.Int32(4), DesiredInstanceCount: aws.Int32(4)},
		{VariantName: aws.String("old"), CurrentInstanceCount: aws.Int32(1)}}}
	live := &sm.DescribeEndpointConfigOutput{ProductionVariants: []types.ProductionVariant{
		{VariantName: aws.String("main"), InstanceType: "ml.m5.large"}, {VariantName: aws.String("old"), InstanceType: "ml.m5.large"}}}
	for _, c := range []struct {
		reason   string
		change   func(*driver.EndpointSpec)
		retain   bool
		count    int
		released []string
	}{
		{"fixed counts are those of the configuration", nil, false, 0, []string{"old"}},
		{"an autoscaler's count is kept by the service", func(s *driver.EndpointSpec) { s.Deployments[0].Scaling = auto }, true, 0, []string{"old"}},
		{"over a change of type by the new configuration", func(s *driver.EndpointSpec) {
			s.Deployments[0].Scaling, s.Deployments[0].Compute.InstanceType = auto, "ml.m5.xlarge"
		}, false, 4, []string{"main", "old"}},
		{"within the bounds", func(s *driver.EndpointSpec) {
			s.Deployments[0].Scaling, s.Deployments[0].Compute.InstanceType = auto, "ml.m5.xlarge"
			s.Deployments[0].Scaling.Max = 3
		}, false, 3, []string{"main", "old"}},
	} {
		spec := testEndpoint(c.change)
		if err := testDriver(t).PrepareEndpoint(spec); err != nil {
			t.Fatal(err)
		}
		got := transitionTo(spec, now, live)
		if got.retain != c.retain || got.counts["main"] != c.count || !slices.Equal(got.released, c.released) {
			t.Errorf("%s: %+v", c.reason, got)
		}
	}
}

func TestMetricsRoundTrip(t *testing.T) {
	t.Parallel()
	g := gauge{"fraud", "main", "ml.g5.12xlarge", false}
	want := driver.Scaling{ScaleInCooldown: time.Minute}
	for _, m := range driver.MetricTypes() {
		for _, target := range []float64{70, 33.3} {
			c := g.tracking(driver.Metric{Type: m, Target: target}, &want)
			got, ok := g.metric(&aastypes.ScalingPolicy{TargetTrackingScalingPolicyConfiguration: c})
			if !ok || got.Type != m || got.Target != target {
				t.Errorf("%s %v came back as %+v, %v", m, target, got, ok)
			}
		}
	}
	cpu := g.tracking(driver.Metric{Type: driver.MetricCPU, Target: 50}, &want)
	if *cpu.TargetValue != 50*48 {
		t.Errorf("CPUUtilization is a sum over the 48 vCPU of the type: %v", *cpu.TargetValue)
	}
	latency := g.tracking(driver.Metric{Type: driver.MetricLatency, Target: 20}, &want)
	if *latency.TargetValue != 20000 {
		t.Errorf("ModelLatency is in microseconds: %v", *latency.TargetValue)
	}
}

func TestShares(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reason  string
		weights []float32
		want    []int
	}{
		{"percents stay", []float32{90, 10}, []int{90, 10}},
		{"a single variant has everything", []float32{0.1}, []int{100}},
		{"thirds add up to a hundred", []float32{1, 1, 1}, []int{34, 33, 33}},
		{"32-bit floats", []float32{0.1, 0.9}, []int{10, 90}},
		{"nothing has traffic", []float32{0, 0}, []int{0, 0}},
	} {
		if got := shares(c.weights); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v", c.reason, got)
		}
	}
}

func TestSchedulesInEffectAreNoDrift(t *testing.T) {
	t.Parallel()
	g := gauge{"fraud", "main", "ml.m5.large", false}
	s := variantScaling{
		target: &aastypes.ScalableTarget{MinCapacity: aws.Int32(4), MaxCapacity: aws.Int32(8)},
		actions: []aastypes.ScheduledAction{{ScheduledActionName: aws.String("day"), Schedule: aws.String("cron(0 8 * * ? *)"),
			ScalableTargetAction: &aastypes.ScalableTargetAction{MinCapacity: aws.Int32(4), MaxCapacity: aws.Int32(8)}}},
	}
	if got := g.scaling(s, 5, &[2]int{1, 3}); got.Min != 1 || got.Max != 3 || len(got.Schedules) != 1 || got.Schedules[0].Timezone != "UTC" {
		t.Errorf("the schedule's bounds show as ours: %+v", got)
	}
	s.target.MinCapacity = aws.Int32(2)
	if got := g.scaling(s, 5, &[2]int{1, 3}); got.Min != 2 {
		t.Errorf("bounds that no schedule has set are drift: %+v", got)
	}
}

func TestVersionRoundTrip(t *testing.T) {
	t.Parallel()
	spec := &driver.ModelSpec{
		Key:      driver.Key{Platform: driver.SageMaker, Location: "eu-west-1", Name: "fraud"},
		Artifact: driver.Artifact{URI: "models/fraud.onnx", Format: "onnx", Digest: strings.Repeat("ab", 32)},
		Serving:  driver.Serving{Runtime: "triton", Env: map[string]string{"LOG": `{"level":"info"}`}},
		Approval: driver.Approved, Metadata: map[string]string{"git": "abc=1", "note": "", "run, id": "x\ny"}, RetainVersions: 1,
	}
	if err := testDriver(t).PrepareModel(spec); err != nil {
		t.Fatal(err)
	}
	v := versionOf(&sm.DescribeModelPackageOutput{ModelPackageVersion: aws.Int32(7), ModelPackageStatus: types.ModelPackageStatusCompleted,
		ModelApprovalStatus: approvalStatus(spec.Approval), CustomerMetadataProperties: properties(spec),
		ModelPackageDescription: aws.String(identity(spec.VersionHash(), spec.Artifact.Digest))})
	if !v.Is(spec) || !v.Owned || v.Version != "7" || v.Phase != driver.Ready || v.Artifact.Format != "onnx" || v.Description != "" {
		t.Errorf("read back as %+v", v)
	}
	if diff := cmp.Diff(spec.Metadata, v.Metadata) + cmp.Diff(spec.Serving, v.Serving); diff != "" {
		t.Error(diff)
	}
	for _, value := range properties(spec) {
		if value == "" || !allInCharset(value) {
			t.Errorf("%q is not a metadata value", value)
		}
	}
}
