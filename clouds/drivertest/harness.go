// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package drivertest is the conformance suite: one set of scenarios that every
// driver passes against its emulator, through the portable core, as the
// provider uses it. A driver that passes needs no other test of what the core
// relies on. What a platform cannot do it says in its Features; the suite skips
// exactly that, by name.
package drivertest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

// Harness is a platform, empty at first, as the suite needs it.
type Harness interface {
	// Open opens a driver as a new process would. Every call it makes to the
	// platform must go through the cutter.
	Open(t *testing.T, c *Cutter) driver.Driver
	// Clock is the time of the platform and of the core. Its Sleep must let
	// that time pass at once.
	Clock() *Clock
	// Location is where things are made.
	Location() string
	// Artifact makes bytes that can be published and returns their address and digest.
	Artifact(t *testing.T, content string) (uri, digest string)
	// Endpoint is an endpoint specification without deployments that the
	// platform accepts.
	Endpoint(name string) *driver.EndpointSpec
	// HandMade makes an endpoint that serves ref, as a person with a console
	// would: without marks, in names of their own.
	HandMade(t *testing.T, name string, ref driver.VersionRef)
	// FailNextDeploy makes the platform accept the next change of what an
	// endpoint serves and then fail it for that reason.
	FailNextDeploy(t *testing.T, reason string)
	// Drift changes the traffic, or the live replica count, of a deployment
	// behind our back.
	Drift(t *testing.T, key driver.Key, deployment string, d Drift)
	// Damage removes something that a deployment stands on, but can serve without,
	// behind our back.
	Damage(t *testing.T, key driver.Key, deployment string)
	// Replicas is the live replica count of a deployment.
	Replicas(t *testing.T, key driver.Key, deployment string) int
	// Objects names everything that exists on the platform.
	Objects(t *testing.T) []string
	// Compute are two sizes of machine that the platform has.
	Compute() (small, large driver.Compute)
	// Metric is one that the platform can scale by, with targets from 50 to 70.
	Metric() driver.MetricType
	// Fork is an independent copy of the platform as it is, with a clock of its
	// own. The original is used no more but to be forked again, by several
	// goroutines at once. nil means that this platform cannot be copied.
	Fork(t *testing.T) Harness
}

// Drift is a change made behind our back. Zero fields are left as they are.
type Drift struct {
	Traffic  int
	Replicas int
}

// Clock is a time that passes when somebody sleeps.
type Clock struct {
	mu  sync.Mutex
	now time.Time
	// OnSleep, if set, is told of every sleep, to move another clock along.
	OnSleep func(time.Duration)

	ticks []func()
}

// Tick has f called after every sleep, once the platform's time has passed.
func (c *Clock) Tick(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ticks = append(c.ticks, f)
}

// NewClock starts at a fixed moment.
func NewClock() *Clock { return &Clock{now: time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)} }

// Now is the present.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Set makes it another moment.
func (c *Clock) Set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

// Sleep lets d pass at once.
func (c *Clock) Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	c.now = c.now.Add(d)
	ticks := c.ticks
	c.mu.Unlock()
	if c.OnSleep != nil {
		c.OnSleep(d)
	}
	for _, tick := range ticks {
		tick()
	}
	return nil
}

// Cutter counts the platform calls of one process and can end the process at
// one of them: from then on nothing gets through.
type Cutter struct {
	At    int  // the call at which the process ends, from 1; 0 is never
	After bool // the platform receives that call and its answer is lost; otherwise it never arrives
	// Mutates tells calls that change something from those that read.
	Mutates func(call string) bool

	mu        sync.Mutex
	calls     []string
	mutations []string
	dead      bool
	cancel    context.CancelFunc
}

// ErrCut is what calls of an ended process return.
var ErrCut error = cutError{}

type cutError struct{}

func (cutError) Error() string { return "the process has ended" }

// RetryableError tells cloud SDKs not to try again.
func (cutError) RetryableError() bool { return false }

// Before must be called ahead of every call to the platform; its error is the
// call's result.
func (c *Cutter) Before(call string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return ErrCut
	}
	c.calls = append(c.calls, call)
	if c.At == len(c.calls) && !c.After {
		c.die()
		return ErrCut
	}
	if c.Mutates != nil && c.Mutates(call) {
		c.mutations = append(c.mutations, call)
	}
	return nil
}

// AfterCall must be called behind every call that reached the platform.
func (c *Cutter) AfterCall(string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead || (c.After && c.At != 0 && len(c.calls) >= c.At) {
		c.die()
		return ErrCut
	}
	return nil
}

func (c *Cutter) die() {
	c.dead = true
	if c.cancel != nil {
		c.cancel()
	}
}

// Calls are the names of all calls so far.
func (c *Cutter) Calls() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.calls...)
}

// Mutations are the names of the calls so far that change something.
func (c *Cutter) Mutations() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.mutations...)
}

// process is one run of the provider.
type process struct {
	*clouds.Cloud
	*Cutter
	ctx context.Context
}

// start opens the platform as a new process that ends at the cutter's call.
func start(t *testing.T, h Harness, c *Cutter) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	c.cancel = cancel
	return &process{Cloud: clouds.New(h.Open(t, c), clouds.Options{Clock: h.Clock()}), Cutter: c, ctx: ctx}
}

func isCut(err error) bool { return errors.Is(err, ErrCut) || errors.Is(err, context.Canceled) }
