// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/arm"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/authorization/armauthorization/v2"
	ml "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/machinelearning/armmachinelearning/v4"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/monitor/armmonitor"
	"github.com/jonboulle/clockwork"

	"github.com/mlplane/terraform-provider-ml/internal/emulator"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/azblob"
)

const (
	sub       = "11111111-2222-3333-4444-555555555555"
	group     = "rg-ml"
	workspace = "ws-ml"
	digest    = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"

	scope = "/subscriptions/" + sub + "/resourceGroups/" + group
	home  = scope + "/providers/Microsoft.MachineLearningServices/workspaces/" + workspace
)

// subscription is an emulated subscription, seen through Azure's own client libraries.
// Its time stands still.
type subscription struct {
	t      *testing.T
	dir    string
	url    string
	clock  *clockwork.FakeClock
	server *emulator.Server

	*ml.ClientFactory
	monitor *armmonitor.ClientFactory
	roles   *armauthorization.ClientFactory
}

type token string

func (s token) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(s), ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func newSubscription(t *testing.T) *subscription {
	t.Helper()
	s := openSubscription(t, t.TempDir(), clockwork.NewFakeClockAt(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)))
	account, container := s.storage()
	s.must(azblob.Put(filepath.Join(s.dir, "azblob"), account, container, "models/"+digest+"/model.pkl", strings.NewReader("weights")))
	return s
}

// storage is where the default datastore keeps what it has.
func (s *subscription) storage() (account, container string) {
	s.t.Helper()
	got, err := s.NewDatastoresClient().Get(s.t.Context(), group, workspace, "workspaceblobstore", nil)
	s.must(err)
	blob, is := got.Properties.(*ml.AzureBlobDatastore)
	if !is {
		s.t.Fatalf("the default datastore is %T", got.Properties)
	}
	return *blob.AccountName, *blob.ContainerName
}

func openSubscription(t *testing.T, dir string, clock *clockwork.FakeClock) *subscription {
	t.Helper()
	server, err := emulator.Start(emulator.Options{StateDir: dir, Clock: clock, Speed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	s := &subscription{t: t, dir: dir, clock: clock, server: server, url: server.Endpoints()["azure_ml"]}
	options := &arm.ClientOptions{DisableRPRegistration: true, ClientOptions: policy.ClientOptions{
		Cloud: cloud.Configuration{ActiveDirectoryAuthorityHost: s.url, Services: map[cloud.ServiceName]cloud.ServiceConfiguration{
			cloud.ResourceManager: {Endpoint: s.url, Audience: "https://management.core.windows.net/"}}},
		InsecureAllowCredentialWithHTTP: true, Retry: policy.RetryOptions{MaxRetries: -1},
	}}
	s.ClientFactory, err = ml.NewClientFactory(sub, token("rehearsal"), options)
	s.must(err)
	s.monitor, err = armmonitor.NewClientFactory(sub, token("rehearsal"), options)
	s.must(err)
	s.roles, err = armauthorization.NewClientFactory(sub, token("rehearsal"), options)
	s.must(err)
	return s
}

func (s *subscription) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// minutes pass on the platform.
func (s *subscription) minutes(n float64) {
	s.clock.Advance(time.Duration(n * float64(time.Minute) / 300))
}

// done lets an operation come to its end: five minutes are enough for all of them.
func done[T any](s *subscription, p *runtime.Poller[T], err error) (T, error) {
	s.t.Helper()
	var none T
	if err != nil {
		return none, err
	}
	s.minutes(5)
	return p.PollUntilDone(s.t.Context(), &runtime.PollUntilDoneOptions{Frequency: time.Millisecond})
}

// answer is what a raw request gets.
type answer struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

// at is a member of the answer by its path: "error.details.0.code".
func (a *answer) at(path string) any {
	var v any = a.body
	for part := range strings.SplitSeq(path, ".") {
		switch in := v.(type) {
		case map[string]any:
			v = in[part]
		case []any:
			i := strings.Index("0123456789", part)
			if i < 0 || i >= len(in) {
				return nil
			}
			v = in[i]
		default:
			return nil
		}
	}
	return v
}

// call sends what clients would refuse to send, or hide the answer of: to a path below
// the workspace, or to one from the root.
func (s *subscription) call(method, path, body string) *answer {
	s.t.Helper()
	if !strings.HasPrefix(path, "/") {
		path = home + "/" + path
	}
	version := "2024-04-01"
	switch {
	case strings.Contains(path, "Microsoft.Insights"):
		version = "2022-10-01"
	case strings.Contains(path, "Microsoft.Authorization"):
		version = "2022-04-01"
	}
	if !strings.Contains(path, "api-version=") {
		separator := "?"
		if strings.Contains(path, "?") {
			separator = "&"
		}
		path += separator + "api-version=" + version
	}
	return s.send(method, s.url+path, body, "Bearer rehearsal", nil)
}

func (s *subscription) send(method, url, body, authorization string, header map[string]string) *answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, url, strings.NewReader(body))
	s.must(err)
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	for name, v := range header {
		req.Header.Set(name, v)
	}
	resp, err := http.DefaultClient.Do(req)
	s.must(err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	s.must(err)
	a := &answer{status: resp.StatusCode, header: resp.Header, text: string(data)}
	_ = json.Unmarshal(data, &a.body) // not all answers are JSON
	return a
}

// ok wants success.
func (s *subscription) ok(method, path, body string) *answer {
	s.t.Helper()
	a := s.call(method, path, body)
	if a.status/100 != 2 {
		s.t.Fatalf("%s %s answers %d: %s", method, path, a.status, a.text)
	}
	return a
}

// refused wants a status, a code on any level and some words.
func (s *subscription) refused(status int, code, words, method, path, body string) {
	s.t.Helper()
	a := s.call(method, path, body)
	if a.status != status || !strings.Contains(a.text, `"code":"`+code+`"`) || !strings.Contains(a.text, words) {
		s.t.Errorf("%s %s %s\nanswers %d: %s\nwant %d %s: …%s…", method, path, body, a.status, a.text, status, code, words)
	}
}

// wants compares a member of an answer, written as JSON.
func (s *subscription) wants(a *answer, path, want string) {
	s.t.Helper()
	got, err := json.Marshal(a.at(path))
	if err != nil || string(got) != want {
		s.t.Errorf("%s is %s, want %s in %s", path, got, want, a.text)
	}
}

// fails wants an error of a client with a code and some words.
func (s *subscription) fails(err error, status int, code, words string) {
	s.t.Helper()
	e, is := errors.AsType[*azcore.ResponseError](err)
	if !is || e.StatusCode != status || e.ErrorCode != code || !strings.Contains(err.Error(), words) {
		s.t.Errorf("got %v, want %d %s: …%s…", err, status, code, words)
	}
}

// file writes into the state directory: faults.json, quotas.json.
func (s *subscription) file(name, content string) {
	s.t.Helper()
	s.must(os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600))
}

