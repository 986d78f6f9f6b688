// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package acctest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"strings"
	"testing"
)

// GoogleProject and GoogleRegion are where tests on Vertex AI make things.
const (
	GoogleProject = "p1"
	GoogleRegion  = "europe-west4"
)

// VertexProvider is the provider's configuration for Vertex AI, with what else it
// shall say.
func (r *Rehearsal) VertexProvider(more ...string) string {
	return fmt.Sprintf("provider \"ml\" {\n  vertex_ai = { project = %q, region = %q }\n  rehearsal = { state_dir = %q }\n%s\n}\n", GoogleProject, GoogleRegion, r.Dir, strings.Join(more, "\n"))
}

// VertexAddress is the base URL of Vertex AI.
func (r *Rehearsal) VertexAddress() string { return r.server.Endpoints()["vertex_ai"] }

// GCS is the base URL of Cloud Storage.
func (r *Rehearsal) GCS() string { return r.server.Endpoints()["gcs"] }

// Vertex asks the emulated Vertex AI as curl would. address is below the location, as
// in "endpoints/fraud"; a nil body is none.
func (r *Rehearsal) Vertex(t *testing.T, method, address string, body any) map[string]any {
	t.Helper()
	out, err := r.vertex(context.WithoutCancel(t.Context()), method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (r *Rehearsal) vertex(ctx context.Context, method, address string, body any) (map[string]any, error) {
	if !strings.HasPrefix(address, "projects/") {
		address = "projects/" + GoogleProject + "/locations/" + GoogleRegion + "/" + address
	}
	return ask(ctx, method, r.VertexAddress()+"/v1/"+address, body)
}

// ask makes a request with JSON.
func ask(ctx context.Context, method, address string, body any) (map[string]any, error) {
	var sent io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		sent = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, address, sent)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	var out map[string]any
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s %s answers %d: %s", method, address, resp.StatusCode, data)
	}
	err = json.Unmarshal(data, &out)
	return out, err
}

// VertexChange makes a call to Vertex AI, and waits until its operation is done.
func (r *Rehearsal) VertexChange(t *testing.T, method, address string, body any) {
	t.Helper()
	op := r.Vertex(t, method, address, body)
	name, _ := op["name"].(string)
	for op["done"] != true {
		op = r.Vertex(t, http.MethodPost, name+":wait", map[string]any{"timeout": "10s"})
	}
	if op["error"] != nil {
		t.Fatalf("%s %s: %v", method, address, op["error"])
	}
}

// google names what exists on Vertex AI and in Cloud Storage: deployments with their
// share of the requests.
func (r *Rehearsal) google(ctx context.Context) (names []string, err error) {
	models, err := r.vertex(ctx, http.MethodGet, "models", nil)
	if err != nil {
		return nil, err
	}
	for _, m := range listed(models, "models") {
		name := path.Base(fmt.Sprint(m["name"]))
		versions, err := r.vertex(ctx, http.MethodGet, "models/"+name+":listVersions", nil)
		if err != nil {
			return nil, err
		}
		for _, v := range listed(versions, "models") {
			names = append(names, fmt.Sprintf("vertex_ai version %s@%v of %v", name, v["versionId"], v["versionAliases"]))
		}
	}
	endpoints, err := r.vertex(ctx, http.MethodGet, "endpoints", nil)
	if err != nil {
		return nil, err
	}
	for _, e := range listed(endpoints, "endpoints") {
		name := "vertex_ai endpoint " + path.Base(fmt.Sprint(e["name"]))
		names = append(names, name)
		split, _ := e["trafficSplit"].(map[string]any)
		for _, dm := range listed(e, "deployedModels") {
			id := fmt.Sprint(dm["id"])
			names = append(names, fmt.Sprintf("%s: %s of version %v, with %v percent", name, id, dm["modelVersionId"], split[id]))
		}
	}
	stored, err := r.stored(ctx)
	return append(names, stored...), err
}

// stored names the objects in Cloud Storage.
func (r *Rehearsal) stored(ctx context.Context) (names []string, err error) {
	buckets, err := ask(ctx, http.MethodGet, r.GCS()+"/storage/v1/b?project="+GoogleProject, nil)
	if err != nil {
		return nil, err
	}
	for _, b := range listed(buckets, "items") {
		objects, err := ask(ctx, http.MethodGet, fmt.Sprintf("%s/storage/v1/b/%v/o", r.GCS(), b["name"]), nil)
		if err != nil {
			return nil, err
		}
		for _, o := range listed(objects, "items") {
			names = append(names, fmt.Sprintf("object gs://%v/%v", o["bucket"], o["name"]))
		}
	}
	return names, nil
}

// listed is a list in an answer.
func listed(answer map[string]any, member string) []map[string]any {
	all, _ := answer[member].([]any)
	found := make([]map[string]any, 0, len(all))
	for _, v := range all {
		if m, ok := v.(map[string]any); ok {
			found = append(found, m)
		}
	}
	return found
}
