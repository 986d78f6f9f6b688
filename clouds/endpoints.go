// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// CheckEndpoint makes spec canonical and refuses what the platform cannot do,
// with the attribute's path. It does not dial out. Several errors are joined.
func (c *Cloud) CheckEndpoint(spec *driver.EndpointSpec) error {
	spec.Labels = c.withLabels(spec.Labels)
	var all mlerr.List
	all.Add(c.checkGaps(endpointUses(spec)))
	all.Add(checkDeployments(spec, c.Features()))
	all.Add(checkRollout(spec, c.Features()))
	all.Add(c.driver.PrepareEndpoint(spec))
	if all.Err() == nil {
		all.Add(c.checkProof(spec))
	}
	return all.Err()
}

// CheckServable refuses versions that do not exist, could not be registered or
// are not approved, and any that it cannot read: what is not seen to be approved
// is not served. refs is by deployment name. planned tells the approval that a
// version is going to have, where this run knows of one; nil if it knows of none.
func (c *Cloud) CheckServable(ctx context.Context, refs map[string]driver.VersionRef, planned func(driver.VersionRef) (driver.Approval, bool)) error {
	var refused, unread mlerr.List
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		ref := refs[name]
		if ref.Native != "" {
			continue
		}
		v, err := patiently(ctx, c, func() (*driver.Version, error) { return c.driver.ObserveVersion(ctx, ref) })
		if err != nil && !mlerr.Is(err, mlerr.NotFound) {
			unread.Add(mlerr.Annotate(err, "cannot read model version %s", ref))
			continue
		}
		if planned != nil && v != nil {
			if approval, ok := planned(ref); ok {
				v.Approval = approval
			}
		}
		if why := unservable(ref, v); why != nil {
			refused.Add(why.At("deployments.%s.model", name))
		}
	}
	if err := refused.Err(); err != nil {
		return err // whatever could not be read, this cannot be served
	}
	return unread.Err()
}

// unservable says why a version may not be served; v is nil if it does not exist.
func unservable(ref driver.VersionRef, v *driver.Version) *mlerr.Error {
	switch {
	case v == nil, v.Phase == driver.Deleting:
		return mlerr.New(mlerr.InvalidArgument, "model version %s does not exist", ref).WithHint("Refer to ml_model.<name>.version_id")
	case v.Phase == driver.Failed:
		return mlerr.New(mlerr.InvalidArgument, "model version %s could not be registered: %s", ref, orUnsaid(v.Reason)).
			WithHint("Apply its ml_model again, and serve the version that this publishes")
	case v.Approval != driver.Approved:
		return mlerr.New(mlerr.InvalidArgument, "model version %s is %s, and only an approved version may be served", ref, v.Approval).
			WithHint("Set approval = \"approved\" on its ml_model")
	}
	return nil
}

// ObserveEndpoint reads an endpoint; known is what the caller holds of it, or
// nil to read everything. Absent, or on its way out, is NotFound.
func (c *Cloud) ObserveEndpoint(ctx context.Context, key driver.Key, known *driver.EndpointState) (*driver.EndpointState, error) {
	reference := known
	if moving(known) {
		reference = nil // what a transition leaves behind was not told then
	}
	seen, err := patiently(ctx, c, func() (*driver.EndpointState, error) { return c.driver.ObserveEndpoint(ctx, key, reference) })
	if err == nil && seen.Phase == driver.Deleting {
		err = mlerr.New(mlerr.NotFound, "%s is being deleted", article(key, driver.KindEndpoint))
	}
	if known != nil && mlerr.Is(err, mlerr.NotFound) {
		if seen, err = c.ending(ctx, key, known, err); err != nil {
			return nil, err
		}
		return seen, nil
	}
	if err != nil {
		return nil, mlerr.Annotate(err, "cannot read %s", article(key, driver.KindEndpoint))
	}
	seen.Unfinished = c.unfinished(seen)
	return seen, nil
}

