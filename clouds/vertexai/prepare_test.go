// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

func goodEndpoint() *driver.EndpointSpec {
	key := driver.Key{Platform: driver.VertexAI, Location: location, Name: "fraud"}
	return &driver.EndpointSpec{Key: key, Deployments: []driver.Deployment{{Name: "main", Model: driver.VersionRef{Key: key, Version: "1"}, Traffic: 100,
		Compute: driver.Compute{InstanceType: "n2-standard-4"}, Scaling: driver.Scaling{Min: 1, Max: 1}}}}
}

func TestRefusedEndpoints(t *testing.T) {
	t.Parallel()
	d := open(t, Config{})
	if err := d.PrepareEndpoint(goodEndpoint()); err != nil {
		t.Fatal(err)
	}
	for reason, c := range map[string]struct {
		change func(*driver.EndpointSpec)
		path   string
	}{
		"name":               {func(s *driver.EndpointSpec) { s.Key.Name = "Fraud" }, "name"},
		"deployment's name":  {func(s *driver.EndpointSpec) { s.Deployments[0].Name = "main_1" }, "deployments.main_1"},
		"our labels":         {func(s *driver.EndpointSpec) { s.Labels = map[string]string{"ml-endpoint": "x"} }, "labels.ml-endpoint"},
		"Google's labels":    {func(s *driver.EndpointSpec) { s.Labels = map[string]string{"goog-x": "x"} }, "labels.goog-x"},
		"upper case":         {func(s *driver.EndpointSpec) { s.Labels = map[string]string{"Team": "x"} }, "labels.Team"},
		"a value with a dot": {func(s *driver.EndpointSpec) { s.Labels = map[string]string{"team": "a.b"} }, "labels.team"},
		"key of another region": {func(s *driver.EndpointSpec) {
			s.Settings.Encryption.Key = "projects/p/locations/global/keyRings/r/cryptoKeys/k"
		}, "encryption.key"},
		"no key":    {func(s *driver.EndpointSpec) { s.Settings.Encryption.Key = "arn:aws:kms:x" }, "encryption.key"},
		"everybody": {func(s *driver.EndpointSpec) { s.Settings.Auth.Invokers = []string{"allUsers"} }, "auth.invokers"},
		"no member": {func(s *driver.EndpointSpec) { s.Settings.Auth.Invokers = []string{"alice@example.com"} }, "auth.invokers"},
		"a network by its project's id": {func(s *driver.EndpointSpec) {
			s.Settings.Network = driver.Network{Access: "private", Network: "projects/p1/global/networks/n"}
		}, "network.network"},
		"a network of a public endpoint": {func(s *driver.EndpointSpec) { s.Settings.Network.Network = "projects/1/global/networks/n" }, "network.network"},
		"capture into a bucket":          {func(s *driver.EndpointSpec) { s.Settings.Capture = &driver.Capture{Percent: 10, Destination: "gs://b"} }, "capture.destination"},
		"capture of requests only": {func(s *driver.EndpointSpec) {
			s.Settings.Capture = &driver.Capture{Percent: 10, Destination: "bq://p", Include: []string{"request"}}
		}, "capture.include"},
		"a timeout of the shared host": {func(s *driver.EndpointSpec) { s.Settings.RequestTimeout = 2 * time.Minute }, "request_timeout"},
		"a timeout that is too long": {func(s *driver.EndpointSpec) {
			s.Settings.RequestTimeout = 2 * time.Hour
			s.Settings.VertexAI = &driver.VertexAIEndpoint{Dedicated: true}
		}, "request_timeout"},
		"account": {func(s *driver.EndpointSpec) {
			s.Settings.VertexAI = &driver.VertexAIEndpoint{ServiceAccount: "serving"}
		}, "vertex_ai.service_account"},
		"no such machine": {func(s *driver.EndpointSpec) { s.Deployments[0].Compute.InstanceType = "n2-standard-5" }, "deployments.main.compute.instance_type"},
		"machine and accelerator": {func(s *driver.EndpointSpec) {
			s.Deployments[0].Compute.Accelerator = &driver.Accelerator{Type: "nvidia-t4", Count: 1}
		}, "deployments.main.compute.accelerator"},
		"too few of them": {func(s *driver.EndpointSpec) {
			s.Deployments[0].Compute = driver.Compute{InstanceType: "n1-standard-32", Accelerator: &driver.Accelerator{Type: "nvidia-t4", Count: 1}}
		}, "deployments.main.compute.accelerator"},
		"no such accelerator": {func(s *driver.EndpointSpec) {
			s.Deployments[0].Compute = driver.Compute{Accelerator: &driver.Accelerator{Type: "nvidia-a10g"}}
		}, "deployments.main.compute"},
		"an accelerator to scale by": {func(s *driver.EndpointSpec) {
			s.Deployments[0].Scaling = driver.Scaling{Min: 1, Max: 2, Metrics: []driver.Metric{{Type: "gpu", Target: 50}}}
		}, "deployments.main.scaling.metrics"},
		"half a percent": {func(s *driver.EndpointSpec) {
			s.Deployments[0].Scaling = driver.Scaling{Min: 1, Max: 2, Metrics: []driver.Metric{{Type: "cpu", Target: 50.5}}}
		}, "deployments.main.scaling.metrics"},
		"a cooldown":                       {func(s *driver.EndpointSpec) { s.Deployments[0].Scaling.ScaleInCooldown = time.Minute }, "deployments.main.scaling.scale_in_cooldown"},
		"zero on the shared host":          {func(s *driver.EndpointSpec) { s.Deployments[0].Scaling.Min = 0 }, "deployments.main.scaling.min"},
		"a test of what has no requests":   {func(s *driver.EndpointSpec) { s.SmokeTest = &driver.SmokeTest{}; s.Deployments[0].Traffic = 0 }, "deployments.main.traffic"},
		"a test from outside of a network": {func(s *driver.EndpointSpec) { s.SmokeTest = &driver.SmokeTest{}; s.Settings.Network.Access = "private" }, "smoke_test"},
		"a model outside of the registry":  {func(s *driver.EndpointSpec) { s.Deployments[0].Model = driver.VersionRef{Native: "projects/1/x"} }, "deployments.main.model"},
		"steps of what goes to zero": {func(s *driver.EndpointSpec) {
			s.Settings.VertexAI, s.Deployments[0].Scaling.Min = &driver.VertexAIEndpoint{Dedicated: true}, 0
			s.Rollout = driver.Rollout{Strategy: driver.Canary, Steps: []int{10}}
		}, "rollout.strategy"},
		"two at once in a peered network": {func(s *driver.EndpointSpec) {
			s.Settings.Network = driver.Network{Access: "private", Network: "projects/1/global/networks/n"}
			s.Rollout = driver.Rollout{Strategy: driver.BlueGreen}
		}, "rollout.strategy"},
		"steps that are shorter than private metrics are late": {func(s *driver.EndpointSpec) {
			s.Settings.Network.Access = "private"
			s.Rollout = driver.Rollout{Strategy: driver.Linear, Steps: []int{10}, Interval: 7 * time.Minute, Checks: driver.Checks{MaxLatencyMS: 100}}
		}, "rollout.interval"},
		"two of which one goes to zero": {func(s *driver.EndpointSpec) {
			s.Settings.VertexAI = &driver.VertexAIEndpoint{Dedicated: true}
			second := s.Deployments[0]
			second.Name, second.Scaling.Min = "second", 0
			s.Deployments = append(s.Deployments, second)
		}, "deployments"},
	} {
		spec := goodEndpoint()
		c.change(spec)
		err := d.PrepareEndpoint(spec)
		if !mlerr.Is(err, mlerr.InvalidArgument, mlerr.Unsupported) || mlerr.PathOf(err) != c.path || mlerr.Hint(err) == "" && c.path != "name" && c.path != "deployments.main_1" {
			t.Errorf("%s: %v at %q (%s)", reason, err, mlerr.PathOf(err), mlerr.Hint(err))
		}
	}
}

