// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/state"
)

// world is the cluster during one transaction.
type world struct {
	*Service
	tx    *state.Tx
	now   time.Time // on the cluster's clocks; while controllers catch up, that of the moment they act at
	wrote bool
	acts  bool      // controllers act, and not a client
	queue []subject // that controllers look at next
	warns []string  // what the client is to be told besides
}

// subject is something that a controller looks at.
type subject struct{ controller, ns, name string }

func (s subject) String() string { return s.controller + "/" + s.ns + "/" + s.name }

func parseSubject(key string) subject {
	parts := strings.SplitN(key, "/", 3)
	return subject{parts[0], parts[1], parts[2]}
}

// The kinds of documents. Objects are "k8s/<resource>".
const (
	docObject = "k8s/"
	docEvent  = "k8s-event"  // by resource version, for watches
	docOwned  = "k8s-owned"  // by the owner's UID
	docLabel  = "k8s-label"  // pods by label
	docSelect = "k8s-select" // services and budgets by a label that they select
	docTarget = "k8s-target" // autoscalers by what they scale
	docParent = "k8s-parent" // routes by gateway
	docBacked = "k8s-backed" // routes by service
	docNode   = "k8s-node"   // what pods request, by node
	docDue    = "k8s-due"    // subjects by when they are due
	docNext   = "k8s-next"   // when a subject is due
	docWait   = "k8s-wait"   // subjects that wait for something in a namespace
	docPod    = "k8s-pod"    // what the kubelet knows, by UID
	docFate   = "k8s-fate"   // of a workload's pods, by UID
	docBegan  = "k8s-began"  // when a rollout made progress, by UID
	docServed = "k8s-served" // requests answered, by the UID of a deployment
	docDoomed = "k8s-doomed" // InferenceServices whose next pods fail, by UID

	versions = "k8s" // the counter of resource versions
)

func key(ns, name string) string { return ns + "/" + name }

func splitKey(key string) (ns, name string) {
	ns, name, _ = strings.Cut(key, "/")
	return ns, name
}

// object decodes a document.
func (r *resource) object(data []byte) (runtime.Object, error) {
	obj := r.empty()
	if err := json.Unmarshal(data, obj); err != nil {
		return nil, fmt.Errorf("%s in the rehearsal's state: %w", r.id(), err)
	}
	return obj, nil
}

// get reads an object, nil if there is none.
func (w *world) get(r *resource, ns, name string) (runtime.Object, error) {
	data, err := w.tx.Raw(docObject+r.id(), key(ns, name))
	if data == nil || err != nil {
		return nil, err
	}
	return w.decoded.object(r, key(ns, name), data)
}

// lookup is get with a type; found is false if there is none.
func lookup[T runtime.Object](w *world, id, ns, name string) (obj T, found bool, err error) {
	r := catalog()[id]
	got, err := w.get(r, ns, name)
	if err != nil || got == nil {
		return obj, false, err
	}
	obj, found = got.(T)
	return obj, found, nil
}

// list reads the objects of a namespace, or of all ("").
func list[T runtime.Object](w *world, id, ns string) ([]T, error) {
	r, prefix := catalog()[id], ""
	if ns != "" {
		prefix = ns + "/"
	}
	var found []T
	err := w.tx.Each(docObject+id, prefix, func(_ string, data []byte) error {
		obj, err := r.object(data)
		if err != nil {
			return err
		}
		if t, ok := obj.(T); ok {
			found = append(found, t)
		}
		return nil
	})
	return found, err
}

// named reads the objects that keys of an index end in: …/<namespace>/<name>.
func named[T runtime.Object](w *world, id string, keys []string) ([]T, error) {
	var found []T
	for _, k := range keys {
		parts := strings.Split(k, "/")
		obj, ok, err := lookup[T](w, id, parts[len(parts)-2], parts[len(parts)-1])
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, obj)
		}
	}
	return found, nil
}

