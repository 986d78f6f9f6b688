// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package sagemaker emulates Amazon SageMaker hosting and what belongs to it:
// the model registry, endpoints, Application Auto Scaling, the runtime, CloudWatch
// alarms and STS. It refuses what AWS refuses, with AWS's codes and messages,
// and moves through AWS's states on a scaled clock.
package sagemaker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/fault"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/state"
)

// AccountID is the emulated account.
const AccountID = "123456789012"

// Options are what the emulator needs of its surroundings.
type Options struct {
	Store *state.Store
	Now   func() time.Time
	Speed float64 // 1: an endpoint is Creating for a second; more is faster
	// Artifact opens an S3 object; an error that ArtifactMissing recognizes means
	// that there is none. Nil leaves artifacts unchecked.
	Artifact func(bucket, key string) (io.ReadCloser, error)
	// Keys lists what is below a prefix.
	Keys func(bucket, prefix string) ([]string, error)
	// PutObject writes an S3 object, for captured data and asynchronous results.
	PutObject func(bucket, key string, r io.Reader) error
	// Evaluate computes a model's outputs; ok is false when it cannot.
	Evaluate func(name string, artifact io.Reader, body []byte) (outputs any, ok bool)
	// Conduct tells how a version of a model answers; nil is well.
	Conduct func(model, version string) (fault.Conduct, error)
	// Quotas are account limits by instance type, "ml.g5.xlarge": 2; nil is no limit.
	Quotas func() map[string]int
}

// Service is the emulator.
type Service struct{ o Options }

// New makes the emulator.
func New(o Options) *Service {
	if o.Speed <= 0 {
		o.Speed = 1
	}
	if o.Quotas == nil {
		o.Quotas = func() map[string]int { return nil }
	}
	return &Service{o}
}

// obj is a JSON object.
type obj map[string]any

func (o obj) str(name string) string {
	s, _ := o[name].(string)
	return s
}

func (o obj) num(name string) float64 {
	n, _ := o[name].(float64)
	return n
}

func (o obj) flag(name string) bool {
	b, _ := o[name].(bool)
	return b
}

func (o obj) has(name string) bool { return o[name] != nil }

func (o obj) obj(name string) obj {
	switch m := o[name].(type) {
	case map[string]any:
		return m
	case obj:
		return m
	}
	return nil
}

func (o obj) list(name string) []obj {
	items, _ := o[name].([]any)
	all := make([]obj, 0, len(items))
	for _, item := range items {
		if m, ok := item.(map[string]any); ok {
			all = append(all, m)
		}
	}
	return all
}

func (o obj) strings(name string) []string {
	items, _ := o[name].([]any)
	var all []string
	for _, item := range items {
		if s, ok := item.(string); ok {
			all = append(all, s)
		}
	}
	return all
}

// only copies the named members that are there.
func (o obj) only(names ...string) obj {
	out := obj{}
	for _, name := range names {
		if o[name] != nil {
			out[name] = o[name]
		}
	}
	return out
}

// apiError is an error as AWS answers it.
type apiError struct {
	Code, Message string
	Status        int
}

func (e *apiError) Error() string { return e.Code + ": " + e.Message }

// refused reports whether err is the platform's own refusal.
func refused(err error) bool {
	var e *apiError
	return errors.As(err, &e)
}

// message is what a refusal says.
func message(err error) string {
	_, text, _, _ := Refusal(err)
	return text
}

func invalid(format string, args ...any) *apiError {
	return &apiError{"ValidationException", fmt.Sprintf(format, args...), 400}
}

// Call is one request, already told apart from the others.
type Call struct {
	Service   string // "sagemaker", "application-autoscaling", "monitoring"
	Operation string
	Region    string
	Body      []byte
	Fault     *fault.Fault // of FailTransition or Maintenance; nil otherwise
}

// request is a call while it is being answered.
type request struct {
	*Service
	tx                 *state.Tx
	service, operation string
	region             string
	in                 obj
	fault              *fault.Fault
}

type handler func(r *request) (obj, error)

// handlers are the JSON operations by service.
var handlers map[string]map[string]handler

func init() { //nolint:gochecknoinits // the table and the handlers refer to each other
	handlers = map[string]map[string]handler{
		"sagemaker":               mergeHandlers(registryHandlers, modelHandlers, endpointHandlers, tagHandlers),
		"application-autoscaling": autoscalingHandlers,
		"monitoring":              alarmHandlers,
	}
}

func mergeHandlers(all ...map[string]handler) map[string]handler {
	merged := map[string]handler{}
	for _, handlers := range all {
		maps.Copy(merged, handlers)
	}
	return merged
}

// Do answers a JSON operation. An *apiError is AWS's refusal.
func (s *Service) Do(ctx context.Context, c Call) ([]byte, error) {
	in := obj{}
	if len(c.Body) > 0 {
		if err := json.Unmarshal(c.Body, &in); err != nil {
			return nil, &apiError{"SerializationException", "the request body is not valid JSON", 400}
		}
	}
	h := handlers[c.Service][c.Operation]
	if h == nil {
		return nil, &apiError{"UnknownOperationException", "The requested operation is not served in rehearsal: " + c.Operation, 400}
	}
	if err := validate(c.Service, c.Operation, in); err != nil {
		return nil, err
	}
	var out obj
	err := s.o.Store.Do(ctx, func(tx *state.Tx) (err error) {
		out, err = h(&request{Service: s, tx: tx, service: c.Service, operation: c.Operation, region: c.Region, in: in, fault: c.Fault})
		return err
	})
	if err != nil {
		return nil, err
	}
	answer := obj{}
	for name, value := range out {
		if value != nil {
			answer[name] = value
		}
	}
	return json.Marshal(answer)
}

// Refusal takes AWS's refusal apart; ok is false for any other error.
func Refusal(err error) (code, message string, status int, ok bool) {
	if e, ok := errors.AsType[*apiError](err); ok {
		return e.Code, e.Message, e.Status, true
	}
	return "", "", 0, false
}

func (r *request) now() time.Time { return r.o.Now() }

func epoch(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// scaled is how long something that takes d on the platform takes here: five
// minutes become a second.
func (s *Service) scaled(d time.Duration) time.Duration {
	return time.Duration(float64(d) / 300 / s.o.Speed)
}

// transition is how long a creation, an update or a deletion takes.
func (s *Service) transition() time.Duration { return s.scaled(5 * time.Minute) }

// arn names a thing. AWS writes them in lower case, whatever the name's case.
func (r *request) arn(kind, name string) string {
	return fmt.Sprintf("arn:%s:sagemaker:%s:%s:%s/%s", partition(r.region), r.region, AccountID, kind, strings.ToLower(name))
}

func partition(region string) string {
	switch {
	case strings.HasPrefix(region, "cn-"):
		return "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		return "aws-us-gov"
	}
	return "aws"
}

// key is a document's key: names are unique, regardless of case, in a region.
func (r *request) key(name string) string { return r.region + "/" + strings.ToLower(name) }

// documents reads all documents of a kind in the region.
func (r *request) documents(kind string) ([]obj, error) {
	var all []obj
	err := r.tx.Each(kind, r.region+"/", func(_ string, data []byte) error {
		var o obj
		if err := json.Unmarshal(data, &o); err != nil {
			return err
		}
		all = append(all, o)
		return nil
	})
	return all, err
}
