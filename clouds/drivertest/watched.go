// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package drivertest

import (
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

// Watched is a platform that watches what its endpoints answer.
type Watched interface {
	Harness

	// Call sends n requests to the endpoint as its callers do, now.
	Call(t *testing.T, key driver.Key, n int)

	// Conduct makes what serves ref answer so from now on: that percentage of its
	// answers with the status 500, and each after latency. Zero is well.
	Conduct(t *testing.T, ref driver.VersionRef, errorPercent int, latency time.Duration)

	// Alarm makes an alarm of the platform with that name, unless there is one, and
	// makes it fire or not.
	Alarm(t *testing.T, name string, fires bool)
}
