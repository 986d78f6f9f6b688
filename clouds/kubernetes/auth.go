// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/naming"
)

// The modes of auth.
const (
	authIAM  = "iam"  // Kubernetes identities: token review, and subject access review of "endpoints/invoke"
	authOIDC = "oidc" // tokens of an issuer
	authMTLS = "mtls" // client certificates
	authKey  = "key"  // API keys, checked by the gateway
	authNone = "none"
)

// A caller needs this virtual resource: no API server has it, and RBAC does not ask.
const (
	invokeGroup    = "ml.terraform.io"
	invokeResource = "endpoints"
	invokeSub      = "invoke"
)

// oidcPrefix keeps the names of an issuer apart from those of the cluster.
const oidcPrefix = "oidc:"

// Ports of the container that stands in front of the model.
const (
	portTLS        = "serving-tls"
	authPlain      = 8081
	authSecure     = 8443
	volumeAuth     = "auth"
	volumeIdentity = "identity"
	volumeTLS      = "tls"
	authPath       = "/etc/ml-auth"
	tlsPath        = "/etc/ml-tls"
	authFile       = "config.yaml"
	identityPath   = "/var/run/secrets/kubernetes.io/serviceaccount"
)

// guarded reports whether kube-rbac-proxy stands in front of the model.
func guarded(s *driver.Settings) bool {
	switch s.Auth.Mode {
	case authIAM, authMTLS:
		return true
	case authOIDC:
		return !atGateway(s) || s.Encryption.TLS != nil
	}
	return s.Encryption.TLS != nil
}

// atGateway reports whether callers are told apart by a policy of the gateway:
// kube-rbac-proxy knows no keys, and of a token one audience and one claim.
func atGateway(s *driver.Settings) bool {
	o := s.Auth.OIDC
	return s.Auth.Mode == authKey || s.Auth.Mode == authOIDC && o != nil && (len(o.Audiences) != 1 || len(o.Claims) > 1)
}

func accountName(endpoint string) string { return endpoint }

// audience is what callers' tokens must be made for.
func audience(key driver.Key) string { return key.Name + "." + key.Location }

// guardConfig is kube-rbac-proxy's configuration: which permission a caller needs.
func guardConfig(key driver.Key, s *driver.Settings) string {
	permission := fmt.Sprintf("  resourceAttributes:\n    apiGroup: %s\n    apiVersion: v1\n    namespace: %s\n    resource: %s\n    subresource: %s\n    name: %s\n",
		invokeGroup, key.Location, invokeResource, invokeSub, key.Name)
	if o := s.Auth.OIDC; s.Auth.Mode == authOIDC && o != nil && len(o.Claims) == 0 && len(s.Auth.Invokers) == 0 {
		// Everybody whom the issuer vouches for: no role can name them all.
		permission += fmt.Sprintf("  static:\n  - resourceRequest: true\n    apiGroup: %s\n    namespace: %s\n    resource: %s\n    subresource: %s\n    name: %s\n",
			invokeGroup, key.Location, invokeResource, invokeSub, key.Name)
	}
	return "authorization:\n" + permission
}

func guardConfigName(key driver.Key, s *driver.Settings) string {
	return naming.Name(key.Name+"-auth", 60, naming.Hash(guardConfig(key, s)))
}

