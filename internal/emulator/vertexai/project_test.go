// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	beta "cloud.google.com/go/aiplatform/apiv1beta1"
	pb "cloud.google.com/go/aiplatform/apiv1beta1/aiplatformpb"
	"github.com/jonboulle/clockwork"
	aiplatform "google.golang.org/api/aiplatform/v1"
	"google.golang.org/api/option"

	"github.com/mlplane/terraform-provider-ml/internal/emulator"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/gcs"
)

const (
	here   = "projects/p1/locations/us-central1"  // as callers spell it
	there  = "projects/123/locations/us-central1" // as the platform does
	image  = "us-docker.pkg.dev/vertex-ai/prediction/sklearn-cpu.1-5:latest"
	digest = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
)

// project is an emulated project, seen through other people's clients: those that are
// generated for v1beta1 and for v1. Its time stands still.
type project struct {
	t      *testing.T
	dir    string
	url    string
	clock  *clockwork.FakeClock
	server *emulator.Server

	models      *beta.ModelClient
	endpoints   *beta.EndpointClient
	predictions *beta.PredictionClient
	v1          *aiplatform.ProjectsLocationsService
}

func newProject(t *testing.T) *project {
	t.Helper()
	p := openProject(t, t.TempDir(), clockwork.NewFakeClockAt(time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)))
	objects := filepath.Join(p.dir, "gcs")
	p.must(gcs.EnsureBucket(objects, "models"))
	p.must(gcs.Put(objects, "models", "fraud/"+digest+"/model.pkl", strings.NewReader("weights")))
	return p
}

