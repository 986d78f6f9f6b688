// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"context"
	"slices"
	"sort"

	"golang.org/x/sync/errgroup"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// root is the ConfigMap that an endpoint is: it owns everything that the endpoint
// is made of, and records what was applied. It is always written before what it
// records, so nothing of ours exists that it does not name.
type root struct {
	key    driver.Key
	object *object
	ledger
}

// ledger is what a root records.
type ledger struct {
	Settings    driver.Settings
	Deployments []entry
	Shares      []driver.Share // of the requests, as last set
	Objects     []written
	Adopted     *adopted // nil unless the endpoint was made by hand
}

// entry is one deployment that was begun.
type entry struct {
	ID string `json:"id"`
	driver.Deployment
	Carried  driver.Settings `json:"carried"`
	Start    int             `json:"start,omitempty"`    // replicas that it begins with
	Path     string          `json:"path,omitempty"`     // that predictions are sent to
	Port     int             `json:"port,omitempty"`     // that the server itself listens on
	Adopted  string          `json:"adopted,omitempty"`  // of one made by hand the kind of its workload
	Removing bool            `json:"removing,omitempty"` // nothing is to be left of it
}

// written is one object as it was applied.
type written struct {
	Kind       string         `json:"kind"`
	Name       string         `json:"name"`
	Deployment string         `json:"deployment,omitempty"` // ID of the one that it belongs to
	Content    map[string]any `json:"content"`
}

// The parts of a root's data.
const (
	dataSettings    = "settings.json"
	dataDeployments = "deployments.json"
	dataShares      = "traffic.json"
	dataObjects     = "objects.json"
	dataAdopted     = "adopted.json"
)

func rootName(endpoint string) string { return "mle-" + endpoint }

// root reads an endpoint's root. Absent is NotFound.
func (d *kubernetes) root(ctx context.Context, a *api, key driver.Key) (*root, error) {
	o, err := a.get(ctx, configMaps, key.Location, rootName(key.Name))
	if err != nil {
		return nil, err
	}
	return rootOf(key, o)
}

func rootOf(key driver.Key, o *object) (*root, error) {
	if !ours(o) || o.GetLabels()[labelEndpoint] != key.Name {
		return nil, mlerr.New(mlerr.NotFound, "the ConfigMap %s is not an endpoint's", o.GetName())
	}
	r := &root{key: key, object: o}
	var all mlerr.List
	all.Add(unmarshal(o, dataSettings, &r.Settings))
	all.Add(unmarshal(o, dataDeployments, &r.Deployments))
	all.Add(unmarshal(o, dataShares, &r.Shares))
	all.Add(unmarshal(o, dataObjects, &r.Objects))
	all.Add(unmarshal(o, dataAdopted, &r.Adopted))
	return r, all.Err()
}

// newRoot is a root that does not exist yet.
func newRoot(key driver.Key, labels map[string]string) *root {
	o := newObject(configMaps, key.Location, rootName(key.Name))
	r := &root{key: key, object: o}
	r.label(labels)
	note(o, noteWarning, "Deleting this deletes the endpoint "+key.Name)
	return r
}

// label sets the user's labels, and one for each version that is referred to.
func (r *root) label(user map[string]string) {
	labels := marked(user, labelKind, kindEndpoint, labelEndpoint, r.key.Name)
	for i := range r.Deployments {
		if ref := r.Deployments[i].Model; ref.Native == "" {
			labels[uses(ref)] = "true"
		}
	}
	r.object.SetLabels(labels)
}

// save writes the root, whether it exists or not. Conflict means that somebody else
// has written it since it was read.
func (r *root) save(ctx context.Context, a *api) error {
	r.label(labelsIn(r.object))
	content := map[string]any{dataSettings: text(r.Settings), dataDeployments: text(r.Deployments), dataShares: text(r.Shares), dataObjects: text(r.Objects)}
	if r.Adopted != nil {
		content[dataAdopted] = text(r.Adopted)
	}
	r.object.Object["data"] = content
	write := a.update
	if r.object.GetResourceVersion() == "" {
		write = a.create
	}
	o, err := write(ctx, configMaps, r.object)
	if err == nil {
		r.object = o
	}
	return err
}

// entry finds a deployment by its ID; nil if there is none.
func (r *root) entry(id string) *entry {
	for i := range r.Deployments {
		if r.Deployments[i].ID == id {
			return &r.Deployments[i]
		}
	}
	return nil
}

// of are the recorded objects of a deployment, or with "" of the endpoint itself.
func (r *root) of(id string) []written {
	var all []written
	for _, w := range r.Objects {
		if w.Deployment == id {
			all = append(all, w)
		}
	}
	return all
}

func (w *written) kind() *kind { return kinds[w.Kind] }

