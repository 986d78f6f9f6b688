// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"bytes"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// locate finds an object by its UID.
func (w *world) locate(uid string) (*resource, runtime.Object, error) {
	var at string
	found, err := w.tx.Get(docUID, uid, &at)
	if err != nil || !found {
		return nil, nil, err
	}
	parts := strings.SplitN(at, "/", 3)
	r := catalog()[parts[0]]
	obj, err := w.get(r, parts[1], parts[2])
	return r, obj, err
}

// stays reports that an object is there and not on its way out, as far as that can be
// told without reading all of it.
func (w *world) stays(uid string) (bool, error) {
	var at string
	found, err := w.tx.Get(docUID, uid, &at)
	if err != nil || !found {
		return false, err
	}
	id, rest, _ := strings.Cut(at, "/")
	data, err := w.tx.Raw(docObject+id, rest)
	return data != nil && !bytes.Contains(data, []byte("deletionTimestamp")), err
}

// dependent is an object that another owns.
type dependent struct {
	r   *resource
	obj runtime.Object
}

func (w *world) dependents(uid string) ([]dependent, error) {
	keys, err := w.tx.Keys(docOwned, uid+"/", "", 0)
	if err != nil {
		return nil, err
	}
	var found []dependent
	for _, k := range keys {
		parts := strings.SplitN(k, "/", 4)
		r := catalog()[parts[1]]
		obj, err := w.get(r, parts[2], parts[3])
		if err != nil {
			return nil, err
		}
		if obj != nil {
			found = append(found, dependent{r, obj})
		}
	}
	return found, nil
}

// collect is the garbage collector at an owner that is gone or on its way out.
func collect(w *world, _, uid string) error {
	if stays, err := w.stays(uid); err != nil || stays {
		return err
	}
	r, owner, err := w.locate(uid)
	if err != nil {
		return err
	}
	all, err := w.dependents(uid)
	if err != nil {
		return err
	}
	if owner == nil {
		for _, d := range all {
			if err := w.disown(d, ""); err != nil {
				return err
			}
		}
		return nil
	}
	m := metaOf(owner)
	switch {
	case m.GetDeletionTimestamp() == nil:
		return nil
	case slices.Contains(m.GetFinalizers(), metav1.FinalizerOrphanDependents):
		for _, d := range all {
			if err := w.release(d, uid); err != nil {
				return err
			}
		}
		return w.unfinalize(r, owner, metav1.FinalizerOrphanDependents)
	case slices.Contains(m.GetFinalizers(), metav1.FinalizerDeleteDependents):
		return w.collectForeground(r, owner, all)
	}
	return nil
}

// collectForeground removes the dependents first.
func (w *world) collectForeground(r *resource, owner runtime.Object, all []dependent) error {
	blocked := false
	for _, d := range all {
		m := metaOf(d.obj)
		for _, o := range m.GetOwnerReferences() {
			if o.UID == metaOf(owner).GetUID() && o.BlockOwnerDeletion != nil && *o.BlockOwnerDeletion {
				blocked = true
			}
		}
		if m.GetDeletionTimestamp() != nil {
			continue
		}
		if err := w.disown(d, metav1.DeletePropagationForeground); err != nil {
			return err
		}
	}
	if blocked {
		if all, err := w.dependents(string(metaOf(owner).GetUID())); err != nil || len(all) > 0 {
			return err
		}
	}
	return w.unfinalize(r, owner, metav1.FinalizerDeleteDependents)
}

func (w *world) unfinalize(r *resource, obj runtime.Object, finalizer string) error {
	now, err := w.get(r, metaOf(obj).GetNamespace(), metaOf(obj).GetName())
	if err != nil || now == nil {
		return err
	}
	next := now.DeepCopyObject()
	m := metaOf(next)
	m.SetFinalizers(slices.DeleteFunc(slices.Clone(m.GetFinalizers()), func(f string) bool { return f == finalizer }))
	_, err = w.update(r, now, next, author{})
	return err
}

