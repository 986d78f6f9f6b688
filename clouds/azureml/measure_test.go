// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/clouds/azureml"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/drivertest"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

var (
	_ drivertest.Watched = (*harness)(nil)
	_ drivertest.Watched = clustered{}
	_ drivertest.Watched = publishing{}
)

const monitor = "?api-version=2018-03-01"

// script changes one part of faults.json and leaves the other.
func (h *harness) script(t *testing.T, part string, value any) {
	t.Helper()
	name, all := filepath.Join(h.dir, "faults.json"), map[string]any{}
	data, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	all[part] = value
	data, err = json.Marshal(all)
	must(t, err)
	must(t, os.WriteFile(name, data, 0o600))
}

// Conduct makes what serves ref answer so.
func (h *harness) Conduct(t *testing.T, ref driver.VersionRef, errorPercent int, latency time.Duration) {
	t.Helper()
	own := map[string]any{"model": ref.Key.Name, "version": ref.Version, "error_percent": errorPercent}
	if latency > 0 {
		own["latency"] = latency.String()
	}
	var all []any
	if data, err := os.ReadFile(filepath.Join(h.dir, "faults.json")); err == nil {
		var now struct {
			Conduct []map[string]any `json:"conduct"`
		}
		must(t, json.Unmarshal(data, &now))
		for _, c := range now.Conduct {
			if c["model"] != own["model"] || c["version"] != own["version"] {
				all = append(all, c)
			}
		}
	}
	h.script(t, "conduct", append(all, own))
}

// Call sends requests to an endpoint as its callers do, with its key.
func (h *harness) Call(t *testing.T, key driver.Key, n int) {
	t.Helper()
	address := here + "onlineEndpoints/" + key.Name
	e := h.call(t, http.MethodGet, address+learning, nil)
	secret := h.call(t, http.MethodPost, address+"/listKeys"+learning, nil)["primaryKey"].(string)
	url := e["properties"].(map[string]any)["scoringUri"].(string)
	if strings.HasSuffix(url, "/") { // Triton's, which has routes below it
		url += "v2/models/" + key.Name + "/infer"
	}
	for range n {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader([]byte(`{"inputs":[1]}`)))
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+secret)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		must(t, err)
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		must(t, err)
		if ok := []int{http.StatusOK, http.StatusFailedDependency, http.StatusBadGateway}; !slices.Contains(ok, resp.StatusCode) {
			t.Fatalf("%s answers %d: %s", url, resp.StatusCode, body)
		}
	}
}

// Alarm makes a metric alert whose threshold the workspace's idle compute is always
// beyond, or never.
func (h *harness) Alarm(t *testing.T, name string, fires bool) {
	t.Helper()
	threshold := 1000
	if fires {
		threshold = 0
	}
	h.call(t, http.MethodPut, inGroup+"Microsoft.Insights/metricAlerts/"+name+monitor, map[string]any{"location": "global", "properties": map[string]any{
		"enabled": true, "severity": 2, "scopes": []string{strings.TrimSuffix(here, "/")}, "evaluationFrequency": "PT1M", "windowSize": "PT5M",
		"criteria": map[string]any{"odata.type": "Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria", "allOf": []any{map[string]any{"name": "nodes", "criterionType": "StaticThresholdCriterion",
			"metricName": "Active Nodes", "operator": "GreaterThanOrEqual", "threshold": threshold, "timeAggregation": "Average"}}}}})
}

// open is the driver by itself, with what its calls are counted by.
func (h *harness) driver(t *testing.T) (driver.Driver, *counting) {
	t.Helper()
	calls := &counting{}
	d, err := azureml.Open(h.config(calls))
	must(t, err)
	return d, calls
}

