// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/vertexai"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// watched is an endpoint with two deployments, which share the requests, and a driver.
func watched(t *testing.T) (h *harness, d driver.Driver, key driver.Key, ids map[string]string) {
	t.Helper()
	h = newHarness(t)
	c, _ := h.cloud(t)
	old := h.published(t, c, "fraud", "one")
	next := h.published(t, c, "fraud", "two")
	spec := h.endpoint("fraud", old)
	spec.Deployments[0].Traffic = 80
	spec.Deployments = append(spec.Deployments, spec.Deployments[0])
	spec.Deployments[1].Name, spec.Deployments[1].Model, spec.Deployments[1].Traffic = "next", next, 20
	s, err := h.apply(t.Context(), c, spec)
	must(t, err)
	ids = map[string]string{}
	for i := range s.Deployments {
		ids[s.Deployments[i].Name] = s.Deployments[i].ID
	}
	d, err = vertexai.Open(h.config(http.DefaultTransport))
	must(t, err)
	return h, d, spec.Key, ids
}

func (h *harness) measure(t *testing.T, d driver.Driver, key driver.Key, id string, since, until time.Time) driver.Measurement {
	t.Helper()
	m, err := d.Measure(t.Context(), key, id, since, until)
	must(t, err)
	return m
}

// TestMeasure: answers are counted by deployment and window, and judged by what callers
// were really answered. The windows are those of a rehearsal, of less than a second.
func TestMeasure(t *testing.T) {
	t.Parallel()
	h, d, key, ids := watched(t)
	const step = 400 * time.Millisecond
	ref := driver.VersionRef{Key: key, Version: "2"}
	pass := func() (since, until time.Time) {
		since = h.clock.Now()
		h.Call(t, key, 100)
		must(t, h.clock.Sleep(t.Context(), step))
		return since, h.clock.Now()
	}
	near := func(reason string, got driver.Measurement, requests, errors int, latency time.Duration) {
		t.Helper()
		if got.Requests != requests || got.Errors != errors || (got.Latency95-latency).Abs() > latency/10 {
			t.Errorf("%s: %+v, want %d requests, %d errors, %s", reason, got, requests, errors, latency)
		}
	}
	const usual = 8 * time.Millisecond
	first, second := pass()
	near("all well", h.measure(t, d, key, ids["next"], first, second), 20, 0, usual)
	near("the other", h.measure(t, d, key, ids["main"], first, second), 80, 0, usual)
	h.Conduct(t, ref, 50, 900*time.Millisecond)
	since, until := pass()
	near("half of them fail, slowly", h.measure(t, d, key, ids["next"], since, until), 20, 10, 900*time.Millisecond)
	near("the other is not concerned", h.measure(t, d, key, ids["main"], since, until), 80, 0, usual)
	near("the window before", h.measure(t, d, key, ids["next"], first, second), 20, 0, usual)
	near("both windows", h.measure(t, d, key, ids["next"], first, until), 40, 10, 900*time.Millisecond)
	h.Conduct(t, ref, 0, 0)
	since, until = pass()
	near("well again", h.measure(t, d, key, ids["next"], since, until), 20, 0, usual)
	for reason, m := range map[string]driver.Measurement{
		"nothing was answered since":  h.measure(t, d, key, ids["next"], h.clock.Now(), h.clock.Now().Add(time.Minute)),
		"an empty window":             h.measure(t, d, key, ids["next"], until, until),
		"a deployment that never was": h.measure(t, d, key, "4711", first, until),
	} {
		if m != (driver.Measurement{}) {
			t.Errorf("%s: %+v", reason, m)
		}
	}
}

