// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package acceptance_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	astypes "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
)

func config(t *testing.T, r *acctest.Rehearsal, content, endpoint string) string {
	t.Helper()
	return r.Provider() + model(acctest.Model(t, content)) + endpoint
}

// TestRolledBack is hashicorp/terraform-provider-aws#48997: an update that the
// platform undid ends with a green status. It is a failed apply, the old
// configuration serves on, and the next apply goes on from there.
func TestRolledBack(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	client := r.SageMaker()
	serving := func() string {
		t.Helper()
		out, err := client.DescribeEndpoint(t.Context(), &sagemaker.DescribeEndpointInput{EndpointName: aws.String("fraud")})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.DescribeEndpointConfig(t.Context(), &sagemaker.DescribeEndpointConfigInput{EndpointConfigName: out.EndpointConfigName}); err != nil {
			t.Errorf("the configuration that serves is gone: %v", err)
		}
		return *out.EndpointConfigName
	}
	two := config(t, r, "two", endpoint(large))
	var before string
	run(t,
		resource.TestStep{Config: config(t, r, "one", endpoint(large))},
		resource.TestStep{Config: two, ExpectError: regexp.MustCompile(`(?s)` + words("went back to what was before") + `.*` + words("the container did not answer")),
			PreConfig: func() {
				before = serving()
				r.Fail(t, fault.Fault{Call: "sagemaker.UpdateEndpoint", Occurrence: 1, Action: fault.FailTransition, Message: "the container did not answer"})
			}},
		resource.TestStep{RefreshState: true, ExpectNonEmptyPlan: true, Check: func(s *terraform.State) error {
			if now := serving(); now != before {
				return fmt.Errorf("%s serves, and %s did before", now, before)
			}
			return resource.TestCheckResourceAttr(theEndpoint, "deployments.main.model_version", "1")(s)
		}},
		resource.TestStep{Config: two, ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.main.model_version", text("2"))}},
	)
}

// TestFailedCreation leaves a tainted resource, which the next apply makes anew.
func TestFailedCreation(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	configuration := config(t, r, "one", endpoint(large))
	run(t,
		resource.TestStep{Config: configuration, ExpectError: regexp.MustCompile(`(?s)` + words("failed to come into service") + `.*` + words("no capacity")),
			PreConfig: func() {
				r.Fail(t, fault.Fault{Call: "sagemaker.CreateEndpoint", Occurrence: 1, Action: fault.FailTransition, Message: "no capacity"})
			}},
		resource.TestStep{Config: configuration, ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionDestroyBeforeCreate)},
	)
}

// TestTimeout stops waiting and says so; the endpoint is in the state.
func TestTimeout(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	run(t,
		resource.TestStep{Config: config(t, r, "one", endpoint(large, `timeouts = { create = "1ms" }`)), ExpectError: regexp.MustCompile(words("stopped waiting for the platform"))},
		resource.TestStep{RefreshState: true, ExpectNonEmptyPlan: true, Check: resource.TestCheckResourceAttr(theEndpoint, "name", "fraud")},
	)
}

// TestThrottled goes on when the platform is busy or loses an answer.
func TestThrottled(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	r.Fail(t,
		fault.Fault{Call: "sagemaker.CreateModelPackage", Occurrence: 1, Action: fault.Error, Code: "ThrottlingException", Message: "Rate exceeded"},
		fault.Fault{Call: "sagemaker.CreateEndpointConfig", Occurrence: 1, Action: fault.Error, Code: "InternalFailure", Message: "try again", Status: 500},
		fault.Fault{Call: "sagemaker.CreateEndpoint", Occurrence: 1, Action: fault.LostAnswer})
	run(t, resource.TestStep{Config: config(t, r, "one", endpoint(large))})
}

// TestDenied says who was refused what, with the platform's request id.
func TestDenied(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	r.Fail(t, fault.Fault{Call: "sagemaker.CreateEndpointConfig", Action: fault.Error, Code: "AccessDeniedException", Message: "not authorized to perform sagemaker:CreateEndpointConfig"})
	run(t, resource.TestStep{Config: config(t, r, "one", endpoint(large)),
		ExpectError: regexp.MustCompile(`(?s)` + words("not authorized to perform sagemaker:CreateEndpointConfig") + `.*` + words("request id"))})
}

// TestEndpointDrift changes an endpoint behind Terraform's back in every way that
// the state shows, and expects the plan to see it and the apply to mend it.
func TestEndpointDrift(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	sm, as := r.SageMaker(), r.Scaling()
	name := aws.String("fraud")
	two := r.Provider() + model(acctest.Model(t, "one")) + endpointWith("blue = {\n model = ml_model.fraud.version_id\n"+scaled+"\n traffic = 70\n }\n green = {\n model = ml_model.fraud.version_id\n"+large+"\n traffic = 30\n }",
		`labels = { team = "risk" }`)
	ok := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	mended := func(reason string, change func(), expect ...statecheck.StateCheck) resource.TestStep {
		return resource.TestStep{Config: two, PreConfig: func() { t.Log(reason); change() },
			ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate), ConfigStateChecks: expect}
	}
	run(t,
		resource.TestStep{Config: two},
		mended("weights", func() {
			ok(sm.UpdateEndpointWeightsAndCapacities(t.Context(), &sagemaker.UpdateEndpointWeightsAndCapacitiesInput{EndpointName: name,
				DesiredWeightsAndCapacities: []types.DesiredWeightAndCapacity{{VariantName: aws.String("blue"), DesiredWeight: aws.Float32(1)}, {VariantName: aws.String("green"), DesiredWeight: aws.Float32(1)}}}))
			settle(t, r)
		}, has(theEndpoint, "deployments.blue.traffic", number(70))),
		mended("autoscaling", func() {
			ok(as.DeregisterScalableTarget(t.Context(), &applicationautoscaling.DeregisterScalableTargetInput{ServiceNamespace: astypes.ServiceNamespaceSagemaker,
				ResourceId: aws.String("endpoint/fraud/variant/blue"), ScalableDimension: astypes.ScalableDimensionSageMakerVariantDesiredInstanceCount}))
		}, has(theEndpoint, "deployments.blue.scaling.max", number(4))),
		resource.TestStep{Config: two, ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionCreate), PreConfig: func() {
			ok(sm.DeleteEndpoint(t.Context(), &sagemaker.DeleteEndpointInput{EndpointName: name}))
			for range 200 {
				if _, err := sm.DescribeEndpoint(t.Context(), &sagemaker.DescribeEndpointInput{EndpointName: name}); err != nil {
					return
				}
			}
		}},
	)
}

