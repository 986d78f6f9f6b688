// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	autoscaling "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"github.com/jonboulle/clockwork"

	"github.com/mlplane/terraform-provider-ml/internal/emulator"
)

// models names all models, page by page, and calls between after each page.
func (a *account) models(in *sagemaker.ListModelsInput, between func()) (names []string, sizes []int) {
	a.t.Helper()
	pages := sagemaker.NewListModelsPaginator(a.sm, in)
	for pages.HasMorePages() {
		page := must(pages.NextPage(a.t.Context()))(a.t)
		sizes = append(sizes, len(page.Models))
		for _, m := range page.Models {
			names = append(names, aws.ToString(m.ModelName))
		}
		if between != nil {
			between()
		}
	}
	return names, sizes
}

func TestPages(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	ctx := t.Context()
	for i := range 25 {
		a.model(fmt.Sprintf("m-%02d", i))
		if i%2 == 0 { // so that some were made at the same moment
			a.minutes(1)
		}
	}
	names, sizes := a.models(&sagemaker.ListModelsInput{}, nil)
	if !slices.Equal(sizes, []int{10, 10, 5}) || names[0] != "m-24" || names[24] != "m-00" || len(slices.Compact(names)) != 25 {
		t.Errorf("the newest come first, ten a page: %v %v", sizes, names)
	}
	names, sizes = a.models(&sagemaker.ListModelsInput{SortBy: types.ModelSortKeyName, SortOrder: types.OrderKeyAscending, MaxResults: aws.Int32(20)}, nil)
	if !slices.Equal(sizes, []int{20, 5}) || !slices.IsSorted(names) {
		t.Errorf("by name: %v %v", sizes, names)
	}
	// Filters apply after the cut: clients must follow empty pages.
	names, sizes = a.models(&sagemaker.ListModelsInput{NameContains: aws.String("m-0")}, nil)
	if !slices.Equal(sizes, []int{0, 5, 5}) || len(names) != 10 {
		t.Errorf("filtered: %v %v", sizes, names)
	}
	// What a client removes while it lists does not hide the rest.
	names, _ = a.models(&sagemaker.ListModelsInput{}, func() {
		list := must(a.sm.ListModels(ctx, &sagemaker.ListModelsInput{}))(t)
		for _, m := range list.Models {
			must(a.sm.DeleteModel(ctx, &sagemaker.DeleteModelInput{ModelName: m.ModelName}))(t)
		}
	})
	if len(names) != 25 {
		t.Errorf("removing page by page saw %d of 25", len(names))
	}
}

func TestForeignTokensAreRefused(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	ctx := t.Context()
	a.model("m")
	a.model("n")
	token := must(a.sm.ListModels(ctx, &sagemaker.ListModelsInput{MaxResults: aws.Int32(1)}))(t).NextToken
	_, err := a.sm.ListEndpoints(ctx, &sagemaker.ListEndpointsInput{NextToken: token})
	refuses(t, err, "ValidationException", "Invalid NextToken")
	_, err = a.aas.DescribeScalableTargets(ctx, &autoscaling.DescribeScalableTargetsInput{ServiceNamespace: namespace, NextToken: token})
	refuses(t, err, "InvalidNextTokenException", "Invalid NextToken")
}

func TestFilters(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	ctx := t.Context()
	a.endpoint()
	noon := a.clock.Now()
	a.minutes(300)
	a.create("later", "one")
	for _, c := range []struct {
		in   sagemaker.ListEndpointsInput
		want []string
	}{
		{sagemaker.ListEndpointsInput{}, []string{"later", "fraud"}},
		{sagemaker.ListEndpointsInput{StatusEquals: creating}, []string{"later"}},
		{sagemaker.ListEndpointsInput{CreationTimeBefore: &noon}, []string{"fraud"}},
		{sagemaker.ListEndpointsInput{LastModifiedTimeAfter: &noon}, []string{"later"}},
		{sagemaker.ListEndpointsInput{NameContains: aws.String("RAU")}, []string{"fraud"}},
		{sagemaker.ListEndpointsInput{SortOrder: types.OrderKeyAscending}, []string{"fraud", "later"}},
	} {
		var got []string
		for _, e := range must(a.sm.ListEndpoints(ctx, &c.in))(t).Endpoints {
			got = append(got, aws.ToString(e.EndpointName))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %v, want %v", c.in, got, c.want)
		}
	}
}

// What an account holds outlives the process, and time goes on without it.
func TestStateStays(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.endpoint()
	a.put("models", "key", "value")
	a.endpointConfig("two", variant("main", "m", 2, 1))
	a.update("two", nil)
	must("", a.server.Close())(t)
	a.minutes(5)
	b := openAccount(t, a.dir, a.clock)
	b.wantStatus(ready, "two")
	if got := b.get("models", "key"); got != "value" {
		t.Errorf("the object holds %q", got)
	}
	if calls := must(b.server.Calls())(t); len(calls) < 5 || calls[len(calls)-1].Name != "s3.GetObject" {
		t.Errorf("the calls of both processes are remembered: %v", calls)
	}
}

// Several processes share a directory: each sees at once what another did, and
// of two that make the same thing one is refused.
func TestTwoServersOnOneDirectory(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	b := openAccount(t, a.dir, a.clock)
	a.endpoint()
	b.wantStatus(ready, "one")
	var wg sync.WaitGroup
	var mu sync.Mutex
	made, versions := map[string]int{}, map[string]int{}
	must(a.sm.CreateModelPackageGroup(t.Context(), &sagemaker.CreateModelPackageGroupInput{ModelPackageGroupName: aws.String("g")}))(t)
	for i := range 20 {
		on := []*account{a, b}[i%2]
		wg.Go(func() {
			name := fmt.Sprint("both-", i/2)
			_, err := on.sm.CreateModel(context.WithoutCancel(t.Context()), &sagemaker.CreateModelInput{ModelName: &name, ExecutionRoleArn: aws.String(role),
				PrimaryContainer: &types.ContainerDefinition{Image: aws.String(image)}})
			version, versionErr := on.sm.CreateModelPackage(context.WithoutCancel(t.Context()), &sagemaker.CreateModelPackageInput{ModelPackageGroupName: aws.String("g"),
				InferenceSpecification: &types.InferenceSpecification{Containers: []types.ModelPackageContainerDefinition{{Image: aws.String(image)}}}})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made[name]++
			}
			if versionErr == nil {
				versions[aws.ToString(version.ModelPackageArn)]++
			}
		})
	}
	wg.Wait()
	if len(made) != 10 || len(versions) != 20 {
		t.Errorf("made %v, versions %v", made, versions)
	}
	for name, n := range made {
		if n != 1 {
			t.Errorf("%s was made %d times", name, n)
		}
	}
}

func TestOnlyLoopbackIsServed(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"0.0.0.0:0", ":0", "192.0.2.1:80"} {
		if s, err := emulator.Start(emulator.Options{StateDir: filepath.Join(t.TempDir(), "new"), Listen: address, Clock: clockwork.NewFakeClock()}); err == nil {
			t.Errorf("%s was served", address)
			_ = s.Close()
		}
	}
}
