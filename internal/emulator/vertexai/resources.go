// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	pb "cloud.google.com/go/aiplatform/apiv1beta1/aiplatformpb"
	"google.golang.org/grpc/codes"

	"github.com/mlplane/terraform-provider-ml/internal/hardware"
)

// platform is the name of Vertex AI in the catalog of machine types.
const platform = "vertex_ai"

// defaultMachine is what a deployment without a machine type runs on.
const defaultMachine = "n1-standard-2"

// Metrics that a deployment can scale by.
const (
	metricCPU      = "aiplatform.googleapis.com/prediction/online/cpu/utilization"
	metricGPU      = "aiplatform.googleapis.com/prediction/online/accelerator/duty_cycle"
	metricRequests = "aiplatform.googleapis.com/prediction/online/request_count"
)

// checkResources holds the rules of dedicated resources, and says what was left out.
func (r *request) checkResources(res *pb.DedicatedResources) error {
	if res.GetMachineSpec() == nil {
		return invalid("Required field is not set: deployed_model.dedicated_resources.machine_spec.")
	}
	m := res.GetMachineSpec()
	if m.GetMachineType() == "" {
		m.MachineType = defaultMachine
	}
	if err := checkMachine(m); err != nil {
		return err
	}
	if m.GetReservationAffinity() == nil { // reads say so when nothing was asked for
		m.ReservationAffinity = &pb.ReservationAffinity{ReservationAffinityType: pb.ReservationAffinity_NO_RESERVATION}
	}
	low, high := res.GetMinReplicaCount(), res.GetMaxReplicaCount()
	if high == 0 {
		high = max(low, 1)
		res.MaxReplicaCount = high
	}
	const at = "deployed_model.dedicated_resources."
	var bad violations
	switch required := res.GetRequiredReplicaCount(); {
	case low < 0, low == 0 && r.version == v1:
		bad.add(at+"min_replica_count", "The value must be at least 1.")
	case high < low:
		bad.add(at+"max_replica_count", "The value must be at least min_replica_count, %d.", low)
	case required < 0 || required > low:
		bad.add(at+"required_replica_count", "The value must be between 1 and min_replica_count, %d.", low)
	}
	if n := res.GetInitialReplicaCount(); n != 0 && (low != 0 || n < 0 || n > high) {
		bad.add(at+"initial_replica_count", "The value must be between 1 and max_replica_count, %d, and needs a min_replica_count of 0.", high)
	}
	bad.metrics(at+"autoscaling_metric_specs", res)
	bad.toZero(at+"scale_to_zero_spec", res)
	return bad.err()
}

func (v *violations) metrics(field string, res *pb.DedicatedResources) {
	seen := map[string]bool{}
	for _, s := range res.GetAutoscalingMetricSpecs() {
		name := s.GetMetricName()
		preview := strings.HasPrefix(name, "prometheus.googleapis.com/") || strings.HasPrefix(name, "pubsub.googleapis.com/")
		switch {
		case seen[name]:
			v.add(field, "The metric \"%s\" is given more than once.", name)
		case name == metricCPU, name == metricGPU:
			if s.GetTarget() < 1 || s.GetTarget() > 100 {
				v.add(field, "The target of \"%s\" must be between 1 and 100.", name)
			}
			if name == metricGPU && res.GetMachineSpec().GetAcceleratorCount() == 0 {
				v.add(field, "The metric \"%s\" needs an accelerator.", name)
			}
		case name == metricRequests, preview:
			if s.GetTarget() < 1 {
				v.add(field, "The target of \"%s\" must be at least 1.", name)
			}
		default:
			v.add(field, "Unsupported metric name: \"%s\".", name)
		}
		seen[name] = true
	}
}

// The bounds of the periods of scaling to zero.
const (
	leastIdle   = 300 * time.Second
	mostIdle    = 28_800 * time.Second
	defaultIdle = 3600 * time.Second
)

