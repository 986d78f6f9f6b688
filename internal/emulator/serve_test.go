// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"

	"github.com/mlplane/terraform-provider-ml/internal/emulator"
)

// printed tells when a server has said where it is.
type printed struct {
	strings.Builder
	once chan struct{}
}

func (p *printed) Write(text []byte) (int, error) {
	n, err := p.Builder.Write(text)
	if strings.Contains(p.String(), "Ctrl-C") {
		close(p.once)
	}
	return n, err
}

func TestServe(t *testing.T) {
	t.Parallel()
	a := newAccount(t) // another process on the same directory
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, ended := &printed{once: make(chan struct{})}, make(chan error, 1)
	go func() { ended <- emulator.Serve(ctx, emulator.Options{StateDir: a.dir, Clock: a.clock}, out) }()
	select {
	case <-out.once:
	case err := <-ended:
		t.Fatal(err)
	}
	var urls map[string]string
	must("", json.Unmarshal(must(os.ReadFile(filepath.Join(a.dir, "endpoints.json")))(t), &urls))(t)
	if urls["sagemaker"] == "" || urls["s3"] == "" || !strings.Contains(out.String(), urls["sagemaker"]) {
		t.Fatalf("endpoints.json holds %v, and printed was %s", urls, out)
	}
	a.endpoint()
	a.endpointConfig("two", variant("main", "m", 3, 1), variant("side", "m", 1, 1))
	must(a.invoke("fraud"))(t)
	a.update("two", nil)
	page := get(t, urls["sagemaker"])
	for _, want := range []string{"fraud", "Updating", "main", "100 %", "2 × ml.m5.large", "(taking over)", "3 × ml.m5.large", "sagemaker.UpdateEndpoint", "runtime.sagemaker.InvokeEndpoint"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not show %q:\n%s", want, page)
		}
	}
	a.minutes(5)
	if page = get(t, urls["sagemaker"]); strings.Count(page, "50 %") != 2 || !strings.Contains(page, "InService") {
		t.Errorf("two variants of the same weight:\n%s", page)
	}
	stop()
	must("", <-ended)(t)
	if _, err := http.Get(urls["sagemaker"]); err == nil { // refused at once
		t.Error("it is served after its end")
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	req := must(http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/", http.NoBody))(t)
	req.Header.Set("Accept", "text/html")
	resp := must(http.DefaultClient.Do(req))(t)
	defer resp.Body.Close()
	return string(must(io.ReadAll(resp.Body))(t))
}

// Names come from requests: what they hold must not become markup.
func TestPageEscapes(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.endpoint()
	a.endpointConfig("two", variant("main", "m", 1, 1))
	a.faults(`{"call":"sagemaker.UpdateEndpoint","action":"fail_transition","message":"<script>alert(1)</script>"}`)
	a.update("two", nil)
	a.minutes(5)
	if page := get(t, a.url); strings.Contains(page, "<script>") || !strings.Contains(page, "alert(1)") {
		t.Errorf("got %s", page)
	}
}

// Asynchronous requests are answered by objects.
func TestAsynchronousEndpoint(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	ctx := t.Context()
	a.model("m")
	a.put("data", "in", `{"x":1}`)
	must(a.sm.CreateEndpointConfig(ctx, &sagemaker.CreateEndpointConfigInput{EndpointConfigName: aws.String("one"), ProductionVariants: []types.ProductionVariant{variant("main", "m", 1, 1)},
		AsyncInferenceConfig: &types.AsyncInferenceConfig{OutputConfig: &types.AsyncInferenceOutputConfig{S3OutputPath: aws.String("s3://data/out"), S3FailurePath: aws.String("s3://data/failed")}}}))(t)
	a.create("fraud", "one")
	a.minutes(5)
	_, err := a.invoke("fraud")
	refuses(t, err, "ValidationError", "does not support")
	in := &sagemakerruntime.InvokeEndpointAsyncInput{EndpointName: aws.String("fraud"), InputLocation: aws.String("s3://data/in"), InferenceId: aws.String("mine")}
	done := must(a.runtime.InvokeEndpointAsync(ctx, in))(t)
	if got := a.get("data", strings.TrimPrefix(aws.ToString(done.OutputLocation), "s3://data/")); !strings.Contains(got, `"echo":{"x":1}`) || aws.ToString(done.InferenceId) != "mine" {
		t.Errorf("got %s for %s", got, aws.ToString(done.InferenceId))
	}
	in.InputLocation = aws.String("s3://data/none")
	failed := must(a.runtime.InvokeEndpointAsync(ctx, in))(t)
	if got := a.get("data", strings.TrimPrefix(aws.ToString(failed.FailureLocation), "s3://data/")); !strings.Contains(got, "s3://data/none") {
		t.Errorf("the failure says %s", got)
	}
	must("", a.scale("main", aws.Int32(0), aws.Int32(2)))(t) // only an asynchronous one scales to zero
	must(a.sm.UpdateEndpointWeightsAndCapacities(ctx, &sagemaker.UpdateEndpointWeightsAndCapacitiesInput{EndpointName: aws.String("fraud"),
		DesiredWeightsAndCapacities: []types.DesiredWeightAndCapacity{{VariantName: aws.String("main"), DesiredInstanceCount: aws.Int32(0)}}}))(t)
}

func TestCapturedRequests(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.model("m")
	a.put("data", "x", "")
	must(a.sm.CreateEndpointConfig(t.Context(), &sagemaker.CreateEndpointConfigInput{EndpointConfigName: aws.String("one"), ProductionVariants: []types.ProductionVariant{variant("main", "m", 1, 1)},
		DataCaptureConfig: &types.DataCaptureConfig{InitialSamplingPercentage: aws.Int32(100), DestinationS3Uri: aws.String("s3://data/captured"),
			CaptureOptions: []types.CaptureOption{{CaptureMode: types.CaptureModeInputAndOutput}}}}))(t)
	a.create("fraud", "one")
	a.minutes(5)
	must(a.invoke("fraud"))(t)
	got := a.get("data", "captured/fraud/main/2026/01/01/12/00000001.jsonl")
	if !strings.Contains(got, `"data":"{\"x\":1}"`) || !strings.Contains(got, `"endpointOutput"`) {
		t.Errorf("captured %s", got)
	}
}
