// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"slices"
	"strings"

	pb "cloud.google.com/go/aiplatform/apiv1beta1/aiplatformpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// patchable are the fields that PATCH changes.
var patchable = []string{"display_name", "description", "labels", "traffic_split", "predict_request_response_logging_config",
	"private_service_connect_config", "dedicated_endpoint_enabled"}

func patchEndpoint(r *request) (any, error) {
	in := &pb.Endpoint{}
	if err := r.decode(in); err != nil {
		return nil, err
	}
	e, err := r.endpoint()
	if err != nil {
		return nil, err
	}
	if in.GetEtag() != "" && in.GetEtag() != e.pb.GetEtag() {
		return nil, stale(e.name())
	}
	paths := mask(r.query.Get("updateMask"))
	if err := checkMask(paths); err != nil {
		return nil, err
	}
	after := proto.CloneOf(e.pb)
	assign(in.ProtoReflect(), after.ProtoReflect(), paths)
	if err := r.notGone(e, after.GetTrafficSplit()); err != nil {
		return nil, err
	}
	if err := r.checkPatch(e.pb, after, paths); err != nil {
		return nil, err
	}
	after.UpdateTime = timestamppb.New(r.now())
	e.pb = after
	if err := r.saveEndpoint(e); err != nil {
		return nil, err
	}
	r.shown(e)
	return e.pb, nil
}

func checkMask(paths []string) error {
	if len(paths) == 0 {
		return invalid("The update mask is required.")
	}
	for _, path := range paths {
		top, _, _ := strings.Cut(path, ".")
		switch {
		case slices.Contains(patchable, path), path == "private_service_connect_config.project_allowlist":
		case top == "client_connection_config":
			return invalid("Field \"client_connection_config\" cannot be updated by UpdateEndpoint; use UpdateEndpointLongRunning.")
		case top == "encryption_spec", top == "network":
			return invalid("Field \"%s\" is immutable.", path)
		default:
			return invalid("Updating field \"%s\" of an endpoint is not supported.", path)
		}
	}
	return nil
}

func (r *request) checkPatch(before, after *pb.Endpoint, paths []string) error {
	var bad violations
	bad.displayName("endpoint.display_name", after.GetDisplayName())
	bad.labels("endpoint.labels", after.GetLabels())
	bad.logging(after.GetPredictRequestResponseLoggingConfig())
	bad.networkLogging(after)
	if before.GetPrivateServiceConnectConfig().GetEnablePrivateServiceConnect() != after.GetPrivateServiceConnectConfig().GetEnablePrivateServiceConnect() {
		bad.add("endpoint.private_service_connect_config.enable_private_service_connect", "The field is immutable.")
	}
	switch {
	case before.GetDedicatedEndpointEnabled() && !after.GetDedicatedEndpointEnabled():
		bad.add("endpoint.dedicated_endpoint_enabled", "A dedicated endpoint cannot be made a shared one.")
	case after.GetDedicatedEndpointEnabled() && (after.GetNetwork() != "" || after.GetPrivateServiceConnectConfig().GetEnablePrivateServiceConnect()):
		bad.add("endpoint.dedicated_endpoint_enabled", "Only a public endpoint can be dedicated.")
	}
	if err := bad.err(); err != nil {
		return err
	}
	if slices.Contains(paths, "traffic_split") {
		return checkSplit(after.GetTrafficSplit(), after, "")
	}
	return nil
}

// networkLogging refuses to log what is asked through a peered network.
func (v *violations) networkLogging(e *pb.Endpoint) {
	if e.GetNetwork() != "" && e.GetPredictRequestResponseLoggingConfig().GetEnabled() {
		v.add("endpoint.predict_request_response_logging_config", "Request-response logging is not supported on endpoints with a network.")
	}
}

// checkSplit holds that shares sum up to 100 and are of what is deployed; additional
// is a key that may be named beside, "0" for what is about to be deployed.
func checkSplit(split map[string]int32, e *pb.Endpoint, additional string) error {
	if len(split) == 0 {
		return nil
	}
	sum := int32(0)
	for id, share := range split {
		deployed := slices.ContainsFunc(e.GetDeployedModels(), func(dm *pb.DeployedModel) bool { return dm.GetId() == id })
		if !deployed && (additional == "" || id != "0" && id != additional) {
			return invalid("The traffic split names DeployedModel \"%s\", which is not deployed to Endpoint `%s`.", id, e.GetName())
		}
		if share < 0 || share > 100 {
			return invalid("The traffic percentage of DeployedModel \"%s\" must be between 0 and 100, and is %d.", id, share)
		}
		sum += share
	}
	if sum != 100 {
		return invalid("The traffic percentages must sum up to 100, and sum up to %d.", sum)
	}
	return nil
}

