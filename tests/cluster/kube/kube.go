// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package kube gives tests a real Kubernetes: etcd, the API server, the controllers,
// the scheduler, containerd, kubelet and kube-proxy, with one node whose pods really
// run. All of it lives in namespaces of its own (processes, network, mounts), so
// that the host is left as it was found, and any number of clusters run side by side.
// The node claims 16 processors, whatever the machine has, so that ordinary requests
// of pods fit; no names are served, so pods reach services by their addresses.
//
//	func TestMain(m *testing.M) { os.Exit(kube.Main(m, kube.Options{})) }
//
//	func TestIt(t *testing.T) {
//		t.Parallel()
//		c := kube.Use(t) // started by the first test that asks
//		ns := c.Namespace(t)
//		…
//	}
//
// Tests reach what is inside through ports on the loopback (Forward), or through the
// API server's proxy. With ML_TEST_KUBECONFIG the tests use that cluster instead, and
// take the images of this package from the registry that ML_TEST_IMAGES names.
package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
)

// Options say which cluster.
type Options struct {
	Kubeconfig string // of a cluster to use instead of starting one; "" means ML_TEST_KUBECONFIG
	Images     string // where that cluster finds the images of this package, such as registry.example/ml; "" means ML_TEST_IMAGES
}

// Cluster is a Kubernetes for tests. Its methods may be called from parallel tests.
type Cluster struct {
	at         places
	machine    *machine // nil for a cluster that was there already
	images     string   // prefix of images, for a cluster that was there already
	ca         *authority
	config     *rest.Config
	kubeconfig string
	client     *kubernetes.Clientset
	dynamic    *dynamic.DynamicClient
	mapper     *restmapper.DeferredDiscoveryRESTMapper
	closers    []func()

	shared struct {
		sync.Mutex

		started map[string]any // what is started once, on demand
	}
}

// Start starts a cluster, which takes some 5 seconds, or opens the one of the
// options. Stop ends it; so does the end of this process, however it comes.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	at, err := findPlaces()
	if err != nil {
		return nil, err
	}
	ca, err := newAuthority()
	if err != nil {
		return nil, err
	}
	c := &Cluster{at: at, ca: ca}
	c.shared.started = map[string]any{}
	if o = o.filled(); o.Kubeconfig != "" {
		c.kubeconfig, c.images = o.Kubeconfig, o.Images
		err = c.connect()
	} else {
		err = c.start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (o Options) filled() Options {
	if o.Kubeconfig == "" {
		o.Kubeconfig = os.Getenv("ML_TEST_KUBECONFIG")
	}
	if o.Images == "" {
		o.Images = os.Getenv("ML_TEST_IMAGES")
	}
	return o
}

// start starts a cluster of our own, as much of it as possible at once.
func (c *Cluster) start(ctx context.Context) error {
	machine, err := newMachine(ctx, c.at)
	if err != nil {
		return err
	}
	c.machine = machine
	images := make(chan error, 1)
	go func() { images <- c.at.writeImages(ctx, filepath.Join(machine.state, imagesFile), c.ca.pem) }()
	if err := machine.controlPlane(c.ca); err != nil {
		return errors.Join(err, <-images)
	}
	workers := make(chan error, 1)
	go func() { workers <- machine.containers(ctx, images) }()
	err = errors.Join(c.loopback(), c.connect(), c.answers(ctx))
	if err := errors.Join(err, <-workers); err != nil {
		return err
	}
	return errors.Join(machine.workers(), c.ready(ctx), c.account(ctx, metav1.NamespaceDefault))
}

// loopback lets this process and those it starts reach the API server, and writes
// a kubeconfig for them.
func (c *Cluster) loopback() error {
	address, stop, err := relay(func(ctx context.Context) (io.ReadWriteCloser, error) { return c.machine.dial(ctx, apiAddress) })
	if err != nil {
		return err
	}
	c.closers = append(c.closers, stop)
	pair, err := readPair(filepath.Join(c.machine.state, "pki", "admin"))
	if err != nil {
		return err
	}
	config, err := encodeConfig("https://"+address, c.ca.pem, pair)
	if err != nil {
		return err
	}
	c.kubeconfig = filepath.Join(c.machine.state, "kubeconfig")
	return os.WriteFile(c.kubeconfig, config, 0o600)
}

// connect makes the clients.
func (c *Cluster) connect() (err error) {
	if c.config, err = clientcmd.BuildConfigFromFlags("", c.kubeconfig); err != nil {
		return err
	}
	c.config.QPS, c.config.Burst = -1, -1 // the tests know what they ask for
	c.config.UserAgent = "ml-tests"
	if c.client, err = kubernetes.NewForConfig(c.config); err != nil {
		return err
	}
	if c.dynamic, err = dynamic.NewForConfig(c.config); err != nil {
		return err
	}
	c.mapper = newMapper(c.client)
	return nil
}

// answers waits for the API server.
func (c *Cluster) answers(ctx context.Context) error {
	return c.machine.poll(ctx, 2*time.Minute, "the API server to be ready", func(ctx context.Context) error {
		return c.client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// ready waits for the node.
func (c *Cluster) ready(ctx context.Context) error {
	return c.machine.poll(ctx, 2*time.Minute, "the node to be ready", func(ctx context.Context) error {
		node, err := c.client.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
				return nil
			}
		}
		return fmt.Errorf("its conditions are %+v", node.Status.Conditions)
	})
}

// Stop ends the cluster: its processes, pods, network and files. Of a cluster that
// was there already it closes the connections.
func (c *Cluster) Stop() error {
	for _, stop := range c.closers {
		stop()
	}
	if c.machine == nil {
		return nil
	}
	return c.machine.stop()
}

// Own reports whether the cluster was started by the tests.
func (c *Cluster) Own() bool { return c.machine != nil }

// REST is the configuration of an administrator's client.
func (c *Cluster) REST() *rest.Config { return rest.CopyConfig(c.config) }

// Kubeconfig is the path of an administrator's kubeconfig.
func (c *Cluster) Kubeconfig() string { return c.kubeconfig }

// As is the path of a kubeconfig of another user, who may do what roles allow that
// bind the user or one of the groups.
func (c *Cluster) As(t *testing.T, user string, groups ...string) string {
	t.Helper()
	config, err := clientcmd.LoadFromFile(c.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	groups = append([]string{"system:authenticated"}, groups...)
	for _, auth := range config.AuthInfos {
		auth.Impersonate, auth.ImpersonateGroups = user, groups
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// Client is a typed client of an administrator.
func (c *Cluster) Client() kubernetes.Interface { return c.client }

// Dynamic is a client for objects of any kind.
func (c *Cluster) Dynamic() dynamic.Interface { return c.dynamic }

// CA is the certificate, in PEM, that the images of this package trust and that
// Issue signs with.
func (c *Cluster) CA() []byte { return c.ca.pem }

// Issue makes a certificate that CA has signed: a client's, and a server's too when
// it has hosts.
func (c *Cluster) Issue(name string, groups []string, hosts ...string) (Pair, error) {
	return c.ca.issue(name, groups, hosts...)
}

// Logs is the directory with the log of each of the cluster's processes; "" for a
// cluster that was there already.
func (c *Cluster) Logs() string {
	if c.machine == nil {
		return ""
	}
	return c.machine.logs
}
