// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// said is the platform's answer without the SDK's preamble.
type said struct {
	text string
	err  error
}

func (s said) Error() string { return s.text }
func (s said) Unwrap() error { return s.err }

// failed turns an error of the SDK into ours: what was tried, the code, the
// platform's words, its request id and a hint. failed(nil, …) is nil.
func failed(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	var ours *mlerr.Error
	if errors.As(err, &ours) && ours.Code != mlerr.Unknown {
		return mlerr.Wrap(err, ours.Code, format, args...)
	}
	e := mlerr.New(mlerr.Unknown, format, args...)
	e.Code, e.Hint = classify(err)
	e.RequestID = requestID(err)
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return e.Because(said{fmt.Sprintf("%s: %s", api.ErrorCode(), api.ErrorMessage()), err})
	}
	return e.Because(err)
}

// classify is the one place that knows what the platform's errors mean.
// SageMaker models few: most are a ValidationException with a sentence
// (https://docs.aws.amazon.com/sagemaker/latest/APIReference/CommonErrors.html).
func classify(err error) (mlerr.Code, string) {
	switch {
	case errors.Is(err, context.Canceled):
		return mlerr.Canceled, ""
	case errors.Is(err, context.DeadlineExceeded):
		return mlerr.Timeout, ""
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		if _, ok := errors.AsType[smithy.InvalidParamsError](err); ok {
			return mlerr.InvalidArgument, ""
		}
		return mlerr.Unavailable, "" // nothing came back, or not the whole of it
	}
	if c, ok := codes[api.ErrorCode()]; ok {
		return c.code, c.hint
	}
	if api.ErrorCode() == "ValidationException" || api.ErrorCode() == "ValidationError" {
		for _, s := range sentences {
			if s.pattern.MatchString(api.ErrorMessage()) {
				return s.code, s.hint
			}
		}
		return mlerr.InvalidArgument, ""
	}
	if response, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		switch status := response.HTTPStatusCode(); {
		case status == http.StatusTooManyRequests:
			return mlerr.Throttled, ""
		case status >= http.StatusInternalServerError:
			return mlerr.Unavailable, ""
		}
	}
	return mlerr.Unknown, ""
}

type meaning struct {
	code mlerr.Code
	hint string
}

const (
	permissionHint  = "Grant the action that the message names to the credentials; the package documentation lists all that are needed"
	credentialsHint = "Check the provider's sagemaker credentials and the clock of this machine" //nolint:gosec // holds none
	quotaHint       = "Ask for a higher limit in Service Quotas. A blue/green update needs the old and the new instances at once"
)

var codes = map[string]meaning{
	"ResourceLimitExceeded":         {mlerr.QuotaExceeded, quotaHint},
	"LimitExceededException":        {mlerr.QuotaExceeded, "Ask for a higher Application Auto Scaling limit in Service Quotas"},
	"LimitExceeded":                 {mlerr.QuotaExceeded, "Ask for a higher CloudWatch alarm limit in Service Quotas"},
	"ConflictException":             {mlerr.Conflict, ""},
	"ConcurrentUpdateException":     {mlerr.Conflict, ""},
	"ResourceInUse":                 {mlerr.InUse, ""},
	"ResourceNotFound":              {mlerr.NotFound, ""},
	"ResourceNotFoundException":     {mlerr.NotFound, ""},
	"ObjectNotFoundException":       {mlerr.NotFound, ""},
	"AccessDeniedException":         {mlerr.PermissionDenied, permissionHint},
	"AccessDenied":                  {mlerr.PermissionDenied, permissionHint},
	"UnauthorizedOperation":         {mlerr.PermissionDenied, permissionHint},
	"OptInRequired":                 {mlerr.PermissionDenied, "Enable the region for the account"},
	"ExpiredToken":                  {mlerr.Unauthenticated, credentialsHint},
	"ExpiredTokenException":         {mlerr.Unauthenticated, credentialsHint},
	"InvalidClientTokenId":          {mlerr.Unauthenticated, credentialsHint},
	"UnrecognizedClientException":   {mlerr.Unauthenticated, credentialsHint},
	"MissingAuthenticationToken":    {mlerr.Unauthenticated, credentialsHint},
	"IncompleteSignature":           {mlerr.Unauthenticated, credentialsHint},
	"InvalidSignatureException":     {mlerr.Unauthenticated, credentialsHint},
	"SignatureDoesNotMatch":         {mlerr.Unauthenticated, credentialsHint},
	"RequestExpired":                {mlerr.Unauthenticated, credentialsHint},
	"Throttling":                    {mlerr.Throttled, ""},
	"ThrottlingException":           {mlerr.Throttled, ""},
	"ThrottledException":            {mlerr.Throttled, ""},
	"RequestThrottled":              {mlerr.Throttled, ""},
	"RequestThrottledException":     {mlerr.Throttled, ""},
	"TooManyRequestsException":      {mlerr.Throttled, ""},
	"RequestLimitExceeded":          {mlerr.Throttled, ""},
	"SlowDown":                      {mlerr.Throttled, ""},
	"InternalServiceException":      {mlerr.Unavailable, ""},
	"InternalServiceFault":          {mlerr.Unavailable, ""},
	"InternalFailure":               {mlerr.Unavailable, ""},
	"InternalServerError":           {mlerr.Unavailable, ""},
	"InternalDependencyException":   {mlerr.Unavailable, ""},
	"ServiceUnavailable":            {mlerr.Unavailable, ""},
	"ServiceUnavailableException":   {mlerr.Unavailable, ""},
	"ModelNotReadyException":        {mlerr.Unavailable, ""},
	"FailedResourceAccessException": {mlerr.PermissionDenied, "Application Auto Scaling could not read the endpoint: grant it sagemaker:DescribeEndpoint"},
}

