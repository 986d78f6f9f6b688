// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"maps"
	"slices"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// API keys are made once, in the cluster, and are nowhere else: neither in a plan nor
// in a state nor in the root's record.

// clientNames are who has a key: the invokers, or one client without a name.
func clientNames(s *driver.Settings) []string {
	if len(s.Auth.Invokers) == 0 {
		return []string{"default"}
	}
	return s.Auth.Invokers
}

// keys makes the Secret with a key for each client, and removes the keys of others.
// A key that is there stays what it is.
func (d *kubernetes) keys(ctx context.Context, a *api, r *root) error {
	keyed := r.Settings.Auth.Mode == authKey
	before := slices.ContainsFunc(r.Deployments, func(e entry) bool { return e.Carried.Auth.Mode == authKey })
	if !keyed && !before {
		return nil
	}
	name := keysName(r.key)
	o, err := notFound(a.get(ctx, secrets, r.key.Location, name))
	if err != nil {
		return err
	}
	foreign := o != nil && (!ours(o) || o.GetLabels()[labelEndpoint] != r.key.Name)
	switch {
	case !keyed && (o == nil || foreign):
		return nil
	case !keyed:
		return a.remove(ctx, secrets, o)
	case foreign:
		return mlerr.New(mlerr.AlreadyExists, "the Secret %s exists and was not made for the endpoint %s", name, r.key.Name).WithHint("Remove it, or choose another name for the endpoint")
	}
	now := map[string]any{}
	if o != nil {
		now, _, _ = nestedMap(o.Object, "data")
	}
	wanted := map[string]any{}
	for _, client := range clientNames(&r.Settings) {
		if wanted[client] = now[client]; wanted[client] == nil {
			wanted[client] = newKey()
		}
	}
	if o != nil && slices.Equal(slices.Sorted(maps.Keys(now)), slices.Sorted(maps.Keys(wanted))) {
		return nil
	}
	write := a.update
	if o == nil {
		o, write = newObject(secrets, r.key.Location, name), a.create
		owned := written{Kind: secrets.name, Name: name, Content: o.Object}
		o = owned.object(r)
	}
	o.SetLabels(marked(labelsIn(r.object), labelEndpoint, r.key.Name))
	o.Object["data"], o.Object["type"] = wanted, "Opaque"
	_, err = write(ctx, secrets, o)
	return err
}

// newKey is 256 random bits, in the base64 that a Secret is written in around the
// base64 that a header can carry.
func newKey() string {
	var bits [32]byte
	_, _ = rand.Read(bits[:]) // never fails
	return base64.StdEncoding.EncodeToString([]byte(base64.RawURLEncoding.EncodeToString(bits[:])))
}
