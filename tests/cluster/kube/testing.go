// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// one is the cluster of a test binary.
var one struct {
	sync.Mutex

	options Options
	cluster *Cluster
	err     error
}

// Main runs the tests of a package, which share one cluster, and returns the exit
// code. When a test has failed, the cluster's logs are kept and named.
func Main(m *testing.M, o Options) int {
	one.options = o
	code := m.Run()
	one.Lock()
	defer one.Unlock()
	if one.cluster == nil {
		return code
	}
	logs := one.cluster.Logs()
	if err := one.cluster.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the cluster:", err)
		code = 1
	}
	if code != 0 && logs != "" {
		fmt.Fprintln(os.Stderr, "the logs of the cluster's processes are in", logs)
		return code
	}
	_ = os.RemoveAll(logs) // a log too many does no harm
	return code
}

// Use returns the test binary's cluster, which the first call starts. Where there
// can be none the test is skipped, except in CI.
func Use(t *testing.T) *Cluster {
	t.Helper()
	one.Lock()
	defer one.Unlock()
	if one.cluster == nil && one.err == nil {
		if reason := one.options.impossible(); reason != "" {
			if os.Getenv("CI") != "" && os.Geteuid() == 0 {
				t.Fatal("no cluster can be started: ", reason)
			}
			t.Skip("not installed: " + reason)
		}
		one.cluster, one.err = Start(context.Background(), one.options)
	}
	if one.err != nil {
		t.Fatal("the cluster did not start: ", one.err)
	}
	return one.cluster
}

// impossible is why these options give no cluster, or "".
func (o Options) impossible() string {
	if o.filled().Kubeconfig != "" {
		return ""
	}
	at, err := findPlaces()
	if err != nil {
		return err.Error()
	}
	return at.missing()
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// Namespace makes a namespace that is removed, with all that is in it, when the test
// ends. When the test fails, what became of its pods is printed first.
func (c *Cluster) Namespace(t *testing.T) string {
	t.Helper()
	base := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(t.Name()), "-"), "-")
	made, err := c.client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: base[:min(len(base), 30)] + "-", Labels: map[string]string{"ml.test/namespace": "true"},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ns := made.Name
	t.Cleanup(func() {
		ctx := context.Background() // the test's own has ended
		if t.Failed() {
			t.Log(c.describe(ctx, ns))
		}
		if err := c.removeNamespace(ctx, ns); err != nil {
			t.Errorf("removing namespace %s: %v", ns, err)
		}
	})
	if err := c.account(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	return ns
}

// account waits for a namespace's service account: without it pods are refused.
func (c *Cluster) account(ctx context.Context, ns string) error {
	return eventually(ctx, time.Minute, "the service account of "+ns, func(ctx context.Context) error {
		_, err := c.client.CoreV1().ServiceAccounts(ns).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// removeNamespace does not wait for pods to end in their own time.
func (c *Cluster) removeNamespace(ctx context.Context, ns string) error {
	now, background := int64(0), metav1.DeletePropagationBackground
	return errors.Join(
		c.client.CoreV1().Namespaces().Delete(ctx, ns, metav1.DeleteOptions{PropagationPolicy: &background}),
		c.client.CoreV1().Pods(ns).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{}),
	)
}

// describe tells how a namespace's pods are, what they have said, and what the
// cluster warns of.
func (c *Cluster) describe(ctx context.Context, ns string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "namespace %s:\n", ns)
	pods, err := c.client.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{})
	if err != nil {
		return b.String() + err.Error()
	}
	for _, p := range pods.Items {
		fmt.Fprintf(&b, "pod %s: %s %s\n", p.Name, p.Status.Phase, p.Status.Message)
		for _, s := range append(p.Status.InitContainerStatuses, p.Status.ContainerStatuses...) {
			fmt.Fprintf(&b, "  container %s (%s): ready %t, %d restarts, %s\n", s.Name, s.Image, s.Ready, s.RestartCount, s.State.String())
			lines := int64(10)
			said, err := c.client.CoreV1().Pods(ns).GetLogs(p.Name, &corev1.PodLogOptions{Container: s.Name, TailLines: &lines}).DoRaw(ctx)
			if err == nil && len(said) > 0 {
				fmt.Fprintf(&b, "    %s\n", strings.ReplaceAll(strings.TrimSpace(string(said)), "\n", "\n    "))
			}
		}
	}
	events, err := c.client.CoreV1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: "type=Warning"})
	if err != nil {
		return b.String() + err.Error()
	}
	for _, e := range events.Items {
		fmt.Fprintf(&b, "event %s %s: %s: %s\n", e.InvolvedObject.Kind, e.InvolvedObject.Name, e.Reason, e.Message)
	}
	return b.String()
}

// Example is the content of a file of the examples.
func (c *Cluster) Example(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(c.at.root, "examples", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
