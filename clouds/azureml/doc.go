// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package azureml drives Azure Machine Learning: it translates the core's steps into
// calls to Azure Resource Manager, and what that shows into states.
//
// A model is a model container whose versions are numbered by us, an endpoint a
// managed online endpoint, and a deployment one of its deployments, whose name is the
// user's and a hash of what cannot change while it runs. An endpoint with
// azure_ml.compute is on a Kubernetes cluster that is attached to the workspace: its
// deployments are of that kind, and scale themselves. What serves a version is an
// environment that is named for its content, or the platform's own server. What scales
// a deployment is an autoscale setting, and who may call an endpoint are assignments of
// a role on it. Marks are tags that begin with "tfml-".
//
// # What the platform does to its clients
//
// A PUT replaces the whole: an endpoint is read, and sent with all that it has, so that
// none of its shares is lost. There are no etags: two writers of one process wait for
// each other, and what another has changed meanwhile the next observation shows. A
// PUT may claim to have succeeded when it has been queued only: the operation that it
// has begun is asked for all the same, and an endpoint counts as changing until that
// has ended. An operation that fails answers 200, and a refusal says its cause in its
// details. Names of shares come back in lower case, ids in any. An endpoint that is
// being updated takes no deployment, which is Busy. Autoscale settings are off unless
// switched on, own the count of instances from then on, and outlive their deployment.
//
// # Calls
//
// These are all calls that the driver makes, with the permissions that they need; those
// without a name are actions of Microsoft.MachineLearningServices/workspaces.
//
//	Workspaces.Get (read)
//	ModelContainers.CreateOrUpdate (models/write)
//	ModelContainers.Delete (models/delete)
//	ModelContainers.Get (models/read)
//	ModelVersions.CreateOrUpdate (models/versions/write)
//	ModelVersions.Delete (models/versions/delete)
//	ModelVersions.Get (models/versions/read)
//	ModelVersions.List (models/versions/read)
//	ModelVersions.Publish (models/versions/read, and Microsoft.MachineLearningServices/registries/assets/write)
//	RegistryModels.Delete (Microsoft.MachineLearningServices/registries/assets/delete)
//	RegistryModelVersions.Delete (Microsoft.MachineLearningServices/registries/assets/delete)
//	RegistryModelVersions.Get (Microsoft.MachineLearningServices/registries/assets/read)
//	RegistryModelVersions.List (Microsoft.MachineLearningServices/registries/assets/read)
//	EnvironmentVersions.CreateOrUpdate (environments/versions/write)
//	EnvironmentVersions.Delete (environments/versions/delete)
//	EnvironmentVersions.List (environments/versions/read)
//	Environments.Delete (environments/delete)
//	DataVersions.CreateOrUpdate (data/versions/write)
//	Datastores.Get (datastores/read)
//	Datastores.List (datastores/read)
//	OnlineEndpoints.CreateOrUpdate (onlineEndpoints/write)
//	OnlineEndpoints.Delete (onlineEndpoints/delete)
//	OnlineEndpoints.Get (onlineEndpoints/read)
//	OnlineEndpoints.GetToken (onlineEndpoints/token/action)
//	OnlineEndpoints.List (onlineEndpoints/read)
//	OnlineEndpoints.ListKeys (onlineEndpoints/listKeys/action)
//	OnlineDeployments.CreateOrUpdate (onlineEndpoints/deployments/write)
//	OnlineDeployments.Delete (onlineEndpoints/deployments/delete)
//	OnlineDeployments.Get (onlineEndpoints/deployments/read)
//	OnlineDeployments.GetLogs (onlineEndpoints/deployments/getLogs/action)
//	OnlineDeployments.List (onlineEndpoints/deployments/read)
//	OnlineDeployments.Update (onlineEndpoints/deployments/write)
//	Computes.Get (computes/read)
//	Usages.List (Microsoft.MachineLearningServices/locations/usages/read)
//	AutoscaleSettings.CreateOrUpdate (Microsoft.Insights/autoscaleSettings/write)
//	AutoscaleSettings.Delete (Microsoft.Insights/autoscaleSettings/delete)
//	AutoscaleSettings.ListByResourceGroup (Microsoft.Insights/autoscaleSettings/read)
//	Metrics.List (Microsoft.Insights/metrics/read, for rollout.checks of error rates and latencies)
//	MetricAlerts.Get (Microsoft.Insights/metricAlerts/read, for rollout.checks.alarms)
//	MetricAlertsStatus.List (Microsoft.Insights/metricAlerts/status/read, for rollout.checks.alarms)
//	RoleAssignments.Create (Microsoft.Authorization/roleAssignments/write)
//	RoleAssignments.Delete (Microsoft.Authorization/roleAssignments/delete)
//	RoleAssignments.ListForScope (Microsoft.Authorization/roleAssignments/read)
//
// Besides, the state of operations, which whoever has begun them may read;
// onlineEndpoints/score/action where a smoke test calls an endpoint with auth.mode
// "iam"; Microsoft.ManagedIdentity/userAssignedIdentities/assign/action on the identity
// of azure_ml.identity; and Storage Blob Data Contributor where artifacts are staged.
// AzureML Data Scientist on the workspace has the first; assignments of roles need User
// Access Administrator too, and are made where auth.invokers is set only.
package azureml
