// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// fallback sets a field that says nothing.
func fallback[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}

func fallbackTo[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// setDefaults fills in what an object leaves open.
func (r *resource) setDefaults(obj runtime.Object) {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		if r.crd != nil && r.crd.load() == nil {
			metadata := u.Object["metadata"]
			delete(u.Object, "metadata")
			r.crd.root.fill(u.Object)
			if metadata != nil {
				u.Object["metadata"] = metadata
			}
		}
		return
	}
	setBuiltinDefaults(obj)
}

// defaultPod fills in a pod, which gets more than a template does.
func defaultPod(pod *corev1.Pod) {
	for _, c := range containersOf(&pod.Spec) {
		for name, limit := range c.Resources.Limits {
			if c.Resources.Requests == nil {
				c.Resources.Requests = corev1.ResourceList{}
			}
			if _, ok := c.Resources.Requests[name]; !ok {
				c.Resources.Requests[name] = limit.DeepCopy()
			}
		}
	}
	fallback(&pod.Spec.EnableServiceLinks, true)
	defaultPodSpec(&pod.Spec)
}

// containersOf are a pod's containers, those that run before the others first.
func containersOf(spec *corev1.PodSpec) []*corev1.Container {
	var found []*corev1.Container
	for i := range spec.InitContainers {
		found = append(found, &spec.InitContainers[i])
	}
	for i := range spec.Containers {
		found = append(found, &spec.Containers[i])
	}
	return found
}

func defaultPodSpec(spec *corev1.PodSpec) {
	fallbackTo(&spec.DNSPolicy, corev1.DNSClusterFirst)
	fallbackTo(&spec.RestartPolicy, corev1.RestartPolicyAlways)
	fallbackTo(&spec.SchedulerName, corev1.DefaultSchedulerName)
	fallback(&spec.TerminationGracePeriodSeconds, corev1.DefaultTerminationGracePeriodSeconds)
	if spec.SecurityContext == nil {
		spec.SecurityContext = &corev1.PodSecurityContext{}
	}
	// The two names of one field are kept alike by the server.
	fallbackTo(&spec.ServiceAccountName, spec.DeprecatedServiceAccount)
	spec.DeprecatedServiceAccount = spec.ServiceAccountName
	for _, c := range containersOf(spec) {
		defaultContainer(c)
		if spec.HostNetwork {
			for i := range c.Ports {
				fallbackTo(&c.Ports[i].HostPort, c.Ports[i].ContainerPort)
			}
		}
	}
	for i := range spec.Volumes {
		defaultVolume(&spec.Volumes[i])
	}
}

func defaultContainer(c *corev1.Container) {
	fallbackTo(&c.TerminationMessagePath, corev1.TerminationMessagePathDefault)
	fallbackTo(&c.TerminationMessagePolicy, corev1.TerminationMessageReadFile)
	if c.ImagePullPolicy == "" {
		c.ImagePullPolicy = corev1.PullIfNotPresent
		if latest(c.Image) {
			c.ImagePullPolicy = corev1.PullAlways
		}
	}
	for i := range c.Ports {
		fallbackTo(&c.Ports[i].Protocol, corev1.ProtocolTCP)
	}
	for i := range c.Env {
		if from := c.Env[i].ValueFrom; from != nil && from.FieldRef != nil {
			fallbackTo(&from.FieldRef.APIVersion, "v1")
		}
	}
	for _, p := range []*corev1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
		if p != nil {
			defaultProbe(p)
		}
	}
	if c.Lifecycle != nil {
		for _, h := range []*corev1.LifecycleHandler{c.Lifecycle.PostStart, c.Lifecycle.PreStop} {
			if h != nil {
				defaultHTTPGet(h.HTTPGet)
			}
		}
	}
}

func latest(image string) bool {
	if strings.Contains(image, "@") {
		return false
	}
	name := image[strings.LastIndexByte(image, '/')+1:]
	_, tag, ok := strings.Cut(name, ":")
	return !ok || tag == "latest"
}

