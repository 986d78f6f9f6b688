// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

const (
	location = "p1/us-central1"
	digest   = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
)

func open(t *testing.T, c Config) *vertex {
	t.Helper()
	c.Isolated = true
	d, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	return d.(*vertex)
}

// What a deployment is made with reads back as what was wanted.
func TestDeploymentsComeBack(t *testing.T) {
	t.Parallel()
	r := open(t, Config{}).at(location)
	model := driver.VersionRef{Key: driver.Key{Platform: driver.VertexAI, Location: location, Name: "fraud"}, Version: "3"}
	for reason, dep := range map[string]driver.Deployment{
		"plain": {Compute: driver.Compute{InstanceType: "n2-standard-4"}, Scaling: driver.Scaling{Min: 1, Max: 1}},
		"spot, with accelerators that the type comes with": {Compute: driver.Compute{InstanceType: "g2-standard-24", Spot: true},
			Scaling: driver.Scaling{Min: 1, Max: 4, Metrics: []driver.Metric{{Type: driver.MetricGPU, Target: 70}, {Type: driver.MetricRequests, Target: 300}}}},
		"accelerators added": {Compute: driver.Compute{InstanceType: "n1-standard-8", Attached: &driver.Accelerator{Type: "nvidia-t4", Count: 2}},
			Scaling: driver.Scaling{Min: 2, Max: 2}},
		"a TPU": {Compute: driver.Compute{InstanceType: "ct5lp-hightpu-4t"}, Scaling: driver.Scaling{Min: 1, Max: 1}},
		"to zero": {Compute: driver.Compute{InstanceType: "n2-standard-4"}, Scaling: driver.Scaling{Min: 0, Max: 3, ScaleInCooldown: 10 * time.Minute,
			Metrics: []driver.Metric{{Type: driver.MetricCPU, Target: 60}}}},
	} {
		dep.Name, dep.Model, dep.Traffic = "main", model, 100
		hash := deploymentHash(&dep, machine(&dep.Compute), "")
		dm := deployedModel{ID: deploymentID("us-central1", "fraud", displayName("main", hash), 3), DisplayName: displayName("main", hash),
			Model: "projects/123/locations/us-central1/models/fraud@3", ModelVersionID: "3", DedicatedResources: resources(&dep)}
		e := &wireEndpoint{Name: "projects/123/locations/us-central1/endpoints/fraud", DeployedModels: []deployedModel{dm}, TrafficSplit: map[string]int{dm.ID: 100}}
		seen := r.state(driver.Key{Platform: driver.VertexAI, Location: location, Name: "fraud"}, e)
		if len(seen.Deployments) != 1 || !seen.Deployments[0].Owned {
			t.Errorf("%s: it is not seen to be ours: %+v", reason, seen.Deployments)
			continue
		}
		dep.Compute.Accelerator = dep.Compute.Attached // as a configuration has it
		if diff := cmp.Diff(dep, seen.Deployments[0].Deployment); diff != "" {
			t.Errorf("%s: wanted and seen differ:\n%s", reason, diff)
		}
	}
}

func TestDeploymentsOfOthers(t *testing.T) {
	t.Parallel()
	r := open(t, Config{}).at(location)
	display := displayName("main", "abcdefghij")
	e := &wireEndpoint{Labels: map[string]string{labelDeployment + "old": "77"}, DeployedModels: []deployedModel{
		{ID: "1", DisplayName: "canary", Model: "projects/123/locations/europe-west4/models/8@2"},
		{ID: "2", DisplayName: "Fraud model, second try"},
		{ID: "3", DisplayName: "twin"}, {ID: "4", DisplayName: "twin"},
		{ID: "5", DisplayName: display}, // our form, and not our id
		{ID: "77", DisplayName: "anything"},
		{ID: deploymentID(r.name, "fraud", display, 0), DisplayName: display},
	}}
	got := r.names("fraud", e)
	want := map[string]called{"1": {name: "canary"}, "2": {name: "d2"}, "3": {name: "d3"}, "4": {name: "d4"}, "5": {name: "d5"},
		"77": {name: "old", owned: true}, deploymentID(r.name, "fraud", display, 0): {name: "main", owned: true}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(called{})); diff != "" {
		t.Error(diff)
	}
	// Somebody's "main" is not ours beside one of ours, but what ours is to replace on
	// an endpoint that is being adopted.
	e = &wireEndpoint{DeployedModels: []deployedModel{{ID: "9", DisplayName: "main", Model: "projects/123/locations/europe-west4/models/8@2"},
		{ID: deploymentID(r.name, "fraud", display, 0), DisplayName: display}}}
	if got := r.names("fraud", e)["9"]; got != (called{name: "main"}) {
		t.Errorf("on an endpoint that is being adopted it is called %+v", got)
	}
	e.Labels = map[string]string{labelManagedBy: managedBy, labelEndpoint: "fraud"}
	if got := r.names("fraud", e)["9"]; got != (called{name: "d9"}) {
		t.Errorf("on an endpoint of ours it is called %+v", got)
	}
	if ref := r.version(&e.DeployedModels[0]); ref.String() != "vertex_ai/p1/europe-west4/8@2" {
		t.Errorf("the version is read as %s", ref)
	}
}

