// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	pb "cloud.google.com/go/aiplatform/apiv1beta1/aiplatformpb"
	"cloud.google.com/go/iam/apiv1/iampb"
	"cloud.google.com/go/longrunning/autogen/longrunningpb"
	"github.com/jonboulle/clockwork"
	aiplatform "google.golang.org/api/aiplatform/v1"
)

func TestOperations(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.serve()
	a := p.ok("POST", "v1/endpoints/fraud:deployModel", deployBody("78", "1"))
	name, _ := a.at("name").(string)
	p.wants(a, "metadata.@type", `"type.googleapis.com/google.cloud.aiplatform.v1.DeployModelOperationMetadata"`)
	p.wants(a, "metadata.genericMetadata.createTime", `"2026-01-01T12:00:03Z"`)
	p.wants(a, "done", "null")
	// The unfinished first; read under either version, and where generated clients do.
	list, err := p.v1.Endpoints.Operations.List(here + "/endpoints/fraud").Do()
	p.must(err)
	if len(list.Operations) != 3 || list.Operations[0].Name != name || list.Operations[0].Done || !list.Operations[1].Done {
		t.Errorf("the operations are %+v", list.Operations)
	}
	p.wants(p.ok("GET", "v1/endpoints/fraud/operations?filter=done%3Dfalse", ""), "operations.1", "null")
	if all, _ := p.ok("GET", "v1/operations", "").at("operations").([]any); len(all) != 4 {
		t.Errorf("the region has %d operations", len(all))
	}
	p.wants(p.ok("GET", "v1/models/fraud/operations", ""), "operations.0.response.modelVersionId", `"1"`)
	p.minutes(5)
	p.wants(p.ok("GET", "v1/"+name, ""), "response.@type", `"type.googleapis.com/google.cloud.aiplatform.v1.DeployModelResponse"`)
	p.wants(p.ok("GET", "v1beta1/"+name, ""), "response.@type", `"type.googleapis.com/google.cloud.aiplatform.v1beta1.DeployModelResponse"`)
	p.wants(p.ok("GET", "ui/"+name, ""), "metadata.@type", `"type.googleapis.com/google.cloud.aiplatform.v1beta1.DeployModelOperationMetadata"`)
	op, err := p.endpoints.GetOperation(t.Context(), &longrunningpb.GetOperationRequest{Name: name})
	if err != nil || !op.GetDone() {
		t.Errorf("the generated client reads %v, %v", op, err)
	}
	p.ok("DELETE", "v1/"+name, "")
	p.refused("NOT_FOUND", "not found", "GET", "v1/"+name, "")
	p.refused("NOT_FOUND", "not found", "POST", "v1/endpoints/fraud/operations/1:cancel", "{}")
	p.wants(p.ok("GET", "v1/endpoints/none/operations", ""), "operations", "null")
}

func TestCancel(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.serve()
	deploy := func() string {
		name, _ := p.ok("POST", "v1/endpoints/fraud:deployModel", deployBody("78", "1")).at("name").(string)
		return name
	}
	name := deploy()
	p.ok("POST", "v1/"+name+":cancel", "{}")
	p.wants(p.ok("GET", "v1/"+name, ""), "done", "null")
	p.minutes(1)
	a := p.ok("GET", "v1/"+name, "")
	p.wants(a, "error.code", "1")
	p.wants(a, "metadata.deploymentStage", `"FAILED_TO_DEPLOY"`)
	p.wants(p.ok("GET", "v1/endpoints/fraud", ""), "deployedModels.1", "null")
	// To cancel is best effort.
	name = deploy()
	p.minutes(4.9)
	p.ok("POST", "v1/"+name+":cancel", "{}")
	p.minutes(1)
	p.wants(p.ok("GET", "v1/"+name, ""), "error", "null")
	name, _ = p.ok("POST", "v1/endpoints/fraud:undeployModel", `{"deployedModelId":"78"}`).at("name").(string)
	p.ok("POST", "v1/"+name+":cancel", "")
	p.minutes(2)
	p.wants(p.ok("GET", "v1/"+name, ""), "response.@type", `"type.googleapis.com/google.cloud.aiplatform.v1.UndeployModelResponse"`)
}

