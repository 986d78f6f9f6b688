// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package parity

import "fmt"

// pod is a pod with something more in its container, and in its specification.
func pod(container, spec string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {generateName: $-}\nspec:\n  containers:\n  - name: server\n    image: server:1\n    %s\n  %s\n", container, spec)
}

func dryPod(name, container, spec string) Probe {
	return one(name, "POST pods?dryRun=All&fieldValidation=Strict", pod(container, spec))
}

// podProbes are about pods, as a plan's check makes them.
var podProbes = []Probe{
	dryPod("a pod", "", ""),
	dryPod("a pod without a token", "", "automountServiceAccountToken: false"),
	dryPod("a pod of a class that is not there", "", "priorityClassName: ml-high"),
	dryPod("a pod of a runtime that is not there", "", "runtimeClassName: nvidia"),
	dryPod("a pod of an account that is not there", "", "serviceAccountName: nosuch"),
	dryPod("a pod with an image volume", "volumeMounts: [{name: m, mountPath: /m}]", "volumes: [{name: m, image: {reference: a/b:1}}]"),
	dryPod("devices that differ", "resources: {limits: {nvidia.com/gpu: 1}, requests: {nvidia.com/gpu: 2}}", ""),
	dryPod("devices without a limit", "resources: {requests: {nvidia.com/gpu: 2}}", ""),
	dryPod("half a device", "resources: {limits: {nvidia.com/gpu: 500m}}", ""),
	dryPod("limits become requests", "resources: {limits: {cpu: '2', memory: 1Gi, nvidia.com/gpu: 1}}", ""),
	dryPod("more requested than the limit", "resources: {limits: {cpu: '1'}, requests: {cpu: '2'}}", ""),
	dryPod("a resource of no name", "resources: {limits: {gpu: '1'}}", ""),
	dryPod("a quantity below nothing", "resources: {limits: {cpu: '-1'}}", ""),
	dryPod("a bad quantity", "resources: {limits: {cpu: lots}}", ""),
	dryPod("a mount without a volume", "volumeMounts: [{name: m, mountPath: /m}]", ""),
	dryPod("two mounts at a place", "volumeMounts: [{name: m, mountPath: /m}, {name: m, mountPath: /m}]", "volumes: [{name: m}]"),
	dryPod("two volumes of a name", "", "volumes: [{name: m}, {name: m}]"),
	dryPod("a volume of two kinds", "", "volumes: [{name: m, emptyDir: {}, secret: {secretName: a}}]"),
	dryPod("a secret volume without a name", "", "volumes: [{name: m, secret: {}}]"),
	dryPod("volumes are defaulted", "", "volumes: [{name: m, emptyDir: {}}, {name: c, configMap: {name: x, items: [{key: a, path: b}]}}, {name: s, secret: {secretName: x}}, {name: p, projected: {sources: [{serviceAccountToken: {path: t}}]}}]"),
	dryPod("a bad port", "ports: [{containerPort: 70000}]", ""),
	dryPod("a port without a number", "ports: [{name: a}]", ""),
	dryPod("a bad port name", "ports: [{name: much-too-long-a-name, containerPort: 1}]", ""),
	dryPod("two ports of a name", "ports: [{name: a, containerPort: 1}, {name: a, containerPort: 2}]", ""),
	dryPod("a bad variable", "env: [{name: 'a=b', value: x}]", ""),
	dryPod("a variable of two sources", "env: [{name: a, value: x, valueFrom: {secretKeyRef: {name: a, key: b}}}]", ""),
	dryPod("a variable from a field", "env: [{name: a, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]", ""),
	dryPod("probes are defaulted", "readinessProbe: {httpGet: {port: 80}}\n    livenessProbe: {tcpSocket: {port: http}}\n    startupProbe: {exec: {command: [a]}}\n    lifecycle: {preStop: {sleep: {seconds: 10}}}", ""),
	dryPod("a probe without a handler", "readinessProbe: {periodSeconds: 3}", ""),
	dryPod("a probe of two handlers", "readinessProbe: {httpGet: {port: 80}, tcpSocket: {port: 80}}", ""),
	dryPod("a probe's bad port", "readinessProbe: {httpGet: {port: 0}}", ""),
	dryPod("a liveness that succeeds twice", "livenessProbe: {httpGet: {port: 80}, successThreshold: 2}", ""),
	dryPod("no image", "image: ''", ""),
	dryPod("a bad policy", "imagePullPolicy: Often", ""),
	dryPod("latest is always pulled", "image: server", ""),
	dryPod("two containers of a name", "", "initContainers: [{name: a, image: b}, {name: a, image: b}]"),
	dryPod("an init container with a probe", "", "initContainers: [{name: a, image: b, readinessProbe: {tcpSocket: {port: 1}}}]"),
	dryPod("a bad toleration", "", "tolerations: [{key: a, operator: Exists, value: b}]"),
	dryPod("a bad effect", "", "tolerations: [{key: a, operator: Exists, effect: Never}]"),
	dryPod("a bad spread", "", "topologySpreadConstraints: [{maxSkew: 0, whenUnsatisfiable: Maybe}]"),
	dryPod("an affinity to nothing", "", "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}}"),
	dryPod("a bad selector", "", "nodeSelector: {'a b': c}"),
	dryPod("a bad grace period", "", "terminationGracePeriodSeconds: -1"),
	dryPod("an unknown field of a pod", "imagine: x", ""),
	one("a pod without containers", "POST pods?dryRun=All", "apiVersion: v1\nkind: Pod\nmetadata: {name: $}\nspec: {containers: []}"),
}

