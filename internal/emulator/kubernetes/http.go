// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
)

// maxBody is the largest request that is read, in bytes.
const maxBody = 3 << 20

// request is a request to the API server, told apart.
type request struct {
	*Service
	http  *http.Request
	w     http.ResponseWriter
	query url.Values
	body  []byte

	verb      string // get, list, watch, create, update, patch, delete, deletecollection, proxy
	res       *resource
	ns, name  string
	sub, rest string // subresource, and what follows it in the path
	fault     *fault.Fault
}

// handler answers one request. Refusals are *apierrors.StatusError.
type handler func(q *request) error

// Name is what a request is called in faults.json and in the list of calls, and which
// namespace it is about: "kubernetes.patch deployments", "kubernetes.get pods/log", and
// "kubernetes.dry-run patch deployments" of what is only asked.
func (s *Service) Name(r *http.Request) (name, namespace string) {
	if s.routed(r) {
		return "kubernetes.request " + r.Host, ""
	}
	q := s.parse(nil, r)
	if q.res == nil {
		return "kubernetes." + strings.ToLower(r.Method) + " " + r.URL.Path, ""
	}
	name = "kubernetes."
	if q.dryRun() {
		name += "dry-run "
	}
	name += q.verb + " " + q.res.plural
	if q.sub != "" && q.verb != "proxy" {
		name += "/" + q.sub
	}
	return name, q.ns
}

// Serve answers a request. f is a failed transition that the request starts, or nil.
func (s *Service) Serve(w http.ResponseWriter, r *http.Request, f *fault.Fault) {
	w.Header().Set("Date", s.o.Now().UTC().Format(http.TimeFormat))
	identify(w)
	q := s.parse(w, r)
	q.fault = f
	serve := q.serve
	if s.routed(r) {
		serve = q.route
	}
	if err := serve(); err != nil {
		q.refuse(err)
	}
}

// identify gives an answer the id that an audit log would have of its request.
func identify(w http.ResponseWriter) { w.Header().Set("Audit-Id", randomUUID()) }

// Refuse answers with a Status of somebody else's making: a scripted fault.
func Refuse(w http.ResponseWriter, code int, reason, message string) {
	status := metav1.Status{Status: metav1.StatusFailure, Code: int32(code), Reason: metav1.StatusReason(reason), Message: message}
	identify(w)
	(&request{w: w, query: url.Values{}}).refuse(&apierrors.StatusError{ErrStatus: status})
}

// Throttle answers that there were too many requests.
func Throttle(w http.ResponseWriter) {
	identify(w)
	(&request{w: w, query: url.Values{}}).refuse(apierrors.NewTooManyRequests("too many requests, please try again later", 1))
}

func (s *Service) parse(w http.ResponseWriter, r *http.Request) *request {
	q := &request{Service: s, http: r, w: w, query: r.URL.Query()}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	var group, version string
	switch {
	case len(parts) >= 3 && parts[0] == "api":
		version, parts = parts[1], parts[2:]
	case len(parts) >= 4 && parts[0] == "apis":
		group, version, parts = parts[1], parts[2], parts[3:]
	default:
		return q
	}
	if parts[0] == "namespaces" && len(parts) > 2 && (group != "" || parts[2] != "status" && parts[2] != "finalize") {
		q.ns, parts = parts[1], parts[2:]
	}
	q.res = s.find(group, version, parts[0])
	if q.res == nil {
		q.res = virtual(group, version, parts[0])
	}
	if q.res == nil {
		return q
	}
	if len(parts) > 1 {
		q.name = parts[1]
	}
	if len(parts) > 2 {
		q.sub = parts[2]
		q.rest = restOfPath(r.URL.EscapedPath(), q.sub)
	}
	q.verb = q.verbOf()
	return q
}

// restOfPath is what follows a subresource, as it was written.
func restOfPath(path, sub string) string {
	_, rest, _ := strings.Cut(path, "/"+sub)
	return rest
}

func (q *request) verbOf() string {
	if q.sub == "proxy" {
		return "proxy"
	}
	switch q.http.Method {
	case http.MethodGet, http.MethodHead:
		switch {
		case q.name != "":
			return "get"
		case q.query.Get("watch") == "true" || q.query.Get("watch") == "1":
			return "watch"
		}
		return "list"
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		if q.name == "" {
			return "deletecollection"
		}
		return "delete"
	}
	return strings.ToLower(q.http.Method)
}

