// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package sagemaker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	sm "github.com/aws/aws-sdk-go-v2/service/sagemaker"
	"github.com/aws/aws-sdk-go-v2/service/sagemakerruntime"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
	"github.com/mlplane/terraform-provider-ml/internal/secret"
)

// clients are the APIs of one region.
type clients struct {
	config  aws.Config
	sm      *sm.Client
	runtime *sagemakerruntime.Client
	scaling *applicationautoscaling.Client
	watch   *cloudwatch.Client
}

// sources are where the SDK looks for configuration.
func (c *Config) sources() []func(*config.LoadOptions) error {
	var o []func(*config.LoadOptions) error
	if c.Profile != "" {
		o = append(o, config.WithSharedConfigProfile(c.Profile))
	}
	if len(c.SharedConfigFiles) > 0 {
		o = append(o, config.WithSharedConfigFiles(c.SharedConfigFiles))
	}
	if len(c.SharedCredentialsFiles) > 0 {
		o = append(o, config.WithSharedCredentialsFiles(c.SharedCredentialsFiles))
	}
	if c.AccessKey != "" {
		o = append(o, config.WithCredentialsProvider(
			credentials.NewStaticCredentialsProvider(c.AccessKey, c.SecretKey.Reveal(), c.Token.Reveal())))
	}
	if c.EndpointURL != "" {
		o = append(o, config.WithBaseEndpoint(c.EndpointURL))
	}
	return o
}

// load makes the SDK's configuration.
func (d *sagemaker) load(ctx context.Context, region string) (aws.Config, error) {
	if c := &d.cfg; c.Isolated {
		return aws.Config{Region: region, BaseEndpoint: &c.EndpointURL, Retryer: d.retryer, APIOptions: d.middleware(),
			Credentials: credentials.NewStaticCredentialsProvider(c.AccessKey, c.SecretKey.Reveal(), "")}, nil
	}
	return config.LoadDefaultConfig(ctx, append(d.cfg.sources(), config.WithRegion(region),
		config.WithRetryer(d.retryer), config.WithAPIOptions(d.middleware()))...)
}

// connect makes the clients of a region. Credentials are not fetched yet.
func (d *sagemaker) connect(ctx context.Context, region string) (clients, error) {
	cfg, err := d.load(ctx, region)
	if err != nil {
		return clients{}, mlerr.New(mlerr.Unauthenticated, "cannot read the AWS configuration").Because(err).
			WithHint("Check the provider's sagemaker.profile and the shared configuration files")
	}
	if d.cfg.HTTPClient != nil {
		cfg.HTTPClient = d.cfg.HTTPClient // not an option of loading: AWS_CA_BUNDLE fits only the SDK's own
	}
	cfg.Credentials = explained{aws.NewCredentialsCache(d.assume(cfg))}
	return clients{
		config:  cfg,
		sm:      sm.NewFromConfig(cfg, func(o *sm.Options) { d.base(&o.BaseEndpoint) }),
		runtime: sagemakerruntime.NewFromConfig(cfg, func(o *sagemakerruntime.Options) { d.base(&o.BaseEndpoint) }),
		scaling: applicationautoscaling.NewFromConfig(cfg, func(o *applicationautoscaling.Options) { d.base(&o.BaseEndpoint) }),
		watch:   cloudwatch.NewFromConfig(cfg, func(o *cloudwatch.Options) { d.base(&o.BaseEndpoint) }),
	}, nil
}

// base repeats the configured URL for one client, because the SDK would prefer
// a variable such as AWS_ENDPOINT_URL_SAGEMAKER to what it was told in general.
func (d *sagemaker) base(endpoint **string) {
	if d.cfg.EndpointURL != "" {
		*endpoint = &d.cfg.EndpointURL
	}
}

func (d *sagemaker) sts(cfg aws.Config) *sts.Client {
	return sts.NewFromConfig(cfg, func(o *sts.Options) { d.base(&o.BaseEndpoint) })
}

// assume puts the role of the configuration on top of its credentials.
func (d *sagemaker) assume(cfg aws.Config) aws.CredentialsProvider {
	switch a, w := d.cfg.AssumeRole, d.cfg.AssumeRoleWithWebIdentity; {
	case a != nil:
		return stscreds.NewAssumeRoleProvider(d.sts(cfg), a.RoleARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = a.SessionName
			o.Duration = a.Duration
			if a.ExternalID != "" {
				o.ExternalID = &a.ExternalID
			}
		})
	case w != nil:
		var token stscreds.IdentityTokenRetriever = stscreds.IdentityTokenFile(w.WebIdentityTokenFile)
		if w.WebIdentityTokenFile == "" {
			token = givenToken{w.WebIdentityToken}
		}
		return stscreds.NewWebIdentityRoleProvider(d.sts(cfg), w.RoleARN, token, func(o *stscreds.WebIdentityRoleOptions) {
			o.RoleSessionName = w.SessionName
		})
	}
	return cfg.Credentials
}

