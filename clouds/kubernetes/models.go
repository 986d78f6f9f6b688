// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/naming"
)

// A model is a ConfigMap, its head, that owns one immutable ConfigMap a version:
// a registry without any definitions of its own.

func headName(model string) string { return "ml-" + model }

func versionName(model, version string) string { return "mlv-" + model + "-" + version }

// What the head and a version hold.
const (
	dataDescription = "description"
	dataAliases     = "aliases.json" // version by alias
	dataRecord      = "record.json"
	dataSums        = "SHA256SUMS" // of the staged files, in the form of sha256sum; "" for what is verified by its digest alone
)

// record is what never changes of a version.
type record struct {
	Hash     string          `json:"hash"` // driver.ModelSpec.VersionHash
	Artifact driver.Artifact `json:"artifact"`
	Serving  driver.Serving  `json:"serving"`
}

func hash(v any) string { return naming.Hash(v) }

// ObserveModel reads a model: its head and versions, and which endpoints serve them.
// With known, as in a refresh, all models and endpoints of the namespace are read at
// once and shared.
func (d *kubernetes) ObserveModel(ctx context.Context, key driver.Key, known *driver.ModelState) (*driver.ModelState, error) {
	a, err := d.connect()
	if err != nil {
		return nil, err
	}
	var found, roots []object
	if known != nil {
		shared, err := d.snapshots.read(ctx, a, key.Location)
		if err != nil {
			return nil, err
		}
		found, roots = shared.labeled(configMaps, labelModel, key.Name), shared.labeled(configMaps, labelKind, kindEndpoint)
	} else {
		group, gctx := errgroup.WithContext(ctx)
		group.Go(func() (err error) {
			found, err = a.list(gctx, configMaps, key.Location, selecting(labelModel, key.Name))
			return err
		})
		group.Go(func() (err error) {
			roots, err = a.list(gctx, configMaps, key.Location, selecting(labelKind, kindEndpoint))
			return err
		})
		if err := group.Wait(); err != nil {
			return nil, err
		}
	}
	return modelState(key, found, roots)
}

// modelState translates a model's ConfigMaps.
func modelState(key driver.Key, found, roots []object) (*driver.ModelState, error) {
	at := slices.IndexFunc(found, func(o object) bool { return o.GetLabels()[labelKind] == kindModel })
	if at < 0 || found[at].GetDeletionTimestamp() != nil {
		return nil, mlerr.New(mlerr.NotFound, "there is no model %s in the namespace %s", key.Name, key.Location)
	}
	head := &found[at]
	s := &driver.ModelState{Key: key, NativeID: key.Location + "/" + key.Name, Description: data(head)[dataDescription], Labels: labelsIn(head),
		Marks: driver.Marks{Owned: true, Incomplete: noted(head, noteIncomplete)}}
	aliases := map[string]string{}
	if err := unmarshal(head, dataAliases, &aliases); err != nil {
		return nil, err
	}
	for i := range found {
		if found[i].GetLabels()[labelKind] != kindVersion {
			continue
		}
		v, err := versionState(key, &found[i], aliases, roots)
		if err != nil {
			return nil, err
		}
		s.Versions = append(s.Versions, v)
	}
	sort.Slice(s.Versions, func(i, j int) bool { return number(s.Versions[i].Version) < number(s.Versions[j].Version) })
	return s, nil
}

func versionState(key driver.Key, o *object, aliases map[string]string, roots []object) (driver.Version, error) {
	var r record
	if err := unmarshal(o, dataRecord, &r); err != nil {
		return driver.Version{}, err
	}
	notes := o.GetAnnotations()
	v := driver.Version{Version: o.GetLabels()[labelVersion], NativeID: key.Location + "/" + o.GetName(), Owned: true, Hash: r.Hash,
		Artifact: r.Artifact, Serving: r.Serving, Approval: driver.Approval(notes[noteApproval]), Phase: driver.Ready, CreatedAt: o.GetCreationTimestamp().UTC()}
	if o.GetDeletionTimestamp() != nil {
		v.Phase = driver.Deleting
	}
	if text := notes[noteMetadata]; text != "" {
		if err := json.Unmarshal([]byte(text), &v.Metadata); err != nil {
			return v, mlerr.New(mlerr.Failed, "the annotation %s of the ConfigMap %s is not what was written", noteMetadata, o.GetName()).Because(err)
		}
	}
	for alias, version := range aliases {
		if version == v.Version {
			v.Aliases = append(v.Aliases, alias)
		}
	}
	sort.Strings(v.Aliases)
	mark := uses(driver.VersionRef{Key: key, Version: v.Version})
	for i := range roots {
		if roots[i].GetLabels()[mark] != "" {
			v.ServedBy = append(v.ServedBy, driver.Key{Platform: key.Platform, Location: key.Location, Name: roots[i].GetLabels()[labelEndpoint]}.ID())
		}
	}
	sort.Strings(v.ServedBy)
	return v, nil
}

