// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package runtimes

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"fmt"
	"regexp"
	"sort"
	"strings"
	"sync"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// Accounts that publish prebuilt images, by region: the deep learning containers
// and the built-in algorithms. An empty cell is a region without them.
//
//go:embed sagemaker_accounts.csv
var accountsCSV []byte

type accounts struct{ dlc, builtin string }

var sagemakerAccounts = sync.OnceValue(func() map[string]accounts {
	rows, err := csv.NewReader(bytes.NewReader(accountsCSV)).ReadAll()
	if err != nil {
		panic("the embedded account table: " + err.Error())
	}
	all := make(map[string]accounts, len(rows))
	for _, r := range rows[1:] {
		all[r[0]] = accounts{r[1], r[2]}
	}
	return all
})

// image is one prebuilt image: its repository, and its tags for CPU and GPU.
type image struct {
	repository string
	cpu, gpu   string // "" if there is none
	arm        string // CPU tag for arm64
	builtin    bool
	layout     string
	directory  string
	protocol   string
	env        map[string]string
}

// script is how the framework containers find a user's handlers.
var script = map[string]string{"SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code", "SAGEMAKER_PROGRAM": "inference.py"}

var sagemakerImages = map[string]image{
	Triton:  {repository: "sagemaker-tritonserver", cpu: "25.09-py3-cpu", gpu: "25.09-py3", layout: LayoutTarGz, directory: Triton, protocol: "v2"},
	ONNX:    {repository: "sagemaker-tritonserver", cpu: "25.09-py3-cpu", gpu: "25.09-py3", layout: LayoutTarGz, directory: Triton, protocol: "v2"},
	Sklearn: {repository: "sagemaker-scikit-learn", cpu: "1.4-2-py312-cpu-py3", arm: "1.0-1-arm64-cpu-py3", builtin: true, layout: LayoutTarGz, directory: Sklearn, protocol: "custom", env: script},
	XGBoost: {repository: "sagemaker-xgboost", cpu: "1.7-1", arm: "1.5-1-arm64", builtin: true, layout: LayoutTarGz, directory: XGBoost, protocol: "custom"},
	PyTorch: {repository: "pytorch-inference", cpu: "2.6.0-cpu-py312", gpu: "2.6.0-gpu-py312-cu124-ubuntu22.04-sagemaker", layout: LayoutTarGz,
		directory: PyTorch, protocol: "custom", env: script},
	TensorFlow:  {repository: "tensorflow-inference", cpu: "2.19.0-cpu", gpu: "2.19.0-gpu", layout: LayoutTarGz, directory: TensorFlow, protocol: "v1"},
	HuggingFace: {repository: "huggingface-pytorch-inference", gpu: "2.6.0-transformers4.51.3-gpu-py312-cu124-ubuntu22.04", cpu: "2.6.0-transformers4.51.3-cpu-py312-ubuntu22.04", layout: LayoutTarGz, directory: HuggingFace, protocol: "custom"},
	VLLM:        {repository: "vllm", gpu: "0.27.1-gpu-py312-cu130-ubuntu22.04-sagemaker", layout: LayoutPrefix, directory: HuggingFace, protocol: "openai"},
}

// SageMaker is the contract of a runtime in a region. gpu chooses the image
// built for accelerators, arch is "x86_64" or "arm64". A runtime without a
// prebuilt image there is Unsupported.
func SageMaker(runtime, region string, gpu bool, arch string) (Contract, error) {
	img, ok := sagemakerImages[runtime]
	if !ok {
		return Contract{}, mlerr.New(mlerr.Unsupported, "sagemaker has no prebuilt image for the runtime %q", runtime).
			At("serving.runtime").WithHint("Set serving.image to an image of your own that serves on port 8080, or convert the model to ONNX")
	}
	repository, tag := img.repository, img.cpu
	switch {
	case arch == "arm64":
		tag = img.arm
	case gpu || img.cpu == "":
		tag = img.gpu
	}
	if tag == "" {
		return Contract{}, mlerr.New(mlerr.Unsupported, "sagemaker has no prebuilt %s image for %s", runtime, hardwareWords(gpu, arch)).
			At("serving.runtime").WithHint("Choose another instance type, or set serving.image")
	}
	a := sagemakerAccounts()[region]
	account := a.dlc
	if img.builtin {
		account = a.builtin
	}
	if account == "" {
		return Contract{}, mlerr.New(mlerr.Unsupported, "sagemaker publishes no %s image in region %s", runtime, region).
			At("serving.runtime").WithHint("Set serving.image, or use one of the regions %s", strings.Join(regionsWith(img.builtin), ", "))
	}
	return Contract{Image: fmt.Sprintf("%s.dkr.ecr.%s.%s/%s:%s", account, region, dnsSuffix(region), repository, tag),
		Port: 8080, PredictPath: "/invocations", HealthPath: "/ping", Protocol: img.protocol, Env: img.env,
		Layout: img.layout, Directory: img.directory}, nil
}

func hardwareWords(gpu bool, arch string) string {
	if gpu {
		return arch + " with accelerators"
	}
	return arch
}

func dnsSuffix(region string) string {
	if strings.HasPrefix(region, "cn-") {
		return "amazonaws.com.cn"
	}
	return "amazonaws.com"
}

func regionsWith(builtin bool) []string {
	var names []string
	for region, a := range sagemakerAccounts() {
		if (builtin && a.builtin != "") || (!builtin && a.dlc != "") {
			names = append(names, region)
		}
	}
	sort.Strings(names)
	return names
}

// KnownSageMakerRegion reports whether region has prebuilt images at all.
func KnownSageMakerRegion(region string) bool {
	_, ok := sagemakerAccounts()[region]
	return ok
}

var cuda = regexp.MustCompile(`-cu(\d{3})\b`)

// InferenceAMI is the InferenceAmiVersion whose driver an image of that CUDA
// version needs, or "" when the default serves. A wrong pairing ends in a
// container that cannot start and writes no log.
func InferenceAMI(image string) string {
	m := cuda.FindStringSubmatch(image)
	if m == nil {
		return ""
	}
	switch version := m[1]; {
	case version <= "124":
		return ""
	case version < "130":
		return "al2-ami-sagemaker-inference-gpu-3-1"
	}
	return "al2023-ami-sagemaker-inference-gpu-4-1"
}

// ForImage guesses the runtime from a prebuilt image's repository, for models
// that were registered by hand. "" if it cannot tell.
func ForImage(name string) string {
	for _, runtime := range Names() {
		if img, ok := sagemakerImages[runtime]; ok && strings.Contains(name, "/"+img.repository+":") {
			return runtime
		}
	}
	return ""
}
