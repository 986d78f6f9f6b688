// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package driver

import "time"

// EndpointSpec is an endpoint as wanted. JSON names are attribute names.
type EndpointSpec struct {
	Key         Key
	Deployments []Deployment // sorted by name, at least one
	Settings    Settings
	Labels      map[string]string // the provider's labels are merged in
	Rollout     Rollout
	SmokeTest   *SmokeTest
	Unknown     Unknown
}

// Find returns the deployment of that name, or nil.
func (s *EndpointSpec) Find(name string) *Deployment {
	for i := range s.Deployments {
		if s.Deployments[i].Name == name {
			return &s.Deployments[i]
		}
	}
	return nil
}

// Settings are what belongs to the endpoint as a whole and shows in its state.
type Settings struct {
	Network        Network             `json:"network"`
	Auth           Auth                `json:"auth"`
	Encryption     Encryption          `json:"encryption"`
	Capture        *Capture            `json:"capture,omitempty"`
	RequestTimeout time.Duration       `json:"request_timeout,omitempty"` // 0 is the platform's default
	SageMaker      *SageMakerEndpoint  `json:"sagemaker,omitempty"`
	VertexAI       *VertexAIEndpoint   `json:"vertex_ai,omitempty"`
	AzureML        *AzureMLEndpoint    `json:"azure_ml,omitempty"`
	Kubernetes     *KubernetesEndpoint `json:"kubernetes,omitempty"`
}

// Deployment is one model version being served under an endpoint, as wanted.
type Deployment struct {
	Name    string            `json:"name"`
	Model   VersionRef        `json:"model"`
	Traffic int               `json:"traffic"`          // percent of live requests
	Mirror  int               `json:"mirror,omitempty"` // percent of requests copied to it
	Compute Compute           `json:"compute"`
	Scaling Scaling           `json:"scaling"`
	Env     map[string]string `json:"env,omitempty"`
}

// Compute is the hardware of one replica. PrepareEndpoint resolves portable
// numbers into InstanceType, where the platform has instance types.
type Compute struct {
	InstanceType string       `json:"instance_type,omitempty"`
	CPU          float64      `json:"cpu,omitempty"`
	MemoryGiB    float64      `json:"memory_gib,omitempty"`
	Accelerator  *Accelerator `json:"accelerator,omitempty"`
	Spot         bool         `json:"spot,omitempty"`

	// Attached are the accelerators added to an instance type that comes without
	// them. PrepareEndpoint sets it, of Accelerator or of what the portable numbers
	// resolve to.
	Attached *Accelerator `json:"attached,omitempty"`
}

// Resolved leaves out the portable numbers where they have done their work and
// chosen an instance type: it is what can be observed.
func (c Compute) Resolved() Compute {
	if c.InstanceType == "" {
		return c
	}
	return Compute{InstanceType: c.InstanceType, Attached: c.Attached, Spot: c.Spot}
}

// Accelerator is a portable accelerator request.
type Accelerator struct {
	Type  string `json:"type"`
	Count int    `json:"count"`
}

// Scaling bounds the number of replicas. Min equal to Max without metrics and
// schedules is a fixed count.
type Scaling struct {
	Min              int           `json:"min"`
	Max              int           `json:"max"`
	Metrics          []Metric      `json:"metrics,omitempty"`            // sorted by type
	ScaleInCooldown  time.Duration `json:"scale_in_cooldown,omitempty"`  // 0 is the platform's default
	ScaleOutCooldown time.Duration `json:"scale_out_cooldown,omitempty"` // 0 is the platform's default
	Schedules        []Schedule    `json:"schedules,omitempty"`          // sorted by name
}

// Automatic reports whether something other than the user chooses the count.
func (s Scaling) Automatic() bool {
	return s.Min != s.Max || len(s.Metrics) > 0 || len(s.Schedules) > 0
}

// MetricType is what an autoscaler watches.
type MetricType string

// The metric types and their units.
const (
	MetricRequests    MetricType = "requests_per_replica" // requests per replica and minute
	MetricCPU         MetricType = "cpu"                  // percent of all CPUs of a replica
	MetricMemory      MetricType = "memory"               // percent of a replica's memory
	MetricGPU         MetricType = "gpu"                  // percent of all accelerators of a replica
	MetricConcurrency MetricType = "concurrency"          // requests in flight per replica
	MetricLatency     MetricType = "latency_ms"           // milliseconds of model latency
)

// MetricTypes are all values of MetricType.
func MetricTypes() []MetricType {
	return []MetricType{MetricRequests, MetricCPU, MetricMemory, MetricGPU, MetricConcurrency, MetricLatency}
}

// Metric is one autoscaling rule: keep the metric near the target.
type Metric struct {
	Type   MetricType `json:"type"`
	Target float64    `json:"target"`
}

