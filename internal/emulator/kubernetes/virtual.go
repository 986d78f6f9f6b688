// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// virtuals are resources that are worked out and not kept.
var virtuals = []*resource{
	{group: "apiextensions.k8s.io", version: "v1", plural: "customresourcedefinitions", singular: "customresourcedefinition", kind: "CustomResourceDefinition", cluster: true, short: []string{"crd", "crds"}},
	{group: "metrics.k8s.io", version: "v1beta1", plural: "pods", kind: "PodMetrics"},
	{group: "metrics.k8s.io", version: "v1beta1", plural: "nodes", kind: "NodeMetrics", cluster: true},
	{group: "authorization.k8s.io", version: "v1", plural: "selfsubjectaccessreviews", singular: "selfsubjectaccessreview", kind: "SelfSubjectAccessReview", cluster: true},
	{group: "authorization.k8s.io", version: "v1", plural: "selfsubjectrulesreviews", singular: "selfsubjectrulesreview", kind: "SelfSubjectRulesReview", cluster: true},
	{group: "authorization.k8s.io", version: "v1", plural: "subjectaccessreviews", singular: "subjectaccessreview", kind: "SubjectAccessReview", cluster: true},
	{group: "authentication.k8s.io", version: "v1", plural: "tokenreviews", singular: "tokenreview", kind: "TokenReview", cluster: true},
	{group: "authentication.k8s.io", version: "v1", plural: "selfsubjectreviews", singular: "selfsubjectreview", kind: "SelfSubjectReview", cluster: true},
}

func virtual(group, version, plural string) *resource {
	for _, r := range virtuals {
		if r.group == group && r.version == version && r.plural == plural {
			return r
		}
	}
	return nil
}

func (q *request) virtual() bool { return slices.Contains(virtuals, q.res) }

// reviews answer questions about who may do what: everybody everything.
var reviews = map[string]handler{
	"selfsubjectaccessreviews/": reviewAccess, "subjectaccessreviews/": reviewAccess, "selfsubjectrulesreviews/": reviewRules,
	"tokenreviews/": reviewToken, "selfsubjectreviews/": reviewSelf, "serviceaccounts/token": requestToken,
}

const user = "rehearsal"

func (q *request) review(into any) error {
	data, err := q.document()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return q.undecodable(err)
	}
	return nil
}

func reviewAccess(q *request) error {
	var in map[string]any
	if err := q.review(&in); err != nil {
		return err
	}
	in["status"] = authorizationv1.SubjectAccessReviewStatus{Allowed: true, Reason: "everything is allowed in rehearsal"}
	q.answer(http.StatusCreated, in)
	return nil
}

func reviewRules(q *request) error {
	var in authorizationv1.SelfSubjectRulesReview
	if err := q.review(&in); err != nil {
		return err
	}
	every := []string{"*"}
	in.Status = authorizationv1.SubjectRulesReviewStatus{ResourceRules: []authorizationv1.ResourceRule{{Verbs: every, APIGroups: every, Resources: every}},
		NonResourceRules: []authorizationv1.NonResourceRule{{Verbs: every, NonResourceURLs: every}}}
	q.answer(http.StatusCreated, in)
	return nil
}

// tokenPrefix begins every token that is given out here: <prefix><namespace>.<account>.<random>.
const tokenPrefix = "rehearsal."

func reviewToken(q *request) error {
	var in authenticationv1.TokenReview
	if err := q.review(&in); err != nil {
		return err
	}
	parts := strings.Split(strings.TrimPrefix(in.Spec.Token, tokenPrefix), ".")
	if strings.HasPrefix(in.Spec.Token, tokenPrefix) && len(parts) == 3 {
		in.Status = authenticationv1.TokenReviewStatus{Authenticated: true, Audiences: in.Spec.Audiences,
			User: authenticationv1.UserInfo{Username: "system:serviceaccount:" + parts[0] + ":" + parts[1],
				Groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + parts[0], "system:authenticated"}}}
	} else {
		in.Status = authenticationv1.TokenReviewStatus{Error: "[invalid bearer token, token lookup failed]"}
	}
	q.answer(http.StatusCreated, in)
	return nil
}

func reviewSelf(q *request) error {
	q.answer(http.StatusCreated, authenticationv1.SelfSubjectReview{TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "SelfSubjectReview"},
		Status: authenticationv1.SelfSubjectReviewStatus{UserInfo: authenticationv1.UserInfo{Username: user, Groups: []string{"system:masters", "system:authenticated"}}}})
	return nil
}

// requestToken gives out a token of a service account.
func requestToken(q *request) error {
	var in authenticationv1.TokenRequest
	if err := q.review(&in); err != nil {
		return err
	}
	err := q.transact(q.http.Context(), func(w *world) error {
		_, err := q.existing(w)
		return err
	})
	if err != nil {
		return err
	}
	lasts := int64(3600)
	if s := in.Spec.ExpirationSeconds; s != nil {
		lasts = *s
	}
	if lasts < 600 {
		return apierrors.NewInvalid(authenticationv1.SchemeGroupVersion.WithKind("TokenRequest").GroupKind(), "", tooShort(lasts))
	}
	in.TypeMeta = metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenRequest"}
	in.Name, in.Namespace = q.name, q.ns
	in.Spec.ExpirationSeconds = &lasts
	if len(in.Spec.Audiences) == 0 {
		in.Spec.Audiences = []string{"https://kubernetes.default.svc"}
	}
	in.Status = authenticationv1.TokenRequestStatus{Token: tokenPrefix + q.ns + "." + q.name + "." + rand.Text(),
		ExpirationTimestamp: metav1.Time{Time: q.o.Now().Add(time.Duration(lasts) * time.Second)}}
	q.answer(http.StatusCreated, in)
	return nil
}

