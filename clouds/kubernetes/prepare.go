// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/naming"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

// PrepareModel refuses what can never work.
func (d *kubernetes) PrepareModel(spec *driver.ModelSpec) error {
	var all mlerr.List
	if !spec.Unknown.Has("name") {
		all.Add(at("name", naming.Check("kubernetes", "model", spec.Key.Name)))
	}
	all.Add(checkLabels(spec.Labels))
	if s := &spec.Serving; s.Image == "" && s.Runtime != "" && !spec.Unknown.In("serving") {
		_, err := runtimes.Kubernetes(s.Runtime, spec.Key.Name, false)
		all.Add(err)
	}
	all.Add(checkEnv("serving.env", spec.Serving.Env))
	all.Add(d.checkArtifact(spec))
	return all.Err()
}

// at gives an error without one the attribute's path.
func at(path string, err error) error {
	if err == nil || mlerr.PathOf(err) != "" {
		return err
	}
	return mlerr.New(mlerr.CodeOf(err), "%s", err).At("%s", path).WithHint("%s", mlerr.Hint(err))
}

var envName = regexp.MustCompile(`^[-._a-zA-Z][-._a-zA-Z0-9]*$`)

func checkEnv(path string, env map[string]string) error {
	var all mlerr.List
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if !envName.MatchString(name) {
			all.Add(mlerr.New(mlerr.InvalidArgument, "%q cannot be the name of a container's variable", name).At("%s", path).
				WithHint("Use letters, digits, hyphens, underscores and dots, and begin with no digit"))
		}
	}
	return all.Err()
}

// PrepareEndpoint makes spec canonical and refuses what can never work.
func (d *kubernetes) PrepareEndpoint(spec *driver.EndpointSpec) error {
	d.fillIn(spec)
	var all mlerr.List
	if !spec.Unknown.Has("name") {
		all.Add(at("name", naming.Check("kubernetes", "endpoint", spec.Key.Name)))
		if len(spec.Key.Name) > maxEndpointName {
			all.Add(mlerr.New(mlerr.InvalidArgument, "%q is too long for the name of an endpoint on kubernetes", spec.Key.Name).At("name").
				WithHint("Use at most %d characters: names of what the endpoint is made of begin with it", maxEndpointName))
		}
	}
	if kubernetesOf(&spec.Settings).Serving == servingKServe && kserveRoom(spec.Key.Location) < shortestID {
		all.Add(mlerr.New(mlerr.InvalidArgument, "%q is too long for the name of a namespace with KServe, which makes host names of it", spec.Key.Location).At("location").
			WithHint("Use a namespace of at most %d characters, or kubernetes.serving = \"deployment\"", kserveRoom("")-shortestID))
	}
	all.Add(checkLabels(spec.Labels))
	all.Add(d.checkNetwork(spec))
	all.Add(d.checkAuth(spec))
	all.Add(d.checkTraffic(spec))
	all.Add(d.checkRollout(spec))
	for i := range spec.Deployments {
		all.Add(checkDeployment(spec, &spec.Deployments[i]))
	}
	return all.Err()
}

// maxEndpointName leaves room for what is appended: "-invoke", "-auth-" and a hash.
const maxEndpointName = 50

// fillIn writes the defaults that a state shows.
func (d *kubernetes) fillIn(spec *driver.EndpointSpec) {
	s := &spec.Settings
	if s.Network.Access == "" && !spec.Unknown.At("network.access") {
		s.Network.Access = accessPublic
	}
	if s.Auth.Mode == "" && !spec.Unknown.At("auth.mode") {
		s.Auth.Mode = authIAM
	}
	if spec.Unknown.At("kubernetes") {
		return
	}
	k := *kubernetesOf(s)
	s.Kubernetes = &k
	if !spec.Unknown.Has("kubernetes.serving") {
		k.Serving = cmp.Or(k.Serving, d.cfg.Serving)
	}
	if !spec.Unknown.Has("kubernetes.pod_security") {
		k.PodSecurity = cmp.Or(k.PodSecurity, securityRestricted)
	}
	if len(k.NodeSelector) == 0 {
		k.NodeSelector = nil
	}
	if len(k.Tolerations) == 0 {
		k.Tolerations = nil
	}
	if t := s.Encryption.TLS; t != nil && t.MinVersion == "1.2" {
		less := *t
		less.MinVersion = "" // what it is anyway
		s.Encryption.TLS = &less
	}
	for i := range spec.Deployments {
		m := spec.Deployments[i].Scaling.Metrics
		slices.SortFunc(m, func(a, b driver.Metric) int { return strings.Compare(string(a.Type), string(b.Type)) })
	}
}

