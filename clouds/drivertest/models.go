// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package drivertest

import (
	"strings"
	"testing"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

func testVersions(t *testing.T, h Harness) {
	p := start(t, h, &Cutter{})
	spec := modelSpec(t, h, p, "fraud", "one")
	spec.Description, spec.Aliases = "Card fraud, scored (v1)", []string{"champion"}
	spec.Labels, spec.Metadata = map[string]string{"team": "risk"}, map[string]string{"git_commit": "3f9c2a7"}
	first := mustModel(t, p, spec, true)
	if n := len(first.Versions); n != 1 {
		t.Fatalf("%d versions after the first apply, want 1", n)
	}
	if first.Description != spec.Description || first.Labels["team"] != "risk" || first.Newest().Metadata["git_commit"] != "3f9c2a7" {
		t.Fatalf("description, labels or metadata were not kept: %+v", first)
	}

	spec.Description, spec.Approval = "Now with merchants", driver.Pending
	spec.Aliases, spec.Labels, spec.Metadata = []string{"challenger", "shadow"}, nil, map[string]string{"run": "12"}
	second := mustModel(t, p, spec, false)
	if n := len(second.Versions); n != 1 {
		t.Fatalf("%d versions after changing what is mutable, want 1", n)
	}
	if len(second.Labels) != 0 || second.Newest().Metadata["git_commit"] != "" || second.Newest().Metadata["run"] != "12" {
		t.Fatalf("removed labels or metadata are still there: %+v", second)
	}

	next := modelSpec(t, h, p, "fraud", "two")
	next.Aliases = []string{"champion"}
	third := mustModel(t, p, next, false)
	if len(third.Versions) != 2 || third.Newest().Version == first.Newest().Version {
		t.Fatalf("new bytes did not publish a version: %+v", third.Versions)
	}

	back := modelSpec(t, h, p, "fraud", "one")
	fourth := mustModel(t, p, back, false)
	if len(fourth.Versions) != 3 {
		t.Fatalf("%d versions after going back to the first bytes, want 3: history only grows", len(fourth.Versions))
	}

	env := modelSpec(t, h, p, "fraud", "one")
	env.Serving.Env = map[string]string{"THRESHOLD": "0.5"}
	if fifth := mustModel(t, p, env, false); len(fifth.Versions) != 4 {
		t.Fatal("a changed serving environment did not publish a version")
	}
	destroyed(t, h, p, env.Key)
}

func destroyed(t *testing.T, h Harness, p *process, key driver.Key) {
	t.Helper()
	if err := p.DestroyModel(p.ctx, key, limit); err != nil {
		t.Fatalf("destroy: %v", err)
	}
	if left := h.Objects(t); len(left) > 0 {
		t.Fatalf("destroy left %v", left)
	}
	if err := p.DestroyModel(p.ctx, key, limit); err != nil {
		t.Fatalf("destroying what is gone: %v", err)
	}
}

func testRetention(t *testing.T, h Harness) {
	p := start(t, h, &Cutter{})
	first := mustModel(t, p, modelSpec(t, h, p, "fraud", "1"), true)
	mustEndpoint(t, p, endpointSpec(t, h, p, "fraud", deployment("main", reference(first))), true)
	var last *driver.ModelState
	for _, content := range []string{"2", "3", "4"} {
		spec := modelSpec(t, h, p, "fraud", content)
		spec.RetainVersions = 2
		last = mustModel(t, p, spec, false)
	}
	if last.Find(first.Newest().Version) == nil {
		t.Fatal("a version that an endpoint serves was removed")
	}
	if len(last.Versions) != 3 {
		t.Fatalf("%d versions are left, want the two to retain and the one that is served", len(last.Versions))
	}
}

func testModelConflict(t *testing.T, h Harness) {
	p := start(t, h, &Cutter{})
	mustModel(t, p, modelSpec(t, h, p, "fraud", "one"), true)
	if _, err := applyModel(t, p, modelSpec(t, h, p, "fraud", "one"), true); err != nil {
		t.Fatalf("creating what already is exactly that: %v", err)
	}
	_, err := applyModel(t, p, modelSpec(t, h, p, "fraud", "other"), true)
	wantCode(t, err, mlerr.AlreadyExists, "another state manages this model")
	if !strings.Contains(mlerr.Hint(err), "import") {
		t.Fatalf("the hint %q does not say how to import it", mlerr.Hint(err))
	}
}

func testApproval(t *testing.T, h Harness) {
	p := start(t, h, &Cutter{})
	spec := modelSpec(t, h, p, "fraud", "one")
	spec.Approval = driver.Pending
	model := mustModel(t, p, spec, true)
	ref := reference(model)
	err := p.CheckServable(p.ctx, map[string]driver.VersionRef{"main": ref}, nil)
	wantCode(t, err, mlerr.InvalidArgument, "a pending version")
	if got := mlerr.PathOf(err); got != "deployments.main.model" {
		t.Fatalf("path %q, want deployments.main.model", got)
	}
	if _, err = applyEndpoint(t, p, endpointSpec(t, h, p, "fraud", deployment("main", ref)), true); err == nil {
		t.Fatal("a pending version was deployed")
	}
	ref.Version = "99"
	wantCode(t, p.CheckServable(p.ctx, map[string]driver.VersionRef{"main": ref}, nil), mlerr.InvalidArgument, "a version that is not there")
}

func testDeletionOrder(t *testing.T, h Harness) {
	p := start(t, h, &Cutter{})
	model := mustModel(t, p, modelSpec(t, h, p, "fraud", "one"), true)
	spec := endpointSpec(t, h, p, "fraud", deployment("main", reference(model)))
	mustEndpoint(t, p, spec, true)
	wantCode(t, p.DestroyModel(p.ctx, model.Key, limit), mlerr.InUse, "the version is served")
	if err := p.DestroyEndpoint(p.ctx, spec.Key, clouds.How{Limit: limit}); err != nil {
		t.Fatalf("destroy endpoint: %v", err)
	}
	if _, err := p.ObserveEndpoint(p.ctx, spec.Key, nil); !mlerr.Is(err, mlerr.NotFound) {
		t.Fatalf("the endpoint is still there: %v", err)
	}
	destroyed(t, h, p, model.Key)
}
