// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"cmp"
	"encoding/json"
	"maps"
	"regexp"
	"strings"
	"time"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/hardware"
	"github.com/mlplane/terraform-provider-ml/internal/naming"
)

// content is what cannot change in a deployment while it runs: its hash is part of the
// deployment's name.
type content struct {
	Model, InstanceType, Timeout string
	Env                          map[string]string
	Capture                      *driver.Capture
	Egress                       *bool
	Resources                    string `json:",omitempty"` // of a replica on a cluster
}

// contentHash identifies what a deployment is made with. Where it is does not matter:
// names are an endpoint's own.
func contentHash(dep *driver.Deployment, s *driver.Settings) string {
	return naming.Hash(content{Model: modelWords(dep.Model), InstanceType: strings.ToLower(dep.Compute.InstanceType), Timeout: s.RequestTimeout.String(),
		Env: nonEmpty(dep.Env), Capture: s.Capture, Egress: egressPublic(s), Resources: resourcesText(&dep.Compute)})
}

// served is what a version brings along to a deployment of it.
type served struct {
	modelID     string
	environment string            // id; "" where the platform brings its own
	env         map[string]string // of the version
	path        string            // where its server answers below the endpoint's host, if that is not known to the platform
	data        map[string]string // ids of the assets that requests are recorded as
}

// Requests wait this long for containers to come up, looking every ten seconds. What
// loads onto an accelerator is larger.
const (
	probePeriod       = 10 * time.Second
	patienceOfProbes  = 30
	patienceForLoads  = 180
	longestProbe      = 2 * time.Second
	defaultConcurrent = 1
)

// made is a deployment as it is to be sent. Settings that are not sent are the
// platform's.
func made(location *string, endpoint string, dep *driver.Deployment, s *driver.Settings, from served, capacity int) deployment {
	env := maps.Clone(from.env)
	if env == nil {
		env = map[string]string{}
	}
	maps.Copy(env, dep.Env)
	size, _ := hardware.Lookup(string(driver.AzureML), dep.Compute.InstanceType)
	probe := func() *ml.ProbeSettings {
		failures := patienceOfProbes
		if size.AcceleratorCount > 0 || dep.Compute.Accelerator != nil || clusterOf(s) != "" && resourcesText(&dep.Compute) == "" { // which may have some
			failures = patienceForLoads
		}
		return &ml.ProbeSettings{InitialDelay: iso(probePeriod), Period: iso(probePeriod), Timeout: iso(longestProbe), SuccessThreshold: new(int32(1)), FailureThreshold: new(int32(failures))}
	}
	p := &ml.ManagedOnlineDeployment{
		EndpointComputeType: new(ml.EndpointComputeTypeManaged), Model: new(from.modelID), InstanceType: new(dep.Compute.InstanceType),
		EnvironmentVariables: pointers(env), Properties: map[string]*string{propertyEnv: new(envText(dep.Env)), propertyVariables: new(variables(env))},
		RequestSettings: &ml.OnlineRequestSettings{RequestTimeout: iso(cmp.Or(s.RequestTimeout, defaultTimeout)),
			MaxConcurrentRequestsPerInstance: new(int32(max(concurrent(size), int(dep.Compute.CPU))))},
		LivenessProbe: probe(), ReadinessProbe: probe(), ScaleSettings: &ml.DefaultScaleSettings{ScaleType: new(ml.ScaleTypeDefault)},
		DataCollector: collector(s.Capture, from.data), AppInsightsEnabled: new(false),
	}
	if from.environment != "" {
		p.EnvironmentID = new(from.environment)
	}
	if from.path != "" {
		p.Properties[propertyPath] = new(from.path)
	}
	if public := egressPublic(s); public != nil {
		p.EgressPublicNetworkAccess = new(ml.EgressPublicNetworkAccessTypeEnabled)
		if !*public {
			p.EgressPublicNetworkAccess = new(ml.EgressPublicNetworkAccessTypeDisabled)
		}
	}
	tags := deploymentTags(endpoint, dep, contentHash(dep, s), s)
	out := deployment{Location: location, Tags: pointers(tags), SKU: &ml.SKU{Name: new("Default"), Capacity: new(int32(capacity))}, Properties: p}
	if clusterOf(s) != "" {
		out.Properties = onCluster(p, dep)
	}
	return out
}

// concurrent is how many requests an instance is given at once: the platform's one
// would leave all but one vCPU idle.
func concurrent(size hardware.Type) int { return max(defaultConcurrent, int(size.VCPU)) }

