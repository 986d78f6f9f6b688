// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package runtimes_test

import (
	"strings"
	"testing"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

// Each preset that Azure ML serves without code is the kind of model that it tells
// apart; the others say what to do.
func TestAzureMLRuntimes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		runtime, kind, directory, predict string
		port                              int
	}{
		{runtimes.Triton, "triton_model", runtimes.Triton, "/v2/models/fraud/infer", 8000},
		{runtimes.ONNX, "triton_model", runtimes.Triton, "/v2/models/fraud/infer", 8000},
		{runtimes.MLflow, "mlflow_model", runtimes.MLflow, "/score", 5001},
		{runtimes.Sklearn, "mlflow_model", runtimes.AzureSklearn, "/score", 5001},
		{runtimes.XGBoost, "mlflow_model", runtimes.AzureXGBoost, "/score", 5001},
		{runtimes.PyTorch, "mlflow_model", runtimes.AzurePyTorch, "/score", 5001},
		{runtimes.TensorFlow, "mlflow_model", runtimes.AzureTensorFlow, "/score", 5001},
		{runtime: runtimes.HuggingFace},
		{runtime: runtimes.VLLM},
	} {
		got, err := runtimes.AzureML(c.runtime, "fraud")
		if c.kind == "" {
			if !mlerr.Is(err, mlerr.Unsupported) || mlerr.PathOf(err) != "serving.runtime" || !strings.Contains(mlerr.Hint(err), "serving.image") {
				t.Errorf("%s: %v at %q, %q", c.runtime, err, mlerr.PathOf(err), mlerr.Hint(err))
			}
			continue
		}
		if err != nil || got.AzureModel != c.kind || got.Directory != c.directory || got.PredictPath != c.predict || got.Port != c.port || got.Image != "" || got.Layout != runtimes.LayoutPrefix {
			t.Errorf("%s: %+v, %v", c.runtime, got, err)
		}
	}
	for _, name := range runtimes.Names() { // none is forgotten
		if _, err := runtimes.AzureML(name, "m"); err != nil && !mlerr.Is(err, mlerr.Unsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