// Two deployments that share the requests are measured apart, in the window that is asked
// for, also over several minutes.
func TestMeasure(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	one, two := h.published(t, c, "fraud", "one"), h.published(t, c, "fraud", "two")
	spec := h.endpoint("fraud", one)
	next := spec.Deployments[0]
	spec.Deployments[0].Traffic, next.Name, next.Model, next.Traffic = 80, "next", two, 20
	spec.Deployments = append(spec.Deployments, next)
	state, err := h.apply(t.Context(), c, spec)
	must(t, err)
	ids := map[string]string{}
	for _, d := range state.Deployments {
		ids[d.Name] = d.ID
	}
	d, _ := h.driver(t)
	measure := func(reason, name string, since, until time.Time, want driver.Measurement) {
		t.Helper()
		got, err := d.Measure(t.Context(), spec.Key, ids[name], since, until)
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s, %s:\n%s", reason, name, diff)
		}
	}
	begin := h.clock.Now()
	measure("before any request", "main", begin.Add(-time.Hour), begin, driver.Measurement{})
	h.Conduct(t, two, 25, 900*time.Millisecond)
	h.Call(t, spec.Key, 100)
	must(t, h.clock.Sleep(t.Context(), 500*time.Millisecond))
	shortly := h.clock.Now()
	measure("half a second", "main", begin, shortly, driver.Measurement{Requests: 80, Latency95: 8 * time.Millisecond})
	measure("half a second", "next", begin, shortly, driver.Measurement{Requests: 20, Errors: 5, Latency95: 900 * time.Millisecond})

	must(t, h.clock.Sleep(t.Context(), 3*time.Minute))
	h.Conduct(t, two, 0, 300*time.Millisecond)
	second := h.clock.Now()
	h.Call(t, spec.Key, 200)
	must(t, h.clock.Sleep(t.Context(), time.Minute))
	end := h.clock.Now()
	measure("the second time", "next", second, end, driver.Measurement{Requests: 40, Latency95: 300 * time.Millisecond})
	measure("both times", "next", begin, end, driver.Measurement{Requests: 60, Errors: 5, Latency95: 500 * time.Millisecond})
	measure("between them", "next", shortly, second.Add(-100*time.Millisecond), driver.Measurement{})
	measure("no time", "next", end, end, driver.Measurement{})

	// The model's own refusals are none of the deployment's.
	for range 3 {
		refused, err := c.Invoke(t.Context(), spec.Key, ids["next"], driver.Request{Body: []byte("{}"), ContentType: "application/json"})
		must(t, err)
		if refused.Status != http.StatusOK {
			t.Fatalf("it answers %d", refused.Status)
		}
	}
	key := spec.Key
	key.Name = "nothing"
	if _, err := d.Measure(t.Context(), key, "main", begin, end); !mlerr.Is(err, mlerr.NotFound) {
		t.Errorf("of an endpoint that is not there: %v", err)
	}
}

