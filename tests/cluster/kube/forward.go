// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kube

import (
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
// until stop is called. A service has to have a pod behind it by now. It is reached by
// its own address, connection by connection, as pods reach it; of a cluster that was
// there already, each connection goes to one of its pods that are ready.
func (c *Cluster) Forward(ctx context.Context, ns, target string, port int) (address string, stop func(), err error) {
	kind, name, _ := strings.Cut(target, "/")
	switch kind {
	case "pod":
		return relay(func(ctx context.Context) (io.ReadWriteCloser, error) { return c.dialPod(ctx, ns, name, port) })
	case "service":
	default:
		return "", nil, fmt.Errorf("%s is neither pod/NAME nor service/NAME", target)
	}
	service, err := c.client.CoreV1().Services(ns).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", nil, err
	}
	dial := func(ctx context.Context) (io.ReadWriteCloser, error) {
		pod, port, err := c.behind(ctx, service, port)
		if err != nil {
			return nil, err
		}
		return c.dialPod(ctx, ns, pod, port)
	}
	if c.Own() && service.Spec.ClusterIP != corev1.ClusterIPNone {
		to := net.JoinHostPort(service.Spec.ClusterIP, strconv.Itoa(port))
		dial = func(ctx context.Context) (io.ReadWriteCloser, error) { return c.machine.dial(ctx, to) }
	}
	// kube-proxy learns of pods a moment after they are ready.
	if err := eventually(ctx, 20*time.Second, "service "+name+" to be reached", func(ctx context.Context) error {
		conn, err := dial(ctx)
		if err == nil {
			_ = conn.Close() // somebody is there
		}
		return err
	}); err != nil {
		return "", nil, err
	}
	return relay(dial)
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

// dialPod connects to a pod through the API server, as kubectl port-forward does.
func (c *Cluster) dialPod(ctx context.Context, ns, pod string, port int) (io.ReadWriteCloser, error) {
	transport, upgrader, err := spdy.RoundTripperFor(c.config)
	if err != nil {
		return nil, err
	}
	url := c.client.CoreV1().RESTClient().Post().Resource("pods").Namespace(ns).Name(pod).SubResource("portforward").URL()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url.String(), http.NoBody)
	if err != nil {
		return nil, err
	}
	conn, _, err := spdy.Negotiate(upgrader, &http.Client{Transport: transport}, req, portforward.PortForwardProtocolV1Name)
	if err != nil {
		return nil, err
	}
	header := http.Header{}
	header.Set(corev1.PortHeader, strconv.Itoa(port))
	header.Set(corev1.PortForwardRequestIDHeader, "0")
	header.Set(corev1.StreamType, corev1.StreamTypeError) // which has to be there, and says nothing that the data's end does not
	failures, err := conn.CreateStream(header)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	header.Set(corev1.StreamType, corev1.StreamTypeData)
	data, err := conn.CreateStream(header)
	if err := errors.Join(err, failures.Close()); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return podConn{data, conn}, nil
}

// podConn is a connection to a pod, with all that it stands on.
type podConn struct {
	io.ReadWriteCloser

	under io.Closer
}

// CloseWrite tells the pod that nothing follows.
func (c podConn) CloseWrite() error { return c.ReadWriteCloser.Close() }

// Close ends the connection.
func (c podConn) Close() error { return c.under.Close() }
