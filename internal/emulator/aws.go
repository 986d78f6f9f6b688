// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/hashicorp/go-hclog"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
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
	fault                      *fault.Fault
}

func (c *call) name() string { return c.service + "." + c.operation }

// maxRequest is what is read of a request that is not an object, in bytes.
const maxRequest = 32 << 20

func (a *aws) handler(page http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if page != nil && r.Method == http.MethodGet && r.URL.Path == "/" && strings.Contains(r.Header.Get("Accept"), "text/html") {
			page(w, r)
			return
		}
		m := scope.FindStringSubmatch(r.Header.Get("Authorization"))
		if m == nil {
			if credential := r.URL.Query().Get("X-Amz-Credential"); credential != "" {
				m = scope.FindStringSubmatch("Credential=" + credential)
			}
		}
		if m == nil {
			writeJSONError(w, "MissingAuthenticationTokenException", "Missing Authentication Token", http.StatusForbidden)
			return
		}
		a.serve(w, r, &call{region: m[1], service: m[2]})
	})
}

func (a *aws) serve(w http.ResponseWriter, r *http.Request, c *call) {
	began := time.Now()
	body, err := a.identify(r, c)
	if err != nil {
		writeJSONError(w, "InternalFailure", err.Error(), http.StatusInternalServerError)
		return
	}
	recorder := &recorder{ResponseWriter: w, status: http.StatusOK}
	err = a.strike(r.Context(), c, recorder, func(w http.ResponseWriter) { a.answer(w, r, c, body) })
	a.record(c, recorder.status, time.Since(began))
	if err != nil {
		panic(http.ErrAbortHandler) // the connection ends without an answer
	}
}

