// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
)

const kindDatastore = "azure_ml.datastore"

// defaultStore is the datastore that every workspace has.
const defaultStore = "workspaceblobstore"

func datastoreRoutes() []*route {
	const stores = "workspaces/*/datastores"
	return []*route{
		{name: "datastores.get", pattern: "GET " + stores + "/*", handle: getDatastore},
		{name: "datastores.list", pattern: "GET " + stores, handle: listDatastores, query: []string{"$skip", "count", "isDefault", "names", "orderBy", "orderByAsc", "searchText"}},
		{name: "datastores.createOrUpdate", pattern: "PUT " + stores + "/*", handle: putDatastore, query: []string{"skipValidation"}},
		{name: "datastores.delete", pattern: "DELETE " + stores + "/*", handle: deleteDatastore},
		{name: "datastores.listSecrets", pattern: "POST " + stores + "/*/listSecrets", handle: listSecrets},
	}
}

// ownDatastore is the one that every workspace has.
func (r *request) ownDatastore(w *workspace) (*plain, error) {
	account, container := w.account()
	if r.o.Container != nil {
		if err := r.o.Container(account, container); err != nil {
			return nil, err
		}
	}
	at, _ := parseID(w.ID)
	body, err := shown(ml.Datastore{Properties: &ml.AzureBlobDatastore{DatastoreType: new(ml.DatastoreTypeAzureBlob), AccountName: new(account), ContainerName: new(container),
		Endpoint: new("core.windows.net"), Protocol: new("https"), IsDefault: new(true), Credentials: &ml.AccountKeyDatastoreCredentials{CredentialsType: new(ml.CredentialsTypeAccountKey)},
		ServiceDataAccessAuthIdentity: new(ml.ServiceDataAccessAuthIdentityNone), Tags: map[string]*string{}, Properties: map[string]*string{}}}, w.Created, w.Changed)
	return &plain{ID: at.child("datastores", defaultStore).id(), Created: w.Created, Changed: w.Changed, Body: body}, err
}

// datastore finds one of a workspace, nil if there is none.
func (r *request) datastore(w *workspace, name string) (*plain, error) {
	if same(name, defaultStore) {
		return r.ownDatastore(w)
	}
	at, _ := parseID(w.ID)
	return r.plainly(kindDatastore, at.child("datastores", name).key())
}

func (r *request) mustDatastore() (*workspace, *plain, error) {
	w, err := r.workspace()
	if err != nil {
		return nil, nil, err
	}
	d, err := r.datastore(w, r.names[1])
	if err == nil && d == nil {
		err = refuse(http.StatusNotFound, "UserError", "The datastore %s was not found in workspace %s.", r.names[1], r.names[0])
	}
	return w, d, err
}

func getDatastore(r *request) (*reply, error) {
	_, d, err := r.mustDatastore()
	if err != nil {
		return nil, err
	}
	return ok(d.view()), nil
}

func listDatastores(r *request) (*reply, error) {
	w, err := r.workspace()
	if err != nil {
		return nil, err
	}
	own, err := r.ownDatastore(w)
	if err != nil {
		return nil, err
	}
	only := r.query.Get("isDefault")
	out := ok(map[string]any{"value": []any{}})
	if only != "true" {
		if out, err = r.listPlain(kindDatastore); err != nil {
			return nil, err
		}
	}
	body, _ := out.body.(map[string]any)
	all, _ := body["value"].([]any)
	if only != "false" && r.query.Get("$skip") == "" {
		all = append([]any{own.view()}, all...)
	}
	body["value"] = all
	return out, nil
}