func metaOf(obj runtime.Object) metav1.Object {
	m, err := meta.Accessor(obj)
	if err != nil {
		panic(err) // every object here has metadata
	}
	return m
}

// event is what watches are told.
type event struct {
	Type     string            `json:"type"` // ADDED, MODIFIED or DELETED
	Resource string            `json:"resource"`
	Object   json.RawMessage   `json:"object"`
	Labels   map[string]string `json:"labels,omitempty"` // before; of a change
	Fields   map[string]string `json:"fields,omitempty"` // before; of a change
}

// put writes an object as its next version. old is what was there, nil if nothing.
func (w *world) put(r *resource, old, obj runtime.Object) error {
	kind := "ADDED"
	if old != nil {
		kind = "MODIFIED"
	}
	return w.store(r, kind, old, obj)
}

func (w *world) store(r *resource, kind string, old, obj runtime.Object) error {
	version, err := w.tx.Next(versions)
	if err != nil {
		return err
	}
	m := metaOf(obj)
	m.SetResourceVersion(strconv.Itoa(version))
	obj.GetObjectKind().SetGroupVersionKind(r.gvk())
	data, err := json.Marshal(obj)
	if err != nil {
		return err
	}
	at := key(m.GetNamespace(), m.GetName())
	if kind == "DELETED" {
		err = w.tx.Delete(docObject+r.id(), at)
	} else {
		err = w.tx.Put(docObject+r.id(), at, json.RawMessage(data))
	}
	if err != nil {
		return err
	}
	e := event{Type: kind, Resource: r.id(), Object: data}
	if old != nil {
		e.Labels, e.Fields = metaOf(old).GetLabels(), fieldsOf(r, old)
	}
	if err := w.tx.Put(docEvent, eventKey(version), e); err != nil {
		return err
	}
	if err := w.tx.Delete(docEvent, eventKey(version-w.o.History)); err != nil {
		return err
	}
	w.wrote = true
	var now runtime.Object
	if kind != "DELETED" {
		now = obj
	}
	if err := w.index(r, old, now); err != nil {
		return err
	}
	return w.react(r, old, now)
}

func eventKey(version int) string { return fmt.Sprintf("%012d", version) }

// remove takes an object away for good.
func (w *world) remove(r *resource, obj runtime.Object) error {
	m := metaOf(obj)
	for _, doc := range []string{docPod, docFate, docBegan, docServed, docDoomed} {
		if err := w.tx.Delete(doc, string(m.GetUID())); err != nil {
			return err
		}
	}
	last := obj.DeepCopyObject()
	err := w.store(r, "DELETED", obj, last)
	m.SetResourceVersion(metaOf(last).GetResourceVersion())
	return err
}

// entry is a line of an index.
type entry struct {
	doc, key string
	value    any
}

// index keeps the indices in line with an object.
func (w *world) index(r *resource, old, now runtime.Object) error {
	before, after := map[[2]string]any{}, map[[2]string]any{}
	for _, e := range entries(r, old) {
		before[[2]string{e.doc, e.key}] = e.value
	}
	for _, e := range entries(r, now) {
		after[[2]string{e.doc, e.key}] = e.value
	}
	for at := range before {
		if _, ok := after[at]; !ok {
			if err := w.tx.Delete(at[0], at[1]); err != nil {
				return err
			}
		}
	}
	for at, value := range after {
		if was, ok := before[at]; ok && fmt.Sprint(was) == fmt.Sprint(value) {
			continue
		}
		if err := w.tx.Put(at[0], at[1], value); err != nil {
			return err
		}
	}
	return nil
}

