// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import "github.com/mlplane/terraform-provider-ml/clouds/driver"

// Features says what Kubernetes does, and what it leaves to others.
func (d *kubernetes) Features() *driver.Features {
	return &driver.Features{
		Platform: driver.Kubernetes, TestBeforeTraffic: true, MinReplicas: 1, MetricsDelay: d.cfg.Prometheus.delay(),
		ArtifactSchemes: readSchemes(), UnreadSchemes: unreadSchemes(), Carried: carried(),
		Gaps: gaps,
	}
}

var gaps = []driver.Gap{
	{Path: "deployments.*.compute.spot", Reason: "has no spot capacity of its own", Alternative: "Name the label and the taint of your spot nodes in kubernetes.node_selector and kubernetes.tolerations."},
	{Path: "deployments.*.scaling.schedules", Reason: "has no schedules for replicas", Alternative: "Scale by metrics, or install KEDA and give it a cron trigger of your own."},
	{Path: "encryption.key", Reason: "encrypts at rest as whoever runs the cluster has set it up, and shows nobody how", Alternative: "Leave encryption.key out; encrypt node disks, volumes and the API server's storage with the cluster's own means."},
	{Path: "capture", Reason: "has nothing that records requests", Alternative: "Record them at the gateway or in the model's container."},
	{Path: "network.subnets", Reason: "knows no subnets", Alternative: "Use network.allowed_namespaces, or a node selector for nodes in those subnets."},
	{Path: "network.security_groups", Reason: "knows no security groups", Alternative: "Use network.allowed_namespaces: it becomes a NetworkPolicy."},
	{Path: "network.network", Reason: "has one network", Alternative: "Leave it out."},
	{Path: "auth.mode", Values: []string{"token"}, Reason: "issues no tokens of an endpoint's own", Alternative: "Use auth.mode = \"iam\", whose tokens are those of service accounts, or \"key\"."},
	{Path: "sagemaker", Reason: "has no SageMaker settings", Alternative: "Remove the sagemaker block."},
	{Path: "vertex_ai", Reason: "has no Vertex AI settings", Alternative: "Remove the vertex_ai block."},
	{Path: "azure_ml", Reason: "has no Azure settings", Alternative: "Remove the azure_ml block."},
}
