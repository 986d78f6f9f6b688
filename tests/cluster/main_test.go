// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package cluster_test runs scenarios on a real Kubernetes: real pods that answer
// real requests. These need no driver; they prove what the driver's scenarios stand
// on: the cluster, its images, KServe and the gateway.
package cluster_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/mlplane/terraform-provider-ml/tests/cluster/kube"
)

func TestMain(m *testing.M) { os.Exit(kube.Main(m, kube.Options{})) }

// transaction is a request, and scores are what the models of the examples answer
// to it; internal/onnx computes them by hand.
const (
	transaction = `{"inputs":[{"name":"features","shape":[1,4],"datatype":"FP32","data":[412.5,3,0.82,1]}]}`
	scoreV1     = 0.325189707
	scoreV2     = 0.228957580
)

// client knows no connection of another test, and no certificate.
func client() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
}

// prediction is a model server's answer.
type prediction struct {
	Model, Version, Deployment, Digest string

	Echo    json.RawMessage
	Outputs []struct {
		Name string
		Data []float64
	}
}

// predict asks for the score of the transaction.
func predict(ctx context.Context, c *http.Client, url string, header ...string) (prediction, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(transaction))
	if err != nil {
		return prediction{}, err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := c.Do(req)
	if err != nil {
		return prediction{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return prediction{}, err
	}
	if resp.StatusCode != http.StatusOK {
		return prediction{}, fmt.Errorf("%s: %s", resp.Status, body)
	}
	var p prediction
	err = json.Unmarshal(body, &p)
	return p, err
}

// check holds a prediction to the score that is known.
func (p prediction) check(want float64) error {
	if len(p.Outputs) != 1 || len(p.Outputs[0].Data) != 1 || math.Abs(p.Outputs[0].Data[0]-want) > 1e-5 {
		return fmt.Errorf("got %+v, want the score %v", p, want)
	}
	return nil
}

// server is a Deployment of the model server, with its Service and its model.
type server struct {
	name, version string
	replicas      int
	more          string // of the pod, in YAML
}

// manifest has the pod that the driver makes, but for where its model comes from.
func (s server) manifest(t *testing.T, c *kube.Cluster) string {
	t.Helper()
	model := base64.StdEncoding.EncodeToString(c.Example(t, "quickstart/model/fraud-v"+s.version+".onnx"))
	return fmt.Sprintf(`
apiVersion: v1
kind: ConfigMap
metadata: {name: %[1]s-v%[2]s}
binaryData: {model.onnx: %[3]s}
---
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec:
  selector: {app: %[1]s}
  ports: [{name: http, port: 80, targetPort: serving}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: %[4]d
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s, version: "%[2]s"}}
    spec:
      enableServiceLinks: false
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 60
      securityContext: {runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000, seccompProfile: {type: RuntimeDefault}}
      volumes: [{name: model, configMap: {name: %[1]s-v%[2]s}}]
      containers:
      - name: server
        image: %[5]s
        imagePullPolicy: IfNotPresent
        env:
        - {name: ML_MODEL_NAME, value: fraud}
        - {name: ML_MODEL_VERSION, value: "%[2]s"}
        - {name: ML_DEPLOYMENT, value: %[1]s}
        ports: [{name: serving, containerPort: 8080, protocol: TCP}]
        resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {memory: 256Mi}}
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
        readinessProbe: {httpGet: {path: /v2/models/fraud/ready, port: serving}, periodSeconds: 1, timeoutSeconds: 5}
        livenessProbe: {httpGet: {path: /v2/health/live, port: serving}, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 6}
        lifecycle: {preStop: {sleep: {seconds: 10}}}
        volumeMounts: [{name: model, mountPath: /mnt/models, readOnly: true}]
%[6]s`, s.name, s.version, model, s.replicas, c.Image(kube.ModelServer), s.more)
}

// roll applies servers and waits until they run.
func roll(t *testing.T, c *kube.Cluster, ns string, servers ...server) {
	t.Helper()
	for _, s := range servers {
		if err := c.Apply(t.Context(), ns, s.manifest(t, c)); err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range servers {
		if err := c.Rollout(t.Context(), ns, s.name); err != nil {
			t.Fatal(err)
		}
	}
}
