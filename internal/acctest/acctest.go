// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package acctest is what tests of the whole provider share: the provider as the
// real terraform runs it, and a rehearsal that a test can look into, change
// behind Terraform's back, and break.
package acctest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
	"github.com/hashicorp/terraform-plugin-framework/providerserver"
	"github.com/hashicorp/terraform-plugin-go/tfprotov6"
	"k8s.io/client-go/rest"

	"github.com/mlplane/terraform-provider-ml/internal/emulator"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/provider"
)

// Region is where tests make things.
const Region = "eu-west-1"

// Factories serve the provider to terraform from within the test.
func Factories() map[string]func() (tfprotov6.ProviderServer, error) {
	return map[string]func() (tfprotov6.ProviderServer, error){
		"ml": providerserver.NewProtocol6WithError(provider.New("test")()),
	}
}

// Rehearsal is a rehearsal directory of one test, served to the test as well.
type Rehearsal struct {
	Dir    string
	server *emulator.Server
	aws    aws.Config
}

// NewRehearsal makes an empty rehearsal that ends with the test.
func NewRehearsal(t *testing.T) *Rehearsal {
	t.Helper()
	return OpenRehearsal(t, t.TempDir())
}

// OpenRehearsal serves to the test what is in a rehearsal directory.
func OpenRehearsal(t *testing.T, dir string) *Rehearsal {
	t.Helper()
	server, err := emulator.Start(emulator.Options{StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(server.Close(), emulator.Release(dir)); err != nil {
			t.Errorf("closing the rehearsal: %v", err)
		}
	})
	return &Rehearsal{Dir: dir, server: server, aws: aws.Config{
		Region: Region, BaseEndpoint: aws.String(server.Endpoints()["sagemaker"]),
		Credentials: credentials.NewStaticCredentialsProvider("rehearsal", "rehearsal", ""),
	}}
}

// URL is the base URL of the AWS APIs.
func (r *Rehearsal) URL() string { return r.server.Endpoints()["sagemaker"] }

// Provider is the provider's configuration, with what else it shall say.
func (r *Rehearsal) Provider(more ...string) string {
	return fmt.Sprintf("provider \"ml\" {\n  sagemaker = { region = %q }\n  rehearsal = { state_dir = %q }\n%s\n}\n", Region, r.Dir, strings.Join(more, "\n"))
}

// SageMaker is the official client.
func (r *Rehearsal) SageMaker() *sagemaker.Client { return sagemaker.NewFromConfig(r.aws) }

// Runtime is the official client.
func (r *Rehearsal) Runtime() *sagemakerruntime.Client { return sagemakerruntime.NewFromConfig(r.aws) }

// Scaling is the official client.
func (r *Rehearsal) Scaling() *applicationautoscaling.Client {
	return applicationautoscaling.NewFromConfig(r.aws)
}

// S3 is the official client.
func (r *Rehearsal) S3() *s3.Client {
	return s3.NewFromConfig(r.aws, func(o *s3.Options) { o.UsePathStyle = true })
}

// Fail scripts faults; none removes them.
func (r *Rehearsal) Fail(t *testing.T, faults ...fault.Fault) {
	t.Helper()
	data, err := json.Marshal(map[string]any{"faults": append([]fault.Fault{}, faults...)})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.Dir, "faults.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Calls are the names of all API calls since the mark that an earlier call
// returned, and a mark of now. The first mark is 0.
func (r *Rehearsal) Calls(t *testing.T) []string {
	t.Helper()
	calls, err := r.server.Calls()
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, len(calls))
	for i, c := range calls {
		names[i] = c.Name
	}
	return names
}

// Since are the API calls since a time, of the latest 500.
func (r *Rehearsal) Since(t *testing.T, since time.Time) []emulator.Call {
	t.Helper()
	calls, err := r.server.Calls()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(calls, func(c emulator.Call) bool { return c.Time.Before(since) })
}

// Mutations are those of the calls that change something.
func Mutations(calls []string) []string {
	var all []string
	for _, name := range calls {
		_, operation, _ := strings.Cut(name, ".")
		if at := strings.LastIndexByte(operation, '.'); at >= 0 && !strings.Contains(operation, " ") { // "endpoints.get", as Google's are called
			operation = strings.ToUpper(operation[at+1:at+2]) + operation[at+2:]
		}
		reads := []string{"RawPredict", "Score", "Status", "Describe", "List", "Get", "Head", "Invoke", "get ", "list ", "watch ", "proxy ", "request ", "dry-run "}
		if !slices.ContainsFunc(reads, func(verb string) bool { return strings.HasPrefix(operation, verb) }) {
			all = append(all, name)
		}
	}
	return all
}

// Model writes an artifact with that content and returns its path, for
// artifact.uri.
func Model(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Example is the path of a file of the examples.
func Example(t *testing.T, name string) string {
	t.Helper()
	file, err := filepath.Abs(filepath.Join("..", "..", "examples", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Fatal(err)
	}
	return file
}

// Kubernetes is how an administrator reaches the emulated cluster, in which it makes a
// namespace.
func (r *Rehearsal) Kubernetes(t *testing.T, namespace string) *rest.Config {
	t.Helper()
	if err := r.server.EnsureNamespace(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	return &rest.Config{Host: r.server.Endpoints()["kubernetes"], QPS: 1000, Burst: 1000}
}

// Gateway makes a Gateway in the emulated cluster.
func (r *Rehearsal) Gateway(t *testing.T, namespace, name string) {
	t.Helper()
	if err := r.server.EnsureGateway(t.Context(), namespace, name); err != nil {
		t.Fatal(err)
	}
}

// S3Address is the emulated object store's.
func (r *Rehearsal) S3Address() string { return r.server.Endpoints()["s3"] }
