// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

// Containers, ports and volumes of a pod.
const (
	containerServer = "server"
	containerKServe = "kserve-container" // what KServe wants the first one to be called
	containerAuth   = "auth"
	containerFetch  = "fetch"
	containerVerify = "verify"

	portServing = "serving" // that callers reach, whoever listens there
	portHTTP    = "http"    // the server's own, behind another
	portGRPC    = "grpc"

	volumeModel  = "model"
	volumeTmp    = "tmp"
	volumeShm    = "shm"
	volumeSums   = "sums"
	volumeKeys   = "storage-secret"
	volumeClaim  = "claim"
	sumsPath     = "/etc/ml"
	keysPath     = "/mnt/oci-fetch-auth" // where KServe's storage initializer looks for a registry's config.json
	defaultPort  = 8080
	drainSeconds = 10 // that a pod goes on answering after it was taken out of service
	graceSeconds = drainSeconds + 60
	userID       = 1000

	loadPeriod   = 2 // seconds between two looks at whether the model is loaded
	loadAttempts = 900
)

// serving is everything that the pods of one deployment are made from.
type serving struct {
	key      driver.Key // of the endpoint
	dep      *entry
	settings *driver.Settings // that the deployment carries
	version  record
	sums     bool // the version's record lists the files' digests
	cfg      *Config
}

// contract is how the container is run: what the runtime says, changed by what the
// user says.
func (s *serving) contract() (runtimes.Contract, error) {
	c := runtimes.Contract{Port: defaultPort}
	v, model := &s.version.Serving, s.dep.Model.Key.Name
	if v.Image == "" {
		var err error
		if c, err = runtimes.Kubernetes(v.Runtime, model, s.dep.Compute.Accelerator != nil); err != nil {
			return c, err
		}
	}
	if v.Protocol != "" && v.Protocol != c.Protocol {
		c.PredictPath, c.HealthPath, c.ReadyPath, _ = runtimes.Routes(v.Protocol, model)
		c.Protocol = v.Protocol
	}
	c.Image = cmp.Or(v.Image, c.Image)
	c.Port, c.GRPCPort = cmp.Or(v.Port, c.Port), cmp.Or(v.GRPCPort, c.GRPCPort)
	c.PredictPath = cmp.Or(v.PredictPath, c.PredictPath, "/")
	if v.HealthPath != "" {
		c.HealthPath, c.ReadyPath = v.HealthPath, v.HealthPath
	}
	if len(v.Command) > 0 {
		c.Command = v.Command
	}
	if len(v.Args) > 0 {
		c.Args = v.Args
	}
	env := map[string]string{"ML_MODEL_NAME": model, "ML_MODEL_VERSION": s.dep.Model.Version, "ML_MODEL_DIR": runtimes.ModelDirectory,
		"ML_DEPLOYMENT": s.dep.Name, "HOME": "/tmp"}
	for _, more := range []map[string]string{c.Env, v.Env, s.dep.Env} {
		maps.Copy(env, more)
	}
	c.Env = env
	return c, nil
}

// pod is the template of the deployment's pods, the same for a Deployment and for
// the predictor of an InferenceService; server is the model container's name.
func (s *serving) pod(server string) (corev1.PodTemplateSpec, error) {
	c, err := s.contract()
	if err != nil {
		return corev1.PodTemplateSpec{}, err
	}
	k := kubernetesOf(s.settings)
	spec := corev1.PodSpec{
		ServiceAccountName: s.serviceAccount(), AutomountServiceAccountToken: new(false), EnableServiceLinks: new(false),
		TerminationGracePeriodSeconds: new(int64(graceSeconds)), SecurityContext: s.podSecurity(),
		NodeSelector: maps.Clone(k.NodeSelector), Tolerations: tolerations(k.Tolerations), PriorityClassName: k.PriorityClass,
		TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{MaxSkew: 1, TopologyKey: corev1.LabelHostname, WhenUnsatisfiable: corev1.ScheduleAnyway,
			LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{labelID: s.dep.ID}}}},
		Containers: []corev1.Container{s.server(server, c)},
		Volumes:    []corev1.Volume{{Name: volumeTmp, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
	}
	if k.RuntimeClass != "" {
		spec.RuntimeClassName = &k.RuntimeClass
	}
	if c.SharedMemory {
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: volumeShm, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}})
	}
	s.place(&spec)
	s.bring(&spec)
	if guarded(s.settings) {
		s.guard(&spec)
	}
	labels := marked(nil, labelEndpoint, s.key.Name, labelDeployment, s.dep.Name, labelID, s.dep.ID)
	if s.dep.Model.Native == "" {
		labels[labelModel], labels[labelVersion] = s.dep.Model.Key.Name, s.dep.Model.Version
	}
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{noteDigest: s.version.Artifact.Digest}}, Spec: spec}, nil
}

// kubernetesOf are the settings that only this platform has, never nil.
func kubernetesOf(s *driver.Settings) *driver.KubernetesEndpoint {
	if s.Kubernetes == nil {
		return &driver.KubernetesEndpoint{}
	}
	return s.Kubernetes
}

// serviceAccount is what the pods run as.
func (s *serving) serviceAccount() string {
	return cmp.Or(kubernetesOf(s.settings).ServiceAccount, accountName(s.key.Name))
}