// TestSteps: what can be done in steps, and what Terraform does not know yet, is not refused.
func TestSteps(t *testing.T) {
	t.Parallel()
	measured := driver.Checks{MaxErrorRate: 1, MaxLatencyMS: 100, Alarms: []string{"errors"}}
	for reason, change := range map[string]func(*driver.EndpointSpec){
		"steps": func(s *driver.EndpointSpec) {
			s.Rollout = driver.Rollout{Strategy: driver.Canary, Steps: []int{1, 50}, Interval: 6 * time.Minute, Checks: measured}
		},
		"steps behind a service attachment": func(s *driver.EndpointSpec) {
			s.Settings.Network.Access = "private"
			s.Rollout = driver.Rollout{Strategy: driver.Linear, Steps: []int{10}, Interval: 8 * time.Minute, Checks: measured}
		},
		"steps without metrics there": func(s *driver.EndpointSpec) {
			s.Settings.Network.Access = "private"
			s.Rollout = driver.Rollout{Strategy: driver.Linear, Steps: []int{10}, Interval: time.Minute}
		},
		"all at once where one goes to zero": func(s *driver.EndpointSpec) {
			s.Settings.VertexAI, s.Deployments[0].Scaling.Min = &driver.VertexAIEndpoint{Dedicated: true}, 0
			s.Rollout = driver.Rollout{Strategy: driver.AllAtOnce}
		},
		"scaling that is not known yet": func(s *driver.EndpointSpec) {
			s.Settings.VertexAI = &driver.VertexAIEndpoint{Dedicated: true}
			s.Deployments[0].Scaling, s.Rollout = driver.Scaling{}, driver.Rollout{Strategy: driver.Canary, Steps: []int{10}}
			s.Unknown = driver.Unknown{"deployments.main.scaling.min": true}
		},
	} {
		spec := goodEndpoint()
		change(spec)
		if err := open(t, Config{}).PrepareEndpoint(spec); err != nil {
			t.Errorf("%s: %v at %q", reason, err, mlerr.PathOf(err))
		}
	}
}

