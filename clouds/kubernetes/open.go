// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package kubernetes

import (
	"cmp"
	"net/http"
	"regexp"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/artifact"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

// Config is how the user's cluster is reached, and what is put into it. The zero
// value is client-go's default: KUBECONFIG, ~/.kube/config, and inside of a pod its
// service account.
type Config struct {
	ConfigPaths          []string // kubeconfig files, merged
	ConfigContext        string
	Host                 string // URL of the API server; switches kubeconfig files off
	Token                secret.String
	ClusterCACertificate string // PEM
	ClientCertificate    string // PEM
	ClientKey            secret.String
	Insecure             bool
	Exec                 *Exec

	Namespace     string   // default location; "" is the kubeconfig's
	Serving       string   // "deployment" (default) or "kserve"
	Gateway       *Gateway // nil exposes endpoints inside of the cluster only
	StagingURI    string   // "s3://bucket/prefix", "oci://registry/repository" or "pvc://claim/prefix"
	StorageSecret string   // Secret whose keys are the environment of what fetches artifacts
	Images        Images
	Metrics       map[string]string // names in custom.metrics.k8s.io by metric type
	Prometheus    Prometheus

	S3        S3                                        // how staging reaches S3
	Isolated  bool                                      // reads neither the environment nor files; needs Host
	Transport func(http.RoundTripper) http.RoundTripper // wraps every call to the API server and to Prometheus; nil is none
	Logger    hclog.Logger                              // nil discards
	UserAgent string                                    // "product/version"
}

// Exec is a command that prints credentials (client.authentication.k8s.io).
type Exec struct {
	APIVersion, Command string
	Args                []string
	Env                 map[string]string
}

// Gateway is a Gateway of the Gateway API, made by whoever runs the cluster.
type Gateway struct {
	Name      string
	Namespace string // "" is the endpoint's
	Hostname  string // domain below which each endpoint has a host; "" gives each a path instead
}

// Images are the containers that stand beside the model.
type Images struct {
	Fetch string // brings the artifact: a KServe storage initializer, with a shell and sha256sum
	Auth  string // stands in front of the model: kube-rbac-proxy
}

// S3 is where staging finds S3. The zero value is the SDK's default.
type S3 struct {
	Region, EndpointURL  string
	AccessKey, SecretKey secret.String
}

// The default images.
const (
	fetchImage = "kserve/storage-initializer:v0.20.0"
	authImage  = "quay.io/brancz/kube-rbac-proxy:v0.19.1"
)

// The serving modes.
const (
	servingDeployment = "deployment"
	servingKServe     = "kserve"
)

// kubernetes is the driver.
type kubernetes struct {
	cfg Config
	log hclog.Logger

	connecting sync.Once
	api        *api
	err        error

	snapshots snapshots
	verified  verified
	gateways  gateways
	images    *artifact.Registry

	observing   sync.Once
	observed    *observer
	observerErr error
}

var _ driver.Driver = (*kubernetes)(nil)

// Open makes the driver. It never dials out: the cluster is first looked for by the
// first call. Impossible combinations are InvalidArgument.
func Open(c Config) (driver.Driver, error) {
	c.Serving = cmp.Or(c.Serving, servingDeployment)
	c.Images.Fetch, c.Images.Auth = cmp.Or(c.Images.Fetch, fetchImage), cmp.Or(c.Images.Auth, authImage)
	if !c.Isolated {
		c.Prometheus.complete()
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	d := &kubernetes{cfg: c, log: c.Logger, images: artifact.NewRegistry(nil)}
	if d.log == nil {
		d.log = hclog.NewNullLogger()
	}
	return d, nil
}

func (c *Config) check() error {
	var all mlerr.List
	refuse := func(bad bool, path, format string, args ...any) {
		if bad {
			all.Add(mlerr.New(mlerr.InvalidArgument, format, args...).At("%s", path))
		}
	}
	refuse(c.Serving != servingDeployment && c.Serving != servingKServe, "serving", "serving must be deployment or kserve, is %q", c.Serving)
	refuse(c.Namespace != "" && !dnsLabel.MatchString(c.Namespace), "namespace", "%q is not the name of a namespace", c.Namespace)
	refuse((c.ClientCertificate == "") != (c.ClientKey.Reveal() == ""), "client_certificate", "client_certificate and client_key must be given together")
	if g := c.Gateway; g != nil {
		refuse(g.Name == "", "gateway", "gateway needs a name")
		refuse(g.Hostname != "" && !domainName.MatchString(g.Hostname), "gateway", "gateway.hostname must be a domain name, is %q", g.Hostname)
	}
	all.Add(c.Prometheus.check())
	if c.StagingURI != "" {
		at, err := artifact.Parse(c.StagingURI)
		refuse(err != nil, "staging_uri", "staging_uri must be like s3://bucket/prefix, oci://registry/repository or pvc://claim/prefix, is %q", c.StagingURI)
		refuse(err == nil && at.Scheme != artifact.SchemeS3 && at.Scheme != artifact.SchemeOCI && at.Scheme != artifact.SchemeClaim, "staging_uri",
			"this release copies artifacts to s3://, oci:// and pvc:// for kubernetes, and staging_uri is %q", c.StagingURI)
		refuse(err == nil && at.Scheme == artifact.SchemeOCI && strings.ContainsAny(at.Path[strings.LastIndexByte(at.Path, '/')+1:], ":@"), "staging_uri",
			"staging_uri names a repository, without a tag or digest; it is %q", c.StagingURI)
	}
	return all.Err()
}

var domainName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`)

var dnsLabel = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Locate returns the namespace, or the default one of the configuration or of the
// kubeconfig.
func (d *kubernetes) Locate(location string) (string, error) {
	if location == "" {
		var err error
		if location, err = d.cfg.namespace(); err != nil {
			return "", err
		}
	}
	if !dnsLabel.MatchString(location) {
		return "", mlerr.New(mlerr.InvalidArgument, "%q is not the name of a namespace", location).At("location").
			WithHint("Use 1 to 63 lower-case letters, digits and hyphens")
	}
	return location, nil
}

// ParseNativeID understands "namespace/name".
func (d *kubernetes) ParseNativeID(_ driver.Kind, id string) (driver.Key, bool) {
	namespace, name, ok := strings.Cut(id, "/")
	if !ok || !dnsLabel.MatchString(namespace) || !dnsLabel.MatchString(name) {
		return driver.Key{}, false
	}
	return driver.Key{Platform: driver.Kubernetes, Location: namespace, Name: name}, true
}
