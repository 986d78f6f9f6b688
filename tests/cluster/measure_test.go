// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package cluster_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/kubernetes"
	"github.com/mlplane/terraform-provider-ml/tests/cluster/kube"
	"github.com/mlplane/terraform-provider-ml/tests/kubetest"
)

// watching is a namespace of the real cluster, whose gateway Prometheus scrapes.
type watching struct {
	c          *kube.Cluster
	gateway    *kube.Gateway
	prometheus *kube.Prometheus
	ns         string

	mu       sync.Mutex
	conducts map[string]map[string]string // variables of the model server, by model and version
}

var _ kubetest.Watch = (*watching)(nil)

// Gateway is the address of the gateway's plain listener.
func (w *watching) Gateway() string { return "http://" + w.gateway.HTTP }

// Caller is the gateway's namespace's account, which may do everything.
func (w *watching) Caller() (namespace, name string) { return w.gateway.Namespace, "caller" }

// admit lets the caller in everywhere.
func (w *watching) admit(t *testing.T) {
	t.Helper()
	err := w.c.Apply(t.Context(), w.gateway.Namespace, `{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "caller"}}`,
		fmt.Sprintf(`{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "ml-test-caller"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
			"subjects": [{"kind": "ServiceAccount", "name": "caller", "namespace": %q}]}`, w.gateway.Namespace))
	if err != nil {
		t.Fatal(err)
	}
}

// of are the variables of a version's model servers.
func (w *watching) of(model, version string) map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.conducts[model+"@"+version]
}

// variable is the value of one in a container's environment.
func variable(env []any, name string) string {
	for _, e := range env {
		if v, ok := e.(map[string]any); ok && v["name"] == name {
			return fmt.Sprint(v["value"])
		}
	}
	return ""
}