// TestMeasureRefused: what the platform refuses is told with its words, and what to do.
func TestMeasureRefused(t *testing.T) {
	t.Parallel()
	h, d, key, ids := watched(t)
	since := h.clock.Now()
	h.Call(t, key, 10)
	must(t, h.clock.Sleep(t.Context(), time.Second))
	for _, c := range []struct {
		reason     string
		fault      fault.Fault
		code       mlerr.Code
		words, tip string
	}{
		{"not allowed", fault.Fault{Status: 403, Code: "PERMISSION_DENIED", Message: "Permission monitoring.timeSeries.list denied (or the resource may not exist)."}, mlerr.PermissionDenied, "monitoring.timeSeries.list", "roles/monitoring.viewer"},
		{"too often", fault.Fault{Status: 429, Code: "RESOURCE_EXHAUSTED", Message: "Quota exceeded for quota metric 'Time series queries' and limit 'Time series queries per minute'"}, mlerr.Throttled, "Time series queries", ""},
		{"not now", fault.Fault{Status: 503, Code: "UNAVAILABLE", Message: "The service is currently unavailable."}, mlerr.Unavailable, "currently unavailable", ""},
	} {
		c.fault.Call, c.fault.Action = "vertex_ai.timeSeries.list", fault.Error
		s := script{Faults: []fault.Fault{c.fault}}
		s.write(t, h.dir)
		m, err := d.Measure(t.Context(), key, ids["main"], since, h.clock.Now())
		if !mlerr.Is(err, c.code) || !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), "request id") || !strings.Contains(mlerr.Hint(err), c.tip) || m != (driver.Measurement{}) {
			t.Errorf("%s: %+v, %v (%s)", c.reason, m, err, mlerr.Hint(err))
		}
	}
	// The second of the two reads fails: half a measurement is none.
	s := script{Faults: []fault.Fault{{Call: "vertex_ai.timeSeries.list", Occurrence: 2, Action: fault.Error, Status: 503, Code: "UNAVAILABLE"}}}
	s.write(t, h.dir)
	if m, err := d.Measure(t.Context(), key, ids["main"], since, h.clock.Now()); !mlerr.Is(err, mlerr.Unavailable) || m != (driver.Measurement{}) {
		t.Errorf("without the latencies: %+v, %v", m, err)
	}
}

// TestFiring: alert policies are found by their name, and fire while an alert is open.
func TestFiring(t *testing.T) {
	t.Parallel()
	h, d, key, _ := watched(t)
	for name, fires := range map[string]bool{"errors": true, "load": false, `the "last" one`: true} {
		h.Alarm(t, name, fires)
	}
	firing := func(names ...string) string {
		t.Helper()
		got, err := d.Firing(t.Context(), key, names)
		must(t, err)
		var all []string
		for _, a := range got {
			if all = append(all, a.Name); !strings.Contains(a.Reason, "open since 2026-01-0") || !strings.Contains(a.Reason, "custom.googleapis.com/alarms/") {
				t.Errorf("%s fires because %s", a.Name, a.Reason)
			}
		}
		return strings.Join(all, ", ")
	}
	if got := firing(`the "last" one`, "load", "errors", "errors"); got != `errors, the "last" one` {
		t.Errorf("firing are %s", got)
	}
	h.Alarm(t, "errors", false)
	h.Alarm(t, "load", true)
	if got := firing("load", "errors"); got != "load" {
		t.Errorf("firing are %s", got)
	}
	policies := h.callIn(t, "v3", http.MethodGet, "projects/p1/alertPolicies", nil)["alertPolicies"].([]any)
	i := slices.IndexFunc(policies, func(p any) bool { return p.(map[string]any)["displayName"] == "load" })
	name := policies[i].(map[string]any)["name"].(string)
	if got := firing(name); got != name {
		t.Errorf("by its resource name, firing is %q, want %s", got, name)
	}
	if got := firing(); got != "" {
		t.Errorf("of no alarms %s fire", got)
	}
}

