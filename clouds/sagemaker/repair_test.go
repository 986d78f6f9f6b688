// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssagemaker "github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/drivertest"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// fault scripts one fault of the emulated account.
func (a *account) fault(t *testing.T, f map[string]any) {
	t.Helper()
	data, err := json.Marshal(map[string]any{"faults": []any{f}})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(a.dir, "faults.json"), data, 0o600))
}

// TestOnlyNotesChange: who may call is written into a tag. An adopted endpoint
// stands on names that are not ours, and is not deployed anew for it.
func TestOnlyNotesChange(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.registered(t, "m1", a.version(t, "fraud", "one"), nil)
	spec := a.imported(t, a.make(t, &byHand{name: "legacy", config: awssagemaker.CreateEndpointConfigInput{ProductionVariants: []types.ProductionVariant{variant("AllTraffic", "m1")}}}))
	spec.Settings.Auth.Invokers = []string{"arn:aws:iam::123456789012:role/caller"}
	before := a.Objects(t)
	state := a.apply(t, spec)
	if diff := cmp.Diff(before, a.Objects(t)); diff != "" || state.Memo != "legacy-config-by-hand" {
		t.Errorf("it stands on %s now: %s", state.Memo, diff)
	}
	if !strings.Contains(state.InvokePolicy, "role/caller") {
		t.Errorf("the policy is %s", state.InvokePolicy)
	}
}

// TestTheStandInGoes: the configuration of an adopted endpoint was deleted. What
// takes its place while the update lasts has a foreign name, and goes as well.
func TestTheStandInGoes(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	one := a.version(t, "fraud", "one")
	a.registered(t, "m1", one, nil)
	spec := a.imported(t, a.make(t, &byHand{name: "legacy", config: awssagemaker.CreateEndpointConfigInput{ProductionVariants: []types.ProductionVariant{variant("AllTraffic", "m1")}}}))
	_, err := a.sm.DeleteEndpointConfig(t.Context(), &awssagemaker.DeleteEndpointConfigInput{EndpointConfigName: aws.String("legacy-config-by-hand")})
	must(t, err)
	spec.Labels = map[string]string{"team": "risk"} // set between the update and the sweep
	state := a.apply(t, spec)
	if all := a.Objects(t); slices.Contains(all, "endpoint configuration legacy-config-by-hand") || !slices.Contains(all, "endpoint configuration "+state.Memo) {
		t.Errorf("left are %v", all)
	}
}

// TestAMixtureIsMended: a rollout failed and could not be rolled back. That is a
// failure that brings back what served before, also for the next process.
func TestAMixtureIsMended(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	one, two := a.version(t, "fraud", "one"), a.version(t, "fraud", "two")
	spec := endpoint("fraud", deployment("main", one))
	a.apply(t, spec)
	before := a.Objects(t)
	fails := map[string]any{"call": "sagemaker.UpdateEndpoint", "occurrence": 1, "action": "fail_transition", "mode": "rollback_failed", "message": "no capacity for either"}
	a.fault(t, fails)
	spec.Deployments[0].Model = two
	must(t, a.CheckEndpoint(spec))
	state, err := a.ApplyEndpoint(t.Context(), spec, clouds.How{Limit: time.Hour})
	if !mlerr.Is(err, mlerr.RolledBack) || !strings.Contains(err.Error(), "no capacity for either") {
		t.Fatalf("%v", err)
	}
	if state.Deployments[0].Model != one || state.Phase != driver.Ready || state.Repair != "" || len(a.Objects(t)) != len(before) {
		t.Errorf("left is %+v, %v", state, a.Objects(t))
	}

	fails["message"] = "again"
	a.fault(t, fails)
	_, err = a.sm.UpdateEndpoint(t.Context(), &awssagemaker.UpdateEndpointInput{EndpointName: aws.String("fraud"), EndpointConfigName: aws.String(a.copyOf(t, state.Memo))})
	must(t, err)
	must(t, a.clock.Sleep(t.Context(), time.Hour))
	if seen, err := a.ObserveEndpoint(t.Context(), spec.Key, nil); err != nil || seen.Repair == "" || seen.Unfinished == "" {
		t.Fatalf("that it serves a mixture is not seen: %+v, %v", seen, err)
	}
	a.apply(t, spec)
}

// copyOf makes another configuration of the same content.
func (a *account) copyOf(t *testing.T, config string) string {
	t.Helper()
	out, err := a.sm.DescribeEndpointConfig(t.Context(), &awssagemaker.DescribeEndpointConfigInput{EndpointConfigName: &config})
	must(t, err)
	_, err = a.sm.CreateEndpointConfig(t.Context(), &awssagemaker.CreateEndpointConfigInput{EndpointConfigName: aws.String("a-copy"), ProductionVariants: out.ProductionVariants})
	must(t, err)
	return "a-copy"
}

