// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validatePodSpec(spec *corev1.PodSpec, path *field.Path) (errs field.ErrorList) {
	volumes := map[string]bool{}
	for i, v := range spec.Volumes {
		errs = append(errs, validateVolume(&v, volumes, path.Child("volumes").Index(i))...)
		volumes[v.Name] = true
	}
	names := map[string]bool{}
	if len(spec.Containers) == 0 {
		errs = append(errs, field.Required(path.Child("containers"), ""))
	}
	for i := range spec.Containers {
		errs = append(errs, validateContainer(&spec.Containers[i], names, volumes, path.Child("containers").Index(i))...)
	}
	for i := range spec.InitContainers {
		c, at := &spec.InitContainers[i], path.Child("initContainers").Index(i)
		errs = append(errs, validateContainer(c, names, volumes, at)...)
		if c.RestartPolicy == nil {
			for name, p := range map[string]*corev1.Probe{"livenessProbe": c.LivenessProbe, "readinessProbe": c.ReadinessProbe, "startupProbe": c.StartupProbe} {
				if p != nil {
					errs = append(errs, field.Forbidden(at.Child(name), "may not be set for init containers without restartPolicy=Always"))
				}
			}
			if c.Lifecycle != nil {
				errs = append(errs, field.Forbidden(at.Child("lifecycle"), "may not be set for init containers without restartPolicy=Always"))
			}
		}
	}
	if n := spec.ServiceAccountName; n != "" {
		for _, problem := range utilvalidation.IsDNS1123Subdomain(n) {
			errs = append(errs, field.Invalid(path.Child("serviceAccountName"), n, problem))
		}
	}
	errs = append(errs, metavalidation.ValidateLabels(spec.NodeSelector, path.Child("nodeSelector"))...)
	return append(errs, validateScheduling(spec, path)...)
}

func validateScheduling(spec *corev1.PodSpec, path *field.Path) (errs field.ErrorList) {
	for i, t := range spec.Tolerations {
		at := path.Child("tolerations").Index(i)
		switch t.Operator {
		case corev1.TolerationOpEqual, "":
		case corev1.TolerationOpExists:
			if t.Value != "" {
				errs = append(errs, field.Invalid(at.Child("operator"), t.Value, "value must be empty when `operator` is 'Exists'"))
			}
		default:
			errs = append(errs, field.NotSupported(at.Child("operator"), t.Operator, []corev1.TolerationOperator{corev1.TolerationOpEqual, corev1.TolerationOpExists}))
		}
		switch t.Effect {
		case "", corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute:
		default:
			errs = append(errs, field.NotSupported(at.Child("effect"), t.Effect, []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute}))
		}
	}
	for i, c := range spec.TopologySpreadConstraints {
		at := path.Child("topologySpreadConstraints").Index(i)
		if c.MaxSkew <= 0 {
			errs = append(errs, field.Invalid(at.Child("maxSkew"), c.MaxSkew, "must be greater than zero"))
		}
		if c.TopologyKey == "" {
			errs = append(errs, field.Required(at.Child("topologyKey"), "can not be empty"))
		}
		if c.WhenUnsatisfiable != corev1.DoNotSchedule && c.WhenUnsatisfiable != corev1.ScheduleAnyway {
			errs = append(errs, field.NotSupported(at.Child("whenUnsatisfiable"), c.WhenUnsatisfiable, []corev1.UnsatisfiableConstraintAction{corev1.DoNotSchedule, corev1.ScheduleAnyway}))
		}
	}
	if a := spec.Affinity; a != nil && a.NodeAffinity != nil && a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil &&
		len(a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms) == 0 {
		errs = append(errs, field.Required(path.Child("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"), "must have at least one node selector term"))
	}
	return errs
}

func validateVolume(v *corev1.Volume, seen map[string]bool, path *field.Path) (errs field.ErrorList) {
	if v.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	} else {
		for _, problem := range utilvalidation.IsDNS1123Label(v.Name) {
			errs = append(errs, field.Invalid(path.Child("name"), v.Name, problem))
		}
	}
	if seen[v.Name] {
		errs = append(errs, field.Duplicate(path.Child("name"), v.Name))
	}
	errs = append(errs, onlyOne(v, path)...)
	switch {
	case v.ConfigMap != nil && v.ConfigMap.Name == "":
		errs = append(errs, field.Required(path.Child("configMap", "name"), ""))
	case v.Secret != nil && v.Secret.SecretName == "":
		errs = append(errs, field.Required(path.Child("secret", "secretName"), ""))
	case v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ClaimName == "":
		errs = append(errs, field.Required(path.Child("persistentVolumeClaim", "claimName"), ""))
	case v.EmptyDir != nil && v.EmptyDir.SizeLimit != nil && v.EmptyDir.SizeLimit.Sign() < 0:
		errs = append(errs, field.Forbidden(path.Child("emptyDir", "sizeLimit"), "SizeLimit field must be a valid resource quantity"))
	}
	return errs
}

