// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// answer is an error as the SDK returns it.
func answer(status int, code, message string) error {
	return &smithy.OperationError{ServiceID: "SageMaker", OperationName: "Anything", Err: &awshttp.ResponseError{
		RequestID: "req-1",
		ResponseError: &smithyhttp.ResponseError{
			Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}},
			Err:      &smithy.GenericAPIError{Code: code, Message: message},
		},
	}}
}

func TestErrorCodes(t *testing.T) {
	t.Parallel()
	const validation = "ValidationException"
	for _, c := range []struct {
		reason, code, message string
		want                  mlerr.Code
	}{
		{"missing endpoint", validation, `Could not find endpoint "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/fraud".`, mlerr.NotFound},
		{"missing configuration, which begins alike", validation, `Could not find endpoint configuration "fraud-1".`, mlerr.NotFound},
		{"missing model", validation, `Could not find model "fraud-1".`, mlerr.NotFound},
		{"missing group", validation, `ModelPackageGroup arn:aws:sagemaker:eu-west-1:123456789012:model-package-group/fraud does not exist.`, mlerr.NotFound},
		{"missing version", validation, `ModelPackage arn:aws:sagemaker:eu-west-1:123456789012:model-package/fraud/3 does not exist.`, mlerr.NotFound},
		{"a typo is not an absence", validation, `1 validation error detected: Value 'x_y' at 'endpointName' failed to satisfy constraint`, mlerr.InvalidArgument},
		{"name taken", validation, `Cannot create already existing endpoint "arn:…".`, mlerr.AlreadyExists},
		{"group name taken", validation, `Model Package Group already exists: arn:…`, mlerr.AlreadyExists},
		{"in transition", validation, `Cannot update in-progress endpoint "arn:…".`, mlerr.Busy},
		{"a role that is a second old", validation, `Could not assume role arn:aws:iam::123456789012:role/x. Please ensure that the role exists`, mlerr.NotYetVisible},
		{"quota", "ResourceLimitExceeded", `The account-level service limit 'ml.g5.xlarge for endpoint usage' is 1 Instances`, mlerr.QuotaExceeded},
		{"an account limit of autoscaling, not throttling", "LimitExceededException", `too many scalable targets`, mlerr.QuotaExceeded},
		{"registry race", "ConflictException", `conflict`, mlerr.Conflict},
		{"autoscaling race", "ConcurrentUpdateException", `concurrent`, mlerr.Conflict},
		{"no target", "ObjectNotFoundException", `No scalable target found`, mlerr.NotFound},
		{"no permission", "AccessDeniedException", `not authorized to perform: sagemaker:ListTags`, mlerr.PermissionDenied},
		{"throttled", "ThrottlingException", `Rate exceeded`, mlerr.Throttled},
		{"expired", "ExpiredTokenException", `The security token included in the request is expired`, mlerr.Unauthenticated},
		{"another error", "Weird", `what`, mlerr.Unknown},
	} {
		err := failed(answer(http.StatusBadRequest, c.code, c.message), "do it")
		if got := mlerr.CodeOf(err); got != c.want {
			t.Errorf("%s: %s, want %s", c.reason, got, c.want)
		}
		var e *mlerr.Error
		if !errors.As(err, &e) || e.RequestID != "req-1" || !strings.Contains(err.Error(), c.message) || strings.Contains(err.Error(), "operation error") {
			t.Errorf("%s: %q must have the platform's words, its request id and nothing of the SDK's", c.reason, err)
		}
	}
	for _, c := range []struct {
		reason string
		err    error
		want   mlerr.Code
	}{
		{"the service failed", answer(http.StatusServiceUnavailable, "Oops", "x"), mlerr.Unavailable},
		{"nothing came back", &smithyhttp.RequestSendError{Err: errors.New("connection reset")}, mlerr.Unavailable},
		{"the user interrupted", &smithyhttp.RequestSendError{Err: context.Canceled}, mlerr.Canceled},
		{"our own error comes through", mlerr.New(mlerr.Unauthenticated, "no credentials"), mlerr.Unauthenticated},
	} {
		if got := mlerr.CodeOf(failed(c.err, "do it")); got != c.want {
			t.Errorf("%s: %s, want %s", c.reason, got, c.want)
		}
	}
	if failed(nil, "do it") != nil {
		t.Error("no error must stay none")
	}
}
