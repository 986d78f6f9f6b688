// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/jonboulle/clockwork"
)

// A PUT is followed by Azure-AsyncOperation, and what is there stays until it is done.
func TestAsynchronous(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	a := s.ok("PUT", "onlineEndpoints/fraud", endpointWith(""))
	status := a.header.Get("Azure-Asyncoperation")
	if a.status != http.StatusCreated || !strings.HasPrefix(status, s.url+"/subscriptions/"+sub+"/providers/Microsoft.MachineLearningServices/locations/eastus/mfeOperationsStatus/oe:") {
		t.Errorf("a new endpoint answers %d, and to follow %q", a.status, status)
	}
	s.wants(a, "properties.provisioningState", `"Creating"`)
	s.wants(a, "properties.keys", "null")
	s.wants(a, "identity.type", `"SystemAssigned"`)
	a = s.send("GET", status, "", "Bearer t", nil)
	s.wants(a, "status", `"InProgress"`)
	if a.header.Get("Retry-After") != "1" || a.header.Get("Retry-After-Ms") == "" {
		t.Errorf("the caller is asked to wait for %q", a.header.Get("Retry-After"))
	}
	s.refused(409, "Conflict", "Creating provisioning state", "DELETE", "onlineEndpoints/fraud", "")
	s.refused(400, "InferencingClientCallFailed", "because it is in Creating provisioning state", "PUT", "onlineEndpoints/fraud/deployments/blue", deploymentBody(""))
	s.minutes(1)
	s.wants(s.send("GET", status, "", "Bearer t", nil), "status", `"Succeeded"`)
	// An update shows what is to be, and GET what is.
	a = s.ok("PUT", "onlineEndpoints/fraud", strings.Replace(endpointWith(""), `"Key"`, `"AMLToken"`, 1))
	if a.status != http.StatusOK {
		t.Errorf("an update answers %d", a.status)
	}
	s.wants(a, "properties.authMode", `"AMLToken"`)
	s.wants(a, "properties.provisioningState", `"Updating"`)
	s.wants(s.ok("GET", "onlineEndpoints/fraud", ""), "properties.authMode", `"Key"`)
	s.refused(409, "Conflict", "another operation on same entity is already running", "PUT", "onlineEndpoints/fraud", endpointWith(""))
	s.minutes(1)
	s.wants(s.ok("GET", "onlineEndpoints/fraud", ""), "properties.authMode", `"AMLToken"`)
	// What has no body is followed by Location.
	a = s.ok("DELETE", "onlineEndpoints/fraud", "")
	result := a.header.Get("Location")
	if a.status != http.StatusAccepted || !strings.Contains(result, "/mfeOperationResults/") || a.header.Get("Azure-Asyncoperation") != "" {
		t.Errorf("a deletion answers %d, and to follow %q", a.status, result)
	}
	if a = s.send("GET", result, "", "Bearer t", nil); a.status != http.StatusAccepted {
		t.Errorf("the result of a deletion that runs is %d", a.status)
	}
	s.minutes(1)
	if a = s.send("GET", result, "", "Bearer t", nil); a.status != http.StatusOK {
		t.Errorf("the result of a deletion is %d", a.status)
	}
	s.refused(404, "ResourceNotFound", "fraud", "DELETE", "onlineEndpoints/fraud", "")
}

// A PUT replaces everything: who leaves traffic out takes it away.
func TestPutReplaces(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	s.serve()
	in, _ := s.deployment(s.model("1"), s.environment())
	_, err := s.putDeployment("Shadow", in)
	s.must(err)
	got, err := s.putEndpoint(map[string]*int32{"Blue": new(int32(100)), "shadow": new(int32(0))}, map[string]*int32{"Shadow": new(int32(30))})
	s.must(err)
	if *got.Properties.Traffic["blue"] != 100 || len(got.Properties.Traffic) != 1 || *got.Properties.MirrorTraffic["shadow"] != 30 {
		t.Errorf("the traffic is %v and %v", got.Properties.Traffic, got.Properties.MirrorTraffic)
	}
	for range 10 {
		s.score("{}", nil)
	}
	page := s.send("GET", s.server.Endpoints()["sagemaker"]+"/", "", "", nil).text
	for _, want := range []string{"Azure ML endpoints", "blue", ">10</td>", "+ 30 % mirrored", "+ 4</span>", "Standard_DS3_v2", "azure_ml.onlineEndpoints.score", digest} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not show %q", want)
		}
	}
	got, err = s.putEndpoint(nil, nil)
	s.must(err)
	if len(got.Properties.Traffic)+len(got.Properties.MirrorTraffic) != 0 {
		t.Errorf("the traffic is still %v and %v", got.Properties.Traffic, got.Properties.MirrorTraffic)
	}
	if a := s.score("{}", nil); a.status != http.StatusNotFound {
		t.Errorf("without traffic it answers %d: %s", a.status, a.text)
	}
	if a := s.score("{}", map[string]string{"azureml-model-deployment": "BLUE"}); a.status != http.StatusOK {
		t.Errorf("a deployment that is named answers %d: %s", a.status, a.text)
	}
}

