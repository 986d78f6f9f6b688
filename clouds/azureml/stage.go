// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"context"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

func readSchemes() []string { return []string{artifact.SchemeFile} }

func (d *azureML) ArtifactDigest(ctx context.Context, uri string) (string, error) {
	at, err := artifact.Parse(uri)
	if err != nil {
		return "", err
	}
	return artifact.Digest(ctx, artifact.Local(at.Path))
}

func (d *azureML) StageArtifact(_ context.Context, spec *driver.ModelSpec) (string, error) {
	return "", mlerr.New(mlerr.Unsupported, "not yet")
}

func (d *azureML) OpenArtifact(_ context.Context, ref driver.VersionRef, v *driver.Version) (driver.Original, error) {
	return nil, artifact.Unoffered(ref.String(), "not yet")
}
