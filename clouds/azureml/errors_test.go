// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// refusal of the platform's, as the SDK gives it.
func refusedBy(status int, body string) error {
	return runtime.NewResponseError(&http.Response{StatusCode: status, Header: http.Header{"X-Ms-Correlation-Request-Id": {"c-1"}, "X-Ms-Request-Id": {"r-1"}},
		Body: io.NopCloser(strings.NewReader(body)), Request: &http.Request{Method: http.MethodPut, URL: &url.URL{Scheme: "https", Host: "management.azure.com"}}})
}

func TestErrors(t *testing.T) {
	t.Parallel()
	nested := func(code, message string) string {
		return `{"error":{"code":"BadRequest","message":"The request is invalid.","details":[{"code":"` + code + `","message":"` + message + `"}]}}`
	}
	for reason, c := range map[string]struct {
		status int
		body   string
		code   mlerr.Code
		words  string
	}{
		"the cause is in the details":           {400, nested("NotSupported", "Not on this compute."), mlerr.Unsupported, "NotSupported: Not on this compute.; The request is invalid"},
		"the endpoint is being updated":         {400, nested("X", "Cannot create a deployment in endpoint e because it is in Updating provisioning state"), mlerr.Busy, "Updating"},
		"another operation":                     {409, nested("Conflict", "Conflict of operation, another operation on same entity is already running in workspace w"), mlerr.Busy, "already running"},
		"a name of somebody else's":             {409, nested("EndpointAlreadyExists", "There is already an endpoint with this name. It must be unique within a region."), mlerr.AlreadyExists, "unique"},
		"a failed operation answers 200":        {200, `{"status":"Failed","error":{"code":"ResourceNotReady","message":"User container has crashed."}}`, mlerr.Failed, "crashed"},
		"quota, with 200":                       {200, `{"error":{"code":"OutOfQuota","message":"Not enough cores."}}`, mlerr.QuotaExceeded, "cores"},
		"an image that may not be pulled":       {200, nested("BadArgument", "Endpoint identity does not have pull permission on the registry"), mlerr.PermissionDenied, "pull"},
		"the inner error":                       {400, `{"error":{"code":"BadRequest","message":"m","additionalInfo":[{"type":"InnerError","info":{"value":{"code":"ScopeLocked"}}}]}}`, mlerr.PermissionDenied, "ScopeLocked"},
		"absent":                                {404, `{"error":{"code":"ResourceNotFound","message":"gone"}}`, mlerr.NotFound, "gone"},
		"absent, with a cause":                  {404, `{"error":{"code":"NotFound","message":"m","details":[{"code":"InferencingClientCallFailed","message":"no such endpoint"}]}}`, mlerr.NotFound, "no such"},
		"no such subscription is not absence":   {404, `{"error":{"code":"SubscriptionNotFound","message":"m"}}`, mlerr.InvalidArgument, "Subscription"},
		"paths of assets":                       {400, `{"error":{"code":"UserError","message":"Asset paths cannot be updated."}}`, mlerr.InvalidArgument, "cannot be updated"},
		"in use":                                {400, nested("X", "The deployment has live traffic."), mlerr.InUse, "traffic"},
		"too fast":                              {429, `{"error":{"code":"TooManyRequests","message":"slow down"}}`, mlerr.Throttled, "slow"},
		"no right":                              {403, `{"error":{"code":"AuthorizationFailed","message":"no"}}`, mlerr.PermissionDenied, "no"},
		"a policy":                              {403, `{"error":{"code":"RequestDisallowedByPolicy","message":"no"}}`, mlerr.PermissionDenied, "no"},
		"no provider":                           {409, `{"error":{"code":"MissingSubscriptionRegistration","message":"m"}}`, mlerr.PermissionDenied, "m"},
		"an identity that was granted just now": {403, `{"error":{"code":"LinkedAuthorizationFailed","message":"no permission to assign"}}`, mlerr.NotYetVisible, "assign"},
		"a token that has expired":              {401, `{"error":{"code":"ExpiredAuthenticationToken","message":"m"}}`, mlerr.Unauthenticated, "m"},
		"a gateway's page":                      {502, `<html>bad gateway</html>`, mlerr.Unavailable, "Bad Gateway"},
		"accepted, and not to be":               {202, ``, mlerr.Busy, "Accepted"},
		"canceled":                              {200, `{"error":{"code":"OperationCanceled","message":"m"}}`, mlerr.Throttled, "OperationCanceled"},
	} {
		err := failed(refusedBy(c.status, c.body), "cannot do it")
		if !mlerr.Is(err, c.code) || !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), "request id c-1") {
			t.Errorf("%s: %v (%s), want %s with %q", reason, err, mlerr.CodeOf(err), c.code, c.words)
		}
	}
	for reason, c := range map[string]struct {
		err  error
		code mlerr.Code
	}{
		"interrupted":     {context.Canceled, mlerr.Canceled},
		"out of time":     {context.DeadlineExceeded, mlerr.Timeout},
		"nothing came":    {errors.New("connection reset"), mlerr.Unavailable},
		"ours, as it was": {mlerr.New(mlerr.Unauthenticated, "no token"), mlerr.Unauthenticated},
	} {
		if err := failed(c.err, "cannot do it"); !mlerr.Is(err, c.code) {
			t.Errorf("%s: %v (%s), want %s", reason, err, mlerr.CodeOf(err), c.code)
		}
	}
	if failed(nil, "cannot do it") != nil {
		t.Error("no error is one")
	}
}

// A refusal that names a field names the attribute.
func TestAttributes(t *testing.T) {
	t.Parallel()
	for words, path := range map[string]string{"The value of requestTimeout is too long.": "request_timeout", "Asset paths cannot be updated.": "artifact.uri", "It rains.": ""} {
		err := failed(refusedBy(http.StatusBadRequest, `{"error":{"code":"BadRequest","message":"`+words+`"}}`), "cannot do it")
		if got := mlerr.PathOf(err); got != path {
			t.Errorf("%q is about %q, want %q", words, got, path)
		}
	}
}
