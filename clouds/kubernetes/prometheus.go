// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	promapi "github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

// Prometheus is who knows how deployments answer, and which alerts fire. The zero value
// is PROMETHEUS_URL and PROMETHEUS_TOKEN; without an address nothing is measured.
type Prometheus struct {
	URL           string // without /api/v1
	Token         secret.String
	CACertificate string // PEM
	Insecure      bool
	Metrics       string        // one of Presets; "" is that which Prometheus has
	Queries       *Queries      // instead of Metrics
	Scrapes       time.Duration // how often it scrapes what counts the requests; 0 is half a minute
}

// usualScrapes is how often Prometheus is usually told to scrape.
const usualScrapes = 30 * time.Second

// delay is how late an answer is seen: the next scrape has it, and when that has come
// only the one after tells.
func (p *Prometheus) delay() time.Duration { return 2 * cmp.Or(p.Scrapes, usualScrapes) }

// complete adds what the environment says.
func (p *Prometheus) complete() {
	if p.URL == "" {
		p.URL = os.Getenv("PROMETHEUS_URL")
	}
	if p.Token.IsZero() {
		p.Token = secret.New(os.Getenv("PROMETHEUS_TOKEN"))
	}
}

func (p *Prometheus) check() error {
	var all mlerr.List
	refuse := func(bad bool, path, format string, args ...any) {
		if bad {
			all.Add(mlerr.New(mlerr.InvalidArgument, format, args...).At("prometheus.%s", path))
		}
	}
	if p.URL != "" {
		u, err := url.Parse(p.URL)
		refuse(err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "", "url", "prometheus.url must be like https://prometheus.example.com")
	}
	if p.CACertificate != "" {
		refuse(!x509.NewCertPool().AppendCertsFromPEM([]byte(p.CACertificate)), "ca_certificate", "prometheus.ca_certificate holds no PEM certificate")
	}
	refuse(p.Scrapes < 0, "scrape_interval", "prometheus.scrape_interval must be positive, is %s", p.Scrapes)
	_, known := presets[p.Metrics]
	refuse(p.Metrics != "" && !known, "metrics", "prometheus.metrics must be one of %s, is %q", strings.Join(Presets(), ", "), p.Metrics)
	refuse(p.Metrics != "" && p.Queries != nil, "queries", "prometheus.metrics and prometheus.queries exclude each other")
	if p.Queries != nil {
		all.Add(p.Queries.check())
	}
	return all.Err()
}

// observer asks the Prometheus.
type observer struct {
	cfg Prometheus
	api promv1.API
}

// observer is ready to ask; it does not dial out.
func (d *kubernetes) observer() (*observer, error) {
	d.observing.Do(func() {
		c := &d.cfg.Prometheus
		var next http.RoundTripper = c.transport()
		if d.cfg.Transport != nil {
			next = d.cfg.Transport(next)
		}
		client, err := promapi.NewClient(promapi.Config{Address: c.URL, RoundTripper: &prometheusCalls{next: next, cfg: c, agent: d.cfg.UserAgent, log: d.log}})
		if err != nil {
			d.observerErr = mlerr.New(mlerr.InvalidArgument, "cannot use the Prometheus at %s", c.shown()).Because(err)
			return
		}
		d.observed = &observer{*c, promv1.NewAPI(client)}
	})
	return d.observed, d.observerErr
}

func (p *Prometheus) transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()                                          //nolint:forcetypeassert // the library's own
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: p.Insecure} //nolint:gosec // where the user asks for it
	if p.CACertificate != "" {
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		t.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(p.CACertificate))
	}
	return t
}

// shown is the address for people: a password in it is left out.
func (p *Prometheus) shown() string {
	u, err := url.Parse(p.URL)
	if err != nil {
		return "its address"
	}
	return u.Redacted()
}

// prometheusCalls adds the token to calls, logs them, and says what went wrong where
// that is not Prometheus's own answer.
type prometheusCalls struct {
	next  http.RoundTripper
	cfg   *Prometheus
	agent string
	log   hclog.Logger
}

func (c *prometheusCalls) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if c.agent != "" {
		r.Header.Set("User-Agent", c.agent)
	}
	// A login page that the call is sent on to must not get the token.
	if home, err := url.Parse(c.cfg.URL); err == nil && home.Host == r.URL.Host && home.Scheme == r.URL.Scheme && !c.cfg.Token.IsZero() {
		r.Header.Set("Authorization", "Bearer "+c.cfg.Token.Reveal())
	}
	began := time.Now()
	resp, err := c.next.RoundTrip(r)
	call := r.Method + " " + r.URL.Path
	if err != nil {
		c.log.Debug("call", "name", call, "elapsed", time.Since(began), "error", err)
		return nil, err
	}
	c.log.Debug("call", "name", call, "elapsed", time.Since(began), "status", resp.StatusCode)
	if refused := c.refused(resp.StatusCode); refused != nil {
		_ = resp.Body.Close()
		return nil, refused
	}
	return resp, nil
}

