// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

// MarkUntested tags the endpoint.
func (d *sagemaker) MarkUntested(ctx context.Context, seen *driver.EndpointState) error {
	r, err := d.at(ctx, seen.Key.Location)
	if err != nil {
		return err
	}
	defer r.recent.forget()
	return r.mark(ctx, seen.NativeID, tagUntested, "true")
}
