// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azure_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/google/go-cmp/cmp"

	"github.com/mlplane/terraform-provider-ml/internal/azure"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

const (
	tenant = "11111111-1111-1111-1111-111111111111"
	client = "22222222-2222-2222-2222-222222222222"
	scope  = "https://management.core.windows.net//.default"
	token  = "the-access-token"
)

// bare is an environment that says nothing about Azure.
func bare(t *testing.T, set map[string]string) {
	t.Helper()
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		for _, prefix := range []string{"ARM_", "AZURE_", "ACTIONS_", "SYSTEM_", "TFC_", "MSI_", "IDENTITY_", "IMDS_"} {
			if strings.HasPrefix(name, prefix) {
				t.Setenv(name, "")
			}
		}
	}
	t.Setenv("PATH", t.TempDir()) // no az
	for name, value := range set {
		t.Setenv(name, value)
	}
}

// entra answers in place of the network, and remembers what it was asked.
type entra struct {
	mu      sync.Mutex
	asked   []*http.Request
	forms   []url.Values // of requests for tokens
	refuse  string       // Entra's sentence
	status  int
	offered string // by the service that runs the job
}

func (e *entra) Do(r *http.Request) (*http.Response, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked = append(e.asked, r)
	answer := func(status int, body string) (*http.Response, error) {
		return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
	authority := "https://" + r.URL.Host + "/" + tenant
	switch path := r.URL.Path; {
	case strings.HasSuffix(path, "/discovery/instance"):
		return answer(http.StatusOK, fmt.Sprintf(`{"tenant_discovery_endpoint":"%s/v2.0/.well-known/openid-configuration","metadata":[]}`, authority))
	case strings.HasSuffix(path, "/.well-known/openid-configuration"):
		return answer(http.StatusOK, fmt.Sprintf(`{"issuer":"%[1]s/v2.0","authorization_endpoint":"%[1]s/oauth2/v2.0/authorize","token_endpoint":"%[1]s/oauth2/v2.0/token"}`, authority))
	case strings.HasSuffix(path, "/oauth2/v2.0/token"):
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		form, err := url.ParseQuery(string(body))
		e.forms = append(e.forms, form)
		if err != nil || e.refuse != "" {
			return answer(max(e.status, http.StatusBadRequest), fmt.Sprintf(`{"error":"invalid_client","error_description":%q,"correlation_id":"correlation-7"}`, e.refuse))
		}
		return answer(http.StatusOK, fmt.Sprintf(`{"access_token":%q,"expires_in":3600,"token_type":"Bearer"}`, token))
	case strings.Contains(path, "metadata/identity"), strings.Contains(path, "msi"):
		return answer(http.StatusOK, fmt.Sprintf(`{"access_token":%q,"expires_in":"3600","expires_on":"%d","token_type":"Bearer","resource":"r"}`, token, time.Now().Add(time.Hour).Unix()))
	case strings.HasPrefix(path, "/request"):
		return answer(max(e.status, http.StatusOK), e.offered)
	}
	return nil, errors.New("nobody answers at " + r.URL.Redacted())
}

// form is the request that got the token.
func (e *entra) form(t *testing.T) url.Values {
	t.Helper()
	if len(e.forms) == 0 {
		t.Fatal("no token was asked for")
	}
	return e.forms[len(e.forms)-1]
}

func signIn(t *testing.T, c azure.Config) *azure.Account {
	t.Helper()
	a, err := azure.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	// Tokens of managed identities are kept by the process, for each scope.
	of := "https://" + rand.Text() + "/.default"
	got, err := a.Credential().GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{of}})
	if err != nil || got.Token != token {
		t.Fatalf("got the token %q, %v", got.Token, err)
	}
	return a
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func yes() *bool { return new(true) }
func no() *bool  { return new(false) }

// certificate is one for signing in, as PEM with its key.
func certificate(t *testing.T) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
}

