// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package cluster_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/mlplane/terraform-provider-ml/tests/cluster/kube"
	"github.com/mlplane/terraform-provider-ml/tests/scenarios"
)

// mode is one way to serve.
type mode struct {
	serving string
	gateway bool
}

var modes = map[string]mode{"deployment": {"deployment", false}, "kserve": {"kserve", false}, "gateway": {"deployment", true}}

func inEachMode(t *testing.T, do func(t *testing.T, name string, m mode)) {
	t.Helper()
	for name, m := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			do(t, name, m)
		})
	}
}

// bucket is where the provider stages artifacts.
const bucket = "artifacts"

// open makes an empty namespace of the real cluster, as users of the provider have it.
func open(t *testing.T, c *kube.Cluster, m mode) *scenarios.Platform {
	t.Helper()
	if m.serving == "kserve" {
		c.KServe(t)
	}
	front := ""
	if m.gateway {
		g := c.Gateway(t)
		front = fmt.Sprintf("gateway = { name = %q, namespace = %q, hostname = \"ml.test\" }", g.Name, g.Namespace)
	}
	store := staging(t, c)
	ns := c.Namespace(t)
	if err := c.Apply(t.Context(), ns, store.Secret("store")); err != nil {
		t.Fatal(err)
	}
	kubeconfig := permitted(t, c, ns)
	return &scenarios.Platform{
		REST: c.REST(), Namespace: ns, Serving: m.serving, Image: c.Image(kube.ModelServer), Gateway: m.gateway,
		Provider: func(more ...string) string {
			return fmt.Sprintf("provider \"ml\" {\n  kubernetes = {\n config_path = %q\n namespace = %q\n serving = %q\n staging_uri = \"s3://%s/models\"\n storage_secret = \"store\"\n"+
				" images = { fetch = %q, auth = %q }\n %s\n }\n%s\n}\n", kubeconfig, ns, m.serving, bucket, c.Image(kube.Fetch), c.Image(kube.Proxy), front, strings.Join(more, "\n"))
		},
		Crash: func(reason string) scenarios.Fault {
			return scenarios.Fault{Config: fmt.Sprintf("env = { FAIL = %q }\n", reason)}
		},
		Stall: scenarios.Fault{Config: "env = { UNREADY = \"1\" }\n"},
	}
}

// permitted is the kubeconfig of somebody who may do in the namespace what the guide says
// Terraform needs, and nothing else.
func permitted(t *testing.T, c *kube.Cluster, ns string) string {
	t.Helper()
	permissions, err := os.ReadFile(filepath.Join("..", "..", "examples", "kubernetes", "permissions.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	const user = "terraform"
	const binding = "apiVersion: rbac.authorization.k8s.io/v1\nkind: %[1]sBinding\nmetadata: {name: ml-terraform}\n" +
		"roleRef: {apiGroup: rbac.authorization.k8s.io, kind: %[1]s, name: ml-terraform}\nsubjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: " + user + "}]\n"
	if err := c.Apply(t.Context(), ns, string(permissions), fmt.Sprintf(binding, "Role"), fmt.Sprintf(binding, "ClusterRole")); err != nil {
		t.Fatal(err)
	}
	return c.As(t, user)
}

var once sync.Once

// staging points this process at the object store, as a user's environment does.
func staging(t *testing.T, c *kube.Cluster) *kube.ObjectStore {
	t.Helper()
	store := c.ObjectStore(t)
	once.Do(func() {
		store.Put(t, bucket, "made", nil)
		for name, value := range store.Env() {
			if name == "AWS_ENDPOINT_URL" {
				value = store.HostURL
			}
			if err := os.Setenv(name, value); err != nil { //nolint:usetesting // for all tests, which run side by side
				t.Fatal(err)
			}
		}
	})
	return store
}

// TestModels takes the scenarios of models to the real cluster.
func TestModels(t *testing.T) {
	t.Parallel()
	c := kube.Use(t)
	scenarios.Models(t, func(t *testing.T) *scenarios.Platform {
		t.Helper()
		return open(t, c, modes["deployment"])
	})
}

// TestEndpoints takes the scenarios of endpoints to the real cluster: plain, with
// KServe, and behind a gateway.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	c := kube.Use(t)
	inEachMode(t, func(t *testing.T, _ string, m mode) {
		t.Helper()
		scenarios.Endpoints(t, func(t *testing.T) *scenarios.Platform {
			t.Helper()
			return open(t, c, m)
		})
	})
}
