// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package performance_test holds the built provider to its budgets. "make bench"
// runs it.
package performance_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"text/tabwriter"

	"github.com/mlplane/terraform-provider-ml/internal/acctest"
)

// built is the provider as it is released.
var built *acctest.Built

// TestMain does nothing without ML_BENCH=1: these tests take minutes, want a
// quiet machine, and are not part of "make test".
func TestMain(m *testing.M) {
	if os.Getenv("ML_BENCH") == "" {
		fmt.Println("budgets are measured by: make bench")
		os.Exit(0)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ml-bench-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if built, err = acctest.Build(context.Background(), dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	results.print()
	return code
}

// table is what was measured, for the end.
type table struct {
	mu   sync.Mutex
	rows [][4]string
}

var results table

func (r *table) print() {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nwhat\tmeasured\tbudget\t")
	for _, row := range r.rows {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", row[0], row[1], row[2], row[3])
	}
	w.Flush()
}

// hold notes a figure, and fails the test when it is above its budget. unit is
// how both are printed: "%.0f MB".
func hold(t *testing.T, what, unit string, figure, budget float64) {
	t.Helper()
	verdict := "ok"
	if figure > budget {
		verdict = "MISSED"
		t.Errorf("%s: "+unit+" is above the budget of "+unit, what, figure, budget)
	}
	results.mu.Lock()
	defer results.mu.Unlock()
	results.rows = append(results.rows, [4]string{what, fmt.Sprintf(unit, figure), "<= " + fmt.Sprintf(unit, budget), verdict})
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
