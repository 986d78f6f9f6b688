// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// How long things take on the platform, from when a pod is on a node.
const (
	startsAfter = 30 * time.Second // what runs before the containers is done
	readyAfter  = 90 * time.Second
	crashAfter  = 5 * time.Second // from a container's start
	endsAfter   = 2 * time.Second // from the signal to end
	mostCrashes = 5               // restarts that are acted out; a cluster goes on for ever
)

// podLife is what the kubelet knows of a pod.
type podLife struct {
	Created time.Time
	Begun   time.Time // nothing is in the way
	Ready   time.Time
	Ends    time.Time // after its deletion
	Mode    string    // of a scripted failure, "" if none
	Message string
	IP      string
	Checked bool // what runs before the containers has nothing to complain of
}

// kubelet is a pod while its node looks after it.
type kubelet struct {
	*world
	pod  *corev1.Pod
	life podLife
}

func reconcilePod(w *world, ns, name string) error {
	pod, found, err := lookup[*corev1.Pod](w, pods, ns, name)
	if err != nil || !found || finished(pod) {
		return err
	}
	k := &kubelet{world: w, pod: pod}
	if found, err := w.tx.Get(docPod, string(pod.UID), &k.life); err != nil {
		return err
	} else if !found {
		k.life = podLife{Created: w.now}
	}
	if pod.DeletionTimestamp != nil {
		return k.end()
	}
	if pod.Spec.NodeName == "" {
		placed, err := k.schedule()
		if err != nil || !placed {
			return err
		}
	}
	if err := k.run(); err != nil {
		return err
	}
	if err := w.tx.Put(docPod, string(pod.UID), k.life); err != nil {
		return err
	}
	return k.write()
}

// write keeps the pod as it is now.
func (k *kubelet) write() error {
	r := catalog()[pods]
	old, err := k.get(r, k.pod.Namespace, k.pod.Name)
	if err != nil || old == nil || unchanged(old, k.pod) {
		return err
	}
	return k.put(r, old, k.pod)
}

func (k *kubelet) subject() subject { return subject{"pod", k.pod.Namespace, k.pod.Name} }

// after looks at the pod again when d has passed on the platform since it began.
func (k *kubelet) after(d time.Duration) error {
	return k.at(k.life.Begun.Add(k.scaled(d)), k.subject())
}

func (k *kubelet) passed(d time.Duration) bool { return !k.now.Before(k.life.Begun.Add(k.scaled(d))) }

// end lets a pod that is being deleted come to its end.
func (k *kubelet) end() error {
	if k.life.Ends.IsZero() {
		grace := time.Duration(0)
		if g := k.pod.DeletionGracePeriodSeconds; g != nil {
			grace = time.Duration(*g) * time.Second
		}
		takes := endsAfter
		for _, c := range k.pod.Spec.Containers {
			if c.Lifecycle != nil && c.Lifecycle.PreStop != nil && c.Lifecycle.PreStop.Sleep != nil {
				takes = max(takes, endsAfter+time.Duration(c.Lifecycle.PreStop.Sleep.Seconds)*time.Second)
			}
		}
		k.life.Ends = k.now.Add(k.scaled(min(grace, takes)))
		if err := k.tx.Put(docPod, string(k.pod.UID), k.life); err != nil {
			return err
		}
	}
	if k.now.Before(k.life.Ends) {
		return k.at(k.life.Ends, k.subject())
	}
	if len(k.pod.Finalizers) > 0 {
		return nil
	}
	return k.remove(catalog()[pods], k.pod)
}

// schedule puts the pod on a node.
func (k *kubelet) schedule() (placed bool, err error) {
	node, reason, err := k.placeWithClaims(k.pod)
	if err != nil {
		return false, err
	}
	if node == nil {
		if k.set(corev1.PodScheduled, corev1.ConditionFalse, "Unschedulable", reason) {
			if err := k.emitNew(k.pod, "Pod", "default-scheduler", "Warning", "FailedScheduling", reason); err != nil {
				return false, err
			}
		}
		if err := k.stuck(k.pod.Namespace, k.subject()); err != nil {
			return false, err
		}
		return false, k.write()
	}
	k.pod.Spec.NodeName = node.Name
	k.set(corev1.PodScheduled, corev1.ConditionTrue, "", "")
	return true, k.emitNew(k.pod, "Pod", "default-scheduler", "Normal", "Scheduled", fmt.Sprintf("Successfully assigned %s/%s to %s", k.pod.Namespace, k.pod.Name, node.Name))
}

