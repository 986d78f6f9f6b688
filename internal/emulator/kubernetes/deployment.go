// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilrand "k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/utils/dump"
	"k8s.io/utils/ptr"
)

const (
	revision   = "deployment.kubernetes.io/revision"
	desired    = "deployment.kubernetes.io/desired-replicas"
	mostPods   = "deployment.kubernetes.io/max-replicas"
	hashLabel  = appsv1.DefaultDeploymentUniqueLabelKey
	lastKubect = "kubectl.kubernetes.io/last-applied-configuration"
)

// rollout is a deployment while its controller looks at it.
type rollout struct {
	*world
	d       *appsv1.Deployment
	current *appsv1.ReplicaSet // of the template; nil while there is none
	old     []*appsv1.ReplicaSet
}

func reconcileDeployment(w *world, ns, name string) error {
	d, found, err := lookup[*appsv1.Deployment](w, deployments, ns, name)
	if err != nil || !found {
		return err
	}
	r := &rollout{world: w, d: d}
	all, err := owned[*appsv1.ReplicaSet](w, replicaSets, string(d.UID))
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b *appsv1.ReplicaSet) int { return revisionOf(a) - revisionOf(b) })
	for _, rs := range all {
		if r.current == nil && sameTemplate(&rs.Spec.Template, &d.Spec.Template) {
			r.current = rs
		} else {
			r.old = append(r.old, rs)
		}
	}
	if d.DeletionTimestamp != nil {
		return r.status()
	}
	if !d.Spec.Paused {
		if err := r.adopt(); err != nil {
			return err
		}
	}
	if err := r.scale(); err != nil {
		return err
	}
	if err := r.forget(); err != nil {
		return err
	}
	return r.status()
}

func revisionOf(rs *appsv1.ReplicaSet) int {
	n, _ := strconv.Atoi(rs.Annotations[revision])
	return n
}

// sameTemplate compares templates but for the hash that the controller adds.
func sameTemplate(a, b *corev1.PodTemplateSpec) bool {
	return apiequality.Semantic.DeepEqual(bare(a), bare(b))
}

// bare is a template without the hash that the controller adds.
func bare(t *corev1.PodTemplateSpec) *corev1.PodTemplateSpec {
	t = t.DeepCopy()
	delete(t.Labels, hashLabel)
	return t
}

// hashOf is the hash that names the ReplicaSet of a template, and another one after each
// collision: a deployment of before may have left a ReplicaSet of that name.
func hashOf(t *corev1.PodTemplateSpec, collisions *int32) string {
	var kept corev1.PodTemplateSpec // as it is read again: what is empty is absent
	if data, err := json.Marshal(t); err == nil {
		_ = json.Unmarshal(data, &kept) // what was just written
	}
	h := fnv.New32a()
	fmt.Fprint(h, dump.ForHash(kept))
	if collisions != nil {
		var salt [8]byte
		binary.LittleEndian.PutUint32(salt[:], uint32(*collisions))
		_, _ = h.Write(salt[:]) // a hash takes everything
	}
	return utilrand.SafeEncodeString(strconv.FormatUint(uint64(h.Sum32()), 10))
}

// adopt finds or makes the ReplicaSet of the template, as the latest revision.
func (r *rollout) adopt() error {
	latest := 0
	for _, rs := range r.old {
		latest = max(latest, revisionOf(rs))
	}
	next := strconv.Itoa(latest + 1)
	if r.current != nil {
		if revisionOf(r.current) <= latest || r.current.Spec.MinReadySeconds != r.d.Spec.MinReadySeconds {
			r.current.Annotations[revision] = next
			r.current.Spec.MinReadySeconds = r.d.Spec.MinReadySeconds
			if err := r.save(replicaSets, r.current, author{}); err != nil {
				return err
			}
		}
		return r.note("FoundNewReplicaSet", fmt.Sprintf("Found new replica set %q", r.current.Name), false)
	}
	annotations := map[string]string{}
	maps.Copy(annotations, r.d.Annotations)
	delete(annotations, lastKubect)
	annotations[revision] = next
	r.replicaNotes(annotations)
	total, first := 0, int32(0)
	for _, rs := range r.old {
		total += int(*rs.Spec.Replicas)
	}
	if r.d.Spec.Strategy.Type == appsv1.RollingUpdateDeploymentStrategyType {
		surge, _ := r.bounds()
		first = int32(min(int(*r.d.Spec.Replicas), max(0, int(*r.d.Spec.Replicas)+surge-total)))
	}
	rs, err := r.replicaSet(annotations, first)
	if err != nil {
		return err
	}
	r.current = rs
	if first > 0 {
		if err := r.emit(r.d, "Deployment", "deployment-controller", "Normal", "ScalingReplicaSet", fmt.Sprintf("Scaled up replica set %s from 0 to %d", rs.Name, first)); err != nil {
			return err
		}
	}
	return r.note("NewReplicaSetCreated", fmt.Sprintf("Created new replica set %q", rs.Name), true)
}

