// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import "github.com/mlplane/terraform-provider-ml/clouds/driver"

// carriedAccount is the setting that is part of each deployment.
const carriedAccount = "vertex_ai.service_account"

// Features says what Vertex AI can do.
func (d *vertex) Features() *driver.Features {
	return &driver.Features{
		Platform:          driver.VertexAI,
		VersionsMakeModel: true,
		SmokeTestBy: "Vertex AI cannot address a deployment that has no traffic, so a version that replaces another is first deployed to an endpoint of its own, " +
			"with one replica, tested there, and removed from there again; that takes as long as the deployment itself, and the quota of one more replica",
		MetricsDelay:    publicDelay,
		MinReplicas:     0, // of an endpoint with one deployment; PrepareEndpoint asks for 1 of all others
		ArtifactSchemes: readSchemes(),
		Carried:         []string{carriedAccount},
		Replace:         []string{"encryption.key", "network.access", "network.network"},
		ModelsAbroad:    true,
		FixedModelKey:   true,
		Gaps:            gaps,
	}
}

const authReason = "accepts only requests that carry a Google access token"

var gaps = []driver.Gap{
	{Path: "deployments.*.mirror", Reason: "copies no requests to a second deployment", Alternative: "Give the new version 1 percent of traffic, or record requests with capture and send them again."},
	{Path: "deployments.*.env", Reason: "has no environment of a deployment", Alternative: "Set serving.env of the ml_model: that publishes a version."},
	{Path: "deployments.*.scaling.metrics", Values: []string{string(driver.MetricMemory), string(driver.MetricConcurrency), string(driver.MetricLatency)},
		Reason: "scales by CPU, accelerators and requests only", Alternative: "Use the metric cpu, gpu or requests_per_replica."},
	{Path: "deployments.*.scaling.schedules", Reason: "has no schedules for replicas", Alternative: "Scale by metrics, or let Cloud Scheduler call mutateDeployedModel."},
	{Path: "deployments.*.scaling.scale_out_cooldown", Reason: "looks at the last five minutes, always", Alternative: "Leave it out."},
	{Path: "auth.mode", Values: []string{"key", "token", "oidc", "mtls", "none"}, Reason: authReason,
		Alternative: "Use auth.mode = \"iam\" and auth.invokers; for other callers put API Gateway or a load balancer in front."},
	{Path: "auth.oidc", Reason: authReason, Alternative: "Let callers exchange their token by workload identity federation, and name the principal in auth.invokers."},
	{Path: "encryption.tls", Reason: "answers with Google's own certificate", Alternative: "Leave encryption.tls out; for a name and certificate of your own put a load balancer in front."},
	{Path: "network.subnets", Reason: "places endpoints in no subnets", Alternative: "Use network.access = \"private\": consumers reach it through Private Service Connect from any subnet."},
	{Path: "network.security_groups", Reason: "has no security groups", Alternative: "Use network.access = \"private\" and firewall rules in the consumer's network."},
	{Path: "network.allowed_namespaces", Reason: "has no namespaces", Alternative: "Name who may call in auth.invokers."},
	{Path: "sagemaker", Reason: "has no SageMaker settings", Alternative: "Remove the sagemaker block."},
	{Path: "azure_ml", Reason: "has no Azure settings", Alternative: "Remove the azure_ml block."},
	{Path: "kubernetes", Reason: "has no Kubernetes settings", Alternative: "Remove the kubernetes block."},
}
