// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// verify is sha256sum -c [--quiet] FILE, as the storage initializer's image has it:
// busybox's knows no --quiet.
func verify(args []string, out io.Writer) error {
	args, quiet := without(args, "--quiet")
	args, check := without(args, "-c")
	if !check || len(args) != 1 {
		return errors.New("usage: sha256sum -c [--quiet] FILE")
	}
	list, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer func() { _ = list.Close() }() // only read
	wrong, absent := 0, 0
	lines := bufio.NewScanner(list)
	for lines.Scan() {
		want, file, ok := strings.Cut(lines.Text(), "  ")
		if !ok || len(want) != 2*sha256.Size {
			return fmt.Errorf("%s: this is not a checksum and a file: %q", args[0], lines.Text())
		}
		got, err := sum(file)
		switch {
		case err != nil:
			fmt.Fprintln(os.Stderr, "sha256sum:", err)
			fmt.Fprintf(out, "%s: FAILED open or read\n", file)
			absent++
		case got != want:
			fmt.Fprintf(out, "%s: FAILED\n", file)
			wrong++
		case !quiet:
			fmt.Fprintf(out, "%s: OK\n", file)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	switch {
	case absent > 0:
		return fmt.Errorf("WARNING: %d listed files could not be read", absent)
	case wrong > 0:
		return fmt.Errorf("WARNING: %d computed checksums did NOT match", wrong)
	}
	return nil
}

func without(args []string, flag string) ([]string, bool) {
	rest := slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == flag })
	return rest, len(rest) < len(args)
}

func sum(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read
	hash := sha256.New()
	_, err = io.Copy(hash, f)
	return hex.EncodeToString(hash.Sum(nil)), err
}
