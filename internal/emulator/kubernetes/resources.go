// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"slices"
	"sync"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	nodev1 "k8s.io/api/node/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// resource is a kind of object that the API serves.
type resource struct {
	group, version, plural, singular, kind string

	cluster bool // not in a namespace
	status  bool // has the subresource
	scale   bool // has the subresource
	// generation is counted from 1: of all but the older kinds.
	generation bool
	// unconditional says that a PUT needs no resourceVersion.
	unconditional bool
	short         []string
	categories    []string
	crd           *definition // nil for what is built in
}

func (r *resource) gvk() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: r.group, Version: r.version, Kind: r.kind}
}

func (r *resource) gk() schema.GroupKind { return schema.GroupKind{Group: r.group, Kind: r.kind} }

func (r *resource) gr() schema.GroupResource {
	return schema.GroupResource{Group: r.group, Resource: r.plural}
}

func (r *resource) apiVersion() string { return r.gvk().GroupVersion().String() }

// id names the resource in the state: "pods", "deployments.apps".
func (r *resource) id() string { return r.gr().String() }

// empty makes an object of the kind.
func (r *resource) empty() runtime.Object {
	if r.crd == nil {
		if obj, err := scheme().New(r.gvk()); err == nil {
			obj.GetObjectKind().SetGroupVersionKind(r.gvk())
			return obj
		}
	}
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetGroupVersionKind(r.gvk())
	return u
}

// scheme knows the types that are built in.
var scheme = sync.OnceValue(func() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, appsv1.AddToScheme, autoscalingv1.AddToScheme, autoscalingv2.AddToScheme,
		policyv1.AddToScheme, networkingv1.AddToScheme, rbacv1.AddToScheme, discoveryv1.AddToScheme, schedulingv1.AddToScheme, nodev1.AddToScheme, storagev1.AddToScheme,
		authenticationv1.AddToScheme, authorizationv1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err) // the same types twice: a mistake in this list
		}
	}
	metav1.AddToGroupVersion(s, schema.GroupVersion{Version: "v1"})
	return s
})

// builtin are the kinds that every cluster has.
var builtin = []*resource{
	{version: "v1", plural: "namespaces", singular: "namespace", kind: "Namespace", cluster: true, status: true, unconditional: true, short: []string{"ns"}},
	{version: "v1", plural: "configmaps", singular: "configmap", kind: "ConfigMap", unconditional: true, short: []string{"cm"}},
	{version: "v1", plural: "secrets", singular: "secret", kind: "Secret", unconditional: true},
	{version: "v1", plural: "services", singular: "service", kind: "Service", status: true, unconditional: true, short: []string{"svc"}, categories: all},
	{version: "v1", plural: "serviceaccounts", singular: "serviceaccount", kind: "ServiceAccount", unconditional: true, short: []string{"sa"}},
	{version: "v1", plural: "pods", singular: "pod", kind: "Pod", status: true, generation: true, unconditional: true, short: []string{"po"}, categories: all},
	{version: "v1", plural: "events", singular: "event", kind: "Event", unconditional: true, short: []string{"ev"}},
	{version: "v1", plural: "nodes", singular: "node", kind: "Node", cluster: true, status: true, unconditional: true, short: []string{"no"}},
	{version: "v1", plural: "endpoints", singular: "endpoints", kind: "Endpoints", unconditional: true, short: []string{"ep"}},
	{version: "v1", plural: "resourcequotas", singular: "resourcequota", kind: "ResourceQuota", status: true, unconditional: true, short: []string{"quota"}},
	{version: "v1", plural: "persistentvolumeclaims", singular: "persistentvolumeclaim", kind: "PersistentVolumeClaim", status: true, unconditional: true, short: []string{"pvc"}},
	{group: "apps", version: "v1", plural: "deployments", singular: "deployment", kind: "Deployment", status: true, scale: true, generation: true, unconditional: true, short: []string{"deploy"}, categories: all},
	{group: "apps", version: "v1", plural: "replicasets", singular: "replicaset", kind: "ReplicaSet", status: true, scale: true, generation: true, unconditional: true, short: []string{"rs"}, categories: all},
	{group: "autoscaling", version: "v2", plural: "horizontalpodautoscalers", singular: "horizontalpodautoscaler", kind: "HorizontalPodAutoscaler", status: true, unconditional: true, short: []string{"hpa"}, categories: all},
	{group: "policy", version: "v1", plural: "poddisruptionbudgets", singular: "poddisruptionbudget", kind: "PodDisruptionBudget", status: true, generation: true, short: []string{"pdb"}},
	{group: "networking.k8s.io", version: "v1", plural: "networkpolicies", singular: "networkpolicy", kind: "NetworkPolicy", generation: true, unconditional: true, short: []string{"netpol"}},
	{group: "rbac.authorization.k8s.io", version: "v1", plural: "roles", singular: "role", kind: "Role", unconditional: true},
	{group: "rbac.authorization.k8s.io", version: "v1", plural: "rolebindings", singular: "rolebinding", kind: "RoleBinding", unconditional: true},
	{group: "rbac.authorization.k8s.io", version: "v1", plural: "clusterroles", singular: "clusterrole", kind: "ClusterRole", cluster: true, unconditional: true},
	{group: "rbac.authorization.k8s.io", version: "v1", plural: "clusterrolebindings", singular: "clusterrolebinding", kind: "ClusterRoleBinding", cluster: true, unconditional: true},
	{group: "discovery.k8s.io", version: "v1", plural: "endpointslices", singular: "endpointslice", kind: "EndpointSlice", generation: true, unconditional: true},
	{group: "scheduling.k8s.io", version: "v1", plural: "priorityclasses", singular: "priorityclass", kind: "PriorityClass", cluster: true, generation: true, unconditional: true, short: []string{"pc"}},
	{group: "node.k8s.io", version: "v1", plural: "runtimeclasses", singular: "runtimeclass", kind: "RuntimeClass", cluster: true},
	{group: "storage.k8s.io", version: "v1", plural: "storageclasses", singular: "storageclass", kind: "StorageClass", cluster: true, unconditional: true, short: []string{"sc"}},
}

