// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package crash_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
)

// configurations are one model with one endpoint that scales by itself, by platform.
var configurations = map[string]string{
	"sagemaker": configure("sagemaker", "sagemaker = { region = \"eu-west-1\" }", "ml.m5.large", ""),
	"vertex_ai": configure("vertex_ai", fmt.Sprintf("vertex_ai = { project = %q, region = %q }", acctest.GoogleProject, acctest.GoogleRegion), "n2-standard-2", ""),
	"azure_ml": configure("azure_ml", fmt.Sprintf("azure_ml = { subscription_id = %q, resource_group = %q, workspace = %q }", acctest.AzureSubscription, acctest.AzureGroup, acctest.AzureWorkspace),
		"Standard_DS3_v2", `auth = { invokers = ["servicePrincipal:00000000-0000-0000-0000-0000000ca11e"] }`),
}

func configure(platform, provider, machine, more string) string {
	return acctest.Configuration + fmt.Sprintf(`
provider "ml" {
  %s
  rehearsal = { state_dir = "rehearsal" }
}

resource "ml_model" "fraud" {
  platform = %q
  name     = "fraud"
  artifact = { uri = "model.onnx", format = "onnx" }
  aliases  = ["champion"]
}

resource "ml_endpoint" "fraud" {
  platform = %q
  name     = "fraud"
  deployments = {
    main = {
      model   = ml_model.fraud.version_id
      compute = { instance_type = %q }
      scaling = {
        min     = 1
        max     = 4
        metrics = [{ type = "requests_per_replica", target = 200 }]
      }
    }
  }
  %s
}
`, provider, platform, platform, machine, more)
}

// workspace is a directory with a configuration, its state, and the rehearsal
// that holds what was made.
type workspace struct {
	t   *testing.T
	dir string
}

func (w workspace) path(name string) string { return filepath.Join(w.dir, name) }