var storeName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_]{0,254}$`)

func putDatastore(r *request) (*reply, error) {
	if _, err := r.workspace(); err != nil {
		return nil, err
	}
	in, err := decode[ml.Datastore](r.body)
	if err != nil {
		return nil, err
	}
	blob, is := in.Properties.(*ml.AzureBlobDatastore)
	switch {
	case !storeName.MatchString(r.name()):
		return nil, userError("The datastore name '%s' is invalid: it can have letters, digits and '_'.", r.name())
	case same(r.name(), defaultStore):
		return nil, userError("The default datastore of workspace %s cannot be changed.", r.names[0])
	case in.Properties == nil:
		return nil, userError("The required property 'properties' is missing.")
	case !is:
		return nil, userError("Only datastores of the type AzureBlob are emulated.")
	case value(blob.AccountName) == "" || value(blob.ContainerName) == "":
		return nil, userError("The accountName and the containerName of a datastore are required.")
	case blob.Credentials == nil:
		return nil, userError("The required property 'credentials' is missing.")
	}
	secret := secretOf(blob.Credentials)
	blob.IsDefault = new(false)
	if blob.Endpoint == nil {
		blob.Endpoint = new("core.windows.net")
	}
	if blob.Protocol == nil {
		blob.Protocol = new("https")
	}
	d, fresh, err := r.keep(kindDatastore, in)
	if err != nil {
		return nil, err
	}
	if err := r.tx.Put(kindDatastore+".secret", r.key(), secret); err != nil {
		return nil, err
	}
	return written(d, fresh), nil
}

// secretOf takes the secret out of credentials, which are shown without it.
func secretOf(c ml.DatastoreCredentialsClassification) map[string]string {
	switch typed := c.(type) {
	case *ml.AccountKeyDatastoreCredentials:
		out := map[string]string{"secretsType": "AccountKey"}
		if secrets := typed.Secrets; secrets != nil {
			out["key"] = value(secrets.Key)
		}
		typed.Secrets = nil
		return out
	case *ml.SasDatastoreCredentials:
		out := map[string]string{"secretsType": "Sas"}
		if secrets := typed.Secrets; secrets != nil {
			out["sasToken"] = value(secrets.SasToken)
		}
		typed.Secrets = nil
		return out
	}
	return nil
}

func deleteDatastore(r *request) (*reply, error) {
	if same(r.name(), defaultStore) {
		return nil, userError("The default datastore of a workspace cannot be deleted.")
	}
	if err := r.tx.Delete(kindDatastore+".secret", r.key()); err != nil {
		return nil, err
	}
	return r.removed(kindDatastore)
}

func listSecrets(r *request) (*reply, error) {
	w, d, err := r.mustDatastore()
	if err != nil {
		return nil, err
	}
	if same(r.names[1], defaultStore) {
		account, _ := w.account()
		return ok(map[string]string{"secretsType": "AccountKey", "key": accountKey(account)}), nil
	}
	at, _ := parseID(d.ID)
	var secret map[string]string
	if _, err := r.tx.Get(kindDatastore+".secret", at.key(), &secret); err != nil {
		return nil, err
	}
	if secret == nil {
		return nil, userError("The datastore %s has no secrets: its access is based on identity.", r.names[1])
	}
	return ok(secret), nil
}

// accountKey is a key of a storage account, always the same.
func accountKey(account string) string {
	return base64.StdEncoding.EncodeToString([]byte(guid("key 1 "+account) + guid("key 2 "+account))[:64])
}

// startUpload says where the bytes of a version may be put.
func startUpload(r *request) (*reply, error) {
	w, err := r.workspace()
	if err != nil {
		return nil, err
	}
	in, err := decode[ml.PendingUploadRequestDto](r.body)
	if err != nil {
		return nil, err
	}
	id := value(in.PendingUploadID)
	if id == "" {
		id = guid(strings.ToLower(r.id()))
	}
	account, _ := w.account()
	container := r.names[2] + "-" + id
	container = strings.ToLower(strings.Map(func(c rune) rune {
		if strings.ContainsRune("._", c) {
			return '-'
		}
		return c
	}, container))
	const longest = 63
	container = strings.Trim(container[max(0, len(container)-longest):], "-")
	if r.o.Container != nil {
		if err := r.o.Container(account, container); err != nil {
			return nil, err
		}
	}
	uri := "https://" + account + ".blob.core.windows.net/" + container
	if r.o.BlobURL != nil {
		uri = strings.TrimSuffix(r.o.BlobURL(), "/") + "/" + account + "/" + container
	}
	at, _ := parseID(w.ID)
	sas := url.Values{"sv": {"2023-11-03"}, "sr": {"c"}, "sp": {"rcwl"}, "se": {r.now().Add(24 * time.Hour).Format(time.RFC3339)}, "sig": {accountKey(account + container)}}
	kindOf := ml.PendingUploadTypeTemporaryBlobReference
	return ok(ml.PendingUploadResponseDto{PendingUploadID: &id, PendingUploadType: &kindOf, BlobReferenceForConsumption: &ml.BlobReferenceForConsumptionDto{
		BlobURI: &uri, StorageAccountArmID: new(at.scope + "/providers/Microsoft.Storage/storageAccounts/" + account),
		Credential: &ml.SASCredentialDto{CredentialType: new(ml.PendingUploadCredentialTypeSAS), SasURI: new(uri + "?" + sas.Encode())}}}), nil
}

// sameURI compares addresses without regard to the case of a workspace, and of a
// slash at the end.
func sameURI(a, b string) bool {
	cut := func(s string) (string, string) {
		head, tail, _ := strings.Cut(strings.TrimSuffix(s, "/"), "/paths/")
		return strings.ToLower(head), tail
	}
	headA, tailA := cut(a)
	headB, tailB := cut(b)
	return headA == headB && tailA == tailB
}

// blobURI is an address in Blob storage: on the platform's host, or on a server like
// this one.
var blobURI = regexp.MustCompile(`^https?://(?:([a-z0-9]+)\.blob\.[a-z.]+|[^/]+/([a-z0-9]+))/([^/?]+)/?([^?]*)(?:\?.*)?$`)