// server is the model's container.
func (s *serving) server(name string, c runtimes.Contract) corev1.Container {
	port := portServing
	if guarded(s.settings) {
		port = portHTTP
	}
	container := corev1.Container{
		Name: name, Image: c.Image, Command: c.Command, Args: c.Args, Env: variables(c.Env), Resources: resources(&s.dep.Compute),
		Ports:                    []corev1.ContainerPort{{Name: port, ContainerPort: int32(c.Port), Protocol: corev1.ProtocolTCP}},
		SecurityContext:          s.containerSecurity(),
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		// Whoever routes requests learns a little late that the pod is to go.
		Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: drainSeconds}}},
		VolumeMounts: []corev1.VolumeMount{{Name: volumeTmp, MountPath: "/tmp"},
			{Name: volumeModel, MountPath: runtimes.ModelDirectory, ReadOnly: true}},
	}
	if c.GRPCPort > 0 && !guarded(s.settings) { // what stands in front passes on HTTP only
		container.Ports = append(container.Ports, corev1.ContainerPort{Name: portGRPC, ContainerPort: int32(c.GRPCPort), Protocol: corev1.ProtocolTCP})
	}
	if c.SharedMemory {
		container.VolumeMounts = append(container.VolumeMounts, corev1.VolumeMount{Name: volumeShm, MountPath: "/dev/shm"})
	}
	live, ready := handler(c.HealthPath, port), handler(cmp.Or(c.ReadyPath, c.HealthPath), port)
	container.StartupProbe = &corev1.Probe{ProbeHandler: ready, PeriodSeconds: loadPeriod, FailureThreshold: loadAttempts, TimeoutSeconds: 3}
	container.ReadinessProbe = &corev1.Probe{ProbeHandler: ready, PeriodSeconds: 5, FailureThreshold: 3, TimeoutSeconds: 3}
	container.LivenessProbe = &corev1.Probe{ProbeHandler: live, PeriodSeconds: 10, FailureThreshold: 6, TimeoutSeconds: 5}
	return container
}

// handler asks a path, or without one only whether somebody listens.
func handler(path, port string) corev1.ProbeHandler {
	if path == "" {
		return corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromString(port)}}
	}
	return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString(port)}}
}

func variables(env map[string]string) []corev1.EnvVar {
	all := make([]corev1.EnvVar, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		all = append(all, corev1.EnvVar{Name: name, Value: env[name]})
	}
	return all
}

func tolerations(all []driver.Toleration) []corev1.Toleration {
	var out []corev1.Toleration
	for _, t := range all {
		out = append(out, corev1.Toleration{Key: t.Key, Operator: corev1.TolerationOperator(t.Operator), Value: t.Value, Effect: corev1.TaintEffect(t.Effect)})
	}
	return out
}

// What a replica asks for when the user says nothing.
const (
	defaultCPU    = "500m"
	defaultMemory = "1Gi"
)

// resources asks for what the user wants, and bounds what cannot be shared: memory
// and accelerators. CPU that others leave over may be used.
func resources(c *driver.Compute) corev1.ResourceRequirements {
	cpu, memory := resource.MustParse(defaultCPU), resource.MustParse(defaultMemory)
	if c.CPU > 0 {
		cpu = *resource.NewMilliQuantity(int64(c.CPU*1000), resource.DecimalSI)
	}
	r := corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: cpu, corev1.ResourceMemory: memory}, Limits: corev1.ResourceList{}}
	if c.MemoryGiB > 0 {
		memory = *resource.NewQuantity(int64(c.MemoryGiB*(1<<30)), resource.BinarySI)
		r.Requests[corev1.ResourceMemory], r.Limits[corev1.ResourceMemory] = memory, memory
	}
	if name, ok := accelerator(c); ok {
		count := *resource.NewQuantity(int64(c.Accelerator.Count), resource.DecimalSI)
		r.Requests[name], r.Limits[name] = count, count
	}
	return r
}

// podSecurity is what the restricted Pod Security Standard asks of a pod.
func (s *serving) podSecurity() *corev1.PodSecurityContext {
	k := kubernetesOf(s.settings)
	context := &corev1.PodSecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}}
	if user := int64(k.RunAsUser); user > 0 {
		context.RunAsUser, context.FSGroup = &user, &user
	}
	if k.PodSecurity != securityBaseline {
		context.RunAsNonRoot = new(true)
		if context.RunAsUser == nil {
			context.RunAsUser, context.FSGroup = new(int64(userID)), new(int64(userID))
		}
	}
	return context
}

// containerSecurity is the same for a container. The root file system is read-only;
// /tmp is not.
func (s *serving) containerSecurity() *corev1.SecurityContext {
	context := &corev1.SecurityContext{AllowPrivilegeEscalation: new(false)}
	if kubernetesOf(s.settings).PodSecurity != securityBaseline {
		context.ReadOnlyRootFilesystem = new(true)
		context.Capabilities = &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}
	}
	return context
}

// The values of kubernetes.pod_security, of the Pod Security Standards.
const (
	securityRestricted = "restricted"
	securityBaseline   = "baseline"
)

// words joins a script's lines.
func words(lines ...string) string { return strings.Join(lines, "\n") }
