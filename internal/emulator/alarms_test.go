// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package emulator_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
)

// watching is an alarm on one metric of the variant "main" of "fraud", of its
// configuration if that is given.
func watching(name, metric, stat, config string, threshold float64) *cloudwatch.PutMetricAlarmInput {
	in := &cloudwatch.PutMetricAlarmInput{AlarmName: &name, Namespace: aws.String("AWS/SageMaker"), MetricName: &metric, Period: aws.Int32(60), EvaluationPeriods: aws.Int32(1),
		Threshold: &threshold, ComparisonOperator: cwtypes.ComparisonOperatorGreaterThanThreshold, TreatMissingData: aws.String("notBreaching"), Dimensions: dimensions(config)}
	if stat[0] == 'p' {
		in.ExtendedStatistic = &stat
	} else {
		in.Statistic = cwtypes.Statistic(stat)
	}
	return in
}

func dimensions(config string) []cwtypes.Dimension {
	all := []cwtypes.Dimension{{Name: aws.String("EndpointName"), Value: aws.String("fraud")}, {Name: aws.String("VariantName"), Value: aws.String("main")}}
	if config != "" {
		all = append(all, cwtypes.Dimension{Name: aws.String("EndpointConfigName"), Value: &config})
	}
	return all
}

// conduct makes all versions answer so.
func (a *account) conduct(errorPercent int, latency string) {
	a.t.Helper()
	text := fmt.Sprintf(`{"conduct":[{"model":"m","error_percent":%d,"latency":%q}]}`, errorPercent, latency)
	if err := os.WriteFile(filepath.Join(a.dir, "faults.json"), []byte(text), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// traffic sends requests and counts the failures.
func (a *account) traffic(n int) (failures int) {
	a.t.Helper()
	for range n {
		if _, err := a.invoke("fraud"); err != nil {
			refuses(a.t, err, "ModelError", "Received server error (500)")
			failures++
		}
	}
	return failures
}

// pages reads all alarms, that many at once.
func (a *account) pages(in cloudwatch.DescribeAlarmsInput) (names []string) {
	a.t.Helper()
	pages := cloudwatch.NewDescribeAlarmsPaginator(a.alarms, &in)
	for pages.HasMorePages() {
		page := must(pages.NextPage(a.t.Context()))(a.t)
		for _, alarm := range page.MetricAlarms {
			names = append(names, *alarm.AlarmName)
		}
	}
	return names
}

func TestAlarmRules(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	ctx := t.Context()
	for _, c := range []struct {
		code, words string
		change      func(in *cloudwatch.PutMetricAlarmInput)
	}{
		{"ValidationError", "Exactly one of Statistic and ExtendedStatistic", func(in *cloudwatch.PutMetricAlarmInput) { in.Statistic = "" }},
		{"ValidationError", "Exactly one of Statistic and ExtendedStatistic", func(in *cloudwatch.PutMetricAlarmInput) { in.ExtendedStatistic = aws.String("p95") }},
		{"ValidationError", "multiple of 60", func(in *cloudwatch.PutMetricAlarmInput) { in.Period = aws.Int32(45) }},
		{"ValidationError", "across more than a day", func(in *cloudwatch.PutMetricAlarmInput) { in.EvaluationPeriods = aws.Int32(1441) }},
		{"ValidationError", "less than or equal to EvaluationPeriods", func(in *cloudwatch.PutMetricAlarmInput) { in.DatapointsToAlarm = aws.Int32(2) }},
		{"ValidationError", "not supported for TreatMissingData", func(in *cloudwatch.PutMetricAlarmInput) { in.TreatMissingData = aws.String("maybe") }},
		{"ValidationError", "Either MetricName or Metrics", func(in *cloudwatch.PutMetricAlarmInput) { in.MetricName = nil }},
		{"ValidationError", "Threshold must be specified", func(in *cloudwatch.PutMetricAlarmInput) { in.Threshold = nil }},
		{"InvalidParameterValue", "begin with aws:", func(in *cloudwatch.PutMetricAlarmInput) {
			in.Tags = []cwtypes.Tag{{Key: aws.String("aws:x"), Value: aws.String("y")}}
		}},
	} {
		in := watching("a", "ModelLatency", "Average", "", 1)
		c.change(in)
		_, err := a.alarms.PutMetricAlarm(ctx, in)
		refuses(t, err, c.code, c.words)
	}
	for _, name := range []string{"b", "a2", "a1", "c"} {
		in := watching(name, "ModelLatency", "Average", "", 1)
		in.Tags = []cwtypes.Tag{{Key: aws.String("of"), Value: &name}}
		must(a.alarms.PutMetricAlarm(ctx, in))(t)
	}
	if got := a.pages(cloudwatch.DescribeAlarmsInput{MaxRecords: aws.Int32(1)}); fmt.Sprint(got) != "[a1 a2 b c]" {
		t.Errorf("a page each: %v", got)
	}
	if got := a.pages(cloudwatch.DescribeAlarmsInput{AlarmNamePrefix: aws.String("a")}); fmt.Sprint(got) != "[a1 a2]" {
		t.Errorf("by prefix: %v", got)
	}
	if got := a.pages(cloudwatch.DescribeAlarmsInput{AlarmTypes: []cwtypes.AlarmType{cwtypes.AlarmTypeCompositeAlarm}}); len(got) > 0 {
		t.Errorf("composite ones: %v", got)
	}
	_, err := a.alarms.DescribeAlarms(ctx, &cloudwatch.DescribeAlarmsInput{AlarmNames: []string{"b"}, AlarmNamePrefix: aws.String("a")})
	refuses(t, err, "InvalidParameterCombination", "mutually exclusive")
	_, err = a.alarms.SetAlarmState(ctx, &cloudwatch.SetAlarmStateInput{AlarmName: aws.String("none"), StateValue: cwtypes.StateValueOk, StateReason: aws.String("r")})
	refuses(t, err, "ResourceNotFound", "does not exist")

	arn := must(a.alarms.DescribeAlarms(ctx, &cloudwatch.DescribeAlarmsInput{AlarmNames: []string{"b"}}))(t).MetricAlarms[0].AlarmArn
	must(a.alarms.PutMetricAlarm(ctx, watching("b", "ModelLatency", "Maximum", "", 2)))(t)
	must(a.alarms.TagResource(ctx, &cloudwatch.TagResourceInput{ResourceARN: arn, Tags: []cwtypes.Tag{{Key: aws.String("k"), Value: aws.String("v")}}}))(t)
	if tags := must(a.alarms.ListTagsForResource(ctx, &cloudwatch.ListTagsForResourceInput{ResourceARN: arn}))(t).Tags; len(tags) != 2 || *tags[0].Key != "k" {
		t.Errorf("tags stay when an alarm is put again: %+v", tags)
	}
	must(a.alarms.DeleteAlarms(ctx, &cloudwatch.DeleteAlarmsInput{AlarmNames: []string{"b"}}))(t)
	_, err = a.alarms.ListTagsForResource(ctx, &cloudwatch.ListTagsForResourceInput{ResourceARN: arn})
	refuses(t, err, "ResourceNotFoundException", "")
}

// TestAlarmsOfAnswers: what an endpoint answers moves its alarms, with no help, and
// they calm down when the requests cease.
func TestAlarmsOfAnswers(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.endpoint()
	a.conduct(30, "700ms")
	for _, in := range []*cloudwatch.PutMetricAlarmInput{
		watching("rate", "Invocation5XXErrors", "Average", "", 0.25), watching("rate-over", "Invocation5XXErrors", "Average", "", 0.35),
		watching("sum", "Invocation5XXErrors", "Sum", "one", 29), watching("p95", "ModelLatency", "p95", "one", 600_000),
		watching("p95-over", "ModelLatency", "p95", "", 700_000), watching("other", "Invocations", "Sum", "two", 0),
	} {
		must(a.alarms.PutMetricAlarm(t.Context(), in))(t)
	}
	wants := func(firing ...string) {
		t.Helper()
		if got := a.pages(cloudwatch.DescribeAlarmsInput{StateValue: cwtypes.StateValueAlarm}); fmt.Sprint(got) != fmt.Sprint(firing) {
			t.Errorf("%v fire, want %v", got, firing)
		}
	}
	start := a.clock.Now()
	if failures := a.traffic(100); failures != 30 {
		t.Errorf("%d of 100 requests failed", failures)
	}
	wants()
	a.minutes(1)
	wants("p95", "rate", "sum")
	a.minutes(2)
	wants()
	history := must(a.alarms.DescribeAlarmHistory(t.Context(), &cloudwatch.DescribeAlarmHistoryInput{AlarmName: aws.String("rate"), StartDate: &start}))(t).AlarmHistoryItems
	if len(history) != 2 || *history[0].HistorySummary != "Alarm updated from ALARM to OK" || *history[1].HistorySummary != "Alarm updated from INSUFFICIENT_DATA to ALARM" {
		t.Errorf("the history: %+v", history)
	}
}

func TestMetricData(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.endpoint()
	a.conduct(30, "700ms")
	start := a.clock.Now()
	a.traffic(100)
	a.clock.Advance(time.Second)
	middle := a.clock.Now()
	a.conduct(0, "2s")
	a.traffic(10)
	a.clock.Advance(time.Second)
	ask := func(from, to time.Time, metric, stat string) []float64 {
		t.Helper()
		out := must(a.alarms.GetMetricData(t.Context(), &cloudwatch.GetMetricDataInput{StartTime: &from, EndTime: &to, MetricDataQueries: []cwtypes.MetricDataQuery{{Id: aws.String("q"),
			MetricStat: &cwtypes.MetricStat{Period: aws.Int32(60), Stat: &stat, Metric: &cwtypes.Metric{Namespace: aws.String("AWS/SageMaker"), MetricName: &metric, Dimensions: dimensions("one")}}}}}))(t)
		if r := out.MetricDataResults[0]; r.StatusCode != cwtypes.StatusCodeComplete || len(r.Timestamps) != len(r.Values) {
			t.Errorf("%+v", r)
		}
		return out.MetricDataResults[0].Values
	}
	for _, c := range []struct {
		from, to     time.Time
		metric, stat string
		want         string
	}{
		{start, middle, "Invocations", "Sum", "[100]"},
		{start, middle, "Invocation5XXErrors", "Sum", "[30]"},
		{start, middle, "Invocation5XXErrors", "Average", "[0.3]"},
		{start, middle, "InvocationModelErrors", "Sum", "[30]"},
		{start, middle, "Invocation4XXErrors", "Sum", "[0]"},
		{start, middle, "ModelLatency", "p95", "[700000]"},
		{middle, a.clock.Now(), "Invocations", "Sum", "[10]"},
		{middle, a.clock.Now(), "ModelLatency", "Minimum", "[2e+06]"},
		{start, a.clock.Now(), "ModelLatency", "SampleCount", "[110]"},
		{a.clock.Now(), a.clock.Now().Add(time.Minute), "Invocations", "Sum", "[]"},
		{start, middle, "OverheadLatency", "Average", "[]"},
	} {
		if got := fmt.Sprint(ask(c.from, c.to, c.metric, c.stat)); got != c.want {
			t.Errorf("%s %s: got %s, want %s", c.metric, c.stat, got, c.want)
		}
	}
	query := cwtypes.MetricDataQuery{Id: aws.String("q"), Expression: aws.String("1+1")}
	_, err := a.alarms.GetMetricData(t.Context(), &cloudwatch.GetMetricDataInput{StartTime: &start, EndTime: &middle, MetricDataQueries: []cwtypes.MetricDataQuery{query}})
	refuses(t, err, "ValidationError", "MetricStat")
	_, err = a.alarms.GetMetricData(t.Context(), &cloudwatch.GetMetricDataInput{StartTime: &middle, EndTime: &start, MetricDataQueries: []cwtypes.MetricDataQuery{query}})
	refuses(t, err, "ValidationError", "StartTime must be less")
}

// TestFleetsShareRequests: while a deployment bakes, the new fleet gets its share.
func TestFleetsShareRequests(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.endpoint()
	a.endpointConfig("two", variant("main", "m", 2, 3), variant("next", "m", 2, 1))
	a.update("two", canary(20, 600, 0))
	a.minutes(6)
	served := map[string]float64{}
	for range 1000 {
		served[must(a.invoke("fraud"))(t)]++
	}
	// Of the old fleet, one variant, and of the new one, by weights 3 and 1.
	if math.Abs(served["next"]-50) > 10 {
		t.Errorf("of 20 percent the variant with a quarter of the weights got %v of 1000", served["next"])
	}
}

// TestBadVersionRollsBack: a guarded deployment ends by itself when the new fleet
// fails, however late somebody looks, and not for want of data.
func TestBadVersionRollsBack(t *testing.T) {
	t.Parallel()
	a := newAccount(t)
	a.endpoint()
	a.endpointConfig("two", variant("main", "m", 2, 1))
	must(a.alarms.PutMetricAlarm(t.Context(), watching("bad", "Invocation5XXErrors", "Average", "two", 0.1)))(t)

	a.update("two", canary(50, 600, 0, "bad"))
	a.minutes(6)
	a.conduct(50, "")
	a.traffic(40)
	a.conduct(0, "")
	a.minutes(60)
	if e := a.wantStatus(ready, "one"); aws.ToString(e.FailureReason) != "One or more configured alarms went into ALARM state: [bad]" {
		t.Errorf("got the reason %q", aws.ToString(e.FailureReason))
	}
	a.update("two", canary(50, 600, 0, "bad"))
	a.minutes(60)
	a.wantStatus(ready, "two")
}
