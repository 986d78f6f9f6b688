// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// server is a deployment that answers as the provider's do, and its service.
func (c *cluster) server(name string) {
	c.t.Helper()
	c.mustApply(fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: 1
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata:
      labels: {app: %[1]s, ml.terraform.io/model: fraud, ml.terraform.io/model-version: "7", ml.terraform.io/deployment: %[1]s}
      annotations: {ml.terraform.io/digest: abc}
    spec:
      containers:
      - name: server
        image: server:1
        ports: [{name: serving, containerPort: 8080, protocol: TCP}]
`, name))
	c.mustApply(strings.ReplaceAll(webService, "web", name))
}

// ask sends a prediction and returns the status and what is answered.
func (c *cluster) ask(path string, header ...string) (int, map[string]any) {
	c.t.Helper()
	resp := c.request(c.t.Context(), http.MethodPost, path, `{"inputs":[1]}`, header...)
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	answer := map[string]any{}
	if json.Unmarshal(text, &answer) != nil {
		answer["message"] = string(text)
	}
	return resp.StatusCode, answer
}

const proxy = "/api/v1/namespaces/ml/services/http:a:80/proxy/v2/models/fraud/infer"

func TestModelAnswersThroughTheProxy(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.server("a")
	c.seconds(2)
	if code, answer := c.ask(proxy); code != http.StatusServiceUnavailable || answer["message"] != `no endpoints available for service "a"` {
		t.Errorf("before it is ready: %d %v", code, answer["message"])
	}
	c.seconds(100)
	code, answer := c.ask(proxy)
	got, _ := json.Marshal(answer)
	if want := `{"deployment":"a","digest":"abc","echo":{"inputs":[1]},"model":"fraud","model_name":"fraud","model_version":"7","version":"7"}`; code != http.StatusOK || string(got) != want {
		t.Errorf("got %d %s\nwant %s", code, got, want)
	}
	pod := c.list("Pod", "app=a")[0]
	if code, answer := c.ask("/api/v1/namespaces/ml/pods/http:" + pod.GetName() + ":8080/proxy/predict"); code != http.StatusOK || answer["deployment"] != "a" {
		t.Errorf("through the pod: %d %v", code, answer)
	}
	for path, want := range map[string]int{"/v2/health/ready": 200, "/v2/models/fraud/ready": 200, "/v2/models/other/ready": 404, "/nothing": 404} {
		if resp := c.request(t.Context(), http.MethodGet, "/api/v1/namespaces/ml/services/http:a:http/proxy"+path, ""); resp.StatusCode != want {
			t.Errorf("%s answers %s, want %d", path, resp.Status, want)
		}
	}
	if code, answer := c.ask("/api/v1/namespaces/ml/pods/http:" + pod.GetName() + ":9/proxy/predict"); code != http.StatusServiceUnavailable {
		t.Errorf("a port that nobody listens on: %d %v", code, answer)
	}
}

func routeOf(rest string) string {
	return "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: fraud}\nspec: {parentRefs: [{name: gw, namespace: infra}], hostnames: [fraud.example.com], rules: [{" + rest + "}]}"
}

func TestRouteSplitsTraffic(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	if err := c.service.EnsureGateway(t.Context(), "infra", "gw"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "shadow"} {
		c.server(name)
	}
	c.mustApply(routeOf("backendRefs: [{name: a, port: 80, weight: 75}, {name: b, port: 80, weight: 25}], filters: [{type: RequestMirror, requestMirror: {backendRef: {name: shadow, port: 80}, percent: 20}}]"))
	c.seconds(100)
	r := c.get("HTTPRoute", "fraud")
	all, _, _ := unstructured.NestedSlice(r.Object, "status", "parents")
	parent := all[0].(map[string]any)
	if got := conditionIn(parent["conditions"].([]any), "Accepted") + conditionIn(parent["conditions"].([]any), "ResolvedRefs"); got != "True AcceptedTrue ResolvedRefs" {
		t.Errorf("the route is %s", got)
	}
	answers := map[string]int{}
	for range 100 {
		code, answer := c.ask("/v2/models/fraud/infer", "Host", "fraud.example.com")
		answers[fmt.Sprint(code, answer["deployment"])]++
	}
	if answers["200a"] != 75 || answers["200b"] != 25 {
		t.Errorf("weights of 75 and 25 got %v of 100 requests", answers)
	}
	overview, err := c.service.Overview(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	served := map[string]int{}
	for _, w := range overview.Workloads {
		served[w.Name] = w.Served
	}
	if served["a"] != 75 || served["b"] != 25 || served["shadow"] != 20 {
		t.Errorf("counted %v", served)
	}
	if code, _ := c.ask("/v2/models/fraud/infer", "Host", "other.example.com"); code != http.StatusNotFound {
		t.Errorf("a host of no route: %d", code)
	}
	c.mustApply(routeOf("backendRefs: [{name: a, port: 80, weight: 0}, {name: b, port: 80, weight: 100}]"))
	c.seconds(5)
	if code, answer := c.ask("/", "Host", "fraud.example.com"); code != http.StatusOK || answer["deployment"] != "b" {
		t.Errorf("after the shift: %d %v", code, answer)
	}
}

func TestRouteConditions(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	if err := c.service.EnsureGateway(t.Context(), "infra", "gw"); err != nil {
		t.Fatal(err)
	}
	c.server("a")
	for _, f := range []struct{ why, route, accepted, resolved string }{
		{"nobody's service", routeOf("backendRefs: [{name: none, port: 80}]"), "True Accepted", "False BackendNotFound"},
		{"another port", routeOf("backendRefs: [{name: a, port: 81}]"), "True Accepted", "False PortNotFound"},
		{"no grant", routeOf("backendRefs: [{name: a, namespace: default, port: 80}]"), "True Accepted", "False RefNotPermitted"},
		{"another listener", strings.Replace(routeOf("backendRefs: [{name: a, port: 80}]"), "namespace: infra", "namespace: infra, sectionName: none", 1), "False NoMatchingParent", "True ResolvedRefs"},
		{"fine", routeOf("backendRefs: [{name: a, port: 80}]"), "True Accepted", "True ResolvedRefs"},
	} {
		made := c.mustApply(f.route)
		c.seconds(5)
		r := c.get("HTTPRoute", "fraud")
		all, _, _ := unstructured.NestedSlice(r.Object, "status", "parents")
		if len(all) != 1 {
			t.Fatalf("%s: %d parents", f.why, len(all))
		}
		conditions := all[0].(map[string]any)["conditions"].([]any)
		if got := conditionIn(conditions, "Accepted") + ", " + conditionIn(conditions, "ResolvedRefs"); got != f.accepted+", "+f.resolved {
			t.Errorf("%s: %s", f.why, got)
		}
		if got := conditions[0].(map[string]any)["observedGeneration"]; got != made.GetGeneration() {
			t.Errorf("%s: observed %v of %d", f.why, got, made.GetGeneration())
		}
	}
	c.mustApply(strings.Replace(strings.Replace(routeOf("backendRefs: [{name: a, port: 80}]"), "name: gw", "name: nobody", 1), "metadata: {name: fraud}", "metadata: {name: lost}", 1))
	c.seconds(60)
	if status := c.get("HTTPRoute", "lost").Object["status"]; status != nil {
		t.Errorf("nobody looks after the route, and its status is %v", status)
	}
}

func TestPoliciesAndCertificates(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	if err := c.service.EnsureGateway(t.Context(), "infra", "gw"); err != nil {
		t.Fatal(err)
	}
	const policy = "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: {name: fraud}\nspec: {targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: fraud}], apiKeyAuth: {credentialRefs: [{name: keys}], extractFrom: [{headers: [x-api-key]}]}}"
	c.mustApply(policy)
	c.seconds(5)
	if status := c.get("SecurityPolicy", "fraud").Object["status"]; status != nil {
		t.Errorf("the policy of no route has the status %v", status)
	}
	c.server("a")
	c.mustApply(routeOf("backendRefs: [{name: a, port: 80}]"))
	c.seconds(5)
	if got := c.accepted(); got != "False Invalid" {
		t.Errorf("without the keys: %s", got)
	}
	c.mustApply("apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\ndata: {client: eA==}")
	c.seconds(5)
	if got := c.accepted(); got != "True Accepted" {
		t.Errorf("with the keys: %s", got)
	}
	c.seconds(100)
	for key, want := range map[string]int{"": http.StatusUnauthorized, "wrong": http.StatusUnauthorized, "x": http.StatusOK} {
		if code, _ := c.ask("/predict", "Host", "fraud.example.com", "X-Api-Key", key); code != want {
			t.Errorf("with the key %q the gateway answers %d, want %d", key, code, want)
		}
	}
	c.mustApply("apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: tls}\nspec: {secretName: tls, dnsNames: [fraud.example.com], issuerRef: {name: ca, kind: Issuer}}")
	c.seconds(60)
	if got := condition(c.get("Certificate", "tls"), "Ready"); got != "False DoesNotExist" {
		t.Errorf("without an issuer: %s", got)
	}
	c.mustApply("apiVersion: cert-manager.io/v1\nkind: Issuer\nmetadata: {name: ca}\nspec: {selfSigned: {}}")
	c.seconds(60)
	if got := condition(c.get("Certificate", "tls"), "Ready"); got != "True Ready" {
		t.Errorf("with an issuer: %s", got)
	}
	data, _, _ := unstructured.NestedStringMap(c.get("Secret", "tls").Object, "data")
	if data["tls.crt"] == "" || data["tls.key"] == "" || data["ca.crt"] == "" {
		t.Errorf("the secret holds %d keys", len(data))
	}
}

func (c *cluster) accepted() string {
	c.t.Helper()
	all, _, _ := unstructured.NestedSlice(c.get("SecurityPolicy", "fraud").Object, "status", "ancestors")
	if len(all) == 0 {
		return "<none>"
	}
	return conditionIn(all[0].(map[string]any)["conditions"].([]any), "Accepted")
}

// model is an InferenceService with a container of its own.
const model = `
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: fraud
  labels: {team: risk}
  annotations: {serving.kserve.io/autoscalerClass: none, serving.kserve.io/deploymentMode: Standard}
spec:
  predictor:
    minReplicas: 2
    annotations: {ml.terraform.io/spec-hash: abc}
    containers:
    - name: kserve-container
      image: server:1
      ports: [{name: serving, containerPort: 8080, protocol: TCP}]
`

func TestInferenceService(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.mustApply(model)
	c.seconds(5)
	d := c.get("Deployment", "fraud-predictor")
	want(t, d, "spec.replicas=2", "metadata.labels.team=risk", "spec.template.metadata.labels.team=risk", "metadata.ownerReferences.0.kind=InferenceService")
	if got := d.Object["spec"].(map[string]any)["template"].(map[string]any)["metadata"].(map[string]any)["annotations"].(map[string]any)["ml.terraform.io/spec-hash"]; got != "abc" {
		t.Errorf("the pods' hash is %v", got)
	}
	want(t, c.get("InferenceService", "fraud"), "metadata.finalizers.0=inferenceservice.finalizers", "status.modelStatus.transitionStatus=InProgress")
	c.absent("HorizontalPodAutoscaler", "fraud-predictor")
	c.seconds(100)
	i := c.get("InferenceService", "fraud")
	want(t, i, "status.modelStatus.transitionStatus=UpToDate", "status.modelStatus.states.targetModelState=Loaded", "status.deploymentMode=Standard", "status.observedGeneration=1")
	if got := condition(i, "Ready"); got != "True" {
		t.Errorf("Ready is %s", got)
	}
	if code, answer := c.ask("/api/v1/namespaces/ml/services/http:fraud-predictor:80/proxy/predict"); code != http.StatusOK {
		t.Errorf("the predictor answers %d %v", code, answer)
	}
	// By default there is an autoscaler, whether or not anybody asked for one.
	c.mustApply(strings.Replace(model, "autoscalerClass: none", "autoscalerClass: hpa", 1))
	c.seconds(5)
	want(t, c.get("HorizontalPodAutoscaler", "fraud-predictor"), "spec.minReplicas=2", "spec.maxReplicas=2", "spec.metrics.0.resource.target.averageUtilization=80")
	if err := c.of("InferenceService").Delete(t.Context(), "fraud", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.seconds(60)
	c.absent("InferenceService", "fraud")
	c.absent("Deployment", "fraud-predictor")
	if pods := c.list("Pod", ""); len(pods) > 0 {
		t.Errorf("%d pods outlive it", len(pods))
	}
}

func TestInferenceServiceIsRefused(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	for why, f := range map[string]struct{ text, words string }{
		"a bad name":       {strings.Replace(model, "name: fraud", "name: 1fraud", 1), "a InferenceService name must consist of lower case"},
		"a bad class":      {strings.Replace(model, "autoscalerClass: none", "autoscalerClass: magic", 1), "[magic] is not a supported autoscaler class type"},
		"bounds":           {strings.Replace(model, "minReplicas: 2", "minReplicas: 2\n    maxReplicas: 1", 1), "MinReplicas cannot be greater than MaxReplicas"},
		"nothing to serve": {"apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: fraud}\nspec: {predictor: {minReplicas: 1}}", "exactly one of"},
	} {
		_, err := c.apply(f.text)
		refuses(t, why, err, http.StatusForbidden, metav1.StatusReasonForbidden, f.words)
		refuses(t, why, err, http.StatusForbidden, metav1.StatusReasonForbidden, `admission webhook "inferenceservice.kserve-webhook-server.validator" denied the request: `)
	}
	c.mustApply("apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: fraud}\nspec: {predictor: {model: {modelFormat: {name: onnx}, storageUri: 's3://b/k/'}}}")
	c.seconds(5)
	want(t, c.get("InferenceService", "fraud"), "status.modelStatus.transitionStatus=InvalidSpec", "status.modelStatus.lastFailureInfo.reason=NoSupportingRuntime", "metadata.annotations.modelFormat=onnx")
	c.mustApply("apiVersion: serving.kserve.io/v1alpha1\nkind: ServingRuntime\nmetadata: {name: triton}\nspec: {supportedModelFormats: [{name: onnx}], containers: [{name: kserve-container, image: triton:1, args: [--port=8080], ports: [{containerPort: 8080, protocol: TCP}]}]}")
	c.mustApply("apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: fraud}\nspec: {predictor: {model: {runtime: triton, modelFormat: {name: onnx}, args: [--more], storageUri: 's3://b/k/'}}}")
	c.seconds(100)
	d := c.get("Deployment", "fraud-predictor")
	want(t, d, "spec.template.spec.containers.0.image=triton:1", "spec.template.spec.containers.0.args=[--port=8080 --more]", "spec.template.spec.initContainers.0.args.0=s3://b/k/",
		"spec.template.spec.containers.0.readinessProbe.tcpSocket.port=8080", "status.availableReplicas=1")
}

// What stands guard in front of a model speaks TLS, and wants a token of the cluster.
func TestGuardedModel(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.mustApply(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: server, image: "server:1", ports: [{name: http, containerPort: 8080, protocol: TCP}]}
      - {name: auth, image: "proxy:1", ports: [{name: serving, containerPort: 8443, protocol: TCP}]}
`)
	c.mustApply(strings.Replace(webService, "port: 80", "port: 443", 1))
	c.seconds(100)
	pod := c.list("Pod", "app=web")[0].GetName()
	const services = "/api/v1/namespaces/ml/services/"
	for path, want := range map[string]int{services + "http:web:443/proxy/p": http.StatusBadRequest, services + "https:web:443/proxy/p": http.StatusUnauthorized,
		"/api/v1/namespaces/ml/pods/http:" + pod + ":8080/proxy/p": http.StatusOK, "/api/v1/namespaces/ml/pods/https:" + pod + ":8080/proxy/p": http.StatusServiceUnavailable} {
		// The API server keeps the caller's token to itself.
		if code, answer := c.ask(path, "Authorization", "Bearer rehearsal.ml.default.x"); code != want {
			t.Errorf("%s answers %d %v, want %d", path, code, answer, want)
		}
	}
	if err := c.service.EnsureGateway(t.Context(), "infra", "gw"); err != nil {
		t.Fatal(err)
	}
	c.mustApply(routeOf("backendRefs: [{name: web, port: 443}]"))
	c.seconds(5)
	token := c.request(t.Context(), http.MethodPost, "/api/v1/namespaces/ml/serviceaccounts/default/token", `{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"audiences":["fraud.ml"]}}`)
	var got struct{ Status struct{ Token string } }
	if err := json.NewDecoder(token.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	for bearer, want := range map[string]int{"": http.StatusUnauthorized, "wrong": http.StatusUnauthorized, got.Status.Token: http.StatusOK} {
		if code, _ := c.ask("/predict", "Host", "fraud.example.com", "Authorization", "Bearer "+bearer); code != want {
			t.Errorf("with the token %q the gateway answers %d, want %d", bearer, code, want)
		}
	}
}
