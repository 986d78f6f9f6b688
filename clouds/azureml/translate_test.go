// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"regexp"
	"strings"
	"testing"
	"time"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/azure"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/naming"
)

const (
	testSubscription = "00000000-0000-0000-0000-000000000001"
	testLocation     = testSubscription + "/models/team"
)

func opened(t *testing.T) *azureML {
	t.Helper()
	d, err := Open(Config{Account: azure.Config{SubscriptionID: testSubscription, Isolated: true, EndpointURL: "http://127.0.0.1:1"}, ResourceGroup: "Models", Workspace: "Team"})
	if err != nil {
		t.Fatal(err)
	}
	return d.(*azureML)
}

func TestLocate(t *testing.T) {
	t.Parallel()
	d := opened(t)
	for location, want := range map[string]string{
		"": testLocation, "other": testSubscription + "/models/other", "G/Other": testSubscription + "/g/other", "MODELS/TEAM": testLocation,
		"11111111-0000-0000-0000-000000000001/g/other": "11111111-0000-0000-0000-000000000001/g/other",
		"a/b/c/d": "", "sub/g/other": "", "g/x": "", "g./other": "",
	} {
		got, err := d.Locate(location)
		if got != want || (want == "") != (err != nil) || want == "" && (mlerr.PathOf(err) != "location" || mlerr.Hint(err) == "") {
			t.Errorf("%q is %q, %v; want %q", location, got, err, want)
		}
	}
}

func TestParseNativeID(t *testing.T) {
	t.Parallel()
	d := opened(t)
	const in = "/subscriptions/" + testSubscription + "/resourceGroups/models/providers/Microsoft.MachineLearningServices/workspaces/team/"
	for id, want := range map[string]string{
		in + "onlineEndpoints/Fraud":                                     "azure_ml/" + testLocation + "/Fraud",
		strings.ToLower(in) + "onlineendpoints/fraud":                    "azure_ml/" + testLocation + "/fraud",
		"https://management.azure.com" + in + "onlineEndpoints/f?x=1":    "",
		"https://management.azure.com" + in + "onlineEndpoints/f":        "azure_ml/" + testLocation + "/f",
		strings.Replace(in, "/team/", "/west/", 1) + "onlineEndpoints/f": "azure_ml/" + testSubscription + "/models/west/f",
		in + "onlineEndpoints/f/deployments/blue":                        "",
		in + "models/f":                      "",
		"projects/p/locations/l/endpoints/e": "",
	} {
		key, ok := d.ParseNativeID(driver.KindEndpoint, id)
		if ok != (want != "") || ok && key.ID() != want {
			t.Errorf("%s is %s, %v; want %q", id, key.ID(), ok, want)
		}
	}
	if key, ok := d.ParseNativeID(driver.KindModel, in+"models/Fraud/versions/7"); !ok || key.Name != "Fraud" {
		t.Errorf("a version's id is %s, %v", key.ID(), ok)
	}
}

