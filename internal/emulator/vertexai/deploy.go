// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "cloud.google.com/go/aiplatform/apiv1beta1/aiplatformpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// partly is what the platform says of a deployment with fewer replicas than asked for.
const partly = "Not all replicas could be started: there are not enough resources available in the region."

func deployModel(r *request) (any, error) {
	in := &pb.DeployModelRequest{}
	if err := r.decode(in); err != nil {
		return nil, err
	}
	e, err := r.endpoint()
	if err != nil {
		return nil, err
	}
	dm := in.GetDeployedModel()
	if dm == nil {
		return nil, invalid("Required field is not set: deployed_model.")
	}
	at, m, v, err := r.served(dm)
	if err != nil {
		return nil, err
	}
	if err := r.newID(e, dm); err != nil {
		return nil, err
	}
	if err := r.checkDeployment(e, dm); err != nil {
		return nil, err
	}
	if err := checkSplit(in.GetTrafficSplit(), e.pb, dm.GetId()); err != nil {
		return nil, err
	}
	if err := r.unoccupied(e, ""); err != nil {
		return nil, err
	}
	if dm.GetDisplayName() == "" {
		dm.DisplayName = m.base.GetDisplayName()
	}
	// What a client says of these is the platform's to say.
	dm.Model, dm.ModelVersionId = m.name(), strconv.Itoa(v.ID)
	dm.CreateTime, dm.Status, dm.PrivateEndpoints = timestamppb.New(r.now()), nil, nil
	dm.EnableContainerLogging = !dm.GetDisableContainerLogging()
	err = r.serve(at, m.ID, dm.GetModelVersionId(), func(v *version) {
		v.Servers = append(v.Servers, server{Endpoint: e.name(), ID: dm.GetId(), Coming: true})
	})
	if err != nil {
		return nil, err
	}
	return r.start(e.subject(), &operation{Subject: e.subject(), ID: dm.GetId()}, in)
}

// served finds the version that a deployment is to serve: the one that its name means
// at this moment.
func (r *request) served(dm *pb.DeployedModel) (place, *model, *version, error) {
	at, id, suffix, ok := parseModel(dm.GetModel())
	switch {
	case !ok:
		return at, nil, nil, invalid("Invalid resource name \"%s\" of the model: it must have the form projects/{project}/locations/{location}/models/{model}, and may have a version ID or alias after @.", dm.GetModel())
	case at.Number != r.Number:
		return at, nil, nil, invalid("The model \"%s\" must be in the project of the endpoint.", dm.GetModel())
	}
	m, err := loadModel(r.tx, at, id)
	if err != nil {
		return at, nil, nil, err
	}
	v := m.find(suffix)
	if v == nil {
		return at, nil, nil, notFound("Model version \"%s@%s\" is not found.", m.name(), suffix)
	}
	running, err := (&request{Service: r.Service, place: at, tx: r.tx}).running(m.subject())
	if err != nil {
		return at, nil, nil, err
	}
	for _, o := range running {
		if o.Kind == "models.delete" || o.Kind == "models.deleteVersion" && o.ID == strconv.Itoa(v.ID) {
			return at, nil, nil, precondition("Model \"%s\" is being deleted by operation %s.", m.name(), o.Name)
		}
	}
	return at, m, v, nil
}

// newID checks the id of a deployment, or gives it one.
func (r *request) newID(e *endpoint, dm *pb.DeployedModel) error {
	if dm.GetId() == "" {
		n, err := r.tx.Next("vertex_ai.id")
		dm.Id = serverID(n)
		return err
	}
	if !deployedID.MatchString(dm.GetId()) || dm.GetId() == "0" {
		return invalid("Invalid DeployedModel ID \"%s\": it must be 1-10 characters, and valid characters are [0-9]; \"0\" is reserved.", dm.GetId())
	}
	running, err := r.running(e.subject())
	if err != nil {
		return err
	}
	taken := slices.ContainsFunc(e.pb.GetDeployedModels(), func(other *pb.DeployedModel) bool { return other.GetId() == dm.GetId() }) ||
		slices.ContainsFunc(running, func(o *operation) bool { return o.Kind == "endpoints.deployModel" && o.ID == dm.GetId() })
	if taken {
		return refusal(codesExists, "DeployedModel with ID \"%s\" already exists on Endpoint `%s`.", dm.GetId(), e.name())
	}
	return nil
}

