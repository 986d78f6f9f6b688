// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml_test

import (
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/azblob"
)

func modelBody(uri, more string) string {
	return `{"properties":{"modelType":"custom_model","modelUri":"` + uri + `"` + more + `}}`
}

// Versions never change what they hold; what is said of them does.
func TestModels(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	const short = "azureml://datastores/workspaceblobstore/paths/models/a"
	long := "azureml://subscriptions/" + sub + "/resourceGroups/" + group + "/workspaces/" + workspace + "/datastores/workspaceblobstore/paths/models/"
	a := s.ok("PUT", "models/fraud/versions/1", modelBody(short, `,"properties":{"k":"v"},"tags":{"t":"1"}`))
	s.wants(a, "properties.modelUri", `"`+long+`a"`)
	if a.status != 201 {
		t.Errorf("a new version answers %d", a.status)
	}
	a = s.ok("PUT", "models/fraud/versions/1", modelBody(strings.Replace(long, group, strings.ToUpper(group), 1)+"a/", `,"description":"new","properties":{"l":"w"}`))
	s.wants(a, "properties.properties", `{"k":"v","l":"w"}`)
	s.wants(a, "properties.tags", `{}`)
	if a.status != 200 {
		t.Errorf("a version that is there answers %d", a.status)
	}
	for _, c := range []struct{ words, path, body string }{
		{"Asset paths cannot be updated.", "models/fraud/versions/1", modelBody(long+"b", "")},
		{"'modelType'", "models/fraud/versions/1", strings.Replace(modelBody(short, ""), "custom", "mlflow", 1)},
		{"added only", "models/fraud/versions/1", modelBody(short, `,"properties":{"k":"other"}`)},
		{"'modelUri' is missing", "models/fraud/versions/2", modelBody("", "")},
		{"datastore none was not found", "models/fraud/versions/2", modelBody("azureml://datastores/none/paths/a", "")},
		{"in no datastore", "models/fraud/versions/2", modelBody("https://other.blob.core.windows.net/models/a", "")},
		{"not supported", "models/fraud/versions/2", modelBody("s3://bucket/a", "")},
		{"not one of custom_model", "models/fraud/versions/2", strings.Replace(modelBody(short, ""), "custom", "other", 1)},
	} {
		s.refused(400, "UserError", c.words, "PUT", c.path, c.body)
	}
	account, store := s.storage()
	a = s.ok("PUT", "models/fraud/versions/2", modelBody("https://"+account+".blob.core.windows.net/"+store+"/models/b", `,"isArchived":true`))
	s.wants(a, "properties.modelUri", `"`+long+`b"`)
	s.ok("PUT", "models/fraud/versions/h0123", modelBody(short, ""))
	a = s.ok("GET", "models/fraud", "")
	s.wants(a, "properties.latestVersion", `"h0123"`)
	s.wants(a, "properties.nextVersion", `"3"`)
	// Aliases are tags of the container, which a PUT replaces.
	s.ok("PUT", "models/fraud", `{"properties":{"tags":{"alias.champion":"1"}}}`)
	a = s.ok("PUT", "models/fraud", `{"properties":{"description":"d"}}`)
	s.wants(a, "properties.tags", `{}`)
	for query, want := range map[string]int{"": 2, "?listViewType=ArchivedOnly": 1, "?listViewType=All": 3, "?version=1": 1} {
		if got, _ := s.ok("GET", "models/fraud/versions"+query, "").at("value").([]any); len(got) != want {
			t.Errorf("the list%s has %d versions, want %d", query, len(got), want)
		}
	}
	s.refused(400, "UserError", "3 versions", "DELETE", "models/fraud", "")
	for _, version := range []string{"1", "2", "h0123"} {
		s.ok("DELETE", "models/fraud/versions/"+version, "")
	}
	if a := s.ok("DELETE", "models/fraud/versions/1", ""); a.status != 204 {
		t.Errorf("to delete what is gone answers %d", a.status)
	}
	s.ok("DELETE", "models/fraud", "")
	s.refused(404, "UserError", "fraud", "GET", "models/fraud", "")
	s.refused(404, "UserError", "fraud:1", "GET", "models/fraud/versions/1", "")
}