// Preflight asks the platform what it would refuse of a change to spec, which is
// guaranteed to have passed CheckEndpoint; known is what the caller holds of the
// endpoint, nil for a new one. Where nothing changes it asks nothing.
func (c *Cloud) Preflight(ctx context.Context, spec *driver.EndpointSpec, known *driver.EndpointState) (warnings []string, err error) {
	if known != nil && known.Unfinished == "" && len(comparison{spec, known, c.Features().Carried}.all()) == 0 {
		return nil, nil
	}
	warnings, err = patiently(ctx, c, func() ([]string, error) { return c.driver.Preflight(ctx, spec, known) })
	if err != nil || known == nil || len(spec.Rollout.Checks.Alarms) == 0 || spec.Unknown.Has("rollout.checks.alarms") {
		return warnings, err // what is only created may come together with its alarms
	}
	more, err := c.checkAlarms(ctx, spec)
	return append(warnings, more...), err
}

// checkAlarms refuses alarms that do not exist, and warns of those that fire.
func (c *Cloud) checkAlarms(ctx context.Context, spec *driver.EndpointSpec) (warnings []string, err error) {
	firing, err := patiently(ctx, c, func() ([]driver.Alarm, error) { return c.driver.Firing(ctx, spec.Key, spec.Rollout.Checks.Alarms) })
	if mlerr.Is(err, mlerr.PermissionDenied) {
		return []string{"whether the alarms of rollout.checks exist cannot be seen: " + err.Error()}, nil
	}
	for _, a := range firing {
		warnings = append(warnings, fmt.Sprintf("alarm %s fires now, and a rollout fails while it does: %s", a.Name, orUnsaid(a.Reason)))
	}
	return warnings, err
}

// ending is for an endpoint that is gone: absent is returned, unless a run of
// ours was cut off while it removed it. What that run has left would be forgotten
// with the endpoint, so then the endpoint counts as failed until an apply makes
// it again or a destroy removes the rest.
func (c *Cloud) ending(ctx context.Context, key driver.Key, known *driver.EndpointState, absent error) (*driver.EndpointState, error) {
	leftovers, err := c.driver.EndpointLeftovers(ctx, key)
	if err != nil {
		return nil, mlerr.Annotate(err, "cannot look for what %s left behind", article(key, driver.KindEndpoint))
	}
	if !slices.ContainsFunc(leftovers, func(l driver.Leftover) bool { return l.Ending }) {
		return nil, absent
	}
	s := *known
	s.Phase, s.Leftovers, s.Unfinished = driver.Failed, leftovers, ""
	s.Reason = fmt.Sprintf("its removal was interrupted, and has left behind the %s %s", leftovers[0].Kind, leftovers[0].Name)
	return &s, nil
}

// unfinished says what an apply has to do even if nothing that the user wrote
// differs. A process that is killed leaves no state behind: after a killed
// update the next plan compares with what that update has already made.
func (c *Cloud) unfinished(s *driver.EndpointState) string {
	names, carried := map[string]bool{}, c.Features().Carried
	for i := range s.Deployments {
		d := &s.Deployments[i]
		switch {
		case names[d.Name]:
			return "deployment " + d.Name + " is still being replaced"
		case d.Repair != "":
			return "deployment " + d.Name + ": " + d.Repair
		case (d.Owned || s.Marks.Owned) && len(differences("", only(carried, &d.Carried), only(carried, &s.Settings))) > 0:
			return "deployment " + d.Name + " still has the settings of before"
		}
		names[d.Name] = true
	}
	switch {
	case s.Repair != "":
		return s.Repair
	case s.Marks.Incomplete:
		return "its creation was not completed"
	case s.Marks.Untested:
		return "a smoke test was not completed"
	case len(s.Leftovers) > 0:
		return fmt.Sprintf("an earlier change has left behind the %s %s", s.Leftovers[0].Kind, s.Leftovers[0].Name)
	}
	return ""
}

// ApplyEndpoint makes the endpoint what spec says and returns it as observed in
// the end. The state is there whenever the endpoint is, also beside an error.
// When a change fails, what served before is brought back first, unless
// spec.Rollout.OnFailure is "hold". spec is guaranteed to have passed
// CheckEndpoint.
func (c *Cloud) ApplyEndpoint(ctx context.Context, spec *driver.EndpointSpec, how How) (*driver.EndpointState, error) {
	run := c.endpointRun(spec, how)
	err := run.run(ctx, run.next, run.reason)
	if run.turnBack(err) {
		if err = run.run(ctx, run.next, run.reason); !errors.Is(err, run.failure) {
			err = mlerr.Annotate(errors.Join(run.failure, err), "%s: going back to what served before failed too", run.what)
		}
	}
	if err != nil || run.seen == nil {
		return c.readBackEndpoint(ctx, spec.Key), run.held(err)
	}
	return run.seen, nil
}

