// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

var autoscalingHandlers = map[string]handler{
	"RegisterScalableTarget": registerTarget, "DescribeScalableTargets": describeTargets, "DeregisterScalableTarget": deregisterTarget,
	"PutScalingPolicy": putPolicy, "DescribeScalingPolicies": describePolicies, "DeleteScalingPolicy": deletePolicy,
	"PutScheduledAction": putAction, "DescribeScheduledActions": describeActions, "DeleteScheduledAction": deleteAction,
	"TagResource": tagTarget, "UntagResource": untagTarget, "ListTagsForResource": listTargetTags,
}

// The dimensions of SageMaker.
const (
	instanceDimension    = "sagemaker:variant:DesiredInstanceCount"
	concurrencyDimension = "sagemaker:variant:DesiredProvisionedConcurrency"
)

var variantResourcePattern = regexp.MustCompile(`^endpoint/([^/]+)/variant/([^/]+)$`)

func variantResource(endpoint, variant string) string {
	return "endpoint/" + endpoint + "/variant/" + variant
}

func (r *request) targetKey(resource, dimension string) string {
	return r.region + "/" + resource + "|" + dimension
}

// target is a registered target, or nil.
func (r *request) target(resource, dimension string) (obj, error) {
	var t obj
	found, err := r.tx.Get("target", r.targetKey(resource, dimension), &t)
	if !found {
		return nil, err
	}
	return t, err
}

func notFound(what string, r *request) *apiError {
	return &apiError{"ObjectNotFoundException", fmt.Sprintf("No %s for service namespace: %s, resource ID: %s, scalable dimension: %s",
		what, r.in.str("ServiceNamespace"), r.in.str("ResourceId"), r.in.str("ScalableDimension")), 400}
}

// scaledVariant finds the variant that a target is for.
func (r *request) scaledVariant() (*endpoint, *variant, error) {
	resource, dimension := r.in.str("ResourceId"), r.in.str("ScalableDimension")
	m := variantResourcePattern.FindStringSubmatch(resource)
	if r.in.str("ServiceNamespace") != "sagemaker" || m == nil || (dimension != instanceDimension && dimension != concurrencyDimension) {
		return nil, nil, invalid("Unsupported service namespace, resource type or scalable dimension")
	}
	e, err := r.endpoint(m[1])
	if err != nil {
		return nil, nil, invalid("SageMaker endpoint or variant not found: %s", resource)
	}
	v := findVariant(e.Variants, m[2])
	if v == nil {
		return nil, nil, invalid("SageMaker endpoint or variant not found: %s", resource)
	}
	return e, v, nil
}

func registerTarget(r *request) (obj, error) {
	e, v, err := r.scaledVariant()
	if err != nil {
		return nil, err
	}
	resource, dimension := r.in.str("ResourceId"), r.in.str("ScalableDimension")
	t, err := r.target(resource, dimension)
	if err != nil {
		return nil, err
	}
	if t == nil {
		if !r.in.has("MinCapacity") || !r.in.has("MaxCapacity") {
			return nil, invalid("MinCapacity and MaxCapacity are required to register a new scalable target")
		}
		n, err := r.tx.Next("target")
		if err != nil {
			return nil, err
		}
		arn := fmt.Sprintf("arn:%s:application-autoscaling:%s:%s:scalable-target/%016x", partition(r.region), r.region, AccountID, n)
		t = obj{"ServiceNamespace": "sagemaker", "ResourceId": resource, "ScalableDimension": dimension, "CreationTime": epoch(r.now()), "ScalableTargetARN": arn,
			"RoleARN":        fmt.Sprintf("arn:%s:iam::%s:role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint", partition(r.region), AccountID),
			"SuspendedState": obj{"DynamicScalingInSuspended": false, "DynamicScalingOutSuspended": false, "ScheduledScalingSuspended": false}}
		if tags := r.in.obj("Tags"); tags != nil {
			if err := r.tx.Put("tags", arn, tags); err != nil {
				return nil, err
			}
		}
	}
	for _, name := range []string{"MinCapacity", "MaxCapacity", "SuspendedState"} {
		if r.in.has(name) {
			t[name] = r.in[name]
		}
	}
	if err := r.checkBounds(e, v, t); err != nil {
		return nil, err
	}
	if err := r.clamp(e, v, t); err != nil {
		return nil, err
	}
	return obj{"ScalableTargetARN": t.str("ScalableTargetARN")}, r.tx.Put("target", r.targetKey(resource, dimension), t)
}

func (r *request) checkBounds(e *endpoint, v *variant, t obj) error {
	least, most := t.num("MinCapacity"), t.num("MaxCapacity")
	if least > most {
		return invalid("Maximum capacity cannot be less than minimum capacity")
	}
	if t.str("ScalableDimension") == concurrencyDimension {
		if v.Serverless == nil || v.Serverless.num("ProvisionedConcurrency") == 0 {
			return invalid("Variant %s has no provisioned concurrency", v.Name)
		}
		return nil
	}
	if v.Serverless != nil {
		return invalid("Variant %s is serverless and has no instance count", v.Name)
	}
	if strings.HasPrefix(v.InstanceType, "ml.t2.") {
		return invalid("Automatic scaling is not supported for instance type %s", v.InstanceType)
	}
	config, err := r.config(e.Config)
	if err != nil {
		return err
	}
	if least < 1 && !config.has("AsyncInferenceConfig") {
		return invalid("Minimum capacity must be at least 1 for real-time endpoint variants")
	}
	return nil
}

