// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
)

// states are the deployment's conditions, in one line.
func (c *cluster) states(name string) string {
	c.t.Helper()
	d := c.get("Deployment", name)
	return fmt.Sprintf("Available %s, Progressing %s, Failure %s", condition(d, "Available"), condition(d, "Progressing"), condition(d, "ReplicaFailure"))
}

func (c *cluster) wantStates(name, want string) {
	c.t.Helper()
	if got := c.states(name); got != want {
		c.t.Errorf("%s: got  %s\nwant %s", name, got, want)
	}
}

func TestUpdateKeepsServing(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.mustApply(web)
	c.seconds(100)
	old := c.list("ReplicaSet", "")[0].GetName()
	c.mustApply(strings.Replace(web, "server:1", "server:2", 1))
	c.seconds(2)
	d := c.get("Deployment", "web")
	want(t, d, "metadata.generation=2", "status.observedGeneration=2", "status.updatedReplicas=1", "status.replicas=3", "status.availableReplicas=2")
	c.seconds(300)
	want(t, c.get("Deployment", "web"), "status.updatedReplicas=2", "status.replicas=2", "status.availableReplicas=2")
	want(t, c.get("ReplicaSet", old), "spec.replicas=0", "status.replicas=0")
	c.wantStates("web", "Available True MinimumReplicasAvailable, Progressing True NewReplicaSetAvailable, Failure <none>")
	// Back to a template that was there: its ReplicaSet is used again, as a new revision.
	c.mustApply(web)
	c.seconds(300)
	want(t, c.get("ReplicaSet", old), "spec.replicas=2")
	if got := c.get("ReplicaSet", old).GetAnnotations()["deployment.kubernetes.io/revision"]; got != "3" {
		t.Errorf("the old template is revision %s", got)
	}
	if n := len(c.list("ReplicaSet", "")); n != 2 {
		t.Errorf("%d ReplicaSets", n)
	}
}

func TestDeadlineIsStickyAfterRollback(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.mustApply(web)
	c.seconds(100)
	c.fault = &fault.Fault{Action: fault.FailTransition, Message: "out of memory"}
	c.mustApply(strings.Replace(web, "server:1", "server:2", 1))
	c.seconds(60)
	pod := c.failing("web")
	want(t, pod, "status.phase=Running", "status.containerStatuses.0.state.waiting.reason=CrashLoopBackOff", "status.containerStatuses.0.lastState.terminated.message=out of memory",
		"status.containerStatuses.0.lastState.terminated.exitCode=1")
	log := c.request(t.Context(), http.MethodGet, "/api/v1/namespaces/ml/pods/"+pod.GetName()+"/log?tailLines=1&previous=true", "")
	if text, _ := io.ReadAll(log.Body); string(text) != "out of memory\n" {
		t.Errorf("the log ends with %q", text)
	}
	c.seconds(700)
	c.wantStates("web", "Available True MinimumReplicasAvailable, Progressing False ProgressDeadlineExceeded, Failure <none>")
	c.mustApply(web)
	c.seconds(2)
	d := c.get("Deployment", "web")
	want(t, d, "status.observedGeneration=3", "status.availableReplicas=2")
	c.seconds(30)
	want(t, c.get("Deployment", "web"), "status.updatedReplicas=2", "status.replicas=2")
}

// failing is the pod of a deployment that is not ready.
func (c *cluster) failing(name string) *unstructured.Unstructured {
	c.t.Helper()
	for _, p := range c.list("Pod", "app="+name) {
		if condition(&p, "Ready") != "True" {
			return &p
		}
	}
	c.t.Fatalf("every pod of %s is ready", name)
	return nil
}