func TestWait(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	name, _ := p.ok("POST", "v1/endpoints?endpointId=fraud", `{"displayName":"d"}`).at("name").(string)
	wait := func(query, body string) chan *answer {
		answered := make(chan *answer, 1)
		go func() { answered <- p.call("POST", "v1/"+name+":wait"+query, body) }()
		ctx, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		p.must(p.clock.BlockUntilContext(ctx, 1))
		return answered
	}
	short := wait("?timeout=0.1s", "")
	p.clock.Advance(100 * time.Millisecond)
	p.wants(<-short, "done", "null")
	long := wait("", `{"timeout":"3600s"}`)
	p.minutes(1)
	p.wants(<-long, "done", "true")
	p.refused("INVALID_ARGUMENT", "Invalid value at 'timeout'", "POST", "v1/"+name+":wait?timeout=soon", "")
}

// Failures that a script asks for.
func TestFailedTransitions(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.serve()
	fails := func(more string) string {
		return `{"call":"vertex_ai.endpoints.deployModel","occurrence":1,"action":"fail_transition"` + more + `}`
	}
	const deploy = "v1/endpoints/fraud:deployModel"
	for more, want := range map[string]struct {
		code  int
		words string
	}{
		``:                     {9, "Model server never became ready. Please validate that your model file or container configuration are valid. Model server logs can be found at https://"},
		`,"message":"no luck"`: {9, "no luck"},
		`,"code":"INTERNAL"`:   {13, "never became ready"},
		`,"mode":"exited"`:     {9, "Model server exited unexpectedly. Model server logs"},
		`,"mode":"quota"`:      {8, "The following quota metrics exceed quota limits: "},
		`,"mode":"stock_out"`:  {8, "not enough resources"},
	} {
		p.faults(fails(more))
		p.failed(want.code, want.words, "POST", deploy, deployBody("78", "1"))
		p.wants(p.ok("GET", "v1/endpoints/fraud?allDeploymentStates=true", ""), "deployedModels.1", "null")
	}
	// What was not deployed keeps nobody from deleting it.
	p.uploadNext()
	p.faults(fails(""))
	p.failed(9, "never became ready", "POST", deploy, deployBody("78", "2"))
	p.changed("DELETE", "v1/models/fraud@2:deleteVersion", "")
	// A model that never becomes ready has its time.
	p.faults(fails(`,"mode":"never_ready"`))
	name, _ := p.ok("POST", deploy, deployBody("78", "1")).at("name").(string)
	p.minutes(29)
	p.wants(p.ok("GET", "v1/"+name, ""), "done", "null")
	p.minutes(2)
	p.wants(p.ok("GET", "v1/"+name, ""), "error.code", "9")
	// Some replicas do not start.
	p.faults(fails(`,"mode":"partial"`))
	a := p.changed("POST", deploy, deployBody("78", "1"))
	p.wants(a, "metadata.genericMetadata.partialFailures.0.code", "8")
	if text, _ := p.ok("GET", "v1/endpoints/fraud", "").at("deployedModels.1.status.message").(string); !strings.Contains(text, "Not all replicas") {
		t.Errorf("the deployment says %q", text)
	}
	// What has been done is said to have failed.
	p.faults(`{"call":"vertex_ai.endpoints.undeployModel","action":"fail_transition","mode":"after"}`)
	p.failed(13, "Internal error", "POST", "v1/endpoints/fraud:undeployModel", `{"deployedModelId":"78"}`)
	p.wants(p.ok("GET", "v1/endpoints/fraud", ""), "deployedModels.1", "null")
	p.faults(`{"call":"vertex_ai.endpoints.create","action":"fail_transition"}`)
	p.failed(13, "Internal error", "POST", "v1/endpoints?endpointId=other", `{"displayName":"d"}`)
	p.refused("NOT_FOUND", "not found", "GET", "v1/endpoints/other", "")
	p.faults()
	p.changed("POST", "v1/endpoints?endpointId=other", `{"displayName":"d"}`)
	p.faults(fails(`,"mode":"odd"`))
	p.refused("INTERNAL", "is not a mode of failure", "POST", deploy, deployBody("79", "1"))
	p.faults(strings.Replace(fails(""), "fail_transition", "maintenance", 1))
	p.refused("INTERNAL", "nothing that Vertex AI does of its own", "POST", deploy, deployBody("79", "1"))
}