// guardArgs are kube-rbac-proxy's arguments.
func guardArgs(key driver.Key, s *driver.Settings, upstream int) []string {
	args := []string{fmt.Sprintf("--insecure-listen-address=0.0.0.0:%d", authPlain), fmt.Sprintf("--secure-listen-address=0.0.0.0:%d", authSecure),
		fmt.Sprintf("--upstream=http://127.0.0.1:%d/", upstream), "--config-file=" + authPath + "/" + authFile}
	if t := s.Encryption.TLS; t != nil {
		args = append(args, "--tls-cert-file="+tlsPath+"/tls.crt", "--tls-private-key-file="+tlsPath+"/tls.key")
		if t.MinVersion == "1.3" {
			args = append(args, "--tls-min-version=VersionTLS13")
		}
	}
	switch s.Auth.Mode {
	case authIAM:
		args = append(args, "--auth-token-audiences="+audience(key))
	case authMTLS:
		args = append(args, "--client-ca-file="+tlsPath+"/ca.crt", "--auth-token-audiences="+audience(key))
	case authOIDC:
		o := s.Auth.OIDC
		args = append(args, "--oidc-issuer="+o.Issuer, "--oidc-clientID="+o.Audiences[0], "--oidc-username-claim=sub",
			"--oidc-username-prefix="+oidcPrefix, "--oidc-groups-prefix="+oidcPrefix)
		for claim := range o.Claims { // at most one
			args = append(args, "--oidc-groups-claim="+claim)
		}
	default:
		// Patterns are matched segment by segment: no path that a server has is deeper.
		var open []string
		for depth := 1; depth <= 12; depth++ {
			open = append(open, strings.Repeat("/*", depth))
		}
		args = append(args, "--ignore-paths="+strings.Join(append([]string{"/"}, open...), ","))
	}
	return args
}

// guard puts kube-rbac-proxy in front of the model. The identity that it asks the
// API server with is in its container only.
func (s *serving) guard(spec *corev1.PodSpec) {
	context := s.containerSecurity()
	context.ReadOnlyRootFilesystem = new(true)
	c := corev1.Container{
		Name: containerAuth, Image: s.cfg.Images.Auth, SecurityContext: context, TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		Args: guardArgs(s.key, s.settings, int(spec.Containers[0].Ports[0].ContainerPort)),
		Ports: []corev1.ContainerPort{{Name: portServing, ContainerPort: authPlain, Protocol: corev1.ProtocolTCP},
			{Name: portTLS, ContainerPort: authSecure, Protocol: corev1.ProtocolTCP}},
		ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString(portTLS)}}, PeriodSeconds: 5, FailureThreshold: 3, TimeoutSeconds: 3},
		Lifecycle:      &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: drainSeconds}}},
		VolumeMounts:   []corev1.VolumeMount{{Name: volumeAuth, MountPath: authPath, ReadOnly: true}, {Name: volumeIdentity, MountPath: identityPath, ReadOnly: true}},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("20m"), corev1.ResourceMemory: resource.MustParse("48Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("192Mi")}},
	}
	spec.Volumes = append(spec.Volumes,
		corev1.Volume{Name: volumeAuth, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: guardConfigName(s.key, s.settings)}}}},
		corev1.Volume{Name: volumeIdentity, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: new(int64(3607))}},
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"}, Items: []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}}}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"}}}}},
		}}}})
	if t := s.settings.Encryption.TLS; t != nil {
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: volumeTLS, MountPath: tlsPath, ReadOnly: true})
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: volumeTLS, VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: tlsSecret(s.key, t)}}})
	}
	spec.Containers = append(spec.Containers, c)
}

func tlsSecret(key driver.Key, t *driver.TLS) string { return cmp.Or(t.SecretName, key.Name+"-tls") }

// accessObjects are what settings of an endpoint need for telling callers apart.
func accessObjects(key driver.Key, labels map[string]string, s *driver.Settings) []written {
	var all []written
	add := func(k *kind, name string, members map[string]any) {
		o := with(newObject(k, key.Location, name), members)
		marks := []string{labelEndpoint, key.Name}
		if k.cluster {
			marks = append(marks, labelNamespace, key.Location)
		}
		o.SetLabels(marked(labels, marks...))
		all = append(all, writing(k, o, ""))
	}
	if kubernetesOf(s).ServiceAccount == "" {
		add(serviceAccounts, accountName(key.Name), map[string]any{"automountServiceAccountToken": false})
	}
	if guarded(s) {
		add(configMaps, guardConfigName(key, s), map[string]any{"data": map[string]any{authFile: guardConfig(key, s)}})
	}
	if guarded(s) && s.Auth.Mode != authNone {
		account := cmp.Or(kubernetesOf(s).ServiceAccount, accountName(key.Name))
		// Asking the API server who a token belongs to and what he may do is a right
		// of its own, which only a role of the cluster gives.
		add(clusterBindings, delegatorName(key), map[string]any{
			"roleRef":  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:auth-delegator"},
			"subjects": []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: key.Location, Name: account}}})
	}
	if subjects := invokers(s); len(subjects) > 0 {
		role := key.Name + "-invoke"
		add(roles, role, map[string]any{"rules": invokeRules(key)})
		add(roleBindings, role, map[string]any{"roleRef": rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role}, "subjects": subjects})
	}
	if t := s.Encryption.TLS; t != nil && t.Issuer != "" {
		add(certificates, key.Name, map[string]any{"spec": certificate(key, t)})
	}
	return all
}

