// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package parity asks an API server a table of questions, so that the answers of the
// emulated cluster can be compared with those of a real one. What differs from run to
// run, such as UIDs and times, is taken out of the answers.
package parity

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// Probe is one question: what is set up first must succeed.
type Probe struct {
	Name    string
	Setup   []Request
	Request Request
}

// Request is one call, "APPLY deployments/$?force=true": a verb, a resource, and for
// one object its name. $ stands for a name that no other probe uses, {uid configmaps/$}
// and {rv configmaps/$} for what another object has.
type Request struct {
	Call string
	Body string // YAML
}

// Result is the answer to a probe.
type Result struct {
	Name    string   `json:"name"`
	Code    int      `json:"code"`
	Reason  string   `json:"reason,omitempty"`
	Message string   `json:"message,omitempty"`
	Causes  []string `json:"causes,omitempty"`
	Warning string   `json:"warning,omitempty"`
	Moved   bool     `json:"moved,omitempty"` // the object has another version than before
	Object  any      `json:"object,omitempty"`
}

// runner asks the questions.
type runner struct {
	client   *http.Client
	base, ns string
	pause    func(context.Context)
	name     string // of the probe's objects
}

// Run asks all probes in a namespace, which must exist and hold nothing of an earlier
// run. The pause is between two looks at what the server does by itself. An error means
// that a probe could not be asked.
func Run(ctx context.Context, config *rest.Config, namespace string, pause func(context.Context)) ([]Result, error) {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	base, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, err
	}
	var results []Result
	for i, p := range probes {
		r := &runner{client: client, base: strings.TrimSuffix(base.String(), "/"), ns: namespace, pause: pause, name: fmt.Sprintf("p%d", i)}
		result, err := r.ask(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("probe %q: %w", p.Name, err)
		}
		results = append(results, result)
	}
	return results, nil
}

// Diff says where two runs differ, a line or more for each probe.
func Diff(a, b []Result) []string {
	var lines []string
	other := map[string]Result{}
	for _, r := range b {
		other[r.Name] = r
	}
	for _, r := range a {
		o, found := other[r.Name]
		if !found {
			lines = append(lines, fmt.Sprintf("%s: asked of one server only", r.Name))
			continue
		}
		if r.Code != o.Code {
			lines = append(lines, fmt.Sprintf("%s: %d %s | %d %s", r.Name, r.Code, r.Message, o.Code, o.Message))
			continue
		}
		x, y := flatten(r), flatten(o)
		for _, at := range union(x, y) {
			if x[at] != y[at] {
				lines = append(lines, fmt.Sprintf("%s: %s: %s | %s", r.Name, at, orNone(x[at]), orNone(y[at])))
			}
		}
	}
	return lines
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return s
}

func (r *runner) ask(ctx context.Context, p Probe) (Result, error) {
	var before string
	for _, s := range p.Setup {
		code, answer, _, err := r.do(ctx, s)
		if err != nil {
			return Result{}, err
		}
		if code >= http.StatusBadRequest {
			return Result{}, fmt.Errorf("%s: %d %s", s.Call, code, text(answer, "message"))
		}
		if v := text(answer, "metadata", "resourceVersion"); v != "" {
			before = v
		}
	}
	code, answer, header, err := r.do(ctx, p.Request)
	if err != nil {
		return Result{}, err
	}
	result := Result{Name: p.Name, Code: code, Warning: r.normal(strings.Join(header.Values("Warning"), " "))}
	if text(answer, "kind") == "Status" {
		result.Reason, result.Message = text(answer, "reason"), r.normal(text(answer, "message"))
		if details, ok := answer["details"].(map[string]any); ok {
			causes, _ := details["causes"].([]any)
			for _, c := range causes {
				if c, ok := c.(map[string]any); ok {
					result.Causes = append(result.Causes, r.normal(fmt.Sprintf("%s %s: %s", text(c, "reason"), text(c, "field"), text(c, "message"))))
				}
			}
		}
		return result, nil
	}
	if v := text(answer, "metadata", "resourceVersion"); before != "" && v != "" {
		result.Moved = v != before
	}
	result.Object = r.object(answer)
	return result, nil
}

// verbs are methods and content types.
var verbs = map[string][2]string{"GET": {http.MethodGet, ""}, "POST": {http.MethodPost, "application/json"}, "PUT": {http.MethodPut, "application/json"}, "DELETE": {http.MethodDelete, "application/json"},
	"APPLY": {http.MethodPatch, "application/apply-patch+yaml"}, "MERGE": {http.MethodPatch, "application/merge-patch+json"}, "JSON": {http.MethodPatch, "application/json-patch+json"},
	"STRATEGIC": {http.MethodPatch, "application/strategic-merge-patch+json"}}

