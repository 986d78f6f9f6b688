// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"net/http"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/gcs"
)

// storage serves Google Cloud Storage.
type storage struct {
	*books
	gcs *gcs.Server
}

// visit of Cloud Storage.
type storageCall struct{ method, bucket string }

func (c storageCall) name() string  { return "gcs." + c.method }
func (c storageCall) where() string { return c.bucket }

func (c storageCall) refuse(w http.ResponseWriter, code, message string, status int) {
	gcs.Refuse(w, status, code, message)
}

func (c storageCall) slow(w http.ResponseWriter) {
	gcs.Refuse(w, http.StatusTooManyRequests, "rateLimitExceeded", "The rate of requests to the bucket "+c.bucket+" is too high.")
}

// ServeHTTP answers a request.
func (s *storage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	method, bucket := s.gcs.Name(r)
	s.attend(r.Context(), storageCall{method, bucket}, w, func(w http.ResponseWriter, _ *fault.Fault) { s.gcs.ServeHTTP(w, r) })
}
