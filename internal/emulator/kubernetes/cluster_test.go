// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/kubernetes"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/state"
)

// ns is the namespace that tests work in.
const ns = "ml"

// cluster is an emulated cluster, seen through client-go. Its time stands still.
type cluster struct {
	t       *testing.T
	dir     string
	clock   *clockwork.FakeClock
	service *kubernetes.Service
	config  *rest.Config
	client  dynamic.Interface
	fault   *fault.Fault // of the next write
}

func newCluster(t *testing.T, configuration ...string) *cluster {
	t.Helper()
	dir := t.TempDir()
	if len(configuration) > 0 {
		if err := os.WriteFile(filepath.Join(dir, "kubernetes.json"), []byte(configuration[0]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return openCluster(t, dir, clockwork.NewFakeClockAt(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)))
}

// openCluster serves a directory, as one of several processes may.
func openCluster(t *testing.T, dir string, clock *clockwork.FakeClock) *cluster {
	t.Helper()
	store, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{t: t, dir: dir, clock: clock}
	c.service, err = kubernetes.New(kubernetes.Options{Dir: dir, Store: store, Now: clock.Now, Speed: 1, History: 100})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var f *fault.Fault
		if r.Method != http.MethodGet {
			f, c.fault = c.fault, nil
		}
		c.service.Serve(w, r, f)
	}))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		_ = store.Close()
	})
	c.config = &rest.Config{Host: server.URL, QPS: -1}
	if c.client, err = dynamic.NewForConfig(c.config); err != nil {
		t.Fatal(err)
	}
	if err := c.service.EnsureNamespace(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	return c
}

// seconds pass on the platform.
func (c *cluster) seconds(n float64) {
	c.clock.Advance(time.Duration(n * float64(time.Second) / 300))
}

