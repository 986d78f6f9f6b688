// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"io"
	"net/http"
	"slices"
	"strings"

	apidiscovery "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
)

// serveOther answers what is no object: discovery, health, and requests to the
// gateway.
func (q *request) serveOther() error {
	path := strings.TrimSuffix(q.http.URL.Path, "/")
	switch path {
	case "/version":
		q.answer(http.StatusOK, q.versionInfo())
	case "/healthz", "/livez", "/readyz":
		q.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = io.WriteString(q.w, "ok")
	case "/api", "/apis":
		return q.discover(path)
	case "/openapi/v2":
		q.answer(http.StatusOK, map[string]any{"swagger": "2.0", "info": map[string]any{"title": "Kubernetes", "version": q.cluster.Version}, "paths": q.openAPIPaths(q.servedGroups()...), "definitions": map[string]any{}})
	case "/openapi/v3":
		q.openAPI()
	default:
		parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
		switch {
		case strings.HasPrefix(path, "/openapi/v3/"):
			return q.openAPIOf(strings.TrimPrefix(path, "/openapi/v3/"))
		case len(parts) == 2 && parts[0] == "api":
			return q.resources("", parts[1])
		case len(parts) == 3 && parts[0] == "apis":
			return q.resources(parts[1], parts[2])
		case len(parts) == 2 && parts[0] == "apis":
			return q.group(parts[1])
		}
		return q.unknown(parts)
	}
	return nil
}

// unknown answers a path that leads nowhere: a group that is built in knows that it
// lacks the resource, and any other is not even there.
func (q *request) unknown(parts []string) error {
	if len(parts) > 1 && (parts[0] == "api" || parts[0] == "apis" && slices.ContainsFunc(builtin, func(r *resource) bool { return r.group == parts[1] })) {
		return errNoResource()
	}
	return errNoPage
}

func (q *request) versionInfo() version.Info {
	major, minor, _ := strings.Cut(strings.TrimPrefix(q.cluster.Version, "v"), ".")
	minor, _, _ = strings.Cut(minor, ".")
	return version.Info{Major: major, Minor: minor, GitVersion: q.cluster.Version, GitTreeState: "clean", GoVersion: "go1.26", Compiler: "gc", Platform: "linux/amd64"}
}

// everything is what is served, virtual resources too.
func (s *Service) everything() []*resource {
	found := s.served()
	for _, r := range virtuals {
		if s.installed(r.group) {
			found = append(found, r)
		}
	}
	return found
}

// servedGroups are groups with their versions, in the order in which they are found.
func (s *Service) servedGroups() []metav1.GroupVersion {
	var found []metav1.GroupVersion
	for _, r := range s.everything() {
		gv := metav1.GroupVersion{Group: r.group, Version: r.version}
		if !slices.Contains(found, gv) {
			found = append(found, gv)
		}
	}
	return found
}

const aggregated = "g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

// discover answers /api and /apis, in the form that the client understands.
func (q *request) discover(path string) error {
	accept := strings.ReplaceAll(q.http.Header.Get("Accept"), " ", "")
	if strings.Contains(accept, "as=APIGroupDiscoveryList") && strings.Contains(accept, "v=v2") && !strings.Contains(strings.Split(accept, "as=APIGroupDiscoveryList")[0], "v=v2beta1") {
		list := apidiscovery.APIGroupDiscoveryList{TypeMeta: metav1.TypeMeta{APIVersion: "apidiscovery.k8s.io/v2", Kind: "APIGroupDiscoveryList"}, Items: []apidiscovery.APIGroupDiscovery{}}
		for _, gv := range q.servedGroups() {
			if (gv.Group == "") == (path == "/api") {
				list.Items = append(list.Items, q.groupDiscovery(gv))
			}
		}
		q.answerAs("application/json;"+aggregated, list)
		return nil
	}
	if path == "/api" {
		q.answer(http.StatusOK, metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"},
			ServerAddressByClientCIDRs: []metav1.ServerAddressByClientCIDR{{ClientCIDR: "0.0.0.0/0", ServerAddress: q.http.Host}}})
		return nil
	}
	groups := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIGroupList"}}
	for _, gv := range q.servedGroups() {
		if gv.Group != "" {
			groups.Groups = append(groups.Groups, apiGroup(gv))
		}
	}
	q.answer(http.StatusOK, groups)
	return nil
}

