// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCopyPath(t *testing.T) {
	t.Parallel()
	source := t.TempDir()
	if err := os.MkdirAll(filepath.Join(source, "fraud", "1"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(source, "fraud", "1", "model.onnx")
	if err := os.WriteFile(file, []byte("weights"), 0o600); err != nil {
		t.Fatal(err)
	}
	for from, want := range map[string]string{
		source:                   "fraud/1/model.onnx",
		"file://" + source + "/": "fraud/1/model.onnx",
		file:                     "model.onnx",
	} {
		to := t.TempDir()
		if err := run(t.Context(), []string{from, to}); err != nil {
			t.Fatalf("from %s: %v", from, err)
		}
		if got, err := os.ReadFile(filepath.Join(to, want)); err != nil || string(got) != "weights" {
			t.Errorf("from %s: %s is %q, %v", from, want, got, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	to := t.TempDir()
	for reason, args := range map[string][]string{
		"usage":        {"s3://bucket"},
		"no such file": {"/none", to},
		"not known":    {"hdfs://host/path", to},
		"no files":     {t.TempDir(), to},
	} {
		if err := run(t.Context(), args); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%v: got %v, want %q", args, err, reason)
		}
	}
	if err := write(to, "../outside", strings.NewReader("")); err == nil {
		t.Error("a file was written beside the directory")
	}
}

func TestUnder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ key, prefix, want, reason string }{
		{"fraud/1/model.onnx", "fraud/1", "model.onnx", "a file below the prefix"},
		{"fraud/1/a/b", "fraud/1", "a/b", "directories are kept"},
		{"fraud/1", "fraud/1", "1", "the object itself"},
		{"fraud/10/model.onnx", "fraud/1", "", "a key that only begins like the prefix"},
		{"fraud/1/", "fraud/1", "", "a tool's directory"},
		{"model.onnx", "", "model.onnx", "the whole bucket"},
	} {
		got, ok := under(c.key, c.prefix)
		if ok != (c.want != "") || (ok && got != c.want) {
			t.Errorf("%s: %s below %s: got %q, %t, want %q", c.reason, c.key, c.prefix, got, ok, c.want)
		}
	}
}

func TestVerify(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, list := filepath.Join(dir, "model"), filepath.Join(dir, "SHA256SUMS")
	if err := os.WriteFile(file, []byte("weights"), 0o600); err != nil {
		t.Fatal(err)
	}
	right, err := sum(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ line, said, fails string }{
		"right":  {right + "  " + file, "", ""},
		"wrong":  {strings.Repeat("0", 64) + "  " + file, file + ": FAILED\n", "1 computed checksums did NOT match"},
		"absent": {right + "  " + file + "2", file + "2: FAILED open or read\n", "1 listed files could not be read"},
		"other":  {"nonsense", "", "not a checksum"},
	} {
		if err := os.WriteFile(list, []byte(c.line+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		err := verify([]string{"-c", "--quiet", list}, &out)
		if (err == nil) != (c.fails == "") || (err != nil && !strings.Contains(err.Error(), c.fails)) || out.String() != c.said {
			t.Errorf("%s: got %v and %q, want %q and %q", name, err, out.String(), c.fails, c.said)
		}
	}
}
