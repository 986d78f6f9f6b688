// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/drivertest"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// attached attaches a cluster to the workspace.
func (h *harness) attached(t *testing.T, name, kind string) {
	t.Helper()
	h.call(t, http.MethodPut, here+"computes/"+name+learning, map[string]any{"location": h.region(t), "properties": map[string]any{"computeType": kind, "properties": map[string]any{}}})
}

// onCluster is an endpoint on a cluster.
func (h *harness) onCluster(name, cluster string, ref driver.VersionRef) *driver.EndpointSpec {
	spec := h.endpoint(name, ref)
	spec.Settings.AzureML = &driver.AzureMLEndpoint{Compute: cluster}
	spec.Deployments[0].Compute = driver.Compute{CPU: 0.5, MemoryGiB: 1.5}
	return spec
}

// properties are those of the deployment as the API shows it.
func (h *harness) properties(t *testing.T, endpoint string) map[string]any {
	t.Helper()
	d, _ := h.deployed(t, endpoint, "main")
	return d["properties"].(map[string]any)
}

// An endpoint on a cluster is made, answers, is scaled in place and changed beside what
// serves, and leaves nothing.
func TestKubernetesCompute(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	h.attached(t, "Cluster", "Kubernetes")
	ref := h.published(t, c, "fraud", "one")
	spec := h.onCluster("fraud", strings.ToUpper(here)+"computes/Cluster", ref)
	apply := func(reason string) *driver.EndpointState {
		t.Helper()
		state, err := h.apply(t.Context(), c, spec)
		if err != nil {
			t.Fatalf("%s: %v", reason, err)
		}
		want, got := spec.Deployments[0], state.Deployments[0].Deployment
		want.Compute = want.Compute.Resolved()
		if diff := cmp.Diff(want, got); diff != "" || len(state.Deployments) != 1 || state.Unfinished != "" {
			t.Fatalf("%s: wanted and seen differ:\n%s%d deployments; %s", reason, diff, len(state.Deployments), state.Unfinished)
		}
		if diff := cmp.Diff(spec.Settings, state.Settings); diff != "" {
			t.Fatalf("%s: settings differ:\n%s", reason, diff)
		}
		fresh, calls := h.cloud(t)
		again, err := fresh.ObserveEndpoint(t.Context(), spec.Key, state)
		must(t, err)
		if diff := cmp.Diff(state, again); diff != "" || len(calls.changes()) > 0 {
			t.Fatalf("%s: a refresh sees something else:\n%s%v", reason, diff, calls.changes())
		}
		return state
	}
	first := apply("as made")
	if spec.Settings.AzureML.Compute != "Cluster" {
		t.Errorf("its compute is %s", spec.Settings.AzureML.Compute)
	}
	p := h.properties(t, "fraud")
	size := map[string]any{"cpu": "0.5", "memory": "1.5Gi"}
	if diff := cmp.Diff(map[string]any{"containerResourceRequests": size, "containerResourceLimits": size}, p["containerResourceRequirements"]); diff != "" || p["endpointComputeType"] != "Kubernetes" {
		t.Errorf("it was sent as %v\n%s", p, diff)
	}
	answer, err := c.Invoke(t.Context(), spec.Key, "", driver.Request{Body: []byte(`{"inputs":[1]}`), ContentType: "application/json"})
	if err != nil || !strings.Contains(string(answer.Body), `"version":"1"`) {
		t.Errorf("it answers %+v, %v", answer, err)
	}
	for reason, s := range map[string]driver.Scaling{
		"bounds and a target": {Min: 2, Max: 5, Metrics: []driver.Metric{{Type: driver.MetricCPU, Target: 60}}},
		"a fixed count":       {Min: 3, Max: 3},
	} {
		spec.Deployments[0].Scaling = s
		if now := apply(reason); now.Deployments[0].ID != first.Deployments[0].ID {
			t.Errorf("%s made another deployment", reason)
		}
	}
	for reason, change := range map[string]func(*driver.EndpointSpec){
		"an instance type":      func(s *driver.EndpointSpec) { s.Deployments[0].Compute = driver.Compute{InstanceType: "gpu"} },
		"nothing said":          func(s *driver.EndpointSpec) { s.Deployments[0].Compute = driver.Compute{} },
		"a GPU":                 func(s *driver.EndpointSpec) { s.Deployments[0].Compute = gpus(2) },
		"four minutes":          func(s *driver.EndpointSpec) { s.Settings.RequestTimeout = 4 * time.Minute },
		"tokens, and a smaller": func(s *driver.EndpointSpec) { s.Settings.Auth.Mode, s.Settings.RequestTimeout = "token", time.Second },
	} {
		before := h.properties(t, "fraud")
		change(spec)
		apply(reason)
		if cmp.Equal(before, h.properties(t, "fraud")) {
			t.Errorf("%s changes nothing", reason)
		}
	}
	must(t, c.DestroyEndpoint(t.Context(), spec.Key, clouds.How{Limit: time.Hour}))
	if left := h.Objects(t); slices.ContainsFunc(left, func(s string) bool {
		return strings.HasPrefix(s, "deployment") || strings.HasPrefix(s, "endpoint") || strings.HasPrefix(s, "autoscale")
	}) {
		t.Errorf("destroyed, there is %v", left)
	}
}

