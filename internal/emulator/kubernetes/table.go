// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/client-go/util/jsonpath"
)

// columns is how kubectl shows a kind.
type columns struct {
	names []string
	row   func(q *request, obj runtime.Object) []any
}

var tables = map[string]columns{
	pods: {[]string{"Name", "Ready", "Status", "Restarts", "Age", "IP", "Node"}, podRow},
	deployments: {[]string{"Name", "Ready", "Up-to-date", "Available", "Age"}, func(q *request, obj runtime.Object) []any {
		d, ok := obj.(*appsv1.Deployment)
		if !ok {
			return nil
		}
		return []any{d.Name, fmt.Sprintf("%d/%d", d.Status.ReadyReplicas, *d.Spec.Replicas), d.Status.UpdatedReplicas, d.Status.AvailableReplicas, q.age(d.CreationTimestamp)}
	}},
	replicaSets: {[]string{"Name", "Desired", "Current", "Ready", "Age"}, func(q *request, obj runtime.Object) []any {
		rs, ok := obj.(*appsv1.ReplicaSet)
		if !ok {
			return nil
		}
		return []any{rs.Name, *rs.Spec.Replicas, rs.Status.Replicas, rs.Status.ReadyReplicas, q.age(rs.CreationTimestamp)}
	}},
	services: {[]string{"Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age"}, func(q *request, obj runtime.Object) []any {
		s, ok := obj.(*corev1.Service)
		if !ok {
			return nil
		}
		var ports []string
		for _, p := range s.Spec.Ports {
			ports = append(ports, fmt.Sprintf("%d/%s", p.Port, p.Protocol))
		}
		return []any{s.Name, string(s.Spec.Type), s.Spec.ClusterIP, "<none>", strings.Join(ports, ","), q.age(s.CreationTimestamp)}
	}},
	namespaces: {[]string{"Name", "Status", "Age"}, func(q *request, obj runtime.Object) []any {
		n, ok := obj.(*corev1.Namespace)
		if !ok {
			return nil
		}
		return []any{n.Name, string(n.Status.Phase), q.age(n.CreationTimestamp)}
	}},
	configMaps: {[]string{"Name", "Data", "Age"}, func(q *request, obj runtime.Object) []any {
		c, ok := obj.(*corev1.ConfigMap)
		if !ok {
			return nil
		}
		return []any{c.Name, len(c.Data) + len(c.BinaryData), q.age(c.CreationTimestamp)}
	}},
	secrets: {[]string{"Name", "Type", "Data", "Age"}, func(q *request, obj runtime.Object) []any {
		s, ok := obj.(*corev1.Secret)
		if !ok {
			return nil
		}
		return []any{s.Name, string(s.Type), len(s.Data), q.age(s.CreationTimestamp)}
	}},
	events: {[]string{"Last Seen", "Type", "Reason", "Object", "Message"}, func(q *request, obj runtime.Object) []any {
		e, ok := obj.(*corev1.Event)
		if !ok {
			return nil
		}
		return []any{q.age(e.LastTimestamp), e.Type, e.Reason, strings.ToLower(e.InvolvedObject.Kind) + "/" + e.InvolvedObject.Name, e.Message}
	}},
	nodes: {[]string{"Name", "Status", "Roles", "Age", "Version"}, func(q *request, obj runtime.Object) []any {
		n, ok := obj.(*corev1.Node)
		if !ok {
			return nil
		}
		return []any{n.Name, "Ready", "<none>", q.age(n.CreationTimestamp), n.Status.NodeInfo.KubeletVersion}
	}},
	autoscalers: {[]string{"Name", "Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age"}, func(q *request, obj runtime.Object) []any {
		h, ok := obj.(*autoscalingv2.HorizontalPodAutoscaler)
		if !ok {
			return nil
		}
		return []any{h.Name, h.Spec.ScaleTargetRef.Kind + "/" + h.Spec.ScaleTargetRef.Name, "<unknown>", *h.Spec.MinReplicas, h.Spec.MaxReplicas, h.Status.CurrentReplicas, q.age(h.CreationTimestamp)}
	}},
	budgets: {[]string{"Name", "Min Available", "Max Unavailable", "Allowed Disruptions", "Age"}, func(q *request, obj runtime.Object) []any {
		b, ok := obj.(*policyv1.PodDisruptionBudget)
		if !ok {
			return nil
		}
		least, most := "N/A", "N/A"
		if b.Spec.MinAvailable != nil {
			least = b.Spec.MinAvailable.String()
		}
		if b.Spec.MaxUnavailable != nil {
			most = b.Spec.MaxUnavailable.String()
		}
		return []any{b.Name, least, most, b.Status.DisruptionsAllowed, q.age(b.CreationTimestamp)}
	}},
}

func (q *request) age(t metav1.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(q.o.Now().Sub(t.Time))
}

