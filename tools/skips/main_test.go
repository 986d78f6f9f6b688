// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"strings"
	"testing"
)

func TestReport(t *testing.T) {
	t.Parallel()
	const (
		passed   = `{"Action":"pass","Package":"p","Test":"TestA"}`
		declared = `{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:7: not installed: aws\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"--- SKIP: TestB (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestB"}`
		undeclared = `{"Action":"output","Package":"p","Test":"TestC","Output":"    c_test.go:7: flaky\n"}
{"Action":"skip","Package":"p","Test":"TestC"}`
		silent  = `{"Action":"skip","Package":"p","Test":"TestD"}`
		input   = `{"Action":"skip","Package":"p","Test":"FuzzE/seed#1"}`
		empty   = `{"Action":"skip","Package":"q"}`
		failed  = `{"Action":"fail","Package":"p","Test":"TestF"}`
		because = `{"Action":"fail","Package":"p"}`
		begun   = `{"Action":"start","Package":"s"}
{"Action":"run","Package":"s","Test":"TestG"}`
		counted = `{"Action":"output","Package":"p","Test":"TestH","Output":"    h_test.go:7: counted: 40 requests, 0 lost\n"}
{"Action":"pass","Package":"p","Test":"TestH"}`
		unbuilt = `{"Action":"fail","Package":"r"}`
	)
	for name, c := range map[string]struct {
		reason string
		events []string
		strict bool
		want   bool
		line   string
	}{
		"passed":             {"nothing was skipped", []string{passed, empty}, true, true, "PASS: 1 passed, 0 failed, 0 skipped as declared, 0 skipped otherwise"},
		"declared":           {"a client is not on this machine", []string{passed, declared}, true, true, "PASS: 1 passed, 0 failed, 1 skipped as declared, 0 skipped otherwise"},
		"undeclared":         {"a skip hides what is not tested", []string{passed, undeclared}, true, false, `skipped without a declared reason: p TestC: "flaky"`},
		"silent":             {"SkipNow gives no reason", []string{passed, silent}, true, false, `skipped without a declared reason: p TestD: ""`},
		"not strict":         {"while somebody works it is only said", []string{passed, undeclared}, false, true, "PASS: 1 passed, 0 failed, 0 skipped as declared, 1 skipped otherwise"},
		"fuzz":               {"inputs are skipped, not tests", []string{passed, input}, true, true, "PASS"},
		"failed":             {"a failure is a failure", []string{passed, failed, because}, false, false, "FAIL: 1 passed, 1 failed"},
		"does not build":     {"a package that does not build has no tests to fail", []string{passed, unbuilt}, false, false, "FAIL: 1 passed, 1 failed"},
		"ended from outside": {"a test that began and never ended did not pass", []string{passed, begun}, false, false, "FAIL: 1 passed, 2 failed"},
		"counted":            {"what a test counts is worth a line of its own", []string{counted}, true, true, "TestH: 40 requests, 0 lost\nPASS: 1 passed"},
		"nothing":            {"a run without tests proves nothing", []string{empty}, false, false, "FAIL: 0 passed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := judge(strings.NewReader(strings.Join(c.events, "\n")))
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			if got := r.report(&out, c.strict); got != c.want {
				t.Errorf("%s: good is %v, want %v", c.reason, got, c.want)
			}
			if !strings.Contains(out.String(), c.line) {
				t.Errorf("%s: got\n%swant in it\n%s", c.reason, out.String(), c.line)
			}
		})
	}
}

func TestNotEvents(t *testing.T) {
	t.Parallel()
	if _, err := judge(strings.NewReader("ok  \tp\t0.1s\n")); err == nil {
		t.Fatal("text that is not made of events was judged")
	}
}