// checkDeployment holds the rules of one deployment, and of several on an endpoint.
func (r *request) checkDeployment(e *endpoint, dm *pb.DeployedModel) error {
	switch {
	case dm.GetDedicatedResources() == nil && dm.GetAutomaticResources() == nil && dm.GetSharedResources() == "":
		return invalid("Required field is not set: prediction_resources.")
	case dm.GetAutomaticResources() != nil:
		return invalid("'automatic_resources' is not supported for Model \"%s\".", dm.GetModel())
	case dm.GetSharedResources() != "":
		return notFound("DeploymentResourcePool \"%s\" is not found.", dm.GetSharedResources())
	}
	var bad violations
	bad.serviceAccount("deployed_model.service_account", dm.GetServiceAccount())
	if dm.GetDisplayName() != "" {
		bad.displayName("deployed_model.display_name", dm.GetDisplayName())
	}
	if err := bad.err(); err != nil {
		return err
	}
	res := dm.GetDedicatedResources()
	if err := r.checkResources(res); err != nil {
		return err
	}
	others := e.pb.GetDeployedModels()
	zero := slices.ContainsFunc(others, func(o *pb.DeployedModel) bool { return o.GetDedicatedResources().GetMinReplicaCount() == 0 })
	switch {
	case e.pb.GetNetwork() != "" && len(others) > 0:
		return precondition("Endpoint `%s` has a network, and can have only one DeployedModel.", e.name())
	case res.GetMinReplicaCount() == 0 && !dedicated(e.pb):
		return invalid("Scale-to-zero is not supported on shared public endpoints.")
	case len(others) > 0 && (zero || res.GetMinReplicaCount() == 0):
		return precondition("Endpoint `%s` can have only one DeployedModel when min_replica_count is 0.", e.name())
	}
	return nil
}

// modelDeployed adds a deployment, unless there is no room for it.
func modelDeployed(r *request, o *operation) (proto.Message, error) {
	in := &pb.DeployModelRequest{}
	if err := o.unread(in); err != nil {
		return nil, err
	}
	e, err := r.loadEndpoint(strings.TrimPrefix(o.Subject, "endpoints/"))
	if err != nil {
		return nil, err
	}
	dm := in.GetDeployedModel()
	if err := r.room(dm); err != nil {
		return nil, err
	}
	res := dm.GetDedicatedResources()
	count := res.GetMinReplicaCount()
	if count == 0 {
		count = max(1, res.GetInitialReplicaCount())
	}
	dm.Status = &pb.DeployedModel_Status{LastUpdateTime: timestamppb.New(o.Ends), AvailableReplicaCount: count}
	if o.Partial {
		dm.Status.Message, dm.Status.AvailableReplicaCount = partly, max(res.GetRequiredReplicaCount(), 0)
	}
	e.pb.DeployedModels = append(e.pb.DeployedModels, dm)
	if len(in.GetTrafficSplit()) > 0 {
		split := maps.Clone(in.GetTrafficSplit())
		if share, ok := split["0"]; ok {
			delete(split, "0")
			split[dm.GetId()] += share
		}
		// Of those that it names, some may have gone meanwhile.
		e.pb.TrafficSplit = split
	}
	e.pb.UpdateTime = timestamppb.New(o.Ends)
	if err := r.saveEndpoint(e); err != nil {
		return nil, err
	}
	err = r.ofModel(dm, func(v *version) {
		for i := range v.Servers {
			if s := &v.Servers[i]; s.Endpoint == e.name() && s.ID == dm.GetId() && s.Until.IsZero() {
				s.Coming = false
			}
		}
	})
	return &pb.DeployModelResponse{DeployedModel: dm}, err
}

// connect says where a dedicated endpoint can be reached, and deployments of a private
// one, which in rehearsal is at the server that is asked.
func (r *request) connect(e *endpoint) {
	if e.pb.GetDedicatedEndpointEnabled() {
		e.pb.DedicatedEndpointDns = e.ID + "." + r.Region + "-" + r.Number + ".prediction.vertexai.goog"
	}
	attachment := "projects/" + r.Number + "-tp/regions/" + r.Region + "/serviceAttachments/sa-" + e.ID
	for _, dm := range e.pb.GetDeployedModels() {
		switch {
		case e.pb.GetNetwork() != "":
			base := "http://" + r.address() + "/v1/" + e.name() + "/deployedModels/" + dm.GetId()
			dm.PrivateEndpoints = &pb.PrivateEndpoints{PredictHttpUri: base + ":predict", HealthHttpUri: base}
		case e.pb.GetPrivateServiceConnectConfig().GetEnablePrivateServiceConnect():
			dm.PrivateEndpoints = &pb.PrivateEndpoints{ServiceAttachment: attachment}
			e.pb.PrivateServiceConnectConfig.ServiceAttachment = attachment
		}
	}
}

