// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// checkGaps refuses the uses that the platform has a gap for.
func (c *Cloud) checkGaps(uses []driver.Use) error {
	f := c.Features()
	var all mlerr.List
	for _, u := range uses {
		if g := f.Gap(u); g != nil {
			all.Add(mlerr.New(mlerr.Unsupported, "%s %s", f.Platform, g.Reason).At("%s", u.Path).WithHint("%s", g.Alternative))
		}
	}
	return all.Err()
}

// uses collects the attributes that a specification makes use of.
type uses []driver.Use

func (u *uses) when(used bool, path string, value any) {
	if used {
		*u = append(*u, driver.Use{Path: path, Value: fmt.Sprint(value)})
	}
}

func (u *uses) text(path, value string) { u.when(value != "", path, value) }

func modelUses(s *driver.ModelSpec) []driver.Use {
	var u uses
	u.when(true, "artifact.uri", scheme(s.Artifact.URI))
	u.text("artifact.format", s.Artifact.Format)
	u.text("serving.runtime", s.Serving.Runtime)
	u.text("serving.image", s.Serving.Image)
	u.when(len(s.Serving.Command) > 0, "serving.command", "")
	u.when(len(s.Serving.Args) > 0, "serving.args", "")
	u.when(len(s.Serving.Env) > 0, "serving.env", "")
	u.when(s.Serving.Port != 0, "serving.port", s.Serving.Port)
	u.when(s.Serving.GRPCPort != 0, "serving.grpc_port", s.Serving.GRPCPort)
	u.text("serving.predict_path", s.Serving.PredictPath)
	u.text("serving.health_path", s.Serving.HealthPath)
	u.text("serving.protocol", s.Serving.Protocol)
	u.when(len(s.Aliases) > 0, "aliases", "")
	u.when(s.Approval != driver.Approved, "approval", s.Approval)
	u.text("description", s.Description)
	u.when(len(s.Labels) > 0, "labels", "")
	u.when(len(s.Metadata) > 0, "metadata", "")
	u.text("encryption.key", s.EncryptionKey)
	u.when(s.AzureML != nil, "azure_ml", "")
	return u
}

// instead is what to do about an artifact at an address that a platform cannot read.
var instead = map[string]string{
	"s3": "Copy the artifact to a local path first, or register it on a platform that reads it and give that version_id",
	"gs": "Copy the artifact to a local path or to s3:// first, or register it on vertex_ai and give that version_id", "azureml": "Download the artifact to a local path first",
	"https": "Download the artifact to a local path first", "oci": "Pull the artifact to a local path first",
	"pvc": "Copy the artifact to a local path or to s3:// first", "hf": "Download the model to a local directory first",
	"models": "Download the model version to a local directory first", "git": "Check the repository out and give the path",
	"dvc": "Run dvc pull and give the path",
}

// checkScheme refuses an artifact at an address that the platform cannot read.
func (c *Cloud) checkScheme(spec *driver.ModelSpec) error {
	uri := spec.Artifact.URI
	if spec.Unknown.At("artifact.uri") || uri == "" || c.Reads(uri) {
		return nil
	}
	if _, moving, err := Moving(uri); moving {
		return err
	}
	return mlerr.New(mlerr.Unsupported, "%s addresses are not supported on %s by this release", scheme(uri), c.Features().Platform).At("artifact.uri").
		WithHint("%s", cmp.Or(instead[scheme(uri)], "Give a local path or an s3:// address"))
}

// Reads reports whether an artifact at that address can be served on the platform.
func (c *Cloud) Reads(uri string) bool {
	f, name := c.Features(), scheme(uri)
	return slices.Contains(f.ArtifactSchemes, name) || slices.Contains(f.UnreadSchemes, name)
}

// scheme is the scheme of an artifact's address; "file" for a local path, "version"
// for a version_id.
func scheme(uri string) string {
	if likeVersion.MatchString(uri) {
		return schemeVersion
	}
	if name, _, ok := strings.Cut(uri, ":"); ok && strings.ContainsAny(uri, "/") && len(name) > 1 && !strings.ContainsAny(name, "/.") {
		return strings.ToLower(name)
	}
	return "file"
}

