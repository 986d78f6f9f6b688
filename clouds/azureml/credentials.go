// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"context"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

// Credentials are both keys of an endpoint, its token, or one of Microsoft Entra ID for
// whoever runs the provider.
func (d *azureML) Credentials(ctx context.Context, key driver.Key) (*driver.Credentials, error) {
	w, err := d.at(key.Location)
	if err != nil {
		return nil, err
	}
	e, err := w.getEndpoint(ctx, key.Name)
	if err != nil {
		return nil, err
	}
	c := &driver.Credentials{URL: d.shown(deref(e.Properties.ScoringURI)), Mode: authMode(deref(e.Properties.AuthMode))}
	if c.Mode == authKey {
		c.Keys, err = w.keys(ctx, key.Name)
		return c, err
	}
	c.Token, c.Expires, err = w.token(ctx, key.Name, c.Mode)
	return c, err
}

// keys are the keys of an endpoint, by name.
func (w *workspace) keys(ctx context.Context, name string) (map[string]secret.String, error) {
	got, err := w.c.OnlineEndpoints.ListKeys(ctx, w.group, w.name, name, nil)
	if err != nil {
		return nil, failed(err, "cannot read the keys of the endpoint %s", name)
	}
	return map[string]secret.String{"primary": secret.New(deref(got.PrimaryKey)), "secondary": secret.New(deref(got.SecondaryKey))}, nil
}

// token is a short-lived token for an endpoint.
func (w *workspace) token(ctx context.Context, name, mode string) (secret.String, time.Time, error) {
	if mode == authToken {
		got, err := w.c.OnlineEndpoints.GetToken(ctx, w.group, w.name, name, nil)
		if err != nil {
			return secret.String{}, time.Time{}, failed(err, "cannot get a token of the endpoint %s", name)
		}
		return secret.New(deref(got.AccessToken)), time.Unix(deref(got.ExpiryTimeUTC), 0).UTC(), nil
	}
	got, err := w.d.account.Credential().GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{w.d.account.ScoringScope()}})
	if err != nil {
		return secret.String{}, time.Time{}, failed(err, "cannot get a token to call the endpoint %s", name)
	}
	return secret.New(got.Token), got.ExpiresOn.UTC(), nil
}

// bearer is what a caller of an endpoint sends.
func (w *workspace) bearer(ctx context.Context, name, mode string) (secret.String, error) {
	if mode == authKey {
		keys, err := w.keys(ctx, name)
		return keys["primary"], err
	}
	token, _, err := w.token(ctx, name, mode)
	return token, err
}