type givenToken struct{ token secret.String }

func (t givenToken) GetIdentityToken() ([]byte, error) { return []byte(t.token.Reveal()), nil }

// explained turns the failure to get credentials into an error that says so.
type explained struct{ aws.CredentialsProvider }

func (e explained) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := e.CredentialsProvider.Retrieve(ctx)
	if err == nil || ctx.Err() != nil {
		return c, err
	}
	return c, mlerr.New(mlerr.Unauthenticated, "there are no usable AWS credentials").Because(err).
		WithHint("Set the provider's sagemaker credentials, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile; " +
			"in HCP Terraform, turn on dynamic AWS credentials for the workspace")
}

// retryer repeats throttled calls and nothing else: whatever else may be
// repeated the core repeats, after looking at what the failed call has done.
func (d *sagemaker) retryer() aws.Retryer {
	standard := func(o *retry.StandardOptions) {
		o.MaxAttempts = 10
		if d.cfg.EndpointURL != "" {
			o.MaxAttempts, o.MaxBackoff = 3, time.Second
		}
		o.Retryables = []retry.IsErrorRetryable{retry.NoRetryCanceledError{}, retry.IsErrorRetryableFunc(retryThrottled)}
	}
	if d.cfg.EndpointURL != "" {
		return retry.NewStandard(standard)
	}
	return retry.NewAdaptiveMode(func(o *retry.AdaptiveModeOptions) {
		o.StandardOptions = append(o.StandardOptions, standard)
	})
}

// retryThrottled leaves out LimitExceededException, which the SDK takes for
// throttling: of Application Auto Scaling it is an account limit.
func retryThrottled(err error) aws.Ternary {
	var api interface{ ErrorCode() string }
	if !errors.As(err, &api) || api.ErrorCode() == "LimitExceededException" {
		return aws.FalseTernary
	}
	return retry.ThrottleErrorCode{Codes: retry.DefaultThrottleErrorCodes}.IsErrorThrottle(err)
}

func (d *sagemaker) middleware() []func(*middleware.Stack) error {
	options := []func(*middleware.Stack) error{func(s *middleware.Stack) error {
		// After everything else, so that each attempt is limited and logged.
		return s.Deserialize.Add(middleware.DeserializeMiddlewareFunc("mlLimitAndLog", d.limitAndLog), middleware.After)
	}}
	if product, version, _ := strings.Cut(d.cfg.UserAgent, "/"); product != "" {
		options = append(options, awsmiddleware.AddUserAgentKeyValue(product, version))
	}
	return options
}

// limited are the APIs with small account-wide rates; S3, STS and the runtime
// have large ones.
var limited = []string{sm.ServiceID, applicationautoscaling.ServiceID, cloudwatch.ServiceID}

func (d *sagemaker) limitAndLog(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (
	out middleware.DeserializeOutput, meta middleware.Metadata, err error) {
	if d.limiter != nil && slices.Contains(limited, awsmiddleware.GetServiceID(ctx)) {
		if err := d.limiter.Wait(ctx); err != nil {
			code := mlerr.CodeOf(err)
			if code == mlerr.Unknown { // it would take longer than there is time
				code = mlerr.Timeout
			}
			return out, meta, mlerr.Wrap(err, code, "waiting for the client-side rate limit")
		}
	}
	start := d.now()
	out, meta, err = next.HandleDeserialize(ctx, in)
	if !d.log.IsDebug() {
		return out, meta, err
	}
	fields := []any{"call", awsmiddleware.GetServiceID(ctx) + "." + awsmiddleware.GetOperationName(ctx),
		"duration", d.now().Sub(start), "attempt", attemptOf(in.Request)}
	if response, ok := out.RawResponse.(*smithyhttp.Response); ok && response != nil {
		fields = append(fields, "status", response.StatusCode, "request_id", response.Header.Get("X-Amzn-Requestid"))
	}
	if err != nil {
		fields = append(fields, "error", err)
	}
	d.log.Debug("api call", fields...)
	return out, meta, err
}

// attemptOf reads "attempt=2; max=10", which the SDK's retryer sends along.
func attemptOf(request any) string {
	r, ok := request.(*smithyhttp.Request)
	if !ok {
		return ""
	}
	first, _, _ := strings.Cut(r.Header.Get("Amz-Sdk-Request"), ";")
	return strings.TrimPrefix(first, "attempt=")
}
