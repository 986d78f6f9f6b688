// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"strconv"
	"strings"
	"time"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// An endpoint may be on a Kubernetes cluster that is attached to the workspace. What is
// scaled, what a replica gets and who may call is then another matter than on machines
// of the platform's.

const (
	attributeCompute = "azure_ml.compute"

	// defaultInstance is the instance type that every attached cluster has, and that a
	// replica has when nothing is said.
	defaultInstance = "defaultinstancetype"

	// anyGPU is an accelerator of a cluster, which is asked for by number only.
	anyGPU = "nvidia-gpu"

	longestOnCluster = 5 * time.Minute
	longestNames     = 62 // of an endpoint and a deployment together
	clusterPolling   = time.Second
)

var (
	computeForm = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9-]{0,22}[a-zA-Z0-9]$`)
	computeID   = regexp.MustCompile(inWorkspace + `computes/([^/?]+)$`)
	crdName     = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)
)

// longestOn is how long the platform's name of a deployment of an endpoint may be.
func longestOn(endpoint string, cluster bool) int {
	if !cluster {
		return longestDeployment
	}
	return min(longestDeployment, longestNames-len(endpoint))
}

// clusterOf is the name of the cluster that an endpoint is on, "" of a managed one.
func clusterOf(s *driver.Settings) string {
	if s.AzureML == nil {
		return ""
	}
	return s.AzureML.Compute
}

// clusterID is the id of that cluster, nil of a managed endpoint.
func (w *workspace) clusterID(s *driver.Settings) *string {
	name := clusterOf(s)
	if name == "" {
		return nil
	}
	return new(w.id("computes", name))
}

// clusterSeen is the name of the cluster that an endpoint is on, as the user spells it:
// the platform changes the case of ids.
func clusterSeen(e *endpoint) string {
	id := deref(e.Properties.Compute)
	if id == "" {
		return ""
	}
	if written := tag(e.Tags, tagCompute); strings.EqualFold(written, last(id)) {
		return written
	}
	return last(id)
}

// nameCluster makes the id of a cluster in the workspace its name.
func nameCluster(spec *driver.EndpointSpec) {
	m := computeID.FindStringSubmatch(clusterOf(&spec.Settings))
	if m != nil && strings.EqualFold(strings.Join(m[1:4], "/"), spec.Key.Location) {
		a := *spec.Settings.AzureML
		a.Compute = m[4]
		spec.Settings.AzureML = &a
	}
}

// checkCluster refuses what an endpoint on a cluster does not have.
func checkCluster(spec *driver.EndpointSpec, r *refusal) {
	s, unknown := &spec.Settings, spec.Unknown
	const wrong, cannot = mlerr.InvalidArgument, mlerr.Unsupported
	name := clusterOf(s)
	r.when(!computeForm.MatchString(name) && !unknown.Has("location"), wrong, attributeCompute, "Use the name, or the id, of a Kubernetes compute that is attached to the endpoint's workspace",
		"%q is no compute of the workspace", name)
	r.when(s.Auth.Mode == authIAM, cannot, "auth.mode", "Set auth.mode to \"key\" or \"token\"", "azure_ml takes no tokens of Microsoft Entra ID for endpoints on a Kubernetes compute")
	r.when(s.Network.Access == accessPrivate, cannot, "network.access", "Leave it out, and expose the cluster's inference router to the private network only",
		"azure_ml leaves it to the cluster who reaches endpoints on a Kubernetes compute")
	r.when(egressPublic(s) != nil, cannot, carriedEgress, "Leave it out, and use network policies of the cluster", "azure_ml leaves it to the cluster what deployments on a Kubernetes compute reach")
	for path, set := range map[string]bool{"rollout.checks.max_error_rate": spec.Rollout.Checks.MaxErrorRate > 0, "rollout.checks.max_latency_ms": spec.Rollout.Checks.MaxLatencyMS > 0} {
		r.when(set, cannot, path, "Use rollout.checks.smoke_test, or alarms on what the cluster measures", "azure_ml has no metrics of endpoints on a Kubernetes compute: Azure leaves it to the cluster to monitor them")
	}
	for i := range spec.Deployments {
		dep := &spec.Deployments[i]
		path := "deployments." + dep.Name
		r.when(dep.Mirror > 0, cannot, path+".mirror", "Use a managed endpoint, or platform = \"kubernetes\"", "azure_ml copies no requests on a Kubernetes compute")
		checkClusterCompute(dep, path+".compute", r)
		checkClusterScaling(&dep.Scaling, path+".scaling", r)
	}
}

// checkClusterCompute refuses what a cluster cannot be asked for.
func checkClusterCompute(dep *driver.Deployment, path string, r *refusal) {
	c := &dep.Compute
	c.Attached = nil
	const wrong, cannot = mlerr.InvalidArgument, mlerr.Unsupported
	if r.unknown.In(path) {
		return
	}
	if a := c.Accelerator; a != nil {
		r.when(a.Type != anyGPU, cannot, path+".accelerator", "Use type \""+anyGPU+"\" for whichever the cluster has, or compute.instance_type with an InstanceType of the cluster that selects such nodes",
			"azure_ml asks a cluster for a number of GPUs, and not for %s", a.Type)
		r.when(c.InstanceType != "", wrong, path+".accelerator", "Leave it out", "the instance type %s says how many GPUs there are", c.InstanceType)
		a.Count = max(1, a.Count)
	}
	switch {
	case c.InstanceType != "":
		r.when(!crdName.MatchString(c.InstanceType), wrong, path+".instance_type", "Use the name of an InstanceType of the cluster, or cpu and memory_gib",
			"%q is not the name of an instance type on a Kubernetes compute", c.InstanceType)
		r.when(c.InstanceType == defaultInstance, wrong, path+".instance_type", "Leave it out", "%s is what a replica has when nothing is said", defaultInstance)
	case *c == (driver.Compute{}):
	default:
		r.when(c.CPU == 0, wrong, path+".cpu", "Give cpu and memory_gib, or name an instance_type", "a replica on a Kubernetes compute gets what is asked for, and no CPU is")
		r.when(c.MemoryGiB == 0, wrong, path+".memory_gib", "Give cpu and memory_gib, or name an instance_type", "a replica on a Kubernetes compute gets what is asked for, and no memory is")
	}
}

// checkClusterScaling refuses what the autoscaler of a cluster does not do: it keeps the
// CPU busy, and nothing else.
func checkClusterScaling(s *driver.Scaling, path string, r *refusal) {
	const wrong, cannot = mlerr.InvalidArgument, mlerr.Unsupported
	for _, m := range s.Metrics {
		r.when(m.Type != driver.MetricCPU, cannot, path+".metrics", "Use the metric cpu", "azure_ml does not scale deployments on a Kubernetes compute by %s", m.Type)
		r.when(m.Type == driver.MetricCPU && m.Target != float64(int(m.Target)), wrong, path+".metrics", "Use a whole number", "%g is not a whole percentage", m.Target)
	}
	r.when(len(s.Schedules) > 0, cannot, path+".schedules", "Use the metric cpu", "azure_ml does not scale deployments on a Kubernetes compute by the clock")
	for name, pause := range map[string]time.Duration{"scale_in_cooldown": s.ScaleInCooldown, "scale_out_cooldown": s.ScaleOutCooldown} {
		r.when(pause != 0, cannot, path+"."+name, "Leave it out", "azure_ml has no pauses between changes of the count on a Kubernetes compute")
	}
}

// onCluster is a deployment as it is sent to a cluster.
func onCluster(p *ml.ManagedOnlineDeployment, dep *driver.Deployment) *ml.KubernetesOnlineDeployment {
	k := &ml.KubernetesOnlineDeployment{EndpointComputeType: new(ml.EndpointComputeTypeKubernetes), Model: p.Model, EnvironmentID: p.EnvironmentID, EnvironmentVariables: p.EnvironmentVariables,
		Properties: p.Properties, RequestSettings: p.RequestSettings, LivenessProbe: p.LivenessProbe, ReadinessProbe: p.ReadinessProbe, DataCollector: p.DataCollector,
		AppInsightsEnabled: p.AppInsightsEnabled, InstanceType: p.InstanceType, ScaleSettings: clusterScaling(&dep.Scaling)}
	c := &dep.Compute
	if c.InstanceType != "" {
		return k
	}
	k.InstanceType = new(defaultInstance)
	if resourcesText(c) == "" {
		return k
	}
	has := func() *ml.ContainerResourceSettings {
		r := &ml.ContainerResourceSettings{CPU: new(digits(c.CPU)), Memory: new(digits(c.MemoryGiB) + "Gi")}
		if c.Accelerator != nil {
			r.Gpu = new(strconv.Itoa(c.Accelerator.Count))
		}
		return r
	}
	k.ContainerResourceRequirements = &ml.ContainerResourceRequirements{ContainerResourceRequests: has(), ContainerResourceLimits: has()}
	return k
}

func digits(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

// resourcesText is what a replica asks a cluster for, "" where its instance type says.
func resourcesText(c *driver.Compute) string {
	if c.InstanceType != "" || c.CPU == 0 && c.MemoryGiB == 0 && c.Accelerator == nil {
		return ""
	}
	text := digits(c.CPU) + " CPU " + digits(c.MemoryGiB) + " GiB"
	if c.Accelerator != nil {
		text += " " + strconv.Itoa(c.Accelerator.Count) + " GPU"
	}
	return text
}

// clusterScaling are the bounds of a deployment on a cluster, which are in itself.
func clusterScaling(s *driver.Scaling) ml.OnlineScaleSettingsClassification {
	if !s.Automatic() {
		return &ml.DefaultScaleSettings{ScaleType: new(ml.ScaleTypeDefault)}
	}
	t := &ml.TargetUtilizationScaleSettings{ScaleType: new(ml.ScaleTypeTargetUtilization), MinInstances: new(int32(s.Min)), MaxInstances: new(int32(s.Max)), PollingInterval: iso(clusterPolling)}
	for _, m := range s.Metrics {
		if m.Type == driver.MetricCPU {
			t.TargetUtilizationPercentage = new(int32(m.Target))
		}
	}
	return t
}

// usualUtilization is what a cluster keeps when nothing is said.
const usualUtilization = 70

// scalingSeen reads those bounds; of a count that is fixed it is that.
func scalingSeen(settings ml.OnlineScaleSettingsClassification, replicas int) driver.Scaling {
	t, ok := settings.(*ml.TargetUtilizationScaleSettings)
	if !ok {
		return driver.Scaling{Min: replicas, Max: replicas}
	}
	target := usualUtilization
	if t.TargetUtilizationPercentage != nil {
		target = int(*t.TargetUtilizationPercentage)
	}
	low := max(1, int(deref(t.MinInstances)))
	return driver.Scaling{Min: low, Max: max(low, int(deref(t.MaxInstances))), Metrics: []driver.Metric{{Type: driver.MetricCPU, Target: float64(target)}}}
}

// computeSeen is what a replica of a deployment has.
func computeSeen(d *deployment) driver.Compute {
	k, ok := d.Properties.(*ml.KubernetesOnlineDeployment)
	if !ok {
		return computeOf(deref(d.Properties.GetOnlineDeploymentProperties().InstanceType))
	}
	instance := deref(k.InstanceType)
	if r := k.ContainerResourceRequirements; r != nil && r.ContainerResourceRequests != nil && (instance == "" || instance == defaultInstance) {
		c := driver.Compute{CPU: quantity(deref(r.ContainerResourceRequests.CPU)), MemoryGiB: quantity(deref(r.ContainerResourceRequests.Memory)) / (1 << 30)}
		if n := int(quantity(deref(r.ContainerResourceRequests.Gpu))); n > 0 {
			c.Accelerator = &driver.Accelerator{Type: anyGPU, Count: n}
		}
		if c.CPU > 0 || c.MemoryGiB > 0 {
			return c
		}
	}
	if instance == defaultInstance {
		instance = ""
	}
	return driver.Compute{InstanceType: instance}
}

// suffixes are those of quantities on Kubernetes, the longer before the shorter.
var suffixes = []struct {
	text   string
	factor float64
}{
	{"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"Ti", 1 << 40}, {"m", 1e-3}, {"k", 1e3}, {"M", 1e6}, {"G", 1e9}, {"T", 1e12},
}

// quantity reads a quantity such as 500m or 1.5Gi, 0 of any other text.
func quantity(text string) float64 {
	factor := 1.0
	for _, s := range suffixes {
		if rest, ok := strings.CutSuffix(text, s.text); ok {
			text, factor = rest, s.factor
			break
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	if err != nil || n < 0 {
		return 0
	}
	return n * factor
}

// scaleOnCluster makes the bounds of a deployment on a cluster what they are to be: a
// PUT, which repeats all else. The live count is the autoscaler's inside of them.
func (w *workspace) scaleOnCluster(ctx context.Context, endpoint, id string, s *driver.Scaling) error {
	now, err := w.getDeployment(ctx, endpoint, id)
	if err != nil {
		return err
	}
	k, ok := now.Properties.(*ml.KubernetesOnlineDeployment)
	if !ok {
		return mlerr.New(mlerr.Unsupported, "deployment %s of the endpoint %s is not on a Kubernetes compute, as its endpoint is", id, endpoint).
			WithHint("Remove it, and apply again")
	}
	p := *k
	p.ProvisioningState, p.ScaleSettings, p.Properties = nil, clusterScaling(s), maps.Clone(k.Properties)
	maps.DeleteFunc(p.Properties, func(k string, _ *string) bool { return strings.EqualFold(k, "AzureAsyncOperationUri") })
	count := max(s.Min, min(int(deref(skuOf(now).Capacity)), s.Max))
	out := deployment{Location: now.Location, Tags: now.Tags, SKU: &ml.SKU{Name: new("Default"), Capacity: new(int32(count))}, Properties: &p}
	return w.sendDeployment(ctx, endpoint, id, scaling, out, &driver.Compute{InstanceType: deref(k.InstanceType)})
}

// clusterFits asks for the cluster of an endpoint. One that is not there yet may be made
// by the same apply.
func (w *workspace) clusterFits(ctx context.Context, spec *driver.EndpointSpec) ([]string, error) {
	name := clusterOf(&spec.Settings)
	if name == "" || spec.Unknown.At(attributeCompute) {
		return nil, nil
	}
	got, err := w.c.Computes.Get(ctx, w.group, w.name, name, nil)
	if err := failed(err, "cannot read the compute %s of %s", name, w.location); err != nil {
		switch {
		case mlerr.Is(err, mlerr.NotFound):
			return []string{fmt.Sprintf("The workspace has no compute %s yet: attach the cluster before the endpoint is made", name)}, nil
		case mlerr.Is(err, mlerr.PermissionDenied):
			return []string{fmt.Sprintf("Whether the compute %s takes endpoints is not known: the credentials may not read it", name)}, nil
		}
		return nil, err
	}
	if got.Properties == nil {
		return nil, nil
	}
	if kind := deref(got.Properties.GetCompute().ComputeType); !strings.EqualFold(string(kind), string(ml.ComputeTypeKubernetes)) {
		return nil, mlerr.New(mlerr.InvalidArgument, "the compute %s is of type %s, and endpoints are on type Kubernetes only", name, kind).At(attributeCompute).
			WithHint("Attach the cluster as az ml compute attach --type Kubernetes does, or leave azure_ml.compute out")
	}
	return nil, nil
}
