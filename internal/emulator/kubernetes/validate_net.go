// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"fmt"
	"net/netip"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validateService(s *corev1.Service) (errs field.ErrorList) {
	ports := specPath.Child("ports")
	if len(s.Spec.Ports) == 0 && s.Spec.Type != corev1.ServiceTypeExternalName && s.Spec.ClusterIP != corev1.ClusterIPNone {
		errs = append(errs, field.Required(ports, ""))
	}
	switch s.Spec.Type {
	case corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer:
	case corev1.ServiceTypeExternalName:
		if s.Spec.ExternalName == "" {
			errs = append(errs, field.Required(specPath.Child("externalName"), ""))
		}
	default:
		errs = append(errs, field.NotSupported(specPath.Child("type"), s.Spec.Type, []corev1.ServiceType{corev1.ServiceTypeClusterIP, corev1.ServiceTypeExternalName, corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort}))
	}
	names, numbers := map[string]bool{}, map[string]bool{}
	for i, p := range s.Spec.Ports {
		at := ports.Index(i)
		errs = append(errs, validateServicePort(p, len(s.Spec.Ports) > 1, names, at)...)
		key := fmt.Sprintf("%d/%s", p.Port, p.Protocol)
		if numbers[key] {
			errs = append(errs, field.Duplicate(at, struct {
				Name, Protocol   string
				AppProtocol      *string
				Port, TargetPort int32
				NodePort         int32
			}{Protocol: string(p.Protocol), Port: p.Port}))
		}
		numbers[key] = true
	}
	if s.Spec.Selector != nil {
		errs = append(errs, metavalidation.ValidateLabels(s.Spec.Selector, specPath.Child("selector"))...)
	}
	if s.Spec.SessionAffinity != corev1.ServiceAffinityNone && s.Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		errs = append(errs, field.NotSupported(specPath.Child("sessionAffinity"), s.Spec.SessionAffinity, []corev1.ServiceAffinity{corev1.ServiceAffinityClientIP, corev1.ServiceAffinityNone}))
	}
	if ip := s.Spec.ClusterIP; ip != "" && ip != corev1.ClusterIPNone {
		if _, err := netip.ParseAddr(ip); err != nil {
			errs = append(errs, field.Invalid(specPath.Child("clusterIPs").Index(0), ip, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"))
		}
	}
	return errs
}

func validateServicePort(p corev1.ServicePort, needsName bool, names map[string]bool, path *field.Path) (errs field.ErrorList) {
	switch {
	case p.Name == "" && needsName:
		errs = append(errs, field.Required(path.Child("name"), ""))
	case p.Name != "":
		for _, problem := range utilvalidation.IsDNS1123Label(p.Name) {
			errs = append(errs, field.Invalid(path.Child("name"), p.Name, problem))
		}
		if names[p.Name] {
			errs = append(errs, field.Duplicate(path.Child("name"), p.Name))
		}
		names[p.Name] = true
	}
	for _, problem := range utilvalidation.IsValidPortNum(int(p.Port)) {
		errs = append(errs, field.Invalid(path.Child("port"), p.Port, problem))
	}
	switch p.Protocol {
	case corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP:
	default:
		errs = append(errs, field.NotSupported(path.Child("protocol"), p.Protocol, []corev1.Protocol{corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP}))
	}
	if p.TargetPort.Type == intstr.String {
		for _, problem := range utilvalidation.IsValidPortName(p.TargetPort.StrVal) {
			errs = append(errs, field.Invalid(path.Child("targetPort"), p.TargetPort, problem))
		}
	} else {
		for _, problem := range utilvalidation.IsValidPortNum(int(p.TargetPort.IntVal)) {
			errs = append(errs, field.Invalid(path.Child("targetPort"), p.TargetPort, problem))
		}
	}
	return errs
}

func validateAddressChange(old, s *corev1.Service) (errs field.ErrorList) {
	if old.Spec.Type == corev1.ServiceTypeExternalName || s.Spec.Type == corev1.ServiceTypeExternalName || old.Spec.ClusterIP == "" {
		return nil
	}
	if old.Spec.ClusterIP != s.Spec.ClusterIP {
		errs = append(errs, field.Invalid(specPath.Child("clusterIPs").Index(0), s.Spec.ClusterIPs, "may not change once set"))
	}
	return errs
}

func validateAutoscaler(h *autoscalingv2.HorizontalPodAutoscaler) (errs field.ErrorList) {
	least, most := *h.Spec.MinReplicas, h.Spec.MaxReplicas
	if least < 1 {
		errs = append(errs, field.Invalid(specPath.Child("minReplicas"), least, "must be greater than or equal to 1"))
	}
	if most < 1 {
		errs = append(errs, field.Invalid(specPath.Child("maxReplicas"), most, "must be greater than 0"))
	}
	if most < least {
		errs = append(errs, field.Invalid(specPath.Child("maxReplicas"), most, "must be greater than or equal to `minReplicas`"))
	}
	ref := specPath.Child("scaleTargetRef")
	if h.Spec.ScaleTargetRef.Kind == "" {
		errs = append(errs, field.Required(ref.Child("kind"), ""))
	}
	if h.Spec.ScaleTargetRef.Name == "" {
		errs = append(errs, field.Required(ref.Child("name"), ""))
	}
	if h.Spec.ScaleTargetRef.APIVersion == "" {
		errs = append(errs, field.Invalid(ref.Child("apiVersion"), "", "apiVersion must specify API group"))
	}
	external := false
	for i, m := range h.Spec.Metrics {
		external = external || m.Type == autoscalingv2.ObjectMetricSourceType || m.Type == autoscalingv2.ExternalMetricSourceType
		errs = append(errs, validateMetric(m, specPath.Child("metrics").Index(i))...)
	}
	if least == 0 && !external {
		errs = append(errs, field.Forbidden(specPath.Child("metrics"), "must specify at least one Object or External metric to support scaling to zero replicas"))
	}
	if b := h.Spec.Behavior; b != nil {
		path := specPath.Child("behavior")
		errs = append(errs, validateRulesOf(b.ScaleUp, path.Child("scaleUp"))...)
		errs = append(errs, validateRulesOf(b.ScaleDown, path.Child("scaleDown"))...)
	}
	return errs
}

func validateRulesOf(r *autoscalingv2.HPAScalingRules, path *field.Path) (errs field.ErrorList) {
	if r == nil {
		return nil
	}
	if w := r.StabilizationWindowSeconds; w != nil && *w < 0 {
		errs = append(errs, field.Invalid(path.Child("stabilizationWindowSeconds"), *w, "must be greater than or equal to zero"))
	} else if w != nil && *w > 3600 {
		errs = append(errs, field.Invalid(path.Child("stabilizationWindowSeconds"), *w, "must be less than or equal to 3600"))
	}
	for i, p := range r.Policies {
		at := path.Child("policies").Index(i)
		if p.Value <= 0 {
			errs = append(errs, field.Invalid(at.Child("value"), p.Value, "must be greater than zero"))
		}
		if p.PeriodSeconds <= 0 || p.PeriodSeconds > 1800 {
			errs = append(errs, field.Invalid(at.Child("periodSeconds"), p.PeriodSeconds, "must be less than or equal to 1800"))
		}
	}
	return errs
}

func validateMetric(m autoscalingv2.MetricSpec, path *field.Path) (errs field.ErrorList) {
	names := map[autoscalingv2.MetricSourceType]string{autoscalingv2.ObjectMetricSourceType: "object", autoscalingv2.PodsMetricSourceType: "pods", autoscalingv2.ResourceMetricSourceType: "resource",
		autoscalingv2.ExternalMetricSourceType: "external", autoscalingv2.ContainerResourceMetricSourceType: "containerResource"}
	if m.Type == "" {
		return field.ErrorList{field.Required(path.Child("type"), "must specify a metric source type")}
	}
	name, known := names[m.Type]
	if !known {
		unknown := field.NotSupported(path.Child("type"), m.Type, []autoscalingv2.MetricSourceType{"ContainerResource", "External", "Object", "Pods", "Resource"})
		return field.ErrorList{unknown, unknown} // it is found out twice
	}
	target := targetOf(m)
	if target == nil {
		return field.ErrorList{field.Required(path.Child(name), "must populate information for the given metric source")}
	}
	at := path.Child(name, "target")
	errs = validateTarget(target, at)
	if (m.Resource != nil || m.ContainerResource != nil) && target.AverageUtilization == nil && target.AverageValue == nil {
		errs = append(errs, field.Required(at.Child("averageUtilization"), "must set either a target raw value or a target utilization"))
	}
	return errs
}

// targetOf is the target of the metric that the type names, nil if there is none.
func targetOf(m autoscalingv2.MetricSpec) *autoscalingv2.MetricTarget {
	switch {
	case m.Type == autoscalingv2.ResourceMetricSourceType && m.Resource != nil:
		return &m.Resource.Target
	case m.Type == autoscalingv2.ContainerResourceMetricSourceType && m.ContainerResource != nil:
		return &m.ContainerResource.Target
	case m.Type == autoscalingv2.PodsMetricSourceType && m.Pods != nil:
		return &m.Pods.Target
	case m.Type == autoscalingv2.ObjectMetricSourceType && m.Object != nil:
		return &m.Object.Target
	case m.Type == autoscalingv2.ExternalMetricSourceType && m.External != nil:
		return &m.External.Target
	}
	return nil
}

func validateTarget(t *autoscalingv2.MetricTarget, path *field.Path) (errs field.ErrorList) {
	switch t.Type {
	case "":
		errs = append(errs, field.Required(path.Child("type"), "must specify a metric target type"))
	case autoscalingv2.UtilizationMetricType, autoscalingv2.ValueMetricType, autoscalingv2.AverageValueMetricType:
	default:
		errs = append(errs, field.Invalid(path.Child("type"), t.Type, "must be either Utilization, Value, or AverageValue"))
	}
	if t.Value != nil && t.Value.Sign() != 1 {
		errs = append(errs, field.Invalid(path.Child("value"), t.Value, "must be positive"))
	}
	if t.AverageValue != nil && t.AverageValue.Sign() != 1 {
		errs = append(errs, field.Invalid(path.Child("averageValue"), t.AverageValue, "must be positive"))
	}
	if t.AverageUtilization != nil && *t.AverageUtilization < 1 {
		errs = append(errs, field.Invalid(path.Child("averageUtilization"), *t.AverageUtilization, "must be greater than 0"))
	}
	return errs
}

func validateNetworkPolicy(p *networkingv1.NetworkPolicy) (errs field.ErrorList) {
	errs = append(errs, metavalidation.ValidateLabelSelector(&p.Spec.PodSelector, metavalidation.LabelSelectorValidationOptions{}, specPath.Child("podSelector"))...)
	for i, rule := range p.Spec.Ingress {
		at := specPath.Child("ingress").Index(i)
		errs = append(errs, validatePolicyPorts(rule.Ports, at.Child("ports"))...)
		errs = append(errs, validatePeers(rule.From, at.Child("from"))...)
	}
	for i, rule := range p.Spec.Egress {
		at := specPath.Child("egress").Index(i)
		errs = append(errs, validatePolicyPorts(rule.Ports, at.Child("ports"))...)
		errs = append(errs, validatePeers(rule.To, at.Child("to"))...)
	}
	for i, t := range p.Spec.PolicyTypes {
		if t != networkingv1.PolicyTypeIngress && t != networkingv1.PolicyTypeEgress {
			errs = append(errs, field.NotSupported(specPath.Child("policyTypes").Index(i), t, []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress}))
		}
	}
	return errs
}

