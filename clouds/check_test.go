// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/mem"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

func TestCheckEndpoint(t *testing.T) {
	t.Parallel()
	one := driver.VersionRef{Key: fraud, Version: "1"}
	elsewhere, far := one, one
	elsewhere.Key.Platform, elsewhere.Key.Location = driver.SageMaker, "eu-west-1"
	far.Key.Location = "other"
	requests := []driver.Metric{{Type: driver.MetricRequests, Target: 100}}
	scaled := func(scaling driver.Scaling) func(*driver.EndpointSpec) {
		return func(s *driver.EndpointSpec) { s.Deployments[0].Scaling = scaling }
	}
	two := func(a, b int) func(*driver.EndpointSpec) {
		return func(s *driver.EndpointSpec) {
			other := s.Deployments[0]
			other.Name, other.Traffic = "other", b
			s.Deployments[0].Traffic = a
			s.Deployments = append(s.Deployments, other)
		}
	}
	for _, c := range []struct {
		reason, path string
		code         mlerr.Code
		change       func(*driver.EndpointSpec)
	}{
		{"nothing is wrong", "", 0, func(*driver.EndpointSpec) {}},
		{"shares that add up", "", 0, two(90, 10)},
		{"shares that do not", "deployments", mlerr.InvalidArgument, two(50, 40)},
		{"shares that add up and are none", "deployments.main.traffic", mlerr.InvalidArgument, two(110, -10)},
		{"an unknown share makes the sum unknown", "", 0, func(s *driver.EndpointSpec) {
			two(50, 0)(s)
			s.Unknown = driver.Unknown{"deployments.other.traffic": true}
		}},
		{"more copies than requests", "deployments.main.mirror", mlerr.InvalidArgument, func(s *driver.EndpointSpec) { s.Deployments[0].Mirror = 101 }},
		{"no deployment", "deployments", mlerr.InvalidArgument, func(s *driver.EndpointSpec) { s.Deployments = nil }},
		{"unknown deployments", "", 0, func(s *driver.EndpointSpec) {
			s.Deployments, s.Unknown = nil, driver.Unknown{"deployments": true}
		}},
		{"min over max", "deployments.main.scaling.min", mlerr.InvalidArgument, scaled(driver.Scaling{Min: 3, Max: 2, Metrics: requests})},
		{"no replica at all", "deployments.main.scaling.max", mlerr.InvalidArgument, scaled(driver.Scaling{})},
		{"less than none", "deployments.main.scaling.min", mlerr.InvalidArgument, scaled(driver.Scaling{Min: -1, Max: 1, Metrics: requests})},
		{"a range that nothing chooses from", "deployments.main.scaling.metrics", mlerr.InvalidArgument, scaled(driver.Scaling{Min: 1, Max: 2})},
		{"a range with metrics that are unknown", "", 0, func(s *driver.EndpointSpec) {
			scaled(driver.Scaling{Min: 1, Max: 2})(s)
			s.Unknown = driver.Unknown{"deployments.main.scaling.metrics": true}
		}},
		{"bounds that are unknown", "", 0, func(s *driver.EndpointSpec) {
			scaled(driver.Scaling{Min: 3})(s)
			s.Unknown = driver.Unknown{"deployments.main.scaling.max": true}
		}},
		{"one metric twice", "deployments.main.scaling.metrics", mlerr.InvalidArgument, scaled(driver.Scaling{Min: 1, Max: 2, Metrics: append(requests, requests...)})},
		{"a target of nothing", "deployments.main.scaling.metrics", mlerr.InvalidArgument, scaled(driver.Scaling{Min: 1, Max: 2, Metrics: []driver.Metric{{Type: driver.MetricCPU}}})},
		{"a schedule upside down", "deployments.main.scaling.schedules", mlerr.InvalidArgument, scaled(driver.Scaling{Min: 1, Max: 2, Schedules: []driver.Schedule{{Name: "a", Min: 2, Max: 1}}})},
		{"two schedules of one name", "deployments.main.scaling.schedules", mlerr.InvalidArgument, scaled(driver.Scaling{Min: 1, Max: 2, Schedules: []driver.Schedule{{Name: "a", Max: 1}, {Name: "a", Max: 2}}})},
		{"no model", "deployments.main.model", mlerr.InvalidArgument, func(s *driver.EndpointSpec) { s.Deployments[0].Model = driver.VersionRef{} }},
		{"a model that is unknown", "", 0, func(s *driver.EndpointSpec) {
			s.Deployments[0].Model, s.Unknown = driver.VersionRef{}, driver.Unknown{"deployments.main.model": true}
		}},
		{"a model of another platform", "deployments.main.model", mlerr.InvalidArgument, func(s *driver.EndpointSpec) { s.Deployments[0].Model = elsewhere }},
		{"a model in another place", "deployments.main.model", mlerr.InvalidArgument, func(s *driver.EndpointSpec) { s.Deployments[0].Model = far }},
		{"a place that is unknown", "", 0, func(s *driver.EndpointSpec) {
			s.Deployments[0].Model, s.Unknown = far, driver.Unknown{"location": true}
		}},
		{"a model outside the registry is the platform's to judge", "", 0, func(s *driver.EndpointSpec) {
			s.Deployments[0].Model = driver.VersionRef{Native: "arn:x"}
		}},
		{"a gap of the platform", "auth.mode", mlerr.Unsupported, func(s *driver.EndpointSpec) { s.Settings.Auth.Mode = "mtls" }},
		{"what the driver refuses", "deployments.main.compute.instance_type", mlerr.InvalidArgument, func(s *driver.EndpointSpec) { s.Deployments[0].Compute.InstanceType = "mem.huge" }},
	} {
		spec := endpointOf(one)
		c.change(spec)
		err := newWorld(t).CheckEndpoint(spec)
		if c.path == "" {
			if err != nil {
				t.Errorf("%s: %v", c.reason, err)
			}
			continue
		}
		if !slices.ContainsFunc(mlerr.Split(err), func(e error) bool { return mlerr.PathOf(e) == c.path && mlerr.Is(e, c.code) }) {
			t.Errorf("%s: nothing at %s with code %q in %v", c.reason, c.path, c.code, err)
		}
	}
}

