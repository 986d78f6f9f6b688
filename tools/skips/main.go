// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Command skips judges a test run by its events (go test -json): it prints what
// tests have counted, why tests were skipped and one closing line. With -strict, which CI has on, a
// skipped test is a failure unless its reason begins with a declared word.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// declared are the beginnings of the reasons that a test may be skipped for.
var declared = []string{
	"capability gap:",       // the platform cannot do it, and its Features say so
	"not installed:",        // somebody else's client that this machine does not have
	"not asked for:",        // make soak or make bench runs it
	"Terraform CLI version", // too old for what is tested; terraform-plugin-testing says so
}

func main() {
	strict := flag.Bool("strict", os.Getenv("CI") != "", "fail on skips whose reason is not declared")
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: skips [-strict] events.json")
		os.Exit(2)
	}
	r, err := read(flag.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, "skips:", err)
		os.Exit(2)
	}
	if !r.report(os.Stdout, *strict) {
		os.Exit(1)
	}
}

// result is what a run came to.
type result struct {
	counted        []string // what tests logged after "counted:", such as requests
	passed, failed int
	skipped        map[string][]string // tests by declared reason
	undeclared     map[string]string   // reason by test
}

// event is a line of test2json; see go doc test2json.
type event struct{ Action, Package, Test, Output string }

// reasonLine is how the testing package prints what Skip was given.
var reasonLine = regexp.MustCompile(`^\s+\S+\.go:\d+: (.*)$`)

func read(file string) (*result, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	return judge(f)
}

func judge(events io.Reader) (*result, error) {
	r := &result{skipped: map[string][]string{}, undeclared: map[string]string{}}
	last := map[string]string{}    // the last line that each test logged
	explained := map[string]bool{} // packages with a failed test
	running := map[string]bool{}   // packages and tests that have begun and not ended
	lines := bufio.NewScanner(events)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return nil, fmt.Errorf("this is not an event of a test: %s", lines.Text())
		}
		name := strings.TrimSpace(e.Package + " " + e.Test)
		switch e.Action {
		case "start", "run":
			running[name] = true
		case "pass", "fail", "skip":
			delete(running, name)
		}
		switch {
		case e.Action == "output":
			if m := reasonLine.FindStringSubmatch(strings.TrimRight(e.Output, "\n")); m != nil {
				last[name] = m[1]
				if text, ok := strings.CutPrefix(m[1], "counted: "); ok {
					r.counted = append(r.counted, e.Test+": "+text)
				}
			}
		case e.Action == "fail" && (e.Test != "" || !explained[e.Package]):
			r.failed++ // a package that does not build fails without a test
			explained[e.Package] = true
		case e.Test == "": // how a package ended
		case e.Action == "pass":
			r.passed++
		case e.Action == "skip":
			r.skip(name, e.Test, last[name])
		}
	}
	r.failed += len(running) // the process was ended from outside
	return r, lines.Err()
}

func (r *result) skip(name, test, reason string) {
	switch {
	case strings.HasPrefix(test, "Fuzz"):
		// A fuzz target skips inputs that it has no use for.
	case slices.ContainsFunc(declared, func(d string) bool { return strings.HasPrefix(reason, d) }):
		r.skipped[reason] = append(r.skipped[reason], name)
	default:
		r.undeclared[name] = reason
	}
}

// report prints the result and returns whether it is good.
func (r *result) report(w io.Writer, strict bool) bool {
	for _, line := range r.counted {
		fmt.Fprintln(w, line)
	}
	as := 0
	for _, reason := range slices.Sorted(maps.Keys(r.skipped)) {
		as += len(r.skipped[reason])
		fmt.Fprintf(w, "skipped %d: %s\n", len(r.skipped[reason]), reason)
	}
	for _, name := range slices.Sorted(maps.Keys(r.undeclared)) {
		fmt.Fprintf(w, "skipped without a declared reason: %s: %q\n", name, r.undeclared[name])
	}
	good := r.failed == 0 && r.passed > 0 && (!strict || len(r.undeclared) == 0)
	verdict := "FAIL"
	if good {
		verdict = "PASS"
	}
	fmt.Fprintf(w, "%s: %d passed, %d failed, %d skipped as declared, %d skipped otherwise\n", verdict, r.passed, r.failed, as, len(r.undeclared))
	return good
}