// Each way to say how to sign in, by arguments or by the environment that azurerm,
// HCP Terraform, GitHub and Azure Pipelines set, selects that credential and sends
// what it is made of.
func TestApplications(t *testing.T) { //nolint:paralleltest // sets the environment
	pair := map[string]string{"ARM_TENANT_ID": tenant, "ARM_CLIENT_ID": client}
	with := func(more map[string]string) map[string]string {
		maps.Copy(more, pair)
		return more
	}
	pemFile := file(t, string(certificate(t)))
	github := `{"value":"from-github"}`
	for _, c := range []struct {
		reason  string
		env     map[string]string
		config  azure.Config
		offered string
		method  string
		secret  string // sent as client_secret
		federal string // sent as client_assertion
	}{
		{reason: "a secret", config: azure.Config{TenantID: tenant, ClientID: client, ClientSecret: secret.New("s3")}, method: "client secret", secret: "s3"},
		{reason: "a secret of the environment", env: with(map[string]string{"ARM_CLIENT_SECRET": "s3"}), method: "client secret", secret: "s3"},
		{reason: "a secret in a file", env: with(map[string]string{"ARM_CLIENT_SECRET_FILE_PATH": file(t, "s3\n")}), method: "client secret", secret: "s3"},
		{reason: "an id in a file", env: map[string]string{"ARM_TENANT_ID": tenant, "ARM_CLIENT_ID_FILE_PATH": file(t, client+"\n"), "ARM_CLIENT_SECRET": "s3"}, method: "client secret", secret: "s3"},
		{reason: "arguments before the environment", env: with(map[string]string{"ARM_CLIENT_SECRET": "other"}), config: azure.Config{ClientSecret: secret.New("s3")}, method: "client secret", secret: "s3"},
		{reason: "a secret before a token, as azurerm does", env: with(map[string]string{"ARM_CLIENT_SECRET": "s3", "ARM_USE_OIDC": "true", "ARM_OIDC_TOKEN": "t"}), method: "client secret", secret: "s3"},
		{reason: "a certificate", env: with(map[string]string{"ARM_CLIENT_CERTIFICATE_PATH": pemFile}), method: "client certificate"},
		{reason: "a certificate before a token", env: with(map[string]string{"ARM_CLIENT_CERTIFICATE_PATH": pemFile, "ARM_USE_OIDC": "true", "ARM_OIDC_TOKEN": "t"}), method: "client certificate"},
		{reason: "HCP Terraform's token", env: with(map[string]string{"ARM_USE_OIDC": "true", "ARM_OIDC_TOKEN": "from-hcp"}), method: "OIDC", federal: "from-hcp"},
		{reason: "HCP Terraform's file", env: with(map[string]string{"ARM_USE_OIDC": "true", "ARM_OIDC_TOKEN_FILE_PATH": file(t, "from-file\n")}), method: "OIDC", federal: "from-file"},
		{reason: "HCP Terraform's several identities", env: map[string]string{"ARM_TENANT_ID": tenant}, method: "OIDC", federal: "from-file",
			config: azure.Config{UseOIDC: yes(), UseCLI: no(), ClientIDFilePath: file(t, client), OIDCTokenFilePath: file(t, "from-file")}},
		{reason: "HCP Terraform's token for an audience", env: with(map[string]string{"ARM_USE_OIDC": "true", "TFC_WORKLOAD_IDENTITY_TOKEN": "from-hcp"}), method: "OIDC", federal: "from-hcp"},
		{reason: "a token without use_oidc", config: azure.Config{TenantID: tenant, ClientID: client, OIDCToken: secret.New("mine")}, method: "OIDC", federal: "mine"},
		{reason: "GitHub's request", env: with(map[string]string{"ARM_USE_OIDC": "true", "ACTIONS_ID_TOKEN_REQUEST_URL": "https://github.invalid/request?x=1", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "r"}),
			offered: github, method: "OIDC", federal: "from-github"},
		{reason: "another request before GitHub's", env: with(map[string]string{"ARM_USE_OIDC": "true", "ACTIONS_ID_TOKEN_REQUEST_URL": "https://github.invalid/other", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "o",
			"ARM_OIDC_REQUEST_URL": "https://github.invalid/request?x=1", "ARM_OIDC_REQUEST_TOKEN": "r"}), offered: github, method: "OIDC", federal: "from-github"},
		{reason: "Azure Pipelines", env: with(map[string]string{"ARM_USE_OIDC": "true", "SYSTEM_OIDCREQUESTURI": "https://dev.invalid/request", "SYSTEM_ACCESSTOKEN": "r",
			"ARM_ADO_PIPELINE_SERVICE_CONNECTION_ID": "connection"}), offered: `{"oidcToken":"from-pipelines"}`, method: "OIDC", federal: "from-pipelines"},
		{reason: "a pod of AKS", env: map[string]string{"ARM_USE_AKS_WORKLOAD_IDENTITY": "true", "AZURE_TENANT_ID": tenant, "AZURE_CLIENT_ID": client, "AZURE_FEDERATED_TOKEN_FILE": file(t, "of-the-pod")},
			method: "AKS workload identity", federal: "of-the-pod"},
	} {
		t.Run(c.reason, func(t *testing.T) {
			bare(t, c.env)
			e := &entra{offered: c.offered}
			c.config.Transport = e
			a := signIn(t, c.config)
			form := e.form(t)
			if a.Method() != c.method || form.Get("client_id") != client || form.Get("client_secret") != c.secret {
				t.Errorf("signed in with %s, sent %v", a.Method(), form)
			}
			if signed := form.Get("client_assertion"); c.federal != "" && signed != c.federal || c.method == "client certificate" && strings.Count(signed, ".") != 2 {
				t.Errorf("the assertion is %q, want %q", signed, c.federal)
			}
			for _, r := range e.asked {
				if r.URL.Hostname() == "github.invalid" && (r.Header.Get("Authorization") != "Bearer r" || r.URL.Query().Get("audience") != "api://AzureADTokenExchange" || r.URL.Query().Get("x") != "1") {
					t.Errorf("GitHub was asked %s", r.URL)
				}
				if r.URL.Hostname() == "dev.invalid" && (r.Method != http.MethodPost || r.Header.Get("Authorization") != "Bearer r" || r.URL.Query().Get("serviceConnectionId") != "connection") {
					t.Errorf("Azure Pipelines was asked %s %s", r.Method, r.URL)
				}
			}
		})
	}
}

