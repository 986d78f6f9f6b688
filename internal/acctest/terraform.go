// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package acctest

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

// Built is the provider's binary, as it is released, and a terraform to run it.
type Built struct {
	Provider  string // path of the binary
	terraform string
	settings  string // terraform's CLI configuration
}

// Build builds the provider into dir and finds terraform on PATH, or installs it
// into dir. It takes seconds: a package does it once, in TestMain.
func Build(ctx context.Context, dir string) (*Built, error) {
	b := &Built{Provider: filepath.Join(dir, "terraform-provider-ml"), settings: filepath.Join(dir, "terraform.rc")}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", b.Provider, "github.com/mlplane/terraform-provider-ml") //nolint:gosec // builds what is tested
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the provider: %w\n%s", err, out)
	}
	least := version.MustConstraints(version.NewConstraint(">= 1.5.0"))
	var err error
	if b.terraform, err = install.NewInstaller().Ensure(ctx, []src.Source{
		&fs.Version{Product: product.Terraform, Constraints: least},
		&releases.LatestVersion{Product: product.Terraform, Constraints: least, InstallDir: dir},
	}); err != nil {
		return nil, fmt.Errorf("terraform is not on PATH and cannot be installed: %w", err)
	}
	settings := fmt.Sprintf("provider_installation {\n  dev_overrides { \"registry.terraform.io/mlplane/ml\" = %q }\n  direct {}\n}\n", dir)
	return b, os.WriteFile(b.settings, []byte(settings), 0o600)
}

// Run runs a terraform command in dir with the built provider, and returns what
// it printed. An error says the command's output too; env is added to the
// test's environment.
func (b *Built) Run(ctx context.Context, dir string, env []string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, b.terraform, append(args, "-no-color")...) //nolint:gosec // runs terraform
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "TF_CLI_CONFIG_FILE="+b.settings, "TF_IN_AUTOMATION=1", "CHECKPOINT_DISABLE=1"), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("terraform %s: %w\n%s", args[0], err, out.String())
	}
	return out.String(), nil
}

// Configuration begins a configuration for Run: it names the provider.
const Configuration = "terraform {\n  required_providers {\n    ml = {\n      source = \"registry.terraform.io/mlplane/ml\"\n    }\n  }\n}\n"