// set changes a condition and reports whether it changed.
func (k *kubelet) set(kind corev1.PodConditionType, status corev1.ConditionStatus, reason, message string) bool {
	next := corev1.PodCondition{Type: kind, Status: status, Reason: reason, Message: message, LastTransitionTime: k.stamp()}
	for i, c := range k.pod.Status.Conditions {
		if c.Type != kind {
			continue
		}
		if c.Status == status && c.Reason == reason && c.Message == message {
			return false
		}
		if c.Status == status {
			next.LastTransitionTime = c.LastTransitionTime
		}
		k.pod.Status.Conditions[i] = next
		return true
	}
	k.pod.Status.Conditions = append(k.pod.Status.Conditions, next)
	return true
}

// run brings the pod to where it is by now.
func (k *kubelet) run() error {
	s := &k.pod.Status
	if s.StartTime == nil {
		now := k.stamp()
		s.StartTime, s.HostIP, s.HostIPs = &now, "192.0.2.1", []corev1.HostIP{{IP: "192.0.2.1"}}
	}
	stopped, err := k.obstructed()
	if err != nil || stopped {
		return err
	}
	if k.life.Begun.IsZero() {
		k.life.Begun = k.now
	}
	if k.life.IP == "" {
		n, err := k.tx.Next("k8s-pod-ip")
		if err != nil {
			return err
		}
		k.life.IP = fmt.Sprintf("10.244.%d.%d", n/250%256, n%250+1)
	}
	s.PodIP, s.PodIPs = k.life.IP, []corev1.PodIP{{IP: k.life.IP}}
	if k.life.Mode == fateImage && len(k.pod.Spec.InitContainers) == 0 {
		return k.unpullable()
	}
	if !k.passed(startsAfter) {
		k.initializing()
		return k.after(startsAfter)
	}
	if at, reason, err := k.prepare(); err != nil || reason != "" {
		if err != nil {
			return err
		}
		return k.crash(k.pod.Spec.InitContainers, at, &s.InitContainerStatuses, reason)
	}
	k.initialized()
	switch k.life.Mode {
	case fateImage:
		return k.unpullable()
	case fateCrash:
		return k.crash(k.pod.Spec.Containers, 0, &s.ContainerStatuses, orElse(k.life.Message, "the process ended with an error"))
	}
	s.Phase = corev1.PodRunning
	if k.life.Mode == fateUnready || !k.passed(readyAfter) {
		k.running(false)
		if k.life.Mode == fateUnready {
			return k.unhealthy()
		}
		return k.after(readyAfter)
	}
	if k.life.Ready.IsZero() {
		k.life.Ready = k.now
	}
	k.running(true)
	return nil
}

// running shows containers that run, ready or not.
func (k *kubelet) running(isReady bool) {
	s := &k.pod.Status
	s.ContainerStatuses = nil
	for i := range k.pod.Spec.Containers {
		c := k.container(&k.pod.Spec.Containers[i])
		c.Ready, c.Started = isReady, &isReady
		c.State.Running = &corev1.ContainerStateRunning{StartedAt: k.time(k.life.Begun.Add(k.scaled(startsAfter)))}
		s.ContainerStatuses = append(s.ContainerStatuses, c)
	}
	k.conditions(isReady)
}

func (k *kubelet) conditions(isReady bool) {
	if isReady {
		k.set(corev1.ContainersReady, corev1.ConditionTrue, "", "")
		k.set(corev1.PodReady, corev1.ConditionTrue, "", "")
		return
	}
	names := make([]string, 0, len(k.pod.Spec.Containers))
	for _, c := range k.pod.Spec.Containers {
		names = append(names, c.Name)
	}
	message := fmt.Sprintf("containers with unready status: [%s]", strings.Join(names, " "))
	k.set(corev1.ContainersReady, corev1.ConditionFalse, "ContainersNotReady", message)
	k.set(corev1.PodReady, corev1.ConditionFalse, "ContainersNotReady", message)
}

