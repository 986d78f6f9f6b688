// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"net/http"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/azblob"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
)

// blobStorage serves Azure Blob storage.
type blobStorage struct {
	*books
	azblob *azblob.Server
}

// blobCall is one request to Blob storage.
type blobCall struct{ operation, container string }

func (c blobCall) name() string  { return "azblob." + c.operation }
func (c blobCall) where() string { return c.container }

func (c blobCall) refuse(w http.ResponseWriter, code, message string, status int) {
	azblob.Refuse(w, status, code, message)
}

func (c blobCall) slow(w http.ResponseWriter) {
	w.Header().Set("Retry-After", "1")
	azblob.Refuse(w, http.StatusServiceUnavailable, "ServerBusy", "The server is currently unable to receive requests. Please retry your request.")
}

// ServeHTTP answers a request.
func (s *blobStorage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Ms-Request-Id", requestID())
	operation, container := s.azblob.Name(r)
	s.attend(r.Context(), blobCall{operation, container}, w, func(w http.ResponseWriter, _ *fault.Fault) { s.azblob.ServeHTTP(w, r) })
}
