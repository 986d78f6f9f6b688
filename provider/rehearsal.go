// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"cmp"
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/mlplane/terraform-provider-ml/clouds/azureml"
	"github.com/mlplane/terraform-provider-ml/clouds/kubernetes"
	"github.com/mlplane/terraform-provider-ml/clouds/sagemaker"
	"github.com/mlplane/terraform-provider-ml/clouds/vertexai"
	"github.com/mlplane/terraform-provider-ml/internal/azure"
	"github.com/mlplane/terraform-provider-ml/internal/emulator"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/gcs"
	"github.com/mlplane/terraform-provider-ml/internal/emulator/s3"
	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

// rehearsal runs the emulated platforms inside this process, from the first use
// of one until the process ends. What they hold is on disk at any time.
type rehearsal struct {
	dir    string
	log    hclog.Logger
	server *emulator.Server
}

func (r *rehearsal) endpoint(platform string) (string, error) {
	if r.server == nil {
		server, err := emulator.Shared(emulator.Options{StateDir: r.dir, Logger: r.log.Named("rehearsal")})
		if err != nil {
			return "", mlerr.New(mlerr.Unavailable, "cannot rehearse in %s", r.dir).Because(err).
				WithHint("Make rehearsal.state_dir a directory that this user may write")
		}
		r.server = server
	}
	return r.server.Endpoints()[platform], nil
}

// pace is how much faster than the clock the platforms' time passes; 0 for real ones.
func (r *rehearsal) pace() float64 {
	if r == nil || r.server == nil {
		return 0
	}
	return r.server.Pace()
}

// What stands in for the parts of a configuration that a rehearsal lacks.
const (
	rehearsalRegion  = "us-east-1"
	rehearsalRole    = "arn:aws:iam::123456789012:role/ml-rehearsal"
	rehearsalStaging = "s3://ml-rehearsal-staging/artifacts"

	rehearsalProject      = "ml-rehearsal"
	rehearsalGoogleRegion = "us-central1"
	rehearsalGoogleBucket = "gs://ml-rehearsal-staging/artifacts"

	rehearsalSubscription = "00000000-0000-0000-0000-000000000001"
	rehearsalWorkspace    = "ml-rehearsal" // and its resource group
)

// sagemaker turns a configuration to the emulators: no credentials of the user's
// and no address other than loopback remain in it.
func (r *rehearsal) sagemaker(c *sagemaker.Config) error {
	address, err := r.endpoint("sagemaker")
	if err != nil {
		return err
	}
	*c = sagemaker.Config{
		Region:    cmp.Or(c.Region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"), rehearsalRegion),
		AccessKey: "rehearsal", SecretKey: secret.New("rehearsal"), EndpointURL: address, Isolated: true,
		ExecutionRoleARN: cmp.Or(c.ExecutionRoleARN, rehearsalRole),
		StagingURI:       cmp.Or(c.StagingURI, rehearsalStaging),
		Logger:           c.Logger, UserAgent: c.UserAgent,
	}
	return r.bucket(c.StagingURI)
}

// vertexAI turns a configuration to the emulators: no credentials are sent, and none
// are looked for.
func (r *rehearsal) vertexAI(c *vertexai.Config) error {
	address, err := r.endpoint("vertex_ai")
	if err != nil {
		return err
	}
	*c = vertexai.Config{
		Project:    cmp.Or(c.Project, os.Getenv("GOOGLE_PROJECT"), os.Getenv("GOOGLE_CLOUD_PROJECT"), rehearsalProject),
		Region:     cmp.Or(c.Region, os.Getenv("GOOGLE_REGION"), rehearsalGoogleRegion),
		StagingURI: cmp.Or(c.StagingURI, rehearsalGoogleBucket), ImageRepository: c.ImageRepository,
		EndpointURL: address, StorageEndpointURL: r.server.Endpoints()["gcs"], Isolated: true, Logger: c.Logger, UserAgent: c.UserAgent,
	}
	return r.bucket(c.StagingURI)
}

// azureML turns a configuration to the emulators. Artifacts are staged in the default
// datastore of each workspace, whatever they are staged in for real.
func (r *rehearsal) azureML(c *azureml.Config) error {
	address, err := r.endpoint("azure_ml")
	if err != nil {
		return err
	}
	*c = azureml.Config{
		Account: azure.Config{SubscriptionID: cmp.Or(c.Account.SubscriptionID, os.Getenv("ARM_SUBSCRIPTION_ID"), rehearsalSubscription),
			EndpointURL: address, Isolated: true, UserAgent: c.Account.UserAgent},
		ResourceGroup: cmp.Or(c.ResourceGroup, rehearsalWorkspace), Workspace: cmp.Or(c.Workspace, rehearsalWorkspace), InvokerRole: c.InvokerRole,
		StorageEndpointURL: r.server.Endpoints()["azblob"], Logger: c.Logger,
	}
	return nil
}

// bucket makes the bucket of a staging address.
func (r *rehearsal) bucket(uri string) error {
	staging, err := url.Parse(uri)
	if err != nil || staging.Host == "" {
		return nil //nolint:nilerr // Open refuses it, with the attribute's path
	}
	if staging.Scheme == "gs" {
		return gcs.EnsureBucket(filepath.Join(r.dir, "gcs"), staging.Host)
	}
	return s3.EnsureBucket(filepath.Join(r.dir, "s3"), staging.Host)
}

// kubernetes turns a configuration to the emulators. The namespace and the gateway
// that it names exist there; artifacts are staged in the emulated S3, whatever they
// are staged in for real.
func (r *rehearsal) kubernetes(c *kubernetes.Config) error {
	address, err := r.endpoint("kubernetes")
	if err != nil {
		return err
	}
	staging := c.StagingURI
	if !strings.HasPrefix(staging, "s3://") {
		staging = rehearsalStaging
	}
	*c = kubernetes.Config{
		Host: address, Isolated: true, Namespace: cmp.Or(c.Namespace, os.Getenv("KUBE_NAMESPACE"), "default"), Serving: c.Serving, Gateway: c.Gateway,
		StagingURI: staging, StorageSecret: "", Images: c.Images, Metrics: c.Metrics,
		Prometheus: kubernetes.Prometheus{URL: r.server.Endpoints()["prometheus"], Scrapes: c.Prometheus.Scrapes},
		S3:         kubernetes.S3{Region: rehearsalRegion, EndpointURL: r.server.Endpoints()["s3"], AccessKey: secret.New("rehearsal"), SecretKey: secret.New("rehearsal")},
		Logger:     c.Logger, UserAgent: c.UserAgent,
	}
	ctx := context.Background()
	if err := r.server.EnsureNamespace(ctx, c.Namespace); err != nil {
		return err
	}
	if g := c.Gateway; g != nil {
		if err := r.server.EnsureGateway(ctx, cmp.Or(g.Namespace, c.Namespace), g.Name); err != nil {
			return err
		}
	}
	return r.bucket(c.StagingURI)
}
