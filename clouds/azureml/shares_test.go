// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml_test

import (
	"net/http"
	"testing"

	"github.com/mlplane/terraform-provider-ml/clouds/azureml"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// Shares that somebody has changed since they were observed are not written over.
func TestSharesAreNotWrittenOver(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	spec := h.endpoint("fraud", h.published(t, c, "fraud", "one"))
	_, err := h.apply(t.Context(), c, spec)
	must(t, err)
	h.change(t, http.MethodPut, here+"onlineEndpoints/fraud/deployments/theirs"+learning, map[string]any{"location": h.region(t), "sku": map[string]any{"name": "Default", "capacity": 1},
		"properties": map[string]any{"endpointComputeType": "Managed", "instanceType": "Standard_DS3_v2", "model": here + "models/fraud/versions/1"}})
	calls := &counting{}
	d, err := azureml.Open(h.config(calls))
	must(t, err)
	for field, change := range map[string]map[string]any{"traffic": {"theirs": 100}, "mirrorTraffic": {"theirs": 10}} {
		seen, err := d.ObserveEndpoint(t.Context(), spec.Key, nil)
		must(t, err)
		out := repeated(h.call(t, http.MethodGet, here+"onlineEndpoints/fraud"+learning, nil))
		before := out["properties"].(map[string]any)[field]
		out["properties"].(map[string]any)[field] = change
		h.change(t, http.MethodPut, here+"onlineEndpoints/fraud"+learning, out)
		ours := seen.Deployments[0]
		share := driver.Share{ID: ours.ID, Name: ours.Name, Traffic: ours.Traffic}
		if err := d.SetTraffic(t.Context(), spec, seen, []driver.Share{share}); !mlerr.Is(err, mlerr.Conflict) || len(calls.changes()) > 0 {
			t.Errorf("%s is written over: %v, %v", field, err, calls.changes())
		}
		out["properties"].(map[string]any)[field] = before
		h.change(t, http.MethodPut, here+"onlineEndpoints/fraud"+learning, out)
	}
}