// onlyOne refuses a volume of two kinds.
func onlyOne(v *corev1.Volume, path *field.Path) (errs field.ErrorList) {
	kinds := 0
	for _, s := range []struct {
		name string
		set  bool
	}{{"emptyDir", v.EmptyDir != nil}, {"hostPath", v.HostPath != nil}, {"secret", v.Secret != nil}, {"persistentVolumeClaim", v.PersistentVolumeClaim != nil},
		{"configMap", v.ConfigMap != nil}, {"downwardAPI", v.DownwardAPI != nil}, {"projected", v.Projected != nil}, {"csi", v.CSI != nil}, {"ephemeral", v.Ephemeral != nil}} {
		if !s.set {
			continue
		}
		if kinds > 0 {
			errs = append(errs, field.Forbidden(path.Child(s.name), "may not specify more than 1 volume type"))
		}
		kinds++
	}
	return errs
}

func validateContainer(c *corev1.Container, names, volumes map[string]bool, path *field.Path) (errs field.ErrorList) {
	if c.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	} else {
		for _, problem := range utilvalidation.IsDNS1123Label(c.Name) {
			errs = append(errs, field.Invalid(path.Child("name"), c.Name, problem))
		}
	}
	if names[c.Name] {
		errs = append(errs, field.Duplicate(path.Child("name"), c.Name))
	}
	names[c.Name] = true
	switch {
	case c.Image == "":
		errs = append(errs, field.Required(path.Child("image"), ""))
	case strings.TrimSpace(c.Image) != c.Image:
		errs = append(errs, field.Invalid(path.Child("image"), c.Image, "must not have leading or trailing whitespace"))
	}
	errs = append(errs, validatePorts(c.Ports, path.Child("ports"))...)
	errs = append(errs, validateEnv(c, path)...)
	mounts := map[string]bool{}
	for i, m := range c.VolumeMounts {
		at := path.Child("volumeMounts").Index(i)
		switch {
		case m.Name == "":
			errs = append(errs, field.Required(at.Child("name"), ""))
		case !volumes[m.Name]:
			errs = append(errs, field.NotFound(at.Child("name"), m.Name))
		}
		if m.MountPath == "" {
			errs = append(errs, field.Required(at.Child("mountPath"), ""))
		}
		if mounts[m.MountPath] {
			errs = append(errs, field.Invalid(at.Child("mountPath"), m.MountPath, "must be unique"))
		}
		mounts[m.MountPath] = true
	}
	for name, p := range map[string]*corev1.Probe{"livenessProbe": c.LivenessProbe, "readinessProbe": c.ReadinessProbe, "startupProbe": c.StartupProbe} {
		if p != nil {
			errs = append(errs, validateProbe(p, name != "readinessProbe", path.Child(name))...)
		}
	}
	switch c.ImagePullPolicy {
	case corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever:
	default:
		errs = append(errs, field.NotSupported(path.Child("imagePullPolicy"), c.ImagePullPolicy, []corev1.PullPolicy{corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever}))
	}
	return append(errs, validateResources(&c.Resources, path.Child("resources"))...)
}

func validatePorts(ports []corev1.ContainerPort, path *field.Path) (errs field.ErrorList) {
	names := map[string]bool{}
	for i, p := range ports {
		at := path.Index(i)
		if p.Name != "" {
			for _, problem := range utilvalidation.IsValidPortName(p.Name) {
				errs = append(errs, field.Invalid(at.Child("name"), p.Name, problem))
			}
			if names[p.Name] {
				errs = append(errs, field.Duplicate(at.Child("name"), p.Name))
			}
			names[p.Name] = true
		}
		if p.ContainerPort == 0 {
			errs = append(errs, field.Required(at.Child("containerPort"), ""))
		} else {
			for _, problem := range utilvalidation.IsValidPortNum(int(p.ContainerPort)) {
				errs = append(errs, field.Invalid(at.Child("containerPort"), p.ContainerPort, problem))
			}
		}
		switch p.Protocol {
		case corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP:
		default:
			errs = append(errs, field.NotSupported(at.Child("protocol"), p.Protocol, []corev1.Protocol{corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP}))
		}
	}
	return errs
}

func validateEnv(c *corev1.Container, path *field.Path) (errs field.ErrorList) {
	for i, e := range c.Env {
		at := path.Child("env").Index(i)
		if e.Name == "" {
			errs = append(errs, field.Required(at.Child("name"), ""))
		} else {
			for _, problem := range utilvalidation.IsRelaxedEnvVarName(e.Name) {
				errs = append(errs, field.Invalid(at.Child("name"), e.Name, problem))
			}
		}
		if e.ValueFrom == nil {
			continue
		}
		if e.Value != "" {
			errs = append(errs, field.Invalid(at.Child("valueFrom"), "", "may not be specified when `value` is not empty"))
		}
		from := e.ValueFrom
		if from.SecretKeyRef != nil && from.SecretKeyRef.Key == "" {
			errs = append(errs, field.Required(at.Child("valueFrom", "secretKeyRef", "key"), ""))
		}
		if from.ConfigMapKeyRef != nil && from.ConfigMapKeyRef.Key == "" {
			errs = append(errs, field.Required(at.Child("valueFrom", "configMapKeyRef", "key"), ""))
		}
	}
	for i, e := range c.EnvFrom {
		if e.ConfigMapRef == nil && e.SecretRef == nil {
			errs = append(errs, field.Invalid(path.Child("envFrom").Index(i), "", "must specify one of: `configMapRef` or `secretRef`"))
		}
	}
	return errs
}

