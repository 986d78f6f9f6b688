// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// reconcileAutoscaler keeps a workload's replicas between the bounds. Nothing here has
// a load, so within them it leaves them alone.
func reconcileAutoscaler(w *world, ns, name string) error {
	h, found, err := lookup[*autoscalingv2.HorizontalPodAutoscaler](w, autoscalers, ns, name)
	if err != nil || !found || h.DeletionTimestamp != nil {
		return err
	}
	set := func(kind autoscalingv2.HorizontalPodAutoscalerConditionType, ok bool, reason, message string) {
		setScaling(w, h, kind, ok, reason, message)
	}
	target, found, err := lookup[*appsv1.Deployment](w, deployments, ns, h.Spec.ScaleTargetRef.Name)
	if err != nil {
		return err
	}
	if !found || h.Spec.ScaleTargetRef.Kind != "Deployment" {
		set(autoscalingv2.AbleToScale, false, "FailedGetScale", fmt.Sprintf("the HPA controller was unable to get the target's current scale: deployments.apps %q not found", h.Spec.ScaleTargetRef.Name))
		return w.save(autoscalers, h, statusWriter)
	}
	now := *target.Spec.Replicas
	want := min(max(now, *h.Spec.MinReplicas), h.Spec.MaxReplicas)
	if now == 0 {
		want = 0
		set(autoscalingv2.AbleToScale, true, "SucceededGetScale", "the HPA controller was able to get the target's current scale")
		set(autoscalingv2.ScalingActive, false, "ScalingDisabled", "scaling is disabled since the replica count of the target is zero")
	} else {
		w.judge(h, now, want, set)
	}
	h.Status.CurrentReplicas, h.Status.DesiredReplicas = target.Status.Replicas, want
	if want != now {
		at := w.stamp()
		h.Status.LastScaleTime = &at
		if _, err := w.scaleTo(catalog()[deployments], target, want, author{manager: "kube-controller-manager", subresource: "scale"}); err != nil {
			return err
		}
		reason := "Current number of replicas below Spec.MinReplicas"
		if want < now {
			reason = "Current number of replicas above Spec.MaxReplicas"
		}
		if err := w.emit(h, "HorizontalPodAutoscaler", "horizontal-pod-autoscaler", "Normal", "SuccessfulRescale", fmt.Sprintf("New size: %d; reason: %s", want, reason)); err != nil {
			return err
		}
	}
	return w.save(autoscalers, h, statusWriter)
}

// judge sets the conditions of an autoscaler at work.
func (w *world) judge(h *autoscalingv2.HorizontalPodAutoscaler, now, want int32, set func(autoscalingv2.HorizontalPodAutoscalerConditionType, bool, string, string)) {
	if want != now {
		set(autoscalingv2.AbleToScale, true, "SucceededRescale", fmt.Sprintf("the HPA controller was able to update the target scale to %d", want))
	} else {
		set(autoscalingv2.AbleToScale, true, "ReadyForNewScale", "recommended size matches current size")
	}
	switch m := h.Spec.Metrics[0]; m.Type {
	case autoscalingv2.ResourceMetricSourceType, autoscalingv2.ContainerResourceMetricSourceType:
		resource := "cpu"
		if m.Resource != nil {
			resource = string(m.Resource.Name)
		} else if m.ContainerResource != nil {
			resource = string(m.ContainerResource.Name)
		}
		if !w.installed("metrics.k8s.io") {
			set(autoscalingv2.ScalingActive, false, "FailedGetResourceMetric", fmt.Sprintf("the HPA was unable to compute the replica count: failed to get %s utilization: unable to get metrics for resource %s: unable to fetch metrics from resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)", resource, resource))
			return
		}
		set(autoscalingv2.ScalingActive, true, "ValidMetricFound", fmt.Sprintf("the HPA was able to successfully calculate a replica count from %s resource utilization (percentage of request)", resource))
	default:
		set(autoscalingv2.ScalingActive, false, "FailedGet"+string(m.Type)+"Metric", "the HPA was unable to compute the replica count: unable to fetch metrics from custom metrics API: the server could not find the requested resource")
		return
	}
	switch {
	case want == *h.Spec.MinReplicas:
		set(autoscalingv2.ScalingLimited, true, "TooFewReplicas", "the desired replica count is less than the minimum replica count")
	case want == h.Spec.MaxReplicas && now > want:
		set(autoscalingv2.ScalingLimited, true, "TooManyReplicas", "the desired replica count is more than the maximum replica count")
	default:
		set(autoscalingv2.ScalingLimited, false, "DesiredWithinRange", "the desired count is within the acceptable range")
	}
}

func setScaling(w *world, h *autoscalingv2.HorizontalPodAutoscaler, kind autoscalingv2.HorizontalPodAutoscalerConditionType, ok bool, reason, message string) {
	status := corev1.ConditionFalse
	if ok {
		status = corev1.ConditionTrue
	}
	next := autoscalingv2.HorizontalPodAutoscalerCondition{Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: w.stamp()}
	for i, c := range h.Status.Conditions {
		if c.Type == kind {
			if c.Status == status {
				next.LastTransitionTime = c.LastTransitionTime
			}
			h.Status.Conditions[i] = next
			return
		}
	}
	h.Status.Conditions = append(h.Status.Conditions, next)
}

// reconcileBudget counts the pods that a budget protects.
func reconcileBudget(w *world, ns, name string) error {
	b, found, err := lookup[*policyv1.PodDisruptionBudget](w, budgets, ns, name)
	if err != nil || !found {
		return err
	}
	selector, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
	if err != nil {
		return err
	}
	var pairs map[string]string
	if b.Spec.Selector != nil {
		pairs = b.Spec.Selector.MatchLabels
	}
	all, err := w.matching(ns, selector, pairs)
	if err != nil {
		return err
	}
	total, healthy := 0, 0
	for _, p := range all {
		if p.DeletionTimestamp != nil {
			continue
		}
		total++
		if ready(p) {
			healthy++
		}
	}
	needed := 0
	if v := b.Spec.MaxUnavailable; v != nil {
		n, _ := intstr.GetScaledValueFromIntOrPercent(v, total, true)
		needed = max(0, total-n)
	} else if v := b.Spec.MinAvailable; v != nil {
		needed, _ = intstr.GetScaledValueFromIntOrPercent(v, total, true)
	}
	allowed := max(0, healthy-needed)
	if total == 0 {
		allowed = 0
	}
	status := metav1.Condition{Type: policyv1.DisruptionAllowedCondition, Status: metav1.ConditionFalse, Reason: policyv1.InsufficientPodsReason, ObservedGeneration: b.Generation, LastTransitionTime: w.stamp()}
	if allowed > 0 {
		status.Status, status.Reason = metav1.ConditionTrue, policyv1.SufficientPodsReason
	}
	for _, c := range b.Status.Conditions {
		if c.Type == status.Type && c.Status == status.Status {
			status.LastTransitionTime = c.LastTransitionTime
		}
	}
	b.Status = policyv1.PodDisruptionBudgetStatus{ObservedGeneration: b.Generation, DisruptionsAllowed: int32(allowed), CurrentHealthy: int32(healthy), DesiredHealthy: int32(needed), ExpectedPods: int32(total),
		Conditions: []metav1.Condition{status}}
	return w.save(budgets, b, statusWriter)
}