// The platform's name of a deployment is one, whatever the user's is, and another for
// everything that cannot change while it runs.
func TestPhysicalNames(t *testing.T) {
	t.Parallel()
	valid := regexp.MustCompile(`^[a-z][a-z0-9-]{1,30}[a-z0-9]$`)
	base := func() (*driver.Deployment, *driver.Settings) {
		return &driver.Deployment{Name: "Main", Model: driver.VersionRef{Key: driver.Key{Name: "fraud"}, Version: "1"}, Compute: driver.Compute{InstanceType: "Standard_DS3_v2"}}, &driver.Settings{}
	}
	seen := map[string]string{}
	for reason, change := range map[string]func(*driver.Deployment, *driver.Settings){
		"as it is":        func(*driver.Deployment, *driver.Settings) {},
		"another version": func(d *driver.Deployment, _ *driver.Settings) { d.Model.Version = "2" },
		"another machine": func(d *driver.Deployment, _ *driver.Settings) { d.Compute.InstanceType = "Standard_DS4_v2" },
		"a variable":      func(d *driver.Deployment, _ *driver.Settings) { d.Env = map[string]string{"A": "1"} },
		"a timeout":       func(_ *driver.Deployment, s *driver.Settings) { s.RequestTimeout = time.Minute },
		"no way out": func(_ *driver.Deployment, s *driver.Settings) {
			s.AzureML = &driver.AzureMLEndpoint{EgressPublic: new(false)}
		},
		"a record":                func(_ *driver.Deployment, s *driver.Settings) { s.Capture = &driver.Capture{Percent: 1} },
		"a very long name":        func(d *driver.Deployment, _ *driver.Settings) { d.Name = strings.Repeat("long", 8) },
		"one that ends otherwise": func(d *driver.Deployment, _ *driver.Settings) { d.Name = strings.Repeat("long", 7) + "west" },
		"another case":            func(d *driver.Deployment, _ *driver.Settings) { d.Name = "MAIN" },
		"a very short name":       func(d *driver.Deployment, _ *driver.Settings) { d.Name = "a" },
	} {
		d, s := base()
		change(d, s)
		name := physical(d.Name, contentHash(d, s), longestDeployment)
		if !valid.MatchString(name) || seen[name] != "" {
			t.Errorf("%s: %q, as for %q", reason, name, seen[name])
		}
		seen[name] = reason
	}
	// What is scaled, shared or spelled otherwise is the same deployment.
	d, s := base()
	before := contentHash(d, s)
	d.Traffic, d.Scaling.Max, d.Compute.InstanceType, d.Env = 50, 9, "STANDARD_ds3_V2", map[string]string{}
	if contentHash(d, s) != before {
		t.Error("requests, bounds and case make another deployment")
	}
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"PT5S": 5 * time.Second, "PT1M30S": 90 * time.Second, "PT0.5S": 500 * time.Millisecond, "P1DT2H": 26 * time.Hour, "P7D": 7 * 24 * time.Hour,
		"": 0, "soon": 0, "PTX": 0} {
		if got := uniso(text); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
	for _, d := range []time.Duration{time.Millisecond, time.Second, 90 * time.Second, 3 * time.Minute} {
		if got := uniso(*iso(d)); got != d {
			t.Errorf("%s comes back as %s", d, got)
		}
	}
}

// Tags and shares have no case.
func TestSpelling(t *testing.T) {
	t.Parallel()
	e := &endpoint{Tags: pointers(map[string]string{"Managed-By": managedBy, "TFML-endpoint": "fraud", "Team": "risk"}),
		Properties: &ml.OnlineEndpointProperties{Traffic: map[string]*int32{"main-1": new(int32(100))}}}
	if !owned(e, "Fraud") || share(e.Properties.Traffic, "Main-1") != 100 {
		t.Error("the case of names matters")
	}
	if diff := cmp.Diff(map[string]string{"Team": "risk"}, users(e.Tags)); diff != "" {
		t.Error(diff)
	}
	sent := repeated(e)
	setShare(sent.Properties.Traffic, "MAIN-1", 40)
	if len(sent.Properties.Traffic) != 1 || share(sent.Properties.Traffic, "main-1") != 40 {
		t.Errorf("shares are %v", sent.Properties.Traffic)
	}
	if *e.Properties.Traffic["main-1"] != 100 {
		t.Error("what was read was changed")
	}
}

