// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

func TestJudge(t *testing.T) {
	t.Parallel()
	body := `{"outputs":[{"name":"score","data":[0.5]}],"ok":true,"n":7,"version":"7"}`
	for _, c := range []struct {
		reason string
		test   driver.SmokeTest
		answer driver.Response
		took   time.Duration
		wrong  string // part of the complaint; "" is none
	}{
		{"200 is expected", driver.SmokeTest{}, driver.Response{Status: 200}, 0, ""},
		{"and nothing else", driver.SmokeTest{}, driver.Response{Status: 500, Body: []byte("boom")}, 0, "boom"},
		{"unless it is said", driver.SmokeTest{Status: 422}, driver.Response{Status: 422}, 0, ""},
		{"too slow", driver.SmokeTest{MaxLatency: time.Second}, driver.Response{Status: 200}, 2 * time.Second, "2s"},
		{"just in time", driver.SmokeTest{MaxLatency: time.Second}, driver.Response{Status: 200}, time.Second, ""},
		{"a bare word is a string", driver.SmokeTest{JSON: map[string]string{"$.outputs[0].name": "score"}}, driver.Response{Status: 200, Body: []byte(body)}, 0, ""},
		{"and so is a quoted one", driver.SmokeTest{JSON: map[string]string{"$.outputs[0].name": `"score"`}}, driver.Response{Status: 200, Body: []byte(body)}, 0, ""},
		{"numbers and booleans", driver.SmokeTest{JSON: map[string]string{"$.n": "7", "$.ok": "true", "$.outputs[0].data": "[0.5]"}}, driver.Response{Status: 200, Body: []byte(body)}, 0, ""},
		{"a string is no number", driver.SmokeTest{JSON: map[string]string{"$.version": "7"}}, driver.Response{Status: 200, Body: []byte(body)}, 0, "$.version"},
		{"another value", driver.SmokeTest{JSON: map[string]string{"$.n": "8"}}, driver.Response{Status: 200, Body: []byte(body)}, 0, "$.n is 7 instead of 8"},
		{"a path that is not there", driver.SmokeTest{JSON: map[string]string{"$.missing": "8"}}, driver.Response{Status: 200, Body: []byte(body)}, 0, "$.missing"},
		{"no JSON", driver.SmokeTest{JSON: map[string]string{"$.n": "8"}}, driver.Response{Status: 200, Body: []byte("<html>")}, 0, "<html>"},
		{"a long answer is cut", driver.SmokeTest{}, driver.Response{Status: 500, Body: []byte(strings.Repeat("x", 1<<20))}, 0, "(1048576 bytes)"},
	} {
		err := judge(&c.test, &c.answer, c.took)
		if (err == nil) != (c.wrong == "") || (err != nil && (!strings.Contains(err.Error(), c.wrong) || !mlerr.Is(err, mlerr.Failed))) {
			t.Errorf("%s: %v", c.reason, err)
		}
		if err != nil && len(err.Error()) > 2*smokeExcerpt {
			t.Errorf("%s: the error has %d bytes", c.reason, len(err.Error()))
		}
	}
}

// moody answers after it has been asked often enough.
type moody struct {
	*whole
	refusals []error
}

func (m *moody) Invoke(ctx context.Context, key driver.Key, id string, req driver.Request) (*driver.Response, error) {
	if len(m.refusals) > 0 {
		err := m.refusals[0]
		m.refusals = m.refusals[1:]
		return nil, err
	}
	return m.whole.Invoke(ctx, key, id, req)
}

func TestSmokeTestWaitsForAColdStartAndNotForAWrongAnswer(t *testing.T) {
	t.Parallel()
	one, two := driver.VersionRef{Key: fraud, Version: "1"}, driver.VersionRef{Key: fraud, Version: "2"}
	cold := mlerr.New(mlerr.Unavailable, "not ready")
	for _, c := range []struct {
		reason   string
		refusals []error
		status   int
		want     mlerr.Code
	}{
		{"a cold start takes no attempt", []error{cold, cold, cold, cold, cold}, 200, 0},
		{"a wrong answer takes all", nil, 500, mlerr.RolledBack},
		{"no permission to ask is no pass", []error{mlerr.New(mlerr.PermissionDenied, "no"), mlerr.New(mlerr.PermissionDenied, "no")}, 200, mlerr.RolledBack},
	} {
		clock := newClock()
		m := &moody{newWhole(endpointOf(one)), c.refusals}
		m.answer.Status = c.status
		spec := endpointOf(two)
		spec.SmokeTest = &driver.SmokeTest{Attempts: 2}
		_, err := New(m, Options{Clock: clock}).ApplyEndpoint(t.Context(), spec, How{Limit: time.Hour})
		if mlerr.CodeOf(err) != c.want {
			t.Errorf("%s: %v", c.reason, err)
		}
		serves := map[bool]string{true: "2", false: "1"}[c.want == 0]
		if got := m.state.Deployments[0].Model.Version; got != serves || m.state.Marks.Untested {
			t.Errorf("%s: version %s serves, marks %+v", c.reason, got, m.state.Marks)
		}
	}
}

func TestASmokeTestThatNobodyAnswersIsNoSuccessOfACreation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ref := w.publish(t, "one")
	cold := mlerr.New(mlerr.Unavailable, "not ready")
	spec := endpointOf(ref)
	spec.SmokeTest = &driver.SmokeTest{Attempts: 1}
	m := &unanswering{w.Cloud.driver, cold}
	state, err := New(m, Options{Clock: w.clock}).ApplyEndpoint(t.Context(), spec, How{Create: true, Limit: time.Hour})
	wantCode(t, err, mlerr.Failed, "nothing answered")
	if state == nil || !state.Marks.Incomplete || state.Unfinished == "" {
		t.Errorf("the state does not say that the creation is not complete: %+v", state)
	}
}

type unanswering struct {
	driver.Driver
	err error
}

func (u *unanswering) Invoke(context.Context, driver.Key, string, driver.Request) (*driver.Response, error) {
	return nil, u.err
}
