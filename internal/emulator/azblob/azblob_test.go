// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azblob_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"io/fs"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	client "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/azblob"
)

const account = "mlmodels"

type token string

func (s token) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(s), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// storage is an emulated account with the container models, seen through Azure's own
// client.
type storage struct {
	t   *testing.T
	dir string
	url string
	*container.Client
}

func newStorage(t *testing.T) *storage {
	t.Helper()
	s := &storage{t: t, dir: t.TempDir()}
	s.must(azblob.EnsureContainer(s.dir, account, "models"))
	s.open()
	return s
}

// open serves the directory to a client of its own.
func (s *storage) open() {
	s.t.Helper()
	handler, err := azblob.New(s.dir)
	s.must(err)
	server := httptest.NewServer(handler)
	s.t.Cleanup(server.Close)
	s.url = server.URL + "/" + account
	s.Client, err = container.NewClient(s.url+"/models", token("rehearsal"), &container.ClientOptions{ClientOptions: options()})
	s.must(err)
}

func options() policy.ClientOptions {
	return policy.ClientOptions{InsecureAllowCredentialWithHTTP: true, Retry: policy.RetryOptions{MaxRetries: -1}}
}

func (s *storage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// refused wants an error of the service.
func (s *storage) refused(err error, status int, code string) {
	s.t.Helper()
	e, is := errors.AsType[*azcore.ResponseError](err)
	if !is || e.StatusCode != status || e.ErrorCode != code {
		s.t.Errorf("got %v, want %d %s", err, status, code)
	}
}

func body(text string) io.ReadSeekCloser { return streaming.NopCloser(strings.NewReader(text)) }

func (s *storage) upload(name, text string) {
	s.t.Helper()
	_, err := s.NewBlockBlobClient(name).Upload(s.t.Context(), body(text), nil)
	s.must(err)
}

func (s *storage) content(name string, o *blob.DownloadStreamOptions) string {
	s.t.Helper()
	got, err := s.NewBlobClient(name).DownloadStream(s.t.Context(), o)
	s.must(err)
	data, err := io.ReadAll(got.Body)
	s.must(errors.Join(err, got.Body.Close()))
	return string(data)
}

var onlyNew = &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: new(azcore.ETagAny)}}

