// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package prometheus

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/metering"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/state"
)

// Answer is one that a caller got.
type Answer struct {
	Namespace string
	Service   string // that the request was sent to
	Workload  string // that answered; "" if none could
	Status    int
}

// docSeries are the answers of which there are tallies, by the name of their series.
const docSeries = "prometheus-series"

// Record counts an answer.
func Record(tx *state.Tx, a Answer, at time.Time, latency time.Duration) error {
	series := fmt.Sprintf("kubernetes/%s/%s/%s/%d", a.Namespace, a.Service, cmp.Or(a.Workload, unknown), a.Status)
	if err := tx.Put(docSeries, series, a); err != nil {
		return err
	}
	return metering.Record(tx, series, at, a.Status, latency)
}

// unknown is Istio's word for what no request reached.
const unknown = "unknown"

// buckets are the upper bounds of Istio's histograms, in milliseconds.
var buckets = []float64{0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000, 1800000, 3600000}

// scrape is how often a counter is read, in milliseconds: as exactly as answers are
// kept. Once more it is read at the moment that a query is about.
const scrape = 100

// counter is a series that only grows.
type counter struct {
	labels labels.Labels
	grown  []growth // in order of time
}

// growth is what a counter has reached behind a moment.
type growth struct {
	at    int64 // milliseconds since 1970
	total float64
}

// value is what the counter has counted before a moment; ok is false before it exists.
func (c *counter) value(at int64) (total float64, ok bool) {
	i := sort.Search(len(c.grown), func(i int) bool { return c.grown[i].at >= at })
	if i == 0 {
		return 0, false
	}
	return c.grown[i-1].total, true
}

// held is what the emulated Prometheus has, for a query about one moment.
type held struct {
	counters []counter
	at       int64
}

var _ storage.Queryable = (*held)(nil)

// read reads all that was answered before a moment.
func (s *Service) read(ctx context.Context, at time.Time) (*held, error) {
	h := &held{at: at.UnixMilli()}
	err := s.o.Store.Do(ctx, func(tx *state.Tx) error {
		all := map[string]Answer{}
		err := tx.Each(docSeries, "", func(series string, document []byte) error {
			var a Answer
			err := json.Unmarshal(document, &a)
			all[series] = a
			return err
		})
		if err != nil {
			return err
		}
		for series, a := range all {
			tallies, err := metering.Read(tx, series, time.UnixMilli(scrape), at)
			if err != nil {
				return err
			}
			if len(tallies) > 0 {
				h.add(a, tallies)
			}
		}
		return nil
	})
	slices.SortFunc(h.counters, func(a, b counter) int { return labels.Compare(a.labels, b.labels) })
	return h, err
}

// add makes of tallies the series that Istio's proxies show: those of the client's
// side, which know of the requests that nobody answered.
func (h *held) add(a Answer, tallies []metering.Tally) {
	workload := cmp.Or(a.Workload, unknown)
	common := map[string]string{"reporter": "source", "request_protocol": "http", "response_code": strconv.Itoa(a.Status), "job": "kubernetes-pods",
		"destination_service": a.Service + "." + a.Namespace + ".svc.cluster.local", "destination_service_name": a.Service, "destination_service_namespace": a.Namespace,
		"destination_workload": workload, "destination_workload_namespace": a.Namespace}
	series := func(name, le string, count func(t *metering.Tally) float64) {
		c, total := counter{}, 0.0
		for i := range tallies {
			total += count(&tallies[i])
			c.grown = append(c.grown, growth{tallies[i].Start.UnixMilli(), total})
		}
		b := labels.NewBuilder(labels.FromMap(common)).Set(labels.MetricName, name)
		if le != "" {
			b.Set(labels.BucketLabel, le)
		}
		c.labels = b.Labels()
		h.counters = append(h.counters, c)
	}
	const duration = "istio_request_duration_milliseconds"
	requests := func(t *metering.Tally) float64 { return float64(t.Requests()) }
	series("istio_requests_total", "", requests)
	series(duration+"_count", "", requests)
	series(duration+"_sum", "", func(t *metering.Tally) float64 { return within(t, -1, true) })
	for _, bound := range buckets {
		series(duration+"_bucket", strconv.FormatFloat(bound, 'f', -1, 64), func(t *metering.Tally) float64 { return within(t, bound, false) })
	}
	series(duration+"_bucket", "+Inf", requests)
}

// within counts the answers that took no longer than so many milliseconds, all if it is
// negative; or adds up their milliseconds.
func within(t *metering.Tally, bound float64, sum bool) (total float64) {
	for micros, n := range t.Latencies {
		ms := float64(micros) / float64(time.Millisecond/time.Microsecond)
		switch {
		case bound >= 0 && ms > bound:
		case sum:
			total += ms * float64(n)
		default:
			total += float64(n)
		}
	}
	return total
}

// sample is one that was scraped.
type sample struct {
	t int64
	v float64
}

func (s sample) T() int64                      { return s.t }
func (s sample) F() float64                    { return s.v }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }

// most is how many samples of a series a query reads: over longer spans they are
// scraped less often.
const most = 6000

// samples are those of a span of time.
func (c *counter) samples(from, to, at int64) []chunks.Sample {
	step := int64(scrape)
	if (to-from)/step > most {
		step = (to - from) / most / scrape * scrape
	}
	var all []chunks.Sample
	last := to / scrape * scrape
	first := last - (last-from)/step*step // counted back, so that the latest is there
	for t := first; t <= last; t += step {
		if v, ok := c.value(t); ok && t >= from {
			all = append(all, sample{t, v})
		}
	}
	if v, ok := c.value(at); ok && from <= at && at <= to && at != last {
		all = append(all, sample{at, v})
	}
	return all
}

// Querier implements storage.Queryable.
func (h *held) Querier(_, _ int64) (storage.Querier, error) { return h, nil }

// Select implements storage.Querier.
func (h *held) Select(_ context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	found := &found{}
	for i := range h.counters {
		c := &h.counters[i]
		if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(c.labels.Get(m.Name)) }) {
			found.all = append(found.all, storage.NewListSeries(c.labels, c.samples(hints.Start, hints.End, h.at)))
		}
	}
	return found
}

// LabelValues implements storage.LabelQuerier.
func (h *held) LabelValues(_ context.Context, name string, _ *storage.LabelHints, matchers ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	var all []string
	for i := range h.counters {
		l := h.counters[i].labels
		if l.Has(name) && !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(l.Get(m.Name)) }) {
			all = append(all, l.Get(name))
		}
	}
	slices.Sort(all)
	return slices.Compact(all), nil, nil
}

// LabelNames implements storage.LabelQuerier.
func (h *held) LabelNames(_ context.Context, _ *storage.LabelHints, _ ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	var all []string
	for i := range h.counters {
		h.counters[i].labels.Range(func(l labels.Label) { all = append(all, l.Name) })
	}
	slices.Sort(all)
	return slices.Compact(all), nil, nil
}

// Close implements storage.LabelQuerier.
func (h *held) Close() error { return nil }

// found is a storage.SeriesSet.
type found struct {
	all []storage.Series
	at  int
}

func (f *found) Next() bool                        { f.at++; return f.at <= len(f.all) }
func (f *found) At() storage.Series                { return f.all[f.at-1] }
func (f *found) Err() error                        { return nil }
func (f *found) Warnings() annotations.Annotations { return nil }
