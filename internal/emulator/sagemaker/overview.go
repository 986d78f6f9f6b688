// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"
	"encoding/json"
	"math"
	"strings"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/state"
)

// Overview is what a person wants to see at a glance.
type Overview struct {
	Endpoints []EndpointOverview
	Models    []ModelOverview
}

// EndpointOverview is one endpoint.
type EndpointOverview struct {
	Name, Region, Status, Reason string
	Variants                     []VariantOverview
}

// VariantOverview is one variant and what it serves.
type VariantOverview struct {
	Name, Model, Version, InstanceType string
	Traffic                            float64 // percent of the endpoint's; of a shadow, of what the others get
	Count, Desired, Served             int
	Shadow, Serverless                 bool
	Next                               bool // part of a fleet that is about to take over
}

// ModelOverview is one registered version.
type ModelOverview struct {
	Name, Region, Approval, Digest string
	Version                        int
}

// Overview reads all regions.
func (s *Service) Overview(ctx context.Context) (*Overview, error) {
	o := &Overview{}
	err := s.o.Store.Do(ctx, func(tx *state.Tx) error {
		var endpoints []struct{ region, name string }
		err := tx.Each("endpoint", "", func(key string, data []byte) error {
			var e endpoint
			region, _, _ := strings.Cut(key, "/")
			err := json.Unmarshal(data, &e)
			endpoints = append(endpoints, struct{ region, name string }{region, e.Name})
			return err
		})
		if err != nil {
			return err
		}
		for _, at := range endpoints {
			r := &request{Service: s, tx: tx, region: at.region, in: obj{}}
			if e, err := r.endpoint(at.name); err == nil {
				o.Endpoints = append(o.Endpoints, r.overview(e))
			}
		}
		return tx.Each("package", "", func(key string, data []byte) error {
			var p obj
			region, _, _ := strings.Cut(key, "/")
			err := json.Unmarshal(data, &p)
			o.Models = append(o.Models, ModelOverview{p.str("ModelPackageGroupName"), region, p.str("ModelApprovalStatus"),
				p.obj("CustomerMetadataProperties").str("ml_digest"), int(p.num("ModelPackageVersion"))})
			return err
		})
	})
	return o, err
}

func (r *request) overview(e *endpoint) EndpointOverview {
	view := EndpointOverview{Name: e.Name, Region: r.region, Status: e.status(), Reason: e.FailureReason}
	moved := 0
	if p := e.Pending; p != nil {
		moved = p.newShare(r.now())
	}
	view.Variants = r.fleet(e.Variants, 100-moved)
	if p := e.Pending; p != nil && p.Config != "" {
		for _, v := range r.fleet(p.Variants, moved) {
			v.Next = true
			view.Variants = append(view.Variants, v)
		}
	}
	return view
}

// fleet shows variants that share so many percent of the traffic.
func (r *request) fleet(all []*variant, share int) []VariantOverview {
	total := 0.0
	for _, v := range all {
		if !v.Shadow {
			total += v.Weight
		}
	}
	var fleet []VariantOverview
	for _, v := range all {
		to := r.describeServed(v)
		o := VariantOverview{Name: v.Name, Model: to.model, Version: to.version, InstanceType: v.InstanceType, Count: v.Count, Desired: v.DesiredCount,
			Served: v.Served, Shadow: v.Shadow, Serverless: v.Serverless != nil}
		if total > 0 {
			o.Traffic = math.Round(v.Weight / total * float64(share))
		}
		fleet = append(fleet, o)
	}
	return fleet
}
