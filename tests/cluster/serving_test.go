// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package cluster_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/mlplane/terraform-provider-ml/tests/cluster/kube"
)

func TestPrediction(t *testing.T) {
	t.Parallel()
	c := kube.Use(t)
	ns := c.Namespace(t)
	roll(t, c, ns, server{name: "fraud", version: "1", replicas: 1})
	for path, url := range map[string]string{
		"the service":                 c.URL(t, ns, "service/fraud", 80),
		"the API server's proxy":      "",
		"a port forward of kubectl's": c.URL(t, ns, "pod/"+podOf(t, c, ns, "fraud"), 8080),
	} {
		if url == "" {
			data, err := c.Client().CoreV1().RESTClient().Post().AbsPath("/api/v1/namespaces", ns, "services/http:fraud:http/proxy/v2/models/fraud/infer").Body([]byte(transaction)).DoRaw(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var p prediction
			if err := json.Unmarshal(data, &p); err != nil {
				t.Fatal(err)
			}
			if err := p.check(scoreV1); err != nil {
				t.Errorf("through %s: %v", path, err)
			}
			continue
		}
		got, err := predict(t.Context(), client(), url+"/v2/models/fraud/infer")
		if err != nil {
			t.Fatalf("through %s: %v", path, err)
		}
		if err := got.check(scoreV1); err != nil {
			t.Errorf("through %s: %v", path, err)
		}
		if got.Model != "fraud" || got.Version != "1" || got.Deployment != "fraud" || len(got.Digest) != 64 || string(got.Echo) != transaction {
			t.Errorf("through %s: who answered is wrong: %+v", path, got)
		}
	}
}

func podOf(t *testing.T, c *kube.Cluster, ns, app string) string {
	t.Helper()
	pods, err := c.Client().CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		t.Fatal(err)
	}
	if len(pods.Items) == 0 {
		t.Fatalf("%s has no pods", app)
	}
	return pods.Items[0].Name
}

// TestRollingUpdate is what the driver's promise of no lost request stands on: the
// server's way to end, the pause before it, and the translation of services.
func TestRollingUpdate(t *testing.T) {
	t.Parallel()
	c := kube.Use(t)
	ns := c.Namespace(t)
	roll(t, c, ns, server{name: "fraud", version: "1", replicas: 2})
	url := c.URL(t, ns, "service/fraud", 80) + "/v2/models/fraud/infer"
	keeping, fresh := client(), &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	ask := func(client *http.Client) func(context.Context) error {
		return func(ctx context.Context) error {
			ctx, stop := context.WithTimeout(ctx, 30*time.Second)
			defer stop()
			p, err := predict(ctx, client, url)
			if err != nil {
				return err
			}
			if p.Version == "1" {
				return p.check(scoreV1)
			}
			return p.check(scoreV2)
		}
	}
	kept, single := kube.StartTraffic(t, 2, ask(keeping)), kube.StartTraffic(t, 2, ask(fresh))
	roll(t, c, ns, server{name: "fraud", version: "2", replicas: 2})
	kube.Eventually(t, 2*time.Minute, "the pods of version 1 to end", func(ctx context.Context) error {
		pods, err := c.Client().CoreV1().Pods(ns).List(ctx, metav1.ListOptions{LabelSelector: "version=1"})
		if err == nil && len(pods.Items) > 0 {
			err = fmt.Errorf("%d are left", len(pods.Items))
		}
		return err
	})
	total, lost := 0, 0
	for kind, traffic := range map[string]*kube.Traffic{"connections that are kept": kept, "a connection each": single} {
		asked, failures := traffic.Stop()
		total, lost = total+asked, lost+len(failures)
		for _, err := range failures {
			t.Errorf("lost a request, with %s: %v", kind, err)
		}
	}
	if p, err := predict(t.Context(), keeping, url); err != nil || p.Version != "2" {
		t.Errorf("after the rollout version %q answers, %v", p.Version, err)
	}
	t.Logf("counted: %d requests during a rolling update, %d lost", total, lost)
}