func gpus(n int) driver.Compute {
	return driver.Compute{CPU: 4, MemoryGiB: 16, Accelerator: &driver.Accelerator{Type: "nvidia-gpu", Count: n}}
}

// Deployments are made one after the other, and a rollout takes the requests over.
func TestKubernetesComputeRollsOut(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	h.attached(t, "cluster", "Kubernetes")
	one, two := h.published(t, c, "fraud", "one"), h.published(t, c, "fraud", "two")
	spec := h.onCluster("an-endpoint-whose-name-is-so-long", "cluster", one)
	spec.Key.Name = spec.Key.Name[:32]
	other := spec.Deployments[0]
	other.Name, other.Model = "other-with-a-name-of-its-own", two
	spec.Deployments = append(spec.Deployments, other)
	spec.Deployments[0].Traffic, spec.Deployments[1].Traffic = 60, 40
	state, err := h.apply(t.Context(), c, spec)
	must(t, err)
	for _, d := range state.Deployments {
		if len(spec.Key.Name)+len(d.ID) > 62 {
			t.Errorf("the name %s is too long beside the endpoint's", d.ID)
		}
	}
	spec.Deployments[0].Model = two
	state, err = h.apply(t.Context(), c, spec)
	must(t, err)
	if len(state.Deployments) != 2 || state.Deployments[0].Model != two || state.Deployments[0].Traffic != 60 {
		t.Errorf("%+v", state.Deployments)
	}
	h.FailNextDeploy(t, "0/3 nodes are available")
	spec.Deployments[0].Env = map[string]string{"A": "1"}
	if _, err := h.apply(t.Context(), c, spec); !mlerr.Is(err, mlerr.RolledBack) || !strings.Contains(err.Error(), "0/3 nodes") {
		t.Errorf("a deployment that fails: %v", err)
	}
	if state, err = c.ObserveEndpoint(t.Context(), spec.Key, nil); err != nil || len(state.Deployments) != 2 || state.Deployments[0].Traffic != 60 {
		t.Errorf("rolled back, it is %+v, %v", state, err)
	}
}

// What somebody changes on a cluster is seen and put right.
func TestKubernetesComputeDrift(t *testing.T) {
	t.Parallel()
	for reason, change := range map[string]func(d, p map[string]any){
		"other bounds": func(_, p map[string]any) { p["scaleSettings"].(map[string]any)["maxInstances"] = 9 },
		"no autoscaler": func(d, p map[string]any) {
			p["scaleSettings"], d["sku"] = map[string]any{"scaleType": "Default"}, map[string]any{"name": "Default", "capacity": 2}
		},
		"less memory": func(_, p map[string]any) {
			p["containerResourceRequirements"].(map[string]any)["containerResourceRequests"].(map[string]any)["memory"] = "512Mi"
		},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			h := newHarness(t)
			c, _ := h.cloud(t)
			h.attached(t, "cluster", "Kubernetes")
			spec := h.onCluster("fraud", "cluster", h.published(t, c, "fraud", "one"))
			spec.Deployments[0].Scaling = driver.Scaling{Min: 1, Max: 3, Metrics: []driver.Metric{{Type: driver.MetricCPU, Target: 60}}}
			before, err := h.apply(t.Context(), c, spec)
			must(t, err)
			now, _ := h.deployed(t, "fraud", "main")
			out := repeated(now)
			change(out, out["properties"].(map[string]any))
			h.change(t, http.MethodPut, now["id"].(string)+learning, out)
			fresh, _ := h.cloud(t)
			seen, err := fresh.ObserveEndpoint(t.Context(), spec.Key, before)
			must(t, err)
			if cmp.Equal(before.Deployments, seen.Deployments) {
				t.Fatal("it is not seen")
			}
			after, err := h.apply(t.Context(), fresh, spec)
			must(t, err)
			after.Deployments[0].Replicas = before.Deployments[0].Replicas // inside of the bounds it is the autoscaler's
			if diff := cmp.Diff(before.Deployments, after.Deployments); diff != "" {
				t.Errorf("it is not put right:\n%s", diff)
			}
		})
	}
}

