// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	sm "github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"golang.org/x/sync/errgroup"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// Preflight asks nothing: what SageMaker would refuse shows in PrepareEndpoint, and
// quotas it tells only to those who may read Service Quotas.
func (d *sagemaker) Preflight(context.Context, *driver.EndpointSpec, *driver.EndpointState) ([]string, error) {
	return nil, nil
}

// CreateEndpoint makes the models, then the configuration, then the endpoint.
func (d *sagemaker) CreateEndpoint(ctx context.Context, spec *driver.EndpointSpec) error {
	r, err := d.at(ctx, spec.Key.Location)
	if err != nil {
		return err
	}
	b, err := r.blueprint(ctx, spec, nil, nil, "")
	if err != nil {
		return err
	}
	if err := r.makeModels(ctx, spec.Key.Name, b.models); err != nil {
		return err
	}
	if err := r.makeConfig(ctx, spec.Key.Name, b.config); err != nil {
		return err
	}
	out, err := r.clients.sm.CreateEndpoint(ctx, &sm.CreateEndpointInput{
		EndpointName: &spec.Key.Name, EndpointConfigName: b.config.EndpointConfigName, Tags: tagList(endpointTags(spec, true)),
	})
	if err == nil {
		r.learn(out.EndpointArn)
		return nil
	}
	err = invisible(failed(err, "create the endpoint %s", spec.Key.Name))
	if !mlerr.Is(err, mlerr.AlreadyExists) {
		return err
	}
	return r.oursAlready(ctx, spec.Key, err)
}

// oursAlready is nil when the endpoint that stands in the way of a creation
// carries our marks, and exists otherwise.
func (r *region) oursAlready(ctx context.Context, key driver.Key, exists error) error {
	now, err := r.endpoint(ctx, key.Name)
	if err != nil {
		return invisible(err)
	}
	if endpointPhase(now.EndpointStatus) == driver.Deleting {
		return mlerr.New(mlerr.Busy, "the endpoint %s is still being deleted", key.Name)
	}
	tags, err := r.tags(ctx, *now.EndpointArn)
	if err != nil {
		return err
	}
	if marksIn(tags, key.Name).Owned {
		return nil
	}
	return exists
}

// makeModels creates what is missing, all at once.
func (r *region) makeModels(ctx context.Context, endpoint string, models map[string]*sm.CreateModelInput) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, in := range models {
		group.Go(func() error {
			_, err := r.clients.sm.CreateModel(ctx, in)
			err = failed(err, "create the model %s", *in.ModelName)
			if mlerr.Is(err, mlerr.AlreadyExists) {
				return r.reuse(ctx, endpoint, "model/"+*in.ModelName, err)
			}
			return invisible(err)
		})
	}
	return group.Wait()
}

// makeConfig creates the configuration unless it is there.
func (r *region) makeConfig(ctx context.Context, endpoint string, in *sm.CreateEndpointConfigInput) error {
	_, err := r.clients.sm.CreateEndpointConfig(ctx, in)
	err = failed(err, "create the endpoint configuration %s", *in.EndpointConfigName)
	if mlerr.Is(err, mlerr.AlreadyExists) {
		return r.reuse(ctx, endpoint, "endpoint-config/"+*in.EndpointConfigName, err)
	}
	return invisible(err)
}

// reuse accepts an object of a computed name that exists: the name stands for
// its content, so if it carries our marks an earlier run has made it.
func (r *region) reuse(ctx context.Context, endpoint, resource string, exists error) error {
	id, err := r.arnOf(ctx, resource)
	if err != nil {
		return err
	}
	tags, err := r.tags(ctx, id)
	if err != nil {
		return invisible(err)
	}
	if marksIn(tags, endpoint).Owned {
		return nil
	}
	return exists
}

