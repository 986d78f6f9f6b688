// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package drivertest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// published is a model with two approved versions.
func published(t *testing.T, h Harness, p *process) (one, two driver.VersionRef) {
	t.Helper()
	one = reference(mustModel(t, p, modelSpec(t, h, p, "fraud", "one"), true))
	return one, reference(mustModel(t, p, modelSpec(t, h, p, "fraud", "two"), false))
}

func testRollout(t *testing.T, h Harness) {
	p := start(t, h, &Cutter{})
	one, two := published(t, h, p)
	mustEndpoint(t, p, endpointSpec(t, h, p, "fraud", deployment("main", one)), true)
	before := len(h.Objects(t))

	next := endpointSpec(t, h, p, "fraud", deployment("main", two))
	next.Labels = map[string]string{"team": "risk"}
	state := mustEndpoint(t, p, next, false)
	if state.Labels["team"] != "risk" {
		t.Fatalf("labels are %v", state.Labels)
	}
	if now := h.Objects(t); len(now) != before {
		t.Fatalf("the rollout left something behind: %v", now)
	}

	answer, err := p.Invoke(p.ctx, next.Key, "", driver.Request{Body: []byte(`{"inputs":[1]}`), ContentType: "application/json"})
	if err != nil || !strings.Contains(string(answer.Body), two.Version) {
		t.Fatalf("the endpoint answers %s, %v; want version %s", answer.Body, err, two.Version)
	}

	bigger := deployment("main", two)
	_, bigger.Compute = h.Compute()
	bigger.Env = environment(p, map[string]string{"WORKERS": "2"})
	state = mustEndpoint(t, p, endpointSpec(t, h, p, "fraud", bigger), false)
	if state.Deployments[0].Env["WORKERS"] != bigger.Env["WORKERS"] || len(state.Labels) != 0 {
		t.Fatalf("environment or labels were not changed: %+v", state)
	}
}

func testTraffic(t *testing.T, h Harness) {
	p := start(t, h, &Cutter{})
	one, two := published(t, h, p)
	split := func(a, b int) *driver.EndpointSpec {
		left, right := deployment("a", one), deployment("b", two)
		left.Traffic, right.Traffic = a, b
		return endpointSpec(t, h, p, "fraud", left, right)
	}
	mustEndpoint(t, p, split(90, 10), true)
	mustEndpoint(t, p, split(33, 67), false)
	mustEndpoint(t, p, split(0, 100), false)
	only := endpointSpec(t, h, p, "fraud", deployment("b", two))
	mustEndpoint(t, p, only, false)

	err := p.CheckEndpoint(split(50, 40))
	wantCode(t, err, mlerr.InvalidArgument, "shares that do not add up")
	if mlerr.PathOf(err) != "deployments" {
		t.Fatalf("path %q", mlerr.PathOf(err))
	}
}

