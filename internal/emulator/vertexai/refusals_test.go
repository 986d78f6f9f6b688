// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	pb "cloud.google.com/go/aiplatform/apiv1beta1/aiplatformpb"
	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"github.com/googleapis/gax-go/v2/apierror"
	aiplatform "google.golang.org/api/aiplatform/v1"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/iterator"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// The refusals that a driver has to tell apart, as the generated clients understand
// them: by code, words and details.
func TestRefusalsThroughClients(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.serve()
	p.changed("POST", "v1/endpoints/fraud:deployModel", deployBody("78", "1"))
	p.file("quotas.json", `{"vertex_ai.endpoints.list": 0}`)
	ctx, fraud, model := t.Context(), here+"/endpoints/fraud", here+"/models/fraud"
	machine := func(spec *pb.MachineSpec, id string) *pb.DeployModelRequest {
		return &pb.DeployModelRequest{Endpoint: fraud, DeployedModel: &pb.DeployedModel{Id: id, Model: model,
			PredictionResources: &pb.DeployedModel_DedicatedResources{DedicatedResources: &pb.DedicatedResources{MachineSpec: spec, MinReplicaCount: 1}}}}
	}
	deploy := func(in *pb.DeployModelRequest) error { _, err := p.endpoints.DeployModel(ctx, in); return err }
	for _, c := range []struct {
		reason string
		code   codes.Code
		words  string
		field  string // of a violation
		call   func() error
	}{
		{"shares that are not 100", codes.InvalidArgument, "sum up to 100", "", func() error {
			_, err := p.endpoints.UpdateEndpoint(ctx, &pb.UpdateEndpointRequest{Endpoint: &pb.Endpoint{Name: fraud, TrafficSplit: map[string]int32{"77": 90}}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"traffic_split"}}})
			return err
		}},
		{"undeploying what serves", codes.FailedPrecondition, "has traffic", "", func() error {
			_, err := p.endpoints.UndeployModel(ctx, &pb.UndeployModelRequest{Endpoint: fraud, DeployedModelId: "77"})
			return err
		}},
		{"deleting a deployed version", codes.FailedPrecondition, "is deployed at endpoint", "", func() error {
			p.uploadNext()
			_, err := p.models.DeleteModelVersion(ctx, &pb.DeleteModelVersionRequest{Name: model + "@1"})
			return err
		}},
		{"deleting the default version", codes.FailedPrecondition, "default version", "", func() error {
			_, err := p.models.MergeVersionAliases(ctx, &pb.MergeVersionAliasesRequest{Name: model + "@2", VersionAliases: []string{"default"}})
			p.must(err)
			_, err = p.models.DeleteModelVersion(ctx, &pb.DeleteModelVersionRequest{Name: model + "@2"})
			return err
		}},
		{"deleting an endpoint that serves", codes.FailedPrecondition, "has deployed or being-deployed", "", func() error {
			_, err := p.endpoints.DeleteEndpoint(ctx, &pb.DeleteEndpointRequest{Name: fraud})
			return err
		}},
		{"another key", codes.InvalidArgument, "is immutable", "", func() error {
			_, err := p.endpoints.UpdateEndpoint(ctx, &pb.UpdateEndpointRequest{Endpoint: &pb.Endpoint{Name: fraud}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"encryption_spec"}}})
			return err
		}},
		{"another machine", codes.InvalidArgument, "immutable", "", func() error {
			_, err := p.endpoints.MutateDeployedModel(ctx, &pb.MutateDeployedModelRequest{Endpoint: fraud, DeployedModel: &pb.DeployedModel{Id: "77"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"dedicated_resources.machine_spec"}}})
			return err
		}},
		{"a machine that cannot have the accelerator", codes.InvalidArgument, "does not support", "", func() error {
			return deploy(machine(&pb.MachineSpec{MachineType: "e2-standard-4", AcceleratorType: pb.AcceleratorType_NVIDIA_L4, AcceleratorCount: 1}, "79"))
		}},
		{"an id that is taken", codes.AlreadyExists, "already exists", "", func() error { return deploy(machine(&pb.MachineSpec{}, "78")) }},
		{"a name against the rules", codes.InvalidArgument, "Invalid endpoint ID", "", func() error {
			_, err := p.endpoints.CreateEndpoint(ctx, &pb.CreateEndpointRequest{Parent: here, EndpointId: "Fraud", Endpoint: &pb.Endpoint{DisplayName: "d"}})
			return err
		}},
		{"labels against the rules", codes.InvalidArgument, "List of found errors", "endpoint.labels", func() error {
			_, err := p.endpoints.CreateEndpoint(ctx, &pb.CreateEndpointRequest{Parent: here, EndpointId: "other", Endpoint: &pb.Endpoint{DisplayName: "d", Labels: map[string]string{"A B": "c"}}})
			return err
		}},
		{"a key of another region", codes.InvalidArgument, "same region", "model.encryption_spec.kms_key_name", func() error {
			m := spec("d")
			m.EncryptionSpec = &pb.EncryptionSpec{KmsKeyName: "projects/p/locations/europe-west4/keyRings/r/cryptoKeys/k"}
			_, err := p.models.UploadModel(ctx, &pb.UploadModelRequest{Parent: here, ModelId: "other", Model: m})
			return err
		}},
		{"an old etag", codes.Aborted, "etag", "", func() error {
			_, err := p.endpoints.UpdateEndpoint(ctx, &pb.UpdateEndpointRequest{Endpoint: &pb.Endpoint{Name: fraud, Etag: "old"}, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"labels"}}})
			return err
		}},
		{"a token that is none", codes.InvalidArgument, "Page token", "", func() error {
			_, err := p.models.ListModels(ctx, &pb.ListModelsRequest{Parent: here, PageToken: "next"}).Next()
			return err
		}},
		{"too many calls", codes.ResourceExhausted, "Quota exceeded", "", func() error {
			_, err := p.endpoints.ListEndpoints(ctx, &pb.ListEndpointsRequest{Parent: here}).Next()
			return err
		}},
		{"another change in progress", codes.FailedPrecondition, "another operation in progress", "", func() error { // the last: it stays
			p.must(deploy(machine(&pb.MachineSpec{}, "79")))
			return deploy(machine(&pb.MachineSpec{}, "80"))
		}},
	} {
		err := c.call()
		var api *apierror.APIError
		if !errors.As(err, &api) {
			t.Errorf("%s: %v is no error of the API", c.reason, err)
			continue
		}
		field := ""
		if bad := api.Details().BadRequest; bad != nil {
			field = bad.GetFieldViolations()[0].GetField()
		}
		// Over HTTP two codes are 400, and only the body tells them apart.
		var web *googleapi.Error
		if !errors.As(err, &web) || !strings.Contains(web.Body, `"status": "`+statusName[c.code]+`"`) || !strings.Contains(err.Error(), c.words) || field != c.field {
			t.Errorf("%s: %v at %q; want %s …%s… at %q", c.reason, err, field, c.code, c.words, c.field)
		}
	}
	_, err := p.v1.Endpoints.Patch(fraud, &aiplatform.GoogleCloudAiplatformV1Endpoint{TrafficSplit: map[string]int64{"77": 101}}).UpdateMask("traffic_split").Do()
	var web *googleapi.Error
	if !errors.As(err, &web) || web.Code != 400 || !strings.Contains(web.Message, "between 0 and 100") {
		t.Errorf("the client that is made by discovery says %v", err)
	}
}

