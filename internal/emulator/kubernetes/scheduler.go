// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
)

// amounts are resources: of processors in thousandths, of anything else whole.
type amounts map[string]int64

func amountsOf(l corev1.ResourceList) amounts {
	a := amounts{}
	for name, q := range l {
		a[string(name)] = amount(name, q)
	}
	return a
}

func amount(name corev1.ResourceName, q quantity.Quantity) int64 {
	if name == corev1.ResourceCPU {
		return q.MilliValue()
	}
	return q.Value()
}

// requestsOf is what a pod needs of a node: its containers together, or the largest of
// those that run before them.
func requestsOf(spec *corev1.PodSpec) amounts {
	total := amounts{"pods": 1}
	for i := range spec.Containers {
		for name, n := range wants(&spec.Containers[i]) {
			total[name] += n
		}
	}
	for i := range spec.InitContainers {
		for name, n := range wants(&spec.InitContainers[i]) {
			total[name] = max(total[name], n)
		}
	}
	return total
}

func wants(c *corev1.Container) amounts {
	a := amountsOf(c.Resources.Limits)
	for name := range a {
		if !extended(corev1.ResourceName(name)) {
			delete(a, name)
		}
	}
	for name, q := range c.Resources.Requests {
		a[string(name)] = amount(name, q)
	}
	return a
}

// place finds a node for a pod: the emptiest that fits. Else it says why there is none,
// in the scheduler's words.
func (w *world) place(pod *corev1.Pod) (*corev1.Node, string, error) {
	all, err := list[*corev1.Node](w, nodes, "")
	if err != nil {
		return nil, "", err
	}
	if len(all) == 0 {
		return nil, "no nodes available to schedule pods", nil
	}
	reasons := map[string]int{}
	var best *corev1.Node
	var room int64
	hopeless := 0
	need := requestsOf(&pod.Spec)
	for _, n := range all {
		if reason := unfit(pod, n); reason != "" {
			reasons[reason]++
			hopeless++
			continue
		}
		free, err := w.free(n)
		if err != nil {
			return nil, "", err
		}
		short := lacking(need, free)
		for _, reason := range short {
			reasons[reason]++
		}
		if len(short) == 0 && (best == nil || free["cpu"] > room) {
			best, room = n, free["cpu"]
		}
	}
	if best != nil {
		return best, "", nil
	}
	return nil, unschedulable(len(all), hopeless, reasons), nil
}

// placeWithClaims is place for a pod whose volumes exist.
func (w *world) placeWithClaims(pod *corev1.Pod) (*corev1.Node, string, error) {
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim == nil {
			continue
		}
		name := v.PersistentVolumeClaim.ClaimName
		if _, found, err := lookup[*corev1.PersistentVolumeClaim](w, claims, pod.Namespace, name); err != nil || found {
			if err != nil {
				return nil, "", err
			}
			continue
		}
		keys, err := w.tx.Keys(docObject+nodes, "", "", 0)
		of := fmt.Sprintf("0/%d nodes are available", len(keys))
		return nil, fmt.Sprintf("%s: persistentvolumeclaim %q not found. preemption: %s: %d Preemption is not helpful for scheduling.", of, name, of, len(keys)), err
	}
	return w.place(pod)
}

// reconcileClaim binds a claim: there is always a volume.
func reconcileClaim(w *world, ns, name string) error {
	c, found, err := lookup[*corev1.PersistentVolumeClaim](w, claims, ns, name)
	if err != nil || !found || c.Status.Phase == corev1.ClaimBound {
		return err
	}
	next := c.DeepCopy()
	next.Spec.VolumeName = "pvc-" + string(c.UID)
	next.Status = corev1.PersistentVolumeClaimStatus{Phase: corev1.ClaimBound, AccessModes: c.Spec.AccessModes, Capacity: corev1.ResourceList{corev1.ResourceStorage: c.Spec.Resources.Requests[corev1.ResourceStorage]}}
	return w.put(catalog()[claims], c, next)
}

func lacking(need, free amounts) (reasons []string) {
	for _, name := range sortedKeys(need) {
		if need[name] == 0 || need[name] <= free[name] {
			continue
		}
		if name == "pods" {
			reasons = append(reasons, "Too many pods")
			continue
		}
		reasons = append(reasons, "Insufficient "+name)
	}
	return reasons
}

