// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"context"
	"slices"
	"strings"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// CreateEndpoint makes the root and the endpoint's own objects. The front sends
// requests to nobody yet.
func (d *kubernetes) CreateEndpoint(ctx context.Context, spec *driver.EndpointSpec) error {
	a, err := d.connect()
	if err != nil {
		return err
	}
	r := newRoot(spec.Key, spec.Labels)
	note(r.object, noteIncomplete, "true")
	r.Settings = spec.Settings
	d.snapshots.forget()
	err = d.settle(ctx, a, r)
	if !mlerr.Is(err, mlerr.AlreadyExists) || r.object.GetUID() != "" {
		return err
	}
	now, read := a.get(ctx, configMaps, spec.Key.Location, rootName(spec.Key.Name))
	switch {
	case mlerr.Is(read, mlerr.NotFound), read == nil && now.GetDeletionTimestamp() != nil:
		return mlerr.New(mlerr.Busy, "the endpoint %s is still being deleted", spec.Key.Name)
	case read != nil:
		return read
	}
	if _, other := rootOf(spec.Key, now); other != nil {
		return err
	}
	return nil
}

// settle makes the endpoint's own objects what its root says, and removes those that
// are surplus.
func (d *kubernetes) settle(ctx context.Context, a *api, r *root) error {
	wanted := d.own(r)
	surplus := r.replace("", wanted)
	if err := r.save(ctx, a); err != nil {
		return err
	}
	if err := d.keys(ctx, a, r); err != nil {
		return err
	}
	if err := r.put(ctx, a, wanted); err != nil {
		return err
	}
	if len(surplus) == 0 {
		return nil
	}
	if err := r.removeAll(ctx, a, surplus); err != nil {
		return err
	}
	r.drop(surplus)
	return r.save(ctx, a)
}

// own are the objects that belong to no deployment alone. What a deployment was made
// with stays for as long as it does.
func (d *kubernetes) own(r *root) []written {
	labels := labelsIn(r.object)
	all := append(r.front(&d.cfg, labels), r.networkPolicy(&d.cfg, labels))
	settings := []*driver.Settings{&r.Settings}
	for i := range r.Deployments {
		if r.Deployments[i].Adopted == "" {
			settings = append(settings, &r.Deployments[i].Carried)
		}
	}
	for _, s := range settings {
		for _, w := range accessObjects(r.key, labels, s) {
			if !slices.ContainsFunc(all, func(o written) bool { return o.is(&w) }) {
				all = append(all, w)
			}
		}
	}
	return all
}

// held returns the endpoint's root. One that was made by hand gets one, which is not
// saved yet.
func (d *kubernetes) held(ctx context.Context, a *api, spec *driver.EndpointSpec) (*root, error) {
	r, err := d.root(ctx, a, spec.Key)
	if !mlerr.Is(err, mlerr.NotFound) {
		return r, err
	}
	r, _, err = d.byHand(ctx, a, spec.Key)
	if err != nil {
		return nil, err
	}
	r.label(spec.Labels)
	return r, nil
}

// UpdateSettings makes the endpoint's own objects what spec says, and again what
// they were.
func (d *kubernetes) UpdateSettings(ctx context.Context, spec *driver.EndpointSpec, _ *driver.EndpointState) error {
	a, err := d.connect()
	if err != nil {
		return err
	}
	r, err := d.held(ctx, a, spec)
	if err != nil {
		return err
	}
	r.Settings = spec.Settings
	d.snapshots.forget()
	return d.settle(ctx, a, r)
}

