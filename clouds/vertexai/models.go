// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// aliasDefault is the platform's own: what a name without a version stands for.
const aliasDefault = "default"

// record is what the registry has no field for. It is the version's description.
type record struct {
	Format   string            `json:"format"`
	Serving  driver.Serving    `json:"serving"`
	Metadata map[string]string `json:"metadata,omitempty"`
}

func (rec record) text() string {
	data, err := json.Marshal(rec)
	if err != nil {
		panic("a record is plain data: " + err.Error())
	}
	return string(data)
}

// readRecord reads a version's description, if it is ours.
func readRecord(text string) (rec record, ok bool) {
	return rec, json.Unmarshal([]byte(text), &rec) == nil && rec.Format != ""
}

func versionLabels(hash, digest string, approval driver.Approval) map[string]string {
	labels := map[string]string{labelHash: short(hash), labelDigest: short(digest)}
	if approval != "" {
		labels[labelApproval] = string(approval)
	}
	return labels
}

// modelLabels are all labels of the name itself.
func modelLabels(spec *driver.ModelSpec, adopted string) map[string]string {
	labels := map[string]string{labelManagedBy: managedBy, labelModel: spec.Key.Name}
	if adopted != "" {
		labels[labelAdopted] = adopted
	}
	maps.Copy(labels, spec.Labels)
	return labels
}

// CreateModel is not called: Features.VersionsMakeModel.
func (d *vertex) CreateModel(_ context.Context, spec *driver.ModelSpec) error {
	return mlerr.New(mlerr.Unsupported, "the model %s comes into being with its first version", spec.Key.ID())
}

// PublishVersion uploads the next version. The platform numbers it and takes no
// token: what an earlier attempt has made, or is still making, is looked for first.
func (d *vertex) PublishVersion(ctx context.Context, spec *driver.ModelSpec, staged, newest string) error {
	r, name := d.at(spec.Key.Location), spec.Key.Name
	versions, err := r.versions(ctx, name)
	absent := mlerr.Is(err, mlerr.NotFound)
	if err != nil && !absent {
		return err
	}
	before, _ := strconv.Atoi(newest)
	last := 0
	for i := range versions {
		number, _ := strconv.Atoi(versions[i].VersionID)
		last = max(last, number)
		if number > before && long(versions[i].Labels[labelHash]) == spec.VersionHash() {
			return nil
		}
	}
	if err := r.noUpload(ctx, name); err != nil {
		return err
	}
	container, err := container(spec, d.cfg.images(r))
	if err != nil {
		return err
	}
	rec := record{Format: spec.Artifact.Format, Serving: spec.Serving, Metadata: spec.Metadata}
	m := wireModel{
		DisplayName: name, Description: spec.Description, VersionDescription: rec.text(), ArtifactURI: strings.TrimSuffix(staged, "/"),
		ContainerSpec: container, EncryptionSpec: encrypted(spec.EncryptionKey),
		// Without approval: that a version has none says that its labels are yet to
		// be confirmed. Whose labels an upload sets, the model's or the version's, is
		// not documented.
		Labels: versionLabels(spec.VersionHash(), spec.Artifact.Digest, ""),
	}
	body := map[string]any{"model": m}
	if absent {
		body["modelId"] = name
	} else {
		body["parentModel"] = r.model(name)
	}
	err = r.start(ctx, "models/"+name, call{name: "models.upload", doing: "upload a version of " + spec.Key.ID(), method: http.MethodPost,
		path: r.in("models:upload"), in: body},
		started{kind: uploading, version: driver.Version{Version: strconv.Itoa(last + 1), Owned: true, Hash: spec.VersionHash(), Artifact: spec.Artifact,
			Serving: spec.Serving, Approval: driver.Pending, Phase: driver.Changing}})
	if mlerr.Is(err, mlerr.AlreadyExists) { // by a run that was cut off, and not listed yet
		return mlerr.Wrap(err, mlerr.Busy, "the model %s is coming into being", spec.Key.ID())
	}
	return err
}