func (k *kubelet) time(t time.Time) metav1.Time { return metav1.Time{Time: t.Truncate(time.Second)} }

// container is a container's status, whatever its state.
func (k *kubelet) container(c *corev1.Container) corev1.ContainerStatus {
	no := false
	return corev1.ContainerStatus{Name: c.Name, Image: c.Image, ImageID: "sha256:" + strings.Repeat("0", 64), Started: &no, ContainerID: "containerd://" + string(k.pod.UID) + "-" + c.Name}
}

// waiting shows containers that wait for a reason.
func (k *kubelet) waiting(all []corev1.Container, reason string) []corev1.ContainerStatus {
	statuses := make([]corev1.ContainerStatus, 0, len(all))
	for i := range all {
		c := k.container(&all[i])
		c.ImageID, c.ContainerID = "", ""
		c.State.Waiting = &corev1.ContainerStateWaiting{Reason: reason}
		statuses = append(statuses, c)
	}
	return statuses
}

// initializing shows a pod before its containers start.
func (k *kubelet) initializing() {
	s := &k.pod.Status
	s.Phase = corev1.PodPending
	reason := "ContainerCreating"
	if n := len(k.pod.Spec.InitContainers); n > 0 {
		reason = "PodInitializing"
		names := make([]string, 0, n)
		s.InitContainerStatuses = k.waiting(k.pod.Spec.InitContainers, reason)
		s.InitContainerStatuses[0].State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: k.time(k.life.Begun)}}
		for _, c := range k.pod.Spec.InitContainers {
			names = append(names, c.Name)
		}
		k.set(corev1.PodInitialized, corev1.ConditionFalse, "ContainersNotInitialized", fmt.Sprintf("containers with incomplete status: [%s]", strings.Join(names, " ")))
	} else {
		k.set(corev1.PodInitialized, corev1.ConditionTrue, "", "")
	}
	s.ContainerStatuses = k.waiting(k.pod.Spec.Containers, reason)
	k.conditions(false)
}

// initialized shows that what runs before the containers has run.
func (k *kubelet) initialized() {
	s := &k.pod.Status
	s.InitContainerStatuses = nil
	at := k.time(k.life.Begun.Add(k.scaled(startsAfter)))
	for i := range k.pod.Spec.InitContainers {
		c := k.container(&k.pod.Spec.InitContainers[i])
		c.Ready = true
		c.State.Terminated = &corev1.ContainerStateTerminated{Reason: "Completed", StartedAt: k.time(k.life.Begun), FinishedAt: at, ContainerID: c.ContainerID}
		s.InitContainerStatuses = append(s.InitContainerStatuses, c)
	}
	k.set(corev1.PodInitialized, corev1.ConditionTrue, "", "")
}

// crash shows containers of which one ends as often as it is started.
func (k *kubelet) crash(all []corev1.Container, at int, statuses *[]corev1.ContainerStatus, message string) error {
	started := startsAfter
	crashes := 0
	for back := 10 * time.Second; crashes <= mostCrashes && k.passed(started+crashAfter); back = min(2*back, 5*time.Minute) {
		crashes++
		started += crashAfter + back
	}
	found := k.around(all, at, statuses == &k.pod.Status.InitContainerStatuses)
	first := k.container(&all[at])
	if crashes == 0 {
		first.State.Running = &corev1.ContainerStateRunning{StartedAt: k.time(k.life.Begun.Add(k.scaled(startsAfter)))}
		found[at], *statuses = first, found
		return k.after(startsAfter + crashAfter)
	}
	ended := &corev1.ContainerStateTerminated{ExitCode: 1, Reason: "Error", Message: message, StartedAt: k.stamp(), FinishedAt: k.stamp(), ContainerID: first.ContainerID}
	if before := lastEnd(*statuses, first.Name); before != nil && int(restarts(*statuses, first.Name)) == crashes-1 {
		ended = before
	}
	first.RestartCount = int32(crashes - 1)
	if k.passed(started) && crashes <= mostCrashes {
		first.RestartCount = int32(crashes)
		first.State.Running = &corev1.ContainerStateRunning{StartedAt: k.stamp()}
	} else {
		first.State.Waiting = &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: fmt.Sprintf("back-off restarting failed container=%s pod=%s_%s(%s)", first.Name, k.pod.Name, k.pod.Namespace, k.pod.UID)}
	}
	first.LastTerminationState.Terminated = ended
	found[at], *statuses = first, found
	if err := k.emit(k.pod, "Pod", "kubelet", "Warning", "BackOff", fmt.Sprintf("Back-off restarting failed container %s in pod %s_%s(%s)", first.Name, k.pod.Name, k.pod.Namespace, k.pod.UID)); err != nil || crashes > mostCrashes {
		return err
	}
	if !k.passed(started) {
		return k.after(started)
	}
	return k.after(started + crashAfter)
}

