// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/mlplane/terraform-provider-ml/internal/terraform"
)

// workspace is the directory that the demo runs terraform in.
type workspace struct {
	cli *terraform.CLI
	dir string
}

func (w *workspace) stateDir() string { return filepath.Join(w.dir, ".ml-rehearsal") }

// run runs one command; its output is shown only when it fails.
func (w *workspace) run(ctx context.Context, args ...string) error {
	_, err := w.cli.Run(ctx, w.dir, nil, args...)
	return err
}

// outputs are the configuration's outputs: a text for each platform.
func (w *workspace) outputs(ctx context.Context) (map[string]map[string]string, error) {
	data, err := w.cli.Run(ctx, w.dir, nil, "output", "-json")
	if err != nil {
		return nil, err
	}
	var raw map[string]struct{ Value map[string]string }
	if err := json.Unmarshal([]byte(data), &raw); err != nil {
		return nil, fmt.Errorf("terraform output: %w", err)
	}
	values := make(map[string]map[string]string, len(raw))
	for name, o := range raw {
		values[name] = o.Value
	}
	return values, nil
}
