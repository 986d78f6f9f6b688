// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssagemaker "github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker/types"
	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/clouds"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/drivertest"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// strategies are rollouts of each kind, with what SageMaker is to be told of them.
var strategies = []struct {
	rollout driver.Rollout
	routing string
}{
	{driver.Rollout{Strategy: driver.AllAtOnce}, "ALL_AT_ONCE wait 0 size 0 bake 300"},
	{driver.Rollout{Strategy: driver.BlueGreen, Interval: 10 * time.Minute}, "ALL_AT_ONCE wait 0 size 0 bake 600"},
	{driver.Rollout{Strategy: driver.Canary, Steps: []int{50}, Interval: 5 * time.Minute}, "CANARY wait 300 size 50 bake 0"},
	{driver.Rollout{Strategy: driver.Linear, Steps: []int{25}, Interval: 3 * time.Minute}, "LINEAR wait 180 size 25 bake 0"},
}

// pair is an endpoint that serves the first of two versions, and how it goes over to
// the second.
type pair struct {
	*account
	one, two driver.VersionRef
}

func newPair(t *testing.T, speed float64) *pair {
	t.Helper()
	a := accountOf(t, newHarnessAt(t, speed))
	p := &pair{a, a.version(t, "fraud", "one"), a.version(t, "fraud", "two")}
	a.apply(t, p.spec(p.one, driver.Rollout{}))
	return p
}

func (p *pair) spec(ref driver.VersionRef, rollout driver.Rollout) *driver.EndpointSpec {
	d := deployment("main", ref)
	d.Scaling = driver.Scaling{Min: 2, Max: 2}
	spec := endpoint("fraud", d)
	spec.Rollout = rollout
	return spec
}

// rollOut goes over to the second version while requests come in.
func (p *pair) rollOut(t *testing.T, rollout driver.Rollout) (*driver.EndpointState, error) {
	t.Helper()
	spec := p.spec(p.two, rollout)
	must(t, p.CheckEndpoint(spec))
	if p.load == nil {
		p.load = func() { p.Call(t, spec.Key, 4) }
	}
	state, err := p.ApplyEndpoint(t.Context(), spec, clouds.How{Limit: time.Hour})
	p.load = nil
	return state, err
}

func (p *pair) last(t *testing.T) *types.DeploymentConfig {
	t.Helper()
	out, err := p.sm.DescribeEndpoint(t.Context(), &awssagemaker.DescribeEndpointInput{EndpointName: aws.String("fraud")})
	must(t, err)
	return out.LastDeploymentConfig
}

func told(c *types.DeploymentConfig) string {
	r := c.BlueGreenUpdatePolicy.TrafficRoutingConfiguration
	size := int32(0)
	for _, s := range []*types.CapacitySize{r.CanarySize, r.LinearStepSize} {
		if s != nil {
			size += aws.ToInt32(s.Value)
		}
	}
	return fmt.Sprintf("%s wait %d size %d bake %d", r.Type, aws.ToInt32(r.WaitIntervalInSeconds), size, aws.ToInt32(c.BlueGreenUpdatePolicy.TerminationWaitInSeconds))
}

// left are the alarms, and the configurations but one, that are still there.
func (p *pair) left(t *testing.T) []string {
	t.Helper()
	var all []string
	configs := 0
	for _, o := range p.Objects(t) {
		if strings.HasPrefix(o, "endpoint configuration ") {
			configs++
		}
		if strings.HasPrefix(o, "alarm ") || configs > 1 {
			all = append(all, o)
		}
	}
	return all
}