// Deploy takes the endpoint over to spec: the models that it lacks, a new
// configuration, and one UpdateEndpoint that the service runs by spec.Rollout.
func (d *sagemaker) Deploy(ctx context.Context, spec *driver.EndpointSpec, seen *driver.EndpointState, _ string, _ int) error {
	r, err := d.at(ctx, spec.Key.Location)
	if err != nil {
		return err
	}
	now, err := r.endpoint(ctx, spec.Key.Name)
	if err != nil {
		return err
	}
	if stands(spec, seen) {
		return r.redeclare(ctx, spec, seen)
	}
	live, err := r.config(ctx, aws.ToString(now.EndpointConfigName))
	if err != nil && !mlerr.Is(err, mlerr.NotFound) {
		return err
	}
	t := transitionTo(spec, now, live)
	b, err := r.blueprint(ctx, spec, live, t.counts, "")
	if err != nil {
		return err
	}
	if *b.config.EndpointConfigName == *now.EndpointConfigName && t.mixed {
		// The service refuses an update to the configuration that is in use.
		if b, err = r.blueprint(ctx, spec, live, t.counts, "after "+*now.EndpointConfigName); err != nil {
			return err
		}
	}
	wanted := *b.config.EndpointConfigName
	if p := now.PendingDeploymentSummary; p != nil && aws.ToString(p.EndpointConfigName) == wanted {
		return nil // begun before
	}
	if endpointPhase(now.EndpointStatus) == driver.Changing || endpointPhase(now.EndpointStatus) == driver.Deleting {
		return mlerr.New(mlerr.Busy, "the endpoint %s is %s", spec.Key.Name, now.EndpointStatus)
	}
	return r.goOver(ctx, spec, seen, now, live, b, t)
}

// goOver makes what is missing and starts the update.
func (r *region) goOver(ctx context.Context, spec *driver.EndpointSpec, seen *driver.EndpointState,
	now *sm.DescribeEndpointOutput, live *sm.DescribeEndpointConfigOutput, b *blueprint, t transition) error {
	config := *b.config.EndpointConfigName
	var own []*cloudwatch.PutMetricAlarmInput
	var found map[string]alarm
	if config != *now.EndpointConfigName && !t.mixed && deploymentConfig(spec, config) != nil {
		own = checkAlarms(spec, config)
		var err error
		if found, err = r.admit(ctx, spec, own); err != nil {
			return err
		}
	}
	if err := r.makeModels(ctx, spec.Key.Name, missing(b.models, live, seen)); err != nil {
		return err
	}
	if live == nil {
		if err := r.standIn(ctx, spec.Key.Name, now, b.config); err != nil {
			return err
		}
	}
	if err := r.redeclare(ctx, spec, seen); err != nil {
		return err
	}
	if config == *now.EndpointConfigName {
		return nil // it stands on the right things again
	}
	if err := r.makeConfig(ctx, spec.Key.Name, b.config); err != nil {
		return err
	}
	if spec.SmokeTest != nil && !seen.Marks.Untested {
		// Before the update: whoever finds it done must know that it is not tested.
		if err := r.mark(ctx, *now.EndpointArn, tagUntested, "true"); err != nil {
			return err
		}
	}
	if err := r.putAlarms(ctx, spec.Key.Name, own, found); err != nil {
		return err
	}
	if err := r.spare(ctx, spec.Key.Name, t.retyped); err != nil {
		return err
	}
	if err := r.release(ctx, now, t.released); err != nil {
		return err
	}
	return r.update(ctx, spec, config, t)
}

// update starts the transition.
func (r *region) update(ctx context.Context, spec *driver.EndpointSpec, config string, t transition) error {
	in := &sm.UpdateEndpointInput{EndpointName: &spec.Key.Name, EndpointConfigName: &config}
	if !t.mixed {
		in.DeploymentConfig = deploymentConfig(spec, config)
	}
	if t.retain {
		in.RetainAllVariantProperties = aws.Bool(true)
		in.ExcludeRetainedVariantProperties = []types.VariantProperty{{VariantPropertyType: types.VariantPropertyTypeDesiredWeight}}
	}
	_, err := r.clients.sm.UpdateEndpoint(ctx, in)
	r.recent.forget()
	return invisible(failed(err, "update the endpoint %s", spec.Key.Name))
}

