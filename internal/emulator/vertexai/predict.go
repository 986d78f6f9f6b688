// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"cmp"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	pb "cloud.google.com/go/aiplatform/apiv1beta1/aiplatformpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

// served is what a transaction finds out about one prediction.
type served struct {
	endpoint, deployment, model, version string // ids
	modelName, display, digest, artifact string
	key                                  string // what the deployment is called
	invoked                              bool   // it takes any route, and no predictions
	later                                error  // no replica is ready yet
	status                               int    // of the container's answer
}

// The most that a request may have, in bytes.
const (
	mostShared    = 1_500_000
	mostDedicated = 10_000_000
)

// choose picks a deployment by the traffic split, or takes the given one, and counts
// the request for it.
func (r *request) choose(id string) (to served, err error) {
	err = r.do(r.http.Context(), func() error {
		e, err := r.endpoint()
		if err != nil {
			return err
		}
		if err := r.admit(e); err != nil {
			return err
		}
		invokes := r.route.name == "endpoints.invoke"
		if id != "" && e.pb.GetNetwork() == "" && !invokes {
			return notFound("Endpoint `%s` has no private deployments.", e.name())
		}
		if id == "" && len(e.pb.GetTrafficSplit()) == 0 {
			return precondition("Endpoint `%s` doesn't have traffic_split.", e.name())
		}
		dm, err := r.deployedModel(e, cmp.Or(id, e.pick()))
		if err != nil {
			return err
		}
		e.Turns++
		if to, err = r.describe(e, dm); err != nil {
			return err
		}
		if to.invoked != invokes {
			return precondition("DeployedModel \"%s\" of Endpoint `%s` serves Invoke if its model has an invoke_route_prefix, and predictions if not.", dm.GetId(), e.name())
		}
		if to.later = r.asleep(e, dm); to.later == nil {
			if e.Served == nil {
				e.Served = map[string]int{}
			}
			if to.status, err = r.meter(e, dm, to); err != nil {
				return err
			}
			e.Served[dm.GetId()]++
		}
		return r.putEndpoint(e)
	})
	if err == nil {
		err = to.later
	}
	return to, err
}

var dedicatedHost = regexp.MustCompile(`^([^.]+)\.([a-z0-9-]+[0-9])-([0-9]+)\.prediction\.vertexai\.goog`)

// admit refuses a request that comes by the wrong host, or is too large. The address
// of this server stands for all of them.
func (r *request) admit(e *endpoint) error {
	most := mostDedicated
	if e.pb.GetNetwork() == "" && !dedicated(e.pb) {
		most = mostShared
	}
	if len(r.body) > most {
		return invalid("Request payload size exceeds the limit: %d bytes.", most)
	}
	if e.pb.GetDedicatedEndpointEnabled() && hostPattern.MatchString(r.http.Host) {
		return precondition("This endpoint is a dedicated endpoint via CloudESF and cannot be accessed through the Vertex AI API. Please access the endpoint using its dedicated dns name '%s'.", e.pb.GetDedicatedEndpointDns())
	}
	if host := dedicatedHost.FindStringSubmatch(r.http.Host); host != nil && (!e.pb.GetDedicatedEndpointEnabled() || !slices.Equal(host[1:], []string{e.ID, r.Region, r.Number})) {
		return notFound("The host %s does not serve Endpoint `%s`.", r.http.Host, e.name())
	}
	return nil
}

// pick turns a counter into shares, evenly and without runs.
func (e *endpoint) pick() string {
	at := int32(e.Turns * 61 % 100)
	split := e.pb.GetTrafficSplit()
	for _, id := range slices.Sorted(maps.Keys(split)) {
		if at < split[id] {
			return id
		}
		at -= split[id]
	}
	return ""
}

// idle is when a deployment that can be at zero was last used, and when it has woken
// up again.
type idle struct{ Used, Wakes time.Time }

// waking is how long a replica takes to come back from zero.
const waking = 2 * time.Minute

const notReady = "Model is not yet ready for inference. Please wait and then try your request again"

// asleep refuses a request while there is no replica; such a request also wakes one up.
func (r *request) asleep(e *endpoint, dm *pb.DeployedModel) error {
	if dm.GetDedicatedResources().GetMinReplicaCount() > 0 {
		return nil
	}
	if e.Idle == nil {
		e.Idle = map[string]idle{}
	}
	now, i := r.now(), e.Idle[dm.GetId()]
	switch {
	case now.Before(i.Wakes):
	case r.atZero(e, dm):
		e.Idle[dm.GetId()] = idle{Used: now.Add(r.scaled(waking)), Wakes: now.Add(r.scaled(waking))}
	default:
		e.Idle[dm.GetId()] = idle{Used: now}
		return nil
	}
	return refusal(codes.ResourceExhausted, "%s", notReady)
}

// atZero reports whether an idle deployment has given up its replicas.
func (r *request) atZero(e *endpoint, dm *pb.DeployedModel) bool {
	res := dm.GetDedicatedResources()
	if res == nil || res.GetMinReplicaCount() > 0 {
		return false
	}
	since := e.Idle[dm.GetId()].Used
	if since.IsZero() {
		since = dm.GetStatus().GetLastUpdateTime().AsTime()
	}
	after := defaultIdle
	if d := res.GetScaleToZeroSpec().GetIdleScaledownPeriod(); d != nil {
		after = d.AsDuration()
	}
	return r.now().Sub(since) >= r.scaled(after)
}

// ourName is the display name of a deployment that this provider made.
var ourName = regexp.MustCompile(`^ml/([^/]+)/[a-z2-7]{10}$`)

var digestPattern = regexp.MustCompile(`[0-9a-f]{64}`)

