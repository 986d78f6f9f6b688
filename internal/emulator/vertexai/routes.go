// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// route is a method of the API.
type route struct {
	name    string // in faults and in the log of calls, after "vertex_ai."
	handle  func(r *request) (any, error)
	raw     func(r *request, w http.ResponseWriter) error // writes the answer itself
	query   []string                                      // parameters that it takes
	version string                                        // the only one that has it; "" is all
	project bool                                          // is of a project, and in no region
}

// lists are the parameters of lists.
var lists = []string{"filter", "orderBy", "pageSize", "pageToken", "readMask"}

// routes are the methods by what a path looks like below a location.
var routes map[string]*route

func init() { //nolint:gochecknoinits // the table and the handlers refer to each other
	routes = map[string]*route{
		"POST models:upload":                        {name: "models.upload", handle: uploadModel},
		"POST models:copy":                          {name: "models.copy", handle: copyModel},
		"GET models":                                {name: "models.list", handle: listModels, query: lists},
		"GET models/*":                              {name: "models.get", handle: getModel},
		"GET models/*:listVersions":                 {name: "models.listVersions", handle: listVersions, query: lists},
		"PATCH models/*":                            {name: "models.patch", handle: patchModel, query: []string{"updateMask"}},
		"POST models/*:mergeVersionAliases":         {name: "models.mergeVersionAliases", handle: mergeAliases},
		"DELETE models/*:deleteVersion":             {name: "models.deleteVersion", handle: deleteVersion},
		"DELETE models/*":                           {name: "models.delete", handle: deleteModel},
		"POST models/*:getIamPolicy":                {name: "models.getIamPolicy", handle: getPolicy, query: []string{"options.requestedPolicyVersion"}},
		"POST models/*:setIamPolicy":                {name: "models.setIamPolicy", handle: setPolicy},
		"POST models/*:testIamPermissions":          {name: "models.testIamPermissions", handle: testPermissions, query: []string{"permissions"}},
		"POST endpoints":                            {name: "endpoints.create", handle: createEndpoint, query: []string{"endpointId"}},
		"GET endpoints":                             {name: "endpoints.list", handle: listEndpoints, query: append(slices.Clone(lists), "gdcZone")},
		"GET endpoints/*":                           {name: "endpoints.get", handle: getEndpoint, query: []string{"allDeploymentStates"}},
		"PATCH endpoints/*":                         {name: "endpoints.patch", handle: patchEndpoint, query: []string{"updateMask"}},
		"POST endpoints/*:update":                   {name: "endpoints.update", handle: updateEndpoint},
		"DELETE endpoints/*":                        {name: "endpoints.delete", handle: deleteEndpoint},
		"POST endpoints/*:deployModel":              {name: "endpoints.deployModel", handle: deployModel},
		"POST endpoints/*:undeployModel":            {name: "endpoints.undeployModel", handle: undeployModel},
		"POST endpoints/*:mutateDeployedModel":      {name: "endpoints.mutateDeployedModel", handle: mutateDeployedModel},
		"POST endpoints/*:predict":                  {name: "endpoints.predict", raw: predict},
		"POST endpoints/*:rawPredict":               {name: "endpoints.rawPredict", raw: rawPredict},
		"POST endpoints/*:streamRawPredict":         {name: "endpoints.streamRawPredict", raw: rawPredict},
		"POST endpoints/*/deployedModels/*:predict": {name: "endpoints.privatePredict", raw: privatePredict},
		"POST endpoints/*/invoke":                   {name: "endpoints.invoke", raw: invoke},
		"POST endpoints/*/deployedModels/*/invoke":  {name: "endpoints.invoke", raw: invoke},
		"POST endpoints/*:getIamPolicy":             {name: "endpoints.getIamPolicy", handle: getPolicy, query: []string{"options.requestedPolicyVersion"}, version: v1beta1},
		"POST endpoints/*:setIamPolicy":             {name: "endpoints.setIamPolicy", handle: setPolicy, version: v1beta1},
		"POST endpoints/*:testIamPermissions":       {name: "endpoints.testIamPermissions", handle: testPermissions, query: []string{"permissions"}, version: v1beta1},
		"GET projects":                              {name: "projects.get", handle: getProject, project: true},
	}
	for _, parent := range []string{"", "models/*/", "endpoints/*/"} {
		routes["GET "+parent+"operations"] = &route{name: "operations.list", handle: listOperations, query: append(slices.Clone(lists), "returnPartialSuccess")}
		routes["GET "+parent+"operations/*"] = &route{name: "operations.get", handle: getOperation}
		routes["DELETE "+parent+"operations/*"] = &route{name: "operations.delete", handle: deleteOperation}
		routes["POST "+parent+"operations/*:cancel"] = &route{name: "operations.cancel", handle: cancelOperation}
		routes["POST "+parent+"operations/*:wait"] = &route{name: "operations.wait", raw: waitOperation, query: []string{"timeout"}}
	}
	for pattern, m := range monitoringRoutes() {
		m.project = true
		routes[pattern] = m
	}
}

