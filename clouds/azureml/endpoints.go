// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"context"
	"maps"
	"slices"
	"strings"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// endpointTags are all tags of an endpoint, but for those of deployments that were
// adopted.
func endpointTags(spec *driver.EndpointSpec) map[string]string {
	tags := map[string]string{tagManagedBy: managedBy, tagEndpoint: spec.Key.Name}
	carry(tags, &spec.Settings)
	if id := identityOf(&spec.Settings); id != "" {
		tags[tagIdentity] = id
	}
	if name := clusterOf(&spec.Settings); name != "" {
		tags[tagCompute] = name
	}
	if key := spec.Settings.Encryption.Key; key != "" {
		tags[tagKey] = key
	}
	maps.Copy(tags, spec.Labels)
	return tags
}

func owned(e *endpoint, name string) bool {
	return tag(e.Tags, tagManagedBy) == managedBy && strings.EqualFold(tag(e.Tags, tagEndpoint), name)
}

// getEndpoint reads an endpoint.
func (w *workspace) getEndpoint(ctx context.Context, name string) (*endpoint, error) {
	got, err := w.c.OnlineEndpoints.Get(ctx, w.group, w.name, name, nil)
	if err != nil {
		return nil, failed(err, "cannot read the endpoint %s", name)
	}
	if got.OnlineEndpoint.Properties == nil {
		return nil, mlerr.New(mlerr.Unavailable, "cannot read the endpoint %s: the answer says nothing of it", name)
	}
	w.remember(name, &got.OnlineEndpoint)
	return &got.OnlineEndpoint, nil
}

// moving reports whether the platform is at work on an endpoint, and refuses changes.
func moving(e *endpoint) bool {
	switch deref(e.Properties.ProvisioningState) {
	case ml.EndpointProvisioningStateCreating, ml.EndpointProvisioningStateUpdating, ml.EndpointProvisioningStateDeleting:
		return true
	}
	return false
}

// CreateEndpoint makes the endpoint without deployments. A PUT would take over what is
// there, so that is looked for first.
func (d *azureML) CreateEndpoint(ctx context.Context, spec *driver.EndpointSpec) error {
	w, err := d.at(spec.Key.Location)
	if err != nil {
		return err
	}
	name, s := spec.Key.Name, &spec.Settings
	defer w.writing.lock(name)()
	now, err := w.getEndpoint(ctx, name)
	switch {
	case err == nil && owned(now, name):
		return nil
	case err == nil:
		return mlerr.New(mlerr.AlreadyExists, "the endpoint %s exists, and this provider has not made it", spec.Key.ID())
	case !mlerr.Is(err, mlerr.NotFound):
		return err
	}
	about, err := w.workspaceInfo(ctx)
	if err != nil {
		return err
	}
	if err := fitting(spec, about); err != nil {
		return err
	}
	tags := endpointTags(spec)
	tags[tagIncomplete] = yes
	if spec.SmokeTest != nil {
		tags[tagUntested] = yes
	}
	mode := authModes[s.Auth.Mode]
	return w.send(ctx, name, creating, endpoint{Location: about.Location, Tags: pointers(tags), Identity: identity(identityOf(s)), Properties: &ml.OnlineEndpointProperties{
		AuthMode: &mode, PublicNetworkAccess: publicAccess(s), Compute: w.clusterID(s), Traffic: map[string]*int32{}, MirrorTraffic: map[string]*int32{}}})
}

// send begins to make an endpoint what is sent, and nothing else: what is left out is
// lost.
func (w *workspace) send(ctx context.Context, name, kind string, e endpoint) error {
	w.writes()
	ctx, a := captured(ctx)
	_, err := w.c.OnlineEndpoints.BeginCreateOrUpdate(ctx, w.group, w.name, name, e, nil)
	if err != nil {
		return failed(err, "cannot %s the endpoint %s", kind, name)
	}
	w.begun(name, a, started{kind: kind})
	return nil
}

