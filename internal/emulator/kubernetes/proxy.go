// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/state"
)

var (
	errNoService = errors.New("no such service")
	errNoPort    = errors.New("no such port")
)

// maxInference is the largest request to a model that is read, in bytes.
const maxInference = 32 << 20

// proxied takes [scheme:]name[:port] apart.
func proxied(segment string) (scheme, name, port string) {
	parts := strings.Split(segment, ":")
	switch len(parts) {
	case 1:
		return "", parts[0], ""
	case 2:
		return "", parts[0], parts[1]
	}
	return parts[0], parts[1], parts[2]
}

// proxy hands a request on to a pod, by its own name or behind a service.
func (q *request) proxy() error {
	_, name, port := proxied(q.name)
	body, err := io.ReadAll(io.LimitReader(q.http.Body, maxInference))
	if err != nil {
		return err
	}
	var to *target
	err = q.transact(q.http.Context(), func(w *world) error {
		var pod *corev1.Pod
		var number int32
		switch q.res.id() {
		case pods:
			pod, number, err = w.podAt(q.ns, name, port)
		case services:
			pod, number, err = w.behind(q.ns, name, port)
		default:
			return q.unserved()
		}
		if err != nil {
			return err
		}
		to, err = w.targetOf(pod, number)
		return err
	})
	if err != nil {
		return err
	}
	return q.deliver(to, q.rest, body)
}

func (w *world) podAt(ns, name, port string) (*corev1.Pod, int32, error) {
	pod, found, err := lookup[*corev1.Pod](w, pods, ns, name)
	if err != nil {
		return nil, 0, err
	}
	if !found {
		return nil, 0, apierrors.NewNotFound(catalog()[pods].gr(), name)
	}
	if pod.Status.PodIP == "" {
		return nil, 0, apierrors.NewBadRequest("address not allowed")
	}
	number, err := strconv.ParseInt(port, 10, 32)
	if port == "" && len(pod.Spec.Containers[0].Ports) > 0 {
		number, err = int64(pod.Spec.Containers[0].Ports[0].ContainerPort), nil
	}
	if err != nil && port != "" {
		return nil, 0, apierrors.NewBadRequest(fmt.Sprintf("invalid pod request %q", name+":"+port))
	}
	return pod, int32(number), nil
}

// behind picks a ready pod of a service: one after the other.
func (w *world) behind(ns, name, port string) (*corev1.Pod, int32, error) {
	all, number, err := w.reached(ns, name, port)
	switch {
	case errors.Is(err, errNoService):
		return nil, 0, apierrors.NewNotFound(catalog()[services].gr(), name)
	case errors.Is(err, errNoPort):
		if port == "" {
			return nil, 0, apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", name))
		}
		if _, err := strconv.Atoi(port); err == nil {
			return nil, 0, apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %s found for service %q", port, name))
		}
		return nil, 0, apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %q found for service %q", port, name))
	case err != nil:
		return nil, 0, err
	case len(all) == 0:
		return nil, 0, apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", name))
	}
	n, err := w.tx.Next("k8s-turn/" + ns + "/" + name)
	return all[n%len(all)], number, err
}

// target is what is known of the pod that answers.
type target struct {
	pod                                *corev1.Pod
	port                               int32
	deployment, model, version, digest string
	source                             string // of the model's files
	listens, guarded, up               bool
}

func (w *world) targetOf(pod *corev1.Pod, port int32) (*target, error) {
	t := &target{pod: pod, port: port, model: pod.Labels["ml.terraform.io/model"], version: pod.Labels["ml.terraform.io/model-version"],
		deployment: pod.Labels["ml.terraform.io/deployment"], digest: pod.Annotations["ml.terraform.io/digest"], source: fetched(pod)}
	for _, c := range pod.Spec.Containers {
		for _, e := range c.Env {
			switch e.Name {
			case "ML_MODEL_NAME":
				fallbackTo(&t.model, e.Value)
			case "ML_MODEL_VERSION":
				fallbackTo(&t.version, e.Value)
			case "ML_DEPLOYMENT":
				fallbackTo(&t.deployment, e.Value)
			}
		}
		for _, p := range c.Ports {
			if p.ContainerPort == port {
				t.listens = true
				t.guarded = t.guarded || c.Name == "auth"
			}
		}
	}
	t.up = ready(pod)
	for _, s := range pod.Status.ContainerStatuses {
		t.up = t.up || s.State.Running != nil
	}
	return t, w.count(pod)
}

