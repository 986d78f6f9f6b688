// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/gofrs/flock"
)

// places are where the programs are and where a cluster keeps its files, all in
// .cache/cluster of the checkout.
type places struct {
	root      string // of the checkout
	bin       string // programs that make cluster-tools has built
	debian    string // packages that it has unpacked; "" when there are none
	programs  string // of the images, built when a cluster starts
	manifests string // of other projects
	run       string
	logs      string
}

// tools are the programs that a cluster cannot do without.
var tools = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy",
	"containerd", "containerd-shim-runc-v2", "ctr", "runc", "iptables", "busybox", "bash-static", "kube-rbac-proxy", "kserve-manager", "traefik", "prometheus"}

func findPlaces() (places, error) {
	root, err := os.Getwd()
	for ; err == nil; root = filepath.Dir(root) {
		if exists(filepath.Join(root, "go.mod")) {
			break
		}
		if root == filepath.Dir(root) {
			err = errors.New("the tests do not run in a checkout: there is no go.mod")
		}
	}
	if err != nil {
		return places{}, err
	}
	cache := filepath.Join(root, ".cache", "cluster")
	at := places{
		root: root, bin: filepath.Join(cache, "bin"), debian: filepath.Join(cache, "debian"), programs: filepath.Join(cache, "programs"),
		manifests: filepath.Join(cache, "manifests"), run: filepath.Join(cache, "run"), logs: filepath.Join(cache, "logs"),
	}
	if !exists(at.debian) {
		at.debian = ""
	}
	return at, errors.Join(os.MkdirAll(at.bin, 0o755), os.MkdirAll(at.programs, 0o755), os.MkdirAll(at.run, 0o755))
}

// find is the path of a program as the machine sees it, or "".
func (at places) find(name string) string {
	if exists(filepath.Join(at.bin, name)) {
		return "/run/bin/" + name
	}
	for _, dir := range []string{"/usr/sbin", "/usr/bin"} {
		if at.debian != "" && exists(filepath.Join(at.debian, dir, name)) {
			return filepath.Join(dir, name)
		}
	}
	path, _ := exec.LookPath(name)
	return path
}

// host is the path of one of the tools as this process sees it.
func (at places) host(name string) string {
	path := at.find(name)
	switch {
	case filepath.Dir(path) == "/run/bin":
		return filepath.Join(at.bin, name)
	case at.debian != "":
		if unpacked := filepath.Join(at.debian, path); exists(unpacked) {
			return unpacked
		}
	}
	return path
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// plugins is where the programs are that give pods their network.
func (at places) plugins() string {
	if at.debian == "" {
		return "/opt/cni/bin"
	}
	return "/usr/lib/cni"
}

// missing is why no cluster can be started here, or "".
func (at places) missing() string {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return "a cluster needs root on Linux, or ML_TEST_KUBECONFIG"
	}
	if !capable() {
		return "a cluster needs the capabilities CAP_SYS_ADMIN and CAP_NET_ADMIN, which root in a container lacks, or ML_TEST_KUBECONFIG"
	}
	var none []string
	for _, name := range tools {
		if at.find(name) == "" {
			none = append(none, name)
		}
	}
	if len(none) > 0 {
		return strings.Join(none, ", ") + "; make cluster-tools makes them"
	}
	return ""
}

// capable is whether this process may make namespaces, mounts and links.
func capable() bool {
	const netAdmin, sysAdmin = 12, 21
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(status), "\nCapEff:\t")
	line, _, _ := strings.Cut(rest, "\n")
	has, err := strconv.ParseUint(line, 16, 64)
	return err == nil && has&(1<<netAdmin) != 0 && has&(1<<sysAdmin) != 0
}

// build builds programs of this module, statically, one process at a time.
func (at places) build(ctx context.Context, dir string, packages ...string) error {
	lock := flock.New(filepath.Join(at.run, "build.lock"))
	if err := lock.Lock(); err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // unlocks
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-trimpath", "-ldflags", "-s -w", "-o", dir + "/"}, packages...)...)
	cmd.Dir = at.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w\n%s", strings.Join(packages, ", "), err, out)
	}
	return nil
}