// replicaSet makes the ReplicaSet of the template, under the first name that is free.
func (r *rollout) replicaSet(annotations map[string]string, replicas int32) (*appsv1.ReplicaSet, error) {
	for {
		template, selector := r.d.Spec.Template.DeepCopy(), r.d.Spec.Selector.DeepCopy()
		hash := hashOf(template, r.d.Status.CollisionCount)
		if template.Labels == nil {
			template.Labels = map[string]string{}
		}
		template.Labels[hashLabel] = hash
		if selector.MatchLabels == nil {
			selector.MatchLabels = map[string]string{}
		}
		selector.MatchLabels[hashLabel] = hash
		made, err := r.create(catalog()[replicaSets], &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Name: r.d.Name + "-" + hash, Namespace: r.d.Namespace, Labels: template.Labels, Annotations: annotations,
			OwnerReferences: []metav1.OwnerReference{controlledBy("apps/v1", "Deployment", r.d)}},
			Spec: appsv1.ReplicaSetSpec{Replicas: &replicas, MinReadySeconds: r.d.Spec.MinReadySeconds, Selector: selector, Template: *template}}, author{})
		if apierrors.IsAlreadyExists(err) { // of a deployment that is gone: what it had is not collected yet
			collisions := ptr.Deref(r.d.Status.CollisionCount, 0) + 1
			r.d.Status.CollisionCount = &collisions
			continue
		}
		if err != nil {
			return nil, err
		}
		rs, ok := made.(*appsv1.ReplicaSet)
		if !ok {
			return nil, fmt.Errorf("%s-%s is no ReplicaSet", r.d.Name, hash)
		}
		return rs, nil
	}
}

func (r *rollout) replicaNotes(annotations map[string]string) {
	annotations[desired] = strconv.Itoa(int(*r.d.Spec.Replicas))
	surge, _ := r.bounds()
	annotations[mostPods] = strconv.Itoa(int(*r.d.Spec.Replicas) + surge)
}

// bounds are how many pods more, and how many fewer, than wanted there may be.
func (r *rollout) bounds() (surge, unavailable int) {
	if r.d.Spec.Strategy.Type != appsv1.RollingUpdateDeploymentStrategyType {
		return 0, int(*r.d.Spec.Replicas)
	}
	u := r.d.Spec.Strategy.RollingUpdate
	surge, _ = intstr.GetScaledValueFromIntOrPercent(u.MaxSurge, int(*r.d.Spec.Replicas), true)
	unavailable, _ = intstr.GetScaledValueFromIntOrPercent(u.MaxUnavailable, int(*r.d.Spec.Replicas), false)
	if surge == 0 && unavailable == 0 {
		unavailable = 1
	}
	return surge, min(unavailable, int(*r.d.Spec.Replicas))
}

// note sets the Progressing condition; progress says that time begins anew.
func (r *rollout) note(reason, message string, progress bool) error {
	c := condition(r.d.Status.Conditions, appsv1.DeploymentProgressing)
	if c != nil && !progress {
		return nil // what is known of the ReplicaSet is not news
	}
	r.setCondition(appsv1.DeploymentProgressing, corev1.ConditionTrue, reason, message, true)
	return r.tx.Put(docBegan, string(r.d.UID), r.now)
}

// setTo scales a ReplicaSet.
func (r *rollout) setTo(rs *appsv1.ReplicaSet, n int) error {
	n = max(n, 0)
	before := int(*rs.Spec.Replicas)
	count := int32(n)
	rs.Spec.Replicas = &count
	if rs.Annotations == nil {
		rs.Annotations = map[string]string{}
	}
	r.replicaNotes(rs.Annotations)
	if err := r.save(replicaSets, rs, author{}); err != nil || before == n {
		return err
	}
	verb := "up"
	if n < before {
		verb = "down"
	}
	return r.emit(r.d, "Deployment", "deployment-controller", "Normal", "ScalingReplicaSet", fmt.Sprintf("Scaled %s replica set %s from %d to %d", verb, rs.Name, before, n))
}

