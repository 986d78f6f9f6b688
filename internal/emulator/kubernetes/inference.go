// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"fmt"
	"maps"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

const (
	isvcFinalizer = "inferenceservice.finalizers"
	isvcLabel     = "serving.kserve.io/inferenceservice"
	annotationOf  = "serving.kserve.io/"
	defaultPort   = 8080
)

// kserve is how KServe's controller writes; its status too.
var (
	kserve       = author{manager: "manager"}
	kserveStatus = author{manager: "manager", subresource: "status"}
)

// service is an InferenceService while its controller looks at it.
type service struct {
	*world
	u          *unstructured.Unstructured
	deployment *appsv1.Deployment // nil while there is none
}

func (s *service) child() string { return s.u.GetName() + "-predictor" }

func reconcileInference(w *world, ns, name string) error {
	u, found, err := lookup[*unstructured.Unstructured](w, inference, ns, name)
	if err != nil || !found {
		return err
	}
	s := &service{world: w, u: u}
	if u.GetDeletionTimestamp() != nil {
		return s.finish()
	}
	if !slices.Contains(u.GetFinalizers(), isvcFinalizer) {
		u.SetFinalizers(append(u.GetFinalizers(), isvcFinalizer))
		if err := w.save(inference, u, kserve); err != nil {
			return err
		}
	}
	if mode(u) != "Standard" {
		return w.emit(u, "InferenceService", "v1beta1Controllers", "Warning", "ServerlessModeRejected", "It is not possible to use Serverless deployment mode when Knative Services are not available")
	}
	if u.GetAnnotations()[annotationOf+"stop"] == "true" {
		return s.stop()
	}
	spec, reason, problem, err := s.podSpec()
	if err != nil {
		return err
	}
	if problem != "" {
		return s.invalid(reason, problem)
	}
	if host := s.child() + "-" + s.u.GetNamespace(); len(host) > 63 {
		return s.emit(s.u, "InferenceService", "v1beta1Controllers", "Warning", "InternalError", fmt.Sprintf("fails to reconcile component: fails to create NewRawKubeReconciler for predictor: "+
			"failed creating host name: invalid domain name \"%[1]s.example.com\": url: Invalid value: %[1]q: must be no more than 63 characters", host))
	}
	if err := s.applyDeployment(spec); err != nil {
		return err
	}
	if err := s.applyService(); err != nil {
		return err
	}
	if err := s.applyAutoscaler(); err != nil {
		return err
	}
	return s.status()
}

// finish removes what belongs to the service, and then lets it go.
func (s *service) finish() error {
	if !slices.Contains(s.u.GetFinalizers(), isvcFinalizer) {
		return nil
	}
	return s.unfinalize(catalog()[inference], s.u, isvcFinalizer)
}

func (s *service) stop() error {
	d, found, err := lookup[*appsv1.Deployment](s.world, deployments, s.u.GetNamespace(), s.child())
	if err != nil {
		return err
	}
	if found && d.DeletionTimestamp == nil {
		if _, _, err := s.delete(catalog()[deployments], d, deletion{}); err != nil {
			return err
		}
	}
	status := nested(s.u.Object, "status")
	if status == nil {
		status = map[string]any{}
	}
	status["conditions"] = s.conditions(no("PredictorReady", "Stopped", ""), no("Ready", "Stopped", ""), yes("Stopped", "", ""))
	return s.report(inference, s.u, status, kserveStatus)
}

// conditions are Knative's: without an observed generation.
func (s *service) conditions(all ...metav1.Condition) []any {
	found := s.conditionsOf(items(s.u.Object, "status", "conditions"), 0, all...)
	for _, c := range found {
		if c, ok := c.(map[string]any); ok {
			delete(c, "observedGeneration")
			for _, name := range []string{"reason", "message"} {
				if c[name] == "" {
					delete(c, name)
				}
			}
		}
	}
	return found
}

// invalid reports a specification that nothing can serve.
func (s *service) invalid(reason, problem string) error {
	status := nested(s.u.Object, "status")
	if status == nil {
		status = map[string]any{}
	}
	status["modelStatus"] = map[string]any{"transitionStatus": "InvalidSpec", "states": map[string]any{"activeModelState": "", "targetModelState": "FailedToLoad"},
		"lastFailureInfo": map[string]any{"reason": reason, "message": problem}}
	status["conditions"] = s.conditions(no("PredictorReady", reason, problem), no("Ready", reason, problem))
	if err := s.emit(s.u, "InferenceService", "v1beta1Controllers", "Warning", "InternalError", problem); err != nil {
		return err
	}
	return s.report(inference, s.u, status, kserveStatus)
}

