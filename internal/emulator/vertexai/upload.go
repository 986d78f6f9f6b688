// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	pb "cloud.google.com/go/aiplatform/apiv1beta1/aiplatformpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func uploadModel(r *request) (any, error) {
	in := &pb.UploadModelRequest{}
	if err := r.decode(in); err != nil {
		return nil, err
	}
	m := in.GetModel()
	var bad violations
	if m == nil {
		bad.add("model", "Required field is not set.")
		return nil, bad.err()
	}
	bad.displayName("model.display_name", m.GetDisplayName())
	bad.labels("model.labels", m.GetLabels())
	bad.key("model.encryption_spec.kms_key_name", m.GetEncryptionSpec().GetKmsKeyName(), r.Region)
	bad.serviceAccount("service_account", in.GetServiceAccount())
	bad.aliases(m.GetVersionAliases())
	bad.container(m.GetContainerSpec())
	bad.artifact(m.GetArtifactUri())
	bad.schemata(m)
	if m.GetMetadata() != nil && m.GetMetadataSchemaUri() == "" {
		bad.add("model.metadata", "Metadata can only be set together with metadata_schema_uri.")
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	id, number, err := r.destination(in.GetModelId(), in.GetParentModel(), m.GetEncryptionSpec().GetKmsKeyName())
	if err != nil {
		return nil, err
	}
	m.ModelSourceInfo = &pb.ModelSourceInfo{SourceType: pb.ModelSourceInfo_CUSTOM}
	return r.start("models/"+id, &operation{Subject: "models/" + id, ID: number, First: in.GetParentModel() == ""}, m)
}

// destination is where a version is going to be: a new model, or the next version of
// one.
func (r *request) destination(modelIDIn, parent, key string) (id, number string, err error) {
	if modelIDIn != "" && parent != "" {
		return "", "", invalid("Only one of model_id and parent_model can be set.")
	}
	next := 1
	switch {
	case parent != "":
		m, err := r.parentModel(parent, key)
		if err != nil {
			return "", "", err
		}
		id, next = m.ID, m.Last+1
	case modelIDIn != "":
		if id = modelIDIn; !modelID.MatchString(id) {
			return "", "", invalid("Invalid model ID \"%s\": it may be up to 63 characters, and valid characters are [a-z0-9_-]. The first character cannot be a number or hyphen.", id)
		}
		if _, err := loadModel(r.tx, r.place, id); !refused(err) {
			if err == nil {
				err = refusal(codesExists, "Model \"%s/models/%s\" already exists.", r, id)
			}
			return "", "", err
		}
	default:
		n, err := r.tx.Next("vertex_ai.id")
		if err != nil {
			return "", "", err
		}
		id = serverID(n)
	}
	running, err := r.running("models/" + id)
	if err != nil {
		return "", "", err
	}
	for _, o := range running {
		switch {
		case o.Kind == "models.delete":
			return "", "", precondition("Model \"%s/models/%s\" is being deleted by operation %s.", r, id, o.Name)
		case o.First:
			return "", "", refusal(codesExists, "Model \"%s/models/%s\" already exists.", r, id)
		case o.Kind == "models.upload" || o.Kind == "models.copy":
			n, _ := strconv.Atoi(o.ID)
			next = max(next, n+1)
		}
	}
	return id, strconv.Itoa(next), nil
}

func (r *request) parentModel(name, key string) (*model, error) {
	at, id, suffix, ok := parseModel(name)
	switch {
	case !ok || suffix != "":
		return nil, invalid("Invalid resource name \"%s\" of the parent model: it must have the form projects/{project}/locations/{location}/models/{model}.", name)
	case at != r.place:
		return nil, invalid("The parent model \"%s\" must be in the same project and location as the request: %s.", name, r.place)
	}
	m, err := loadModel(r.tx, at, id)
	if err != nil {
		return nil, err
	}
	if had := m.base.GetEncryptionSpec().GetKmsKeyName(); key != "" && had != key {
		return nil, precondition("The encryption spec of a version must be the one of its parent model: \"%s\".", had)
	}
	return m, nil
}

