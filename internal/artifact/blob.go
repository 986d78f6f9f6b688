// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact

import (
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// BlobConfig is how Azure Blob storage is reached.
type BlobConfig struct {
	Credential  azcore.TokenCredential // nil sends none
	Options     policy.ClientOptions   // retries excepted, which are the store's own
	EndpointURL string                 // of all accounts, whose name begins the path there; "" is Azure's
}

// Open is the object store. It does not dial out.
func (c BlobConfig) Open() (*Blob, error) {
	if c.EndpointURL != "" {
		u, err := url.Parse(c.EndpointURL)
		if err != nil || u.Host == "" {
			return nil, mlerr.New(mlerr.InvalidArgument, "%q is no address of Blob storage", c.EndpointURL)
		}
		ip := net.ParseIP(u.Hostname())
		local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
		if u.Scheme != "https" && !local {
			return nil, mlerr.New(mlerr.InvalidArgument, "tokens for Blob storage only go to https:// or to this machine, and not to %q", c.EndpointURL)
		}
		c.Options.InsecureAllowCredentialWithHTTP = u.Scheme != "https"
	}
	c.Options.Retry = policy.RetryOptions{MaxRetries: attempts - 1, RetryDelay: 200 * time.Millisecond, MaxRetryDelay: time.Minute}
	return &Blob{config: c, containers: map[string]*container.Client{}}, nil
}

// Blob is Azure Blob storage.
type Blob struct {
	config BlobConfig

	mu         sync.Mutex
	containers map[string]*container.Client // by Location.Bucket
}

// Source is the artifact at an address of Blob storage. Azure's own tools write the
// address of a directory without a slash: where there is no blob, that is tried too.
func (b *Blob) Source(l Location) Source { return &blobSource{objectSource: objectSource{b, l}} }

// blobSource is a blob, or a directory that has the address of one.
type blobSource struct {
	objectSource

	directory bool // known once the entries are
}

func (s *blobSource) Single() bool { return !s.directory && s.objectSource.Single() }

func (s *blobSource) Entries(ctx context.Context) ([]Entry, error) {
	entries, err := s.objectSource.Entries(ctx)
	if !mlerr.Is(err, mlerr.NotFound) || !s.objectSource.Single() {
		return entries, err
	}
	below := s.objectSource
	below.at.Key += "/"
	all, none := below.Entries(ctx)
	if mlerr.Is(none, mlerr.NotFound) {
		return nil, err
	}
	s.directory = none == nil
	return all, none
}

func (b *Blob) container(at Location) (*container.Client, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if client := b.containers[at.Bucket]; client != nil {
		return client, nil
	}
	if !at.IsBlob() {
		return nil, mlerr.New(mlerr.InvalidArgument, "%s is not in Blob storage", at).At("artifact.uri").WithHint(aBlob)
	}
	host, name, _ := strings.Cut(at.Bucket, "/")
	address := "https://" + host
	if b.config.EndpointURL != "" {
		account, _, _ := strings.Cut(host, ".")
		address = strings.TrimSuffix(b.config.EndpointURL, "/") + "/" + account
	}
	address += "/" + name
	options := &container.ClientOptions{ClientOptions: b.config.Options}
	var client *container.Client
	var err error
	if b.config.Credential == nil {
		client, err = container.NewClientWithNoCredential(address, options)
	} else {
		client, err = container.NewClient(address, b.config.Credential, options)
	}
	if err != nil {
		return nil, mlerr.New(mlerr.InvalidArgument, "cannot use Blob storage").Because(err)
	}
	b.containers[at.Bucket] = client
	return client, nil
}

func (b *Blob) properties(ctx context.Context, at Location, doing string) (blob.GetPropertiesResponse, error) {
	c, err := b.container(at)
	if err != nil {
		return blob.GetPropertiesResponse{}, err
	}
	got, err := c.NewBlobClient(at.Key).GetProperties(ctx, nil)
	if err != nil {
		return got, blobError(err, doing+at.String())
	}
	return got, nil
}

func (b *Blob) head(ctx context.Context, at Location) (Entry, error) {
	got, err := b.properties(ctx, at, "reading ")
	if err != nil {
		return Entry{}, err
	}
	if isFolder(got.Metadata) {
		return Entry{}, mlerr.New(mlerr.NotFound, "%s is a directory", at).At("artifact.uri")
	}
	return b.entry(at, at.Key, deref(got.ContentLength), got.ETag)
}

func (b *Blob) list(ctx context.Context, at Location, give func(key string, e Entry)) error {
	c, err := b.container(at)
	if err != nil {
		return err
	}
	options := &container.ListBlobsFlatOptions{Include: container.ListBlobsInclude{Metadata: true}}
	if at.Key != "" {
		options.Prefix = &at.Key
	}
	for pages := c.NewListBlobsFlatPager(options); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return blobError(err, "reading "+at.String())
		}
		if page.Segment == nil {
			continue
		}
		for _, item := range page.Segment.BlobItems {
			if item.Name == nil || item.Properties == nil || strings.EqualFold(deref(item.Properties.ResourceType), "directory") || isFolder(item.Metadata) {
				continue
			}
			e, err := b.entry(at, *item.Name, deref(item.Properties.ContentLength), item.Properties.ETag)
			if err != nil {
				return err
			}
			give(*item.Name, e)
		}
	}
	return nil
}