func TestEnvironments(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	s.environment()
	s.environment() // the same again is no change
	a := s.ok("GET", "environments/server/versions/1", "")
	s.wants(a, "properties.osType", `"Linux"`)
	s.wants(a, "properties.inferenceConfig.scoringRoute", `{"path":"/predict","port":8080}`)
	for body, words := range map[string]string{
		`{"properties":{"image":"registry.example/server:2"}}`: "'image'",
		`{"properties":{}}`: "either an image or a build context",
		`{"properties":{"image":"a","build":{"contextUri":"b"}}}`:                                     "either an image or a build context",
		`{"properties":{"image":"a","inferenceConfig":{"scoringRoute":{"path":"predict","port":1}}}}`: "scoringRoute",
		`{"properties":{"image":"a","osType":"BeOS"}}`:                                                "BeOS",
	} {
		s.refused(400, "UserError", words, "PUT", "environments/server/versions/1", body)
	}
	s.refused(400, "ValidationError", "command", "PUT", "environments/server/versions/2", `{"properties":{"image":"a","command":["x"]}}`)
}

// A registry takes its time for every write, and hands models to all workspaces.
func TestRegistry(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	s.model("1")
	versions := s.NewRegistryModelVersionsClient()
	publish, err := s.NewModelVersionsClient().BeginPublish(t.Context(), group, workspace, "fraud", "1", ml.DestinationAsset{RegistryName: new("shared"), DestinationName: new("scorer"), DestinationVersion: new("7")}, nil)
	s.must(err)
	got, err := versions.Get(t.Context(), group, "shared", "scorer", "7", nil)
	s.must(err)
	if *got.Properties.ProvisioningState != ml.AssetProvisioningStateCreating {
		t.Errorf("what is being published is %s", *got.Properties.ProvisioningState)
	}
	_, err = done(s, publish, nil)
	s.must(err)
	create, err := versions.BeginCreateOrUpdate(t.Context(), group, "shared", "scorer", "8", ml.ModelVersion{Properties: &ml.ModelVersionProperties{ModelURI: new("https://x.blob.core.windows.net/c/models")}}, nil)
	made, err := done(s, create, err)
	s.must(err)
	if *made.Properties.ProvisioningState != ml.AssetProvisioningStateSucceeded {
		t.Errorf("a version of a registry is %s", *made.Properties.ProvisioningState)
	}
	_, err = s.putEndpoint(nil, nil)
	s.must(err)
	in, _ := s.deployment("azureml://registries/Shared/models/scorer/versions/7", s.environment())
	_, err = s.putDeployment("blue", in)
	s.must(err)
	registry := scope + "/providers/Microsoft.MachineLearningServices/registries/shared"
	s.refused(400, "UserError", "deployment blue", "DELETE", registry+"/models/scorer/versions/7", "")
	s.wants(s.score("{}", map[string]string{"azureml-model-deployment": "blue"}), "model", `"scorer"`)
	remove, err := versions.BeginDelete(t.Context(), group, "shared", "scorer", "8", nil)
	_, err = done(s, remove, err)
	s.must(err)
	s.wants(s.ok("GET", registry, ""), "properties.regionDetails.0.location", `"eastus"`)
}