func badDeployment(name, spec string) Probe {
	return one(name, "APPLY deployments/$?dryRun=All", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: $}\nspec:\n  replicas: 0\n  selector: {matchLabels: {app: $}}\n  template:\n    metadata: {labels: {app: $}}\n    spec: {containers: [{name: server, image: server:1}]}\n  "+spec+"\n")
}

// workloadProbes are about Deployments and what scales them.
var workloadProbes = []Probe{
	one("a deployment", "APPLY deployments/$", deployment),
	one("a deployment by POST", "POST deployments", deployment),
	badDeployment("no surge and none unavailable", "strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 0}}"),
	badDeployment("all unavailable", "strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 100%}}"),
	badDeployment("more than all unavailable", "strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 101%}}"),
	badDeployment("a bad percentage", "strategy: {rollingUpdate: {maxSurge: many}}"),
	badDeployment("a bad strategy", "strategy: {type: Sometimes}"),
	badDeployment("a deadline too soon", "minReadySeconds: 10\n  progressDeadlineSeconds: 10"),
	badDeployment("a deadline of nothing", "progressDeadlineSeconds: -1"),
	one("fewer than no replicas", "APPLY deployments/$?dryRun=All", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: $}\nspec: {replicas: -1, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: b}]}}}"),
	one("a selector that matches nothing", "APPLY deployments/$", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: $}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: c}}, spec: {containers: [{name: a, image: b}]}}}"),
	one("no selector", "APPLY deployments/$", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: $}\nspec: {template: {metadata: {labels: {a: c}}, spec: {containers: [{name: a, image: b}]}}}"),
	one("an empty selector", "APPLY deployments/$", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: $}\nspec: {selector: {}, template: {metadata: {labels: {a: c}}, spec: {containers: [{name: a, image: b}]}}}"),
	one("a template that does not restart", "APPLY deployments/$", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: $}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {restartPolicy: Never, containers: [{name: a, image: b}]}}}"),
	after("change the selector", Request{"MERGE deployments/$", "spec: {selector: {matchLabels: {x: z}}, template: {metadata: {labels: {x: z}}}}"}, Request{"APPLY deployments/$", deployment}),
	after("from rolling to recreating", Request{"APPLY deployments/$", deployment + "  strategy: {type: Recreate, rollingUpdate: null}\n"}, Request{"APPLY deployments/$", deployment}),
	after("a patch of a wrong type", Request{"MERGE deployments/$", "spec: {replicas: many}"}, Request{"APPLY deployments/$", deployment}),
	after("a changed annotation is a generation", Request{"MERGE deployments/$", "metadata: {annotations: {a: b}}"}, Request{"APPLY deployments/$", deployment}, Request{"SETTLED deployments/$", ""}),
	after("a changed label is none", Request{"MERGE deployments/$", "metadata: {labels: {a: b}}"}, Request{"APPLY deployments/$", deployment}),
	after("a changed image is one", Request{"APPLY deployments/$", deployment + "      terminationGracePeriodSeconds: 60\n"}, Request{"APPLY deployments/$", deployment}),
	one("status is not for a client", "POST deployments", deployment+"status: {replicas: 3}\n"),
	after("the scale", Request{"GET deployments/$/scale", ""}, Request{"APPLY deployments/$", deployment}, Request{"SETTLED deployments/$", ""}),
	one("an autoscaler", "APPLY horizontalpodautoscalers/$", hpa("minReplicas: 2, maxReplicas: 4, metrics: [{type: ContainerResource, containerResource: {name: cpu, container: server, target: {type: Utilization, averageUtilization: 70}}}]")),
	one("an autoscaler with a behavior", "APPLY horizontalpodautoscalers/$", hpa("maxReplicas: 4, behavior: {scaleDown: {stabilizationWindowSeconds: 60}}")),
	one("an autoscaler without metrics", "APPLY horizontalpodautoscalers/$", hpa("maxReplicas: 4")),
	one("an autoscaler to zero", "APPLY horizontalpodautoscalers/$", hpa("minReplicas: 0, maxReplicas: 4")),
	one("an autoscaler upside down", "APPLY horizontalpodautoscalers/$", hpa("minReplicas: 5, maxReplicas: 4")),
	one("an autoscaler without a bound", "APPLY horizontalpodautoscalers/$", hpa("minReplicas: 5")),
	one("an autoscaler of nothing", "APPLY horizontalpodautoscalers/$", "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: $}\nspec: {maxReplicas: 1, scaleTargetRef: {kind: '', name: ''}}"),
	one("an autoscaler with a bad metric", "APPLY horizontalpodautoscalers/$", hpa("maxReplicas: 4, metrics: [{type: Resource}, {type: Guess}, {type: Resource, resource: {name: cpu, target: {type: Utilization}}}, {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 0}}}]")),
	one("an autoscaler with a bad window", "APPLY horizontalpodautoscalers/$", hpa("maxReplicas: 4, behavior: {scaleUp: {stabilizationWindowSeconds: 4000, policies: [{type: Pods, value: 0, periodSeconds: 4000}]}}")),
	one("a budget", "APPLY poddisruptionbudgets/$", pdb("maxUnavailable: 1, unhealthyPodEvictionPolicy: AlwaysAllow")),
	one("a budget of two bounds", "APPLY poddisruptionbudgets/$", pdb("maxUnavailable: 1, minAvailable: 1")),
	one("a budget of a bad policy", "APPLY poddisruptionbudgets/$", pdb("maxUnavailable: 1, unhealthyPodEvictionPolicy: Never")),
	one("a budget of too much", "APPLY poddisruptionbudgets/$", pdb("maxUnavailable: 101%")),
	after("a budget by PUT without a version", Request{"PUT poddisruptionbudgets/$", pdb("maxUnavailable: 2")}, Request{"APPLY poddisruptionbudgets/$", pdb("maxUnavailable: 1")}),
}

