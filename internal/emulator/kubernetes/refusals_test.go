// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// refuses wants a status with a code, a reason and words.
func refuses(t *testing.T, why string, err error, code int32, reason metav1.StatusReason, words string) {
	t.Helper()
	var api apierrors.APIStatus
	if !errors.As(err, &api) {
		t.Errorf("%s: got %v, want %d %s", why, err, code, reason)
		return
	}
	if s := api.Status(); s.Code != code || s.Reason != reason || !strings.Contains(s.Message, words) {
		t.Errorf("%s: got %d %s: %s\nwant %d %s: …%s…", why, s.Code, s.Reason, s.Message, code, reason, words)
	}
}

func TestApplyIsStrict(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	_, err := c.apply(strings.Replace(web, "image: server:1", "image: server:1\n        imagine: true", 1))
	refuses(t, "SSA knows its schema", err, http.StatusInternalServerError, "", "failed to create typed patch object (/web; apps/v1, Kind=Deployment): .spec.template.spec.containers[name=\"server\"].imagine: field not declared in schema")
	_, err = c.create(strings.Replace(web, "image: server:1", "image: server:1\n        imagine: true", 1))
	refuses(t, "so does POST", err, http.StatusBadRequest, metav1.StatusReasonBadRequest, `strict decoding error: unknown field "spec.template.spec.containers[0].imagine"`)
	c.absent("Deployment", "web")
	resp := c.request(t.Context(), http.MethodGet, "/apis/nothing.example/v1/things", "")
	if resp.StatusCode != http.StatusNotFound || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		t.Errorf("an unknown group: %s, %s", resp.Status, resp.Header.Get("Content-Type"))
	}
}
