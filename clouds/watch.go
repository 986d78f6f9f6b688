// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// enough is how many answers are proof before the end of a stage. At its end any
// number is.
const enough = 50

// absence is how long a deployment that has requests may be away before its rollout
// has failed.
const absence = 5 * time.Minute

// watch is the stage that a run is watching.
type watch struct {
	percent  int
	since    time.Time // when this run saw the stage reached
	extended bool      // it was watched once more, because nothing was measured
	done     bool
}

// moved is what a run has last made of the shares, to notice when somebody else
// changes them.
type moved struct {
	shares map[string]int // by DeploymentState.ID
	seen   bool           // the platform has shown them
}

// planTraffic moves requests, stage by stage, from what leaves to what comes. ok is
// false when all are where they are wanted and were watched for long enough.
func (r *endpointRun) planTraffic(ctx context.Context) (step, bool, error) {
	compared := r.compared()
	final, aim := compared.traffic()
	ro := compared.rollout()
	name := "set traffic"
	if r.failure == nil && len(ro.coming) > 0 {
		if s, ok, err := r.planStage(ctx, ro, len(aim) == 0); ok || err != nil {
			return s, ok, err
		}
		name = "give all requests to what is wanted"
	}
	if len(aim) == 0 {
		return step{}, false, nil
	}
	return r.trafficStep(name, final, aim)
}

// planStage watches the stage that a rollout is at, and goes to the next one before
// 100. ok is false when there is none; settled is whether all have what is wanted.
func (r *endpointRun) planStage(ctx context.Context, ro rollout, settled bool) (step, bool, error) {
	if err := r.meddled(); err != nil {
		return step{}, false, err
	}
	if s, ok := r.keepReplicas(ro); ok {
		return s, true, nil
	}
	at := stages(&r.spec.Rollout)
	percent, exact := ro.reached(at)
	if percent > 0 && exact && baked(&r.spec.Rollout, percent) && (percent < full || (settled && len(ro.leaving) > 0)) {
		if s, ok, err := r.watchStage(ctx, ro, percent); ok || err != nil {
			return s, ok, err
		}
	}
	for _, stage := range at {
		if stage > percent && stage < full {
			return r.trafficStep(fmt.Sprintf("give %d percent of the requests to what is new", stage), ro.at(stage), []string{fmt.Sprintf("%d percent", stage)})
		}
	}
	return step{}, false, nil
}

// meddled is an error when somebody else has changed the shares in mid-rollout: it is
// for them to say how it goes on.
func (r *endpointRun) meddled() error {
	if r.moved.shares == nil {
		return nil
	}
	same := true
	var now []string
	for i := range r.seen.Deployments {
		d := &r.seen.Deployments[i]
		if want, ours := r.moved.shares[d.ID]; ours {
			same = same && want == d.Traffic
			now = append(now, fmt.Sprintf("%s has %d percent", d.ID, d.Traffic))
		}
	}
	if same {
		r.moved.seen = true
		return nil
	}
	if !r.moved.seen {
		return nil // not shown yet
	}
	return mlerr.New(mlerr.Preempted, "%s: somebody else has changed its traffic in mid-rollout: %s", r.what, strings.Join(now, ", ")).
		WithHint("It was left as it is. Apply again to go on with the rollout from there, or change the configuration to what shall serve")
}

// keepReplicas holds what leaves at the size that it has: with fewer requests its
// autoscaler would take away what a rollback needs.
func (r *endpointRun) keepReplicas(ro rollout) (step, bool) {
	if bake(&r.spec.Rollout) == 0 {
		return step{}, false
	}
	for _, now := range ro.leaving {
		if now.Traffic == 0 || !now.Owned || !now.Scaling.Automatic() || now.Scaling.Min == 0 || now.Scaling.Min >= now.Replicas || r.kept[now.ID] {
			continue
		}
		held := now.Deployment
		held.Scaling.Min, held.Scaling.Max = now.Replicas, max(now.Replicas, held.Scaling.Max)
		spec := *r.spec
		spec.Settings, spec.Deployments = now.Carried, []driver.Deployment{held}
		return step{name: "keep the replicas of " + now.ID, aim: fmt.Sprintf("at least %d", now.Replicas), do: func(ctx context.Context) error {
			if err := r.c.driver.SetScaling(ctx, &spec, r.seen, now.Name); err != nil {
				return err
			}
			r.kept[now.ID] = true
			return nil
		}}, true
	}
	return step{}, false
}