func (d *kubernetes) checkNetwork(spec *driver.EndpointSpec) error {
	var all mlerr.List
	for _, name := range spec.Settings.Network.AllowedNamespaces {
		if name != everywhere && !dnsLabel.MatchString(name) {
			all.Add(mlerr.New(mlerr.InvalidArgument, "%q is not the name of a namespace", name).At("network.allowed_namespaces").
				WithHint("Use names of namespaces, or \"*\" for all"))
		}
	}
	if t := spec.Settings.RequestTimeout; t > 0 && !spec.Unknown.At("network") && !d.cfg.routed(&spec.Settings) {
		all.Add(d.needsGateway("request_timeout", "a Service keeps no time"))
	} else if t%time.Millisecond != 0 {
		all.Add(mlerr.New(mlerr.InvalidArgument, "request_timeout is counted in milliseconds").At("request_timeout"))
	}
	return all.Err()
}

// needsGateway refuses what only a gateway does.
func (d *kubernetes) needsGateway(path, why string) error {
	e := mlerr.New(mlerr.Unsupported, "kubernetes needs a gateway for that: %s", why).At("%s", path)
	if d.cfg.Gateway == nil {
		return e.WithHint("Set the provider's kubernetes.gateway, or leave it out")
	}
	return e.WithHint("Use network.access = \"public\", so that the endpoint is exposed through the gateway, or leave it out")
}

func (d *kubernetes) checkAuth(spec *driver.EndpointSpec) error {
	s := &spec.Settings
	if spec.Unknown.In("auth") || spec.Unknown.In("encryption") || spec.Unknown.In("network") {
		return nil
	}
	var all mlerr.List
	refuse := func(bad bool, path, hint, format string, args ...any) {
		if bad {
			all.Add(mlerr.New(mlerr.InvalidArgument, format, args...).At("%s", path).WithHint("%s", hint))
		}
	}
	routed, oidc, tls := d.cfg.routed(s), s.Auth.OIDC, s.Encryption.TLS
	refuse(s.Auth.Mode == authOIDC && (oidc == nil || oidc.Issuer == ""), "auth.oidc", "Set auth.oidc.issuer and auth.oidc.audiences", "auth mode oidc needs to know whose tokens to accept")
	refuse(s.Auth.Mode != authOIDC && oidc != nil, "auth.oidc", "Set auth.mode = \"oidc\", or leave auth.oidc out", "auth.oidc is for auth mode oidc, and the mode is %s", s.Auth.Mode)
	refuse(s.Auth.Mode == authMTLS && (tls == nil || tls.SecretName == ""), "encryption.tls",
		"Set encryption.tls.secret_name to a Secret with tls.crt, tls.key and, for the callers' certificates, ca.crt", "auth mode mtls needs a certificate and an authority")
	refuse(s.Auth.Mode == authNone && len(s.Auth.Invokers) > 0, "auth.invokers", "Leave auth.invokers out, or choose another mode", "with auth mode none everybody may call")
	refuse(tls != nil && tls.SecretName == "" && tls.Issuer == "", "encryption.tls", "Set encryption.tls.secret_name or encryption.tls.issuer", "the certificate has to come from somewhere")
	if s.Auth.Mode == authMTLS && routed {
		all.Add(mlerr.New(mlerr.Unsupported, "kubernetes cannot see callers' certificates behind a gateway").At("auth.mode").
			WithHint("Use network.access = \"private\", so that callers reach the endpoint itself, or auth.mode = \"iam\" or \"oidc\""))
	}
	if tls != nil && routed {
		all.Add(mlerr.New(mlerr.Unsupported, "kubernetes ends TLS at the gateway's listener, which belongs to whoever runs the gateway").At("encryption.tls").
			WithHint("Give the certificate to the Gateway, or use network.access = \"private\" and let the endpoint itself have it"))
	}
	if atGateway(s) && !routed {
		what := "API keys are checked by Envoy Gateway"
		if s.Auth.Mode == authOIDC {
			what = "other than one audience and one claim are checked by Envoy Gateway"
		}
		all.Add(d.needsGateway("auth.mode", what))
	}
	for _, who := range s.Auth.Invokers {
		account, is := strings.CutPrefix(who, "system:serviceaccount:")
		refuse(is && strings.Count(account, ":") != 1, "auth.invokers", "Write system:serviceaccount:<namespace>:<name>", "%q names no service account", who)
		refuse(s.Auth.Mode == authKey && !dnsLabel.MatchString(who), "auth.invokers", "Use lower-case letters, digits and hyphens", "%q cannot be the name of an API key", who)
	}
	return all.Err()
}

