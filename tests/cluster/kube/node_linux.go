// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"context"
	"embed"
	"errors"
	"os"
	"path/filepath"
	"text/template"
	"time"
)

// Addresses within the cluster's own network namespace.
const (
	nodeName     = "node"
	nodeAddress  = "10.243.0.1"
	serviceRange = "10.96.0.0/16"
	firstService = "10.96.0.1" // kubernetes.default
	podRange     = "10.244.0.0/16"
	nodePods     = "10.244.0.0/24" // of the one node
	apiAddress   = "127.0.0.1:6443"
)

//go:embed config
var configs embed.FS

// controlPlane starts etcd, the API server and the controllers, and returns when
// the API server is ready to serve ca's clients.
func (m *machine) controlPlane(ca *authority) error {
	if err := m.certificates(ca); err != nil {
		return err
	}
	return errors.Join(
		m.start("etcd", nil, m.find("etcd"), "--name=etcd", "--data-dir=/run/etcd", "--unsafe-no-fsync",
			"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
			"--listen-peer-urls=http://127.0.0.1:2380", "--initial-advertise-peer-urls=http://127.0.0.1:2380", "--initial-cluster=etcd=http://127.0.0.1:2380"),
		m.start("kube-apiserver", nil, m.find("kube-apiserver"), "--etcd-servers=http://127.0.0.1:2379",
			"--bind-address=0.0.0.0", "--secure-port=6443", "--advertise-address="+nodeAddress, "--service-cluster-ip-range="+serviceRange,
			"--client-ca-file=/run/pki/ca.crt", "--tls-cert-file=/run/pki/apiserver.crt", "--tls-private-key-file=/run/pki/apiserver.key",
			"--service-account-key-file=/run/pki/tokens.crt", "--service-account-signing-key-file=/run/pki/tokens.key",
			"--service-account-issuer=https://kubernetes.default.svc", "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged",
			"--kubelet-preferred-address-types=InternalIP", "--kubelet-client-certificate=/run/pki/apiserver-kubelet.crt", "--kubelet-client-key=/run/pki/apiserver-kubelet.key"),
		m.start("kube-controller-manager", nil, m.find("kube-controller-manager"), "--kubeconfig=/run/pki/kube-controller-manager.kubeconfig",
			"--use-service-account-credentials", "--service-account-private-key-file=/run/pki/tokens.key", "--root-ca-file=/run/pki/ca.crt",
			"--leader-elect=false", "--bind-address=127.0.0.1", "--allocate-node-cidrs", "--cluster-cidr="+podRange, "--service-cluster-ip-range="+serviceRange,
			"--kube-api-qps=100", "--kube-api-burst=200",
			// A busy machine is no reason to give its only node up.
			"--node-monitor-grace-period=10m"),
		m.start("kube-scheduler", nil, m.find("kube-scheduler"), "--kubeconfig=/run/pki/kube-scheduler.kubeconfig", "--leader-elect=false", "--bind-address=127.0.0.1"),
	)
}

// containers starts containerd and gives it the images, once they are written.
func (m *machine) containers(ctx context.Context, written <-chan error) error {
	err := m.configure()
	if err == nil {
		err = m.start("containerd", nil, m.find("containerd"), "--config=/run/config/containerd.toml")
	}
	if err := errors.Join(err, <-written); err != nil {
		return err
	}
	if err := m.poll(ctx, time.Minute, "containerd to answer", func(ctx context.Context) error {
		_, err := m.ctr(ctx, "version")
		return err
	}); err != nil {
		return err
	}
	_, err = m.ctr(ctx, "images", "import", "/run/"+imagesFile)
	return err
}

// workers starts what runs pods and what reaches services.
func (m *machine) workers() error {
	return errors.Join(
		m.start("kubelet", nil, m.find("kubelet"), "--config=/run/config/kubelet.yaml", "--kubeconfig=/run/pki/kubelet.kubeconfig", "--root-dir=/run/kubelet",
			"--hostname-override="+nodeName, "--node-ip="+nodeAddress),
		m.start("kube-proxy", nil, m.find("kube-proxy"), "--config=/run/config/proxy.yaml", "--hostname-override="+nodeName),
	)
}

// ctr is containerd's own client, in the namespace of kubelet's images.
func (m *machine) ctr(ctx context.Context, args ...string) (string, error) {
	return m.run(ctx, append([]string{m.find("ctr"), "--address=/run/containerd/containerd.sock", "--namespace=k8s.io"}, args...)...)
}

// certificates writes the keys of all processes to /run/pki.
func (m *machine) certificates(ca *authority) error {
	pki := filepath.Join(m.state, "pki")
	if err := errors.Join(os.Mkdir(pki, 0o700), os.Mkdir(filepath.Join(m.state, "tmp"), 0o700), os.WriteFile(filepath.Join(pki, "ca.crt"), ca.pem, 0o600)); err != nil {
		return err
	}
	for _, c := range []struct {
		file, name string
		groups     []string
		hosts      []string
	}{
		{"apiserver", "kube-apiserver", nil, []string{"127.0.0.1", "localhost", nodeAddress, firstService, "kubernetes", "kubernetes.default", "kubernetes.default.svc"}},
		{"apiserver-kubelet", "kube-apiserver-kubelet-client", []string{"system:masters"}, nil},
		{"kube-controller-manager", "system:kube-controller-manager", nil, nil},
		{"kube-scheduler", "system:kube-scheduler", nil, nil},
		{"kube-proxy", "system:kube-proxy", nil, nil},
		{"kubelet", "system:node:" + nodeName, []string{"system:nodes"}, nil},
		{"admin", "admin", []string{"system:masters"}, nil},
	} {
		pair, err := ca.issue(c.name, c.groups, c.hosts...)
		if err != nil {
			return err
		}
		config, err := encodeConfig("https://"+apiAddress, ca.pem, pair)
		if err != nil {
			return err
		}
		file := filepath.Join(pki, c.file)
		if err := errors.Join(writePair(file, pair), os.WriteFile(file+".kubeconfig", config, 0o600)); err != nil {
			return err
		}
	}
	tokens, err := signingKey()
	return errors.Join(err, writePair(filepath.Join(pki, "tokens"), tokens))
}

// configure writes the configuration files to /run/config and /run/cni.
func (m *machine) configure() error {
	values := struct{ CNI, NodePods, Pods, Group string }{m.at.plugins(), nodePods, podRange, m.name}
	all, err := template.ParseFS(configs, "config/*")
	if err != nil {
		return err
	}
	for _, t := range all.Templates() {
		dir := filepath.Join(m.state, "config")
		if filepath.Ext(t.Name()) == ".conflist" {
			dir = filepath.Join(m.state, "cni")
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		f, err := os.Create(filepath.Join(dir, t.Name()))
		if err != nil {
			return err
		}
		if err := errors.Join(t.Execute(f, values), f.Close()); err != nil {
			return err
		}
	}
	return nil
}
