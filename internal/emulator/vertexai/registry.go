// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "cloud.google.com/go/aiplatform/apiv1beta1/aiplatformpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/state"
)

// aliasDefault is the alias of the version that a bare name stands for.
const aliasDefault = "default"

// model is a name in the registry, with its versions.
type model struct {
	ID       string
	Place    place
	Base     []byte // a Model with what all versions share: names, labels, times
	Versions []*version
	Last     int // the highest number given
	Policy   []byte

	base *pb.Model
}

// version is one version, and what serves it.
type version struct {
	ID      int
	Spec    []byte // a Model with what only the version has
	Servers []server

	spec *pb.Model
}

// server is a deployment of a version.
type server struct {
	Endpoint, ID string
	Coming       bool      // it is still being made
	Until        time.Time // it has gone, and the registry has not seen it before then
}

func (m *model) name() string { return m.Place.String() + "/models/" + m.ID }

func (m *model) subject() string { return "models/" + m.ID }

func loadModel(tx *state.Tx, at place, id string) (*model, error) {
	var m model
	found, err := tx.Get(kindModel, at.key(id), &m)
	if err == nil && !found {
		err = notFound("Model \"%s/models/%s\" is not found.", at, id)
	}
	if err != nil {
		return nil, err
	}
	return &m, m.unpack()
}

func (m *model) unpack() error {
	m.base = &pb.Model{}
	if err := proto.Unmarshal(m.Base, m.base); err != nil {
		return err
	}
	for _, v := range m.Versions {
		v.spec = &pb.Model{}
		if err := proto.Unmarshal(v.Spec, v.spec); err != nil {
			return err
		}
	}
	return nil
}

// saveModel writes a model; every write gives it another etag.
func (r *request) saveModel(m *model) (err error) {
	if m.base.Etag, err = r.etag(); err != nil {
		return err
	}
	if m.Base, err = proto.Marshal(m.base); err != nil {
		return err
	}
	for _, v := range m.Versions {
		if v.Spec, err = proto.Marshal(v.spec); err != nil {
			return err
		}
	}
	return r.tx.Put(kindModel, m.Place.key(m.ID), m)
}

// etag is a new one.
func (r *request) etag() (string, error) {
	n, err := r.tx.Next("vertex_ai.etag")
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "vertex-%08d", n)), err
}

// models reads all models of the region.
func (r *request) models() ([]*model, error) {
	var all []*model
	err := r.tx.Each(kindModel, r.key(""), func(_ string, data []byte) error {
		var m model
		if err := json.Unmarshal(data, &m); err != nil {
			return err
		}
		all = append(all, &m)
		return m.unpack()
	})
	return all, err
}

// find returns the version of a number, an alias, or "" for the default; nil if
// there is none.
func (m *model) find(suffix string) *version {
	if suffix == "" || suffix == "-" {
		suffix = aliasDefault
	}
	for _, v := range m.Versions {
		if strconv.Itoa(v.ID) == suffix || slices.Contains(v.spec.GetVersionAliases(), suffix) {
			return v
		}
	}
	return nil
}

// view is a version as it is answered: with what the name has, and the labels of
// both. Its name has no version.
func (m *model) view(v *version, now time.Time) *pb.Model {
	out, base := proto.CloneOf(v.spec), m.base
	out.Name, out.VersionId = m.name(), strconv.Itoa(v.ID)
	out.DisplayName, out.Description = base.GetDisplayName(), base.GetDescription()
	out.CreateTime, out.UpdateTime = base.GetCreateTime(), base.GetUpdateTime()
	out.Etag, out.EncryptionSpec = base.GetEtag(), base.GetEncryptionSpec()
	out.Labels = maps.Clone(base.GetLabels())
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	maps.Copy(out.Labels, v.spec.GetLabels())
	out.SupportedDeploymentResourcesTypes = []pb.Model_DeploymentResourcesType{pb.Model_DEDICATED_RESOURCES, pb.Model_SHARED_RESOURCES}
	for _, s := range v.Servers {
		if !s.Coming && s.named(now) {
			out.DeployedModels = append(out.DeployedModels, &pb.DeployedModelRef{Endpoint: s.Endpoint, DeployedModelId: s.ID})
		}
	}
	return out
}