func delegatorName(key driver.Key) string {
	return naming.Name("ml-"+key.Location+"-"+key.Name, 200, naming.Hash(key.ID()))
}

// certificate asks cert-manager for one. issuer is "name" of an Issuer, or
// "Kind/name".
func certificate(key driver.Key, t *driver.TLS) map[string]any {
	kind, name, ok := strings.Cut(t.Issuer, "/")
	if !ok {
		kind, name = "Issuer", t.Issuer
	}
	host := key.Name + "." + key.Location
	return map[string]any{
		"secretName": tlsSecret(key, t), "dnsNames": []string{key.Name, host, host + ".svc", host + ".svc.cluster.local"},
		"issuerRef":  map[string]any{"group": "cert-manager.io", "kind": kind, "name": name},
		"privateKey": map[string]any{"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"}, "usages": []string{"server auth"},
	}
}

// invokeRules are what a caller must be granted. The verbs are those that
// kube-rbac-proxy makes of HTTP methods.
func invokeRules(key driver.Key) []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{{APIGroups: []string{invokeGroup}, Resources: []string{invokeResource + "/" + invokeSub}, ResourceNames: []string{key.Name},
		Verbs: []string{"create", "get"}}}
}

// invokePolicy is a Role that whoever may grant rights can bind to callers; "" where
// Kubernetes does not decide.
func invokePolicy(key driver.Key, s *driver.Settings) string {
	if !slices.Contains([]string{authIAM, authMTLS, authOIDC}, s.Auth.Mode) || atGateway(s) {
		return ""
	}
	role := rbacv1.Role{TypeMeta: metav1.TypeMeta{APIVersion: rbacv1.SchemeGroupVersion.String(), Kind: "Role"},
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Location, Name: key.Name + "-invoke"}, Rules: invokeRules(key)}
	return text(plain(role))
}

// invokers are the callers that the user names: "system:serviceaccount:ns:name",
// "group:name", "user:name" or a bare user name. Of the users and groups of an
// issuer the prefix is left out.
func invokers(s *driver.Settings) []rbacv1.Subject {
	if !guarded(s) || s.Auth.Mode == authNone || atGateway(s) {
		return nil
	}
	prefix := ""
	if s.Auth.Mode == authOIDC {
		prefix = oidcPrefix
	}
	var all []rbacv1.Subject
	for _, who := range s.Auth.Invokers {
		if account, ok := strings.CutPrefix(who, "system:serviceaccount:"); ok {
			namespace, name, _ := strings.Cut(account, ":")
			all = append(all, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name})
			continue
		}
		kind := rbacv1.UserKind
		name, isGroup := strings.CutPrefix(who, "group:")
		if isGroup {
			kind = rbacv1.GroupKind
		}
		name = strings.TrimPrefix(name, "user:")
		all = append(all, rbacv1.Subject{Kind: kind, APIGroup: rbacv1.GroupName, Name: prefix + name})
	}
	if o := s.Auth.OIDC; s.Auth.Mode == authOIDC && o != nil {
		for _, claim := range slices.Sorted(maps.Keys(o.Claims)) {
			all = append(all, rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: oidcPrefix + o.Claims[claim]})
		}
	}
	return all
}
