// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"fmt"
	"hash/fnv"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// emit records an event in the older dialect, which counts what repeats.
func (w *world) emit(about runtime.Object, kind, component, level, reason, message string) error {
	return w.event(about, kind, component, level, reason, message, false)
}

// emitNew records an event as writers of events.k8s.io do: without a count or a source.
func (w *world) emitNew(about runtime.Object, kind, component, level, reason, message string) error {
	return w.event(about, kind, component, level, reason, message, true)
}

func (w *world) event(about runtime.Object, kind, component, level, reason, message string, newer bool) error {
	m := metaOf(about)
	h := fnv.New64a()
	_, _ = io.WriteString(h, string(m.GetUID())+reason+message) // a hash never fails
	ns := orElse(m.GetNamespace(), "default")
	name := fmt.Sprintf("%s.%016x", m.GetName(), h.Sum64())
	r := catalog()[events]
	old, found, err := lookup[*corev1.Event](w, events, ns, name)
	if err != nil {
		return err
	}
	now := w.stamp()
	if found {
		if newer {
			return nil
		}
		next := old.DeepCopy()
		next.Count++
		next.LastTimestamp = now
		return w.put(r, old, next)
	}
	e := &corev1.Event{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns, UID: newUID(), CreationTimestamp: now}, Reason: reason, Message: message, Type: level,
		InvolvedObject: corev1.ObjectReference{APIVersion: apiVersionOf(about), Kind: kind, Namespace: m.GetNamespace(), Name: m.GetName(), UID: m.GetUID(), ResourceVersion: m.GetResourceVersion()}}
	if newer {
		e.ReportingController, e.ReportingInstance, e.Action = component, component+"-0", "Scheduling"
		e.EventTime = metav1.MicroTime{Time: w.now}
	} else {
		e.Source, e.Count, e.FirstTimestamp, e.LastTimestamp = corev1.EventSource{Component: component}, 1, now, now
		e.ReportingController = component
	}
	if err := w.at(w.now.Add(keptReports), subject{"report", ns, name}); err != nil {
		return err
	}
	return w.put(r, nil, e)
}

// keptReports is how long an event is kept: as long as on the platform, and not scaled,
// for whoever reads it is a person.
const keptReports = time.Hour

// expire removes an event that is old.
func expire(w *world, ns, name string) error {
	e, found, err := lookup[*corev1.Event](w, events, ns, name)
	if err != nil || !found {
		return err
	}
	return w.remove(catalog()[events], e)
}

func apiVersionOf(obj runtime.Object) string {
	return obj.GetObjectKind().GroupVersionKind().GroupVersion().String()
}