// Code goes to where a pending upload says, and capture to what data assets say.
func TestUploads(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	kind := ml.PendingUploadTypeTemporaryBlobReference
	got, err := s.NewCodeVersionsClient().CreateOrGetStartPendingUpload(t.Context(), group, workspace, "score", "1", ml.PendingUploadRequestDto{PendingUploadType: &kind}, nil)
	s.must(err)
	signed, is := got.BlobReferenceForConsumption.Credential.(*ml.SASCredentialDto)
	if !is {
		t.Fatalf("the credential is %T", got.BlobReferenceForConsumption.Credential)
	}
	client, err := container.NewClientWithNoCredential(*signed.SasURI, nil)
	s.must(err)
	_, err = client.NewBlockBlobClient("score.py").UploadBuffer(t.Context(), []byte("def init(): pass"), nil)
	s.must(err)
	code, err := s.NewCodeVersionsClient().CreateOrUpdate(t.Context(), group, workspace, "score", "1", ml.CodeVersion{Properties: &ml.CodeVersionProperties{CodeURI: got.BlobReferenceForConsumption.BlobURI}}, nil)
	s.must(err)
	environment, err := s.NewEnvironmentVersionsClient().CreateOrUpdate(t.Context(), group, workspace, "plain", "1", ml.EnvironmentVersion{Properties: &ml.EnvironmentVersionProperties{Image: new("a")}}, nil)
	s.must(err)
	data, err := s.NewDataVersionsClient().CreateOrUpdate(t.Context(), group, workspace, "captured", "1", ml.DataVersionBase{Properties: &ml.URIFolderDataVersion{
		DataType: new(ml.DataTypeURIFolder), DataURI: new("azureml://datastores/workspaceblobstore/paths/captured")}}, nil)
	s.must(err)
	_, err = s.putEndpoint(nil, nil)
	s.must(err)
	in, p := s.deployment(s.model("1"), *environment.ID)
	p.CodeConfiguration = &ml.CodeConfiguration{CodeID: code.ID, ScoringScript: new("score.py")}
	p.DataCollector = &ml.DataCollector{Collections: map[string]*ml.Collection{"request": {DataID: data.ID, DataCollectionMode: new(ml.DataCollectionModeEnabled)},
		"response": {DataCollectionMode: new(ml.DataCollectionModeEnabled), SamplingRate: new(0.5)}}}
	_, err = s.putDeployment("blue", in)
	s.must(err)
	for range 4 {
		s.wants(s.score(`{"a":1}`, map[string]string{"azureml-model-deployment": "blue"}), "model", `"fraud"`)
	}
	account, store := s.storage()
	recorded := func(prefix string) []string {
		names, err := azblob.Keys(filepath.Join(s.dir, "azblob"), account, store, prefix)
		s.must(err)
		return names
	}
	requests := recorded("captured/2026/01/01/12/")
	if got := len(recorded("modelDataCollector/fraud/blue/response/")); len(requests) != 4 || got != 2 {
		t.Fatalf("%d requests and %d answers were recorded", len(requests), got)
	}
	file, err := azblob.Open(filepath.Join(s.dir, "azblob"), account, store, requests[0])
	s.must(err)
	line, err := io.ReadAll(file)
	s.must(errors.Join(err, file.Close()))
	if !strings.Contains(string(line), `"data":{"a":1}`) || !strings.Contains(string(line), "azureml.inference.request") {
		t.Errorf("a request was recorded as %s", line)
	}
}

func TestDatastores(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	stores := s.NewDatastoresClient()
	page, err := stores.NewListPager(group, workspace, &ml.DatastoresClientListOptions{IsDefault: new(true)}).NextPage(t.Context())
	s.must(err)
	if len(page.Value) != 1 || !*page.Value[0].Properties.GetDatastoreProperties().IsDefault {
		t.Fatalf("there are %d default datastores", len(page.Value))
	}
	secrets, err := stores.ListSecrets(t.Context(), group, workspace, "workspaceblobstore", nil)
	s.must(err)
	key, is := secrets.DatastoreSecretsClassification.(*ml.AccountKeyDatastoreSecrets)
	if !is {
		t.Fatalf("its secrets are %T", secrets.DatastoreSecretsClassification)
	}
	account, name := s.storage()
	shared, err := container.NewSharedKeyCredential(account, *key.Key)
	s.must(err)
	client, err := container.NewClientWithSharedKeyCredential(s.server.Endpoints()["azblob"]+"/"+account+"/"+name, shared, nil)
	s.must(err)
	_, err = client.NewBlockBlobClient("x").UploadBuffer(t.Context(), []byte("x"), nil)
	s.must(err)
	put := func(name string, credentials ml.DatastoreCredentialsClassification) error {
		_, err := stores.CreateOrUpdate(t.Context(), group, workspace, name, ml.Datastore{Properties: &ml.AzureBlobDatastore{DatastoreType: new(ml.DatastoreTypeAzureBlob),
			AccountName: new("mlmodels"), ContainerName: new("models"), Credentials: credentials}}, nil)
		return err
	}
	s.must(put("models", &ml.SasDatastoreCredentials{CredentialsType: new(ml.CredentialsTypeSas), Secrets: &ml.SasDatastoreSecrets{SecretsType: new(ml.SecretsTypeSas), SasToken: new("sig=secret")}}))
	if a := s.ok("GET", "datastores/models", ""); strings.Contains(a.text, "secret\"") {
		t.Errorf("the secret is shown: %s", a.text)
	}
	s.wants(s.ok("POST", "datastores/models/listSecrets", ""), "sasToken", `"sig=secret"`)
	s.must(put("open", &ml.NoneDatastoreCredentials{CredentialsType: new(ml.CredentialsTypeNone)}))
	s.refused(400, "UserError", "based on identity", "POST", "datastores/open/listSecrets", "")
	s.refused(400, "UserError", "default datastore", "DELETE", "datastores/workspaceblobstore", "")
	s.wants(s.ok("PUT", "models/fraud/versions/1", modelBody("https://mlmodels.blob.core.windows.net/models/a", "")), "properties.modelUri",
		`"azureml://subscriptions/`+sub+`/resourceGroups/`+group+`/workspaces/`+workspace+`/datastores/models/paths/a"`)
	s.ok("DELETE", "datastores/open", "")
	s.refused(404, "UserError", "open", "GET", "datastores/open", "")
}