// The traps that clients fall into, when a script asks for them.
func TestTraps(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	s.serve()
	in, _ := s.deployment(s.model("1"), s.environment())
	_, err := s.putDeployment("green", in)
	s.must(err)
	put := func() *runtime.Poller[ml.OnlineEndpointsClientCreateOrUpdateResponse] {
		t.Helper()
		p, err := s.NewOnlineEndpointsClient().BeginCreateOrUpdate(t.Context(), group, workspace, "fraud", ml.OnlineEndpoint{Location: new("eastus"),
			Properties: &ml.OnlineEndpointProperties{AuthMode: new(ml.EndpointAuthModeKey), Traffic: map[string]*int32{"green": new(int32(100))}}}, nil)
		s.must(err)
		return p
	}
	state := func() (string, bool) {
		got, err := s.NewOnlineEndpointsClient().Get(t.Context(), group, workspace, "fraud", nil)
		s.must(err)
		return string(*got.Properties.ProvisioningState), got.Properties.Traffic["green"] != nil
	}
	expect := func(when, want string, moved bool) {
		t.Helper()
		if got, there := state(); got != want || there != moved {
			t.Errorf("%s it is %s, and traffic has moved: %v", when, got, there)
		}
	}
	s.faults(`{"call":"azure_ml.onlineEndpoints.createOrUpdate","occurrence":1,"action":"fail_transition","mode":"early"}`)
	if p := put(); !p.Done() {
		t.Error("the client sees that it is not done")
	}
	expect("at once", "Succeeded", false)
	s.minutes(0.3)
	expect("soon", "Updating", false)
	s.minutes(0.3)
	expect("in the end", "Succeeded", true)
	_, err = s.putEndpoint(map[string]*int32{"blue": new(int32(100))}, nil)
	s.must(err)
	s.faults(`{"call":"azure_ml.onlineEndpoints.createOrUpdate","occurrence":1,"action":"fail_transition","mode":"ignored"}`)
	put()
	s.minutes(1)
	expect("when it is ignored", "Succeeded", false)
	s.faults(`{"call":"azure_ml.onlineEndpoints.createOrUpdate","occurrence":1,"action":"maintenance"}`)
	put()
	s.minutes(0.6)
	expect("in maintenance", "Updating", true)
	s.minutes(0.6)
	expect("after maintenance", "Succeeded", true)
	s.faults(`{"call":"azure_ml.onlineEndpoints.createOrUpdate","occurrence":1,"action":"fail_transition","mode":"canceled"}`)
	p := put()
	_, err = done(s, p, nil)
	s.fails(err, http.StatusOK, "OperationCanceled", "canceled")
	expect("after it was canceled", "Canceled", true)
}