// identify names the operation, and reads the body of everything but S3.
func (a *aws) identify(r *http.Request, c *call) ([]byte, error) {
	if c.service == "s3" {
		c.operation = r.Method
		return nil, nil
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest))
	if err != nil {
		return nil, err
	}
	_, target, isTarget := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	switch {
	case isTarget:
		c.operation = target
	case strings.HasPrefix(r.URL.Path, "/service/"):
		c.operation = r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	case strings.HasSuffix(r.URL.Path, "/async-invocations"):
		c.service, c.operation = "runtime.sagemaker", "InvokeEndpointAsync"
	case strings.HasPrefix(r.URL.Path, "/endpoints/"):
		c.service, c.operation = "runtime.sagemaker", "InvokeEndpoint"
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

// strike lets a scripted fault happen around a call. An error means that the
// client gets no answer.
func (a *aws) strike(ctx context.Context, c *call, w http.ResponseWriter, answer func(http.ResponseWriter)) error {
	var f *fault.Fault
	err := a.store.Do(ctx, func(tx *state.Tx) (err error) {
		f, err = fault.Match(a.dir, tx, c.name())
		return err
	})
	if err != nil {
		writeJSONError(w, "InternalFailure", err.Error(), http.StatusInternalServerError)
		return nil
	}
	if f == nil {
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
		writeJSONError(w, f.Code, f.Message, status)
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
		os.Exit(137) //nolint:revive // what the fault is for: the process dies here
	}
	c.fault = f
	answer(w)
	return nil
}

func (a *aws) answer(w http.ResponseWriter, r *http.Request, c *call, body []byte) {
	w.Header().Set("X-Amzn-Requestid", requestID())
	switch c.service {
	case "s3":
		a.s3.ServeHTTP(w, r)
	case "sts":
		a.sts(w, body)
	case "runtime.sagemaker":
		a.invoke(w, r, c, body)
	case "monitoring":
		a.cbor(w, r, c, body)
	default:
		a.json(w, r, c, body)
	}
}

func (a *aws) json(w http.ResponseWriter, r *http.Request, c *call, body []byte) {
	out, err := a.do(r.Context(), c, body)
	if err != nil {
		writeError(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_, _ = w.Write(out) // a client that has gone away is no concern of the platform's
}

func (a *aws) do(ctx context.Context, c *call, body []byte) ([]byte, error) {
	return a.sagemaker.Do(ctx, sagemaker.Call{Service: c.service, Operation: c.operation, Region: c.region, Body: body, Fault: c.fault})
}

// cbor speaks the Smithy RPC v2 protocol, as the Go SDK does to CloudWatch;
// other clients send JSON.
func (a *aws) cbor(w http.ResponseWriter, r *http.Request, c *call, body []byte) {
	if r.Header.Get("Smithy-Protocol") != "rpc-v2-cbor" {
		a.json(w, r, c, body)
		return
	}
	w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
	w.Header().Set("Content-Type", "application/cbor")
	in := map[string]any{}
	if len(body) > 0 {
		if err := decodeCBOR(body, &in); err != nil {
			writeCBOR(w, http.StatusBadRequest, map[string]any{"__type": "SerializationException", "message": err.Error()})
			return
		}
	}
	asJSON, err := json.Marshal(in)
	if err == nil {
		asJSON, err = a.do(r.Context(), c, asJSON)
	}
	if code, message, status, ok := sagemaker.Refusal(err); ok {
		writeCBOR(w, status, map[string]any{"__type": code, "message": message})
		return
	}
	var out map[string]any
	if err == nil {
		out, err = sagemaker.Typed(c.service, c.operation, asJSON)
	}
	if err != nil {
		writeCBOR(w, http.StatusInternalServerError, map[string]any{"__type": "InternalFailure", "message": err.Error()})
		return
	}
	writeCBOR(w, http.StatusOK, out)
}

func decodeCBOR(body []byte, into *map[string]any) error {
	mode, err := cbor.DecOptions{DefaultMapType: mapType}.DecMode()
	if err != nil {
		return err
	}
	return mode.Unmarshal(body, into)
}

// encodeCBOR writes times as tagged epoch seconds, as the protocol does.
var encodeCBOR = sync.OnceValues(func() (cbor.EncMode, error) {
	return cbor.EncOptions{Time: cbor.TimeUnixMicro, TimeTag: cbor.EncTagRequired}.EncMode()
})

func writeCBOR(w http.ResponseWriter, status int, v any) {
	mode, err := encodeCBOR()
	var data []byte
	if err == nil {
		data, err = mode.Marshal(v)
	}
	if err != nil {
		status, data = http.StatusInternalServerError, nil
	}
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

func (a *aws) sts(w http.ResponseWriter, body []byte) {
	form, err := url.ParseQuery(string(body))
	var out []byte
	if err == nil {
		out, err = a.sagemaker.STS(form)
	}
	w.Header().Set("Content-Type", "text/xml")
	if err == nil {
		_, _ = w.Write(out)
		return
	}
	code, message, status, ok := sagemaker.Refusal(err)
	if !ok {
		code, message, status = "InternalFailure", err.Error(), http.StatusInternalServerError
	}
	w.WriteHeader(status)
	_ = xml.NewEncoder(w).Encode(struct {
		XMLName xml.Name `xml:"ErrorResponse"`
		Code    string   `xml:"Error>Code"`
		Message string   `xml:"Error>Message"`
	}{Code: code, Message: message})
}

func (a *aws) invoke(w http.ResponseWriter, r *http.Request, c *call, body []byte) {
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/endpoints/"), "/")
	answer, err := a.sagemaker.Invoke(r.Context(), sagemaker.Invocation{Region: c.region, Endpoint: name, Body: body,
		TargetVariant: r.Header.Get("X-Amzn-Sagemaker-Target-Variant"), ContentType: r.Header.Get("Content-Type"),
		Async: c.operation == "InvokeEndpointAsync", InputLocation: r.Header.Get("X-Amzn-Sagemaker-Inputlocation")})
	if err != nil {
		writeError(w, err)
		return
	}
	if answer.Output != "" {
		w.Header().Set("X-Amzn-Sagemaker-Outputlocation", answer.Output)
		w.WriteHeader(http.StatusAccepted)
		_, _ = fmt.Fprintf(w, `{"InferenceId":%q}`, requestID())
		return
	}
	w.Header().Set("Content-Type", answer.ContentType)
	w.Header().Set("X-Amzn-Invoked-Production-Variant", answer.Variant)
	_, _ = io.Copy(w, bytes.NewReader(answer.Body))
}

func writeError(w http.ResponseWriter, err error) {
	code, message, status, ok := sagemaker.Refusal(err)
	if !ok {
		code, message, status = "InternalFailure", err.Error(), http.StatusInternalServerError
	}
	writeJSONError(w, code, message, status)
}

func writeJSONError(w http.ResponseWriter, code, message string, status int) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.Header().Set("X-Amzn-Errortype", code)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"__type": code, "message": message})
}
