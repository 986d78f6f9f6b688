// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml_test

import (
	"net/http"
	"strings"
	"testing"
)

// What holds for every request.
func TestProtocol(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	a := s.send("GET", s.url+home+"?api-version=2024-04-01", "", "", nil)
	s.wants(a, "error.code", `"AuthenticationFailed"`)
	a = s.send("GET", s.url+home, "", "Bearer t", nil)
	s.wants(a, "error.code", `"MissingApiVersionParameter"`)
	s.refused(400, "NoRegisteredProviderFound", "2019-01-01", "GET", home+"?api-version=2019-01-01", "")
	s.refused(400, "InvalidSubscriptionId", "mine", "GET", strings.Replace(home, sub, "mine", 1), "")
	s.refused(404, "InvalidResourceNamespace", "Microsoft.Nothing", "GET", scope+"/providers/Microsoft.Nothing/things/x", "")
	s.refused(404, "InvalidResourceType", "jobs", "GET", "jobs/x", "")
	s.refused(400, "BadRequest", "flavor", "GET", "onlineEndpoints?flavor=red", "")
	a = s.call("GET", "onlineEndpoints/none", "")
	s.wants(a, "error.code", `"ResourceNotFound"`)
	if a.header.Get("X-Ms-Request-Id") == "" || a.at("error.additionalInfo.0.info.value.request") != a.header.Get("X-Ms-Request-Id") {
		t.Errorf("the request id is not in %v and %s", a.header, a.text)
	}
	a = s.send("GET", s.url+home+"?api-version=2024-04-01", "", "Bearer t", map[string]string{"x-ms-correlation-request-id": "mine", "x-ms-client-request-id": "one"})
	if a.header.Get("X-Ms-Correlation-Request-Id") != "mine" || a.header.Get("X-Ms-Client-Request-Id") != "one" {
		t.Errorf("the caller's ids are not answered: %v", a.header)
	}
	// Ids are the same in any case.
	s.serve()
	a = s.ok("GET", strings.ToUpper(home)+"/ONLINEENDPOINTS/FRAUD", "")
	s.wants(a, "id", `"`+home+`/onlineEndpoints/fraud"`)
}

const endpointBody = `{"location":"eastus","properties":{"authMode":"Key"MORE}}`

func endpointWith(more string) string { return strings.Replace(endpointBody, "MORE", more, 1) }

func TestEndpointRefusals(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	s.serve()
	const fraud = "onlineEndpoints/fraud"
	for _, c := range []struct{ code, words, path, body string }{
		{"BadRequest", "3 to 32", "onlineEndpoints/ab", endpointWith("")},
		{"BadRequest", "3 to 32", "onlineEndpoints/9lives", endpointWith("")},
		{"LocationRequired", "location", "onlineEndpoints/new", `{"properties":{"authMode":"Key"}}`},
		{"BadRequest", "its workspace", "onlineEndpoints/new", strings.Replace(endpointWith(""), "eastus", "westeurope", 1)},
		{"BadRequest", "authMode", "onlineEndpoints/new", `{"location":"East US","properties":{}}`},
		{"BadRequest", "'key'", "onlineEndpoints/new", strings.Replace(endpointWith(""), `"Key"`, `"key"`, 1)},
		{"ValidationError", "Could not find member 'flavor' on object of type 'OnlineEndpoint'. Path 'properties.flavor'", "onlineEndpoints/new", endpointWith(`,"flavor":"red"`)},
		{"InvalidRequestContent", "not JSON", "onlineEndpoints/new", `{`},
		{"InvalidRequestContent", "deserialized", "onlineEndpoints/new", endpointWith(`,"traffic":{"blue":"100"}`)},
		{"InferencingClientCreateEndpointFailed", "do not exist", "onlineEndpoints/new", endpointWith(`,"traffic":{"blue":100}`)},
		{"ComputeNotFound", "aks", "onlineEndpoints/new", endpointWith(`,"compute":"` + home + `/computes/aks"`)},
		{"InvalidTagNameCharacters", "a/b", "onlineEndpoints/new", `{"location":"eastus","tags":{"a/b":"c"},"properties":{"authMode":"Key"}}`},
		{"InferencingClientUpdateEndpointFailed", "does not exist", fraud, endpointWith(`,"traffic":{"blue":50,"green":50}`)},
		{"BadRequest", "sums up to 90", fraud, endpointWith(`,"traffic":{"blue":90}`)},
		{"BadRequest", "between 0 and 100", fraud, endpointWith(`,"traffic":{"blue":101}`)},
		{"BadRequest", "at most 50", fraud, endpointWith(`,"mirrorTraffic":{"blue":60}`)},
		{"BadRequest", "only one", fraud, endpointWith(`,"mirrorTraffic":{"blue":10,"BLUE":20}`)},
		{"BadRequest", "live traffic", fraud, endpointWith(`,"traffic":{"blue":100},"mirrorTraffic":{"blue":10}`)},
		{"BadRequest", "description", fraud, endpointWith(`,"description":"new"`)},
		{"BadRequest", "identity", fraud, `{"location":"eastus","identity":{"type":"None"},"properties":{"authMode":"Key"}}`},
		{"BadRequest", "properties can be added only", fraud, endpointWith(`,"properties":{"AzureAsyncOperationUri":"an older one"}`)},
	} {
		s.refused(400, c.code, c.words, "PUT", c.path, c.body)
	}
	s.refused(400, "BadRequest", "identity", "PATCH", fraud, `{"identity":{"type":"None"}}`)
	s.refused(400, "ValidationError", "properties", "PATCH", fraud, `{"properties":{"traffic":{}}}`)
	s.refused(400, "BadRequest", "authMode is Key", "POST", fraud+"/token", "")
	s.refused(400, "BadRequest", "keyType", "POST", fraud+"/regenerateKeys", `{"keyType":"Third"}`)
	// The name is another workspace's.
	other := strings.Replace(home, workspace, "ws-other", 1)
	s.refused(409, "EndpointAlreadyExists", "unique within a region", "PUT", other+"/onlineEndpoints/Fraud", endpointWith(""))
	s.refused(404, "ResourceNotFound", "fraud", "GET", other+"/onlineEndpoints/fraud", "")
}