// named reports whether the registry names a deployment: also for a while after it
// has gone.
func (s server) named(now time.Time) bool { return s.Until.IsZero() || s.Until.After(now) }

func (v *version) served(now time.Time) bool {
	return slices.ContainsFunc(v.Servers, func(s server) bool { return s.named(now) })
}

// lag is how long the registry names a deployment that has gone.
const lag = time.Minute

// serve notes what a deployment of a version has come to.
func (r *request) serve(at place, id, number string, change func(v *version)) error {
	m, err := loadModel(r.tx, at, id)
	if refused(err) {
		return nil // the model has gone
	}
	if err != nil {
		return err
	}
	if v := m.find(number); v != nil {
		now := r.now()
		v.Servers = slices.DeleteFunc(v.Servers, func(s server) bool { return !s.named(now) })
		change(v)
	}
	return r.saveModel(m)
}

var modelName = regexp.MustCompile(`^projects/([^/]+)/locations/([^/]+)/models/([^/@]+)(?:@([^/]+))?$`)

// parseModel takes the name of a model apart, in whatever region.
func parseModel(name string) (at place, id, suffix string, ok bool) {
	m := modelName.FindStringSubmatch(name)
	if m == nil {
		return place{}, "", "", false
	}
	return place{number(m[1]), m[2]}, m[3], m[4], true
}

// named finds the model and the version that the path names.
func (r *request) named() (*model, *version, string, error) {
	id, suffix, _ := strings.Cut(r.ids[0], "@")
	m, err := loadModel(r.tx, r.place, id)
	if err != nil {
		return nil, nil, "", err
	}
	v := m.find(suffix)
	if v == nil {
		err = notFound("Model version \"%s@%s\" is not found.", m.name(), suffix)
	}
	return m, v, suffix, err
}

func getModel(r *request) (any, error) {
	m, v, _, err := r.named()
	if err != nil {
		return nil, err
	}
	return m.view(v, r.now()), nil
}

// listed orders, filters and cuts models for a list.
func (r *request) listed(all []*pb.Model, fields ...string) (page []*pb.Model, next string, err error) {
	by, descending, err := r.order(fields...)
	if err != nil {
		return nil, "", err
	}
	slices.SortStableFunc(all, func(a, b *pb.Model) int {
		c := 0
		switch by {
		case "display_name":
			c = strings.Compare(a.GetDisplayName(), b.GetDisplayName())
		case "create_time":
			c = earlier(a.GetVersionCreateTime(), b.GetVersionCreateTime())
		case "update_time":
			c = earlier(a.GetVersionUpdateTime(), b.GetVersionUpdateTime())
		}
		if descending {
			return -c
		}
		return c
	})
	page, next, err = paged(r, all, func(m *pb.Model, field string) (string, bool) {
		switch field {
		case "model":
			return m.GetName()[strings.LastIndexByte(m.GetName(), '/')+1:], true
		case "display_name":
			return m.GetDisplayName(), true
		}
		value, ok := m.GetLabels()[strings.TrimPrefix(field, "labels.")]
		return value, ok
	})
	for _, m := range page {
		keep(m.ProtoReflect(), mask(r.query.Get("readMask")))
	}
	return page, next, err
}

func earlier(a, b *timestamppb.Timestamp) int { return a.AsTime().Compare(b.AsTime()) }

func listModels(r *request) (any, error) {
	models, err := r.models()
	if err != nil {
		return nil, err
	}
	all := make([]*pb.Model, 0, len(models))
	for _, m := range models {
		all = append(all, m.view(m.find(""), r.now()))
	}
	page, next, err := r.listed(all, "display_name", "create_time", "update_time")
	return &pb.ListModelsResponse{Models: page, NextPageToken: next}, err
}

