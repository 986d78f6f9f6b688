// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package runtimes_test

import (
	"testing"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

func TestSageMakerImages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reason, runtime, region, arch string
		gpu                           bool
		want                          string
		code                          mlerr.Code
	}{
		{reason: "built-in account", runtime: "xgboost", region: "eu-west-1", arch: "x86_64", want: "141502667606.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:1.7-1"},
		{reason: "China has its own suffix", runtime: "tensorflow", region: "cn-north-1", arch: "x86_64", want: "727897471807.dkr.ecr.cn-north-1.amazonaws.com.cn/tensorflow-inference:2.19.0-cpu"},
		{reason: "accelerators change the tag", runtime: "tensorflow", region: "us-east-1", arch: "x86_64", gpu: true, want: "763104351884.dkr.ecr.us-east-1.amazonaws.com/tensorflow-inference:2.19.0-gpu"},
		{reason: "no built-in images in that region", runtime: "xgboost", region: "mx-central-1", arch: "x86_64", code: mlerr.Unsupported},
		{reason: "no arm image", runtime: "tensorflow", region: "us-east-1", arch: "arm64", code: mlerr.Unsupported},
		{reason: "AWS publishes no MLflow image", runtime: "mlflow", region: "us-east-1", arch: "x86_64", code: mlerr.Unsupported},
	} {
		got, err := runtimes.SageMaker(c.runtime, c.region, c.gpu, c.arch)
		if got.Image != c.want || mlerr.CodeOf(err) != c.code {
			t.Errorf("%s: got %q, %v; want %q", c.reason, got.Image, err, c.want)
		}
	}
}

func TestInferenceAMI(t *testing.T) {
	t.Parallel()
	for image, want := range map[string]string{
		"x:2.6.0-gpu-py312-cu124-ubuntu22.04": "", "x:1.7-1": "",
		"x:0.5.9-gpu-py312-cu129-ubuntu24.04":  "al2-ami-sagemaker-inference-gpu-3-1",
		"x:0.27.1-gpu-py312-cu130-ubuntu22.04": "al2023-ami-sagemaker-inference-gpu-4-1",
	} {
		if got := runtimes.InferenceAMI(image); got != want {
			t.Errorf("%s: %q, want %q", image, got, want)
		}
	}
}
