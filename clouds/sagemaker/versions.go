// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"
	"path"
	"regexp"
	"sort"
	"strconv"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	sm "github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"golang.org/x/sync/errgroup"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// parallel is how many independent calls run at once.
const parallel = 8

// ObserveModel reads the group, its tags and its versions. With known it makes
// one call, and takes labels, aliases, description and metadata as known: they
// are read whenever something is applied, and would take one call each.
func (d *sagemaker) ObserveModel(ctx context.Context, key driver.Key, known *driver.ModelState) (*driver.ModelState, error) {
	r, err := d.at(ctx, key.Location)
	if err != nil {
		return nil, err
	}
	if known != nil {
		state, err := r.refreshModel(ctx, key, known)
		if state != nil || err != nil {
			return state, err
		}
	}
	return r.readModel(ctx, key)
}

// readModel reads everything.
func (r *region) readModel(ctx context.Context, key driver.Key) (*driver.ModelState, error) {
	group, err := r.group(ctx, key.Name)
	if err != nil {
		return nil, err
	}
	key.Name = aws.ToString(group.ModelPackageGroupName) // an import by ARN gives it in lower case
	state := &driver.ModelState{Key: key, NativeID: aws.ToString(group.ModelPackageGroupArn)}
	var tags map[string]string
	both, ctx2 := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		tags, err = r.tags(ctx2, state.NativeID)
		return err
	})
	both.Go(func() error {
		summaries, err := r.packages(ctx2, key.Name)
		if err == nil {
			err = r.fillVersions(ctx2, state, summaries, nil)
		}
		return err
	})
	if err := both.Wait(); err != nil {
		return nil, err
	}
	applyTags(state, tags)
	if !state.Marks.Owned {
		state.Description = aws.ToString(group.ModelPackageGroupDescription) // cannot be changed, so ours is in the tags
	}
	return state, nil
}

// refreshModel confirms what is known with one call: the list shows which
// versions there are, their status, their approval and our digest. It returns nil
// when that does not do.
func (r *region) refreshModel(ctx context.Context, key driver.Key, known *driver.ModelState) (*driver.ModelState, error) {
	if known.Marks.Incomplete || known.Unfinished != "" {
		return nil, nil //nolint:nilnil // read everything
	}
	summaries, err := r.packages(ctx, key.Name)
	if err != nil || len(summaries) == 0 {
		return nil, err
	}
	state := *known
	return &state, r.fillVersions(ctx, &state, summaries, known)
}

func applyTags(state *driver.ModelState, tags map[string]string) {
	state.Marks = marksIn(tags, state.Key.Name)
	state.Labels = labelsIn(tags)
	state.Description = unchunk(tags, tagDescription)
	aliases := aliasesIn(tags)
	adopted, _ := strconv.Atoi(tags[tagAdopted])
	for i := range state.Versions {
		v := &state.Versions[i]
		if n, err := strconv.Atoi(v.Version); err == nil {
			v.Adopted = !v.Owned && n <= adopted
		}
		v.Aliases = aliases[v.Version]
		sort.Strings(v.Aliases)
	}
}

// packages lists the versions, the oldest first.
func (r *region) packages(ctx context.Context, group string) ([]types.ModelPackageSummary, error) {
	var all []types.ModelPackageSummary
	pages := sm.NewListModelPackagesPaginator(r.clients.sm, &sm.ListModelPackagesInput{
		ModelPackageGroupName: &group, MaxResults: aws.Int32(100),
		SortBy: types.ModelPackageSortByCreationTime, SortOrder: types.SortOrderAscending,
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failed(err, "list the versions of %s", group)
		}
		for _, s := range page.ModelPackageSummaryList {
			if s.ModelPackageVersion != nil && s.ModelPackageArn != nil {
				r.learnGroup(group, path.Dir(*s.ModelPackageArn))
				all = append(all, s)
			}
		}
	}
	sort.SliceStable(all, func(i, j int) bool { return *all[i].ModelPackageVersion < *all[j].ModelPackageVersion })
	return all, nil
}

