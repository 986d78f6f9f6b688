// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"encoding/json"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
)

// scoreAction is what callers of an endpoint that trusts Entra ID need.
const scoreAction = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action"

func authorizationRoutes() []*route {
	return []*route{
		{name: "roleAssignments.create", pattern: "PUT roleAssignments/*", handle: putAssignment},
		{name: "roleAssignments.get", pattern: "GET roleAssignments/*", handle: getAssignment, query: []string{"tenantId"}},
		{name: "roleAssignments.list", pattern: "GET roleAssignments", handle: listAssignments, query: []string{"$filter", "$skip", "tenantId", "$skipToken"}},
		{name: "roleAssignments.delete", pattern: "DELETE roleAssignments/*", handle: deleteAssignment, query: []string{"tenantId"}},
		{name: "roleDefinitions.createOrUpdate", pattern: "PUT roleDefinitions/*", handle: putRole},
		{name: "roleDefinitions.get", pattern: "GET roleDefinitions/*", handle: getRole},
		{name: "roleDefinitions.list", pattern: "GET roleDefinitions", handle: listRoles, query: []string{"$filter"}},
		{name: "roleDefinitions.delete", pattern: "DELETE roleDefinitions/*", handle: deleteRole},
	}
}

// role is a definition of a role.
type role struct {
	ID      string // a GUID
	Name    string
	Custom  bool
	Actions []string
	Scopes  []string
	Without []string
}

// builtIn are roles that every subscription has.
var builtIn = []role{
	{ID: "8e3af657-a8ff-443c-a75c-2fe8c4bcb635", Name: "Owner", Actions: []string{"*"}},
	{ID: "b24988ac-6180-42a0-ab88-20f7382dd24c", Name: "Contributor", Actions: []string{"*"}, Without: []string{"Microsoft.Authorization/*/Write", "Microsoft.Authorization/*/Delete"}},
	{ID: "acdd72a7-3385-48ef-bd42-f606fba81ae7", Name: "Reader", Actions: []string{"*/read"}},
	{ID: "f6c7c914-8db3-469d-8ca1-694a8f32e121", Name: "AzureML Data Scientist", Actions: []string{"Microsoft.MachineLearningServices/workspaces/*/read",
		"Microsoft.MachineLearningServices/workspaces/*/action", "Microsoft.MachineLearningServices/workspaces/*/delete", "Microsoft.MachineLearningServices/workspaces/*/write"},
		Without: []string{"Microsoft.MachineLearningServices/workspaces/delete", "Microsoft.MachineLearningServices/workspaces/write", "Microsoft.MachineLearningServices/workspaces/computes/*/write"}},
	{ID: "635dd51f-9968-44d3-b7fb-6d9a6bd613ae", Name: "AzureML Metrics Writer (preview)", Actions: []string{"Microsoft.MachineLearningServices/workspaces/metrics/*/write"}},
	{ID: "1823dd4f-9b8c-4ab6-ab4e-7397a3684615", Name: "AzureML Registry User", Actions: []string{"Microsoft.MachineLearningServices/registries/read", "Microsoft.MachineLearningServices/registries/assets/*"}},
	{ID: "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1", Name: "Storage Blob Data Reader", Actions: []string{"Microsoft.Storage/storageAccounts/blobServices/containers/read"}},
	{ID: "ba92f5b4-2d11-453d-a403-e96b0029c9fe", Name: "Storage Blob Data Contributor", Actions: []string{"Microsoft.Storage/storageAccounts/blobServices/containers/*"}},
	{ID: "7f951dda-4ed3-4680-a7ca-43fe172d538d", Name: "AcrPull", Actions: []string{"Microsoft.ContainerRegistry/registries/pull/read"}},
}

func (d role) view(sub string) map[string]any {
	kind := "BuiltInRole"
	if d.Custom {
		kind = "CustomRole"
	}
	id := "/providers/Microsoft.Authorization/roleDefinitions/" + d.ID
	if sub != "" {
		id = "/subscriptions/" + sub + id
	}
	scopes := d.Scopes
	if len(scopes) == 0 {
		scopes = []string{"/"}
	}
	return map[string]any{"id": id, "name": d.ID, "type": "Microsoft.Authorization/roleDefinitions", "properties": map[string]any{"roleName": d.Name, "type": kind, "description": "",
		"assignableScopes": scopes, "permissions": []any{map[string]any{"actions": d.Actions, "notActions": append([]string{}, d.Without...), "dataActions": []string{}, "notDataActions": []string{}}}}}
}

// roles are the built-in ones and those that somebody has made.
func (r *request) roles() ([]role, error) {
	all := slices.Clone(builtIn)
	err := r.tx.Each(kindRole, "", func(_ string, data []byte) error {
		var d role
		err := json.Unmarshal(data, &d)
		all = append(all, d)
		return err
	})
	return all, err
}

