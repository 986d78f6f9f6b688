// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// fresh is how long a list serves the reads of a refresh. Whatever we write ends it
// at once.
const fresh = 30 * time.Second

// snapshots share one list of a region's endpoints between the many reads of a
// refresh: one call for every hundred.
type snapshots struct {
	group singleflight.Group
	mu    sync.Mutex
	taken time.Time
	all   map[string]*wireEndpoint // by id; nil if there is no list
	age   int                      // counts what we have written
	last  map[string]wireEndpoint  // as each was last read, for its address
}

// find is an endpoint of the region as a list shows it, nil if it does not.
func (s *snapshots) find(ctx context.Context, r *region, name string) (*wireEndpoint, error) {
	all := s.known()
	if all == nil {
		taken, err, _ := s.group.Do("", func() (any, error) {
			if all := s.known(); all != nil {
				return all, nil
			}
			// One reader that is interrupted must not end the reading of all others.
			return s.take(context.WithoutCancel(ctx), r)
		})
		if err != nil {
			return nil, err
		}
		all = taken.(map[string]*wireEndpoint) //nolint:forcetypeassert // as above
	}
	e := all[name]
	if e == nil {
		return nil, nil //nolint:nilnil // not listed
	}
	return new(*e), nil
}

func (s *snapshots) known() map[string]*wireEndpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.taken) > fresh {
		return nil
	}
	return s.all
}

func (s *snapshots) take(ctx context.Context, r *region) (map[string]*wireEndpoint, error) {
	s.mu.Lock()
	age := s.age
	s.mu.Unlock()
	all, err := r.listEndpoints(ctx, v1)
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		if !e.idles() {
			continue
		}
		full, err := r.listEndpoints(ctx, v1beta1)
		if err != nil {
			return nil, err
		}
		for name, e := range all {
			if also := full[name]; also != nil {
				e.learn(also)
			}
		}
		break
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.age == age {
		s.all, s.taken = all, time.Now()
	}
	return all, nil
}

func (r *region) listEndpoints(ctx context.Context, version string) (map[string]*wireEndpoint, error) {
	listed, err := pages[wireEndpoint](ctx, r, call{name: "endpoints.list", doing: "list the endpoints in " + r.name, version: version, path: r.in("endpoints")}, "endpoints")
	if err != nil {
		return nil, err
	}
	all := make(map[string]*wireEndpoint, len(listed))
	for i := range listed {
		all[segment(listed[i].Name, "endpoints")] = &listed[i]
	}
	return all, nil
}

// forget is called before every write.
func (s *snapshots) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = nil
	s.age++
}

// recent remembers where an endpoint answers.
func (r *region) recent(name string, e *wireEndpoint) {
	r.endpoints.mu.Lock()
	defer r.endpoints.mu.Unlock()
	if r.endpoints.last == nil {
		r.endpoints.last = map[string]wireEndpoint{}
	}
	r.endpoints.last[name] = *e
}

// remembered is an endpoint as it was last read, read now if it was not.
func (r *region) remembered(ctx context.Context, name string) (*wireEndpoint, error) {
	r.endpoints.mu.Lock()
	e, ok := r.endpoints.last[name]
	r.endpoints.mu.Unlock()
	if ok {
		return &e, nil
	}
	return r.getEndpoint(ctx, name)
}
