// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// Invoke sends one request to a ready pod of a deployment, to the server itself and
// past what stands in front of it: through the API server or, where that may not, or
// where a network policy keeps it out, by a port forward. Without a deployment it is
// the one with the most traffic.
func (d *kubernetes) Invoke(ctx context.Context, key driver.Key, id string, req driver.Request) (*driver.Response, error) {
	a, err := d.connect()
	if err != nil {
		return nil, err
	}
	r, err := d.root(ctx, a, key)
	if mlerr.Is(err, mlerr.NotFound) {
		r, _, err = d.byHand(ctx, a, key)
	}
	if err != nil {
		return nil, err
	}
	e := r.entry(cmp.Or(id, r.winner().ID))
	if e == nil {
		return nil, mlerr.New(mlerr.Unavailable, "the endpoint %s has no deployment to send a request to", key.Name)
	}
	pod, err := d.ready(ctx, a, r, e)
	if err != nil {
		return nil, err
	}
	port := e.Port
	if port == 0 && len(pod.Spec.Containers[0].Ports) > 0 {
		port = int(pod.Spec.Containers[0].Ports[0].ContainerPort)
	}
	port = cmp.Or(port, defaultPort)
	answer, err := a.ask(ctx, pod, port, cmp.Or(e.Path, "/"), req)
	if mlerr.Is(err, mlerr.PermissionDenied, mlerr.Unavailable) && ctx.Err() == nil {
		if forwarded, other := a.forward(ctx, pod, port, cmp.Or(e.Path, "/"), req); other == nil {
			answer, err = forwarded, nil
		}
	}
	if err != nil {
		return nil, mlerr.Annotate(err, "cannot send a request to pod %s", pod.Name)
	}
	answer.Deployment = e.Name
	return answer, nil
}

// ready is the first pod of a deployment, by name, that can serve.
func (d *kubernetes) ready(ctx context.Context, a *api, r *root, e *entry) (*corev1.Pod, error) {
	selector := labelID + "=" + e.ID
	if e.Adopted == deployments.name {
		o, err := a.get(ctx, deployments, r.key.Location, e.ID)
		if err != nil {
			return nil, err
		}
		labels, _, _ := nestedMap(o.Object, "spec", "selector", "matchLabels")
		var parts []string
		for k, v := range labels {
			parts = append(parts, fmt.Sprintf("%s=%v", k, v))
		}
		slices.Sort(parts)
		selector = strings.Join(parts, ",")
	} else if e.Adopted != "" {
		selector = kserveOwner + "=" + e.ID
	}
	found, err := a.list(ctx, pods, r.key.Location, selector)
	if err != nil {
		return nil, err
	}
	var all []*corev1.Pod
	for i := range found {
		pod, err := convert[corev1.Pod](&found[i])
		if err != nil {
			return nil, err
		}
		serves := slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue })
		if serves && pod.DeletionTimestamp == nil && len(pod.Spec.Containers) > 0 {
			all = append(all, pod)
		}
	}
	if len(all) == 0 {
		return nil, mlerr.New(mlerr.Unavailable, "no pod of deployment %s is ready", e.Name)
	}
	slices.SortFunc(all, func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return all[0], nil
}

// ask sends a request through the API server's proxy of pods. What the proxy itself
// says is an error; any other status is the model's.
func (a *api) ask(ctx context.Context, pod *corev1.Pod, port int, path string, req driver.Request) (*driver.Response, error) {
	parsed, err := url.Parse(path)
	if err != nil {
		return nil, mlerr.New(mlerr.InvalidArgument, "%q is no path", path).Because(err)
	}
	call := a.discovery.RESTClient().Post().
		AbsPath("/api/v1/namespaces", pod.Namespace, "pods", fmt.Sprintf("http:%s:%d", pod.Name, port), "proxy", parsed.Path).
		SetHeader("Content-Type", req.ContentType).Body(req.Body).MaxRetries(0)
	for name, values := range parsed.Query() {
		for _, v := range values {
			call = call.Param(name, v)
		}
	}
	var status int
	result := call.Do(ctx).StatusCode(&status)
	body, err := result.Raw()
	switch {
	case err == nil:
		return &driver.Response{Status: status, Body: body}, nil
	case status == 0 || unreached(status, body, err):
		return nil, failed(err, "reach the pod through the API server")
	case status == http.StatusForbidden && apierrors.IsForbidden(err) && strings.Contains(err.Error(), "pods/proxy"):
		return nil, mlerr.New(mlerr.PermissionDenied, "the API server does not let these credentials reach pods").Because(err).
			WithHint("Grant create on pods/proxy, or on pods/portforward")
	}
	return &driver.Response{Status: status, Body: body}, nil
}

// unreached tells the proxy's own failure from a model's answer.
func unreached(status int, body []byte, err error) bool {
	if status != http.StatusServiceUnavailable && status != http.StatusBadGateway && status != http.StatusGatewayTimeout {
		return false
	}
	text := strings.ToLower(string(body) + " " + err.Error())
	return strings.Contains(text, "error trying to reach service") || strings.Contains(text, "dial tcp") || strings.Contains(text, "\"kind\":\"status\"")
}
