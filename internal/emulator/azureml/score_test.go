// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml_test

import (
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/azblob"
)

func (s *subscription) uri() string {
	s.t.Helper()
	e, err := s.NewOnlineEndpointsClient().Get(s.t.Context(), group, workspace, "fraud", nil)
	s.must(err)
	return *e.Properties.ScoringURI
}

// Requests are let in by key, and shared out by weight.
func TestScore(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	s.serve()
	uri := s.uri()
	if !strings.HasSuffix(uri, "/inference/eastus/fraud/predict") {
		t.Errorf("the scoringUri is %s", uri)
	}
	for _, credential := range []string{"", "Bearer wrong", "Basic x"} {
		if a := s.send("POST", uri, "{}", credential, nil); a.status != http.StatusUnauthorized {
			t.Errorf("with %q it answers %d", credential, a.status)
		}
	}
	in, _ := s.deployment(s.model("2"), s.environment())
	in.Tags = map[string]*string{"tfml-logical": new("main")}
	_, err := s.putDeployment("green", in)
	s.must(err)
	_, err = s.putEndpoint(map[string]*int32{"blue": new(int32(80)), "green": new(int32(20))}, nil)
	s.must(err)
	versions := map[any]int{}
	for range 50 {
		versions[s.score("text", nil).at("version")]++
	}
	if versions["1"] != 40 || versions["2"] != 10 {
		t.Errorf("50 requests were shared out as %v", versions)
	}
	a := s.score("text", map[string]string{"azureml-model-deployment": "green"})
	s.wants(a, "deployment", `"main"`)
	s.wants(a, "echo", `"text"`)
	if got := a.header.Get("Azureml-Model-Deployment"); got != "green" {
		t.Errorf("the answer says it is of %q", got)
	}
	keys := s.ok("POST", "onlineEndpoints/fraud/listKeys", "")
	key, _ := keys.at("primaryKey").(string)
	// A container refuses in an answer of its own.
	a = s.send("POST", strings.Replace(uri, "/predict", "/elsewhere", 1), "{}", "Bearer "+key, nil)
	if a.status != http.StatusFailedDependency || a.header.Get("Ms-Azureml-Model-Error-Statuscode") != "404" {
		t.Errorf("another path answers %d, %v", a.status, a.header)
	}
	if a = s.send("GET", strings.Replace(uri, "/predict", "/live", 1), "", "Bearer "+key, nil); a.status != http.StatusOK {
		t.Errorf("the path of liveness answers %d", a.status)
	}
	if a = s.score("{}", map[string]string{"azureml-model-deployment": "none"}); a.status != http.StatusNotFound {
		t.Errorf("a deployment that is not there answers %d", a.status)
	}
	p, err := s.NewOnlineEndpointsClient().BeginRegenerateKeys(t.Context(), group, workspace, "fraud", ml.RegenerateEndpointKeysRequest{KeyType: new(ml.KeyTypePrimary)}, nil)
	_, err = done(s, p, err)
	s.must(err)
	if a = s.send("POST", uri, "{}", "Bearer "+key, nil); a.status != http.StatusUnauthorized {
		t.Errorf("the old key still gets %d", a.status)
	}
	s.wants(s.score("{}", nil), "model", `"fraud"`)
}

func (s *subscription) authenticateBy(mode ml.EndpointAuthMode) {
	s.t.Helper()
	p, err := s.NewOnlineEndpointsClient().BeginCreateOrUpdate(s.t.Context(), group, workspace, "fraud", ml.OnlineEndpoint{Location: new("eastus"),
		Properties: &ml.OnlineEndpointProperties{AuthMode: &mode, Traffic: map[string]*int32{"blue": new(int32(100))}}}, nil)
	_, err = done(s, p, err)
	s.must(err)
}

func TestTokens(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	s.serve()
	s.authenticateBy(ml.EndpointAuthModeAMLToken)
	_, err := s.NewOnlineEndpointsClient().ListKeys(t.Context(), group, workspace, "fraud", nil)
	s.fails(err, http.StatusBadRequest, "BadRequest", "AMLToken")
	got, err := s.NewOnlineEndpointsClient().GetToken(t.Context(), group, workspace, "fraud", nil)
	s.must(err)
	if a := s.send("POST", s.uri(), "{}", "Bearer "+*got.AccessToken, nil); a.status != http.StatusOK {
		t.Errorf("with a token it answers %d: %s", a.status, a.text)
	}
	if *got.ExpiryTimeUTC-*got.RefreshAfterTimeUTC < 60 || *got.RefreshAfterTimeUTC <= s.clock.Now().Unix() {
		t.Errorf("it is to be renewed at %d and expires at %d", *got.RefreshAfterTimeUTC, *got.ExpiryTimeUTC)
	}
	s.minutes(300 * 8 * 60)
	if a := s.send("POST", s.uri(), "{}", "Bearer "+*got.AccessToken, nil); a.status != http.StatusUnauthorized {
		t.Errorf("with a token that has expired it answers %d", a.status)
	}
}