// answerAs writes JSON under a more exact name.
func (q *request) answerAs(contentType string, v any) {
	q.answerTo(&typed{q.w, contentType}, v)
}

// typed insists on a content type.
type typed struct {
	http.ResponseWriter
	contentType string
}

func (t *typed) WriteHeader(code int) {
	t.Header().Set("Content-Type", t.contentType)
	t.ResponseWriter.WriteHeader(code)
}

func (q *request) answerTo(w http.ResponseWriter, v any) {
	other := *q
	other.w = w
	other.answer(http.StatusOK, v)
}

func apiGroup(gv metav1.GroupVersion) metav1.APIGroup {
	v := metav1.GroupVersionForDiscovery{GroupVersion: gv.Group + "/" + gv.Version, Version: gv.Version}
	return metav1.APIGroup{Name: gv.Group, Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v}
}

func (q *request) groupDiscovery(gv metav1.GroupVersion) apidiscovery.APIGroupDiscovery {
	v := apidiscovery.APIVersionDiscovery{Version: gv.Version, Freshness: apidiscovery.DiscoveryFreshnessCurrent}
	for _, r := range q.everything() {
		if r.group != gv.Group || r.version != gv.Version {
			continue
		}
		scope := apidiscovery.ScopeNamespace
		if r.cluster {
			scope = apidiscovery.ScopeCluster
		}
		kind := metav1.GroupVersionKind{Group: r.group, Version: r.version, Kind: r.kind}
		d := apidiscovery.APIResourceDiscovery{Resource: r.plural, ResponseKind: &kind, Scope: scope, SingularResource: r.singular,
			Verbs: q.verbsOf(r), ShortNames: r.short, Categories: r.categories}
		for _, sub := range subresourcesOf(r) {
			of := metav1.GroupVersionKind(sub.kind)
			d.Subresources = append(d.Subresources, apidiscovery.APISubresourceDiscovery{Subresource: sub.name, ResponseKind: &of, Verbs: sub.verbs})
		}
		v.Resources = append(v.Resources, d)
	}
	return apidiscovery.APIGroupDiscovery{ObjectMeta: metav1.ObjectMeta{Name: gv.Group}, Versions: []apidiscovery.APIVersionDiscovery{v}}
}

