// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact

import (
	"cmp"
	"context"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

// S3At is S3, or what speaks its API at endpoint, as the bucket wants to be asked:
// in its region, which is looked for unless there is an endpoint.
func S3At(ctx context.Context, cfg aws.Config, endpoint, bucket string) (*S3, error) {
	cfg.Region = cmp.Or(cfg.Region, "us-east-1") // knows where every bucket is
	options := func(o *s3.Options) {
		if endpoint != "" {
			o.BaseEndpoint, o.UsePathStyle = &endpoint, true
		}
		o.Retryer = retry.NewStandard() // of a large upload, the part that failed is sent again
	}
	client := s3.NewFromConfig(cfg, options)
	if endpoint != "" {
		return NewS3(client), nil
	}
	region, err := manager.GetBucketRegion(ctx, client, bucket)
	if err != nil {
		return nil, s3Error(err, "finding the region of the bucket "+bucket)
	}
	if region == cfg.Region {
		return NewS3(client), nil
	}
	cfg.Region = region
	return NewS3(s3.NewFromConfig(cfg, options)), nil
}

// S3Config is how S3 is reached by a platform that is not AWS. The zero value is
// the SDK's default: environment, shared files, container and instance credentials.
type S3Config struct {
	Region, EndpointURL string
	AccessKey           string
	SecretKey           secret.String
	Isolated            bool // reads neither the environment nor files
}

// Open is S3 as that bucket wants to be asked.
func (c S3Config) Open(ctx context.Context, bucket string) (*S3, error) {
	if c.Isolated {
		return S3At(ctx, aws.Config{Region: c.Region, Credentials: c.credentials()}, c.EndpointURL, bucket)
	}
	var options []func(*config.LoadOptions) error
	if c.Region != "" {
		options = append(options, config.WithRegion(c.Region))
	}
	if c.AccessKey != "" {
		options = append(options, config.WithCredentialsProvider(c.credentials()))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, mlerr.New(mlerr.Unauthenticated, "cannot read the AWS configuration").Because(err)
	}
	return S3At(ctx, cfg, cmp.Or(c.EndpointURL, os.Getenv("AWS_ENDPOINT_URL_S3"), aws.ToString(cfg.BaseEndpoint)), bucket)
}

func (c S3Config) credentials() aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(c.AccessKey, c.SecretKey.Reveal(), "")
}
