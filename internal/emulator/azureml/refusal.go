// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// refusal is an error as Azure answers it. What is wrong is often only in detail,
// whose code is the useful one.
type refusal struct {
	Status  int
	Code    string
	Message string
	Detail  string // the code of the only detail; "" is no detail
	Inner   string // a code in additionalInfo
	Bare    bool   // the error is the whole answer, as Azure Monitor has it
}

func (e *refusal) Error() string { return e.Code + ": " + e.Message }

func refuse(status int, code, format string, args ...any) *refusal {
	return &refusal{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

func badRequest(format string, args ...any) error {
	return refuse(http.StatusBadRequest, "BadRequest", format, args...)
}

// userError is how the asset service refuses what its caller has got wrong.
func userError(format string, args ...any) error {
	return refuse(http.StatusBadRequest, "UserError", format, args...)
}

func conflict(format string, args ...any) error {
	return refuse(http.StatusConflict, "Conflict", format, args...)
}

// nested is a refusal whose cause is a detail below a general code.
func nested(detail, format string, args ...any) error {
	e := refuse(http.StatusBadRequest, "BadRequest", format, args...)
	e.Detail = detail
	return e
}

// notFound says that a resource is not there, with the words of Resource Manager.
func notFound(t target) error {
	return refuse(http.StatusNotFound, "ResourceNotFound", "The Resource '%s' under resource group '%s' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix", t.relative(), t.group)
}

// body is the error as JSON.
func (e *refusal) body() map[string]any {
	out := map[string]any{"code": e.Code, "message": e.Message}
	if e.Detail != "" {
		out["message"] = "The request is invalid."
		out["details"] = []any{map[string]any{"code": e.Detail, "message": e.Message}}
	}
	if e.Inner != "" {
		out["additionalInfo"] = []any{map[string]any{"type": "InnerError", "info": map[string]any{"value": map[string]any{"code": e.Inner, "innerError": nil}}}}
	}
	return out
}

func fail(w http.ResponseWriter, err error) {
	e, ok := errors.AsType[*refusal](err)
	if !ok {
		e = refuse(http.StatusInternalServerError, "InternalServerError", "An internal server error occurred: %s", err)
	}
	writeError(w, e)
}

func writeError(w http.ResponseWriter, e *refusal) {
	body := e.body()
	if e.Bare {
		writeBody(w, e.Status, body)
		return
	}
	info, _ := body["additionalInfo"].([]any)
	body["additionalInfo"] = append(info, map[string]any{"type": "Correlation", "info": map[string]any{"value": map[string]any{
		"operation": w.Header().Get("X-Ms-Correlation-Request-Id"), "request": w.Header().Get("X-Ms-Request-Id")}}})
	writeBody(w, e.Status, map[string]any{"error": body})
}

func writeBody(w http.ResponseWriter, status int, body map[string]any) {
	data, err := json.Marshal(body)
	if err != nil {
		panic("an error is plain data: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(data) // a client that has gone away is no concern of the platform's
}

// Refuse answers an error as Resource Manager does.
func Refuse(w http.ResponseWriter, status int, code, message string) {
	if code == "" {
		code = http.StatusText(status)
	}
	writeError(w, &refusal{Status: status, Code: code, Message: message})
}

// Throttle refuses a call as one too many.
func Throttle(w http.ResponseWriter, call string) {
	w.Header().Set("Retry-After", "1")
	w.Header().Set("X-Ms-Ratelimit-Remaining-Subscription-Resource-Requests", "0")
	Refuse(w, http.StatusTooManyRequests, "TooManyRequests", "The request is being throttled as the limit has been reached for operation type - "+call+". For more information, see - https://aka.ms/srpthrottlinglimits")
}