// A certificate may be in the environment, as PKCS #12 in base64. What is none is
// refused before any call.
func TestCertificates(t *testing.T) { //nolint:paralleltest // sets the environment
	bare(t, nil)
	config := azure.Config{TenantID: tenant, ClientID: client, ClientCertificate: secret.New(base64.StdEncoding.EncodeToString(certificate(t))), Transport: &entra{}}
	if a := signIn(t, config); a.Method() != "client certificate" {
		t.Errorf("signed in with %s", a.Method())
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for reason, bad := range map[string]string{"no base64": "%", "no certificate": base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))} {
		config.ClientCertificate = secret.New(bad)
		if _, err := azure.Open(config); !mlerr.Is(err, mlerr.InvalidArgument) || strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v", reason, err)
		}
	}
}

func TestManagedIdentity(t *testing.T) { //nolint:paralleltest // sets the environment
	for _, c := range []struct {
		reason   string
		env      map[string]string
		host, id string
	}{
		{"the machine's", map[string]string{"ARM_USE_MSI": "true"}, "169.254.169.254", ""},
		{"one of several", map[string]string{"ARM_USE_MSI": "true", "ARM_CLIENT_ID": client}, "169.254.169.254", client},
		{"elsewhere", map[string]string{"ARM_USE_MSI": "true", "ARM_MSI_ENDPOINT": "http://127.0.0.1:7/msi/token"}, "127.0.0.1:7", ""},
		{"before the CLI", map[string]string{"ARM_USE_MSI": "true", "ARM_USE_CLI": "true"}, "169.254.169.254", ""},
	} {
		t.Run(c.reason, func(t *testing.T) {
			bare(t, c.env)
			e := &entra{}
			a := signIn(t, azure.Config{Transport: e})
			last := e.asked[len(e.asked)-1]
			if a.Method() != "managed identity" || last.URL.Host != c.host || last.URL.Query().Get("client_id") != c.id || last.Header.Get("Metadata") != "true" {
				t.Errorf("signed in with %s, asked %s %v", a.Method(), last.URL, last.Header)
			}
		})
	}
}

