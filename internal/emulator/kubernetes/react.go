// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"strings"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
)

// relations are the lines of indices by which controllers find what belongs to what.
func relations(r *resource, obj runtime.Object) []entry {
	m := metaOf(obj)
	ns, name := m.GetNamespace(), m.GetName()
	found := []entry{{docUID, string(m.GetUID()), r.id() + "/" + key(ns, name)}}
	switch o := obj.(type) {
	case *corev1.Service:
		if pair := widest(o.Spec.Selector); pair != "" {
			found = append(found, entry{docSelect, ns + "/" + pair + "/" + services + "/" + name, true})
		}
	case *policyv1.PodDisruptionBudget:
		pair := ""
		if o.Spec.Selector != nil {
			pair = widest(o.Spec.Selector.MatchLabels)
		}
		found = append(found, entry{docSelect, ns + "/" + pair + "/" + budgets + "/" + name, true})
	case *autoscalingv2.HorizontalPodAutoscaler:
		found = append(found, entry{docTarget, ns + "/" + o.Spec.ScaleTargetRef.Kind + "/" + o.Spec.ScaleTargetRef.Name + "/" + name, true})
	case *unstructured.Unstructured:
		if r.id() == httpRoutes {
			for _, p := range items(o.Object, "spec", "parentRefs") {
				found = append(found, entry{docParent, orElse(text(p, "namespace"), ns) + "/" + text(p, "name") + "/" + key(ns, name), true})
			}
			for _, b := range backendsOf(o) {
				found = append(found, entry{docBacked, orElse(b.ns, ns) + "/" + b.name + "/" + key(ns, name), true})
			}
		}
	}
	return found
}

const docUID = "k8s-uid" // where the object of a UID is

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// widest is the pair of a selector that says most: the longest.
func widest(selector map[string]string) string {
	best := ""
	for _, k := range sortedKeys(selector) {
		if pair := k + "=" + selector[k]; len(pair) > len(best) {
			best = pair
		}
	}
	return best
}

// react tells controllers of a change. obj is nil for a removal.
func (w *world) react(r *resource, old, obj runtime.Object) error {
	is := obj
	if is == nil {
		is = old
	}
	m := metaOf(is)
	ns, name := m.GetNamespace(), m.GetName()
	var told []subject
	if c, ok := controllerOf[r.id()]; ok && (obj != nil || r.id() == services) {
		told = append(told, subject{c, ns, name})
	}
	if obj == nil {
		told = append(told, subject{"gc", "", string(m.GetUID())})
		for _, o := range m.GetOwnerReferences() {
			told = append(told, subject{"gc", "", string(o.UID)})
		}
	} else if len(m.GetOwnerReferences()) > 0 && (old == nil || len(metaOf(old).GetOwnerReferences()) != len(m.GetOwnerReferences())) {
		told = append(told, subject{"owned", r.id(), key(ns, name)})
	}
	if obj != nil && m.GetDeletionTimestamp() != nil {
		told = append(told, subject{"gc", "", string(m.GetUID())})
	}
	if owner := metav1.GetControllerOf(m); owner != nil {
		told = append(told, ownerSubject(owner, ns)...)
	}
	more, err := w.others(r, old, obj, ns, name)
	if err != nil {
		return err
	}
	for _, s := range append(told, more...) {
		if err := w.soon(s); err != nil {
			return err
		}
	}
	return w.wakeFor(r, obj, ns)
}

// controllerOf is the controller that looks after a kind.
var controllerOf = map[string]string{deployments: "deployment", replicaSets: "replicaset", pods: "pod", services: "service", autoscalers: "autoscaler", budgets: "budget",
	namespaces: "namespace", httpRoutes: "route", gateways: "gateway", gatewayClasses: "gatewayclass", securityPolicy: "policy", clientPolicy: "policy", tlsPolicies: "tlspolicy",
	inference: "inference", certificates: "certificate", claims: "claim"}

func ownerSubject(o *metav1.OwnerReference, ns string) []subject {
	switch o.Kind {
	case "ReplicaSet":
		return []subject{{"replicaset", ns, o.Name}}
	case "Deployment":
		return []subject{{"deployment", ns, o.Name}}
	case "InferenceService":
		return []subject{{"inference", ns, o.Name}}
	}
	return nil
}

// others are those that a change concerns without being owned.
func (w *world) others(r *resource, old, obj runtime.Object, ns, name string) (told []subject, err error) {
	found := func(doc, prefix, controller string, nsAndName bool) error {
		keys, err := w.tx.Keys(doc, prefix, "", 0)
		for _, k := range keys {
			rest := strings.TrimPrefix(k, prefix)
			if nsAndName {
				n, m := splitKey(rest)
				told = append(told, subject{controller, n, m})
			} else {
				told = append(told, subject{controller, ns, rest})
			}
		}
		return err
	}
	switch r.id() {
	case deployments:
		err = found(docTarget, ns+"/Deployment/"+name+"/", "autoscaler", false)
	case pods:
		told, err = w.selecting(old, obj, ns)
		if obj != nil && metaOf(obj).GetLabels()[isvcLabel] != "" {
			told = append(told, subject{"inference", ns, metaOf(obj).GetLabels()[isvcLabel]})
		}
	case services:
		err = found(docBacked, ns+"/"+name+"/", "route", true)
	case gateways:
		err = found(docParent, ns+"/"+name+"/", "route", true)
	case gatewayClasses:
		err = found(docObject+gateways, "", "gateway", true)
	case referenceGrants:
		err = found(docObject+httpRoutes, "", "route", true)
	case httpRoutes:
		err = found(docObject+securityPolicy, ns+"/", "policy", false)
	case "issuers.cert-manager.io", "clusterissuers.cert-manager.io":
		err = found(docObject+certificates, "", "certificate", true)
	case runtimes, clusterRuntimes:
		err = found(docObject+inference, "", "inference", true)
	}
	return told, err
}