func (v *violations) toZero(field string, res *pb.DedicatedResources) {
	spec := res.GetScaleToZeroSpec()
	if spec == nil {
		return
	}
	if spec.GetIdleScaledownPeriod() != nil {
		if d := spec.GetIdleScaledownPeriod().AsDuration(); d < leastIdle || d > mostIdle {
			v.add(field+".idle_scaledown_period", "The value must be between 300 and 28800 seconds.")
		}
	}
	if spec.GetMinScaleupPeriod() != nil {
		if d := spec.GetMinScaleupPeriod().AsDuration(); d < leastIdle || d > mostIdle {
			v.add(field+".min_scaleup_period", "The value must be between 300 and 28800 seconds.")
		}
	}
}

// checkMachine compares a machine and its accelerators with the catalog.
func checkMachine(m *pb.MachineSpec) error {
	types := hardware.Named(platform, m.GetMachineType())
	if len(types) == 0 {
		return invalid("Machine type \"%s\" is not supported.", m.GetMachineType())
	}
	name, count := "", int(m.GetAcceleratorCount())
	if m.GetAcceleratorType() != pb.AcceleratorType_ACCELERATOR_TYPE_UNSPECIFIED {
		name = m.GetAcceleratorType().String()
	}
	if (name == "") != (count == 0) {
		return invalid("accelerator_type and accelerator_count must be set together.")
	}
	for _, t := range types {
		switch {
		case t.PlatformAccelerator == "" && name == "": // none, or one that is not said: a TPU
			return nil
		case t.PlatformAccelerator != name:
		case t.AcceleratorCount == count, !t.Attached && t.AcceleratorCount > 1 && count <= t.AcceleratorCount/2: // several replicas share a machine
			return nil
		}
	}
	if name == "" {
		return invalid("Machine type \"%s\" needs accelerators: %s.", m.GetMachineType(), accelerators(types))
	}
	return invalid("Machine type \"%s\" does not support %d x %s. It supports: %s.", m.GetMachineType(), count, name, accelerators(types))
}

func accelerators(types []hardware.Type) string {
	var all []string
	for _, t := range types {
		if t.PlatformAccelerator != "" {
			all = append(all, fmt.Sprintf("%d x %s", t.AcceleratorCount, t.PlatformAccelerator))
		}
	}
	if all == nil {
		return "no accelerators"
	}
	return strings.Join(all, ", ")
}

// usage is what a deployment takes of each quota: at most, whatever runs.
func usage(dm *pb.DeployedModel) map[string]int {
	res := dm.GetDedicatedResources()
	m, replicas := res.GetMachineSpec(), int(res.GetMaxReplicaCount())
	kind := "custom_model_serving_"
	if res.GetSpot() {
		kind += "preemptible_"
	}
	used := map[string]int{m.GetMachineType(): replicas}
	if t, ok := hardware.Lookup(platform, m.GetMachineType()); ok {
		family := ""
		if t.Family() != "n1" {
			family = t.Family() + "_"
		}
		used[kind+family+"cpus"] = replicas * int(math.Ceil(t.VCPU))
	}
	if m.GetAcceleratorCount() > 0 {
		gpu := strings.Replace(strings.ToLower(m.GetAcceleratorType().String()), "nvidia_tesla_", "nvidia_", 1)
		used[kind+gpu+"_gpus"] = replicas * int(m.GetAcceleratorCount())
	}
	return used
}

// room refuses a deployment that is more than the project has quota for in the region.
func (r *request) room(dm *pb.DeployedModel) error {
	limits := r.o.Quotas()
	if len(limits) == 0 {
		return nil
	}
	used := usage(dm)
	needed := maps.Clone(used)
	err := eachEndpoint(r.tx, r.key(""), func(e *endpoint) error {
		for _, other := range e.pb.GetDeployedModels() {
			if other.GetId() == dm.GetId() && other.GetModel() == dm.GetModel() {
				continue // it is changed
			}
			for quota, n := range usage(other) {
				if _, counts := used[quota]; counts {
					used[quota] += n
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, quota := range slices.Sorted(maps.Keys(needed)) {
		if limit, limited := limits[quota]; limited && used[quota] > limit {
			if !strings.HasPrefix(quota, "custom_model_serving_") {
				quota = "custom_model_serving_cpus"
			}
			return refusal(codes.ResourceExhausted, "The following quota metrics exceed quota limits: aiplatform.googleapis.com/%s", quota)
		}
	}
	return nil
}