// A workspace is there until it is deleted, with what it was given.
func TestWorkspaces(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	a := s.ok("GET", "", "")
	s.wants(a, "location", `"eastus"`)
	s.wants(a, "properties.encryption.status", `"Disabled"`)
	s.wants(a, "properties.managedNetwork.isolationMode", `"Disabled"`)
	s.ok("PUT", "", `{"location":"West Europe","properties":{"encryption":{"status":"Enabled","keyVaultProperties":{"keyVaultArmId":"/v","keyIdentifier":"https://v/keys/k/1"}},"managedNetwork":{"isolationMode":"AllowInternetOutbound"}}}`)
	a = s.ok("GET", "", "")
	s.wants(a, "properties.encryption.keyVaultProperties.keyIdentifier", `"https://v/keys/k/1"`)
	s.wants(a, "location", `"westeurope"`)
	for _, at := range []string{scope, "/subscriptions/" + sub} {
		s.wants(s.ok("GET", at+"/providers/Microsoft.MachineLearningServices/workspaces", ""), "value.0.name", `"`+workspace+`"`)
	}
	s.ok("PUT", "computes/aks", `{"location":"westeurope","properties":{"computeType":"Kubernetes","properties":{"namespace":"ml"}}}`)
	s.ok("PUT", "computes/batch", `{"location":"westeurope","properties":{"computeType":"AmlCompute"}}`)
	west := func(more string) string { return strings.Replace(endpointWith(more), "eastus", "westeurope", 1) }
	s.refused(400, "NotSupported", "AmlCompute", "PUT", "onlineEndpoints/kube", west(`,"compute":"`+home+`/computes/batch"`))
	s.ok("PUT", "onlineEndpoints/kube", west(`,"compute":"`+home+`/computes/aks"`))
	s.ok("PUT", "onlineEndpoints/managed", west(""))
	s.minutes(1)
	s.model("1")
	s.environment()
	model := `,"model":"` + home + `/models/fraud/versions/1"`
	deploy := func(more string) string {
		return strings.Replace(deploymentBody(model+more), "eastus", "westeurope", 1)
	}
	s.refused(400, "BadRequest", "managed network", "PUT", "onlineEndpoints/managed/deployments/blue", deploy(`,"egressPublicNetworkAccess":"Enabled"`))
	s.wants(s.ok("PUT", "onlineEndpoints/managed/deployments/blue", deploy("")), "properties.egressPublicNetworkAccess", "null")
	// On Kubernetes deployments are made one after the other.
	kube := func(body string) string {
		return strings.NewReplacer(`"Managed"`, `"Kubernetes"`, `"STANDARD_DS3_V2"`, `"defaultinstancetype"`).Replace(body)
	}
	s.refused(400, "BadRequest", "does not fit", "PUT", "onlineEndpoints/kube/deployments/blue", deploy(""))
	s.ok("PUT", "onlineEndpoints/kube/deployments/blue", kube(deploy(`,"containerResourceRequirements":{"containerResourceRequests":{"cpu":"1"}}`)))
	s.refused(409, "Conflict", "blue", "PUT", "onlineEndpoints/kube/deployments/green", kube(deploy("")))
	s.minutes(10)
	s.clusterRefuses(func(more string) string { return kube(deploy(more)) })
	s.ok("DELETE", "", "")
	s.refused(404, "ResourceNotFound", workspace, "GET", "", "")
	s.refused(404, "ResourceNotFound", workspace, "GET", "onlineEndpoints/managed", "")
	if _, err := azblob.Stat(filepath.Join(s.dir, "azblob"), "none", "none", "none"); err == nil {
		t.Error("there is a blob where there is none")
	}
}