func TestGuardedRollouts(t *testing.T) {
	t.Parallel()
	checks := driver.Checks{MaxErrorRate: 5, MaxLatencyMS: 200, Alarms: []string{"pager"}}
	outcomes := []struct {
		name  string
		begin func(t *testing.T, p *pair)
		says  []string // in the error; none is success
	}{
		{"success", func(t *testing.T, p *pair) { t.Helper(); p.Conduct(t, p.two, 0, 20*time.Millisecond) }, nil},
		{"errors", func(t *testing.T, p *pair) { t.Helper(); p.Conduct(t, p.two, 50, 0) }, []string{"-main-error-rate fired at ", "Threshold Crossed", "(0.05)"}},
		{"latency", func(t *testing.T, p *pair) { t.Helper(); p.Conduct(t, p.two, 0, 900*time.Millisecond) }, []string{"-main-latency fired at ", "[900000 ", "(200000)"}},
		{"alarm", func(t *testing.T, p *pair) {
			t.Helper()
			ticks := 0
			p.load = func() {
				if ticks++; ticks == 15 {
					p.Alarm(t, "pager", true)
				}
			}
		}, []string{"The alarm pager fired at ", "somebody complains"}},
	}
	for _, s := range strategies {
		for _, o := range outcomes {
			t.Run(string(s.rollout.Strategy)+" "+o.name, func(t *testing.T) {
				t.Parallel()
				p := newPair(t, 0)
				p.Alarm(t, "pager", false)
				o.begin(t, p)
				rollout := s.rollout
				rollout.Checks = checks
				state, err := p.rollOut(t, rollout)
				serving := p.two
				if len(o.says) > 0 {
					serving = p.one
					if !mlerr.Is(err, mlerr.RolledBack) {
						t.Errorf("got the error %v", err)
					}
				} else if err != nil {
					t.Errorf("got the error %v", err)
				}
				for _, words := range o.says {
					if err == nil || !strings.Contains(err.Error(), words) {
						t.Errorf("%q is not in %v", words, err)
					}
				}
				if state.Deployments[0].Model != serving || len(state.Leftovers) > 0 {
					t.Errorf("%s serves, %v is left over", state.Deployments[0].Model, state.Leftovers)
				}
				last := p.last(t)
				if diff := cmp.Diff(s.routing, told(last)); diff != "" {
					t.Error(diff)
				}
				if n := len(last.AutoRollbackConfiguration.Alarms); n != 3 {
					t.Errorf("SageMaker was given %d alarms", n)
				}
				if left := p.left(t); len(left) > 0 {
					t.Errorf("left behind: %v", left)
				}
			})
		}
	}
}

// TestGuardedInRealTime: minutes are minutes. A version that fails is taken back
// while the canary bakes, long before all requests would go to it.
func TestGuardedInRealTime(t *testing.T) {
	t.Parallel()
	p := newPair(t, realTime)
	p.Conduct(t, p.two, 50, 0)
	began := p.clock.Now()
	_, err := p.rollOut(t, driver.Rollout{Strategy: driver.Canary, Steps: []int{50}, Interval: 30 * time.Minute, Checks: driver.Checks{MaxErrorRate: 5}})
	if !mlerr.Is(err, mlerr.RolledBack) || !strings.Contains(err.Error(), "fired at 2026-01-05T") {
		t.Errorf("got %v", err)
	}
	if took := p.clock.Now().Sub(began); took < 5*time.Minute || took > 15*time.Minute {
		t.Errorf("it took %s; a fleet takes five minutes to come up, and an alarm a minute to fire", took)
	}
}

// Without requests nothing is known against a version.
func TestGuardedWithoutRequests(t *testing.T) {
	t.Parallel()
	p := newPair(t, 0)
	p.Conduct(t, p.two, 100, time.Minute)
	p.load = func() {}
	state, err := p.rollOut(t, driver.Rollout{Strategy: driver.Canary, Steps: []int{10}, Checks: driver.Checks{MaxErrorRate: 1, MaxLatencyMS: 1}})
	if err != nil || state.Deployments[0].Model != p.two {
		t.Errorf("%v, %+v", err, state)
	}
}

