// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"fmt"
	"reflect"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var specPath = field.NewPath("spec")

// validateCreate checks a new object.
func (r *resource) validateCreate(obj runtime.Object) field.ErrorList {
	return append(r.validateMeta(metaOf(obj)), r.validate(obj)...)
}

// validateUpdate checks a change.
func (r *resource) validateUpdate(old, obj runtime.Object, subresource string) field.ErrorList {
	errs := validation.ValidateObjectMetaAccessorUpdate(metaOf(obj), metaOf(old), field.NewPath("metadata"))
	errs = append(errs, errs...) // it is looked at twice
	if subresource == "status" && r.crd == nil {
		return errs
	}
	return append(append(errs, r.validate(obj)...), validateChange(old, obj)...)
}

func (r *resource) validate(obj runtime.Object) field.ErrorList {
	switch o := obj.(type) {
	case *unstructured.Unstructured:
		return r.validateCustom(o)
	case *appsv1.Deployment:
		return validateDeployment(o)
	case *appsv1.ReplicaSet:
		return validateTemplate(o.Spec.Selector, &o.Spec.Template, specPath)
	case *corev1.Pod:
		return validatePodSpec(&o.Spec, specPath)
	case *corev1.ConfigMap:
		return validateConfigMap(o)
	case *corev1.Secret:
		return validateSecret(o)
	case *corev1.Service:
		return validateService(o)
	case *autoscalingv2.HorizontalPodAutoscaler:
		return validateAutoscaler(o)
	case *policyv1.PodDisruptionBudget:
		return validateBudget(o)
	case *networkingv1.NetworkPolicy:
		return validateNetworkPolicy(o)
	case *rbacv1.Role:
		return validateRules(o.Rules, false)
	case *rbacv1.ClusterRole:
		return validateRules(o.Rules, true)
	case *rbacv1.RoleBinding:
		return validateBinding(o.RoleRef, o.Subjects, false)
	case *rbacv1.ClusterRoleBinding:
		return validateBinding(o.RoleRef, o.Subjects, true)
	}
	return nil
}

// validateChange refuses changes of what cannot be changed.
func validateChange(old, obj runtime.Object) (errs field.ErrorList) {
	immutable := func(a, b any, path *field.Path) {
		errs = append(errs, validation.ValidateImmutableField(a, b, path)...)
	}
	switch o := obj.(type) {
	case *appsv1.Deployment:
		keep(old, func(was *appsv1.Deployment) {
			immutable(o.Spec.Selector, was.Spec.Selector, specPath.Child("selector"))
		})
	case *appsv1.ReplicaSet:
		keep(old, func(was *appsv1.ReplicaSet) {
			immutable(o.Spec.Selector, was.Spec.Selector, specPath.Child("selector"))
		})
	case *corev1.ConfigMap:
		keep(old, func(was *corev1.ConfigMap) {
			if was.Immutable != nil && *was.Immutable {
				errs = append(errs, frozen(o.Immutable, map[string][2]any{"data": {was.Data, o.Data}, "binaryData": {was.BinaryData, o.BinaryData}})...)
			}
		})
	case *corev1.Secret:
		keep(old, func(was *corev1.Secret) {
			immutable(o.Type, was.Type, field.NewPath("type"))
			if was.Immutable != nil && *was.Immutable {
				errs = append(errs, frozen(o.Immutable, map[string][2]any{"data": {was.Data, o.Data}})...)
			}
		})
	case *corev1.Service:
		keep(old, func(was *corev1.Service) { errs = append(errs, validateAddressChange(was, o)...) })
	case *corev1.Pod:
		keep(old, func(was *corev1.Pod) { errs = append(errs, validatePodChange(was, o)...) })
	case *policyv1.PodDisruptionBudget:
	case *rbacv1.RoleBinding:
		keep(old, func(was *rbacv1.RoleBinding) { errs = append(errs, roleFixed(was.RoleRef, o.RoleRef)...) })
	case *rbacv1.ClusterRoleBinding:
		keep(old, func(was *rbacv1.ClusterRoleBinding) { errs = append(errs, roleFixed(was.RoleRef, o.RoleRef)...) })
	}
	return errs
}

