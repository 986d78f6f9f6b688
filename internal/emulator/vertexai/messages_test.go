// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"testing"
	"time"

	pb "cloud.google.com/go/aiplatform/apiv1beta1/aiplatformpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Messages go from one version to the other on the wire: what both have must have the
// same number and type, and v1 may have nothing beside that is kept.
func TestVersionsAgree(t *testing.T) {
	t.Parallel()
	missing := map[protoreflect.FullName]bool{apiPackage + "v1.Model.pipeline_job": true, apiPackage + "v1.Model.data_stats": true} // of trained models
	seen := map[protoreflect.FullName]bool{}
	var compare func(one, other protoreflect.MessageDescriptor)
	compare = func(one, other protoreflect.MessageDescriptor) {
		if seen[one.FullName()] {
			return
		}
		seen[one.FullName()] = true
		for i := range one.Fields().Len() {
			f := one.Fields().Get(i)
			g := other.Fields().ByName(f.Name())
			switch {
			case g == nil && !missing[f.FullName()]:
				t.Errorf("%s is in v1 only", f.FullName())
			case g == nil:
			case f.Number() != g.Number() || f.Kind() != g.Kind() || f.Cardinality() != g.Cardinality():
				t.Errorf("%s is not the same in both versions", f.FullName())
			case f.Message() != nil && !f.IsMap():
				compare(f.Message(), g.Message())
			case f.Enum() != nil:
				for j := range f.Enum().Values().Len() {
					v := f.Enum().Values().Get(j)
					if w := g.Enum().Values().ByName(v.Name()); w == nil || w.Number() != v.Number() {
						t.Errorf("%s is not the same in both versions", v.FullName())
					}
				}
			}
		}
	}
	messages := []proto.Message{&pb.UploadModelRequest{}, &pb.UploadModelResponse{}, &pb.CopyModelRequest{}, &pb.CopyModelResponse{}, &pb.MergeVersionAliasesRequest{},
		&pb.ListModelsResponse{}, &pb.ListModelVersionsResponse{}, &pb.ListEndpointsResponse{}, &pb.DeployModelRequest{}, &pb.DeployModelResponse{}, &pb.UndeployModelRequest{},
		&pb.UndeployModelResponse{}, &pb.MutateDeployedModelRequest{}, &pb.MutateDeployedModelResponse{}, &pb.UpdateEndpointLongRunningRequest{}, &pb.PredictRequest{}, &pb.PredictResponse{}}
	for name, k := range kinds {
		messages = append(messages, k.metadata(&operation{}, &pb.GenericOperationMetadata{}, time.Time{}))
		if k.request != nil {
			messages = append(messages, k.request())
		}
		if k.end == nil || k.fails == "" {
			t.Errorf("operations of %s cannot end", name)
		}
	}
	for _, m := range messages {
		v1Message, err := in(m, v1)
		if err != nil {
			t.Fatal(err)
		}
		compare(v1Message.ProtoReflect().Descriptor(), m.ProtoReflect().Descriptor())
	}
}
