// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// machine is a set of namespaces (processes, network, mounts) that the processes
// of one cluster live in, and all that this cluster has on the host: a directory
// and control groups.
type machine struct {
	at     places
	name   string
	state  string // its /run, as the host sees it
	logs   string
	keeper *exec.Cmd  // the first process
	stdin  io.Closer  // the first process ends with it, and all others with that
	lock   *os.File   // locked until this process and the first process have closed it
	spaces []*os.File // the namespaces, in the order in which they are entered

	enter   sync.Once
	work    chan func() // of the thread that is in all of them
	leave   func()      // ends that thread
	entered error

	mu        sync.Mutex
	processes []*process
}

// process is one that runs until the machine stops.
type process struct {
	name string
	done chan struct{}
	err  error // how it ended; valid when done is closed
}

// newMachine makes the namespaces. What machines of tests that were killed have
// left is removed first.
func newMachine(ctx context.Context, at places) (*machine, error) {
	if err := at.build(ctx, at.bin, "./tests/cluster/node"); err != nil {
		return nil, err
	}
	m, err := at.claim()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(os.MkdirAll(m.logs, 0o755), makeGroups(m.name)); err != nil {
		return nil, errors.Join(err, m.stop())
	}
	if err := m.boot(ctx); err != nil {
		return nil, errors.Join(err, m.stop())
	}
	return m, nil
}

// claim makes the directory of a machine and locks it, after removing those that
// nobody has locked.
func (at places) claim() (*machine, error) {
	all, err := locked(filepath.Join(at.run, "lock"), unix.LOCK_EX) // one looks while no other is between making and locking
	if err != nil {
		return nil, err
	}
	defer func() { _ = all.Close() }() // unlocks
	if err := at.sweep(); err != nil {
		return nil, err
	}
	state, err := os.MkdirTemp(at.run, "ml-")
	if err != nil {
		return nil, err
	}
	m := &machine{at: at, name: filepath.Base(state), state: state, logs: filepath.Join(at.logs, filepath.Base(state)), leave: func() {}}
	m.lock, err = locked(filepath.Join(state, "lock"), unix.LOCK_EX)
	return m, err
}

func locked(file string, how int) (*os.File, error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// boot starts the first process and waits until it has prepared the namespaces.
func (m *machine) boot(ctx context.Context) error {
	log, err := m.log("node")
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has its own
	// The process outlives ctx: it ends with its standard input.
	cmd := exec.Command(filepath.Join(m.at.bin, "node"), "-state", m.state, "-bin", m.at.bin, "-debian", m.at.debian, "-address", nodeAddress, "-services", serviceRange) //nolint:noctx // see above
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS}
	cmd.Stderr = log
	cmd.ExtraFiles = []*os.File{m.lock}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	m.keeper, m.stdin = cmd, stdin
	ready := make(chan error, 1)
	go func() {
		_, err := bufio.NewReader(stdout).ReadString('\n')
		ready <- err
	}()
	select {
	case err = <-ready:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("making the namespaces: %w\n%s", err, tail(m.logs, "node"))
	}
	for _, space := range []string{"net", "pid", "mnt"} { // mnt last: it changes what /proc is
		f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", cmd.Process.Pid, space))
		if err != nil {
			return err
		}
		m.spaces = append(m.spaces, f)
	}
	return nil
}

// A thread that has been in other namespaces must not end while tests run: with it
// the kernel ends the processes that were started from it and asked for that, as
// terraform is by those who run it.

// inside does something in all namespaces, on a thread that is used for nothing else.
func (m *machine) inside(do func() error) error {
	m.enter.Do(func() {
		m.work = make(chan func())
		m.leave = sync.OnceFunc(func() { close(m.work) }) // a machine may be stopped twice
		entered := make(chan error)
		go onOwnThread(func() {
			err := unix.Unshare(unix.CLONE_FS) // a thread that shares its root cannot enter mounts
			for _, space := range m.spaces {
				if err == nil {
					err = unix.Setns(int(space.Fd()), 0)
				}
			}
			entered <- err
			for work := range m.work {
				work()
			}
		})
		m.entered = <-entered
	})
	if m.entered != nil {
		return fmt.Errorf("entering the namespaces: %w", m.entered)
	}
	done := make(chan error)
	m.work <- func() { done <- do() }
	return <-done
}

// onOwnThread does something on a thread that is of use for nothing else and ends with it,
// unless it is unlocked at the end. It is not the process's first thread, by whose
// namespaces /proc/self goes.
func onOwnThread(do func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		do()
		return
	}
	elsewhere := make(chan struct{})
	go func() {
		runtime.LockOSThread()
		close(elsewhere)
		do()
	}()
	<-elsewhere // this thread being locked, it can only be another
	runtime.UnlockOSThread()
}