// change begins to change an endpoint, as it is right now: there is no etag that
// would tell of another writer.
func (w *workspace) change(ctx context.Context, name string, change func(read, e *endpoint) error) error {
	read, err := w.getEndpoint(ctx, name)
	if err != nil {
		return err
	}
	if moving(read) {
		return mlerr.New(mlerr.Busy, "the endpoint %s is %s", name, strings.ToLower(string(*read.Properties.ProvisioningState)))
	}
	e := repeated(read)
	if err := change(read, &e); err != nil {
		return err
	}
	return w.send(ctx, name, updating, e)
}

// repeated is all of an endpoint that can be sent, as it was read.
func repeated(read *endpoint) endpoint {
	p := read.Properties
	properties := maps.Clone(p.Properties)
	maps.DeleteFunc(properties, func(k string, _ *string) bool { return strings.EqualFold(k, "AzureAsyncOperationUri") })
	return endpoint{Location: read.Location, Tags: cloned(read.Tags), Identity: sameIdentity(read.Identity), Properties: &ml.OnlineEndpointProperties{
		AuthMode: p.AuthMode, PublicNetworkAccess: p.PublicNetworkAccess, Compute: p.Compute, Description: p.Description, Properties: properties,
		Traffic: cloned(p.Traffic), MirrorTraffic: cloned(p.MirrorTraffic)}}
}

// cloned is never nil: that would leave the field out.
func cloned[T any](m map[string]*T) map[string]*T {
	if m == nil {
		return map[string]*T{}
	}
	return maps.Clone(m)
}

// UpdateSettings changes what can change of an endpoint, and sends it again where its
// last change has failed. Invokers are assignments of a role, and come first: an
// endpoint that is being updated does not keep them from being made.
func (d *azureML) UpdateSettings(ctx context.Context, spec *driver.EndpointSpec, seen *driver.EndpointState) error {
	w, err := d.at(spec.Key.Location)
	if err != nil {
		return err
	}
	name, want, now := spec.Key.Name, &spec.Settings, &seen.Settings
	if identityOf(want) != identityOf(now) {
		return mlerr.New(mlerr.Unsupported, "the identity of the Azure ML endpoint %s is fixed when it is created", spec.Key.ID()).At("azure_ml.identity").
			WithHint("Give the endpoint another name, or destroy it first")
	}
	if is, wanted := clusterOf(now), clusterOf(want); !strings.EqualFold(is, wanted) {
		return mlerr.New(mlerr.Unsupported, "the Azure ML endpoint %s is %s, which is fixed when it is created", spec.Key.ID(), onWhat(is)).At(attributeCompute).
			WithHint("Give the endpoint another name, or destroy it first")
	}
	about, err := w.workspaceInfo(ctx)
	if err != nil {
		return err
	}
	if err := fitting(spec, about); err != nil {
		return err
	}
	defer w.writing.lock(name)()
	if !slices.Equal(want.Auth.Invokers, now.Auth.Invokers) || seen.Repair != "" && want.Auth.Mode == authIAM {
		if err := w.setInvokers(ctx, name, want.Auth.Invokers); err != nil {
			return err
		}
	}
	if seen.Repair == "" && sameButInvokers(want, now) {
		return nil
	}
	deployments, err := w.deployments(ctx, name)
	if err != nil {
		return err
	}
	return w.change(ctx, name, func(read, e *endpoint) error {
		e.Tags = pointers(keepUsers(tagsFor(spec, read, deployments), read, spec))
		for _, mark := range []string{tagIncomplete, tagUntested} {
			if v := tag(read.Tags, mark); v != "" {
				e.Tags[mark] = new(v)
			}
		}
		mode := authModes[want.Auth.Mode]
		e.Properties.AuthMode = &mode
		if public := publicAccess(want); public != nil {
			e.Properties.PublicNetworkAccess = public
		}
		return nil
	})
}