// A deployment made by hand without metrics follows the platform's default ones.
func TestDefaultMetrics(t *testing.T) {
	t.Parallel()
	for reason, c := range map[string]struct {
		res  dedicatedResources
		want []driver.Metric
	}{
		"fixed":       {dedicatedResources{MinReplicaCount: 2}, nil},
		"CPU":         {dedicatedResources{MinReplicaCount: 1, MaxReplicaCount: 3}, []driver.Metric{{Type: driver.MetricCPU, Target: 60}}},
		"and the GPU": {dedicatedResources{MachineSpec: machineSpec{AcceleratorCount: 1}, MinReplicaCount: 1, MaxReplicaCount: 3}, []driver.Metric{{Type: driver.MetricCPU, Target: 60}, {Type: driver.MetricGPU, Target: 60}}},
	} {
		if diff := cmp.Diff(c.want, scalingOf(&c.res).Metrics); diff != "" {
			t.Errorf("%s:\n%s", reason, diff)
		}
	}
}

func TestDeploymentIDs(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for attempt := range mostAttempts {
		id := deploymentID("us-central1", "fraud", "ml/main/abcdefghij", attempt)
		if len(id) != 10 || id[0] == '0' || strings.Trim(id, "0123456789") != "" || seen[id] {
			t.Errorf("attempt %d gives %q", attempt, id)
		}
		seen[id] = true
	}
	dep := driver.Deployment{Model: driver.VersionRef{Key: driver.Key{Location: location, Name: "fraud"}, Version: "1"}, Compute: driver.Compute{InstanceType: "n1-standard-4"}}
	same := dep
	same.Model.Key.Location = "123/us-central1" // the project's number
	if deploymentHash(&dep, machineSpec{}, "") != deploymentHash(&same, machineSpec{}, "") {
		t.Error("a project's id and its number make different deployments")
	}
	for what, change := range map[string]func(*driver.Deployment){"version": func(d *driver.Deployment) { d.Model.Version = "2" }, "spot": func(d *driver.Deployment) { d.Compute.Spot = true }} {
		other := dep
		change(&other)
		if deploymentHash(&dep, machineSpec{}, "") == deploymentHash(&other, machineSpec{}, "") {
			t.Errorf("another %s is the same deployment", what)
		}
	}
}

func TestLabelsHoldDigestsAndAccounts(t *testing.T) {
	t.Parallel()
	if got := short(digest); len(got) != 52 || long(got) != digest || !labelFits(labelValue, got) {
		t.Errorf("%s is kept as %q, which is read as %q", digest, got, long(got))
	}
	for _, foreign := range []string{"", "true", "0", strings.Repeat("a", 63)} {
		if long(foreign) != "" {
			t.Errorf("%q is read as a digest", foreign)
		}
	}
	labels := map[string]string{}
	account(labels, "serving@my-project.iam.gserviceaccount.com")
	for _, v := range labels {
		if !labelFits(labelValue, v) {
			t.Errorf("no label takes %q", v)
		}
	}
	if got := accountIn(labels); got != "serving@my-project.iam.gserviceaccount.com" {
		t.Errorf("the account comes back as %q", got)
	}
}

