// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"context"
	"slices"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

// edit changes the recorded content of a deployment's object of that kind, or puts
// another in its place, and returns what was changed.
func (r *root) edit(id string, k *kind, change func(content map[string]any), instead ...written) []written {
	var changed []written
	for i := range r.Objects {
		w := &r.Objects[i]
		if w.Deployment != id || w.Kind != k.name || len(instead) > 0 && !w.is(&instead[0]) {
			continue
		}
		change(w.Content)
		if len(instead) > 0 {
			*w = instead[0]
		}
		changed = append(changed, *w)
	}
	if len(changed) == 0 && len(instead) > 0 {
		r.Objects = append(r.Objects, instead[0])
		r.sort()
		return instead
	}
	return changed
}

// rebound writes a predictor's bounds into the recorded InferenceService.
func rebound(content map[string]any, e *entry) {
	spec, _ := content["spec"].(map[string]any)
	p, _ := spec["predictor"].(map[string]any)
	e.bound(p)
	metadata, _ := content["metadata"].(map[string]any)
	notes, _ := metadata["annotations"].(map[string]any)
	notes[kserveScaler] = e.scalerClass()
}

// SetScaling changes replica bounds, metrics and the budget. The pod template stays
// what it was when the deployment was made: another release's would restart it.
func (d *kubernetes) SetScaling(ctx context.Context, spec *driver.EndpointSpec, _ *driver.EndpointState, name string) error {
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
	e := r.entry(deploymentID(spec.Key, want, &spec.Settings))
	if e == nil {
		at := slices.IndexFunc(r.Deployments, func(e entry) bool { return e.Adopted != "" && e.Name == name })
		if at < 0 {
			return nil
		}
		e = &r.Deployments[at]
	}
	e.Scaling, e.Start = want.Scaling, 0
	changed, surplus := d.rescaled(r, e)
	d.snapshots.forget()
	if r.object.GetUID() == "" {
		err = d.settle(ctx, a, r)
	} else {
		err = r.save(ctx, a)
	}
	if err != nil {
		return err
	}
	// An autoscaler that is to go would take back what is set next.
	if err := r.removeAll(ctx, a, surplus); err != nil {
		return err
	}
	if err := r.put(ctx, a, changed); err != nil || len(surplus) == 0 {
		return err
	}
	r.drop(surplus)
	return r.save(ctx, a)
}

// rescaled writes the scaling of a deployment into its recorded objects. It returns
// what is to be applied, and what is to be removed.
func (d *kubernetes) rescaled(r *root, e *entry) (changed, surplus []written) {
	s := &serving{key: r.key, dep: e, settings: &e.Carried, cfg: &d.cfg}
	labels := labelsIn(r.object)
	if e.workloadKind() == inferenceServices {
		if e.Adopted != "" {
			o := with(newObject(inferenceServices, r.key.Location, e.ID), map[string]any{"spec": map[string]any{"predictor": map[string]any{}}})
			spec, _ := o.Object["spec"].(map[string]any)
			p, _ := spec["predictor"].(map[string]any)
			e.bound(p)
			return r.edit(e.ID, inferenceServices, func(map[string]any) {}, writing(inferenceServices, o, e.ID)), nil
		}
		return r.edit(e.ID, inferenceServices, func(content map[string]any) { rebound(content, e) }), nil
	}
	count := func(content map[string]any) {
		spec, _ := content["spec"].(map[string]any)
		if spec["replicas"] = int64(e.Scaling.Min); e.Scaling.Automatic() {
			delete(spec, "replicas")
		}
	}
	switch {
	case e.Adopted == "":
		changed = r.edit(e.ID, deployments, count)
	case !e.Scaling.Automatic():
		o := with(newObject(deployments, r.key.Location, e.ID), map[string]any{"spec": map[string]any{"replicas": e.Scaling.Min}})
		changed = r.edit(e.ID, deployments, func(map[string]any) {}, writing(deployments, o, e.ID))
	}
	scaler, budget := s.autoscaler(labels), s.budget(labels)
	if e.Adopted != "" {
		budget = written{}
		if r.Adopted.Scaler != "" {
			scaler.Name = r.Adopted.Scaler
			(&object{Object: scaler.Content}).SetName(scaler.Name)
		}
	}
	keep := func(w written, wanted bool) {
		switch {
		case w.Name == "":
		case wanted:
			changed = append(changed, r.edit(e.ID, w.kind(), func(map[string]any) {}, w)...)
		default:
			surplus = append(surplus, w)
		}
	}
	keep(scaler, e.Scaling.Automatic())
	keep(budget, e.Scaling.Max > 1)
	return changed, surplus
}
