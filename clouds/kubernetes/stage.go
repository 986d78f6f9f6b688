// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"context"
	"path"
	"slices"
	"sync"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/naming"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

// Artifacts reach pods in one of two ways. What we can read is staged: its files are
// listed with their digests in the version's record, and each pod checks them. What
// only pods can read is served where it is, and each pod computes the digest that
// the user has told.

func readSchemes() []string {
	return []string{artifact.SchemeFile, artifact.SchemeS3, artifact.SchemeOCI}
}

func unreadSchemes() []string {
	return []string{artifact.SchemeGCS, artifact.SchemeHTTPS, artifact.SchemeClaim}
}

// directory is how the runtime of a model wants its files arranged; "" leaves them.
func directory(spec *driver.ModelSpec) (string, error) {
	if spec.Serving.Image != "" || spec.Serving.Runtime == "" {
		return "", nil
	}
	c, err := runtimes.Kubernetes(spec.Serving.Runtime, spec.Key.Name, false)
	return c.Directory, err
}

// checkArtifact refuses what pods could not read where it is, or not as it is, and
// what there is no place to copy to.
func (d *kubernetes) checkArtifact(spec *driver.ModelSpec) error {
	if spec.Unknown.Has("artifact.uri") || spec.Artifact.URI == "" {
		return nil
	}
	at, err := artifact.Parse(spec.Artifact.URI)
	if err != nil {
		return err
	}
	arrangement, err := directory(spec)
	if err != nil {
		return nil //nolint:nilerr // checkServing reports it
	}
	staged := d.cfg.StagingURI != "" && slices.Contains([]string{artifact.SchemeFile, artifact.SchemeS3, artifact.SchemeVersion}, at.Scheme)
	switch {
	case staged:
		return nil
	case at.Scheme == artifact.SchemeFile:
		return mlerr.New(mlerr.InvalidArgument, "pods cannot read the local path %s", spec.Artifact.URI).At("artifact.uri").
			WithHint("Set the provider's kubernetes.staging_uri to an s3://, oci:// or pvc:// address: the artifact is then copied there")
	case at.Scheme == artifact.SchemeVersion:
		return mlerr.New(mlerr.InvalidArgument, "there is no place to copy the artifact of %s to", spec.Artifact.URI).At("artifact.uri").
			WithHint("Set the provider's kubernetes.staging_uri to an s3://, oci:// or pvc:// address")
	case at.Scheme != artifact.SchemeOCI && single(at):
		name := path.Base(at.Key)
		if at.Scheme == artifact.SchemeHTTPS && !at.IsBlob() {
			name = path.Base(at.Path)
		}
		arranged, err := artifact.Arrange(arrangement, spec.Key.Name, true, []artifact.Entry{{Path: name}})
		if err != nil {
			return err
		}
		if len(arranged) != 1 || arranged[0].Path != name {
			return mlerr.New(mlerr.InvalidArgument, "the runtime %s wants other files than the one at %s", spec.Serving.Runtime, spec.Artifact.URI).At("artifact.uri").
				WithHint("Set the provider's kubernetes.staging_uri and give a local path or an s3:// address, so that it can be arranged; or give a directory that is")
		}
	}
	return nil
}

func single(at artifact.Location) bool {
	return at.Scheme == artifact.SchemeHTTPS || at.Scheme != artifact.SchemeOCI && !at.IsPrefix()
}

// ArtifactDigest is the identity of the bytes at uri, of those that were staged
// there, or of an image's manifest.
func (d *kubernetes) ArtifactDigest(ctx context.Context, uri string) (string, error) {
	at, err := artifact.Parse(uri)
	if err != nil {
		return "", err
	}
	switch at.Scheme {
	case artifact.SchemeOCI:
		return d.images.Digest(ctx, at)
	case artifact.SchemeS3:
		into, err := artifact.Parse(d.cfg.StagingURI)
		if err == nil && into.Bucket == at.Bucket && into.Scheme == at.Scheme {
			store, err := d.cfg.s3().Open(ctx, at.Bucket)
			if err != nil {
				return "", err
			}
			if digest, staged, err := artifact.StagedDigest(ctx, store, at, into); staged || err != nil {
				return digest, err
			}
		}
	}
	src, err := d.source(ctx, at)
	if err != nil {
		return "", err
	}
	return artifact.Digest(ctx, src)
}

func (c *Config) s3() artifact.S3Config {
	return artifact.S3Config{Region: c.S3.Region, EndpointURL: c.S3.EndpointURL, AccessKey: c.S3.AccessKey.Reveal(), SecretKey: c.S3.SecretKey, Isolated: c.Isolated}
}

// original is the artifact that is to be staged: what another platform offers, or
// what is at an address.
func (d *kubernetes) original(ctx context.Context, spec *driver.ModelSpec, at artifact.Location) (artifact.Source, error) {
	if spec.Original != nil {
		return artifact.From(spec.Artifact.URI, spec.Original), nil
	}
	return d.source(ctx, at)
}

func (d *kubernetes) source(ctx context.Context, at artifact.Location) (artifact.Source, error) {
	if at.Scheme == artifact.SchemeFile {
		return artifact.Local(at.Path), nil
	}
	store, err := d.cfg.s3().Open(ctx, at.Bucket)
	if err != nil {
		return nil, err
	}
	return store.Source(at), nil
}

// verified remembers the files of what was staged, for the record that is written
// next.
type verified struct {
	mu    sync.Mutex
	files map[string][]artifact.File
}

