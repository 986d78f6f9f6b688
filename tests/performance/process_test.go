// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package performance_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

const mega = 1 << 20

// process is one provider, measured alone.
type process struct {
	cmd *exec.Cmd
	out io.ReadCloser // read to its first line, and kept open
}

// start runs the provider in a directory with that environment and returns the first line of its
// output that contains word.
func start(t *testing.T, dir, word string, env []string, args ...string) (*process, string) {
	t.Helper()
	cmd := exec.Command(built.Provider, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("the provider does not say %q: %v", word, err)
		}
		if strings.Contains(line, word) {
			return &process{cmd, out}, strings.TrimSpace(line)
		}
	}
}

// usage is what a process used in all.
type usage struct {
	cpu     time.Duration
	rss     float64 // most, in bytes
	written float64 // to disks, in bytes
}

// end ends the process.
func (p *process) end(t *testing.T) usage {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var killed *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &killed) {
		t.Fatal(err)
	}
	used := p.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return usage{p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime(), float64(used.Maxrss) * 1024, float64(used.Oublock) * 512}
}

// attached runs a terraform command that uses one provider process alone, and
// returns how long it took and what the provider used.
func attached(t *testing.T, dir string, env []string, args ...string) (time.Duration, usage) {
	t.Helper()
	p, line := start(t, dir, "TF_REATTACH_PROVIDERS=", env, "-debug")
	_, address, _ := strings.Cut(line, "TF_REATTACH_PROVIDERS=")
	began := time.Now()
	_, err := built.Run(t.Context(), dir, append(env, "TF_REATTACH_PROVIDERS="+strings.Trim(address, "'")), args...)
	took := time.Since(began)
	if err != nil {
		t.Fatal(err)
	}
	return took, p.end(t)
}

// TestBinary holds the stripped binary to its size.
func TestBinary(t *testing.T) {
	info, err := os.Stat(built.Provider)
	if err != nil {
		t.Fatal(err)
	}
	hold(t, "binary, stripped", "%.0f MB", float64(info.Size())/mega, 120)
}

func tell(t *testing.T, format string, args ...any) {
	t.Helper()
	t.Logf("%s", fmt.Sprintf(format, args...))
}
