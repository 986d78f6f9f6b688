// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// gatewayController looks after every gateway here.
const gatewayController = "gateway.envoyproxy.io/gatewayclass-controller"

// gatewayWriter is how the gateway's controller writes.
var gatewayWriter = author{manager: "envoy-gateway", subresource: "status"}

// conditionsOf makes conditions, keeping the times of those that do not change.
func (w *world) conditionsOf(old []map[string]any, generation int64, all ...metav1.Condition) []any {
	found := make([]any, 0, len(all))
	for _, c := range all {
		c.ObservedGeneration, c.LastTransitionTime = generation, w.stamp()
		for _, o := range old {
			if text(o, "type") == c.Type && text(o, "status") == string(c.Status) {
				if t, err := time.Parse(time.RFC3339, text(o, "lastTransitionTime")); err == nil {
					c.LastTransitionTime = metav1.Time{Time: t}
				}
			}
		}
		data, _ := json.Marshal(c) // plain data
		var m map[string]any
		_ = json.Unmarshal(data, &m) // what was just written
		m["observedGeneration"] = generation
		found = append(found, m)
	}
	return found
}

func yes(kind, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionTrue, Reason: reason, Message: message}
}

func no(kind, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: message}
}

// report writes a status if it says something new.
func (w *world) report(id string, u *unstructured.Unstructured, status map[string]any, by author) error {
	if reflect.DeepEqual(u.Object["status"], any(status)) {
		return nil
	}
	u.Object["status"] = status
	return w.save(id, u, by)
}

// gatewayFeatures are those of the Gateway API that the gateway here has, sorted.
var gatewayFeatures = []string{"Gateway", "HTTPRoute", "HTTPRoutePathRewrite", "HTTPRouteRequestMirror", "HTTPRouteRequestPercentageMirror", "HTTPRouteRequestTimeout"}

func reconcileGatewayClass(w *world, _, name string) error {
	u, found, err := lookup[*unstructured.Unstructured](w, gatewayClasses, "", name)
	if err != nil || !found {
		return err
	}
	features := make([]any, len(gatewayFeatures))
	for i, feature := range gatewayFeatures {
		features[i] = map[string]any{"name": feature}
	}
	return w.report(gatewayClasses, u, map[string]any{"supportedFeatures": features,
		"conditions": w.conditionsOf(items(u.Object, "status", "conditions"), u.GetGeneration(), yes("Accepted", "Accepted", "Valid GatewayClass"))}, gatewayWriter)
}

