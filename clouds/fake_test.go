// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/mem"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// fakeClock is a time that passes when somebody sleeps.
type fakeClock struct {
	mu    sync.Mutex
	now   time.Time
	slept func() // after every sleep; nil is fine
}

func newClock() *fakeClock { return &fakeClock{now: time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)} }

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	c.now = c.now.Add(d)
	c.mu.Unlock()
	if c.slept != nil {
		c.slept()
	}
	return ctx.Err()
}

// world is the reference platform with calls that can be refused.
type world struct {
	*Cloud
	platform *mem.Platform
	clock    *fakeClock
	calls    []string
	refuse   map[string]error // by call; once
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{clock: newClock(), refuse: map[string]error{}}
	w.platform = mem.NewPlatform(w.clock)
	w.Cloud = New(mem.Open(w.platform, driver.Kubernetes, "default", mem.Hook{Before: func(call string) error {
		w.calls = append(w.calls, call)
		err := w.refuse[call]
		delete(w.refuse, call)
		return err
	}}), Options{Clock: w.clock})
	return w
}

var fraud = driver.Key{Platform: driver.Kubernetes, Location: "default", Name: "fraud"}

func (w *world) spec(content string) *driver.ModelSpec {
	w.platform.PutArtifact("mem://"+content, "digest of "+content)
	return &driver.ModelSpec{Key: fraud, Approval: driver.Approved, RetainVersions: 2,
		Artifact: driver.Artifact{URI: "mem://" + content, Format: "onnx", Digest: "digest of " + content}}
}

func (w *world) publish(t *testing.T, content string) driver.VersionRef {
	t.Helper()
	state, err := w.ApplyModel(t.Context(), w.spec(content), How{})
	if err != nil {
		t.Fatal(err)
	}
	return driver.VersionRef{Key: fraud, Version: state.Newest().Version}
}

// endpointOf serves one version, fully.
func endpointOf(ref driver.VersionRef) *driver.EndpointSpec {
	return &driver.EndpointSpec{Key: fraud, Settings: driver.Settings{Auth: driver.Auth{Mode: "iam"}}, Deployments: []driver.Deployment{
		{Name: "main", Model: ref, Traffic: 100, Compute: driver.Compute{InstanceType: "mem.small"}, Scaling: driver.Scaling{Min: 1, Max: 1}}}}
}

func (w *world) serve(t *testing.T, spec *driver.EndpointSpec) *driver.EndpointState {
	t.Helper()
	state, err := w.ApplyEndpoint(t.Context(), spec, How{Limit: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func wantCode(t *testing.T, err error, code mlerr.Code, reason string) {
	t.Helper()
	if !mlerr.Is(err, code) {
		t.Fatalf("%s: %v (%s), want code %q", reason, err, mlerr.CodeOf(err), code)
	}
}

// whole is a platform that moves an endpoint by itself, takes a registration
// away on its way, and can roll back.
type whole struct {
	driver.Driver // nil: what is not here is not called
	state         driver.EndpointState
	pending       *driver.EndpointState
	rollBack      string // reason with which the next deployment is undone
	steps         []string
	answer        driver.Response
}

func newWhole(spec *driver.EndpointSpec) *whole {
	w := &whole{answer: driver.Response{Status: 200}}
	w.state = driver.EndpointState{Key: spec.Key, Marks: driver.Marks{Owned: true}, Phase: driver.Ready, Settings: spec.Settings}
	w.state.Deployments = deployed(spec.Deployments)
	return w
}

func deployed(all []driver.Deployment) []driver.DeploymentState {
	var states []driver.DeploymentState
	for _, d := range all {
		states = append(states, driver.DeploymentState{Deployment: d, ID: d.Name, Owned: true, Phase: driver.Ready})
	}
	return states
}

func (w *whole) Features() *driver.Features {
	return &driver.Features{Platform: driver.Kubernetes, DeployWhole: true}
}

func (w *whole) ObserveVersion(context.Context, driver.VersionRef) (*driver.Version, error) {
	return &driver.Version{Approval: driver.Approved, Phase: driver.Ready}, nil
}

func (w *whole) ObserveEndpoint(context.Context, driver.Key, *driver.EndpointState) (*driver.EndpointState, error) {
	if w.pending != nil && w.state.Phase == driver.Changing {
		w.state.Phase = driver.Ready // at the second look
		if w.rollBack == "" {
			w.state = *w.pending
		}
		w.state.Reason, w.rollBack, w.pending = w.rollBack, "", nil
	} else if w.pending != nil {
		w.state.Phase = driver.Changing
	}
	seen := w.state
	seen.Deployments = slices.Clone(w.state.Deployments)
	return &seen, nil
}

func (w *whole) Deploy(_ context.Context, spec *driver.EndpointSpec, _ *driver.EndpointState, _ string, _ int) error {
	w.steps = append(w.steps, "deploy "+spec.Deployments[0].Model.Version)
	for i := range w.state.Deployments {
		s := &w.state.Deployments[i].Scaling
		*s = driver.Scaling{Min: 1, Max: 1} // taken from autoscaling
	}
	next := w.state
	next.Settings, next.Deployments = spec.Settings, deployed(spec.Deployments)
	next.Marks.Untested = spec.SmokeTest != nil
	w.state.Marks.Untested = spec.SmokeTest != nil
	for i := range next.Deployments {
		next.Deployments[i].Scaling = driver.Scaling{Min: 1, Max: 1}
	}
	w.pending = &next
	return nil
}

func (w *whole) SetScaling(_ context.Context, spec *driver.EndpointSpec, _ *driver.EndpointState, name string) error {
	w.steps = append(w.steps, "scale "+name)
	for i := range w.state.Deployments {
		w.state.Deployments[i].Scaling = spec.Deployments[i].Scaling
	}
	return nil
}

func (w *whole) SetLabels(_ context.Context, spec *driver.EndpointSpec, _ *driver.EndpointState) error {
	w.steps = append(w.steps, "labels")
	w.state.Labels, w.state.Marks = spec.Labels, driver.Marks{Owned: true}
	return nil
}

func (w *whole) Invoke(context.Context, driver.Key, string, driver.Request) (*driver.Response, error) {
	w.steps = append(w.steps, "invoke")
	answer := w.answer
	return &answer, nil
}