func (w *written) is(o *written) bool { return w.Kind == o.Kind && w.Name == o.Name }

// object is what is applied: the content, with the root as its owner. Another
// namespace's and the cluster's objects cannot be owned.
func (w *written) object(r *root) *object {
	o := &object{Object: w.Content}
	o = o.DeepCopy()
	if !w.kind().cluster {
		o.SetNamespace(r.key.Location)
		owner := ownedBy(r.object)
		block := true
		owner[0].BlockOwnerDeletion = &block
		o.SetOwnerReferences(owner)
	}
	return o
}

// writing is an object as it is to be applied.
func writing(k *kind, o *object, deployment string) written {
	return written{Kind: k.name, Name: o.GetName(), Deployment: deployment, Content: o.Object}
}

// replace makes the recorded objects of a deployment, or of the endpoint itself,
// those wanted, and returns those that are surplus. They stay recorded until they
// are removed.
func (r *root) replace(id string, wanted []written) (surplus []written) {
	r.Objects = slices.DeleteFunc(r.Objects, func(w written) bool {
		return w.Deployment == id && slices.ContainsFunc(wanted, func(o written) bool { return w.is(&o) })
	})
	for _, w := range r.Objects {
		if w.Deployment == id {
			surplus = append(surplus, w)
		}
	}
	r.Objects = append(r.Objects, wanted...)
	r.sort()
	return surplus
}

func (r *root) drop(gone []written) {
	r.Objects = slices.DeleteFunc(r.Objects, func(w written) bool {
		return slices.ContainsFunc(gone, func(g written) bool { return w.is(&g) })
	})
}

func (r *root) sort() {
	sort.SliceStable(r.Deployments, func(i, j int) bool { return r.Deployments[i].ID < r.Deployments[j].ID })
	sort.SliceStable(r.Objects, func(i, j int) bool {
		a, b := &r.Objects[i], &r.Objects[j]
		if a.Deployment != b.Deployment {
			return a.Deployment < b.Deployment
		}
		return a.Kind+a.Name < b.Kind+b.Name
	})
}

// parallel is how many requests one step makes at once.
const parallel = 8

// put applies objects that the saved root records. It makes sure before that none
// of them is somebody else's.
func (r *root) put(ctx context.Context, a *api, objects []written) error {
	// Whether somebody may bind a Role is decided by what it grants: it comes first.
	for _, bindings := range []bool{false, true} {
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(parallel)
		for i := range objects {
			if w := &objects[i]; (w.Kind == roleBindings.name) == bindings {
				group.Go(func() error { return r.putOne(ctx, a, w) })
			}
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
	return nil
}

func (r *root) putOne(ctx context.Context, a *api, w *written) error {
	live, err := r.own(ctx, a, w)
	if err != nil {
		return err
	}
	if err := handOver(ctx, a, w, live); err != nil {
		return err
	}
	_, err = a.apply(ctx, w.kind(), w.object(r))
	return err
}

// handOver gives the replica count that we own to the autoscaler that is to have it:
// left out of what is applied, it would fall back to one.
func handOver(ctx context.Context, a *api, w *written, live *object) error {
	spec, _ := w.Content["spec"].(map[string]any)
	if w.Kind != deployments.name || live == nil || spec["replicas"] != nil || !owns(live, fieldManager) {
		return nil
	}
	n, _, _ := nestedInt(live.Object, "spec", "replicas")
	return a.hand(ctx, live.GetNamespace(), live.GetName(), int(n))
}

// own returns the object as it is, nil if it is not there yet, and refuses one that
// is not ours.
func (r *root) own(ctx context.Context, a *api, w *written) (*object, error) {
	o, err := notFound(a.get(ctx, w.kind(), r.key.Location, w.Name))
	if err != nil || o == nil || r.Adopted != nil && r.Adopted.has(w) || ours(o) && o.GetLabels()[labelEndpoint] == r.key.Name {
		return o, err
	}
	return nil, mlerr.New(mlerr.AlreadyExists, "the %s %s exists in the namespace %s and was not made for the endpoint %s", w.Kind, w.Name, r.key.Location, r.key.Name).
		WithHint("Choose another name for the endpoint, or remove what stands in the way")
}

// removeAll deletes recorded objects. Absent is success, and so is one that is not
// ours any more.
func (r *root) removeAll(ctx context.Context, a *api, objects []written) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i := range objects {
		w := &objects[i]
		group.Go(func() error {
			o, err := a.get(ctx, w.kind(), r.key.Location, w.Name)
			if err != nil {
				return gone(err)
			}
			if r.Adopted != nil && r.Adopted.has(w) || ours(o) && o.GetLabels()[labelEndpoint] == r.key.Name {
				return a.removeWhole(ctx, w.kind(), o)
			}
			return nil
		})
	}
	return group.Wait()
}
