// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/transport/spdy"
)

// Forward opens a port on the loopback for a port of "pod/NAME" or "service/NAME",
// until stop is called. A service is reached by its own address, connection by
// connection, as pods reach it, and has to have a pod behind it by now; of a cluster that was there already, by one of its
// pods.
func (c *Cluster) Forward(ctx context.Context, ns, target string, port int) (address string, stop func(), err error) {
	kind, name, _ := strings.Cut(target, "/")
	switch kind {
	case "pod":
		return c.forwardPod(ctx, ns, name, port)
	case "service":
	default:
		return "", nil, fmt.Errorf("%s is neither pod/NAME nor service/NAME", target)
	}
	service, err := c.client.CoreV1().Services(ns).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", nil, err
	}
	if c.Own() && service.Spec.ClusterIP != corev1.ClusterIPNone {
		to := net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(port))
		// kube-proxy learns of pods a moment after they are ready.
		if err := c.machine.poll(ctx, 20*time.Second, "service "+name+" to be reached", func(ctx context.Context) error {
			conn, err := c.machine.dial(ctx, to)
			if err == nil {
				_ = conn.Close() // somebody is there
			}
			return err
		}); err != nil {
			return "", nil, err
		}
		return relay(func(ctx context.Context) (net.Conn, error) { return c.machine.dial(ctx, to) })
	}
	pod, port, err := c.behind(ctx, service, port)
	if err != nil {
		return "", nil, err
	}
	return c.forwardPod(ctx, ns, pod, port)
}

// URL is Forward for a test: the address of an HTTP server, until the test ends.
func (c *Cluster) URL(t *testing.T, ns, target string, port int) string {
	t.Helper()
	address, stop, err := c.Forward(t.Context(), ns, target, port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return "http://" + address
}

// behind is a ready pod behind a port of a service, and the pod's own port.
func (c *Cluster) behind(ctx context.Context, service *corev1.Service, port int) (string, int, error) {
	pods, err := c.client.CoreV1().Pods(service.Namespace).List(ctx, metav1.ListOptions{LabelSelector: labels.Set(service.Spec.Selector).String()})
	if err != nil {
		return "", 0, err
	}
	for _, p := range pods.Items {
		if !isReady(p) {
			continue
		}
		for _, s := range service.Spec.Ports {
			if int(s.Port) == port {
				return p.Name, portOf(p, s.TargetPort), nil
			}
		}
	}
	return "", 0, fmt.Errorf("service %s has no ready pod with port %d", service.Name, port)
}

func isReady(p corev1.Pod) bool {
	for _, condition := range p.Status.Conditions {
		if condition.Type == corev1.PodReady && p.DeletionTimestamp == nil {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

func portOf(p corev1.Pod, target intstr.IntOrString) int {
	for _, container := range p.Spec.Containers {
		for _, port := range container.Ports {
			if target.Type == intstr.String && port.Name == target.StrVal {
				return int(port.ContainerPort)
			}
		}
	}
	return target.IntValue()
}

// forwardPod forwards through the API server, as kubectl port-forward does.
func (c *Cluster) forwardPod(ctx context.Context, ns, pod string, port int) (string, func(), error) {
	transport, upgrader, err := spdy.RoundTripperFor(c.config)
	if err != nil {
		return "", nil, err
	}
	url := c.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(ns).Name(pod).SubResource("portforward").URL()
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	ended, ready, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	var said bytes.Buffer
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", port)}, ended, ready, io.Discard, &said)
	if err != nil {
		return "", nil, err
	}
	go func() { done <- forwarder.ForwardPorts() }()
	stop := func() {
		close(ended)
		<-done
	}
	select {
	case <-ready:
	case err := <-done:
		return "", nil, errors.Join(err, errors.New(said.String()))
	case <-ctx.Done():
		stop()
		return "", nil, ctx.Err()
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		stop()
		return "", nil, err
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(int(ports[0].Local))), stop, nil
}
