// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"cmp"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/hardware"
)

// The metrics that the platform scales by.
var metricNames = map[driver.MetricType]string{
	driver.MetricCPU:      "aiplatform.googleapis.com/prediction/online/cpu/utilization",
	driver.MetricGPU:      "aiplatform.googleapis.com/prediction/online/accelerator/duty_cycle",
	driver.MetricRequests: "aiplatform.googleapis.com/prediction/online/request_count", // in a minute, as ours
}

// defaultTarget is what the platform scales by when nothing is said: CPU, and
// accelerators where there are any.
const defaultTarget = 60

// defaultMachine is what an empty machine type stands for.
const defaultMachine = "n1-standard-2"

// deployment translates a deployed model.
func (r *region) deployment(key driver.Key, e *wireEndpoint, dm *deployedModel, is called) driver.DeploymentState {
	d := driver.DeploymentState{ID: dm.ID, Owned: is.owned, Phase: driver.Ready,
		Deployment: driver.Deployment{Name: is.name, Model: r.version(dm), Traffic: e.TrafficSplit[dm.ID], Scaling: driver.Scaling{Min: 1, Max: 1}}}
	if dm.ServiceAccount != "" {
		d.Carried.VertexAI = &driver.VertexAIEndpoint{ServiceAccount: dm.ServiceAccount}
	}
	if res := dm.DedicatedResources; res != nil {
		d.Compute, d.Scaling = computeOf(res), scalingOf(res)
		d.Replicas = res.MinReplicaCount
	}
	if dm.Status != nil {
		d.Reason = dm.Status.Message
		if dm.Status.Available != nil {
			d.Replicas = *dm.Status.Available
		}
	}
	if dm.State == beingDeployed {
		d.Phase = driver.Changing
	}
	if _, own := ownName(r.name, key.Name, dm); own && dm.DisableContainerLogging && d.Phase == driver.Ready {
		d.Repair = "somebody has switched off the logs of its containers, which tell why it fails"
	}
	return d
}

const beingDeployed = "BEING_DEPLOYED"

// version is the version that a deployment serves.
func (r *region) version(dm *deployedModel) driver.VersionRef {
	name, version, _ := strings.Cut(dm.Model, "@")
	return driver.VersionRef{Key: driver.Key{Platform: driver.VertexAI, Location: r.spelled(name), Name: segment(name, "models")}, Version: cmp.Or(dm.ModelVersionID, version)}
}

func computeOf(res *dedicatedResources) driver.Compute {
	m := res.MachineSpec
	c := driver.Compute{InstanceType: cmp.Or(m.MachineType, defaultMachine), Spot: res.Spot}
	if m.AcceleratorCount == 0 {
		return c
	}
	c.Attached = &driver.Accelerator{Type: strings.ToLower(strings.ReplaceAll(m.AcceleratorType, "_", "-")), Count: m.AcceleratorCount}
	for _, t := range hardware.Named(string(driver.VertexAI), c.InstanceType) {
		switch {
		case t.PlatformAccelerator != m.AcceleratorType:
		case t.Attached:
			c.Attached.Type = t.Accelerator
		case t.AcceleratorCount == m.AcceleratorCount:
			c.Attached = nil // what it comes with
			return c
		}
	}
	c.Accelerator = c.Attached
	return c
}

func scalingOf(res *dedicatedResources) driver.Scaling {
	s := driver.Scaling{Min: res.MinReplicaCount, Max: max(res.MaxReplicaCount, res.MinReplicaCount, 1)}
	for _, m := range res.Metrics {
		for t, name := range metricNames {
			if name == m.MetricName {
				s.Metrics = append(s.Metrics, driver.Metric{Type: t, Target: float64(m.Target)})
			}
		}
	}
	if s.Min != s.Max && len(res.Metrics) == 0 {
		s.Metrics = []driver.Metric{{Type: driver.MetricCPU, Target: defaultTarget}}
		if res.MachineSpec.AcceleratorCount > 0 {
			s.Metrics = append(s.Metrics, driver.Metric{Type: driver.MetricGPU, Target: defaultTarget})
		}
	}
	sort.Slice(s.Metrics, func(i, j int) bool { return s.Metrics[i].Type < s.Metrics[j].Type })
	if z := res.ScaleToZero; z != nil && s.Min == 0 {
		if idle, err := time.ParseDuration(z.IdleScaledownPeriod); err == nil && idle != defaultIdle {
			s.ScaleInCooldown = idle
		}
	}
	return s
}

// defaultIdle is how long an idle deployment keeps its replicas when nothing is said.
const defaultIdle = time.Hour

// resources are what a deployment is to run on.
func resources(dep *driver.Deployment) *dedicatedResources {
	s := &dep.Scaling
	res := &dedicatedResources{MachineSpec: machine(&dep.Compute), MinReplicaCount: s.Min, MaxReplicaCount: s.Max, Spot: dep.Compute.Spot}
	for _, m := range s.Metrics {
		res.Metrics = append(res.Metrics, metricSpec{metricNames[m.Type], int(m.Target)})
	}
	if s.Min == 0 {
		idle := cmp.Or(s.ScaleInCooldown, defaultIdle)
		res.ScaleToZero = &toZero{fmt.Sprintf("%ds", int(idle/time.Second))}
	}
	return res
}