// around shows the containers beside one that crashes.
func (k *kubelet) around(all []corev1.Container, at int, isInit bool) []corev1.ContainerStatus {
	defer k.conditions(false)
	if !isInit {
		k.pod.Status.Phase = corev1.PodRunning
		var found []corev1.ContainerStatus
		for i := range all {
			c := k.container(&all[i])
			c.State.Running = &corev1.ContainerStateRunning{StartedAt: k.time(k.life.Begun.Add(k.scaled(startsAfter)))}
			found = append(found, c)
		}
		return found
	}
	k.initialized()
	found := k.waiting(all, "PodInitializing")
	copy(found[:at], k.pod.Status.InitContainerStatuses)
	k.pod.Status.Phase = corev1.PodPending
	k.pod.Status.ContainerStatuses = k.waiting(k.pod.Spec.Containers, "PodInitializing")
	k.set(corev1.PodInitialized, corev1.ConditionFalse, "ContainersNotInitialized", fmt.Sprintf("containers with incomplete status: [%s]", all[at].Name))
	return found
}

func lastEnd(all []corev1.ContainerStatus, name string) *corev1.ContainerStateTerminated {
	for _, c := range all {
		if c.Name == name {
			return c.LastTerminationState.Terminated
		}
	}
	return nil
}

func restarts(all []corev1.ContainerStatus, name string) int32 {
	for _, c := range all {
		if c.Name == name {
			return c.RestartCount
		}
	}
	return 0
}

// unpullable shows an image that cannot be had.
func (k *kubelet) unpullable() error {
	c := k.pod.Spec.Containers[0]
	said := orElse(k.life.Message, fmt.Sprintf("failed to pull and unpack image %q: failed to resolve reference: not found", c.Image))
	reason, message := "ErrImagePull", said
	if k.passed(startsAfter + 10*time.Second) {
		reason, message = "ImagePullBackOff", fmt.Sprintf("Back-off pulling image %q: ErrImagePull: %s", c.Image, said)
	}
	k.pod.Status.Phase = corev1.PodPending
	k.pod.Status.ContainerStatuses = k.waiting(k.pod.Spec.Containers, "ContainerCreating")
	k.pod.Status.ContainerStatuses[0].State.Waiting = &corev1.ContainerStateWaiting{Reason: reason, Message: message}
	k.conditions(false)
	if reason == "ErrImagePull" {
		if err := k.after(startsAfter + 10*time.Second); err != nil {
			return err
		}
		return k.emit(k.pod, "Pod", "kubelet", "Warning", "Failed", fmt.Sprintf("Failed to pull image %q: %s", c.Image, said))
	}
	return k.emit(k.pod, "Pod", "kubelet", "Warning", "Failed", "Error: ImagePullBackOff")
}

// unhealthy says that a probe does not pass.
func (k *kubelet) unhealthy() error {
	return k.emit(k.pod, "Pod", "kubelet", "Warning", "Unhealthy", "Readiness probe failed: "+orElse(k.life.Message, "HTTP probe failed with statuscode: 503"))
}
