// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package cluster_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
	"github.com/mlplane/terraform-provider-ml/tests/cluster/kube"
	"github.com/mlplane/terraform-provider-ml/tests/scenarios"
)

// TestInvokers: an endpoint with the default auth answers those whom the configuration
// names, and a role that is bound to its invoke_policy, and nobody else.
func TestInvokers(t *testing.T) {
	t.Parallel()
	c := kube.Use(t)
	p := open(t, c, modes["deployment"])
	for _, name := range []string{"named", "granted", "stranger"} {
		if err := c.Apply(t.Context(), p.Namespace, fmt.Sprintf("{apiVersion: v1, kind: ServiceAccount, metadata: {name: %s}}", name)); err != nil {
			t.Fatal(err)
		}
	}
	config := p.Provider() + p.Model(t, 1) + scenarios.Endpoint(scenarios.Small, fmt.Sprintf(`auth = { invokers = ["system:serviceaccount:%s:named"] }`, p.Namespace))
	acctest.Run(t, resource.TestStep{Config: config, Check: func(s *terraform.State) error {
		bind(t, c, p.Namespace, s.RootModule().Resources["ml_endpoint.fraud"].Primary.Attributes["invoke_policy"], "granted")
		url, audience := secured(t, c, p.Namespace, "fraud"), "fraud."+p.Namespace
		ask(t, url, "", "401", "nobody")
		ask(t, url, "nonsense", "401", "no token")
		ask(t, url, token(t, c, p.Namespace, "stranger", audience), "403", "somebody without the permission")
		ask(t, url, token(t, c, p.Namespace, "named", "other."+p.Namespace), "401", "a token for another endpoint")
		ask(t, url, token(t, c, p.Namespace, "named", audience), "", "an invoker")
		granted := token(t, c, p.Namespace, "granted", audience)
		kube.Eventually(t, time.Minute, "the grant to be known", func(ctx context.Context) error {
			_, err := predict(ctx, client(), url, "Authorization", "Bearer "+granted)
			return err
		})
		return nil
	}})
}

// bind gives an endpoint's invoke_policy to a service account, under a name of its own.
func bind(t *testing.T, c *kube.Cluster, ns, policy, account string) {
	t.Helper()
	var role map[string]any
	if err := json.Unmarshal([]byte(policy), &role); err != nil {
		t.Fatalf("invoke_policy is %q: %v", policy, err)
	}
	role["metadata"] = map[string]any{"namespace": ns, "name": "granted"}
	data, err := json.Marshal(role)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Apply(t.Context(), ns, string(data), fmt.Sprintf(`
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: granted}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: granted}
subjects: [{kind: ServiceAccount, name: %s, namespace: %s}]
`, account, ns)); err != nil {
		t.Fatal(err)
	}
}

// TestTokensOfAnIssuer: an endpoint with auth.oidc answers those whom the issuer vouches
// for, with the claim that the configuration asks for.
func TestTokensOfAnIssuer(t *testing.T) {
	t.Parallel()
	c := kube.Use(t)
	if !c.Own() {
		t.Skip("not installed: an image of kube-rbac-proxy that trusts the tests' issuer")
	}
	issuer := c.Issuer(t)
	p := open(t, c, modes["deployment"])
	config := p.Provider() + p.Model(t, 1) + scenarios.Endpoint(scenarios.Small,
		fmt.Sprintf(`auth = { mode = "oidc", oidc = { issuer = %q, audiences = ["fraud"], claims = { groups = "scorers" } } }`, issuer.URL))
	acctest.Run(t, resource.TestStep{Config: config, Check: func(*terraform.State) error {
		url := secured(t, c, p.Namespace, "fraud")
		good := issuer.Token(t, map[string]any{"sub": "ada", "aud": "fraud", "groups": []string{"scorers"}})
		kube.Eventually(t, time.Minute, "the proxy to know the issuer", func(ctx context.Context) error {
			_, err := predict(ctx, client(), url, "Authorization", "Bearer "+good)
			return err
		})
		ask(t, url, "", "401", "nobody")
		ask(t, url, issuer.Token(t, map[string]any{"sub": "ada", "aud": "other", "groups": []string{"scorers"}}), "401", "a token for another audience")
		ask(t, url, issuer.Token(t, map[string]any{"sub": "bob", "aud": "fraud"}), "403", "somebody without the claim")
		return nil
	}})
}

