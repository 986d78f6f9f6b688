// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/protoadapt"
)

// httpStatus is what the codes are over HTTP. Two of them are 400.
var httpStatus = map[codes.Code]int{
	codes.InvalidArgument: 400, codes.FailedPrecondition: 400, codes.OutOfRange: 400, codes.Unauthenticated: 401, codes.PermissionDenied: 403,
	codes.NotFound: 404, codes.AlreadyExists: 409, codes.Aborted: 409, codes.ResourceExhausted: 429, codes.Canceled: 499,
	codes.Unimplemented: 501, codes.Unavailable: 503, codes.DeadlineExceeded: 504,
}

func refusal(c codes.Code, format string, args ...any) error {
	return status.Error(c, fmt.Sprintf(format, args...))
}

func invalid(format string, args ...any) error {
	return refusal(codes.InvalidArgument, format, args...)
}

func precondition(format string, args ...any) error {
	return refusal(codes.FailedPrecondition, format, args...)
}

func notFound(format string, args ...any) error { return refusal(codes.NotFound, format, args...) }

// refused reports whether err is the platform's own refusal.
func refused(err error) bool {
	_, ok := status.FromError(err)
	return err != nil && ok
}

// violations collects everything that is wrong with a request, as the platform does.
type violations []*errdetails.BadRequest_FieldViolation

func (v *violations) add(field, format string, args ...any) {
	*v = append(*v, &errdetails.BadRequest_FieldViolation{Field: field, Description: fmt.Sprintf(format, args...)})
}

func (v *violations) err() error {
	if len(*v) == 0 {
		return nil
	}
	var text strings.Builder
	text.WriteString("List of found errors:")
	for i, one := range *v {
		fmt.Fprintf(&text, "\t%d.Field: %s; Message: %s", i+1, one.GetField(), one.GetDescription())
	}
	return detailed(codes.InvalidArgument, text.String()+"\t", &errdetails.BadRequest{FieldViolations: *v})
}

func detailed(c codes.Code, message string, detail protoadapt.MessageV1) error {
	s := status.New(c, message)
	if with, err := s.WithDetails(detail); err == nil {
		s = with
	}
	return s.Err()
}

// Refuse answers an error as Google does. code is one of google.rpc.Code,
// "NOT_FOUND"; any other is told from the HTTP status.
func Refuse(w http.ResponseWriter, httpCode int, name, message string) {
	c := codes.Unknown
	if n, ok := code.Code_value[name]; ok {
		c = codes.Code(n)
	} else {
		for candidate, s := range httpStatus {
			if s == httpCode && candidate != codes.FailedPrecondition && candidate != codes.OutOfRange && candidate != codes.AlreadyExists {
				c = candidate
			}
		}
		if httpCode == http.StatusInternalServerError {
			c = codes.Internal
		}
	}
	writeError(w, status.New(c, message), httpCode)
}

// Throttle refuses a call as one too many.
func Throttle(w http.ResponseWriter, call string) {
	if _, name, _ := strings.Cut(call, "."); strings.HasPrefix(name, "timeSeries.") || strings.HasPrefix(name, "alert") {
		Refuse(w, http.StatusTooManyRequests, "RESOURCE_EXHAUSTED", fmt.Sprintf("Quota exceeded for quota metric 'Time series queries' "+
			"and limit 'Time series queries per minute' of service 'monitoring.googleapis.com' for consumer 'project_number:%s'.", number(fixtureProject)))
		return
	}
	Refuse(w, http.StatusTooManyRequests, "RESOURCE_EXHAUSTED", fmt.Sprintf("Quota exceeded for quota metric 'Resource management requests' "+
		"and limit 'Resource management requests per minute per region' of service 'aiplatform.googleapis.com' for consumer 'project_number:%s' (%s).", number(fixtureProject), call))
}

func fail(w http.ResponseWriter, err error) {
	s, ok := status.FromError(err)
	if !ok {
		s = status.New(codes.Internal, "Internal error encountered: "+err.Error())
	}
	writeError(w, s, 0)
}

func writeError(w http.ResponseWriter, s *status.Status, httpCode int) {
	if httpCode == 0 {
		httpCode = httpStatus[s.Code()]
	}
	if httpCode == 0 {
		httpCode = http.StatusInternalServerError
	}
	body := map[string]any{"code": httpCode, "message": s.Message(), "status": codeName(s.Code())}
	var details []json.RawMessage
	for _, d := range s.Proto().GetDetails() {
		if text, err := protojson.Marshal(d); err == nil {
			details = append(details, text)
		}
	}
	if details != nil {
		body["details"] = details
	}
	if httpCode == http.StatusTooManyRequests || httpCode == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	data, err := json.MarshalIndent(map[string]any{"error": body}, "", "  ")
	if err != nil {
		panic("an error is plain data: " + err.Error())
	}
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(httpCode)
	_, _ = w.Write(data) // a client that has gone away is no concern of the platform's
}

// codeName is a code as the platform writes it.
func codeName(c codes.Code) string { return code.Code(c).String() }

// codeOf is the code of a name, "NOT_FOUND".
func codeOf(name string) (codes.Code, bool) {
	n, ok := code.Code_value[name]
	return codes.Code(n), ok && name != ""
}

// statusOf is a refusal's status; nil if err is none.
func statusOf(err error) *rpcstatus.Status {
	if !refused(err) {
		return nil
	}
	s, _ := status.FromError(err)
	return s.Proto()
}

// detailedInfo is a PERMISSION_DENIED with a reason.
func detailedInfo(message, reason string) error {
	return detailed(codes.PermissionDenied, message, &errdetails.ErrorInfo{Reason: reason, Domain: "googleapis.com"})
}

const (
	codesAborted = codes.Aborted
	codesExists  = codes.AlreadyExists
)
