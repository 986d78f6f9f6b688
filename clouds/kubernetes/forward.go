// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// maxAnswer is how much of a model's answer is read, in bytes.
const maxAnswer = 16 << 20

// forward sends a request through a port forward: the kubelet opens the connection
// inside of the pod, where no network policy is in the way.
func (a *api) forward(ctx context.Context, pod *corev1.Pod, port int, path string, req driver.Request) (*driver.Response, error) {
	address := a.discovery.RESTClient().Post().AbsPath("/api/v1/namespaces", pod.Namespace, "pods", pod.Name, "portforward").URL()
	transport, upgrader, err := spdy.RoundTripperFor(a.config)
	if err != nil {
		return nil, err
	}
	dialer := spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, address)
	if tunnel, err := portforward.NewSPDYOverWebsocketDialer(address, a.config); err == nil {
		dialer = portforward.NewFallbackDialer(tunnel, dialer, httpstream.IsUpgradeFailure)
	}
	stop, ready := make(chan struct{}), make(chan struct{})
	defer close(stop)
	forwarder, err := portforward.NewOnAddresses(dialer, []string{"127.0.0.1"}, []string{fmt.Sprintf("0:%d", port)}, stop, ready, io.Discard, io.Discard)
	if err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- forwarder.ForwardPorts() }()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case err := <-ended:
		return nil, failed(err, "forward a port of pod %s", pod.Name)
	case <-ready:
	}
	ports, err := forwarder.GetPorts()
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("http://127.0.0.1:%d%s", ports[0].Local, path), bytes.NewReader(req.Body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", req.ContentType)
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		return nil, mlerr.New(mlerr.Unavailable, "the model does not answer").Because(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	return &driver.Response{Status: resp.StatusCode, Body: body}, err
}

// run executes a command in a pod's container. An error says what it wrote.
func (a *api) run(ctx context.Context, pod *corev1.Pod, in io.Reader, command ...string) (string, error) {
	call := a.discovery.RESTClient().Post().AbsPath("/api/v1/namespaces", pod.Namespace, "pods", pod.Name, "exec").
		Param("container", pod.Spec.Containers[0].Name).Param("stdout", "true").Param("stderr", "true")
	if in != nil {
		call = call.Param("stdin", "true")
	}
	for _, part := range command {
		call = call.Param("command", part)
	}
	address := call.URL()
	executor, err := remotecommand.NewSPDYExecutor(a.config, http.MethodPost, address)
	if err != nil {
		return "", err
	}
	if socket, err := remotecommand.NewWebSocketExecutor(a.config, http.MethodGet, address.String()); err == nil {
		executor, err = remotecommand.NewFallbackExecutor(socket, executor, httpstream.IsUpgradeFailure)
		if err != nil {
			return "", err
		}
	}
	var out, errs bytes.Buffer
	if err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: in, Stdout: &out, Stderr: &errs}); err != nil {
		return out.String(), mlerr.New(mlerr.Unavailable, "running %s in pod %s: %s", command[0], pod.Name, tail(errs.String())).Because(err)
	}
	return out.String(), nil
}
