// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"time"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
)

// defaultLocation is where what nobody has placed is.
const defaultLocation = "eastus"

// workspace is a workspace or a registry.
type workspace struct {
	ID      string
	Created time.Time
	Changed time.Time
	Deleted bool
	ARM     *ml.Workspace
}

func (w *workspace) location() string { return plainLocation(value(w.ARM.Location)) }

// isolated reports whether the workspace has a managed network.
func (w *workspace) isolated() bool {
	n := w.ARM.Properties.ManagedNetwork
	return n != nil && n.IsolationMode != nil && *n.IsolationMode != ml.IsolationModeDisabled
}

// plain is a document of a resource that is kept as it came.
type plain struct {
	ID      string
	Created time.Time
	Changed time.Time
	Deleted bool
	Body    map[string]any
}

func workspaceRoutes() []*route {
	return []*route{
		{name: "workspaces.get", pattern: "GET workspaces/*", handle: getWorkspace},
		{name: "workspaces.list", pattern: "GET workspaces", handle: listWorkspaces, query: []string{"$skip", "kind"}},
		{name: "workspaces.createOrUpdate", pattern: "PUT workspaces/*", handle: putWorkspace},
		{name: "workspaces.delete", pattern: "DELETE workspaces/*", handle: deleteWorkspace, query: []string{"forceToPurge"}},
		{name: "registries.get", pattern: "GET registries/*", handle: getRegistry},
		{name: "registries.delete", pattern: "DELETE registries/*", handle: deleteWorkspace},
		{name: "compute.get", pattern: "GET workspaces/*/computes/*", handle: getCompute},
		{name: "compute.list", pattern: "GET workspaces/*/computes", handle: listComputes, query: []string{"$skip"}},
		{name: "compute.createOrUpdate", pattern: "PUT workspaces/*/computes/*", handle: putCompute},
		{name: "compute.delete", pattern: "DELETE workspaces/*/computes/*", handle: deleteCompute, query: []string{"underlyingResourceAction"}},
		{name: "usages.list", pattern: "GET locations/*/usages", handle: listUsages},
		{name: "quotas.list", pattern: "GET locations/*/quotas", handle: listUsages},
		{name: "virtualMachineSizes.list", pattern: "GET locations/*/vmSizes", handle: listSizes},
	}
}

