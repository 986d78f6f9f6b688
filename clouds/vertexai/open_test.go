// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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
		"https://us-central1-aiplatform.googleapis.com/v1/projects/p1/locations/us-central1/endpoints/f:rawPredict":  "vertex_ai/p1/us-central1/f",
		"p1/us-central1/fraud":                           "vertex_ai/p1/us-central1/fraud",
		"123/us-central1/456":                            "vertex_ai/my-project/us-central1/456",
		"p1/nowhere/fraud":                               "",
		"group/workspace/fraud":                          "",
		"projects/p1/locations/us-central1/models/fraud": "",
		"projects/p1/locations/nowhere/endpoints/fraud":  "",
		"arn:aws:sagemaker:eu-west-1:1:endpoint/fraud":   "",
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
	project := func(c *Config) string { return c.Project }
	region := func(c *Config) string { return c.Region }
	credentials := func(c *Config) string { return c.Credentials.Reveal() }
	token := func(c *Config) string { return c.AccessToken.Reveal() }
	account := func(c *Config) string { return c.ImpersonateServiceAccount }
	endpoint := func(c *Config) string { return c.EndpointURL }
	quota := func(c *Config) string { return c.QuotaProject }
	all := []struct {
		read      func(*Config) string
		variables []string // the first one that is set wins
		own       Config
	}{
		{project, []string{"GOOGLE_PROJECT", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT", "CLOUDSDK_CORE_PROJECT"}, Config{Project: "own"}},
		{region, []string{"GOOGLE_REGION", "GCLOUD_REGION", "CLOUDSDK_COMPUTE_REGION"}, Config{Region: "own"}},
		{credentials, []string{"GOOGLE_CREDENTIALS", "GOOGLE_CLOUD_KEYFILE_JSON", "GCLOUD_KEYFILE_JSON"}, Config{Credentials: secret.New("own")}},
		{token, []string{"GOOGLE_OAUTH_ACCESS_TOKEN"}, Config{AccessToken: secret.New("own")}},
		{account, []string{"GOOGLE_IMPERSONATE_SERVICE_ACCOUNT"}, Config{ImpersonateServiceAccount: "own"}},
		{endpoint, []string{"GOOGLE_VERTEX_AI_CUSTOM_ENDPOINT"}, Config{EndpointURL: "own"}},
		{quota, []string{"GOOGLE_BILLING_PROJECT", "GOOGLE_PROJECT"}, Config{QuotaProject: "own"}},
	}
	clean := func(t *testing.T) {
		t.Helper()
		for _, a := range all {
			for _, name := range a.variables {
				t.Setenv(name, "")
			}
		}
		t.Setenv("USER_PROJECT_OVERRIDE", "true")
	}
	for _, a := range all {
		t.Run(a.variables[0], func(t *testing.T) {
			clean(t)
			for _, name := range slices.Backward(a.variables) {
				t.Setenv(name, "of-"+name)
				if got := a.read((&Config{}).completed()); got != "of-"+name {
					t.Errorf("with %s it is %q", name, got)
				}
			}
			if got := a.read(a.own.completed()); got != "own" {
				t.Errorf("what is configured gives way to the environment: %q", got)
			}
			if got := a.read((&Config{Isolated: true}).completed()); got != "" {
				t.Errorf("isolated, it is %q", got)
			}
		})
	}
	clean(t)
	t.Setenv("GOOGLE_CREDENTIALS", "{}")
	t.Setenv("GOOGLE_OAUTH_ACCESS_TOKEN", "token")
	if c := (&Config{}).completed(); token(c) != "token" || credentials(c) != "" {
		t.Error("beside a token, credentials are used too")
	}
	if c := (&Config{Credentials: secret.New("own")}).completed(); token(c) != "" {
		t.Error("a token of the environment is used beside credentials that are configured")
	}
	for value, want := range map[string]string{"https://private.example.com/v1/": "https://private.example.com", "https://{{region}}-aiplatform.googleapis.com/v1/": ""} {
		t.Setenv("GOOGLE_VERTEX_AI_CUSTOM_ENDPOINT", value)
		if c := (&Config{}).completed(); c.EndpointURL != want {
			t.Errorf("%s is taken for the address %q", value, c.EndpointURL)
		}
	}
	t.Setenv("GOOGLE_BILLING_PROJECT", "theirs")
	t.Setenv("USER_PROJECT_OVERRIDE", "false")
	if c := (&Config{}).completed(); c.QuotaProject != "" {
		t.Errorf("nobody has asked for the quota of %s", c.QuotaProject)
	}
}

// google answers what is asked of Google, whoever it is: who gives tokens, and the API.
type google struct {
	mu   sync.Mutex
	sent map[string]string // the last Authorization by path
	user string            // whose quota was used
}

func (g *google) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sent[r.URL.Path], g.user = r.Header.Get("Authorization"), r.Header.Get("X-Goog-User-Project")
	w.Header().Set("Content-Type", "application/json")
	body := `{"name":"projects/1/locations/us-central1/endpoints/fraud"}`
	switch {
	case r.URL.Path == "/token":
		body = `{"access_token":"refreshed","expires_in":3600,"token_type":"Bearer"}`
	case r.URL.Path == "/v1/token":
		body = `{"access_token":"federated","issued_token_type":"urn:ietf:params:oauth:token-type:access_token","expires_in":3600,"token_type":"Bearer"}`
	case strings.HasSuffix(r.URL.Path, "/serviceAccounts/ci@p1.iam.gserviceaccount.com:generateAccessToken"):
		body = `{"accessToken":"impersonated","expireTime":"2099-01-01T00:00:00Z"}`
	}
	_, _ = w.Write([]byte(body))
}

