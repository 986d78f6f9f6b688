// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

//go:build !race

package vertexai_test

import (
	"testing"

	"github.com/mlplane/terraform-provider-ml/clouds/drivertest"
)

// TestRollouts is not for the race detector, which has the same rollouts in clouds/mem, and
// would take many times as long for the emulators here.
func TestRollouts(t *testing.T) {
	t.Parallel()
	drivertest.RunRollouts(t, func(t *testing.T) drivertest.Watched {
		t.Helper()
		return newHarness(t)
	})
}
