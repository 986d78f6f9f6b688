// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package acceptance_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
)

// model is the configuration of ml_model.fraud.
func model(file string, more ...string) string {
	return fmt.Sprintf("resource \"ml_model\" \"fraud\" {\n  platform = \"sagemaker\"\n  name = \"fraud\"\n  artifact = { uri = %q, format = \"onnx\" }\n  %s\n}\n",
		file, strings.Join(more, "\n  "))
}

const theModel, theEndpoint = "ml_model.fraud", "ml_endpoint.fraud"

func TestModelLifecycle(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	file := acctest.Model(t, "one")
	const first, second = "sagemaker/eu-west-1/fraud@1", "sagemaker/eu-west-1/fraud@2"
	rewrite := func(content string) func() {
		return func() {
			if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	text := knownvalue.StringExact
	update := func(config string, expect ...statecheck.StateCheck) resource.TestStep {
		return resource.TestStep{Config: r.Provider() + config,
			ConfigPlanChecks:  plans(theModel, plancheck.ResourceActionUpdate, knows(theModel, "version_id", first)),
			ConfigStateChecks: append(expect, has(theModel, "version_id", text(first)))}
	}
	run(t,
		resource.TestStep{Config: r.Provider() + model(file),
			ConfigPlanChecks: plans(theModel, plancheck.ResourceActionCreate, knows(theModel, "id", "sagemaker/eu-west-1/fraud"),
				knows(theModel, "location", acctest.Region), knows(theModel, "serving.runtime", "onnx"),
				knows(theModel, "digest", "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"), leavesOpen(theModel, "version_id")),
			ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version_id", text(first)), has(theModel, "version", text("1")),
				has(theModel, "approval", text("approved")), has(theModel, "previous_version_id", knownvalue.Null()),
				has(theModel, "artifact_uri", knownvalue.StringRegexp(regexp.MustCompile(`^s3://ml-rehearsal-staging/artifacts/[0-9a-f]{64}/`)))}},
		update(model(file, `description = "Scores payments"`), has(theModel, "description", text("Scores payments"))),
		update(model(file, `labels = { team = "risk" }`), has(theModel, "labels.team", text("risk")), has(theModel, "description", knownvalue.Null())),
		update(model(file, `aliases = ["champion", "blue"]`), has(theModel, "aliases", knownvalue.SetExact([]knownvalue.Check{text("blue"), text("champion")}))),
		update(model(file, `metadata = { commit = "3f9c2a7" }`), has(theModel, "metadata.commit", text("3f9c2a7"))),
		update(model(file, `approval = "pending"`), has(theModel, "approval", text("pending"))),
		update(model(file, `retain_versions = 3`), has(theModel, "retain_versions", knownvalue.Int64Exact(3))),
		update(model(file, `timeouts = { update = "10m" }`), has(theModel, "timeouts.update", text("10m"))),
		resource.TestStep{PreConfig: rewrite("two"), Config: r.Provider() + model(file),
			ConfigPlanChecks: plans(theModel, plancheck.ResourceActionUpdate, leavesOpen(theModel, "version_id")),
			ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version_id", text(second)), has(theModel, "previous_version_id", text(first)),
				has(theModel, "versions", knownvalue.ListSizeExact(2))}},
		resource.TestStep{Config: r.Provider() + model(acctest.Model(t, "two")), ConfigPlanChecks: changesNothing()},
		resource.TestStep{Config: r.Provider() + model(file, `serving = { env = { THREADS = "2" } }`),
			ConfigPlanChecks:  plans(theModel, plancheck.ResourceActionUpdate, leavesOpen(theModel, "version_id")),
			ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version", text("3"))}},
		resource.TestStep{Config: r.Provider() + model(file, `retain_versions = 1`),
			ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version", text("4")), has(theModel, "versions", knownvalue.ListSizeExact(1))}},
	)
}

func TestModelReplacement(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	file := acctest.Model(t, "one")
	for _, change := range []struct{ reason, from, to string }{
		{"a registry name cannot change", `name = "fraud"`, `name = "churn"`},
		{"a registry is in a region", `name = "fraud"`, "name = \"fraud\"\n  location = \"eu-central-1\""},
	} {
		config := r.Provider() + model(file)
		run(t,
			resource.TestStep{Config: config},
			resource.TestStep{Config: r.Provider() + strings.Replace(model(file), change.from, change.to, 1),
				ConfigPlanChecks: plans(theModel, plancheck.ResourceActionDestroyBeforeCreate, leavesOpen(theModel, "version_id"))},
		)
	}
}

func TestModelImport(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	config := r.Provider() + model(acctest.Model(t, "one"), `aliases = ["champion"]`, `labels = { team = "risk" }`, `description = "Scores"`, `metadata = { run = "7" }`)
	imported := func(kind resource.ImportStateKind, id string) resource.TestStep {
		return resource.TestStep{ResourceName: theModel, ImportState: true, ImportStateKind: kind, ImportStateId: id, Config: config}
	}
	run(t,
		resource.TestStep{Config: config},
		imported(resource.ImportBlockWithID, "sagemaker/eu-west-1/fraud"),
		imported(resource.ImportBlockWithID, "arn:aws:sagemaker:eu-west-1:123456789012:model-package-group/fraud"),
		resource.TestStep{ResourceName: theModel, ImportState: true, ImportStateId: "sagemaker/eu-west-1/fraud", ImportStateVerify: true,
			ImportStateVerifyIgnore: []string{"artifact.uri"}}, // the local path is nowhere on the platform
		resource.TestStep{ResourceName: theModel, ImportState: true, ImportStateId: "sagemaker/eu-west-1/other", Config: config,
			ExpectError: regexp.MustCompile("Cannot import non-existent remote object")},
		resource.TestStep{ResourceName: theModel, ImportState: true, ImportStateId: "nonsense", Config: config,
			ExpectError: regexp.MustCompile(`"nonsense" does not name any model`)},
	)
}

// TestModelDrift changes a model behind Terraform's back. Its labels are not looked
// at: they would take a second call for every model of a plan.
func TestModelDrift(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	config := r.Provider() + model(acctest.Model(t, "one"), `labels = { team = "risk" }`)
	group := aws.String("fraud")
	run(t,
		resource.TestStep{Config: config},
		resource.TestStep{Config: config, ConfigPlanChecks: plans(theModel, plancheck.ResourceActionUpdate),
			PreConfig: func() {
				_, err := r.SageMaker().UpdateModelPackage(t.Context(), &sagemaker.UpdateModelPackageInput{
					ModelPackageArn: aws.String("arn:aws:sagemaker:eu-west-1:123456789012:model-package/fraud/1"), ModelApprovalStatus: types.ModelApprovalStatusRejected})
				if err != nil {
					t.Fatal(err)
				}
			},
			ConfigStateChecks: []statecheck.StateCheck{has(theModel, "approval", knownvalue.StringExact("approved"))}},
		resource.TestStep{Config: config, ConfigPlanChecks: plans(theModel, plancheck.ResourceActionCreate),
			PreConfig: func() {
				if _, err := r.SageMaker().DeleteModelPackage(t.Context(), &sagemaker.DeleteModelPackageInput{
					ModelPackageName: aws.String("arn:aws:sagemaker:eu-west-1:123456789012:model-package/fraud/1")}); err != nil {
					t.Fatal(err)
				}
				if _, err := r.SageMaker().DeleteModelPackageGroup(t.Context(), &sagemaker.DeleteModelPackageGroupInput{ModelPackageGroupName: group}); err != nil {
					t.Fatal(err)
				}
			}},
	)
}

// TestModelFromS3 serves an object where it is, and publishes when its bytes, not
// its address, change.
func TestModelFromS3(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	put := func(bucket, key, content string) {
		t.Helper()
		_, _ = r.S3().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}) // may exist
		if _, err := r.S3().PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(content)}); err != nil {
			t.Fatal(err)
		}
	}
	put("models", "fraud.onnx", "one")
	put("models", "copy.onnx", "one")
	text := knownvalue.StringExact
	run(t,
		resource.TestStep{Config: r.Provider() + model("s3://models/fraud.onnx"), ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version", text("1"))}},
		resource.TestStep{Config: r.Provider() + model("s3://models/copy.onnx"), ConfigPlanChecks: changesNothing()},
		resource.TestStep{PreConfig: func() { put("models", "fraud.onnx", "two") }, Config: r.Provider() + model("s3://models/fraud.onnx"),
			ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version", text("2"))}},
	)
}

// TestModelDestroyLeavesNothing looks at the platform, not at the state.
func TestModelDestroyLeavesNothing(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	resource.UnitTest(t, resource.TestCase{ProtoV6ProviderFactories: acctest.Factories(),
		Steps: []resource.TestStep{{Config: r.Provider() + model(acctest.Model(t, "one"))}},
		CheckDestroy: func(*terraform.State) error {
			out, err := r.SageMaker().ListModelPackageGroups(t.Context(), &sagemaker.ListModelPackageGroupsInput{})
			if err == nil && len(out.ModelPackageGroupSummaryList) > 0 {
				err = fmt.Errorf("left behind: %v", *out.ModelPackageGroupSummaryList[0].ModelPackageGroupName)
			}
			return err
		}})
}
