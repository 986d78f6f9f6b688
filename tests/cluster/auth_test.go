// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package cluster_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mlplane/terraform-provider-ml/tests/cluster/kube"
)

// guarded is a model behind kube-rbac-proxy, which asks for endpoints/invoke of
// fraud, and may ask the API server who somebody is. Its arguments follow.
func guarded(t *testing.T, c *kube.Cluster, ns, name string, args ...string) string {
	t.Helper()
	all := append([]string{
		"--secure-listen-address=0.0.0.0:8443", "--upstream=http://127.0.0.1:8080/", "--config-file=/etc/proxy/config.yaml", "--ignore-paths=/v2/health/*", "--v=2",
	}, args...)
	manifest := server{name: name, version: "1", replicas: 1, more: fmt.Sprintf(`
      - name: auth
        image: %s
        imagePullPolicy: IfNotPresent
        args: ["%s"]
        ports: [{name: guarded, containerPort: 8443, protocol: TCP}]
        readinessProbe: {httpGet: {path: /v2/health/ready, port: guarded, scheme: HTTPS}, periodSeconds: 1, timeoutSeconds: 5}
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
        volumeMounts: [{name: proxy, mountPath: /etc/proxy, readOnly: true}]
`, c.Image(kube.Proxy), strings.Join(all, `", "`))}.manifest(t, c)
	manifest = strings.Replace(manifest, "volumes: [", fmt.Sprintf("serviceAccountName: %s\n      volumes: [{name: proxy, configMap: {name: %s-proxy}}, ", name, name), 1)
	manifest = strings.Replace(manifest, "automountServiceAccountToken: false", "automountServiceAccountToken: true", 1)
	manifest = strings.Replace(manifest, "port: 80, targetPort: serving", "port: 443, targetPort: guarded", 1)
	return manifest + fmt.Sprintf(`
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: %[1]s}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: %[1]s-proxy}
data:
  ca.crt: %[3]q
  config.yaml: |
    authorization:
      resourceAttributes: {namespace: %[2]s, apiGroup: ml.terraform.io, apiVersion: v1, resource: endpoints, subresource: invoke, name: fraud}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: %[2]s-%[1]s}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:auth-delegator"}
subjects: [{kind: ServiceAccount, name: %[1]s, namespace: %[2]s}]
`, name, ns, c.CA())
}

// invokers may invoke fraud.
const invokers = `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: invoke-fraud}
rules: [{apiGroups: [ml.terraform.io], resources: [endpoints/invoke], resourceNames: [fraud], verbs: [create, get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: invoke-fraud}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: invoke-fraud}
subjects: [%s]
`

// ask asks a guarded model with a token, and wants an answer that begins so; "" is a
// prediction.
func ask(t *testing.T, url, token, want, why string) {
	t.Helper()
	header := []string{}
	if token != "" {
		header = append(header, "Authorization", "Bearer "+token)
	}
	p, err := predict(t.Context(), client(), url, header...)
	switch {
	case want == "" && err != nil:
		t.Errorf("%s: %v", why, err)
	case want == "":
		if err := p.check(scoreV1); err != nil {
			t.Errorf("%s: %v", why, err)
		}
	case err == nil || !strings.HasPrefix(err.Error(), want):
		t.Errorf("%s: got %v, want %s", why, err, want)
	}
}

// TestClusterIdentities guards a model by identities of the cluster: the token is
// reviewed, for its audience, and the permission is an ordinary Role.
func TestClusterIdentities(t *testing.T) {
	t.Parallel()
	c := kube.Use(t)
	ns := c.Namespace(t)
	audience := "fraud." + ns
	err := c.Apply(t.Context(), ns, guarded(t, c, ns, "fraud", "--auth-token-audiences="+audience),
		"{apiVersion: v1, kind: ServiceAccount, metadata: {name: granted}}", "{apiVersion: v1, kind: ServiceAccount, metadata: {name: stranger}}",
		fmt.Sprintf(invokers, "{kind: ServiceAccount, name: granted, namespace: "+ns+"}"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Rollout(t.Context(), ns, "fraud"); err != nil {
		t.Fatal(err)
	}
	url := secured(t, c, ns, "fraud")
	ask(t, url, "", "401", "nobody")
	ask(t, url, "nonsense", "401", "no token")
	ask(t, url, token(t, c, ns, "stranger", audience), "403", "somebody without the permission")
	ask(t, url, token(t, c, ns, "granted", "other."+ns), "401", "a token for another endpoint")
	ask(t, url, token(t, c, ns, "granted", audience), "", "somebody with the permission")
}

// TestIssuer guards a model by tokens of an OpenID Connect issuer, whose certificate
// the proxy's image trusts.
func TestIssuer(t *testing.T) {
	t.Parallel()
	c := kube.Use(t)
	issuer := c.Issuer(t)
	ns := c.Namespace(t)
	args := []string{"--oidc-issuer=" + issuer.URL, "--oidc-clientID=fraud", "--oidc-groups-claim=groups", "--oidc-username-claim=sub"}
	if !c.Own() { // whose images trust the issuer by themselves
		args = append(args, "--oidc-ca-file=/etc/proxy/ca.crt")
	}
	err := c.Apply(t.Context(), ns, guarded(t, c, ns, "fraud", args...),
		fmt.Sprintf(invokers, "{kind: Group, name: scorers, apiGroup: rbac.authorization.k8s.io}"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Rollout(t.Context(), ns, "fraud"); err != nil {
		t.Fatal(err)
	}
	url := secured(t, c, ns, "fraud")
	good := issuer.Token(t, map[string]any{"sub": "ada", "aud": "fraud", "groups": []string{"scorers"}})
	// The proxy learns the issuer's keys a moment after it has started.
	kube.Eventually(t, time.Minute, "the proxy to know the issuer", func(ctx context.Context) error {
		_, err := predict(ctx, client(), url, "Authorization", "Bearer "+good)
		return err
	})
	ask(t, url, good, "", "a member of the group")
	ask(t, url, "", "401", "nobody")
	ask(t, url, issuer.Token(t, map[string]any{"sub": "ada", "aud": "other", "groups": []string{"scorers"}}), "401", "a token for another audience")
	ask(t, url, issuer.Token(t, map[string]any{"sub": "bob", "aud": "fraud"}), "403", "somebody outside the group")
	ask(t, url, issuer.Token(t, map[string]any{"sub": "ada", "aud": "fraud", "groups": []string{"scorers"}, "exp": 1}), "401", "a token of yesterday")
}

func secured(t *testing.T, c *kube.Cluster, ns, name string) string {
	t.Helper()
	return strings.Replace(c.URL(t, ns, "service/"+name, 443), "http://", "https://", 1) + "/v2/models/fraud/infer"
}

func token(t *testing.T, c *kube.Cluster, ns, account, audience string) string {
	t.Helper()
	made, err := c.Client().CoreV1().ServiceAccounts(ns).CreateToken(t.Context(), account, &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return made.Status.Token
}
