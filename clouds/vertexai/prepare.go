// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"math"
	"regexp"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/hardware"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

const (
	accessPublic  = "public"
	accessPrivate = "private"
	authIAM       = "iam"

	captureRequest  = "request"
	captureResponse = "response"

	// sharedTimeout is what requests to the region's own host have; longestTimeout
	// is the most that any endpoint gives them.
	sharedTimeout  = 60 * time.Second
	longestTimeout = time.Hour

	shortestIdle = 5 * time.Minute
	longestIdle  = 8 * time.Hour
)

var (
	memberForm   = regexp.MustCompile(`^(user|group|serviceAccount|domain):[^:\s]+$|^(principal|principalSet)://\S+$`)
	networkForm  = regexp.MustCompile(`^projects/[0-9]+/global/networks/[a-z0-9-]+$`)
	bigQueryForm = regexp.MustCompile(`^bq://[^./\s]+(\.[^./\s]+){0,2}$`)
)

// PrepareEndpoint makes spec canonical and refuses what Vertex AI cannot do.
func (d *vertex) PrepareEndpoint(spec *driver.EndpointSpec) error {
	fillIn(spec)
	r := refusal{unknown: spec.Unknown}
	r.Add(checkName("name", driver.KindEndpoint, spec.Key.Name, spec.Unknown))
	r.Add(checkLabels(spec.Labels, 8+len(spec.Deployments)))
	checkSettings(spec, &r)
	r.Add(checkKey(spec.Settings.Encryption.Key, spec.Key, spec.Unknown))
	for i := range spec.Deployments {
		prepareDeployment(spec, &spec.Deployments[i], &r)
	}
	checkTogether(spec, &r)
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
	if s.VertexAI != nil && *s.VertexAI == (driver.VertexAIEndpoint{}) {
		s.VertexAI = nil
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
	}
	spec.Labels = nonEmpty(spec.Labels)
}

func dedicated(s *driver.Settings) bool { return s.VertexAI != nil && s.VertexAI.Dedicated }

func serviceAccount(s *driver.Settings) string {
	if s.VertexAI == nil {
		return ""
	}
	return s.VertexAI.ServiceAccount
}

func checkSettings(spec *driver.EndpointSpec, r *refusal) {
	s := &spec.Settings
	const wrong, cannot = mlerr.InvalidArgument, mlerr.Unsupported
	n := &s.Network
	r.when(n.Network != "" && n.Access == accessPublic, wrong, "network.network", "Set network.access = \"private\", or leave network.network out", "a public endpoint is in no network")
	r.when(n.Network != "" && !networkForm.MatchString(n.Network), wrong, "network.network",
		"Use projects/<number>/global/networks/<name>, with the project's number and not its id", "Vertex AI does not understand the network %q", n.Network)
	for _, who := range s.Auth.Invokers {
		r.when(who == "allUsers" || who == "allAuthenticatedUsers", cannot, "auth.invokers", "Name the members that may call", "vertex_ai answers nobody without a name, and %s are all", who)
		r.when(!memberForm.MatchString(who) && !strings.HasPrefix(who, "all"), wrong, "auth.invokers", "Use a member such as serviceAccount:caller@my-project.iam.gserviceaccount.com", "%q is not a member of an IAM policy", who)
	}
	if c := s.Capture; c != nil {
		r.when(c.Percent < 1 || c.Percent > 100, wrong, "capture.percent", "Use 1 to 100, or leave capture out", "%d is not a percentage that could be captured", c.Percent)
		r.when(!bigQueryForm.MatchString(c.Destination), wrong, "capture.destination", "Use bq://project.dataset.table", "Vertex AI captures into BigQuery only")
		r.when(!slices.Equal(c.Include, []string{captureRequest, captureResponse}), cannot, "capture.include", "Leave it out",
			"vertex_ai records a request and its response in one row, and never one of them alone")
		r.when(n.Network != "", cannot, "capture", "Leave network.network out: Private Service Connect endpoints capture", "vertex_ai does not capture on endpoints in a peered network")
	}
	if s.VertexAI != nil {
		r.when(s.VertexAI.ServiceAccount != "" && !accountName.MatchString(s.VertexAI.ServiceAccount), wrong, carriedAccount,
			"Use an address such as serving@my-project.iam.gserviceaccount.com", "%q is not the email address of a service account", s.VertexAI.ServiceAccount)
		local, domain, _ := strings.Cut(s.VertexAI.ServiceAccount, "@")
		r.when(len(local) > 63 || len(domain) > 63 || strings.Contains(domain, "_"), wrong, carriedAccount, "Use another", "the address %q is too long to be noted on the endpoint", s.VertexAI.ServiceAccount)
		r.when(s.VertexAI.Dedicated && n.Access == accessPrivate, wrong, "vertex_ai.dedicated", "Leave it out", "a private endpoint has no public host of its own")
	}
	shared := n.Access == accessPublic && !dedicated(s) && !spec.Unknown.At("vertex_ai.dedicated")
	instead := "Set vertex_ai.dedicated = true, or leave request_timeout out"
	if n.Network != "" {
		instead = "Leave network.network out: endpoints of Private Service Connect have up to an hour"
	}
	r.when(s.RequestTimeout != 0 && s.RequestTimeout != sharedTimeout && (shared || n.Network != ""), cannot, "request_timeout", instead,
		"vertex_ai gives every request to this kind of endpoint %s", sharedTimeout)
	r.when(s.RequestTimeout < 0 || s.RequestTimeout > longestTimeout || s.RequestTimeout%time.Second != 0, wrong, "request_timeout", "Use whole seconds, at most 1h", "a request timeout of %s is not possible", s.RequestTimeout)
}

