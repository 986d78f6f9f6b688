// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/s3"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/sagemaker"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/state"
)

// aws serves every AWS API under one URL. Which one is meant shows in the
// service name that each request is signed for.
type aws struct {
	dir       string
	store     *state.Store
	log       hclog.Logger
	now       func() time.Time
	s3        http.Handler
	sagemaker *sagemaker.Service
}

// scope is the credential scope of a SigV4 signature: key/date/region/service/aws4_request.
var scope = regexp.MustCompile(`Credential=[^/]+/\d+/([^/]+)/([^/]+)/aws4_request`)

// call is one request, told apart.
type call struct {
	service, region, operation string
	cbor                       bool         // speaks Smithy RPC v2, and not JSON
	unsigned                   bool         // carries no signature
	fault                      *fault.Fault // that the service itself acts out; nil if none
}

func (c *call) name() string { return c.service + "." + c.operation }

// maxRequest is what is read of a request that is not an object, in bytes.
const maxRequest = 32 << 20

func (a *aws) handler(page http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if page != nil && r.Method == http.MethodGet && r.URL.Path == "/" && r.Header.Get("Authorization") == "" && !r.URL.Query().Has("X-Amz-Signature") {
			page(w, r)
			return
		}
		c := identify(r)
		if c == nil {
			writeJSONError(w, "MissingAuthenticationTokenException", "Missing Authentication Token", http.StatusForbidden)
			return
		}
		a.serve(w, r, c)
	})
}

func (a *aws) serve(w http.ResponseWriter, r *http.Request, c *call) {
	began, id := time.Now(), requestID()
	w.Header().Set("X-Amzn-Requestid", id)
	if c.service == "s3" {
		w.Header().Set("X-Amz-Request-Id", id)
	}
	body, err := c.read(r)
	if err != nil {
		c.refuse(w, "InternalFailure", err.Error(), http.StatusInternalServerError)
		return
	}
	recorder := &recorder{ResponseWriter: w, status: http.StatusOK}
	err = a.strike(r.Context(), c, recorder, func(w http.ResponseWriter) { a.answer(w, r, c, body) })
	if err != nil {
		recorder.status = 0
	}
	a.record(c, recorder.status, time.Since(began))
	if err != nil {
		panic(http.ErrAbortHandler) // the connection ends without an answer
	}
}

// identify tells from a request's signature which service it is for. A request
// without one can only exchange a web identity's token; others are nil.
func identify(r *http.Request) *call {
	signed := r.Header.Get("Authorization")
	if signed == "" {
		signed = "Credential=" + r.URL.Query().Get("X-Amz-Credential")
	}
	c := &call{region: "us-east-1", service: "sts", cbor: r.Header.Get("Smithy-Protocol") == "rpc-v2-cbor"}
	if m := scope.FindStringSubmatch(signed); m != nil {
		c.region, c.service = m[1], m[2]
		return c
	}
	if r.Method == http.MethodPost && r.URL.Path == "/" && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		c.unsigned = true
		return c
	}
	return nil
}

// read names the operation, and reads the body of everything but S3.
func (c *call) read(r *http.Request) ([]byte, error) {
	if c.service == "s3" {
		c.operation = s3.Operation(r)
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
	if err != nil {
		return nil, err
	}
	_, target, isTarget := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	action, isRuntime := runtimeOperations[r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]]
	switch {
	case isTarget:
		c.operation = target
	case strings.HasPrefix(r.URL.Path, "/service/"):
		c.operation = r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	case isRuntime && strings.HasPrefix(r.URL.Path, "/endpoints/"):
		c.service, c.operation = runtimeService, action
	case c.service == "sts":
		form, err := url.ParseQuery(string(body))
		if err != nil {
			return nil, err
		}
		c.operation = form.Get("Action")
	default:
		c.operation = r.Method + " " + r.URL.Path
	}
	return body, nil
}

const runtimeService = "runtime.sagemaker"

// runtimeOperations are by the last segment of the path.
var runtimeOperations = map[string]string{"invocations": "InvokeEndpoint", "async-invocations": "InvokeEndpointAsync",
	"invocations-response-stream": "InvokeEndpointWithResponseStream"}

// strike lets a scripted fault happen around a call. An error means that the
// client gets no answer.
func (a *aws) strike(ctx context.Context, c *call, w http.ResponseWriter, answer func(http.ResponseWriter)) error {
	f, throttled, err := a.disturbed(ctx, c)
	switch {
	case err != nil:
		c.refuse(w, "InternalFailure", err.Error(), http.StatusInternalServerError)
		return nil
	case throttled && c.service == "s3":
		c.refuse(w, "SlowDown", "Please reduce your request rate.", http.StatusServiceUnavailable)
		return nil
	case throttled:
		c.refuse(w, "ThrottlingException", "Rate exceeded", http.StatusBadRequest)
		return nil
	case f == nil:
		answer(w)
		return nil
	}
	a.log.Info("scripted fault", "call", c.name(), "action", f.Action)
	switch f.Action {
	case fault.Error:
		status := f.Status
		if status == 0 {
			status = http.StatusBadRequest
		}
		c.refuse(w, f.Code, f.Message, status)
		return nil
	case fault.LostAnswer:
		answer(&recorder{ResponseWriter: discard{http.Header{}}})
		return fmt.Errorf("answer lost")
	case fault.Hang:
		select {
		case <-ctx.Done():
		case <-time.After(f.Wait()):
		}
		return fmt.Errorf("hung up")
	case fault.Exit:
		if f.When == "after" {
			answer(&recorder{ResponseWriter: discard{http.Header{}}})
		}
		os.Exit(137) // what the fault is for: the process dies here
	}
	c.fault = f
	answer(w)
	return nil
}

// disturbed finds what keeps a call from being answered as usual: a scripted
// fault, or a rate above the one that quotas.json allows.
func (a *aws) disturbed(ctx context.Context, c *call) (f *fault.Fault, throttled bool, err error) {
	limit, limited := quotas(a.dir)[c.name()]
	if !limited && !fault.Scripted(a.dir) {
		return nil, false, nil
	}
	err = a.store.Do(ctx, func(tx *state.Tx) (err error) {
		if f, err = fault.Match(a.dir, tx, c.name()); err != nil || f != nil || !limited {
			return err
		}
		var used struct{ Second, Calls int64 }
		key := c.region + "/" + c.name()
		if _, err := tx.Get("rate", key, &used); err != nil {
			return err
		}
		if second := a.now().Unix(); used.Second != second {
			used.Second, used.Calls = second, 0
		}
		used.Calls++
		throttled = used.Calls > int64(limit)
		return tx.Put("rate", key, used)
	})
	return f, throttled, err
}

func (a *aws) answer(w http.ResponseWriter, r *http.Request, c *call, body []byte) {
	switch c.service {
	case "s3":
		a.s3.ServeHTTP(w, r)
	case "sts":
		a.sts(w, c, body)
	case runtimeService:
		a.invoke(w, r, c, body)
	default:
		a.rpc(w, r, c, body)
	}
}