func validatePolicyPorts(ports []networkingv1.NetworkPolicyPort, path *field.Path) (errs field.ErrorList) {
	for i, p := range ports {
		if p.Port == nil {
			continue
		}
		problems := utilvalidation.IsValidPortNum(p.Port.IntValue())
		if p.Port.Type == intstr.String {
			problems = utilvalidation.IsValidPortName(p.Port.StrVal)
		}
		for _, problem := range problems {
			bad := any(p.Port.StrVal)
			if p.Port.Type == intstr.Int {
				bad = p.Port.IntVal
			}
			errs = append(errs, field.Invalid(path.Index(i).Child("port"), bad, problem))
		}
	}
	return errs
}

func validatePeers(peers []networkingv1.NetworkPolicyPeer, path *field.Path) (errs field.ErrorList) {
	for i, peer := range peers {
		at := path.Index(i)
		switch {
		case peer.PodSelector == nil && peer.NamespaceSelector == nil && peer.IPBlock == nil:
			errs = append(errs, field.Required(at, "must specify a peer"))
		case peer.IPBlock != nil && (peer.PodSelector != nil || peer.NamespaceSelector != nil):
			errs = append(errs, field.Forbidden(at, "may not specify both ipBlock and another peer"))
		case peer.IPBlock != nil:
			if _, err := netip.ParsePrefix(peer.IPBlock.CIDR); err != nil {
				errs = append(errs, field.Invalid(at.Child("ipBlock", "cidr"), peer.IPBlock.CIDR, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"))
			}
		}
	}
	return errs
}