func TestFaults(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.faults(`{"call":"vertex_ai.models.list","occurrence":1,"action":"error","status":429,"code":"RESOURCE_EXHAUSTED","message":"slow down"}`,
		`{"call":"vertex_ai.models.list","occurrence":2,"action":"error","status":503,"message":"away"}`,
		`{"call":"vertex_ai.models.upload","occurrence":1,"action":"hang","duration":"1ms"}`,
		`{"call":"vertex_ai.endpoints.create","occurrence":1,"action":"lost_answer"}`)
	p.refused("RESOURCE_EXHAUSTED", "slow down", "GET", "v1/models", "")
	a := p.call("GET", "v1/models", "")
	p.wants(a, "error.status", `"UNAVAILABLE"`)
	if a.header.Get("Retry-After") == "" || a.header.Get("X-Request-Id") == "" {
		t.Errorf("the headers are %v", a.header)
	}
	silent := func(method, path, body string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, p.url+"/v1/"+here+"/"+path, strings.NewReader(body))
		p.must(err)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			t.Errorf("%s %s is answered: %s", method, path, resp.Status)
		}
	}
	silent("POST", "models:upload", uploadBody)
	silent("POST", "endpoints?endpointId=fraud", `{"displayName":"d"}`)
	p.minutes(1)
	p.wants(p.ok("GET", "v1/models", ""), "models", "null") // nothing has happened
	p.ok("GET", "v1/endpoints/fraud", "")                   // it was made all the same
	calls, err := p.server.Calls()
	p.must(err)
	last := calls[len(calls)-1]
	if last.Name != "vertex_ai.endpoints.get" || last.Region != "us-central1" || last.Status != http.StatusOK {
		t.Errorf("the last call is %+v", last)
	}
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.serve()
	ctx := t.Context()
	name := here + "/endpoints/fraud"
	got, err := p.endpoints.GetIamPolicy(ctx, &iampb.GetIamPolicyRequest{Resource: name, Options: &iampb.GetPolicyOptions{RequestedPolicyVersion: 3}})
	p.must(err)
	first := got.GetEtag()
	got.Bindings = []*iampb.Binding{{Role: "roles/aiplatform.user", Members: []string{"user:a@b.c", "group:d@e.f"}}}
	got, err = p.endpoints.SetIamPolicy(ctx, &iampb.SetIamPolicyRequest{Resource: name, Policy: got})
	p.must(err)
	if bytes.Equal(got.GetEtag(), first) || len(got.GetBindings()) != 1 {
		t.Errorf("the policy is %v", got)
	}
	old, err := json.Marshal(first)
	p.must(err)
	for _, c := range []struct{ status, words, body string }{
		{"ABORTED", "concurrent policy changes", `{"policy":{"etag":` + string(old) + `}}`},
		{"INVALID_ARGUMENT", "Invalid member", `{"policy":{"bindings":[{"role":"roles/r","members":["me"]}]}}`},
		{"INVALID_ARGUMENT", "is not supported", `{"policy":{"bindings":[{"role":"user","members":["user:a@b.c"]}]}}`},
		{"INVALID_ARGUMENT", "version 3", `{"policy":{"bindings":[{"role":"roles/r","members":["user:a@b.c"],"condition":{"expression":"true"}}]}}`},
		{"INVALID_ARGUMENT", "policy", `{}`},
	} {
		p.refused(c.status, c.words, "POST", "v1beta1/endpoints/fraud:setIamPolicy", c.body)
	}
	p.ok("POST", "v1beta1/endpoints/fraud:setIamPolicy", `{"policy":{"version":3,"bindings":[{"role":"roles/r","members":["user:a@b.c"],"condition":{"expression":"true","title":"t"}}]}}`)
	a := p.ok("POST", "v1beta1/endpoints/fraud:getIamPolicy", "{}")
	if role, _ := a.at("bindings.0.role").(string); !strings.HasPrefix(role, "roles/r_withcond_") || a.at("version") != float64(1) {
		t.Errorf("whoever does not know of conditions sees %s", a.text)
	}
	p.wants(p.ok("POST", "v1beta1/endpoints/fraud:getIamPolicy?options.requestedPolicyVersion=3", ""), "bindings.0.condition.title", `"t"`)
	p.refused("INVALID_ARGUMENT", "Invalid requested policy version", "POST", "v1beta1/endpoints/fraud:getIamPolicy?options.requestedPolicyVersion=2", "")
	p.refused("NOT_FOUND", "not found", "POST", "v1beta1/endpoints/none:getIamPolicy", "")
	// Models have policies in v1 too, and an endpoint's change leaves its policy alone.
	p.ok("POST", "v1/models/fraud:setIamPolicy", `{"policy":{"bindings":[{"role":"roles/m","members":["allUsers"]}]}}`)
	p.wants(p.ok("POST", "v1/models/fraud:getIamPolicy", ""), "bindings.0.role", `"roles/m"`)
	p.wants(p.ok("POST", "v1/models/fraud:testIamPermissions", `{"permissions":["a.b.c"]}`), "permissions", `["a.b.c"]`)
	p.ok("PATCH", "v1/endpoints/fraud?updateMask=labels", `{"labels":{"a":"b"}}`)
	p.wants(p.ok("POST", "v1beta1/endpoints/fraud:getIamPolicy?options.requestedPolicyVersion=3", ""), "bindings.0.role", `"roles/r"`)
}