// TestReasons is that a pod's own words reach whoever asks why it does not run.
func TestReasons(t *testing.T) {
	t.Parallel()
	c := kube.Use(t)
	ns := c.Namespace(t)
	model := base64.StdEncoding.EncodeToString(c.Example(t, "quickstart/model/fraud-v1.onnx"))
	for name, env := range map[string]string{"fails": "FAIL, value: the weights are corrupt", "unready": `UNREADY, value: "1"`} {
		manifest := fmt.Sprintf(`
apiVersion: v1
kind: ConfigMap
metadata: {name: %[1]s}
binaryData: {model.onnx: %[4]s}
---
apiVersion: v1
kind: Pod
metadata: {name: %[1]s}
spec:
  volumes: [{name: model, configMap: {name: %[1]s}}]
  containers:
  - name: server
    image: %[2]s
    imagePullPolicy: IfNotPresent
    env: [{name: %[3]s}]
    volumeMounts: [{name: model, mountPath: /mnt/models}]
    terminationMessagePolicy: FallbackToLogsOnError
    readinessProbe: {httpGet: {path: /v2/health/ready, port: 8080}, periodSeconds: 1}
`, name, c.Image(kube.ModelServer), env, model)
		if err := c.Apply(t.Context(), ns, manifest); err != nil {
			t.Fatal(err)
		}
	}
	kube.Eventually(t, time.Minute, "the pod to say why it failed", func(ctx context.Context) error {
		p, err := c.Client().CoreV1().Pods(ns).Get(ctx, "fails", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, s := range p.Status.ContainerStatuses {
			if end := s.LastTerminationState.Terminated; end != nil && end.ExitCode == 1 && end.Message == "modelserver: the weights are corrupt\n" {
				return nil
			}
		}
		return fmt.Errorf("it is %+v", p.Status.ContainerStatuses)
	})
	kube.Eventually(t, time.Minute, "the probe to say that it is not ready", func(ctx context.Context) error {
		events, err := c.Client().CoreV1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=unready,reason=Unhealthy"})
		if err == nil && len(events.Items) == 0 {
			err = fmt.Errorf("there is no such event")
		}
		return err
	})
}

// TestAs is that other users may do what they are allowed, and nothing else.
func TestAs(t *testing.T) {
	t.Parallel()
	c := kube.Use(t)
	ns := c.Namespace(t)
	if err := c.Apply(t.Context(), ns, `
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: viewers}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: Group, name: viewers, apiGroup: rbac.authorization.k8s.io}]
`); err != nil {
		t.Fatal(err)
	}
	config, err := clientcmd.BuildConfigFromFlags("", c.As(t, "ada", "viewers"))
	if err != nil {
		t.Fatal(err)
	}
	ada, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ada.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Errorf("a viewer may not look: %v", err)
	}
	if err := ada.CoreV1().Pods(ns).DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a viewer may delete: %v", err)
	}
	if _, err := ada.CoreV1().Nodes().List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a viewer of one namespace sees the nodes: %v", err)
	}
}

// TestDevices is that a pod which asks for a device waits for one, and finds it.
func TestDevices(t *testing.T) {
	t.Parallel()
	c := kube.Use(t)
	ns := c.Namespace(t)
	const device = "ml.test/accelerator"
	if err := c.Apply(t.Context(), ns, fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: accelerated}
spec:
  containers:
  - name: pause
    image: %s
    imagePullPolicy: IfNotPresent
    resources: {limits: {%s: 2}}
`, c.Image(kube.Pause), device)); err != nil {
		t.Fatal(err)
	}
	kube.Eventually(t, time.Minute, "the scheduler to say what is missing", func(ctx context.Context) error {
		p, err := c.Client().CoreV1().Pods(ns).Get(ctx, "accelerated", metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range p.Status.Conditions {
			if condition.Reason == "Unschedulable" && strings.Contains(condition.Message, "Insufficient "+device) {
				return nil
			}
		}
		return fmt.Errorf("its conditions are %+v", p.Status.Conditions)
	})
	c.Devices(t, device, 2)
	if err := c.PodReady(t.Context(), ns, "accelerated"); err != nil {
		t.Fatal(err)
	}
}

// TestImportAs is that our model server stands in for somebody else's, by its image's
// name, its command and its arguments, with the model in that server's layout.
func TestImportAs(t *testing.T) {
	t.Parallel()
	c := kube.Use(t)
	ns := c.Namespace(t)
	const triton, pinned = "nvcr.io/nvidia/tritonserver:23.05-py3", "ml.test/other@sha256:0000000000000000000000000000000000000000000000000000000000000000"
	c.ImportAs(t, kube.ModelServer, triton, pinned)
	for name, image := range map[string]string{"triton": triton, "pinned": pinned} {
		if err := c.Apply(t.Context(), ns, fmt.Sprintf(`
apiVersion: v1
kind: ConfigMap
metadata: {name: %[1]s}
binaryData: {model.onnx: %[3]s}
---
apiVersion: v1
kind: Pod
metadata: {name: %[1]s}
spec:
  volumes: [{name: model, configMap: {name: %[1]s, items: [{key: model.onnx, path: fraud/1/model.onnx}]}}]
  containers:
  - name: server
    image: %[2]s
    command: [tritonserver]
    args: [--model-store=/mnt/models, --http-port=8081, --grpc-port=9000, --allow-grpc=true]
    readinessProbe: {httpGet: {path: /v2/health/ready, port: 8081}, periodSeconds: 1}
    resources: {requests: {cpu: "4"}}
    volumeMounts: [{name: model, mountPath: /mnt/models}]
`, name, image, base64.StdEncoding.EncodeToString(c.Example(t, "quickstart/model/fraud-v2.onnx")))); err != nil {
			t.Fatal(err)
		}
		if err := c.PodReady(t.Context(), ns, name); err != nil {
			t.Fatal(err)
		}
		p, err := predict(t.Context(), client(), c.URL(t, ns, "pod/"+name, 8081)+"/v2/models/fraud/infer")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.check(scoreV2); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