// Without any word the user's own az is asked, for the tenant that is configured.
func TestCLI(t *testing.T) { //nolint:paralleltest // sets the environment
	if runtime.GOOS == "windows" {
		t.Skip("capability gap: az is a shell script here")
	}
	bare(t, map[string]string{"ARM_TENANT_ID": tenant})
	dir := os.Getenv("PATH")
	script := fmt.Sprintf("#!/bin/sh\necho \"$@\" >> %s/asked\necho '{\"accessToken\":\"%s\",\"expires_on\":%d}'\n", dir, token, time.Now().Add(time.Hour).Unix())
	if err := os.WriteFile(filepath.Join(dir, "az"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/bin:/usr/bin")
	a := signIn(t, azure.Config{Transport: &entra{}})
	for range 2 {
		if _, err := a.Credential().GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{scope}}); err != nil {
			t.Fatal(err)
		}
	}
	asked, err := os.ReadFile(filepath.Join(dir, "asked"))
	if err != nil || a.Method() != "Azure CLI" || !strings.Contains(string(asked), "get-access-token") || !strings.Contains(string(asked), tenant) || strings.Count(string(asked), "\n") != 2 {
		t.Errorf("signed in with %s: az %s, %v", a.Method(), asked, err)
	}
	bare(t, nil) // as in the container of HCP Terraform
	b, err := azure.Open(azure.Config{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Credential().GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{scope}})
	if !mlerr.Is(err, mlerr.Unauthenticated) || !strings.Contains(mlerr.Hint(err), "HCP Terraform") || !strings.Contains(mlerr.Hint(err), "az login") {
		t.Errorf("without az: %v (%s)", err, mlerr.Hint(err))
	}
}

// What is missing or contradicts itself is found before any call, at the attribute.
func TestRefused(t *testing.T) { //nolint:paralleltest // sets the environment
	s := secret.New("a-secret")
	for reason, c := range map[string]struct {
		env    map[string]string
		config azure.Config
		path   string
		code   mlerr.Code
	}{
		"no tenant":                {nil, azure.Config{ClientID: client, ClientSecret: s}, "tenant_id", mlerr.InvalidArgument},
		"no application":           {nil, azure.Config{TenantID: tenant, ClientSecret: s}, "client_id", mlerr.InvalidArgument},
		"no application's token":   {nil, azure.Config{TenantID: tenant, OIDCToken: s}, "client_id", mlerr.InvalidArgument},
		"no OIDC token":            {nil, azure.Config{TenantID: tenant, ClientID: client, UseOIDC: yes()}, "oidc_token", mlerr.InvalidArgument},
		"no token for the request": {nil, azure.Config{TenantID: tenant, ClientID: client, UseOIDC: yes(), OIDCRequestURL: "https://x/y"}, "oidc_request_token", mlerr.InvalidArgument},
		"no file":                  {nil, azure.Config{ClientSecretFilePath: "/nowhere/secret"}, "client_secret_file_path", mlerr.InvalidArgument},
		"two ids":                  {nil, azure.Config{ClientID: client, ClientIDFilePath: file(t, tenant)}, "client_id_file_path", mlerr.InvalidArgument},
		"no cloud":                 {nil, azure.Config{Environment: "moon"}, "environment", mlerr.InvalidArgument},
		"no GUID":                  {nil, azure.Config{SubscriptionID: "/subscriptions/x"}, "subscription_id", mlerr.InvalidArgument},
		"no URL":                   {nil, azure.Config{EndpointURL: "localhost:80"}, "endpoint_url", mlerr.InvalidArgument},
		"tokens in the clear":      {nil, azure.Config{EndpointURL: "http://example.com"}, "endpoint_url", mlerr.InvalidArgument},
		"isolated from what":       {nil, azure.Config{Isolated: true}, "endpoint_url", mlerr.InvalidArgument},
		"neither true nor false":   {map[string]string{"ARM_USE_MSI": "maybe"}, azure.Config{}, "", mlerr.InvalidArgument},
		"nothing":                  {map[string]string{"ARM_USE_CLI": "false"}, azure.Config{}, "", mlerr.Unauthenticated},
	} {
		t.Run(reason, func(t *testing.T) {
			bare(t, c.env)
			c.config.Transport = &entra{}
			_, err := azure.Open(c.config)
			if !mlerr.Is(err, c.code) || mlerr.PathOf(err) != c.path || strings.Contains(err.Error(), "a-secret") {
				t.Errorf("%v at %q", err, mlerr.PathOf(err))
			}
		})
	}
}

