// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package parity

import (
	"slices"
	"strings"
)

// probes are the questions.
var probes = slices.Concat(applyProbes, metaProbes, podProbes, workloadProbes, serviceProbes, policyProbes, customProbes, deleteProbes)

func one(name, call, body string) Probe { return Probe{Name: name, Request: Request{call, body}} }

func after(name string, request Request, setup ...Request) Probe {
	return Probe{Name: name, Setup: setup, Request: request}
}

// head begins an object of the core group.
func head(kind string) string {
	return "apiVersion: v1\nkind: " + kind + "\nmetadata: {name: $}\n"
}

const configMap = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: $}\n"

const deployment = `apiVersion: apps/v1
kind: Deployment
metadata: {name: $}
spec:
  replicas: 0
  selector: {matchLabels: {app: $}}
  template:
    metadata: {labels: {app: $}}
    spec:
      containers:
      - name: server
        image: server:1
        ports: [{name: http, containerPort: 8080, protocol: TCP}]
`

// applyProbes are about server-side apply and managed fields.
var applyProbes = []Probe{
	one("apply creates", "APPLY configmaps/$", configMap+"data: {a: '1'}"),
	one("apply without a manager", "APPLY configmaps/$?anonymous=1", configMap),
	after("apply the same again", Request{"APPLY configmaps/$", configMap + "data: {a: '1'}"}, Request{"APPLY configmaps/$", configMap + "data: {a: '1'}"}),
	after("apply a deployment again", Request{"APPLY deployments/$", deployment}, Request{"APPLY deployments/$", deployment}, Request{"SETTLED deployments/$", ""}),
	after("apply removes what it no longer names", Request{"APPLY configmaps/$", configMap + "data: {b: '2'}"}, Request{"APPLY configmaps/$", configMap + "data: {a: '1'}"}),
	after("apply meets another manager", Request{"APPLY configmaps/$", configMap + "data: {a: '2'}"}, Request{"APPLY configmaps/$?fieldManager=other", configMap + "data: {a: '1'}"}),
	after("apply by force", Request{"APPLY configmaps/$?force=true", configMap + "data: {a: '2'}"}, Request{"APPLY configmaps/$?fieldManager=other", configMap + "data: {a: '1'}"}),
	after("apply meets an updater", Request{"APPLY configmaps/$", configMap + "data: {a: '2'}"}, Request{"POST configmaps?fieldManager=updater", configMap + "data: {a: '1'}"}),
	after("apply of what another says too", Request{"APPLY configmaps/$", configMap + "data: {a: '1'}"}, Request{"APPLY configmaps/$?fieldManager=other", configMap + "data: {a: '1'}"}),
	after("apply with a stale version", Request{"APPLY configmaps/$", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: $, resourceVersion: '1'}\ndata: {a: '2'}"}, Request{"APPLY configmaps/$", configMap + "data: {a: '1'}"}),
	one("apply with a version of nothing", "APPLY configmaps/$", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: $, resourceVersion: '1'}\ndata: {a: '2'}"),
	one("apply with a UID of nothing", "APPLY configmaps/$", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: $, uid: 11111111-2222-3333-4444-555555555555}\ndata: {a: '2'}"),
	after("apply with another's UID", Request{"APPLY configmaps/$", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: $, uid: 11111111-2222-3333-4444-555555555555}\ndata: {a: '2'}"}, Request{"APPLY configmaps/$", configMap}),
	after("apply with its UID", Request{"APPLY configmaps/$", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: $, uid: '{uid configmaps/$}'}\ndata: {a: '2'}"}, Request{"APPLY configmaps/$", configMap}),
	one("apply of an unknown field", "APPLY deployments/$?fieldValidation=Ignore", deployment+"        imagine: x\n"),
	one("apply of a wrong type", "APPLY deployments/$", deployment+"        env: [{name: A, value: 1}]\n"),
	one("apply of environment twice", "APPLY deployments/$", deployment+"        env: [{name: A, value: '1'}, {name: A, value: '2'}]\n"),
	one("apply of a port twice", "APPLY deployments/$", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: $}\nspec:\n  selector: {matchLabels: {a: b}}\n  template:\n    metadata: {labels: {a: b}}\n    spec: {containers: [{name: a, image: i, ports: [{containerPort: 80, protocol: TCP}, {containerPort: 80, protocol: TCP, name: x}]}]}\n"),
	one("apply of another name", "APPLY configmaps/$", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}"),
	one("apply of another version", "APPLY configmaps/$", "apiVersion: v2\nkind: ConfigMap\nmetadata: {name: $}"),
	one("apply of another kind", "APPLY configmaps/$", "apiVersion: v1\nkind: Secret\nmetadata: {name: $}"),
	one("apply with managed fields", "APPLY configmaps/$", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: $, managedFields: [{manager: x}]}"),
	one("apply dry", "APPLY configmaps/$?dryRun=All", configMap+"data: {a: '1'}"),
	after("a dry run leaves nothing", Request{"GET configmaps/$", ""}, Request{"APPLY configmaps/$?dryRun=All", configMap}),
	one("a dry run of something else", "APPLY configmaps/$?dryRun=Some", configMap),
	after("apply takes a list's item back", Request{"APPLY deployments/$", deployment}, Request{"APPLY deployments/$", deployment + "        env: [{name: A, value: '1'}]\n"}, Request{"SETTLED deployments/$", ""}),
	after("replicas are defaulted when their only owner leaves", Request{"APPLY deployments/$", noReplicas}, Request{"APPLY deployments/$", deployment}),
	after("scale takes the replicas over", Request{"MERGE deployments/$/scale?fieldManager=scaler", "spec: {replicas: 1}"}, Request{"APPLY deployments/$", deployment}, Request{"SETTLED deployments/$", ""}),
	after("who owns replicas after a scale", Request{"GET deployments/$", ""}, Request{"APPLY deployments/$", noReplicas}, Request{"MERGE deployments/$/scale?fieldManager=scaler", "spec: {replicas: 0}"}, Request{"SETTLED deployments/$", ""}),
	after("replicas that scale set", Request{"APPLY deployments/$", deployment}, Request{"APPLY deployments/$", noReplicas}, Request{"MERGE deployments/$/scale?fieldManager=scaler", "spec: {replicas: 2}"}),
	after("replicas of nobody that scale set", Request{"APPLY deployments/$", more}, Request{"APPLY deployments/$", noReplicas}, Request{"MERGE deployments/$/scale?fieldManager=scaler", "spec: {replicas: 2}"}),
	after("replicas that scale took", Request{"APPLY deployments/$", more}, Request{"APPLY deployments/$", deployment}, Request{"MERGE deployments/$/scale?fieldManager=scaler", "spec: {replicas: 2}"}),
	after("replicas that are left to scale", Request{"APPLY deployments/$", noReplicas}, Request{"APPLY deployments/$", deployment}, Request{"MERGE deployments/$/scale?fieldManager=scaler", "spec: {replicas: 2}"}, Request{"SETTLED deployments/$", ""}),
	after("replicas are handed over", Request{"APPLY deployments/$", noReplicas}, Request{"APPLY deployments/$", deployment},
		Request{"APPLY deployments/$?fieldManager=handover", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: $}\nspec: {replicas: 0}"}),
	one("scale of nothing", "MERGE deployments/$/scale", "spec: {replicas: 0}"),
	after("scale to less than nothing", Request{"MERGE deployments/$/scale", "spec: {replicas: -1}"}, Request{"APPLY deployments/$", deployment}),
	one("apply in a namespace that is not there", "APPLY deployments/$?force=true", ""),
	after("quantities are written one way", Request{"GET deployments/$", ""}, Request{"APPLY deployments/$", deployment + "        resources: {requests: {cpu: 1000m, memory: 1024Mi}, limits: {memory: 2048Mi}}\n"}, Request{"SETTLED deployments/$", ""}),
	after("a secret's strings", Request{"GET secrets/$", ""}, Request{"APPLY secrets/$", head("Secret") + "stringData: {a: b}"}, Request{"APPLY secrets/$", head("Secret")}),
	after("merge patch", Request{"MERGE configmaps/$", "data: {a: null, b: '2'}"}, Request{"APPLY configmaps/$", configMap + "data: {a: '1'}"}),
	after("JSON patch", Request{"JSON configmaps/$", "- {op: replace, path: /data/a, value: '3'}"}, Request{"APPLY configmaps/$", configMap + "data: {a: '1'}"}),
	after("JSON patch of nothing", Request{"JSON configmaps/$", "- {op: replace, path: /data/x/y, value: '3'}"}, Request{"APPLY configmaps/$", configMap + "data: {a: '1'}"}),
	after("strategic merge patch", Request{"STRATEGIC deployments/$", "spec: {template: {spec: {containers: [{name: server, image: server:2}]}}}"}, Request{"APPLY deployments/$", deployment}),
	after("an empty patch", Request{"MERGE configmaps/$", "{}"}, Request{"APPLY configmaps/$", configMap + "data: {a: '1'}"}),
	one("a patch of nothing", "MERGE configmaps/$", "data: {a: b}"),
	after("a patch with a stale version", Request{"MERGE configmaps/$", "metadata: {resourceVersion: '1'}\ndata: {a: b}"}, Request{"APPLY configmaps/$", configMap}),
}

// more is the deployment with other replicas than anybody else's.
var more = strings.Replace(deployment, "replicas: 0", "replicas: 3", 1)

const noReplicas = `apiVersion: apps/v1
kind: Deployment
metadata: {name: $}
spec:
  selector: {matchLabels: {app: $}}
  template:
    metadata: {labels: {app: $}}
    spec:
      containers:
      - name: server
        image: server:1
        ports: [{name: http, containerPort: 8080, protocol: TCP}]
`

// metaProbes are about names, labels and the writing of objects.
var metaProbes = []Probe{
	one("create", "POST configmaps", configMap+"data: {a: '1'}"),
	after("create again", Request{"POST configmaps", configMap}, Request{"POST configmaps", configMap}),
	one("create with an unknown field, strictly", "POST configmaps?fieldValidation=Strict", configMap+"dada: {a: '1'}"),
	one("create with an unknown field, warned", "POST configmaps", configMap+"dada: {a: '1'}"),
	one("create with an unknown field, ignored", "POST configmaps?fieldValidation=Ignore", configMap+"dada: {a: '1'}"),
	one("create with a wrong type", "POST configmaps", configMap+"data: {a: 1}"),
	one("create another kind", "POST configmaps", "apiVersion: v1\nkind: Secret\nmetadata: {name: $}"),
	one("create another version", "POST configmaps", "apiVersion: apps/v1\nkind: ConfigMap\nmetadata: {name: $}"),
	one("create in another namespace", "POST configmaps", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: $, namespace: other}"),
	one("create with a version", "POST configmaps", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: $, resourceVersion: '1'}"),
	one("create without a name", "POST configmaps", "apiVersion: v1\nkind: ConfigMap\nmetadata: {}"),
	one("create a bad name", "POST configmaps", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: A_b}"),
	one("create with a long label", "POST configmaps", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: $, labels: {a: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}}"),
	one("create with a bad label", "POST configmaps", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: $, labels: {'a b': 'c/d'}}"),
	one("create with an owner without UID", "POST configmaps", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: $, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: x}]}"),
	one("create with a bad key", "POST configmaps", configMap+"data: {'a b': '1'}"),
	one("create with a key twice", "POST configmaps", configMap+"data: {a: '1'}\nbinaryData: {a: MQ==}"),
	one("create in a namespace that is not there", "GET namespaces/nowhere", ""),
	one("an unknown resource", "POST nothings", configMap),
	one("an unknown resource of a known group", "GET pots/$", ""),
	one("an unknown resource of a custom group", "GET httproots/$", ""),
	one("a list of a version to come", "GET configmaps?resourceVersion=99999999&limit=0", ""),
	one("an unknown subresource", "GET configmaps/$/status", ""),
	one("a list with a bad field", "GET configmaps?fieldSelector=data.a%3D1", ""),
	one("a list with a bad selector", "GET configmaps?labelSelector=a+b", ""),
	after("update", Request{"PUT configmaps/$", configMap + "data: {a: '2'}"}, Request{"POST configmaps", configMap + "data: {a: '1'}"}),
	after("update nothing", Request{"PUT configmaps/$", configMap + "data: {a: '1'}"}, Request{"POST configmaps", configMap + "data: {a: '1'}"}),
	one("update what is not there", "PUT configmaps/$", configMap),
	after("update a stale version", Request{"PUT configmaps/$", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: $, resourceVersion: '1'}"}, Request{"POST configmaps", configMap}),
	after("update its version", Request{"PUT configmaps/$", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: $, resourceVersion: {rv configmaps/$}}\ndata: {b: '1'}"}, Request{"POST configmaps", configMap}),
	after("update another's UID", Request{"PUT configmaps/$", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: $, uid: 11111111-2222-3333-4444-555555555555}"}, Request{"POST configmaps", configMap}),
	after("update another name", Request{"PUT configmaps/$", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}"}, Request{"POST configmaps", configMap}),
	after("change what is immutable", Request{"APPLY configmaps/$", configMap + "immutable: true\ndata: {a: '2'}"}, Request{"APPLY configmaps/$", configMap + "immutable: true\ndata: {a: '1'}"}),
	after("make it mutable", Request{"MERGE configmaps/$", "immutable: false"}, Request{"APPLY configmaps/$", configMap + "immutable: true\ndata: {a: '1'}"}),
	after("label what is immutable", Request{"MERGE configmaps/$", "metadata: {labels: {a: b}}"}, Request{"APPLY configmaps/$", configMap + "immutable: true\ndata: {a: '1'}"}),
	one("create too much data", "POST configmaps", configMap+"data: {a: '"+strings.Repeat("a", 1<<20+1)+"'}"),
	one("create with too much said", "POST configmaps", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: $, annotations: {a: '"+strings.Repeat("a", 1<<18+1)+"'}}"),
	one("create beyond all bounds", "POST configmaps", configMap+"data: {a: '"+strings.Repeat("a", 3<<20)+"'}"),
	one("a secret of TLS without keys", "POST secrets", head("Secret")+"type: kubernetes.io/tls\ndata: {}"),
	after("change a secret's type", Request{"MERGE secrets/$", "type: other"}, Request{"POST secrets", head("Secret")}),
	one("create a namespace dry", "POST namespaces?dryRun=All", head("Namespace")),
	one("a service account", "POST serviceaccounts", head("ServiceAccount")),
}