// What the wire says is read by what it means: also statuses that the emulator has not, and
// series without values.
func TestMeasureStatuses(t *testing.T) {
	t.Parallel()
	series := func(status, model string, values string) string {
		return `{"metadatavalues":[{"name":{"value":"statuscode"},"value":"` + status + `"},{"name":{"value":"modelstatuscode"},"value":"` + model + `"}],"data":[` + values + `]}`
	}
	const ten = `{"timeStamp":"2026-01-05T08:00:00Z","average":10},{"timeStamp":"2026-01-05T08:01:00Z"},{"timeStamp":"2026-01-05T08:02:00Z","average":0}`
	for reason, c := range map[string]struct {
		series string
		want   driver.Measurement
	}{
		"no series":                      {"", driver.Measurement{}},
		"successes":                      {series("200", "200", ten), driver.Measurement{Requests: 10}},
		"the model's failure":            {series("424", "500", ten), driver.Measurement{Requests: 10, Errors: 10}},
		"the model's refusal":            {series("424", "422", ten), driver.Measurement{Requests: 10}},
		"no answer of the model's":       {series("424", "", ten), driver.Measurement{Requests: 10, Errors: 10}},
		"too slow":                       {series("408", "0", ten), driver.Measurement{Requests: 10, Errors: 10}},
		"the platform's failure":         {series("503", "", ten), driver.Measurement{Requests: 10, Errors: 10}},
		"too many requests":              {series("429", "", ten), driver.Measurement{Requests: 10}},
		"successes and failures, summed": {series("200", "200", ten+","+strings.ReplaceAll(ten, "T08", "T09")) + "," + series("424", "503", ten), driver.Measurement{Requests: 30, Errors: 10}},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			d, err := azureml.Open(h.config(metricsOf{c.series}))
			must(t, err)
			key := driver.Key{Platform: driver.AzureML, Location: location, Name: "fraud"}
			got, err := d.Measure(t.Context(), key, "main", h.clock.Now(), h.clock.Now().Add(time.Hour))
			must(t, err)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// metricsOf answers with series of requests, and with none of latencies.
type metricsOf struct{ series string }

func (m metricsOf) RoundTrip(r *http.Request) (*http.Response, error) {
	series := m.series
	if r.URL.Query().Get("metricnames") != "RequestsPerMinute" {
		series = ""
	}
	body := `{"value":[{"id":"m","name":{"value":"m"},"errorCode":"Success","timeseries":[` + series + `]}]}`
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// Alerts are asked by name or id, and those that are not there are refused.
func TestFiring(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.Alarm(t, "errors", true)
	h.Alarm(t, "latency", false)
	h.Alarm(t, "noise", true)
	key := driver.Key{Platform: driver.AzureML, Location: location, Name: "fraud"}
	d, calls := h.driver(t)
	byID := strings.ToUpper(inGroup) + "microsoft.insights/metricalerts/noise"
	got, err := d.Firing(t.Context(), key, []string{"latency", byID, "errors", "errors"})
	must(t, err)
	if len(got) != 2 || got[0].Name != byID || got[1].Name != "errors" || !strings.Contains(got[1].Reason, "Unhealthy") {
		t.Errorf("there fire %+v", got)
	}
	if len(calls.made) != 3 {
		t.Errorf("three alerts take %v", calls.made)
	}
	h.Alarm(t, "errors", false)
	if got, err = d.Firing(t.Context(), key, []string{"latency", "errors"}); err != nil || len(got) > 0 {
		t.Errorf("there fire %+v, %v", got, err)
	}
	_, err = d.Firing(t.Context(), key, []string{"latency", "unknown"})
	if !mlerr.Is(err, mlerr.InvalidArgument) || mlerr.PathOf(err) != "rollout.checks.alarms" || !strings.Contains(err.Error(), "unknown") || mlerr.Hint(err) == "" {
		t.Errorf("of one that is not there: %v at %q", err, mlerr.PathOf(err))
	}
}

// What may not be read is said with the permission that it takes, which no role of Azure ML
// has.
func TestMeasureWithoutPermission(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.Alarm(t, "errors", true)
	var denied []map[string]any
	for _, call := range []string{"metrics.list", "metricAlertsStatus.list"} {
		denied = append(denied, map[string]any{"call": "azure_ml." + call, "occurrence": 0, "action": "error", "code": "AuthorizationFailed", "status": 403, "message": "does not have authorization"})
	}
	h.faults(t, denied...)
	key := driver.Key{Platform: driver.AzureML, Location: location, Name: "fraud"}
	d, _ := h.driver(t)
	_, measured := d.Measure(t.Context(), key, "main", h.clock.Now().Add(-time.Hour), h.clock.Now())
	_, fired := d.Firing(t.Context(), key, []string{"errors"})
	for permission, err := range map[string]error{"Microsoft.Insights/metrics/read": measured, "Microsoft.Insights/metricAlerts/status/read": fired} {
		if !mlerr.Is(err, mlerr.PermissionDenied) || !strings.Contains(mlerr.Hint(err), permission) || !strings.Contains(err.Error(), "request id") {
			t.Errorf("%v, hint %q", err, mlerr.Hint(err))
		}
	}
}

// A version on a cluster answers badly too, which its router says with another status.
func TestConductOnCluster(t *testing.T) {
	t.Parallel()
	h := newClustered(t)
	c, _ := h.cloud(t)
	ref := h.published(t, c, "fraud", "one")
	spec := h.onCluster("fraud", "cluster", ref)
	_, err := h.apply(t.Context(), c, spec)
	must(t, err)
	h.Conduct(t, ref, 100, 0)
	h.Call(t, spec.Key, 3)
	got, err := c.Invoke(t.Context(), spec.Key, "", driver.Request{Body: []byte("{}"), ContentType: "application/json"})
	if err != nil || got.Status != http.StatusBadGateway {
		t.Errorf("it answers %+v, %v", got, err)
	}
}

// Conduct and faults are scripted in one file, and do not lose each other.
func TestScripts(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	h.FailNextDeploy(t, "no")
	ref := driver.VersionRef{Key: driver.Key{Name: "fraud"}, Version: "1"}
	h.Conduct(t, ref, 10, 0)
	h.Conduct(t, ref, 20, time.Second)
	data, err := os.ReadFile(filepath.Join(h.dir, "faults.json"))
	must(t, err)
	var all map[string][]map[string]any
	must(t, json.Unmarshal(data, &all))
	if parts := slices.Sorted(maps.Keys(all)); !slices.Equal(parts, []string{"conduct", "faults"}) || len(all["conduct"]) != 1 || all["conduct"][0]["latency"] != "1s" {
		t.Errorf("it is scripted %s", data)
	}
}
