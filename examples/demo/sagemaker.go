// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"

	"github.com/mlplane/terraform-provider-ml/internal/emulator"
)

// answer is what the emulated endpoint says: who answered, and what the model
// computed.
type answer struct {
	Model, Version string
	Outputs        []struct {
		Name string
		Data []float64
	}
	Score *float64 `json:"-"`
}

// open serves what terraform left in stateDir, as "terraform-provider-ml
// rehearse" does, and hands its address to use.
func open(stateDir string, use func(cfg aws.Config) error) (err error) {
	server, err := emulator.Start(emulator.Options{StateDir: stateDir})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	return use(aws.Config{
		Region:       "eu-west-1",
		BaseEndpoint: aws.String(server.Endpoints()["sagemaker"]),
		Credentials:  credentials.NewStaticCredentialsProvider("rehearsal", "rehearsal", ""),
	})
}

// predict sends one request as any AWS client would.
func predict(ctx context.Context, stateDir, body string) (*answer, error) {
	var a answer
	err := open(stateDir, func(cfg aws.Config) error {
		out, err := sagemakerruntime.NewFromConfig(cfg).InvokeEndpoint(ctx, &sagemakerruntime.InvokeEndpointInput{
			EndpointName: aws.String("fraud"), ContentType: aws.String("application/json"), Body: []byte(body)})
		if err != nil {
			return err
		}
		if err := json.Unmarshal(out.Body, &a); err != nil {
			return fmt.Errorf("the answer %s is not what was expected: %w", out.Body, err)
		}
		return nil
	})
	for _, o := range a.Outputs {
		if o.Name == "score" && len(o.Data) > 0 {
			a.Score = &o.Data[0]
		}
	}
	return &a, err
}

// leftovers names everything that still exists on the emulated platform.
func leftovers(ctx context.Context, stateDir string) (names []string, err error) {
	err = open(stateDir, func(cfg aws.Config) error {
		client := sagemaker.NewFromConfig(cfg)
		endpoints, err := client.ListEndpoints(ctx, &sagemaker.ListEndpointsInput{})
		if err != nil {
			return err
		}
		for _, e := range endpoints.Endpoints {
			names = append(names, "endpoint "+aws.ToString(e.EndpointName))
		}
		configs, err := client.ListEndpointConfigs(ctx, &sagemaker.ListEndpointConfigsInput{})
		if err != nil {
			return err
		}
		for _, c := range configs.EndpointConfigs {
			names = append(names, "endpoint configuration "+aws.ToString(c.EndpointConfigName))
		}
		models, err := client.ListModels(ctx, &sagemaker.ListModelsInput{})
		if err != nil {
			return err
		}
		for _, m := range models.Models {
			names = append(names, "model "+aws.ToString(m.ModelName))
		}
		groups, err := client.ListModelPackageGroups(ctx, &sagemaker.ListModelPackageGroupsInput{})
		if err != nil {
			return err
		}
		for _, g := range groups.ModelPackageGroupSummaryList {
			names = append(names, "model package group "+aws.ToString(g.ModelPackageGroupName))
		}
		return nil
	})
	return names, err
}