// noUpload is Busy while a version is on its way that a process before has started.
func (r *region) noUpload(ctx context.Context, name string) error {
	ops, err := pages[operation](ctx, r, call{name: "models.operations.list", doing: "list the operations on " + name, path: r.model(name) + "/operations"}, "operations")
	if err != nil {
		return gone(err)
	}
	for i := range ops {
		if !ops[i].Done && strings.Contains(string(ops[i].Metadata), "UploadModel") {
			return mlerr.New(mlerr.Busy, "an upload to the model %s is going on (%s)", name, ops[i].Name)
		}
	}
	return nil
}

// UpdateModel makes the name's own fields what spec says, and points the aliases to
// the current version. Of a model that it so adopts it notes up to which version
// there was something.
func (d *vertex) UpdateModel(ctx context.Context, spec *driver.ModelSpec, seen *driver.ModelState, current string) error {
	r, name := d.at(spec.Key.Location), spec.Key.Name
	adopted := ""
	for i := range seen.Versions {
		if v := &seen.Versions[i]; v.Adopted || (!seen.Marks.Owned && !v.Owned) {
			adopted = v.Version // ascending
		}
	}
	now, err := r.getModel(ctx, name, current)
	if err != nil {
		return err
	}
	labels := modelLabels(spec, adopted)
	maps.Copy(labels, platforms(now.Labels))
	// What a version by hand has in its own layer shows through whatever the name has.
	if v := seen.Find(current); v != nil && !v.Owned && !maps.Equal(users(now.Labels), nonEmpty(spec.Labels)) {
		if err := r.patchModel(ctx, name+"@"+current, wireModel{Labels: platforms(now.Labels)}, "labels"); err != nil {
			return err
		}
	}
	if change := aliasChange(now.VersionAliases, spec.Aliases, spec.Approval); len(change) > 0 {
		if err := r.mergeAliases(ctx, spec.Key, current, change); err != nil {
			return err
		}
	}
	for i := range seen.Versions {
		v := &seen.Versions[i]
		if v.Version == current || !v.Owned {
			continue
		}
		if change := lost(v.Aliases, spec.Aliases); len(change) > 0 {
			if err := r.mergeAliases(ctx, spec.Key, v.Version, change); err != nil {
				return err
			}
		}
	}
	return r.patchModel(ctx, name, wireModel{Description: spec.Description, Labels: labels}, "description", "labels")
}

// aliasChange is what to merge: aliases to add, and with a hyphen those to remove.
// What is approved is what the bare name stands for.
func aliasChange(now, want []string, approval driver.Approval) []string {
	if approval == driver.Approved {
		want = append(slices.Clip(want), aliasDefault)
	}
	var change []string
	for _, a := range want {
		if !slices.Contains(now, a) {
			change = append(change, a)
		}
	}
	return append(change, lost(now, want)...)
}

// lost are the aliases that nothing is to have any more, to be merged.
func lost(now, want []string) []string {
	var change []string
	for _, a := range now {
		if a != aliasDefault && !slices.Contains(want, a) {
			change = append(change, "-"+a)
		}
	}
	return change
}

// mergeAliases adds aliases to a version, and takes those away that have a hyphen.
func (r *region) mergeAliases(ctx context.Context, key driver.Key, version string, change []string) error {
	return r.do(ctx, call{name: "models.mergeVersionAliases", doing: "set the aliases of version " + version + " of " + key.ID(), method: http.MethodPost,
		path: r.model(key.Name) + "@" + version + ":mergeVersionAliases", in: map[string]any{"versionAliases": change}})
}

func (r *region) patchModel(ctx context.Context, name string, m wireModel, fields ...string) error {
	return r.do(ctx, call{name: "models.patch", doing: "update the model " + name, method: http.MethodPatch, path: r.model(name), query: mask(fields...), in: m})
}

