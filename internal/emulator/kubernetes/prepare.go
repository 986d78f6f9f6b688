// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// prepareCreate resets what a client cannot set on a new object.
func (r *resource) prepareCreate(obj runtime.Object) {
	dropDisabled(obj)
	switch o := obj.(type) {
	case *appsv1.Deployment:
		o.Status = appsv1.DeploymentStatus{}
	case *appsv1.ReplicaSet:
		o.Status = appsv1.ReplicaSetStatus{}
	case *autoscalingv2.HorizontalPodAutoscaler:
		o.Status = autoscalingv2.HorizontalPodAutoscalerStatus{}
	case *policyv1.PodDisruptionBudget:
		o.Status = policyv1.PodDisruptionBudgetStatus{}
	case *corev1.Service:
		o.Status = corev1.ServiceStatus{}
	case *corev1.Pod:
		o.Status = corev1.PodStatus{Phase: corev1.PodPending, QOSClass: qualityOf(&o.Spec)}
	case *corev1.Namespace:
		o.Spec.Finalizers = []corev1.FinalizerName{corev1.FinalizerKubernetes}
		o.Status = corev1.NamespaceStatus{Phase: corev1.NamespaceActive}
	case *corev1.ResourceQuota:
		o.Status = corev1.ResourceQuotaStatus{}
	case *corev1.PersistentVolumeClaim:
		o.Status = corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimPending}
	case *unstructured.Unstructured:
		if r.status {
			delete(o.Object, "status")
			r.setDefaults(o)
		}
	}
}

func dropDisabled(obj runtime.Object) {
	switch o := obj.(type) {
	case *corev1.Pod:
		dropImageVolumes(&o.Spec)
		atLeastASecond(&o.Spec)
	case *appsv1.Deployment:
		dropImageVolumes(&o.Spec.Template.Spec)
		atLeastASecond(&o.Spec.Template.Spec)
	case *appsv1.ReplicaSet:
		dropImageVolumes(&o.Spec.Template.Spec)
	}
}

// atLeastASecond is what the server makes of a grace period below nothing.
func atLeastASecond(spec *corev1.PodSpec) {
	if g := spec.TerminationGracePeriodSeconds; g != nil && *g < 0 {
		*g = 1
	}
}

// prepareUpdate keeps the part of an object that the subresource does not write.
func (r *resource) prepareUpdate(old, obj runtime.Object, subresource string) {
	dropDisabled(obj)
	if u, ok := obj.(*unstructured.Unstructured); ok {
		o, _ := old.(*unstructured.Unstructured)
		prepareCustom(r, o, u, subresource)
		return
	}
	if subresource == "status" {
		keepSpec(old, obj)
		return
	}
	switch o := obj.(type) {
	case *appsv1.Deployment:
		keep(old, func(was *appsv1.Deployment) { o.Status = was.Status })
	case *appsv1.ReplicaSet:
		keep(old, func(was *appsv1.ReplicaSet) { o.Status = was.Status })
	case *autoscalingv2.HorizontalPodAutoscaler:
		keep(old, func(was *autoscalingv2.HorizontalPodAutoscaler) { o.Status = was.Status })
	case *policyv1.PodDisruptionBudget:
		keep(old, func(was *policyv1.PodDisruptionBudget) { o.Status = was.Status })
	case *corev1.Pod:
		keep(old, func(was *corev1.Pod) { o.Status = was.Status })
	case *corev1.Node:
		keep(old, func(was *corev1.Node) { o.Status = was.Status })
	case *corev1.Namespace:
		keep(old, func(was *corev1.Namespace) { o.Status, o.Spec.Finalizers = was.Status, was.Spec.Finalizers })
	case *corev1.ResourceQuota:
		keep(old, func(was *corev1.ResourceQuota) { o.Status = was.Status })
	case *corev1.PersistentVolumeClaim:
		keep(old, func(was *corev1.PersistentVolumeClaim) { o.Status = was.Status })
	case *corev1.Service:
		keep(old, func(was *corev1.Service) { o.Status = was.Status; keepAddress(was, o) })
	case *corev1.Secret:
		keep(old, func(was *corev1.Secret) { fallbackTo(&o.Type, was.Type) })
	}
}