var resources = map[string]schema.GroupVersionResource{
	"ConfigMap": {Version: "v1", Resource: "configmaps"}, "Secret": {Version: "v1", Resource: "secrets"}, "Service": {Version: "v1", Resource: "services"},
	"ServiceAccount": {Version: "v1", Resource: "serviceaccounts"}, "Pod": {Version: "v1", Resource: "pods"}, "Event": {Version: "v1", Resource: "events"},
	"Namespace": {Version: "v1", Resource: "namespaces"}, "Endpoints": {Version: "v1", Resource: "endpoints"}, "ResourceQuota": {Version: "v1", Resource: "resourcequotas"},
	"Deployment": {Group: "apps", Version: "v1", Resource: "deployments"}, "ReplicaSet": {Group: "apps", Version: "v1", Resource: "replicasets"},
	"HorizontalPodAutoscaler": {Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}, "PodDisruptionBudget": {Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"},
	"NetworkPolicy": {Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}, "PriorityClass": {Group: "scheduling.k8s.io", Version: "v1", Resource: "priorityclasses"},
	"EndpointSlice": {Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}, "Role": {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
	"RoleBinding":      {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"},
	"HTTPRoute":        {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"},
	"Gateway":          {Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"},
	"InferenceService": {Group: "serving.kserve.io", Version: "v1beta1", Resource: "inferenceservices"}, "ServingRuntime": {Group: "serving.kserve.io", Version: "v1alpha1", Resource: "servingruntimes"},
	"SecurityPolicy": {Group: "gateway.envoyproxy.io", Version: "v1alpha1", Resource: "securitypolicies"},
	"Certificate":    {Group: "cert-manager.io", Version: "v1", Resource: "certificates"}, "Issuer": {Group: "cert-manager.io", Version: "v1", Resource: "issuers"},
}

func (c *cluster) of(kind string) dynamic.ResourceInterface {
	c.t.Helper()
	gvr, ok := resources[kind]
	if !ok {
		c.t.Fatalf("the test knows no %s", kind)
	}
	if kind == "Namespace" || kind == "PriorityClass" {
		return c.client.Resource(gvr)
	}
	return c.client.Resource(gvr).Namespace(ns)
}

// object reads YAML.
func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	u := &unstructured.Unstructured{}
	if err := u.UnmarshalJSON(data); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return u
}

// apply applies as the provider does.
func (c *cluster) apply(text string) (*unstructured.Unstructured, error) {
	c.t.Helper()
	u := object(c.t, text)
	return c.of(u.GetKind()).Apply(c.t.Context(), u.GetName(), u, metav1.ApplyOptions{FieldManager: "test"})
}

func (c *cluster) mustApply(text string) *unstructured.Unstructured {
	c.t.Helper()
	u, err := c.apply(text)
	if err != nil {
		c.t.Fatal(err)
	}
	return u
}

func (c *cluster) create(text string) (*unstructured.Unstructured, error) {
	c.t.Helper()
	u := object(c.t, text)
	return c.of(u.GetKind()).Create(c.t.Context(), u, metav1.CreateOptions{FieldManager: "test", FieldValidation: "Strict"})
}

func (c *cluster) get(kind, name string) *unstructured.Unstructured {
	c.t.Helper()
	u, err := c.of(kind).Get(c.t.Context(), name, metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return u
}

func (c *cluster) list(kind, selector string) []unstructured.Unstructured {
	c.t.Helper()
	l, err := c.of(kind).List(c.t.Context(), metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		c.t.Fatal(err)
	}
	return l.Items
}

// absent wants that there is no such object.
func (c *cluster) absent(kind, name string) {
	c.t.Helper()
	if u, err := c.of(kind).Get(c.t.Context(), name, metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		c.t.Errorf("%s %s: got %v, %v; want that it is gone", kind, name, u, err)
	}
}

// value is what is at a path of names and indices: "status.replicas".
func value(u *unstructured.Unstructured, path string) string {
	var v any = u.Object
	for name := range strings.SplitSeq(path, ".") {
		switch at := v.(type) {
		case map[string]any:
			v = at[name]
		case []any:
			i := 0
			if _, err := fmt.Sscan(name, &i); err != nil || i >= len(at) {
				return "<none>"
			}
			v = at[i]
		}
	}
	if v == nil {
		return "<none>"
	}
	return fmt.Sprint(v)
}

// want compares what is at paths: "status.replicas=2".
func want(t *testing.T, u *unstructured.Unstructured, wants ...string) {
	t.Helper()
	for _, w := range wants {
		path, v, _ := strings.Cut(w, "=")
		if got := value(u, path); got != v {
			t.Errorf("%s %s: %s is %s, want %s", u.GetKind(), u.GetName(), path, got, v)
		}
	}
}

// condition is "status reason" of a condition, "<none>" without it.
func condition(u *unstructured.Unstructured, kind string) string {
	all, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	return conditionIn(all, kind)
}

func conditionIn(all []any, kind string) string {
	for _, c := range all {
		if m := c.(map[string]any); m["type"] == kind {
			reason, _ := m["reason"].(string)
			return strings.TrimSpace(fmt.Sprint(m["status"], " ", reason))
		}
	}
	return "<none>"
}

// request is a plain HTTP request to the API server.
func (c *cluster) request(ctx context.Context, method, path, body string, header ...string) *http.Response {
	c.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, c.config.Host+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

const web = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: server
        image: server:1
        ports: [{name: serving, containerPort: 8080, protocol: TCP}]
`

const webService = `
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, protocol: TCP, targetPort: serving}]}
`

func TestDeploymentRollsOut(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	made := c.mustApply(web)
	want(t, made, "metadata.generation=1", "status.observedGeneration=<none>", "spec.progressDeadlineSeconds=600")
	c.mustApply(webService)
	c.seconds(2)
	d := c.get("Deployment", "web")
	want(t, d, "status.observedGeneration=1", "status.replicas=2", "status.unavailableReplicas=2", "metadata.annotations.deployment.kubernetes.io/revision=<none>")
	if got := condition(d, "Progressing"); got != "True ReplicaSetUpdated" && got != "True NewReplicaSetCreated" {
		t.Errorf("Progressing is %s", got)
	}
	c.seconds(100)
	d = c.get("Deployment", "web")
	want(t, d, "status.readyReplicas=2", "status.availableReplicas=2", "status.updatedReplicas=2")
	if got := condition(d, "Available") + ", " + condition(d, "Progressing"); got != "True MinimumReplicasAvailable, True NewReplicaSetAvailable" {
		t.Errorf("got %s", got)
	}
	if n := len(c.list("Pod", "app=web")); n != 2 {
		t.Errorf("%d pods", n)
	}
	want(t, c.get("Endpoints", "web"), "subsets.0.ports.0.port=8080", "subsets.0.addresses.1.targetRef.kind=Pod")
}
