// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package mem

import (
	"context"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// conduct is how a version answers.
type conduct struct {
	errorPercent int
	latency      time.Duration
}

// answer is one that a deployment gave.
type answer struct {
	at      time.Time
	status  int
	latency time.Duration
}

// Conduct makes a version answer so: that percentage with the status 500, and each
// after latency.
func (p *Platform) Conduct(ref driver.VersionRef, errorPercent int, latency time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conduct[ref.String()] = conduct{errorPercent, latency}
}

// Alarm makes an alarm fire or not.
func (p *Platform) Alarm(name string, fires bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.alarms[name] = fires
}

// Call sends n requests to an endpoint, and shares them out by traffic.
func (p *Platform) Call(key driver.Key, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, err := p.find(key)
	if err != nil {
		return
	}
	for i := range e.state.Deployments {
		d := &e.state.Deployments[i]
		for range n * d.Traffic / 100 {
			p.answer(key, d)
		}
	}
}

// answer is what a deployment answers next; it counts.
func (p *Platform) answer(key driver.Key, d *driver.DeploymentState) answer {
	const spread = 61 // spreads errors evenly over hundred answers
	series, c := key.ID()+"/"+d.ID, p.conduct[d.Model.String()]
	a := answer{p.clock.Now(), http.StatusOK, c.latency}
	if len(p.answers[series])*spread%100 < c.errorPercent {
		a.status = http.StatusInternalServerError
	}
	p.answers[series] = append(p.answers[series], a)
	return a
}

// Measure sums up what a deployment has answered.
func (d *Driver) Measure(_ context.Context, key driver.Key, id string, since, until time.Time) (m driver.Measurement, err error) {
	err = d.call("GetMetrics", func() error {
		var latencies []time.Duration
		for _, a := range d.p.answers[key.ID()+"/"+id] {
			if a.at.Before(since) || !a.at.Before(until) {
				continue
			}
			m.Requests++
			latencies = append(latencies, a.latency)
			if a.status >= http.StatusInternalServerError {
				m.Errors++
			}
		}
		if slices.Sort(latencies); m.Requests > 0 {
			const percentile = 0.95
			m.Latency95 = latencies[int(math.Ceil(percentile*float64(m.Requests)))-1]
		}
		return nil
	})
	return m, err
}

// Firing lists the alarms that fire.
func (d *Driver) Firing(_ context.Context, _ driver.Key, names []string) (firing []driver.Alarm, err error) {
	err = d.call("GetAlarms", func() error {
		for _, name := range slices.Sorted(slices.Values(names)) {
			fires, known := d.p.alarms[name]
			if !known {
				return mlerr.New(mlerr.InvalidArgument, "there is no alarm %s", name).At("rollout.checks.alarms").WithHint("Name an alarm that exists")
			}
			if fires {
				firing = append(firing, driver.Alarm{Name: name, Reason: "somebody made it fire"})
			}
		}
		return nil
	})
	return firing, err
}
