// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"context"
	"net/http"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/vertexai"
)

// vertex serves Vertex AI: its control plane and predictions.
type vertex struct {
	*books
	service *vertexai.Service
}

// vertexCall is one request to Vertex AI.
type vertexCall struct{ call, region string }

func (c vertexCall) name() string  { return c.call }
func (c vertexCall) where() string { return c.region }

func (c vertexCall) refuse(w http.ResponseWriter, code, message string, status int) {
	vertexai.Refuse(w, status, code, message)
}

func (c vertexCall) slow(w http.ResponseWriter) { vertexai.Throttle(w, c.call) }

// ServeHTTP answers a request.
func (v *vertex) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Request-Id", requestID())
	call, region := v.service.Name(r)
	v.attend(r.Context(), vertexCall{call, region}, w, func(w http.ResponseWriter, f *fault.Fault) { v.service.Serve(w, r, f) })
}

// SetReplicas moves the live count of a deployment on Vertex AI inside of its bounds,
// as the platform's autoscaler would.
func (s *Server) SetReplicas(ctx context.Context, project, region, endpoint, deployedModelID string, n int) error {
	return s.vertex.service.SetReplicas(ctx, project, region, endpoint, deployedModelID, n)
}