func prepareDeployment(spec *driver.EndpointSpec, dep *driver.Deployment, r *refusal) {
	path := "deployments." + dep.Name
	r.Add(checkName(path, "deployment", dep.Name, spec.Unknown))
	if native := dep.Model.Native; native != "" {
		r.when(true, mlerr.InvalidArgument, path+".model", "Use a version_id, such as "+driver.VersionRef{Key: spec.Key, Version: "1"}.String(), "%q names no version of a model", native)
	}
	dep.Env = nonEmpty(dep.Env)
	r.Add(resolveCompute(spec, dep, path))
	prepareScaling(spec, dep, path+".scaling", r)
	r.when(spec.SmokeTest != nil && dep.Traffic == 0, mlerr.Unsupported, path+".traffic", "Give it at least 1 percent, or leave smoke_test out",
		"vertex_ai cannot send the smoke test to deployment %s, which gets no traffic", dep.Name)
}

// resolveCompute finds the machine type, and what is added to it.
func resolveCompute(spec *driver.EndpointSpec, dep *driver.Deployment, path string) error {
	c, platform := &dep.Compute, string(driver.VertexAI)
	if spec.Unknown.In(path + ".compute") {
		return nil
	}
	if c.InstanceType == "" {
		c.Attached = nil
		need := hardware.Need{CPU: c.CPU, MemoryGiB: c.MemoryGiB}
		if c.Accelerator != nil {
			need.Accelerator, need.AcceleratorCount = c.Accelerator.Type, c.Accelerator.Count
		}
		found, err := hardware.Resolve(platform, need)
		if err != nil {
			return mlerr.New(mlerr.InvalidArgument, "no machine type for deployment %s", dep.Name).Because(err).At("%s.compute", path).WithHint("%s", mlerr.Hint(err))
		}
		c.InstanceType = found.Name
		if found.Attached {
			c.Attached = &driver.Accelerator{Type: found.Accelerator, Count: found.AcceleratorCount}
		}
		return nil
	}
	ways := hardware.Named(platform, c.InstanceType)
	if len(ways) == 0 {
		e := mlerr.New(mlerr.InvalidArgument, "Vertex AI has no machine type %q for endpoints", c.InstanceType).At("%s.compute.instance_type", path)
		if similar := hardware.Suggest(platform, c.InstanceType); len(similar) > 0 {
			_ = e.WithHint("Did you mean %s?", strings.Join(similar, " or "))
		}
		return e
	}
	a := c.Accelerator
	if a == nil {
		c.Attached = nil
		return nil
	}
	for _, t := range ways {
		asked := max(1, a.Count)
		if c.Attached != nil {
			asked = max(asked, c.Attached.Count) // resolved before
		}
		if t.Accelerator == a.Type && (t.AcceleratorCount == asked || !t.Attached && t.AcceleratorCount > asked) {
			if t.Attached {
				c.Attached = &driver.Accelerator{Type: a.Type, Count: t.AcceleratorCount}
			}
			return nil
		}
	}
	return mlerr.New(mlerr.InvalidArgument, "Vertex AI does not combine %s with %d x %s", c.InstanceType, max(1, a.Count), a.Type).
		At("%s.compute.accelerator", path).WithHint("%s", combinations(ways))
}

// combinations says in words what a machine type can have.
func combinations(ways []hardware.Type) string {
	var words []string
	for _, t := range ways {
		if t.Accelerator != "" {
			words = append(words, hardware.Need{Accelerator: t.Accelerator, AcceleratorCount: t.AcceleratorCount}.String())
		}
	}
	if len(words) == 0 {
		return "It has no accelerators: leave compute.instance_type out, and it is chosen by the accelerator"
	}
	return "With " + ways[0].Name + " go " + strings.Join(words, " or ")
}

// machine is what is asked of the platform for a resolved compute. The accelerators
// that a type comes with have to be said too.
func machine(c *driver.Compute) machineSpec {
	m := machineSpec{MachineType: c.InstanceType}
	for _, t := range hardware.Named(string(driver.VertexAI), c.InstanceType) {
		fits := !t.Attached && c.Attached == nil || t.Attached && c.Attached != nil && t.Accelerator == c.Attached.Type && t.AcceleratorCount == c.Attached.Count
		if fits && t.PlatformAccelerator != "" {
			m.AcceleratorType, m.AcceleratorCount = t.PlatformAccelerator, t.AcceleratorCount
		}
	}
	return m
}