func podRow(q *request, obj runtime.Object) []any {
	p, ok := obj.(*corev1.Pod)
	if !ok {
		return nil
	}
	readies, restarts := 0, int32(0)
	for _, c := range p.Status.ContainerStatuses {
		if c.Ready {
			readies++
		}
		restarts += c.RestartCount
	}
	node, ip := "<none>", "<none>"
	if p.Spec.NodeName != "" {
		node = p.Spec.NodeName
	}
	if p.Status.PodIP != "" {
		ip = p.Status.PodIP
	}
	return []any{p.Name, fmt.Sprintf("%d/%d", readies, len(p.Spec.Containers)), podReason(p), restarts, q.age(p.CreationTimestamp), ip, node}
}

// podReason is the word that kubectl shows for a pod's state.
func podReason(p *corev1.Pod) string {
	reason := string(p.Status.Phase)
	if p.Status.Reason != "" {
		reason = p.Status.Reason
	}
	for i, c := range p.Status.InitContainerStatuses {
		switch {
		case c.State.Terminated != nil && c.State.Terminated.ExitCode == 0:
			continue
		case c.State.Terminated != nil:
			return "Init:" + c.State.Terminated.Reason
		case c.State.Waiting != nil && c.State.Waiting.Reason != "" && c.State.Waiting.Reason != "PodInitializing":
			return "Init:" + c.State.Waiting.Reason
		}
		return fmt.Sprintf("Init:%d/%d", i, len(p.Spec.InitContainers))
	}
	for _, c := range p.Status.ContainerStatuses {
		switch {
		case c.State.Waiting != nil && c.State.Waiting.Reason != "":
			reason = c.State.Waiting.Reason
		case c.State.Terminated != nil && c.State.Terminated.Reason != "":
			reason = c.State.Terminated.Reason
		}
	}
	if p.DeletionTimestamp != nil {
		return "Terminating"
	}
	return reason
}

// table is a list as kubectl shows it.
func (q *request) table(meta metav1.ListMeta, items []item) (*metav1.Table, error) {
	t := &metav1.Table{TypeMeta: metav1.TypeMeta{APIVersion: "meta.k8s.io/v1", Kind: "Table"}, ListMeta: meta, Rows: []metav1.TableRow{}}
	c, known := tables[q.res.id()]
	if !known {
		c = q.printerColumns()
	}
	for _, name := range c.names {
		d := metav1.TableColumnDefinition{Name: name, Type: "string"}
		if name == "Name" {
			d.Format = "name"
		}
		if q.res.id() == pods && (name == "IP" || name == "Node") {
			d.Priority = 1
		}
		t.ColumnDefinitions = append(t.ColumnDefinitions, d)
	}
	for _, i := range items {
		obj, err := q.res.object(i.data)
		if err != nil {
			return nil, err
		}
		row := metav1.TableRow{Cells: c.row(q, obj)}
		switch q.query.Get("includeObject") {
		case "None":
		case "Object":
			row.Object = runtime.RawExtension{Raw: i.data}
		default:
			p, err := partial(i.data)
			if err != nil {
				return nil, err
			}
			if row.Object.Raw, err = json.Marshal(p); err != nil {
				return nil, err
			}
		}
		t.Rows = append(t.Rows, row)
	}
	return t, nil
}

// printerColumns are those of a custom resource's definition, or a name and an age.
func (q *request) printerColumns() columns {
	c := columns{names: []string{"Name"}}
	var paths []printerColumn
	if q.res.crd != nil {
		paths = slices.DeleteFunc(slices.Clone(q.res.crd.Columns), func(p printerColumn) bool { return p.Priority > 0 })
	}
	if len(paths) == 0 {
		paths = []printerColumn{{Name: "Age", Type: "date", JSONPath: ".metadata.creationTimestamp"}}
	}
	for _, p := range paths {
		c.names = append(c.names, p.Name)
	}
	c.row = func(q *request, obj runtime.Object) []any {
		row := []any{metaOf(obj).GetName()}
		for _, p := range paths {
			row = append(row, q.cell(p, obj))
		}
		return row
	}
	return c
}

func (q *request) cell(p printerColumn, obj runtime.Object) any {
	if p.Type == "date" && p.JSONPath == ".metadata.creationTimestamp" {
		return q.age(metaOf(obj).GetCreationTimestamp())
	}
	u, ok := obj.(*unstructured.Unstructured)
	j := jsonpath.New(p.Name).AllowMissingKeys(true)
	if !ok || j.Parse("{"+p.JSONPath+"}") != nil {
		return ""
	}
	var text bytes.Buffer
	if j.Execute(&text, u.Object) != nil {
		return ""
	}
	if at, err := time.Parse(time.RFC3339, text.String()); p.Type == "date" && err == nil {
		return q.age(metav1.Time{Time: at})
	}
	return text.String()
}

// labelSet is a map as selectors read it.
type labelSet map[string]string

func (l labelSet) Has(name string) bool   { _, ok := l[name]; return ok }
func (l labelSet) Get(name string) string { return l[name] }

// Lookup is both.
func (l labelSet) Lookup(name string) (string, bool) { v, ok := l[name]; return v, ok }

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