func roleFixed(old, ref rbacv1.RoleRef) field.ErrorList {
	if old != ref {
		return field.ErrorList{field.Invalid(field.NewPath("roleRef"), struct{ APIGroup, Kind, Name string }{ref.APIGroup, ref.Kind, ref.Name}, "cannot change roleRef")}
	}
	return nil
}

// frozen checks what is marked immutable.
func frozen(immutable *bool, changes map[string][2]any) (errs field.ErrorList) {
	if immutable == nil || !*immutable {
		errs = append(errs, field.Forbidden(field.NewPath("immutable"), "field is immutable when `immutable` is set"))
	}
	for _, name := range sortedKeys(changes) {
		if c := changes[name]; !apiequality.Semantic.DeepEqual(c[0], c[1]) {
			errs = append(errs, field.Forbidden(field.NewPath(name), "field is immutable when `immutable` is set"))
		}
	}
	return errs
}

// maxData is the most that a ConfigMap or a Secret holds, in bytes.
const maxData = 1 << 20

func validateConfigMap(c *corev1.ConfigMap) (errs field.ErrorList) {
	total := 0
	for _, name := range sortedKeys(c.Data) {
		for _, problem := range utilvalidation.IsConfigMapKey(name) {
			errs = append(errs, field.Invalid(field.NewPath("data").Key(name), name, problem))
		}
		if _, both := c.BinaryData[name]; both {
			errs = append(errs, field.Invalid(field.NewPath("data").Key(name), name, "duplicate of key present in binaryData"))
		}
		total += len(c.Data[name])
	}
	for _, name := range sortedKeys(c.BinaryData) {
		for _, problem := range utilvalidation.IsConfigMapKey(name) {
			errs = append(errs, field.Invalid(field.NewPath("binaryData").Key(name), name, problem))
		}
		total += len(c.BinaryData[name])
	}
	if total > maxData {
		errs = append(errs, field.TooLong(field.NewPath(""), "", maxData))
	}
	return errs
}

func validateSecret(s *corev1.Secret) (errs field.ErrorList) {
	total := 0
	data := field.NewPath("data")
	for _, name := range sortedKeys(s.Data) {
		for _, problem := range utilvalidation.IsConfigMapKey(name) {
			errs = append(errs, field.Invalid(data.Key(name), name, problem))
		}
		total += len(s.Data[name])
	}
	if total > maxData {
		errs = append(errs, field.TooLong(data, "", maxData))
	}
	if s.Type == corev1.SecretTypeTLS {
		for _, name := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey} {
			if _, ok := s.Data[name]; !ok {
				errs = append(errs, field.Required(data.Key(name), ""))
			}
		}
	}
	return errs
}

func validateDeployment(d *appsv1.Deployment) field.ErrorList {
	errs := nonnegative(*d.Spec.Replicas, specPath.Child("replicas"))
	errs = append(errs, validateTemplate(d.Spec.Selector, &d.Spec.Template, specPath)...)
	errs = append(errs, validateStrategy(&d.Spec.Strategy, specPath.Child("strategy"))...)
	errs = append(errs, nonnegative(d.Spec.MinReadySeconds, specPath.Child("minReadySeconds"))...)
	errs = append(errs, nonnegative(*d.Spec.RevisionHistoryLimit, specPath.Child("revisionHistoryLimit"))...)
	deadline, path := *d.Spec.ProgressDeadlineSeconds, specPath.Child("progressDeadlineSeconds")
	errs = append(errs, nonnegative(deadline, path)...)
	if deadline <= d.Spec.MinReadySeconds {
		errs = append(errs, field.Invalid(path, deadline, "must be greater than minReadySeconds"))
	}
	return errs
}

func nonnegative(n int32, path *field.Path) field.ErrorList {
	return validation.ValidateNonnegativeField(int64(n), path)
}

