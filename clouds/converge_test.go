// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// thing is something that becomes what it is told to be, after a while or never.
type thing struct {
	clock  *fakeClock
	shows  string // what is seen
	told   string
	at     time.Time     // when it was told
	lag    time.Duration // until a change shows
	deaf   int           // so many changes are accepted and not made
	busy   time.Duration // in transition for so long after each change
	times  int
	fails  []error // of the next changes
	reason string
}

func (x *thing) next(want string) next {
	return func(context.Context) (step, error) {
		since := x.clock.Now().Sub(x.at)
		if x.told != "" && since < x.busy {
			return step{name: "wait", wait: true}, nil
		}
		if x.told != "" && since >= x.lag && x.deaf == 0 {
			x.shows = x.told
		}
		if x.shows == want {
			return step{done: true}, nil
		}
		return step{name: "change", aim: want, do: func(context.Context) error {
			if len(x.fails) > 0 {
				err := x.fails[0]
				x.fails = x.fails[1:]
				return err
			}
			if x.times++; x.deaf > 0 && x.times > x.deaf {
				x.deaf = 0
			}
			if x.told != want || x.deaf > 0 {
				x.at = x.clock.Now()
			}
			x.told = want
			return nil
		}}, nil
	}
}

func TestConverge(t *testing.T) {
	t.Parallel()
	always := func(code mlerr.Code, n int) []error {
		all := make([]error, n)
		for i := range all {
			all[i] = mlerr.New(code, "no")
		}
		return all
	}
	for _, c := range []struct {
		reason string
		x      thing
		limit  time.Duration
		want   mlerr.Code // 0 is success
		times  int
		most   time.Duration // that it may take
	}{
		{"at once", thing{}, 0, 0, 1, 0},
		{"a change that shows late is not made twice", thing{lag: visibility - time.Second}, 0, 0, 1, visibility},
		{"one that shows later still is made again", thing{lag: visibility + 5*time.Second}, 0, 0, 2, 3 * visibility},
		{"one that got lost is made again", thing{deaf: 1}, 0, 0, 2, 3 * visibility},
		{"one that is never made is not made for ever", thing{deaf: 9}, 0, mlerr.RolledBack, 2, 3 * visibility},
		{"a transition that ended in the old content is a failure", thing{deaf: 9, busy: time.Minute}, 0, mlerr.RolledBack, 1, 70 * time.Second},
		{"a transition is waited for", thing{busy: 10 * time.Minute}, time.Hour, 0, 1, 11 * time.Minute},
		{"until the limit", thing{busy: 2 * time.Hour}, time.Hour, mlerr.Timeout, 1, time.Hour},
		{"what is busy is asked again", thing{fails: always(mlerr.Busy, 100)}, 2 * time.Hour, 0, 1, time.Hour},
		{"and again until the limit", thing{fails: always(mlerr.Busy, 1000)}, time.Hour, mlerr.Timeout, 0, time.Hour + time.Minute},
		{"throttling passes", thing{fails: always(mlerr.Throttled, 5)}, 0, 0, 1, time.Minute},
		{"a conflict is for a minute", thing{fails: always(mlerr.Conflict, 1000)}, 0, mlerr.Conflict, 0, 2 * time.Minute},
		{"an outage is for three", thing{fails: always(mlerr.Unavailable, 1000)}, 0, mlerr.Unavailable, 0, 4 * time.Minute},
		{"no permission does not come by itself", thing{fails: always(mlerr.PermissionDenied, 1)}, 0, mlerr.PermissionDenied, 0, 0},
		{"nor does a quota", thing{fails: always(mlerr.QuotaExceeded, 1)}, 0, mlerr.QuotaExceeded, 0, 0},
		{"nor a right argument", thing{fails: always(mlerr.InvalidArgument, 1)}, 0, mlerr.InvalidArgument, 0, 0},
	} {
		x := &c.x
		x.clock, x.reason = newClock(), "the platform's words"
		began := x.clock.Now()
		r := New(nil, Options{Clock: x.clock}).converger("thing x", How{Limit: c.limit})
		err := r.run(t.Context(), x.next("new"), func() string { return x.reason })
		if mlerr.CodeOf(err) != c.want || (c.want == 0 && err != nil) {
			t.Errorf("%s: %v", c.reason, err)
		}
		if x.times != c.times {
			t.Errorf("%s: the change was made %d times, want %d", c.reason, x.times, c.times)
		}
		if took := x.clock.Now().Sub(began); took > c.most {
			t.Errorf("%s: it took %s, allowed are %s", c.reason, took, c.most)
		}
		if c.want == mlerr.RolledBack && (!strings.Contains(err.Error(), x.reason) || !strings.Contains(mlerr.Hint(err), "new")) {
			t.Errorf("%s: neither the platform's words nor what is still different: %v, %s", c.reason, err, mlerr.Hint(err))
		}
	}
}

func TestAnInterruptEndsTheLoopAtOnce(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for reason, x := range map[string]*thing{
		"while it waits":   {busy: time.Hour, told: "new"},
		"between attempts": {fails: []error{mlerr.New(mlerr.Throttled, "no")}},
	} {
		x.clock = newClock()
		x.at = x.clock.Now()
		began := x.clock.Now()
		err := New(nil, Options{Clock: x.clock}).converger("thing x", How{}).run(ctx, x.next("new"), func() string { return "" })
		if err == nil || x.clock.Now().Sub(began) > time.Second {
			t.Errorf("%s: %v after %s", reason, err, x.clock.Now().Sub(began))
		}
	}
}

func TestStepsAreTold(t *testing.T) {
	t.Parallel()
	x := &thing{clock: newClock()}
	var told []string
	r := New(nil, Options{Clock: x.clock}).converger("thing x", How{Progress: func(s string) { told = append(told, s) }})
	if err := r.run(t.Context(), x.next("new"), func() string { return "" }); err != nil || len(told) != 1 || told[0] != "change" {
		t.Errorf("%v, told %v", err, told)
	}
	broken := errors.New("boom")
	err := r.run(t.Context(), func(context.Context) (step, error) { return step{}, broken }, func() string { return "" })
	if !errors.Is(err, broken) {
		t.Errorf("what cannot be observed is no success: %v", err)
	}
}
