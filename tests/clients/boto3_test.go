// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clients_test

import (
	"os/exec"
	"path/filepath"
	"testing"
)

func TestBoto3(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("not installed: python3")
	}
	url, env := serve(t, 0.5) // slow enough to see endpoints being made, also on a busy machine
	found := exec.CommandContext(t.Context(), python, "-c", "import boto3")
	found.Env = env
	if found.Run() != nil {
		t.Skip("not installed: boto3")
	}
	cmd := exec.CommandContext(t.Context(), python, filepath.Join("testdata", "life.py"), url, artifact(t)) // our own script
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
