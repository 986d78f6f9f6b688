// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	pb "cloud.google.com/go/aiplatform/apiv1beta1/aiplatformpb"
	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
)

// The kinds of documents.
const (
	kindModel     = "vertex_ai.model"
	kindEndpoint  = "vertex_ai.endpoint"
	kindOperation = "vertex_ai.operation"
	kindRunning   = "vertex_ai.running" // when an operation ends, for those that have not
)

// operation is a long-running operation.
type operation struct {
	Name    string
	Kind    string // the name of the method that began it: "endpoints.deployModel"
	Subject string // what it changes: "endpoints/fraud"
	Place   place
	Created time.Time
	Ends    time.Time
	Done    bool
	Hidden  bool // deleted by a client

	Request []byte   // what the method makes of the request, as the kind's message
	ID      string   // of the deployment or the version that it is about
	Paths   []string // of a mask
	First   bool     // it makes the model, and not only a version

	Fails    *rpcstatus.Status // why it is going to end in vain
	After    bool              // it fails when its work is done
	Partial  bool              // it does some of its work
	Response []byte            // an Any, in v1beta1's message
	Error    []byte            // a rpcstatus.Status
}

// kind is what an operation of a kind does.
type kind struct {
	takes    time.Duration                                         // on the platform
	request  func() proto.Message                                  // what it keeps
	end      func(r *request, o *operation) (proto.Message, error) // its effect, and its response
	undo     func(r *request, o *operation) error                  // when it has failed; nil is nothing
	metadata func(o *operation, g *pb.GenericOperationMetadata, now time.Time) proto.Message
	fails    string // what it says when a fault gives no reason
}

var kinds map[string]*kind

func init() { //nolint:gochecknoinits // the table and the handlers refer to each other
	model, endpoint := func() proto.Message { return &pb.Model{} }, func() proto.Message { return &pb.Endpoint{} }
	deployed := func() proto.Message { return &pb.DeployModelRequest{} }
	const internal = "Internal error encountered."
	deleted := func(_ *operation, g *pb.GenericOperationMetadata, _ time.Time) proto.Message {
		return &pb.DeleteOperationMetadata{GenericMetadata: g}
	}
	kinds = map[string]*kind{
		"models.upload": {takes: 2 * time.Minute, request: model, end: uploaded, fails: internal,
			metadata: func(_ *operation, g *pb.GenericOperationMetadata, _ time.Time) proto.Message {
				return &pb.UploadModelOperationMetadata{GenericMetadata: g}
			}},
		"models.copy": {takes: 2 * time.Minute, request: model, end: copied, fails: internal,
			metadata: func(_ *operation, g *pb.GenericOperationMetadata, _ time.Time) proto.Message {
				return &pb.CopyModelOperationMetadata{GenericMetadata: g}
			}},
		"models.deleteVersion": {takes: 30 * time.Second, end: versionDeleted, metadata: deleted, fails: internal},
		"models.delete":        {takes: 30 * time.Second, end: modelDeleted, metadata: deleted, fails: internal},
		"endpoints.create": {takes: time.Minute, request: endpoint, end: endpointCreated, undo: endpointNotCreated, fails: internal,
			metadata: func(_ *operation, g *pb.GenericOperationMetadata, _ time.Time) proto.Message {
				return &pb.CreateEndpointOperationMetadata{GenericMetadata: g}
			}},
		"endpoints.update": {takes: time.Minute, request: endpoint, end: endpointUpdated, fails: internal,
			metadata: func(_ *operation, g *pb.GenericOperationMetadata, _ time.Time) proto.Message {
				return &pb.UpdateEndpointOperationMetadata{GenericMetadata: g}
			}},
		"endpoints.delete": {takes: 30 * time.Second, end: endpointDeleted, metadata: deleted, fails: internal},
		"endpoints.deployModel": {takes: 5 * time.Minute, request: deployed, end: modelDeployed, undo: modelNotDeployed, fails: neverReady,
			metadata: func(o *operation, g *pb.GenericOperationMetadata, now time.Time) proto.Message {
				return &pb.DeployModelOperationMetadata{GenericMetadata: g, DeploymentStage: o.stage(now)}
			}},
		"endpoints.undeployModel": {takes: 2 * time.Minute, request: func() proto.Message { return &pb.UndeployModelRequest{} }, end: modelUndeployed, fails: internal,
			metadata: func(_ *operation, g *pb.GenericOperationMetadata, _ time.Time) proto.Message {
				return &pb.UndeployModelOperationMetadata{GenericMetadata: g}
			}},
		"endpoints.mutateDeployedModel": {takes: 2 * time.Minute, request: func() proto.Message { return &pb.DeployedModel{} }, end: modelMutated, fails: internal,
			metadata: func(_ *operation, g *pb.GenericOperationMetadata, _ time.Time) proto.Message {
				return &pb.MutateDeployedModelOperationMetadata{GenericMetadata: g}
			}},
	}
}

