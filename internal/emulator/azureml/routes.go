// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// route is a method of an API.
type route struct {
	name    string // in faults and in the log of calls, after "azure_ml."
	path    string // as the API spells it, behind the resource provider; "*" is a name
	handle  func(r *request) (*reply, error)
	query   []string // parameters that it takes
	pattern string   // what requests are matched by
}

// assetLists are the parameters of lists of versions.
var assetLists = []string{"$orderBy", "$skip", "$top", "description", "feed", "listViewType", "offset", "properties", "tags", "version", "stage"}

// routes are the methods by "GET microsoft.insights/autoscalesettings/*".
var routes map[string]*route

func init() { //nolint:gochecknoinits // the table and the handlers refer to each other
	routes = map[string]*route{}
	for namespace, all := range map[string][]*route{machineLearning: learningRoutes(), insights: insightsRoutes(), authorization: authorizationRoutes()} {
		for _, to := range all {
			method, path, _ := strings.Cut(to.pattern, " ")
			to.path = path
			to.pattern = method + " " + strings.ToLower(namespace+"/"+path)
			routes[to.pattern] = to
		}
	}
}

func learningRoutes() []*route {
	const endpoints, deployments = "workspaces/*/onlineEndpoints", "workspaces/*/onlineEndpoints/*/deployments"
	all := []*route{
		{name: "operations.status", pattern: "GET locations/*/mfeOperationsStatus/*", handle: operationStatus},
		{name: "operations.result", pattern: "GET locations/*/mfeOperationResults/*", handle: operationResult},
		{name: "onlineEndpoints.createOrUpdate", pattern: "PUT " + endpoints + "/*", handle: putEndpoint},
		{name: "onlineEndpoints.get", pattern: "GET " + endpoints + "/*", handle: getEndpoint},
		{name: "onlineEndpoints.list", pattern: "GET " + endpoints, handle: listEndpoints, query: []string{"$skip", "computeType", "count", "name", "orderBy", "properties", "tags"}},
		{name: "onlineEndpoints.update", pattern: "PATCH " + endpoints + "/*", handle: patchEndpoint},
		{name: "onlineEndpoints.delete", pattern: "DELETE " + endpoints + "/*", handle: deleteEndpoint},
		{name: "onlineEndpoints.listKeys", pattern: "POST " + endpoints + "/*/listKeys", handle: listKeys},
		{name: "onlineEndpoints.regenerateKeys", pattern: "POST " + endpoints + "/*/regenerateKeys", handle: regenerateKeys},
		{name: "onlineEndpoints.getToken", pattern: "POST " + endpoints + "/*/token", handle: getToken},
		{name: "onlineDeployments.createOrUpdate", pattern: "PUT " + deployments + "/*", handle: putDeployment},
		{name: "onlineDeployments.get", pattern: "GET " + deployments + "/*", handle: getDeployment},
		{name: "onlineDeployments.list", pattern: "GET " + deployments, handle: listDeployments, query: []string{"$orderBy", "$skip", "$top"}},
		{name: "onlineDeployments.update", pattern: "PATCH " + deployments + "/*", handle: patchDeployment},
		{name: "onlineDeployments.delete", pattern: "DELETE " + deployments + "/*", handle: deleteDeployment},
		{name: "onlineDeployments.getLogs", pattern: "POST " + deployments + "/*/getLogs", handle: getLogs},
		{name: "onlineDeployments.listSkus", pattern: "GET " + deployments + "/*/skus", handle: listSKUs, query: []string{"$skip", "count"}},
	}
	return append(append(all, assetRoutes()...), workspaceRoutes()...)
}