// TestEndpointLabelDrift mends labels that somebody changed or added. Where an
// autoscaler takes the second of two calls, they are not looked at.
func TestEndpointLabelDrift(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	configuration := config(t, r, "one", endpoint(large, `labels = { team = "risk" }`))
	run(t,
		resource.TestStep{Config: configuration},
		resource.TestStep{Config: configuration, ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate),
			PreConfig: func() {
				out, err := r.SageMaker().DescribeEndpoint(t.Context(), &sagemaker.DescribeEndpointInput{EndpointName: aws.String("fraud")})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := r.SageMaker().AddTags(t.Context(), &sagemaker.AddTagsInput{ResourceArn: out.EndpointArn,
					Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("other")}, {Key: aws.String("extra"), Value: aws.String("1")}}}); err != nil {
					t.Fatal(err)
				}
			},
			ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "effective_labels", knownvalue.MapExact(map[string]knownvalue.Check{"team": text("risk")}))}},
	)
}

// settle asks until the endpoint is in service; the platform's clock runs fast.
func settle(t *testing.T, r *acctest.Rehearsal) {
	t.Helper()
	for range 1000 {
		out, err := r.SageMaker().DescribeEndpoint(t.Context(), &sagemaker.DescribeEndpointInput{EndpointName: aws.String("fraud")})
		if err != nil {
			t.Fatal(err)
		}
		if out.EndpointStatus == types.EndpointStatusInService {
			return
		}
	}
	t.Fatal("the endpoint does not settle")
}

// TestLiveCount: what an autoscaler chose is no difference, and survives a new
// version.
func TestLiveCount(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	count := func() int32 {
		t.Helper()
		out, err := r.SageMaker().DescribeEndpoint(t.Context(), &sagemaker.DescribeEndpointInput{EndpointName: aws.String("fraud")})
		if err != nil {
			t.Fatal(err)
		}
		return *out.ProductionVariants[0].CurrentInstanceCount
	}
	one := config(t, r, "one", endpoint(scaled))
	run(t,
		resource.TestStep{Config: one},
		resource.TestStep{Config: one, ConfigPlanChecks: changesNothing(), PreConfig: func() {
			if _, err := r.SageMaker().UpdateEndpointWeightsAndCapacities(t.Context(), &sagemaker.UpdateEndpointWeightsAndCapacitiesInput{EndpointName: aws.String("fraud"),
				DesiredWeightsAndCapacities: []types.DesiredWeightAndCapacity{{VariantName: aws.String("main"), DesiredInstanceCount: aws.Int32(3)}}}); err != nil {
				t.Fatal(err)
			}
			settle(t, r)
		}},
		resource.TestStep{Config: config(t, r, "two", endpoint(scaled)), Check: func(*terraform.State) error {
			if n := count(); n != 3 {
				return fmt.Errorf("the new version runs on %d replicas, the old one had 3", n)
			}
			return nil
		}},
	)
}

// TestSmokeTest takes a version back that answers wrongly, and tells what was
// asked, answered and expected.
func TestSmokeTest(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	tested := func(version string) string {
		return endpoint(large, fmt.Sprintf(`smoke_test = {
    request  = jsonencode({ inputs = [1] })
    expect   = { json = { "$.version" = "\"%s\"" } }
    attempts = 1
  }`, version))
	}
	run(t,
		resource.TestStep{Config: config(t, r, "one", tested("1"))},
		resource.TestStep{Config: config(t, r, "two", tested("9")), ExpectError: regexp.MustCompile(`(?s)` + words(`$.version is "2" instead of "9"`))},
		resource.TestStep{RefreshState: true, ExpectNonEmptyPlan: true, Check: resource.TestCheckResourceAttr(theEndpoint, "deployments.main.model_version", "1")},
		resource.TestStep{Config: config(t, r, "two", tested("2")), ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.main.model_version", text("2"))}},
	)
}

// TestApproval: a plan refuses to serve what will not be approved, and allows what
// the same plan approves.
func TestApproval(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	file := acctest.Model(t, "one")
	approval := func(a string) string { return r.Provider() + model(file, `approval = "`+a+`"`) }
	run(t,
		resource.TestStep{Config: approval("pending")},
		resource.TestStep{Config: approval("pending") + endpoint(large), PlanOnly: true,
			ExpectError: regexp.MustCompile(`(?s)deployments\["main"\]\.model.*` + words("only an approved version may be served"))},
		resource.TestStep{Config: approval("approved") + endpoint(large)},
		resource.TestStep{Config: approval("rejected") + strings.Replace(endpoint(large), "main = {", "other = {", 1), PlanOnly: true,
			ExpectError: regexp.MustCompile(words("only an approved version may be served"))},
	)
}