func TestComputeResolves(t *testing.T) {
	t.Parallel()
	t4 := &driver.Accelerator{Type: "nvidia-t4", Count: 2}
	for reason, c := range map[string]struct{ ask, want driver.Compute }{
		"numbers":                  {driver.Compute{CPU: 4, MemoryGiB: 15}, driver.Compute{InstanceType: "n1-standard-4"}},
		"with an accelerator":      {driver.Compute{CPU: 4, MemoryGiB: 16, Accelerator: &driver.Accelerator{Type: "nvidia-l4", Count: 1}}, driver.Compute{InstanceType: "g2-standard-4"}},
		"one that is added":        {driver.Compute{CPU: 8, MemoryGiB: 30, Accelerator: t4}, driver.Compute{InstanceType: "n1-standard-8", Attached: t4}},
		"exact, with one":          {driver.Compute{InstanceType: "n1-standard-8", Accelerator: t4, Spot: true}, driver.Compute{InstanceType: "n1-standard-8", Attached: t4, Spot: true}},
		"more than asked for":      {driver.Compute{Accelerator: &driver.Accelerator{Type: "nvidia-t4", Count: 3}}, driver.Compute{InstanceType: "n1-highcpu-4", Attached: &driver.Accelerator{Type: "nvidia-t4", Count: 4}}},
		"exact, and what comes so": {driver.Compute{InstanceType: "g2-standard-24", Accelerator: &driver.Accelerator{Type: "nvidia-l4", Count: 2}}, driver.Compute{InstanceType: "g2-standard-24"}},
	} {
		spec := goodEndpoint()
		spec.Deployments[0].Compute = c.ask
		if err := open(t, Config{}).PrepareEndpoint(spec); err != nil {
			t.Errorf("%s: %v", reason, err)
		}
		if err := open(t, Config{}).PrepareEndpoint(spec); err != nil {
			t.Errorf("%s: once more: %v", reason, err)
		}
		if diff := cmp.Diff(c.want, spec.Deployments[0].Compute.Resolved()); diff != "" {
			t.Errorf("%s:\n%s", reason, diff)
		}
	}
	got := machine(&driver.Compute{InstanceType: "n1-standard-8", Attached: t4})
	if want := (machineSpec{"n1-standard-8", "NVIDIA_TESLA_T4", 2}); got != want {
		t.Errorf("the platform is asked for %+v, want %+v", got, want)
	}
}

func TestRefusedModels(t *testing.T) {
	t.Parallel()
	good := func() *driver.ModelSpec {
		return &driver.ModelSpec{Key: driver.Key{Platform: driver.VertexAI, Location: location, Name: "fraud_v2"}, Artifact: driver.Artifact{URI: "model.onnx", Format: "onnx"},
			Serving: driver.Serving{Runtime: "onnx"}, Approval: driver.Approved, RetainVersions: 10}
	}
	d := open(t, Config{StagingURI: "gs://bucket/prefix"})
	if err := d.PrepareModel(good()); err != nil {
		t.Fatal(err)
	}
	long := map[string]string{"note": string(make([]byte, 5000))}
	for reason, c := range map[string]struct {
		change func(*driver.ModelSpec)
		path   string
	}{
		"name":        {func(s *driver.ModelSpec) { s.Key.Name = "Fraud" }, "name"},
		"default":     {func(s *driver.ModelSpec) { s.Aliases = []string{"default"} }, "aliases"},
		"alias":       {func(s *driver.ModelSpec) { s.Aliases = []string{"Champion"} }, "aliases"},
		"a number":    {func(s *driver.ModelSpec) { s.Aliases = []string{"12"} }, "aliases"},
		"metadata":    {func(s *driver.ModelSpec) { s.Metadata = long }, "metadata"},
		"environment": {func(s *driver.ModelSpec) { s.Serving.Env = map[string]string{"AIP_MODE": "x"} }, "serving.env"},
		"image":       {func(s *driver.ModelSpec) { s.Serving = driver.Serving{Image: "server"} }, "serving.image"},
		"runtime":     {func(s *driver.ModelSpec) { s.Serving.Runtime = "vllm" }, "serving.runtime"},
		"key": {func(s *driver.ModelSpec) {
			s.EncryptionKey = "projects/p/locations/europe-west4/keyRings/r/cryptoKeys/k"
		}, "encryption.key"},
		"nothing to read":   {func(s *driver.ModelSpec) { s.Artifact.URI = "gs://" }, "artifact.uri"},
		"labels of our own": {func(s *driver.ModelSpec) { s.Labels = map[string]string{"managed-by": "me"} }, "labels.managed-by"},
	} {
		spec := good()
		c.change(spec)
		err := d.PrepareModel(spec)
		if !mlerr.Is(err, mlerr.InvalidArgument, mlerr.Unsupported) || mlerr.PathOf(err) != c.path {
			t.Errorf("%s: %v at %q (%s)", reason, err, mlerr.PathOf(err), mlerr.Hint(err))
		}
	}
	if err := open(t, Config{}).PrepareModel(good()); mlerr.PathOf(err) != "artifact.uri" {
		t.Errorf("without a place to copy to: %v", err)
	}
}