func endpointUses(s *driver.EndpointSpec) []driver.Use {
	var u uses
	for i := range s.Deployments {
		u.deployment(&s.Deployments[i])
	}
	u.when(s.Rollout.Strategy != "" && s.Rollout.Strategy != driver.AllAtOnce, "rollout.strategy", s.Rollout.Strategy)
	u.when(s.Rollout.OnFailure == "hold", "rollout.on_failure", "hold")
	u.when(s.Rollout.Interval > 0, "rollout.interval", "")
	u.when(s.Rollout.Checks.SmokeTest, "rollout.checks.smoke_test", true)
	u.when(s.Rollout.Checks.MaxErrorRate > 0, "rollout.checks.max_error_rate", "")
	u.when(s.Rollout.Checks.MaxLatencyMS > 0, "rollout.checks.max_latency_ms", "")
	u.when(len(s.Rollout.Checks.Alarms) > 0, "rollout.checks.alarms", "")
	u.when(s.SmokeTest != nil, "smoke_test", "")
	u.settings(&s.Settings)
	u.when(len(s.Labels) > 0, "labels", "")
	return u
}

func (u *uses) deployment(d *driver.Deployment) {
	p := "deployments." + d.Name + "."
	u.when(d.Mirror > 0, p+"mirror", d.Mirror)
	u.text(p+"compute.instance_type", d.Compute.InstanceType)
	u.when(d.Compute.CPU > 0, p+"compute.cpu", "")
	u.when(d.Compute.MemoryGiB > 0, p+"compute.memory_gib", "")
	if d.Compute.Accelerator != nil {
		u.when(true, p+"compute.accelerator", d.Compute.Accelerator.Type)
	}
	u.when(d.Compute.Spot, p+"compute.spot", true)
	for _, m := range d.Scaling.Metrics {
		u.when(true, p+"scaling.metrics", m.Type)
	}
	u.when(len(d.Scaling.Schedules) > 0, p+"scaling.schedules", "")
	u.when(d.Scaling.ScaleInCooldown > 0, p+"scaling.scale_in_cooldown", "")
	u.when(d.Scaling.ScaleOutCooldown > 0, p+"scaling.scale_out_cooldown", "")
	u.when(len(d.Env) > 0, p+"env", "")
}

func (u *uses) settings(s *driver.Settings) {
	u.text("network.access", s.Network.Access)
	u.when(len(s.Network.Subnets) > 0, "network.subnets", "")
	u.when(len(s.Network.SecurityGroups) > 0, "network.security_groups", "")
	u.text("network.network", s.Network.Network)
	u.when(len(s.Network.AllowedNamespaces) > 0, "network.allowed_namespaces", "")
	u.text("auth.mode", s.Auth.Mode)
	u.when(len(s.Auth.Invokers) > 0, "auth.invokers", "")
	u.when(s.Auth.OIDC != nil, "auth.oidc", "")
	u.text("encryption.key", s.Encryption.Key)
	u.when(s.Encryption.TLS != nil, "encryption.tls", "")
	u.when(s.Capture != nil, "capture", "")
	u.when(s.RequestTimeout > 0, "request_timeout", s.RequestTimeout)
	u.when(s.SageMaker != nil, "sagemaker", "")
	u.when(s.VertexAI != nil, "vertex_ai", "")
	u.when(s.AzureML != nil, "azure_ml", "")
	u.when(s.Kubernetes != nil, "kubernetes", "")
}

// checkDeployments holds the rules that are the same on every platform.
func checkDeployments(s *driver.EndpointSpec, f *driver.Features) error {
	var all mlerr.List
	if len(s.Deployments) == 0 && !s.Unknown.Has("deployments") {
		all.Add(mlerr.New(mlerr.InvalidArgument, "an endpoint needs at least one deployment").At("deployments"))
	}
	sum, known := 0, true
	for i := range s.Deployments {
		d := &s.Deployments[i]
		path := "deployments." + d.Name
		sum += d.Traffic
		known = known && !s.Unknown.Has(path+".traffic")
		all.Add(checkPercent(path+".traffic", d.Traffic))
		all.Add(checkPercent(path+".mirror", d.Mirror))
		all.Add(checkScaling(path+".scaling", &d.Scaling, s.Unknown))
		if d.Scaling.Min >= 0 && d.Scaling.Min < f.MinReplicas && !s.Unknown.Has(path+".scaling") && !s.Unknown.Has(path+".scaling.min") {
			all.Add(mlerr.New(mlerr.Unsupported, "%s keeps at least %d of a deployment's replicas", f.Platform, f.MinReplicas).
				At("%s.scaling.min", path).WithHint("Use at least %d", f.MinReplicas))
		}
		all.Add(checkReference(path+".model", d.Model, s, f))
	}
	if known && len(s.Deployments) > 0 && sum != 100 {
		all.Add(mlerr.New(mlerr.InvalidArgument, "the traffic of all deployments adds up to %d percent, and must add up to 100", sum).
			At("deployments").WithHint("Change deployments.%s", trafficWords(s)))
	}
	return all.Err()
}