// checkTraffic refuses shares that a Service cannot give.
func (d *kubernetes) checkTraffic(spec *driver.EndpointSpec) error {
	if d.cfg.routed(&spec.Settings) || spec.Unknown.At("network") {
		return nil
	}
	var all mlerr.List
	for i := range spec.Deployments {
		dep := &spec.Deployments[i]
		if dep.Mirror > 0 {
			all.Add(d.needsGateway("deployments."+dep.Name+".mirror", "a Service copies no requests"))
		}
		if dep.Traffic > 0 && dep.Traffic < 100 {
			all.Add(d.needsGateway("deployments."+dep.Name+".traffic", "a Service sends all requests to one deployment"))
		}
	}
	return all.Err()
}

// maxStabilization is the longest that an autoscaler may wait
// (autoscaling/v2 stabilizationWindowSeconds).
const maxStabilization = time.Hour

func checkDeployment(spec *driver.EndpointSpec, dep *driver.Deployment) error {
	path := "deployments." + dep.Name
	var all mlerr.List
	all.Add(at("deployments", naming.Check("kubernetes", "deployment", dep.Name)))
	all.Add(checkEnv(path+".env", dep.Env))
	if dep.Mirror > 0 && dep.Traffic > 0 {
		all.Add(mlerr.New(mlerr.Unsupported, "kubernetes copies requests only to a deployment that gets none of its own").At("%s.mirror", path).
			WithHint("Set traffic to 0, or mirror to 0"))
	}
	if a := dep.Compute.Accelerator; a != nil && !spec.Unknown.In(path+".compute") {
		if _, ok := devices[a.Type]; !ok {
			all.Add(mlerr.New(mlerr.InvalidArgument, "no device plugin offers %q", a.Type).At("%s.compute.accelerator.type", path).
				WithHint("Use one of %s", strings.Join(slices.Sorted(maps.Keys(devices)), ", ")))
		}
	}
	for name, d := range map[string]time.Duration{"scale_in_cooldown": dep.Scaling.ScaleInCooldown, "scale_out_cooldown": dep.Scaling.ScaleOutCooldown} {
		if d > maxStabilization || d%time.Second != 0 {
			all.Add(mlerr.New(mlerr.InvalidArgument, "an autoscaler waits for whole seconds, and at most %s; %s is %s", maxStabilization, name, d).At("%s.scaling.%s", path, name))
		}
	}
	all.Add(checkMetrics(spec, dep, path))
	return all.Err()
}

func checkMetrics(spec *driver.EndpointSpec, dep *driver.Deployment, path string) error {
	if spec.Unknown.In(path + ".scaling") {
		return nil
	}
	var all mlerr.List
	if dep.Scaling.Min != dep.Scaling.Max && len(dep.Scaling.Metrics) == 0 && len(dep.Scaling.Schedules) == 0 {
		return nil // the core says so
	}
	kserve := kubernetesOf(&spec.Settings).Serving == servingKServe
	for i, m := range dep.Scaling.Metrics {
		switch {
		case measured(m.Type) && (m.Target < 1 || m.Target != float64(int(m.Target))):
			all.Add(mlerr.New(mlerr.InvalidArgument, "the target of metric %s is a whole percentage, and not %g", m.Type, m.Target).At("%s.scaling.metrics", path))
		case kserve && (!measured(m.Type) || i > 0):
			all.Add(mlerr.New(mlerr.Unsupported, "kserve scales by one of cpu and memory").At("%s.scaling.metrics", path).
				WithHint("Keep one of these, or use kubernetes.serving = \"deployment\""))
		}
	}
	if kserve && (dep.Scaling.ScaleInCooldown > 0 || dep.Scaling.ScaleOutCooldown > 0) {
		all.Add(mlerr.New(mlerr.Unsupported, "kserve does not pass cooldowns on").At("%s.scaling", path).
			WithHint("Leave scale_in_cooldown and scale_out_cooldown out, or use kubernetes.serving = \"deployment\""))
	}
	if len(dep.Scaling.Metrics) > 0 && dep.Scaling.Min == dep.Scaling.Max && dep.Scaling.Min > 0 {
		all.Add(mlerr.New(mlerr.InvalidArgument, "min and max are both %d, and metrics have nothing to choose", dep.Scaling.Min).At("%s.scaling.metrics", path).
			WithHint("Make max larger, or leave metrics out"))
	}
	return all.Err()
}
