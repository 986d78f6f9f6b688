// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// ObserveEndpoint reads an endpoint: its root, and what the root records. With known,
// of an endpoint that is settled, the whole namespace is read at once and shared; of
// one that is not, only what moves.
func (d *kubernetes) ObserveEndpoint(ctx context.Context, key driver.Key, known *driver.EndpointState) (*driver.EndpointState, error) {
	a, err := d.connect()
	if err != nil {
		return nil, err
	}
	if known != nil && !moves(known) {
		return d.refresh(ctx, a, key)
	}
	r, err := d.root(ctx, a, key)
	if mlerr.Is(err, mlerr.NotFound) {
		r, live, err := d.byHand(ctx, a, key)
		if err != nil {
			return nil, err
		}
		return d.state(ctx, a, r, live)
	}
	if err != nil {
		return nil, err
	}
	if known != nil && r.recorded(known) {
		if s, err := d.progress(ctx, a, r, known); s != nil || err != nil {
			return s, err
		}
	}
	live, err := d.live(ctx, a, r, r.kinds())
	if err != nil {
		return nil, err
	}
	return d.state(ctx, a, r, live)
}

// recorded reports whether a root records just the deployments of a state, none of
// them on its way out.
func (r *root) recorded(s *driver.EndpointState) bool {
	return len(r.Deployments) == len(s.Deployments) && !slices.ContainsFunc(s.Deployments, func(d driver.DeploymentState) bool {
		e := r.entry(d.ID)
		return e == nil || e.Removing
	})
}

// progress reads how far the deployments of a known state are, and nothing else. It is
// nil when a workload is gone: what there is to mend only a full reading tells.
func (d *kubernetes) progress(ctx context.Context, a *api, r *root, known *driver.EndpointState) (*driver.EndpointState, error) {
	needed := map[*kind]bool{}
	for k := range r.kinds() {
		needed[k] = k == deployments || k == inferenceServices || k == routes || k == securityPolicies || k == certificates
	}
	maps.DeleteFunc(needed, func(_ *kind, wanted bool) bool { return !wanted })
	live, err := d.live(ctx, a, r, needed)
	if err != nil {
		return nil, err
	}
	s := *known
	s.Deployments = slices.Clone(known.Deployments)
	reached, why := d.reached(a, r, live)
	for i := range s.Deployments {
		dep := &s.Deployments[i]
		e := r.entry(dep.ID)
		if live.find(e.workloadKind(), e.ID) == nil {
			return nil, nil //nolint:nilnil // as documented
		}
		h, err := d.healthOf(ctx, a, r, e, live, dep.Traffic > 0)
		if err != nil {
			return nil, err
		}
		if h.phase == driver.Ready && dep.Traffic > 0 && reached != driver.Ready {
			h.phase, h.reason = reached, why
		}
		dep.Phase, dep.Reason, dep.Replicas = h.phase, h.reason, h.replicas
	}
	return &s, nil
}

func moves(s *driver.EndpointState) bool {
	return slices.ContainsFunc(s.Deployments, func(d driver.DeploymentState) bool { return d.Phase != driver.Ready })
}

// refresh reads from the namespace's snapshot.
func (d *kubernetes) refresh(ctx context.Context, a *api, key driver.Key) (*driver.EndpointState, error) {
	shared, err := d.snapshots.read(ctx, a, key.Location)
	if err != nil {
		return nil, err
	}
	o := shared.find(configMaps, rootName(key.Name))
	if o == nil {
		r, live, err := d.byHand(ctx, a, key)
		if err != nil {
			return nil, err
		}
		return d.state(ctx, a, r, live)
	}
	r, err := rootOf(key, o)
	if err != nil {
		return nil, err
	}
	if r.Adopted != nil { // whose objects do not have our labels
		if shared, err = d.live(ctx, a, r, r.kinds()); err != nil {
			return nil, err
		}
	}
	return d.state(ctx, a, r, shared)
}

