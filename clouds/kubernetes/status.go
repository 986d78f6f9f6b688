// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"context"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// health is how far a deployment is.
type health struct {
	phase    driver.Phase
	reason   string
	replicas int // asked for now
}

// convert reads a typed object from what the API server said.
func convert[T any](o *object) (*T, error) {
	var typed T
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &typed); err != nil {
		return nil, mlerr.New(mlerr.Failed, "cannot read the %s %s", o.GetKind(), o.GetName()).Because(err)
	}
	return &typed, nil
}

// healthOf judges the workload of a deployment by its own status and, where that is
// not good, by its pods.
func (d *kubernetes) healthOf(ctx context.Context, a *api, r *root, e *entry, live *snapshot, traffic bool) (health, error) {
	k := e.workloadKind()
	workload := live.find(k, e.ID)
	if workload == nil {
		return health{phase: driver.Changing}, nil
	}
	if workload.GetDeletionTimestamp() != nil {
		return health{phase: driver.Deleting}, nil
	}
	ran := workload
	if k == inferenceServices {
		if ran = live.find(deployments, e.runs()); ran == nil || !current(workload, ran) {
			return d.unseen(ctx, a, workload)
		}
	}
	dep, err := convert[appsv1.Deployment](ran)
	if err != nil {
		return health{}, err
	}
	h := health{phase: driver.Changing, replicas: 1}
	if dep.Spec.Replicas != nil {
		h.replicas = int(*dep.Spec.Replicas)
	}
	need := h.replicas
	switch {
	case e.Scaling.Automatic() && traffic:
		need = max(1, e.Scaling.Min) // more may be on their way, or never come
	case k == inferenceServices:
		// KServe begins with one replica, and its autoscaler makes it the least later.
		least, _, _ := nestedInt(workload.Object, "spec", "predictor", "minReplicas")
		need = max(need, int(least))
	}
	if available(dep, need) && (k != inferenceServices || conditionOf(workload, "Ready").Status == metav1.ConditionTrue) {
		h.phase = driver.Ready
		return h, nil
	}
	return d.judge(ctx, a, r, dep, h)
}

// available reports whether the controller has seen the latest template, all pods
// are of it, and enough of them can serve.
func available(dep *appsv1.Deployment, need int) bool {
	s := &dep.Status
	return s.ObservedGeneration >= dep.Generation && s.UpdatedReplicas == s.Replicas && int(s.UpdatedReplicas) >= need && int(s.AvailableReplicas) >= need
}

// judge tells a deployment that is on its way from one that will not arrive.
func (d *kubernetes) judge(ctx context.Context, a *api, r *root, dep *appsv1.Deployment, h health) (health, error) {
	all, err := d.podsOf(ctx, a, r.key.Location, dep)
	if err != nil {
		return h, err
	}
	found := d.diagnose(ctx, a, all)
	h.reason = found.text
	failed := found.terminal
	for _, c := range dep.Status.Conditions {
		since := a.now().Sub(c.LastUpdateTime.Time)
		switch {
		case c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue:
			if h.reason == "" {
				h.reason = "pods cannot be made: " + c.Message
			}
			failed = failed || since > refusedFor
		case c.Type == appsv1.DeploymentProgressing && c.Status == corev1.ConditionFalse && c.LastUpdateTime.After(appliedAt(dep)):
			// An older one is about another template.
			if h.reason == "" {
				h.reason = c.Message
			}
			failed = true
		}
	}
	if failed && dep.Status.ObservedGeneration >= dep.Generation {
		h.phase = driver.Failed
		h.reason = d.explain(ctx, a, found, h.reason)
	}
	return h, nil
}

// refusedFor is how long pods may be refused before that is taken for final: a quota
// or policy does not change by itself.
const refusedFor = 20 * time.Second

// appliedAt is when somebody last changed what a Deployment wants.
func appliedAt(dep *appsv1.Deployment) time.Time {
	var latest time.Time
	for _, f := range dep.ManagedFields {
		if f.Subresource == "" && f.Time != nil && f.Time.After(latest) && f.Manager == fieldManager {
			latest = f.Time.Time
		}
	}
	return latest
}

// podsOf are the pods that a Deployment runs.
func (d *kubernetes) podsOf(ctx context.Context, a *api, namespace string, dep *appsv1.Deployment) ([]corev1.Pod, error) {
	selector, err := metav1.LabelSelectorAsSelector(dep.Spec.Selector)
	if err != nil {
		return nil, mlerr.New(mlerr.Failed, "the Deployment %s has a selector that cannot be read", dep.Name).Because(err)
	}
	found, err := a.list(ctx, pods, namespace, selector.String())
	if err != nil {
		return nil, err
	}
	all := make([]corev1.Pod, 0, len(found))
	for i := range found {
		pod, err := convert[corev1.Pod](&found[i])
		if err != nil {
			return nil, err
		}
		all = append(all, *pod)
	}
	return all, nil
}

