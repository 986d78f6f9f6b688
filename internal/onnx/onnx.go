// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package onnx answers a prediction with a small ONNX model, for the emulated
// data planes. Evaluation is GoMLX's, in pure Go.
package onnx

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/backends/simplego"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"
	"github.com/gomlx/gomlx/pkg/ml/context"
	"github.com/gomlx/onnx-gomlx/onnx"
	"github.com/gomlx/onnx-gomlx/onnx/parser"
)

// limit is how large a model file may be, in bytes, to be evaluated at all.
const limit = 64 << 20

// Model is a parsed ONNX model.
type Model struct {
	parsed        onnx.Model
	names, answer []string // of inputs and outputs
	shapes        []shapes.Shape
}

// FromArtifact reads the first .onnx file of an artifact: of a *.tar.gz, or the
// artifact itself. name is the artifact's file name.
func FromArtifact(r io.Reader, name string) (*Model, error) {
	data, err := modelFile(r, name)
	if err != nil {
		return nil, err
	}
	if len(data) > limit {
		return nil, fmt.Errorf("the model is larger than %d MiB", limit>>20)
	}
	var m Model
	err = trying(func() (err error) {
		if m.parsed, err = parser.Parse(data); err != nil {
			return err
		}
		m.parsed.WithExternalDataReader(noFiles{})
		m.names, m.shapes = m.parsed.Inputs()
		m.answer, _ = m.parsed.Outputs()
		return nil
	})
	return &m, err
}

// noFiles keeps a model from naming files of this machine as its weights.
type noFiles struct{}

func (noFiles) ReadInto(onnx.ExternalDataInfo, []byte) error {
	return errors.New("the model keeps its weights in other files")
}

func (noFiles) Close() error { return nil }

func modelFile(r io.Reader, name string) ([]byte, error) {
	if !strings.HasSuffix(name, ".tar.gz") {
		return io.ReadAll(io.LimitReader(r, limit+1))
	}
	unzipped, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	files := tar.NewReader(unzipped)
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil, errors.New("the archive holds no .onnx file")
		}
		if err != nil {
			return nil, err
		}
		if path.Ext(header.Name) == ".onnx" {
			return io.ReadAll(io.LimitReader(files, limit+1))
		}
	}
}

// backend runs models in pure Go.
var backend = sync.OnceValues(func() (backends.Backend, error) { return simplego.New("") })

// Evaluate answers a request of the Open Inference Protocol v2 ("inputs"), or of
// its v1 ("instances"), with the list of output tensors as in v2.
func Evaluate(m *Model, body []byte) (any, error) {
	inputs, err := m.inputs(body)
	if err != nil {
		return nil, err
	}
	var outputs []*tensors.Tensor
	err = trying(func() error {
		engine, err := backend()
		if err != nil {
			return err
		}
		outputs, err = m.run(engine, inputs)
		return err
	})
	if err != nil {
		return nil, err
	}
	all := make([]output, 0, len(outputs))
	for i, t := range outputs {
		o, err := newOutput(m.answer[i], t)
		if err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}

func (m *Model) run(engine backends.Backend, inputs []any) ([]*tensors.Tensor, error) {
	weights := context.New()
	if err := m.parsed.VariablesToContext(weights); err != nil {
		return nil, err
	}
	return context.ExecOnceN(engine, weights, func(c *context.Context, nodes []*graph.Node) []*graph.Node {
		named := make(map[string]*graph.Node, len(nodes))
		for i, n := range nodes {
			named[m.names[i]] = n
		}
		return m.parsed.CallGraph(c, nodes[0].Graph(), named)
	}, inputs...)
}

// trying turns a panic into an error: the library panics on graphs that it
// cannot run.
func trying(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("cannot evaluate the model: %v", p)
		}
	}()
	return do()
}
