// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package clouds

import (
	"fmt"
	"sort"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// comparison sets an endpoint as wanted against the endpoint as observed. What it
// lists are sentences of the form "path: seen -> wanted".
type comparison struct {
	spec    *driver.EndpointSpec
	seen    *driver.EndpointState
	carried []string // Features.Carried
}

// settings is what only another setting, or a repair of what stands for one, can mend.
func (c comparison) settings() []string {
	all := differences("", c.seen.Settings, c.spec.Settings)
	if c.seen.Repair != "" {
		all = append(all, c.seen.Repair)
	}
	return all
}

// whole is what only a transition of the whole endpoint can mend.
func (c comparison) whole() []string {
	all := c.settings()
	for i := range c.spec.Deployments {
		want := &c.spec.Deployments[i]
		now := predecessor(want.Name, c.seen)
		all = append(all, c.template(want, now)...)
		if now != nil && now.Mirror != want.Mirror {
			all = append(all, fmt.Sprintf("deployments.%s.mirror: %d -> %d", want.Name, now.Mirror, want.Mirror))
		}
	}
	for i := range c.seen.Deployments {
		if c.spec.Find(c.seen.Deployments[i].Name) == nil {
			all = append(all, "deployments."+c.seen.Deployments[i].Name+": removed")
		}
	}
	return all
}

// all is everything that distinguishes the two.
func (c comparison) all() []string {
	all := c.whole()
	_, traffic := c.traffic()
	all = append(all, traffic...)
	for i := range c.spec.Deployments {
		want := &c.spec.Deployments[i]
		if now := c.match(want); now != nil {
			all = append(all, differences("deployments."+want.Name+".scaling", now.Scaling, want.Scaling)...)
			if now.Repair != "" {
				all = append(all, now.Repair)
			}
		}
	}
	if !labelsEqual(c.spec.Labels, c.seen.Labels) {
		all = append(all, differences("labels", c.seen.Labels, c.spec.Labels)...)
	}
	return all
}

// template is the part of a deployment that cannot change while it runs.
type template struct {
	Model   string            `json:"model"`
	Compute driver.Compute    `json:"compute"`
	Env     map[string]string `json:"env,omitempty"`
	Carried map[string]any    `json:"carried,omitempty"`
}

func (c comparison) template(want *driver.Deployment, now *driver.DeploymentState) []string {
	path := "deployments." + want.Name
	if now == nil {
		return []string{path + ": added"}
	}
	return differences(path,
		template{now.Model.String(), now.Compute.Resolved(), now.Env, only(c.carried, &now.Carried)},
		template{want.Model.String(), want.Compute.Resolved(), want.Env, only(c.carried, &c.spec.Settings)})
}

// only is what settings say at those dotted paths.
func only(paths []string, settings *driver.Settings) map[string]any {
	if len(paths) == 0 {
		return nil
	}
	all := plain(settings)
	kept := make(map[string]any, len(paths))
	for _, path := range paths {
		kept[path] = lookup(all, path)
	}
	return kept
}

// replacing are the names that two deployments have, of which one takes over from the
// other.
func (c comparison) replacing() map[string]bool {
	count, two := map[string]int{}, map[string]bool{}
	for i := range c.seen.Deployments {
		name := c.seen.Deployments[i].Name
		count[name]++
		two[name] = count[name] > 1
	}
	return two
}

// match finds the deployment that already is what is wanted.
func (c comparison) match(want *driver.Deployment) *driver.DeploymentState {
	for i := range c.seen.Deployments {
		if now := &c.seen.Deployments[i]; now.Name == want.Name && len(c.template(want, now)) == 0 {
			return now
		}
	}
	return nil
}

// traffic lists the shares of all deployments that we may touch, if any of them
// has to change.
func (c comparison) traffic() (shares []driver.Share, aim []string) {
	for i := range c.seen.Deployments {
		now := &c.seen.Deployments[i]
		share := driver.Share{ID: now.ID, Name: now.Name}
		want := c.spec.Find(now.Name)
		switch {
		case want != nil && c.match(want) == now:
			share.Traffic, share.Mirror = want.Traffic, want.Mirror
		case want == nil && !now.Owned:
			continue
		}
		shares = append(shares, share)
		if now.Traffic != share.Traffic || now.Mirror != share.Mirror {
			aim = append(aim, fmt.Sprintf("deployments.%s.traffic of %s: %d -> %d", now.Name, now.ID, now.Traffic, share.Traffic))
		}
	}
	sort.Strings(aim)
	return shares, aim
}

// predecessor finds the deployment of that name with the most traffic.
func predecessor(name string, seen *driver.EndpointState) *driver.DeploymentState {
	var best *driver.DeploymentState
	for i := range seen.Deployments {
		if now := &seen.Deployments[i]; now.Name == name && (best == nil || now.Traffic > best.Traffic) {
			best = now
		}
	}
	return best
}

func liveReplicas(name string, seen *driver.EndpointState) int {
	most := 0
	for i := range seen.Deployments {
		if now := &seen.Deployments[i]; now.Name == name {
			most = max(most, now.Replicas)
		}
	}
	return most
}

// foreignTraffic refuses to share out requests that deployments which are not
// ours receive, and which are not ours to take away.
func foreignTraffic(what string, spec *driver.EndpointSpec, seen *driver.EndpointState) error {
	for i := range seen.Deployments {
		if now := &seen.Deployments[i]; !now.Owned && spec.Find(now.Name) == nil && now.Traffic > 0 {
			return mlerr.New(mlerr.InUse, "%s sends %d percent of its requests to deployment %s, which is not ours", what, now.Traffic, now.Name).
				At("deployments").WithHint("Add deployments.%s to the configuration, or take its traffic away with the tool that made it", now.Name)
		}
	}
	return nil
}

func labelsEqual(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}