func deploymentBody(properties string) string {
	return `{"location":"eastus","sku":{"name":"Default","capacity":1},"properties":{"endpointComputeType":"Managed","instanceType":"STANDARD_DS3_V2",` +
		`"environmentId":"` + home + `/environments/server/versions/1"` + properties + `}}`
}

func TestDeploymentRefusals(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	s.serve()
	const fresh, blue = "onlineEndpoints/fraud/deployments/green", "onlineEndpoints/fraud/deployments/blue"
	model := `,"model":"` + home + `/models/fraud/versions/1"`
	without := func(body, part, by string) string { return strings.Replace(body, part, by, 1) }
	for _, c := range []struct{ code, words, path, body string }{
		{"BadRequest", "managed", fresh, without(deploymentBody(model), "Managed", "managed")},
		{"BadRequest", "must be 'Default'", fresh, without(deploymentBody(model), `"Default"`, `"Standard"`)},
		{"BadRequest", "capacity 0", fresh, without(deploymentBody(model), `"capacity":1`, `"capacity":0`)},
		{"BadRequest", "capacity 51", fresh, without(deploymentBody(model), `"capacity":1`, `"capacity":51`)},
		{"NotSupported", "STANDARD_X1", fresh, without(deploymentBody(model), "STANDARD_DS3_V2", "STANDARD_X1")},
		{"BadArgument", "models/none", fresh, deploymentBody(`,"model":"` + home + `/models/none/versions/1"`)},
		{"BadArgument", "registries/shared", fresh, deploymentBody(`,"model":"azureml://registries/shared/models/fraud/versions/1"`)},
		{"BadRequest", "not in workspace", fresh, deploymentBody(`,"model":"` + strings.Replace(home, workspace, "ws-other", 1) + `/models/fraud/versions/1"`)},
		{"BadRequest", "environmentId", fresh, without(deploymentBody(model), `"environmentId":"`+home+`/environments/server/versions/1",`, "")},
		{"BadRequest", "inferenceConfig", fresh, deploymentBody(model + `,"codeConfiguration":{"codeId":"x","scoringScript":"score.py"}`)},
		{"BadRequest", "PT180S", fresh, deploymentBody(model + `,"requestSettings":{"requestTimeout":"PT180S1"}`)},
		{"BadRequest", "longer than PT3M", fresh, deploymentBody(model + `,"requestSettings":{"requestTimeout":"PT181S"}`)},
		{"BadRequest", "successThreshold", fresh, deploymentBody(model + `,"livenessProbe":{"successThreshold":2}`)},
		{"BadRequest", "shorter than PT1S", fresh, deploymentBody(model + `,"readinessProbe":{"timeout":"PT0.5S"}`)},
		{"BadRequest", "absolute", fresh, deploymentBody(model + `,"modelMountPath":"models"`)},
		{"NotSupported", "TargetUtilization", fresh, deploymentBody(model + `,"scaleSettings":{"scaleType":"TargetUtilization","minInstances":1}`)},
		{"ValidationError", "containerResourceRequirements", fresh, deploymentBody(model + `,"containerResourceRequirements":{}`)},
		{"BadRequest", "samplingRate", fresh, deploymentBody(model + `,"dataCollector":{"collections":{"request":{"samplingRate":2}}}`)},
		{"BadArgument", "data/none", fresh, deploymentBody(model + `,"dataCollector":{"collections":{"request":{"dataId":"` + home + `/data/none/versions/1"}}}`)},
		{"BadRequest", "instanceType", blue, without(deploymentBody(model), "STANDARD_DS3_V2", "STANDARD_DS4_V2")},
		{"BadRequest", "egressPublicNetworkAccess", blue, deploymentBody(model + `,"egressPublicNetworkAccess":"Disabled"`)},
	} {
		s.refused(400, c.code, c.words, "PUT", c.path, c.body)
	}
	s.refused(404, "ParentResourceNotFound", "none", "PUT", "onlineEndpoints/none/deployments/blue", deploymentBody(model))
	s.refused(404, "ParentResourceNotFound", "none", "GET", "onlineEndpoints/none/deployments/blue", "")
	s.refused(404, "ResourceNotFound", "green", "DELETE", fresh, "")
	s.refused(400, "InferencingClientDeleteDeploymentFailed", "100 percent", "DELETE", blue, "")
	s.refused(400, "UserError", "deployment blue of endpoint fraud", "DELETE", "models/fraud/versions/1", "")
	// Defaults and durations come back in the platform's words.
	a := s.ok("PUT", fresh, deploymentBody(model+`,"requestSettings":{"requestTimeout":"PT60S"}`))
	s.wants(a, "properties.requestSettings.requestTimeout", `"PT1M"`)
	s.wants(a, "properties.livenessProbe.failureThreshold", "30")
	s.wants(a, "properties.egressPublicNetworkAccess", `"Enabled"`)
	s.wants(a, "properties.scaleSettings.scaleType", `"Default"`)
}

