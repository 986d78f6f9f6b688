// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"context"
	"maps"

	corev1 "k8s.io/api/core/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// setUp makes the cluster when it is first looked at.
func (w *world) setUp() error {
	var done bool
	if found, err := w.tx.Get("k8s-cluster", "made", &done); err != nil || found {
		return err
	}
	if err := w.tx.Put("k8s-cluster", "made", true); err != nil {
		return err
	}
	w.acts = true
	defer func() { w.acts = false }()
	for _, name := range []string{"default", "kube-system", "kube-public", "kube-node-lease"} {
		if err := w.ensureNamespace(name); err != nil {
			return err
		}
	}
	for _, n := range w.cluster.Nodes {
		if err := w.makeNode(n); err != nil {
			return err
		}
	}
	for name, value := range map[string]int32{"system-cluster-critical": 2000000000, "system-node-critical": 2000001000} {
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": map[string]any{"name": name}, "value": int64(value)}}
		if err := w.ensure(priorityClasses, u); err != nil {
			return err
		}
	}
	return w.drain()
}

func (w *world) ensureNamespace(name string) error {
	return w.ensure(namespaces, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
}

// ensure makes an object unless it is there.
func (w *world) ensure(id string, obj runtime.Object) error {
	r, m := catalog()[id], metaOf(obj)
	old, err := w.get(r, m.GetNamespace(), m.GetName())
	if err != nil || old != nil {
		return err
	}
	if u, ok := obj.(*unstructured.Unstructured); ok && r.crd == nil {
		data, err := u.MarshalJSON()
		if err != nil {
			return err
		}
		if obj, err = r.object(data); err != nil {
			return err
		}
	}
	r.setDefaults(obj)
	_, err = w.create(r, obj, author{})
	return err
}

func (w *world) makeNode(n node) error {
	labels := map[string]string{"kubernetes.io/hostname": n.Name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": "amd64"}
	maps.Copy(labels, n.Labels)
	capacity := corev1.ResourceList{corev1.ResourcePods: quantity.MustParse("110"), corev1.ResourceEphemeralStorage: quantity.MustParse("200Gi")}
	for name, amount := range n.Resources {
		q, err := quantity.ParseQuantity(amount)
		if err != nil {
			return err
		}
		capacity[corev1.ResourceName(name)] = q
	}
	var taints []corev1.Taint
	for _, t := range n.Taints {
		taints = append(taints, corev1.Taint{Key: t.Key, Value: t.Value, Effect: corev1.TaintEffect(t.Effect)})
	}
	now := w.stamp()
	return w.ensure(nodes, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: n.Name, Labels: labels}, Spec: corev1.NodeSpec{Taints: taints},
		Status: corev1.NodeStatus{Capacity: capacity, Allocatable: capacity, NodeInfo: corev1.NodeSystemInfo{KubeletVersion: w.cluster.Version, Architecture: "amd64", OperatingSystem: "linux", ContainerRuntimeVersion: "containerd://2.1"},
			Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.1"}, {Type: corev1.NodeHostName, Address: n.Name}},
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", Message: "kubelet is posting ready status",
				LastHeartbeatTime: now, LastTransitionTime: now}}}})
}

// EnsureNamespace makes a namespace unless it exists.
func (s *Service) EnsureNamespace(ctx context.Context, name string) error {
	return s.transact(ctx, func(w *world) error { return w.settled(func() error { return w.ensureNamespace(name) }) })
}

// EnsureGateway makes a Gateway unless it exists, and the namespace it is in: with a
// listener for HTTP and one for HTTPS, open to routes of every namespace.
func (s *Service) EnsureGateway(ctx context.Context, namespace, name string) error {
	return s.transact(ctx, func(w *world) error {
		return w.settled(func() error {
			if err := w.ensureNamespace(namespace); err != nil {
				return err
			}
			class := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": map[string]any{"name": "rehearsal"},
				"spec": map[string]any{"controllerName": gatewayController}}}
			if err := w.ensure(gatewayClasses, class); err != nil {
				return err
			}
			from := map[string]any{"namespaces": map[string]any{"from": "All"}}
			return w.ensure(gateways, &unstructured.Unstructured{Object: map[string]any{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
				"metadata": map[string]any{"name": name, "namespace": namespace},
				"spec": map[string]any{"gatewayClassName": "rehearsal", "listeners": []any{
					map[string]any{"name": "http", "port": int64(80), "protocol": "HTTP", "allowedRoutes": from},
					map[string]any{"name": "https", "port": int64(443), "protocol": "HTTPS", "allowedRoutes": from,
						"tls": map[string]any{"mode": "Terminate", "certificateRefs": []any{map[string]any{"name": "gateway-tls"}}}}}}}})
		})
	})
}

// settled acts as a controller does, so that what it makes is seen to at once.
func (w *world) settled(f func() error) error {
	w.acts = true
	defer func() { w.acts = false }()
	if err := f(); err != nil {
		return err
	}
	return w.drain()
}
