// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sm "github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

// approvalOf translates ModelApprovalStatus. A status of the future is not
// approved.
func approvalOf(s types.ModelApprovalStatus) driver.Approval {
	switch s {
	case types.ModelApprovalStatusApproved:
		return driver.Approved
	case types.ModelApprovalStatusRejected:
		return driver.Rejected
	}
	return driver.Pending
}

func approvalStatus(a driver.Approval) types.ModelApprovalStatus {
	switch a {
	case driver.Approved:
		return types.ModelApprovalStatusApproved
	case driver.Rejected:
		return types.ModelApprovalStatusRejected
	}
	return types.ModelApprovalStatusPendingManualApproval
}

func packagePhase(s types.ModelPackageStatus) driver.Phase {
	switch s {
	case types.ModelPackageStatusCompleted:
		return driver.Ready
	case types.ModelPackageStatusFailed:
		return driver.Failed
	case types.ModelPackageStatusDeleting:
		return driver.Deleting
	}
	return driver.Changing
}

func packageReason(d *types.ModelPackageStatusDetails) string {
	if d == nil {
		return ""
	}
	var reasons []string
	for _, item := range append(append([]types.ModelPackageStatusItem(nil), d.ValidationStatuses...), d.ImageScanStatuses...) {
		if item.Status == types.DetailedModelPackageStatusFailed {
			reasons = append(reasons, strings.TrimSpace(aws.ToString(item.Name)+": "+aws.ToString(item.FailureReason)))
		}
	}
	return strings.Join(reasons, "; ")
}

// endpointPhase translates EndpointStatus. A status of the future is a
// transition: waiting is harmless.
func endpointPhase(s types.EndpointStatus) driver.Phase {
	switch s {
	case types.EndpointStatusInService:
		return driver.Ready
	case types.EndpointStatusFailed, types.EndpointStatusOutOfService, types.EndpointStatusUpdateRollbackFailed:
		return driver.Failed
	case types.EndpointStatusDeleting:
		return driver.Deleting
	}
	return driver.Changing
}

// failureHints say what to do about the reasons that the platform gives.
var failureHints = []struct{ part, hint string }{
	{"did not pass the ping health check", "The container did not answer GET /ping; often it ran out of memory or could not import the model"},
	{"InsufficientInstanceCapacity", "There is no capacity for this instance type now; try another type, or a rollout that needs fewer instances"},
	{"Unable to provision requested ML compute capacity", "There is no capacity for this instance type now; try another type"},
	{"Please make sure all images included in the model", "The image does not exist, or the execution role may not pull it from ECR"},
	{"Failed to download model data", "The execution role may not read the model data, or it was moved or deleted"},
	{"CannotStartContainerError", "The image may need a newer driver or another architecture than the instance type has"},
	{"Request to service failed", "The platform had an internal error; applying again is safe"},
}

// endpointReason is FailureReason, what alarms and the variants say of themselves,
// and where to look.
func endpointReason(o *sm.DescribeEndpointOutput, details ...string) string {
	reason := aws.ToString(o.FailureReason)
	for _, v := range o.ProductionVariants {
		for _, s := range v.VariantStatus {
			if m := aws.ToString(s.StatusMessage); m != "" && !strings.Contains(reason, m) {
				details = append(details, fmt.Sprintf("%s: %s", aws.ToString(v.VariantName), m))
			}
		}
	}
	parts := details
	if reason != "" {
		parts = append([]string{reason}, details...)
	}
	for _, h := range failureHints {
		if strings.Contains(reason, h.part) {
			parts = append(parts, h.hint)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	if reason != "" {
		parts = append(parts, "The container's log is in /aws/sagemaker/Endpoints/"+aws.ToString(o.EndpointName)+" of CloudWatch Logs")
	}
	return strings.Join(parts, ". ")
}

// repairOf says what is damaged although the endpoint serves, or serves a
// mixture. Such an endpoint accepts a deployment, which mends it.
func repairOf(o *sm.DescribeEndpointOutput, configMissing bool, missingModels []string) string {
	switch {
	case o.EndpointStatus == types.EndpointStatusUpdateRollbackFailed:
		return "a rolling deployment failed and could not be rolled back: the endpoint serves a mixture"
	case endpointPhase(o.EndpointStatus) != driver.Ready:
		return ""
	case configMissing:
		return fmt.Sprintf("the endpoint configuration %s that it stands on was deleted", aws.ToString(o.EndpointConfigName))
	case len(missingModels) > 0:
		return fmt.Sprintf("the model %s that it stands on was deleted", strings.Join(missingModels, ", "))
	}
	return ""
}
