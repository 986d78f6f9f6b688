// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// partSize is the size of an upload's parts. With four in flight and one being
// filled an upload holds 50 MiB, whatever the artifact's size; 10,000 parts are
// 100 GB.
const (
	partSize      = 10 << 20
	partsInFlight = 4
)

// S3 is an object store.
type S3 struct{ client *s3.Client }

// NewS3 uses a client of the bucket's region.
func NewS3(client *s3.Client) *S3 { return &S3{client} }

// Source is the artifact at an s3:// location.
func (s *S3) Source(l Location) Source { return &objectSource{s, l} }

func (s *S3) head(ctx context.Context, at Location) (Entry, error) {
	head, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &at.Bucket, Key: &at.Key, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		return Entry{}, s3Error(err, "reading "+at.String())
	}
	e := s.entry(at, at.Key, aws.ToInt64(head.ContentLength))
	e.digest = storedDigest(head)
	return e, nil
}

func (s *S3) list(ctx context.Context, at Location, give func(key string, e Entry)) error {
	pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: &at.Bucket, Prefix: &at.Key})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return s3Error(err, "reading "+at.String())
		}
		for _, object := range page.Contents {
			key := aws.ToString(object.Key)
			give(key, s.entry(at, key, aws.ToInt64(object.Size)))
		}
	}
	return nil
}

func (s *S3) entry(at Location, key string, size int64) Entry {
	return Entry{Size: size, Open: func(ctx context.Context) (io.ReadCloser, error) {
		out, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &at.Bucket, Key: &key})
		if err != nil {
			return nil, s3Error(err, "reading "+at.String())
		}
		return out.Body, nil
	}}
}

// storedDigest is the SHA-256 that S3 keeps with an object, if it does. A
// composite checksum (of a multipart upload's parts) is not the digest of the bytes.
func storedDigest(head *s3.HeadObjectOutput) string {
	if head.ChecksumSHA256 != nil && head.ChecksumType != types.ChecksumTypeComposite && !strings.Contains(*head.ChecksumSHA256, "-") {
		if raw, err := base64.StdEncoding.DecodeString(*head.ChecksumSHA256); err == nil && len(raw) == 32 {
			return hex.EncodeToString(raw)
		}
	}
	return ""
}

// s3Error gives an S3 error a code.
func s3Error(err error, doing string) error {
	code, hint := mlerr.CodeOf(err), ""
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		switch api.ErrorCode() {
		case "NotFound", "NoSuchKey":
			code = mlerr.NotFound
		case "NoSuchBucket":
			code, hint = mlerr.NotFound, "The bucket must exist; the provider makes none"
		case "AccessDenied", "Forbidden":
			code, hint = mlerr.PermissionDenied, "Allow s3:GetObject, s3:PutObject and s3:ListBucket to the credentials in use"
		case "PreconditionFailed", "ConditionalRequestConflict":
			code = mlerr.Conflict
		case "SlowDown", "Throttling":
			code = mlerr.Throttled
		default:
			if api.ErrorFault() == smithy.FaultServer {
				code = mlerr.Unavailable
			}
		}
	} else if code == mlerr.Unknown {
		code = mlerr.Unavailable
	}
	wrapped := mlerr.New(code, "%s", doing).Because(err).WithHint("%s", hint)
	if code == mlerr.NotFound {
		return wrapped.At("artifact.uri")
	}
	return wrapped
}

// Stat returns the digest of the artifact that an object was staged from, ""
// for an object that we did not stage. Absent is NotFound.
func (s *S3) Stat(ctx context.Context, at Location) (digest string, err error) {
	head, err := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &at.Bucket, Key: &at.Key})
	if err != nil {
		return "", s3Error(err, "looking for s3://"+at.Bucket+"/"+at.Key)
	}
	return head.Metadata[digestMetadata], nil
}

// Put streams an object into a place where none is; one that is there already is
// Conflict. Nothing is left behind when r or the upload fails.
func (s *S3) Put(ctx context.Context, at Location, digest string, r io.Reader) error {
	up := manager.NewUploader(s.client, func(u *manager.Uploader) { u.PartSize, u.Concurrency = partSize, partsInFlight }) //nolint:staticcheck // the successor is not released
	_, err := up.Upload(ctx, &s3.PutObjectInput{Bucket: &at.Bucket, Key: &at.Key, Body: r, IfNoneMatch: aws.String("*"),   //nolint:staticcheck // as above
		Metadata: map[string]string{digestMetadata: digest}})
	if err != nil {
		if own, ok := errors.AsType[*mlerr.Error](err); ok {
			return own
		}
		return s3Error(err, "writing s3://"+at.Bucket+"/"+at.Key)
	}
	return nil
}
