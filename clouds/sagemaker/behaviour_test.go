// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssagemaker "github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/drivertest"
)

// account is an emulated account as the provider uses it.
type account struct {
	*harness
	*clouds.Cloud
	calls *drivertest.Cutter
}

func newAccount(t *testing.T) *account {
	t.Helper()
	return accountOf(t, newHarness(t))
}

func accountOf(t *testing.T, h *harness) *account {
	t.Helper()
	c := &drivertest.Cutter{}
	return &account{h, clouds.New(h.Open(t, c), clouds.Options{Clock: h.Clock()}), c}
}

// again is the same account in a new process.
func (a *account) again(t *testing.T) *account {
	t.Helper()
	c := &drivertest.Cutter{}
	return &account{a.harness, clouds.New(a.Open(t, c), clouds.Options{Clock: a.Clock()}), c}
}

// changes are the calls so far that change something.
func (a *account) changes() []string {
	var all []string
	for _, call := range a.calls.Mutations() {
		if !strings.Contains(call, "/Describe") { // CloudWatch names its operations in the path
			all = append(all, call)
		}
	}
	return all
}

func (a *account) version(t *testing.T, name, content string) driver.VersionRef {
	t.Helper()
	state := a.model(t, &driver.ModelSpec{Key: driver.Key{Platform: driver.SageMaker, Location: region, Name: name},
		Artifact: a.artifact(t, content), Approval: driver.Approved, RetainVersions: 5})
	return driver.VersionRef{Key: state.Key, Version: state.Newest().Version}
}

func (a *account) artifact(t *testing.T, content string) driver.Artifact {
	t.Helper()
	uri, digest := a.Artifact(t, content)
	return driver.Artifact{URI: uri, Format: "onnx", Digest: digest}
}

func (a *account) model(t *testing.T, spec *driver.ModelSpec) *driver.ModelState {
	t.Helper()
	must(t, a.CheckModel(spec))
	state, err := a.ApplyModel(t.Context(), spec, clouds.How{Limit: time.Hour})
	must(t, err)
	return state
}

// apply applies an endpoint, and then proves that another process finds nothing
// to change, and that a refresh sees what a full read sees.
func (a *account) apply(t *testing.T, spec *driver.EndpointSpec) *driver.EndpointState {
	t.Helper()
	must(t, a.CheckEndpoint(spec))
	state, err := a.ApplyEndpoint(t.Context(), spec, clouds.How{Limit: time.Hour})
	must(t, err)
	if diff := cmp.Diff(spec.Settings, state.Settings); diff != "" {
		t.Fatalf("settings as applied: %s", diff)
	}
	for i := range spec.Deployments {
		want := spec.Deployments[i]
		want.Compute = driver.Compute{InstanceType: want.Compute.InstanceType} // what the portable numbers have chosen
		if diff := cmp.Diff(want, state.Deployments[i].Deployment); diff != "" {
			t.Fatalf("deployment as applied: %s", diff)
		}
	}
	other := a.again(t)
	must(t, other.CheckEndpoint(spec))
	_, err = other.ApplyEndpoint(t.Context(), spec, clouds.How{Limit: time.Hour})
	must(t, err)
	if made := other.changes(); len(made) > 0 {
		t.Fatalf("a second apply made the calls %v", made)
	}
	refreshed, err := a.again(t).ObserveEndpoint(t.Context(), spec.Key, state)
	must(t, err)
	if diff := cmp.Diff(state, refreshed); diff != "" {
		t.Fatalf("a refresh sees something else: %s", diff)
	}
	return state
}

func endpoint(name string, deployments ...driver.Deployment) *driver.EndpointSpec {
	return &driver.EndpointSpec{Key: driver.Key{Platform: driver.SageMaker, Location: region, Name: name}, Deployments: deployments}
}

func deployment(name string, ref driver.VersionRef) driver.Deployment {
	return driver.Deployment{Name: name, Model: ref, Traffic: 100, Compute: driver.Compute{InstanceType: "ml.m5.large"}, Scaling: driver.Scaling{Min: 1, Max: 1}}
}

