// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"context"
	"slices"
	"sync"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// What long-running operations do.
const (
	creating    = "create"
	deploying   = "deploy"
	undeploying = "undeploy"
	mutating    = "mutate"
	updating    = "update"
	deleting    = "delete"
	uploading   = "upload"
)

// started is a long-running operation that this process has started.
type started struct {
	kind string
	id   string // of the deployment or version that it is about
	name string // of the operation

	deployment deployedModel  // what is deployed
	version    driver.Version // what is uploaded

	failure *status // why it has ended in vain
}

// pending remembers operations by what they change: "endpoints/fraud". It dies with
// the process. What a process before has started is seen in what it makes, or in
// that the platform refuses to start it again before it has ended; only why it
// failed is then not known.
type pending struct {
	mu sync.Mutex
	of map[string][]started
}

// add remembers an operation, in the place of one of the same kind on the same thing.
func (p *pending) add(subject string, s started) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = map[string][]started{}
	}
	p.of[subject] = append(slices.DeleteFunc(p.of[subject], func(o started) bool { return o.kind == s.kind && o.id == s.id }), s)
}

func (p *pending) list(subject string) []started {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.of[subject])
}

func (p *pending) drop(subject string, drop func(started) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if rest := slices.DeleteFunc(p.of[subject], drop); len(rest) > 0 {
		p.of[subject] = rest
	} else {
		delete(p.of, subject)
	}
}

// running asks for the operations on a subject. Those that have ended well are
// forgotten; what they have made is seen from now on.
func (r *region) running(ctx context.Context, subject string) ([]started, error) {
	var all []started
	for _, s := range r.pending.list(subject) {
		if s.failure == nil {
			var op operation
			err := r.do(ctx, call{name: "operations.get", doing: "read the operation " + s.name, path: s.name, out: &op})
			if err != nil && !mlerr.Is(err, mlerr.NotFound) {
				return nil, err
			}
			if err != nil || (op.Done && op.Error == nil) { // operations expire
				r.pending.drop(subject, func(o started) bool { return o.name == s.name })
				continue
			}
			if s.failure = op.Error; op.Done {
				s.failure.operation = s.name
				r.pending.add(subject, s)
			}
		}
		all = append(all, s)
	}
	return all, nil
}

// told forgets operations that have failed, once their reason was handed on.
func (r *region) told(subject string, kinds ...string) {
	r.pending.drop(subject, func(s started) bool { return s.failure != nil && slices.Contains(kinds, s.kind) })
}

// start makes a call that begins a long-running operation, and remembers it.
func (r *region) start(ctx context.Context, subject string, c call, s started) error {
	var op operation
	c.out, c.submits = &op, true
	if err := r.do(ctx, c); err != nil {
		return err
	}
	if s.name = op.Name; op.Name != "" && (!op.Done || op.Error != nil) {
		s.failure = op.Error
		r.pending.add(subject, s)
	}
	return nil
}

func find(all []started, kind, id string) *started {
	for i := range all {
		if all[i].kind == kind && all[i].id == id {
			return &all[i]
		}
	}
	return nil
}
