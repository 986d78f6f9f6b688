// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"cmp"
	"math"
	"slices"
	"time"

	monitoring "google.golang.org/api/monitoring/v3"
)

// histogram adds up distributions of milliseconds: how many answers took how long.
type histogram struct{ buckets []bucket }

// bucket counts the values in [from, to).
type bucket struct {
	from, to float64
	count    int64
}

// add adds a distribution, each of which may have buckets of its own.
func (h *histogram) add(d *monitoring.Distribution) {
	if d == nil {
		return
	}
	if d.BucketOptions == nil || len(d.BucketCounts) == 0 { // all that is known is where they lie on average
		h.buckets = append(h.buckets, bucket{d.Mean, d.Mean, d.Count})
		return
	}
	for i, n := range d.BucketCounts {
		if n > 0 {
			from, to := bounds(d.BucketOptions, i)
			h.buckets = append(h.buckets, bucket{from, to, n})
		}
	}
}

// percentile is the value that so many of 100 do not exceed. Inside of a bucket values
// are taken to lie evenly, as Cloud Monitoring itself does; in the last one, which has no
// end, they are taken to be at its beginning.
func (h *histogram) percentile(percent float64) time.Duration {
	slices.SortFunc(h.buckets, func(a, b bucket) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	var all, below int64
	for _, b := range h.buckets {
		all += b.count
	}
	wanted := percent / 100 * float64(all)
	for _, b := range h.buckets {
		if float64(below+b.count) < wanted {
			below += b.count
			continue
		}
		ms := b.from
		if !math.IsInf(b.to, 1) {
			ms += (b.to - b.from) * (wanted - float64(below)) / float64(b.count)
		}
		return time.Duration(ms * float64(time.Millisecond))
	}
	return 0
}

// bounds are those of the i-th bucket: the first reaches down to zero, the last has no
// end (BucketOptions).
func bounds(o *monitoring.BucketOptions, i int) (from, to float64) {
	bound, n := func(int) float64 { return 0 }, 0 // the upper one of a bucket, and how many have one
	switch {
	case o.ExplicitBuckets != nil:
		given := o.ExplicitBuckets.Bounds
		bound, n = func(i int) float64 { return given[i] }, len(given)
	case o.ExponentialBuckets != nil:
		e := o.ExponentialBuckets
		bound, n = func(i int) float64 { return e.Scale * math.Pow(e.GrowthFactor, float64(i)) }, int(e.NumFiniteBuckets)+1
	case o.LinearBuckets != nil:
		l := o.LinearBuckets
		bound, n = func(i int) float64 { return l.Offset + l.Width*float64(i) }, int(l.NumFiniteBuckets)+1
	}
	if i > 0 && n > 0 {
		from = bound(min(i, n) - 1)
	}
	if i >= n {
		return from, math.Inf(1)
	}
	return from, bound(i)
}