// ofModel changes what the registry knows of a deployment's version.
func (r *request) ofModel(dm *pb.DeployedModel, change func(v *version)) error {
	at, id, _, ok := parseModel(dm.GetModel())
	if !ok {
		return nil
	}
	return r.serve(at, id, dm.GetModelVersionId(), change)
}

// modelNotDeployed leaves nothing of a deployment.
func modelNotDeployed(r *request, o *operation) error {
	in := &pb.DeployModelRequest{}
	if err := o.unread(in); err != nil {
		return err
	}
	name := o.Place.String() + "/" + o.Subject
	return r.ofModel(in.GetDeployedModel(), func(v *version) {
		v.Servers = slices.DeleteFunc(v.Servers, func(s server) bool { return s.Coming && s.Endpoint == name && s.ID == o.ID })
	})
}

func (e *endpoint) deployed(id string) *pb.DeployedModel {
	for _, dm := range e.pb.GetDeployedModels() {
		if dm.GetId() == id {
			return dm
		}
	}
	return nil
}

// deployedModel finds a deployment by its id.
func (r *request) deployedModel(e *endpoint, id string) (*pb.DeployedModel, error) {
	if dm := e.deployed(id); dm != nil {
		return dm, nil
	}
	return nil, notFound("DeployedModel \"%s\" is not found on Endpoint `%s`.", id, e.name())
}

func undeployModel(r *request) (any, error) {
	in := &pb.UndeployModelRequest{}
	if err := r.decode(in); err != nil {
		return nil, err
	}
	e, err := r.endpoint()
	if err != nil {
		return nil, err
	}
	id := in.GetDeployedModelId()
	if _, err := r.deployedModel(e, id); err != nil {
		return nil, err
	}
	if _, named := in.GetTrafficSplit()[id]; named {
		return nil, invalid("The traffic split must not name the DeployedModel \"%s\" that is undeployed.", id)
	}
	if err := checkSplit(in.GetTrafficSplit(), e.pb, ""); err != nil {
		return nil, err
	}
	last := len(e.pb.GetDeployedModels()) == 1
	if e.pb.GetTrafficSplit()[id] > 0 && len(in.GetTrafficSplit()) == 0 && !last {
		return nil, precondition("DeployedModel \"%s\" of Endpoint `%s` has traffic. Give its traffic to other DeployedModels, or set traffic_split.", id, e.name())
	}
	if err := r.unoccupied(e, id); err != nil {
		return nil, err
	}
	if len(in.GetTrafficSplit()) > 0 || last {
		e.pb.TrafficSplit = in.GetTrafficSplit()
		if err := r.saveEndpoint(e); err != nil {
			return nil, err
		}
	}
	return r.start(e.subject(), &operation{Subject: e.subject(), ID: id}, in)
}

func modelUndeployed(r *request, o *operation) (proto.Message, error) {
	e, err := r.loadEndpoint(strings.TrimPrefix(o.Subject, "endpoints/"))
	if err != nil {
		return nil, err
	}
	dm := e.deployed(o.ID)
	if dm == nil {
		return &pb.UndeployModelResponse{}, nil
	}
	e.pb.DeployedModels = slices.DeleteFunc(e.pb.DeployedModels, func(other *pb.DeployedModel) bool { return other == dm })
	if delete(e.pb.TrafficSplit, o.ID); len(e.pb.DeployedModels) == 0 {
		e.pb.TrafficSplit = nil
	}
	e.pb.UpdateTime = timestamppb.New(o.Ends)
	delete(e.Idle, o.ID)
	if err := r.saveEndpoint(e); err != nil {
		return nil, err
	}
	until := o.Ends.Add(r.scaled(lag))
	return &pb.UndeployModelResponse{}, r.ofModel(dm, func(v *version) {
		for i := range v.Servers {
			if s := &v.Servers[i]; s.Endpoint == e.name() && s.ID == o.ID && s.Until.IsZero() {
				s.Until = until
			}
		}
	})
}

