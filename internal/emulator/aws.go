// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/s3"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/sagemaker"
)

// aws serves every AWS API under one URL. Which one is meant shows in the
// service name that each request is signed for.
type aws struct {
	*books
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
	id := requestID()
	w.Header().Set("X-Amzn-Requestid", id)
	if c.service == "s3" {
		w.Header().Set("X-Amz-Request-Id", id)
	}
	body, err := c.read(r)
	if err != nil {
		c.refuse(w, "InternalFailure", err.Error(), http.StatusInternalServerError)
		return
	}
	a.attend(r.Context(), c, w, func(w http.ResponseWriter, f *fault.Fault) {
		c.fault = f
		a.answer(w, r, c, body)
	})
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

// slow refuses a call as one too many.
func (c *call) slow(w http.ResponseWriter) {
	if c.service == "s3" {
		c.refuse(w, "SlowDown", "Please reduce your request rate.", http.StatusServiceUnavailable)
		return
	}
	c.refuse(w, "ThrottlingException", "Rate exceeded", http.StatusBadRequest)
}

func (c *call) where() string { return c.region }

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
