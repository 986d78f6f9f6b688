// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package acceptance_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
	"github.com/hashicorp/terraform-plugin-testing/helper/resource"
	"github.com/hashicorp/terraform-plugin-testing/statecheck"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/internal/wait"
)

// calling sends requests, a few hundred a second at most, until the end of the test.
func calling(t *testing.T, call func(ctx context.Context)) {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			call(ctx)
			_ = wait.Real{}.Sleep(ctx, 5*time.Millisecond) // an early end is looked at above
		}
	}()
	t.Cleanup(func() {
		end()
		<-done
	})
}

// conduct has a version answer badly; none has all answer well.
func conduct(t *testing.T, r *acctest.Rehearsal, all ...fault.Conduct) func() {
	t.Helper()
	return func() {
		data, err := json.Marshal(map[string]any{"conduct": append([]fault.Conduct{}, all...)})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(r.Dir, "faults.json"), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRolloutWatched: a version that fails while it has a part of the requests is taken
// back, the apply fails with the rate, and the state says what serves. Mended, it takes
// over. A change of mind in between is a plan that changes nothing.
func TestRolloutWatched(t *testing.T) {
	t.Parallel()
	const guarded = `rollout = {
    strategy = "canary"
    steps    = [20]
    interval = "1h"
    checks   = { max_error_rate = 5, max_latency_ms = 500 }
  }`
	for name, p := range map[string]struct {
		config func(t *testing.T, r *acctest.Rehearsal, content, endpoint string) string
		call   func(r *acctest.Rehearsal) func(ctx context.Context)
	}{
		"sagemaker": {config, func(r *acctest.Rehearsal) func(ctx context.Context) {
			client := r.Runtime()
			return func(ctx context.Context) {
				_, _ = client.InvokeEndpoint(ctx, &sagemakerruntime.InvokeEndpointInput{EndpointName: aws.String("fraud"), Body: []byte("{}")},
					func(o *sagemakerruntime.Options) { o.RetryMaxAttempts = 1 }) // what fails counts as such on the platform
			}
		}},
		"vertex_ai": {vertexConfig, func(r *acctest.Rehearsal) func(ctx context.Context) {
			address := strings.Replace(vertexURL, "https://europe-west4-aiplatform.googleapis.com", strings.TrimSuffix(r.VertexAddress(), "/"), 1)
			return func(ctx context.Context) {
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader("{}"))
				if err != nil {
					return
				}
				if resp, err := http.DefaultClient.Do(req); err == nil {
					_ = resp.Body.Close()
				}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := acctest.NewRehearsal(t)
			of := func(content string) string {
				return p.config(t, r, content, endpoint(large+"\n scaling = { min = 2 }", guarded))
			}
			serves := func(version string) statecheck.StateCheck {
				return has(theEndpoint, "deployments.main.model_version", text(version))
			}
			bad := fault.Conduct{Model: "fraud", Version: "2", ErrorPercent: 50}
			run(t,
				resource.TestStep{Config: of("one"), ConfigStateChecks: []statecheck.StateCheck{serves("1")}},
				resource.TestStep{PreConfig: func() { conduct(t, r, bad)(); calling(t, p.call(r)) }, Config: of("two"),
					ExpectError: regexp.MustCompile(`(?is)(went back|error)`)},
				resource.TestStep{RefreshState: true, ExpectNonEmptyPlan: true, Check: resource.TestCheckResourceAttr(theEndpoint, "deployments.main.model_version", "1")},
				resource.TestStep{PreConfig: conduct(t, r), Config: of("two"), ConfigStateChecks: []statecheck.StateCheck{serves("2")}},
				resource.TestStep{Config: of("two"), ConfigPlanChecks: changesNothing()},
			)
		})
	}
}

// TestRolloutRefused: what cannot be is refused in the plan, at the attribute.
func TestRolloutRefused(t *testing.T) {
	t.Parallel()
	r := acctest.NewRehearsal(t)
	for says, rollout := range map[string]string{
		"do not rise":                     `strategy = "canary", steps = [50, 5]`,
		"has no steps":                    `strategy = "blue_green", steps = [50]`,
		"ends before":                     `strategy = "canary", interval = "1m", checks = { max_error_rate = 1 }`,
		"alone are watched for":           `strategy = "canary", steps = [5, 25, 50], interval = "8h"`,
		"there is no smoke_test to check": `strategy = "canary", checks = { smoke_test = true }`,
	} {
		run(t, resource.TestStep{Config: vertexConfig(t, r, "one", endpoint(large, "rollout = { "+rollout+" }\n timeouts = { update = \"10ms\" }")), PlanOnly: true,
			ExpectError: regexp.MustCompile(`(?s)(rollout|timeouts).*` + words(says))})
	}
	if made := acctest.Mutations(r.Calls(t)); len(made) > 0 {
		t.Errorf("plans made the calls %v", made)
	}
}
