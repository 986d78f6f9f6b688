// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestDamage(t *testing.T) {
	t.Parallel()
	const applied = `{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x", "labels": {"a": "1"}}, "spec": {"replicas": 1, "template": {"spec": {
		"containers": [{"name": "server", "image": "one", "env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 8080}],
		"resources": {"limits": {"memory": "1024Mi", "cpu": "1000m"}}}, {"name": "auth", "image": "two"}], "tolerations": [{"key": "gpu"}], "nodeSelector": {"disk": "ssd"}}}}}`
	for _, c := range []struct {
		reason, from, to string
		want             string // part of what is said; "" for no damage
	}{
		{"nothing", "", "", ""},
		{"what the API server fills in is nobody's change", `"image": "one"`, `"image": "one", "imagePullPolicy": "Always"`, ""},
		{"it writes amounts in its own words", `"memory": "1024Mi", "cpu": "1000m"`, `"memory": "1Gi", "cpu": "1"`, ""},
		{"an element that somebody added stays his", `{"name": "A", "value": "1"}`, `{"name": "B", "value": "2"}, {"name": "A", "value": "1"}`, ""},
		{"elements have names, and no order", `{"name": "auth", "image": "two"}`, `{"image": "two", "name": "auth"}`, ""},
		{"replicas are shown as scaling", `"replicas": 1`, `"replicas": 7`, ""},
		{"an image", `"one"`, `"other"`, ".spec.template.spec.containers[server].image"},
		{"a variable", `"value": "1"`, `"value": "2"`, ".env[A].value"},
		{"a variable that is gone", `{"name": "A", "value": "1"}`, ``, ".env[A]"},
		{"a container that is gone", `, {"name": "auth", "image": "two"}`, ``, ".containers[auth]"},
		{"one more label that pods must have", `{"disk": "ssd"}`, `{"disk": "ssd", "zone": "b"}`, ".nodeSelector"},
		{"a label", `"a": "1"`, `"a": "2"`, ".metadata.labels.a"},
		{"an amount", `"1024Mi"`, `"2Gi"`, ".limits.memory"},
	} {
		w := written{Kind: deployments.name, Name: "x", Content: manifest(t, applied)}
		live := &object{Object: manifest(t, strings.Replace(applied, c.from, c.to, 1))}
		got := w.damage(live)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want something of %q", c.reason, got, c.want)
		}
	}
	gone := written{Kind: budgets.name, Name: "x"}
	if got := gone.damage(nil); !strings.Contains(got, "missing") {
		t.Errorf("an object that is gone: %q", got)
	}
}

func manifest(t *testing.T, text string) map[string]any {
	t.Helper()
	var content map[string]any
	if err := json.Unmarshal([]byte(text), &content); err != nil {
		t.Fatal(err)
	}
	return content
}

// TestDamageNamesTheCulprit: whoever changed it can be asked why.
func TestDamageNamesTheCulprit(t *testing.T) {
	t.Parallel()
	content := manifest(t, `{"spec": {"maxUnavailable": 1}}`)
	live := &object{Object: manifest(t, `{"spec": {"maxUnavailable": 2}, "metadata": {"managedFields": [
		{"manager": "terraform-provider-ml", "operation": "Apply", "time": "2026-01-01T10:00:00Z"},
		{"manager": "kubectl-edit", "operation": "Update", "time": "2026-01-01T11:00:00Z"},
		{"manager": "kube-controller-manager", "operation": "Update", "time": "2026-01-01T12:00:00Z", "subresource": "status"}]}}`)}
	w := written{Kind: budgets.name, Name: "x", Content: content}
	if got := w.damage(live); !strings.Contains(got, "kubectl-edit") {
		t.Errorf("%q does not name kubectl-edit", got)
	}
}
