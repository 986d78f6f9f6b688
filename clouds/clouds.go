// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

// Package clouds is the portable core: it decides, and drivers translate. It
// checks a specification against what the platform can do, compares wanted with
// observed, takes one step of the driver at a time, and ends when nothing
// differs, so that every success it reports is one that it has seen.
package clouds

import (
	"cmp"
	"context"
	"maps"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/mlplane/terraform-provider-ml/clouds/driver"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/wait"
)

// Options are what a Cloud needs besides its driver. The zero value works.
type Options struct {
	Clock  wait.Clock        // nil is the wall clock
	Logger hclog.Logger      // nil discards
	Labels map[string]string // put on everything, under a resource's own labels

	// Pace is how much faster than the clock the platform's time passes, as in
	// rehearsal: rollouts are watched for so much shorter. 0 is 1.
	Pace float64
}

// Cloud is one platform as the provider sees it.
type Cloud struct {
	driver driver.Driver
	clock  wait.Clock
	log    hclog.Logger
	labels map[string]string
	pace   float64
}

// New makes a Cloud. It does not dial out.
func New(d driver.Driver, o Options) *Cloud {
	c := &Cloud{driver: d, clock: o.Clock, log: o.Logger, labels: o.Labels, pace: cmp.Or(o.Pace, 1)}
	if c.clock == nil {
		c.clock = wait.Real{}
	}
	if c.log == nil {
		c.log = hclog.NewNullLogger()
	}
	return c
}

// How says how a change is made.
type How struct {
	// Create: Terraform has no state of the thing. What exists already may then
	// only be taken over when it is the rest of an interrupted creation, or
	// already is what is wanted.
	Create bool
	// Limit is the whole time that the change may take; 0 is no limit.
	Limit time.Duration
	// Progress is told, in a short phrase, each step that is taken; nil is fine.
	Progress func(string)
	// Warn is told, in a sentence, what a change that succeeds could not make sure of;
	// nil is fine.
	Warn func(string)
}

// Features says what the platform can do.
func (c *Cloud) Features() *driver.Features { return c.driver.Features() }

// Key makes the key of a thing from what the user wrote. A location that cannot
// be decided is InvalidArgument with the path "location".
func (c *Cloud) Key(platform driver.Platform, location, name string) (driver.Key, error) {
	canonical, err := c.driver.Locate(location)
	if err != nil {
		return driver.Key{}, err
	}
	return driver.Key{Platform: platform, Location: canonical, Name: name}, nil
}

// ParseNativeID understands the platform's own id of a thing.
func (c *Cloud) ParseNativeID(kind driver.Kind, id string) (driver.Key, bool) {
	return c.driver.ParseNativeID(kind, id)
}

// ExampleID is an id such as things on that platform have.
func ExampleID(p driver.Platform) string {
	locations := map[driver.Platform]string{driver.SageMaker: "eu-west-1", driver.VertexAI: "my-project/europe-west4",
		driver.AzureML: "subscription-id/resource-group/workspace", driver.Kubernetes: "namespace"}
	return driver.Key{Platform: p, Location: locations[p], Name: "fraud"}.ID()
}

// Invoke sends one inference request, to the deployment with that
// DeploymentState.ID or, if "", to whichever the endpoint picks.
func (c *Cloud) Invoke(ctx context.Context, key driver.Key, id string, req driver.Request) (*driver.Response, error) {
	return c.driver.Invoke(ctx, key, id, req)
}

// Credentials gives what callers of an endpoint send.
func (c *Cloud) Credentials(ctx context.Context, key driver.Key) (*driver.Credentials, error) {
	found, err := patiently(ctx, c, func() (*driver.Credentials, error) { return c.driver.Credentials(ctx, key) })
	return found, mlerr.Annotate(err, "cannot read the credentials of %s", article(key, driver.KindEndpoint))
}

// paced is how long on the clock something takes that takes d of the platform's time.
func (c *Cloud) paced(d time.Duration) time.Duration { return time.Duration(float64(d) / c.pace) }

// withLabels is the resource's labels over the provider's.
func (c *Cloud) withLabels(own map[string]string) map[string]string {
	if len(c.labels)+len(own) == 0 {
		return nil
	}
	all := make(map[string]string, len(c.labels)+len(own))
	maps.Copy(all, c.labels)
	maps.Copy(all, own)
	return all
}

func article(k driver.Key, kind driver.Kind) string {
	return string(kind) + " " + k.ID()
}
