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
	"github.com/mlplane/terraform-provider-ml/internal/retry"
)

// smokePause is between two attempts of a smoke test: endpoints become
// reachable a little after they are ready.
const smokePause = 2 * time.Second

// smokeExcerpt is how much of an answer an error shows, in bytes.
const smokeExcerpt = 2048

// smokeDue reports whether what this run has deployed, or an earlier one that
// was cut off, is yet to be tested.
func (r *endpointRun) smokeDue() bool {
	deployed := r.begun["create"] || r.begun["deploy"] || r.seen.Marks.Incomplete || r.seen.Marks.Untested
	return r.spec.SmokeTest != nil && deployed && !r.tested && r.failure == nil
}

// smokeStep tests every deployment.
func (r *endpointRun) smokeStep(name string) step {
	return step{name: name, aim: "answers as expected", do: func(ctx context.Context) error {
		for i := range r.spec.Deployments {
			want := &r.spec.Deployments[i]
			if _, proves := r.c.proves(); proves && want.Traffic == 0 && !r.c.Features().DeployWhole {
				continue // nobody can call it, we neither
			}
			if err := r.smoke(ctx, r.spec.Key, r.compared().match(want).ID); err != nil {
				return untestable(err, "the smoke test of deployment %s failed", want.Name)
			}
		}
		r.tested = true
		return nil
	}}
}

// untestable is a failed test, whatever stood in its way: that must not count as a
// transient refusal of the step.
func untestable(err error, format string, args ...any) error {
	code := mlerr.Failed
	if mlerr.Is(err, mlerr.Canceled, mlerr.Timeout) {
		code = mlerr.CodeOf(err)
	}
	return mlerr.Wrap(err, code, format, args...)
}

// smoke sends the request until it is answered as expected, at most so often as
// the test allows. That the platform cannot pass a request on yet, as after a
// cold start, is no answer, and takes no attempt.
func (r *endpointRun) smoke(ctx context.Context, key driver.Key, id string) error {
	test := r.spec.SmokeTest
	attempts, refusals := max(1, test.Attempts), 0
	var refused time.Time
	for n := 1; ; {
		began := r.c.clock.Now()
		answer, err := r.c.driver.Invoke(ctx, key, id, test.Request)
		if err == nil {
			err = judge(test, answer, r.c.clock.Now().Sub(began))
		}
		if err == nil {
			return nil
		}
		if refusals++; refusals == 1 {
			refused = began
		}
		pause, again := retry.After(err, refusals, r.c.clock.Now().Sub(refused))
		if !again || r.over() != nil {
			err = mlerr.Annotate(err, "attempt %d of %d, request %s", n, attempts, excerpt(test.Request.Body))
			if n++; n > attempts || ctx.Err() != nil {
				return err
			}
			pause, refusals = smokePause, 0
		}
		if err := r.c.clock.Sleep(ctx, pause); err != nil {
			return mlerr.Annotate(err, "between two attempts")
		}
	}
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
