// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package acceptance_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
)

// TestUnknownWhilePlanning leaves to the apply what other resources decide.
func TestUnknownWhilePlanning(t *testing.T) {
	t.Parallel()
	file := acctest.Model(t, "one")
	later := fmt.Sprintf("resource \"terraform_data\" \"later\" {\n  input = { file = %q, name = \"fraud\", region = \"eu-central-1\", cpu = 2, traffic = 100, label = \"risk\", platform = \"sagemaker\" }\n}\n", file)
	replace := func(s string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(s) }
	for name, config := range map[string]string{
		"file":     model(file) + endpoint(large),
		"name":     model(file) + endpoint(large),
		"platform": model(file) + endpoint(large),
		"parts": model(file, `labels = { team = terraform_data.later.output.label }`) +
			endpoint(`compute = { cpu = terraform_data.later.output.cpu }
				traffic = terraform_data.later.output.traffic`, `labels = { team = terraform_data.later.output.label }`),
	} {
		switch name {
		case "file":
			config = replace(config, fmt.Sprintf("%q", file), "terraform_data.later.output.file")
		case "name":
			config = replace(config, `name = "fraud"`, "name = terraform_data.later.output.name\n location = terraform_data.later.output.region")
		case "platform":
			config = replace(config, `platform = "sagemaker"`, "platform = terraform_data.later.output.platform")
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			own := acctest.NewRehearsal(t)
			run(t,
				resource.TestStep{Config: own.Provider() + later + config, ConfigPlanChecks: plans(theModel, plancheck.ResourceActionCreate),
					ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version", text("1")), has(theEndpoint, "deployments.main.model_version", text("1"))}},
				resource.TestStep{Config: own.Provider() + later + config, ConfigPlanChecks: changesNothing()})
		})
	}
}

// TestUnknownProvider plans although the provider's configuration is not known.
func TestUnknownProvider(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	config := strings.Replace(r.Provider(), `"eu-west-1"`, "terraform_data.later.output", 1) +
		"resource \"terraform_data\" \"later\" {\n  input = \"eu-west-1\"\n}\n" + model(acctest.Model(t, "one")) + endpoint(large)
	run(t, resource.TestStep{Config: config, ConfigStateChecks: []statecheck.StateCheck{has(theModel, "version_id", text("sagemaker/eu-west-1/fraud@1"))}})
}

// forReal is a configuration without rehearsal, turned to the same emulators.
func forReal(r *acctest.Rehearsal, more string) string {
	return fmt.Sprintf("provider \"ml\" {\n  sagemaker = {\n    region = %q\n    endpoint_url = %q\n    execution_role_arn = \"arn:aws:iam::123456789012:role/ml\"\n"+
		"    staging_uri = \"s3://ml-rehearsal-staging/real\"\n    %s\n  }\n}\n", acctest.Region, r.URL(), more)
}

// TestWorldsNeverMix: what was made in rehearsal is not looked for in an account.
func TestWorldsNeverMix(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	config := model(acctest.Model(t, "one"))
	run(t,
		resource.TestStep{Config: r.Provider() + config},
		resource.TestStep{Config: forReal(r, "access_key = \"AKIAEXAMPLE\"\n secret_key = \"x\"") + config, PlanOnly: true,
			ExpectError: pattern("was made in rehearsal, and the provider is now configured for real", "another workspace")},
		resource.TestStep{Config: r.Provider() + config, ConfigPlanChecks: changesNothing()},
	)
}

// TestSecretsStaySecret looks for the provider's secrets in the state and in what
// the provider logs at its most talkative.
func TestSecretsStaySecret(t *testing.T) {
	r := acctest.NewRehearsal(t)
	t.Setenv("TF_LOG_PROVIDER_ML", "TRACE")
	log := logs(t)
	if _, err := r.S3().CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("ml-rehearsal-staging")}); err != nil {
		t.Fatal(err)
	}
	const key, token = "wJalrXUtnFEMIsecretKEY", "FwoGZXIvYXdzEsessionTOKEN"
	run(t, resource.TestStep{
		Config: forReal(r, fmt.Sprintf("access_key = \"AKIAEXAMPLE\"\n secret_key = %q\n token = %q", key, token)) + model(acctest.Model(t, "one")) + endpoint(large),
		Check: func(s *terraform.State) error {
			state, err := json.Marshal(s)
			if err != nil {
				return err
			}
			logged, err := log()
			if err != nil {
				return err
			}
			if !strings.Contains(logged, "SageMaker.CreateEndpoint") {
				return errors.New("the log does not tell the calls, so it proves nothing")
			}
			for where, content := range map[string]string{"state": string(state), "log": logged} {
				if strings.Contains(content, key) || strings.Contains(content, token) {
					return fmt.Errorf("the %s holds a secret", where)
				}
			}
			return nil
		}})
}

// logs catches what the provider logs, and returns how to read it.
func logs(t *testing.T) func() (string, error) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = file
	t.Cleanup(func() { os.Stderr = stderr })
	return func() (string, error) {
		data, err := os.ReadFile(file.Name())
		return string(data), err
	}
}

// TestRehearsalByEnvironment rehearses a configuration that does not say so.
func TestRehearsalByEnvironment(t *testing.T) {
	r := acctest.NewRehearsal(t)
	t.Setenv("ML_REHEARSAL", r.Dir)
	t.Setenv("AWS_ACCESS_KEY_ID", "real")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "real")
	run(t, resource.TestStep{Config: "provider \"ml\" {\n sagemaker = { region = \"eu-west-1\" }\n}\n" + model(acctest.Model(t, "one")) + endpoint(large),
		Check: func(*terraform.State) error {
			if len(r.Calls(t)) == 0 {
				return fmt.Errorf("the rehearsal was not asked")
			}
			return nil
		}})
}
