// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"context"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// finds reports whether it can be looked up what is at an artifact's address: whether
// the platform reads such addresses or, of a version_id, whether that platform's
// configuration is known yet. What is wrong with an address is reported elsewhere.
func (p *platforms) finds(on *clouds.Cloud, uri string) bool {
	ref, moving, err := clouds.Moving(uri)
	if !moving {
		return on.Reads(uri)
	}
	return err == nil && p.ready(ref.Key.Platform)
}

// artifactDigest identifies the bytes at an address, as that platform reads it, or
// those of a version on any platform.
func (p *platforms) artifactDigest(ctx context.Context, on *clouds.Cloud, uri, told string) (string, error) {
	if _, moving, _ := clouds.Moving(uri); !moving {
		return on.ArtifactDigest(ctx, uri, told)
	}
	offer, err := p.offer(ctx, uri)
	if err != nil {
		return "", err
	}
	return offer.Digest, nil
}

// original opens what another platform offers when an address is a version_id, and is
// nil for any other address.
func (p *platforms) original(uri string) func(context.Context) (driver.Original, error) {
	if _, moving, _ := clouds.Moving(uri); !moving {
		return nil
	}
	return func(ctx context.Context) (driver.Original, error) {
		offer, err := p.offer(ctx, uri)
		if err != nil {
			return nil, err
		}
		return offer.Original, nil
	}
}

func (p *platforms) offer(ctx context.Context, uri string) (*clouds.Offer, error) {
	ref, _, err := clouds.Moving(uri)
	if err != nil {
		return nil, err
	}
	from, err := p.cloud(ref.Key.Platform)
	if err != nil {
		// Without its path, which is of a platform's own resources.
		return nil, mlerr.New(mlerr.CodeOf(err), "cannot move the artifact of %s: %s", ref, err).At("artifact.uri").WithHint("%s", mlerr.Hint(err))
	}
	return from.Offer(ctx, ref)
}
