// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/metadata"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
)

func TestForegroundDeletionLeavesNothing(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	root := c.mustApply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mle-fraud}")
	owner := fmt.Sprintf("metadata: {name: web, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: mle-fraud, uid: %s, blockOwnerDeletion: true}]}", root.GetUID())
	c.mustApply(strings.Replace(web, "metadata: {name: web}", owner, 1))
	c.mustApply(strings.Replace(webService, "metadata: {name: web}", owner, 1))
	c.seconds(100)
	foreground := metav1.DeletePropagationForeground
	uid := root.GetUID()
	if err := c.of("ConfigMap").Delete(t.Context(), "mle-fraud", metav1.DeleteOptions{PropagationPolicy: &foreground, Preconditions: &metav1.Preconditions{UID: &uid}}); err != nil {
		t.Fatal(err)
	}
	left := c.get("ConfigMap", "mle-fraud")
	want(t, left, "metadata.finalizers.0=foregroundDeletion")
	if left.GetDeletionTimestamp() == nil {
		t.Error("the root is not on its way out")
	}
	c.seconds(60)
	c.absent("ConfigMap", "mle-fraud")
	for _, kind := range []string{"Deployment", "ReplicaSet", "Pod", "Service", "EndpointSlice", "Endpoints"} {
		if all := c.list(kind, ""); len(all) > 0 {
			t.Errorf("%d of %s are left: %s", len(all), kind, all[0].GetName())
		}
	}
}

func TestChildOfAnotherUIDIsRemoved(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.mustApply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: root}")
	c.mustApply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: child, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: root, uid: 11111111-2222-3333-4444-555555555555}]}")
	c.get("ConfigMap", "child")
	c.seconds(2)
	c.absent("ConfigMap", "child")
}

func TestNamespaceDeletion(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.mustApply(web)
	c.seconds(100)
	if err := c.of("Namespace").Delete(t.Context(), ns, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	want(t, c.get("Namespace", ns), "status.phase=Terminating")
	_, err := c.create("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: late}")
	refuses(t, "a namespace on its way out takes nothing", err, http.StatusForbidden, metav1.StatusReasonForbidden, "unable to create new content in namespace ml because it is being terminated")
	c.seconds(120)
	c.absent("Namespace", ns)
	_, err = c.create("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: late}")
	refuses(t, "nor does one that is gone", err, http.StatusNotFound, metav1.StatusReasonNotFound, `namespaces "ml" not found`)
}

func TestListsPage(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	for i := range 5 {
		c.mustApply(fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m%d, labels: {odd: '%d'}}", i, i%2))
	}
	var names []string
	next := ""
	for pages := 0; pages == 0 || next != ""; pages++ {
		l, err := c.of("ConfigMap").List(t.Context(), metav1.ListOptions{Limit: 2, Continue: next})
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range l.Items {
			names = append(names, i.GetName())
		}
		next = l.GetContinue()
	}
	if got := fmt.Sprint(names); got != "[kube-root-ca.crt m0 m1 m2 m3 m4]" {
		t.Errorf("got %s", got)
	}
	if n := len(c.list("ConfigMap", "odd=1")); n != 2 {
		t.Errorf("%d are odd", n)
	}
	plain, err := metadata.NewForConfig(c.config)
	if err != nil {
		t.Fatal(err)
	}
	l, err := plain.Resource(resources["ConfigMap"]).List(t.Context(), metav1.ListOptions{LabelSelector: "odd=0"})
	if err != nil || len(l.Items) != 3 || l.Items[0].Labels["odd"] != "0" {
		t.Errorf("metadata only: %v, %v", l, err)
	}
	table := c.request(t.Context(), http.MethodGet, "/api/v1/configmaps", "", "Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	var rows metav1.Table
	if err := json.NewDecoder(table.Body).Decode(&rows); err != nil || len(rows.Rows) < 6 || rows.ColumnDefinitions[0].Name != "Name" {
		t.Errorf("a table of all namespaces has %d rows, %v", len(rows.Rows), err)
	}
}

func TestDiscovery(t *testing.T) {
	t.Parallel()
	c := newCluster(t, `{"version": "v1.35.1", "missing": ["serving.kserve.io"]}`)
	client, err := discovery.NewDiscoveryClientForConfig(c.config)
	if err != nil {
		t.Fatal(err)
	}
	v, err := client.ServerVersion()
	if err != nil || v.GitVersion != "v1.35.1" || v.Minor != "35" {
		t.Errorf("got %v, %v", v, err)
	}
	for _, legacy := range []bool{false, true} {
		client.UseLegacyDiscovery = legacy
		_, all, err := client.ServerGroupsAndResources()
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		for _, l := range all {
			for _, r := range l.APIResources {
				found[l.GroupVersion+" "+r.Name] = r.Namespaced
			}
		}
		for _, want := range []string{"apps/v1 deployments", "apps/v1 deployments/scale", "v1 pods/log", "gateway.networking.k8s.io/v1 httproutes"} {
			if !found[want] {
				t.Errorf("legacy %v: no %s", legacy, want)
			}
		}
		if _, served := found["serving.kserve.io/v1beta1 inferenceservices"]; served {
			t.Error("a group that is missing is served")
		}
	}
}

// next waits for an event, while time passes for the cluster.
func next(t *testing.T, w watch.Interface) (kind, name string, obj *unstructured.Unstructured) {
	t.Helper()
	e, ok := <-w.ResultChan()
	if !ok {
		t.Fatal("the watch has ended")
	}
	u, ok := e.Object.(*unstructured.Unstructured)
	if !ok {
		t.Fatalf("%s %v", e.Type, e.Object)
	}
	name = u.GetName()
	return string(e.Type), name, u
}

func TestWatchSeesOtherProcesses(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	other := openCluster(t, c.dir, c.clock)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c.mustApply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: before, labels: {a: b}}")
	l, err := other.of("ConfigMap").List(ctx, metav1.ListOptions{LabelSelector: "a=b"})
	if err != nil {
		t.Fatal(err)
	}
	w, err := other.of("ConfigMap").Watch(ctx, metav1.ListOptions{LabelSelector: "a=b", ResourceVersion: l.GetResourceVersion(), AllowWatchBookmarks: true})
	if err != nil {
		t.Fatal(err)
	}
	c.mustApply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other, labels: {a: c}}")
	c.mustApply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine, labels: {a: b}}")
	c.mustApply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine, labels: {a: b}}\ndata: {x: z}")
	c.mustApply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine, labels: {a: c}}")
	if err := c.of("ConfigMap").Delete(ctx, "before", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ADDED mine", "MODIFIED mine", "DELETED mine", "DELETED before"} {
		if kind, name, _ := next(t, w); kind+" "+name != want {
			t.Errorf("got %s %s, want %s", kind, name, want)
		}
	}
	// What the clock brings is seen too, though nobody writes.
	pods, err := other.of("Pod").Watch(ctx, metav1.ListOptions{FieldSelector: "status.phase=Running"})
	if err != nil {
		t.Fatal(err)
	}
	c.mustApply(web)
	c.seconds(100)
	if kind, _, pod := next(t, pods); kind != "ADDED" || pod.Object["status"].(map[string]any)["phase"] != string(corev1.PodRunning) {
		t.Errorf("got %s %v", kind, pod)
	}
}

