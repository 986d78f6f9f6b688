// Copyright (c) The terraform-provider-ml Authors
// SPDX-License-Identifier: MPL-2.0

package artifact

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"sort"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"github.com/mlplane/terraform-provider-ml/internal/mlerr"
)

// digestMetadata is the user metadata that says of a staged object which artifact
// it was made from. It is not the digest of the object's own bytes, which may be
// an archive.
const digestMetadata = "ml-artifact-sha256"

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
func (s *S3) Source(l Location) Source { return &s3Source{s, l} }

type s3Source struct {
	store *S3
	at    Location
}

func (o *s3Source) String() string { return "s3://" + o.at.Bucket + "/" + o.at.Key }
func (o *s3Source) Single() bool   { return !o.at.IsPrefix() }

func (o *s3Source) Entries(ctx context.Context) ([]Entry, error) {
	if o.Single() {
		head, err := o.store.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &o.at.Bucket, Key: &o.at.Key, ChecksumMode: types.ChecksumModeEnabled})
		if err != nil {
			return nil, o.refuse(err)
		}
		e := o.entry(o.at.Key, base(o.at.Key), aws.ToInt64(head.ContentLength))
		e.digest = storedDigest(head)
		return []Entry{e}, nil
	}
	var all []Entry
	pages := s3.NewListObjectsV2Paginator(o.store.client, &s3.ListObjectsV2Input{Bucket: &o.at.Bucket, Prefix: &o.at.Key})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, o.refuse(err)
		}
		for _, object := range page.Contents {
			key := aws.ToString(object.Key)
			if strings.HasSuffix(key, "/") { // an empty object that a console shows as a folder
				continue
			}
			all = append(all, o.entry(key, strings.TrimPrefix(key, o.at.Key), aws.ToInt64(object.Size)))
		}
	}
	if len(all) == 0 {
		return nil, mlerr.New(mlerr.NotFound, "there is nothing below %s", o).At("artifact.uri")
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Path < all[j].Path })
	return all, nil
}

func (o *s3Source) entry(key, relative string, size int64) Entry {
	return Entry{Path: relative, Size: size, Open: func(ctx context.Context) (io.ReadCloser, error) {
		out, err := o.store.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &o.at.Bucket, Key: &key})
		if err != nil {
			return nil, o.refuse(err)
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

func (o *s3Source) refuse(err error) error { return s3Error(err, "reading "+o.String()) }

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
