// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package runtimes

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// ModelDirectory is where a pod has its model.
const ModelDirectory = "/mnt/models"

// Arrangements that only the servers on Kubernetes want.
const (
	KServeSklearn = "kserve-sklearn" // one .joblib, .pkl or .pickle file
	KServeXGBoost = "kserve-xgboost" // one .bst, .json or .ubj file
	TorchServe    = "torchserve"     // config/config.properties and model-store/*.mar
)

// server is one runtime as a container. {model} stands for the model's name.
type server struct {
	image, gpu    string // gpu is the image for accelerators, "" if it is the same
	command, args []string
	env           map[string]string
	grpc          int
	protocol      string
	predict       string
	live, ready   string
	directory     string
	sharedMemory  bool
	needsGPU      bool // does not run without an accelerator
}

// The images are those that KServe's serving runtimes name, and the upstream
// project's where KServe's is years behind.
var kubernetesServers = map[string]server{
	Triton: {image: "nvcr.io/nvidia/tritonserver:25.09-py3", command: []string{"tritonserver"}, grpc: 9000, protocol: "v2", directory: Triton, sharedMemory: true,
		args: []string{"--model-repository=" + ModelDirectory, "--http-port=8080", "--grpc-port=9000", "--metrics-port=8002"}, ready: "/v2/health/ready"},
	ONNX: {image: "nvcr.io/nvidia/tritonserver:25.09-py3", command: []string{"tritonserver"}, grpc: 9000, protocol: "v2", directory: Triton, sharedMemory: true,
		args: []string{"--model-repository=" + ModelDirectory, "--http-port=8080", "--grpc-port=9000", "--metrics-port=8002"}},
	Sklearn: {image: "kserve/sklearnserver:v0.20.0", protocol: "v2", directory: KServeSklearn,
		args: []string{"--model_name={model}", "--model_dir=" + ModelDirectory, "--http_port=8080"}},
	XGBoost: {image: "kserve/xgbserver:v0.20.0", protocol: "v2", directory: KServeXGBoost,
		args: []string{"--model_name={model}", "--model_dir=" + ModelDirectory, "--http_port=8080", "--nthread=1"}},
	MLflow: {image: "seldonio/mlserver:1.7.1", grpc: 9000, protocol: "v2", directory: MLflow,
		env: map[string]string{"MLSERVER_MODEL_IMPLEMENTATION": "mlserver_mlflow.MLflowRuntime", "MLSERVER_MODEL_NAME": "{model}", "MLSERVER_MODEL_URI": ModelDirectory,
			"MLSERVER_HTTP_PORT": "8080", "MLSERVER_GRPC_PORT": "9000"}},
	TensorFlow: {image: "tensorflow/serving:2.19.0", gpu: "tensorflow/serving:2.19.0-gpu", command: []string{"tensorflow_model_server"}, grpc: 9000, protocol: "v1", directory: TensorFlow,
		args: []string{"--model_name={model}", "--model_base_path=" + ModelDirectory, "--rest_api_port=8080", "--port=9000", "--rest_api_timeout_in_ms=60000"}},
	PyTorch: {image: "pytorch/torchserve-kfs:0.9.0", gpu: "pytorch/torchserve-kfs:0.9.0-gpu", protocol: "v2", directory: TorchServe, sharedMemory: true,
		args: []string{"torchserve", "--start", "--model-store=" + ModelDirectory + "/model-store", "--ts-config=" + ModelDirectory + "/config/config.properties"},
		env:  map[string]string{"TS_SERVICE_ENVELOPE": "kservev2"}},
	HuggingFace: {image: "kserve/huggingfaceserver:v0.20.0", gpu: "kserve/huggingfaceserver:v0.20.0-gpu", protocol: "v2", directory: HuggingFace, sharedMemory: true,
		args: []string{"--model_name={model}", "--model_dir=" + ModelDirectory, "--http_port=8080"}},
	VLLM: {image: "vllm/vllm-openai:v0.27.1", protocol: "openai", directory: HuggingFace, sharedMemory: true, needsGPU: true, live: "/health",
		args: []string{"--model=" + ModelDirectory, "--served-model-name={model}", "--port=8080"}},
}

// byProtocol are the routes of the standard protocols.
var byProtocol = map[string]struct{ predict, live, ready string }{
	"v1":     {"/v1/models/{model}:predict", "/v1/models/{model}", "/v1/models/{model}"},
	"v2":     {"/v2/models/{model}/infer", "/v2/health/live", "/v2/models/{model}/ready"},
	"openai": {"/v1/chat/completions", "/v1/models", "/v1/models"},
}

// Kubernetes is the contract of a runtime that serves a model of that name. gpu
// chooses the image built for accelerators. A runtime that nothing serves is
// Unsupported.
func Kubernetes(runtime, model string, gpu bool) (Contract, error) {
	s, ok := kubernetesServers[runtime]
	if !ok {
		return Contract{}, mlerr.New(mlerr.Unsupported, "kubernetes has no image for the runtime %q", runtime).At("serving.runtime").
			WithHint("Set serving.image to an image that serves what is in " + ModelDirectory)
	}
	c := Contract{Image: s.image, Port: 8080, GRPCPort: s.grpc, Protocol: s.protocol, Layout: LayoutPrefix, Directory: s.directory,
		Command: s.command, SharedMemory: s.sharedMemory, NeedsAccelerator: s.needsGPU}
	if gpu && s.gpu != "" {
		c.Image = s.gpu
	}
	routes := byProtocol[s.protocol]
	named := strings.NewReplacer("{model}", model)
	c.PredictPath = named.Replace(cmp.Or(s.predict, routes.predict))
	c.HealthPath = named.Replace(cmp.Or(s.live, routes.live))
	c.ReadyPath = named.Replace(cmp.Or(s.ready, routes.ready))
	for _, arg := range s.args {
		c.Args = append(c.Args, named.Replace(arg))
	}
	c.Env = maps.Clone(s.env)
	for k, v := range c.Env {
		c.Env[k] = named.Replace(v)
	}
	return c, nil
}

// Routes are the paths of a standard protocol for a model of that name. ok is
// false for "custom", which has none.
func Routes(protocol, model string) (predict, live, ready string, ok bool) {
	routes, ok := byProtocol[protocol]
	named := strings.NewReplacer("{model}", model)
	return named.Replace(routes.predict), named.Replace(routes.live), named.Replace(routes.ready), ok
}

// KubernetesImages are all images that presets run, sorted.
func KubernetesImages() []string {
	var all []string
	for _, s := range kubernetesServers {
		all = append(all, s.image)
		if s.gpu != "" {
			all = append(all, s.gpu)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
