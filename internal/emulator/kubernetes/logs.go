// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// getLog answers what a container has said.
func getLog(q *request) error {
	if q.res.id() != pods {
		return q.unserved()
	}
	var lines []string
	err := q.transact(q.http.Context(), func(w *world) error {
		obj, err := q.existing(w)
		if err != nil {
			return err
		}
		pod, ok := obj.(*corev1.Pod)
		if !ok {
			return fmt.Errorf("%s is no pod", q.name)
		}
		lines, err = q.lines(pod)
		return err
	})
	if err != nil {
		return err
	}
	if tail := q.query.Get("tailLines"); tail != "" {
		n, err := strconv.Atoi(tail)
		if err != nil || n < 0 {
			return apierrors.NewBadRequest("tailLines: Invalid value: " + tail)
		}
		lines = lines[max(0, len(lines)-n):]
	}
	text := ""
	if len(lines) > 0 {
		text = strings.Join(lines, "\n") + "\n"
	}
	if limit, err := strconv.Atoi(q.query.Get("limitBytes")); err == nil && limit < len(text) {
		text = text[:limit]
	}
	q.w.Header().Set("Content-Type", "text/plain")
	q.w.WriteHeader(http.StatusOK)
	_, _ = io.WriteString(q.w, text)
	return nil
}

func (q *request) lines(pod *corev1.Pod) ([]string, error) {
	var names []string
	for _, c := range pod.Spec.Containers {
		names = append(names, c.Name)
	}
	var early []string
	for _, c := range pod.Spec.InitContainers {
		early = append(early, c.Name)
	}
	name := q.query.Get("container")
	switch {
	case name == "" && len(names) == 1:
		name = names[0]
	case name == "":
		message := fmt.Sprintf("a container name must be specified for pod %s, choose one of: [%s]", pod.Name, strings.Join(names, " "))
		if len(early) > 0 {
			message += fmt.Sprintf(" or one of the init containers: [%s]", strings.Join(early, " "))
		}
		return nil, apierrors.NewBadRequest(message)
	case !slices.Contains(names, name) && !slices.Contains(early, name):
		return nil, apierrors.NewBadRequest(fmt.Sprintf("container %s is not valid for pod %s", name, pod.Name))
	}
	for _, c := range append(slices.Clone(pod.Status.InitContainerStatuses), pod.Status.ContainerStatuses...) {
		if c.Name == name {
			return q.spoken(pod, c)
		}
	}
	return nil, apierrors.NewBadRequest(fmt.Sprintf("container %q in pod %q is waiting to start: ContainerCreating", name, pod.Name))
}

// spoken is what a container in a state has said.
func (q *request) spoken(pod *corev1.Pod, c corev1.ContainerStatus) ([]string, error) {
	previous := q.query.Get("previous") == "true"
	failed := c.LastTerminationState.Terminated
	switch {
	case previous && failed == nil:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("previous terminated container %q in pod %q not found", c.Name, pod.Name))
	case failed != nil:
		return append([]string{"starting " + c.Name}, strings.Split(failed.Message, "\n")...), nil
	case c.State.Waiting != nil && c.State.Waiting.Reason == "ImagePullBackOff":
		return nil, apierrors.NewBadRequest(fmt.Sprintf("container %q in pod %q is waiting to start: trying and failing to pull image", c.Name, pod.Name))
	case c.State.Waiting != nil:
		return nil, apierrors.NewBadRequest(fmt.Sprintf("container %q in pod %q is waiting to start: %s", c.Name, pod.Name, c.State.Waiting.Reason))
	case c.State.Terminated != nil:
		return []string{"starting " + c.Name, "done"}, nil
	case c.Ready:
		return []string{"starting " + c.Name, "loading the model", "ready to serve"}, nil
	}
	return []string{"starting " + c.Name, "loading the model"}, nil
}