func TestEverythingRoundTrips(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	one, two := a.version(t, "Fraud", "one"), a.version(t, "Fraud", "two")
	main, shadow := deployment("main", one), deployment("shadow", two)
	shadow.Traffic, shadow.Mirror, shadow.Env = 0, 20, map[string]string{"LOG_LEVEL": "debug"}
	main.Scaling = driver.Scaling{Min: 1, Max: 6, ScaleInCooldown: 5 * time.Minute, ScaleOutCooldown: time.Minute,
		Metrics: []driver.Metric{{Type: driver.MetricCPU, Target: 70}, {Type: driver.MetricRequests, Target: 200}, {Type: driver.MetricLatency, Target: 25},
			{Type: driver.MetricMemory, Target: 80}, {Type: driver.MetricConcurrency, Target: 4}},
		Schedules: []driver.Schedule{{Name: "night", Cron: "0 22 * * *", Timezone: "Europe/Berlin", Min: 1, Max: 2}, {Name: "day", Cron: "0 6 * * 1-5", Min: 2, Max: 6}}}
	spec := endpoint("Fraud-Live", main, shadow)
	spec.Labels = map[string]string{"team": "risk", "cost center": "42/a"}
	spec.Settings = driver.Settings{
		Network:    driver.Network{Access: "private", Subnets: []string{"subnet-b1b2c3d4", "subnet-a1b2c3d4"}, SecurityGroups: []string{"sg-a1b2c3d4"}},
		Auth:       driver.Auth{Invokers: []string{"arn:aws:iam::123456789012:role/caller", "arn:aws:iam::123456789012:role/app,x=y"}},
		Encryption: driver.Encryption{Key: "alias/ml"}, RequestTimeout: time.Minute,
		Capture:   &driver.Capture{Percent: 10, Destination: "s3://" + staging + "/capture", Include: []string{"request"}},
		SageMaker: &driver.SageMakerEndpoint{NetworkIsolation: true},
	}
	a.apply(t, spec)

	spec.Deployments[1].Mirror = 50
	spec.Settings.Auth.Invokers = spec.Settings.Auth.Invokers[:1]
	spec.Labels = map[string]string{"team": "fraud"}
	a.apply(t, spec)

	spec.Deployments = spec.Deployments[:1]
	spec.Deployments[0].Scaling.Metrics, spec.Deployments[0].Scaling.Schedules = spec.Deployments[0].Scaling.Metrics[:1], nil
	spec.Settings = driver.Settings{}
	a.apply(t, spec)

	must(t, a.DestroyEndpoint(t.Context(), spec.Key, clouds.How{Limit: time.Hour}))
	for _, left := range a.Objects(t) {
		if !strings.HasPrefix(left, "group ") && !strings.HasPrefix(left, "version ") {
			t.Errorf("%s is left over", left)
		}
	}
}

func TestRegistryRoundTrips(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	spec := &driver.ModelSpec{Key: driver.Key{Platform: driver.SageMaker, Location: region, Name: "Fraud"}, Artifact: a.artifact(t, "one"),
		Serving: driver.Serving{Env: map[string]string{"JSON": `{"a":[1,2]}`}}, Approval: driver.Pending, RetainVersions: 2,
		Description: strings.Repeat("Erkennt „Betrug“: 100%, seit 2026 ", 12), Labels: map[string]string{"team": "risk"}, Aliases: []string{"champion", "eu/live"},
		Metadata: map[string]string{"git": "a1b2", "query": "x=1&y=2", "empty": ""}, EncryptionKey: "alias/ml"}
	state := a.model(t, spec)
	if diff := cmp.Diff([]any{spec.Description, spec.Labels, spec.Aliases, spec.Metadata, spec.EncryptionKey, spec.Approval},
		[]any{state.Description, state.Labels, state.Newest().Aliases, state.Newest().Metadata, state.EncryptionKey, state.Newest().Approval}); diff != "" {
		t.Fatal(diff)
	}
	other := a.again(t)
	other.model(t, spec)
	if made := other.changes(); len(made) > 0 {
		t.Fatalf("a second apply made the calls %v", made)
	}
	refreshed, err := a.again(t).ObserveModel(t.Context(), spec.Key, state)
	must(t, err)
	if diff := cmp.Diff(state, refreshed); diff != "" {
		t.Fatalf("a refresh sees something else: %s", diff)
	}
	spec.Approval, spec.Description, spec.Aliases, spec.Metadata, spec.Labels = driver.Approved, "short", nil, map[string]string{"git": "c3"}, nil
	state = a.model(t, spec)
	if len(state.Versions) != 1 || state.Description != "short" || len(state.Newest().Aliases) != 0 || len(state.Newest().Metadata) != 1 || len(state.Labels) != 0 {
		t.Fatalf("not all was changed in place: %+v", state)
	}
	must(t, a.DestroyModel(t.Context(), spec.Key, time.Hour))
	a.model(t, spec) // under a token that the service may remember
}

func TestInstanceTypeChangeKeepsTheAutoscalersCount(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	d := deployment("main", a.version(t, "fraud", "one"))
	d.Scaling = driver.Scaling{Min: 1, Max: 6, Metrics: []driver.Metric{{Type: driver.MetricRequests, Target: 200}}}
	spec := endpoint("fraud", d)
	a.apply(t, spec)
	a.Drift(t, spec.Key, "main", drivertest.Drift{Replicas: 4})
	spec.Deployments[0].Compute.InstanceType = "ml.m5.xlarge"
	a.apply(t, spec)
	if got := a.Replicas(t, spec.Key, "main"); got != 4 {
		t.Errorf("%d replicas after the change: the 4 that the autoscaler had chosen were reset", got)
	}
}