func TestOldWatchesAreGone(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	u := object(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}")
	for i := range 110 {
		u.SetAnnotations(map[string]string{"n": fmt.Sprint(i)})
		if _, err := c.of("ConfigMap").Apply(t.Context(), "m", u, metav1.ApplyOptions{FieldManager: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	w, err := c.of("ConfigMap").Watch(t.Context(), metav1.ListOptions{ResourceVersion: "5"})
	if err != nil {
		t.Fatal(err)
	}
	e := <-w.ResultChan()
	if s, ok := e.Object.(*metav1.Status); !ok || e.Type != watch.Error || s.Code != http.StatusGone || s.Reason != metav1.StatusReasonExpired {
		t.Errorf("got %s %v", e.Type, e.Object)
	}
	// One that streams what there is begins with it, and says when that is over.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	yes := true
	w, err = c.of("ConfigMap").Watch(ctx, metav1.ListOptions{SendInitialEvents: &yes, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan, AllowWatchBookmarks: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"ADDED kube-root-ca.crt", "ADDED m", "BOOKMARK "} {
		if kind, name, _ := next(t, w); kind+" "+name != want {
			t.Errorf("got %s %s, want %s", kind, name, want)
		}
	}
}

// A directory is all that a cluster is: whoever opens it goes on.
func TestStateOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.fault = &fault.Fault{Action: fault.FailTransition}
	c.mustApply(web)
	c.seconds(20)
	again := openCluster(t, c.dir, c.clock)
	again.seconds(700)
	again.wantStates("web", "Available False MinimumReplicasUnavailable, Progressing False ProgressDeadlineExceeded, Failure <none>")
	// A day later nothing has piled up.
	again.seconds(86400)
	again.wantStates("web", "Available False MinimumReplicasUnavailable, Progressing False ProgressDeadlineExceeded, Failure <none>")
}

func TestBudgetHoldsEvictionsBack(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.mustApply(web)
	c.mustApply("apiVersion: policy/v1\nkind: PodDisruptionBudget\nmetadata: {name: web}\nspec: {maxUnavailable: 1, selector: {matchLabels: {app: web}}}")
	c.seconds(100)
	want(t, c.get("PodDisruptionBudget", "web"), "status.disruptionsAllowed=1", "status.currentHealthy=2", "status.expectedPods=2")
	all := c.list("Pod", "app=web")
	for i, code := range []int{http.StatusCreated, http.StatusTooManyRequests} {
		name := all[i].GetName()
		resp := c.request(t.Context(), http.MethodPost, "/api/v1/namespaces/ml/pods/"+name+"/eviction", `{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"`+name+`"}}`)
		if resp.StatusCode != code {
			t.Errorf("eviction %d is answered %s", i+1, resp.Status)
		}
		c.seconds(2)
	}
}
