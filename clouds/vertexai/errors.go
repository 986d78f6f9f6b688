// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// status is google.rpc.Status, with the name of its code as REST shows it.
type status struct {
	Code    int      `json:"code"`
	Message string   `json:"message"`
	Status  string   `json:"status"`
	Details []detail `json:"details"`

	requestID string
	operation string // that has ended so
}

type detail struct {
	Type       string `json:"@type"`
	Reason     string `json:"reason"`
	RequestID  string `json:"requestId"`
	Violations []struct {
		Field       string `json:"field"`
		Description string `json:"description"`
	} `json:"fieldViolations"`
}

// codeNames are google.rpc.Code: operations give the number.
var codeNames = []string{"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", //nolint:misspell // as google.rpc.Code spells it
	"RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"}

func (s *status) name() string {
	if s.Status == "" && s.Code >= 0 && s.Code < len(codeNames) {
		return codeNames[s.Code]
	}
	return s.Status
}

// Error is the platform's words.
func (s *status) Error() string {
	words := s.name() + ": " + s.Message
	for i := range s.Details {
		for _, v := range s.Details[i].Violations {
			if !strings.Contains(words, v.Description) {
				words += fmt.Sprintf("; %s: %s", v.Field, v.Description)
			}
		}
	}
	if s.operation != "" {
		words += " [" + s.operation + "]" // what support asks for, as nothing else tells of it
	}
	return words
}

// refusal reads the error that was answered. Gateways in front of the API answer
// with pages.
func (a *answer) refusal() error {
	if s := a.google(); s != nil {
		return s
	}
	text := strings.TrimSpace(string(a.body[:min(len(a.body), 500)]))
	if strings.HasPrefix(text, "<") {
		text = ""
	}
	return &status{Code: a.status, Status: byHTTP[a.status], Message: cmp.Or(text, http.StatusText(a.status)), requestID: requestID(a.header, nil)}
}

// google is the error in Google's form, nil if the answer has another.
func (a *answer) google() *status {
	var body struct {
		Error *status `json:"error"`
	}
	if json.Unmarshal(a.body, &body) != nil || body.Error == nil || body.Error.Code != a.status {
		return nil //nolint:nilerr // it is no error of Google's
	}
	s := body.Error
	s.Status, s.requestID = cmp.Or(s.Status, byHTTP[a.status]), requestID(a.header, s.Details)
	return s
}

// byHTTP is what an HTTP status means where nothing better is said: 400 is two codes.
var byHTTP = map[int]string{
	http.StatusBadRequest: "INVALID_ARGUMENT", http.StatusUnauthorized: "UNAUTHENTICATED", http.StatusForbidden: "PERMISSION_DENIED", http.StatusNotFound: "NOT_FOUND",
	http.StatusConflict: "ABORTED", http.StatusTooManyRequests: "RESOURCE_EXHAUSTED", http.StatusInternalServerError: "INTERNAL", http.StatusBadGateway: "UNAVAILABLE",
	http.StatusServiceUnavailable: "UNAVAILABLE", http.StatusGatewayTimeout: "DEADLINE_EXCEEDED",
}

// requestID is the platform's id of a request: as google.rpc.RequestInfo, or in one
// of the headers that its front ends send. "" if it gave none.
func requestID(h http.Header, details []detail) string {
	for i := range details {
		if details[i].RequestID != "" {
			return details[i].RequestID
		}
	}
	trace, _, _ := strings.Cut(h.Get("X-Cloud-Trace-Context"), "/")
	return cmp.Or(h.Get("X-Request-Id"), trace)
}

// failed turns an error into ours: what was tried, the code, the platform's words,
// the request's id and a hint. failed(nil, …) is nil.
func failed(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	if own, ok := errors.AsType[*mlerr.Error](err); ok && own.Code != mlerr.Unknown {
		return mlerr.Wrap(own, own.Code, format, args...)
	}
	code, hint := classify(err)
	e := mlerr.New(code, format, args...).Because(err).WithHint("%s", hint)
	if s, ok := errors.AsType[*status](err); ok {
		e.RequestID = s.requestID
		if code == mlerr.InvalidArgument {
			e.Path = attribute(s)
		}
	}
	return e
}

const (
	permissionHint = "Grant the permission that the message names to the credentials; the guide to Vertex AI lists all that are needed"
	monitoringHint = "Grant the permission that the message names to the credentials: roles/monitoring.viewer on the project has all that rollout.checks needs"
	alertingHint   = "Enable the Cloud Monitoring API in the project: gcloud services enable monitoring.googleapis.com"
	serviceHint    = "Enable the Vertex AI API in the project: gcloud services enable aiplatform.googleapis.com"
	perimeterHint  = "Call from inside of the project's service perimeter (VPC Service Controls), or let these credentials in; an endpoint there has no host of its own: leave vertex_ai.dedicated out"
	keyHint        = "Grant roles/cloudkms.cryptoKeyEncrypterDecrypter on the key to the project's Vertex AI service agent"
	accountHint    = "Grant iam.serviceAccounts.actAs on the service account (roles/iam.serviceAccountUser) to the credentials"
	quotaHint      = "Ask for a higher quota of the named metric in the region (IAM & Admin, Quotas); a new version needs its replicas beside those of the old one"
)

// codes are what the statuses mean where nothing more is to be looked at
// (https://cloud.google.com/apis/design/errors).
var codes = map[string]mlerr.Code{
	"NOT_FOUND": mlerr.NotFound, "ALREADY_EXISTS": mlerr.AlreadyExists, "ABORTED": mlerr.Conflict, "INVALID_ARGUMENT": mlerr.InvalidArgument,
	"OUT_OF_RANGE": mlerr.InvalidArgument, "UNIMPLEMENTED": mlerr.Unsupported, "UNAVAILABLE": mlerr.Unavailable, "INTERNAL": mlerr.Unavailable,
	"UNKNOWN": mlerr.Unavailable, "DEADLINE_EXCEEDED": mlerr.Unavailable, "DATA_LOSS": mlerr.Failed,
	"CANCELLED": mlerr.Unavailable, //nolint:misspell // as google.rpc.Code spells it
}

