// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"fmt"
	"strings"
	"time"
)

// plan is a DeploymentConfig, read for the fleet that it is going to replace.
type plan struct {
	kind  string        // "ALL_AT_ONCE", "CANARY", "LINEAR" or "ROLLING"
	step  int           // percent of the first, or of every, shift
	pause time.Duration // between two shifts
	bake  time.Duration // after the last
	limit time.Duration // of the whole; 0 is none
}

// fleets are the parts of a CapacitySize by kind, with the bounds in percent.
var fleets = map[string]struct {
	size        string
	least, most int
}{"CANARY": {"CanarySize", 1, 50}, "LINEAR": {"LinearStepSize", 10, 50}, "ROLLING": {"MaximumBatchSize", 5, 50}}

// planOf reads a DeploymentConfig and holds the rules between its fields.
func (r *request) planOf(d obj, fleet []*variant) (plan, error) {
	p := plan{kind: "ALL_AT_ONCE", step: 100}
	policy, rolling := d.obj("BlueGreenUpdatePolicy"), d.obj("RollingUpdatePolicy")
	if policy != nil && rolling != nil {
		return p, invalid("Only one of BlueGreenUpdatePolicy and RollingUpdatePolicy can be specified.")
	}
	if err := r.checkAlarms(d); err != nil {
		return p, err
	}
	sizes := rolling
	if rolling != nil {
		policy, p.kind = rolling, "ROLLING"
		p.pause = seconds(rolling, "WaitIntervalInSeconds")
	} else if policy != nil {
		sizes = policy.obj("TrafficRoutingConfiguration")
		p.kind, p.pause = sizes.str("Type"), seconds(sizes, "WaitIntervalInSeconds")
		for _, kind := range []string{"CANARY", "LINEAR"} {
			if name := fleets[kind].size; sizes.has(name) != (p.kind == kind) {
				return p, invalid("%s must be specified if, and only if, the traffic routing type is %s.", name, kind)
			}
		}
	}
	p.bake, p.limit = seconds(policy, "TerminationWaitInSeconds"), seconds(policy, "MaximumExecutionTimeoutInSeconds")
	if err := p.measure(sizes, fleet); err != nil {
		return p, err
	}
	waits := p.bake
	if p.kind != "ALL_AT_ONCE" {
		waits += time.Duration(len(p.shares())-1) * p.pause
	}
	if p.limit > 0 && p.limit <= waits {
		return p, invalid("MaximumExecutionTimeoutInSeconds must be greater than the sum of the wait intervals.")
	}
	return p, nil
}

// measure works the size of a step out and refuses one that the fleet has not
// the instances for.
func (p *plan) measure(sizes obj, fleet []*variant) error {
	bounds, stepwise := fleets[p.kind]
	if !stepwise {
		return nil
	}
	for _, v := range fleet {
		if v.Serverless == nil && v.DesiredCount < 2 {
			return invalid("Traffic routing type %s requires at least 2 instances in variant %s.", p.kind, v.Name)
		}
	}
	if p.step = shareOf(sizes.obj(bounds.size), fleet); p.step < bounds.least || p.step > bounds.most {
		return invalid("%s must be between %d%% and %d%% of the capacity of the variant.", bounds.size, bounds.least, bounds.most)
	}
	return nil
}

func (r *request) checkAlarms(d obj) error {
	for _, a := range d.obj("AutoRollbackConfiguration").list("Alarms") {
		var alarm obj
		found, err := r.tx.Get("alarm", r.region+"/"+a.str("AlarmName"), &alarm)
		if err != nil {
			return err
		}
		if !found {
			return invalid("Could not find alarm: %s", a.str("AlarmName"))
		}
	}
	return nil
}

func seconds(o obj, name string) time.Duration { return time.Duration(o.num(name)) * time.Second }

// shareOf is a CapacitySize in percent of the smallest variant.
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

// shares are the new fleet's shares of the traffic, one a shift.
func (p *plan) shares() []int {
	switch p.kind {
	case "CANARY":
		return []int{p.step, 100}
	case "LINEAR", "ROLLING":
		var all []int
		for share := p.step; share < 100; share += p.step {
			all = append(all, share)
		}
		return append(all, 100)
	}
	return []int{100}
}

// schedule lays a deployment out over time, from the moment that its fleet is
// ready.
func (r *request) schedule(to *pending, p plan, d obj) {
	for _, a := range d.obj("AutoRollbackConfiguration").list("Alarms") {
		to.Alarms = append(to.Alarms, a.str("AlarmName"))
	}
	at := to.Ends
	for i, share := range p.shares() {
		if i > 0 {
			at = at.Add(r.scaled(p.pause))
		}
		to.Stages = append(to.Stages, stage{at, share})
	}
	to.Ends = at.Add(r.scaled(p.bake))
}

