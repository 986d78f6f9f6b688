// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package cluster_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/mlplane/terraform-provider-ml/tests/cluster/kube"
)

func TestInferenceService(t *testing.T) {
	t.Parallel()
	c := kube.Use(t)
	c.KServe(t)
	ns := c.Namespace(t)
	err := c.Apply(t.Context(), ns, fmt.Sprintf(`
apiVersion: v1
kind: ConfigMap
metadata: {name: model}
binaryData: {model.onnx: %s}
---
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: fraud-blue
  labels: {networking.kserve.io/visibility: cluster-local}
  annotations: {serving.kserve.io/deploymentMode: Standard, serving.kserve.io/autoscalerClass: none}
spec:
  predictor:
    minReplicas: 1
    volumes: [{name: model, configMap: {name: model}}]
    containers:
    - name: kserve-container
      image: %s
      imagePullPolicy: IfNotPresent
      env: [{name: ML_MODEL_NAME, value: fraud}]
      ports: [{name: http1, containerPort: 8080, protocol: TCP}]
      resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {memory: 256Mi}}
      readinessProbe: {httpGet: {path: /v2/models/fraud/ready, port: 8080}, periodSeconds: 1}
      volumeMounts: [{name: model, mountPath: /mnt/models, readOnly: true}]
`, base64.StdEncoding.EncodeToString(c.Example(t, "quickstart/model/fraud-v1.onnx")), c.Image(kube.ModelServer)))
	if err != nil {
		t.Fatal(err)
	}
	services := c.Dynamic().Resource(schema.GroupVersionResource{Group: "serving.kserve.io", Version: "v1beta1", Resource: "inferenceservices"}).Namespace(ns)
	kube.Eventually(t, 2*time.Minute, "the InferenceService to be ready", func(ctx context.Context) error {
		o, err := services.Get(ctx, "fraud-blue", metav1.GetOptions{})
		if err != nil {
			return err
		}
		return kube.Condition(o, "Ready")
	})
	if err := c.Rollout(t.Context(), ns, "fraud-blue-predictor"); err != nil {
		t.Fatal(err)
	}
	p, err := predict(t.Context(), client(), c.URL(t, ns, "service/fraud-blue-predictor", 80)+"/v2/models/fraud/infer")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.check(scoreV1); err != nil {
		t.Error(err)
	}
	// The controller's finalizer has to go before the namespace can.
	if err := services.Delete(t.Context(), "fraud-blue", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	kube.Eventually(t, time.Minute, "the InferenceService to be gone", func(ctx context.Context) error {
		if _, err := services.Get(ctx, "fraud-blue", metav1.GetOptions{}); err == nil {
			return fmt.Errorf("it is there")
		}
		return nil
	})
}

// TestKServeRefuses is that KServe's webhooks are asked.
func TestKServeRefuses(t *testing.T) {
	t.Parallel()
	c := kube.Use(t)
	c.KServe(t)
	err := c.Apply(t.Context(), c.Namespace(t), `
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: fraud}
spec: {predictor: {minReplicas: 3, maxReplicas: 1, containers: [{name: kserve-container, image: "ml.test/modelserver:1"}]}}
`)
	if err == nil || !strings.Contains(err.Error(), "admission webhook") {
		t.Errorf("got %v, want a refusal by KServe's webhook", err)
	}
}
