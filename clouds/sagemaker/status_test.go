// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sm "github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

func TestEndpointStatus(t *testing.T) {
	t.Parallel()
	wanted := map[types.EndpointStatus]driver.Phase{
		types.EndpointStatusCreating: driver.Changing, types.EndpointStatusUpdating: driver.Changing, types.EndpointStatusSystemUpdating: driver.Changing,
		types.EndpointStatusRollingBack: driver.Changing, types.EndpointStatusInService: driver.Ready, types.EndpointStatusOutOfService: driver.Failed,
		types.EndpointStatusFailed: driver.Failed, types.EndpointStatusUpdateRollbackFailed: driver.Failed, types.EndpointStatusDeleting: driver.Deleting,
		"Hibernating": driver.Changing, // waiting for what is not known yet does no harm
	}
	for _, s := range append(types.EndpointStatus("").Values(), "Hibernating") {
		if got := endpointPhase(s); got != wanted[s] {
			t.Errorf("%s is %q, want %q", s, got, wanted[s])
		}
	}
}

func TestRepair(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reason  string
		status  types.EndpointStatus
		missing bool
		models  []string
		part    string // of the sentence; "" is none
	}{
		{"all is well", types.EndpointStatusInService, false, nil, ""},
		{"the configuration is gone", types.EndpointStatusInService, true, nil, "configuration c"},
		{"a model is gone", types.EndpointStatusInService, false, []string{"m1", "m2"}, "m1, m2"},
		{"a mixture is mended by any update", types.EndpointStatusUpdateRollbackFailed, false, nil, "mixture"},
		{"a failed one accepts none", types.EndpointStatusFailed, true, []string{"m"}, ""},
		{"nor one that is out of service", types.EndpointStatusOutOfService, true, nil, ""},
		{"one in transition is not judged", types.EndpointStatusUpdating, true, []string{"m"}, ""},
	} {
		got := repairOf(&sm.DescribeEndpointOutput{EndpointStatus: c.status, EndpointConfigName: aws.String("c")}, c.missing, c.models)
		if (got == "") != (c.part == "") || !strings.Contains(got, c.part) {
			t.Errorf("%s: %q", c.reason, got)
		}
	}
}

func TestReasonsSayWhatToDo(t *testing.T) {
	t.Parallel()
	reason := endpointReason(&sm.DescribeEndpointOutput{EndpointName: aws.String("fraud"), FailureReason: aws.String("The primary container for production variant main did not pass the ping health check."),
		ProductionVariants: []types.ProductionVariantSummary{{VariantName: aws.String("main"), VariantStatus: []types.ProductionVariantStatus{{StatusMessage: aws.String("exit code 137")}}}}})
	for _, part := range []string{"did not pass the ping health check", "main: exit code 137", "ran out of memory", "/aws/sagemaker/Endpoints/fraud"} {
		if !strings.Contains(reason, part) {
			t.Errorf("the reason lacks %q: %s", part, reason)
		}
	}
	if got := endpointReason(&sm.DescribeEndpointOutput{EndpointName: aws.String("fraud")}); got != "" {
		t.Errorf("without a failure there is no reason: %q", got)
	}
}

func TestPackageStatus(t *testing.T) {
	t.Parallel()
	p := &sm.DescribeModelPackageOutput{ModelPackageVersion: aws.Int32(1), ModelPackageStatus: types.ModelPackageStatusFailed,
		ModelPackageStatusDetails: &types.ModelPackageStatusDetails{
			ValidationStatuses: []types.ModelPackageStatusItem{{Name: aws.String("validation"), Status: types.DetailedModelPackageStatusCompleted}},
			ImageScanStatuses:  []types.ModelPackageStatusItem{{Name: aws.String("scan"), Status: types.DetailedModelPackageStatusFailed, FailureReason: aws.String("CVE-1")}}}}
	if v := versionOf(p); v.Phase != driver.Failed || v.Reason != "scan: CVE-1" {
		t.Errorf("%+v", v)
	}
	for status, want := range map[types.ModelPackageStatus]driver.Phase{types.ModelPackageStatusPending: driver.Changing, types.ModelPackageStatusInProgress: driver.Changing,
		types.ModelPackageStatusCompleted: driver.Ready, types.ModelPackageStatusDeleting: driver.Deleting, "Hibernating": driver.Changing} {
		if got := packagePhase(status); got != want {
			t.Errorf("%s is %q, want %q", status, got, want)
		}
	}
}

func TestLabelsAreTags(t *testing.T) {
	t.Parallel()
	many := func(n int) map[string]string {
		labels := map[string]string{}
		for i := range n {
			labels[fmt.Sprintf("label-%d", i)] = "x"
		}
		return labels
	}
	callers := make([]string, 20)
	for i := range callers {
		callers[i] = fmt.Sprintf("arn:aws:iam::123456789012:role/a-rather-long-name-of-a-caller-%d", i)
	}
	for _, c := range []struct {
		reason, path string
		change       func(*driver.EndpointSpec)
	}{
		{"the charset", "", func(s *driver.EndpointSpec) {
			s.Labels = map[string]string{"Größe 1/2": "a_b.c:d=e+f-g@h", "empty": ""}
		}},
		{"the longest", "", func(s *driver.EndpointSpec) {
			s.Labels = map[string]string{strings.Repeat("k", 128): strings.Repeat("ü", 256)}
		}},
		{"a longer key", "labels." + strings.Repeat("k", 129), func(s *driver.EndpointSpec) { s.Labels = map[string]string{strings.Repeat("k", 129): ""} }},
		{"a longer value", "labels.a", func(s *driver.EndpointSpec) { s.Labels = map[string]string{"a": strings.Repeat("v", 257)} }},
		{"a comma", "labels.a", func(s *driver.EndpointSpec) { s.Labels = map[string]string{"a": "b,c"} }},
		{"the platform's prefix", "labels.AWS:x", func(s *driver.EndpointSpec) { s.Labels = map[string]string{"AWS:x": ""} }},
		{"as many as there is room for", "", func(s *driver.EndpointSpec) { s.Labels = many(maxTags - 3) }},
		{"one more", "labels", func(s *driver.EndpointSpec) { s.Labels = many(maxTags - 2) }},
		{"notes take room too", "labels", func(s *driver.EndpointSpec) { s.Labels, s.Settings.Auth.Invokers = many(maxTags-3), callers }},
	} {
		err := testDriver(t).PrepareEndpoint(testEndpoint(c.change))
		if (err == nil) != (c.path == "") || mlerr.PathOf(err) != c.path {
			t.Errorf("%s: %v at %q", c.reason, err, mlerr.PathOf(err))
		}
	}
}
