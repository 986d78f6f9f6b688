// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestPackageCommentListsAllCalls compares the package comment with the names of the
// calls in the source: permissions are granted by that list.
func TestPackageCommentListsAllCalls(t *testing.T) {
	t.Parallel()
	operation := regexp.MustCompile(`^(models|endpoints|operations|timeSeries|alertPolicies|alerts)(\.operations)?\.[a-zA-Z]+$`)
	made := map[string]bool{}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil && operation.MatchString(text) {
					made[text] = true
				}
			}
			return true
		})
	}
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(text), "# Calls")
	list, _, _ = strings.Cut(list, "Besides")
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^//\t(\S+)`).FindAllStringSubmatch(list, -1) {
		documented[m[1]] = true
	}
	for name := range made {
		if !documented[name] {
			t.Errorf("%s is called and not in the package comment", name)
		}
	}
	for name := range documented {
		if !made[name] {
			t.Errorf("%s is in the package comment and never called", name)
		}
	}
}
