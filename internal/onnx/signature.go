// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package onnx

import (
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/shapes"
)

// Tensor describes an input or output as protocol v2 does. A dimension of -1 is
// any size.
type Tensor struct {
	Name     string `json:"name"`
	Datatype string `json:"datatype"`
	Shape    []int  `json:"shape"`
}

var datatypes = map[dtypes.DType]string{
	dtypes.Float32: "FP32", dtypes.Float64: "FP64", dtypes.Int32: "INT32", dtypes.Int64: "INT64", dtypes.Bool: "BOOL",
}

// Signature is what the model takes and gives.
func (m *Model) Signature() (inputs, outputs []Tensor) {
	names, sizes := m.parsed.Outputs()
	return describe(m.names, m.shapes), describe(names, sizes)
}

func describe(names []string, all []shapes.Shape) []Tensor {
	tensors := make([]Tensor, len(names))
	for i, name := range names {
		tensors[i] = Tensor{name, datatypes[all[i].DType], all[i].Dimensions}
	}
	return tensors
}
