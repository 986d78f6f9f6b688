// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import "github.com/mlplane/terraform-provider-ml/clouds/driver"

// Features says what Azure ML can do.
func (d *azureML) Features() *driver.Features {
	return &driver.Features{
		Platform:          driver.AzureML,
		TestBeforeTraffic: true,
		MetricsDelay:      metricsDelay,
		MinReplicas:       1,
		ArtifactSchemes:   readSchemes(),
		Carried:           []string{carriedCapture, carriedTimeout, carriedEgress},
		Replace:           []string{"azure_ml.identity", attributeCompute},
		Gaps:              gaps,
	}
}

const (
	cooldowns = "Leave it out, or use whole minutes from 1m to 168h."
)

var gaps = []driver.Gap{
	{Path: "serving.command", Reason: "starts images as they are", Alternative: "Use an image that starts by itself."},
	{Path: "serving.args", Reason: "starts images as they are", Alternative: "Use an image that starts by itself; pass what it needs in serving.env."},
	{Path: "serving.grpc_port", Reason: "forwards requests to one port", Alternative: "Leave serving.grpc_port out."},
	{Path: "deployments.*.compute.spot", Values: []string{"true"}, Reason: "runs online deployments on dedicated machines only", Alternative: "Leave compute.spot out."},
	{Path: "deployments.*.scaling.metrics", Values: []string{string(driver.MetricConcurrency)}, Reason: "does not tell how many requests are in flight in a replica",
		Alternative: "Use the metric requests_per_replica, latency_ms, cpu, memory or gpu."},
	{Path: "auth.mode", Values: []string{"oidc", "mtls", "none"}, Reason: "answers with a key, with a token of the endpoint's, or with one of Microsoft Entra ID",
		Alternative: "Use auth.mode \"iam\", \"key\" or \"token\"; for other callers put API Management in front."},
	{Path: "auth.oidc", Reason: "accepts no tokens of other issuers", Alternative: "Let callers exchange their token by workload identity federation, and name their principal in auth.invokers."},
	{Path: "encryption.tls", Reason: "answers with Microsoft's own certificate", Alternative: "Leave encryption.tls out; for a name and certificate of your own put API Management or Front Door in front."},
	{Path: "network.network", Reason: "has no network of an endpoint's own", Alternative: "Use network.access = \"private\": the endpoint is reached through the workspace's private endpoint."},
	{Path: "network.subnets", Reason: "places endpoints in no subnets", Alternative: "Use network.access = \"private\": the endpoint is reached through the workspace's private endpoint."},
	{Path: "network.security_groups", Reason: "has no security groups of an endpoint's own", Alternative: "Use network.access = \"private\", and the rules of the workspace's managed network."},
	{Path: "network.allowed_namespaces", Reason: "has no namespaces", Alternative: "Name who may call in auth.invokers."},
	{Path: "sagemaker", Reason: "has no SageMaker settings", Alternative: "Remove the sagemaker block."},
	{Path: "vertex_ai", Reason: "has no Vertex AI settings", Alternative: "Remove the vertex_ai block."},
	{Path: "kubernetes", Reason: "has no Kubernetes settings", Alternative: "Remove the kubernetes block."},
}
