// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package fault reads scripted faults from <state_dir>/faults.json, so that a
// test can make a platform misbehave at an exact call, and a model version answer
// badly.
package fault

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/state"
)

// The actions.
const (
	Error          = "error"           // the call is refused, before any effect
	LostAnswer     = "lost_answer"     // the call takes effect and its answer never arrives
	Hang           = "hang"            // nothing happens for Duration, then the connection ends
	FailTransition = "fail_transition" // the transition that the call starts fails in the end
	Maintenance    = "maintenance"     // after the transition that the call starts, the platform makes another of its own
	Exit           = "exit"            // the process that serves the call ends at once
)

// Fault is one scripted fault.
type Fault struct {
	Call       string `json:"call"`       // "sagemaker.UpdateEndpoint", or "*" for any
	Occurrence int    `json:"occurrence"` // at the n-th call of that name since the file was written, from 1; 0 is every call
	Action     string `json:"action"`
	Code       string `json:"code"`     // of Error
	Message    string `json:"message"`  // of Error; the reason of FailTransition, may be empty
	Status     int    `json:"status"`   // of Error: HTTP status, 400 if 0
	Duration   string `json:"duration"` // of Hang, a Go duration; of Error how long Retry-After asks to wait, "" for no such header
	Mode       string `json:"mode"`     // of FailTransition: "" is the platform's usual failure; SageMaker has "rollback_failed", Vertex AI "never_ready", "exited", "quota", "stock_out", "partial" and "after", Azure ML "never_ready", "image", "quota", "stock_out", "identity", "network", "internal" and "canceled", and two that are no failures: "early" is said to be done before it is, "ignored" is done and has changed nothing
	When       string `json:"when"`     // of Exit: "before" (default) or "after" the effect
}

// Wait is Duration, one second if it says none.
func (f *Fault) Wait() time.Duration {
	if d, err := time.ParseDuration(f.Duration); err == nil {
		return d
	}
	return time.Second
}

// Conduct is how the containers of a model version answer.
type Conduct struct {
	Model        string `json:"model"`         // what the version's answers call its model
	Version      string `json:"version"`       // "" is every version
	ErrorPercent int    `json:"error_percent"` // of its answers that have the status 500
	Latency      string `json:"latency"`       // of every answer, as the platform's metrics show it: a Go duration, "" for the usual few milliseconds
}

// usualLatency is what an answer takes unless it is said to take longer.
const usualLatency = 8 * time.Millisecond

// Answer is the status and the latency of the n-th answer, counted from 0.
func (c Conduct) Answer(n int) (status int, latency time.Duration) {
	const spread = 61 // spreads errors evenly over hundred answers
	status, latency = http.StatusOK, usualLatency
	if d, err := time.ParseDuration(c.Latency); err == nil {
		latency = d
	}
	if n*spread%100 < c.ErrorPercent {
		status = http.StatusInternalServerError
	}
	return status, latency
}

type file struct {
	Faults  []Fault   `json:"faults"`
	Conduct []Conduct `json:"conduct"`
}

// read reads the file; without one there are no faults. A file that cannot be read
// as faults is an error: a typo must not look like health.
func read(dir string) (f file, data []byte, err error) {
	data, err = os.ReadFile(path(dir))
	if errors.Is(err, os.ErrNotExist) {
		return f, nil, nil
	}
	if err != nil {
		return f, nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&f); err != nil {
		return f, nil, fmt.Errorf("faults.json: %w", err)
	}
	for i := range f.Faults {
		if err := f.Faults[i].check(); err != nil {
			return f, nil, err
		}
	}
	for _, c := range f.Conduct {
		if _, err := time.ParseDuration(c.Latency); c.Latency != "" && err != nil {
			return f, nil, fmt.Errorf("faults.json: %w", err)
		}
	}
	return f, data, nil
}

// ConductOf is how a version of a model has to answer.
func ConductOf(dir, model, version string) (Conduct, error) {
	f, _, err := read(dir)
	for _, c := range f.Conduct {
		if c.Model == model && (c.Version == "" || c.Version == version) {
			return c, err
		}
	}
	return Conduct{}, err
}

// Scripted reports whether there are any faults.
func Scripted(dir string) bool {
	_, err := os.Stat(path(dir))
	return err == nil
}

func path(dir string) string { return filepath.Join(dir, "faults.json") }

// Match counts a call and returns the fault that strikes it, or nil.
func Match(dir string, tx *state.Tx, call string) (*Fault, error) {
	info, err := os.Stat(path(dir))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil //nolint:nilnil // no fault
	}
	if err != nil {
		return nil, err
	}
	f, data, err := read(dir)
	if err != nil {
		return nil, err
	}
	counts := struct {
		File  string
		Calls map[string]int
	}{}
	if _, err := tx.Get("faults", "counts", &counts); err != nil {
		return nil, err
	}
	// Counting begins anew when the file is written, even with the same faults.
	if written := info.ModTime().Format(time.RFC3339Nano) + " " + string(data); counts.File != written {
		counts.File, counts.Calls = written, map[string]int{}
	}
	counts.Calls[call]++
	counts.Calls["*"]++
	if err := tx.Put("faults", "counts", counts); err != nil {
		return nil, err
	}
	for i := range f.Faults {
		g := &f.Faults[i]
		if (g.Call == call || g.Call == "*") && (g.Occurrence == 0 || g.Occurrence == counts.Calls[g.Call]) {
			return g, nil
		}
	}
	return nil, nil //nolint:nilnil // no fault
}

func (f *Fault) check() error {
	switch f.Action {
	case Error, LostAnswer, Hang, FailTransition, Maintenance, Exit:
		return nil
	}
	return fmt.Errorf("faults.json: %q is not an action", f.Action)
}