// keptBack are the annotations that KServe does not hand on.
var keptBack = []string{"autoscaling.knative.dev/min-scale", "autoscaling.knative.dev/max-scale", "internal.serving.kserve.io/storage-initializer-sourceuri", lastKubect, "modelFormat"}

// passedOn are the labels and annotations that KServe hands on to what it makes: pods too,
// so that a changed label restarts them.
func (s *service) passedOn() (labels, annotations map[string]string) {
	labels, annotations = map[string]string{}, map[string]string{}
	for _, m := range []map[string]any{nested(s.u.Object, "metadata"), nested(s.u.Object, "spec", "predictor")} {
		l, _, _ := unstructured.NestedStringMap(m, "labels")
		maps.Copy(labels, l)
		a, _, _ := unstructured.NestedStringMap(m, "annotations")
		maps.Copy(annotations, a)
	}
	for _, name := range keptBack {
		delete(annotations, name)
	}
	labels["app"] = "isvc." + s.child()
	labels[isvcLabel], labels["component"] = s.u.GetName(), "predictor"
	return labels, annotations
}

func (s *service) meta() metav1.ObjectMeta {
	labels, annotations := s.passedOn()
	return metav1.ObjectMeta{Name: s.child(), Namespace: s.u.GetNamespace(), Labels: labels, Annotations: annotations,
		OwnerReferences: []metav1.OwnerReference{controlledBy("serving.kserve.io/v1beta1", "InferenceService", s.u)}}
}

func (s *service) class() string {
	return orElse(s.u.GetAnnotations()[annotationOf+"autoscalerClass"], "hpa")
}

func (s *service) applyDeployment(spec *corev1.PodSpec) error {
	predictor := nested(s.u.Object, "spec", "predictor")
	labels, annotations := s.passedOn()
	defaultServer(spec)
	d := &appsv1.Deployment{ObjectMeta: s.meta(), Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": labels["app"]}},
		Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations}, Spec: *spec}}}
	if strategy := nested(predictor, "deploymentStrategy"); strategy != nil {
		if err := convert(strategy, &d.Spec.Strategy); err != nil {
			return err
		}
	}
	if least, ok := number(predictor, "minReplicas"); ok && s.class() == "none" {
		n := int32(least)
		d.Spec.Replicas = &n
	}
	setBuiltinDefaults(d)
	old, found, err := lookup[*appsv1.Deployment](s.world, deployments, d.Namespace, d.Name)
	if err != nil {
		return err
	}
	if found && old.DeletionTimestamp != nil {
		return s.wait("*", subject{"inference", d.Namespace, s.u.GetName()})
	}
	if !found {
		made, err := s.create(catalog()[deployments], d, kserve)
		if err != nil {
			return s.refused(err)
		}
		if err := s.doomed(made); err != nil {
			return err
		}
		s.deployment, _ = made.(*appsv1.Deployment)
		return nil
	}
	next := old.DeepCopy()
	next.Spec.Template, next.Spec.Strategy = d.Spec.Template, d.Spec.Strategy
	if s.class() == "none" {
		next.Spec.Replicas = d.Spec.Replicas
	}
	maps.Copy(next.Labels, d.Labels)
	maps.Copy(next.Annotations, d.Annotations)
	s.deployment = old
	if apiequality.Semantic.DeepEqual(old, next) {
		return nil
	}
	if !sameTemplate(&old.Spec.Template, &next.Spec.Template) {
		if err := s.doomed(next); err != nil {
			return err
		}
	}
	if err := s.save(deployments, next, kserve); err != nil {
		return s.refused(err)
	}
	s.deployment = next
	return nil
}

// refused reports that the API server does not take what the service needs.
func (s *service) refused(err error) error {
	return s.emit(s.u, "InferenceService", "v1beta1Controllers", "Warning", "InternalError", "fails to reconcile predictor: "+err.Error())
}

