// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"fmt"
	"time"
)

// settle works out what an endpoint has become by now, and keeps it. present is
// false once a deletion has come to its end.
func (r *request) settle(e *endpoint) (present bool, err error) {
	if e.Pending == nil {
		return true, nil
	}
	changed, err := r.guard(e.Pending)
	if err != nil {
		return false, err
	}
	for e.Pending != nil && !r.now().Before(e.Pending.Ends) {
		if e.Pending.Kind == "delete" {
			if err := r.tx.Delete("tags", e.ARN); err != nil {
				return false, err
			}
			return false, r.tx.Delete("endpoint", r.key(e.Name))
		}
		e.finish(r.transition())
		changed = true
	}
	if changed {
		return true, r.save(e)
	}
	return true, nil
}

// guard ends a guarded deployment when one of its alarms fires, as soon as it does:
// over what its fleets answered it may have been before anybody looked.
func (r *request) guard(p *pending) (changed bool, err error) {
	if p.Kind != "update" || p.Fails || len(p.Alarms) == 0 {
		return false, nil
	}
	now, from := r.now(), p.Watched
	until := now
	if p.Ends.Before(now) {
		until = p.Ends
	}
	if from.IsZero() {
		from = p.Began
	}
	at, firing, err := r.breach(p.Alarms, from, until)
	if err != nil {
		return false, err
	}
	if firing == "" && now.Before(p.Ends) {
		at = now
		if firing, err = r.firing(p.Alarms); err != nil {
			return false, err
		}
	}
	if changed = until.After(from); changed {
		p.Watched = until
	}
	if firing == "" {
		return changed, nil
	}
	p.Fails, p.Reason, p.Ends = true, fmt.Sprintf("One or more configured alarms went into ALARM state: [%s]", firing), at
	return true, nil
}

// finish ends the pending transition. What follows it of itself takes lasts.
func (e *endpoint) finish(lasts time.Duration) {
	p := e.Pending
	e.Pending = nil
	e.Modified = epoch(p.Ends)
	switch {
	case p.Kind == "maintenance":
	case p.Kind == "rollback":
		e.Status, e.FailureReason = "InService", p.Reason
	case p.Kind == "create" && p.Fails:
		e.Status, e.FailureReason = "Failed", p.Reason
	case p.Fails && p.Mode == "rollback_failed":
		e.Status, e.FailureReason = "UpdateRollbackFailed", p.Reason
	case p.Kind == "weights" && p.Fails:
		e.Pending = &pending{Kind: "rollback", Began: p.Ends, Ends: p.Ends.Add(lasts), Reason: p.Reason}
	case p.Fails:
		// The silent rollback: green again, with what was before.
		e.Status, e.FailureReason = "InService", p.Reason
	default:
		e.Status, e.FailureReason = "InService", ""
		if p.Config != "" {
			e.Config = p.Config
		}
		e.Variants = keepServed(e.Variants, p.Variants)
		for _, v := range e.Variants {
			v.Count, v.Weight = v.DesiredCount, v.DesiredWeight
		}
	}
	if p.Maintenance {
		e.Pending = &pending{Kind: "maintenance", Began: p.Ends, Ends: p.Ends.Add(lasts)}
	}
}

func keepServed(before, after []*variant) []*variant {
	for _, next := range after {
		for _, now := range before {
			if now.Name == next.Name && now.Model == next.Model {
				next.Served = now.Served
			}
		}
	}
	return after
}

// transitions are the statuses while something is pending.
var transitions = map[string]string{"create": "Creating", "update": "Updating", "weights": "Updating", "rollback": "RollingBack",
	"maintenance": "SystemUpdating", "delete": "Deleting"}

func (e *endpoint) status() string {
	if e.Pending == nil {
		return e.Status
	}
	return transitions[e.Pending.Kind]
}

// newShare is how much of the traffic the new fleet has now, in percent.
func (p *pending) newShare(now time.Time) int {
	share := 0
	for _, s := range p.Stages {
		if !now.Before(s.At) {
			share = s.Share
		}
	}
	return share
}