// assign copies the fields of a mask; what is absent is cleared.
func assign(from, to protoreflect.Message, paths []string) {
	for _, path := range paths {
		top, rest, nested := strings.Cut(path, ".")
		f := to.Descriptor().Fields().ByName(protoreflect.Name(top))
		switch {
		case f == nil:
		case nested && f.Message() != nil:
			assign(from.Get(f).Message(), to.Mutable(f).Message(), []string{rest})
		case from.Has(f):
			to.Set(f, from.Get(f))
		default:
			to.Clear(f)
		}
	}
}

// notGone refuses to change what is being deleted, and to give traffic to what is
// being undeployed.
func (r *request) notGone(e *endpoint, split map[string]int32) error {
	running, err := r.running(e.subject())
	if err != nil {
		return err
	}
	for _, o := range running {
		switch {
		case o.Kind == "endpoints.delete":
			return precondition("Endpoint `%s` is being deleted by operation %s.", e.name(), o.Name)
		case o.Kind == "endpoints.undeployModel" && split[o.ID] > 0:
			return precondition("DeployedModel \"%s\" is being undeployed from Endpoint `%s` by operation %s.", o.ID, e.name(), o.Name)
		}
	}
	return nil
}

// unoccupied refuses a second operation on an endpoint.
func (r *request) unoccupied(e *endpoint, id string) error {
	running, err := r.running(e.subject())
	if err != nil || len(running) == 0 {
		return err
	}
	o := running[0]
	switch {
	case o.Kind == "endpoints.delete":
		return precondition("Endpoint `%s` is being deleted by operation %s.", e.name(), o.Name)
	case o.Kind == "endpoints.undeployModel" && o.ID == id:
		return precondition("DeployedModel \"%s\" is being undeployed from Endpoint `%s` by operation %s.", id, e.name(), o.Name)
	}
	return precondition("Endpoint `%s` has another operation in progress: %s.", e.name(), o.Name)
}

// updateEndpoint changes what takes time to change.
func updateEndpoint(r *request) (any, error) {
	in := &pb.UpdateEndpointLongRunningRequest{}
	if err := r.decode(in); err != nil {
		return nil, err
	}
	e, err := r.endpoint()
	if err != nil {
		return nil, err
	}
	change := in.GetEndpoint()
	if change.GetEtag() != "" && change.GetEtag() != e.pb.GetEtag() {
		return nil, stale(e.name())
	}
	if change.GetClientConnectionConfig() == nil && change.GetPredictRequestResponseLoggingConfig() == nil {
		return nil, invalid("Nothing to update: only client_connection_config and predict_request_response_logging_config can be updated by UpdateEndpointLongRunning.")
	}
	var bad violations
	bad.inference(e.pb, change.GetClientConnectionConfig())
	bad.logging(change.GetPredictRequestResponseLoggingConfig())
	bad.networkLogging(&pb.Endpoint{Network: e.pb.GetNetwork(), PredictRequestResponseLoggingConfig: change.GetPredictRequestResponseLoggingConfig()})
	if err := bad.err(); err != nil {
		return nil, err
	}
	if err := r.unoccupied(e, ""); err != nil {
		return nil, err
	}
	return r.start(e.subject(), &operation{Subject: e.subject()}, change)
}

func endpointUpdated(r *request, o *operation) (proto.Message, error) {
	change := &pb.Endpoint{}
	if err := o.unread(change); err != nil {
		return nil, err
	}
	e, err := r.loadEndpoint(strings.TrimPrefix(o.Subject, "endpoints/"))
	if err != nil {
		return nil, err
	}
	if change.GetClientConnectionConfig() != nil {
		e.pb.ClientConnectionConfig = change.GetClientConnectionConfig()
	}
	if change.GetPredictRequestResponseLoggingConfig() != nil {
		e.pb.PredictRequestResponseLoggingConfig = change.GetPredictRequestResponseLoggingConfig()
	}
	e.pb.UpdateTime = timestamppb.New(o.Ends)
	return e.pb, r.saveEndpoint(e)
}

func deleteEndpoint(r *request) (any, error) {
	e, err := r.endpoint()
	if err != nil {
		return nil, err
	}
	running, err := r.running(e.subject())
	if err != nil {
		return nil, err
	}
	coming := slices.ContainsFunc(running, func(o *operation) bool { return o.Kind == "endpoints.deployModel" })
	if len(e.pb.GetDeployedModels()) > 0 || coming {
		return nil, precondition("Endpoint `%s` has deployed or being-deployed DeployedModel(s).", e.name())
	}
	if err := r.unoccupied(e, ""); err != nil {
		return nil, err
	}
	return r.start("", &operation{Subject: e.subject()}, nil)
}

func endpointDeleted(r *request, o *operation) (proto.Message, error) {
	return nothing, r.tx.Delete(kindEndpoint, o.Place.key(strings.TrimPrefix(o.Subject, "endpoints/")))
}
