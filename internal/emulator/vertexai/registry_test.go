// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	pb "cloud.google.com/go/aiplatform/apiv1beta1/aiplatformpb"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/iterator"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

// The registry through the generated client of v1beta1.
func TestRegistry(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	ctx := t.Context()
	m := spec("Fraud")
	m.Labels = map[string]string{"team": "risk"}
	op, err := p.models.UploadModel(ctx, &pb.UploadModelRequest{Parent: here, ModelId: "fraud", Model: m})
	p.must(err)
	if !strings.HasPrefix(op.Name(), there+"/models/fraud/operations/") || op.Done() {
		t.Errorf("the upload is %s, done %v", op.Name(), op.Done())
	}
	p.refused("NOT_FOUND", "is not found", "GET", "v1/models/fraud", "")
	p.refused("ALREADY_EXISTS", "already exists", "POST", "v1/models:upload", uploadBody)
	p.minutes(2)
	up, err := op.Poll(ctx)
	p.must(err)
	if up.GetModel() != there+"/models/fraud" || up.GetModelVersionId() != "1" {
		t.Errorf("the upload answers %v", up)
	}
	second := spec("Fraud")
	second.Labels, second.VersionAliases = map[string]string{"stage": "test"}, []string{"golden"}
	op, err = p.models.UploadModel(ctx, &pb.UploadModelRequest{Parent: here, ParentModel: here + "/models/fraud", Model: second})
	p.must(err)
	p.minutes(2)
	_, err = op.Poll(ctx)
	p.must(err)

	for name, version := range map[string]string{"fraud": "1", "fraud@2": "2", "fraud@golden": "2", "fraud@default": "1"} {
		got, err := p.models.GetModel(ctx, &pb.GetModelRequest{Name: here + "/models/" + name})
		p.must(err)
		if got.GetVersionId() != version || got.GetName() != there+"/models/fraud" || got.GetContainerSpec().GetImageUri() != image || len(got.GetSupportedDeploymentResourcesTypes()) != 2 {
			t.Errorf("%s is %v", name, got)
		}
	}
	var seen []string
	versions := p.models.ListModelVersions(ctx, &pb.ListModelVersionsRequest{Name: here + "/models/fraud", PageSize: 1})
	for v, err := versions.Next(); !errors.Is(err, iterator.Done); v, err = versions.Next() {
		p.must(err)
		seen = append(seen, v.GetVersionId()+" "+strings.Join(v.GetVersionAliases(), ","))
	}
	if diff := cmp.Diff([]string{"1 default", "2 golden"}, seen); diff != "" {
		t.Error(diff)
	}
	// An alias moves to the version that is given it.
	got, err := p.models.MergeVersionAliases(ctx, &pb.MergeVersionAliasesRequest{Name: here + "/models/fraud@2", VersionAliases: []string{"default", "-golden", "best", "odd", "-odd"}})
	p.must(err)
	if aliases := slices.Sorted(slices.Values(got.GetVersionAliases())); !slices.Equal(aliases, []string{"best", "default"}) {
		t.Errorf("version 2 has %v", aliases)
	}
	if one := p.ok("GET", "v1/models/fraud@1", ""); one.at("versionAliases") != nil {
		t.Errorf("version 1 has %v", one.at("versionAliases"))
	}
	patched, err := p.models.UpdateModel(ctx, &pb.UpdateModelRequest{Model: &pb.Model{Name: here + "/models/fraud", Description: "d", Labels: map[string]string{"of": "model"}},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"description", "labels"}}})
	p.must(err)
	if diff := cmp.Diff(map[string]string{"of": "model", "stage": "test"}, patched.GetLabels()); diff != "" || patched.GetDescription() != "d" || patched.GetEtag() == got.GetEtag() {
		t.Errorf("labels of both layers, a new etag: %s %v", diff, patched)
	}
}

