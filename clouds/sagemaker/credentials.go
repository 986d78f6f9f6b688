// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// Credentials there are none: callers sign each request.
func (d *sagemaker) Credentials(_ context.Context, key driver.Key) (*driver.Credentials, error) {
	return nil, mlerr.New(mlerr.Unsupported, "sagemaker gives out no credentials of the endpoint %s", key.ID()).
		WithHint("Let callers sign requests with AWS credentials of their own (Signature Version 4), and grant them invoke_policy")
}