// doomed passes a scripted failure on to the pods.
func (s *service) doomed(d runtime.Object) error {
	var f fate
	if _, err := s.tx.Get(docDoomed, string(s.u.GetUID()), &f); err != nil {
		return err
	}
	if d, ok := d.(*appsv1.Deployment); ok {
		f.Hash = hashOf(&d.Spec.Template, nil)
	}
	return s.foretell(string(metaOf(d).GetUID()), f)
}

func (s *service) applyService() error {
	if s.deployment == nil {
		return nil
	}
	ports := []corev1.ServicePort{{Name: s.child(), Port: 80, TargetPort: intstr.FromInt32(defaultPort), Protocol: corev1.ProtocolTCP}}
	for i, p := range s.deployment.Spec.Template.Spec.Containers[0].Ports {
		port := corev1.ServicePort{Name: p.Name, Port: p.ContainerPort, TargetPort: intstr.FromInt32(p.ContainerPort), Protocol: p.Protocol}
		if i == 0 {
			port.Port = 80
			ports = nil
		}
		ports = append(ports, port)
	}
	svc := &corev1.Service{ObjectMeta: s.meta(), Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "isvc." + s.child()}, Ports: ports}}
	return s.keepChild(services, svc, func(old runtime.Object) runtime.Object {
		o, ok := old.DeepCopyObject().(*corev1.Service)
		if ok {
			o.Spec.Ports, o.Spec.Selector, o.Labels, o.Annotations = svc.Spec.Ports, svc.Spec.Selector, svc.Labels, svc.Annotations
		}
		return o
	})
}

// keepChild makes an object, or changes it to what it should be.
func (s *service) keepChild(id string, want runtime.Object, change func(old runtime.Object) runtime.Object) error {
	r, m := catalog()[id], metaOf(want)
	r.setDefaults(want)
	old, err := s.get(r, m.GetNamespace(), m.GetName())
	if err != nil {
		return err
	}
	if old == nil {
		_, err = s.create(r, want, kserve)
	} else {
		err = s.save(id, change(old), kserve)
	}
	if err != nil {
		return s.refused(err)
	}
	return nil
}

// applyAutoscaler makes an HPA of the class that asks for one, whether or not anybody
// asked for scaling: so does KServe.
func (s *service) applyAutoscaler() error {
	predictor := nested(s.u.Object, "spec", "predictor")
	if s.class() != "hpa" {
		old, found, err := lookup[*autoscalingv2.HorizontalPodAutoscaler](s.world, autoscalers, s.u.GetNamespace(), s.child())
		if err != nil || !found || old.DeletionTimestamp != nil {
			return err
		}
		_, _, err = s.delete(catalog()[autoscalers], old, deletion{})
		return err
	}
	least, _ := number(predictor, "minReplicas")
	most, _ := number(predictor, "maxReplicas")
	low := max(int32(least), 1)
	h := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: s.meta(), Spec: autoscalingv2.HorizontalPodAutoscalerSpec{MinReplicas: &low, MaxReplicas: max(int32(most), low),
		ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: s.child()}, Metrics: s.metrics(predictor),
		Behavior: &autoscalingv2.HorizontalPodAutoscalerBehavior{}}}
	return s.keepChild(autoscalers, h, func(old runtime.Object) runtime.Object {
		o, ok := old.DeepCopyObject().(*autoscalingv2.HorizontalPodAutoscaler)
		if ok {
			o.Spec = h.Spec
		}
		return o
	})
}

func (s *service) metrics(predictor map[string]any) []autoscalingv2.MetricSpec {
	var found []autoscalingv2.MetricSpec
	for _, m := range items(predictor, "autoScaling", "metrics") {
		if text(m, "type") != "Resource" {
			continue
		}
		percent := int32(80)
		if n, ok := number(m, "resource", "target", "averageUtilization"); ok {
			percent = int32(n)
		}
		found = append(found, utilization(text(m, "resource", "name"), percent))
	}
	if len(found) > 0 {
		return found
	}
	percent := int32(80)
	if n, ok := number(predictor, "scaleTarget"); ok {
		percent = int32(n)
	}
	return []autoscalingv2.MetricSpec{utilization(orElse(text(predictor, "scaleMetric"), "cpu"), percent)}
}

func utilization(name string, percent int32) autoscalingv2.MetricSpec {
	return autoscalingv2.MetricSpec{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{Name: corev1.ResourceName(name),
		Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: &percent}}}
}