// ObserveVersion reads one version, in one call.
func (d *kubernetes) ObserveVersion(ctx context.Context, ref driver.VersionRef) (*driver.Version, error) {
	o, err := d.version(ctx, ref)
	if err != nil {
		return nil, err
	}
	v, err := versionState(ref.Key, o, nil, nil)
	return &v, err
}

// version finds the record of a version.
func (d *kubernetes) version(ctx context.Context, ref driver.VersionRef) (*object, error) {
	a, err := d.connect()
	if err != nil {
		return nil, err
	}
	o, err := a.get(ctx, configMaps, ref.Key.Location, versionName(ref.Key.Name, ref.Version))
	if err != nil {
		return nil, err
	}
	if l := o.GetLabels(); !ours(o) || l[labelModel] != ref.Key.Name || l[labelVersion] != ref.Version {
		return nil, mlerr.New(mlerr.NotFound, "the ConfigMap %s is not the record of a model version", o.GetName())
	}
	return o, nil
}

// CreateModel makes the head.
func (d *kubernetes) CreateModel(ctx context.Context, spec *driver.ModelSpec) error {
	a, err := d.connect()
	if err != nil {
		return err
	}
	head := newObject(configMaps, spec.Key.Location, headName(spec.Key.Name))
	head.SetLabels(marked(spec.Labels, labelKind, kindModel, labelModel, spec.Key.Name))
	note(head, noteIncomplete, "true")
	d.snapshots.forget()
	_, err = a.create(ctx, configMaps, head)
	if !mlerr.Is(err, mlerr.AlreadyExists) {
		return err
	}
	now, read := a.get(ctx, configMaps, spec.Key.Location, head.GetName())
	switch {
	case mlerr.Is(read, mlerr.NotFound), read == nil && now.GetDeletionTimestamp() != nil:
		return mlerr.New(mlerr.Busy, "the model %s is still being deleted", spec.Key.Name)
	case read != nil:
		return read
	case ours(now) && now.GetLabels()[labelModel] == spec.Key.Name:
		return nil
	}
	return err
}

// PublishVersion makes the next record. Its name is its number, so of several that
// publish at once one wins, and the others find a version that is not theirs.
func (d *kubernetes) PublishVersion(ctx context.Context, spec *driver.ModelSpec, staged, newest string) error {
	a, err := d.connect()
	if err != nil {
		return err
	}
	head, err := a.get(ctx, configMaps, spec.Key.Location, headName(spec.Key.Name))
	if err != nil {
		return err
	}
	files, err := d.stagedFiles(ctx, spec)
	if err != nil {
		return err
	}
	next := strconv.Itoa(number(newest) + 1)
	o := versionRecord(spec, staged, next, files)
	o.SetOwnerReferences(ownedBy(head))
	d.snapshots.forget()
	_, err = a.create(ctx, configMaps, o)
	if !mlerr.Is(err, mlerr.AlreadyExists) {
		return err
	}
	now, read := d.version(ctx, driver.VersionRef{Key: spec.Key, Version: next})
	if read != nil && !mlerr.Is(read, mlerr.NotFound) {
		return read
	}
	var r record
	if read == nil && now.GetDeletionTimestamp() == nil && unmarshal(now, dataRecord, &r) == nil && r.Hash == spec.VersionHash() {
		return nil
	}
	return mlerr.Wrap(err, mlerr.Conflict, "somebody else has published version %s of %s meanwhile", next, spec.Key.Name)
}

func versionRecord(spec *driver.ModelSpec, staged, version string, files []artifact.File) *object {
	o := newObject(configMaps, spec.Key.Location, versionName(spec.Key.Name, version))
	o.SetLabels(marked(nil, labelKind, kindVersion, labelModel, spec.Key.Name, labelVersion, version))
	stored := spec.Artifact
	stored.URI = staged
	content := map[string]any{dataRecord: text(record{spec.VersionHash(), stored, spec.Serving})}
	if sums := sumsOf(files); sums != "" {
		content[dataSums] = sums
	}
	o.Object["data"], o.Object["immutable"] = content, true
	describe(o, spec)
	return o
}

// describe writes what of a version can change.
func describe(o *object, spec *driver.ModelSpec) {
	note(o, noteApproval, string(spec.Approval))
	note(o, noteMetadata, "")
	if len(spec.Metadata) > 0 {
		note(o, noteMetadata, text(spec.Metadata))
	}
}

