// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package cluster_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/mlplane/terraform-provider-ml/tests/cluster/kube"
)

// TestTrafficSplit counts real requests behind a real gateway.
func TestTrafficSplit(t *testing.T) {
	t.Parallel()
	c := kube.Use(t)
	gateway := c.Gateway(t)
	ns := c.Namespace(t)
	roll(t, c, ns, server{name: "blue", version: "1", replicas: 1}, server{name: "green", version: "2", replicas: 1})
	host := ns + ".ml.test"
	route(t, c, ns, gateway, host, "")
	asking, url := client(), "http://"+gateway.HTTP+"/v2/models/fraud/infer"
	kube.Eventually(t, time.Minute, "the route", func(ctx context.Context) error {
		_, err := predict(ctx, asking, url, "Host", host)
		return err
	})
	const requests = 200
	answered := map[string]int{}
	for range requests {
		p, err := predict(t.Context(), asking, url, "Host", host)
		if err != nil {
			t.Fatal(err)
		}
		answered[p.Deployment]++
	}
	t.Logf("counted: of %d requests through the gateway, with weights 75 and 25: %v", requests, answered)
	if got := answered["blue"]; got < 145 || got > 155 || got+answered["green"] != requests {
		t.Errorf("weights of 75 and 25 gave %v", answered)
	}
	secure(t, c, gateway, host)
}

// secure asks the gateway's other listener, and checks whose certificate it shows.
func secure(t *testing.T, c *kube.Cluster, gateway *kube.Gateway, host string) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.CA())
	trusting := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS12}}}
	p, err := predict(t.Context(), trusting, "https://"+gateway.HTTPS+"/v2/models/fraud/infer", "Host", host)
	if err != nil {
		t.Fatal(err)
	}
	if p.Model != "fraud" {
		t.Errorf("over TLS, %+v answered", p)
	}
}

// route is an HTTPRoute as the driver makes it.
func route(t *testing.T, c *kube.Cluster, ns string, gateway *kube.Gateway, host, filters string) {
	t.Helper()
	err := c.Apply(t.Context(), ns, fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: fraud}
spec:
  parentRefs: [{name: %s, namespace: %s}]
  hostnames: [%s]
  rules:
  - matches: [{path: {type: PathPrefix, value: /}}]
    filters: [%s]
    backendRefs:
    - {name: blue, port: 80, weight: 75}
    - {name: green, port: 80, weight: 25}
`, gateway.Name, gateway.Namespace, host, filters))
	if err != nil {
		t.Fatal(err)
	}
}

// TestMirror is what a gateway does that cannot mirror: it accepts the route, and
// answers every request with 500. Only the features of its class tell beforehand.
func TestMirror(t *testing.T) {
	t.Parallel()
	c := kube.Use(t)
	gateway := c.Gateway(t)
	class, err := c.Dynamic().Resource(schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gatewayclasses"}).Get(t.Context(), gateway.Class, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var features []string
	listed, _, _ := unstructured.NestedSlice(class.Object, "status", "supportedFeatures")
	for _, f := range listed {
		features = append(features, fmt.Sprint(f.(map[string]any)["name"]))
	}
	if len(features) == 0 || slices.Contains(features, "HTTPRouteRequestMirror") {
		t.Errorf("the class has the features %v; one that mirrors can be tested for what it mirrors", features)
	}
	ns := c.Namespace(t)
	roll(t, c, ns, server{name: "blue", version: "1", replicas: 1}, server{name: "green", version: "2", replicas: 1})
	host := ns + ".ml.test"
	route(t, c, ns, gateway, host, "{type: RequestMirror, requestMirror: {backendRef: {name: green, port: 80}}}")
	routes := c.Dynamic().Resource(schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}).Namespace(ns)
	kube.Eventually(t, time.Minute, "the route to be accepted", func(ctx context.Context) error {
		o, err := routes.Get(ctx, "fraud", metav1.GetOptions{})
		if err != nil {
			return err
		}
		parents, _, err := unstructured.NestedSlice(o.Object, "status", "parents")
		if err != nil || len(parents) == 0 {
			return fmt.Errorf("it has no parent: %w", err)
		}
		return kube.Condition(&unstructured.Unstructured{Object: map[string]any{"status": parents[0]}}, "Accepted")
	})
	kube.Eventually(t, time.Minute, "the answer to be 500", func(ctx context.Context) error {
		_, err := predict(ctx, client(), "http://"+gateway.HTTP+"/v2/models/fraud/infer", "Host", host)
		if err == nil || !strings.HasPrefix(err.Error(), "500") {
			return fmt.Errorf("it is %w", err)
		}
		return nil
	})
}