// scale moves pods from the old ReplicaSets to the current one, within the bounds.
func (r *rollout) scale() error {
	want := int(*r.d.Spec.Replicas)
	if r.d.Spec.Paused || r.current == nil {
		return r.proportion(want)
	}
	if r.d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		return r.recreate(want)
	}
	total := int(*r.current.Spec.Replicas)
	for _, rs := range r.old {
		total += int(*rs.Spec.Replicas)
	}
	surge, unavailable := r.bounds()
	if have := int(*r.current.Spec.Replicas); have != want {
		n := want
		if have < want {
			n = min(want, have+max(0, want+surge-total))
		}
		if n != have {
			if err := r.setTo(r.current, n); err != nil {
				return err
			}
			total += n - have
		}
	}
	return r.shrink(total, want-unavailable)
}

// shrink takes away old pods that are not needed: those that are not ready first.
func (r *rollout) shrink(total, least int) error {
	missing := int(*r.current.Spec.Replicas - r.current.Status.AvailableReplicas)
	room := total - least - max(0, missing)
	for _, rs := range r.old { // pods that never were available are no loss
		unhealthy := int(*rs.Spec.Replicas - rs.Status.AvailableReplicas)
		if n := min(unhealthy, room); n > 0 && *rs.Spec.Replicas > 0 {
			if err := r.setTo(rs, int(*rs.Spec.Replicas)-n); err != nil {
				return err
			}
			room -= n
		}
	}
	available := int(r.current.Status.AvailableReplicas)
	for _, rs := range r.old {
		available += int(min(rs.Status.AvailableReplicas, *rs.Spec.Replicas))
	}
	spare := available - least
	for _, rs := range r.old {
		if n := min(int(*rs.Spec.Replicas), spare, room); n > 0 {
			if err := r.setTo(rs, int(*rs.Spec.Replicas)-n); err != nil {
				return err
			}
			spare, room = spare-n, room-n
		}
	}
	return nil
}

// proportion scales what there is of a paused deployment.
func (r *rollout) proportion(want int) error {
	if r.current == nil && len(r.old) > 0 {
		return r.setTo(r.old[len(r.old)-1], want)
	}
	if r.current != nil && len(r.old) == 0 {
		return r.setTo(r.current, want)
	}
	return nil
}

func (r *rollout) recreate(want int) error {
	left := 0
	for _, rs := range r.old {
		if *rs.Spec.Replicas > 0 {
			if err := r.setTo(rs, 0); err != nil {
				return err
			}
		}
		pods, err := owned[*corev1.Pod](r.world, pods, string(rs.UID))
		if err != nil {
			return err
		}
		left += len(pods)
	}
	if left > 0 || int(*r.current.Spec.Replicas) == want {
		return nil
	}
	return r.setTo(r.current, want)
}

// forget removes ReplicaSets that are older than the history that is kept.
func (r *rollout) forget() error {
	var empty []*appsv1.ReplicaSet
	for _, rs := range r.old {
		if *rs.Spec.Replicas == 0 && rs.Status.Replicas == 0 && rs.DeletionTimestamp == nil {
			empty = append(empty, rs)
		}
	}
	for len(empty) > int(*r.d.Spec.RevisionHistoryLimit) && r.complete() {
		if _, _, err := r.delete(catalog()[replicaSets], empty[0], deletion{}); err != nil {
			return err
		}
		empty = empty[1:]
	}
	return nil
}

func (r *rollout) complete() bool {
	if r.current == nil {
		return false
	}
	want := *r.d.Spec.Replicas
	total := r.current.Status.Replicas
	for _, rs := range r.old {
		total += rs.Status.Replicas
	}
	return r.current.Status.Replicas == want && total == want && r.current.Status.AvailableReplicas == want
}

func condition(all []appsv1.DeploymentCondition, kind appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	for i := range all {
		if all[i].Type == kind {
			return &all[i]
		}
	}
	return nil
}

// setCondition changes a condition; it is left alone if only its message would differ,
// unless touch says that the change counts as news.
func (r *rollout) setCondition(kind appsv1.DeploymentConditionType, status corev1.ConditionStatus, reason, message string, touch bool) {
	now := r.stamp()
	next := appsv1.DeploymentCondition{Type: kind, Status: status, Reason: reason, Message: message, LastUpdateTime: now, LastTransitionTime: now}
	old := condition(r.d.Status.Conditions, kind)
	if old == nil {
		r.d.Status.Conditions = append(r.d.Status.Conditions, next)
		return
	}
	if old.Status == status && old.Reason == reason && !touch {
		return
	}
	if old.Status == status {
		next.LastTransitionTime = old.LastTransitionTime
	}
	r.d.Status.Conditions = slices.DeleteFunc(slices.Clone(r.d.Status.Conditions), func(c appsv1.DeploymentCondition) bool { return c.Type == kind })
	r.d.Status.Conditions = append(r.d.Status.Conditions, next)
}

