// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"net/http"
	"strings"

	aiplatform "cloud.google.com/go/aiplatform/apiv1beta1"
	"cloud.google.com/go/aiplatform/apiv1beta1/aiplatformpb"
	"google.golang.org/api/option"
)

// What is generated for v1 speaks only gRPC.
const region = "projects/my-project/locations/europe-west4"

// google is how clients of Google Cloud reach an address.
func google(url string) []option.ClientOption {
	return []option.ClientOption{option.WithEndpoint(url), option.WithoutAuthentication()}
}

// vertexAIPredict sends one request as it is to the model's server, for which Google
// has no client but HTTP's.
func vertexAIPredict(ctx context.Context, urls map[string]string, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, urls["vertex_ai"]+"/v1/"+region+"/endpoints/fraud:rawPredict", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	return send(req)
}

// vertexAILeftovers names everything that still exists in the region.
func vertexAILeftovers(ctx context.Context, urls map[string]string) (names []string, err error) {
	endpoints, err := aiplatform.NewEndpointRESTClient(ctx, google(urls["vertex_ai"])...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, endpoints.Close()) }()
	for e, err := range endpoints.ListEndpoints(ctx, &aiplatformpb.ListEndpointsRequest{Parent: region}).All() {
		if err != nil {
			return nil, err
		}
		names = append(names, "endpoint "+e.GetName())
	}
	models, err := aiplatform.NewModelRESTClient(ctx, google(urls["vertex_ai"])...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, models.Close()) }()
	for m, err := range models.ListModels(ctx, &aiplatformpb.ListModelsRequest{Parent: region}).All() {
		if err != nil {
			return nil, err
		}
		names = append(names, "model "+m.GetName())
	}
	return names, nil
}
