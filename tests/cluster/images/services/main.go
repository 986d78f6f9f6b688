// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Command services serves, in a pod, what scenarios need beside the cluster: an
// object store (s3), a registry of images (registry), an issuer of tokens (oidc).
// All listen on port 8080.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/mlplane/terraform-provider-ml/internal/emulator/s3"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "services:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return errors.New("usage: services s3|registry|oidc")
	}
	var handler http.Handler
	var err error
	switch os.Args[1] {
	case "s3":
		handler, err = objectStore()
	case "registry":
		handler = registry.New()
	case "oidc":
		handler, err = newIssuer(os.Getenv("ISSUER"))
	default:
		err = fmt.Errorf("there is no service %s", os.Args[1])
	}
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	web := &http.Server{Addr: ":8080", Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = web.Close() }) // its clients have ended
	if dir := os.Getenv("TLS_DIR"); dir != "" {
		err = web.ListenAndServeTLS(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	} else {
		err = web.ListenAndServe()
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// objectStore serves S3 from DIR to whoever signs with AWS_ACCESS_KEY_ID.
func objectStore() (http.Handler, error) {
	store, err := s3.New(os.Getenv("DIR"))
	if err != nil {
		return nil, err
	}
	scope := "Credential=" + os.Getenv("AWS_ACCESS_KEY_ID") + "/"
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" && !strings.Contains(r.Header.Get("Authorization"), scope) {
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")
			return
		}
		store.ServeHTTP(w, r)
	}), nil
}