// mutable are the fields that mutateDeployedModel changes; those of v1beta1 alone are
// in the second.
var (
	mutable = []string{"dedicated_resources.min_replica_count", "dedicated_resources.max_replica_count", "dedicated_resources.required_replica_count",
		"dedicated_resources.autoscaling_metric_specs", "disable_container_logging"}
	mutableInBeta = []string{"enable_container_logging", "dedicated_resources.scale_to_zero_spec", "dedicated_resources.initial_replica_count"}
)

func mutateDeployedModel(r *request) (any, error) {
	in := &pb.MutateDeployedModelRequest{}
	if err := r.decode(in); err != nil {
		return nil, err
	}
	e, err := r.endpoint()
	if err != nil {
		return nil, err
	}
	change := in.GetDeployedModel()
	dm, err := r.deployedModel(e, change.GetId())
	if err != nil {
		return nil, err
	}
	paths := in.GetUpdateMask().GetPaths()
	if len(paths) == 0 {
		return nil, invalid("The update mask is required.")
	}
	for _, path := range paths {
		if !slices.Contains(mutable, path) && (r.version != v1beta1 || !slices.Contains(mutableInBeta, path)) {
			return nil, invalid("Field \"%s\" of a DeployedModel is immutable or not supported in %s.", path, r.version)
		}
	}
	after := proto.CloneOf(dm)
	mutate(change, after, paths)
	if err := r.checkResources(after.GetDedicatedResources()); err != nil {
		return nil, err
	}
	if after.GetDedicatedResources().GetMinReplicaCount() == 0 && (!dedicated(e.pb) || len(e.pb.GetDeployedModels()) > 1) {
		return nil, invalid("Scale-to-zero needs a dedicated endpoint with only one DeployedModel.")
	}
	if err := r.unoccupied(e, ""); err != nil {
		return nil, err
	}
	return r.start(e.subject(), &operation{Subject: e.subject(), ID: dm.GetId(), Paths: paths}, change)
}

// mutate copies what a mask names, and keeps both words for logs the same.
func mutate(change, dm *pb.DeployedModel, paths []string) {
	assign(change.ProtoReflect(), dm.ProtoReflect(), paths)
	switch {
	case slices.Contains(paths, "enable_container_logging"):
		dm.DisableContainerLogging = !dm.GetEnableContainerLogging()
	case slices.Contains(paths, "disable_container_logging"):
		dm.EnableContainerLogging = !dm.GetDisableContainerLogging()
	}
}

func modelMutated(r *request, o *operation) (proto.Message, error) {
	change := &pb.DeployedModel{}
	if err := o.unread(change); err != nil {
		return nil, err
	}
	e, err := r.loadEndpoint(strings.TrimPrefix(o.Subject, "endpoints/"))
	if err != nil {
		return nil, err
	}
	dm, err := r.deployedModel(e, o.ID)
	if err != nil {
		return nil, err
	}
	after := proto.CloneOf(dm)
	mutate(change, after, o.Paths)
	if err := r.room(after); err != nil {
		return nil, err
	}
	res := after.GetDedicatedResources()
	// An autoscaler moves the live count, and never out of the bounds.
	after.Status.AvailableReplicaCount = min(max(after.GetStatus().GetAvailableReplicaCount(), res.GetMinReplicaCount()), res.GetMaxReplicaCount())
	after.Status.LastUpdateTime = timestamppb.New(o.Ends)
	for i := range e.pb.DeployedModels {
		if e.pb.DeployedModels[i] == dm {
			e.pb.DeployedModels[i] = after
		}
	}
	return &pb.MutateDeployedModelResponse{DeployedModel: after}, r.saveEndpoint(e)
}

// patience is how long the platform waits for a model that never becomes ready.
func (r *request) patience(o *operation) time.Duration {
	const usual = 30 * time.Minute
	in := &pb.DeployModelRequest{}
	if o.Kind != "endpoints.deployModel" || o.unread(in) != nil {
		return usual
	}
	at, id, _, _ := parseModel(in.GetDeployedModel().GetModel())
	m, err := loadModel(r.tx, at, id)
	if err != nil {
		return usual
	}
	if v := m.find(in.GetDeployedModel().GetModelVersionId()); v != nil {
		if d := v.spec.GetContainerSpec().GetDeploymentTimeout(); d != nil {
			return d.AsDuration()
		}
	}
	return usual
}
