// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

var (
	version1 = driver.VersionRef{Key: fraud, Version: "1"}
	version2 = driver.VersionRef{Key: fraud, Version: "2"}
	auto     = driver.Scaling{Min: 1, Max: 5, Metrics: []driver.Metric{{Type: driver.MetricRequests, Target: 100}}}
)

// TestARolledBackChangeKeepsTheAutoscaler is #48997 of the AWS provider, and what
// comes after it: the change had taken the variant from autoscaling.
func TestARolledBackChangeKeepsTheAutoscaler(t *testing.T) {
	t.Parallel()
	before := endpointOf(version1)
	before.Deployments[0].Scaling = auto
	w := newWhole(before)
	w.rollBack = "the container did not pass the ping health check"
	spec := endpointOf(version2)
	spec.Deployments[0].Scaling = auto
	state, err := New(w, Options{Clock: newClock()}).ApplyEndpoint(t.Context(), spec, How{Limit: time.Hour})
	wantCode(t, err, mlerr.RolledBack, "green status with the old content")
	if !strings.Contains(err.Error(), "ping health check") {
		t.Errorf("the platform's words are lost: %v", err)
	}
	if diff := cmp.Diff(auto, state.Deployments[0].Scaling); diff != "" || state.Deployments[0].Model != version1 {
		t.Errorf("what served before is not what serves now: %s", diff)
	}
	if !slices.Equal(w.steps, []string{"deploy 2", "scale main"}) {
		t.Errorf("the steps were %v", w.steps)
	}
}

// refusing is a platform that takes the registration away and then refuses.
type refusing struct {
	*whole
	err error
}

func (r *refusing) Deploy(ctx context.Context, spec *driver.EndpointSpec, seen *driver.EndpointState, name string, n int) error {
	_ = r.whole.Deploy(ctx, spec, seen, name, n)
	r.pending = nil
	return r.err
}

func TestARefusedChangeKeepsTheAutoscaler(t *testing.T) {
	t.Parallel()
	before := endpointOf(version1)
	before.Deployments[0].Scaling = auto
	spec := endpointOf(version2)
	spec.Deployments[0].Scaling = auto
	r := &refusing{newWhole(before), mlerr.New(mlerr.QuotaExceeded, "2 instances, and 3 are needed").WithHint("Ask for more")}
	state, err := New(r, Options{Clock: newClock()}).ApplyEndpoint(t.Context(), spec, How{Limit: time.Hour})
	wantCode(t, err, mlerr.QuotaExceeded, "the quota")
	if mlerr.Hint(err) != "Ask for more" {
		t.Errorf("hint %q", mlerr.Hint(err))
	}
	if diff := cmp.Diff(auto, state.Deployments[0].Scaling); diff != "" {
		t.Error(diff)
	}
	for _, passing := range []mlerr.Code{mlerr.Unauthenticated, mlerr.Canceled} {
		r := &refusing{newWhole(before), mlerr.New(passing, "no")}
		_, err := New(r, Options{Clock: newClock()}).ApplyEndpoint(t.Context(), spec, How{Limit: time.Hour})
		if !mlerr.Is(err, passing) || len(r.steps) != 1 {
			t.Errorf("%s says nothing of the change, and was answered with %v, %v", passing, r.steps, err)
		}
	}
}

func TestHoldKeepsTheNewVersion(t *testing.T) {
	t.Parallel()
	w := newWhole(endpointOf(version1))
	w.answer.Status = 500
	spec := endpointOf(version2)
	spec.SmokeTest, spec.Rollout.OnFailure = &driver.SmokeTest{}, "hold"
	state, err := New(w, Options{Clock: newClock()}).ApplyEndpoint(t.Context(), spec, How{Limit: time.Hour})
	wantCode(t, err, mlerr.Failed, "the answer is wrong")
	if state.Deployments[0].Model != version2 || !state.Marks.Untested || state.Unfinished == "" {
		t.Errorf("held is %+v", state)
	}
}

// TestARunThatWasCutOffBeforeItsTestIsTested: the next process sees just what is
// wanted, and must not take it for tested.
func TestARunThatWasCutOffBeforeItsTestIsTested(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reason string
		status int
		want   mlerr.Code
	}{
		{"and is good", 200, 0},
		{"and fails: what served before is not known any more", 500, mlerr.Failed},
	} {
		w := newWhole(endpointOf(version2))
		w.state.Marks.Untested = true
		w.answer.Status = c.status
		cloud := New(w, Options{Clock: newClock()})
		if seen, err := cloud.ObserveEndpoint(t.Context(), fraud, nil); err != nil || seen.Unfinished == "" {
			t.Errorf("%s: that an apply is due is not said: %+v, %v", c.reason, seen, err)
		}
		spec := endpointOf(version2)
		spec.SmokeTest = &driver.SmokeTest{}
		_, err := cloud.ApplyEndpoint(t.Context(), spec, How{Limit: time.Hour})
		if mlerr.CodeOf(err) != c.want || !slices.Contains(w.steps, "invoke") {
			t.Errorf("%s: %v after %v", c.reason, err, w.steps)
		}
		if w.state.Marks.Untested != (c.want != 0) {
			t.Errorf("%s: marks %+v", c.reason, w.state.Marks)
		}
	}
}

func TestAFailedDeploymentIsRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := w.publish(t, "one")
	two := w.publish(t, "two")
	w.serve(t, endpointOf(one))
	before := w.platform.Objects()
	w.platform.FailNext("the image does not exist")
	state, err := w.ApplyEndpoint(t.Context(), endpointOf(two), How{Limit: time.Hour})
	wantCode(t, err, mlerr.RolledBack, "the new deployment failed")
	if !strings.Contains(err.Error(), "the image does not exist") || state.Deployments[0].Model != one {
		t.Errorf("%v, and %+v serves", err, state.Deployments)
	}
	if diff := cmp.Diff(before, w.platform.Objects()); diff != "" {
		t.Errorf("the failed deployment was not removed: %s", diff)
	}
}

func TestWhatIsNotOursStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := w.publish(t, "one")
	w.serve(t, endpointOf(one))
	theirs := driver.DeploymentState{ID: "theirs", Phase: driver.Ready, Deployment: driver.Deployment{Name: "theirs", Model: one}}
	w.platform.Edit(fraud, func(s *driver.EndpointState) { s.Deployments = append(s.Deployments, theirs) })
	w.serve(t, endpointOf(w.publish(t, "two")))
	share := func(n int) {
		w.platform.Edit(fraud, func(s *driver.EndpointState) {
			for i := range s.Deployments {
				if d := &s.Deployments[i]; d.Name == "theirs" {
					d.Traffic = n
				} else {
					d.Traffic = 100 - n
				}
			}
		})
	}
	if !slices.ContainsFunc(w.platform.Objects(), func(o string) bool { return strings.HasSuffix(o, "/theirs") }) {
		t.Fatal("a deployment that is not ours was removed")
	}
	share(30)
	_, err := w.ApplyEndpoint(t.Context(), endpointOf(w.publish(t, "three")), How{Limit: time.Hour})
	wantCode(t, err, mlerr.InUse, "requests that are not ours to give away")
	if !strings.Contains(err.Error(), "30 percent") || !strings.Contains(mlerr.Hint(err), "deployments.theirs") {
		t.Errorf("%v, %s", err, mlerr.Hint(err))
	}
	wantCode(t, w.DestroyEndpoint(t.Context(), fraud, How{Limit: time.Hour}), mlerr.InUse, "it holds what is not ours")
}

func TestAnAdoptedEndpointIsOursToDestroy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one := w.publish(t, "one")
	spec := endpointOf(one)
	w.platform.Edit(fraud, func(s *driver.EndpointState) {
		s.Settings = spec.Settings
		s.Deployments = []driver.DeploymentState{{ID: "byhand", Phase: driver.Ready, Deployment: spec.Deployments[0]}}
	})
	spec.Labels = map[string]string{"team": "risk"}
	w.serve(t, spec)
	if err := w.DestroyEndpoint(t.Context(), fraud, How{Limit: time.Hour}); err != nil {
		t.Errorf("what was adopted cannot be destroyed: %v", err)
	}
}

func TestUnservableVersions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ref := w.publish(t, "one")
	refs := map[string]driver.VersionRef{"main": ref}
	edit := func(change func(*driver.Version)) {
		w.platform.EditModel(fraud, func(s *driver.ModelState) { change(&s.Versions[0]) })
	}
	if err := w.CheckServable(t.Context(), refs, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		reason string
		change func(*driver.Version)
	}{
		{"rejected", func(v *driver.Version) { v.Approval = driver.Rejected }},
		{"never registered", func(v *driver.Version) { v.Phase, v.Reason = driver.Failed, "the scan found something" }},
		{"on its way out", func(v *driver.Version) { v.Phase = driver.Deleting }},
	} {
		edit(c.change)
		err := w.CheckServable(t.Context(), refs, nil)
		wantCode(t, err, mlerr.InvalidArgument, c.reason)
		if mlerr.PathOf(err) != "deployments.main.model" || mlerr.Hint(err) == "" {
			t.Errorf("%s: path %q, hint %q", c.reason, mlerr.PathOf(err), mlerr.Hint(err))
		}
		edit(func(v *driver.Version) { v.Approval, v.Phase = driver.Approved, driver.Ready })
	}
	edit(func(v *driver.Version) { v.Approval = driver.Pending })
	approved := func(driver.VersionRef) (driver.Approval, bool) { return driver.Approved, true }
	if err := w.CheckServable(t.Context(), refs, approved); err != nil {
		t.Errorf("this very run approves it: %v", err)
	}
	edit(func(v *driver.Version) { v.Approval = driver.Approved })

	w.refuse["GetModel"] = mlerr.New(mlerr.PermissionDenied, "no")
	_, err := w.ApplyEndpoint(t.Context(), endpointOf(ref), How{Create: true, Limit: time.Hour})
	wantCode(t, err, mlerr.PermissionDenied, "what cannot be seen to be approved")
	w.refuse["GetModel"] = mlerr.New(mlerr.Throttled, "later")
	if _, err := w.ApplyEndpoint(t.Context(), endpointOf(ref), How{Create: true, Limit: time.Hour}); err != nil {
		t.Errorf("throttling passes: %v", err)
	}
}