// stands reports whether an endpoint already stands on what spec wants, so that
// only what is kept in notes can differ. Names are no measure: those of an
// adopted endpoint are not ours.
func stands(spec *driver.EndpointSpec, seen *driver.EndpointState) bool {
	if seen.Repair != "" || len(spec.Deployments) != len(seen.Deployments) {
		return false
	}
	have, want := seen.Settings, spec.Settings
	have.Auth.Invokers, have.RequestTimeout, have.Network.Access = want.Auth.Invokers, want.RequestTimeout, want.Network.Access
	if !same(have, want) {
		return false
	}
	for i := range spec.Deployments {
		w, h := &spec.Deployments[i], &seen.Deployments[i] // both sorted by name
		if w.Name != h.Name || w.Model != h.Model || w.Mirror != h.Mirror || w.Compute.Resolved() != h.Compute.Resolved() || !sameLabels(w.Env, h.Env) {
			return false
		}
	}
	return true
}

// redeclare writes what SageMaker has no field for into the endpoint's note.
func (r *region) redeclare(ctx context.Context, spec *driver.EndpointSpec, seen *driver.EndpointState) error {
	wanted := declare(&spec.Settings)
	if same(wanted, declare(&seen.Settings)) {
		return nil
	}
	return r.renote(ctx, seen.NativeID, tagDeclared, wanted)
}

// standIn puts the wanted content in the place of the configuration in use, which
// somebody deleted: an update is refused while it does not exist. Under a name
// that is not one of ours it would not be found again, so it is noted.
func (r *region) standIn(ctx context.Context, endpoint string, now *sm.DescribeEndpointOutput, wanted *sm.CreateEndpointConfigInput) error {
	stand := *wanted
	stand.EndpointConfigName = now.EndpointConfigName
	if form, _ := computedNames(endpoint); !form.match(*stand.EndpointConfigName) {
		if err := r.mark(ctx, *now.EndpointArn, tagStandIn, *stand.EndpointConfigName); err != nil {
			return err
		}
	}
	return r.makeConfig(ctx, endpoint, &stand)
}

// missing leaves out the models that the endpoint stands on already.
func missing(models map[string]*sm.CreateModelInput, live *sm.DescribeEndpointConfigOutput, seen *driver.EndpointState) map[string]*sm.CreateModelInput {
	if live == nil || seen.Repair != "" {
		return models
	}
	lacking := map[string]*sm.CreateModelInput{}
	for name, in := range models {
		if v := liveVariant(live, name); v == nil || aws.ToString(v.ModelName) != *in.ModelName {
			lacking[name] = in
		}
	}
	return lacking
}

// SetTraffic sets the weights of all variants in one call. Weights are relative,
// so those that keep their share are sent along.
func (d *sagemaker) SetTraffic(ctx context.Context, spec *driver.EndpointSpec, seen *driver.EndpointState, shares []driver.Share) error {
	r, err := d.at(ctx, spec.Key.Location)
	if err != nil {
		return err
	}
	weights := map[string]driver.Share{}
	shadowed := false
	for _, dep := range seen.Deployments {
		weights[dep.Name] = driver.Share{Name: dep.Name, Traffic: dep.Traffic, Mirror: dep.Mirror}
	}
	for _, s := range shares {
		weights[s.Name] = s
	}
	for _, w := range weights {
		shadowed = shadowed || w.Mirror > 0
	}
	in := &sm.UpdateEndpointWeightsAndCapacitiesInput{EndpointName: &spec.Key.Name}
	for _, dep := range seen.Deployments { // in their order
		w := weights[dep.Name]
		weight := w.Traffic
		switch {
		case w.Mirror > 0:
			weight = w.Mirror
		case shadowed:
			weight = 100
		}
		in.DesiredWeightsAndCapacities = append(in.DesiredWeightsAndCapacities,
			types.DesiredWeightAndCapacity{VariantName: aws.String(dep.Name), DesiredWeight: aws.Float32(float32(weight))})
	}
	_, err = r.clients.sm.UpdateEndpointWeightsAndCapacities(ctx, in)
	return failed(err, "set the weights of the endpoint %s", spec.Key.Name)
}

