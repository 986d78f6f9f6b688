// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"fmt"
	"regexp"
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

	// requestLimit is how long a container has for its answer; it is fixed.
	requestLimit = 60 * time.Second

	maxVariants = 10

	// smokeRoom is what a smoke test needs of an endpoint's name: the endpoint for
	// the test has the same name with "-smoke" behind it.
	smokeRoom = len("-smoke")

	pathErrorRate = "rollout.checks.max_error_rate"
	pathLatency   = "rollout.checks.max_latency_ms"
)

var principalARN = regexp.MustCompile(`^arn:aws[a-z\-]*:(iam|sts)::[0-9]{12}:`)

// PrepareEndpoint makes spec canonical and refuses what SageMaker cannot do.
func (d *sagemaker) PrepareEndpoint(spec *driver.EndpointSpec) error {
	d.fillIn(spec)
	var all mlerr.List
	all.Add(checkName("name", driver.KindEndpoint, spec.Key.Name, spec.Unknown))
	all.Add(checkLabels(spec.Labels, endpointReserved(spec)))
	all.Add(checkSettings(spec))
	all.Add(checkShape(spec))
	for i := range spec.Deployments {
		all.Add(prepareDeployment(spec, &spec.Deployments[i]))
	}
	all.Add(checkRollout(spec))
	return all.Err()
}

// fillIn writes the defaults that a state shows.
func (d *sagemaker) fillIn(spec *driver.EndpointSpec) {
	s := &spec.Settings
	if s.SageMaker == nil {
		s.SageMaker = &driver.SageMakerEndpoint{}
	}
	if s.SageMaker.ExecutionRoleARN == "" && !spec.Unknown.At("sagemaker.execution_role_arn") {
		s.SageMaker.ExecutionRoleARN = d.cfg.ExecutionRoleARN
	}
	if s.Network.Access == "" && !spec.Unknown.At("network.access") {
		s.Network.Access = accessPublic
	}
	if s.Auth.Mode == "" && !spec.Unknown.At("auth.mode") {
		s.Auth.Mode = authIAM
	}
	for _, set := range []*[]string{&s.Network.Subnets, &s.Network.SecurityGroups, &s.Auth.Invokers} {
		if len(*set) == 0 {
			*set = nil
		}
		sort.Strings(*set)
	}
	if s.Capture != nil {
		sort.Strings(s.Capture.Include)
		if len(s.Capture.Include) == 0 && !spec.Unknown.At("capture.include") {
			s.Capture.Include = []string{captureRequest, captureResponse}
		}
	}
}

func endpointReserved(spec *driver.EndpointSpec) int {
	bare := *spec
	bare.Labels = nil
	return len(endpointTags(&bare, true))
}

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

