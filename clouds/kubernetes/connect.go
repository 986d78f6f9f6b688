// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"cmp"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/hashicorp/go-hclog"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/klog/v2"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

// completed is c with what the hashicorp/kubernetes provider reads from the
// environment.
func (c *Config) completed() *Config {
	if c.Isolated {
		return c
	}
	c = new(*c)
	if len(c.ConfigPaths) == 0 {
		if path := os.Getenv("KUBE_CONFIG_PATH"); path != "" {
			c.ConfigPaths = []string{path}
		} else if paths := os.Getenv("KUBE_CONFIG_PATHS"); paths != "" {
			c.ConfigPaths = filepath.SplitList(paths)
		}
	}
	c.ConfigContext = cmp.Or(c.ConfigContext, os.Getenv("KUBE_CTX"))
	c.Host = cmp.Or(c.Host, os.Getenv("KUBE_HOST"))
	c.ClusterCACertificate = cmp.Or(c.ClusterCACertificate, os.Getenv("KUBE_CLUSTER_CA_CERT_DATA"))
	c.ClientCertificate = cmp.Or(c.ClientCertificate, os.Getenv("KUBE_CLIENT_CERT_DATA"))
	if c.ClientKey.Reveal() == "" {
		c.ClientKey = secret.New(os.Getenv("KUBE_CLIENT_KEY_DATA"))
	}
	if c.Token.Reveal() == "" {
		c.Token = secret.New(os.Getenv("KUBE_TOKEN"))
	}
	if set, err := strconv.ParseBool(os.Getenv("KUBE_INSECURE")); err == nil {
		c.Insecure = c.Insecure || set
	}
	return c
}

// loader is what reads kubeconfig files, with the configuration on top.
func (c *Config) loader() clientcmd.ClientConfig {
	c = c.completed()
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	switch {
	case len(c.ConfigPaths) > 0:
		rules = &clientcmd.ClientConfigLoadingRules{Precedence: expanded(c.ConfigPaths)}
	case c.Host != "":
		// What ~/.kube/config says of another cluster must not mix with this one.
		rules = &clientcmd.ClientConfigLoadingRules{}
	}
	o := &clientcmd.ConfigOverrides{CurrentContext: c.ConfigContext}
	if o.ClusterInfo.Server = c.Host; c.Host != "" && !strings.Contains(c.Host, "://") {
		o.ClusterInfo.Server = "https://" + c.Host
	}
	o.ClusterInfo.InsecureSkipTLSVerify = c.Insecure
	o.ClusterInfo.CertificateAuthorityData = []byte(c.ClusterCACertificate)
	o.AuthInfo.ClientCertificateData, o.AuthInfo.ClientKeyData = []byte(c.ClientCertificate), []byte(c.ClientKey.Reveal())
	o.AuthInfo.Token = c.Token.Reveal()
	if e := c.Exec; e != nil {
		exec := &clientcmdapi.ExecConfig{APIVersion: e.APIVersion, Command: e.Command, Args: e.Args, InteractiveMode: clientcmdapi.NeverExecInteractiveMode}
		for k, v := range e.Env {
			exec.Env = append(exec.Env, clientcmdapi.ExecEnvVar{Name: k, Value: v})
		}
		o.AuthInfo.Exec = exec
	}
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, o)
}

func expanded(paths []string) []string {
	all := make([]string, len(paths))
	for i, p := range paths {
		if home, err := os.UserHomeDir(); err == nil && (p == "~" || strings.HasPrefix(p, "~/")) {
			p = home + p[1:]
		}
		all[i] = p
	}
	return all
}

// namespace is the default location.
func (c *Config) namespace() (string, error) {
	if c.Namespace != "" || c.Isolated {
		return cmp.Or(c.Namespace, "default"), nil
	}
	found, _, err := c.loader().Namespace()
	return found, mlerr.Wrap(err, mlerr.InvalidArgument, "cannot read the kubeconfig")
}

// requestsPerSecond keeps client-go from slowing down what the API server's own
// priority and fairness looks after.
const (
	requestsPerSecond = 50
	requestBurst      = 100
)

// connect makes the client. Credentials are not used yet.
func (d *kubernetes) connect() (*api, error) {
	d.connecting.Do(func() { d.api, d.err = d.dial() })
	return d.api, d.err
}

// silence stops client-go from logging to where Terraform would show it to the user.
var silence = sync.OnceFunc(func() { klog.SetLogger(logr.Discard()) })

func (d *kubernetes) dial() (*api, error) {
	silence()
	cfg, err := d.cfg.loader().ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, mlerr.New(mlerr.Unauthenticated, "no cluster is configured").
			WithHint("Set the provider's kubernetes.config_path or kubernetes.host, or KUBE_CONFIG_PATH, KUBE_HOST or KUBECONFIG")
	}
	if err != nil {
		return nil, mlerr.New(mlerr.InvalidArgument, "cannot read the cluster's configuration").Because(err).
			WithHint("Check the provider's kubernetes configuration and the kubeconfig that it names")
	}
	cfg.QPS, cfg.Burst, cfg.UserAgent = requestsPerSecond, requestBurst, d.cfg.UserAgent
	if d.cfg.Isolated { // nobody else asks that API server
		cfg.QPS = -1
	}
	cfg.WarningHandler = rest.NoWarnings{} // watched tells them, with the call that they belong to
	a := &api{log: d.log, server: cfg.Host}
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper {
		if d.cfg.Transport != nil {
			rt = d.cfg.Transport(rt)
		}
		return &watched{next: rt, api: a}
	})
	client, err := rest.HTTPClientFor(cfg)
	if err == nil {
		a.client, err = dynamic.NewForConfigAndClient(cfg, client)
	}
	if err == nil {
		a.discovery, err = discovery.NewDiscoveryClientForConfigAndClient(cfg, client)
	}
	if err != nil {
		return nil, mlerr.New(mlerr.InvalidArgument, "cannot use the cluster's configuration").Because(err)
	}
	a.config = cfg
	return a, nil
}

// api is the cluster's API server.
type api struct {
	log       hclog.Logger
	server    string
	config    *rest.Config
	client    dynamic.Interface
	discovery *discovery.DiscoveryClient
	ahead     atomic.Int64 // how far the server's clock is ahead of this one, in nanoseconds

	served servedResources
}

// now is the API server's time, as its latest answer told it to the second.
func (a *api) now() time.Time { return time.Now().Add(time.Duration(a.ahead.Load())) }

// watched logs each call and its warnings, and reads the server's clock.
type watched struct {
	next http.RoundTripper
	api  *api
}

func (w *watched) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	resp, err := w.next.RoundTrip(r)
	call := r.Method + " " + r.URL.Path
	if err != nil {
		w.api.log.Debug("call", "name", call, "elapsed", time.Since(began), "error", err)
		return resp, err
	}
	w.api.log.Debug("call", "name", call, "elapsed", time.Since(began), "status", resp.StatusCode, "request_id", resp.Header.Get("Audit-Id"))
	for _, warning := range resp.Header.Values("Warning") {
		w.api.log.Warn("the API server warns", "name", call, "warning", warning)
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		w.api.ahead.Store(int64(time.Until(date)))
	}
	return resp, identified(resp)
}
