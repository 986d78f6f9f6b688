// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"context"
	"net/url"
	"strings"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/naming"
)

// datastorePath is what the platform reads a blob by: a path in the datastore of the
// workspace that has the blob's container. Deployments reach no other storage.
func (w *workspace) datastorePath(ctx context.Context, staged string) (string, error) {
	u, err := url.Parse(staged)
	if err != nil || u.Scheme != "https" {
		return staged, nil //nolint:nilerr // the platform's own words for it
	}
	account, _, _ := strings.Cut(u.Hostname(), ".")
	container, path, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	all, err := collect(ctx, w.c.Datastores.NewListPager(w.group, w.name, nil), func(p ml.DatastoresClientListResponse) []*ml.Datastore { return p.Value })
	if err != nil {
		return "", failed(err, "cannot list the datastores of %s", w.location)
	}
	for _, d := range all {
		if b, ok := d.Properties.(*ml.AzureBlobDatastore); ok && strings.EqualFold(deref(b.AccountName), account) && deref(b.ContainerName) == container {
			return w.inDatastore(deref(d.Name), path), nil
		}
	}
	return "", mlerr.New(mlerr.InvalidArgument, "no datastore of the workspace %s has the container %s of the storage account %s", w.location, container, account).At("artifact.uri").
		WithHint("Make a datastore of that container in the workspace, or stage elsewhere: set the provider's azure_ml.staging_uri")
}

// inDatastore is the long form of a path, which the platform shows too.
func (w *workspace) inDatastore(datastore, path string) string {
	return "azureml://subscriptions/" + w.subscription + "/resourcegroups/" + w.group + "/workspaces/" + w.name + "/datastores/" + datastore + "/paths/" + strings.TrimPrefix(path, "/")
}

// recordings are the assets that a deployment records into: named for the user's name
// of it, so that what was recorded survives a rollout. They stay when it goes, as what
// is in them does.
func (w *workspace) recordings(ctx context.Context, endpoint, deployment string, c *driver.Capture) (map[string]string, error) {
	ids := map[string]string{}
	if c == nil {
		return ids, nil
	}
	datastore, path, _ := strings.Cut(strings.TrimPrefix(c.Destination, "azureml://datastores/"), "/paths")
	for _, collection := range c.Include {
		name := strings.ToLower(endpoint + "-" + deployment + "-" + collection)
		uri := w.inDatastore(datastore, strings.Trim(path, "/")+"/"+strings.ToLower(endpoint+"/"+deployment)+"/"+collection)
		number := naming.Hash(uri)[:16]
		_, err := w.c.DataVersions.CreateOrUpdate(ctx, w.group, w.name, name, number, ml.DataVersionBase{Properties: &ml.URIFolderDataVersion{
			DataType: new(ml.DataTypeURIFolder), DataURI: &uri, Tags: pointers(map[string]string{tagManagedBy: managedBy, tagEndpoint: endpoint})}}, nil)
		if err != nil {
			return nil, failed(err, "cannot make the asset that deployment %s of the endpoint %s records into", deployment, endpoint)
		}
		ids[collection] = w.id("data", name, "versions", number)
	}
	return ids, nil
}
