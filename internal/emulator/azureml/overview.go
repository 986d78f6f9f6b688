// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// Overview is what a person wants to see at a glance.
type Overview struct {
	Endpoints []EndpointOverview
	Models    []ModelOverview
}

// EndpointOverview is one online endpoint.
type EndpointOverview struct {
	Name, Workspace, Status string
	Deployments             []DeploymentOverview
}

// DeploymentOverview is one deployment and what it serves.
type DeploymentOverview struct {
	Name, Status, Reason, Model, Version, InstanceType string
	Traffic, Mirror, Instances, Served, Mirrored       int
}

// ModelOverview is one registered version.
type ModelOverview struct {
	Name, Workspace, Version, Type, Digest string
	Aliases                                []string
}

// Overview reads all workspaces.
func (s *Service) Overview(ctx context.Context) (*Overview, error) {
	o := &Overview{}
	r := &request{Service: s}
	err := r.do(ctx, func() error {
		keys, err := r.prefixed(kindEndpoint, "")
		if err != nil {
			return err
		}
		for _, key := range keys {
			at, _ := parseID(key)
			e, err := r.loadEndpoint(at)
			if err != nil {
				return err
			}
			view, err := r.overview(e)
			if err != nil {
				return err
			}
			o.Endpoints = append(o.Endpoints, view)
		}
		o.Models, err = r.models()
		return err
	})
	return o, err
}

// models are the versions of all models, with the aliases that tags of theirs say.
func (r *request) models() (all []ModelOverview, err error) {
	aliases := map[string][]string{} // by the id of the version
	err = r.tx.Each(kindFamily, "", func(key string, data []byte) error {
		f := &family{}
		if err := json.Unmarshal(data, f); err != nil {
			return err
		}
		tags, _ := f.Properties["tags"].(map[string]any)
		for _, name := range sortedKeys(tags) {
			if alias, is := strings.CutPrefix(name, "alias."); is {
				id := key + "/versions/" + fmt.Sprint(tags[name])
				aliases[id] = append(aliases[id], alias)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = r.tx.Each(kindAsset, "", func(key string, data []byte) error {
		a := &asset{}
		if err := json.Unmarshal(data, a); err != nil {
			return err
		}
		if at, _ := parseID(a.ID); same(at.types[1], "models") {
			modelType, _ := a.Properties["modelType"].(string)
			uri, _ := a.Properties["modelUri"].(string)
			all = append(all, ModelOverview{Name: at.names[1], Workspace: at.names[0], Version: at.names[2], Type: modelType, Digest: digestOf(a, uri), Aliases: aliases[key]})
		}
		return nil
	})
	return all, err
}

func (r *request) overview(e *endpoint) (EndpointOverview, error) {
	running, err := r.runningOn(e.Busy)
	view := EndpointOverview{Name: e.at().name(), Workspace: e.at().names[0], Status: r.shownState(e.State, e.During, running)}
	if err != nil {
		return view, err
	}
	all, err := r.deployments(e)
	if err != nil {
		return view, err
	}
	r.target = e.at()
	for _, d := range all {
		name := strings.ToLower(d.at().name())
		running, err := r.runningOn(d.Busy)
		if err != nil {
			return view, err
		}
		one := DeploymentOverview{Name: d.at().name(), Status: r.shownState(d.State, d.During, running), Reason: d.Reason, InstanceType: value(d.settings().instance),
			Traffic: int(value(e.ARM.Properties.Traffic[name])), Mirror: int(value(e.ARM.Properties.MirrorTraffic[name])), Instances: d.capacity(), Served: e.Served[name], Mirrored: e.Mirrored[name]}
		model, err := r.referenced("models", value(d.settings().model))
		if _, is := err.(*refusal); err != nil && !is { //nolint:errorlint // refusals are not wrapped
			return view, err
		}
		if model != nil {
			at, _ := parseID(model.ID)
			one.Model, one.Version = at.names[1], at.names[2]
		}
		view.Deployments = append(view.Deployments, one)
	}
	return view, nil
}

// SetInstances moves the capacity of a deployment, as an autoscaler would.
func (s *Service) SetInstances(ctx context.Context, id string, n int) error {
	r := &request{Service: s}
	return r.do(ctx, func() error {
		at, is := parseID(id)
		if !is {
			return badRequest("'%s' is not the id of a deployment.", id)
		}
		d, err := r.loadDeployment(at)
		if err == nil && d == nil {
			err = notFound(at)
		}
		if err != nil {
			return err
		}
		if n < 1 || n > mostInstances {
			return badRequest("%d instances are not between 1 and %d.", n, mostInstances)
		}
		d.ARM.SKU.Capacity = new(int32(n))
		return r.saveDeployment(d)
	})
}
