// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai_test

import (
	"fmt"
	"strings"
	"testing"

	pb "cloud.google.com/go/aiplatform/apiv1beta1/aiplatformpb"
	"github.com/google/go-cmp/cmp"
	aiplatform "google.golang.org/api/aiplatform/v1"
	"google.golang.org/api/googleapi"
)

// Endpoints through the generated clients: of v1 by discovery, and of v1beta1.
func TestEndpoints(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.upload()
	op, err := p.v1.Endpoints.Create(here, &aiplatform.GoogleCloudAiplatformV1Endpoint{DisplayName: "Fraud", Labels: map[string]string{"a": "b"}}).EndpointId("fraud").Do()
	p.must(err)
	if !strings.HasPrefix(op.Name, there+"/endpoints/fraud/operations/") || op.Done {
		t.Errorf("the creation is %+v", op)
	}
	p.refused("NOT_FOUND", "not found", "GET", "v1/endpoints/fraud", "")
	p.refused("ALREADY_EXISTS", "already exists", "POST", "v1/endpoints?endpointId=fraud", `{"displayName":"Fraud"}`)
	p.minutes(1)
	done, err := p.v1.Endpoints.Operations.Get(op.Name).Do()
	p.must(err)
	if diff := cmp.Diff(`{"@type":"type.googleapis.com/google.cloud.aiplatform.v1.Endpoint","name":"`+there+`/endpoints/fraud","displayName":"Fraud"}`, string(done.Response)); diff != "" {
		t.Errorf("the creation answers more or less than a name: %s", diff)
	}
	e, err := p.v1.Endpoints.Get(here + "/endpoints/fraud").Do()
	p.must(err)
	if e.Name != there+"/endpoints/fraud" || e.Etag == "" || e.CreateTime == "" {
		t.Errorf("the endpoint is %+v", e)
	}
	deploy, err := p.endpoints.DeployModel(t.Context(), &pb.DeployModelRequest{Endpoint: here + "/endpoints/fraud", TrafficSplit: map[string]int32{"0": 100},
		DeployedModel: &pb.DeployedModel{Model: here + "/models/fraud@default", PredictionResources: &pb.DeployedModel_DedicatedResources{
			DedicatedResources: &pb.DedicatedResources{MachineSpec: &pb.MachineSpec{}, MinReplicaCount: 2}}}})
	p.must(err)
	p.minutes(5)
	deployed, err := deploy.Poll(t.Context())
	p.must(err)
	id := deployed.GetDeployedModel().GetId()
	if len(id) != 19 {
		t.Errorf("the id that the platform made is %s", id)
	}
	e, err = p.v1.Endpoints.Get(here + "/endpoints/fraud").Do(googleapi.QueryParameter("allDeploymentStates", "true"))
	p.must(err)
	dm := e.DeployedModels[0]
	if dm.Model != there+"/models/fraud" || dm.ModelVersionId != "1" || dm.DisplayName != "Fraud" || dm.DedicatedResources.MachineSpec.MachineType != "n1-standard-2" ||
		dm.DedicatedResources.MaxReplicaCount != 2 || dm.Status.AvailableReplicaCount != 2 || e.TrafficSplit[id] != 100 {
		t.Errorf("the deployment is %+v", dm)
	}
	if !dm.DisableContainerLogging { // in v1beta1 logs are off unless they are switched on
		t.Error("a deployment by v1beta1 has logs that nobody has switched on")
	}
}

