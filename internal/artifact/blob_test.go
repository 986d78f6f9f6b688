// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/azblob"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// token is a credential that is not asked for.
type token string

func (t token) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(t), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// blobBetween puts something between the client and an emulated Blob storage.
func blobBetween(t *testing.T, disturb func(w http.ResponseWriter, r *http.Request) (answered bool)) (*artifact.Blob, string) {
	t.Helper()
	dir := t.TempDir()
	h, err := azblob.New(dir)
	if err == nil {
		err = azblob.EnsureContainer(dir, account, bucket)
	}
	address := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !disturb(w, r) {
			h.ServeHTTP(w, r)
		}
	}), err)
	store, err := artifact.BlobConfig{Credential: token("t"), EndpointURL: address}.Open()
	if err != nil {
		t.Fatal(err)
	}
	return store, dir
}

func inBlob(key string) artifact.Location {
	return artifact.Location{Scheme: artifact.SchemeHTTPS, Bucket: account + ".blob.core.windows.net/" + bucket, Key: key}
}

// several yields blocks that differ, and ends with an error if there is one.
func several(megabytes int, fail error) io.Reader {
	var parts []io.Reader
	for i := range megabytes {
		parts = append(parts, bytes.NewReader(bytes.Repeat([]byte{byte(i)}, 1<<20)))
	}
	if fail != nil {
		parts = append(parts, &endless{fail: fail})
	}
	return io.MultiReader(parts...)
}

// A block that gets lost is sent again, and not the whole; one whose answer gets lost
// does no harm.
func TestLostBlocks(t *testing.T) {
	t.Parallel()
	var blocks, commits atomic.Int32
	store, dir := blobBetween(t, func(w http.ResponseWriter, r *http.Request) bool {
		switch r.URL.Query().Get("comp") {
		case "block":
			if blocks.Add(1) != 2 {
				return false
			}
			w.Header().Set("Retry-After-Ms", "1")
			azblob.Refuse(w, http.StatusServiceUnavailable, "ServerBusy", "The server is busy.")
			return true
		case "blocklist":
			if r.Method == http.MethodPut && commits.Add(1) == 1 {
				panic(http.ErrAbortHandler)
			}
		}
		return false
	})
	if err := store.Put(t.Context(), inBlob("k"), "digest", several(40, nil)); err != nil {
		t.Fatal(err)
	}
	info, err := azblob.Stat(dir, account, bucket, "k")
	if err != nil || info.Size != 40<<20 || blocks.Load() != 6 || commits.Load() != 2 {
		t.Errorf("%d bytes after %d blocks and %d commits, %v", info.Size, blocks.Load(), commits.Load(), err)
	}
}

// An upload that was cut off goes on where it was: the blocks that have arrived are
// not sent again, others than the artifact's are not used.
func TestUploadsResume(t *testing.T) {
	t.Parallel()
	var sent atomic.Int32
	store, dir := blobBetween(t, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("comp") == "block" {
			sent.Add(1)
		}
		return false
	})
	cut := errors.New("cut off")
	if err := store.Put(t.Context(), inBlob("k"), "digest", several(30, cut)); !errors.Is(err, cut) {
		t.Fatalf("got %v", err)
	}
	if _, err := store.Stat(t.Context(), inBlob("k")); !mlerr.Is(err, mlerr.NotFound) || sent.Load() != 3 {
		t.Fatalf("after %d blocks there is a blob: %v", sent.Load(), err)
	}
	if err := store.Put(t.Context(), inBlob("k"), "digest", several(40, nil)); err != nil || sent.Load() != 3+2 {
		t.Errorf("sent %d blocks again, %v", sent.Load()-3, err)
	}
	got, err := azblob.Open(dir, account, bucket, "k")
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	want, err := io.ReadAll(several(40, nil))
	if err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(got); err != nil || !bytes.Equal(all, want) {
		t.Errorf("%d bytes arrived, %v", len(all), err)
	}
	if err := store.Put(t.Context(), inBlob("other"), "digest", io.MultiReader(strings.NewReader("x"), several(30, nil))); err != nil || sent.Load() != 5+4 {
		t.Errorf("sent %d blocks of another artifact, %v", sent.Load()-5, err)
	}
}

// What arrives damaged is refused by the service, and not taken.
func TestDamagedOnTheWay(t *testing.T) {
	t.Parallel()
	for reason, size := range map[string]int{"in one request": 1, "in blocks": 20} {
		store, dir := blobBetween(t, func(_ http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut && r.URL.Query().Get("comp") != "blocklist" {
				r.Body = io.NopCloser(io.MultiReader(strings.NewReader("X"), skipping(r.Body)))
			}
			return false
		})
		err := store.Put(t.Context(), inBlob("k"), "digest", several(size, nil))
		if keys, listed := azblob.Keys(dir, account, bucket, ""); !mlerr.Is(err, mlerr.Unavailable) || !strings.Contains(err.Error(), "CRC64") || listed != nil || len(keys) > 0 {
			t.Errorf("%s: %v, and %v is there", reason, err, keys)
		}
	}
}

