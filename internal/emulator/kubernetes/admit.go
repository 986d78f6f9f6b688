// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var (
	noResource            schema.GroupResource
	errForbiddenNamespace = errors.New("this namespace may not be deleted")
)

func tooShort(lasts int64) field.ErrorList {
	return field.ErrorList{field.Invalid(specPath.Child("expirationSeconds"), lasts, "may not specify a duration less than 10 minutes")}
}

func durationOf(text string) time.Duration {
	d, _ := time.ParseDuration(text)
	return d
}

// admit is admission control: what plugins and webhooks fill in or refuse.
func (w *world) admit(r *resource, old, obj runtime.Object) error {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		if r.id() == inference && u.GetDeletionTimestamp() == nil {
			return admitInference(u)
		}
		return nil
	}
	switch o := obj.(type) {
	case *corev1.Pod:
		if old == nil {
			return w.admitPod(r, o)
		}
	case *appsv1.Deployment:
		return w.warnOf(o.Namespace, &o.Spec.Template.Spec)
	}
	return nil
}

// warnOf tells a client what the standard of the namespace's other label holds against
// the pods to come.
func (w *world) warnOf(name string, spec *corev1.PodSpec) error {
	ns, found, err := lookup[*corev1.Namespace](w, namespaces, "", name)
	if err != nil || !found {
		return err
	}
	level := ns.Labels["pod-security.kubernetes.io/warn"]
	if problems := violations(level, spec); len(problems) > 0 {
		w.warns = append(w.warns, fmt.Sprintf("would violate PodSecurity %q: %s", level+":"+orElse(ns.Labels["pod-security.kubernetes.io/warn-version"], "latest"), strings.Join(problems, ", ")))
	}
	return nil
}

// admitPod is what a pod goes through on its way into the cluster.
func (w *world) admitPod(r *resource, pod *corev1.Pod) error {
	forbidden := func(format string, args ...any) error {
		return apierrors.NewForbidden(r.gr(), orElse(pod.Name, pod.GenerateName), fmt.Errorf(format, args...))
	}
	if name := pod.Spec.PriorityClassName; name != "" && !strings.HasPrefix(name, "system-") {
		class, found, err := lookup[*schedulingv1.PriorityClass](w, priorityClasses, "", name)
		if err != nil {
			return err
		}
		if !found {
			return forbidden("no PriorityClass with name %v was found", name)
		}
		pod.Spec.Priority, pod.Spec.PreemptionPolicy = &class.Value, class.PreemptionPolicy
	} else {
		fallback(&pod.Spec.Priority, 0)
		fallback(&pod.Spec.PreemptionPolicy, corev1.PreemptLowerPriority)
	}
	if name := pod.Spec.RuntimeClassName; name != nil {
		_, found, err := lookup[*nodev1.RuntimeClass](w, runtimeClasses, "", *name)
		if err != nil {
			return err
		}
		if !found {
			return forbidden("pod rejected: RuntimeClass %q not found", *name)
		}
	}
	fallbackTo(&pod.Spec.ServiceAccountName, "default")
	pod.Spec.DeprecatedServiceAccount = pod.Spec.ServiceAccountName
	account, found, err := lookup[*corev1.ServiceAccount](w, serviceAccounts, pod.Namespace, pod.Spec.ServiceAccountName)
	if err != nil {
		return err
	}
	if !found {
		return forbidden("error looking up service account %s/%s: serviceaccount %q not found", pod.Namespace, pod.Spec.ServiceAccountName, pod.Spec.ServiceAccountName)
	}
	if len(pod.Spec.ImagePullSecrets) == 0 {
		pod.Spec.ImagePullSecrets = append(pod.Spec.ImagePullSecrets, account.ImagePullSecrets...)
	}
	if mountsToken(pod, account) {
		mountToken(pod)
	}
	tolerate(pod)
	return w.podSecurity(r, pod)
}

func mountsToken(pod *corev1.Pod, account *corev1.ServiceAccount) bool {
	if pod.Spec.AutomountServiceAccountToken != nil {
		return *pod.Spec.AutomountServiceAccountToken
	}
	return account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken
}

const tokenPath = "/var/run/secrets/kubernetes.io/serviceaccount" //nolint:gosec // a place, and no secret

// mountToken gives a pod the token of its service account.
func mountToken(pod *corev1.Pod) {
	name := "kube-api-access-" + randomUUID()[:5]
	lasts, mode := int64(3607), int32(0o644)
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{DefaultMode: &mode, Sources: []corev1.VolumeProjection{
		{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{ExpirationSeconds: &lasts, Path: "token"}},
		{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}, Items: []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}}}},
		{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"}}}}}}}}})
	for _, c := range containersOf(&pod.Spec) {
		if !slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == tokenPath }) {
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: name, ReadOnly: true, MountPath: tokenPath})
		}
	}
}