func id(n int) string { return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%08d", n)) }

func TestContainers(t *testing.T) {
	t.Parallel()
	s := newStorage(t)
	_, err := s.Create(t.Context(), nil)
	s.refused(err, 409, "ContainerAlreadyExists")
	service, err := client.NewClient(s.url, token("t"), &client.ClientOptions{ClientOptions: options()})
	s.must(err)
	_, err = service.CreateContainer(t.Context(), "captured", nil)
	s.must(err)
	_, err = service.CreateContainer(t.Context(), "No", nil)
	s.refused(err, 400, "InvalidResourceName")
	s.must(azblob.EnsureContainer(s.dir, "other", "models"))
	page, err := service.NewListContainersPager(nil).NextPage(t.Context())
	s.must(err)
	var names []string
	for _, c := range page.ContainerItems {
		names = append(names, *c.Name)
	}
	if diff := cmp.Diff([]string{"captured", "models"}, names); diff != "" {
		t.Errorf("containers (-want +got):\n%s", diff)
	}
	s.upload("a", "x")
	_, err = s.Delete(t.Context(), nil)
	s.must(err)
	_, err = s.GetProperties(t.Context(), nil)
	s.refused(err, 404, "ContainerNotFound")
	_, err = s.NewBlockBlobClient("a").Upload(t.Context(), body("x"), nil)
	s.refused(err, 404, "ContainerNotFound")
	for _, bad := range [][2]string{{"UPPER", "models"}, {account, "a--b"}, {account, "x"}, {"../x", "models"}} {
		if azblob.EnsureContainer(s.dir, bad[0], bad[1]) == nil {
			t.Errorf("%v is taken for an account and a container", bad)
		}
	}
}

func TestBlob(t *testing.T) {
	t.Parallel()
	s := newStorage(t)
	const name = "fraud/ü ?%2F&+/model.onnx" // as names may be
	b := s.NewBlockBlobClient(name)
	_, err := b.Upload(t.Context(), body("0123456789"), &blockblob.UploadOptions{Metadata: map[string]*string{"digest": new("abc")},
		HTTPHeaders: &blob.HTTPHeaders{BlobContentType: new("application/x-onnx")}, AccessConditions: onlyNew})
	s.must(err)
	_, err = b.Upload(t.Context(), body("other"), &blockblob.UploadOptions{AccessConditions: onlyNew})
	s.refused(err, 409, "BlobAlreadyExists")
	p, err := b.GetProperties(t.Context(), nil)
	s.must(err)
	if *p.ContentLength != 10 || *p.ContentType != "application/x-onnx" || *p.Metadata["Digest"] != "abc" || base64.StdEncoding.EncodeToString(p.ContentMD5) != "eB5eJF1ptWaXm4bijSPyxw==" {
		t.Errorf("the properties are %d bytes, %s, %v, %x", *p.ContentLength, *p.ContentType, p.Metadata, p.ContentMD5)
	}
	if got := s.content(name, nil); got != "0123456789" {
		t.Errorf("it holds %q", got)
	}
	for _, r := range []struct {
		offset, count int64
		want          string
	}{{3, 4, "3456"}, {8, 0, "89"}, {8, 100, "89"}} {
		if got := s.content(name, &blob.DownloadStreamOptions{Range: blob.HTTPRange{Offset: r.offset, Count: r.count}}); got != r.want {
			t.Errorf("%d from %d are %q, want %q", r.count, r.offset, got, r.want)
		}
	}
	_, err = b.DownloadStream(t.Context(), &blob.DownloadStreamOptions{Range: blob.HTTPRange{Offset: 10}})
	s.refused(err, 416, "InvalidRange")
	_, err = b.DownloadStream(t.Context(), &blob.DownloadStreamOptions{AccessConditions: &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: new(azcore.ETag(`"0x1"`))}}})
	s.refused(err, 412, "ConditionNotMet")
	_, err = b.SetMetadata(t.Context(), map[string]*string{"a_b": new("1")}, &blob.SetMetadataOptions{AccessConditions: &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: p.ETag}}})
	s.must(err)
	_, err = b.SetMetadata(t.Context(), map[string]*string{"a-b": new("1")}, nil)
	s.refused(err, 400, "InvalidMetadata")
	_, err = b.SetHTTPHeaders(t.Context(), blob.HTTPHeaders{BlobCacheControl: new("no-store")}, nil)
	s.must(err)
	after, err := b.GetProperties(t.Context(), nil)
	s.must(err)
	if *after.ETag == *p.ETag || *after.CacheControl != "no-store" || *after.Metadata["A_b"] != "1" || after.ContentMD5 != nil {
		t.Errorf("after changes the properties are %+v", after)
	}
	info, err := azblob.Stat(s.dir, account, "models", name)
	s.must(err)
	if diff := cmp.Diff(azblob.Info{Size: 10, Metadata: map[string]string{"a_b": "1"}}, info); diff != "" {
		t.Errorf("Stat (-want +got):\n%s", diff)
	}
	_, err = b.Delete(t.Context(), nil)
	s.must(err)
	_, err = b.GetProperties(t.Context(), nil)
	s.refused(err, 404, "BlobNotFound")
	_, err = b.Delete(t.Context(), nil)
	s.refused(err, 404, "BlobNotFound")
	if _, err := azblob.Open(s.dir, account, "models", name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a deleted blob is opened: %v", err)
	}
}

func TestChecksums(t *testing.T) {
	t.Parallel()
	s := newStorage(t)
	b := s.NewBlockBlobClient("a")
	sum := crc64.Checksum([]byte("text"), crc64.MakeTable(0x9A6C9329AC4BC9B5))
	_, err := b.Upload(t.Context(), body("text"), &blockblob.UploadOptions{TransactionalValidation: blob.TransferValidationTypeCRC64(sum)})
	s.must(err)
	_, err = b.Upload(t.Context(), body("text"), &blockblob.UploadOptions{TransactionalValidation: blob.TransferValidationTypeCRC64(sum + 1)})
	s.refused(err, 400, "Crc64Mismatch")
	_, err = b.StageBlock(t.Context(), id(1), body("text"), &blockblob.StageBlockOptions{TransactionalValidation: blob.TransferValidationTypeMD5(make([]byte, 16))})
	s.refused(err, 400, "Md5Mismatch")
	got, err := b.DownloadStream(t.Context(), &blob.DownloadStreamOptions{Range: blob.HTTPRange{Offset: 1, Count: 2}, RangeGetContentMD5: new(true)})
	s.must(err)
	if err := got.Body.Close(); err != nil || len(got.ContentMD5) != 16 {
		t.Errorf("the MD5 of a range is %x, %v", got.ContentMD5, err)
	}
}

