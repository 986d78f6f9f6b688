// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Command fetch stands in for KServe's storage initializer, whose arguments it
// takes: pairs of a source and the directory that it is brought to. Sources are
// s3://bucket/prefix, http(s)://, oci://image (its files below models/) and paths.
// Credentials and endpoints come from the environment, as the AWS SDK and
// containers' tools read them; S3_ENDPOINT and OCI_PLAIN_HTTP=1 besides. Called
// sha256sum it checks sums, as the initializer's image can.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	name := filepath.Base(os.Args[0])
	var err error
	if name == "sha256sum" {
		err = verify(os.Args[1:], os.Stdout)
	} else {
		err = run(ctx, os.Args[1:])
	}
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 || len(args)%2 != 0 {
		return errors.New("usage: fetch source directory [source directory …]")
	}
	for pair := range slices.Chunk(args, 2) {
		source, dir := pair[0], pair[1]
		n, err := fetch(ctx, source, dir)
		if err == nil && n == 0 {
			err = errors.New("there are no files")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", source, err)
		}
		fmt.Printf("%s: %d files in %s\n", source, n, dir)
	}
	return nil
}

// fetch brings a source to a directory and returns how many files it has.
func fetch(ctx context.Context, source, dir string) (int, error) {
	scheme, rest, ok := strings.Cut(source, "://")
	if !ok {
		return copyPath(source, dir)
	}
	switch scheme {
	case "file":
		return copyPath(rest, dir)
	case "s3":
		return fetchS3(ctx, rest, dir)
	case "oci":
		return fetchOCI(ctx, rest, dir)
	case "http", "https":
		return fetchHTTP(ctx, source, dir)
	}
	return 0, fmt.Errorf("sources of %s are not known", scheme)
}

func fetchHTTP(ctx context.Context, source, dir string) (int, error) {
	u, err := url.Parse(source)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, source, http.NoBody)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, errors.New(resp.Status)
	}
	return 1, write(dir, path.Base(u.Path), resp.Body)
}

// copyPath copies a file, or what is in a directory.
func copyPath(source, dir string) (n int, err error) {
	info, err := os.Stat(source)
	if err != nil {
		return 0, err
	}
	root := source
	if !info.IsDir() {
		root = filepath.Dir(source)
	}
	err = filepath.Walk(source, func(name string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // only read
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		n++
		return write(dir, relative, f)
	})
	return n, err
}

// write writes a file below dir, never beside it.
func write(dir, name string, r io.Reader) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // holds no data
	if parent := path.Dir(filepath.ToSlash(name)); parent != "." {
		if err := root.MkdirAll(parent, 0o755); err != nil {
			return err
		}
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}
