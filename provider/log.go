// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"cmp"
	"os"

	"github.com/hashicorp/go-hclog"
)

// newLogger writes to standard error in the form that Terraform merges into its
// own log, at the level of TF_LOG_PROVIDER or TF_LOG.
func newLogger() hclog.Logger {
	level := hclog.LevelFromString(cmp.Or(os.Getenv("TF_LOG_PROVIDER_ML"), os.Getenv("TF_LOG_PROVIDER"), os.Getenv("TF_LOG")))
	if level == hclog.NoLevel {
		level = hclog.Off
	}
	return hclog.New(&hclog.LoggerOptions{Name: "provider.ml", Level: level, JSONFormat: true, Output: os.Stderr})
}
