// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	aas "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	aastypes "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"golang.org/x/sync/errgroup"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// variantScaling is what Application Auto Scaling has of one variant.
type variantScaling struct {
	target   *aastypes.ScalableTarget // nil when it is not registered
	policies []aastypes.ScalingPolicy
	actions  []aastypes.ScheduledAction
}

func (v *variantScaling) hasWake(variant string) bool {
	return slices.ContainsFunc(v.policies, func(p aastypes.ScalingPolicy) bool { return isWake(&p, variant) })
}

func isWake(p *aastypes.ScalingPolicy, variant string) bool {
	return aws.ToString(p.PolicyName) == wakeName(variant) && p.PolicyType == aastypes.PolicyTypeStepScaling
}

// wokenByOthers reports whether somebody else's step policy may bring the variant
// up from zero.
func (v *variantScaling) wokenByOthers(variant string) bool {
	return slices.ContainsFunc(v.policies, func(p aastypes.ScalingPolicy) bool {
		return p.PolicyType == aastypes.PolicyTypeStepScaling && !isWake(&p, variant)
	})
}

// foreign names a policy or an action that the configuration language cannot say,
// or is "".
func (v *variantScaling) foreign(variant string) string {
	for i := range v.policies {
		p := &v.policies[i]
		if _, ok := (gauge{variant: variant}).metricType(p); !ok && !isWake(p, variant) {
			return "the scaling policy " + aws.ToString(p.PolicyName)
		}
	}
	for i := range v.actions {
		if _, ok := schedule(&v.actions[i]); !ok {
			return "the scheduled action " + aws.ToString(v.actions[i].ScheduledActionName)
		}
	}
	return ""
}

// targets reads which of the resources are registered.
func (r *region) targets(ctx context.Context, ids []string) (map[string]aastypes.ScalableTarget, error) {
	found := map[string]aastypes.ScalableTarget{}
	pages := aas.NewDescribeScalableTargetsPaginator(r.clients.scaling, &aas.DescribeScalableTargetsInput{
		ServiceNamespace: scaledNamespace, ScalableDimension: dimensionOf(ids), ResourceIds: ids,
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failed(err, "read which deployments are autoscaled")
		}
		for _, t := range page.ScalableTargets {
			if t.ScalableDimension == scaledDimension {
				found[aws.ToString(t.ResourceId)] = t
			}
		}
	}
	return found, nil
}

// dimensionOf is the dimension where resources are named: the service takes one
// only together with the other.
func dimensionOf(ids []string) aastypes.ScalableDimension {
	if len(ids) == 0 {
		return ""
	}
	return scaledDimension
}

// policies reads the scaling policies of one resource, or of the account if id
// is nil.
func (r *region) policies(ctx context.Context, id *string) (map[string][]aastypes.ScalingPolicy, error) {
	found := map[string][]aastypes.ScalingPolicy{}
	in := &aas.DescribeScalingPoliciesInput{ServiceNamespace: scaledNamespace, ResourceId: id}
	if id != nil {
		in.ScalableDimension = scaledDimension
	}
	pages := aas.NewDescribeScalingPoliciesPaginator(r.clients.scaling, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failed(err, "read the scaling policies")
		}
		for _, p := range page.ScalingPolicies {
			if p.ScalableDimension == scaledDimension {
				found[aws.ToString(p.ResourceId)] = append(found[aws.ToString(p.ResourceId)], p)
			}
		}
	}
	for _, all := range found { // the service promises no order, and the cooldowns are those of the first
		sort.Slice(all, func(i, j int) bool { return aws.ToString(all[i].PolicyName) < aws.ToString(all[j].PolicyName) })
	}
	return found, nil
}

// actions reads the scheduled actions of one resource, or of the account if id
// is nil.
func (r *region) actions(ctx context.Context, id *string) (map[string][]aastypes.ScheduledAction, error) {
	found := map[string][]aastypes.ScheduledAction{}
	in := &aas.DescribeScheduledActionsInput{ServiceNamespace: scaledNamespace, ResourceId: id}
	if id != nil {
		in.ScalableDimension = scaledDimension
	}
	pages := aas.NewDescribeScheduledActionsPaginator(r.clients.scaling, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failed(err, "read the scheduled scaling actions")
		}
		for _, a := range page.ScheduledActions {
			if a.ScalableDimension == scaledDimension {
				found[aws.ToString(a.ResourceId)] = append(found[aws.ToString(a.ResourceId)], a)
			}
		}
	}
	return found, nil
}

// scalingOf reads policies and actions of one resource.
func (r *region) scalingOf(ctx context.Context, id string) (variantScaling, error) {
	var v variantScaling
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		all, err := r.policies(ctx, &id)
		v.policies = all[id]
		return err
	})
	group.Go(func() error {
		all, err := r.actions(ctx, &id)
		v.actions = all[id]
		return err
	})
	return v, group.Wait()
}

