// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"context"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

// Credentials are an access token for whoever runs the provider: an endpoint has none
// of its own.
func (d *vertex) Credentials(ctx context.Context, key driver.Key) (*driver.Credentials, error) {
	r := d.at(key.Location)
	e, err := r.getEndpoint(ctx, key.Name)
	if err != nil {
		return nil, err
	}
	c := &driver.Credentials{URL: r.url(key.Name, e), Mode: authIAM}
	if d.cfg.Isolated { // which takes any
		c.Token = secret.New("rehearsal")
		return c, nil
	}
	signed, err := d.credentials(d.plain())
	if err != nil {
		return nil, err
	}
	token, err := signed.Token(ctx)
	if err != nil {
		return nil, mlerr.Annotate(err, "cannot get a token to call the endpoint %s", key.ID())
	}
	c.Token, c.Expires = secret.New(token.Value), token.Expiry.UTC()
	return c, nil
}
