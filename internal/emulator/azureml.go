// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"context"
	"io"
	"net/http"
	"path/filepath"

	"github.com/jonboulle/clockwork"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/azblob"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/azureml"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
)

// azure serves Azure Resource Manager for Azure ML, and the hosts of its endpoints.
type azure struct {
	*books
	service *azureml.Service
}

// azureCall is one request to Azure.
type azureCall struct{ call, workspace string }

func (c azureCall) name() string  { return c.call }
func (c azureCall) where() string { return c.workspace }

func (c azureCall) refuse(w http.ResponseWriter, code, message string, status int) {
	azureml.Refuse(w, status, code, message)
}

func (c azureCall) slow(w http.ResponseWriter) { azureml.Throttle(w, c.call) }

// ServeHTTP answers a request.
func (a *azure) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Ms-Request-Id", requestID())
	correlation := r.Header.Get("X-Ms-Correlation-Request-Id")
	if correlation == "" {
		correlation = requestID()
	}
	w.Header().Set("X-Ms-Correlation-Request-Id", correlation)
	call, workspace := a.service.Name(r)
	a.attend(r.Context(), azureCall{call, workspace}, w, func(w http.ResponseWriter, f *fault.Fault) { a.service.Serve(w, r, f) })
}

// serveAzureML serves Azure ML, which reads artifacts from the emulated Blob storage.
func (s *Server) serveAzureML(o Options, kept *books, clock clockwork.Clock) error {
	blobs := filepath.Join(s.dir, "azblob")
	storage, err := azblob.New(blobs)
	if err != nil {
		return err
	}
	storage.Now = clock.Now
	if err := s.listen("azblob", "", &blobStorage{kept, storage}); err != nil {
		return err
	}
	s.azure = &azure{kept, azureml.New(azureml.Options{
		Store: s.store, Clock: clock, Speed: speed(o),
		Blob: func(account, container, name string) (io.ReadCloser, error) {
			return azblob.Open(blobs, account, container, name)
		},
		Blobs: func(account, container, prefix string) ([]string, error) {
			return azblob.Keys(blobs, account, container, prefix)
		},
		Put: func(account, container, name string, r io.Reader) error {
			return azblob.Put(blobs, account, container, name, r)
		},
		Container: func(account, container string) error { return azblob.EnsureContainer(blobs, account, container) },
		BlobURL:   func() string { return s.endpoints["azblob"] },
		Evaluate:  evaluate,
		Conduct:   s.conduct,
		Quotas:    func() map[string]int { return quotas(s.dir) },
	})}
	return s.listen("azure_ml", "", s.azure)
}

// SetInstances moves the capacity of a deployment on Azure ML, as the platform's
// autoscaler would; id is the deployment's ARM id.
func (s *Server) SetInstances(ctx context.Context, id string, n int) error {
	return s.azure.service.SetInstances(ctx, id, n)
}
