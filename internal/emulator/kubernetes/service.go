// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package kubernetes emulates a Kubernetes cluster for rehearsal: the API server,
// with discovery, server-side apply, watches and the refusals that it is known for,
// and the controllers that roll out Deployments and InferenceServices, on a scaled
// clock. Managed fields are the work of Kubernetes' own library; what is checked and
// what is defaulted was compared with a real API server by package parity.
package kubernetes

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/state"
)

// Options are what the emulator needs of its surroundings.
type Options struct {
	Dir   string // the state directory: kubernetes.json is read from it
	Store *state.Store
	Now   func() time.Time
	Speed float64 // 1: five minutes on the platform are a second; more is faster
	// History is how many writes a watch can go back; 0 is 1000.
	History int
	// Keys lists what is below a prefix in S3, and Artifact opens an object. Nil
	// leaves artifacts unchecked.
	Keys     func(bucket, prefix string) ([]string, error)
	Artifact func(bucket, key string) (io.ReadCloser, error)
	// Evaluate computes a model's outputs; ok is false when it cannot.
	Evaluate func(name string, artifact io.Reader, body []byte) (outputs any, ok bool)
	// Conduct tells how a version of a model answers; nil is well.
	Conduct func(model, version string) (fault.Conduct, error)
}

// Service is the emulator.
type Service struct {
	o       Options
	cluster cluster
	changed notifier
	decoded decoded
}

// cluster is what <state_dir>/kubernetes.json says of the cluster.
type cluster struct {
	Version string   `json:"version"`
	Missing []string `json:"missing"` // API groups that are not installed
	Nodes   []node   `json:"nodes"`
}

// node is a machine. Resources are as Kubernetes writes them: {"cpu": "8"}.
type node struct {
	Name      string            `json:"name"`
	Labels    map[string]string `json:"labels"`
	Resources map[string]string `json:"resources"`
	Taints    []taint           `json:"taints"`
}

type taint struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Effect string `json:"effect"`
}

const defaultVersion = "v1.34.4"

// New makes the emulator. A kubernetes.json that cannot be read is an error.
func New(o Options) (*Service, error) {
	if o.Speed <= 0 {
		o.Speed = 1
	}
	if o.History <= 0 {
		o.History = 1000
	}
	s := &Service{o: o}
	data, err := os.ReadFile(filepath.Join(o.Dir, "kubernetes.json"))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	if err == nil {
		if err := json.Unmarshal(data, &s.cluster); err != nil {
			return nil, &os.PathError{Op: "read", Path: "kubernetes.json", Err: err}
		}
	}
	if s.cluster.Version == "" {
		s.cluster.Version = defaultVersion
	}
	if len(s.cluster.Nodes) == 0 {
		s.cluster.Nodes = defaultNodes
	}
	return s, nil
}

var defaultNodes = []node{
	{Name: "cpu-1", Labels: map[string]string{"node.kubernetes.io/instance-type": "cpu.large", "topology.kubernetes.io/zone": "zone-a"},
		Resources: map[string]string{"cpu": "16", "memory": "64Gi"}},
	{Name: "cpu-2", Labels: map[string]string{"node.kubernetes.io/instance-type": "cpu.large", "topology.kubernetes.io/zone": "zone-b"},
		Resources: map[string]string{"cpu": "16", "memory": "64Gi"}},
	{Name: "gpu-1", Labels: map[string]string{"node.kubernetes.io/instance-type": "gpu.l4.4", "topology.kubernetes.io/zone": "zone-a",
		"nvidia.com/gpu.present": "true", "nvidia.com/gpu.product": "NVIDIA-L4", "nvidia.com/gpu.count": "4", "nvidia.com/gpu.memory": "23034",
		"nvidia.com/gpu.family": "ada-lovelace", "nvidia.com/gpu.machine": "emulated", "nvidia.com/gpu.replicas": "1", "nvidia.com/mig.strategy": "single",
		"nvidia.com/cuda.driver.major": "550", "nvidia.com/gpu.compute.major": "8", "nvidia.com/gpu.compute.minor": "9"},
		Resources: map[string]string{"cpu": "48", "memory": "192Gi", "nvidia.com/gpu": "4"},
		Taints:    []taint{{Key: "nvidia.com/gpu", Value: "present", Effect: "NoSchedule"}}},
}

// scaled is how long something that takes d on the platform takes here.
func (s *Service) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) / 300 / s.o.Speed)
}

func (s *Service) seconds(n int32) time.Duration { return s.scaled(time.Duration(n) * time.Second) }

// transact runs f with the world brought up to now, and lets controllers see
// afterwards what f has written.
func (s *Service) transact(ctx context.Context, f func(w *world) error) error {
	wrote := false
	err := s.o.Store.Do(ctx, func(tx *state.Tx) error {
		w := &world{Service: s, tx: tx, now: s.o.Now().UTC()}
		if err := w.open(); err != nil {
			return err
		}
		if err := f(w); err != nil {
			return err
		}
		wrote = w.wrote
		return w.drain()
	})
	if wrote {
		s.changed.broadcast()
	}
	return err
}

// notifier wakes watches of this process when something was written.
type notifier struct {
	mu sync.Mutex
	ch chan struct{}
}

// wait returns a channel that is closed at the next write.
func (n *notifier) wait() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch == nil {
		n.ch = make(chan struct{})
	}
	return n.ch
}

func (n *notifier) broadcast() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ch != nil {
		close(n.ch)
		n.ch = nil
	}
}
