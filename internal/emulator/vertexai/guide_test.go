// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// quotedName is the name of a call in a guide, ".copy" after "vertex_ai.models.upload"
// for another of the same collection.
var quotedName = regexp.MustCompile("`(vertex_ai\\.[a-zA-Z]+\\.|\\.)([A-Za-z]+)`")

// The guide to rehearsal names every call that a fault can be scripted for.
func TestGuideNamesCalls(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "templates", "guides", "rehearsal.md"))
	if err != nil {
		t.Fatal(err)
	}
	told, known := map[string]bool{}, map[string]bool{}
	for line := range strings.Lines(string(text)) {
		collection := ""
		for _, m := range quotedName.FindAllStringSubmatch(line, -1) {
			if m[1] != "." {
				collection = m[1]
			}
			if strings.HasPrefix(line, "|") {
				told[collection+m[2]] = true
			}
		}
	}
	for _, r := range routes {
		known["vertex_ai."+r.name] = true
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(known)), slices.Sorted(maps.Keys(told))); diff != "" {
		t.Errorf("the calls of the emulator (-) and of the guide (+): %s", diff)
	}
}
