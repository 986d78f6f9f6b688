// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"context"
	"regexp"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// schemeVersion stands for a version_id where the scheme of an address is asked for.
const schemeVersion = "version"

// likeVersion is what begins and ends as a version_id does, and is taken for one.
var likeVersion = regexp.MustCompile(`^(sagemaker|vertex_ai|azure_ml|kubernetes)/.+@[^/@]+$`)

// Moving tells the version of a model whose artifact is meant from any other address
// of one. ok is false for those. What only resembles a version_id is InvalidArgument
// with the path "artifact.uri".
func Moving(uri string) (ref driver.VersionRef, ok bool, err error) {
	if !likeVersion.MatchString(uri) {
		return driver.VersionRef{}, false, nil
	}
	ref, ok = driver.ParseVersionID(uri)
	switch {
	case !ok:
		return ref, true, mlerr.New(mlerr.InvalidArgument, "%q is no version_id", uri).At("artifact.uri").
			WithHint("Refer to ml_model.<name>.version_id, or write one as in %s@7; begin the path of a file with ./", ExampleID(driver.SageMaker))
	case ref.Key.Platform != driver.AzureML && !versionNumber.MatchString(ref.Version):
		return ref, true, mlerr.New(mlerr.InvalidArgument, "%q is no version_id: versions on %s have numbers, and %q is none", uri, ref.Key.Platform, ref.Version).At("artifact.uri").
			WithHint("Name the version by its number, as in %s@7. An alias may mean another version tomorrow; ml_model.<name>.versions tells which one has it", ref.Key.ID())
	}
	return ref, true, nil
}

// versionNumber is a version where the platform counts them.
var versionNumber = regexp.MustCompile(`^[1-9][0-9]*$`)

// Offer is the artifact of a version, for a model elsewhere.
type Offer struct {
	Digest   string
	Original driver.Original
}

// Offer finds the artifact of a version on this platform and makes sure that its
// bytes can be read, without reading them if it is known which they are. A version
// that is not there is NotFound, one whose bytes cannot be read Unsupported or
// NotFound; all errors have the path "artifact.uri".
func (c *Cloud) Offer(ctx context.Context, ref driver.VersionRef) (*Offer, error) {
	offer, err := c.offer(ctx, ref)
	if err != nil {
		return nil, mlerr.New(mlerr.CodeOf(err), "cannot move the artifact of %s", ref).Because(err).At("artifact.uri").WithHint("%s", mlerr.Hint(err))
	}
	return offer, nil
}

func (c *Cloud) offer(ctx context.Context, ref driver.VersionRef) (*Offer, error) {
	location, err := c.driver.Locate(ref.Key.Location)
	if err != nil {
		// Without its path: what is wrong is the location in the address of the artifact.
		return nil, mlerr.New(mlerr.CodeOf(err), "%s", err).WithHint("%s", mlerr.Hint(err))
	}
	ref.Key.Location = location
	v, err := patiently(ctx, c, func() (*driver.Version, error) { return c.driver.ObserveVersion(ctx, ref) })
	if mlerr.Is(err, mlerr.NotFound) {
		return nil, mlerr.New(mlerr.NotFound, "there is no such version").Because(err).WithHint("Refer to one that is registered there")
	}
	if err != nil {
		return nil, err
	}
	if v.Artifact.Digest == "" && v.Artifact.URI != "" && c.Reads(v.Artifact.URI) { // published by somebody else
		if v.Artifact.Digest, err = c.ArtifactDigest(ctx, v.Artifact.URI, ""); err != nil {
			return nil, err
		}
	}
	original, err := patiently(ctx, c, func() (driver.Original, error) { return c.driver.OpenArtifact(ctx, ref, v) })
	if err != nil {
		return nil, err
	}
	return &Offer{v.Artifact.Digest, original}, nil
}