// extra are the instances that a deployment needs beside what runs: a whole new
// fleet, or one batch of a rolling one.
func (p *plan) extra(fleet []*variant) []*variant {
	if p.kind != "ROLLING" {
		return fleet
	}
	batch := make([]*variant, len(fleet))
	for i, v := range fleet {
		part := *v
		part.Count = (v.Count*p.step + 99) / 100
		batch[i] = &part
	}
	return batch
}

// doomed says why a fleet will not come up: what it needs has gone since it was
// configured. "" is that it will. The platform notices only while it deploys.
func (r *request) doomed(fleet []*variant) (string, error) {
	for _, v := range fleet {
		m, err := r.model(v.Model)
		if refused(err) {
			return message(err), nil
		}
		if err != nil {
			return "", err
		}
		for i, c := range containersOf(m) {
			if c.has("ModelPackageName") {
				p, err := r.modelPackage(c.str("ModelPackageName"))
				if refused(err) {
					return message(err), nil
				}
				if err != nil {
					return "", err
				}
				if registered := p.obj("InferenceSpecification").list("Containers"); len(registered) > 0 {
					c = registered[0]
				}
			}
			if reason, err := r.unreadable(i+1, c); reason != "" || err != nil {
				return reason, err
			}
		}
	}
	return "", nil
}

// unreadable says why a container's model data cannot be downloaded; "" is that
// it can.
func (r *request) unreadable(number int, c obj) (string, error) {
	uri := dataOf(c)
	if uri == "" {
		return "", nil
	}
	failed := fmt.Sprintf("Failed to download model data for container \"container_%d\" from URL: \"%s\".", number, uri)
	if err := r.checkObject(uri); refused(err) {
		return failed + " Please ensure that there is an object located at the URL and that the role passed to CreateModel has permissions to download it.", nil
	} else if err != nil {
		return "", err
	}
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(uri, "s3://"), "/")
	if !strings.HasSuffix(prefix, "/") || c.str("Mode") == "MultiModel" || r.o.Keys == nil {
		return "", nil
	}
	keys, err := r.o.Keys(bucket, prefix)
	if err != nil {
		return "", err
	}
	for _, key := range keys {
		for segment := range strings.SplitSeq(strings.TrimPrefix(key, prefix), "/") {
			if segment == "" || segment == "." || segment == ".." || len(segment) > 255 {
				return fmt.Sprintf("%s The object key %q cannot become a file name.", failed, key), nil
			}
		}
	}
	return "", nil
}

// dataOf is the address of a container's model data, or "".
func dataOf(c obj) string {
	if url := c.str("ModelDataUrl"); url != "" {
		return url
	}
	return c.obj("ModelDataSource").obj("S3DataSource").str("S3Uri")
}

// checkQuota refuses more instances of a type, over all endpoints of the region,
// than the account may have.
func (r *request) checkQuota(wanted []*variant) error {
	delta := map[string]int{}
	for _, v := range wanted {
		delta[v.InstanceType] += v.Count
	}
	limits := r.o.Quotas()
	for instance := range delta {
		if _, limited := limits[instance]; !limited || delta[instance] <= 0 {
			delete(delta, instance)
		}
	}
	if len(delta) == 0 {
		return nil
	}
	used, err := r.used()
	if err != nil {
		return err
	}
	for instance, n := range delta {
		if used[instance]+n > limits[instance] {
			return &apiError{"ResourceLimitExceeded", quotaMessage(instance, limits[instance], used[instance], n), 400}
		}
	}
	return nil
}

// used counts the instances of the region's endpoints by type.
func (r *request) used() (map[string]int, error) {
	all, err := r.documents("endpoint")
	if err != nil {
		return nil, err
	}
	used := map[string]int{}
	for _, doc := range all {
		e, err := r.endpoint(doc.str("Name"))
		if refused(err) {
			continue // deleted in the meantime
		}
		if err != nil {
			return nil, err
		}
		running := e.Variants
		if p := e.Pending; p != nil && (p.Kind == "create" || p.Kind == "update") {
			running = append(running, p.Variants...)
		}
		for _, v := range running {
			used[v.InstanceType] += v.Count
		}
	}
	return used, nil
}

func quotaMessage(instance string, quota, used, delta int) string {
	return fmt.Sprintf("The account-level service limit '%s for endpoint usage' is %d Instances, with current utilization of %d Instances and a request delta of %d Instances. Please use AWS Service Quotas to request an increase for this quota. If AWS Service Quotas is not available, contact AWS support to request an increase for this quota.", instance, quota, used, delta)
}
