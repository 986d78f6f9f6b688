// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"context"
	"strings"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/hardware"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// Deploy begins to make a deployment, without requests. Its name follows from what it
// is. One that is there and is not any more what was made is made again, as it gets
// requests.
func (d *azureML) Deploy(ctx context.Context, spec *driver.EndpointSpec, seen *driver.EndpointState, name string, replicas int) error {
	dep := spec.Find(name)
	if dep == nil {
		return mlerr.New(mlerr.InvalidArgument, "%s has no deployment %s", spec.Key.ID(), name)
	}
	w, err := d.at(spec.Key.Location)
	if err != nil {
		return err
	}
	defer w.writing.lock(spec.Key.Name)()
	read, err := w.getEndpoint(ctx, spec.Key.Name)
	if err != nil {
		return err
	}
	if is := clusterSeen(read); !strings.EqualFold(is, clusterOf(&spec.Settings)) {
		return mlerr.New(mlerr.Unsupported, "the endpoint %s is %s, which is fixed when it is created", spec.Key.ID(), onWhat(is)).At(attributeCompute).
			WithHint("Give the endpoint another name, or destroy it first")
	}
	if err := w.markUntested(ctx, spec, read); err != nil {
		return err
	}
	id := physical(name, contentHash(dep, &spec.Settings), longestOn(spec.Key.Name, clusterOf(&spec.Settings) != ""))
	if repaired := damaged(seen, dep); repaired != "" {
		id = repaired
	}
	capacity := max(dep.Scaling.Min, min(replicas, dep.Scaling.Max))
	now, err := w.getDeployment(ctx, spec.Key.Name, id)
	switch {
	case mlerr.Is(err, mlerr.NotFound):
	case err != nil:
		return err
	default:
		if done, err := standing(spec.Key.Name, now); done || err != nil {
			return err
		}
		capacity = max(1, int(deref(skuOf(now).Capacity))) // what an autoscaler chose is not ours to change
	}
	return w.deploy(ctx, spec, dep, id, capacity)
}

func sameCompute(a, b *driver.Compute) bool {
	return a.InstanceType == b.InstanceType && resourcesText(a) == resourcesText(b)
}

// onWhat says where an endpoint is.
func onWhat(cluster string) string {
	if cluster == "" {
		return "managed, and on no Kubernetes compute"
	}
	return "on the Kubernetes compute " + cluster
}

// damaged is the platform's name of a deployment that is to be repaired, "" of none.
func damaged(seen *driver.EndpointState, dep *driver.Deployment) string {
	for i := range seen.Deployments {
		if now := &seen.Deployments[i]; now.Name == dep.Name && now.Repair != "" && now.Model == dep.Model && sameCompute(&now.Compute, &dep.Compute) {
			return now.ID
		}
	}
	return ""
}

// standing reports whether a deployment is what it was made as. One on which the
// platform is at work is Busy.
func standing(endpoint string, now *deployment) (bool, error) {
	p := now.Properties.GetOnlineDeploymentProperties()
	switch deref(p.ProvisioningState) {
	case ml.DeploymentProvisioningStateCreating, ml.DeploymentProvisioningStateUpdating, ml.DeploymentProvisioningStateScaling:
		return true, nil
	case ml.DeploymentProvisioningStateDeleting:
		return false, mlerr.New(mlerr.Busy, "deployment %s of the endpoint %s is being deleted", deref(now.Name), endpoint)
	case ml.DeploymentProvisioningStateFailed, ml.DeploymentProvisioningStateCanceled:
		return false, nil
	}
	return altered(p) == "" && same(endpoint, now, p), nil
}

// same reports whether what cannot change of a deployment is what its name says. Its
// tags are anybody's to change.
func same(endpoint string, now *deployment, p *ml.OnlineDeploymentProperties) bool {
	name, ours := ownName(endpoint, now)
	own, noted := ownEnv(p)
	if !noted || !ours {
		return false
	}
	carried := carriedBy(now, p, true)
	dep := &driver.Deployment{Compute: computeSeen(now), Env: own, Model: driver.VersionRef{Native: tag(now.Tags, tagModel)}}
	content := contentHash(dep, &carried)
	_, cluster := now.Properties.(*ml.KubernetesOnlineDeployment)
	return content == tag(now.Tags, tagContent) && deref(now.Name) == physical(name, content, longestOn(endpoint, cluster))
}

// markUntested notes on an endpoint that a smoke test is due. The endpoint takes no
// deployment until it has taken the note.
func (w *workspace) markUntested(ctx context.Context, spec *driver.EndpointSpec, read *endpoint) error {
	if spec.SmokeTest == nil || tag(read.Tags, tagUntested) != "" {
		return nil
	}
	err := w.change(ctx, spec.Key.Name, func(_, e *endpoint) error {
		e.Tags[tagUntested] = new(yes)
		return nil
	})
	if err == nil {
		err = mlerr.New(mlerr.Busy, "the endpoint %s is being marked as untested", spec.Key.Name)
	}
	return err
}

func (w *workspace) getDeployment(ctx context.Context, endpoint, id string) (*deployment, error) {
	got, err := w.c.OnlineDeployments.Get(ctx, w.group, w.name, endpoint, id, nil)
	if err != nil {
		return nil, failed(err, "cannot read deployment %s of the endpoint %s", id, endpoint)
	}
	if got.OnlineDeployment.Properties == nil {
		return nil, mlerr.New(mlerr.Unavailable, "cannot read deployment %s of the endpoint %s: the answer says nothing of it", id, endpoint)
	}
	return &got.OnlineDeployment, nil
}

