// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"sort"
	"strings"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

// Arrange puts an artifact's files where a runtime looks for them. directory is
// a runtimes.Contract's Directory, "" leaves everything as it is; name is the
// model's. What the runtime cannot serve is InvalidArgument with the path
// "artifact.uri", and a hint that says what it needs.
func Arrange(directory, name string, single bool, entries []Entry) ([]Entry, error) {
	var arranged []Entry
	var err error
	switch directory {
	case runtimes.Triton:
		arranged, err = triton(name, single, entries)
	case runtimes.TensorFlow:
		arranged, err = tensorflow(entries)
	case runtimes.XGBoost:
		arranged, err = renamed(single, entries, "xgboost-model", nil)
	case runtimes.PyTorch:
		arranged, err = renamed(single, entries, "model.pth", []string{".pt", ".pth"})
	case runtimes.Sklearn:
		arranged, err = sklearn(single, entries)
	case runtimes.KServeSklearn:
		arranged, err = renamed(single, entries, "model.joblib", []string{".joblib", ".pkl", ".pickle"})
	case runtimes.KServeXGBoost:
		arranged, err = renamed(single, entries, "model.bst", []string{".bst", ".json", ".ubj"})
	case runtimes.VertexSklearn:
		arranged, err = onlyModel(single, entries, "model.joblib", map[string]string{".joblib": "model.joblib", ".pkl": "model.pkl", ".pickle": "model.pkl"})
	case runtimes.VertexXGBoost:
		arranged, err = onlyModel(single, entries, "model.bst", map[string]string{".bst": "model.bst", ".json": "model.bst", ".ubj": "model.bst",
			".joblib": "model.joblib", ".pkl": "model.pkl", ".pickle": "model.pkl"})
	case runtimes.VertexPyTorch:
		arranged, err = onlyModel(single, entries, "", map[string]string{".mar": "model.mar"})
	case runtimes.VertexTensorFlow:
		arranged, err = savedModel(entries)
	case runtimes.AzureSklearn, runtimes.AzureXGBoost, runtimes.AzurePyTorch, runtimes.AzureTensorFlow:
		arranged, err = mlflowModel(wrappers[directory], single, entries)
	case runtimes.TorchServe:
		if !has(entries, "config/config.properties") {
			err = needs("a directory that holds config/config.properties and model-store/<name>.mar, as torch-model-archiver makes it")
		}
		arranged = entries
	case runtimes.MLflow:
		if single || !has(entries, "MLmodel") {
			err = needs("a directory that holds MLmodel, as mlflow.save_model writes it")
		}
		arranged = entries
	case runtimes.HuggingFace:
		if single || !has(entries, "config.json") {
			err = needs("a directory that holds config.json, the weights and the tokenizer")
		}
		arranged = entries
	default:
		arranged = entries
	}
	sort.Slice(arranged, func(i, j int) bool { return arranged[i].Path < arranged[j].Path })
	return arranged, err
}

func needs(what string) error {
	return mlerr.New(mlerr.InvalidArgument, "the artifact does not have the files that its runtime serves").
		At("artifact.uri").WithHint("The runtime needs %s", what)
}

func has(entries []Entry, name string) bool {
	return slices.ContainsFunc(entries, func(e Entry) bool { return e.Path == name })
}

// platforms are Triton's backends by the ending of a single model file.
var tritonFiles = map[string]struct{ backend, file string }{
	".onnx": {"onnxruntime", "model.onnx"}, ".pt": {"pytorch", "model.pt"}, ".plan": {"tensorrt", "model.plan"}, ".py": {"python", "model.py"},
}

// triton makes a model repository, <model>/<version>/<file>. A directory that is
// one already is left alone; a single file becomes version 1 of a model whose
// signature Triton reads from the file itself.
func triton(name string, single bool, entries []Entry) ([]Entry, error) {
	if !single {
		for _, e := range entries {
			if path.Base(e.Path) == "config.pbtxt" && strings.Count(e.Path, "/") == 1 {
				return entries, nil
			}
		}
		return nil, needs("a model repository, <model>/config.pbtxt and <model>/1/<file>, or a single .onnx, .pt, .plan or .py file")
	}
	kind, ok := tritonFiles[path.Ext(entries[0].Path)]
	if !ok {
		return nil, needs("a model repository, or a single .onnx, .pt, .plan or .py file")
	}
	model := entries[0]
	model.Path = name + "/1/" + kind.file
	config := fmt.Sprintf("name: %q\nbackend: %q\nmax_batch_size: 0\n", name, kind.backend)
	return []Entry{generated(name+"/config.pbtxt", config), model}, nil
}