// Entra's refusal is its sentence with what to do, and shows no secret. It is not
// asked again.
func TestExplained(t *testing.T) { //nolint:paralleltest // sets the environment
	for sentence, hint := range map[string]string{
		"AADSTS700024: Client assertion is not within its valid time range. Trace ID: 1 Correlation ID: 2": "apply again",
		"AADSTS700213: No matching federated identity record found":                                        "subject",
		"AADSTS7000215: Invalid client secret provided.\r\nTrace ID: 1":                                    "the secret's value",
		"AADSTS50000: something": "az login",
	} {
		bare(t, nil)
		e := &entra{refuse: sentence}
		a, err := azure.Open(azure.Config{TenantID: tenant, ClientID: client, ClientSecret: secret.New("a-secret"), Transport: e})
		if err != nil {
			t.Fatal(err)
		}
		_, err = a.Credential().GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{scope}})
		if !mlerr.Is(err, mlerr.Unauthenticated) || !strings.Contains(mlerr.Hint(err), hint) || !strings.Contains(err.Error(), "request id correlation-7") ||
			strings.Contains(err.Error(), "Trace ID") || strings.ContainsAny(err.Error(), "\r\n") || strings.Contains(err.Error(), "a-secret") {
			t.Errorf("%q, hint %q", err, mlerr.Hint(err))
		}
		if never, ok := errors.AsType[interface {
			error
			NonRetriable()
		}](err); !ok || len(e.forms) != 1 {
			t.Errorf("%T, asked %d times", never, len(e.forms))
		}
	}
	bare(t, nil)
	a, err := azure.Open(azure.Config{TenantID: tenant, ClientID: client, UseOIDC: yes(), OIDCRequestURL: "https://github.invalid/request", OIDCRequestToken: secret.New("a-secret"),
		Transport: &entra{status: http.StatusForbidden}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Credential().GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{scope}})
	if !mlerr.Is(err, mlerr.Unauthenticated) || !strings.Contains(err.Error(), "OIDC token was refused") || strings.Contains(err.Error(), "a-secret") {
		t.Errorf("%v", err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err = a.Credential().GetToken(stopped, policy.TokenRequestOptions{Scopes: []string{scope}}); err != nil && mlerr.Is(err, mlerr.Unauthenticated) {
		t.Errorf("an interruption is taken for a refusal: %v", err)
	}
}

// A token in a file is read again: that of an apply is renewed while it goes on.
func TestTokensAreRenewed(t *testing.T) { //nolint:paralleltest // sets the environment
	path := file(t, "first")
	bare(t, map[string]string{"ARM_TENANT_ID": tenant, "ARM_CLIENT_ID": client, "ARM_USE_OIDC": "true", "ARM_OIDC_TOKEN_FILE_PATH": path})
	e := &entra{}
	a := signIn(t, azure.Config{Transport: e})
	if err := os.WriteFile(path, []byte("second"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Credential().GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"https://storage.azure.com/.default"}}); err != nil || e.form(t).Get("client_assertion") != "second" {
		t.Errorf("sent %q, %v", e.form(t).Get("client_assertion"), err)
	}
}

