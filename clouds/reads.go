// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"context"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/retry"
)

// patience is how long a read outside of a change may go on failing. A refresh
// of many resources makes many reads, and one lost answer must not end it; a
// platform that cannot be reached at all is to be told soon.
const patience = 30 * time.Second

// patiently repeats a read that failed for a reason that may pass.
func patiently[T any](ctx context.Context, c *Cloud, read func() (T, error)) (T, error) {
	began := c.clock.Now()
	for failures := 1; ; failures++ {
		v, err := read()
		if err == nil || ctx.Err() != nil {
			return v, err
		}
		failing := c.clock.Now().Sub(began)
		pause, again := retry.After(err, failures, failing)
		if !again || failing+pause > patience {
			return v, err
		}
		c.log.Debug("a read failed, trying again", "error", err, "pause", pause)
		if c.clock.Sleep(ctx, pause) != nil {
			return v, err
		}
	}
}
