// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package kubetest holds the Kubernetes driver to the conformance suite, on whatever
// API server it is given: the emulator's, or a real one.
package kubetest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/drivertest"
	"github.com/mlplane/terraform-provider-ml/clouds/kubernetes"
)

// Cluster is an API server as the suite needs it, with a namespace that is empty.
type Cluster struct {
	REST      *rest.Config
	Namespace string
	Config    kubernetes.Config // of the driver; its connection is filled in
	Time      *drivertest.Clock
	Image     string // of a model server that needs no model
	Given     string // the object that is in the namespace already: "secrets store"; "" for none
	// Fail makes the pods of the next new workload fail for that reason.
	Fail func(t *testing.T, reason string)
	// Copy is an independent copy of everything, nil if there can be none.
	Copy func(t *testing.T) *Cluster
	// Settle waits until what was changed by hand has come about; nil where time
	// passes at will.
	Settle func(t *testing.T)
	// Watch is who calls endpoints and makes alerts; nil where nothing watches.
	Watch Watch
	// Real is a cluster that customers can call all the time.
	Real bool
}

var _ drivertest.Watched = (*Cluster)(nil)

// Open opens the driver as a new process would.
func (c *Cluster) Open(t *testing.T, cutter *drivertest.Cutter) driver.Driver {
	t.Helper()
	cutter.Mutates = func(call string) bool {
		return !strings.HasPrefix(call, http.MethodGet) && !strings.Contains(call, "/proxy") && !strings.HasSuffix(call, "/api/v1/query")
	}
	cfg := c.Config
	cfg.Transport = func(next http.RoundTripper) http.RoundTripper {
		if c.Config.Transport != nil {
			next = c.Config.Transport(next)
		}
		return &cutting{cutter, next}
	}
	d, err := kubernetes.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// cutting passes every request through a cutter.
type cutting struct {
	c    *drivertest.Cutter
	next http.RoundTripper
}

func (rt *cutting) RoundTrip(r *http.Request) (*http.Response, error) {
	call := r.Method + " " + r.URL.Path
	if err := rt.c.Before(call); err != nil {
		return nil, err
	}
	resp, err := rt.next.RoundTrip(r)
	if cut := rt.c.AfterCall(call); cut != nil {
		if err == nil {
			_ = resp.Body.Close()
		}
		return nil, cut
	}
	return resp, err
}

// Clock is the platform's time.
func (c *Cluster) Clock() *drivertest.Clock { return c.Time }

// Location is the namespace.
func (c *Cluster) Location() string { return c.Namespace }

// Artifact is a file on this machine: the example's model, with content as its
// description (doc_string, field 6 of ONNX's ModelProto).
func (c *Cluster) Artifact(t *testing.T, content string) (uri, digest string) {
	t.Helper()
	data := protowire.AppendString(protowire.AppendTag(example(t), 6, protowire.BytesType), content)
	path := filepath.Join(t.TempDir(), url.PathEscape(content)+".onnx")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	return path, hex.EncodeToString(sum[:])
}

func example(t *testing.T) []byte {
	t.Helper()
	model, err := os.ReadFile(filepath.Join("..", "..", "examples", "quickstart", "model", "fraud-v1.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	return model
}

// Endpoint is one with the provider's defaults.
func (c *Cluster) Endpoint(string) *driver.EndpointSpec {
	return &driver.EndpointSpec{Settings: driver.Settings{Network: driver.Network{Access: "public"}, Auth: driver.Auth{Mode: "iam"}}}
}

// Compute are small enough for a test machine.
func (c *Cluster) Compute() (small, large driver.Compute) {
	return driver.Compute{CPU: 0.02, MemoryGiB: 0.0625}, driver.Compute{CPU: 0.03, MemoryGiB: 0.125}
}

// Metric is KServe's where KServe scales.
func (c *Cluster) Metric() driver.MetricType {
	if c.Config.Serving == "kserve" {
		return driver.MetricCPU
	}
	return driver.MetricRequests
}

func (c *Cluster) client(t *testing.T) dynamic.Interface {
	t.Helper()
	client, err := dynamic.NewForConfig(c.REST)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// Resources of which endpoints and models are made.
var (
	Deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	Services    = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	Routes      = schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}
	Inference   = schema.GroupVersionResource{Group: "serving.kserve.io", Version: "v1beta1", Resource: "inferenceservices"}
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	made        = []schema.GroupVersionResource{
		configMaps, {Version: "v1", Resource: "secrets"}, Services, {Version: "v1", Resource: "serviceaccounts"}, Deployments,
		{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}, {Group: "policy", Version: "v1", Resource: "poddisruptionbudgets"},
		{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}, {Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "roles"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "rolebindings"}, Routes, Inference,
	}
	bindings = schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"}
)

// HandMade makes a Deployment and a Service, as a person with kubectl would.
func (c *Cluster) HandMade(t *testing.T, name string, ref driver.VersionRef) {
	t.Helper()
	for _, o := range HandMade(c.Namespace, name, c.Image, example(t), map[string]any{"ml.terraform.io/model": ref.Key.Name, "ml.terraform.io/model-version": ref.Version}) {
		if _, err := c.client(t).Resource(KindOf(o)).Namespace(c.Namespace).Create(t.Context(), o, metav1.CreateOptions{FieldManager: "kubectl-create"}); err != nil {
			t.Fatal(err)
		}
	}
	c.pass(t)
}

// KindOf is the resource of one of the objects of HandMade.
func KindOf(o *unstructured.Unstructured) schema.GroupVersionResource {
	switch o.GetKind() {
	case "Deployment":
		return Deployments
	case "Service":
		return Services
	}
	return configMaps
}

// HandMade are the manifests of an endpoint made by hand: a Deployment, a Service and
// the ONNX model in a ConfigMap.
func HandMade(namespace, name, image string, model []byte, labels map[string]any) []*unstructured.Unstructured {
	podLabels := map[string]any{"app": name}
	maps.Copy(podLabels, labels)
	selector := map[string]any{"app": name}
	weights := map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name + "-weights", "namespace": namespace},
		"binaryData": map[string]any{"model.onnx": base64.StdEncoding.EncodeToString(model)}}
	container := map[string]any{"name": "model", "image": image, "imagePullPolicy": "IfNotPresent",
		"ports":          []any{map[string]any{"containerPort": int64(8080)}},
		"readinessProbe": map[string]any{"httpGet": map[string]any{"path": "/v2/health/ready", "port": int64(8080)}, "periodSeconds": int64(1)},
		"resources":      map[string]any{"requests": map[string]any{"cpu": "20m", "memory": "64Mi"}, "limits": map[string]any{"memory": "64Mi"}},
		"volumeMounts":   []any{map[string]any{"name": "weights", "mountPath": "/mnt/models"}}}
	deployment := map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": name, "namespace": namespace, "labels": selector},
		"spec": map[string]any{"replicas": int64(1), "selector": map[string]any{"matchLabels": selector}, "template": map[string]any{
			"metadata": map[string]any{"labels": podLabels},
			"spec": map[string]any{"terminationGracePeriodSeconds": int64(5), "containers": []any{container},
				"volumes": []any{map[string]any{"name": "weights", "configMap": map[string]any{"name": name + "-weights"}}}}}}}
	service := map[string]any{"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": name, "namespace": namespace},
		"spec": map[string]any{"selector": selector, "ports": []any{map[string]any{"port": int64(80), "targetPort": int64(8080)}}}}
	return []*unstructured.Unstructured{{Object: weights}, {Object: deployment}, {Object: service}}
}

