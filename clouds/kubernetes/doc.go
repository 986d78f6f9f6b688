// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package kubernetes drives a Kubernetes cluster: it translates the core's steps into
// objects, and what the API server shows into states.
//
// A model is a ConfigMap that owns an immutable ConfigMap for each version. An
// endpoint is a ConfigMap, its root, that owns all that the endpoint is made of and
// records what was applied: deletion is one call, drift is a comparison with the
// record, and no version of this package has to make the same objects as an earlier
// one. A deployment is a Deployment, or an InferenceService, of a name that says what
// it is: a changed one stands beside the old, and a Service or an HTTPRoute moves the
// requests. Both kinds of workload run the same pods.
//
// # Calls
//
// Everything is read with get and list, applied with patch (server-side, strict), made
// once with create, and removed with delete, in the endpoint's namespace. These are the
// resources; those in parentheses only where a setting or the provider asks for them.
//
//	core: configmaps, events, pods, serviceaccounts, services, (secrets)
//	apps: deployments
//	autoscaling: horizontalpodautoscalers
//	policy: poddisruptionbudgets
//	networking.k8s.io: networkpolicies
//	rbac.authorization.k8s.io: (roles, rolebindings, clusterrolebindings)
//	gateway.networking.k8s.io: (gateways, gatewayclasses, httproutes)
//	serving.kserve.io: (inferenceservices)
//	cert-manager.io: (certificates)
//	gateway.envoyproxy.io: (securitypolicies)
//
// Of configmaps, roots and heads are also updated, and of secrets the keys of callers.
// events, gateways, their classes and, but for staging into a volume claim, pods are only
// read. Besides: get of namespaces and create of pods as a dry run, in plans, where a
// refusal is a warning; create on pods/proxy or pods/portforward and get on pods/log
// for smoke tests and for what a failure says; create on pods/exec for staging into a
// volume claim; bind on the cluster role system:auth-delegator for auth modes iam,
// oidc and mtls.
//
// Of the Prometheus that the provider names: /api/v1/query, where a rollout is checked by
// its error rate or latency, and /api/v1/rules, where by alarms.
package kubernetes
