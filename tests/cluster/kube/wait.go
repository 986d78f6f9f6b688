// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/wait"
)

// Eventually repeats do until it returns nil, and fails the test with its last error
// when that takes longer than limit.
func Eventually(t *testing.T, limit time.Duration, what string, do func(context.Context) error) {
	t.Helper()
	if err := eventually(t.Context(), limit, what, do); err != nil {
		t.Fatal(err)
	}
}

func eventually(ctx context.Context, limit time.Duration, what string, do func(context.Context) error) error {
	loop := wait.Loop{Clock: wait.Real{}, Limit: limit, First: 50 * time.Millisecond, Most: time.Second}
	loop.Start()
	for {
		err := do(ctx)
		if err == nil {
			return nil
		}
		if paused := loop.Pause(ctx); paused != nil {
			return fmt.Errorf("waiting for %s: %w: %w", what, paused, err)
		}
	}
}

// poll is eventually, but ends when one of the cluster's processes does.
func (m *machine) poll(ctx context.Context, limit time.Duration, what string, do func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	err := eventually(ctx, limit, what, func(ctx context.Context) error {
		if err := m.ended(); err != nil {
			cancel(err)
			return err
		}
		return do(ctx)
	})
	return err
}

// tail is the end of a process's log.
func tail(logs, name string) string {
	data, err := os.ReadFile(filepath.Join(logs, name+".log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