func TestModelUpdates(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.upload()
	p.uploadNext()
	for _, c := range []struct{ status, words, method, path, body string }{
		{"INVALID_ARGUMENT", "update mask is required", "PATCH", "models/fraud", `{"description":"d"}`},
		{"FAILED_PRECONDITION", "version_description", "PATCH", "models/fraud?updateMask=versionDescription", `{"versionDescription":"d"}`},
		{"FAILED_PRECONDITION", "display_name", "PATCH", "models/fraud@1?update_mask=display_name", `{"displayName":"d"}`},
		{"FAILED_PRECONDITION", "version_description", "PATCH", "models/fraud?updateMask=labels,versionDescription", `{}`},
		{"INVALID_ARGUMENT", "artifact_uri", "PATCH", "models/fraud@1?updateMask=artifactUri", `{"artifactUri":"gs://b/d"}`},
		{"INVALID_ARGUMENT", "container_spec", "PATCH", "models/fraud@1?updateMask=containerSpec", `{}`},
		{"INVALID_ARGUMENT", "1.Field: model.display_name; Message: ", "PATCH", "models/fraud?updateMask=displayName", `{}`},
		{"INVALID_ARGUMENT", "1.Field: model.labels; Message: Label keys and values", "PATCH", "models/fraud?updateMask=labels", `{"labels":{"A":"b"}}`},
		{"ABORTED", "etag", "PATCH", "models/fraud?updateMask=description", `{"etag":"old"}`},
		{"INVALID_ARGUMENT", "explicitly included", "POST", "models/fraud:mergeVersionAliases", `{"versionAliases":["a1"]}`},
		{"INVALID_ARGUMENT", "explicitly included", "POST", "models/fraud@default:mergeVersionAliases", `{"versionAliases":["a1"]}`},
		{"INVALID_ARGUMENT", "Invalid version alias", "POST", "models/fraud@1:mergeVersionAliases", `{"versionAliases":["12"]}`},
		{"FAILED_PRECONDITION", "cannot be removed", "POST", "models/fraud@1:mergeVersionAliases", `{"versionAliases":["-default"]}`},
		{"NOT_FOUND", "is not found", "GET", "models/fraud@3", ``},
		{"NOT_FOUND", "is not found", "GET", "models/none:listVersions", ``},
	} {
		p.refused(c.status, c.words, c.method, "v1/"+c.path, c.body)
	}
	p.ok("PATCH", "v1/models/fraud@-?updateMask=displayName", `{"displayName":"New"}`)
	p.ok("PATCH", "v1/models/fraud@2?updateMask=version_description,labels", `{"versionDescription":"two","labels":{"l":"2"}}`)
	a := p.ok("GET", "v1/models/fraud@2", "")
	p.wants(a, "displayName", `"New"`)
	p.wants(a, "versionDescription", `"two"`)
	p.wants(p.ok("GET", "v1/models/fraud@1", ""), "labels", `null`)
}