// deploy sends a deployment.
func (w *workspace) deploy(ctx context.Context, spec *driver.EndpointSpec, dep *driver.Deployment, id string, capacity int) error {
	about, err := w.workspaceInfo(ctx)
	if err != nil {
		return err
	}
	from, err := w.d.served(ctx, dep)
	if err != nil {
		return err
	}
	if from.data, err = w.recordings(ctx, spec.Key.Name, dep.Name, spec.Settings.Capture); err != nil {
		return err
	}
	return w.sendDeployment(ctx, spec.Key.Name, id, deploying, made(about.Location, spec.Key.Name, dep, &spec.Settings, from, capacity), &dep.Compute)
}

func (w *workspace) sendDeployment(ctx context.Context, endpoint, id, kind string, out deployment, c *driver.Compute) error {
	w.writes()
	ctx, a := captured(ctx)
	if _, err := w.c.OnlineDeployments.BeginCreateOrUpdate(ctx, w.group, w.name, endpoint, id, out, nil); err != nil {
		err := failed(err, "cannot deploy %s to the endpoint %s", id, endpoint)
		if mlerr.Is(err, mlerr.QuotaExceeded) {
			err = mlerr.Annotate(err, "%s", quotaWords(&driver.Deployment{Compute: *c, Scaling: driver.Scaling{Min: int(deref(skuOf(&out).Capacity))}}))
		}
		if mlerr.Is(err, mlerr.NotFound) { // the endpoint is there, and not yet where deployments are made
			err = mlerr.Wrap(err, mlerr.NotYetVisible, "the endpoint %s is not everywhere yet", endpoint)
		}
		return err
	}
	w.begun(endpoint, a, started{kind: kind, id: id})
	return nil
}

// quotaWords says which quota a deployment takes.
func quotaWords(dep *driver.Deployment) string {
	t, ok := hardware.Lookup(string(driver.AzureML), dep.Compute.InstanceType)
	switch {
	case !ok && !sizeForm.MatchString(dep.Compute.InstanceType):
		return "the cluster has too little left for it"
	case !ok:
		return "the quota of " + dep.Compute.InstanceType + " does not suffice"
	}
	return t.QuotaWords(max(1, dep.Scaling.Min))
}

// SetScaling makes bounds, metrics and schedules what spec says. The live count is the
// autoscaler's inside of the bounds; one outside of them is brought there at once.
func (d *azureML) SetScaling(ctx context.Context, spec *driver.EndpointSpec, seen *driver.EndpointState, name string) error {
	dep := spec.Find(name)
	if dep == nil {
		return mlerr.New(mlerr.InvalidArgument, "%s has no deployment %s", spec.Key.ID(), name)
	}
	w, err := d.at(spec.Key.Location)
	if err != nil {
		return err
	}
	id := meant(spec, seen, dep)
	if id == "" {
		return mlerr.New(mlerr.NotFound, "%s does not serve deployment %s", spec.Key.ID(), name)
	}
	defer w.writing.lock(spec.Key.Name)()
	if clusterOf(&seen.Settings) != "" { // in a rollout the settings of spec are those of the deployment alone
		return w.scaleOnCluster(ctx, spec.Key.Name, id, &dep.Scaling)
	}
	target := w.deploymentID(spec.Key.Name, id)
	if !dep.Scaling.Automatic() {
		if err := w.unscaleAll(ctx, target); err != nil {
			return err
		}
		return w.resize(ctx, spec.Key.Name, id, dep.Scaling.Min, dep.Scaling.Min)
	}
	if err := w.resize(ctx, spec.Key.Name, id, dep.Scaling.Min, dep.Scaling.Max); err != nil {
		return err
	}
	return w.scale(ctx, spec.Key.Name, id, &dep.Scaling)
}

// meant is the deployment that a wanted one is: in a rollout there are two of its name,
// which may differ in their environment only. One that was made by hand is known by what
// it serves.
func meant(spec *driver.EndpointSpec, seen *driver.EndpointState, dep *driver.Deployment) string {
	id := ""
	for i := range seen.Deployments {
		now := &seen.Deployments[i]
		switch {
		case now.Name != dep.Name || now.Model != dep.Model:
		case contentHash(&now.Deployment, &now.Carried) == contentHash(dep, &spec.Settings):
			return now.ID
		case id == "" || sameCompute(&now.Compute, &dep.Compute):
			id = now.ID
		}
	}
	return id
}

// resize brings a deployment's count between two bounds.
func (w *workspace) resize(ctx context.Context, endpoint, id string, low, high int) error {
	now, err := w.getDeployment(ctx, endpoint, id)
	if err != nil {
		return err
	}
	count := int(deref(skuOf(now).Capacity))
	wanted := max(low, min(count, high))
	if wanted == count {
		return nil
	}
	w.writes()
	ctx, a := captured(ctx)
	change := ml.PartialMinimalTrackedResourceWithSKU{Tags: now.Tags, SKU: &ml.PartialSKU{Name: new("Default"), Capacity: new(int32(wanted))}}
	if _, err := w.c.OnlineDeployments.BeginUpdate(ctx, w.group, w.name, endpoint, id, change, nil); err != nil {
		return failed(err, "cannot scale deployment %s of the endpoint %s", id, endpoint)
	}
	w.begun(endpoint, a, started{kind: scaling, id: id})
	return nil
}
