// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/drivertest"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/state"
)

var _ drivertest.Watched = (*harness)(nil)

// Call sends requests to the endpoint's own address, in the form that passes them to
// the model as they are. What fails, fails for its caller.
func (h *harness) Call(t *testing.T, key driver.Key, n int) {
	t.Helper()
	for range n {
		address := h.urls["vertex_ai"] + "/v1/" + here + "endpoints/" + key.Name + ":rawPredict"
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(`{"instances": [[1, 2]]}`))
		must(t, err)
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		must(t, errors.Join(err, resp.Body.Close()))
		if resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusBadRequest {
			t.Fatalf("a request to %s is answered %s", key, resp.Status)
		}
	}
}

// script is what faults.json says.
type script struct {
	Faults  []fault.Fault   `json:"faults"`
	Conduct []fault.Conduct `json:"conduct"`
}

const deployCall = "vertex_ai.endpoints.deployModel"

// scripted reads faults.json. To write it is to count calls anew: a fault that has struck
// is left out, for it would strike again.
func (h *harness) scripted(t *testing.T) (s script) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(h.dir, "faults.json"))
	if errors.Is(err, os.ErrNotExist) {
		return s
	}
	must(t, err)
	must(t, json.Unmarshal(data, &s))
	store, err := state.Open(h.dir)
	must(t, err)
	var counts struct{ Calls map[string]int }
	must(t, errors.Join(store.Do(t.Context(), func(tx *state.Tx) error {
		_, err := tx.Get("faults", "counts", &counts)
		return err
	}), store.Close()))
	s.Faults = slices.DeleteFunc(s.Faults, func(f fault.Fault) bool { return f.Occurrence > 0 && counts.Calls[f.Call] >= f.Occurrence })
	return s
}

func (s *script) write(t *testing.T, dir string) {
	t.Helper()
	data, err := json.Marshal(s)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "faults.json"), data, 0o600))
}

func (h *harness) Conduct(t *testing.T, ref driver.VersionRef, errorPercent int, latency time.Duration) {
	t.Helper()
	s := h.scripted(t)
	s.Conduct = slices.DeleteFunc(s.Conduct, func(c fault.Conduct) bool { return c.Model == ref.Key.Name && c.Version == ref.Version })
	if errorPercent > 0 || latency > 0 {
		c := fault.Conduct{Model: ref.Key.Name, Version: ref.Version, ErrorPercent: errorPercent}
		if latency > 0 {
			c.Latency = latency.String()
		}
		s.Conduct = append(s.Conduct, c)
	}
	s.write(t, h.dir)
}

// Alarm makes an alert policy over a metric of one's own, whose points decide.
func (h *harness) Alarm(t *testing.T, name string, fires bool) {
	t.Helper()
	const of = "projects/" + project + "/"
	metric := "custom.googleapis.com/alarms/" + hex.EncodeToString([]byte(name))
	known, _ := h.callIn(t, "v3", http.MethodGet, of+"alertPolicies", nil)["alertPolicies"].([]any)
	if !slices.ContainsFunc(known, func(p any) bool { return p.(map[string]any)["displayName"] == name }) {
		h.callIn(t, "v3", http.MethodPost, of+"alertPolicies", map[string]any{"displayName": name, "combiner": "OR", "conditions": []any{map[string]any{"displayName": "above zero",
			"conditionThreshold": map[string]any{"filter": `metric.type = "` + metric + `" AND resource.type = "global"`, "comparison": "COMPARISON_GT", "thresholdValue": 0, "duration": "0s"}}}})
	}
	value := 0
	if fires {
		value = 1
	}
	must(t, h.clock.Sleep(t.Context(), 20*time.Millisecond)) // points of a series are seconds apart
	h.callIn(t, "v3", http.MethodPost, of+"timeSeries", map[string]any{"timeSeries": []any{map[string]any{"metric": map[string]any{"type": metric}, "resource": map[string]any{"type": "global"},
		"points": []any{map[string]any{"interval": map[string]any{"endTime": h.clock.Now().UTC().Format(time.RFC3339Nano)}, "value": map[string]any{"doubleValue": value}}}}}})
}
