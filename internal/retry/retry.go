// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package retry says, for each class of error, whether and how soon a step may
// be repeated. It knows nothing about clouds.
package retry

import (
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// policy is how one class of error is retried.
type policy struct {
	first, most time.Duration // pause before the first repetition, and the longest
	within      time.Duration // no repetition once the step has failed for this long
}

// Busy has no limit of its own: the thing is in transition, and the limit of
// the whole operation decides.
var policies = map[mlerr.Code]policy{
	mlerr.Throttled:     {first: time.Second, most: 20 * time.Second, within: 10 * time.Minute},
	mlerr.Unavailable:   {first: time.Second, most: 10 * time.Second, within: 3 * time.Minute},
	mlerr.Conflict:      {first: 500 * time.Millisecond, most: 5 * time.Second, within: time.Minute},
	mlerr.NotYetVisible: {first: time.Second, most: 5 * time.Second, within: 2 * time.Minute},
	mlerr.NotYetGranted: {first: time.Second, most: 20 * time.Second, within: 10 * time.Minute},
	mlerr.Busy:          {first: time.Second, most: 30 * time.Second},
}

// After says how long to pause before the step that has failed with err may be
// repeated. attempt counts failures in a row from 1, failing is how long they
// have lasted. ok is false when repeating cannot help.
func After(err error, attempt int, failing time.Duration) (pause time.Duration, ok bool) {
	p, found := policies[mlerr.CodeOf(err)]
	if !found || (p.within > 0 && failing >= p.within) {
		return 0, false
	}
	pause = p.first
	for range min(attempt-1, 16) {
		pause *= 2
	}
	return min(pause, p.most), true
}