func envText(env map[string]string) string {
	data, err := json.Marshal(nonEmpty(env))
	if err != nil {
		panic("variables are plain data: " + err.Error())
	}
	return string(data)
}

// injected are the variables that the platform sets by itself.
var injected = regexp.MustCompile(`^(AZUREML|AML)_`)

// variables identifies all variables of a deployment.
func variables(env map[string]string) string {
	own := maps.Clone(env)
	maps.DeleteFunc(own, func(k, _ string) bool { return injected.MatchString(k) })
	return naming.Hash(nonEmpty(own))
}

// ownEnv are the variables of a deployment over those of its version, and whether what
// it runs with is what it was made with.
func ownEnv(p *ml.OnlineDeploymentProperties) (env map[string]string, noted bool) {
	text := tag(p.Properties, propertyEnv)
	if text == "" || json.Unmarshal([]byte(text), &env) != nil {
		all := texts(p.EnvironmentVariables)
		maps.DeleteFunc(all, func(k, _ string) bool { return injected.MatchString(k) })
		return nonEmpty(all), false
	}
	return nonEmpty(env), true
}

// called is what a deployment is called in the configuration, and whether it is ours.
type called struct {
	name  string
	owned bool
}

// made by us are deployments whose tags say so.
func ownName(endpoint string, d *deployment) (string, bool) {
	name := tag(d.Tags, tagDeployment)
	return name, name != "" && tag(d.Tags, tagManagedBy) == managedBy && strings.EqualFold(tag(d.Tags, tagEndpoint), endpoint)
}

// names finds the names of all deployments: in the tags of those that we made, in the
// endpoint's tags of those that were adopted. Others are called as they are: not, on an
// endpoint of ours, like one that we made, which somebody else's must not stand in for.
func names(name string, e *endpoint, all []*deployment) map[string]called {
	found, taken := map[string]called{}, map[string]bool{}
	for _, d := range all {
		if own, ok := ownName(name, d); ok {
			found[deref(d.Name)] = called{own, true}
			taken[own] = owned(e, name)
		}
	}
	for k := range e.Tags {
		own, ok := strings.CutPrefix(k, tagPlaced)
		if !ok {
			continue
		}
		for _, d := range all {
			if physical := deref(d.Name); strings.EqualFold(physical, tag(e.Tags, k)) && found[physical] == (called{}) {
				found[physical] = called{own, true}
				taken[own] = owned(e, name)
			}
		}
	}
	for _, d := range all {
		if physical := deref(d.Name); found[physical] == (called{}) {
			found[physical] = called{name: physical}
			if taken[physical] {
				found[physical] = called{name: "d-" + physical}
			}
		}
	}
	return found
}

// share is a deployment's part in a map of shares, whose keys the platform writes in
// lower case.
func share(all map[string]*int32, name string) int {
	for k, v := range all {
		if strings.EqualFold(k, name) && v != nil {
			return int(*v)
		}
	}
	return 0
}

// phaseOf translates a deployment's state. One that has failed while it gets requests,
// or copies of them, goes on with what it was before.
func phaseOf(state ml.DeploymentProvisioningState, traffic int) (phase driver.Phase, damaged bool) {
	switch state {
	case ml.DeploymentProvisioningStateCreating, ml.DeploymentProvisioningStateUpdating, ml.DeploymentProvisioningStateScaling:
		return driver.Changing, false
	case ml.DeploymentProvisioningStateDeleting:
		return driver.Deleting, false
	case ml.DeploymentProvisioningStateFailed, ml.DeploymentProvisioningStateCanceled:
		if traffic > 0 {
			return driver.Ready, true
		}
		return driver.Failed, false
	}
	return driver.Ready, false
}

// deploymentState translates a deployment; without what scales it, which is in another
// resource.
func (w *workspace) deploymentState(key driver.Key, e *endpoint, d *deployment, is called) driver.DeploymentState {
	name, p := deref(d.Name), d.Properties.GetOnlineDeploymentProperties()
	s := driver.DeploymentState{ID: name, Owned: is.owned, Deployment: driver.Deployment{Name: is.name, Traffic: share(e.Properties.Traffic, name), Mirror: share(e.Properties.MirrorTraffic, name),
		Model: w.modelOf(key, d, deref(p.Model)), Compute: computeSeen(d)}}
	env, noted := ownEnv(p)
	s.Env = env
	s.Replicas = max(1, int(deref(skuOf(d).Capacity)))
	s.Scaling = scalingSeen(p.ScaleSettings, s.Replicas)
	var damaged bool
	if s.Phase, damaged = phaseOf(deref(p.ProvisioningState), s.Traffic+s.Mirror); damaged {
		s.Repair = "its last change has failed"
	}
	_, own := ownName(key.Name, d)
	s.Carried = carriedBy(d, p, own)
	if own && noted && s.Phase == driver.Ready && s.Repair == "" {
		s.Repair = altered(p)
	}
	return s
}