// A PUT repeats what it does not change, and leaves out what the platform writes.
func TestRepeated(t *testing.T) {
	t.Parallel()
	system := map[string]*string{"azureml.onlineendpointid": new("id"), "AzureAsyncOperationUri": new("u")}
	read := &endpoint{Location: new("eastus"), Kind: new("k"), SKU: &ml.SKU{}, Identity: &ml.ManagedServiceIdentity{Type: new(ml.ManagedServiceIdentityTypeSystemAssigned), PrincipalID: new("p")},
		Properties: &ml.OnlineEndpointProperties{AuthMode: new(ml.EndpointAuthModeKey), Description: new("d"), Compute: new("c"), Properties: system, ScoringURI: new("s"),
			PublicNetworkAccess: new(ml.PublicNetworkAccessTypeDisabled)}}
	want := endpoint{Location: read.Location, Tags: map[string]*string{}, Identity: &ml.ManagedServiceIdentity{Type: read.Identity.Type}, Properties: &ml.OnlineEndpointProperties{
		AuthMode: read.Properties.AuthMode, Description: read.Properties.Description, Compute: read.Properties.Compute, PublicNetworkAccess: read.Properties.PublicNetworkAccess,
		Properties: map[string]*string{"azureml.onlineendpointid": new("id")}, Traffic: map[string]*int32{}, MirrorTraffic: map[string]*int32{}}}
	if diff := cmp.Diff(want, repeated(read)); diff != "" {
		t.Error(diff)
	}
	if len(system) != 2 {
		t.Error("what was read was changed")
	}
}

func TestSchedules(t *testing.T) {
	t.Parallel()
	for cron, want := range map[string]string{
		"30 8 * * MON-FRI": "30 8 * * 1,2,3,4,5", "0 0 * * *": "0 0 * * *", "5 23 * * 0,6": "5 23 * * 0,6", "5 23 * * 7": "5 23 * * 0", "0 12 * * 5-7": "0 12 * * 0,5,6",
		"*/5 * * * *": "", "0 8 1 * *": "", "0 8 * 6 *": "", "0 8-9 * * *": "", "0 24 * * *": "", "0 8 * * XXX": "", "0 8 * *": "",
	} {
		r, err := recurrence(&driver.Schedule{Cron: cron, Timezone: "Asia/Kolkata"})
		if (err != nil) != (want == "") || err == nil && cronOf(r) != want {
			t.Errorf("%q is %q, %v; want %q", cron, cronOf(r), err, want)
		}
		if err == nil && *r.Schedule.TimeZone != "India Standard Time" {
			t.Errorf("in %s", *r.Schedule.TimeZone)
		}
	}
	if _, err := recurrence(&driver.Schedule{Cron: "0 8 * * *", Timezone: "Antarctica/Troll"}); !mlerr.Is(err, mlerr.Unsupported) || mlerr.Hint(err) == "" {
		t.Errorf("a zone without a name: %v", err)
	}
	for _, z := range zones {
		for _, name := range z.iana {
			if _, err := time.LoadLocation(name); err != nil {
				t.Errorf("%s is no time zone: %v", name, err)
			}
		}
	}
}

// A long note takes several tags, and comes back.
func TestScalingNotes(t *testing.T) {
	t.Parallel()
	s := driver.Scaling{Min: 1, Max: 9}
	for _, day := range shortDays {
		s.Schedules = append(s.Schedules, driver.Schedule{Name: "in the middle of " + day, Cron: "30 12 * * " + day, Timezone: "America/New_York", Min: 2, Max: 3})
	}
	tags := map[string]string{}
	noteScaling(tags, &s)
	for k, v := range tags {
		if len(v) > longestTag {
			t.Errorf("%s has %d characters", k, len(v))
		}
	}
	got, ok := notedScaling(pointers(tags))
	if diff := cmp.Diff(s, got); !ok || diff != "" || len(tags) < 2 {
		t.Errorf("%d tags, %v\n%s", len(tags), ok, diff)
	}
}

// The lower threshold leaves room for the requests of one instance less.
func TestThresholds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		target float64
		low    int
		want   float64
	}{{70, 1, 30}, {70, 3, 47}, {5, 1, 2}, {100, 9, 85}} {
		all := rules(&driver.Scaling{Metrics: []driver.Metric{{Type: driver.MetricCPU, Target: c.target}}}, c.low, "t", "e", "d")
		if len(all) != 2 || *all[0].MetricTrigger.Threshold != c.target || *all[1].MetricTrigger.Threshold != c.want {
			t.Errorf("above %g with at least %d: below %g, want %g", c.target, c.low, *all[1].MetricTrigger.Threshold, c.want)
		}
	}
}

