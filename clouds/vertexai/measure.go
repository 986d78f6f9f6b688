// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"context"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// Measure is a gap of the platform.
func (d *vertex) Measure(context.Context, driver.Key, string, time.Time, time.Time) (driver.Measurement, error) {
	return driver.Measurement{}, mlerr.New(mlerr.Unsupported, "vertex_ai is not asked for metrics")
}

// Firing is a gap of the platform.
func (d *vertex) Firing(context.Context, driver.Key, []string) ([]driver.Alarm, error) {
	return nil, mlerr.New(mlerr.Unsupported, "vertex_ai is not asked for alarms")
}
