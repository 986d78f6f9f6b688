// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// servedResources is what the API server serves, asked for once.
type servedResources struct {
	mu       sync.Mutex
	all      map[schema.GroupVersionResource]bool
	versions map[string][]string // of each group
}

// serves reports whether the API server serves a resource, and the versions of its
// group that it serves. It takes two calls, once.
func (a *api) serves(r schema.GroupVersionResource) (ok bool, versions []string, err error) {
	s := &a.served
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		// Aggregated discovery; parts that an extension server does not answer for are
		// left out.
		_, lists, err := a.discovery.ServerGroupsAndResources()
		if err != nil && len(lists) == 0 {
			return false, nil, failed(err, "ask the cluster what it serves")
		}
		s.all, s.versions = map[schema.GroupVersionResource]bool{}, map[string][]string{}
		for _, list := range lists {
			gv, err := schema.ParseGroupVersion(list.GroupVersion)
			if err != nil {
				continue // no kind of ours has such a name
			}
			for i := range list.APIResources {
				s.all[gv.WithResource(list.APIResources[i].Name)] = true
			}
			s.versions[gv.Group] = append(s.versions[gv.Group], gv.Version)
		}
	}
	return s.all[r], slices.Clone(s.versions[r.Group]), nil
}

// needs refuses what the cluster lacks the definitions for. path is the attribute
// that asks for it, alternative what to do instead of installing it.
func (a *api) needs(k *kind, path, alternative string) error {
	ok, versions, err := a.serves(k.gvr)
	if err != nil || ok {
		return err
	}
	e := mlerr.New(mlerr.Unsupported, "%s needs %s.%s/%s, which this cluster does not serve", k.needs, k.gvr.Resource, k.gvr.Group, k.gvr.Version)
	if len(versions) > 0 {
		e = mlerr.New(mlerr.Unsupported, "%s is installed in this cluster as %v, and %s is needed", k.needs, versions, k.gvr.GroupVersion())
	}
	return e.At("%s", path).WithHint("Install %s, or %s", k.needs, alternative)
}
