// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"testing"
	"time"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// What endpoints on a cluster do not have is refused with its attribute and what to do
// instead, and not where it is not known yet.
func TestPrepareOnCluster(t *testing.T) {
	t.Parallel()
	d := opened(t)
	base := func() *driver.EndpointSpec {
		key := driver.Key{Platform: driver.AzureML, Location: testLocation, Name: "fraud"}
		return &driver.EndpointSpec{Key: key, Settings: driver.Settings{Auth: driver.Auth{Mode: "key"}, AzureML: &driver.AzureMLEndpoint{Compute: "cluster"}, RequestTimeout: 5 * time.Minute},
			Deployments: []driver.Deployment{{Name: "main", Model: driver.VersionRef{Key: key, Version: "1"}, Traffic: 100, Scaling: driver.Scaling{Min: 1, Max: 1}}}}
	}
	spec := base()
	if err := d.PrepareEndpoint(spec); err != nil || spec.Deployments[0].Compute != (driver.Compute{}) {
		t.Fatalf("%+v, %v", spec.Deployments, err)
	}
	const main = "deployments.main."
	metric := func(m driver.MetricType, target float64) func(*driver.EndpointSpec) {
		return func(s *driver.EndpointSpec) {
			s.Deployments[0].Scaling = driver.Scaling{Min: 1, Max: 3, Metrics: []driver.Metric{{Type: m, Target: target}}}
		}
	}
	compute := func(c driver.Compute) func(*driver.EndpointSpec) {
		return func(s *driver.EndpointSpec) { s.Deployments[0].Compute = c }
	}
	for _, c := range []struct {
		path   string
		change func(*driver.EndpointSpec)
	}{
		{"azure_ml.compute", func(s *driver.EndpointSpec) { s.Settings.AzureML.Compute = "a/b" }},
		{"azure_ml.compute", func(s *driver.EndpointSpec) {
			s.Settings.AzureML.Compute = "/subscriptions/" + testSubscription + "/resourceGroups/Models/providers/Microsoft.MachineLearningServices/workspaces/other/computes/cluster"
		}},
		{"auth.mode", func(s *driver.EndpointSpec) { s.Settings.Auth.Mode = "" }},
		{"network.access", func(s *driver.EndpointSpec) { s.Settings.Network.Access = "private" }},
		{"azure_ml.egress_public", func(s *driver.EndpointSpec) { s.Settings.AzureML.EgressPublic = new(true) }},
		{"request_timeout", func(s *driver.EndpointSpec) { s.Settings.RequestTimeout = 6 * time.Minute }},
		{"rollout.checks.max_error_rate", func(s *driver.EndpointSpec) { s.Rollout.Checks.MaxErrorRate = 1 }},
		{"rollout.checks.max_latency_ms", func(s *driver.EndpointSpec) { s.Rollout.Checks.MaxLatencyMS = 500 }},
		{"rollout.checks.alarms", func(s *driver.EndpointSpec) { s.Rollout.Checks.Alarms = []string{"a/b"} }},
		{main + "mirror", func(s *driver.EndpointSpec) { s.Deployments[0].Traffic, s.Deployments[0].Mirror = 0, 10 }},
		{main + "compute.instance_type", compute(driver.Compute{InstanceType: "Standard_DS3_v2"})},
		{main + "compute.instance_type", compute(driver.Compute{InstanceType: defaultInstance})},
		{main + "compute.memory_gib", compute(driver.Compute{CPU: 2})},
		{main + "compute.cpu", compute(driver.Compute{MemoryGiB: 2})},
		{main + "compute.accelerator", compute(driver.Compute{CPU: 1, MemoryGiB: 2, Accelerator: &driver.Accelerator{Type: "nvidia-t4", Count: 1}})},
		{main + "compute.accelerator", compute(driver.Compute{InstanceType: "gpu", Accelerator: &driver.Accelerator{Type: anyGPU}})},
		{main + "scaling.metrics", metric(driver.MetricRequests, 100)},
		{main + "scaling.metrics", metric(driver.MetricCPU, 33.5)},
		{main + "scaling.scale_in_cooldown", func(s *driver.EndpointSpec) { s.Deployments[0].Scaling.ScaleInCooldown = time.Minute }},
		{main + "scaling.schedules", func(s *driver.EndpointSpec) {
			s.Deployments[0].Scaling.Schedules = []driver.Schedule{{Name: "day", Cron: "0 8 * * *", Min: 2, Max: 2}}
		}},
	} {
		spec := base()
		c.change(spec)
		err := d.PrepareEndpoint(spec)
		if err == nil || mlerr.PathOf(mlerr.Split(err)[0]) != c.path || mlerr.Hint(mlerr.Split(err)[0]) == "" {
			t.Errorf("%s: %v at %q, hint %q", c.path, err, mlerr.PathOf(err), mlerr.Hint(err))
		}
		spec = base()
		c.change(spec)
		spec.Unknown = driver.Unknown{c.path: true}
		for _, err := range mlerr.Split(d.PrepareEndpoint(spec)) {
			if mlerr.PathOf(err) == c.path {
				t.Errorf("%s is judged though it is not known: %v", c.path, err)
			}
		}
	}
	// While nobody knows where it is, what one kind does not have is not refused.
	spec = base()
	spec.Settings.AzureML, spec.Deployments[0].Compute.InstanceType, spec.Unknown = nil, "gpu", driver.Unknown{attributeCompute: true}
	if err := d.PrepareEndpoint(spec); err != nil {
		t.Error(err)
	}
}

// What was sent to a cluster is read back as it was wanted, also in other words.
func TestOnCluster(t *testing.T) {
	t.Parallel()
	for reason, dep := range map[string]driver.Deployment{
		"an instance type": {Compute: driver.Compute{InstanceType: "gpu"}, Scaling: driver.Scaling{Min: 2, Max: 2}},
		"nothing said":     {Scaling: driver.Scaling{Min: 1, Max: 1}},
		"resources":        {Compute: driver.Compute{CPU: 0.25, MemoryGiB: 0.5}, Scaling: driver.Scaling{Min: 1, Max: 9, Metrics: []driver.Metric{{Type: driver.MetricCPU, Target: 55}}}},
		"accelerators":     {Compute: driver.Compute{CPU: 8, MemoryGiB: 30, Accelerator: &driver.Accelerator{Type: anyGPU, Count: 4}}, Scaling: driver.Scaling{Min: 1, Max: 1}},
	} {
		k := onCluster(&ml.ManagedOnlineDeployment{InstanceType: new(dep.Compute.InstanceType)}, &dep)
		got := driver.Deployment{Compute: computeSeen(&deployment{Properties: k}), Scaling: scalingSeen(k.ScaleSettings, dep.Scaling.Min)}
		if diff := cmp.Diff(dep, got); diff != "" {
			t.Errorf("%s:\n%s", reason, diff)
		}
	}
	for text, want := range map[string]float64{"": 0, "2": 2, "500m": 0.5, "1.5Gi": 1.5 * (1 << 30), "512Mi": 1 << 29, "1G": 1e9, "x": 0, "-1": 0} {
		if got := quantity(text); got != want {
			t.Errorf("%q is %g, want %g", text, got, want)
		}
	}
}
