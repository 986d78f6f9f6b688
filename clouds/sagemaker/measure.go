// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// metricsDelay is how late CloudWatch shows what an endpoint answered: SageMaker
// sends its metrics once a minute.
const metricsDelay = time.Minute

// The ids of the queries of Measure.
const (
	queryRequests = "requests"
	queryErrors   = "errors"
	queryLatency  = "latency"
)

// Measure sums up what the variant called id has answered on the configuration that
// serves now. CloudWatch keeps whole minutes: the first one counts with what was
// answered in it before since.
func (d *sagemaker) Measure(ctx context.Context, key driver.Key, id string, since, until time.Time) (driver.Measurement, error) {
	r, err := d.at(ctx, key.Location)
	if err != nil {
		return driver.Measurement{}, err
	}
	now, err := r.endpoint(ctx, key.Name)
	if err != nil {
		return driver.Measurement{}, err
	}
	// One period for the whole window: percentiles of several cannot be put together.
	period := int32(math.Ceil(until.Sub(since.Truncate(time.Minute)).Minutes())) * 60
	query := func(id2, metric, stat string) cwtypes.MetricDataQuery {
		m := &cwtypes.Metric{Namespace: aws.String(namespaceInvocation), MetricName: &metric}
		for _, dim := range [][2]string{{"EndpointName", aws.ToString(now.EndpointName)}, {"VariantName", id}, {"EndpointConfigName", aws.ToString(now.EndpointConfigName)}} {
			m.Dimensions = append(m.Dimensions, cwtypes.Dimension{Name: aws.String(dim[0]), Value: aws.String(dim[1])})
		}
		return cwtypes.MetricDataQuery{Id: &id2, MetricStat: &cwtypes.MetricStat{Metric: m, Period: aws.Int32(max(period, 60)), Stat: &stat}}
	}
	values := map[string][]float64{}
	pages := cloudwatch.NewGetMetricDataPaginator(r.clients.watch, &cloudwatch.GetMetricDataInput{StartTime: &since, EndTime: &until,
		MetricDataQueries: []cwtypes.MetricDataQuery{query(queryRequests, metricRequests, "Sum"), query(queryErrors, metricErrors, "Sum"), query(queryLatency, metricLatency, latencyRank)}})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return driver.Measurement{}, failed(err, "read the metrics of deployment %s of %s", id, key.Name)
		}
		for _, result := range page.MetricDataResults {
			values[aws.ToString(result.Id)] = append(values[aws.ToString(result.Id)], result.Values...)
		}
	}
	m := driver.Measurement{Requests: int(sum(values[queryRequests])), Errors: int(sum(values[queryErrors]))}
	if all := values[queryLatency]; len(all) > 0 {
		m.Latency95 = time.Duration(slices.Max(all) * float64(time.Microsecond))
	}
	return m, nil
}

func sum(all []float64) (total float64) {
	for _, v := range all {
		total += v
	}
	return total
}

// Firing lists the alarms in ALARM state.
func (d *sagemaker) Firing(ctx context.Context, key driver.Key, names []string) ([]driver.Alarm, error) {
	r, err := d.at(ctx, key.Location)
	if err != nil {
		return nil, err
	}
	found, err := r.alarms(ctx, names)
	if err != nil {
		return nil, err
	}
	var firing []driver.Alarm
	var all mlerr.List
	for _, name := range slices.Sorted(slices.Values(names)) {
		a, there := found[name]
		if !there {
			all.Add(absent(name))
		}
		if a.fires {
			firing = append(firing, driver.Alarm{Name: name, Reason: a.reason})
		}
	}
	if err := all.Err(); err != nil {
		return nil, err
	}
	return firing, nil
}