// TestFiringRefused: an alarm that cannot be told is refused, at plan time, where it is written.
func TestFiringRefused(t *testing.T) {
	t.Parallel()
	h, d, key, _ := watched(t)
	h.Alarm(t, "load", true)
	of := "projects/" + project + "/alertPolicies"
	condition := map[string]any{"displayName": "any", "conditionThreshold": map[string]any{"filter": `metric.type = "custom.googleapis.com/a" AND resource.type = "global"`, "comparison": "COMPARISON_GT", "duration": "0s"}}
	for _, enabled := range []bool{true, true, false} {
		name := map[bool]string{true: "twice", false: "off"}[enabled]
		h.callIn(t, "v3", http.MethodPost, of, map[string]any{"displayName": name, "combiner": "OR", "enabled": enabled, "conditions": []any{condition}})
	}
	for _, c := range []struct{ name, words, tip string }{
		{"none", `no alert policy "none" in the project p1`, "display name of an alert policy"},
		{"Load", `no alert policy "Load"`, "display name"},
		{of + "/1", "no alert policy", "alertPolicies/<id>"},
		{"twice", "2 alert policies", "alertPolicies/<id>"},
		{"off", "is disabled", "Enable it"},
	} {
		got, err := d.Firing(t.Context(), key, []string{"load", c.name})
		if !mlerr.Is(err, mlerr.InvalidArgument) || mlerr.PathOf(err) != "rollout.checks.alarms" || !strings.Contains(err.Error(), c.words) || !strings.Contains(mlerr.Hint(err), c.tip) || got != nil {
			t.Errorf("%s: %v, %v at %q (%s)", c.name, got, err, mlerr.PathOf(err), mlerr.Hint(err))
		}
	}
	for _, call := range []string{"alertPolicies", "alerts"} {
		s := script{Faults: []fault.Fault{{Call: "vertex_ai." + call + ".list", Action: fault.Error, Status: 403, Code: "PERMISSION_DENIED", Message: "Permission monitoring." + call + ".list denied (or the resource may not exist)."}}}
		s.write(t, h.dir)
		_, err := d.Firing(t.Context(), key, []string{"load"})
		if !mlerr.Is(err, mlerr.PermissionDenied) || mlerr.PathOf(err) != "rollout.checks.alarms" || !strings.Contains(err.Error(), "monitoring."+call+".list") || !strings.Contains(mlerr.Hint(err), "roles/monitoring.viewer") {
			t.Errorf("%s: %v at %q (%s)", call, err, mlerr.PathOf(err), mlerr.Hint(err))
		}
	}
}