func TestUploadRefusals(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.upload()
	replace := func(old, now string) string {
		return strings.Replace(strings.Replace(uploadBody, `"fraud"`, `"other"`, 1), old, now, 1)
	}
	const key = `,"encryptionSpec":{"kmsKeyName":"projects/p/locations/`
	for _, c := range []struct{ status, words, body string }{
		{"INVALID_ARGUMENT", `Unknown name "nme" at 'model.container_spec.env[1]'`, replace(`"imageUri"`, `"env":[{"name":"A"},{"nme":"B"}],"imageUri"`)},
		{"INVALID_ARGUMENT", `Unknown name "model_idd": Cannot find field`, replace(`"modelId"`, `"model_idd"`)},
		{"INVALID_ARGUMENT", "Invalid JSON payload received", `{"model":`},
		{"INVALID_ARGUMENT", "1.Field: model; Message: Required", `{}`},
		{"INVALID_ARGUMENT", "Invalid model ID", replace("other", "Other")},
		{"INVALID_ARGUMENT", "model.display_name", replace(`"Fraud"`, `"`+strings.Repeat("x", 129)+`"`)},
		{"INVALID_ARGUMENT", "model.container_spec.image_uri", replace(image, "docker.io/serving:1")},
		{"INVALID_ARGUMENT", "2.Field: model.artifact_uri", replace(`"containerSpec":{"imageUri":"`+image+`"}`, `"containerSpec":{},"artifactUri":"s3://b/d"`)},
		{"INVALID_ARGUMENT", "model.container_spec.predict_route", replace(`"imageUri"`, `"predictRoute":"predict","imageUri"`)},
		{"INVALID_ARGUMENT", "model.container_spec.ports", replace(`"imageUri"`, `"ports":[{"containerPort":70000}],"imageUri"`)},
		{"INVALID_ARGUMENT", "7200 seconds", replace(`"imageUri"`, `"deploymentTimeout":"7201s","imageUri"`)},
		{"INVALID_ARGUMENT", "Field: model.version_aliases", replace(`"displayName"`, `"versionAliases":["1"],"displayName"`)},
		{"INVALID_ARGUMENT", "must be in the same region", replace(`,"containerSpec"`, key+`europe-west4/keyRings/r/cryptoKeys/k"},"containerSpec"`)},
		{"INVALID_ARGUMENT", "must have the form", replace(`,"containerSpec"`, key+`us-central1/cryptoKeys/k"},"containerSpec"`)},
		{"INVALID_ARGUMENT", "metadata_schema_uri", replace(`"displayName"`, `"metadata":{"a":1},"displayName"`)},
		{"INVALID_ARGUMENT", "predict_schemata.instance_schema_uri", replace(`"displayName"`, `"predictSchemata":{"instanceSchemaUri":"https://a/b.yaml"},"displayName"`)},
		{"INVALID_ARGUMENT", "model.container_spec.env", replace(`"imageUri"`, `"env":[{"name":"A-B"}],"imageUri"`)},
		{"INVALID_ARGUMENT", "invoke_route_prefix", replace(`"imageUri"`, `"invokeRoutePrefix":"/a","imageUri"`)},
		{"INVALID_ARGUMENT", "Invalid service account", replace(`"modelId"`, `"serviceAccount":"me","modelId"`)},
		{"ALREADY_EXISTS", "already exists", uploadBody},
		{"INVALID_ARGUMENT", "Only one of", replace(`"modelId"`, `"parentModel":"`+here+`/models/fraud","modelId"`)},
		{"INVALID_ARGUMENT", "must have the form", replace(`"modelId":"other"`, `"parentModel":"fraud"`)},
		{"INVALID_ARGUMENT", "same project and location", replace(`"modelId":"other"`, `"parentModel":"projects/p1/locations/europe-west4/models/fraud"`)},
		{"NOT_FOUND", "is not found", replace(`"modelId":"other"`, `"parentModel":"`+here+`/models/none"`)},
	} {
		// A body with a member twice is parsed by the last of them.
		if strings.Count(c.body, `"artifactUri"`) == 2 {
			c.body = strings.Replace(c.body, `"artifactUri":"gs://models/fraud/`+digest+`",`, "", 1)
		}
		p.refused(c.status, c.words, "POST", "v1/models:upload", c.body)
	}
	p.failed(9, "there is no object in the directory", "POST", "v1/models:upload", replace("gs://models/fraud", "gs://models/none"))
	p.refused("NOT_FOUND", "is not found", "GET", "v1/models/other", "")
	p.failed(9, "there is no object in the directory", "POST", "v1/models:upload", replace("/"+digest+`"`, "/"+digest+`/model.pkl"`)) // a file is no directory
	// The service makes ids of 19 digits.
	a := p.changed("POST", "v1/models:upload", replace(`"modelId":"other",`, ""))
	name, _ := a.at("response.model").(string)
	if id := strings.TrimPrefix(name, there+"/models/"); len(id) != 19 || a.at("response.@type") != "type.googleapis.com/google.cloud.aiplatform.v1.UploadModelResponse" {
		t.Errorf("the upload ends as %s", a.text)
	}
}

