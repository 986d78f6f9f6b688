// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package terraform runs the real terraform with a provider that was built here,
// for the demo and for tests of the binary.
package terraform

import (
	"bytes"
	"context"
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

// CLI is a terraform that takes the provider from where it was built.
type CLI struct{ binary, settings string }

// New finds terraform on PATH, or installs it into dir, where its settings go too.
// provider is the path of the provider's binary.
func New(ctx context.Context, provider, dir string) (*CLI, error) {
	provider, err := filepath.Abs(provider)
	if err != nil {
		return nil, err
	}
	least := version.MustConstraints(version.NewConstraint(">= 1.5.0"))
	binary, err := install.NewInstaller().Ensure(ctx, []src.Source{
		&fs.Version{Product: product.Terraform, Constraints: least},
		&releases.LatestVersion{Product: product.Terraform, Constraints: least, InstallDir: dir},
	})
	if err != nil {
		return nil, fmt.Errorf("terraform is not on PATH and cannot be installed: %w", err)
	}
	c := &CLI{binary: binary, settings: filepath.Join(dir, "terraform.rc")}
	settings := fmt.Sprintf("provider_installation {\n  dev_overrides { \"registry.terraform.io/mlplane/ml\" = %q }\n  direct {}\n}\n", filepath.Dir(provider))
	return c, os.WriteFile(c.settings, []byte(settings), 0o600)
}

// Run runs a command in dir and returns its standard output. An error says all
// that terraform said. env is added to this process's environment. A canceled
// ctx interrupts terraform, as Ctrl-C does.
func (c *CLI) Run(ctx context.Context, dir string, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.binary, append(args, "-no-color")...) //nolint:gosec // runs terraform
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "TF_CLI_CONFIG_FILE="+c.settings, "TF_IN_AUTOMATION=1", "CHECKPOINT_DISABLE=1"), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("terraform %s: %w\n%s%s", args[0], err, out.Bytes(), errs.Bytes())
	}
	return out.String(), nil
}