func checkSettings(spec *driver.EndpointSpec) error {
	s, r := &spec.Settings, refusal{unknown: spec.Unknown}
	const wrong, cannot = mlerr.InvalidArgument, mlerr.Unsupported
	role := s.SageMaker.ExecutionRoleARN
	r.when(role == "", wrong, "sagemaker.execution_role_arn",
		"Set it here or as the provider's sagemaker.execution_role_arn", "an endpoint needs the ARN of an execution role")
	r.when(role != "" && !roleARN.MatchString(role), wrong, "sagemaker.execution_role_arn",
		"Use an ARN such as arn:aws:iam::123456789012:role/name", "%q is not the ARN of an IAM role", role)
	n := &s.Network
	vpc := len(n.Subnets) > 0 || len(n.SecurityGroups) > 0 || n.Access == accessPrivate
	r.when(vpc && len(n.Subnets) == 0, wrong, "network.subnets", "Give at least two, in different zones", "in a VPC, SageMaker needs subnets")
	r.when(vpc && len(n.SecurityGroups) == 0, wrong, "network.security_groups", "Give one that lets the container reach S3", "in a VPC, SageMaker needs security groups")
	r.when(len(n.Subnets) > 16, wrong, "network.subnets", "Use fewer", "SageMaker takes at most 16 subnets, these are %d", len(n.Subnets))
	r.when(len(n.SecurityGroups) > 5, wrong, "network.security_groups", "Use fewer", "SageMaker takes at most 5 security groups, these are %d", len(n.SecurityGroups))
	for _, who := range s.Auth.Invokers {
		r.when(!principalARN.MatchString(who), wrong, "auth.invokers", "Use the ARN of an IAM role or user", "%q is not the ARN of an IAM principal", who)
	}
	r.when(s.RequestTimeout != 0 && s.RequestTimeout != requestLimit, cannot, "request_timeout",
		"Leave it out; for longer work use sagemaker.async", "sagemaker gives every request 60 seconds, not %s", s.RequestTimeout)
	r.when(s.Encryption.Key != "" && !kmsKey.MatchString(s.Encryption.Key), wrong, "encryption.key",
		"Use the id, alias or ARN of a key in this region", "%q does not name a KMS key", s.Encryption.Key)
	if c := s.Capture; c != nil {
		r.when(c.Percent < 0 || c.Percent > 100, wrong, "capture.percent", "Use 0 to 100", "%d is not a percentage", c.Percent)
		r.when(!strings.HasPrefix(c.Destination, "s3://"), wrong, "capture.destination", "Use an address such as s3://bucket/prefix", "SageMaker captures into S3 only")
		for _, i := range c.Include {
			r.when(i != captureRequest && i != captureResponse, wrong, "capture.include", "Use \"request\" and \"response\"", "%q cannot be captured", i)
		}
	}
	checkModes(spec, &r)
	return r.Err()
}

// checkModes judges asynchronous and serverless endpoints, and what excludes what
// (https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html).
func checkModes(spec *driver.EndpointSpec, r *refusal) {
	s := spec.Settings.SageMaker
	const wrong, cannot = mlerr.InvalidArgument, mlerr.Unsupported
	if a := s.Async; a != nil {
		r.when(!strings.HasPrefix(a.OutputURI, "s3://"), wrong, "sagemaker.async.output_uri", "Use an address such as s3://bucket/prefix", "an asynchronous endpoint answers into S3 only")
		r.when(a.FailureURI != "" && !strings.HasPrefix(a.FailureURI, "s3://"), wrong, "sagemaker.async.failure_uri", "Use an address such as s3://bucket/prefix", "an asynchronous endpoint writes failures into S3 only")
		r.when(a.MaxConcurrencyPerInstance < 0 || a.MaxConcurrencyPerInstance > 1000, wrong, "sagemaker.async.max_concurrency_per_instance", "Use 1 to 1000, or leave it out", "%d requests at once are not possible", a.MaxConcurrencyPerInstance)
		r.when(spec.SmokeTest != nil, cannot, "smoke_test", "Leave it out; watch the endpoint's alarms in rollout.checks.alarms instead",
			"sagemaker answers an asynchronous endpoint's requests into S3, where no smoke test looks")
		r.when(s.Serverless != nil, wrong, "sagemaker.serverless", "Choose one", "an endpoint cannot be both asynchronous and serverless")
	}
	sv := s.Serverless
	if sv == nil {
		return
	}
	r.when(sv.MemoryMB < 1024 || sv.MemoryMB > 6144 || sv.MemoryMB%1024 != 0, wrong, "sagemaker.serverless.memory_mb", "Use 1024, 2048, 3072, 4096, 5120 or 6144", "%d MB is not a size of serverless endpoints", sv.MemoryMB)
	r.when(sv.MaxConcurrency < 1 || sv.MaxConcurrency > 200, wrong, "sagemaker.serverless.max_concurrency", "Use 1 to 200", "a concurrency of %d is not possible", sv.MaxConcurrency)
	r.when(sv.ProvisionedConcurrency < 0 || sv.ProvisionedConcurrency > sv.MaxConcurrency, wrong, "sagemaker.serverless.provisioned_concurrency", "Use 1 to max_concurrency, or leave it out", "a provisioned concurrency of %d is not possible", sv.ProvisionedConcurrency)
	instead := "Use a compute.instance_type instead of sagemaker.serverless"
	set := &spec.Settings
	r.when(len(set.Network.Subnets) > 0 || set.Network.Access == accessPrivate, cannot, "network.access", instead, "sagemaker runs serverless endpoints outside of any VPC")
	r.when(s.NetworkIsolation, cannot, "sagemaker.network_isolation", instead, "sagemaker cannot isolate serverless endpoints")
	r.when(set.Capture != nil, cannot, "capture", instead, "sagemaker cannot capture the data of serverless endpoints")
	r.when(len(spec.Deployments) > 1, cannot, "deployments", instead, "sagemaker gives a serverless endpoint one deployment only")
	r.when(spec.Rollout.Strategy != "" && spec.Rollout.Strategy != driver.AllAtOnce, cannot, "rollout.strategy", "Use all_at_once", "sagemaker changes serverless endpoints all at once only")
	checks := &spec.Rollout.Checks
	for path, used := range map[string]bool{pathAlarms: len(checks.Alarms) > 0, pathErrorRate: checks.MaxErrorRate > 0, pathLatency: checks.MaxLatencyMS > 0} {
		r.when(used, cannot, path, "Leave it out, and use smoke_test", "sagemaker does not guard the changes of serverless endpoints")
	}
}

