// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

//go:build linux

// Command node is the first process of the namespaces that a cluster of the tests
// lives in: its processes, its network and its mounts end when this one ends, and
// this one ends with its standard input. So the host is left as it was found, even
// by tests that were killed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() {
	state := flag.String("state", "", "directory that becomes /run")
	bin := flag.String("bin", "", "directory that becomes /run/bin")
	debian := flag.String("debian", "", "unpacked packages, laid over /usr; may be empty")
	address := flag.String("address", "", "address of the node")
	services := flag.String("services", "", "range of the services' addresses")
	cpus := flag.Int("cpus", 16, "how many processors kubelet finds")
	flag.Parse()
	unix.CloseOnExec(3) // the lock, which only this process and its parent hold
	if err := errors.Join(mounts(*state, *bin, *debian), processors(*cpus), network(*address, *services)); err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		os.Exit(1)
	}
	go reap()
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the tests end, in whatever way
}

// mounts gives the cluster a /run, /var and /proc of its own, which only its
// processes see.
func mounts(state, bin, debian string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mounts stay private: %w", err)
	}
	type mount struct {
		source, target, kind string
		flags                uintptr
		data                 string
	}
	all := []mount{
		{bin, filepath.Join(state, "bin"), "", unix.MS_BIND, ""},
		{debian, filepath.Join(state, "debian"), "", unix.MS_BIND, ""},
		{"tmpfs", filepath.Join(state, "upper"), "tmpfs", 0, ""},
		{state, "/run", "", unix.MS_BIND | unix.MS_REC, ""},
		{"overlay", "/usr", "overlay", 0, "lowerdir=/run/debian/usr:/usr"},
		{"overlay", "/var", "overlay", 0, "lowerdir=/var,upperdir=/run/upper/var,workdir=/run/upper/work"},
		{"proc", "/proc", "proc", 0, ""},
	}
	for _, m := range all {
		if debian == "" && (strings.HasSuffix(m.target, "/debian") || m.target == "/usr") {
			continue
		}
		if m.source == "overlay" && m.target == "/var" {
			if err := errors.Join(os.Mkdir("/run/upper/var", 0o755), os.Mkdir("/run/upper/work", 0o755)); err != nil {
				return err
			}
		}
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mounting %s on %s: %w", m.source, m.target, err)
		}
	}
	return nil
}

// processors lays another list of processors over the machine's, for kubelet to
// find: requests of ordinary pods would not fit on a small machine, however little
// they really use.
func processors(n int) error {
	const cpus, nodes = "/sys/devices/system/cpu", "/sys/devices/system/node"
	kept := map[string][]byte{} // others ask for the real ones
	for _, name := range []string{"online", "possible", "present"} {
		data, err := os.ReadFile(filepath.Join(cpus, name))
		if err != nil {
			return err
		}
		kept[name] = data
	}
	for _, dir := range []string{cpus, nodes} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("mounting on %s: %w", dir, err)
		}
	}
	for name, data := range kept {
		if err := os.WriteFile(filepath.Join(cpus, name), data, 0o600); err != nil {
			return err
		}
	}
	for i := range n {
		if err := os.Mkdir(filepath.Join(cpus, fmt.Sprintf("cpu%d", i)), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// network gives the node an address, and the services' addresses a route: they are
// translated before a packet leaves, but a packet without a route is never made.
func network(address, services string) error {
	for _, line := range []string{
		"link set lo up",
		"link add node0 type bridge",
		"address add " + address + "/32 dev node0",
		"link set node0 up",
		"route add " + services + " dev node0",
	} {
		if err := ip(strings.Fields(line)...); err != nil {
			return err
		}
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o600)
}

func ip(args ...string) error {
	if _, err := exec.LookPath("ip"); err != nil {
		args = append([]string{"busybox", "ip"}, args...)
	} else {
		args = append([]string{"ip"}, args...)
	}
	if out, err := exec.CommandContext(context.Background(), args[0], args[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// reap collects processes whose parents have ended, as the first process must.
func reap() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	for range ended {
		for {
			pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
			if pid <= 0 || (err != nil && !errors.Is(err, syscall.EINTR)) {
				break
			}
		}
	}
}
