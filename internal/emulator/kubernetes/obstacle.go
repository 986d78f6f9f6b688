// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// obstructed reports whether something that the pod needs is missing, and shows it as
// the kubelet does.
func (k *kubelet) obstructed() (bool, error) {
	if !k.life.Begun.IsZero() {
		return false, nil // what runs keeps what it has
	}
	for _, v := range k.pod.Spec.Volumes {
		problem, err := k.unmountable(&v)
		if err != nil {
			return false, err
		}
		if problem != "" {
			k.initializing()
			k.life.Begun = time.Time{}
			if err := k.emit(k.pod, "Pod", "kubelet", "Warning", "FailedMount", fmt.Sprintf("MountVolume.SetUp failed for volume %q : %s", v.Name, problem)); err != nil {
				return false, err
			}
			return true, k.wait(k.pod.Namespace, k.subject())
		}
	}
	for _, list := range []struct {
		all  []corev1.Container
		init bool
	}{{k.pod.Spec.InitContainers, true}, {k.pod.Spec.Containers, false}} {
		for i := range list.all {
			problem, err := k.unconfigurable(&list.all[i])
			if err != nil {
				return false, err
			}
			if problem != "" {
				return true, k.misconfigured(list.all[i].Name, list.init, problem)
			}
		}
	}
	return false, nil
}

// misconfigured shows a container that cannot be made.
func (k *kubelet) misconfigured(name string, isInit bool, problem string) error {
	k.initializing()
	s := &k.pod.Status
	statuses := s.ContainerStatuses
	if isInit {
		statuses = s.InitContainerStatuses
	} else if len(k.pod.Spec.InitContainers) > 0 {
		k.life.Begun = k.now
		k.initialized()
		k.life.Begun = time.Time{}
	}
	for i := range statuses {
		if statuses[i].Name == name {
			statuses[i].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CreateContainerConfigError", Message: problem}}
		}
	}
	if err := k.emit(k.pod, "Pod", "kubelet", "Warning", "Failed", "Error: "+problem); err != nil {
		return err
	}
	return k.wait(k.pod.Namespace, k.subject())
}

func optional(b *bool) bool { return b != nil && *b }

// unmountable says what a volume lacks.
func (k *kubelet) unmountable(v *corev1.Volume) (string, error) {
	switch {
	case v.ConfigMap != nil && !optional(v.ConfigMap.Optional):
		data, found, err := k.keysOf(configMaps, v.ConfigMap.Name)
		if err != nil {
			return "", err
		}
		if !found {
			return fmt.Sprintf("configmap %q not found", v.ConfigMap.Name), nil
		}
		return absentKey(v.ConfigMap.Items, data), nil
	case v.Secret != nil && !optional(v.Secret.Optional):
		data, found, err := k.keysOf(secrets, v.Secret.SecretName)
		if err != nil {
			return "", err
		}
		if !found {
			return fmt.Sprintf("secret %q not found", v.Secret.SecretName), nil
		}
		return absentKey(v.Secret.Items, data), nil
	}
	return "", nil
}

func absentKey(items []corev1.KeyToPath, keys []string) string {
	for _, i := range items {
		if !slices.Contains(keys, i.Key) {
			return "references non-existent config key: " + i.Key
		}
	}
	return ""
}

// keysOf are the keys of a ConfigMap or a Secret.
func (k *kubelet) keysOf(id, name string) (keys []string, found bool, err error) {
	if id == configMaps {
		c, found, err := lookup[*corev1.ConfigMap](k.world, id, k.pod.Namespace, name)
		if err != nil || !found {
			return nil, false, err
		}
		return append(sortedKeys(c.Data), sortedKeys(c.BinaryData)...), true, nil
	}
	s, found, err := lookup[*corev1.Secret](k.world, id, k.pod.Namespace, name)
	if err != nil || !found {
		return nil, false, err
	}
	return sortedKeys(s.Data), true, nil
}

// unconfigurable says what a container's environment lacks, in the kubelet's words.
func (k *kubelet) unconfigurable(c *corev1.Container) (string, error) {
	for _, from := range c.EnvFrom {
		if r := from.ConfigMapRef; r != nil && !optional(r.Optional) {
			if problem, err := k.lacks(configMaps, r.Name, ""); err != nil || problem != "" {
				return problem, err
			}
		}
		if r := from.SecretRef; r != nil && !optional(r.Optional) {
			if problem, err := k.lacks(secrets, r.Name, ""); err != nil || problem != "" {
				return problem, err
			}
		}
	}
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			continue
		}
		if r := e.ValueFrom.ConfigMapKeyRef; r != nil && !optional(r.Optional) {
			if problem, err := k.lacks(configMaps, r.Name, r.Key); err != nil || problem != "" {
				return problem, err
			}
		}
		if r := e.ValueFrom.SecretKeyRef; r != nil && !optional(r.Optional) {
			if problem, err := k.lacks(secrets, r.Name, r.Key); err != nil || problem != "" {
				return problem, err
			}
		}
	}
	return "", nil
}

func (k *kubelet) lacks(id, name, key string) (string, error) {
	kind, label := "configmap", "ConfigMap"
	if id == secrets {
		kind, label = "secret", "Secret"
	}
	keys, found, err := k.keysOf(id, name)
	switch {
	case err != nil:
		return "", err
	case !found:
		return fmt.Sprintf("%s %q not found", kind, name), nil
	case key != "" && !slices.Contains(keys, key):
		return fmt.Sprintf("couldn't find key %s in %s %s/%s", key, label, k.pod.Namespace, name), nil
	}
	return "", nil
}
