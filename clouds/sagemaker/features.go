// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import "github.com/mlplane/terraform-provider-ml/clouds/driver"

// Features says what SageMaker can do.
func (d *sagemaker) Features() *driver.Features {
	return &driver.Features{
		Platform:    driver.SageMaker,
		DeployWhole: true,
		SmokeTestBy: "SageMaker moves the traffic in the same transition that brings the new variants up, so a version that replaces another is first deployed to an endpoint of its own, " +
			"with one instance, tested there, and removed from there again; that takes as long as the deployment itself, and the quota of one more instance",
		MetricsDelay:    metricsDelay,
		MinReplicas:     0, // with asynchronous inference; PrepareEndpoint asks for 1 of all others
		ArtifactSchemes: schemes(),
		Replace:         []string{"sagemaker.async", "sagemaker.serverless"},
		Gaps:            gaps(),
	}
}

func gaps() []driver.Gap {
	return []driver.Gap{
		{Path: "auth.mode", Values: []string{"key", "token", "oidc", "mtls", "none"},
			Reason:      "accepts only requests that are signed with AWS credentials",
			Alternative: "Use auth.mode = \"iam\" and grant callers the endpoint's invoke_policy; for other callers put API Gateway or a load balancer in front."},
		{Path: "auth.oidc", Reason: "accepts only requests that are signed with AWS credentials",
			Alternative: "Let callers take a role with their token (sts:AssumeRoleWithWebIdentity) and grant it the endpoint's invoke_policy."},
		{Path: "encryption.tls", Reason: "answers with AWS's own certificate",
			Alternative: "Leave encryption.tls out; for a name and certificate of your own put API Gateway or CloudFront in front."},
		{Path: "network.network", Reason: "places endpoints by subnets, not by network",
			Alternative: "Set network.subnets and network.security_groups."},
		{Path: "network.allowed_namespaces", Reason: "has no namespaces",
			Alternative: "Grant the endpoint's invoke_policy to the callers' roles."},
		{Path: "deployments.*.compute.spot", Reason: "serves endpoints from on-demand capacity only",
			Alternative: "Leave spot out; a Savings Plan for SageMaker lowers the price."},
		{Path: "rollout.on_failure", Values: []string{"hold"}, Reason: "always goes back to what served when a change fails",
			Alternative: "Use rollout.on_failure = \"rollback\"."},
		{Path: "serving.command", Reason: "starts every container with the argument \"serve\"",
			Alternative: "Give the image an entry point that understands \"serve\"."},
		{Path: "serving.args", Reason: "starts every container with the argument \"serve\"",
			Alternative: "Pass options through serving.env."},
		{Path: "serving.grpc_port", Reason: "forwards HTTP requests only",
			Alternative: "Answer POST /invocations on port 8080."},
		{Path: "azure_ml", Reason: "has no Azure settings", Alternative: "Remove the azure_ml block."},
		{Path: "vertex_ai", Reason: "has no Vertex AI settings", Alternative: "Remove the vertex_ai block."},
		{Path: "kubernetes", Reason: "has no Kubernetes settings", Alternative: "Remove the kubernetes block."},
	}
}
