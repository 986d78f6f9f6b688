// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/drivertest"
	"github.com/mlplane/terraform-provider-ml/clouds/vertexai"
	"github.com/mlplane/terraform-provider-ml/internal/emulator"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/gcs"
)

const (
	project  = "p1"
	location = project + "/us-central1"
	here     = "projects/" + project + "/locations/us-central1/"
	staging  = "ml-staging"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, func(t *testing.T) drivertest.Harness { return newHarness(t) })
}

// harness is an emulated project. Its time passes only when the core waits.
type harness struct {
	dir    string
	urls   map[string]string
	clock  *drivertest.Clock
	server *emulator.Server
	freeze sync.Once
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	h := &harness{dir: t.TempDir(), clock: drivertest.NewClock()}
	must(t, gcs.EnsureBucket(filepath.Join(h.dir, "gcs"), staging))
	h.open(t)
	return h
}

func (h *harness) open(t *testing.T) {
	t.Helper()
	fake := clockwork.NewFakeClockAt(h.clock.Now())
	h.clock.OnSleep = func(d time.Duration) { fake.Advance(d) }
	server, err := emulator.Start(emulator.Options{StateDir: h.dir, Clock: fake})
	must(t, err)
	t.Cleanup(func() { _ = server.Close() })
	h.server, h.urls = server, server.Endpoints()
}

// Fork closes the project, so that all it holds is on disk, and copies that.
func (h *harness) Fork(t *testing.T) drivertest.Harness {
	t.Helper()
	h.freeze.Do(func() { _ = h.server.Close() })
	fork := &harness{dir: t.TempDir(), clock: drivertest.NewClock()}
	must(t, os.CopyFS(fork.dir, os.DirFS(h.dir)))
	fork.clock.Set(h.clock.Now())
	fork.open(t)
	return fork
}

func (h *harness) config(rt http.RoundTripper) vertexai.Config {
	return vertexai.Config{Project: project, Region: "us-central1", Isolated: true, StagingURI: "gs://" + staging + "/artifacts",
		EndpointURL: h.urls["vertex_ai"], StorageEndpointURL: h.urls["gcs"], HTTPClient: &http.Client{Transport: rt}}
}

func (h *harness) Open(t *testing.T, c *drivertest.Cutter) driver.Driver {
	t.Helper()
	c.Mutates = mutates
	d, err := vertexai.Open(h.config(cutting{c}))
	must(t, err)
	return d
}

// cutting passes every request through a cutter.
type cutting struct{ c *drivertest.Cutter }

