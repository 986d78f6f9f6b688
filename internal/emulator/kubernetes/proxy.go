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
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/prometheus"
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
	scheme, name, port := proxied(q.name)
	q.http.Header.Del("Authorization") // it is the API server's, and goes no further
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
		if to, err = w.targetOf(pod, number); err == nil && q.res.id() == services {
			to.service = name
		}
		return err
	})
	if err != nil {
		return err
	}
	switch {
	case to.guarded && scheme != "https":
		http.Error(q.w, "Client sent an HTTP request to an HTTPS server.", http.StatusBadRequest)
		return nil
	case !to.guarded && to.listens && scheme == "https":
		return apierrors.NewServiceUnavailable("error trying to reach service: http: server gave HTTP response to HTTPS client")
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

	ns, service string        // the Service that the request came by; "" for none
	workload    string        // the Deployment whose pod it is
	refused     error         // why the Service could not reach a pod; there then is none
	status      int           // of the next prediction
	latency     time.Duration // of an answer, in the metrics
}

func (w *world) targetOf(pod *corev1.Pod, port int32) (*target, error) {
	t := &target{ns: pod.Namespace, pod: pod, port: port, model: pod.Labels["ml.terraform.io/model"], version: pod.Labels["ml.terraform.io/model-version"],
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
	n, err := w.count(t)
	if err != nil {
		return nil, err
	}
	c := fault.Conduct{}
	if w.o.Conduct != nil {
		if c, err = w.o.Conduct(t.model, t.version); err != nil {
			return nil, err
		}
	}
	t.status, t.latency = c.Answer(n)
	return t, nil
}

// count notes a request for the deployment behind a pod, and returns how many there
// were before.
func (w *world) count(t *target) (n int, err error) {
	owner := metav1.GetControllerOf(t.pod)
	if owner == nil {
		return 0, nil
	}
	rs, found, err := lookup[*appsv1.ReplicaSet](w, replicaSets, t.pod.Namespace, owner.Name)
	if err != nil || !found || metav1.GetControllerOf(rs) == nil {
		return 0, err
	}
	deployment := metav1.GetControllerOf(rs)
	t.workload = deployment.Name
	if _, err := w.tx.Get(docServed, string(deployment.UID), &n); err != nil {
		return 0, err
	}
	return n, w.tx.Put(docServed, string(deployment.UID), n+1)
}

// deliver answers as the pod does, and counts the answer for the metrics where it came
// by a Service.
func (q *request) deliver(t *target, at string, body []byte) error {
	told := &told{ResponseWriter: q.w, status: http.StatusOK}
	q.w = told
	err := q.reply(t, at, body)
	if api, ok := errors.AsType[*apierrors.StatusError](err); ok {
		told.status = int(api.Status().Code)
	}
	if t.service == "" {
		return err
	}
	counted := q.o.Store.Do(q.http.Context(), func(tx *state.Tx) error {
		return prometheus.Record(tx, prometheus.Answer{Namespace: t.ns, Service: t.service, Workload: t.workload, Status: told.status}, q.o.Now(), t.latency)
	})
	return errors.Join(err, counted)
}

// told remembers with which status was answered.
type told struct {
	http.ResponseWriter
	status int
}

func (t *told) WriteHeader(status int) {
	t.status = status
	t.ResponseWriter.WriteHeader(status)
}

func (q *request) reply(t *target, at string, body []byte) error {
	if t.refused != nil {
		return t.refused
	}
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
	if t.status != http.StatusOK {
		q.answer(t.status, map[string]any{"error": "the model failed"})
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