// Conduct tells the model servers that run, and those that will.
func (w *watching) Conduct(t *testing.T, ref driver.VersionRef, errorPercent int, latency time.Duration) {
	t.Helper()
	percent := strconv.Itoa(errorPercent)
	w.mu.Lock()
	w.conducts[ref.Key.Name+"@"+ref.Version] = map[string]string{"ERROR_PERCENT": percent, "LATENCY": latency.String()}
	w.mu.Unlock()
	pods, err := w.c.Client().CoreV1().Pods(w.ns).List(t.Context(), metav1.ListOptions{LabelSelector: "ml.terraform.io/model=" + ref.Key.Name + ",ml.terraform.io/model-version=" + ref.Version})
	if err != nil {
		t.Fatal(err)
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		if pod.Status.Phase != corev1.PodRunning || pod.DeletionTimestamp != nil {
			continue
		}
		port := 8080
		if ports := pod.Spec.Containers[0].Ports; len(ports) > 0 {
			port = int(ports[0].ContainerPort)
		}
		err := w.c.Client().CoreV1().RESTClient().Put().Namespace(w.ns).Resource("pods").Name(fmt.Sprintf("http:%s:%d", pod.Name, port)).SubResource("proxy").Suffix("conduct").
			Param("error_percent", percent).Param("latency", latency.String()).Do(t.Context()).Error()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Alarm changes the rules, and waits until they were evaluated.
func (w *watching) Alarm(t *testing.T, name string, fires bool) {
	t.Helper()
	if err := w.prometheus.Rules(t.Context(), func(file []byte) ([]byte, error) { return kubetest.Rules(file, name, fires) }); err != nil {
		t.Fatal(err)
	}
	d, err := kubernetes.Open(kubernetes.Config{Isolated: true, Host: "http://127.0.0.1", Prometheus: kubernetes.Prometheus{URL: w.prometheus.URL}})
	if err != nil {
		t.Fatal(err)
	}
	kube.Eventually(t, time.Minute, "the rule to be evaluated", func(ctx context.Context) error {
		all, err := d.Firing(ctx, driver.Key{Platform: driver.Kubernetes, Location: w.ns}, []string{name})
		if err == nil && fires != (len(all) == 1) {
			err = fmt.Errorf("firing is %v", all)
		}
		return err
	})
}

// TestMeasure counts what a real Prometheus has seen of requests through a real gateway,
// before others change its routes.
func TestMeasure(t *testing.T) { //nolint:paralleltest // see above
	c := kube.Use(t)
	cluster := conforming(t, c, "deployment")
	d, err := kubernetes.Open(cluster.Config)
	if err != nil {
		t.Fatal(err)
	}
	core := clouds.New(d, clouds.Options{})
	uri, digest := cluster.Artifact(t, "one")
	model := &driver.ModelSpec{Key: driver.Key{Platform: driver.Kubernetes, Location: cluster.Namespace, Name: "fraud"},
		Artifact: driver.Artifact{URI: uri, Format: "onnx", Digest: digest}, Serving: driver.Serving{Image: c.Image(kube.ModelServer), Protocol: "v2"}, Approval: driver.Approved, RetainVersions: 10}
	if err := core.CheckModel(model); err != nil {
		t.Fatal(err)
	}
	if _, err := core.ApplyModel(t.Context(), model, clouds.How{Limit: 5 * time.Minute}); err != nil {
		t.Fatal(err)
	}
	endpoint := cluster.Endpoint("")
	small, _ := cluster.Compute()
	endpoint.Key = driver.Key{Platform: driver.Kubernetes, Location: cluster.Namespace, Name: "fraud"}
	ref := driver.VersionRef{Key: model.Key, Version: "1"}
	endpoint.Deployments = []driver.Deployment{{Name: "main", Model: ref, Compute: small, Traffic: 100, Scaling: driver.Scaling{Min: 1, Max: 1}}}
	if err := core.CheckEndpoint(endpoint); err != nil {
		t.Fatal(err)
	}
	state, err := core.ApplyEndpoint(t.Context(), endpoint, clouds.How{Limit: 5 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	counted := func(reason string, well func(m driver.Measurement) bool, since time.Time) {
		t.Helper()
		kube.Eventually(t, time.Minute, reason, func(ctx context.Context) error {
			m, err := d.Measure(ctx, state.Key, state.Deployments[0].ID, since, time.Now())
			if err == nil && !well(m) {
				err = fmt.Errorf("got %+v", m)
			}
			t.Logf("counted: %s: %+v", reason, m)
			return err
		})
	}
	began := time.Now()
	kube.Eventually(t, time.Minute, "the gateway to go by the route", func(context.Context) error {
		cluster.Call(t, state.Key, 1)
		m, err := d.Measure(t.Context(), state.Key, state.Deployments[0].ID, began, time.Now())
		if err == nil && m.Requests == 0 {
			err = fmt.Errorf("nothing was counted")
		}
		return err
	})
	quiet(t, d, state)
	since := time.Now()
	cluster.Call(t, state.Key, 100)
	counted("100 good answers", func(m driver.Measurement) bool {
		return m.Requests == 100 && m.Errors == 0 && m.Latency95 < 500*time.Millisecond
	}, since)
	cluster.Conduct(t, ref, 20, 600*time.Millisecond)
	since = time.Now()
	cluster.Call(t, state.Key, 50)
	counted("of 50 slow answers 20 percent bad", func(m driver.Measurement) bool {
		return m.Requests == 50 && m.Errors == 10 && m.Latency95 > 500*time.Millisecond
	}, since)
	name := "Burning-" + cluster.Namespace
	cluster.Alarm(t, name, true)
	cluster.Alarm(t, name, false)
}

// quiet waits until two scrapes have counted the same.
func quiet(t *testing.T, d driver.Driver, state *driver.EndpointState) {
	t.Helper()
	kube.Eventually(t, time.Minute, "everything to be counted", func(ctx context.Context) error {
		now := time.Now()
		m, err := d.Measure(ctx, state.Key, state.Deployments[0].ID, now.Add(-3*kube.Scrapes), now)
		if err == nil && m.Requests > 0 {
			err = fmt.Errorf("%d were counted lately", m.Requests)
		}
		return err
	})
}
