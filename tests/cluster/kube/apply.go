// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
)

// Apply creates or changes objects, by server-side apply as the manager "ml-test". A
// manifest is YAML or JSON of any number of objects; those that name no namespace go
// to ns. Definitions of resources are in force when it returns.
func (c *Cluster) Apply(ctx context.Context, ns string, manifests ...string) error {
	for _, manifest := range manifests {
		objects, err := decode(manifest)
		if err != nil {
			return err
		}
		for _, o := range objects {
			if err := c.apply(ctx, ns, o); err != nil {
				return fmt.Errorf("applying %s %s: %w", o.GetKind(), o.GetName(), err)
			}
		}
	}
	return nil
}

func decode(manifest string) (all []*unstructured.Unstructured, err error) {
	documents := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 4096)
	for {
		o := &unstructured.Unstructured{}
		err := documents.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		if len(o.Object) > 0 { // a document may be empty, or a comment
			all = append(all, o)
		}
	}
}

func (c *Cluster) apply(ctx context.Context, ns string, o *unstructured.Unstructured) error {
	to, err := c.resource(o, ns)
	if err != nil {
		return err
	}
	if _, err = to.Apply(ctx, o.GetName(), o, metav1.ApplyOptions{FieldManager: "ml-test", Force: true}); err != nil {
		return err
	}
	if o.GetKind() != "CustomResourceDefinition" {
		return nil
	}
	return eventually(ctx, time.Minute, "the definition to be in force", func(ctx context.Context) error {
		now, err := to.Get(ctx, o.GetName(), metav1.GetOptions{})
		if err != nil {
			return err
		}
		return Condition(now, "Established")
	})
}

// Condition returns nil when status.conditions of an object has this one with status
// True, and else an error that tells what it has.
func Condition(o *unstructured.Unstructured, name string) error {
	conditions, _, err := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, condition := range conditions {
		if m, ok := condition.(map[string]any); ok && m["type"] == name && m["status"] == "True" {
			return nil
		}
	}
	return errors.Join(err, fmt.Errorf("%s is not True: %v", name, conditions))
}

// resource is the client for an object's kind, in its namespace or else in ns.
func (c *Cluster) resource(o *unstructured.Unstructured, ns string) (dynamic.ResourceInterface, error) {
	kind := o.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		c.mapper.Reset() // it may have been defined a moment ago
		mapping, err = c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	}
	if err != nil {
		return nil, err
	}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return c.dynamic.Resource(mapping.Resource), nil
	}
	if o.GetNamespace() != "" {
		ns = o.GetNamespace()
	}
	o.SetNamespace(ns)
	return c.dynamic.Resource(mapping.Resource).Namespace(ns), nil
}

// Rollout waits until a Deployment runs what it was last told to, and only that.
func (c *Cluster) Rollout(ctx context.Context, ns, name string) error {
	return eventually(ctx, 3*time.Minute, "the rollout of "+name, func(ctx context.Context) error {
		d, err := c.client.AppsV1().Deployments(ns).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		s, want := d.Status, *d.Spec.Replicas
		if s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == want && s.Replicas == want && s.AvailableReplicas == want {
			return nil
		}
		return fmt.Errorf("of %d replicas there are %d, %d updated and %d available", want, s.Replicas, s.UpdatedReplicas, s.AvailableReplicas)
	})
}

// Devices lets the node say that it has n devices, such as "nvidia.com/gpu", so that
// pods which ask for them find a place. The devices are not there.
func (c *Cluster) Devices(t *testing.T, resource string, n int) {
	t.Helper()
	if !c.Own() {
		t.Skip("not installed: devices; only a cluster of the tests' own claims any")
	}
	patch := fmt.Sprintf(`{"status": {"capacity": {%[1]q: "%[2]d"}, "allocatable": {%[1]q: "%[2]d"}}}`, resource, n)
	if _, err := c.client.CoreV1().Nodes().Patch(t.Context(), nodeName, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
}

// PodReady waits until a pod is ready.
func (c *Cluster) PodReady(ctx context.Context, ns, name string) error {
	return eventually(ctx, 2*time.Minute, "pod "+name+" to be ready", func(ctx context.Context) error {
		p, err := c.client.CoreV1().Pods(ns).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if !isReady(*p) {
			return fmt.Errorf("it is %s", p.Status.Phase)
		}
		return nil
	})
}
