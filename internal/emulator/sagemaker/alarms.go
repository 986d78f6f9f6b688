// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"fmt"
	"slices"
	"strings"
)

// alarmHandlers are the part of CloudWatch that endpoints meet: alarms that
// guard a deployment or wake an endpoint up, and what endpoints have answered.
var alarmHandlers = map[string]handler{
	"PutMetricAlarm": putAlarm, "DescribeAlarms": describeAlarms, "DescribeAlarmHistory": describeAlarmHistory,
	"DeleteAlarms": deleteAlarms, "SetAlarmState": setAlarmState, "GetMetricData": getMetricData,
	"TagResource": tagAlarm, "UntagResource": untagAlarm, "ListTagsForResource": listAlarmTags,
}

// maxAlarmSpan is the longest time that an alarm may look back, in seconds.
const maxAlarmSpan = 86400

func putAlarm(r *request) (obj, error) {
	if err := checkAlarm(r.in); err != nil {
		return nil, err
	}
	name := r.in.str("AlarmName")
	old, found, err := r.alarm(name)
	if err != nil {
		return nil, err
	}
	if !found {
		old = obj{"StateValue": "INSUFFICIENT_DATA", "StateReason": "Unchecked: Initial alarm creation",
			"StateUpdatedTimestamp": epoch(r.now()), "StateTransitionedTimestamp": epoch(r.now())}
		if err := r.putAlarmTags(r.alarmARN(name)); err != nil {
			return nil, err
		}
	}
	// A second put replaces the whole alarm but its state and its tags.
	a := old.only("StateValue", "StateReason", "StateUpdatedTimestamp", "StateTransitionedTimestamp")
	for k, v := range r.in {
		if k != "Tags" {
			a[k] = v
		}
	}
	if !a.has("ActionsEnabled") {
		a["ActionsEnabled"] = true
	}
	a["AlarmConfigurationUpdatedTimestamp"] = epoch(r.now())
	a["AlarmArn"] = r.alarmARN(name)
	return nil, r.saveAlarm(a)
}

// checkAlarm holds the rules between the fields of an alarm
// (https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html).
func checkAlarm(in obj) error {
	wrong := func(format string, args ...any) error {
		return &apiError{"ValidationError", fmt.Sprintf(format, args...), 400}
	}
	periods, period := int(in.num("EvaluationPeriods")), int(in.num("Period"))
	switch {
	case !in.has("MetricName") && !in.has("Metrics"):
		return wrong("Either MetricName or Metrics must be specified")
	case in.has("MetricName") && in.has("Metrics"):
		return &apiError{"InvalidParameterCombination", "MetricName and Metrics are mutually exclusive", 400}
	case !in.has("ComparisonOperator"):
		return wrong("The parameter ComparisonOperator is required")
	case periods == 0:
		return wrong("The parameter EvaluationPeriods is required")
	case int(in.num("DatapointsToAlarm")) > periods:
		return wrong("DatapointsToAlarm must be less than or equal to EvaluationPeriods")
	case in.has("TreatMissingData") && !slices.Contains([]string{"breaching", "notBreaching", "ignore", "missing"}, in.str("TreatMissingData")):
		return wrong("The value %s is not supported for TreatMissingData", in.str("TreatMissingData"))
	case in.has("Metrics"):
		return nil
	case !in.has("Namespace") || period == 0:
		return wrong("Namespace and Period must be specified with MetricName")
	case in.has("Statistic") == in.has("ExtendedStatistic"):
		return wrong("Exactly one of Statistic and ExtendedStatistic must be specified")
	case !in.has("Threshold"):
		return wrong("Threshold must be specified")
	case period%60 != 0 && period != 10 && period != 20 && period != 30:
		return wrong("Period must be 10, 20, 30 or a multiple of 60")
	case period < 3600 && periods*period > maxAlarmSpan:
		return wrong("Metrics cannot be checked across more than a day (EvaluationPeriods * Period must be <= %d)", maxAlarmSpan)
	}
	return nil
}

func describeAlarms(r *request) (obj, error) {
	names, prefix, types := r.in.strings("AlarmNames"), r.in.str("AlarmNamePrefix"), r.in.strings("AlarmTypes")
	if len(names) > 0 && prefix != "" {
		return nil, &apiError{"InvalidParameterCombination", "AlarmNames and AlarmNamePrefix are mutually exclusive", 400}
	}
	all, err := r.documents("alarm")
	if err != nil {
		return nil, err
	}
	if len(types) > 0 && !slices.Contains(types, "MetricAlarm") {
		all = nil // composite alarms cannot be made here
	}
	var kept []obj
	for _, a := range all {
		if (len(names) > 0 && !slices.Contains(names, a.str("AlarmName"))) || !strings.HasPrefix(a.str("AlarmName"), prefix) {
			continue
		}
		if a, err = r.current(a); err != nil {
			return nil, err
		}
		if !r.in.has("StateValue") || r.in.str("StateValue") == a.str("StateValue") {
			kept = append(kept, a)
		}
	}
	items, token, err := r.page(listing{items: kept, id: member("AlarmName"), size: 50})
	return obj{"MetricAlarms": items, "CompositeAlarms": []any{}, "NextToken": token}, err
}

