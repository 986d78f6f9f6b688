// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"context"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// CRDs defines the resources of other projects, without what acts on them:
// "envoy-gateway" (SecurityPolicy, ClientTrafficPolicy), "cert-manager" (Certificate,
// Issuer, ClusterIssuer), "gateway" (Gateway API, standard channel), "kserve".
func (c *Cluster) CRDs(t *testing.T, projects ...string) {
	t.Helper()
	if !c.Own() {
		t.Skip("not installed: definitions of other projects are made in a cluster of the tests' own only")
	}
	for _, project := range projects {
		once(t, c, "crds "+project, func(ctx context.Context) (*struct{}, error) {
			return &struct{}{}, c.define(ctx, project)
		})
	}
}

func (c *Cluster) define(ctx context.Context, project string) error {
	files, err := filepath.Glob(filepath.Join(c.at.manifests, project, "*.yaml"))
	if err == nil && len(files) == 0 {
		err = fmt.Errorf("there are no definitions of %s in %s", project, c.at.manifests)
	}
	for _, file := range files {
		data, e := os.ReadFile(file)
		if e == nil {
			e = c.Apply(ctx, "", string(data))
		}
		err = errors.Join(err, e)
	}
	return err
}

// KServe runs the KServe controller, in Standard mode, with its webhooks and without
// anything that routes. Only the first call starts it.
func (c *Cluster) KServe(t *testing.T) {
	t.Helper()
	if !c.Own() {
		if _, err := c.client.Discovery().ServerResourcesForGroupVersion("serving.kserve.io/v1beta1"); err != nil {
			t.Skip("not installed: KServe in the cluster of ML_TEST_KUBECONFIG")
		}
		return
	}
	c.CRDs(t, "kserve")
	once(t, c, "kserve", func(ctx context.Context) (*struct{}, error) { return &struct{}{}, c.startKServe(ctx) })
}

const kserveNamespace = "kserve"

func (c *Cluster) startKServe(ctx context.Context) error {
	// The manager looks for its certificate in the temporary directory.
	certs := filepath.Join(c.machine.state, "tmp", "k8s-webhook-server", "serving-certs")
	pair, err := c.ca.issue("kserve-webhook", nil, "127.0.0.1")
	if err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(certs, 0o700), writePair(filepath.Join(certs, "tls"), pair)); err != nil {
		return err
	}
	config, err := c.kserveConfig()
	if err != nil {
		return err
	}
	if err := c.Apply(ctx, kserveNamespace, `{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kserve"}}`, config); err != nil {
		return err
	}
	if err := c.machine.start("kserve", []string{"POD_NAMESPACE=" + kserveNamespace}, c.machine.find("kserve-manager"), "--kubeconfig=/run/pki/admin.kubeconfig", "--metrics-addr=127.0.0.1:9080", "--health-probe-addr=127.0.0.1:9081"); err != nil {
		return err
	}
	if err := c.machine.poll(ctx, time.Minute, "KServe's webhooks", func(ctx context.Context) error {
		conn, err := c.machine.dial(ctx, "127.0.0.1:9443")
		if err == nil {
			_ = conn.Close() // it is there
		}
		return err
	}); err != nil {
		return err
	}
	return c.kserveWebhooks(ctx)
}

// kserveConfig is the configuration that KServe ships, for a cluster without Knative
// and Istio.
func (c *Cluster) kserveConfig() (string, error) {
	data, err := os.ReadFile(filepath.Join(c.at.manifests, "kserve-config", "inferenceservice.yaml"))
	if err != nil {
		return "", err
	}
	objects, err := decode(string(data))
	if err != nil {
		return "", err
	}
	o := objects[0]
	values, _, err := unstructured.NestedStringMap(o.Object, "data")
	if err != nil {
		return "", err
	}
	for name, changes := range map[string]map[string]any{
		"deploy":             {"defaultDeploymentMode": "Standard"},
		"ingress":            {"disableIngressCreation": true, "disableIstioVirtualHost": true},
		"storageInitializer": {"image": Fetch},
	} {
		section := map[string]any{}
		if values[name] != "" {
			if err := json.Unmarshal([]byte(values[name]), &section); err != nil {
				return "", fmt.Errorf("%s: %w", name, err)
			}
		}
		maps.Copy(section, changes)
		text, err := json.Marshal(section)
		if err != nil {
			return "", err
		}
		values[name] = string(text)
	}
	if err := unstructured.SetNestedStringMap(o.Object, values, "data"); err != nil {
		return "", err
	}
	text, err := o.MarshalJSON()
	return string(text), err
}

