// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package retry_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/retry"
)

// An error is repeated by its class, however deep it is wrapped: repeating a
// mistake would only delay its message.
func TestWhatIsRepeated(t *testing.T) {
	t.Parallel()
	repeated := map[mlerr.Code]time.Duration{ // until when
		mlerr.Throttled: 10 * time.Minute, mlerr.Unavailable: 3 * time.Minute, mlerr.Conflict: time.Minute,
		mlerr.NotYetVisible: 2 * time.Minute, mlerr.NotYetGranted: 10 * time.Minute, mlerr.Busy: 1000 * time.Hour,
	}
	for code := mlerr.Unknown; code <= mlerr.Canceled; code++ {
		err := mlerr.Annotate(fmt.Errorf("calling: %w", mlerr.New(code, "refused")), "creating")
		within, want := repeated[code]
		if _, ok := retry.After(err, 1, 0); ok != want {
			t.Errorf("%s: repeated is %v", code, ok)
		}
		if !want {
			continue
		}
		if _, ok := retry.After(err, 9, within-time.Second); !ok {
			t.Errorf("%s: given up before %s", code, within)
		}
		if _, ok := retry.After(err, 9, within); ok && code != mlerr.Busy {
			t.Errorf("%s: repeated after %s", code, within)
		}
	}
	for _, err := range []error{nil, errors.New("foreign")} {
		if _, ok := retry.After(err, 1, 0); ok {
			t.Errorf("%v is repeated", err)
		}
	}
}

func TestPausesGrowToABound(t *testing.T) {
	t.Parallel()
	err := mlerr.New(mlerr.Throttled, "slow down")
	var last time.Duration
	for attempt := 1; attempt <= 100; attempt++ {
		pause, ok := retry.After(err, attempt, 0)
		if !ok || pause < last || pause <= 0 || pause > 20*time.Second {
			t.Fatalf("attempt %d: %s after %s, %v", attempt, pause, last, ok)
		}
		if attempt <= 3 && pause != time.Second<<(attempt-1) {
			t.Errorf("attempt %d: %s", attempt, pause)
		}
		last = pause
	}
	if last != 20*time.Second {
		t.Errorf("the longest pause is %s", last)
	}
}
