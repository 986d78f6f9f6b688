// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package vertexai

import (
	"cmp"
	"net/http"
	"regexp"
	"strings"
	"sync"

	"github.com/hashicorp/go-hclog"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

// Config is how Google Cloud is reached. The zero value uses application default
// credentials, and has no default location.
type Config struct {
	Project, Region           string        // default location
	Credentials               secret.String // JSON, or the path of a file that holds it
	AccessToken               secret.String
	ImpersonateServiceAccount string
	QuotaProject              string // whose quota calls count against; "" is that of the credentials
	StagingURI                string // "gs://bucket/prefix"; "" refuses what must be copied, which is everything
	ImageRepository           string // of images that Google does not publish; "" is ml-runtimes in the project
	EndpointURL               string // one base URL for every region; "" is Google's
	StorageEndpointURL        string // of Cloud Storage; "" is Google's
	MonitoringEndpointURL     string // of Cloud Monitoring; "" is EndpointURL unless that is Google's, else Google's

	Isolated   bool         // reads neither the environment nor files, and sends no credentials; needs EndpointURL
	HTTPClient *http.Client // below the credentials; nil is the default one
	Logger     hclog.Logger // nil discards
	UserAgent  string       // "product/version"
}

// vertex is the driver.
type vertex struct {
	cfg Config
	log hclog.Logger

	mu      sync.Mutex
	regions map[string]*region
	numbers map[driver.Key]string // project numbers that imported ids gave, by what they were taken for

	signing sync.Once
	signed  *http.Client
	err     error
}

var _ driver.Driver = (*vertex)(nil)

// Open makes the driver. It never dials out: credentials are first used by the
// first call. Impossible combinations are InvalidArgument.
func Open(c Config) (driver.Driver, error) {
	c = *c.completed()
	if err := c.check(); err != nil {
		return nil, err
	}
	d := &vertex{cfg: c, log: c.Logger, regions: map[string]*region{}, numbers: map[driver.Key]string{}}
	if d.log == nil {
		d.log = hclog.NewNullLogger()
	}
	return d, nil
}

var (
	projectID     = regexp.MustCompile(`^([a-z0-9.-]+:)?[a-z0-9][a-z0-9-]{0,61}$`)
	projectNumber = regexp.MustCompile(`^[0-9]+$`)
	regionName    = regexp.MustCompile(`^[a-z]+(-[a-z]+)+[0-9]+$`)
	accountName   = regexp.MustCompile(`^[^@\s]+@[^@\s]+\.[^@\s]+$`)
	bucketAddress = regexp.MustCompile(`^gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/.*)?$`)
)

func (c *Config) check() error {
	var all mlerr.List
	refuse := func(bad bool, path, format string, args ...any) {
		if bad {
			all.Add(mlerr.New(mlerr.InvalidArgument, format, args...).At("%s", path))
		}
	}
	refuse(c.Project != "" && !projectID.MatchString(c.Project), "project", "%q is not the id of a project", c.Project)
	refuse(c.Region != "" && !regionName.MatchString(c.Region), "region", "%q is not the name of a region", c.Region)
	refuse(c.StagingURI != "" && !bucketAddress.MatchString(c.StagingURI), "staging_uri", "staging_uri must be like gs://bucket/prefix, is %q", c.StagingURI)
	refuse(c.ImpersonateServiceAccount != "" && !accountName.MatchString(c.ImpersonateServiceAccount), "impersonate_service_account",
		"%q is not the email address of a service account", c.ImpersonateServiceAccount)
	for path, url := range map[string]string{"endpoint_url": c.EndpointURL, "storage_endpoint_url": c.StorageEndpointURL} {
		refuse(url != "" && !strings.Contains(url, "://"), path, "%s must be an absolute URL, is %q", path, url)
	}
	// No attribute sets it.
	refuse(c.MonitoringEndpointURL != "" && !strings.Contains(c.MonitoringEndpointURL, "://"), "", "GOOGLE_MONITORING_CUSTOM_ENDPOINT must be an absolute URL, is %q", c.MonitoringEndpointURL)
	refuse(c.Credentials.Reveal() != "" && c.AccessToken.Reveal() != "", "credentials", "credentials and access_token exclude each other")
	return all.Err()
}

// Locate returns "project/region". A location without a slash is a region.
func (d *vertex) Locate(location string) (string, error) {
	project, region, both := strings.Cut(location, "/")
	if !both {
		project, region = d.cfg.Project, cmp.Or(location, d.cfg.Region)
	}
	refuse := func(what, hint string) (string, error) {
		return "", mlerr.New(mlerr.InvalidArgument, "%s", what).At("location").WithHint("%s", hint)
	}
	switch {
	case project == "":
		return refuse("no Google Cloud project is configured", "Set the provider's vertex_ai.project, or GOOGLE_PROJECT")
	case region == "":
		return refuse("no Google Cloud region is configured", "Set location, the provider's vertex_ai.region, or GOOGLE_REGION")
	case !projectID.MatchString(project):
		return refuse("\""+project+"\" is not the id of a project", "Use a location such as europe-west4, or my-project/europe-west4")
	case !regionName.MatchString(region):
		return refuse("\""+region+"\" is not the name of a region", "Use a name such as europe-west4")
	}
	return project + "/" + region, nil
}

// The forms of names that the API, the console and other tools show, and the short one
// that the hashicorp/google provider takes.
var nativeNames = map[driver.Kind][]*regexp.Regexp{
	driver.KindEndpoint: {
		regexp.MustCompile(`^(?:https://[^/]+/v1(?:beta1)?/|//aiplatform\.googleapis\.com/)?projects/([^/]+)/locations/([^/]+)/endpoints/([a-z0-9-]+)(?::[a-zA-Z]+)?$`),
		regexp.MustCompile(`^([^/]+)/([^/]+)/([a-z0-9-]+)$`),
	},
	driver.KindModel: {
		regexp.MustCompile(`^(?:https://[^/]+/v1(?:beta1)?/|//aiplatform\.googleapis\.com/)?projects/([^/]+)/locations/([^/]+)/models/([a-z0-9_-]+)(?:@[^/@]+)?$`),
		regexp.MustCompile(`^([^/]+)/([^/]+)/([a-z0-9_-]+)(?:@[^/@]+)?$`),
	},
}

// ParseNativeID understands "projects/P/locations/L/endpoints/E" and the like. The
// API shows the project's number where the configuration has its id: the number
// is taken for the configured project, and the first answer proves it.
func (d *vertex) ParseNativeID(kind driver.Kind, id string) (driver.Key, bool) {
	var m []string
	for _, form := range nativeNames[kind] {
		if m = form.FindStringSubmatch(id); m != nil {
			break
		}
	}
	if len(m) == 0 || !projectID.MatchString(m[1]) || !regionName.MatchString(m[2]) {
		return driver.Key{}, false
	}
	project := m[1]
	if projectNumber.MatchString(project) && d.cfg.Project != "" {
		project = d.cfg.Project
	}
	key := driver.Key{Platform: driver.VertexAI, Location: project + "/" + m[2], Name: m[3]}
	if project != m[1] && !projectNumber.MatchString(project) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.numbers[key] = m[1]
	}
	return key, true
}

// proven compares the project's number in a name that the API gave with the one in
// the id that key was made of.
func (d *vertex) proven(key driver.Key, name string) error {
	d.mu.Lock()
	number := d.numbers[key]
	d.mu.Unlock()
	if found := segment(name, "projects"); number != "" && projectNumber.MatchString(found) && found != number {
		return mlerr.New(mlerr.InvalidArgument, "%s is in project number %s, and the id names project number %s", key.ID(), found, number).
			WithHint("Configure the project of that number, or use an id with the project's own id")
	}
	return nil
}