// scalingOfAll reads what autoscaling has of an endpoint's variants. Without the
// permission to look there is nothing to see: the user does not autoscale.
func (d *sagemaker) scalingOfAll(ctx context.Context, r *region, endpoint string, variants []string) (map[string]variantScaling, error) {
	all := make(map[string]variantScaling, len(variants))
	ids := make([]string, len(variants))
	for i, v := range variants {
		ids[i] = resourceID(endpoint, v)
	}
	if len(ids) == 0 {
		return all, nil
	}
	targets, err := r.targets(ctx, ids)
	if mlerr.Is(err, mlerr.PermissionDenied) {
		d.log.Warn("autoscaling is not looked at", "endpoint", endpoint, "error", err)
		return all, nil
	}
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, v := range variants {
		target, ok := targets[ids[i]]
		if !ok {
			continue
		}
		group.Go(func() error {
			s, err := r.scalingOf(ctx, ids[i])
			s.target = &target
			mu.Lock()
			defer mu.Unlock()
			all[v] = s
			return err
		})
	}
	return all, group.Wait()
}

// The account-wide reads of a refresh: one for all endpoints of the region that
// are refreshed within a short window.
const scalingWindow = 3 * time.Second

// sharedTime bounds a read that many wait for, and that so outlives any of them.
const sharedTime = time.Minute

// accountScaling is what autoscaling has of all endpoints of a region.
type accountScaling struct {
	targets  map[string]aastypes.ScalableTarget
	policies map[string][]aastypes.ScalingPolicy
	actions  map[string][]aastypes.ScheduledAction
	hidden   bool // the credentials may not look
}

type recentReads struct {
	mu   sync.Mutex
	read map[string]recentRead
}

type recentRead struct {
	at  time.Time
	all any
}

// forget drops what was read before a change of our own.
func (c *recentReads) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read = nil
}

// coalesce runs read once for all that ask within the window.
func coalesce[T any](ctx context.Context, r *region, now func() time.Time, name string, read func(context.Context) (T, error)) (T, error) {
	var none T
	r.recent.mu.Lock()
	last, ok := r.recent.read[name]
	r.recent.mu.Unlock()
	if ok && now().Sub(last.at) < scalingWindow {
		return last.all.(T), nil //nolint:forcetypeassert // a name stands for one read
	}
	done := r.shared.DoChan(name, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sharedTime)
		defer cancel()
		all, err := read(ctx)
		if err == nil {
			r.recent.mu.Lock()
			defer r.recent.mu.Unlock()
			if r.recent.read == nil {
				r.recent.read = map[string]recentRead{}
			}
			r.recent.read[name] = recentRead{now(), all}
		}
		return all, err
	})
	select {
	case <-ctx.Done():
		return none, failed(ctx.Err(), "waiting for %s", name)
	case result := <-done:
		if result.Err != nil {
			return none, result.Err
		}
		return result.Val.(T), nil //nolint:forcetypeassert // as above
	}
}

// scalingOfAccount reads everything of the region; the schedules only if asked.
func (d *sagemaker) scalingOfAccount(ctx context.Context, r *region, schedules bool) (accountScaling, error) {
	var all accountScaling
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		all.targets, err = coalesce(ctx, r, d.now, "scalable targets", func(ctx context.Context) (map[string]aastypes.ScalableTarget, error) {
			return r.targets(ctx, nil)
		})
		return err
	})
	group.Go(func() (err error) {
		all.policies, err = coalesce(ctx, r, d.now, "scaling policies", func(ctx context.Context) (map[string][]aastypes.ScalingPolicy, error) {
			return r.policies(ctx, nil)
		})
		return err
	})
	if schedules {
		group.Go(func() (err error) {
			all.actions, err = coalesce(ctx, r, d.now, "scheduled actions", func(ctx context.Context) (map[string][]aastypes.ScheduledAction, error) {
				return r.actions(ctx, nil)
			})
			return err
		})
	}
	return all, group.Wait()
}

// alarmExists reports whether the alarm that wakes a variant is there.
func (r *region) alarmExists(ctx context.Context, name string) (bool, error) {
	out, err := r.clients.watch.DescribeAlarms(ctx, &cloudwatch.DescribeAlarmsInput{AlarmNames: []string{name}})
	if err != nil {
		return false, failed(err, "read the alarm %s", name)
	}
	return len(out.MetricAlarms) > 0, nil
}

// schedule translates a scheduled action. ok is false for what the
// configuration language cannot say; such an action is left alone.
func schedule(a *aastypes.ScheduledAction) (driver.Schedule, bool) {
	cron, ok := fromAWSCron(aws.ToString(a.Schedule))
	t := a.ScalableTargetAction
	if !ok || t == nil || t.MinCapacity == nil || t.MaxCapacity == nil || a.StartTime != nil || a.EndTime != nil {
		return driver.Schedule{}, false
	}
	s := driver.Schedule{Name: aws.ToString(a.ScheduledActionName), Cron: cron, Timezone: aws.ToString(a.Timezone),
		Min: int(*t.MinCapacity), Max: int(*t.MaxCapacity)}
	if s.Timezone == "" {
		s.Timezone = "UTC"
	}
	return s, true
}
