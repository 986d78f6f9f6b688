// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// Measure is a gap of the platform.
func (d *sagemaker) Measure(context.Context, driver.Key, string, time.Time, time.Time) (driver.Measurement, error) {
	return driver.Measurement{}, mlerr.New(mlerr.Unsupported, "sagemaker is not asked for metrics")
}

// Firing is a gap of the platform.
func (d *sagemaker) Firing(context.Context, driver.Key, []string) ([]driver.Alarm, error) {
	return nil, mlerr.New(mlerr.Unsupported, "sagemaker is not asked for alarms")
}
