// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

// Config is how the user's AWS account is reached. The zero value is the SDK's
// default: environment, shared files, container and instance credentials.
type Config struct {
	Region                                    string // default location; "" leaves it to AWS_REGION and the profile
	Profile                                   string
	SharedConfigFiles, SharedCredentialsFiles []string
	AccessKey                                 string
	SecretKey, Token                          secret.String
	AssumeRole                                *AssumeRole
	AssumeRoleWithWebIdentity                 *WebIdentity
	ExecutionRoleARN                          string       // default role of models and endpoints
	StagingURI                                string       // "s3://bucket/prefix" where artifacts are copied to
	EndpointURL                               string       // one base URL for every API; switches the client-side rate limit off
	Isolated                                  bool         // reads neither the environment nor shared files; needs Region, AccessKey, SecretKey and EndpointURL
	HTTPClient                                *http.Client // nil is the SDK's
	Logger                                    hclog.Logger // nil discards
	UserAgent                                 string       // "product/version"
}

// AssumeRole is a role to take with the other credentials (sts:AssumeRole).
type AssumeRole struct {
	RoleARN, SessionName, ExternalID string
	Duration                         time.Duration // 0 is 15 minutes, renewed as needed
}

// WebIdentity is a role to take with an OIDC token
// (sts:AssumeRoleWithWebIdentity). The token is given, or read from the file
// whenever the credentials are renewed.
type WebIdentity struct {
	RoleARN, SessionName string
	WebIdentityToken     secret.String
	WebIdentityTokenFile string
}

// sagemaker is the driver.
type sagemaker struct {
	cfg     Config
	log     hclog.Logger
	limiter *rate.Limiter // nil without limit
	now     func() time.Time

	mu      sync.Mutex
	regions map[string]*region

	home sync.Once // finds the default region
	homeRegion
}

type homeRegion struct {
	name string
	err  error
}

var _ driver.Driver = (*sagemaker)(nil)

// The client-side limit. SageMaker's own limits are unpublished, and small: a
// few requests a second for each operation of an account and region.
const (
	requestsPerSecond = 5
	requestBurst      = 10
)

