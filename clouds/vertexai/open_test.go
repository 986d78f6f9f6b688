// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

func TestLocate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reason, project, region, location, want, wrong string
	}{
		{"the provider's default", "p1", "europe-west4", "", "p1/europe-west4", ""},
		{"another region", "p1", "europe-west4", "us-central1", "p1/us-central1", ""},
		{"another project", "p1", "europe-west4", "p2/us-central1", "p2/us-central1", ""},
		{"a project of a domain", "", "", "example.com:p/us-central1", "example.com:p/us-central1", ""},
		{"no project", "", "europe-west4", "", "", "vertex_ai.project"},
		{"no region", "p1", "", "", "", "vertex_ai.region"},
		{"a zone", "p1", "", "europe-west4-a", "", "europe-west4"},
		{"nonsense", "p1", "", "somewhere", "", "europe-west4"},
	} {
		got, err := open(t, Config{Project: c.project, Region: c.region}).Locate(c.location)
		if got != c.want || (err != nil) != (c.wrong != "") || (err != nil && (mlerr.PathOf(err) != "location" || !strings.Contains(mlerr.Hint(err), c.wrong))) {
			t.Errorf("%s: %q, %v (%s)", c.reason, got, err, mlerr.Hint(err))
		}
	}
}

func TestParseNativeID(t *testing.T) {
	t.Parallel()
	d := open(t, Config{Project: "my-project"})
	for id, want := range map[string]string{
		"projects/p1/locations/us-central1/endpoints/fraud":                                                          "vertex_ai/p1/us-central1/fraud",
		"projects/123/locations/us-central1/endpoints/456":                                                           "vertex_ai/my-project/us-central1/456",
		"https://us-central1-aiplatform.googleapis.com/v1/projects/p1/locations/us-central1/endpoints/fraud":         "vertex_ai/p1/us-central1/fraud",
		"https://fraud.us-central1-123.prediction.vertexai.goog/v1/projects/123/locations/us-central1/endpoints/f-1": "vertex_ai/my-project/us-central1/f-1",
		"//aiplatform.googleapis.com/projects/p1/locations/us-central1/endpoints/fraud":                              "vertex_ai/p1/us-central1/fraud",
		"projects/p1/locations/us-central1/models/fraud":                                                             "",
		"projects/p1/locations/nowhere/endpoints/fraud":                                                              "",
		"arn:aws:sagemaker:eu-west-1:1:endpoint/fraud":                                                               "",
		"fraud": "",
	} {
		key, ok := d.ParseNativeID(driver.KindEndpoint, id)
		if ok != (want != "") || (ok && key.ID() != want) {
			t.Errorf("%q is read as %s, %v", id, key.ID(), ok)
		}
	}
	key, ok := d.ParseNativeID(driver.KindModel, "projects/123/locations/us-central1/models/fraud_v2@golden")
	if !ok || key.ID() != "vertex_ai/my-project/us-central1/fraud_v2" {
		t.Errorf("a model's version is read as %s, %v", key.ID(), ok)
	}
}