// connected does something in the network of the machine, on a thread that then
// goes back to the network it came from.
func (m *machine) connected(do func() error) error {
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer func() { _ = own.Close() }() // only read
	done := make(chan error, 1)
	go onOwnThread(func() {
		if err := unix.Setns(int(m.spaces[0].Fd()), 0); err != nil {
			done <- fmt.Errorf("entering %s: %w", m.spaces[0].Name(), err)
			return
		}
		result := do()
		if err := unix.Setns(int(own.Fd()), 0); err != nil {
			done <- fmt.Errorf("leaving %s: %w", m.spaces[0].Name(), err)
			return // and the thread ends, since it is of no use here
		}
		runtime.UnlockOSThread()
		done <- result
	})
	return <-done
}

// find is the path of a program as the machine sees it.
func (m *machine) find(name string) string { return m.at.find(name) }

// dial connects as a process of the machine would.
func (m *machine) dial(ctx context.Context, address string) (conn net.Conn, err error) {
	err = m.connected(func() error {
		conn, err = (&net.Dialer{}).DialContext(ctx, "tcp", address)
		return err
	})
	return conn, err
}

// start starts a process that runs until the machine stops. Paths are the
// machine's.
func (m *machine) start(name string, env []string, argv ...string) error {
	log, err := m.log(name)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }() // the process has its own
	fmt.Fprintln(log, "+", strings.Join(argv, " "))
	cmd := &exec.Cmd{Path: argv[0], Args: argv, Dir: "/", Stdout: log, Stderr: log, Env: append(environment(), env...)}
	if err := m.inside(cmd.Start); err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	p := &process{name: name, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.processes = append(m.processes, p)
	return nil
}

// run runs a command to its end and returns its output.
func (m *machine) run(ctx context.Context, argv ...string) (string, error) {
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = "/", environment(), &out, &out
	if err := m.inside(cmd.Start); err != nil {
		return "", fmt.Errorf("starting %s: %w", argv[0], err)
	}
	if err := cmd.Wait(); err != nil {
		return out.String(), fmt.Errorf("%s: %w\n%s", strings.Join(argv, " "), err, out.Bytes())
	}
	return out.String(), nil
}

// environment is what processes of the machine know: nothing of the user's own.
func environment() []string {
	return []string{"PATH=/run/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/run", "TMPDIR=/run/tmp"}
}

// ended tells which process has ended on its own, with the end of its log.
func (m *machine) ended() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.processes {
		select {
		case <-p.done:
			return fmt.Errorf("%s has ended: %v\n%s", p.name, p.err, tail(m.logs, p.name)) //nolint:errorlint // told, not handled
		default:
		}
	}
	return nil
}

func (m *machine) log(name string) (*os.File, error) {
	return os.OpenFile(filepath.Join(m.logs, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644) //nolint:gosec // logs may be read
}

// stop ends every process and removes what the machine has on the host, but its
// logs.
func (m *machine) stop() error {
	m.leave()
	for _, f := range m.spaces {
		_ = f.Close() // nothing to lose
	}
	if m.keeper != nil {
		_ = m.stdin.Close() // the first process ends, and the kernel ends all others
		_ = m.keeper.Wait() // returns when none is left
	}
	err := errors.Join(removeGroups(m.name), os.RemoveAll(m.state))
	return errors.Join(err, m.lock.Close())
}

// sweep removes what machines have left whose tests and first process are no more,
// and all logs but the latest.
func (at places) sweep() error {
	if err := at.sweepLogs(); err != nil {
		return err
	}
	states, err := filepath.Glob(filepath.Join(at.run, "ml-*"))
	if err != nil {
		return err
	}
	for _, state := range states {
		lock, err := locked(filepath.Join(state, "lock"), unix.LOCK_EX|unix.LOCK_NB)
		if errors.Is(err, unix.EWOULDBLOCK) {
			continue // in use
		}
		if err := errors.Join(err, removeGroups(filepath.Base(state)), os.RemoveAll(state), lock.Close()); err != nil {
			return fmt.Errorf("removing what an earlier run has left: %w", err)
		}
	}
	return nil
}

// keptLogs is of how many clusters the logs are kept.
const keptLogs = 20

func (at places) sweepLogs() error {
	all, err := filepath.Glob(filepath.Join(at.logs, "ml-*"))
	if err != nil {
		return err
	}
	changed := func(dir string) int64 {
		info, err := os.Stat(dir)
		if err != nil {
			return 0
		}
		return info.ModTime().UnixNano()
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Compare(changed(a), changed(b)) })
	for _, dir := range all[:max(0, len(all)-keptLogs)] {
		if !exists(filepath.Join(at.run, filepath.Base(dir))) {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}
	return err
}
