// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

func (w *world) numbers(t *testing.T) []string {
	t.Helper()
	state, err := w.ObserveModel(t.Context(), fraud, nil)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, v := range state.Versions {
		all = append(all, v.Version)
	}
	return all
}

// byHand adds a version as a person with a console would.
func (w *world) byHand(number, digest string) {
	w.platform.EditModel(fraud, func(s *driver.ModelState) {
		s.Versions = append(s.Versions, driver.Version{Version: number, Phase: driver.Ready, Approval: driver.Approved, Artifact: driver.Artifact{Digest: digest}})
	})
}

func TestVersionsOfOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(t, "one")
	w.byHand("2-by-hand", "theirs")
	if ref := w.publish(t, "one"); ref.Version != "1" {
		t.Errorf("somebody else's version made ours be published again as %s", ref.Version)
	}
	w.publish(t, "two")
	w.publish(t, "three") // two are retained
	if got := w.numbers(t); !slices.Equal(got, []string{"2-by-hand", "2", "3"}) {
		t.Errorf("the versions are %v: only surplus versions of ours go", got)
	}
	wantCode(t, w.DestroyModel(t.Context(), fraud, time.Hour), mlerr.InUse, "a version that is not ours")
}

func TestAnAdoptedModelIsOursToDestroy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(t, "one")
	w.platform.EditModel(fraud, func(s *driver.ModelState) { // made by hand, all of it
		s.Marks, s.Versions[0].Owned, s.Versions[0].Hash = driver.Marks{}, false, ""
	})
	spec := w.spec("one")
	spec.Labels = map[string]string{"team": "risk"}
	state, err := w.ApplyModel(t.Context(), spec, How{Limit: time.Hour})
	if err != nil || len(state.Versions) != 1 || !state.Versions[0].Adopted {
		t.Fatalf("adopted as %+v, %v", state, err)
	}
	w.publish(t, "two")
	w.publish(t, "three")
	w.publish(t, "four")
	if got := w.numbers(t); !slices.Equal(got, []string{"1", "3", "4"}) {
		t.Errorf("the versions are %v: retention is about those that were published here", got)
	}
	if err := w.DestroyModel(t.Context(), fraud, time.Hour); err != nil {
		t.Errorf("what was adopted cannot be destroyed: %v", err)
	}
}

func TestAFailedVersionIsReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(t, "one")
	w.publish(t, "two")
	w.platform.EditModel(fraud, func(s *driver.ModelState) {
		s.Versions[1].Phase, s.Versions[1].Reason = driver.Failed, "the scan found something"
	})
	known, err := w.ObserveModel(t.Context(), fraud, nil)
	if err != nil || !w.Publishes(w.spec("two"), known) {
		t.Errorf("a plan does not show that a version is going to be published: %v", err)
	}
	if ref := w.publish(t, "two"); ref.Version != "3" {
		t.Errorf("version %s is the newest", ref.Version)
	}
	if got := w.numbers(t); !slices.Equal(got, []string{"1", "3"}) {
		t.Errorf("the versions are %v: the failed attempt goes", got)
	}
}

func TestAVersionThatFailsIsAFailedApply(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(t, "one")
	w.refuse["UpdateVersion"] = mlerr.New(mlerr.Throttled, "later") // between publishing and approving
	fail := func(s *driver.ModelState) {
		if n := len(s.Versions); n > 1 {
			s.Versions[n-1].Phase, s.Versions[n-1].Reason = driver.Failed, "the scan found something"
		}
	}
	spec := w.spec("two")
	how := How{Limit: time.Hour, Progress: func(step string) {
		if strings.HasPrefix(step, "update version") {
			w.platform.EditModel(fraud, fail)
		}
	}}
	state, err := w.ApplyModel(t.Context(), spec, how)
	wantCode(t, err, mlerr.Failed, "the version failed")
	if !strings.Contains(err.Error(), "the scan found something") || state == nil || state.Unfinished == "" {
		t.Errorf("%v, state %+v", err, state)
	}
	if again, err := w.ObserveModel(t.Context(), fraud, state); err != nil || again.Unfinished == "" {
		t.Errorf("a refresh forgets that an apply is due: %+v, %v", again, err)
	}
}

func TestAKilledApplyShows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish(t, "one")
	known, err := w.ObserveModel(t.Context(), fraud, nil)
	if err != nil || known.Unfinished != "" {
		t.Fatalf("%+v, %v", known, err)
	}
	w.publish(t, "two") // by a process that was killed before its state was written
	seen, err := w.ObserveModel(t.Context(), fraud, known)
	if err != nil || !strings.Contains(seen.Unfinished, "version 2") {
		t.Errorf("a version that the state does not know of: %+v, %v", seen, err)
	}
	w.byHand("9", "theirs")
	known, _ = w.ObserveModel(t.Context(), fraud, nil)
	w.byHand("10", "theirs")
	if seen, err = w.ObserveModel(t.Context(), fraud, known); err != nil || seen.Unfinished != "" {
		t.Errorf("versions of others are no concern of an apply: %+v, %v", seen, err)
	}
}

func TestArtifactsThatChangedSinceThePlan(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	spec := w.spec("one")
	w.platform.PutArtifact("mem://one", "another digest")
	_, err := w.ApplyModel(t.Context(), spec, How{Create: true, Limit: time.Hour})
	wantCode(t, err, mlerr.InvalidArgument, "other bytes than planned")
	if mlerr.PathOf(err) != "artifact.uri" {
		t.Errorf("path %q", mlerr.PathOf(err))
	}
}
