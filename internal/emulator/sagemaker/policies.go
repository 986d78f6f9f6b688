// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"fmt"
	"maps"
	"regexp"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// child is the key of a policy or an action of the target in the request, which
// must be registered.
func (r *request) child(name string) (string, error) {
	t, err := r.target(r.in.str("ResourceId"), r.in.str("ScalableDimension"))
	if err != nil {
		return "", err
	}
	if t == nil {
		return "", notFound("scalable target registered", r)
	}
	return r.targetKey(r.in.str("ResourceId"), r.in.str("ScalableDimension")) + "|" + name, nil
}

// room refuses one more policy or action of the request's target than AWS allows.
func (r *request) room(kind string, most int, words string) error {
	n := 0
	err := r.tx.Each(kind, r.targetKey(r.in.str("ResourceId"), r.in.str("ScalableDimension"))+"|", func(string, []byte) error { n++; return nil })
	if err == nil && n >= most {
		return &apiError{"LimitExceededException", words, 400}
	}
	return err
}

func putPolicy(r *request) (obj, error) {
	name := r.in.str("PolicyName")
	key, err := r.child(name)
	if err != nil {
		return nil, err
	}
	if err := checkPolicy(r.in); err != nil {
		return nil, err
	}
	p := obj{}
	found, err := r.tx.Get("policy", key, &p)
	if err != nil {
		return nil, err
	}
	if !found {
		if err := r.room("policy", 50, "The maximum number of scaling policies per scalable target is 50"); err != nil {
			return nil, err
		}
	}
	p = mergeObj(p, r.in.only("PolicyName", "ServiceNamespace", "ResourceId", "ScalableDimension", "PolicyType", "StepScalingPolicyConfiguration", "TargetTrackingScalingPolicyConfiguration"))
	resource := r.in.str("ResourceId")
	p["PolicyARN"] = fmt.Sprintf("arn:%s:autoscaling:%s:%s:scalingPolicy:00000000:resource/sagemaker/%s:policyName/%s", partition(r.region), r.region, AccountID, resource, name)
	p["Alarms"] = []any{}
	if p.str("PolicyType") == "TargetTrackingScaling" {
		for _, side := range []string{"AlarmHigh", "AlarmLow"} {
			alarm := fmt.Sprintf("TargetTracking-%s-%s-%s", resource, side, name)
			p["Alarms"] = append(p["Alarms"].([]any), obj{"AlarmName": alarm, "AlarmARN": fmt.Sprintf("arn:%s:cloudwatch:%s:%s:alarm:%s", partition(r.region), r.region, AccountID, alarm)}) //nolint:forcetypeassert // set above
		}
	}
	if !p.has("CreationTime") {
		p["CreationTime"] = epoch(r.now())
	}
	return obj{"PolicyARN": p["PolicyARN"], "Alarms": p["Alarms"]}, r.tx.Put("policy", key, p)
}

func mergeObj(a, b obj) obj {
	maps.Copy(a, b)
	return a
}

func checkPolicy(in obj) error {
	tracking := in.obj("TargetTrackingScalingPolicyConfiguration")
	switch in.str("PolicyType") {
	case "TargetTrackingScaling":
		if tracking == nil || tracking.has("PredefinedMetricSpecification") == tracking.has("CustomizedMetricSpecification") {
			return invalid("Exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification must be specified")
		}
		if m := tracking.obj("PredefinedMetricSpecification").str("PredefinedMetricType"); m != "" && !strings.HasPrefix(m, "SageMaker") {
			return invalid("Metric type %s is not supported for service namespace sagemaker", m)
		}
	case "StepScaling":
		if !in.has("StepScalingPolicyConfiguration") {
			return invalid("StepScalingPolicyConfiguration is required for policy type StepScaling")
		}
	default:
		return invalid("Policy type %s is not supported for service namespace sagemaker", in.str("PolicyType"))
	}
	return nil
}

func describePolicies(r *request) (obj, error) {
	all, err := r.each("policy", "PolicyNames", "PolicyName")
	if err != nil {
		return nil, err
	}
	items, token, err := r.page(listing{items: all, id: scaledID("PolicyName"), size: 10, most: 10})
	return obj{"ScalingPolicies": items, "NextToken": token}, err
}

