// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// preflight is one Preflight: what it has found.
type preflight struct {
	d    *kubernetes
	a    *api
	spec *driver.EndpointSpec
	seen *driver.EndpointState

	mu       sync.Mutex
	warnings []string
	refused  mlerr.List
}

// Preflight asks what the API server can tell of a change before it is made: whether
// the namespace and the definitions are there, whether it would take the objects, and
// whether it would take the pods, of which quotas, security standards and classes
// would else be heard minutes later. Everything is a dry run.
func (d *kubernetes) Preflight(ctx context.Context, spec *driver.EndpointSpec, seen *driver.EndpointState) ([]string, error) {
	if spec.Unknown.Has("location") || spec.Unknown.Has("name") {
		return nil, nil
	}
	a, err := d.connect()
	if err != nil {
		return nil, err
	}
	p := &preflight{d: d, a: a, spec: spec, seen: seen}
	ok, err := p.namespace(ctx)
	if err != nil || !ok {
		return p.warnings, err
	}
	p.definitions(ctx)
	p.watched(ctx)
	if p.refused.Err() != nil {
		return p.warnings, p.refused.Err() // nothing of it could be asked for
	}
	p.objects(ctx)
	slices.Sort(p.warnings)
	return slices.Compact(p.warnings), p.refused.Err()
}

func (p *preflight) warn(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.warnings = append(p.warnings, fmt.Sprintf(format, args...))
}

// heard sorts an answer: what cannot be asked is a warning, anything else is refused.
func (p *preflight) heard(err error, path string) {
	switch {
	case err == nil:
	case mlerr.Is(err, mlerr.PermissionDenied, mlerr.Unavailable, mlerr.Throttled, mlerr.Unknown, mlerr.Timeout, mlerr.Busy):
		p.warn("Not everything could be checked: %s", err)
	default:
		p.mu.Lock()
		defer p.mu.Unlock()
		if path != "" {
			err = at(path, err)
		}
		p.refused.Add(err)
	}
}

// namespace reports whether there is anything to ask.
func (p *preflight) namespace(ctx context.Context) (bool, error) {
	name := p.spec.Key.Location
	o, err := p.a.get(ctx, namespaces, "", name)
	switch {
	case mlerr.Is(err, mlerr.InvalidArgument, mlerr.NotFound):
		return false, mlerr.New(mlerr.InvalidArgument, "there is no namespace %s in this cluster", name).At("location").WithHint("Make the namespace first; the provider makes none")
	case mlerr.Is(err, mlerr.PermissionDenied): // many may use a namespace and not read it
		return true, nil
	case mlerr.Is(err, mlerr.Unavailable, mlerr.Unauthenticated):
		p.warn("The cluster could not be asked whether it would take this: %s", err)
		return false, nil
	case err != nil:
		return false, err
	case o.GetDeletionTimestamp() != nil:
		return false, mlerr.New(mlerr.InvalidArgument, "the namespace %s is being deleted", name).At("location")
	}
	return true, nil
}

// definitions looks for what has to be installed.
func (p *preflight) definitions(ctx context.Context) {
	s, c := &p.spec.Settings, &p.d.cfg
	if kubernetesOf(s).Serving == servingKServe {
		p.heard(p.a.needs(inferenceServices, "kubernetes.serving", "use kubernetes.serving = \"deployment\""), "")
	}
	if c.routed(s) {
		p.heard(p.a.needs(routes, "network.access", "leave the provider's kubernetes.gateway out"), "")
		p.gateway(ctx)
		if atGateway(s) {
			p.heard(p.a.needs(securityPolicies, "auth.mode", "use auth.mode = \"iam\""), "")
		}
	}
	if t := s.Encryption.TLS; t != nil && t.Issuer != "" {
		p.heard(p.a.needs(certificates, "encryption.tls.issuer", "give a Secret with encryption.tls.secret_name"), "")
	}
	for i := range p.spec.Deployments {
		p.metrics(&p.spec.Deployments[i])
	}
}

