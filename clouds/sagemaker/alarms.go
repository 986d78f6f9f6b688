// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	sm "github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"golang.org/x/sync/errgroup"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

const (
	pathAlarms = "rollout.checks.alarms"

	// maxAlarms is how many alarms an update can have (AutoRollbackConfig.Alarms).
	maxAlarms = 10
	// alarmPeriod is the span that our alarms judge, in seconds: SageMaker sends its
	// metrics once a minute.
	alarmPeriod = 60

	metricErrors   = "Invocation5XXErrors"
	metricRequests = "Invocations"
	latencyRank    = "p95"

	// The ends of our alarms' names, behind the configuration's and the variant's.
	endErrorRate = "-error-rate"
	endLatency   = "-latency"
)

// alarmRest is what follows the stem in the names of our alarms.
var alarmRest = regexp.MustCompile(`^[0-9a-f]{10}-.+(` + endErrorRate + `|` + endLatency + `)$`)

// guarded reports whether alarms watch an update.
func guarded(spec *driver.EndpointSpec) bool {
	c := &spec.Rollout.Checks
	return len(c.Alarms) > 0 || c.MaxErrorRate > 0 || c.MaxLatencyMS > 0
}

// checkAlarms are the alarms that watch, for one update, what the fleet of its new
// configuration answers. Of Invocation5XXErrors each request sends a one or a zero,
// so that the average is the share of failures
// (https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html).
func checkAlarms(spec *driver.EndpointSpec, config string) []*cloudwatch.PutMetricAlarmInput {
	var all []*cloudwatch.PutMetricAlarmInput
	c := &spec.Rollout.Checks
	for i := range spec.Deployments {
		dep := &spec.Deployments[i]
		if dep.Traffic == 0 {
			continue // nobody waits for its answers
		}
		if c.MaxErrorRate > 0 {
			a := checkAlarm(spec, config, dep.Name, endErrorRate)
			a.MetricName, a.Statistic, a.Threshold = aws.String(metricErrors), cwtypes.StatisticAverage, aws.Float64(c.MaxErrorRate/100)
			a.AlarmDescription = aws.String(fmt.Sprintf("Rolls back when more than %v percent of the requests to the new %s of endpoint %s fail", c.MaxErrorRate, dep.Name, spec.Key.Name))
			all = append(all, a)
		}
		if c.MaxLatencyMS > 0 {
			a := checkAlarm(spec, config, dep.Name, endLatency)
			a.MetricName, a.ExtendedStatistic, a.Threshold = aws.String(metricLatency), aws.String(latencyRank), aws.Float64(float64(c.MaxLatencyMS)*microsecondsPerMillisecond)
			a.AlarmDescription = aws.String(fmt.Sprintf("Rolls back when 5 percent of the answers of the new %s of endpoint %s take longer than %d ms", dep.Name, spec.Key.Name, c.MaxLatencyMS))
			all = append(all, a)
		}
	}
	return all
}

// checkAlarm is what our alarms have in common. Nobody calling is no failure.
func checkAlarm(spec *driver.EndpointSpec, config, variant, end string) *cloudwatch.PutMetricAlarmInput {
	a := &cloudwatch.PutMetricAlarmInput{
		AlarmName: aws.String(config + "-" + variant + end), ActionsEnabled: aws.Bool(false), Namespace: aws.String(namespaceInvocation),
		Period: aws.Int32(alarmPeriod), EvaluationPeriods: aws.Int32(1), DatapointsToAlarm: aws.Int32(1),
		ComparisonOperator: cwtypes.ComparisonOperatorGreaterThanThreshold, TreatMissingData: aws.String("notBreaching"),
	}
	for _, d := range [][2]string{{"EndpointName", spec.Key.Name}, {"VariantName", variant}, {"EndpointConfigName", config}} {
		a.Dimensions = append(a.Dimensions, cwtypes.Dimension{Name: aws.String(d[0]), Value: aws.String(d[1])})
	}
	for _, t := range ownedTags(spec) {
		a.Tags = append(a.Tags, cwtypes.Tag{Key: t.Key, Value: t.Value})
	}
	return a
}

