// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"time"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// modelTags are all tags of the name itself, without its aliases.
func modelTags(spec *driver.ModelSpec, adopted string) map[string]string {
	tags := map[string]string{tagManagedBy: managedBy, tagModel: spec.Key.Name}
	if adopted != "" {
		tags[tagAdopted] = adopted
	}
	if spec.EncryptionKey != "" {
		tags[tagKey] = spec.EncryptionKey
	}
	if named := registryWanted(spec); named != "" {
		tags[tagRegistry] = named
	}
	maps.Copy(tags, spec.Labels)
	return tags
}

// versionTags are what can change of a version, and what it is found by.
func versionTags(hash, digest string, approval driver.Approval, metadata map[string]string) map[string]string {
	tags := map[string]string{tagHash: hash, tagDigest: digest, tagApproval: string(approval)}
	if len(metadata) > 0 {
		data, err := json.Marshal(metadata)
		if err != nil {
			panic("metadata are plain data: " + err.Error())
		}
		tags[tagMetadata] = string(data)
	}
	maps.DeleteFunc(tags, func(_, v string) bool { return v == "" })
	return tags
}

func createdAt(v *version) time.Time {
	if v.SystemData == nil || v.SystemData.CreatedAt == nil {
		return time.Time{}
	}
	return v.SystemData.CreatedAt.UTC()
}

// CreateModel makes the name. A PUT would take over what is there, so that is looked
// for first.
func (d *azureML) CreateModel(ctx context.Context, spec *driver.ModelSpec) error {
	w, err := d.at(spec.Key.Location)
	if err != nil {
		return err
	}
	now, err := w.getContainer(ctx, spec.Key.Name)
	switch {
	case err == nil && ownedModel(now, spec.Key.Name):
		return nil
	case err == nil:
		return mlerr.New(mlerr.AlreadyExists, "the model %s exists, and this provider has not made it", spec.Key.ID())
	case !mlerr.Is(err, mlerr.NotFound):
		return err
	}
	if err := w.keyFits(ctx, spec.EncryptionKey); err != nil {
		return err
	}
	tags := modelTags(spec, "")
	tags[tagIncomplete] = yes
	return w.putContainer(ctx, spec.Key.Name, &ml.ModelContainerProperties{Description: describe(spec.Description), Tags: pointers(tags)})
}