func validateProbe(p *corev1.Probe, once bool, path *field.Path) (errs field.ErrorList) {
	handlers := 0
	for _, h := range []struct {
		name string
		set  bool
	}{{"exec", p.Exec != nil}, {"httpGet", p.HTTPGet != nil}, {"tcpSocket", p.TCPSocket != nil}, {"grpc", p.GRPC != nil}} {
		if !h.set {
			continue
		}
		if handlers > 0 {
			errs = append(errs, field.Forbidden(path.Child(h.name), "may not specify more than 1 handler type"))
		}
		handlers++
	}
	if handlers == 0 {
		errs = append(errs, field.Required(path, "must specify a handler type"))
	}
	for name, n := range map[string]int32{"initialDelaySeconds": p.InitialDelaySeconds, "timeoutSeconds": p.TimeoutSeconds, "periodSeconds": p.PeriodSeconds,
		"successThreshold": p.SuccessThreshold, "failureThreshold": p.FailureThreshold} {
		errs = append(errs, nonnegative(n, path.Child(name))...)
	}
	if once && p.SuccessThreshold != 1 {
		errs = append(errs, field.Invalid(path.Child("successThreshold"), p.SuccessThreshold, "must be 1"))
	}
	if p.HTTPGet != nil {
		if p.HTTPGet.Path == "" {
			errs = append(errs, field.Required(path.Child("httpGet", "path"), ""))
		}
		errs = append(errs, validatePortRef(p.HTTPGet.Port, path.Child("httpGet", "port"))...)
	}
	if p.TCPSocket != nil {
		errs = append(errs, validatePortRef(p.TCPSocket.Port, path.Child("tcpSocket", "port"))...)
	}
	return errs
}

func validatePortRef(port intstr.IntOrString, path *field.Path) (errs field.ErrorList) {
	problems := utilvalidation.IsValidPortNum(port.IntValue())
	if port.Type == intstr.String {
		problems = utilvalidation.IsValidPortName(port.StrVal)
	}
	for _, problem := range problems {
		errs = append(errs, field.Invalid(path, port.String(), problem))
	}
	if port.Type == intstr.Int && len(errs) > 0 {
		errs[0].BadValue = port.IntVal
	}
	return errs
}

// extended reports whether a resource is a device that a plugin offers: whole numbers,
// and never more than requested.
func extended(name corev1.ResourceName) bool {
	domain, _, ok := strings.Cut(string(name), "/")
	return ok && domain != "kubernetes.io" && !strings.HasSuffix(domain, ".kubernetes.io")
}

func validateResources(r *corev1.ResourceRequirements, path *field.Path) (errs field.ErrorList) {
	limits, requests := path.Child("limits"), path.Child("requests")
	for _, name := range sortedNames(r.Limits) {
		errs = append(errs, validateQuantity(name, r.Limits[name], limits.Key(string(name)))...)
	}
	for _, name := range sortedNames(r.Requests) {
		request, limit := r.Requests[name], r.Limits[name]
		errs = append(errs, validateQuantity(name, request, requests.Key(string(name)))...)
		_, limited := r.Limits[name]
		switch {
		case limited && request.Cmp(limit) != 0 && extended(name):
			errs = append(errs, field.Invalid(requests, request.String(), fmt.Sprintf("must be equal to %s limit of %s", name, limit.String())))
		case limited && request.Cmp(limit) > 0:
			errs = append(errs, field.Invalid(requests, request.String(), fmt.Sprintf("must be less than or equal to %s limit of %s", name, limit.String())))
		case !limited && extended(name):
			errs = append(errs, field.Required(limits, "Limit must be set for non overcommitable resources"))
		}
	}
	return errs
}

func sortedNames(l corev1.ResourceList) []corev1.ResourceName {
	all := map[string]bool{}
	for name := range l {
		all[string(name)] = true
	}
	names := make([]corev1.ResourceName, 0, len(all))
	for _, name := range sortedKeys(all) {
		names = append(names, corev1.ResourceName(name))
	}
	return names
}

func validateQuantity(name corev1.ResourceName, q quantity.Quantity, path *field.Path) (errs field.ErrorList) {
	if q.Sign() < 0 {
		errs = append(errs, field.Invalid(path, q.String(), "must be greater than or equal to 0"))
	}
	if extended(name) && q.MilliValue()%1000 != 0 {
		errs = append(errs, field.Invalid(path, q.String(), "must be an integer"))
	}
	switch name {
	case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage:
		return errs
	}
	if !strings.Contains(string(name), "/") && !strings.HasPrefix(string(name), "hugepages-") {
		errs = append(errs, field.Invalid(path, string(name), "must be a standard resource type or fully qualified"),
			field.Invalid(path, string(name), "must be a standard resource for containers"))
	}
	return errs
}
