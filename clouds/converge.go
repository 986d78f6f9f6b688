// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"cmp"
	"context"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/retry"
	"github.com/mlplane/terraform-provider-ml/internal/wait"
)

// visibility is how long a platform may go on showing what was before a change
// that it has accepted.
const visibility = 15 * time.Second

// recovery is how long reading back may take after the operation's own context
// has ended.
const recovery = time.Minute

// step is the next thing to do. The zero value, with done set, ends the loop.
type step struct {
	name string // what is done, as in "cannot <name>"
	aim  string // what it is to achieve; the same name and aim again means that it did not
	do   func(ctx context.Context) error
	done bool
	wait bool // in transition: nothing to do but look again

	resume string // of wait: how it goes on if this run stops waiting; "" where the platform goes on by itself
}

// next observes and picks the next step.
type next func(ctx context.Context) (step, error)

// attempt remembers a step that was accepted.
type attempt struct {
	at      time.Time
	times   int
	changed bool // the platform was seen in transition since
}

// converger is one run of the loop. It remembers only what it has itself asked
// for, to notice that the platform accepted a change and did not make it.
type converger struct {
	c        *Cloud
	what     string
	loop     wait.Loop
	how      How
	attempts map[string]*attempt
	begun    map[string]bool // names of steps that were tried, accepted or not
}

func (c *Cloud) converger(what string, how How) *converger {
	r := &converger{c: c, what: what, how: how, attempts: map[string]*attempt{}, begun: map[string]bool{},
		loop: wait.Loop{Clock: c.clock, Limit: how.Limit}}
	r.loop.Start()
	return r
}

// run repeats observe, next step, do, until there is no next step. reason
// tells the platform's latest words about a failure.
func (r *converger) run(ctx context.Context, next next, reason func() string) error {
	var failing time.Time
	failures := 0
	for {
		s, err := next(ctx)
		if err == nil && s.done {
			return nil
		}
		if err == nil {
			err = r.take(ctx, s, reason)
		}
		if err == nil {
			failures = 0
			continue
		}
		if failures++; failures == 1 {
			failing = r.c.clock.Now()
		}
		pause, again := retry.After(err, failures, r.c.clock.Now().Sub(failing))
		if !again || ctx.Err() != nil {
			return err
		}
		r.c.log.Debug("step failed, trying again", "what", r.what, "error", err, "pause", pause)
		if over := r.over(); over != nil {
			return mlerr.Wrap(err, mlerr.Timeout, "%s", over.Error())
		}
		if err := r.c.clock.Sleep(ctx, pause); err != nil {
			return mlerr.Annotate(err, "%s", r.what)
		}
	}
}

func (r *converger) over() error {
	if r.how.Limit > 0 && r.loop.Elapsed() >= r.how.Limit {
		return mlerr.New(mlerr.Timeout, "%s: still going on after %s", r.what, r.how.Limit)
	}
	return nil
}

// take does one step, or waits.
func (r *converger) take(ctx context.Context, s step, reason func() string) error {
	if s.wait {
		for _, a := range r.attempts {
			a.changed = true
		}
		return r.pause(ctx, s, reason())
	}
	key := s.name + "\n" + s.aim
	a := r.attempts[key]
	if a != nil {
		switch {
		case a.changed:
			return r.unmet(s, reason())
		case r.c.clock.Now().Sub(a.at) < visibility:
			return r.pause(ctx, s, reason())
		case a.times > 1:
			return r.unmet(s, reason())
		}
	} else {
		a = &attempt{}
	}
	r.progress(s.name)
	if err := s.do(ctx); err != nil {
		return mlerr.Annotate(err, "%s: cannot %s", r.what, s.name)
	}
	a.at, a.times, a.changed = r.c.clock.Now(), a.times+1, false
	r.attempts[key] = a
	return nil
}

// unmet is the platform having accepted a step, settled, and not done it: a
// green status with the old content is a failed change.
func (r *converger) unmet(s step, reason string) error {
	err := mlerr.New(mlerr.RolledBack, "%s: the platform accepted to %s and then went back to what was before", r.what, s.name)
	if reason != "" {
		_ = err.Because(mlerr.New(mlerr.Failed, "%s", reason))
	}
	return err.WithHint("What served before still serves. Mend the cause that the platform names, then apply again; still different: %s", s.aim)
}

// pause waits a little; reason is what the platform says of it meanwhile.
func (r *converger) pause(ctx context.Context, s step, reason string) error {
	if err := r.loop.Pause(ctx); err != nil {
		doing := s.name
		if reason != "" {
			doing += ": " + reason
		}
		e := mlerr.New(mlerr.CodeOf(err), "%s: stopped waiting for the platform (%s)", r.what, doing).Because(err)
		return e.WithHint("%s. A longer limit can be set in timeouts",
			cmp.Or(s.resume, "The platform goes on by itself; the next apply continues from what it then finds"))
	}
	return nil
}

func (r *converger) progress(name string) {
	r.begun[name] = true
	r.c.log.Info("step", "what", r.what, "step", name, "elapsed", r.loop.Elapsed().Round(time.Millisecond))
	if r.how.Progress != nil {
		r.how.Progress(name)
	}
}

// warn notes what could not be made sure of.
func (r *converger) warn(sentence string) {
	r.c.log.Warn(sentence, "what", r.what)
	if r.how.Warn != nil {
		r.how.Warn(sentence)
	}
}

// recoveryContext outlives an interrupt, so that what exists can be read back
// and saved.
func recoveryContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), recovery)
}
