// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"context"
	"maps"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

// MarkUntested labels the endpoint.
func (d *vertex) MarkUntested(ctx context.Context, seen *driver.EndpointState) error {
	r := d.at(seen.Key.Location)
	read, err := r.getEndpoint(ctx, seen.Key.Name)
	if err != nil {
		return err
	}
	return r.markUntested(ctx, read, seen.Key.Name)
}

func (r *region) markUntested(ctx context.Context, read *wireEndpoint, name string) error {
	if read.Labels[labelUntested] != "" {
		return nil
	}
	labels := map[string]string{labelUntested: yes}
	maps.Copy(labels, read.Labels)
	return r.patch(ctx, read, name, wireEndpoint{Labels: labels}, "labels")
}
