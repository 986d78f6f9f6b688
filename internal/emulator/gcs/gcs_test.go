// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package gcs_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"cloud.google.com/go/storage"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/gcs"
)

const bucket = "models"

// open serves the object store in dir to a client of its own. options may change
// how the client reads.
func open(t *testing.T, dir string, options ...option.ClientOption) *storage.Client {
	t.Helper()
	client, err := storage.NewClient(t.Context(), append(options, option.WithEndpoint(serve(t, dir)+"/storage/v1/"), option.WithoutAuthentication())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func serve(t *testing.T, dir string) (url string) {
	t.Helper()
	h, err := gcs.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := gcs.EnsureBucket(dir, bucket); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// put writes in chunks of that size, 0 for one request.
func put(ctx context.Context, o *storage.ObjectHandle, content string, chunk int) (*storage.ObjectAttrs, error) {
	w := o.NewWriter(ctx)
	w.ChunkSize = chunk
	w.ContentType = "text/plain"
	w.Metadata = map[string]string{"Lineage": "run 7"}
	if _, err := io.WriteString(w, content); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return w.Attrs(), nil
}

func must(t *testing.T, o *storage.ObjectHandle, content string) *storage.ObjectAttrs {
	t.Helper()
	attrs, err := put(t.Context(), o, content, 0)
	if err != nil {
		t.Fatal(err)
	}
	return attrs
}

func read(t *testing.T, o *storage.ObjectHandle, from, length int64) string {
	t.Helper()
	r, err := o.NewRangeReader(t.Context(), from, length)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r) // whose checksum the client compares
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func refused(t *testing.T, err error, status int, words string) {
	t.Helper()
	api, ok := errors.AsType[*googleapi.Error](err)
	if !ok || api.Code != status || !strings.Contains(err.Error(), words) {
		t.Errorf("got %v, want %d …%s…", err, status, words)
	}
}

// Every way to send bytes ends in the same object: with its checksums, type and
// metadata, and readable through both APIs.
func TestWrites(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	xml, json := open(t, dir).Bucket(bucket), open(t, dir, storage.WithJSONReads()).Bucket(bucket)
	content := strings.Repeat("0123456789abcdef", 40_000) // three chunks of 256 KiB
	sum := md5.Sum([]byte(content))
	crc := crc32.Checksum([]byte(content), crc32.MakeTable(crc32.Castagnoli))
	for name, chunk := range map[string]int{"in one request": 0, "in chunks": googleapi.MinUploadChunkSize, "in one chunk": googleapi.DefaultUploadChunkSize} {
		attrs, err := put(t.Context(), xml.Object("a dir/"+name+"+x"), content, chunk)
		if err != nil {
			t.Fatal(name, err)
		}
		if attrs.CRC32C != crc || !bytes.Equal(attrs.MD5, sum[:]) || attrs.Size != int64(len(content)) || attrs.ContentType != "text/plain" ||
			attrs.Metadata["Lineage"] != "run 7" || attrs.Generation == 0 || attrs.Metageneration != 1 {
			t.Errorf("%s: %+v", name, attrs)
		}
		for api, b := range map[string]*storage.BucketHandle{"XML": xml, "JSON": json} {
			if got := read(t, b.Object("a dir/"+name+"+x"), 0, -1); got != content {
				t.Errorf("%s: %d bytes through the %s API", name, len(got), api)
			}
		}
		info, err := gcs.Stat(dir, bucket, "a dir/"+name+"+x")
		if err != nil || info.Size != attrs.Size || info.Generation != attrs.Generation || info.Metadata["Lineage"] != "run 7" {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
	}
}

func TestRanges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for api, client := range map[string]*storage.Client{"XML": open(t, dir), "JSON": open(t, dir, storage.WithJSONReads())} {
		o := client.Bucket(bucket).Object("k")
		must(t, o, "0123456789")
		for _, c := range []struct {
			from, length int64
			want         string
		}{{2, 3, "234"}, {7, -1, "789"}, {-3, -1, "789"}, {8, 90, "89"}, {0, -1, "0123456789"}} {
			if got := read(t, o, c.from, c.length); got != c.want {
				t.Errorf("%s: %d, %d is %q, want %q", api, c.from, c.length, got, c.want)
			}
		}
		_, err := o.NewRangeReader(t.Context(), 10, 2)
		refused(t, err, http.StatusRequestedRangeNotSatisfiable, "")
	}
}

// Conditions are what keeps staged artifacts from being overwritten.
func TestConditions(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	o := open(t, t.TempDir()).Bucket(bucket).Object("k")
	absent := storage.Conditions{DoesNotExist: true}
	must(t, o.If(absent), "first")
	for chunk, name := range map[int]string{0: "one request", googleapi.MinUploadChunkSize: "chunks"} {
		_, err := put(ctx, o.If(absent), "second", chunk)
		refused(t, err, http.StatusPreconditionFailed, "pre-conditions")
		if got := read(t, o, 0, -1); got != "first" {
			t.Errorf("%s: a refused write left %q", name, got)
		}
	}
	first, err := o.Attrs(ctx)
	if err != nil {
		t.Fatal(err)
	}
	second := must(t, o.If(storage.Conditions{GenerationMatch: first.Generation}), "second")
	if second.Generation <= first.Generation {
		t.Errorf("generation %d follows %d", second.Generation, first.Generation)
	}
	_, err = put(ctx, o.If(storage.Conditions{GenerationMatch: first.Generation}), "third", 0)
	refused(t, err, http.StatusPreconditionFailed, "")
	refused(t, o.If(storage.Conditions{GenerationMatch: first.Generation}).Delete(ctx), http.StatusPreconditionFailed, "")
	if _, err := o.Generation(first.Generation).Attrs(ctx); !errors.Is(err, storage.ErrObjectNotExist) {
		t.Errorf("a generation that was replaced: %v", err)
	}
	_, err = o.If(storage.Conditions{MetagenerationMatch: 7}).Update(ctx, storage.ObjectAttrsToUpdate{ContentType: "x"})
	refused(t, err, http.StatusPreconditionFailed, "")
}

// One of many who write the same new object at once succeeds, through any process.
func TestRace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var won sync.Map
	var group sync.WaitGroup
	for i := range 8 {
		client := open(t, dir)
		group.Go(func() {
			o := client.Bucket(bucket).Object("k").If(storage.Conditions{DoesNotExist: true}).Retryer(storage.WithPolicy(storage.RetryNever))
			if _, err := put(t.Context(), o, fmt.Sprint(i), 0); err == nil {
				won.Store(i, true)
			} else {
				refused(t, err, http.StatusPreconditionFailed, "")
			}
		})
	}
	group.Wait()
	winners := 0
	won.Range(func(any, any) bool { winners++; return true })
	blobs, err := os.ReadDir(filepath.Join(dir, "blobs"))
	if winners != 1 || len(blobs) != 1 || err != nil {
		t.Errorf("%d writers won, and %d blobs are kept, %v", winners, len(blobs), err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir()).Bucket(bucket)
	for _, name := range []string{"a", "d/1", "d/2", "d/e/3", "d0", "z/4"} {
		must(t, b.Object(name), name)
	}
	for _, c := range []struct {
		query storage.Query
		want  []string
	}{
		{storage.Query{}, []string{"a", "d/1", "d/2", "d/e/3", "d0", "z/4"}},
		{storage.Query{Prefix: "d/"}, []string{"d/1", "d/2", "d/e/3"}},
		{storage.Query{Delimiter: "/"}, []string{"a", "d/", "d0", "z/"}},
		{storage.Query{Prefix: "d/", Delimiter: "/"}, []string{"d/1", "d/2", "d/e/"}},
		{storage.Query{StartOffset: "d/2", EndOffset: "z"}, []string{"d/2", "d/e/3", "d0"}},
		{storage.Query{Prefix: "none"}, nil},
	} {
		for size := range 4 { // 0 is the service's own
			var got []string
			it := b.Objects(t.Context(), &c.query)
			pager := iterator.NewPager(it, max(size, 1), "")
			if size == 0 {
				pager = iterator.NewPager(it, 1000, "")
			}
			for token := "-"; token != ""; {
				var page []*storage.ObjectAttrs
				var err error
				if token, err = pager.NextPage(&page); err != nil {
					t.Fatal(err)
				}
				for _, o := range page {
					got = append(got, o.Name+o.Prefix)
				}
			}
			if diff := cmp.Diff(sorted(c.want), sorted(got)); diff != "" {
				t.Errorf("%+v in pages of %d: %s", c.query, size, diff)
			}
		}
	}
	if _, err := open(t, t.TempDir()).Bucket("absent").Objects(t.Context(), nil).Next(); !errors.Is(err, storage.ErrBucketNotExist) {
		t.Error(err)
	}
}

// sorted hides in which order a client shows objects and prefixes of one page.
func sorted(names []string) map[string]int {
	all := map[string]int{}
	for _, name := range names {
		all[name]++
	}
	return all
}

func TestCopies(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	client := open(t, t.TempDir())
	if err := client.Bucket("other").Create(ctx, "p1", &storage.BucketAttrs{Location: "europe-west4"}); err != nil {
		t.Fatal(err)
	}
	from, to := client.Bucket(bucket).Object("a b"), client.Bucket("other").Object("x/y")
	first := must(t, from, "01")
	copied, err := to.CopierFrom(from).Run(ctx)
	if err != nil || copied.CRC32C != first.CRC32C || copied.Metadata["Lineage"] != "run 7" || read(t, to, 0, -1) != "01" {
		t.Errorf("%+v, %v", copied, err)
	}
	_, err = to.If(storage.Conditions{DoesNotExist: true}).CopierFrom(from).Run(ctx)
	refused(t, err, http.StatusPreconditionFailed, "")
	b := client.Bucket(bucket)
	must(t, b.Object("c"), "2")
	whole, err := b.Object("whole").ComposerFrom(from, b.Object("c"), b.Object("c")).Run(ctx)
	if err != nil || whole.ComponentCount != 3 || len(whole.MD5) != 0 || read(t, b.Object("whole"), 0, -1) != "0122" {
		t.Errorf("%+v, %v", whole, err)
	}
	// What is copied or composed is the generation that is named, and no other.
	_, err = to.CopierFrom(from.Generation(first.Generation + 1)).Run(ctx)
	refused(t, err, http.StatusNotFound, "")
	_, err = b.Object("whole").ComposerFrom(from.Generation(first.Generation + 1)).Run(ctx)
	refused(t, err, http.StatusNotFound, "")
	if _, err := b.Object("whole").ComposerFrom(b.Object("absent")).Run(ctx); !strings.Contains(fmt.Sprint(err), "absent") {
		t.Error(err)
	}
}

func TestUpdateAndDelete(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	client := open(t, t.TempDir())
	o := client.Bucket(bucket).Object("k")
	was := must(t, o, "01")
	now, err := o.Update(ctx, storage.ObjectAttrsToUpdate{ContentType: "a/b", Metadata: map[string]string{"stage": "2"}})
	if err != nil || now.ContentType != "a/b" || now.Metadata["stage"] != "2" || now.Metageneration != 2 || now.Generation != was.Generation || now.Etag == was.Etag {
		t.Errorf("%+v, %v", now, err)
	}
	refused(t, client.Bucket(bucket).Delete(ctx), http.StatusConflict, "not empty")
	if err := o.Delete(ctx); err != nil {
		t.Fatal(err)
	}
	if err := o.Delete(ctx); !errors.Is(err, storage.ErrObjectNotExist) {
		t.Error(err)
	}
	if _, err := o.NewReader(ctx); !errors.Is(err, storage.ErrObjectNotExist) {
		t.Error(err)
	}
	if err := client.Bucket(bucket).Delete(ctx); err != nil {
		t.Error(err)
	}
	if _, err := client.Bucket(bucket).Attrs(ctx); !errors.Is(err, storage.ErrBucketNotExist) {
		t.Error(err)
	}
	refused(t, client.Bucket("A").Create(ctx, "p1", nil), http.StatusBadRequest, "bucket name")
}

// What is not what the client meant to send is not kept.
func TestChecksums(t *testing.T) {
	t.Parallel()
	o := open(t, t.TempDir()).Bucket(bucket).Object("k")
	for name, damage := range map[string]func(*storage.Writer){
		"crc32c":           func(w *storage.Writer) { w.CRC32C, w.SendCRC32C = 7, true },
		"md5":              func(w *storage.Writer) { w.MD5 = make([]byte, 16) },
		"crc32c in chunks": func(w *storage.Writer) { w.CRC32C, w.SendCRC32C, w.ChunkSize = 7, true, googleapi.MinUploadChunkSize },
	} {
		w := o.NewWriter(t.Context())
		damage(w)
		_, err := io.WriteString(w, strings.Repeat("x", 600_000))
		refused(t, errors.Join(err, w.Close()), http.StatusBadRequest, "doesn't match")
		if _, err := o.Attrs(t.Context()); !errors.Is(err, storage.ErrObjectNotExist) {
			t.Errorf("%s: the damaged object is there: %v", name, err)
		}
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	client := open(t, dir)
	if err := gcs.Put(dir, bucket, "x/k", strings.NewReader("01")); err != nil {
		t.Fatal(err)
	}
	if got := read(t, client.Bucket(bucket).Object("x/k"), 0, -1); got != "01" {
		t.Error(got)
	}
	keys, err := gcs.Keys(dir, bucket, "x/")
	if diff := cmp.Diff([]string{"x/k"}, keys); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for _, missing := range [][2]string{{bucket, "none"}, {"none", "k"}} {
		if _, err := gcs.Open(dir, missing[0], missing[1]); !errors.Is(err, fs.ErrNotExist) {
			t.Error(missing, err)
		}
	}
	if err := gcs.EnsureBucket(dir, "no bucket"); err == nil {
		t.Error("a bad name is taken")
	}
}