// alarm is an alarm of CloudWatch as it is now.
type alarm struct {
	arn, reason string
	fires       bool
}

// alarms finds those of the alarms that exist, composite ones too.
func (r *region) alarms(ctx context.Context, names []string) (map[string]alarm, error) {
	found := map[string]alarm{}
	if len(names) == 0 {
		return found, nil // no names would be all
	}
	out, err := r.clients.watch.DescribeAlarms(ctx, &cloudwatch.DescribeAlarmsInput{AlarmNames: names, MaxRecords: aws.Int32(100),
		AlarmTypes: []cwtypes.AlarmType{cwtypes.AlarmTypeMetricAlarm, cwtypes.AlarmTypeCompositeAlarm}})
	if err != nil {
		return nil, failed(err, "read the alarms %s", strings.Join(names, ", "))
	}
	for _, a := range out.MetricAlarms {
		found[aws.ToString(a.AlarmName)] = alarm{aws.ToString(a.AlarmArn), aws.ToString(a.StateReason), a.StateValue == cwtypes.StateValueAlarm}
	}
	for _, a := range out.CompositeAlarms {
		found[aws.ToString(a.AlarmName)] = alarm{aws.ToString(a.AlarmArn), aws.ToString(a.StateReason), a.StateValue == cwtypes.StateValueAlarm}
	}
	return found, nil
}

// watchable refuses alarms of the user's that do not exist, or fire already: with
// those SageMaker would begin the update and take it back at once.
func watchable(names []string, found map[string]alarm) error {
	var all mlerr.List
	for _, name := range names {
		switch a, there := found[name]; {
		case !there:
			all.Add(absent(name))
		case a.fires:
			all.Add(mlerr.New(mlerr.InvalidArgument, "the alarm %s fires already (%s), so that SageMaker would take the change back at once", name, unsaid(a.reason)).
				At(pathAlarms).WithHint("Mend what it tells of, or leave it out of %s for a change that does", pathAlarms))
		}
	}
	return all.Err()
}

func absent(name string) *mlerr.Error {
	return mlerr.New(mlerr.InvalidArgument, "CloudWatch has no alarm %s in this region", name).At(pathAlarms).
		WithHint("Name an alarm of the endpoint's region and account; one that is made in the same apply must come first, by depends_on")
}

func unsaid(reason string) string {
	if reason == "" {
		return "CloudWatch gives no reason"
	}
	return reason
}

// admit asks CloudWatch, in one call, whether the alarms of an update can watch it.
// It returns those of our own that exist already.
func (r *region) admit(ctx context.Context, spec *driver.EndpointSpec, own []*cloudwatch.PutMetricAlarmInput) (map[string]alarm, error) {
	names := slices.Clone(spec.Rollout.Checks.Alarms)
	for _, a := range own {
		names = append(names, *a.AlarmName)
	}
	found, err := r.alarms(ctx, names)
	if err != nil {
		return nil, err
	}
	return found, watchable(spec.Rollout.Checks.Alarms, found)
}

// putAlarms makes our alarms. One that an earlier run has left, and that fires over
// what happened then, is made anew: a second put would keep its state.
func (r *region) putAlarms(ctx context.Context, endpoint string, own []*cloudwatch.PutMetricAlarmInput, found map[string]alarm) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for _, in := range own {
		group.Go(func() error {
			if a, there := found[*in.AlarmName]; there {
				tags, err := r.alarmTags(ctx, a.arn)
				if err != nil {
					return err
				}
				if !marksIn(tags, endpoint).Owned {
					return mlerr.New(mlerr.AlreadyExists, "the alarm %s exists and is not ours", *in.AlarmName).WithHint("Delete or rename it")
				}
				if a.fires {
					if err := r.dropAlarm(ctx, *in.AlarmName); err != nil {
						return err
					}
				}
			}
			_, err := r.clients.watch.PutMetricAlarm(ctx, in)
			return failed(err, "put the alarm %s", *in.AlarmName)
		})
	}
	return group.Wait()
}

