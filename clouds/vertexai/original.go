// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"context"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/artifact"
)

// OpenArtifact offers what the version's container loads. A container without a
// model in Cloud Storage brings it along, or takes it from elsewhere.
func (d *vertex) OpenArtifact(ctx context.Context, ref driver.VersionRef, v *driver.Version) (driver.Original, error) {
	at, err := artifact.Parse(v.Artifact.URI)
	if err != nil || at.Scheme != artifact.SchemeGCS {
		return nil, artifact.Unoffered(ref.String(), "its container has no model in Cloud Storage")
	}
	if !at.IsPrefix() { // the platform takes directories only, and shows them without the slash
		at.Key += "/"
	}
	store, err := d.store(ctx)
	if err != nil {
		return nil, err
	}
	return artifact.Unstage(ctx, store, at, v.Artifact.Digest, ref.String())
}