// known are the versions of each resource provider's API that are served.
var known = map[string]*regexp.Regexp{
	strings.ToLower(machineLearning): regexp.MustCompile(`^(2022-05-01|2022-10-01|2023-04-01|2023-10-01|2024-04-01|2024-07-01|2024-10-01|2025-06-01)(-preview)?$`),
	strings.ToLower(insights):        regexp.MustCompile(`^(2015-04-01|2018-01-01|2018-03-01|2019-07-01|2021-05-01|2022-10-01|2023-10-01|2024-02-01|2024-03-01)(-preview)?$`),
	strings.ToLower(authorization):   regexp.MustCompile(`^(2015-07-01|2018-01-01-preview|2020-04-01-preview|2020-10-01-preview|2022-04-01)$`),
}

// find tells which method a request is for; route is nil if none.
func (s *Service) find(h *http.Request) *request {
	r := &request{Service: s, http: h, query: url.Values{}}
	path := "/" + strings.TrimLeft(h.URL.Path, "/")
	t, is := parseID(strings.TrimSuffix(path, "/"))
	if !is {
		return r
	}
	r.target = t
	parts := []string{t.namespace}
	for i, kind := range t.types {
		if parts = append(parts, kind); i < len(t.names) {
			parts = append(parts, "*")
		}
	}
	if r.route = routes[h.Method+" "+strings.ToLower(strings.Join(parts, "/"))]; r.route == nil {
		return r
	}
	// The API's own spelling of its types.
	for i, part := range strings.Split(r.route.path, "/") {
		if i%2 == 0 {
			r.types[i/2] = part
		}
	}
	for _, canonical := range []string{machineLearning, insights, authorization} {
		if strings.EqualFold(r.namespace, canonical) {
			r.namespace = canonical
		}
	}
	return r
}

// Name is the name of the call, and the workspace or the resource group that it is
// about.
func (s *Service) Name(h *http.Request) (call, where string) {
	if to, is := scoringTarget(h); is {
		return "azure_ml.onlineEndpoints.score", to.name
	}
	r := s.find(h)
	where = r.group
	if len(r.names) > 0 && len(r.types) > 0 && r.types[0] == "workspaces" {
		where = r.names[0]
	}
	if r.route == nil {
		return "azure_ml." + h.Method + " " + h.URL.Path, where
	}
	return "azure_ml." + r.route.name, where
}

var subscriptionPattern = regexp.MustCompile(`^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$`)

// parse tells which method a request is for, and checks what holds for all.
func (s *Service) parse(h *http.Request) (*request, error) {
	r := s.find(h)
	if token, bearer := strings.CutPrefix(h.Header.Get("Authorization"), "Bearer "); !bearer || token == "" {
		return nil, refuse(http.StatusUnauthorized, "AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.")
	}
	version := h.URL.Query().Get("api-version")
	switch {
	case version == "":
		return nil, refuse(http.StatusBadRequest, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
	case r.sub != "" && !subscriptionPattern.MatchString(r.sub):
		return nil, refuse(http.StatusBadRequest, "InvalidSubscriptionId", "The provided subscription identifier '%s' is malformed or invalid.", r.sub)
	case r.namespace != "" && known[strings.ToLower(r.namespace)] == nil:
		return nil, refuse(http.StatusNotFound, "InvalidResourceNamespace", "The resource namespace '%s' is invalid.", r.namespace)
	case r.namespace != "" && !known[strings.ToLower(r.namespace)].MatchString(version):
		return nil, refuse(http.StatusBadRequest, "NoRegisteredProviderFound", "No registered resource provider found for API version '%s' for type '%s'.", version, strings.Join(r.types, "/"))
	case r.route == nil:
		return nil, refuse(http.StatusNotFound, "InvalidResourceType", "The resource type could not be found in the namespace '%s' for api version '%s': %s %s is not served.", r.namespace, version, h.Method, h.URL.Path)
	}
	for name, values := range h.URL.Query() {
		if name != "api-version" && !slices.Contains(r.route.query, name) {
			return nil, badRequest("The query parameter '%s' is not one of %s.", name, r.route.name)
		}
		r.query[name] = values
	}
	return r, nil
}
