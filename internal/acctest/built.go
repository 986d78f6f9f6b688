// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package acctest

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"

	"github.com/mlplane/terraform-provider-ml/internal/terraform"
)

// Built is the provider's binary, as it is released, and a terraform to run it.
type Built struct {
	*terraform.CLI

	Provider string // path of the binary
}

// Build builds the provider into dir and finds a terraform for it. It takes
// seconds: a package does it once, in TestMain.
func Build(ctx context.Context, dir string) (*Built, error) {
	provider := filepath.Join(dir, "terraform-provider-ml")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-tags", "disable_grpc_modules", "-ldflags", "-s -w", "-o", provider, "github.com/mlplane/terraform-provider-ml") //nolint:gosec // builds what is tested
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the provider: %w\n%s", err, out)
	}
	cli, err := terraform.New(ctx, provider, dir)
	return &Built{cli, provider}, err
}

// Configuration begins a configuration for Run: it names the provider.
const Configuration = "terraform {\n  required_providers {\n    ml = {\n      source = \"registry.terraform.io/mlplane/ml\"\n    }\n  }\n}\n"