var statusName = map[codes.Code]string{codes.InvalidArgument: "INVALID_ARGUMENT", codes.FailedPrecondition: "FAILED_PRECONDITION", codes.AlreadyExists: "ALREADY_EXISTS",
	codes.Aborted: "ABORTED", codes.ResourceExhausted: "RESOURCE_EXHAUSTED"}

// Operations through the generated client, which has other paths for them.
func TestOperationsThroughClients(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.serve()
	ctx, fraud := t.Context(), here+"/endpoints/fraud"
	op, err := p.endpoints.DeployModel(ctx, &pb.DeployModelRequest{Endpoint: fraud, DeployedModel: &pb.DeployedModel{Id: "78", Model: here + "/models/fraud",
		PredictionResources: &pb.DeployedModel_DedicatedResources{DedicatedResources: &pb.DedicatedResources{MachineSpec: &pb.MachineSpec{}, MinReplicaCount: 1}}}})
	p.must(err)
	var names []string
	for all := p.endpoints.ListOperations(ctx, &longrunningpb.ListOperationsRequest{Name: fraud, PageSize: 1}); ; {
		one, err := all.Next()
		if errors.Is(err, iterator.Done) {
			break
		}
		p.must(err)
		names = append(names, one.GetName())
	}
	if len(names) != 3 || names[0] != op.Name() { // created, deployed, and this one, which goes on
		t.Errorf("the endpoint has the operations %v, of which %s goes on", names, op.Name())
	}
	p.must(p.endpoints.CancelOperation(ctx, &longrunningpb.CancelOperationRequest{Name: op.Name()}))
	p.minutes(1)
	ended, err := p.endpoints.WaitOperation(ctx, &longrunningpb.WaitOperationRequest{Name: op.Name(), Timeout: durationpb.New(time.Minute)})
	p.must(err)
	if !ended.GetDone() || codes.Code(ended.GetError().GetCode()) != codes.Canceled {
		t.Errorf("the deployment ends as %v", ended)
	}
	metadata := &pb.DeployModelOperationMetadata{}
	p.must(ended.GetMetadata().UnmarshalTo(metadata))
	if metadata.GetDeploymentStage() != pb.DeploymentStage_FAILED_TO_DEPLOY {
		t.Errorf("the deployment ends at %v", metadata.GetDeploymentStage())
	}
	p.must(p.endpoints.DeleteOperation(ctx, &longrunningpb.DeleteOperationRequest{Name: op.Name()}))
	_, err = p.endpoints.GetOperation(ctx, &longrunningpb.GetOperationRequest{Name: op.Name()})
	var web *googleapi.Error
	if !errors.As(err, &web) || web.Code != http.StatusNotFound {
		t.Errorf("what a client has deleted is %v", err)
	}
}
