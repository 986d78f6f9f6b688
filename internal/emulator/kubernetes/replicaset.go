// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
)

func reconcileReplicaSet(w *world, ns, name string) error {
	rs, found, err := lookup[*appsv1.ReplicaSet](w, replicaSets, ns, name)
	if err != nil || !found {
		return err
	}
	all, err := owned[*corev1.Pod](w, pods, string(rs.UID))
	if err != nil {
		return err
	}
	active := slices.DeleteFunc(all, func(p *corev1.Pod) bool { return p.DeletionTimestamp != nil || finished(p) })
	failure := ""
	if rs.DeletionTimestamp == nil {
		if active, failure, err = w.fit(rs, active); err != nil {
			return err
		}
	}
	s := appsv1.ReplicaSetStatus{ObservedGeneration: rs.Generation, Replicas: int32(len(active))}
	for _, p := range active {
		s.FullyLabeledReplicas++
		if !ready(p) {
			continue
		}
		s.ReadyReplicas++
		available, when, err := w.available(p, rs.Spec.MinReadySeconds)
		if err != nil {
			return err
		}
		if available {
			s.AvailableReplicas++
		} else if err := w.at(when, subject{"replicaset", ns, name}); err != nil {
			return err
		}
	}
	if failure != "" {
		s.Conditions = []appsv1.ReplicaSetCondition{{Type: appsv1.ReplicaSetReplicaFailure, Status: corev1.ConditionTrue, Reason: "FailedCreate", Message: failure, LastTransitionTime: w.stamp()}}
		for _, c := range rs.Status.Conditions {
			if c.Type == appsv1.ReplicaSetReplicaFailure {
				s.Conditions = []appsv1.ReplicaSetCondition{c}
			}
		}
	}
	rs.Status = s
	return w.save(replicaSets, rs, author{subresource: "status"})
}

// fit makes or deletes pods until there are as many as wanted.
func (w *world) fit(rs *appsv1.ReplicaSet, active []*corev1.Pod) (now []*corev1.Pod, failure string, err error) {
	want := int(*rs.Spec.Replicas)
	for len(active) < want {
		pod, err := w.spawn(rs)
		if apierrors.IsForbidden(err) || apierrors.IsInvalid(err) {
			if err := w.emit(rs, "ReplicaSet", "replicaset-controller", "Warning", "FailedCreate", "Error creating: "+message(err)); err != nil {
				return nil, "", err
			}
			return active, message(err), w.stuck(rs.Namespace, subject{"replicaset", rs.Namespace, rs.Name})
		}
		if err != nil {
			return nil, "", err
		}
		if err := w.emit(rs, "ReplicaSet", "replicaset-controller", "Normal", "SuccessfulCreate", "Created pod: "+pod.Name); err != nil {
			return nil, "", err
		}
		active = append(active, pod)
	}
	if len(active) == want {
		return active, "", nil
	}
	slices.SortStableFunc(active, func(a, b *corev1.Pod) int { return worth(a) - worth(b) })
	for _, p := range active[:len(active)-want] {
		if _, _, err := w.delete(catalog()[pods], p, deletion{}); err != nil {
			return nil, "", err
		}
		if err := w.emit(rs, "ReplicaSet", "replicaset-controller", "Normal", "SuccessfulDelete", "Deleted pod: "+p.Name); err != nil {
			return nil, "", err
		}
	}
	return active[len(active)-want:], "", nil
}

// stuck waits for what may make a pod possible: in its namespace or in the cluster.
func (w *world) stuck(ns string, s subject) error {
	if err := w.wait(ns, s); err != nil {
		return err
	}
	return w.wait("*", s)
}

func message(err error) string { return err.Error() }

// worth orders pods by how much would be lost with them.
func worth(p *corev1.Pod) int {
	switch {
	case p.Spec.NodeName == "":
		return 0
	case p.Status.Phase == corev1.PodPending:
		return 1
	case !ready(p):
		return 2
	}
	return 3
}

// spawn makes a pod from the template.
func (w *world) spawn(rs *appsv1.ReplicaSet) (*corev1.Pod, error) {
	t := rs.Spec.Template.DeepCopy()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: rs.Name + "-", Namespace: rs.Namespace, Labels: t.Labels, Annotations: t.Annotations,
		OwnerReferences: []metav1.OwnerReference{controlledBy("apps/v1", "ReplicaSet", rs)}}, Spec: t.Spec}
	r := catalog()[pods]
	r.setDefaults(pod)
	made, err := w.create(r, pod, author{})
	if err != nil {
		return nil, err
	}
	p, ok := made.(*corev1.Pod)
	if !ok {
		return nil, fmt.Errorf("%s is no pod", pod.Name)
	}
	life := podLife{Created: w.now}
	if owner := metav1.GetControllerOf(rs); owner != nil {
		var fate fate
		if found, err := w.tx.Get(docFate, string(owner.UID), &fate); err != nil {
			return nil, err
		} else if found && fate.Hash == hashOf(bare(&rs.Spec.Template), nil) {
			life.Mode, life.Message = fate.Mode, fate.Message
		}
	}
	return p, w.tx.Put(docPod, string(p.UID), life)
}

// fate is what a scripted failure does to the pods of a deployment's template.
type fate struct{ Hash, Mode, Message string }

// The ways in which pods fail.
const (
	fateCrash   = "crash"
	fateImage   = "image"
	fateUnready = "unready"
)

// doom remembers a scripted failure for the pods that a write brings about, and
// forgets the one of an earlier write.
func (q *request) doom(w *world, old, obj runtime.Object) error {
	if q.dryRun() || q.sub != "" || old != nil && metaOf(old).GetGeneration() == metaOf(obj).GetGeneration() {
		return nil
	}
	uid := string(metaOf(obj).GetUID())
	f := fate{}
	if q.fault != nil && q.fault.Action == fault.FailTransition {
		f = fate{Mode: orElse(q.fault.Mode, fateCrash), Message: q.fault.Message}
	}
	switch o := obj.(type) {
	case *appsv1.Deployment:
		f.Hash = hashOf(&o.Spec.Template, nil)
		return w.foretell(uid, f)
	default:
		if q.res.id() == inference {
			if f.Mode == "" {
				return w.tx.Delete(docDoomed, uid)
			}
			return w.tx.Put(docDoomed, uid, f)
		}
	}
	return nil
}

func (w *world) foretell(uid string, f fate) error {
	if f.Mode == "" {
		return w.tx.Delete(docFate, uid)
	}
	return w.tx.Put(docFate, uid, f)
}

// available reports whether a ready pod has been so for long enough, or else when.
func (w *world) available(p *corev1.Pod, minReady int32) (bool, time.Time, error) {
	var life podLife
	if found, err := w.tx.Get(docPod, string(p.UID), &life); err != nil || !found {
		return true, w.now, err
	}
	when := life.Ready.Add(w.seconds(minReady))
	return !w.now.Before(when), when, nil
}

func ready(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}
