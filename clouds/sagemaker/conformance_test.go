// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	autoscaling "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	autoscalingtypes "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	awssagemaker "github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
	"github.com/jonboulle/clockwork"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/drivertest"
	"github.com/mlplane/terraform-provider-ml/clouds/sagemaker"
	"github.com/mlplane/terraform-provider-ml/internal/emulator"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/s3"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

const (
	region  = "eu-west-1"
	role    = "arn:aws:iam::123456789012:role/ml-serving"
	staging = "ml-staging"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, func(t *testing.T) drivertest.Harness { return newHarness(t) })
}

// harness is an emulated account. Its time passes only when the core waits.
type harness struct {
	dir    string
	url    string
	clock  *drivertest.Clock
	speed  float64 // of the platform's time; 0 is that of rehearsals
	server *emulator.Server
	freeze sync.Once
	sm     *awssagemaker.Client
	aas    *autoscaling.Client
	watch  *cloudwatch.Client
	rt     *sagemakerruntime.Client

	load func() // called every tick of a sleep, if set
	cut  func() // called when a process has ended, if set
}

// tick is how finely time passes under load: half a minute of rehearsal.
const tick = 100 * time.Millisecond

// realTime is the speed at which the emulator takes as long as the platform.
const realTime = 1.0 / 300

func newHarness(t *testing.T) *harness {
	t.Helper()
	return newHarnessAt(t, 0)
}