// gateway looks for the Gateway that the provider names, and for what its controller
// can do.
func (p *preflight) gateway(ctx context.Context) {
	g := p.d.cfg.Gateway
	namespace := cmp.Or(g.Namespace, p.spec.Key.Location)
	o, err := p.a.get(ctx, gatewayKind, namespace, g.Name)
	if mlerr.Is(err, mlerr.NotFound) {
		err = mlerr.New(mlerr.InvalidArgument, "there is no Gateway %s in the namespace %s", g.Name, namespace).
			WithHint("Name one that exists in the provider's kubernetes.gateway")
	}
	if err != nil {
		p.heard(err, "network.access")
		return
	}
	name, _, _ := nestedString(o.Object, "spec", "gatewayClassName")
	class, err := p.a.get(ctx, gatewayClasses, "", name)
	if err != nil {
		p.heard(err, "network.access")
		return
	}
	listed, _, _ := nestedSlice(class.Object, "status", "supportedFeatures")
	if len(listed) == 0 {
		return // it does not say
	}
	can := map[string]bool{}
	for _, v := range listed {
		feature, _ := v.(map[string]any)
		can[fmt.Sprint(feature["name"])] = true
	}
	for path, feature := range p.asked() {
		if !can[feature] {
			p.heard(mlerr.New(mlerr.Unsupported, "the gateway %s is of the class %s, which has no %s: some controllers then answer every request with an error", g.Name, name, feature).
				WithHint("Leave it out, or name a gateway of another class in the provider's kubernetes.gateway"), path)
		}
	}
}

// asked are the features that the endpoint's route asks of its gateway, by the
// attribute that asks (Gateway API, GatewayClass status.supportedFeatures).
func (p *preflight) asked() map[string]string {
	all := map[string]string{}
	if p.spec.Settings.RequestTimeout > 0 {
		all["request_timeout"] = "HTTPRouteRequestTimeout"
	}
	if p.d.cfg.Gateway.Hostname == "" {
		all["network.access"] = "HTTPRoutePathRewrite"
	}
	for i := range p.spec.Deployments {
		if d := &p.spec.Deployments[i]; d.Mirror > 0 {
			all["deployments."+d.Name+".mirror"] = "HTTPRouteRequestMirror"
		}
	}
	return all
}

// metrics looks for whoever measures what an autoscaler is to follow.
func (p *preflight) metrics(dep *driver.Deployment) {
	for _, m := range dep.Scaling.Metrics {
		group, who := "custom.metrics.k8s.io", "a metrics adapter, such as the Prometheus Adapter,"
		if measured(m.Type) {
			group, who = "metrics.k8s.io", "metrics-server"
		}
		_, versions, err := p.a.serves(schema.GroupVersionResource{Group: group})
		switch {
		case err != nil:
			p.heard(err, "")
		case len(versions) > 0:
		case measured(m.Type):
			p.warn("The cluster serves no %s: until %s is installed, deployment %s is not scaled", group, who, dep.Name)
		default:
			p.heard(mlerr.New(mlerr.Unsupported, "to scale by %s needs %s, which this cluster does not serve", m.Type, group).At("deployments.%s.scaling.metrics", dep.Name).
				WithHint("Install %s or scale by cpu or memory", who), "")
		}
	}
}

// objects asks for everything that the change would apply.
func (p *preflight) objects(ctx context.Context) {
	r := p.root(ctx)
	if r == nil {
		return
	}
	r.Settings = p.spec.Settings
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i := range p.spec.Deployments {
		want := &p.spec.Deployments[i]
		path := "deployments." + want.Name
		if want.Model.Native != "" || p.spec.Unknown.At(path) || p.spec.Unknown.In(path+".compute") || p.spec.Unknown.In(path+".env") || p.served(want) {
			continue
		}
		if p.spec.Unknown.Has(path + ".model") {
			group.Go(func() error {
				p.pod(gctx, p.standIn(want), path)
				return nil
			})
			continue
		}
		s, err := p.d.prepared(gctx, r, want, p.spec, want.Scaling.Min)
		if mlerr.Is(err, mlerr.NotFound) {
			continue // CheckServable says so
		}
		if err != nil {
			p.heard(err, "")
			continue
		}
		if p.spec.Unknown.In(path) { // names come of what is unknown
			continue
		}
		objects, err := s.objects(p.spec.Labels)
		p.heard(err, path)
		p.ask(gctx, group, r, objects, path)
		group.Go(func() error {
			p.pod(gctx, s, path)
			return nil
		})
	}
	if p.spec.Unknown.In("auth") || p.spec.Unknown.In("encryption") || p.spec.Unknown.In("network") || p.spec.Unknown.In("kubernetes") {
		_ = group.Wait()
		return
	}
	r.Deployments = nil
	p.ask(gctx, group, r, p.d.own(r), "")
	_ = group.Wait() // what was heard is in p
}

