// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"context"
	"fmt"
	"io"
	"sort"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

var (
	nestedString = unstructured.NestedString
	nestedInt    = unstructured.NestedInt64
	nestedMap    = unstructured.NestedMap
	nestedSlice  = unstructured.NestedSlice
)

// finding is the worst that was found about pods.
type finding struct {
	pod      *corev1.Pod
	text     string
	terminal bool // it will not pass by itself
	rank     int
	crashed  string // name of the container whose log says more
}

// Ranks of findings: what stands before a container stands before what it does.
const (
	rankWaiting = iota
	rankUnready
	rankUnschedulable
	rankBroken
)

// patience of what may pass by itself: an image being pushed, a Secret being made.
const (
	transient  = time.Minute
	crashLimit = 2 // restarts; a container that ends three times will a fourth time
)

// diagnose finds the pod that stands most in the way.
func (d *kubernetes) diagnose(ctx context.Context, a *api, all []corev1.Pod) finding {
	worst := finding{rank: -1}
	sort.Slice(all, func(i, j int) bool { return all[i].Name < all[j].Name })
	for i := range all {
		if all[i].DeletionTimestamp != nil {
			continue
		}
		if f := inspect(&all[i], a.now()); f.rank > worst.rank || f.terminal && !worst.terminal {
			worst = f
		}
	}
	if worst.crashed != "" && worst.terminal {
		if tail := a.logs(ctx, worst.pod, worst.crashed); tail != "" {
			worst.text += ": " + tail
		}
	}
	return worst
}

// inspect reads one pod's conditions and container states.
func inspect(pod *corev1.Pod, now time.Time) finding {
	f := finding{pod: pod, rank: -1}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			f.rank, f.text = rankUnschedulable, fmt.Sprintf("pod %s cannot be scheduled (%s): %s%s", pod.Name, c.Reason, c.Message, asked(pod))
			return f
		}
	}
	age := now.Sub(pod.CreationTimestamp.Time)
	for _, statuses := range [][]corev1.ContainerStatus{pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses} {
		for i := range statuses {
			s := &statuses[i]
			if w := s.State.Waiting; w != nil {
				f.waiting(s, w, age)
			} else if s.State.Running != nil && !s.Ready && f.rank < rankUnready && isMain(pod, s.Name) {
				f.rank, f.text = rankUnready, fmt.Sprintf("pod %s: container %s runs and is not ready", pod.Name, s.Name)
			}
		}
	}
	return f
}

func isMain(pod *corev1.Pod, name string) bool {
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == name {
			return true
		}
	}
	return false
}

// asked names what of the pod narrows the choice of nodes.
func asked(pod *corev1.Pod) string {
	var parts []string
	for k, v := range pod.Spec.NodeSelector {
		parts = append(parts, k+"="+v)
	}
	for i := range pod.Spec.Containers {
		for name, q := range pod.Spec.Containers[i].Resources.Requests {
			parts = append(parts, fmt.Sprintf("%s %s", q.String(), name))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	sort.Strings(parts)
	return " (asked for: " + strings.Join(parts, ", ") + ")"
}

// hopeless are parts of messages about images that no waiting helps.
var hopeless = []string{"not found", "unauthorized", "denied", "manifest unknown", "no such host"}

func (f *finding) waiting(s *corev1.ContainerStatus, w *corev1.ContainerStateWaiting, age time.Duration) {
	if w.Reason == "PodInitializing" || w.Reason == "ContainerCreating" {
		return
	}
	terminal := false
	switch w.Reason {
	case "InvalidImageName", "ErrImageNeverPull":
		terminal = true
	case "ImagePullBackOff", "ErrImagePull":
		terminal = age > transient
		for _, part := range hopeless {
			terminal = terminal || w.Reason == "ImagePullBackOff" && strings.Contains(strings.ToLower(w.Message), part)
		}
	case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
		terminal = age > transient
	case "CrashLoopBackOff":
		terminal = s.RestartCount >= crashLimit
	}
	if f.rank >= rankBroken && !terminal {
		return
	}
	text := fmt.Sprintf("pod %s: container %s: %s", f.pod.Name, s.Name, w.Reason)
	if w.Message != "" && w.Reason != "CrashLoopBackOff" {
		text += ": " + w.Message
	}
	f.rank, f.text, f.terminal, f.crashed = rankBroken, text, terminal, ""
	if t := s.LastTerminationState.Terminated; t != nil {
		f.text += fmt.Sprintf(", exit code %d (%s)", t.ExitCode, t.Reason)
		if message := strings.TrimSpace(t.Message); message != "" {
			f.text += ": " + tail(message)
		} else {
			f.crashed = s.Name
		}
	}
}

// How much of a log an error shows.
const (
	logLines = 20
	logBytes = 2048
)

// tail is the end of a text.
func tail(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	text = strings.Join(lines[max(0, len(lines)-logLines):], "\n")
	return text[max(0, len(text)-logBytes):]
}

// logs is the end of what a container wrote before it ended, "" if that cannot be
// read.
func (a *api) logs(ctx context.Context, pod *corev1.Pod, container string) string {
	stream, err := a.discovery.RESTClient().Get().AbsPath("/api/v1/namespaces", pod.Namespace, "pods", pod.Name, "log").
		Param("container", container).Param("previous", "true").Param("tailLines", fmt.Sprint(logLines)).Param("limitBytes", "8192").Stream(ctx)
	if err != nil {
		return ""
	}
	defer stream.Close()
	text, err := io.ReadAll(io.LimitReader(stream, 8192))
	if err != nil {
		return ""
	}
	return tail(string(text))
}

// explain adds to a failure what the cluster's events say of the pod, where its own
// status says too little.
func (d *kubernetes) explain(ctx context.Context, a *api, f finding, reason string) string {
	if f.pod == nil || f.terminal || f.rank > rankUnready {
		return reason
	}
	for _, text := range a.warnings(ctx, f.pod.Namespace, string(f.pod.UID)) {
		reason += "; " + text
	}
	return reason
}

// warnings are the latest different warnings about an object, at most three.
func (a *api) warnings(ctx context.Context, namespace, uid string) []string {
	list, err := a.of(events, namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.uid=" + uid + ",type=Warning", Limit: 100})
	if err != nil {
		a.log.Debug("events cannot be read", "error", err)
		return nil
	}
	seen := map[string]bool{}
	var all []string
	for i := len(list.Items) - 1; i >= 0 && len(all) < 3; i-- {
		e, err := convert[corev1.Event](&list.Items[i])
		if text := e.Reason + ": " + e.Message; err == nil && !seen[text] {
			seen[text] = true
			all = append(all, text)
		}
	}
	return all
}

// notFound makes the answer of a read of something optional.
func notFound(o *object, err error) (*object, error) {
	if mlerr.Is(err, mlerr.NotFound) {
		return nil, nil //nolint:nilnil // absent
	}
	return o, err
}
