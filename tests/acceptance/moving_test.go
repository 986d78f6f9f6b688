// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package acceptance_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
	"github.com/hashicorp/terraform-plugin-testing/compare"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"
	"github.com/hashicorp/terraform-plugin-testing/tfjsonpath"
	"k8s.io/client-go/kubernetes"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
)

// everywhere is a provider that has all platforms.
func everywhere(r *acctest.Rehearsal) string {
	return fmt.Sprintf(`provider "ml" {
  sagemaker  = { region = %q }
  vertex_ai  = { project = %q, region = %q }
  kubernetes = { namespace = "ml" }
  rehearsal  = { state_dir = %q }
}
`, acctest.Region, acctest.GoogleProject, acctest.GoogleRegion, r.Dir)
}

const theSource, theMoved = "ml_model.source", "ml_model.moved"

// source is a model that has its artifact from a file.
func source(on, file string, more ...string) string {
	return fmt.Sprintf("resource \"ml_model\" \"source\" {\n platform = %q\n name = \"fraud\"\n artifact = { uri = %q, format = \"onnx\" }\n %s\n}\n", on, file, strings.Join(more, "\n "))
}

// moved is a model that has its artifact from elsewhere. uri is an expression.
func moved(on, uri string, more ...string) string {
	return fmt.Sprintf("resource \"ml_model\" \"moved\" {\n platform = %q\n name = \"moved\"\n artifact = { uri = %s, format = \"onnx\", %s }\n}\n", on, uri, strings.Join(more, ", "))
}

// served is an endpoint that serves the moved model, and answers anybody who may.
func served(on string) string {
	auth := ""
	if on == "kubernetes" {
		auth = `auth = { mode = "none" }`
	}
	return fmt.Sprintf("resource \"ml_endpoint\" \"fraud\" {\n platform = %q\n name = \"fraud\"\n deployments = { main = { model = ml_model.moved.version_id, compute = { cpu = 2, memory_gib = 8 } } }\n %s\n}\n", on, auth)
}

const transaction = `{"inputs":[{"name":"features","shape":[1,4],"datatype":"FP32","data":[412.5,3,0.82,1]}]}`

// predicts asks the endpoint on a platform, with that platform's client.
func predicts(t *testing.T, r *acctest.Rehearsal, on string, want float64) resource.TestCheckFunc {
	t.Helper()
	return func(*terraform.State) error {
		data, err := predict(t, r, on)
		var answer struct{ Outputs []struct{ Data []float64 } }
		if err == nil {
			err = json.Unmarshal(data, &answer)
		}
		if err != nil || len(answer.Outputs) != 1 || len(answer.Outputs[0].Data) != 1 || math.Abs(answer.Outputs[0].Data[0]-want) > 1e-5 {
			return fmt.Errorf("the endpoint on %s answers %s, %w; want %v", on, data, err, want)
		}
		return nil
	}
}

func predict(t *testing.T, r *acctest.Rehearsal, on string) ([]byte, error) {
	t.Helper()
	switch on {
	case "sagemaker":
		out, err := r.Runtime().InvokeEndpoint(t.Context(), &sagemakerruntime.InvokeEndpointInput{EndpointName: aws.String("fraud"), ContentType: aws.String("application/json"), Body: []byte(transaction)})
		if err != nil {
			return nil, err
		}
		return out.Body, nil
	case "vertex_ai":
		return json.Marshal(r.Vertex(t, http.MethodPost, "endpoints/fraud:rawPredict", json.RawMessage(transaction)))
	}
	client, err := kubernetes.NewForConfig(r.Kubernetes(t, "ml"))
	if err != nil {
		return nil, err
	}
	return client.CoreV1().RESTClient().Post().AbsPath("/api/v1/namespaces/ml/services/http:fraud:80/proxy/v2/models/moved/infer").
		SetHeader("Content-Type", "application/json").Body([]byte(transaction)).DoRaw(t.Context())
}

// The scores of the examples' models, which internal/onnx computes by hand.
const firstScore, secondScore = 0.325189707, 0.228957580

