// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package vertexai emulates Vertex AI online prediction over HTTP and JSON: the
// model registry, endpoints, what is deployed to them, long-running operations,
// policies and predictions, in v1 and v1beta1. Requests are parsed by the published
// messages; what Vertex AI refuses is refused in its words, and changes take time on
// a scaled clock.
package vertexai

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/jonboulle/clockwork"
	"google.golang.org/protobuf/proto"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/state"
)

// Options are what the emulator needs of its surroundings.
type Options struct {
	Store *state.Store
	Clock clockwork.Clock
	Speed float64 // 1: a deployment takes a second; more is faster
	// Artifact opens an object of Cloud Storage, and Keys lists what is below a
	// prefix in a bucket. Nil leaves artifacts unchecked.
	Artifact func(bucket, name string) (io.ReadCloser, error)
	Keys     func(bucket, prefix string) ([]string, error)
	// Evaluate computes a model's outputs; ok is false when it cannot.
	Evaluate func(name string, artifact io.Reader, body []byte) (outputs any, ok bool)
	// Conduct tells how a version of a model answers; nil is well.
	Conduct func(model, version string) (fault.Conduct, error)
	// Quotas are limits of the project in each region: by metric,
	// "custom_model_serving_nvidia_l4_gpus", by machine type in replicas, and of
	// "vertex_ai.operations" that may be started in a minute. nil is no limit.
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

// fixtureProject is the project whose number is known; others get one.
const fixtureProject = "p1"

// number is the number of a project that is named by its id or by its number.
func number(project string) string {
	if project == fixtureProject {
		return "123"
	}
	if strings.Trim(project, "0123456789") == "" {
		return project
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(project)) // never fails
	return fmt.Sprint(100_000_000_000 + h.Sum64()%900_000_000_000)
}

// place is a region of a project.
type place struct{ Number, Region string }

func (p place) String() string { return "projects/" + p.Number + "/locations/" + p.Region }

func (p place) key(id string) string { return p.Number + "/" + p.Region + "/" + id }

// request is a call while it is being answered.
type request struct {
	*Service
	place
	tx      *state.Tx
	http    *http.Request
	project string // as the caller spells it
	version string // of the API
	route   *route
	ids     []string // of what the path names: a model, an endpoint, an operation
	query   url.Values
	body    []byte
	fault   *fault.Fault // of FailTransition or Maintenance; nil otherwise
}

func (r *request) now() time.Time { return r.o.Clock.Now().UTC() }

// scaled is how long something that takes d on the platform takes here: five
// minutes become a second.
func (s *Service) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) / 300 / s.o.Speed)
}

// maxRequest is what is read of a request, in bytes.
const maxRequest = 32 << 20

// Serve answers a request. A fault is one that the platform itself acts out.
func (s *Service) Serve(w http.ResponseWriter, h *http.Request, f *fault.Fault) {
	r, err := s.read(h)
	if err != nil {
		fail(w, err)
		return
	}
	r.fault = f
	if r.route.raw != nil {
		err = r.route.raw(r, w)
	} else {
		var out any
		if out, err = r.answer(h.Context()); err == nil {
			err = r.write(w, out)
		}
	}
	if err != nil {
		fail(w, err)
	}
}

func (s *Service) read(h *http.Request) (*request, error) {
	r, err := s.parse(h)
	if err != nil {
		return nil, err
	}
	if r.body, err = io.ReadAll(io.LimitReader(h.Body, maxRequest)); err != nil {
		return nil, invalid("The request cannot be read: %s", err)
	}
	return r, nil
}

// answer handles a call in one transaction, after everything that has come to its
// end before.
func (r *request) answer(ctx context.Context) (out any, err error) {
	err = r.do(ctx, func() error {
		out, err = r.route.handle(r)
		return err
	})
	return out, err
}

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

func (r *request) write(w http.ResponseWriter, out any) error {
	data, ok := out.([]byte)
	if m, is := out.(proto.Message); is {
		var err error
		if data, err = r.encode(m); err != nil {
			return err
		}
	} else if !ok {
		return fmt.Errorf("%T is no answer", out)
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	_, _ = w.Write(data) //nolint:gosec // JSON, and no page; a client that has gone away is no concern of the platform's
	return nil
}
