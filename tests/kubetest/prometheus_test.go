// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubetest_test

import (
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/kubernetes"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
	"github.com/mlplane/terraform-provider-ml/tests/kubetest"
)

const token = "kept-to-ourselves"

// vector answers a query as Prometheus does.
func vector(w http.ResponseWriter, samples ...string) {
	fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[%s]}}`, strings.Join(samples, ","))
}

// TestPrometheusRefusals says what to do about a Prometheus that does not answer.
func TestPrometheusRefusals(t *testing.T) {
	t.Parallel()
	cluster, _, state := serving(t, "deployment")
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the login page got the token")
		}
		fmt.Fprint(w, "<html>log in</html>")
	}))
	t.Cleanup(elsewhere.Close)
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		config kubernetes.Prometheus
		code   mlerr.Code
		says   string
	}{
		"no token":             {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusUnauthorized) }, kubernetes.Prometheus{}, mlerr.Unauthenticated, "PROMETHEUS_TOKEN"},
		"not granted":          {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }, kubernetes.Prometheus{}, mlerr.PermissionDenied, "credentials"},
		"another path":         {http.NotFound, kubernetes.Prometheus{}, mlerr.InvalidArgument, "/api/v1"},
		"too often":            {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "slow", http.StatusTooManyRequests) }, kubernetes.Prometheus{}, mlerr.Throttled, "too often"},
		"a gateway without it": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "gone", http.StatusBadGateway) }, kubernetes.Prometheus{}, mlerr.Unavailable, "502"},
		"still starting": {func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "Service Unavailable", http.StatusServiceUnavailable)
		},
			kubernetes.Prometheus{}, mlerr.Unavailable, "503"},
		"a login page": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+"/login", http.StatusFound)
		},
			kubernetes.Prometheus{}, mlerr.InvalidArgument, "no Prometheus"},
		"no PromQL": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"status":"error","errorType":"bad_data","error":"invalid parameter \"query\": 1:4: parse error: unclosed left parenthesis"}`)
		}, kubernetes.Prometheus{Queries: &kubernetes.Queries{Requests: "sum("}}, mlerr.InvalidArgument, "unclosed left parenthesis"},
		"several numbers": {func(w http.ResponseWriter, _ *http.Request) {
			vector(w, `{"metric":{"pod":"a"},"value":[1,"3"]}`, `{"metric":{"pod":"b"},"value":[1,"4"]}`)
		}, kubernetes.Prometheus{Queries: &kubernetes.Queries{Requests: "requests"}}, mlerr.InvalidArgument, "sum()"},
		"two kinds of metrics": {func(w http.ResponseWriter, _ *http.Request) {
			vector(w, `{"metric":{"__name__":"istio_requests_total"},"value":[1,"3"]}`, `{"metric":{"__name__":"traefik_service_requests_total"},"value":[1,"4"]}`)
		}, kubernetes.Prometheus{}, mlerr.InvalidArgument, "kubernetes.prometheus.metrics"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(c.answer)
			t.Cleanup(server.Close)
			cfg := cluster.Config
			cfg.Prometheus = c.config
			cfg.Prometheus.URL, cfg.Prometheus.Token = server.URL, secret.New(token)
			d := opened(t, cfg)
			now := cluster.Time.Now()
			_, err := d.Measure(t.Context(), state.Key, state.Deployments[0].ID, now.Add(-time.Minute), now)
			if said := fmt.Sprint(err, " ", mlerr.Hint(err)); mlerr.CodeOf(err) != c.code || !strings.Contains(said, c.says) || strings.Contains(said, token) {
				t.Errorf("got %v: %s; want %v with %q", mlerr.CodeOf(err), said, c.code, c.says)
			}
		})
	}
}

