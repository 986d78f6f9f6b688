// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai_test

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/vertexai"
)

// meanwhile does something right before requests that it is told of get through.
type meanwhile struct {
	before func(r *http.Request)
	made   counting
}

func (m *meanwhile) RoundTrip(r *http.Request) (*http.Response, error) {
	m.before(r)
	return m.made.RoundTrip(r)
}

func (m *meanwhile) cloud(t *testing.T, h *harness) *clouds.Cloud {
	t.Helper()
	d, err := vertexai.Open(h.config(m))
	must(t, err)
	return clouds.New(d, clouds.Options{Clock: h.clock})
}

// What somebody changes between our reading and our writing is read again, and not
// written over.
func TestNothingIsWrittenOver(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	spec := h.endpoint("fraud", h.published(t, c, "fraud", "one"))
	_, err := h.apply(t.Context(), c, spec)
	must(t, err)
	var once sync.Once
	rt := &meanwhile{before: func(r *http.Request) {
		if r.Method != http.MethodPatch {
			return
		}
		once.Do(func() {
			labels := h.call(t, http.MethodGet, here+"endpoints/fraud", nil)["labels"].(map[string]any)
			labels["goog-terraform-provisioned"] = "true"
			h.call(t, http.MethodPatch, here+"endpoints/fraud?updateMask=labels", map[string]any{"labels": labels})
		})
	}}
	spec.Labels = map[string]string{"team": "risk"}
	state, err := h.apply(t.Context(), rt.cloud(t, h), spec)
	must(t, err)
	if diff := cmp.Diff(spec.Labels, state.Labels); diff != "" {
		t.Errorf("the labels that are wanted and those that are seen differ:\n%s", diff)
	}
	labels := h.call(t, http.MethodGet, here+"endpoints/fraud", nil)["labels"].(map[string]any)
	if labels["goog-terraform-provisioned"] != "true" || labels["team"] != "risk" {
		t.Errorf("the labels are %v", labels)
	}
}

// A call of a process that has ended comes in late, right before ours of the same kind:
// nothing is made twice.
func TestLateCalls(t *testing.T) {
	t.Parallel()
	for _, late := range []string{"/endpoints", ":deployModel", "/models:upload", ":undeployModel", "/endpoints/fraud", "/models/fraud@1:deleteVersion"} {
		t.Run(strings.Trim(late, "/:"), func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			var once sync.Once
			rt := &meanwhile{before: func(r *http.Request) {
				if r.Method != http.MethodPost && r.Method != http.MethodDelete || !strings.HasSuffix(r.URL.Path, late) {
					return
				}
				once.Do(func() { twice(t, r) })
			}}
			c := rt.cloud(t, h)
			for _, content := range []string{"one", "two"} {
				if _, err := h.apply(t.Context(), c, h.endpoint("fraud", h.published(t, c, "fraud", content))); err != nil {
					t.Fatalf("%s: %v\n%s", content, err, strings.Join(rt.made.made, "\n"))
				}
			}
			got := h.Objects(t)
			deployed := slices.DeleteFunc(slices.Clone(got), func(s string) bool { return !strings.HasPrefix(s, "deployment ") })
			// An upload has no name of ours: when it comes in late, there are two of it.
			if versions := len(got) - len(deployed) - 1; len(deployed) != 1 || versions != 2 && late != "/models:upload" {
				t.Errorf("there is %v", got)
			}
			must(t, c.DestroyEndpoint(t.Context(), h.endpoint("fraud", driver.VersionRef{}).Key, clouds.How{}))
			must(t, c.DestroyModel(t.Context(), h.endpoint("fraud", driver.VersionRef{}).Key, 0))
			if left := h.Objects(t); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// twice sends a request once more.
func twice(t *testing.T, r *http.Request) {
	t.Helper()
	var body []byte
	if r.Body != nil {
		var err error
		body, err = io.ReadAll(r.Body)
		must(t, err)
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	again, err := http.NewRequestWithContext(r.Context(), r.Method, r.URL.String(), bytes.NewReader(body))
	must(t, err)
	again.Header = r.Header.Clone()
	resp, err := http.DefaultTransport.RoundTrip(again)
	must(t, err)
	_ = resp.Body.Close()
}
