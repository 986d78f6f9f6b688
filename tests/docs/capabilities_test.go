// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package docs_test

import (
	"flag"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/azureml"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/kubernetes"
	"github.com/mlplane/terraform-provider-ml/clouds/sagemaker"
	"github.com/mlplane/terraform-provider-ml/clouds/vertexai"
	"github.com/mlplane/terraform-provider-ml/internal/azure"
)

var update = flag.Bool("update", false, "write the table into the documents instead of comparing")

// The table stands between these lines.
const (
	begin = "<!-- capabilities: written by \"make generate\" -->\n"
	end   = "<!-- /capabilities -->\n"
)

// TestCapabilityTable compares the documents' table with the features that plans
// are checked against; "make generate" writes it.
func TestCapabilityTable(t *testing.T) {
	t.Parallel()
	features := map[driver.Platform]*driver.Features{}
	for platform, open := range map[driver.Platform]func() (driver.Driver, error){
		driver.SageMaker: func() (driver.Driver, error) { return sagemaker.Open(sagemaker.Config{Region: "eu-west-1"}) },
		driver.VertexAI:  func() (driver.Driver, error) { return vertexai.Open(vertexai.Config{Isolated: true}) },
		driver.AzureML: func() (driver.Driver, error) {
			return azureml.Open(azureml.Config{Account: azure.Config{Isolated: true, EndpointURL: "https://127.0.0.1"}})
		},
		driver.Kubernetes: func() (driver.Driver, error) {
			return kubernetes.Open(kubernetes.Config{Isolated: true, Host: "https://127.0.0.1"})
		},
	} {
		d, err := open()
		if err != nil {
			t.Fatal(err)
		}
		features[platform] = d.Features()
	}
	table := clouds.CapabilityTable(features)
	for _, document := range []string{"README.md", "templates/guides/capabilities.md"} {
		text := read(t, document)
		before, rest, begins := strings.Cut(text, begin)
		_, after, ends := strings.Cut(rest, end)
		if !begins || !ends {
			t.Fatalf("%s has no place for the table", document)
		}
		want := before + begin + "\n" + table + "\n" + end + after
		switch {
		case text == want:
		case *update:
			write(t, filepath.Join(root, document), want)
		default:
			t.Errorf("the capability table of %s is not what the code says; run: make generate", document)
		}
	}
}
