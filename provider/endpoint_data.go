// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/terraform-plugin-framework/attr"
	"github.com/hashicorp/terraform-plugin-framework/types"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// endpointData are the attributes of an ml_endpoint.
type endpointData struct {
	ID          string                    `json:"id,omitempty"`
	Platform    driver.Platform           `json:"platform,omitempty"`
	Name        string                    `json:"name,omitempty"`
	Location    string                    `json:"location,omitempty"`
	Deployments map[string]deploymentData `json:"deployments,omitempty"`
	driver.Settings
	Labels          map[string]string `json:"labels,omitempty"`
	EffectiveLabels map[string]string `json:"effective_labels,omitempty"`
	Rollout         driver.Rollout    `json:"rollout"`
	SmokeTest       *smokeTestData    `json:"smoke_test,omitempty"`
	URL             string            `json:"url,omitempty"`
	InvokePolicy    string            `json:"invoke_policy,omitempty"`
}

type deploymentData struct {
	Model        driver.VersionRef `json:"model"`
	Traffic      *int              `json:"traffic,omitempty"`
	Mirror       int               `json:"mirror"`
	Compute      *driver.Compute   `json:"compute,omitempty"`
	Scaling      *scalingData      `json:"scaling,omitempty"`
	Env          map[string]string `json:"env,omitempty"`
	InstanceType string            `json:"instance_type,omitempty"`
	ModelVersion string            `json:"model_version,omitempty"`
}

// scalingData tells bounds that were left out from zero.
type scalingData struct {
	driver.Scaling
	Min *int `json:"min,omitempty"`
	Max *int `json:"max,omitempty"`
}

type smokeTestData struct {
	Request     string     `json:"request"`
	ContentType string     `json:"content_type,omitempty"`
	Expect      expectData `json:"expect"`
	Attempts    int        `json:"attempts,omitempty"`
}

type expectData struct {
	Status       int               `json:"status,omitempty"`
	JSON         map[string]string `json:"json,omitempty"`
	MaxLatencyMS int               `json:"max_latency_ms,omitempty"`
}

const (
	defaultContentType = "application/json"
	defaultAttempts    = 3
)

// endpointSpecOf is what a configuration, a plan or a state wants, with the
// defaults that are the same on all platforms. Of the key only the name is set.
func endpointSpecOf(o types.Object) (*driver.EndpointSpec, error) {
	var d endpointData
	unknown := read(o, &d)
	spec := &driver.EndpointSpec{Key: driver.Key{Platform: d.Platform, Name: d.Name}, Settings: d.Settings,
		Labels: d.Labels, Rollout: d.Rollout, Unknown: unknown}
	var all mlerr.List
	for _, name := range slices.Sorted(maps.Keys(d.Deployments)) {
		dep, err := deploymentOf(name, d.Deployments[name], len(d.Deployments) == 1, unknown)
		all.Add(err)
		spec.Deployments = append(spec.Deployments, dep)
	}
	if spec.Rollout.Strategy == "" && !unknown.Has("rollout.strategy") {
		spec.Rollout.Strategy = driver.AllAtOnce
	}
	if spec.Rollout.OnFailure == "" && !unknown.Has("rollout.on_failure") {
		spec.Rollout.OnFailure = driver.OnFailures()[0]
	}
	all.Add(addSmokeTest(spec, o, d.SmokeTest))
	return spec, all.Err()
}