// The limits of a subscription hold cores, of which managed machines need a fifth
// more than they have.
func TestQuota(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	s.serve() // 2 × 4 cores
	s.file("quotas.json", `{"standardDSv2Family": 20}`)
	model := `,"model":"` + home + `/models/fraud/versions/1"`
	three := strings.Replace(deploymentBody(model), `"capacity":1`, `"capacity":3`, 1) // 4 × 4
	s.refused(400, "OutOfQuota", "Current usage/limit: 8/20. Additional needed: 16", "PUT", "onlineEndpoints/fraud/deployments/green", three)
	s.refused(400, "OutOfQuota", "Current usage/limit: 0/20. Additional needed: 24", "PATCH", "onlineEndpoints/fraud/deployments/blue", `{"sku":{"capacity":5}}`)
	s.ok("PUT", "onlineEndpoints/fraud/deployments/green", deploymentBody(model))
	page, err := s.NewUsagesClient().NewListPager("eastus", nil).NextPage(t.Context())
	s.must(err)
	for _, u := range page.Value {
		if *u.Name.Value == "standardDSv2Family" && (*u.CurrentValue != 16 || *u.Limit != 20) {
			t.Errorf("the usage is %d of %d", *u.CurrentValue, *u.Limit)
		}
	}
	sizes, err := s.NewVirtualMachineSizesClient().List(t.Context(), "eastus", nil)
	s.must(err)
	if len(sizes.Value) < 80 {
		t.Errorf("there are %d sizes of virtual machines", len(sizes.Value))
	}
}

// One call too many is refused with the time to wait.
func TestThrottling(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	s.file("quotas.json", `{"azure_ml.onlineEndpoints.list": 1}`)
	s.ok("GET", "onlineEndpoints", "")
	a := s.call("GET", "onlineEndpoints", "")
	if a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "1" {
		t.Errorf("it answers %d, and to wait for %q", a.status, a.header.Get("Retry-After"))
	}
	s.wants(a, "error.code", `"TooManyRequests"`)
	s.faults(`{"call":"azure_ml.workspaces.get","action":"error","status":429,"code":"TooManyRequests","message":"slow","duration":"7m"}`)
	if a = s.call("GET", "", ""); a.header.Get("Retry-After") != "420" {
		t.Errorf("a fault asks to wait for %q", a.header.Get("Retry-After"))
	}
}
