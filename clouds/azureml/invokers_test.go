// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/azureml"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

const (
	roles         = "/providers/Microsoft.Authorization/roleAssignments"
	authorization = "?api-version=2022-04-01"
	bob           = "user:00000000-0000-0000-0000-0000000000b0"
	dataScientist = "f6c7c914-8db3-469d-8ca1-694a8f32e121"
	callersRole   = "11111111-2222-3333-4444-555555555555"
)

// who is a principal with a role, as harness.roles has it.
func who(invoker, role string) string {
	_, id, _ := strings.Cut(invoker, ":")
	return id + " " + role
}

// grant lets somebody call an endpoint, by hand.
func (h *harness) grant(t *testing.T, endpoint, invoker, role string) {
	t.Helper()
	_, id, _ := strings.Cut(invoker, ":")
	h.call(t, http.MethodPut, here+"onlineEndpoints/"+endpoint+roles+"/99999999"+id[8:]+authorization, map[string]any{"properties": map[string]any{"principalId": id, "principalType": "User",
		"roleDefinitionId": "/subscriptions/" + subscription + "/providers/Microsoft.Authorization/roleDefinitions/" + role}})
}

// customRole is a role that can only call.
func (h *harness) customRole(t *testing.T) {
	t.Helper()
	h.call(t, http.MethodPut, "/subscriptions/"+subscription+"/providers/Microsoft.Authorization/roleDefinitions/"+callersRole+authorization, map[string]any{
		"properties": map[string]any{"roleName": "Endpoint caller", "type": "CustomRole", "assignableScopes": []string{"/subscriptions/" + subscription},
			"permissions": []any{map[string]any{"actions": []string{"Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action"}}}}})
}

// invoked is an endpoint that alice may call.
func (h *harness) invoked(t *testing.T, c *clouds.Cloud) (*driver.EndpointSpec, *driver.EndpointState) {
	t.Helper()
	spec := h.endpoint("fraud", h.published(t, c, "fraud", "one"))
	spec.Settings.Auth = driver.Auth{Mode: "iam", Invokers: []string{alice}}
	state, err := h.apply(t.Context(), c, spec)
	must(t, err)
	return spec, state
}

// Who may call is read in every plan, with one list for the workspace.
func TestInvokersDrift(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	spec, state := h.invoked(t, c)
	seen := func() []string {
		t.Helper()
		planned, _ := h.cloud(t)
		now, err := planned.ObserveEndpoint(t.Context(), spec.Key, state)
		must(t, err)
		return now.Settings.Auth.Invokers
	}
	h.grant(t, "fraud", bob, dataScientist)
	if got := seen(); !slices.Equal(got, []string{alice, bob}) && !slices.Equal(got, []string{bob, alice}) {
		t.Errorf("with one that somebody has let call: %v", got)
	}
	for _, a := range h.list(t, here+"onlineEndpoints/fraud"+roles+authorization+"&$filter=atScope()") {
		h.call(t, http.MethodDelete, a["id"].(string)+authorization, nil)
	}
	if got := seen(); got != nil {
		t.Errorf("without any: %v", got)
	}
	h.faults(t, map[string]any{"call": "azure_ml.roleAssignments.list", "occurrence": 0, "action": "error", "code": "AuthorizationFailed", "status": 403, "message": "no"})
	if got := seen(); !slices.Equal(got, spec.Settings.Auth.Invokers) {
		t.Errorf("whoever may only plan sees others: %v", got)
	}
}

// Another role for invokers takes the one that they had, which may do more.
func TestInvokersGetAnotherRole(t *testing.T) {
	t.Parallel()
	for reason, by := range map[string]string{"by us": "", "by hand": alice} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.customRole(t)
			c, _ := h.cloud(t)
			spec, state := h.invoked(t, c)
			if by != "" {
				h.grant(t, "fraud", by, callersRole)
			}
			next, _ := h.cloud(t, func(c *azureml.Config) { c.InvokerRole = callersRole })
			now, err := next.ObserveEndpoint(t.Context(), spec.Key, state)
			must(t, err)
			if slices.Equal(now.Settings.Auth.Invokers, spec.Settings.Auth.Invokers) && !strings.Contains(now.Unfinished, dataScientist) {
				t.Errorf("the role of before is not seen: %v, %q", now.Settings.Auth.Invokers, now.Unfinished)
			}
			state, err = h.apply(t.Context(), next, spec)
			must(t, err)
			if got := h.roles(t, "fraud"); !slices.Equal(got, []string{who(alice, callersRole)}) || state.Unfinished != "" {
				t.Errorf("the assignments are %v; %s", got, state.Unfinished)
			}
		})
	}
}

// With an endpoint goes what let its invokers call, and nothing that somebody else has
// granted: nothing else would show that they could call, and change, one of the same name.
func TestInvokersGoWithTheEndpoint(t *testing.T) {
	t.Parallel()
	for reason, before := range map[string]func(*testing.T, *harness){
		"as it is": func(*testing.T, *harness) {},
		"when it takes keys by then": func(t *testing.T, h *harness) {
			t.Helper()
			out := repeated(h.call(t, http.MethodGet, here+"onlineEndpoints/fraud"+learning, nil))
			out["properties"].(map[string]any)["authMode"] = "Key"
			h.change(t, http.MethodPut, here+"onlineEndpoints/fraud"+learning, out)
		},
		"when somebody else has deleted it": func(t *testing.T, h *harness) {
			t.Helper()
			h.change(t, http.MethodDelete, here+"onlineEndpoints/fraud"+learning, nil)
		},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			c, _ := h.cloud(t)
			spec, _ := h.invoked(t, c)
			h.grant(t, "fraud", bob, dataScientist)
			before(t, h)
			must(t, c.DestroyEndpoint(t.Context(), spec.Key, clouds.How{Limit: time.Hour}))
			if _, err := c.ObserveEndpoint(t.Context(), spec.Key, nil); !mlerr.Is(err, mlerr.NotFound) {
				t.Errorf("it is there: %v", err)
			}
			if got := h.roles(t, "fraud"); !slices.Equal(got, []string{who(bob, dataScientist)}) {
				t.Errorf("what is left is %v", got)
			}
		})
	}
}

// late lets nobody call an endpoint until a while after it first was called.
type late struct {
	h     *harness
	after time.Duration

	mu    sync.Mutex
	first time.Time
}

func (l *late) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if strings.Contains(r.URL.Path, "/inference/") {
		if l.first.IsZero() {
			l.first = l.h.clock.Now()
		}
		if l.h.clock.Now().Sub(l.first) < l.after {
			return &http.Response{StatusCode: http.StatusForbidden, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("The principal lacks permission")), Request: r}, nil
		}
	}
	return http.DefaultTransport.RoundTrip(r)
}

// A right to call that was granted a moment ago takes up to ten minutes to be in force.
// A smoke test waits for that, but not with keys, of which each is right or wrong.
func TestSmokeTestWaitsForRights(t *testing.T) {
	t.Parallel()
	for mode, passes := range map[string]bool{"iam": true, "key": false} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.mode = mode
			d, err := azureml.Open(h.config(&late{h: h, after: 9 * time.Minute}))
			must(t, err)
			c := clouds.New(d, clouds.Options{Clock: h.clock})
			spec := h.endpoint("fraud", h.published(t, c, "fraud", "one"))
			spec.SmokeTest = &driver.SmokeTest{Request: driver.Request{Body: []byte(`{}`), ContentType: "application/json"}, Attempts: 1}
			if _, err := h.apply(t.Context(), c, spec); (err == nil) != passes {
				t.Errorf("with %s: %v", mode, err)
			}
		})
	}
}
