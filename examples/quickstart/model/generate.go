// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

//go:build ignore

// Command generate writes the two model files of the quickstart: features
// [N,4] (amount, cards today, distance to home, night) are standardised, pass a
// hidden layer of eight units, and come out as one fraud score per row. Run it
// in its directory with "go run generate.go".
package main

import (
	"encoding/binary"
	"log"
	"math"
	"os"

	"google.golang.org/protobuf/encoding/protowire"
)

// message is an encoded protocol buffer message; the field numbers below are
// those of onnx.proto.
type message []byte

func (m message) num(field protowire.Number, v int) message {
	return protowire.AppendVarint(protowire.AppendTag(m, field, protowire.VarintType), uint64(v))
}

func (m message) text(field protowire.Number, s string) message {
	return protowire.AppendString(protowire.AppendTag(m, field, protowire.BytesType), s)
}

func (m message) sub(field protowire.Number, s message) message {
	return protowire.AppendBytes(protowire.AppendTag(m, field, protowire.BytesType), s)
}

const (
	float32Type = 1
	features    = 4
	hidden      = 8
)

func node(op string, output string, inputs ...string) message {
	var m message
	for _, in := range inputs {
		m = m.text(1, in)
	}
	return m.text(2, output).text(3, output).text(4, op)
}

func tensor(name string, values []float32, dims ...int) message {
	var m message
	for _, d := range dims {
		m = m.num(1, d)
	}
	raw := make([]byte, 0, 4*len(values))
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	return m.num(2, float32Type).text(8, name).sub(9, raw)
}

func value(name string, width int) message {
	shape := message{}.sub(1, message{}.text(2, "N")).sub(1, message{}.num(1, width))
	return message{}.text(1, name).sub(2, message{}.sub(1, message{}.num(1, float32Type).sub(2, shape)))
}

// weights are computed, so that the files can be told to be what they claim.
// sharpness is what distinguishes the versions.
func weights(sharpness float64) (w1, b1, w2, b2 []float32) {
	for i := range features {
		for j := range hidden {
			w1 = append(w1, float32(sharpness*math.Sin(float64(1+i*hidden+j))))
		}
	}
	for j := range hidden {
		b1 = append(b1, float32(0.1*math.Cos(float64(j))))
		w2 = append(w2, float32(sharpness*math.Cos(float64(2*j+1))))
	}
	return w1, b1, w2, []float32{-0.5}
}

func model(version int, sharpness float64) message {
	w1, b1, w2, b2 := weights(sharpness)
	graph := message{}.
		sub(1, node("Sub", "centred", "features", "mean")).
		sub(1, node("Div", "standardised", "centred", "deviation")).
		sub(1, node("Gemm", "layer1", "standardised", "w1", "b1")).
		sub(1, node("Relu", "active", "layer1")).
		sub(1, node("Gemm", "layer2", "active", "w2", "b2")).
		sub(1, node("Sigmoid", "score", "layer2")).
		text(2, "fraud").
		sub(5, tensor("mean", []float32{80, 1.4, 0.3, 0.2}, features)).
		sub(5, tensor("deviation", []float32{140, 0.9, 0.4, 0.4}, features)).
		sub(5, tensor("w1", w1, features, hidden)).
		sub(5, tensor("b1", b1, hidden)).
		sub(5, tensor("w2", w2, hidden, 1)).
		sub(5, tensor("b2", b2, 1)).
		sub(11, value("features", features)).
		sub(12, value("score", 1))
	return message{}.num(1, 8).text(2, "terraform-provider-ml").num(5, version).sub(7, graph).
		sub(8, message{}.text(1, "").num(2, 13))
}

func main() {
	for name, m := range map[string]message{"fraud-v1.onnx": model(1, 0.4), "fraud-v2.onnx": model(2, 0.7)} {
		if err := os.WriteFile(name, m, 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
