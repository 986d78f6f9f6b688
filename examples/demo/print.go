// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package main

import (
	"fmt"
	"os"
)

var chapters int

// style wraps text in a terminal style, unless NO_COLOR is set or the output is
// not a terminal.
func style(code, text string) string {
	info, err := os.Stdout.Stat()
	if os.Getenv("NO_COLOR") != "" || err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func heading(title, text string) {
	fmt.Printf("\n  %s  %s\n", style("1", title), text)
}

func chapter(title, command string) {
	chapters++
	fmt.Printf("\n  %s %s\n    %s\n", style("36;1", fmt.Sprintf("%d.", chapters)), style("1", title), style("2", "$ "+command))
}

func fact(name, text string) {
	fmt.Printf("    %s %-11s %s\n", style("32", "✓"), name, text)
}