// needy is a platform that keeps two replicas of everything.
type needy struct{ driver.Driver }

func (needy) Features() *driver.Features {
	return &driver.Features{Platform: driver.Kubernetes, MinReplicas: 2}
}

func TestCheckHoldsTheLeastReplicasOfThePlatform(t *testing.T) {
	t.Parallel()
	spec := endpointOf(driver.VersionRef{Key: fraud, Version: "1"})
	c := New(needy{mem.Open(mem.NewPlatform(newClock()), driver.Kubernetes, "default", mem.Hook{})}, Options{})
	err := c.CheckEndpoint(spec)
	wantCode(t, err, mlerr.Unsupported, "one replica where two are the least")
	if mlerr.PathOf(err) != "deployments.main.scaling.min" {
		t.Errorf("path %q", mlerr.PathOf(err))
	}
}

func TestCheckModel(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reason, path, runtime string
		change                func(*driver.ModelSpec)
	}{
		{"the format implies the runtime", "", "onnx", func(*driver.ModelSpec) {}},
		{"the user's own runtime", "", "triton", func(s *driver.ModelSpec) { s.Serving.Runtime = "triton" }},
		{"an image needs none", "", "", func(s *driver.ModelSpec) { s.Serving.Image = "x:1" }},
		{"a format that implies none", "serving", "", func(s *driver.ModelSpec) { s.Artifact.Format = "custom" }},
		{"unless the image is not known yet", "", "", func(s *driver.ModelSpec) {
			s.Artifact.Format, s.Unknown = "custom", driver.Unknown{"serving.image": true}
		}},
		{"nothing to retain", "retain_versions", "onnx", func(s *driver.ModelSpec) { s.RetainVersions = 0 }},
	} {
		w := newWorld(t)
		spec := w.spec("one")
		c.change(spec)
		err := w.CheckModel(spec)
		if (err == nil) != (c.path == "") || mlerr.PathOf(err) != c.path || spec.Serving.Runtime != c.runtime {
			t.Errorf("%s: %v, runtime %q", c.reason, err, spec.Serving.Runtime)
		}
	}
}

func TestProvidersLabelsAreUnderTheResources(t *testing.T) {
	t.Parallel()
	c := New(mem.Open(mem.NewPlatform(newClock()), driver.Kubernetes, "default", mem.Hook{}), Options{Labels: map[string]string{"team": "all", "env": "prod"}})
	spec := endpointOf(driver.VersionRef{Key: fraud, Version: "1"})
	spec.Labels = map[string]string{"team": "risk"}
	for range 2 { // twice is as once: specifications are checked in plan and apply
		if err := c.CheckEndpoint(spec); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(map[string]string{"team": "risk", "env": "prod"}, spec.Labels); diff != "" {
		t.Error(diff)
	}
}

func TestArtifactScheme(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{"models/fraud.onnx": "file", "./a:b.onnx": "file", `C:\models\x.onnx`: "file", "C:/models/x.onnx": "file",
		"s3://b/k": "s3", "models:/fraud/3": "models", "git::https://h/r//p?ref=v1": "git", "hf://org/repo": "hf", "fraud.onnx": "file"} {
		if got := scheme(uri); got != want {
			t.Errorf("%s has the scheme %q, want %q", uri, got, want)
		}
	}
}
