// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package onnx

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const shipped = "../../examples/quickstart/model"

func TestShippedModels(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	program, err := filepath.Abs(filepath.Join(shipped, "generate.go"))
	if err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "generate"), program)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := exec.Command(filepath.Join(dir, "generate"))
	run.Dir = dir
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"fraud-v1.onnx", "fraud-v2.onnx"} {
		want, got := read(t, filepath.Join(dir, name)), read(t, filepath.Join(shipped, name))
		if !bytes.Equal(want, got) {
			t.Errorf("%s is not what its generator writes; run go run generate.go", name)
		}
	}
}

// TestScore recomputes the shipped models' score by hand, so that a wrong
// evaluation cannot pass as a prediction.
func TestScore(t *testing.T) {
	t.Parallel()
	x := [4]float64{412.5, 3, 0.82, 1}
	for name, sharpness := range map[string]float64{"fraud-v1.onnx": 0.4, "fraud-v2.onnx": 0.7} {
		want := score(x, sharpness)
		for form, body := range map[string]string{
			"v2 flat":   `{"inputs":[{"name":"features","shape":[1,4],"datatype":"FP32","data":[412.5,3,0.82,1]}]}`,
			"v2 nested": `{"inputs":[{"name":"features","datatype":"FP32","data":[[412.5,3,0.82,1]]}]}`,
			"v1":        `{"instances":[[412.5,3,0.82,1]]}`,
		} {
			got := answer(t, name, body)
			if len(got) != 1 || got[0].Name != "score" || got[0].Datatype != "FP32" || math.Abs(got[0].Data[0]-want) > 1e-5 {
				t.Errorf("%s, %s: got %+v, want score %v", name, form, got, want)
			}
		}
	}
}

func score(x [4]float64, sharpness float64) float64 {
	mean, deviation := [4]float64{80, 1.4, 0.3, 0.2}, [4]float64{140, 0.9, 0.4, 0.4}
	sum := -0.5
	for j := range 8 {
		unit := 0.1 * math.Cos(float64(j))
		for i := range x {
			unit += (x[i] - mean[i]) / deviation[i] * sharpness * math.Sin(float64(1+i*8+j))
		}
		sum += math.Max(0, unit) * sharpness * math.Cos(float64(2*j+1))
	}
	return 1 / (1 + math.Exp(-sum))
}

type tensorOut struct {
	Name, Datatype string
	Data           []float64
}

func answer(t *testing.T, file, body string) []tensorOut {
	t.Helper()
	m, err := FromArtifact(bytes.NewReader(packed(t, "fraud/1/model.onnx", read(t, filepath.Join(shipped, file)))), "model.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	outputs, err := Evaluate(m, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(outputs)
	if err != nil {
		t.Fatal(err)
	}
	var all []tensorOut
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	m, err := FromArtifact(bytes.NewReader(read(t, filepath.Join(shipped, "fraud-v1.onnx"))), "fraud-v1.onnx")
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]string{
		`{"instances":[[1,2,3]]}`:                                  "the model wants",
		`{"instances":[[1,2,3,"x"]]}`:                              "is not a number",
		`{"instances":[[1,2,3,4],[1]]}`:                            "different lengths",
		`{"inputs":[{"name":"other","data":[1]}]}`:                 "features is missing",
		`{"inputs":[{"name":"features","shape":[2,4],"data":[]}]}`: "values for shape",
		`nonsense`: "invalid character",
	} {
		if _, err := Evaluate(m, []byte(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", body, err, want)
		}
	}
	if _, err := FromArtifact(bytes.NewReader(packed(t, "weights.pt", nil)), "model.tar.gz"); err == nil {
		t.Error("an archive without a model was read")
	}
}

func FuzzFromArtifact(f *testing.F) {
	data, err := os.ReadFile(filepath.Join(shipped, "fraud-v1.onnx"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(_ *testing.T, data []byte) {
		if m, err := FromArtifact(bytes.NewReader(data), "model.onnx"); err == nil {
			_, _ = Evaluate(m, []byte(`{"instances":[[1,2,3,4]]}`)) // must return
		}
	})
}

func packed(t *testing.T, name string, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	files := tar.NewWriter(zip)
	if err := files.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if _, err := files.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(t *testing.T, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
