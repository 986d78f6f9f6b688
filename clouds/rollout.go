// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"cmp"
	"slices"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// full is the percentage at which nothing is left to move.
const full = 100

// defaultStep is the percentage of a canary, and of each linear step, unless
// rollout.steps says another; defaultBake is rollout.interval where something has to
// be watched.
const (
	defaultStep = 10
	defaultBake = 5 * time.Minute
)

// stages are the percentages that the requests of a deployment go through on their
// way to its successor. The last is 100.
func stages(ro *driver.Rollout) []int {
	switch ro.Strategy {
	case driver.Canary:
		if len(ro.Steps) == 0 {
			return []int{defaultStep, full}
		}
		return append(slices.Clone(ro.Steps), full)
	case driver.Linear:
		size := defaultStep
		if len(ro.Steps) > 0 {
			size = ro.Steps[0]
		}
		var at []int
		for n := size; n < full; n += size {
			at = append(at, n)
		}
		return append(at, full)
	case driver.AllAtOnce, driver.BlueGreen:
	}
	return []int{full}
}

// bake is how long each stage is watched before the next. Of canary and linear those
// before 100 are; of the others 100 itself, with the predecessor still there to go
// back to.
func bake(ro *driver.Rollout) time.Duration {
	checked := ro.Checks.MaxErrorRate > 0 || ro.Checks.MaxLatencyMS > 0 || len(ro.Checks.Alarms) > 0
	if ro.Interval == 0 && (checked || (ro.Strategy != "" && ro.Strategy != driver.AllAtOnce)) {
		return defaultBake
	}
	return ro.Interval
}

// baked reports whether a stage is watched before the next step.
func baked(ro *driver.Rollout, percent int) bool {
	stepwise := ro.Strategy == driver.Canary || ro.Strategy == driver.Linear
	return bake(ro) > 0 && stepwise == (percent < full)
}

// RolloutTime is how long a rollout waits at all its stages together.
func (c *Cloud) RolloutTime(ro *driver.Rollout) time.Duration {
	var sum time.Duration
	for _, percent := range stages(ro) {
		if baked(ro, percent) {
			sum += c.paced(bake(ro))
		}
	}
	return sum
}

// rollout is where the requests of deployments that leave are on their way to those
// that come. It is computed from what is observed, and from nothing else.
type rollout struct {
	comparison
	coming  []*driver.DeploymentState // wanted, and not yet with all their requests, or beside a predecessor
	leaving []*driver.DeploymentState // ours, and not wanted any more
}

// rollout finds out what comes and what leaves.
func (c comparison) rollout() rollout {
	r := rollout{comparison: c}
	names, removed := map[string]bool{}, false
	for i := range c.seen.Deployments {
		now := &c.seen.Deployments[i]
		want := c.spec.Find(now.Name)
		switch {
		case want != nil && c.match(want) == now, want == nil && !now.Owned:
		case now.Phase == driver.Deleting:
		default:
			r.leaving = append(r.leaving, now)
			names[now.Name] = true
			removed = removed || (want == nil && now.Traffic > 0)
		}
	}
	for i := range c.spec.Deployments {
		want := &c.spec.Deployments[i]
		if now := c.match(want); now != nil && want.Traffic > 0 && (names[want.Name] || (removed && now.Traffic < want.Traffic)) {
			r.coming = append(r.coming, now)
		}
	}
	return r
}

// share is what one of coming has at a stage: its part, rounded up.
func (r rollout) share(now *driver.DeploymentState, percent int) int {
	return (r.spec.Find(now.Name).Traffic*percent + full - 1) / full
}

// reached is the last of stages that all have come to, 0 before the first. exact is
// false where some have more: then nobody has chosen that stage.
func (r rollout) reached(stages []int) (percent int, exact bool) {
	for _, stage := range stages {
		at, more := true, false
		for _, now := range r.coming {
			at = at && now.Traffic >= r.share(now, stage)
			more = more || now.Traffic > r.share(now, stage)
		}
		if !at {
			break
		}
		percent, exact = stage, !more
	}
	return percent, exact
}

// at lists the shares of a stage before 100: what comes gets its part from its own
// predecessor, else from whatever has most.
func (r rollout) at(percent int) []driver.Share {
	live := map[string]*driver.Share{}
	for i := range r.seen.Deployments {
		if now := &r.seen.Deployments[i]; now.Owned || r.spec.Find(now.Name) != nil {
			live[now.ID] = &driver.Share{ID: now.ID, Name: now.Name, Traffic: now.Traffic, Mirror: now.Mirror}
		}
	}
	for _, now := range r.coming {
		need := r.share(now, percent) - now.Traffic
		givers := slices.Clone(r.leaving)
		slices.SortStableFunc(givers, func(a, b *driver.DeploymentState) int {
			if (a.Name == now.Name) != (b.Name == now.Name) {
				if a.Name == now.Name {
					return -1
				}
				return 1
			}
			return cmp.Compare(live[b.ID].Traffic, live[a.ID].Traffic)
		})
		for _, giver := range givers {
			part := max(0, min(need, live[giver.ID].Traffic))
			live[giver.ID].Traffic -= part
			live[now.ID].Traffic += part
			need -= part
		}
	}
	var shares []driver.Share
	for i := range r.seen.Deployments {
		if s := live[r.seen.Deployments[i].ID]; s != nil {
			shares = append(shares, *s)
		}
	}
	return shares
}

// checkRollout holds the rules that are the same on every platform.
func checkRollout(s *driver.EndpointSpec, f *driver.Features) error {
	var found mlerr.List
	ro := &s.Rollout
	refuse := func(path, hint, format string, args ...any) {
		if !s.Unknown.Has("rollout") && !s.Unknown.Has(path) && !s.Unknown.Has("rollout.strategy") {
			found.Add(mlerr.New(mlerr.InvalidArgument, format, args...).At("%s", path).WithHint("%s", hint))
		}
	}
	stepwise := ro.Strategy == driver.Canary || ro.Strategy == driver.Linear
	switch {
	case len(ro.Steps) > 0 && !stepwise:
		refuse("rollout.steps", "Leave steps out, or use strategy = \"canary\"", "%s has no steps", cmp.Or(ro.Strategy, driver.AllAtOnce))
	case ro.Strategy == driver.Linear && len(ro.Steps) > 1:
		refuse("rollout.steps", "Give one size, or use strategy = \"canary\"", "all steps of a linear rollout are the same")
	}
	last := 0
	for _, step := range ro.Steps {
		if step <= last || step >= full {
			refuse("rollout.steps", "Use percentages from 1 to 99, such as [5, 25, 50]; 100 follows by itself", "the steps %v do not rise from above 0 to below 100", ro.Steps)
			break
		}
		last = step
	}
	if metrics := ro.Checks.MaxErrorRate > 0 || ro.Checks.MaxLatencyMS > 0; metrics && bake(ro) <= f.MetricsDelay {
		refuse("rollout.interval", "Use "+(2*f.MetricsDelay).String()+" or more", "%s shows what was answered %s late, and an interval of %s ends before",
			f.Platform, f.MetricsDelay, bake(ro))
	}
	return found.Err()
}