// TestClientCertificates: an endpoint with its own certificate shows it, and with auth.mode
// "mtls" answers those whose certificate names an invoker.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	c := kube.Use(t)
	p := open(t, c, modes["deployment"])
	server, err := c.Issue("fraud", nil, "fraud.example.com")
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": map[string]any{"name": "certificate"},
		"stringData": map[string]string{"tls.crt": string(server.Cert), "tls.key": string(server.Key), "ca.crt": string(c.CA())}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Apply(t.Context(), p.Namespace, string(data)); err != nil {
		t.Fatal(err)
	}
	config := p.Provider() + p.Model(t, 1) + scenarios.Endpoint(scenarios.Small, `auth = { mode = "mtls", invokers = ["user:ada"] }`, `encryption = { tls = { secret_name = "certificate", min_version = "1.3" } }`)
	acctest.Run(t, resource.TestStep{Config: config, Check: func(*terraform.State) error {
		url := secured(t, c, p.Namespace, "fraud")
		for name, want := range map[string]string{"ada": "", "bob": "403", "": "401"} {
			p, err := predict(t.Context(), certified(t, c, name), url)
			switch {
			case want == "" && err != nil:
				t.Errorf("%s: %v", name, err)
			case want == "":
				if err := p.check(scoreV1); err != nil {
					t.Error(err)
				}
			case err == nil || !strings.HasPrefix(err.Error(), want):
				t.Errorf("%q: got %v, want %s", name, err, want)
			}
		}
		old := certified(t, c, "ada")
		old.Transport.(*http.Transport).TLSClientConfig.MaxVersion = tls.VersionTLS12
		if _, err := predict(t.Context(), old, url); err == nil {
			t.Error("a version of TLS that is too old is spoken")
		}
		return nil
	}})
}

// certified is a client with a certificate of that name, which trusts the endpoint's.
func certified(t *testing.T, c *kube.Cluster, name string) *http.Client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.CA())
	config := &tls.Config{RootCAs: roots, ServerName: "fraud.example.com", MinVersion: tls.VersionTLS12}
	if name != "" {
		pair, err := c.Issue(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		certificate, err := tls.X509KeyPair(pair.Cert, pair.Key)
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
}

// TestNetworkPolicy: the policy lets in whom the configuration allows, at the ports of
// callers.
func TestNetworkPolicy(t *testing.T) {
	t.Parallel()
	c := kube.Use(t)
	p := open(t, c, modes["deployment"])
	config := p.Provider() + p.Model(t, 1) + scenarios.Endpoint(scenarios.Small, scenarios.Open, `network = { access = "private", allowed_namespaces = ["callers"] }`)
	acctest.Run(t, resource.TestStep{Config: config, Check: func(*terraform.State) error {
		policy, err := c.Client().NetworkingV1().NetworkPolicies(p.Namespace).Get(t.Context(), "fraud", metav1.GetOptions{})
		if err != nil {
			return err
		}
		spec, err := json.Marshal(policy.Spec)
		if err != nil {
			return err
		}
		for _, part := range []string{`"podSelector":{"matchLabels":{"ml.terraform.io/endpoint":"fraud"}}`, `"values":["callers","` + p.Namespace + `"]`, `"policyTypes":["Ingress"]`, `"port":"serving"`} {
			if !bytes.Contains(spec, []byte(part)) {
				t.Errorf("the policy lacks %s: %s", part, spec)
			}
		}
		return nil
	}})
}
