// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package acceptance_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/hashicorp/terraform-plugin-testing/echoprovider"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/knownvalue"
	"github.com/hashicorp/terraform-plugin-testing/plancheck"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"
	"github.com/hashicorp/terraform-plugin-testing/terraform"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
)

const credentialsOfFraud = "ephemeral \"ml_endpoint_credentials\" \"fraud\" {\n  endpoint = ml_endpoint.fraud.id\n}\n"

// TestEndpointCredentials shows to another provider what callers send.
func TestEndpointCredentials(t *testing.T) {
	t.Parallel()
	const shown = "provider \"echo\" {\n  data = ephemeral.ml_endpoint_credentials.fraud\n}\nresource \"echo\" \"fraud\" {}\n"
	for mode, checks := range map[string][]statecheck.StateCheck{
		"key": {has("echo.fraud", "data.keys.primary", knownvalue.NotNull()), has("echo.fraud", "data.keys.secondary", knownvalue.NotNull()),
			has("echo.fraud", "data.token", knownvalue.Null()), has("echo.fraud", "data.mode", text("key"))},
		"token": {has("echo.fraud", "data.token", knownvalue.NotNull()), has("echo.fraud", "data.expires_at", knownvalue.NotNull()), has("echo.fraud", "data.keys", knownvalue.Null())},
		"iam":   {has("echo.fraud", "data.token", knownvalue.NotNull()), has("echo.fraud", "data.url", knownvalue.NotNull())},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			r := acctest.NewRehearsal(t)
			factories := acctest.Factories()
			factories["echo"] = echoprovider.NewProviderServer()
			resource.UnitTest(t, resource.TestCase{ProtoV6ProviderFactories: factories, Steps: []resource.TestStep{{
				Config: azureConfig(t, r, "one", endpoint(large, `auth = { mode = "`+mode+`" }`)) + credentialsOfFraud + shown, ConfigStateChecks: checks}}})
		})
	}
}

// TestEndpointCredentialsOfOthers: a key for each client on Kubernetes, a token on Vertex
// AI.
func TestEndpointCredentialsOfOthers(t *testing.T) {
	t.Parallel()
	const shown = "provider \"echo\" {\n  data = ephemeral.ml_endpoint_credentials.fraud\n}\nresource \"echo\" \"fraud\" {}\n"
	google := acctest.NewRehearsal(t)
	onCluster := strings.NewReplacer(`"sagemaker"`, `"kubernetes"`, large, "compute = { cpu = 1, memory_gib = 1 }")
	for platform, c := range map[string]struct {
		config string
		check  statecheck.StateCheck
	}{
		"kubernetes": {cluster(t, "deployment", true).Provider() + onCluster.Replace(model(acctest.Model(t, "one"))+endpoint(large, `auth = { mode = "key", invokers = ["checkout"] }`)),
			has("echo.fraud", "data.keys", knownvalue.MapExact(map[string]knownvalue.Check{"checkout": knownvalue.NotNull()}))},
		"vertex_ai": {vertexConfig(t, google, "one", endpoint(large)), has("echo.fraud", "data.token", knownvalue.NotNull())},
	} {
		t.Run(platform, func(t *testing.T) {
			t.Parallel()
			factories := acctest.Factories()
			factories["echo"] = echoprovider.NewProviderServer()
			resource.UnitTest(t, resource.TestCase{ProtoV6ProviderFactories: factories, Steps: []resource.TestStep{{
				Config: c.config + credentialsOfFraud + shown, ConfigStateChecks: []statecheck.StateCheck{c.check}}}})
		})
	}
}

// TestEndpointCredentialsElsewhere: where there are none to be had, that is said.
func TestEndpointCredentialsElsewhere(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	run(t, resource.TestStep{Config: r.Provider() + model(acctest.Model(t, "one")) + endpoint(large) + credentialsOfFraud, ExpectError: pattern("gives out no credentials", "Signature Version 4")})
}

// planned looks for texts in the whole plan.
type planned struct{ texts func() []string }

func (p planned) CheckPlan(_ context.Context, req plancheck.CheckPlanRequest, resp *plancheck.CheckPlanResponse) {
	data, err := json.Marshal(req.Plan)
	for _, text := range p.texts() {
		if strings.Contains(string(data), text) {
			err = errors.New("the plan holds a key")
		}
	}
	resp.Error = err
}

// TestKeysAreKeptNowhere looks for an endpoint's keys, which a run reads and calls with,
// in plan, state and log.
func TestKeysAreKeptNowhere(t *testing.T) {
	r := acctest.NewRehearsal(t)
	t.Setenv("TF_LOG_PROVIDER_ML", "TRACE")
	log := logs(t)
	keys := func() (all []string) {
		t.Helper()
		for _, v := range r.Azure(t, http.MethodPost, "onlineEndpoints/fraud/listKeys", nil) {
			all = append(all, v.(string))
		}
		if len(all) != 2 || len(all[0]) < 16 {
			t.Errorf("the keys are %d", len(all))
		}
		return all
	}
	config := azureConfig(t, r, "one", endpoint(large, `auth = { mode = "key" }`, `smoke_test = { request = "{}" }`)) + credentialsOfFraud
	run(t,
		resource.TestStep{Config: config},
		resource.TestStep{Config: config, ConfigPlanChecks: resource.ConfigPlanChecks{PreApply: []plancheck.PlanCheck{planned{keys}}},
			Check: func(s *terraform.State) error {
				state, err := json.Marshal(s)
				if err != nil {
					return err
				}
				logged, err := log()
				if err != nil {
					return err
				}
				if !strings.Contains(logged, "OnlineEndpointsClient.ListKeys") {
					return errors.New("the log does not tell that the keys were read, so it proves nothing")
				}
				for where, content := range map[string]string{"state": string(state), "log": logged} {
					for _, key := range keys() {
						if strings.Contains(content, key) {
							return fmt.Errorf("the %s holds a key", where)
						}
					}
				}
				return nil
			}})
}
