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
	mlerr.Throttled, mlerr.Unavailable, mlerr.Conflict, mlerr.Busy}

// wayBack is what a failed change goes back to: the endpoint as this run first
// saw it, if it then served what had been found good.
func (r *endpointRun) wayBack() *driver.EndpointState {
	switch seen := r.seen; {
	case seen == nil, seen.Phase != driver.Ready, seen.Marks.Incomplete:
		return nil
	case seen.Marks.Untested && r.c.Features().DeployWhole:
		return nil // what served before that is gone; elsewhere it still stands beside it
	default:
		return seen
	}
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
	r.spec = specOf(r.before, r.spec, r.c.Features().DeployWhole)
	r.attempts = map[string]*attempt{}
	return true
}

// specOf is the specification of what a state shows. Of two deployments of one
// name the one with more traffic is meant, with that of both; what is not ours, and was not to become
// ours, stays out of it.
func specOf(state *driver.EndpointState, wanting *driver.EndpointSpec, whole bool) *driver.EndpointSpec {
	spec := &driver.EndpointSpec{Key: state.Key, Settings: state.Settings, Labels: state.Labels,
		Rollout: driver.Rollout{Strategy: driver.AllAtOnce}}
	for i := range state.Deployments {
		d := &state.Deployments[i]
		if predecessor(d.Name, state) == d && (whole || d.Owned || wanted(d.Name, wanting) != nil) {
			meant := d.Deployment
			for j := range state.Deployments {
				if other := &state.Deployments[j]; j != i && other.Name == d.Name {
					meant.Traffic += other.Traffic
				}
			}
			spec.Deployments = append(spec.Deployments, meant)
		}
	}
	return spec
}