func deleteAlarms(r *request) (obj, error) {
	for _, name := range r.in.strings("AlarmNames") {
		if err := r.tx.Delete("alarm", r.region+"/"+name); err != nil {
			return nil, err
		}
		if err := r.tx.Delete("tags", r.alarmARN(name)); err != nil {
			return nil, err
		}
	}
	return nil, nil //nolint:nilnil // the operation answers nothing
}

func setAlarmState(r *request) (obj, error) {
	a, found, err := r.alarm(r.in.str("AlarmName"))
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, &apiError{"ResourceNotFound", "Alarm " + r.in.str("AlarmName") + " does not exist", 404}
	}
	if err := r.enter(a, r.in.str("StateValue"), r.in.str("StateReason"), r.now()); err != nil {
		return nil, err
	}
	return nil, r.settleAll()
}

// settleAll lets every endpoint of the region notice what has just changed.
func (r *request) settleAll() error {
	all, err := r.documents("endpoint")
	for _, doc := range all {
		if _, err := r.endpoint(doc.str("Name")); err != nil && !refused(err) {
			return err
		}
	}
	return err
}

func describeAlarmHistory(r *request) (obj, error) {
	all, err := r.documents("alarm-history")
	if err != nil {
		return nil, err
	}
	var kept []obj
	for _, doc := range all {
		for _, item := range doc.list("Items") {
			at := item.num("Timestamp")
			if (!r.in.has("AlarmName") || r.in.str("AlarmName") == item.str("AlarmName")) &&
				(!r.in.has("HistoryItemType") || r.in.str("HistoryItemType") == item.str("HistoryItemType")) &&
				(!r.in.has("StartDate") || at >= r.in.num("StartDate")) && (!r.in.has("EndDate") || at < r.in.num("EndDate")) {
				kept = append(kept, item)
			}
		}
	}
	items, token, err := r.page(listing{items: kept, by: "Timestamp", descending: r.in.str("ScanBy") != "TimestampAscending", size: 50,
		id: func(o obj) string { return o.str("AlarmName") + o.str("HistoryData") }})
	return obj{"AlarmHistoryItems": items, "NextToken": token}, err
}

func (r *request) alarm(name string) (a obj, found bool, err error) {
	found, err = r.tx.Get("alarm", r.region+"/"+name, &a)
	return a, found, err
}

func (r *request) saveAlarm(a obj) error {
	return r.tx.Put("alarm", r.region+"/"+a.str("AlarmName"), a)
}

func (r *request) alarmARN(name string) string {
	return fmt.Sprintf("arn:%s:cloudwatch:%s:%s:alarm:%s", partition(r.region), r.region, AccountID, name)
}

// taggedAlarm refuses the ARN of anything but an alarm that exists.
func (r *request) taggedAlarm() (string, error) {
	arn := r.in.str("ResourceARN")
	name, ok := strings.CutPrefix(arn, r.alarmARN(""))
	if !ok {
		return "", &apiError{"InvalidParameterValue", "Invalid resource ARN: " + arn, 400}
	}
	_, found, err := r.alarm(name)
	if err == nil && !found {
		err = &apiError{"ResourceNotFoundException", "Unknown resource: " + arn, 404}
	}
	return arn, err
}

// putAlarmTags adds the request's tags to those of an alarm.
func (r *request) putAlarmTags(arn string) error {
	tags, err := r.tags(arn)
	if err != nil {
		return err
	}
	for _, t := range r.in.list("Tags") {
		if strings.HasPrefix(t.str("Key"), "aws:") {
			return &apiError{"InvalidParameterValue", "Tag keys cannot begin with aws:", 400}
		}
		tags[t.str("Key")] = t.str("Value")
	}
	if len(tags) > 50 {
		return &apiError{"InvalidParameterValue", "A resource can have at most 50 tags", 400}
	}
	return r.tx.Put("tags", arn, tags)
}

func tagAlarm(r *request) (obj, error) {
	arn, err := r.taggedAlarm()
	if err != nil {
		return nil, err
	}
	return nil, r.putAlarmTags(arn)
}

func untagAlarm(r *request) (obj, error) {
	arn, err := r.taggedAlarm()
	if err != nil {
		return nil, err
	}
	tags, err := r.tags(arn)
	if err != nil {
		return nil, err
	}
	for _, key := range r.in.strings("TagKeys") {
		delete(tags, key)
	}
	return nil, r.tx.Put("tags", arn, tags)
}

func listAlarmTags(r *request) (obj, error) {
	arn, err := r.taggedAlarm()
	if err != nil {
		return nil, err
	}
	tags, err := r.tags(arn)
	return obj{"Tags": tagList(tags)}, err
}
