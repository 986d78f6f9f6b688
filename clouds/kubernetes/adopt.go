// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"context"
	"maps"
	"slices"
	"sort"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// adopted is what an endpoint was before it became ours: somebody's Deployment or
// InferenceService, and the Service in front of it, whose address stays.
type adopted struct {
	Kind     string             `json:"kind"`
	Name     string             `json:"name"`
	Service  string             `json:"service,omitempty"`
	Selector map[string]string  `json:"selector,omitempty"` // of the Service, as it was
	Port     corev1.ServicePort `json:"port"`               // of the Service, as it was
	Scaler   string             `json:"scaler,omitempty"`   // name of its HorizontalPodAutoscaler
}

func (a *adopted) has(w *written) bool {
	return w.Kind == a.Kind && w.Name == a.Name || w.Kind == services.name && w.Name == a.Service || w.Kind == autoscalers.name && w.Name == a.Scaler
}

// port is the Service's port, sent to another target.
func (a *adopted) port(target string) corev1.ServicePort {
	p := a.Port
	p.TargetPort = intstr.FromString(target)
	return p
}

// deploymentName is what the only deployment of an endpoint made by hand is called.
const deploymentName = "main"

// byHand finds an endpoint that somebody else made: a Deployment, or an
// InferenceService, of that name. Absent is NotFound. What it returns is a root as
// it would be once the endpoint is adopted.
func (d *kubernetes) byHand(ctx context.Context, a *api, key driver.Key) (*root, *snapshot, error) {
	live := &snapshot{objects: map[*kind]map[string]*object{deployments: {}, services: {}, autoscalers: {}, inferenceServices: {}}}
	for _, k := range []*kind{deployments, inferenceServices} {
		o, err := notFound(a.get(ctx, k, key.Location, key.Name))
		if mlerr.Is(err, mlerr.Unsupported) { // no KServe
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if o == nil || ours(o) || o.GetDeletionTimestamp() != nil {
			continue
		}
		if c := metav1.GetControllerOf(o); c != nil {
			return nil, nil, mlerr.New(mlerr.Unsupported, "the %s %s belongs to the %s %s, which would undo what is changed in it", k.name, key.Name, c.Kind, c.Name).
				WithHint("Import the %s, if it can be, or make an ml_endpoint of another name", c.Kind)
		}
		live.objects[k][key.Name] = o
		r, err := d.adopt(ctx, a, key, k, o, live)
		return r, live, err
	}
	return nil, nil, mlerr.New(mlerr.NotFound, "there is no endpoint %s in the namespace %s", key.Name, key.Location)
}

// adopt translates a workload made by hand, and looks for its Service and autoscaler.
func (d *kubernetes) adopt(ctx context.Context, a *api, key driver.Key, k *kind, o *object, live *snapshot) (*root, error) {
	r := newRoot(key, nil)
	r.Adopted = &adopted{Kind: k.name, Name: o.GetName()}
	e := entry{ID: o.GetName(), Adopted: k.name, Deployment: driver.Deployment{Name: deploymentName, Traffic: 100, Scaling: driver.Scaling{Min: 1, Max: 1}}}
	var template corev1.PodTemplateSpec
	if k == deployments {
		dep, err := convert[appsv1.Deployment](o)
		if err != nil {
			return nil, err
		}
		template = dep.Spec.Template
		if n := dep.Spec.Replicas; n != nil {
			e.Scaling.Min, e.Scaling.Max = int(*n), int(*n)
		}
		if err := d.neighbors(ctx, a, r, &e, template.Labels, live); err != nil {
			return nil, err
		}
	} else {
		template = predicted(o, &e)
		all, err := a.list(ctx, deployments, key.Location, kserveOwner+"="+o.GetName())
		if err != nil {
			return nil, err
		}
		for i := range all {
			live.objects[deployments][all[i].GetName()] = &all[i]
		}
	}
	r.Settings = d.settingsByHand(k, &template.Spec)
	describeByHand(&e, key, &template)
	e.Carried = r.Settings
	r.Deployments, r.Shares = []entry{e}, []driver.Share{{ID: e.ID, Name: e.Name, Traffic: 100}}
	return r, nil
}

// settingsByHand are the settings that an endpoint made by hand has: nobody asks who
// calls, and its Service can be reached from everywhere in the cluster.
func (d *kubernetes) settingsByHand(k *kind, pod *corev1.PodSpec) driver.Settings {
	s := driver.Settings{Network: driver.Network{Access: accessPublic}, Auth: driver.Auth{Mode: authNone}}
	if d.cfg.Gateway != nil { // through which it is not exposed
		s.Network = driver.Network{Access: accessPrivate, AllowedNamespaces: []string{everywhere}}
	}
	s.Kubernetes = &driver.KubernetesEndpoint{Serving: servingDeployment, PodSecurity: securityBaseline, NodeSelector: clone(pod.NodeSelector), PriorityClass: pod.PriorityClassName}
	if k == inferenceServices {
		s.Kubernetes.Serving = servingKServe
	}
	if pod.ServiceAccountName != "default" {
		s.Kubernetes.ServiceAccount = pod.ServiceAccountName
	}
	if pod.RuntimeClassName != nil {
		s.Kubernetes.RuntimeClass = *pod.RuntimeClassName
	}
	if c := pod.SecurityContext; c != nil {
		if c.RunAsNonRoot != nil && *c.RunAsNonRoot {
			s.Kubernetes.PodSecurity = securityRestricted
		}
		if c.RunAsUser != nil {
			s.Kubernetes.RunAsUser = int(*c.RunAsUser)
		}
	}
	for _, t := range pod.Tolerations {
		s.Kubernetes.Tolerations = append(s.Kubernetes.Tolerations, driver.Toleration{Key: t.Key, Operator: string(t.Operator), Value: t.Value, Effect: string(t.Effect)})
	}
	return s
}

// describeByHand reads model, compute and environment off the first container. Which
// registered version it serves, labels of the pods can tell; otherwise its image is
// the model.
func describeByHand(e *entry, key driver.Key, template *corev1.PodTemplateSpec) {
	if model, version := template.Labels[labelModel], template.Labels[labelVersion]; model != "" && version != "" {
		e.Model = driver.VersionRef{Key: driver.Key{Platform: key.Platform, Location: key.Location, Name: model}, Version: version}
	}
	if len(template.Spec.Containers) == 0 {
		return
	}
	c := &template.Spec.Containers[0]
	if e.Model == (driver.VersionRef{}) {
		e.Model = driver.VersionRef{Native: c.Image}
	}
	for _, v := range c.Env {
		if v.ValueFrom == nil {
			if e.Env == nil {
				e.Env = map[string]string{}
			}
			e.Env[v.Name] = v.Value
		}
	}
	e.Compute = computeOf(&template.Spec, c)
}

func computeOf(pod *corev1.PodSpec, c *corev1.Container) driver.Compute {
	var out driver.Compute
	if q, ok := c.Resources.Requests[corev1.ResourceCPU]; ok {
		out.CPU = float64(q.MilliValue()) / 1000
	}
	memory, ok := c.Resources.Limits[corev1.ResourceMemory]
	if !ok {
		memory, ok = c.Resources.Requests[corev1.ResourceMemory]
	}
	if ok {
		out.MemoryGiB = float64(memory.Value()) / (1 << 30)
	}
	out.InstanceType = pod.NodeSelector[corev1.LabelInstanceTypeStable]
	for _, name := range slices.Sorted(maps.Keys(devices)) {
		d := devices[name]
		q, asked := c.Resources.Limits[d.resource]
		for label, values := range d.labels {
			if asked && slices.Contains(values, pod.NodeSelector[label]) {
				out.Accelerator = &driver.Accelerator{Type: name, Count: int(q.Value())}
			}
		}
	}
	return out
}

// neighbors finds the Service in front of a Deployment made by hand, and its
// autoscaler.
func (d *kubernetes) neighbors(ctx context.Context, a *api, r *root, e *entry, labels map[string]string, live *snapshot) error {
	found, err := a.list(ctx, services, r.key.Location, "")
	if err != nil {
		return err
	}
	sort.Slice(found, func(i, j int) bool {
		a, b := found[i].GetName(), found[j].GetName()
		return a != b && (a == r.key.Name || b != r.key.Name && a < b)
	})
	for i := range found {
		s, err := convert[corev1.Service](&found[i])
		if err != nil {
			return err
		}
		if len(s.Spec.Selector) == 0 || len(s.Spec.Ports) == 0 || !within(s.Spec.Selector, labels) {
			continue
		}
		r.Adopted.Service, r.Adopted.Selector, r.Adopted.Port = s.Name, s.Spec.Selector, s.Spec.Ports[0]
		r.Adopted.Port.NodePort = 0
		live.objects[services][s.Name] = &found[i]
		break
	}
	scalers, err := a.list(ctx, autoscalers, r.key.Location, "")
	if err != nil {
		return err
	}
	for i := range scalers {
		h, err := convert[autoscalingv2.HorizontalPodAutoscaler](&scalers[i])
		if err != nil {
			return err
		}
		if t := h.Spec.ScaleTargetRef; t.Kind == deployments.name && t.Name == e.ID {
			r.Adopted.Scaler = h.Name
			live.objects[autoscalers][h.Name] = &scalers[i]
			if s, ok := d.cfg.scalingOf(h); ok {
				e.Scaling = s
			}
		}
	}
	return nil
}

// within reports whether all of small is in large.
func within(small, large map[string]string) bool {
	for k, v := range small {
		if large[k] != v {
			return false
		}
	}
	return true
}

// scalingOf translates an autoscaler; ok is false for one that the configuration
// language cannot say.
func (c *Config) scalingOf(h *autoscalingv2.HorizontalPodAutoscaler) (driver.Scaling, bool) {
	s := driver.Scaling{Min: 1, Max: int(h.Spec.MaxReplicas)}
	if h.Spec.MinReplicas != nil {
		s.Min = int(*h.Spec.MinReplicas)
	}
	for i := range h.Spec.Metrics {
		m, ok := c.metricOf(&h.Spec.Metrics[i])
		if !ok {
			return s, false
		}
		s.Metrics = append(s.Metrics, m)
	}
	sort.Slice(s.Metrics, func(i, j int) bool { return s.Metrics[i].Type < s.Metrics[j].Type })
	return s, len(s.Metrics) > 0
}

func (c *Config) metricOf(m *autoscalingv2.MetricSpec) (driver.Metric, bool) {
	utilization := func(name corev1.ResourceName, t *autoscalingv2.MetricTarget) (driver.Metric, bool) {
		kind := driver.MetricType(name)
		if !measured(kind) || t.AverageUtilization == nil {
			return driver.Metric{}, false
		}
		return driver.Metric{Type: kind, Target: float64(*t.AverageUtilization)}, true
	}
	switch {
	case m.ContainerResource != nil:
		return utilization(m.ContainerResource.Name, &m.ContainerResource.Target)
	case m.Resource != nil:
		return utilization(m.Resource.Name, &m.Resource.Target)
	case m.Pods != nil && m.Pods.Target.AverageValue != nil:
		for _, kind := range driver.MetricTypes() {
			name := metricNames[kind]
			if own := c.Metrics[string(kind)]; own != "" {
				name = own
			}
			if name == m.Pods.Metric.Name {
				return driver.Metric{Type: kind, Target: float64(m.Pods.Target.AverageValue.MilliValue()) / 1000}, true
			}
		}
	}
	return driver.Metric{}, false
}

// predicted is the pod of an InferenceService made by hand, as far as it says.
func predicted(o *object, e *entry) corev1.PodTemplateSpec {
	p, _, _ := nestedMap(o.Object, "spec", "predictor")
	spec := map[string]any{}
	for _, name := range []string{"containers", "nodeSelector", "tolerations", "serviceAccountName", "runtimeClassName", "priorityClassName", "securityContext"} {
		if v, ok := p[name]; ok {
			spec[name] = v
		}
	}
	model, _ := p["model"].(map[string]any)
	if model != nil {
		container := map[string]any{"name": containerKServe}
		for _, name := range []string{"image", "env", "resources", "args"} {
			if v, ok := model[name]; ok {
				container[name] = v
			}
		}
		if uri, _ := model["storageUri"].(string); uri != "" {
			container["image"] = uri // what serves is the model, not its runtime
		}
		spec["containers"] = []any{container}
	}
	template := object{Object: map[string]any{"metadata": map[string]any{}, "spec": spec}}
	labels, _ := p["labels"].(map[string]any)
	all := map[string]string{}
	for _, more := range []map[string]any{plainLabels(o.GetLabels()), labels} {
		for k, v := range more {
			all[k], _ = v.(string)
		}
	}
	template.SetLabels(all)
	if n, ok := p["minReplicas"].(int64); ok {
		e.Scaling.Min, e.Scaling.Max = int(n), int(n)
	}
	if n, ok := p["maxReplicas"].(int64); ok && !strings.EqualFold(o.GetAnnotations()[kserveScaler], "none") {
		metric, _ := p["scaleMetric"].(string)
		target, _ := p["scaleTarget"].(int64)
		if int(n) > e.Scaling.Min {
			if metric == "" || target == 0 {
				metric, target = string(driver.MetricCPU), 80 // KServe's own default
			}
			e.Scaling = driver.Scaling{Min: max(1, e.Scaling.Min), Max: int(n), Metrics: []driver.Metric{{Type: driver.MetricType(metric), Target: float64(target)}}}
		}
	}
	typed, err := convert[corev1.PodTemplateSpec](&template)
	if err != nil {
		return corev1.PodTemplateSpec{}
	}
	return *typed
}

func plainLabels(labels map[string]string) map[string]any {
	all := make(map[string]any, len(labels))
	for k, v := range labels {
		all[k] = v
	}
	return all
}