func defaultProbe(p *corev1.Probe) {
	fallbackTo(&p.TimeoutSeconds, 1)
	fallbackTo(&p.PeriodSeconds, 10)
	fallbackTo(&p.SuccessThreshold, 1)
	fallbackTo(&p.FailureThreshold, 3)
	defaultHTTPGet(p.HTTPGet)
	if p.GRPC != nil {
		fallback(&p.GRPC.Service, "")
	}
}

func defaultHTTPGet(get *corev1.HTTPGetAction) {
	if get != nil {
		fallbackTo(&get.Path, "/")
		fallbackTo(&get.Scheme, corev1.URISchemeHTTP)
	}
}

func defaultVolume(v *corev1.Volume) {
	if v.VolumeSource == (corev1.VolumeSource{}) {
		v.EmptyDir = &corev1.EmptyDirVolumeSource{}
	}
	const mode = int32(0o644)
	switch {
	case v.ConfigMap != nil:
		fallback(&v.ConfigMap.DefaultMode, mode)
	case v.Secret != nil:
		fallback(&v.Secret.DefaultMode, mode)
	case v.DownwardAPI != nil:
		fallback(&v.DownwardAPI.DefaultMode, mode)
		defaultDownward(v.DownwardAPI.Items)
	case v.HostPath != nil:
		fallback(&v.HostPath.Type, corev1.HostPathUnset)
	case v.Projected != nil:
		fallback(&v.Projected.DefaultMode, mode)
		for _, s := range v.Projected.Sources {
			if s.ServiceAccountToken != nil {
				fallback(&s.ServiceAccountToken.ExpirationSeconds, 3600)
			}
			if s.DownwardAPI != nil {
				defaultDownward(s.DownwardAPI.Items)
			}
		}
	}
}

func defaultDownward(items []corev1.DownwardAPIVolumeFile) {
	for i := range items {
		if items[i].FieldRef != nil {
			fallbackTo(&items[i].FieldRef.APIVersion, "v1")
		}
	}
}

// dropImageVolumes removes volumes made from images, and their mounts: the feature is
// off in this version of Kubernetes, and the server says nothing.
func dropImageVolumes(spec *corev1.PodSpec) {
	dropped := map[string]bool{}
	var kept []corev1.Volume
	for _, v := range spec.Volumes {
		if v.Image != nil {
			dropped[v.Name] = true
			continue
		}
		kept = append(kept, v)
	}
	if len(dropped) == 0 {
		return
	}
	spec.Volumes = kept
	for _, c := range containersOf(spec) {
		var mounts []corev1.VolumeMount
		for _, m := range c.VolumeMounts {
			if !dropped[m.Name] {
				mounts = append(mounts, m)
			}
		}
		c.VolumeMounts = mounts
	}
}

// defaultService fills in a service, but for its address.
func defaultService(s *corev1.Service) {
	fallbackTo(&s.Spec.SessionAffinity, corev1.ServiceAffinityNone)
	fallbackTo(&s.Spec.Type, corev1.ServiceTypeClusterIP)
	if s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP && s.Spec.SessionAffinityConfig == nil {
		timeout := int32(10800)
		s.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &timeout}}
	}
	if s.Spec.SessionAffinity == corev1.ServiceAffinityNone {
		s.Spec.SessionAffinityConfig = nil
	}
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		fallbackTo(&p.Protocol, corev1.ProtocolTCP)
		if p.TargetPort == intstr.FromInt32(0) || p.TargetPort == intstr.FromString("") {
			p.TargetPort = intstr.FromInt32(p.Port)
		}
	}
	if s.Spec.Type == corev1.ServiceTypeNodePort || s.Spec.Type == corev1.ServiceTypeLoadBalancer {
		fallbackTo(&s.Spec.ExternalTrafficPolicy, corev1.ServiceExternalTrafficPolicyCluster)
	}
	if s.Spec.Type != corev1.ServiceTypeExternalName {
		fallback(&s.Spec.InternalTrafficPolicy, corev1.ServiceInternalTrafficPolicyCluster)
	}
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
		fallback(&s.Spec.AllocateLoadBalancerNodePorts, true)
	}
}