func TestEndpointRefusals(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	for _, c := range []struct{ words, query, body string }{
		{"Invalid endpoint ID", "Fraud", `{"displayName":"d"}`},
		{"Invalid endpoint ID", "0123", `{"displayName":"d"}`},
		{"Invalid endpoint ID", "fraud-", `{"displayName":"d"}`},
		{"1.Field: endpoint.display_name; Message: Required", "e", `{}`},
		{"1.Field: endpoint.labels; Message: ", "e", `{"displayName":"d","labels":{"A":"b"}}`},
		{`Unknown name "name2"`, "e", `{"displayName":"d","name2":"x"}`},
		{"same region", "e", `{"displayName":"d","encryptionSpec":{"kmsKeyName":"projects/p/locations/global/keyRings/r/cryptoKeys/k"}}`},
		{"project_number", "e", `{"displayName":"d","network":"projects/p1/global/networks/n"}`},
		{"Only one of", "e", `{"displayName":"d","network":"projects/123/global/networks/n","privateServiceConnectConfig":{"enablePrivateServiceConnect":true}}`},
		{"enable_private_service_connect", "e", `{"displayName":"d","privateServiceConnectConfig":{"projectAllowlist":["p"]}}`},
		{"sampling_rate", "e", `{"displayName":"d","predictRequestResponseLoggingConfig":{"enabled":true,"samplingRate":1.5}}`},
		{"bq://projectId", "e", `{"displayName":"d","predictRequestResponseLoggingConfig":{"enabled":true,"samplingRate":1,"bigqueryDestination":{"outputUri":"gs://b"}}}`},
		{"not supported on endpoints with a network", "e", `{"displayName":"d","network":"projects/123/global/networks/n","predictRequestResponseLoggingConfig":{"enabled":true,"samplingRate":1}}`},
		{"cannot have a network", "e", `{"displayName":"d","network":"projects/123/global/networks/n","dedicatedEndpointEnabled":true}`},
		{"cannot be set when nothing is deployed", "e", `{"displayName":"d","trafficSplit":{"0":100}}`},
		{"inference_timeout", "e", `{"displayName":"d","clientConnectionConfig":{"inferenceTimeout":"90s"}}`},
		{"3600 seconds", "e", `{"displayName":"d","dedicatedEndpointEnabled":true,"clientConnectionConfig":{"inferenceTimeout":"3601s"}}`},
	} {
		p.refused("INVALID_ARGUMENT", c.words, "POST", "v1/endpoints?endpointId="+c.query, c.body)
	}
	a := p.call("POST", "v1/endpoints?endpointId=e", `{"labels":{"A":"b"}}`)
	p.wants(a, "error.details.0.@type", `"type.googleapis.com/google.rpc.BadRequest"`)
	p.wants(a, "error.details.0.fieldViolations.1.field", `"endpoint.labels"`)
	p.refused("INVALID_ARGUMENT", "Cannot bind query parameter", "POST", "v1/endpoints?id=e", `{"displayName":"d"}`)
	p.refused("PERMISSION_DENIED", "may not exist", "GET", "v1/projects/p1/locations/mars/endpoints", "")
	p.refused("NOT_FOUND", "was not found on this server", "GET", "v1/endpoints/e/nothing", "")
	p.refused("NOT_FOUND", "was not found on this server", "POST", "v1/endpoints/e:getIamPolicy", "") // v1beta1 alone has it
}

func TestEndpointUpdates(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.serve()
	before := p.ok("GET", "v1/endpoints/fraud", "")
	etag, _ := before.at("etag").(string)
	a := p.ok("PATCH", "v1/endpoints/fraud?updateMask=displayName,labels", `{"displayName":"New","labels":{"a":"b"},"etag":"`+etag+`"}`)
	p.wants(a, "displayName", `"New"`)
	for _, c := range []struct{ status, words, path, body string }{
		{"ABORTED", "etag", "?updateMask=labels", `{"etag":"` + etag + `"}`},
		{"INVALID_ARGUMENT", "update mask is required", "", `{"displayName":"x"}`},
		{"INVALID_ARGUMENT", "is immutable", "?updateMask=encryption_spec", `{}`},
		{"INVALID_ARGUMENT", "is immutable", "?updateMask=network", `{"network":"projects/1/global/networks/n"}`},
		{"INVALID_ARGUMENT", "UpdateEndpointLongRunning", "?updateMask=clientConnectionConfig", `{"clientConnectionConfig":{"inferenceTimeout":"90s"}}`},
		{"INVALID_ARGUMENT", "not supported", "?updateMask=deployed_models", `{}`},
		{"INVALID_ARGUMENT", "sum up to 100", "?updateMask=traffic_split", `{"trafficSplit":{"77":99}}`},
		{"INVALID_ARGUMENT", "not deployed", "?updateMask=traffic_split", `{"trafficSplit":{"77":50,"78":50}}`},
		{"INVALID_ARGUMENT", "not deployed", "?updateMask=traffic_split", `{"trafficSplit":{"0":100}}`},
		{"INVALID_ARGUMENT", "between 0 and 100", "?updateMask=traffic_split", `{"trafficSplit":{"77":101}}`},
	} {
		p.refused(c.status, c.words, "PATCH", "v1/endpoints/fraud"+c.path, c.body)
	}
	p.wants(p.ok("PATCH", "v1/endpoints/fraud?updateMask=traffic_split", `{}`), "trafficSplit", "null")
	p.wants(p.ok("PATCH", "v1/endpoints/fraud?updateMask=traffic_split", `{"trafficSplit":{"77":100}}`), "trafficSplit", `{"77":100}`)
	// What takes time.
	p.refused("INVALID_ARGUMENT", "inference_timeout", "POST", "v1/endpoints/fraud:update", `{"endpoint":{"clientConnectionConfig":{"inferenceTimeout":"90s"}}}`)
	p.refused("ABORTED", "etag", "POST", "v1/endpoints/fraud:update", `{"endpoint":{"etag":"`+etag+`","clientConnectionConfig":{"inferenceTimeout":"90s"}}}`)
	p.refused("INVALID_ARGUMENT", "Nothing to update", "POST", "v1/endpoints/fraud:update", `{"endpoint":{"displayName":"x"}}`)
	p.wants(p.ok("PATCH", "v1/endpoints/fraud?updateMask=dedicatedEndpointEnabled", `{"dedicatedEndpointEnabled":true}`), "dedicatedEndpointDns", `"fraud.us-central1-123.prediction.vertexai.goog"`)
	p.refused("INVALID_ARGUMENT", "cannot be made a shared one", "PATCH", "v1/endpoints/fraud?updateMask=dedicatedEndpointEnabled", `{}`)
	p.changed("POST", "v1/endpoints/fraud:update", `{"endpoint":{"clientConnectionConfig":{"inferenceTimeout":"90s"}}}`)
	p.wants(p.ok("GET", "v1/endpoints/fraud", ""), "clientConnectionConfig", `{"inferenceTimeout":"90s"}`)
}

