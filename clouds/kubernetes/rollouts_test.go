// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

//go:build !race

package kubernetes_test

import (
	"testing"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/drivertest"
	"github.com/mlplane/terraform-provider-ml/tests/kubetest"
)

// TestRollouts is not for the race detector, which has the same rollouts in clouds/mem, and
// would take many times as long for the emulators here.
func TestRollouts(t *testing.T) {
	t.Parallel()
	for serving, part := range map[string]drivertest.Some{"deployment": {}, "kserve": {Strategies: []driver.Strategy{driver.Canary}}} {
		t.Run(serving, func(t *testing.T) {
			t.Parallel()
			drivertest.RunRollouts(t, func(t *testing.T) drivertest.Watched {
				t.Helper()
				return kubetest.Emulated(t, serving)
			}, part)
		})
	}
}
