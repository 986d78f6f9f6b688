// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"cmp"
	"context"
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

// assignments are those of the invokers' role on the endpoint itself, by invoker.
func (w *workspace) assignments(ctx context.Context, name string) (map[string]*armauthorization.RoleAssignment, error) {
	scope := w.endpointID(name)
	pager := w.c.RoleAssignments.NewListForScopePager(strings.TrimPrefix(scope, "/"), &armauthorization.RoleAssignmentsClientListForScopeOptions{Filter: new("atScope()")})
	all, err := collect(ctx, pager, func(p armauthorization.RoleAssignmentsClientListForScopeResponse) []*armauthorization.RoleAssignment {
		return p.Value
	})
	if err != nil {
		return nil, failed(err, "cannot read who may call the endpoint %s", name)
	}
	found := map[string]*armauthorization.RoleAssignment{}
	for _, a := range all {
		p := a.Properties
		if p == nil || !strings.EqualFold(strings.Trim(deref(p.Scope), "/"), strings.Trim(scope, "/")) || !strings.EqualFold(last(deref(p.RoleDefinitionID)), last(w.role())) || deref(p.Condition) != "" {
			continue
		}
		found[invokerOf(p)] = a
	}
	return found, nil
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
	var all []string
	for who := range found {
		all = append(all, who)
	}
	slices.Sort(all)
	return all, nil
}

// assignmentSpace is what names of our assignments are made in: the same again for the
// same triple, so that none is made twice.
var assignmentSpace = uuid.NewSHA1(uuid.NameSpaceURL, []byte("https://registry.terraform.io/providers/mlplane/ml"))

func assignmentName(scope, principal, role string) string {
	return uuid.NewSHA1(assignmentSpace, []byte(strings.ToLower(scope+"|"+principal+"|"+last(role)))).String()
}

// setInvokers makes the assignments of that role on the endpoint those of members, and
// touches no others.
func (w *workspace) setInvokers(ctx context.Context, name string, members []string) error {
	found, err := w.assignments(ctx, name)
	if mlerr.Is(err, mlerr.PermissionDenied) && len(members) == 0 {
		return nil // then they were not made with these credentials
	}
	if err != nil {
		return gone(err)
	}
	scope := strings.TrimPrefix(w.endpointID(name), "/")
	for _, who := range members {
		if found[who] != nil {
			delete(found, who)
			continue
		}
		kind, principal, _ := strings.Cut(who, ":")
		_, err := w.c.RoleAssignments.Create(ctx, scope, assignmentName(scope, principal, w.role()), armauthorization.RoleAssignmentCreateParameters{
			Properties: &armauthorization.RoleAssignmentProperties{PrincipalID: &principal, RoleDefinitionID: new(w.role()), PrincipalType: new(principalTypes[kind])}}, nil)
		if err := assigned(err, name, who); err != nil {
			return err
		}
	}
	for who, a := range found {
		_, err := w.c.RoleAssignments.Delete(ctx, scope, cmp.Or(deref(a.Name), last(deref(a.ID))), nil)
		if err := gone(failed(err, "cannot take from %s the right to call the endpoint %s", who, name)); err != nil {
			return err
		}
	}
	return nil
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
		return mlerr.Wrap(own, mlerr.NotYetVisible, "the principal %s is not known everywhere yet, or does not exist", who)
	case s != nil && s.has("RoleAssignmentUpdateNotPermitted"):
		return mlerr.Wrap(own, mlerr.InUse, "another assignment has the name that this one would have")
	}
	return own
}