func openProject(t *testing.T, dir string, clock *clockwork.FakeClock) *project {
	t.Helper()
	server, err := emulator.Start(emulator.Options{StateDir: dir, Clock: clock, Speed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	p := &project{t: t, dir: dir, clock: clock, server: server, url: server.Endpoints()["vertex_ai"]}
	ctx := t.Context()
	options := []option.ClientOption{option.WithEndpoint(p.url), option.WithHTTPClient(&http.Client{Transport: &http.Transport{}})}
	if p.models, err = beta.NewModelRESTClient(ctx, options...); err == nil {
		p.endpoints, err = beta.NewEndpointRESTClient(ctx, options...)
	}
	p.must(err)
	p.predictions, err = beta.NewPredictionRESTClient(ctx, options...)
	p.must(err)
	service, err := aiplatform.NewService(ctx, options...)
	p.must(err)
	service.BasePath = p.url + "/"
	p.v1 = aiplatform.NewProjectsLocationsService(service)
	return p
}

func (p *project) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// minutes pass on the platform.
func (p *project) minutes(n float64) {
	p.clock.Advance(time.Duration(n * float64(time.Minute) / 300))
}

// answer is what a raw request gets.
type answer struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

// at is a member of the answer by its path: "deployedModels.0.id".
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

// call sends what clients would refuse to send, or hide the answer of: "v1/models".
// The body is JSON in text.
func (p *project) call(method, path, body string) *answer {
	p.t.Helper()
	return p.callHost("", method, path, body)
}

func (p *project) callHost(host, method, path, body string) *answer {
	p.t.Helper()
	version, rest, _ := strings.Cut(path, "/")
	address := p.url + "/" + version + "/" + here + "/" + rest
	if strings.HasPrefix(rest, "projects/") {
		address = p.url + "/" + path
	}
	req, err := http.NewRequestWithContext(p.t.Context(), method, address, strings.NewReader(body))
	p.must(err)
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	p.must(err)
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	p.must(err)
	a := &answer{status: resp.StatusCode, header: resp.Header, text: string(data)}
	if err := json.Unmarshal(data, &a.body); err != nil {
		p.t.Fatalf("%s %s answers %q: %v", method, path, data, err)
	}
	return a
}

// ok wants success.
func (p *project) ok(method, path, body string) *answer {
	p.t.Helper()
	a := p.call(method, path, body)
	if a.status != http.StatusOK {
		p.t.Fatalf("%s %s answers %d: %s", method, path, a.status, a.text)
	}
	return a
}

// refused wants the platform's status and some of its words.
func (p *project) refused(status, words, method, path, body string) {
	p.t.Helper()
	a := p.call(method, path, body)
	code := map[string]int{"INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "NOT_FOUND": 404, "ALREADY_EXISTS": 409, "ABORTED": 409, "RESOURCE_EXHAUSTED": 429,
		"PERMISSION_DENIED": 403, "INTERNAL": 500}[status]
	message, _ := a.at("error.message").(string)
	if a.status != code || a.at("error.status") != status || !strings.Contains(message, words) {
		p.t.Errorf("%s %s %s\nanswers %d: %s\nwant %s: …%s…", method, path, body, a.status, a.text, status, words)
	}
}

// done makes a change and waits until its operation has ended; it returns that.
func (p *project) done(method, path, body string) *answer {
	p.t.Helper()
	name, _ := p.ok(method, path, body).at("name").(string)
	p.minutes(5)
	return p.ok(http.MethodGet, "v1/"+name, "")
}

// changed wants the change to succeed.
func (p *project) changed(method, path, body string) *answer {
	p.t.Helper()
	a := p.done(method, path, body)
	if a.at("done") != true || a.at("error") != nil {
		p.t.Fatalf("%s %s %s\nends as %s", method, path, body, a.text)
	}
	return a
}

// failed wants the change to end in vain, with a code of google.rpc.Code.
func (p *project) failed(code int, words, method, path, body string) {
	p.t.Helper()
	a := p.done(method, path, body)
	message, _ := a.at("error.message").(string)
	if a.at("done") != true || a.at("error.code") != float64(code) || !strings.Contains(message, words) {
		p.t.Errorf("%s %s\nends as %s\nwant %d: …%s…", method, path, a.text, code, words)
	}
}

// wants compares a member of an answer, written as JSON.
func (p *project) wants(a *answer, path, want string) {
	p.t.Helper()
	got, err := json.Marshal(a.at(path))
	if err != nil || string(got) != want {
		p.t.Errorf("%s is %s, want %s in %s", path, got, want, a.text)
	}
}

// file writes into the state directory: faults.json, quotas.json.
func (p *project) file(name, content string) {
	p.t.Helper()
	p.must(os.WriteFile(filepath.Join(p.dir, name), []byte(content), 0o600))
}

func (p *project) faults(faults ...string) {
	p.t.Helper()
	p.file("faults.json", `{"faults":[`+strings.Join(faults, ",")+`]}`)
}

const uploadBody = `{"modelId":"fraud","model":{"displayName":"Fraud","artifactUri":"gs://models/fraud/` + digest + `","containerSpec":{"imageUri":"` + image + `"}}}`

// upload registers version 1 of the model fraud.
func (p *project) upload() {
	p.t.Helper()
	p.changed("POST", "v1/models:upload", uploadBody)
}

// uploadNext registers the next version.
func (p *project) uploadNext() {
	p.t.Helper()
	p.changed("POST", "v1/models:upload", strings.Replace(uploadBody, `"modelId":"fraud"`, `"parentModel":"`+here+`/models/fraud"`, 1))
}

// deployBody deploys a version of fraud under an id.
func deployBody(id, version string, more ...string) string {
	return `{"deployedModel":{"id":"` + id + `","displayName":"main","model":"` + here + `/models/fraud@` + version +
		`","dedicatedResources":{"machineSpec":{"machineType":"n1-standard-2"},"minReplicaCount":1,"maxReplicaCount":3}}` + strings.Join(more, "") + `}`
}

// serve makes the endpoint fraud that serves version 1 as deployment 77.
func (p *project) serve() {
	p.t.Helper()
	p.upload()
	p.changed("POST", "v1/endpoints?endpointId=fraud", `{"displayName":"Fraud"}`)
	p.changed("POST", "v1/endpoints/fraud:deployModel", deployBody("77", "1", `,"trafficSplit":{"0":100}`))
}

func spec(name string) *pb.Model {
	return &pb.Model{DisplayName: name, ArtifactUri: "gs://models/fraud/" + digest, ContainerSpec: &pb.ModelContainerSpec{ImageUri: image, SharedMemorySizeMb: 64}}
}
