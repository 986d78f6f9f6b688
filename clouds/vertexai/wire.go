// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"encoding/json"
	"time"
)

// The messages of the API as far as they are read or written, in the names of its
// JSON form. The published Go messages do not do: one of a deployment that is being
// made has a state only in JSON, and both versions of the API are spoken.

type wireModel struct {
	Name               string            `json:"name,omitempty"`
	VersionID          string            `json:"versionId,omitempty"`
	VersionAliases     []string          `json:"versionAliases,omitempty"`
	VersionCreateTime  *time.Time        `json:"versionCreateTime,omitempty"`
	DisplayName        string            `json:"displayName,omitempty"`
	Description        string            `json:"description,omitempty"`
	VersionDescription string            `json:"versionDescription,omitempty"`
	Labels             map[string]string `json:"labels,omitempty"`
	ArtifactURI        string            `json:"artifactUri,omitempty"`
	ContainerSpec      *containerSpec    `json:"containerSpec,omitempty"`
	EncryptionSpec     *encryptionSpec   `json:"encryptionSpec,omitempty"`
	DeployedModels     []deployedRef     `json:"deployedModels,omitempty"`
	Etag               string            `json:"etag,omitempty"`
}

type deployedRef struct {
	Endpoint        string `json:"endpoint"`
	DeployedModelID string `json:"deployedModelId"`
}

type containerSpec struct {
	ImageURI           string     `json:"imageUri"`
	Command            []string   `json:"command,omitempty"`
	Args               []string   `json:"args,omitempty"`
	Env                []envVar   `json:"env,omitempty"`
	Ports              []wirePort `json:"ports,omitempty"`
	GRPCPorts          []wirePort `json:"grpcPorts,omitempty"`
	PredictRoute       string     `json:"predictRoute,omitempty"`
	HealthRoute        string     `json:"healthRoute,omitempty"`
	SharedMemorySizeMB string     `json:"sharedMemorySizeMb,omitempty"` // an int64, which JSON has as a string
}

type envVar struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type wirePort struct {
	ContainerPort int `json:"containerPort"`
}

type encryptionSpec struct {
	KMSKeyName string `json:"kmsKeyName,omitempty"`
}

func (e *encryptionSpec) key() string {
	if e == nil {
		return ""
	}
	return e.KMSKeyName
}

func encrypted(key string) *encryptionSpec {
	if key == "" {
		return nil
	}
	return &encryptionSpec{key}
}

type wireEndpoint struct {
	Name             string            `json:"name,omitempty"`
	DisplayName      string            `json:"displayName,omitempty"`
	Labels           map[string]string `json:"labels,omitempty"`
	Etag             string            `json:"etag,omitempty"`
	CreateTime       *time.Time        `json:"createTime,omitempty"`
	DeployedModels   []deployedModel   `json:"deployedModels,omitempty"`
	TrafficSplit     map[string]int    `json:"trafficSplit,omitempty"`
	EncryptionSpec   *encryptionSpec   `json:"encryptionSpec,omitempty"`
	Network          string            `json:"network,omitempty"`
	PrivateService   *privateService   `json:"privateServiceConnectConfig,omitempty"`
	Dedicated        bool              `json:"dedicatedEndpointEnabled,omitempty"`
	DedicatedDNS     string            `json:"dedicatedEndpointDns,omitempty"`
	ClientConnection *clientConnection `json:"clientConnectionConfig,omitempty"`
	Logging          *requestLogging   `json:"predictRequestResponseLoggingConfig,omitempty"`
}

type privateService struct {
	Enable     bool     `json:"enablePrivateServiceConnect,omitempty"`
	Allowlist  []string `json:"projectAllowlist,omitempty"`
	Attachment string   `json:"serviceAttachment,omitempty"`
}

type clientConnection struct {
	InferenceTimeout string `json:"inferenceTimeout,omitempty"`
}

type requestLogging struct {
	Enabled      bool      `json:"enabled,omitempty"`
	SamplingRate float64   `json:"samplingRate,omitempty"`
	BigQuery     *bigQuery `json:"bigqueryDestination,omitempty"`
}

type bigQuery struct {
	OutputURI string `json:"outputUri,omitempty"`
}

type deployedModel struct {
	ID                 string              `json:"id,omitempty"`
	Model              string              `json:"model,omitempty"`
	ModelVersionID     string              `json:"modelVersionId,omitempty"`
	DisplayName        string              `json:"displayName,omitempty"`
	DedicatedResources *dedicatedResources `json:"dedicatedResources,omitempty"`
	ServiceAccount     string              `json:"serviceAccount,omitempty"`
	// Logs of containers are on unless switched off in v1, and off unless switched
	// on in v1beta1.
	DisableContainerLogging bool  `json:"disableContainerLogging,omitempty"`
	EnableContainerLogging  *bool `json:"enableContainerLogging,omitempty"`
	// State is set of what is not deployed yet, where it is asked for.
	State  string `json:"state,omitempty"`
	Status *struct {
		Message   string `json:"message"`
		Available *int   `json:"availableReplicaCount"`
	} `json:"status,omitempty"`
	PrivateEndpoints *struct {
		PredictURI string `json:"predictHttpUri"`
		Attachment string `json:"serviceAttachment"`
	} `json:"privateEndpoints,omitempty"`
}

type dedicatedResources struct {
	MachineSpec         machineSpec  `json:"machineSpec"`
	MinReplicaCount     int          `json:"minReplicaCount"`
	MaxReplicaCount     int          `json:"maxReplicaCount,omitempty"`
	InitialReplicaCount int          `json:"initialReplicaCount,omitempty"`
	Metrics             []metricSpec `json:"autoscalingMetricSpecs,omitempty"`
	Spot                bool         `json:"spot,omitempty"`
	ScaleToZero         *toZero      `json:"scaleToZeroSpec,omitempty"`
}

type machineSpec struct {
	MachineType      string `json:"machineType,omitempty"`
	AcceleratorType  string `json:"acceleratorType,omitempty"`
	AcceleratorCount int    `json:"acceleratorCount,omitempty"`
}

type metricSpec struct {
	MetricName string `json:"metricName"`
	Target     int    `json:"target"`
}

type toZero struct {
	IdleScaledownPeriod string `json:"idleScaledownPeriod,omitempty"`
}

type operation struct {
	Name     string          `json:"name"`
	Done     bool            `json:"done"`
	Error    *status         `json:"error"`
	Metadata json.RawMessage `json:"metadata"`
}

type iamPolicy struct {
	Version  int          `json:"version,omitempty"`
	Etag     string       `json:"etag,omitempty"`
	Bindings []iamBinding `json:"bindings,omitempty"`
}

type iamBinding struct {
	Role      string          `json:"role"`
	Members   []string        `json:"members,omitempty"`
	Condition json.RawMessage `json:"condition,omitempty"`
}
