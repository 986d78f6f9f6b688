// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/hardware"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/runtimes"
)

// fitting refuses what the workspace does not allow an endpoint.
func fitting(spec *driver.EndpointSpec, about *ml.Workspace) error {
	p := about.Properties
	var all mlerr.List
	cluster := clusterOf(&spec.Settings) != "" || spec.Unknown.At(attributeCompute)
	if deref(p.V1LegacyMode) && !cluster {
		all.Add(mlerr.New(mlerr.InvalidArgument, "the workspace is in legacy mode, in which it has no managed endpoints").At("location").
			WithHint("Set v1_legacy_mode of the workspace to false"))
	}
	if managed(p) && egressPublic(&spec.Settings) != nil && !spec.Unknown.At(carriedEgress) {
		all.Add(mlerr.New(mlerr.InvalidArgument, "the workspace's managed network decides what deployments reach").At(carriedEgress).
			WithHint("Leave azure_ml.egress_public out, and change the outbound rules of the workspace"))
	}
	if status := managedStatus(p); managed(p) && !cluster && status != "" && !strings.EqualFold(status, string(ml.ManagedNetworkStatusActive)) {
		all.Add(mlerr.New(mlerr.InvalidArgument, "the workspace's managed network is %s", strings.ToLower(status)).At("location").WithHint("%s", networkHint))
	}
	if !spec.Unknown.At("encryption.key") {
		all.Add(sameKey(spec.Settings.Encryption.Key, about))
	}
	return all.Err()
}

func managed(p *ml.WorkspaceProperties) bool {
	return p.ManagedNetwork != nil && p.ManagedNetwork.IsolationMode != nil && *p.ManagedNetwork.IsolationMode != ml.IsolationModeDisabled
}

func managedStatus(p *ml.WorkspaceProperties) string {
	if p.ManagedNetwork == nil || p.ManagedNetwork.Status == nil {
		return ""
	}
	return string(deref(p.ManagedNetwork.Status.Status))
}

// sameKey refuses a key that the workspace is not encrypted with: endpoints have none
// of their own.
func sameKey(key string, about *ml.Workspace) error {
	if key == "" {
		return nil
	}
	e := about.Properties.Encryption
	if e == nil || e.Status == nil || *e.Status != ml.EncryptionStatusEnabled || e.KeyVaultProperties == nil {
		return mlerr.New(mlerr.InvalidArgument, "the workspace has no customer-managed key").At("encryption.key").
			WithHint("Use a workspace that was made with the key: Azure ML cannot set it afterwards")
	}
	is := deref(e.KeyVaultProperties.KeyIdentifier)
	name, version := vaultKey(key)
	isName, isVersion := vaultKey(is)
	if name != isName || version != "" && version != isVersion {
		return mlerr.New(mlerr.InvalidArgument, "the workspace is encrypted with the key %s, and not with %s", is, key).At("encryption.key").
			WithHint("Name the workspace's key, or use another workspace")
	}
	return nil
}

var vaultKeyParts = regexp.MustCompile(`^https://([^/]+)/keys/([^/]+)(?:/([^/]+))?/?$`)

// vaultKey is a key's vault and name, and its version, which have no case.
func vaultKey(id string) (name, version string) {
	m := vaultKeyParts.FindStringSubmatch(strings.ToLower(id))
	if m == nil {
		return strings.ToLower(id), ""
	}
	return m[1] + "/" + m[2], m[3]
}

// keyFits is sameKey of a model's.
func (w *workspace) keyFits(ctx context.Context, key string) error {
	if key == "" {
		return nil
	}
	about, err := w.workspaceInfo(ctx)
	if err != nil {
		return err
	}
	return sameKey(key, about)
}

// Preflight asks the workspace what it would refuse, and warns of quotas that are used
// up and of what callers notice. A plan may run with an identity that can read little:
// what it may not ask is a warning.
func (d *azureML) Preflight(ctx context.Context, spec *driver.EndpointSpec, seen *driver.EndpointState) ([]string, error) {
	if spec.Unknown.Has("location") {
		return nil, nil
	}
	warnings := disruptions(spec, seen)
	if len(spec.Settings.Auth.Invokers) > 0 && d.cfg.InvokerRole == "" {
		warnings = append(warnings, "The principals in auth.invokers get the role AzureML Data Scientist on the endpoint, which lets them change it too: no built-in role can only call. "+
			"For that, set the provider's azure_ml.invoker_role_definition_id to a role with the action Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action")
	}
	if id := identityOf(&spec.Settings); id != "" && seen == nil {
		warnings = append(warnings, "Azure ML gives identities of its own what deployments need, and no other: "+last(id)+" must have Storage Blob Data Reader on the workspace's storage account and AcrPull on its container registry "+
			"before the endpoint is made, so let ml_endpoint depend on those assignments; with capture, Storage Blob Data Contributor too")
	}
	w, err := d.at(spec.Key.Location)
	if err != nil {
		return warnings, err
	}
	about, err := w.workspaceInfo(ctx)
	if mlerr.Is(err, mlerr.PermissionDenied) {
		return append(warnings, "Whether the workspace allows this is not known: the credentials may not read it"), nil
	}
	if err != nil {
		return warnings, err
	}
	if err := fitting(spec, about); err != nil {
		return warnings, err
	}
	if err := d.offline(ctx, spec); err != nil {
		return warnings, err
	}
	if clusterOf(&spec.Settings) != "" || spec.Unknown.At(attributeCompute) {
		more, err := w.clusterFits(ctx, spec)
		return append(warnings, more...), err
	}
	if spec.Settings.Encryption.Key != "" {
		warnings = append(warnings, "The disks of instances are encrypted with Microsoft's keys: the workspace's key is for what it stores")
	}
	more, err := w.quotas(ctx, spec, seen, deref(about.Location))
	return append(warnings, more...), err
}