// TestMeasureWhatGoogleShows: distributions of any buckets, points that have begun before
// the window, private endpoints' metrics, and several pages.
func TestMeasureWhatGoogleShows(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 1, 5, 8, 0, 30, 0, time.UTC)
	counts := func(code string, points ...string) string {
		return fmt.Sprintf(`{"metric":{"labels":{"response_code":%q}},"points":[%s]}`, code, strings.Join(points, ","))
	}
	at := func(from, value string) string {
		return `{"interval":{"startTime":"2026-01-05T08:` + from + `Z","endTime":"2026-01-05T08:` + from[:3] + `59Z"},"value":` + value + `}`
	}
	n := func(n string) string { return `{"int64Value":"` + n + `"}` }
	spread := func(options, buckets string) string {
		return `{"distributionValue":{"count":"100","mean":50,"bucketOptions":{` + options + `},"bucketCounts":[` + buckets + `]}}`
	}
	latency := func(kind string, points ...string) string {
		return fmt.Sprintf(`{"metric":{"labels":{"latency_type":%q}},"points":[%s]}`, kind, strings.Join(points, ","))
	}
	const explicit = `"explicitBuckets":{"bounds":[10,20,100]}`
	for _, c := range []struct {
		reason  string
		private bool
		answers map[string]string // of a metric, and of its second page
		want    driver.Measurement
	}{
		{"by classes of statuses", false, map[string]string{"response_count": counts("2xx", at("01:00", n("90"))) + "," + counts("5xx", at("01:00", n("6"))) + "," + counts("4xx", at("02:00", n("4"))),
			"prediction_latencies": latency("total", at("01:00", spread(explicit, `"0","80","20"`)))}, driver.Measurement{Requests: 100, Errors: 6, Latency95: 80 * time.Millisecond}},
		{"on two pages", false, map[string]string{"response_count": counts("2xx", at("02:00", n("5"))), "response_count 2": counts("2xx", at("01:00", n("5"))),
			"prediction_latencies": latency("total", at("01:00", spread(explicit, `"0","0","0","100"`)))}, driver.Measurement{Requests: 10, Latency95: 100 * time.Millisecond}},
		{"what has begun before", false, map[string]string{"response_count": counts("5xx", at("00:00", n("7")), at("01:00", n("1")))}, driver.Measurement{Requests: 1, Errors: 1}},
		{"parts of the latency", false, map[string]string{"response_count": counts("2xx", at("01:00", n("100"))),
			"prediction_latencies": latency("overhead", at("01:00", spread(explicit, `"100"`))) + "," + latency("total", at("01:00", spread(`"exponentialBuckets":{"numFiniteBuckets":10,"growthFactor":2,"scale":1}`, `"0","0","0","100"`)))},
			driver.Measurement{Requests: 100, Latency95: 7800 * time.Microsecond}},
		{"linear buckets", false, map[string]string{"response_count": counts("2xx", at("01:00", n("100"))),
			"prediction_latencies": latency("total", at("01:00", spread(`"linearBuckets":{"numFiniteBuckets":3,"width":10,"offset":0}`, `"0","50","50"`)))}, driver.Measurement{Requests: 100, Latency95: 19 * time.Millisecond}},
		{"a private endpoint", true, map[string]string{"private/response_count": counts("200", at("01:00", n("3"))) + "," + counts("503", at("01:00", n("1"))),
			"private/prediction_latencies": latency("", at("01:00", spread(explicit, `"100"`)))}, driver.Measurement{Requests: 4, Errors: 1, Latency95: 9500 * time.Microsecond}},
		{"a private endpoint without metrics of its own", true, map[string]string{"response_count": counts("2xx", at("01:00", n("3")))}, driver.Measurement{Requests: 3}},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/v1/") {
				fmt.Fprintf(w, `{"name":"projects/1/locations/us-central1/endpoints/fraud","privateServiceConnectConfig":{"enablePrivateServiceConnect":%v}}`, c.private)
				return
			}
			_, metric, _ := strings.Cut(r.URL.Query().Get("filter"), "prediction/online/")
			metric, rest, _ := strings.Cut(metric, `"`)
			next := ""
			if page := r.URL.Query().Get("pageToken"); page != "" {
				metric += " " + page
			} else if c.answers[metric+" 2"] != "" {
				next = `,"nextPageToken":"2"`
			}
			wanted := `resource.labels.location = "us-central1" AND resource.labels.endpoint_id = "fraud" AND metric.labels.deployed_model_id = "77"`
			if !strings.Contains(rest, wanted) || r.URL.Query().Get("interval.startTime") != "2026-01-05T08:00:30Z" || r.URL.Path != "/v3/projects/p1/timeSeries" {
				t.Errorf("%s: asked %s", c.reason, r.URL)
			}
			fmt.Fprintf(w, `{"timeSeries":[%s]%s}`, c.answers[metric], next)
		}))
		t.Cleanup(server.Close)
		d, err := vertexai.Open(vertexai.Config{Project: project, Region: "us-central1", Isolated: true, EndpointURL: server.URL})
		must(t, err)
		got, err := d.Measure(t.Context(), driver.Key{Platform: driver.VertexAI, Location: location, Name: "fraud"}, "77", since, since.Add(10*time.Minute))
		must(t, err)
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.reason, got, c.want)
		}
	}
}
