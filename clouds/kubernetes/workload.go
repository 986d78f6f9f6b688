// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"math"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/naming"
)

// progressSeconds is how long a deployment may make no progress, a model being
// loaded among it, before Kubernetes calls it failed.
const progressSeconds = 1800

// deploymentID names a deployment by what cannot change while it runs. 48 characters
// leave room for what is appended.
func deploymentID(key driver.Key, want *driver.Deployment, s *driver.Settings) string {
	longest := 48
	if kubernetesOf(s).Serving == servingKServe {
		longest = min(longest, max(shortestID, kserveRoom(key.Location)))
	}
	return naming.Name(key.Name+"-"+want.Name, longest, naming.Hash([]any{key.Name, want.Name, want.Model.String(), want.Compute, want.Env,
		s.Auth.Mode, s.Auth.OIDC, s.Encryption.TLS, s.Kubernetes}))
}

// shortestID is a letter, a hyphen and the hash.
const shortestID = 12

// kserveRoom is how long the name of an InferenceService can be: KServe makes of it, of
// "-predictor-" and of the namespace one label of a host name, of 63 characters at most.
func kserveRoom(namespace string) int { return 63 - len("-predictor-") - len(namespace) }

// carried are the settings that are in the pods.
func carried() []string { return []string{"auth.mode", "auth.oidc", "encryption.tls", "kubernetes"} }

// objects are all objects of one deployment.
func (s *serving) objects(labels map[string]string) ([]written, error) {
	c, err := s.contract()
	if err != nil {
		return nil, err
	}
	all := []written{s.deploymentService(labels, c.GRPCPort > 0)}
	if s.dep.Scaling.Max > 1 {
		all = append(all, s.budget(labels))
	}
	if kubernetesOf(s.settings).Serving == servingKServe {
		isvc, err := s.inferenceService()
		return append(all, isvc), err
	}
	workload, err := s.deployment(labels)
	if err != nil {
		return nil, err
	}
	all = append(all, workload)
	if s.dep.Scaling.Automatic() {
		all = append(all, s.autoscaler(labels))
	}
	return all, nil
}

// deployment is the Deployment. Under an autoscaler it says nothing of replicas.
func (s *serving) deployment(labels map[string]string) (written, error) {
	template, err := s.pod(containerServer)
	if err != nil {
		return written{}, err
	}
	spec := appsv1.DeploymentSpec{
		ProgressDeadlineSeconds: new(int32(progressSeconds)), RevisionHistoryLimit: new(int32(2)), Template: template,
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{labelEndpoint: s.key.Name, labelID: s.dep.ID}},
		Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType,
			RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: new(intstr.FromInt32(1)), MaxUnavailable: new(intstr.FromInt32(0))}},
	}
	if !s.dep.Scaling.Automatic() {
		spec.Replicas = new(int32(s.dep.Scaling.Min))
	}
	o := with(newObject(deployments, s.key.Location, s.dep.ID), map[string]any{"spec": spec})
	o.SetLabels(s.labels(labels))
	return writing(deployments, o, s.dep.ID), nil
}

// budget keeps most replicas when nodes are drained.
func (s *serving) budget(labels map[string]string) written {
	o := with(newObject(budgets, s.key.Location, s.dep.ID), map[string]any{"spec": policyv1.PodDisruptionBudgetSpec{
		MaxUnavailable: new(intstr.FromInt32(1)), UnhealthyPodEvictionPolicy: new(policyv1.AlwaysAllow),
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{labelID: s.dep.ID}}}})
	o.SetLabels(s.labels(labels))
	return writing(budgets, o, s.dep.ID)
}

// metricNames are the metrics of pods in custom.metrics.k8s.io, in the units of the
// configuration language. Whoever runs the metrics adapter can name others.
var metricNames = map[driver.MetricType]string{
	driver.MetricRequests: "ml_requests_per_minute", driver.MetricConcurrency: "ml_requests_in_flight",
	driver.MetricLatency: "ml_request_latency_milliseconds", driver.MetricGPU: "DCGM_FI_DEV_GPU_UTIL",
}

// measured reports whether metrics-server knows a metric; others need an adapter.
func measured(m driver.MetricType) bool { return m == driver.MetricCPU || m == driver.MetricMemory }

// autoscaler is the HorizontalPodAutoscaler.
func (s *serving) autoscaler(labels map[string]string) written {
	scaling := &s.dep.Scaling
	spec := autoscalingv2.HorizontalPodAutoscalerSpec{
		ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: deployments.apiVersion(), Kind: deployments.name, Name: s.dep.ID},
		MinReplicas:    new(int32(scaling.Min)), MaxReplicas: int32(scaling.Max), Behavior: behavior(scaling),
	}
	for _, m := range scaling.Metrics {
		spec.Metrics = append(spec.Metrics, s.metric(m))
	}
	o := with(newObject(autoscalers, s.key.Location, s.dep.ID), map[string]any{"spec": spec})
	o.SetLabels(s.labels(labels))
	return writing(autoscalers, o, s.dep.ID)
}

