// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Command modelserver serves the ONNX model below ML_MODEL_DIR by the Open
// Inference Protocol v2, and by any other path that is posted to. It takes the
// arguments of other people's servers, so that it can stand in for their images.
//
// Its environment: HOST and PORT; ML_MODEL_NAME, ML_MODEL_VERSION and ML_DEPLOYMENT, which
// it answers with; FAIL, a reason to print and end with; UNREADY=1, which keeps it
// from ever being ready; ERROR_PERCENT, of its predictions that have the status 500, and
// LATENCY, after which it answers each ("900ms"). PUT /conduct?error_percent=50&latency=1s
// changes these two while it runs.
package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "modelserver:", err)
		os.Exit(1)
	}
}

func run() error {
	if reason := os.Getenv("FAIL"); reason != "" {
		return fmt.Errorf("%s", reason)
	}
	args := arguments(os.Args[1:])
	s := &server{
		name: cmp.Or(os.Getenv("ML_MODEL_NAME"), args["model-name"], args["served-model-name"], "model"), version: cmp.Or(os.Getenv("ML_MODEL_VERSION"), "1"),
		deployment: os.Getenv("ML_DEPLOYMENT"), unready: os.Getenv("UNREADY") == "1",
	}
	if err := s.conduct.set(url.Values{"error_percent": {os.Getenv("ERROR_PERCENT")}, "latency": {os.Getenv("LATENCY")}}); err != nil {
		return err
	}
	dir := cmp.Or(os.Getenv("ML_MODEL_DIR"), args["model-dir"], args["model-store"], args["model-repository"], args["model-base-path"], args["model"], "/mnt/models")
	port := cmp.Or(args["http-port"], args["port"], args["rest-api-port"], os.Getenv("PORT"), os.Getenv("MLSERVER_HTTP_PORT"), "8080")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	failed := make(chan error, 1)
	go func() {
		if err := s.load(dir); err != nil {
			failed <- err
		}
	}()
	web := &http.Server{Addr: cmp.Or(args["host"], os.Getenv("HOST")) + ":" + port, Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() { failed <- web.ListenAndServe() }()
	fmt.Printf("serving %s %s of %s on port %s\n", s.name, s.version, dir, port)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	return s.drain(web)
}

// arguments reads --name=value and --name value, with the names of all servers
// written alike. What has another form is passed over.
func arguments(args []string) map[string]string {
	all := map[string]string{}
	for i, arg := range args {
		name, ok := strings.CutPrefix(arg, "--")
		if !ok {
			continue
		}
		name, value, ok := strings.Cut(name, "=")
		if !ok && i+1 < len(args) && !strings.HasPrefix(args[i+1], "--") {
			value = args[i+1]
		}
		all[strings.ReplaceAll(name, "_", "-")] = value
	}
	return all
}