// TestAFailedUpdateKeepsAutoscaling: the service wants a variant out of
// autoscaling before it takes another instance type.
func TestAFailedUpdateKeepsAutoscaling(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	d := deployment("main", a.version(t, "fraud", "one"))
	d.Scaling = driver.Scaling{Min: 1, Max: 6, Metrics: []driver.Metric{{Type: driver.MetricRequests, Target: 200}}}
	spec := endpoint("fraud", d)
	a.apply(t, spec)
	a.Drift(t, spec.Key, "main", drivertest.Drift{Replicas: 4})
	before := a.Objects(t)
	for _, c := range []struct {
		reason string
		fault  map[string]any
		want   mlerr.Code
	}{
		{"the service rolled it back", map[string]any{"action": "fail_transition", "message": "the ping failed"}, mlerr.RolledBack},
		{"the account has no room", map[string]any{"action": "error", "code": "ResourceLimitExceeded", "message": "The account-level service limit is 4"}, mlerr.QuotaExceeded},
	} {
		c.fault["call"], c.fault["occurrence"] = "sagemaker.UpdateEndpoint", 1
		a.fault(t, c.fault)
		spec.Deployments[0].Compute.InstanceType = "ml.m5.xlarge"
		must(t, a.CheckEndpoint(spec))
		state, err := a.ApplyEndpoint(t.Context(), spec, clouds.How{Limit: time.Hour})
		if !mlerr.Is(err, c.want) || !strings.Contains(err.Error(), c.fault["message"].(string)) {
			t.Fatalf("%s: %v", c.reason, err)
		}
		if diff := cmp.Diff(d.Scaling, state.Deployments[0].Scaling); diff != "" || state.Deployments[0].Compute.InstanceType != "ml.m5.large" {
			t.Errorf("%s: %+v, %s", c.reason, state.Deployments[0], diff)
		}
		if diff := cmp.Diff(before, a.Objects(t)); diff != "" || a.Replicas(t, spec.Key, "main") != 4 {
			t.Errorf("%s: %d replicas, %s", c.reason, a.Replicas(t, spec.Key, "main"), diff)
		}
	}
	a.apply(t, spec)
}

// TestAKilledUpdateShows: the state that Terraform holds is the one from before,
// and what it configures is what already serves.
func TestAKilledUpdateShows(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	one, two := a.version(t, "fraud", "one"), a.version(t, "fraud", "two")
	spec := endpoint("fraud", deployment("main", one))
	known := a.apply(t, spec)
	c := &drivertest.Cutter{}
	killed := clouds.New(a.Open(t, c), clouds.Options{Clock: a.Clock()})
	spec.Deployments[0].Model = two
	must(t, killed.CheckEndpoint(spec))
	_, err := killed.ApplyEndpoint(t.Context(), spec, clouds.How{Limit: time.Hour, Progress: func(step string) {
		if strings.HasPrefix(step, "remove") {
			c.At = len(c.Calls()) + 1
		}
	}})
	if err == nil {
		t.Fatal("it was not killed")
	}
	seen, err := a.again(t).ObserveEndpoint(t.Context(), spec.Key, known)
	must(t, err)
	if seen.Deployments[0].Model != two || len(seen.Leftovers) == 0 || seen.Unfinished == "" {
		t.Errorf("a refresh shows no work to do: %+v", seen)
	}
	if again, err := a.again(t).ObserveEndpoint(t.Context(), spec.Key, seen); err != nil || again.Unfinished == "" {
		t.Errorf("a second refresh has forgotten it: %+v, %v", again, err)
	}
	if state := a.apply(t, spec); state.Unfinished != "" || len(state.Leftovers) > 0 {
		t.Errorf("still unfinished: %+v", state)
	}
}

// TestVersionsThatHandMadeEndpointsServeStay: their Models carry no mark of the
// version in their names.
func TestVersionsThatHandMadeEndpointsServeStay(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.HandMade(t, "legacy", a.version(t, "fraud", "one"))
	var state *driver.ModelState
	for _, content := range []string{"two", "three"} {
		spec := &driver.ModelSpec{Key: driver.Key{Platform: driver.SageMaker, Location: region, Name: "fraud"},
			Artifact: a.artifact(t, content), Approval: driver.Approved, RetainVersions: 1}
		state = a.model(t, spec)
	}
	var left []string
	for _, v := range state.Versions {
		left = append(left, v.Version)
	}
	if !slices.Equal(left, []string{"1", "3"}) {
		t.Errorf("the versions are %v", left)
	}
	if err := a.DestroyModel(t.Context(), state.Key, time.Hour); !mlerr.Is(err, mlerr.InUse) || !strings.Contains(err.Error(), "legacy") {
		t.Errorf("%v", err)
	}
}

