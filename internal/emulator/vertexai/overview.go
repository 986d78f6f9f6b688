// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	pb "cloud.google.com/go/aiplatform/apiv1beta1/aiplatformpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Overview is what a person wants to see at a glance.
type Overview struct {
	Endpoints []EndpointOverview
	Models    []ModelOverview
}

// EndpointOverview is one endpoint.
type EndpointOverview struct {
	Name, Region, Status string
	Deployments          []DeploymentOverview
}

// DeploymentOverview is one deployed model and what it serves.
type DeploymentOverview struct {
	ID, Name, Model, Version, MachineType, Reason string
	Traffic, Replicas, Min, Max, Served           int
}

// ModelOverview is one registered version.
type ModelOverview struct {
	Name, Region, Version, Approval, Digest string
	Aliases                                 []string
}

// Overview reads all regions of all projects.
func (s *Service) Overview(ctx context.Context) (*Overview, error) {
	o := &Overview{}
	r := &request{Service: s, version: v1beta1}
	err := r.do(ctx, func() error {
		var endpoints []*endpoint
		err := eachEndpoint(r.tx, "", func(e *endpoint) error {
			endpoints = append(endpoints, e)
			return nil
		})
		if err != nil {
			return err
		}
		for _, e := range endpoints {
			r.place = e.Place
			view, err := r.overview(e)
			if err != nil {
				return err
			}
			o.Endpoints = append(o.Endpoints, view)
		}
		return r.tx.Each(kindModel, "", func(_ string, data []byte) error {
			var m model
			if err := json.Unmarshal(data, &m); err != nil {
				return err
			}
			if err := m.unpack(); err != nil {
				return err
			}
			for _, v := range m.Versions {
				seen := m.view(v, r.now())
				o.Models = append(o.Models, ModelOverview{Name: m.ID, Region: m.Place.Region, Version: seen.GetVersionId(), Approval: seen.GetLabels()["ml-approval"],
					Digest: digestOf(seen.GetLabels()["ml-digest"]), Aliases: seen.GetVersionAliases()})
			}
			return nil
		})
	})
	return o, err
}

func (r *request) overview(e *endpoint) (EndpointOverview, error) {
	view := EndpointOverview{Name: e.ID, Region: e.Place.Region, Status: "ready"}
	running, err := r.running(e.subject())
	if err != nil {
		return view, err
	}
	if len(running) > 0 {
		view.Status = strings.TrimPrefix(running[0].Kind, "endpoints.")
	}
	r.shown(e)
	for _, dm := range e.pb.GetDeployedModels() {
		res := dm.GetDedicatedResources()
		_, model, _, _ := parseModel(dm.GetModel())
		view.Deployments = append(view.Deployments, DeploymentOverview{ID: dm.GetId(), Name: dm.GetDisplayName(), Model: model, Version: dm.GetModelVersionId(),
			MachineType: res.GetMachineSpec().GetMachineType(), Reason: dm.GetStatus().GetMessage(), Traffic: int(e.pb.GetTrafficSplit()[dm.GetId()]),
			Replicas: int(dm.GetStatus().GetAvailableReplicaCount()), Min: int(res.GetMinReplicaCount()), Max: int(res.GetMaxReplicaCount()), Served: e.Served[dm.GetId()]})
	}
	return view, nil
}

// shown adds what is of this moment: live counts, and addresses.
func (r *request) shown(e *endpoint) {
	r.connect(e)
	for _, dm := range e.pb.GetDeployedModels() {
		if r.atZero(e, dm) || r.now().Before(e.Idle[dm.GetId()].Wakes) {
			dm.Status.AvailableReplicaCount = 0
		}
	}
}

// SetReplicas moves the live count of a deployment as an autoscaler would: inside of
// its bounds.
func (s *Service) SetReplicas(ctx context.Context, project, region, endpointID, deployedModelID string, n int) error {
	r := &request{Service: s, place: place{number(project), region}, version: v1beta1}
	return r.do(ctx, func() error {
		e, err := r.loadEndpoint(endpointID)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(e.pb.GetDeployedModels(), func(dm *pb.DeployedModel) bool { return dm.GetId() == deployedModelID })
		if i < 0 {
			return notFound("DeployedModel \"%s\" is not found on Endpoint `%s`.", deployedModelID, e.name())
		}
		dm := e.pb.GetDeployedModels()[i]
		res := dm.GetDedicatedResources()
		if n < int(res.GetMinReplicaCount()) || n > int(res.GetMaxReplicaCount()) {
			return invalid("%d replicas are not between %d and %d.", n, res.GetMinReplicaCount(), res.GetMaxReplicaCount())
		}
		dm.Status.AvailableReplicaCount, dm.Status.LastUpdateTime = int32(n), timestamppb.New(r.now())
		return r.putEndpoint(e)
	})
}