func hpa(spec string) string {
	return "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: $}\nspec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: none}, " + spec + "}"
}

func pdb(spec string) string {
	return "apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: $}\nspec: {selector: {matchLabels: {app: $}}, " + spec + "}"
}

func svc(spec string) string { return head("Service") + "spec: {selector: {app: $}, " + spec + "}" }

// serviceProbes are about Services.
var serviceProbes = []Probe{
	one("a service", "APPLY services/$", svc("ports: [{name: http, port: 80, protocol: TCP, targetPort: http, appProtocol: http}]")),
	one("a service by POST", "POST services", svc("ports: [{port: 80}]")),
	one("a headless service", "APPLY services/$", svc("clusterIP: None, ports: [{port: 80, protocol: TCP}]")),
	one("a service without ports", "APPLY services/$", svc("ports: []")),
	one("a service of a bad name", "APPLY services/1x", "apiVersion: v1\nkind: Service\nmetadata: {name: 1x}\nspec: {ports: [{port: 80, protocol: TCP}]}"),
	one("a service of a bad port", "APPLY services/$", svc("ports: [{port: 70000, protocol: TCP}]")),
	one("a service of a bad target", "APPLY services/$", svc("ports: [{port: 80, protocol: TCP, targetPort: much-too-long-a-name}]")),
	one("ports without names", "APPLY services/$", svc("ports: [{port: 80, protocol: TCP}, {port: 81, protocol: TCP}]")),
	one("a port twice", "POST services", svc("ports: [{name: a, port: 80, protocol: TCP}, {name: b, port: 80, protocol: TCP}]")),
	one("a service of a bad type", "APPLY services/$", svc("type: Nothing, ports: [{port: 80, protocol: TCP}]")),
	after("change the address", Request{"MERGE services/$", "spec: {clusterIP: 10.96.77.77, clusterIPs: [10.96.77.77]}"}, Request{"APPLY services/$", svc("ports: [{port: 80, protocol: TCP}]")}),
	after("a service keeps its address", Request{"PUT services/$", svc("ports: [{port: 81, protocol: TCP}]")}, Request{"APPLY services/$", svc("ports: [{port: 80, protocol: TCP}]")}),
	after("a service applied again", Request{"APPLY services/$", svc("ports: [{port: 80, protocol: TCP}]")}, Request{"APPLY services/$", svc("ports: [{port: 80, protocol: TCP}]")}),
	after("the proxy finds nobody", Request{"GET services/http:$:80/proxy/x", ""}, Request{"APPLY services/$", svc("ports: [{name: http, port: 80, protocol: TCP}]")}, Request{"MADE endpoints/$", ""}),
	after("the proxy finds no port", Request{"GET services/http:$:99/proxy/x", ""}, Request{"APPLY services/$", svc("ports: [{name: http, port: 80, protocol: TCP}]")}, Request{"MADE endpoints/$", ""}),
	after("the proxy wants a port", Request{"GET services/$/proxy/x", ""}, Request{"APPLY services/$", svc("ports: [{name: http, port: 80, protocol: TCP}]")}, Request{"MADE endpoints/$", ""}),
	one("the proxy finds no service", "GET services/http:$:80/proxy/x", ""),
	one("the proxy finds no pod", "GET pods/http:$:80/proxy/x", ""),
	one("the log of nothing", "GET pods/$/log", ""),
}

