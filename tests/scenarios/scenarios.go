// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package scenarios are what users of ml_model and ml_endpoint on Kubernetes go
// through, with the real terraform, on whatever cluster it is given: the emulator,
// or a real one.
package scenarios

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
	"github.com/mlplane/terraform-provider-ml/internal/wait"
	"github.com/mlplane/terraform-provider-ml/tests/kubetest"
)

// Platform is an empty namespace of a cluster.
type Platform struct {
	REST      *rest.Config // of an administrator
	Namespace string
	Provider  func(more ...string) string // the provider's configuration, which may say more
	Serving   string                      // how that configuration serves
	Image     string                      // of a model server for ONNX
	Gateway   bool                        // endpoints are exposed through one
	Extended  bool                        // and it can mirror requests, and end them after a time
	// Crash has pods end with that reason, Stall has them never get ready.
	Crash func(reason string) Fault
	Stall Fault
}

// Fault makes the pods of the next new deployment fail.
type Fault struct {
	Config string             // belongs into the deployment
	Arm    func(t *testing.T) // right before; may be nil
}

func (f *Fault) arm(t *testing.T) func() {
	t.Helper()
	return func() {
		if f.Arm != nil {
			f.Arm(t)
		}
	}
}

// Models goes through the scenarios of models, each on a platform of its own.
func Models(t *testing.T, open func(t *testing.T) *Platform) {
	t.Helper()
	each(t, open, map[string]func(*testing.T, *Platform){"model": model, "versions": versions, "model import": modelImport, "model drift": modelDrift})
}

// Endpoints goes through the scenarios of endpoints, each on a platform of its own.
func Endpoints(t *testing.T, open func(t *testing.T) *Platform) {
	t.Helper()
	each(t, open, map[string]func(*testing.T, *Platform){
		"updates": updates, "rollout": rollout, "several deployments": several, "replacement": replacement, "labels": labels, "unknown": unknown,
		"refusals": refusals, "approval": approval,
		"rolled back": rolledBack, "failed creation": failedCreation, "timeout": timeout, "smoke test": smokeTest,
		"drift": drift, "route drift": routeDrift, "root drift": rootDrift, "live count": liveCount,
		"import": imported, "hand-made": handMade, "not taken over": notTakenOver,
	})
}

func each(t *testing.T, open func(t *testing.T) *Platform, all map[string]func(*testing.T, *Platform)) {
	t.Helper()
	for name, scenario := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := open(t)
			scenario(t, p)
			p.empty(t)
		})
	}
}

const (
	theModel    = "ml_model.fraud"
	theEndpoint = "ml_endpoint.fraud"
	main        = "deployments.main."

	larger = "compute = { cpu = 0.03, memory_gib = 0.125 }\n"
	scaled = Small + "scaling = {\n min = 1\n max = 4\n metrics = [{ type = \"cpu\", target = 60 }]\n}\n"
)

// Parts of configurations: the compute of a deployment that fits any machine, and an
// endpoint that answers anybody.
const (
	Small = "compute = { cpu = 0.02, memory_gib = 0.0625 }\n"
	Open  = "auth = { mode = \"none\" }"
)

var (
	run, has, plans, changesNothing = acctest.Run, acctest.Has, acctest.Plans, acctest.ChangesNothing
	knows, leavesOpen, pattern      = acctest.Knows, acctest.LeavesOpen, acctest.Pattern
	text                            = knownvalue.StringExact
)

func number(n int64) knownvalue.Check { return knownvalue.Int64Exact(n) }

// Model is the configuration of ml_model.fraud with one of the examples' artifacts.
func (p *Platform) Model(t *testing.T, version int, more ...string) string {
	t.Helper()
	return p.served(t, version, "", more...)
}

func (p *Platform) served(t *testing.T, version int, serving string, more ...string) string {
	t.Helper()
	file := acctest.Example(t, fmt.Sprintf("quickstart/model/fraud-v%d.onnx", version))
	return fmt.Sprintf("resource \"ml_model\" \"fraud\" {\n  platform = \"kubernetes\"\n  name = \"fraud\"\n  artifact = { uri = %q, format = \"onnx\" }\n"+
		"  serving = {\n image = %q\n protocol = \"v2\"\n %s }\n  %s\n}\n", file, p.Image, serving, strings.Join(more, "\n  "))
}

// Endpoint is the configuration of ml_endpoint.fraud with one deployment.
func Endpoint(deployment string, more ...string) string {
	return EndpointWith("main = {\n model = ml_model.fraud.version_id\n "+deployment+"\n }", more...)
}

// EndpointWith is one with any deployments.
func EndpointWith(deployments string, more ...string) string {
	return fmt.Sprintf("resource \"ml_endpoint\" \"fraud\" {\n  platform = \"kubernetes\"\n  name = \"fraud\"\n  deployments = {\n%s\n}\n  %s\n}\n", deployments, strings.Join(more, "\n  "))
}

func step(config string, checks resource.ConfigPlanChecks) resource.TestStep {
	return resource.TestStep{Config: config, ConfigPlanChecks: checks}
}

func updated(more ...plancheck.PlanCheck) resource.ConfigPlanChecks {
	return plans(theEndpoint, plancheck.ResourceActionUpdate, more...)
}

func (p *Platform) client(t *testing.T) dynamic.Interface {
	t.Helper()
	c, err := dynamic.NewForConfig(p.REST)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (p *Platform) of(t *testing.T, kind schema.GroupVersionResource) dynamic.ResourceInterface {
	t.Helper()
	return p.client(t).Resource(kind).Namespace(p.Namespace)
}

// empty fails the test if anything of the provider's is left.
func (p *Platform) empty(t *testing.T) {
	t.Helper()
	left, err := kubetest.Left(context.WithoutCancel(t.Context()), p.client(t), p.Namespace)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("left behind: %s", strings.Join(left, ", "))
	}
}

// workload is the Deployment whose pods are of the deployment "main".
func (p *Platform) workload(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	list, err := p.of(t, kubetest.Deployments).List(t.Context(), metav1.ListOptions{LabelSelector: "ml.terraform.io/endpoint=fraud,ml.terraform.io/deployment=main"})
	if err != nil {
		t.Fatal(err)
	}
	var live []unstructured.Unstructured
	for _, o := range list.Items {
		if o.GetDeletionTimestamp() == nil {
			live = append(live, o)
		}
	}
	if len(live) != 1 {
		t.Fatalf("%d Deployments are of the deployment main", len(live))
	}
	return &live[0]
}

// patch edits an object, as a person with kubectl would.
func (p *Platform) patch(t *testing.T, kind schema.GroupVersionResource, name string, edit map[string]any) {
	t.Helper()
	data, err := json.Marshal(edit)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.of(t, kind).Patch(t.Context(), name, types.MergePatchType, data, metav1.PatchOptions{FieldManager: "kubectl-edit"}); err != nil {
		t.Fatal(err)
	}
}

func (p *Platform) remove(t *testing.T, kind schema.GroupVersionResource, name string) {
	t.Helper()
	background := metav1.DeletePropagationBackground
	if err := p.of(t, kind).Delete(t.Context(), name, metav1.DeleteOptions{PropagationPolicy: &background}); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for what controllers do.
func (p *Platform) eventually(t *testing.T, what string, done func() (bool, error)) {
	t.Helper()
	began := time.Now()
	for {
		ok, err := done()
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			return
		}
		if time.Since(began) > 2*time.Minute {
			t.Fatalf("%s does not come about", what)
		}
		if err := (wait.Real{}).Sleep(t.Context(), 100*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
}