// What others made on a cluster is taken over as it is.
func TestKubernetesComputeAdopted(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, _ := h.cloud(t)
	h.attached(t, "cluster", "Kubernetes")
	ref := h.published(t, c, "fraud", "one")
	region := h.region(t)
	made := map[string]any{"location": region, "properties": map[string]any{"authMode": "Key", "compute": here + "computes/cluster"}}
	h.change(t, http.MethodPut, here+"onlineEndpoints/legacy"+learning, made)
	h.change(t, http.MethodPut, here+"onlineEndpoints/legacy/deployments/main"+learning, map[string]any{"location": region, "sku": map[string]any{"name": "Default", "capacity": 1},
		"properties": map[string]any{"endpointComputeType": "Kubernetes", "model": here + "models/fraud/versions/1",
			"containerResourceRequirements": map[string]any{"containerResourceRequests": map[string]any{"cpu": "500m", "memory": "1536Mi"}, "containerResourceLimits": map[string]any{"cpu": "1", "memory": "2Gi"}}}})
	made["properties"].(map[string]any)["traffic"] = map[string]any{"main": 100}
	h.change(t, http.MethodPut, here+"onlineEndpoints/legacy"+learning, made)

	imported, err := c.ObserveEndpoint(t.Context(), driver.Key{Platform: driver.AzureML, Location: location, Name: "legacy"}, nil)
	must(t, err)
	want := driver.Scaling{Min: 1, Max: 1, Metrics: []driver.Metric{{Type: driver.MetricCPU, Target: 70}}} // the platform's, when nothing is said
	d := imported.Deployments[0]
	if diff := cmp.Diff(want, d.Scaling); diff != "" || d.Compute != (driver.Compute{CPU: 0.5, MemoryGiB: 1.5}) || imported.Settings.AzureML.Compute != "cluster" {
		t.Fatalf("it is seen as %+v\n%s", imported, diff)
	}
	spec := h.onCluster("legacy", "cluster", ref)
	spec.Deployments[0].Scaling = want
	fresh, calls := h.cloud(t)
	must(t, fresh.CheckEndpoint(spec))
	before := h.properties(t, "legacy")
	spec.Labels = map[string]string{"team": "risk"}
	state, err := h.apply(t.Context(), fresh, spec)
	must(t, err)
	if now := h.properties(t, "legacy"); !cmp.Equal(before, now) || len(state.Deployments) != 1 || slices.ContainsFunc(calls.changes(), func(s string) bool { return strings.Contains(s, "/deployments/") }) {
		t.Errorf("adopted, its deployment has changed: %v\n%s", calls.changes(), cmp.Diff(before, now))
	}
	// Bounds change in place, and all else that it was made with stays.
	spec.Deployments[0].Scaling = driver.Scaling{Min: 2, Max: 4, Metrics: []driver.Metric{{Type: driver.MetricCPU, Target: 50}}}
	_, err = h.apply(t.Context(), fresh, spec)
	must(t, err)
	now := h.properties(t, "legacy")
	if !cmp.Equal(before["containerResourceRequirements"], now["containerResourceRequirements"]) || now["scaleSettings"].(map[string]any)["maxInstances"] != 4.0 {
		t.Errorf("scaled, it is %v", now)
	}
	// A managed endpoint it cannot become.
	managed := h.endpoint("legacy", ref)
	if got := c.Replaces(spec, managed); !slices.Equal(got, []string{"azure_ml.compute"}) {
		t.Errorf("on machines of the platform's only a new endpoint can be: %v", got)
	}
	if _, err := h.apply(t.Context(), c, managed); !mlerr.Is(err, mlerr.Unsupported) || !strings.Contains(err.Error(), "Kubernetes compute cluster") {
		t.Errorf("it becomes a managed one: %v", err)
	}
}

