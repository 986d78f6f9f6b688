// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"sort"
	"time"

	"github.com/PaesslerAG/jsonpath"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// smokePause is between two attempts of a smoke test: endpoints become
// reachable a little after they are ready.
const smokePause = 2 * time.Second

// smokeExcerpt is how much of an answer an error shows, in bytes.
const smokeExcerpt = 2048

// smokeDue reports whether what this run has deployed is yet to be tested.
func (r *endpointRun) smokeDue() bool {
	deployed := r.begun["create"] || r.begun["deploy"]
	return r.spec.SmokeTest != nil && deployed && !r.tested && r.failure == nil
}

// smokeStep tests every deployment, and on a failure turns the run around
// towards what served before.
func (r *endpointRun) smokeStep() step {
	return step{name: "smoke test", aim: "answers as expected", do: func(ctx context.Context) error {
		r.tested = true
		for i := range r.spec.Deployments {
			want := &r.spec.Deployments[i]
			if err := r.smoke(ctx, match(want, r.seen).ID); err != nil {
				return r.turnBack(mlerr.Annotate(err, "the smoke test of deployment %s failed", want.Name))
			}
		}
		return nil
	}}
}

// turnBack makes what served before the aim of the rest of the run, which then
// ends with err. A creation has nothing to go back to.
func (r *endpointRun) turnBack(err error) error {
	if mlerr.Is(err, mlerr.Canceled) || r.before == nil {
		return err
	}
	if r.spec.Rollout.OnFailure == "hold" {
		return mlerr.Annotate(err, "held as rollout.on_failure asks, with the new version in service")
	}
	r.c.log.Warn("going back to what served before", "what", r.what, "because", err)
	r.failure = mlerr.Wrap(err, mlerr.RolledBack, "%s: went back to what served before", r.what)
	r.spec = specOf(r.before)
	return nil
}

// specOf is the specification of what a state shows.
func specOf(state *driver.EndpointState) *driver.EndpointSpec {
	spec := &driver.EndpointSpec{Key: state.Key, Settings: state.Settings, Labels: state.Labels,
		Rollout: driver.Rollout{Strategy: driver.AllAtOnce}}
	for i := range state.Deployments {
		spec.Deployments = append(spec.Deployments, state.Deployments[i].Deployment)
	}
	return spec
}

// smoke sends the request until it is answered as expected, at most so often as
// the test allows.
func (r *endpointRun) smoke(ctx context.Context, id string) error {
	test := r.spec.SmokeTest
	var last error
	for n := range max(1, test.Attempts) {
		if n > 0 {
			if err := r.c.clock.Sleep(ctx, smokePause); err != nil {
				return mlerr.Annotate(err, "between two attempts")
			}
		}
		began := r.c.clock.Now()
		answer, err := r.c.driver.Invoke(ctx, r.spec.Key, id, test.Request)
		if err == nil {
			err = judge(test, answer, r.c.clock.Now().Sub(began))
		}
		if err == nil {
			return nil
		}
		last = mlerr.Annotate(err, "attempt %d of %d, request %s", n+1, max(1, test.Attempts), excerpt(test.Request.Body))
		if ctx.Err() != nil {
			return last
		}
	}
	return last
}

// judge compares an answer with what the test expects of it.
func judge(test *driver.SmokeTest, answer *driver.Response, took time.Duration) error {
	want := test.Status
	if want == 0 {
		want = http.StatusOK
	}
	if answer.Status != want {
		return mlerr.New(mlerr.Failed, "status %d instead of %d, answer %s", answer.Status, want, excerpt(answer.Body))
	}
	if test.MaxLatency > 0 && took > test.MaxLatency {
		return mlerr.New(mlerr.Failed, "answered after %s, allowed are %s", took.Round(time.Millisecond), test.MaxLatency)
	}
	if len(test.JSON) == 0 {
		return nil
	}
	var body any
	if err := json.Unmarshal(answer.Body, &body); err != nil {
		return mlerr.New(mlerr.Failed, "the answer is not JSON: %s", excerpt(answer.Body))
	}
	paths := make([]string, 0, len(test.JSON))
	for p := range test.JSON {
		paths = append(paths, p)
	}
	sort.Strings(paths)
	for _, p := range paths {
		got, err := jsonpath.Get(p, body)
		if err != nil {
			return mlerr.New(mlerr.Failed, "%s is not in the answer %s", p, excerpt(answer.Body))
		}
		if !reflect.DeepEqual(got, expected(test.JSON[p])) {
			return mlerr.New(mlerr.Failed, "%s is %s instead of %s, in the answer %s", p, show(got), show(expected(test.JSON[p])), excerpt(answer.Body))
		}
	}
	return nil
}

// expected reads a JSON value; a bare word is a string.
func expected(s string) any {
	var v any
	if json.Unmarshal([]byte(s), &v) != nil {
		return s
	}
	return v
}

func excerpt(b []byte) string {
	if len(b) > smokeExcerpt {
		return fmt.Sprintf("%s… (%d bytes)", b[:smokeExcerpt], len(b))
	}
	return string(b)
}