// groups are where resources are served.
var groups = map[string]string{"deployments": "/apis/apps/v1", "replicasets": "/apis/apps/v1", "horizontalpodautoscalers": "/apis/autoscaling/v2", "poddisruptionbudgets": "/apis/policy/v1",
	"networkpolicies": "/apis/networking.k8s.io/v1", "roles": "/apis/rbac.authorization.k8s.io/v1", "rolebindings": "/apis/rbac.authorization.k8s.io/v1", "httproutes": "/apis/gateway.networking.k8s.io/v1",
	"gateways": "/apis/gateway.networking.k8s.io/v1", "backendtlspolicies": "/apis/gateway.networking.k8s.io/v1", "inferenceservices": "/apis/serving.kserve.io/v1beta1",
	"securitypolicies": "/apis/gateway.envoyproxy.io/v1alpha1", "certificates": "/apis/cert-manager.io/v1", "httproots": "/apis/gateway.networking.k8s.io/v1", "nothings": "/apis/nothing.example/v1"}

// do makes one request. GONE, MADE and SETTLED wait until an object is gone, or there, or
// until its controller has seen it.
func (r *runner) do(ctx context.Context, q Request) (code int, answer map[string]any, header http.Header, err error) {
	verb, at, _ := strings.Cut(q.Call, " ")
	if verb == "GONE" || verb == "MADE" || verb == "SETTLED" {
		answer, err := r.await(ctx, verb, at)
		return http.StatusOK, answer, nil, err
	}
	body, err := r.fill(ctx, q.Body)
	if err != nil {
		return 0, nil, nil, err
	}
	if body != "" {
		data, err := yaml.YAMLToJSON([]byte(body))
		if err != nil {
			return 0, nil, nil, err
		}
		body = string(data)
	}
	method, known := verbs[verb]
	if !known {
		return 0, nil, nil, fmt.Errorf("%s is no verb", verb)
	}
	return r.send(ctx, method[0], r.path(at, verb), method[1], body)
}

func (r *runner) path(at, verb string) string {
	at, query, _ := strings.Cut(strings.ReplaceAll(at, "$", r.name), "?")
	resource, more, _ := strings.Cut(at, "/")
	path := groups[resource]
	if path == "" {
		path = "/api/v1"
	}
	if resource != "namespaces" {
		path += "/namespaces/" + r.ns
	}
	path += "/" + resource
	if more != "" {
		path += "/" + more
	}
	if verb != "GET" && verb != "DELETE" && !strings.Contains(query, "fieldManager") && !strings.Contains(query, "anonymous") {
		query = "fieldManager=parity&" + query
	}
	return path + "?" + query
}

func (r *runner) send(ctx context.Context, method, path, contentType, body string) (int, map[string]any, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, r.base+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, nil, nil, err
	}
	req.Header.Set("Accept", "application/json")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, nil, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, nil, err
	}
	answer := map[string]any{}
	if json.Unmarshal(data, &answer) != nil { // some refusals are plain text
		answer = map[string]any{"kind": "Status", "message": strings.TrimSpace(string(data))}
	}
	return resp.StatusCode, answer, resp.Header, nil
}

// patience is how long a server may take to do what it does by itself.
const patience = 20 * time.Second

var errPatience = errors.New("it did not happen in time")

func (r *runner) await(ctx context.Context, verb, at string) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		code, answer, _, err := r.send(ctx, http.MethodGet, r.path(at, "GET"), "", "")
		if err != nil {
			return nil, err
		}
		switch {
		case verb == "GONE" && code == http.StatusNotFound, verb == "MADE" && code == http.StatusOK:
			return map[string]any{}, nil
		case verb == "SETTLED" && number(answer, "status", "observedGeneration") == number(answer, "metadata", "generation"):
			return answer, nil
		}
		if r.pause(ctx); ctx.Err() != nil {
			return nil, fmt.Errorf("%s %s: %w", verb, at, errPatience)
		}
	}
}

var placeholder = regexp.MustCompile(`\{(uid|rv) ([^}]*)\}`)

// fill puts names, UIDs and versions into a body.
func (r *runner) fill(ctx context.Context, body string) (string, error) {
	body = strings.ReplaceAll(body, "$", r.name)
	var failed error
	body = placeholder.ReplaceAllStringFunc(body, func(m string) string {
		parts := placeholder.FindStringSubmatch(m)
		code, answer, _, err := r.send(ctx, http.MethodGet, r.path(parts[2], "GET"), "", "")
		if err != nil || code != http.StatusOK {
			failed = errors.Join(err, fmt.Errorf("%s: %d", parts[2], code))
		}
		if parts[1] == "uid" {
			return text(answer, "metadata", "uid")
		}
		return `"` + text(answer, "metadata", "resourceVersion") + `"`
	})
	return body, failed
}
