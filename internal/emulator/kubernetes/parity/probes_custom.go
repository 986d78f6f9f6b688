// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package parity

import "strings"

func route(rules string) string {
	return "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: $}\nspec:\n  parentRefs: [{name: nowhere}]\n  rules: " + rules + "\n"
}

func isvc(predictor string) string {
	return "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata: {name: $, annotations: {serving.kserve.io/deploymentMode: Standard}}\nspec: {predictor: " + predictor + "}\n"
}

// customProbes are about custom resources.
var customProbes = []Probe{
	one("a route", "APPLY httproutes/$", route("[{backendRefs: [{name: a, port: 80, weight: 90}, {name: b, port: 80}], filters: [{type: RequestMirror, requestMirror: {backendRef: {name: c, port: 80}, percent: 20}}], timeouts: {request: 60s}}]")),
	after("a route again", Request{"APPLY httproutes/$", route("[{backendRefs: [{name: a, port: 80}]}]")}, Request{"APPLY httproutes/$", route("[{backendRefs: [{name: a, port: 80}]}]")}),
	after("a route's weight", Request{"APPLY httproutes/$", route("[{backendRefs: [{name: a, port: 80, weight: 2}]}]")}, Request{"APPLY httproutes/$", route("[{backendRefs: [{name: a, port: 80, weight: 1}]}]")}),
	after("a route's label is no generation", Request{"MERGE httproutes/$", "metadata: {labels: {a: b}}"}, Request{"APPLY httproutes/$", route("[{backendRefs: [{name: a, port: 80}]}]")}),
	after("another's route", Request{"APPLY httproutes/$", route("[{backendRefs: [{name: a, port: 80, weight: 2}]}]")}, Request{"APPLY httproutes/$?fieldManager=other", route("[{backendRefs: [{name: a, port: 80, weight: 1}]}]")}),
	one("an unknown field of a route", "APPLY httproutes/$", route("[{backendRefs: [{name: a, port: 80, wait: 1}]}]")),
	one("an unknown field of a route by POST", "POST httproutes?fieldValidation=Strict", route("[{backendRefs: [{name: a, port: 80, wait: 1}]}]")),
	one("an unknown field of a route, warned", "POST httproutes", route("[{backendRefs: [{name: a, port: 80, wait: 1}]}]")),
	one("a weight too high", "APPLY httproutes/$", route("[{backendRefs: [{name: a, port: 80, weight: 1000001}]}]")),
	one("a weight below nothing", "APPLY httproutes/$", route("[{backendRefs: [{name: a, port: 80, weight: -1}]}]")),
	one("a weight in words", "APPLY httproutes/$", route("[{backendRefs: [{name: a, port: 80, weight: much}]}]")),
	one("a weight in words by POST", "POST httproutes", route("[{backendRefs: [{name: a, port: 80, weight: much}]}]")),
	one("seventeen backends", "APPLY httproutes/$", route("[{backendRefs: ["+strings.TrimSuffix(strings.Repeat("{name: a, port: 80},", 17), ",")+"]}]")),
	one("a backend without a port", "APPLY httproutes/$", route("[{backendRefs: [{name: a}]}]")),
	one("a mirror without a backend", "APPLY httproutes/$", route("[{filters: [{type: RequestMirror}]}]")),
	one("a mirror of another type", "APPLY httproutes/$", route("[{filters: [{type: URLRewrite, requestMirror: {backendRef: {name: a, port: 80}}}]}]")),
	one("a mirror of two shares", "APPLY httproutes/$", route("[{filters: [{type: RequestMirror, requestMirror: {backendRef: {name: a, port: 80}, percent: 1, fraction: {numerator: 1}}}]}]")),
	one("a path that is not absolute", "APPLY httproutes/$", route("[{matches: [{path: {type: PathPrefix, value: a}}]}]")),
	one("timeouts the wrong way", "APPLY httproutes/$", route("[{timeouts: {request: 1s, backendRequest: 2s}}]")),
	one("a bad timeout", "APPLY httproutes/$", route("[{timeouts: {request: soon}}]")),
	one("a bad filter", "APPLY httproutes/$", route("[{filters: [{type: Nothing}]}]")),
	one("a bad host", "APPLY httproutes/$", "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: $}\nspec: {hostnames: ['A_b']}"),
	one("a parent twice", "APPLY httproutes/$", "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: $}\nspec: {parentRefs: [{name: a}, {name: a}]}"),
	after("a route by PUT without a version", Request{"PUT httproutes/$", route("[{}]")}, Request{"APPLY httproutes/$", route("[{}]")}),
	after("a strategic patch of a route", Request{"STRATEGIC httproutes/$", "metadata: {labels: {a: b}}"}, Request{"APPLY httproutes/$", route("[{}]")}),
	after("a route's status", Request{"APPLY httproutes/$/status?fieldManager=gateway", "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: $}\nstatus: {parents: []}"}, Request{"APPLY httproutes/$", route("[{}]")}),
	after("a route's spec through its status", Request{"MERGE httproutes/$/status", "spec: {hostnames: [a.example.com]}"}, Request{"APPLY httproutes/$", route("[{}]")}),
	one("a gateway", "APPLY gateways/$", "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: $}\nspec: {gatewayClassName: nowhere, listeners: [{name: http, port: 80, protocol: HTTP}]}"),
	one("a backend's TLS", "APPLY backendtlspolicies/$", "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {name: $}\nspec: {targetRefs: [{group: '', kind: Service, name: a}], validation: {hostname: a.example.com, wellKnownCACertificates: System}}"),
	one("a policy of keys", "APPLY securitypolicies/$", "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: {name: $}\nspec: {targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: a}], apiKeyAuth: {credentialRefs: [{group: '', kind: Secret, name: k}], extractFrom: [{headers: [x-api-key]}], forwardClientIDHeader: x-client-id, sanitize: true}}"),
	one("a policy of tokens", "APPLY securitypolicies/$", "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: {name: $}\nspec: {targetRefs: [{group: gateway.networking.k8s.io, kind: HTTPRoute, name: a}], jwt: {providers: [{name: oidc, issuer: 'https://issuer.example.com', audiences: [ml], remoteJWKS: {uri: 'https://issuer.example.com/keys'}}]}, authorization: {defaultAction: Deny, rules: [{name: allow, action: Allow, principal: {jwt: {provider: oidc, claims: [{name: groups, valueType: StringArray, values: [ml]}]}}}]}}"),
	one("a policy for nothing", "APPLY securitypolicies/$", "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: {name: $}\nspec: {apiKeyAuth: {credentialRefs: [{name: k}], extractFrom: [{headers: [x-api-key]}]}}"),
	one("a certificate", "APPLY certificates/$", "apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: $}\nspec: {secretName: s, dnsNames: [a.example.com], issuerRef: {name: i, kind: Issuer, group: cert-manager.io}, privateKey: {algorithm: ECDSA, size: 256, rotationPolicy: Always}, usages: [server auth]}"),
	one("a certificate without an issuer", "APPLY certificates/$", "apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: $}\nspec: {secretName: s}"),
	one("an unknown field of an inference service", "APPLY inferenceservices/$", isvc("{minReplicas: 1, model: {modelFormat: {name: onnx}, runtim: r}}")),
	one("a bad format", "APPLY inferenceservices/$", isvc("{minReplicas: 1, model: {modelFormat: {}}}")),
}