func reconcileGateway(w *world, ns, name string) error {
	u, found, err := lookup[*unstructured.Unstructured](w, gateways, ns, name)
	if err != nil || !found {
		return err
	}
	if _, found, err = lookup[*unstructured.Unstructured](w, gatewayClasses, "", text(u.Object, "spec", "gatewayClassName")); err != nil || !found {
		return err // nobody looks after it
	}
	attached, err := w.tx.Keys(docParent, key(ns, name)+"/", "", 0)
	if err != nil {
		return err
	}
	before := items(u.Object, "status", "listeners")
	var listeners []any
	for i, l := range items(u.Object, "spec", "listeners") {
		var old []map[string]any
		if i < len(before) {
			old = items(before[i], "conditions")
		}
		kinds := []any{map[string]any{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"}}
		listeners = append(listeners, map[string]any{"name": text(l, "name"), "attachedRoutes": int64(len(attached)), "supportedKinds": kinds,
			"conditions": w.conditionsOf(old, u.GetGeneration(), yes("Programmed", "Programmed", "Sending translated listener configuration to the data plane"), yes("Accepted", "Accepted", "Listener has been successfully translated"),
				yes("ResolvedRefs", "ResolvedRefs", "Listener references have been resolved"))})
	}
	return w.report(gateways, u, map[string]any{"addresses": []any{map[string]any{"type": "IPAddress", "value": "127.0.0.1"}}, "listeners": listeners,
		"conditions": w.conditionsOf(items(u.Object, "status", "conditions"), u.GetGeneration(), yes("Accepted", "Accepted", "The Gateway has been scheduled by Envoy Gateway"),
			yes("Programmed", "Programmed", "Address assigned to the Gateway, 1/1 envoy replicas available"))}, gatewayWriter)
}

// backend is where a route sends requests.
type backend struct {
	ns, name    string
	group, kind string
	port        int64
	weight      int64
	mirror      int64 // percent that are copied to it; -1 for what gets the answer
}

// backendsOf are all backends of a route.
func backendsOf(u *unstructured.Unstructured) []backend {
	var found []backend
	for _, r := range items(u.Object, "spec", "rules") {
		found = append(found, backendsOfRule(r)...)
	}
	return found
}

func backendsOfRule(r map[string]any) []backend {
	var found []backend
	for _, b := range items(r, "backendRefs") {
		weight, ok := number(b, "weight")
		if !ok {
			weight = 1
		}
		found = append(found, newBackend(b, weight, -1))
	}
	for _, f := range items(r, "filters") {
		m := nested(f, "requestMirror")
		if m == nil {
			continue
		}
		percent := int64(100)
		if n, ok := number(m, "percent"); ok {
			percent = n
		} else if n, ok := number(m, "fraction", "numerator"); ok {
			of := int64(100)
			if d, ok := number(m, "fraction", "denominator"); ok {
				of = d
			}
			percent = n * 100 / of
		}
		found = append(found, newBackend(nested(m, "backendRef"), 0, percent))
	}
	return found
}

func newBackend(b map[string]any, weight, mirror int64) backend {
	port, _ := number(b, "port")
	return backend{ns: text(b, "namespace"), name: text(b, "name"), group: text(b, "group"), kind: orElse(text(b, "kind"), "Service"), port: port, weight: weight, mirror: mirror}
}

func reconcileRoute(w *world, ns, name string) error {
	u, found, err := lookup[*unstructured.Unstructured](w, httpRoutes, ns, name)
	if err != nil || !found {
		return err
	}
	resolved, err := w.resolve(u)
	if err != nil {
		return err
	}
	before := items(u.Object, "status", "parents")
	parents := []any{}
	for _, p := range items(u.Object, "spec", "parentRefs") {
		g, found, err := lookup[*unstructured.Unstructured](w, gateways, orElse(text(p, "namespace"), ns), text(p, "name"))
		if err != nil {
			return err
		}
		if !found || orElse(text(p, "kind"), "Gateway") != "Gateway" {
			continue // no controller serves it, so nobody writes a status
		}
		accepted, err := w.accept(u, p, g)
		if err != nil {
			return err
		}
		var old []map[string]any
		for _, b := range before {
			if reflect.DeepEqual(b["parentRef"], any(p)) {
				old = items(b, "conditions")
			}
		}
		parents = append(parents, map[string]any{"parentRef": p, "controllerName": gatewayController, "conditions": w.conditionsOf(old, u.GetGeneration(), accepted, resolved)})
	}
	if len(parents) == 0 && u.Object["status"] == nil {
		return nil
	}
	if err := w.report(httpRoutes, u, map[string]any{"parents": parents}, gatewayWriter); err != nil {
		return err
	}
	for _, p := range items(u.Object, "spec", "parentRefs") {
		if err := w.soon(subject{"gateway", orElse(text(p, "namespace"), ns), text(p, "name")}); err != nil {
			return err
		}
	}
	return nil
}

// accept says whether a gateway takes a route.
func (w *world) accept(u *unstructured.Unstructured, parent map[string]any, gateway *unstructured.Unstructured) (metav1.Condition, error) {
	section := text(parent, "sectionName")
	port, hasPort := number(parent, "port")
	hostnames, _, _ := unstructured.NestedStringSlice(u.Object, "spec", "hostnames")
	matched, allowed, hosted := false, false, false
	for _, l := range items(gateway.Object, "spec", "listeners") {
		if at, _ := number(l, "port"); section != "" && text(l, "name") != section || hasPort && at != port {
			continue
		}
		matched = true
		ok, err := w.allows(l, u.GetNamespace(), gateway.GetNamespace())
		if err != nil {
			return metav1.Condition{}, err
		}
		if !ok {
			continue
		}
		allowed = true
		if len(hostnames) == 0 || slices.ContainsFunc(hostnames, func(h string) bool { return covers(text(l, "hostname"), h) }) {
			hosted = true
		}
	}
	switch {
	case !matched:
		return no("Accepted", "NoMatchingParent", "No listeners match this parent ref"), nil
	case !allowed:
		return no("Accepted", "NotAllowedByListeners", "No listeners included by this parent ref allowed this attachment."), nil
	case !hosted:
		return no("Accepted", "NoMatchingListenerHostname", "There were no hostname intersections between the HTTPRoute and this parent ref's Listener(s)."), nil
	}
	return yes("Accepted", "Accepted", "Route is accepted"), nil
}

// covers reports whether a listener's host name stands for a route's.
func covers(listener, route string) bool {
	switch {
	case listener == "" || listener == route:
		return true
	case strings.HasPrefix(listener, "*."):
		return strings.HasSuffix(route, listener[1:]) || route == listener
	case strings.HasPrefix(route, "*."):
		return strings.HasSuffix(listener, route[1:])
	}
	return false
}

// allows reports whether a listener takes routes of a namespace.
func (w *world) allows(listener map[string]any, ns, gatewayNamespace string) (bool, error) {
	from := nested(listener, "allowedRoutes", "namespaces")
	switch orElse(text(from, "from"), "Same") {
	case "All":
		return true, nil
	case "Same":
		return ns == gatewayNamespace, nil
	}
	of, found, err := lookup[*corev1.Namespace](w, namespaces, "", ns)
	if err != nil || !found {
		return false, err
	}
	var selector metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(nested(from, "selector"), &selector); err != nil {
		return false, err
	}
	return selects(&selector, of.Labels), nil
}

// resolve says whether all backends of a route are there and may be used.
func (w *world) resolve(u *unstructured.Unstructured) (metav1.Condition, error) {
	for _, b := range backendsOf(u) {
		ns := orElse(b.ns, u.GetNamespace())
		if b.group != "" || b.kind != "Service" {
			return no("ResolvedRefs", "InvalidKind", fmt.Sprintf("Group is invalid, only the core API group (specified by omitting the group field or setting it to an empty string) and kind Service are supported, got %s/%s", b.group, b.kind)), nil
		}
		if ns != u.GetNamespace() {
			granted, err := w.granted(u.GetNamespace(), ns, b.name)
			if err != nil {
				return metav1.Condition{}, err
			}
			if !granted {
				return no("ResolvedRefs", "RefNotPermitted", fmt.Sprintf("Backend ref to Service %s/%s not permitted by any ReferenceGrant.", ns, b.name)), nil
			}
		}
		s, found, err := lookup[*corev1.Service](w, services, ns, b.name)
		if err != nil {
			return metav1.Condition{}, err
		}
		if !found {
			return no("ResolvedRefs", "BackendNotFound", fmt.Sprintf("Service %s/%s not found", ns, b.name)), nil
		}
		if !slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return int64(p.Port) == b.port }) {
			return no("ResolvedRefs", "PortNotFound", fmt.Sprintf("TCP Port %d not found on Service %s/%s", b.port, ns, b.name)), nil
		}
	}
	return yes("ResolvedRefs", "ResolvedRefs", "Resolved all the Object references for the Route"), nil
}

func (w *world) granted(from, to, service string) (bool, error) {
	all, err := list[*unstructured.Unstructured](w, referenceGrants, to)
	if err != nil {
		return false, err
	}
	for _, g := range all {
		var gives, takes bool
		for _, f := range items(g.Object, "spec", "from") {
			gives = gives || text(f, "kind") == "HTTPRoute" && text(f, "namespace") == from
		}
		for _, t := range items(g.Object, "spec", "to") {
			takes = takes || text(t, "kind") == "Service" && (text(t, "name") == "" || text(t, "name") == service)
		}
		if gives && takes {
			return true, nil
		}
	}
	return false, nil
}
