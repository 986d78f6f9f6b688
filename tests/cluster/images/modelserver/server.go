// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mlplane/terraform-provider-ml/internal/onnx"
	"github.com/mlplane/terraform-provider-ml/internal/wait"
)

// maxBody is the largest request, in bytes.
const maxBody = 64 << 20

type server struct {
	name, version, deployment string
	unready                   bool
	conduct                   conduct

	loaded atomic.Pointer[loaded] // nil until the model can answer
	ending atomic.Bool            // told to end, and still answering
	asked  atomic.Int64           // predictions
}

type loaded struct {
	model  *onnx.Model
	digest string
}

// load reads the first ONNX file below dir.
func (s *server) load(dir string) error {
	var file string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && filepath.Ext(path) == ".onnx" {
			file = path
			return fs.SkipAll
		}
		return err
	})
	if err != nil {
		return err
	}
	if file == "" {
		return fmt.Errorf("there is no .onnx file below %s", dir)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	model, err := onnx.FromArtifact(bytes.NewReader(data), "model.onnx")
	if err != nil {
		return fmt.Errorf("loading %s: %w", file, err)
	}
	sum := sha256.Sum256(data)
	fmt.Printf("loaded %s, sha256 %x\n", file, sum)
	s.loaded.Store(&loaded{model, hex.EncodeToString(sum[:])})
	return nil
}

// ServeHTTP answers a prediction to whatever is posted, and what the protocols
// have for clients to ask about it.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.ending.Load() {
		w.Header().Set("Connection", "close") // the client's next request goes elsewhere
	}
	model := s.loaded.Load()
	ready := model != nil && !s.unready
	path := strings.Trim(r.URL.Path, "/")
	switch {
	case path == "" || path == "v2/health/live":
		answer(w, http.StatusOK, map[string]any{"live": true})
	case path == "v2":
		answer(w, http.StatusOK, map[string]any{"name": "modelserver", "version": "1", "extensions": []string{}})
	case r.Method == http.MethodPut && path == "conduct":
		if err := s.conduct.set(r.URL.Query()); err != nil {
			answer(w, http.StatusBadRequest, map[string]any{"error": err.Error()})
			return
		}
		answer(w, http.StatusOK, map[string]any{})
	case r.Method == http.MethodPost && !ready:
		answer(w, http.StatusServiceUnavailable, map[string]any{"error": "the model is not loaded"})
	case r.Method == http.MethodPost:
		s.predict(w, r, model)
	case path == "v2/health/ready", path == "health", path == "v2/models/"+s.name+"/ready":
		status := http.StatusOK
		if !ready {
			status = http.StatusServiceUnavailable
		}
		answer(w, status, map[string]any{"name": s.name, "ready": ready})
	case path == "metrics":
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprintf(w, "# TYPE ml_predictions_total counter\nml_predictions_total %d\n", s.asked.Load())
	case path == "v2/models/"+s.name && ready:
		inputs, outputs := model.model.Signature()
		answer(w, http.StatusOK, map[string]any{"name": s.name, "versions": []string{s.version}, "platform": "onnxruntime_onnx", "inputs": inputs, "outputs": outputs})
	case path == "v1/models/"+s.name && ready:
		answer(w, http.StatusOK, map[string]any{"name": s.name, "ready": true})
	case path == "v1/models" && ready:
		answer(w, http.StatusOK, map[string]any{"models": []string{s.name}, "object": "list", "data": []any{map[string]any{"id": s.name, "object": "model"}}})
	default:
		answer(w, http.StatusNotFound, map[string]any{"error": "there is no " + r.URL.Path})
	}
}

// predict answers who was asked what; with outputs where the model understands the
// request.
func (s *server) predict(w http.ResponseWriter, r *http.Request, model *loaded) {
	s.asked.Add(1)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		answer(w, http.StatusBadRequest, map[string]any{"error": err.Error()})
		return
	}
	well, err := s.conduct.answer(r.Context())
	if err != nil {
		return // whoever asked has gone
	}
	if !well {
		answer(w, http.StatusInternalServerError, map[string]any{"error": "the model failed"})
		return
	}
	all := map[string]any{"model": s.name, "model_name": s.name, "version": s.version, "model_version": s.version, "deployment": s.deployment, "digest": model.digest}
	all["echo"] = string(body)
	if json.Valid(body) {
		all["echo"] = json.RawMessage(body)
	}
	if outputs, err := onnx.Evaluate(model.model, body); err == nil {
		all["outputs"] = outputs
	}
	answer(w, http.StatusOK, all)
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone if this fails
}

// drain goes on answering until no prediction was asked for in two seconds, and only then
// closes connections: a client whose idle connection is closed under its hands
// would lose the request that it is about to send on it.
func (s *server) drain(web *http.Server) error {
	s.ending.Store(true)
	fmt.Println("told to end")
	quiet := wait.Loop{Clock: wait.Real{}, Limit: 15 * time.Second, First: 700 * time.Millisecond}
	for before, same := int64(-1), 0; same < 3 && quiet.Pause(context.Background()) == nil; same++ {
		if now := s.asked.Load(); now != before {
			before, same = now, -1
		}
	}
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	if err := web.Shutdown(ctx); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	fmt.Println("ended after", s.asked.Load(), "predictions")
	return nil
}