// deleteProbes are about removal and garbage collection.
var deleteProbes = []Probe{
	after("delete", Request{"DELETE configmaps/$", ""}, Request{"POST configmaps", configMap}),
	after("delete a service", Request{"DELETE services/$", ""}, Request{"POST services", svc("ports: [{port: 80}]")}),
	after("delete a service account", Request{"DELETE serviceaccounts/$", ""}, Request{"POST serviceaccounts", head("ServiceAccount")}),
	after("delete a secret", Request{"DELETE secrets/$", ""}, Request{"POST secrets", head("Secret")}),
	after("delete a deployment", Request{"DELETE deployments/$?propagationPolicy=Background", ""}, Request{"APPLY deployments/$", deployment}),
	after("delete a route", Request{"DELETE httproutes/$", ""}, Request{"APPLY httproutes/$", route("[{}]")}),
	one("delete nothing", "DELETE configmaps/$", ""),
	after("delete another's UID", Request{"DELETE configmaps/$", "apiVersion: v1\nkind: DeleteOptions\npreconditions: {uid: 11111111-2222-3333-4444-555555555555}"}, Request{"POST configmaps", configMap}),
	after("delete a stale version", Request{"DELETE configmaps/$", "apiVersion: v1\nkind: DeleteOptions\npreconditions: {resourceVersion: '1'}"}, Request{"POST configmaps", configMap}),
	after("delete its UID", Request{"DELETE configmaps/$", "apiVersion: v1\nkind: DeleteOptions\npreconditions: {uid: '{uid configmaps/$}'}"}, Request{"POST configmaps", configMap}),
	after("delete dry", Request{"DELETE configmaps/$?dryRun=All", ""}, Request{"POST configmaps", configMap}),
	one("delete in a bad way", "DELETE configmaps/$?propagationPolicy=Sideways", ""),
	after("delete in the foreground", Request{"DELETE configmaps/$?propagationPolicy=Foreground", ""}, Request{"POST configmaps", configMap}),
	after("the foreground removes children first", Request{"GET configmaps/$-child", ""}, Request{"POST configmaps", configMap}, Request{"POST configmaps", child("true")},
		Request{"DELETE configmaps/$?propagationPolicy=Foreground", ""}, Request{"GONE configmaps/$", ""}),
	after("the background removes children too", Request{"GET configmaps/$", ""}, Request{"POST configmaps", configMap}, Request{"POST configmaps", child("false")},
		Request{"DELETE configmaps/$?propagationPolicy=Background", ""}, Request{"GONE configmaps/$-child", ""}),
	after("a child of nobody is removed", Request{"GET configmaps/$-child", ""}, Request{"POST configmaps", strings.Replace(child("false"), "{uid configmaps/$}", "11111111-2222-3333-4444-555555555555", 1)}, Request{"GONE configmaps/$-child", ""}),
	after("delete what has a finalizer", Request{"DELETE configmaps/$", ""}, Request{"POST configmaps", finalized}),
	after("delete it again", Request{"DELETE configmaps/$", ""}, Request{"POST configmaps", finalized}, Request{"DELETE configmaps/$", ""}),
	after("apply to what is being deleted", Request{"APPLY configmaps/$", configMap + "data: {a: b}"}, Request{"POST configmaps", finalized}, Request{"DELETE configmaps/$", ""}),
	after("create what is being deleted", Request{"POST configmaps", configMap}, Request{"POST configmaps", finalized}, Request{"DELETE configmaps/$", ""}),
	after("the last finalizer", Request{"GET configmaps/$", ""}, Request{"POST configmaps", finalized}, Request{"DELETE configmaps/$", ""}, Request{"MERGE configmaps/$", "metadata: {finalizers: null}"}),
	after("a new finalizer on the way out", Request{"MERGE configmaps/$", "metadata: {finalizers: [example.com/a, example.com/b]}"}, Request{"POST configmaps", finalized}, Request{"DELETE configmaps/$", ""}),
}

const finalized = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: $, finalizers: [example.com/a]}\n"

func child(blocks string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: $-child, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: $, uid: '{uid configmaps/$}', blockOwnerDeletion: " + blocks + "}]}\n"
}
