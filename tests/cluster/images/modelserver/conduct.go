// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/wait"
)

// conduct is how predictions are answered: that percentage with the status 500, and
// each after latency.
type conduct struct {
	mu           sync.Mutex
	errorPercent int
	latency      time.Duration
	answered     int
}

// set takes "error_percent" and "latency"; what is not given is well.
func (c *conduct) set(values url.Values) error {
	var percent int
	var latency time.Duration
	var err error
	if text := values.Get("error_percent"); text != "" {
		if percent, err = strconv.Atoi(text); err != nil || percent < 0 || percent > 100 {
			return fmt.Errorf("%q is no percentage", text)
		}
	}
	if text := values.Get("latency"); text != "" {
		if latency, err = time.ParseDuration(text); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errorPercent, c.latency, c.answered = percent, latency, 0
	return nil
}

// answer waits as long as it has to, and reports whether the next answer is well.
func (c *conduct) answer(ctx context.Context) (well bool, err error) {
	const spread = 61 // spreads errors evenly over hundred answers
	c.mu.Lock()
	latency := c.latency
	well = c.answered*spread%100 >= c.errorPercent
	c.answered++
	c.mu.Unlock()
	if latency > 0 {
		err = wait.Real{}.Sleep(ctx, latency)
	}
	return well, err
}