func (s *serving) metric(m driver.Metric) autoscalingv2.MetricSpec {
	if measured(m.Type) {
		name := corev1.ResourceName(m.Type)
		return autoscalingv2.MetricSpec{Type: autoscalingv2.ContainerResourceMetricSourceType, ContainerResource: &autoscalingv2.ContainerResourceMetricSource{
			Name: name, Container: containerServer,
			Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: new(int32(math.Round(m.Target)))}}}
	}
	name := metricNames[m.Type]
	if own := s.cfg.Metrics[string(m.Type)]; own != "" {
		name = own
	}
	return autoscalingv2.MetricSpec{Type: autoscalingv2.PodsMetricSourceType, Pods: &autoscalingv2.PodsMetricSource{
		Metric: autoscalingv2.MetricIdentifier{Name: name},
		Target: autoscalingv2.MetricTarget{Type: autoscalingv2.AverageValueMetricType, AverageValue: resource.NewMilliQuantity(int64(math.Round(m.Target*1000)), resource.DecimalSI)}}}
}

// behavior says how long the autoscaler waits before it follows; without it the
// cluster's defaults hold.
func behavior(s *driver.Scaling) *autoscalingv2.HorizontalPodAutoscalerBehavior {
	if s.ScaleInCooldown == 0 && s.ScaleOutCooldown == 0 {
		return nil
	}
	rules := func(d time.Duration) *autoscalingv2.HPAScalingRules {
		if d == 0 {
			return nil
		}
		return &autoscalingv2.HPAScalingRules{StabilizationWindowSeconds: new(int32(d / time.Second))}
	}
	return &autoscalingv2.HorizontalPodAutoscalerBehavior{ScaleDown: rules(s.ScaleInCooldown), ScaleUp: rules(s.ScaleOutCooldown)}
}

// KServe's annotations and labels.
const (
	kserveDomain = "serving.kserve.io/"
	kserveMode   = kserveDomain + "deploymentMode"
	kserveScaler = kserveDomain + "autoscalerClass"
	kserveHidden = "networking.kserve.io/visibility"
	// kserveOwner is on the pods that KServe makes of an InferenceService.
	kserveOwner = kserveDomain + "inferenceservice"
)

// predictor is what KServe calls the Deployment and Service that it makes.
func predictor(id string) string { return id + "-predictor" }

// inferenceService is the InferenceService. Its predictor is the same pod: KServe's
// own way to bring a model does not check what it brings. Labels and annotations of
// it reach the pods, and a change would restart them: they are the same for its
// whole life, and the user's are not among them.
func (s *serving) inferenceService() (written, error) {
	template, err := s.pod(containerKServe)
	if err != nil {
		return written{}, err
	}
	spec, _ := plain(template.Spec).(map[string]any)
	spec["labels"], spec["annotations"] = plain(template.Labels), plain(template.Annotations)
	notes, _ := spec["annotations"].(map[string]any)
	notes[noteSpec] = naming.Hash(spec)[:12] // by which a Deployment shows that it was made from this
	s.dep.bound(spec)
	spec["deploymentStrategy"] = plain(appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType,
		RollingUpdate: &appsv1.RollingUpdateDeployment{MaxSurge: new(intstr.FromInt32(1)), MaxUnavailable: new(intstr.FromInt32(0))}})
	o := with(newObject(inferenceServices, s.key.Location, s.dep.ID), map[string]any{"spec": map[string]any{"predictor": spec}})
	o.SetLabels(s.labels(map[string]string{kserveHidden: "cluster-local"}))
	o.SetAnnotations(map[string]string{kserveMode: "Standard", kserveScaler: s.dep.scalerClass()})
	return writing(inferenceServices, o, s.dep.ID), nil
}

// bound writes a predictor's replica bounds and metric. It starts with as many
// replicas as it is to take over from.
func (e *entry) bound(predictor map[string]any) {
	predictor["minReplicas"], predictor["maxReplicas"] = int64(max(e.Scaling.Min, e.Start)), int64(max(e.Scaling.Max, e.Start))
	delete(predictor, "scaleMetric")
	delete(predictor, "scaleTarget")
	for _, m := range e.Scaling.Metrics { // one at most
		predictor["scaleMetric"], predictor["scaleTarget"] = string(m.Type), int64(math.Round(m.Target))
	}
}

// scalerClass is who scales an InferenceService. Without one KServe would make an
// autoscaler of its own choice.
func (e *entry) scalerClass() string {
	if e.Scaling.Automatic() {
		return "hpa"
	}
	return "none"
}

// workloadKind is which kind of object runs a deployment's pods.
func (e *entry) workloadKind() *kind {
	switch {
	case e.Adopted != "":
		return kinds[e.Adopted]
	case kubernetesOf(&e.Carried).Serving == servingKServe:
		return inferenceServices
	}
	return deployments
}

// runs is the name of the Deployment that runs the pods.
func (e *entry) runs() string {
	if e.workloadKind() == inferenceServices {
		return predictor(e.ID)
	}
	return e.ID
}
