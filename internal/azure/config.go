// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package azure signs in to Azure as azurerm does: it selects one credential by
// the arguments and environment that users of that provider and of HCP Terraform
// have, and knows the addresses of the clouds.
package azure

import (
	"cmp"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

// Config is how to sign in. Fields have the names of azurerm's arguments; what is
// not set comes from the environment variables of that provider.
type Config struct {
	SubscriptionID, TenantID       string
	AuxiliaryTenantIDs             []string
	Environment                    string // public, usgovernment or china; "" is public
	ClientID, ClientIDFilePath     string
	ClientSecret                   secret.String
	ClientSecretFilePath           string
	ClientCertificate              secret.String // PKCS #12, in base64
	ClientCertificatePath          string
	ClientCertificatePassword      secret.String
	UseOIDC                        *bool // nil is not said
	OIDCToken                      secret.String
	OIDCTokenFilePath              string
	OIDCRequestURL                 string
	OIDCRequestToken               secret.String
	ADOPipelineServiceConnectionID string
	UseMSI                         *bool
	MSIEndpoint                    string
	UseCLI                         *bool // nil is true
	UseAKSWorkloadIdentity         *bool

	EndpointURL string             // of the Resource Manager; "" is the cloud's
	Isolated    bool               // reads neither the environment nor files; needs EndpointURL, which gets a token that says nothing
	Transport   policy.Transporter // below everything, sign-in too; nil is the SDK's
	UserAgent   string             // "product/version"
}

// completed is c with what azurerm reads from the environment.
func (c *Config) completed() (*Config, error) {
	c = new(*c)
	if c.Isolated {
		return c, nil
	}
	text := func(field *string, names ...string) {
		for _, name := range names {
			*field = cmp.Or(*field, os.Getenv(name))
		}
	}
	hidden := func(field *secret.String, names ...string) {
		value := field.Reveal()
		text(&value, names...)
		*field = secret.New(value)
	}
	text(&c.SubscriptionID, "ARM_SUBSCRIPTION_ID")
	text(&c.TenantID, "ARM_TENANT_ID")
	text(&c.Environment, "ARM_ENVIRONMENT")
	if c.ClientID == "" && c.ClientIDFilePath == "" {
		text(&c.ClientID, "ARM_CLIENT_ID")
		text(&c.ClientIDFilePath, "ARM_CLIENT_ID_FILE_PATH")
	}
	if c.ClientSecret.IsZero() && c.ClientSecretFilePath == "" {
		hidden(&c.ClientSecret, "ARM_CLIENT_SECRET")
		text(&c.ClientSecretFilePath, "ARM_CLIENT_SECRET_FILE_PATH")
	}
	if c.ClientCertificate.IsZero() && c.ClientCertificatePath == "" {
		hidden(&c.ClientCertificate, "ARM_CLIENT_CERTIFICATE")
		text(&c.ClientCertificatePath, "ARM_CLIENT_CERTIFICATE_PATH")
	}
	hidden(&c.ClientCertificatePassword, "ARM_CLIENT_CERTIFICATE_PASSWORD")
	if c.OIDCToken.IsZero() && c.OIDCTokenFilePath == "" {
		hidden(&c.OIDCToken, "ARM_OIDC_TOKEN")
		text(&c.OIDCTokenFilePath, "ARM_OIDC_TOKEN_FILE_PATH")
	}
	text(&c.OIDCRequestURL, "ARM_OIDC_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_URL", "SYSTEM_OIDCREQUESTURI")
	hidden(&c.OIDCRequestToken, "ARM_OIDC_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "SYSTEM_ACCESSTOKEN")
	text(&c.ADOPipelineServiceConnectionID, "ARM_ADO_PIPELINE_SERVICE_CONNECTION_ID", "ARM_OIDC_AZURE_SERVICE_CONNECTION_ID")
	text(&c.MSIEndpoint, "ARM_MSI_ENDPOINT")
	if len(c.AuxiliaryTenantIDs) == 0 {
		c.AuxiliaryTenantIDs = strings.FieldsFunc(os.Getenv("ARM_AUXILIARY_TENANT_IDS"), func(r rune) bool { return r == ';' || r == ',' || r == ' ' })
	}
	var all mlerr.List
	for name, field := range map[string]**bool{"ARM_USE_OIDC": &c.UseOIDC, "ARM_USE_MSI": &c.UseMSI, "ARM_USE_CLI": &c.UseCLI, "ARM_USE_AKS_WORKLOAD_IDENTITY": &c.UseAKSWorkloadIdentity} {
		all.Add(yes(field, name))
	}
	return c, all.Err()
}

// yes reads an environment variable that is true or false.
func yes(field **bool, name string) error {
	value := os.Getenv(name)
	if *field != nil || value == "" {
		return nil
	}
	b, err := strconv.ParseBool(value)
	if err != nil {
		return mlerr.New(mlerr.InvalidArgument, "the environment variable %s is %q, and must be true or false", name, value)
	}
	*field = &b
	return nil
}

func on(field *bool) bool { return field != nil && *field }

// check refuses what cannot be. Paths are those of the attributes.
func (c *Config) check() error {
	var all mlerr.List
	refuse := func(bad bool, path, format string, args ...any) {
		if bad {
			all.Add(mlerr.New(mlerr.InvalidArgument, format, args...).At("%s", path))
		}
	}
	for path, id := range map[string]string{"subscription_id": c.SubscriptionID, "client_id": c.ClientID} {
		refuse(strings.ContainsAny(id, "/ \t\n"), path, "%s must be a GUID, is %q", path, id)
	}
	for _, tenant := range append([]string{c.TenantID}, c.AuxiliaryTenantIDs...) { // a domain is a tenant too
		refuse(strings.ContainsAny(tenant, "/ \t\n"), "tenant_id", "%q is not a tenant", tenant)
	}
	refuse(!slices.Contains([]string{"", EnvironmentPublic, EnvironmentUSGovernment, EnvironmentChina}, c.Environment), "environment",
		"environment must be public, usgovernment or china, is %q", c.Environment)
	for path, address := range map[string]string{"oidc_request_url": c.OIDCRequestURL, "msi_endpoint": c.MSIEndpoint} {
		refuse(address != "" && !strings.Contains(address, "://"), path, "%s must be an absolute URL", path)
	}
	if c.EndpointURL != "" {
		u, err := url.Parse(c.EndpointURL)
		refuse(err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http", "endpoint_url", "endpoint_url must be an absolute URL, is %q", c.EndpointURL)
		refuse(err == nil && u.Scheme == "http" && !loopback(u), "endpoint_url", "endpoint_url is sent tokens, which only go to https:// or to this machine")
	}
	refuse(c.Isolated && c.EndpointURL == "", "endpoint_url", "isolated from Azure, endpoint_url must be set")
	return all.Err()
}