func opened(t *testing.T, cfg kubernetes.Config) driver.Driver {
	t.Helper()
	d, err := kubernetes.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestPrometheusConnection brings a token, and trusts whom it is told to.
func TestPrometheusConnection(t *testing.T) {
	t.Parallel()
	cluster, _, state := serving(t, "deployment")
	began := cluster.Time.Now()
	cluster.Call(t, state.Key, 10)
	if err := cluster.Time.Sleep(t.Context(), time.Minute); err != nil {
		t.Fatal(err)
	}
	emulated, err := url.Parse(cluster.Config.Prometheus.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(emulated) }}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+token {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	authority := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	for name, c := range map[string]struct {
		config kubernetes.Prometheus
		code   mlerr.Code // Unknown for none
	}{
		"its authority":     {kubernetes.Prometheus{Token: secret.New(token), CACertificate: authority}, mlerr.Unknown},
		"insecure":          {kubernetes.Prometheus{Token: secret.New(token), Insecure: true, Metrics: "istio"}, mlerr.Unknown},
		"another authority": {kubernetes.Prometheus{Token: secret.New(token)}, mlerr.Unavailable},
		"another token":     {kubernetes.Prometheus{Token: secret.New("stale"), CACertificate: authority}, mlerr.Unauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := cluster.Config
			cfg.Prometheus = c.config
			cfg.Prometheus.URL = server.URL
			m, err := opened(t, cfg).Measure(t.Context(), state.Key, state.Deployments[0].ID, began, cluster.Time.Now())
			if mlerr.CodeOf(err) != c.code && (err != nil || c.code != mlerr.Unknown) || c.code == mlerr.Unknown && m.Requests != 10 {
				t.Errorf("got %+v, %v", m, err)
			}
		})
	}
}

// TestQueries fills in the user's own queries, and asks at the end of the window.
func TestQueries(t *testing.T) {
	t.Parallel()
	cluster, _, state := serving(t, "deployment")
	var mu sync.Mutex
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.FormValue("query")+" at "+r.FormValue("time"))
		switch {
		case strings.HasPrefix(r.FormValue("query"), "requests"):
			vector(w, `{"metric":{},"value":[1,"99.6"]}`) // increase() extrapolates
		case strings.HasPrefix(r.FormValue("query"), "errors"):
			fmt.Fprint(w, `{"status":"success","data":{"resultType":"scalar","result":[1,"5"]}}`)
		default:
			vector(w, `{"metric":{},"value":[1,"0.25"]}`)
		}
	}))
	t.Cleanup(server.Close)
	cfg := cluster.Config
	cfg.Prometheus = kubernetes.Prometheus{URL: server.URL, Queries: &kubernetes.Queries{Requests: `requests{a="{{ namespace }}/{{ endpoint }}/{{ deployment }}"}[{{ interval }}]`,
		Errors: `errors{a="{{ service }}"}`, Latency: `latency{a="{{ workload }}"}`}}
	id, until := state.Deployments[0].ID, time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)
	m, err := opened(t, cfg).Measure(t.Context(), state.Key, id, until.Add(-90*time.Second), until)
	if want := (driver.Measurement{Requests: 100, Errors: 5, Latency95: 250 * time.Millisecond}); err != nil || m != want {
		t.Errorf("got %+v, %v, want %+v", m, err, want)
	}
	want := fmt.Sprintf(`requests{a="ml/e0/main"}[1m30s] at 1767603600; errors{a=%q} at 1767603600; latency{a=%q} at 1767603600`, id, id)
	if got := strings.Join(asked, "; "); got != want {
		t.Errorf("asked %s\nwant  %s", got, want)
	}
}

