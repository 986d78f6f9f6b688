// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// namedTest is how a document names a test: `clouds/drivertest: RolledBack`.
var namedTest = regexp.MustCompile("`([a-z0-9_/]+): ([A-Za-z0-9_]+)`")

// TestPromisesNameRealTests: a promise is worth the test that fails when it is
// broken.
func TestPromisesNameRealTests(t *testing.T) {
	t.Parallel()
	promises := strings.Split(read(t, "templates/guides/promises.md"), "\n## ")[1:]
	if len(promises) != 6 {
		t.Errorf("there are %d promises, and should be six", len(promises))
	}
	for _, p := range promises {
		title, _, _ := strings.Cut(p, "\n")
		named := namedTest.FindAllStringSubmatch(p, -1)
		if len(named) == 0 {
			t.Errorf("%q names no test", title)
		}
		for _, m := range named {
			if !declares(t, m[1], m[2]) {
				t.Errorf("%q names %s in %s, which does not exist", title, m[2], m[1])
			}
		}
	}
}

// declares reports whether a folder has that test, or that scenario of the
// conformance suite.
func declares(t *testing.T, folder, name string) bool {
	t.Helper()
	for _, file := range glob(t, folder+"/*.go") {
		text := read(t, file)
		for _, form := range []string{"\nfunc " + name + "(t *testing.T)", "{\"" + name + "\", \"", "t.Run(\"" + name + "\", "} {
			if strings.Contains(text, form) {
				return true
			}
		}
	}
	return false
}

// quoted is what stands in backquotes.
var quoted = regexp.MustCompile("`([^`\n]+)`")

// TestPathsExist: a path in the texts for contributors is a path of the
// repository.
func TestPathsExist(t *testing.T) {
	t.Parallel()
	for _, document := range []string{"README.md", "CONTRIBUTING.md"} {
		for _, m := range quoted.FindAllStringSubmatch(read(t, document), -1) {
			path := strings.TrimPrefix(m[1], "./")
			top, _, nested := strings.Cut(path, "/")
			if _, err := os.Stat(filepath.Join(root, top)); !nested || err != nil || strings.ContainsAny(path, " <*") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, path)); err != nil {
				t.Errorf("%s names %s, which does not exist", document, path)
			}
		}
	}
}
