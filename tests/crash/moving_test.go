// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package crash_test

import (
	"bytes"
	"testing"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
)

const moves = acctest.Configuration + `
provider "ml" {
  sagemaker = { region = "eu-west-1" }
  vertex_ai = { project = "p1", region = "europe-west4" }
  rehearsal = { state_dir = "rehearsal" }
}

resource "ml_model" "fraud" {
  platform = "sagemaker"
  name     = "fraud"
  artifact = { uri = "model", format = "huggingface" }
}
`

const movedModel = `
resource "ml_model" "moved" {
  platform = "vertex_ai"
  name     = "moved"
  artifact = { uri = ml_model.fraud.version_id, format = "huggingface" }
  serving  = { image = "europe-docker.pkg.dev/p1/own/serving:1" }
}
`

// TestProviderEndsInTheCopy ends the provider while a model moves: at the objects that
// are written, in the middle of a large one, and at the registration.
func TestProviderEndsInTheCopy(t *testing.T) {
	t.Parallel()
	w := workspace{t, t.TempDir()}
	w.write("main.tf", moves)
	w.write("model/config.json", "{}")
	w.write("model/large.bin", string(bytes.Repeat([]byte("weights "), 5<<20))) // more than two chunks
	w.must("apply", "-auto-approve", "-input=false")
	w.write("main.tf", moves+movedModel)
	p := phase{name: "move", before: w.copy(t), command: []string{"apply", "-auto-approve", "-input=false"}}
	calls := len(w.rehearsal().Calls(t))
	w.must(p.command...)
	made := acctest.Mutations(w.rehearsal().Calls(t)[calls:])
	p.leaves = w.inventory()
	t.Logf("the model moves with %v", made)
	for _, c := range []cut{{"gcs.objects.insert", 1, "after"}, {"gcs.objects.insert", 3, "before"}, {"gcs.objects.insert", 4, "after"},
		{"vertex_ai.models.upload", 1, "before"}, {"vertex_ai.models.upload", 1, "after"}} {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			cutOff(t, p, c)
		})
	}
}