// pathPattern takes the path of a location apart. The generated REST clients of
// v1beta1 read operations below /ui/.
var pathPattern = regexp.MustCompile("^/(v1|v1beta1|ui)/projects/([^/]+)/locations/([^/]+)/(.+)$")

// projectPattern is a read of a project in the Cloud Resource Manager API.
var projectPattern = regexp.MustCompile("^/(v1|v3)/projects/([^/:]+)$")

// monitoringPattern takes the paths of the Cloud Monitoring API apart.
var monitoringPattern = regexp.MustCompile("^/v3/projects/([^/:]+)/((?:timeSeries|alertPolicies|alerts)(?:/.+)?)$")

// collection ends in a path what is named by an id.
const collection = "*"

// find tells which method a request is for; route is nil if none.
func (s *Service) find(h *http.Request) *request {
	r := &request{Service: s, http: h, query: url.Values{}}
	if m := projectPattern.FindStringSubmatch(h.URL.Path); m != nil {
		r.version, r.project, r.place = m[1], m[2], place{number(m[2]), "global"}
		r.route = routes[h.Method+" projects"]
		return r
	}
	if m := monitoringPattern.FindStringSubmatch(h.URL.Path); m != nil {
		r.version, r.project, r.place = "v3", m[1], place{number(m[1]), "global"}
		name, id, named := strings.Cut(m[2], "/")
		if named {
			name, r.ids = name+"/"+collection, []string{id}
		}
		r.route = routes[h.Method+" "+name]
		return r
	}
	m := pathPattern.FindStringSubmatch(h.URL.Path)
	if m == nil {
		return r
	}
	r.version, r.project, r.place = m[1], m[2], place{number(m[2]), m[3]}
	if r.version == "ui" {
		r.version = v1beta1
	}
	path, _, invokes := strings.Cut(m[4], "/invoke/") // behind it is a path of the model's own
	verb, hasVerb := "", false
	if invokes {
		path += "/invoke"
	} else {
		path, verb, hasVerb = strings.Cut(path, ":")
	}
	segments := strings.Split(path, "/")
	for i := 1; i < len(segments); i += 2 {
		r.ids = append(r.ids, segments[i])
		segments[i] = collection
	}
	pattern := h.Method + " " + strings.Join(segments, "/")
	if hasVerb {
		pattern += ":" + verb
	}
	if r.route = routes[pattern]; r.route != nil && (r.route.project || r.route.version != "" && r.route.version != r.version) {
		r.route = nil
	}
	return r
}

// Name is the API's name of the call, and the region that it is about.
func (s *Service) Name(h *http.Request) (call, region string) {
	r := s.find(h)
	if r.route == nil {
		return "vertex_ai." + h.Method + " " + h.URL.Path, r.Region
	}
	return "vertex_ai." + r.route.name, r.Region
}

var (
	regionPattern = regexp.MustCompile("^[a-z]+(-[a-z]+)+[0-9]+$")
	// systemParameters are taken by every method.
	systemParameters = []string{"alt", "$alt", "$.xgafv", "$prettyPrint", "prettyPrint", "pp", "key", "fields", "access_token", "oauth_token", "quotaUser", "callback", "uploadType", "upload_protocol"}
)

// parse tells which method a request is for, and checks what holds for all.
func (s *Service) parse(h *http.Request) (*request, error) {
	r := s.find(h)
	if r.route == nil {
		return nil, notFound("The requested URL %s was not found on this server.", h.URL.Path)
	}
	if !r.route.project && !regionPattern.MatchString(r.Region) {
		return nil, detailedInfo("Permission denied on 'locations/"+r.Region+"' (or it may not exist).", "LOCATION_POLICY_VIOLATED")
	}
	for name, values := range h.URL.Query() {
		if slices.Contains(systemParameters, name) {
			r.query[name] = values
			continue
		}
		if name = camel(name); !slices.Contains(r.route.query, name) {
			return nil, invalid("Invalid JSON payload received. Unknown name \"%s\": Cannot bind query parameter. Field '%s' could not be found in request message.", name, name)
		}
		r.query[name] = values
	}
	// A host of a region serves that region.
	if host := hostPattern.FindStringSubmatch(h.Host); host != nil && !r.route.project && host[1] != r.Region {
		return nil, invalid("The request is for location %s, and the host %s serves %s.", r.Region, h.Host, host[1])
	}
	return r, nil
}

var hostPattern = regexp.MustCompile(`^([a-z]+(?:-[a-z]+)+[0-9]+)-(?:prediction-)?aiplatform\.googleapis\.com`)