// A large file arrives in blocks; they are nothing until they are committed, and can
// be sent again.
func TestBlocks(t *testing.T) {
	t.Parallel()
	s := newStorage(t)
	b := s.NewBlockBlobClient("large")
	for n, text := range []string{"one ", "two ", "three"} {
		_, err := b.StageBlock(t.Context(), id(n), body(text), nil)
		s.must(err)
	}
	_, err := b.StageBlock(t.Context(), id(1), body("2 "), nil)
	s.must(err)
	_, err = b.StageBlock(t.Context(), "c2hvcnQ=", body("x"), nil)
	s.refused(err, 400, "InvalidBlobOrBlock")
	_, err = b.GetProperties(t.Context(), nil)
	s.refused(err, 404, "BlobNotFound")
	s.open() // another process goes on
	b = s.NewBlockBlobClient("large")
	list, err := b.GetBlockList(t.Context(), blockblob.BlockListTypeUncommitted, nil)
	s.must(err)
	if len(list.UncommittedBlocks) != 3 || *list.UncommittedBlocks[1].Name != id(1) || *list.UncommittedBlocks[1].Size != 2 {
		t.Errorf("uncommitted are %d blocks", len(list.UncommittedBlocks))
	}
	_, err = b.CommitBlockList(t.Context(), []string{id(0), id(9)}, nil)
	s.refused(err, 400, "InvalidBlockList")
	_, err = b.CommitBlockList(t.Context(), []string{id(0), id(1), id(2)}, &blockblob.CommitBlockListOptions{AccessConditions: onlyNew, Metadata: map[string]*string{"m": new("1")}})
	s.must(err)
	if got := s.content("large", nil); got != "one 2 three" {
		t.Errorf("it holds %q", got)
	}
	_, err = b.CommitBlockList(t.Context(), []string{id(0)}, &blockblob.CommitBlockListOptions{AccessConditions: onlyNew})
	s.refused(err, 409, "BlobAlreadyExists")
	_, err = b.StageBlock(t.Context(), id(1), body("two "), nil)
	s.must(err)
	_, err = b.CommitBlockList(t.Context(), []string{id(2), id(1), id(0)}, nil)
	s.must(err)
	if got := s.content("large", nil); got != "threetwo one " {
		t.Errorf("put together again it holds %q", got)
	}
	list, err = b.GetBlockList(t.Context(), blockblob.BlockListTypeAll, nil)
	s.must(err)
	if len(list.CommittedBlocks) != 3 || len(list.UncommittedBlocks) != 0 {
		t.Errorf("there are %d committed and %d other blocks", len(list.CommittedBlocks), len(list.UncommittedBlocks))
	}
	// What the client itself makes of a large stream.
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	_, err = s.NewBlockBlobClient("stream").UploadStream(t.Context(), bytes.NewReader(data), &blockblob.UploadStreamOptions{BlockSize: 1 << 18, Concurrency: 3})
	s.must(err)
	if got := s.content("stream", nil); got != string(data) {
		t.Errorf("a stream of %d bytes has become one of %d", len(data), len(got))
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	s := newStorage(t)
	for _, name := range []string{"a/1", "a/2", "a/b/3", "b", "c/4"} {
		s.upload(name, name)
	}
	_, err := s.NewBlobClient("a/1").SetMetadata(t.Context(), map[string]*string{"digest": new("<&>")}, nil)
	s.must(err)
	var names []string
	pages := s.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{Prefix: new("a/"), MaxResults: new(int32(2)), Include: container.ListBlobsInclude{Metadata: true}})
	for n := 0; pages.More(); n++ {
		page, err := pages.NextPage(t.Context())
		s.must(err)
		for _, item := range page.Segment.BlobItems {
			names = append(names, fmt.Sprint(n, " ", *item.Name, " ", *item.Properties.ContentLength))
			if v := item.Metadata["digest"]; *item.Name == "a/1" && (v == nil || *v != "<&>") {
				t.Errorf("its metadata is %v", item.Metadata)
			}
		}
	}
	if diff := cmp.Diff([]string{"0 a/1 3", "0 a/2 3", "1 a/b/3 5"}, names); diff != "" {
		t.Errorf("the pages (-want +got):\n%s", diff)
	}
	page, err := s.NewListBlobsHierarchyPager("/", nil).NextPage(t.Context())
	s.must(err)
	var prefixes []string
	for _, p := range page.Segment.BlobPrefixes {
		prefixes = append(prefixes, *p.Name)
	}
	if diff := cmp.Diff([]string{"a/", "c/"}, prefixes); diff != "" || len(page.Segment.BlobItems) != 1 {
		t.Errorf("the first level has %d blobs, and (-want +got):\n%s", len(page.Segment.BlobItems), diff)
	}
	keys, err := azblob.Keys(s.dir, account, "models", "a/b")
	s.must(err)
	if diff := cmp.Diff([]string{"a/b/3"}, keys); diff != "" {
		t.Errorf("Keys (-want +got):\n%s", diff)
	}
}

