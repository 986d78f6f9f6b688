// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
)

var endpointHandlers = map[string]handler{
	"CreateEndpointConfig": createConfig, "DescribeEndpointConfig": describeConfig, "ListEndpointConfigs": listConfigs, "DeleteEndpointConfig": deleteConfig,
	"CreateEndpoint": createEndpoint, "DescribeEndpoint": describeEndpoint, "UpdateEndpoint": updateEndpoint,
	"UpdateEndpointWeightsAndCapacities": updateWeights, "ListEndpoints": listEndpoints, "DeleteEndpoint": deleteEndpoint,
}

// endpoint is an endpoint as it is kept. Its state at any moment follows from
// the clock; settle.go works it out.
type endpoint struct {
	Name, ARN     string
	Config        string // name of the configuration that serves
	Status        string // while nothing is pending
	FailureReason string
	Created       float64
	Modified      float64
	Variants      []*variant
	Deployment    obj // LastDeploymentConfig
	Pending       *pending
}

// variant is what serves, or is being made to.
type variant struct {
	Name                string
	Shadow              bool
	Model               string
	InstanceType        string
	Count, DesiredCount int
	Weight              float64
	DesiredWeight       float64
	Serverless          obj
	Served              int // requests answered so far
}

// pending is a transition that is going on.
type pending struct {
	Kind     string // a key of transitions
	Config   string // that is being moved to
	Variants []*variant
	Began    time.Time
	Ends     time.Time
	Fails    bool
	Reason   string
	Mode     string // of a failure: "" or "rollback_failed"
	Alarms   []string
	Watched  time.Time // the alarms have been evaluated until then
	Stages   []stage   // traffic on the way

	Maintenance bool // by the platform follows
}

// stage is a share of traffic on the new fleet from a moment on.
type stage struct {
	At    time.Time
	Share int // percent
}

func (r *request) endpoint(name string) (*endpoint, error) {
	var e endpoint
	found, err := r.tx.Get("endpoint", r.key(name), &e)
	if err != nil {
		return nil, err
	}
	if found {
		if found, err = r.settle(&e); err != nil {
			return nil, err
		}
	}
	if !found {
		return nil, invalid("Could not find endpoint \"%s\".", r.arn("endpoint", name))
	}
	return &e, nil
}

func (r *request) save(e *endpoint) error { return r.tx.Put("endpoint", r.key(e.Name), e) }

func createEndpoint(r *request) (obj, error) {
	name := r.in.str("EndpointName")
	arn := r.arn("endpoint", name)
	if _, err := r.endpoint(name); err == nil {
		return nil, invalid("Cannot create already existing endpoint \"%s\".", arn)
	} else if !refused(err) {
		return nil, err
	}
	config, err := r.config(r.in.str("EndpointConfigName"))
	if err != nil {
		return nil, err
	}
	e := &endpoint{Name: name, ARN: arn, Config: config.str("EndpointConfigName"), Created: epoch(r.now()), Modified: epoch(r.now()), Deployment: r.in.obj("DeploymentConfig")}
	fleet := fresh(config)
	if _, err := r.planOf(e.Deployment, fleet); err != nil {
		return nil, err
	}
	if err := r.checkQuota(fleet); err != nil {
		return nil, err
	}
	if e.Pending, err = r.begin("create", e.Config, fleet); err != nil {
		return nil, err
	}
	if err := r.putTags(arn); err != nil {
		return nil, err
	}
	return obj{"EndpointArn": arn}, r.save(e)
}

// begin starts a transition to a fleet; config is "" where it stays.
func (r *request) begin(kind, config string, fleet []*variant) (*pending, error) {
	p := &pending{Kind: kind, Config: config, Variants: fleet, Began: r.now(), Ends: r.now().Add(r.transition())}
	if config != "" {
		reason, err := r.doomed(fleet)
		if err != nil {
			return nil, err
		}
		p.Fails, p.Reason = reason != "", reason
	}
	if f := r.fault; f != nil {
		p.Maintenance = f.Action == fault.Maintenance
		if f.Action == fault.FailTransition {
			p.Fails, p.Reason, p.Mode = true, f.Message, f.Mode
		}
	}
	return p, nil
}

// fresh are a configuration's variants at their initial counts and weights.
func fresh(config obj) []*variant {
	var all []*variant
	for i, v := range variants(config) {
		weight, count := v.num("InitialVariantWeight"), int(v.num("InitialInstanceCount"))
		all = append(all, &variant{Name: v.str("VariantName"), Shadow: i >= len(config.list("ProductionVariants")), Model: v.str("ModelName"),
			InstanceType: v.str("InstanceType"), Count: count, DesiredCount: count, Weight: weight, DesiredWeight: weight, Serverless: v.obj("ServerlessConfig")})
	}
	return all
}

