// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"fmt"
	"strings"
)

// alarmHandlers are the part of CloudWatch that endpoints meet: alarms that
// guard a deployment or wake an endpoint up.
var alarmHandlers = map[string]handler{"PutMetricAlarm": putAlarm, "DescribeAlarms": describeAlarms, "DeleteAlarms": deleteAlarms, "SetAlarmState": setAlarmState}

func putAlarm(r *request) (obj, error) {
	name := r.in.str("AlarmName")
	key := r.region + "/" + name
	old := obj{"StateValue": "INSUFFICIENT_DATA", "StateUpdatedTimestamp": epoch(r.now())}
	if _, err := r.tx.Get("alarm", key, &old); err != nil {
		return nil, err
	}
	// A second put replaces the whole alarm but its state.
	a := old.only("StateValue", "StateReason", "StateUpdatedTimestamp")
	if !r.in.has("MetricName") && !r.in.has("Metrics") {
		return nil, &apiError{"ValidationError", "Either MetricName or Metrics must be specified", 400}
	}
	for k, v := range r.in {
		if k != "Tags" {
			a[k] = v
		}
	}
	if !a.has("ActionsEnabled") {
		a["ActionsEnabled"] = true
	}
	a["AlarmConfigurationUpdatedTimestamp"] = epoch(r.now())
	a["AlarmArn"] = fmt.Sprintf("arn:%s:cloudwatch:%s:%s:alarm:%s", partition(r.region), r.region, AccountID, name)
	return nil, r.tx.Put("alarm", key, a)
}

func describeAlarms(r *request) (obj, error) {
	all, err := r.documents("alarm")
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, n := range r.in.strings("AlarmNames") {
		names[n] = true
	}
	var kept []obj
	for _, a := range all {
		if (len(names) == 0 || names[a.str("AlarmName")]) && strings.HasPrefix(a.str("AlarmName"), r.in.str("AlarmNamePrefix")) &&
			(!r.in.has("StateValue") || r.in.str("StateValue") == a.str("StateValue")) {
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
	}
	return nil, nil //nolint:nilnil // the operation answers nothing
}

func setAlarmState(r *request) (obj, error) {
	key := r.region + "/" + r.in.str("AlarmName")
	var a obj
	found, err := r.tx.Get("alarm", key, &a)
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, &apiError{"ResourceNotFound", "Alarm " + r.in.str("AlarmName") + " does not exist", 404}
	}
	a["StateValue"], a["StateReason"], a["StateUpdatedTimestamp"] = r.in["StateValue"], r.in["StateReason"], epoch(r.now())
	if err := r.tx.Put("alarm", key, a); err != nil {
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

// firing is the first of the alarms that is in ALARM state, or "".
func (r *request) firing(names []string) (string, error) {
	for _, name := range names {
		var a obj
		if _, err := r.tx.Get("alarm", r.region+"/"+name, &a); err != nil {
			return "", err
		}
		if a.str("StateValue") == "ALARM" {
			return name, nil
		}
	}
	return "", nil
}
