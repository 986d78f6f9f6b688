// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"context"
	"slices"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// Undeploy marks a deployment as one of which nothing is to be left, and removes its
// objects. Its record goes with Sweep, when they are gone.
func (d *kubernetes) Undeploy(ctx context.Context, key driver.Key, id string) error {
	a, err := d.connect()
	if err != nil {
		return err
	}
	r, err := d.root(ctx, a, key)
	if err != nil {
		return gone(err)
	}
	e := r.entry(id)
	if e == nil {
		return nil
	}
	d.snapshots.forget()
	if !e.Removing {
		e.Removing = true
		if err := r.save(ctx, a); err != nil {
			return err
		}
	}
	return r.removeAll(ctx, a, r.parts(e))
}

// Sweep removes the records of deployments that are gone, with what only they
// needed, and cluster-wide objects of an endpoint that is gone.
func (d *kubernetes) Sweep(ctx context.Context, key driver.Key, leftovers []driver.Leftover) error {
	a, err := d.connect()
	if err != nil {
		return err
	}
	d.snapshots.forget()
	for _, l := range leftovers {
		if l.Kind != clusterBindings.name {
			continue
		}
		o, err := notFound(a.get(ctx, clusterBindings, "", l.Name))
		if err != nil {
			return err
		}
		if o != nil && ours(o) && o.GetLabels()[labelNamespace] == key.Location && o.GetLabels()[labelEndpoint] == key.Name {
			if err := a.remove(ctx, clusterBindings, o); err != nil {
				return err
			}
		}
	}
	r, err := d.root(ctx, a, key)
	if err != nil {
		return gone(err)
	}
	live, err := d.live(ctx, a, r, r.kinds())
	if err != nil {
		return err
	}
	var dropped bool
	for i, e := range slices.Backward(r.Deployments) {
		if !e.Removing || !r.vanished(&e, live) {
			continue
		}
		r.drop(r.of(e.ID))
		r.Deployments = slices.Delete(r.Deployments, i, i+1)
		r.Shares = slices.DeleteFunc(r.Shares, func(s driver.Share) bool { return s.ID == e.ID })
		dropped = true
	}
	if !dropped {
		return nil
	}
	surplus := r.replace("", d.own(r))
	if err := r.save(ctx, a); err != nil || len(surplus) == 0 {
		return err
	}
	if err := r.removeAll(ctx, a, surplus); err != nil {
		return err
	}
	r.drop(surplus)
	return r.save(ctx, a)
}

// EndpointLeftovers are what Kubernetes does not collect with the root: the objects
// of the cluster.
func (d *kubernetes) EndpointLeftovers(ctx context.Context, key driver.Key) ([]driver.Leftover, error) {
	a, err := d.connect()
	if err != nil {
		return nil, err
	}
	found, err := a.list(ctx, clusterBindings, "", selecting(labelEndpoint, key.Name, labelNamespace, key.Location))
	if mlerr.Is(err, mlerr.PermissionDenied) { // who may not list them has not made any
		return nil, nil
	}
	var all []driver.Leftover
	for i := range found {
		all = append(all, driver.Leftover{Kind: clusterBindings.name, Name: found[i].GetName()})
	}
	return all, err
}

// DeleteEndpoint removes what the root does not own, and then the root, with
// everything that it owns before it.
func (d *kubernetes) DeleteEndpoint(ctx context.Context, seen *driver.EndpointState) error {
	a, err := d.connect()
	if err != nil {
		return err
	}
	d.snapshots.forget()
	r, err := d.root(ctx, a, seen.Key)
	if mlerr.Is(err, mlerr.NotFound) {
		if r, _, err = d.byHand(ctx, a, seen.Key); err != nil {
			return gone(err)
		}
	}
	if err != nil {
		return err
	}
	if err := r.removeAll(ctx, a, r.unowned()); err != nil {
		return err
	}
	if r.object.GetUID() == "" {
		return nil
	}
	return a.removeWhole(ctx, configMaps, r.object)
}

// unowned are the objects that do not go with the root.
func (r *root) unowned() []written {
	var all []written
	for _, w := range r.Objects {
		if w.kind().cluster {
			all = append(all, w)
		}
	}
	if r.Adopted == nil {
		return all
	}
	if r.Adopted.Service != "" {
		all = append(all, written{Kind: services.name, Name: r.Adopted.Service})
	}
	for i := range r.Deployments {
		if r.Deployments[i].Adopted != "" {
			all = append(all, r.parts(&r.Deployments[i])...)
		}
	}
	return all
}
