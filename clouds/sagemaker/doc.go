// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package sagemaker drives Amazon SageMaker AI: it translates the core's steps
// into API calls, and what the APIs show into states.
//
// A model is a ModelPackageGroup and its versions are ModelPackages. An endpoint
// stands on an EndpointConfig and on Models, which are immutable and named by
// their content; every change of what is served is a new configuration and one
// UpdateEndpoint, which the service runs by itself. What SageMaker has no field
// for is kept in tags whose keys begin with "ml:".
//
// # Calls
//
// These are all calls that the driver makes, by API. Each needs the IAM action
// of the same name with the prefix in parentheses.
//
//	SageMaker (sagemaker): AddTags, CreateEndpoint, CreateEndpointConfig,
//	  CreateModel, CreateModelPackage, CreateModelPackageGroup, DeleteEndpoint,
//	  DeleteEndpointConfig, DeleteModel, DeleteModelPackage,
//	  DeleteModelPackageGroup, DeleteTags, DescribeEndpoint,
//	  DescribeEndpointConfig, DescribeModel, DescribeModelPackage,
//	  DescribeModelPackageGroup, ListEndpointConfigs, ListEndpoints,
//	  ListModelPackages, ListModels, ListTags, UpdateEndpoint, UpdateEndpointWeightsAndCapacities,
//	  UpdateModelPackage
//	SageMaker Runtime (sagemaker): InvokeEndpoint
//	Application Auto Scaling (application-autoscaling): DeleteScalingPolicy,
//	  DeleteScheduledAction, DeregisterScalableTarget, DescribeScalableTargets,
//	  DescribeScalingPolicies, DescribeScheduledActions, PutScalingPolicy,
//	  PutScheduledAction, RegisterScalableTarget
//	CloudWatch (cloudwatch): DeleteAlarms, DescribeAlarmHistory, DescribeAlarms,
//	  GetMetricData, ListTagsForResource, PutMetricAlarm
//
// Besides, iam:PassRole on the execution role; the first autoscaled endpoint of
// an account iam:CreateServiceLinkedRole, and alarms the cloudwatch:TagResource
// and the cloudwatch actions that Application Auto Scaling makes for its own
// policies; a KMS key kms:CreateGrant and kms:DescribeKey; artifacts
// s3:GetObject and s3:ListBucket where they are, s3:PutObject and
// s3:AbortMultipartUpload where they are staged. ListEndpointConfigs, ListEndpoints
// and ListModels have no resource-level permissions: without them nothing fails,
// what an interrupted run left behind stays, and a version that an endpoint serves
// is not seen to be served. Without any of Application Auto
// Scaling's, endpoints of fixed size work. The execution role needs
// cloudwatch:DescribeAlarms on the alarms that watch an update.
package sagemaker