// sentences tell the ValidationExceptions apart. The quotation mark matters:
// "Could not find endpoint" also begins the sentence about configurations.
var sentences = []struct {
	pattern *regexp.Regexp
	meaning
}{
	{regexp.MustCompile(`^Could not find (endpoint|endpoint configuration|model|inference component) ["']`), meaning{mlerr.NotFound, ""}},
	{regexp.MustCompile(`(?i)^could not find alarm`), meaning{mlerr.NotFound, ""}},
	{regexp.MustCompile(`(?i)^(model ?package|model ?package ?group|arn:).* (does not exist|not found)\.?$`), meaning{mlerr.NotFound, ""}},
	{regexp.MustCompile(`^Endpoint .* of account .* not found`), meaning{mlerr.NotFound, ""}},
	{regexp.MustCompile(`(^Cannot create already existing )|already exists`), meaning{mlerr.AlreadyExists, ""}},
	{regexp.MustCompile(`^Cannot update in-progress endpoint `), meaning{mlerr.Busy, ""}},
	{regexp.MustCompile(`Could not assume role|[Pp]lease ensure that the role|Could not access model data at`),
		meaning{mlerr.NotYetVisible, "The execution role must trust sagemaker.amazonaws.com and be allowed s3:GetObject on the model data"}},
	{regexp.MustCompile(`scalable target exists for a variant being deleted`),
		meaning{mlerr.PermissionDenied, "Grant application-autoscaling:DeregisterScalableTarget and application-autoscaling:DeleteScalingPolicy"}},
	{regexp.MustCompile(`(?i)KmsKeyId.*(local|NVMe|instance storage)`),
		meaning{mlerr.InvalidArgument, "This instance type encrypts its local disks by itself: leave encryption.key out, or choose a type without local NVMe"}},
	{regexp.MustCompile(`(?i)rate exceeded`), meaning{mlerr.Throttled, ""}},
}

// invisible turns NotFound into NotYetVisible: what a creation refers to was
// seen or made a moment before, so it exists and is not visible everywhere yet.
func invisible(err error) error {
	if mlerr.Is(err, mlerr.NotFound) {
		return mlerr.Wrap(err, mlerr.NotYetVisible, "something just made is not visible yet")
	}
	return err
}

// gone makes the absence of a thing that was to be removed a success.
func gone(err error) error {
	if mlerr.Is(err, mlerr.NotFound) {
		return nil
	}
	return err
}

// requestID is the platform's id of the refused request, "" if it gave none.
func requestID(err error) string {
	var response *awshttp.ResponseError
	if !errors.As(err, &response) {
		return ""
	}
	return response.ServiceRequestID()
}