func TestDamageIsMended(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	spec := endpoint("fraud", deployment("main", a.version(t, "fraud", "one")))
	state := a.apply(t, spec)
	_, err := a.sm.DeleteEndpointConfig(t.Context(), &awssagemaker.DeleteEndpointConfigInput{EndpointConfigName: &state.Memo})
	must(t, err)
	seen, err := a.ObserveEndpoint(t.Context(), spec.Key, nil)
	must(t, err)
	if !strings.Contains(seen.Repair, state.Memo) {
		t.Fatalf("that the configuration was deleted is not seen: %q", seen.Repair)
	}
	a.apply(t, spec)

	_, err = a.sm.DeleteEndpointConfig(t.Context(), &awssagemaker.DeleteEndpointConfigInput{EndpointConfigName: &state.Memo})
	must(t, err)
	spec.Deployments[0].Model = a.version(t, "fraud", "two")
	a.apply(t, spec)

	models, err := a.sm.ListModels(t.Context(), &awssagemaker.ListModelsInput{})
	must(t, err)
	for _, m := range models.Models {
		_, err := a.sm.DeleteModel(t.Context(), &awssagemaker.DeleteModelInput{ModelName: m.ModelName})
		must(t, err)
	}
	if seen, err = a.ObserveEndpoint(t.Context(), spec.Key, nil); err != nil || seen.Repair == "" {
		t.Fatalf("that the model was deleted is not seen: %+v, %v", seen, err)
	}
	a.apply(t, spec)
}

func TestServerless(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	d := deployment("main", a.version(t, "fraud", "one"))
	d.Compute = driver.Compute{}
	spec := endpoint("fraud", d)
	spec.Settings.SageMaker = &driver.SageMakerEndpoint{Serverless: &driver.Serverless{MemoryMB: 2048, MaxConcurrency: 5}}
	a.apply(t, spec)
	spec.Settings.SageMaker.Serverless.MaxConcurrency = 10
	a.apply(t, spec)
}

func TestAsynchronousScaleToZero(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	d := deployment("main", a.version(t, "fraud", "one"))
	d.Scaling = driver.Scaling{Min: 0, Max: 3, Metrics: []driver.Metric{{Type: driver.MetricConcurrency, Target: 5}}}
	spec := endpoint("fraud", d)
	spec.Settings.SageMaker = &driver.SageMakerEndpoint{Async: &driver.Async{OutputURI: "s3://" + staging + "/out", MaxConcurrencyPerInstance: 4}}
	a.apply(t, spec)
	spec.Deployments[0].Scaling = driver.Scaling{Min: 1, Max: 1}
	a.apply(t, spec)
}

func TestAcceleratorsGetTheirBuildAndDriver(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	d := deployment("main", a.version(t, "fraud", "one"))
	d.Compute = driver.Compute{Accelerator: &driver.Accelerator{Type: "nvidia-l4", Count: 1}}
	state := a.apply(t, endpoint("fraud", d))
	config, err := a.sm.DescribeEndpointConfig(t.Context(), &awssagemaker.DescribeEndpointConfigInput{EndpointConfigName: &state.Memo})
	must(t, err)
	v := config.ProductionVariants[0]
	model, err := a.sm.DescribeModel(t.Context(), &awssagemaker.DescribeModelInput{ModelName: v.ModelName})
	must(t, err)
	if build := aws.ToString(model.PrimaryContainer.InferenceSpecificationName); build != "gpu" || aws.ToInt32(v.ContainerStartupHealthCheckTimeoutInSeconds) < 600 {
		t.Errorf("build %q, variant %+v", build, v)
	}
}

func TestSweepLooksAgain(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	spec := endpoint("fraud", deployment("main", a.version(t, "fraud", "one")))
	state := a.apply(t, spec)
	config, err := a.sm.DescribeEndpointConfig(t.Context(), &awssagemaker.DescribeEndpointConfigInput{EndpointConfigName: &state.Memo})
	must(t, err)
	before := a.Objects(t)
	stale := []driver.Leftover{{Kind: "endpoint configuration", Name: state.Memo}, {Kind: "model", Name: aws.ToString(config.ProductionVariants[0].ModelName)},
		{Kind: "endpoint configuration", Name: "fraud-0123456789"}}
	must(t, a.Open(t, &drivertest.Cutter{}).Sweep(t.Context(), spec.Key, stale))
	if diff := cmp.Diff(before, a.Objects(t)); diff != "" {
		t.Errorf("what serves was swept: %s", diff)
	}
}