func TestWaysToFail(t *testing.T) {
	t.Parallel()
	for _, f := range []struct{ mode, message, waiting, event string }{
		{"", "no such file", "CrashLoopBackOff", "Back-off restarting failed container"},
		{"image", "pull access denied", "ImagePullBackOff", "pull access denied"},
		{"unready", "HTTP probe failed with statuscode: 500", "<none>", "Readiness probe failed: HTTP probe failed with statuscode: 500"},
	} {
		c := newCluster(t)
		c.fault = &fault.Fault{Action: fault.FailTransition, Mode: f.mode, Message: f.message}
		c.mustApply(web)
		c.seconds(100)
		pod := c.failing("web")
		want(t, pod, "status.containerStatuses.0.state.waiting.reason="+f.waiting)
		if !c.event(string(pod.GetUID()), f.event) {
			t.Errorf("%s: no event says %q", f.mode, f.event)
		}
		c.seconds(700)
		c.wantStates("web", "Available False MinimumReplicasUnavailable, Progressing False ProgressDeadlineExceeded, Failure <none>")
		c.mustApply(strings.Replace(web, "server:1", "server:2", 1)) // without a fault it works
		c.seconds(300)
		c.wantStates("web", "Available True MinimumReplicasAvailable, Progressing True NewReplicaSetAvailable, Failure <none>")
	}
}