// standIn serves a version that the same plan is to register. What is known of its
// pods is all but their container.
func (p *preflight) standIn(want *driver.Deployment) *serving {
	dep := *want
	dep.Model = driver.VersionRef{Key: driver.Key{Platform: driver.Kubernetes, Location: p.spec.Key.Location, Name: "unknown"}, Version: "1"}
	return &serving{key: p.spec.Key, settings: &p.spec.Settings, cfg: &p.d.cfg,
		dep:     &entry{ID: deploymentID(p.spec.Key, &dep, &p.spec.Settings), Deployment: dep, Carried: p.spec.Settings},
		version: record{Serving: driver.Serving{Image: p.d.cfg.Images.Fetch, Protocol: "v2"}}}
}

// served reports whether a deployment is there already.
func (p *preflight) served(want *driver.Deployment) bool {
	id := deploymentID(p.spec.Key, want, &p.spec.Settings)
	return p.seen != nil && slices.ContainsFunc(p.seen.Deployments, func(d driver.DeploymentState) bool { return d.ID == id && d.Repair == "" })
}

// root is what the change begins with, nil where that cannot be told.
func (p *preflight) root(ctx context.Context) *root {
	r, err := p.d.held(ctx, p.a, p.spec)
	switch {
	case mlerr.Is(err, mlerr.NotFound):
		return newRoot(p.spec.Key, p.spec.Labels)
	case err == nil && r.object.GetUID() == "" && p.seen == nil:
		err = mlerr.New(mlerr.AlreadyExists, "the %s %s exists already, and was not made by this provider", r.Adopted.Kind, r.Adopted.Name).
			WithHint("Import it into the ml_endpoint, or choose another name")
	case err == nil:
		return r
	}
	p.heard(err, "name")
	return nil
}

func (p *preflight) ask(ctx context.Context, group *errgroup.Group, r *root, objects []written, path string) {
	for i := range objects {
		w := &objects[i]
		group.Go(func() error {
			o := (&object{Object: w.Content}).DeepCopy()
			if !w.kind().cluster {
				o.SetNamespace(p.spec.Key.Location)
			}
			_, err := r.own(ctx, p.a, w)
			if err == nil {
				err = p.a.dryRun(ctx, w.kind(), o)
			}
			if w.Kind == roleBindings.name && mlerr.Is(err, mlerr.NotFound) {
				err = nil // its Role comes with the apply
			}
			p.heard(err, cmp.Or(path, pathOf[w.Kind], "name"))
			return nil
		})
	}
}

// pathOf is the attribute that an endpoint's own objects are made from.
var pathOf = map[string]string{networkPolicies.name: "network", routes.name: "network", securityPolicies.name: "auth", certificates.name: "encryption.tls",
	clusterBindings.name: "auth.mode", roles.name: "auth", roleBindings.name: "auth.invokers"}

// pod asks for one pod of a deployment: a Deployment is taken whatever its pods are.
func (p *preflight) pod(ctx context.Context, s *serving, path string) {
	name := containerServer
	if kubernetesOf(s.settings).Serving == servingKServe {
		name = containerKServe
	}
	template, err := s.pod(name)
	if err != nil {
		p.heard(err, path)
		return
	}
	if kubernetesOf(s.settings).ServiceAccount == "" {
		template.Spec.ServiceAccountName = "default" // ours is not there yet
	}
	template.Spec.RestartPolicy = corev1.RestartPolicyAlways
	o := with(newObject(pods, s.key.Location, ""), map[string]any{"spec": template.Spec})
	o.SetGenerateName(s.dep.ID + "-")
	o.SetLabels(template.Labels)
	_, err = p.a.of(pods, s.key.Location).Create(ctx, o, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldManager: fieldManager, FieldValidation: metav1.FieldValidationStrict})
	err = failed(err, "make a pod of deployment %s", s.dep.Name)
	if mlerr.Is(err, mlerr.QuotaExceeded) && p.seen != nil {
		p.warn("A new version may not fit beside the old one: %s", err)
		return
	}
	p.heard(err, podPath(err, path))
}

// podPath is the attribute that a refusal of a pod is about.
func podPath(err error, deployment string) string {
	if err == nil {
		return deployment
	}
	for part, path := range map[string]string{"PriorityClass": "kubernetes.priority_class", "RuntimeClass": "kubernetes.runtime_class",
		"service account": "kubernetes.service_account", "PodSecurity": "kubernetes.pod_security", "exceeded quota": deployment + ".compute"} {
		if strings.Contains(err.Error(), part) {
			return path
		}
	}
	return deployment
}
