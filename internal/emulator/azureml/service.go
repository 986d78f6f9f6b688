// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package azureml emulates Azure Machine Learning as Azure Resource Manager serves
// it: workspaces, assets, online endpoints and deployments with their asynchronous
// operations, Microsoft.Insights autoscale settings, metrics and metric alerts,
// Microsoft.Authorization role assignments, and the scoring hosts of the endpoints.
// Requests are parsed by the types of the published client libraries; what Azure
// refuses is refused with its codes, and changes take time on a scaled clock.
//
// A workspace, a registry and their resource group exist until they are deleted, with
// the properties that a new one has; PUT gives them others.
package azureml

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/state"
)

// Options are what the emulator needs of its surroundings.
type Options struct {
	Store *state.Store
	Clock clockwork.Clock
	Speed float64 // 1: five minutes on the platform take a second; more is faster
	// Blob opens a blob, Blobs lists what is below a prefix in a container, Put writes
	// one, and Container makes a container unless it exists. Nil leaves artifacts
	// unchecked, and records nothing.
	Blob      func(account, container, name string) (io.ReadCloser, error)
	Blobs     func(account, container, prefix string) ([]string, error)
	Put       func(account, container, name string, r io.Reader) error
	Container func(account, container string) error
	// BlobURL is the address of the emulated Blob storage, "http://127.0.0.1:1/".
	BlobURL func() string
	// Evaluate computes a model's outputs; ok is false when it cannot.
	Evaluate func(name string, artifact io.Reader, body []byte) (outputs any, ok bool)
	// Conduct tells how a version of a model answers; nil is well.
	Conduct func(model, version string) (fault.Conduct, error)
	// Quotas are the limits of a subscription in each region: cores by family of
	// virtual machines, "standardDSv2Family", and "azure_ml.endpoints" if there may be
	// another number of them than 100. nil is no limit of cores.
	Quotas func() map[string]int
}

// Service is the emulator.
type Service struct{ o Options }

// New makes the emulator.
func New(o Options) *Service {
	if o.Speed <= 0 {
		o.Speed = 1
	}
	if o.Quotas == nil {
		o.Quotas = func() map[string]int { return nil }
	}
	if o.Clock == nil {
		o.Clock = clockwork.NewRealClock()
	}
	return &Service{o}
}

// request is a call while it is being answered.
type request struct {
	*Service
	target
	tx    *state.Tx
	http  *http.Request
	route *route
	query url.Values
	body  []byte
	fault *fault.Fault // of a transition; nil otherwise
}

// reply is what a method answers.
type reply struct {
	status int
	body   any // nil is none
	header map[string]string
}

func ok(body any) *reply { return &reply{status: http.StatusOK, body: body} }

func (r *request) now() time.Time { return r.o.Clock.Now().UTC() }

// scaled is how long something that takes d on the platform takes here.
func (s *Service) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) / 300 / s.o.Speed)
}

// maxRequest is what is read of a request, in bytes.
const maxRequest = 32 << 20

// Serve answers a request. A fault is one that the platform itself acts out.
func (s *Service) Serve(w http.ResponseWriter, h *http.Request, f *fault.Fault) {
	if id := h.Header.Get("X-Ms-Client-Request-Id"); id != "" {
		w.Header().Set("X-Ms-Client-Request-Id", id)
	}
	if err := s.serve(w, h, f); err != nil {
		fail(w, err)
	}
}

func (s *Service) serve(w http.ResponseWriter, h *http.Request, f *fault.Fault) error {
	body, err := io.ReadAll(io.LimitReader(h.Body, maxRequest))
	if err != nil {
		return badRequest("The request cannot be read: %s", err)
	}
	if to, is := scoringTarget(h); is {
		r := &request{Service: s, http: h, body: body, fault: f}
		return r.score(w, to)
	}
	r, err := s.parse(h)
	if err != nil {
		return err
	}
	r.body, r.fault = body, f
	w.Header().Set("X-Ms-Ratelimit-Remaining-Subscription-"+bucketOf(h.Method), "199")
	var out *reply
	err = r.do(h.Context(), func() error {
		out, err = r.route.handle(r)
		return err
	})
	if err != nil {
		return err
	}
	return out.write(w)
}

// bucketOf is what Resource Manager counts a call among.
func bucketOf(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead:
		return "Reads"
	case http.MethodDelete:
		return "Deletes"
	}
	return "Writes"
}

// do runs f in one transaction, after everything that has come to its end before.
func (r *request) do(ctx context.Context, f func() error) error {
	// Two transactions: what has come to its end stays so, also when the call is refused.
	running, err := r.o.Store.First(ctx, kindRunning)
	if err == nil && running != "" {
		err = r.o.Store.Do(ctx, func(tx *state.Tx) error {
			r.tx = tx
			return r.settle()
		})
	}
	if err != nil {
		return err
	}
	return r.o.Store.Do(ctx, func(tx *state.Tx) error {
		r.tx = tx
		return f()
	})
}

func (out *reply) write(w http.ResponseWriter) error {
	var data []byte
	if out.body != nil {
		var err error
		if data, err = json.Marshal(out.body); err != nil {
			return fmt.Errorf("%T is no answer: %w", out.body, err)
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
	}
	for name, v := range out.header {
		w.Header().Set(name, v)
	}
	w.WriteHeader(out.status)
	_, _ = w.Write(data) // a client that has gone away is no concern of the platform's
	return nil
}