// offline refuses to cut off MLflow models: their server fetches its packages as it
// starts. Versions that are not there yet, or may not be read, are the platform's to refuse.
func (d *azureML) offline(ctx context.Context, spec *driver.EndpointSpec) error {
	public := egressPublic(&spec.Settings)
	if public == nil || *public || spec.Unknown.At(carriedEgress) {
		return nil
	}
	for i := range spec.Deployments {
		dep := &spec.Deployments[i]
		if ref := dep.Model; ref.Native != "" || ref.Version == "" || spec.Unknown.In("deployments."+dep.Name+".model") {
			continue
		}
		w, err := d.at(dep.Model.Key.Location)
		if err != nil {
			return err
		}
		v, err := w.getVersion(ctx, dep.Model.Key.Name, dep.Model.Version)
		switch {
		case mlerr.Is(err, mlerr.NotFound, mlerr.PermissionDenied):
		case err != nil:
			return err
		case strings.EqualFold(deref(v.Properties.ModelType), runtimes.AzureMLflowModel) && tag(v.Properties.Properties, propertyEnvironment) == "":
			return mlerr.New(mlerr.Unsupported, "azure_ml serves the MLflow model %s with a server that fetches its packages from the internet as it starts", dep.Model).At(carriedEgress).
				WithHint("Leave azure_ml.egress_public out, or publish the model with serving.image")
		}
	}
	return nil
}

// instances are how many instances more than it has a deployment of that name will take,
// and how many the one that is there has: a changed one stands beside it, with as many.
func instances(seen *driver.EndpointState, dep *driver.Deployment, s *driver.Settings) (more, are int) {
	least := max(1, dep.Scaling.Min)
	for i := 0; seen != nil && i < len(seen.Deployments); i++ {
		now := &seen.Deployments[i]
		if now.Name != dep.Name {
			continue
		}
		if contentHash(&now.Deployment, &now.Carried) == contentHash(dep, s) {
			return max(0, least-now.Replicas), now.Replicas
		}
		least = max(least, min(now.Replicas, dep.Scaling.Max))
	}
	return least, 0
}

// quotas compares what new deployments take with what the region has left.
func (w *workspace) quotas(ctx context.Context, spec *driver.EndpointSpec, seen *driver.EndpointState, location string) ([]string, error) {
	need, words := map[string]int{}, map[string][]string{}
	var warnings []string
	for i := range spec.Deployments {
		dep := &spec.Deployments[i]
		more, are := instances(seen, dep, &spec.Settings)
		if spec.Unknown.In("deployments."+dep.Name+".compute") || more == 0 {
			continue
		}
		t, ok := hardware.Lookup(string(driver.AzureML), dep.Compute.InstanceType)
		if !ok {
			warnings = append(warnings, fmt.Sprintf("%s of deployment %s is not in Azure's list of VM sizes for online endpoints: whether it can be used comes out in the apply", dep.Compute.InstanceType, dep.Name))
			continue
		}
		in := family(t.Family())
		need[in] += t.QuotaCores(are+more) - t.QuotaCores(are)
		words[in] = append(words[in], t.QuotaWords(are+more))
	}
	if len(need) == 0 {
		return warnings, nil
	}
	all, err := collect(ctx, w.c.Usages.NewListPager(location, nil), func(p ml.UsagesClientListResponse) []*ml.Usage { return p.Value })
	if err := failed(err, "cannot read the quotas of %s", location); err != nil {
		if mlerr.Is(err, mlerr.PermissionDenied, mlerr.NotFound) {
			return append(warnings, "Whether the quota suffices is not known: the credentials may not read it"), nil
		}
		return warnings, err
	}
	for _, u := range all {
		if u.Name == nil || u.Limit == nil || u.CurrentValue == nil || *u.Limit < 0 {
			continue
		}
		name := family(deref(u.Name.Value))
		if left := *u.Limit - *u.CurrentValue; need[name] > 0 && int64(need[name]) > left {
			warnings = append(warnings, fmt.Sprintf("The quota may not suffice: %s, and of %d in %s %d are left", strings.Join(words[name], "; "), *u.Limit, location, max(0, left)))
		}
	}
	return warnings, nil
}

// family is a VM family as usages and sizes both spell it, more or less.
func family(name string) string {
	name = strings.ToLower(strings.NewReplacer(" ", "", "_", "").Replace(name))
	return strings.TrimSuffix(name, "family")
}

// disruptions are what callers notice of a change.
func disruptions(spec *driver.EndpointSpec, seen *driver.EndpointState) []string {
	if seen == nil || seen.Settings.Auth.Mode == spec.Settings.Auth.Mode || spec.Unknown.At("auth.mode") {
		return nil
	}
	return []string{fmt.Sprintf("Who calls the endpoint with auth.mode = %q is refused from then on: mode %q takes another credential", seen.Settings.Auth.Mode, spec.Settings.Auth.Mode)}
}
