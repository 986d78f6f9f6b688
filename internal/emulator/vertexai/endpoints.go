// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	pb "cloud.google.com/go/aiplatform/apiv1beta1/aiplatformpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/state"
)

// nothing is the answer of deletions.
var nothing = &emptypb.Empty{}

// endpoint is an endpoint with what is deployed to it.
type endpoint struct {
	ID       string
	Place    place
	Message  []byte
	Creating bool // its id is taken, and it cannot be read yet
	Policy   []byte
	Turns    int             // requests so far
	Served   map[string]int  // requests by deployment
	Idle     map[string]idle // of deployments that can be at zero

	pb *pb.Endpoint
}

func (e *endpoint) name() string { return e.Place.String() + "/endpoints/" + e.ID }

func (e *endpoint) subject() string { return "endpoints/" + e.ID }

// endpoint finds the one that the path names.
func (r *request) endpoint() (*endpoint, error) { return r.loadEndpoint(r.ids[0]) }

func (r *request) loadEndpoint(id string) (*endpoint, error) {
	var e endpoint
	found, err := r.tx.Get(kindEndpoint, r.key(id), &e)
	if err == nil && (!found || e.Creating) {
		err = notFound("Endpoint `%s/endpoints/%s` not found.", r.place, id)
	}
	if err != nil {
		return nil, err
	}
	return &e, e.unpack()
}

func (e *endpoint) unpack() error {
	e.pb = &pb.Endpoint{}
	return proto.Unmarshal(e.Message, e.pb)
}

// saveEndpoint writes an endpoint; every write gives it another etag.
func (r *request) saveEndpoint(e *endpoint) (err error) {
	if e.pb.Etag, err = r.etag(); err != nil {
		return err
	}
	return r.putEndpoint(e)
}

// putEndpoint writes what is not part of the message, or not the user's.
func (r *request) putEndpoint(e *endpoint) (err error) {
	if e.Message, err = proto.Marshal(e.pb); err != nil {
		return err
	}
	return r.tx.Put(kindEndpoint, e.Place.key(e.ID), e)
}

func eachEndpoint(tx *state.Tx, prefix string, f func(e *endpoint) error) error {
	return tx.Each(kindEndpoint, prefix, func(_ string, data []byte) error {
		var e endpoint
		if err := json.Unmarshal(data, &e); err != nil {
			return err
		}
		if err := e.unpack(); err != nil {
			return err
		}
		return f(&e)
	})
}

func createEndpoint(r *request) (any, error) {
	in := &pb.Endpoint{}
	if err := r.decode(in); err != nil {
		return nil, err
	}
	id := r.query.Get("endpointId")
	if id == "" {
		n, err := r.tx.Next("vertex_ai.id")
		if err != nil {
			return nil, err
		}
		id = serverID(n)
	} else if !endpointID.MatchString(id) {
		return nil, invalid("Invalid endpoint ID \"%s\": it must be numeric, at most 10 digits and without a leading zero, or start with a letter, contain up to 63 of [a-z0-9-], and end with a letter or number.", id)
	}
	if err := r.checkEndpoint(in); err != nil {
		return nil, err
	}
	var taken endpoint
	if found, err := r.tx.Get(kindEndpoint, r.key(id), &taken); err != nil || found {
		if err == nil {
			err = refusal(codesExists, "Endpoint `%s/endpoints/%s` already exists.", r.place, id)
		}
		return nil, err
	}
	e := &endpoint{ID: id, Place: r.place, Creating: true, pb: in}
	// What a client says of these is the platform's to say.
	in.Name, in.DeployedModels, in.ModelDeploymentMonitoringJob, in.TrafficSplit, in.DedicatedEndpointDns = e.name(), nil, "", nil, ""
	if err := r.putEndpoint(e); err != nil {
		return nil, err
	}
	return r.start(e.subject(), &operation{Subject: e.subject()}, in)
}

// address is that of this server.
func (r *request) address() string {
	if r.http != nil {
		if addr, ok := r.http.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
			return addr.String()
		}
	}
	return "127.0.0.1"
}

// mostInference is how long a request may take at most.
const mostInference = time.Hour

func (r *request) checkEndpoint(e *pb.Endpoint) error {
	var bad violations
	bad.displayName("endpoint.display_name", e.GetDisplayName())
	bad.labels("endpoint.labels", e.GetLabels())
	bad.key("endpoint.encryption_spec.kms_key_name", e.GetEncryptionSpec().GetKmsKeyName(), r.Region)
	bad.logging(e.GetPredictRequestResponseLoggingConfig())
	bad.inference(e, e.GetClientConnectionConfig())
	private := e.GetPrivateServiceConnectConfig()
	switch name := e.GetNetwork(); {
	case name == "":
	case !network.MatchString(name):
		bad.add("endpoint.network", "The network \"%s\" must have the form projects/{project_number}/global/networks/{network}.", name)
	case private.GetEnablePrivateServiceConnect():
		bad.add("endpoint.network", "Only one of network and private_service_connect_config can be set.")
	case e.GetDedicatedEndpointEnabled():
		bad.add("endpoint.dedicated_endpoint_enabled", "A dedicated endpoint cannot have a network.")
	}
	bad.networkLogging(e)
	if private != nil && !private.GetEnablePrivateServiceConnect() {
		bad.add("endpoint.private_service_connect_config.enable_private_service_connect", "Required field is not set.")
	}
	if e.GetDedicatedEndpointEnabled() && private.GetEnablePrivateServiceConnect() {
		bad.add("endpoint.dedicated_endpoint_enabled", "A dedicated endpoint cannot use Private Service Connect.")
	}
	if len(e.GetTrafficSplit()) > 0 {
		bad.add("endpoint.traffic_split", "The traffic split cannot be set when nothing is deployed.")
	}
	return bad.err()
}

