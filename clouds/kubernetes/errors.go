// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
	return mlerr.New(code, "%s", "cannot "+fmt.Sprintf(format, args...)).Because(err).WithHint("%s", hint)
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
