// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"cmp"
	"context"
	"strings"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

func readSchemes() []string {
	return []string{artifact.SchemeFile, artifact.SchemeHTTPS, artifact.SchemeAzureML}
}

// store is Blob storage with the credentials of the platform.
func (d *azureML) store() (*artifact.Blob, error) {
	options := d.account.ClientOptions().ClientOptions
	options.PerRetryPolicies = append(options.PerRetryPolicies, storageObserver{d.log})
	return artifact.BlobConfig{Credential: d.account.Credential(), Options: options, EndpointURL: d.cfg.StorageEndpointURL}.Open()
}

// resolve finds the blobs that an address means: of a path in a datastore, or of the
// version of a model.
func (d *azureML) resolve(ctx context.Context, uri string) (artifact.Location, error) {
	at, err := artifact.Parse(uri)
	if err != nil {
		return at, err
	}
	switch at.Scheme {
	case artifact.SchemeHTTPS:
		if !at.IsBlob() {
			return at, onTheWeb(uri)
		}
		return at, nil
	case artifact.SchemeAzureML:
		return d.inWorkspace(ctx, uri)
	}
	return at, nil
}

func onTheWeb(uri string) error {
	return mlerr.New(mlerr.Unsupported, "azure_ml does not download %s", uri).At("artifact.uri").WithHint("Download the artifact to a local path, or copy it to Blob storage")
}

// staging is where artifacts are copied to: as configured, or the workspace's default
// datastore.
func (w *workspace) staging(ctx context.Context) (artifact.Location, error) {
	uri := w.d.cfg.StagingURI
	if uri == "" {
		all, err := collect(ctx, w.c.Datastores.NewListPager(w.group, w.name, &ml.DatastoresClientListOptions{IsDefault: new(true)}),
			func(p ml.DatastoresClientListResponse) []*ml.Datastore { return p.Value })
		if err != nil {
			return artifact.Location{}, failed(err, "cannot find the default datastore of %s", w.location)
		}
		for _, d := range all {
			if b, ok := d.Properties.(*ml.AzureBlobDatastore); ok && deref(b.IsDefault) {
				at, err := w.blobOf(b, stagingPath)
				return at, err
			}
		}
		return artifact.Location{}, mlerr.New(mlerr.InvalidArgument, "the workspace %s has no default datastore in Blob storage to copy artifacts to", w.location).At("artifact.uri").
			WithHint("Set the provider's azure_ml.staging_uri to https://<account>.blob.core.windows.net/<container>/<prefix>, with a container that a datastore of the workspace has")
	}
	at, err := artifact.Parse(uri)
	if err != nil || !at.IsBlob() {
		return at, mlerr.New(mlerr.InvalidArgument, "the provider's azure_ml.staging_uri cannot be used").Because(err)
	}
	return at, nil
}

// stagingPath is where artifacts are in a default datastore.
const stagingPath = "ml-artifacts"

// inWorkspace resolves an azureml:// address. Without a workspace it is in the
// provider's.
func (d *azureML) inWorkspace(ctx context.Context, uri string) (artifact.Location, error) {
	var none artifact.Location
	r, err := artifact.ParseAzureML(uri)
	if err != nil {
		return none, err
	}
	location := ""
	if r.Workspace != "" {
		location = r.Subscription + "/" + r.ResourceGroup + "/" + r.Workspace
	}
	if location, err = d.Locate(location); err != nil {
		return none, err
	}
	w, err := d.at(location)
	if err != nil {
		return none, err
	}
	if r.Model == "" {
		return w.blob(ctx, r.Datastore, r.Path)
	}
	v, err := w.getVersion(ctx, r.Model, r.Version)
	if err != nil {
		if mlerr.Is(err, mlerr.NotFound) {
			err = mlerr.New(mlerr.NotFound, "there is no such version").Because(err).At("artifact.uri")
		}
		return none, err
	}
	where := cmp.Or(tag(v.Properties.Properties, propertyArtifact), deref(v.Properties.ModelURI))
	if at, err := artifact.Parse(where); err == nil && at.IsBlob() {
		return at, nil
	}
	inner, err := artifact.ParseAzureML(where)
	if err != nil || inner.Datastore == "" {
		return none, mlerr.New(mlerr.Unsupported, "the version %s of %s is at %s, which is no path in a datastore", r.Version, r.Model, where).At("artifact.uri").
			WithHint("Download it to a local path first")
	}
	return w.blob(ctx, inner.Datastore, inner.Path)
}

