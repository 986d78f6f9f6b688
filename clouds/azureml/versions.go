// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"sort"
	"strconv"
	"strings"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"golang.org/x/sync/errgroup"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

type (
	container = ml.ModelContainer
	version   = ml.ModelVersion
)

// number is a version's, 0 of one that somebody has named otherwise.
func number(v string) int {
	n, _ := strconv.Atoi(v)
	return n
}

func (w *workspace) getContainer(ctx context.Context, name string) (*container, error) {
	got, err := w.c.ModelContainers.Get(ctx, w.group, w.name, name, nil)
	if err != nil {
		return nil, failed(err, "cannot read the model %s", name)
	}
	if got.ModelContainer.Properties == nil {
		return nil, mlerr.New(mlerr.Unavailable, "cannot read the model %s: the answer says nothing of it", name)
	}
	return &got.ModelContainer, nil
}

func (w *workspace) getVersion(ctx context.Context, name, number string) (*version, error) {
	got, err := w.c.ModelVersions.Get(ctx, w.group, w.name, name, number, nil)
	if err != nil {
		return nil, failed(err, "cannot read the version %s of the model %s", number, name)
	}
	if got.ModelVersion.Properties == nil {
		return nil, mlerr.New(mlerr.Unavailable, "cannot read the version %s of the model %s: the answer says nothing of it", number, name)
	}
	return &got.ModelVersion, nil
}

// versions lists a model's versions, the oldest first. Those that were archived still
// can be served.
func (w *workspace) versions(ctx context.Context, name string) ([]*version, error) {
	all, err := collect(ctx, w.c.ModelVersions.NewListPager(w.group, w.name, name, &ml.ModelVersionsClientListOptions{ListViewType: new(ml.ListViewTypeAll)}),
		func(p ml.ModelVersionsClientListResponse) []*version { return p.Value })
	if err != nil {
		return nil, failed(err, "cannot list the versions of the model %s", name)
	}
	all = slices.DeleteFunc(all, func(v *version) bool { return v.Name == nil || v.Properties == nil })
	slices.SortFunc(all, func(a, b *version) int {
		return cmp.Or(cmp.Compare(number(*a.Name), number(*b.Name)), createdAt(a).Compare(createdAt(b)), cmp.Compare(*a.Name, *b.Name))
	})
	return all, nil
}

// ObserveModel reads a model with all its versions.
func (d *azureML) ObserveModel(ctx context.Context, key driver.Key, _ *driver.ModelState) (*driver.ModelState, error) {
	w, err := d.at(key.Location)
	if err != nil {
		return nil, err
	}
	var c *container
	var all []*version
	group, inner := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		c, err = w.getContainer(inner, key.Name)
		return err
	})
	group.Go(func() (err error) {
		all, err = w.versions(inner, key.Name)
		return gone(err) // which the container tells
	})
	if err := group.Wait(); err != nil {
		return nil, err
	}
	p := c.Properties
	s := &driver.ModelState{Key: key, NativeID: w.id("models", key.Name), Description: deref(p.Description), Labels: ownLabels(p.Tags), EncryptionKey: tag(p.Tags, tagKey),
		Marks: driver.Marks{Owned: ownedModel(c, key.Name), Incomplete: tag(p.Tags, tagIncomplete) == yes}}
	aliases, adopted := aliasesOf(p.Tags), number(tag(p.Tags, tagAdopted))
	for _, v := range all {
		state := w.versionState(key.Name, v)
		state.Aliases = aliases[state.Version]
		state.Adopted = !state.Owned && tag(p.Tags, tagAdopted) != "" && number(state.Version) <= adopted
		s.Versions = append(s.Versions, state)
	}
	if named := publishedTo(c, all); named != "" {
		s.AzureML = &driver.AzureMLModel{Registry: named}
		return s, w.sharedStates(ctx, s, all)
	}
	return s, nil
}

