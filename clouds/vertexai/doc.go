// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package vertexai drives Google Vertex AI: it translates the core's steps into REST
// calls, and what the API shows into states.
//
// A model is a Model with versions, which comes and goes with them. An endpoint is an
// Endpoint whose id is its name, and a deployment a DeployedModel whose id follows
// from what it serves and where, so that no answer is needed to find it again, and
// none is made twice. Marks are labels that begin with "ml-"; what no label takes is
// JSON in a version's description.
//
// The API answers most changes with a long-running operation. None is waited for:
// reads tell whether it goes on, and a new process finds what an earlier one has begun
// by looking at what it makes.
//
// # Calls
//
// These are all calls that the driver makes, to the host of a location, in v1 of the
// API; those with an asterisk in v1beta1, which alone has them, and those with two in
// v1beta1 where something scales to zero. Each needs the IAM permission in parentheses.
//
//	models.delete (aiplatform.models.delete)
//	models.deleteVersion (aiplatform.models.delete)
//	models.get (aiplatform.models.get)
//	models.listVersions (aiplatform.models.list)
//	models.mergeVersionAliases (aiplatform.models.update)
//	models.operations.list (aiplatform.operations.list)
//	models.patch (aiplatform.models.update)
//	models.upload (aiplatform.models.upload)
//	endpoints.create (aiplatform.endpoints.create)
//	endpoints.delete (aiplatform.endpoints.delete)
//	endpoints.deployModel ** (aiplatform.endpoints.deploy)
//	endpoints.get ** (aiplatform.endpoints.get)
//	endpoints.getIamPolicy * (aiplatform.endpoints.getIamPolicy)
//	endpoints.operations.list (aiplatform.operations.list)
//	endpoints.list ** (aiplatform.endpoints.list)
//	endpoints.mutateDeployedModel ** (aiplatform.endpoints.update)
//	endpoints.patch (aiplatform.endpoints.update)
//	endpoints.rawPredict (aiplatform.endpoints.predict)
//	endpoints.setIamPolicy * (aiplatform.endpoints.setIamPolicy)
//	endpoints.undeployModel (aiplatform.endpoints.undeploy)
//	endpoints.update (aiplatform.endpoints.update)
//	operations.cancel
//	operations.get
//
// And these to Cloud Monitoring, in v3 of its API, where rollout.checks asks for it:
//
//	alertPolicies.list (monitoring.alertPolicies.list)
//	alerts.list (monitoring.alerts.list)
//	timeSeries.list (monitoring.timeSeries.list)
//
// Besides, iam.serviceAccounts.actAs on the account of vertex_ai.service_account;
// storage.objects.create, get and list where artifacts are staged, and the last two
// where they are. roles/aiplatform.admin has all of the first; without auth.invokers,
// and with smoke tests, roles/aiplatform.user has. roles/monitoring.viewer has all of
// the second. A customer-managed key must let the project's Vertex AI service agent
// encrypt and decrypt before anything is made with it.
package vertexai