// StageArtifact copies the bytes to the staging address, arranged as the runtime
// wants them. What is not copied is served where it is.
func (d *kubernetes) StageArtifact(ctx context.Context, spec *driver.ModelSpec) (string, error) {
	uri, files, err := d.stage(ctx, spec)
	if err != nil {
		return "", err
	}
	d.verified.mu.Lock()
	defer d.verified.mu.Unlock()
	if d.verified.files == nil {
		d.verified.files = map[string][]artifact.File{}
	}
	d.verified.files[stagedAs(spec)] = files
	return uri, nil
}

func stagedAs(spec *driver.ModelSpec) string {
	return naming.Hash([]string{spec.Key.ID(), spec.Artifact.URI, spec.VersionHash()})
}

// stagedFiles are the files that the pods will find, nil if that is not known.
func (d *kubernetes) stagedFiles(ctx context.Context, spec *driver.ModelSpec) ([]artifact.File, error) {
	d.verified.mu.Lock()
	files, ok := d.verified.files[stagedAs(spec)]
	d.verified.mu.Unlock()
	if ok {
		return files, nil
	}
	_, files, err := d.stage(ctx, spec)
	return files, err
}

func (d *kubernetes) stage(ctx context.Context, spec *driver.ModelSpec) (uri string, files []artifact.File, err error) {
	at, err := artifact.Parse(spec.Artifact.URI)
	if err != nil {
		return "", nil, err
	}
	if at.Scheme == artifact.SchemeOCI {
		uri, err := artifact.Pin(at, spec.Artifact.Digest)
		return uri, nil, err
	}
	if slices.Contains(unreadSchemes(), at.Scheme) {
		return spec.Artifact.URI, nil, nil
	}
	src, err := d.original(ctx, spec, at)
	if err != nil {
		return "", nil, err
	}
	q := artifact.Request{Source: src, Digest: spec.Artifact.Digest, Name: spec.Key.Name, Tree: true}
	if q.Directory, err = directory(spec); err != nil {
		return "", nil, err
	}
	if d.cfg.StagingURI == "" {
		return d.inPlace(ctx, spec, q)
	}
	if q.Into, err = artifact.Parse(d.cfg.StagingURI); err != nil {
		return "", nil, mlerr.Wrap(err, mlerr.InvalidArgument, "the provider's kubernetes.staging_uri")
	}
	if q.Into.Scheme == artifact.SchemeClaim { // before reading everything, which takes longer
		a, err := d.connect()
		if err != nil {
			return "", nil, err
		}
		if _, err := d.stagingPod(ctx, a, spec.Key, q.Into); err != nil {
			return "", nil, err
		}
	}
	v, err := q.Verify(ctx)
	if err != nil {
		return "", nil, err
	}
	if files, err = v.Files(ctx); err != nil {
		return "", nil, err
	}
	uri, err = d.copy(ctx, spec.Key, q.Into, v)
	return uri, files, err
}

// copy brings verified files to the staging address.
func (d *kubernetes) copy(ctx context.Context, key driver.Key, into artifact.Location, v *artifact.Verified) (string, error) {
	switch into.Scheme {
	case artifact.SchemeOCI:
		return d.images.Stage(ctx, v)
	case artifact.SchemeClaim:
		return d.fill(ctx, key, into, v)
	}
	store, err := d.cfg.s3().Open(ctx, into.Bucket)
	if err != nil {
		return "", err
	}
	return v.Tree(ctx, store)
}

// inPlace serves an object or prefix from where it is, if it is already as the
// runtime wants it.
func (d *kubernetes) inPlace(ctx context.Context, spec *driver.ModelSpec, q artifact.Request) (string, []artifact.File, error) {
	if err := d.checkArtifact(spec); err != nil {
		return "", nil, err
	}
	there, err := q.Source.Entries(ctx)
	if err != nil {
		return "", nil, err
	}
	v, err := q.Verify(ctx)
	if err != nil {
		return "", nil, err
	}
	files, err := v.Files(ctx)
	if err != nil {
		return "", nil, err
	}
	same := slices.EqualFunc(there, files, func(e artifact.Entry, f artifact.File) bool { return e.Path == f.Path })
	if !same {
		return "", nil, mlerr.New(mlerr.InvalidArgument, "the files at %s are not arranged as the runtime %s wants them", spec.Artifact.URI, spec.Serving.Runtime).
			At("artifact.uri").WithHint("Set the provider's kubernetes.staging_uri: the artifact is then arranged and copied there")
	}
	return spec.Artifact.URI, files, nil
}

// OpenArtifact offers what the version's pods load, where this process can read it
// too: not what is on a volume, or what only pods have fetched.
func (d *kubernetes) OpenArtifact(ctx context.Context, ref driver.VersionRef, v *driver.Version) (driver.Original, error) {
	at, err := artifact.Parse(v.Artifact.URI)
	if err != nil {
		return nil, artifact.Unoffered(ref.String(), "it has no artifact")
	}
	switch at.Scheme {
	case artifact.SchemeOCI:
		return d.images.Unstage(ctx, at, v.Artifact.Digest, ref.String())
	case artifact.SchemeS3:
		store, err := d.cfg.s3().Open(ctx, at.Bucket)
		if err != nil {
			return nil, err
		}
		return artifact.Unstage(ctx, store, at, v.Artifact.Digest, ref.String())
	}
	return nil, artifact.Unoffered(ref.String(), "only pods can read "+at.String())
}