// What Azure ML cannot do is refused with its attribute and what to do instead.
func TestPrepareEndpoint(t *testing.T) {
	t.Parallel()
	d := opened(t)
	base := func() *driver.EndpointSpec {
		key := driver.Key{Platform: driver.AzureML, Location: testLocation, Name: "fraud"}
		return &driver.EndpointSpec{Key: key, Deployments: []driver.Deployment{{Name: "main", Model: driver.VersionRef{Key: key, Version: "1"}, Traffic: 100,
			Compute: driver.Compute{CPU: 2}, Scaling: driver.Scaling{Min: 1, Max: 1}}}}
	}
	for path, change := range map[string]func(*driver.EndpointSpec){
		"name":              func(s *driver.EndpointSpec) { s.Key.Name = "f" },
		"labels.azure-team": func(s *driver.EndpointSpec) { s.Labels = map[string]string{"azure-team": "x"} },
		"labels":            func(s *driver.EndpointSpec) { s.Labels = map[string]string{"a": "1", "A": "2"} },
		"auth.invokers":     func(s *driver.EndpointSpec) { s.Settings.Auth.Invokers = []string{"alice@example.com"} },
		"capture.destination": func(s *driver.EndpointSpec) {
			s.Settings.Capture = &driver.Capture{Percent: 5, Destination: "s3://b/p"}
		},
		"request_timeout":                        func(s *driver.EndpointSpec) { s.Settings.RequestTimeout = time.Hour },
		"azure_ml.identity":                      func(s *driver.EndpointSpec) { s.Settings.AzureML = &driver.AzureMLEndpoint{Identity: "me"} },
		"encryption.key":                         func(s *driver.EndpointSpec) { s.Settings.Encryption.Key = "arn:aws:kms:x" },
		"deployments.main.mirror":                func(s *driver.EndpointSpec) { s.Deployments[0].Traffic, s.Deployments[0].Mirror = 0, 60 },
		"deployments.main.env":                   func(s *driver.EndpointSpec) { s.Deployments[0].Env = map[string]string{"AZUREML_MODEL_DIR": "/x"} },
		"deployments.main.compute.instance_type": func(s *driver.EndpointSpec) { s.Deployments[0].Compute = driver.Compute{InstanceType: "ml.m5.large"} },
		"deployments.main.compute.accelerator": func(s *driver.EndpointSpec) {
			s.Deployments[0].Compute = driver.Compute{InstanceType: "Standard_DS3_v2", Accelerator: &driver.Accelerator{Type: "nvidia-t4", Count: 1}}
		},
		"deployments.main.scaling.max":               func(s *driver.EndpointSpec) { s.Deployments[0].Scaling.Max = 51 },
		"deployments.main.scaling.scale_in_cooldown": func(s *driver.EndpointSpec) { s.Deployments[0].Scaling.ScaleInCooldown = 90 * time.Second },
		"deployments.main.scaling.schedules": func(s *driver.EndpointSpec) {
			s.Deployments[0].Scaling.Schedules = []driver.Schedule{{Name: "x", Cron: "* * * * *", Min: 1, Max: 1}}
		},
		"deployments.main.model": func(s *driver.EndpointSpec) { s.Deployments[0].Model = driver.VersionRef{Native: "blob.onnx"} },
		"smoke_test":             func(s *driver.EndpointSpec) { s.Settings.Network.Access, s.SmokeTest = "private", &driver.SmokeTest{} },
	} {
		spec := base()
		change(spec)
		err := d.PrepareEndpoint(spec)
		if err == nil || mlerr.PathOf(mlerr.Split(err)[0]) != path || mlerr.Hint(mlerr.Split(err)[0]) == "" {
			t.Errorf("%s: %v at %q, hint %q", path, err, mlerr.PathOf(err), mlerr.Hint(err))
		}
		spec = base()
		change(spec)
		spec.Unknown = driver.Unknown{path: true}
		if strings.HasPrefix(path, "labels.") {
			continue
		}
		if err := d.PrepareEndpoint(spec); err != nil && mlerr.PathOf(err) == path && path != "labels" {
			t.Errorf("%s is judged though it is not known: %v", path, err)
		}
	}
	taken := base()
	taken.Deployments[0].Scaling.Schedules = []driver.Schedule{{Name: "Default", Cron: "0 8 * * *", Min: 1, Max: 1}}
	if err := d.PrepareEndpoint(taken); mlerr.PathOf(err) != "deployments.main.scaling.schedules" || !strings.Contains(err.Error(), "outside of schedules") {
		t.Errorf("a schedule has the name of the bounds: %v", err)
	}
	spec := base()
	spec.Deployments[0].Model = driver.VersionRef{Native: "azureml://registries/shared/models/fraud/versions/3"}
	spec.Deployments[0].Compute.InstanceType = "standard_ds3_v2"
	spec.Deployments[0].Compute.CPU = 0
	if err := d.PrepareEndpoint(spec); err != nil || spec.Deployments[0].Compute.InstanceType != "Standard_DS3_v2" || spec.Settings.Auth.Mode != "iam" {
		t.Errorf("%+v, %v", spec, err)
	}
}

