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

// gcloud is Google's command line, pointed at the emulated services.
type gcloud struct {
	t   *testing.T
	bin string
	env []string
}

// newGcloud is the tool with none of the machine's own configuration.
func newGcloud(t *testing.T, endpoints map[string]string) *gcloud {
	t.Helper()
	bin, err := exec.LookPath("gcloud")
	if err != nil {
		t.Skip("not installed: gcloud")
	}
	env := []string{"CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE=" + endpoints["gcs"] + "/storage/v1/",
		"CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true", "CLOUDSDK_CONFIG=" + t.TempDir(), "CLOUDSDK_CORE_PROJECT=p1", "CLOUDSDK_CORE_DISABLE_PROMPTS=1",
		"CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK=true", "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING=true", "CLOUDSDK_STORAGE_PROCESS_COUNT=1"}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "LANG"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return &gcloud{t, bin, env}
}

// run gives the words of args and returns what is printed.
func (g *gcloud) run(args string) (string, error) {
	cmd := exec.CommandContext(g.t.Context(), g.bin, strings.Fields(args)...) // the tool under test
	cmd.Env = g.env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// says wants words in what is printed.
func (g *gcloud) says(words, args string) {
	g.t.Helper()
	out, err := g.run(args)
	if err != nil || !strings.Contains(out, words) {
		g.t.Errorf("gcloud %s: %v\n%s\nwant …%s…", args, err, out, words)
	}
}

func TestGcloudStorage(t *testing.T) {
	t.Parallel()
	server, err := emulator.Start(emulator.Options{StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	g := newGcloud(t, server.Endpoints())
	dir := t.TempDir()
	big := artifact(t)
	for name, content := range map[string]string{"MLmodel": "flavors: {}\n", "data/model.xgb": "trees"} {
		name = filepath.Join(dir, "model", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	g.says("", "storage buckets create gs://models --location=europe-west4")
	g.says("EUROPE-WEST4", "storage buckets describe gs://models")
	g.says("", "storage cp "+big+" gs://models/big/")
	g.says("", "storage cp --recursive "+filepath.Join(dir, "model")+" gs://models/fraud")
	g.says("gs://models/fraud/", "storage ls gs://models")
	g.says("gs://models/fraud/data/model.xgb", "storage ls --recursive gs://models/fraud")
	g.says("trees", "storage cat gs://models/fraud/data/model.xgb")
	g.says("", "storage cp gs://models/big/model.tar.gz "+filepath.Join(dir, "again"))
	want, err := os.ReadFile(big)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "again")); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the large object comes back as %d bytes, %v", len(got), err)
	}
	g.says("", "storage cp gs://models/fraud/MLmodel gs://models/copy")
	g.says("flavors", "storage cat gs://models/copy")
	g.says("", "storage rm --recursive gs://models/fraud")
	if out, err := g.run("storage ls gs://models/fraud/"); err == nil || !strings.Contains(out, "matched no objects") {
		t.Errorf("what is removed: %v\n%s", err, out)
	}
	g.says("", "storage rm --recursive gs://models")
}
