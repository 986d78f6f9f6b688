// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package runtimes knows the serving runtimes that a user can name, which one a
// model format implies, and which image and contract each is on a platform.
package runtimes

import "slices"

// The presets of serving.runtime.
const (
	Triton      = "triton"
	Sklearn     = "sklearn"
	XGBoost     = "xgboost"
	PyTorch     = "pytorch"
	TensorFlow  = "tensorflow"
	HuggingFace = "huggingface"
	VLLM        = "vllm"
	MLflow      = "mlflow"
	ONNX        = "onnx"
)

// Names are all presets.
func Names() []string {
	return []string{Triton, Sklearn, XGBoost, PyTorch, TensorFlow, HuggingFace, VLLM, MLflow, ONNX}
}

// byFormat is the runtime that a format implies. A format that is not here needs
// an image: "custom" says nothing, and lightgbm has no server of its own but
// MLflow's.
var byFormat = map[string]string{
	"onnx": ONNX, "torchscript": PyTorch, "pytorch": PyTorch, "tensorflow": TensorFlow, "sklearn": Sklearn, "pickle": Sklearn,
	"xgboost": XGBoost, "lightgbm": MLflow, "mlflow": MLflow, "huggingface": HuggingFace, "triton": Triton,
}

// Formats are all values of artifact.format.
func Formats() []string {
	return []string{"onnx", "torchscript", "pytorch", "tensorflow", "sklearn", "xgboost", "lightgbm", "mlflow", "huggingface",
		"triton", "pickle", "custom"}
}

// ForFormat is the runtime that a format implies. ok is false for formats that
// imply none and for unknown ones.
func ForFormat(format string) (runtime string, ok bool) {
	runtime, ok = byFormat[format]
	return runtime, ok
}

// Known reports whether name is a preset.
func Known(name string) bool { return slices.Contains(Names(), name) }

// How a platform hands the artifact to the container.
const (
	LayoutTarGz  = "targz"  // one model.tar.gz, unpacked by the platform
	LayoutPrefix = "prefix" // a directory of objects
)

// Contract is what a runtime is on one platform.
type Contract struct {
	Image       string
	Port        int
	GRPCPort    int // 0 if it has none
	PredictPath string
	HealthPath  string // answers while the server is alive
	ReadyPath   string // answers once the model is loaded; "" if it is the same
	Command     []string
	Args        []string
	Protocol    string // "v1", "v2", "openai" or "custom"
	Env         map[string]string
	Layout      string
	// Directory is how the runtime wants the files arranged, by the name of a
	// preset: an ONNX file served by Triton is put into a model repository.
	Directory        string
	AzureModel       string // the kind of model that Azure ML is told; "" elsewhere
	SharedMemory     bool   // uses /dev/shm
	NeedsAccelerator bool   // does not run without one
}