func (rt cutting) RoundTrip(r *http.Request) (*http.Response, error) {
	call := r.Method + " " + r.URL.Path
	if err := rt.c.Before(call); err != nil {
		return nil, err
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if cut := rt.c.AfterCall(call); cut != nil {
		if err == nil {
			_ = resp.Body.Close()
		}
		return nil, cut
	}
	return resp, err
}

func mutates(call string) bool {
	return !strings.HasPrefix(call, http.MethodGet) && !strings.HasSuffix(call, ":rawPredict") && !strings.HasSuffix(call, ":getIamPolicy")
}

func (h *harness) Clock() *drivertest.Clock { return h.clock }
func (h *harness) Location() string         { return location }

// Artifact is a file on this machine, as most users have it.
func (h *harness) Artifact(t *testing.T, content string) (uri, digest string) {
	t.Helper()
	name := filepath.Join(h.dir, url.PathEscape(content)+".onnx")
	must(t, os.WriteFile(name, []byte(content), 0o600))
	sum := sha256.Sum256([]byte(content))
	return name, hex.EncodeToString(sum[:])
}

func (h *harness) Endpoint(string) *driver.EndpointSpec {
	return &driver.EndpointSpec{Settings: driver.Settings{Network: driver.Network{Access: "public"}, Auth: driver.Auth{Mode: "iam"}}}
}

func (h *harness) Compute() (small, large driver.Compute) {
	return driver.Compute{CPU: 2, MemoryGiB: 4}, driver.Compute{InstanceType: "n1-standard-8"}
}

func (h *harness) Metric() driver.MetricType { return driver.MetricCPU }

// call asks the API as somebody without the provider would.
func (h *harness) call(t *testing.T, method, address string, in any) map[string]any {
	t.Helper()
	return h.callIn(t, "v1", method, address, in)
}

func (h *harness) callIn(t *testing.T, version, method, address string, in any) map[string]any {
	t.Helper()
	data, err := json.Marshal(in)
	must(t, err)
	var body io.Reader
	if in != nil {
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, h.urls["vertex_ai"]+"/"+version+"/"+address, body)
	must(t, err)
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	must(t, err)
	var out map[string]any
	if resp.StatusCode != http.StatusOK || json.Unmarshal(answer, &out) != nil {
		t.Fatalf("%s %s answers %d: %s", method, address, resp.StatusCode, answer)
	}
	return out
}

// change makes a call whose operation it waits for.
func (h *harness) change(t *testing.T, method, address string, in any) {
	t.Helper()
	op := h.call(t, method, address, in)
	must(t, h.clock.Sleep(t.Context(), time.Hour))
	if done := h.call(t, http.MethodGet, op["name"].(string), nil); done["done"] != true || done["error"] != nil {
		t.Fatalf("%s %s: %v", method, address, done)
	}
}

func (h *harness) HandMade(t *testing.T, name string, ref driver.VersionRef) {
	t.Helper()
	h.change(t, http.MethodPost, here+"endpoints?endpointId="+name, map[string]any{"displayName": "Made by hand"})
	h.change(t, http.MethodPost, here+"endpoints/"+name+":deployModel", map[string]any{
		"deployedModel": map[string]any{"model": here + "models/" + ref.Key.Name + "@" + ref.Version, "displayName": "main",
			"dedicatedResources": map[string]any{"machineSpec": map[string]any{"machineType": "n1-standard-4"}, "minReplicaCount": 1, "maxReplicaCount": 1}},
		"trafficSplit": map[string]any{"0": 100}})
}

func (h *harness) FailNextDeploy(t *testing.T, reason string) {
	t.Helper()
	s := h.scripted(t)
	s.Faults = []fault.Fault{{Call: deployCall, Occurrence: 1, Action: fault.FailTransition, Message: reason}}
	s.write(t, h.dir)
}

// deployed is a deployment as the API shows it: of two of one name the one with more
// requests.
func (h *harness) deployed(t *testing.T, endpoint, name string) (dm map[string]any, split map[string]any) {
	t.Helper()
	e := h.call(t, http.MethodGet, here+"endpoints/"+endpoint, nil)
	split, _ = e["trafficSplit"].(map[string]any)
	all, _ := e["deployedModels"].([]any)
	for _, v := range all {
		now := v.(map[string]any)
		if n := now["displayName"].(string); n != name && !strings.HasPrefix(n, "ml/"+name+"/") {
			continue
		}
		percent := func(m map[string]any) float64 { n, _ := split[m["id"].(string)].(float64); return n }
		if dm == nil || percent(now) > percent(dm) {
			dm = now
		}
	}
	if dm == nil {
		t.Fatalf("%s has no deployment %s: %v", endpoint, name, e)
	}
	return dm, split
}

// Drift changes the traffic in the split. A live count is the platform's: bounds that
// are raised and lowered again leave it behind.
func (h *harness) Drift(t *testing.T, key driver.Key, deployment string, d drivertest.Drift) {
	t.Helper()
	dm, split := h.deployed(t, key.Name, deployment)
	id := dm["id"].(string)
	if d.Traffic > 0 {
		others := slices.DeleteFunc(slices.Collect(maps.Keys(split)), func(k string) bool { return k == id })
		split = map[string]any{id: d.Traffic, others[0]: 100 - d.Traffic}
		h.call(t, http.MethodPatch, here+"endpoints/"+key.Name+"?updateMask=trafficSplit", map[string]any{"trafficSplit": split})
	}
	if d.Replicas == 0 {
		return
	}
	resources := dm["dedicatedResources"].(map[string]any)
	low, high := resources["minReplicaCount"], resources["maxReplicaCount"]
	bounds := func(low, high any) {
		h.change(t, http.MethodPost, here+"endpoints/"+key.Name+":mutateDeployedModel", map[string]any{
			"deployedModel": map[string]any{"id": id, "dedicatedResources": map[string]any{"minReplicaCount": low, "maxReplicaCount": high}},
			"updateMask":    "dedicatedResources.minReplicaCount,dedicatedResources.maxReplicaCount"})
	}
	if low == high {
		bounds(d.Replicas, d.Replicas)
		return
	}
	bounds(d.Replicas, high)
	bounds(low, high)
}

// Damage switches the logs of a deployment's containers off.
func (h *harness) Damage(t *testing.T, key driver.Key, deployment string) {
	t.Helper()
	dm, _ := h.deployed(t, key.Name, deployment)
	h.change(t, http.MethodPost, here+"endpoints/"+key.Name+":mutateDeployedModel", map[string]any{
		"deployedModel": map[string]any{"id": dm["id"], "disableContainerLogging": true}, "updateMask": "disableContainerLogging"})
}

func (h *harness) Replicas(t *testing.T, key driver.Key, deployment string) int {
	t.Helper()
	dm, _ := h.deployed(t, key.Name, deployment)
	status, _ := dm["status"].(map[string]any)
	n, _ := status["availableReplicaCount"].(float64)
	return int(n)
}

func (h *harness) Objects(t *testing.T) []string {
	t.Helper()
	var all []string
	list := func(address, member string) []any {
		found, _ := h.call(t, http.MethodGet, address, nil)[member].([]any)
		return found
	}
	for _, m := range list(here+"models", "models") {
		name := path.Base(m.(map[string]any)["name"].(string))
		for _, v := range list(here+"models/"+name+":listVersions", "models") {
			all = append(all, "version "+name+"@"+v.(map[string]any)["versionId"].(string))
		}
	}
	for _, e := range list(here+"endpoints", "endpoints") {
		e := e.(map[string]any)
		name := path.Base(e["name"].(string))
		all = append(all, "endpoint "+name)
		deployed, _ := e["deployedModels"].([]any)
		for _, dm := range deployed {
			all = append(all, "deployment "+name+"/"+dm.(map[string]any)["id"].(string))
		}
	}
	sort.Strings(all)
	return all
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
