// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

const (
	accessPublic  = "public"
	accessPrivate = "private"

	// everywhere in network.allowed_namespaces is all namespaces.
	everywhere = "*"

	plainPort  = 80
	securePort = 443
	grpcPort   = 9000
)

// routed reports whether an endpoint is exposed by the gateway.
func (c *Config) routed(s *driver.Settings) bool {
	return c.Gateway != nil && s.Network.Access != accessPrivate
}

// front are the objects that requests to the endpoint come through: the gateway's
// route, or a Service of the endpoint's name.
func (r *root) front(cfg *Config, labels map[string]string) []written {
	var all []written
	if cfg.routed(&r.Settings) {
		all = append(all, r.route(cfg, labels))
		if atGateway(&r.Settings) {
			all = append(all, r.policy(labels))
		}
		if r.Adopted == nil {
			return all
		}
	}
	return append(all, r.service(labels))
}

// isFront reports whether an object carries the traffic's shares.
func (w *written) isFront() bool {
	return w.Deployment == "" && (w.Kind == routes.name || w.Kind == services.name)
}

// winner is the deployment with the largest share.
func (r *root) winner() (best driver.Share) {
	for _, s := range r.Shares {
		if s.Traffic > best.Traffic {
			best = s
		}
	}
	return best
}

// service is the Service that in-cluster callers use. It sends everything to one
// deployment: what it selects decides.
func (r *root) service(labels map[string]string) written {
	best := r.winner()
	name, selector := r.key.Name, map[string]string{labelID: "none"} // before the first deployment is ready
	if best.ID != "" {
		selector = map[string]string{labelID: best.ID}
	}
	ports := servicePorts(&r.Settings, false)
	if e := r.entry(best.ID); e != nil && e.Adopted == "" {
		ports = servicePorts(&e.Carried, false)
	}
	if r.Adopted != nil && r.Adopted.Service != "" {
		name = r.Adopted.Service
		ports = []corev1.ServicePort{r.Adopted.port(portServing)}
		if e := r.entry(best.ID); e == nil || e.Adopted != "" {
			selector, ports = r.Adopted.Selector, []corev1.ServicePort{r.Adopted.Port}
		}
	}
	o := with(newObject(services, r.key.Location, name), map[string]any{"spec": corev1.ServiceSpec{Selector: selector, Ports: ports}})
	if r.Adopted == nil {
		_ = with(o, map[string]any{"spec": corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, Selector: selector, Ports: ports}})
	}
	o.SetLabels(marked(labels, labelEndpoint, r.key.Name))
	return writing(services, o, "")
}

// servicePorts are how deployments with those settings are reached: by TLS where
// something in front of the model speaks it, unless the gateway is between.
func servicePorts(s *driver.Settings, behindGateway bool) []corev1.ServicePort {
	if guarded(s) && !behindGateway {
		return []corev1.ServicePort{{Name: "https", Port: securePort, TargetPort: intstr.FromString(portTLS), Protocol: corev1.ProtocolTCP, AppProtocol: new("https")}}
	}
	return []corev1.ServicePort{{Name: "http", Port: plainPort, TargetPort: intstr.FromString(portServing), Protocol: corev1.ProtocolTCP, AppProtocol: new("http")}}
}

// deploymentService is the Service of one deployment, which the gateway's route
// sends its share to.
func (s *serving) deploymentService(labels map[string]string, grpc bool) written {
	ports := servicePorts(s.settings, true)
	if guarded(s.settings) {
		ports = append(ports, servicePorts(s.settings, false)...)
	} else if grpc {
		ports = append(ports, corev1.ServicePort{Name: portGRPC, Port: grpcPort, TargetPort: intstr.FromString(portGRPC), Protocol: corev1.ProtocolTCP, AppProtocol: new("kubernetes.io/h2c")})
	}
	o := with(newObject(services, s.key.Location, s.dep.ID), map[string]any{"spec": corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP,
		Selector: map[string]string{labelID: s.dep.ID}, Ports: ports}})
	o.SetLabels(s.labels(labels))
	return writing(services, o, s.dep.ID)
}

// labels are those of an object that belongs to the deployment.
func (s *serving) labels(user map[string]string) map[string]string {
	return marked(user, labelEndpoint, s.key.Name, labelDeployment, s.dep.Name, labelID, s.dep.ID)
}

