// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"strings"
	"time"

	"cloud.google.com/go/storage"
	gax "github.com/googleapis/gax-go/v2"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// GCSConfig is how Google Cloud Storage is reached.
type GCSConfig struct {
	HTTPClient  *http.Client // sends the credentials; nil sends none
	EndpointURL string       // "" is Google's
}

// Open is the object store. It does not dial out.
func (c GCSConfig) Open(ctx context.Context) (*GCS, error) {
	client := c.HTTPClient
	if client == nil {
		client = &http.Client{Transport: http.DefaultTransport}
	}
	// The library is not to look for credentials of its own: those are in the client.
	options := []option.ClientOption{option.WithHTTPClient(client), option.WithoutAuthentication()}
	if c.EndpointURL != "" {
		options = append(options, option.WithEndpoint(strings.TrimSuffix(c.EndpointURL, "/")+"/storage/v1/"))
	}
	made, err := storage.NewClient(context.WithoutCancel(ctx), options...)
	if err != nil {
		return nil, mlerr.New(mlerr.InvalidArgument, "cannot use Cloud Storage").Because(err)
	}
	made.SetRetry(storage.WithMaxAttempts(attempts), storage.WithBackoff(gax.Backoff{Initial: 200 * time.Millisecond, Max: 5 * time.Second, Multiplier: 2}))
	return &GCS{made}, nil
}

// attempts is how often a call is made before its error is told.
const attempts = 4

// GCS is Google Cloud Storage.
type GCS struct{ client *storage.Client }

// Source is the artifact at a gs:// location.
func (g *GCS) Source(l Location) Source { return &objectSource{g, l} }

func (g *GCS) object(at Location) *storage.ObjectHandle {
	return g.client.Bucket(at.Bucket).Object(at.Key)
}

func (g *GCS) head(ctx context.Context, at Location) (Entry, error) {
	attrs, err := g.object(at).Attrs(ctx)
	if err != nil {
		return Entry{}, gcsError(err, "reading "+at.String())
	}
	return g.entry(at, attrs), nil
}

func (g *GCS) list(ctx context.Context, at Location, give func(key string, e Entry)) error {
	query := &storage.Query{Prefix: at.Key}
	if err := query.SetAttrSelection([]string{"Name", "Size", "Generation"}); err != nil {
		return err
	}
	for all := g.client.Bucket(at.Bucket).Objects(ctx, query); ; {
		attrs, err := all.Next()
		if errors.Is(err, iterator.Done) {
			return nil
		}
		if err != nil {
			return gcsError(err, "reading "+at.String())
		}
		give(attrs.Name, g.entry(at, attrs))
	}
}

// entry reads the generation that was listed, whatever replaces it meanwhile. The
// client compares what it reads with the CRC32C that is kept.
func (g *GCS) entry(at Location, attrs *storage.ObjectAttrs) Entry {
	object := g.client.Bucket(at.Bucket).Object(attrs.Name).Generation(attrs.Generation)
	return Entry{Size: attrs.Size, Open: func(ctx context.Context) (io.ReadCloser, error) {
		r, err := object.ReadCompressed(true).NewReader(ctx) // the stored bytes
		if err != nil {
			return nil, gcsError(err, "reading "+at.String())
		}
		return r, nil
	}}
}

// Stat returns the digest of the artifact that an object was staged from, "" for
// an object that we did not stage. Absent is NotFound.
func (g *GCS) Stat(ctx context.Context, at Location) (digest string, err error) {
	attrs, err := g.object(at).Attrs(ctx)
	if err != nil {
		return "", gcsError(err, "looking for "+at.String())
	}
	return attrs.Metadata[digestMetadata], nil
}

// What of an upload is in memory: a chunk, which is sent again when it gets lost, or
// the whole of a small object, of which a tree has many.
const (
	chunkSize = 8 << 20
	smallSize = 1 << 20
)

