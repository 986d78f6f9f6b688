// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/internal/wait"
)

// Watch is a cluster whose gateway is watched by a Prometheus.
type Watch interface {
	// Gateway is the URL that takes requests for the hosts of routes.
	Gateway() string
	// Caller is a service account that may call every endpoint.
	Caller() (namespace, name string)
	// Conduct makes what serves ref answer so, from now on.
	Conduct(t *testing.T, ref driver.VersionRef, errorPercent int, latency time.Duration)
	// Alarm makes an alerting rule that is true or not.
	Alarm(t *testing.T, name string, fires bool)
}

// Call sends requests through the gateway.
func (c *Cluster) Call(t *testing.T, key driver.Key, n int) {
	t.Helper()
	call := c.caller(t, key)
	for range n {
		if _, err := call(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// respite is how long a customer rests between two requests.
const respite = 50 * time.Millisecond

// Load sends requests through the gateway, one after the other, on a cluster that is
// real.
func (c *Cluster) Load(t *testing.T, key driver.Key) (stop func() (requests, lost int)) {
	t.Helper()
	if !c.Real {
		return nil
	}
	call := c.caller(t, key)
	// A gateway goes by a route a moment after its controller has accepted it.
	for range 200 {
		if status, err := call(t.Context()); err == nil && status == http.StatusOK {
			break
		}
		_ = wait.Real{}.Sleep(t.Context(), respite)
	}
	ctx, end := context.WithCancel(t.Context())
	var done sync.WaitGroup
	requests, lost := 0, 0
	done.Go(func() {
		for ctx.Err() == nil {
			status, err := call(context.WithoutCancel(ctx))
			if requests++; err != nil || status >= http.StatusInternalServerError {
				if lost++; lost <= 3 {
					t.Logf("a request was lost: status %d, %v", status, err)
				}
			}
			_ = wait.Real{}.Sleep(ctx, respite) // an early end is looked at above
		}
	})
	return func() (int, int) {
		end()
		done.Wait()
		return requests, lost
	}
}

// caller sends one request to the endpoint, as somebody who may.
func (c *Cluster) caller(t *testing.T, key driver.Key) func(context.Context) (status int, err error) {
	t.Helper()
	route, err := c.client(t).Resource(Routes).Namespace(key.Location).Get(t.Context(), key.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	hosts, _, _ := unstructured.NestedStringSlice(route.Object, "spec", "hostnames")
	if len(hosts) == 0 {
		t.Fatalf("the route of %s has no host", key.Name)
	}
	token := c.token(t, key)
	return func(ctx context.Context) (int, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Watch.Gateway()+"/v2/models/model/infer", strings.NewReader(`{"inputs": []}`))
		if err != nil {
			return 0, err
		}
		r.Host = hosts[0]
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return resp.StatusCode, err
		}
		if resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
			return resp.StatusCode, fmt.Errorf("the endpoint %s does not let its caller in: %s", key.Name, resp.Status)
		}
		return resp.StatusCode, nil
	}
}

// token is of the caller, for one endpoint.
func (c *Cluster) token(t *testing.T, key driver.Key) string {
	t.Helper()
	namespace, name := c.Watch.Caller()
	accounts := c.client(t).Resource(schema.GroupVersionResource{Version: "v1", Resource: "serviceaccounts"}).Namespace(namespace)
	request := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": map[string]any{"name": name},
		"spec": map[string]any{"audiences": []any{key.Name + "." + key.Location}}}}
	answer, err := accounts.Create(t.Context(), request, metav1.CreateOptions{}, "token")
	if err != nil {
		t.Fatal(err)
	}
	token, _, _ := unstructured.NestedString(answer.Object, "status", "token")
	return token
}

// Conduct makes what serves a version answer so, from now on.
func (c *Cluster) Conduct(t *testing.T, ref driver.VersionRef, errorPercent int, latency time.Duration) {
	t.Helper()
	c.Watch.Conduct(t, ref, errorPercent, latency)
}

// Alarm makes an alerting rule.
func (c *Cluster) Alarm(t *testing.T, name string, fires bool) {
	t.Helper()
	c.Watch.Alarm(t, name, fires)
}

// rehearsed is the emulated cluster as it is watched.
type rehearsed struct {
	dir       string // the state directory
	gateway   string
	namespace string
}

// Gateway is the API server's listener, by whose hosts the emulator tells the two.
func (w *rehearsed) Gateway() string { return w.gateway }

// Caller is anybody: the emulator knows no permissions.
func (w *rehearsed) Caller() (namespace, name string) { return w.namespace, "default" }

// Conduct writes how a version answers into faults.json.
func (w *rehearsed) Conduct(t *testing.T, ref driver.VersionRef, errorPercent int, latency time.Duration) {
	t.Helper()
	script(t, w.dir, func(f *faults) {
		f.Conduct = slices.DeleteFunc(f.Conduct, func(c fault.Conduct) bool { return c.Model == ref.Key.Name && c.Version == ref.Version })
		conduct := fault.Conduct{Model: ref.Key.Name, Version: ref.Version, ErrorPercent: errorPercent}
		if latency > 0 {
			conduct.Latency = latency.String()
		}
		f.Conduct = append(f.Conduct, conduct)
	})
}

// alertingRule is one of Prometheus's.
type alertingRule struct {
	Alert       string            `json:"alert"`
	Expr        string            `json:"expr"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Rules are a rule file of Prometheus with one more alert, which fires or not.
func Rules(file []byte, name string, fires bool) ([]byte, error) {
	type group struct {
		Name  string         `json:"name"`
		Rules []alertingRule `json:"rules"`
	}
	var rules struct {
		Groups []group `json:"groups"`
	}
	if err := yaml.UnmarshalStrict(file, &rules); err != nil {
		return nil, err
	}
	rules.Groups = slices.DeleteFunc(rules.Groups, func(g group) bool { return g.Name == name })
	rule := alertingRule{Alert: name, Expr: "vector(0) > 0", Annotations: map[string]string{"summary": name + " was told to fire"}}
	if fires {
		rule.Expr = "vector(1) > 0"
	}
	rules.Groups = append(rules.Groups, group{name, []alertingRule{rule}})
	return yaml.Marshal(rules)
}

// Alarm adds an alert to prometheus-rules.yaml.
func (w *rehearsed) Alarm(t *testing.T, name string, fires bool) {
	t.Helper()
	path := filepath.Join(w.dir, "prometheus-rules.yaml")
	data, err := os.ReadFile(path)
	if err == nil || errors.Is(err, os.ErrNotExist) {
		data, err = Rules(data, name, fires)
	}
	if err == nil {
		err = os.WriteFile(path, data, 0o600) //nolint:gosec // in the test's own directory
	}
	if err != nil {
		t.Fatal(err)
	}
}