func entries(r *resource, obj runtime.Object) []entry {
	if obj == nil {
		return nil
	}
	m := metaOf(obj)
	at := key(m.GetNamespace(), m.GetName())
	var found []entry
	for _, o := range m.GetOwnerReferences() {
		found = append(found, entry{docOwned, string(o.UID) + "/" + r.id() + "/" + at, true})
	}
	if pod, ok := obj.(*corev1.Pod); ok {
		for name, value := range m.GetLabels() {
			found = append(found, entry{docLabel, m.GetNamespace() + "/" + name + "=" + value + "/" + m.GetName(), true})
		}
		if pod.Spec.NodeName != "" && !finished(pod) {
			found = append(found, entry{docNode, pod.Spec.NodeName + "/" + at, requestsOf(&pod.Spec)})
		}
	}
	return append(found, relations(r, obj)...)
}

// at makes a controller look at a subject when the time comes, unless it will before.
func (w *world) at(when time.Time, s subject) error {
	var next string
	found, err := w.tx.Get(docNext, s.String(), &next)
	if err != nil {
		return err
	}
	due := fmt.Sprintf("%020d", when.UnixNano())
	if found && next <= due {
		return nil
	}
	if found {
		if err := w.tx.Delete(docDue, next+"/"+s.String()); err != nil {
			return err
		}
	}
	if err := w.tx.Put(docNext, s.String(), due); err != nil {
		return err
	}
	return w.tx.Put(docDue, due+"/"+s.String(), true)
}

// soon lets a controller look at a subject: at once after its kind, and after a
// client within a second on the platform, so that a client sees what is not yet
// observed.
func (w *world) soon(s subject) error {
	if !w.acts {
		return w.at(w.now.Add(w.scaled(time.Second)), s)
	}
	if !slices.Contains(w.queue, s) {
		w.queue = append(w.queue, s)
	}
	return nil
}

// most is how many steps controllers take at once: far more than a cluster of this
// size needs, so that a mistake here shows as an error and not as silence.
const most = 200000

// open brings the world up to now.
func (w *world) open() error {
	if err := w.setUp(); err != nil {
		return err
	}
	now := w.now
	w.acts = true
	defer func() { w.now, w.acts = now, false }()
	for range most {
		due, err := w.tx.Keys(docDue, "", "", 1)
		if err != nil || len(due) == 0 {
			return err
		}
		when, rest, _ := strings.Cut(due[0], "/")
		nanos, err := strconv.ParseInt(when, 10, 64)
		if err != nil {
			return err
		}
		if nanos > now.UnixNano() {
			return nil
		}
		w.now = time.Unix(0, nanos).UTC()
		if err := w.tx.Delete(docDue, due[0]); err != nil {
			return err
		}
		if err := w.tx.Delete(docNext, rest); err != nil {
			return err
		}
		w.queue = append(w.queue, parseSubject(rest))
		if err := w.drain(); err != nil {
			return err
		}
	}
	return fmt.Errorf("the emulated cluster does not come to rest")
}

// drain lets controllers look at what they were told of.
func (w *world) drain() error {
	acted := w.acts
	w.acts = true
	defer func() { w.acts = acted }()
	for n := 0; len(w.queue) > 0; n++ {
		if n > most {
			return fmt.Errorf("the emulated cluster does not come to rest: %s", w.queue[0])
		}
		s := w.queue[0]
		w.queue = w.queue[1:]
		if err := reconcile(w, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// wait remembers that a subject can go on only after something in the scope changes:
// a namespace, or "*" for the whole cluster.
func (w *world) wait(scope string, s subject) error {
	return w.tx.Put(docWait, scope+"/"+s.String(), true)
}

// wake lets those go on that wait in the scope.
func (w *world) wake(scope string) error {
	keys, err := w.tx.Keys(docWait, scope+"/", "", 0)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if err := w.tx.Delete(docWait, k); err != nil {
			return err
		}
		if err := w.soon(parseSubject(strings.TrimPrefix(k, scope+"/"))); err != nil {
			return err
		}
	}
	return nil
}

// stamp is now as objects write it.
func (w *world) stamp() metav1.Time { return metav1.Time{Time: w.now.Truncate(time.Second)} }

// uid is drawn from what is being made and its version: unlike on the platform it
// needs no randomness, but nobody can tell.
func newUID() types.UID { return types.UID(randomUUID()) }
