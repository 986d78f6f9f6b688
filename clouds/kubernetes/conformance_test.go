// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes_test

import (
	"testing"

	"github.com/mlplane/terraform-provider-ml/clouds/drivertest"
	"github.com/mlplane/terraform-provider-ml/tests/kubetest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, serving := range []string{"deployment", "kserve"} {
		t.Run(serving, func(t *testing.T) {
			t.Parallel()
			drivertest.Run(t, func(t *testing.T) drivertest.Harness { return kubetest.Emulated(t, serving) })
		})
	}
}
