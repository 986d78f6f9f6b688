// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// gateways remembers where the provider's gateway is: it does not move.
type gateways struct {
	mu    sync.Mutex
	known map[string]string // base URL by namespace and name
}

// url is where predictions are sent.
func (d *kubernetes) url(ctx context.Context, a *api, r *root) (string, error) {
	path := "/"
	best := r.entry(r.winner().ID)
	if best == nil && len(r.Deployments) > 0 {
		best = &r.Deployments[0]
	}
	if best != nil {
		path = cmp.Or(best.Path, "/")
	}
	if d.cfg.routed(&r.Settings) && r.object.GetUID() != "" {
		base, err := d.gatewayAddress(ctx, a, r.key)
		if mlerr.Is(err, mlerr.NotFound, mlerr.PermissionDenied, mlerr.Unsupported) {
			base, err = "https://gateway.invalid", nil // the route tells what is wrong
		}
		if err != nil {
			return "", err
		}
		scheme, host, _ := strings.Cut(base, "://")
		own, prefix := d.cfg.address(r.key)
		if _, port, ok := strings.Cut(host, ":"); ok && own != "" && !strings.HasPrefix(host, "[") {
			own += ":" + port
		}
		return scheme + "://" + cmp.Or(own, host) + strings.TrimSuffix(prefix, "/") + path, nil
	}
	name, port := r.key.Name, ""
	if ad := r.Adopted; ad != nil {
		if name = ad.Service; name == "" && r.object.GetUID() == "" {
			return "", nil
		}
		if ad.Port.Port != plainPort && ad.Port.Port != 0 {
			port = fmt.Sprintf(":%d", ad.Port.Port)
		}
		name = cmp.Or(name, r.key.Name)
	}
	scheme := "http"
	if best != nil && best.Adopted == "" && guarded(&best.Carried) {
		scheme = "https"
	}
	return fmt.Sprintf("%s://%s.%s.svc%s%s", scheme, name, r.key.Location, port, path), nil
}

// gatewayAddress is the gateway's scheme, host and port: those of the listener that
// would take the endpoint's requests, HTTPS before HTTP. Absent is NotFound.
func (d *kubernetes) gatewayAddress(ctx context.Context, a *api, key driver.Key) (string, error) {
	g := d.cfg.Gateway
	namespace := cmp.Or(g.Namespace, key.Location)
	id := namespace + "/" + g.Name
	d.gateways.mu.Lock()
	base, ok := d.gateways.known[id]
	d.gateways.mu.Unlock()
	if ok {
		return base, nil
	}
	o, err := a.get(ctx, gatewayKind, namespace, g.Name)
	if err != nil {
		return "", err
	}
	host := "gateway.invalid" // until it has an address
	if addresses, _, _ := nestedSlice(o.Object, "status", "addresses"); len(addresses) > 0 {
		first, _ := addresses[0].(map[string]any)
		if v, _ := first["value"].(string); v != "" {
			host = v
		}
	}
	listeners, _, _ := nestedSlice(o.Object, "spec", "listeners")
	base = listening(listeners, host)
	if host != "gateway.invalid" {
		d.gateways.mu.Lock()
		defer d.gateways.mu.Unlock()
		if d.gateways.known == nil {
			d.gateways.known = map[string]string{}
		}
		d.gateways.known[id] = base
	}
	return base, nil
}

// listening is the address of the best listener.
func listening(listeners []any, host string) string {
	best := ""
	for _, v := range listeners {
		l, _ := v.(map[string]any)
		protocol, _ := l["protocol"].(string)
		port, _ := l["port"].(int64)
		scheme := strings.ToLower(protocol)
		if scheme != "http" && scheme != "https" || strings.HasPrefix(best, "https:") {
			continue
		}
		at := scheme + "://" + host
		if scheme == "http" && port != plainPort || scheme == "https" && port != securePort {
			at += fmt.Sprintf(":%d", port)
		}
		if best == "" || scheme == "https" {
			best = at
		}
	}
	return cmp.Or(best, "https://"+host)
}