func skipping(r io.Reader) io.Reader {
	_, _ = io.ReadFull(r, make([]byte, 1)) // the reader's error comes again
	return r
}

// A download that breaks goes on where it was; one of a blob that was replaced does
// not come out as a mixture, and one that says it is compressed comes as it is.
func TestDownloads(t *testing.T) {
	t.Parallel()
	var breaks atomic.Int32
	store, dir := blobBetween(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || r.URL.Query().Has("comp") || breaks.Add(1) != 1 {
			return false
		}
		w.Header().Set("Content-Length", "9")
		w.Header().Set("Etag", r.Header.Get("If-Match"))
		_, _ = w.Write([]byte("one "))
		panic(http.ErrAbortHandler)
	})
	if err := azblob.Put(dir, account, bucket, "models/a", strings.NewReader("one model")); err != nil {
		t.Fatal(err)
	}
	entries, err := store.Source(inBlob("models/")).Entries(t.Context())
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	r, err := entries[0].Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if text, err := io.ReadAll(r); err != nil || string(text) != "one model" || breaks.Load() != 2 {
		t.Errorf("read %q after %d requests, %v", text, breaks.Load(), err)
	}
	if err := azblob.Put(dir, account, bucket, "models/a", strings.NewReader("another")); err != nil {
		t.Fatal(err)
	}
	if r, err := entries[0].Open(t.Context()); !mlerr.Is(err, mlerr.InvalidArgument) || mlerr.PathOf(err) != "artifact.uri" {
		t.Errorf("replaced: %v, %v", r, err)
	}
}

// blobServer is an emulated Blob storage with its address.
func blobServer(t *testing.T) (store *artifact.Blob, dir, address string) {
	t.Helper()
	dir = t.TempDir()
	h, err := azblob.New(dir)
	if err == nil {
		err = azblob.EnsureContainer(dir, account, bucket)
	}
	address = serve(t, h, err)
	if store, err = (artifact.BlobConfig{Credential: token("t"), EndpointURL: address}).Open(); err != nil {
		t.Fatal(err)
	}
	return store, dir, address
}

