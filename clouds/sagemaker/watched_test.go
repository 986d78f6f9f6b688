// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
	runtimetypes "github.com/aws/aws-sdk-go-v2/service/sagemakerruntime/types"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/drivertest"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
)

var _ drivertest.Watched = (*harness)(nil)

// pagerNamespace is where the metrics of the users' own alarms are: nothing but
// Alarm changes their state.
const pagerNamespace = "Pager"

// Call sends requests; what the model fails to answer is an answer too.
func (h *harness) Call(t *testing.T, key driver.Key, n int) {
	t.Helper()
	for range n {
		_, err := h.rt.InvokeEndpoint(t.Context(), &sagemakerruntime.InvokeEndpointInput{EndpointName: &key.Name, Body: []byte(`{"x":1}`), ContentType: aws.String("application/json")})
		if _, failed := errors.AsType[*runtimetypes.ModelError](err); err != nil && !failed {
			t.Fatal(err)
		}
	}
}

// Conduct makes a version answer so.
func (h *harness) Conduct(t *testing.T, ref driver.VersionRef, errorPercent int, latency time.Duration) {
	t.Helper()
	h.script(t, func(s *script) {
		s.Conduct = slices.DeleteFunc(s.Conduct, func(c fault.Conduct) bool { return c.Model == ref.Key.Name && c.Version == ref.Version })
		c := fault.Conduct{Model: ref.Key.Name, Version: ref.Version, ErrorPercent: errorPercent}
		if latency > 0 {
			c.Latency = latency.String()
		}
		s.Conduct = append(s.Conduct, c)
	})
}

// Alarm makes an alarm on what somebody else measures.
func (h *harness) Alarm(t *testing.T, name string, fires bool) {
	t.Helper()
	found, err := h.watch.DescribeAlarms(t.Context(), &cloudwatch.DescribeAlarmsInput{AlarmNames: []string{name}})
	must(t, err)
	if len(found.MetricAlarms) == 0 {
		_, err := h.watch.PutMetricAlarm(t.Context(), &cloudwatch.PutMetricAlarmInput{AlarmName: &name, Namespace: aws.String(pagerNamespace), MetricName: aws.String("Complaints"),
			Statistic: cwtypes.StatisticSum, Period: aws.Int32(60), EvaluationPeriods: aws.Int32(1), Threshold: aws.Float64(0), ComparisonOperator: cwtypes.ComparisonOperatorGreaterThanThreshold})
		must(t, err)
	}
	state, reason := cwtypes.StateValueOk, "nobody complains"
	if fires {
		state, reason = cwtypes.StateValueAlarm, "somebody complains"
	}
	_, err = h.watch.SetAlarmState(t.Context(), &cloudwatch.SetAlarmStateInput{AlarmName: &name, StateValue: state, StateReason: &reason})
	must(t, err)
}