// Deployments fail with status 200 and stay; only those that have served can be put
// again.
func TestFailures(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	s.serve()
	in, settings := s.deployment(s.model("1"), s.environment())
	for mode, code := range map[string]string{"": "ResourceNotReady", "image": "ImageBuildFailure", "quota": "OutOfQuota", "identity": "BadArgument", "network": "WorkspaceManagedNetworkNotReady", "canceled": "OperationCanceled"} {
		s.faults(`{"call":"azure_ml.onlineDeployments.createOrUpdate","occurrence":1,"action":"fail_transition","mode":"` + mode + `"}`)
		_, err := s.putDeployment("green", in)
		s.fails(err, http.StatusOK, code, "")
		p, err := s.NewOnlineDeploymentsClient().BeginDelete(t.Context(), group, workspace, "fraud", "green", nil)
		_, err = done(s, p, err)
		s.must(err)
	}
	s.faults(`{"call":"azure_ml.onlineDeployments.createOrUpdate","occurrence":1,"action":"fail_transition","message":"out of memory"}`)
	_, err := s.putDeployment("green", in)
	s.fails(err, http.StatusOK, "ResourceNotReady", "out of memory")
	_, err = s.putDeployment("green", in)
	s.fails(err, http.StatusBadRequest, "BadRequest", "Delete and re-create")
	_, err = s.putEndpoint(map[string]*int32{"green": new(int32(100))}, nil)
	s.fails(err, http.StatusBadRequest, "BadRequest", "Failed provisioning state")
	logs, err := s.NewOnlineDeploymentsClient().GetLogs(t.Context(), group, workspace, "fraud", "green", ml.DeploymentLogsRequest{ContainerType: new(ml.ContainerTypeInferenceServer), Tail: new(int32(1))}, nil)
	s.must(err)
	if !strings.Contains(*logs.Content, "ERROR out of memory") || strings.Count(*logs.Content, "\n") != 1 {
		t.Errorf("the log is %q", *logs.Content)
	}
	// An update that fails leaves what serves, and can be made again.
	settings.EnvironmentVariables = map[string]*string{"A": new("1")}
	s.faults(`{"call":"azure_ml.onlineDeployments.createOrUpdate","occurrence":1,"action":"fail_transition"}`)
	_, err = s.putDeployment("blue", in)
	s.fails(err, http.StatusOK, "ResourceNotReady", "")
	a := s.ok("GET", "onlineEndpoints/fraud/deployments/blue", "")
	s.wants(a, "properties.provisioningState", `"Failed"`)
	s.wants(a, "properties.environmentVariables", "null")
	s.wants(s.score("{}", nil), "deployment", `"blue"`)
	_, err = s.putDeployment("blue", in)
	s.must(err)
	// What is followed by Location fails with a status of its own.
	s.faults(`{"call":"azure_ml.onlineDeployments.update","occurrence":1,"action":"fail_transition","mode":"quota"}`)
	patch, err := s.NewOnlineDeploymentsClient().BeginUpdate(t.Context(), group, workspace, "fraud", "blue", ml.PartialMinimalTrackedResourceWithSKU{SKU: &ml.PartialSKU{Capacity: new(int32(3))}}, nil)
	_, err = done(s, patch, err)
	s.fails(err, http.StatusBadRequest, "OutOfQuota", "quota")
	s.wants(s.ok("GET", "onlineEndpoints/fraud/deployments/blue", ""), "sku.capacity", "1")
	// There is nothing where the model should be.
	got, err := s.NewModelVersionsClient().CreateOrUpdate(t.Context(), group, workspace, "empty", "1", ml.ModelVersion{Properties: &ml.ModelVersionProperties{ModelURI: new("azureml://datastores/workspaceblobstore/paths/models/2c26")}}, nil)
	s.must(err)
	in, _ = s.deployment(*got.ID, s.environment())
	_, err = s.putDeployment("nothing", in)
	s.fails(err, http.StatusOK, "BadRequest", "nothing is stored at")
	s.faults(`{"call":"azure_ml.onlineDeployments.createOrUpdate","action":"fail_transition","mode":"no such"}`)
	s.refused(500, "InternalServerError", "no such", "PUT", "onlineEndpoints/fraud/deployments/other", deploymentBody(""))
}

// Everything is in the directory: another process goes on, and operations that have
// begun come to their end.
func TestAnotherProcess(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	s.serve()
	s.ok("PATCH", "onlineEndpoints/fraud/deployments/blue", `{"sku":{"capacity":4},"tags":{"a":"b"}}`)
	s.must(s.server.Close())
	other := openSubscription(t, s.dir, clockwork.NewFakeClockAt(s.clock.Now().Add(time.Hour)))
	a := other.ok("GET", "onlineEndpoints/fraud/deployments/blue", "")
	other.wants(a, "sku.capacity", "4")
	other.wants(a, "tags", `{"a":"b"}`)
	calls, err := other.server.Calls()
	other.must(err)
	var names []string
	for _, c := range calls {
		names = append(names, c.Name+" "+c.Region)
	}
	for _, want := range []string{"azure_ml.onlineDeployments.update ws-ml", "azure_ml.modelVersions.createOrUpdate ws-ml", "azure_ml.environmentVersions.createOrUpdate ws-ml"} {
		if !slices.Contains(names, want) {
			t.Errorf("%v were called, without %s", names, want)
		}
	}
}

// Lists have pages, and write ids in lower case.
func TestPages(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	for _, name := range []string{"one", "two", "three", "four", "five"} {
		s.ok("PUT", "onlineEndpoints/"+name, strings.Replace(endpointWith(""), `"location"`, `"tags":{"n":"`+name+`"},"location"`, 1))
	}
	var names []string
	pages := 0
	for p := s.NewOnlineEndpointsClient().NewListPager(group, workspace, &ml.OnlineEndpointsClientListOptions{Count: new(int32(2))}); p.More(); pages++ {
		page, err := p.NextPage(t.Context())
		s.must(err)
		for _, e := range page.Value {
			names = append(names, *e.Name)
			if !strings.HasPrefix(*e.ID, strings.ToLower(scope)) {
				t.Errorf("an id is %s", *e.ID)
			}
		}
	}
	if want := []string{"five", "four", "one", "three", "two"}; !slices.Equal(names, want) || pages != 3 {
		t.Errorf("%d pages have %v", pages, names)
	}
	s.wants(s.ok("GET", "onlineEndpoints?tags=n%3Dfour", ""), "value.0.name", `"four"`)
	s.refused(400, "BadRequest", "count", "GET", "onlineEndpoints?count=x", "")
}