// A deployment that has failed goes on with what it was before where it gets requests,
// or copies of them: only then it has been ready.
func TestFailedDeployments(t *testing.T) {
	t.Parallel()
	w := &workspace{d: &azureML{}, location: testLocation}
	e := &endpoint{Properties: &ml.OnlineEndpointProperties{Traffic: map[string]*int32{"live": new(int32(100))}, MirrorTraffic: map[string]*int32{"shadow": new(int32(20))}}}
	for name, want := range map[string]driver.Phase{"live": driver.Ready, "Shadow": driver.Ready, "idle": driver.Failed} {
		d := &deployment{Name: new(name), Properties: &ml.ManagedOnlineDeployment{ProvisioningState: new(ml.DeploymentProvisioningStateFailed)}}
		s := w.deploymentState(driver.Key{Name: "fraud"}, e, d, called{name: name, owned: true})
		if s.Phase != want || (s.Repair != "") != (want == driver.Ready) {
			t.Errorf("%s is %v, and to be repaired for %q", name, s.Phase, s.Repair)
		}
	}
}

func TestPrepareModel(t *testing.T) {
	t.Parallel()
	d := opened(t)
	base := func() *driver.ModelSpec {
		return &driver.ModelSpec{Key: driver.Key{Platform: driver.AzureML, Location: testLocation, Name: "fraud"}, Artifact: driver.Artifact{URI: "fraud.onnx", Format: "onnx"},
			Serving: driver.Serving{Runtime: "onnx"}}
	}
	if err := d.PrepareModel(base()); err != nil {
		t.Fatal(err)
	}
	for path, change := range map[string]func(*driver.ModelSpec){
		"name":              func(s *driver.ModelSpec) { s.Key.Name = "fraud/1" },
		"aliases":           func(s *driver.ModelSpec) { s.Aliases = []string{"latest"} },
		"metadata":          func(s *driver.ModelSpec) { s.Metadata = map[string]string{"k": strings.Repeat("v", mostNotes)} },
		"azure_ml.registry": func(s *driver.ModelSpec) { s.AzureML = &driver.AzureMLModel{Registry: "a/b"} },
		"serving.runtime":   func(s *driver.ModelSpec) { s.Serving.Runtime = "vllm" },
		"serving.port":      func(s *driver.ModelSpec) { s.Serving.Port = 9000 },
		"serving.image":     func(s *driver.ModelSpec) { s.Serving = driver.Serving{Image: "server"} },
		"serving.predict_path": func(s *driver.ModelSpec) {
			s.Serving = driver.Serving{Image: "r.azurecr.io/server:1", PredictPath: "score"}
		},
		"serving.env":    func(s *driver.ModelSpec) { s.Serving.Env = map[string]string{"1A": "x"} },
		"artifact.uri":   func(s *driver.ModelSpec) { s.Artifact.URI = "https://example.com/fraud.onnx" },
		"encryption.key": func(s *driver.ModelSpec) { s.EncryptionKey = "key" },
	} {
		spec := base()
		change(spec)
		err := d.PrepareModel(spec)
		if err == nil || mlerr.PathOf(err) != path || mlerr.Hint(err) == "" {
			t.Errorf("%s: %v at %q, hint %q", path, err, mlerr.PathOf(err), mlerr.Hint(err))
		}
	}
}