// SetLabels sets the tags of the endpoint and of what it stands on, the
// endpoint's last: they end the creation.
func (d *sagemaker) SetLabels(ctx context.Context, spec *driver.EndpointSpec, seen *driver.EndpointState) error {
	r, err := d.at(ctx, spec.Key.Location)
	if err != nil {
		return err
	}
	if !sameLabels(spec.Labels, seen.Labels) && seen.Memo != "" {
		if err := r.relabelOwned(ctx, spec, seen.Memo); err != nil {
			return err
		}
	}
	have, err := r.tags(ctx, seen.NativeID)
	if err != nil {
		return err
	}
	want := endpointTags(spec, false)
	standIn := driver.Leftover{Kind: leftoverConfig, Name: have[tagStandIn]}
	if slices.Contains(seen.Leftovers, standIn) {
		want[tagStandIn] = standIn.Name // until it has been swept
	}
	return r.changeTags(ctx, seen.NativeID, have, want)
}

// relabelOwned sets the tags of the configuration in use and its models, where
// they are ours.
func (r *region) relabelOwned(ctx context.Context, spec *driver.EndpointSpec, config string) error {
	live, err := r.config(ctx, config)
	if err != nil {
		return gone(err)
	}
	resources := []string{"endpoint-config/" + config}
	for _, model := range modelsOf(live) {
		resources = append(resources, "model/"+model)
	}
	want := marked(spec.Key.Name, false)
	maps.Copy(want, spec.Labels)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, resource := range resources {
		group.Go(func() error {
			id, err := r.arnOf(ctx, resource)
			if err != nil {
				return err
			}
			have, err := r.tags(ctx, id)
			if err != nil || !marksIn(have, spec.Key.Name).Owned {
				return gone(err)
			}
			return gone(r.changeTags(ctx, id, have, want))
		})
	}
	return group.Wait()
}

// UpdateSettings is never called: settings travel with Deploy.
func (d *sagemaker) UpdateSettings(context.Context, *driver.EndpointSpec, *driver.EndpointState) error {
	return mlerr.New(mlerr.Unsupported, "SageMaker changes settings with a deployment")
}

// Undeploy is never called: deployments leave with Deploy.
func (d *sagemaker) Undeploy(context.Context, driver.Key, string) error {
	return mlerr.New(mlerr.Unsupported, "SageMaker removes variants with a deployment")
}

// DeleteEndpoint releases the variants from autoscaling, removes our alarms and
// starts the deletion. What it stood on is then a leftover.
func (d *sagemaker) DeleteEndpoint(ctx context.Context, seen *driver.EndpointState) error {
	r, err := d.at(ctx, seen.Key.Location)
	if err != nil {
		return err
	}
	now, err := r.endpoint(ctx, seen.Key.Name)
	if err != nil {
		return gone(err)
	}
	switch endpointPhase(now.EndpointStatus) {
	case driver.Deleting:
		return nil
	case driver.Changing:
		return mlerr.New(mlerr.Busy, "the endpoint %s is %s, and SageMaker deletes it only afterwards", seen.Key.Name, now.EndpointStatus)
	}
	if err := r.release(ctx, now, variantNames(now)); err != nil {
		return err
	}
	if err := r.markEnding(ctx, seen.Key.Name); mlerr.Is(err, mlerr.PermissionDenied) {
		d.log.Warn("what the endpoint leaves behind is not marked", "endpoint", seen.Key.Name, "error", err)
	} else if err != nil {
		return err
	}
	_, err = r.clients.sm.DeleteEndpoint(ctx, &sm.DeleteEndpointInput{EndpointName: &seen.Key.Name})
	r.recent.forget()
	return gone(failed(err, "delete the endpoint %s", seen.Key.Name))
}
