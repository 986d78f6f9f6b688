// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"context"
	"fmt"
	"net/http"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/kubernetes"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/prometheus"
)

// cluster serves the Kubernetes API, and what its gateway is asked.
type cluster struct {
	*books
	service *kubernetes.Service
}

// knock is one request to the cluster.
type knock struct{ call, namespace string }

func (k knock) name() string  { return k.call }
func (k knock) where() string { return k.namespace }

func (k knock) refuse(w http.ResponseWriter, code, message string, status int) {
	kubernetes.Refuse(w, status, code, message)
}

func (k knock) slow(w http.ResponseWriter) { kubernetes.Throttle(w) }

// ServeHTTP answers a request.
func (c *cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, namespace := c.service.Name(r)
	c.attend(r.Context(), knock{name, namespace}, w, func(w http.ResponseWriter, f *fault.Fault) { c.service.Serve(w, r, f) })
}

// monitor serves the API of the cluster's Prometheus.
type monitor struct {
	*books
	service *prometheus.Service
}

// look is one request to Prometheus.
type look struct{ call string }

func (l look) name() string  { return l.call }
func (l look) where() string { return "" }

func (l look) refuse(w http.ResponseWriter, code, message string, status int) {
	prometheus.Refuse(w, status, code, message)
}

func (l look) slow(w http.ResponseWriter) {
	prometheus.Refuse(w, http.StatusTooManyRequests, "unavailable", "too many queries")
}

// ServeHTTP answers a request.
func (m *monitor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m.attend(r.Context(), look{prometheus.Name(r)}, w, func(w http.ResponseWriter, _ *fault.Fault) { m.service.Serve(w, r) })
}

// EnsureNamespace makes a namespace in the cluster unless it exists.
func (s *Server) EnsureNamespace(ctx context.Context, name string) error {
	return s.kubernetes.service.EnsureNamespace(ctx, name)
}

// EnsureGateway makes a Gateway in the cluster unless it exists, and its namespace: it
// takes routes of every namespace, over HTTP and HTTPS.
func (s *Server) EnsureGateway(ctx context.Context, namespace, name string) error {
	return s.kubernetes.service.EnsureGateway(ctx, namespace, name)
}

// kubeconfig points kubectl and the like at the cluster.
func kubeconfig(url string) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters:
- name: rehearsal
  cluster: {server: %q}
users:
- name: rehearsal
  user: {}
contexts:
- name: rehearsal
  context: {cluster: rehearsal, user: rehearsal, namespace: default}
current-context: rehearsal
`, url)
}
