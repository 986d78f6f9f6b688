// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package scenarios

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/mlplane/terraform-provider-ml/tests/kubetest"
)

var (
	policies    = schema.GroupVersionResource{Group: "networking.k8s.io", Version: "v1", Resource: "networkpolicies"}
	autoscalers = schema.GroupVersionResource{Group: "autoscaling", Version: "v2", Resource: "horizontalpodautoscalers"}
)

// scale does to a Deployment what an autoscaler does, and waits until it is done.
func (p *Platform) scale(t *testing.T, name string, n int) {
	t.Helper()
	data, err := json.Marshal(map[string]any{"spec": map[string]any{"replicas": n}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.of(t, kubetest.Deployments).Patch(t.Context(), name, types.MergePatchType, data, metav1.PatchOptions{FieldManager: "kube-controller-manager"}, "scale"); err != nil {
		t.Fatal(err)
	}
	p.eventually(t, "the number of replicas", func() (bool, error) {
		o, err := p.of(t, kubetest.Deployments).Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		ready, _, _ := unstructured.NestedInt64(o.Object, "status", "availableReplicas")
		return ready == int64(n), nil
	})
}

func replicas(o *unstructured.Unstructured) int64 {
	n, _, _ := unstructured.NestedInt64(o.Object, "spec", "replicas")
	return n
}

// gone waits until something has been collected.
func (p *Platform) gone(t *testing.T, kind schema.GroupVersionResource, name string) {
	t.Helper()
	p.eventually(t, "the end of "+name, func() (bool, error) {
		_, err := p.of(t, kind).Get(t.Context(), name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return true, nil
		}
		return false, err
	})
}

// drift changes what an endpoint consists of behind Terraform's back, and expects
// the plan to see it and the apply to mend it.
func drift(t *testing.T, p *Platform) {
	t.Helper()
	config := p.Provider() + p.Model(t, 1) + Endpoint(scaled, Open, `labels = { team = "risk" }`)
	mended := func(reason string, change func(), whole func() error) resource.TestStep {
		return resource.TestStep{Config: config, ConfigPlanChecks: updated(), PreConfig: func() { t.Log(reason); change() },
			Check: func(*tfstate) error { return whole() }}
	}
	exists := func(kind schema.GroupVersionResource, name func() string) func() error {
		return func() error {
			_, err := p.of(t, kind).Get(t.Context(), name(), metav1.GetOptions{})
			return err
		}
	}
	fraud := func() string { return "fraud" }
	workload := func() string { return p.workload(t).GetName() }
	owner := workload // of the autoscaler
	made := kubetest.Deployments
	if p.Serving == "kserve" {
		made = kubetest.Inference
		workload = func() string { return p.workload(t).GetLabels()["ml.terraform.io/deployment-id"] }
	}
	steps := []resource.TestStep{
		{Config: config},
		mended("a policy is deleted", func() { p.remove(t, policies, "fraud") }, exists(policies, fraud)),
		mended("the workload's image is changed", func() { p.setImage(t, made, workload(), "ml.test/pause:1") }, func() error { return p.serves(t) }),
		mended("the workload is deleted", func() {
			name, ran := workload(), p.workload(t).GetName()
			p.remove(t, made, name)
			p.gone(t, made, name)
			p.gone(t, kubetest.Deployments, ran)
		}, func() error { return p.serves(t) }),
	}
	if p.Serving == "deployment" { // KServe puts its own right itself
		steps = append(steps,
			mended("the autoscaler's bounds are changed", func() {
				p.patch(t, autoscalers, owner(), map[string]any{"spec": map[string]any{"maxReplicas": 9}})
			}, func() error {
				o, err := p.of(t, autoscalers).Get(t.Context(), owner(), metav1.GetOptions{})
				if most, _, _ := unstructured.NestedInt64(o.Object, "spec", "maxReplicas"); err == nil && most != 4 {
					err = fmt.Errorf("at most %d replicas", most)
				}
				return err
			}),
			mended("the autoscaler is deleted", func() { p.remove(t, autoscalers, owner()) }, exists(autoscalers, owner)))
	}
	run(t, steps...)
}

// setImage changes the image of the first container.
func (p *Platform) setImage(t *testing.T, kind schema.GroupVersionResource, name, image string) {
	t.Helper()
	o, err := p.of(t, kind).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	path := []string{"spec", "template", "spec", "containers"}
	if kind == kubetest.Inference {
		path = []string{"spec", "predictor", "containers"}
	}
	containers, _, _ := unstructured.NestedSlice(o.Object, path...)
	first, ok := containers[0].(map[string]any)
	if !ok {
		t.Fatalf("%s has no containers", name)
	}
	first["image"] = image
	if err := unstructured.SetNestedSlice(o.Object, containers, path...); err != nil {
		t.Fatal(err)
	}
	if _, err := p.of(t, kind).Update(t.Context(), o, metav1.UpdateOptions{FieldManager: "kubectl-set"}); err != nil {
		t.Fatal(err)
	}
}

// routeDrift changes who gets the requests.
func routeDrift(t *testing.T, p *Platform) {
	t.Helper()
	config := p.Provider() + p.Model(t, 1) + Endpoint(Small, Open)
	front := kubetest.Services
	edit := map[string]any{"spec": map[string]any{"selector": map[string]any{"app": "somebody-else"}}}
	if p.Gateway {
		front = kubetest.Routes
		edit = map[string]any{"spec": map[string]any{"rules": []any{map[string]any{"backendRefs": []any{map[string]any{"name": "somebody-else", "port": 80}}}}}}
	}
	run(t,
		resource.TestStep{Config: config},
		resource.TestStep{Config: config, ConfigPlanChecks: updated(), PreConfig: func() { p.patch(t, front, "fraud", edit) }, Check: func(*tfstate) error { return p.serves(t) }},
		resource.TestStep{Config: config, ConfigPlanChecks: updated(), PreConfig: func() { p.remove(t, front, "fraud") }, Check: func(*tfstate) error { return p.serves(t) }},
	)
}

// rootDrift deletes what everything else belongs to: the endpoint is gone, and made
// anew.
func rootDrift(t *testing.T, p *Platform) {
	t.Helper()
	config := p.Provider() + p.Model(t, 1) + Endpoint(Small)
	run(t,
		resource.TestStep{Config: config},
		resource.TestStep{Config: config, ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionCreate), PreConfig: func() {
			name := p.workload(t).GetName()
			p.remove(t, records, "mle-fraud")
			p.gone(t, kubetest.Deployments, name)
		}},
	)
}