// selecting are the services and budgets that select a pod, or did.
func (w *world) selecting(old, obj runtime.Object, ns string) (told []subject, err error) {
	seen := map[string]bool{}
	for _, o := range []runtime.Object{old, obj} {
		if o == nil {
			continue
		}
		pairs := []string{""}
		for k, v := range metaOf(o).GetLabels() {
			pairs = append(pairs, k+"="+v)
		}
		for _, pair := range pairs {
			prefix := ns + "/" + pair + "/"
			keys, err := w.tx.Keys(docSelect, prefix, "", 0)
			if err != nil {
				return nil, err
			}
			for _, k := range keys {
				id, name, _ := strings.Cut(strings.TrimPrefix(k, prefix), "/")
				if !seen[k] {
					seen[k] = true
					told = append(told, subject{controllerOf[id], ns, name})
				}
			}
		}
	}
	return told, nil
}

// wakeFor lets those go on that may have waited for just this.
func (w *world) wakeFor(r *resource, obj runtime.Object, ns string) error {
	switch r.id() {
	case secrets, configMaps, serviceAccounts, quotas, claims:
		return w.wake(ns)
	case priorityClasses, runtimeClasses, nodes:
		return w.wake("*")
	case namespaces:
		if obj != nil {
			return w.wake(metaOf(obj).GetName())
		}
	case pods:
		if obj == nil { // room was made
			if err := w.wake("*"); err != nil {
				return err
			}
			return w.wake(ns)
		}
	}
	return nil
}

// controllers look at one thing each, and do what it needs next.
var controllers map[string]func(w *world, ns, name string) error

func init() { //nolint:gochecknoinits // the table and the controllers refer to each other
	controllers = map[string]func(w *world, ns, name string) error{
		"deployment": reconcileDeployment, "replicaset": reconcileReplicaSet, "pod": reconcilePod, "service": reconcileService, "autoscaler": reconcileAutoscaler,
		"budget": reconcileBudget, "namespace": reconcileNamespace, "gc": collect, "owned": checkOwners, "route": reconcileRoute, "gateway": reconcileGateway,
		"gatewayclass": reconcileGatewayClass, "policy": reconcilePolicy, "tlspolicy": reconcileTLSPolicy, "inference": reconcileInference, "certificate": reconcileCertificate, "claim": reconcileClaim, "report": expire,
	}
}

func reconcile(w *world, s subject) error {
	if c := controllers[s.controller]; c != nil {
		return c(w, s.ns, s.name)
	}
	return nil
}

// matching are the pods of a namespace that have labels.
func (w *world) matching(ns string, selector labels.Selector, pairs map[string]string) ([]*corev1.Pod, error) {
	var all []*corev1.Pod
	var err error
	if pair := widest(pairs); pair != "" {
		keys, keysErr := w.tx.Keys(docLabel, ns+"/"+pair+"/", "", 0)
		if keysErr != nil {
			return nil, keysErr
		}
		for _, k := range keys {
			pod, found, err := lookup[*corev1.Pod](w, pods, ns, k[strings.LastIndexByte(k, '/')+1:])
			if err != nil {
				return nil, err
			}
			if found {
				all = append(all, pod)
			}
		}
	} else if all, err = list[*corev1.Pod](w, pods, ns); err != nil {
		return nil, err
	}
	var found []*corev1.Pod
	for _, p := range all {
		if selector.Matches(labels.Set(p.Labels)) {
			found = append(found, p)
		}
	}
	return found, nil
}

func selects(s *metav1.LabelSelector, l map[string]string) bool {
	selector, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && selector.Matches(labels.Set(l))
}

// owned are the objects of a resource that a UID owns.
func owned[T runtime.Object](w *world, id, uid string) ([]T, error) {
	keys, err := w.tx.Keys(docOwned, uid+"/"+id+"/", "", 0)
	if err != nil {
		return nil, err
	}
	return named[T](w, id, keys)
}

// newReplicaSet's owner and that of pods is a controller.
func controlledBy(apiVersion, kind string, m metav1.Object) metav1.OwnerReference {
	yes := true
	return metav1.OwnerReference{APIVersion: apiVersion, Kind: kind, Name: m.GetName(), UID: m.GetUID(), Controller: &yes, BlockOwnerDeletion: &yes}
}