// count notes a request for the deployment behind a pod.
func (w *world) count(pod *corev1.Pod) error {
	owner := metav1.GetControllerOf(pod)
	if owner == nil {
		return nil
	}
	rs, found, err := lookup[*appsv1.ReplicaSet](w, replicaSets, pod.Namespace, owner.Name)
	if err != nil || !found || metav1.GetControllerOf(rs) == nil {
		return err
	}
	n, uid := 0, string(metav1.GetControllerOf(rs).UID)
	if _, err := w.tx.Get(docServed, uid, &n); err != nil {
		return err
	}
	return w.tx.Put(docServed, uid, n+1)
}

// deliver answers as the pod does.
func (q *request) deliver(t *target, at string, body []byte) error {
	if !t.listens || !t.up {
		return apierrors.NewServiceUnavailable(fmt.Sprintf("error trying to reach service: dial tcp %s:%d: connect: connection refused", t.pod.Status.PodIP, t.port))
	}
	if !ready(t.pod) {
		http.Error(q.w, "the model is not loaded", http.StatusServiceUnavailable)
		return nil
	}
	clean := path.Clean("/" + at)
	if q.http.Method == http.MethodGet || q.http.Method == http.MethodHead {
		return q.health(t, clean)
	}
	if t.guarded && !strings.HasPrefix(strings.TrimPrefix(q.http.Header.Get("Authorization"), "Bearer "), tokenPrefix) {
		http.Error(q.w, "Unauthorized", http.StatusUnauthorized)
		return nil
	}
	if q.http.Method != http.MethodPost {
		http.Error(q.w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return nil
	}
	out := map[string]any{"model": t.model, "version": t.version, "deployment": t.deployment, "digest": t.digest, "echo": echo(body)}
	if outputs, ok := q.evaluate(t.source, body); ok {
		out["outputs"] = outputs
	}
	out["model_name"], out["model_version"] = t.model, t.version
	q.answer(http.StatusOK, out)
	return nil
}

// health answers questions about a model that is loaded.
func (q *request) health(t *target, at string) error {
	model := "/v2/models/" + t.model
	switch at {
	case "/", "/v2/health/live", "/v2/health/ready", "/health", "/ping", "/healthz", model + "/ready":
		q.answer(http.StatusOK, map[string]any{"name": t.model, "ready": true, "live": true})
	case model, "/v1/models/" + t.model, "/v1/models", "/v2/models", "/v2":
		q.answer(http.StatusOK, map[string]any{"name": t.model, "versions": []string{t.version}, "platform": "onnx", "ready": true})
	case "/metrics":
		http.Error(q.w, "# no metrics in rehearsal", http.StatusOK)
	default:
		http.Error(q.w, "404 page not found", http.StatusNotFound)
	}
	return nil
}

// echo is a body as JSON; what is not JSON becomes a string.
func echo(body []byte) any {
	if json.Valid(body) {
		return json.RawMessage(body)
	}
	return string(body)
}

// evaluate computes the answer of the first model file below a place in S3.
func (s *Service) evaluate(source string, body []byte) (any, bool) {
	bucket, prefix, ok := strings.Cut(strings.TrimPrefix(source, "s3://"), "/")
	if !ok || !strings.HasPrefix(source, "s3://") || s.o.Evaluate == nil || s.o.Keys == nil || s.o.Artifact == nil {
		return nil, false
	}
	keys, err := s.o.Keys(bucket, prefix)
	if err != nil {
		return nil, false
	}
	i := slices.IndexFunc(keys, func(k string) bool { return strings.HasSuffix(k, ".onnx") || strings.HasSuffix(k, ".tar.gz") })
	if i < 0 {
		return nil, false
	}
	object, err := s.o.Artifact(bucket, keys[i])
	if err != nil {
		return nil, false
	}
	defer object.Close()
	return s.o.Evaluate(keys[i], object, body)
}

// routed reports whether a request is for the gateway: its host is that of a route.
func (s *Service) routed(r *http.Request) bool {
	host, _, _ := strings.Cut(r.Host, ":")
	if host == "localhost" || strings.HasPrefix(host, "127.") || host == "" {
		return false
	}
	found := false
	err := s.o.Store.Do(r.Context(), func(tx *state.Tx) error {
		w := &world{Service: s, tx: tx, now: s.o.Now()}
		route, err := w.routeFor(host)
		found = route != nil
		return err
	})
	return err == nil && found
}

// routeFor is the accepted route of a host name, nil if there is none.
func (w *world) routeFor(host string) (*unstructured.Unstructured, error) {
	all, err := list[*unstructured.Unstructured](w, httpRoutes, "")
	if err != nil {
		return nil, err
	}
	for _, u := range all {
		names, _, _ := unstructured.NestedStringSlice(u.Object, "spec", "hostnames")
		if !slices.ContainsFunc(names, func(n string) bool { return covers(n, host) }) {
			continue
		}
		for _, p := range items(u.Object, "status", "parents") {
			for _, c := range items(p, "conditions") {
				if text(c, "type") == "Accepted" && text(c, "status") == string(metav1.ConditionTrue) {
					return u, nil
				}
			}
		}
	}
	return nil, nil //nolint:nilnil // no route
}

// route answers as the gateway does.
func (q *request) route() error {
	host, _, _ := strings.Cut(q.http.Host, ":")
	body, err := io.ReadAll(io.LimitReader(q.http.Body, maxInference))
	if err != nil {
		return err
	}
	var to *target
	var shadows []*target
	err = q.transact(q.http.Context(), func(w *world) error {
		u, err := w.routeFor(host)
		if err != nil || u == nil {
			return err
		}
		to, shadows, err = w.balance(u, q.http.URL.Path)
		return err
	})
	if api, ok := errors.AsType[*apierrors.StatusError](err); ok {
		http.Error(q.w, api.Status().Message, http.StatusServiceUnavailable) // a gateway knows no Status
		return nil
	}
	if err != nil {
		return err
	}
	if to == nil {
		return errNoPage
	}
	_ = shadows // counted; what they answer is thrown away
	if at := strings.TrimSuffix(q.http.URL.Path, "/"); at != "" {
		return q.deliver(to, at, body)
	}
	return q.deliver(to, "/", body)
}

// balance picks the backend whose turn it is, by weight and without runs, and those
// that get a copy.
func (w *world) balance(u *unstructured.Unstructured, at string) (to *target, shadows []*target, err error) {
	rule := ruleFor(u, at)
	if rule == nil {
		return nil, nil, nil
	}
	all := backendsOfRule(rule)
	total := int64(0)
	for _, b := range all {
		total += b.weight
	}
	n, err := w.tx.Next("k8s-route/" + u.GetNamespace() + "/" + u.GetName())
	if err != nil {
		return nil, nil, err
	}
	if total == 0 {
		return nil, nil, apierrors.NewServiceUnavailable("no healthy upstream")
	}
	spot := (int64(n) * 61 % 100) * total / 100
	for _, b := range all {
		ns := orElse(b.ns, u.GetNamespace())
		switch {
		case b.mirror >= 0:
			if int64(n*37%100) < b.mirror {
				if pod, port, err := w.behind(ns, b.name, fmt.Sprint(b.port)); err == nil {
					t, err := w.targetOf(pod, port)
					if err != nil {
						return nil, nil, err
					}
					shadows = append(shadows, t)
				}
			}
		case to == nil && spot < b.weight:
			pod, port, err := w.behind(ns, b.name, fmt.Sprint(b.port))
			if err != nil {
				return nil, nil, err
			}
			if to, err = w.targetOf(pod, port); err != nil {
				return nil, nil, err
			}
		}
		spot -= b.weight
	}
	return to, shadows, nil
}

func ruleFor(u *unstructured.Unstructured, at string) map[string]any {
	for _, r := range items(u.Object, "spec", "rules") {
		matches := items(r, "matches")
		if len(matches) == 0 {
			return r
		}
		for _, m := range matches {
			value := orElse(text(m, "path", "value"), "/")
			if text(m, "path", "type") == "Exact" && at == value || text(m, "path", "type") != "Exact" && (value == "/" || at == value || strings.HasPrefix(at, strings.TrimSuffix(value, "/")+"/")) {
				return r
			}
		}
	}
	return nil
}
