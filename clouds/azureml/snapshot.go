// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

// fresh is how long a list serves the reads of a refresh. Whatever we write ends it
// at once.
const fresh = 30 * time.Second

// snapshot shares one list between the many reads of a refresh.
type snapshot[T any] struct {
	group singleflight.Group
	mu    sync.Mutex
	taken time.Time
	all   map[string]T // by name or id in lower case; nil if there is no list
	age   int          // counts what we have written
}

// get is the list, taken now if there is none that is fresh.
func (s *snapshot[T]) get(ctx context.Context, take func(context.Context) (map[string]T, error)) (map[string]T, error) {
	if all := s.known(); all != nil {
		return all, nil
	}
	taken, err, _ := s.group.Do("", func() (any, error) {
		if all := s.known(); all != nil {
			return all, nil
		}
		s.mu.Lock()
		age := s.age
		s.mu.Unlock()
		// One reader that is interrupted must not end the reading of all others.
		all, err := take(context.WithoutCancel(ctx))
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.age == age {
			s.all, s.taken = all, time.Now()
		}
		return all, nil
	})
	if err != nil {
		return nil, err
	}
	return taken.(map[string]T), nil //nolint:forcetypeassert // as above
}

func (s *snapshot[T]) known() map[string]T {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.taken) > fresh {
		return nil
	}
	return s.all
}

// forget is called before every write.
func (s *snapshot[T]) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = nil
	s.age++
}

// writes is called before every change of an endpoint, a deployment or what scales
// one.
func (w *workspace) writes() {
	w.endpoints.forget()
	w.scalers.forget()
}