// sentences tell the failed preconditions apart.
var sentences = []struct {
	pattern *regexp.Regexp
	code    mlerr.Code
}{
	{regexp.MustCompile(`(?i)has deployed or being-deployed|is deployed|still deployed|deployed to`), mlerr.InUse},
	{regexp.MustCompile(`(?i)another operation|operation .*in progress|in progress|being (un)?deployed|being deleted|being updated|already running|active mutat|concurrent`), mlerr.Busy},
	{regexp.MustCompile(`(?i)etag`), mlerr.Conflict},
}

// classify is the one place that knows what the platform's errors mean.
func classify(err error) (mlerr.Code, string) {
	switch {
	case errors.Is(err, context.Canceled):
		return mlerr.Canceled, ""
	case errors.Is(err, context.DeadlineExceeded):
		return mlerr.Timeout, ""
	}
	s, ok := errors.AsType[*status](err)
	if !ok {
		return mlerr.Unavailable, "" // nothing came back, or not the whole of it
	}
	switch s.name() {
	case "UNAUTHENTICATED":
		return mlerr.Unauthenticated, loginHint
	case "PERMISSION_DENIED":
		hint := denied(s)
		if hint == keyHint || hint == accountHint { // grants are often of the same apply, and take minutes to be seen
			return mlerr.NotYetVisible, hint
		}
		return mlerr.PermissionDenied, hint
	case "RESOURCE_EXHAUSTED":
		if strings.Contains(strings.ToLower(s.Message), "quotas are exceeded") || strings.Contains(s.Message, "exceed quota limits") {
			return mlerr.QuotaExceeded, quotaHint
		}
		return mlerr.Throttled, ""
	case "FAILED_PRECONDITION":
		for _, sentence := range sentences {
			if sentence.pattern.MatchString(s.Message) {
				return sentence.code, ""
			}
		}
		return mlerr.InvalidArgument, ""
	}
	return codes[s.name()], ""
}

func denied(s *status) string {
	for i := range s.Details {
		switch s.Details[i].Reason {
		case "SERVICE_DISABLED":
			if strings.Contains(s.Message, "Monitoring") || strings.Contains(s.Message, "monitoring.googleapis.com") {
				return alertingHint
			}
			return serviceHint
		case "SECURITY_POLICY_VIOLATED":
			return perimeterHint
		}
	}
	if strings.Contains(s.Message, "vpcServiceControls") || strings.Contains(s.Message, "VPC_SERVICE_CONTROLS") {
		return perimeterHint
	}
	if strings.Contains(s.Message, "iam.serviceAccounts.actAs") {
		return accountHint
	}
	if strings.Contains(strings.ToLower(s.Message), "cryptokey") || strings.Contains(s.Message, "Cloud KMS") {
		return keyHint
	}
	if strings.Contains(s.Message, "monitoring.") {
		return monitoringHint
	}
	return permissionHint
}

// attributes are those that fields of requests come from.
var attributes = []struct{ field, path string }{
	{"labels", "labels"}, {"kms_key_name", "encryption.key"}, {"encryption_spec", "encryption.key"}, {"artifact_uri", "artifact.uri"}, {"image_uri", "serving.image"},
	{"container_spec.env", "serving.env"}, {"container_spec.ports", "serving.port"}, {"predict_route", "serving.predict_path"}, {"health_route", "serving.health_path"},
	{"version_aliases", "aliases"}, {"bigquery_destination", "capture.destination"}, {"sampling_rate", "capture.percent"}, {"network", "network.network"},
	{"inference_timeout", "request_timeout"}, {"service_account", "vertex_ai.service_account"},
}

// attribute is the attribute that a refusal is about, where the platform says which
// field it has refused.
func attribute(s *status) string {
	for i := range s.Details {
		for _, v := range s.Details[i].Violations {
			for _, a := range attributes {
				if strings.Contains(v.Field, a.field) || strings.Contains(v.Field, camel(a.field)) {
					return a.path
				}
			}
		}
	}
	return ""
}

func camel(field string) string {
	parts := strings.Split(field, "_")
	for i := 1; i < len(parts); i++ {
		if parts[i] != "" {
			parts[i] = strings.ToUpper(parts[i][:1]) + parts[i][1:]
		}
	}
	return strings.Join(parts, "")
}

// explain is why a deployment has failed, with what the platform's words often mean.
func explain(s *status) string {
	switch {
	case strings.Contains(s.Message, "never became ready"):
		return s.Error() + " (its container must listen on 0.0.0.0 at serving.port, and answer GET on serving.health_path with 200, without credentials)"
	case strings.Contains(s.Message, "exited unexpectedly"), strings.Contains(s.Message, "terminated"):
		return s.Error() + " (its container has ended: the log tells why, such as too little memory, or nothing to load at AIP_STORAGE_URI)"
	case s.name() == "RESOURCE_EXHAUSTED":
		return s.Error() + " (the region has no such machines to give now, or the project's quota is used up, which in new projects is often 0: ask for more under IAM & Admin, Quotas; a new version needs its replicas beside those of the old one)"
	}
	return s.Error()
}

// gone makes the absence of a thing that was to be removed a success.
func gone(err error) error {
	if mlerr.Is(err, mlerr.NotFound) {
		return nil
	}
	return err
}
