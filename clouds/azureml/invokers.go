// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"cmp"
	"context"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	"github.com/google/uuid"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// builtInRole is AzureML Data Scientist: no built-in role can only call.
const builtInRole = "f6c7c914-8db3-469d-8ca1-694a8f32e121"

// An invoker is a principal with its type, which Azure asks for: one that was just
// made is not known everywhere yet.
var invokerForm = regexp.MustCompile(`^(user|group|servicePrincipal):([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$`)

var principalTypes = map[string]armauthorization.PrincipalType{"user": armauthorization.PrincipalTypeUser, "group": armauthorization.PrincipalTypeGroup,
	"servicePrincipal": armauthorization.PrincipalTypeServicePrincipal}

func invokerOf(p *armauthorization.RoleAssignmentProperties) string {
	for name, t := range principalTypes {
		if deref(p.PrincipalType) == t {
			return name + ":" + strings.ToLower(deref(p.PrincipalID))
		}
	}
	return string(deref(p.PrincipalType)) + ":" + strings.ToLower(deref(p.PrincipalID))
}

// role is the full id of the role that invokers get.
func (w *workspace) role() string {
	id := cmp.Or(w.d.cfg.InvokerRole, builtInRole)
	if strings.HasPrefix(id, "/") {
		return id
	}
	return "/subscriptions/" + w.subscription + "/providers/Microsoft.Authorization/roleDefinitions/" + id
}

type assignment = armauthorization.RoleAssignment

// granted is who may call an endpoint by an assignment on it.
type granted struct {
	invokers map[string]*assignment // of the invokers' role, by invoker
	stale    []*assignment          // that we have made of another role, which was the invokers' before
	ours     []*assignment          // all that we have made
}

func (g *granted) names() []string { return nonEmptyList(slices.Sorted(maps.Keys(g.invokers))) }

func nonEmptyList(all []string) []string {
	if len(all) == 0 {
		return nil
	}
	return all
}

func (w *workspace) assignmentsBelow(ctx context.Context, scope, filter string) ([]*assignment, error) {
	o := &armauthorization.RoleAssignmentsClientListForScopeOptions{}
	if filter != "" {
		o.Filter = &filter
	}
	all, err := collect(ctx, w.c.RoleAssignments.NewListForScopePager(strings.TrimPrefix(scope, "/"), o),
		func(p armauthorization.RoleAssignmentsClientListForScopeResponse) []*assignment { return p.Value })
	return all, failed(err, "cannot read who may call %s", last(scope))
}

// assignments are those on the endpoint itself that are an invoker's, or that we have
// made: their names tell.
func (w *workspace) assignments(ctx context.Context, name string) (*granted, error) {
	all, err := w.assignmentsBelow(ctx, w.endpointID(name), "atScope()")
	if err != nil {
		return nil, err
	}
	return w.sorted(name, all), nil
}

func (w *workspace) sorted(name string, all []*assignment) *granted {
	scope := strings.Trim(w.endpointID(name), "/")
	found := &granted{invokers: map[string]*assignment{}}
	for _, a := range all {
		p := a.Properties
		if p == nil || !strings.EqualFold(strings.Trim(deref(p.Scope), "/"), scope) || deref(p.Condition) != "" {
			continue
		}
		own := strings.EqualFold(assignmentID(a), assignmentName(scope, deref(p.PrincipalID), deref(p.RoleDefinitionID)))
		if own {
			found.ours = append(found.ours, a)
		}
		switch {
		case strings.EqualFold(last(deref(p.RoleDefinitionID)), last(w.role())):
			found.invokers[invokerOf(p)] = a
		case own:
			found.stale = append(found.stale, a)
		}
	}
	return found
}

func assignmentID(a *assignment) string { return cmp.Or(deref(a.Name), last(deref(a.ID))) }

// unread stands in the shared list for one that may not be read.
const unread = ""

// sharedAssignments are all assignments in the workspace as they were lately, by scope
// in lower case.
func (w *workspace) sharedAssignments(ctx context.Context) (map[string][]*assignment, error) {
	return w.grants.get(ctx, func(ctx context.Context) (map[string][]*assignment, error) {
		all, err := w.assignmentsBelow(ctx, strings.TrimSuffix(w.id(), "/"), "")
		if mlerr.Is(err, mlerr.PermissionDenied) {
			return map[string][]*assignment{unread: nil}, nil
		}
		if err != nil {
			return nil, err
		}
		found := map[string][]*assignment{}
		for _, a := range all {
			if a.Properties != nil {
				scope := "/" + strings.ToLower(strings.Trim(deref(a.Properties.Scope), "/"))
				found[scope] = append(found[scope], a)
			}
		}
		return found, nil
	})
}

// invokersConfirmed reports whether a list shows those who are known to be let call.
func (w *workspace) invokersConfirmed(ctx context.Context, key driver.Key, known *driver.EndpointState) (bool, error) {
	if known.Settings.Auth.Mode != authIAM {
		return true, nil // they are not what lets call
	}
	all, err := w.sharedAssignments(ctx)
	if err != nil {
		return false, err
	}
	if _, denied := all[unread]; denied {
		return true, nil
	}
	g := w.sorted(key.Name, all[strings.ToLower(w.endpointID(key.Name))])
	return slices.Equal(g.names(), known.Settings.Auth.Invokers) && len(g.stale) == 0, nil
}