func updateEndpoint(r *request) (obj, error) {
	e, err := r.idle(r.in.str("EndpointName"))
	if err != nil {
		return nil, err
	}
	// The present configuration is validated too: one that somebody deleted
	// blocks every update.
	old, err := r.config(e.Config)
	if err != nil {
		return nil, err
	}
	config, err := r.config(r.in.str("EndpointConfigName"))
	if err != nil {
		return nil, err
	}
	if config.str("EndpointConfigName") == e.Config && e.Status != "UpdateRollbackFailed" {
		return nil, invalid("Cannot update endpoint \"%s\" with the endpoint configuration that it already uses.", e.ARN)
	}
	if err := r.checkReplacement(e, old, config); err != nil {
		return nil, err
	}
	deployment := r.in.obj("DeploymentConfig")
	if r.in.flag("RetainDeploymentConfig") {
		deployment = e.Deployment
	}
	fleet := r.retain(e, fresh(config))
	plan, err := r.planOf(deployment, fleet)
	if err != nil {
		return nil, err
	}
	if err := r.checkQuota(plan.extra(fleet)); err != nil {
		return nil, err
	}
	if e.Pending, err = r.begin("update", config.str("EndpointConfigName"), fleet); err != nil {
		return nil, err
	}
	r.schedule(e.Pending, plan, deployment)
	e.Deployment, e.Modified = deployment, epoch(r.now())
	return obj{"EndpointArn": e.ARN}, r.save(e)
}

// idle is an endpoint that can be changed.
func (r *request) idle(name string) (*endpoint, error) {
	e, err := r.endpoint(name)
	if err != nil {
		return nil, err
	}
	if e.Pending != nil {
		return nil, invalid("Cannot update in-progress endpoint \"%s\".", e.ARN)
	}
	if e.Status == "Failed" {
		return nil, invalid("Cannot update endpoint \"%s\" in status Failed: it can only be deleted.", e.ARN)
	}
	return e, nil
}

// retain keeps live counts and weights of variants of the same name, as
// RetainAllVariantProperties asks.
func (r *request) retain(e *endpoint, fleet []*variant) []*variant {
	if !r.in.flag("RetainAllVariantProperties") {
		return fleet
	}
	excluded := map[string]bool{}
	for _, p := range r.in.list("ExcludeRetainedVariantProperties") {
		excluded[p.str("VariantPropertyType")] = true
	}
	for _, next := range fleet {
		for _, now := range e.Variants {
			if now.Name != next.Name {
				continue
			}
			if !excluded["DesiredInstanceCount"] && next.Serverless == nil {
				next.Count, next.DesiredCount = now.DesiredCount, now.DesiredCount
			}
			if !excluded["DesiredWeight"] {
				next.Weight, next.DesiredWeight = now.DesiredWeight, now.DesiredWeight
			}
		}
	}
	return fleet
}

// checkReplacement refuses what a live endpoint cannot become.
func (r *request) checkReplacement(e *endpoint, old, config obj) error {
	if old.has("AsyncInferenceConfig") != config.has("AsyncInferenceConfig") {
		return invalid("Cannot switch endpoint \"%s\" between real-time and asynchronous inference.", e.ARN)
	}
	for _, now := range e.Variants {
		next := find(variants(config), now.Name)
		if next != nil && now.Serverless == nil && next.has("ServerlessConfig") {
			return invalid("Cannot update an instance-based variant of endpoint \"%s\" to serverless.", e.ARN)
		}
		target, err := r.target(variantResource(e.Name, now.Name), instanceDimension)
		if err != nil {
			return err
		}
		if target != nil && (next == nil || next.str("InstanceType") != now.InstanceType) {
			return invalid("Cannot change the instance type of, or remove, variant %s of endpoint \"%s\" while a scalable target is registered for it. Deregister the variant as a scalable target first.", now.Name, e.ARN)
		}
	}
	return nil
}

func deleteEndpoint(r *request) (obj, error) {
	e, err := r.endpoint(r.in.str("EndpointName"))
	if err != nil {
		return nil, err
	}
	if e.Pending != nil {
		return nil, invalid("Cannot update in-progress endpoint \"%s\".", e.ARN)
	}
	if err := r.deregisterAll(e.Name); err != nil {
		return nil, err
	}
	e.Pending = &pending{Kind: "delete", Began: r.now(), Ends: r.now().Add(r.transition())}
	return nil, r.save(e)
}

func listEndpoints(r *request) (obj, error) {
	all, err := r.documents("endpoint")
	if err != nil {
		return nil, err
	}
	var present []obj
	for _, doc := range all {
		e, err := r.endpoint(doc.str("Name"))
		if err != nil {
			continue // deleted in the meantime
		}
		present = append(present, obj{"EndpointName": e.Name, "EndpointArn": e.ARN, "CreationTime": e.Created, "LastModifiedTime": e.Modified, "EndpointStatus": e.status()})
	}
	items, token, err := r.summaries("Endpoint", present, "EndpointName", "EndpointArn", "CreationTime", "LastModifiedTime", "EndpointStatus")
	return obj{"Endpoints": items, "NextToken": token}, err
}
