// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package acctest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	scaling "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
)

// Inventory names everything that exists on SageMaker, Vertex AI and Azure ML, sorted: the
// objects of the staging buckets too.
func (r *Rehearsal) Inventory(t *testing.T) ([]string, error) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	hosted, errH := r.hosting(ctx)
	registered, errR := r.registry(ctx)
	scaled, errS := r.scaled(ctx)
	stored, errO := r.objects(ctx)
	google, errG := r.google(ctx)
	azure, errA := r.azureInventory(ctx)
	all := slices.Concat(hosted, registered, scaled, stored, google, azure)
	slices.Sort(all)
	return all, errors.Join(errH, errR, errS, errO, errG, errA)
}

// Empty is an error that names what Inventory does, if there is anything.
// Staged artifacts may: they are shared by content, and never removed.
func (r *Rehearsal) Empty(t *testing.T) error {
	t.Helper()
	all, err := r.Inventory(t)
	if err != nil {
		return err
	}
	left := slices.DeleteFunc(all, func(name string) bool { return strings.HasPrefix(name, "object ") })
	if len(left) > 0 {
		return fmt.Errorf("left behind: %s", strings.Join(left, ", "))
	}
	return nil
}

func (r *Rehearsal) hosting(ctx context.Context) (names []string, err error) {
	client := r.SageMaker()
	for pages := sagemaker.NewListEndpointsPaginator(client, &sagemaker.ListEndpointsInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, e := range page.Endpoints {
			names = append(names, "endpoint "+aws.ToString(e.EndpointName))
		}
	}
	for pages := sagemaker.NewListEndpointConfigsPaginator(client, &sagemaker.ListEndpointConfigsInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, c := range page.EndpointConfigs {
			names = append(names, "endpoint configuration "+aws.ToString(c.EndpointConfigName))
		}
	}
	for pages := sagemaker.NewListModelsPaginator(client, &sagemaker.ListModelsInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, m := range page.Models {
			names = append(names, "model "+aws.ToString(m.ModelName))
		}
	}
	return names, nil
}

func (r *Rehearsal) registry(ctx context.Context) (names []string, err error) {
	client := r.SageMaker()
	for pages := sagemaker.NewListModelPackageGroupsPaginator(client, &sagemaker.ListModelPackageGroupsInput{}); pages.HasMorePages(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, g := range page.ModelPackageGroupSummaryList {
			names = append(names, "model package group "+aws.ToString(g.ModelPackageGroupName))
			versions, err := client.ListModelPackages(ctx, &sagemaker.ListModelPackagesInput{ModelPackageGroupName: g.ModelPackageGroupName})
			if err != nil {
				return nil, err
			}
			for _, v := range versions.ModelPackageSummaryList {
				names = append(names, fmt.Sprintf("version %s@%d", aws.ToString(v.ModelPackageGroupName), aws.ToInt32(v.ModelPackageVersion)))
			}
		}
	}
	return names, nil
}

func (r *Rehearsal) scaled(ctx context.Context) (names []string, err error) {
	client := r.Scaling()
	targets, errT := client.DescribeScalableTargets(ctx, &applicationautoscaling.DescribeScalableTargetsInput{ServiceNamespace: scaling.ServiceNamespaceSagemaker})
	policies, errP := client.DescribeScalingPolicies(ctx, &applicationautoscaling.DescribeScalingPoliciesInput{ServiceNamespace: scaling.ServiceNamespaceSagemaker})
	if err := errors.Join(errT, errP); err != nil {
		return nil, err
	}
	for _, s := range targets.ScalableTargets {
		names = append(names, "scalable target "+aws.ToString(s.ResourceId))
	}
	for _, p := range policies.ScalingPolicies {
		names = append(names, "scaling policy "+aws.ToString(p.ResourceId)+" "+aws.ToString(p.PolicyName))
	}
	return names, nil
}

func (r *Rehearsal) objects(ctx context.Context) (names []string, err error) {
	client := r.S3()
	buckets, err := client.ListBuckets(ctx, &s3.ListBucketsInput{})
	if err != nil {
		return nil, err
	}
	for _, b := range buckets.Buckets {
		objects, err := client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: b.Name})
		if err != nil {
			return nil, err
		}
		for _, o := range objects.Contents {
			names = append(names, "object "+aws.ToString(b.Name)+"/"+aws.ToString(o.Key))
		}
	}
	return names, nil
}
