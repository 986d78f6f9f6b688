// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// podSpec is the pod that serves: the predictor's own, or the runtime's with the
// model's container laid over it.
func (s *service) podSpec() (spec *corev1.PodSpec, reason, problem string, err error) {
	predictor := nested(s.u.Object, "spec", "predictor")
	spec = &corev1.PodSpec{}
	if problem := problemOf(convert(predictor, spec)); problem != "" {
		return nil, "InvalidPredictorSpec", problem, nil
	}
	model := nested(predictor, "model")
	if model == nil {
		for _, e := range spec.Containers[0].Env {
			if e.Name == "STORAGE_URI" {
				s.initialize(spec, e.Value)
			}
		}
		return spec, "", "", nil
	}
	var server corev1.Container
	if problem := problemOf(convert(model, &server)); problem != "" {
		return nil, "InvalidPredictorSpec", problem, nil
	}
	server.Name = "kserve-container"
	base, reason, problem, err := s.runtime(model)
	if err != nil || problem != "" {
		return nil, reason, problem, err
	}
	merged := lay(base, server)
	var others []corev1.Container
	for _, c := range spec.Containers {
		if c.Name != merged.Name {
			others = append(others, c)
		}
	}
	spec.Containers = append([]corev1.Container{merged}, others...)
	if uri := text(model, "storageUri"); uri != "" {
		s.initialize(spec, uri)
	}
	return spec, "", "", nil
}

// problemOf is what an error says: of what is told in a status and fails nothing here.
func problemOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func convert(from map[string]any, to any) error {
	data, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, to)
}

// runtime finds the container of the serving runtime that a model names, or of one
// that supports its format.
func (s *service) runtime(model map[string]any) (c corev1.Container, reason, problem string, err error) {
	wanted, format := text(model, "runtime"), text(model, "modelFormat", "name")
	var all []*unstructured.Unstructured
	for _, from := range []struct{ id, ns string }{{runtimes, s.u.GetNamespace()}, {clusterRuntimes, ""}} {
		found, err := list[*unstructured.Unstructured](s.world, from.id, from.ns)
		if err != nil {
			return c, "", "", err
		}
		all = append(all, found...)
	}
	for _, r := range all {
		if wanted != "" && r.GetName() != wanted {
			continue
		}
		supported := slices.ContainsFunc(items(r.Object, "spec", "supportedModelFormats"), func(f map[string]any) bool { return text(f, "name") == format })
		if disabled, _, _ := unstructured.NestedBool(r.Object, "spec", "disabled"); disabled && wanted != "" {
			return c, "RuntimeDisabled", fmt.Sprintf("Specified runtime %s is disabled", wanted), nil
		}
		if !supported {
			if wanted != "" {
				return c, "NoSupportingRuntime", fmt.Sprintf("Specified runtime %s does not support specified framework/version", wanted), nil
			}
			continue
		}
		containers := items(r.Object, "spec", "containers")
		if len(containers) == 0 {
			continue
		}
		err := convert(containers[0], &c)
		return c, "", "", err
	}
	if wanted != "" && text(model, "image") == "" {
		return c, "RuntimeNotRecognized", "Waiting for runtime to become available", nil
	}
	if text(model, "image") == "" {
		return c, "NoSupportingRuntime", "No runtime found to support predictor with model type: {" + format + " <nil>}", nil
	}
	return c, "", "", nil
}

// lay puts the model's container over the runtime's: arguments follow each other.
func lay(base, over corev1.Container) corev1.Container {
	out := over
	fallbackTo(&out.Image, base.Image)
	if len(out.Command) == 0 {
		out.Command = base.Command
	}
	out.Args = append(slices.Clone(base.Args), over.Args...)
	for _, e := range base.Env {
		if !slices.ContainsFunc(out.Env, func(o corev1.EnvVar) bool { return o.Name == e.Name }) {
			out.Env = append(out.Env, e)
		}
	}
	if len(out.Ports) == 0 {
		out.Ports = base.Ports
	}
	if out.ReadinessProbe == nil {
		out.ReadinessProbe = base.ReadinessProbe
	}
	if out.SecurityContext == nil {
		out.SecurityContext = base.SecurityContext
	}
	if out.Resources.Limits == nil && out.Resources.Requests == nil {
		out.Resources = base.Resources
	}
	return out
}

// initialize is what KServe's pod webhook adds: the container that fetches the model.
func (s *service) initialize(spec *corev1.PodSpec, uri string) {
	const volume = "kserve-provision-location"
	spec.Volumes = append(spec.Volumes, corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
	spec.InitContainers = append(spec.InitContainers, corev1.Container{Name: "storage-initializer", Image: "kserve/storage-initializer:v0.17.0", Args: []string{uri, "/mnt/models"},
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError, VolumeMounts: []corev1.VolumeMount{{Name: volume, MountPath: "/mnt/models"}}})
	c := &spec.Containers[0]
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: volume, MountPath: "/mnt/models", ReadOnly: true})
}

// defaultServer gives the server a probe that says no more than that a port is open.
func defaultServer(spec *corev1.PodSpec) {
	for i := range spec.Containers {
		c := &spec.Containers[i]
		fallbackTo(&c.ImagePullPolicy, corev1.PullIfNotPresent)
		if c.Name != "kserve-container" || c.ReadinessProbe != nil {
			continue
		}
		port := int32(defaultPort)
		if len(c.Ports) > 0 {
			port = c.Ports[0].ContainerPort
		}
		c.ReadinessProbe = &corev1.Probe{TimeoutSeconds: 1, PeriodSeconds: 10, SuccessThreshold: 1, FailureThreshold: 3,
			ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(port)}}}
	}
}
