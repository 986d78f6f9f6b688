// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package crash_test ends the provider's process in the middle of a terraform
// command, at one API call after the other, and proves that the next command
// goes on from there.
package crash_test

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
)

// built is the provider as it is released.
var built *acctest.Built

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ml-crash-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	// Transitions of the emulated platform take a fortieth of a second.
	if err := os.Setenv("ML_REHEARSAL_SPEED", "40"); err != nil {
		panic(err)
	}
	if built, err = acctest.Build(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
