// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clients_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mlplane/terraform-provider-ml/internal/emulator"
)

// kubectl is the official command line, pointed at an emulated cluster.
type kubectl struct {
	t   *testing.T
	bin string
	env []string
}

// run gives the words of args and a manifest on standard input, and returns what is
// printed.
func (k *kubectl) run(manifest, args string) (string, error) {
	cmd := exec.CommandContext(k.t.Context(), k.bin, strings.Fields(args)...) // the tool under test
	cmd.Env, cmd.Stdin = k.env, strings.NewReader(manifest)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// says wants words in what is printed.
func (k *kubectl) says(words, manifest, args string) {
	k.t.Helper()
	out, err := k.run(manifest, args)
	if err != nil || !strings.Contains(out, words) {
		k.t.Errorf("kubectl %s: %v\n%s\nwant …%s…", args, err, out, words)
	}
}

// refused wants the server's words.
func (k *kubectl) refused(words, manifest, args string) {
	k.t.Helper()
	out, err := k.run(manifest, args)
	if err == nil || !strings.Contains(out, words) {
		k.t.Errorf("kubectl %s: %v\n%s\nwant a refusal: …%s…", args, err, out, words)
	}
}

const web = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: ml}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: server, image: "server:1", ports: [{name: serving, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: ml}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: serving}]}
`

func TestKubectl(t *testing.T) {
	t.Parallel()
	bin, err := exec.LookPath("kubectl")
	if err != nil {
		t.Skip("not installed: kubectl")
	}
	dir := t.TempDir()
	server, err := emulator.Start(emulator.Options{StateDir: dir, Speed: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	config := filepath.Join(dir, "kubeconfig")
	text := "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: '" + server.Endpoints()["kubernetes"] + "'}}]\ncontexts: [{name: c, context: {cluster: c}}]\ncurrent-context: c\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	k := &kubectl{t, bin, []string{"KUBECONFIG=" + config, "HOME=" + dir, "PATH=" + os.Getenv("PATH")}}
	for _, phase := range []func(){k.makes, k.shows, k.changes, k.isRefused, k.removes} {
		if phase(); t.Failed() {
			return // what follows builds on it
		}
	}
}

func (k *kubectl) makes() {
	k.says("v1.34.4", "", "version")
	k.says("namespace/ml created", "", "create namespace ml")
	k.says("deployment.apps/web serverside-applied", web, "apply --server-side -f -")
	k.says("successfully rolled out", "", "-n ml rollout status deployment/web --timeout=60s")
	k.says("configmap/settings created", "", "-n ml create configmap settings --from-literal=a=b")
	k.says("secret/keys created", "", "-n ml create secret generic keys --from-literal=a=b")
}

func (k *kubectl) shows() {
	k.says("2/2", "", "-n ml get deployments")
	k.says("Running", "", "get pods --all-namespaces -o wide")
	k.says("MinimumReplicasAvailable", "", "-n ml describe deployment web")
	k.says("10.244.", "", "-n ml describe service web")
	k.says("SuccessfulCreate", "", "-n ml get events")
	k.says("ready to serve", "", "-n ml logs deployment/web --tail=1")
	k.says("httproutes", "", "api-resources --api-group=gateway.networking.k8s.io")
	k.says("httproutes.gateway.networking.k8s.io", "", "get crds")
	k.says("nvidia.com/gpu", "", "describe node gpu-1")
	k.says("cpu-1", "", "top nodes")
	k.says("yes", "", "auth can-i create deployments -n ml")
	k.says(`"ready":true`, "", "get --raw /api/v1/namespaces/ml/services/http:web:80/proxy/v2/health/ready")
}

func (k *kubectl) changes() {
	k.says("scaled", "", "-n ml scale deployment web --replicas=3")
	k.says("condition met", "", "-n ml wait deployment/web --for=jsonpath={.status.availableReplicas}=3 --timeout=60s")
	k.says("image updated", "", "-n ml set image deployment/web server=server:2")
	k.says("successfully rolled out", "", "-n ml rollout status deployment/web --timeout=60s")
	k.says("REVISION", "", "-n ml rollout history deployment/web")
	k.says("labeled", "", "-n ml label configmap settings team=risk")
	k.says("settings", "", "-n ml get configmaps -l team=risk")
	k.says("patched", "", `-n ml patch configmap settings --type=merge -p {"data":{"a":"c"}}`)
	k.says("created", strings.ReplaceAll(web, "name: web", "name: plain"), "apply -f -")
	k.says("configured", strings.ReplaceAll(strings.ReplaceAll(web, "name: web", "name: plain"), "replicas: 2", "replicas: 1"), "apply -f -")
}

func (k *kubectl) isRefused() {
	k.refused(`conflicts with "kubectl" with subresource "scale" using apps/v1:`, strings.Replace(web, "replicas: 2", "replicas: 5", 1), "apply --server-side -f -")
	k.refused(`unknown field "spec.template.spec.containers[0].imagine"`, strings.ReplaceAll(strings.Replace(web, `image: "server:1"`, `image: "server:1", imagine: x`, 1), "name: web", "name: other"), "apply -f -")
	k.refused("field not declared in schema", strings.Replace(web, `image: "server:1"`, `image: "server:1", imagine: x`, 1), "apply --server-side --force-conflicts --validate=false -f -")
	k.refused("AlreadyExists", "", "create namespace ml")
	k.refused(`deployments.apps "none" not found`, "", "-n ml get deployment none")
	k.refused("doesn't have a resource type", "", "get nothings")
}

func (k *kubectl) removes() {
	k.says(`deployment.apps "web" deleted`, "", "-n ml delete deployment web --cascade=foreground --timeout=60s")
	k.refused("not found", "", "-n ml get deployment web")
	k.says(`namespace "ml" deleted`, "", "delete namespace ml --timeout=60s")
}