// blob is where a path of a datastore is in Blob storage.
func (w *workspace) blob(ctx context.Context, datastore, path string) (artifact.Location, error) {
	got, err := w.c.Datastores.Get(ctx, w.group, w.name, datastore, nil)
	if err != nil {
		err := failed(err, "cannot read the datastore %s of %s", datastore, w.location)
		return artifact.Location{}, mlerr.New(mlerr.CodeOf(err), "").Because(err).At("artifact.uri")
	}
	b, ok := got.Datastore.Properties.(*ml.AzureBlobDatastore)
	if !ok {
		return artifact.Location{}, mlerr.New(mlerr.Unsupported, "the datastore %s is not in Blob storage", datastore).At("artifact.uri").WithHint("Copy the artifact to a datastore of Blob storage")
	}
	return w.blobOf(b, path)
}

func (w *workspace) blobOf(b *ml.AzureBlobDatastore, path string) (artifact.Location, error) {
	suffix := cmp.Or(deref(b.Endpoint), w.d.account.StorageSuffix())
	return artifact.Parse("https://" + deref(b.AccountName) + ".blob." + suffix + "/" + deref(b.ContainerName) + "/" + path)
}

func (d *azureML) source(ctx context.Context, uri string) (artifact.Source, error) {
	at, err := d.resolve(ctx, uri)
	if err != nil {
		return nil, err
	}
	if at.Scheme == artifact.SchemeFile {
		return artifact.Local(at.Path), nil
	}
	store, err := d.store()
	if err != nil {
		return nil, err
	}
	return store.Source(at), nil
}

// ArtifactDigest is the identity of the bytes at uri, or of those that were staged
// there.
func (d *azureML) ArtifactDigest(ctx context.Context, uri string) (string, error) {
	at, err := d.resolve(ctx, uri)
	if err != nil {
		return "", err
	}
	if at.Scheme == artifact.SchemeFile {
		return artifact.Digest(ctx, artifact.Local(at.Path))
	}
	store, err := d.store()
	if err != nil {
		return "", err
	}
	if into, ok := d.staged(at); ok {
		if digest, staged, err := artifact.StagedDigest(ctx, store, at, into); staged || err != nil {
			return digest, err
		}
	}
	return artifact.Digest(ctx, store.Source(at))
}

// staged guesses where a blob was staged below, from its address: staging is known
// without its workspace only where it is configured.
func (d *azureML) staged(at artifact.Location) (into artifact.Location, ok bool) {
	if into, err := artifact.Parse(d.cfg.StagingURI); err == nil && into.Bucket == at.Bucket {
		return into, true
	}
	into = artifact.Location{Scheme: at.Scheme, Bucket: at.Bucket, Key: stagingPath}
	return into, strings.HasPrefix(at.Key, stagingPath+"/")
}

// StageArtifact copies the artifact, in the directory that its server wants. Also one
// that is in Blob storage already: nothing but a copy proves that it still holds the
// planned bytes.
func (d *azureML) StageArtifact(ctx context.Context, spec *driver.ModelSpec) (string, error) {
	w, err := d.at(spec.Key.Location)
	if err != nil {
		return "", err
	}
	into, err := w.staging(ctx)
	if err != nil {
		return "", err
	}
	var src artifact.Source
	if spec.Original != nil {
		src = artifact.From(spec.Artifact.URI, spec.Original)
	} else if src, err = d.source(ctx, spec.Artifact.URI); err != nil {
		return "", err
	}
	store, err := d.store()
	if err != nil {
		return "", err
	}
	how, err := contract(spec)
	if err != nil {
		return "", err
	}
	return artifact.Stage(ctx, store, artifact.Request{Source: src, Digest: spec.Artifact.Digest, Into: into, Directory: how.directory, Name: spec.Key.Name, Tree: true})
}

// OpenArtifact offers what the version's server loads.
func (d *azureML) OpenArtifact(ctx context.Context, ref driver.VersionRef, v *driver.Version) (driver.Original, error) {
	at, err := d.resolve(ctx, v.Artifact.URI)
	if mlerr.Is(err, mlerr.NotFound, mlerr.Unsupported, mlerr.InvalidArgument) || err == nil && !at.IsBlob() {
		return nil, artifact.Unoffered(ref.String(), "its files are not in Blob storage")
	}
	if err != nil {
		return nil, err
	}
	if !at.IsPrefix() && v.Owned { // what is staged is a directory
		at.Key += "/"
	}
	store, err := d.store()
	if err != nil {
		return nil, err
	}
	return artifact.Unstage(ctx, store, at, v.Artifact.Digest, ref.String())
}