// live reads what a root records of some kinds, each in one call.
func (d *kubernetes) live(ctx context.Context, a *api, r *root, needed map[*kind]bool) (*snapshot, error) {
	live := &snapshot{objects: map[*kind]map[string]*object{}}
	if err := live.listAll(ctx, a, r.key.Location, needed, selecting(labelEndpoint, r.key.Name)); err != nil {
		return nil, err
	}
	if ad := r.Adopted; ad != nil {
		for _, w := range []written{{Kind: ad.Kind, Name: ad.Name}, {Kind: services.name, Name: ad.Service}, {Kind: autoscalers.name, Name: ad.Scaler}} {
			if w.Name == "" || live.find(w.kind(), w.Name) != nil {
				continue
			}
			o, err := notFound(a.get(ctx, w.kind(), r.key.Location, w.Name))
			if err != nil {
				return nil, err
			}
			if o != nil {
				if live.objects[w.kind()] == nil {
					live.objects[w.kind()] = map[string]*object{}
				}
				live.objects[w.kind()][w.Name] = o
			}
		}
	}
	return live, nil
}

// state translates what was read.
func (d *kubernetes) state(ctx context.Context, a *api, r *root, live *snapshot) (*driver.EndpointState, error) {
	s := &driver.EndpointState{Key: r.key, NativeID: r.key.Location + "/" + r.key.Name, Phase: driver.Ready, Settings: r.Settings,
		InvokePolicy: invokePolicy(r.key, &r.Settings)}
	if exists := r.object.GetUID() != ""; exists {
		s.Marks = driver.Marks{Owned: true, Incomplete: noted(r.object, noteIncomplete), Untested: noted(r.object, noteUntested)}
		s.Labels, s.Created = labelsIn(r.object), r.object.GetCreationTimestamp().UTC()
		s.Repair = d.repair(r, live)
		if r.object.GetDeletionTimestamp() != nil {
			s.Phase = driver.Deleting
		}
	}
	shares := r.shares(live)
	reached, why := d.reached(a, r, live)
	for i := range r.Deployments {
		e := &r.Deployments[i]
		if e.Removing && r.vanished(e, live) {
			s.Leftovers = append(s.Leftovers, driver.Leftover{Kind: leftoverRecord, Name: e.ID})
			continue
		}
		share := shares[e.ID]
		h, err := d.healthOf(ctx, a, r, e, live, share.Traffic > 0)
		if err != nil {
			return nil, err
		}
		if e.Removing && r.leaving(e, live) {
			h.phase = driver.Deleting
		}
		if h.phase == driver.Ready && share.Traffic > 0 && reached != driver.Ready {
			h.phase, h.reason = reached, why
		}
		dep := driver.DeploymentState{Deployment: e.Deployment, ID: e.ID, Owned: s.Marks.Owned, Phase: h.phase, Reason: h.reason, Replicas: h.replicas,
			Carried: e.Carried, Repair: r.damage(e, live, h)}
		dep.Traffic, dep.Mirror = share.Traffic, share.Mirror
		dep.Scaling = d.scaling(e, r, live, h)
		s.Deployments = append(s.Deployments, dep)
	}
	sort.SliceStable(s.Deployments, func(i, j int) bool {
		a, b := &s.Deployments[i], &s.Deployments[j]
		return a.Name < b.Name || a.Name == b.Name && a.ID < b.ID
	})
	var err error
	s.URL, err = d.url(ctx, a, r)
	return s, err
}

// Kinds of leftovers.
const leftoverRecord = "record of deployment"

// vanished reports whether nothing is left of a deployment.
func (r *root) vanished(e *entry, live *snapshot) bool {
	for _, w := range r.parts(e) {
		if live.find(w.kind(), w.Name) != nil {
			return false
		}
	}
	return true
}

// leaving reports whether all that is left of a deployment was told to go.
func (r *root) leaving(e *entry, live *snapshot) bool {
	for _, w := range r.parts(e) {
		if o := live.find(w.kind(), w.Name); o != nil && o.GetDeletionTimestamp() == nil {
			return false
		}
	}
	return true
}