// Schedule changes the bounds at a time of day.
type Schedule struct {
	Name     string `json:"name"`
	Cron     string `json:"cron"`     // five fields
	Timezone string `json:"timezone"` // IANA name; "UTC" by default
	Min      int    `json:"min"`
	Max      int    `json:"max"`
}

// Network says from where the endpoint can be reached and what it can reach.
type Network struct {
	Access            string   `json:"access"`                    // "public" or "private"
	Subnets           []string `json:"subnets,omitempty"`         // sorted
	SecurityGroups    []string `json:"security_groups,omitempty"` // sorted
	Network           string   `json:"network,omitempty"`
	AllowedNamespaces []string `json:"allowed_namespaces,omitempty"` // sorted
}

// AuthModes are all values of Auth.Mode. "none" must be written out.
func AuthModes() []string { return []string{"iam", "key", "token", "oidc", "mtls", "none"} }

// Auth says who may call.
type Auth struct {
	Mode     string   `json:"mode"`
	Invokers []string `json:"invokers,omitempty"` // sorted
	OIDC     *OIDC    `json:"oidc,omitempty"`
}

// OIDC is the token issuer of auth mode "oidc".
type OIDC struct {
	Issuer    string            `json:"issuer"`
	Audiences []string          `json:"audiences,omitempty"` // sorted
	Claims    map[string]string `json:"claims,omitempty"`
}

// Encryption is the customer's key and the server's certificate.
type Encryption struct {
	Key string `json:"key,omitempty"`
	TLS *TLS   `json:"tls,omitempty"`
}

// TLS is where the certificate comes from.
type TLS struct {
	SecretName string `json:"secret_name,omitempty"`
	Issuer     string `json:"issuer,omitempty"`
	MinVersion string `json:"min_version,omitempty"`
}

// Capture records requests and responses.
type Capture struct {
	Percent     int      `json:"percent"`
	Destination string   `json:"destination"`
	Include     []string `json:"include"` // sorted: "request", "response"
}

// SageMakerEndpoint is what only SageMaker endpoints have.
type SageMakerEndpoint struct {
	ExecutionRoleARN string      `json:"execution_role_arn,omitempty"` // never "" after PrepareEndpoint
	NetworkIsolation bool        `json:"network_isolation,omitempty"`
	Async            *Async      `json:"async,omitempty"`
	Serverless       *Serverless `json:"serverless,omitempty"`
}

// Async makes a SageMaker endpoint answer into a bucket (AsyncInferenceConfig).
type Async struct {
	OutputURI                 string `json:"output_uri"`
	FailureURI                string `json:"failure_uri,omitempty"`
	EncryptionKey             string `json:"encryption_key,omitempty"`
	SuccessTopic              string `json:"success_topic,omitempty"`
	ErrorTopic                string `json:"error_topic,omitempty"`
	MaxConcurrencyPerInstance int    `json:"max_concurrency_per_instance,omitempty"` // 1 to 1000; 0 lets the platform choose
}

// Serverless runs a SageMaker endpoint without instances (ServerlessConfig).
type Serverless struct {
	MemoryMB               int `json:"memory_mb"`                         // 1024 to 6144 in steps of 1024
	MaxConcurrency         int `json:"max_concurrency"`                   // 1 to 200
	ProvisionedConcurrency int `json:"provisioned_concurrency,omitempty"` // 1 to max_concurrency; 0 is none
}

// VertexAIEndpoint is what only Vertex AI endpoints have.
type VertexAIEndpoint struct {
	ServiceAccount string `json:"service_account,omitempty"`
	Dedicated      bool   `json:"dedicated,omitempty"`
}

// AzureMLEndpoint is what only Azure ML endpoints have.
type AzureMLEndpoint struct {
	Identity     string `json:"identity,omitempty"`
	EgressPublic *bool  `json:"egress_public,omitempty"` // nil leaves it to the workspace
	Compute      string `json:"compute,omitempty"`       // a Kubernetes compute of the workspace; "" is the platform's own machines
}

// KubernetesEndpoint is what only Kubernetes endpoints have.
type KubernetesEndpoint struct {
	Serving        string            `json:"serving,omitempty"`
	ServiceAccount string            `json:"service_account,omitempty"`
	NodeSelector   map[string]string `json:"node_selector,omitempty"`
	Tolerations    []Toleration      `json:"tolerations,omitempty"`
	RuntimeClass   string            `json:"runtime_class,omitempty"`
	PriorityClass  string            `json:"priority_class,omitempty"`
	PodSecurity    string            `json:"pod_security,omitempty"` // "restricted" or "baseline", of the Pod Security Standards
	RunAsUser      int               `json:"run_as_user,omitempty"`  // 0 is the platform's default
}

// Toleration is a Kubernetes toleration.
type Toleration struct {
	Key      string `json:"key,omitempty"`
	Operator string `json:"operator,omitempty"`
	Value    string `json:"value,omitempty"`
	Effect   string `json:"effect,omitempty"`
}

// Strategy is how a changed deployment takes over.
type Strategy string

