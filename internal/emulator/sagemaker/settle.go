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
	p := e.Pending
	if p == nil {
		return true, nil
	}
	if p.Kind == "update" && !p.Fails {
		firing, err := r.firing(p.Alarms)
		if err != nil {
			return false, err
		}
		if firing != "" {
			p.Fails, p.Reason, p.Ends = true, fmt.Sprintf("One or more configured alarms went into ALARM state: [%s]", firing), r.now()
		}
	}
	if r.now().Before(p.Ends) {
		return true, nil
	}
	if p.Kind == "delete" {
		if err := r.tx.Delete("tags", e.ARN); err != nil {
			return false, err
		}
		return false, r.tx.Delete("endpoint", r.key(e.Name))
	}
	e.Pending = nil
	e.Modified = epoch(p.Ends)
	switch {
	case p.Kind == "create" && p.Fails:
		e.Status, e.FailureReason = "Failed", p.Reason
	case p.Fails && p.Mode == "rollback_failed":
		e.Status, e.FailureReason = "UpdateRollbackFailed", p.Reason
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
	return true, r.save(e)
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

func (e *endpoint) status() string {
	if e.Pending == nil {
		return e.Status
	}
	return map[string]string{"create": "Creating", "update": "Updating", "weights": "Updating", "delete": "Deleting"}[e.Pending.Kind]
}

// schedule lays out a guarded deployment over time.
func (r *request) schedule(p *pending, deployment obj) {
	for _, a := range deployment.obj("AutoRollbackConfiguration").list("Alarms") {
		p.Alarms = append(p.Alarms, a.str("AlarmName"))
	}
	policy := deployment.obj("BlueGreenUpdatePolicy")
	routing := policy.obj("TrafficRoutingConfiguration")
	ready := p.Ends
	pause := r.scaled(time.Duration(routing.num("WaitIntervalInSeconds")) * time.Second)
	switch routing.str("Type") {
	case "CANARY":
		p.Stages = []stage{{ready, shareOf(routing.obj("CanarySize"), p.Variants)}, {ready.Add(pause), 100}}
	case "LINEAR":
		step := max(1, shareOf(routing.obj("LinearStepSize"), p.Variants))
		for share := step; ; share += step {
			p.Stages = append(p.Stages, stage{ready, min(share, 100)})
			if share >= 100 {
				break
			}
			ready = ready.Add(pause)
		}
	default:
		p.Stages = []stage{{ready, 100}}
	}
	last := p.Stages[len(p.Stages)-1].At
	p.Ends = last.Add(r.scaled(time.Duration(policy.num("TerminationWaitInSeconds")) * time.Second))
}

// shareOf is a CapacitySize in percent.
func shareOf(size obj, all []*variant) int {
	value := int(size.num("Value"))
	if size.str("Type") == "CAPACITY_PERCENT" {
		return value
	}
	least := 0
	for _, v := range all {
		if least == 0 || v.DesiredCount < least {
			least = v.DesiredCount
		}
	}
	return value * 100 / max(1, least)
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

// checkDeploymentConfig holds the rules of guarded deployments.
func (r *request) checkDeploymentConfig(config obj) error {
	d := r.in.obj("DeploymentConfig")
	if d == nil {
		return nil
	}
	policy := d.obj("BlueGreenUpdatePolicy")
	if policy != nil && d.has("RollingUpdatePolicy") {
		return invalid("Only one of BlueGreenUpdatePolicy and RollingUpdatePolicy can be specified.")
	}
	routing := policy.obj("TrafficRoutingConfiguration")
	kind := routing.str("Type")
	if routing.has("CanarySize") != (kind == "CANARY") && policy != nil {
		return invalid("CanarySize must be specified if, and only if, the traffic routing type is CANARY.")
	}
	if routing.has("LinearStepSize") != (kind == "LINEAR") && policy != nil {
		return invalid("LinearStepSize must be specified if, and only if, the traffic routing type is LINEAR.")
	}
	for _, a := range d.obj("AutoRollbackConfiguration").list("Alarms") {
		var alarm obj
		if found, err := r.tx.Get("alarm", r.region+"/"+a.str("AlarmName"), &alarm); err != nil || !found {
			return invalid("Could not find alarm: %s", a.str("AlarmName"))
		}
	}
	if kind != "CANARY" && kind != "LINEAR" {
		return nil
	}
	for _, v := range variants(config) {
		if !v.has("ServerlessConfig") && v.num("InitialInstanceCount") < 2 {
			return invalid("Traffic routing type %s requires at least 2 instances in variant %s.", kind, v.str("VariantName"))
		}
	}
	all := fresh(config)
	if share := shareOf(routing.obj("CanarySize"), all); kind == "CANARY" && share > 50 {
		return invalid("CanarySize must not exceed 50%% of the capacity of the variant.")
	}
	if share := shareOf(routing.obj("LinearStepSize"), all); kind == "LINEAR" && (share < 10 || share > 50) {
		return invalid("LinearStepSize must be between 10%% and 50%% of the capacity of the variant.")
	}
	limit := time.Duration(policy.num("MaximumExecutionTimeoutInSeconds")) * time.Second
	waits := time.Duration(routing.num("WaitIntervalInSeconds")+policy.num("TerminationWaitInSeconds")) * time.Second
	if limit > 0 && limit <= waits {
		return invalid("MaximumExecutionTimeoutInSeconds must be greater than the sum of the wait intervals.")
	}
	return nil
}

func quotaMessage(instance string, quota, used, delta int) string {
	return fmt.Sprintf("The account-level service limit '%s for endpoint usage' is %d Instances, with current utilization of %d Instances and a request delta of %d Instances. Please use AWS Service Quotas to request an increase for this quota. If AWS Service Quotas is not available, contact AWS support to request an increase for this quota.", instance, quota, used, delta)
}