func deploymentOf(name string, d deploymentData, alone bool, unknown driver.Unknown) (driver.Deployment, error) {
	path := "deployments." + name
	dep := driver.Deployment{Name: name, Model: d.Model, Mirror: d.Mirror, Env: d.Env, Scaling: driver.Scaling{Min: 1, Max: 1}}
	if d.Compute != nil {
		dep.Compute = *d.Compute
		if a := dep.Compute.Accelerator; a != nil && a.Count == 0 && !unknown.Has(path+".compute.accelerator.count") {
			a.Count = 1
		}
	}
	if s := d.Scaling; s != nil {
		dep.Scaling = s.Scaling
		dep.Scaling.Min, dep.Scaling.Max = 1, 0
		if s.Min != nil {
			dep.Scaling.Min = *s.Min
		}
		if dep.Scaling.Max = max(dep.Scaling.Min, 1); s.Max != nil {
			dep.Scaling.Max = *s.Max
		}
	}
	switch {
	case d.Traffic != nil:
		dep.Traffic = *d.Traffic
	case alone:
		dep.Traffic = 100
	case d.Mirror == 0 && !unknown.Has(path+".traffic"):
		return dep, mlerr.New(mlerr.InvalidArgument, "one of several deployments needs its share of the requests").At("%s.traffic", path).
			WithHint("Set traffic of each deployment; together they are 100")
	}
	return dep, nil
}

// addSmokeTest adds the test unless the rollout's checks switch it off.
func addSmokeTest(spec *driver.EndpointSpec, o types.Object, d *smokeTestData) error {
	var checks struct {
		Rollout struct {
			Checks struct {
				SmokeTest *bool `json:"smoke_test"`
			} `json:"checks"`
		} `json:"rollout"`
	}
	read(o, &checks)
	asked := checks.Rollout.Checks.SmokeTest
	if d == nil {
		if asked != nil && *asked && !spec.Unknown.Has("smoke_test") {
			return mlerr.New(mlerr.InvalidArgument, "there is no smoke_test to check").At("rollout.checks.smoke_test").
				WithHint("Add smoke_test, or leave this check out")
		}
		return nil
	}
	if asked != nil && !*asked {
		return nil
	}
	spec.Rollout.Checks.SmokeTest = true
	test := d.withDefaults()
	spec.SmokeTest = &driver.SmokeTest{
		Request: driver.Request{Body: []byte(test.Request), ContentType: test.ContentType},
		Status:  test.Expect.Status, JSON: test.Expect.JSON, Attempts: test.Attempts,
		MaxLatency: time.Duration(test.Expect.MaxLatencyMS) * time.Millisecond,
	}
	return nil
}

func (d smokeTestData) withDefaults() smokeTestData {
	if d.ContentType == "" {
		d.ContentType = defaultContentType
	}
	if d.Attempts == 0 {
		d.Attempts = defaultAttempts
	}
	return d
}

// wantedEndpoint shows a canonical specification as attributes; what only the
// platform can say is missing.
func wantedEndpoint(spec *driver.EndpointSpec) endpointData {
	d := endpointData{
		ID: spec.Key.ID(), Platform: spec.Key.Platform, Name: spec.Key.Name, Location: spec.Key.Location,
		Deployments: map[string]deploymentData{}, Settings: spec.Settings, EffectiveLabels: spec.Labels, Rollout: spec.Rollout,
		SmokeTest: &smokeTestData{ContentType: defaultContentType, Attempts: defaultAttempts},
	}
	for i := range spec.Deployments {
		d.Deployments[spec.Deployments[i].Name] = shownDeployment(&spec.Deployments[i])
	}
	return d
}

// seenEndpoint shows what was observed as attributes. labels are those of them
// that are the resource's own; deployments that show does not name are left out.
func seenEndpoint(seen *driver.EndpointState, labels map[string]string, show func(*driver.DeploymentState) bool) endpointData {
	d := endpointData{
		ID: seen.Key.ID(), Platform: seen.Key.Platform, Name: seen.Key.Name, Location: seen.Key.Location,
		Deployments: map[string]deploymentData{}, Settings: seen.Settings, Labels: labels, EffectiveLabels: seen.Labels,
		URL: seen.URL, InvokePolicy: seen.InvokePolicy,
	}
	for i := range seen.Deployments {
		now := &seen.Deployments[i]
		if before, twice := d.Deployments[now.Name]; show(now) && (!twice || now.Traffic > *before.Traffic) {
			d.Deployments[now.Name] = shownDeployment(&now.Deployment)
		}
	}
	return d
}