func (c *Cluster) pass(t *testing.T) {
	t.Helper()
	if c.Settle != nil {
		c.Settle(t)
		return
	}
	if err := c.Time.Sleep(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
}

// FailNextDeploy makes the pods of the next new workload fail.
func (c *Cluster) FailNextDeploy(t *testing.T, reason string) {
	t.Helper()
	c.Fail(t, reason)
}

// workload finds the Deployment of a deployment that has traffic.
func (c *Cluster) workload(t *testing.T, key driver.Key, deployment string) *unstructured.Unstructured {
	t.Helper()
	list, err := c.client(t).Resource(Deployments).Namespace(c.Namespace).List(t.Context(),
		metav1.ListOptions{LabelSelector: "ml.terraform.io/endpoint=" + key.Name + ",ml.terraform.io/deployment=" + deployment})
	if err != nil {
		t.Fatal(err)
	}
	items := slices.DeleteFunc(list.Items, func(o unstructured.Unstructured) bool { return o.GetDeletionTimestamp() != nil })
	if len(items) != 1 {
		t.Fatalf("%d Deployments are %s of %s", len(items), deployment, key.Name)
	}
	return &items[0]
}

// idOf is the deployment that a Deployment is of; KServe names those that it makes.
func idOf(o *unstructured.Unstructured) string { return o.GetLabels()["ml.terraform.io/deployment-id"] }

// Drift edits the route, or scales as an autoscaler does.
func (c *Cluster) Drift(t *testing.T, key driver.Key, deployment string, d drivertest.Drift) {
	t.Helper()
	o := c.workload(t, key, deployment)
	if d.Replicas > 0 {
		patch, err := json.Marshal(map[string]any{"spec": map[string]any{"replicas": d.Replicas}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.client(t).Resource(Deployments).Namespace(c.Namespace).Patch(t.Context(), o.GetName(), types.MergePatchType, patch,
			metav1.PatchOptions{FieldManager: "kube-controller-manager"}, "scale")
		if err != nil {
			t.Fatal(err)
		}
	}
	if d.Traffic > 0 {
		routes := c.client(t).Resource(Routes).Namespace(c.Namespace)
		route, err := routes.Get(t.Context(), key.Name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		weigh(t, route, idOf(o), int64(d.Traffic))
		if _, err := routes.Update(t.Context(), route, metav1.UpdateOptions{FieldManager: "kubectl-edit"}); err != nil {
			t.Fatal(err)
		}
	}
	c.pass(t)
}

// Damage deletes a deployment's own Service.
func (c *Cluster) Damage(t *testing.T, key driver.Key, deployment string) {
	t.Helper()
	if err := c.client(t).Resource(Services).Namespace(c.Namespace).Delete(t.Context(), idOf(c.workload(t, key, deployment)), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
}

// Replicas are those that are asked for.
func (c *Cluster) Replicas(t *testing.T, key driver.Key, deployment string) int {
	t.Helper()
	n, _, _ := unstructured.NestedInt64(c.workload(t, key, deployment).Object, "spec", "replicas")
	return int(n)
}

// Objects lists what endpoints and models are made of, and what people made.
func (c *Cluster) Objects(t *testing.T) []string {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	var all []string
	for _, gvr := range made {
		list, err := c.client(t).Resource(gvr).Namespace(c.Namespace).List(ctx, metav1.ListOptions{})
		if apierrors.IsNotFound(err) {
			continue // not installed
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range list.Items {
			if name := list.Items[i].GetName(); name != "kube-root-ca.crt" && name != "default" && gvr.Resource+" "+name != c.Given && !platformMade(&list.Items[i]) {
				all = append(all, gvr.Resource+" "+name)
			}
		}
	}
	list, err := c.client(t).Resource(bindings).List(ctx, metav1.ListOptions{LabelSelector: "ml.terraform.io/namespace=" + c.Namespace})
	if err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		all = append(all, "clusterrolebindings "+list.Items[i].GetName())
	}
	for i := range all {
		if c.Copy == nil { // each process has another namespace, which is part of what names are made from
			all[i] = hashed.ReplaceAllString(strings.ReplaceAll(all[i], c.Namespace, "namespace"), "-hash")
		}
	}
	sort.Strings(all)
	return all
}

var hashed = regexp.MustCompile(`-[0-9a-f]{10}\b`)

// platformMade are objects that KServe makes of an InferenceService.
func platformMade(o *unstructured.Unstructured) bool {
	owner := metav1.GetControllerOf(o)
	return owner != nil && owner.Kind == "InferenceService"
}

// Fork copies the platform, where it can be copied.
func (c *Cluster) Fork(t *testing.T) drivertest.Harness {
	t.Helper()
	if c.Copy == nil {
		return nil
	}
	return c.Copy(t)
}

// weigh edits the weight of one backend of a route's first rule.
func weigh(t *testing.T, route *unstructured.Unstructured, name string, weight int64) {
	t.Helper()
	rules, _, _ := unstructured.NestedSlice(route.Object, "spec", "rules")
	rule, ok := rules[0].(map[string]any)
	if !ok {
		t.Fatalf("the route has no rule: %v", rules)
	}
	backends, _, _ := unstructured.NestedSlice(rule, "backendRefs")
	for _, b := range backends {
		if backend, ok := b.(map[string]any); ok && backend["name"] == name {
			backend["weight"] = weight
		}
	}
	rule["backendRefs"] = backends
	if err := unstructured.SetNestedSlice(route.Object, rules, "spec", "rules"); err != nil {
		t.Fatal(err)
	}
}

// Left names what of the provider's is in a namespace, its pods included, and what is
// of that namespace in the cluster.
func Left(ctx context.Context, client dynamic.Interface, namespace string) ([]string, error) {
	var all []string
	collect := func(from dynamic.ResourceInterface, kind, selector string) error {
		list, err := from.List(ctx, metav1.ListOptions{LabelSelector: selector})
		if apierrors.IsNotFound(err) { // not installed
			return nil
		}
		if err != nil {
			return err
		}
		for i := range list.Items {
			all = append(all, kind+" "+list.Items[i].GetName())
		}
		return nil
	}
	for _, gvr := range made {
		if err := collect(client.Resource(gvr).Namespace(namespace), gvr.Resource, "app.kubernetes.io/managed-by=terraform-provider-ml"); err != nil {
			return nil, err
		}
	}
	if err := collect(client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace(namespace), "pods", "ml.terraform.io/endpoint"); err != nil {
		return nil, err
	}
	err := collect(client.Resource(bindings), bindings.Resource, "ml.terraform.io/namespace="+namespace)
	sort.Strings(all)
	return all, err
}