func TestPrivateEndpoints(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.upload()
	p.changed("POST", "v1/endpoints?endpointId=psc", `{"displayName":"d","privateServiceConnectConfig":{"enablePrivateServiceConnect":true,"projectAllowlist":["p1"]},"clientConnectionConfig":{"inferenceTimeout":"120s"}}`)
	p.wants(p.ok("PATCH", "v1/endpoints/psc?updateMask=privateServiceConnectConfig.projectAllowlist", `{"privateServiceConnectConfig":{"projectAllowlist":["p1","p2"]}}`),
		"privateServiceConnectConfig", `{"enablePrivateServiceConnect":true,"projectAllowlist":["p1","p2"]}`)
	p.refused("INVALID_ARGUMENT", "immutable", "PATCH", "v1/endpoints/psc?updateMask=privateServiceConnectConfig", `{}`)
	p.changed("POST", "v1/endpoints/psc:deployModel", deployBody("1", "1"))
	if a := p.ok("GET", "v1/endpoints/psc", ""); a.at("privateServiceConnectConfig.serviceAttachment") == nil || a.at("deployedModels.0.privateEndpoints.serviceAttachment") == nil {
		t.Errorf("no attachment in %s", a.text)
	}
	p.changed("POST", "v1/endpoints?endpointId=psa", `{"displayName":"d","network":"projects/123/global/networks/n"}`)
	p.changed("POST", "v1/endpoints/psa:deployModel", deployBody("1", "1"))
	p.refused("FAILED_PRECONDITION", "only one DeployedModel", "POST", "v1/endpoints/psa:deployModel", deployBody("2", "1"))
	const logs = `"predictRequestResponseLoggingConfig":{"enabled":true,"samplingRate":1}}`
	p.refused("INVALID_ARGUMENT", "not supported on endpoints with a network", "PATCH", "v1/endpoints/psa?updateMask=predictRequestResponseLoggingConfig", `{`+logs)
	p.refused("INVALID_ARGUMENT", "not supported on endpoints with a network", "POST", "v1/endpoints/psa:update", `{"endpoint":{`+logs+`}`)
	address, _ := p.ok("GET", "v1/endpoints/psa", "").at("deployedModels.0.privateEndpoints.predictHttpUri").(string)
	p.wants(p.ok("POST", strings.TrimPrefix(address, p.url+"/"), `{"x":1}`), "echo", `{"x":1}`)
	p.refused("NOT_FOUND", "no private deployments", "POST", strings.Replace(strings.TrimPrefix(address, p.url+"/"), "psa", "psc", 1), `{}`)
}