// An image is told its routes, a preset is the platform's own server.
func TestContracts(t *testing.T) {
	t.Parallel()
	spec := &driver.ModelSpec{Key: driver.Key{Name: "fraud"}}
	for reason, c := range map[string]struct {
		serving driver.Serving
		want    server
	}{
		"nothing but an image": {driver.Serving{Image: "r/i"}, server{model: "custom_model", image: "r/i", port: 5001, predict: "/score", live: "/", ready: "/"}},
		"a standard protocol": {driver.Serving{Image: "r/i", Protocol: "v2", Port: 8000}, server{model: "custom_model", image: "r/i", port: 8000,
			predict: "/v2/models/fraud/infer", live: "/v2/health/live", ready: "/v2/models/fraud/ready"}},
		"all of it": {driver.Serving{Image: "r/i", Port: 80, PredictPath: "/p", HealthPath: "/h"}, server{model: "custom_model", image: "r/i", port: 80, predict: "/p", live: "/h", ready: "/h"}},
	} {
		spec.Serving = c.serving
		got, err := contract(spec)
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", reason, got, err, c.want)
		}
	}
	spec.Serving = driver.Serving{Runtime: "onnx"}
	if got, err := contract(spec); err != nil || got.image != "" || got.model != "triton_model" || got.directory == "" {
		t.Errorf("a preset: %+v, %v", got, err)
	}
}

// Assignments are made under a name that follows from what they are.
func TestAssignmentNames(t *testing.T) {
	t.Parallel()
	a := assignmentName("subscriptions/S/x", "P", "/x/roleDefinitions/R")
	if a != assignmentName("Subscriptions/s/X", "p", "R") || a == assignmentName("subscriptions/S/x", "Q", "R") || len(a) != 36 {
		t.Errorf("%s", a)
	}
}

func TestWorkspaceKey(t *testing.T) {
	t.Parallel()
	workspace := func(status ml.EncryptionStatus, key string) *ml.Workspace {
		return &ml.Workspace{Properties: &ml.WorkspaceProperties{Encryption: &ml.EncryptionProperty{Status: &status, KeyVaultProperties: &ml.EncryptionKeyVaultProperties{KeyIdentifier: &key}}}}
	}
	const is = "https://Vault.vault.azure.net/keys/cmk/0123456789abcdef"
	for key, ok := range map[string]bool{"": true, "https://vault.vault.azure.net/keys/cmk": true, "https://vault.vault.azure.net/keys/CMK/0123456789abcdef": true,
		"https://vault.vault.azure.net/keys/cmk/ffff": false, "https://other.vault.azure.net/keys/cmk": false} {
		if err := sameKey(key, workspace(ml.EncryptionStatusEnabled, is)); (err == nil) != ok || err != nil && mlerr.PathOf(err) != "encryption.key" {
			t.Errorf("%q: %v", key, err)
		}
		if err := sameKey(key, workspace(ml.EncryptionStatusDisabled, is)); (err == nil) != (key == "") {
			t.Errorf("%q of a workspace without a key: %v", key, err)
		}
	}
}

// What names can be is what the platform's own rule lets be.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"a", "main", "Blue-2", strings.Repeat("x", 32)} {
		if err := naming.Check("azure_ml", "deployment", name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"", "1a", "a-", "a_b", strings.Repeat("x", 33)} {
		if naming.Check("azure_ml", "deployment", name) == nil {
			t.Errorf("%q is let pass", name)
		}
	}
}