func listVersions(r *request) (any, error) {
	m, err := loadModel(r.tx, r.place, r.ids[0])
	if err != nil {
		return nil, err
	}
	all := make([]*pb.Model, 0, len(m.Versions))
	for _, v := range m.Versions {
		all = append(all, m.view(v, r.now()))
	}
	page, next, err := r.listed(all, "create_time", "update_time")
	return &pb.ListModelVersionsResponse{Models: page, NextPageToken: next}, err
}

// Which fields of a model can be changed, by what has them.
var (
	nameFields    = []string{"display_name", "description", "labels"}
	versionFields = []string{"version_description", "labels"}
)

func patchModel(r *request) (any, error) {
	in := &pb.Model{}
	if err := r.decode(in); err != nil {
		return nil, err
	}
	m, v, suffix, err := r.named()
	if err != nil {
		return nil, err
	}
	if in.GetEtag() != "" && in.GetEtag() != m.base.GetEtag() {
		return nil, stale(m.name())
	}
	paths := mask(r.query.Get("updateMask"))
	fields, other, layer := nameFields, versionFields, "model"
	if suffix != "" && suffix != "-" {
		fields, other, layer = versionFields, nameFields, "model version"
	}
	if len(paths) == 0 {
		return nil, invalid("The update mask is required.")
	}
	for _, path := range paths {
		switch {
		case slices.Contains(fields, path):
		case slices.Contains(other, path):
			return nil, precondition("Field \"%s\" cannot be updated in a %s update of \"%s\".", path, layer, r.ids[0])
		default:
			return nil, invalid("Updating field \"%s\" of a model is not supported.", path)
		}
	}
	var bad violations
	if slices.Contains(paths, "display_name") {
		bad.displayName("model.display_name", in.GetDisplayName())
	}
	if slices.Contains(paths, "labels") {
		bad.labels("model.labels", in.GetLabels())
	}
	if err := bad.err(); err != nil {
		return nil, err
	}
	target := m.base
	if layer != "model" {
		target = v.spec
	}
	assign(in.ProtoReflect(), target.ProtoReflect(), paths)
	now := timestamppb.New(r.now())
	if m.base.UpdateTime = now; layer != "model" {
		v.spec.VersionUpdateTime = now
	}
	if err := r.saveModel(m); err != nil {
		return nil, err
	}
	return m.view(v, r.now()), nil
}

func mergeAliases(r *request) (any, error) {
	in := &pb.MergeVersionAliasesRequest{}
	if err := r.decode(in); err != nil {
		return nil, err
	}
	m, v, suffix, err := r.named()
	if err != nil {
		return nil, err
	}
	if suffix != strconv.Itoa(v.ID) {
		return nil, invalid("A version ID must be explicitly included in the name of the model: \"%s\".", r.ids[0])
	}
	if len(in.GetVersionAliases()) == 0 {
		return nil, invalid("Version aliases are required.")
	}
	for _, a := range in.GetVersionAliases() {
		name, removed := strings.CutPrefix(a, "-")
		switch opposite := slices.Contains(in.GetVersionAliases(), "-"+name) && slices.Contains(in.GetVersionAliases(), name); {
		case !aliasForm.MatchString(name):
			return nil, invalid("Invalid version alias \"%s\".", name)
		case opposite: // cancels out
		case removed && name == aliasDefault:
			return nil, precondition("The alias \"default\" cannot be removed from a version; give it to another one instead.")
		case removed:
			v.spec.VersionAliases = without(v.spec.GetVersionAliases(), name)
		default:
			m.give(v, name)
		}
	}
	v.spec.VersionUpdateTime = timestamppb.New(r.now())
	if err := r.saveModel(m); err != nil {
		return nil, err
	}
	return m.view(v, r.now()), nil
}

// give moves an alias to a version.
func (m *model) give(v *version, alias string) {
	for _, other := range m.Versions {
		other.spec.VersionAliases = without(other.spec.GetVersionAliases(), alias)
	}
	v.spec.VersionAliases = append(v.spec.VersionAliases, alias)
}

