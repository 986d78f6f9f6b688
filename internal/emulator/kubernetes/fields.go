// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/applyconfigurations"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// builtinConverter knows the schemas of what is built in. Reading them takes 70 ms,
// so it is done when they are first needed.
var builtinConverter = sync.OnceValue(func() managedfields.TypeConverter { return applyconfigurations.NewTypeConverter(scheme()) })

// managers are the field managers that were made, by resource and subresource.
var managers sync.Map

func (r *resource) manager(subresource string) (*managedfields.FieldManager, error) {
	at := r.id() + "/" + subresource
	if m, ok := managers.Load(at); ok {
		if m, ok := m.(*managedfields.FieldManager); ok {
			return m, nil
		}
	}
	m, err := r.newManager(subresource)
	if err != nil {
		return nil, err
	}
	managers.Store(at, m)
	return m, nil
}

func (r *resource) newManager(subresource string) (*managedfields.FieldManager, error) {
	gv := r.gvk().GroupVersion()
	if r.crd == nil {
		return managedfields.NewDefaultFieldManager(builtinConverter(), scheme(), defaulter{r}, scheme(), r.gvk(), gv, subresource, r.reset(subresource))
	}
	if err := r.crd.load(); err != nil {
		return nil, err
	}
	return managedfields.NewDefaultCRDFieldManager(r.crd.converter, plain{}, defaulter{r}, maker{r}, r.gvk(), gv, subresource, r.reset(subresource))
}

// reset are the fields that a write to a subresource leaves alone.
func (r *resource) reset(subresource string) map[fieldpath.APIVersion]fieldpath.Filter {
	if !r.status {
		return nil
	}
	left := fieldpath.NewSet(fieldpath.MakePathOrDie("status"))
	if subresource == "status" {
		left = fieldpath.NewSet(fieldpath.MakePathOrDie("spec"), fieldpath.MakePathOrDie("metadata", "labels"))
		if r.crd != nil {
			left = fieldpath.NewSet(fieldpath.MakePathOrDie("spec"), fieldpath.MakePathOrDie("metadata"))
		}
	}
	return map[fieldpath.APIVersion]fieldpath.Filter{fieldpath.APIVersion(r.apiVersion()): fieldpath.NewExcludeSetFilter(left)}
}

// defaulter fills in defaults of what server-side apply has merged.
type defaulter struct{ r *resource }

func (d defaulter) Default(obj runtime.Object) { d.r.setDefaults(obj) }

// track writes down in the metadata who changed which fields.
func (w *world) track(r *resource, old, obj runtime.Object, manager, subresource string) (runtime.Object, error) {
	m, err := r.manager(subresource)
	if err != nil {
		return nil, err
	}
	live := old
	if live == nil {
		live = r.empty()
	}
	obj.GetObjectKind().SetGroupVersionKind(r.gvk())
	out := m.UpdateNoErrors(live.DeepCopyObject(), obj, manager)
	w.retime(old, out)
	out.GetObjectKind().SetGroupVersionKind(r.gvk())
	return out, nil
}

// retime puts the cluster's time in place of the machine's on what has just changed.
func (w *world) retime(old, obj runtime.Object) {
	var before []metav1.ManagedFieldsEntry
	if old != nil {
		before = metaOf(old).GetManagedFields()
	}
	m := metaOf(obj)
	entries := m.GetManagedFields()
	for i, e := range entries {
		changed := true
		for _, b := range before {
			if same(b, e) && b.Time.Equal(e.Time) {
				changed = false
			}
		}
		if changed && e.Time != nil {
			now := w.stamp()
			entries[i].Time = &now
		}
	}
	m.SetManagedFields(entries)
}

func same(a, b metav1.ManagedFieldsEntry) bool {
	return a.Manager == b.Manager && a.Operation == b.Operation && a.APIVersion == b.APIVersion && a.Subresource == b.Subresource
}