var workspaceName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}$`)

// workspace finds the workspace or the registry of the request. One that nobody has
// made is there, as a new one would be.
func (r *request) workspace() (*workspace, error) { return r.workspaceOf(r.up(len(r.names) - 1)) }

func (r *request) workspaceOf(at target) (*workspace, error) {
	if !workspaceName.MatchString(at.name()) {
		return nil, notFound(at)
	}
	w := &workspace{}
	found, err := r.tx.Get(kindWorkspace, at.key(), w)
	switch {
	case err != nil:
		return nil, err
	case w.Deleted:
		return nil, notFound(at)
	case !found:
		w = &workspace{ID: at.id(), ARM: &ml.Workspace{Location: new(defaultLocation), Properties: &ml.WorkspaceProperties{}}}
		w.Created = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
		w.Changed = w.Created
	}
	return w, nil
}

// account is the storage account of a workspace or a registry, and the container of
// its default datastore.
func (w *workspace) account() (account, container string) {
	id := guid(strings.ToLower(w.ID))
	return "st" + strings.ReplaceAll(id, "-", "")[:16], "azureml-blobstore-" + id
}

// view is the workspace as it is answered.
func (w *workspace) view() (map[string]any, error) {
	arm := *w.ARM
	at, _ := parseID(w.ID)
	p := *arm.Properties
	arm.Properties = &p
	arm.ID, arm.Name, arm.Type = new(w.ID), new(at.name()), new(at.kind())
	if arm.Identity == nil {
		arm.Identity = identityOf(nil, w.ID)
	}
	account, _ := w.account()
	group := "/subscriptions/" + at.sub + "/resourceGroups/" + at.group + "/providers/"
	for field, id := range map[**string]string{
		&p.StorageAccount: group + "Microsoft.Storage/storageAccounts/" + account, &p.KeyVault: group + "Microsoft.KeyVault/vaults/" + account,
		&p.ApplicationInsights: group + "Microsoft.Insights/components/" + account, &p.ContainerRegistry: group + "Microsoft.ContainerRegistry/registries/" + account,
	} {
		if *field == nil {
			*field = new(id)
		}
	}
	if p.Encryption == nil {
		p.Encryption = &ml.EncryptionProperty{Status: new(ml.EncryptionStatusDisabled)}
	}
	if p.ManagedNetwork == nil {
		p.ManagedNetwork = &ml.ManagedNetworkSettings{IsolationMode: new(ml.IsolationModeDisabled)}
	}
	if p.PublicNetworkAccess == nil {
		p.PublicNetworkAccess = new(ml.PublicNetworkAccessEnabled)
	}
	for _, flag := range []**bool{&p.HbiWorkspace, &p.V1LegacyMode} {
		if *flag == nil {
			*flag = new(false)
		}
	}
	p.FriendlyName, p.WorkspaceID, p.TenantID = new(at.name()), new(guid(strings.ToLower(w.ID))), new(tenant)
	p.ProvisioningState = new(ml.ProvisioningStateSucceeded)
	return shown(arm, w.Created, w.Changed)
}

func getWorkspace(r *request) (*reply, error) {
	w, err := r.workspace()
	if err != nil {
		return nil, err
	}
	view, err := w.view()
	return ok(view), err
}

// listWorkspaces lists those that somebody has made, of a resource group or of the
// whole subscription.
func listWorkspaces(r *request) (*reply, error) {
	return r.page(kindWorkspace, strings.ToLower(r.scope)+"/", 0, func(key string, data []byte) (any, error) {
		w := &workspace{}
		if at, is := parseID(key); !is || at.types[0] != "workspaces" {
			return nil, nil
		}
		if err := json.Unmarshal(data, w); err != nil || w.Deleted {
			return nil, err
		}
		return w.view()
	})
}

// putWorkspace answers at once that it is done: how workspaces are made is not
// emulated, only what is in them.
func putWorkspace(r *request) (*reply, error) {
	in, err := decode[ml.Workspace](r.body)
	if err != nil {
		return nil, err
	}
	if !workspaceName.MatchString(r.name()) {
		return nil, badRequest("The workspace name '%s' is invalid.", r.name())
	}
	if in.Properties == nil {
		in.Properties = &ml.WorkspaceProperties{}
	}
	if value(in.Location) == "" {
		return nil, refuse(http.StatusBadRequest, "LocationRequired", "The location property is required for this definition.")
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	in.ID, in.Name, in.Type, in.SystemData = nil, nil, nil, nil
	in.Location = new(plainLocation(*in.Location))
	in.Identity = identityOf(in.Identity, r.id())
	w := &workspace{ID: r.id(), Created: r.now(), Changed: r.now(), ARM: in}
	if n := in.Properties.ManagedNetwork; n != nil && n.Status == nil && w.isolated() {
		n.Status = &ml.ManagedNetworkProvisionStatus{Status: new(ml.ManagedNetworkStatusInactive)}
	}
	if err := r.tx.Put(kindWorkspace, r.key(), w); err != nil {
		return nil, err
	}
	view, err := w.view()
	return ok(view), err
}

func deleteWorkspace(r *request) (*reply, error) {
	w, err := r.workspace()
	if err != nil {
		return nil, err
	}
	w.Deleted = true
	return &reply{status: http.StatusOK}, r.tx.Put(kindWorkspace, r.key(), w)
}

func getRegistry(r *request) (*reply, error) {
	w, err := r.workspace()
	if err != nil {
		return nil, err
	}
	at, _ := parseID(w.ID)
	out, err := shown(ml.Registry{ID: new(w.ID), Name: new(at.name()), Type: new(at.kind()), Location: w.ARM.Location, Identity: identityOf(nil, w.ID),
		Properties: &ml.RegistryProperties{PublicNetworkAccess: new("Enabled"), RegionDetails: []*ml.RegistryRegionArmDetails{{Location: w.ARM.Location}}}}, w.Created, w.Changed)
	return ok(out), err
}

const kindCompute = "azure_ml.compute"

// checkCompute refuses what online endpoints cannot be on.
func (r *request) checkCompute(id string) error {
	at, is := parseID(id)
	var c plain
	found := false
	if is {
		var err error
		if found, err = r.tx.Get(kindCompute, at.key(), &c); err != nil {
			return err
		}
	}
	if !found {
		return nested("ComputeNotFound", "The compute %s was not found.", id)
	}
	p, _ := c.Body["properties"].(map[string]any)
	if p["computeType"] != string(ml.ComputeTypeKubernetes) {
		return nested("NotSupported", "The compute %s is of type %v, on which online endpoints are not supported.", id, p["computeType"])
	}
	return nil
}

func (c *plain) view() map[string]any {
	at, _ := parseID(c.ID)
	c.Body["id"], c.Body["name"], c.Body["type"], c.Body["systemData"] = c.ID, at.name(), at.kind(), systemData(c.Created, c.Changed)
	return c.Body
}

// plainly reads a document, nil if there is none.
func (r *request) plainly(kindOf, key string) (*plain, error) {
	c := &plain{}
	found, err := r.tx.Get(kindOf, key, c)
	if err != nil || !found {
		return nil, err
	}
	return c, nil
}

// keep writes a document, and reports whether it is new.
func (r *request) keep(kindOf string, in any) (*plain, bool, error) {
	old, err := r.plainly(kindOf, r.key())
	if err != nil {
		return nil, false, err
	}
	body, err := shown(in, r.now(), r.now())
	if err != nil {
		return nil, false, err
	}
	c := &plain{ID: r.id(), Created: r.now(), Changed: r.now(), Body: body}
	if old != nil {
		c.ID, c.Created = old.ID, old.Created
	}
	return c, old == nil, r.tx.Put(kindOf, r.key(), c)
}

// written is the answer to a PUT.
func written(c *plain, fresh bool) *reply {
	out := ok(c.view())
	if fresh {
		out.status = http.StatusCreated
	}
	return out
}

// removed deletes a document; there is nothing to answer when there is none.
func (r *request) removed(kindOf string) (*reply, error) {
	c, err := r.plainly(kindOf, r.key())
	if err != nil {
		return nil, err
	}
	if c == nil {
		return &reply{status: http.StatusNoContent}, nil
	}
	return &reply{status: http.StatusOK}, r.tx.Delete(kindOf, r.key())
}

func (r *request) listPlain(kindOf string) (*reply, error) {
	return r.page(kindOf, r.key()+"/", 0, func(_ string, data []byte) (any, error) {
		c := &plain{}
		if err := json.Unmarshal(data, c); err != nil {
			return nil, err
		}
		return c.view(), nil
	})
}

func getCompute(r *request) (*reply, error) {
	c, err := r.plainly(kindCompute, r.key())
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, notFound(r.target)
	}
	return ok(c.view()), nil
}

func listComputes(r *request) (*reply, error) { return r.listPlain(kindCompute) }

func putCompute(r *request) (*reply, error) {
	in, err := decode[ml.ComputeResource](r.body)
	if err != nil {
		return nil, err
	}
	if in.Properties == nil || value(in.Properties.GetCompute().ComputeType) == "" {
		return nil, badRequest("The required property 'computeType' is missing.")
	}
	in.Properties.GetCompute().ProvisioningState = new(ml.ProvisioningStateSucceeded)
	c, fresh, err := r.keep(kindCompute, in)
	if err != nil {
		return nil, err
	}
	return written(c, fresh), nil
}

func deleteCompute(r *request) (*reply, error) { return r.removed(kindCompute) }
