// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"cmp"
	"context"
	"net/http"
	"os"
	"strconv"
	"strings"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/auth/credentials/impersonate"
	"cloud.google.com/go/auth/httptransport"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

const scope = "https://www.googleapis.com/auth/cloud-platform"

// completed is c with what the hashicorp/google provider reads from the
// environment, in its order.
func (c *Config) completed() *Config {
	if c.Isolated {
		return c
	}
	c = new(*c)
	c.Project = cmp.Or(c.Project, environment("GOOGLE_PROJECT", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "CLOUDSDK_CORE_PROJECT"))
	c.Region = cmp.Or(c.Region, environment("GOOGLE_REGION", "GCLOUD_REGION", "CLOUDSDK_COMPUTE_REGION"))
	c.ImpersonateServiceAccount = cmp.Or(c.ImpersonateServiceAccount, environment("GOOGLE_IMPERSONATE_SERVICE_ACCOUNT"))
	if override, _ := strconv.ParseBool(environment("USER_PROJECT_OVERRIDE")); override {
		c.QuotaProject = cmp.Or(c.QuotaProject, environment("GOOGLE_BILLING_PROJECT"), c.Project)
	}
	if c.Credentials.Reveal() == "" && c.AccessToken.Reveal() == "" {
		if token := environment("GOOGLE_OAUTH_ACCESS_TOKEN"); token != "" {
			c.AccessToken = secret.New(token)
		} else {
			c.Credentials = secret.New(environment("GOOGLE_CREDENTIALS", "GOOGLE_CLOUD_KEYFILE_JSON", "GCLOUD_KEYFILE_JSON"))
		}
	}
	// That provider's value ends in the version, and may name the region's host.
	custom := strings.TrimSuffix(strings.TrimSuffix(environment("GOOGLE_VERTEX_AI_CUSTOM_ENDPOINT"), "/"), "/v1")
	if !strings.Contains(custom, "{{") {
		c.EndpointURL = cmp.Or(c.EndpointURL, custom)
	}
	c.MonitoringEndpointURL = cmp.Or(c.MonitoringEndpointURL, environment("GOOGLE_MONITORING_CUSTOM_ENDPOINT"))
	return c
}

func environment(names ...string) string {
	for _, name := range names {
		if v := os.Getenv(name); v != "" {
			return v
		}
	}
	return ""
}

// client is an HTTP client that sends the credentials. They are not fetched yet.
func (d *vertex) client() (*http.Client, error) {
	d.signing.Do(func() {
		plain := d.plain()
		d.signed = new(*plain)
		if d.cfg.Isolated {
			return
		}
		var c *auth.Credentials
		if c, d.err = d.credentials(plain); d.err == nil {
			d.err = sign(d.signed, c)
		}
	})
	return d.signed, d.err
}

// sign has a client send credentials, and the project whose quota they use: calls of
// people, who belong to none, are refused without.
func sign(client *http.Client, c *auth.Credentials) error {
	signing, err := httptransport.NewClient(&httptransport.Options{BaseRoundTripper: client.Transport, Credentials: c,
		Headers: http.Header{}, DisableTelemetry: true})
	if err == nil {
		client.Transport = signing.Transport
	}
	return err
}

// plain is an HTTP client without credentials.
func (d *vertex) plain() *http.Client {
	if d.cfg.HTTPClient != nil {
		return d.cfg.HTTPClient
	}
	return &http.Client{Transport: http.DefaultTransport}
}

const loginHint = "Set the provider's vertex_ai.credentials or access_token, GOOGLE_CREDENTIALS, or run gcloud auth application-default login; " +
	"in HCP Terraform, turn on dynamic Google Cloud credentials for the workspace"

func (d *vertex) credentials(client *http.Client) (*auth.Credentials, error) {
	c, err := d.base(client)
	if err == nil && d.cfg.ImpersonateServiceAccount != "" {
		c, err = d.impersonated(client, c)
	}
	if err != nil {
		return nil, mlerr.New(mlerr.Unauthenticated, "there are no usable Google Cloud credentials").Because(err).WithHint(loginHint)
	}
	quota := func(ctx context.Context) (string, error) {
		if d.cfg.QuotaProject != "" {
			return d.cfg.QuotaProject, nil
		}
		return c.QuotaProjectID(ctx)
	}
	return auth.NewCredentials(&auth.CredentialsOptions{TokenProvider: explained{c}, QuotaProjectIDProvider: auth.CredentialsPropertyFunc(quota),
		UniverseDomainProvider: auth.CredentialsPropertyFunc(c.UniverseDomain)}), nil
}

// impersonated are the credentials of a service account that as may act as.
func (d *vertex) impersonated(client *http.Client, as *auth.Credentials) (*auth.Credentials, error) {
	signed := new(*client)
	if err := sign(signed, as); err != nil {
		return nil, err
	}
	return impersonate.NewCredentials(&impersonate.CredentialsOptions{TargetPrincipal: d.cfg.ImpersonateServiceAccount, Scopes: []string{scope},
		Credentials: as, Client: signed})
}

// base are the credentials before any impersonation.
func (d *vertex) base(client *http.Client) (*auth.Credentials, error) {
	if token := d.cfg.AccessToken; token.Reveal() != "" {
		return auth.NewCredentials(&auth.CredentialsOptions{TokenProvider: given{token}}), nil
	}
	o := &credentials.DetectOptions{Scopes: []string{scope}, Client: client}
	content := []byte(d.cfg.Credentials.Reveal())
	if len(content) == 0 {
		return credentials.DetectDefault(o)
	}
	if !strings.HasPrefix(strings.TrimSpace(string(content)), "{") {
		var err error
		if content, err = os.ReadFile(string(content)); err != nil {
			return nil, err
		}
	}
	o.CredentialsJSON = content //nolint:staticcheck // of any type: the user's own configuration says which
	return credentials.DetectDefault(o)
}

// given is an access token that the user has.
type given struct{ token secret.String }

func (g given) Token(context.Context) (*auth.Token, error) {
	return &auth.Token{Value: g.token.Reveal(), Type: "Bearer"}, nil
}

// explained turns the failure to get a token into an error that says so.
type explained struct{ auth.TokenProvider }

func (e explained) Token(ctx context.Context) (*auth.Token, error) {
	t, err := e.TokenProvider.Token(ctx)
	if err == nil || ctx.Err() != nil {
		return t, err
	}
	return nil, mlerr.New(mlerr.Unauthenticated, "the Google Cloud credentials give no token").Because(err).WithHint(loginHint)
}
