// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/hashicorp/go-version"
	"github.com/hashicorp/hc-install/fs"
	"github.com/hashicorp/hc-install/product"
	"github.com/hashicorp/hc-install/releases"
	"github.com/hashicorp/hc-install/src"

	install "github.com/hashicorp/hc-install"
)

// terraform runs the real terraform in a directory, with our provider.
type terraform struct {
	binary, dir string
	env         []string
}

// newTerraform finds terraform on PATH, or installs it next to dir.
func newTerraform(ctx context.Context, dir, provider string) (*terraform, error) {
	cache := filepath.Join(filepath.Dir(dir), "terraform")
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return nil, err
	}
	least := version.MustConstraints(version.NewConstraint(">= 1.5.0"))
	binary, err := install.NewInstaller().Ensure(ctx, []src.Source{
		&fs.Version{Product: product.Terraform, Constraints: least},
		&releases.LatestVersion{Product: product.Terraform, Constraints: least, InstallDir: cache},
	})
	if err != nil {
		return nil, fmt.Errorf("terraform is not on PATH and cannot be installed: %w", err)
	}
	provider, err = filepath.Abs(provider)
	if err != nil {
		return nil, err
	}
	rc := filepath.Join(filepath.Dir(dir), "terraform.rc")
	settings := fmt.Sprintf("provider_installation {\n  dev_overrides { \"registry.terraform.io/mlplane/ml\" = %q }\n  direct {}\n}\n", filepath.Dir(provider))
	if err := os.WriteFile(rc, []byte(settings), 0o600); err != nil {
		return nil, err
	}
	env := append(os.Environ(), "TF_CLI_CONFIG_FILE="+rc, "TF_IN_AUTOMATION=1", "CHECKPOINT_DISABLE=1")
	return &terraform{binary: binary, dir: dir, env: env}, nil
}

func (t *terraform) stateDir() string { return filepath.Join(t.dir, ".ml-rehearsal") }

// run runs one command; its output is shown only when it fails.
func (t *terraform) run(ctx context.Context, args ...string) error {
	_, err := t.output(ctx, append(args, "-no-color")...)
	return err
}

func (t *terraform) output(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, t.binary, args...)
	cmd.Dir, cmd.Env = t.dir, t.env
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("terraform %s: %w\n%s%s", args[0], err, out.Bytes(), errs.Bytes())
	}
	return out.Bytes(), nil
}

// outputs are the configuration's outputs, all of them strings.
func (t *terraform) outputs(ctx context.Context) (map[string]string, error) {
	data, err := t.output(ctx, "output", "-json")
	if err != nil {
		return nil, err
	}
	var raw map[string]struct{ Value string }
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("terraform output: %w", err)
	}
	values := make(map[string]string, len(raw))
	for name, o := range raw {
		values[name] = o.Value
	}
	return values, nil
}