func (w workspace) write(name, content string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(w.path(name), []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// copy is the workspace once more, for another test.
func (w workspace) copy(t *testing.T) workspace {
	t.Helper()
	c := workspace{t, t.TempDir()}
	if err := os.CopyFS(c.dir, os.DirFS(w.dir)); err != nil {
		t.Fatal(err)
	}
	return c
}

func (w workspace) terraform(args ...string) (string, error) {
	return built.Run(w.t.Context(), w.dir, nil, args...)
}

func (w workspace) must(args ...string) {
	w.t.Helper()
	if _, err := w.terraform(args...); err != nil {
		w.t.Fatal(err)
	}
}

func (w workspace) rehearsal() *acctest.Rehearsal {
	return acctest.OpenRehearsal(w.t, w.path("rehearsal"))
}

// inventory names what exists, served for this one look.
func (w workspace) inventory() []string {
	w.t.Helper()
	all, err := w.rehearsal().Inventory(w.t)
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// cut is a call at which the process ends: the n-th of its name in the command.
type cut struct {
	call string
	n    int
	when string // "before" or "after" its effect
}

func (c cut) String() string { return fmt.Sprintf("%s_%s_%d", c.when, c.call, c.n) }

// phase is one command: what was there before, how the command is given, and
// what an undisturbed run of it leaves.
type phase struct {
	name    string
	before  workspace
	command []string
	cuts    []cut
	leaves  []string
}

// undisturbed runs the life of an endpoint once, and notes for each command the
// calls at which it can be cut off.
func undisturbed(t *testing.T, configuration string) []phase {
	t.Helper()
	w := workspace{t, t.TempDir()}
	w.write("main.tf", configuration)
	apply, destroy := []string{"apply", "-auto-approve", "-input=false"}, []string{"destroy", "-auto-approve", "-input=false"}
	phases := []phase{{name: "create", command: apply}, {name: "update", command: apply}, {name: "destroy", command: destroy}}
	calls := 0
	for i := range phases {
		p := &phases[i]
		if p.name != "destroy" {
			w.write("model.onnx", "bytes for "+p.name)
		}
		p.before = w.copy(t)
		w.must(p.command...)
		all := w.rehearsal().Calls(t)
		p.cuts = cuts(all[calls:])
		p.leaves = w.inventory()
		calls = len(w.rehearsal().Calls(t)) // those that looked
	}
	return phases
}

// cuts are all places at which a command that makes these calls can be cut off.
// Quick runs leave reads out: to be cut off at one is to be cut off after the
// change before it.
func cuts(calls []string) []cut {
	var all []cut
	seen := map[string]int{}
	changes := acctest.Mutations(calls)
	for _, call := range calls {
		seen[call]++
		if os.Getenv("ML_SOAK") == "" && !slices.Contains(changes, call) {
			continue
		}
		all = append(all, cut{call, seen[call], "before"}, cut{call, seen[call], "after"})
	}
	return all
}

// stride is the distance between the cuts that are tested. ML_CRASH_SAMPLE=n is
// for tests without terraform, whose runs take a tenth of the time. An odd
// distance meets cuts before calls and cuts after them.
func stride() int {
	every := 3
	if given := os.Getenv("ML_CRASH_SAMPLE"); given != "" {
		if _, err := fmt.Sscan(given, &every); err != nil || every < 1 {
			every = 1
		}
	}
	if os.Getenv("ML_SOAK") != "" {
		return every
	}
	return 3*every - 2
}

// TestProviderEndsAtACall ends the process of the provider before and after API
// calls of an apply that creates, an apply that rolls out, and a destroy. The
// same command again must then succeed, leave an empty plan and exactly what an
// undisturbed run leaves, and a destroy must find all of it.
func TestProviderEndsAtACall(t *testing.T) {
	t.Parallel()
	for platform, configuration := range configurations {
		t.Run(platform, func(t *testing.T) {
			t.Parallel()
			every, place := stride(), 0
			for _, p := range undisturbed(t, configuration) {
				t.Logf("%s: %d places to cut it off, every %d is", p.name, len(p.cuts), every)
				for _, c := range p.cuts {
					if place++; place%every != 0 {
						continue
					}
					t.Run(p.name+"/"+c.String(), func(t *testing.T) {
						t.Parallel()
						cutOff(t, p, c)
					})
				}
			}
		})
	}
}

func cutOff(t *testing.T, p phase, c cut) {
	t.Helper()
	w := p.before.copy(t)
	if err := os.MkdirAll(w.path("rehearsal"), 0o700); err != nil {
		t.Fatal(err)
	}
	script, err := json.Marshal(map[string]any{"faults": []fault.Fault{{Call: c.call, Occurrence: c.n, Action: fault.Exit, When: c.when}}})
	if err != nil {
		t.Fatal(err)
	}
	w.write("rehearsal/faults.json", string(script))
	out, err := w.terraform(p.command...)
	if err == nil {
		// A platform that was quicker than in the undisturbed run needs fewer looks.
		if len(acctest.Mutations([]string{c.call})) > 0 {
			t.Errorf("the provider was to end at the call, and did not:\n%s", out)
		}
	} else if said := err.Error(); !strings.Contains(said, "Plugin did not respond") && !strings.Contains(said, "plugin crashed") && !strings.Contains(said, "request was") {
		t.Errorf("the command failed, but not because the provider ended: %v", err)
	}
	if err := os.Remove(w.path("rehearsal/faults.json")); err != nil {
		t.Fatal(err)
	}
	out, err = w.terraform(p.command...)
	if err != nil {
		t.Fatalf("the command does not go on: %v", err)
	}
	if p.name != "destroy" {
		w.must("plan", "-detailed-exitcode", "-input=false")
	}
	if diff := cmp.Diff(p.leaves, w.inventory()); diff != "" {
		t.Errorf("the platform holds something else (+) than after an undisturbed run (-):\n%s\nThe command that went on said:\n%s", diff, out)
	}
	w.must("destroy", "-auto-approve", "-input=false")
	if err := w.rehearsal().Empty(t); err != nil {
		t.Error(err)
	}
}