func (q *request) verbsOf(r *resource) metav1.Verbs {
	if !slices.Contains(virtuals, r) {
		return metav1.Verbs{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
	}
	if strings.HasSuffix(r.plural, "reviews") {
		return metav1.Verbs{"create"}
	}
	return metav1.Verbs{"get", "list"}
}

type subresource struct {
	name  string
	kind  groupVersionKind
	verbs metav1.Verbs
}

type groupVersionKind struct{ Group, Version, Kind string }

func subresourcesOf(r *resource) []subresource {
	var found []subresource
	edit := metav1.Verbs{"get", "patch", "update"}
	if r.scale {
		found = append(found, subresource{"scale", groupVersionKind(scaleKind), edit})
	}
	if r.status {
		found = append(found, subresource{"status", groupVersionKind(r.gvk()), edit})
	}
	all := metav1.Verbs{"create", "delete", "get", "patch", "update"}
	switch r.id() {
	case pods:
		found = append(found, subresource{"log", groupVersionKind{"", "v1", "Pod"}, metav1.Verbs{"get"}}, subresource{"eviction", groupVersionKind{"policy", "v1", "Eviction"}, metav1.Verbs{"create"}},
			subresource{"proxy", groupVersionKind{"", "v1", "PodProxyOptions"}, all})
	case services:
		found = append(found, subresource{"proxy", groupVersionKind{"", "v1", "ServiceProxyOptions"}, all})
	case serviceAccounts:
		found = append(found, subresource{"token", groupVersionKind{"authentication.k8s.io", "v1", "TokenRequest"}, metav1.Verbs{"create"}})
	}
	return found
}

// resources answers the older form of discovery.
func (q *request) resources(group, of string) error {
	list := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIResourceList"}, GroupVersion: strings.TrimPrefix(group+"/"+of, "/")}
	for _, r := range q.everything() {
		if r.group != group || r.version != of {
			continue
		}
		list.APIResources = append(list.APIResources, metav1.APIResource{Name: r.plural, SingularName: r.singular, Namespaced: !r.cluster, Kind: r.kind, Verbs: q.verbsOf(r), ShortNames: r.short, Categories: r.categories})
		for _, sub := range subresourcesOf(r) {
			list.APIResources = append(list.APIResources, metav1.APIResource{Name: r.plural + "/" + sub.name, Namespaced: !r.cluster, Kind: sub.kind.Kind, Group: sub.kind.Group, Version: sub.kind.Version, Verbs: sub.verbs})
		}
	}
	if len(list.APIResources) == 0 {
		return q.unknown([]string{"apis", group})
	}
	q.answer(http.StatusOK, list)
	return nil
}

func (q *request) group(name string) error {
	for _, gv := range q.servedGroups() {
		if gv.Group == name {
			g := apiGroup(gv)
			g.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "APIGroup"}
			q.answer(http.StatusOK, g)
			return nil
		}
	}
	return errNoPage
}

// openAPI says where the descriptions are: kubectl looks into them for what can be
// checked by the server, and leaves the checking to it.
func (q *request) openAPI() {
	paths := map[string]any{}
	for _, gv := range q.servedGroups() {
		at := "apis/" + gv.Group + "/" + gv.Version
		if gv.Group == "" {
			at = "api/" + gv.Version
		}
		paths[at] = map[string]any{"serverRelativeURL": "/openapi/v3/" + at}
	}
	q.answer(http.StatusOK, map[string]any{"paths": paths})
}

func (q *request) openAPIOf(path string) error {
	for _, gv := range q.servedGroups() {
		if path == "apis/"+gv.Group+"/"+gv.Version || gv.Group == "" && path == "api/"+gv.Version {
			q.answer(http.StatusOK, map[string]any{"openapi": "3.0.0", "info": map[string]any{"title": "Kubernetes", "version": q.cluster.Version},
				"paths": q.openAPIPaths(gv), "components": map[string]any{"schemas": map[string]any{}}})
			return nil
		}
	}
	return errNoPage
}

func (q *request) openAPIPaths(groups ...metav1.GroupVersion) map[string]any {
	parameters := []any{}
	for _, name := range []string{"dryRun", "fieldManager", "fieldValidation", "force"} {
		parameters = append(parameters, map[string]any{"name": name, "in": "query", "schema": map[string]any{"type": "string", "uniqueItems": true}})
	}
	paths := map[string]any{}
	for _, r := range q.served() {
		if !slices.Contains(groups, metav1.GroupVersion{Group: r.group, Version: r.version}) {
			continue
		}
		kind := map[string]any{"group": r.group, "version": r.version, "kind": r.kind}
		at := "/apis/" + r.group + "/" + r.version
		if r.group == "" {
			at = "/api/" + r.version
		}
		if !r.cluster {
			at += "/namespaces/{namespace}"
		}
		operation := map[string]any{"x-kubernetes-group-version-kind": kind, "parameters": parameters, "responses": map[string]any{}}
		paths[at+"/"+r.plural] = map[string]any{"post": operation}
		paths[at+"/"+r.plural+"/{name}"] = map[string]any{"patch": operation, "put": operation, "delete": operation}
	}
	return paths
}
