// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// sameCompute compares what is asked of the platform.
func sameCompute(a, b *driver.Compute) bool { return machine(a) == machine(b) && a.Spot == b.Spot }

// Deploy begins to make a deployment, without traffic. Its id follows from what it
// is: the platform refuses a second one, and what is still being made is seen.
func (d *vertex) Deploy(ctx context.Context, spec *driver.EndpointSpec, _ *driver.EndpointState, name string, replicas int) error {
	r, endpoint, dep := d.at(spec.Key.Location), spec.Key.Name, spec.Find(name)
	if dep == nil {
		return mlerr.New(mlerr.InvalidArgument, "%s has no deployment %s", spec.Key.ID(), name)
	}
	read, err := r.getEndpoint(ctx, endpoint)
	if err != nil {
		return err
	}
	if spec.SmokeTest != nil {
		if err := r.markUntested(ctx, read, endpoint); err != nil {
			return err
		}
	}
	account := serviceAccount(&spec.Settings)
	display := displayName(name, deploymentHash(dep, machine(&dep.Compute), account))
	for i := range read.DeployedModels {
		dm := &read.DeployedModels[i]
		if _, own := ownName(r.name, endpoint, dm); !own || dm.DisplayName != display {
			continue
		}
		if dm.DisableContainerLogging && dm.State == "" {
			return r.mutate(ctx, endpoint, v1, deployedModel{ID: dm.ID}, "disable_container_logging")
		}
		return nil
	}
	if one(spec) != "" {
		if made, err := r.makeRoom(ctx, endpoint, name, read); made || err != nil {
			return err
		}
	}
	dm := deployedModel{Model: r.d.at(dep.Model.Key.Location).model(dep.Model.Key.Name) + "@" + dep.Model.Version, DisplayName: display,
		DedicatedResources: resources(dep), ServiceAccount: account}
	res, version := dm.DedicatedResources, v1
	if dep.Scaling.Min == 0 {
		version, res.InitialReplicaCount = v1beta1, max(1, min(replicas, dep.Scaling.Max))
		dm.EnableContainerLogging = new(true)
	} else {
		// The live count of its predecessor; SetScaling gives the rest back.
		res.MinReplicaCount = max(dep.Scaling.Min, min(replicas, dep.Scaling.Max))
	}
	return r.deploy(ctx, endpoint, version, dm)
}

// deploy tries the ids that the deployment can have: one that has failed may keep
// its own for a while. An id that is taken may also be that of the very deployment, if
// a call of a process before has come in late.
func (r *region) deploy(ctx context.Context, endpoint, version string, dm deployedModel) (err error) {
	for attempt := range mostAttempts {
		dm.ID = deploymentID(r.name, endpoint, dm.DisplayName, attempt)
		err = r.start(ctx, "endpoints/"+endpoint, call{name: "endpoints.deployModel", doing: "deploy " + dm.Model + " to the endpoint " + endpoint, version: version, method: http.MethodPost,
			path: r.endpoint(endpoint) + ":deployModel", in: map[string]any{"deployedModel": dm}}, started{kind: deploying, id: dm.ID, deployment: dm})
		if !mlerr.Is(err, mlerr.AlreadyExists) {
			return err
		}
		read, readErr := r.getEndpoint(ctx, endpoint)
		if readErr != nil {
			return readErr
		}
		if slices.ContainsFunc(read.DeployedModels, func(other deployedModel) bool { return other.ID == dm.ID }) {
			return nil
		}
		running, readErr := r.deployments(ctx, endpoint)
		if readErr != nil {
			return readErr
		}
		if len(running) > 0 {
			return mlerr.Wrap(err, mlerr.Busy, "deployment %s is coming into being", dm.ID)
		}
	}
	return err
}

// makeRoom removes the predecessor of a deployment where there can be one only. It
// reports whether there was one.
func (r *region) makeRoom(ctx context.Context, endpoint, name string, read *wireEndpoint) (bool, error) {
	names := r.names(endpoint, read)
	i := slices.IndexFunc(read.DeployedModels, func(dm deployedModel) bool { return names[dm.ID].name == name })
	if i < 0 {
		return false, nil
	}
	id := read.DeployedModels[i].ID
	if read.TrafficSplit[id] > 0 {
		split := maps.Clone(read.TrafficSplit)
		delete(split, id)
		if len(split) > 0 {
			return true, mlerr.New(mlerr.InUse, "the endpoint %s can have one deployment, and has others beside %s", endpoint, id).At("deployments")
		}
		if err := r.patch(ctx, read, endpoint, wireEndpoint{}, "traffic_split"); err != nil {
			return true, err
		}
	}
	return true, r.undeploy(ctx, endpoint, id)
}

// mutate begins to change a deployment.
func (r *region) mutate(ctx context.Context, endpoint, version string, dm deployedModel, fields ...string) error {
	in := map[string]any{"deployedModel": dm, "updateMask": mask(fields...).Get("updateMask")}
	return r.start(ctx, "endpoints/"+endpoint, call{name: "endpoints.mutateDeployedModel", doing: "change deployment " + dm.ID + " of the endpoint " + endpoint, version: version,
		method: http.MethodPost, path: r.endpoint(endpoint) + ":mutateDeployedModel", in: in}, started{kind: mutating, id: dm.ID})
}

// SetScaling makes bounds and metrics what spec says. The live count is the
// platform's, inside of the bounds.
func (d *vertex) SetScaling(ctx context.Context, spec *driver.EndpointSpec, seen *driver.EndpointState, name string) error {
	r, dep := d.at(spec.Key.Location), spec.Find(name)
	if dep == nil {
		return mlerr.New(mlerr.InvalidArgument, "%s has no deployment %s", spec.Key.ID(), name)
	}
	id := ""
	for i := range seen.Deployments {
		now := &seen.Deployments[i]
		if now.Name == name && now.Model == dep.Model && (id == "" || sameCompute(&now.Compute, &dep.Compute)) {
			id = now.ID
		}
	}
	if id == "" {
		return mlerr.New(mlerr.NotFound, "%s does not serve deployment %s", spec.Key.ID(), name)
	}
	res, version := resources(dep), v1
	fields := []string{"dedicated_resources.min_replica_count", "dedicated_resources.max_replica_count", "dedicated_resources.autoscaling_metric_specs"}
	if dep.Scaling.Min == 0 {
		version = v1beta1
		fields = append(fields, "dedicated_resources.scale_to_zero_spec")
	}
	return r.mutate(ctx, spec.Key.Name, version, deployedModel{ID: id, DedicatedResources: res}, fields...)
}
