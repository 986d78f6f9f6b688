// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/mlplane/terraform-provider-ml/internal/emulator"
)

var (
	configMaps  = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	deployments = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
)

// cluster is a client of the emulated cluster.
func (a *account) cluster() dynamic.Interface {
	a.t.Helper()
	return must(dynamic.NewForConfig(&rest.Config{Host: a.server.Endpoints()["kubernetes"], QPS: -1}))(a.t)
}

func configMap(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": name}}}
}

func deployment(image string) *unstructured.Unstructured {
	labels := map[string]any{"app": "fraud", "ml.terraform.io/endpoint": "fraud", "ml.terraform.io/deployment": "main", "ml.terraform.io/model": "fraud", "ml.terraform.io/model-version": "7"}
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "fraud-main"}, "spec": map[string]any{
		"replicas": int64(1), "selector": map[string]any{"matchLabels": map[string]any{"app": "fraud"}},
		"template": map[string]any{"metadata": map[string]any{"labels": labels}, "spec": map[string]any{
			"initContainers": []any{map[string]any{"name": "fetch", "image": "i", "args": []any{"s3://models/fraud/", "/mnt/models"}}},
			"containers":     []any{map[string]any{"name": "server", "image": image, "ports": []any{map[string]any{"name": "serving", "containerPort": int64(8080), "protocol": "TCP"}}}}}}}}}
}