// uploaded makes the version that an upload has promised. What it reads is missed
// only now.
func uploaded(r *request, o *operation) (proto.Message, error) {
	spec := &pb.Model{}
	if err := o.unread(spec); err != nil {
		return nil, err
	}
	if err := r.hasFiles(spec.GetArtifactUri()); err != nil {
		return nil, err
	}
	name, number, err := r.register(o, spec)
	return &pb.UploadModelResponse{Model: name, ModelVersionId: number}, err
}

func copied(r *request, o *operation) (proto.Message, error) {
	spec := &pb.Model{}
	if err := o.unread(spec); err != nil {
		return nil, err
	}
	name, number, err := r.register(o, spec)
	return &pb.CopyModelResponse{Model: name, ModelVersionId: number}, err
}

// register adds a version to a model, and makes the model if it is the first.
func (r *request) register(o *operation, spec *pb.Model) (name, number string, err error) {
	id, now := strings.TrimPrefix(o.Subject, "models/"), timestamppb.New(o.Ends)
	m, err := loadModel(r.tx, o.Place, id)
	switch {
	case refused(err) && o.First:
		m = &model{ID: id, Place: o.Place, base: &pb.Model{DisplayName: spec.GetDisplayName(), Description: spec.GetDescription(), CreateTime: now, EncryptionSpec: spec.GetEncryptionSpec()}}
	case err != nil:
		return "", "", err
	}
	n, err := strconv.Atoi(o.ID)
	if err != nil {
		return "", "", err
	}
	v := &version{ID: n, spec: spec}
	aliases := spec.GetVersionAliases()
	spec.VersionAliases, spec.EncryptionSpec, spec.DisplayName, spec.Description = nil, nil, "", ""
	spec.VersionCreateTime, spec.VersionUpdateTime = now, now
	m.base.UpdateTime, m.Last = now, max(m.Last, n)
	m.Versions = append(m.Versions, v)
	if len(m.Versions) == 1 {
		m.give(v, aliasDefault)
	}
	for _, a := range aliases {
		m.give(v, a)
	}
	return m.name(), o.ID, r.saveModel(m)
}

// hasFiles refuses an artifact of which there is nothing.
func (r *request) hasFiles(uri string) error {
	if uri == "" || r.o.Keys == nil {
		return nil
	}
	bucket, prefix := split(uri)
	keys, err := r.o.Keys(bucket, prefix)
	if err != nil || len(keys) == 0 {
		return precondition("Failed to copy the model files: there is no object in the directory \"%s\", or the service account service-%s@gcp-sa-aiplatform.iam.gserviceaccount.com may not read it.", uri, r.Number)
	}
	return nil
}