// readdress writes the address of an asset as the service keeps it.
func (r *request) readdress(p map[string]any, name string) error {
	uri, _ := p[name].(string)
	w, err := r.workspace()
	if err != nil {
		return err
	}
	switch {
	case uri == "":
		return userError("The required property '%s' is missing.", name)
	case strings.HasPrefix(uri, "azureml://datastores/"):
		uri = home(w) + strings.TrimPrefix(uri, "azureml://")
	case strings.HasPrefix(uri, "azureml://subscriptions/"), strings.HasPrefix(uri, "azureml://jobs/"), strings.HasPrefix(uri, "azureml://locations/"), strings.HasPrefix(uri, "runs:/"):
	case strings.HasPrefix(uri, "azureml://"):
		return userError("The address '%s' of the asset is not one of a datastore, a job or a run.", uri)
	default:
		if uri, err = r.fromBlob(w, uri); err != nil {
			return err
		}
	}
	if store := storePattern.FindStringSubmatch(uri); store != nil && !r.shared() {
		d, err := r.datastore(w, store[2])
		if err != nil {
			return err
		}
		if d == nil {
			return userError("The datastore %s was not found in workspace %s.", store[2], r.names[0])
		}
	}
	p[name] = uri
	return nil
}

// home is the beginning of addresses in a workspace: they leave out the resource
// provider.
func home(w *workspace) string {
	at, _ := parseID(w.ID)
	return "azureml://subscriptions/" + at.sub + "/resourceGroups/" + at.group + "/workspaces/" + at.name() + "/"
}

var storePattern = regexp.MustCompile(`(?i)^azureml://subscriptions/[^/]+/resourceGroups/[^/]+(?:/providers/Microsoft\.MachineLearningServices)?/workspaces/([^/]+)/datastores/([^/]+)/paths/(.*)$`)

// fromBlob makes an address in a datastore of one in Blob storage, which a pending
// upload may also have.
func (r *request) fromBlob(w *workspace, uri string) (string, error) {
	m := blobURI.FindStringSubmatch(uri)
	if m == nil {
		return "", userError("The address '%s' of the asset is not supported.", uri)
	}
	account, container, path := m[1]+m[2], m[3], m[4]
	own, first := w.account()
	if r.shared() || (account == own && container != first) {
		return uri, nil // of a pending upload
	}
	stores, err := r.stores(w)
	if err != nil {
		return "", err
	}
	for _, d := range stores {
		p, _ := d.Body["properties"].(map[string]any)
		if p["accountName"] == account && p["containerName"] == container {
			at, _ := parseID(d.ID)
			return home(w) + "datastores/" + at.name() + "/paths/" + path, nil
		}
	}
	return "", userError("The address '%s' is in no datastore of workspace %s.", uri, r.names[0])
}

func (r *request) stores(w *workspace) ([]*plain, error) {
	own, err := r.ownDatastore(w)
	if err != nil {
		return nil, err
	}
	all := []*plain{own}
	at, _ := parseID(w.ID)
	keys, err := r.prefixed(kindDatastore, at.key()+"/datastores/")
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		d, err := r.plainly(kindDatastore, key)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

// place is where in Blob storage something is; ok is false for what is elsewhere.
type place struct{ account, container, path string }

func (r *request) place(of target, uri string) (p place, ok bool, err error) {
	if m := storePattern.FindStringSubmatch(uri); m != nil {
		w, err := r.workspaceOf(of.up(len(of.names) - 1))
		if err != nil {
			return p, false, err
		}
		if !same(m[1], of.names[0]) {
			return p, false, nil
		}
		d, err := r.datastore(w, m[2])
		if err != nil || d == nil {
			return p, false, err
		}
		properties, _ := d.Body["properties"].(map[string]any)
		p.account, _ = properties["accountName"].(string)
		p.container, _ = properties["containerName"].(string)
		p.path = m[3]
		return p, true, nil
	}
	if m := blobURI.FindStringSubmatch(uri); m != nil {
		return place{m[1] + m[2], m[3], m[4]}, true, nil
	}
	return p, false, nil
}

// stored reports whether there is something at an address; one that is elsewhere is
// taken to have something.
func (r *request) stored(of target, uri string) (bool, error) {
	p, known, err := r.place(of, uri)
	if err != nil || !known || r.o.Blobs == nil {
		return true, err
	}
	return len(r.blobs(p)) > 0, nil
}

// blobs are the names of what is at a place: a blob, or those below a folder. A
// container that is not there has none.
func (s *Service) blobs(p place) []string {
	path := strings.TrimSuffix(p.path, "/")
	names, err := s.o.Blobs(p.account, p.container, path)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(names, func(name string) bool { return path != "" && name != path && !strings.HasPrefix(name, path+"/") })
}