// An imported number is taken for the configured project, until an answer tells
// otherwise.
func TestNumbersOfOtherProjects(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"name":"projects/999/locations/us-central1/endpoints/fraud","displayName":"fraud"}`))
	}))
	t.Cleanup(server.Close)
	d := open(t, Config{Project: "my-project", EndpointURL: server.URL})
	key, _ := d.ParseNativeID(driver.KindEndpoint, "projects/123/locations/us-central1/endpoints/fraud")
	_, err := d.ObserveEndpoint(t.Context(), key, nil)
	if !mlerr.Is(err, mlerr.InvalidArgument) || !strings.Contains(err.Error(), "999") || !strings.Contains(err.Error(), "123") {
		t.Errorf("an endpoint of another project is taken: %v", err)
	}
}

func TestConfig(t *testing.T) {
	t.Parallel()
	for path, c := range map[string]Config{
		"project":                     {Project: "My Project"},
		"region":                      {Region: "us-central1-a"},
		"staging_uri":                 {StagingURI: "s3://bucket/prefix"},
		"impersonate_service_account": {ImpersonateServiceAccount: "serving"},
		"endpoint_url":                {EndpointURL: "localhost:8080"},
		"storage_endpoint_url":        {StorageEndpointURL: "localhost"},
		"credentials":                 {Credentials: secret.New("{}"), AccessToken: secret.New("t")},
	} {
		c.Isolated = true
		_, err := Open(c)
		if !mlerr.Is(err, mlerr.InvalidArgument) || mlerr.PathOf(err) != path {
			t.Errorf("%s: %v at %q", path, err, mlerr.PathOf(err))
		}
	}
}

// What the google provider reads from the environment is read in its order, and a
// configuration comes first.
func TestEnvironment(t *testing.T) {
	for name, value := range map[string]string{
		"GOOGLE_CLOUD_PROJECT": "second", "GOOGLE_PROJECT": "first", "GOOGLE_REGION": "europe-west4", "GOOGLE_CREDENTIALS": "{}", "GOOGLE_OAUTH_ACCESS_TOKEN": "token",
		"GOOGLE_IMPERSONATE_SERVICE_ACCOUNT": "a@b.c", "GOOGLE_VERTEX_AI_CUSTOM_ENDPOINT": "https://private.example.com/v1/",
	} {
		t.Setenv(name, value)
	}
	c := (&Config{}).completed()
	if c.Project != "first" || c.Region != "europe-west4" || c.AccessToken.Reveal() != "token" || c.Credentials.Reveal() != "" ||
		c.ImpersonateServiceAccount != "a@b.c" || c.EndpointURL != "https://private.example.com" {
		t.Errorf("read %+v", c)
	}
	c = (&Config{Project: "mine", Region: "us-central1", Credentials: secret.New("key.json"), EndpointURL: "https://x"}).completed()
	if c.Project != "mine" || c.Region != "us-central1" || c.AccessToken.Reveal() != "" || c.Credentials.Reveal() != "key.json" || c.EndpointURL != "https://x" {
		t.Errorf("the environment wins over %+v", c)
	}
	t.Setenv("GOOGLE_VERTEX_AI_CUSTOM_ENDPOINT", "https://{{region}}-aiplatform.googleapis.com/v1/")
	if c = (&Config{}).completed(); c.EndpointURL != "" {
		t.Errorf("a pattern is taken for the address %s", c.EndpointURL)
	}
	if c = (&Config{Isolated: true}).completed(); c.Project != "" {
		t.Errorf("isolated, the environment is read: %+v", c)
	}
}

// The credentials that are configured are sent, and a call without any fails with
// what to do.
func TestCredentials(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "absent.json"))
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header.Get("Authorization")
		if r.URL.Path == "/token" {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"access_token":"of-the-file","expires_in":3600,"token_type":"Bearer"}`))
			return
		}
		_, _ = w.Write([]byte(`{"name":"projects/1/locations/us-central1/endpoints/fraud"}`))
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "user.json")
	user := `{"type":"authorized_user","client_id":"i","client_secret":"s","refresh_token":"r"}`
	if err := os.WriteFile(file, []byte(user), 0o600); err != nil {
		t.Fatal(err)
	}
	for reason, c := range map[string]struct {
		config Config
		want   string
	}{
		"a token": {Config{AccessToken: secret.New("mine")}, "Bearer mine"},
		"a file":  {Config{Credentials: secret.New(file)}, "Bearer of-the-file"},
		"JSON":    {Config{Credentials: secret.New(user)}, "Bearer of-the-file"},
	} {
		c.config.EndpointURL, c.config.HTTPClient = server.URL, &http.Client{Transport: to(server.URL)}
		d, err := Open(c.config)
		if err == nil {
			_, err = d.(*vertex).at(location).getEndpoint(t.Context(), "fraud")
		}
		if err != nil || got != c.want {
			t.Errorf("%s: sent %q, %v", reason, got, err)
		}
	}
	d, err := Open(Config{EndpointURL: server.URL})
	if err != nil {
		t.Fatal(err) // opening uses no credentials
	}
	_, err = d.(*vertex).at(location).getEndpoint(t.Context(), "fraud")
	if !mlerr.Is(err, mlerr.Unauthenticated) || !strings.Contains(mlerr.Hint(err), "GOOGLE_CREDENTIALS") {
		t.Errorf("without credentials: %v (%s)", err, mlerr.Hint(err))
	}
}

// to sends every request to one server, so that none for a token leaves.
type to string

func (address to) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = "http", strings.TrimPrefix(string(address), "http://")
	return http.DefaultTransport.RoundTrip(r)
}