// fillVersions reads each listed version that is not known; of a known one the
// list shows all that can have changed, but for its metadata.
func (r *region) fillVersions(ctx context.Context, state *driver.ModelState, summaries []types.ModelPackageSummary, known *driver.ModelState) error {
	all, keys := make([]driver.Version, len(summaries)), make(map[string]string, len(summaries))
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, s := range summaries {
		number := strconv.Itoa(int(*s.ModelPackageVersion))
		if v := confirmed(known, number, &s); v != nil {
			all[i], keys[number] = *v, known.EncryptionKey
			continue
		}
		group.Go(func() error {
			out, err := r.describePackage(ctx, *s.ModelPackageArn)
			if err != nil {
				return gone(err) // deleted since it was listed
			}
			mu.Lock()
			defer mu.Unlock()
			all[i], keys[number] = versionOf(out), encryptionOf(out)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	state.Versions = nil
	for _, v := range all {
		if v.Version != "" {
			state.Versions = append(state.Versions, v)
		}
	}
	if newest := state.Newest(); newest != nil {
		state.EncryptionKey = keys[newest.Version]
	}
	return nil
}

// confirmed is what is known of a listed version, with what the list shows to
// have changed. It is nil when the version must be read.
func confirmed(known *driver.ModelState, number string, s *types.ModelPackageSummary) *driver.Version {
	if known == nil {
		return nil
	}
	v := known.Find(number)
	phase := packagePhase(s.ModelPackageStatus)
	if v == nil || v.NativeID != *s.ModelPackageArn || phase == driver.Failed {
		return nil
	}
	now := *v
	now.Approval, now.Phase, now.Reason = approvalOf(s.ModelApprovalStatus), phase, ""
	return &now
}

// ObserveVersion reads one version with one call, or two when the account has
// not shown itself yet.
func (d *sagemaker) ObserveVersion(ctx context.Context, ref driver.VersionRef) (*driver.Version, error) {
	r, err := d.at(ctx, ref.Key.Location)
	if err != nil {
		return nil, err
	}
	id, err := r.packageARN(ctx, ref)
	if err != nil {
		return nil, err
	}
	return r.version(ctx, id)
}

func (r *region) version(ctx context.Context, id string) (*driver.Version, error) {
	out, err := r.describePackage(ctx, id)
	if err != nil {
		return nil, err
	}
	v := versionOf(out)
	return &v, nil
}

func (r *region) describePackage(ctx context.Context, id string) (*sm.DescribeModelPackageOutput, error) {
	out, err := r.clients.sm.DescribeModelPackage(ctx, &sm.DescribeModelPackageInput{ModelPackageName: &id})
	if err != nil {
		return nil, failed(err, "read the model package %s", id)
	}
	return out, nil
}

// UpdateVersion makes approval and metadata what spec says, in one call.
func (d *sagemaker) UpdateVersion(ctx context.Context, spec *driver.ModelSpec, seen *driver.Version) error {
	r, err := d.at(ctx, spec.Key.Location)
	if err != nil {
		return err
	}
	in := &sm.UpdateModelPackageInput{ModelPackageArn: &seen.NativeID, ModelApprovalStatus: approvalStatus(spec.Approval)}
	for k, v := range spec.Metadata {
		if old, ok := seen.Metadata[k]; !ok || old != v {
			if in.CustomerMetadataProperties == nil {
				in.CustomerMetadataProperties = map[string]string{}
			}
			in.CustomerMetadataProperties[escape(k)] = metadataValue(v)
		}
	}
	for k := range seen.Metadata {
		if _, ok := spec.Metadata[k]; !ok {
			in.CustomerMetadataPropertiesToRemove = append(in.CustomerMetadataPropertiesToRemove, escape(k))
		}
	}
	sort.Strings(in.CustomerMetadataPropertiesToRemove)
	_, err = r.clients.sm.UpdateModelPackage(ctx, in)
	return failed(err, "update the model package %s", seen.NativeID)
}

// DeleteVersion removes a package that no endpoint serves. SageMaker itself
// would delete it from under one.
func (d *sagemaker) DeleteVersion(ctx context.Context, ref driver.VersionRef) error {
	r, err := d.at(ctx, ref.Key.Location)
	if err != nil {
		return err
	}
	id, err := r.packageARN(ctx, ref)
	if err != nil {
		return gone(err)
	}
	by, err := d.servedBy(ctx, r, ref, id)
	if err != nil {
		return err
	}
	if by == "" {
		by, err = d.servedByHand(ctx, r, id)
	}
	if err != nil {
		return err
	}
	if by != "" {
		return mlerr.New(mlerr.InUse, "model version %s is served by the endpoint %s", ref, by).
			WithHint("Let the endpoint serve another version, or destroy it, first")
	}
	_, err = r.clients.sm.DeleteModelPackage(ctx, &sm.DeleteModelPackageInput{ModelPackageName: &id})
	return gone(failed(err, "delete the model package %s", id))
}

var digestToken = regexp.MustCompile(`^ml:([0-9a-f]{64}) sha256:([0-9a-f]{64})$`)

// identity is the package description by which the list alone shows what each
// version is.
func identity(hash, digest string) string { return "ml:" + hash + " sha256:" + digest }