func skuOf(d *deployment) *ml.SKU {
	if d.SKU == nil {
		return &ml.SKU{}
	}
	return d.SKU
}

// altered says what somebody has changed in a deployment that we made, "" for nothing.
func altered(p *ml.OnlineDeploymentProperties) string {
	if sent := tag(p.Properties, propertyVariables); sent != "" && sent != variables(texts(p.EnvironmentVariables)) {
		return "somebody has changed its environment variables"
	}
	for _, probe := range []*ml.ProbeSettings{p.LivenessProbe, p.ReadinessProbe} {
		if probe != nil && probe.FailureThreshold != nil && *probe.FailureThreshold < patienceOfProbes {
			return "somebody has made its probes give up sooner"
		}
	}
	if deref(p.AppInsightsEnabled) {
		return "somebody has switched on Application Insights, which records what its containers print"
	}
	return ""
}

// carriedBy are the endpoint's settings as a deployment was made with them: as they
// were written where that is what it runs with.
func carriedBy(d *deployment, p *ml.OnlineDeploymentProperties, own bool) driver.Settings {
	noted := carried(d.Tags)
	var s driver.Settings
	if p.RequestSettings != nil {
		s.RequestTimeout = uniso(deref(p.RequestSettings.RequestTimeout))
	}
	if s.RequestTimeout == defaultTimeout && (!own || noted.RequestTimeout == 0) {
		s.RequestTimeout = 0
	}
	destination := ""
	if noted.Capture != nil {
		destination = noted.Capture.Destination
	}
	s.Capture = captureOf(p.DataCollector, destination)
	disabled := p.EgressPublicNetworkAccess != nil && *p.EgressPublicNetworkAccess == ml.EgressPublicNetworkAccessTypeDisabled
	switch public := egressPublic(&noted); {
	case public != nil && *public == !disabled:
		s.AzureML = &driver.AzureMLEndpoint{EgressPublic: public}
	case disabled:
		s.AzureML = &driver.AzureMLEndpoint{EgressPublic: new(false)}
	}
	return s
}

var versionID = regexp.MustCompile(inWorkspace + `models/([^/]+)/versions/([^/]+)$`)

// modelOf is the version that a deployment serves. What it was made with is noted, as
// the platform changes the case of ids.
func (w *workspace) modelOf(key driver.Key, d *deployment, id string) driver.VersionRef {
	m := versionID.FindStringSubmatch(id)
	if model, number, ok := ofRegistry(d, id); ok {
		return driver.VersionRef{Key: driver.Key{Platform: driver.AzureML, Location: key.Location, Name: model}, Version: number}
	}
	if m == nil {
		return driver.VersionRef{Native: id}
	}
	ref := driver.VersionRef{Key: driver.Key{Platform: driver.AzureML, Location: strings.ToLower(strings.Join(m[1:4], "/")), Name: m[4]}, Version: m[5]}
	if strings.EqualFold(ref.Key.Location, key.Location) {
		ref.Key.Location = key.Location
	}
	if noted := tag(d.Tags, tagModel); strings.EqualFold(noted, modelWords(ref)) {
		ref.Key.Name, ref.Version, _ = strings.Cut(noted, "@")
	}
	return ref
}

// modelID is the platform's id of a version.
func (d *azureML) modelID(ref driver.VersionRef) (string, error) {
	if ref.Native != "" {
		return ref.Native, nil
	}
	w, err := d.at(ref.Key.Location)
	if err != nil {
		return "", err
	}
	return w.id("models", ref.Key.Name, "versions", ref.Version), nil
}

// computeOf spells a size as the catalog does.
func computeOf(size string) driver.Compute {
	if t, ok := hardware.Lookup(string(driver.AzureML), size); ok {
		size = t.Name
	}
	return driver.Compute{InstanceType: size}
}