func shownDeployment(dep *driver.Deployment) deploymentData {
	d := deploymentData{Model: dep.Model, Traffic: &dep.Traffic, Mirror: dep.Mirror, Env: dep.Env,
		Scaling:      &scalingData{Scaling: dep.Scaling, Min: &dep.Scaling.Min, Max: &dep.Scaling.Max},
		InstanceType: dep.Compute.InstanceType, ModelVersion: dep.Model.Version}
	if dep.Model.Native != "" {
		d.ModelVersion = dep.Model.Native
	}
	if dep.Compute != (driver.Compute{}) {
		d.Compute = &dep.Compute
	}
	return d
}

// endpointMembers makes attributes of the data.
func endpointMembers(as attr.Type, d endpointData) members {
	m := copyOf(write(as, d).(types.Object)) //nolint:forcetypeassert // a schema's type is an object
	if d.Encryption == (driver.Encryption{}) {
		m["encryption"] = null(m["encryption"].Type(background))
	}
	if a := d.AzureML; a != nil && a.EgressPublic == nil { // which is not the same as false
		special := copyOf(m["azure_ml"].(types.Object)) //nolint:forcetypeassert // as above
		special["egress_public"] = types.BoolNull()
		m["azure_ml"] = types.ObjectValueMust(m["azure_ml"].(types.Object).AttributeTypes(background), special) //nolint:forcetypeassert // as above
	}
	return m
}

// keepEndpoint lets the earlier value of every attribute stand that means the
// same as the one in m.
func keepEndpoint(m, earlier members, was, is *driver.EndpointSpec) {
	m.keep("location", earlier, was.Key == is.Key)
	m.keep("rollout", earlier, same(was.Rollout, is.Rollout))
	m.keep("smoke_test", earlier, same(was.SmokeTest, is.SmokeTest))
	for name, pair := range map[string][2]any{
		"network": {was.Settings.Network, is.Settings.Network}, "auth": {was.Settings.Auth, is.Settings.Auth},
		"encryption": {was.Settings.Encryption, is.Settings.Encryption}, "capture": {was.Settings.Capture, is.Settings.Capture},
		"request_timeout": {was.Settings.RequestTimeout, is.Settings.RequestTimeout},
		"sagemaker":       {was.Settings.SageMaker, is.Settings.SageMaker}, "vertex_ai": {was.Settings.VertexAI, is.Settings.VertexAI},
		"azure_ml": {was.Settings.AzureML, is.Settings.AzureML}, "kubernetes": {was.Settings.Kubernetes, is.Settings.Kubernetes},
	} {
		m.keep(name, earlier, same(pair[0], pair[1]))
	}
	now, ok := m["deployments"].(types.Map)
	before, had := earlier["deployments"].(types.Map)
	if !ok || !had || now.IsUnknown() || now.IsNull() {
		return
	}
	all := members{}
	for name, v := range now.Elements() {
		all[name] = keepDeployment(name, v, before.Elements()[name], was, is)
	}
	m["deployments"] = types.MapValueMust(now.ElementType(background), all)
}

func keepDeployment(name string, now, before attr.Value, was, is *driver.EndpointSpec) attr.Value {
	a, b := was.Find(name), is.Find(name)
	n, ok := now.(types.Object)
	e, had := before.(types.Object)
	if a == nil || b == nil || !ok || !had || n.IsUnknown() || n.IsNull() {
		return now
	}
	m := copyOf(n)
	m.keep("compute", e.Attributes(), same(a.Compute.Resolved(), b.Compute.Resolved()))
	m.keep("scaling", e.Attributes(), same(a.Scaling, b.Scaling))
	return types.ObjectValueMust(n.AttributeTypes(background), m)
}
