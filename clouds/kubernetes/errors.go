// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// failed turns an error of client-go into ours: what was tried, the code, the API
// server's words and a hint. failed(nil, …) is nil.
func failed(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	if own, ok := errors.AsType[*mlerr.Error](err); ok && own.Code != mlerr.Unknown {
		return mlerr.Wrap(err, own.Code, format, args...)
	}
	code, hint := classify(err)
	e := mlerr.New(code, "%s", "cannot "+fmt.Sprintf(format, args...)).Because(err).WithHint("%s", hint)
	e.RequestID = requestID(err)
	return e
}

// causeRequest is the type of a cause that identified adds to refusals.
const causeRequest metav1.CauseType = "RequestID"

// identified adds the id of a refused request, by which the API server's audit log
// has it, to the refusal: client-go keeps the body of an answer, and not its header.
func identified(resp *http.Response) error {
	id := resp.Header.Get("Audit-Id")
	if id == "" || resp.StatusCode < http.StatusBadRequest || !strings.HasPrefix(resp.Header.Get("Content-Type"), runtime.ContentTypeJSON) {
		return nil
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	var s metav1.Status
	if json.Unmarshal(body, &s) == nil && s.Kind == "Status" {
		if s.Details == nil {
			s.Details = &metav1.StatusDetails{}
		}
		s.Details.Causes = append(s.Details.Causes, metav1.StatusCause{Type: causeRequest, Message: id})
		if body, err = json.Marshal(s); err != nil {
			return err
		}
	}
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	resp.Header.Del("Content-Length")
	return nil
}

func requestID(err error) string {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return ""
	}
	for _, cause := range status.Status().Details.Causes {
		if cause.Type == causeRequest {
			return cause.Message
		}
	}
	return ""
}

const (
	permissionHint = "Grant the verb and resource that the message names to the credentials; the guide to Kubernetes lists all that are needed"
	loginHint      = "Check the provider's kubernetes credentials; in HCP Terraform, give short-lived ones to every run"
	addressHint    = "Check the provider's kubernetes.host or config_path, and that the API server can be reached from where terraform runs"
	quotaHint      = "Ask for a larger ResourceQuota in the namespace, or ask for less; a new version needs room beside the old one"
	fieldHint      = "The cluster, or a definition installed in it, is older than the field that the message names. Upgrade it, or leave out what needs the field"
)

// typedPatch begins what the API server says of a field that it does not know. It
// says so with the status of a fault of its own, and always will.
const typedPatch = "failed to create typed patch object"

// classify is the one place that knows what the API server's errors mean
// (https://kubernetes.io/docs/reference/using-api/api-concepts/).
func classify(err error) (mlerr.Code, string) {
	var status apierrors.APIStatus
	switch {
	case errors.Is(err, context.Canceled):
		return mlerr.Canceled, ""
	case errors.Is(err, context.DeadlineExceeded):
		return mlerr.Timeout, ""
	case !errors.As(err, &status):
		return mlerr.Unavailable, addressHint // nothing came back, or not the whole of it
	}
	s := status.Status()
	if s.Code == http.StatusInternalServerError && (strings.HasPrefix(s.Message, typedPatch) || strings.Contains(s.Message, "duplicate entries for key")) {
		return mlerr.InvalidArgument, fieldHint
	}
	switch s.Reason {
	case metav1.StatusReasonConflict, metav1.StatusReasonExpired:
		return mlerr.Conflict, ""
	case metav1.StatusReasonForbidden:
		return forbidden(&s)
	case metav1.StatusReasonInvalid, metav1.StatusReasonBadRequest:
		return mlerr.InvalidArgument, ""
	case metav1.StatusReasonAlreadyExists:
		return mlerr.AlreadyExists, ""
	case metav1.StatusReasonUnauthorized:
		return mlerr.Unauthenticated, loginHint
	case metav1.StatusReasonTooManyRequests:
		return mlerr.Throttled, ""
	case metav1.StatusReasonNotFound:
		return absent(s.Details)
	}
	switch {
	case s.Code == http.StatusTooManyRequests:
		return mlerr.Throttled, ""
	case s.Code == http.StatusUnprocessableEntity, s.Code == http.StatusRequestEntityTooLarge:
		return mlerr.InvalidArgument, ""
	case s.Code >= http.StatusInternalServerError, s.Code == 0:
		return mlerr.Unavailable, ""
	}
	return mlerr.Unknown, ""
}

// absent tells an object that is not there from a resource that no API server
// serves, and from a namespace that is missing under an object to be made.
func absent(d *metav1.StatusDetails) (mlerr.Code, string) {
	if d == nil {
		return mlerr.NotFound, ""
	}
	for _, cause := range d.Causes {
		if cause.Type == metav1.CauseTypeUnexpectedServerResponse {
			return mlerr.Unsupported, "The cluster does not serve this resource. Install what defines it, and apply again"
		}
	}
	if d.Kind == "namespaces" {
		return mlerr.InvalidArgument, "Make the namespace first; the provider makes none"
	}
	return mlerr.NotFound, ""
}

// forbidden tells a missing permission from what admission refuses.
func forbidden(s *metav1.Status) (mlerr.Code, string) {
	if s.Details != nil {
		for _, cause := range s.Details.Causes {
			if string(cause.Type) == "NamespaceTerminating" {
				return mlerr.InvalidArgument, "Wait until the namespace is gone and make it anew, or use another"
			}
		}
	}
	switch {
	case strings.Contains(s.Message, "exceeded quota"):
		return mlerr.QuotaExceeded, quotaHint
	case strings.Contains(s.Message, "violates PodSecurity"):
		return mlerr.InvalidArgument, "The namespace's Pod Security Standard forbids it: leave kubernetes.pod_security at \"restricted\""
	case strings.Contains(s.Message, " cannot ") || strings.Contains(s.Message, "attempting to grant RBAC permissions"):
		return mlerr.PermissionDenied, permissionHint
	}
	return mlerr.InvalidArgument, "" // another admission controller says no, in its own words
}