// disown deletes a dependent that has no other owner, or else takes dead owners from it.
func (w *world) disown(d dependent, policy metav1.DeletionPropagation) error {
	alive := false
	m := metaOf(d.obj)
	var kept []metav1.OwnerReference
	for _, o := range m.GetOwnerReferences() {
		lives, err := w.lives(o, m.GetNamespace())
		if err != nil {
			return err
		}
		if lives {
			alive, kept = true, append(kept, o)
		}
	}
	if !alive {
		_, _, err := w.delete(d.r, d.obj, deletion{propagation: policy, uid: uidOf(m)})
		return err
	}
	if len(kept) == len(m.GetOwnerReferences()) {
		return nil
	}
	next := d.obj.DeepCopyObject()
	metaOf(next).SetOwnerReferences(kept)
	_, err := w.update(d.r, d.obj, next, author{})
	return err
}

// lives reports whether an owner is there and is to stay.
func (w *world) lives(o metav1.OwnerReference, ns string) (bool, error) {
	r, owner, err := w.locate(string(o.UID))
	if err != nil || owner == nil {
		return false, err
	}
	m := metaOf(owner)
	return r.kind == o.Kind && m.GetName() == o.Name && (r.cluster || m.GetNamespace() == ns) &&
		(m.GetDeletionTimestamp() == nil || !slices.Contains(m.GetFinalizers(), metav1.FinalizerDeleteDependents)), nil
}

// release takes an owner from a dependent that is to outlive it.
func (w *world) release(d dependent, uid string) error {
	next := d.obj.DeepCopyObject()
	m := metaOf(next)
	m.SetOwnerReferences(slices.DeleteFunc(slices.Clone(m.GetOwnerReferences()), func(o metav1.OwnerReference) bool { return string(o.UID) == uid }))
	_, err := w.update(d.r, d.obj, next, author{})
	return err
}

// checkOwners removes an object whose owners do not exist, or exist under another UID.
func checkOwners(w *world, id, at string) error {
	ns, name := splitKey(at)
	r := catalog()[id]
	obj, err := w.get(r, ns, name)
	if err != nil || obj == nil || len(metaOf(obj).GetOwnerReferences()) == 0 || metaOf(obj).GetDeletionTimestamp() != nil {
		return err
	}
	for _, o := range metaOf(obj).GetOwnerReferences() {
		_, owner, err := w.locate(string(o.UID))
		if err != nil {
			return err
		}
		if owner != nil {
			return w.disown(dependent{r, obj}, metav1.DeletePropagationForeground)
		}
	}
	return w.disown(dependent{r, obj}, "")
}

// reconcileNamespace makes what every namespace has, and empties one that is deleted.
func reconcileNamespace(w *world, _, name string) error {
	ns, found, err := lookup[*corev1.Namespace](w, namespaces, "", name)
	if err != nil || !found {
		return err
	}
	if ns.DeletionTimestamp == nil {
		return w.furnish(name)
	}
	left := false
	for _, r := range w.served() {
		if r.cluster {
			continue
		}
		keys, err := w.tx.Keys(docObject+r.id(), name+"/", "", 0)
		if err != nil {
			return err
		}
		for _, k := range keys {
			_, n := splitKey(k)
			obj, err := w.get(r, name, n)
			if err != nil {
				return err
			}
			if obj == nil {
				continue
			}
			gone := false
			if metaOf(obj).GetDeletionTimestamp() == nil {
				if _, gone, err = w.delete(r, obj, deletion{}); err != nil {
					return err
				}
			}
			left = left || !gone
		}
	}
	if left {
		return w.at(w.now.Add(w.seconds(5)), subject{"namespace", "", name})
	}
	return w.remove(catalog()[namespaces], ns)
}

// furnish makes the objects that controllers put into every namespace.
func (w *world) furnish(name string) error {
	if _, found, err := lookup[*corev1.ServiceAccount](w, serviceAccounts, name, "default"); err != nil || found {
		return err
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Namespace: name}}
	if _, err := w.create(catalog()[serviceAccounts], account, author{}); err != nil {
		return err
	}
	roots := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kube-root-ca.crt", Namespace: name,
		Annotations: map[string]string{"kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."}},
		Data: map[string]string{"ca.crt": "-----BEGIN CERTIFICATE-----\nrehearsal\n-----END CERTIFICATE-----\n"}}
	_, err := w.create(catalog()[configMaps], roots, controllerManager)
	return err
}

func finalizeNamespace(q *request) error {
	return q.change(func(_ *world, old runtime.Object) (runtime.Object, error) { return old, nil })
}
