// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/state"
)

// Invocation is a request to a model.
type Invocation struct {
	Region, Endpoint string
	TargetVariant    string
	Component        string // name of an inference component
	ContentType      string
	Body             []byte
	Async            bool
	InputLocation    string // of an asynchronous one
}

// Answer is what the endpoint says.
type Answer struct {
	Variant     string
	ContentType string
	Body        []byte
	Output      string // where an asynchronous answer will be
	Failure     string // where its failure will be, "" if nowhere
}

// served is everything about one invocation that the transaction finds out.
type served struct {
	variant, model, version, digest, artifact, name string
	config                                          obj
	number                                          int
	status                                          int           // that the container answers
	latency                                         time.Duration // as the metrics show it
}

// maxBody is the size limit of a synchronous request, in bytes.
const maxBody = 25 << 20

// Invoke answers an inference request.
func (s *Service) Invoke(ctx context.Context, in Invocation) (*Answer, error) {
	if len(in.Body) > maxBody {
		return nil, &apiError{"ValidationError", "Request body exceeds the limit of 25 MB", 413}
	}
	if in.Component != "" {
		return nil, &apiError{"ValidationError", "Inference Component Name header is not allowed for endpoints to which you dont plan to deploy inference components.", 400}
	}
	if in.Async && in.InputLocation == "" {
		return nil, &apiError{"ValidationError", "1 validation error detected: Value null at 'inputLocation' failed to satisfy constraint: Member must not be null", 400}
	}
	var to served
	err := s.o.Store.Do(ctx, func(tx *state.Tx) (err error) {
		to, err = (&request{Service: s, tx: tx, region: in.Region, in: obj{}}).route(in)
		return err
	})
	if err != nil {
		return nil, err
	}
	if in.Async {
		return s.later(in, to)
	}
	if to.status >= http.StatusInternalServerError {
		return nil, modelError(in, to)
	}
	body, err := s.answer(to, in.Body)
	if err != nil {
		return nil, err
	}
	if err := s.capture(in, to, body); err != nil {
		return nil, err
	}
	return &Answer{Variant: to.variant, ContentType: "application/json", Body: body}, nil
}

// later answers an asynchronous request: by an object, at once.
func (s *Service) later(in Invocation, to served) (*Answer, error) {
	output := to.config.obj("AsyncInferenceConfig").obj("OutputConfig")
	place := func(path string) string {
		if path == "" {
			return ""
		}
		return fmt.Sprintf("%s/%08d", strings.TrimSuffix(path, "/"), to.number)
	}
	a := &Answer{Variant: to.variant, Output: place(output.str("S3OutputPath")) + ".out", Failure: place(output.str("S3FailurePath"))}
	body, err := s.object(in.InputLocation)
	if err == nil && to.status >= http.StatusInternalServerError {
		err = modelError(in, to)
	}
	if err == nil {
		body, err = s.answer(to, body)
	}
	if err != nil { // accepted all the same; the failure shows in the failure path, if there is one
		if a.Failure == "" {
			return a, nil
		}
		return a, s.write(a.Failure, []byte("Unable to download the input at "+in.InputLocation+": "+err.Error()))
	}
	return a, s.write(a.Output, body)
}

// modelError is the refusal of a request that the container failed to answer.
func modelError(in Invocation, to served) error {
	return &apiError{"ModelError", fmt.Sprintf("Received server error (%d) from primary with message \"internal error\". See the log group /aws/sagemaker/Endpoints/%s in account %s for more information.",
		to.status, in.Endpoint, AccountID), http.StatusFailedDependency}
}

func (s *Service) object(uri string) ([]byte, error) {
	bucket, key, ok := strings.Cut(strings.TrimPrefix(uri, "s3://"), "/")
	if !ok || s.o.Artifact == nil {
		return nil, fmt.Errorf("%s is not an S3 object", uri)
	}
	r, err := s.o.Artifact(bucket, key)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, maxBody))
}

// route picks a variant and counts the request for it.
func (r *request) route(in Invocation) (served, error) {
	e, err := r.endpoint(in.Endpoint)
	if err != nil || e.Name != in.Endpoint { // names are matched with their case here
		return served{}, &apiError{"ValidationError", fmt.Sprintf("Endpoint %s of account %s not found.", in.Endpoint, AccountID), 400}
	}
	config, err := r.config(e.Config)
	if err != nil {
		config = obj{}
	}
	async := config.has("AsyncInferenceConfig")
	switch status := e.status(); {
	case status == "Creating" || status == "Failed" || status == "Deleting" || status == "OutOfService":
		return served{}, &apiError{"ValidationError", fmt.Sprintf("Endpoint %s of account %s not found.", in.Endpoint, AccountID), 400}
	case async != in.Async:
		return served{}, &apiError{"ValidationError", "The endpoint does not support this kind of invocation.", 400}
	}
	n, err := r.tx.Next("served/" + r.key(e.Name))
	if err != nil {
		return served{}, err
	}
	fleet, name, at := e.Variants, e.Config, spread(n)
	if p := e.Pending; p != nil && p.Kind == "update" {
		if share := p.newShare(r.now()); at < share {
			fleet, name, at = p.Variants, p.Config, at*100/share
		} else if share < 100 {
			at = (at - share) * 100 / (100 - share)
		}
	}
	v := choose(fleet, in.TargetVariant, at)
	if v == nil {
		return served{}, &apiError{"ValidationError", fmt.Sprintf("Variant %s of endpoint %s not found or has no weight.", in.TargetVariant, in.Endpoint), 400}
	}
	to := r.describeServed(v)
	to.config, to.number = config, n
	if to.status, to.latency, err = r.conduct(to, v.Served); err != nil {
		return served{}, err
	}
	v.Served++
	if err := r.meter(e.Name, name, to); err != nil {
		return served{}, err
	}
	return to, r.save(e)
}

