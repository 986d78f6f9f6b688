// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// object is a Kubernetes object, of whatever kind.
type object = unstructured.Unstructured

// kind is one kind of object that endpoints and models are made of.
type kind struct {
	gvr     schema.GroupVersionResource
	name    string // "Deployment"
	cluster bool   // not in a namespace
	needs   string // what must be installed for it; "" for what every cluster has
}

func builtin(group, version, resource, name string) *kind {
	return &kind{gvr: schema.GroupVersionResource{Group: group, Version: version, Resource: resource}, name: name}
}

func extension(group, version, resource, name, needs string) *kind {
	k := builtin(group, version, resource, name)
	k.needs = needs
	return k
}

// The kinds.
var (
	configMaps      = builtin("", "v1", "configmaps", "ConfigMap")
	secrets         = builtin("", "v1", "secrets", "Secret")
	services        = builtin("", "v1", "services", "Service")
	serviceAccounts = builtin("", "v1", "serviceaccounts", "ServiceAccount")
	pods            = builtin("", "v1", "pods", "Pod")
	events          = builtin("", "v1", "events", "Event")
	namespaces      = &kind{gvr: schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}, name: "Namespace", cluster: true}
	deployments     = builtin("apps", "v1", "deployments", "Deployment")
	autoscalers     = builtin("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
	budgets         = builtin("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
	networkPolicies = builtin("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
	roles           = builtin("rbac.authorization.k8s.io", "v1", "roles", "Role")
	roleBindings    = builtin("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
	clusterBindings = &kind{gvr: schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: "clusterrolebindings"},
		name: "ClusterRoleBinding", cluster: true}
	gatewayKind       = extension("gateway.networking.k8s.io", "v1", "gateways", "Gateway", "Gateway API")
	gatewayClasses    = &kind{gvr: schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gatewayclasses"}, name: "GatewayClass", cluster: true}
	routes            = extension("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute", "Gateway API")
	inferenceServices = extension("serving.kserve.io", "v1beta1", "inferenceservices", "InferenceService", "KServe")
	certificates      = extension("cert-manager.io", "v1", "certificates", "Certificate", "cert-manager")
	securityPolicies  = extension("gateway.envoyproxy.io", "v1alpha1", "securitypolicies", "SecurityPolicy", "Envoy Gateway")
)

// kinds are all of which an endpoint can have objects, by name.
var kinds = func() map[string]*kind {
	all := map[string]*kind{}
	for _, k := range []*kind{configMaps, secrets, services, serviceAccounts, deployments, autoscalers, budgets, networkPolicies, roles, roleBindings,
		clusterBindings, routes, inferenceServices, certificates, securityPolicies} {
		all[k.name] = k
	}
	return all
}()

func (k *kind) apiVersion() string { return k.gvr.GroupVersion().String() }

// fieldManager owns the fields that we apply; handover is the owner of a replica
// count between us and an autoscaler.
const (
	fieldManager = "terraform-provider-ml"
	handover     = "terraform-provider-ml-handover"
)

func (a *api) of(k *kind, namespace string) dynamic.ResourceInterface {
	if k.cluster {
		return a.client.Resource(k.gvr)
	}
	return a.client.Resource(k.gvr).Namespace(namespace)
}

// get reads one object. Absent is NotFound.
func (a *api) get(ctx context.Context, k *kind, namespace, name string) (*object, error) {
	o, err := a.of(k, namespace).Get(ctx, name, metav1.GetOptions{})
	return o, failed(err, "read the %s %s", k.name, name)
}

// list reads all objects of a kind with those labels.
func (a *api) list(ctx context.Context, k *kind, namespace, selector string) ([]object, error) {
	var all []object
	options := metav1.ListOptions{LabelSelector: selector, Limit: 500}
	for {
		page, err := a.of(k, namespace).List(ctx, options)
		if err != nil {
			return nil, failed(err, "list %s in %s", k.gvr.Resource, namespace)
		}
		all = append(all, page.Items...)
		if options.Continue = page.GetContinue(); options.Continue == "" {
			return all, nil
		}
	}
}

// create makes an object that is not there. One that is, also on its way out, is
// AlreadyExists.
func (a *api) create(ctx context.Context, k *kind, o *object) (*object, error) {
	made, err := a.of(k, o.GetNamespace()).Create(ctx, o, metav1.CreateOptions{FieldManager: fieldManager, FieldValidation: metav1.FieldValidationStrict})
	return made, failed(err, "create the %s %s", k.name, o.GetName())
}

// update replaces an object that nobody has changed since it was read; otherwise
// Conflict.
func (a *api) update(ctx context.Context, k *kind, o *object) (*object, error) {
	made, err := a.of(k, o.GetNamespace()).Update(ctx, o, metav1.UpdateOptions{FieldManager: fieldManager, FieldValidation: metav1.FieldValidationStrict})
	return made, failed(err, "update the %s %s", k.name, o.GetName())
}

// apply makes the fields of an object what o says, whoever owned them before. An
// object that is on its way out is Busy: the API server would accept the change and
// then delete it.
func (a *api) apply(ctx context.Context, k *kind, o *object) (*object, error) {
	return a.applyAs(ctx, fieldManager, k, o)
}

func (a *api) applyAs(ctx context.Context, manager string, k *kind, o *object) (*object, error) {
	made, err := a.patch(ctx, k, o, metav1.PatchOptions{FieldManager: manager})
	if err != nil {
		return nil, err
	}
	if made.GetDeletionTimestamp() != nil {
		return nil, mlerr.New(mlerr.Busy, "the %s %s is still being deleted", k.name, o.GetName())
	}
	return made, nil
}

// dryRun is apply that changes nothing.
func (a *api) dryRun(ctx context.Context, k *kind, o *object) error {
	_, err := a.patch(ctx, k, o, metav1.PatchOptions{FieldManager: fieldManager, DryRun: []string{metav1.DryRunAll}})
	return err
}

// patch is a server-side apply. The dynamic client's own does not know validation.
func (a *api) patch(ctx context.Context, k *kind, o *object, options metav1.PatchOptions) (*object, error) {
	data, err := o.MarshalJSON()
	if err != nil {
		return nil, err
	}
	options.Force, options.FieldValidation = new(true), metav1.FieldValidationStrict
	made, err := a.of(k, o.GetNamespace()).Patch(ctx, o.GetName(), types.ApplyPatchType, data, options)
	return made, failed(err, "apply the %s %s", k.name, o.GetName())
}

// hand sets a Deployment's replica count as nobody's in particular: the autoscaler
// takes it over, and what we apply without it does not take it back. Through the
// scale the count would have no owner, and fall back to one with the next apply.
func (a *api) hand(ctx context.Context, namespace, name string, replicas int) error {
	o := with(newObject(deployments, namespace, name), map[string]any{"spec": map[string]any{"replicas": replicas}})
	_, err := a.applyAs(ctx, handover, deployments, o)
	return err
}

// remove deletes exactly the object that was read. Absent is success.
func (a *api) remove(ctx context.Context, k *kind, o *object) error {
	return a.removeBy(ctx, metav1.DeletePropagationBackground, k, o)
}

// removeWhole deletes what an object owns before it: it is seen until that is gone.
func (a *api) removeWhole(ctx context.Context, k *kind, o *object) error {
	return a.removeBy(ctx, metav1.DeletePropagationForeground, k, o)
}

func (a *api) removeBy(ctx context.Context, policy metav1.DeletionPropagation, k *kind, o *object) error {
	uid := o.GetUID()
	err := a.of(k, o.GetNamespace()).Delete(ctx, o.GetName(), metav1.DeleteOptions{PropagationPolicy: &policy, Preconditions: &metav1.Preconditions{UID: &uid}})
	if apierrors.IsConflict(err) { // another one of that name, made since
		return nil
	}
	return gone(failed(err, "delete the %s %s", k.name, o.GetName()))
}

// gone makes the absence of a thing that was to be removed a success.
func gone(err error) error {
	if mlerr.Is(err, mlerr.NotFound) {
		return nil
	}
	return err
}

// newObject is an object with nothing but its name.
func newObject(k *kind, namespace, name string) *object {
	o := &object{Object: map[string]any{"apiVersion": k.apiVersion(), "kind": k.name}}
	o.SetName(name)
	if !k.cluster {
		o.SetNamespace(namespace)
	}
	return o
}

// with sets members of an object from plain data, whose JSON form is what is sent:
// empty members of typed structs are left out, not applied as empty.
func with(o *object, members map[string]any) *object {
	for _, name := range slices.Sorted(maps.Keys(members)) {
		o.Object[name] = plain(members[name])
	}
	return o
}

// plain is the JSON form of v, with members that are null left out.
func plain(v any) any {
	data, err := json.Marshal(v)
	if err != nil {
		panic("only plain data is sent: " + err.Error())
	}
	var out any
	if err := json.Unmarshal(data, &out); err != nil {
		panic("only plain data is sent: " + err.Error())
	}
	return withoutNull(out)
}

func withoutNull(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if member = withoutNull(member); member == nil {
				delete(v, name)
			} else {
				v[name] = member
			}
		}
	case []any:
		for i := range v {
			v[i] = withoutNull(v[i])
		}
	case float64:
		if n := int64(v); float64(n) == v {
			return n // as unstructured content has whole numbers
		}
	}
	return v
}