// describe leaves out what is empty.
func describe(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func (w *workspace) putContainer(ctx context.Context, name string, p *ml.ModelContainerProperties) error {
	_, err := w.c.ModelContainers.CreateOrUpdate(ctx, w.group, w.name, name, container{Properties: p}, nil)
	return failed(err, "cannot change the model %s", name)
}

// PublishVersion makes the next version. Its number is ours to choose, so that it is
// the same one when this is repeated.
func (d *azureML) PublishVersion(ctx context.Context, spec *driver.ModelSpec, staged, newest string) error {
	w, err := d.at(spec.Key.Location)
	if err != nil {
		return err
	}
	name := spec.Key.Name
	all, err := w.versions(ctx, name)
	if err := gone(err); err != nil {
		return err
	}
	var to *registry
	before, most := number(newest), number(newest)
	if named := registryWanted(spec); named != "" {
		if to, err = w.registryOf(named); err != nil {
			return err
		}
		copies, err := to.copies(ctx, name)
		if err != nil {
			return err
		}
		most = highest(most, copies)
	}
	for _, v := range all {
		n := number(*v.Name)
		most = max(most, n)
		if n > before && tag(v.Properties.Tags, tagHash) == spec.VersionHash() {
			if to == nil {
				return nil
			}
			return w.share(ctx, to, name, *v.Name)
		}
	}
	how, err := contract(spec)
	if err != nil {
		return err
	}
	properties := map[string]string{propertyFormat: spec.Artifact.Format, propertyServing: servingText(&spec.Serving), propertyArtifact: staged}
	if to != nil {
		properties[propertyRegistry] = spec.AzureML.Registry
	}
	if how.image != "" {
		if properties[propertyEnvironment], err = w.environment(ctx, name, how); err != nil {
			return err
		}
	}
	uri, err := w.datastorePath(ctx, staged)
	if err != nil {
		return err
	}
	p := &ml.ModelVersionProperties{ModelType: &how.model, ModelURI: &uri, Description: describe(spec.Description), Properties: pointers(properties),
		Tags: pointers(versionTags(spec.VersionHash(), spec.Artifact.Digest, spec.Approval, spec.Metadata))}
	_, err = w.c.ModelVersions.CreateOrUpdate(ctx, w.group, w.name, name, fmt.Sprint(most+1), version{Properties: p}, nil)
	err = failed(err, "cannot publish version %d of %s", most+1, spec.Key.ID())
	if s := heardIn(err); s != nil && strings.Contains(s.Error(), otherBytes) {
		return mlerr.Wrap(err, mlerr.Conflict, "somebody else has published version %d of %s meanwhile", most+1, spec.Key.ID())
	}
	if err != nil || to == nil {
		return err
	}
	return w.share(ctx, to, name, fmt.Sprint(most+1))
}

// otherBytes is what the platform says where the version is there, with other bytes.
const otherBytes = "Asset paths cannot be updated"

func servingText(s *driver.Serving) string {
	data, err := json.Marshal(s)
	if err != nil {
		panic("a contract is plain data: " + err.Error())
	}
	return string(data)
}

// UpdateModel makes the name's own fields what spec says, and points the aliases to the
// current version: no earlier one of ours keeps any. Of a model that it so adopts it
// notes up to which version there was something.
func (d *azureML) UpdateModel(ctx context.Context, spec *driver.ModelSpec, seen *driver.ModelState, current string) error {
	w, err := d.at(spec.Key.Location)
	if err != nil {
		return err
	}
	adopted := ""
	for i := range seen.Versions {
		if v := &seen.Versions[i]; v.Adopted || (!seen.Marks.Owned && !v.Owned) {
			adopted = v.Version // ascending
		}
	}
	now, err := w.getContainer(ctx, spec.Key.Name)
	if err != nil {
		return err
	}
	tags := modelTags(spec, adopted)
	for k, v := range now.Properties.Tags { // those of somebody else's versions stay
		if of := seen.Find(deref(v)); strings.HasPrefix(k, tagAlias) && of != nil && !of.Owned && of.Version != current {
			tags[k] = *v
		}
	}
	for _, alias := range spec.Aliases {
		tags[tagAlias+alias] = current
	}
	return w.putContainer(ctx, spec.Key.Name, &ml.ModelContainerProperties{Description: new(spec.Description), IsArchived: now.Properties.IsArchived,
		Properties: now.Properties.Properties, Tags: pointers(tags)})
}

// UpdateVersion makes approval and metadata what spec says, and repeats the rest: a PUT
// replaces everything.
func (d *azureML) UpdateVersion(ctx context.Context, spec *driver.ModelSpec, seen *driver.Version) error {
	w, err := d.at(spec.Key.Location)
	if err != nil {
		return err
	}
	now, err := w.getVersion(ctx, spec.Key.Name, seen.Version)
	if err != nil {
		return err
	}
	p := *now.Properties
	p.ProvisioningState, p.Tags = nil, maps.Clone(p.Tags)
	if p.Tags == nil {
		p.Tags = map[string]*string{}
	}
	delete(p.Tags, tagMetadata)
	maps.Copy(p.Tags, pointers(versionTags(seen.Hash, seen.Artifact.Digest, spec.Approval, spec.Metadata)))
	_, err = w.c.ModelVersions.CreateOrUpdate(ctx, w.group, w.name, spec.Key.Name, seen.Version, version{Properties: &p}, nil)
	return failed(err, "cannot update version %s of %s", seen.Version, spec.Key.ID())
}

// DeleteVersion removes a version, its aliases first, and the environment that only it
// was served by. Whether something serves it the platform may not say.
func (d *azureML) DeleteVersion(ctx context.Context, ref driver.VersionRef) error {
	w, err := d.at(ref.Key.Location)
	if err != nil {
		return err
	}
	name := ref.Key.Name
	all, err := w.versions(ctx, name)
	if err != nil {
		return gone(err)
	}
	environment, still := "", map[string]bool{}
	var own *version
	for _, v := range all {
		id := strings.ToLower(tag(v.Properties.Properties, propertyEnvironment))
		if *v.Name == ref.Version {
			environment, own = id, v
		} else {
			still[id] = true
		}
	}
	by, err := w.servers(ctx, name)
	if err != nil {
		return err
	}
	if who := by[strings.ToLower(ref.Version)]; len(who) > 0 {
		return mlerr.New(mlerr.InUse, "the version %s is served by the deployment %s", ref, who[0]).
			WithHint("Serve another version there, or destroy that endpoint first")
	}
	if err := w.dropAliases(ctx, name, ref.Version); err != nil {
		return err
	}
	if own != nil {
		if err := w.unshare(ctx, name, own); err != nil {
			return err
		}
	}
	if environment != "" && !still[environment] {
		if err := w.dropEnvironment(ctx, environment); err != nil {
			return err
		}
	}
	_, err = w.c.ModelVersions.Delete(ctx, w.group, w.name, name, ref.Version, nil)
	return gone(failed(err, "cannot delete the version %s", ref))
}

// dropAliases takes away the aliases of a version.
func (w *workspace) dropAliases(ctx context.Context, name, number string) error {
	now, err := w.getContainer(ctx, name)
	if err != nil {
		return gone(err)
	}
	p := *now.Properties
	p.Tags = maps.Clone(p.Tags)
	maps.DeleteFunc(p.Tags, func(k string, v *string) bool { return strings.HasPrefix(k, tagAlias) && deref(v) == number })
	if len(p.Tags) == len(now.Properties.Tags) {
		return nil
	}
	return gone(w.putContainer(ctx, name, &ml.ModelContainerProperties{Description: p.Description, IsArchived: p.IsArchived, Properties: p.Properties, Tags: p.Tags}))
}

// DeleteModel removes the name, with what a publication that was cut off has left.
func (d *azureML) DeleteModel(ctx context.Context, key driver.Key) error {
	w, err := d.at(key.Location)
	if err != nil {
		return err
	}
	if err := w.leaveRegistry(ctx, key.Name); err != nil {
		return err
	}
	all, err := w.versions(ctx, key.Name)
	if err := gone(err); err != nil {
		return err
	}
	if len(all) > 0 {
		return mlerr.New(mlerr.InUse, "the model %s still has version %s", key.ID(), *all[0].Name)
	}
	if err := w.dropEnvironments(ctx, key.Name); err != nil {
		return err
	}
	_, err = w.c.ModelContainers.Delete(ctx, w.group, w.name, key.Name, nil)
	return gone(failed(err, "cannot delete the model %s", key.ID()))
}
