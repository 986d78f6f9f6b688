// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"context"
	"encoding/base64"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

// Credentials are the keys of an endpoint with auth.mode "key", by the names of its
// clients. Tokens and certificates are for others to give out.
func (d *kubernetes) Credentials(ctx context.Context, key driver.Key) (*driver.Credentials, error) {
	s, err := d.ObserveEndpoint(ctx, key, nil)
	if err != nil {
		return nil, err
	}
	if s.Settings.Auth.Mode != authKey {
		return nil, mlerr.New(mlerr.Unsupported, "the endpoint %s takes no keys: its auth.mode is %q", key.ID(), s.Settings.Auth.Mode).
			WithHint("Let callers send the token of a service account (kubectl create token), or use auth.mode = \"key\"")
	}
	a, err := d.connect()
	if err != nil {
		return nil, err
	}
	o, err := a.get(ctx, secrets, key.Location, keysName(key))
	if err != nil {
		return nil, err
	}
	data, _, _ := nestedMap(o.Object, "data")
	c := &driver.Credentials{URL: s.URL, Mode: authKey, Keys: map[string]secret.String{}}
	for client, v := range data {
		text, _ := v.(string)
		value, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, mlerr.New(mlerr.Failed, "the key of %s in the Secret %s is not readable", client, keysName(key))
		}
		c.Keys[client] = secret.New(string(value))
	}
	return c, nil
}
