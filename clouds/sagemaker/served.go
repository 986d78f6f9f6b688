// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	sm "github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"golang.org/x/sync/errgroup"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// servedBy names an endpoint that serves a version, or is "". Our Models of a
// version carry its mark in their names; the endpoint is asked whether it really
// refers to one, and the Model whether it really is that version.
func (d *sagemaker) servedBy(ctx context.Context, r *region, ref driver.VersionRef, id string) (string, error) {
	names, err := r.modelNames(ctx, versionMark(ref))
	if mlerr.Is(err, mlerr.PermissionDenied) {
		d.log.Warn("who serves the version is not looked for", "version", ref.String(), "error", err)
		return "", nil
	}
	if err != nil {
		return "", err
	}
	var mu sync.Mutex
	by := ""
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, name := range names {
		group.Go(func() error {
			endpoint, err := r.servedThrough(ctx, name, id)
			mu.Lock()
			defer mu.Unlock()
			if endpoint != "" && (by == "" || endpoint < by) {
				by = endpoint
			}
			return err
		})
	}
	return by, group.Wait()
}

func (r *region) servedThrough(ctx context.Context, name, id string) (string, error) {
	m, err := r.model(ctx, name)
	if err != nil {
		return "", gone(err)
	}
	if m.PrimaryContainer == nil || aws.ToString(m.PrimaryContainer.ModelPackageName) != id {
		return "", nil
	}
	tags, err := r.tags(ctx, aws.ToString(m.ModelArn))
	if err != nil {
		return "", gone(err)
	}
	endpoint := tags[tagResource]
	if tags[tagManagedBy] != managedBy || endpoint == "" {
		return "", nil
	}
	use, err := r.inUse(ctx, endpoint)
	if err != nil || !slices.Contains(use.models, name) {
		return "", err
	}
	return endpoint, nil
}

// servedByHand names an endpoint that serves a version through a Model that we did
// not make, or is "". Nothing lists Models by what they contain, so all endpoints
// are asked that do not stand on a configuration of ours.
func (d *sagemaker) servedByHand(ctx context.Context, r *region, id string) (string, error) {
	all, err := coalesce(ctx, r, d.now, "versions that others serve", r.servedByOthers)
	if mlerr.Is(err, mlerr.PermissionDenied) {
		d.log.Warn("endpoints of others are not asked what they serve", "version", id, "error", err)
		return "", nil
	}
	return all[id], err
}

// servedByOthers are endpoints by the ARN of the version that they serve.
func (r *region) servedByOthers(ctx context.Context) (map[string]string, error) {
	by := map[string]string{}
	var mu sync.Mutex
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	pages := sm.NewListEndpointsPaginator(r.clients.sm, &sm.ListEndpointsInput{MaxResults: aws.Int32(100)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			_ = group.Wait() // what failed here says more
			return nil, failed(err, "list the endpoints")
		}
		for _, e := range page.Endpoints {
			group.Go(func() error {
				name := aws.ToString(e.EndpointName)
				versions, err := r.versionsThroughOthers(gctx, name)
				mu.Lock()
				defer mu.Unlock()
				for _, id := range versions {
					if old := by[id]; old == "" || name < old {
						by[id] = name
					}
				}
				return gone(err) // deleted since it was listed
			})
		}
	}
	return by, group.Wait()
}

// versionsThroughOthers are the versions that an endpoint on a configuration of
// somebody else's serves, now or in a pending change.
func (r *region) versionsThroughOthers(ctx context.Context, endpoint string) ([]string, error) {
	now, err := r.endpoint(ctx, endpoint)
	if err != nil {
		return nil, err
	}
	var ids []string
	ours, _ := computedNames(endpoint)
	for _, name := range references(now, nil).configs {
		if name == "" || ours.match(name) {
			continue
		}
		config, err := r.config(ctx, name)
		if err != nil {
			return ids, err
		}
		for _, model := range modelsOf(config) {
			m, err := r.model(ctx, model)
			if err != nil && !mlerr.Is(err, mlerr.NotFound) {
				return ids, err
			}
			if err == nil {
				ids = append(ids, packagesOf(m)...)
			}
		}
	}
	return ids, nil
}

// packagesOf are the ARNs of all packages that a Model's containers are made of.
func packagesOf(m *sm.DescribeModelOutput) []string {
	var ids []string
	for _, c := range append(slices.Clone(m.Containers), *containerOf(m)) {
		if id := aws.ToString(c.ModelPackageName); id != "" {
			ids = append(ids, id)
		}
	}
	return ids
}