func newHarnessAt(t *testing.T, speed float64) *harness {
	t.Helper()
	h := &harness{dir: t.TempDir(), clock: drivertest.NewClock(), speed: speed}
	h.open(t)
	if err := s3.EnsureBucket(filepath.Join(h.dir, "s3"), staging); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *harness) open(t *testing.T) {
	t.Helper()
	fake := clockwork.NewFakeClockAt(h.clock.Now())
	h.clock.OnSleep = func(d time.Duration) {
		step := tick
		if h.speed > 0 {
			step = time.Duration(float64(tick) / h.speed)
		}
		for ; d > 0 && h.load != nil; d -= step {
			fake.Advance(min(d, step))
			h.load()
		}
		fake.Advance(max(d, 0))
	}
	server, err := emulator.Start(emulator.Options{StateDir: h.dir, Clock: fake, Speed: h.speed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	h.server, h.url = server, server.Endpoints()["sagemaker"]
	cfg := aws.Config{Region: region, BaseEndpoint: aws.String(h.url), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDTEST", "test", "")}
	h.sm, h.aas = awssagemaker.NewFromConfig(cfg), autoscaling.NewFromConfig(cfg)
	h.watch, h.rt = cloudwatch.NewFromConfig(cfg), sagemakerruntime.NewFromConfig(cfg)
}

// Fork closes the account, so that all it holds is on disk, and copies that.
func (h *harness) Fork(t *testing.T) drivertest.Harness {
	t.Helper()
	h.freeze.Do(func() { _ = h.server.Close() })
	fork := &harness{dir: t.TempDir(), clock: drivertest.NewClock(), speed: h.speed}
	must(t, os.CopyFS(fork.dir, os.DirFS(h.dir)))
	fork.clock.Set(h.clock.Now())
	fork.open(t)
	return fork
}

func (h *harness) Open(t *testing.T, c *drivertest.Cutter) driver.Driver {
	t.Helper()
	c.Mutates = mutates
	d, err := sagemaker.Open(sagemaker.Config{Region: region, Isolated: true, AccessKey: "AKIDTEST", SecretKey: secret.New("test"),
		ExecutionRoleARN: role, StagingURI: "s3://" + staging + "/artifacts", EndpointURL: h.url,
		HTTPClient: &http.Client{Transport: cutting{c, h}}})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// cutting passes every request through a cutter.
type cutting struct {
	c *drivertest.Cutter
	h *harness
}

func (rt cutting) end() {
	if rt.h.cut != nil {
		rt.h.cut()
	}
}

func (rt cutting) RoundTrip(r *http.Request) (*http.Response, error) {
	call := callName(r)
	if err := rt.c.Before(call); err != nil {
		rt.end()
		return nil, err
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if cut := rt.c.AfterCall(call); cut != nil {
		rt.end()
		if err == nil {
			_ = resp.Body.Close()
		}
		return nil, cut
	}
	return resp, err
}

// callName is the operation of a JSON protocol, and method and path of the others.
func callName(r *http.Request) string {
	if _, operation, ok := strings.Cut(r.Header.Get("X-Amz-Target"), "."); ok {
		return operation
	}
	if strings.HasPrefix(r.URL.Path, "/service/") { // CloudWatch names its operations in the path
		return path.Base(r.URL.Path)
	}
	return r.Method + " " + r.URL.Path
}

func mutates(call string) bool {
	for _, reading := range []string{"Describe", "List", "BatchDescribe", "Get", "GET ", "HEAD "} {
		if strings.HasPrefix(call, reading) {
			return false
		}
	}
	return true
}

func (h *harness) Clock() *drivertest.Clock { return h.clock }
func (h *harness) Location() string         { return region }

// Artifact is a file on this machine, as most users have it.
func (h *harness) Artifact(t *testing.T, content string) (uri, digest string) {
	t.Helper()
	file := filepath.Join(h.dir, url.PathEscape(content)+".onnx")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(content))
	return file, hex.EncodeToString(sum[:])
}

func (h *harness) Endpoint(string) *driver.EndpointSpec {
	return &driver.EndpointSpec{Settings: driver.Settings{Network: driver.Network{Access: "public"}, Auth: driver.Auth{Mode: "iam"}}}
}

func (h *harness) Compute() (small, large driver.Compute) {
	return driver.Compute{CPU: 2, MemoryGiB: 4}, driver.Compute{CPU: 4, MemoryGiB: 16}
}

func (h *harness) Metric() driver.MetricType { return driver.MetricRequests }

func (h *harness) HandMade(t *testing.T, name string, ref driver.VersionRef) {
	t.Helper()
	ctx := t.Context()
	versions, err := h.sm.ListModelPackages(ctx, &awssagemaker.ListModelPackagesInput{ModelPackageGroupName: aws.String(ref.Key.Name)})
	must(t, err)
	var arn *string
	for _, v := range versions.ModelPackageSummaryList {
		if strings.HasSuffix(aws.ToString(v.ModelPackageArn), "/"+ref.Version) {
			arn = v.ModelPackageArn
		}
	}
	_, err = h.sm.CreateModel(ctx, &awssagemaker.CreateModelInput{ModelName: aws.String(name + "-by-hand"), ExecutionRoleArn: aws.String(role),
		PrimaryContainer: &types.ContainerDefinition{ModelPackageName: arn}})
	must(t, err)
	_, err = h.sm.CreateEndpointConfig(ctx, &awssagemaker.CreateEndpointConfigInput{EndpointConfigName: aws.String(name + "-config-by-hand"),
		ProductionVariants: []types.ProductionVariant{{VariantName: aws.String("AllTraffic"), ModelName: aws.String(name + "-by-hand"),
			InstanceType: types.ProductionVariantInstanceTypeMlM5Large, InitialInstanceCount: aws.Int32(1)}}})
	must(t, err)
	_, err = h.sm.CreateEndpoint(ctx, &awssagemaker.CreateEndpointInput{EndpointName: aws.String(name), EndpointConfigName: aws.String(name + "-config-by-hand")})
	must(t, err)
	must(t, h.clock.Sleep(ctx, time.Hour))
}

func (h *harness) FailNextDeploy(t *testing.T, reason string) {
	t.Helper()
	var faults []map[string]any
	for _, call := range []string{"sagemaker.CreateEndpoint", "sagemaker.UpdateEndpoint"} {
		faults = append(faults, map[string]any{"call": call, "occurrence": 1, "action": "fail_transition", "message": reason})
	}
	h.script(t, func(s *script) { s.Faults = faults })
}

// script is faults.json.
type script struct {
	Faults  []map[string]any `json:"faults,omitempty"`
	Conduct []fault.Conduct  `json:"conduct,omitempty"`
}

func (h *harness) script(t *testing.T, change func(*script)) {
	t.Helper()
	var s script
	name := filepath.Join(h.dir, "faults.json")
	if data, err := os.ReadFile(name); err == nil {
		must(t, json.Unmarshal(data, &s))
	}
	change(&s)
	data, err := json.Marshal(s)
	must(t, err)
	must(t, os.WriteFile(name, data, 0o600))
}

func (h *harness) Drift(t *testing.T, key driver.Key, deployment string, d drivertest.Drift) {
	t.Helper()
	change := types.DesiredWeightAndCapacity{VariantName: aws.String(deployment)}
	if d.Traffic > 0 {
		change.DesiredWeight = aws.Float32(float32(d.Traffic))
	}
	if d.Replicas > 0 {
		change.DesiredInstanceCount = aws.Int32(int32(d.Replicas))
	}
	_, err := h.sm.UpdateEndpointWeightsAndCapacities(t.Context(), &awssagemaker.UpdateEndpointWeightsAndCapacitiesInput{
		EndpointName: aws.String(key.Name), DesiredWeightsAndCapacities: []types.DesiredWeightAndCapacity{change}})
	must(t, err)
	must(t, h.clock.Sleep(t.Context(), time.Hour))
}

// Damage deletes the configuration that serves.
func (h *harness) Damage(t *testing.T, key driver.Key, _ string) {
	t.Helper()
	e, err := h.sm.DescribeEndpoint(t.Context(), &awssagemaker.DescribeEndpointInput{EndpointName: aws.String(key.Name)})
	must(t, err)
	_, err = h.sm.DeleteEndpointConfig(t.Context(), &awssagemaker.DeleteEndpointConfigInput{EndpointConfigName: e.EndpointConfigName})
	must(t, err)
}

func (h *harness) Replicas(t *testing.T, key driver.Key, deployment string) int {
	t.Helper()
	e, err := h.sm.DescribeEndpoint(t.Context(), &awssagemaker.DescribeEndpointInput{EndpointName: aws.String(key.Name)})
	must(t, err)
	for _, v := range e.ProductionVariants {
		if aws.ToString(v.VariantName) == deployment {
			return int(aws.ToInt32(v.DesiredInstanceCount))
		}
	}
	return 0
}

// Objects lists everything in the account but staged artifacts, which are
// content-addressed, shared, and stay.
func (h *harness) Objects(t *testing.T) []string {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	var all []string
	endpoints, err := h.sm.ListEndpoints(ctx, &awssagemaker.ListEndpointsInput{MaxResults: aws.Int32(100)})
	must(t, err)
	for _, e := range endpoints.Endpoints {
		all = append(all, "endpoint "+aws.ToString(e.EndpointName))
	}
	configs, err := h.sm.ListEndpointConfigs(ctx, &awssagemaker.ListEndpointConfigsInput{MaxResults: aws.Int32(100)})
	must(t, err)
	for _, c := range configs.EndpointConfigs {
		all = append(all, "endpoint configuration "+aws.ToString(c.EndpointConfigName))
	}
	models, err := h.sm.ListModels(ctx, &awssagemaker.ListModelsInput{MaxResults: aws.Int32(100)})
	must(t, err)
	for _, m := range models.Models {
		all = append(all, "model "+aws.ToString(m.ModelName))
	}
	packages, err := h.sm.ListModelPackages(ctx, &awssagemaker.ListModelPackagesInput{MaxResults: aws.Int32(100), ModelPackageType: types.ModelPackageTypeVersioned})
	must(t, err)
	for _, p := range packages.ModelPackageSummaryList {
		all = append(all, "version "+aws.ToString(p.ModelPackageArn))
	}
	groups, err := h.sm.ListModelPackageGroups(ctx, &awssagemaker.ListModelPackageGroupsInput{MaxResults: aws.Int32(100)})
	must(t, err)
	for _, g := range groups.ModelPackageGroupSummaryList {
		all = append(all, "group "+aws.ToString(g.ModelPackageGroupName))
	}
	all = append(all, h.scaling(t, ctx)...)
	alarms, err := h.watch.DescribeAlarms(ctx, &cloudwatch.DescribeAlarmsInput{MaxRecords: aws.Int32(100)})
	must(t, err)
	for _, a := range alarms.MetricAlarms {
		if aws.ToString(a.Namespace) != pagerNamespace {
			all = append(all, "alarm "+aws.ToString(a.AlarmName))
		}
	}
	sort.Strings(all)
	return all
}

func (h *harness) scaling(t *testing.T, ctx context.Context) []string {
	t.Helper()
	var all []string
	namespace := autoscalingtypes.ServiceNamespaceSagemaker
	targets, err := h.aas.DescribeScalableTargets(ctx, &autoscaling.DescribeScalableTargetsInput{ServiceNamespace: namespace})
	must(t, err)
	for _, s := range targets.ScalableTargets {
		all = append(all, "scalable target "+aws.ToString(s.ResourceId))
	}
	policies, err := h.aas.DescribeScalingPolicies(ctx, &autoscaling.DescribeScalingPoliciesInput{ServiceNamespace: namespace})
	must(t, err)
	for _, p := range policies.ScalingPolicies {
		all = append(all, "scaling policy "+aws.ToString(p.PolicyName))
	}
	actions, err := h.aas.DescribeScheduledActions(ctx, &autoscaling.DescribeScheduledActionsInput{ServiceNamespace: namespace})
	must(t, err)
	for _, a := range actions.ScheduledActions {
		all = append(all, "scheduled action "+aws.ToString(a.ScheduledActionName))
	}
	return all
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
