// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package metering_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/metering"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/state"
)

// TestRead: a window holds what was answered in it, of that series only.
func TestRead(t *testing.T) {
	t.Parallel()
	store, err := state.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	noon := time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC)
	err = store.Do(t.Context(), func(tx *state.Tx) error {
		for i := range 100 {
			status := http.StatusOK
			if i%10 == 0 {
				status = http.StatusInternalServerError
			}
			if err := metering.Record(tx, "a/1", noon.Add(time.Duration(i)*time.Second), status, time.Duration(i+1)*time.Millisecond); err != nil {
				return err
			}
		}
		if err := metering.Record(tx, "a/10", noon, http.StatusOK, time.Hour); err != nil {
			return err
		}
		for _, w := range []struct {
			from, to         int
			requests, errors int
			p95              time.Duration
		}{{0, 100, 100, 10, 95 * time.Millisecond}, {0, 10, 10, 1, 10 * time.Millisecond}, {50, 60, 10, 1, 60 * time.Millisecond}, {200, 300, 0, 0, 0}} {
			all, err := metering.Read(tx, "a/1", noon.Add(time.Duration(w.from)*time.Second), noon.Add(time.Duration(w.to)*time.Second))
			if err != nil {
				return err
			}
			sum := metering.Sum(all)
			if sum.Requests() != w.requests || sum.Errors() != w.errors || sum.Percentile(95) != w.p95 {
				t.Errorf("%d to %d: %d requests, %d errors, %s; want %d, %d, %s", w.from, w.to, sum.Requests(), sum.Errors(), sum.Percentile(95), w.requests, w.errors, w.p95)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