func TestModelDeletions(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.serve()
	p.uploadNext()
	p.uploadNext()
	p.refused("FAILED_PRECONDITION", "is deployed at endpoint", "DELETE", "v1/models/fraud@1:deleteVersion", "")
	p.refused("FAILED_PRECONDITION", "is deployed at endpoint", "DELETE", "v1/models/fraud", "")
	p.refused("INVALID_ARGUMENT", "explicitly included", "DELETE", "v1/models/fraud:deleteVersion", "")
	p.wants(p.ok("GET", "v1/models/fraud@1", ""), "deployedModels", `[{"deployedModelId":"77","endpoint":"`+there+`/endpoints/fraud"}]`)
	a := p.ok("DELETE", "v1/models/fraud@2:deleteVersion", "")
	if name, _ := a.at("name").(string); !strings.HasPrefix(name, there+"/operations/") {
		t.Errorf("the deletion is %s", a.text)
	}
	p.refused("FAILED_PRECONDITION", "is being deleted", "DELETE", "v1/models/fraud@2:deleteVersion", "")
	p.ok("POST", "v1/models/fraud@2:mergeVersionAliases", `{"versionAliases":["default"]}`) // what goes becomes the default
	p.minutes(1)
	p.refused("NOT_FOUND", "is not found", "GET", "v1/models/fraud@2", "")
	p.wants(p.ok("GET", "v1/models/fraud", ""), "versionId", `"3"`) // there always is one
	p.ok("POST", "v1/models/fraud@1:mergeVersionAliases", `{"versionAliases":["default"]}`)
	// The registry goes on naming a deployment for a while.
	p.ok("POST", "v1/endpoints/fraud:undeployModel", `{"deployedModelId":"77"}`)
	p.minutes(2)
	p.wants(p.ok("GET", "v1/endpoints/fraud", ""), "deployedModels", `null`)
	p.refused("FAILED_PRECONDITION", "is deployed at endpoint", "DELETE", "v1/models/fraud", "")
	p.minutes(2)
	p.refused("FAILED_PRECONDITION", "default version", "DELETE", "v1/models/fraud@1:deleteVersion", "")
	p.ok("POST", "v1/models/fraud@3:mergeVersionAliases", `{"versionAliases":["default"]}`)
	p.changed("DELETE", "v1/models/fraud@1:deleteVersion", "")
	p.refused("FAILED_PRECONDITION", "only version", "DELETE", "v1/models/fraud@3:deleteVersion", "")
	// A number is not given again.
	p.uploadNext()
	p.wants(p.ok("GET", "v1/models/fraud@4", ""), "versionId", `"4"`)
	p.refused("INVALID_ARGUMENT", "must not have a version", "DELETE", "v1/models/fraud@3", "")
	p.changed("POST", "v1/endpoints?endpointId=late", `{"displayName":"d"}`)
	p.ok("POST", "v1/models/fraud@4:mergeVersionAliases", `{"versionAliases":["default"]}`)
	p.ok("DELETE", "v1/models/fraud@3:deleteVersion", "")
	p.refused("FAILED_PRECONDITION", "is being deleted", "POST", "v1/endpoints/late:deployModel", deployBody("1", "3"))
	p.minutes(1)
	p.ok("DELETE", "v1/models/fraud", "")
	p.refused("FAILED_PRECONDITION", "is being deleted", "DELETE", "v1/models/fraud", "")
	p.refused("FAILED_PRECONDITION", "is being deleted", "POST", "v1/models:upload", strings.Replace(uploadBody, `"modelId":"fraud"`, `"parentModel":"`+here+`/models/fraud"`, 1))
	p.refused("FAILED_PRECONDITION", "is being deleted", "POST", "v1/endpoints/late:deployModel", deployBody("1", "4"))
	p.minutes(1)
	p.refused("NOT_FOUND", "is not found", "GET", "v1/models/fraud", "")
	p.upload()
	p.wants(p.ok("GET", "v1/models/fraud", ""), "versionId", `"1"`)
}

func TestModelCopies(t *testing.T) {
	t.Parallel()
	p := newProject(t)
	p.upload()
	p.uploadNext()
	p.ok("POST", "v1/models/fraud@2:mergeVersionAliases", `{"versionAliases":["golden"]}`) // which is not copied
	const europe = "v1/projects/p1/locations/europe-west4/models"
	a := p.changed("POST", europe+":copy", `{"sourceModel":"`+here+`/models/fraud@2","modelId":"fraud"}`)
	p.wants(a, "response.model", `"projects/123/locations/europe-west4/models/fraud"`)
	m := p.ok("GET", europe+"/fraud", "")
	p.wants(m, "versionId", `"1"`)
	p.wants(m, "versionAliases", `["default"]`)
	p.wants(m, "originalModelInfo.model", `"`+there+`/models/fraud@2"`)
	p.wants(m, "modelSourceInfo", `{"copy":true,"sourceType":"CUSTOM"}`)
	p.wants(p.changed("POST", europe+":copy", `{"sourceModel":"`+here+`/models/fraud","parentModel":"projects/123/locations/europe-west4/models/fraud"}`), "response.modelVersionId", `"2"`)
	p.refused("NOT_FOUND", "is not found", "POST", europe+":copy", `{"sourceModel":"`+here+`/models/fraud@9"}`)
	p.refused("INVALID_ARGUMENT", "same project", "POST", europe+":copy", `{"sourceModel":"projects/other/locations/us-central1/models/fraud"}`)
	p.refused("ALREADY_EXISTS", "already exists", "POST", europe+":copy", `{"sourceModel":"`+here+`/models/fraud","modelId":"fraud"}`)
	key := func(region string) string {
		return `{"sourceModel":"` + here + `/models/fraud","modelId":"keyed","encryptionSpec":{"kmsKeyName":"projects/p/locations/` + region + `/keyRings/r/cryptoKeys/k"}}`
	}
	p.refused("INVALID_ARGUMENT", "same region", "POST", europe+":copy", key("us-central1"))
	p.changed("POST", europe+":copy", key("europe-west4"))
	// A version has the key of its model.
	p.refused("FAILED_PRECONDITION", "must be the one of its parent model", "POST", europe+":copy",
		strings.Replace(strings.Replace(key("europe-west4"), `"modelId":"keyed"`, `"parentModel":"projects/123/locations/europe-west4/models/keyed"`, 1), "Keys/k", "Keys/other", 1))
}