// TestMovedModel registers a model on one platform, and serves the same bytes on
// another: in every direction, in one apply and, when there is a new version, in the
// next. The framework expects an empty plan after each.
func TestMovedModel(t *testing.T) {
	t.Parallel()
	platforms := []string{"sagemaker", "kubernetes", "vertex_ai"}
	for _, from := range platforms {
		for _, to := range platforms {
			if from == to {
				continue
			}
			t.Run(from+" to "+to, func(t *testing.T) {
				t.Parallel()
				r := acctest.NewRehearsal(t)
				same := statecheck.CompareValuePairs(theSource, tfjsonpath.New("digest"), theMoved, tfjsonpath.New("digest"), compare.ValuesSame())
				config := func(version string) string {
					return everywhere(r) + source(from, acctest.Example(t, "quickstart/model/fraud-"+version+".onnx")) + moved(to, "ml_model.source.version_id") + served(to)
				}
				run(t,
					resource.TestStep{Config: config("v1"), Check: predicts(t, r, to, firstScore), ConfigStateChecks: []statecheck.StateCheck{same},
						ConfigPlanChecks: plans(theMoved, plancheck.ResourceActionCreate, leavesOpen(theMoved, "digest"), leavesOpen(theMoved, "version_id"))},
					resource.TestStep{Config: config("v2"), Check: predicts(t, r, to, secondScore), ConfigStateChecks: []statecheck.StateCheck{same},
						ConfigPlanChecks: plans(theMoved, plancheck.ResourceActionUpdate, leavesOpen(theMoved, "version_id"))},
				)
			})
		}
	}
}

