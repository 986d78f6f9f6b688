// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package emulator

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/state"
)

// kept is how many recent calls are remembered.
const kept = 500

// Call is one API call that was answered.
type Call struct {
	Time    time.Time
	Name    string // "sagemaker.CreateEndpoint"
	Region  string // in Kubernetes a namespace, of Cloud Storage a bucket
	Status  int    // HTTP status, 0 for no answer
	Elapsed time.Duration
}

// record remembers a call; it is best effort, as logs are.
func (b *books) record(v visit, status int, elapsed time.Duration) {
	b.log.Debug("call", "name", v.name(), "status", status, "elapsed", elapsed)
	err := b.store.Do(context.Background(), func(tx *state.Tx) error {
		n, err := tx.Next("calls")
		if err != nil {
			return err
		}
		if n > kept {
			if err := tx.Delete("call", fmt.Sprintf("%012d", n-kept)); err != nil {
				return err
			}
		}
		return tx.Put("call", fmt.Sprintf("%012d", n), Call{b.now(), v.name(), v.where(), status, elapsed})
	})
	if err != nil {
		b.log.Warn("cannot record a call", "error", err)
	}
}

// Calls are the latest 500 API calls, oldest first, of every process that shares
// the directory.
func (s *Server) Calls() ([]Call, error) {
	var all []Call
	err := s.store.Do(context.Background(), func(tx *state.Tx) error {
		return tx.Each("call", "", func(_ string, data []byte) error {
			var c Call
			err := json.Unmarshal(data, &c)
			all = append(all, c)
			return err
		})
	})
	return all, err
}

// recorder notes the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	r.status = status
	r.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController through.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// discard swallows an answer that gets lost.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// requestID is a random UUID, as the platform gives every answer.
func requestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
