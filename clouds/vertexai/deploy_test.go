// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// An id that is taken is that of the very deployment, or of one that is on its way, or
// still reserved by one that has failed: only then another one is used.
func TestDeployedIDsThatAreTaken(t *testing.T) {
	t.Parallel()
	display := displayName("main", "abcdefghij")
	first, second := deploymentID("us-central1", "fraud", display, 0), deploymentID("us-central1", "fraud", display, 1)
	for reason, c := range map[string]struct {
		endpoint, operations string
		code                 mlerr.Code
		tried                []string
	}{
		"it is there": {`{"deployedModels":[{"id":"` + first + `","displayName":"` + display + `"}]}`, `{}`, 0, []string{first}},
		"it is on its way": {`{}`, `{"operations":[{"name":"projects/1/locations/us-central1/endpoints/fraud/operations/7",
			"metadata":{"@type":"type.googleapis.com/google.cloud.aiplatform.v1.DeployModelOperationMetadata"}}]}`, mlerr.Busy, []string{first}},
		"one that has failed had it": {`{}`, `{"operations":[{"name":"projects/1/locations/us-central1/endpoints/fraud/operations/7","done":true,
			"metadata":{"@type":"type.googleapis.com/google.cloud.aiplatform.v1.DeployModelOperationMetadata"}}]}`, 0, []string{first, second}},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			var tried []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				answer := c.endpoint
				switch {
				case strings.HasSuffix(r.URL.Path, "/operations"):
					answer = c.operations
				case r.Method == http.MethodPost:
					var in struct {
						DeployedModel deployedModel `json:"deployedModel"`
					}
					if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
						t.Error(err)
					}
					if tried = append(tried, in.DeployedModel.ID); len(tried) == 1 {
						w.WriteHeader(http.StatusConflict)
						answer = fmt.Sprintf(`{"error":{"code":409,"status":"ALREADY_EXISTS","message":"DeployedModel %s exists"}}`, first)
					} else {
						answer = `{"name":"projects/1/locations/us-central1/endpoints/fraud/operations/8"}`
					}
				}
				_, _ = w.Write([]byte(answer))
			}))
			defer server.Close()
			err := open(t, Config{EndpointURL: server.URL}).at(location).deploy(t.Context(), "fraud", v1, deployedModel{DisplayName: display})
			if mlerr.CodeOf(err) != c.code && (err != nil || c.code != 0) || !slices.Equal(tried, c.tried) {
				t.Errorf("%v, with the ids %v", err, tried)
			}
		})
	}
}
