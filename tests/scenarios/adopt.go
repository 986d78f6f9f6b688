// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package scenarios

import (
	"fmt"
	"os"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
	"github.com/mlplane/terraform-provider-ml/tests/kubetest"
)

// imported is what the provider has made: the plan after its import is empty.
func imported(t *testing.T, p *Platform) {
	t.Helper()
	config := p.Provider() + p.Model(t, 1) + Endpoint(scaled+`env = { THREADS = "2" }`, `labels = { team = "risk" }`, `auth = { invokers = ["group:risk", "system:serviceaccount:callers:web"] }`)
	run(t,
		resource.TestStep{Config: config},
		resource.TestStep{ResourceName: theEndpoint, ImportState: true, ImportStateKind: resource.ImportBlockWithID, ImportStateId: p.id(""), Config: config},
		resource.TestStep{ResourceName: theEndpoint, ImportState: true, ImportStateId: p.id("-other"), Config: config, ExpectError: pattern("Cannot import non-existent remote object")},
	)
}

func (p *Platform) manifests(t *testing.T) []*unstructured.Unstructured {
	t.Helper()
	weights, err := os.ReadFile(acctest.Example(t, "quickstart/model/fraud-v1.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	return kubetest.HandMade(p.Namespace, "fraud", p.Image, weights, nil)
}

// made makes a Deployment and a Service by hand, and waits until they serve.
func (p *Platform) made(t *testing.T) {
	t.Helper()
	for _, o := range p.manifests(t) {
		if _, err := p.of(t, kubetest.KindOf(o)).Create(t.Context(), o, metav1.CreateOptions{FieldManager: "kubectl-create"}); err != nil {
			t.Fatal(err)
		}
	}
	p.eventually(t, "the hand-made Deployment", func() (bool, error) {
		o, err := p.of(t, kubetest.Deployments).Get(t.Context(), "fraud", metav1.GetOptions{})
		return err == nil && available(o) == 1, err
	})
}

const settingsByHand = "auth = { mode = \"none\" }\n  kubernetes = { serving = \"deployment\", pod_security = \"baseline\" }"

// byHand is the configuration of what made makes, given by its model.
func (p *Platform) byHand(model string) string {
	network := ""
	if p.Gateway { // through which it is not exposed
		network = `network = { access = "private", allowed_namespaces = ["*"] }`
	}
	return EndpointWith("main = {\n model = "+model+"\n "+Small+" }", settingsByHand, network)
}

// handMade adopts a live Deployment without touching it, and then moves its Service
// to a registered model.
func handMade(t *testing.T, p *Platform) {
	t.Helper()
	p.made(t)
	before, err := p.of(t, kubetest.Deployments).Get(t.Context(), "fraud", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	block := fmt.Sprintf("import {\n  to = ml_endpoint.fraud\n  id = %q\n}\n", p.id(""))
	run(t,
		resource.TestStep{Config: p.Provider() + block + p.byHand(fmt.Sprintf("%q", p.Image)), ConfigPlanChecks: changesNothing(), Check: func(*tfstate) error {
			after, err := p.of(t, kubetest.Deployments).Get(t.Context(), "fraud", metav1.GetOptions{})
			if err == nil && after.GetGeneration() != before.GetGeneration() {
				err = fmt.Errorf("the import changed the Deployment")
			}
			return err
		}},
		resource.TestStep{Config: p.Provider() + p.Model(t, 1) + p.byHand("ml_model.fraud.version_id"), ConfigPlanChecks: updated(),
			ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, main+"model_version", text("1"))}, Check: func(*tfstate) error { return p.serves(t) }},
	)
	for _, o := range p.manifests(t) {
		err := p.of(t, kubetest.KindOf(o)).Delete(t.Context(), o.GetName(), metav1.DeleteOptions{})
		if taken := o.GetKind() != "ConfigMap"; taken == (err == nil) {
			t.Errorf("the %s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
}

// notTakenOver: a creation never takes over what somebody else made.
func notTakenOver(t *testing.T, p *Platform) {
	t.Helper()
	p.made(t)
	run(t, resource.TestStep{Config: p.Provider() + p.Model(t, 1) + Endpoint(Small), ExpectError: pattern("exists already", "Import it into the ml_endpoint")})
}