var all = []string{"all"}

// names of the resources that controllers deal with
const (
	namespaces      = "namespaces"
	configMaps      = "configmaps"
	secrets         = "secrets"
	services        = "services"
	serviceAccounts = "serviceaccounts"
	pods            = "pods"
	claims          = "persistentvolumeclaims"
	events          = "events"
	nodes           = "nodes"
	endpoints       = "endpoints"
	quotas          = "resourcequotas"
	deployments     = "deployments.apps"
	replicaSets     = "replicasets.apps"
	autoscalers     = "horizontalpodautoscalers.autoscaling"
	budgets         = "poddisruptionbudgets.policy"
	endpointSlices  = "endpointslices.discovery.k8s.io"
	priorityClasses = "priorityclasses.scheduling.k8s.io"
	runtimeClasses  = "runtimeclasses.node.k8s.io"
	gateways        = "gateways.gateway.networking.k8s.io"
	gatewayClasses  = "gatewayclasses.gateway.networking.k8s.io"
	httpRoutes      = "httproutes.gateway.networking.k8s.io"
	referenceGrants = "referencegrants.gateway.networking.k8s.io"
	tlsPolicies     = "backendtlspolicies.gateway.networking.k8s.io"
	securityPolicy  = "securitypolicies.gateway.envoyproxy.io"
	clientPolicy    = "clienttrafficpolicies.gateway.envoyproxy.io"
	inference       = "inferenceservices.serving.kserve.io"
	certificates    = "certificates.cert-manager.io"
	runtimes        = "servingruntimes.serving.kserve.io"
	clusterRuntimes = "clusterservingruntimes.serving.kserve.io"
)

// catalog is every resource by its id.
var catalog = sync.OnceValue(func() map[string]*resource {
	m := map[string]*resource{}
	for _, r := range slices.Concat(builtin, customResources()) {
		m[r.id()] = r
	}
	return m
})

// served are the resources of this cluster, in a fixed order.
func (s *Service) served() []*resource {
	var found []*resource
	for _, r := range slices.Concat(builtin, customResources()) {
		if s.installed(r.group) {
			found = append(found, r)
		}
	}
	return found
}

func (s *Service) installed(group string) bool { return !slices.Contains(s.cluster.Missing, group) }

// find returns the resource of a path, nil where the cluster does not serve it.
func (s *Service) find(group, version, plural string) *resource {
	r := catalog()[schema.GroupResource{Group: group, Resource: plural}.String()]
	if r == nil || r.version != version || !s.installed(group) {
		return nil
	}
	return r
}
