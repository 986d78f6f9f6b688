// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/naming"
)

// modelsDirectory is where an image holds its model files, by the convention of
// KServe's modelcars and of Kubernetes image volumes.
const modelsDirectory = "models/"

// Registry reads and stages artifacts that are images in OCI registries.
type Registry struct{ transport http.RoundTripper }

// NewRegistry uses the credentials that docker and podman have on this machine.
// through is nil for the default.
func NewRegistry(through http.RoundTripper) *Registry {
	if through == nil {
		through = remote.DefaultTransport
	}
	return &Registry{through}
}

func (r *Registry) options(ctx context.Context) []remote.Option {
	return []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain), remote.WithTransport(r.transport)}
}

// Digest is the identity of an image: the hex digest of its manifest.
func (r *Registry) Digest(ctx context.Context, at Location) (string, error) {
	ref, err := reference(at)
	if err != nil {
		return "", err
	}
	found, err := remote.Head(ref, r.options(ctx)...)
	if err != nil {
		return "", registryError(err, "looking for "+at.String())
	}
	return found.Digest.Hex, nil
}

// Pin is the address of exactly the image with that digest, whatever tag it was
// named by.
func Pin(at Location, digest string) (string, error) {
	ref, err := reference(at)
	if err != nil {
		return "", err
	}
	return "oci://" + ref.Context().Digest("sha256:"+digest).Name(), nil
}

func reference(at Location) (name.Reference, error) {
	ref, err := name.ParseReference(at.Path)
	if err != nil {
		return nil, mlerr.New(mlerr.InvalidArgument, "%s names no image", at).Because(err).At("artifact.uri")
	}
	return ref, nil
}

// Stage pushes an artifact to the repository that it is to be staged into, as an
// image of one layer with the files below models/, unless it is there, and returns
// its address by digest.
func (r *Registry) Stage(ctx context.Context, v *Verified) (string, error) {
	q := v.request
	repository, err := name.NewRepository(q.Into.Path)
	if err != nil {
		return "", mlerr.New(mlerr.InvalidArgument, "%s names no repository", q.Into).Because(err)
	}
	tag := repository.Tag(naming.Name(q.Digest[:32], 50, naming.Hash([]string{q.Directory, q.Name, arrangement})))
	there, err := r.staged(ctx, tag, q.Digest)
	if err != nil || there != "" {
		return there, err
	}
	files, w := io.Pipe()
	go func() { w.CloseWithError(v.Tar(ctx, w, modelsDirectory)) }()
	defer files.CloseWithError(io.ErrClosedPipe)
	layer := stream.NewLayer(files, stream.WithMediaType(types.OCILayer), stream.WithCompressionLevel(gzip.BestSpeed))
	image, err := bare(q.Digest)
	if err == nil {
		image, err = mutate.AppendLayers(image, layer) // last: what a stream holds is known only when it was sent
	}
	if err != nil {
		return "", err
	}
	if err := remote.Write(tag, image, r.options(ctx)...); err != nil {
		if own, ok := errors.AsType[*mlerr.Error](err); ok {
			return "", own
		}
		return "", registryError(err, "pushing "+tag.Name())
	}
	return r.staged(ctx, tag, q.Digest)
}

// Unstage offers what was put into an image, if it is there.
func (r *Registry) Unstage(ctx context.Context, at Location, digest, version string) (*Staged, error) {
	ref, err := reference(at)
	if err != nil {
		return nil, err
	}
	image, err := remote.Image(ref, r.options(ctx)...)
	if err != nil {
		return nil, registryError(err, "looking for "+at.String())
	}
	manifest, err := image.Manifest()
	if err != nil {
		return nil, registryError(err, "reading "+at.String())
	}
	layers, err := image.Layers()
	if err != nil {
		return nil, registryError(err, "reading "+at.String())
	}
	if manifest.Annotations[digestAnnotation] != digest || len(layers) != 1 {
		return nil, Unoffered(version, at.String()+" is an image that was not made of an artifact")
	}
	return &Staged{files: &archive{from: &layer{at, layers[0]}, below: modelsDirectory}, digest: digest, gone: notAnyMore(at, version)}, nil
}

// layer is the tar archive that a layer of an image is.
type layer struct {
	at    Location
	layer v1.Layer
}

func (l *layer) String() string { return l.at.String() }
func (l *layer) Single() bool   { return true }

func (l *layer) Entries(context.Context) ([]Entry, error) {
	return []Entry{{Path: "layer.tar", Open: func(context.Context) (io.ReadCloser, error) {
		r, err := l.layer.Uncompressed()
		if err != nil {
			return nil, registryError(err, "reading "+l.at.String())
		}
		return r, nil
	}}}, nil
}

// bare is an image without layers that says which artifact it is for.
func bare(digest string) (v1.Image, error) {
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers"}})
	if err != nil {
		return nil, err
	}
	image = mutate.ConfigMediaType(mutate.MediaType(image, types.OCIManifestSchema1), types.OCIConfigJSON)
	annotated, _ := mutate.Annotations(image, map[string]string{digestAnnotation: digest}).(v1.Image)
	return annotated, nil
}

// digestAnnotation says which artifact an image was staged from.
const digestAnnotation = "io.terraform.ml.artifact-sha256"

// staged is the address of the image with that tag, "" if there is none.
func (r *Registry) staged(ctx context.Context, tag name.Tag, digest string) (string, error) {
	found, err := remote.Image(tag, r.options(ctx)...)
	if err != nil {
		if err = registryError(err, "looking for "+tag.Name()); mlerr.Is(err, mlerr.NotFound) {
			return "", nil
		}
		return "", err
	}
	manifest, err := found.Manifest()
	if err != nil {
		return "", err
	}
	if manifest.Annotations[digestAnnotation] != digest {
		return "", mlerr.New(mlerr.AlreadyExists, "%s holds something else than the artifact %s", tag.Name(), digest).
			WithHint("Nothing is ever overwritten. Remove the tag, or choose another staging_uri")
	}
	sum, err := found.Digest()
	return "oci://" + tag.Context().Digest(sum.String()).Name(), err
}

func registryError(err error, doing string) error {
	code, hint := mlerr.CodeOf(err), ""
	refused, ok := errors.AsType[*transport.Error](err)
	switch {
	case ok && refused.StatusCode == http.StatusNotFound:
		code = mlerr.NotFound
	case ok && (refused.StatusCode == http.StatusUnauthorized || refused.StatusCode == http.StatusForbidden):
		code, hint = mlerr.PermissionDenied, "Log in to the registry with docker login or podman login, as the user that runs terraform"
	case ok && refused.StatusCode == http.StatusTooManyRequests:
		code = mlerr.Throttled
	case code == mlerr.Unknown && (!ok || refused.StatusCode >= http.StatusInternalServerError):
		code = mlerr.Unavailable
	}
	e := mlerr.New(code, "%s", doing).Because(err).WithHint("%s", hint)
	if code == mlerr.NotFound && strings.HasPrefix(doing, "looking for oci://") {
		return e.At("artifact.uri")
	}
	return e
}
