// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact_test

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

// Each runtime finds the files where its container looks for them.
func TestArrange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		runtime string
		single  bool
		files   string
		want    string // "" is refused
	}{
		{runtimes.Triton, true, "any.onnx", "fraud/1/model.onnx fraud/config.pbtxt"},
		{runtimes.Triton, true, "any.pt", "fraud/1/model.pt fraud/config.pbtxt"},
		{runtimes.Triton, true, "any.bin", ""},
		{runtimes.Triton, false, "m/1/model.onnx m/config.pbtxt", "m/1/model.onnx m/config.pbtxt"},
		{runtimes.Triton, false, "model.onnx config.pbtxt", ""},
		{runtimes.TensorFlow, false, "saved_model.pb variables/v", "1/saved_model.pb 1/variables/v"},
		{runtimes.TensorFlow, false, "3/saved_model.pb 3/variables/v", "3/saved_model.pb 3/variables/v"},
		{runtimes.TensorFlow, false, "m/3/saved_model.pb", "m/3/saved_model.pb"},
		{runtimes.TensorFlow, true, "saved_model.h5", ""},
		{runtimes.XGBoost, true, "fraud.json", "xgboost-model"},
		{runtimes.XGBoost, false, "code/inference.py xgboost-model", "code/inference.py xgboost-model"},
		{runtimes.XGBoost, false, "model.json", ""},
		{runtimes.PyTorch, true, "net.pt", "net.pt"},
		{runtimes.PyTorch, true, "net", "model.pth"},
		{runtimes.PyTorch, false, "code/inference.py deep/net.pt", ""},
		{runtimes.Sklearn, true, "forest.joblib", "code/inference.py forest.joblib"},
		{runtimes.Sklearn, true, "forest", "code/inference.py model.joblib"},
		{runtimes.Sklearn, false, "forest.pkl", "code/inference.py forest.pkl"},
		{runtimes.Sklearn, false, "code/serve.py forest.pkl", "code/serve.py forest.pkl"},
		{runtimes.Sklearn, false, "readme.md", ""},
		{runtimes.HuggingFace, false, "config.json model.safetensors", "config.json model.safetensors"},
		{runtimes.HuggingFace, false, "model.safetensors", ""},
		{runtimes.HuggingFace, true, "config.json", ""},
		{runtimes.KServeSklearn, true, "forest", "model.joblib"},
		{runtimes.KServeSklearn, false, "forest.pkl", "forest.pkl"},
		{runtimes.KServeXGBoost, true, "fraud.ubj", "fraud.ubj"},
		{runtimes.KServeXGBoost, true, "fraud", "model.bst"},
		{runtimes.TorchServe, false, "config/config.properties model-store/fraud.mar", "config/config.properties model-store/fraud.mar"},
		{runtimes.TorchServe, true, "fraud.pt", ""},
		{runtimes.MLflow, false, "MLmodel model.pkl", "MLmodel model.pkl"},
		{runtimes.MLflow, true, "MLmodel", ""},
		{runtimes.VertexSklearn, true, "forest.pickle", "model.pkl"},
		{runtimes.VertexSklearn, true, "forest", "model.joblib"},
		{runtimes.VertexSklearn, false, "forest.joblib notes.md", "model.joblib notes.md"},
		{runtimes.VertexSklearn, false, "model.pkl other.pkl", "model.pkl other.pkl"},
		{runtimes.VertexSklearn, false, "model.joblib model.pkl", ""},
		{runtimes.VertexSklearn, false, "one.joblib two.joblib", ""},
		{runtimes.VertexSklearn, false, "deep/forest.joblib", ""},
		{runtimes.VertexXGBoost, true, "fraud.ubj", "model.bst"},
		{runtimes.VertexXGBoost, true, "xgboost-model", "model.bst"},
		{runtimes.VertexXGBoost, false, "features.json model.bst", "features.json model.bst"},
		{runtimes.VertexPyTorch, true, "fraud.mar", "model.mar"},
		{runtimes.VertexPyTorch, true, "fraud.pt", ""},
		{runtimes.VertexTensorFlow, false, "saved_model.pb variables/v", "saved_model.pb variables/v"},
		{runtimes.VertexTensorFlow, false, "3/saved_model.pb 3/variables/v", "saved_model.pb variables/v"},
		{runtimes.VertexTensorFlow, false, "3/saved_model.pb 3/variables/v deep/notes.md notes.md", "assets.extra/deep/notes.md assets.extra/notes.md saved_model.pb variables/v"},
		{runtimes.VertexTensorFlow, false, "1/assets.extra/notes.md 1/saved_model.pb notes.md", ""},
		{runtimes.VertexTensorFlow, false, "1/saved_model.pb 2/saved_model.pb", ""},
		{runtimes.VertexTensorFlow, true, "saved_model.h5", ""},
		{runtimes.AzureSklearn, true, "forest.pkl", "MLmodel code/ml_loader.py conda.yaml data/forest.pkl"},
		{runtimes.AzureSklearn, true, "forest", "MLmodel code/ml_loader.py conda.yaml data/model.joblib"},
		{runtimes.AzureSklearn, false, "forest.joblib notes.md", "MLmodel code/ml_loader.py conda.yaml data/forest.joblib data/notes.md"},
		{runtimes.AzureSklearn, false, "MLmodel model.pkl", "MLmodel model.pkl"},
		{runtimes.AzureSklearn, false, "notes.md", ""},
		{runtimes.AzureXGBoost, true, "fraud.ubj", "MLmodel code/ml_loader.py conda.yaml data/fraud.ubj"},
		{runtimes.AzurePyTorch, true, "net.pt", "MLmodel code/ml_loader.py conda.yaml data/net.pt"},
		{runtimes.AzurePyTorch, false, "code/inference.py", ""},
		{runtimes.AzureTensorFlow, false, "3/saved_model.pb 3/variables/v", "MLmodel code/ml_loader.py conda.yaml data/saved_model.pb data/variables/v"},
		{runtimes.AzureTensorFlow, true, "saved_model.h5", ""},
		{"", true, "anything", "anything"},
		{"", false, "b a/c", "a/c b"},
	} {
		var entries []artifact.Entry
		for name := range strings.FieldsSeq(c.files) {
			entries = append(entries, artifact.Entry{Path: name})
		}
		arranged, err := artifact.Arrange(c.runtime, "fraud", c.single, entries)
		var got []string
		for _, e := range arranged {
			got = append(got, e.Path)
		}
		if c.want == "" {
			if !mlerr.Is(err, mlerr.InvalidArgument) || mlerr.PathOf(err) != "artifact.uri" || mlerr.Hint(err) == "" {
				t.Errorf("%s of %s: got %v, %v", c.runtime, c.files, got, err)
			}
			continue
		}
		if diff := cmp.Diff(strings.Fields(c.want), got); err != nil || diff != "" {
			t.Errorf("%s of %s: %v\n%s", c.runtime, c.files, err, diff)
		}
	}
}

func TestGeneratedTritonConfiguration(t *testing.T) {
	t.Parallel()
	arranged, err := artifact.Arrange(runtimes.Triton, "fraud", true, []artifact.Entry{{Path: "x.onnx"}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := arranged[1].Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if want := "name: \"fraud\"\nbackend: \"onnxruntime\"\nmax_batch_size: 0\n"; err != nil || string(text) != want || arranged[1].Size != int64(len(want)) {
		t.Errorf("got %q of %d bytes, %v", text, arranged[1].Size, err)
	}
}