// TestAnAdoptedGroup: versions made by hand are the model's when it is adopted,
// and somebody else's when they come later.
func TestAnAdoptedGroup(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	_, err := a.sm.CreateModelPackageGroup(t.Context(), &awssagemaker.CreateModelPackageGroupInput{ModelPackageGroupName: aws.String("Legacy"),
		ModelPackageGroupDescription: aws.String("by hand")})
	must(t, err)
	byHand := func() {
		_, err := a.sm.CreateModelPackage(t.Context(), &awssagemaker.CreateModelPackageInput{ModelPackageGroupName: aws.String("Legacy"), ModelApprovalStatus: types.ModelApprovalStatusApproved,
			InferenceSpecification: &types.InferenceSpecification{Containers: []types.ModelPackageContainerDefinition{{Image: aws.String("123456789012.dkr.ecr.eu-west-1.amazonaws.com/own:1")}}}})
		must(t, err)
	}
	byHand()
	key, ok := a.ParseNativeID(driver.KindModel, "arn:aws:sagemaker:eu-west-1:123456789012:model-package-group/legacy")
	if !ok {
		t.Fatal("the ARN is not understood")
	}
	seen, err := a.ObserveModel(t.Context(), key, nil)
	must(t, err)
	if seen.Key.Name != "Legacy" || seen.Description != "by hand" || seen.Marks.Owned || seen.Versions[0].Owned {
		t.Fatalf("imported as %+v", seen)
	}
	spec := &driver.ModelSpec{Key: seen.Key, Artifact: a.artifact(t, "one"), Approval: driver.Approved, RetainVersions: 1}
	for range 2 { // what was adopted is remembered
		state := a.model(t, spec)
		if len(state.Versions) != 2 || !state.Versions[0].Adopted || state.Versions[1].Adopted || !state.Marks.Owned {
			t.Fatalf("adopted as %+v", state.Versions)
		}
		spec.Labels = map[string]string{"team": "risk"}
	}
	byHand()
	if err := a.DestroyModel(t.Context(), spec.Key, time.Hour); !mlerr.Is(err, mlerr.InUse) {
		t.Errorf("a version that came later: %v", err)
	}
	_, err = a.sm.DeleteModelPackage(t.Context(), &awssagemaker.DeleteModelPackageInput{ModelPackageName: aws.String("arn:aws:sagemaker:eu-west-1:123456789012:model-package/legacy/3")})
	must(t, err)
	must(t, a.DestroyModel(t.Context(), spec.Key, time.Hour))
}

// TestZeroComesLast: an endpoint that was adopted shows what it has, so a run that
// was cut off before there is a way back from zero must not have gone there.
func TestZeroComesLast(t *testing.T) {
	t.Parallel()
	base := newAccount(t)
	base.registered(t, "m1", base.version(t, "fraud", "one"), nil)
	spec := base.imported(t, base.make(t, &byHand{name: "legacy", config: awssagemaker.CreateEndpointConfigInput{ProductionVariants: []types.ProductionVariant{variant("AllTraffic", "m1")},
		AsyncInferenceConfig: &types.AsyncInferenceConfig{OutputConfig: &types.AsyncInferenceOutputConfig{S3OutputPath: aws.String("s3://" + staging + "/out")}}}}))
	spec.Deployments[0].Scaling = driver.Scaling{Min: 1, Max: 3, Metrics: []driver.Metric{{Type: driver.MetricConcurrency, Target: 5}}}
	base.apply(t, spec)
	spec.Deployments[0].Scaling.Min = 0
	must(t, base.CheckEndpoint(spec))
	at := 0
	for cut := true; cut; {
		at++
		h, _ := base.Fork(t).(*harness)
		c := &drivertest.Cutter{At: at, After: true}
		_, err := clouds.New(h.Open(t, c), clouds.Options{Clock: h.Clock()}).ApplyEndpoint(t.Context(), spec, clouds.How{Limit: time.Hour})
		if cut = len(c.Calls()) >= at; cut == (err == nil) {
			t.Fatalf("cut at call %d (%v): %v", at, c.Calls(), err)
		}
		a := (&account{harness: h}).again(t)
		if _, err := a.ApplyEndpoint(t.Context(), spec, clouds.How{Limit: time.Hour}); err != nil {
			t.Fatalf("after the cut at %v: %v", c.Calls(), err)
		}
		if all := a.scaling(t, t.Context()); !slices.Contains(all, "scaling policy AllTraffic-from-zero") {
			t.Fatalf("cut at %v: it is at zero, and stays there: %v", c.Calls(), all)
		}
	}
}