// roleOf finds a role by its id, of which only the GUID counts.
func (r *request) roleOf(id string) (*role, error) {
	all, err := r.roles()
	if err != nil {
		return nil, err
	}
	for i := range all {
		if same(all[i].ID, path.Base(id)) {
			return &all[i], nil
		}
	}
	return nil, refuse(http.StatusBadRequest, "RoleDefinitionDoesNotExist", "The specified role definition with ID '%s' does not exist.", path.Base(id))
}

func getRole(r *request) (*reply, error) {
	d, err := r.roleOf(r.name())
	if err != nil {
		if e, is := err.(*refusal); is { //nolint:errorlint // refusals are not wrapped
			e.Status = http.StatusNotFound
		}
		return nil, err
	}
	return ok(d.view(r.sub)), nil
}

var roleNamed = regexp.MustCompile(`(?i)^roleName\s+eq\s+'([^']*)'$`)

func listRoles(r *request) (*reply, error) {
	all, err := r.roles()
	if err != nil {
		return nil, err
	}
	filter, named := strings.TrimSpace(r.query.Get("$filter")), ""
	if m := roleNamed.FindStringSubmatch(filter); m != nil {
		named = m[1]
	} else if filter != "" && !strings.HasPrefix(filter, "type eq") && !strings.HasPrefix(filter, "atScope") {
		return nil, badRequest("The $filter '%s' is not supported.", filter)
	}
	values := []any{}
	for _, d := range all {
		if named == "" || same(d.Name, named) {
			values = append(values, d.view(r.sub))
		}
	}
	return ok(map[string]any{"value": values}), nil
}

func putRole(r *request) (*reply, error) {
	in, err := decode[armauthorization.RoleDefinition](r.body)
	if err != nil {
		return nil, err
	}
	if in.Properties == nil || value(in.Properties.RoleName) == "" || len(in.Properties.Permissions) == 0 || len(in.Properties.AssignableScopes) == 0 {
		return nil, badRequest("A role definition needs a roleName, permissions and assignableScopes.")
	}
	if !subscriptionPattern.MatchString(r.name()) {
		return nil, refuse(http.StatusBadRequest, "InvalidRoleDefinitionId", "The role definition ID '%s' is not a GUID.", r.name())
	}
	d := role{ID: r.name(), Name: *in.Properties.RoleName, Custom: true}
	for _, p := range in.Properties.Permissions {
		for _, a := range p.Actions {
			d.Actions = append(d.Actions, value(a))
		}
		for _, a := range p.NotActions {
			d.Without = append(d.Without, value(a))
		}
	}
	for _, scope := range in.Properties.AssignableScopes {
		d.Scopes = append(d.Scopes, value(scope))
	}
	return &reply{status: http.StatusCreated, body: d.view(r.sub)}, r.tx.Put(kindRole, strings.ToLower(r.name()), d)
}

func deleteRole(r *request) (*reply, error) {
	return &reply{status: http.StatusOK}, r.tx.Delete(kindRole, strings.ToLower(r.name()))
}

// assignment is a role that a principal has at a scope.
type assignment struct{ ID, Scope, Principal, Type, Role string }

func (a assignment) view() map[string]any {
	return map[string]any{"id": a.ID, "name": path.Base(a.ID), "type": "Microsoft.Authorization/roleAssignments",
		"properties": map[string]any{"scope": a.Scope, "principalId": a.Principal, "principalType": a.Type, "roleDefinitionId": a.Role}}
}

func (a assignment) equal(b assignment) bool {
	return same(a.Scope, b.Scope) && same(a.Principal, b.Principal) && same(path.Base(a.Role), path.Base(b.Role))
}

// assignments are those that keep says yes to.
func (r *request) assignments(keep func(assignment) bool) (all []assignment, err error) {
	err = r.tx.Each(kindAssignment, "", func(_ string, data []byte) error {
		var a assignment
		err := json.Unmarshal(data, &a)
		if err == nil && keep(a) {
			all = append(all, a)
		}
		return err
	})
	return all, err
}

// at is the scope that the path names.
func (r *request) at() string { return "/" + strings.Trim(r.scope, "/") }

