// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package acceptance_test

import (
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
)

// TestEndpointImport imports what the provider has made: the plan is empty.
func TestEndpointImport(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	configuration := r.Provider() + model(acctest.Model(t, "one")) + endpoint(strings.Replace(scaled, "max = 4", `max = 4
		scale_out_cooldown = "60s"
		schedules = [{ name = "day", cron = "0 8 * * 1-5", min = 2, max = 6 }]`, 1),
		`labels = { team = "risk" }`, `capture = { percent = 10, destination = "s3://capture/fraud" }`,
		`auth = { mode = "iam", invokers = ["arn:aws:iam::123456789012:role/caller"] }`)
	imported := func(id string) resource.TestStep {
		return resource.TestStep{ResourceName: theEndpoint, ImportState: true, ImportStateKind: resource.ImportBlockWithID, ImportStateId: id, Config: configuration}
	}
	run(t,
		resource.TestStep{Config: configuration},
		imported("sagemaker/eu-west-1/fraud"),
		imported("arn:aws:sagemaker:eu-west-1:123456789012:endpoint/fraud"),
	)
}

// handMade makes an endpoint as a person with a console does, without any mark.
func handMade(t *testing.T, r *acctest.Rehearsal) {
	t.Helper()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	bucket, key, sm := aws.String("theirs"), aws.String("model.tar.gz"), r.SageMaker()
	must(r.S3().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket}))
	must(r.S3().PutObject(t.Context(), &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("theirs")}))
	must(sm.CreateModel(t.Context(), &sagemaker.CreateModelInput{ModelName: aws.String("their-model"), ExecutionRoleArn: aws.String("arn:aws:iam::123456789012:role/their-role"),
		PrimaryContainer: &types.ContainerDefinition{Image: aws.String("123456789012.dkr.ecr.eu-west-1.amazonaws.com/theirs:1"), ModelDataUrl: aws.String("s3://theirs/model.tar.gz")}}))
	must(sm.CreateEndpointConfig(t.Context(), &sagemaker.CreateEndpointConfigInput{EndpointConfigName: aws.String("their-config"),
		ProductionVariants: []types.ProductionVariant{
			{VariantName: aws.String("A"), ModelName: aws.String("their-model"), InstanceType: "ml.m5.large", InitialInstanceCount: aws.Int32(2), InitialVariantWeight: aws.Float32(3)},
			{VariantName: aws.String("B"), ModelName: aws.String("their-model"), InstanceType: "ml.c5.xlarge", InitialInstanceCount: aws.Int32(1), InitialVariantWeight: aws.Float32(1)}}}))
	must(sm.CreateEndpoint(t.Context(), &sagemaker.CreateEndpointInput{EndpointName: aws.String("fraud"), EndpointConfigName: aws.String("their-config"),
		Tags: []types.Tag{{Key: aws.String("owner"), Value: aws.String("them")}}}))
	settle(t, r)
}

// TestHandMadeEndpointImport adopts a live endpoint without touching it, and then
// moves it to a registered model. What others made stays.
func TestHandMadeEndpointImport(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	handMade(t, r)
	deployment := func(name, model, machine, more string) string {
		return name + " = {\n model = " + model + "\n compute = { instance_type = \"" + machine + "\" }\n " + more + "\n }\n"
	}
	const theirs = `"arn:aws:sagemaker:eu-west-1:123456789012:model/their-model"`
	settings := "sagemaker = { execution_role_arn = \"arn:aws:iam::123456789012:role/their-role\" }\n  labels = { owner = \"them\" }"
	adopted := endpointWith(deployment("A", theirs, "ml.m5.large", "traffic = 75\n scaling = { min = 2 }")+deployment("B", theirs, "ml.c5.xlarge", "traffic = 25"), settings)
	moved := model(acctest.Model(t, "one")) + endpointWith(deployment("A", "ml_model.fraud.version_id", "ml.m5.large", "scaling = { min = 2 }"), settings)
	const block = "import {\n  to = ml_endpoint.fraud\n  id = \"sagemaker/eu-west-1/fraud\"\n}\n"
	mark := len(r.Calls(t))
	run(t,
		resource.TestStep{Config: r.Provider() + block + adopted, ConfigPlanChecks: changesNothing()},
		resource.TestStep{PreConfig: func() {
			if changed := acctest.Mutations(r.Calls(t)[mark:]); len(changed) > 0 {
				t.Errorf("the import changed something: %v", changed)
			}
		}, Config: r.Provider() + moved, ConfigPlanChecks: plans(theEndpoint, plancheck.ResourceActionUpdate),
			ConfigStateChecks: []statecheck.StateCheck{has(theEndpoint, "deployments.A.model_version", text("1"))}},
	)
	if _, err := r.SageMaker().DescribeModel(t.Context(), &sagemaker.DescribeModelInput{ModelName: aws.String("their-model")}); err != nil {
		t.Errorf("the model that somebody else made is gone: %v", err)
	}
	if _, err := r.SageMaker().DescribeEndpointConfig(t.Context(), &sagemaker.DescribeEndpointConfigInput{EndpointConfigName: aws.String("their-config")}); err != nil {
		t.Errorf("the configuration that somebody else made is gone: %v", err)
	}
}

// TestNotTakenOver: a creation never takes over what somebody else made.
func TestNotTakenOver(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	handMade(t, r)
	run(t, resource.TestStep{Config: r.Provider() + model(acctest.Model(t, "one")) + endpoint(large),
		ExpectError: pattern("exists already", "import it")})
}
