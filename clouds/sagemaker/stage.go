// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"
	"strings"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

// The schemes of artifact.uri.
const (
	schemeFile = "file"
	schemeS3   = "s3"
)

func schemes() []string { return []string{schemeFile, schemeS3} }

// archive is the form in which SageMaker unpacks a model by itself.
const archive = ".tar.gz"

// checkArtifact refuses what SageMaker could not read where it is and what there
// is no place to copy to.
func (d *sagemaker) checkArtifact(spec *driver.ModelSpec) error {
	if spec.Unknown.Has("artifact.uri") {
		return nil
	}
	at, err := artifact.Parse(spec.Artifact.URI)
	if err != nil || d.cfg.StagingURI != "" || (at.Scheme == schemeS3 && strings.HasSuffix(at.Key, archive)) {
		return err
	}
	return mlerr.New(mlerr.InvalidArgument, "SageMaker reads models from S3 as %s, and %s is not one", archive, spec.Artifact.URI).At("artifact.uri").
		WithHint("Set the provider's sagemaker.staging_uri to an s3:// address: the artifact is then arranged and copied there")
}

// ArtifactDigest is the identity of the bytes at uri, or of those that were staged
// there: an import shows that address.
func (d *sagemaker) ArtifactDigest(ctx context.Context, uri string) (string, error) {
	if digest, staged, err := d.stagedDigest(ctx, uri); staged || err != nil {
		return digest, err
	}
	src, err := d.source(ctx, uri)
	if err != nil {
		return "", err
	}
	return artifact.Digest(ctx, src)
}

func (d *sagemaker) stagedDigest(ctx context.Context, uri string) (digest string, staged bool, err error) {
	at, err := artifact.Parse(uri)
	if err != nil || at.Scheme != schemeS3 || d.cfg.StagingURI == "" {
		return "", false, err
	}
	into, err := artifact.Parse(d.cfg.StagingURI)
	if err != nil || at.Bucket != into.Bucket {
		return "", false, err
	}
	store, err := d.store(ctx, at.Bucket)
	if err != nil {
		return "", false, err
	}
	return artifact.StagedDigest(ctx, store, at, into)
}

// StageArtifact copies the bytes to the staging address, arranged as the runtime
// wants them. Without one, an archive that is in S3 is served where it is.
func (d *sagemaker) StageArtifact(ctx context.Context, spec *driver.ModelSpec) (string, error) {
	src, err := d.original(ctx, spec)
	if err != nil {
		return "", err
	}
	if d.cfg.StagingURI == "" {
		if err := d.checkArtifact(spec); err != nil {
			return "", err
		}
		return spec.Artifact.URI, verify(ctx, src, spec.Artifact.Digest)
	}
	into, err := artifact.Parse(d.cfg.StagingURI)
	if err != nil {
		return "", mlerr.Wrap(err, mlerr.InvalidArgument, "the provider's sagemaker.staging_uri")
	}
	store, err := d.store(ctx, into.Bucket)
	if err != nil {
		return "", err
	}
	q := artifact.Request{Source: src, Digest: spec.Artifact.Digest, Into: into, Name: spec.Key.Name}
	if spec.Serving.Image == "" {
		c, err := runtimes.SageMaker(spec.Serving.Runtime, spec.Key.Location, false, "x86_64")
		if err != nil {
			return "", err
		}
		q.Directory, q.Tree = c.Directory, c.Layout == runtimes.LayoutPrefix
	}
	return artifact.Stage(ctx, store, q)
}

// verify refuses bytes that are not the planned ones.
func verify(ctx context.Context, src artifact.Source, want string) error {
	got, err := artifact.Digest(ctx, src)
	if err != nil || got == want {
		return err
	}
	return mlerr.New(mlerr.InvalidArgument, "%s has the digest %s, and %s was planned", src, got, want).At("artifact.uri").
		WithHint("The artifact changed since the plan: plan again")
}

// original is the artifact that is to be staged: what another platform offers, or
// what is at an address.
func (d *sagemaker) original(ctx context.Context, spec *driver.ModelSpec) (artifact.Source, error) {
	if spec.Original != nil {
		return artifact.From(spec.Artifact.URI, spec.Original), nil
	}
	return d.source(ctx, spec.Artifact.URI)
}

func (d *sagemaker) source(ctx context.Context, uri string) (artifact.Source, error) {
	at, err := artifact.Parse(uri)
	if err != nil {
		return nil, err
	}
	if at.Scheme == schemeFile {
		return artifact.Local(at.Path), nil
	}
	store, err := d.store(ctx, at.Bucket)
	if err != nil {
		return nil, err
	}
	return store.Source(at), nil
}

// store is S3 as a bucket wants to be asked.
func (d *sagemaker) store(ctx context.Context, bucket string) (*artifact.S3, error) {
	home, err := d.Locate("")
	if err != nil {
		home = "us-east-1" // knows where every bucket is
	}
	r, err := d.at(ctx, home)
	if err != nil {
		return nil, err
	}
	return artifact.S3At(ctx, r.clients.config, d.cfg.EndpointURL, bucket)
}

// OpenArtifact offers what the version's container loads. A container without a
// model in S3 brings it along, or takes it from elsewhere.
func (d *sagemaker) OpenArtifact(ctx context.Context, ref driver.VersionRef, v *driver.Version) (driver.Original, error) {
	at, err := artifact.Parse(v.Artifact.URI)
	if err != nil || at.Scheme != schemeS3 {
		return nil, artifact.Unoffered(ref.String(), "its container has no model in S3")
	}
	store, err := d.store(ctx, at.Bucket)
	if err != nil {
		return nil, err
	}
	return artifact.Unstage(ctx, store, at, v.Artifact.Digest, ref.String())
}
