// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"context"
	"regexp"
	"slices"
	"strings"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// A model with azure_ml.registry is kept in the workspace, and each of its versions is
// published to the registry under the same name and number: the platform copies its
// files there. A version counts once its copy is there, so that a publication that was
// cut off is gone on with. Endpoints serve the copy.

var (
	registryName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{1,32}$`)
	registryID   = regexp.MustCompile(`(?i)^/subscriptions/([^/]+)/resourceGroups/([^/]+)/providers/Microsoft\.MachineLearningServices/registries/([a-zA-Z0-9][a-zA-Z0-9_-]{1,32})$`)

	// registryModel is the id of a model in a registry, which workspaces share.
	registryModel = regexp.MustCompile(`^azureml://registries/([^/]+)/models/([^/]+)/versions/([^/]+)$`)
)

// registry is where a model's versions are published to.
type registry struct {
	group, name string
	c           clients
}

// registryOf is the registry that the user names: by its name one in the workspace's
// group, by its id any.
func (w *workspace) registryOf(named string) (*registry, error) {
	m := registryID.FindStringSubmatch(named)
	if m == nil {
		return &registry{w.group, named, w.c}, nil
	}
	if strings.EqualFold(m[1], w.subscription) {
		return &registry{m[2], m[3], w.c}, nil
	}
	c, err := w.d.clients(m[1])
	if err != nil {
		return nil, mlerr.New(mlerr.InvalidArgument, "the Azure clients cannot be made").Because(err)
	}
	return &registry{m[2], m[3], c}, nil
}

func registryWanted(spec *driver.ModelSpec) string {
	if spec.AzureML == nil {
		return ""
	}
	return spec.AzureML.Registry
}

// publishedTo is the registry of a model: as noted on it, or on a version of it.
func publishedTo(c *container, all []*version) string {
	if named := tag(c.Properties.Tags, tagRegistry); named != "" || !ownedModel(c, deref(c.Name)) {
		return named
	}
	for _, v := range slices.Backward(all) {
		if named := tag(v.Properties.Properties, propertyRegistry); named != "" {
			return named
		}
	}
	return ""
}

// id is the address of a copy.
func (r *registry) id(model, number string) string {
	return "azureml://registries/" + r.name + "/models/" + model + "/versions/" + number
}

// copies are the versions in the registry, by number in lower case, whoever made them.
func (r *registry) copies(ctx context.Context, model string) (map[string]*version, error) {
	all, err := collect(ctx, r.c.RegistryModelVersions.NewListPager(r.group, r.name, model, nil),
		func(p ml.RegistryModelVersionsClientListResponse) []*version { return p.Value })
	if err := gone(failed(err, "cannot list the versions of the model %s in the registry %s", model, r.name)); err != nil {
		return nil, err
	}
	found := make(map[string]*version, len(all))
	for _, v := range all {
		if v.Name != nil && v.Properties != nil {
			found[strings.ToLower(*v.Name)] = v
		}
	}
	return found, nil
}

// copyOf is one of them, nil if it is not there.
func (r *registry) copyOf(ctx context.Context, model, number string) (*version, error) {
	got, err := r.c.RegistryModelVersions.Get(ctx, r.group, r.name, model, number, nil)
	if err := failed(err, "cannot read the version %s of the model %s in the registry %s", number, model, r.name); err != nil {
		return nil, gone(err)
	}
	if got.ModelVersion.Properties == nil {
		return nil, mlerr.New(mlerr.Unavailable, "cannot read the version %s of the model %s in the registry %s: the answer says nothing of it", number, model, r.name)
	}
	return &got.ModelVersion, nil
}

// sameVersion reports whether a copy is of a version of ours, and not of somebody
// else's that has its number.
func sameVersion(v, copied *version) bool {
	return tag(v.Properties.Tags, tagHash) == tag(copied.Properties.Tags, tagHash)
}

// shared adds to a version what its copy shows.
func shared(s *driver.Version, v, copied *version) {
	if !sameVersion(v, copied) {
		s.Phase, s.Reason = driver.Failed, "the registry has a version "+s.Version+" of somebody else's"
		return
	}
	if phase, reason := assetPhase(copied.Properties.ProvisioningState); phase != driver.Ready {
		s.Phase = phase
		if reason != "" {
			s.Reason = "in the registry " + reason
		}
	}
}

