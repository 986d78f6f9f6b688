// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azure

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

// Account is Azure, signed in to.
type Account struct {
	config     Config
	method     string
	credential azcore.TokenCredential
}

// Open selects the credential. It reads files that name it and never dials out: the
// first call does. What cannot be is InvalidArgument with the attribute's path; no
// credential at all is Unauthenticated.
func Open(config Config) (*Account, error) {
	c, err := config.completed()
	if err != nil {
		return nil, err
	}
	if err := c.files(); err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	a := &Account{config: *c}
	made, err := a.choose()
	if err != nil {
		return nil, err
	}
	a.credential = &explained{made, a.method}
	return a, nil
}

// Credential signs requests. Its failures are Unauthenticated and say what to do.
func (a *Account) Credential() azcore.TokenCredential { return a.credential }

// Method names the kind of credential that was selected, for logs and errors.
func (a *Account) Method() string { return a.method }

// SubscriptionID is the configured subscription, "" if there is none.
func (a *Account) SubscriptionID() string { return a.config.SubscriptionID }

// files reads what is said by the path of a file.
func (c *Config) files() error {
	var all mlerr.List
	read := func(path, attribute string, value string) string {
		if path == "" || c.Isolated {
			return value
		}
		data, err := os.ReadFile(path)
		content := strings.TrimSpace(string(data))
		switch {
		case err != nil:
			all.Add(mlerr.New(mlerr.InvalidArgument, "cannot read the file that %s names", attribute).Because(err).At("%s", attribute))
		case value != "" && value != content:
			all.Add(mlerr.New(mlerr.InvalidArgument, "%s and %s differ", strings.TrimSuffix(attribute, "_file_path"), attribute).At("%s", attribute).WithHint("Set one of them"))
		}
		return content
	}
	c.ClientID = read(c.ClientIDFilePath, "client_id_file_path", c.ClientID)
	c.ClientSecret = secret.New(read(c.ClientSecretFilePath, "client_secret_file_path", c.ClientSecret.Reveal()))
	return all.Err()
}

// The names of the methods.
const (
	methodIsolated         = "rehearsal"
	methodSecret           = "client secret"
	methodCertificate      = "client certificate"
	methodOIDC             = "OIDC"
	methodWorkloadIdentity = "AKS workload identity"
	methodMSI              = "managed identity"
	methodCLI              = "Azure CLI"
)

// choose makes exactly one credential: a chain that tries one after the other would
// hide what is wrong with the one that was meant.
func (a *Account) choose() (azcore.TokenCredential, error) {
	c := &a.config
	switch {
	case c.Isolated:
		a.method = methodIsolated
		return static{}, nil
	case !c.ClientSecret.IsZero():
		a.method = methodSecret
		return a.application(func(o azcore.ClientOptions) (azcore.TokenCredential, error) {
			return azidentity.NewClientSecretCredential(c.TenantID, c.ClientID, c.ClientSecret.Reveal(),
				&azidentity.ClientSecretCredentialOptions{ClientOptions: o, AdditionallyAllowedTenants: c.AuxiliaryTenantIDs})
		})
	case !c.ClientCertificate.IsZero() || c.ClientCertificatePath != "":
		a.method = methodCertificate
		return a.application(a.certificate)
	case c.oidc():
		a.method = methodOIDC
		get, err := c.assertion()
		if err != nil {
			return nil, err
		}
		return a.application(func(o azcore.ClientOptions) (azcore.TokenCredential, error) {
			return azidentity.NewClientAssertionCredential(c.TenantID, c.ClientID, get,
				&azidentity.ClientAssertionCredentialOptions{ClientOptions: o, AdditionallyAllowedTenants: c.AuxiliaryTenantIDs})
		})
	case on(c.UseAKSWorkloadIdentity):
		a.method = methodWorkloadIdentity
		made, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{ClientOptions: c.options(), TenantID: c.TenantID, ClientID: c.ClientID,
			AdditionallyAllowedTenants: c.AuxiliaryTenantIDs})
		return a.made(made, err)
	case on(c.UseMSI):
		a.method = methodMSI
		return a.managedIdentity()
	case c.UseCLI == nil || *c.UseCLI:
		a.method = methodCLI
		made, err := azidentity.NewAzureCLICredential(&azidentity.AzureCLICredentialOptions{TenantID: c.TenantID, AdditionallyAllowedTenants: c.AuxiliaryTenantIDs})
		if err != nil {
			return a.made(nil, err)
		}
		return &remembered{TokenCredential: made, tokens: map[string]azcore.AccessToken{}}, nil
	}
	return nil, mlerr.New(mlerr.Unauthenticated, "there are no Azure credentials, and use_cli is false").WithHint(loginHint)
}