// TestChecksAtPlan refuses checks and strategies that nothing can act on.
func TestChecksAtPlan(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Emulated(t, "deployment")
	for name, c := range map[string]struct {
		change  func(cfg *kubernetes.Config)
		rollout driver.Rollout
		path    string // "" is accepted
		says    string
	}{
		"canary through the gateway": {func(*kubernetes.Config) {}, driver.Rollout{Strategy: driver.Canary, Steps: []int{10}, Checks: driver.Checks{MaxErrorRate: 1, MaxLatencyMS: 100, Alarms: []string{"A"}}}, "", ""},
		"canary without a gateway":   {func(cfg *kubernetes.Config) { cfg.Gateway = nil }, driver.Rollout{Strategy: driver.Canary, Steps: []int{10}}, "rollout.strategy", "gateway"},
		"blue-green without one":     {func(cfg *kubernetes.Config) { cfg.Gateway = nil }, driver.Rollout{Strategy: driver.BlueGreen, Checks: driver.Checks{MaxErrorRate: 1}}, "", ""},
		"error rate of nobody":       {func(cfg *kubernetes.Config) { cfg.Prometheus.URL = "" }, driver.Rollout{Checks: driver.Checks{MaxErrorRate: 1}}, "rollout.checks.max_error_rate", "PROMETHEUS_URL"},
		"latency of nobody":          {func(cfg *kubernetes.Config) { cfg.Prometheus.URL = "" }, driver.Rollout{Checks: driver.Checks{MaxLatencyMS: 1}}, "rollout.checks.max_latency_ms", "PROMETHEUS_URL"},
		"alarms of nobody":           {func(cfg *kubernetes.Config) { cfg.Prometheus.URL = "" }, driver.Rollout{Checks: driver.Checks{Alarms: []string{"A"}}}, "rollout.checks.alarms", "PROMETHEUS_URL"},
		"no query for it": {func(cfg *kubernetes.Config) { cfg.Prometheus.Queries = &kubernetes.Queries{Requests: "x"} },
			driver.Rollout{Checks: driver.Checks{MaxLatencyMS: 1}}, "rollout.checks.max_latency_ms", "Add latency"},
		"traefik without a gateway": {func(cfg *kubernetes.Config) { cfg.Gateway, cfg.Prometheus.Metrics = nil, "traefik" },
			driver.Rollout{Checks: driver.Checks{MaxErrorRate: 1}}, "rollout.checks.max_error_rate", "gateway"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := cluster.Config
			c.change(&cfg)
			_, spec := pair(cluster, "", "", 0)
			spec.Rollout = c.rollout
			err := opened(t, cfg).PrepareEndpoint(spec)
			if mlerr.PathOf(err) != c.path || (err == nil) != (c.path == "") || !strings.Contains(fmt.Sprint(err, mlerr.Hint(err)), c.says) {
				t.Errorf("got %q: %v (%s), want %q and %q", mlerr.PathOf(err), err, mlerr.Hint(err), c.path, c.says)
			}
		})
	}
}

// TestWatchedAtPlan asks at plan what a rollout will ask.
func TestWatchedAtPlan(t *testing.T) {
	t.Parallel()
	cluster := kubetest.Emulated(t, "deployment")
	for name, c := range map[string]struct {
		config  kubernetes.Prometheus
		path    string
		warning string
	}{
		"no metrics yet":  {kubernetes.Prometheus{}, "", "no metrics of istio or traefik"},
		"a query that is": {kubernetes.Prometheus{Queries: &kubernetes.Queries{Requests: `sum(x{a="{{ namespace }}"})`, Errors: "vector(0)"}}, "", ""},
		"no PromQL":       {kubernetes.Prometheus{Queries: &kubernetes.Queries{Requests: `sum(x)`, Errors: "sum("}}, "rollout.checks.max_error_rate", ""},
		"no number":       {kubernetes.Prometheus{Queries: &kubernetes.Queries{Requests: `x[1m]`, Errors: "vector(0)"}}, "rollout.checks", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := cluster.Config
			c.config.URL = cfg.Prometheus.URL
			cfg.Prometheus = c.config
			_, spec := pair(cluster, "", "", 0)
			spec.Rollout = driver.Rollout{Checks: driver.Checks{MaxErrorRate: 1}}
			spec.Deployments = spec.Deployments[:1]
			spec.Deployments[0].Model.Native = "x" // is not looked at here
			d := opened(t, cfg)
			if err := d.PrepareEndpoint(spec); err != nil {
				t.Fatal(err)
			}
			warnings, err := d.Preflight(t.Context(), spec, nil)
			if mlerr.PathOf(err) != c.path || (err == nil) != (c.path == "") || c.warning != "" != strings.Contains(strings.Join(warnings, "\n"), "until it has") ||
				!strings.Contains(strings.Join(warnings, "\n"), c.warning) {
				t.Errorf("got %v and %q, want %q and %q", err, warnings, c.path, c.warning)
			}
		})
	}
}
