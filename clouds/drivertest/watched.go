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

// Loaded is a watched platform that can be called all the time, as it is by customers.
type Loaded interface {
	// Load has callers send requests to the endpoint, one after the other, until stop,
	// which tells how many there were, and how many of them were lost: not answered,
	// or with a status of 500 and above. It is nil where nobody calls.
	Load(t *testing.T, key driver.Key) (stop func() (requests, lost int))
}
