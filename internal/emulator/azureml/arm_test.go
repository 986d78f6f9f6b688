// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package azureml

import (
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{"PT60S": "PT1M", "PT0.5S": "PT0.5S", "PT90M": "PT1H30M", "P1D": "P1D", "P1DT36H": "P2DT12H", "PT0S": "PT0S", "PT1M30S": "PT1M30S"} {
		d, ok := duration(text)
		if !ok || isoDuration(d) != want {
			t.Errorf("%s is read as %v, %v, and written as %s, want %s", text, d, ok, isoDuration(d), want)
		}
	}
	for _, text := range []string{"", "P", "PT", "5m", "PT5", "PT-5S", "P1DT", "pt5s"} {
		if d, ok := duration(text); ok {
			t.Errorf("%q is read as %v", text, d)
		}
	}
}

func FuzzDuration(f *testing.F) {
	for _, text := range []string{"PT5M", "P1DT2H3M4.5S", "PT", "P"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, ok := duration(text)
		if !ok || d < 0 || d > 10000*24*time.Hour {
			return
		}
		again, ok := duration(isoDuration(d))
		if difference := again - d; !ok || difference > time.Microsecond || difference < -time.Microsecond {
			t.Errorf("%s is %v, and written as %s", text, d, isoDuration(d))
		}
	})
}

// Ids are what callers make of them.
func FuzzParseID(f *testing.F) {
	for _, id := range []string{"/subscriptions/s/resourceGroups/g/providers/N/workspaces/w/models/m", "/providers/N/a", "//providers//", "/subscriptions/s/providers/N/a/b/c"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		at, ok := parseID(id)
		if !ok {
			return
		}
		again, ok := parseID(at.id())
		if !ok || again.key() != at.key() {
			t.Errorf("%q is taken apart to %+v, whose id is %q", id, at, at.id())
		}
	})
}
