// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai_test

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pb "cloud.google.com/go/aiplatform/apiv1beta1/aiplatformpb"
	"google.golang.org/genproto/googleapis/api/httpbody"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/gcs"
)

func TestPredictions(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.serve()
	p.uploadNext()
	p.changed("POST", "v1/endpoints/fraud:deployModel", strings.Replace(deployBody("78", "2", `,"trafficSplit":{"77":75,"0":25}`), `"main"`, `"ml/side/abcdefghij"`, 1))
	count := map[string]int{}
	for range 100 {
		a := p.ok("POST", "v1/endpoints/fraud:rawPredict", `{"x":1}`)
		id := a.header.Get("X-Vertex-Ai-Deployed-Model-Id")
		count[id]++
		version, key := map[string]string{"77": "1", "78": "2"}[id], map[string]string{"77": "main", "78": "side"}[id]
		p.wants(a, "version", `"`+version+`"`)
		p.wants(a, "deployment", `"`+key+`"`)
		if a.header.Get("X-Vertex-Ai-Model-Version-Id") != version || a.header.Get("X-Vertex-Ai-Endpoint-Id") != "fraud" || a.header.Get("X-Vertex-Ai-Model") != there+"/models/fraud" {
			t.Fatalf("the headers are %v", a.header)
		}
	}
	if count["77"] != 75 || count["78"] != 25 {
		t.Errorf("of 100 requests the deployments have answered %v", count)
	}
	a := p.ok("POST", "v1/endpoints/fraud:rawPredict", "no JSON")
	p.wants(a, "echo", `"no JSON"`)
	p.wants(a, "model", `"fraud"`)
	p.wants(a, "digest", `"`+digest+`"`) // of the directory
	// Through the client that is generated for v1beta1.
	one, err := structpb.NewValue([]any{1.0, 2.0})
	p.must(err)
	got, err := p.predictions.Predict(t.Context(), &pb.PredictRequest{Endpoint: here + "/endpoints/fraud", Instances: []*structpb.Value{one, structpb.NewStringValue("b")}})
	p.must(err)
	if len(got.GetPredictions()) != 2 || got.GetPredictions()[1].GetStructValue().GetFields()["echo"].GetStringValue() != "b" || got.GetModelDisplayName() != "Fraud" || got.GetModel() != there+"/models/fraud" {
		t.Errorf("the envelope is %v", got)
	}
	raw, err := p.predictions.RawPredict(t.Context(), &pb.RawPredictRequest{Endpoint: here + "/endpoints/fraud", HttpBody: &httpbody.HttpBody{ContentType: "application/json", Data: []byte(`{"y":2}`)}})
	p.must(err)
	if !strings.Contains(string(raw.GetData()), `"model":"fraud"`) {
		t.Errorf("the raw answer is %s", raw.GetData())
	}
	p.refused("INVALID_ARGUMENT", "instances", "POST", "v1/endpoints/fraud:predict", `{}`)
	p.refused("INVALID_ARGUMENT", "Unknown name", "POST", "v1/endpoints/fraud:predict", `{"inputs":[]}`)
	p.refused("NOT_FOUND", "not found", "POST", "v1/endpoints/none:rawPredict", `{}`)
	p.refused("INVALID_ARGUMENT", "1500000 bytes", "POST", "v1/endpoints/fraud:rawPredict", `"`+strings.Repeat("x", 1_500_000)+`"`)
	p.ok("PATCH", "v1/endpoints/fraud?updateMask=trafficSplit", `{}`)
	p.refused("FAILED_PRECONDITION", "Endpoint `"+there+"/endpoints/fraud` doesn't have traffic_split.", "POST", "v1/endpoints/fraud:rawPredict", `{}`)
}