// kserveWebhooks registers KServe's webhooks by their address on the node: the
// manager does not run in a pod.
func (c *Cluster) kserveWebhooks(ctx context.Context) error {
	data, err := os.ReadFile(filepath.Join(c.at.manifests, "kserve-config", "manifests.yaml"))
	if err != nil {
		return err
	}
	objects, err := decode(string(data))
	if err != nil {
		return err
	}
	for _, o := range objects {
		webhooks, _, err := unstructured.NestedSlice(o.Object, "webhooks")
		if err != nil {
			return err
		}
		for _, webhook := range webhooks {
			w, _ := webhook.(map[string]any)
			path, _, err := unstructured.NestedString(w, "clientConfig", "service", "path")
			if err != nil {
				return err
			}
			w["clientConfig"] = map[string]any{"url": "https://127.0.0.1:9443" + path, "caBundle": base64.StdEncoding.EncodeToString(c.ca.pem)}
		}
		if err := unstructured.SetNestedSlice(o.Object, webhooks, "webhooks"); err != nil {
			return err
		}
		if err := c.apply(ctx, "", o); err != nil {
			return err
		}
	}
	return nil
}

// Gateway is a Gateway of the Gateway API that takes routes of every namespace.
type Gateway struct {
	Class, Namespace, Name string

	HTTP  string // address for the test of its listener "http"
	HTTPS string // address for the test of its listener "https", whose certificate is of *.ml.test
}

// gatewayMetrics is where the gateway counts requests, for Prometheus.
const gatewayMetrics = "127.0.0.1:8100"

//go:embed manifests/gateway.yaml
var gatewayManifest string

// Gateway returns the cluster's gateway, a traefik, which the first call starts. It
// splits traffic by weights, and does not mirror it.
func (c *Cluster) Gateway(t *testing.T) *Gateway {
	t.Helper()
	c.CRDs(t, "gateway")
	return once(t, c, "gateway", c.startGateway)
}

func (c *Cluster) startGateway(ctx context.Context) (*Gateway, error) {
	g := &Gateway{Class: "traefik", Namespace: "ml-test-gateway", Name: "gateway"}
	pair, err := c.ca.issue("gateway", nil, "*.ml.test", "127.0.0.1")
	if err != nil {
		return nil, err
	}
	if err := c.Apply(ctx, g.Namespace, fmt.Sprintf(`{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": %q}}`, g.Namespace),
		fmt.Sprintf(gatewayManifest, g.Namespace, base64.StdEncoding.EncodeToString(pair.Cert), base64.StdEncoding.EncodeToString(pair.Key))); err != nil {
		return nil, err
	}
	day := int64(24 * 60 * 60)
	token, err := c.client.CoreV1().ServiceAccounts(g.Namespace).CreateToken(ctx, "traefik", &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &day}}, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(c.machine.state, "pki", "gateway.token"), []byte(token.Status.Token), 0o600); err != nil {
		return nil, err
	}
	if err := c.machine.start("gateway", nil, c.machine.find("traefik"), "--entrypoints.web.address=127.0.0.1:8000", "--entrypoints.websecure.address=127.0.0.1:8443",
		"--providers.kubernetesgateway=true", "--providers.kubernetesgateway.endpoint=https://"+apiAddress, "--providers.kubernetesgateway.certauthfilepath=/run/pki/ca.crt",
		"--providers.kubernetesgateway.token=/run/pki/gateway.token", "--global.checknewversion=false", "--global.sendanonymoususage=false",
		"--entrypoints.metrics.address="+gatewayMetrics, "--metrics.prometheus.entrypoint=metrics", "--metrics.prometheus.addserviceslabels=true",
		"--metrics.prometheus.buckets=0.05,0.1,0.25,0.5,0.75,1,1.5,2.5,5"); err != nil {
		return nil, err
	}
	gateways := c.dynamic.Resource(schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"}).Namespace(g.Namespace)
	if err := c.machine.poll(ctx, time.Minute, "the gateway to be programmed", func(ctx context.Context) error {
		o, err := gateways.Get(ctx, g.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return Condition(o, "Programmed")
	}); err != nil {
		return nil, err
	}
	for to, address := range map[string]*string{"127.0.0.1:8000": &g.HTTP, "127.0.0.1:8443": &g.HTTPS} {
		at, stop, err := relay(func(ctx context.Context) (io.ReadWriteCloser, error) { return c.machine.dial(ctx, to) })
		if err != nil {
			return nil, err
		}
		c.closers = append(c.closers, stop)
		*address = at
	}
	return g, nil
}
