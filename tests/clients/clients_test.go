// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package clients_test drives the emulators with other people's clients: what only
// our own driver understands would prove nothing.
package clients_test

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"testing"

	"github.com/mlplane/terraform-provider-ml/internal/emulator"
)

const role = "arn:aws:iam::123456789012:role/serving"

// serve starts an emulated account whose transitions take 5 minutes/300/speed,
// and returns its address and the whole environment of a client.
func serve(t *testing.T, speed float64) (url string, env []string) {
	t.Helper()
	server, err := emulator.Start(emulator.Options{StateDir: t.TempDir(), Speed: speed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	url = server.Endpoints()["sagemaker"]
	none := filepath.Join(t.TempDir(), "none")
	// Nothing of the machine's own account reaches the client.
	env = []string{"AWS_ENDPOINT_URL=" + url, "AWS_REGION=eu-west-1", "AWS_DEFAULT_REGION=eu-west-1", "AWS_ACCESS_KEY_ID=rehearsal", "AWS_SECRET_ACCESS_KEY=rehearsal",
		"AWS_CONFIG_FILE=" + none, "AWS_SHARED_CREDENTIALS_FILE=" + none, "AWS_EC2_METADATA_DISABLED=true", "AWS_MAX_ATTEMPTS=1", "AWS_PAGER=", "AWS_DEFAULT_OUTPUT=json"}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "LANG"} {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return url, env
}

// artifact is a file that clients upload in parts: more than 8 MiB.
func artifact(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "model.tar.gz")
	data := make([]byte, 9<<20)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
