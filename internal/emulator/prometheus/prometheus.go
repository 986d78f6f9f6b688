// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package prometheus emulates the Prometheus of a cluster with Istio: its HTTP API over
// the requests that the cluster's endpoints have answered, as Istio's proxies count
// them, and over alerting rules in Prometheus's own format. Queries are evaluated by
// Prometheus's own engine.
package prometheus

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/state"
)

// Options are what the emulator needs of its surroundings.
type Options struct {
	Dir   string // the state directory: prometheus-rules.yaml is read from it
	Store *state.Store
	Now   func() time.Time
	Speed float64 // of the scaled clock, for how long alerts are pending; 1: five minutes are a second
}

// Service is the emulator.
type Service struct {
	o      Options
	engine *promql.Engine
}

// The limits of a query, which are Prometheus's own (--query.max-samples,
// --query.timeout, --query.lookback-delta).
const (
	maxSamples = 50_000_000
	timeout    = 2 * time.Minute
	lookback   = 5 * time.Minute
)

// New makes the emulator.
func New(o Options) *Service {
	return &Service{o: o, engine: promql.NewEngine(promql.EngineOpts{MaxSamples: maxSamples, Timeout: timeout, LookbackDelta: lookback,
		EnableAtModifier: true, EnableNegativeOffset: true, NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() }})}
}

func (s *Service) rulesFile() string { return filepath.Join(s.o.Dir, "prometheus-rules.yaml") }

// The types of errors (Prometheus HTTP API, errorType).
const (
	badData   = "bad_data"
	execution = "execution"
	timedOut  = "timeout"
	canceled  = "canceled"
)

// failure is an answer that says no.
type failure struct {
	kind string
	err  error
}

func (f *failure) Error() string { return f.err.Error() }

func (f *failure) status() int {
	switch f.kind {
	case badData:
		return http.StatusBadRequest
	case timedOut, canceled:
		return http.StatusServiceUnavailable
	}
	return http.StatusUnprocessableEntity
}

// failed sorts what the engine says.
func failed(err error) error {
	kind := execution
	var (
		cancel promql.ErrQueryCanceled
		late   promql.ErrQueryTimeout
	)
	switch {
	case errors.As(err, &cancel):
		kind = canceled
	case errors.As(err, &late):
		kind = timedOut
	}
	return &failure{kind, err}
}

// instant evaluates a query at one moment.
func (s *Service) instant(ctx context.Context, query string, at time.Time) (parser.Value, error) {
	held, err := s.read(ctx, at)
	if err != nil {
		return nil, err
	}
	q, err := s.engine.NewInstantQuery(ctx, held, nil, query, at)
	if err != nil {
		return nil, &failure{badData, errors.New("invalid parameter \"query\": " + err.Error())}
	}
	return run(ctx, q)
}

// span evaluates a query from a moment to another, in steps.
func (s *Service) span(ctx context.Context, query string, from, to time.Time, step time.Duration) (parser.Value, error) {
	held, err := s.read(ctx, to)
	if err != nil {
		return nil, err
	}
	q, err := s.engine.NewRangeQuery(ctx, held, nil, query, from, to, step)
	if err != nil {
		return nil, &failure{badData, errors.New("invalid parameter \"query\": " + err.Error())}
	}
	return run(ctx, q)
}

func run(ctx context.Context, q promql.Query) (parser.Value, error) {
	defer q.Close()
	result := q.Exec(ctx)
	if result.Err != nil {
		return nil, failed(result.Err)
	}
	switch v := result.Value.(type) { // they are the query's no more when it is closed
	case promql.Vector:
		return append(promql.Vector{}, v...), nil
	case promql.Matrix:
		all := make(promql.Matrix, len(v))
		for i, series := range v {
			series.Floats = append([]promql.FPoint(nil), series.Floats...)
			all[i] = series
		}
		return all, nil
	}
	return result.Value, nil
}

// moment reads a time as the API takes it: seconds since 1970, or RFC 3339.
func moment(name, text string) (time.Time, error) {
	if seconds, err := strconv.ParseFloat(text, 64); err == nil {
		const thousand = 1000 // milliseconds, as Prometheus keeps times
		return time.UnixMilli(int64(seconds*thousand + 0.5)).UTC(), nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return t, &failure{badData, errors.New("invalid parameter \"" + name + "\": cannot parse \"" + text + "\" to a valid timestamp")}
	}
	return t, nil
}