// conduct is how the version behind a variant answers its n-th request.
func (r *request) conduct(to served, n int) (status int, latency time.Duration, err error) {
	var c fault.Conduct
	if r.o.Conduct != nil {
		c, err = r.o.Conduct(to.model, to.version)
	}
	status, latency = c.Answer(n)
	return status, latency, err
}

// spread turns a counter into 0 to 99, evenly and without runs.
func spread(n int) int { return n * 61 % 100 }

// choose picks the target, or the variant at a place from 0 to 99 of the weights.
func choose(all []*variant, target string, place int) *variant {
	total := 0.0
	for _, v := range all {
		if v.Name == target && target != "" && !v.Shadow {
			return v
		}
		if !v.Shadow {
			total += v.Weight
		}
	}
	if target != "" || total == 0 {
		return nil
	}
	at := float64(place) / 100 * total
	for _, v := range all {
		if v.Shadow {
			continue
		}
		if at < v.Weight {
			return v
		}
		at -= v.Weight
	}
	return nil
}

var digestPattern = regexp.MustCompile(`[0-9a-f]{64}`)

// describeServed finds out which model version is behind a variant.
func (r *request) describeServed(v *variant) served {
	to := served{variant: v.Name, name: v.Model}
	m, err := r.model(v.Model)
	if err != nil {
		return to // the record was deleted; instances go on serving
	}
	container := obj{}
	if all := containersOf(m); len(all) > 0 {
		container = all[0]
	}
	to.model = v.Model
	if arn := container.str("ModelPackageName"); arn != "" {
		p, err := r.modelPackage(arn)
		if err != nil {
			return to
		}
		to.model, to.version = p.str("ModelPackageGroupName"), fmt.Sprint(int(p.num("ModelPackageVersion")))
		to.digest = p.obj("CustomerMetadataProperties").str("ml_digest")
		if containers := p.obj("InferenceSpecification").list("Containers"); len(containers) > 0 {
			container = containers[0]
		}
	}
	to.artifact = dataOf(container)
	if to.digest == "" {
		to.digest = digestPattern.FindString(to.artifact)
	}
	return to
}

func (s *Service) answer(to served, body []byte) ([]byte, error) {
	out := map[string]any{"model": to.model, "version": to.version, "deployment": to.variant, "digest": to.digest, "echo": echo(body)}
	if outputs, ok := s.evaluate(to, body); ok {
		out["outputs"] = outputs
	}
	return json.Marshal(out)
}

// echo is a body as JSON; what is not JSON becomes a string.
func echo(body []byte) any {
	if json.Valid(body) {
		return json.RawMessage(body)
	}
	return string(body)
}

func (s *Service) evaluate(to served, body []byte) (any, bool) {
	bucket, key, ok := strings.Cut(strings.TrimPrefix(to.artifact, "s3://"), "/")
	if s.o.Evaluate == nil || s.o.Artifact == nil || !ok || strings.HasSuffix(key, "/") {
		return nil, false
	}
	object, err := s.o.Artifact(bucket, key)
	if err != nil {
		return nil, false
	}
	defer object.Close()
	return s.o.Evaluate(key, object, body)
}

// capture records a request and its answer, as DataCaptureConfig asks.
func (s *Service) capture(in Invocation, to served, body []byte) error {
	capture := to.config.obj("DataCaptureConfig")
	if capture == nil || !capture.flag("EnableCapture") || spread(to.number) >= int(capture.num("InitialSamplingPercentage")) {
		return nil
	}
	data := obj{}
	for _, o := range capture.list("CaptureOptions") {
		mode := o.str("CaptureMode")
		if mode != "Output" {
			data["endpointInput"] = obj{"observedContentType": in.ContentType, "mode": "INPUT", "data": string(in.Body), "encoding": "JSON"}
		}
		if mode != "Input" {
			data["endpointOutput"] = obj{"observedContentType": "application/json", "mode": "OUTPUT", "data": string(body), "encoding": "JSON"}
		}
	}
	now := s.o.Now().UTC()
	line, err := json.Marshal(obj{"captureData": data, "eventMetadata": obj{"eventId": fmt.Sprint(to.number), "inferenceTime": now.Format("2006-01-02T15:04:05Z")}, "eventVersion": "0"})
	if err != nil {
		return err
	}
	place := fmt.Sprintf("%s/%s/%s/%s/%08d.jsonl", strings.TrimSuffix(capture.str("DestinationS3Uri"), "/"), in.Endpoint, to.variant, now.Format("2006/01/02/15"), to.number)
	// A destination that cannot be written captures nothing, and says nothing: so it is on the platform.
	_ = s.write(place, append(line, '\n'))
	return nil
}

func (s *Service) write(uri string, data []byte) error {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(uri, "s3://"), "/")
	if s.o.PutObject == nil {
		return nil
	}
	return s.o.PutObject(bucket, key, bytes.NewReader(data))
}