// share publishes a version of the workspace, unless its number is taken already.
func (w *workspace) share(ctx context.Context, r *registry, model, number string) error {
	copied, err := r.copyOf(ctx, model, number)
	if err != nil || copied != nil {
		return err
	}
	_, err = w.c.ModelVersions.BeginPublish(ctx, w.group, w.name, model, number, ml.DestinationAsset{DestinationName: &model, DestinationVersion: &number, RegistryName: &r.name}, nil)
	if err := failed(err, "cannot publish version %s of the model %s to the registry %s", number, model, r.name); err != nil {
		if mlerr.Is(err, mlerr.NotFound) {
			return mlerr.New(mlerr.InvalidArgument, "").Because(err).At("azure_ml.registry").WithHint("Name a registry by its name, if it is in the workspace's resource group, or by its id")
		}
		return err
	}
	return nil
}

// unshare removes the copy of a version. The version itself stays until that has gone,
// which is Busy: it is what tells of the copy.
func (w *workspace) unshare(ctx context.Context, model string, v *version) error {
	named := tag(v.Properties.Properties, propertyRegistry)
	if named == "" {
		return nil
	}
	r, err := w.registryOf(named)
	if err != nil {
		return err
	}
	copied, err := r.copyOf(ctx, model, *v.Name)
	if err != nil || copied == nil || !sameVersion(v, copied) {
		return err
	}
	if phase, _ := assetPhase(copied.Properties.ProvisioningState); phase != driver.Deleting {
		_, err := r.c.RegistryModelVersions.BeginDelete(ctx, r.group, r.name, model, *v.Name, nil)
		if err := failed(err, "cannot delete the version %s of the model %s from the registry %s", *v.Name, model, r.name); err != nil {
			return gone(err)
		}
	}
	return mlerr.New(mlerr.Busy, "version %s of the model %s is being deleted from the registry %s", *v.Name, model, r.name)
}

// unfinished are versions whose publication was cut off before it came to the registry.
func unfinished(all []*version, copies map[string]*version) []*version {
	var found []*version
	for _, v := range all {
		if tag(v.Properties.Properties, propertyRegistry) != "" && copies[strings.ToLower(*v.Name)] == nil {
			found = append(found, v)
		}
	}
	return found
}

// leaveRegistry removes what a publication that was cut off has left of a model, and its
// name from the registry if nobody else has a version there.
func (w *workspace) leaveRegistry(ctx context.Context, model string) error {
	c, err := w.getContainer(ctx, model)
	if err != nil {
		return gone(err)
	}
	all, err := w.versions(ctx, model)
	if err := gone(err); err != nil {
		return err
	}
	named := publishedTo(c, all)
	if named == "" {
		return nil
	}
	r, err := w.registryOf(named)
	if err != nil {
		return err
	}
	copies, err := r.copies(ctx, model)
	if err != nil {
		return err
	}
	for _, v := range unfinished(all, copies) {
		_, err := w.c.ModelVersions.Delete(ctx, w.group, w.name, model, *v.Name, nil)
		if err := gone(failed(err, "cannot delete version %s of the model %s", *v.Name, model)); err != nil {
			return err
		}
	}
	if len(copies) > 0 {
		return nil
	}
	_, err = r.c.RegistryModels.BeginDelete(ctx, r.group, r.name, model, nil)
	err = gone(failed(err, "cannot delete the model %s from the registry %s", model, r.name))
	if mlerr.Is(err, mlerr.InUse) { // somebody else has published there meanwhile
		return nil
	}
	return err
}

// sharedStates are the versions of a model that are in its registry, and those that are
// not meant to be.
func (w *workspace) sharedStates(ctx context.Context, s *driver.ModelState, all []*version) error {
	r, err := w.registryOf(s.AzureML.Registry)
	if err != nil {
		return err
	}
	copies, err := r.copies(ctx, s.Key.Name)
	if err != nil {
		return err
	}
	absent := map[string]bool{}
	for _, v := range unfinished(all, copies) {
		absent[*v.Name] = true
	}
	of := map[string]*version{}
	for _, v := range all {
		if tag(v.Properties.Properties, propertyRegistry) != "" {
			of[*v.Name] = v
		}
	}
	var there []driver.Version
	for i := range s.Versions {
		v := &s.Versions[i]
		if absent[v.Version] {
			continue
		}
		if own := of[v.Version]; own != nil {
			shared(v, own, copies[strings.ToLower(v.Version)])
		}
		there = append(there, *v)
	}
	s.Versions = there
	return nil
}

// highest is the highest number of any version.
func highest(most int, copies map[string]*version) int {
	for name := range copies {
		most = max(most, number(name))
	}
	return most
}
