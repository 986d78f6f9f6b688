// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// passing are the errors that say nothing about the change: the next apply goes
// on from wherever it has come to.
var passing = []mlerr.Code{mlerr.Canceled, mlerr.Timeout, mlerr.Unauthenticated,
	mlerr.Throttled, mlerr.Unavailable, mlerr.Conflict, mlerr.Preempted, mlerr.Busy}

// wayBack is what a failed change goes back to: the endpoint as this run first
// saw it, if it then served what had been found good.
func (r *endpointRun) wayBack() *driver.EndpointState {
	switch seen := r.seen; {
	case seen == nil, seen.Phase != driver.Ready, seen.Marks.Incomplete:
		return nil
	case seen.Marks.Untested && r.c.Features().DeployWhole && len(r.compared().whole()) == 0:
		return nil // it is the untested one, and what served before is gone; elsewhere it still stands beside it
	default:
		return seen
	}
}

// held says of a rollout that failed, and that is to be left as it is, how it goes on.
func (r *endpointRun) held(err error) error {
	if err == nil || mlerr.Is(err, passing...) || r.seen == nil || len(r.begun) == 0 || r.rolled || r.spec.Rollout.OnFailure != "hold" {
		return err
	}
	return mlerr.New(mlerr.CodeOf(err), "%s: the rollout is held", r.what).Because(err).
		WithHint("rollout.on_failure is \"hold\": all that serves was left as it is. Apply again to go on from there once the cause is mended, or change the configuration back and apply to go back")
}

// turnBack makes what served before the aim of another run, which then ends with
// err. It reports false when there is nothing to go back to, or no reason to.
// Nothing may be missing for it that the change has taken away on its way, such
// as an autoscaler's registration.
func (r *endpointRun) turnBack(err error) bool {
	if err == nil || mlerr.Is(err, passing...) || r.before == nil || len(r.begun) == 0 || r.rolled || r.spec.Rollout.OnFailure == "hold" {
		return false
	}
	r.c.log.Warn("going back to what served before", "what", r.what, "because", err)
	code := mlerr.CodeOf(err)
	if code == mlerr.Failed {
		code = mlerr.RolledBack
	}
	r.failure = mlerr.Wrap(err, code, "%s: went back to what served before", r.what)
	r.spec = specOf(r.before, comparison{r.spec, r.before, r.c.Features().Carried}, r.c.Features().DeployWhole)
	r.attempts = map[string]*attempt{}
	return true
}

// specOf is the specification of what a state shows. Of two deployments of one name the
// one that served before is meant, with the traffic of both: an interrupted rollout has
// left them. What is not ours, and was not to become ours, stays out of it.
func specOf(state *driver.EndpointState, wanting comparison, whole bool) *driver.EndpointSpec {
	spec := &driver.EndpointSpec{Key: state.Key, Settings: state.Settings, Labels: state.Labels,
		Rollout: driver.Rollout{Strategy: driver.AllAtOnce}}
	for i := range state.Deployments {
		d := &state.Deployments[i]
		want := wanting.spec.Find(d.Name)
		if wanting.incumbent(d.Name) != d || (!whole && !d.Owned && want == nil) {
			continue
		}
		meant := d.Deployment
		for j := range state.Deployments {
			if other := &state.Deployments[j]; j != i && other.Name == d.Name {
				meant.Traffic += other.Traffic
				if want != nil {
					meant.Scaling = want.Scaling // that of before may have been held for the rollout
				}
			}
		}
		spec.Deployments = append(spec.Deployments, meant)
	}
	return spec
}

// incumbent is the deployment of that name that a rollout to what is wanted replaces:
// of several the ready one that is not what is wanted, with most traffic; the only one
// otherwise.
func (c comparison) incumbent(name string) *driver.DeploymentState {
	var best *driver.DeploymentState
	want := c.spec.Find(name)
	for i := range c.seen.Deployments {
		now := &c.seen.Deployments[i]
		if now.Name != name || now.Phase != driver.Ready || (want != nil && c.match(want) == now) {
			continue
		}
		if best == nil || now.Traffic > best.Traffic {
			best = now
		}
	}
	if best == nil {
		return predecessor(name, c.seen)
	}
	return best
}