func references(spec *driver.EndpointSpec) map[string]driver.VersionRef {
	refs := make(map[string]driver.VersionRef, len(spec.Deployments))
	for _, d := range spec.Deployments {
		refs[d.Name] = d.Model
	}
	return refs
}

func (c *Cloud) readBackEndpoint(ctx context.Context, key driver.Key) *driver.EndpointState {
	ctx, stop := recoveryContext(ctx)
	defer stop()
	seen, err := c.driver.ObserveEndpoint(ctx, key, nil)
	if err != nil {
		if !mlerr.Is(err, mlerr.NotFound) {
			c.log.Warn("cannot read back after a failure", "endpoint", key.ID(), "error", err)
		}
		return nil
	}
	seen.Unfinished = c.unfinished(seen)
	return seen
}

// endpointRun is one ApplyEndpoint.
type endpointRun struct {
	*converger
	spec   *driver.EndpointSpec
	seen   *driver.EndpointState
	before *driver.EndpointState // as it was when the run began; nil if it was not
	looked bool

	interrupted int // how often the platform has given up a change by itself

	servable bool // all versions were seen to be approved
	tested   bool
	unproven bool // no endpoint of a smoke test is left
	rolled   bool // everything but labels and leftovers is as wanted: there is no reason to go back

	moved   moved
	watched watch
	kept    map[string]bool      // deployments whose replicas are held, by their ids
	unready map[string]time.Time // when deployments that have requests were seen to be away, by their ids

	// failure is why the run goes back to what served before; it is what the
	// run ends with.
	failure error
}

func (c *Cloud) endpointRun(spec *driver.EndpointSpec, how How) *endpointRun {
	return &endpointRun{converger: c.converger("endpoint "+spec.Key.ID(), how), spec: spec, kept: map[string]bool{}, unready: map[string]time.Time{}}
}

// reason is what the platform says of the endpoint, or of the first deployment
// that is not ready.
func (r *endpointRun) reason() string {
	if r.seen == nil {
		return ""
	}
	for i := range r.seen.Deployments {
		if d := &r.seen.Deployments[i]; r.seen.Reason == "" && d.Phase != driver.Ready {
			return d.Reason
		}
	}
	return r.seen.Reason
}

func (r *endpointRun) next(ctx context.Context) (step, error) {
	if !r.servable {
		if err := r.c.CheckServable(ctx, references(r.spec), nil); err != nil {
			return step{}, err
		}
		r.servable = true
	}
	seen, err := r.observe(ctx)
	if err != nil {
		return step{}, mlerr.Annotate(err, "cannot read %s", r.what)
	}
	r.seen = seen
	r.askAgain()
	if !r.looked {
		r.looked = true
		if err := r.admit(); err != nil {
			return step{}, err
		}
		r.before = r.wayBack()
	}
	s, err := r.plan(ctx)
	if err == nil && s.done && r.failure != nil {
		return step{}, r.failure
	}
	return s, err
}

// mostInterruptions is how often a change that the platform gives up by itself is
// asked for again.
const mostInterruptions = 2

// askAgain forgets what was asked for, where the platform has given it up.
func (r *endpointRun) askAgain() {
	if r.seen == nil || r.seen.Interrupted == "" || moving(r.seen) || r.interrupted >= mostInterruptions {
		return
	}
	r.interrupted++
	r.c.log.Warn("asking again", "what", r.what, "because", r.seen.Interrupted)
	r.attempts, r.begun = map[string]*attempt{}, map[string]bool{"ask again": true}
}

// observe reads everything, except while the platform is at work: then a cheap
// read tells whether it still is. Absent is nil.
func (r *endpointRun) observe(ctx context.Context) (*driver.EndpointState, error) {
	if moving(r.seen) {
		seen, err := r.c.driver.ObserveEndpoint(ctx, r.spec.Key, r.seen)
		if err == nil && moving(seen) {
			return seen, nil
		}
	}
	seen, err := r.c.driver.ObserveEndpoint(ctx, r.spec.Key, nil)
	if mlerr.Is(err, mlerr.NotFound) {
		return nil, nil //nolint:nilnil // absent
	}
	return seen, err
}

// moving reports whether the endpoint, or a part of it, is in transition.
func moving(s *driver.EndpointState) bool {
	return s != nil && (s.Phase == driver.Changing ||
		slices.ContainsFunc(s.Deployments, func(d driver.DeploymentState) bool { return d.Phase == driver.Changing && d.Repair == "" }))
}