// UpdateVersion makes a version's record and labels what spec says. The bare name
// comes to stand for an approved version first, so that this is not forgotten when
// the rest is seen to be done.
func (d *vertex) UpdateVersion(ctx context.Context, spec *driver.ModelSpec, seen *driver.Version) error {
	r, name := d.at(spec.Key.Location), spec.Key.Name
	now, err := r.getModel(ctx, name, seen.Version)
	if err != nil {
		return err
	}
	if spec.Approval == driver.Approved && !slices.Contains(now.VersionAliases, aliasDefault) {
		if err := r.mergeAliases(ctx, spec.Key, seen.Version, []string{aliasDefault}); err != nil {
			return err
		}
	}
	labels := versionLabels(seen.Hash, seen.Artifact.Digest, spec.Approval)
	if !seen.Owned {
		labels = map[string]string{labelApproval: string(spec.Approval), labelDigest: short(seen.Artifact.Digest)}
	}
	maps.DeleteFunc(labels, func(_, v string) bool { return v == "" })
	change, fields := wireModel{Labels: labels}, []string{"labels"}
	if seen.Owned || !maps.Equal(seen.Metadata, spec.Metadata) { // what somebody else wrote there may stay
		change.VersionDescription = record{Format: seen.Artifact.Format, Serving: seen.Serving, Metadata: spec.Metadata}.text()
		fields = append(fields, "version_description")
	}
	return r.patchModel(ctx, name+"@"+seen.Version, change, fields...)
}

// DeleteVersion removes a version, and with the last one the name.
func (d *vertex) DeleteVersion(ctx context.Context, ref driver.VersionRef) error {
	r, name := d.at(ref.Key.Location), ref.Key.Name
	r.pending.drop("models/"+name, func(s started) bool { return s.kind == uploading && s.failure != nil })
	versions, err := r.versions(ctx, name)
	if err != nil {
		return gone(err)
	}
	i := slices.IndexFunc(versions, func(m wireModel) bool { return m.VersionID == ref.Version })
	if i < 0 {
		return nil
	}
	if err := r.unserved(ctx, ref, versions[i].DeployedModels); err != nil {
		return err
	}
	c := call{name: "models.deleteVersion", doing: "delete the version " + ref.String(), method: http.MethodDelete, path: r.model(name) + "@" + ref.Version + ":deleteVersion"}
	if len(versions) == 1 {
		c.name, c.path = "models.delete", r.model(name)
	} else if slices.Contains(versions[i].VersionAliases, aliasDefault) {
		// Which version the platform would choose instead is not ours to guess.
		rest := slices.Delete(slices.Clone(versions), i, i+1)
		if err := r.mergeAliases(ctx, ref.Key, rest[len(rest)-1].VersionID, []string{aliasDefault}); err != nil {
			return err
		}
	}
	return r.remove(ctx, c, ref.Key, ref.Version)
}

// remove starts a deletion. A refusal because of deployments that are gone already
// passes: the registry learns of that later.
func (r *region) remove(ctx context.Context, c call, key driver.Key, version string) error {
	err := r.start(ctx, "models/"+key.Name, c, started{kind: deleting, id: version})
	if mlerr.Is(err, mlerr.InUse) {
		err = mlerr.Wrap(err, mlerr.Busy, "the registry has not seen yet that nothing serves %s", key.ID())
	}
	return gone(err)
}

// unserved is InUse while an endpoint serves the version. The registry goes on naming
// deployments for minutes after they have gone, so the endpoints are asked.
func (r *region) unserved(ctx context.Context, ref driver.VersionRef, by []deployedRef) error {
	for _, b := range by {
		at := r.d.at(r.spelled(b.Endpoint))
		e, err := at.getEndpoint(ctx, segment(b.Endpoint, "endpoints"))
		if mlerr.Is(err, mlerr.NotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if slices.ContainsFunc(e.DeployedModels, func(dm deployedModel) bool { return dm.ID == b.DeployedModelID }) {
			return mlerr.New(mlerr.InUse, "the version %s is served by deployment %s of the endpoint %s", ref, b.DeployedModelID, b.Endpoint).
				WithHint("Serve another version there, or destroy that endpoint first")
		}
	}
	return nil
}

// DeleteModel removes the name. One that holds no version is not there; what is, is
// the rest of a deletion that is going on.
func (d *vertex) DeleteModel(ctx context.Context, key driver.Key) error {
	r := d.at(key.Location)
	return r.remove(ctx, call{name: "models.delete", doing: "delete the model " + key.ID(), method: http.MethodDelete, path: r.model(key.Name)}, key, "")
}

func nonEmpty(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}
