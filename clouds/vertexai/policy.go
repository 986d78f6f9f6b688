// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"sort"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// invokerRole is the smallest predefined role that may send predictions.
const invokerRole = "roles/aiplatform.user"

// policyVersion is the one with conditions, without which a policy that has some
// would be damaged.
const policyVersion = "3"

func (r *region) policy(ctx context.Context, name string) (*iamPolicy, error) {
	var p iamPolicy
	err := r.do(ctx, call{name: "endpoints.getIamPolicy", doing: "read the policy of the endpoint " + name, version: v1beta1, method: http.MethodPost, reads: true,
		path: r.endpoint(name) + ":getIamPolicy", query: url.Values{"options.requestedPolicyVersion": {policyVersion}}, out: &p})
	return &p, err
}

// binding finds the one that is ours to manage: of the role, without a condition.
func (p *iamPolicy) binding() int {
	return slices.IndexFunc(p.Bindings, func(b iamBinding) bool { return b.Role == invokerRole && len(b.Condition) == 0 })
}

// observedInvokers are those that the endpoint's own policy lets call. It is read
// where we have set it, and where nobody has told yet.
func (r *region) observedInvokers(ctx context.Context, name string, e *wireEndpoint, owned bool, known *driver.EndpointState) ([]string, error) {
	if e.Labels[labelInvokers] == "" && (owned || known != nil && len(known.Settings.Auth.Invokers) == 0) {
		return nil, nil
	}
	p, err := r.policy(ctx, name)
	if mlerr.Is(err, mlerr.PermissionDenied) && e.Labels[labelInvokers] == "" {
		return nil, nil // whoever wants to set it is told
	}
	if err != nil {
		return nil, err
	}
	i := p.binding()
	if i < 0 || len(p.Bindings[i].Members) == 0 {
		return nil, nil
	}
	members := slices.Clone(p.Bindings[i].Members)
	sort.Strings(members)
	return members, nil
}

// setInvokers changes our binding, and nothing else of the policy.
func (r *region) setInvokers(ctx context.Context, name string, members []string) error {
	p, err := r.policy(ctx, name)
	if err != nil {
		return err
	}
	i := p.binding()
	switch {
	case i < 0 && len(members) == 0:
		return nil
	case i < 0:
		p.Bindings = append(p.Bindings, iamBinding{Role: invokerRole, Members: members})
	case len(members) == 0:
		p.Bindings = slices.Delete(p.Bindings, i, i+1)
	default:
		p.Bindings[i].Members = members
	}
	return r.do(ctx, call{name: "endpoints.setIamPolicy", doing: "set the policy of the endpoint " + name, version: v1beta1, method: http.MethodPost,
		path: r.endpoint(name) + ":setIamPolicy", in: map[string]any{"policy": p}})
}