// A version carries what it was published with, and one by hand what can be guessed.
func TestVersions(t *testing.T) {
	t.Parallel()
	spec := &driver.ModelSpec{Key: driver.Key{Platform: driver.VertexAI, Location: location, Name: "fraud"}, Artifact: driver.Artifact{Format: "onnx", Digest: digest},
		Serving: driver.Serving{Runtime: "onnx", Env: map[string]string{"A": "1"}}, Metadata: map[string]string{"git": "abc"}, Approval: driver.Approved}
	rec := record{Format: "onnx", Serving: spec.Serving, Metadata: spec.Metadata}
	m := &wireModel{Name: "projects/123/locations/us-central1/models/fraud", VersionID: "4", VersionAliases: []string{"default", "b", "a"}, VersionDescription: rec.text(),
		Labels: versionLabels(spec.VersionHash(), digest, driver.Approved), ArtifactURI: "gs://b/x"}
	want := driver.Version{Version: "4", NativeID: m.Name + "@4", Owned: true, Hash: spec.VersionHash(), Artifact: driver.Artifact{URI: "gs://b/x", Format: "onnx", Digest: digest},
		Serving: spec.Serving, Aliases: []string{"a", "b"}, Approval: driver.Approved, Metadata: spec.Metadata, Phase: driver.Ready}
	got := versionOf(m)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !got.Is(spec) {
		t.Error("it is not seen to be what was published")
	}
	foreign := versionOf(&wireModel{VersionID: "1", VersionDescription: "second try", ContainerSpec: &containerSpec{ImageURI: "europe-docker.pkg.dev/vertex-ai/prediction/sklearn-cpu.1-6:latest",
		Env: []envVar{{"A", "1"}}, Ports: []wirePort{{8081}}, HealthRoute: "/ping"}})
	wantForeign := driver.Version{Version: "1", NativeID: "@1", Artifact: driver.Artifact{Format: "sklearn"}, Approval: driver.Approved, Phase: driver.Ready, Description: "second try",
		Serving: driver.Serving{Image: "europe-docker.pkg.dev/vertex-ai/prediction/sklearn-cpu.1-6:latest", Env: map[string]string{"A": "1"}, Port: 8081, HealthPath: "/ping"}}
	if diff := cmp.Diff(wantForeign, foreign); diff != "" {
		t.Error(diff)
	}
}

func TestContainers(t *testing.T) {
	t.Parallel()
	d := open(t, Config{})
	for reason, c := range map[string]struct {
		serving  driver.Serving
		location string
		want     *containerSpec
	}{
		"a preset of Google's, from the multi-region of the region": {driver.Serving{Runtime: "sklearn"}, "p1/africa-south1",
			&containerSpec{ImageURI: "europe-docker.pkg.dev/vertex-ai/prediction/sklearn-cpu.1-6:latest", Ports: []wirePort{{8080}}}},
		"a preset that the project has to have": {driver.Serving{Runtime: "onnx", Env: map[string]string{"B": "2", "A": "1"}}, location,
			&containerSpec{ImageURI: "us-central1-docker.pkg.dev/p1/ml-runtimes/tritonserver:25.09-py3", Ports: []wirePort{{8080}}, SharedMemorySizeMB: "2048", Env: []envVar{{"A", "1"}, {"B", "2"}}}},
		"everything given": {driver.Serving{Image: "us-central1-docker.pkg.dev/p1/m/server:1", Command: []string{"serve"}, Args: []string{"-x"}, Port: 9000, GRPCPort: 9001, PredictPath: "/p", HealthPath: "/h"}, location,
			&containerSpec{ImageURI: "us-central1-docker.pkg.dev/p1/m/server:1", Command: []string{"serve"}, Args: []string{"-x"}, Ports: []wirePort{{9000}}, GRPCPorts: []wirePort{{9001}}, PredictRoute: "/p", HealthRoute: "/h"}},
	} {
		spec := &driver.ModelSpec{Key: driver.Key{Location: c.location}, Serving: c.serving}
		got, err := container(spec, d.cfg.images(d.at(c.location)))
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", reason, err, diff)
		}
	}
	_, err := container(&driver.ModelSpec{Serving: driver.Serving{Runtime: "vllm"}}, "")
	if !mlerr.Is(err, mlerr.Unsupported) || mlerr.PathOf(err) != "serving.runtime" {
		t.Errorf("a runtime that reads nothing from Cloud Storage: %v", err)
	}
}

func TestLabelRules(t *testing.T) {
	t.Parallel()
	for reason, c := range map[string]struct {
		key, value string
		path       string // of the refusal; "" for none
	}{
		"letters of any alphabet":   {"équipe", "リスク-1", ""},
		"as long as can be":         {strings.Repeat("k", 63), strings.Repeat("v", 63), ""},
		"no value":                  {"team", "", ""},
		"a key too long":            {strings.Repeat("k", 64), "v", "labels." + strings.Repeat("k", 64)},
		"a value too long":          {"team", strings.Repeat("v", 64), "labels.team"},
		"too many bytes":            {"team", strings.Repeat("リ", 43), "labels.team"},
		"an upper-case value":       {"team", "Risk", "labels.team"},
		"a key that begins wrongly": {"1team", "risk", "labels.1team"},
		"a key of ours":             {"ml-team", "risk", "labels.ml-team"},
	} {
		if err := checkLabels(map[string]string{c.key: c.value}, 4); (err == nil) != (c.path == "") || mlerr.PathOf(err) != c.path {
			t.Errorf("%s: %v at %q", reason, err, mlerr.PathOf(err))
		}
	}
}