// checkShape judges the deployments together.
func checkShape(spec *driver.EndpointSpec) error {
	r := refusal{unknown: spec.Unknown}
	r.when(spec.SmokeTest != nil && len(spec.Key.Name) > maxName-smokeRoom && len(spec.Key.Name) <= maxName, mlerr.InvalidArgument, "name",
		"Use a shorter name, or leave smoke_test out", "beside a smoke_test, the name of an endpoint may have %d characters, this has %d: the endpoint for the test is called after it", maxName-smokeRoom, len(spec.Key.Name))
	r.when(len(spec.Deployments) > maxVariants, mlerr.InvalidArgument, "deployments", "Use two endpoints",
		"SageMaker takes at most %d deployments, these are %d", maxVariants, len(spec.Deployments))
	if !hasMirror(spec.Deployments) {
		return r.Err()
	}
	live, shadows := 0, 0
	for _, dep := range spec.Deployments {
		if dep.Mirror == 0 {
			live++
			continue
		}
		shadows++
		path := "deployments." + dep.Name + ".mirror"
		r.when(dep.Traffic > 0, mlerr.Unsupported, path, "Set its traffic to 0", "sagemaker sends a deployment either live traffic or copies")
		r.when(shadows > 1 || dep.Mirror > 100, mlerr.Unsupported, path, "Mirror up to 100 percent to one deployment", "sagemaker copies at most all requests, to one deployment")
	}
	r.when(live != 1, mlerr.Unsupported, "deployments", "Give all traffic to one deployment while another is mirrored to",
		"sagemaker mirrors only beside exactly one deployment with traffic, these are %d", live)
	return r.Err()
}

func prepareDeployment(spec *driver.EndpointSpec, dep *driver.Deployment) error {
	path := "deployments." + dep.Name
	r := refusal{unknown: spec.Unknown}
	r.Add(checkName(path, "deployment", dep.Name, spec.Unknown))
	if native := dep.Model.Native; native != "" {
		r.when(!strings.Contains(native, ":model/"), mlerr.InvalidArgument, path+".model", "Use a version_id, or the ARN of a SageMaker Model", "%q names no model", native)
		r.when(len(dep.Env) > 0, mlerr.Unsupported, path+".env", "Register it as an ml_model and serve its version", "sagemaker cannot change the environment of a model that was made outside the registry")
	}
	r.Add(checkEnvironment(path+".env", dep.Env))
	dep.Env = nonEmpty(dep.Env)
	if spec.Settings.SageMaker.Serverless != nil {
		prepareServerless(dep, path, &r)
		return r.Err()
	}
	r.Add(resolveCompute(spec, dep, path))
	r.Add(prepareScaling(spec, dep, path+".scaling"))
	return r.Err()
}

