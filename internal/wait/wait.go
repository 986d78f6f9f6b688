// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package wait has the one poll loop of the provider. Time is passed in, so
// that tests never sleep.
package wait

import (
	"context"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// Clock is what the loop needs of time.
type Clock interface {
	Now() time.Time
	// Sleep returns after d, or earlier with the context's error.
	Sleep(ctx context.Context, d time.Duration) error
}

// Real is the wall clock.
type Real struct{}

// Now is the present time.
func (Real) Now() time.Time { return time.Now() }

// Sleep waits for d or for the context.
func (Real) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Loop polls adaptively: quickly at first, later every twentieth of the time
// already spent. What it waits for is so noticed, and read, within one second or
// 5 % of the whole wait, whichever is more, and a long wait costs few calls.
type Loop struct {
	Clock Clock
	Limit time.Duration // the whole wait; 0 means no limit
	First time.Duration // first pause; 0 means 250 ms
	Most  time.Duration // longest pause; 0 means 30 s

	began time.Time
	polls int
}

// Start begins the whole wait; without it the first Pause does.
func (l *Loop) Start() {
	if l.began.IsZero() {
		l.began = l.Clock.Now()
	}
}

// Elapsed is the time since the wait began, or zero.
func (l *Loop) Elapsed() time.Duration {
	if l.began.IsZero() {
		return 0
	}
	return l.Clock.Now().Sub(l.began)
}

// Pause sleeps until the next poll is due. It returns mlerr.Timeout once Limit
// has passed and mlerr.Canceled when the context ends.
func (l *Loop) Pause(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return mlerr.Wrap(err, mlerr.CodeOf(err), "waiting")
	}
	l.Start()
	if l.Limit > 0 && l.Elapsed() >= l.Limit {
		return mlerr.New(mlerr.Timeout, "gave up waiting after %s", l.Limit)
	}
	if err := l.Clock.Sleep(ctx, l.next()); err != nil {
		return mlerr.Wrap(err, mlerr.CodeOf(err), "waiting")
	}
	return nil
}

func (l *Loop) next() time.Duration {
	first, most := l.First, l.Most
	if first == 0 {
		first = 250 * time.Millisecond
	}
	if most == 0 {
		most = 30 * time.Second
	}
	pause := time.Duration(float64(first) * pow(1.5, l.polls))
	l.polls++
	if cap := max(700*time.Millisecond, l.Elapsed()/20); pause > cap {
		pause = cap
	}
	pause = min(pause, most)
	if l.Limit > 0 {
		// The last poll falls on the limit itself, so that a success just before it counts.
		pause = max(min(pause, l.Limit-l.Elapsed()), time.Millisecond)
	}
	return pause
}

func pow(base float64, n int) float64 {
	p := 1.0
	for range min(n, 40) {
		p *= base
	}
	return p
}
