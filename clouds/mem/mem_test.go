// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package mem_test

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/drivertest"
	"github.com/mlplane/terraform-provider-ml/clouds/mem"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, plain := range map[string]bool{"full": false, "plain": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			drivertest.Run(t, func(*testing.T) drivertest.Harness {
				clock := drivertest.NewClock()
				return &harness{clock: clock, platform: mem.NewPlatform(clock), plain: plain}
			})
		})
	}
}

type harness struct {
	plain    bool
	clock    *drivertest.Clock
	platform *mem.Platform
}

func (h *harness) Open(_ *testing.T, c *drivertest.Cutter) driver.Driver {
	c.Mutates = func(call string) bool { return !strings.HasPrefix(call, "Get") }
	d := mem.Open(h.platform, driver.Kubernetes, "default", mem.Hook{Before: c.Before, After: c.AfterCall})
	d.Plain = h.plain
	return d
}

func (h *harness) Clock() *drivertest.Clock { return h.clock }
func (h *harness) Location() string         { return "default" }

func (h *harness) Artifact(_ *testing.T, content string) (uri, digest string) {
	sum := sha256.Sum256([]byte(content))
	digest = hex.EncodeToString(sum[:])
	h.platform.PutArtifact("mem://"+content, digest)
	return "mem://" + content, digest
}

func (h *harness) Endpoint(string) *driver.EndpointSpec {
	return &driver.EndpointSpec{Settings: driver.Settings{Network: driver.Network{Access: "public"}, Auth: driver.Auth{Mode: "iam"}}}
}

func key(name string) driver.Key {
	return driver.Key{Platform: driver.Kubernetes, Location: "default", Name: name}
}

func (h *harness) Compute() (small, large driver.Compute) {
	return driver.Compute{InstanceType: "mem.small"}, driver.Compute{InstanceType: "mem.large"}
}

func (h *harness) Metric() driver.MetricType { return driver.MetricRequests }

func (h *harness) HandMade(_ *testing.T, name string, ref driver.VersionRef) {
	h.platform.Edit(key(name), func(s *driver.EndpointState) {
		s.Settings = h.Endpoint(name).Settings
		s.Deployments = []driver.DeploymentState{{ID: "theirs", Phase: driver.Ready, Replicas: 1, Deployment: driver.Deployment{
			Name: "main", Model: ref, Traffic: 100, Compute: driver.Compute{InstanceType: "mem.small"}, Scaling: driver.Scaling{Min: 1, Max: 1}},
			Carried: s.Settings}}
	})
}

func (h *harness) Damage(_ *testing.T, k driver.Key, deployment string) {
	h.platform.Edit(k, func(s *driver.EndpointState) {
		for i := range s.Deployments {
			if s.Deployments[i].Name == deployment {
				s.Deployments[i].Repair = "somebody removed its budget"
			}
		}
	})
}

func (h *harness) Call(_ *testing.T, k driver.Key, n int)      { h.platform.Call(k, n) }
func (h *harness) Alarm(_ *testing.T, name string, fires bool) { h.platform.Alarm(name, fires) }

func (h *harness) Conduct(_ *testing.T, ref driver.VersionRef, errorPercent int, latency time.Duration) {
	h.platform.Conduct(ref, errorPercent, latency)
}

func (h *harness) FailNextDeploy(_ *testing.T, reason string) { h.platform.FailNext(reason) }

func (h *harness) Drift(_ *testing.T, k driver.Key, deployment string, d drivertest.Drift) {
	h.platform.Edit(k, func(s *driver.EndpointState) {
		for i := range s.Deployments {
			now := &s.Deployments[i]
			if now.Name != deployment {
				continue
			}
			if d.Traffic > 0 {
				now.Traffic = d.Traffic
			}
			if d.Replicas > 0 {
				now.Replicas = d.Replicas
				if !now.Scaling.Automatic() {
					now.Scaling.Min, now.Scaling.Max = d.Replicas, d.Replicas
				}
			}
		}
	})
}

func (h *harness) Replicas(_ *testing.T, k driver.Key, deployment string) int {
	n := 0
	h.platform.Edit(k, func(s *driver.EndpointState) {
		for i := range s.Deployments {
			if s.Deployments[i].Name == deployment {
				n = s.Deployments[i].Replicas
			}
		}
	})
	return n
}

func (h *harness) Fork(*testing.T) drivertest.Harness {
	clock := drivertest.NewClock()
	clock.Set(h.clock.Now())
	return &harness{clock: clock, platform: h.platform.Fork(clock), plain: h.plain}
}

func (h *harness) Objects(*testing.T) []string { return h.platform.Objects() }

func TestRollouts(t *testing.T) {
	t.Parallel()
	for name, plain := range map[string]bool{"full": false, "plain": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			drivertest.RunRollouts(t, func(*testing.T) drivertest.Watched {
				clock := drivertest.NewClock()
				return &harness{clock: clock, platform: mem.NewPlatform(clock), plain: plain}
			})
		})
	}
}
