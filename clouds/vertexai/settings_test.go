// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/drivertest"
	"github.com/mlplane/terraform-provider-ml/clouds/vertexai"
)

// ending ends a process at the call at which its cutter does.
type ending struct {
	cutting
	stop context.CancelFunc
}

func (rt ending) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := rt.cutting.RoundTrip(r)
	if errors.Is(err, drivertest.ErrCut) {
		rt.stop()
	}
	return resp, err
}

// applyCut makes an endpoint what spec says, by a process that a cutter may end.
func (h *harness) applyCut(t *testing.T, c *drivertest.Cutter, spec *driver.EndpointSpec) (*driver.EndpointState, error) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	c.Mutates = mutates
	d, err := vertexai.Open(h.config(ending{cutting{c}, stop}))
	must(t, err)
	return h.apply(ctx, clouds.New(d, clouds.Options{Clock: h.clock}), spec)
}

// policy is who may call an endpoint by its own policy.
func (h *harness) policy(t *testing.T, endpoint string) []string {
	t.Helper()
	data, err := json.Marshal(h.callIn(t, "v1beta1", http.MethodPost, here+"endpoints/"+endpoint+":getIamPolicy", nil))
	must(t, err)
	var p struct {
		Bindings []struct {
			Members []string `json:"members"`
		} `json:"bindings"`
	}
	must(t, json.Unmarshal(data, &p))
	var all []string
	for _, b := range p.Bindings {
		all = append(all, b.Members...)
	}
	slices.Sort(all)
	return all
}

const bob, carol = "user:bob@example.com", "user:carol@example.com"

// A process that dies at any call of a change of settings is continued by the next,
// and leaves nobody a grant that no state shows.
func TestSettingsCutOff(t *testing.T) {
	t.Parallel()
	full := func(s *driver.Settings) {
		s.Auth.Invokers = []string{bob, carol}
		s.Capture = &driver.Capture{Percent: 25, Destination: "bq://p1.logs.fraud"}
		s.RequestTimeout = 5 * time.Minute
		s.VertexAI = &driver.VertexAIEndpoint{Dedicated: true}
	}
	none := func(s *driver.Settings) { s.VertexAI = &driver.VertexAIEndpoint{Dedicated: true} }
	for name, change := range map[string]struct{ from, to func(*driver.Settings) }{
		"all of it comes": {func(*driver.Settings) {}, full},
		"all of it goes":  {full, none},
		"fewer may call":  {full, func(s *driver.Settings) { full(s); s.Auth.Invokers = []string{carol} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			c, _ := h.cloud(t)
			ref := h.published(t, c, "fraud", "one")
			want := func(h *harness, change func(*driver.Settings)) *driver.EndpointSpec {
				spec := h.endpoint("fraud", ref)
				change(&spec.Settings)
				return spec
			}
			_, err := h.apply(t.Context(), c, want(h, change.from))
			must(t, err)
			undisturbed := &drivertest.Cutter{}
			_, err = h.Fork(t).(*harness).applyCut(t, undisturbed, want(h, change.to))
			must(t, err)
			for at := range undisturbed.Calls() {
				for _, after := range []bool{false, true} {
					fork := h.Fork(t).(*harness)
					cut := &drivertest.Cutter{At: at + 1, After: after}
					_, _ = fork.applyCut(t, cut, want(fork, change.to)) // wherever it came to
					where := fmt.Sprintf("cut at the end of %v (after it: %v)", cut.Calls(), after)
					spec := want(fork, change.to)
					state, err := fork.applyCut(t, &drivertest.Cutter{}, spec)
					if err != nil {
						t.Fatalf("%s: the next run does not converge: %v", where, err)
					}
					if diff := cmp.Diff(spec.Settings, state.Settings); diff != "" {
						t.Fatalf("%s: wanted and seen differ:\n%s", where, diff)
					}
					if got := fork.policy(t, "fraud"); !slices.Equal(got, spec.Settings.Auth.Invokers) {
						t.Fatalf("%s: %v may call, and %v are to", where, got, spec.Settings.Auth.Invokers)
					}
					last := &drivertest.Cutter{}
					if _, err := fork.applyCut(t, last, spec); err != nil || len(last.Mutations()) > 0 {
						t.Fatalf("%s: the next run left to the third %v, %v", where, last.Mutations(), err)
					}
				}
			}
		})
	}
}

