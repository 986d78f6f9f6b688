// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package runtimes

import (
	"regexp"
	"strings"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// Arrangements that only the prebuilt containers of Vertex AI want.
const (
	VertexSklearn    = "vertex-sklearn"    // model.joblib or model.pkl at the top
	VertexXGBoost    = "vertex-xgboost"    // model.bst, model.joblib or model.pkl at the top
	VertexTensorFlow = "vertex-tensorflow" // saved_model.pb and variables/ at the top
	VertexPyTorch    = "vertex-pytorch"    // model.mar at the top
)

// vertexImages are the prebuilt containers that the presets stand for
// (https://docs.cloud.google.com/vertex-ai/docs/predictions/pre-built-containers).
// Those built for accelerators run without one too, and are chosen by serving.image.
var vertexImages = map[string]struct{ image, directory string }{
	Sklearn:    {"sklearn-cpu.1-6", VertexSklearn},
	XGBoost:    {"xgboost-cpu.2-1", VertexXGBoost},
	TensorFlow: {"tf2-cpu.2-15", VertexTensorFlow},
	PyTorch:    {"pytorch-cpu.2-4", VertexPyTorch},
}

// VertexAI is the contract of a runtime in a region. images is the repository of
// images that Google does not publish: the platform pulls from Google's registries
// only. A runtime that cannot read its model from Cloud Storage is Unsupported.
func VertexAI(runtime, region, images string) (Contract, error) {
	if prebuilt, ok := vertexImages[runtime]; ok {
		return Contract{Image: multiregion(region) + "-docker.pkg.dev/vertex-ai/prediction/" + prebuilt.image + ":latest", Port: 8080, Protocol: "v1",
			Layout: LayoutPrefix, Directory: prebuilt.directory}, nil
	}
	switch runtime {
	case Triton, ONNX:
		// It knows the platform by its environment, takes its routes from there, and
		// reads the repository from Cloud Storage by itself.
		return Contract{Image: images + "/tritonserver:25.09-py3", Port: 8080, Protocol: "v2", Layout: LayoutPrefix, Directory: Triton, SharedMemory: true}, nil
	case HuggingFace:
		return Contract{Image: "us-docker.pkg.dev/deeplearning-platform-release/gcr.io/huggingface-pytorch-inference-cu121.2-3.transformers.4-46.ubuntu2204.py311",
			Port: 8080, Protocol: "v1", Layout: LayoutPrefix, Directory: HuggingFace, SharedMemory: true}, nil
	}
	return Contract{}, mlerr.New(mlerr.Unsupported, "vertex_ai has no image for the runtime %q that reads models from Cloud Storage", runtime).At("serving.runtime").
		WithHint("Set serving.image to an image in Artifact Registry that loads what is at $AIP_STORAGE_URI, with serving.args, port and paths as it wants them")
}

// multiregion is the registry that holds the prebuilt containers for a region.
func multiregion(region string) string {
	switch prefix, _, _ := strings.Cut(region, "-"); prefix {
	case "europe", "me", "africa":
		return "europe"
	case "asia", "australia":
		return "asia"
	}
	return "us"
}

// vertexEnds are the days until which prebuilt containers are patched, and after which
// they are gone, as Google announced them.
var vertexEnds = map[string]struct{ patched, there string }{
	"tf2-cpu.2-15": {"2026-07-14", "2027-01-14"}, "tf2-gpu.2-15": {"2026-07-14", "2027-01-14"}, "tf2-cpu.2-14": {"2026-01-14", "2027-01-14"}, "tf2-gpu.2-14": {"2026-01-14", "2027-01-14"},
	"pytorch-cpu.2-4": {"2026-07-14", "2027-01-14"}, "pytorch-gpu.2-4": {"2026-07-14", "2027-01-14"}, "pytorch-tpu.2-4": {"2026-07-14", "2027-01-14"},
	"pytorch-cpu.2-3": {"2026-01-14", "2027-01-14"}, "pytorch-gpu.2-3": {"2026-01-14", "2027-01-14"}, "pytorch-cpu.2-2": {"2026-01-14", "2027-01-14"}, "pytorch-gpu.2-2": {"2026-01-14", "2027-01-14"},
	"sklearn-cpu.1-6": {"2026-10-14", "2027-10-14"}, "sklearn-cpu.1-5": {"2026-07-14", "2027-01-14"}, "sklearn-cpu.1-4": {"2026-01-14", "2027-01-14"},
	"xgboost-cpu.2-1": {"2026-07-14", "2027-01-14"}, "xgboost-cpu.2-0": {"2026-01-14", "2027-01-14"},
}

var vertexPrebuilt = regexp.MustCompile(`-docker\.pkg\.dev/vertex-ai(?:-restricted)?/prediction/([^:@]+)`)

// VertexAIEnded reports whether an image is a prebuilt container that is gone, and
// since when. Of those that are not known it is false.
func VertexAIEnded(image string, now time.Time) (ended bool, since time.Time) {
	since, err := time.Parse(time.DateOnly, vertexEnds[prebuilt(image)].there)
	return err == nil && now.After(since), since
}

// VertexAIUnpatched reports whether an image is a prebuilt container that Google has
// ceased to patch, since when, and when it will be gone.
func VertexAIUnpatched(image string, now time.Time) (ceased bool, since, gone time.Time) {
	ends := vertexEnds[prebuilt(image)]
	since, err := time.Parse(time.DateOnly, ends.patched)
	if err != nil || !now.After(since) {
		return false, time.Time{}, time.Time{}
	}
	gone, err = time.Parse(time.DateOnly, ends.there)
	return err == nil, since, gone
}

// VertexAIForCPU is the framework of a prebuilt container that has no use for an
// accelerator, "" of any other image.
func VertexAIForCPU(image string) string {
	framework, _, ok := strings.Cut(prebuilt(image), "-cpu.")
	if !ok {
		return ""
	}
	return framework
}

// prebuilt is the name of a prebuilt container, as in "sklearn-cpu.1-6".
func prebuilt(image string) string {
	m := vertexPrebuilt.FindStringSubmatch(image)
	if m == nil {
		return ""
	}
	return m[1]
}