func testScaling(t *testing.T, h Harness) {
	p := start(t, h, &Cutter{})
	one, two := published(t, h, p)
	scaled := func(ref driver.VersionRef, s driver.Scaling) *driver.EndpointSpec {
		d := deployment("main", ref)
		d.Scaling = s
		return endpointSpec(t, h, p, "fraud", d)
	}
	auto := driver.Scaling{Min: 1, Max: 5, Metrics: []driver.Metric{{Type: h.Metric(), Target: 60}}}
	for _, step := range []struct {
		name string
		want driver.Scaling
	}{
		{"fixed", driver.Scaling{Min: 1, Max: 1}},
		{"more", driver.Scaling{Min: 2, Max: 2}},
		{"automatic", auto},
		{"other target", driver.Scaling{Min: 1, Max: 6, Metrics: []driver.Metric{{Type: h.Metric(), Target: 70}}}},
		{"automatic again", auto},
	} {
		state := mustEndpoint(t, p, scaled(one, step.want), step.name == "fixed")
		if got := state.Deployments[0].Scaling; got.Min != step.want.Min || got.Max != step.want.Max || len(got.Metrics) != len(step.want.Metrics) {
			t.Fatalf("%s: scaling is %+v, want %+v", step.name, got, step.want)
		}
	}
	key := scaled(one, auto).Key
	h.Drift(t, key, "main", Drift{Replicas: 4})
	state := mustEndpoint(t, p, scaled(two, auto), false)
	if got := h.Replicas(t, key, "main"); got != 4 {
		t.Fatalf("%d replicas after the rollout: the 4 that the autoscaler had chosen were reset", got)
	}
	if s := state.Deployments[0].Scaling; s.Min != 1 || s.Max != 5 {
		t.Fatalf("the live count shows in the bounds: %+v", s)
	}
	narrow, wide := auto, auto
	narrow.Max, wide.Max = 2, 9
	mustEndpoint(t, p, scaled(two, wide), false)
	if got := h.Replicas(t, key, "main"); got != 4 {
		t.Fatalf("%d replicas: wider bounds are no reason to change the 4", got)
	}
	mustEndpoint(t, p, scaled(two, narrow), false)
	got := 0
	for range 60 { // an autoscaler looks at its bounds now and then
		if got = h.Replicas(t, key, "main"); got == 2 {
			break
		}
		if err := h.Clock().Sleep(p.ctx, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if got != 2 {
		t.Fatalf("%d replicas, and 2 are the most", got)
	}
	mustEndpoint(t, p, scaled(two, driver.Scaling{Min: 1, Max: 1}), false)

	err := p.CheckEndpoint(scaled(one, driver.Scaling{Min: 3, Max: 2, Metrics: auto.Metrics}))
	wantCode(t, err, mlerr.InvalidArgument, "min over max")
	if mlerr.PathOf(err) != "deployments.main.scaling.min" {
		t.Fatalf("path %q", mlerr.PathOf(err))
	}
}

func testTogether(t *testing.T, h Harness) {
	p := start(t, h, &Cutter{})
	one, _ := published(t, h, p)
	if err := together(t, h, p, false, true); err != nil {
		t.Fatal(err)
	}
	before := len(h.Objects(t))
	h.Drift(t, one.Key, "a", Drift{Replicas: 3})
	if err := together(t, h, p, true, false); err != nil {
		t.Fatal(err)
	}
	if got := h.Replicas(t, one.Key, "a"); got != 3 {
		t.Fatalf("%d replicas of a: the 3 that the autoscaler had chosen were reset", got)
	}
	if now := h.Objects(t); len(now) != before {
		t.Fatalf("something was left behind: %v", now)
	}
}

func testAdoption(t *testing.T, h Harness) {
	p := start(t, h, &Cutter{})
	one, two := published(t, h, p)
	h.HandMade(t, "legacy", one)
	foreign := h.Objects(t)
	key := endpointSpec(t, h, p, "legacy").Key

	imported, err := p.ObserveEndpoint(p.ctx, key, nil)
	if err != nil || imported.Marks.Owned || len(imported.Deployments) != 1 {
		t.Fatalf("the hand-made endpoint reads as %+v, %v", imported, err)
	}
	same := imported.Deployments[0].Deployment
	legacy := func(d driver.Deployment) *driver.EndpointSpec {
		spec := endpointSpec(t, h, p, "legacy", d)
		spec.Settings = imported.Settings
		return spec
	}
	adopt := start(t, h, p.fresh())
	mustEndpoint(t, adopt, legacy(same), false)
	if made := adopt.Mutations(); len(made) > 0 {
		t.Fatalf("adopting it unchanged made the calls %v", made)
	}
	if now := h.Objects(t); len(now) != len(foreign) {
		t.Fatalf("adopting it unchanged made %v of %v", now, foreign)
	}
	changed := same
	changed.Model = two
	mustEndpoint(t, p, legacy(changed), false)
	changed.Scaling = driver.Scaling{Min: 1, Max: 3, Metrics: []driver.Metric{{Type: h.Metric(), Target: 50}}}
	labeled := legacy(changed)
	labeled.Labels = map[string]string{"team": "risk"}
	mustEndpoint(t, p, labeled, false)
	changed.Model = one
	if state := mustEndpoint(t, p, legacy(changed), false); len(state.Labels) != 0 {
		t.Fatalf("labels are %v", state.Labels)
	}
	again := start(t, h, p.fresh())
	mustEndpoint(t, again, legacy(changed), false)
	if made := again.Mutations(); len(made) > 0 {
		t.Fatalf("a second apply made the calls %v", made)
	}
	if err := p.DestroyEndpoint(p.ctx, key, clouds.How{Limit: limit}); err != nil {
		t.Fatalf("what was adopted cannot be destroyed: %v", err)
	}
}

// fresh is a cutter like this one, that has counted nothing.
func (c *Cutter) fresh() *Cutter { return &Cutter{Mutates: c.Mutates} }

func testEndpointConflict(t *testing.T, h Harness) {
	p := start(t, h, &Cutter{})
	one, two := published(t, h, p)
	h.HandMade(t, "legacy", one)
	_, err := applyEndpoint(t, p, endpointSpec(t, h, p, "legacy", deployment("main", one)), true)
	wantCode(t, err, mlerr.AlreadyExists, "a hand-made endpoint")

	mustEndpoint(t, p, endpointSpec(t, h, p, "fraud", deployment("main", one)), true)
	mustEndpoint(t, p, endpointSpec(t, h, p, "fraud", deployment("main", one)), true)
	_, err = applyEndpoint(t, p, endpointSpec(t, h, p, "fraud", deployment("main", two)), true)
	wantCode(t, err, mlerr.AlreadyExists, "an endpoint that another state manages")
	if !strings.Contains(mlerr.Hint(err), "import") {
		t.Fatalf("the hint %q does not say how to import it", mlerr.Hint(err))
	}
}

func testDrift(t *testing.T, h Harness) {
	p := start(t, h, &Cutter{})
	one, two := published(t, h, p)
	left, right := deployment("a", one), deployment("b", two)
	left.Traffic, right.Traffic = 80, 20
	spec := endpointSpec(t, h, p, "fraud", left, right)
	known := mustEndpoint(t, p, spec, true)
	h.Drift(t, spec.Key, "a", Drift{Traffic: 5})
	seen, err := p.ObserveEndpoint(p.ctx, spec.Key, known)
	if err != nil || seen.Deployments[0].Traffic == 80 {
		t.Fatalf("a refresh does not see the drift: %+v, %v", seen, err)
	}
	mustEndpoint(t, p, endpointSpec(t, h, p, "fraud", left, right), false)

	h.Drift(t, spec.Key, "b", Drift{Replicas: 3})
	state := mustEndpoint(t, p, endpointSpec(t, h, p, "fraud", left, right), false)
	if got := h.Replicas(t, spec.Key, "b"); got != 1 {
		t.Fatalf("%d replicas of a fixed count of 1: %+v", got, state.Deployments)
	}
}

func testDamage(t *testing.T, h Harness) {
	p := start(t, h, &Cutter{})
	one, _ := published(t, h, p)
	spec := endpointSpec(t, h, p, "fraud", deployment("main", one))
	mustEndpoint(t, p, spec, true)
	whole := h.Objects(t)
	h.Damage(t, spec.Key, "main")
	seen, err := p.ObserveEndpoint(p.ctx, spec.Key, nil)
	if err != nil || seen.Unfinished == "" {
		t.Fatalf("that something is missing does not show: %+v, %v", seen, err)
	}
	state := mustEndpoint(t, p, endpointSpec(t, h, p, "fraud", deployment("main", one)), false)
	if now := h.Objects(t); len(now) != len(whole) || state.Unfinished != "" {
		t.Fatalf("mended, there is %v, and was %v; %s", now, whole, state.Unfinished)
	}
}

func testSettings(t *testing.T, h Harness) {
	p := start(t, h, &Cutter{})
	before := h.Endpoint("fraud").Settings.Auth.Mode
	other := ""
	for _, mode := range driver.AuthModes() {
		if mode != before && (mode == "iam" || mode == "none") && p.Features().Gap(driver.Use{Path: "auth.mode", Value: mode}) == nil {
			other = mode
		}
	}
	if other == "" {
		t.Skip("capability gap: this platform has one auth mode")
	}
	one, _ := published(t, h, p)
	mustEndpoint(t, p, endpointSpec(t, h, p, "fraud", deployment("main", one)), true)
	whole := h.Objects(t)
	for _, mode := range []string{other, before} {
		spec := endpointSpec(t, h, p, "fraud", deployment("main", one))
		spec.Settings.Auth.Mode = mode
		if state := mustEndpoint(t, p, spec, false); state.Settings.Auth.Mode != mode || state.Unfinished != "" {
			t.Fatalf("auth is %+v, want mode %s; %s", state.Settings.Auth, mode, state.Unfinished)
		}
	}
	if now := h.Objects(t); !slices.Equal(now, whole) {
		t.Fatalf("there and back again, there is %v, and was %v", now, whole)
	}
}

func testFailedCreate(t *testing.T, h Harness) {
	p := start(t, h, &Cutter{})
	one, _ := published(t, h, p)
	h.FailNextDeploy(t, "the container did not pass the ping health check")
	spec := endpointSpec(t, h, p, "fraud", deployment("main", one))
	state, err := applyEndpoint(t, p, spec, true)
	wantCode(t, err, mlerr.Failed, "the deployment failed")
	if !strings.Contains(err.Error(), "ping health check") {
		t.Fatalf("the error hides the platform's reason: %v", err)
	}
	if state == nil {
		t.Fatal("the failed endpoint exists and is not in the state")
	}
	mustEndpoint(t, p, endpointSpec(t, h, p, "fraud", deployment("main", one)), true)
}

func testRolledBack(t *testing.T, h Harness) {
	p := start(t, h, &Cutter{})
	one, two := published(t, h, p)
	mustEndpoint(t, p, endpointSpec(t, h, p, "fraud", deployment("main", one)), true)
	h.FailNextDeploy(t, "the container did not pass the ping health check")
	state, err := applyEndpoint(t, p, endpointSpec(t, h, p, "fraud", deployment("main", two)), false)
	if !mlerr.Is(err, mlerr.RolledBack, mlerr.Failed) {
		t.Fatalf("green status with the old model is a failed change; got %v", err)
	}
	if !strings.Contains(err.Error(), "ping health check") {
		t.Fatalf("the error hides the platform's reason: %v", err)
	}
	if d := state.Deployments[0]; d.Model != one || d.Traffic != 100 {
		t.Fatalf("the state does not say what really serves: %+v", d)
	}
	mustEndpoint(t, p, endpointSpec(t, h, p, "fraud", deployment("main", two)), false)
}

func testSmokeTest(t *testing.T, h Harness) {
	p := start(t, h, &Cutter{})
	one, two := published(t, h, p)
	expecting := func(ref driver.VersionRef, version string) *driver.EndpointSpec {
		spec := endpointSpec(t, h, p, "fraud", deployment("main", ref))
		spec.SmokeTest = &driver.SmokeTest{Attempts: 2, JSON: map[string]string{"$.version": `"` + version + `"`, "$.deployment": "main"},
			Request: driver.Request{Body: []byte(`{"inputs":[1]}`), ContentType: "application/json"}}
		return spec
	}
	mustEndpoint(t, p, expecting(one, one.Version), true)
	mustEndpoint(t, p, expecting(two, two.Version), false)
	state, err := applyEndpoint(t, p, expecting(one, two.Version), false)
	wantCode(t, err, mlerr.RolledBack, "the wrong version answered")
	for _, part := range []string{"$.version", `{"inputs":[1]}`, two.Version} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not show %s: %v", part, err)
		}
	}
	serves(t, state, expecting(two, two.Version))
}