// An endpoint that trusts Entra ID lets in who has a role that has the action.
func TestRoles(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	s.serve()
	s.authenticateBy(ml.EndpointAuthModeAADToken)
	const who, name = "aaaaaaaa-1111-2222-3333-444444444444", "bbbbbbbb-1111-2222-3333-444444444444"
	part := base64.RawURLEncoding.EncodeToString
	jwt := part([]byte(`{"alg":"RS256"}`)) + "." + part([]byte(`{"oid":"`+who+`"}`)) + "." + part([]byte("sig"))
	visit := func(token string, status int) {
		t.Helper()
		if a := s.send("POST", s.uri(), "{}", "Bearer "+token, nil); a.status != status {
			t.Errorf("it answers %d: %s", a.status, a.text)
		}
	}
	visit("opaque", http.StatusOK)
	visit(jwt, http.StatusForbidden)
	const roles = "/providers/Microsoft.Authorization/roleDefinitions/"
	endpoint := home + "/onlineEndpoints/fraud"
	assignment := func(name string) string {
		return endpoint + "/providers/Microsoft.Authorization/roleAssignments/" + name
	}
	body := func(role, more string) string {
		return `{"properties":{"principalId":"` + who + `","roleDefinitionId":"/subscriptions/` + sub + roles + role + `"` + more + `}}`
	}
	const scientist, reader, typed = "f6c7c914-8db3-469d-8ca1-694a8f32e121", "acdd72a7-3385-48ef-bd42-f606fba81ae7", `,"principalType":"ServicePrincipal"`
	s.refused(400, "PrincipalNotFound", "replication delay", "PUT", assignment(name), body(scientist, ""))
	s.refused(400, "InvalidRoleAssignmentId", "GUID", "PUT", assignment("mine"), body(scientist, typed))
	s.refused(400, "RoleDefinitionDoesNotExist", "0000", "PUT", assignment(name), body("00000000-1111-2222-3333-444444444444", typed))
	if a := s.ok("PUT", assignment(name), body(reader, typed)); a.status != http.StatusCreated {
		t.Errorf("a new assignment answers %d", a.status)
	}
	visit(jwt, http.StatusForbidden)
	s.refused(409, "RoleAssignmentUpdateNotPermitted", "not allowed to be updated", "PUT", assignment(name), body(scientist, typed))
	if a := s.ok("PUT", assignment(name), body(reader, typed)); a.status != http.StatusOK {
		t.Errorf("the same assignment again answers %d", a.status)
	}
	other := strings.Replace(name, "bbbb", "cccc", 1)
	s.refused(409, "RoleAssignmentExists", "already exists", "PUT", assignment(other), body(reader, typed))
	const custom = "dddddddd-1111-2222-3333-444444444444"
	s.ok("PUT", "/subscriptions/"+sub+roles+custom, `{"properties":{"roleName":"Scorer","assignableScopes":["/subscriptions/`+sub+`"],"permissions":[{"actions":["Microsoft.MachineLearningServices/workspaces/onlineEndpoints/score/action"]}]}}`)
	s.wants(s.ok("GET", "/subscriptions/"+sub+roles[:len(roles)-1]+"?%24filter=roleName+eq+%27Scorer%27", ""), "value.0.name", `"`+custom+`"`)
	s.ok("PUT", assignment(other), body(custom, typed))
	visit(jwt, http.StatusOK)
	var names []string
	for p := s.roles.NewRoleAssignmentsClient().NewListForScopePager(endpoint, nil); p.More(); {
		page, err := p.NextPage(t.Context())
		s.must(err)
		for _, a := range page.Value {
			names = append(names, *a.Name)
		}
	}
	if len(names) != 2 || names[0] != name {
		t.Errorf("the assignments are %v", names)
	}
	_, err := s.roles.NewRoleAssignmentsClient().Delete(t.Context(), endpoint, other, nil)
	s.must(err)
	visit(jwt, http.StatusForbidden)
	s.refused(404, "RoleAssignmentNotFound", other, "GET", assignment(other), "")
	// Nothing takes assignments along.
	s.ok("DELETE", "onlineEndpoints/fraud", "")
	s.minutes(1)
	s.ok("GET", assignment(name), "")
}

// Where a model can be evaluated, its outputs are in the answer.
func TestOutputs(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "examples", "quickstart", "model", "fraud-v1.onnx"))
	s.must(err)
	account, container := s.storage()
	s.must(azblob.Put(filepath.Join(s.dir, "azblob"), account, container, "models/"+digest+"/model.onnx", strings.NewReader(string(data))))
	s.serve()
	if a := s.score(`{"instances":[[412.5,3,0.82,1]]}`, nil); a.at("outputs") == nil {
		t.Errorf("there are no outputs in %s", a.text)
	}
}

// Triton's server and the platform's own answer where their kind does.
func TestServers(t *testing.T) {
	t.Parallel()
	s := newSubscription(t)
	_, err := s.putEndpoint(nil, nil)
	s.must(err)
	got, err := s.NewModelVersionsClient().CreateOrUpdate(t.Context(), group, workspace, "repository", "1", ml.ModelVersion{Properties: &ml.ModelVersionProperties{
		ModelType: new("triton_model"), ModelURI: new("azureml://datastores/workspaceblobstore/paths/models/" + digest)}}, nil)
	s.must(err)
	in, p := s.deployment(*got.ID, "")
	p.EnvironmentID = nil
	_, err = s.putDeployment("triton", in)
	s.must(err)
	base := s.uri()
	if !strings.HasSuffix(base, "/inference/eastus/fraud/") {
		t.Errorf("the scoringUri for Triton is %s", base)
	}
	keys, err := s.NewOnlineEndpointsClient().ListKeys(t.Context(), group, workspace, "fraud", nil)
	s.must(err)
	named := map[string]string{"azureml-model-deployment": "triton"}
	for path, status := range map[string]int{"v2/models/repository/infer": 200, "v2/health/ready": 200, "score": 424} {
		if a := s.send("POST", base+path, "{}", "Bearer "+*keys.PrimaryKey, named); a.status != status {
			t.Errorf("%s answers %d", path, a.status)
		}
	}
}