// watchStage waits at a stage until it has passed its checks. ok is false when it has.
func (r *endpointRun) watchStage(ctx context.Context, ro rollout, percent int) (step, bool, error) {
	now := r.c.clock.Now()
	if r.watched.percent != percent {
		r.watched = watch{percent: percent, since: now}
		r.progress(fmt.Sprintf("watch %d percent for %s", percent, bake(&r.spec.Rollout)))
	}
	w := &r.watched
	if w.done {
		return step{}, false, nil
	}
	over := now.Sub(w.since) >= r.c.paced(bake(&r.spec.Rollout))
	measured, err := r.judge(ctx, ro, over)
	if err != nil {
		return step{}, false, err
	}
	switch {
	case !over:
		return r.bakeStep(percent), true, nil
	case !measured && !w.extended:
		w.extended, w.since = true, now
		r.c.log.Warn("nothing was measured, watching once more", "what", r.what, "percent", percent)
		return r.bakeStep(percent), true, nil
	case !measured:
		r.warn(fmt.Sprintf("%s: nothing was answered while it had %d percent of the requests, so its error rate and latency are not known", r.what, percent))
	}
	w.done = true
	if r.spec.SmokeTest != nil && r.spec.Rollout.Checks.SmokeTest {
		return r.smokeStep(fmt.Sprintf("smoke test at %d percent", percent)), true, nil
	}
	return step{}, false, nil
}

func (r *endpointRun) bakeStep(percent int) step {
	return step{name: fmt.Sprintf("watching %d percent", percent), wait: true,
		resume: fmt.Sprintf("The requests stay shared out as they are, with %d percent at what is new; the next apply goes on from there", percent)}
}

// judge asks the platform how what comes has answered. over is the end of a stage.
// measured is false when there is nothing to judge what has to be judged by.
func (r *endpointRun) judge(ctx context.Context, ro rollout, over bool) (measured bool, err error) {
	checks := &r.spec.Rollout.Checks
	if len(checks.Alarms) > 0 {
		firing, err := r.c.driver.Firing(ctx, r.spec.Key, checks.Alarms)
		if err != nil {
			return false, mlerr.Annotate(err, "%s: cannot ask for its alarms", r.what)
		}
		if len(firing) > 0 {
			return false, mlerr.New(mlerr.Failed, "%s: alarm %s fires at %d percent: %s", r.what, firing[0].Name, r.watched.percent, orUnsaid(firing[0].Reason))
		}
	}
	if checks.MaxErrorRate == 0 && checks.MaxLatencyMS == 0 {
		return true, nil
	}
	measured = true
	for _, d := range ro.coming {
		m, err := r.c.driver.Measure(ctx, r.spec.Key, d.ID, r.watched.since, r.c.clock.Now())
		if err != nil {
			return false, mlerr.Annotate(err, "%s: cannot measure deployment %s", r.what, d.Name)
		}
		measured = measured && m.Requests > 0
		if !over && m.Requests < enough {
			continue
		}
		if err := exceeded(checks, m); err != nil {
			return false, mlerr.Annotate(err, "%s: deployment %s, with %d percent", r.what, d.Name, r.watched.percent)
		}
	}
	return measured, nil
}

// exceeded compares what was measured with what is allowed.
func exceeded(checks *driver.Checks, m driver.Measurement) error {
	if rate := m.ErrorRate(); checks.MaxErrorRate > 0 && rate > checks.MaxErrorRate {
		return mlerr.New(mlerr.Failed, "%d of %d requests failed, which is %.3g percent, and rollout.checks.max_error_rate allows %g", m.Errors, m.Requests, rate, checks.MaxErrorRate)
	}
	if most := time.Duration(checks.MaxLatencyMS) * time.Millisecond; most > 0 && m.Latency95 > most {
		return mlerr.New(mlerr.Failed, "5 of 100 requests take longer than %s, and rollout.checks.max_latency_ms allows %s", m.Latency95.Round(time.Millisecond), most)
	}
	return nil
}

// away is an error when a deployment that has requests is not ready for too long.
func (r *endpointRun) away(now *driver.DeploymentState) error {
	if now.Phase == driver.Ready || now.Traffic == 0 {
		delete(r.unready, now.ID)
		return nil
	}
	since, known := r.unready[now.ID]
	if !known {
		r.unready[now.ID] = r.c.clock.Now()
		return nil
	}
	if gone := r.c.clock.Now().Sub(since); gone >= r.c.paced(absence) {
		return mlerr.New(mlerr.Failed, "%s: deployment %s has %d percent of the requests and is not ready for %s: %s", r.what, now.Name, now.Traffic,
			gone.Round(time.Second), orUnsaid(now.Reason))
	}
	return nil
}
