// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"
	"errors"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
	runtimetypes "github.com/aws/aws-sdk-go-v2/service/sagemakerruntime/types"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

// Invoke sends one request. What the model refuses arrives as a ModelError with
// the status and the words of the container.
func (d *sagemaker) Invoke(ctx context.Context, key driver.Key, id string, req driver.Request) (*driver.Response, error) {
	r, err := d.at(ctx, key.Location)
	if err != nil {
		return nil, err
	}
	out, err := r.clients.runtime.InvokeEndpoint(ctx, &sagemakerruntime.InvokeEndpointInput{
		EndpointName: &key.Name, TargetVariant: optional(id), Body: req.Body, ContentType: optional(req.ContentType),
	})
	if refused, ok := errors.AsType[*runtimetypes.ModelError](err); ok {
		return &driver.Response{Status: int(aws.ToInt32(refused.OriginalStatusCode)), Body: []byte(aws.ToString(refused.OriginalMessage)),
			Deployment: id, RequestID: requestID(err)}, nil
	}
	if err != nil {
		return nil, failed(err, "invoke the endpoint %s", key.Name)
	}
	request, _ := awsmiddleware.GetRequestIDMetadata(out.ResultMetadata)
	return &driver.Response{Status: http.StatusOK, Body: out.Body, Deployment: aws.ToString(out.InvokedProductionVariant), RequestID: request}, nil
}