func TestProjects(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.wants(p.ok("GET", "v1/projects/p1", ""), "projectNumber", `"123"`)
	p.wants(p.ok("GET", "v1/projects/123", ""), "projectId", `"p1"`)
	p.wants(p.ok("GET", "v3/projects/p1", ""), "name", `"projects/123"`)
	number, _ := p.ok("GET", "v1/projects/other", "").at("projectNumber").(string)
	if len(number) != 12 {
		t.Errorf("another project has the number %q", number)
	}
	p.refused("PERMISSION_DENIED", "does not have permission", "GET", "v1/projects/999", "")
	// Whoever names the project by its number means the same.
	p.upload()
	p.wants(p.ok("GET", "v1/projects/123/locations/us-central1/models/fraud", ""), "name", `"`+there+`/models/fraud"`)
}

// Everything is in the directory: another process goes on, and operations that have
// begun come to their end.
func TestAnotherProcess(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.serve()
	op, err := p.v1.Endpoints.DeployModel(here+"/endpoints/fraud", &aiplatform.GoogleCloudAiplatformV1DeployModelRequest{
		DeployedModel: &aiplatform.GoogleCloudAiplatformV1DeployedModel{Id: "78", Model: here + "/models/fraud",
			DedicatedResources: &aiplatform.GoogleCloudAiplatformV1DedicatedResources{MachineSpec: &aiplatform.GoogleCloudAiplatformV1MachineSpec{}, MinReplicaCount: 1}}}).Do()
	p.must(err)
	p.must(p.server.Close())
	q := openProject(t, p.dir, clockwork.NewFakeClockAt(p.clock.Now().Add(time.Hour)))
	list, err := q.models.ListModels(t.Context(), &pb.ListModelsRequest{Parent: here}).Next()
	q.must(err)
	ids := []string{list.GetDeployedModels()[0].GetDeployedModelId(), list.GetDeployedModels()[1].GetDeployedModelId()}
	if done := q.ok("GET", "v1/"+op.Name, ""); done.at("done") != true || !slices.Equal(ids, []string{"77", "78"}) {
		t.Errorf("the operation is %s, and the model is served by %v", done.text, ids)
	}
}
