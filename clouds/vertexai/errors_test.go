// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// Each refusal is answered by a server, and read by the driver's own client.
func TestErrors(t *testing.T) {
	t.Parallel()
	for reason, c := range map[string]struct {
		status int
		header string
		body   string
		code   mlerr.Code
		words  []string // in the error
		path   string
		hint   string // in the hint
	}{
		"absent":                  {404, "", `{"error":{"code":404,"message":"Endpoint not found.","status":"NOT_FOUND"}}`, mlerr.NotFound, []string{"Endpoint not found."}, "", ""},
		"taken":                   {409, "", `{"error":{"code":409,"message":"already exists","status":"ALREADY_EXISTS"}}`, mlerr.AlreadyExists, nil, "", ""},
		"changed meanwhile":       {409, "", `{"error":{"code":409,"message":"etag mismatch","status":"ABORTED"}}`, mlerr.Conflict, nil, "", ""},
		"serving":                 {400, "", `{"error":{"code":400,"message":"Endpoint x has deployed or being-deployed DeployedModel(s)","status":"FAILED_PRECONDITION"}}`, mlerr.InUse, nil, "", ""},
		"at work":                 {400, "", `{"error":{"code":400,"message":"There is another operation in progress","status":"FAILED_PRECONDITION"}}`, mlerr.Busy, nil, "", ""},
		"another precondition":    {400, "", `{"error":{"code":400,"message":"model and version fields","status":"FAILED_PRECONDITION"}}`, mlerr.InvalidArgument, nil, "", ""},
		"a field, with its name":  {400, "", `{"error":{"code":400,"message":"List of found errors: 1.Field: endpoint.labels","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"endpoint.labels","description":"too long"}]}]}}`, mlerr.InvalidArgument, []string{"too long"}, "labels", ""},
		"a field in camel case":   {400, "", `{"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT","details":[{"fieldViolations":[{"field":"model.containerSpec.imageUri","description":"bad"}]}]}}`, mlerr.InvalidArgument, nil, "serving.image", ""},
		"API off":                 {403, "", `{"error":{"code":403,"message":"off","status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"SERVICE_DISABLED"}]}}`, mlerr.PermissionDenied, nil, "", "Enable"},
		"perimeter":               {403, "", `{"error":{"code":403,"message":"Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: x","status":"PERMISSION_DENIED"}}`, mlerr.PermissionDenied, nil, "", "vertex_ai.dedicated"},
		"perimeter, by its name":  {403, "", `{"error":{"code":403,"message":"no","status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"SECURITY_POLICY_VIOLATED"}]}}`, mlerr.PermissionDenied, nil, "", "service perimeter"},
		"key":                     {403, "", `{"error":{"code":403,"message":"Permission denied on Cloud KMS key","status":"PERMISSION_DENIED"}}`, mlerr.NotYetVisible, nil, "", "cryptoKeyEncrypterDecrypter"},
		"account":                 {403, "", `{"error":{"code":403,"message":"You do not have permission to act as the service account; missing iam.serviceAccounts.actAs","status":"PERMISSION_DENIED"}}`, mlerr.NotYetVisible, nil, "", "serviceAccountUser"},
		"a permission":            {403, "", `{"error":{"code":403,"message":"Permission 'aiplatform.endpoints.get' denied","status":"PERMISSION_DENIED"}}`, mlerr.PermissionDenied, []string{"aiplatform.endpoints.get"}, "", "Grant"},
		"quota":                   {429, "", `{"error":{"code":429,"message":"The following quotas are exceeded: CustomModelServingCPUsPerProjectPerRegion","status":"RESOURCE_EXHAUSTED"}}`, mlerr.QuotaExceeded, []string{"CustomModelServingCPUs"}, "", "quota"},
		"rate":                    {429, "", `{"error":{"code":429,"message":"Quota exceeded for requests per minute","status":"RESOURCE_EXHAUSTED"}}`, mlerr.Throttled, nil, "", ""},
		"token":                   {401, "", `{"error":{"code":401,"message":"expired","status":"UNAUTHENTICATED"}}`, mlerr.Unauthenticated, nil, "", "credentials"},
		"a gateway's page":        {503, "", `<html>no</html>`, mlerr.Unavailable, []string{"Service Unavailable"}, "", ""},
		"request id in a header":  {500, "4711/0", `{"error":{"code":500,"message":"oops","status":"INTERNAL"}}`, mlerr.Unavailable, []string{"request id 4711"}, "", ""},
		"request id in a message": {500, "", `{"error":{"code":500,"message":"oops","status":"INTERNAL","details":[{"@type":"type.googleapis.com/google.rpc.RequestInfo","requestId":"r-1"}]}}`, mlerr.Unavailable, []string{"request id r-1"}, "", ""},
		"no JSON":                 {200, "", `hello`, mlerr.Unavailable, nil, "", ""},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Cloud-Trace-Context", c.header)
			w.WriteHeader(c.status)
			_, _ = io.WriteString(w, c.body)
		}))
		_, err := open(t, Config{EndpointURL: server.URL}).at(location).getEndpoint(t.Context(), "fraud")
		server.Close()
		if !mlerr.Is(err, c.code) || mlerr.PathOf(err) != c.path || !strings.Contains(mlerr.Hint(err), c.hint) {
			t.Errorf("%s: %v (%s) at %q, hint %q", reason, err, mlerr.CodeOf(err), mlerr.PathOf(err), mlerr.Hint(err))
		}
		for _, word := range append(c.words, "read the endpoint fraud") {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("%s: the error does not say %q: %v", reason, word, err)
			}
		}
	}
}

func TestErrorsWithoutAnswer(t *testing.T) {
	t.Parallel()
	d := open(t, Config{EndpointURL: "http://127.0.0.1:1"})
	if _, err := d.at(location).getEndpoint(t.Context(), "fraud"); !mlerr.Is(err, mlerr.Unavailable) {
		t.Errorf("nobody listens: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.at(location).getEndpoint(ctx, "fraud"); !mlerr.Is(err, mlerr.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