// clamp begins to bring the live count into the bounds.
func (r *request) clamp(e *endpoint, v *variant, t obj) error {
	if t.str("ScalableDimension") != instanceDimension || e.Pending != nil {
		return nil
	}
	count := min(max(v.DesiredCount, int(t.num("MinCapacity"))), int(t.num("MaxCapacity")))
	if count == v.DesiredCount {
		return nil
	}
	fleet := copied(e.Variants)
	findVariant(fleet, v.Name).DesiredCount = count
	var err error
	if e.Pending, err = r.begin("weights", "", fleet); err != nil {
		return err
	}
	return r.save(e)
}

// each lists one kind of thing of the namespace, filtered as the request asks.
func (r *request) each(kind, filter, name string) ([]obj, error) {
	if r.in.has("ScalableDimension") && !r.in.has("ResourceId") && !r.in.has("ResourceIds") {
		return nil, invalid("If you specify a scalable dimension, you must also specify a resource ID")
	}
	all, err := r.documents(kind)
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, v := range r.in.strings(filter) {
		wanted[v] = true
	}
	var kept []obj
	for _, o := range all {
		if (len(wanted) == 0 || wanted[o.str(name)]) &&
			(!r.in.has("ResourceId") || r.in.str("ResourceId") == o.str("ResourceId")) &&
			(!r.in.has("ScalableDimension") || r.in.str("ScalableDimension") == o.str("ScalableDimension")) {
			kept = append(kept, o)
		}
	}
	return kept, nil
}

// scaledID identifies a target, or by name what belongs to one.
func scaledID(name string) func(obj) string {
	return func(o obj) string { return o.str("ResourceId") + "|" + o.str("ScalableDimension") + "|" + o.str(name) }
}

func describeTargets(r *request) (obj, error) {
	all, err := r.each("target", "ResourceIds", "ResourceId")
	if err != nil {
		return nil, err
	}
	items, token, err := r.page(listing{items: all, id: scaledID(""), size: 50, most: 50})
	return obj{"ScalableTargets": items, "NextToken": token}, err
}

func deregisterTarget(r *request) (obj, error) {
	t, err := r.target(r.in.str("ResourceId"), r.in.str("ScalableDimension"))
	if err != nil {
		return nil, err
	}
	if t == nil {
		return nil, notFound("scalable target found", r)
	}
	return nil, r.dropTarget(t)
}

// dropTarget removes a target with its policies and scheduled actions.
func (r *request) dropTarget(t obj) error {
	key := r.targetKey(t.str("ResourceId"), t.str("ScalableDimension"))
	for _, kind := range []string{"policy", "action"} {
		var keys []string
		if err := r.tx.Each(kind, key+"|", func(k string, _ []byte) error { keys = append(keys, k); return nil }); err != nil {
			return err
		}
		for _, k := range keys {
			if err := r.tx.Delete(kind, k); err != nil {
				return err
			}
		}
	}
	if err := r.tx.Delete("tags", t.str("ScalableTargetARN")); err != nil {
		return err
	}
	return r.tx.Delete("target", key)
}

// deregisterAll is what DeleteEndpoint does for its variants.
func (r *request) deregisterAll(endpoint string) error {
	var all []obj
	err := r.tx.Each("target", r.region+"/endpoint/"+endpoint+"/", func(_ string, data []byte) error {
		var t obj
		err := json.Unmarshal(data, &t)
		all = append(all, t)
		return err
	})
	if err != nil {
		return err
	}
	for _, t := range all {
		if err := r.dropTarget(t); err != nil {
			return err
		}
	}
	return nil
}

// targetTags are the tags of the scalable target that the request names.
func (r *request) targetTags() (map[string]string, error) {
	arn := r.in.str("ResourceARN")
	all, err := r.documents("target")
	if err != nil {
		return nil, err
	}
	for _, t := range all {
		if t.str("ScalableTargetARN") == arn {
			return r.tags(arn)
		}
	}
	return nil, &apiError{"ResourceNotFoundException", "The specified resource doesn't exist: " + arn, 400}
}

func tagTarget(r *request) (obj, error) {
	tags, err := r.targetTags()
	if err != nil {
		return nil, err
	}
	for k, v := range r.in.obj("Tags") {
		tags[k], _ = v.(string)
	}
	if len(tags) > 50 {
		return nil, &apiError{"TooManyTagsException", "The request contains too many tags: a resource can have 50", 400}
	}
	return nil, r.tx.Put("tags", r.in.str("ResourceARN"), tags)
}

func untagTarget(r *request) (obj, error) {
	tags, err := r.targetTags()
	if err != nil {
		return nil, err
	}
	for _, k := range r.in.strings("TagKeys") {
		delete(tags, k)
	}
	return nil, r.tx.Put("tags", r.in.str("ResourceARN"), tags)
}

func listTargetTags(r *request) (obj, error) {
	tags, err := r.targetTags()
	return obj{"Tags": tags}, err
}
