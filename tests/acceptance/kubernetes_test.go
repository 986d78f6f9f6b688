// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package acceptance_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/tests/kubetest"
	"github.com/mlplane/terraform-provider-ml/tests/scenarios"
)

// cluster is an emulated cluster of one test.
func cluster(t *testing.T, serving string, gateway bool) *scenarios.Platform {
	t.Helper()
	r := acctest.NewRehearsal(t)
	front := ""
	if gateway {
		front = `gateway = { name = "shared", namespace = "infra", hostname = "models.example.com" }`
	}
	failing := func(mode, reason string) scenarios.Fault {
		return scenarios.Fault{Arm: func(t *testing.T) {
			t.Helper()
			r.Fail(t, kubetest.NextWorkloadFails(mode, reason)...)
		}}
	}
	stall := failing("unready", "")
	unready := stall.Arm
	stall.Arm = func(t *testing.T) {
		t.Helper()
		unready(t)
		// So slow that the Deployment's own deadline is not the first to pass.
		if err := os.WriteFile(filepath.Join(r.Dir, "rehearsal.json"), []byte(`{"speed": 0.05}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &scenarios.Platform{REST: r.Kubernetes(t, "ml"), Namespace: "ml", Serving: serving, Image: "registry.example.com/modelserver:1", Gateway: gateway, Extended: gateway,
		Provider: func(more ...string) string {
			return fmt.Sprintf("provider \"ml\" {\n  kubernetes = {\n namespace = \"ml\"\n serving = %q\n %s\n }\n  rehearsal = { state_dir = %q }\n%s\n}\n", serving, front, r.Dir, strings.Join(more, "\n"))
		},
		Crash: func(reason string) scenarios.Fault { return failing("", reason) }, Stall: stall}
}

func TestKubernetesEndpoints(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		serving string
		gateway bool
	}{"deployment": {"deployment", false}, "kserve": {"kserve", false}, "gateway": {"deployment", true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scenarios.Endpoints(t, func(t *testing.T) *scenarios.Platform {
				t.Helper()
				return cluster(t, c.serving, c.gateway)
			})
		})
	}
}

func TestKubernetesModels(t *testing.T) {
	t.Parallel()
	scenarios.Models(t, func(t *testing.T) *scenarios.Platform {
		t.Helper()
		return cluster(t, "deployment", false)
	})
}

const onCluster = `resource "ml_model" "fraud" {
  platform = "kubernetes"
  name     = "fraud"
  artifact = { uri = %q, format = "onnx" }
}
resource "ml_endpoint" "fraud" {
  platform    = "kubernetes"
  name        = "fraud"
  deployments = { main = { model = ml_model.fraud.version_id, compute = { cpu = 1, memory_gib = 2 } } }
  %s
}
`

// rehearsed is a rehearsal with a cluster that lacks API groups, and the
// configuration of a provider.
func rehearsed(t *testing.T, cluster string, missing ...string) (*acctest.Rehearsal, string) {
	t.Helper()
	dir := t.TempDir()
	about, err := json.Marshal(map[string]any{"missing": missing})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "kubernetes.json"), about, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return acctest.OpenRehearsal(t, dir), fmt.Sprintf("provider \"ml\" {\n  kubernetes = {\n namespace = \"ml\"\n %s\n }\n  rehearsal = { state_dir = %q }\n}\n", cluster, dir)
}

// TestClusterIsBusy goes on when the API server is busy or loses an answer.
func TestClusterIsBusy(t *testing.T) {
	t.Parallel()
	r, provider := rehearsed(t, "")
	r.Fail(t,
		fault.Fault{Call: "kubernetes.create configmaps", Occurrence: 1, Action: fault.Error, Code: "TooManyRequests", Message: "please try again later", Status: 429},
		fault.Fault{Call: "kubernetes.patch services", Occurrence: 1, Action: fault.Error, Code: "InternalError", Message: "etcdserver: leader changed", Status: 500},
		fault.Fault{Call: "kubernetes.patch deployments", Occurrence: 1, Action: fault.LostAnswer})
	run(t, resource.TestStep{Config: provider + fmt.Sprintf(onCluster, acctest.Model(t, "one"), "")})
}

// TestClusterDenies says what was refused to whom, with the request's id.
func TestClusterDenies(t *testing.T) {
	t.Parallel()
	r, provider := rehearsed(t, "")
	const refusal = `deployments.apps "fraud" is forbidden: User "ci" cannot patch resource "deployments" in API group "apps" in the namespace "ml"`
	r.Fail(t, fault.Fault{Call: "kubernetes.patch deployments", Action: fault.Error, Code: "Forbidden", Status: 403, Message: refusal})
	run(t, resource.TestStep{Config: provider + fmt.Sprintf(onCluster, acctest.Model(t, "one"), ""), ExpectError: pattern(refusal, "request id")})
}

// TestClusterLacks names at plan what would have to be installed.
func TestClusterLacks(t *testing.T) {
	t.Parallel()
	const gateway = `gateway = { name = "shared", namespace = "infra" }`
	for group, c := range map[string]struct{ provider, endpoint, at, says string }{
		"serving.kserve.io":         {`serving = "kserve"`, "", "kubernetes.serving", "KServe"},
		"gateway.networking.k8s.io": {gateway, "", "network.access", "Gateway API"},
		"gateway.envoyproxy.io":     {gateway, `auth = { mode = "key" }`, "auth.mode", "Envoy Gateway"},
		"cert-manager.io":           {"", `encryption = { tls = { issuer = "internal" } }`, "encryption.tls.issuer", "cert-manager"},
	} {
		t.Run(group, func(t *testing.T) {
			t.Parallel()
			r, provider := rehearsed(t, c.provider, group)
			run(t, resource.TestStep{Config: provider + fmt.Sprintf(onCluster, acctest.Model(t, "one"), c.endpoint), PlanOnly: true, ExpectError: pattern(c.at, c.says)})
			if calls := acctest.Mutations(r.Calls(t)); len(calls) > 0 {
				t.Errorf("the plan changed something: %v", calls)
			}
		})
	}
}

// TestClusterSecretsStaySecret looks for the cluster's token, and for keys of callers that
// only the cluster knows, where they must not be.
func TestClusterSecretsStaySecret(t *testing.T) {
	r := acctest.NewRehearsal(t)
	cluster := r.Kubernetes(t, "ml")
	client, err := kubernetes.NewForConfig(cluster)
	if err != nil {
		t.Fatal(err)
	}
	r.Gateway(t, "infra", "shared")
	if _, err := r.S3().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("ml-rehearsal-staging")}); err != nil {
		t.Fatal(err)
	}
	const token = "eyJhbGciOiJSUzI1NiJ9.clusterTOKEN"
	for name, value := range map[string]string{"AWS_ENDPOINT_URL": r.S3Address(), "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "TF_LOG_PROVIDER_ML": "TRACE"} {
		t.Setenv(name, value)
	}
	logged := logs(t)
	provider := fmt.Sprintf("provider \"ml\" {\n  kubernetes = {\n host = %q\n token = %q\n namespace = \"ml\"\n staging_uri = \"s3://ml-rehearsal-staging/models\"\n"+
		" gateway = { name = \"shared\", namespace = \"infra\" }\n }\n}\n", cluster.Host, token)
	run(t, resource.TestStep{
		Config: provider + fmt.Sprintf(onCluster, acctest.Model(t, "one"), `auth = { mode = "key", invokers = ["web", "batch"] }`),
		Check: func(s *terraform.State) error {
			state, err := json.Marshal(s)
			if err != nil {
				return err
			}
			keys, err := client.CoreV1().Secrets("ml").Get(t.Context(), "fraud-keys", metav1.GetOptions{})
			if err != nil || len(keys.Data) != 2 {
				return fmt.Errorf("%d callers have a key, want 2: %w", len(keys.Data), err)
			}
			log, err := logged()
			if err != nil {
				return err
			}
			if !strings.Contains(log, "/namespaces/ml/deployments/") {
				return errors.New("the log does not tell the calls, so it proves nothing")
			}
			secrets := []string{token}
			for _, key := range keys.Data {
				secrets = append(secrets, string(key), base64.StdEncoding.EncodeToString(key))
			}
			for where, content := range map[string]string{"state": string(state), "log": log} {
				for i, secret := range secrets {
					if strings.Contains(content, secret) {
						t.Errorf("the %s holds secret %d", where, i)
					}
				}
			}
			return nil
		}})
}
