// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package emulator serves the emulated platforms on loopback, over a directory
// that several processes may share. The provider runs it inside its own process
// for rehearsal; "terraform-provider-ml rehearse" serves it to other clients.
package emulator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/jonboulle/clockwork"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/gcs"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/kubernetes"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/prometheus"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/s3"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/sagemaker"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/state"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/vertexai"
	"github.com/mlplane/terraform-provider-ml/internal/onnx"
)

// Options are how the emulators run.
type Options struct {
	StateDir string          // created if absent
	Listen   string          // loopback address; "" is any free port of 127.0.0.1
	Clock    clockwork.Clock // nil is the wall clock
	Speed    float64         // of the scaled clock; 1 makes five minutes a second. 0 reads rehearsal.json in StateDir, then ML_REHEARSAL_SPEED, else 1
	Logger   hclog.Logger    // nil discards
}

// Server is the emulators while they run.
type Server struct {
	dir        string
	store      *state.Store
	log        hclog.Logger
	aws        *aws
	kubernetes *cluster
	prometheus *monitor
	vertex     *vertex
	azure      *azure
	listeners  []net.Listener
	servers    []*http.Server
	endpoints  map[string]string
	pace       float64
}

// shared are the servers of this process, by their directories.
var shared struct {
	sync.Mutex
	servers map[string]*Server
}

// Shared is the one server that all of a process use for a directory; the first starts
// it, with its options. It runs until the process ends, or until Release.
func Shared(o Options) (*Server, error) {
	shared.Lock()
	defer shared.Unlock()
	if s := shared.servers[o.StateDir]; s != nil {
		return s, nil
	}
	s, err := Start(o)
	if err != nil {
		return nil, err
	}
	if shared.servers == nil {
		shared.servers = map[string]*Server{}
	}
	shared.servers[o.StateDir] = s
	return s, nil
}

// Release closes the server that this process shares for a directory, if it does.
func Release(dir string) error {
	shared.Lock()
	defer shared.Unlock()
	s := shared.servers[dir]
	delete(shared.servers, dir)
	if s == nil {
		return nil
	}
	return s.Close()
}

