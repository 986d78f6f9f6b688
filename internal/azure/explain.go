// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azure

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

const loginHint = "Set client_id and client_secret, use_oidc or use_msi in the provider's azure_ml, or the same as ARM_* in the environment, or run az login; " +
	"in HCP Terraform, turn on dynamic Azure credentials for the workspace"

// hints are what to do about some of Entra's errors.
var hints = map[string]string{
	"AADSTS700024":  "The federated token has expired: apply again",
	"AADSTS700213":  "No federated credential of the application fits the token: compare its subject, issuer and audience",
	"AADSTS70021":   "No federated credential of the application fits the token: compare its subject, issuer and audience",
	"AADSTS7000215": "The client secret is not the application's: give the secret's value and not its id",
	"AADSTS7000222": "The client secret has expired: make another one",
	"AADSTS700016":  "The tenant has no application with this client_id",
	"AADSTS90002":   "There is no such tenant: check tenant_id and environment",
}

// explained turns the failure to get a token into an error that says so.
type explained struct {
	azcore.TokenCredential
	method string
}

// GetToken returns a token of the credential.
func (e *explained) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := e.TokenCredential.GetToken(ctx, o)
	if err == nil || ctx.Err() != nil {
		return token, err
	}
	refused := mlerr.New(mlerr.Unauthenticated, "cannot sign in to Azure with %s", e.method).WithHint(loginHint)
	failed, ok := errors.AsType[*azidentity.AuthenticationFailedError](err)
	if !ok || failed.RawResponse == nil {
		return token, refused.Because(err)
	}
	message, code, request := said(failed)
	if hint := hints[code]; hint != "" {
		refused.Hint = hint
	}
	refused.RequestID = request
	return token, refused.Because(&refusal{message, err})
}

// refusal is Entra's sentence in place of the whole answer.
type refusal struct {
	message string
	cause   error
}

func (r *refusal) Error() string { return r.message }
func (r *refusal) Unwrap() error { return r.cause } // which tells the SDK not to ask again

// said takes Entra's sentence out of its answer.
func said(failed *azidentity.AuthenticationFailedError) (message, code, request string) {
	var answer struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
		Correlation string `json:"correlation_id"`
	}
	body, err := runtime.Payload(failed.RawResponse)
	if err != nil || json.Unmarshal(body, &answer) != nil || answer.Description == "" {
		return "the answer was " + failed.RawResponse.Status, "", ""
	}
	message, _, _ = strings.Cut(answer.Description, " Trace ID:")
	message, _, _ = strings.Cut(message, "\r\n")
	code, _, _ = strings.Cut(message, ":")
	return message, code, answer.Correlation
}
