// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clients_test

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mlplane/terraform-provider-ml/internal/emulator"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/gcs"
)

// newGcloudAI is gcloud pointed at an emulated project whose bucket holds a model.
// Whatever it wants of anywhere but loopback goes to a proxy that counts and hangs up.
func newGcloudAI(t *testing.T) (g *gcloud, strays *atomic.Int32) {
	t.Helper()
	dir := t.TempDir()
	server, err := emulator.Start(emulator.Options{StateDir: dir, Speed: 100})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	objects := filepath.Join(dir, "gcs")
	if err := gcs.EnsureBucket(objects, "models"); err != nil {
		t.Fatal(err)
	}
	if err := gcs.Put(objects, "models", "fraud/model.pkl", strings.NewReader("weights")); err != nil {
		t.Fatal(err)
	}
	proxy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	strays = &atomic.Int32{}
	go func() {
		for {
			c, err := proxy.Accept()
			if err != nil {
				return // closed
			}
			strays.Add(1)
			_ = c.Close()
		}
	}()
	g = newGcloud(t, server.Endpoints())
	outside := "http://" + proxy.Addr().String()
	g.env = append(g.env, "CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM="+server.Endpoints()["vertex_ai"]+"/",
		"HTTP_PROXY="+outside, "HTTPS_PROXY="+outside, "http_proxy="+outside, "https_proxy="+outside, "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1")
	return g, strays
}

// refuses wants a failure with words.
func (g *gcloud) refuses(words, args string) {
	g.t.Helper()
	out, err := g.run(args)
	if err == nil || !strings.Contains(out, words) {
		g.t.Errorf("gcloud %s: %v\n%s\nwant a failure with …%s…", args, err, out, words)
	}
}

// shows wants all of the words in what is printed. Each command takes seconds.
func (g *gcloud) shows(args string, words ...string) {
	g.t.Helper()
	out, err := g.run(args)
	for _, word := range words {
		if err != nil || !strings.Contains(out, word) {
			g.t.Errorf("gcloud %s: %v\n%s\nwant …%s…", args, err, out, word)
		}
	}
}

func TestGcloudAI(t *testing.T) {
	t.Parallel()
	g, strays := newGcloudAI(t)
	const at = " --region=us-central1"
	upload := "ai models upload" + at + " --display-name=fraud --container-image-uri=us-docker.pkg.dev/vertex-ai/prediction/sklearn-cpu.1-5:latest --artifact-uri=gs://models/fraud"
	g.says("", upload+" --model-id=fraud --labels=team=risk --container-ports=8080 --container-env-vars=A=b --container-predict-route=/predict --container-health-route=/health")
	g.says("", upload+" --parent-model=projects/p1/locations/us-central1/models/fraud --version-aliases=golden")
	g.says("fraud", "ai models list"+at)
	g.shows("ai models describe fraud@golden"+at, "containerSpec:", "versionId: '2'", "- golden")
	if t.Failed() {
		return // what follows builds on it
	}
	g.says("", "ai endpoints create"+at+" --display-name=fraud --endpoint-id=fraud --labels=team=risk")
	deploy := "ai endpoints deploy-model fraud" + at + " --display-name=main --machine-type=n1-standard-2"
	g.refuses("is not supported", "ai endpoints deploy-model fraud"+at+" --model=fraud --display-name=main --machine-type=m5-large")
	g.says("", deploy+" --model=fraud@1 --deployed-model-id=77 --traffic-split=0=100")
	g.says("", deploy+" --model=fraud@2 --deployed-model-id=78")
	if t.Failed() {
		return
	}
	g.predictions(at)
	g.refuses("FAILED_PRECONDITION", "ai endpoints undeploy-model fraud"+at+" --deployed-model-id=77")
	g.says("", "ai endpoints update fraud"+at+" --traffic-split=77=10,78=90 --update-labels=stage=test")
	g.shows("ai endpoints describe fraud"+at, "projects/123/locations/us-central1/endpoints/fraud", "modelVersionId: '2'", "'77': 10", "stage: test")
	g.refuses("being-deployed", "ai endpoints delete fraud"+at)
	g.says("", "ai endpoints undeploy-model fraud"+at+" --deployed-model-id=77 --traffic-split=78=100")
	g.says("", "ai endpoints undeploy-model fraud"+at+" --deployed-model-id=78")
	g.says("", "ai endpoints delete fraud"+at)
	g.refuses("NOT_FOUND", "ai endpoints describe fraud"+at)
	g.says("", "ai models delete fraud"+at)
	if n := strays.Load(); n > 0 {
		t.Errorf("gcloud has tried %d times to reach what is not on loopback", n)
	}
}

func (g *gcloud) predictions(at string) {
	g.t.Helper()
	body := filepath.Join(g.t.TempDir(), "request.json")
	f, err := os.Create(body)
	if err == nil {
		_, err = io.Copy(f, bytes.NewReader([]byte(`{"instances": [[1, 2]]}`)))
		_ = f.Close()
	}
	if err != nil {
		g.t.Fatal(err)
	}
	out, err := g.run("ai endpoints predict fraud" + at + " --json-request=" + body + " --format=json")
	for _, want := range []string{`"model": "fraud"`, `"version": "1"`, `"deployment": "main"`} {
		if err != nil || !strings.Contains(out, want) {
			g.t.Errorf("a prediction answers %v\n%s\nwant …%s…", err, out, want)
		}
	}
	g.says(`"inputs"`, "ai endpoints raw-predict fraud"+at+` --request={"inputs":[1]}`)
}
