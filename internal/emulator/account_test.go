// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	autoscaling "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/jonboulle/clockwork"

	"github.com/mlplane/terraform-provider-ml/internal/emulator"
)

const (
	region = "eu-west-1"
	prefix = "arn:aws:sagemaker:eu-west-1:123456789012:"
	role   = "arn:aws:iam::123456789012:role/serving"
	image  = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/serving:1"
)

// account is an emulated account, seen through the SDK. Its time stands still.
type account struct {
	t      *testing.T
	dir    string
	url    string
	clock  *clockwork.FakeClock
	server *emulator.Server
	config aws.Config

	sm      *sagemaker.Client
	aas     *autoscaling.Client
	alarms  *cloudwatch.Client
	runtime *sagemakerruntime.Client
	s3      *s3.Client
	sts     *sts.Client
}

func newAccount(t *testing.T) *account {
	t.Helper()
	return openAccount(t, t.TempDir(), clockwork.NewFakeClockAt(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)))
}

func openAccount(t *testing.T, dir string, clock *clockwork.FakeClock) *account {
	t.Helper()
	server, err := emulator.Start(emulator.Options{StateDir: dir, Clock: clock, Speed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	a := &account{t: t, dir: dir, clock: clock, server: server, url: server.Endpoints()["sagemaker"]}
	a.config = aws.Config{Region: region, BaseEndpoint: aws.String(a.url), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKIDTEST", "test", ""), HTTPClient: &http.Client{Transport: &http.Transport{}}}
	a.sm, a.aas, a.alarms = sagemaker.NewFromConfig(a.config), autoscaling.NewFromConfig(a.config), cloudwatch.NewFromConfig(a.config)
	a.runtime, a.sts = sagemakerruntime.NewFromConfig(a.config), sts.NewFromConfig(a.config)
	a.s3 = s3.NewFromConfig(a.config, func(o *s3.Options) { o.UsePathStyle = true })
	return a
}

// minutes pass on the platform. A transition takes five.
func (a *account) minutes(n float64) {
	a.clock.Advance(time.Duration(n * float64(time.Minute) / 300))
}

// raw sends a body that the SDK itself would refuse to send.
func (a *account) raw(service, operation, body string) (status int, code, message string) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), http.MethodPost, a.url+"/", strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIDTEST/20260101/"+region+"/"+service+"/aws4_request, SignedHeaders=host, Signature=0")
	req.Header.Set("X-Amz-Target", "Service."+operation)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil || json.Unmarshal(text, &answer) != nil {
		a.t.Fatalf("%s answers %q: %v", operation, text, err)
	}
	return resp.StatusCode, answer.Type, answer.Message
}

// must ends the test at an unexpected error.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// refuses wants the platform's own code and words, a fragment of the message.
func refuses(t *testing.T, err error, code, fragment string) {
	t.Helper()
	var api smithy.APIError
	if !errors.As(err, &api) {
		t.Errorf("got %v, want %s: …%s…", err, code, fragment)
		return
	}
	if api.ErrorCode() != code || !strings.Contains(api.ErrorMessage(), fragment) {
		t.Errorf("got %s: %s\nwant %s: …%s…", api.ErrorCode(), api.ErrorMessage(), code, fragment)
	}
}

func (a *account) model(name string) {
	a.t.Helper()
	must(a.sm.CreateModel(a.t.Context(), &sagemaker.CreateModelInput{ModelName: &name, ExecutionRoleArn: aws.String(role),
		PrimaryContainer: &types.ContainerDefinition{Image: aws.String(image)}}))(a.t)
}

// variant is one of count instances that gets weight.
func variant(name, model string, count int32, weight float32) types.ProductionVariant {
	return types.ProductionVariant{VariantName: &name, ModelName: &model, InstanceType: types.ProductionVariantInstanceTypeMlM5Large,
		InitialInstanceCount: &count, InitialVariantWeight: &weight}
}

func (a *account) endpointConfig(name string, variants ...types.ProductionVariant) {
	a.t.Helper()
	must(a.sm.CreateEndpointConfig(a.t.Context(), &sagemaker.CreateEndpointConfigInput{EndpointConfigName: &name, ProductionVariants: variants}))(a.t)
}

// endpoint makes an endpoint "fraud" in service: model "m", configuration "one",
// variant "main" of two instances.
func (a *account) endpoint() {
	a.t.Helper()
	a.model("m")
	a.endpointConfig("one", variant("main", "m", 2, 1))
	a.create("fraud", "one")
	a.minutes(5)
	a.wantStatus("InService", "one")
}

func (a *account) create(endpoint, config string) {
	a.t.Helper()
	must(a.sm.CreateEndpoint(a.t.Context(), &sagemaker.CreateEndpointInput{EndpointName: &endpoint, EndpointConfigName: &config}))(a.t)
}

func (a *account) update(config string, deployment *types.DeploymentConfig) {
	a.t.Helper()
	must(a.sm.UpdateEndpoint(a.t.Context(), &sagemaker.UpdateEndpointInput{EndpointName: aws.String("fraud"), EndpointConfigName: &config, DeploymentConfig: deployment}))(a.t)
}

func (a *account) describe() *sagemaker.DescribeEndpointOutput {
	a.t.Helper()
	return must(a.sm.DescribeEndpoint(a.t.Context(), &sagemaker.DescribeEndpointInput{EndpointName: aws.String("fraud")}))(a.t)
}

func (a *account) wantStatus(status types.EndpointStatus, config string) *sagemaker.DescribeEndpointOutput {
	a.t.Helper()
	e := a.describe()
	if e.EndpointStatus != status || aws.ToString(e.EndpointConfigName) != config {
		a.t.Fatalf("got %s with %s (%s), want %s with %s", e.EndpointStatus, aws.ToString(e.EndpointConfigName), aws.ToString(e.FailureReason), status, config)
	}
	return e
}

// faults scripts faults.
func (a *account) faults(all ...string) {
	a.t.Helper()
	a.write("faults.json", fmt.Sprintf(`{"faults": [%s]}`, strings.Join(all, ",")))
}

func (a *account) write(name, content string) {
	a.t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), []byte(content), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *account) put(bucket, key, content string) {
	a.t.Helper()
	ctx := a.t.Context()
	if _, err := a.s3.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket}); err != nil {
		must(a.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket}))(a.t)
	}
	must(a.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(content)}))(a.t)
}

func (a *account) get(bucket, key string) string {
	a.t.Helper()
	out := must(a.s3.GetObject(a.t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key}))(a.t)
	defer out.Body.Close()
	return string(must(io.ReadAll(out.Body))(a.t))
}

// invoke returns what of the answer tells who answered, "main".
func (a *account) invoke(endpoint string) (string, error) {
	out, err := a.runtime.InvokeEndpoint(context.WithoutCancel(a.t.Context()), &sagemakerruntime.InvokeEndpointInput{EndpointName: &endpoint,
		ContentType: aws.String("application/json"), Body: []byte(`{"x":1}`)})
	if err != nil {
		return "", err
	}
	return aws.ToString(out.InvokedProductionVariant), nil
}
