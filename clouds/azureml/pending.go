// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// What long-running operations do.
const (
	creating    = "create"
	updating    = "update"
	deleting    = "delete"
	deploying   = "deploy"
	scaling     = "scale"
	undeploying = "undeploy"
)

// started is a long-running operation that this process has started.
type started struct {
	kind    string
	id      string // the platform's name of the deployment that it is about
	address string // where its state is asked for
	failure *said  // why it has ended in vain
}

// pending remembers operations by endpoint. It dies with the process. What a process
// before has started is seen in what it changes; only why it failed is then not known,
// but for the logs of containers.
type pending struct {
	mu sync.Mutex
	of map[string][]started
}

// add remembers an operation, in the place of one of the same kind on the same thing.
func (p *pending) add(endpoint string, s started) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = map[string][]started{}
	}
	p.of[endpoint] = append(slices.DeleteFunc(p.of[endpoint], func(o started) bool { return o.kind == s.kind && o.id == s.id }), s)
}

func (p *pending) list(endpoint string) []started {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.of[endpoint])
}

func (p *pending) drop(endpoint string, drop func(started) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if rest := slices.DeleteFunc(p.of[endpoint], drop); len(rest) > 0 {
		p.of[endpoint] = rest
	} else {
		delete(p.of, endpoint)
	}
}

// captured is where the answer to a call that begins an operation is put.
func captured(ctx context.Context) (context.Context, *answer) {
	a := &answer{}
	return policy.WithCaptureResponse(ctx, &a.resp), a
}

// answer is the answer to a call that begins an operation.
type answer struct{ resp *http.Response }

// begun remembers what a call has begun. The address is that of the operation even
// where the resource already claims to have succeeded, as it does when it has only
// queued the change.
func (w *workspace) begun(endpoint string, a *answer, s started) {
	if a.resp == nil {
		return
	}
	if s.address = a.resp.Header.Get("Azure-Asyncoperation"); s.address == "" {
		s.address = a.resp.Header.Get("Location")
	}
	if s.address != "" {
		w.pending.add(endpoint, s)
	}
}

// running asks for the operations on an endpoint. Those that have ended well are
// forgotten: what they have made is seen from now on.
func (w *workspace) running(ctx context.Context, endpoint string) ([]started, error) {
	var all []started
	for _, s := range w.pending.list(endpoint) {
		if s.failure == nil {
			done, failure, err := w.operation(ctx, s.address)
			if err != nil {
				return nil, err
			}
			if done && failure == nil {
				w.pending.drop(endpoint, func(o started) bool { return o.address == s.address })
				continue
			}
			if s.failure = failure; failure != nil {
				w.pending.add(endpoint, s)
			}
		}
		all = append(all, s)
	}
	return all, nil
}

// told forgets operations that have failed, once their reason was handed on.
func (w *workspace) told(endpoint string, kinds ...string) {
	w.pending.drop(endpoint, func(s started) bool { return s.failure != nil && slices.Contains(kinds, s.kind) })
}

// operation asks whether an operation has ended, and why in vain. One that is not
// known any more has ended.
func (w *workspace) operation(ctx context.Context, address string) (done bool, failure *said, err error) {
	req, err := runtime.NewRequest(ctx, http.MethodGet, address)
	if err != nil {
		return false, nil, mlerr.Wrap(err, mlerr.Unavailable, "the address of an operation cannot be used")
	}
	resp, err := w.c.Operations.Pipeline().Do(req)
	if err != nil {
		return false, nil, failed(err, "cannot read an operation")
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusNoContent:
		return true, nil, nil
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode >= http.StatusInternalServerError,
		resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden:
		return false, nil, failed(runtime.NewResponseError(resp), "cannot read an operation")
	case resp.StatusCode >= http.StatusBadRequest:
		return true, heard(resp, ""), nil
	}
	body, err := runtime.Payload(resp)
	if err != nil {
		return false, nil, mlerr.Wrap(err, mlerr.Unavailable, "cannot read an operation")
	}
	var state struct {
		Status string `json:"status"`
	}
	_ = json.Unmarshal(body, &state) // without a body the status code says it
	switch {
	case strings.EqualFold(state.Status, "Failed"), strings.EqualFold(state.Status, "Canceled"):
		failure = &said{status: resp.StatusCode, requestID: requestID(resp.Header)}
		failure.read(body)
		if len(failure.codes) == 0 {
			failure.add("Operation"+state.Status, "the platform gives no reason")
		}
		return true, failure, nil
	case state.Status == "":
		return resp.StatusCode != http.StatusAccepted, nil, nil
	}
	return strings.EqualFold(state.Status, "Succeeded"), nil, nil
}

func find(all []started, kind, id string) *started {
	for i := range all {
		if all[i].kind == kind && all[i].id == id {
			return &all[i]
		}
	}
	return nil
}
