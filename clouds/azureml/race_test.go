// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml_test

import (
	"bytes"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/azureml"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
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
	d, err := azureml.Open(h.config(m))
	must(t, err)
	return clouds.New(d, clouds.Options{Clock: h.clock})
}

// A call of a process that has ended comes in late, right before ours of the same kind:
// nothing is made twice, and nothing is left behind.
func TestLateCalls(t *testing.T) {
	t.Parallel()
	for reason, late := range map[string]struct {
		pattern string // of method and path
		n       int    // which of them
	}{
		"an endpoint's creation":     {`^PUT .*/onlineEndpoints/fraud$`, 1},
		"its requests":               {`^PUT .*/onlineEndpoints/fraud$`, 2},
		"its labels":                 {`^PUT .*/onlineEndpoints/fraud$`, 3},
		"requests of the next":       {`^PUT .*/onlineEndpoints/fraud$`, 4},
		"a deployment":               {`^PUT .*/deployments/main-`, 1},
		"the next deployment":        {`^PUT .*/deployments/main-`, 2},
		"a removal of a deployment":  {`^DELETE .*/deployments/main-`, 1},
		"what scales it":             {`(?i)^PUT .*/autoscaleSettings/`, 1},
		"the removal of that":        {`(?i)^DELETE .*/autoscaleSettings/`, 1},
		"an invoker":                 {`^PUT .*/roleAssignments/`, 1},
		"a version":                  {`^PUT .*/models/fraud/versions/`, 1},
		"the next version":           {`^PUT .*/models/fraud/versions/`, 2},
		"a model":                    {`^PUT .*/models/fraud$`, 1},
		"the removal of an endpoint": {`^DELETE .*/onlineEndpoints/fraud$`, 1},
		"the removal of a version":   {`^DELETE .*/models/fraud/versions/`, 1},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			h.mode = "iam"
			var mu sync.Mutex
			met, pattern := 0, regexp.MustCompile(late.pattern)
			rt := &meanwhile{before: func(r *http.Request) {
				if !pattern.MatchString(r.Method + " " + r.URL.Path) {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				if met++; met == late.n {
					twice(t, r)
				}
			}}
			c := rt.cloud(t, h)
			spec := h.endpoint("fraud", driver.VersionRef{Key: driver.Key{Platform: driver.AzureML, Location: location, Name: "fraud"}})
			spec.Settings.Auth.Invokers = []string{alice}
			spec.Deployments[0].Scaling = driver.Scaling{Min: 1, Max: 3, Metrics: []driver.Metric{{Type: driver.MetricCPU, Target: 60}}}
			for _, content := range []string{"one", "two"} {
				spec.Deployments[0].Model = h.published(t, c, "fraud", content)
				if state, err := h.apply(t.Context(), c, spec); err != nil || state.Unfinished != "" {
					t.Fatalf("%s: %+v, %v\n%s", content, state, err, strings.Join(rt.made.changes(), "\n"))
				}
			}
			// A model with two versions, an endpoint with a deployment, and what scales that.
			if got := h.Objects(t); len(got) != 6 {
				t.Errorf("there is %v", got)
			}
			must(t, c.DestroyEndpoint(t.Context(), spec.Key, clouds.How{Limit: time.Hour}))
			must(t, c.DestroyModel(t.Context(), spec.Key, 0))
			if left := slices.Concat(h.Objects(t), h.roles(t, "fraud")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if met < late.n {
				t.Errorf("%d calls were like that", met)
			}
		})
	}
}

// A version that somebody else publishes in the moment in which we do keeps its number:
// ours gets the next.
func TestVersionsOfSomebodyElse(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	var once sync.Once
	rt := &meanwhile{before: func(r *http.Request) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/models/fraud/versions/") {
			once.Do(func() {
				h.call(t, http.MethodPut, here+"models/fraud/versions/1"+learning, map[string]any{"properties": map[string]any{"modelType": "triton_model",
					"modelUri": "azureml://datastores/workspaceblobstore/paths/theirs"}})
			})
		}
	}}
	if ref := h.published(t, rt.cloud(t, h), "fraud", "one"); ref.Version != "2" {
		t.Errorf("ours is version %s", ref.Version)
	}
	theirs := h.call(t, http.MethodGet, here+"models/fraud/versions/1"+learning, nil)["properties"].(map[string]any)
	if uri, _ := theirs["modelUri"].(string); !strings.HasSuffix(uri, "/paths/theirs") {
		t.Errorf("theirs is at %s", uri)
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
