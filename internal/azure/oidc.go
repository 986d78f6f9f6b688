// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azure

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// exchange is the audience of tokens that are exchanged for Azure's.
const exchange = "api://AzureADTokenExchange"

// workloadToken is where HCP Terraform puts a token that the workspace asks for by
// TFC_WORKLOAD_IDENTITY_AUDIENCE.
const workloadToken = "TFC_WORKLOAD_IDENTITY_TOKEN" //nolint:gosec // a name

// oidc reports whether a federated token is the credential: if that is said, or if
// one is there and nothing is said.
func (c *Config) oidc() bool {
	if c.UseOIDC == nil {
		return !on(c.UseAKSWorkloadIdentity) && !on(c.UseMSI) && (!c.OIDCToken.IsZero() || c.OIDCTokenFilePath != "")
	}
	return *c.UseOIDC
}

// assertion is how to get a federated token. It is asked anew for each of Azure's: a
// rollout may outlive the first.
func (c *Config) assertion() (func(context.Context) (string, error), error) {
	switch {
	case !c.OIDCToken.IsZero():
		return func(context.Context) (string, error) { return c.OIDCToken.Reveal(), nil }, nil
	case c.OIDCTokenFilePath != "":
		return func(context.Context) (string, error) { return tokenFile(c.OIDCTokenFilePath) }, nil
	case c.OIDCRequestURL != "" && !c.OIDCRequestToken.IsZero():
		return c.requested, nil
	case os.Getenv(workloadToken) != "":
		return func(context.Context) (string, error) { return os.Getenv(workloadToken), nil }, nil
	case on(c.UseAKSWorkloadIdentity) && os.Getenv("AZURE_FEDERATED_TOKEN_FILE") != "":
		return func(context.Context) (string, error) { return tokenFile(os.Getenv("AZURE_FEDERATED_TOKEN_FILE")) }, nil
	case c.OIDCRequestURL != "":
		return nil, mlerr.New(mlerr.InvalidArgument, "there is an address to request an OIDC token at, and no token to request it with").At("oidc_request_token").
			WithHint("Set oidc_request_token; in Azure Pipelines, map System.AccessToken to SYSTEM_ACCESSTOKEN")
	}
	return nil, mlerr.New(mlerr.InvalidArgument, "use_oidc is true, and there is no OIDC token").At("oidc_token").
		WithHint("Set oidc_token or oidc_token_file_path, turn on dynamic Azure credentials for the workspace in HCP Terraform, or give the job of GitHub the permission id-token: write")
}

func tokenFile(path string) (string, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the user says where it is
	if err != nil {
		return "", mlerr.New(mlerr.Unauthenticated, "cannot read the OIDC token").Because(err).At("oidc_token_file_path")
	}
	token := strings.TrimSpace(string(data))
	if token == "" {
		return "", mlerr.New(mlerr.Unauthenticated, "the file %s holds no OIDC token", path).At("oidc_token_file_path")
	}
	return token, nil
}

// requested asks the service that runs the job for a token: GitHub, or, for a
// service connection, Azure Pipelines.
func (c *Config) requested(ctx context.Context) (string, error) {
	refuse := func(format string, args ...any) *mlerr.Error {
		return mlerr.New(mlerr.Unauthenticated, format, args...).At("oidc_request_url")
	}
	address, err := url.Parse(c.OIDCRequestURL)
	if err != nil {
		return "", refuse("oidc_request_url is no URL")
	}
	query, method := address.Query(), http.MethodGet
	if c.ADOPipelineServiceConnectionID != "" {
		method = http.MethodPost
		query.Set("api-version", "7.1")
		query.Set("serviceConnectionId", c.ADOPipelineServiceConnectionID)
	} else if query.Get("audience") == "" {
		query.Set("audience", exchange)
	}
	address.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, method, address.String(), http.NoBody)
	if err != nil {
		return "", refuse("oidc_request_url is no URL")
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+c.OIDCRequestToken.Reveal())
	var client policy.Transporter = http.DefaultClient
	if c.Transport != nil {
		client = c.Transport
	}
	answer, err := client.Do(request)
	if err != nil {
		return "", refuse("the request for an OIDC token got no answer").Because(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	var token struct {
		GitHub    string `json:"value"`
		Pipelines string `json:"oidcToken"`
	}
	switch {
	case err != nil:
		return "", refuse("the request for an OIDC token got no whole answer").Because(err)
	case answer.StatusCode != http.StatusOK:
		return "", refuse("the request for an OIDC token was refused: %s", answer.Status)
	case json.Unmarshal(body, &token) != nil || token.GitHub == "" && token.Pipelines == "":
		return "", refuse("the request for an OIDC token was answered without one")
	}
	if token.GitHub != "" {
		return token.GitHub, nil
	}
	return token.Pipelines, nil
}
