// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package acceptance_test runs the provider with the real terraform, in
// rehearsal: what a user would see.
package acceptance_test

import (
	"os"
	"testing"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
)

var (
	run, has, plans, changesNothing = acctest.Run, acctest.Has, acctest.Plans, acctest.ChangesNothing
	knows, leavesOpen               = acctest.Knows, acctest.LeavesOpen
	words, pattern                  = acctest.Words, acctest.Pattern
)

func TestMain(m *testing.M) {
	// Transitions of the emulated platform take a twentieth of a second.
	for name, value := range map[string]string{"ML_REHEARSAL_SPEED": "20", "CHECKPOINT_DISABLE": "1"} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