func ownedModel(c *container, name string) bool {
	return tag(c.Properties.Tags, tagManagedBy) == managedBy && strings.EqualFold(tag(c.Properties.Tags, tagModel), name)
}

// ownLabels are the tags of a model that the user sees.
func ownLabels(tags map[string]*string) map[string]string {
	found := users(tags)
	for k := range found {
		if strings.HasPrefix(k, tagAlias) {
			delete(found, k)
		}
	}
	return nonEmpty(found)
}

// aliasesOf are the aliases of each version.
func aliasesOf(tags map[string]*string) map[string][]string {
	found := map[string][]string{}
	for k, v := range tags {
		if alias, ok := strings.CutPrefix(k, tagAlias); ok && v != nil {
			found[*v] = append(found[*v], alias)
		}
	}
	for _, all := range found {
		sort.Strings(all)
	}
	return found
}

// ObserveVersion reads one version.
func (d *azureML) ObserveVersion(ctx context.Context, ref driver.VersionRef) (*driver.Version, error) {
	w, err := d.at(ref.Key.Location)
	if err != nil {
		return nil, err
	}
	v, err := w.getVersion(ctx, ref.Key.Name, ref.Version)
	if err != nil {
		return nil, err
	}
	s := w.versionState(ref.Key.Name, v)
	named := tag(v.Properties.Properties, propertyRegistry)
	if named == "" {
		return &s, nil
	}
	r, err := w.registryOf(named)
	if err != nil {
		return nil, err
	}
	copied, err := r.copyOf(ctx, ref.Key.Name, ref.Version)
	if err == nil && copied == nil {
		err = mlerr.New(mlerr.NotFound, "the version %s is not in the registry %s", ref, r.name)
	}
	if err != nil {
		return nil, err
	}
	shared(&s, v, copied)
	return &s, nil
}

// assetPhase translates the state of an asset, which in a workspace it may be without.
func assetPhase(state *ml.AssetProvisioningState) (phase driver.Phase, reason string) {
	switch deref(state) {
	case ml.AssetProvisioningStateCreating, ml.AssetProvisioningStateUpdating:
		return driver.Changing, ""
	case ml.AssetProvisioningStateDeleting:
		return driver.Deleting, ""
	case ml.AssetProvisioningStateFailed, ml.AssetProvisioningStateCanceled:
		return driver.Failed, "its state is " + string(*state)
	}
	return driver.Ready, ""
}

// versionState translates a version. One that was made by hand is taken to be
// approved: nobody has said otherwise.
func (w *workspace) versionState(model string, v *version) driver.Version {
	p, name := v.Properties, deref(v.Name)
	s := driver.Version{Version: name, NativeID: w.id("models", model, "versions", name), Hash: tag(p.Tags, tagHash), Approval: driver.Approval(tag(p.Tags, tagApproval)),
		Phase: driver.Ready, CreatedAt: createdAt(v), Artifact: driver.Artifact{URI: cmp.Or(tag(p.Properties, propertyArtifact), deref(p.ModelURI)), Digest: tag(p.Tags, tagDigest),
			Format: tag(p.Properties, propertyFormat)}}
	s.Owned = s.Hash != ""
	s.Phase, s.Reason = assetPhase(p.ProvisioningState)
	if s.Approval == "" {
		s.Approval = driver.Approved
	}
	if text := tag(p.Tags, tagMetadata); text != "" {
		_ = json.Unmarshal([]byte(text), &s.Metadata) // what is not ours to read is no metadata
		s.Metadata = nonEmpty(s.Metadata)
	}
	if text := tag(p.Properties, propertyServing); text != "" && json.Unmarshal([]byte(text), &s.Serving) == nil {
		return s
	}
	s.Description = deref(p.Description)
	s.Artifact.Format, s.Serving.Runtime = guess(deref(p.ModelType))
	return s
}