func sameButInvokers(a, b *driver.Settings) bool {
	x, y := *a, *b
	x.Auth.Invokers, y.Auth.Invokers = nil, nil
	return sameSettings(&x, &y)
}

// keepUsers leaves the user's tags as they are: SetLabels comes later.
func keepUsers(tags map[string]string, read *endpoint, spec *driver.EndpointSpec) map[string]string {
	for k := range spec.Labels {
		delete(tags, k)
	}
	maps.Copy(tags, users(read.Tags))
	return tags
}

// tagsFor are what an endpoint's tags are to be, with those of deployments that were
// adopted and are wanted.
func tagsFor(spec *driver.EndpointSpec, read *endpoint, deployments []*deployment) map[string]string {
	tags := endpointTags(spec)
	found := names(spec.Key.Name, read, deployments)
	for _, d := range deployments {
		physical := deref(d.Name)
		if _, own := ownName(spec.Key.Name, d); own {
			continue
		}
		is := found[physical]
		wanted := slices.ContainsFunc(spec.Deployments, func(dep driver.Deployment) bool { return dep.Name == is.name })
		if wanted || is.owned {
			tags[tagPlaced+is.name] = physical
		}
	}
	return tags
}

// SetLabels makes the tags what spec says. The endpoint is then complete and tested.
func (d *azureML) SetLabels(ctx context.Context, spec *driver.EndpointSpec, _ *driver.EndpointState) error {
	w, err := d.at(spec.Key.Location)
	if err != nil {
		return err
	}
	defer w.writing.lock(spec.Key.Name)()
	deployments, err := w.deployments(ctx, spec.Key.Name)
	if err != nil {
		return err
	}
	return w.change(ctx, spec.Key.Name, func(read, e *endpoint) error {
		e.Tags = pointers(tagsFor(spec, read, deployments))
		return nil
	})
}

// SetTraffic sets all shares in one change. Shares that somebody has changed since they
// were observed are a Conflict: what is to become of them was not decided.
func (d *azureML) SetTraffic(ctx context.Context, spec *driver.EndpointSpec, seen *driver.EndpointState, shares []driver.Share) error {
	w, err := d.at(spec.Key.Location)
	if err != nil {
		return err
	}
	defer w.writing.lock(spec.Key.Name)()
	return w.change(ctx, spec.Key.Name, func(read, e *endpoint) error {
		if !sharedAs(read, seen) {
			return mlerr.New(mlerr.Conflict, "somebody else has changed the shares of requests of the endpoint %s", spec.Key.ID())
		}
		for _, s := range shares {
			setShare(e.Properties.Traffic, s.ID, s.Traffic)
			setShare(e.Properties.MirrorTraffic, s.ID, s.Mirror)
		}
		dropZeros(e.Properties.Traffic)
		dropZeros(e.Properties.MirrorTraffic)
		return nil
	})
}

// sharedAs reports whether an endpoint shares out requests as it was seen to.
func sharedAs(read *endpoint, seen *driver.EndpointState) bool {
	live, copies := 0, 0
	for i := range seen.Deployments {
		d := &seen.Deployments[i]
		if d.Traffic != share(read.Properties.Traffic, d.ID) || d.Mirror != share(read.Properties.MirrorTraffic, d.ID) {
			return false
		}
		live, copies = live+d.Traffic, copies+d.Mirror
	}
	return live == total(read.Properties.Traffic) && copies == total(read.Properties.MirrorTraffic)
}

// setShare replaces a share, however its key is spelled.
func setShare(all map[string]*int32, id string, percent int) {
	maps.DeleteFunc(all, func(k string, _ *int32) bool { return strings.EqualFold(k, id) })
	all[strings.ToLower(id)] = new(int32(percent))
}

func dropZeros(all map[string]*int32) {
	maps.DeleteFunc(all, func(_ string, v *int32) bool { return v == nil || *v == 0 })
}