func TestEndpointLists(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	for _, name := range []string{"one", "two", "three"} {
		p.ok("POST", "v1/endpoints?endpointId="+name, `{"displayName":"`+strings.ToUpper(name)+`","labels":{"n":"`+name+`"}}`)
		p.minutes(1)
	}
	p.ok("POST", "v1/endpoints?endpointId=coming", `{"displayName":"not yet"}`)
	for query, want := range map[string]string{
		"":                                         "one three two",
		"orderBy=create_time":                      "one two three",
		"orderBy=display_name desc":                "two three one",
		"filter=endpoint=two":                      "two",
		`filter=display_name="TWO"`:                "two",
		"filter=display_name!=TWO":                 "one three",
		"filter=labels.n=one OR labels.n=two":      "one two",
		"filter=labels.n:* AND NOT (labels.n=one)": "three two",
		"filter=labels:m":                          "",
		"pageSize=2":                               "one three +",
		"pageSize=2&filter=endpoint=two":           "+", // a page may be empty and have a successor
	} {
		a := p.ok("GET", "v1/endpoints?"+strings.NewReplacer(" ", "%20", `"`, "%22", "!", "%21", "(", "%28", ")", "%29", "*", "%2A").Replace(query), "")
		var names []string
		list, _ := a.at("endpoints").([]any)
		for _, item := range list {
			e, _ := item.(map[string]any)
			name, _ := e["name"].(string)
			names = append(names, name[strings.LastIndexByte(name, '/')+1:])
		}
		if a.at("nextPageToken") != nil {
			names = append(names, "+")
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s lists %q, want %q", query, got, want)
		}
	}
	token, _ := p.ok("GET", "v1/endpoints?pageSize=2", "").at("nextPageToken").(string)
	a := p.ok("GET", "v1/endpoints?pageSize=2&readMask=name&pageToken="+token, "")
	p.wants(a, "endpoints", `[{"name":"`+there+`/endpoints/two"}]`)
	p.wants(a, "nextPageToken", "null")
	// A token is of use for the list that it came from, and for no other.
	for _, other := range []string{"v1/models?", "v1/endpoints?filter=endpoint%3Dtwo&", "v1/endpoints?orderBy=display_name&", "v1/projects/p1/locations/europe-west4/endpoints?", "v1/projects/other/locations/us-central1/endpoints?"} {
		p.refused("INVALID_ARGUMENT", "Page token", "GET", other+"pageToken="+token, "")
	}
	p.refused("INVALID_ARGUMENT", "Page token", "GET", "v1/endpoints?pageToken=2", "")
	p.wants(p.ok("GET", "v1/projects/123/locations/us-central1/endpoints?pageToken="+token, ""), "endpoints.1", "null") // the same list
	p.refused("INVALID_ARGUMENT", "Invalid filter", "GET", "v1/endpoints?filter=color%3Dred", "")
	p.refused("INVALID_ARGUMENT", "Invalid filter", "GET", "v1/endpoints?filter=endpoint%3D", "")
	p.refused("INVALID_ARGUMENT", "Invalid order by", "GET", "v1/endpoints?orderBy=color", "")
	p.refused("INVALID_ARGUMENT", "page_size", "GET", "v1/endpoints?pageSize=-1", "")
	p.wants(p.ok("GET", "v1/projects/other/locations/us-central1/endpoints", ""), "endpoints", "null")
	p.wants(p.ok("GET", "v1/projects/123/locations/europe-west4/endpoints", ""), "endpoints", "null")
}

// A page has at most a hundred, whatever is asked for.
func TestLongLists(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	for i := range 101 {
		p.ok("POST", fmt.Sprintf("v1/endpoints?endpointId=e%03d", i), `{"displayName":"d"}`)
	}
	p.minutes(1)
	for _, query := range []string{"", "?pageSize=1000"} {
		a := p.ok("GET", "v1/endpoints"+query, "")
		page, _ := a.at("endpoints").([]any)
		token, _ := a.at("nextPageToken").(string)
		if len(page) != 100 || token == "" {
			t.Fatalf("%q: a page has %d, and the token of the next is %q", query, len(page), token)
		}
		rest := p.ok("GET", "v1/endpoints?pageToken="+token, "")
		p.wants(rest, "endpoints.0.name", `"`+there+`/endpoints/e100"`)
		p.wants(rest, "nextPageToken", "null")
	}
}

func TestEndpointDeletion(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.serve()
	const text = "Endpoint `" + there + "/endpoints/fraud` has deployed or being-deployed DeployedModel(s)."
	p.refused("FAILED_PRECONDITION", text, "DELETE", "v1/endpoints/fraud", "")
	p.changed("POST", "v1/endpoints/fraud:undeployModel", `{"deployedModelId":"77"}`)
	p.ok("POST", "v1/endpoints/fraud:deployModel", deployBody("78", "1"))
	p.refused("FAILED_PRECONDITION", text, "DELETE", "v1/endpoints/fraud", "")
	p.minutes(5)
	p.changed("POST", "v1/endpoints/fraud:undeployModel", `{"deployedModelId":"78"}`)
	p.ok("DELETE", "v1/endpoints/fraud", "")
	p.refused("FAILED_PRECONDITION", "is being deleted", "DELETE", "v1/endpoints/fraud", "")
	p.refused("FAILED_PRECONDITION", "is being deleted", "PATCH", "v1/endpoints/fraud?updateMask=labels", "{}")
	p.refused("FAILED_PRECONDITION", "is being deleted", "POST", "v1/endpoints/fraud:deployModel", deployBody("79", "1"))
	p.minutes(1)
	p.refused("NOT_FOUND", "not found", "DELETE", "v1/endpoints/fraud", "")
	p.changed("POST", "v1/endpoints?endpointId=fraud", `{"displayName":"again"}`)
}
