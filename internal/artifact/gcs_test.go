// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact_test

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/gcs"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// between puts something between the client and an emulated Cloud Storage.
func between(t *testing.T, disturb func(w http.ResponseWriter, r *http.Request) (answered bool)) (*artifact.GCS, string) {
	t.Helper()
	dir := t.TempDir()
	h, err := gcs.New(dir)
	if err == nil {
		err = gcs.EnsureBucket(dir, bucket)
	}
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !disturb(w, r) {
			h.ServeHTTP(w, r)
		}
	}), err)
	store, err := artifact.GCSConfig{EndpointURL: url}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return store, dir
}

func inGCS(key string) artifact.Location {
	return artifact.Location{Scheme: artifact.SchemeGCS, Bucket: bucket, Key: key}
}

// A chunk that gets lost is sent again, and not the whole.
func TestLostChunks(t *testing.T) {
	t.Parallel()
	var chunks atomic.Int32
	store, dir := between(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Content-Range") == "" || chunks.Add(1) != 2 {
			return false
		}
		gcs.Refuse(w, http.StatusServiceUnavailable, "backendError", "Backend Error")
		return true
	})
	if err := store.Put(t.Context(), inGCS("k"), "digest", &endless{left: 40 << 20}); err != nil {
		t.Fatal(err)
	}
	info, err := gcs.Stat(dir, bucket, "k")
	if err != nil || info.Size != 40<<20 || chunks.Load() < 6 || chunks.Load() > 7 {
		t.Errorf("%d bytes after %d chunks, %v", info.Size, chunks.Load(), err)
	}
}

// flipped is a body whose first byte arrives as another.
type flipped struct {
	io.ReadCloser
	done bool
}

func (f *flipped) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if n > 0 && !f.done {
		p[0], f.done = p[0]^1, true
	}
	return n, err
}

// Bytes that arrive as others are noticed, by the service where it is told the checksum
// and by us where it is not, and leave no object.
func TestOtherBytesArrive(t *testing.T) {
	t.Parallel()
	for reason, told := range map[string]bool{"the service is told the checksum": true, "nobody tells it": false} {
		var chunks atomic.Int32
		store, dir := between(t, func(_ http.ResponseWriter, r *http.Request) bool {
			if !told {
				r.Header.Del("X-Goog-Hash")
			}
			if r.Header.Get("Content-Range") != "" && chunks.Add(1) == 2 {
				r.Body = &flipped{ReadCloser: r.Body}
			}
			return false
		})
		if err := store.Put(t.Context(), inGCS("k"), "digest", &endless{left: 20 << 20}); err == nil {
			t.Errorf("%s: nobody has noticed it", reason)
		}
		if keys, err := gcs.Keys(dir, bucket, ""); err != nil || len(keys) > 0 || chunks.Load() < 3 {
			t.Errorf("%s: %v is there after %d chunks, %v", reason, keys, chunks.Load(), err)
		}
	}
}

// What the platform refuses keeps its words, and gets a code and what to do.
func TestCloudStorageErrors(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]struct {
		code mlerr.Code
		hint string
	}{
		http.StatusUnauthorized:       {mlerr.Unauthenticated, "credentials"},
		http.StatusForbidden:          {mlerr.PermissionDenied, "storage.objects.create"},
		http.StatusBadRequest:         {mlerr.InvalidArgument, ""},
		http.StatusServiceUnavailable: {mlerr.Unavailable, ""},
		http.StatusTooManyRequests:    {mlerr.Throttled, ""},
	} {
		var calls atomic.Int32
		store, _ := between(t, func(w http.ResponseWriter, r *http.Request) bool {
			calls.Add(1)
			if r.Header.Get("Authorization") != "" {
				t.Error("credentials are sent that nobody has given")
			}
			w.Header().Set("X-Guploader-Uploadid", "request-7")
			gcs.Refuse(w, status, "reason", "the platform's words")
			return true
		})
		_, err := store.Stat(t.Context(), inGCS("k"))
		if !mlerr.Is(err, want.code) || !strings.Contains(mlerr.Hint(err), want.hint) || !strings.Contains(err.Error(), "the platform's words") || !strings.Contains(err.Error(), "request-7") {
			t.Errorf("%d: %v (%v), hint %q; want %v, …%s…", status, err, mlerr.CodeOf(err), mlerr.Hint(err), want.code, want.hint)
		}
		if calls.Load() > 4 {
			t.Errorf("%d: called %d times", status, calls.Load())
		}
	}
}

// An artifact that is replaced while it is read does not come out as a mixture.
func TestReplacedMeanwhile(t *testing.T) {
	t.Parallel()
	o := newGCS(t)
	o.put("models/a", "old")
	entries, err := o.store.Source(o.at("models/")).Entries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	o.put("models/a", "new")
	if r, err := entries[0].Open(t.Context()); !mlerr.Is(err, mlerr.NotFound) {
		t.Errorf("%v, %v", r, err)
	}
}
