// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package wait_test

import (
	"context"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/wait"
)

// clock passes only while somebody sleeps.
type clock struct {
	now     time.Time
	sleeps  []time.Duration
	onSleep func()
}

func (c *clock) Now() time.Time { return c.now }

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	if c.onSleep != nil {
		c.onSleep()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	c.now = c.now.Add(d)
	c.sleeps = append(c.sleeps, d)
	return nil
}

func newClock() *clock { return &clock{now: time.Unix(1_700_000_000, 0)} }

// What is ready at any moment is noticed within a second or a twentieth of the
// wait, and with few polls.
func TestReadinessIsNoticedInTime(t *testing.T) {
	t.Parallel()
	for _, ready := range []time.Duration{0, 300 * time.Millisecond, 3 * time.Second, 40 * time.Second, 7 * time.Minute, 28 * time.Minute} {
		c := newClock()
		began := c.now
		l := wait.Loop{Clock: c, Most: time.Hour}
		for c.now.Sub(began) < ready {
			if err := l.Pause(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if late := c.now.Sub(began) - ready; late > max(time.Second, ready/20)+time.Millisecond {
			t.Errorf("ready after %s was noticed %s late", ready, late)
		}
		if n := len(c.sleeps); n > 120 {
			t.Errorf("a wait of %s took %d polls", ready, n)
		}
	}
}

func TestPausesStayWithinTheirBounds(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := wait.Loop{Clock: c, First: 100 * time.Millisecond, Most: 5 * time.Second}
	for c.now.Sub(time.Unix(1_700_000_000, 0)) < time.Hour {
		if err := l.Pause(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if c.sleeps[0] != 100*time.Millisecond {
		t.Errorf("the first pause is %s", c.sleeps[0])
	}
	for i, s := range c.sleeps {
		if s > 5*time.Second || (i > 0 && s < c.sleeps[i-1]) {
			t.Fatalf("pause %d is %s, after %s", i, s, c.sleeps[max(0, i-1)])
		}
	}
}

// The last poll falls on the limit: what became ready just before it counts.
func TestLimit(t *testing.T) {
	t.Parallel()
	c := newClock()
	began := c.now
	l := wait.Loop{Clock: c, Limit: 10 * time.Second}
	var err error
	last := began
	for err == nil {
		last = c.now
		err = l.Pause(t.Context())
	}
	if !mlerr.Is(err, mlerr.Timeout) {
		t.Errorf("got %v, want a timeout", err)
	}
	if got := last.Sub(began); got != 10*time.Second {
		t.Errorf("the last poll was after %s", got)
	}
	if got := l.Elapsed(); got != 10*time.Second {
		t.Errorf("elapsed are %s", got)
	}
}

// Time that passed before the first pause counts against the limit.
func TestStartBeginsTheWait(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := wait.Loop{Clock: c, Limit: time.Minute}
	if l.Elapsed() != 0 {
		t.Error("a wait that has not begun has lasted")
	}
	l.Start()
	c.now = c.now.Add(time.Minute)
	if err := l.Pause(t.Context()); !mlerr.Is(err, mlerr.Timeout) {
		t.Errorf("got %v, want a timeout", err)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	c := newClock()
	if err := (&wait.Loop{Clock: c}).Pause(canceled); !mlerr.Is(err, mlerr.Canceled) || len(c.sleeps) > 0 {
		t.Errorf("before it began: %v after %v", err, c.sleeps)
	}
	during, interrupt := context.WithCancel(t.Context())
	c.onSleep = interrupt
	if err := (&wait.Loop{Clock: c, Limit: time.Hour}).Pause(during); !mlerr.Is(err, mlerr.Canceled) {
		t.Errorf("in the middle: %v", err)
	}
	// The wall clock wakes up for it too.
	if err := (wait.Real{}).Sleep(canceled, time.Hour); err == nil {
		t.Error("an hour passed")
	}
}