// upload writes a blob with Azure's own client.
func upload(t *testing.T, address, key, content string, o blockblob.UploadBufferOptions) {
	t.Helper()
	c, err := blockblob.NewClientWithNoCredential(address+"/"+account+"/"+bucket+"/"+url.PathEscape(key)+"?sig=s&sp=rw&se=2999-01-01T00:00:00Z", nil)
	if err == nil {
		_, err = c.UploadBuffer(t.Context(), []byte(content), &o)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A directory is one without a slash too, in the two ways that accounts have them.
func TestDirectoriesWithoutSlash(t *testing.T) {
	t.Parallel()
	store, dir, address := blobServer(t)
	files := map[string]string{"MLmodel": "m", "data/model.pkl": "p"}
	for name, text := range files {
		if err := azblob.Put(dir, account, bucket, "models/forest/"+name, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	want := digest(t, artifact.Local(tree(t, files)))
	for _, hierarchical := range []bool{false, true} {
		if hierarchical {
			upload(t, address, "models/forest", "", blockblob.UploadBufferOptions{Metadata: map[string]*string{"hdi_isfolder": new("true")}})
		}
		src := store.Source(inBlob("models/forest"))
		if got := digest(t, src); got != want || src.Single() {
			t.Errorf("hierarchical %v: got %s, want %s", hierarchical, got, want)
		}
		offered := artifact.From(version, func(ctx context.Context) (*artifact.Staged, error) {
			return artifact.Unstage(ctx, store, inBlob("models/forest"), want, version)
		})
		if diff := cmp.Diff(files, contentsOf(t, offered)); diff != "" {
			t.Errorf("hierarchical %v: %s", hierarchical, diff)
		}
	}
}

// Blobs come as they are stored, also those that say they are compressed. What an
// account with a hierarchical namespace lists of directories is no file.
func TestStoredBytes(t *testing.T) {
	t.Parallel()
	store, _, address := blobServer(t)
	upload(t, address, "a", "not gzip at all", blockblob.UploadBufferOptions{HTTPHeaders: &blob.HTTPHeaders{BlobContentEncoding: new("gzip")}})
	upload(t, address, "dir", "", blockblob.UploadBufferOptions{Metadata: map[string]*string{"Hdi_isfolder": new("true")}})
	if diff := cmp.Diff(map[string]string{"a": "not gzip at all"}, contentsOf(t, store.Source(inBlob("")))); diff != "" {
		t.Error(diff)
	}
}

// What the platform refuses keeps its words, and gets a code, its request and what to
// do.
func TestBlobStorageErrors(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]struct {
		status int
		code   mlerr.Code
		hint   string
	}{
		"NoAuthenticationInformation":     {http.StatusUnauthorized, mlerr.Unauthenticated, "az login"},
		"AuthorizationPermissionMismatch": {http.StatusForbidden, mlerr.PermissionDenied, "Storage Blob Data Contributor"},
		"AuthorizationFailure":            {http.StatusForbidden, mlerr.PermissionDenied, "network rules"},
		"ContainerNotFound":               {http.StatusNotFound, mlerr.NotFound, "must exist"},
		"InvalidBlockList":                {http.StatusBadRequest, mlerr.Conflict, ""},
		"ServerBusy":                      {http.StatusServiceUnavailable, mlerr.Throttled, ""},
		"InternalError":                   {http.StatusInternalServerError, mlerr.Unavailable, ""},
		"SomethingNew":                    {http.StatusBadRequest, mlerr.InvalidArgument, ""},
	} {
		var calls atomic.Int32
		store, _ := blobBetween(t, func(w http.ResponseWriter, r *http.Request) bool {
			calls.Add(1)
			if got := r.Header.Get("Authorization"); got != "Bearer t" {
				t.Errorf("sent the credentials %q", got)
			}
			w.Header().Set("X-Ms-Request-Id", "request-7")
			w.Header().Set("Retry-After-Ms", "1")
			w.Header().Set("WWW-Authenticate", "Bearer authorization_uri=https://x/y/z resource_id=https://storage.azure.com")
			azblob.Refuse(w, want.status, code, "the platform's words")
			return true
		})
		_, err := store.Source(inBlob("models/")).Entries(t.Context())
		text := ""
		if err != nil {
			text = err.Error()
		}
		if !mlerr.Is(err, want.code) || !strings.Contains(mlerr.Hint(err), want.hint) || !strings.Contains(text, code+": the platform's words") || !strings.Contains(text, "request id request-7") || strings.Contains(text, "\n") {
			t.Errorf("%s: %v (%v), hint %q; want %v, …%s…", code, err, mlerr.CodeOf(err), mlerr.Hint(err), want.code, want.hint)
		}
		if calls.Load() > 4 {
			t.Errorf("%s: called %d times", code, calls.Load())
		}
	}
}

// Credentials are only sent where nobody else can read them.
func TestWhereBlobCredentialsGo(t *testing.T) {
	t.Parallel()
	for address, allowed := range map[string]bool{"http://example.com": false, "localhost": false, "https://private.example.com/blob": true, "http://127.0.0.1:1": true, "http://localhost:1": true, "": true} {
		if _, err := (artifact.BlobConfig{Credential: token("t"), EndpointURL: address}).Open(); (err == nil) != allowed {
			t.Errorf("%q: %v", address, err)
		}
	}
	var asked []string
	seen := transport(func(r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.String()+" "+r.Header.Get("Authorization"))
	})
	at, err := artifact.Parse("https://acct1.blob.core.chinacloudapi.cn/models/a%20b.onnx")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []artifact.BlobConfig{{Credential: token("t")}, {}} { // public blobs need none
		c.Options.Transport = seen
		store, err := c.Open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := store.Stat(t.Context(), at); !mlerr.Is(err, mlerr.NotFound) {
			t.Errorf("%v", err)
		}
		if _, err := store.Stat(t.Context(), artifact.Location{Scheme: artifact.SchemeS3, Bucket: "b", Key: "k"}); !mlerr.Is(err, mlerr.InvalidArgument) {
			t.Errorf("an address of another store: %v", err)
		}
	}
	if want := []string{"HEAD https://acct1.blob.core.chinacloudapi.cn/models/a%20b.onnx Bearer t", "HEAD https://acct1.blob.core.chinacloudapi.cn/models/a%20b.onnx "}; !slices.Equal(asked, want) {
		t.Errorf("asked %q", asked)
	}
}

// transport answers everything with 404.
type transport func(*http.Request)

func (see transport) Do(r *http.Request) (*http.Response, error) {
	see(r)
	return &http.Response{StatusCode: http.StatusNotFound, Header: http.Header{"X-Ms-Error-Code": {"BlobNotFound"}}, Body: http.NoBody, Request: r}, nil
}