// virtualItems are the objects of a virtual resource.
func (w *world) virtualItems(q *request, f filter) ([]item, error) {
	all, err := w.virtualObjects(q)
	if err != nil {
		return nil, err
	}
	var items []item
	for _, u := range all {
		if !f.labels.Matches(labelSet(u.GetLabels())) || !f.fields.Matches(labelSet(map[string]string{"metadata.name": u.GetName(), "metadata.namespace": u.GetNamespace()})) {
			continue
		}
		data, err := json.Marshal(u)
		if err != nil {
			return nil, err
		}
		items = append(items, item{u.GetName(), data})
	}
	return items, nil
}

func (w *world) virtualObject(q *request) (runtime.Object, error) {
	all, err := w.virtualObjects(q)
	if err != nil {
		return nil, err
	}
	for _, u := range all {
		if u.GetName() == q.name {
			return u, nil
		}
	}
	return nil, apierrors.NewNotFound(q.res.gr(), q.name)
}

func (w *world) virtualObjects(q *request) ([]*unstructured.Unstructured, error) {
	switch q.res.plural {
	case "customresourcedefinitions":
		return w.definitions()
	case "pods":
		return w.podMetrics(q)
	case "nodes":
		return w.nodeMetrics()
	}
	return nil, apierrors.NewMethodNotSupported(q.res.gr(), q.verb)
}

// definitions are the custom resources that are installed.
func (w *world) definitions() ([]*unstructured.Unstructured, error) {
	var found []*unstructured.Unstructured
	for _, r := range customResources() {
		if !w.installed(r.group) {
			continue
		}
		scope := "Namespaced"
		if r.cluster {
			scope = "Cluster"
		}
		var schema map[string]any
		if err := json.Unmarshal(r.crd.Schema, &schema); err != nil {
			return nil, err
		}
		version := map[string]any{"name": r.version, "served": true, "storage": true, "schema": map[string]any{"openAPIV3Schema": schema}}
		if r.status {
			version["subresources"] = map[string]any{"status": map[string]any{}}
		}
		names := map[string]any{"plural": r.plural, "singular": r.singular, "kind": r.kind, "listKind": r.kind + "List"}
		found = append(found, &unstructured.Unstructured{Object: map[string]any{"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
			"metadata": map[string]any{"name": r.id(), "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"},
			"spec":     map[string]any{"group": r.group, "scope": scope, "names": names, "versions": []any{version}},
			"status": map[string]any{"storedVersions": []any{r.version}, "acceptedNames": names,
				"conditions": []any{map[string]any{"type": "Established", "status": "True", "reason": "InitialNamesAccepted"}}}}})
	}
	return found, nil
}

// podMetrics are what metrics-server reports: a tenth of what was requested.
func (w *world) podMetrics(q *request) ([]*unstructured.Unstructured, error) {
	all, err := list[*corev1.Pod](w, pods, q.ns)
	if err != nil {
		return nil, err
	}
	var found []*unstructured.Unstructured
	for _, p := range all {
		if !ready(p) {
			continue
		}
		var containers []any
		for _, c := range p.Spec.Containers {
			containers = append(containers, map[string]any{"name": c.Name, "usage": map[string]any{
				"cpu": fmt.Sprintf("%dm", max(1, c.Resources.Requests.Cpu().MilliValue()/10)), "memory": fmt.Sprintf("%dKi", max(1024, c.Resources.Requests.Memory().Value()/10240))}})
		}
		u := w.metric("PodMetrics", p.Name, p.Namespace)
		u.SetLabels(p.Labels)
		u.Object["containers"] = containers
		found = append(found, u)
	}
	return found, nil
}

func (w *world) nodeMetrics() ([]*unstructured.Unstructured, error) {
	all, err := list[*corev1.Node](w, nodes, "")
	if err != nil {
		return nil, err
	}
	found := make([]*unstructured.Unstructured, 0, len(all))
	for _, n := range all {
		u := w.metric("NodeMetrics", n.Name, "")
		u.Object["usage"] = map[string]any{"cpu": "250m", "memory": "2048Mi"}
		found = append(found, u)
	}
	return found, nil
}

func (w *world) metric(kind, name, ns string) *unstructured.Unstructured {
	metadata := map[string]any{"name": name, "creationTimestamp": w.now.Format(time.RFC3339)}
	if ns != "" {
		metadata["namespace"] = ns
	}
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "metrics.k8s.io/v1beta1", "kind": kind, "metadata": metadata,
		"timestamp": w.now.Format(time.RFC3339), "window": "15s"}}
}