// isFolder: accounts with a hierarchical namespace have blobs that are directories.
func isFolder(about map[string]*string) bool {
	return strings.EqualFold(metadata(about, "hdi_isfolder"), "true")
}

// metadata is a value by a name whose letters come back in any case.
func metadata(all map[string]*string, name string) string {
	for _, k := range slices.Sorted(maps.Keys(all)) {
		if strings.EqualFold(k, name) {
			return deref(all[k])
		}
	}
	return ""
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// entry reads the bytes that were listed: replaced meanwhile, they are refused.
func (b *Blob) entry(at Location, key string, size int64, tag *azcore.ETag) (Entry, error) {
	c, err := b.container(at)
	if err != nil {
		return Entry{}, err
	}
	client := c.NewBlobClient(key)
	if tag != nil { // lists show it without quotes, and conditions want them
		tag = new(azcore.ETag(`"` + strings.Trim(string(*tag), `"`) + `"`))
	}
	return Entry{Size: size, Open: func(ctx context.Context) (io.ReadCloser, error) {
		// As they are stored: else a blob that says it is compressed would be unpacked.
		stored := policy.WithHTTPHeader(ctx, http.Header{"Accept-Encoding": {"identity"}})
		got, err := client.DownloadStream(stored, &blob.DownloadStreamOptions{AccessConditions: &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: tag}}})
		if err != nil {
			return nil, readingError(err, at)
		}
		return &blobReader{got.NewRetryReader(stored, &blob.RetryReaderOptions{MaxRetries: attempts, EarlyCloseAsError: true}), at}, nil
	}}, nil
}

// blobReader gives the errors of reading a code.
type blobReader struct {
	io.ReadCloser
	at Location
}

func (r *blobReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // readers return it bare
		err = readingError(err, r.at)
	}
	return n, err
}

func readingError(err error, at Location) error {
	if bloberror.HasCode(err, bloberror.ConditionNotMet) {
		return changed(at.String())
	}
	return blobError(err, "reading "+at.String())
}

// Stat returns the digest of the artifact that a blob was staged from, "" for one
// that we did not stage. Absent is NotFound.
func (b *Blob) Stat(ctx context.Context, at Location) (digest string, err error) {
	got, err := b.properties(ctx, at, "looking for ")
	if err != nil {
		return "", err
	}
	return metadata(got.Metadata, blobDigest), nil
}

// blobDigest is digestMetadata where names take no hyphens.
var blobDigest = strings.ReplaceAll(digestMetadata, "-", "_")
