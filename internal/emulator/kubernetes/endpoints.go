// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// reconcileService writes which pods a service reaches.
func reconcileService(w *world, ns, name string) error {
	s, found, err := lookup[*corev1.Service](w, services, ns, name)
	if err != nil {
		return err
	}
	if !found {
		return w.unreach(ns, name)
	}
	if len(s.Spec.Selector) == 0 || s.DeletionTimestamp != nil {
		return nil
	}
	all, err := w.matching(ns, labels.SelectorFromSet(s.Spec.Selector), s.Spec.Selector)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(p *corev1.Pod) bool { return p.Status.PodIP == "" || finished(p) })
	slices.SortFunc(all, func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	if err := w.writeEndpoints(s, all); err != nil {
		return err
	}
	return w.writeSlice(s, all)
}

// unreach removes the endpoints of a service that is gone; its slices it owned.
func (w *world) unreach(ns, name string) error {
	r := catalog()[endpoints]
	old, err := w.get(r, ns, name)
	if err != nil || old == nil {
		return err
	}
	return w.remove(r, old)
}

// portOf is the port of a pod that a service's port leads to, 0 if it has none.
func portOf(p *corev1.ServicePort, pod *corev1.Pod) int32 {
	if p.TargetPort.Type == intstr.Int {
		return p.TargetPort.IntVal
	}
	for _, c := range pod.Spec.Containers {
		for _, at := range c.Ports {
			if at.Name == p.TargetPort.StrVal && at.Protocol == p.Protocol {
				return at.ContainerPort
			}
		}
	}
	return 0
}

func addressOf(pod *corev1.Pod) corev1.EndpointAddress {
	return corev1.EndpointAddress{IP: pod.Status.PodIP, NodeName: &pod.Spec.NodeName,
		TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}}
}

func (w *world) writeEndpoints(s *corev1.Service, all []*corev1.Pod) error {
	next := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Name: s.Name, Namespace: s.Namespace, Labels: map[string]string{}}} //nolint:staticcheck // the proxy of the API server still reads it
	maps.Copy(next.Labels, s.Labels)
	next.Labels["endpoints.kubernetes.io/managed-by"] = "endpoint-controller"
	subset := corev1.EndpointSubset{} //nolint:staticcheck // as above
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		number := int32(0)
		for _, pod := range all {
			number = max(number, portOf(p, pod))
		}
		if number > 0 {
			subset.Ports = append(subset.Ports, corev1.EndpointPort{Name: p.Name, Port: number, Protocol: p.Protocol, AppProtocol: p.AppProtocol})
		}
	}
	for _, pod := range all {
		if ready(pod) && pod.DeletionTimestamp == nil {
			subset.Addresses = append(subset.Addresses, addressOf(pod))
		} else if pod.DeletionTimestamp == nil {
			subset.NotReadyAddresses = append(subset.NotReadyAddresses, addressOf(pod))
		}
	}
	if len(subset.Ports) > 0 && len(subset.Addresses)+len(subset.NotReadyAddresses) > 0 {
		next.Subsets = []corev1.EndpointSubset{subset} //nolint:staticcheck // as above
	}
	return w.replace(endpoints, next, s)
}

func (w *world) writeSlice(s *corev1.Service, all []*corev1.Pod) error {
	next := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: s.Name + "-" + string(s.UID)[:5], Namespace: s.Namespace, GenerateName: s.Name + "-",
		Labels:          map[string]string{discoveryv1.LabelServiceName: s.Name, discoveryv1.LabelManagedBy: "endpointslice-controller.k8s.io"},
		OwnerReferences: []metav1.OwnerReference{controlledBy("v1", "Service", s)}}, AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{}}
	maps.Copy(next.Labels, s.Labels)
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		number := int32(0)
		for _, pod := range all {
			number = max(number, portOf(p, pod))
		}
		if number > 0 {
			next.Ports = append(next.Ports, discoveryv1.EndpointPort{Name: &p.Name, Port: &number, Protocol: &p.Protocol, AppProtocol: p.AppProtocol})
		}
	}
	for _, pod := range all {
		terminating := pod.DeletionTimestamp != nil
		serving := ready(pod)
		isReady := serving && !terminating
		address := addressOf(pod)
		next.Endpoints = append(next.Endpoints, discoveryv1.Endpoint{Addresses: []string{address.IP}, NodeName: address.NodeName, TargetRef: address.TargetRef,
			Conditions: discoveryv1.EndpointConditions{Ready: &isReady, Serving: &serving, Terminating: &terminating}})
	}
	return w.replace(endpointSlices, next, s)
}

// replace writes an object that a controller keeps for another.
func (w *world) replace(id string, next runtime.Object, s *corev1.Service) error {
	r, m := catalog()[id], metaOf(next)
	if id == endpoints {
		m.SetOwnerReferences(nil)
	}
	old, err := w.get(r, s.Namespace, m.GetName())
	if err != nil {
		return err
	}
	r.setDefaults(next)
	if old == nil {
		m.SetUID(newUID())
		m.SetCreationTimestamp(w.stamp())
		if r.generation {
			m.SetGeneration(1)
		}
		return w.put(r, nil, next)
	}
	om := metaOf(old)
	m.SetUID(om.GetUID())
	m.SetCreationTimestamp(om.GetCreationTimestamp())
	m.SetResourceVersion(om.GetResourceVersion())
	m.SetGeneration(om.GetGeneration())
	next.GetObjectKind().SetGroupVersionKind(r.gvk())
	if unchanged(old, next) {
		return nil
	}
	if r.generation {
		m.SetGeneration(om.GetGeneration() + 1)
	}
	return w.put(r, old, next)
}

// reached are the pods that answer for a service, and the port at which.
func (w *world) reached(ns, name, port string) (ready1 []*corev1.Pod, number int32, err error) {
	s, found, err := lookup[*corev1.Service](w, services, ns, name)
	if err != nil {
		return nil, 0, err
	}
	if !found {
		return nil, 0, errNoService
	}
	var at *corev1.ServicePort
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		if port == p.Name || port == fmt.Sprint(p.Port) || port == "" && (len(s.Spec.Ports) == 1 && p.Name == "") {
			at = p
		}
	}
	if at == nil {
		return nil, 0, errNoPort
	}
	all, err := w.matching(ns, labels.SelectorFromSet(s.Spec.Selector), s.Spec.Selector)
	if err != nil || len(s.Spec.Selector) == 0 {
		return nil, 0, err
	}
	for _, p := range all {
		if ready(p) && p.DeletionTimestamp == nil && portOf(at, p) != 0 {
			ready1, number = append(ready1, p), portOf(at, p)
		}
	}
	slices.SortFunc(ready1, func(a, b *corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return ready1, number, nil
}