func keep[T runtime.Object](old runtime.Object, f func(T)) {
	if was, ok := old.(T); ok {
		f(was)
	}
}

// keepSpec undoes all but the status.
func keepSpec(old, obj runtime.Object) {
	m, om := metaOf(obj), metaOf(old)
	m.SetLabels(om.GetLabels())
	m.SetOwnerReferences(om.GetOwnerReferences())
	m.SetFinalizers(om.GetFinalizers())
	switch o := obj.(type) {
	case *appsv1.Deployment:
		keep(old, func(was *appsv1.Deployment) { o.Spec = *was.Spec.DeepCopy() })
	case *appsv1.ReplicaSet:
		keep(old, func(was *appsv1.ReplicaSet) { o.Spec = *was.Spec.DeepCopy() })
	case *autoscalingv2.HorizontalPodAutoscaler:
		keep(old, func(was *autoscalingv2.HorizontalPodAutoscaler) { o.Spec = *was.Spec.DeepCopy() })
	case *policyv1.PodDisruptionBudget:
		keep(old, func(was *policyv1.PodDisruptionBudget) { o.Spec = *was.Spec.DeepCopy() })
	case *corev1.Pod:
		keep(old, func(was *corev1.Pod) { o.Spec = *was.Spec.DeepCopy() })
	case *corev1.Service:
		keep(old, func(was *corev1.Service) { o.Spec = *was.Spec.DeepCopy() })
	case *corev1.Node:
		keep(old, func(was *corev1.Node) { o.Spec = *was.Spec.DeepCopy() })
	case *corev1.Namespace:
		keep(old, func(was *corev1.Namespace) { o.Spec = *was.Spec.DeepCopy() })
	case *corev1.ResourceQuota:
		keep(old, func(was *corev1.ResourceQuota) { o.Spec = *was.Spec.DeepCopy() })
	}
}

func prepareCustom(r *resource, old, obj *unstructured.Unstructured, subresource string) {
	if !r.status || old == nil {
		return
	}
	if subresource != "status" {
		delete(obj.Object, "status")
		if status, ok := old.Object["status"]; ok {
			obj.Object["status"] = clone(status)
		}
		return
	}
	status, has := obj.Object["status"]
	fields := obj.GetManagedFields()
	obj.Object = maps.Clone(old.DeepCopy().Object)
	obj.SetManagedFields(fields)
	delete(obj.Object, "status")
	if has {
		obj.Object["status"] = status
	}
}

// keepAddress lets an update leave out what was allocated.
func keepAddress(old, s *corev1.Service) {
	if s.Spec.Type == corev1.ServiceTypeExternalName {
		return
	}
	if s.Spec.ClusterIP == "" {
		s.Spec.ClusterIP, s.Spec.ClusterIPs = old.Spec.ClusterIP, old.Spec.ClusterIPs
	}
	if len(s.Spec.ClusterIPs) == 0 && s.Spec.ClusterIP == old.Spec.ClusterIP {
		s.Spec.ClusterIPs = old.Spec.ClusterIPs
	}
	if len(s.Spec.IPFamilies) == 0 {
		s.Spec.IPFamilies = old.Spec.IPFamilies
	}
	if s.Spec.IPFamilyPolicy == nil {
		s.Spec.IPFamilyPolicy = old.Spec.IPFamilyPolicy
	}
}

// qualityOf is the class that a pod's requests put it in.
func qualityOf(spec *corev1.PodSpec) corev1.PodQOSClass {
	asked, guaranteed := false, true
	for _, c := range containersOf(spec) {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			limit, limited := c.Resources.Limits[name]
			request, requested := c.Resources.Requests[name]
			asked = asked || limited || requested
			if !limited || requested && request.Cmp(limit) != 0 {
				guaranteed = false
			}
		}
	}
	switch {
	case !asked:
		return corev1.PodQOSBestEffort
	case guaranteed:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}