// current reports whether KServe's Deployment was made from what the InferenceService
// now says. Its own observedGeneration does not tell.
func current(isvc, ran *object) bool {
	want, _, _ := nestedString(isvc.Object, "spec", "predictor", "annotations", noteSpec)
	have, _, _ := nestedString(ran.Object, "spec", "template", "metadata", "annotations", noteSpec)
	return want == have
}

// unseen is an InferenceService that KServe has made no Deployment of yet.
func (d *kubernetes) unseen(ctx context.Context, a *api, isvc *object) (health, error) {
	h := health{phase: driver.Changing, reason: "KServe has not made its Deployment yet"}
	info, _, _ := nestedMap(isvc.Object, "status", "modelStatus", "lastFailureInfo")
	state, _, _ := nestedString(isvc.Object, "status", "modelStatus", "transitionStatus")
	if c := conditionOf(isvc, "PredictorReady"); c.Status == metav1.ConditionFalse && c.Message != "" {
		h.reason = c.Message
	}
	if state == "InvalidSpec" {
		reason, _ := info["reason"].(string)
		message, _ := info["message"].(string)
		h.phase, h.reason = driver.Failed, strings.TrimPrefix(reason+": "+message, ": ")
		return h, nil
	}
	if a.now().Sub(isvc.GetCreationTimestamp().Time) > refusedFor {
		for _, text := range a.warnings(ctx, isvc.GetNamespace(), string(isvc.GetUID())) {
			h.reason = text
		}
	}
	return h, nil
}

// condition is one of an object's conditions.
type condition struct {
	Status             metav1.ConditionStatus
	Reason, Message    string
	ObservedGeneration int64
	Since              time.Time
}

func conditionOf(o *object, name string) condition {
	all, _, _ := nestedSlice(o.Object, "status", "conditions")
	return conditionIn(all, name)
}

func conditionIn(all []any, name string) (c condition) {
	for _, v := range all {
		m, _ := v.(map[string]any)
		if m["type"] != name {
			continue
		}
		status, _ := m["status"].(string)
		c.Status = metav1.ConditionStatus(status)
		c.Reason, _ = m["reason"].(string)
		c.Message, _ = m["message"].(string)
		c.ObservedGeneration, _ = m["observedGeneration"].(int64)
		at, _ := m["lastTransitionTime"].(string)
		c.Since, _ = time.Parse(time.RFC3339, at)
	}
	return c
}

// reached judges the front of a deployment that has traffic: whether the gateway
// sends requests to it.
func (d *kubernetes) reached(a *api, r *root, live *snapshot) (phase driver.Phase, reason string) {
	for _, w := range r.of("") {
		switch w.Kind {
		case routes.name:
			if phase, reason := accepted(a, live.find(routes, w.Name), "status", "parents"); phase != driver.Ready {
				return phase, reason
			}
		case securityPolicies.name:
			if phase, reason := accepted(a, live.find(securityPolicies, w.Name), "status", "ancestors"); phase != driver.Ready {
				return phase, reason
			}
		case certificates.name:
			if o := live.find(certificates, w.Name); o != nil {
				if c := conditionOf(o, "Ready"); c.Status != metav1.ConditionTrue {
					return driver.Changing, "cert-manager has not issued the certificate: " + c.Message
				}
			}
		}
	}
	return driver.Ready, ""
}

// settling is how long whoever serves routes and policies has until a refusal, or
// silence, is taken for final.
const settling = 30 * time.Second

// accepted reads what controllers say of a route or policy, one entry for each
// gateway that it is attached to.
func accepted(a *api, o *object, path ...string) (driver.Phase, string) {
	if o == nil {
		return driver.Changing, ""
	}
	what := "the " + o.GetKind() + " " + o.GetName()
	parents, _, _ := nestedSlice(o.Object, path...)
	if len(parents) == 0 {
		if a.now().Sub(o.GetCreationTimestamp().Time) > settling {
			return driver.Failed, "no controller answers for " + what + ": is the Gateway there, and does its controller run?"
		}
		return driver.Changing, what + " was not looked at yet"
	}
	for _, v := range parents {
		parent, _ := v.(map[string]any)
		all, _ := parent["conditions"].([]any)
		for _, name := range []string{"Accepted", "ResolvedRefs"} {
			c := conditionIn(all, name)
			switch {
			case c.Status == "" && name == "ResolvedRefs": // policies have none
			case c.Status == "" || c.ObservedGeneration != 0 && c.ObservedGeneration < o.GetGeneration():
				return driver.Changing, what + " was not looked at yet"
			case c.Status != metav1.ConditionTrue && a.now().Sub(c.Since) > settling:
				return driver.Failed, what + " is not accepted: " + c.Reason + ": " + c.Message
			case c.Status != metav1.ConditionTrue:
				return driver.Changing, what + " is not accepted: " + c.Reason + ": " + c.Message
			}
		}
	}
	return driver.Ready, ""
}