func accelerated(c *driver.Compute) bool { return machine(c).AcceleratorType != "" }

func prepareScaling(spec *driver.EndpointSpec, dep *driver.Deployment, path string, r *refusal) {
	s := &dep.Scaling
	const wrong, cannot = mlerr.InvalidArgument, mlerr.Unsupported
	sort.Slice(s.Metrics, func(i, j int) bool { return s.Metrics[i].Type < s.Metrics[j].Type })
	for _, m := range s.Metrics {
		percent := m.Type == driver.MetricCPU || m.Type == driver.MetricGPU
		r.when(m.Target != math.Trunc(m.Target) || percent && m.Target > 100, wrong, path+".metrics", "Use a whole number, of cpu and gpu at most 100", "Vertex AI takes no target of %g for %s", m.Target, m.Type)
		r.when(m.Type == driver.MetricGPU && !spec.Unknown.In("deployments."+dep.Name+".compute") && !accelerated(&dep.Compute), wrong, path+".metrics",
			"Use the metric cpu, or ask for an accelerator", "%s of deployment %s has no accelerator to scale by", dep.Compute.InstanceType, dep.Name)
	}
	r.when(s.ScaleInCooldown != 0 && s.Min > 0, cannot, path+".scale_in_cooldown", "Leave it out, or set min = 0: it then is how long an idle deployment keeps its replicas",
		"vertex_ai looks at the last five minutes before it removes a replica, always")
	r.when(s.ScaleInCooldown != 0 && s.Min == 0 && (s.ScaleInCooldown < shortestIdle || s.ScaleInCooldown > longestIdle), wrong, path+".scale_in_cooldown",
		"Use 5m to 8h", "Vertex AI does not take %s for it", s.ScaleInCooldown)
}

// one says why an endpoint can have one deployment only, "" if it can have several.
func one(spec *driver.EndpointSpec) string {
	if spec.Settings.Network.Network != "" {
		return "of an endpoint in a peered network"
	}
	for i := range spec.Deployments {
		if spec.Deployments[i].Scaling.Min == 0 && !spec.Unknown.In("deployments."+spec.Deployments[i].Name+".scaling") {
			return "beside one that scales to zero"
		}
	}
	return ""
}

// checkTogether judges what excludes what.
func checkTogether(spec *driver.EndpointSpec, r *refusal) {
	const cannot = mlerr.Unsupported
	why := one(spec)
	r.when(why != "" && len(spec.Deployments) > 1, cannot, "deployments", "Use one deployment, or two endpoints", "vertex_ai takes no second deployment %s", why)
	for i := range spec.Deployments {
		dep := &spec.Deployments[i]
		path := "deployments." + dep.Name + ".scaling.min"
		shared := spec.Settings.Network.Access == accessPublic && !dedicated(&spec.Settings) && !spec.Unknown.At("vertex_ai")
		r.when(dep.Scaling.Min == 0 && shared, cannot, path, "Set vertex_ai.dedicated = true, or use at least 1", "vertex_ai scales to zero only on endpoints with a host of their own")
		r.when(dep.Scaling.Min == 0 && dep.Scaling.Automatic() && spec.Settings.Network.Network != "", cannot, path, "Use at least 1", "vertex_ai does not scale to zero in a peered network")
	}
	checkRollout(spec, why, r)
	private := spec.Settings.Network.Access == accessPrivate
	r.when(private && spec.SmokeTest != nil, cannot, "smoke_test", "Leave it out, and test from inside of the network",
		"vertex_ai answers a private endpoint inside of its network only, where the provider in general is not")
}

// checkRollout judges what no step can do where there can be one deployment only, and
// what a private endpoint shows too late.
func checkRollout(spec *driver.EndpointSpec, why string, r *refusal) {
	o := &spec.Rollout
	stepwise := o.Strategy != "" && o.Strategy != driver.AllAtOnce
	r.when(why != "" && stepwise, mlerr.Unsupported, "rollout.strategy", "Use rollout.strategy = \"all_at_once\": the new version then replaces the old one",
		"vertex_ai takes no second deployment %s, and %s needs two", why, o.Strategy)
	measured := o.Checks.MaxErrorRate > 0 || o.Checks.MaxLatencyMS > 0
	r.when(spec.Settings.Network.Access == accessPrivate && measured && stepwise && o.Interval <= privateDelay, mlerr.Unsupported, "rollout.interval",
		"Use a longer interval than "+privateDelay.String()+", or leave max_error_rate and max_latency_ms out", "the metrics of private endpoints on vertex_ai show an answer up to %s late", privateDelay)
}