func generated(name, content string) Entry {
	return Entry{Path: name, Size: int64(len(content)), generated: true, Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader([]byte(content))), nil
	}}
}

// tensorflow puts a SavedModel below a numbered directory.
func tensorflow(entries []Entry) ([]Entry, error) {
	for _, e := range entries {
		switch dir, file := path.Split(e.Path); {
		case file != "saved_model.pb":
		case dir == "":
			moved := make([]Entry, len(entries))
			for i, e := range entries {
				moved[i] = e
				moved[i].Path = "1/" + e.Path
			}
			return moved, nil
		case strings.Count(dir, "/") <= 2:
			return entries, nil
		}
	}
	return nil, needs("a SavedModel: a directory that holds saved_model.pb and variables/")
}

// extra is where a SavedModel has files that TensorFlow does not look at.
const extra = "assets.extra/"

// savedModel puts a SavedModel at the top, out of the numbered directory that
// other servers want. What was beside that goes where it does not disturb: left out,
// the artifact could not be made whole again.
func savedModel(entries []Entry) ([]Entry, error) {
	var top string
	found := 0
	for _, e := range entries {
		if dir, file := path.Split(e.Path); file == "saved_model.pb" && strings.Count(dir, "/") <= 2 {
			top, found = dir, found+1
		}
	}
	if found != 1 {
		return nil, needs("one SavedModel: a directory that holds saved_model.pb and variables/")
	}
	if top == "" {
		return entries, nil
	}
	moved := make([]Entry, len(entries))
	for i, e := range entries {
		below, ok := strings.CutPrefix(e.Path, top)
		if !ok {
			below = extra + e.Path
		}
		if e.Path = below; has(moved[:i], below) {
			return nil, needs("no other file than the SavedModel's where " + below + " goes")
		}
		moved[i] = e
	}
	return moved, nil
}

// sklearnScript is what the scikit-learn container cannot do without.
const sklearnScript = `"""Loads the model. An artifact with a code/inference.py of its own keeps that."""
import os

import joblib


def model_fn(model_dir):
    for name in sorted(os.listdir(model_dir)):
        if name.endswith((".joblib", ".pkl", ".pickle")):
            return joblib.load(os.path.join(model_dir, name))
    raise FileNotFoundError("no model in " + model_dir)
`

// sklearn adds the script that loads the model, unless the artifact has code.
func sklearn(single bool, entries []Entry) ([]Entry, error) {
	arranged, err := renamed(single, entries, "model.joblib", []string{".joblib", ".pkl", ".pickle"})
	if err != nil || slices.ContainsFunc(arranged, func(e Entry) bool { return strings.HasPrefix(e.Path, "code/") }) {
		return arranged, err
	}
	return append(slices.Clip(arranged), generated("code/inference.py", sklearnScript)), nil
}

// renamed gives a single file the name that the runtime loads. A directory is
// left alone if it holds such a file at its root.
func renamed(single bool, entries []Entry, name string, endings []string) ([]Entry, error) {
	loads := func(file string) bool {
		return file == name || slices.Contains(endings, path.Ext(file))
	}
	if single {
		file := entries[0]
		if !loads(file.Path) {
			file.Path = name
		}
		return []Entry{file}, nil
	}
	for _, e := range entries {
		if !strings.Contains(e.Path, "/") && loads(e.Path) {
			return entries, nil
		}
	}
	words := name
	if len(endings) > 0 {
		words = "a file ending in " + strings.Join(endings, " or ")
	}
	return nil, needs(words + " at the root of the directory")
}

// onlyModel gives the one model file at the top the name that a prebuilt container
// loads. names are by the endings that it can load; a single file with another one,
// or none, gets the name otherwise, unless that is "".
func onlyModel(single bool, entries []Entry, otherwise string, names map[string]string) ([]Entry, error) {
	arranged := slices.Clone(entries)
	if single {
		if arranged[0].Path = cmp.Or(names[path.Ext(entries[0].Path)], otherwise); arranged[0].Path != "" {
			return arranged, nil
		}
	}
	found := 0
	for i, e := range entries {
		name, loads := names[path.Ext(e.Path)]
		if loads && !strings.Contains(e.Path, "/") && (e.Path == name || !has(entries, name)) {
			arranged[i].Path = name
			found++
		}
	}
	if found == 1 {
		return arranged, nil
	}
	endings := slices.Sorted(maps.Keys(names))
	return nil, needs("exactly one file ending in " + strings.Join(endings, " or ") + " at the root of the directory")
}