// Each fault strikes the calls that it names, in Kubernetes' own protocol.
func TestKubernetesFaults(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	ctx := t.Context()
	c := a.cluster().Resource(configMaps).Namespace("default")
	apply := func(name string) error {
		_, err := c.Apply(ctx, name, configMap(name), metav1.ApplyOptions{FieldManager: "test"})
		return err
	}
	a.faults(`{"call":"kubernetes.patch configmaps","occurrence":1,"action":"error","status":503,"code":"ServiceUnavailable","message":"the server is currently unable to handle the request"}`,
		`{"call":"kubernetes.patch configmaps","occurrence":2,"action":"lost_answer"}`,
		`{"call":"kubernetes.patch configmaps","occurrence":3,"action":"hang","duration":"1ms"}`)
	if err := apply("refused"); !apierrors.IsServiceUnavailable(err) {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"lost", "hung"} {
		var status apierrors.APIStatus
		if err := apply(name); err == nil || errors.As(err, &status) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	for name, effect := range map[string]bool{"refused": false, "lost": true, "hung": false} {
		if _, err := c.Get(ctx, name, metav1.GetOptions{}); apierrors.IsNotFound(err) == effect {
			t.Errorf("%s: got %v, want the effect to be %v", name, err, effect)
		}
	}
	a.faults()
	a.write("quotas.json", `{"kubernetes.get configmaps": 1}`)
	_ = must(c.Get(ctx, "lost", metav1.GetOptions{}))(t)
	resp := must(http.Get(a.server.Endpoints()["kubernetes"] + "/api/v1/namespaces/default/configmaps/lost"))(t)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "1" {
		t.Errorf("beyond the quota: %s, after %q", resp.Status, resp.Header.Get("Retry-After"))
	}
}

// A scripted failure reaches the pods, and the page shows what is where.
func TestKubernetesPage(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	ctx := t.Context()
	must("", a.server.EnsureNamespace(ctx, "ml"))(t)
	must("", a.server.EnsureGateway(ctx, "infra", "gateway"))(t)
	a.put("models", "fraud/model.onnx", "not a model")
	c := a.cluster().Resource(deployments).Namespace("ml")
	_ = must(c.Apply(ctx, "fraud-main", deployment("server:1"), metav1.ApplyOptions{FieldManager: "test"}))(t)
	a.minutes(2)
	for _, want := range []string{"fraud-main", "ready", "main", "<b>v7</b>", "Running", "kubernetes.patch deployments"} {
		if page := get(t, a.url); !strings.Contains(page, want) {
			t.Errorf("the page does not show %q:\n%s", want, page)
		}
	}
	a.faults(`{"call":"kubernetes.patch deployments","action":"fail_transition","message":"out of memory"}`)
	_ = must(c.Apply(ctx, "fraud-main", deployment("server:2"), metav1.ApplyOptions{FieldManager: "test"}))(t)
	a.minutes(20)
	for _, want := range []string{"failed", "CrashLoopBackOff", "has timed out progressing"} {
		if page := get(t, a.url); !strings.Contains(page, want) {
			t.Errorf("the page does not show %q:\n%s", want, page)
		}
	}
}

// A model that is not where the container is told to fetch it, or that is another one,
// fails to start.
func TestKubernetesModelIsFetched(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	ctx := t.Context()
	client := a.cluster()
	c := client.Resource(deployments).Namespace("default")
	sums := configMap("sums")
	sums.Object["data"] = map[string]any{"SHA256SUMS": "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae  model.onnx\n"}
	_ = must(client.Resource(configMaps).Namespace("default").Apply(ctx, "sums", sums, metav1.ApplyOptions{FieldManager: "test"}))(t)
	d := deployment("server:1")
	pod, _, _ := unstructured.NestedMap(d.Object, "spec", "template", "spec")
	inits := pod["initContainers"].([]any)
	pod["initContainers"] = append(inits, map[string]any{"name": "verify", "image": "i", "command": []any{"sh", "-ec", "cd /mnt/models && sha256sum -c --quiet /etc/ml/SHA256SUMS"},
		"volumeMounts": []any{map[string]any{"name": "sums", "mountPath": "/etc/ml"}}})
	pod["volumes"] = []any{map[string]any{"name": "sums", "configMap": map[string]any{"name": "sums"}}}
	must("", unstructured.SetNestedMap(d.Object, pod, "spec", "template", "spec"))(t)
	_ = must(c.Apply(ctx, "fraud-main", d, metav1.ApplyOptions{FieldManager: "test"}))(t)
	// ended is how the n-th container before the others has ended, "" if it has not.
	ended := func(n int) string {
		pods := must(client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "pods"}).Namespace("default").List(ctx, metav1.ListOptions{}))(t)
		statuses, _, _ := unstructured.NestedSlice(pods.Items[0].Object, "status", "initContainerStatuses")
		message, _, _ := unstructured.NestedString(statuses[n].(map[string]any), "lastState", "terminated", "message")
		return message
	}
	a.minutes(1)
	if got := ended(0); !strings.Contains(got, "No model found in s3://models/fraud/") {
		t.Errorf("without a model the container ends with %q", got)
	}
	a.put("models", "fraud/model.onnx", "bar")
	a.minutes(2)
	if got := ended(1); got != "model.onnx: FAILED\nsha256sum: WARNING: 1 computed checksum did NOT match" {
		t.Errorf("with another model the container ends with %q", got)
	}
	a.put("models", "fraud/model.onnx", "foo")
	a.minutes(10)
	if got, _, _ := unstructured.NestedInt64(must(c.Get(ctx, "fraud-main", metav1.GetOptions{}))(t).Object, "status", "availableReplicas"); got != 1 {
		t.Errorf("with the model %d are available", got)
	}
}

func TestServeWritesKubeconfig(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	out, ended := &printed{once: make(chan struct{})}, make(chan error, 1)
	go func() { ended <- emulator.Serve(ctx, emulator.Options{StateDir: dir}, out) }()
	<-out.once
	config := string(must(os.ReadFile(filepath.Join(dir, "kubeconfig")))(t))
	_, url, _ := strings.Cut(config, `server: "`)
	url, _, _ = strings.Cut(url, `"`)
	resp := must(http.Get(url + "/readyz"))(t)
	defer resp.Body.Close()
	if text := string(must(io.ReadAll(resp.Body))(t)); text != "ok" || !strings.Contains(out.String(), "kubectl --kubeconfig "+filepath.Join(dir, "kubeconfig")) {
		t.Errorf("the cluster says %q, and printed was %s", text, out)
	}
	stop()
	select {
	case err := <-ended:
		must("", err)(t)
	case <-time.After(10 * time.Second):
		t.Error("it does not end")
	}
}
