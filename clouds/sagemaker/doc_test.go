// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestPackageCommentListsAllCalls compares the package comment with the calls in
// the source: permissions are granted by that list.
func TestPackageCommentListsAllCalls(t *testing.T) {
	t.Parallel()
	made := map[string]bool{}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	operation := regexp.MustCompile(`^(Add|Create|Delete|Deregister|Describe|Get|Invoke|List|Put|Register|Update)[A-Z]`)
	apis := []string{"sm", "runtime", "scaling", "watch"}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			selector, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			name := selector.Sel.Name
			if client, ok := selector.X.(*ast.SelectorExpr); ok && slices.Contains(apis, client.Sel.Name) && operation.MatchString(name) {
				made[name] = true
			}
			if paged, ok := strings.CutSuffix(strings.TrimPrefix(name, "New"), "Paginator"); ok {
				made[paged] = true
			}
			return true
		})
	}
	documented := map[string]bool{}
	text, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(text), "# Calls")
	list, _, _ = strings.Cut(list, "Besides")
	for _, word := range regexp.MustCompile(`[A-Za-z]+`).FindAllString(list, -1) {
		if operation.MatchString(word) {
			documented[word] = true
		}
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