func without(all []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(a string) bool { return a == name })
}

func deleteVersion(r *request) (any, error) {
	m, v, suffix, err := r.named()
	if err != nil {
		return nil, err
	}
	name := m.name() + "@" + suffix
	switch {
	case suffix != strconv.Itoa(v.ID):
		return nil, invalid("A version ID must be explicitly included in the name of the model: \"%s\".", r.ids[0])
	case len(m.Versions) == 1:
		return nil, precondition("Cannot delete the only version of Model \"%s\". Delete the model instead.", m.name())
	case v.served(r.now()):
		return nil, r.deployed(name, v)
	case slices.Contains(v.spec.GetVersionAliases(), aliasDefault):
		return nil, precondition("Cannot delete the default version \"%s\". Make another version the default first.", name)
	}
	if err := r.notGoing(m, suffix); err != nil {
		return nil, err
	}
	return r.start("", &operation{Subject: m.subject(), ID: suffix}, nil)
}

// deployed says what serves a version.
func (r *request) deployed(name string, v *version) error {
	for _, s := range v.Servers {
		if s.named(r.now()) {
			return precondition("Model \"%s\" is deployed at endpoint \"%s\" as deployed model %s. Undeploy it first.", name, s.Endpoint, s.ID)
		}
	}
	return nil
}

// notGoing refuses a second deletion.
func (r *request) notGoing(m *model, number string) error {
	running, err := r.running(m.subject())
	if err != nil {
		return err
	}
	for _, o := range running {
		if o.Kind == "models.delete" || o.Kind == "models.deleteVersion" && (number == "" || o.ID == number) {
			return precondition("Model \"%s\" is being deleted by operation %s.", m.name(), o.Name)
		}
	}
	return nil
}

func versionDeleted(r *request, o *operation) (proto.Message, error) {
	m, err := loadModel(r.tx, o.Place, strings.TrimPrefix(o.Subject, "models/"))
	if err != nil {
		return nil, err
	}
	v := m.find(o.ID)
	switch {
	case v == nil:
		return nothing, nil
	case v.served(o.Ends):
		return nil, r.deployed(m.name()+"@"+o.ID, v)
	case len(m.Versions) == 1:
		return nil, precondition("Cannot delete the only version of Model \"%s\". Delete the model instead.", m.name())
	}
	m.Versions = slices.DeleteFunc(m.Versions, func(other *version) bool { return other == v })
	if m.find("") == nil { // it has become the default meanwhile
		m.give(m.Versions[len(m.Versions)-1], aliasDefault)
	}
	return nothing, r.saveModel(m)
}

func deleteModel(r *request) (any, error) {
	if strings.Contains(r.ids[0], "@") {
		return nil, invalid("The name of the model must not have a version: \"%s\".", r.ids[0])
	}
	m, err := loadModel(r.tx, r.place, r.ids[0])
	if err != nil {
		return nil, err
	}
	for _, v := range m.Versions {
		if v.served(r.now()) {
			return nil, r.deployed(m.name()+"@"+strconv.Itoa(v.ID), v)
		}
	}
	if err := r.notGoing(m, ""); err != nil {
		return nil, err
	}
	return r.start("", &operation{Subject: m.subject()}, nil)
}

func modelDeleted(r *request, o *operation) (proto.Message, error) {
	id := strings.TrimPrefix(o.Subject, "models/")
	m, err := loadModel(r.tx, o.Place, id)
	if err != nil {
		return nil, err
	}
	for _, v := range m.Versions {
		if v.served(o.Ends) {
			return nil, r.deployed(m.name()+"@"+strconv.Itoa(v.ID), v)
		}
	}
	return nothing, r.tx.Delete(kindModel, o.Place.key(id))
}

func stale(name string) error {
	return refusal(codesAborted, "The etag of \"%s\" does not match: it was changed by somebody else since it was read.", name)
}
