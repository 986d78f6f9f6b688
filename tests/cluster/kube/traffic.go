// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/wait"
)

// pace is how long a worker rests between two requests.
const pace = 20 * time.Millisecond

// Traffic is requests that go on in the background, to see whether any is lost.
type Traffic struct {
	end  context.CancelFunc
	done sync.WaitGroup

	mu       sync.Mutex
	asked    int
	failures []error
}

// StartTraffic lets workers call ask, each at most 50 times a second, until Stop or
// the end of the test, and never for longer than ten minutes. The context of ask is
// not canceled by Stop, so that no request is lost by stopping.
func StartTraffic(t *testing.T, workers int, ask func(context.Context) error) *Traffic {
	t.Helper()
	ctx, end := context.WithTimeout(context.Background(), 10*time.Minute)
	traffic := &Traffic{end: end}
	for range workers {
		traffic.done.Go(func() {
			for ctx.Err() == nil {
				err := ask(context.WithoutCancel(ctx))
				traffic.count(err)
				_ = wait.Real{}.Sleep(ctx, pace) // an early end is looked at above
			}
		})
	}
	t.Cleanup(func() { traffic.Stop() })
	return traffic
}

func (t *Traffic) count(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked++
	if err != nil {
		t.failures = append(t.failures, err)
	}
}

// Stop ends the requests, when those under way have been answered, and returns how
// many there were and the errors of those that were lost.
func (t *Traffic) Stop() (asked int, failures []error) {
	t.end()
	t.done.Wait()
	return t.asked, t.failures
}

// Asked is how many requests there have been so far.
func (t *Traffic) Asked() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.asked
}