// DeleteEndpoint removes what scales and who may call, which nothing would remove with
// the endpoint, and then the endpoint with all its deployments.
func (d *azureML) DeleteEndpoint(ctx context.Context, seen *driver.EndpointState) error {
	w, err := d.at(seen.Key.Location)
	if err != nil {
		return err
	}
	name := seen.Key.Name
	defer w.writing.lock(name)()
	read, err := w.getEndpoint(ctx, name)
	if err != nil {
		return gone(err)
	}
	if moving(read) {
		return mlerr.New(mlerr.Busy, "the endpoint %s is %s", name, strings.ToLower(string(*read.Properties.ProvisioningState)))
	}
	given, err := w.ourAssignments(ctx, name)
	if err != nil {
		return err
	}
	if err := w.takeBack(ctx, name, given); err != nil {
		return err
	}
	if err := w.unscaleAll(ctx, w.endpointID(name)); err != nil {
		return err
	}
	w.writes()
	ctx, a := captured(ctx)
	if _, err := w.c.OnlineEndpoints.BeginDelete(ctx, w.group, w.name, name, nil); err != nil {
		return gone(failed(err, "cannot delete the endpoint %s", name))
	}
	w.begun(name, a, started{kind: deleting})
	return nil
}

// Undeploy removes one deployment. What scales it goes first: nothing would remove it
// afterwards.
func (d *azureML) Undeploy(ctx context.Context, key driver.Key, id string) error {
	w, err := d.at(key.Location)
	if err != nil {
		return err
	}
	w.pending.drop(key.Name, func(s started) bool { return s.id == id && s.failure != nil })
	defer w.writing.lock(key.Name)()
	if err := w.unscaleAll(ctx, w.deploymentID(key.Name, id)); err != nil {
		return err
	}
	w.writes()
	ctx, a := captured(ctx)
	if _, err := w.c.OnlineDeployments.BeginDelete(ctx, w.group, w.name, key.Name, id, nil); err != nil {
		return gone(failed(err, "cannot remove deployment %s of the endpoint %s", id, key.Name))
	}
	w.begun(key.Name, a, started{kind: undeploying, id: id})
	return nil
}

// What is left of an endpoint that somebody else has removed.
const (
	leftScaler     = "autoscale setting"
	leftAssignment = "role assignment"
)

// EndpointLeftovers are what scaled deployments of an endpoint that somebody else
// removed, and what let its invokers call: they could again call, and change, one that
// is made by this name.
func (d *azureML) EndpointLeftovers(ctx context.Context, key driver.Key) ([]driver.Leftover, error) {
	w, err := d.at(key.Location)
	if err != nil {
		return nil, err
	}
	scalers, err := w.listScalers(ctx)
	if err != nil {
		return nil, err
	}
	all := w.danglers(key.Name, nil, scalers)
	given, err := w.ourAssignments(ctx, key.Name)
	for _, a := range given {
		all = append(all, driver.Leftover{Kind: leftAssignment, Name: assignmentID(a)})
	}
	return all, err
}

// Sweep removes what scales deployments that are gone, and what let call an endpoint
// that is.
func (d *azureML) Sweep(ctx context.Context, key driver.Key, leftovers []driver.Leftover) error {
	w, err := d.at(key.Location)
	if err != nil {
		return err
	}
	deployments, err := w.deployments(ctx, key.Name)
	if err != nil && !mlerr.Is(err, mlerr.NotFound) {
		return err
	}
	if mlerr.Is(err, mlerr.NotFound) {
		if err := w.sweepAssignments(ctx, key.Name, leftovers); err != nil {
			return err
		}
	}
	scalers, err := w.listScalers(ctx)
	if err != nil {
		return err
	}
	still := w.danglers(key.Name, deployments, scalers)
	for _, l := range leftovers {
		if !slices.ContainsFunc(still, func(s driver.Leftover) bool { return s.Name == l.Name }) {
			continue
		}
		if err := w.unscale(ctx, l.Name); err != nil {
			return err
		}
	}
	return nil
}