// validateTemplate checks a selector and the template that must match it.
func validateTemplate(s *metav1.LabelSelector, t *corev1.PodTemplateSpec, path *field.Path) (errs field.ErrorList) {
	if s == nil {
		errs = append(errs, field.Required(path.Child("selector"), ""))
	} else {
		errs = append(errs, metavalidation.ValidateLabelSelector(s, metavalidation.LabelSelectorValidationOptions{}, path.Child("selector"))...)
		if len(s.MatchLabels)+len(s.MatchExpressions) == 0 {
			errs = append(errs, field.Invalid(path.Child("selector"), s, "empty selector is invalid for deployment"))
		}
	}
	at := path.Child("template")
	if selector, err := metav1.LabelSelectorAsSelector(s); err == nil && !selector.Empty() && !selector.Matches(labels.Set(t.Labels)) {
		errs = append(errs, field.Invalid(at.Child("metadata", "labels"), t.Labels, "`selector` does not match template `labels`"))
	}
	errs = append(errs, metavalidation.ValidateLabels(t.Labels, at.Child("labels"))...)
	errs = append(errs, validation.ValidateAnnotations(t.Annotations, at.Child("annotations"))...)
	errs = append(errs, validatePodSpec(&t.Spec, at.Child("spec"))...)
	if t.Spec.RestartPolicy != corev1.RestartPolicyAlways {
		errs = append(errs, field.NotSupported(at.Child("spec", "restartPolicy"), t.Spec.RestartPolicy, []corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	return errs
}

func validateStrategy(s *appsv1.DeploymentStrategy, path *field.Path) (errs field.ErrorList) {
	switch s.Type {
	case appsv1.RecreateDeploymentStrategyType:
		if s.RollingUpdate != nil {
			errs = append(errs, field.Forbidden(path.Child("rollingUpdate"), fmt.Sprintf("may not be specified when strategy `type` is '%s'", s.Type)))
		}
	case appsv1.RollingUpdateDeploymentStrategyType:
		return validateRollingUpdate(s.RollingUpdate, path.Child("rollingUpdate"))
	default:
		errs = append(errs, field.NotSupported(path, struct{ Type, RollingUpdate any }{s.Type, s.RollingUpdate}, []appsv1.DeploymentStrategyType{appsv1.RecreateDeploymentStrategyType, appsv1.RollingUpdateDeploymentStrategyType}))
	}
	return errs
}

func validateRollingUpdate(u *appsv1.RollingUpdateDeployment, path *field.Path) (errs field.ErrorList) {
	errs = append(errs, intOrPercent(*u.MaxUnavailable, path.Child("maxUnavailable"))...)
	errs = append(errs, intOrPercent(*u.MaxSurge, path.Child("maxSurge"))...)
	unavailable, surge := valueOf(*u.MaxUnavailable), valueOf(*u.MaxSurge)
	if unavailable == 0 && surge == 0 {
		errs = append(errs, field.Invalid(path.Child("maxUnavailable"), u.MaxUnavailable, "may not be 0 when `maxSurge` is 0"))
	}
	if u.MaxUnavailable.Type == intstr.String && unavailable > 100 {
		errs = append(errs, field.Invalid(path.Child("maxUnavailable"), u.MaxUnavailable, "must not be greater than 100%"))
	}
	return errs
}

func valueOf(v intstr.IntOrString) int {
	if v.Type == intstr.Int {
		return v.IntValue()
	}
	n, _ := intstr.GetScaledValueFromIntOrPercent(&v, 100, false)
	return n
}

func intOrPercent(v intstr.IntOrString, path *field.Path) (errs field.ErrorList) {
	if v.Type == intstr.Int {
		return nonnegative(v.IntVal, path)
	}
	for _, problem := range utilvalidation.IsValidPercent(v.StrVal) {
		errs = append(errs, field.Invalid(path, v, problem))
	}
	return errs
}

func validateBudget(b *policyv1.PodDisruptionBudget) (errs field.ErrorList) {
	if b.Spec.MinAvailable != nil && b.Spec.MaxUnavailable != nil {
		errs = append(errs, field.Invalid(specPath, struct{ MinAvailable, Selector, MaxUnavailable, UnhealthyPodEvictionPolicy any }{b.Spec.MinAvailable, b.Spec.Selector, b.Spec.MaxUnavailable, b.Spec.UnhealthyPodEvictionPolicy}, "minAvailable and maxUnavailable cannot be both set"))
	}
	for name, v := range map[string]*intstr.IntOrString{"minAvailable": b.Spec.MinAvailable, "maxUnavailable": b.Spec.MaxUnavailable} {
		if v == nil {
			continue
		}
		errs = append(errs, intOrPercent(*v, specPath.Child(name))...)
		if v.Type == intstr.String && valueOf(*v) > 100 {
			errs = append(errs, field.Invalid(specPath.Child(name), v, "must not be greater than 100%"))
		}
	}
	errs = append(errs, metavalidation.ValidateLabelSelector(b.Spec.Selector, metavalidation.LabelSelectorValidationOptions{}, specPath.Child("selector"))...)
	if p := b.Spec.UnhealthyPodEvictionPolicy; p != nil && *p != policyv1.IfHealthyBudget && *p != policyv1.AlwaysAllow {
		errs = append(errs, field.NotSupported(specPath.Child("unhealthyPodEvictionPolicy"), *p, []policyv1.UnhealthyPodEvictionPolicyType{policyv1.AlwaysAllow, policyv1.IfHealthyBudget}))
	}
	return errs
}

func validateRules(rules []rbacv1.PolicyRule, cluster bool) (errs field.ErrorList) {
	for i, rule := range rules {
		path := field.NewPath("rules").Index(i)
		if len(rule.Verbs) == 0 {
			errs = append(errs, field.Required(path.Child("verbs"), "verbs must contain at least one value"))
		}
		if len(rule.NonResourceURLs) > 0 {
			if !cluster {
				errs = append(errs, field.Invalid(path.Child("nonResourceURLs"), rule.NonResourceURLs, "namespaced rules cannot apply to non-resource URLs"))
			}
			continue
		}
		if len(rule.APIGroups) == 0 {
			errs = append(errs, field.Required(path.Child("apiGroups"), "resource rules must supply at least one api group"))
		}
		if len(rule.Resources) == 0 {
			errs = append(errs, field.Required(path.Child("resources"), "resource rules must supply at least one resource"))
		}
	}
	return errs
}

func validateBinding(ref rbacv1.RoleRef, subjects []rbacv1.Subject, cluster bool) (errs field.ErrorList) {
	path := field.NewPath("roleRef")
	if ref.APIGroup != rbacv1.GroupName {
		errs = append(errs, field.NotSupported(path.Child("apiGroup"), ref.APIGroup, []string{rbacv1.GroupName}))
	}
	if ref.Kind != "Role" && ref.Kind != "ClusterRole" {
		errs = append(errs, field.NotSupported(path.Child("kind"), ref.Kind, []string{"Role", "ClusterRole"}))
	}
	if ref.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	}
	for i, s := range subjects {
		at := field.NewPath("subjects").Index(i)
		if s.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
		}
		switch s.Kind {
		case rbacv1.ServiceAccountKind:
			if s.Namespace == "" && cluster {
				errs = append(errs, field.Required(at.Child("namespace"), ""))
			}
		case rbacv1.UserKind, rbacv1.GroupKind:
			if s.APIGroup != rbacv1.GroupName {
				errs = append(errs, field.NotSupported(at.Child("apiGroup"), s.APIGroup, []string{rbacv1.GroupName}))
			}
		default:
			errs = append(errs, field.NotSupported(at.Child("kind"), s.Kind, []string{rbacv1.ServiceAccountKind, rbacv1.UserKind, rbacv1.GroupKind}))
		}
	}
	return errs
}

// validatePodChange allows of a pod's specification what a server allows: images,
// deadlines and more tolerations.
func validatePodChange(old, pod *corev1.Pod) field.ErrorList {
	next := pod.Spec.DeepCopy()
	for i := range next.Containers {
		if i < len(old.Spec.Containers) {
			next.Containers[i].Image = old.Spec.Containers[i].Image
		}
	}
	next.ActiveDeadlineSeconds, next.Tolerations = old.Spec.ActiveDeadlineSeconds, old.Spec.Tolerations
	next.NodeName = old.Spec.NodeName
	if reflect.DeepEqual(next, &old.Spec) || apiequality.Semantic.DeepEqual(next, &old.Spec) {
		return nil
	}
	return field.ErrorList{field.Forbidden(specPath, "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)")}
}
