// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// TestPackageCommentListsAllCalls compares the package comment with the calls in the
// source: permissions are granted by that list.
func TestPackageCommentListsAllCalls(t *testing.T) {
	t.Parallel()
	made, files := map[string]bool{}, 0
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range entries {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files++
		ast.Inspect(parsed, func(n ast.Node) bool {
			if call, ok := n.(*ast.SelectorExpr); ok {
				if name := callName(call); name != "" {
					made[name] = true
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
	t.Logf("%d calls in %d files", len(made), files)
}

// callName is the platform's name of a call: "ModelVersions.List" of
// w.c.ModelVersions.NewListPager.
func callName(call *ast.SelectorExpr) string {
	client, ok := call.X.(*ast.SelectorExpr)
	if !ok || client.Sel.Name == "Operations" {
		return ""
	}
	if _, ok := reflect.TypeFor[clients]().FieldByName(client.Sel.Name); !ok {
		return ""
	}
	name := strings.TrimPrefix(call.Sel.Name, "Begin")
	if paged, ok := strings.CutSuffix(strings.TrimPrefix(name, "New"), "Pager"); ok {
		name = paged
	}
	return client.Sel.Name + "." + name
}