// Who may call is drift when somebody changes it, and put right.
func TestInvokersDrift(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	spec := h.endpoint("fraud", h.published(t, c, "fraud", "one"))
	spec.Settings.Auth.Invokers = []string{bob}
	known, err := h.apply(t.Context(), c, spec)
	must(t, err)
	for reason, members := range map[string][]any{"one more": {bob, carol}, "another": {carol}, "nobody": {}} {
		h.callIn(t, "v1beta1", http.MethodPost, here+"endpoints/fraud:setIamPolicy", map[string]any{"policy": map[string]any{
			"bindings": []any{map[string]any{"role": "roles/aiplatform.user", "members": members}}}})
		planned, _ := h.cloud(t)
		seen, err := planned.ObserveEndpoint(t.Context(), spec.Key, known)
		must(t, err)
		if len(seen.Settings.Auth.Invokers) != len(members) {
			t.Errorf("%s: a plan sees %v", reason, seen.Settings.Auth.Invokers)
		}
		_, err = h.apply(t.Context(), planned, spec)
		must(t, err)
		if got := h.policy(t, "fraud"); !slices.Equal(got, spec.Settings.Auth.Invokers) {
			t.Errorf("%s: %v may call in the end", reason, got)
		}
	}
}

// The shared host gives every request a minute: to ask for just that is no mistake, and
// nothing is sent of it.
func TestTimeoutOfTheSharedHost(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	ref := h.published(t, c, "fraud", "one")
	for _, step := range []struct {
		reason    string
		timeout   time.Duration
		dedicated bool
	}{{"asked for", time.Minute, false}, {"left out", 0, false}, {"asked for again", time.Minute, false}, {"of a host of its own", time.Minute, true}} {
		spec := h.endpoint("fraud", ref)
		spec.Settings.RequestTimeout = step.timeout
		if step.dedicated {
			spec.Settings.VertexAI = &driver.VertexAIEndpoint{Dedicated: true}
		}
		state, err := h.apply(t.Context(), c, spec)
		if err != nil || state.Settings.RequestTimeout != step.timeout {
			t.Fatalf("%s: %v, %v", step.reason, state.Settings.RequestTimeout, err)
		}
		if sent := h.call(t, http.MethodGet, here+"endpoints/fraud", nil)["clientConnectionConfig"]; (sent != nil) != step.dedicated {
			t.Errorf("%s: the platform was told %v", step.reason, sent)
		}
	}
}

// Of an endpoint with a host of its own, the platform may take what is logged as an
// operation only.
func TestLoggingAsAnOperation(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, calls := h.cloud(t)
	spec := h.endpoint("fraud", h.published(t, c, "fraud", "one"))
	spec.Settings.VertexAI = &driver.VertexAIEndpoint{Dedicated: true}
	_, err := h.apply(t.Context(), c, spec)
	must(t, err)
	for _, capture := range []*driver.Capture{{Percent: 10, Destination: "bq://p1.logs.fraud"}, nil} {
		h.script(t, map[string]any{"call": "vertex_ai.endpoints.patch", "occurrence": 1, "action": "error", "code": "FAILED_PRECONDITION", "status": 400,
			"message": "Use UpdateEndpointLongRunning to update the logging config of a dedicated endpoint."})
		spec.Settings.Capture = capture
		state, err := h.apply(t.Context(), c, spec)
		must(t, err)
		if diff := cmp.Diff(spec.Settings, state.Settings); diff != "" {
			t.Errorf("wanted and seen differ:\n%s", diff)
		}
	}
	if n := len(slices.DeleteFunc(calls.made, func(c string) bool { return !strings.HasSuffix(c, "endpoints/fraud:update") })); n != 2 {
		t.Errorf("%d operations", n)
	}
}

// script has the emulated platform fail.
func (h *harness) script(t *testing.T, faults ...map[string]any) {
	t.Helper()
	data, err := json.Marshal(map[string]any{"faults": faults})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(h.dir, "faults.json"), data, 0o600))
}