// A plan asks for the cluster.
func TestKubernetesComputePreflight(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	c, calls := h.cloud(t)
	h.attached(t, "machines", "AmlCompute")
	h.attached(t, "cluster", "Kubernetes")
	h.call(t, http.MethodPut, strings.TrimSuffix(here, "/")+learning, map[string]any{"location": "eastus", "properties": map[string]any{"v1LegacyMode": true}})
	ref := driver.VersionRef{Key: driver.Key{Platform: driver.AzureML, Location: location, Name: "fraud"}, Version: "1"}
	for name, words := range map[string]string{"cluster": "", "later": "no compute later yet", "machines": "of type AmlCompute"} {
		spec := h.onCluster("fraud", name, ref)
		must(t, c.CheckEndpoint(spec))
		warnings, err := c.Preflight(t.Context(), spec, nil)
		said := strings.Join(warnings, "\n")
		if name == "machines" {
			if mlerr.PathOf(err) != "azure_ml.compute" || mlerr.Hint(err) == "" {
				t.Fatalf("%v at %q", err, mlerr.PathOf(err))
			}
			said, err = err.Error(), nil
		}
		if err != nil || (said == "") != (words == "") || !strings.Contains(said, words) {
			t.Errorf("%s: %q, %v", name, said, err)
		}
	}
	if made := calls.changes(); len(made) > 0 {
		t.Errorf("it makes changes: %v", made)
	}
	if _, err := h.apply(t.Context(), c, h.onCluster("fraud", "later", h.published(t, c, "fraud", "one"))); !mlerr.Is(err, mlerr.InvalidArgument) || mlerr.PathOf(err) != "azure_ml.compute" {
		t.Errorf("without its cluster: %v at %q", err, mlerr.PathOf(err))
	}
}

// clustered is a harness whose endpoints are on a cluster.
type clustered struct{ *harness }

func newClustered(t *testing.T) clustered {
	t.Helper()
	h := newHarness(t)
	h.attached(t, "cluster", "Kubernetes")
	return clustered{h}
}

func (h clustered) Fork(t *testing.T) drivertest.Harness {
	t.Helper()
	return clustered{h.harness.Fork(t).(*harness)}
}

func (h clustered) Open(t *testing.T, c *drivertest.Cutter) driver.Driver {
	t.Helper()
	return keyed{h.harness.Open(t, c)}
}

// keyed says what all endpoints on a cluster lack, which features say of a platform only.
type keyed struct{ driver.Driver }

func (d keyed) Features() *driver.Features {
	f := *d.Driver.Features()
	const unwatched = "has no metrics of endpoints there"
	f.Gaps = append(slices.Clone(f.Gaps), driver.Gap{Path: "auth.mode", Values: []string{"iam"}, Reason: "takes no tokens of Microsoft Entra ID there", Alternative: "Use key or token."},
		driver.Gap{Path: "rollout.checks.max_error_rate", Reason: unwatched, Alternative: "Use alarms."}, driver.Gap{Path: "rollout.checks.max_latency_ms", Reason: unwatched, Alternative: "Use alarms."})
	return &f
}

func (h clustered) Endpoint(name string) *driver.EndpointSpec {
	spec := h.harness.Endpoint(name)
	spec.Settings.AzureML = &driver.AzureMLEndpoint{Compute: "cluster"}
	return spec
}

func (h clustered) Compute() (small, large driver.Compute) {
	return driver.Compute{CPU: 1, MemoryGiB: 2}, driver.Compute{InstanceType: "large"}
}

func (h clustered) HandMade(t *testing.T, name string, ref driver.VersionRef) {
	t.Helper()
	region := h.region(t)
	made := map[string]any{"location": region, "properties": map[string]any{"authMode": "Key", "compute": here + "computes/cluster"}}
	h.change(t, http.MethodPut, here+"onlineEndpoints/"+name+learning, made)
	h.change(t, http.MethodPut, here+"onlineEndpoints/"+name+"/deployments/main"+learning, map[string]any{"location": region, "sku": map[string]any{"name": "Default", "capacity": 1},
		"properties": map[string]any{"endpointComputeType": "Kubernetes", "instanceType": "large", "scaleSettings": map[string]any{"scaleType": "Default"},
			"model": here + "models/" + ref.Key.Name + "/versions/" + ref.Version}})
	made["properties"].(map[string]any)["traffic"] = map[string]any{"main": 100}
	h.change(t, http.MethodPut, here+"onlineEndpoints/"+name+learning, made)
}

// TestConformanceOnCluster holds endpoints on a cluster to what holds for all endpoints.
func TestConformanceOnCluster(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, func(t *testing.T) drivertest.Harness { return newClustered(t) })
}
