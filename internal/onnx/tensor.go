// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package onnx

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/shapes"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// request is what both versions of the protocol may send.
type request struct {
	Inputs []struct {
		Name  string          `json:"name"`
		Shape []int           `json:"shape"`
		Data  json.RawMessage `json:"data"`
	} `json:"inputs"`
	Instances json.RawMessage `json:"instances"`
}

// inputs are the tensors that the body gives, in the model's order.
func (m *Model) inputs(body []byte) ([]any, error) {
	var r request
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, err
	}
	if r.Instances != nil {
		if len(m.names) != 1 {
			return nil, errors.New("instances can only be given to a model of one input")
		}
		t, err := newInput(m.shapes[0], nil, r.Instances)
		return []any{t}, err
	}
	all := make([]any, len(m.names))
	for i, name := range m.names {
		for _, in := range r.Inputs {
			if in.Name != name {
				continue
			}
			t, err := newInput(m.shapes[i], in.Shape, in.Data)
			if err != nil {
				return nil, fmt.Errorf("input %s: %w", name, err)
			}
			all[i] = t
		}
		if all[i] == nil {
			return nil, fmt.Errorf("input %s is missing", name)
		}
	}
	return all, nil
}

// newInput makes a tensor of the type that the model declares. Without a shape
// the nesting of data gives it.
func newInput(as shapes.Shape, shape []int, data []byte) (*tensors.Tensor, error) {
	var nested any
	if err := json.Unmarshal(data, &nested); err != nil {
		return nil, err
	}
	flat, nesting, err := flatten(nested, nil)
	if err != nil {
		return nil, err
	}
	if shape == nil {
		shape = nesting
	}
	if len(shape) != as.Rank() {
		return nil, fmt.Errorf("shape %v, and the model wants %s", shape, as)
	}
	size := 1
	for i, n := range shape {
		if want := as.Dimensions[i]; n < 1 || (want > 0 && want != n) {
			return nil, fmt.Errorf("shape %v, and the model wants %s", shape, as)
		}
		size *= n
	}
	if size != len(flat) {
		return nil, fmt.Errorf("%d values for shape %v", len(flat), shape)
	}
	switch as.DType {
	case dtypes.Float32:
		return tensorOf[float32](flat, shape), nil
	case dtypes.Float64:
		return tensorOf[float64](flat, shape), nil
	case dtypes.Int32:
		return tensorOf[int32](flat, shape), nil
	case dtypes.Int64:
		return tensorOf[int64](flat, shape), nil
	}
	return nil, fmt.Errorf("inputs of type %s are not understood", as.DType)
}

func tensorOf[T float32 | float64 | int32 | int64](flat []float64, shape []int) *tensors.Tensor {
	data := make([]T, len(flat))
	for i, f := range flat {
		data[i] = T(f)
	}
	return tensors.FromFlatDataAndDimensions(data, shape...)
}

// flatten lists the numbers of nested lists in row-major order, and the nesting.
func flatten(v any, flat []float64) (_ []float64, shape []int, err error) {
	switch v := v.(type) {
	case float64:
		return append(flat, v), nil, nil
	case []any:
		var inner []int
		for i, e := range v {
			var s []int
			if flat, s, err = flatten(e, flat); err != nil {
				return nil, nil, err
			}
			if i > 0 && fmt.Sprint(s) != fmt.Sprint(inner) {
				return nil, nil, errors.New("the rows are of different lengths")
			}
			inner = s
		}
		return flat, append([]int{len(v)}, inner...), nil
	}
	return nil, nil, fmt.Errorf("%v is not a number", v)
}

// output is a tensor as protocol v2 writes it.
type output struct {
	Name     string `json:"name"`
	Shape    []int  `json:"shape"`
	Datatype string `json:"datatype"`
	Data     any    `json:"data"`
}

func newOutput(name string, t *tensors.Tensor) (output, error) {
	o := output{Name: name, Shape: t.Shape().Dimensions}
	var err error
	switch t.DType() {
	case dtypes.Float32:
		o.Datatype = "FP32"
		o.Data, err = tensors.CopyFlatData[float32](t)
	case dtypes.Float64:
		o.Datatype = "FP64"
		o.Data, err = tensors.CopyFlatData[float64](t)
	case dtypes.Int32:
		o.Datatype = "INT32"
		o.Data, err = tensors.CopyFlatData[int32](t)
	case dtypes.Int64:
		o.Datatype = "INT64"
		o.Data, err = tensors.CopyFlatData[int64](t)
	case dtypes.Bool:
		o.Datatype = "BOOL"
		o.Data, err = tensors.CopyFlatData[bool](t)
	default:
		err = fmt.Errorf("output %s is of type %s, which JSON cannot carry", name, t.DType())
	}
	return o, err
}