// invokers are those that assignments on the endpoint let call. They are read where
// calls are authorized so. Who cannot read them, and has set none, is told none.
func (w *workspace) invokers(ctx context.Context, name string, s, known *driver.EndpointState) ([]string, error) {
	if s.Settings.Auth.Mode != authIAM || s.Phase != driver.Ready && s.Phase != driver.Changing {
		return nil, nil
	}
	found, err := w.assignments(ctx, name)
	if mlerr.Is(err, mlerr.PermissionDenied) && (known == nil || len(known.Settings.Auth.Invokers) == 0) {
		return nil, nil // whoever wants to set them is told
	}
	if err != nil {
		return nil, err
	}
	if len(found.stale) > 0 && s.Phase == driver.Ready && s.Repair == "" {
		s.Repair = "an invoker still has the role " + last(deref(found.stale[0].Properties.RoleDefinitionID)) + ", and azure_ml.invoker_role_definition_id is another now"
	}
	return found.names(), nil
}

// assignmentSpace is what names of our assignments are made in: the same again for the
// same triple, so that none is made twice.
var assignmentSpace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://registry.terraform.io/providers/mlplane/ml"))

func assignmentName(scope, principal, role string) string {
	return uuid.NewSHA1(assignmentSpace, []byte(strings.ToLower(scope+"|"+principal+"|"+last(role)))).String()
}

// setInvokers makes the assignments of that role on the endpoint those of members, takes
// back what we have given of another role before, and touches no others.
func (w *workspace) setInvokers(ctx context.Context, name string, members []string) error {
	found, err := w.assignments(ctx, name)
	if mlerr.Is(err, mlerr.PermissionDenied) && len(members) == 0 {
		return nil // then they were not made with these credentials
	}
	if err != nil {
		return gone(err)
	}
	scope := strings.TrimPrefix(w.endpointID(name), "/")
	w.grants.forget()
	for _, who := range members {
		if found.invokers[who] != nil {
			delete(found.invokers, who)
			continue
		}
		kind, principal, _ := strings.Cut(who, ":")
		_, err := w.c.RoleAssignments.Create(ctx, scope, assignmentName(scope, principal, w.role()), armauthorization.RoleAssignmentCreateParameters{
			Properties: &armauthorization.RoleAssignmentProperties{PrincipalID: &principal, RoleDefinitionID: new(w.role()), PrincipalType: new(principalTypes[kind])}}, nil)
		if err := assigned(err, name, who); err != nil {
			return err
		}
	}
	return w.takeBack(ctx, name, append(slices.Collect(maps.Values(found.invokers)), found.stale...))
}

// takeBack removes assignments on an endpoint.
func (w *workspace) takeBack(ctx context.Context, name string, all []*assignment) error {
	w.grants.forget()
	scope := strings.TrimPrefix(w.endpointID(name), "/")
	for _, a := range all {
		_, err := w.c.RoleAssignments.Delete(ctx, scope, assignmentID(a), nil)
		if err := gone(failed(err, "cannot take from %s the right to call the endpoint %s", invokerOf(a.Properties), name)); err != nil {
			return err
		}
	}
	return nil
}

// ourAssignments are those on an endpoint that we have made, whatever its auth.mode is
// now; none where they may not be read, as then these credentials have not made them.
func (w *workspace) ourAssignments(ctx context.Context, name string) ([]*assignment, error) {
	found, err := w.assignments(ctx, name)
	if mlerr.Is(err, mlerr.PermissionDenied, mlerr.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return found.ours, nil
}

// assigned judges the answer to an assignment. One that is there already is success.
func assigned(err error, name, who string) error {
	own := failed(err, "cannot let %s call the endpoint %s", who, name)
	if own == nil {
		return nil
	}
	s := heardIn(own)
	switch {
	case s != nil && s.has("RoleAssignmentExists"):
		return nil
	case s != nil && s.has("PrincipalNotFound"):
		return mlerr.Wrap(own, mlerr.NotYetGranted, "the principal %s is not known everywhere yet, or does not exist", who)
	case s != nil && s.has("RoleAssignmentUpdateNotPermitted"):
		return mlerr.Wrap(own, mlerr.InUse, "another assignment has the name that this one would have")
	}
	return own
}

// sweepAssignments removes those of the leftovers of an endpoint that is gone.
func (w *workspace) sweepAssignments(ctx context.Context, name string, leftovers []driver.Leftover) error {
	given, err := w.ourAssignments(ctx, name)
	if err != nil {
		return err
	}
	return w.takeBack(ctx, name, slices.DeleteFunc(given, func(a *assignment) bool {
		return !slices.ContainsFunc(leftovers, func(l driver.Leftover) bool { return l.Kind == leftAssignment && l.Name == assignmentID(a) })
	}))
}