// tolerate adds the tolerations that every pod gets.
func tolerate(pod *corev1.Pod) {
	seconds := int64(300)
	for _, taint := range []string{corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable} {
		if !slices.ContainsFunc(pod.Spec.Tolerations, func(t corev1.Toleration) bool {
			return (t.Key == taint || t.Key == "") && (t.Effect == corev1.TaintEffectNoExecute || t.Effect == "")
		}) {
			pod.Spec.Tolerations = append(pod.Spec.Tolerations, corev1.Toleration{Key: taint, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: &seconds})
		}
	}
}

// limit refuses what exceeds a quota of the namespace.
func (w *world) limit(r *resource, obj runtime.Object) error {
	pod, ok := obj.(*corev1.Pod)
	if !ok {
		return nil
	}
	all, err := list[*corev1.ResourceQuota](w, quotas, pod.Namespace)
	if err != nil || len(all) == 0 {
		return err
	}
	used, err := w.usage(pod.Namespace)
	if err != nil {
		return err
	}
	wanted := usageOf(pod)
	for _, quota := range all {
		var requested, using, limited []string
		for _, name := range sortedNames(quota.Spec.Hard) {
			want, asks := wanted[name]
			if !asks && name != corev1.ResourcePods {
				if name == corev1.ResourceRequestsCPU || name == corev1.ResourceRequestsMemory || name == corev1.ResourceLimitsCPU || name == corev1.ResourceLimitsMemory || name == corev1.ResourceCPU || name == corev1.ResourceMemory {
					return apierrors.NewForbidden(r.gr(), pod.Name, fmt.Errorf("failed quota: %s: must specify %s", quota.Name, unspecified(pod, name)))
				}
				continue
			}
			hard, have := quota.Spec.Hard[name], used[name]
			sum := have.DeepCopy()
			sum.Add(want)
			if sum.Cmp(hard) > 0 {
				requested = append(requested, fmt.Sprintf("%s=%s", name, want.String()))
				using = append(using, fmt.Sprintf("%s=%s", name, have.String()))
				limited = append(limited, fmt.Sprintf("%s=%s", name, hard.String()))
			}
		}
		if len(requested) > 0 {
			return apierrors.NewForbidden(r.gr(), pod.Name, fmt.Errorf("exceeded quota: %s, requested: %s, used: %s, limited: %s", quota.Name,
				strings.Join(requested, ","), strings.Join(using, ","), strings.Join(limited, ",")))
		}
	}
	return nil
}

func unspecified(pod *corev1.Pod, name corev1.ResourceName) string {
	var missing []string
	for _, c := range pod.Spec.Containers {
		missing = append(missing, c.Name)
	}
	return fmt.Sprintf("%s for: %s", name, strings.Join(missing, ","))
}

// usageOf is what a pod counts for against quotas.
func usageOf(pod *corev1.Pod) corev1.ResourceList {
	total := corev1.ResourceList{corev1.ResourcePods: quantity.MustParse("1")}
	add := func(name corev1.ResourceName, q quantity.Quantity) {
		sum := total[name]
		sum.Add(q)
		total[name] = sum
	}
	for _, c := range pod.Spec.Containers {
		for name, q := range c.Resources.Requests {
			add("requests."+name, q)
			if name == corev1.ResourceCPU || name == corev1.ResourceMemory {
				add(name, q)
			}
		}
		for name, q := range c.Resources.Limits {
			add("limits."+name, q)
		}
	}
	return total
}

func (w *world) usage(ns string) (corev1.ResourceList, error) {
	all, err := list[*corev1.Pod](w, pods, ns)
	if err != nil {
		return nil, err
	}
	used := corev1.ResourceList{}
	for _, p := range all {
		if finished(p) {
			continue
		}
		for name, q := range usageOf(p) {
			sum := used[name]
			sum.Add(q)
			used[name] = sum
		}
	}
	return used, nil
}

// podSecurity holds a pod to the standard that the namespace's label enforces.
func (w *world) podSecurity(r *resource, pod *corev1.Pod) error {
	ns, found, err := lookup[*corev1.Namespace](w, namespaces, "", pod.Namespace)
	if err != nil || !found {
		return err
	}
	level := ns.Labels["pod-security.kubernetes.io/enforce"]
	version := orElse(ns.Labels["pod-security.kubernetes.io/enforce-version"], "latest")
	problems := violations(level, &pod.Spec)
	if len(problems) == 0 {
		return nil
	}
	return apierrors.NewForbidden(r.gr(), orElse(pod.Name, pod.GenerateName), fmt.Errorf("violates PodSecurity %q: %s", level+":"+version, strings.Join(problems, ", ")))
}

// finishCreate allocates what a new object gets from the cluster.
func (w *world) finishCreate(r *resource, obj runtime.Object) error {
	s, ok := obj.(*corev1.Service)
	if !ok || r.id() != services || s.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	if s.Spec.ClusterIP == "" {
		n, err := w.tx.Next("k8s-service")
		if err != nil {
			return err
		}
		s.Spec.ClusterIP = fmt.Sprintf("10.96.%d.%d", n/250%256, n%250+1)
	}
	s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
	policy := corev1.IPFamilyPolicySingleStack
	fallback(&s.Spec.IPFamilyPolicy, policy)
	if len(s.Spec.IPFamilies) == 0 {
		s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol}
	}
	return nil
}