// A request comes by the host of the region, the endpoint's own, or this server's
// address, which stands for all.
func TestHosts(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.serve()
	const path, own = "v1/endpoints/fraud:rawPredict", "fraud.us-central1-123.prediction.vertexai.goog"
	answers := func(host string, want int, words string) {
		t.Helper()
		if a := p.callHost(host, "POST", path, `1`); a.status != want || !strings.Contains(a.text, words) {
			t.Errorf("%s answers %d %s", host, a.status, a.text)
		}
	}
	answers("us-central1-aiplatform.googleapis.com", http.StatusOK, "")
	answers("europe-west4-aiplatform.googleapis.com", http.StatusBadRequest, "serves europe-west4")
	answers(own, http.StatusNotFound, "does not serve")
	p.ok("PATCH", "v1/endpoints/fraud?updateMask=dedicatedEndpointEnabled", `{"dedicatedEndpointEnabled":true}`)
	answers("us-central1-aiplatform.googleapis.com", http.StatusBadRequest, "dedicated dns name")
	answers(own, http.StatusOK, "")
	answers("other.us-central1-123.prediction.vertexai.goog", http.StatusNotFound, "does not serve")
	p.ok("POST", path, `"`+strings.Repeat("x", 1_500_000)+`"`)
	p.refused("INVALID_ARGUMENT", "10000000 bytes", "POST", path, `"`+strings.Repeat("x", 10_000_000)+`"`)
}

// A model that takes any route is invoked, and its deployments can be addressed.
func TestInvoke(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.changed("POST", "v1/models:upload", strings.Replace(uploadBody, `"imageUri"`, `"invokeRoutePrefix":"/*","imageUri"`, 1))
	p.changed("POST", "v1/endpoints?endpointId=fraud", `{"displayName":"d","dedicatedEndpointEnabled":true}`)
	p.changed("POST", "v1/endpoints/fraud:deployModel", deployBody("77", "1"))
	p.wants(p.ok("POST", "v1/endpoints/fraud/deployedModels/77/invoke/v1/chat:x", `1`), "echo", "1")
	p.refused("FAILED_PRECONDITION", "traffic_split", "POST", "v1/endpoints/fraud/invoke/chat", `1`)
	p.ok("PATCH", "v1/endpoints/fraud?updateMask=trafficSplit", `{"trafficSplit":{"77":100}}`)
	p.wants(p.ok("POST", "v1/endpoints/fraud/invoke/chat", `1`), "echo", "1")
	p.refused("FAILED_PRECONDITION", "invoke_route_prefix", "POST", "v1/endpoints/fraud:rawPredict", `1`)
}

// A small ONNX graph is evaluated, wherever it is in the directory.
func TestEvaluation(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	graph, err := os.Open(filepath.Join("..", "..", "..", "examples", "quickstart", "model", "fraud-v1.onnx"))
	p.must(err)
	defer graph.Close()
	p.must(gcs.Put(filepath.Join(p.dir, "gcs"), "models", "onnx/1/model.onnx", graph))
	p.changed("POST", "v1/models:upload", strings.Replace(uploadBody, "gs://models/fraud/"+digest, "gs://models/onnx/", 1))
	p.changed("POST", "v1/endpoints?endpointId=fraud", `{"displayName":"Fraud"}`)
	p.changed("POST", "v1/endpoints/fraud:deployModel", deployBody("77", "1", `,"trafficSplit":{"77":100}`))
	if a := p.ok("POST", "v1/endpoints/fraud:rawPredict", `{"instances":[[412.5,3,0.82,1]]}`); a.at("outputs") == nil {
		t.Errorf("the model is not evaluated: %s", a.text)
	}
	if a := p.ok("POST", "v1/endpoints/fraud:predict", `{"instances":[[412.5,3,0.82,1]]}`); a.at("predictions.0.outputs") == nil {
		t.Errorf("the model is not evaluated: %s", a.text)
	}
	p.wants(p.ok("POST", "v1/endpoints/fraud:rawPredict", `{"instances":"x"}`), "outputs", "null")
}

// What is deployed where shows on the page of every emulator.
func TestPage(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.serve()
	p.ok("POST", "v1/endpoints/fraud:rawPredict", `1`)
	address, err := url.Parse(p.server.Endpoints()["sagemaker"])
	p.must(err)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address.String()+"/", http.NoBody)
	p.must(err)
	resp, err := http.DefaultClient.Do(req)
	p.must(err)
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	p.must(err)
	for _, want := range []string{"Vertex AI endpoints", "main", "us-central1", "100 %", "n1-standard-2", "vertex_ai.endpoints.deployModel", "vertex_ai.endpoints.rawPredict"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page does not show %q", want)
		}
	}
}