// An alarm that cannot watch is refused before anything is made.
func TestAlarmsBeforeAChange(t *testing.T) {
	t.Parallel()
	p := newPair(t, 0)
	p.Alarm(t, "quiet", false)
	p.Alarm(t, "loud", true)
	before := p.Objects(t)
	for alarm, says := range map[string]string{"unknown": "CloudWatch has no alarm unknown", "loud": "the alarm loud fires already (somebody complains)"} {
		_, err := p.rollOut(t, driver.Rollout{Checks: driver.Checks{Alarms: []string{"quiet", alarm}}})
		if !mlerr.Is(err, mlerr.InvalidArgument) || !strings.Contains(err.Error(), says) || mlerr.PathOf(err) != "rollout.checks.alarms" || mlerr.Hint(err) == "" {
			t.Errorf("%s: got %v at %q", alarm, err, mlerr.PathOf(err))
		}
		if diff := cmp.Diff(before, p.Objects(t)); diff != "" {
			t.Errorf("%s: %s", alarm, diff)
		}
	}
	d := p.Open(t, &drivertest.Cutter{})
	firing, err := d.Firing(t.Context(), p.one.Key, []string{"quiet", "loud"})
	if diff := cmp.Diff([]driver.Alarm{{Name: "loud", Reason: "somebody complains"}}, firing); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if _, err := d.Firing(t.Context(), p.one.Key, []string{"unknown"}); !mlerr.Is(err, mlerr.InvalidArgument) || mlerr.PathOf(err) != "rollout.checks.alarms" {
		t.Errorf("got %v", err)
	}
}

// TestWithoutCloudWatch: who may not read alarms can change an endpoint that nothing
// watches, and changes nothing that they should watch.
func TestWithoutCloudWatch(t *testing.T) {
	t.Parallel()
	p := newPair(t, 0)
	p.script(t, func(s *script) {
		s.Faults = []map[string]any{{"call": "monitoring.DescribeAlarms", "action": "error", "code": "AccessDenied", "status": 403,
			"message": "User: arn:aws:iam::123456789012:user/ci is not authorized to perform: cloudwatch:DescribeAlarms"}}
	})
	for _, checks := range []driver.Checks{{Alarms: []string{"pager"}}, {MaxErrorRate: 1}} {
		if _, err := p.rollOut(t, driver.Rollout{Checks: checks}); !mlerr.Is(err, mlerr.PermissionDenied) {
			t.Errorf("%+v: got %v", checks, err)
		}
	}
	state, err := p.rollOut(t, driver.Rollout{Strategy: driver.Canary, Steps: []int{50}})
	if err != nil || state.Deployments[0].Model != p.two {
		t.Errorf("without checks: %v, %+v", err, state)
	}
}

// Measure counts what was answered in the window, by the configuration in use.
func TestMeasure(t *testing.T) {
	t.Parallel()
	p := newPair(t, 0)
	d := p.Open(t, &drivertest.Cutter{})
	measured := func(since, until time.Time, want driver.Measurement) {
		t.Helper()
		got, err := d.Measure(t.Context(), p.one.Key, "main", since, until)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v %s", err, diff)
		}
	}
	start := p.clock.Now()
	measured(start, start.Add(time.Minute), driver.Measurement{})
	p.Conduct(t, p.one, 25, 40*time.Millisecond)
	p.Call(t, p.one.Key, 100)
	must(t, p.clock.Sleep(t.Context(), 200*time.Millisecond))
	middle := p.clock.Now()
	measured(start, middle, driver.Measurement{Requests: 100, Errors: 25, Latency95: 40 * time.Millisecond})
	p.Conduct(t, p.one, 0, 10*time.Millisecond)
	p.Call(t, p.one.Key, 10)
	must(t, p.clock.Sleep(t.Context(), 200*time.Millisecond))
	measured(middle, p.clock.Now(), driver.Measurement{Requests: 10, Latency95: 10 * time.Millisecond})
	measured(start, p.clock.Now(), driver.Measurement{Requests: 110, Errors: 25, Latency95: 40 * time.Millisecond})
}

// cutOff is a guarded rollout of a copy of an account, by processes that may end.
type cutOff struct{ *pair }

func (o cutOff) fork(t *testing.T) *harness {
	t.Helper()
	return o.Fork(t).(*harness)
}

// apply is one process that rolls out; it returns its calls.
func (o cutOff) apply(t *testing.T, c *drivertest.Cutter, h *harness) ([]string, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h.cut = cancel
	cloud := clouds.New(h.Open(t, c), clouds.Options{Clock: h.Clock()})
	spec := o.spec(o.two, driver.Rollout{Strategy: driver.Canary, Steps: []int{50}, Checks: driver.Checks{MaxErrorRate: 5, MaxLatencyMS: 200}})
	must(t, cloud.CheckEndpoint(spec))
	_, err := cloud.ApplyEndpoint(ctx, spec, clouds.How{Limit: time.Hour})
	return c.Calls(), err
}