// Put streams an object into a place where none is; one that is there already is
// Conflict. Nothing is left behind when r or the upload fails.
func (g *GCS) Put(ctx context.Context, at Location, digest string, r io.Reader) error {
	head := make([]byte, smallSize)
	n, err := io.ReadFull(r, head)
	chunk := smallSize
	switch {
	case err == nil:
		chunk = chunkSize
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return putError(err, at)
	}
	return g.put(ctx, at, digest, io.MultiReader(bytes.NewReader(head[:n]), r), chunk)
}

func (g *GCS) put(ctx context.Context, at Location, digest string, r io.Reader, chunk int) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	w := g.object(at).If(storage.Conditions{DoesNotExist: true}).NewWriter(ctx)
	w.ChunkSize, w.ContentType, w.Metadata = chunk, "application/octet-stream", map[string]string{digestMetadata: digest}
	sum := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	size, err := io.Copy(w, io.TeeReader(r, sum))
	if err != nil {
		// Closing would complete the object. The context alone ends the upload too, but
		// perhaps only after its last bytes.
		_ = w.CloseWithError(err) //nolint:staticcheck // see above
		return putError(err, at)
	}
	if err := w.Close(); err != nil {
		return gcsError(err, "writing "+at.String())
	}
	if got := w.Attrs(); got.CRC32C != sum.Sum32() || got.Size != size {
		// What arrived is not what was sent, and must not be taken for it.
		err := mlerr.New(mlerr.Unavailable, "writing %s: %d bytes arrived with the CRC32C %08x, of %d with %08x", at, got.Size, got.CRC32C, size, sum.Sum32())
		return errors.Join(err, g.object(at).If(storage.Conditions{GenerationMatch: got.Generation}).Delete(ctx))
	}
	return nil
}

// putError is what has ended an upload: an error of what is read, which says enough,
// or of the store.
func putError(err error, at Location) error {
	if own, ok := errors.AsType[*mlerr.Error](err); ok {
		return own
	}
	return gcsError(err, "writing "+at.String())
}

// gcsError gives an error of Cloud Storage a code, and names the request.
func gcsError(err error, doing string) error {
	code, hint, request := mlerr.CodeOf(err), "", ""
	api, answered := errors.AsType[*googleapi.Error](err)
	switch {
	case errors.Is(err, storage.ErrBucketNotExist):
		code, hint = mlerr.NotFound, "The bucket must exist; the provider makes none"
	case errors.Is(err, storage.ErrObjectNotExist):
		code = mlerr.NotFound
	case answered:
		code, hint = gcsCode(api)
	case code == mlerr.Unknown:
		code = mlerr.Unavailable
	}
	if answered {
		if id := cmp.Or(api.Header.Get("X-Guploader-Uploadid"), api.Header.Get("X-Request-Id")); id != "" {
			request = " (request " + id + ")"
		}
	}
	wrapped := mlerr.New(code, "%s%s", doing, request).Because(err).WithHint("%s", hint)
	if code == mlerr.NotFound {
		return wrapped.At("artifact.uri")
	}
	return wrapped
}

func gcsCode(api *googleapi.Error) (code mlerr.Code, hint string) {
	switch {
	case api.Code == http.StatusNotFound && strings.Contains(api.Message, "bucket"):
		return mlerr.NotFound, "The bucket must exist; the provider makes none"
	case api.Code == http.StatusNotFound:
		return mlerr.NotFound, ""
	case api.Code == http.StatusUnauthorized:
		return mlerr.Unauthenticated, "Set the provider's vertex_ai.credentials or access_token, or GOOGLE_CREDENTIALS"
	case api.Code == http.StatusForbidden:
		return mlerr.PermissionDenied, "Allow storage.objects.get, storage.objects.list and storage.objects.create to the credentials in use (roles/storage.objectUser)"
	case api.Code == http.StatusPreconditionFailed:
		return mlerr.Conflict, ""
	case api.Code == http.StatusTooManyRequests:
		return mlerr.Throttled, ""
	case api.Code >= http.StatusInternalServerError:
		return mlerr.Unavailable, ""
	}
	return mlerr.InvalidArgument, ""
}