// Deploy makes the objects of one deployment, or makes them whole.
func (d *kubernetes) Deploy(ctx context.Context, spec *driver.EndpointSpec, _ *driver.EndpointState, name string, replicas int) error {
	a, err := d.connect()
	if err != nil {
		return err
	}
	r, err := d.held(ctx, a, spec)
	if err != nil {
		return err
	}
	want := spec.Find(name)
	if want == nil {
		return nil
	}
	s, err := d.prepared(ctx, r, want, spec, replicas)
	if err != nil {
		return err
	}
	objects, err := s.objects(labelsIn(r.object))
	if err != nil {
		return mlerr.New(mlerr.CodeOf(err), "model version %s cannot be served here", want.Model).Because(err).At("deployments.%s.model", name)
	}
	if spec.SmokeTest != nil {
		note(r.object, noteUntested, "true")
	}
	adopting := r.object.GetUID() == ""
	surplus := r.replace(s.dep.ID, objects)
	d.snapshots.forget()
	if adopting {
		err = d.settle(ctx, a, r)
	} else {
		err = r.save(ctx, a)
	}
	if err != nil {
		return err
	}
	// The version cannot be removed from here on; it must not have been just before.
	if _, err := d.version(ctx, want.Model); err != nil {
		return err
	}
	if err := r.put(ctx, a, objects); err != nil {
		return err
	}
	if err := r.removeAll(ctx, a, surplus); err != nil {
		return err
	}
	return d.start(ctx, a, r, s.dep)
}

// prepared records a wanted deployment in the root, and gathers what its objects are
// made from.
func (d *kubernetes) prepared(ctx context.Context, r *root, want *driver.Deployment, spec *driver.EndpointSpec, replicas int) (*serving, error) {
	if want.Model.Native != "" {
		return nil, mlerr.New(mlerr.Unsupported, "%s is no version of an ml_model, and cannot be deployed anew", want.Model.Native).At("deployments.%s.model", want.Name).
			WithHint("Register the model as an ml_model on kubernetes and refer to its version_id")
	}
	if r.Adopted != nil && r.Adopted.Kind == inferenceServices.name && r.object.GetUID() == "" {
		return nil, mlerr.New(mlerr.Unsupported, "callers reach the InferenceService %s at an address of KServe's, which a new deployment could not take over", r.Adopted.Name).
			At("deployments.%s", want.Name).WithHint("Make an ml_endpoint of another name beside it, move the callers, and destroy this one")
	}
	record, err := d.version(ctx, want.Model)
	if err != nil {
		return nil, err
	}
	id := deploymentID(spec.Key, want, &spec.Settings)
	e := r.entry(id)
	if e == nil {
		r.Deployments = append(r.Deployments, entry{ID: id, Deployment: *want, Carried: spec.Settings, Start: replicas})
		r.sort()
		e = r.entry(id)
		e.Traffic, e.Mirror = 0, 0
	}
	e.Removing = false
	s := &serving{key: spec.Key, dep: e, settings: &e.Carried, cfg: &d.cfg, sums: data(record)[dataSums] != ""}
	if err := unmarshal(record, dataRecord, &s.version); err != nil {
		return nil, err
	}
	c, err := s.contract()
	if err != nil {
		return nil, mlerr.New(mlerr.CodeOf(err), "model version %s cannot be served here", want.Model).Because(err).At("deployments.%s.model", want.Name)
	}
	if s.version.Serving.GRPCPort > 0 && guarded(s.settings) {
		return nil, mlerr.New(mlerr.Unsupported, "with auth mode %s, requests reach the model over HTTP only, and version %s has a grpc_port", spec.Settings.Auth.Mode, want.Model).
			At("deployments.%s.model", want.Name).WithHint("Leave serving.grpc_port out of the ml_model, or use auth.mode = \"none\" in a private network")
	}
	e.Path, e.Port = c.PredictPath, c.Port
	return s, nil
}

// start asks for the first replicas of a deployment that is autoscaled: as many as
// the one has that it is to take over from.
func (d *kubernetes) start(ctx context.Context, a *api, r *root, e *entry) error {
	if !e.Scaling.Automatic() || e.Start <= 1 || e.workloadKind() != deployments {
		return nil
	}
	o, err := a.get(ctx, deployments, r.key.Location, e.ID)
	if err != nil || !unscaled(o) {
		return err
	}
	return a.hand(ctx, r.key.Location, e.ID, e.Start)
}

