// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/state"
)

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
	barred := ""
	err = q.transact(q.http.Context(), func(w *world) error {
		u, err := w.routeFor(host)
		if err != nil || u == nil {
			return err
		}
		if refusal, err := w.barred(u, q.http.Header); err != nil || refusal != "" {
			barred = refusal
			return err
		}
		to, err = w.balance(u, q.http.URL.Path)
		return err
	})
	if err != nil {
		return q.unanswered(err)
	}
	if barred != "" {
		http.Error(q.w, barred, http.StatusUnauthorized)
		return nil
	}
	if to == nil {
		return errNoPage
	}
	return q.unanswered(q.deliver(to, "/"+strings.Trim(q.http.URL.Path, "/"), body))
}

// unanswered says in a gateway's words that no pod has answered: it knows no Status.
func (q *request) unanswered(err error) error {
	if api, ok := errors.AsType[*apierrors.StatusError](err); ok {
		http.Error(q.w, api.Status().Message, http.StatusServiceUnavailable)
		return nil
	}
	return err
}

// barred says why a policy of the route lets a request not pass, "" if it does.
func (w *world) barred(u *unstructured.Unstructured, header http.Header) (string, error) {
	all, err := list[*unstructured.Unstructured](w, securityPolicy, u.GetNamespace())
	if err != nil {
		return "", err
	}
	for _, p := range all {
		if !slices.ContainsFunc(items(p.Object, "spec", "targetRefs"), func(t map[string]any) bool { return text(t, "kind") == "HTTPRoute" && text(t, "name") == u.GetName() }) {
			continue
		}
		if auth := nested(p.Object, "spec", "apiKeyAuth"); auth != nil {
			known, err := w.knownKey(auth, u.GetNamespace(), header)
			if err != nil || !known {
				return "Client authentication failed.", err
			}
		}
		if nested(p.Object, "spec", "jwt") != nil && !strings.HasPrefix(header.Get("Authorization"), "Bearer ") {
			return "Jwt is missing", nil
		}
	}
	return "", nil
}

// knownKey reports whether a request carries one of the keys.
func (w *world) knownKey(auth map[string]any, ns string, header http.Header) (bool, error) {
	var sent []string
	for _, from := range items(auth, "extractFrom") {
		names, _, _ := unstructured.NestedStringSlice(from, "headers")
		for _, name := range names {
			sent = append(sent, header.Get(name))
		}
	}
	for _, ref := range items(auth, "credentialRefs") {
		s, found, err := lookup[*corev1.Secret](w, secrets, orElse(text(ref, "namespace"), ns), text(ref, "name"))
		if err != nil {
			return false, err
		}
		if !found {
			continue
		}
		for _, key := range s.Data {
			if slices.Contains(sent, string(key)) && len(key) > 0 {
				return true, nil
			}
		}
	}
	return false, nil
}

// balance picks the backend whose turn it is, by weight and without runs, and counts
// those that get a copy: what they answer is thrown away.
func (w *world) balance(u *unstructured.Unstructured, at string) (to *target, err error) {
	rule := ruleFor(u, at)
	if rule == nil {
		return nil, nil //nolint:nilnil // no rule, no answer
	}
	all := backendsOfRule(rule)
	total := int64(0)
	for _, b := range all {
		total += b.weight
	}
	n, err := w.tx.Next("k8s-route/" + u.GetNamespace() + "/" + u.GetName())
	if err != nil {
		return nil, err
	}
	if total == 0 {
		return nil, apierrors.NewServiceUnavailable("no healthy upstream")
	}
	spot := (int64(n) * 61 % 100) * total / 100
	for _, b := range all {
		ns := orElse(b.ns, u.GetNamespace())
		switch {
		case b.mirror >= 0:
			if int64(n*37%100) < b.mirror {
				if pod, port, err := w.behind(ns, b.name, fmt.Sprint(b.port)); err == nil {
					if _, err := w.targetOf(pod, port); err != nil {
						return nil, err
					}
				}
			}
		case to == nil && spot < b.weight:
			if to, err = w.reach(ns, b); err != nil {
				return nil, err
			}
		}
		spot -= b.weight
	}
	return to, nil
}

// reach picks a pod behind a backend. Without one the request is the backend's all the
// same, and goes unanswered.
func (w *world) reach(ns string, b backend) (*target, error) {
	pod, port, err := w.behind(ns, b.name, fmt.Sprint(b.port))
	if _, ok := errors.AsType[*apierrors.StatusError](err); ok {
		return &target{ns: ns, service: b.name, refused: err}, nil
	}
	if err != nil {
		return nil, err
	}
	to, err := w.targetOf(pod, port)
	if err != nil {
		return nil, err
	}
	to.service = b.name
	return to, nil
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
