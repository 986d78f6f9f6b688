// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Scrapes is how often the cluster's Prometheus scrapes, and evaluates its rules.
const Scrapes = time.Second

// Prometheus watches the cluster's gateway.
type Prometheus struct {
	URL string // for the test

	mu    sync.Mutex
	rules string // the rule file, as the host sees it
}

// Prometheus returns the one that scrapes the gateway, which the first call starts.
func (c *Cluster) Prometheus(t *testing.T) *Prometheus {
	t.Helper()
	c.Gateway(t)
	return once(t, c, "prometheus", c.startPrometheus)
}

const prometheusConfig = `
global: {scrape_interval: %[1]s, scrape_timeout: %[1]s, evaluation_interval: %[1]s}
rule_files: [rules.yaml]
scrape_configs:
- job_name: gateway
  static_configs: [{targets: [%[2]q]}]
`

const prometheusAddress = "127.0.0.1:9090"

func (c *Cluster) startPrometheus(ctx context.Context) (*Prometheus, error) {
	dir := filepath.Join(c.machine.state, "prometheus")
	p := &Prometheus{rules: filepath.Join(dir, "rules.yaml")}
	if err := errors.Join(os.MkdirAll(dir, 0o700),
		os.WriteFile(filepath.Join(dir, "prometheus.yaml"), fmt.Appendf(nil, prometheusConfig, Scrapes, gatewayMetrics), 0o600),
		os.WriteFile(p.rules, []byte("groups: []\n"), 0o600)); err != nil {
		return nil, err
	}
	if err := c.machine.start("prometheus", nil, c.machine.find("prometheus"), "--config.file=/run/prometheus/prometheus.yaml", "--storage.tsdb.path=/run/prometheus/data",
		"--web.listen-address="+prometheusAddress, "--web.enable-lifecycle", "--storage.tsdb.retention.time=2h"); err != nil {
		return nil, err
	}
	at, stop, err := relay(func(ctx context.Context) (io.ReadWriteCloser, error) { return c.machine.dial(ctx, prometheusAddress) })
	if err != nil {
		return nil, err
	}
	c.closers = append(c.closers, stop)
	p.URL = "http://" + at
	return p, c.machine.poll(ctx, time.Minute, "Prometheus", func(ctx context.Context) error { return p.ask(ctx, http.MethodGet, "/-/ready") })
}

// Rules changes the rule file, and makes Prometheus load it.
func (p *Prometheus) Rules(ctx context.Context, change func(file []byte) ([]byte, error)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	data, err := os.ReadFile(p.rules)
	if err == nil {
		data, err = change(data)
	}
	if err == nil {
		err = os.WriteFile(p.rules, data, 0o600)
	}
	if err != nil {
		return err
	}
	return p.ask(ctx, http.MethodPost, "/-/reload")
}

func (p *Prometheus) ask(ctx context.Context, method, path string) error {
	r, err := http.NewRequestWithContext(ctx, method, p.URL+path, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(resp.Body) // it says more, if it can be read
		return fmt.Errorf("%s: %s", resp.Status, body)
	}
	return nil
}
