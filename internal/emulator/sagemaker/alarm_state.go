// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"encoding/json"
	"fmt"
	"time"
)

// The states of an alarm.
const (
	stateOK    = "OK"
	stateAlarm = "ALARM"
	stateNone  = "INSUFFICIENT_DATA"
)

// mostHistory is how many changes of an alarm are kept.
const mostHistory = 50

// enter puts an alarm into a state, and keeps the change in its history.
func (r *request) enter(a obj, value, reason string, at time.Time) error {
	old := obj{"stateValue": a.str("StateValue"), "stateReason": a.str("StateReason")}
	a["StateValue"], a["StateReason"], a["StateUpdatedTimestamp"] = value, reason, epoch(at)
	if old.str("stateValue") == value {
		return r.saveAlarm(a)
	}
	a["StateTransitionedTimestamp"] = epoch(at)
	data, err := json.Marshal(obj{"version": "1.0", "oldState": old, "newState": obj{"stateValue": value, "stateReason": reason}})
	if err != nil {
		return err
	}
	var history struct{ Items []obj }
	key := r.region + "/" + a.str("AlarmName") // stays when the alarm is deleted
	if _, err := r.tx.Get("alarm-history", key, &history); err != nil {
		return err
	}
	history.Items = append(history.Items, obj{"AlarmName": a.str("AlarmName"), "AlarmType": "MetricAlarm", "Timestamp": epoch(at), "HistoryItemType": "StateUpdate",
		"HistorySummary": fmt.Sprintf("Alarm updated from %s to %s", old.str("stateValue"), value), "HistoryData": string(data)})
	history.Items = history.Items[max(0, len(history.Items)-mostHistory):]
	if err := r.tx.Put("alarm-history", key, history); err != nil {
		return err
	}
	return r.saveAlarm(a)
}

// current is an alarm as it is now: one that watches an endpoint is evaluated anew
// when a period has ended since it was last.
func (r *request) current(a obj) (obj, error) {
	return a, r.evaluate(a, r.now())
}

// evaluate brings an alarm to the state that it has at a moment.
func (r *request) evaluate(a obj, at time.Time) error {
	period := r.scaled(seconds(a, "Period"))
	if period <= 0 || epoch(at.Truncate(period)) <= a.num("StateUpdatedTimestamp") {
		return nil
	}
	state, reason, err := r.judge(a, at)
	if err != nil || state == "" || state == a.str("StateValue") {
		return err
	}
	return r.enter(a, state, reason, at.Truncate(period))
}

// judge says what state an alarm's last periods, those that have ended, give it.
// "" is that there is nothing to judge, so that the state stays: the metric is none
// that is emulated, or its data is missing and that is to be ignored.
func (r *request) judge(a obj, at time.Time) (state, reason string, err error) {
	period, periods := r.scaled(seconds(a, "Period")), int(a.num("EvaluationPeriods"))
	if !emulated(a) || period <= 0 {
		return "", "", nil
	}
	stat := a.str("Statistic") + a.str("ExtendedStatistic")
	end := at.Truncate(period)
	breaching, missing, shown := 0, 0, ""
	for i := range periods {
		value, ok, err := r.value(a, stat, end.Add(-time.Duration(i+1)*period), end.Add(-time.Duration(i)*period))
		if err != nil {
			return "", "", err
		}
		switch {
		case !ok:
			missing++
		case crosses(value, a.str("ComparisonOperator"), a.num("Threshold")):
			breaching++
			shown = fmt.Sprintf("%v (%s)", value, end.Add(-time.Duration(i+1)*period).UTC().Format("02/01/06 15:04:05"))
		}
	}
	treat := a.str("TreatMissingData")
	if treat == "breaching" {
		breaching += missing
	}
	needed := int(a.num("DatapointsToAlarm"))
	if needed == 0 {
		needed = periods
	}
	switch {
	case breaching >= needed && shown == "":
		return stateAlarm, "Threshold Crossed: no datapoints were received and missing data is treated as breaching.", nil
	case breaching >= needed:
		return stateAlarm, fmt.Sprintf("Threshold Crossed: %d datapoint [%s] was %s (%v).", breaching, shown, comparisons[a.str("ComparisonOperator")], a.num("Threshold")), nil
	case missing == periods && treat == "ignore":
		return "", "", nil
	case missing == periods && treat != "notBreaching":
		return stateNone, "Insufficient Data: no datapoints were received.", nil
	}
	return stateOK, fmt.Sprintf("Threshold Crossed: %d datapoints were not %s (%v).", periods-breaching, comparisons[a.str("ComparisonOperator")], a.num("Threshold")), nil
}

// comparisons are the operators in words.
var comparisons = map[string]string{"GreaterThanThreshold": "greater than the threshold", "GreaterThanOrEqualToThreshold": "greater than or equal to the threshold",
	"LessThanThreshold": "less than the threshold", "LessThanOrEqualToThreshold": "less than or equal to the threshold"}

func crosses(value float64, operator string, threshold float64) bool {
	switch operator {
	case "GreaterThanThreshold":
		return value > threshold
	case "GreaterThanOrEqualToThreshold":
		return value >= threshold
	case "LessThanThreshold":
		return value < threshold
	case "LessThanOrEqualToThreshold":
		return value <= threshold
	}
	return false
}

// firing is the first of the alarms that is in ALARM state, or "".
func (r *request) firing(names []string) (string, error) {
	for _, name := range names {
		a, found, err := r.alarm(name)
		if err != nil {
			return "", err
		}
		if !found {
			continue
		}
		if a, err = r.current(a); err != nil {
			return "", err
		}
		if a.str("StateValue") == stateAlarm {
			return name, nil
		}
	}
	return "", nil
}

// breach is the first moment in (from, to] at which one of the alarms fires over
// what endpoints have answered. The alarm is then in that state.
func (r *request) breach(names []string, from, to time.Time) (first time.Time, name string, err error) {
	var fired obj
	var reason string
	for _, n := range names {
		a, found, err := r.alarm(n)
		if err != nil {
			return first, "", err
		}
		period := r.scaled(seconds(a, "Period"))
		if !found || !emulated(a) || period <= 0 {
			continue
		}
		for at := from.Truncate(period).Add(period); !at.After(to) && (name == "" || at.Before(first)); at = at.Add(period) {
			state, why, err := r.judge(a, at)
			if err != nil {
				return first, "", err
			}
			if state == stateAlarm {
				first, name, fired, reason = at, n, a, why
			}
		}
	}
	if name == "" {
		return first, "", nil
	}
	return first, name, r.enter(fired, stateAlarm, reason, first)
}
