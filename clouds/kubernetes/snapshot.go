// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
)

// snapshot is what of ours is in a namespace, as read at one time.
type snapshot struct {
	taken   time.Time
	objects map[*kind]map[string]*object // by name
}

// fresh is how long a snapshot serves the reads of a refresh. Whatever we write
// ends it at once.
const fresh = 30 * time.Second

// snapshots share one reading of a namespace between the many reads of a refresh:
// a list for each kind, however many endpoints and models there are.
type snapshots struct {
	group singleflight.Group
	mu    sync.Mutex
	taken map[string]*snapshot
	age   int // counts what we have written
}

// read returns the namespace's snapshot, a new one if there is none.
func (s *snapshots) read(ctx context.Context, a *api, namespace string) (*snapshot, error) {
	if found := s.known(namespace); found != nil {
		return found, nil
	}
	taken, err, _ := s.group.Do(namespace, func() (any, error) {
		if found := s.known(namespace); found != nil {
			return found, nil
		}
		s.mu.Lock()
		age := s.age
		s.mu.Unlock()
		// One reader that is interrupted must not end the reading of all others.
		taken, err := take(context.WithoutCancel(ctx), a, namespace)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.age == age {
			if s.taken == nil {
				s.taken = map[string]*snapshot{}
			}
			s.taken[namespace] = taken
		}
		return taken, nil
	})
	if err != nil {
		return nil, err
	}
	return taken.(*snapshot), nil //nolint:forcetypeassert // as above
}

func (s *snapshots) known(namespace string) *snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found := s.taken[namespace]; found != nil && time.Since(found.taken) < fresh {
		return found
	}
	return nil
}

// forget is called before every write.
func (s *snapshots) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken = nil
	s.age++
}

// take lists the ConfigMaps first: roots tell which kinds there are besides.
func take(ctx context.Context, a *api, namespace string) (*snapshot, error) {
	s := &snapshot{taken: time.Now(), objects: map[*kind]map[string]*object{}}
	if err := s.list(ctx, a, configMaps, namespace, selecting()); err != nil {
		return nil, err
	}
	needed := map[*kind]bool{}
	for _, o := range s.labeled(configMaps, labelKind, kindEndpoint) {
		r, err := rootOf(driver.Key{Platform: driver.Kubernetes, Location: namespace, Name: o.GetLabels()[labelEndpoint]}, &o)
		if err != nil {
			continue // whoever reads it is told
		}
		for k := range r.kinds() {
			needed[k] = true
		}
	}
	delete(needed, configMaps)
	err := s.listAll(ctx, a, namespace, needed, selecting())
	return s, err
}

func (s *snapshot) listAll(ctx context.Context, a *api, namespace string, needed map[*kind]bool, selector string) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(parallel)
	var mu sync.Mutex
	for k := range needed {
		group.Go(func() error {
			part := &snapshot{objects: map[*kind]map[string]*object{}}
			err := part.list(ctx, a, k, namespace, selector)
			mu.Lock()
			defer mu.Unlock()
			s.objects[k] = part.objects[k]
			return err
		})
	}
	return group.Wait()
}

func (s *snapshot) list(ctx context.Context, a *api, k *kind, namespace, selector string) error {
	all, err := a.list(ctx, k, namespace, selector)
	if err != nil {
		return err
	}
	byName := make(map[string]*object, len(all))
	for i := range all {
		byName[all[i].GetName()] = &all[i]
	}
	s.objects[k] = byName
	return nil
}

// find is an object of that name, nil if there is none.
func (s *snapshot) find(k *kind, name string) *object { return s.objects[k][name] }

// labeled are the objects of a kind that have a label.
func (s *snapshot) labeled(k *kind, label, value string) []object {
	var all []object
	for _, o := range s.objects[k] {
		if o.GetLabels()[label] == value {
			all = append(all, *o)
		}
	}
	return all
}

// kinds are those of which the endpoint has objects.
func (r *root) kinds() map[*kind]bool {
	all := map[*kind]bool{}
	for i := range r.Objects {
		all[r.Objects[i].kind()] = true
	}
	for i := range r.Deployments {
		all[r.Deployments[i].workloadKind()] = true
		if r.Deployments[i].workloadKind() == inferenceServices {
			all[deployments] = true // which KServe makes
		}
	}
	return all
}
