// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package docs_test holds what people read to what is so: examples are planned,
// tables are generated, and names of tests and files are names of tests and
// files.
package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
)

const root = "../.."

// block is a Terraform configuration in Markdown.
var block = regexp.MustCompile("(?s)```(?:terraform|hcl)\n(.*?)```")

// TestExamplesPlan plans every example, in rehearsal. An example that shows
// only a part stands with the provider's example.
func TestExamplesPlan(t *testing.T) {
	examples := map[string]string{}
	for _, file := range glob(t, "README.md", "templates/*.tmpl", "templates/guides/*") {
		for _, found := range block.FindAllStringSubmatch(read(t, file), -1) {
			name, _, _ := strings.Cut(strings.TrimSpace(found[1]), "\n")
			examples[file+": "+name] = found[1]
		}
	}
	for _, file := range glob(t, "examples/resources/*/resource.tf") {
		examples[file] = read(t, file)
	}
	whole := read(t, "examples/provider/provider.tf")
	source, _, _ := strings.Cut(whole, "provider \"ml\"")

	// Artifacts are read from where terraform runs the provider: here.
	model := read(t, "examples/quickstart/model/fraud-v1.onnx")
	t.Chdir(t.TempDir())
	for _, file := range []string{"models/fraud.onnx", "models/vision.onnx", "models/churn.onnx", "models/ranking/model.bin"} {
		write(t, file, model)
	}
	t.Setenv("TF_ACC_PROVIDER_NAMESPACE", "mlplane")
	for name, config := range examples {
		t.Run(name, func(t *testing.T) {
			t.Setenv("ML_REHEARSAL", t.TempDir())
			switch {
			case strings.Contains(config, "required_providers"):
			case strings.Contains(config, "provider \"ml\""):
				config = source + config
			default:
				config = whole + config
			}
			if !strings.Contains(config, "resource \"") {
				config += "resource \"ml_model\" \"fraud\" {\n platform = \"sagemaker\"\n name = \"fraud\"\n artifact = { uri = \"models/fraud.onnx\", format = \"onnx\" }\n}\n"
			}
			resource.UnitTest(t, resource.TestCase{ProtoV6ProviderFactories: acctest.Factories(),
				Steps: []resource.TestStep{{Config: config, PlanOnly: true, ExpectNonEmptyPlan: true}}})
		})
	}
}

// glob is the files of the repository that any of the patterns matches.
func glob(t *testing.T, patterns ...string) []string {
	t.Helper()
	var all []string
	for _, p := range patterns {
		files, err := filepath.Glob(filepath.Join(root, p))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			name, err := filepath.Rel(root, f)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, filepath.ToSlash(name))
		}
	}
	return all
}

// read is a file of the repository.
func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// write makes a file below the working directory.
func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