// decisive are the calls between which a guarded rollout differs from any other.
func decisive(call string) bool {
	return slices.Contains([]string{"CreateEndpointConfig", "PutMetricAlarm", "UpdateEndpoint", "DeleteAlarms"}, call)
}

// TestGuardedRolloutCutOff ends the process before and behind each decisive call of a
// guarded rollout. The next apply ends where an undisturbed one does,
// and a destroy leaves nothing.
func TestGuardedRolloutCutOff(t *testing.T) {
	t.Parallel()
	o := cutOff{newPair(t, 0)}
	h := o.fork(t)
	calls, err := o.apply(t, &drivertest.Cutter{}, h)
	must(t, err)
	want := h.Objects(t)
	if !slices.Contains(calls, "PutMetricAlarm") || !slices.Contains(calls, "DeleteAlarms") {
		t.Fatalf("no alarms in %v", calls)
	}
	for at, call := range calls {
		for _, after := range []bool{false, true} {
			if !decisive(call) {
				continue
			}
			t.Run(fmt.Sprintf("%d %s after=%v", at+1, call, after), func(t *testing.T) {
				t.Parallel()
				o.continued(t, at+1, after, want)
				h := o.fork(t)
				_, _ = o.apply(t, &drivertest.Cutter{At: at + 1, After: after}, h)
				must(t, clouds.New(h.Open(t, &drivertest.Cutter{}), clouds.Options{Clock: h.Clock()}).DestroyEndpoint(t.Context(), o.one.Key, clouds.How{Limit: time.Hour}))
				for _, left := range h.Objects(t) {
					if !strings.HasPrefix(left, "version ") && !strings.HasPrefix(left, "group ") {
						t.Errorf("destroy leaves %s", left)
					}
				}
			})
		}
	}
}

// continued ends a process at a call, and applies twice more.
func (o cutOff) continued(t *testing.T, at int, after bool, want []string) {
	t.Helper()
	h := o.fork(t)
	_, _ = o.apply(t, &drivertest.Cutter{At: at, After: after}, h) // ends with an error, or did not need the call
	_, err := o.apply(t, &drivertest.Cutter{}, h)
	must(t, err)
	if diff := cmp.Diff(want, h.Objects(t)); diff != "" {
		t.Errorf("the next apply: %s", diff)
	}
	third := &drivertest.Cutter{}
	_, err = o.apply(t, third, h)
	must(t, err)
	if made := third.Mutations(); len(made) > 0 {
		t.Errorf("the next apply left to the third %v", made)
	}
}

// TestBreachCutOff ends the process behind each such call while the new version
// fails. The next apply says so again, whatever alarms the first has left, and one
// of a version that was mended leaves nothing.
func TestBreachCutOff(t *testing.T) {
	t.Parallel()
	o := cutOff{newPair(t, 0)}
	fail := func(t *testing.T) *harness {
		t.Helper()
		h := o.fork(t)
		h.Conduct(t, o.two, 50, 0)
		h.load = func() { h.Call(t, o.one.Key, 4) }
		return h
	}
	calls, err := o.apply(t, &drivertest.Cutter{}, fail(t))
	if !mlerr.Is(err, mlerr.RolledBack) {
		t.Fatalf("undisturbed: %v", err)
	}
	for at, call := range calls {
		if !decisive(call) {
			continue
		}
		t.Run(fmt.Sprintf("%d %s", at+1, call), func(t *testing.T) {
			t.Parallel()
			h := fail(t)
			_, _ = o.apply(t, &drivertest.Cutter{At: at + 1, After: true}, h)
			if _, err := o.apply(t, &drivertest.Cutter{}, h); !mlerr.Is(err, mlerr.RolledBack) || !strings.Contains(err.Error(), "-main-error-rate fired at ") {
				t.Errorf("the next apply: %v", err)
			}
			h.Conduct(t, o.two, 0, 0)
			_, err := o.apply(t, &drivertest.Cutter{}, h)
			must(t, err)
			for _, left := range h.Objects(t) {
				if strings.HasPrefix(left, "alarm ") {
					t.Errorf("%s is left", left)
				}
			}
		})
	}
}