// Start serves the state directory on loopback until Close.
func Start(o Options) (*Server, error) {
	if err := os.MkdirAll(o.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("making the rehearsal directory: %w", err)
	}
	store, err := state.Open(o.StateDir)
	if err != nil {
		return nil, err
	}
	s := &Server{dir: o.StateDir, store: store, log: o.Logger, endpoints: map[string]string{}}
	if s.log == nil {
		s.log = hclog.NewNullLogger()
	}
	if err := s.serve(o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) serve(o Options) error {
	clock := o.Clock
	if clock == nil {
		clock = clockwork.NewRealClock()
	}
	objects := filepath.Join(s.dir, "s3")
	store, err := s3.New(objects)
	if err != nil {
		return err
	}
	kept := &books{dir: s.dir, store: s.store, log: s.log, now: clock.Now}
	artifact := func(bucket, key string) (io.ReadCloser, error) { return s3.Open(objects, bucket, key) }
	keys := func(bucket, prefix string) ([]string, error) { return s3.Keys(objects, bucket, prefix) }
	factor := speed(o)
	s.pace = factor * (5 * time.Minute).Seconds()
	s.aws = &aws{books: kept, s3: store, sagemaker: sagemaker.New(sagemaker.Options{
		Store: s.store, Now: clock.Now, Speed: factor,
		Artifact: artifact, Keys: keys,
		PutObject: func(bucket, key string, r io.Reader) error { return s3.Put(objects, bucket, key, r) },
		Evaluate:  evaluate,
		Conduct:   s.conduct,
		Quotas:    func() map[string]int { return quotas(s.dir) },
	})}
	if err := s.listen("sagemaker", o.Listen, s.aws.handler(s.page)); err != nil {
		return err
	}
	if err := s.listen("s3", "", s.aws.handler(nil)); err != nil {
		return err
	}
	cloudStorage, err := gcs.New(filepath.Join(s.dir, "gcs"))
	if err != nil {
		return err
	}
	if err := s.listen("gcs", "", &storage{kept, cloudStorage}); err != nil {
		return err
	}
	if err := s.serveVertexAI(o, kept, clock); err != nil {
		return err
	}
	if err := s.serveAzureML(o, kept, clock); err != nil {
		return err
	}
	k, err := kubernetes.New(kubernetes.Options{Dir: s.dir, Store: s.store, Now: clock.Now, Speed: factor, Artifact: artifact, Keys: keys, Evaluate: evaluate, Conduct: s.conduct})
	if err != nil {
		return err
	}
	s.kubernetes = &cluster{kept, k}
	if err := s.listen("kubernetes", "", s.kubernetes); err != nil {
		return err
	}
	s.prometheus = &monitor{kept, prometheus.New(prometheus.Options{Dir: s.dir, Store: s.store, Now: clock.Now, Speed: factor})}
	return s.listen("prometheus", "", s.prometheus)
}

// serveVertexAI serves Vertex AI, which reads artifacts from the emulated Cloud Storage.
func (s *Server) serveVertexAI(o Options, kept *books, clock clockwork.Clock) error {
	objects := filepath.Join(s.dir, "gcs")
	s.vertex = &vertex{kept, vertexai.New(vertexai.Options{
		Store: s.store, Clock: clock, Speed: speed(o),
		Artifact: func(bucket, name string) (io.ReadCloser, error) { return gcs.Open(objects, bucket, name) },
		Keys:     func(bucket, prefix string) ([]string, error) { return gcs.Keys(objects, bucket, prefix) },
		Evaluate: evaluate,
		Conduct:  s.conduct,
		Quotas:   func() map[string]int { return quotas(s.dir) },
	})}
	return s.listen("vertex_ai", "", s.vertex)
}

// Pace is how much faster the platforms' time passes than the clock.
func (s *Server) Pace() float64 { return s.pace }

// speed is the factor of the scaled clock: of the options, of rehearsal.json in the
// state directory, or of the environment.
func speed(o Options) float64 {
	var file struct {
		Speed float64 `json:"speed"`
	}
	if data, err := os.ReadFile(filepath.Join(o.StateDir, "rehearsal.json")); err == nil {
		_ = json.Unmarshal(data, &file) // what cannot be read says nothing
	}
	environment, _ := strconv.ParseFloat(os.Getenv("ML_REHEARSAL_SPEED"), 64)
	for _, factor := range []float64{o.Speed, file.Speed, environment} {
		if factor > 0 {
			return factor
		}
	}
	return 1
}

// conduct is how faults.json has a version of a model answer.
func (s *Server) conduct(model, version string) (fault.Conduct, error) {
	return fault.ConductOf(s.dir, model, version)
}

// evaluate computes a small ONNX model's outputs.
func evaluate(name string, artifact io.Reader, body []byte) (any, bool) {
	m, err := onnx.FromArtifact(artifact, name)
	if err != nil {
		return nil, false
	}
	outputs, err := onnx.Evaluate(m, body)
	return outputs, err == nil
}

// quotas reads account limits from <state_dir>/quotas.json: instances by type and
// calls a second by name, {"ml.g5.xlarge": 2, "sagemaker.CreateModel": 5}; without
// the file there are none.
func quotas(dir string) map[string]int {
	data, err := os.ReadFile(filepath.Join(dir, "quotas.json"))
	if err != nil {
		return nil
	}
	var limits map[string]int
	if json.Unmarshal(data, &limits) != nil {
		return nil
	}
	return limits
}

// listen serves h under a name. Anything but a loopback address is refused.
func (s *Server) listen(name, address string, h http.Handler) error {
	if address == "" {
		address = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("rehearsal listens on loopback only, and %s is not", address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, ErrorLog: s.log.StandardLogger(&hclog.StandardLoggerOptions{ForceLevel: hclog.Debug})}
	s.listeners, s.servers = append(s.listeners, l), append(s.servers, server)
	s.endpoints[name] = "http://" + l.Addr().String()
	go func() { _ = server.Serve(l) }() // ends with Close
	return nil
}

// Endpoints are the base URLs by platform and object store: "sagemaker" serves
// every AWS API, "s3" is S3 again; "vertex_ai" serves control plane and predictions of
// every region, "gcs" is Cloud Storage; "azure_ml" serves Azure Resource Manager and
// the hosts of endpoints, "azblob" the Blob storage of all accounts; "kubernetes" is an API server, and the gateway
// of its routes to whoever names one of their hosts; "prometheus" is that cluster's.
func (s *Server) Endpoints() map[string]string { return s.endpoints }

// Close ends serving. What the platforms hold stays in the directory.
func (s *Server) Close() error {
	var all []error
	for _, server := range s.servers {
		all = append(all, server.Close())
	}
	return errors.Join(append(all, s.store.Close())...)
}

// publish writes a file that others may be waiting for: whole, or not at all.
func publish(name string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// Serve serves in the foreground until ctx ends, and writes the base URLs to
// <state_dir>/endpoints.json for other clients.
func Serve(ctx context.Context, o Options, out io.Writer) error {
	s, err := Start(o)
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(s.Endpoints(), "", "  ")
	if err != nil {
		return errors.Join(err, s.Close())
	}
	if err := publish(filepath.Join(o.StateDir, "endpoints.json"), append(data, '\n')); err != nil {
		return errors.Join(err, s.Close())
	}
	config := filepath.Join(o.StateDir, "kubeconfig")
	if err := publish(config, kubeconfig(s.endpoints["kubernetes"])); err != nil {
		return errors.Join(err, s.Close())
	}
	fmt.Fprintf(out, "Rehearsal of %s\n  page and AWS APIs   %s\n  S3                  %s\n  Vertex AI           %s\n  Cloud Storage       %s\n  Azure ML            %s\n  Blob storage        %s\n  Kubernetes          %s\n  Prometheus          %s\n\n", o.StateDir, s.endpoints["sagemaker"], s.endpoints["s3"], s.endpoints["vertex_ai"], s.endpoints["gcs"],
		s.endpoints["azure_ml"], s.endpoints["azblob"], s.endpoints["kubernetes"], s.endpoints["prometheus"])
	fmt.Fprintf(out, "  AWS_ACCESS_KEY_ID=rehearsal AWS_SECRET_ACCESS_KEY=rehearsal \\\n  aws --region eu-west-1 --endpoint-url %s sagemaker list-endpoints\n", s.endpoints["sagemaker"])
	fmt.Fprintf(out, "  CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM=%s/ CLOUDSDK_AUTH_DISABLE_CREDENTIALS=true \\\n  gcloud --project p1 ai endpoints list --region europe-west4\n", s.endpoints["vertex_ai"])
	fmt.Fprintf(out, "  kubectl --kubeconfig %s get all --all-namespaces\n\nCtrl-C ends it; what it holds stays.\n", config)
	<-ctx.Done()
	return s.Close()
}