// admit refuses to take over an endpoint that a creation finds and that is
// neither the rest of an interrupted creation nor already what is wanted.
func (r *endpointRun) admit() error {
	if r.seen == nil || !r.how.Create || r.seen.Phase == driver.Deleting || r.seen.Marks.Incomplete {
		return nil
	}
	if r.seen.Marks.Owned && len(r.compared().all()) == 0 {
		return nil
	}
	return exists(r.spec.Key, driver.KindEndpoint)
}

func exists(key driver.Key, kind driver.Kind) error {
	return mlerr.New(mlerr.AlreadyExists, "%s %s exists already and is not the rest of an interrupted creation", kind, key.ID()).
		WithHint("To manage it from here, import it: terraform import ml_%s.<name> %s. Otherwise choose another name", kind, key.ID())
}

// DestroyEndpoint removes the endpoint and everything of ours that served only
// it. Absent is success.
func (c *Cloud) DestroyEndpoint(ctx context.Context, key driver.Key, how How) error {
	err := c.destroyEndpoint(ctx, key, how)
	if _, proves := c.proves(); err == nil && proves {
		err = c.removeProof(ctx, key, how) // of a run that was cut off
	}
	return err
}

func (c *Cloud) destroyEndpoint(ctx context.Context, key driver.Key, how How) error {
	r := c.converger("endpoint "+key.ID(), how)
	var seen *driver.EndpointState
	next := func(ctx context.Context) (step, error) {
		now, err := c.driver.ObserveEndpoint(ctx, key, nil)
		if mlerr.Is(err, mlerr.NotFound) {
			return c.sweepGone(ctx, r, key)
		}
		if err != nil {
			return step{}, mlerr.Annotate(err, "cannot read %s", r.what)
		}
		seen = now
		if seen.Phase == driver.Deleting || seen.Phase == driver.Changing {
			return step{name: "delete", wait: true}, nil
		}
		if foreign := foreignDeployments(seen); seen.Marks.Owned && len(foreign) > 0 {
			return step{}, mlerr.New(mlerr.InUse, "%s also holds deployments that are not ours: %v", r.what, foreign).
				WithHint("Remove them with the tool that made them, then destroy again")
		}
		return deleteStep(c, "delete", seen), nil
	}
	return r.run(ctx, next, func() string {
		if seen == nil {
			return ""
		}
		return seen.Reason
	})
}

// deleteStep removes an endpoint, which may take several steps: what is left of it is
// part of the aim.
func deleteStep(c *Cloud, name string, seen *driver.EndpointState) step {
	var left strings.Builder
	for i := range seen.Deployments {
		left.WriteString(", with " + seen.Deployments[i].ID)
	}
	return step{name: name, aim: "gone" + left.String(), do: func(ctx context.Context) error { return c.driver.DeleteEndpoint(ctx, seen) }}
}

// sweepGone removes what an endpoint that is gone has left behind.
func (c *Cloud) sweepGone(ctx context.Context, r *converger, key driver.Key) (step, error) {
	leftovers, err := c.driver.EndpointLeftovers(ctx, key)
	if err != nil {
		return step{}, mlerr.Annotate(err, "cannot look for what %s left behind", r.what)
	}
	if len(leftovers) == 0 {
		return step{done: true}, nil
	}
	return sweepStep(c, key, leftovers), nil
}

func sweepStep(c *Cloud, key driver.Key, leftovers []driver.Leftover) step {
	var aim strings.Builder
	for _, l := range leftovers {
		aim.WriteString(l.Kind + " " + l.Name + ", ")
	}
	return step{name: "remove what is no longer needed", aim: aim.String(),
		do: func(ctx context.Context) error { return c.driver.Sweep(ctx, key, leftovers) }}
}

func foreignDeployments(seen *driver.EndpointState) []string {
	var names []string
	for _, d := range seen.Deployments {
		if !d.Owned {
			names = append(names, d.Name)
		}
	}
	return names
}

// DefaultLimits are the timeouts of endpoints when the user sets none. Large
// models take half an hour to load, and a container that cannot start half an
// hour to be given up.
var DefaultLimits = struct{ Create, Update, Delete time.Duration }{90 * time.Minute, 90 * time.Minute, 30 * time.Minute}