// status writes down what is seen.
func (r *rollout) status() error {
	before := r.d.Status
	all := slices.Clone(r.old)
	if r.current != nil {
		all = append(all, r.current)
	}
	s := appsv1.DeploymentStatus{ObservedGeneration: r.d.Generation, Conditions: slices.Clone(before.Conditions), CollisionCount: before.CollisionCount}
	failure := ""
	for _, rs := range all {
		s.Replicas += rs.Status.Replicas
		s.ReadyReplicas += rs.Status.ReadyReplicas
		s.AvailableReplicas += rs.Status.AvailableReplicas
		for _, c := range rs.Status.Conditions {
			if c.Type == appsv1.ReplicaSetReplicaFailure && c.Status == corev1.ConditionTrue && (rs == r.current || failure == "") {
				failure = c.Message
			}
		}
	}
	if r.current != nil {
		s.UpdatedReplicas = r.current.Status.Replicas
	}
	s.UnavailableReplicas = max(0, max(*r.d.Spec.Replicas, s.Replicas)-s.AvailableReplicas)
	r.d.Status = s
	_, unavailable := r.bounds()
	if s.AvailableReplicas >= *r.d.Spec.Replicas-int32(unavailable) {
		r.setCondition(appsv1.DeploymentAvailable, corev1.ConditionTrue, "MinimumReplicasAvailable", "Deployment has minimum availability.", false)
	} else {
		r.setCondition(appsv1.DeploymentAvailable, corev1.ConditionFalse, "MinimumReplicasUnavailable", "Deployment does not have minimum availability.", false)
	}
	if err := r.progress(&before); err != nil {
		return err
	}
	if failure != "" {
		r.setCondition(appsv1.DeploymentReplicaFailure, corev1.ConditionTrue, "FailedCreate", failure, false)
	} else {
		r.d.Status.Conditions = slices.DeleteFunc(r.d.Status.Conditions, func(c appsv1.DeploymentCondition) bool { return c.Type == appsv1.DeploymentReplicaFailure })
	}
	if r.current != nil {
		if r.d.Annotations == nil {
			r.d.Annotations = map[string]string{}
		}
		r.d.Annotations[revision] = r.current.Annotations[revision]
	}
	return r.save(deployments, r.d, statusWriter)
}

// progress judges whether the rollout gets on.
func (r *rollout) progress(before *appsv1.DeploymentStatus) error {
	if r.d.Spec.Paused || r.current == nil {
		return nil
	}
	s := &r.d.Status
	was := condition(s.Conditions, appsv1.DeploymentProgressing)
	complete := r.complete()
	if was != nil && was.Reason == "NewReplicaSetAvailable" && complete && s.Replicas == s.UpdatedReplicas {
		return nil
	}
	switch {
	case complete:
		message := fmt.Sprintf("ReplicaSet %q has successfully progressed.", r.current.Name)
		r.setCondition(appsv1.DeploymentProgressing, corev1.ConditionTrue, "NewReplicaSetAvailable", message, true)
		return nil
	case s.UpdatedReplicas > before.UpdatedReplicas || s.Replicas-s.UpdatedReplicas < before.Replicas-before.UpdatedReplicas ||
		s.ReadyReplicas > before.ReadyReplicas || s.AvailableReplicas > before.AvailableReplicas:
		r.setCondition(appsv1.DeploymentProgressing, corev1.ConditionTrue, "ReplicaSetUpdated", fmt.Sprintf("ReplicaSet %q is progressing.", r.current.Name), true)
		if err := r.tx.Put(docBegan, string(r.d.UID), r.now); err != nil {
			return err
		}
	}
	is := condition(s.Conditions, appsv1.DeploymentProgressing)
	if is == nil || is.Reason == "NewReplicaSetAvailable" || is.Reason == "ProgressDeadlineExceeded" {
		return nil // pods that die afterwards are no failed rollout; and a failure stays until there is progress
	}
	return r.deadline()
}

// deadline gives a rollout up that has not made progress for too long.
func (r *rollout) deadline() error {
	var began time.Time
	if found, err := r.tx.Get(docBegan, string(r.d.UID), &began); err != nil || !found {
		return err
	}
	ends := began.Add(r.seconds(*r.d.Spec.ProgressDeadlineSeconds))
	if r.now.Before(ends) {
		return r.at(ends, subject{"deployment", r.d.Namespace, r.d.Name})
	}
	r.setCondition(appsv1.DeploymentProgressing, corev1.ConditionFalse, "ProgressDeadlineExceeded", fmt.Sprintf("ReplicaSet %q has timed out progressing.", r.current.Name), true)
	return nil
}