func (q *request) serve() error {
	if q.res == nil {
		return q.serveOther()
	}
	if q.verb == "proxy" {
		return q.proxy()
	}
	body, err := io.ReadAll(http.MaxBytesReader(q.w, q.http.Body, maxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", maxBody))
	}
	if err != nil {
		return err
	}
	q.body = body
	if h := reviews[q.res.plural+"/"+q.sub]; h != nil && q.verb == "create" {
		return h(q)
	}
	if q.res.cluster == (q.ns != "") && q.name != "" || q.res.cluster && q.ns != "" {
		return errNoPage
	}
	if q.res.id() == endpoints {
		q.warn("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
	}
	h := verbs[q.sub][q.verb]
	if h == nil || !q.res.has(q.sub) || q.virtual() && q.verb != "list" && q.verb != "get" {
		return q.unserved()
	}
	return h(q)
}

// verbs are the handlers by subresource and verb.
var verbs map[string]map[string]handler

func init() { //nolint:gochecknoinits // the table and the handlers refer to each other
	verbs = map[string]map[string]handler{
		"": {"get": getObject, "list": listObjects, "watch": watchObjects, "create": createObject, "update": updateObject, "patch": patchObject,
			"delete": deleteObject, "deletecollection": deleteCollection},
		"status":      {"get": getObject, "update": updateObject, "patch": patchObject},
		"scale":       {"get": getScale, "update": updateScale, "patch": patchScale},
		"log":         {"get": getLog},
		"eviction":    {"create": evict},
		"finalize":    {"update": finalizeNamespace},
		"ephemeral":   {},
		"attach":      {},
		"exec":        {},
		"portforward": {},
	}
}

var errNoPage = errors.New("404 page not found")

// has reports whether a resource has a subresource.
func (r *resource) has(sub string) bool {
	switch sub {
	case "":
		return true
	case "status":
		return r.status
	case "scale":
		return r.scale
	case "log", "eviction":
		return r.id() == pods
	case "finalize":
		return r.id() == namespaces
	}
	return false
}

// errNoResource is what built-in groups answer for what they do not have.
func errNoResource() error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound, Details: &metav1.StatusDetails{},
		Message: "the server could not find the requested resource"}}
}

// unserved says that a resource or subresource has no such method.
func (q *request) unserved() error {
	if !q.res.has(q.sub) {
		if q.res.crd != nil {
			return errNoPage
		}
		return errNoResource()
	}
	return apierrors.NewMethodNotSupported(q.res.gr(), q.verb)
}

// refuse answers an error as the API server does.
func (q *request) refuse(err error) {
	if errors.Is(err, errNoPage) {
		q.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		q.w.Header().Set("X-Content-Type-Options", "nosniff")
		q.w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(q.w, errNoPage.Error()+"\n")
		return
	}
	status := metav1.Status{Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Message: err.Error()}
	if api, ok := errors.AsType[*apierrors.StatusError](err); ok {
		status = api.Status()
	}
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	if d := status.Details; d != nil && d.RetryAfterSeconds > 0 {
		q.w.Header().Set("Retry-After", fmt.Sprint(d.RetryAfterSeconds))
	}
	q.answer(int(status.Code), status)
}

// answer writes JSON. A client that has gone away is no concern of the platform's.
func (q *request) answer(code int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		code, data = http.StatusInternalServerError, []byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","code":500}`)
	}
	q.w.Header().Set("Content-Type", "application/json")
	q.w.WriteHeader(code)
	_, _ = q.w.Write(append(data, '\n'))
}

// warn adds a warning to the answer.
func (q *request) warn(text string) {
	q.w.Header().Add("Warning", fmt.Sprintf("299 - %q", text))
}

// dryRun reports whether nothing is to be kept.
func (q *request) dryRun() bool { return slices.Contains(q.query["dryRun"], metav1.DryRunAll) }

// manager is who writes: the field manager, or the beginning of the client's name.
func (q *request) manager() string {
	if m := q.query.Get("fieldManager"); m != "" {
		return m
	}
	agent, _, _ := strings.Cut(q.http.UserAgent(), "/")
	if agent == "" {
		return "unknown"
	}
	return agent[:min(len(agent), 128)]
}

func randomUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