// stages are those of a deployment in the order of time: their numbers are not.
var stages = []pb.DeploymentStage{pb.DeploymentStage_STARTING_DEPLOYMENT, pb.DeploymentStage_PREPARING_MODEL, pb.DeploymentStage_CREATING_SERVING_CLUSTER,
	pb.DeploymentStage_ADDING_NODES_TO_CLUSTER, pb.DeploymentStage_GETTING_CONTAINER_IMAGE, pb.DeploymentStage_STARTING_MODEL_SERVER, pb.DeploymentStage_FINISHING_UP}

func (o *operation) stage(now time.Time) pb.DeploymentStage {
	switch {
	case o.Done && o.Error != nil:
		return pb.DeploymentStage_FAILED_TO_DEPLOY
	case o.Done:
		return pb.DeploymentStage_SUCCESSFULLY_DEPLOYED
	}
	whole, passed := o.Ends.Sub(o.Created), now.Sub(o.Created)
	return stages[min(len(stages)-1, max(0, int(passed*time.Duration(len(stages))/max(1, whole))))]
}

// unread reads what the operation has kept of its request.
func (o *operation) unread(into proto.Message) error { return proto.Unmarshal(o.Request, into) }

// start begins an operation below a parent, "endpoints/fraud"; "" is the location
// itself. keeps may be nil.
func (r *request) start(parent string, o *operation, keeps proto.Message) (proto.Message, error) {
	if err := r.submit(); err != nil {
		return nil, err
	}
	n, err := r.tx.Next("vertex_ai.operation")
	if err != nil {
		return nil, err
	}
	o.Kind, o.Place, o.Created = r.route.name, r.place, r.now()
	k := kinds[o.Kind]
	o.Ends = o.Created.Add(r.scaled(k.takes))
	o.Name = strings.TrimSuffix(r.String()+"/"+parent, "/") + "/operations/" + serverID(n)
	if keeps != nil {
		if o.Request, err = proto.Marshal(keeps); err != nil {
			return nil, err
		}
	}
	switch {
	case r.fault == nil:
	case r.fault.Action == fault.Maintenance:
		return nil, fmt.Errorf("faults.json: %q is nothing that Vertex AI does of its own", r.fault.Action)
	default:
		if err := r.script(o); err != nil {
			return nil, err
		}
	}
	if err := r.tx.Put(kindRunning, o.Name, o.Ends); err != nil {
		return nil, err
	}
	if err := r.tx.Put(kindOperation, o.Name, o); err != nil {
		return nil, err
	}
	return r.longRunning(o)
}

// submit counts an operation that is started, of which there may be a limit.
func (r *request) submit() error {
	limit, limited := r.o.Quotas()["vertex_ai.operations"]
	if !limited {
		return nil
	}
	var used struct{ Minute, Started int64 }
	if _, err := r.tx.Get("rate", "vertex_ai/"+r.String(), &used); err != nil {
		return err
	}
	if minute := r.now().Unix() / 60; used.Minute != minute {
		used.Minute, used.Started = minute, 0
	}
	if used.Started++; used.Started > int64(limit) {
		return refusal(codes.ResourceExhausted, "Quota exceeded for quota metric 'Long running operation and job submission requests' and limit 'Long running operation and job submission requests per minute per region' of service 'aiplatform.googleapis.com' for consumer 'project_number:%s'.", r.Number)
	}
	return r.tx.Put("rate", "vertex_ai/"+r.String(), used)
}

// serverID is an id as the platform makes them: 19 digits.
func serverID(n int) string { return fmt.Sprint(1_000_000_000_000_000_000 + n*982_451_653) }

// script makes an operation fail as a fault says.
func (r *request) script(o *operation) error {
	k := kinds[o.Kind]
	o.Fails = &rpcstatus.Status{Code: int32(codes.Internal), Message: k.fails}
	if o.Kind == "endpoints.deployModel" {
		o.Fails = &rpcstatus.Status{Code: int32(codes.FailedPrecondition), Message: r.logged(k.fails)}
	}
	switch r.fault.Mode {
	case "":
	case "never_ready": // and says so only when the time is up that the model has
		o.Ends = o.Created.Add(r.scaled(r.patience(o)))
	case "exited":
		o.Fails.Message = r.logged("Model server exited unexpectedly.")
	case "quota":
		o.Fails = &rpcstatus.Status{Code: int32(codes.ResourceExhausted), Message: "The following quota metrics exceed quota limits: aiplatform.googleapis.com/custom_model_serving_cpus"}
	case "stock_out":
		o.Fails = &rpcstatus.Status{Code: int32(codes.ResourceExhausted), Message: "There are not enough resources available in the region to serve the model. Try another region, or a different machine type."}
	case "partial":
		o.Fails, o.Partial = nil, true
	case "after":
		o.After = true
		o.Fails = &rpcstatus.Status{Code: int32(codes.Internal), Message: "Internal error encountered."}
	default:
		return fmt.Errorf("faults.json: %q is not a mode of failure of Vertex AI", r.fault.Mode)
	}
	if o.Fails != nil && r.fault.Message != "" {
		o.Fails.Message = r.fault.Message
	}
	if c, ok := codeOf(r.fault.Code); ok && o.Fails != nil {
		o.Fails.Code = int32(c)
	}
	return nil
}

