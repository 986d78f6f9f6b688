// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubetest

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"k8s.io/client-go/rest"

	"github.com/mlplane/terraform-provider-ml/clouds/drivertest"
	"github.com/mlplane/terraform-provider-ml/clouds/kubernetes"
	"github.com/mlplane/terraform-provider-ml/internal/emulator"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/s3"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

const staging = "ml-staging"

// Emulated is an emulated cluster. Its time passes only when the core waits.
func Emulated(t *testing.T, serving string) *Cluster {
	t.Helper()
	dir := t.TempDir()
	if err := s3.EnsureBucket(filepath.Join(dir, "s3"), staging); err != nil {
		t.Fatal(err)
	}
	return opened(t, dir, serving, drivertest.NewClock())
}

func opened(t *testing.T, dir, serving string, clock *drivertest.Clock) *Cluster {
	t.Helper()
	fake := clockwork.NewFakeClockAt(clock.Now())
	clock.OnSleep = func(d time.Duration) { fake.Advance(d) }
	server, err := emulator.Start(emulator.Options{StateDir: dir, Clock: fake})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	if err := server.EnsureNamespace(t.Context(), "ml"); err != nil {
		t.Fatal(err)
	}
	if err := server.EnsureGateway(t.Context(), "infra", "shared"); err != nil {
		t.Fatal(err)
	}
	urls := server.Endpoints()
	var freeze sync.Once
	return &Cluster{
		REST: &rest.Config{Host: urls["kubernetes"], QPS: 1000, Burst: 1000}, Namespace: "ml", Time: clock, Image: "ml.test/modelserver:1",
		Config: kubernetes.Config{Host: urls["kubernetes"], Isolated: true, Namespace: "ml", Serving: serving, StagingURI: "s3://" + staging + "/artifacts",
			Gateway:    &kubernetes.Gateway{Name: "shared", Namespace: "infra", Hostname: "models.example.com"},
			S3:         kubernetes.S3{Region: "us-east-1", EndpointURL: urls["s3"], AccessKey: secret.New("test"), SecretKey: secret.New("test")},
			Prometheus: kubernetes.Prometheus{URL: urls["prometheus"]}},
		Watch: &rehearsed{dir: dir, gateway: urls["kubernetes"], namespace: "ml"},
		Fail: func(t *testing.T, reason string) {
			t.Helper()
			fail(t, dir, reason)
		},
		Copy: func(t *testing.T) *Cluster {
			t.Helper()
			freeze.Do(func() { _ = server.Close() })
			copied, later := t.TempDir(), drivertest.NewClock()
			if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			later.Set(clock.Now())
			return opened(t, copied, serving, later)
		},
	}
}

// NextWorkloadFails scripts that the pods of the next workload end for a reason or, with
// the mode "unready", never get ready.
func NextWorkloadFails(mode, reason string) []fault.Fault {
	var faults []fault.Fault
	for _, call := range []string{"kubernetes.patch deployments", "kubernetes.patch inferenceservices"} {
		faults = append(faults, fault.Fault{Call: call, Occurrence: 1, Action: fault.FailTransition, Mode: mode, Message: reason})
	}
	return faults
}

func fail(t *testing.T, dir, reason string) {
	t.Helper()
	script(t, dir, func(f *faults) { f.Faults = NextWorkloadFails("", reason) })
}

// faults is faults.json.
type faults struct {
	Faults  []fault.Fault   `json:"faults,omitempty"`
	Conduct []fault.Conduct `json:"conduct,omitempty"`
}

// script changes faults.json.
func script(t *testing.T, dir string, change func(f *faults)) {
	t.Helper()
	var f faults
	name := filepath.Join(dir, "faults.json")
	data, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(data, &f)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	change(&f)
	if data, err = json.Marshal(f); err == nil {
		err = os.WriteFile(name, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