// prepareServerless accepts neither machines nor replica counts; the canonical
// scaling of what has no replicas is one.
func prepareServerless(dep *driver.Deployment, path string, r *refusal) {
	c := dep.Compute
	r.when(c.InstanceType != "" || c.CPU > 0 || c.MemoryGiB > 0 || c.Accelerator != nil, mlerr.Unsupported, path+".compute",
		"Leave compute out and set sagemaker.serverless.memory_mb", "sagemaker chooses the machines of serverless endpoints")
	r.when(dep.Scaling.Automatic() && (dep.Scaling.Min > 1 || dep.Scaling.Max > 1 || len(dep.Scaling.Metrics) > 0 || len(dep.Scaling.Schedules) > 0),
		mlerr.Unsupported, path+".scaling", "Set sagemaker.serverless.max_concurrency", "sagemaker scales serverless endpoints by itself")
	if dep.Scaling.Max <= 1 {
		dep.Scaling = driver.Scaling{Min: 1, Max: 1}
	}
}

// resolveCompute finds the instance type and what it excludes.
func resolveCompute(spec *driver.EndpointSpec, dep *driver.Deployment, path string) error {
	c := &dep.Compute
	if spec.Unknown.In(path + ".compute") {
		return nil
	}
	if c.InstanceType == "" {
		need := hardware.Need{CPU: c.CPU, MemoryGiB: c.MemoryGiB}
		if c.Accelerator != nil {
			need.Accelerator, need.AcceleratorCount = c.Accelerator.Type, c.Accelerator.Count
		}
		found, err := hardware.Resolve(string(driver.SageMaker), need)
		if err != nil {
			return mlerr.New(mlerr.InvalidArgument, "no instance type for deployment %s", dep.Name).Because(err).
				At("%s.compute", path).WithHint("%s", mlerr.Hint(err))
		}
		c.InstanceType = found.Name
	}
	machine, ok := hardware.Lookup(string(driver.SageMaker), c.InstanceType)
	if !ok {
		e := mlerr.New(mlerr.InvalidArgument, "SageMaker has no instance type %q for endpoints", c.InstanceType).At("%s.compute.instance_type", path)
		if similar := hardware.Suggest(string(driver.SageMaker), c.InstanceType); len(similar) > 0 {
			_ = e.WithHint("Did you mean %s?", strings.Join(similar, " or "))
		}
		return e
	}
	if a := c.Accelerator; a != nil && (machine.Accelerator != a.Type || machine.AcceleratorCount < a.Count) {
		return mlerr.New(mlerr.InvalidArgument, "%s does not come with %d x %s, and SageMaker adds no accelerators", c.InstanceType, a.Count, a.Type).
			At("%s.compute.accelerator", path).WithHint("Leave compute.instance_type out, and it is chosen by the accelerator")
	}
	if key := spec.Settings.Encryption.Key; key != "" && machine.LocalNVMe && !spec.Unknown.At("encryption.key") {
		return mlerr.New(mlerr.Unsupported, "sagemaker takes no key for %s of deployment %s, whose local disks are encrypted by the hardware",
			c.InstanceType, dep.Name).At("encryption.key").
			WithHint("Leave encryption.key out, or choose a type without local NVMe, such as %s", "ml.m5.xlarge or ml.inf2.xlarge")
	}
	return nil
}

func accelerated(instanceType string) bool {
	machine, ok := hardware.Lookup(string(driver.SageMaker), instanceType)
	return ok && machine.Accelerator != ""
}