// parts are the objects of a deployment, ours or adopted.
func (r *root) parts(e *entry) []written {
	if e.Adopted == "" {
		return r.of(e.ID)
	}
	all := []written{{Kind: r.Adopted.Kind, Name: r.Adopted.Name}}
	if r.Adopted.Scaler != "" {
		all = append(all, written{Kind: autoscalers.name, Name: r.Adopted.Scaler})
	}
	return all
}

// repair says what of the endpoint's own objects is not as it was applied, or not as
// the provider's configuration now wants it.
func (d *kubernetes) repair(r *root, live *snapshot) string {
	for _, w := range r.of("") {
		if why := w.damage(live.find(w.kind(), w.Name)); why != "" {
			return why
		}
	}
	for _, w := range r.front(&d.cfg, labelsIn(r.object)) {
		at := slices.IndexFunc(r.Objects, func(o written) bool { return o.is(&w) })
		if at < 0 {
			return fmt.Sprintf("the endpoint has no %s %s, and the provider's gateway wants one", w.Kind, w.Name)
		}
		if w.Kind == routes.name && differs("", parentsAndHosts(w.Content), r.Objects[at].Content) != "" {
			return "the HTTPRoute " + w.Name + " is attached to another gateway than the provider's"
		}
	}
	return ""
}

func parentsAndHosts(route map[string]any) map[string]any {
	spec, _ := route["spec"].(map[string]any)
	wanted := map[string]any{"parentRefs": spec["parentRefs"]}
	if hosts, ok := spec["hostnames"]; ok {
		wanted["hostnames"] = hosts
	}
	return map[string]any{"spec": plain(wanted)}
}

// damage says what of a deployment's objects is not as it was applied.
func (r *root) damage(e *entry, live *snapshot, h health) string {
	switch {
	case e.Adopted != "" || h.phase == driver.Deleting:
		return ""
	case e.Removing: // and wanted again, or it will be removed
		return "its removal was begun"
	}
	for _, w := range r.of(e.ID) {
		if w.Kind == autoscalers.name {
			continue // shown as scaling
		}
		if why := w.damage(live.find(w.kind(), w.Name)); why != "" {
			return why
		}
	}
	if o := live.find(deployments, e.ID); o != nil && e.Scaling.Automatic() && e.Start > 1 && unscaled(o) {
		return "its first replicas were not asked for"
	}
	return ""
}

// unscaled reports whether nobody has ever set a Deployment's replica count.
func unscaled(o *object) bool { return !owns(o, "") }

// owns reports whether a field manager owns a Deployment's replica count; "" is any.
func owns(o *object, manager string) bool {
	for _, f := range o.GetManagedFields() {
		if f.FieldsV1 != nil && f.Subresource != "status" && (manager == "" || f.Manager == manager) && strings.Contains(f.FieldsV1.GetRawString(), `"f:replicas"`) {
			return true
		}
	}
	return false
}

// shares are the parts of the requests as the front now gives them, by deployment.
func (r *root) shares(live *snapshot) map[string]driver.Share {
	all := map[string]driver.Share{}
	for i := range r.Deployments {
		all[r.Deployments[i].ID] = driver.Share{ID: r.Deployments[i].ID, Name: r.Deployments[i].Name}
	}
	front := r.of("")
	at := slices.IndexFunc(front, func(w written) bool { return w.Kind == routes.name })
	if at < 0 {
		r.selected(all, live)
		return all
	}
	route := live.find(routes, front[at].Name)
	if route == nil {
		return all
	}
	rules, _, _ := nestedSlice(route.Object, "spec", "rules")
	if len(rules) == 0 {
		return all
	}
	rule, _ := rules[0].(map[string]any)
	weights, sum := map[string]int64{}, int64(0)
	backends, _ := rule["backendRefs"].([]any)
	for _, v := range backends {
		b, _ := v.(map[string]any)
		name, _ := b["name"].(string)
		weight, ok := b["weight"].(int64)
		if !ok {
			weight = 1
		}
		weights[name] += weight
		sum += weight
	}
	mirrors := mirrorsOf(rule)
	for id, s := range all {
		if sum > 0 {
			s.Traffic = int(math.Round(100 * float64(weights[r.backend(id)]) / float64(sum)))
		}
		s.Mirror = mirrors[r.backend(id)]
		all[id] = s
	}
	return all
}