func (a *Account) made(credential azcore.TokenCredential, err error) (azcore.TokenCredential, error) {
	if err != nil {
		return nil, mlerr.New(mlerr.InvalidArgument, "the %s cannot be used", a.method).Because(err).WithHint(loginHint)
	}
	return credential, nil
}

// application makes the credential of a service principal.
func (a *Account) application(make func(azcore.ClientOptions) (azcore.TokenCredential, error)) (azcore.TokenCredential, error) {
	for attribute, value := range map[string]string{"tenant_id": a.config.TenantID, "client_id": a.config.ClientID} {
		if value == "" {
			return nil, mlerr.New(mlerr.InvalidArgument, "to sign in to Azure with %s, %s must be set", a.method, attribute).At("%s", attribute).
				WithHint("Set it in the provider's azure_ml, or set ARM_%s", strings.ToUpper(attribute))
		}
	}
	return a.made(make(a.config.options()))
}

func (a *Account) certificate(o azcore.ClientOptions) (azcore.TokenCredential, error) {
	c := &a.config
	var data []byte
	var err error
	if c.ClientCertificate.IsZero() {
		data, err = os.ReadFile(c.ClientCertificatePath)
	} else {
		data, err = base64.StdEncoding.DecodeString(c.ClientCertificate.Reveal())
	}
	if err != nil {
		return nil, err
	}
	chain, key, err := azidentity.ParseCertificates(data, []byte(c.ClientCertificatePassword.Reveal()))
	if err != nil {
		return nil, err
	}
	return azidentity.NewClientCertificateCredential(c.TenantID, c.ClientID, chain, key,
		&azidentity.ClientCertificateCredentialOptions{ClientOptions: o, AdditionallyAllowedTenants: c.AuxiliaryTenantIDs})
}

func (a *Account) managedIdentity() (azcore.TokenCredential, error) {
	o := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: a.config.options()}
	if a.config.ClientID != "" {
		o.ID = azidentity.ClientID(a.config.ClientID)
	}
	if a.config.MSIEndpoint != "" {
		to, err := url.Parse(a.config.MSIEndpoint)
		if err != nil {
			return nil, mlerr.New(mlerr.InvalidArgument, "msi_endpoint is no URL").Because(err).At("msi_endpoint")
		}
		if o.Transport == nil {
			o.Transport = http.DefaultClient
		}
		o.Transport = &redirected{o.Transport, to}
	}
	return a.made(azidentity.NewManagedIdentityCredential(o))
}

// redirected asks another metadata service than the one at Azure's usual address,
// which azidentity has no option for.
type redirected struct {
	policy.Transporter
	to *url.URL
}

func (r *redirected) Do(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.URL.Scheme, request.URL.Host, request.Host = r.to.Scheme, r.to.Host, ""
	if r.to.Path != "" && r.to.Path != "/" {
		request.URL.Path = r.to.Path
	}
	return r.Transporter.Do(request)
}

// static is the token for emulators, which ask for none in particular.
type static struct{}

func (static) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: methodIsolated, ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// remembered keeps the tokens of a credential that does not: of az, which takes a
// second each time, and is asked by every client for itself.
type remembered struct {
	azcore.TokenCredential

	mu     sync.Mutex
	tokens map[string]azcore.AccessToken
}

// renewal is how long before its end a token is not given any more.
const renewal = 5 * time.Minute

func (r *remembered) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if o.Claims != "" { // the platform wants another token than the last
		return r.TokenCredential.GetToken(ctx, o)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	of := strings.Join(append([]string{o.TenantID}, o.Scopes...), " ")
	if known, ok := r.tokens[of]; ok && time.Until(known.ExpiresOn) > renewal {
		return known, nil
	}
	token, err := r.TokenCredential.GetToken(ctx, o)
	if err == nil {
		r.tokens[of] = token
	}
	return token, err
}