func checkPercent(path string, n int) error {
	if n >= 0 && n <= 100 {
		return nil
	}
	return mlerr.New(mlerr.InvalidArgument, "%d is not a percentage", n).At("%s", path).WithHint("Use 0 to 100")
}

func trafficWords(s *driver.EndpointSpec) string {
	words := make([]string, 0, len(s.Deployments))
	for _, d := range s.Deployments {
		words = append(words, fmt.Sprintf("%s.traffic (%d)", d.Name, d.Traffic))
	}
	sort.Strings(words)
	return strings.Join(words, ", ")
}

func checkReference(path string, ref driver.VersionRef, s *driver.EndpointSpec, f *driver.Features) error {
	switch {
	case s.Unknown.Has(path) || ref.Native != "":
		return nil
	case ref == driver.VersionRef{}:
		return mlerr.New(mlerr.InvalidArgument, "a deployment needs a model version").At("%s", path).
			WithHint("Refer to ml_model.<name>.version_id")
	case ref.Key.Platform != s.Key.Platform:
		return mlerr.New(mlerr.InvalidArgument, "model version %s is on %s, and this endpoint is on %s", ref, ref.Key.Platform, s.Key.Platform).
			At("%s", path).WithHint("Register the model on %s too and refer to that version", s.Key.Platform)
	case ref.Key.Location != s.Key.Location && !s.Unknown.Has("location") && (!f.ModelsAbroad || project(ref.Key) != project(s.Key)):
		return mlerr.New(mlerr.InvalidArgument, "model version %s is in %s, and this endpoint is in %s", ref, ref.Key.Location, s.Key.Location).
			At("%s", path).WithHint("Register the model in %s too and refer to that version", s.Key.Location)
	}
	return nil
}

// project is the part of a location that is not its region.
func project(key driver.Key) string {
	first, _, _ := strings.Cut(key.Location, "/")
	return first
}

func checkScaling(path string, s *driver.Scaling, unknown driver.Unknown) error {
	if unknown.Has(path) || unknown.Has(path+".min") || unknown.Has(path+".max") {
		return nil
	}
	var all mlerr.List
	switch {
	case s.Min > s.Max:
		all.Add(mlerr.New(mlerr.InvalidArgument, "min (%d) is more than max (%d)", s.Min, s.Max).At("%s.min", path))
	case s.Max < 1:
		all.Add(mlerr.New(mlerr.InvalidArgument, "max must be at least 1, is %d", s.Max).At("%s.max", path))
	case s.Min < 0:
		all.Add(mlerr.New(mlerr.InvalidArgument, "min must not be negative, is %d", s.Min).At("%s.min", path))
	case s.Min != s.Max && len(s.Metrics) == 0 && len(s.Schedules) == 0 && !unknown.Has(path+".metrics") && !unknown.Has(path+".schedules"):
		all.Add(mlerr.New(mlerr.InvalidArgument, "%d to %d replicas, and nothing that would choose between them", s.Min, s.Max).
			At("%s.metrics", path).WithHint("Give metrics or schedules, or make min and max the same"))
	}
	seen := map[driver.MetricType]bool{}
	for _, m := range s.Metrics {
		if seen[m.Type] {
			all.Add(mlerr.New(mlerr.InvalidArgument, "metric %s appears twice", m.Type).At("%s.metrics", path))
		}
		seen[m.Type] = true
		if m.Target <= 0 {
			all.Add(mlerr.New(mlerr.InvalidArgument, "the target of metric %s must be more than 0", m.Type).At("%s.metrics", path))
		}
	}
	names := map[string]bool{}
	for _, sch := range s.Schedules {
		switch {
		case names[sch.Name]:
			all.Add(mlerr.New(mlerr.InvalidArgument, "two schedules are called %s", sch.Name).At("%s.schedules", path))
		case sch.Min < 0 || sch.Min > sch.Max:
			all.Add(mlerr.New(mlerr.InvalidArgument, "schedule %s goes from %d to %d replicas", sch.Name, sch.Min, sch.Max).At("%s.schedules", path))
		}
		names[sch.Name] = true
	}
	return all.Err()
}
