// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// prepare acts out the containers that fetch a model from S3 and compare it with what
// it should be. It says which of them fails and how, "" if none does.
func (k *kubelet) prepare() (at int, reason string, err error) {
	source := fetched(k.pod)
	bucket, prefix, ok := strings.Cut(strings.TrimPrefix(source, "s3://"), "/")
	if k.life.Checked || !strings.HasPrefix(source, "s3://") || !ok || k.o.Keys == nil {
		return 0, "", nil
	}
	files := k.files(bucket, prefix)
	for i := range k.pod.Spec.InitContainers {
		c := &k.pod.Spec.InitContainers[i]
		switch {
		case fetches(c) && len(files) == 0:
			return i, fmt.Sprintf("RuntimeError: Failed to fetch model. No model found in %s.", source), nil
		case strings.Contains(strings.Join(append(slices.Clone(c.Command), c.Args...), " "), "sha256sum"):
			if reason, err = k.verify(c, bucket, files); err != nil || reason != "" {
				return i, reason, err
			}
		}
	}
	k.life.Checked = true
	return 0, "", nil
}

func fetches(c *corev1.Container) bool { return c.Name == "fetch" || c.Name == "storage-initializer" }

// fetched is where a pod's model comes from: what the storage initializer is told.
func fetched(pod *corev1.Pod) string {
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if !fetches(c) {
			continue
		}
		if i := slices.IndexFunc(c.Args, func(a string) bool { return strings.Contains(a, "://") }); i >= 0 {
			return c.Args[i]
		}
	}
	return ""
}

// files are the keys below a prefix by the names that they get on disk; one object has
// its own. A bucket that cannot be read has none.
func (k *kubelet) files(bucket, prefix string) map[string]string {
	found := map[string]string{}
	keys, err := k.o.Keys(bucket, prefix)
	if err != nil {
		return found
	}
	for _, key := range keys {
		name := strings.TrimPrefix(strings.TrimPrefix(key, prefix), "/")
		if key == prefix {
			name = path.Base(key)
		}
		found[name] = key
	}
	return found
}

// verify compares files with the sums that are mounted into a container, in the words
// of sha256sum.
func (k *kubelet) verify(c *corev1.Container, bucket string, files map[string]string) (string, error) {
	sums, err := k.mounted(c, "SHA256SUMS")
	if err != nil || k.o.Artifact == nil {
		return "", err
	}
	var problems []string
	failed := 0
	for line := range strings.Lines(sums) {
		want, name, ok := strings.Cut(strings.TrimSpace(line), "  ")
		if !ok {
			continue
		}
		key, found := files[strings.TrimPrefix(name, "./")]
		if !found {
			problems = append(problems, fmt.Sprintf("sha256sum: %s: No such file or directory", name), name+": FAILED open or read")
			continue
		}
		got, err := k.sum(bucket, key)
		if err != nil {
			return "", err
		}
		if got != want {
			failed++
			problems = append(problems, name+": FAILED")
		}
	}
	if failed > 0 {
		problems = append(problems, fmt.Sprintf("sha256sum: WARNING: %d computed checksum did NOT match", failed))
	}
	return strings.Join(problems, "\n"), nil
}

func (k *kubelet) sum(bucket, key string) (string, error) {
	object, err := k.o.Artifact(bucket, key)
	if err != nil {
		return "", err
	}
	defer object.Close()
	h := sha256.New()
	_, err = io.Copy(h, object)
	return hex.EncodeToString(h.Sum(nil)), err
}

// mounted is a key of a ConfigMap that a container mounts, "" if there is none.
func (k *kubelet) mounted(c *corev1.Container, name string) (string, error) {
	for _, m := range c.VolumeMounts {
		for _, v := range k.pod.Spec.Volumes {
			if v.Name != m.Name || v.ConfigMap == nil {
				continue
			}
			data, found, err := lookup[*corev1.ConfigMap](k.world, configMaps, k.pod.Namespace, v.ConfigMap.Name)
			if err != nil || !found {
				return "", err
			}
			if text, ok := data.Data[name]; ok {
				return text, nil
			}
		}
	}
	return "", nil
}
