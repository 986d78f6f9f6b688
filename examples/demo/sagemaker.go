// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
)

// amazon is how AWS clients reach an address.
func amazon(url string) aws.Config {
	return aws.Config{Region: "eu-west-1", BaseEndpoint: aws.String(url), Credentials: credentials.NewStaticCredentialsProvider("rehearsal", "rehearsal", "")}
}

// sagemakerPredict sends one request as any AWS client would.
func sagemakerPredict(ctx context.Context, urls map[string]string, body string) ([]byte, error) {
	out, err := sagemakerruntime.NewFromConfig(amazon(urls["sagemaker"])).InvokeEndpoint(ctx, &sagemakerruntime.InvokeEndpointInput{
		EndpointName: aws.String("fraud"), ContentType: aws.String("application/json"), Body: []byte(body)})
	if err != nil {
		return nil, err
	}
	return out.Body, nil
}

// sagemakerLeftovers names everything that still exists in the account.
func sagemakerLeftovers(ctx context.Context, urls map[string]string) (names []string, err error) {
	client := sagemaker.NewFromConfig(amazon(urls["sagemaker"]))
	endpoints, err := client.ListEndpoints(ctx, &sagemaker.ListEndpointsInput{})
	if err != nil {
		return nil, err
	}
	for _, e := range endpoints.Endpoints {
		names = append(names, "endpoint "+aws.ToString(e.EndpointName))
	}
	configs, err := client.ListEndpointConfigs(ctx, &sagemaker.ListEndpointConfigsInput{})
	if err != nil {
		return nil, err
	}
	for _, c := range configs.EndpointConfigs {
		names = append(names, "endpoint configuration "+aws.ToString(c.EndpointConfigName))
	}
	models, err := client.ListModels(ctx, &sagemaker.ListModelsInput{})
	if err != nil {
		return nil, err
	}
	for _, m := range models.Models {
		names = append(names, "model "+aws.ToString(m.ModelName))
	}
	groups, err := client.ListModelPackageGroups(ctx, &sagemaker.ListModelPackageGroupsInput{})
	if err != nil {
		return nil, err
	}
	for _, g := range groups.ModelPackageGroupSummaryList {
		names = append(names, "model package group "+aws.ToString(g.ModelPackageGroupName))
	}
	return names, nil
}