// UpdateModel rewrites the head.
func (d *kubernetes) UpdateModel(ctx context.Context, spec *driver.ModelSpec, _ *driver.ModelState, current string) error {
	a, err := d.connect()
	if err != nil {
		return err
	}
	head, err := a.get(ctx, configMaps, spec.Key.Location, headName(spec.Key.Name))
	if err != nil {
		return err
	}
	head.SetLabels(marked(spec.Labels, labelKind, kindModel, labelModel, spec.Key.Name))
	note(head, noteIncomplete, "")
	aliases := map[string]string{}
	for _, alias := range spec.Aliases {
		aliases[alias] = current
	}
	head.Object["data"] = map[string]any{dataDescription: spec.Description, dataAliases: text(aliases)}
	d.snapshots.forget()
	_, err = a.update(ctx, configMaps, head)
	return err
}

// UpdateVersion rewrites a record's annotations; the record itself cannot change.
func (d *kubernetes) UpdateVersion(ctx context.Context, spec *driver.ModelSpec, seen *driver.Version) error {
	a, err := d.connect()
	if err != nil {
		return err
	}
	o, err := d.version(ctx, driver.VersionRef{Key: spec.Key, Version: seen.Version})
	if err != nil {
		return err
	}
	describe(o, spec)
	d.snapshots.forget()
	_, err = a.update(ctx, configMaps, o)
	return err
}

// DeleteVersion removes a record that no endpoint refers to. An endpoint that begins
// to refer to it meanwhile finds it gone, and is not made.
func (d *kubernetes) DeleteVersion(ctx context.Context, ref driver.VersionRef) error {
	a, err := d.connect()
	if err != nil {
		return err
	}
	o, err := d.version(ctx, ref)
	if err != nil {
		return gone(err)
	}
	roots, err := a.list(ctx, configMaps, ref.Key.Location, selecting(labelKind, kindEndpoint)+","+uses(ref))
	if err != nil {
		return err
	}
	if len(roots) > 0 {
		return mlerr.New(mlerr.InUse, "the endpoint %s serves %s", roots[0].GetLabels()[labelEndpoint], ref).
			WithHint("Destroy the endpoint first, or let it serve another version")
	}
	d.snapshots.forget()
	return a.remove(ctx, configMaps, o)
}

// DeleteModel removes the head.
func (d *kubernetes) DeleteModel(ctx context.Context, key driver.Key) error {
	a, err := d.connect()
	if err != nil {
		return err
	}
	head, err := a.get(ctx, configMaps, key.Location, headName(key.Name))
	if err != nil || !ours(head) {
		return gone(err)
	}
	versions, err := a.list(ctx, configMaps, key.Location, selecting(labelKind, kindVersion, labelModel, key.Name))
	if err != nil {
		return err
	}
	if len(versions) > 0 {
		return mlerr.New(mlerr.InUse, "the model %s still has version %s", key.Name, versions[0].GetLabels()[labelVersion])
	}
	d.snapshots.forget()
	return a.remove(ctx, configMaps, head)
}

// ownedBy makes an object go with its owner.
func ownedBy(owner *object) []metav1.OwnerReference {
	return []metav1.OwnerReference{{APIVersion: owner.GetAPIVersion(), Kind: owner.GetKind(), Name: owner.GetName(), UID: owner.GetUID()}}
}

// number is a version's; 0 for none.
func number(version string) int {
	n, _ := strconv.Atoi(version)
	return n
}

func data(o *object) map[string]string {
	all := map[string]string{}
	content, _ := o.Object["data"].(map[string]any)
	for k, v := range content {
		all[k], _ = v.(string)
	}
	return all
}

// unmarshal reads JSON that we have put into a ConfigMap. What is not there leaves
// into alone.
func unmarshal(o *object, name string, into any) error {
	content, ok := data(o)[name]
	if !ok {
		return nil
	}
	if err := json.Unmarshal([]byte(content), into); err != nil {
		return mlerr.New(mlerr.Failed, "%s in the ConfigMap %s is not what was written", name, o.GetName()).Because(err).
			WithHint("Somebody has edited it; restore it from a backup, or remove the ConfigMap and apply again")
	}
	return nil
}

// text is v as JSON, its maps sorted.
func text(v any) string {
	written, err := json.Marshal(v)
	if err != nil {
		panic("only plain data is written: " + err.Error())
	}
	return string(written)
}

func sumsOf(files []artifact.File) string {
	var sums strings.Builder
	for _, f := range files {
		fmt.Fprintf(&sums, "%s  %s\n", f.SHA256, f.Path)
	}
	return sums.String()
}

func clone(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return maps.Clone(m)
}