func putAssignment(r *request) (*reply, error) {
	in, err := decode[armauthorization.RoleAssignmentCreateParameters](r.body)
	if err != nil {
		return nil, err
	}
	p := in.Properties
	switch {
	case !subscriptionPattern.MatchString(r.name()):
		return nil, refuse(http.StatusBadRequest, "InvalidRoleAssignmentId", "The role assignment ID '%s' is not valid. The role assignment ID must be a GUID.", r.name())
	case p == nil || value(p.PrincipalID) == "" || value(p.RoleDefinitionID) == "":
		return nil, badRequest("A role assignment needs a principalId and a roleDefinitionId.")
	case !subscriptionPattern.MatchString(*p.PrincipalID):
		return nil, refuse(http.StatusBadRequest, "InvalidPrincipalId", "A valid principal ID must be provided for role assignment.")
	case p.PrincipalType == nil:
		// A principal that was just made is not known everywhere yet.
		return nil, refuse(http.StatusBadRequest, "PrincipalNotFound", "Principal %s does not exist in the directory %s. If you are creating this principal and then immediately assigning a role, this error might be related to a replication delay. In this case, set the role assignment principalType property to a value, such as ServicePrincipal, User, or Group.", *p.PrincipalID, tenant)
	}
	if _, err := r.roleOf(*p.RoleDefinitionID); err != nil {
		return nil, err
	}
	wanted := assignment{r.id(), r.at(), *p.PrincipalID, string(*p.PrincipalType), *p.RoleDefinitionID}
	var old assignment
	found, err := r.tx.Get(kindAssignment, r.key(), &old)
	switch {
	case err != nil:
		return nil, err
	case found && old.equal(wanted):
		return ok(old.view()), nil
	case found:
		return nil, refuse(http.StatusConflict, "RoleAssignmentUpdateNotPermitted", "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.")
	}
	others, err := r.assignments(wanted.equal)
	if err != nil {
		return nil, err
	}
	if len(others) > 0 {
		return nil, refuse(http.StatusConflict, "RoleAssignmentExists", "The role assignment already exists. The ID of the existing role assignment is %s.", strings.ReplaceAll(path.Base(others[0].ID), "-", ""))
	}
	return &reply{status: http.StatusCreated, body: wanted.view()}, r.tx.Put(kindAssignment, r.key(), wanted)
}

func getAssignment(r *request) (*reply, error) {
	var a assignment
	found, err := r.tx.Get(kindAssignment, r.key(), &a)
	if err == nil && !found {
		err = refuse(http.StatusNotFound, "RoleAssignmentNotFound", "The role assignment '%s' is not found.", r.name())
	}
	return ok(a.view()), err
}

func deleteAssignment(r *request) (*reply, error) {
	var a assignment
	found, err := r.tx.Get(kindAssignment, r.key(), &a)
	if err != nil || !found {
		return &reply{status: http.StatusNoContent}, err
	}
	return ok(a.view()), r.tx.Delete(kindAssignment, r.key())
}

var assignedTo = regexp.MustCompile(`(?i)^(?:assignedTo\('([^']*)'\)|principalId\s+eq\s+'([^']*)')$`)

// listAssignments lists what is assigned at a scope, above it and, unless the filter
// says atScope(), below it.
func listAssignments(r *request) (*reply, error) {
	principal, exact := "", false
	for one := range strings.SplitSeq(r.query.Get("$filter"), " and ") {
		one = strings.TrimSpace(one)
		m := assignedTo.FindStringSubmatch(one)
		switch {
		case one == "":
		case strings.EqualFold(one, "atScope()"):
			exact = true
		case m != nil:
			principal = m[1] + m[2]
		default:
			return nil, badRequest("The $filter '%s' is not supported.", r.query.Get("$filter"))
		}
	}
	all, err := r.assignments(func(a assignment) bool {
		return (principal == "" || same(principal, a.Principal)) && (within(r.at(), a.Scope) || (!exact && within(a.Scope, r.at())))
	})
	values := []any{}
	for _, a := range all {
		values = append(values, a.view())
	}
	return ok(map[string]any{"value": values}), err
}

// within reports whether a scope is another, or below it.
func within(scope, above string) bool {
	scope, above = strings.ToLower(strings.Trim(scope, "/")), strings.ToLower(strings.Trim(above, "/"))
	return above == "" || scope == above || strings.HasPrefix(scope, above+"/")
}

// allowed reports whether a principal may do something to a resource.
func (r *request) allowed(principal, resource, action string) (bool, error) {
	all, err := r.assignments(func(a assignment) bool { return same(a.Principal, principal) && within(resource, a.Scope) })
	if err != nil {
		return false, err
	}
	for _, a := range all {
		d, err := r.roleOf(a.Role)
		if err != nil {
			return false, err
		}
		grants := func(pattern string) bool { return actionMatches(pattern, action) }
		if slices.ContainsFunc(d.Actions, grants) && !slices.ContainsFunc(d.Without, grants) {
			return true, nil
		}
	}
	return false, nil
}

// actionMatches holds an action to a pattern, where "*" is anything.
func actionMatches(pattern, action string) bool {
	expression := "(?i)^" + strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, ".*") + "$"
	matched, err := regexp.MatchString(expression, action)
	return err == nil && matched
}
