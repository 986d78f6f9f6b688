// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"context"
	"strings"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

func readSchemes() []string { return []string{artifact.SchemeFile, artifact.SchemeGCS} }

// store is Cloud Storage with the credentials of the platform.
func (d *vertex) store(ctx context.Context) (*artifact.GCS, error) {
	client, err := d.client()
	if err != nil {
		return nil, err
	}
	return artifact.GCSConfig{HTTPClient: client, EndpointURL: d.cfg.StorageEndpointURL}.Open(ctx)
}

// original is the artifact that is to be staged: what another platform offers, or
// what is at an address.
func (d *vertex) original(ctx context.Context, spec *driver.ModelSpec, at artifact.Location) (artifact.Source, error) {
	if spec.Original != nil {
		return artifact.From(spec.Artifact.URI, spec.Original), nil
	}
	return d.source(ctx, at)
}

func (d *vertex) source(ctx context.Context, at artifact.Location) (artifact.Source, error) {
	if at.Scheme == artifact.SchemeFile {
		return artifact.Local(at.Path), nil
	}
	store, err := d.store(ctx)
	if err != nil {
		return nil, err
	}
	return store.Source(at), nil
}

// ArtifactDigest is the identity of the bytes at uri, or of those that were staged
// there.
func (d *vertex) ArtifactDigest(ctx context.Context, uri string) (string, error) {
	at, err := artifact.Parse(uri)
	if err != nil {
		return "", err
	}
	if into, err := artifact.Parse(d.cfg.StagingURI); err == nil && at.Scheme == artifact.SchemeGCS && at.Bucket == into.Bucket {
		store, err := d.store(ctx)
		if err != nil {
			return "", err
		}
		if digest, staged, err := artifact.StagedDigest(ctx, store, at, into); staged || err != nil {
			return digest, err
		}
	}
	src, err := d.source(ctx, at)
	if err != nil {
		return "", err
	}
	return artifact.Digest(ctx, src)
}

// StageArtifact copies the artifact, in the directory that its runtime wants. Also
// one that is in Cloud Storage already: the platform takes a directory only, whatever
// is in it, and nothing but a copy proves that it still holds the planned bytes.
func (d *vertex) StageArtifact(ctx context.Context, spec *driver.ModelSpec) (string, error) {
	at, err := artifact.Parse(spec.Artifact.URI)
	if err != nil {
		return "", err
	}
	into, err := artifact.Parse(d.cfg.StagingURI)
	if err != nil {
		return "", mlerr.New(mlerr.InvalidArgument, "the provider's vertex_ai.staging_uri cannot be used").Because(err)
	}
	src, err := d.original(ctx, spec, at)
	if err != nil {
		return "", err
	}
	store, err := d.store(ctx)
	if err != nil {
		return "", err
	}
	directory := ""
	if spec.Serving.Image == "" && spec.Serving.Runtime != "" {
		_, region, _ := strings.Cut(spec.Key.Location, "/")
		c, err := runtimes.VertexAI(spec.Serving.Runtime, region, "")
		if err != nil {
			return "", err
		}
		directory = c.Directory
	}
	return artifact.Stage(ctx, store, artifact.Request{Source: src, Digest: spec.Artifact.Digest, Into: into, Directory: directory, Name: spec.Key.Name, Tree: true})
}
