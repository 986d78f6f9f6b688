// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package cluster_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/drivertest"
	"github.com/mlplane/terraform-provider-ml/clouds/kubernetes"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
	"github.com/mlplane/terraform-provider-ml/internal/wait"
	"github.com/mlplane/terraform-provider-ml/tests/cluster/kube"
	"github.com/mlplane/terraform-provider-ml/tests/kubetest"
)

// TestConformance is the suite that the driver passes on the emulator, on the real API
// server: what passes on both, the emulator has right.
func TestConformance(t *testing.T) {
	t.Parallel()
	c := conformable(t)
	for _, serving := range []string{"deployment", "kserve"} {
		t.Run(serving, func(t *testing.T) {
			t.Parallel()
			if serving == "kserve" {
				c.KServe(t)
			}
			drivertest.Run(t, func(t *testing.T) drivertest.Harness {
				t.Helper()
				return conforming(t, c, serving)
			})
		})
	}
}

// TestRollouts is the suite of rollouts, while customers go on calling. What is judged
// by the gateway's counters is in TestMeasuredRollouts.
func TestRollouts(t *testing.T) {
	t.Parallel()
	c := conformable(t)
	drivertest.RunRollouts(t, func(t *testing.T) drivertest.Watched {
		t.Helper()
		return conforming(t, c, "deployment")
	}, drivertest.Some{Strategies: []driver.Strategy{driver.Canary},
		Outcomes: []string{"success", "smoke failure", "never ready", "platform rollback", "interrupted", "foreign change", "live capacity", "abandoned"}},
		drivertest.Some{Strategies: []driver.Strategy{driver.AllAtOnce, driver.Linear, driver.BlueGreen}, Outcomes: []string{"success"}})
}

// TestMeasuredRollouts goes before the tests that change the gateway's routes all the
// time: Traefik begins to count anew then, and a count that begins anew between any two
// scrapes tells of no requests.
func TestMeasuredRollouts(t *testing.T) { //nolint:paralleltest // see above
	c := conformable(t)
	drivertest.RunRollouts(t, func(t *testing.T) drivertest.Watched {
		t.Helper()
		return conforming(t, c, "deployment")
	}, drivertest.Some{Strategies: []driver.Strategy{driver.Canary}, Outcomes: []string{"error rate", "latency"}})
}

// conformable is the cluster with the images that the suites serve.
func conformable(t *testing.T) *kube.Cluster {
	t.Helper()
	c := kube.Use(t)
	server, err := runtimes.Kubernetes(runtimes.ONNX, "fraud", false)
	if err != nil {
		t.Fatal(err)
	}
	c.ImportAs(t, kube.ModelServer, server.Image)
	return c
}

// conforming is a namespace of the real cluster as the suite needs it. The time of the
// core passes no faster than the cluster's.
func conforming(t *testing.T, c *kube.Cluster, serving string) *kubetest.Cluster {
	t.Helper()
	gateway, store, prometheus := c.Gateway(t), staging(t, c), c.Prometheus(t)
	ns := c.Namespace(t)
	if err := c.Apply(t.Context(), ns, store.Secret("store")); err != nil {
		t.Fatal(err)
	}
	clock := drivertest.NewClock()
	clock.Set(time.Now()) // Prometheus has no other
	clock.OnSleep = func(d time.Duration) {
		_ = wait.Real{}.Sleep(context.WithoutCancel(t.Context()), d) // whoever waits sees by itself that it was ended
		clock.Set(time.Now())
	}
	w := &watching{c: c, gateway: gateway, prometheus: prometheus, ns: ns, conducts: map[string]map[string]string{}}
	w.admit(t)
	f := failing{conducted: w}
	return &kubetest.Cluster{
		REST: c.REST(), Namespace: ns, Time: clock, Image: c.Image(kube.ModelServer), Given: "secrets store", Fail: f.arm, Watch: w, Real: true,
		Config: kubernetes.Config{ConfigPaths: []string{c.Kubeconfig()}, Namespace: ns, Serving: serving, StagingURI: "s3://" + bucket + "/models", StorageSecret: "store",
			Images:     kubernetes.Images{Fetch: c.Image(kube.Fetch), Auth: c.Image(kube.Proxy)},
			Gateway:    &kubernetes.Gateway{Name: gateway.Name, Namespace: gateway.Namespace, Hostname: "ml.test"},
			S3:         kubernetes.S3{Region: store.Region, EndpointURL: store.HostURL, AccessKey: secret.New(store.AccessKey), SecretKey: secret.New(store.SecretKey)},
			Prometheus: kubernetes.Prometheus{URL: prometheus.URL, Scrapes: kube.Scrapes},
			Transport:  f.through},
		Settle: func(t *testing.T) {
			t.Helper()
			settled(t, c, ns)
		},
	}
}

// settled waits until every Deployment runs what it was told to.
func settled(t *testing.T, c *kube.Cluster, ns string) {
	t.Helper()
	list, err := c.Client().AppsV1().Deployments(ns).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list.Items {
		if err := c.Rollout(t.Context(), ns, d.Name); err != nil {
			t.Fatal(err)
		}
	}
}

// failing makes the pods of the next workload that is applied end for a reason, or those
// of a version answer as they are told to: it adds to what is applied the variables that
// the model server goes by.
type failing struct {
	mu        sync.Mutex
	reason    string
	conducted *watching // how versions answer, whose workloads are applied
}

func (f *failing) arm(_ *testing.T, reason string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reason = reason
}

func (f *failing) through(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		path := []string{"spec", "template", "spec", "containers"}
		if strings.Contains(r.URL.Path, "/inferenceservices/") {
			path = []string{"spec", "predictor", "containers"}
		} else if !strings.Contains(r.URL.Path, "/deployments/") {
			path = nil
		}
		f.mu.Lock()
		reason := f.reason
		applies := r.Method == http.MethodPatch && path != nil && r.URL.Query().Get("dryRun") == ""
		if applies {
			f.reason = ""
		}
		f.mu.Unlock()
		if applies {
			if err := f.spoil(r, reason, path); err != nil {
				return nil, err
			}
		}
		return next.RoundTrip(r)
	})
}

// spoil adds the variables to the first container of what a request applies.
func (f *failing) spoil(r *http.Request, reason string, path []string) error {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	var o unstructured.Unstructured
	if err := o.UnmarshalJSON(data); err != nil {
		return err
	}
	containers, _, err := unstructured.NestedSlice(o.Object, path...)
	if err != nil {
		return err
	}
	if len(containers) == 0 { // a field is handed over to somebody else
		f.arm(nil, reason)
		r.Body = io.NopCloser(bytes.NewReader(data))
		return nil
	}
	first, _ := containers[0].(map[string]any)
	env, _ := first["env"].([]any)
	if reason != "" {
		env = append(env, map[string]any{"name": "FAIL", "value": reason})
	}
	for name, value := range f.conducted.of(variable(env, "ML_MODEL_NAME"), variable(env, "ML_MODEL_VERSION")) {
		env = append(env, map[string]any{"name": name, "value": value})
	}
	if len(env) > 0 {
		first["env"] = env
	}
	if err := unstructured.SetNestedSlice(o.Object, containers, path...); err != nil {
		return err
	}
	if data, err = o.MarshalJSON(); err != nil {
		return err
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
	return nil
}

type roundTripper func(*http.Request) (*http.Response, error)

func (rt roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return rt(r) }
