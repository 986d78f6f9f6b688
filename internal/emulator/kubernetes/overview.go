// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"cmp"
	"context"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
)

// Overview is what a person wants to see at a glance.
type Overview struct {
	Workloads []Workload
	Models    []Model
}

// Workload is a Deployment, of an endpoint or of anybody else.
type Workload struct {
	Namespace, Name, Endpoint, Deployment string
	Model, Version, State, Reason         string
	Ready, Desired, Served                int
	Routes                                []Share
	Pods                                  []PodOverview
}

// Share is how much of a route's requests a workload gets.
type Share struct {
	Host   string
	Weight int64 // percent
	Mirror bool
}

// PodOverview is one pod.
type PodOverview struct{ Name, Node, State string }

// Model is a version in the registry of ConfigMaps.
type Model struct{ Namespace, Name, Version, Digest string }

// Overview reads all namespaces.
func (s *Service) Overview(ctx context.Context) (*Overview, error) {
	o := &Overview{}
	err := s.transact(ctx, func(w *world) error {
		all, err := list[*appsv1.Deployment](w, deployments, "")
		if err != nil {
			return err
		}
		shares, err := w.shares()
		if err != nil {
			return err
		}
		for _, d := range all {
			v, err := w.view(d, shares)
			if err != nil {
				return err
			}
			o.Workloads = append(o.Workloads, v)
		}
		maps, err := list[*corev1.ConfigMap](w, configMaps, "")
		for _, c := range maps {
			if c.Labels["ml.terraform.io/kind"] == "model-version" {
				o.Models = append(o.Models, Model{c.Namespace, c.Labels["ml.terraform.io/model"], orElse(c.Labels["ml.terraform.io/model-version"], c.Labels["ml.terraform.io/version"]), c.Annotations["ml.terraform.io/digest"]})
			}
		}
		return err
	})
	return o, err
}

func (w *world) view(d *appsv1.Deployment, shares map[string][]Share) (Workload, error) {
	t := d.Spec.Template.Labels
	v := Workload{Namespace: d.Namespace, Name: d.Name, Endpoint: t["ml.terraform.io/endpoint"], Deployment: t["ml.terraform.io/deployment"], Model: t["ml.terraform.io/model"], Version: t["ml.terraform.io/model-version"],
		Ready: int(d.Status.AvailableReplicas), Desired: int(*d.Spec.Replicas), State: "progressing"}
	for _, c := range d.Status.Conditions {
		switch {
		case c.Type == appsv1.DeploymentReplicaFailure || c.Type == appsv1.DeploymentProgressing && c.Status == corev1.ConditionFalse:
			v.State, v.Reason = "failed", c.Message
		case c.Type == appsv1.DeploymentProgressing && c.Reason == "NewReplicaSetAvailable" && v.State != "failed":
			v.State = "ready"
		}
	}
	all, err := w.matching(d.Namespace, labels.SelectorFromSet(d.Spec.Selector.MatchLabels), d.Spec.Selector.MatchLabels)
	if err != nil {
		return v, err
	}
	for _, p := range all {
		v.Pods = append(v.Pods, PodOverview{p.Name, p.Spec.NodeName, podReason(p)})
	}
	if _, err := w.tx.Get(docServed, string(d.UID), &v.Served); err != nil {
		return v, err
	}
	names, err := w.frontsOf(d)
	for _, name := range names {
		v.Routes = append(v.Routes, shares[key(d.Namespace, name)]...)
	}
	slices.SortFunc(v.Routes, func(a, b Share) int { return cmp.Compare(a.Host, b.Host) })
	return v, err
}

// frontsOf are the services in front of a deployment's pods.
func (w *world) frontsOf(d *appsv1.Deployment) ([]string, error) {
	all, err := list[*corev1.Service](w, services, d.Namespace)
	var names []string
	for _, s := range all {
		if len(s.Spec.Selector) > 0 && labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(d.Spec.Template.Labels)) {
			names = append(names, s.Name)
		}
	}
	return names, err
}

// shares are what services get of routes.
func (w *world) shares() (map[string][]Share, error) {
	all, err := list[*unstructured.Unstructured](w, httpRoutes, "")
	if err != nil {
		return nil, err
	}
	found := map[string][]Share{}
	for _, u := range all {
		host := u.GetName()
		if names, _, _ := unstructured.NestedStringSlice(u.Object, "spec", "hostnames"); len(names) > 0 {
			host = names[0]
		}
		backends := backendsOf(u)
		total := int64(0)
		for _, b := range backends {
			total += b.weight
		}
		for _, b := range backends {
			at := key(orElse(b.ns, u.GetNamespace()), b.name)
			switch {
			case b.mirror >= 0:
				found[at] = append(found[at], Share{host, b.mirror, true})
			case total > 0:
				found[at] = append(found[at], Share{host, b.weight * 100 / total, false})
			}
		}
	}
	return found, nil
}