// Each cloud has its own addresses and audiences.
func TestClouds(t *testing.T) { //nolint:paralleltest // sets the environment
	for environment, want := range map[string][4]string{
		"":             {"login.microsoftonline.com", "https://management.azure.com", "https://ml.azure.com/.default", "core.windows.net"},
		"public":       {"login.microsoftonline.com", "https://management.azure.com", "https://ml.azure.com/.default", "core.windows.net"},
		"usgovernment": {"login.microsoftonline.us", "https://management.usgovcloudapi.net", "https://ml.azure.us/.default", "core.usgovcloudapi.net"},
		"china":        {"login.chinacloudapi.cn", "https://management.chinacloudapi.cn", "https://ml.azure.cn/.default", "core.chinacloudapi.cn"},
	} {
		bare(t, map[string]string{"ARM_TENANT_ID": tenant, "ARM_CLIENT_ID": client, "ARM_CLIENT_SECRET": "s", "ARM_ENVIRONMENT": environment, "ARM_AUXILIARY_TENANT_IDS": "a;b"})
		e := &entra{}
		a := signIn(t, azure.Config{Transport: e})
		o := a.ClientOptions()
		got := [4]string{e.asked[len(e.asked)-1].URL.Host, o.Cloud.Services[cloud.ResourceManager].Endpoint, a.ScoringScope(), a.StorageSuffix()}
		if diff := cmp.Diff(want, got); diff != "" || !o.DisableRPRegistration || o.InsecureAllowCredentialWithHTTP || len(o.AuxiliaryTenants) != 2 {
			t.Errorf("%q: %s, %+v", environment, diff, o)
		}
	}
}

// In rehearsal neither the environment nor files are read, and nobody is asked for a
// token.
func TestIsolated(t *testing.T) { //nolint:paralleltest // sets the environment
	bare(t, map[string]string{"ARM_TENANT_ID": tenant, "ARM_CLIENT_ID": client, "ARM_CLIENT_SECRET": "real", "ARM_SUBSCRIPTION_ID": "real", "ARM_ENVIRONMENT": "china", "ARM_USE_MSI": "maybe"})
	e := &entra{}
	a, err := azure.Open(azure.Config{Isolated: true, EndpointURL: "http://127.0.0.1:9470/", ClientSecretFilePath: "/nowhere", Transport: e})
	if err != nil {
		t.Fatal(err)
	}
	got, err := a.Credential().GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{scope}})
	o := a.ClientOptions()
	if err != nil || got.Token == "" || got.Token == "real" || len(e.asked) > 0 || a.SubscriptionID() != "" || !o.InsecureAllowCredentialWithHTTP ||
		o.Cloud.Services[cloud.ResourceManager].Endpoint != "http://127.0.0.1:9470" || o.Cloud.Services[cloud.ResourceManager].Audience == "" {
		t.Errorf("got %+v, %v, asked %d times, options %+v", got, err, len(e.asked), o)
	}
}

// A configuration can be printed.
func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	s := secret.New("a-secret")
	c := azure.Config{ClientSecret: s, ClientCertificate: s, ClientCertificatePassword: s, OIDCToken: s, OIDCRequestToken: s}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(verb, c); strings.Contains(text, "a-secret") {
			t.Errorf("%s prints %s", verb, text)
		}
	}
}
