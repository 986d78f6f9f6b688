// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

// bring adds what brings the artifact into a pod, and what checks that it is the
// one that was registered.
func (s *serving) bring(spec *corev1.PodSpec) {
	at, err := artifact.Parse(s.version.Artifact.URI)
	if err != nil { // as a record that somebody made by hand may have it
		at = artifact.Location{}
	}
	switch at.Scheme {
	case "", artifact.SchemeFile: // the image has the model in it
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: volumeModel, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
		return
	case artifact.SchemeClaim:
		s.mount(spec, at)
	default:
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: volumeModel, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
		spec.InitContainers = append(spec.InitContainers, s.fetch(spec, at))
	}
	if verify, ok := s.verify(at); ok {
		verify.VolumeMounts = append(verify.VolumeMounts, modelMount(spec))
		spec.InitContainers = append(spec.InitContainers, verify)
	}
	if s.sums {
		name := versionName(s.dep.Model.Key.Name, s.dep.Model.Version)
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: volumeSums, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: name}, Items: []corev1.KeyToPath{{Key: dataSums, Path: dataSums}}}}})
	}
}

// modelMount is how the server has the model: read-only.
func modelMount(spec *corev1.PodSpec) corev1.VolumeMount {
	mounts := spec.Containers[0].VolumeMounts
	return mounts[slices.IndexFunc(mounts, func(m corev1.VolumeMount) bool { return strings.HasPrefix(m.MountPath, runtimes.ModelDirectory) })]
}

// mount puts a directory or file of a volume claim where the model is expected.
func (s *serving) mount(spec *corev1.PodSpec, at artifact.Location) {
	spec.Volumes = append(spec.Volumes, corev1.Volume{Name: volumeModel, VolumeSource: corev1.VolumeSource{
		PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: at.Bucket, ReadOnly: true}}})
	mounts := spec.Containers[0].VolumeMounts
	for i := range mounts {
		if mounts[i].Name == volumeModel {
			mounts[i].SubPath = strings.TrimSuffix(at.Key, "/")
			if !at.IsPrefix() {
				mounts[i].MountPath = path.Join(runtimes.ModelDirectory, path.Base(at.Key))
			}
		}
	}
}

// fetch copies the artifact into the pod. Its command line is that of KServe's
// storage initializer.
func (s *serving) fetch(spec *corev1.PodSpec, at artifact.Location) corev1.Container {
	c := s.helper(containerFetch)
	c.Args = []string{at.String(), runtimes.ModelDirectory}
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: volumeModel, MountPath: runtimes.ModelDirectory})
	if name := s.cfg.StorageSecret; name != "" {
		// Its keys that can be variables are; those that are files, a registry's
		// config.json or a key file, are files.
		c.EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}}}}
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: volumeKeys, MountPath: keysPath, ReadOnly: true})
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: volumeKeys, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: name}}})
	}
	return c
}

// helper is a container that runs before the model does.
func (s *serving) helper(name string) corev1.Container {
	return corev1.Container{
		Name: name, Image: s.cfg.Images.Fetch, SecurityContext: s.containerSecurity(), TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		Env:          []corev1.EnvVar{{Name: "HOME", Value: "/tmp"}},
		VolumeMounts: []corev1.VolumeMount{{Name: volumeTmp, MountPath: "/tmp"}},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("128Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("2Gi")}},
	}
}

// verify checks the files against the record, or their digest against the one that
// the user told. ok is false for an image by digest, which whoever pulls it checks.
func (s *serving) verify(at artifact.Location) (c corev1.Container, ok bool) {
	c = s.helper(containerVerify)
	c.Command = []string{"sh", "-ec"}
	switch digest := s.version.Artifact.Digest; {
	case s.sums:
		c.Args = []string{words("cd "+runtimes.ModelDirectory, "sha256sum -c "+sumsPath+"/"+dataSums)}
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: volumeSums, MountPath: sumsPath, ReadOnly: true})
	case at.Scheme == artifact.SchemeOCI:
		return c, false
	default:
		script := verifyTree
		if single(at) {
			script = verifyFile
		}
		c.Args = []string{script, "verify", digest}
	}
	return c, true
}

// Both scripts run in BusyBox's shell too. The second makes the digest as
// internal/artifact does.
var (
	verifyFile = words(
		"cd "+runtimes.ModelDirectory,
		`found=$(sha256sum * | cut -d ' ' -f 1)`,
		mustBe)
	verifyTree = words(
		"cd "+runtimes.ModelDirectory,
		`found=$(find . -type f | cut -c 3- | LC_ALL=C sort | while read -r file; do`,
		`  echo "$(sha256sum "$file" | cut -d ' ' -f 1) $(stat -c %s "$file") $file"`,
		`done | sha256sum | cut -d ' ' -f 1)`,
		mustBe)
)

const mustBe = `[ "$found" = "$1" ] || { echo "the artifact has the digest $found, and $1 was registered" >&2; exit 1; }`
