// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// holding makes the test binary start a cluster, say where it is, and wait to be
// killed.
const holding = "ML_TEST_HOLD_CLUSTER"

func TestMain(m *testing.M) {
	if os.Getenv(holding) != "" {
		hold()
	}
	os.Exit(Main(m, Options{}))
}

func hold() {
	c, err := Start(context.Background(), Options{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Printf("%s %s\n", c.machine.name, space(c.machine.keeper.Process.Pid))
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// pod runs something in a cluster that has mounts, addresses and rules of its own.
const pod = `
apiVersion: v1
kind: Pod
metadata: {name: busy, labels: {app: busy}}
spec:
  volumes: [{name: data, emptyDir: {medium: Memory}}]
  containers:
  - name: store
    image: ml.test/services:1
    args: [registry]
    ports: [{containerPort: 8080, hostPort: 8080}]
    volumeMounts: [{name: data, mountPath: /data}]
    readinessProbe: {httpGet: {path: /v2/, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: busy}
spec: {selector: {app: busy}, ports: [{port: 80, targetPort: 8080}]}
`

func TestStopLeavesNothing(t *testing.T) { // not in parallel: it looks at the whole host
	need(t)
	before := host(t)
	c, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Stop() }() // again, if the test fails before its end
	if err := c.Apply(t.Context(), "default", pod); err != nil {
		t.Fatal(err)
	}
	if err := c.PodReady(t.Context(), "default", "busy"); err != nil {
		t.Fatal(err)
	}
	name, space := c.machine.name, space(c.machine.keeper.Process.Pid)
	running := within(t, name, space)
	for _, process := range []string{"node", "etcd", "kubelet", "containerd-shim", "pause", "services"} {
		if !slices.Contains(running, process) {
			t.Errorf("%s is not found among the cluster's processes: %v", process, running)
		}
	}
	if diff := cmp.Diff(before, host(t)); diff != "" {
		t.Errorf("a running cluster shows on the host (-before +now):\n%s", diff)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	gone(t, c.at, name, space)
	if diff := cmp.Diff(before, host(t)); diff != "" {
		t.Errorf("a stopped cluster shows on the host (-before +now):\n%s", diff)
	}
}

// TestKilled is that nothing runs on when the tests are killed, and that the next
// cluster removes the files that they have left.
func TestKilled(t *testing.T) {
	need(t)
	held := exec.Command(os.Args[0])
	held.Env = append(os.Environ(), holding+"=1")
	stdin, err := held.StdinPipe() // stays open
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := held.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := held.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	name, space, _ := strings.Cut(strings.TrimSpace(line), " ")
	if err != nil || !strings.HasPrefix(space, "pid:") {
		t.Fatalf("the cluster did not start: %s %v", line, err)
	}
	if len(within(t, name, space)) == 0 {
		t.Fatal("no process of the cluster is found")
	}
	if err := held.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = held.Wait()
	Eventually(t, 20*time.Second, "the cluster's processes to end", func(context.Context) error {
		if left := within(t, name, space); len(left) > 0 {
			return fmt.Errorf("these run: %v", left)
		}
		return nil
	})
	at, err := findPlaces()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(at.run, name)); err != nil {
		t.Errorf("a killed test has no chance to remove its files, and yet: %v", err)
	}
	next, err := at.claim()
	if err != nil {
		t.Fatal(err)
	}
	if err := next.stop(); err != nil {
		t.Error(err)
	}
	gone(t, at, name, space)
}

// TestOther opens a cluster as one that was there already, which is reached through
// its API alone.
func TestOther(t *testing.T) {
	t.Parallel()
	own := Use(t)
	c, err := Start(t.Context(), Options{Kubeconfig: own.Kubeconfig(), Images: "ml.test"})
	if err != nil {
		t.Fatal(err)
	}
	ns := c.Namespace(t)
	if err := c.Apply(t.Context(), ns, pod); err != nil {
		t.Fatal(err)
	}
	if err := c.PodReady(t.Context(), ns, "busy"); err != nil {
		t.Fatal(err)
	}
	for target, port := range map[string]int{"pod/busy": 8080, "service/busy": 80} {
		address, stop, err := c.Forward(t.Context(), ns, target, port)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "GET /v2/ HTTP/1.0\r\n\r\n")
		if answer, err := io.ReadAll(conn); err != nil || !bytes.HasPrefix(answer, []byte("HTTP/1.0 200")) {
			t.Errorf("%s: %s %v", target, answer, err)
		}
		_ = conn.Close()
		stop()
	}
	if _, _, err := c.Forward(t.Context(), ns, "service/none", 80); err == nil {
		t.Error("a service that is not there was forwarded")
	}
	if c.Own() || c.Logs() != "" || c.Image(ModelServer) != ModelServer {
		t.Errorf("own %t, logs %q, image %s", c.Own(), c.Logs(), c.Image(ModelServer))
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := own.Client().Discovery().ServerVersion(); err != nil {
		t.Errorf("stopping ended somebody else's cluster: %v", err)
	}
}

// host is what a cluster could leave behind on this machine, besides its own files.
func host(t *testing.T) map[string]string {
	t.Helper()
	state := map[string]string{}
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		state["links"] += l.Name + " "
	}
	for _, file := range []string{"/proc/self/mountinfo", "/proc/net/route", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/ipv4/conf/all/route_localnet"} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		state[file] = string(data)
	}
	for _, dir := range []string{"/run/netns", "/run/containerd", "/run/flannel", "/var/lib/kubelet", "/var/lib/cni", "/var/lib/containerd", "/var/lib/etcd",
		"/var/log/pods", "/var/log/containers", "/etc/cni", "/opt/containerd", "/etc/kubernetes", "/usr/libexec/kubernetes"} {
		if exists(dir) {
			state["directories"] += dir + " "
		}
	}
	at, err := findPlaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range []string{"iptables-save", "ip6tables-save"} {
		save := exec.Command(at.host(family))
		libraries, _ := filepath.Glob(filepath.Join(at.debian, "usr", "lib", "*-linux-gnu"))
		save.Env = []string{"LD_LIBRARY_PATH=" + strings.Join(libraries, ":")}
		out, err := save.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", family, err, out)
		}
		for line := range strings.Lines(string(out)) {
			if !strings.HasPrefix(line, "#") { // when it was saved
				state[family] += line
			}
		}
	}
	return state
}

// space is the process namespace of a process.
func space(pid int) string {
	link, _ := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", pid))
	return link
}

// within are the processes of a cluster: of its namespace, and of its control groups,
// which those of its containers are in.
func within(t *testing.T, name, space string) (names []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		process := filepath.Dir(filepath.Dir(link))
		in, _ := os.Readlink(link) // it may have ended
		groups, _ := os.ReadFile(filepath.Join(process, "cgroup"))
		if in == space || bytes.Contains(groups, []byte("/"+name+"/")) {
			command, _ := os.ReadFile(filepath.Join(process, "comm"))
			names = append(names, strings.TrimSpace(string(command)))
		}
	}
	return names
}

// gone checks that a cluster has no processes, files and control groups any more.
func gone(t *testing.T, at places, name, space string) {
	t.Helper()
	if left := within(t, name, space); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	if exists(filepath.Join(at.run, name)) {
		t.Errorf("its files are left in %s", filepath.Join(at.run, name))
	}
	roots, err := hierarchies()
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range roots {
		if exists(filepath.Join(root, name)) {
			t.Errorf("control groups are left: %s", filepath.Join(root, name))
		}
	}
}
