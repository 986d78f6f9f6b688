// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// violations are what the Pod Security Standards hold against a pod, in the admission
// plugin's words and order.
func violations(level string, spec *corev1.PodSpec) []string {
	var found []string
	switch level {
	case "baseline", "restricted":
		found = append(found, baseline(spec)...)
	default:
		return nil
	}
	if level == "baseline" {
		return found
	}
	sc := spec.SecurityContext
	if sc == nil {
		sc = &corev1.PodSecurityContext{}
	}
	found = append(found, perContainer(spec, func(c *corev1.Container) bool {
		return c.SecurityContext == nil || c.SecurityContext.AllowPrivilegeEscalation == nil || *c.SecurityContext.AllowPrivilegeEscalation
	}, "allowPrivilegeEscalation != false (%s must set securityContext.allowPrivilegeEscalation=false)")...)
	found = append(found, perContainer(spec, func(c *corev1.Container) bool {
		return c.SecurityContext == nil || c.SecurityContext.Capabilities == nil || !slices.Contains(c.SecurityContext.Capabilities.Drop, "ALL")
	}, `unrestricted capabilities (%s must set securityContext.capabilities.drop=["ALL"])`)...)
	nonRoot := sc.RunAsNonRoot != nil && *sc.RunAsNonRoot
	found = append(found, perContainer(spec, func(c *corev1.Container) bool {
		if c.SecurityContext != nil && c.SecurityContext.RunAsNonRoot != nil {
			return !*c.SecurityContext.RunAsNonRoot
		}
		return !nonRoot
	}, "runAsNonRoot != true (pod or %s must set securityContext.runAsNonRoot=true)")...)
	if sc.RunAsUser != nil && *sc.RunAsUser == 0 {
		found = append(found, "runAsUser=0 (pod must not set runAsUser=0)")
	}
	profiled := sc.SeccompProfile != nil && sc.SeccompProfile.Type != corev1.SeccompProfileTypeUnconfined
	return append(found, perContainer(spec, func(c *corev1.Container) bool {
		if c.SecurityContext != nil && c.SecurityContext.SeccompProfile != nil {
			return c.SecurityContext.SeccompProfile.Type == corev1.SeccompProfileTypeUnconfined
		}
		return !profiled
	}, `seccompProfile (pod or %s must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")`)...)
}

func baseline(spec *corev1.PodSpec) (found []string) {
	var namespaces []string
	for name, set := range map[string]bool{"hostNetwork=true": spec.HostNetwork, "hostPID=true": spec.HostPID, "hostIPC=true": spec.HostIPC} {
		if set {
			namespaces = append(namespaces, name)
		}
	}
	if len(namespaces) > 0 {
		slices.Sort(namespaces)
		found = append(found, fmt.Sprintf("host namespaces (%s)", strings.Join(namespaces, ", ")))
	}
	for _, v := range spec.Volumes {
		if v.HostPath != nil {
			found = append(found, fmt.Sprintf("hostPath volumes (volume %q)", v.Name))
		}
	}
	return append(found, perContainer(spec, func(c *corev1.Container) bool {
		return c.SecurityContext != nil && c.SecurityContext.Privileged != nil && *c.SecurityContext.Privileged
	}, "privileged (%s must not set securityContext.privileged=true)")...)
}

// perContainer words a problem for the containers that have it.
func perContainer(spec *corev1.PodSpec, bad func(*corev1.Container) bool, format string) []string {
	var names []string
	for _, c := range containersOf(spec) {
		if bad(c) {
			names = append(names, fmt.Sprintf("%q", c.Name))
		}
	}
	switch len(names) {
	case 0:
		return nil
	case 1:
		return []string{fmt.Sprintf(format, "container "+names[0])}
	}
	return []string{fmt.Sprintf(format, "containers "+strings.Join(names, ", "))}
}
