// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package mem

import (
	"context"
	"slices"
	"sort"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// Preflight has nothing to ask.
func (d *Driver) Preflight(context.Context, *driver.EndpointSpec, *driver.EndpointState) ([]string, error) {
	return nil, nil
}

// ObserveEndpoint reads an endpoint.
func (d *Driver) ObserveEndpoint(_ context.Context, key driver.Key, _ *driver.EndpointState) (state *driver.EndpointState, err error) {
	err = d.call("GetEndpoint", func() error {
		e, err := d.p.find(key)
		if err != nil {
			return err
		}
		s := e.state
		s.Deployments = append([]driver.DeploymentState(nil), e.state.Deployments...)
		state = &s
		return nil
	})
	return state, err
}

// CreateEndpoint makes an empty endpoint.
func (d *Driver) CreateEndpoint(_ context.Context, spec *driver.EndpointSpec) error {
	return d.call("CreateEndpoint", func() error {
		if e := d.p.endpoints[spec.Key.ID()]; e != nil {
			if !e.state.Marks.Owned {
				return mlerr.New(mlerr.AlreadyExists, "endpoint %s exists", spec.Key.ID())
			}
			return nil
		}
		e := newEndpoint(spec.Key)
		e.state.Marks = driver.Marks{Owned: true, Incomplete: true}
		e.state.Settings, e.state.Labels = spec.Settings, spec.Labels
		e.readyAt[""] = d.p.clock.Now().Add(settle)
		d.p.endpoints[spec.Key.ID()] = e
		return nil
	})
}

// UpdateSettings replaces the settings.
func (d *Driver) UpdateSettings(_ context.Context, spec *driver.EndpointSpec, _ *driver.EndpointState) error {
	return d.change("UpdateSettings", spec.Key, func(e *endpoint) error {
		e.state.Settings, e.state.Phase = spec.Settings, driver.Changing
		e.readyAt[""] = d.p.clock.Now().Add(settle)
		return nil
	})
}

func (d *Driver) change(call string, key driver.Key, edit func(*endpoint) error) error {
	return d.call(call, func() error {
		e, err := d.p.idle(key)
		if err != nil {
			return err
		}
		return edit(e)
	})
}

// Deploy creates one deployment beside its predecessor.
func (d *Driver) Deploy(_ context.Context, spec *driver.EndpointSpec, _ *driver.EndpointState, name string, replicas int) error {
	return d.change("Deploy", spec.Key, func(e *endpoint) error {
		for _, want := range spec.Deployments {
			if want.Name != name {
				continue
			}
			id := deploymentID(name, hash([]any{want.Model, want.Compute, want.Env, spec.Settings.Auth.Mode}))
			for i := range e.state.Deployments {
				if now := &e.state.Deployments[i]; now.ID == id {
					now.Repair = ""
					return nil
				}
			}
			now := driver.DeploymentState{Deployment: want, ID: id, Owned: true, Phase: driver.Changing, Replicas: max(1, replicas), Carried: spec.Settings}
			now.Traffic, now.Mirror = 0, 0
			e.state.Marks.Untested = e.state.Marks.Untested || spec.SmokeTest != nil
			e.readyAt[id], e.fails[id] = d.p.clock.Now().Add(settle), d.p.failNext
			d.p.failNext = ""
			e.state.Deployments = append(e.state.Deployments, now)
			sort.Slice(e.state.Deployments, func(i, j int) bool {
				a, b := &e.state.Deployments[i], &e.state.Deployments[j]
				return a.Name < b.Name || a.Name == b.Name && a.ID < b.ID
			})
		}
		return nil
	})
}

// MarkUntested marks the endpoint.
func (d *Driver) MarkUntested(_ context.Context, seen *driver.EndpointState) error {
	return d.call("MarkUntested", func() error {
		e, err := d.p.find(seen.Key)
		if err == nil {
			e.state.Marks.Untested = true
		}
		return err
	})
}

// SetTraffic refuses shares that do not add up.
func (d *Driver) SetTraffic(_ context.Context, spec *driver.EndpointSpec, _ *driver.EndpointState, shares []driver.Share) error {
	return d.change("SetTraffic", spec.Key, func(e *endpoint) error {
		byID := map[string]driver.Share{}
		for _, s := range shares {
			byID[s.ID] = s
		}
		sum := 0
		for _, now := range e.state.Deployments {
			if s, ok := byID[now.ID]; ok {
				now.Traffic = s.Traffic
			}
			sum += now.Traffic
		}
		if sum != 100 {
			return mlerr.New(mlerr.InvalidArgument, "traffic adds up to %d", sum)
		}
		for i := range e.state.Deployments {
			if s, ok := byID[e.state.Deployments[i].ID]; ok {
				e.state.Deployments[i].Traffic, e.state.Deployments[i].Mirror = s.Traffic, s.Mirror
			}
		}
		return nil
	})
}

// SetScaling sets the bounds, and the count when nothing else owns it.
func (d *Driver) SetScaling(_ context.Context, spec *driver.EndpointSpec, seen *driver.EndpointState, name string) error {
	_ = seen
	return d.change("SetScaling", spec.Key, func(e *endpoint) error {
		for _, want := range spec.Deployments {
			for i := range e.state.Deployments {
				now := &e.state.Deployments[i]
				if now.Name != name || want.Name != name {
					continue
				}
				now.Scaling = want.Scaling
				now.Replicas = max(want.Scaling.Min, min(now.Replicas, want.Scaling.Max))
			}
		}
		return nil
	})
}

// SetLabels sets labels and completes the marks.
func (d *Driver) SetLabels(_ context.Context, spec *driver.EndpointSpec, _ *driver.EndpointState) error {
	return d.change("SetLabels", spec.Key, func(e *endpoint) error {
		e.state.Labels, e.state.Marks = spec.Labels, driver.Marks{Owned: true}
		for i := range e.state.Deployments {
			now := &e.state.Deployments[i]
			now.Owned = now.Owned || slices.ContainsFunc(spec.Deployments, func(d driver.Deployment) bool { return d.Name == now.Name })
		}
		return nil
	})
}

// Undeploy refuses a deployment that has traffic.
func (d *Driver) Undeploy(_ context.Context, key driver.Key, id string) error {
	return d.change("Undeploy", key, func(e *endpoint) error {
		for i, now := range e.state.Deployments {
			if now.ID != id {
				continue
			}
			if now.Traffic > 0 {
				return mlerr.New(mlerr.InUse, "deployment %s has traffic", id)
			}
			e.state.Deployments = append(e.state.Deployments[:i], e.state.Deployments[i+1:]...)
			return nil
		}
		return nil
	})
}

// EndpointLeftovers is empty: everything lives inside the endpoint.
func (d *Driver) EndpointLeftovers(context.Context, driver.Key) ([]driver.Leftover, error) {
	return nil, nil
}

// Sweep has nothing to do.
func (d *Driver) Sweep(context.Context, driver.Key, []driver.Leftover) error { return nil }

// DeleteEndpoint removes the endpoint with its deployments.
func (d *Driver) DeleteEndpoint(_ context.Context, seen *driver.EndpointState) error {
	return d.call("DeleteEndpoint", func() error {
		delete(d.p.endpoints, seen.Key.ID())
		return nil
	})
}