func (r *request) drop(kind, name, what string) (obj, error) {
	key := r.targetKey(r.in.str("ResourceId"), r.in.str("ScalableDimension")) + "|" + name
	var o obj
	found, err := r.tx.Get(kind, key, &o)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, notFound(what, r)
	}
	return nil, r.tx.Delete(kind, key)
}

func deletePolicy(r *request) (obj, error) {
	return r.drop("policy", r.in.str("PolicyName"), "scaling policy found")
}

func deleteAction(r *request) (obj, error) {
	return r.drop("action", r.in.str("ScheduledActionName"), "scheduled action found")
}

var (
	schedulePattern = regexp.MustCompile(`^(at|rate|cron)\((.*)\)$`)
	ratePattern     = regexp.MustCompile(`^[1-9]\d* (minutes?|hours?|days?)$`)
)

func putAction(r *request) (obj, error) {
	name := r.in.str("ScheduledActionName")
	key, err := r.child(name)
	if err != nil {
		return nil, err
	}
	a := obj{}
	found, err := r.tx.Get("action", key, &a)
	if err != nil {
		return nil, err
	}
	if !found {
		if !r.in.has("Schedule") || !r.in.has("ScalableTargetAction") {
			return nil, invalid("Schedule and ScalableTargetAction are required for a new scheduled action")
		}
		if err := r.room("action", 200, "The maximum number of scheduled actions per scalable target is 200"); err != nil {
			return nil, err
		}
	}
	if r.in.has("Schedule") {
		if err := checkSchedule(r.in.str("Schedule")); err != nil {
			return nil, err
		}
	}
	if zone := r.in.str("Timezone"); zone != "" {
		if _, err := time.LoadLocation(zone); err != nil {
			return nil, invalid("Timezone %s is not a canonical name of the IANA time zones", zone)
		}
	}
	a = mergeObj(a, r.in.only("ScheduledActionName", "ServiceNamespace", "ResourceId", "ScalableDimension", "Schedule", "Timezone", "ScalableTargetAction"))
	delete(a, "StartTime")
	delete(a, "EndTime")
	a = mergeObj(a, r.in.only("StartTime", "EndTime"))
	a["ScheduledActionARN"] = fmt.Sprintf("arn:%s:autoscaling:%s:%s:scheduledAction:00000000:resource/sagemaker/%s:scheduledActionName/%s", partition(r.region), r.region, AccountID, r.in.str("ResourceId"), name)
	if !a.has("CreationTime") {
		a["CreationTime"] = epoch(r.now())
	}
	return nil, r.tx.Put("action", key, a)
}

// checkSchedule reads at(), rate() and AWS's six-field cron().
func checkSchedule(s string) error {
	refuse := invalid("Schedule expression %s is not valid", s)
	m := schedulePattern.FindStringSubmatch(s)
	if m == nil {
		return refuse
	}
	switch m[1] {
	case "at":
		if _, err := time.Parse("2006-01-02T15:04:05", m[2]); err != nil {
			return refuse
		}
	case "rate":
		if !ratePattern.MatchString(m[2]) {
			return refuse
		}
	case "cron":
		fields := strings.Fields(m[2])
		if len(fields) != 6 || (fields[2] == "?") == (fields[4] == "?") {
			return refuse // one of day-of-month and day-of-week, and only one, must be "?"
		}
		// AWS numbers Sunday 1; the library numbers it 0. Names and ranges are the same to both.
		fields[4] = regexp.MustCompile(`\b[1-7]\b`).ReplaceAllStringFunc(fields[4], func(d string) string { return string(d[0] - 1) })
		if _, err := cron.ParseStandard(strings.Join(fields[:5], " ")); err != nil {
			return refuse
		}
	}
	return nil
}

func describeActions(r *request) (obj, error) {
	all, err := r.each("action", "ScheduledActionNames", "ScheduledActionName")
	if err != nil {
		return nil, err
	}
	items, token, err := r.page(listing{items: all, id: scaledID("ScheduledActionName"), size: 50, most: 50})
	return obj{"ScheduledActions": items, "NextToken": token}, err
}
