// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"fmt"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/hardware"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/naming"
)

// refusal collects errors about attributes that are not unknown.
type refusal struct {
	mlerr.List
	unknown driver.Unknown
}

func (r *refusal) when(bad bool, code mlerr.Code, path, hint, format string, args ...any) {
	if bad && !r.unknown.At(path) {
		r.Add(mlerr.New(code, format, args...).At("%s", path).WithHint("%s", hint))
	}
}

func checkName(path string, kind driver.Kind, name string, unknown driver.Unknown) error {
	if unknown.At(path) {
		return nil
	}
	if err := naming.Check(string(driver.AzureML), string(kind), name); err != nil {
		return mlerr.New(mlerr.InvalidArgument, "").Because(err).At("%s", path)
	}
	return nil
}

const (
	longestRequest  = 3 * time.Minute
	mostMirror      = 50
	mostInstances   = 50
	shortestPause   = time.Minute
	longestPause    = 7 * 24 * time.Hour
	mostSchedules   = 19 // of 20 profiles one is the bounds
	mostTogether    = 20 // deployments of an endpoint
	reservedTags    = 12
	longestVariable = 32 << 10
)

var (
	identityForm  = regexp.MustCompile(`(?i)^/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.ManagedIdentity/userAssignedIdentities/[^/]+$`)
	datastoreForm = regexp.MustCompile(`^azureml://datastores/[a-zA-Z0-9][a-zA-Z0-9_-]{0,254}/paths(/[^\s?#]*)?$`)
	vaultKeyForm  = regexp.MustCompile(`(?i)^https://[a-z0-9-]+\.(vault|managedhsm)\.[a-z0-9.-]+/keys/[a-z0-9-]+(/[0-9a-f]+)?$`)
	sizeForm      = regexp.MustCompile(`(?i)^Standard_[a-z0-9_]+$`)
	variableName  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// PrepareEndpoint makes spec canonical and refuses what Azure ML cannot do.
func (d *azureML) PrepareEndpoint(spec *driver.EndpointSpec) error {
	fillIn(spec)
	nameCluster(spec)
	r := refusal{unknown: spec.Unknown}
	r.Add(checkName("name", driver.KindEndpoint, spec.Key.Name, spec.Unknown))
	r.Add(checkLabels(spec.Labels, reservedTags+len(spec.Deployments)))
	checkSettings(spec, &r)
	if clusterOf(&spec.Settings) != "" && !spec.Unknown.At(attributeCompute) {
		checkCluster(spec, &r)
	}
	checkAlarms(spec, &r)
	mirrored := 0
	for i := range spec.Deployments {
		dep := &spec.Deployments[i]
		prepareDeployment(spec, dep, &r)
		if dep.Mirror > 0 {
			mirrored++
		}
	}
	r.when(mirrored > 1, mlerr.Unsupported, "deployments", "Leave mirror out of all but one", "azure_ml copies requests to one deployment at a time")
	r.when(len(spec.Deployments) > mostTogether, mlerr.Unsupported, "deployments", "Use several endpoints", "azure_ml takes at most %d deployments in an endpoint", mostTogether)
	return r.Err()
}

// fillIn writes the defaults that a state shows.
func fillIn(spec *driver.EndpointSpec) {
	s := &spec.Settings
	if s.Network.Access == "" && !spec.Unknown.At("network.access") {
		s.Network.Access = accessPublic
	}
	if s.Auth.Mode == "" && !spec.Unknown.At("auth.mode") {
		s.Auth.Mode = authIAM
	}
	if s.AzureML != nil && *s.AzureML == (driver.AzureMLEndpoint{}) {
		s.AzureML = nil
	}
	if s.AzureML != nil { // ids have no case, and only a new endpoint can have another identity
		own := *s.AzureML
		own.Identity = strings.ToLower(own.Identity)
		s.AzureML = &own
	}
	if len(s.Auth.Invokers) == 0 {
		s.Auth.Invokers = nil
	}
	sort.Strings(s.Auth.Invokers)
	if c := s.Capture; c != nil {
		sort.Strings(c.Include)
		if len(c.Include) == 0 && !spec.Unknown.At("capture.include") {
			c.Include = []string{captureRequest, captureResponse}
		}
		c.Destination = strings.TrimSuffix(c.Destination, "/")
	}
	spec.Labels = nonEmpty(spec.Labels)
}

func checkSettings(spec *driver.EndpointSpec, r *refusal) {
	s := &spec.Settings
	const wrong, cannot = mlerr.InvalidArgument, mlerr.Unsupported
	r.when(len(s.Auth.Invokers) > 0 && s.Auth.Mode != authIAM && !spec.Unknown.At("auth.mode"), wrong, "auth.invokers", "Use auth.mode = \"iam\", or leave auth.invokers out",
		"who has a key or token of the endpoint may call it, whoever that is")
	for _, who := range s.Auth.Invokers {
		r.when(!invokerForm.MatchString(who), wrong, "auth.invokers", "Use user:, group: or servicePrincipal: and the object id in Microsoft Entra ID, in lower case",
			"%q does not name a principal", who)
	}
	if c := s.Capture; c != nil {
		r.when(c.Percent < 1 || c.Percent > 100, wrong, "capture.percent", "Use 1 to 100, or leave capture out", "%d is not a percentage that could be captured", c.Percent)
		r.when(!datastoreForm.MatchString(c.Destination), wrong, "capture.destination", "Use azureml://datastores/<datastore>/paths/<path>",
			"Azure ML captures into datastores of the workspace only")
		fits(r, "capture.destination", c.Destination)
	}
	longest := longestRequest
	if clusterOf(s) != "" || spec.Unknown.At(attributeCompute) {
		longest = longestOnCluster
	}
	r.when(s.RequestTimeout < 0 || s.RequestTimeout > longest || s.RequestTimeout%time.Millisecond != 0, wrong, "request_timeout", fmt.Sprintf("Use 1ms to %.0fm", longest.Minutes()),
		"Azure ML does not give a request %s", s.RequestTimeout)
	if id := identityOf(s); id != "" {
		r.when(!identityForm.MatchString(id), wrong, "azure_ml.identity", "Use /subscriptions/…/userAssignedIdentities/<name>", "%q is not the id of a user-assigned identity", id)
		fits(r, "azure_ml.identity", id)
	}
	checkVaultKey(s.Encryption.Key, r)
	r.when(s.Network.Access == accessPrivate && spec.SmokeTest != nil, cannot, "smoke_test", "Leave it out, and test from inside of the network",
		"azure_ml answers a private endpoint through the workspace's private endpoint only, where the provider in general is not")
}

func checkVaultKey(key string, r *refusal) {
	if key == "" {
		return
	}
	r.when(!vaultKeyForm.MatchString(key), mlerr.InvalidArgument, "encryption.key", "Use https://<vault>.vault.azure.net/keys/<key>, with a version or without", "%q does not name a key of Key Vault", key)
	fits(r, "encryption.key", key)
}

func prepareDeployment(spec *driver.EndpointSpec, dep *driver.Deployment, r *refusal) {
	path := "deployments." + dep.Name
	const wrong, cannot = mlerr.InvalidArgument, mlerr.Unsupported
	r.Add(checkName(path, "deployment", dep.Name, spec.Unknown))
	if native := dep.Model.Native; native != "" {
		r.when(!registryModel.MatchString(native), wrong, path+".model", "Use a version_id, or azureml://registries/<registry>/models/<model>/versions/<version>",
			"%q names no version of a model", native)
	}
	fits(r, path+".model", modelWords(dep.Model))
	dep.Env = nonEmpty(dep.Env)
	checkVariables(dep.Env, path+".env", r)
	r.when(dep.Mirror > mostMirror, cannot, path+".mirror", "Use at most 50", "azure_ml copies at most %d percent of the requests", mostMirror)
	r.when(dep.Mirror > 0 && dep.Traffic > 0, cannot, path+".mirror", "Give it no traffic while it is a shadow", "azure_ml copies no requests to a deployment that answers some")
	if clusterOf(&spec.Settings) == "" {
		r.Add(resolveCompute(spec, dep, path))
	}
	prepareScaling(spec, dep, path+".scaling", r)
}

func checkVariables(env map[string]string, path string, r *refusal) {
	size := 0
	for name, value := range env {
		size += len(name) + len(value)
		r.when(!variableName.MatchString(name), mlerr.InvalidArgument, path, "Use letters, digits and underscores, not a digit first", "%q cannot be the name of an environment variable", name)
		r.when(injected.MatchString(name), mlerr.InvalidArgument, path, "Choose another name", "the environment variable %s is set by Azure ML", name)
	}
	r.when(size > longestVariable, mlerr.InvalidArgument, path, "Put what is large into the model", "%s has %d bytes, and %d are kept", path, size, longestVariable)
}

// resolveCompute finds the size. One that the catalog does not know may be new, and is
// passed on.
func resolveCompute(spec *driver.EndpointSpec, dep *driver.Deployment, path string) error {
	c, platform := &dep.Compute, string(driver.AzureML)
	if spec.Unknown.In(path+".compute") || spec.Unknown.At(attributeCompute) {
		return nil
	}
	c.Attached = nil
	if c.InstanceType == "" {
		need := hardware.Need{CPU: c.CPU, MemoryGiB: c.MemoryGiB}
		if c.Accelerator != nil {
			need.Accelerator, need.AcceleratorCount = c.Accelerator.Type, c.Accelerator.Count
		}
		found, err := hardware.Resolve(platform, need)
		if err != nil {
			return mlerr.New(mlerr.InvalidArgument, "no VM size for deployment %s", dep.Name).Because(err).At("%s.compute", path).WithHint("%s", mlerr.Hint(err))
		}
		c.InstanceType = found.Name
		return nil
	}
	t, known := hardware.Lookup(platform, c.InstanceType)
	if known {
		c.InstanceType = t.Name
	} else if !sizeForm.MatchString(c.InstanceType) {
		e := mlerr.New(mlerr.InvalidArgument, "%q is not the name of a VM size", c.InstanceType).At("%s.compute.instance_type", path).WithHint("Use a name such as Standard_DS3_v2")
		if similar := hardware.Suggest(platform, c.InstanceType); len(similar) > 0 {
			_ = e.WithHint("Did you mean %s?", strings.Join(similar, " or "))
		}
		return e
	}
	if a := c.Accelerator; a != nil && known && (t.Accelerator != a.Type || t.AcceleratorCount < max(1, a.Count)) {
		return mlerr.New(mlerr.InvalidArgument, "%s does not have %d x %s", t.Name, max(1, a.Count), a.Type).At("%s.compute.accelerator", path).
			WithHint("Leave compute.instance_type out, and it is chosen by the accelerator")
	}
	return nil
}

func prepareScaling(spec *driver.EndpointSpec, dep *driver.Deployment, path string, r *refusal) {
	s := &dep.Scaling
	const wrong, cannot = mlerr.InvalidArgument, mlerr.Unsupported
	sort.Slice(s.Metrics, func(i, j int) bool { return s.Metrics[i].Type < s.Metrics[j].Type })
	sort.Slice(s.Schedules, func(i, j int) bool { return s.Schedules[i].Name < s.Schedules[j].Name })
	r.when(s.Max > mostInstances, cannot, path+".max", "Use at most 50, or several deployments", "azure_ml has at most %d replicas of a deployment", mostInstances)
	percents := []driver.MetricType{driver.MetricCPU, driver.MetricMemory, driver.MetricGPU}
	for _, m := range s.Metrics {
		r.when(slices.Contains(percents, m.Type) && m.Target > 100, wrong, path+".metrics", "Use at most 100", "%s cannot be more than 100 percent", m.Type)
		t, known := hardware.Lookup(string(driver.AzureML), dep.Compute.InstanceType)
		r.when(m.Type == driver.MetricGPU && known && t.AcceleratorCount == 0 && !spec.Unknown.In("deployments."+dep.Name+".compute"), wrong, path+".metrics",
			"Use the metric cpu, or ask for an accelerator", "%s of deployment %s has no accelerator to scale by", dep.Compute.InstanceType, dep.Name)
	}
	for name, pause := range map[string]time.Duration{"scale_in_cooldown": s.ScaleInCooldown, "scale_out_cooldown": s.ScaleOutCooldown} {
		r.when(pause != 0 && (pause < shortestPause || pause > longestPause || pause%time.Minute != 0), cannot, path+"."+name, cooldowns, "azure_ml does not take %s for it", pause)
	}
	r.when(len(s.Schedules) > mostSchedules, cannot, path+".schedules", "Use fewer", "azure_ml takes at most %d schedules of a deployment", mostSchedules)
	for i := range s.Schedules {
		sch := &s.Schedules[i]
		if sch.Timezone == "" {
			sch.Timezone = "UTC"
		}
		r.when(strings.EqualFold(sch.Name, defaultProfile), cannot, path+".schedules", "Choose another name", "azure_ml calls the bounds outside of schedules %q", defaultProfile)
		r.when(sch.Min < 1, cannot, path+".schedules", "Use at least 1", "azure_ml keeps at least one replica of a deployment, also by schedule %s", sch.Name)
		r.when(sch.Max > mostInstances, cannot, path+".schedules", "Use at most 50", "azure_ml has at most %d replicas of a deployment", mostInstances)
		if _, err := recurrence(sch); err != nil && !spec.Unknown.In(path+".schedules") {
			r.Add(mlerr.New(mlerr.CodeOf(err), "schedule %s", sch.Name).Because(err).At("%s.schedules", path).WithHint("%s", mlerr.Hint(err)))
		}
	}
	r.when(len(scalingText(s)) > scalerParts*longestTag, wrong, path+".schedules", "Use fewer schedules, or shorter names of them", "bounds, metrics and schedules of deployment %s are too long to be noted", dep.Name)
}
