// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azure

import (
	"cmp"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// The values of environment.
const (
	EnvironmentPublic       = "public"
	EnvironmentUSGovernment = "usgovernment"
	EnvironmentChina        = "china"
)

// place is one of Azure's clouds.
type place struct {
	cloud   cloud.Configuration
	scoring string // audience of Azure ML's data plane
	storage string // suffix of storage accounts
}

var places = map[string]place{
	EnvironmentPublic:       {cloud.AzurePublic, "https://ml.azure.com", "core.windows.net"},
	EnvironmentUSGovernment: {cloud.AzureGovernment, "https://ml.azure.us", "core.usgovcloudapi.net"},
	EnvironmentChina:        {cloud.AzureChina, "https://ml.azure.cn", "core.chinacloudapi.cn"},
}

func (c *Config) place() place { return places[cmp.Or(c.Environment, EnvironmentPublic)] }

func loopback(u *url.URL) bool {
	host := u.Hostname()
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// cloud is where to sign in and where the Resource Manager is.
func (c *Config) cloud() cloud.Configuration {
	known := c.place().cloud
	if c.EndpointURL == "" {
		return known
	}
	manager := known.Services[cloud.ResourceManager]
	manager.Endpoint = strings.TrimSuffix(c.EndpointURL, "/")
	return cloud.Configuration{ActiveDirectoryAuthorityHost: known.ActiveDirectoryAuthorityHost,
		Services: map[cloud.ServiceName]cloud.ServiceConfiguration{cloud.ResourceManager: manager}}
}

// options are those of all clients.
func (c *Config) options() policy.ClientOptions {
	product, _, _ := strings.Cut(cmp.Or(c.UserAgent, "terraform-provider-ml"), "/")
	u, err := url.Parse(c.EndpointURL)
	return policy.ClientOptions{
		Cloud:     c.cloud(),
		Transport: c.Transport,
		// With less the SDK gives up at once when the platform asks for patience.
		Retry:                           policy.RetryOptions{MaxRetries: 6, MaxRetryDelay: 5 * time.Minute},
		Telemetry:                       policy.TelemetryOptions{ApplicationID: product},
		InsecureAllowCredentialWithHTTP: err == nil && u.Scheme == "http" && loopback(u),
	}
}

// ClientOptions are those of the Resource Manager's clients. They never register
// resource providers, which is the administrator's decision.
func (a *Account) ClientOptions() *arm.ClientOptions {
	return &arm.ClientOptions{ClientOptions: a.config.options(), AuxiliaryTenants: a.config.AuxiliaryTenantIDs, DisableRPRegistration: true}
}

// ScoringScope is the scope of tokens for endpoints whose callers sign in.
func (a *Account) ScoringScope() string { return a.config.place().scoring + "/.default" }

// StorageSuffix is what the addresses of storage accounts end in: an account's
// blobs are at https://<account>.blob.<suffix>.
func (a *Account) StorageSuffix() string { return a.config.place().storage }
