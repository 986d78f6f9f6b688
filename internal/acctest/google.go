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
	"slices"
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
	var sent io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		sent = bytes.NewReader(data)
	}
	if !strings.HasPrefix(address, "projects/") {
		address = "projects/" + GoogleProject + "/locations/" + GoogleRegion + "/" + address
	}
	req, err := http.NewRequestWithContext(ctx, method, r.server.Endpoints()["vertex_ai"]+"/v1/"+address, sent)
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

// VertexEmpty is an error that names what exists on Vertex AI, if anything does.
func (r *Rehearsal) VertexEmpty(t *testing.T) error {
	t.Helper()
	var left []string
	for _, kind := range []string{"models", "endpoints"} {
		all, err := r.vertex(context.WithoutCancel(t.Context()), http.MethodGet, kind, nil)
		if err != nil {
			return err
		}
		found, _ := all[kind].([]any)
		for _, v := range found {
			name, _ := v.(map[string]any)["name"].(string)
			left = append(left, kind+" "+path.Base(name))
		}
	}
	if len(left) > 0 {
		slices.Sort(left)
		return fmt.Errorf("left behind: %s", strings.Join(left, ", "))
	}
	return nil
}
