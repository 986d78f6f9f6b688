// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"context"
	"fmt"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

// Preflight warns of what a change does to those who call the endpoint. The platform
// itself can be asked nothing beforehand: it shows neither quotas nor what a region
// has in stock.
func (d *vertex) Preflight(_ context.Context, spec *driver.EndpointSpec, seen *driver.EndpointState) ([]string, error) {
	if seen == nil {
		return nil, nil
	}
	var warnings []string
	if dedicated(&spec.Settings) && !dedicated(&seen.Settings) && !spec.Unknown.At("vertex_ai") {
		warnings = append(warnings, "With a host of its own, the endpoint no longer answers at "+seen.URL+": its callers have to use the new url")
	}
	why := one(spec)
	if why == "" {
		return warnings, nil
	}
	for i := range seen.Deployments {
		now := &seen.Deployments[i]
		want := named(spec, now.Name)
		if want == nil || spec.Unknown.In("deployments."+now.Name) {
			continue
		}
		account := serviceAccount(&now.Carried) != serviceAccount(&spec.Settings)
		if now.Model != want.Model || !sameCompute(&now.Compute, &want.Compute) || account {
			warnings = append(warnings, fmt.Sprintf("Nothing answers while deployment %s is replaced: Vertex AI takes no second one %s, so the old one goes first", now.Name, why))
		}
	}
	return warnings, nil
}