// guess is what the kind of a model tells of one that was registered by hand.
func guess(kind string) (format, runtime string) {
	switch {
	case strings.EqualFold(kind, runtimes.AzureMLflowModel):
		return "mlflow", runtimes.MLflow
	case strings.EqualFold(kind, runtimes.AzureTritonModel):
		return "triton", runtimes.Triton
	}
	return "custom", ""
}

// servers are the deployments in the workspace that serve one of a model's versions,
// by version in lower case. No list has them all.
func (w *workspace) servers(ctx context.Context, name string) (map[string][]string, error) {
	w.endpoints.forget()
	endpoints, err := w.listed(ctx)
	if err != nil {
		return nil, err
	}
	found := make(chan [2]string)
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(manyReads)
	go func() {
		defer close(found)
		for _, e := range endpoints {
			group.Go(func() error {
				all, err := w.deployments(inner, *e.Name)
				for _, d := range all {
					if served, number, ok := w.servedBy(d); ok && strings.EqualFold(served, name) {
						found <- [2]string{strings.ToLower(number), *e.Name + "/" + deref(d.Name)}
					}
				}
				return gone(err)
			})
		}
		err = group.Wait()
	}()
	by := map[string][]string{}
	for f := range found {
		by[f[0]] = append(by[f[0]], f[1])
	}
	return by, err
}

// servedBy is the version of the workspace that a deployment serves, itself or its copy
// in a registry.
func (w *workspace) servedBy(d *deployment) (model, number string, ok bool) {
	id := deref(d.Properties.GetOnlineDeploymentProperties().Model)
	if m := versionID.FindStringSubmatch(id); len(m) > 0 {
		return m[4], m[5], strings.EqualFold(m[3], w.name) && strings.EqualFold(m[2], w.group)
	}
	return ofRegistry(d, id)
}

// ofRegistry is the version of ours that a copy in a registry is of, as noted on the
// deployment.
func ofRegistry(d *deployment, id string) (model, number string, ok bool) {
	m := registryModel.FindStringSubmatch(id)
	if len(m) == 0 || !strings.EqualFold(tag(d.Tags, tagModel), m[2]+"@"+m[3]) {
		return "", "", false
	}
	model, number, ok = strings.Cut(tag(d.Tags, tagModel), "@")
	return model, number, ok
}

// manyReads is how many reads go on at once.
const manyReads = 8

// served is what a version brings along to a deployment of it.
func (d *azureML) served(ctx context.Context, dep *driver.Deployment) (from served, err error) {
	if from.modelID, err = d.modelID(dep.Model); err != nil || dep.Model.Native != "" {
		return from, err
	}
	w, err := d.at(dep.Model.Key.Location)
	if err != nil {
		return from, err
	}
	v, err := w.getVersion(ctx, dep.Model.Key.Name, dep.Model.Version)
	if mlerr.Is(err, mlerr.NotFound) {
		return from, mlerr.New(mlerr.InvalidArgument, "model version %s does not exist", dep.Model).At("deployments.%s.model", dep.Name)
	}
	if err != nil {
		return from, err
	}
	if named := tag(v.Properties.Properties, propertyRegistry); named != "" {
		r, err := w.registryOf(named)
		if err != nil {
			return from, err
		}
		from.modelID = r.id(dep.Model.Key.Name, dep.Model.Version)
	}
	state := w.versionState(dep.Model.Key.Name, v)
	from.env, from.environment = state.Serving.Env, tag(v.Properties.Properties, propertyEnvironment)
	if from.environment == "" && strings.EqualFold(deref(v.Properties.ModelType), runtimes.AzureCustomModel) {
		return from, mlerr.New(mlerr.InvalidArgument, "model version %s says nothing of how it is served", dep.Model).At("deployments.%s.model", dep.Name).
			WithHint("Publish it with an ml_model that has serving.image, or register it as an MLflow or Triton model")
	}
	if strings.EqualFold(deref(v.Properties.ModelType), runtimes.AzureTritonModel) && from.environment == "" {
		from.path, _, _, _ = runtimes.Routes("v2", dep.Model.Key.Name)
	}
	return from, nil
}