// route is the gateway's: the host or path of the endpoint, and who gets which share.
func (r *root) route(cfg *Config, labels map[string]string) written {
	parent := map[string]any{"group": routes.gvr.Group, "kind": "Gateway", "name": cfg.Gateway.Name}
	if cfg.Gateway.Namespace != "" {
		parent["namespace"] = cfg.Gateway.Namespace
	}
	host, prefix := cfg.address(r.key)
	rule := map[string]any{"matches": []any{map[string]any{"path": map[string]any{"type": "PathPrefix", "value": prefix}}}}
	var backends, filters []any
	if prefix != "/" {
		filters = append(filters, map[string]any{"type": "URLRewrite", "urlRewrite": map[string]any{"path": map[string]any{"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}})
	}
	for _, s := range r.Shares {
		backend := map[string]any{"group": "", "kind": "Service", "name": r.backend(s.ID), "port": plainPort}
		if s.Mirror > 0 {
			filters = append(filters, map[string]any{"type": "RequestMirror", "requestMirror": map[string]any{"backendRef": maps.Clone(backend), "percent": s.Mirror}})
		}
		if s.Traffic > 0 {
			backend["weight"] = s.Traffic
			backends = append(backends, backend)
		}
	}
	if len(backends) > 0 {
		rule["backendRefs"] = backends
	}
	if len(filters) > 0 {
		rule["filters"] = filters
	}
	if t := r.Settings.RequestTimeout; t > 0 {
		rule["timeouts"] = map[string]any{"request": t.Round(time.Millisecond).String()}
	}
	spec := map[string]any{"parentRefs": []any{parent}, "rules": []any{rule}}
	if host != "" {
		spec["hostnames"] = []any{host}
	}
	o := with(newObject(routes, r.key.Location, r.key.Name), map[string]any{"spec": spec})
	o.SetLabels(marked(labels, labelEndpoint, r.key.Name))
	return writing(routes, o, "")
}

// backend is the Service of a deployment.
func (r *root) backend(id string) string {
	if e := r.entry(id); e != nil && e.Adopted != "" && r.Adopted != nil && r.Adopted.Service != "" {
		return r.Adopted.Service
	}
	return id
}

// address is where the gateway has an endpoint: below its domain a host of its own,
// which one label of a wildcard certificate covers, or else a path of its own.
func (c *Config) address(key driver.Key) (host, prefix string) {
	if c.Gateway.Hostname == "" {
		return "", "/" + key.Location + "/" + key.Name
	}
	return fmt.Sprintf("%s-%s.%s", key.Name, key.Location, c.Gateway.Hostname), "/"
}

// policy is Envoy Gateway's, for what kube-rbac-proxy cannot check.
func (r *root) policy(labels map[string]string) written {
	spec := map[string]any{"targetRefs": []any{map[string]any{"group": routes.gvr.Group, "kind": routes.name, "name": r.key.Name}}}
	switch r.Settings.Auth.Mode {
	case authKey:
		spec["apiKeyAuth"] = map[string]any{
			"credentialRefs": []any{map[string]any{"group": "", "kind": "Secret", "name": keysName(r.key)}},
			"extractFrom":    []any{map[string]any{"headers": []any{"x-api-key"}}}, "forwardClientIDHeader": "x-client-id", "sanitize": true}
	case authOIDC:
		o := r.Settings.Auth.OIDC
		provider := map[string]any{"name": "oidc", "issuer": o.Issuer, "remoteJWKS": map[string]any{"uri": strings.TrimSuffix(o.Issuer, "/") + "/.well-known/jwks.json"}}
		if len(o.Audiences) > 0 {
			provider["audiences"] = o.Audiences
		}
		spec["jwt"] = map[string]any{"providers": []any{provider}}
		if len(o.Claims) > 0 {
			var claims []any
			for _, name := range slices.Sorted(maps.Keys(o.Claims)) {
				claims = append(claims, map[string]any{"name": name, "values": []any{o.Claims[name]}})
			}
			spec["authorization"] = map[string]any{"defaultAction": "Deny", "rules": []any{map[string]any{"name": "claims", "action": "Allow",
				"principal": map[string]any{"jwt": map[string]any{"provider": "oidc", "claims": claims}}}}}
		}
	}
	o := with(newObject(securityPolicies, r.key.Location, r.key.Name), map[string]any{"spec": spec})
	o.SetLabels(marked(labels, labelEndpoint, r.key.Name))
	return writing(securityPolicies, o, "")
}

func keysName(key driver.Key) string { return key.Name + "-keys" }

// networkPolicy lets callers in, and at no other port than theirs. Whether it is
// kept is up to the cluster's network.
func (r *root) networkPolicy(cfg *Config, labels map[string]string) written {
	rule := networkingv1.NetworkPolicyIngressRule{}
	for _, port := range []string{portServing, portTLS, portGRPC} {
		rule.Ports = append(rule.Ports, networkingv1.NetworkPolicyPort{Protocol: new(corev1.ProtocolTCP), Port: new(intstr.FromString(port))})
	}
	rule.From = r.callers(cfg)
	o := with(newObject(networkPolicies, r.key.Location, r.key.Name), map[string]any{"spec": networkingv1.NetworkPolicySpec{
		PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{labelEndpoint: r.key.Name}},
		PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}, Ingress: []networkingv1.NetworkPolicyIngressRule{rule}}})
	o.SetLabels(marked(labels, labelEndpoint, r.key.Name))
	return writing(networkPolicies, o, "")
}

// callers are the namespaces that may reach the pods, nil for all. Where only the
// gateway checks callers, nobody may go around it.
func (r *root) callers(cfg *Config) []networkingv1.NetworkPolicyPeer {
	n := &r.Settings.Network
	if slices.Contains(n.AllowedNamespaces, everywhere) {
		return nil
	}
	closed := n.Access == accessPrivate || len(n.AllowedNamespaces) > 0 || cfg.routed(&r.Settings) && atGateway(&r.Settings)
	if !closed {
		return nil
	}
	from := append(slices.Clone(n.AllowedNamespaces), r.key.Location)
	if cfg.routed(&r.Settings) && cfg.Gateway.Namespace != "" {
		from = append(from, cfg.Gateway.Namespace)
	}
	slices.Sort(from)
	return []networkingv1.NetworkPolicyPeer{{NamespaceSelector: &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpIn, Values: slices.Compact(from)}}}}}
}