// The credentials that are configured are sent, those of the environment if there are
// none, and a call without any fails with what to do.
func TestCredentials(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "absent.json"))
	answers := &google{sent: map[string]string{}}
	server := httptest.NewServer(answers)
	t.Cleanup(server.Close)
	write := func(name, content string) string {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	user := `{"type":"authorized_user","client_id":"i","client_secret":"s","refresh_token":"r"}`
	file := write("user.json", user)
	workload := fmt.Sprintf(`{"type":"external_account","audience":"//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/hcp",
		"subject_token_type":"urn:ietf:params:oauth:token-type:jwt","token_url":"https://sts.googleapis.com/v1/token","credential_source":{"file":%q}}`, write("jwt", "a-token"))
	mine := secret.New("mine")
	for reason, c := range map[string]struct {
		config      Config
		application string // GOOGLE_APPLICATION_CREDENTIALS
		want, by    string // the token, and that by which it was got
		quota       string
	}{
		"a token":                               {config: Config{AccessToken: mine}, want: "mine"},
		"a token, and whose quota":              {config: Config{AccessToken: mine, QuotaProject: "p9"}, want: "mine", quota: "p9"},
		"a file":                                {config: Config{Credentials: secret.New(file)}, want: "refreshed"},
		"JSON":                                  {config: Config{Credentials: secret.New(user)}, want: "refreshed"},
		"of HCP Terraform":                      {config: Config{Credentials: secret.New(workload)}, want: "federated"},
		"of the application":                    {application: file, want: "refreshed"},
		"of a person, who has a quota project":  {application: write("person.json", strings.Replace(user, "}", `,"quota_project_id":"p8"}`, 1)), want: "refreshed", quota: "p8"},
		"of the application, in HCP Terraform":  {application: write("workload.json", workload), want: "federated"},
		"another account's, by a token":         {config: Config{AccessToken: mine, ImpersonateServiceAccount: "ci@p1.iam.gserviceaccount.com"}, want: "impersonated", by: "mine"},
		"another account's, by HCP Terraform's": {config: Config{Credentials: secret.New(workload), ImpersonateServiceAccount: "ci@p1.iam.gserviceaccount.com"}, want: "impersonated", by: "federated"},
	} {
		if c.application != "" {
			t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", c.application)
		}
		clear(answers.sent)
		c.config.EndpointURL, c.config.HTTPClient = server.URL, &http.Client{Transport: to(server.URL)}
		d, err := Open(c.config)
		if err == nil {
			_, err = d.(*vertex).at(location).getEndpoint(t.Context(), "fraud")
		}
		got := answers.sent["/v1/projects/p1/locations/us-central1/endpoints/fraud"]
		by := answers.sent["/v1/projects/-/serviceAccounts/ci@p1.iam.gserviceaccount.com:generateAccessToken"]
		if err != nil || got != "Bearer "+c.want || strings.TrimPrefix(by, "Bearer ") != c.by || answers.user != c.quota {
			t.Errorf("%s: sent %q, got by %q, for %q, %v", reason, got, by, answers.user, err)
		}
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "absent.json"))
	d, err := Open(Config{EndpointURL: server.URL})
	if err != nil {
		t.Fatal(err) // opening uses no credentials
	}
	_, err = d.(*vertex).at(location).getEndpoint(t.Context(), "fraud")
	if !mlerr.Is(err, mlerr.Unauthenticated) || !strings.Contains(mlerr.Hint(err), "GOOGLE_CREDENTIALS") {
		t.Errorf("without credentials: %v (%s)", err, mlerr.Hint(err))
	}
}

