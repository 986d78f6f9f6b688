// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/kubernetes/parity"
)

// observed is what a real API server of version 1.34.4 answered. To ask one again, name
// its kubeconfig and an empty namespace of it in ML_PARITY_KUBECONFIG and
// ML_PARITY_NAMESPACE.
var observed = filepath.Join("testdata", "observed-1.34.4.json")

// The emulated API server answers as the real one did.
func TestParity(t *testing.T) {
	t.Parallel()
	if config := os.Getenv("ML_PARITY_KUBECONFIG"); config != "" {
		observe(t, config, os.Getenv("ML_PARITY_NAMESPACE"))
	}
	var real []parity.Result
	data, err := os.ReadFile(observed)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &real); err != nil {
		t.Fatal(err)
	}
	c := newCluster(t)
	const space = "parityspace"
	if err := c.service.EnsureNamespace(t.Context(), space); err != nil {
		t.Fatal(err)
	}
	// Time passes only while a probe waits for what the cluster does by itself.
	emulated, err := parity.Run(t.Context(), c.config, space, func(context.Context) { c.seconds(1) })
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range parity.Diff(real, emulated) {
		t.Error(line)
	}
}

func observe(t *testing.T, kubeconfig, namespace string) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	results, err := parity.Run(t.Context(), config, namespace, func(ctx context.Context) {
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.MarshalIndent(results, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(observed, append(data, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
}