func (s *subscription) faults(faults ...string) {
	s.t.Helper()
	s.file("faults.json", `{"faults":[`+strings.Join(faults, ",")+`]}`)
}

// model registers a version of the model fraud, and environment one that serves it.
func (s *subscription) model(version string) string {
	s.t.Helper()
	got, err := s.NewModelVersionsClient().CreateOrUpdate(s.t.Context(), group, workspace, "fraud", version, ml.ModelVersion{Properties: &ml.ModelVersionProperties{
		ModelType: new("custom_model"), ModelURI: new("azureml://datastores/workspaceblobstore/paths/models/" + digest)}}, nil)
	s.must(err)
	return *got.ID
}

func (s *subscription) environment() string {
	s.t.Helper()
	route := func(path string) *ml.Route { return &ml.Route{Path: new(path), Port: new(int32(8080))} }
	got, err := s.NewEnvironmentVersionsClient().CreateOrUpdate(s.t.Context(), group, workspace, "server", "1", ml.EnvironmentVersion{Properties: &ml.EnvironmentVersionProperties{
		Image:           new("registry.example/server:1"),
		InferenceConfig: &ml.InferenceContainerProperties{LivenessRoute: route("/live"), ReadinessRoute: route("/ready"), ScoringRoute: route("/predict")}}}, nil)
	s.must(err)
	return *got.ID
}

// putEndpoint changes the endpoint fraud, or makes it.
func (s *subscription) putEndpoint(traffic, mirror map[string]*int32) (ml.OnlineEndpoint, error) {
	s.t.Helper()
	p, err := s.NewOnlineEndpointsClient().BeginCreateOrUpdate(s.t.Context(), group, workspace, "fraud", ml.OnlineEndpoint{Location: new("eastus"),
		Properties: &ml.OnlineEndpointProperties{AuthMode: new(ml.EndpointAuthModeKey), Traffic: traffic, MirrorTraffic: mirror}}, nil)
	got, err := done(s, p, err)
	return got.OnlineEndpoint, err
}

// deployment is what putDeployment sends.
func (s *subscription) deployment(model, environment string) (ml.OnlineDeployment, *ml.ManagedOnlineDeployment) {
	p := &ml.ManagedOnlineDeployment{EndpointComputeType: new(ml.EndpointComputeTypeManaged), Model: &model, EnvironmentID: &environment, InstanceType: new("Standard_DS3_v2")}
	return ml.OnlineDeployment{Location: new("eastus"), SKU: &ml.SKU{Name: new("Default"), Capacity: new(int32(1))}, Properties: p}, p
}

func (s *subscription) putDeployment(name string, in ml.OnlineDeployment) (ml.OnlineDeployment, error) {
	s.t.Helper()
	p, err := s.NewOnlineDeploymentsClient().BeginCreateOrUpdate(s.t.Context(), group, workspace, "fraud", name, in, nil)
	got, err := done(s, p, err)
	return got.OnlineDeployment, err
}

// serve makes the endpoint fraud, which serves version 1 as the deployment blue.
func (s *subscription) serve() {
	s.t.Helper()
	_, err := s.putEndpoint(nil, nil)
	s.must(err)
	in, _ := s.deployment(s.model("1"), s.environment())
	_, err = s.putDeployment("blue", in)
	s.must(err)
	_, err = s.putEndpoint(map[string]*int32{"blue": new(int32(100))}, nil)
	s.must(err)
}

// score sends a request to the endpoint fraud, with its key.
func (s *subscription) score(body string, header map[string]string) *answer {
	s.t.Helper()
	e, err := s.NewOnlineEndpointsClient().Get(s.t.Context(), group, workspace, "fraud", nil)
	s.must(err)
	keys, err := s.NewOnlineEndpointsClient().ListKeys(s.t.Context(), group, workspace, "fraud", nil)
	s.must(err)
	return s.send(http.MethodPost, *e.Properties.ScoringURI, body, "Bearer "+*keys.PrimaryKey, header)
}