// refused is what a status means that Prometheus's API does not answer with.
func (c *prometheusCalls) refused(status int) error {
	at := c.cfg.shown()
	switch status {
	case http.StatusUnauthorized:
		return mlerr.New(mlerr.Unauthenticated, "the Prometheus at %s asks for credentials", at).
			WithHint("Set the provider's kubernetes.prometheus.token or PROMETHEUS_TOKEN to a token that is valid")
	case http.StatusForbidden:
		return mlerr.New(mlerr.PermissionDenied, "the Prometheus at %s does not answer these credentials", at).
			WithHint("Grant whoever the provider's kubernetes.prometheus.token is of to read metrics")
	case http.StatusNotFound:
		return mlerr.New(mlerr.InvalidArgument, "there is no API of a Prometheus at %s", at).
			WithHint("Set the provider's kubernetes.prometheus.url to the address that /api/v1 is below")
	case http.StatusTooManyRequests:
		return mlerr.New(mlerr.Throttled, "the Prometheus at %s is asked too often", at)
	case http.StatusBadGateway, http.StatusGatewayTimeout, http.StatusInternalServerError:
		return mlerr.New(mlerr.Unavailable, "the Prometheus at %s answers %d %s", at, status, http.StatusText(status))
	}
	return nil
}

// failed makes an error of what the client says.
func (o *observer) failed(err error, what string) error {
	if own, ok := errors.AsType[*mlerr.Error](err); ok {
		return mlerr.Wrap(own, own.Code, "cannot %s", what)
	}
	if errors.Is(err, context.Canceled) {
		return mlerr.New(mlerr.Canceled, "cannot %s", what).Because(err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return mlerr.New(mlerr.Timeout, "cannot %s", what).Because(err)
	}
	answer, ok := errors.AsType[*promv1.Error](err)
	switch {
	case !ok:
		return mlerr.New(mlerr.Unavailable, "cannot reach the Prometheus at %s to %s", o.cfg.shown(), what).Because(err).
			WithHint("Check the provider's kubernetes.prometheus and that this machine reaches it")
	case answer.Type == promv1.ErrBadData, answer.Type == promv1.ErrExec:
		return mlerr.New(mlerr.InvalidArgument, "the Prometheus at %s cannot %s: %s", o.cfg.shown(), what, answer.Msg).
			WithHint("Correct the provider's kubernetes.prometheus.queries")
	case answer.Type == promv1.ErrBadResponse, answer.Type == promv1.ErrClient:
		return mlerr.New(mlerr.InvalidArgument, "what answers at %s is no Prometheus: %s", o.cfg.shown(), answer.Msg).
			WithHint("Set the provider's kubernetes.prometheus.url to the address that /api/v1 is below")
	}
	return mlerr.New(mlerr.Unavailable, "the Prometheus at %s cannot %s: %s", o.cfg.shown(), what, answer.Msg)
}

// number evaluates a query to one number: 0 where there is no sample.
func (o *observer) number(ctx context.Context, query string, at time.Time, what string) (float64, error) {
	v, _, err := o.api.Query(ctx, query, at)
	if err != nil {
		return 0, o.failed(err, "count "+what)
	}
	n := 0.0
	switch v := v.(type) {
	case *model.Scalar:
		n = float64(v.Value)
	case model.Vector:
		if len(v) > 1 {
			return 0, mlerr.New(mlerr.InvalidArgument, "the query for %s has %d results, and must have one: %s", what, len(v), query).
				WithHint("Add them up with sum() in the provider's kubernetes.prometheus.queries")
		}
		for _, s := range v {
			n = float64(s.Value)
		}
	default:
		return 0, mlerr.New(mlerr.InvalidArgument, "the query for %s gives a %s, and must give a number: %s", what, v.Type(), query).
			WithHint("Correct the provider's kubernetes.prometheus.queries")
	}
	if math.IsNaN(n) || n < 0 { // a quantile of nothing
		n = 0
	}
	return n, nil
}

// queries are those to ask: the user's, or of the metrics that are there. ok is false
// where there are none yet.
func (o *observer) queries(ctx context.Context, at time.Time) (q Queries, ok bool, err error) {
	if o.cfg.Queries != nil {
		return *o.cfg.Queries, true, nil
	}
	if p, ok := presets[o.cfg.Metrics]; ok {
		return p.Queries, true, nil
	}
	var metrics, found []string
	for _, name := range Presets() {
		metrics = append(metrics, presets[name].metric)
	}
	v, _, err := o.api.Query(ctx, fmt.Sprintf("count by (__name__) ({__name__=~%q})", strings.Join(metrics, "|")), at)
	if err != nil {
		return q, false, o.failed(err, "say which metrics it has")
	}
	has, _ := v.(model.Vector)
	for _, name := range Presets() {
		for _, s := range has {
			if string(s.Metric[model.MetricNameLabel]) == presets[name].metric {
				found = append(found, name)
			}
		}
	}
	switch len(found) {
	case 0:
		return q, false, nil
	case 1:
		return presets[found[0]].Queries, true, nil
	}
	return q, false, mlerr.New(mlerr.InvalidArgument, "the Prometheus at %s has the metrics of %s, and which of them see the endpoint's requests is not known", o.cfg.shown(), strings.Join(found, " and ")).
		At("rollout.checks").WithHint("Set the provider's kubernetes.prometheus.metrics to one of them")
}

// checkRollout refuses steps that nothing can take and checks that nothing can measure.
func (d *kubernetes) checkRollout(spec *driver.EndpointSpec) error {
	var all mlerr.List
	r, p := &spec.Rollout, &d.cfg.Prometheus
	routed := d.cfg.routed(&spec.Settings) || spec.Unknown.At("network")
	if (r.Strategy == driver.Canary || r.Strategy == driver.Linear) && !routed {
		all.Add(d.needsGateway("rollout.strategy", "a Service sends all requests to one deployment"))
	}
	for path, check := range map[string]struct {
		used, lacks bool
	}{
		"max_error_rate": {r.Checks.MaxErrorRate > 0, p.Queries != nil && p.Queries.Errors == ""},
		"max_latency_ms": {r.Checks.MaxLatencyMS > 0, p.Queries != nil && p.Queries.Latency == ""},
		"alarms":         {len(r.Checks.Alarms) > 0, false},
	} {
		switch {
		case !check.used:
		case p.URL == "":
			all.Add(mlerr.New(mlerr.Unsupported, "kubernetes counts no requests itself and has no alarms: a Prometheus does, and none is named").At("rollout.checks.%s", path).
				WithHint("Set the provider's kubernetes.prometheus.url or PROMETHEUS_URL, or use smoke_test alone"))
		case check.lacks:
			all.Add(mlerr.New(mlerr.Unsupported, "kubernetes is given no query for that: the provider's kubernetes.prometheus.queries has none").At("rollout.checks.%s", path).
				WithHint("Add %s to it", map[string]string{"max_error_rate": "errors", "max_latency_ms": "latency"}[path]))
		case p.Metrics == "traefik" && path != "alarms" && !routed:
			all.Add(d.needsGateway("rollout.checks."+path, "Traefik sees no other requests than its own"))
		}
	}
	return all.Err()
}

// watched asks the Prometheus, at plan, what the checks of a rollout will ask it.
func (p *preflight) watched(ctx context.Context) {
	checks := &p.spec.Rollout.Checks
	if checks.MaxErrorRate == 0 && checks.MaxLatencyMS == 0 {
		return
	}
	o, err := p.d.observer()
	if err != nil {
		p.heard(err, "rollout.checks")
		return
	}
	q, ok, err := o.queries(ctx, p.a.now())
	if err != nil {
		p.heard(err, "rollout.checks")
		return
	}
	if !ok {
		p.warn("The Prometheus at %s has no metrics of %s: until it has, rollout.checks finds no requests to judge", o.cfg.shown(), strings.Join(Presets(), " or "))
		return
	}
	about := &subject{p.spec.Key.Location, p.spec.Key.Name, p.spec.Deployments[0].Name, p.spec.Key.Name, p.spec.Key.Name, time.Minute}
	for path, query := range map[string]string{"": q.Requests, ".max_error_rate": q.Errors, ".max_latency_ms": q.Latency} {
		used := path == "" || path == ".max_error_rate" && checks.MaxErrorRate > 0 || path == ".max_latency_ms" && checks.MaxLatencyMS > 0
		if !used {
			continue
		}
		text, err := about.filled(query)
		if err == nil {
			_, err = o.number(ctx, text, p.a.now(), cmp.Or(strings.TrimPrefix(path, ".max_"), "requests"))
		}
		if err != nil {
			p.heard(err, "rollout.checks"+path)
			return
		}
	}
}