// event reports whether an event about a UID contains words.
func (c *cluster) event(uid, words string) bool {
	c.t.Helper()
	l, err := c.of("Event").List(c.t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.uid=" + uid})
	if err != nil {
		c.t.Fatal(err)
	}
	for i := range l.Items {
		if strings.Contains(value(&l.Items[i], "message"), words) {
			return true
		}
	}
	return false
}

func TestPodsAreRefused(t *testing.T) {
	t.Parallel()
	for _, f := range []struct{ why, spec, words, remedy string }{
		{"no account", "serviceAccountName: nosuch", `error looking up service account ml/nosuch: serviceaccount "nosuch" not found`, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: nosuch}"},
		{"no class", "priorityClassName: ml-high", "no PriorityClass with name ml-high was found", "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: ml-high}\nvalue: 5"},
	} {
		c := newCluster(t)
		c.mustApply(web + "      " + f.spec + "\n")
		c.seconds(5)
		c.wantStates("web", "Available False MinimumReplicasUnavailable, Progressing True NewReplicaSetCreated, Failure True FailedCreate")
		if got := fmt.Sprint(c.get("Deployment", "web").Object["status"]); !strings.Contains(got, f.words) {
			t.Errorf("%s: got %s", f.why, got)
		}
		c.mustApply(f.remedy)
		c.seconds(200)
		c.wantStates("web", "Available True MinimumReplicasAvailable, Progressing True NewReplicaSetAvailable, Failure <none>")
	}
}

func TestQuotaAndPodSecurity(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.mustApply("apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: q}\nspec: {hard: {requests.nvidia.com/gpu: '1'}}")
	gpus := strings.Replace(web, "image: server:1", "image: server:1\n        resources: {limits: {nvidia.com/gpu: 4}}", 1)
	_, err := c.create(strings.Replace(probe, "{}", "{limits: {nvidia.com/gpu: 4}}", 1))
	refuses(t, "a plan's probe meets the quota", err, http.StatusForbidden, metav1.StatusReasonForbidden, "exceeded quota: q, requested: requests.nvidia.com/gpu=4, used: requests.nvidia.com/gpu=0, limited: requests.nvidia.com/gpu=1")
	c.mustApply(gpus)
	c.seconds(5)
	if got := fmt.Sprint(c.get("Deployment", "web").Object["status"]); !strings.Contains(got, "exceeded quota: q") {
		t.Errorf("got %s", got)
	}
	_, err = c.of("Namespace").Patch(t.Context(), ns, types.MergePatchType, []byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.of("Namespace").Patch(t.Context(), ns, types.MergePatchType, []byte(`{"metadata":{"labels":{"pod-security.kubernetes.io/warn":"baseline"}}}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	told := c.request(t.Context(), http.MethodPatch, "/apis/apps/v1/namespaces/ml/deployments/web?fieldManager=x&dryRun=All", `{"spec":{"template":{"spec":{"hostNetwork":true}}}}`, "Content-Type", "application/merge-patch+json")
	if got := told.Header.Get("Warning"); told.StatusCode != http.StatusOK || got != `299 - "would violate PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)"` {
		t.Errorf("a deployment that the standard is against: %s, %s", told.Status, got)
	}
	_, err = c.create(probe)
	refuses(t, "a plan's probe meets the standard", err, http.StatusForbidden, metav1.StatusReasonForbidden, `violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "server" must set securityContext.allowPrivilegeEscalation=false), `+
		`unrestricted capabilities (container "server" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "server" must set securityContext.runAsNonRoot=true), `+
		`seccompProfile (pod or container "server" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")`)
}

const probe = "apiVersion: v1\nkind: Pod\nmetadata: {generateName: probe-}\nspec: {containers: [{name: server, image: i, resources: {}}]}"

func TestSchedulerLooksForRoom(t *testing.T) {
	t.Parallel()
	c := newCluster(t, `{"nodes": [{"name": "a", "resources": {"cpu": "4", "memory": "8Gi"}}, {"name": "b", "labels": {"nvidia.com/gpu.product": "NVIDIA-L4"}, "resources": {"cpu": "4", "memory": "8Gi", "nvidia.com/gpu": "1"}, "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]}]}`)
	on := func(app, container, spec string) string {
		text := strings.ReplaceAll(web, "web", app)
		text = strings.Replace(text, "replicas: 2", "replicas: 1", 1)
		return strings.Replace(text, "image: server:1", "image: server:1\n        resources: "+container, 1) + "      " + spec + "\n"
	}
	for _, f := range []struct{ app, container, spec, words string }{
		{"untolerated", "{limits: {nvidia.com/gpu: 1}}", "", "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint {nvidia.com/gpu: present}."},
		{"elsewhere", "{}", "nodeSelector: {zone: moon}", "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint"},
		{"large", "{requests: {cpu: '5'}}", "", "1 Insufficient cpu"},
	} {
		c.mustApply(on(f.app, f.container, f.spec))
		c.seconds(100)
		pod := c.failing(f.app)
		want(t, pod, "status.phase=Pending", "spec.nodeName=<none>")
		if got := condition(pod, "PodScheduled"); got != "False Unschedulable" || !c.event(string(pod.GetUID()), f.words) {
			t.Errorf("%s: %s, and no event says %q", f.app, got, f.words)
		}
	}
	tolerates := "tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]"
	c.mustApply(on("one", "{limits: {nvidia.com/gpu: 1}}", tolerates+"\n      affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: nvidia.com/gpu.product, operator: In, values: [NVIDIA-L4]}]}]}}}"))
	c.seconds(100)
	want(t, &c.list("Pod", "app=one")[0], "spec.nodeName=b")
	// The GPU is taken, and surge waits for it for ever.
	c.mustApply(strings.Replace(on("one", "{limits: {nvidia.com/gpu: 1}}", tolerates), "server:1", "server:2", 1))
	c.seconds(100)
	if got := condition(c.failing("one"), "PodScheduled"); got != "False Unschedulable" {
		t.Errorf("the second pod with a GPU is %s", got)
	}
	if err := c.of("Deployment").Delete(t.Context(), "one", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.seconds(60)
	c.mustApply(on("two", "{limits: {nvidia.com/gpu: 1}}", tolerates))
	c.seconds(100)
	want(t, &c.list("Pod", "app=two")[0], "spec.nodeName=b")
}

func TestMissingConfigurationIsNamed(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.mustApply(strings.Replace(web, "image: server:1", "image: server:1\n        env: [{name: KEY, valueFrom: {secretKeyRef: {name: s, key: k}}}, {name: MAYBE, valueFrom: {secretKeyRef: {name: none, key: k, optional: true}}}]", 1))
	c.seconds(100)
	want(t, c.failing("web"), "status.containerStatuses.0.state.waiting.reason=CreateContainerConfigError", `status.containerStatuses.0.state.waiting.message=secret "s" not found`)
	c.mustApply("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {other: eA==}")
	c.seconds(5)
	want(t, c.failing("web"), "status.containerStatuses.0.state.waiting.message=couldn't find key k in Secret ml/s")
	c.mustApply("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {k: eA==}")
	c.seconds(100)
	c.wantStates("web", "Available True MinimumReplicasAvailable, Progressing True NewReplicaSetAvailable, Failure <none>")
}

func TestKilledPodIsReplaced(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.mustApply(web)
	c.seconds(100)
	first := c.list("Pod", "app=web")[0]
	if err := c.of("Pod").Delete(t.Context(), first.GetName(), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.seconds(2)
	if n := len(c.list("Pod", "app=web")); n != 3 {
		t.Errorf("%d pods: one goes, one stays, one comes", n)
	}
	c.seconds(100)
	c.absent("Pod", first.GetName())
	want(t, c.get("Deployment", "web"), "status.availableReplicas=2")
}

func TestAutoscalerHoldsTheBounds(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.mustApply(web)
	c.seconds(100)
	c.mustApply("apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\nspec: {minReplicas: 3, maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}, metrics: [{type: ContainerResource, containerResource: {name: cpu, container: server, target: {type: Utilization, averageUtilization: 70}}}]}")
	c.seconds(2)
	d := c.get("Deployment", "web")
	want(t, d, "spec.replicas=3", "metadata.generation=2")
	owner := ""
	for _, f := range d.GetManagedFields() {
		if f.Subresource == "scale" {
			owner = f.Manager + " " + f.FieldsV1.GetRawString()
		}
	}
	if owner != `kube-controller-manager {"f:spec":{"f:replicas":{}}}` {
		t.Errorf("the replicas are %s's", owner)
	}
	_, err := c.apply(web)
	refuses(t, "the autoscaler owns the replicas", err, http.StatusConflict, metav1.StatusReasonConflict, `conflict with "kube-controller-manager" with subresource "scale" using apps/v1: .spec.replicas`)
	c.seconds(100)
	h := c.get("HorizontalPodAutoscaler", "web")
	want(t, h, "status.currentReplicas=3", "status.desiredReplicas=3")
	if got := condition(h, "ScalingActive") + ", " + condition(h, "AbleToScale"); got != "True ValidMetricFound, True ReadyForNewScale" {
		t.Errorf("got %s", got)
	}
	blind := newCluster(t, `{"missing": ["metrics.k8s.io"]}`)
	blind.mustApply(web)
	blind.mustApply("apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: web}\nspec: {maxReplicas: 5, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}}")
	blind.seconds(100)
	if got := condition(blind.get("HorizontalPodAutoscaler", "web"), "ScalingActive"); got != "False FailedGetResourceMetric" {
		t.Errorf("without a metrics server: %s", got)
	}
}

// A deployment that is made anew before the ReplicaSet of its predecessor is collected
// gets one of another name.
func TestReplicaSetOfBefore(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.mustApply(web)
	c.seconds(100)
	old := c.list("ReplicaSet", "")[0].GetName()
	background := metav1.DeletePropagationBackground
	if err := c.of("Deployment").Delete(t.Context(), "web", metav1.DeleteOptions{PropagationPolicy: &background}); err != nil {
		t.Fatal(err)
	}
	c.mustApply(web)
	c.seconds(100)
	want(t, c.get("Deployment", "web"), "status.observedGeneration=1", "status.availableReplicas=2", "status.collisionCount=1")
	if sets := c.list("ReplicaSet", ""); len(sets) != 1 || sets[0].GetName() == old {
		t.Errorf("%d ReplicaSets, the first of them %s, after %s", len(sets), sets[0].GetName(), old)
	}
}