// describe finds out which version is behind a deployment.
func (r *request) describe(e *endpoint, dm *pb.DeployedModel) (served, error) {
	to := served{endpoint: e.ID, deployment: dm.GetId(), version: dm.GetModelVersionId(), modelName: dm.GetModel(), key: dm.GetDisplayName()}
	if m := ourName.FindStringSubmatch(to.key); m != nil {
		to.key = m[1]
	}
	at, id, _, _ := parseModel(dm.GetModel())
	to.model = id
	m, err := loadModel(r.tx, at, id)
	if refused(err) {
		return to, nil
	}
	if err != nil {
		return to, err
	}
	to.display = m.base.GetDisplayName()
	v := m.find(to.version)
	if v == nil {
		return to, nil
	}
	to.artifact, to.invoked = v.spec.GetArtifactUri(), v.spec.GetContainerSpec().GetInvokeRoutePrefix() != ""
	if to.digest = digestOf(v.spec.GetLabels()["ml-digest"]); to.digest == "" {
		to.digest = digestPattern.FindString(to.artifact)
	}
	return to, nil
}

// digestOf reads a SHA-256 that was made to fit a label.
func digestOf(label string) string {
	const size = 32
	data, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(strings.ToUpper(label))
	if err != nil || len(data) != size {
		return ""
	}
	return hex.EncodeToString(data)
}

// modelAnswer is what the model itself answers.
func (s *Service) modelAnswer(to served, request []byte) ([]byte, error) {
	out := map[string]any{"model": to.model, "version": to.version, "deployment": to.key, "digest": to.digest, "echo": string(request)}
	if json.Valid(request) {
		out["echo"] = json.RawMessage(request)
	}
	if outputs, ok := s.evaluate(to.artifact, request); ok {
		out["outputs"] = outputs
	}
	return json.Marshal(out)
}

// evaluate computes the answer of the first model file in a directory.
func (s *Service) evaluate(uri string, body []byte) (any, bool) {
	if uri == "" || s.o.Evaluate == nil || s.o.Keys == nil || s.o.Artifact == nil {
		return nil, false
	}
	bucket, prefix := split(uri)
	keys, err := s.o.Keys(bucket, prefix)
	if err != nil {
		return nil, false
	}
	i := slices.IndexFunc(keys, func(k string) bool { return path.Ext(k) == ".onnx" || strings.HasSuffix(k, ".tar.gz") })
	if i < 0 {
		return nil, false
	}
	object, err := s.o.Artifact(bucket, keys[i])
	if err != nil {
		return nil, false
	}
	defer object.Close()
	return s.o.Evaluate(keys[i], object, body)
}

// predict answers each instance in the platform's envelope.
func predict(r *request, w http.ResponseWriter) error {
	in := &pb.PredictRequest{}
	if err := r.decode(in); err != nil {
		return err
	}
	if len(in.GetInstances()) == 0 {
		return invalid("Required field is not set: instances.")
	}
	to, err := r.choose("")
	if err != nil {
		return err
	}
	if to.fails(w) {
		return nil
	}
	out := &pb.PredictResponse{DeployedModelId: to.deployment, Model: to.modelName, ModelVersionId: to.version, ModelDisplayName: to.display}
	for _, instance := range in.GetInstances() {
		answer, err := r.predictOne(to, instance)
		if err != nil {
			return err
		}
		out.Predictions = append(out.Predictions, answer)
	}
	to.head(w)
	return r.write(w, out)
}

func (r *request) predictOne(to served, instance *structpb.Value) (*structpb.Value, error) {
	text, err := protojson.Marshal(instance)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(map[string][]json.RawMessage{"instances": {text}})
	if err != nil {
		return nil, err
	}
	data, err := r.modelAnswer(to, body)
	if err != nil {
		return nil, err
	}
	var answer structpb.Value
	if err := protojson.Unmarshal(data, &answer); err != nil {
		return nil, err
	}
	if fields := answer.GetStructValue().GetFields(); fields != nil {
		fields["echo"] = instance
	}
	return &answer, nil
}

// head says what has answered.
func (to served) head(w http.ResponseWriter) {
	w.Header().Set("X-Vertex-Ai-Endpoint-Id", to.endpoint)
	w.Header().Set("X-Vertex-Ai-Deployed-Model-Id", to.deployment)
	w.Header().Set("X-Vertex-Ai-Model", to.modelName)
	w.Header().Set("X-Vertex-Ai-Model-Version-Id", to.version)
}

// fails answers for a container that has failed, if it has.
func (to served) fails(w http.ResponseWriter) bool {
	if to.status < http.StatusInternalServerError {
		return false
	}
	to.head(w)
	Refuse(w, to.status, "INTERNAL", fmt.Sprintf("Prediction failed: the container of model %s@%s has answered %d %s.", to.modelName, to.version, to.status, http.StatusText(to.status)))
	return true
}

// rawPredict passes a request to the model, and back what it answers.
func rawPredict(r *request, w http.ResponseWriter) error { return r.raw(w, "") }

// privatePredict is a request in the network of a private endpoint, to a deployment.
func privatePredict(r *request, w http.ResponseWriter) error { return r.raw(w, r.ids[1]) }

// invoke passes a request to a model that takes any route; one form of it names the
// deployment.
func invoke(r *request, w http.ResponseWriter) error {
	id := ""
	if len(r.ids) > 1 {
		id = r.ids[1]
	}
	return r.raw(w, id)
}

func (r *request) raw(w http.ResponseWriter, id string) error {
	to, err := r.choose(id)
	if err != nil {
		return err
	}
	if to.fails(w) {
		return nil
	}
	data, err := r.modelAnswer(to, r.body)
	if err != nil {
		return err
	}
	to.head(w)
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(data) //nolint:gosec // JSON, and no page; a client that has gone away is no concern of the platform's
	return nil
}