// policyProbes are about NetworkPolicies and roles.
var policyProbes = []Probe{
	one("a policy", "APPLY networkpolicies/$", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: $}\nspec: {podSelector: {matchLabels: {a: b}}, ingress: [{from: [{namespaceSelector: {}}], ports: [{port: 8080}]}]}"),
	one("a policy both ways", "APPLY networkpolicies/$", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: $}\nspec: {podSelector: {}, egress: [{}]}"),
	one("a policy of no peer", "APPLY networkpolicies/$", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: $}\nspec: {podSelector: {}, ingress: [{from: [{}]}]}"),
	one("a policy of a bad block", "APPLY networkpolicies/$", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: $}\nspec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: here}}]}]}"),
	one("a policy of a bad port", "APPLY networkpolicies/$", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: $}\nspec: {podSelector: {}, ingress: [{ports: [{port: 70000}]}]}"),
	one("a policy of a bad type", "APPLY networkpolicies/$", "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: $}\nspec: {podSelector: {}, policyTypes: [Sideways]}"),
	one("a role", "APPLY roles/$", "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: $}\nrules: [{apiGroups: [ml.terraform.io], resources: [endpoints/invoke], resourceNames: [a], verbs: [create, get]}]"),
	one("a role without verbs", "APPLY roles/$", "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: $}\nrules: [{apiGroups: [''], resources: [pods]}]"),
	one("a role to nothing", "APPLY roles/$", "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: $}\nrules: [{verbs: [get]}]"),
	one("a binding", "APPLY rolebindings/$", "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: $}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: x}\nsubjects: [{kind: User, name: jane}, {kind: ServiceAccount, name: a, namespace: b}, {kind: Group, name: g}]"),
	one("a binding of a bad kind", "APPLY rolebindings/$", "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: $}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Thing, name: x}\nsubjects: [{kind: Robot, name: jane}]"),
	one("an account without a namespace", "APPLY rolebindings/$", "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: $}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: x}\nsubjects: [{kind: ServiceAccount, name: a}]"),
	after("bind another role", Request{"MERGE rolebindings/$", "roleRef: {name: z}"}, Request{"APPLY rolebindings/$", "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleBinding\nmetadata: {name: $}\nroleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: x}"}),
}
