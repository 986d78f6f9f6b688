// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package runtimes

import "github.com/mlplane/terraform-provider-ml/internal/mlerr"

// The kinds of models that Azure ML tells apart.
const (
	AzureCustomModel = "custom_model" // served by an image that loads it
	AzureMLflowModel = "mlflow_model"
	AzureTritonModel = "triton_model"
)

// Arrangements for Azure ML, which has servers for MLflow and Triton only: what an
// artifact needs besides to be an MLflow model is put around it.
const (
	AzureSklearn    = "azure-sklearn"    // a .joblib, .pkl or .pickle file
	AzureXGBoost    = "azure-xgboost"    // a .bst, .json or .ubj file
	AzurePyTorch    = "azure-pytorch"    // a TorchScript file, .pt or .pth
	AzureTensorFlow = "azure-tensorflow" // a SavedModel
)

// azureMLflow are the presets that the platform's MLflow server serves. It takes what
// the model needs from its conda.yaml when it starts.
var azureMLflow = map[string]string{MLflow: MLflow, Sklearn: AzureSklearn, XGBoost: AzureXGBoost, PyTorch: AzurePyTorch, TensorFlow: AzureTensorFlow}

// AzureML is the contract of a runtime that serves a model of that name. Its Image is
// "": the platform deploys the model's kind without environment and code. A runtime
// that it has no server for is Unsupported.
func AzureML(runtime, model string) (Contract, error) {
	if directory, ok := azureMLflow[runtime]; ok {
		return Contract{AzureModel: AzureMLflowModel, Port: 5001, Protocol: "custom", PredictPath: "/score", HealthPath: "/", Layout: LayoutPrefix, Directory: directory}, nil
	}
	switch runtime {
	case Triton, ONNX:
		predict, live, _, _ := Routes("v2", model)
		return Contract{AzureModel: AzureTritonModel, Port: 8000, Protocol: "v2", PredictPath: predict, HealthPath: live, ReadyPath: "/v2/health/ready", Layout: LayoutPrefix, Directory: Triton}, nil
	}
	return Contract{}, mlerr.New(mlerr.Unsupported, "azure_ml has no server for the runtime %q, and starts images without arguments", runtime).At("serving.runtime").
		WithHint("Set serving.image to an image that starts by itself and loads what is below $AZUREML_MODEL_DIR, with serving.port and paths; or save the model with MLflow and use the runtime mlflow")
}