// The strategies.
const (
	AllAtOnce Strategy = "all_at_once"
	Canary    Strategy = "canary"
	Linear    Strategy = "linear"
	BlueGreen Strategy = "blue_green"
)

// Strategies are all values of Strategy.
func Strategies() []Strategy { return []Strategy{AllAtOnce, Canary, Linear, BlueGreen} }

// Rollout is how a changed deployment takes over.
type Rollout struct {
	Strategy  Strategy      `json:"strategy,omitempty"`
	Steps     []int         `json:"steps,omitempty"`      // canary: percents before 100; linear: one percent per step
	Interval  time.Duration `json:"interval,omitempty"`   // bake time per step
	OnFailure string        `json:"on_failure,omitempty"` // "rollback" or "hold"
	Checks    Checks        `json:"checks"`
}

// OnFailures are all values of Rollout.OnFailure.
func OnFailures() []string { return []string{"rollback", "hold"} }

// Checks are judged at each step of a rollout. Zero values are not judged.
type Checks struct {
	SmokeTest    bool     `json:"smoke_test,omitempty"`
	MaxErrorRate float64  `json:"max_error_rate,omitempty"` // percent
	MaxLatencyMS int      `json:"max_latency_ms,omitempty"`
	Alarms       []string `json:"alarms,omitempty"` // names of the platform's own alarms
}

// Measurement is how a deployment has answered for a while.
type Measurement struct {
	Requests  int           // that were answered
	Errors    int           // of them, with a status of 500 and above, or not at all
	Latency95 time.Duration // 95 of 100 answers took no longer; 0 where nothing was answered
}

// ErrorRate is the percentage of requests that failed.
func (m Measurement) ErrorRate() float64 {
	if m.Requests == 0 {
		return 0
	}
	return 100 * float64(m.Errors) / float64(m.Requests)
}

// Alarm is one of the platform's own alarms that fires.
type Alarm struct {
	Name   string
	Reason string // the platform's words; "" if it has none
}

// SmokeTest is a request that a new deployment must answer as expected.
type SmokeTest struct {
	Request    Request
	Status     int               // 0 means 200
	JSON       map[string]string // JSONPath to expected JSON value
	MaxLatency time.Duration     // 0 is not judged
	Attempts   int               // at least 1
}

// Request is one inference request.
type Request struct {
	Body        []byte
	ContentType string
}

// Response is the answer of the model itself, without a platform's envelope.
type Response struct {
	Status     int
	Body       []byte
	Deployment string // which deployment answered, where the platform says so
	RequestID  string
}

// EndpointState is an endpoint as observed.
type EndpointState struct {
	Key          Key
	NativeID     string
	Marks        Marks
	Phase        Phase
	Reason       string // the platform's words about the last failure; "" if it has none
	URL          string
	InvokePolicy string // what a caller must be granted, in the platform's policy language
	Settings     Settings
	Labels       map[string]string
	Deployments  []DeploymentState // sorted by name, then by ID
	Leftovers    []Leftover        // with our marks, referred to by nothing
	Created      time.Time

	// Repair is set when the endpoint serves but what it stands on is damaged,
	// such as a configuration that somebody deleted. It is a sentence, and makes
	// the core deploy, or without Features.DeployWhole update the settings, even
	// if nothing else differs.
	Repair string

	// Interrupted is the platform's words where it has given up the last change by
	// itself, and may be asked for it again.
	Interrupted string

	// Unfinished is a sentence about what an earlier run has left to do, though
	// nothing that the user wrote differs; "" for nothing. The core sets it.
	Unfinished string

	// Memo is the driver's note to itself about what it has read, such as the
	// name of an immutable configuration. The caller stores it with what it
	// belongs to and gives both back as known.
	Memo string
}

// DeploymentState is a deployment as observed. Of one name there are two while
// a platform without Features.DeployWhole replaces one by the other.
type DeploymentState struct {
	Deployment        // in canonical form, comparable with what is wanted
	ID         string // the platform's name of this very deployment
	Owned      bool
	Phase      Phase
	Reason     string // why it has failed, or what it is waiting for; "" if the platform does not say
	Replicas   int    // live count; moves by itself

	// Carried are the endpoint's settings as they were when it was deployed. Those
	// that Features.Carried names are a part of it.
	Carried Settings

	// Repair is set when the deployment no longer is what was deployed: somebody
	// changed or removed a part of it. It is a sentence, and makes the core deploy
	// it again under the same ID. Never set with Features.DeployWhole.
	Repair string
}

// Share is one deployment's part of the requests, in percent.
type Share struct {
	ID      string // DeploymentState.ID
	Name    string
	Traffic int
	Mirror  int
}

// Leftover is a thing with our marks that nothing refers to.
type Leftover struct {
	Kind   string // the platform's word: "endpoint configuration", "model"
	Name   string
	Ending bool // DeleteEndpoint has been called on the endpoint that it served
}