const neverReady = "Model server never became ready. Please validate that your model file or container configuration are valid."

// logged adds to a failure where its reasons are.
func (r *request) logged(message string) string {
	return message + " Model server logs can be found at https://console.cloud.google.com/logs/viewer?project=" + r.Number +
		"&resource=aiplatform.googleapis.com%2FEndpoint"
}

// settle lets every operation end whose time has come, in the order of their ends.
func (r *request) settle() error {
	type end struct {
		name string
		at   time.Time
	}
	var due []end
	now := r.now()
	err := r.tx.Each(kindRunning, "", func(name string, data []byte) error {
		var at time.Time
		if err := json.Unmarshal(data, &at); err != nil {
			return err
		}
		if !at.After(now) {
			due = append(due, end{name, at})
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(due, func(a, b end) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.name, b.name))
	})
	for _, d := range due {
		var o operation
		if _, err := r.tx.Get(kindOperation, d.name, &o); err != nil {
			return err
		}
		if err := r.finish(&o); err != nil {
			return err
		}
	}
	return nil
}

// finish lets an operation end, well or not.
func (r *request) finish(o *operation) error {
	// What an operation does it does in its own place, whoever looks.
	at := &request{Service: r.Service, place: o.Place, tx: r.tx, version: v1beta1, http: r.http}
	k := kinds[o.Kind]
	var response proto.Message
	failure := o.Fails
	if failure == nil || o.After {
		var err error
		response, err = k.end(at, o)
		switch s := statusOf(err); {
		case err != nil && s == nil:
			return err
		case err != nil:
			failure = s
		}
	}
	if failure != nil && !o.After && k.undo != nil {
		if err := k.undo(at, o); err != nil {
			return err
		}
	}
	var err error
	if failure != nil {
		o.Error, err = proto.Marshal(failure)
	} else {
		var packed *anypb.Any
		if packed, err = anypb.New(response); err == nil {
			o.Response, err = proto.Marshal(packed)
		}
	}
	if err != nil {
		return err
	}
	o.Done = true
	if err := r.tx.Delete(kindRunning, o.Name); err != nil {
		return err
	}
	return r.tx.Put(kindOperation, o.Name, o)
}

// longRunning is an operation as it is answered.
func (r *request) longRunning(o *operation) (proto.Message, error) {
	g := &pb.GenericOperationMetadata{CreateTime: timestamppb.New(o.Created), UpdateTime: timestamppb.New(o.Created)}
	if o.Done {
		g.UpdateTime = timestamppb.New(o.Ends)
		if o.Partial {
			g.PartialFailures = []*rpcstatus.Status{{Code: int32(codes.ResourceExhausted), Message: partly}}
		}
	}
	metadata, err := r.pack(kinds[o.Kind].metadata(o, g, r.now()))
	if err != nil {
		return nil, err
	}
	lro := &longrunningpb.Operation{Name: o.Name, Metadata: metadata, Done: o.Done}
	switch {
	case !o.Done:
	case o.Error != nil:
		var s rpcstatus.Status
		if err := proto.Unmarshal(o.Error, &s); err != nil {
			return nil, err
		}
		lro.Result = &longrunningpb.Operation_Error{Error: &s}
	default:
		var packed anypb.Any
		if err := proto.Unmarshal(o.Response, &packed); err != nil {
			return nil, err
		}
		response, err := packed.UnmarshalNew()
		if err != nil {
			return nil, err
		}
		again, err := r.pack(response)
		if err != nil {
			return nil, err
		}
		lro.Result = &longrunningpb.Operation_Response{Response: again}
	}
	return lro, nil
}

// pack names a message as the version that asks does.
func (r *request) pack(m proto.Message) (*anypb.Any, error) {
	typed, err := as(m, r.version)
	if err != nil {
		return nil, err
	}
	return anypb.New(typed)
}

// running finds operations on a subject that have not ended.
func (r *request) running(subject string) ([]*operation, error) {
	names, err := r.tx.Keys(kindRunning, r.String()+"/", "", 0)
	if err != nil {
		return nil, err
	}
	var all []*operation
	for _, name := range names {
		var o operation
		if _, err := r.tx.Get(kindOperation, name, &o); err != nil {
			return nil, err
		}
		if o.Subject == subject {
			all = append(all, &o)
		}
	}
	return all, nil
}