// Every region has a host of its own, which is never that of another.
func TestHosts(t *testing.T) {
	t.Parallel()
	hosts := map[string]string{}
	seen := func(r *http.Request) (*http.Response, error) {
		hosts[r.URL.Path] = r.URL.Scheme + "://" + r.URL.Host
		return nil, errors.New("nobody answers")
	}
	d := open(t, Config{AccessToken: secret.New("t"), HTTPClient: &http.Client{Transport: trip(seen)}})
	for _, region := range []string{"us-central1", "europe-west4"} {
		r := d.at("p1/" + region)
		_, _ = r.getEndpoint(t.Context(), "fraud")
		_, _ = r.running(t.Context(), "endpoints/fraud")
		_ = r.do(t.Context(), call{path: r.in("endpoints/fraud/operations/7")}) // an operation is where it was started
		for _, path := range []string{"endpoints/fraud", "endpoints/fraud/operations/7"} {
			if got := hosts["/v1/"+r.in(path)]; got != "https://"+region+"-aiplatform.googleapis.com" {
				t.Errorf("%s is asked of %q", r.in(path), got)
			}
		}
	}
}

// trip is a transport that is a function.
type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// to sends every request to one server, so that none for a token leaves.
type to string

func (address to) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host = "http", strings.TrimPrefix(string(address), "http://")
	return http.DefaultTransport.RoundTrip(r)
}

// TestWhereMetricsAre: an address of one's own stands for Cloud Monitoring too, and one of
// Google's own does not.
func TestWhereMetricsAre(t *testing.T) {
	for reason, c := range map[string]struct {
		config Config
		env    map[string]string
		want   string
	}{
		"by itself":                   {Config{}, nil, "https://monitoring.googleapis.com"},
		"with an emulator":            {Config{EndpointURL: "http://127.0.0.1:9470/"}, nil, "http://127.0.0.1:9470"},
		"with a region's host":        {Config{EndpointURL: "https://europe-west4-aiplatform.googleapis.com"}, nil, "https://monitoring.googleapis.com"},
		"with an address of its own":  {Config{EndpointURL: "http://127.0.0.1:1", MonitoringEndpointURL: "http://127.0.0.1:2/v3/"}, nil, "http://127.0.0.1:2"},
		"from the environment":        {Config{EndpointURL: "http://127.0.0.1:1"}, map[string]string{"GOOGLE_MONITORING_CUSTOM_ENDPOINT": "http://127.0.0.1:3/"}, "http://127.0.0.1:3"},
		"isolated of the environment": {Config{EndpointURL: "http://127.0.0.1:1", Isolated: true}, map[string]string{"GOOGLE_MONITORING_CUSTOM_ENDPOINT": "http://127.0.0.1:3/"}, "http://127.0.0.1:1"},
	} {
		t.Run(reason, func(t *testing.T) {
			for _, name := range []string{"GOOGLE_MONITORING_CUSTOM_ENDPOINT", "GOOGLE_VERTEX_AI_CUSTOM_ENDPOINT"} {
				t.Setenv(name, c.env[name])
			}
			d, err := Open(c.config)
			if err != nil {
				t.Fatal(err)
			}
			if got := d.(*vertex).monitored(); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
	if _, err := Open(Config{MonitoringEndpointURL: "monitoring"}); !mlerr.Is(err, mlerr.InvalidArgument) || !strings.Contains(err.Error(), "GOOGLE_MONITORING_CUSTOM_ENDPOINT") {
		t.Errorf("an address that is none: %v", err)
	}
}
