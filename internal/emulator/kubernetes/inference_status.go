// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// status is what KServe reports, with its lies: the observed generation is that of the
// Deployment, a deployment that was available once stays ready while its new pods
// crash, and a failure is never taken back.
func (s *service) status() error {
	d, found, err := lookup[*appsv1.Deployment](s.world, deployments, s.u.GetNamespace(), s.child())
	if err != nil || !found {
		return err
	}
	status := nested(s.u.Object, "status")
	if status == nil {
		status = map[string]any{}
	}
	ok := false
	message := "Deployment is progressing"
	if c := condition(d.Status.Conditions, appsv1.DeploymentAvailable); c != nil {
		ok, message = c.Status == corev1.ConditionTrue, c.Message
	}
	host := fmt.Sprintf("%s-%s.example.com", s.u.GetName(), s.u.GetNamespace())
	inside := fmt.Sprintf("%s.%s.svc.cluster.local", s.child(), s.u.GetNamespace())
	predictor := yes("PredictorReady", "", "")
	all := yes("Ready", "", "")
	if !ok {
		predictor, all = no("PredictorReady", "MinimumReplicasUnavailable", message), no("Ready", "MinimumReplicasUnavailable", message)
	}
	status["conditions"] = s.conditions(yes("IngressReady", "", ""), predictor, all, no("Stopped", "", ""))
	status["observedGeneration"] = d.Status.ObservedGeneration
	status["deploymentMode"] = "Standard"
	if ok {
		status["url"] = "http://" + host
		status["address"] = map[string]any{"url": "http://" + inside}
	}
	status["components"] = map[string]any{"predictor": map[string]any{"url": "http://" + inside}}
	model, err := s.modelStatus(d, ok)
	if err != nil {
		return err
	}
	status["modelStatus"] = model
	return s.report(inference, s.u, status, kserveStatus)
}

// modelStatus looks at the first pod only, as KServe does.
func (s *service) modelStatus(d *appsv1.Deployment, ok bool) (map[string]any, error) {
	all, err := s.matching(d.Namespace, labels.SelectorFromSet(d.Spec.Selector.MatchLabels), d.Spec.Selector.MatchLabels)
	if err != nil {
		return nil, err
	}
	now := nested(s.u.Object, "status", "modelStatus")
	if now == nil {
		now = map[string]any{"transitionStatus": "InProgress", "states": map[string]any{"activeModelState": "", "targetModelState": "Pending"}}
	}
	now["copies"] = map[string]any{"failedCopies": int64(0), "totalCopies": int64(d.Status.Replicas)}
	switch {
	case ok:
		now["transitionStatus"] = "UpToDate"
		now["states"] = map[string]any{"activeModelState": "Loaded", "targetModelState": "Loaded"}
	case len(all) > 0:
		now["transitionStatus"] = "InProgress"
		now["states"] = map[string]any{"activeModelState": "", "targetModelState": "Loading"}
	}
	if len(all) == 0 {
		return now, nil
	}
	for _, c := range append(all[0].Status.InitContainerStatuses, all[0].Status.ContainerStatuses...) {
		if t := c.LastTerminationState.Terminated; t != nil && t.ExitCode != 0 && !ok {
			now["transitionStatus"] = "BlockedByFailedLoad"
			now["states"] = map[string]any{"activeModelState": "", "targetModelState": "FailedToLoad"}
			now["lastFailureInfo"] = map[string]any{"reason": "ModelLoadFailed", "message": t.Message, "exitCode": int64(t.ExitCode)}
		}
	}
	return now, nil
}
