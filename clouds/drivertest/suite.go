// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package drivertest

import (
	"slices"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// limit is far longer than any transition of an emulator.
const limit = time.Hour

// Run holds a driver to the contract. newHarness makes an empty platform.
func Run(t *testing.T, newHarness func(t *testing.T) Harness) {
	scenarios := []struct {
		name   string
		reason string
		run    func(t *testing.T, h Harness)
	}{
		{"Versions", "what is served decides the version, and nothing else does", testVersions},
		{"Retention", "old versions go, the current one and those that are served stay", testRetention},
		{"ModelConflict", "a model that somebody else made is not taken over", testModelConflict},
		{"Moving", "a version's artifact is taken over by another model, the same bytes with the same digest", testMoving},
		{"Rollout", "a new version replaces the old in place and leaves nothing behind", testRollout},
		{"Traffic", "several deployments share requests as written", testTraffic},
		{"Scaling", "bounds are set, and a count that an autoscaler chose is kept", testScaling},
		{"Together", "changes of everything are one apply, and a deployment goes with its traffic", testTogether},
		{"Adoption", "an endpoint made by hand is taken as it is, and changed only where asked", testAdoption},
		{"EndpointConflict", "an endpoint that somebody else made is not taken over", testEndpointConflict},
		{"Drift", "what somebody changed behind our back is put right", testDrift},
		{"Damage", "what serves on, and has lost something that it stands on, is made whole", testDamage},
		{"Settings", "a setting that is part of the deployments replaces them, and leaves nothing of before", testSettings},
		{"FailedCreate", "an endpoint that cannot start is reported, kept for destroy, and made anew", testFailedCreate},
		{"RolledBack", "a change that the platform undid is a failed apply that says why", testRolledBack},
		{"SmokeTest", "a version that answers wrongly is taken back, and the apply fails with its answer", testSmokeTest},
		{"Approval", "what is not approved is not served", testApproval},
		{"DeletionOrder", "a version that is served cannot be destroyed", testDeletionOrder},
		{"Gaps", "what a platform cannot do is refused with a path and an alternative", testGaps},
		{"Unchanged", "a second apply changes nothing", testUnchanged},
	}
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			t.Log(s.reason)
			s.run(t, newHarness(t))
		})
	}
	t.Run("CutOff", func(t *testing.T) {
		t.Parallel()
		t.Log("a process that dies at any call is continued by the next")
		testCutOff(t, newHarness)
	})
	t.Run("CutOffBeforeSmokeTest", func(t *testing.T) {
		t.Parallel()
		t.Log("what was deployed and not tested is not taken for tested")
		testCutOffBeforeSmokeTest(t, newHarness)
	})
}

// modelSpec is a model that publishes content.
func modelSpec(t *testing.T, h Harness, p *process, name, content string) *driver.ModelSpec {
	t.Helper()
	uri, digest := h.Artifact(t, content)
	key, err := p.Key(p.Features().Platform, h.Location(), name)
	if err != nil {
		t.Fatal(err)
	}
	return &driver.ModelSpec{Key: key, Artifact: driver.Artifact{URI: uri, Format: "onnx", Digest: digest},
		Approval: driver.Approved, RetainVersions: 10}
}

func applyModel(t *testing.T, p *process, spec *driver.ModelSpec, create bool) (*driver.ModelState, error) {
	t.Helper()
	if err := p.CheckModel(spec); err != nil {
		t.Fatalf("the specification was refused: %v", err)
	}
	return p.ApplyModel(p.ctx, spec, clouds.How{Create: create, Limit: limit})
}

// mustModel applies a model and checks that it then is what was wanted.
func mustModel(t *testing.T, p *process, spec *driver.ModelSpec, create bool) *driver.ModelState {
	t.Helper()
	state, err := applyModel(t, p, spec, create)
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	newest := state.Newest()
	if newest == nil || !newest.Is(spec) || newest.Phase != driver.Ready {
		t.Fatalf("the newest version is not what was wanted: %+v", newest)
	}
	if newest.Approval != spec.Approval || !slices.Equal(newest.Aliases, spec.Aliases) {
		t.Fatalf("approval %q, aliases %v; want %q, %v", newest.Approval, newest.Aliases, spec.Approval, spec.Aliases)
	}
	return state
}

func reference(state *driver.ModelState) driver.VersionRef {
	return driver.VersionRef{Key: state.Key, Version: state.Newest().Version}
}

// deployment is a deployment that gets all traffic.
func deployment(name string, ref driver.VersionRef) driver.Deployment {
	return driver.Deployment{Name: name, Model: ref, Traffic: 100, Scaling: driver.Scaling{Min: 1, Max: 1}}
}

// environment is what a deployment has of its own, where the platform has that.
func environment(p *process, env map[string]string) map[string]string {
	if p.Features().Gap(driver.Use{Path: "deployments.main.env"}) != nil {
		return nil
	}
	return env
}

// endpointSpec is an endpoint with those deployments, small ones unless they say
// otherwise.
func endpointSpec(t *testing.T, h Harness, p *process, name string, deployments ...driver.Deployment) *driver.EndpointSpec {
	t.Helper()
	spec := h.Endpoint(name)
	key, err := p.Key(p.Features().Platform, h.Location(), name)
	if err != nil {
		t.Fatal(err)
	}
	small, _ := h.Compute()
	for i := range deployments {
		if deployments[i].Compute == (driver.Compute{}) {
			deployments[i].Compute = small
		}
	}
	spec.Key, spec.Deployments = key, deployments
	return spec
}

func applyEndpoint(t *testing.T, p *process, spec *driver.EndpointSpec, create bool) (*driver.EndpointState, error) {
	t.Helper()
	if err := p.CheckEndpoint(spec); err != nil {
		t.Fatalf("the specification was refused: %v", err)
	}
	return p.ApplyEndpoint(p.ctx, spec, clouds.How{Create: create, Limit: limit})
}

// mustEndpoint applies an endpoint and checks that it then is what was wanted.
func mustEndpoint(t *testing.T, p *process, spec *driver.EndpointSpec, create bool) *driver.EndpointState {
	t.Helper()
	state, err := applyEndpoint(t, p, spec, create)
	if err != nil {
		t.Fatalf("apply: %v (%s)", err, mlerr.Hint(err))
	}
	serves(t, state, spec)
	return state
}

// serves fails unless exactly what spec wants is ready and has its traffic.
func serves(t *testing.T, state *driver.EndpointState, spec *driver.EndpointSpec) {
	t.Helper()
	if state == nil || state.Phase != driver.Ready {
		t.Fatalf("the endpoint is not ready: %+v", state)
	}
	if len(state.Deployments) != len(spec.Deployments) {
		t.Fatalf("%d deployments serve, want %d", len(state.Deployments), len(spec.Deployments))
	}
	for i, want := range spec.Deployments {
		now := state.Deployments[i]
		if now.Name != want.Name || now.Model != want.Model || now.Traffic != want.Traffic || now.Phase != driver.Ready {
			t.Fatalf("deployment %s: serves %s with %d%% (%s), want %s with %d%%",
				now.Name, now.Model, now.Traffic, now.Phase, want.Model, want.Traffic)
		}
	}
	if len(state.Leftovers) > 0 {
		t.Fatalf("left behind: %v", state.Leftovers)
	}
}

func wantCode(t *testing.T, err error, code mlerr.Code, reason string) {
	t.Helper()
	if !mlerr.Is(err, code) {
		t.Fatalf("%s: got error %v (%s), want code %q", reason, err, mlerr.CodeOf(err), code)
	}
}