func TestCopies(t *testing.T) {
	t.Parallel()
	s := newStorage(t)
	s.must(azblob.Put(s.dir, account, "models", "from", strings.NewReader("0123456789")))
	from := s.url + "/models/from"
	_, err := s.NewBlobClient("begun").StartCopyFromURL(t.Context(), from, nil)
	s.must(err)
	_, err = s.NewBlobClient("copied").CopyFromURL(t.Context(), from, &blob.CopyFromURLOptions{Metadata: map[string]*string{"m": new("1")}})
	s.must(err)
	_, err = s.NewBlockBlobClient("put").UploadBlobFromURL(t.Context(), from, nil)
	s.must(err)
	b := s.NewBlockBlobClient("blocks")
	_, err = b.StageBlockFromURL(t.Context(), id(1), from, &blockblob.StageBlockFromURLOptions{Range: blob.HTTPRange{Offset: 2, Count: 3}})
	s.must(err)
	_, err = b.CommitBlockList(t.Context(), []string{id(1)}, nil)
	s.must(err)
	for name, want := range map[string]string{"begun": "0123456789", "copied": "0123456789", "put": "0123456789", "blocks": "234"} {
		if got := s.content(name, nil); got != want {
			t.Errorf("%s holds %q, want %q", name, got, want)
		}
	}
	_, err = s.NewBlobClient("none").CopyFromURL(t.Context(), s.url+"/models/missing", nil)
	s.refused(err, 404, "CannotVerifyCopySource")
}

// Nobody gets in without a credential, and a signature gives what it says.
func TestCredentials(t *testing.T) {
	t.Parallel()
	s := newStorage(t)
	s.upload("a", "text")
	visit := func(query string) *container.Client {
		c, err := container.NewClientWithNoCredential(s.url+"/models"+query, &container.ClientOptions{ClientOptions: options()})
		s.must(err)
		return c
	}
	_, err := visit("").NewBlobClient("a").GetProperties(t.Context(), nil)
	s.refused(err, 401, "NoAuthenticationInformation")
	_, err = visit("?sig=x&sp=r&se=2020-01-01T00%3A00%3A00Z").NewBlobClient("a").GetProperties(t.Context(), nil)
	s.refused(err, 403, "AuthenticationFailed")
	signed := visit("?sig=x&sp=r&se=2999-01-01T00%3A00%3A00Z")
	_, err = signed.NewBlobClient("a").GetProperties(t.Context(), nil)
	s.must(err)
	_, err = signed.NewBlobClient("a").Delete(t.Context(), nil)
	s.refused(err, 403, "AuthorizationPermissionMismatch")
	key, err := container.NewSharedKeyCredential(account, base64.StdEncoding.EncodeToString([]byte("key")))
	s.must(err)
	shared, err := container.NewClientWithSharedKeyCredential(s.url+"/models", key, &container.ClientOptions{ClientOptions: options()})
	s.must(err)
	_, err = shared.NewBlobClient("a").Delete(t.Context(), nil)
	s.must(err)
	_, err = s.NewPageBlobClient("page").Create(t.Context(), 512, nil)
	s.refused(err, 501, "NotImplemented")
}
