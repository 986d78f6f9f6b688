// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubetest

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
)

// watch is the emulated cluster's gateway, and what scripts its versions and alerts.
type watch struct {
	dir     string // the state directory
	gateway string // URL that takes requests for the hosts of routes
}

// Call sends requests through the gateway.
func (c *Cluster) Call(t *testing.T, key driver.Key, n int) {
	t.Helper()
	route, err := c.client(t).Resource(Routes).Namespace(key.Location).Get(t.Context(), key.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	hosts, _, _ := unstructured.NestedStringSlice(route.Object, "spec", "hostnames")
	if len(hosts) == 0 {
		t.Fatalf("the route of %s has no host", key.Name)
	}
	for range n {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.Watch.gateway+"/v2/models/model/infer", strings.NewReader(`{"inputs": []}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = hosts[0]
		r.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if _ = resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Conduct writes how a version answers into faults.json.
func (c *Cluster) Conduct(t *testing.T, ref driver.VersionRef, errorPercent int, latency time.Duration) {
	t.Helper()
	script(t, c.Watch.dir, func(f *faults) {
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

// Alarm writes an alerting rule of that name, with an expression that is true or not.
func (c *Cluster) Alarm(t *testing.T, name string, fires bool) {
	t.Helper()
	type group struct {
		Name  string         `json:"name"`
		Rules []alertingRule `json:"rules"`
	}
	var file struct {
		Groups []group `json:"groups"`
	}
	path := filepath.Join(c.Watch.dir, "prometheus-rules.yaml")
	if data, err := os.ReadFile(path); err == nil {
		if err := yaml.UnmarshalStrict(data, &file); err != nil {
			t.Fatal(err)
		}
	}
	file.Groups = slices.DeleteFunc(file.Groups, func(g group) bool { return g.Name == name })
	rule := alertingRule{Alert: name, Expr: "vector(0) > 0", Annotations: map[string]string{"summary": name + " was told to fire"}}
	if fires {
		rule.Expr = "vector(1) > 0"
	}
	file.Groups = append(file.Groups, group{name, []alertingRule{rule}})
	data, err := yaml.Marshal(file)
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
