// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package cluster_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mlplane/terraform-provider-ml/tests/cluster/kube"
)

// TestFetch brings a model to a pod from each kind of store, by the init containers
// that the driver uses, and refuses one with a wrong byte.
func TestFetch(t *testing.T) {
	t.Parallel()
	c := kube.Use(t)
	store, registry := c.ObjectStore(t), c.Registry(t)
	ns := c.Namespace(t)
	model := c.Example(t, "quickstart/model/fraud-v1.onnx")
	wrong := bytes.Clone(model)
	wrong[len(wrong)/2] ^= 1
	store.Put(t, "fetch", "fraud/1/model.onnx", model)
	store.Put(t, "fetch", "fraud/10/model.onnx", wrong) // begins like the prefix of version 1
	store.Put(t, "fetch", "fraud/2/model.onnx", wrong)
	image := pushModel(t, registry, model)
	for pod, source := range map[string]string{
		"prefix": "s3://fetch/fraud/1/",
		"object": "s3://fetch/fraud/1/model.onnx",
		"image":  "oci://" + image,
		"wrong":  "s3://fetch/fraud/2/",
		"absent": "s3://fetch/fraud/3/",
		"denied": "s3://fetch/fraud/1/",
		"nobody": "https://models.example/model.onnx",
	} {
		secret := store.Secret(pod)
		if pod == "denied" {
			secret = strings.ReplaceAll(secret, store.AccessKey, "AKIAOTHER")
		}
		if err := c.Apply(t.Context(), ns, secret, fetching(c, pod, source, fmt.Sprintf("%x  model.onnx", sha256.Sum256(model)))); err != nil {
			t.Fatal(err)
		}
	}
	for _, pod := range []string{"prefix", "object", "image"} {
		if err := c.PodReady(t.Context(), ns, pod); err != nil {
			t.Fatal(err)
		}
		p, err := predict(t.Context(), client(), c.URL(t, ns, "pod/"+pod, 8080)+"/predict")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.check(scoreV1); err != nil {
			t.Errorf("from %s: %v", pod, err)
		}
	}
	for pod, reason := range map[string][2]string{
		"wrong":  {"verify", "model.onnx: FAILED"},
		"absent": {"fetch", "there are no files"},
		"denied": {"fetch", "AccessDenied"},
		"nobody": {"fetch", "lookup models.example"},
	} {
		if got := failure(t, c, ns, pod, reason[0]); !strings.Contains(got, reason[1]) {
			t.Errorf("%s: container %s said %q, want %q in it", pod, reason[0], got, reason[1])
		}
	}
}

// fetching is a pod as the driver makes it: fetched, verified, served.
func fetching(c *kube.Cluster, pod, source, sums string) string {
	return fmt.Sprintf(`
apiVersion: v1
kind: ConfigMap
metadata: {name: %[1]s}
data: {SHA256SUMS: %[3]q}
---
apiVersion: v1
kind: Pod
metadata: {name: %[1]s}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  securityContext: {runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000, seccompProfile: {type: RuntimeDefault}}
  volumes:
  - {name: model, emptyDir: {sizeLimit: 100Mi}}
  - {name: sums, configMap: {name: %[1]s}}
  initContainers:
  - name: fetch
    image: %[4]s
    imagePullPolicy: IfNotPresent
    args: [%[2]q, /mnt/models]
    envFrom: [{secretRef: {name: %[1]s, optional: true}}]
    terminationMessagePolicy: FallbackToLogsOnError
    securityContext: &restricted {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: model, mountPath: /mnt/models}]
  - name: verify
    image: %[4]s
    imagePullPolicy: IfNotPresent
    command: [sh, -ec, cd /mnt/models && sha256sum -c --quiet /etc/ml/SHA256SUMS]
    terminationMessagePolicy: FallbackToLogsOnError
    securityContext: *restricted
    volumeMounts: [{name: model, mountPath: /mnt/models, readOnly: true}, {name: sums, mountPath: /etc/ml, readOnly: true}]
  containers:
  - name: server
    image: %[5]s
    imagePullPolicy: IfNotPresent
    env: [{name: ML_MODEL_NAME, value: fraud}]
    readinessProbe: {httpGet: {path: /v2/models/fraud/ready, port: 8080}, periodSeconds: 1}
    securityContext: *restricted
    volumeMounts: [{name: model, mountPath: /mnt/models, readOnly: true}]
`, pod, source, sums, c.Image(kube.Fetch), c.Image(kube.ModelServer))
}

// pushModel pushes an image with a model below models/, and returns its reference
// for pods, by digest.
func pushModel(t *testing.T, registry *kube.Registry, model []byte) string {
	t.Helper()
	var layer bytes.Buffer
	files := tar.NewWriter(&layer)
	for file, data := range map[string][]byte{"models/model.onnx": model, "etc/other": []byte("not a model")} {
		if err := files.WriteHeader(&tar.Header{Name: file, Size: int64(len(data)), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := files.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, static.NewLayer(layer.Bytes(), types.DockerUncompressedLayer))
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(registry.HostAddress + "/models/fraud:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return registry.Address + "/models/fraud@" + digest.String()
}

// failure waits until a pod has failed, and returns what the container said that
// ended it.
func failure(t *testing.T, c *kube.Cluster, ns, pod, container string) (message string) {
	t.Helper()
	kube.Eventually(t, 2*time.Minute, "pod "+pod+" to fail", func(ctx context.Context) error {
		p, err := c.Client().CoreV1().Pods(ns).Get(ctx, pod, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if p.Status.Phase != corev1.PodFailed {
			return fmt.Errorf("it is %s", p.Status.Phase)
		}
		for _, s := range p.Status.InitContainerStatuses {
			if end := s.State.Terminated; s.Name == container && end != nil {
				message = end.Message
			}
		}
		return nil
	})
	return message
}