// SetTraffic tells the front who gets which share.
func (d *kubernetes) SetTraffic(ctx context.Context, spec *driver.EndpointSpec, seen *driver.EndpointState, shares []driver.Share) error {
	a, err := d.connect()
	if err != nil {
		return err
	}
	r, err := d.held(ctx, a, spec)
	if err != nil {
		return err
	}
	if err := d.admitted(ctx, a, r); err != nil {
		return err
	}
	r.Shares = merged(seen, shares)
	wanted := r.front(&d.cfg, labelsIn(r.object))
	var changed []written
	for i := range r.Deployments {
		e := &r.Deployments[i]
		if e.workloadKind() != inferenceServices || e.Adopted != "" || e.Start <= e.Scaling.Min || !hasTraffic(r.Shares, e.ID) {
			continue
		}
		e.Start = 0 // it has taken over; from here on its autoscaler decides
		changed = append(changed, r.edit(e.ID, inferenceServices, func(content map[string]any) { rebound(content, e) })...)
	}
	for _, w := range wanted {
		r.edit("", w.kind(), func(map[string]any) {}, w)
	}
	d.snapshots.forget()
	if err := r.save(ctx, a); err != nil {
		return err
	}
	return r.put(ctx, a, append(wanted, changed...))
}

func hasTraffic(shares []driver.Share, id string) bool {
	return slices.ContainsFunc(shares, func(s driver.Share) bool { return s.ID == id && s.Traffic > 0 })
}

// merged are the shares of all deployments: those given, and what others have.
func merged(seen *driver.EndpointState, shares []driver.Share) []driver.Share {
	all := slices.Clone(shares)
	for i := range seen.Deployments {
		now := &seen.Deployments[i]
		if !slices.ContainsFunc(all, func(s driver.Share) bool { return s.ID == now.ID }) {
			all = append(all, driver.Share{ID: now.ID, Name: now.Name, Traffic: now.Traffic, Mirror: now.Mirror})
		}
	}
	all = slices.DeleteFunc(all, func(s driver.Share) bool { return s.Traffic == 0 && s.Mirror == 0 })
	slices.SortFunc(all, func(a, b driver.Share) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// admitted holds requests back until the gateway checks who sends them.
func (d *kubernetes) admitted(ctx context.Context, a *api, r *root) error {
	if !d.cfg.routed(&r.Settings) || !atGateway(&r.Settings) {
		return nil
	}
	o, err := a.get(ctx, securityPolicies, r.key.Location, r.key.Name)
	if err != nil {
		return err
	}
	switch phase, reason := accepted(a, o, "status", "ancestors"); phase {
	case driver.Ready:
		return nil
	case driver.Failed:
		return mlerr.New(mlerr.Failed, "requests would not be checked: %s", reason).WithHint("See that Envoy Gateway runs and serves the Gateway %s", d.cfg.Gateway.Name)
	default:
		return mlerr.New(mlerr.Busy, "requests would not be checked yet: %s", reason)
	}
}

// SetLabels labels everything but pods, which it would restart, and then ends the
// creation or the test.
func (d *kubernetes) SetLabels(ctx context.Context, spec *driver.EndpointSpec, seen *driver.EndpointState) error {
	a, err := d.connect()
	if err != nil {
		return err
	}
	r, err := d.held(ctx, a, spec)
	if err != nil {
		return err
	}
	d.snapshots.forget()
	r.label(spec.Labels)
	if r.object.GetUID() == "" {
		if err := d.settle(ctx, a, r); err != nil {
			return err
		}
	} else if text(clone(seen.Labels)) != text(clone(spec.Labels)) {
		changed := r.relabel(spec.Labels)
		if err := r.save(ctx, a); err != nil {
			return err
		}
		if err := r.put(ctx, a, changed); err != nil {
			return err
		}
	}
	note(r.object, noteIncomplete, "")
	note(r.object, noteUntested, "")
	return r.save(ctx, a)
}

// relabel writes the user's labels into the recorded objects, and returns those that
// are to be applied again.
func (r *root) relabel(user map[string]string) []written {
	var changed []written
	for i := range r.Objects {
		w := &r.Objects[i]
		if e := r.entry(w.Deployment); w.Kind == inferenceServices.name || e != nil && e.Removing {
			continue // pods would restart; what is gone would come back
		}
		o := &object{Object: w.Content}
		labels := map[string]string{}
		for k, v := range o.GetLabels() {
			if reserved(k) {
				labels[k] = v
			}
		}
		for k, v := range user {
			if !reserved(k) {
				labels[k] = v
			}
		}
		o.SetLabels(labels)
		changed = append(changed, *w)
	}
	return changed
}