// checkChecks judges what guards an update.
func checkChecks(spec *driver.EndpointSpec, r *refusal) {
	const wrong, cannot = mlerr.InvalidArgument, mlerr.Unsupported
	c := &spec.Rollout.Checks
	r.when(c.MaxErrorRate < 0 || c.MaxErrorRate > 100, wrong, pathErrorRate, "Use more than 0 and up to 100", "%v is not a percentage", c.MaxErrorRate)
	r.when(c.MaxLatencyMS < 0, wrong, pathLatency, "Use milliseconds, such as 500", "a latency of %d ms is not possible", c.MaxLatencyMS)
	own := len(checkAlarms(spec, ""))
	path := pathAlarms
	if len(c.Alarms) == 0 {
		path = "rollout.checks"
	}
	r.when(len(c.Alarms)+own > maxAlarms, cannot, path, "Name fewer alarms, or leave max_error_rate or max_latency_ms out",
		"sagemaker watches at most %d alarms, these are %d named ones and %d of max_error_rate and max_latency_ms, one a deployment", maxAlarms, len(c.Alarms), own)
	if !guarded(spec) {
		return
	}
	for _, dep := range spec.Deployments {
		r.when(strings.HasPrefix(dep.Compute.InstanceType, "ml.inf1."), cannot, "deployments."+dep.Name+".compute.instance_type", "Use an ml.inf2 type, or leave rollout.checks out",
			"sagemaker watches no alarms on %s", dep.Compute.InstanceType)
	}
}

// checkRollout holds the rules of guarded deployments
// (https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green.html).
func checkRollout(spec *driver.EndpointSpec) error {
	ro, r := &spec.Rollout, refusal{unknown: spec.Unknown}
	const wrong, cannot = mlerr.InvalidArgument, mlerr.Unsupported
	r.when(ro.Interval < 0 || ro.Interval > maxWait*time.Second, wrong, "rollout.interval", "Use at most 1h", "an interval of %s is not possible on SageMaker", ro.Interval)
	checkChecks(spec, &r)
	first := firstStep(ro)
	switch ro.Strategy {
	case driver.Canary:
		r.when(len(ro.Steps) > 1, cannot, "rollout.steps", fmt.Sprintf("Use steps = [%d], or strategy = \"linear\"", first), "sagemaker's canary has one step before all traffic, not %d", len(ro.Steps))
		r.when(first < 1 || first > 50, wrong, "rollout.steps", "Use 1 to 50", "SageMaker's canary takes at most half of the capacity, not %d percent", first)
	case driver.Linear:
		r.when(len(ro.Steps) > 1, wrong, "rollout.steps", fmt.Sprintf("Use steps = [%d]", first), "all steps of a linear rollout are the same")
		r.when(first < 10 || first > 50, wrong, "rollout.steps", "Use 10 to 50", "SageMaker's linear steps are of 10 to 50 percent, not %d", first)
		r.when(first >= 10 && waits(ro, seconds(ro.Interval)) >= maxExecution, wrong, "rollout.interval", "Use a shorter interval or larger steps",
			"steps of %d percent every %s take longer than the eight hours that SageMaker gives a rollout", first, ro.Interval)
	default:
		return r.Err()
	}
	for _, dep := range spec.Deployments {
		path := "deployments." + dep.Name
		r.when(dep.Scaling.Min < 2, cannot, path+".scaling.min", "Use at least 2 replicas, or strategy = \"blue_green\"",
			"sagemaker shifts traffic in parts only between deployments of at least 2 replicas, and %s has %d", dep.Name, dep.Scaling.Min)
		r.when(strings.HasPrefix(dep.Compute.InstanceType, "ml.inf1."), cannot, path+".compute.instance_type", "Use an ml.inf2 type, or strategy = \"all_at_once\"",
			"sagemaker ignores rollout strategies on %s", dep.Compute.InstanceType)
	}
	return r.Err()
}