func (v *violations) logging(l *pb.PredictRequestResponseLoggingConfig) {
	const at = "endpoint.predict_request_response_logging_config"
	if l == nil {
		return
	}
	if uri := l.GetBigqueryDestination().GetOutputUri(); uri != "" && !bigQuery.MatchString(uri) {
		v.add(at+".bigquery_destination.output_uri", "The BigQuery URI \"%s\" must have the form bq://projectId, bq://projectId.bqDatasetId or bq://projectId.bqDatasetId.bqTableId.", uri)
	}
	if l.GetEnabled() && (l.GetSamplingRate() <= 0 || l.GetSamplingRate() > 1) {
		v.add(at+".sampling_rate", "The sampling rate must be greater than 0 and at most 1.")
	}
}

func (v *violations) inference(e *pb.Endpoint, c *pb.ClientConnectionConfig) {
	const at = "endpoint.client_connection_config.inference_timeout"
	switch d := c.GetInferenceTimeout(); {
	case d == nil:
	case !dedicated(e):
		v.add(at, "The inference timeout can only be set for dedicated endpoints and endpoints with Private Service Connect.")
	case d.AsDuration() <= 0 || d.AsDuration() > mostInference:
		v.add(at, "The inference timeout must be positive and at most 3600 seconds.")
	}
}

// dedicated reports whether an endpoint has serving resources of its own.
func dedicated(e *pb.Endpoint) bool {
	return e.GetDedicatedEndpointEnabled() || e.GetPrivateServiceConnectConfig().GetEnablePrivateServiceConnect()
}

// endpointCreated answers sparsely, without times and etag, as the platform does.
func endpointCreated(r *request, o *operation) (proto.Message, error) {
	e, err := r.creating(o)
	if err != nil {
		return nil, err
	}
	now := timestamppb.New(o.Ends)
	e.Creating, e.pb.CreateTime, e.pb.UpdateTime = false, now, now
	return &pb.Endpoint{Name: e.name(), DisplayName: e.pb.GetDisplayName()}, r.saveEndpoint(e)
}

// endpointNotCreated gives its id back.
func endpointNotCreated(r *request, o *operation) error {
	return r.tx.Delete(kindEndpoint, o.Place.key(strings.TrimPrefix(o.Subject, "endpoints/")))
}

func (r *request) creating(o *operation) (*endpoint, error) {
	var e endpoint
	found, err := r.tx.Get(kindEndpoint, o.Place.key(strings.TrimPrefix(o.Subject, "endpoints/")), &e)
	if err == nil && !found {
		err = fmt.Errorf("the endpoint of operation %s has vanished", o.Name)
	}
	if err != nil {
		return nil, err
	}
	return &e, e.unpack()
}

// getEndpoint reads an endpoint; what is still being deployed is shown only to whoever
// asks for it, and says so in a member that the published message does not have.
func getEndpoint(r *request) (any, error) {
	e, err := r.endpoint()
	if err != nil {
		return nil, err
	}
	if r.shown(e); r.query.Get("allDeploymentStates") != "true" {
		return e.pb, nil
	}
	running, err := r.running(e.subject())
	if err != nil {
		return nil, err
	}
	settled := len(e.pb.GetDeployedModels())
	for _, o := range running {
		if o.Kind != "endpoints.deployModel" {
			continue
		}
		in := &pb.DeployModelRequest{}
		if err := o.unread(in); err != nil {
			return nil, err
		}
		e.pb.DeployedModels = append(e.pb.DeployedModels, in.GetDeployedModel())
	}
	data, err := r.encode(e.pb)
	if err != nil || len(e.pb.GetDeployedModels()) == settled {
		return data, err
	}
	var shown map[string]json.RawMessage
	var deployed []map[string]json.RawMessage
	if err := json.Unmarshal(data, &shown); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(shown["deployedModels"], &deployed); err != nil {
		return nil, err
	}
	for _, dm := range deployed[settled:] {
		dm["state"] = json.RawMessage(`"BEING_DEPLOYED"`)
	}
	if shown["deployedModels"], err = json.Marshal(deployed); err != nil {
		return nil, err
	}
	return json.Marshal(shown)
}

func listEndpoints(r *request) (any, error) {
	var all []*pb.Endpoint
	err := eachEndpoint(r.tx, r.key(""), func(e *endpoint) error {
		if !e.Creating {
			r.shown(e)
			all = append(all, e.pb)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	by, descending, err := r.order("display_name", "create_time", "update_time")
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(all, func(a, b *pb.Endpoint) int {
		c := 0
		switch by {
		case "display_name":
			c = strings.Compare(a.GetDisplayName(), b.GetDisplayName())
		case "create_time":
			c = earlier(a.GetCreateTime(), b.GetCreateTime())
		case "update_time":
			c = earlier(a.GetUpdateTime(), b.GetUpdateTime())
		}
		if descending {
			return -c
		}
		return c
	})
	page, next, err := paged(r, all, func(e *pb.Endpoint, field string) (string, bool) {
		switch field {
		case "endpoint":
			return e.GetName()[strings.LastIndexByte(e.GetName(), '/')+1:], true
		case "display_name":
			return e.GetDisplayName(), true
		}
		value, ok := e.GetLabels()[strings.TrimPrefix(field, "labels.")]
		return value, ok
	})
	for _, e := range page {
		keep(e.ProtoReflect(), mask(r.query.Get("readMask")))
	}
	return &pb.ListEndpointsResponse{Endpoints: page, NextPageToken: next}, err
}