func (r *region) alarmTags(ctx context.Context, arn string) (map[string]string, error) {
	out, err := r.clients.watch.ListTagsForResource(ctx, &cloudwatch.ListTagsForResourceInput{ResourceARN: &arn})
	if err != nil {
		return nil, failed(err, "read the tags of %s", arn)
	}
	tags := map[string]string{}
	for _, t := range out.Tags {
		tags[aws.ToString(t.Key)] = aws.ToString(t.Value)
	}
	return tags, nil
}

// alarmNames are all alarms whose name begins so.
func (r *region) alarmNames(ctx context.Context, stem string) ([]string, error) {
	var names []string
	pages := cloudwatch.NewDescribeAlarmsPaginator(r.clients.watch, &cloudwatch.DescribeAlarmsInput{AlarmNamePrefix: &stem, MaxRecords: aws.Int32(100),
		AlarmTypes: []cwtypes.AlarmType{cwtypes.AlarmTypeMetricAlarm}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failed(err, "list the alarms like %s", stem)
		}
		for _, a := range page.MetricAlarms {
			names = append(names, aws.ToString(a.AlarmName))
		}
	}
	slices.Sort(names)
	return names, nil
}

// alarmARN is the ARN of an alarm, "" if there is none.
func (r *region) alarmARN(ctx context.Context, name string) (string, error) {
	if prefix, ok := r.known(); ok {
		return strings.Replace(prefix, ":sagemaker:", ":cloudwatch:", 1) + "alarm:" + name, nil
	}
	found, err := r.alarms(ctx, []string{name})
	return found[name].arn, err
}

// fired tells which of the alarms of an update that was taken back have fired. By
// then they may be quiet again, so their history is asked.
func (r *region) fired(ctx context.Context, now *sm.DescribeEndpointOutput) ([]string, error) {
	last := now.LastDeploymentConfig
	if aws.ToString(now.FailureReason) == "" || last == nil || last.AutoRollbackConfiguration == nil {
		return nil, nil
	}
	lasted := maxExecution * time.Second
	if p := last.BlueGreenUpdatePolicy; p != nil && p.MaximumExecutionTimeoutInSeconds != nil {
		lasted = time.Duration(*p.MaximumExecutionTimeoutInSeconds) * time.Second
	}
	since := aws.ToTime(now.LastModifiedTime).Add(-lasted)
	alarms := last.AutoRollbackConfiguration.Alarms
	said := make([]string, len(alarms))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	for i, a := range alarms {
		group.Go(func() error {
			out, err := r.clients.watch.DescribeAlarmHistory(ctx, &cloudwatch.DescribeAlarmHistoryInput{AlarmName: a.AlarmName, StartDate: &since,
				HistoryItemType: cwtypes.HistoryItemTypeStateUpdate, ScanBy: cwtypes.ScanByTimestampDescending, MaxRecords: aws.Int32(20)})
			if err != nil {
				return failed(err, "read the history of the alarm %s", aws.ToString(a.AlarmName))
			}
			for _, item := range out.AlarmHistoryItems {
				if reason, ok := becameAlarm(aws.ToString(item.HistoryData)); ok {
					said[i] = fmt.Sprintf("The alarm %s fired at %s: %s", aws.ToString(a.AlarmName), aws.ToTime(item.Timestamp).UTC().Format(time.RFC3339), unsaid(reason))
					break
				}
			}
			return nil
		})
	}
	err := group.Wait()
	return slices.DeleteFunc(said, func(s string) bool { return s == "" }), err
}

// becameAlarm reads the HistoryData of a change of state.
func becameAlarm(data string) (reason string, ok bool) {
	var change struct {
		NewState struct {
			StateValue  string `json:"stateValue"`
			StateReason string `json:"stateReason"`
		} `json:"newState"`
	}
	if json.Unmarshal([]byte(data), &change) != nil {
		return "", false
	}
	return strings.TrimSuffix(change.NewState.StateReason, "."), change.NewState.StateValue == string(cwtypes.StateValueAlarm)
}