// split takes apart gs://bucket/dir; the prefix is of what is in the directory.
func split(uri string) (bucket, prefix string) {
	bucket, prefix, _ = strings.Cut(strings.TrimPrefix(uri, "gs://"), "/")
	if prefix = strings.TrimSuffix(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	return bucket, prefix
}

func copyModel(r *request) (any, error) {
	in := &pb.CopyModelRequest{}
	if err := r.decode(in); err != nil {
		return nil, err
	}
	at, id, suffix, ok := parseModel(in.GetSourceModel())
	switch {
	case !ok:
		return nil, invalid("Invalid resource name \"%s\" of the source model.", in.GetSourceModel())
	case at.Number != r.Number:
		return nil, invalid("The source model must be in the same project as the copy.")
	}
	source, err := loadModel(r.tx, at, id)
	if err != nil {
		return nil, err
	}
	v := source.find(suffix)
	if v == nil {
		return nil, notFound("Model version \"%s\" is not found.", in.GetSourceModel())
	}
	var bad violations
	key := in.GetEncryptionSpec().GetKmsKeyName()
	bad.key("encryption_spec.kms_key_name", key, r.Region)
	bad.serviceAccount("custom_service_account", in.GetCustomServiceAccount())
	if err := bad.err(); err != nil {
		return nil, err
	}
	newID, number, err := r.destination(in.GetModelId(), in.GetParentModel(), key)
	if err != nil {
		return nil, err
	}
	spec := source.view(v, r.now())
	spec.OriginalModelInfo = &pb.Model_OriginalModelInfo{Model: source.name() + "@" + strconv.Itoa(v.ID)}
	spec.ModelSourceInfo = &pb.ModelSourceInfo{SourceType: v.spec.GetModelSourceInfo().GetSourceType(), Copy: true}
	spec.VersionAliases, spec.DeployedModels, spec.EncryptionSpec, spec.Etag = nil, nil, in.GetEncryptionSpec(), ""
	return r.start("models/"+newID, &operation{Subject: "models/" + newID, ID: number, First: in.GetParentModel() == ""}, spec)
}

// schemata are in Cloud Storage.
func (v *violations) schemata(m *pb.Model) {
	s := m.GetPredictSchemata()
	for field, uri := range map[string]string{"predict_schemata.instance_schema_uri": s.GetInstanceSchemaUri(), "predict_schemata.parameters_schema_uri": s.GetParametersSchemaUri(),
		"predict_schemata.prediction_schema_uri": s.GetPredictionSchemaUri(), "metadata_schema_uri": m.GetMetadataSchemaUri()} {
		if uri != "" && !strings.HasPrefix(uri, "gs://") {
			v.add("model."+field, "The schema URI \"%s\" must be one of Cloud Storage: gs://bucket/object.", uri)
		}
	}
}

func (v *violations) aliases(aliases []string) {
	for _, a := range aliases {
		if !aliasForm.MatchString(a) {
			v.add("model.version_aliases", "Invalid version alias \"%s\": it must match [a-z][a-zA-Z0-9-]{0,126}[a-z0-9].", a)
		}
	}
}

var (
	imageForm    = regexp.MustCompile(`^([a-z0-9-]+-docker\.pkg\.dev|([a-z0-9-]+\.)?gcr\.io)/[^\s]+$`)
	artifactForm = regexp.MustCompile(`^gs://[a-z0-9][a-z0-9._-]+(/.*)?$`)
)

func (v *violations) artifact(uri string) {
	if uri != "" && !artifactForm.MatchString(uri) {
		v.add("model.artifact_uri", "The artifact URI \"%s\" must be a Cloud Storage directory: gs://bucket/directory.", uri)
	}
}

// mostTimeout is how long a container may take to start.
const mostTimeout = 2 * time.Hour

func (v *violations) container(c *pb.ModelContainerSpec) {
	const at = "model.container_spec"
	if c == nil {
		v.add(at, "Required field is not set.")
		return
	}
	if !imageForm.MatchString(c.GetImageUri()) {
		v.add(at+".image_uri", "Invalid image URI \"%s\": the image must be in Artifact Registry or Container Registry.", c.GetImageUri())
	}
	for _, e := range c.GetEnv() {
		if !cName.MatchString(e.GetName()) {
			v.add(at+".env", "Invalid name of an environment variable: \"%s\".", e.GetName())
		}
	}
	for field, ports := range map[string][]*pb.Port{".ports": c.GetPorts(), ".grpc_ports": c.GetGrpcPorts()} {
		for _, p := range ports {
			if p.GetContainerPort() < 1 || p.GetContainerPort() > 65535 {
				v.add(at+field, "Invalid port %d: it must be between 1 and 65535.", p.GetContainerPort())
			}
		}
	}
	for field, path := range map[string]string{".predict_route": c.GetPredictRoute(), ".health_route": c.GetHealthRoute()} {
		if path != "" && !strings.HasPrefix(path, "/") {
			v.add(at+field, "The route \"%s\" must begin with a slash.", path)
		}
	}
	if prefix := c.GetInvokeRoutePrefix(); prefix != "" && (prefix != "/*" || c.GetPredictRoute() != "") {
		v.add(at+".invoke_route_prefix", "The only prefix that is supported is \"/*\", and predict_route must not be set.")
	}
	if d := c.GetDeploymentTimeout(); d != nil && (d.AsDuration() <= 0 || d.AsDuration() > mostTimeout) {
		v.add(at+".deployment_timeout", "The deployment timeout must be positive and at most 7200 seconds.")
	}
	if c.GetSharedMemorySizeMb() < 0 {
		v.add(at+".shared_memory_size_mb", "The size of shared memory must not be negative.")
	}
	for field, p := range map[string]*pb.Probe{".startup_probe": c.GetStartupProbe(), ".health_probe": c.GetHealthProbe(), ".liveness_probe": c.GetLivenessProbe()} {
		if p != nil && (p.GetPeriodSeconds() < 0 || p.GetTimeoutSeconds() < 0 || p.GetInitialDelaySeconds() < 0) {
			v.add(at+field, "The seconds of a probe must not be negative.")
		}
	}
}
