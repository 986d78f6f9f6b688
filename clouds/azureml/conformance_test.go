// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/mlplane/terraform-provider-ml/clouds/azureml"
	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/clouds/drivertest"
	"github.com/mlplane/terraform-provider-ml/internal/azure"
	"github.com/mlplane/terraform-provider-ml/internal/emulator"
)

const (
	subscription = "00000000-0000-0000-0000-000000000001"
	group        = "models"
	wsName       = "team"
	location     = subscription + "/" + group + "/" + wsName
	inGroup      = "/subscriptions/" + subscription + "/resourceGroups/" + group + "/providers/"
	here         = inGroup + "Microsoft.MachineLearningServices/workspaces/" + wsName + "/"
	learning     = "?api-version=2024-04-01"
	insights     = "?api-version=2022-10-01"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, func(t *testing.T) drivertest.Harness { return newHarness(t) })
}

// harness is an emulated subscription. Its time passes only when the core waits.
type harness struct {
	dir    string
	urls   map[string]string
	clock  *drivertest.Clock
	server *emulator.Server
	freeze sync.Once
	mode   string // of endpoints
}

func newHarness(t *testing.T) *harness {
	t.Helper()
	h := &harness{dir: t.TempDir(), clock: drivertest.NewClock(), mode: "key"}
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

// Fork closes the subscription, so that all it holds is on disk, and copies that.
func (h *harness) Fork(t *testing.T) drivertest.Harness {
	t.Helper()
	h.freeze.Do(func() { _ = h.server.Close() })
	fork := &harness{dir: t.TempDir(), clock: drivertest.NewClock(), mode: h.mode}
	must(t, os.CopyFS(fork.dir, os.DirFS(h.dir)))
	fork.clock.Set(h.clock.Now())
	fork.open(t)
	return fork
}

func (h *harness) config(rt http.RoundTripper) azureml.Config {
	return azureml.Config{Account: azure.Config{SubscriptionID: subscription, Isolated: true, EndpointURL: h.urls["azure_ml"], Transport: &http.Client{Transport: rt}},
		ResourceGroup: group, Workspace: wsName, StorageEndpointURL: h.urls["azblob"]}
}

func (h *harness) Open(t *testing.T, c *drivertest.Cutter) driver.Driver {
	t.Helper()
	c.Mutates = mutates
	d, err := azureml.Open(h.config(cutting{c}))
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
	method, path, _ := strings.Cut(call, " ")
	path = strings.ToLower(path)
	reads := strings.HasSuffix(path, "/listkeys") || strings.HasSuffix(path, "/token") || strings.HasSuffix(path, "/getlogs") || strings.Contains(path, "/inference/")
	return method != http.MethodGet && method != http.MethodHead && !reads
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
	return &driver.EndpointSpec{Settings: driver.Settings{Network: driver.Network{Access: "public"}, Auth: driver.Auth{Mode: h.mode}}}
}

func (h *harness) Compute() (small, large driver.Compute) {
	return driver.Compute{CPU: 2, MemoryGiB: 4}, driver.Compute{InstanceType: "Standard_DS3_v2"}
}

func (h *harness) Metric() driver.MetricType { return driver.MetricCPU }

// call asks Resource Manager as somebody without the provider would.
func (h *harness) call(t *testing.T, method, address string, in any) map[string]any {
	t.Helper()
	data, err := json.Marshal(in)
	must(t, err)
	var body io.Reader
	if in != nil {
		body = bytes.NewReader(data)
	}
	if !strings.Contains(address, "://") {
		address = h.urls["azure_ml"] + address
	}
	req, err := http.NewRequestWithContext(t.Context(), method, address, body)
	must(t, err)
	req.Header.Set("Authorization", "Bearer somebody")
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	must(t, err)
	out := map[string]any{}
	if resp.StatusCode >= http.StatusBadRequest || len(answer) > 0 && json.Unmarshal(answer, &out) != nil {
		t.Fatalf("%s %s answers %d: %s", method, address, resp.StatusCode, answer)
	}
	return out
}

// change makes a call whose operation it waits for.
func (h *harness) change(t *testing.T, method, address string, in any) {
	t.Helper()
	h.call(t, method, address, in)
	must(t, h.clock.Sleep(t.Context(), 2*time.Hour))
}

func (h *harness) region(t *testing.T) string {
	t.Helper()
	return h.call(t, http.MethodGet, strings.TrimSuffix(here, "/")+learning, nil)["location"].(string)
}

func (h *harness) HandMade(t *testing.T, name string, ref driver.VersionRef) {
	t.Helper()
	region := h.region(t)
	made := map[string]any{"location": region, "identity": map[string]any{"type": "SystemAssigned"}, "properties": map[string]any{"authMode": azureMode(h.mode)}}
	h.change(t, http.MethodPut, here+"onlineEndpoints/"+name+learning, made)
	h.change(t, http.MethodPut, here+"onlineEndpoints/"+name+"/deployments/main"+learning, map[string]any{"location": region, "sku": map[string]any{"name": "Default", "capacity": 1},
		"properties": map[string]any{"endpointComputeType": "Managed", "instanceType": "STANDARD_DS3_V2", "model": here + "models/" + ref.Key.Name + "/versions/" + ref.Version}})
	made["properties"].(map[string]any)["traffic"] = map[string]any{"main": 100}
	h.change(t, http.MethodPut, here+"onlineEndpoints/"+name+learning, made)
}

func azureMode(mode string) string {
	return map[string]string{"key": "Key", "token": "AMLToken", "iam": "AADToken"}[mode]
}

func (h *harness) FailNextDeploy(t *testing.T, reason string) {
	t.Helper()
	h.faults(t, map[string]any{"call": "azure_ml.onlineDeployments.createOrUpdate", "occurrence": 1, "action": "fail_transition", "message": reason})
}

// list are all things of a list.
func (h *harness) list(t *testing.T, address string) []map[string]any {
	t.Helper()
	var all []map[string]any
	for address != "" {
		page := h.call(t, http.MethodGet, address, nil)
		values, _ := page["value"].([]any)
		for _, v := range values {
			all = append(all, v.(map[string]any))
		}
		address, _ = page["nextLink"].(string)
	}
	return all
}

// deployed is a deployment as the API shows it: of two of one name the one with more
// requests.
func (h *harness) deployed(t *testing.T, endpoint, name string) (d, e map[string]any) {
	t.Helper()
	e = h.call(t, http.MethodGet, here+"onlineEndpoints/"+endpoint+learning, nil)
	split, _ := e["properties"].(map[string]any)["traffic"].(map[string]any)
	most := -1.0
	for _, now := range h.list(t, here+"onlineEndpoints/"+endpoint+"/deployments"+learning) {
		tags, _ := now["tags"].(map[string]any)
		if now["name"] != name && tags["tfml-logical"] != name {
			continue
		}
		if share, _ := split[now["name"].(string)].(float64); share > most {
			d, most = now, share
		}
	}
	if d == nil {
		t.Fatalf("%s has no deployment %s: %v", endpoint, name, e)
	}
	return d, e
}

// repeated is what can be sent of a resource as it was read.
func repeated(r map[string]any) map[string]any {
	p := r["properties"].(map[string]any)
	for _, k := range []string{"provisioningState", "scoringUri", "swaggerUri", "keys"} {
		delete(p, k)
	}
	if system, _ := p["properties"].(map[string]any); system != nil {
		for k := range system {
			if !strings.HasPrefix(k, "tfml-") {
				delete(system, k)
			}
		}
	}
	out := map[string]any{"location": r["location"], "tags": r["tags"], "properties": p}
	if sku := r["sku"]; sku != nil {
		out["sku"] = sku
	}
	if r["sku"] == nil {
		out["identity"] = map[string]any{"type": "SystemAssigned"}
	}
	return out
}

// Drift changes the traffic of a deployment, or its live count as an autoscaler does.
func (h *harness) Drift(t *testing.T, key driver.Key, deployment string, d drivertest.Drift) {
	t.Helper()
	now, e := h.deployed(t, key.Name, deployment)
	name := now["name"].(string)
	if d.Traffic > 0 {
		out := repeated(e)
		p := out["properties"].(map[string]any)
		split := map[string]any{name: d.Traffic}
		for other := range p["traffic"].(map[string]any) {
			if other != name {
				split[other] = 100 - d.Traffic
			}
		}
		p["traffic"] = split
		h.change(t, http.MethodPut, here+"onlineEndpoints/"+key.Name+learning, out)
	}
	if d.Replicas > 0 {
		must(t, h.server.SetInstances(t.Context(), here+"onlineEndpoints/"+key.Name+"/deployments/"+name, d.Replicas))
	}
}

// Damage changes what a deployment's containers are told.
func (h *harness) Damage(t *testing.T, key driver.Key, deployment string) {
	t.Helper()
	now, _ := h.deployed(t, key.Name, deployment)
	out := repeated(now)
	out["properties"].(map[string]any)["environmentVariables"] = map[string]any{"DEBUG": "1"}
	h.change(t, http.MethodPut, here+"onlineEndpoints/"+key.Name+"/deployments/"+now["name"].(string)+learning, out)
}

func (h *harness) Replicas(t *testing.T, key driver.Key, deployment string) int {
	t.Helper()
	now, _ := h.deployed(t, key.Name, deployment)
	n, _ := now["sku"].(map[string]any)["capacity"].(float64)
	return int(n)
}

func (h *harness) Objects(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, kind := range []string{"models", "environments"} {
		for _, m := range h.list(t, here+kind+learning) {
			name := m["name"].(string)
			all = append(all, kind+" "+name)
			for _, v := range h.list(t, here+kind+"/"+name+"/versions"+learning) {
				all = append(all, kind+" "+name+"@"+v["name"].(string))
			}
		}
	}
	for _, e := range h.list(t, here+"onlineEndpoints"+learning) {
		name := e["name"].(string)
		all = append(all, "endpoint "+name)
		for _, d := range h.list(t, here+"onlineEndpoints/"+name+"/deployments"+learning) {
			all = append(all, "deployment "+name+"/"+d["name"].(string))
		}
	}
	for _, s := range h.list(t, inGroup+"Microsoft.Insights/autoscaleSettings"+insights) {
		all = append(all, "autoscale setting "+s["name"].(string))
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