func mirrorsOf(rule map[string]any) map[string]int {
	all := map[string]int{}
	filters, _ := rule["filters"].([]any)
	for _, v := range filters {
		f, _ := v.(map[string]any)
		mirror, _ := f["requestMirror"].(map[string]any)
		if mirror == nil {
			continue
		}
		backend, _ := mirror["backendRef"].(map[string]any)
		name, _ := backend["name"].(string)
		percent, ok := mirror["percent"].(int64)
		if !ok {
			percent = 100
		}
		all[name] = int(percent)
	}
	return all
}

// selected reads off the Service in front which deployment it selects.
func (r *root) selected(all map[string]driver.Share, live *snapshot) {
	name := r.key.Name
	if r.Adopted != nil && r.Adopted.Service != "" {
		name = r.Adopted.Service
	}
	front := live.find(services, name)
	if front == nil {
		if r.Adopted != nil && r.Adopted.Service == "" && r.object.GetUID() == "" { // reached as its callers always have
			all[r.Adopted.Name] = driver.Share{ID: r.Adopted.Name, Name: deploymentName, Traffic: 100}
		}
		return
	}
	selector, _, _ := nestedMap(front.Object, "spec", "selector")
	for id, s := range all {
		e := r.entry(id)
		if len(selector) == 1 && selector[labelID] == id || e.Adopted != "" && reflectEqual(selector, r.Adopted.Selector) {
			s.Traffic = 100
		}
		all[id] = s
	}
}

func reflectEqual(have map[string]any, want map[string]string) bool {
	if len(have) != len(want) {
		return false
	}
	for k, v := range want {
		if have[k] != v {
			return false
		}
	}
	return true
}

// scaling is what bounds the replicas now.
func (d *kubernetes) scaling(e *entry, r *root, live *snapshot, h health) driver.Scaling {
	recorded := e.Scaling
	if e.Adopted != "" && r.object.GetUID() == "" {
		return recorded // just read
	}
	if e.workloadKind() == inferenceServices {
		return predictorScaling(e, live.find(inferenceServices, e.ID))
	}
	if !recorded.Automatic() {
		if live.find(deployments, e.ID) != nil {
			recorded.Min, recorded.Max = h.replicas, h.replicas
		}
		return recorded
	}
	name := e.ID
	if e.Adopted != "" && r.Adopted.Scaler != "" {
		name = r.Adopted.Scaler
	}
	o := live.find(autoscalers, name)
	if o == nil {
		return driver.Scaling{Min: h.replicas, Max: h.replicas}
	}
	scaler, err := convert[autoscalingv2.HorizontalPodAutoscaler](o)
	if err != nil {
		return driver.Scaling{}
	}
	now, _ := d.cfg.scalingOf(scaler)
	now.ScaleInCooldown, now.ScaleOutCooldown = recorded.ScaleInCooldown, recorded.ScaleOutCooldown
	at := slices.IndexFunc(r.Objects, func(w written) bool { return w.Kind == autoscalers.name && w.Name == name })
	if at >= 0 && differs("", map[string]any{"spec": r.Objects[at].Content["spec"]}, o.Object) == "" {
		return recorded
	}
	return now
}

func predictorScaling(e *entry, o *object) driver.Scaling {
	s := e.Scaling
	if o == nil {
		return s
	}
	p, _, _ := nestedMap(o.Object, "spec", "predictor")
	if n, ok := p["minReplicas"].(int64); ok && int(n) != max(s.Min, e.Start) {
		s.Min = int(n)
	}
	if n, ok := p["maxReplicas"].(int64); ok {
		s.Max = int(n)
	}
	return s
}
