// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"context"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// instant is a clock that passes when somebody sleeps.
type instant struct{ now time.Time }

func (i *instant) Now() time.Time { return i.now }

func (i *instant) Sleep(ctx context.Context, d time.Duration) error {
	i.now = i.now.Add(d)
	return ctx.Err()
}

func TestReadsArePatient(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		reason   string
		code     mlerr.Code
		failures int
		wantOK   bool
		wantMost time.Duration
	}{
		"lost once":   {"one lost answer does not end a refresh of many resources", mlerr.Unavailable, 1, true, 2 * time.Second},
		"unreachable": {"a platform that cannot be reached is told within half a minute", mlerr.Unavailable, 1000, false, patience},
		"denied":      {"what no repetition can help is told at once", mlerr.PermissionDenied, 1, false, 0},
		"absent":      {"absence is an answer", mlerr.NotFound, 1, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := &instant{}
			reads := 0
			_, err := patiently(t.Context(), New(nil, Options{Clock: clock}), func() (int, error) {
				if reads++; reads <= c.failures {
					return 0, mlerr.New(c.code, "no")
				}
				return 1, nil
			})
			if took := clock.now.Sub(time.Time{}); (err == nil) != c.wantOK || took > c.wantMost {
				t.Errorf("%s: error %v after %d reads in %s", c.reason, err, reads, took)
			}
		})
	}
}
