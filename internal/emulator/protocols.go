// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/fxamacker/cbor/v2"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/sagemaker"
)

// rpc answers the JSON protocol, and Smithy RPC v2, which the Go SDK speaks to
// CloudWatch.
func (a *aws) rpc(w http.ResponseWriter, r *http.Request, c *call, body []byte) {
	if c.cbor {
		in := map[string]any{}
		if err := decodeCBOR(body, &in); err != nil {
			c.refuse(w, "SerializationException", err.Error(), http.StatusBadRequest)
			return
		}
		body, _ = json.Marshal(epochs(in)) // plain data
	}
	out, err := a.sagemaker.Do(r.Context(), sagemaker.Call{Service: c.service, Operation: c.operation, Region: c.region, Body: body, Fault: c.fault})
	if err == nil && c.cbor {
		var typed map[string]any
		if typed, err = sagemaker.Typed(c.service, c.operation, out); err == nil {
			writeCBOR(w, http.StatusOK, typed)
			return
		}
	}
	if err != nil {
		c.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_, _ = w.Write(out) // a client that has gone away is no concern of the platform's
}

// fail answers an error: the platform's refusal, or one of our own.
func (c *call) fail(w http.ResponseWriter, err error) {
	code, message, status, ok := sagemaker.Refusal(err)
	if !ok {
		code, message, status = "InternalFailure", err.Error(), http.StatusInternalServerError
	}
	c.refuse(w, code, message, status)
}

// refuse answers an error in the service's own protocol.
func (c *call) refuse(w http.ResponseWriter, code, message string, status int) {
	switch {
	case c.service == "s3":
		writeXML(w, status, struct {
			XMLName       xml.Name `xml:"Error"`
			Code, Message string
			RequestID     string `xml:"RequestId"`
		}{Code: code, Message: message, RequestID: w.Header().Get("X-Amzn-Requestid")})
	case c.service == "sts":
		writeXML(w, status, struct {
			XMLName   xml.Name `xml:"ErrorResponse"`
			Code      string   `xml:"Error>Code"`
			Message   string   `xml:"Error>Message"`
			RequestID string   `xml:"RequestId"`
		}{Code: code, Message: message, RequestID: w.Header().Get("X-Amzn-Requestid")})
	case c.cbor:
		writeCBOR(w, status, map[string]any{"__type": code, "message": message})
	case c.service == runtimeService && code == "ModelError":
		w.Header().Set("X-Amzn-Errortype", code)
		writeJSON(w, status, map[string]any{"ErrorCode": "CLIENT_ERROR_FROM_MODEL", "Message": message, "OriginalMessage": message, "OriginalStatusCode": http.StatusInternalServerError,
			"LogStreamArn": "arn:aws:logs:" + c.region + ":" + sagemaker.AccountID + ":log-group:/aws/sagemaker/Endpoints"})
	default:
		writeJSONError(w, code, message, status)
	}
}

func writeJSONError(w http.ResponseWriter, code, message string, status int) {
	w.Header().Set("X-Amzn-Errortype", code)
	writeJSON(w, status, map[string]any{"__type": code, "message": message})
}

func writeJSON(w http.ResponseWriter, status int, v map[string]any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func writeXML(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, xml.Header)
	_ = xml.NewEncoder(w).Encode(v)
}

var mapType = reflect.TypeFor[map[string]any]()

func decodeCBOR(body []byte, into *map[string]any) error {
	if len(body) == 0 {
		return nil
	}
	mode, err := cbor.DecOptions{DefaultMapType: mapType}.DecMode()
	if err != nil {
		return err
	}
	return mode.Unmarshal(body, into)
}

// epochs replaces times by seconds, which they are in JSON.
func epochs(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key := range v {
			v[key] = epochs(v[key])
		}
	case []any:
		for i := range v {
			v[i] = epochs(v[i])
		}
	case time.Time:
		return float64(v.UnixMilli()) / 1000
	}
	return value
}

// encodeCBOR writes times as tagged epoch seconds, as the protocol does.
var encodeCBOR = sync.OnceValues(func() (cbor.EncMode, error) {
	return cbor.EncOptions{Time: cbor.TimeUnixMicro, TimeTag: cbor.EncTagRequired}.EncMode()
})

func writeCBOR(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Smithy-Protocol", "rpc-v2-cbor")
	w.Header().Set("Content-Type", "application/cbor")
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

func (a *aws) sts(w http.ResponseWriter, c *call, body []byte) {
	if c.unsigned && c.operation != "AssumeRoleWithWebIdentity" {
		c.refuse(w, "MissingAuthenticationToken", "Request is missing Authentication Token", http.StatusForbidden)
		return
	}
	form, err := url.ParseQuery(string(body))
	var out []byte
	if err == nil {
		out, err = a.sagemaker.STS(form, w.Header().Get("X-Amzn-Requestid"))
	}
	if err != nil {
		c.fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	_, _ = w.Write(out)
}

func (a *aws) invoke(w http.ResponseWriter, r *http.Request, c *call, body []byte) {
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/endpoints/"), "/")
	in := sagemaker.Invocation{Region: c.region, Endpoint: name, Body: body, Async: c.operation == "InvokeEndpointAsync",
		TargetVariant: r.Header.Get("X-Amzn-Sagemaker-Target-Variant"), Component: r.Header.Get("X-Amzn-Sagemaker-Inference-Component"),
		ContentType: r.Header.Get("Content-Type"), InputLocation: r.Header.Get("X-Amzn-Sagemaker-Inputlocation")}
	answer, err := a.sagemaker.Invoke(r.Context(), in)
	if err != nil {
		c.fail(w, err)
		return
	}
	h := w.Header()
	if in.Async {
		id := r.Header.Get("X-Amzn-Sagemaker-Inference-Id")
		if id == "" {
			id = requestID()
		}
		h.Set("X-Amzn-Sagemaker-Outputlocation", answer.Output)
		if answer.Failure != "" {
			h.Set("X-Amzn-Sagemaker-Failurelocation", answer.Failure)
		}
		writeJSON(w, http.StatusAccepted, map[string]any{"InferenceId": id})
		return
	}
	if c.operation == "InvokeEndpointWithResponseStream" {
		h.Set("X-Amzn-Sagemaker-Content-Type", answer.ContentType)
		h.Set("X-Amzn-Invoked-Production-Variant", answer.Variant)
		h.Set("Content-Type", "application/vnd.amazon.eventstream")
		_ = stream(w, answer.Body)
		return
	}
	h.Set("Content-Type", answer.ContentType)
	h.Set("X-Amzn-Invoked-Production-Variant", answer.Variant)
	_, _ = io.Copy(w, bytes.NewReader(answer.Body))
}

// stream sends an answer as the parts of an event stream.
func stream(w io.Writer, body []byte) error {
	const part = 256 // bytes; small, so that clients see more than one
	encoder := eventstream.NewEncoder()
	for from := 0; from < len(body); from += part {
		m := eventstream.Message{Payload: body[from:min(from+part, len(body))]}
		m.Headers.Set(":message-type", eventstream.StringValue("event"))
		m.Headers.Set(":event-type", eventstream.StringValue("PayloadPart"))
		m.Headers.Set(":content-type", eventstream.StringValue("application/octet-stream"))
		if err := encoder.Encode(w, m); err != nil {
			return err
		}
	}
	return nil
}