// Open makes the driver. It never dials out: credentials are first used by the
// first call. Impossible combinations are InvalidArgument.
func Open(c Config) (driver.Driver, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	d := &sagemaker{cfg: c, log: c.Logger, now: time.Now, regions: map[string]*region{}}
	if d.log == nil {
		d.log = hclog.NewNullLogger()
	}
	if c.EndpointURL == "" {
		d.limiter = rate.NewLimiter(requestsPerSecond, requestBurst)
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
	refuse((c.AccessKey == "") != (c.SecretKey.Reveal() == ""), "access_key", "access_key and secret_key must be given together")
	refuse(c.Region != "" && !regionName.MatchString(c.Region), "region", "%q is not the name of an AWS region", c.Region)
	refuse(c.ExecutionRoleARN != "" && !roleARN.MatchString(c.ExecutionRoleARN), "execution_role_arn", "%q is not the ARN of an IAM role", c.ExecutionRoleARN)
	refuse(c.StagingURI != "" && !strings.HasPrefix(c.StagingURI, "s3://"), "staging_uri", "staging_uri must be like s3://bucket/prefix, is %q", c.StagingURI)
	refuse(c.EndpointURL != "" && !strings.Contains(c.EndpointURL, "://"), "endpoint_url", "endpoint_url must be an absolute URL, is %q", c.EndpointURL)
	refuse(c.AssumeRole != nil && c.AssumeRoleWithWebIdentity != nil, "assume_role", "assume_role and assume_role_with_web_identity exclude each other")
	if w := c.AssumeRoleWithWebIdentity; w != nil {
		refuse((w.WebIdentityToken.Reveal() == "") == (w.WebIdentityTokenFile == ""), "assume_role_with_web_identity",
			"exactly one of web_identity_token and web_identity_token_file must be given")
	}
	return all.Err()
}

var (
	regionName = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$`)
	roleARN    = regexp.MustCompile(`^arn:aws[a-z\-]*:iam::[0-9]{12}:role/?[a-zA-Z0-9+=,.@\-_/]+$`)
)

// Locate returns the region, or the default one of the configuration, the
// environment (AWS_REGION, AWS_DEFAULT_REGION) or the profile.
func (d *sagemaker) Locate(location string) (string, error) {
	if location == "" {
		d.home.Do(d.findHome)
		if d.homeRegion.err != nil {
			return "", d.homeRegion.err
		}
		location = d.homeRegion.name
	}
	if location == "" {
		return "", mlerr.New(mlerr.InvalidArgument, "no AWS region is configured").At("location").
			WithHint("Set location, the provider's sagemaker.region, or AWS_REGION")
	}
	if !regionName.MatchString(location) {
		return "", mlerr.New(mlerr.InvalidArgument, "%q is not the name of an AWS region", location).At("location").
			WithHint("Use a name such as eu-west-1")
	}
	return location, nil
}

func (d *sagemaker) findHome() {
	if d.homeRegion.name = d.cfg.Region; d.homeRegion.name != "" || d.cfg.Isolated {
		return
	}
	loaded, err := config.LoadDefaultConfig(context.Background(), d.cfg.sources()...)
	d.homeRegion.name = loaded.Region
	d.homeRegion.err = mlerr.Wrap(err, mlerr.InvalidArgument, "cannot read the AWS configuration")
}

// ParseNativeID understands the ARNs of endpoints, model package groups and
// model packages. An endpoint's ARN is in lower case whatever its name is; names
// are found case-insensitively by the service.
func (d *sagemaker) ParseNativeID(kind driver.Kind, id string) (driver.Key, bool) {
	a, err := arn.Parse(id)
	if err != nil || a.Service != "sagemaker" || a.Region == "" {
		return driver.Key{}, false
	}
	parts := strings.Split(a.Resource, "/")
	want := map[driver.Kind][]string{
		driver.KindEndpoint: {"endpoint"},
		driver.KindModel:    {"model-package-group", "model-package"},
	}[kind]
	for _, resource := range want {
		if parts[0] == resource && len(parts) >= 2 && parts[1] != "" {
			return driver.Key{Platform: driver.SageMaker, Location: a.Region, Name: parts[1]}, true
		}
	}
	return driver.Key{}, false
}

// region is one region's clients and what was learned about it.
type region struct {
	name    string
	once    sync.Once
	clients clients
	err     error

	mu     sync.Mutex
	prefix string            // "arn:aws:sagemaker:eu-west-1:123456789012:", once an answer has shown it
	groups map[string]string // "<prefix>model-package/<group>" by the group's name

	shared singleflight.Group // account-wide reads that many refreshes share
	recent recentReads
	fixed  immutables
}

// at returns the clients of a key's region.
func (d *sagemaker) at(ctx context.Context, location string) (*region, error) {
	d.mu.Lock()
	r := d.regions[location]
	if r == nil {
		r = &region{name: location}
		d.regions[location] = r
	}
	d.mu.Unlock()
	r.once.Do(func() { r.clients, r.err = d.connect(context.WithoutCancel(ctx), location) })
	return r, r.err
}

// learn remembers the partition and account from an ARN that the service gave.
func (r *region) learn(given *string) {
	if given == nil {
		return
	}
	a, err := arn.Parse(*given)
	if err != nil || a.Service != "sagemaker" || a.AccountID == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prefix = "arn:" + a.Partition + ":sagemaker:" + a.Region + ":" + a.AccountID + ":"
}

// learnGroup remembers what the ARNs of a group's versions begin with.
func (r *region) learnGroup(name, stem string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.groups == nil {
		r.groups = map[string]string{}
	}
	r.groups[name] = stem
}

func (r *region) knownGroup(name string) (stem string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	stem, ok = r.groups[name]
	return stem, ok
}

// groupOf is the name of the group whose versions' ARNs begin with stem, in the
// case in which it was given: ARNs are in lower case.
func (r *region) groupOf(stem string) (name string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, known := range r.groups {
		if known == stem {
			return name, true
		}
	}
	return "", false
}

func (r *region) known() (prefix string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.prefix, r.prefix != ""
}
