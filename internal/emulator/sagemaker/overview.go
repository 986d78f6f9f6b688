// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"
	"encoding/json"
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
	Weight                             float64
	Count, Served                      int
	Shadow, Serverless                 bool
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
	for _, v := range e.Variants {
		to, err := r.describeServed(v)
		if err != nil {
			continue
		}
		view.Variants = append(view.Variants, VariantOverview{v.Name, to.model, to.version, v.InstanceType, v.Weight, v.Count, v.Served, v.Shadow, v.Serverless != nil})
	}
	return view
}
