// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"context"
	"io"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/naming"
)

// A persistent volume claim can be written only from inside of the cluster: a pod
// mounts it, and what is to be staged is streamed into the pod.

// stagingSeconds is how long such a pod lives at most.
const stagingSeconds = 6 * 3600

// fill copies verified files into a volume claim, unless they are there, and returns
// their address. Busy means that the pod is not running yet.
func (d *kubernetes) fill(ctx context.Context, key driver.Key, into artifact.Location, v *artifact.Verified) (string, error) {
	a, err := d.connect()
	if err != nil {
		return "", err
	}
	pod, err := d.stagingPod(ctx, a, key, into)
	if err != nil {
		return "", err
	}
	place := path.Join("/", into.Key, v.Place())
	at := artifact.Location{Scheme: artifact.SchemeClaim, Bucket: into.Bucket, Key: strings.TrimPrefix(place, "/") + "/"}
	target := claimPath + place
	found, err := a.run(ctx, pod, nil, "sh", "-c", `[ -e "$1.complete" ] && echo complete || true`, "sh", target)
	if err == nil && strings.TrimSpace(found) != "complete" {
		files, w := io.Pipe()
		go func() { w.CloseWithError(v.Tar(ctx, w, "")) }()
		_, err = a.run(ctx, pod, files, "sh", "-ec", words(`mkdir -p "$1"`, `tar -x -f - -C "$1"`, `sync`, `: > "$1.complete"`), "sh", target)
		files.CloseWithError(io.ErrClosedPipe)
	}
	if err != nil {
		return "", mlerr.Annotate(err, "cannot copy the artifact into the claim %s", into.Bucket)
	}
	o, err := notFound(a.get(ctx, pods, key.Location, pod.Name))
	if err == nil && o != nil {
		err = a.remove(ctx, pods, o)
	}
	return at.String(), err
}

const claimPath = "/mnt/claim"

// stagingPod is the running pod that mounts the claim. It is made if it is not there,
// and belongs to the model.
func (d *kubernetes) stagingPod(ctx context.Context, a *api, key driver.Key, into artifact.Location) (*corev1.Pod, error) {
	name := naming.Name("ml-staging-"+key.Name, 60, naming.Hash([]string{key.ID(), into.Bucket}))
	o, err := notFound(a.get(ctx, pods, key.Location, name))
	if err != nil {
		return nil, err
	}
	if o == nil {
		head, err := a.get(ctx, configMaps, key.Location, headName(key.Name))
		if err != nil {
			return nil, err
		}
		made := with(newObject(pods, key.Location, name), map[string]any{"spec": d.stagingSpec(into.Bucket)})
		made.SetLabels(marked(nil, labelKind, "staging", labelModel, key.Name))
		made.SetOwnerReferences(ownedBy(head))
		if _, err = a.create(ctx, pods, made); err != nil && !mlerr.Is(err, mlerr.AlreadyExists) {
			return nil, err
		}
		return nil, mlerr.New(mlerr.Busy, "the pod %s that writes to the claim %s is starting", name, into.Bucket)
	}
	pod, err := convert[corev1.Pod](o)
	if err != nil {
		return nil, err
	}
	switch {
	case pod.DeletionTimestamp != nil:
		return nil, mlerr.New(mlerr.Busy, "the pod %s is still being deleted", name)
	case pod.Status.Phase == corev1.PodRunning:
		return pod, nil
	case pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded:
		if err := a.remove(ctx, pods, o); err != nil {
			return nil, err
		}
		return nil, mlerr.New(mlerr.Busy, "the pod %s has ended and is made again", name)
	}
	f := inspect(pod, a.now())
	if f.terminal || a.now().Sub(pod.CreationTimestamp.Time) > 10*transient {
		_ = a.remove(ctx, pods, o)
		return nil, mlerr.New(mlerr.Failed, "the claim %s cannot be written: %s", into.Bucket, d.explain(ctx, a, finding{pod: pod, rank: rankWaiting}, f.text)).
			WithHint("See that the claim exists in the namespace %s, is bound, and can be mounted", key.Location)
	}
	return nil, mlerr.New(mlerr.Busy, "the pod %s that writes to the claim %s is starting: %s", name, into.Bucket, f.text)
}

func (d *kubernetes) stagingSpec(claim string) corev1.PodSpec {
	s := &serving{cfg: &d.cfg, settings: &driver.Settings{}}
	c := s.helper("write")
	c.Command = []string{"sleep", "86400"}
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: volumeClaim, MountPath: claimPath})
	return corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, ActiveDeadlineSeconds: new(int64(stagingSeconds)), TerminationGracePeriodSeconds: new(int64(1)),
		AutomountServiceAccountToken: new(false), EnableServiceLinks: new(false), SecurityContext: s.podSecurity(), Containers: []corev1.Container{c},
		Volumes: []corev1.Volume{{Name: volumeTmp, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{Name: volumeClaim, VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claim}}}},
	}
}