func unschedulable(total, hopeless int, reasons map[string]int) string {
	lines := make([]string, 0, len(reasons))
	for reason, n := range reasons {
		lines = append(lines, fmt.Sprintf("%d %s", n, reason))
	}
	slices.Sort(lines)
	of := fmt.Sprintf("0/%d nodes are available", total)
	text := fmt.Sprintf("%s: %s.", of, strings.Join(lines, ", "))
	if hopeless == total {
		return text + fmt.Sprintf(" preemption: %s: %d Preemption is not helpful for scheduling.", of, total)
	}
	var victims []string
	if hopeless > 0 {
		victims = append(victims, fmt.Sprintf("%d Preemption is not helpful for scheduling", hopeless))
	}
	victims = append(victims, fmt.Sprintf("%d No preemption victims found for incoming pod", total-hopeless))
	return text + fmt.Sprintf(" preemption: %s: %s.", of, strings.Join(victims, ", "))
}

// free is what pods have left of a node.
func (w *world) free(n *corev1.Node) (amounts, error) {
	left := amountsOf(n.Status.Allocatable)
	err := w.tx.Each(docNode, n.Name+"/", func(_ string, data []byte) error {
		var used amounts
		if err := json.Unmarshal(data, &used); err != nil {
			return err
		}
		for name, amount := range used {
			left[name] -= amount
		}
		return nil
	})
	return left, err
}

// unfit says why a pod can never run on a node, "" if it can.
func unfit(pod *corev1.Pod, n *corev1.Node) string {
	if n.Spec.Unschedulable {
		return "node(s) were unschedulable"
	}
	for i := range n.Spec.Taints {
		t := &n.Spec.Taints[i]
		if t.Effect != corev1.TaintEffectPreferNoSchedule && !slices.ContainsFunc(pod.Spec.Tolerations, func(o corev1.Toleration) bool { return tolerates(&o, t) }) {
			return fmt.Sprintf("node(s) had untolerated taint {%s: %s}", t.Key, t.Value)
		}
	}
	for k, v := range pod.Spec.NodeSelector {
		if n.Labels[k] != v {
			return "node(s) didn't match Pod's node affinity/selector"
		}
	}
	a := pod.Spec.Affinity
	if a == nil || a.NodeAffinity == nil || a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return ""
	}
	terms := a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
	if !slices.ContainsFunc(terms, func(t corev1.NodeSelectorTerm) bool { return matchesTerm(t, n) }) {
		return "node(s) didn't match Pod's node affinity/selector"
	}
	return ""
}

func tolerates(o *corev1.Toleration, t *corev1.Taint) bool {
	if o.Effect != "" && o.Effect != t.Effect || o.Key != "" && o.Key != t.Key {
		return false
	}
	return o.Operator == corev1.TolerationOpExists || o.Key != "" && o.Value == t.Value
}

func matchesTerm(t corev1.NodeSelectorTerm, n *corev1.Node) bool {
	for _, e := range t.MatchExpressions {
		if !matchesExpression(e, n.Labels) {
			return false
		}
	}
	for _, e := range t.MatchFields {
		if !matchesExpression(e, map[string]string{"metadata.name": n.Name}) {
			return false
		}
	}
	return len(t.MatchExpressions)+len(t.MatchFields) > 0
}

func matchesExpression(e corev1.NodeSelectorRequirement, labels map[string]string) bool {
	value, has := labels[e.Key]
	switch e.Operator {
	case corev1.NodeSelectorOpIn:
		return has && slices.Contains(e.Values, value)
	case corev1.NodeSelectorOpNotIn:
		return !has || !slices.Contains(e.Values, value)
	case corev1.NodeSelectorOpExists:
		return has
	case corev1.NodeSelectorOpDoesNotExist:
		return !has
	case corev1.NodeSelectorOpGt, corev1.NodeSelectorOpLt:
		have, err := strconv.ParseInt(value, 10, 64)
		if err != nil || len(e.Values) != 1 {
			return false
		}
		bound, err := strconv.ParseInt(e.Values[0], 10, 64)
		return err == nil && (e.Operator == corev1.NodeSelectorOpGt && have > bound || e.Operator == corev1.NodeSelectorOpLt && have < bound)
	}
	return false
}