func testGaps(t *testing.T, h Harness) {
	p := start(t, h, &Cutter{})
	for _, g := range p.Features().Gaps {
		if g.Reason == "" || g.Alternative == "" {
			t.Errorf("the gap at %s needs a reason and an alternative", g.Path)
		}
	}
	spec := endpointSpec(t, h, p, "fraud", deployment("main", driver.VersionRef{Key: driver.Key{Platform: p.Features().Platform,
		Location: h.Location(), Name: "fraud"}, Version: "1"}))
	spec.Settings.Auth.Mode = "mtls"
	if p.Features().Gap(driver.Use{Path: "auth.mode", Value: "mtls"}) == nil {
		t.Skip("capability gap: this platform has every auth mode")
	}
	err := p.CheckEndpoint(spec)
	wantCode(t, err, mlerr.Unsupported, "a mode that the platform lacks")
	if mlerr.PathOf(err) != "auth.mode" || mlerr.Hint(err) == "" {
		t.Fatalf("path %q, hint %q", mlerr.PathOf(err), mlerr.Hint(err))
	}
}

func testUnchanged(t *testing.T, h Harness) {
	p := start(t, h, &Cutter{})
	one, _ := published(t, h, p)
	mustEndpoint(t, p, endpointSpec(t, h, p, "fraud", deployment("main", one)), true)
	again := start(t, h, p.fresh())
	mustModel(t, again, modelSpec(t, h, p, "fraud", "two"), false)
	mustEndpoint(t, again, endpointSpec(t, h, p, "fraud", deployment("main", one)), false)
	if made := again.Mutations(); len(made) > 0 {
		t.Fatalf("an unchanged apply made the calls %v", made)
	}
}
