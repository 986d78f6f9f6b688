// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package mem is the reference driver: a platform in memory. It behaves like the
// platforms where deployments come and go one by one (Vertex AI, Azure ML,
// Kubernetes), so that the core's rollout has something to run against before
// and beside them, and it passes the same conformance suite.
package mem

import (
	"fmt"
	"maps"
	"sort"
	"sync"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/wait"
)

// settle is how long a transition takes.
const settle = 2 * time.Second

// Platform is what exists. Several drivers may be open on one platform.
type Platform struct {
	mu        sync.Mutex
	clock     wait.Clock
	models    map[string]*model
	endpoints map[string]*endpoint
	artifacts map[string]string   // uri to digest
	failNext  string              // reason with which the next deployment fails
	conduct   map[string]conduct  // by version
	answers   map[string][]answer // by endpoint and deployment
	alarms    map[string]bool     // those that there are, and whether they fire
}

type model struct {
	state driver.ModelState
	next  int
}

type endpoint struct {
	state   driver.EndpointState
	readyAt map[string]time.Time // by deployment id; "" is the endpoint itself
	fails   map[string]string    // by deployment id: why it will fail
}

// NewPlatform makes an empty platform whose transitions take time by clock.
func NewPlatform(clock wait.Clock) *Platform {
	return &Platform{clock: clock, models: map[string]*model{}, endpoints: map[string]*endpoint{}, artifacts: map[string]string{},
		conduct: map[string]conduct{}, answers: map[string][]answer{}, alarms: map[string]bool{}}
}

// Fork is a copy that goes on by itself, with another clock.
func (p *Platform) Fork(clock wait.Clock) *Platform {
	p.mu.Lock()
	defer p.mu.Unlock()
	fork := NewPlatform(clock)
	for id, m := range p.models {
		fork.models[id] = &model{deepCopy(m.state), m.next}
	}
	for id, e := range p.endpoints {
		fork.endpoints[id] = &endpoint{deepCopy(e.state), maps.Clone(e.readyAt), maps.Clone(e.fails)}
	}
	maps.Copy(fork.artifacts, p.artifacts)
	fork.failNext = p.failNext
	maps.Copy(fork.conduct, p.conduct)
	maps.Copy(fork.answers, p.answers)
	maps.Copy(fork.alarms, p.alarms)
	return fork
}

// PutArtifact makes bytes with that digest readable at uri.
func (p *Platform) PutArtifact(uri, digest string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.artifacts[uri] = digest
}

// FailNext makes the next deployment fail for that reason.
func (p *Platform) FailNext(reason string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failNext = reason
}

// Edit changes an endpoint behind everybody's back, as a person with a console
// would. An endpoint that is not there is made, without marks.
func (p *Platform) Edit(key driver.Key, edit func(*driver.EndpointState)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.endpoints[key.ID()]
	if e == nil {
		e = newEndpoint(key)
		e.state.Phase = driver.Ready
		p.endpoints[key.ID()] = e
	}
	edit(&e.state)
}

// EditModel changes a model behind everybody's back.
func (p *Platform) EditModel(key driver.Key, edit func(*driver.ModelState)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m := p.models[key.ID()]; m != nil {
		edit(&m.state)
	}
}

// Objects names everything that exists, sorted.
func (p *Platform) Objects() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for id, m := range p.models {
		all = append(all, "model "+id)
		for _, v := range m.state.Versions {
			all = append(all, "version "+id+"@"+v.Version)
		}
	}
	for id, e := range p.endpoints {
		all = append(all, "endpoint "+id)
		for _, d := range e.state.Deployments {
			all = append(all, "deployment "+id+"/"+d.ID)
		}
	}
	sort.Strings(all)
	return all
}

func newEndpoint(key driver.Key) *endpoint {
	return &endpoint{
		state: driver.EndpointState{Key: key, NativeID: "mem:" + key.ID(), Phase: driver.Changing,
			URL: "https://mem.invalid/" + key.Name, InvokePolicy: "{}"},
		readyAt: map[string]time.Time{}, fails: map[string]string{},
	}
}

// advance lets time pass for an endpoint.
func (p *Platform) advance(e *endpoint) {
	now := p.clock.Now()
	if at, ok := e.readyAt[""]; ok && !now.Before(at) {
		delete(e.readyAt, "")
		e.state.Phase = driver.Ready
	}
	for i := range e.state.Deployments {
		d := &e.state.Deployments[i]
		if d.Scaling.Automatic() && d.Traffic == 0 && d.Phase == driver.Ready {
			d.Replicas = max(1, d.Scaling.Min) // its autoscaler sees nothing to do
		}
		at, ok := e.readyAt[d.ID]
		if !ok || now.Before(at) {
			continue
		}
		delete(e.readyAt, d.ID)
		d.Phase = driver.Ready
		if why := e.fails[d.ID]; why != "" {
			d.Phase, d.Reason = driver.Failed, why
		}
	}
}

// find returns an endpoint after time has passed, or NotFound.
func (p *Platform) find(key driver.Key) (*endpoint, error) {
	e := p.endpoints[key.ID()]
	if e == nil {
		return nil, mlerr.New(mlerr.NotFound, "no endpoint %s", key.ID())
	}
	p.advance(e)
	return e, nil
}

// idle is find that refuses while a transition is going on.
func (p *Platform) idle(key driver.Key) (*endpoint, error) {
	e, err := p.find(key)
	if err == nil && len(e.readyAt) > 0 {
		return nil, mlerr.New(mlerr.Busy, "endpoint %s is in transition", key.ID())
	}
	return e, err
}

func (p *Platform) serves(ref driver.VersionRef) []string {
	var by []string
	for id, e := range p.endpoints {
		for _, d := range e.state.Deployments {
			if d.Model == ref {
				by = append(by, id)
			}
		}
	}
	sort.Strings(by)
	return by
}

func deploymentID(name, aim string) string { return fmt.Sprintf("%s-%s", name, aim[:8]) }
