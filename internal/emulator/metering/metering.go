// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package metering keeps what the emulated platforms answered to callers of
// endpoints, for the metrics that those platforms show of it.
package metering

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/state"
)

const kind = "answers"

// grain is how exactly the time of an answer is kept: on the scaled clock of a
// rehearsal thirty seconds take a tenth of one.
const grain = 100 * time.Millisecond

// Tally is what was answered in a span of time.
type Tally struct {
	Start     time.Time     // of the span
	Statuses  map[int]int   // answers by status
	Latencies map[int64]int // answers by latency in microseconds
}

// Record counts an answer of a series, which names a deployment: "vertex/e/d".
func Record(tx *state.Tx, series string, at time.Time, status int, latency time.Duration) error {
	start := at.UTC().Truncate(grain)
	t := Tally{Start: start, Statuses: map[int]int{}, Latencies: map[int64]int{}}
	key := series + "/" + stamp(start)
	if _, err := tx.Get(kind, key, &t); err != nil {
		return err
	}
	t.Statuses[status]++
	t.Latencies[latency.Microseconds()]++
	return tx.Put(kind, key, t)
}

// Read lists the tallies of a series that begin in [from, to), in order of time.
func Read(tx *state.Tx, series string, from, to time.Time) ([]Tally, error) {
	prefix := series + "/"
	keys, err := tx.Keys(kind, prefix, prefix+stamp(from.UTC().Truncate(grain).Add(-grain)), 0)
	if err != nil {
		return nil, err
	}
	var all []Tally
	for _, key := range keys {
		if strings.TrimPrefix(key, prefix) >= stamp(to.UTC()) {
			break
		}
		var t Tally
		if _, err := tx.Get(kind, key, &t); err != nil {
			return nil, err
		}
		if !t.Start.Before(from.UTC().Truncate(grain)) {
			all = append(all, t)
		}
	}
	return all, nil
}

// stamp orders as times do.
func stamp(t time.Time) string { return fmt.Sprintf("%016x", t.UnixMilli()) }

// Sum adds tallies up; the start is that of the first.
func Sum(all []Tally) Tally {
	sum := Tally{Statuses: map[int]int{}, Latencies: map[int64]int{}}
	for i, t := range all {
		if i == 0 {
			sum.Start = t.Start
		}
		for status, n := range t.Statuses {
			sum.Statuses[status] += n
		}
		for latency, n := range t.Latencies {
			sum.Latencies[latency] += n
		}
	}
	return sum
}

// Requests is how many answers there were.
func (t Tally) Requests() int {
	n := 0
	for _, of := range t.Statuses {
		n += of
	}
	return n
}

// Errors is how many of them had a status of 500 and above.
func (t Tally) Errors() int {
	n := 0
	for status, of := range t.Statuses {
		if status >= http.StatusInternalServerError {
			n += of
		}
	}
	return n
}

// Percentile is the least latency that so many of 100 answers did not exceed, zero
// without answers.
func (t Tally) Percentile(percent float64) time.Duration {
	var all []int64
	for latency := range t.Latencies {
		all = append(all, latency)
	}
	slices.Sort(all)
	reached := 0
	for _, latency := range all {
		if reached += t.Latencies[latency]; float64(reached) >= percent/100*float64(t.Requests()) {
			return time.Duration(latency) * time.Microsecond
		}
	}
	return 0
}
