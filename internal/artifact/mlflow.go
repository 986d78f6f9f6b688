// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact

import (
	"fmt"
	"strings"

	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

// Where the files of an MLflow model that is made around an artifact are.
const (
	mlflowData = "data/"
	mlflowCode = "code/ml_loader.py"
)

// wrapper is what makes an MLflow model of a framework's files: what they need, and
// how they are loaded.
type wrapper struct {
	packages string
	loader   string
	arrange  func(single bool, entries []Entry) ([]Entry, error)
}

var wrappers = map[string]wrapper{
	runtimes.AzureSklearn: {"scikit-learn==1.6.*, joblib, pandas", `import os

import joblib


def _load_pyfunc(path):
    for name in sorted(os.listdir(path), key=lambda n: (not n.startswith("model."), n)):
        if name.endswith((".joblib", ".pkl", ".pickle")):
            return joblib.load(os.path.join(path, name))
    raise FileNotFoundError("no model in " + path)
`, func(single bool, entries []Entry) ([]Entry, error) {
		return renamed(single, entries, "model.joblib", []string{".joblib", ".pkl", ".pickle"})
	}},
	runtimes.AzureXGBoost: {"xgboost==2.1.*, pandas", `import os

import xgboost


class Model:
    def __init__(self, booster):
        self.booster = booster

    def predict(self, data, params=None):
        return self.booster.predict(xgboost.DMatrix(data))


def _load_pyfunc(path):
    for name in sorted(os.listdir(path), key=lambda n: (not n.startswith("model."), n)):
        if name.endswith((".bst", ".json", ".ubj")):
            booster = xgboost.Booster()
            booster.load_model(os.path.join(path, name))
            return Model(booster)
    raise FileNotFoundError("no model in " + path)
`, func(single bool, entries []Entry) ([]Entry, error) {
		return renamed(single, entries, "model.bst", []string{".bst", ".json", ".ubj"})
	}},
	runtimes.AzurePyTorch: {"torch==2.6.*, numpy, pandas", `import os

import numpy
import torch


class Model:
    def __init__(self, module):
        self.module = module

    def predict(self, data, params=None):
        with torch.no_grad():
            return self.module(torch.from_numpy(numpy.asarray(data, dtype=numpy.float32))).numpy()


def _load_pyfunc(path):
    for name in sorted(os.listdir(path), key=lambda n: (not n.startswith("model."), n)):
        if name.endswith((".pt", ".pth")):
            return Model(torch.jit.load(os.path.join(path, name), map_location="cpu").eval())
    raise FileNotFoundError("no model in " + path)
`, func(single bool, entries []Entry) ([]Entry, error) {
		return renamed(single, entries, "model.pt", []string{".pt", ".pth"})
	}},
	runtimes.AzureTensorFlow: {"tensorflow==2.19.*, numpy, pandas", `import numpy
import tensorflow


class Model:
    def __init__(self, loaded):
        self.loaded = loaded  # its functions live as long as it does
        self.serve = loaded.signatures["serving_default"]

    def predict(self, data, params=None):
        inputs = self.serve.structured_input_signature[1]
        if not isinstance(data, dict):
            data = {next(iter(inputs)): data}
        tensors = {k: tensorflow.constant(numpy.asarray(v), dtype=inputs[k].dtype) for k, v in data.items()}
        return {k: v.numpy().tolist() for k, v in self.serve(**tensors).items()}


def _load_pyfunc(path):
    return Model(tensorflow.saved_model.load(path))
`, func(_ bool, entries []Entry) ([]Entry, error) { return savedModel(entries) }},
}

// mlflowModel makes an MLflow model of what a framework has written. One that is
// handed over is left alone.
func mlflowModel(w wrapper, single bool, entries []Entry) ([]Entry, error) {
	if !single && has(entries, "MLmodel") {
		return entries, nil
	}
	files, err := w.arrange(single, entries)
	if err != nil {
		return nil, err
	}
	arranged := make([]Entry, len(files), len(files)+3)
	for i, e := range files {
		arranged[i] = e
		arranged[i].Path = mlflowData + e.Path
	}
	var needed strings.Builder
	for name := range strings.SplitSeq(w.packages, ", ") {
		fmt.Fprintf(&needed, "      - %s\n", name)
	}
	const about = "flavors:\n  python_function:\n    loader_module: ml_loader\n    code: code\n    data: data\n    env:\n      conda: conda.yaml\n    python_version: \"3.12\"\n"
	conda := "name: model\nchannels:\n  - conda-forge\ndependencies:\n  - python=3.12\n  - pip\n  - pip:\n      - mlflow\n" + needed.String()
	return append(arranged, generated("MLmodel", about), generated("conda.yaml", conda), generated(mlflowCode, w.loader)), nil
}
