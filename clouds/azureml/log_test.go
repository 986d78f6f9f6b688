// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/mlplane/terraform-provider-ml/clouds/azureml"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

// Every call has one line, also those of Blob storage and of the endpoint itself, and no
// line has a key.
func TestCallsAreLogged(t *testing.T) {
	t.Parallel()
	h := newHarness(t)
	var log bytes.Buffer
	c, calls := h.cloud(t, func(c *azureml.Config) {
		c.Logger = hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Debug})
	})
	spec := h.endpoint("fraud", h.published(t, c, "fraud", "one"))
	_, err := h.apply(t.Context(), c, spec)
	must(t, err)
	_, err = c.Invoke(t.Context(), spec.Key, "", driver.Request{Body: []byte(`{}`), ContentType: "application/json"})
	must(t, err)
	found, err := c.Credentials(t.Context(), spec.Key)
	must(t, err)
	text := log.String()
	if got := strings.Count(text, "api call:"); got != len(calls.made) {
		t.Errorf("%d calls have %d lines", len(calls.made), got)
	}
	for _, words := range []string{`call="PUT /`, "ml-artifacts/", "call=score", "OnlineEndpointsClient.BeginCreateOrUpdate"} {
		if !strings.Contains(text, words) {
			t.Errorf("no line says %s", words)
		}
	}
	for name, key := range found.Keys {
		if strings.Contains(text, key.Reveal()) {
			t.Errorf("the log has the %s key", name)
		}
	}
}