// TestMovedBytesAreTheSame changes where the bytes are named, and nothing else.
func TestMovedBytesAreTheSame(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	file := acctest.Model(t, "one")
	from := everywhere(r) + source("sagemaker", file)
	const first, digest = `"sagemaker/eu-west-1/fraud@1"`, "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
	nothing := resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{plancheck.ExpectResourceAction(theMoved, plancheck.ResourceActionNoop)}}
	run(t,
		resource.TestStep{Config: from},
		resource.TestStep{Config: from + moved("vertex_ai", first), // of a version that is there, the plan knows the digest
			ConfigPlanChecks:  plans(theMoved, plancheck.ResourceActionCreate, knows(theMoved, "digest", digest), leavesOpen(theMoved, "version_id")),
			ConfigStateChecks: []statecheck.StateCheck{has(theMoved, "artifact.uri", text("sagemaker/eu-west-1/fraud@1")), has(theMoved, "version", text("1"))}},
		resource.TestStep{Config: from + moved("vertex_ai", "ml_model.source.version_id"), ConfigPlanChecks: changesNothing()},
		resource.TestStep{Config: from + moved("vertex_ai", fmt.Sprintf("%q", acctest.Model(t, "one"))), ConfigPlanChecks: changesNothing()},
		// A new version with the same bytes: told the digest, the plan knows that nothing moves.
		resource.TestStep{Config: everywhere(r) + source("sagemaker", file, `serving = { env = { THREADS = "2" } }`) + moved("vertex_ai", "ml_model.source.version_id", "sha256 = ml_model.source.digest"),
			ConfigPlanChecks: nothing, ConfigStateChecks: []statecheck.StateCheck{has(theSource, "version", text("2")), has(theMoved, "version", text("1"))}},
		// The version is gone where it came from: what was moved stays.
		resource.TestStep{PreConfig: func() {
			if err := os.WriteFile(file, []byte("two"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, Config: everywhere(r) + source("sagemaker", file, "retain_versions = 1") + moved("vertex_ai", first), ConfigPlanChecks: nothing},
		resource.TestStep{Config: everywhere(r) + source("sagemaker", file, "retain_versions = 1") + moved("vertex_ai", first), ConfigPlanChecks: changesNothing()},
		resource.TestStep{Config: everywhere(r) + source("sagemaker", file, "retain_versions = 1") + moved("vertex_ai", `"sagemaker/eu-west-1/fraud@3"`),
			ConfigStateChecks: []statecheck.StateCheck{has(theMoved, "version", text("2"))}},
	)
}

// TestMovedFromAClosedAccount goes on with what was moved when the platform that it
// came from cannot be reached any more; what is new has to be read there.
func TestMovedFromAClosedAccount(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	const first, second = `"sagemaker/eu-west-1/fraud@1"`, `"sagemaker/eu-west-1/fraud@2"`
	from, digest := source("sagemaker", acctest.Model(t, "one")), `sha256 = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"`
	closed := func() {
		r.Fail(t, fault.Fault{Call: "sagemaker.DescribeModelPackageGroup", Action: fault.Error, Code: "AccessDeniedException", Message: "the account is closed", Status: http.StatusForbidden})
	}
	run(t,
		resource.TestStep{Config: everywhere(r) + from},
		resource.TestStep{Config: everywhere(r) + from + moved("vertex_ai", first)},
		resource.TestStep{Config: everywhere(r) + moved("vertex_ai", first)}, // the source is destroyed
		resource.TestStep{PreConfig: closed, Config: everywhere(r) + moved("vertex_ai", first), ConfigPlanChecks: changesNothing()},
		resource.TestStep{Config: everywhere(r) + moved("vertex_ai", first, digest), ConfigPlanChecks: changesNothing()},
		resource.TestStep{Config: everywhere(r) + moved("vertex_ai", second), PlanOnly: true, ExpectError: pattern("artifact.uri", "the account is closed")},
		resource.TestStep{Config: everywhere(r) + moved("vertex_ai", first)},
	)
}

// TestMovingRefused says at plan what cannot be moved, and why.
func TestMovingRefused(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	ctx := t.Context()
	if _, err := r.SageMaker().CreateModelPackageGroup(ctx, &sagemaker.CreateModelPackageGroupInput{ModelPackageGroupName: aws.String("by-hand")}); err != nil {
		t.Fatal(err)
	}
	_, err := r.SageMaker().CreateModelPackage(ctx, &sagemaker.CreateModelPackageInput{ModelPackageGroupName: aws.String("by-hand"),
		InferenceSpecification: &types.InferenceSpecification{SupportedContentTypes: []string{"application/json"}, SupportedResponseMIMETypes: []string{"application/json"},
			Containers: []types.ModelPackageContainerDefinition{{Image: aws.String("123456789012.dkr.ecr.eu-west-1.amazonaws.com/own:1")}}}})
	if err != nil {
		t.Fatal(err)
	}
	for uri, says := range map[string]string{
		"sagemaker/eu-west-1/fraud@9":                   "no such version",
		"vertex_ai/p1/europe-west4/none@1":              "no such version",
		"kubernetes/ml/none@1":                          "no such version",
		"sagemaker/eu-west-1/by-hand@1":                 "its container has no model in S3",
		"azure_ml/sub/group/workspace/no@1":             "is not the id of a subscription",
		"azure_ml/" + acctest.AzureLocation + "/none@1": "no such version",
		"sagemaker/fraud@1":                             "is no version_id",
		"sagemaker/eu-west-1/by-hand@best":              "versions on sagemaker have numbers",
	} {
		run(t, resource.TestStep{Config: everywhere(r) + moved("kubernetes", fmt.Sprintf("%q", uri)), PlanOnly: true, ExpectError: pattern("artifact.uri", says)})
	}
	if calls := acctest.Mutations(r.Calls(t)); len(calls) > 2 { // the two above
		t.Errorf("the plans changed something: %v", calls)
	}
}

// TestMovingFromAnUnconfiguredPlatform says at plan which configuration is missing.
func TestMovingFromAnUnconfiguredPlatform(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	vertex := fmt.Sprintf("provider \"ml\" {\n vertex_ai = { project = %q, region = %q, access_token = \"test\", endpoint_url = %q, storage_endpoint_url = %q, staging_uri = \"gs://ml-staging/models\" }\n}\n",
		acctest.GoogleProject, acctest.GoogleRegion, r.VertexAddress(), r.GCS())
	run(t, resource.TestStep{Config: vertex + moved("vertex_ai", `"kubernetes/ml/fraud@1"`), PlanOnly: true, ExpectError: pattern("artifact.uri", "cannot move the artifact of kubernetes/ml/fraud@1", "kubernetes.config_path")})
	if calls := r.Calls(t); len(acctest.Mutations(calls)) > 0 {
		t.Errorf("the plan has changed something: %v", calls)
	}
}
